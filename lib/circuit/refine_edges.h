/* Circuits of edges: from learned masks of edges, or from the edges between the nodes of a circuit, to few
 * edges. The nodes are the ends of the kept edges; a kept edge's weight carries its source, all others of the
 * model their source's mean. Judged as in circuit/refine.h. */
#ifndef SN_CIRCUIT_REFINE_EDGES_H
#define SN_CIRCUIT_REFINE_EDGES_H

#include "circuit/refine.h"

struct edge_refinement {
    struct search *search;     /* opened with JUDGE_EDGES */
    unsigned char *kept;       /* lent: nodes */
    unsigned char *kept_edges; /* gated.n_edges; refined in place */
    size_t *order;             /* edges, in the order last asked for */
    double *score;             /* gated.n_edges */
    size_t n_order, tried, removed;
    size_t held;                /* edge that no order has, so that it stays as it is; NO_NODE: none */
    double floor;               /* of refine_edges_greedy */
    unsigned char *other_edges; /* gated.n_edges: those that are not kept */
    unsigned char *all_nodes;   /* of the model, ones */
};

enum edge_choice { EDGES_ALL, EDGES_KEPT, EDGES_OUTSIDE };

/* All edges between the kept nodes to begin with. */
int edge_refinement_open(struct edge_refinement *refinement, struct search *search, unsigned char *kept);
void edge_refinement_close(struct edge_refinement *refinement);

/* Makes the kept edges those that the judge runs; the nodes follow. */
void edge_refinement_use(struct edge_refinement *refinement);
/* search_meets with the kept edges. */
int edge_refinement_meets(struct edge_refinement *refinement, int *result);
/* order = these edges, ascending by score; ties go to the lower index. */
void edge_refinement_order(struct edge_refinement *refinement, enum edge_choice which);
/* As search_necessity of the model in which the kept edges alone are cut and carry means: all other edges, and all
 * nodes, are as they are. */
int edge_refinement_necessity(struct edge_refinement *refinement);
/* score = that model's loss by the gate of every edge, read with search->complement. */
int edge_refinement_score_complement(struct edge_refinement *refinement);

/* The smallest number of edges, in order of falling tau, that meets the target; SN_ERROR_TARGET when not even
 * all edges do. */
int refine_edges_bisect(struct edge_refinement *refinement, const float *tau);
/* One pass over the kept edges, least attribution first: those that can go, go. While `floor` > 0 the necessity must
 * stay at least that. refinement->removed counts. Progress stage "greedy". */
int refine_edges_greedy(struct edge_refinement *refinement, double floor);
/* One edge after the other, each time the one whose removal raises the loss least. Progress stage
 * "eliminate". */
int refine_edges_eliminate(struct edge_refinement *refinement);

#endif
