/* One token at a time: products, norms and attention on plain vectors of any length. Included by the
 * file of one instruction set after the other bodies.
 *
 * The sparse products are bound by loads and stores, not by arithmetic: gather instructions take
 * longer than the loads that they stand for, so entries are fetched one by one (docs/performance.md,
 * One token). */
#ifndef SN_KERNELS_TOKEN_BODY_H
#define SN_KERNELS_TOKEN_BODY_H

/* The first n <= LANES floats; the other lanes are 0. */
static inline vec vec_load_part(const float *from, size_t n)
{
    vec x = {0};
    memcpy(&x, from, n * sizeof *from);
    return x;
}

static inline void token_prefetch(const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch((const char *)from + i);
}

/* Four indices in one load, the first in the lowest bits. */
static inline uint64_t token_four(const uint16_t *index)
{
    uint64_t four;
    memcpy(&four, index, sizeof four);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    four = four >> 48 | (four >> 16 & 0xFFFF0000u) | (four & 0xFFFF0000u) << 16 | four << 48;
#endif
    return four;
}

/* What entries one by one fill: AVX2 and AVX-512 alike, since elements of the upper half of 64 bytes are
 * reached only by way of shuffles, which take longer than the loads. */
#define SPREAD (LANES > 8 ? 8 : LANES)
typedef float spread __attribute__((vector_size(SPREAD * 4)));
typedef float spread_unaligned __attribute__((vector_size(SPREAD * 4), aligned(4), may_alias));
typedef float spread_four __attribute__((vector_size(16)));

static inline spread spread_load(const float *from)
{
    return *(const spread_unaligned *)from;
}

/* y[row[i]] += add[i]. Rows of a column are distinct, so several can be loaded before any is stored. */
static inline void token_scatter(float *y, const uint16_t *row, spread add)
{
    for (size_t i = 0; i < SPREAD; i += 4) {
        uint64_t four = token_four(row + i);
        float *a = y + (four & 0xFFFF), *b = y + (four >> 16 & 0xFFFF);
        float *c = y + (four >> 32 & 0xFFFF), *d = y + (four >> 48);
        float sum[4] = {*a + add[i], *b + add[i + 1], *c + add[i + 2], *d + add[i + 3]};
        *a = sum[0];
        *b = sum[1];
        *c = sum[2];
        *d = sum[3];
    }
}

/* Which columns come is known, but to no hardware: each is a short run at a new place, and without the
 * prefetch its first lines cost more than its arithmetic (2.2 times as long at 64 entries a column). */
#define TOKEN_COLUMNS_AHEAD 4

static void token_columns(float *y, const struct sparse_columns *columns, const uint32_t *active,
                          const float *x, size_t n_active)
{
    for (size_t a = 0; a < n_active; a++) {
        size_t i = columns->start[active[a]], end = columns->start[active[a] + 1];
        const uint16_t *row = columns->row;
        const float *value = columns->value;
        if (a + TOKEN_COLUMNS_AHEAD < n_active) {
            const uint32_t *next = columns->start + active[a + TOKEN_COLUMNS_AHEAD];
            token_prefetch(row + next[0], (next[1] - next[0]) * sizeof *row);
            token_prefetch(value + next[0], (next[1] - next[0]) * sizeof *value);
        }
        float factor = x[a];
        for (; i + SPREAD <= end; i += SPREAD)
            token_scatter(y, row + i, spread_load(value + i) * factor);
        for (; i < end; i++)
            y[row[i]] += factor * value[i];
    }
}

/* SPREAD entries of x. Half of the indices come four in a load, half one by one: the former take
 * shifts, the latter loads, and both are scarce. */
static inline spread token_gather(const float *x, const uint16_t *index)
{
    spread_four part[SPREAD / 4];
    for (size_t i = 0; i < SPREAD / 4; i++) {
        const uint16_t *at = index + 4 * i;
        uint64_t four = token_four(at);
        part[i] = i % 2 ? (spread_four){x[at[0]], x[at[1]], x[at[2]], x[at[3]]}
                        : (spread_four){x[four & 0xFFFF], x[four >> 16 & 0xFFFF], x[four >> 32 & 0xFFFF],
                                        x[four >> 48]};
    }
#if LANES >= 8
    return __builtin_shufflevector(part[0], part[1], 0, 1, 2, 3, 4, 5, 6, 7);
#else
    return part[0];
#endif
}

static inline float spread_sum(spread x)
{
#if LANES >= 8
    spread_four sum =
        __builtin_shufflevector(x, x, 0, 1, 2, 3) + __builtin_shufflevector(x, x, 4, 5, 6, 7);
#else
    spread_four sum = x;
#endif
    sum += __builtin_shufflevector(sum, sum, 2, 3, 0, 1);
    return sum[0] + sum[1];
}

static void token_rows(float *y, const struct sparse_block *block, const float *x, const float *bias)
{
    const uint16_t *index = block->index;
    const float *value = block->value;
    x += block->first_column;
    for (size_t r = 0; r < block->rows; r++) {
        size_t i = block->start[r], end = block->end[r];
        float rest = bias ? bias[r] : 0;
        spread sum = {0};
        for (; i + SPREAD <= end; i += SPREAD)
            sum += spread_load(value + i) * token_gather(x, index + i);
        for (; i < end; i++)
            rest += value[i] * x[index[i]];
        y[r] = spread_sum(sum) + rest;
    }
}

#define DENSE_ROWS 4 /* rows that share the loads of x */

static inline __attribute__((always_inline)) void
token_dense_rows(float *y, const float *w, size_t cols, const float *x, const float *bias, size_t n_rows)
{
    vec sum[DENSE_ROWS][2] = {{{0}}};
    size_t c = 0;
    for (; c + 2 * LANES <= cols; c += 2 * LANES) {
        vec a = vec_load(x + c), b = vec_load(x + c + LANES);
        for (size_t r = 0; r < n_rows; r++) {
            sum[r][0] += a * vec_load(w + r * cols + c);
            sum[r][1] += b * vec_load(w + r * cols + c + LANES);
        }
    }
    for (; c < cols; c += LANES) {
        size_t n = cols - c < LANES ? cols - c : LANES;
        for (size_t r = 0; r < n_rows; r++)
            sum[r][0] += vec_load_part(x + c, n) * vec_load_part(w + r * cols + c, n);
    }
    for (size_t r = 0; r < n_rows; r++)
        y[r] = (bias ? bias[r] : 0) + vec_sum(sum[r][0] + sum[r][1]);
}

static void token_dense(float *y, const float *w, size_t rows, size_t cols, const float *x,
                        const float *bias)
{
    size_t r = 0;
    for (; r + DENSE_ROWS <= rows; r += DENSE_ROWS)
        token_dense_rows(y + r, w + r * cols, cols, x, bias ? bias + r : NULL, DENSE_ROWS);
    for (; r < rows; r++)
        token_dense_rows(y + r, w + r * cols, cols, x, bias ? bias + r : NULL, 1);
}

/* ---- norms */

/* sum of (x - mean)^2 */
static inline float token_squares(const float *x, float mean, size_t width)
{
    vec sum[2] = {{0}};
    size_t c = 0;
    float rest = 0;
    for (; c + 2 * LANES <= width; c += 2 * LANES)
        for (size_t j = 0; j < 2; j++) {
            vec v = vec_load(x + c + j * LANES) - mean;
            sum[j] += v * v;
        }
    for (; c < width; c++)
        rest += (x[c] - mean) * (x[c] - mean);
    return vec_sum(sum[0] + sum[1]) + rest;
}

static inline float token_total(const float *x, size_t width)
{
    vec sum[2] = {{0}};
    size_t c = 0;
    float rest = 0;
    for (; c + 2 * LANES <= width; c += 2 * LANES)
        for (size_t j = 0; j < 2; j++)
            sum[j] += vec_load(x + c + j * LANES);
    for (; c < width; c++)
        rest += x[c];
    return vec_sum(sum[0] + sum[1]) + rest;
}

static void token_rms_norm(float *y, const float *x, const float *weight, size_t width)
{
    float inverse = 1.0f / sqrtf(token_squares(x, 0, width) / (float)width + RMS_EPSILON);
    size_t c = 0;
    for (; c + LANES <= width; c += LANES)
        vec_store(y + c, vec_load(x + c) * inverse * vec_load(weight + c));
    for (; c < width; c++)
        y[c] = x[c] * inverse * weight[c];
}

static void token_layer_norm(float *y, const float *x, const float *weight, const float *bias,
                             size_t width)
{
    float mean = token_total(x, width) / (float)width;
    float inverse = 1.0f / sqrtf(token_squares(x, mean, width) / (float)width + LAYER_EPSILON);
    for (size_t c = 0; c < width; c++)
        y[c] = (x[c] - mean) * inverse * weight[c] + (bias ? bias[c] : 0);
}

/* ---- attention */

/* Scores of whole pages: only channels in which the query is not zero are read. The places behind the
 * last token become -inf, whose weight is exactly 0. */
static inline void token_scores(float *score, const float *q, const struct token_attention *a,
                                size_t n_pages, void *scratch)
{
    uint32_t *active = scratch;
    float *factor = (float *)(active + (a->d_head + 15) / 16 * 16);
    uint16_t *channel = (uint16_t *)(factor + (a->d_head + 15) / 16 * 16);
    int not_finite = 0; /* which the scores show */
    size_t n = gather_nonzeros(factor, active, &not_finite, q, a->d_head);
    for (size_t i = 0; i < n; i++) {
        channel[i] = (uint16_t)active[i];
        factor[i] *= a->scale;
    }
    for (size_t page = 0; page < n_pages; page++) {
        token_prefetch(a->pages[page] + a->value, a->d_head * PANEL * sizeof *score);
        for (size_t t = 0; t < PANEL; t += ROW_FLOATS)
            sparse_row(score + page * PANEL + t, channel, factor, n, a->pages[page] + a->key + t, 0, 0);
    }
    for (size_t t = a->n_tokens; t < n_pages * PANEL; t++)
        score[t] = -INFINITY;
}

/* score := exp(score - largest), the sink's part included in the sum that is returned. */
static inline float token_softmax(float *score, size_t n, const struct token_attention *a)
{
    vec highest = vec_splat(a->has_sink ? a->sink : -INFINITY), sum = {0};
    for (size_t t = 0; t < n; t += LANES)
        highest = vec_max(vec_load(score + t), highest);
    float largest = highest[0];
    for (size_t i = 1; i < LANES; i++)
        largest = highest[i] > largest ? highest[i] : largest;
    for (size_t t = 0; t < n; t += LANES) {
        vec p = vec_exp(vec_load(score + t) - largest);
        vec_store(score + t, p);
        sum += p;
    }
    return vec_sum(sum) + (a->has_sink ? vec_exp(vec_splat(a->sink - largest))[0] : 0);
}

/* y[0..n) = factor * sum over tokens of p v, for n channels that share the loads of p. */
static inline __attribute__((always_inline)) void token_values(float *y, const float *p,
                                                               const struct token_attention *a,
                                                               size_t first, size_t n_pages,
                                                               float factor, size_t n)
{
    vec sum[4] = {{0}};
    for (size_t page = 0; page < n_pages; page++) {
        const float *v = a->pages[page] + a->value + first * PANEL;
        for (size_t t = 0; t < PANEL; t += LANES) {
            vec weight = vec_load(p + page * PANEL + t);
            for (size_t i = 0; i < n; i++)
                sum[i] += weight * vec_load(v + i * PANEL + t);
        }
    }
    for (size_t i = 0; i < n; i++)
        y[i] = vec_sum(sum[i]) * factor;
}

static void token_attention(float *y, const float *q, const struct token_attention *a, void *scratch)
{
    size_t n_pages = (a->n_tokens + PANEL - 1) / PANEL, c = 0;
    float *score = scratch;
    token_scores(score, q, a, n_pages, score + n_pages * PANEL);
    float factor = 1.0f / token_softmax(score, n_pages * PANEL, a);
    for (; c + 4 <= a->d_head; c += 4)
        token_values(y + c, score, a, c, n_pages, factor, 4);
    for (; c < a->d_head; c++)
        token_values(y + c, score, a, c, n_pages, factor, 1);
}

#endif
