/* Cross-entropy over a panel of logits: vectorised across tokens, two passes over the classes. */
#ifndef SN_KERNELS_LOSS_BODY_H
#define SN_KERNELS_LOSS_BODY_H

#include "kernels/math_body.h"

/* log of a sum of exponentials without overflow: the largest logit is taken out first. */
static inline void cross_entropy_strip(float *greatest, float *sum, const float *logits, size_t classes)
{
    vec top[STRIP_VECTORS], total[STRIP_VECTORS] = {{0}};
    for (size_t s = 0; s < STRIP_VECTORS; s++)
        top[s] = vec_load(logits + s * LANES);
    for (size_t c = 1; c < classes; c++)
        for (size_t s = 0; s < STRIP_VECTORS; s++)
            top[s] = vec_max(vec_load(logits + c * PANEL + s * LANES), top[s]);
    for (size_t c = 0; c < classes;) {
        size_t end = classes - c < 64 ? classes : c + 64;
        vec part[STRIP_VECTORS] = {{0}};
        for (; c < end; c++)
            for (size_t s = 0; s < STRIP_VECTORS; s++)
                part[s] += vec_exp(vec_load(logits + c * PANEL + s * LANES) - top[s]);
        for (size_t s = 0; s < STRIP_VECTORS; s++)
            total[s] += part[s];
    }
    for (size_t s = 0; s < STRIP_VECTORS; s++) {
        vec_store(greatest + s * LANES, top[s]);
        vec_store(sum + s * LANES, total[s]);
    }
}

static void cross_entropy(float *loss, float *lse, const float *logits, const int32_t *target,
                          size_t classes)
{
    float greatest[PANEL], sum[PANEL];
    for (size_t t = 0; t < PANEL; t += STRIP_TOKENS)
        cross_entropy_strip(greatest + t, sum + t, logits + t, classes);
    for (size_t t = 0; t < PANEL; t++) {
        float log_sum = logf(sum[t]);
        lse[t] = greatest[t] + log_sum;
        loss[t] = 0;
        if (target[t] >= 0)
            loss[t] = log_sum + (greatest[t] - logits[(size_t)target[t] * PANEL + t]);
    }
}

static void cross_entropy_backward(float *logits, const float *lse, const int32_t *target,
                                   size_t classes, float scale)
{
    ivec used[PANEL_VECTORS];
    for (size_t s = 0; s < PANEL_VECTORS; s++) {
        ivec index;
        memcpy(&index, target + s * LANES, sizeof index);
        used[s] = ~(index >> 31);
    }
    for (size_t c = 0; c < classes; c++)
        for (size_t s = 0; s < PANEL_VECTORS; s++) {
            float *at = logits + c * PANEL + s * LANES;
            vec probability = vec_exp(vec_load(at) - vec_load(lse + s * LANES));
            vec_store(at, (vec)((ivec)(scale * probability) & used[s]));
        }
    for (size_t t = 0; t < PANEL; t++)
        if (target[t] >= 0)
            logits[(size_t)target[t] * PANEL + t] -= scale;
}

#endif
