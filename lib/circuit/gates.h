/* Node masks as interventions. At every node site, for every channel c and token:
 *     x' = m_c x + (1 - m_c) mean_c
 * applied after AbsTopK, one mask for all prompts and tokens (paper 2.3, A.5). While learning, backward
 * gives dL/dm_c = sum over tokens of dL/dx' (x - mean_c) and dL/dx = m_c dL/dx'. */
#ifndef SN_CIRCUIT_GATES_H
#define SN_CIRCUIT_GATES_H

#include "circuit/circuit.h"
#include "model/intervention.h"
#include "model/session.h"

struct gate {
    struct intervention base; /* first: the session knows only this */
    const struct kernel_table *kernels;
    size_t width;
    const float *mask, *mean; /* this site's part of the arrays of all nodes */
};

struct gates {
    struct memory *memory;            /* retained */
    const struct node_layout *layout; /* lent */
    struct sn_session *session;       /* attached to; NULL when not */
    struct gate *gates;               /* one per node site */
    float *mask, *gradient;           /* layout->n_nodes each */
};

/* means: layout->n_nodes floats, lent. All masks start at 1. */
int gates_create(struct gates *gates, struct sn_context *context, const struct node_layout *layout,
                 const float *means);
void gates_free(struct gates *gates); /* detaches first */
/* Attaches to all node sites; learning = 0 saves the copies that only backward needs. */
int gates_attach(struct gates *gates, struct sn_session *session, int learning);
void gates_detach(struct gates *gates);
/* Mask 1 where kept (complement: where not kept), 0 elsewhere. */
void gates_set(struct gates *gates, const unsigned char *kept, int complement);
void gates_zero_gradient(struct gates *gates);

#endif
