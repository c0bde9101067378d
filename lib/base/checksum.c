#include "base/checksum.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define SLICES 8
#define LARGE ((size_t)1 << 14) /* bytes from which building the tables of `slices` pays */

/* Two nibbles a byte: a table of 16 needs no initialisation and no global state. */
static uint32_t by_nibbles(uint32_t crc, const unsigned char *byte, size_t size)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
        0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    for (size_t i = 0; i < size; i++) {
        crc ^= byte[i];
        crc = (crc >> 4) ^ nibble[crc & 15];
        crc = (crc >> 4) ^ nibble[crc & 15];
    }
    return crc;
}

/* Eight bytes a step; tables[k][b]: the remainder of byte b with k zero bytes behind it. The tables
 * (8 KB) are made anew on the stack, a few microseconds. */
static uint32_t by_slices(uint32_t crc, const unsigned char *byte, size_t n_steps)
{
    uint32_t tables[SLICES][256];
    for (unsigned i = 0; i < 256; i++) {
        unsigned char alone = (unsigned char)i;
        tables[0][i] = by_nibbles(0, &alone, 1);
    }
    for (unsigned k = 1; k < SLICES; k++)
        for (unsigned i = 0; i < 256; i++)
            tables[k][i] = (tables[k - 1][i] >> 8) ^ tables[0][tables[k - 1][i] & 255];
    for (; n_steps; n_steps--, byte += SLICES) {
        uint32_t low = crc ^ ((uint32_t)byte[0] | (uint32_t)byte[1] << 8 | (uint32_t)byte[2] << 16 |
                              (uint32_t)byte[3] << 24);
        crc = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^
              tables[4][low >> 24] ^ tables[3][byte[4]] ^ tables[2][byte[5]] ^ tables[1][byte[6]] ^
              tables[0][byte[7]];
    }
    return crc;
}

uint32_t checksum_update_portable(uint32_t checksum, const void *bytes, size_t size)
{
    const unsigned char *byte = bytes;
    uint32_t crc = ~checksum;
    if (size >= LARGE) {
        crc = by_slices(crc, byte, size / SLICES);
        byte += size / SLICES * SLICES;
        size %= SLICES;
    }
    return ~by_nibbles(crc, byte, size);
}

#if defined(__x86_64__)
#define FOLD_LEAST ((size_t)64)

/* x times x^(bits of two numbers in k) onto next: both halves are multiplied without carries. */
__attribute__((target("pclmul,sse4.1"))) static inline __m128i fold(__m128i x, __m128i k, __m128i next)
{
    __m128i low = _mm_clmulepi64_si128(x, k, 0x00), high = _mm_clmulepi64_si128(x, k, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

static inline __m128i load_16(const unsigned char *byte)
{
    return _mm_loadu_si128((const __m128i *)(const void *)byte);
}

/* The 128 bits that are left become 64, then by Barrett's reduction the 32 of the remainder. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t reduce(__m128i x, __m128i k34)
{
    const __m128i low = _mm_setr_epi32(-1, 0, -1, 0), k5 = _mm_set_epi64x(0, 0x0163CD6124);
    const __m128i polynomial = _mm_set_epi64x(0x01F7011641, 0x01DB710641);
    x = _mm_xor_si128(_mm_srli_si128(x, 8), _mm_clmulepi64_si128(x, k34, 0x10));
    x = _mm_xor_si128(_mm_srli_si128(x, 4), _mm_clmulepi64_si128(_mm_and_si128(x, low), k5, 0x00));
    __m128i quotient = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(x, low), polynomial, 0x10), low);
    x = _mm_xor_si128(x, _mm_clmulepi64_si128(quotient, polynomial, 0x00));
    return (uint32_t)_mm_extract_epi32(x, 1);
}

/* 64 bytes a step (Gopal et al., "Fast CRC computation for generic polynomials using PCLMULQDQ", Intel 2009; the
 * constants are that paper's for this polynomial, bits reflected). size: a multiple of 16, at least 64. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t
by_folding(uint32_t crc, const unsigned char *byte, size_t size)
{
    const __m128i k12 = _mm_set_epi64x(0x01C6E41596, 0x0154442BD4);
    const __m128i k34 = _mm_set_epi64x(0x00CCAA009E, 0x01751997D0);
    const unsigned char *end = byte + size;
    __m128i x[4];
    for (int i = 0; i < 4; i++)
        x[i] = load_16(byte + 16 * i);
    x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128((int)crc));
    for (byte += 64; end - byte >= 64; byte += 64)
        for (int i = 0; i < 4; i++)
            x[i] = fold(x[i], k12, load_16(byte + 16 * i));
    for (int i = 1; i < 4; i++)
        x[i] = fold(x[i - 1], k34, x[i]);
    for (; byte < end; byte += 16)
        x[3] = fold(x[3], k34, load_16(byte));
    return reduce(x[3], k34);
}
#endif

uint32_t checksum_update(uint32_t checksum, const void *bytes, size_t size)
{
#if defined(__x86_64__)
    const size_t whole = size / 16 * 16;
    if (size >= FOLD_LEAST && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1")) {
        checksum = ~by_folding(~checksum, bytes, whole);
        bytes = (const unsigned char *)bytes + whole;
        size -= whole;
    }
#endif
    return checksum_update_portable(checksum, bytes, size);
}
