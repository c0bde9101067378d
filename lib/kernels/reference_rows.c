#include <math.h>
#include <string.h>

#include "kernels/reference.h"

/* Picks the greatest k times over: no sorting, no thresholds. */
void reference_abs_topk(float *x, uint64_t *mask, size_t width, size_t k, void *scratch)
{
    (void)scratch;
    memset(mask, 0, width * sizeof *mask);
    for (size_t t = 0; t < PANEL; t++)
        for (size_t kept = 0; kept < k; kept++) {
            size_t best = width;
            uint32_t best_bits = 0;
            for (size_t c = 0; c < width; c++) {
                uint32_t bits;
                memcpy(&bits, x + c * PANEL + t, sizeof bits);
                bits &= 0x7FFFFFFFu;
                if (!(mask[c] >> t & 1) && (best == width || bits > best_bits)) {
                    best = c;
                    best_bits = bits;
                }
            }
            mask[best] |= (uint64_t)1 << t;
        }
    reference_apply_mask(x, mask, width);
}

void reference_apply_mask(float *dx, const uint64_t *mask, size_t width)
{
    for (size_t c = 0; c < width; c++)
        for (size_t t = 0; t < PANEL; t++)
            if (!(mask[c] >> t & 1))
                dx[c * PANEL + t] = 0;
}

void reference_rms_norm(float *y, float *inverse, const float *x, const float *weight, size_t width)
{
    for (size_t t = 0; t < PANEL; t++) {
        double sum = 0;
        for (size_t c = 0; c < width; c++)
            sum += (double)x[c * PANEL + t] * x[c * PANEL + t];
        double scale = 1 / sqrt(sum / (double)width + 0x1p-23);
        inverse[t] = (float)scale;
        for (size_t c = 0; c < width; c++)
            y[c * PANEL + t] = (float)(x[c * PANEL + t] * scale * weight[c]);
    }
}

void reference_rms_norm_backward(float *dx, float *dweight, const float *dy, const float *x,
                                 const float *inverse, const float *weight, size_t width)
{
    memset(dweight, 0, width * sizeof *dweight);
    for (size_t t = 0; t < PANEL; t++) {
        double scale = inverse[t], mean = 0;
        for (size_t c = 0; c < width; c++)
            mean += (double)dy[c * PANEL + t] * weight[c] * x[c * PANEL + t] * scale / (double)width;
        for (size_t c = 0; c < width; c++) {
            double n = x[c * PANEL + t] * scale, d = dy[c * PANEL + t];
            dx[c * PANEL + t] += (float)(scale * (d * weight[c] - n * mean));
            dweight[c] += (float)(d * n);
        }
    }
}

void reference_layer_norm(float *y, float *mean, float *inverse, const float *x, const float *weight,
                          const float *bias, size_t width)
{
    for (size_t t = 0; t < PANEL; t++) {
        double center = 0, variance = 0;
        for (size_t c = 0; c < width; c++)
            center += x[c * PANEL + t] / (double)width;
        for (size_t c = 0; c < width; c++) {
            double d = x[c * PANEL + t] - center;
            variance += d * d / (double)width;
        }
        double scale = 1 / sqrt(variance + 1e-5);
        mean[t] = (float)center;
        inverse[t] = (float)scale;
        for (size_t c = 0; c < width; c++)
            y[c * PANEL + t] =
                (float)((x[c * PANEL + t] - center) * scale * weight[c] + (bias ? bias[c] : 0));
    }
}

void reference_layer_norm_backward(float *dx, float *dweight, float *dbias, const float *dy,
                                   const float *x, const float *mean, const float *inverse,
                                   const float *weight, size_t width)
{
    memset(dweight, 0, width * sizeof *dweight);
    if (dbias)
        memset(dbias, 0, width * sizeof *dbias);
    for (size_t t = 0; t < PANEL; t++) {
        double center = mean[t], scale = inverse[t], mean_g = 0, mean_gn = 0;
        for (size_t c = 0; c < width; c++) {
            double g = (double)dy[c * PANEL + t] * weight[c] / (double)width;
            mean_g += g;
            mean_gn += g * (x[c * PANEL + t] - center) * scale;
        }
        for (size_t c = 0; c < width; c++) {
            double n = (x[c * PANEL + t] - center) * scale, d = dy[c * PANEL + t];
            dx[c * PANEL + t] += (float)(scale * (d * weight[c] - mean_g - n * mean_gn));
            dweight[c] += (float)(d * n);
            if (dbias)
                dbias[c] += (float)d;
        }
    }
}

void reference_gelu(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (float)(0.5 * x[i] * (1 + erf(x[i] * M_SQRT1_2)));
}

void reference_gelu_backward(float *dx, const float *dy, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double v = x[i], density = exp(-0.5 * v * v) / sqrt(2 * M_PI);
        dx[i] = (float)(dy[i] * (0.5 * (1 + erf(v * M_SQRT1_2)) + v * density));
    }
}

void reference_relu(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] <= 0 ? 0 : x[i];
}

void reference_relu_backward(float *dx, const float *dy, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dx[i] = x[i] > 0 ? dy[i] : 0;
}

void reference_add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

void reference_gate(float *x, void *kept, const float *mask, const float *mean, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = r * PANEL; i < (r + 1) * PANEL; i++) {
            if (kept)
                ((float *)kept)[i] = x[i];
            x[i] = mask[r] == 0 ? mean[r] : mask[r] * x[i] + (1 - mask[r]) * mean[r];
        }
}

void reference_gate_backward(float *sum, float *dx, const void *kept, const float *mask,
                             const float *mean, size_t rows, size_t n)
{
    const float *x = kept;
    for (size_t r = 0; r < rows; r++) {
        double total = 0;
        for (size_t t = 0; t < n; t++)
            total += (double)dx[r * PANEL + t] * ((double)x[r * PANEL + t] - (double)mean[r]);
        sum[r] += (float)total;
        for (size_t t = 0; t < PANEL; t++)
            dx[r * PANEL + t] = mask[r] == 0 ? 0 : mask[r] * dx[r * PANEL + t];
    }
}

void reference_cross_entropy(float *loss, float *lse, const float *logits, const int32_t *target,
                             size_t classes)
{
    for (size_t t = 0; t < PANEL; t++) {
        double top = logits[t], sum = 0;
        for (size_t c = 1; c < classes; c++)
            top = fmax(top, logits[c * PANEL + t]);
        for (size_t c = 0; c < classes; c++)
            sum += exp(logits[c * PANEL + t] - top);
        lse[t] = (float)(top + log(sum));
        loss[t] = target[t] < 0 ? 0 : (float)(top + log(sum) - logits[(size_t)target[t] * PANEL + t]);
    }
}

void reference_cross_entropy_backward(float *logits, const float *lse, const int32_t *target,
                                      size_t classes, float scale)
{
    for (size_t t = 0; t < PANEL; t++)
        for (size_t c = 0; c < classes; c++) {
            double p = exp((double)logits[c * PANEL + t] - lse[t]);
            double hit = target[t] == (int32_t)c;
            logits[c * PANEL + t] = target[t] < 0 ? 0 : (float)(scale * (p - hit));
        }
}

static double column_product(const float *x, size_t i, const float *y, size_t j,
                             const struct attention_shape *shape)
{
    double sum = 0;
    for (size_t d = 0; d < shape->d_head; d++)
        sum += (double)x[d * shape->stride + i] * y[d * shape->stride + j];
    return sum;
}

/* log of the softmax denominator of query i */
static double attention_denominator(const float *q, const float *k, size_t i,
                                    const struct attention_shape *shape)
{
    double top = shape->has_sink ? shape->sink : -INFINITY;
    for (size_t j = 0; j <= i; j++)
        top = fmax(top, shape->scale * column_product(q, i, k, j, shape));
    double sum = shape->has_sink ? exp(shape->sink - top) : 0;
    for (size_t j = 0; j <= i; j++)
        sum += exp(shape->scale * column_product(q, i, k, j, shape) - top);
    return top + log(sum);
}

void reference_attention(float *y, float *lse, const float *q, const float *k, const float *v,
                         const struct attention_shape *shape, void *scratch)
{
    (void)scratch;
    size_t stride = shape->stride;
    for (size_t i = 0; i < stride; i++) {
        double denominator = i < shape->n_tokens ? attention_denominator(q, k, i, shape) : 0;
        lse[i] = (float)denominator;
        for (size_t d = 0; d < shape->d_head; d++) {
            double sum = 0;
            for (size_t j = 0; j <= i && i < shape->n_tokens; j++)
                sum += exp(shape->scale * column_product(q, i, k, j, shape) - denominator) *
                       v[d * stride + j];
            y[d * stride + i] = (float)sum;
        }
    }
}

/* The share of one pair in the gradients: query i looks at key j with probability p. */
static void attention_pair_backward(float *dq, float *dk, float *dv, const float *dy, const float *q,
                                    const float *k, size_t i, size_t j, double p, double ds,
                                    const struct attention_shape *shape)
{
    for (size_t d = 0; d < shape->d_head; d++) {
        size_t at_i = d * shape->stride + i, at_j = d * shape->stride + j;
        dq[at_i] += (float)(ds * k[at_j]);
        dk[at_j] += (float)(ds * q[at_i]);
        dv[at_j] += (float)(p * dy[at_i]);
    }
}

void reference_attention_backward(float *dq, float *dk, float *dv, float *dsink, const float *dy,
                                  const float *y, const float *q, const float *k, const float *v,
                                  const float *lse, const struct attention_shape *shape, void *scratch)
{
    (void)scratch, (void)lse;
    size_t whole = shape->d_head * shape->stride;
    double sink = 0;
    memset(dq, 0, whole * sizeof *dq);
    memset(dk, 0, whole * sizeof *dk);
    memset(dv, 0, whole * sizeof *dv);
    for (size_t i = 0; i < shape->n_tokens; i++) {
        double denominator = attention_denominator(q, k, i, shape);
        double delta = column_product(dy, i, y, i, shape);
        for (size_t j = 0; j <= i; j++) {
            double p = exp(shape->scale * column_product(q, i, k, j, shape) - denominator);
            double ds = p * (column_product(dy, i, v, j, shape) - delta) * shape->scale;
            attention_pair_backward(dq, dk, dv, dy, q, k, i, j, p, ds, shape);
        }
        if (shape->has_sink)
            sink -= exp(shape->sink - denominator) * delta;
    }
    *dsink = (float)sink;
}

void reference_transpose(float *to, size_t to_stride, const float *from, size_t from_stride, size_t rows,
                         size_t cols)
{
    for (size_t t = 0; t < rows; t++)
        for (size_t c = 0; c < cols; c++)
            to[c * to_stride + t] = from[t * from_stride + c];
}

void reference_move_rows(float *to, size_t to_stride, const float *from, size_t from_stride, size_t rows,
                         size_t n, int accumulate)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++)
            to[r * to_stride + i] = (accumulate ? to[r * to_stride + i] : 0) + from[r * from_stride + i];
}

void reference_adamw(float *weight, float *m, float *v, const float *gradient, size_t n,
                     float gradient_scale, float learning_rate, float decay_factor, float beta1,
                     float beta2, float correction1, float correction2, float epsilon)
{
    for (size_t i = 0; i < n; i++) {
        double g = (double)gradient[i] * gradient_scale;
        double first = (double)beta1 * m[i] + (1 - (double)beta1) * g;
        double second = (double)beta2 * v[i] + (1 - (double)beta2) * g * g;
        double step = first * correction1 / (sqrt(second * correction2) + epsilon);
        m[i] = (float)first;
        v[i] = (float)second;
        weight[i] = (float)((double)weight[i] * decay_factor - learning_rate * step);
    }
}

double reference_sum_of_squares(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sum;
}
