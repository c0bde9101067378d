/* What avx512.c is made of, for any machine: the compiler splits each vector of 64 bytes into what the
 * base machine has. So every shuffle, stride and count of 16 lanes runs where AVX-512 does not. Where
 * SIMDe is installed (libsimde-dev), its emulation runs the branches under __AVX512F__ and __AVX512DQ__
 * as well; elsewhere the general branches beside them run (docs/testing.md). */
#include "kernel_tables.h"

#if defined(__SSE2__) && !defined(__AVX512F__) && __has_include(<simde/x86/avx512/mov_mask.h>)
#include <immintrin.h>
#include <simde/x86/avx512/max.h>
#include <simde/x86/avx512/min.h>
#include <simde/x86/avx512/mov_mask.h>
#include <simde/x86/avx512/sqrt.h>
#include <simde/x86/avx512/test.h>
#include <string.h>

/* What SIMDe 0.7.4 lacks: extension of bytes with zeros, and lanes by a mask. */
static inline simde__m512i emulated_cvtepu8_epi32(__m128i bytes)
{
    unsigned char narrow[16];
    int32_t wide[16];
    simde__m512i result;
    memcpy(narrow, &bytes, sizeof narrow);
    for (int i = 0; i < 16; i++)
        wide[i] = narrow[i];
    memcpy(&result, wide, sizeof result);
    return result;
}

static inline simde__m512 emulated_maskz_loadu_ps(unsigned mask, const float *from)
{
    simde__m512 result;
    float x[16] = {0};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            x[i] = from[i];
    memcpy(&result, x, sizeof result);
    return result;
}

static inline void emulated_mask_storeu_ps(float *to, unsigned mask, simde__m512 from)
{
    float x[16];
    memcpy(x, &from, sizeof x);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            to[i] = x[i];
}

static inline simde__m512 emulated_maskz_compress_ps(unsigned mask, simde__m512 from)
{
    float x[16], packed[16] = {0}, *to = packed;
    memcpy(x, &from, sizeof x);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            *to++ = x[i];
    memcpy(&from, packed, sizeof from);
    return from;
}

static inline simde__m512 emulated_maskz_expandloadu_ps(unsigned mask, const float *from)
{
    simde__m512 result;
    float x[16] = {0};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            x[i] = *from++;
    memcpy(&result, x, sizeof result);
    return result;
}

#define __m512 simde__m512
#define __m512i simde__m512i
#define _mm512_cvtepu8_epi32 emulated_cvtepu8_epi32
#define _mm512_maskz_compress_ps emulated_maskz_compress_ps
#define _mm512_maskz_expandloadu_ps emulated_maskz_expandloadu_ps
#define _mm512_maskz_loadu_ps emulated_maskz_loadu_ps
#define _mm512_mask_storeu_ps emulated_mask_storeu_ps
#define _mm512_max_ps simde_mm512_max_ps
#define _mm512_min_ps simde_mm512_min_ps
#define _mm512_movepi32_mask simde_mm512_movepi32_mask
#define _mm512_sqrt_ps simde_mm512_sqrt_ps
#define _mm512_test_epi32_mask simde_mm512_test_epi32_mask
#define __AVX512F__ 1
#define __AVX512DQ__ 1
#endif

#define VECTOR_BYTES 64
#include "kernels/vector_body.h"

const struct kernel_table kernel_table_wide = KERNEL_TABLE("wide", LANES, VECTOR_KERNEL);
