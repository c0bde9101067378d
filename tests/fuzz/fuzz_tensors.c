/* The safetensors reader alone. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

/* Names, shapes and values, bit for bit. */
static void compare(const sn_tensors *a, const sn_tensors *b)
{
    if (sn_tensors_count(a) != sn_tensors_count(b))
        abort();
    for (size_t i = 0; i < sn_tensors_count(a); i++) {
        const size_t *shape, *shape_b;
        size_t n, n_b, count = 1;
        const char *name = sn_tensors_name(a, i);
        const float *values = sn_tensors_values(&shape, &n, a, name);
        const float *values_b = sn_tensors_values(&shape_b, &n_b, b, name);
        if (!values || !values_b || n != n_b || n > 8)
            abort();
        for (size_t k = 0; k < n; k++) {
            if (shape[k] != shape_b[k])
                abort();
            count *= shape[k];
        }
        if (count && memcmp(values, values_b, count * sizeof *values) != 0)
            abort();
    }
}

static void round_trip(const sn_tensors *tensors, sn_context *context)
{
    sn_tensors *again;
    const char *path = fuzz_write("again", "", 0);
    int status = sn_tensors_save(tensors, context, path);
    fuzz_check(status, context);
    if (status != SN_OK)
        return;
    status = sn_tensors_load(&again, context, path);
    if (status == SN_OK)
        compare(tensors, again);
    else if (status != SN_ERROR_MEMORY)
        abort(); /* what the library writes it must read */
    sn_tensors_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sn_context *context = fuzz_context(8);
    sn_tensors *tensors;
    fuzz_check(sn_tensors_load(&tensors, context, fuzz_write("tensors", data, size)), context);
    if (tensors)
        round_trip(tensors, context);
    sn_tensors_free(tensors);
    sn_context_free(context);
    return 0;
}
