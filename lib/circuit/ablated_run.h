/* A session that runs the whole model, or a model under a circuit: everything outside at its mean. */
#ifndef SN_CIRCUIT_ABLATED_RUN_H
#define SN_CIRCUIT_ABLATED_RUN_H

#include "circuit/edges.h"
#include "circuit/gates.h"

struct ablated_run {
    struct memory *memory; /* retained; NULL before ablated_run_open */
    struct gates gates;
    struct gated_model gated; /* where edges are cut: what the session runs */
    struct sn_session *session;
};

/* Forward only. circuit NULL: the whole model, and means may be NULL. free_node (NO_NODE: none): this
 * node stays as it is computed, though it be outside. circuit and means are lent; the session is to
 * be used in `context`. */
int ablated_run_open(struct ablated_run *run, struct sn_context *context, struct sn_model *model,
                     const struct sn_circuit *circuit, const struct sn_means *means, size_t free_node);
void ablated_run_close(struct ablated_run *run);
/* SN_ERROR_ARGUMENT unless circuit (may be NULL) and means fit the model. */
int ablated_run_check(struct sn_context *context, const struct sn_model *model,
                      const struct sn_circuit *circuit, const struct sn_means *means,
                      const char *function);

#endif
