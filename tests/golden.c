#include "golden.h"

#include <math.h>
#include <stdlib.h>

const char *golden_path(char *path, size_t capacity, const char *directory, const char *name)
{
    snprintf(path, capacity, "%s/%s", directory, name);
    return path;
}

double golden_max_abs(const float *values, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)values[i]));
    return largest;
}

int golden_compare(FILE *out, const char *name, const float *got, const float *expected, size_t n,
                   double limit)
{
    double worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)got[i] - (double)expected[i]);
        if (!(error <= worst)) {
            worst = isnan(error) ? INFINITY : error;
            at = i;
        }
    }
    int failed = !(worst <= limit);
    fprintf(out, "%s %-50s worst %.3e of %.3e", failed ? "FAIL" : "ok  ", name, worst, limit);
    if (failed)
        fprintf(out, "  at %zu: got %.8g, expected %.8g", at, (double)got[at], (double)expected[at]);
    fputc('\n', out);
    return failed;
}

float *golden_tensor(struct safetensors *file, sn_context *context, const char *name, size_t *n)
{
    const struct safetensors_entry *entry = safetensors_find(file, name);
    if (!entry)
        return NULL;
    *n = (size_t)entry->count;
    float *values = malloc((*n + 1) * sizeof *values);
    if (values && safetensors_read_floats(values, file, context, entry, 0, *n) != SN_OK) {
        free(values);
        return NULL;
    }
    return values;
}

int32_t *golden_tokens(const char *directory, const char *name, size_t *n)
{
    char path[4096];
    FILE *file = fopen(golden_path(path, sizeof path, directory, name), "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    int32_t *tokens = size > 0 ? malloc((size_t)size) : NULL;
    *n = (size_t)size / 4;
    if (tokens && fread(tokens, 4, *n, file) != *n) {
        free(tokens);
        tokens = NULL;
    }
    fclose(file);
    return tokens;
}

json_t *golden_meta(const char *directory, sn_context *context)
{
    char path[4096];
    json_t *meta = NULL;
    (void)json_read_file(&meta, context, golden_path(path, sizeof path, directory, "meta.json"), 1 << 24);
    return meta;
}
