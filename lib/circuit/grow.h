/* From a circuit that suffices to one that is necessary as well: small circuits leave backups in the rest of the
 * model, and growing takes those in (docs/circuits.md). */
#ifndef SN_CIRCUIT_GROW_H
#define SN_CIRCUIT_GROW_H

#include "circuit/refine_edges.h"

#define GROW_CANDIDATES 8     /* by gradient; exactly these are tried */
#define GROW_LIMIT 32         /* additions */
#define NECESSITY_SLACK 0.002 /* that pruning may cost of it */

/* Loss of the complement, recalibrated, from which on a circuit counts as necessary, nats. */
double grow_wanted(const struct search *search);
/* Adds nodes until the circuit is necessary, then prunes greedily under both conditions. Keeps the
 * circuit as it was when the grown one is no longer sufficient. Progress stage "grow". search->necessity is that of
 * the circuit in the end. */
int refine_grow(struct search *search, unsigned char *kept);
/* The same with single edges: what is ablated is what the circuit's edges carry, which are cut, while all other
 * edges and all nodes are as in the whole model. */
int refine_edges_grow(struct edge_refinement *refinement);

#endif
