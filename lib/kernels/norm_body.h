/* RMSNorm and LayerNorm over panels: statistics per token, so vectorised across a panel's tokens.
 * Long sums run in blocks of NORM_BLOCK channels to keep rounding errors small. */
#ifndef SN_KERNELS_NORM_BODY_H
#define SN_KERNELS_NORM_BODY_H

#include "kernels/math_body.h"

#define NORM_BLOCK 64
#define RMS_EPSILON 1.1920928955078125e-7f /* 2^-23 */
#define LAYER_EPSILON 1e-5f

static inline size_t norm_block_end(size_t c, size_t width)
{
    return width - c < NORM_BLOCK ? width : c + NORM_BLOCK;
}

static inline void rms_norm_strip(float *y, float *inverse, const float *x, const float *weight,
                                  size_t width)
{
    vec total[STRIP_VECTORS] = {{0}};
    for (size_t c = 0; c < width;) {
        vec part[STRIP_VECTORS] = {{0}};
        for (size_t end = norm_block_end(c, width); c < end; c++)
            for (size_t s = 0; s < STRIP_VECTORS; s++) {
                vec v = vec_load(x + c * PANEL + s * LANES);
                part[s] += v * v;
            }
        for (size_t s = 0; s < STRIP_VECTORS; s++)
            total[s] += part[s];
    }
    vec scale[STRIP_VECTORS];
    for (size_t s = 0; s < STRIP_VECTORS; s++) {
        scale[s] = 1.0f / vec_sqrt(total[s] / (float)width + RMS_EPSILON);
        vec_store(inverse + s * LANES, scale[s]);
    }
    for (size_t c = 0; c < width; c++) {
        vec w = vec_splat(weight[c]);
        for (size_t s = 0; s < STRIP_VECTORS; s++)
            vec_store(y + c * PANEL + s * LANES, vec_load(x + c * PANEL + s * LANES) * scale[s] * w);
    }
}

static void rms_norm(float *y, float *inverse, const float *x, const float *weight, size_t width)
{
    for (size_t t = 0; t < PANEL; t += STRIP_TOKENS)
        rms_norm_strip(y + t, inverse + t, x + t, weight, width);
}

/* With n = x * inverse and g = dy * weight: dx += inverse (g - n mean(g n)), dweight = sum_t dy n.
 * Products are formed with n, never with inverse^3, which leaves the range of floats. */
static inline void rms_norm_backward_strip(float *dx, float *dweight, const float *dy, const float *x,
                                           const float *inverse, const float *weight, size_t width,
                                           int first)
{
    vec scale[STRIP_VECTORS], mean[STRIP_VECTORS] = {{0}};
    for (size_t s = 0; s < STRIP_VECTORS; s++)
        scale[s] = vec_load(inverse + s * LANES);
    for (size_t c = 0; c < width;) {
        vec part[STRIP_VECTORS] = {{0}};
        for (size_t end = norm_block_end(c, width); c < end; c++) {
            vec w = vec_splat(weight[c]), row = {0};
            for (size_t s = 0; s < STRIP_VECTORS; s++) {
                size_t at = c * PANEL + s * LANES;
                vec product = vec_load(x + at) * scale[s] * vec_load(dy + at);
                part[s] += product * w;
                row += product;
            }
            dweight[c] = (first ? 0.0f : dweight[c]) + vec_sum(row);
        }
        for (size_t s = 0; s < STRIP_VECTORS; s++)
            mean[s] += part[s];
    }
    for (size_t s = 0; s < STRIP_VECTORS; s++)
        mean[s] /= (float)width;
    for (size_t c = 0; c < width; c++) {
        vec w = vec_splat(weight[c]);
        for (size_t s = 0; s < STRIP_VECTORS; s++) {
            size_t at = c * PANEL + s * LANES;
            vec gradient = vec_load(dy + at) * w - vec_load(x + at) * scale[s] * mean[s];
            vec_store(dx + at, vec_load(dx + at) + gradient * scale[s]);
        }
    }
}

static void rms_norm_backward(float *dx, float *dweight, const float *dy, const float *x,
                              const float *inverse, const float *weight, size_t width)
{
    for (size_t t = 0; t < PANEL; t += STRIP_TOKENS)
        rms_norm_backward_strip(dx + t, dweight, dy + t, x + t, inverse + t, weight, width, t == 0);
}

/* mean = sum / width, then corrected by the mean of what is left, so that a constant row has variance
 * 0 whatever its sum rounded to; variance = mean square of x - mean. */
static inline void layer_norm_statistics(vec *mean, vec *inverse, const float *x, size_t width)
{
    vec sum[STRIP_VECTORS] = {{0}}, rest[STRIP_VECTORS] = {{0}}, square[STRIP_VECTORS] = {{0}};
    for (size_t c = 0; c < width;) {
        vec part[STRIP_VECTORS] = {{0}};
        for (size_t end = norm_block_end(c, width); c < end; c++)
            for (size_t s = 0; s < STRIP_VECTORS; s++)
                part[s] += vec_load(x + c * PANEL + s * LANES);
        for (size_t s = 0; s < STRIP_VECTORS; s++)
            sum[s] += part[s];
    }
    for (size_t s = 0; s < STRIP_VECTORS; s++)
        mean[s] = sum[s] / (float)width;
    for (size_t c = 0; c < width;) {
        vec part[STRIP_VECTORS] = {{0}}, part_square[STRIP_VECTORS] = {{0}};
        for (size_t end = norm_block_end(c, width); c < end; c++)
            for (size_t s = 0; s < STRIP_VECTORS; s++) {
                vec d = vec_load(x + c * PANEL + s * LANES) - mean[s];
                part[s] += d;
                part_square[s] += d * d;
            }
        for (size_t s = 0; s < STRIP_VECTORS; s++) {
            rest[s] += part[s];
            square[s] += part_square[s];
        }
    }
    for (size_t s = 0; s < STRIP_VECTORS; s++) {
        vec shift = rest[s] / (float)width;
        vec variance = square[s] / (float)width - shift * shift;
        variance = (vec)((ivec)variance & ~(ivec)(variance < 0.0f));
        mean[s] += shift;
        inverse[s] = 1.0f / vec_sqrt(variance + LAYER_EPSILON);
    }
}

static inline void layer_norm_strip(float *y, float *mean, float *inverse, const float *x,
                                    const float *weight, const float *bias, size_t width)
{
    vec center[STRIP_VECTORS], scale[STRIP_VECTORS];
    layer_norm_statistics(center, scale, x, width);
    for (size_t s = 0; s < STRIP_VECTORS; s++) {
        vec_store(mean + s * LANES, center[s]);
        vec_store(inverse + s * LANES, scale[s]);
    }
    for (size_t c = 0; c < width; c++) {
        vec w = vec_splat(weight[c]), b = vec_splat(bias ? bias[c] : 0.0f);
        for (size_t s = 0; s < STRIP_VECTORS; s++) {
            vec v = (vec_load(x + c * PANEL + s * LANES) - center[s]) * scale[s];
            vec_store(y + c * PANEL + s * LANES, v * w + b);
        }
    }
}

static void layer_norm(float *y, float *mean, float *inverse, const float *x, const float *weight,
                       const float *bias, size_t width)
{
    for (size_t t = 0; t < PANEL; t += STRIP_TOKENS)
        layer_norm_strip(y + t, mean + t, inverse + t, x + t, weight, bias, width);
}

/* First pass of the backward: the sums over channels of g and g n, and over tokens of dy n and dy. */
static inline void layer_norm_sums(vec *mean_g, vec *mean_gn, float *dweight, float *dbias,
                                   const float *dy, const float *x, const vec *center, const vec *scale,
                                   const float *weight, size_t width, int first)
{
    for (size_t c = 0; c < width;) {
        vec part_g[STRIP_VECTORS] = {{0}}, part_gn[STRIP_VECTORS] = {{0}};
        for (size_t end = norm_block_end(c, width); c < end; c++) {
            vec w = vec_splat(weight[c]), row = {0}, row_n = {0};
            for (size_t s = 0; s < STRIP_VECTORS; s++) {
                size_t at = c * PANEL + s * LANES;
                vec d = vec_load(dy + at), n = (vec_load(x + at) - center[s]) * scale[s];
                part_g[s] += d * w;
                part_gn[s] += d * w * n;
                row += d;
                row_n += d * n;
            }
            dweight[c] = (first ? 0.0f : dweight[c]) + vec_sum(row_n);
            if (dbias)
                dbias[c] = (first ? 0.0f : dbias[c]) + vec_sum(row);
        }
        for (size_t s = 0; s < STRIP_VECTORS; s++) {
            mean_g[s] += part_g[s];
            mean_gn[s] += part_gn[s];
        }
    }
    for (size_t s = 0; s < STRIP_VECTORS; s++) {
        mean_g[s] /= (float)width;
        mean_gn[s] /= (float)width;
    }
}

/* With n = (x - mean) inverse and g = dy * weight: dx += inverse (g - mean(g) - n mean(g n)). */
static inline void layer_norm_backward_strip(float *dx, float *dweight, float *dbias, const float *dy,
                                             const float *x, const float *mean, const float *inverse,
                                             const float *weight, size_t width, int first)
{
    vec center[STRIP_VECTORS], scale[STRIP_VECTORS];
    vec mean_g[STRIP_VECTORS] = {{0}}, mean_gn[STRIP_VECTORS] = {{0}};
    for (size_t s = 0; s < STRIP_VECTORS; s++) {
        center[s] = vec_load(mean + s * LANES);
        scale[s] = vec_load(inverse + s * LANES);
    }
    layer_norm_sums(mean_g, mean_gn, dweight, dbias, dy, x, center, scale, weight, width, first);
    for (size_t c = 0; c < width; c++) {
        vec w = vec_splat(weight[c]);
        for (size_t s = 0; s < STRIP_VECTORS; s++) {
            size_t at = c * PANEL + s * LANES;
            vec n = (vec_load(x + at) - center[s]) * scale[s];
            vec gradient = vec_load(dy + at) * w - mean_g[s] - n * mean_gn[s];
            vec_store(dx + at, vec_load(dx + at) + gradient * scale[s]);
        }
    }
}

static void layer_norm_backward(float *dx, float *dweight, float *dbias, const float *dy, const float *x,
                                const float *mean, const float *inverse, const float *weight,
                                size_t width)
{
    for (size_t t = 0; t < PANEL; t += STRIP_TOKENS)
        layer_norm_backward_strip(dx + t, dweight, dbias, dy + t, x + t, mean + t, inverse + t, weight,
                                  width, t == 0);
}

#endif
