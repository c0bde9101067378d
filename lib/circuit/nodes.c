/* Circuits as sets of nodes: made by hand, listed. */
#include <string.h>

#include "circuit/edges.h"

int circuit_set_edges(struct sn_circuit *circuit, struct sn_context *context, const unsigned char *kept,
                      const unsigned char *kept_edges)
{
    struct graph graph;
    size_t n_edges = edge_count(circuit->model);
    unsigned char *edges = kept_edges ? memory_allocate(circuit->memory, n_edges) : NULL;
    if (kept_edges && !edges)
        return fail_memory(context, "a circuit's edges", n_edges);
    int status = graph_build(&graph, context, circuit->model, &circuit->layout, kept, kept_edges);
    if (status != SN_OK) {
        memory_free(circuit->memory, edges, n_edges);
        return status;
    }
    if (edges)
        memcpy(edges, kept_edges, n_edges);
    memory_free(circuit->memory, circuit->kept_edges, n_edges);
    circuit->kept_edges = edges;
    graph_free(&circuit->graph);
    circuit->graph = graph;
    memmove(circuit->kept, kept, circuit->layout.n_nodes);
    circuit_drop_labels(circuit, circuit->kept);
    circuit_drop_paths(circuit);
    circuit_drop_deltas(circuit);
    circuit_drop_measurements(circuit);
    circuit_drop_series(circuit);
    return SN_OK;
}

int circuit_set_nodes(struct sn_circuit *circuit, struct sn_context *context, const unsigned char *kept)
{
    return circuit_set_edges(circuit, context, kept, NULL);
}

void circuit_drop_paths(struct sn_circuit *circuit)
{
    for (size_t i = 0; i < circuit->n_paths; i++)
        memory_free(circuit->memory, circuit->paths[i].text, strlen(circuit->paths[i].text) + 1);
    memory_free(circuit->memory, circuit->paths, circuit->n_paths * sizeof *circuit->paths);
    circuit->paths = NULL;
    circuit->n_paths = 0;
}

int sn_circuit_create(sn_circuit **out, sn_context *context, sn_model *model, const char *task)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!model)
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_create: model is NULL");
    sn_circuit *circuit = memory_allocate_zeroed(context->memory, sizeof *circuit);
    if (!circuit)
        return fail_memory(context, "a circuit", sizeof *circuit);
    circuit->memory = memory_retain(context->memory);
    circuit->model = sn_model_retain(model);
    if (!task)
        task = "";
    int status = node_layout_create(&circuit->layout, context, model);
    if (status == SN_OK) {
        circuit->kept = memory_allocate_zeroed(circuit->memory, circuit->layout.n_nodes);
        circuit->task = memory_copy_text(circuit->memory, task, strlen(task));
        if (!circuit->kept || !circuit->task)
            status = fail_memory(context, "a circuit", circuit->layout.n_nodes);
    }
    if (status == SN_OK)
        status = graph_build(&circuit->graph, context, model, &circuit->layout, circuit->kept, NULL);
    if (status != SN_OK) {
        sn_circuit_free(circuit);
        return status;
    }
    *out = circuit;
    return SN_OK;
}

void sn_circuit_free(sn_circuit *circuit)
{
    if (!circuit)
        return;
    struct memory *memory = circuit->memory;
    circuit_drop_paths(circuit);
    circuit_drop_deltas(circuit);
    circuit_drop_measurements(circuit);
    circuit_drop_series(circuit);
    circuit_drop_labels(circuit, NULL);
    graph_free(&circuit->graph);
    memory_free(memory, circuit->kept, circuit->layout.n_nodes);
    memory_free(memory, circuit->kept_edges, edge_count(circuit->model));
    if (circuit->task)
        memory_free(memory, circuit->task, strlen(circuit->task) + 1);
    node_layout_free(&circuit->layout);
    sn_model_free(circuit->model);
    memory_free(memory, circuit, sizeof *circuit);
    memory_release(memory);
}

static int set_node(sn_circuit *circuit, sn_context *context, const char *node, int kept,
                    const char *function)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !node)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function,
                    circuit ? "node" : "circuit");
    size_t site, channel;
    if (!node_find(&site, &channel, circuit->model, node) ||
        node_layout_first(&circuit->layout, site) == NO_NODE)
        return fail(context, SN_ERROR_ARGUMENT, "%s: \"%s\" is no node of this model", function, node);
    size_t index = node_layout_first(&circuit->layout, site) + channel;
    unsigned char before = circuit->kept[index];
    circuit->kept[index] = (unsigned char)kept;
    int status = circuit_set_edges(circuit, context, circuit->kept, circuit->kept_edges);
    if (status != SN_OK)
        circuit->kept[index] = before;
    return status;
}

int sn_circuit_add_node(sn_circuit *circuit, sn_context *context, const char *node)
{
    return set_node(circuit, context, node, 1, "sn_circuit_add_node");
}

int sn_circuit_remove_node(sn_circuit *circuit, sn_context *context, const char *node)
{
    return set_node(circuit, context, node, 0, "sn_circuit_remove_node");
}

size_t sn_circuit_node_count(const sn_circuit *circuit)
{
    return circuit ? circuit->graph.n_nodes : 0;
}

const char *sn_circuit_node_name(const sn_circuit *circuit, size_t index)
{
    return circuit && index < circuit->graph.n_nodes ? circuit->graph.names[index] : NULL;
}

size_t sn_circuit_edge_count(const sn_circuit *circuit)
{
    return circuit ? circuit->graph.n_edges : 0;
}

int sn_circuit_edge(size_t *from, size_t *to, float *weight, const sn_circuit *circuit, size_t index)
{
    if (!circuit || index >= circuit->graph.n_edges)
        return SN_ERROR_ARGUMENT;
    const struct edge *edge = &circuit->graph.edges[index];
    if (from)
        *from = edge->from;
    if (to)
        *to = edge->to;
    if (weight)
        *weight = edge->weight;
    return SN_OK;
}

size_t sn_circuit_path_count(const sn_circuit *circuit)
{
    return circuit ? circuit->n_paths : 0;
}

const char *sn_circuit_path(double *weight, double *contribution, const sn_circuit *circuit,
                            size_t index)
{
    if (!circuit || index >= circuit->n_paths)
        return NULL;
    if (weight)
        *weight = circuit->paths[index].weight;
    if (contribution)
        *contribution = circuit->paths[index].contribution;
    return circuit->paths[index].text;
}
