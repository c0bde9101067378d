/* Where the nodes of a circuit stand in a picture: columns in the order of the forward pass. */
#ifndef SN_REPORT_CIRCUIT_LAYOUT_H
#define SN_REPORT_CIRCUIT_LAYOUT_H

#include "base/context.h"
#include "report/node_parts.h"

#define LAYOUT_MAX_EDGES 4000
#define LAYOUT_MAX_RESIDUAL 2000

struct layout_node {
    struct node_parts parts;
    size_t index, column, letters; /* letters of the line above the dot */
    double x, y;
    double wish, head_wish, pull; /* where its neighbours stand, those of its head; what they weigh */
};

struct layout_link {
    size_t from, to; /* places in nodes */
    size_t from_column, to_column;
    double weight; /* 0 for a residual link */
};

struct layout_column {
    size_t first, n; /* of nodes */
    double left, width;
};

/* The heaviest edges at most, and residual links at most; nodes stand column by column, from top to bottom. */
struct circuit_layout {
    struct memory *memory; /* lent */
    size_t n_nodes, n_links, n_edges, n_columns;
    size_t links_capacity;
    struct layout_node *nodes;
    struct layout_link *links; /* n_edges edges, heaviest first, then residual links */
    struct layout_link *scratch;
    struct layout_column *columns; /* n_nodes at most */
    size_t *places;                /* of a node's index in nodes */
    double row, width, height;     /* of the picture without margins */
};

/* Letters shown of a label. */
#define LAYOUT_LABEL_LETTERS 28
/* "86", or "h1 q2" where the site has heads. */
#define LAYOUT_NAME 48
void layout_node_name(char name[LAYOUT_NAME], const struct node_parts *parts);
size_t layout_letters(const char *text);

/* SN_ERROR_MEMORY; layout_free either way. */
int layout_make(struct circuit_layout *layout, sn_context *context, const sn_circuit *circuit);
void layout_free(struct circuit_layout *layout);

#endif
