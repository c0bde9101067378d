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
    if (!ingest->row_start)
        return fail_memory(context, "the rows of a matrix", (rows + 1) * sizeof(uint32_t));
    return SN_OK;
}

/* Half as much again, so that rows come in constant time on average. */
static size_t next_capacity(size_t capacity, size_t needed)
{
    size_t wanted = capacity + capacity / 2 + 256;
    return wanted < needed ? needed : wanted;
}

/* Resized, large blocks move without a copy. */
static int set_capacity(struct ingest *ingest, struct sn_context *context, size_t capacity)
{
    struct memory *memory = ingest->memory;
    const size_t size = sizeof *ingest->col_index;
    uint32_t *col_index =
        memory_resize(memory, ingest->col_index, ingest->index_capacity * size, capacity * size);
    if (col_index) {
        ingest->col_index = col_index;
        ingest->index_capacity = capacity;
    }
    float *values =
        col_index ? memory_resize(memory, ingest->values, ingest->value_capacity * size, capacity * size)
                  : NULL;
    if (!values)
        return fail_memory(context, "the nonzeros of a matrix", capacity * 2 * size);
    ingest->values = values;
    ingest->value_capacity = capacity;
    return SN_OK;
}

static int reserve(struct ingest *ingest, struct sn_context *context, size_t more)
{
    size_t needed = ingest->n_nonzero + more;
    if (needed <= ingest->value_capacity)
        return SN_OK;
    if (needed > UINT32_MAX)
        return fail(context, SN_ERROR_UNSUPPORTED, "a sparse matrix of more than %lu nonzeros",
                    (unsigned long)UINT32_MAX);
    return set_capacity(ingest, context, next_capacity(ingest->value_capacity, needed));
}

static void free_sparse(struct ingest *ingest)
{
    memory_free(ingest->memory, ingest->row_start, (ingest->rows + 1) * sizeof *ingest->row_start);
    memory_free(ingest->memory, ingest->col_index, ingest->index_capacity * sizeof *ingest->col_index);
    memory_free(ingest->memory, ingest->values, ingest->value_capacity * sizeof *ingest->values);
    ingest->row_start = ingest->col_index = NULL;
    ingest->values = NULL;
    ingest->index_capacity = ingest->value_capacity = ingest->n_nonzero = 0;
}

/* Too many nonzeros: what has come so far moves into a dense matrix. */
static int turn_dense(struct ingest *ingest, struct sn_context *context)
{
    int status = matrix_create_dense(&ingest->dense, context, ingest->rows, ingest->cols, NULL);
    if (status != SN_OK)
        return status;
    for (size_t r = 0; r < ingest->next_row; r++)
        for (size_t i = ingest->row_start[r]; i < ingest->row_start[r + 1]; i++)
            ingest->dense->values[r * ingest->cols + ingest->col_index[i]] = ingest->values[i];
    free_sparse(ingest);
    return SN_OK;
}

/* There is room for a whole row. */
static void append_row(struct ingest *ingest, const struct kernel_table *kernels, const float *row)
{
    ingest->n_nonzero += kernels->gather_nonzeros(ingest->values + ingest->n_nonzero,
                                                  ingest->col_index + ingest->n_nonzero,
                                                  &ingest->not_finite, row, ingest->cols);
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
                               ingest->col_index);
    if (status != SN_OK)
        return status;
    ingest->row_start = ingest->col_index = NULL;
    status = matrix_adopt_sparse(out, context, pattern, ingest->values);
    if (status == SN_OK)
        ingest->values = NULL;
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
           2 * memory_block_size(capacity * sizeof(uint32_t));
}

void ingest_abort(struct ingest *ingest)
{
    if (!ingest->memory)
        return;
    free_sparse(ingest);
    matrix_free(ingest->dense);
    memset(ingest, 0, sizeof *ingest);
}
