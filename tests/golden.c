#include "golden.h"

#include <math.h>
#include <stdlib.h>

const char *golden_path(char *path, size_t capacity, const char *directory, const char *name)
{
    snprintf(path, capacity, "%s/%s", directory, name);
    return path;
}

static int use_torch;

void golden_use_torch(int use)
{
    use_torch = use;
}

int golden_load(sn_model **out, sn_context *context, const char *directory)
{
    char path[512];
    return sn_model_load(out, context,
                         use_torch ? golden_path(path, sizeof path, directory, "final_model.pt")
                                   : directory);
}

double golden_max_abs(const float *values, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)values[i]));
    return largest;
}

/* Where the error is worst in units of its limit, so far. */
struct worst {
    double error, limit;
    size_t at;
    int failed;
};

static void worst_of(struct worst *worst, const float *got, const float *expected, size_t first,
                     size_t n, double limit)
{
    for (size_t i = first; i < first + n; i++) {
        double error = fabs((double)got[i] - (double)expected[i]);
        worst->failed |= !(error <= limit);
        if (i == 0 || !(error * worst->limit <= worst->error * limit)) {
            worst->error = isnan(error) ? INFINITY : error;
            worst->limit = limit;
            worst->at = i;
        }
    }
}

static int report(FILE *out, const char *name, const struct worst *worst, const float *got,
                  const float *expected)
{
    fprintf(out, "%s %-50s worst %.3e of %.3e", worst->failed ? "FAIL" : "ok  ", name, worst->error,
            worst->limit);
    if (worst->failed)
        fprintf(out, "  at %zu: got %.8g, expected %.8g", worst->at, (double)got[worst->at],
                (double)expected[worst->at]);
    fputc('\n', out);
    return worst->failed;
}

int golden_compare(FILE *out, const char *name, const float *got, const float *expected, size_t n,
                   double limit)
{
    struct worst worst = {0};
    worst_of(&worst, got, expected, 0, n, limit);
    return report(out, name, &worst, got, expected);
}

int golden_compare_rows(FILE *out, const char *name, const float *got, const float *expected,
                        size_t rows, size_t width, double relative)
{
    struct worst worst = {0};
    for (size_t r = 0; r < rows; r++)
        worst_of(&worst, got, expected, r * width, width,
                 relative * golden_max_abs(expected + r * width, width) + 1e-30);
    return report(out, name, &worst, got, expected);
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

json_t *golden_meta(const char *directory)
{
    char path[4096];
    return json_load_file(golden_path(path, sizeof path, directory, "meta.json"), 0, NULL);
}

struct golden_file *golden_open_in(const char *directory, const char *name)
{
    char path[4096];
    return golden_open(golden_path(path, sizeof path, directory, name));
}
