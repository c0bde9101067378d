/* Kept nodes as steps between two values l <= r, on the way there from the identity (t from 1 to 0):
 *     x' = t x + (1 - t) clamp(h + (x - h) / t, l, r),   h = (l + r) / 2
 * At t = 0 a node has two values, r above h and l elsewhere. While learning, backward gives the gradient by l and r,
 * which move the threshold too. */
#ifndef SN_CIRCUIT_STEPS_H
#define SN_CIRCUIT_STEPS_H

#include "circuit/circuit.h"
#include "model/intervention.h"
#include "model/session.h"

/* Below this t counts as 0, so that no slope exceeds its inverse. */
#define STEPS_SMALLEST_T 0.01f

struct steps;

struct step_site {
    struct intervention base; /* first: the session knows only this */
    struct steps *steps;
    size_t index; /* of this in steps->sites */
    size_t site;  /* of the model */
    size_t first, n; /* its nodes */
};

struct steps {
    struct memory *memory;      /* retained */
    struct sn_session *session; /* attached to; NULL when not */
    struct step_site *sites;    /* those with kept nodes */
    size_t n_sites, n, capacity;
    size_t *channel; /* n: in its site */
    float *value;    /* n pairs l, r */
    float *gradient; /* n pairs */
    float t;
    /* Where set, lent: activations are copied there and left as they are. [panel][node][PANEL], and how many tokens
     * each [panel][site] has. */
    float *record;
    size_t *record_tokens;
};

int steps_create(struct steps *steps, struct sn_context *context, const struct sn_circuit *circuit);
void steps_free(struct steps *steps); /* detaches first */
int steps_attach(struct steps *steps, struct sn_session *session, int learning);
void steps_detach(struct steps *steps);

#endif
