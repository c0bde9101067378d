#include <string.h>

#include "base/threads.h"
#include "kernels/dense.h"
#include "matrix/matrix.h"

/* Blocks inside tiles: a tile's sums stay in the cache while the input passes block by block. */
static void multiply_order(const struct sparse_order *order, const struct kernel_table *kernels,
                           float *y, const float *x, const float *bias, int accumulate)
{
    for (size_t tile = 0; tile < order->blocks->n_tiles; tile++) {
        size_t first = tile * order->blocks->tile_rows;
        for (size_t b = 0; b < order->blocks->n_blocks; b++) {
            struct sparse_block block = order_block(order, tile, b);
            kernels->sparse_multiply(y + first * PANEL, &block, x, bias ? bias + first : NULL,
                                     accumulate || b > 0);
        }
    }
}

void matrix_multiply_panel(const struct sn_matrix *matrix, const struct kernel_table *kernels, float *y,
                           const float *x, const float *bias, int accumulate)
{
    const struct pattern *pattern = matrix->pattern;
    if (pattern) {
        struct sparse_order order = {&pattern->blocks, pattern->row_start, pattern->index.low,
                                     matrix->values};
        multiply_order(&order, kernels, y, x, bias, accumulate);
    } else {
        dense_multiply(kernels, y, matrix->values, matrix->rows, matrix->cols, x, bias, accumulate);
    }
}

void matrix_multiply_transposed_panel(const struct sn_matrix *matrix, const struct kernel_table *kernels,
                                      float *dx, const float *dy, int accumulate)
{
    if (matrix->pattern) {
        const struct pattern_columns *columns = pattern_columns_made(matrix->pattern);
        struct sparse_order order = {&columns->blocks, columns->start, columns->index.low,
                                     matrix_transposed(matrix)};
        multiply_order(&order, kernels, dx, dy, NULL, accumulate);
    } else {
        dense_multiply_transposed(kernels, dx, matrix->values, matrix->rows, matrix->cols, dy,
                                  accumulate);
    }
}

/* ------------------------------------------------------------------ public */

struct product {
    const struct sn_matrix *matrix;
    const struct kernel_table *kernels;
    float *to;         /* n_tokens x to_width */
    const float *from; /* n_tokens x from_width */
    size_t n_tokens, to_width, from_width;
    int transposed;
    float *scratch; /* per worker: a panel of each */
};

static int product_chunk(void *payload, size_t chunk, size_t worker)
{
    const struct product *product = payload;
    const struct kernel_table *kernels = product->kernels;
    size_t token = chunk * PANEL, left = product->n_tokens - token, n = left < PANEL ? left : PANEL;
    float *x = product->scratch + worker * (product->to_width + product->from_width) * PANEL;
    float *y = x + product->from_width * PANEL;
    if (n < PANEL)
        memset(x, 0, product->from_width * PANEL * sizeof *x);
    kernels->transpose(x, PANEL, product->from + token * product->from_width, product->from_width, n,
                       product->from_width);
    if (product->transposed)
        matrix_multiply_transposed_panel(product->matrix, kernels, y, x, 0);
    else
        matrix_multiply_panel(product->matrix, kernels, y, x, NULL, 0);
    kernels->transpose(product->to + token * product->to_width, product->to_width, y, PANEL,
                       product->to_width, n);
    return SN_OK;
}

static int run_product(struct product *product, struct sn_context *context)
{
    size_t width = (product->to_width + product->from_width) * PANEL, n_floats;
    if (!size_product(&n_floats, width, parallel_workers(context)))
        return fail_memory(context, "panels", SIZE_MAX);
    product->scratch = memory_allocate_array(context->memory, n_floats, sizeof(float));
    if (!product->scratch)
        return fail_memory(context, "panels", n_floats * sizeof(float));
    int status = parallel_for(context, (product->n_tokens + PANEL - 1) / PANEL, product_chunk, product);
    memory_free(context->memory, product->scratch, n_floats * sizeof(float));
    return status;
}

/* NULL arguments by name; nothing to read or write without tokens. */
static int check_product(struct sn_context *context, const struct sn_matrix *matrix, const char *to_name,
                         const float *to, const char *from_name, const float *from, size_t n_tokens)
{
    const char *missing = !matrix             ? "matrix"
                          : n_tokens && !to   ? to_name
                          : n_tokens && !from ? from_name
                                              : NULL;
    if (missing)
        return fail(context, SN_ERROR_ARGUMENT, "%s is NULL", missing);
    return SN_OK;
}

int sn_matrix_multiply(float *y, sn_context *context, const sn_matrix *matrix, const float *x,
                       size_t n_tokens)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    int status = check_product(context, matrix, "y", y, "x", x, n_tokens);
    if (status != SN_OK || n_tokens == 0)
        return status;
    struct product product = {matrix,       context->kernels, y, x,   n_tokens,
                              matrix->rows, matrix->cols,     0, NULL};
    return run_product(&product, context);
}

int sn_matrix_multiply_transposed(float *dx, sn_context *context, const sn_matrix *matrix,
                                  const float *dy, size_t n_tokens)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    int status = check_product(context, matrix, "dx", dx, "dy", dy, n_tokens);
    if (status != SN_OK || n_tokens == 0)
        return status;
    status = matrix_prepare_transposed(matrix, context);
    if (status != SN_OK)
        return status;
    struct product product = {matrix,       context->kernels, dx, dy,  n_tokens,
                              matrix->cols, matrix->rows,     1,  NULL};
    return run_product(&product, context);
}
