/* AbsTopK of one token: the k-th largest magnitude by bisection on 15 bits, then on the other 16 among
 * the few entries that share its upper bits. Included after topk_body.h, whose keys it uses: the upper
 * halves of two magnitudes share one 32-bit lane. */
#ifndef SN_KERNELS_TOKEN_TOPK_BODY_H
#define SN_KERNELS_TOKEN_TOPK_BODY_H

#define TOKEN_KEYS TOPK_TOKENS        /* magnitudes per vector of upper halves */
#define TOKEN_COUNTED ((size_t)32000) /* vectors that counts of 16 bits can take */

/* How many of the upper halves are >= candidate > 0. */
static inline size_t token_count(const svec *key, size_t n, int candidate)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i += TOKEN_COUNTED) {
        size_t part = n - i < TOKEN_COUNTED ? n - i : TOKEN_COUNTED;
        svec count = topk_count(key + i, part, svec_splat(candidate - 1));
        uint16_t lanes[TOKEN_KEYS];
        memcpy(lanes, &count, sizeof lanes);
        for (size_t lane = 0; lane < TOKEN_KEYS; lane++)
            total += lanes[lane];
    }
    return total;
}

/* Vectors of upper halves; those behind the last entry are zeros. */
static inline size_t token_upper_keys(svec *key, const float *x, size_t width)
{
    size_t n = 0, i = 0;
    for (; i + TOKEN_KEYS <= width; i += TOKEN_KEYS)
        key[n++] = topk_upper(x + i);
    if (i < width) {
        float rest[TOKEN_KEYS] = {0};
        memcpy(rest, x + i, (width - i) * sizeof *rest);
        key[n++] = topk_upper(rest);
    }
    return n;
}

static inline int32_t token_magnitude(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & INT32_MAX;
}

/* The magnitudes above 0 whose upper half is `upper`. */
static inline size_t token_bucket(int32_t *bucket, const float *x, size_t width, int upper)
{
    size_t n = 0, i = 0;
    for (; i + TOPK_LANES <= width; i += TOPK_LANES) {
        tvec whole = magnitude(x + i);
        uint64_t bits = topk_mask_bits((tvec)((whole >> 16) == upper) & (tvec)(whole != 0));
        for (; bits; bits &= bits - 1)
            bucket[n++] = token_magnitude(x[i + (size_t)__builtin_ctzll(bits)]);
    }
    for (; i < width; i++) {
        int32_t whole = token_magnitude(x[i]);
        if (whole >> 16 == upper && whole != 0)
            bucket[n++] = whole;
    }
    return n;
}

/* What stays: magnitudes > threshold, and of those equal to it the first `ties`. */
struct token_cut {
    int32_t threshold;
    size_t ties;
};

/* The need-th largest of the bucket, need >= 1; zeros stand behind its n entries. */
static inline struct token_cut token_bucket_cut(const int32_t *bucket, size_t n, int upper, size_t need)
{
    int32_t found = upper << 16;
    size_t at_least = n, above = 0;
    if (n <= need) /* all that are not 0 */
        return (struct token_cut){found > 0 ? found - 1 : 0, 0};
    for (int bit = 15; bit >= 0 && at_least != need; bit--) {
        int32_t candidate = found | 1 << bit;
        size_t count = 0;
        for (size_t i = 0; i < n; i++)
            count += bucket[i] >= candidate;
        if (count >= need) {
            found = candidate;
            at_least = count;
        } else {
            above = count;
        }
    }
    return at_least == need ? (struct token_cut){found - 1, 0} : (struct token_cut){found, need - above};
}

static inline struct token_cut token_select(const float *x, size_t width, size_t k, void *scratch)
{
    svec *key = scratch;
    size_t n = token_upper_keys(key, x, width), above = 0;
    int upper = 0;
    for (int bit = 14; bit >= 0; bit--) {
        size_t count = token_count(key, n, upper | 1 << bit);
        if (count < k) {
            above = count;
            continue;
        }
        upper |= 1 << bit;
        if (count == k)
            return (struct token_cut){(upper << 16) - 1, 0};
    }
    int32_t *bucket = (int32_t *)(key + n);
    return token_bucket_cut(bucket, token_bucket(bucket, x, width, upper), upper, k - above);
}

static inline void token_apply_ties(float *x, size_t width, struct token_cut cut)
{
    for (size_t i = 0; i < width; i++) {
        int32_t key = token_magnitude(x[i]);
        int tied = key == cut.threshold && cut.ties > 0;
        cut.ties -= (size_t)tied;
        if (key <= cut.threshold && !tied)
            x[i] = 0;
    }
}

static void token_topk(float *x, size_t width, size_t k, void *scratch)
{
    if (k == 0) {
        memset(x, 0, width * sizeof *x);
        return;
    }
    struct token_cut cut = token_select(x, width, k, scratch);
    size_t i = 0;
    if (cut.ties) {
        token_apply_ties(x, width, cut);
        return;
    }
    for (; i + LANES <= width; i += LANES) {
        vec v = vec_load(x + i);
        vec_store(x + i, (vec)((ivec)v & (ivec)(((ivec)v & 0x7FFFFFFF) > cut.threshold)));
    }
    for (; i < width; i++)
        x[i] = token_magnitude(x[i]) > cut.threshold ? x[i] : 0;
}

#endif
