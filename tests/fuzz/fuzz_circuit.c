/* A circuit as JSON, read for the small model in tests/data/released. Run at the root of the sources. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

/* What was read must be written, and read again as the same. */
static void round_trip(const sn_circuit *circuit, sn_model *model, sn_context *context)
{
    char path[256];
    sn_circuit *again;
    snprintf(path, sizeof path, "%s/again.json", fuzz_folder());
    int status = sn_report_write_json(context, circuit, path);
    fuzz_check(status, context);
    if (status != SN_OK)
        return;
    status = sn_circuit_load(&again, context, model, path);
    if (status != SN_OK ? status != SN_ERROR_MEMORY
                        : sn_circuit_node_count(again) != sn_circuit_node_count(circuit) ||
                              sn_circuit_edge_count(again) != sn_circuit_edge_count(circuit))
        abort();
    sn_circuit_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sn_context *context = fuzz_context(64);
    sn_model *model;
    sn_circuit *circuit;
    if (sn_model_load(&model, context, "tests/data/released") != SN_OK)
        abort();
    fuzz_check(sn_circuit_load(&circuit, context, model, fuzz_write("circuit.json", data, size)),
               context);
    if (circuit)
        round_trip(circuit, model, context);
    sn_circuit_free(circuit);
    sn_model_free(model);
    sn_context_free(context);
    return 0;
}
