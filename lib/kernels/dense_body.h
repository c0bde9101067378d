/* The portable dense product, for machines or shapes without libxsmm. Included after vector.h.
 * Register tiles of GEMM_VECTORS vectors of C's columns times GEMM_COLUMNS columns; callers block for
 * the caches. */
#ifndef SN_KERNELS_DENSE_BODY_H
#define SN_KERNELS_DENSE_BODY_H

#define GEMM_VECTORS (VECTOR_BYTES == 64 ? 4 : 2)
#define GEMM_COLUMNS 6

struct gemm_operands {
    float *c;
    const float *a, *b;
    size_t ldc, lda, b_row, b_column, k;
    int accumulate;
};

/* `vectors` x `columns` of C in registers; both are constants where this is inlined. */
static inline __attribute__((always_inline)) void gemm_tile(const struct gemm_operands *o, size_t i,
                                                            size_t j, int vectors, int columns)
{
    vec sum[GEMM_VECTORS * GEMM_COLUMNS];
    float *c = o->c + j * o->ldc + i;
    const float *a = o->a + i, *b = o->b + j * o->b_column;
    for (int y = 0; y < columns; y++)
        for (int x = 0; x < vectors; x++)
            sum[y * GEMM_VECTORS + x] =
                o->accumulate ? vec_load(c + (size_t)y * o->ldc + x * LANES) : vec_splat(0);
    for (size_t p = 0; p < o->k; p++) {
        vec column[GEMM_VECTORS];
        for (int x = 0; x < vectors; x++)
            column[x] = vec_load(a + p * o->lda + x * LANES);
        for (int y = 0; y < columns; y++) {
            vec factor = vec_splat(b[p * o->b_row + (size_t)y * o->b_column]);
            for (int x = 0; x < vectors; x++)
                sum[y * GEMM_VECTORS + x] += factor * column[x];
        }
    }
    for (int y = 0; y < columns; y++)
        for (int x = 0; x < vectors; x++)
            vec_store(c + (size_t)y * o->ldc + x * LANES, sum[y * GEMM_VECTORS + x]);
}

static void gemm_scalar(const struct gemm_operands *o, size_t i, size_t j)
{
    float sum = o->accumulate ? o->c[j * o->ldc + i] : 0;
    for (size_t p = 0; p < o->k; p++)
        sum += o->a[p * o->lda + i] * o->b[p * o->b_row + j * o->b_column];
    o->c[j * o->ldc + i] = sum;
}

/* Columns j..j+columns-1 of C. */
static inline __attribute__((always_inline)) void gemm_columns(const struct gemm_operands *o, size_t m,
                                                               size_t j, int columns)
{
    size_t i = 0;
    for (; i + GEMM_VECTORS * LANES <= m; i += GEMM_VECTORS * LANES)
        gemm_tile(o, i, j, GEMM_VECTORS, columns);
    for (; i + LANES <= m; i += LANES)
        gemm_tile(o, i, j, 1, columns);
    for (; i < m; i++)
        for (int y = 0; y < columns; y++)
            gemm_scalar(o, i, j + (size_t)y);
}

static void gemm(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t b_row,
                 size_t b_column, size_t m, size_t n, size_t k, int accumulate)
{
    struct gemm_operands o = {c, a, b, ldc, lda, b_row, b_column, k, accumulate};
    size_t j = 0;
    for (; j + GEMM_COLUMNS <= n; j += GEMM_COLUMNS)
        gemm_columns(&o, m, j, GEMM_COLUMNS);
    for (; j < n; j++)
        gemm_columns(&o, m, j, 1);
}

#endif
