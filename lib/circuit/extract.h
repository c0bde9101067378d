/* The steps from masks to a circuit, which sn_circuit_extract takes once and sn_search for every run. */
#ifndef SN_CIRCUIT_EXTRACT_H
#define SN_CIRCUIT_EXTRACT_H

#include "circuit/refine_edges.h"

/* The smallest circuit so far. */
struct best {
    struct memory *memory;            /* retained; NULL before best_create */
    unsigned char *kept, *kept_edges; /* kept_edges NULL with masks of nodes */
    size_t n_kept, n_kept_edges;      /* bytes of them */
    size_t n_nodes, n_edges;
    size_t n_start;   /* the fewest edges of any set of which shrinking began */
    double necessity; /* of the circuit in the end, where it was grown */
    int found;
    size_t n_taken;                   /* how often a smaller one took its place */
    struct curve loss, size, by_size; /* of the masks that it was cut from; learning's may be unknown */
};

int best_create(struct best *best, const struct search *search);
void best_free(struct best *best);

int extract_read_options(struct extract_settings *settings, struct sn_context *context,
                         const char *function, const sn_options *options);
/* What is missing or empty among the arguments of `function`. */
int extract_check(struct sn_context *context, const struct sn_model *model, const struct sn_means *means,
                  const struct sn_task *task, const struct sn_task *develop, const char *function);
/* SN_ERROR_TARGET with what search->loss and search->accuracy are, beside the target. */
int extract_fail_target(struct search *search, const char *what);
/* Masks of this search: nodes, or edges. */
size_t extract_mask_count(const struct search *search);
/* Fills masks->tau as the settings say, with one k_coef. */
int extract_masks(struct masks *masks, struct search *search, double k_coef, size_t done, size_t total);
/* SN_ERROR_TARGET unless the full model does the task; search->loss is its loss. kept: search->n bytes of
 * scratch. */
int extract_check_full(struct search *search, unsigned char *kept);
/* The smallest set in order of tau that meets the target, and no further: how many edges it has. */
int extract_size(size_t *n_edges, struct search *search, const float *tau, unsigned char *kept);
/* From masks to the smallest circuit that meets the target; takes it if it is smaller than `best`. */
int extract_shrink(struct best *best, struct search *search, const float *tau, unsigned char *kept,
                   double full_loss);
/* The same from a circuit, which must meet the target: kept is changed; kept_edges NULL: all between the nodes. */
int extract_start_nodes(struct best *best, struct search *search, unsigned char *kept);
int extract_start_edges(struct best *best, struct search *search, unsigned char *kept,
                        const unsigned char *kept_edges);
/* Exchanges, growing, and a last look at all pairs. */
int extract_finish(struct best *best, struct search *search);
int extract_circuit(sn_circuit **out, struct search *search, const struct best *best);

#endif
