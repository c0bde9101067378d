/* Circuits: kept nodes of a model, the nonzero weights between them, and what finds and measures them.
 *
 * A node is one channel at one site; inside this floor it is a flat index into a node_layout. A set of
 * nodes is a byte per node (`kept`), its mask a float per node. docs/circuits.md tells the method. */
#ifndef SN_CIRCUIT_CIRCUIT_H
#define SN_CIRCUIT_CIRCUIT_H

#include <stddef.h>
#include <stdint.h>

#include "base/context.h"
#include "model/model.h"

#define NO_NODE ((size_t)-1)
#define NODE_NAME_BYTES 96

/* ---- node_layout.c: all nodes of a model, by site and then channel */
struct node_site {
    size_t site;  /* index of the model's site */
    size_t width; /* channels */
    size_t first; /* flat index of channel 0 */
};

struct node_layout {
    struct memory *memory; /* retained */
    struct node_site *sites;
    size_t n_sites, n_nodes;
};

int node_layout_create(struct node_layout *layout, struct sn_context *context,
                       const struct sn_model *model);
void node_layout_free(struct node_layout *layout);
/* Flat index of channel 0 of a site, NO_NODE where no nodes live. */
size_t node_layout_first(const struct node_layout *layout, size_t site);
/* The site of a node, as an index into layout->sites. */
size_t node_layout_site(const struct node_layout *layout, size_t node);
/* The node of this name, NO_NODE where the model has none. */
size_t node_layout_find(const struct node_layout *layout, const struct sn_model *model,
                        const char *name);
/* 1 when both are laid out alike. */
int node_layout_equal(const struct node_layout *a, const struct node_layout *b);

/* ---- graph.c: the edges of a set of nodes (paper 2.3; docs/circuits.md) */
struct edge {
    uint32_t from, to; /* positions in the graph's node list */
    float weight;
};

struct graph {
    struct memory *memory;
    size_t *nodes; /* kept nodes as flat indices, ascending */
    size_t n_nodes;
    char (*names)[NODE_NAME_BYTES];
    struct edge *edges; /* by `to`, then `from` */
    size_t n_edges;
    size_t *first_edge; /* n_nodes + 1: edges into node i */
};

/* kept_edges: a byte for each of edge_count(model) edges (circuit/edges.h), NULL = all are kept. */
int graph_build(struct graph *graph, struct sn_context *context, const struct sn_model *model,
                const struct node_layout *layout, const unsigned char *kept,
                const unsigned char *kept_edges);
void graph_free(struct graph *graph);
/* Edges among kept nodes, without building anything. */
size_t graph_count_edges(const struct sn_model *model, const struct node_layout *layout,
                         const unsigned char *kept, const unsigned char *kept_edges);

/* ---- nodes.c */
struct traced_path {
    char *text; /* strlen + 1 bytes */
    double weight, contribution;
};

struct kept_number {
    char *name; /* strlen + 1 bytes */
    double value;
};

/* A curve (series.c). */
#define SERIES_MOST_POINTS 65536
#define SERIES_MOST 4096 /* of a circuit */
struct kept_series {
    char *name; /* strlen + 1 bytes */
    size_t n;
    double *x, *y; /* n each */
};

/* What people say about a node (labels.c). */
struct node_label {
    size_t node;   /* flat index */
    char *text[2]; /* SN_LABEL, SN_NOTE: strlen + 1 bytes each, NULL where there is none */
};

/* The rise of the task loss, nats, when one node or edge of the circuit is ablated as well. */
struct delta {
    double loss, raw_loss;
};

struct sn_circuit {
    struct memory *memory;  /* retained */
    struct sn_model *model; /* retained */
    struct node_layout layout;
    char *task;                /* name, strlen + 1 bytes */
    unsigned char *kept;       /* layout.n_nodes */
    unsigned char *kept_edges; /* edge_count(model), or NULL: all edges between kept nodes */
    struct graph graph;        /* always that of `kept` */
    struct traced_path *paths;
    size_t n_paths;
    struct delta *deltas; /* of the graph's nodes, then of its edges; NULL before they are measured */
    size_t n_deltas;
    struct kept_number *numbers; /* measurements of this very set of nodes, for reports */
    size_t n_numbers, number_capacity;
    struct kept_series *series; /* n_series, likewise */
    size_t n_series;
    struct node_label *labels; /* of kept nodes, in the order first set */
    size_t n_labels, label_capacity;
};

/* Replaces the whole set of nodes, with all edges between them; on failure the old one stands. */
int circuit_set_nodes(struct sn_circuit *circuit, struct sn_context *context, const unsigned char *kept);
/* The same with the edges to be kept (edge_count(model) bytes, copied; NULL = all). */
int circuit_set_edges(struct sn_circuit *circuit, struct sn_context *context, const unsigned char *kept,
                      const unsigned char *kept_edges);
void circuit_drop_paths(struct sn_circuit *circuit);

/* ---- deltas.c */
void circuit_drop_deltas(struct sn_circuit *circuit);
/* Room for those of the graph as it is, zeros. */
int circuit_make_deltas(struct sn_circuit *circuit, struct sn_context *context);

/* ---- labels.c */
/* Those of nodes that are not kept; NULL: all. */
void circuit_drop_labels(struct sn_circuit *circuit, const unsigned char *kept);

/* ---- measurements.c */
void circuit_drop_measurements(struct sn_circuit *circuit);
/* sn_circuit_set_measurement without a look whether the name is there already: many at once. */
int circuit_add_measurement(struct sn_circuit *circuit, struct sn_context *context, const char *name,
                            double value);

/* ---- series.c */
void circuit_drop_series(struct sn_circuit *circuit);

/* ---- means.c */
struct sn_means {
    struct memory *memory;  /* retained */
    struct sn_model *model; /* retained */
    struct node_layout layout;
    float *values; /* layout.n_nodes */
    float *
        carried; /* n_layer x n_head d_head: of attention's output, what its c_proj reads; within `values` */
};

/* Floats of `values`, carried included. */
size_t means_size(const struct sn_means *means);
/* Means given by the caller: means_size floats (copied), or NULL = zeros. */
int means_create_values(struct sn_means **out, struct sn_context *context, struct sn_model *model,
                        const float *values);
/* ---- fold.c */
/* Whether AbsTopK chooses among nodes that linear maps write, so that a folded circuit has to compute ablated ones
 * too. */
int fold_keeps_competitors(const struct config *config);
/* The model of these nodes and all edges between them, all others at their means. */
int fold_nodes(struct sn_model **out, struct sn_context *context, const struct node_layout *layout,
               const unsigned char *kept, const struct sn_means *means);
/* The most that folding holds, and that the folded model does, of a model without such competitors. */
size_t fold_bytes(size_t *folded, const struct sn_model *model);

/* SN_ERROR_ARGUMENT unless the means are those of `model`. */
int means_check(const struct sn_means *means, struct sn_context *context, const struct sn_model *model,
                const char *function);

#endif
