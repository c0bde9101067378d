/* Measures a model under node masks on two sets of pairs: the fitting pairs, on which calibration is
 * fitted, and the judging pairs. */
#ifndef SN_CIRCUIT_JUDGE_H
#define SN_CIRCUIT_JUDGE_H

#include "circuit/ablation.h"
#include "circuit/calibrate.h"
#include "circuit/edges.h"
#include "circuit/gates.h"
#include "circuit/pair_loss.h"

#define ALL_PAIRS ((size_t)-1)
#define JUDGE_BATCH_TOKENS 1024 /* of one forward, unless a pair has more; bounds the session's memory */

enum judge_set { JUDGE_FIT, JUDGE_TASK, JUDGE_SETS };

struct judge {
    struct sn_context *context;
    struct sn_model *model;       /* lent */
    const struct sn_means *means; /* lent, or NULL */
    struct sn_model *folded;      /* what the sessions run instead of `model` (judge_fold), or NULL */
    size_t n_folded;              /* nodes that it keeps */
    struct node_layout layout;
    const struct sn_task *tasks[JUDGE_SETS]; /* lent; the same one twice is run once */
    struct sn_session *session;              /* with a backward, for gradients */
    struct sn_session *measuring; /* forward only: a small part of the memory, so of the caches */
    struct gates gates;
    int has_gates;            /* 0 without means: only the full model can be measured */
    struct gated_model gated; /* JUDGE_EDGES: what the sessions run */
    const unsigned char
        *kept_edges; /* lent, gated.n_edges bytes; NULL = all. Only ablating the rest cuts any */
    struct resampler *resampler; /* lent: what judge_measure ablates with instead of means, or NULL */
    struct pair_batch batch;
    double *differences[JUDGE_SETS]; /* 2 per pair */
    size_t n_pairs[JUDGE_SETS];
    size_t limit; /* pairs of each set in use */
};

struct measurement {
    struct calibration calibration;
    double loss, accuracy;         /* calibrated */
    double raw_loss, raw_accuracy; /* scale 1, shift 0 */
};

enum judge_gates { JUDGE_NODES, JUDGE_EDGES };

/* means may be NULL for JUDGE_NODES. */
int judge_open(struct judge *judge, struct sn_context *context, struct sn_model *model,
               const struct sn_means *means, const struct sn_task *fit, const struct sn_task *task,
               enum judge_gates gates);
void judge_close(struct judge *judge);
/* From here on only nodes of `kept` will be kept, all others ablated with their means: where it saves much, sessions
 * run the model of that circuit. Not with masks of edges. After a failure the judge can only be closed. */
int judge_fold(struct judge *judge, const unsigned char *kept);
/* Any set of nodes again. */
int judge_unfold(struct judge *judge);
/* The sessions, of the judge's model or what stands in for it. */
int judge_open_sessions(struct judge *judge, struct sn_model *model, enum gradient_mode mode);
/* Sets the masks and attaches the gates to judge->session (learning) or judge->measuring, until gates_detach. */
int judge_set_masks(struct judge *judge, const unsigned char *kept, int ablate, int learning);
/* Sets the masks (ablate: SN_ABLATE_*; kept may be NULL where it does not matter), runs at most `limit`
 * pairs of each set, fits calibration on JUDGE_FIT and applies it to both. */
int judge_measure(struct measurement result[JUDGE_SETS], struct judge *judge, const unsigned char *kept,
                  int ablate, size_t limit);
/* The same where the call before measured the first `done` pairs of each set with these masks: they are not run again. */
int judge_measure_more(struct measurement result[JUDGE_SETS], struct judge *judge,
                       const unsigned char *kept, int ablate, size_t done, size_t limit);
/* Gradient by every mask of the loss of scale x difference + shift over one set: in judge->gates.gradient, and
 * by every edge's in judge->gated.gradient. */
int judge_gradient(struct judge *judge, const unsigned char *kept, int ablate, enum judge_set set,
                   struct calibration calibration);
/* The same with all masks, or all edges' gates where the judge has them, at `level` in [0, 1]; logits as they are. */
int judge_gradient_at(struct judge *judge, float level, enum judge_set set);

/* As much of it as result->struct_size has room for. */
void measurement_give(sn_evaluation *result, const struct measurement *measured, size_t n_pairs);

#endif
