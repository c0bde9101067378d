/* Edges: nonzeros of c_attn, attention c_proj, c_fc and MLP c_proj that join two kept nodes. A column of
 * attention c_proj is a channel of attn.y, which is the v channel carried along by attention, so its
 * edges run from v to resid_delta. Residual links (a write to later reads of its channel), embedding,
 * unembedding, bigram table and biases are no edges (method: paper 2.3). */
#include "circuit/circuit.h"

#include <string.h>

/* Rows first_row .. first_row + n_rows - 1 of a matrix, as edges between two sites. */
struct weight_map {
    const struct sn_matrix *matrix;
    size_t first_row, n_rows;
    size_t to, from; /* flat index of the node of first_row, and of column 0 */
};

#define MAPS_PER_LAYER 6

static struct weight_map map_of(const struct sn_model *model, const struct node_layout *layout,
                                size_t layer, int parameter, enum site_kind to, enum site_kind from,
                                size_t part)
{
    size_t to_site = site_index(layer, to), rows = site_width(&model->config, to_site);
    return (struct weight_map){.matrix = model->parameters[parameter].matrix,
                               .first_row = part * rows,
                               .n_rows = rows,
                               .to = node_layout_first(layout, to_site),
                               .from = node_layout_first(layout, site_index(layer, from))};
}

/* In the order of their `to` sites, so that edges come out sorted. */
static void layer_maps(struct weight_map maps[MAPS_PER_LAYER], const struct sn_model *model,
                       const struct node_layout *layout, size_t layer)
{
    const struct layer_parameters *p = &model->layers[layer];
    maps[0] = map_of(model, layout, layer, p->c_attn, SITE_ATTN_K, SITE_ATTN_ACT_IN, 1);
    maps[1] = map_of(model, layout, layer, p->c_attn, SITE_ATTN_Q, SITE_ATTN_ACT_IN, 0);
    maps[2] = map_of(model, layout, layer, p->c_attn, SITE_ATTN_V, SITE_ATTN_ACT_IN, 2);
    maps[3] = map_of(model, layout, layer, p->attn_proj, SITE_ATTN_DELTA, SITE_ATTN_V, 0);
    maps[4] = map_of(model, layout, layer, p->c_fc, SITE_MLP_POST_ACT, SITE_MLP_ACT_IN, 0);
    maps[5] = map_of(model, layout, layer, p->mlp_proj, SITE_MLP_DELTA, SITE_MLP_POST_ACT, 0);
}

typedef void (*edge_visitor)(void *payload, size_t from, size_t to, float weight);

static void visit_row(const struct weight_map *map, const unsigned char *kept, size_t row,
                      edge_visitor visit, void *payload)
{
    const struct sn_matrix *matrix = map->matrix;
    const struct pattern *pattern = matrix->pattern;
    size_t to = map->to + (row - map->first_row);
    size_t first = pattern ? pattern->row_start[row] : row * matrix->cols;
    size_t last = pattern ? pattern->row_start[row + 1] : first + matrix->cols;
    for (size_t e = first; e < last; e++) {
        size_t from = map->from + (pattern ? pattern_column(pattern, e) : e - first);
        if (kept[from] && matrix->values[e] != 0)
            visit(payload, from, to, matrix->values[e]);
    }
}

static void visit_edges(const struct sn_model *model, const struct node_layout *layout,
                        const unsigned char *kept, edge_visitor visit, void *payload)
{
    struct weight_map maps[MAPS_PER_LAYER];
    for (size_t layer = 0; layer < model->config.n_layer; layer++) {
        layer_maps(maps, model, layout, layer);
        for (size_t m = 0; m < MAPS_PER_LAYER; m++)
            for (size_t r = 0; r < maps[m].n_rows; r++)
                if (kept[maps[m].to + r])
                    visit_row(&maps[m], kept, maps[m].first_row + r, visit, payload);
    }
}

static void count_edge(void *payload, size_t from, size_t to, float weight)
{
    (void)from, (void)to, (void)weight;
    ++*(size_t *)payload;
}

size_t graph_count_edges(const struct sn_model *model, const struct node_layout *layout,
                         const unsigned char *kept)
{
    size_t n = 0;
    visit_edges(model, layout, kept, count_edge, &n);
    return n;
}

struct edge_collector {
    struct graph *graph;
    const uint32_t *position; /* of each kept node in the graph's list */
};

static void collect_edge(void *payload, size_t from, size_t to, float weight)
{
    struct edge_collector *collector = payload;
    struct graph *graph = collector->graph;
    graph->edges[graph->n_edges++] = (struct edge){
        .from = collector->position[from], .to = collector->position[to], .weight = weight};
}

static int graph_allocate(struct graph *graph, struct sn_context *context, size_t n_nodes,
                          size_t n_edges)
{
    memset(graph, 0, sizeof *graph);
    graph->memory = memory_retain(context->memory);
    graph->n_nodes = n_nodes;
    graph->n_edges = n_edges;
    graph->nodes = memory_allocate_array(graph->memory, n_nodes, sizeof *graph->nodes);
    graph->names = memory_allocate_array(graph->memory, n_nodes, NODE_NAME_BYTES);
    graph->edges = memory_allocate_array(graph->memory, n_edges, sizeof *graph->edges);
    graph->first_edge = memory_allocate_array(graph->memory, n_nodes + 1, sizeof *graph->first_edge);
    if (graph->nodes && graph->names && graph->edges && graph->first_edge)
        return SN_OK;
    graph_free(graph);
    return fail_memory(context, "the circuit's graph", 0);
}

/* Node list, names, and where each node stands in the list. */
static void list_nodes(struct graph *graph, uint32_t *position, const struct sn_model *model,
                       const struct node_layout *layout, const unsigned char *kept)
{
    size_t n = 0;
    for (size_t s = 0; s < layout->n_sites; s++) {
        const struct node_site *site = &layout->sites[s];
        for (size_t c = 0; c < site->width; c++) {
            if (!kept[site->first + c])
                continue;
            position[site->first + c] = (uint32_t)n;
            graph->nodes[n] = site->first + c;
            node_name(graph->names[n], NODE_NAME_BYTES, model, site->site, c);
            n++;
        }
    }
}

int graph_build(struct graph *graph, struct sn_context *context, const struct sn_model *model,
                const struct node_layout *layout, const unsigned char *kept)
{
    size_t n_nodes = 0;
    for (size_t i = 0; i < layout->n_nodes; i++)
        n_nodes += kept[i] != 0;
    size_t n_edges = graph_count_edges(model, layout, kept);
    uint32_t *position = memory_allocate_array(context->memory, layout->n_nodes, sizeof *position);
    if (!position)
        return fail_memory(context, "node positions", layout->n_nodes * sizeof *position);
    int status = graph_allocate(graph, context, n_nodes, n_edges);
    if (status == SN_OK) {
        list_nodes(graph, position, model, layout, kept);
        graph->n_edges = 0;
        struct edge_collector collector = {.graph = graph, .position = position};
        visit_edges(model, layout, kept, collect_edge, &collector);
        for (size_t i = 0, e = 0; i <= n_nodes; i++) {
            while (e < n_edges && graph->edges[e].to < i)
                e++;
            graph->first_edge[i] = e;
        }
    }
    memory_free(context->memory, position, layout->n_nodes * sizeof *position);
    return status;
}

void graph_free(struct graph *graph)
{
    if (!graph->memory)
        return;
    memory_free(graph->memory, graph->nodes, graph->n_nodes * sizeof *graph->nodes);
    memory_free(graph->memory, graph->names, graph->n_nodes * NODE_NAME_BYTES);
    memory_free(graph->memory, graph->edges, graph->n_edges * sizeof *graph->edges);
    memory_free(graph->memory, graph->first_edge, (graph->n_nodes + 1) * sizeof *graph->first_edge);
    memory_release(graph->memory);
    memset(graph, 0, sizeof *graph);
}
