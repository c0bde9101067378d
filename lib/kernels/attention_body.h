/* Attention of one head over one sequence, by squares of ATTENTION_TILE queries and keys; squares
 * above the diagonal are never touched. Forward: scores stand as [keys][queries], so that the softmax
 * runs down the keys and is vectorised across queries. Backward: as [queries][keys], so that what
 * many queries give to one tile of keys is summed up in registers. In both, a score is the same sum
 * in the same order. */
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

/* What the forward keeps in scratch: tiles of values, one of queries and one of their output, the scores
 * of one tile of queries. */
struct attention_forward {
    float *v;       /* [tiles][channels][TILE] */
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
                                  const float *q, const float *k, size_t t,
                                  const struct attention_shape *shape)
{
    size_t n_tiles = t / TILE + 1, stride = shape->stride, d_head = shape->d_head;
    float sink = shape->has_sink ? shape->sink * LOG2_E : ATTENTION_MASKED, inverse[TILE];
    tile_pack(work->q, q + t, stride, d_head, query_factor(shape));
    for (size_t key = 0; key <= t; key += TILE)
        tile_scores(work->s + key * TILE, k + key, stride, work->q, d_head);
    hide_later_keys(work->s + t * TILE);
    for (size_t i = 0; i < TILE; i += LANES) {
        vec top, sum = column_softmax(work->s + i, n_tiles * TILE, sink, &top);
        vec_store(lse + t + i, top * LN_2 + vec_log(sum));
        vec_store(inverse + i, 1.0f / sum);
    }
    tile_mix(work->mix, work->v, work->s, n_tiles, attention_blocks(d_head));
    tile_unpack(y + t, stride, work->mix, d_head, inverse);
}

static void attention_tiles(float *y, float *lse, const float *q, const float *k, const float *v,
                            const struct attention_shape *shape, float *scratch)
{
    size_t tile = attention_blocks(shape->d_head) * SQUARE;
    struct attention_forward work = {.v = scratch};
    work.q = work.v + shape->stride / TILE * tile;
    work.mix = work.q + tile;
    work.s = work.mix + tile;
    for (size_t t = 0; t < shape->stride; t += TILE)
        tile_pack(work.v + t / TILE * tile, v + t, shape->stride, shape->d_head, 1);
    for (size_t t = shape->first_query / TILE * TILE; t < shape->stride; t += TILE)
        attention_tile(y, lse, &work, q, k, t, shape);
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
    float *k_rows;          /* [blocks][TILE keys][TILE channels] */
    float *p, *ds;          /* [TILE queries][TILE keys]: scores, then probabilities; gradients */
};

/* The tile of queries from t on. Queries that nobody looks at get probabilities of 0. */
static inline void attention_prepare(const struct attention_work *work, const float *dy, const float *y,
                                     const float *q, const float *lse, size_t t,
                                     const struct attention_shape *shape)
{
    size_t stride = shape->stride, d_head = shape->d_head, at = t * attention_blocks(d_head) * TILE;
    tile_pack(work->q + at, q + t, stride, d_head, query_factor(shape));
    tile_pack(work->dy + at, dy + t, stride, d_head, 1);
    for (size_t i = t; i < t + TILE; i += LANES) {
        vec delta = {0};
        for (size_t d = 0; d < d_head; d++)
            delta += vec_load(dy + d * stride + i) * vec_load(y + d * stride + i);
        vec_store(work->delta + i, delta);
        vec_store(work->lse + i, vec_load(lse + i) * LOG2_E);
    }
    for (size_t i = t; i < shape->first_query; i++)
        work->lse[i] = -ATTENTION_MASKED;
    for (size_t i = shape->n_tokens; i < t + TILE; i++)
        work->lse[i] = -ATTENTION_MASKED;
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
            vec exponent = vec_load(p_at) - lse[query];
            if (diagonal) /* what lies ahead knows no bounds; 2^-127 is exactly 0 here */
                exponent = vec_select((ivec)(key > (int32_t)query), vec_splat(-127), exponent);
            vec probability = vec_exp2(exponent);
            vec_store(p_at, probability);
            vec_store(ds_at, probability * (vec_load(ds_at) - delta[query]));
        }
}

/* What the tile of queries from t on gives to and takes from the tile of keys from `key` on. The first
 * queries do not add to dk and dv but begin them, the first keys dq. */
static inline void attention_square(const struct attention_work *work, size_t t, size_t key,
                                    int first_queries, const struct attention_shape *shape)
{
    size_t d_head = shape->d_head, blocks = attention_blocks(d_head), at = t * blocks * TILE;
    tile_scores(work->p, work->q + at, TILE, work->k, d_head);
    tile_scores(work->ds, work->dy + at, TILE, work->v, d_head);
    if (t == key)
        square_backward(work->p, work->ds, work->lse + t, work->delta + t, 1);
    else
        square_backward(work->p, work->ds, work->lse + t, work->delta + t, 0);
    tile_add(work->dv, work->dy + at, SQUARE, work->p, 0, blocks, !first_queries);
    tile_add(work->dk, work->q + at, SQUARE, work->ds, 0, blocks, !first_queries);
    tile_add(work->dq + at, work->ds, 0, work->k_rows, SQUARE, blocks, key > 0);
}

/* All that hangs on the tile of keys from `key` on. */
static inline void attention_backward_keys(float *dk, float *dv, const struct attention_work *work,
                                           const float *k, const float *v, size_t key,
                                           const struct attention_shape *shape)
{
    size_t stride = shape->stride, d_head = shape->d_head, first = shape->first_query / TILE * TILE;
    float factor[TILE];
    tile_pack(work->k, k + key, stride, d_head, 1);
    tile_pack(work->v, v + key, stride, d_head, 1);
    tile_transpose(work->k_rows, work->k, attention_blocks(d_head));
    first = key > first ? key : first;
    for (size_t t = first; t < stride; t += TILE)
        attention_square(work, t, key, t == first, shape);
    tile_fill(factor, LN_2); /* so that of the queries' factor the scale is left */
    tile_unpack(dk + key, stride, work->dk, d_head, factor);
    tile_fill(factor, 1);
    tile_unpack(dv + key, stride, work->dv, d_head, factor);
}

/* dq of the tile of queries from t on. */
static inline void attention_put_queries(float *dq, const struct attention_work *work, size_t t,
                                         const struct attention_shape *shape)
{
    size_t blocks = attention_blocks(shape->d_head);
    float factor[TILE];
    tile_transpose(work->k, work->dq + t * blocks * TILE, blocks);
    tile_fill(factor, shape->scale);
    tile_unpack(dq + t, shape->stride, work->k, shape->d_head, factor);
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
    size_t stride = shape->stride, first = shape->first_query / TILE * TILE;
    struct attention_work work = attention_work(scratch, stride, attention_blocks(shape->d_head));
    for (size_t t = first; t < stride; t += TILE)
        attention_prepare(&work, dy, y, q, lse, t, shape);
    for (size_t key = 0; key < stride; key += TILE)
        attention_backward_keys(dk, dv, &work, k, v, key, shape);
    for (size_t d = 0; d < shape->d_head && first > 0; d++)
        memset(dq + d * stride, 0, first * sizeof *dq);
    for (size_t t = first; t < stride; t += TILE)
        attention_put_queries(dq, &work, t, shape);
    *dsink = attention_sink(&work, shape);
}

#undef TILE
#undef TILE_VECTORS
#undef SQUARE
#undef PRODUCT_ROWS

#endif
