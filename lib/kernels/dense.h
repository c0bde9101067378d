/* Dense products on panels through libxsmm's dispatched kernels, or through the portable kernel where
 * libxsmm has none (make XSMM=0, another architecture, a NULL dispatch). libxsmm generates the code of a
 * shape at its first use. */
#ifndef SN_KERNELS_DENSE_H
#define SN_KERNELS_DENSE_H

#include <stddef.h>

#include "kernels/kernels.h"

/* y[rows][PANEL] = (accumulate ? y : bias ? bias[r] : 0) + w[rows][cols] x[cols][PANEL]. */
void dense_multiply(const struct kernel_table *kernels, float *y, const float *w, size_t rows,
                    size_t cols, const float *x, const float *bias, int accumulate);
/* dx[cols][PANEL] = (accumulate ? dx : 0) + w^T dy[rows][PANEL]. */
void dense_multiply_transposed(const struct kernel_table *kernels, float *dx, const float *w,
                               size_t rows, size_t cols, const float *dy, int accumulate);
/* gradient[r - first_row][cols] += sum over panels and tokens of dy[r][t] x[c][t] for rows
 * first_row..last_row-1, panels in order. Panel p's dy is at dy + p dy_stride, its x at x + p x_stride.
 * Padding tokens of dy hold zeros. */
void dense_gradient(const struct kernel_table *kernels, float *gradient, size_t cols, size_t first_row,
                    size_t last_row, const float *dy, size_t dy_stride, const float *x, size_t x_stride,
                    size_t n_panels);
/* Rows that one call of dense_gradient should get for full speed (or fewer, at the end). */
#define DENSE_GRADIENT_ROWS 128

/* c[j * ldc + i] = (accumulate ? c : 0) + sum_p a[p * lda + i] b[j * ldb + p], i < m, j < n, p < k:
 * column-major C = A B. */
struct dense_kernels {
    void (*gemm)(const struct dense_kernels *self, float *c, size_t ldc, const float *a, size_t lda,
                 const float *b, size_t ldb, size_t m, size_t n, size_t k, int accumulate);
    /* the same with B transposed: b[p * ldb + j] */
    void (*gemm_transposed)(const struct dense_kernels *self, float *c, size_t ldc, const float *a,
                            size_t lda, const float *b, size_t ldb, size_t m, size_t n, size_t k,
                            int accumulate);
    const struct kernel_table *kernels; /* whose own product serves where libxsmm has none */
};
const struct dense_kernels *dense_kernels_portable(void); /* the "portable" table's own product */
const struct dense_kernels *dense_kernels_best(void);     /* libxsmm where built in */
/* libxsmm where built in, except for the tables "reference" and "portable": those stay their own. */
const struct dense_kernels *dense_kernels_for(const struct kernel_table *kernels);

#endif
