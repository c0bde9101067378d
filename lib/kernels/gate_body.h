/* Gates on the channels of a panel: mask x + (1 - mask) mean, and back. A mask is 0 or 1 most of the time. */
#ifndef SN_KERNELS_GATE_BODY_H
#define SN_KERNELS_GATE_BODY_H

#include "kernels/math_body.h"

/* A row before its gate, for the backward. Behind AbsTopK most of it is zero, and memory, not arithmetic, is what
 * gates wait for: where the processor can, a row is a word of bits and the values that are not zero. Both return
 * where the next row stands. */
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
static inline char *keep_row(char *to, const float *x)
{
    float *values = (float *)(to + sizeof(uint64_t));
    uint64_t bits = 0;
    for (size_t t = 0; t < PANEL; t += LANES) {
        vec v = vec_load(x + t);
        __mmask16 part = _mm512_movepi32_mask((__m512i)(v != 0.0f));
        vec_store(values, (vec)_mm512_maskz_compress_ps(part, (__m512)v));
        values += __builtin_popcount(part);
        bits |= (uint64_t)part << t;
    }
    memcpy(to, &bits, sizeof bits);
    return (char *)values;
}

static inline const char *kept_row(float *x, const char *from)
{
    const float *values = (const float *)(from + sizeof(uint64_t));
    uint64_t bits;
    memcpy(&bits, from, sizeof bits);
    for (size_t t = 0; t < PANEL; t += LANES) {
        __mmask16 part = (__mmask16)(bits >> t);
        vec_store(x + t, (vec)_mm512_maskz_expandloadu_ps(part, values));
        values += __builtin_popcount(part);
    }
    return (const char *)values;
}
#else
static inline char *keep_row(char *to, const float *x)
{
    memcpy(to, x, PANEL * sizeof *x);
    return to + PANEL * sizeof *x;
}

static inline const char *kept_row(float *x, const char *from)
{
    memcpy(x, from, PANEL * sizeof *x);
    return from + PANEL * sizeof *x;
}
#endif

static inline void gate_row(float *x, float mask, float mean)
{
    vec shift = vec_splat((1 - mask) * mean);
    for (size_t t = 0; t < PANEL; t += LANES)
        vec_store(x + t, mask == 0 ? shift : vec_load(x + t) * mask + shift);
}

static void gate(float *x, void *kept, const float *mask, const float *mean, size_t rows)
{
    char *to = kept;
    for (size_t r = 0; r < rows; r++, x += PANEL) {
        if (to)
            to = keep_row(to, x);
        if (mask[r] != 1)
            gate_row(x, mask[r], mean[r]);
    }
}

/* Sum of dx (x - mean) over n tokens. */
static inline float centered_product(const float *dx, const float *x, float mean, size_t n)
{
    vec parts = vec_splat(0);
    float rest = 0;
    size_t t = 0;
    for (; t + LANES <= n; t += LANES)
        parts += vec_load(dx + t) * (vec_load(x + t) - mean);
    for (; t < n; t++)
        rest += dx[t] * (x[t] - mean);
    return vec_sum(parts) + rest;
}

static void gate_backward(float *sum, float *dx, const void *kept, const float *mask, const float *mean,
                          size_t rows, size_t n)
{
    const char *from = kept;
    for (size_t r = 0; r < rows; r++, dx += PANEL) {
        float x[PANEL] __attribute__((aligned(64)));
        from = kept_row(x, from);
        sum[r] += centered_product(dx, x, mean[r], n);
        for (size_t t = 0; mask[r] != 1 && t < PANEL; t += LANES)
            vec_store(dx + t, mask[r] == 0 ? vec_splat(0) : vec_load(dx + t) * mask[r]);
    }
}

#endif
