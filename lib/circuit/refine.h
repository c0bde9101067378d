/* From learned masks to a small circuit: bisection, greedy removal, elimination. All
 * conditions are judged on every fitting and every judging pair: the worse of the two counts. */
#ifndef SN_CIRCUIT_REFINE_H
#define SN_CIRCUIT_REFINE_H

#include "circuit/prune.h"

struct search {
    struct judge judge;
    struct extract_settings settings;
    size_t n;        /* nodes of the model */
    size_t *partner; /* node tied to each, or itself (tie_query_key) */
    size_t *order;   /* one node of each tied group ("leaders"), in the order last asked for */
    size_t n_order;
    size_t held;          /* leader that no order has, so that it stays as it is; NO_NODE: none */
    double *score;        /* n: what `order` is sorted by */
    double *signed_score; /* n: the last attribution with its sign */
    double loss;          /* of the last search_meets: worse set, calibrated or raw as the target is */
    double accuracy;      /* likewise, calibrated */
    int narrow;           /* between search_narrow and search_widen */
    double necessity;     /* of the last search_necessity */
    struct calibration complement; /* fitted by the last search_necessity */
    struct curve
        by_size; /* of the last bisection: the loss of the first k in order of tau, as far as measured */
};

int search_open(struct search *search, struct sn_context *context, struct sn_model *model,
                const struct sn_means *means, const struct sn_task *task, const struct sn_task *develop,
                const struct extract_settings *settings);
void search_close(struct search *search);
/* Whether the kept nodes alone, all others at their means, reach the target loss. */
int search_meets(struct search *search, const unsigned char *kept, int *meets);
/* The same on all pairs at once: where no is an answer that is reported, a few pairs must not give it. */
int search_meets_unscreened(struct search *search, const unsigned char *kept, int *meets);
/* search->loss on a few pairs of each set: enough to rank candidates by. */
int search_quick_loss(struct search *search, const unsigned char *kept);
/* Loss of the model with the kept nodes at their means, recalibrated (findings: ncal), nats. */
int search_necessity(struct search *search, const unsigned char *kept);
/* The same of whatever these masks leave (ablate: SN_ABLATE_*). */
int search_complement(struct search *search, const unsigned char *kept, int ablate);

/* Sets a node and the one tied to it. */
void search_set_group(const struct search *search, unsigned char *kept, size_t leader,
                      unsigned char value);
/* search->order = leaders with wanted[leader] == value (wanted NULL: all), ascending by score; ties go
 * to the lower index. */
void search_order_leaders(struct search *search, const unsigned char *wanted, unsigned char value);
/* signed_score = gradient x (activation - mean) of each node, the gradient by its mask; score = its size. */
int search_score_attribution(struct search *search, const unsigned char *kept);

/* Nodes only leave `kept` from here on: measuring may cost what it keeps, until search_widen. */
int search_narrow(struct search *search, const unsigned char *kept);
int search_widen(struct search *search);

/* The smallest number of nodes, in order of falling tau, that meets the target: kept (n) is set.
 * SN_ERROR_TARGET when not even all nodes do. */
int refine_bisect(struct search *search, const float *tau, unsigned char *kept);
/* One pass over the kept nodes, least attribution first: those that can go, go. While `floor` > 0 the
 * necessity must stay at least that. *removed counts nodes. Progress stage "greedy". */
int refine_greedy(struct search *search, unsigned char *kept, double floor, size_t *removed);
/* One node after the other, each time the one whose removal raises the loss least for the nodes and edges
 * that go with it, until none can go. Progress stage "eliminate", value = nodes left. */
int refine_eliminate(struct search *search, unsigned char *kept);

#endif
