/* What ablated nodes and cut edges carry: means, zeros, or activations of random places of a corpus.
 *
 * A resample takes whole activation vectors: for a site and a token of a prompt one place of the corpus
 * is drawn, and every ablated channel there takes that place's value; cut edges that leave the site at
 * that token carry it too. Sites draw independently of each other, and tokens, unless `together` ties
 * those of a prompt. The two prompts of a pair draw alike at the same position, so that what they share
 * is run once. */
#ifndef SN_CIRCUIT_ABLATION_H
#define SN_CIRCUIT_ABLATION_H

#include "circuit/edges.h"
#include "circuit/gates.h"
#include "model/intervention.h"

enum ablation_kind { ABLATION_MEAN, ABLATION_ZERO, ABLATION_RESAMPLE };
enum ablation_together { TOGETHER_TOKEN, TOGETHER_PROMPT };

struct sn_ablation {
    struct memory *memory;  /* retained */
    struct sn_means *means; /* owned; zeros for ABLATION_ZERO and where values are drawn */
    enum ablation_kind kind;
    enum ablation_together together;
    float *samples;   /* n_samples x means_size: nodes, then attention's outputs */
    size_t n_samples; /* 0 unless ABLATION_RESAMPLE */
    size_t n_draws;   /* 1 unless ABLATION_RESAMPLE */
    uint64_t seed;
};

/* The sample that a site takes at a token. */
size_t ablation_pick(const struct sn_ablation *ablation, uint64_t draw, uint64_t set, uint64_t pair,
                     uint64_t position, uint64_t site);

/* ---- samples.c */
struct samples_settings {
    size_t n_samples, window;
    uint64_t seed;
};
/* Activations of random tokens of the corpus: n_samples rows of means_size floats. */
int samples_collect(float *samples, struct sn_context *context, const struct sn_means *layout_of,
                    const struct sn_corpus *corpus, const struct samples_settings *settings);

/* ---- resample.c: the interventions that put drawn values in place */
struct resampler;

/* At a site of nodes: channels of mask 0 take the sample's values. */
struct node_resample {
    struct intervention base; /* first */
    const struct resampler *resampler;
    const float *mask;
    size_t first; /* of the site's values in a sample */
};

/* In front of a site: cut edges of a part add weight times the sample's value. `saved` holds those
 * values. */
struct edge_resample {
    struct intervention base; /* first */
    const struct resampler *resampler;
    const struct edge_part *part;
    const float *weights;
    size_t first;       /* of the source's values in a sample */
    size_t source_site; /* which draws them */
};

struct resampler {
    struct memory *memory;              /* retained; NULL before resampler_create */
    const struct sn_ablation *ablation; /* lent */
    const struct gated_model *gated;    /* lent; NULL without edges */
    const unsigned char *kept_edges;    /* lent, as of resampler_attach */
    struct sn_session *session;
    struct node_resample *nodes;
    struct edge_resample *edges;
    size_t n_nodes, n_edges;
    uint64_t draw, set, first_pair; /* of the batch that runs next */
};

/* gates: whose masks say what is ablated. gated: what the session runs where edges are cut (no weight of
 * a cut edge is left in it, no mean in its biases), else NULL. All lent. */
int resampler_create(struct resampler *resampler, struct sn_context *context,
                     const struct sn_ablation *ablation, const struct gates *gates,
                     const struct gated_model *gated);
void resampler_free(struct resampler *resampler); /* detaches first */
/* kept_edges NULL: no edge is cut. */
int resampler_attach(struct resampler *resampler, struct sn_session *session,
                     const unsigned char *kept_edges);
void resampler_detach(struct resampler *resampler);

#endif
