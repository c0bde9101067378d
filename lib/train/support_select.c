/* Selection by magnitude among the entries of a sparse pattern, with a minimum per row or column. */
#include "train/trainer.h"

#include <string.h>

struct selection {
    struct pattern *pattern;
    const struct pattern_columns *columns; /* for the minimum per column */
    const float *values;
    unsigned char *retain;
    uint64_t *keys; /* nnz */
    size_t n_keys;
};

static void retain_top(struct selection *selection, size_t k)
{
    size_t n = k < selection->n_keys ? k : selection->n_keys;
    top_keys(selection->keys, selection->n_keys, n);
    for (size_t i = 0; i < n; i++)
        selection->retain[key_index(selection->keys[i])] = 1;
}

static void add_key(struct selection *selection, size_t entry)
{
    selection->keys[selection->n_keys++] = magnitude_key(selection->values[entry], (uint32_t)entry);
}

/* Reserves the `minimum` largest entries of every neuron; returns how many that are. */
static size_t reserve(struct selection *selection, int axis, size_t minimum)
{
    const struct pattern *pattern = selection->pattern;
    const uint32_t *start = axis == SN_AXIS_ROW ? pattern->row_start : selection->columns->start;
    size_t neurons = axis == SN_AXIS_ROW ? pattern->rows : pattern->cols, reserved = 0;
    for (size_t neuron = 0; neuron < neurons; neuron++) {
        selection->n_keys = 0;
        for (size_t i = start[neuron]; i < start[neuron + 1]; i++)
            add_key(selection, axis == SN_AXIS_ROW ? i : selection->columns->entry[i]);
        retain_top(selection, minimum);
        reserved += minimum < selection->n_keys ? minimum : selection->n_keys;
    }
    return reserved;
}

int support_select(unsigned char *retain, struct sn_context *context, struct pattern *pattern,
                   const float *values, size_t k, int axis, size_t minimum)
{
    size_t bytes = pattern->nnz * sizeof(uint64_t), reserved = 0;
    struct selection selection = {.pattern = pattern, .values = values, .retain = retain};
    int status = axis == SN_AXIS_COLUMN && minimum
                     ? pattern_entries(&selection.columns, context, pattern)
                     : SN_OK;
    if (status != SN_OK)
        return status;
    selection.keys = memory_allocate(context->memory, bytes);
    if (!selection.keys)
        return fail_memory(context, "the choice of a support", bytes);
    memset(retain, 0, pattern->nnz);
    if (axis != SN_AXIS_NONE && minimum)
        reserved = reserve(&selection, axis, minimum);
    selection.n_keys = 0;
    for (size_t i = 0; i < pattern->nnz; i++)
        if (!retain[i])
            add_key(&selection, i);
    retain_top(&selection, k - reserved);
    memory_free(context->memory, selection.keys, bytes);
    return SN_OK;
}
