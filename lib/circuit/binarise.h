/* Binarisation under way: where the steps start (binarise_start.c) and how they are learned (binarise.c). */
#ifndef SN_CIRCUIT_BINARISE_H
#define SN_CIRCUIT_BINARISE_H

#include "base/random.h"
#include "circuit/judge.h"
#include "circuit/steps.h"

#define BINARISE_TOKENS 512 /* of one forward; bounds the session's memory */
#define N_THRESHOLDS 3      /* quarters of the observed range */

struct binarise_settings {
    size_t steps, batch, seed;
    double learning_rate;
};

struct sn_binarised {
    struct memory *memory;      /* retained */
    struct sn_circuit *circuit; /* a copy */
    struct steps steps;
    double loss[2]; /* raw, on the pairs that it was made from: at the start and as it is */
};

/* What was seen of one node: its range, then what each threshold has below and above it. */
struct observed {
    double low, high;
    double n[N_THRESHOLDS][2], sum[N_THRESHOLDS][2], squares[N_THRESHOLDS][2];
};

struct learner {
    struct sn_binarised *binarised;
    const struct binarise_settings *settings;
    struct judge judge;
    struct random_state random;
    struct observed *observed;                 /* n */
    float *weight, *gradient, *first, *second; /* 2 n: values in units of each node's observed range */
    float *scale;                              /* n */
    float *record;
    size_t *record_tokens;
    size_t record_panels;
    size_t *deck, *batch;
    size_t n_deck, next, n_batch;
};

/* Forward of the fitting pairs pairs[first..last), or of pairs first .. last - 1 where pairs is NULL; takes notes
 * where the steps have a record. */
int binarise_run_pairs(struct learner *learner, struct sn_session *session, const size_t *pairs,
                       size_t first, size_t last);
/* Values of the steps: two runs over all pairs, for the ranges, and for the means below and above the thresholds. */
int binarise_start(struct learner *learner);

#endif
