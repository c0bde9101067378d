/* Union, intersection and difference of circuits of one model. */
#include <string.h>

#include "base/buffer.h"
#include "circuit/edges.h"
#include "circuit/labels.h"

/* A byte for each edge of the model: those of the circuit's graph. */
static int mark_edges(unsigned char *marked, const struct sn_circuit *circuit)
{
    const struct graph *graph = &circuit->graph;
    for (size_t i = 0; i < graph->n_edges; i++) {
        float weight;
        size_t edge = edge_find(&weight, circuit->model, &circuit->layout,
                                graph->nodes[graph->edges[i].from], graph->nodes[graph->edges[i].to]);
        if (edge == NO_NODE)
            return 0;
        marked[edge] = 1;
    }
    return 1;
}

/* of[i] (a, b: 0 or 1) by the operation; the difference of edges is that of nodes: a's edges between what is left. */
static void combine_nodes(unsigned char *out, const unsigned char *a, const unsigned char *b, size_t n,
                          int operation)
{
    for (size_t i = 0; i < n; i++)
        out[i] = operation == SN_UNION          ? a[i] || b[i]
                 : operation == SN_INTERSECTION ? a[i] && b[i]
                                                : a[i] && !b[i];
}

static int name_combined(struct buffer *name, const sn_circuit *a, const sn_circuit *b, int operation)
{
    static const char signs[] = {'|', '&', '-'};
    buffer_format(name, "%s %c %s", a->task, signs[operation], b->task);
    return !name->failed;
}

struct sets {
    unsigned char *nodes, *edges, *edges_b;
    size_t n_nodes, n_edges;
};

static int combine_sets(sn_circuit *circuit, sn_context *context, const sn_circuit *a,
                        const sn_circuit *b, int operation, struct sets *sets)
{
    if (!sets->nodes || !sets->edges || !sets->edges_b)
        return fail_memory(context, "sets of nodes and edges", sets->n_nodes + 2 * sets->n_edges);
    combine_nodes(sets->nodes, a->kept, b->kept, sets->n_nodes, operation);
    if (!a->kept_edges && !b->kept_edges && operation != SN_UNION)
        return circuit_set_nodes(circuit, context, sets->nodes);
    mark_edges(sets->edges, a);
    mark_edges(sets->edges_b, b);
    if (operation != SN_DIFFERENCE)
        combine_nodes(sets->edges, sets->edges, sets->edges_b, sets->n_edges, operation);
    return circuit_set_edges(circuit, context, sets->nodes, sets->edges);
}

int sn_circuit_combine(sn_circuit **out, sn_context *context, const sn_circuit *a, const sn_circuit *b,
                       int operation)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!a || !b)
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_combine: %s is NULL", a ? "b" : "a");
    if (operation < SN_UNION || operation > SN_DIFFERENCE)
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_combine: operation is %d", operation);
    if (a->model != b->model)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_circuit_combine: circuits \"%s\" and \"%s\" are of different models", a->task,
                    b->task);
    struct memory *memory = context->memory;
    struct buffer name;
    struct sets sets = {.n_nodes = a->layout.n_nodes, .n_edges = edge_count(a->model)};
    sn_circuit *circuit = NULL;
    buffer_init(&name, memory);
    sets.nodes = memory_allocate_zeroed(memory, sets.n_nodes);
    sets.edges = memory_allocate_zeroed(memory, sets.n_edges);
    sets.edges_b = memory_allocate_zeroed(memory, sets.n_edges);
    int status = name_combined(&name, a, b, operation)
                     ? sn_circuit_create(&circuit, context, a->model, name.bytes)
                     : fail_memory(context, "a name", 0);
    if (status == SN_OK)
        status = combine_sets(circuit, context, a, b, operation, &sets);
    if (status == SN_OK)
        status = circuit_join_labels(circuit, context, a, operation == SN_DIFFERENCE ? NULL : b);
    memory_free(memory, sets.nodes, sets.n_nodes);
    memory_free(memory, sets.edges, sets.n_edges);
    memory_free(memory, sets.edges_b, sets.n_edges);
    buffer_free(&name);
    if (status != SN_OK) {
        sn_circuit_free(circuit);
        return status;
    }
    *out = circuit;
    return SN_OK;
}
