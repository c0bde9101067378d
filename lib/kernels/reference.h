/* Naive kernels, named reference_<field of the table>: straight loops, sums in double, no scratch. What
 * the vector kernels are compared with. The contracts are those of kernels.h. */
#ifndef SN_KERNELS_REFERENCE_H
#define SN_KERNELS_REFERENCE_H

#include "kernels/kernels.h"

void reference_abs_topk(float *x, uint64_t *mask, size_t width, size_t k, void *scratch);
void reference_apply_mask(float *dx, const uint64_t *mask, size_t width);

void reference_rms_norm(float *y, float *inverse, const float *x, const float *weight, size_t width);
void reference_rms_norm_backward(float *dx, float *dweight, const float *dy, const float *x,
                                 const float *inverse, const float *weight, size_t width);
void reference_layer_norm(float *y, float *mean, float *inverse, const float *x, const float *weight,
                          const float *bias, size_t width);
void reference_layer_norm_backward(float *dx, float *dweight, float *dbias, const float *dy,
                                   const float *x, const float *mean, const float *inverse,
                                   const float *weight, size_t width);

void reference_gelu(float *y, const float *x, size_t n);
void reference_gelu_backward(float *dx, const float *dy, const float *x, size_t n);
void reference_relu(float *y, const float *x, size_t n);
void reference_relu_backward(float *dx, const float *dy, const float *x, size_t n);
void reference_add(float *y, const float *x, size_t n);
void reference_gate(float *x, void *kept, const float *mask, const float *mean, size_t rows);
void reference_gate_backward(float *sum, float *dx, const void *kept, const float *mask,
                             const float *mean, size_t rows, size_t n);

void reference_cross_entropy(float *loss, float *lse, const float *logits, const int32_t *target,
                             size_t classes);
void reference_cross_entropy_backward(float *logits, const float *lse, const int32_t *target,
                                      size_t classes, float scale);

void reference_attention(float *y, float *lse, const float *q, const float *k, const float *v,
                         const struct attention_shape *shape, void *scratch);
void reference_attention_backward(float *dq, float *dk, float *dv, float *dsink, const float *dy,
                                  const float *y, const float *q, const float *k, const float *v,
                                  const float *lse, const struct attention_shape *shape, void *scratch);

void reference_transpose(float *to, size_t to_stride, const float *from, size_t from_stride, size_t rows,
                         size_t cols);
void reference_move_rows(float *to, size_t to_stride, const float *from, size_t from_stride, size_t rows,
                         size_t n, int accumulate);
void reference_adamw(float *weight, float *m, float *v, const float *gradient, size_t n,
                     float gradient_scale, float learning_rate, float decay_factor, float beta1,
                     float beta2, float correction1, float correction2, float epsilon);
double reference_sum_of_squares(const float *x, size_t n);

#endif
