/* A released circuit, viz_data.pt, read for the small model beside it. Run at the root of the sources. */
#include "small.h"

#include <stdlib.h>
#include <string.h>

static void use_circuit(sn_circuit *circuit, sn_context *context)
{
    double value;
    const size_t n = sn_circuit_node_count(circuit);
    for (size_t e = 0; e < sn_circuit_edge_count(circuit); e++) {
        size_t from, to;
        if (sn_circuit_edge(&from, &to, NULL, circuit, e) != SN_OK || from >= n || to >= n)
            abort();
    }
    for (size_t i = 0; i < sn_circuit_measurement_count(circuit); i++)
        if (!sn_circuit_measurement(&value, circuit, i))
            abort();
    fuzz_check(sn_report_write_json(context, circuit, fuzz_write("circuit.json", "", 0)), context);
}

/* A task that was accepted must run. */
static void use_task(const sn_task *task, sn_model *model, sn_context *context)
{
    sn_evaluation result = {.struct_size = sizeof result};
    fuzz_check(sn_evaluate(&result, context, model, NULL, NULL, SN_ABLATE_NOTHING, task, task), context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sn_model *model = small_released();
    sn_context *context = fuzz_context(16);
    sn_circuit *circuit;
    sn_task *task;
    char path[256];
    strcpy(path,
           fuzz_write_zip("viz_data.pt", data, size)); /* others are written before it is read again */
    fuzz_check(sn_circuit_load_released(&circuit, NULL, context, model, path, NULL), context);
    if (circuit)
        use_circuit(circuit, context);
    sn_circuit_free(circuit);
    fuzz_check(sn_circuit_load_released(&circuit, &task, context, model, path, NULL), context);
    if (task)
        use_task(task, model, context);
    sn_task_free(task);
    sn_circuit_free(circuit);
    sn_context_free(context);
    return 0;
}
