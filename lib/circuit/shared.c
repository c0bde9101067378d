/* What several circuits of one model have in common: nodes, edges, and connected pieces of edges
 * (motifs). A set of circuits is a word with a bit for each. */
#include "circuit/sharing.h"

#include <string.h>

#include "circuit/edges.h"
#include "circuit/order.h"

/* ---- nodes and edges */

static void mark(struct sharing *sharing)
{
    for (size_t i = 0; i < sharing->n_circuits; i++) {
        const sn_circuit *circuit = sharing->circuits[i];
        const struct graph *graph = &circuit->graph;
        for (size_t n = 0; n < graph->n_nodes; n++)
            sharing->of_node[graph->nodes[n]] |= (uint64_t)1 << i;
        for (size_t e = 0; e < graph->n_edges; e++) {
            float weight;
            size_t edge =
                edge_find(&weight, circuit->model, &circuit->layout, graph->nodes[graph->edges[e].from],
                          graph->nodes[graph->edges[e].to]);
            sharing->of_edge[edge] |= (uint64_t)1 << i;
        }
    }
}

/* items with two circuits or more, those of most first; returns how many. */
static size_t order_shared(struct sharing *sharing, const uint64_t *circuits, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        sharing->score[i] = -(double)count_bits(circuits[i]);
        if (count_bits(circuits[i]) >= 2)
            sharing->order[count++] = i;
    }
    order_by_score(sharing->order, count, sharing->score);
    return count;
}

static int list_nodes(struct sharing *sharing)
{
    struct sn_shared *shared = sharing->shared;
    const struct node_layout *layout = sharing->layout;
    size_t n = order_shared(sharing, sharing->of_node, sharing->n_flat);
    shared->nodes = memory_allocate_array(shared->memory, n, sizeof *shared->nodes);
    if (!shared->nodes)
        return fail_memory(sharing->context, "shared nodes", n * sizeof *shared->nodes);
    shared->n_nodes = n;
    for (size_t i = 0; i < n; i++) {
        size_t node = sharing->order[i];
        const struct node_site *site = &layout->sites[node_layout_site(layout, node)];
        shared->nodes[i] = (struct shared_node){.node = node, .circuits = sharing->of_node[node]};
        node_name(shared->nodes[i].name, NODE_NAME_BYTES, sharing->circuits[0]->model, site->site,
                  node - site->first);
        sharing->place[node] = i;
    }
    return SN_OK;
}

/* The ends of the flat edges, which only graphs tell. */
static int list_edges(struct sharing *sharing)
{
    struct sn_shared *shared = sharing->shared;
    size_t n = order_shared(sharing, sharing->of_edge, sharing->n_flat_edges), done = 0;
    size_t *place =
        memory_allocate_array(sharing->context->memory, sharing->n_flat_edges, sizeof *place);
    shared->edges = memory_allocate_array(shared->memory, n, sizeof *shared->edges);
    int status = place && shared->edges
                     ? SN_OK
                     : fail_memory(sharing->context, "shared edges", n * sizeof *shared->edges);
    if (shared->edges)
        shared->n_edges = n;
    for (size_t i = 0; status == SN_OK && i < n; i++)
        place[sharing->order[i]] = i;
    for (size_t i = 0; status == SN_OK && i < sharing->n_circuits && done < n; i++) {
        const struct graph *graph = &sharing->circuits[i]->graph;
        for (size_t e = 0; e < graph->n_edges; e++) {
            float weight;
            size_t from = graph->nodes[graph->edges[e].from], to = graph->nodes[graph->edges[e].to];
            size_t edge = edge_find(&weight, sharing->circuits[i]->model, sharing->layout, from, to);
            uint64_t circuits = sharing->of_edge[edge];
            if (count_bits(circuits) < 2 || (circuits & (((uint64_t)1 << i) - 1)))
                continue; /* an earlier circuit told it */
            shared->edges[place[edge]] =
                (struct shared_edge){.from = from,
                                     .to = to,
                                     .from_node = &shared->nodes[sharing->place[from]],
                                     .to_node = &shared->nodes[sharing->place[to]],
                                     .weight = weight,
                                     .circuits = circuits};
            done++;
        }
    }
    memory_free(sharing->context->memory, place, sharing->n_flat_edges * sizeof *place);
    return status;
}

/* ---- public */

static int allocate(struct sharing *sharing)
{
    struct memory *memory = sharing->context->memory;
    size_t nodes = sharing->n_flat, edges = sharing->n_flat_edges;
    sharing->n_order = nodes > edges ? nodes : edges;
    sharing->of_node = memory_allocate_zeroed_array(memory, nodes, sizeof *sharing->of_node);
    sharing->of_edge = memory_allocate_zeroed_array(memory, edges, sizeof *sharing->of_edge);
    sharing->place = memory_allocate_zeroed_array(memory, nodes, sizeof *sharing->place);
    sharing->order = memory_allocate_array(memory, sharing->n_order, sizeof *sharing->order);
    sharing->score = memory_allocate_array(memory, sharing->n_order, sizeof *sharing->score);
    if (sharing->of_node && sharing->of_edge && sharing->place && sharing->order && sharing->score)
        return SN_OK;
    return fail_memory(sharing->context, "sets of circuits", nodes + edges);
}

static void release(struct sharing *sharing)
{
    struct memory *memory = sharing->context->memory;
    size_t nodes = sharing->n_flat, edges = sharing->n_flat_edges;
    memory_free(memory, sharing->of_node, nodes * sizeof *sharing->of_node);
    memory_free(memory, sharing->of_edge, edges * sizeof *sharing->of_edge);
    memory_free(memory, sharing->place, nodes * sizeof *sharing->place);
    memory_free(memory, sharing->order, sharing->n_order * sizeof *sharing->order);
    memory_free(memory, sharing->score, sharing->n_order * sizeof *sharing->score);
    memory_free(memory, sharing->parent, sharing->shared->n_edges * sizeof *sharing->parent);
}

static int check(sn_context *context, const sn_circuit *const *circuits, size_t n_circuits)
{
    static const char function[] = "sn_shared_create";
    if (!circuits)
        return fail(context, SN_ERROR_ARGUMENT, "%s: circuits is NULL", function);
    if (n_circuits < 1 || n_circuits > MOST_CIRCUITS)
        return fail(context, SN_ERROR_ARGUMENT, "%s: n_circuits is %zu; it must be 1 .. %d", function,
                    n_circuits, MOST_CIRCUITS);
    for (size_t i = 0; i < n_circuits; i++) {
        if (!circuits[i])
            return fail(context, SN_ERROR_ARGUMENT, "%s: circuits[%zu] is NULL", function, i);
        if (circuits[i]->model != circuits[0]->model)
            return fail(context, SN_ERROR_ARGUMENT,
                        "%s: circuits[%zu], \"%.100s\", is of another model than circuits[0]", function,
                        i, circuits[i]->task);
    }
    return SN_OK;
}

static int make(struct sharing *sharing)
{
    int status = allocate(sharing);
    if (status == SN_OK) {
        mark(sharing);
        status = list_nodes(sharing);
    }
    if (status == SN_OK)
        status = list_edges(sharing);
    return status == SN_OK ? list_motifs(sharing) : status;
}

int sn_shared_create(sn_shared **out, sn_context *context, const sn_circuit *const *circuits,
                     size_t n_circuits)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    int status = check(context, circuits, n_circuits);
    if (status != SN_OK)
        return status;
    sn_shared *shared = memory_allocate_zeroed(context->memory, sizeof *shared);
    struct sharing *sharing = memory_allocate_zeroed(context->memory, sizeof *sharing);
    if (!shared || !sharing) {
        memory_free(context->memory, shared, sizeof *shared);
        memory_free(context->memory, sharing, sizeof *sharing);
        return fail_memory(context, "shared parts of circuits", sizeof *shared + sizeof *sharing);
    }
    shared->memory = memory_retain(context->memory);
    sharing->context = context;
    sharing->shared = shared;
    sharing->circuits = circuits;
    sharing->n_circuits = n_circuits;
    sharing->layout = &circuits[0]->layout;
    sharing->n_flat = sharing->layout->n_nodes;
    sharing->n_flat_edges = edge_count(circuits[0]->model);
    status = make(sharing);
    release(sharing);
    memory_free(context->memory, sharing, sizeof *sharing);
    if (status != SN_OK) {
        sn_shared_free(shared);
        return status;
    }
    *out = shared;
    return SN_OK;
}

void sn_shared_free(sn_shared *shared)
{
    if (!shared)
        return;
    struct memory *memory = shared->memory;
    memory_free(memory, shared->nodes, shared->n_nodes * sizeof *shared->nodes);
    memory_free(memory, shared->edges, shared->n_edges * sizeof *shared->edges);
    memory_free(memory, shared->motifs, shared->motif_capacity * sizeof *shared->motifs);
    memory_free(memory, shared->motif_edges, shared->motif_edge_capacity * sizeof *shared->motif_edges);
    memory_free(memory, shared, sizeof *shared);
    memory_release(memory);
}

size_t sn_shared_node_count(const sn_shared *shared)
{
    return shared ? shared->n_nodes : 0;
}

const char *sn_shared_node(uint64_t *circuits, const sn_shared *shared, size_t index)
{
    if (index >= sn_shared_node_count(shared))
        return NULL;
    if (circuits)
        *circuits = shared->nodes[index].circuits;
    return shared->nodes[index].name;
}

size_t sn_shared_edge_count(const sn_shared *shared)
{
    return shared ? shared->n_edges : 0;
}

int sn_shared_edge(const char **from, const char **to, float *weight, uint64_t *circuits,
                   const sn_shared *shared, size_t index)
{
    if (index >= sn_shared_edge_count(shared))
        return SN_ERROR_ARGUMENT;
    const struct shared_edge *edge = &shared->edges[index];
    if (from)
        *from = edge->from_node->name;
    if (to)
        *to = edge->to_node->name;
    if (weight)
        *weight = edge->weight;
    if (circuits)
        *circuits = edge->circuits;
    return SN_OK;
}

size_t sn_shared_motif_count(const sn_shared *shared)
{
    return shared ? shared->n_motifs : 0;
}

int sn_shared_motif(uint64_t *circuits, const size_t **edges, size_t *n_edges, const sn_shared *shared,
                    size_t index)
{
    if (index >= sn_shared_motif_count(shared))
        return SN_ERROR_ARGUMENT;
    if (circuits)
        *circuits = shared->motifs[index].circuits;
    if (edges)
        *edges = shared->motif_edges + shared->motifs[index].first;
    if (n_edges)
        *n_edges = shared->motifs[index].n;
    return SN_OK;
}
