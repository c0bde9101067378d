/* Sparse matrix times panel, and the gradient of the kept weights. Included by the file of one
 * instruction set after vector.h.
 *
 * A row's sum over a panel stays in registers: 64 tokens are 8 AVX2 or 4 AVX-512 accumulators, and
 * each entry costs one broadcast and one fused multiply-add per vector, read straight from the input
 * tile. SSE has too few registers for 64 tokens and goes over a row twice. */
#ifndef SN_KERNELS_SPARSE_BODY_H
#define SN_KERNELS_SPARSE_BODY_H

#define ROW_VECTORS (PANEL_VECTORS > 8 ? 8 : PANEL_VECTORS)
#define ROW_FLOATS (ROW_VECTORS * LANES)

static inline __attribute__((always_inline)) void sparse_add(vec *sum, uint16_t index, float value,
                                                             const float *x)
{
    const float *from = x + (size_t)index * PANEL;
    vec weight = vec_splat(value);
    /* The address by itself: added up in each instruction it would split every multiply-add in two. */
    __asm__("" : "+r"(from));
    for (int v = 0; v < ROW_VECTORS; v++)
        sum[v] += weight * vec_load(from + v * LANES);
}

/* A multiply-add takes four cycles and two start in each, so the four sums of AVX-512 would wait for
 * themselves: even and odd entries have sums of their own. Entries are bound by their loads, and four
 * indices in one save as many. Adds all but the last n % 4 entries and returns how many. */
static inline __attribute__((always_inline)) size_t sparse_fours(vec *sum, const uint16_t *index,
                                                                 const float *value, size_t n,
                                                                 const float *x)
{
    vec odd[ROW_VECTORS];
    size_t i = 0;
    for (int v = 0; v < ROW_VECTORS; v++)
        odd[v] = vec_splat(0);
    for (; i + 4 <= n; i += 4) {
        uint64_t four;
        memcpy(&four, index + i, sizeof four); /* little-endian, as every processor with such vectors */
        sparse_add(sum, (uint16_t)four, value[i], x);
        sparse_add(odd, (uint16_t)(four >> 16), value[i + 1], x);
        sparse_add(sum, (uint16_t)(four >> 32), value[i + 2], x);
        sparse_add(odd, (uint16_t)(four >> 48), value[i + 3], x);
    }
    for (int v = 0; v < ROW_VECTORS; v++)
        sum[v] += odd[v];
    return i;
}

/* y[ROW_FLOATS] = start + sum_i value_i x[index_i][..], or += without start. */
static inline __attribute__((always_inline)) void sparse_row(float *y, const uint16_t *index,
                                                             const float *value, size_t n,
                                                             const float *x, float start, int accumulate)
{
    vec sum[ROW_VECTORS];
    for (int v = 0; v < ROW_VECTORS; v++)
        sum[v] = accumulate ? vec_load(y + v * LANES) : vec_splat(start);
    for (size_t i = ROW_VECTORS < 8 ? sparse_fours(sum, index, value, n, x) : 0; i < n; i++)
        sparse_add(sum, index[i], value[i], x);
    for (int v = 0; v < ROW_VECTORS; v++)
        vec_store(y + v * LANES, sum[v]);
}

/* Where a matrix has several blocks of columns, rows follow each other in a block, but not in memory:
 * what a row has there is a short stretch of its entries, of which no hardware knows. Without
 * fetching them ahead products at 1/4 take 1.2 to 1.5 times as long; from further ahead they push the
 * input out of the L1 cache. (Always inlined: gcc 12 takes a function that only prefetches for one
 * without effect, and drops the calls.) */
#define SPARSE_ROWS_AHEAD 2

static inline size_t sparse_ahead(const struct sparse_block *block)
{
    return block->end == block->start + 1 ? block->rows : SPARSE_ROWS_AHEAD;
}

static inline __attribute__((always_inline)) void sparse_prefetch(const struct sparse_block *block,
                                                                  const float *value, size_t r)
{
    if (r >= block->rows)
        return;
    size_t first = block->start[r], end = block->end[r];
    __builtin_prefetch(value + first);
    __builtin_prefetch(value + first + 16);
    __builtin_prefetch(value + end);
    __builtin_prefetch(block->index + first);
    __builtin_prefetch(block->index + end);
}

/* Nor does hardware follow the rows of y and dy beyond a page, which 16 of them fill: with these, dW at
 * 1/64 takes three quarters of the time. */
#define PANEL_ROWS_AHEAD 4

static inline __attribute__((always_inline)) void panel_prefetch(const float *panel, size_t r,
                                                                 size_t rows)
{
    for (size_t t = 0; r < rows && t < PANEL; t += 16)
        __builtin_prefetch(panel + r * PANEL + t);
}

static void sparse_multiply(float *y, const struct sparse_block *block, const float *x,
                            const float *bias, int accumulate)
{
    x += block->first_column * PANEL;
    size_t ahead = sparse_ahead(block);
    for (size_t r = 0; r < block->rows; r++) {
        size_t first = block->start[r], n = block->end[r] - first;
        sparse_prefetch(block, block->value, r + ahead);
        panel_prefetch(y, r + PANEL_ROWS_AHEAD, block->rows);
        if (accumulate && n == 0)
            continue;
        for (size_t t = 0; t < PANEL; t += ROW_FLOATS)
            sparse_row(y + r * PANEL + t, block->index + first, block->value + first, n, x + t,
                       bias ? bias[r] : 0, accumulate);
    }
}

/* Lane by lane sum over the panel of dy[row] x[column]; the lanes still have to be added up. */
static inline __attribute__((always_inline)) vec sparse_product(const vec *dy, const float *x)
{
    vec even = dy[0] * vec_load(x), odd = dy[1] * vec_load(x + LANES);
    for (int v = 2; v < PANEL_VECTORS; v += 2) {
        even += dy[v] * vec_load(x + v * LANES);
        odd += dy[v + 1] * vec_load(x + (v + 1) * LANES);
    }
    return even + odd;
}

/* Pairwise steps of a transposed sum: after log2(LANES) of them, lane i of the result is the sum over
 * all lanes of vector i. Each step halves the number of vectors and costs two shuffles and one add for
 * two vectors, where separate horizontal sums would cost that for each. */
#if VECTOR_BYTES == 16
#define SUM_STEP1(a, b)                                                                                 \
    (__builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7))
#define SUM_STEP2(a, b)                                                                                 \
    (__builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7))
#elif VECTOR_BYTES == 32
#define SUM_STEP1(a, b)                                                                                 \
    (__builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13) +                                          \
     __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15))
#define SUM_STEP2(a, b)                                                                                 \
    (__builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13) +                                          \
     __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15))
#define SUM_STEP3(a, b)                                                                                 \
    (__builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +                                          \
     __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15))
#else
#define SUM_STEP1(a, b)                                                                                 \
    (__builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29) +          \
     __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31))
#define SUM_STEP2(a, b)                                                                                 \
    (__builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +          \
     __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
#define SUM_STEP3(a, b)                                                                                 \
    (__builtin_shufflevector(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +          \
     __builtin_shufflevector(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
#define SUM_STEP4(a, b)                                                                                 \
    (__builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +            \
     __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#endif

/* Lane i of each: the sum over the panel for entry i of 2, 4, ... entries. */
static inline __attribute__((always_inline)) vec sparse_pair(const vec *dy, const uint16_t *index,
                                                             const float *x)
{
    vec a = sparse_product(dy, x + (size_t)index[0] * PANEL);
    vec b = sparse_product(dy, x + (size_t)index[1] * PANEL);
    return SUM_STEP1(a, b);
}
static inline __attribute__((always_inline)) vec sparse_four(const vec *dy, const uint16_t *index,
                                                             const float *x)
{
    vec a = sparse_pair(dy, index, x), b = sparse_pair(dy, index + 2, x);
    return SUM_STEP2(a, b);
}
static inline __attribute__((always_inline)) vec sparse_group(const vec *dy, const uint16_t *index,
                                                              const float *x)
{
#if VECTOR_BYTES == 16
    return sparse_four(dy, index, x);
#else
    vec a = sparse_four(dy, index, x), b = sparse_four(dy, index + 4, x);
    vec eight = SUM_STEP3(a, b);
#if VECTOR_BYTES == 32
    return eight;
#else
    vec c = sparse_four(dy, index + 8, x), d = sparse_four(dy, index + 12, x);
    vec more = SUM_STEP3(c, d);
    return SUM_STEP4(eight, more);
#endif
#endif
}

/* The same for a rest of 4, 2 or 1 entries: further steps add a vector to itself. */
static inline __attribute__((always_inline)) void add_rest(float *gradient, vec sums, size_t n)
{
#if VECTOR_BYTES >= 32
    sums = SUM_STEP3(sums, sums);
#endif
#if VECTOR_BYTES == 64
    sums = SUM_STEP4(sums, sums);
#endif
    for (size_t i = 0; i < n; i++)
        gradient[i] += sums[i];
}

static inline __attribute__((always_inline)) void
sparse_rest(float *gradient, const vec *dy, const uint16_t *index, const float *x, size_t n)
{
    for (; n >= 4; n -= 4, index += 4, gradient += 4)
        add_rest(gradient, sparse_four(dy, index, x), 4);
    if (n >= 2) {
        vec pair = sparse_pair(dy, index, x);
        add_rest(gradient, SUM_STEP2(pair, pair), 2);
        index += 2;
        gradient += 2;
    }
    if (n & 1) {
        vec product = sparse_product(dy, x + (size_t)index[0] * PANEL);
        vec once = SUM_STEP1(product, product);
        add_rest(gradient, SUM_STEP2(once, once), 1);
    }
}

static void sparse_gradient(float *gradient, const struct sparse_block *block, size_t first_row,
                            size_t last_row, const float *dy, const float *x)
{
    x += block->first_column * PANEL;
    size_t ahead = sparse_ahead(block);
    for (size_t r = first_row; r < last_row; r++) {
        size_t i = block->start[r], end = block->end[r];
        sparse_prefetch(block, gradient, r + ahead);
        panel_prefetch(dy, r + PANEL_ROWS_AHEAD, last_row);
        if (i == end)
            continue;
        vec row[PANEL_VECTORS];
        for (int v = 0; v < PANEL_VECTORS; v++)
            row[v] = vec_load(dy + r * PANEL + v * LANES);
        for (; i + LANES <= end; i += LANES)
            vec_store(gradient + i, vec_load(gradient + i) + sparse_group(row, block->index + i, x));
        sparse_rest(gradient + i, row, block->index + i, x, end - i);
    }
}

#endif
