/* Exchanges after elimination: what is left out comes in where more can go for it. Elimination ends where no single
 * node or edge can be spared; two circuits of which neither contains the other may both end so, and one of them be
 * smaller. */
#ifndef SN_CIRCUIT_SWAP_H
#define SN_CIRCUIT_SWAP_H

#include "circuit/refine_edges.h"

#define SWAP_CANDIDATES 8 /* by gradient, of each pass */

/* Up to `passes` passes over the most promising of what is left out: each is taken in, held, and elimination is run
 * again. Kept where that leaves fewer edges, as many edges and fewer nodes, or as many of both at a lower loss; a pass
 * without such an exchange is the last. The circuit must meet the target. Progress stage "swap", value = edges. */
int refine_swap(struct search *search, unsigned char *kept, size_t passes);
int refine_edges_swap(struct edge_refinement *refinement, size_t passes);

#endif
