/* Naive kernels for the sparse and dense products and the selection by magnitude: what the vector kernels are compared with. */
#ifndef SN_KERNELS_REFERENCE_SPARSE_H
#define SN_KERNELS_REFERENCE_SPARSE_H

#include "kernels/kernels.h"

void reference_sparse_multiply(float *y, const struct sparse_block *block, const float *x,
                               const float *bias, int accumulate);
void reference_sparse_gradient(float *gradient, const struct sparse_block *block, size_t first_row,
                               size_t last_row, const float *dy, const float *x);
void reference_gemm(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t b_row,
                    size_t b_column, size_t m, size_t n, size_t k, int accumulate);
void reference_magnitude_scan(struct magnitude_scan *scan, const float *w, const unsigned char *skip,
                              size_t n);
void reference_magnitude_mark(unsigned char *keep, const float *w, size_t n, int32_t threshold,
                              size_t *ties);
void reference_magnitude_mark_columns(unsigned char *keep, const float *w, size_t n,
                                      const int32_t *threshold, uint32_t *ties);
size_t reference_gather_nonzeros(float *value, uint32_t *index, int *not_finite, const float *x,
                                 size_t n);
void reference_magnitude_levels(int32_t *levels, size_t stride, size_t n_levels, const float *w,
                                size_t n);

#endif
