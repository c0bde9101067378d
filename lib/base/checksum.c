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
#define BLOCK ((size_t)512)
#define BLOCK_WORDS 64 /* of 8 bytes */
#define FEW 3          /* words of a block that are taken without asking how many there are */
#define MANY 32        /* from so many on the whole block is folded */

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

/* Gopal et al., "Fast CRC computation for generic polynomials using PCLMULQDQ", Intel 2009; the
 * constants are that paper's for this polynomial, bits reflected: 128 bits move over 64 bytes, and
 * over 16. */
#define FOLD_64 _mm_set_epi64x(0x01C6E41596, 0x0154442BD4)
#define FOLD_16 _mm_set_epi64x(0x00CCAA009E, 0x01751997D0)

/* 64 bytes a step. size: a multiple of 16, at least 64. */
__attribute__((target("pclmul,sse4.1"))) static inline __m128i
fold_all(uint32_t crc, const unsigned char *byte, size_t size)
{
    const unsigned char *end = byte + size;
    __m128i x[4];
    for (int i = 0; i < 4; i++)
        x[i] = load_16(byte + 16 * i);
    x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128((int)crc));
    for (byte += 64; end - byte >= 64; byte += 64)
        for (int i = 0; i < 4; i++)
            x[i] = fold(x[i], FOLD_64, load_16(byte + 16 * i));
    for (int i = 1; i < 4; i++)
        x[i] = fold(x[i - 1], FOLD_16, x[i]);
    for (; byte < end; byte += 16)
        x[3] = fold(x[3], FOLD_16, load_16(byte));
    return x[3];
}

/* ---- most of the bytes of a sparse model's dense tensors are zero, and zeros add nothing: of a
 * block, each word that is not zero moves by itself to the block's last 16 bytes. */

/* power[i] = x^(64 (64 - i) + 32) modulo the polynomial, as in FOLD_16: for the two words in front of
 * a block, for its words but the last two, and a 0. */
static const uint64_t power[BLOCK_WORDS + 1] = {
    0x01072DB28, 0x1D741F35C, 0x0398E2FF2, 0x1CF247394, 0x119ADC226, 0x145972F08, 0x144C76D92,
    0x1B631F204, 0x0AD0D2BB2, 0x0CD669A40, 0x13484EFDC, 0x0F9D9C7EE, 0x04B700AA8, 0x0EEA395C4,
    0x150FC8004, 0x04470AC44, 0x1F79525B0, 0x0D31343EA, 0x07EAED122, 0x09B9BDBD0, 0x11E6A95A2,
    0x12AF2C15A, 0x1AD568056, 0x1C712203A, 0x00E9BD5CC, 0x115B87256, 0x032B0733C, 0x0FF6F2FC2,
    0x1F7228078, 0x1AAA44C18, 0x0A749E894, 0x16269A506, 0x11542778A, 0x1322D1430, 0x1DB06F64C,
    0x1C47D2A9C, 0x19159BB02, 0x125F17DFC, 0x1B35ADB0E, 0x1E7146AAC, 0x1821D8BC0, 0x12E958AC4,
    0x1816AB61C, 0x10AAE2566, 0x0E3543BE0, 0x14B57D3F0, 0x1FDC60A7C, 0x03F41287A, 0x1E88EF372,
    0x14A7FE880, 0x1EA89367E, 0x1D7CFC6AC, 0x0DF068DC2, 0x18CB44E58, 0x1C7569E54, 0x0AE0B5394,
    0x154442BD4, 0x1C6E41596, 0x03DB1ECDC, 0x174359406, 0x0F1DA05AA, 0x15A546366, 0x1751997D0,
    0x0CCAA009E, 0,
};

__attribute__((target("pclmul,avx2"))) static inline __m128i word_times(const unsigned char *byte,
                                                                        size_t word)
{
    return _mm_clmulepi64_si128(_mm_loadl_epi64((const __m128i *)(const void *)(byte + 8 * word)),
                                _mm_loadl_epi64((const __m128i *)(const void *)(power + 2 + word)), 0);
}

/* Bit i: word i of the block is not zero; the last two are left out. */
__attribute__((target("pclmul,avx2"))) static inline uint64_t find_words(const unsigned char *byte)
{
    uint64_t zero = 0;
    for (int i = 0; i < BLOCK_WORDS; i += 4) {
        __m256i four = _mm256_loadu_si256((const __m256i *)(const void *)(byte + 8 * i));
        __m256i equal = _mm256_cmpeq_epi64(four, _mm256_setzero_si256());
        zero |= (uint64_t)(unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(equal)) << i;
    }
    return ~zero << 2 >> 2;
}

__attribute__((target("pclmul,avx2"))) static __m128i fold_block(__m128i x, const unsigned char *byte)
{
    const __m128i over_block = load_16((const unsigned char *)power);
    uint64_t found = find_words(byte);
    if (__builtin_popcountll(found) >= MANY)
        return fold(x, over_block, fold_all(0, byte, BLOCK));
    x = fold(x, over_block, load_16(byte + BLOCK - 16));
    for (int step = 0; step < FEW; step++) { /* a word behind the last one: times 0 */
        size_t word = (size_t)__builtin_ctzll(found | (uint64_t)1 << (BLOCK_WORDS - 2));
        x = _mm_xor_si128(x, word_times(byte, word));
        found &= found - 1;
    }
    for (; found; found &= found - 1)
        x = _mm_xor_si128(x, word_times(byte, (size_t)__builtin_ctzll(found)));
    return x;
}

/* size: a multiple of 16, at least a block. */
__attribute__((target("pclmul,avx2"))) static __m128i
fold_nonzeros(uint32_t crc, const unsigned char *byte, size_t size)
{
    const unsigned char *end = byte + size;
    const __m128i start =
        _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)crc), _mm_cvtsi64_si128((long long)power[2]), 0);
    __m128i x = _mm_xor_si128(fold_block(_mm_setzero_si128(), byte), start);
    for (byte += BLOCK; (size_t)(end - byte) >= BLOCK; byte += BLOCK)
        x = fold_block(x, byte);
    for (; byte < end; byte += 16)
        x = fold(x, FOLD_16, load_16(byte));
    return x;
}

/* size: a multiple of 16, at least 64. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t
by_folding(uint32_t crc, const unsigned char *byte, size_t size)
{
    __m128i x = size >= BLOCK && __builtin_cpu_supports("avx2") ? fold_nonzeros(crc, byte, size)
                                                                : fold_all(crc, byte, size);
    return reduce(x, FOLD_16);
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
