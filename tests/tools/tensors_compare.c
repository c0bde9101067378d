/* tensors_compare EXPECTED GOT TOLERANCE REGEX: every tensor of EXPECTED whose whole name matches must be
 * in GOT with the same shape, and differ by at most TOLERANCE times its largest magnitude. */
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sparsenet.h"

static int compare(const sn_tensors *expected, const sn_tensors *got, const char *name, double tolerance)
{
    const size_t *shape, *other_shape;
    size_t n, other_n, count = 1;
    const float *a = sn_tensors_values(&shape, &n, expected, name);
    const float *b = sn_tensors_values(&other_shape, &other_n, got, name);
    double worst = 0, largest = 0;
    if (!b || n != other_n || (n && memcmp(shape, other_shape, n * sizeof *shape) != 0)) {
        printf("%s: %s\n", name, b ? "another shape" : "absent");
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        count *= shape[i];
    for (size_t i = 0; i < count; i++) {
        const double error = fabs((double)a[i] - (double)b[i]);
        worst = error > worst || error != error ? error : worst;
        largest = fmax(largest, fabs((double)a[i]));
    }
    printf("%s: worst error %.3g of %.3g\n", name, worst, largest);
    return worst <= tolerance * largest + 1e-8;
}

int main(int n_arguments, char **arguments)
{
    sn_context *context;
    sn_tensors *expected = NULL, *got = NULL;
    regex_t wanted;
    char pattern[1024];
    size_t n_compared = 0, n_wrong = 0;
    if (n_arguments != 5)
        return fprintf(stderr, "usage: tensors_compare EXPECTED GOT TOLERANCE REGEX\n"), 2;
    snprintf(pattern, sizeof pattern, "^(%s)$", arguments[4]);
    if (regcomp(&wanted, pattern, REG_EXTENDED | REG_NOSUB) != 0 ||
        sn_context_create(&context, NULL) != SN_OK)
        return 2;
    if (sn_tensors_load(&expected, context, arguments[1]) != SN_OK ||
        sn_tensors_load(&got, context, arguments[2]) != SN_OK)
        return fprintf(stderr, "%s\n", sn_context_message(context)), 2;
    for (size_t i = 0; i < sn_tensors_count(expected); i++) {
        const char *name = sn_tensors_name(expected, i);
        if (regexec(&wanted, name, 0, NULL, 0) != 0)
            continue;
        n_compared++;
        n_wrong += !compare(expected, got, name, strtod(arguments[3], NULL));
    }
    printf("%zu compared, %zu wrong\n", n_compared, n_wrong);
    regfree(&wanted);
    sn_tensors_free(expected);
    sn_tensors_free(got);
    sn_context_free(context);
    return n_wrong || n_compared == 0;
}
