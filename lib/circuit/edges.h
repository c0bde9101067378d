/* The edges of a model as one flat list, and models in which single edges carry a mean.
 *
 * Entries of c_attn, attention c_proj, c_fc and MLP c_proj, on and off the nodes of any circuit, layer by
 * layer and in the order of the nodes that they go to. A gate g on the edge with weight w from a source with
 * mean m gives w (g x + (1 - g) m): the same as the weight g w beside a bias of (1 - g) w m. So a model under
 * edge gates is a model with other values over the same patterns, and the gradient by a gate follows from
 * those by its weight and its bias. */
#ifndef SN_CIRCUIT_EDGES_H
#define SN_CIRCUIT_EDGES_H

#include "circuit/circuit.h"
#include "model/session.h"

#define PARTS_PER_LAYER 6

/* Rows first_row .. first_row + n_rows - 1 of one matrix: edges between two sites. */
struct edge_part {
    const struct sn_matrix *matrix;
    int parameter, bias; /* of the model; bias -1 where it has none */
    size_t first_row, n_rows;
    size_t to, from;       /* flat index of the node of first_row, and of column 0 */
    size_t first_value;    /* index of its first entry in matrix->values */
    size_t first, n_edges; /* in the flat list */
};

/* Those of a layer, in the order of their `to` sites; `first` counts on from *n_edges. */
void edge_parts(struct edge_part parts[PARTS_PER_LAYER], size_t *n_edges, const struct sn_model *model,
                const struct node_layout *layout, size_t layer);
/* Length of the flat list. */
size_t edge_count(const struct sn_model *model);
/* The first entry of a row of the matrix, as an index into its values. */
static inline size_t edge_row(const struct edge_part *part, size_t row)
{
    const struct pattern *pattern = part->matrix->pattern;
    return pattern ? pattern->row_start[row] : row * part->matrix->cols;
}
/* The column of value `i` in row `row`. */
static inline size_t edge_column(const struct edge_part *part, size_t row, size_t i)
{
    const struct pattern *pattern = part->matrix->pattern;
    return pattern ? pattern_column(pattern, i) : i - row * part->matrix->cols;
}

/* Place in the flat list of the edge between two nodes (flat indices) and its weight; NO_NODE where the model has
 * none: no entry, or a zero. */
size_t edge_find(float *weight, const struct sn_model *model, const struct node_layout *layout,
                 size_t from, size_t to);

/* ---- gated.c */
struct gated_model {
    struct memory *memory; /* retained; NULL before gated_create */
    struct sn_model *model;
    const struct sn_model *original; /* lent */
    struct edge_part *parts;         /* of `model` */
    const float **source_means;      /* of each part: by column */
    const float **weights;           /* of each part: the original matrix's values */
    size_t n_parts, n_edges;
    float *gradient; /* n_edges, of the last gated_gradient */
};

/* means are lent. All gates 1. */
int gated_create(struct gated_model *gated, struct sn_context *context, const struct sn_model *model,
                 const struct node_layout *layout, const struct sn_means *means);
void gated_free(struct gated_model *gated);
/* kept[i] 0: edge i carries the mean of its source (kept NULL: none does). The same bits for the same set,
 * however it came about. `backward`: a backward will follow. */
int gated_set(struct gated_model *gated, struct sn_context *context, const unsigned char *kept,
              int backward);
/* Every gate at `level`; a backward will follow. */
int gated_set_level(struct gated_model *gated, struct sn_context *context, float level);
/* The loss's derivative by every gate into gated->gradient, from a session of gated->model that kept
 * gradients on the support. */
void gated_gradient(struct gated_model *gated, struct sn_session *session);

#endif
