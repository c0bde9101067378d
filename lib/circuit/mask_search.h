/* The state of sn_search, and its file. */
#ifndef SN_CIRCUIT_MASK_SEARCH_H
#define SN_CIRCUIT_MASK_SEARCH_H

#include "circuit/prune.h"

enum run_stage { RUN_NOT, RUN_SHORT, RUN_WHOLE };

struct run {
    double k_coef, learning_rate, init_bias;
    size_t seed;
    enum run_stage stage;
    size_t
        short_edges; /* at the target loss, of the short run's masks: what the finalists are chosen by */
    size_t n_edges;  /* of its latest masks */
    float *tau;      /* n_masks */
};

struct sn_search {
    struct memory *memory;      /* retained */
    struct sn_context *context; /* retained */
    struct sn_model *model;     /* retained */
    const struct sn_means *means;
    const struct sn_task *task, *develop; /* these three lent */
    struct extract_settings settings;     /* the centre; target_loss is what runs are compared at */
    struct run *runs;
    size_t n_runs, n_finalists, n_masks;
    float *taus; /* n_runs x n_masks */
    char *path;  /* strlen + 1; NULL without a file */
};

/* Writes the state, atomically. */
int search_save(struct sn_search *search, const char *path);

#endif
