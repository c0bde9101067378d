/* Kernels over plain arrays: activations, sums, transposition, AdamW. */
#ifndef SN_KERNELS_ELEMENTWISE_BODY_H
#define SN_KERNELS_ELEMENTWISE_BODY_H

#include "kernels/math_body.h"

#define GELU_ROOT 0.70710678118654752f    /* 1 / sqrt 2 */
#define GELU_DENSITY 0.39894228040143268f /* 1 / sqrt(2 pi) */

static void gelu(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        vec v = vec_load(x + i), half = 0.5f * v;
        vec_store(y + i, half + half * vec_erf(v * GELU_ROOT));
    }
}

/* d/dx = Phi(x) + x phi(x) */
static void gelu_backward(float *dx, const float *dy, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        vec v = vec_load(x + i);
        vec cumulative = 0.5f + 0.5f * vec_erf(v * GELU_ROOT);
        vec density = GELU_DENSITY * vec_exp(-0.5f * v * v);
        vec_store(dx + i, vec_load(dy + i) * (cumulative + v * density));
    }
}

static void relu(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        vec v = vec_load(x + i);
        vec_store(y + i, (vec)((ivec)v & ~(ivec)(v <= 0.0f))); /* NaN stays */
    }
}

static void relu_backward(float *dx, const float *dy, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        vec_store(dx + i, (vec)((ivec)vec_load(dy + i) & (ivec)(vec_load(x + i) > 0.0f)));
}

static void add(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        vec_store(y + i, vec_load(y + i) + vec_load(x + i));
}

/* a0 b0 a1 b1 ... from the lower or the upper halves of a and b; with 8 lanes, of each 128-bit half,
 * which is one instruction. */
static inline vec interleave_low(vec a, vec b)
{
#if LANES == 16
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif LANES == 8
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
#else
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}

static inline vec interleave_high(vec a, vec b)
{
#if LANES == 16
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif LANES == 8
    return __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
#else
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

/* n x n in registers: each round interleaves the first half of the rows with the second, which rotates
 * the bits of an element's place by one; log2 n rounds exchange row and column. */
static inline void transpose_rounds(vec *a, size_t n)
{
    vec b[LANES];
    for (size_t round = 1; round < n; round *= 2) {
        for (size_t i = 0; i < n / 2; i++) {
            b[2 * i] = interleave_low(a[i], a[i + n / 2]);
            b[2 * i + 1] = interleave_high(a[i], a[i + n / 2]);
        }
        for (size_t i = 0; i < n; i++)
            a[i] = b[i];
    }
}

static inline void transpose_square(float *to, size_t to_stride, const float *from, size_t from_stride)
{
    vec a[LANES];
    for (size_t i = 0; i < LANES; i++)
        a[i] = vec_load(from + i * from_stride);
#if LANES == 8 /* two columns of 4 x 4 blocks at a time, then the blocks change places */
    transpose_rounds(a, 4);
    transpose_rounds(a + 4, 4);
    for (size_t i = 0; i < 4; i++) {
        vec low = __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        a[i + 4] = __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        a[i] = low;
    }
#else
    transpose_rounds(a, LANES);
#endif
    for (size_t i = 0; i < LANES; i++)
        vec_store(to + i * to_stride, a[i]);
}

static inline void transpose_plain(float *to, size_t to_stride, const float *from, size_t from_stride,
                                   size_t rows, size_t cols)
{
    for (size_t c = 0; c < cols; c++)
        for (size_t t = 0; t < rows; t++)
            to[c * to_stride + t] = from[t * from_stride + c];
}

static void transpose(float *to, size_t to_stride, const float *from, size_t from_stride, size_t rows,
                      size_t cols)
{
    size_t whole_rows = rows - rows % LANES, whole_cols = cols - cols % LANES;
    for (size_t t = 0; t < whole_rows; t += LANES)
        for (size_t c = 0; c < whole_cols; c += LANES)
            transpose_square(to + c * to_stride + t, to_stride, from + t * from_stride + c, from_stride);
    transpose_plain(to + whole_cols * to_stride, to_stride, from + whole_cols, from_stride, whole_rows,
                    cols - whole_cols);
    transpose_plain(to + whole_rows, to_stride, from + whole_rows * from_stride, from_stride,
                    rows - whole_rows, cols);
}

/* The last vector reaches back over those in front of it: a part of one would go through memory twice. */
static inline void move_row(float *to, const float *from, size_t n, int accumulate)
{
    if (n < LANES) {
        vec x = vec_load_first(from, n);
        vec_store_first(to, accumulate ? vec_load_first(to, n) + x : x, n);
        return;
    }
    size_t last = n - LANES;
    vec end = accumulate ? vec_load(to + last) + vec_load(from + last) : vec_load(from + last);
    for (size_t i = 0; i < last; i += LANES)
        vec_store(to + i, accumulate ? vec_load(to + i) + vec_load(from + i) : vec_load(from + i));
    vec_store(to + last, end);
}

static void move_rows(float *to, size_t to_stride, const float *from, size_t from_stride, size_t rows,
                      size_t n, int accumulate)
{
    if (accumulate)
        for (size_t r = 0; r < rows; r++)
            move_row(to + r * to_stride, from + r * from_stride, n, 1);
    else
        for (size_t r = 0; r < rows; r++)
            move_row(to + r * to_stride, from + r * from_stride, n, 0);
}

struct adamw_settings {
    float gradient_scale, learning_rate, decay_factor, beta1, beta2, correction1, correction2, epsilon;
};

static inline void adamw_vector(float *weight, float *m, float *v, const float *gradient,
                                const struct adamw_settings *set)
{
    vec g = vec_load(gradient) * set->gradient_scale;
    vec first = set->beta1 * vec_load(m) + (1.0f - set->beta1) * g;
    vec second = set->beta2 * vec_load(v) + (1.0f - set->beta2) * g * g;
    vec step = first * set->correction1 / (vec_sqrt(second * set->correction2) + set->epsilon);
    vec_store(m, first);
    vec_store(v, second);
    vec_store(weight, vec_load(weight) * set->decay_factor - set->learning_rate * step);
}

static void adamw(float *weight, float *m, float *v, const float *gradient, size_t n,
                  float gradient_scale, float learning_rate, float decay_factor, float beta1,
                  float beta2, float correction1, float correction2, float epsilon)
{
    const struct adamw_settings set = {gradient_scale, learning_rate, decay_factor, beta1,
                                       beta2,          correction1,   correction2,  epsilon};
    size_t whole = n - n % LANES, rest = (n - whole) * sizeof(float);
    for (size_t i = 0; i < whole; i += LANES)
        adamw_vector(weight + i, m + i, v + i, gradient + i, &set);
    if (rest) { /* the same arithmetic on a copy, so that a value does not depend on its place */
        float copy[4][LANES] = {{0}};
        memcpy(copy[0], weight + whole, rest);
        memcpy(copy[1], m + whole, rest);
        memcpy(copy[2], v + whole, rest);
        memcpy(copy[3], gradient + whole, rest);
        adamw_vector(copy[0], copy[1], copy[2], copy[3], &set);
        memcpy(weight + whole, copy[0], rest);
        memcpy(m + whole, copy[1], rest);
        memcpy(v + whole, copy[2], rest);
    }
}

/* Squares are exact in double and the order is that of 16 running sums, so every instruction set gives
 * the same bits. */
static double sum_of_squares(const float *x, size_t n)
{
    double sums[16] = {0};
    size_t whole = n - n % 16;
    for (size_t i = 0; i < whole; i += 16)
        for (size_t j = 0; j < 16; j++)
            sums[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t i = whole; i < n; i++)
        sums[i - whole] += (double)x[i] * (double)x[i];
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++)
            sums[j] += sums[j + half];
    return sums[0];
}

#endif
