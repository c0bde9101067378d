/* libxsmm's dispatched kernels. A look-up costs 17 ns and the first use of a shape some 100 us of code
 * generation, all kept in libxsmm's own registry. libxsmm_sgemm is never called: on large sizes it
 * forwards to a BLAS that is not there. Where a dispatch gives NULL our own product serves. */
#include "kernels/dense_xsmm.h"

#if SN_XSMM
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <libxsmm.h>
#pragma GCC diagnostic pop

static libxsmm_smmfunction find_kernel(size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc,
                                       int accumulate, int transposed)
{
    const libxsmm_blasint a = (libxsmm_blasint)lda, b = (libxsmm_blasint)ldb, c = (libxsmm_blasint)ldc;
    const float alpha = 1, beta = accumulate ? 1 : 0;
    const int flags = transposed ? LIBXSMM_GEMM_FLAG_TRANS_B : LIBXSMM_GEMM_FLAG_NONE;
    const int prefetch = LIBXSMM_PREFETCH_NONE;
    if ((size_t)a != lda || (size_t)b != ldb || (size_t)c != ldc || !m || !n || !k)
        return NULL;
    return libxsmm_smmdispatch((libxsmm_blasint)m, (libxsmm_blasint)n, (libxsmm_blasint)k, &a, &b, &c,
                               &alpha, &beta, &flags, &prefetch);
}

void xsmm_gemm(const struct dense_kernels *self, float *c, size_t ldc, const float *a, size_t lda,
               const float *b, size_t ldb, size_t m, size_t n, size_t k, int accumulate)
{
    libxsmm_smmfunction kernel = find_kernel(m, n, k, lda, ldb, ldc, accumulate, 0);
    if (kernel)
        kernel(a, b, c);
    else
        self->kernels->gemm(c, ldc, a, lda, b, 1, ldb, m, n, k, accumulate);
}

void xsmm_gemm_transposed(const struct dense_kernels *self, float *c, size_t ldc, const float *a,
                          size_t lda, const float *b, size_t ldb, size_t m, size_t n, size_t k,
                          int accumulate)
{
    libxsmm_smmfunction kernel = find_kernel(m, n, k, lda, ldb, ldc, accumulate, 1);
    if (kernel)
        kernel(a, b, c);
    else
        self->kernels->gemm(c, ldc, a, lda, b, ldb, 1, m, n, k, accumulate);
}
#else
typedef int xsmm_not_built;
#endif
