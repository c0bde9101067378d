#include "matrix/token.h"

#include <string.h>

int token_matrix_create(struct token_matrix *out, struct sn_context *context,
                        const struct sn_matrix *matrix, int sparse_input)
{
    int by_columns = matrix->pattern && sparse_input && matrix->rows <= INDEX_RANGE;
    *out = (struct token_matrix){matrix, by_columns};
    return by_columns ? matrix_prepare_transposed(matrix, context) : SN_OK;
}

/* Whole rows, or what they have in each range of columns, one after the other. */
static void multiply_rows(const struct sn_matrix *matrix, const struct kernel_table *kernels, float *y,
                          const float *x, const float *bias)
{
    const struct pattern *pattern = matrix->pattern;
    struct sparse_order order = {&pattern->blocks, pattern->row_start, pattern->index.low,
                                 matrix->values};
    if (!pattern->index.high) {
        struct sparse_block whole = {matrix->rows,    0,           order.start,
                                     order.start + 1, order.index, order.value};
        kernels->token_rows(y, &whole, x, bias);
        return;
    }
    for (size_t tile = 0; tile < pattern->blocks.n_tiles; tile++)
        for (size_t b = 0; b < pattern->blocks.n_blocks; b++) {
            struct sparse_block block = order_block(&order, tile, b);
            size_t first = tile * pattern->blocks.tile_rows;
            float *sums = y + first;
            kernels->token_rows(sums, &block, x, b ? sums : bias ? bias + first : NULL);
        }
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
    const struct pattern_columns *made = pattern_columns_made(matrix->pattern);
    struct sparse_columns columns = {made->start, made->index.low, matrix_transposed(matrix)};
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
    else if (!token->by_columns || !multiply_columns(token, kernels, y, x, bias, scratch))
        multiply_rows(matrix, kernels, y, x, bias);
}
