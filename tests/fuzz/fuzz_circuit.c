/* A circuit as JSON, read for the small model in tests/data/released; then every report. Run at the root of the
 * sources. */
#include "small.h"

#include <stdlib.h>
#include <string.h>

struct text {
    char *bytes;
    size_t length;
};

static int append(const char *bytes, size_t length, void *payload)
{
    struct text *text = payload;
    char *more = realloc(text->bytes, text->length + length + 1);
    if (!more)
        abort();
    memcpy(more + text->length, bytes, length);
    text->bytes = more;
    text->length += length;
    return 0;
}

static void compare(const sn_circuit *a, const sn_circuit *b)
{
    const size_t n = sn_circuit_node_count(a), n_measurements = sn_circuit_measurement_count(a);
    if (sn_circuit_node_count(b) != n || sn_circuit_edge_count(b) != sn_circuit_edge_count(a) ||
        sn_circuit_measurement_count(b) != n_measurements ||
        sn_circuit_series_count(b) != sn_circuit_series_count(a) ||
        sn_circuit_path_count(b) != sn_circuit_path_count(a))
        abort();
    for (size_t i = 0; i < n; i++)
        if (strcmp(sn_circuit_node_name(a, i), sn_circuit_node_name(b, i)) != 0)
            abort();
    for (size_t i = 0; i < n_measurements; i++)
        if (strcmp(sn_circuit_measurement(NULL, a, i), sn_circuit_measurement(NULL, b, i)) != 0)
            abort();
}

/* What was read must be written, and read again as the same. */
static void round_trip(const sn_circuit *circuit, sn_context *context)
{
    struct text text = {NULL, 0};
    sn_circuit *again;
    int status = sn_report_send(context, circuit, SN_REPORT_JSON, NULL, append, &text);
    fuzz_check(status, context);
    if (status == SN_OK) {
        const char *path = fuzz_write("again.json", text.bytes, text.length);
        status = sn_circuit_load(&again, context, small_released(), path);
        if (status == SN_OK)
            compare(circuit, again);
        else if (status != SN_ERROR_MEMORY)
            abort();
        sn_circuit_free(again);
    }
    free(text.bytes);
}

static int swallow(const char *bytes, size_t length, void *payload)
{
    (void)bytes, (void)payload;
    return length > (size_t)1 << 30;
}

/* The page is large: for an input of sixteen. */
static void report(const sn_circuit *circuit, sn_context *context, size_t size)
{
    const int last = size % 16 == 0 ? SN_REPORT_HTML : SN_REPORT_SVG;
    for (int form = SN_REPORT_DOT; form <= last; form++)
        fuzz_check(sn_report_send(context, circuit, form, NULL, swallow, NULL), context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sn_circuit *circuit;
    sn_model *model = small_released();
    sn_context *context = fuzz_context(16);
    fuzz_check(sn_circuit_load(&circuit, context, model, fuzz_write("circuit.json", data, size)),
               context);
    if (circuit) {
        round_trip(circuit, context);
        report(circuit, context, size);
    }
    sn_circuit_free(circuit);
    sn_context_free(context);
    return 0;
}
