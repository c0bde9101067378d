/* AbsTopK: exact selection of the k largest magnitudes of every token, vectorised across tokens.
 *
 * A magnitude's bit pattern orders as an integer, so the k-th largest of each lane (token) is found by
 * bisection on bits: count the lane's keys >= candidate, keep the bit if at least k. To halve the work,
 * keys are 16 bits wide: first the upper 15 bits of the pattern, then the lower 16 bits of those few
 * entries whose upper half equals the one found. A bisection starts near the thresholds of the tokens
 * before and ends as soon as every lane has a candidate that exactly k keys reach. No branch depends on
 * a single lane; zeros and ties cost nothing. */
#ifndef SN_KERNELS_TOPK_BODY_H
#define SN_KERNELS_TOPK_BODY_H

#include "kernels/math_body.h"

/* Vectors of at most 32 bytes: with wider ones the keys of 1024 channels leave the L1 cache, and
 * comparisons go through mask registers. */
#define TOPK_BYTES (VECTOR_BYTES < 32 ? VECTOR_BYTES : 32)
#define TOPK_LANES (TOPK_BYTES / 4)
#define TOPK_PARTS (VECTOR_BYTES / TOPK_BYTES)

typedef int16_t svec __attribute__((vector_size(TOPK_BYTES)));
typedef uint16_t uvec16 __attribute__((vector_size(TOPK_BYTES)));
typedef int32_t tvec __attribute__((vector_size(TOPK_BYTES)));
typedef uint32_t tuvec __attribute__((vector_size(TOPK_BYTES)));
typedef int32_t tvec_unaligned __attribute__((vector_size(TOPK_BYTES), aligned(4), may_alias));

/* Two vectors of tokens share one vector of keys: token i of the first in the lower half of 32-bit
 * lane i, token i of the second in the upper half. No shuffles. */
#define TOPK_TOKENS (2 * TOPK_LANES)
#define TOPK_NARROW 32000 /* widths up to this keep their counts in 16 bits */

static inline svec svec_splat(int value)
{
    return (int16_t)value - (svec){0};
}

static inline svec svec_select(svec mask, svec a, svec b)
{
    return (mask & a) | (~mask & b);
}

/* The bits of a vector of floats. */
static inline tvec topk_load(const float *x)
{
    return *(const tvec_unaligned *)x;
}

static inline void topk_store(float *x, tvec bits)
{
    *(tvec_unaligned *)x = bits;
}

static inline int topk_any_bit(tvec x)
{
#if VECTOR_BYTES >= 32 && defined(__AVX__)
    return !_mm256_testz_si256((__m256i)x, (__m256i)x);
#elif VECTOR_BYTES == 16 && defined(__SSE2__)
    return _mm_movemask_epi8((__m128i)(x == 0)) != 0xFFFF;
#else
    int32_t bits = 0;
    for (size_t i = 0; i < TOPK_LANES; i++)
        bits |= x[i];
    return bits != 0;
#endif
}

/* Bit i = lane i of a mask of zeros and ones. */
static inline uint64_t topk_mask_bits(tvec mask)
{
#if VECTOR_BYTES >= 32 && defined(__AVX__)
    return (uint64_t)(unsigned)_mm256_movemask_ps((__m256)mask);
#elif VECTOR_BYTES == 16 && defined(__SSE2__)
    return (uint64_t)(unsigned)_mm_movemask_ps((__m128)mask);
#else
    uint64_t bits = 0;
    for (size_t i = 0; i < TOPK_LANES; i++)
        bits |= (uint64_t)(mask[i] & 1) << i;
    return bits;
#endif
}

/* The same of whole vectors. */
static inline int any_bit(ivec x)
{
#if VECTOR_BYTES == 64 && defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)x, (__m512i)x) != 0;
#else
    tvec part[TOPK_PARTS];
    int any = 0;
    memcpy(part, &x, sizeof x);
    for (size_t i = 0; i < TOPK_PARTS; i++)
        any |= topk_any_bit(part[i]);
    return any;
#endif
}

static inline uint64_t mask_bits(ivec mask)
{
#if VECTOR_BYTES == 64 && defined(__AVX512DQ__)
    return (uint64_t)_mm512_movepi32_mask((__m512i)mask);
#else
    tvec part[TOPK_PARTS];
    uint64_t bits = 0;
    memcpy(part, &mask, sizeof mask);
    for (size_t i = 0; i < TOPK_PARTS; i++)
        bits |= topk_mask_bits(part[i]) << i * TOPK_LANES;
    return bits;
#endif
}

static inline tvec magnitude(const float *x)
{
    return topk_load(x) & 0x7FFFFFFF;
}

static inline svec topk_count(const svec *key, size_t width, svec above)
{
    svec a = {0}, b = {0}, c = {0}, d = {0};
    size_t i = 0;
    for (; i + 4 <= width; i += 4) {
        a = a - (svec)(key[i] > above);
        b = b - (svec)(key[i + 1] > above);
        c = c - (svec)(key[i + 2] > above);
        d = d - (svec)(key[i + 3] > above);
    }
    for (; i < width; i++)
        a = a - (svec)(key[i] > above);
    return (a + b) + (c + d);
}

/* Per lane: the greatest threshold t found with count(key >= t) >= need, how many keys are >= t, and how
 * many reach the least candidate that too few keys reach (t + 1 once all bits are done). */
struct topk_level {
    svec threshold, at_least, above, need;
};

/* Adds `bits` bits to the threshold from which each lane starts. Keys are unsigned numbers, stored with
 * `bias` (0 or 0x8000) added for the signed comparison. Ends early when all lanes are exact; lanes in
 * `exact` are so already. */
static inline void topk_bisect(struct topk_level *level, const svec *key, size_t width, int bits,
                               int bias, svec exact)
{
    for (int bit = bits - 1; bit >= 0; bit--) {
        svec candidate = (svec)((uvec16)level->threshold + (uvec16)svec_splat(1 << bit));
        svec count = topk_count(key, width, (candidate ^ svec_splat(bias)) + svec_splat(-1));
        svec enough = ~(svec)(count < level->need);
        level->threshold = svec_select(enough, candidate, level->threshold);
        level->at_least = svec_select(enough, count, level->at_least);
        level->above = svec_select(enough, level->above, count);
        if (!topk_any_bit((tvec)(~exact & (svec)(level->at_least != level->need))))
            return;
    }
}

/* Where the next strip's upper thresholds are looked for first: low..low + 2^bits - 1. */
struct topk_window {
    int low, bits;
};

#define TOPK_ALL ((struct topk_window){0, 15})
#define TOPK_MARGIN 24 /* keys around the last strip's thresholds, some 15 % of a magnitude */

static inline struct topk_window topk_window_around(svec threshold)
{
    int16_t lane[2 * TOPK_LANES];
    int low = 0x7FFF, high = 0, bits = 0;
    memcpy(lane, &threshold, sizeof lane);
    for (size_t i = 0; i < 2 * TOPK_LANES; i++) {
        low = lane[i] < low ? lane[i] : low;
        high = lane[i] > high ? lane[i] : high;
    }
    low = low > TOPK_MARGIN ? low - TOPK_MARGIN : 0;
    while (low + (1 << bits) <= high + TOPK_MARGIN)
        bits++;
    return bits > 12 || low + (1 << bits) > 0x7FFF ? TOPK_ALL : (struct topk_window){low, bits};
}

/* The upper thresholds of a strip. The window is a guess: a lane whose candidates were all reached by
 * enough keys, or none, may have its threshold elsewhere, and then the whole range is searched. */
static inline struct topk_level topk_upper_level(const svec *key, size_t width, size_t k,
                                                 struct topk_window *window)
{
    svec zero = {0}, need = svec_splat((int)k);
    svec reach_low = svec_splat(window->low > 0 ? 0 : (int)width); /* all keys reach 0 */
    struct topk_level level = {svec_splat(window->low), reach_low, need, need};
    topk_bisect(&level, key, width, window->bits, 0, zero);
    svec inexact = (svec)(level.at_least != need);
    svec lost = (svec)(level.at_least < need) | (inexact & ~(svec)(level.above < need));
    if (topk_any_bit((tvec)lost)) {
        level = (struct topk_level){zero, svec_splat((int)width), zero, need};
        topk_bisect(&level, key, width, 15, 0, zero);
    }
    *window = topk_window_around(level.threshold);
    return level;
}

/* What the last pass over a strip applies, per token: keep magnitudes > threshold, and of those equal to
 * threshold the first `ties`. */
struct topk_cut {
    tvec threshold[2], ties[2];
};

static inline struct topk_cut topk_cut_of(const struct topk_level *upper, const struct topk_level *lower,
                                          svec exact, svec resolved)
{
    tvec high = (tvec)upper->threshold, low = (tvec)(lower->threshold & ~exact);
    tvec ties = (tvec)((lower->need - lower->above) & ~resolved);
    struct topk_cut cut;
    cut.threshold[0] = (high << 16) | (low & 0xFFFF);
    cut.threshold[1] = (tvec)((tuvec)high & 0xFFFF0000u) | (tvec)((tuvec)low >> 16);
    cut.ties[0] = ties & 0xFFFF;
    cut.ties[1] = (tvec)((tuvec)ties >> 16);
    for (int i = 0; i < 2; i++) /* a resolved lane keeps all that reach its threshold */
        cut.threshold[i] += (tvec)(cut.ties[i] == 0);
    return cut;
}

/* The upper and the lower 16 bits of the magnitudes of one channel's tokens. */
static inline svec topk_upper(const float *x)
{
    tvec first = topk_load(x), second = topk_load(x + TOPK_LANES);
    return (svec)(((first >> 16) & 0x7FFF) | (second & 0x7FFF0000));
}

static inline svec topk_lower(const float *x)
{
    tvec first = topk_load(x), second = topk_load(x + TOPK_LANES);
    return (svec)((first & 0xFFFF) | (second << 16));
}

/* Replaces the upper keys by the lower keys of those entries whose upper key is the threshold, of lanes
 * not yet exact. All else becomes 0, which no candidate counts, and a channel with nothing else is left
 * out: few remain, also of zeros and of tied round numbers. Returns how many. */
static inline size_t topk_bucket(svec *key, const float *x, size_t width, svec threshold, svec exact)
{
    size_t n = 0;
    for (size_t c = 0; c < width; c++) {
        svec inside = (svec)(key[c] == threshold) & ~exact;
        if (!topk_any_bit((tvec)inside))
            continue;
        svec lower = topk_lower(x + c * PANEL) & inside;
        key[n] = lower ^ svec_splat(0x8000);
        n += (size_t)topk_any_bit((tvec)lower);
    }
    return n;
}

/* The cut of one strip; x: its first token in a panel. */
static inline struct topk_cut topk_select(svec *key, struct topk_window *window, const float *x,
                                          size_t width, size_t k)
{
    for (size_t c = 0; c < width; c++)
        key[c] = topk_upper(x + c * PANEL);
    struct topk_level upper = topk_upper_level(key, width, k, window);
    struct topk_level lower = {{0}, upper.at_least - upper.above, {0}, upper.need - upper.above};
    svec exact = (svec)(upper.at_least == upper.need);
    if (topk_any_bit((tvec)~exact)) {
        size_t n = topk_bucket(key, x, width, upper.threshold, exact);
        topk_bisect(&lower, key, n, 16, 0x8000, exact);
    }
    return topk_cut_of(&upper, &lower, exact, exact | (svec)(lower.at_least == lower.need));
}

/* The same for widths whose counts need 32 bits: one bisection on the whole pattern. */
static inline void topk_select_wide(tvec *threshold, tvec *ties, const float *x, size_t width, size_t k)
{
    tvec found = {0}, above = {0}, need = (int32_t)k - (tvec){0}, at_least = (int32_t)width - (tvec){0};
    for (int bit = 30; bit >= 0; bit--) {
        tvec candidate = found | (int32_t)(1u << bit), count = {0};
        for (size_t c = 0; c < width; c++)
            count += (tvec)(magnitude(x + c * PANEL) < candidate);
        count += (int32_t)width;
        tvec enough = ~(tvec)(count < need);
        found = (enough & candidate) | (~enough & found);
        at_least = (enough & count) | (~enough & at_least);
        above = (enough & above) | (~enough & count);
    }
    *ties = (need - above) & ~(tvec)(at_least == need);
    *threshold = found + (tvec)(*ties == 0);
}

static inline void topk_apply(float *x, uint64_t *mask, size_t width, size_t token,
                              const struct topk_cut *cut)
{
    tvec threshold0 = cut->threshold[0], threshold1 = cut->threshold[1];
    for (size_t c = 0; c < width; c++) {
        float *at = x + c * PANEL + token;
        tvec keep0 = (tvec)(magnitude(at) > threshold0);
        tvec keep1 = (tvec)(magnitude(at + TOPK_LANES) > threshold1);
        topk_store(at, topk_load(at) & keep0);
        topk_store(at + TOPK_LANES, topk_load(at + TOPK_LANES) & keep1);
        mask[c] |= (topk_mask_bits(keep0) | topk_mask_bits(keep1) << TOPK_LANES) << token;
    }
}

/* With ties: while a token has some left, what equals the threshold passes too and uses one up. */
static inline void topk_apply_ties(float *x, uint64_t *mask, size_t width, size_t token,
                                   const struct topk_cut *cut)
{
    tvec threshold0 = cut->threshold[0], threshold1 = cut->threshold[1];
    tvec ties0 = cut->ties[0], ties1 = cut->ties[1];
    for (size_t c = 0; c < width; c++) {
        float *at = x + c * PANEL + token;
        tvec magnitude0 = magnitude(at), magnitude1 = magnitude(at + TOPK_LANES);
        tvec keep0 = (tvec)(magnitude0 > threshold0 + (tvec)(ties0 > 0));
        tvec keep1 = (tvec)(magnitude1 > threshold1 + (tvec)(ties1 > 0));
        ties0 += (tvec)(magnitude0 == threshold0);
        ties1 += (tvec)(magnitude1 == threshold1);
        topk_store(at, topk_load(at) & keep0);
        topk_store(at + TOPK_LANES, topk_load(at + TOPK_LANES) & keep1);
        mask[c] |= (topk_mask_bits(keep0) | topk_mask_bits(keep1) << TOPK_LANES) << token;
    }
}

static void abs_topk(float *x, uint64_t *mask, size_t width, size_t k, void *scratch)
{
    memset(mask, 0, width * sizeof *mask);
    if (k == 0) {
        memset(x, 0, width * PANEL * sizeof *x);
        return;
    }
    struct topk_window window = TOPK_ALL;
    for (size_t token = 0; token < PANEL; token += TOPK_TOKENS) {
        struct topk_cut cut;
        if (width <= TOPK_NARROW)
            cut = topk_select(scratch, &window, x + token, width, k);
        else
            for (size_t i = 0; i < 2; i++)
                topk_select_wide(&cut.threshold[i], &cut.ties[i], x + token + i * TOPK_LANES, width, k);
        if (topk_any_bit(cut.ties[0] | cut.ties[1]))
            topk_apply_ties(x, mask, width, token, &cut);
        else
            topk_apply(x, mask, width, token, &cut);
    }
}

/* Lanes of all ones where the bits of `bits` (LANES of them) are set. */
static inline ivec mask_lanes(uint64_t bits)
{
    ivec lane;
    for (int i = 0; i < LANES; i++)
        lane[i] = 1 << i;
    return (ivec)(((int32_t)bits & lane) == lane);
}

static void apply_mask(float *dx, const uint64_t *mask, size_t width)
{
    for (size_t c = 0; c < width; c++)
        for (size_t t = 0; t < PANEL; t += LANES) {
            float *at = dx + c * PANEL + t;
            vec_store(at, (vec)((ivec)vec_load(at) & mask_lanes(mask[c] >> t)));
        }
}

#endif
