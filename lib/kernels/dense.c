#include "kernels/dense.h"

#include "kernels/dense_xsmm.h"
#include "kernels/table_body.h"

/* Measured (docs/performance.md). Rows of W per product, and how many of its columns: the panel of x
 * must stay in the L2 cache. Transposed, W is read across its rows, a page apart: fewer at a time. */
#define TILE_ROWS ((size_t)96)
#define TILE_COLS ((size_t)1024)
#define TRANSPOSED_ROWS ((size_t)128)

static void own_gemm(const struct dense_kernels *self, float *c, size_t ldc, const float *a, size_t lda,
                     const float *b, size_t ldb, size_t m, size_t n, size_t k, int accumulate)
{
    self->kernels->gemm(c, ldc, a, lda, b, 1, ldb, m, n, k, accumulate);
}

static void own_gemm_transposed(const struct dense_kernels *self, float *c, size_t ldc, const float *a,
                                size_t lda, const float *b, size_t ldb, size_t m, size_t n, size_t k,
                                int accumulate)
{
    self->kernels->gemm(c, ldc, a, lda, b, ldb, 1, m, n, k, accumulate);
}

#if SN_XSMM
#define FAST xsmm_gemm, xsmm_gemm_transposed
#else
#define FAST own_gemm, own_gemm_transposed
#endif

static const struct dense_kernels portable = {own_gemm, own_gemm_transposed, &kernel_table_portable};

const struct dense_kernels *dense_kernels_portable(void)
{
    return &portable;
}

const struct dense_kernels *dense_kernels_best(void)
{
    return dense_kernels_for(kernels_best());
}

const struct dense_kernels *dense_kernels_for(const struct kernel_table *kernels)
{
    static const struct dense_kernels reference = {own_gemm, own_gemm_transposed,
                                                   &kernel_table_reference};
    if (kernels == &kernel_table_reference)
        return &reference;
#if defined(__x86_64__) || defined(__i386__)
    static const struct dense_kernels avx2 = {FAST, &kernel_table_avx2};
    static const struct dense_kernels avx512 = {FAST, &kernel_table_avx512};
    if (kernels == &kernel_table_avx2)
        return &avx2;
    if (kernels == &kernel_table_avx512)
        return &avx512;
#endif
    return &portable;
}

static void fill_bias(float *y, const float *bias, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t t = 0; t < PANEL; t++)
            y[r * PANEL + t] = bias[r];
}

static size_t at_most(size_t n, size_t limit)
{
    return n < limit ? n : limit;
}

void dense_multiply(const struct kernel_table *kernels, float *y, const float *w, size_t rows,
                    size_t cols, const float *x, const float *bias, int accumulate)
{
    const struct dense_kernels *dense = dense_kernels_for(kernels);
    if (bias && !accumulate)
        fill_bias(y, bias, rows);
    for (size_t c = 0; c < cols; c += TILE_COLS)
        for (size_t r = 0; r < rows; r += TILE_ROWS)
            dense->gemm(dense, y + r * PANEL, PANEL, x + c * PANEL, PANEL, w + r * cols + c, cols, PANEL,
                        at_most(rows - r, TILE_ROWS), at_most(cols - c, TILE_COLS),
                        accumulate || bias || c > 0);
}

void dense_multiply_transposed(const struct kernel_table *kernels, float *dx, const float *w,
                               size_t rows, size_t cols, const float *dy, int accumulate)
{
    const struct dense_kernels *dense = dense_kernels_for(kernels);
    for (size_t r = 0; r < rows; r += TRANSPOSED_ROWS)
        for (size_t c = 0; c < cols; c += TILE_ROWS)
            dense->gemm_transposed(dense, dx + c * PANEL, PANEL, dy + r * PANEL, PANEL, w + r * cols + c,
                                   cols, PANEL, at_most(cols - c, TILE_ROWS),
                                   at_most(rows - r, TRANSPOSED_ROWS), accumulate || r > 0);
}

/* One tile of DENSE_GRADIENT_ROWS x PANEL columns at a time, summed in a contiguous scratch: rows of the
 * gradient itself lie a power of two apart and would fight for the same cache sets. */
static void gradient_tile(const struct dense_kernels *dense, float *gradient, size_t cols, size_t n_cols,
                          size_t rows, const float *dy, size_t dy_stride, const float *x,
                          size_t x_stride, size_t n_panels)
{
    float sum[DENSE_GRADIENT_ROWS * PANEL] __attribute__((aligned(64)));
    float tokens[PANEL * PANEL] __attribute__((aligned(64))); /* x transposed: a row per token */
    for (size_t p = 0; p < n_panels; p++) {
        dense->kernels->transpose(tokens, PANEL, x + p * x_stride, PANEL, n_cols, PANEL);
        dense->gemm(dense, sum, PANEL, tokens, PANEL, dy + p * dy_stride, PANEL, n_cols, rows, PANEL,
                    p > 0);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < n_cols; c++)
            gradient[r * cols + c] += sum[r * PANEL + c];
}

void dense_gradient(const struct kernel_table *kernels, float *gradient, size_t cols, size_t first_row,
                    size_t last_row, const float *dy, size_t dy_stride, const float *x, size_t x_stride,
                    size_t n_panels)
{
    const struct dense_kernels *dense = dense_kernels_for(kernels);
    if (n_panels == 0)
        return;
    for (size_t r = first_row; r < last_row; r += DENSE_GRADIENT_ROWS) {
        size_t rows = at_most(last_row - r, DENSE_GRADIENT_ROWS);
        for (size_t c = 0; c < cols; c += PANEL)
            gradient_tile(dense, gradient + (r - first_row) * cols + c, cols, at_most(cols - c, PANEL),
                          rows, dy + r * PANEL, dy_stride, x + c * PANEL, x_stride, n_panels);
    }
}
