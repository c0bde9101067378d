/* Which nodes and edges stay while a circuit, or the rest of its model, is ablated. */
#ifndef SN_CIRCUIT_ABLATED_SET_H
#define SN_CIRCUIT_ABLATED_SET_H

#include "circuit/edges.h"

/* What a judge takes. SN_ABLATE_EDGES becomes "ablate the rest" of a circuit of all nodes and all other edges. */
struct ablated_set {
    struct memory *memory; /* retained; NULL before ablated_set_open */
    const unsigned char *kept,
        *kept_edges; /* lent by the circuit, or owned; NULL where all are or none matter */
    int ablate;
    unsigned char *all_nodes, *other_edges; /* owned */
    size_t n_nodes, n_edges;
};

/* circuit may be NULL where `ablate` does not need one. */
int ablated_set_open(struct ablated_set *set, struct sn_context *context,
                     const struct sn_circuit *circuit, int ablate);
void ablated_set_close(struct ablated_set *set);

#endif
