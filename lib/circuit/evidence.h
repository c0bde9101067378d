/* What a node does over a corpus, while it is gathered (evidence_run.c) and afterwards (evidence.c). */
#ifndef SN_CIRCUIT_EVIDENCE_H
#define SN_CIRCUIT_EVIDENCE_H

#include "circuit/circuit.h"
#include "circuit/contexts.h"
#include "circuit/histogram.h"

#define MOST_QUANTILES 32
#define PLACE_LISTS                                                                                     \
    3 /* SN_CONTEXT_TOP, SN_CONTEXT_BOTTOM, and the sample that quantiles are taken from */
#define SAMPLE_LIST SN_CONTEXT_QUANTILE

struct evidence_settings {
    size_t tokens, window, seed, bins, top, bottom, per_quantile, before, after, sample;
    const char *quantile_text;
    double quantiles[MOST_QUANTILES];
    size_t n_quantiles;
};

struct node_evidence {
    size_t site, channel;
    struct histogram histogram;
    struct place_list lists[PLACE_LISTS];
    uint64_t n_tokens, n_zero;
    double sum, squares;
    float minimum, maximum;
    size_t first_context[PLACE_LISTS + 1]; /* in the evidence's contexts; once gathered */
};

struct sn_evidence {
    struct memory *memory; /* retained */
    struct evidence_settings settings;
    char (*names)[NODE_NAME_BYTES];
    struct node_evidence *nodes;
    size_t n_nodes;
    size_t width;            /* most tokens that a context shows */
    uint64_t *counts;        /* [n_nodes][bins] */
    double *edges;           /* [n_nodes][bins + 1] */
    struct place *places;    /* [n_nodes][n_places], while it is gathered */
    float *place_values;     /* [n_nodes][n_places][width] */
    size_t n_places;         /* top + bottom + sample */
    sn_token_context *shown; /* [n_nodes][n_shown], n_shown = top + bottom + quantiles x per_quantile */
    int32_t *shown_tokens;   /* [n_nodes][n_shown][width] */
    float *shown_values;
    size_t n_shown;
};

/* Runs the corpus; evidence->nodes have their site and channel. */
int evidence_gather(struct sn_evidence *evidence, struct sn_context *context, struct sn_model *model,
                    const struct sn_corpus *corpus);

#endif
