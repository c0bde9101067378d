/* Curves kept with a circuit for its report. */
#include <math.h>
#include <string.h>

#include "circuit/circuit.h"

static void free_series(struct memory *memory, struct kept_series *series)
{
    if (series->name)
        memory_free(memory, series->name, strlen(series->name) + 1);
    memory_free(memory, series->x, series->n * sizeof *series->x);
    memory_free(memory, series->y, series->n * sizeof *series->y);
}

void circuit_drop_series(struct sn_circuit *circuit)
{
    for (size_t i = 0; i < circuit->n_series; i++)
        free_series(circuit->memory, &circuit->series[i]);
    memory_free(circuit->memory, circuit->series, circuit->n_series * sizeof *circuit->series);
    circuit->series = NULL;
    circuit->n_series = 0;
}

static int make_series(struct kept_series *series, struct sn_circuit *circuit,
                       struct sn_context *context, const char *name, size_t n, const double *x,
                       const double *y)
{
    struct memory *memory = circuit->memory;
    *series = (struct kept_series){.name = memory_copy_text(memory, name, strlen(name)),
                                   .n = n,
                                   .x = memory_allocate_array(memory, n, sizeof *x),
                                   .y = memory_allocate_array(memory, n, sizeof *y)};
    if (!series->name || !series->x || !series->y) {
        free_series(memory, series);
        return fail_memory(context, "a series", 2 * n * sizeof *x);
    }
    memcpy(series->x, x, n * sizeof *x);
    memcpy(series->y, y, n * sizeof *y);
    return SN_OK;
}

/* In the place of one of its name, or behind the others. */
static int put_series(struct sn_circuit *circuit, struct sn_context *context,
                      const struct kept_series *made)
{
    size_t n = circuit->n_series, size = sizeof *circuit->series;
    for (size_t i = 0; i < n; i++)
        if (strcmp(circuit->series[i].name, made->name) == 0) {
            free_series(circuit->memory, &circuit->series[i]);
            circuit->series[i] = *made;
            return SN_OK;
        }
    if (n == SERIES_MOST)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_circuit_set_series: %.64s is one more than %d series", made->name, SERIES_MOST);
    struct kept_series *more = memory_resize(circuit->memory, circuit->series, n * size, (n + 1) * size);
    if (!more)
        return fail_memory(context, "series", (n + 1) * size);
    more[n] = *made;
    circuit->series = more;
    circuit->n_series = n + 1;
    return SN_OK;
}

int sn_circuit_set_series(sn_circuit *circuit, sn_context *context, const char *name, size_t n,
                          const double *x, const double *y)
{
    struct kept_series made;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !name || !x || !y)
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_set_series: %s is NULL",
                    !circuit ? "circuit"
                    : !name  ? "name"
                    : !x     ? "x"
                             : "y");
    if (n == 0 || n > SERIES_MOST_POINTS)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_circuit_set_series: %.64s has %zu points, not 1 to %d", name, n,
                    SERIES_MOST_POINTS);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]) || !isfinite(y[i]))
            return fail(context, SN_ERROR_ARGUMENT,
                        "sn_circuit_set_series: point %zu of %.64s is not finite", i, name);
    int status = make_series(&made, circuit, context, name, n, x, y);
    if (status != SN_OK)
        return status;
    status = put_series(circuit, context, &made);
    if (status != SN_OK)
        free_series(circuit->memory, &made);
    return status;
}

size_t sn_circuit_series_count(const sn_circuit *circuit)
{
    return circuit ? circuit->n_series : 0;
}

const char *sn_circuit_series(const double **x, const double **y, size_t *n, const sn_circuit *circuit,
                              size_t index)
{
    if (index >= sn_circuit_series_count(circuit))
        return NULL;
    const struct kept_series *series = &circuit->series[index];
    if (x)
        *x = series->x;
    if (y)
        *y = series->y;
    if (n)
        *n = series->n;
    return series->name;
}
