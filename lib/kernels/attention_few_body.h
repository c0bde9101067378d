/* Attention of a few queries, as the end of a prompt has them: one after the other over keys and
 * values as they stand, [d_head][stride]. Tiles of queries would have to be packed and mostly be
 * empty. */
#ifndef SN_KERNELS_ATTENTION_FEW_BODY_H
#define SN_KERNELS_ATTENTION_FEW_BODY_H

#include "kernels/elementwise_body.h"
#include "kernels/math_body.h"

#define FEW_QUERIES 5             /* up to here they win */
#define ATTENTION_MASKED (-1e30f) /* a score that no finite score goes below; its exponential is 0 */

/* Whole vectors that hold the keys 0..query; the stride leaves room. */
static inline size_t few_keys(size_t query)
{
    return (query / LANES + 1) * LANES;
}

/* out[key] = sum over d of x[d stride] rows[d stride + key] */
static inline void few_scores(float *out, const float *x, const float *rows, size_t n_keys,
                              const struct attention_shape *shape)
{
    for (size_t key = 0; key < n_keys; key += LANES) {
        vec sum = {0};
        for (size_t d = 0; d < shape->d_head; d++)
            sum += x[d * shape->stride] * vec_load(rows + d * shape->stride + key);
        vec_store(out + key, sum);
    }
}

/* sum over keys of weight[key] row[key] */
static inline float few_mix(const float *weight, const float *row, size_t n_keys)
{
    vec sum = {0};
    for (size_t key = 0; key < n_keys; key += LANES)
        sum += vec_load(weight + key) * vec_load(row + key);
    return vec_sum(sum);
}

struct few_softmax {
    float top, sum, sink; /* before the scale; of the exponentials, the sink's included; the sink's */
};

/* Scores to exponentials in place, 0 behind the query. */
static inline struct few_softmax few_exponentials(float *s, size_t query,
                                                  const struct attention_shape *shape)
{
    size_t n = few_keys(query), behind = query % LANES;
    float sink = shape->has_sink ? shape->sink / shape->scale : ATTENTION_MASKED;
    struct few_softmax result = {.top = sink};
    vec top = vec_splat(sink), sum = {0};
    for (size_t key = n - LANES + behind + 1; key < n; key++)
        s[key] = ATTENTION_MASKED;
    for (size_t key = 0; key < n; key += LANES)
        top = vec_max(vec_load(s + key), top);
    for (size_t lane = 0; lane < LANES; lane++)
        result.top = top[lane] > result.top ? top[lane] : result.top;
    for (size_t key = 0; key < n; key += LANES) {
        vec p = vec_exp2((vec_load(s + key) - result.top) * (shape->scale * LOG2_E));
        vec_store(s + key, p);
        sum += p;
    }
    if (shape->has_sink)
        result.sink = vec_exp(vec_splat((sink - result.top) * shape->scale))[0];
    result.sum = vec_sum(sum) + result.sink;
    return result;
}

static inline void attention_few(float *y, float *lse, const float *q, const float *k, const float *v,
                                 const struct attention_shape *shape, float *p)
{
    for (size_t query = shape->first_query; query < shape->n_tokens; query++) {
        size_t n = few_keys(query);
        few_scores(p, q + query, k, n, shape);
        struct few_softmax softmax = few_exponentials(p, query, shape);
        float inverse = 1.0f / softmax.sum;
        for (size_t d = 0; d < shape->d_head; d++)
            y[d * shape->stride + query] = few_mix(p, v + d * shape->stride, n) * inverse;
        lse[query] = softmax.top * shape->scale + logf(softmax.sum);
    }
}

/* Of one query, from its exponentials p and dp, the gradient of its probabilities: probabilities in p
 * and the gradient of the scores in dp. Gives that of the sink. */
static inline float few_score_gradients(float *p, float *dp, size_t n_keys,
                                        const struct few_softmax *softmax, float scale)
{
    float inverse = 1.0f / softmax->sum, delta = few_mix(p, dp, n_keys) * inverse;
    for (size_t key = 0; key < n_keys; key += LANES) {
        vec probability = vec_load(p + key) * inverse;
        vec_store(p + key, probability);
        vec_store(dp + key, probability * (vec_load(dp + key) - delta) * scale);
    }
    return -softmax->sink * inverse * delta;
}

/* scratch: 2 stride */
static inline void attention_few_backward(float *dq, float *dk, float *dv, float *dsink, const float *dy,
                                          const float *q, const float *k, const float *v,
                                          const struct attention_shape *shape, float *scratch)
{
    size_t stride = shape->stride, bytes = shape->d_head * stride * sizeof(float);
    float *p = scratch, *ds = scratch + stride;
    memset(dq, 0, bytes);
    memset(dk, 0, bytes);
    memset(dv, 0, bytes);
    *dsink = 0;
    for (size_t query = shape->first_query; query < shape->n_tokens; query++) {
        size_t n = few_keys(query);
        few_scores(p, q + query, k, n, shape);
        struct few_softmax softmax = few_exponentials(p, query, shape);
        few_scores(ds, dy + query, v, n, shape);
        *dsink += few_score_gradients(p, ds, n, &softmax, shape->scale);
        for (size_t d = 0; d < shape->d_head; d++) {
            const float *key_row = k + d * stride;
            float q_d = q[d * stride + query], dy_d = dy[d * stride + query];
            dq[d * stride + query] = few_mix(ds, key_row, n);
            for (size_t key = 0; key < n; key += LANES) {
                float *dk_at = dk + d * stride + key, *dv_at = dv + d * stride + key;
                vec_store(dk_at, vec_load(dk_at) + vec_load(ds + key) * q_d);
                vec_store(dv_at, vec_load(dv_at) + vec_load(p + key) * dy_d);
            }
        }
    }
}

#endif
