/* Attention of one head over one sequence, by tiles of ATTENTION_TILE (B) queries and chunks of up to
 * CHUNK keys (a multiple of B); keys above the diagonal are never touched. Scores stand as
 * [keys][queries], so that the softmax runs down the keys and is vectorised across queries. All products
 * use packed operands whose leading dimensions are B, CHUNK or d_head, whatever the sequence: a few
 * shapes of `gemm` per d_head, all of which a sequence of 2 CHUNK tokens uses. */
#ifndef SN_KERNELS_ATTENTION_BODY_H
#define SN_KERNELS_ATTENTION_BODY_H

#include "kernels/attention_chunk.h"
#include "kernels/attention_few_body.h"
#include "kernels/dense.h"
#include "kernels/elementwise_body.h"
#include "kernels/math_body.h"

#define TILE ATTENTION_TILE
#define TILE_VECTORS (TILE / LANES)
#define CHUNK ATTENTION_CHUNK

/* One tile of queries (or their gradients): [d_head][B], and as rows [B][d_head]. It sees keys
 * 0..n_keys-1, of which the last B are its own. */
struct attention_queries {
    size_t n_keys;
    const float *tile, *rows;
};

static inline size_t chunk_keys(size_t first, size_t n_keys)
{
    return n_keys - first < CHUNK ? n_keys - first : CHUNK;
}

/* s[keys][queries] = rows[keys][d] tile[d][queries] */
static inline void chunk_scores(const struct dense_kernels *dense, float *s, const float *tile,
                                const float *rows, size_t keys, size_t d_head)
{
    dense->gemm(dense, s, TILE, tile, TILE, rows, d_head, TILE, keys, d_head, 0);
}

/* out[d][queries] (+)= packed[d][keys] p[keys][queries] */
static inline void chunk_mix(const struct dense_kernels *dense, float *out, const float *p,
                             const float *packed, size_t keys, size_t d_head, int accumulate)
{
    dense->gemm(dense, out, TILE, p, TILE, packed, CHUNK, TILE, d_head, keys, accumulate);
}

/* out[keys][d] += p[keys][queries] rows[queries][d] */
static inline void chunk_gather(const struct dense_kernels *dense, float *out, const float *p,
                                const float *rows, size_t keys, size_t d_head)
{
    dense->gemm(dense, out, d_head, rows, d_head, p, TILE, d_head, keys, TILE, 1);
}

/* n a multiple of LANES. Not memcpy: at these lengths gcc makes slow string instructions of it. */
static inline void copy_vectors(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        vec_store(to + i, vec_load(from + i));
}

/* packed: blocks of `block` tokens, each [d_head][block], from x: [d_head][stride] */
static inline void attention_pack(float *packed, const float *x, size_t stride, size_t d_head,
                                  size_t block)
{
    for (size_t t = 0; t < stride; t += block) {
        size_t n = stride - t < block ? stride - t : block;
        for (size_t d = 0; d < d_head; d++, packed += block)
            copy_vectors(packed, x + d * stride + t, n);
    }
}

/* Hides the future among a tile's own keys: those after the query. */
static inline void tile_mask(float *s)
{
    ivec query;
    for (int lane = 0; lane < LANES; lane++)
        query[lane] = lane;
    for (size_t i = 0; i < TILE_VECTORS; i++, query += LANES)
        for (size_t key = 0; key < TILE; key++) {
            float *at = s + key * TILE + i * LANES;
            ivec future = (ivec)(query < (int32_t)key);
            vec_store(at, vec_select(future, vec_splat(ATTENTION_MASKED), vec_load(at)));
        }
}

static inline void scores_max(vec *top, const float *s, size_t keys)
{
    for (size_t key = 0; key < keys; key++)
        for (size_t i = 0; i < TILE_VECTORS; i++)
            top[i] = vec_max(vec_load(s + key * TILE + i * LANES), top[i]);
}

/* p = 2^(scale2 (s - top)) in place, added up in sum. The difference comes first, so that the greatest
 * score gives exactly 1 and a query with one key gives exactly that key's value. */
static inline void scores_exp(float *s, vec *sum, size_t keys, float scale2, const vec *top)
{
    for (size_t i = 0; i < TILE_VECTORS; i++) { /* outside: constants leave registers for one column */
        vec greatest = top[i], part = {0};
        float *at = s + i * LANES;
        for (size_t key = 0; key < keys; key++, at += TILE) {
            vec p = vec_exp2((vec_load(at) - greatest) * scale2);
            vec_store(at, p);
            part += p;
        }
        sum[i] += part;
    }
}

/* All scores of one tile of queries (s: [n_keys][B]), before the scale, and for each query the greatest,
 * top. The sink counts as a score; sum starts with its exponential. */
static inline void attention_scores(float *s, vec *top, vec *sum, const struct attention_queries *q,
                                    const float *k_rows, const struct attention_shape *shape,
                                    const struct dense_kernels *dense)
{
    float sink = shape->has_sink ? shape->sink / shape->scale : ATTENTION_MASKED;
    for (size_t i = 0; i < TILE_VECTORS; i++)
        top[i] = vec_splat(sink);
    for (size_t key = 0; key < q->n_keys; key += CHUNK) {
        size_t n = chunk_keys(key, q->n_keys);
        chunk_scores(dense, s + key * TILE, q->tile, k_rows + key * shape->d_head, n, shape->d_head);
        if (key + n == q->n_keys)
            tile_mask(s + (q->n_keys - TILE) * TILE);
        scores_max(top, s + key * TILE, n);
    }
    for (size_t i = 0; i < TILE_VECTORS; i++)
        sum[i] = shape->has_sink ? vec_exp((sink - top[i]) * shape->scale) : (vec){0};
}

/* What the forward keeps in scratch. */
struct attention_forward {
    float *q_tiles;  /* [tiles][d_head][B] */
    float *k_rows;   /* [tokens][d_head] */
    float *v_chunks; /* [chunks][d_head][CHUNK] */
    float *mix;      /* [d_head][B] */
    float *s;        /* [tokens][B] */
};

/* One tile of queries: its scores, then chunk by chunk the exponentials and the mix of values. */
static inline void attention_tile(float *y, float *lse, const struct attention_forward *work,
                                  const struct attention_queries *q, const struct attention_shape *shape,
                                  const struct dense_kernels *dense)
{
    size_t d_head = shape->d_head;
    vec top[TILE_VECTORS], sum[TILE_VECTORS];
    attention_scores(work->s, top, sum, q, work->k_rows, shape, dense);
    for (size_t key = 0; key < q->n_keys; key += CHUNK) {
        size_t n = chunk_keys(key, q->n_keys);
        scores_exp(work->s + key * TILE, sum, n, shape->scale * LOG2_E, top);
        chunk_mix(dense, work->mix, work->s + key * TILE, work->v_chunks + key * d_head, n, d_head,
                  key > 0);
    }
    for (size_t i = 0; i < TILE_VECTORS; i++) {
        vec inverse = 1.0f / sum[i];
        for (size_t d = 0; d < d_head; d++)
            vec_store(y + d * shape->stride + i * LANES,
                      vec_load(work->mix + d * TILE + i * LANES) * inverse);
        for (size_t lane = 0; lane < LANES; lane++)
            lse[i * LANES + lane] = top[i][lane] * shape->scale + logf(sum[i][lane]);
    }
}

static inline int attention_has_few(const struct attention_shape *shape)
{
    return shape->n_tokens - shape->first_query <= FEW_QUERIES;
}

static void attention_tiles(float *y, float *lse, const float *q, const float *k, const float *v,
                            const struct attention_shape *shape, const struct dense_kernels *dense,
                            void *scratch)
{
    size_t d_head = shape->d_head, stride = shape->stride;
    struct attention_forward work = {.q_tiles = scratch};
    work.k_rows = work.q_tiles + stride * d_head;
    work.v_chunks = work.k_rows + stride * d_head;
    work.mix = work.v_chunks + attention_whole_chunks(stride) * d_head;
    work.s = work.mix + TILE * d_head;
    attention_pack(work.q_tiles, q, stride, d_head, TILE);
    attention_pack(work.v_chunks, v, stride, d_head, CHUNK);
    transpose(work.k_rows, d_head, k, stride, d_head, stride);
    for (size_t t = shape->first_query / TILE * TILE; t < stride; t += TILE) {
        struct attention_queries queries = {t + TILE, work.q_tiles + t * d_head, NULL};
        attention_tile(y + t, lse + t, &work, &queries, shape, dense);
    }
}

static void attention(float *y, float *lse, const float *q, const float *k, const float *v,
                      const struct attention_shape *shape, const struct dense_kernels *dense,
                      void *scratch)
{
    if (attention_has_few(shape))
        attention_few(y, lse, q, k, v, shape, scratch);
    else
        attention_tiles(y, lse, q, k, v, shape, dense, scratch);
    for (size_t t = shape->n_tokens; t < shape->stride; t++) {
        lse[t] = 0;
        for (size_t d = 0; d < shape->d_head; d++)
            y[d * shape->stride + t] = 0;
    }
}

/* What the backward keeps in scratch. Rows are [tokens][d_head], tiles and chunks as above. */
struct attention_work {
    float *q_tiles, *dy_tiles, *q_rows, *k_rows, *v_rows, *dy_rows, *dk_rows, *dv_rows;
    float *k_chunks;
    float *p;   /* [tokens][B] scores, then exponentials, then probabilities */
    float *ds;  /* [tokens][B] gradient of the probabilities, then of the scores */
    float *mix; /* [d_head][B] */
};

static inline struct attention_work attention_prepare(float *scratch, const float *dy, const float *q,
                                                      const float *k, const float *v,
                                                      const struct attention_shape *shape)
{
    size_t d_head = shape->d_head, stride = shape->stride, whole = stride * d_head;
    struct attention_work work;
    float **part[] = {&work.q_tiles, &work.dy_tiles, &work.q_rows,  &work.k_rows,
                      &work.v_rows,  &work.dy_rows,  &work.dk_rows, &work.dv_rows};
    size_t n_parts = sizeof part / sizeof *part;
    for (size_t i = 0; i < n_parts; i++)
        *part[i] = scratch + i * whole;
    work.k_chunks = scratch + n_parts * whole;
    work.p = work.k_chunks + attention_whole_chunks(stride) * d_head;
    work.ds = work.p + stride * TILE;
    work.mix = work.ds + stride * TILE;
    attention_pack(work.q_tiles, q, stride, d_head, TILE);
    attention_pack(work.dy_tiles, dy, stride, d_head, TILE);
    attention_pack(work.k_chunks, k, stride, d_head, CHUNK);
    transpose(work.q_rows, d_head, q, stride, d_head, stride);
    transpose(work.k_rows, d_head, k, stride, d_head, stride);
    transpose(work.v_rows, d_head, v, stride, d_head, stride);
    transpose(work.dy_rows, d_head, dy, stride, d_head, stride);
    memset(work.dk_rows, 0, whole * sizeof(float));
    memset(work.dv_rows, 0, whole * sizeof(float));
    return work;
}

/* delta += sum over keys of p dp */
static inline void scores_delta(vec *delta, const float *p, const float *dp, size_t keys)
{
    vec part[TILE_VECTORS] = {{0}};
    for (size_t key = 0; key < keys; key++)
        for (size_t i = 0; i < TILE_VECTORS; i++)
            part[i] += vec_load(p + key * TILE + i * LANES) * vec_load(dp + key * TILE + i * LANES);
    for (size_t i = 0; i < TILE_VECTORS; i++)
        delta[i] += part[i];
}

/* Exponentials to probabilities, and ds = p (dp - delta) scale in place of dp. */
static inline void scores_backward(float *p, float *ds, size_t keys, const vec *inverse,
                                   const vec *delta, float scale)
{
    for (size_t key = 0; key < keys; key++)
        for (size_t i = 0; i < TILE_VECTORS; i++) {
            size_t at = key * TILE + i * LANES;
            vec probability = vec_load(p + at) * inverse[i];
            vec_store(p + at, probability);
            vec_store(ds + at, probability * (vec_load(ds + at) - delta[i]) * scale);
        }
}

/* Of one tile of queries: exponentials in work->p and one over their sum; in work->ds the gradient of
 * the probabilities, and delta, its mean under them. delta is not taken as dy y, nor the shift from the
 * saved lse, because then rounding would leave gradients where there are none (a query with one key). */
static inline void
attention_probabilities(vec *inverse, vec *delta, vec *dsink, const struct attention_work *work,
                        const struct attention_queries *q, const struct attention_queries *dy,
                        const struct attention_shape *shape, const struct dense_kernels *dense)
{
    vec top[TILE_VECTORS], sum[TILE_VECTORS], sink[TILE_VECTORS];
    attention_scores(work->p, top, sum, q, work->k_rows, shape, dense);
    for (size_t i = 0; i < TILE_VECTORS; i++) {
        sink[i] = sum[i];
        delta[i] = (vec){0};
    }
    for (size_t key = 0; key < q->n_keys; key += CHUNK) {
        size_t n = chunk_keys(key, q->n_keys);
        float *p = work->p + key * TILE, *dp = work->ds + key * TILE;
        chunk_scores(dense, dp, dy->tile, work->v_rows + key * shape->d_head, n, shape->d_head);
        scores_exp(p, sum, n, shape->scale * LOG2_E, top);
        scores_delta(delta, p, dp, n);
    }
    for (size_t i = 0; i < TILE_VECTORS; i++) {
        inverse[i] = 1.0f / sum[i];
        delta[i] *= inverse[i];
        *dsink -= sink[i] * inverse[i] * delta[i];
    }
}

/* One tile of queries: dq of its queries, and its share of dk_rows and dv_rows. Adds to *dsink. */
static inline void attention_backward_tile(float *dq, vec *dsink, const struct attention_work *work,
                                           size_t first, const struct attention_shape *shape,
                                           const struct dense_kernels *dense)
{
    size_t d_head = shape->d_head, at = first * d_head;
    struct attention_queries q = {first + TILE, work->q_tiles + at, work->q_rows + at};
    struct attention_queries dy = {first + TILE, work->dy_tiles + at, work->dy_rows + at};
    vec inverse[TILE_VECTORS], delta[TILE_VECTORS];
    attention_probabilities(inverse, delta, dsink, work, &q, &dy, shape, dense);
    for (size_t key = 0; key < q.n_keys; key += CHUNK) {
        size_t n = chunk_keys(key, q.n_keys);
        float *p = work->p + key * TILE, *ds = work->ds + key * TILE;
        scores_backward(p, ds, n, inverse, delta, shape->scale);
        chunk_mix(dense, work->mix, ds, work->k_chunks + key * d_head, n, d_head, key > 0);
        chunk_gather(dense, work->dk_rows + key * d_head, ds, q.rows, n, d_head);
        chunk_gather(dense, work->dv_rows + key * d_head, p, dy.rows, n, d_head);
    }
    for (size_t d = 0; d < d_head; d++)
        copy_vectors(dq + d * shape->stride + first, work->mix + d * TILE, TILE);
}

static void attention_backward(float *dq, float *dk, float *dv, float *dsink, const float *dy,
                               const float *y, const float *q, const float *k, const float *v,
                               const float *lse, const struct attention_shape *shape,
                               const struct dense_kernels *dense, void *scratch)
{
    (void)y, (void)lse; /* recomputed, more exactly than they were saved */
    if (attention_has_few(shape)) {
        attention_few_backward(dq, dk, dv, dsink, dy, q, k, v, shape, scratch);
        return;
    }
    struct attention_work work = attention_prepare(scratch, dy, q, k, v, shape);
    vec sink_sum = {0};
    size_t first = shape->first_query / TILE * TILE;
    for (size_t d = 0; d < shape->d_head && first > 0; d++)
        memset(dq + d * shape->stride, 0, first * sizeof *dq);
    for (size_t t = first; t < shape->stride; t += TILE)
        attention_backward_tile(dq, &sink_sum, &work, t, shape, dense);
    transpose(dk, shape->stride, work.dk_rows, shape->d_head, shape->stride, shape->d_head);
    transpose(dv, shape->stride, work.dv_rows, shape->d_head, shape->stride, shape->d_head);
    *dsink = vec_sum(sink_sum);
}

#undef TILE
#undef TILE_VECTORS
#undef CHUNK

#endif
