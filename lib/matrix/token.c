#include "matrix/token.h"

#include <string.h>

#define MOST_ROWS 65536 /* indices have 16 bits */

/* Counted, summed, then filled row by row: rows ascend in each column. */
static void fill_columns(struct token_matrix *token, const struct sn_matrix *matrix)
{
    const struct pattern *pattern = matrix->pattern;
    uint32_t *next = token->start + 1; /* next[c] ends as the start of column c + 1 */
    memset(token->start, 0, (matrix->cols + 1) * sizeof *token->start);
    for (size_t i = 0; i < pattern->nnz; i++)
        if (pattern->col_index[i] + 1 < matrix->cols)
            next[pattern->col_index[i] + 1]++;
    for (size_t c = 1; c < matrix->cols; c++)
        next[c] += next[c - 1];
    for (size_t r = 0; r < matrix->rows; r++)
        for (uint32_t i = pattern->row_start[r]; i < pattern->row_start[r + 1]; i++) {
            uint32_t place = next[pattern->col_index[i]]++;
            token->row[place] = (uint16_t)r;
            token->value[place] = matrix->values[i];
        }
}

int token_matrix_create(struct token_matrix *out, struct sn_context *context,
                        const struct sn_matrix *matrix, int sparse_input)
{
    struct memory *memory = context->memory;
    *out = (struct token_matrix){.matrix = matrix};
    if (!matrix->pattern || !sparse_input || matrix->rows > MOST_ROWS)
        return SN_OK;
    size_t nnz = matrix->n_values;
    out->start = memory_allocate_array(memory, matrix->cols + 1, sizeof *out->start);
    out->row = memory_allocate_array(memory, nnz, sizeof *out->row);
    out->value = memory_allocate_array(memory, nnz, sizeof *out->value);
    if (!out->start || !out->row || !out->value) {
        token_matrix_release(out, memory);
        return fail_memory(context, "the columns of a matrix", nnz * 6);
    }
    fill_columns(out, matrix);
    return SN_OK;
}

void token_matrix_release(struct token_matrix *token, struct memory *memory)
{
    if (!token->matrix)
        return;
    memory_free(memory, token->start, (token->matrix->cols + 1) * sizeof *token->start);
    memory_free(memory, token->row, token->matrix->n_values * sizeof *token->row);
    memory_free(memory, token->value, token->matrix->n_values * sizeof *token->value);
    *token = (struct token_matrix){0};
}

static void multiply_rows(const struct sn_matrix *matrix, const struct kernel_table *kernels, float *y,
                          const float *x, const float *bias)
{
    const struct pattern *pattern = matrix->pattern;
    struct sparse_rows rows = {matrix->rows, pattern->row_start, pattern->col_index, matrix->values};
    kernels->token_rows(y, &rows, x, bias);
}

static int multiply_columns(const struct token_matrix *token, const struct kernel_table *kernels,
                            float *y, const float *x, const float *bias, void *scratch)
{
    const struct sn_matrix *matrix = token->matrix;
    float *value = scratch;
    uint32_t *active = (uint32_t *)(value + matrix->cols);
    int not_finite = 0; /* the logits will show it */
    size_t n = kernels->gather_nonzeros(value, active, &not_finite, x, matrix->cols);
    if ((double)n > TOKEN_ROWS_SHARE * (double)matrix->cols)
        return 0;
    struct sparse_columns columns = {token->start, token->row, token->value};
    if (bias)
        memcpy(y, bias, matrix->rows * sizeof *y);
    else
        memset(y, 0, matrix->rows * sizeof *y);
    kernels->token_columns(y, &columns, active, value, n);
    return 1;
}

size_t token_scratch(size_t cols)
{
    return cols * (sizeof(float) + sizeof(uint32_t));
}

void token_multiply(const struct token_matrix *token, const struct kernel_table *kernels, float *y,
                    const float *x, const float *bias, void *scratch)
{
    const struct sn_matrix *matrix = token->matrix;
    if (!matrix->pattern)
        kernels->token_dense(y, matrix->values, matrix->rows, matrix->cols, x, bias);
    else if (!token->start || !multiply_columns(token, kernels, y, x, bias, scratch))
        multiply_rows(matrix, kernels, y, x, bias);
}
