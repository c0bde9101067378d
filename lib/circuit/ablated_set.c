#include "circuit/ablated_set.h"

#include <string.h>

static int cut_edges(struct ablated_set *set, struct sn_context *context,
                     const struct sn_circuit *circuit)
{
    const struct graph *graph = &circuit->graph;
    set->n_nodes = circuit->layout.n_nodes;
    set->n_edges = edge_count(circuit->model);
    set->all_nodes = memory_allocate(set->memory, set->n_nodes);
    set->other_edges = memory_allocate(set->memory, set->n_edges);
    if (!set->all_nodes || !set->other_edges)
        return fail_memory(context, "a set of edges", set->n_nodes + set->n_edges);
    memset(set->all_nodes, 1, set->n_nodes);
    memset(set->other_edges, 1, set->n_edges);
    for (size_t i = 0; i < graph->n_edges; i++) {
        const struct edge *edge = &graph->edges[i];
        float weight;
        size_t place = edge_find(&weight, circuit->model, &circuit->layout, graph->nodes[edge->from],
                                 graph->nodes[edge->to]);
        if (place != NO_NODE)
            set->other_edges[place] = 0;
    }
    set->kept = set->all_nodes;
    set->kept_edges = set->other_edges;
    set->ablate = SN_ABLATE_REST;
    return SN_OK;
}

int ablated_set_open(struct ablated_set *set, struct sn_context *context,
                     const struct sn_circuit *circuit, int ablate)
{
    *set = (struct ablated_set){.memory = memory_retain(context->memory),
                                .kept = circuit ? circuit->kept : NULL,
                                .kept_edges =
                                    circuit && ablate == SN_ABLATE_REST ? circuit->kept_edges : NULL,
                                .ablate = ablate};
    int status = ablate == SN_ABLATE_EDGES ? cut_edges(set, context, circuit) : SN_OK;
    if (status != SN_OK)
        ablated_set_close(set);
    return status;
}

void ablated_set_close(struct ablated_set *set)
{
    if (!set->memory)
        return;
    memory_free(set->memory, set->all_nodes, set->n_nodes);
    memory_free(set->memory, set->other_edges, set->n_edges);
    memory_release(set->memory);
    memset(set, 0, sizeof *set);
}
