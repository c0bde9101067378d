/* The graph of a circuit. Edges: nonzeros of c_attn, attention c_proj, c_fc and MLP c_proj that join two kept
 * nodes and are not cut. Residual links (a write to later reads of its channel), embedding, unembedding,
 * bigram table and biases are no edges (method: paper 2.3). */
#include <string.h>

#include "circuit/edges.h"

typedef void (*edge_visitor)(void *payload, size_t from, size_t to, float weight);

static void visit_row(const struct edge_part *part, const unsigned char *kept,
                      const unsigned char *kept_edges, size_t row, edge_visitor visit, void *payload)
{
    size_t to = part->to + (row - part->first_row), last = edge_row(part, row + 1);
    for (size_t i = edge_row(part, row); i < last; i++) {
        size_t from = part->from + edge_column(part, row, i);
        if (kept[from] && part->matrix->values[i] != 0 &&
            (!kept_edges || kept_edges[part->first + i - part->first_value]))
            visit(payload, from, to, part->matrix->values[i]);
    }
}

static void visit_edges(const struct sn_model *model, const struct node_layout *layout,
                        const unsigned char *kept, const unsigned char *kept_edges, edge_visitor visit,
                        void *payload)
{
    struct edge_part parts[PARTS_PER_LAYER];
    size_t n_edges = 0;
    for (size_t layer = 0; layer < model->config.n_layer; layer++) {
        edge_parts(parts, &n_edges, model, layout, layer);
        for (size_t p = 0; p < PARTS_PER_LAYER; p++)
            for (size_t r = 0; r < parts[p].n_rows; r++)
                if (kept[parts[p].to + r])
                    visit_row(&parts[p], kept, kept_edges, parts[p].first_row + r, visit, payload);
    }
}

static void count_edge(void *payload, size_t from, size_t to, float weight)
{
    (void)from, (void)to, (void)weight;
    ++*(size_t *)payload;
}

size_t graph_count_edges(const struct sn_model *model, const struct node_layout *layout,
                         const unsigned char *kept, const unsigned char *kept_edges)
{
    size_t n = 0;
    visit_edges(model, layout, kept, kept_edges, count_edge, &n);
    return n;
}

size_t sn_circuit_touching_edge_count(const sn_circuit *circuit)
{
    struct edge_part parts[PARTS_PER_LAYER];
    size_t n = 0, n_edges = 0;
    for (size_t layer = 0; circuit && layer < circuit->model->config.n_layer; layer++) {
        edge_parts(parts, &n_edges, circuit->model, &circuit->layout, layer);
        for (size_t p = 0; p < PARTS_PER_LAYER; p++)
            for (size_t r = parts[p].first_row; r < parts[p].first_row + parts[p].n_rows; r++) {
                int to_kept = circuit->kept[parts[p].to + r - parts[p].first_row];
                for (size_t i = edge_row(&parts[p], r); i < edge_row(&parts[p], r + 1); i++)
                    n += parts[p].matrix->values[i] != 0 &&
                         (to_kept || circuit->kept[parts[p].from + edge_column(&parts[p], r, i)]);
            }
    }
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
                const struct node_layout *layout, const unsigned char *kept,
                const unsigned char *kept_edges)
{
    size_t n_nodes = 0;
    for (size_t i = 0; i < layout->n_nodes; i++)
        n_nodes += kept[i] != 0;
    size_t n_edges = graph_count_edges(model, layout, kept, kept_edges);
    uint32_t *position = memory_allocate_array(context->memory, layout->n_nodes, sizeof *position);
    if (!position)
        return fail_memory(context, "node positions", layout->n_nodes * sizeof *position);
    int status = graph_allocate(graph, context, n_nodes, n_edges);
    if (status == SN_OK) {
        list_nodes(graph, position, model, layout, kept);
        graph->n_edges = 0;
        struct edge_collector collector = {.graph = graph, .position = position};
        visit_edges(model, layout, kept, kept_edges, collect_edge, &collector);
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
