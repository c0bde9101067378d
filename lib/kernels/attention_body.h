/* Attention of one head over one sequence, in tiles of ATTENTION_TILE (B) queries x B keys; tiles above
 * the diagonal are never touched. Within a tile scores stand as [keys][queries], so that the softmax
 * runs down the keys and is vectorised across queries. All products use packed operands with leading
 * dimensions B and d_head, whatever the sequence: five shapes of `gemm` per d_head, all of them used
 * by any sequence of more than B tokens. */
#ifndef SN_KERNELS_ATTENTION_BODY_H
#define SN_KERNELS_ATTENTION_BODY_H

#include "kernels/dense.h"
#include "kernels/elementwise_body.h"
#include "kernels/math_body.h"

#define TILE ATTENTION_TILE
#define TILE_VECTORS (TILE / LANES)
#define ATTENTION_MASKED (-1e30f) /* a score that no finite score goes below; its exponential is 0 */

/* The five products. s[keys][queries] = rows[keys][d] by x[d][queries]. */
static inline void tile_scores(const struct dense_kernels *dense, float *s, const float *x,
                               const float *rows, size_t d_head)
{
    dense->gemm(dense, s, TILE, x, TILE, rows, d_head, TILE, TILE, d_head, 0);
}
/* y[d][queries] (+)= z[d][keys] p[keys][queries] */
static inline void tile_mix(const struct dense_kernels *dense, float *y, const float *p, const float *z,
                            size_t d_head, int accumulate)
{
    dense->gemm(dense, y, TILE, p, TILE, z, TILE, TILE, d_head, TILE, accumulate);
}
/* out[keys][d] (+)= p[keys][queries] rows[queries][d] */
static inline void tile_gather(const struct dense_kernels *dense, float *out, const float *p,
                               const float *rows, size_t d_head, int accumulate)
{
    dense->gemm(dense, out, d_head, rows, d_head, p, TILE, d_head, TILE, TILE, accumulate);
}

/* packed: [tiles][d_head][B] from x: [d_head][stride] */
static inline void tile_pack(float *packed, const float *x, size_t stride, size_t d_head)
{
    for (size_t t = 0; t < stride; t += TILE)
        for (size_t d = 0; d < d_head; d++, packed += TILE)
            memcpy(packed, x + d * stride + t, TILE * sizeof(float));
}

/* Hides the future inside the tile on the diagonal: keys after the query. */
static inline void tile_mask(float *s)
{
    for (size_t key = 1; key < TILE; key++)
        for (size_t query = 0; query < key; query++)
            s[key * TILE + query] = ATTENTION_MASKED;
}

static inline void tile_max(vec *top, const float *s)
{
    for (size_t key = 0; key < TILE; key++)
        for (size_t i = 0; i < TILE_VECTORS; i++)
            top[i] = vec_max(vec_load(s + key * TILE + i * LANES), top[i]);
}

/* p = exp(scale (s - top)) in place, added up in sum. The difference comes first, so that the greatest
 * score gives exactly 1 and a query with one key gives exactly that key's value. */
static inline void tile_exp(float *s, vec *sum, float scale, const vec *top)
{
    vec part[TILE_VECTORS] = {{0}};
    for (size_t key = 0; key < TILE; key++)
        for (size_t i = 0; i < TILE_VECTORS; i++) {
            vec p = vec_exp((vec_load(s + key * TILE + i * LANES) - top[i]) * scale);
            vec_store(s + key * TILE + i * LANES, p);
            part[i] += p;
        }
    for (size_t i = 0; i < TILE_VECTORS; i++)
        sum[i] += part[i];
}

/* All scores of one tile of queries (s: [query_tile + 1][B][B]), before the scale, and for each query
 * the greatest, top. The sink counts as a score; sum starts with its exponential. */
static inline void attention_scores(float *s, vec *top, vec *sum, const float *q_tile,
                                    const float *k_rows, size_t query_tile,
                                    const struct attention_shape *shape,
                                    const struct dense_kernels *dense)
{
    float sink = shape->has_sink ? shape->sink / shape->scale : ATTENTION_MASKED;
    for (size_t i = 0; i < TILE_VECTORS; i++)
        top[i] = vec_splat(sink);
    for (size_t tile = 0; tile <= query_tile; tile++, s += TILE * TILE) {
        tile_scores(dense, s, q_tile, k_rows + tile * TILE * shape->d_head, shape->d_head);
        if (tile == query_tile)
            tile_mask(s);
        tile_max(top, s);
    }
    for (size_t i = 0; i < TILE_VECTORS; i++)
        sum[i] = shape->has_sink ? vec_exp((sink - top[i]) * shape->scale) : (vec){0};
}

/* One tile of queries: its scores, then key tile by key tile the exponentials and the mix of values. */
static inline void attention_tile(float *y, float *lse, float *s, float *mix, const float *q_tile,
                                  const float *k_rows, const float *v_tiles, size_t query_tile,
                                  const struct attention_shape *shape, const struct dense_kernels *dense)
{
    size_t d_head = shape->d_head;
    vec top[TILE_VECTORS], sum[TILE_VECTORS];
    attention_scores(s, top, sum, q_tile, k_rows, query_tile, shape, dense);
    for (size_t tile = 0; tile <= query_tile; tile++) {
        float *scores = s + tile * TILE * TILE;
        tile_exp(scores, sum, shape->scale, top);
        tile_mix(dense, mix, scores, v_tiles + tile * TILE * d_head, d_head, tile > 0);
    }
    for (size_t i = 0; i < TILE_VECTORS; i++) {
        vec inverse = 1.0f / sum[i];
        for (size_t d = 0; d < d_head; d++)
            vec_store(y + d * shape->stride + i * LANES, vec_load(mix + d * TILE + i * LANES) * inverse);
        for (size_t lane = 0; lane < LANES; lane++)
            lse[i * LANES + lane] = top[i][lane] * shape->scale + logf(sum[i][lane]);
    }
}

static void attention(float *y, float *lse, const float *q, const float *k, const float *v,
                      const struct attention_shape *shape, const struct dense_kernels *dense,
                      void *scratch)
{
    size_t d_head = shape->d_head, stride = shape->stride, whole = stride * d_head;
    float *q_tiles = scratch, *k_rows = q_tiles + whole, *v_tiles = k_rows + whole;
    float *mix = v_tiles + whole, *s = mix + TILE * d_head;
    tile_pack(q_tiles, q, stride, d_head);
    tile_pack(v_tiles, v, stride, d_head);
    transpose(k_rows, d_head, k, stride, d_head, stride);
    for (size_t t = 0; t < stride; t += TILE)
        attention_tile(y + t, lse + t, s, mix, q_tiles + t * d_head, k_rows, v_tiles, t / TILE, shape,
                       dense);
    for (size_t t = shape->n_tokens; t < stride; t++) {
        lse[t] = 0;
        for (size_t d = 0; d < d_head; d++)
            y[d * stride + t] = 0;
    }
}

/* What the backward keeps in scratch. Rows are [tokens][d_head], tiles [tiles][d_head][B]. */
struct attention_work {
    float *q_tiles, *dy_tiles, *k_tiles, *q_rows, *k_rows, *v_rows, *dy_rows, *dk_rows, *dv_rows;
    float *p;   /* [tiles][B][B] scores, then exponentials, then probabilities */
    float *ds;  /* [tiles][B][B] gradient of the probabilities, then of the scores */
    float *mix; /* [d_head][B] */
};

static inline struct attention_work attention_prepare(float *scratch, const float *dy, const float *q,
                                                      const float *k, const float *v,
                                                      const struct attention_shape *shape)
{
    size_t d_head = shape->d_head, stride = shape->stride, whole = stride * d_head;
    struct attention_work work;
    float **part[] = {&work.q_tiles, &work.dy_tiles, &work.k_tiles, &work.q_rows, &work.k_rows,
                      &work.v_rows,  &work.dy_rows,  &work.dk_rows, &work.dv_rows};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        *part[i] = scratch + i * whole;
    work.p = scratch + sizeof part / sizeof *part * whole;
    work.ds = work.p + stride * TILE;
    work.mix = work.ds + stride * TILE;
    tile_pack(work.q_tiles, q, stride, d_head);
    tile_pack(work.dy_tiles, dy, stride, d_head);
    tile_pack(work.k_tiles, k, stride, d_head);
    transpose(work.q_rows, d_head, q, stride, d_head, stride);
    transpose(work.k_rows, d_head, k, stride, d_head, stride);
    transpose(work.v_rows, d_head, v, stride, d_head, stride);
    transpose(work.dy_rows, d_head, dy, stride, d_head, stride);
    return work;
}

/* delta += sum over keys of p dp */
static inline void tile_delta(vec *delta, const float *p, const float *dp)
{
    vec part[TILE_VECTORS] = {{0}};
    for (size_t key = 0; key < TILE; key++)
        for (size_t i = 0; i < TILE_VECTORS; i++)
            part[i] += vec_load(p + key * TILE + i * LANES) * vec_load(dp + key * TILE + i * LANES);
    for (size_t i = 0; i < TILE_VECTORS; i++)
        delta[i] += part[i];
}

/* Exponentials to probabilities, and ds = p (dp - delta) scale in place of dp. */
static inline void tile_softmax_backward(float *p, float *ds, const vec *inverse, const vec *delta,
                                         float scale)
{
    for (size_t key = 0; key < TILE; key++)
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
static inline void attention_probabilities(vec *inverse, vec *delta, vec *dsink,
                                           const struct attention_work *work, size_t query_tile,
                                           const struct attention_shape *shape,
                                           const struct dense_kernels *dense)
{
    size_t d_head = shape->d_head, queries = query_tile * TILE;
    vec top[TILE_VECTORS], sum[TILE_VECTORS], sink[TILE_VECTORS];
    attention_scores(work->p, top, sum, work->q_tiles + queries * d_head, work->k_rows, query_tile, shape,
                     dense);
    for (size_t i = 0; i < TILE_VECTORS; i++) {
        sink[i] = sum[i];
        delta[i] = (vec){0};
    }
    for (size_t tile = 0; tile <= query_tile; tile++) {
        float *p = work->p + tile * TILE * TILE, *dp = work->ds + tile * TILE * TILE;
        tile_scores(dense, dp, work->dy_tiles + queries * d_head, work->v_rows + tile * TILE * d_head,
                    d_head);
        tile_exp(p, sum, shape->scale, top);
        tile_delta(delta, p, dp);
    }
    for (size_t i = 0; i < TILE_VECTORS; i++) {
        inverse[i] = 1.0f / sum[i];
        delta[i] *= inverse[i];
        *dsink -= sink[i] * inverse[i] * delta[i];
    }
}

/* One tile of queries: dq of its queries, and its share of dk_rows and dv_rows, which every key tile
 * receives first from the query tile on the diagonal. Adds to *dsink. */
static inline void attention_backward_tile(float *dq, vec *dsink, const struct attention_work *work,
                                           size_t query_tile, const struct attention_shape *shape,
                                           const struct dense_kernels *dense)
{
    size_t d_head = shape->d_head, queries = query_tile * TILE;
    const float *q_rows = work->q_rows + queries * d_head, *dy_rows = work->dy_rows + queries * d_head;
    vec inverse[TILE_VECTORS], delta[TILE_VECTORS];
    attention_probabilities(inverse, delta, dsink, work, query_tile, shape, dense);
    for (size_t tile = 0; tile <= query_tile; tile++) {
        size_t at = tile * TILE * d_head;
        float *p = work->p + tile * TILE * TILE, *ds = work->ds + tile * TILE * TILE;
        tile_softmax_backward(p, ds, inverse, delta, shape->scale);
        tile_mix(dense, work->mix, ds, work->k_tiles + at, d_head, tile > 0);
        tile_gather(dense, work->dk_rows + at, ds, q_rows, d_head, tile < query_tile);
        tile_gather(dense, work->dv_rows + at, p, dy_rows, d_head, tile < query_tile);
    }
    for (size_t d = 0; d < d_head; d++)
        memcpy(dq + d * shape->stride + queries, work->mix + d * TILE, TILE * sizeof(float));
}

static void attention_backward(float *dq, float *dk, float *dv, float *dsink, const float *dy,
                               const float *y, const float *q, const float *k, const float *v,
                               const float *lse, const struct attention_shape *shape,
                               const struct dense_kernels *dense, void *scratch)
{
    (void)y, (void)lse; /* recomputed, more exactly than they were saved */
    struct attention_work work = attention_prepare(scratch, dy, q, k, v, shape);
    vec sink_sum = {0};
    for (size_t tile = 0; tile < shape->stride / TILE; tile++)
        attention_backward_tile(dq, &sink_sum, &work, tile, shape, dense);
    transpose(dk, shape->stride, work.dk_rows, shape->d_head, shape->stride, shape->d_head);
    transpose(dv, shape->stride, work.dv_rows, shape->d_head, shape->stride, shape->d_head);
    *dsink = vec_sum(sink_sum);
}

#undef TILE
#undef TILE_VECTORS

#endif
