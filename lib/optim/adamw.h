/* AdamW over plain arrays (used for weights and for circuit masks).
 *
 *   g  = gradient_scale * gradient
 *   m  = beta1 m + (1 - beta1) g            v = beta2 v + (1 - beta2) g g
 *   w  = decay_factor w - learning_rate * (m correction1) / (sqrt(v correction2) + epsilon)
 *
 * with correction1 = 1 / (1 - beta1^t), correction2 = 1 / (1 - beta2^t), t = 1 at the first step:
 * epsilon stands outside the root, after the bias correction (torch.optim.AdamW's order). */
#ifndef SN_OPTIM_ADAMW_H
#define SN_OPTIM_ADAMW_H

#include <stddef.h>
#include <stdint.h>

#include "base/context.h"

/* Work is cut into blocks of this many elements whatever the number of threads. A multiple of 16, so
 * that every block of an aligned array is aligned. */
#define OPTIM_BLOCK ((size_t)1 << 14)

/* One array of parameters with its gradient and moments; all have n entries. */
struct optim_array {
    float *weight;
    float *first;  /* m */
    float *second; /* v */
    const float *gradient;
    size_t n;
    float decay_factor; /* 1: no decay */
};

struct adamw {
    float learning_rate, beta1, beta2, epsilon;
    float correction1, correction2;
    float gradient_scale;
};

/* Sets the two corrections for step `t` (1, 2, ...). */
void adamw_set_step(struct adamw *adamw, double beta1, double beta2, uint64_t t);
/* Updates every array; parallel over blocks. */
int adamw_update(struct sn_context *context, const struct adamw *adamw, const struct optim_array *arrays,
                 size_t n_arrays);

/* Runs function(payload, array, first, last, block) for every block of every array, in parallel; `block`
 * counts the blocks of all arrays in order, 0 .. optim_block_count - 1. */
typedef void (*optim_block_function)(void *payload, const struct optim_array *array, size_t first,
                                     size_t last, size_t block);
size_t optim_block_count(const struct optim_array *arrays, size_t n_arrays);
int optim_for_blocks(struct sn_context *context, const struct optim_array *arrays, size_t n_arrays,
                     optim_block_function function, void *payload);

#endif
