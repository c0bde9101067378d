/* Naive kernels for one token: what the vector kernels are compared with. */
#ifndef SN_KERNELS_REFERENCE_TOKEN_H
#define SN_KERNELS_REFERENCE_TOKEN_H

#include "kernels/kernels.h"

void reference_token_columns(float *y, const struct sparse_columns *columns, const uint32_t *active,
                             const float *x, size_t n_active);
void reference_token_rows(float *y, const struct sparse_block *block, const float *x, const float *bias);
void reference_token_dense(float *y, const float *w, size_t rows, size_t cols, const float *x,
                           const float *bias);
void reference_token_topk(float *x, size_t width, size_t k, void *scratch);
void reference_token_rms_norm(float *y, const float *x, const float *weight, size_t width);
void reference_token_layer_norm(float *y, const float *x, const float *weight, const float *bias,
                                size_t width);
void reference_token_attention(float *y, const float *q, const struct token_attention *attention,
                               void *scratch);

#endif
