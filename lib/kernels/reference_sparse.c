#include "kernels/reference_sparse.h"

#include <string.h>

void reference_sparse_multiply(float *y, const struct sparse_block *block, const float *x,
                               const float *bias, int accumulate)
{
    for (size_t r = 0; r < block->rows; r++)
        for (size_t t = 0; t < PANEL; t++) {
            double sum = accumulate ? y[r * PANEL + t] : bias ? bias[r] : 0;
            for (size_t i = block->start[r]; i < block->end[r]; i++)
                sum += (double)block->value[i] * x[(block->first_column + block->index[i]) * PANEL + t];
            y[r * PANEL + t] = (float)sum;
        }
}

void reference_sparse_gradient(float *gradient, const struct sparse_block *block, size_t first_row,
                               size_t last_row, const float *dy, const float *x)
{
    for (size_t r = first_row; r < last_row; r++)
        for (size_t i = block->start[r]; i < block->end[r]; i++) {
            const float *from = x + (block->first_column + block->index[i]) * PANEL;
            double sum = gradient[i];
            for (size_t t = 0; t < PANEL; t++)
                sum += (double)dy[r * PANEL + t] * from[t];
            gradient[i] = (float)sum;
        }
}

void reference_gemm(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t b_row,
                    size_t b_column, size_t m, size_t n, size_t k, int accumulate)
{
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < m; i++) {
            double sum = accumulate ? c[j * ldc + i] : 0;
            for (size_t p = 0; p < k; p++)
                sum += (double)a[p * lda + i] * b[p * b_row + j * b_column];
            c[j * ldc + i] = (float)sum;
        }
}

static int32_t key_of(float w)
{
    int32_t bits;
    memcpy(&bits, &w, sizeof bits);
    return bits & INT32_MAX;
}

void reference_magnitude_scan(struct magnitude_scan *scan, const float *w, const unsigned char *skip,
                              size_t n)
{
    scan->above = scan->at_high = scan->at_low = scan->n_between = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t key = key_of(w[i]);
        if (skip && skip[i])
            continue;
        scan->above += key > scan->high;
        scan->at_high += key == scan->high;
        scan->at_low += key == scan->low;
        if (key > scan->low && key < scan->high) {
            if (scan->n_between < scan->capacity)
                scan->between[scan->n_between] = key;
            scan->n_between++;
        }
    }
}

void reference_magnitude_mark(unsigned char *keep, const float *w, size_t n, int32_t threshold,
                              size_t *ties)
{
    for (size_t i = 0; i < n; i++) {
        int32_t key = key_of(w[i]);
        if (keep[i] || key < threshold || (key == threshold && *ties == 0))
            continue;
        *ties -= key == threshold;
        keep[i] = 1;
    }
}

void reference_magnitude_mark_columns(unsigned char *keep, const float *w, size_t n,
                                      const int32_t *threshold, uint32_t *ties)
{
    for (size_t i = 0; i < n; i++) {
        size_t left = ties[i];
        reference_magnitude_mark(keep + i, w + i, 1, threshold[i], &left);
        ties[i] = (uint32_t)left;
    }
}

void reference_magnitude_levels(int32_t *levels, size_t stride, size_t n_levels, const float *w,
                                size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t key = key_of(w[i]);
        for (size_t l = 0; l < n_levels; l++)
            if (key > levels[l * stride + i]) {
                int32_t pushed = levels[l * stride + i];
                levels[l * stride + i] = key;
                key = pushed;
            }
    }
}

size_t reference_gather_nonzeros(float *value, uint32_t *index, int *not_finite, const float *x,
                                 size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (key_of(x[i]) == 0) /* not x == 0: denormals are no zeros, whatever the float mode */
            continue;
        index[count] = (uint32_t)i;
        value[count++] = x[i];
        *not_finite |= key_of(x[i]) >= 0x7F800000;
    }
    return count;
}
