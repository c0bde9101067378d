/* Pairs of a task as one ragged batch, and the loss over the two targets of each pair (paper 2.3).
 * Sequence 2i is prompt A of the batch's pair i, sequence 2i + 1 its prompt B; logits are computed at
 * the last token of each only. difference = logit of target_a - logit of target_b. */
#ifndef SN_CIRCUIT_PAIR_LOSS_H
#define SN_CIRCUIT_PAIR_LOSS_H

#include "circuit/calibrate.h"
#include "model/session.h"

struct pair_batch {
    struct memory *memory; /* retained */
    int32_t *tokens;
    size_t *offsets;  /* 2 n_pairs + 1 */
    size_t *shared;   /* 2 n_pairs: tokens of prompt B that are in the batch as prompt A's; 0 at A */
    int share;        /* whether there are any: set before filling */
    size_t *last;     /* 2 n_pairs: packed index of each prompt's last token */
    int32_t *targets; /* 2 n_pairs: target_a, target_b of each pair = the right one of each prompt */
    float *gradient;  /* 2 n_pairs x vocab_size, made when first needed */
    size_t n_pairs, token_capacity, pair_capacity, gradient_size;
};

void pair_batch_init(struct pair_batch *batch, struct memory *memory);
void pair_batch_free(struct pair_batch *batch);
/* Fills from task pairs pairs[0..n_pairs), or first..first + n_pairs - 1 where pairs is NULL. Refuses
 * targets outside a vocabulary of `vocab_size`; the session checks the prompts. */
int pair_batch_fill(struct pair_batch *batch, struct sn_context *context, const struct sn_task *task,
                    const size_t *pairs, size_t first, size_t n_pairs, size_t vocab_size);
int pair_batch_forward(struct pair_batch *batch, struct sn_session *session);
/* difference: 2 n_pairs. SN_ERROR_NUMERIC when one is not finite. */
int pair_batch_differences(double *difference, const struct pair_batch *batch,
                           struct sn_session *session);
/* Loss of scale x difference + shift after a forward, and the backward of `share` times it through the session: a
 * batch run in parts adds up to the whole when each counts by its share of the pairs. */
int pair_batch_backward(double *loss, struct pair_batch *batch, struct sn_session *session,
                        struct calibration calibration, double share);
/* Pairs [first, result) of `pairs` (NULL: of the task) have at most `tokens` tokens, but there is at least one. */
size_t pair_batch_end(const struct sn_task *task, const size_t *pairs, size_t first, size_t n_pairs,
                      size_t tokens);
/* The same with the cross-entropy of the right target over the whole vocabulary. */
int pair_batch_backward_vocabulary(double *loss, struct pair_batch *batch, struct sn_session *session);

#endif
