#include "model/ingest.h"

#include <math.h>
#include <string.h>

int ingest_begin(struct ingest *ingest, struct sn_context *context, size_t rows, size_t cols,
                 double max_density)
{
    memset(ingest, 0, sizeof *ingest);
    ingest->memory = context->memory;
    ingest->rows = rows;
    ingest->cols = cols;
    if (max_density < 0)
        return matrix_create_dense(&ingest->dense, context, rows, cols, NULL);
    ingest->limit = (size_t)(max_density * (double)rows * (double)cols);
    ingest->row_start = memory_allocate_zeroed_array(ingest->memory, rows + 1, sizeof(uint32_t));
    ingest->row_columns = memory_allocate_array(ingest->memory, cols, sizeof(uint32_t));
    if (!ingest->row_start || !ingest->row_columns)
        return fail_memory(context, "the rows of a matrix", (rows + 1) * sizeof(uint32_t));
    return SN_OK;
}

/* Half as much again, so that rows come in constant time on average. */
static size_t next_capacity(size_t capacity, size_t needed)
{
    size_t wanted = capacity + capacity / 2 + 256;
    return wanted < needed ? needed : wanted;
}

/* A block of *bytes; NULL when out of memory, and then the old one stands. Large ones move without a
 * copy. */
static void *resized(struct memory *memory, void *block, size_t *bytes, size_t wanted)
{
    void *moved = memory_resize(memory, block, *bytes, wanted);
    if (moved)
        *bytes = wanted;
    return moved;
}

static int set_capacity(struct ingest *ingest, struct sn_context *context, size_t capacity)
{
    struct memory *memory = ingest->memory;
    const size_t half = capacity * sizeof(uint16_t), whole = capacity * sizeof(float);
    const int is_wide = ingest->cols > INDEX_RANGE;
    uint16_t *low = resized(memory, ingest->index.low, &ingest->low_bytes, half);
    ingest->index.low = low ? low : ingest->index.low;
    uint16_t *high = is_wide ? resized(memory, ingest->index.high, &ingest->high_bytes, half) : NULL;
    ingest->index.high = high ? high : ingest->index.high;
    float *values = resized(memory, ingest->values, &ingest->value_bytes, whole);
    ingest->values = values ? values : ingest->values;
    if (!low || !values || (is_wide && !high))
        return fail_memory(context, "the nonzeros of a matrix", half + whole);
    ingest->capacity = capacity;
    return SN_OK;
}

static int reserve(struct ingest *ingest, struct sn_context *context, size_t more)
{
    size_t needed = ingest->n_nonzero + more;
    if (needed <= ingest->capacity)
        return SN_OK;
    if (needed > UINT32_MAX)
        return fail(context, SN_ERROR_UNSUPPORTED, "a sparse matrix of more than %lu nonzeros",
                    (unsigned long)UINT32_MAX);
    return set_capacity(ingest, context, next_capacity(ingest->capacity, needed));
}

static void free_sparse(struct ingest *ingest)
{
    struct memory *memory = ingest->memory;
    memory_free(memory, ingest->row_start, (ingest->rows + 1) * sizeof *ingest->row_start);
    memory_free(memory, ingest->row_columns, ingest->cols * sizeof *ingest->row_columns);
    memory_free(memory, ingest->index.low, ingest->low_bytes);
    memory_free(memory, ingest->index.high, ingest->high_bytes);
    memory_free(memory, ingest->values, ingest->value_bytes);
    ingest->row_start = ingest->row_columns = NULL;
    ingest->index = (struct sparse_index){0};
    ingest->values = NULL;
    ingest->low_bytes = ingest->high_bytes = ingest->value_bytes = 0;
    ingest->capacity = ingest->n_nonzero = 0;
}

/* Too many nonzeros: what has come so far moves into a dense matrix. */
static int turn_dense(struct ingest *ingest, struct sn_context *context)
{
    int status = matrix_create_dense(&ingest->dense, context, ingest->rows, ingest->cols, NULL);
    if (status != SN_OK)
        return status;
    for (size_t r = 0; r < ingest->next_row; r++)
        for (size_t i = ingest->row_start[r]; i < ingest->row_start[r + 1]; i++)
            ingest->dense->values[r * ingest->cols + index_at(&ingest->index, i)] = ingest->values[i];
    free_sparse(ingest);
    return SN_OK;
}

/* There is room for a whole row. */
static void append_row(struct ingest *ingest, const struct kernel_table *kernels, const float *row)
{
    size_t at = ingest->n_nonzero;
    size_t n = kernels->gather_nonzeros(ingest->values + at, ingest->row_columns, &ingest->not_finite,
                                        row, ingest->cols);
    for (size_t i = 0; i < n; i++)
        index_set(&ingest->index, at + i, ingest->row_columns[i]);
    ingest->n_nonzero += n;
    ingest->row_start[++ingest->next_row] = (uint32_t)ingest->n_nonzero;
}

/* The sum of squares of a finite row is finite in double, that of any other is not. */
static void append_dense(struct ingest *ingest, const struct kernel_table *kernels, const float *values,
                         size_t n_rows)
{
    size_t n = n_rows * ingest->cols;
    memcpy(ingest->dense->values + ingest->next_row * ingest->cols, values, n * sizeof *values);
    ingest->not_finite |= !isfinite(kernels->sum_of_squares(values, n));
    ingest->next_row += n_rows;
}

int ingest_rows(struct ingest *ingest, struct sn_context *context, const float *values, size_t n_rows)
{
    size_t row = 0;
    int status = SN_OK;
    for (; row < n_rows && !ingest->dense && status == SN_OK; row++) {
        status = reserve(ingest, context, ingest->cols);
        if (status != SN_OK)
            return status;
        append_row(ingest, context->kernels, values + row * ingest->cols);
        if (ingest->n_nonzero > ingest->limit)
            status = turn_dense(ingest, context);
    }
    if (status == SN_OK && ingest->dense)
        append_dense(ingest, context->kernels, values + row * ingest->cols, n_rows - row);
    return status;
}

static int finish_dense(struct sn_matrix **out, struct ingest *ingest, struct sn_context *context)
{
    int status = matrix_values_changed(ingest->dense, context);
    if (status != SN_OK)
        return status;
    *out = ingest->dense;
    ingest->dense = NULL;
    return SN_OK;
}

/* The arrays themselves become the matrix, cut to what is in them. */
static int finish_sparse(struct sn_matrix **out, struct ingest *ingest, struct sn_context *context)
{
    struct pattern *pattern = NULL;
    int status = set_capacity(ingest, context, ingest->n_nonzero);
    if (status == SN_OK)
        status = pattern_adopt(&pattern, context, ingest->rows, ingest->cols, ingest->row_start,
                               &ingest->index);
    if (status != SN_OK)
        return status;
    ingest->row_start = NULL;
    ingest->index = (struct sparse_index){0};
    ingest->low_bytes = ingest->high_bytes = 0;
    status = matrix_adopt_sparse(out, context, pattern, ingest->values);
    if (status == SN_OK) {
        ingest->values = NULL;
        ingest->value_bytes = 0;
    }
    pattern_release(pattern);
    return status;
}

int ingest_finish(struct sn_matrix **out, struct ingest *ingest, struct sn_context *context)
{
    *out = NULL;
    int status =
        ingest->dense ? finish_dense(out, ingest, context) : finish_sparse(out, ingest, context);
    ingest_abort(ingest);
    return status;
}

size_t ingest_estimate(size_t rows, size_t cols, size_t n_nonzero)
{
    size_t capacity = 0, needed = n_nonzero + cols;
    while (capacity < needed)
        capacity = next_capacity(capacity, cols);
    return memory_block_size((rows + 1) * sizeof(uint32_t)) +
           memory_block_size(cols * sizeof(uint32_t)) + index_bytes(cols, capacity) +
           memory_block_size(capacity * sizeof(float));
}

void ingest_abort(struct ingest *ingest)
{
    if (!ingest->memory)
        return;
    free_sparse(ingest);
    matrix_free(ingest->dense);
    memset(ingest, 0, sizeof *ingest);
}
