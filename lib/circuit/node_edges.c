/* What stands beside a node in the weights: edges in and out, and the tokens of its residual channel. */
#include <math.h>
#include <string.h>

#include "circuit/edges.h"
#include "circuit/order.h"

struct incident {
    size_t other, edge; /* flat indices */
    float weight;
};

struct incidents {
    struct incident *list; /* NULL: only count */
    size_t n;
};

static void add_incident(struct incidents *incidents, const struct edge_part *part, size_t i,
                         size_t other)
{
    if (part->matrix->values[i] == 0)
        return;
    if (incidents->list)
        incidents->list[incidents->n] =
            (struct incident){other, part->first + i - part->first_value, part->matrix->values[i]};
    incidents->n++;
}

static void visit_part(struct incidents *incidents, const struct edge_part *part, size_t node,
                       int direction)
{
    size_t first = part->first_row, last = part->first_row + part->n_rows;
    if (direction == SN_INCOMING) {
        if (node < part->to || node >= part->to + part->n_rows)
            return;
        first += node - part->to;
        last = first + 1;
    } else if (node < part->from || node >= part->from + part->matrix->cols) {
        return;
    }
    for (size_t row = first; row < last; row++)
        for (size_t i = edge_row(part, row); i < edge_row(part, row + 1); i++) {
            size_t from = part->from + edge_column(part, row, i), to = part->to + row - part->first_row;
            if (direction == SN_INCOMING)
                add_incident(incidents, part, i, from);
            else if (from == node)
                add_incident(incidents, part, i, to);
        }
}

static void visit_all(struct incidents *incidents, const struct sn_model *model,
                      const struct node_layout *layout, size_t node, int direction)
{
    struct edge_part parts[PARTS_PER_LAYER];
    size_t n_edges = 0;
    incidents->n = 0;
    for (size_t layer = 0; layer < model->config.n_layer; layer++) {
        edge_parts(parts, &n_edges, model, layout, layer);
        for (size_t p = 0; p < PARTS_PER_LAYER; p++)
            visit_part(incidents, &parts[p], node, direction);
    }
}

static void describe(sn_node_edge *edge, const struct incident *incident, const struct sn_model *model,
                     const struct node_layout *layout, const struct sn_circuit *circuit, size_t node)
{
    const struct node_site *site = &layout->sites[node_layout_site(layout, incident->other)];
    memset(edge, 0, sizeof *edge);
    node_name(edge->node, sizeof edge->node, model, site->site, incident->other - site->first);
    edge->weight = incident->weight;
    edge->in_circuit = circuit && circuit->kept[incident->other];
    edge->used = edge->in_circuit && circuit->kept[node] &&
                 (!circuit->kept_edges || circuit->kept_edges[incident->edge]);
}

/* Copies out in the order of strength. */
static int list_edges(sn_node_edge *edges, struct sn_context *context, const struct sn_model *model,
                      const struct node_layout *layout, const struct sn_circuit *circuit, size_t node,
                      int direction, size_t n)
{
    struct memory *memory = context->memory;
    struct incidents incidents = {memory_allocate_array(memory, n, sizeof *incidents.list), 0};
    size_t *order = memory_allocate_array(memory, n, sizeof *order);
    double *score = memory_allocate_array(memory, n, sizeof *score);
    int status = incidents.list && order && score
                     ? SN_OK
                     : fail_memory(context, "a node's edges", n * sizeof *incidents.list);
    if (status == SN_OK) {
        visit_all(&incidents, model, layout, node, direction);
        for (size_t i = 0; i < n; i++) {
            order[i] = i;
            score[i] = -fabs((double)incidents.list[i].weight);
        }
        order_by_score(order, n, score);
        for (size_t i = 0; i < n; i++)
            describe(&edges[i], &incidents.list[order[i]], model, layout, circuit, node);
    }
    memory_free(memory, incidents.list, n * sizeof *incidents.list);
    memory_free(memory, order, n * sizeof *order);
    memory_free(memory, score, n * sizeof *score);
    return status;
}

static int find_node(size_t *index, struct sn_context *context, const struct node_layout *layout,
                     const struct sn_model *model, const char *node, const char *function)
{
    *index = node_layout_find(layout, model, node);
    return *index != NO_NODE ? SN_OK
                             : fail(context, SN_ERROR_ARGUMENT,
                                    "%s: \"%.100s\" is no node of this model", function, node);
}

int sn_node_edges(sn_node_edge *edges, size_t capacity, size_t *needed, sn_context *context,
                  const sn_model *model, const sn_circuit *circuit, const char *node, int direction)
{
    static const char function[] = "sn_node_edges";
    struct node_layout layout;
    struct incidents count = {NULL, 0};
    size_t index;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!model || !node)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function, model ? "node" : "model");
    if (circuit && circuit->model != model)
        return fail(context, SN_ERROR_ARGUMENT, "%s: the circuit belongs to another model", function);
    if (direction != SN_INCOMING && direction != SN_OUTGOING)
        return fail(context, SN_ERROR_ARGUMENT, "%s: direction is %d", function, direction);
    int status = node_layout_create(&layout, context, model);
    if (status != SN_OK)
        return status;
    status = find_node(&index, context, &layout, model, node, function);
    if (status == SN_OK) {
        visit_all(&count, model, &layout, index, direction);
        if (edges && capacity >= count.n)
            status = list_edges(edges, context, model, &layout, circuit, index, direction, count.n);
        else
            status = copy_out(context, function, edges, capacity, needed, NULL, count.n, sizeof *edges);
        if (needed)
            *needed = count.n;
    }
    node_layout_free(&layout);
    return status;
}

/* ---- tokens */

/* The residual channel of a read or write; 0 where the node has none. */
static int residual_channel(size_t *channel, const struct sn_model *model, const char *node)
{
    size_t site;
    if (!node_find(&site, channel, model, node) || *channel >= model->config.d_model)
        return 0;
    size_t kind = site % SITES_PER_LAYER;
    return kind == SITE_ATTN_ACT_IN || kind == SITE_ATTN_DELTA || kind == SITE_MLP_ACT_IN ||
           kind == SITE_MLP_DELTA;
}

static int list_tokens(int32_t *tokens, float *weights, size_t capacity, size_t *needed,
                       struct sn_context *context, const struct sn_matrix *table, size_t channel)
{
    struct memory *memory = context->memory;
    size_t n = 0, rows = table->rows;
    size_t *order = memory_allocate_array(memory, rows, sizeof *order);
    double *score = memory_allocate_array(memory, rows, sizeof *score);
    int status =
        order && score ? SN_OK : fail_memory(context, "tokens of a channel", rows * sizeof *score);
    for (size_t row = 0; status == SN_OK && row < rows; row++) {
        score[row] = -fabs((double)matrix_at(table, row, channel));
        if (score[row] != 0)
            order[n++] = row;
    }
    if (status == SN_OK) {
        order_by_score(order, n, score);
        *needed = n;
        if (n > capacity || !tokens)
            status =
                copy_out(context, "sn_node_tokens", tokens, capacity, needed, NULL, n, sizeof *tokens);
        for (size_t i = 0; status == SN_OK && tokens && i < n; i++) {
            tokens[i] = (int32_t)order[i];
            if (weights)
                weights[i] = matrix_at(table, order[i], channel);
        }
    }
    memory_free(memory, order, rows * sizeof *order);
    memory_free(memory, score, rows * sizeof *score);
    return status;
}

int sn_node_tokens(int32_t *tokens, float *weights, size_t capacity, size_t *needed, sn_context *context,
                   const sn_model *model, const char *node, int table)
{
    static const char function[] = "sn_node_tokens";
    size_t site, channel, count = 0;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!model || !node)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function, model ? "node" : "model");
    if (table != SN_TOKENS_EMBEDDING && table != SN_TOKENS_UNEMBEDDING)
        return fail(context, SN_ERROR_ARGUMENT, "%s: table is %d", function, table);
    if (!node_find(&site, &channel, model, node))
        return fail(context, SN_ERROR_ARGUMENT, "%s: \"%.100s\" is no node of this model", function,
                    node);
    int parameter = table == SN_TOKENS_EMBEDDING ? model->wte : model->lm_head, status = SN_OK;
    if (residual_channel(&channel, model, node))
        status = list_tokens(tokens, weights, capacity, &count, context,
                             model->parameters[parameter].matrix, channel);
    if (needed)
        *needed = count;
    return status;
}
