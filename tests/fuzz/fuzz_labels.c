/* A byte that says what for, then a text for a circuit: name of its task, label, note, name of a
 * measurement or a series. All reports are written, and the JSON is read back. */
#include "small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int name_it(sn_circuit *circuit, sn_context *context, int what, const char *text)
{
    static const double x[2] = {1, 2};
    switch (what % 4) {
    case 0: return sn_circuit_set_label(circuit, context, "0.attn.act_in.0", SN_LABEL, text);
    case 1: return sn_circuit_set_label(circuit, context, "0.attn.act_in.0", SN_NOTE, text);
    case 2: return sn_circuit_set_measurement(circuit, context, text, 0.5);
    default: return sn_circuit_set_series(circuit, context, text, 2, x, x);
    }
}

static void check_same(const char *a, const char *b)
{
    if (!a != !b || (a && strcmp(a, b) != 0))
        abort();
}

/* Where the text of a name is no UTF-8, JSON cannot hold it: then writing is refused. */
static void round_trip(const sn_circuit *circuit, sn_model *model, sn_context *context)
{
    char path[256];
    sn_circuit *again;
    snprintf(path, sizeof path, "%s/circuit.json", fuzz_folder());
    const int status = sn_report_write_json(context, circuit, path);
    fuzz_check(status, context);
    if (status != SN_OK)
        return;
    fuzz_check(sn_circuit_load(&again, context, model, path), context);
    if (!again)
        abort();
    check_same(sn_circuit_label(circuit, 0, SN_LABEL), sn_circuit_label(again, 0, SN_LABEL));
    check_same(sn_circuit_label(circuit, 0, SN_NOTE), sn_circuit_label(again, 0, SN_NOTE));
    check_same(sn_circuit_measurement(NULL, circuit, 0), sn_circuit_measurement(NULL, again, 0));
    sn_circuit_free(again);
}

static int swallow(const char *text, size_t length, void *payload)
{
    (void)text, (void)payload;
    return length > (size_t)1 << 30;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return -1;
    sn_model *model = small_fixed()->model;
    sn_context *context = fuzz_context(16);
    char *text = malloc(size);
    if (!text)
        abort();
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    sn_circuit *circuit = small_circuit(context, model);
    fuzz_check(name_it(circuit, context, data[0], text), context);
    round_trip(circuit, model, context);
    const int last = data[0] >= 240 ? SN_REPORT_HTML : SN_REPORT_SVG; /* the page is large */
    for (int form = SN_REPORT_DOT; form <= last; form++)
        fuzz_check(sn_report_send(context, circuit, form, NULL, swallow, NULL), context);
    sn_circuit_free(circuit);
    free(text);
    sn_context_free(context);
    return 0;
}
