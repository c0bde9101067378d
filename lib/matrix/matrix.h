/* A weight matrix knows how to multiply. Whether it is dense or sparse, which kernels run and where the
 * crossover lies is its own business (docs/architecture.md).
 *
 * Inside: a pattern (which entries; immutable, shared, both orders) and values (this matrix's array over
 * it). Gradients, moments and gates are other value arrays in the same order: CSR order of the pattern
 * when sparse, row-major when dense. The kernels stream these arrays themselves (matrix/blocks.h); only
 * the transposed order has values of its own. */
#ifndef SN_MATRIX_MATRIX_H
#define SN_MATRIX_MATRIX_H

#include <stddef.h>
#include <stdint.h>

#include "base/context.h"
#include "kernels/kernels.h"
#include "matrix/blocks.h"

#define SPARSE_MAX_DENSITY 0.45 /* above it dense kernels win (docs/performance.md) */

/* The transposed order of a pattern. */
struct pattern_columns {
    uint32_t *start;           /* cols + 1 */
    struct sparse_index index; /* nnz: row of each entry, ascending in each column */
    struct blocks blocks;
    uint32_t *entry; /* nnz: place of each entry in CSR order; NULL before pattern_entries */
};

/* Reference-counted, immutable but for the transposed order, which is made when first asked for: running
 * a model forward needs none. */
struct pattern {
    struct memory *memory;
    size_t references; /* atomic builtins */
    size_t rows, cols, nnz;
    uint32_t *row_start;       /* rows + 1 */
    struct sparse_index index; /* nnz: column of each entry, ascending in each row */
    struct blocks blocks;
    struct pattern_columns *columns; /* NULL before pattern_columns */
};

struct sn_matrix {
    struct memory *memory; /* retained */
    size_t rows, cols;
    struct pattern *pattern; /* NULL when dense */
    float *values;           /* nnz (sparse) or rows * cols (dense) */
    size_t n_values;
    float *transposed; /* the values by columns; NULL before matrix_prepare_transposed */
};

/* Pattern from CSR arrays (copied, checked by the caller). */
int pattern_create(struct pattern **out, struct sn_context *context, size_t rows, size_t cols,
                   const uint32_t *row_start, const uint32_t *col_index);
/* The same of arrays that are given away, on success: allocated from the context's memory, rows + 1 and nnz long. */
int pattern_adopt(struct pattern **out, struct sn_context *context, size_t rows, size_t cols,
                  uint32_t *row_start, const struct sparse_index *index);
/* Pattern of the entries with keep[r * cols + c] != 0. */
int pattern_from_mask(struct pattern **out, struct sn_context *context, size_t rows, size_t cols,
                      const unsigned char *keep);
/* The transposed order, lent: made at the first call, kept with the pattern. Threads that share the
 * pattern may call at the same time. */
int pattern_columns(const struct pattern_columns **out, struct sn_context *context,
                    struct pattern *pattern);
/* The same, with the places of the entries. */
int pattern_entries(const struct pattern_columns **out, struct sn_context *context,
                    struct pattern *pattern);
/* The same if they are there, else NULL; another thread may be making them. */
static inline const struct pattern_columns *pattern_columns_made(const struct pattern *pattern)
{
    return __atomic_load_n(&pattern->columns, __ATOMIC_ACQUIRE);
}
/* The column of entry i. */
static inline uint32_t pattern_column(const struct pattern *pattern, size_t i)
{
    return index_at(&pattern->index, i);
}
/* Those of n entries from `first` on. */
void pattern_read_columns(uint32_t *out, const struct pattern *pattern, size_t first, size_t n);
struct pattern *pattern_retain(struct pattern *pattern);
void pattern_release(struct pattern *pattern);

/* Sparse over `pattern` (retained); values NULL = zeros, else nnz in CSR order. */
int matrix_create_sparse(struct sn_matrix **out, struct sn_context *context, struct pattern *pattern,
                         const float *values);
/* The same of an array that is given away, on success. */
int matrix_adopt_sparse(struct sn_matrix **out, struct sn_context *context, struct pattern *pattern,
                        float *values);
/* Kept dense. values NULL = zeros. */
int matrix_create_dense(struct sn_matrix **out, struct sn_context *context, size_t rows, size_t cols,
                        const float *values);
/* Sparse when the share of nonzeros is at most max_density, else dense. */
int matrix_from_dense(struct sn_matrix **out, struct sn_context *context, size_t rows, size_t cols,
                      const float *values, double max_density);
/* Own values, shared pattern. */
int matrix_copy(struct sn_matrix **out, struct sn_context *context, const struct sn_matrix *matrix);
void matrix_free(struct sn_matrix *matrix);
/* Call after writing to matrix->values: refreshes the transposed ones, if they are there (parallel). */
int matrix_values_changed(struct sn_matrix *matrix, struct sn_context *context);
/* Writes row `row` dense into out[cols]. */
void matrix_row(float *out, const struct sn_matrix *matrix, size_t row);
/* Value at (row, col), 0 off the support. */
float matrix_at(const struct sn_matrix *matrix, size_t row, size_t col);
/* Bytes held by the matrix and its pattern, as memory_usage counts them. */
size_t matrix_bytes(const struct sn_matrix *matrix);
/* What matrix_bytes says of a matrix freshly made with n_values. */
size_t matrix_estimate(size_t rows, size_t cols, size_t n_values, int sparse);
/* What matrix_prepare_transposed adds to a sparse one. */
size_t matrix_transposed_estimate(size_t rows, size_t cols, size_t nnz);
/* The same of a given one, 0 once it has been called. */
size_t matrix_transposed_bytes(const struct sn_matrix *matrix);

/* One panel, on the calling thread (inside parallel chunks):
 * y[rows][PANEL] = (accumulate ? y : bias or 0) + W x[cols][PANEL]. */
void matrix_multiply_panel(const struct sn_matrix *matrix, const struct kernel_table *kernels, float *y,
                           const float *x, const float *bias, int accumulate);
/* Makes what the transposed product streams, unless it is there. To be called before the panels, outside
 * parallel chunks; threads that share the matrix may call at the same time. */
int matrix_prepare_transposed(const struct sn_matrix *matrix, struct sn_context *context);
/* The values by columns, in the order of pattern_columns; NULL before they are there. */
static inline float *matrix_transposed(const struct sn_matrix *matrix)
{
    return __atomic_load_n(&matrix->transposed, __ATOMIC_ACQUIRE);
}
/* dx[cols][PANEL] = (accumulate ? dx : 0) + W^T dy[rows][PANEL]; after matrix_prepare_transposed. */
void matrix_multiply_transposed_panel(const struct sn_matrix *matrix, const struct kernel_table *kernels,
                                      float *dx, const float *dy, int accumulate);

/* gradient[n_values] += dW on the support (whole matrix when dense), in the order of values; parallel
 * over blocks of rows, panels in order, so results do not depend on threads. Panel p of dy is at
 * dy + p * dy_stride, of x at x + p * x_stride. Padding tokens of dy must hold zeros. */
int matrix_gradient(float *gradient, struct sn_context *context, const struct sn_matrix *matrix,
                    const float *dy, size_t dy_stride, const float *x, size_t x_stride, size_t n_panels);
/* The full dense dW (rows x cols, row-major), += ; parallel over blocks of rows. */
int matrix_gradient_dense(float *gradient, struct sn_context *context, size_t rows, size_t cols,
                          const float *dy, size_t dy_stride, const float *x, size_t x_stride,
                          size_t n_panels);
/* Visits the full dense dW block by block of rows (nothing dense outlives one block): visit gets rows
 * first_row..last_row-1 as a row-major block; blocks may be visited from several workers at once. */
typedef int (*gradient_block_visitor)(void *payload, size_t first_row, size_t last_row,
                                      const float *block, size_t worker);
int matrix_gradient_visit(struct sn_context *context, size_t rows, size_t cols, const float *dy,
                          size_t dy_stride, const float *x, size_t x_stride, size_t n_panels,
                          gradient_block_visitor visit, void *payload);

/* Bytes that select_magnitude takes for a while to choose among n entries. */
size_t select_estimate(size_t n);
/* Exact selection by magnitude (select.c), see sn_magnitude_select. minimum is lowered to what fits
 * k / neurons; *minimum_used (may be NULL) tells. Parallel; deterministic. */
int select_magnitude(unsigned char *keep, size_t *minimum_used, struct sn_context *context,
                     const float *w, size_t rows, size_t cols, size_t k, int axis, size_t minimum);

#endif
