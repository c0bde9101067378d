/* What tracing needs of one run of a model under a circuit: activations of the kept nodes, and how a
 * gradient passes each of them. Attention patterns, norms and AbsTopK's choices are held fixed, and
 * GELU is taken as x times its factor Phi(x), so that along value routes the parts add up to the whole
 * (docs/circuits.md). Arrays over tokens run over the packed tokens of all prompts. */
#ifndef SN_CIRCUIT_FLOW_H
#define SN_CIRCUIT_FLOW_H

#include "circuit/edges.h"
#include "circuit/gates.h"
#include "circuit/pair_loss.h"

struct head_pattern {
    size_t layer, head;
    float *probability; /* per sequence T x T, row t over sources s <= t; flow->pattern_start */
};

struct flow {
    struct sn_context *context;
    const struct sn_circuit *circuit; /* lent */
    const struct config *config;
    struct pair_batch batch;
    struct gates gates;
    struct gated_model gated; /* where edges are cut: what the session runs */
    struct sn_session *session;
    size_t n_sequences, n_tokens;
    float *values; /* [graph nodes][n_tokens] */
    float *slopes; /* [graph nodes][n_tokens]: gradient by the node's input over gradient by its value;
                      for a read, by its residual channel */
    float
        *inverse; /* [2 n_layer + 1][n_tokens]: 1 / RMS at the norm in front of each sublayer and head */
    unsigned char *open;   /* [2 n_layer + 1][n_tokens][d_model]: whether the stream's entry survived the
                            residual ReLU and AbsTopK; NULL where the stream is linear */
    size_t *pattern_start; /* n_sequences + 1 */
    struct head_pattern *patterns;
    size_t n_patterns, pattern_capacity;
    float *site_values; /* the site read last, n_tokens x width */
    size_t site_capacity;
};

/* Runs up to n_pairs pairs of the task with everything outside the circuit at its mean. */
int flow_open(struct flow *flow, struct sn_context *context, const struct sn_circuit *circuit,
              const struct sn_means *means, const struct sn_task *task, size_t n_pairs);
void flow_close(struct flow *flow);
/* Layer, kind and channel of a node of the circuit's graph. */
void flow_node(size_t *layer, enum site_kind *kind, size_t *channel, const struct flow *flow,
               size_t node);
/* Norm gain in front of sublayer `stage` (2 n_layer: the head), 1-D of d_model. */
const float *flow_gain(const struct flow *flow, size_t stage);

/* Attention probabilities of a head; computed once. NULL and *status on failure. */
const float *flow_pattern(int *status, struct flow *flow, size_t layer, size_t head);
/* Value route: dv[s] = sum over t >= s of probability[t][s] dy[t]. */
void flow_through_values(float *dv, const struct flow *flow, const float *probability, const float *dy);
/* Query and key routes through one v channel: gradients by the head's scores of
 * y[t] = sum_s probability[t][s] v[s], times the other side's activation over sqrt(d_head). */
void flow_through_query(float *dq, const struct flow *flow, const float *probability, const float *dy,
                        const float *v, const float *k);
void flow_through_key(float *dk, const struct flow *flow, const float *probability, const float *dy,
                      const float *v, const float *q);

#endif
