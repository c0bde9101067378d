/* Functions of a vector that several bodies share: exp, erf, sqrt, sums over lanes and over tokens.
 * Included once per instruction set, after vector.h. */
#ifndef SN_KERNELS_MATH_BODY_H
#define SN_KERNELS_MATH_BODY_H

#include <math.h>

/* Vectors of a panel's row that are worked on together: few enough to keep two sums for each in
 * registers. */
#define STRIP_VECTORS (PANEL_VECTORS < 8 ? PANEL_VECTORS : 8)
#define STRIP_TOKENS (STRIP_VECTORS * LANES)

#define LOG2_E 1.44269504f
#define LN_2 0.693147181f

static inline vec vec_sqrt(vec x)
{
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
    return (vec)_mm512_sqrt_ps((__m512)x);
#elif VECTOR_BYTES == 32 && defined(__AVX__)
    return (vec)_mm256_sqrt_ps((__m256)x);
#elif VECTOR_BYTES == 16 && defined(__SSE2__)
    return (vec)_mm_sqrt_ps((__m128)x);
#else
    for (int i = 0; i < LANES; i++)
        x[i] = sqrtf(x[i]);
    return x;
#endif
}

/* The sum over the lanes, by halves. */
static inline float vec_sum(vec x)
{
#if LANES == 16
    x += __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3);
    x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1);
    x += __builtin_shufflevector(x, x, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0);
#elif LANES == 8
    x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3);
    x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 2, 3, 0, 1);
    x += __builtin_shufflevector(x, x, 1, 0, 1, 0, 1, 0, 1, 0);
#else
    x += __builtin_shufflevector(x, x, 2, 3, 0, 1);
    x += __builtin_shufflevector(x, x, 1, 0, 1, 0);
#endif
    return x[0];
}

/* 2^x for x <= 127: x = n + f, |f| <= 1/2, minimax polynomial in f (3e-9) with 2^0 exactly 1. At
 * x <= -127 the scale is a zero exponent, so the result is exactly 0, at -inf too. NaN stays NaN. */
static inline vec vec_exp2(vec x)
{
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it leaves the integer in the low bits */
    x = vec_max(vec_splat(-127.0f), x);
    vec shifted = x + round, f = x - (shifted - round);
    vec p = f * 1.559467754011006e-4f + 1.3406643904688362e-3f;
    p = p * f + 9.617692974916329e-3f;
    p = p * f + 5.5503105509970105e-2f;
    p = p * f + 2.402265278287602e-1f;
    p = p * f + 6.931472149680389e-1f;
    p = p * f + 1.0f;
    ivec scale = ((ivec)shifted << 23) + (127 << 23);
    return p * (vec)scale;
}

/* e^x for x <= 88, within (1 + |x|) 1e-7 of itself, so within 1e-7 absolutely where x <= 0. */
static inline vec vec_exp(vec x)
{
    return vec_exp2(x * LOG2_E);
}

/* ln x of a positive normal x, within 1e-7 of itself or of 1: x = 2^n m, 1/2 < m^2 <= 2, and the
 * series of ln m in (m - 1) / (m + 1), which is at most 0.172. ln 1 is exactly 0. */
static inline vec vec_log(vec x)
{
    ivec n = ((ivec)x - 0x3F3504F3) >> 23; /* the bits of the root of 1/2 */
    vec m = (vec)((ivec)x - (n << 23)), s = (m - 1.0f) / (m + 1.0f), s2 = s * s;
    vec p = s2 * (2.0f / 9) + 2.0f / 7;
    p = p * s2 + 2.0f / 5;
    p = p * s2 + 2.0f / 3;
    return __builtin_convertvector(n, vec) * LN_2 + (s * s2 * p + 2.0f * s);
}

/* erf(x) within 2e-7: a rational minimax function in x on [-4, 4], outside of which erf is +-1. */
static inline vec vec_erf(vec x)
{
    x = vec_min(vec_splat(4.0f), vec_max(vec_splat(-4.0f), x));
    vec s = x * x;
    vec p = s * -2.72614225801306e-10f + 2.77068142495902e-08f;
    p = p * s + -2.10102402082508e-06f;
    p = p * s + -5.69250639462346e-05f;
    p = p * s + -7.34990630326855e-04f;
    p = p * s + -2.95459980854025e-03f;
    p = p * s + -1.60960333262415e-02f;
    vec q = s * -1.45660718464996e-05f + -2.13374055278905e-04f;
    q = q * s + -1.68282697438203e-03f;
    q = q * s + -7.37332916720468e-03f;
    q = q * s + -1.42647390514189e-02f;
    return x * p / q;
}

#endif
