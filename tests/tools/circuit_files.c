/* circuit_files FOLDER: the circuit kept for the fuzzer, under a hostile name and with deltas, as FOLDER/circuit.json,
 * FOLDER/circuit.graphml and FOLDER/circuit.svg. Run at the root of the sources. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "circuit/circuit.h"

static sn_context *context;

static void check(int status)
{
    if (status == SN_OK)
        return;
    fprintf(stderr, "circuit_files: %s\n", sn_context_message(context));
    exit(1);
}

int main(int n_arguments, char **arguments)
{
    char path[4096];
    sn_model *model;
    sn_circuit *read, *named;
    if (n_arguments != 2 || sn_context_create(&context, NULL) != SN_OK)
        return 2;
    check(sn_model_load(&model, context, "tests/data/released"));
    check(sn_circuit_load(&read, context, model, "tests/data/fuzz/circuit/cut.json"));
    check(sn_circuit_create(&named, context, model, "</data><![CDATA[ & \"quote\" 'x' \x01\x1b é"));
    check(circuit_set_edges(named, context, read->kept, read->kept_edges));
    check(circuit_make_deltas(named, context));
    for (size_t i = 0; i < named->n_deltas; i++)
        named->deltas[i].loss = 0.001 * (double)i;
    check(sn_circuit_set_label(named, context, sn_circuit_node_name(named, 1), SN_LABEL,
                               "</data> & ]]> \"l\" é\xef\xbf\xbe"));
    check(sn_circuit_set_label(named, context, sn_circuit_node_name(named, 1), SN_NOTE, "<a>\n\tb"));
    snprintf(path, sizeof path, "%s/circuit.json", arguments[1]);
    check(sn_report_write_json(context, named, path));
    snprintf(path, sizeof path, "%s/circuit.graphml", arguments[1]);
    check(sn_report_write_graphml(context, named, path));
    snprintf(path, sizeof path, "%s/circuit.svg", arguments[1]);
    check(sn_report_write_svg(context, named, path));
    sn_circuit_free(named);
    sn_circuit_free(read);
    sn_model_free(model);
    sn_context_free(context);
    return 0;
}
