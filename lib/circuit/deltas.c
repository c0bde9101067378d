/* What each node and each edge of a circuit is worth: the rise of the task loss without it. */
#include <string.h>

#include "circuit/judge.h"

void circuit_drop_deltas(struct sn_circuit *circuit)
{
    memory_free(circuit->memory, circuit->deltas, circuit->n_deltas * sizeof *circuit->deltas);
    circuit->deltas = NULL;
    circuit->n_deltas = 0;
}

int circuit_make_deltas(struct sn_circuit *circuit, struct sn_context *context)
{
    size_t n = circuit->graph.n_nodes + circuit->graph.n_edges;
    struct delta *deltas = memory_allocate_zeroed_array(circuit->memory, n, sizeof *deltas);
    if (!deltas)
        return fail_memory(context, "ablation deltas", n * sizeof *deltas);
    circuit_drop_deltas(circuit);
    circuit->deltas = deltas;
    circuit->n_deltas = n;
    return SN_OK;
}

/* One run of the circuit less something, under the whole circuit's calibration. */
struct ablation {
    struct judge judge;
    struct calibration calibration; /* of the whole circuit */
    struct delta whole;             /* its losses */
    unsigned char *kept, *kept_edges;
    size_t n_nodes, n_edges;
};

static int measure(struct delta *losses, struct ablation *ablation)
{
    static const struct calibration raw = {1, 0};
    struct judge *judge = &ablation->judge;
    struct measurement measured[JUDGE_SETS];
    int status = judge_measure(measured, judge, ablation->kept, SN_ABLATE_REST, ALL_PAIRS);
    if (status != SN_OK)
        return status;
    const double *difference = judge->differences[JUDGE_TASK];
    size_t n = 2 * judge->n_pairs[JUDGE_TASK];
    if (!losses) { /* the whole circuit */
        ablation->calibration = measured[JUDGE_TASK].calibration;
        losses = &ablation->whole;
    }
    losses->loss = calibrated_loss(difference, n, ablation->calibration);
    losses->raw_loss = calibrated_loss(difference, n, raw);
    return SN_OK;
}

/* Without what *part stands for, a node or an edge. */
static int measure_without(struct delta *delta, struct ablation *ablation, unsigned char *part)
{
    *part = 0;
    int status = measure(delta, ablation);
    *part = 1;
    delta->loss -= ablation->whole.loss;
    delta->raw_loss -= ablation->whole.raw_loss;
    return status;
}

static int measure_all(struct delta *deltas, struct ablation *ablation, const struct sn_circuit *circuit)
{
    const struct graph *graph = &circuit->graph;
    size_t total = graph->n_nodes + graph->n_edges;
    int status = measure(NULL, ablation);
    for (size_t i = 0; status == SN_OK && i < total; i++) {
        unsigned char *part;
        if (i < graph->n_nodes) {
            part = &ablation->kept[graph->nodes[i]];
        } else {
            const struct edge *edge = &graph->edges[i - graph->n_nodes];
            float weight;
            part = &ablation->kept_edges[edge_find(&weight, circuit->model, &circuit->layout,
                                                   graph->nodes[edge->from], graph->nodes[edge->to])];
        }
        status = measure_without(&deltas[i], ablation, part);
        if (status == SN_OK)
            status = progress(ablation->judge.context, "deltas", i + 1, total, deltas[i].loss);
    }
    return status;
}

static int open_ablation(struct ablation *ablation, struct sn_context *context,
                         const struct sn_circuit *circuit, const struct sn_means *means,
                         const struct sn_task *fit, const struct sn_task *task)
{
    struct memory *memory = context->memory;
    ablation->n_nodes = circuit->layout.n_nodes;
    ablation->n_edges = edge_count(circuit->model);
    ablation->kept = memory_allocate(memory, ablation->n_nodes);
    ablation->kept_edges = memory_allocate(memory, ablation->n_edges);
    if (!ablation->kept || !ablation->kept_edges)
        return fail_memory(context, "sets of nodes and edges", ablation->n_nodes + ablation->n_edges);
    memcpy(ablation->kept, circuit->kept, ablation->n_nodes);
    if (circuit->kept_edges)
        memcpy(ablation->kept_edges, circuit->kept_edges, ablation->n_edges);
    else
        memset(ablation->kept_edges, 1, ablation->n_edges);
    int status = judge_open(&ablation->judge, context, circuit->model, means, fit, task, JUDGE_EDGES);
    ablation->judge.kept_edges = ablation->kept_edges;
    return status;
}

int sn_circuit_measure_deltas(sn_circuit *circuit, sn_context *context, const sn_means *means,
                              const sn_task *fit, const sn_task *task)
{
    static const char function[] = "sn_circuit_measure_deltas";
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !fit || !task)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function,
                    !circuit ? "circuit"
                    : !fit   ? "fit"
                             : "task");
    if (sn_task_count(fit) == 0 || sn_task_count(task) == 0)
        return fail(context, SN_ERROR_ARGUMENT, "%s: task %s has no pairs", function,
                    sn_task_name(sn_task_count(fit) ? task : fit));
    int status = means_check(means, context, circuit->model, function);
    if (status != SN_OK)
        return status;
    struct ablation ablation = {.n_nodes = 0};
    status = open_ablation(&ablation, context, circuit, means, fit, task);
    if (status == SN_OK)
        status = circuit_make_deltas(circuit, context);
    if (status == SN_OK)
        status = measure_all(circuit->deltas, &ablation, circuit);
    if (status != SN_OK)
        circuit_drop_deltas(circuit);
    if (ablation.judge.context)
        judge_close(&ablation.judge);
    memory_free(context->memory, ablation.kept, ablation.n_nodes);
    memory_free(context->memory, ablation.kept_edges, ablation.n_edges);
    return status;
}

static int read_delta(double *loss, double *raw_loss, const sn_circuit *circuit, size_t index,
                      size_t first, size_t n)
{
    if (!circuit || index >= n)
        return SN_ERROR_ARGUMENT;
    if (!circuit->deltas)
        return SN_ERROR_STATE;
    if (loss)
        *loss = circuit->deltas[first + index].loss;
    if (raw_loss)
        *raw_loss = circuit->deltas[first + index].raw_loss;
    return SN_OK;
}

int sn_circuit_node_delta(double *loss, double *raw_loss, const sn_circuit *circuit, size_t index)
{
    return read_delta(loss, raw_loss, circuit, index, 0, sn_circuit_node_count(circuit));
}

int sn_circuit_edge_delta(double *loss, double *raw_loss, const sn_circuit *circuit, size_t index)
{
    return read_delta(loss, raw_loss, circuit, index, sn_circuit_node_count(circuit),
                      sn_circuit_edge_count(circuit));
}
