/* What circuits have in common, while it is made: nodes and edges (shared.c), then motifs (motifs.c). */
#ifndef SN_CIRCUIT_SHARING_H
#define SN_CIRCUIT_SHARING_H

#include "circuit/circuit.h"

#define MOST_CIRCUITS 64
#define MOST_SETS ((size_t)1024) /* different sets of circuits that motifs are looked for in */

struct shared_node {
    size_t node; /* flat index */
    uint64_t circuits;
    char name[NODE_NAME_BYTES];
};

struct shared_edge {
    size_t from, to; /* flat indices of nodes */
    const struct shared_node *from_node, *to_node;
    float weight;
    uint64_t circuits;
};

struct motif {
    uint64_t circuits;
    size_t first, n; /* in motif_edges */
};

struct sn_shared {
    struct memory *memory; /* retained */
    struct shared_node *nodes;
    struct shared_edge *edges;
    struct motif *motifs;
    size_t *motif_edges;
    size_t n_nodes, n_edges, n_motifs, motif_capacity, n_motif_edges, motif_edge_capacity;
};

static inline size_t count_bits(uint64_t circuits)
{
    return (size_t)__builtin_popcountll(circuits);
}

/* While it is made. */
struct sharing {
    struct sn_context *context;
    struct sn_shared *shared;
    const sn_circuit *const *circuits;
    size_t n_circuits;
    const struct node_layout *layout;
    size_t n_flat, n_flat_edges;
    uint64_t *of_node, *of_edge; /* by flat index: the circuits that have it */
    size_t *place;               /* of each node: in shared->nodes, or an edge that it ends */
    size_t *order;               /* of nodes, edges or motifs */
    double *score;
    size_t *parent; /* n_edges, union-find */
    uint64_t sets[MOST_SETS];
    size_t n_sets, n_order;
};

/* Connected pieces of the shared edges into shared->motifs, those of most circuits first. sharing->parent is the
 * caller's to free. */
int list_motifs(struct sharing *sharing);

#endif
