#include "model/ingest.h"

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

/* Both arrays move to fresh blocks together, so that `capacity` is always the size of both. */
static int grow(struct ingest *ingest, struct sn_context *context, size_t capacity)
{
    struct memory *memory = ingest->memory;
    uint32_t *col_index = memory_allocate_array(memory, capacity, sizeof *col_index);
    float *values = memory_allocate_array(memory, capacity, sizeof *values);
    if (!col_index || !values) {
        memory_free(memory, col_index, capacity * sizeof *col_index);
        memory_free(memory, values, capacity * sizeof *values);
        return fail_memory(context, "the nonzeros of a matrix",
                           capacity * (sizeof *col_index + sizeof *values));
    }
    if (ingest->n_nonzero) {
        memcpy(col_index, ingest->col_index, ingest->n_nonzero * sizeof *col_index);
        memcpy(values, ingest->values, ingest->n_nonzero * sizeof *values);
    }
    memory_free(memory, ingest->col_index, ingest->capacity * sizeof *col_index);
    memory_free(memory, ingest->values, ingest->capacity * sizeof *values);
    ingest->col_index = col_index;
    ingest->values = values;
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
    size_t capacity = ingest->capacity + ingest->capacity / 2 + 256;
    return grow(ingest, context, capacity < needed ? needed : capacity);
}

static void free_sparse(struct ingest *ingest)
{
    memory_free(ingest->memory, ingest->row_start, (ingest->rows + 1) * sizeof *ingest->row_start);
    memory_free(ingest->memory, ingest->col_index, ingest->capacity * sizeof *ingest->col_index);
    memory_free(ingest->memory, ingest->values, ingest->capacity * sizeof *ingest->values);
    ingest->row_start = ingest->col_index = NULL;
    ingest->values = NULL;
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
            ingest->dense->values[r * ingest->cols + ingest->col_index[i]] = ingest->values[i];
    free_sparse(ingest);
    return SN_OK;
}

static size_t count_nonzeros(const float *values, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += values[i] != 0;
    return count;
}

static void append_row(struct ingest *ingest, const float *row)
{
    for (size_t c = 0; c < ingest->cols; c++) {
        if (row[c] == 0)
            continue;
        ingest->col_index[ingest->n_nonzero] = (uint32_t)c;
        ingest->values[ingest->n_nonzero++] = row[c];
    }
    ingest->row_start[++ingest->next_row] = (uint32_t)ingest->n_nonzero;
}

int ingest_rows(struct ingest *ingest, struct sn_context *context, const float *values, size_t n_rows)
{
    size_t n = n_rows * ingest->cols;
    int status = SN_OK;
    if (!ingest->dense) {
        size_t more = count_nonzeros(values, n);
        if (ingest->n_nonzero + more > ingest->limit)
            status = turn_dense(ingest, context);
        else
            status = reserve(ingest, context, more);
    }
    if (status != SN_OK)
        return status;
    if (ingest->dense) {
        memcpy(ingest->dense->values + ingest->next_row * ingest->cols, values, n * sizeof *values);
        ingest->next_row += n_rows;
        return SN_OK;
    }
    for (size_t r = 0; r < n_rows; r++)
        append_row(ingest, values + r * ingest->cols);
    return SN_OK;
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

int ingest_finish(struct sn_matrix **out, struct ingest *ingest, struct sn_context *context)
{
    struct pattern *pattern = NULL;
    int status;
    *out = NULL;
    if (ingest->dense) {
        status = finish_dense(out, ingest, context);
    } else {
        status = reserve(ingest, context, ingest->capacity ? 0 : 1); /* arrays even without nonzeros */
        if (status == SN_OK)
            status = pattern_create(&pattern, context, ingest->rows, ingest->cols, ingest->row_start,
                                    ingest->col_index);
        if (status == SN_OK)
            status = matrix_create_sparse(out, context, pattern, ingest->values);
        pattern_release(pattern);
    }
    ingest_abort(ingest);
    return status;
}

void ingest_abort(struct ingest *ingest)
{
    if (!ingest->memory)
        return;
    free_sparse(ingest);
    matrix_free(ingest->dense);
    memset(ingest, 0, sizeof *ingest);
}
