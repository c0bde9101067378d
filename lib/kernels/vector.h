/* Vector types of one instruction set, in the extensions that gcc and clang share. The including file
 * (portable.c, avx2.c, avx512.c) defines VECTOR_BYTES (16, 32 or 64) first, includes the bodies, and
 * is the only kind of file compiled with instruction-set flags. */
#ifndef VECTOR_BYTES
#error "define VECTOR_BYTES before including vector.h"
#endif

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define LANES (VECTOR_BYTES / 4)      /* floats per vector */
#define PANEL_VECTORS (PANEL / LANES) /* vectors per row of a panel */

typedef float vec __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t ivec __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t uvec __attribute__((vector_size(VECTOR_BYTES)));
typedef float vec_unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

static inline vec vec_load(const float *from)
{
    return *(const vec_unaligned *)from;
}
static inline void vec_store(float *to, vec x)
{
    *(vec_unaligned *)to = x;
}
static inline vec vec_splat(float x)
{
    return x - (vec){0};
}
/* where a lane of mask is all ones: a, where it is zero: b */
static inline vec vec_select(ivec mask, vec a, vec b)
{
    return (vec)((mask & (ivec)a) | (~mask & (ivec)b));
}
/* a > b ? a : b, so b where either is NaN: what x86's instruction does, which neither compiler finds. */
static inline vec vec_max(vec a, vec b)
{
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif VECTOR_BYTES == 32 && defined(__AVX__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#elif VECTOR_BYTES == 16 && defined(__SSE2__)
    return (vec)_mm_max_ps((__m128)a, (__m128)b);
#else
    return vec_select(a > b, a, b);
#endif
}
/* a < b ? a : b */
static inline vec vec_min(vec a, vec b)
{
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif VECTOR_BYTES == 32 && defined(__AVX__)
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#elif VECTOR_BYTES == 16 && defined(__SSE2__)
    return (vec)_mm_min_ps((__m128)a, (__m128)b);
#else
    return vec_select(a < b, a, b);
#endif
}
static inline vec vec_abs(vec x)
{
    return (vec)((ivec)x & 0x7FFFFFFF);
}

/* The first n < LANES floats; the other lanes are 0. Nothing behind them is read or written. */
static inline vec vec_load_first(const float *from, size_t n)
{
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), from);
#else
    vec x = {0};
    for (size_t i = 0; i < n; i++)
        x[i] = from[i];
    return x;
#endif
}
static inline void vec_store_first(float *to, vec x, size_t n)
{
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << n) - 1), (__m512)x);
#else
    for (size_t i = 0; i < n; i++)
        to[i] = x[i];
#endif
}
