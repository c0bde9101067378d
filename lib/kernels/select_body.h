/* Scans for the exact selection by magnitude (matrix/select.c), on keys: the bits of |w| as integers.
 * Included after topk_body.h, whose mask_bits it uses. The rare lanes (candidates, ties) are taken one
 * by one; all else is a compare and a count. */
#ifndef SN_KERNELS_SELECT_BODY_H
#define SN_KERNELS_SELECT_BODY_H

#define SCAN_BLOCK 64 /* entries whose rare ones are gathered in one word */

static inline ivec magnitude_keys(const float *w)
{
    return (ivec)vec_load(w) & INT32_MAX;
}

static inline int32_t magnitude_key(float w)
{
    int32_t bits;
    memcpy(&bits, &w, sizeof bits);
    return bits & INT32_MAX;
}

/* All ones where the byte (0 or 1) is 1. */
static inline ivec widen_bytes(const unsigned char *bytes)
{
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
    return -(ivec)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)bytes));
#elif VECTOR_BYTES == 32 && defined(__AVX2__)
    return -(ivec)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)bytes));
#else
    ivec wide;
    for (size_t i = 0; i < LANES; i++)
        wide[i] = -bytes[i];
    return wide;
#endif
}

/* bytes[i] |= bit i of 8. */
static inline void mark_bytes(unsigned char *bytes, uint64_t bits)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    const uint64_t one_each = 0x0102040810204080;
#else
    const uint64_t one_each = 0x8040201008040201;
#endif
    uint64_t word, each = (bits & 0xFF) * 0x0101010101010101 & one_each;
    memcpy(&word, bytes, sizeof word);
    word |= (each + 0x7F7F7F7F7F7F7F7F) >> 7 & 0x0101010101010101;
    memcpy(bytes, &word, sizeof word);
}

static inline size_t lane_sum(ivec counts)
{
    size_t sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += (size_t)(uint32_t)counts[i];
    return sum;
}

static void scan_one(struct magnitude_scan *scan, int32_t key)
{
    scan->above += key > scan->high;
    scan->at_high += key == scan->high;
    scan->at_low += key == scan->low;
    if (key > scan->low && key < scan->high) {
        if (scan->n_between < scan->capacity)
            scan->between[scan->n_between] = key;
        scan->n_between++;
    }
}

static void collect_between(struct magnitude_scan *scan, const float *w, uint64_t bits)
{
    for (; bits; bits &= bits - 1) {
        if (scan->n_between < scan->capacity)
            scan->between[scan->n_between] = magnitude_key(w[__builtin_ctzll(bits)]);
        scan->n_between++;
    }
}

static void magnitude_scan(struct magnitude_scan *scan, const float *w, const unsigned char *skip,
                           size_t n)
{
    ivec above = {0}, at_high = {0}, at_low = {0};
    ivec high = scan->high - (ivec){0}, low = scan->low - (ivec){0};
    size_t i = 0;
    scan->n_between = 0;
    for (; i + SCAN_BLOCK <= n; i += SCAN_BLOCK) {
        uint64_t between = 0;
        for (size_t j = 0; j < SCAN_BLOCK; j += LANES) {
            ivec keys = magnitude_keys(w + i + j);
            if (skip)
                keys |= widen_bytes(skip + i + j); /* -1: below all */
            above -= keys > high;
            at_high -= keys == high;
            at_low -= keys == low;
            between |= mask_bits((keys > low) & (keys < high)) << j;
        }
        collect_between(scan, w + i, between);
    }
    scan->above = lane_sum(above);
    scan->at_high = lane_sum(at_high);
    scan->at_low = scan->low < 0 ? 0 : lane_sum(at_low);
    for (; i < n; i++)
        if (!skip || !skip[i])
            scan_one(scan, magnitude_key(w[i]));
}

static inline void mark_one(unsigned char *keep, int32_t key, int32_t threshold, size_t *ties)
{
    if (*keep || key < threshold || (key == threshold && *ties == 0))
        return;
    *ties -= key == threshold;
    *keep = 1;
}

static void magnitude_mark(unsigned char *keep, const float *w, size_t n, int32_t threshold,
                           size_t *ties)
{
    ivec limit = threshold - (ivec){0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        uint64_t larger = 0, equal = 0;
        for (size_t j = 0; j < 16; j += LANES) {
            ivec keys = magnitude_keys(w + i + j);
            larger |= mask_bits(keys > limit) << j;
            equal |= mask_bits(keys == limit) << j;
        }
        if (equal && *ties) {
            for (size_t j = i; j < i + 16; j++)
                mark_one(keep + j, magnitude_key(w[j]), threshold, ties);
        } else if (larger) {
            mark_bytes(keep + i, larger);
            mark_bytes(keep + i + 8, larger >> 8);
        }
    }
    for (; i < n; i++)
        mark_one(keep + i, magnitude_key(w[i]), threshold, ties);
}

static inline void mark_column(unsigned char *keep, float w, int32_t threshold, uint32_t *ties)
{
    size_t left = *ties;
    mark_one(keep, magnitude_key(w), threshold, &left);
    *ties = (uint32_t)left;
}

static void magnitude_mark_columns(unsigned char *keep, const float *w, size_t n,
                                   const int32_t *threshold, uint32_t *ties)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        ivec limit = (ivec)vec_load((const float *)(const void *)(threshold + i));
        if (mask_bits(magnitude_keys(w + i) >= limit))
            for (size_t j = i; j < i + LANES; j++)
                mark_column(keep + j, w[j], threshold[j], ties + j);
    }
    for (; i < n; i++)
        mark_column(keep + i, w[i], threshold[i], ties + i);
}

static void insert_one(int32_t *levels, size_t stride, size_t n_levels, int32_t key)
{
    for (size_t l = 0; l < n_levels; l++)
        if (key > levels[l * stride]) {
            int32_t pushed = levels[l * stride];
            levels[l * stride] = key;
            key = pushed;
        }
}

static void insert_lanes(int32_t *levels, size_t stride, size_t n_levels, ivec keys)
{
    for (size_t l = 0; l < n_levels; l++) {
        ivec level;
        memcpy(&level, levels + l * stride, sizeof level);
        ivec larger = keys > level, kept = (larger & keys) | (~larger & level);
        keys = (larger & level) | (~larger & keys);
        memcpy(levels + l * stride, &kept, sizeof kept);
    }
}

static void magnitude_levels(int32_t *levels, size_t stride, size_t n_levels, const float *w, size_t n)
{
    const int32_t *last = levels + (n_levels - 1) * stride;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        ivec smallest, keys = magnitude_keys(w + i);
        memcpy(&smallest, last + i, sizeof smallest);
        if (mask_bits(keys > smallest)) /* rare once a few rows have passed */
            insert_lanes(levels + i, stride, n_levels, keys);
    }
    for (; i < n; i++)
        insert_one(levels + i, stride, n_levels, magnitude_key(w[i]));
}

#endif
