/* What makes a node's value, while its sources are listed (contribution_sources.c) and run (contributions.c). */
#ifndef SN_CIRCUIT_CONTRIBUTIONS_H
#define SN_CIRCUIT_CONTRIBUTIONS_H

#include "circuit/ablated_run.h"

#define CLASSES 2 /* prompts A, prompts B */

struct source {
    sn_contribution shown; /* its values are sums over prompts until the end */
    size_t site, column;   /* where the value stands that the weight multiplies */
    float mean;            /* of a cut edge's source */
};

struct sn_contributions {
    struct memory *memory; /* retained */
    struct source *sources;
    size_t *order; /* the sources, strongest first */
    size_t n_sources, capacity;
    double value[CLASSES];
};

/* One node, and the run that it is looked at in. */
struct listing {
    struct sn_context *context;
    const struct sn_model *model;
    const struct sn_circuit *circuit; /* may be NULL */
    const struct sn_means *means;
    struct sn_contributions *to;
    struct node_layout layout;
    size_t layer, channel, node, site;
    enum site_kind kind;
    struct ablated_run run;
    float *values; /* a row of each site at the last token of a sequence, site after site */
    size_t *row;   /* where each site's begins; NO_NODE where it is not recorded */
    float *site_values;
    size_t n_values, n_site_values;
};

/* Adds to listing->to every weight that leads to the node, and the bias. */
int list_weights(struct listing *listing);
/* Of a residual read: embedding, position, and what each sublayer in front of it wrote to the channel. */
int list_stream(struct listing *listing);

#endif
