/* Attention of one head over one sequence, by squares of ATTENTION_TILE queries and keys; squares above
 * the diagonal are never touched. Forward: scores stand as [keys][queries], so that the softmax runs down
 * the keys and is vectorised across queries. Backward: as [queries][keys], so that what many queries give
 * to one tile of keys is summed up in registers. In both, a score is the same sum in the same order. */
#ifndef SN_KERNELS_ATTENTION_BODY_H
#define SN_KERNELS_ATTENTION_BODY_H

#include "kernels/attention_few_body.h"
#include "kernels/attention_tile_body.h"
#include "kernels/math_body.h"

/* Queries are packed with this factor, so that 2 to the power of a score is its exponential. */
static inline float query_factor(const struct attention_shape *shape)
{
    return shape->scale * LOG2_E;
}

static inline int attention_has_few(const struct attention_shape *shape)
{
    return shape->n_tokens - shape->first_query <= FEW_QUERIES;
}

/* What the forward keeps in scratch: tiles of keys and values, one of queries and one of their output, the
 * scores of one tile of queries. */
struct attention_forward {
    float *k, *v;   /* [tiles][channels][TILE] */
    float *q, *mix; /* [channels][TILE] */
    float *s;       /* [tokens][TILE] */
};

/* The square on the diagonal, [keys][queries]: hides the keys after a query. */
static inline void hide_later_keys(float *s)
{
    ivec query;
    for (int lane = 0; lane < LANES; lane++)
        query[lane] = lane;
    for (size_t i = 0; i < TILE; i += LANES, query += LANES)
        for (size_t key = 0; key < TILE; key++) {
            float *at = s + key * TILE + i;
            ivec later = (ivec)(query < (int32_t)key);
            vec_store(at, vec_select(later, vec_splat(ATTENTION_MASKED), vec_load(at)));
        }
}

/* p = 2^(s - top) in place, top being the greatest of each column and of `sink`. Gives the sum. */
static inline vec column_softmax(float *s, size_t n_keys, float sink, vec *top)
{
    vec greatest = vec_splat(sink), other = greatest;
    for (size_t key = 0; key < n_keys; key += 2) {
        greatest = vec_max(vec_load(s + key * TILE), greatest);
        other = vec_max(vec_load(s + (key + 1) * TILE), other);
    }
    greatest = vec_max(other, greatest);
    vec sum = vec_exp2(sink - greatest);
    for (size_t key = 0; key < n_keys; key++) {
        vec p = vec_exp2(vec_load(s + key * TILE) - greatest);
        vec_store(s + key * TILE, p);
        sum += p;
    }
    *top = greatest;
    return sum;
}

/* The tile of queries from t on. */
static inline void attention_tile(float *y, float *lse, const struct attention_forward *work,
                                  const float *q, size_t t, size_t blocks,
                                  const struct attention_shape *shape)
{
    size_t n_tiles = t / TILE + 1;
    float sink = shape->has_sink ? shape->sink * LOG2_E : ATTENTION_MASKED;
    tile_pack(work->q, q + t, shape, query_factor(shape));
    for (size_t i = 0; i < n_tiles; i++)
        tile_scores(work->s + i * SQUARE, work->k + i * blocks * SQUARE, work->q, blocks);
    hide_later_keys(work->s + t * TILE);
    vec sum[TILE_VECTORS];
    for (size_t i = 0; i < TILE_VECTORS; i++) {
        vec top;
        sum[i] = column_softmax(work->s + i * LANES, n_tiles * TILE, sink, &top);
        for (size_t lane = 0; lane < LANES; lane++)
            lse[t + i * LANES + lane] = top[lane] * LN_2 + logf(sum[i][lane]);
    }
    tile_mix(work->mix, work->v, work->s, n_tiles, blocks);
    for (size_t i = 0; i < TILE_VECTORS; i++) {
        vec inverse = 1.0f / sum[i];
        for (size_t d = 0; d < shape->d_head; d++)
            vec_store(y + d * shape->stride + t + i * LANES,
                      vec_load(work->mix + d * TILE + i * LANES) * inverse);
    }
}

static void attention_tiles(float *y, float *lse, const float *q, const float *k, const float *v,
                            const struct attention_shape *shape, float *scratch)
{
    size_t blocks = attention_blocks(shape->d_head), tile = blocks * SQUARE;
    struct attention_forward work = {.k = scratch};
    work.v = work.k + shape->stride / TILE * tile;
    work.q = work.v + shape->stride / TILE * tile;
    work.mix = work.q + tile;
    work.s = work.mix + tile;
    for (size_t t = 0; t < shape->stride; t += TILE) {
        tile_pack(work.k + t / TILE * tile, k + t, shape, 1);
        tile_pack(work.v + t / TILE * tile, v + t, shape, 1);
    }
    for (size_t t = shape->first_query / TILE * TILE; t < shape->stride; t += TILE)
        attention_tile(y, lse, &work, q, t, blocks, shape);
}

static void attention(float *y, float *lse, const float *q, const float *k, const float *v,
                      const struct attention_shape *shape, void *scratch)
{
    if (attention_has_few(shape))
        attention_few(y, lse, q, k, v, shape, scratch);
    else
        attention_tiles(y, lse, q, k, v, shape, scratch);
    for (size_t t = shape->n_tokens; t < shape->stride; t++) {
        lse[t] = 0;
        for (size_t d = 0; d < shape->d_head; d++)
            y[d * shape->stride + t] = 0;
    }
}

/* What the backward keeps in scratch: of all queries, and of one tile of keys. */
struct attention_work {
    float *q, *dy;          /* [tiles][channels][TILE] */
    float *dq;              /* [tiles][blocks][TILE queries][TILE channels] */
    float *lse, *delta;     /* [tokens], lse to the base 2 */
    float *k, *v, *dk, *dv; /* [channels][TILE] */
    float *k_rows;          /* [blocks][TILE keys][TILE channels], with the scale */
    float *p, *ds;          /* [TILE queries][TILE keys]: scores, then probabilities; gradients */
};

/* Queries that nobody looks at get probabilities of 0. */
static inline void attention_prepare(struct attention_work *work, const float *dy, const float *y,
                                     const float *q, const float *lse,
                                     const struct attention_shape *shape, size_t blocks)
{
    size_t tile = blocks * SQUARE;
    for (size_t t = shape->first_query / TILE * TILE; t < shape->stride; t += TILE) {
        tile_pack(work->q + t / TILE * tile, q + t, shape, query_factor(shape));
        tile_pack(work->dy + t / TILE * tile, dy + t, shape, 1);
        for (size_t i = t; i < t + TILE; i++)
            work->lse[i] =
                i >= shape->first_query && i < shape->n_tokens ? lse[i] * LOG2_E : -ATTENTION_MASKED;
        for (size_t i = t; i < t + TILE; i += LANES) {
            vec delta = {0};
            for (size_t d = 0; d < shape->d_head; d++)
                delta += vec_load(dy + d * shape->stride + i) * vec_load(y + d * shape->stride + i);
            vec_store(work->delta + i, delta);
        }
    }
}

/* One square, in place: scores to probabilities, their gradient to that of the scores. */
static inline void square_backward(float *p, float *ds, const float *lse, const float *delta,
                                   int diagonal)
{
    ivec key;
    for (int lane = 0; lane < LANES; lane++)
        key[lane] = lane;
    for (size_t i = 0; i < TILE; i += LANES, key += LANES)
        for (size_t query = 0; query < TILE; query++) {
            float *p_at = p + query * TILE + i, *ds_at = ds + query * TILE + i;
            vec probability = vec_exp2(vec_load(p_at) - lse[query]);
            if (diagonal)
                probability = vec_select((ivec)(key > (int32_t)query), vec_splat(0), probability);
            vec_store(p_at, probability);
            vec_store(ds_at, probability * (vec_load(ds_at) - delta[query]));
        }
}

/* What the tile of queries from t on gives to and takes from the tile of keys from `key` on. */
static inline void attention_square(const struct attention_work *work, size_t t, size_t key,
                                    size_t blocks)
{
    size_t at = t / TILE * blocks * SQUARE;
    tile_scores(work->p, work->q + at, work->k, blocks);
    tile_scores(work->ds, work->dy + at, work->v, blocks);
    if (t == key)
        square_backward(work->p, work->ds, work->lse + t, work->delta + t, 1);
    else
        square_backward(work->p, work->ds, work->lse + t, work->delta + t, 0);
    tile_add(work->dv, work->dy + at, SQUARE, work->p, 0, blocks);
    tile_add(work->dk, work->q + at, SQUARE, work->ds, 0, blocks);
    tile_add(work->dq + at, work->ds, 0, work->k_rows, SQUARE, blocks);
}

/* All that hangs on the tile of keys from `key` on. */
static inline void attention_backward_keys(float *dk, float *dv, const struct attention_work *work,
                                           const float *k, const float *v, size_t key, size_t blocks,
                                           const struct attention_shape *shape)
{
    size_t first = shape->first_query / TILE * TILE;
    tile_pack(work->dk, k + key, shape, shape->scale);
    for (size_t b = 0; b < blocks; b++)
        tile_transpose(work->k_rows + b * SQUARE, work->dk + b * SQUARE);
    tile_pack(work->k, k + key, shape, 1);
    tile_pack(work->v, v + key, shape, 1);
    memset(work->dk, 0, blocks * SQUARE * sizeof(float));
    memset(work->dv, 0, blocks * SQUARE * sizeof(float));
    for (size_t t = key > first ? key : first; t < shape->stride; t += TILE)
        attention_square(work, t, key, blocks);
    tile_unpack(dk + key, work->dk, shape, LN_2);
    tile_unpack(dv + key, work->dv, shape, 1);
}

/* The tile of queries from t on, as rows, to dq. */
static inline void attention_put_queries(float *dq, const float *rows, float *square, size_t t,
                                         size_t blocks, const struct attention_shape *shape)
{
    for (size_t b = 0; b < blocks; b++)
        tile_transpose(square + b * SQUARE, rows + b * SQUARE);
    tile_unpack(dq + t, square, shape, 1);
}

static inline float attention_sink(const struct attention_work *work,
                                   const struct attention_shape *shape)
{
    vec sum = {0};
    for (size_t t = shape->first_query / TILE * TILE; shape->has_sink && t < shape->stride; t += LANES)
        sum -= vec_exp2(shape->sink * LOG2_E - vec_load(work->lse + t)) * vec_load(work->delta + t);
    return vec_sum(sum);
}

static inline struct attention_work attention_work(float *scratch, size_t stride, size_t blocks)
{
    size_t tile = blocks * SQUARE, whole = stride / TILE * tile;
    struct attention_work work = {.q = scratch};
    work.dy = work.q + whole;
    work.dq = work.dy + whole;
    work.k = work.dq + whole;
    work.v = work.k + tile;
    work.dk = work.v + tile;
    work.dv = work.dk + tile;
    work.k_rows = work.dv + tile;
    work.p = work.k_rows + tile;
    work.ds = work.p + SQUARE;
    work.lse = work.ds + SQUARE;
    work.delta = work.lse + stride;
    return work;
}

static void attention_backward(float *dq, float *dk, float *dv, float *dsink, const float *dy,
                               const float *y, const float *q, const float *k, const float *v,
                               const float *lse, const struct attention_shape *shape, void *scratch)
{
    if (attention_has_few(shape)) {
        attention_few_backward(dq, dk, dv, dsink, dy, q, k, v, shape, scratch);
        return;
    }
    size_t blocks = attention_blocks(shape->d_head), stride = shape->stride;
    size_t first = shape->first_query / TILE * TILE, tile = blocks * SQUARE;
    struct attention_work work = attention_work(scratch, stride, blocks);
    attention_prepare(&work, dy, y, q, lse, shape, blocks);
    memset(work.dq, 0, stride / TILE * tile * sizeof(float));
    for (size_t key = 0; key < stride; key += TILE)
        attention_backward_keys(dk, dv, &work, k, v, key, blocks, shape);
    for (size_t d = 0; d < shape->d_head && first > 0; d++)
        memset(dq + d * stride, 0, first * sizeof *dq);
    for (size_t t = first; t < stride; t += TILE)
        attention_put_queries(dq, work.dq + t / TILE * tile, work.k, t, blocks, shape);
    *dsink = attention_sink(&work, shape);
}

#undef TILE
#undef TILE_VECTORS
#undef SQUARE
#undef PRODUCT_ROWS

#endif
