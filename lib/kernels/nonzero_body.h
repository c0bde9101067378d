/* Gathering what is not zero out of rows of a file (model/ingest.c): the scan must keep up with reading.
 * Included after select_body.h, whose keys and blocks it uses. */
#ifndef SN_KERNELS_NONZERO_BODY_H
#define SN_KERNELS_NONZERO_BODY_H

#define FEW 3 /* nonzeros of a block that are taken without asking how many there are */
#define FIRST_INFINITE 0x7F800000u /* keys from here on are no finite numbers */

/* Bit i: x[i] of SCAN_BLOCK entries is not zero. AVX2 packs with saturation, which leaves a nonzero
 * one, and sorts what the two halves of its registers keep apart. */
static inline uint64_t nonzero_bits(const float *x)
{
    uint64_t bits = 0;
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
    const ivec magnitude = INT32_MAX - (ivec){0};
    for (int j = 0; j < SCAN_BLOCK; j += LANES)
        bits |= (uint64_t)_mm512_test_epi32_mask((__m512i)(ivec)vec_load(x + j), (__m512i)magnitude)
                << j;
#elif VECTOR_BYTES == 32 && defined(__AVX2__)
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int j = 0; j < SCAN_BLOCK; j += 4 * LANES) {
        __m256i words[4];
        for (int i = 0; i < 4; i++)
            words[i] = (__m256i)magnitude_keys(x + j + i * LANES);
        __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(words[0], words[1]),
                                           _mm256_packs_epi32(words[2], words[3]));
        __m256i zero =
            _mm256_cmpeq_epi8(_mm256_permutevar8x32_epi32(bytes, order), _mm256_setzero_si256());
        bits |= (uint64_t)(~(unsigned)_mm256_movemask_epi8(zero)) << j;
    }
#else
    for (size_t j = 0; j < SCAN_BLOCK; j += LANES)
        bits |= mask_bits(magnitude_keys(x + j) != 0) << j;
#endif
    return bits;
}

static inline int all_finite(const float *value, size_t n)
{
    uvec beyond = {0};
    uint32_t rest = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) /* the sign bit of infinities and NaN */
        beyond |= (uvec)magnitude_keys(value + i) + (0x80000000u - FIRST_INFINITE);
    for (; i < n; i++)
        rest |= (uint32_t)magnitude_key(value[i]) + (0x80000000u - FIRST_INFINITE);
    return !any_bit((ivec)beyond & INT32_MIN) && !(rest & 0x80000000u);
}

static size_t gather_nonzeros(float *value, uint32_t *index, int *not_finite, const float *x, size_t n)
{
    size_t i = 0, count = 0;
    for (; i + SCAN_BLOCK <= n; i += SCAN_BLOCK) {
        uint64_t nonzero = nonzero_bits(x + i);
        for (int step = 0; step < FEW; step++) { /* there is room: count + step < i + SCAN_BLOCK <= n */
            size_t at = i + (size_t)__builtin_ctzll(nonzero | (uint64_t)1 << 63);
            index[count] = (uint32_t)at;
            value[count] = x[at];
            count += nonzero != 0;
            nonzero &= nonzero - 1;
        }
        for (; nonzero; nonzero &= nonzero - 1, count++) {
            size_t at = i + (size_t)__builtin_ctzll(nonzero);
            index[count] = (uint32_t)at;
            value[count] = x[at];
        }
    }
    for (; i < n; i++) {
        index[count] = (uint32_t)i;
        value[count] = x[i];
        count += magnitude_key(x[i]) != 0;
    }
    if (!all_finite(value, count))
        *not_finite = 1;
    return count;
}

#endif
