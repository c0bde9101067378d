/* Learned masks (paper A.5): one tau per node, or per edge, in [-1, 1], mask = Heaviside(tau); backward puts the
 * derivative of a sigmoid in place of the step's. Loss = task loss + k_coef x number of kept nodes or edges. */
#ifndef SN_CIRCUIT_PRUNE_H
#define SN_CIRCUIT_PRUNE_H

#include "circuit/curve.h"
#include "circuit/judge.h"

enum mask_scores { SCORES_LEARNED, SCORES_ATTRIBUTION, SCORES_INTEGRATED };
enum task_loss { LOSS_PAIR, LOSS_VOCABULARY };

/* Options of sn_circuit_extract. */
struct extract_settings {
    double target_loss, k_coef, learning_rate, init_bias, init_noise, temperature, weight_decay, beta2;
    double warmup, necessity;
    size_t calibrated, steps, batch, tie_query_key, greedy, swap, grow, seed, runs;
    int method; /* enum judge_gates: what has masks */
    int scores; /* enum mask_scores: what orders them */
    int loss;   /* enum task_loss */
};

struct masks {
    struct memory *memory; /* retained */
    size_t n;
    float *tau, *gradient, *first, *second; /* AdamW's moments */
    struct curve loss, kept; /* of learning, by step: the batch's loss; how many are kept */
};

int masks_create(struct masks *masks, struct sn_context *context, size_t n);
void masks_free(struct masks *masks);
/* tau = bias + noise x gaussian, clamped; moments 0; the curves empty. */
void masks_start(struct masks *masks, uint64_t seed, double bias, double noise);
/* mask[i] = tau[i] > 0 */
void masks_heaviside(float *mask, const float *tau, size_t n);
/* gradient = (dm + k_coef) s (1 - s) / temperature, s = sigmoid(tau / temperature) */
void masks_surrogate(struct masks *masks, const float *dm, double k_coef, double temperature);
/* AdamW step number t (1, 2, ...) with beta1 0.9, epsilon 1e-8, then the clamp to [-1, 1]. `clip` bounds
 * the gradient's norm; 0 = unclipped. */
int masks_step(struct masks *masks, struct sn_context *context, uint64_t t, double learning_rate,
               double weight_decay, double beta2, double clip);

/* Tokens that are learned from at a time, at least a pair. */
size_t prune_chunk_tokens(const struct config *config);
/* Learns masks->tau with one k_coef on the judge's fitting pairs: masks of nodes, or of edges where the judge
 * has them. partner[i]: the node whose mask is tied to i's, or i; NULL: none is. Progress stage "prune" counts
 * from `done` to `total`. */
int prune_learn(struct masks *masks, struct judge *judge, const struct extract_settings *settings,
                double k_coef, const size_t *partner, size_t done, size_t total);

/* Attribution in place of learning (paper, figure 31): masks->tau ranks the masks by the size of the loss's
 * derivative by each, which is gradient x (activation - mean); integrated: averaged over all masks going from 0 to 1
 * together. No tau is above 0. Ties as above. */
int prune_attribute(struct masks *masks, struct judge *judge, enum mask_scores scores,
                    const size_t *partner);

#endif
