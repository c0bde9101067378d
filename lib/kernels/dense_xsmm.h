/* Dense products through libxsmm; dense.c alone calls these. */
#ifndef SN_KERNELS_DENSE_XSMM_H
#define SN_KERNELS_DENSE_XSMM_H

#include "kernels/dense.h"

#if SN_XSMM
void xsmm_gemm(const struct dense_kernels *self, float *c, size_t ldc, const float *a, size_t lda,
               const float *b, size_t ldb, size_t m, size_t n, size_t k, int accumulate);
void xsmm_gemm_transposed(const struct dense_kernels *self, float *c, size_t ldc, const float *a,
                          size_t lda, const float *b, size_t ldb, size_t m, size_t n, size_t k,
                          int accumulate);
#endif

#endif
