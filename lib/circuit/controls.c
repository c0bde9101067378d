/* A circuit's losses beside those of random circuits of its size. */
#include <math.h>
#include <string.h>

#include "circuit/ablation.h"

enum control_loss { SUFFICIENT, SUFFICIENT_RAW, NECESSARY, NECESSARY_RAW, LOSSES };

/* Of one circuit, LOSSES numbers. */
static int measure(double *losses, sn_context *context, const sn_ablation *ablation,
                   const sn_circuit *circuit, const sn_task *fit, const sn_task *task)
{
    static const int ablate[] = {SN_ABLATE_REST, SN_ABLATE_CIRCUIT};
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < 2; i++) {
        sn_ablation_result result = {.struct_size = sizeof result};
        status = sn_evaluate_ablation(&result, NULL, 0, NULL, context, circuit->model, ablation, circuit,
                                      ablate[i], fit, task);
        losses[2 * i] = result.loss;
        losses[2 * i + 1] = result.raw_loss;
    }
    return status;
}

static void mean_and_spread(double *mean, double *spread, const double *losses, size_t n,
                            enum control_loss which)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += losses[LOSSES * i + which];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double off = losses[LOSSES * i + which] - *mean;
        squares += off * off;
    }
    *spread = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

static void fill_result(sn_controls *result, sn_controls full, const double *own, const double *losses)
{
    size_t n = full.n_controls, size = result->struct_size;
    full.struct_size = size;
    full.nodes /= (double)n; /* from sums */
    full.edges /= (double)n;
    full.circuit_sufficient_raw_loss = own[SUFFICIENT_RAW];
    full.circuit_necessary_loss = own[NECESSARY];
    for (size_t i = 0; i < n; i++) {
        full.n_as_sufficient += losses[LOSSES * i + SUFFICIENT_RAW] <= own[SUFFICIENT_RAW];
        full.n_as_necessary += losses[LOSSES * i + NECESSARY] >= own[NECESSARY];
    }
    mean_and_spread(&full.sufficient_loss, &full.sufficient_loss_spread, losses, n, SUFFICIENT);
    mean_and_spread(&full.sufficient_raw_loss, &full.sufficient_raw_loss_spread, losses, n,
                    SUFFICIENT_RAW);
    mean_and_spread(&full.necessary_loss, &full.necessary_loss_spread, losses, n, NECESSARY);
    mean_and_spread(&full.necessary_raw_loss, &full.necessary_raw_loss_spread, losses, n, NECESSARY_RAW);
    memcpy(result, &full, size < sizeof full ? size : sizeof full);
}

/* The controls one after the other: losses, and the sums of their sizes. */
static int run_controls(double *losses, sn_controls *sums, sn_context *context,
                        const sn_ablation *ablation, const sn_circuit *circuit, uint64_t seed,
                        const sn_task *fit, const sn_task *task)
{
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < sums->n_controls; i++) {
        sn_circuit *control;
        status = sn_circuit_create_random(&control, context, circuit, seed + i);
        if (status != SN_OK)
            break;
        sums->nodes += (double)sn_circuit_node_count(control);
        sums->edges += (double)sn_circuit_edge_count(control);
        status = measure(losses + LOSSES * i, context, ablation, control, fit, task);
        sn_circuit_free(control);
        if (status == SN_OK)
            status = progress(context, "controls", i + 1, sums->n_controls,
                              losses[LOSSES * i + SUFFICIENT_RAW]);
    }
    return status;
}

int sn_circuit_measure_controls(sn_controls *result, double *losses, size_t capacity, size_t *needed,
                                sn_context *context, const sn_ablation *ablation,
                                const sn_circuit *circuit, size_t n_controls, uint64_t seed,
                                const sn_task *fit, const sn_task *task)
{
    static const char function[] = "sn_circuit_measure_controls";
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!result || result->struct_size < 4 * sizeof(size_t))
        return fail(context, SN_ERROR_ARGUMENT, "%s: result is NULL or its struct_size %zu", function,
                    result ? result->struct_size : 0);
    if (!circuit)
        return fail(context, SN_ERROR_ARGUMENT, "%s: circuit is NULL", function);
    if (n_controls == 0 || n_controls > SIZE_MAX / LOSSES / sizeof *losses)
        return fail(context, SN_ERROR_ARGUMENT, "%s: n_controls is %zu", function, n_controls);
    size_t n = LOSSES * n_controls;
    if (losses && capacity < n)
        return copy_out(context, function, losses, capacity, needed, NULL, n, sizeof *losses);
    double own[LOSSES], *all = memory_allocate_array(context->memory, n, sizeof *all);
    sn_controls sums = {.n_controls = n_controls};
    int status = all ? SN_OK : fail_memory(context, "losses of controls", n * sizeof *all);
    if (status == SN_OK)
        status = measure(own, context, ablation, circuit, fit, task);
    if (status == SN_OK)
        status = run_controls(all, &sums, context, ablation, circuit, seed, fit, task);
    if (status == SN_OK) {
        fill_result(result, sums, own, all);
        if (losses || capacity || needed)
            status = copy_out(context, function, losses, capacity, needed, all, n, sizeof *all);
    }
    memory_free(context->memory, all, n * sizeof *all);
    return status;
}
