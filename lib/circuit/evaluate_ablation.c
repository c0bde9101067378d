/* Sufficiency and necessity under any ablation, over several draws where values are drawn. */
#include <math.h>
#include <string.h>

#include "circuit/ablated_set.h"
#include "circuit/judge.h"

struct drawn_losses {
    struct judge judge;
    struct resampler resampler;
    double *differences[JUDGE_SETS]; /* n_draws x 2 n_pairs */
    double *values;                  /* n_draws, of one number after the other */
    size_t n_draws, n[JUDGE_SETS];   /* 2 n_pairs */
};

static int losses_open(struct drawn_losses *losses, struct sn_context *context, struct sn_model *model,
                       const struct sn_ablation *ablation, const unsigned char *kept_edges,
                       const struct sn_task *fit, const struct sn_task *task)
{
    struct judge *judge = &losses->judge;
    int status = judge_open(judge, context, model, ablation->means, fit, task,
                            kept_edges ? JUDGE_EDGES : JUDGE_NODES);
    if (status != SN_OK)
        return status;
    judge->kept_edges = kept_edges;
    losses->n_draws = ablation->n_draws;
    losses->values = memory_allocate_array(context->memory, losses->n_draws, sizeof *losses->values);
    for (int set = 0; set < JUDGE_SETS; set++) {
        losses->n[set] = 2 * judge->n_pairs[set];
        losses->differences[set] =
            memory_allocate_array(context->memory, losses->n_draws, losses->n[set] * sizeof(double));
    }
    if (!losses->values || !losses->differences[JUDGE_FIT] || !losses->differences[JUDGE_TASK])
        return fail_memory(context, "logit differences",
                           losses->n_draws * losses->n[0] * sizeof(double));
    if (ablation->kind != ABLATION_RESAMPLE)
        return SN_OK;
    status = resampler_create(&losses->resampler, context, ablation, &judge->gates,
                              kept_edges ? &judge->gated : NULL);
    if (status == SN_OK)
        judge->resampler = &losses->resampler;
    return status;
}

static void losses_close(struct drawn_losses *losses)
{
    if (!losses->judge.context)
        return;
    struct memory *memory = losses->judge.context->memory;
    resampler_free(&losses->resampler);
    memory_free(memory, losses->values, losses->n_draws * sizeof *losses->values);
    for (int set = 0; set < JUDGE_SETS; set++)
        memory_free(memory, losses->differences[set], losses->n_draws * losses->n[set] * sizeof(double));
    judge_close(&losses->judge);
}

static int run_draws(struct drawn_losses *losses, const unsigned char *kept, int ablate)
{
    struct measurement measured[JUDGE_SETS];
    struct judge *judge = &losses->judge;
    int status = SN_OK;
    for (size_t draw = 0; status == SN_OK && draw < losses->n_draws; draw++) {
        losses->resampler.draw = draw;
        status = judge_measure(measured, judge, kept, ablate, ALL_PAIRS);
        if (status != SN_OK)
            break;
        for (int set = 0; set < JUDGE_SETS; set++)
            memcpy(losses->differences[set] + draw * losses->n[set], judge->differences[set],
                   losses->n[set] * sizeof(double));
        status = progress(judge->context, "ablation", draw + 1, losses->n_draws,
                          measured[JUDGE_TASK].raw_loss);
    }
    return status;
}

typedef double (*calibrated_number)(const double *difference, size_t n, struct calibration calibration);

/* A number of each draw into losses->values; their mean and standard deviation. */
static void over_draws(double *mean, double *spread, struct drawn_losses *losses,
                       calibrated_number number, struct calibration calibration)
{
    size_t n = losses->n[JUDGE_TASK], n_draws = losses->n_draws;
    double sum = 0, squares = 0;
    for (size_t draw = 0; draw < n_draws; draw++) {
        losses->values[draw] = number(losses->differences[JUDGE_TASK] + draw * n, n, calibration);
        sum += losses->values[draw];
    }
    *mean = sum / (double)n_draws;
    for (size_t draw = 0; draw < n_draws; draw++)
        squares += (losses->values[draw] - *mean) * (losses->values[draw] - *mean);
    *spread = n_draws > 1 ? sqrt(squares / (double)(n_draws - 1)) : 0;
}

static int check_evaluate(sn_context *context, const sn_ablation_result *result, const sn_model *model,
                          const sn_ablation *ablation, const sn_circuit *circuit, int ablate,
                          const sn_task *fit, const sn_task *task)
{
    static const char function[] = "sn_evaluate_ablation";
    if (!result || result->struct_size < 3 * sizeof(size_t))
        return fail(context, SN_ERROR_ARGUMENT, "%s: result is NULL or its struct_size %zu", function,
                    result ? result->struct_size : 0);
    if (!model || !ablation || !fit || !task)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function,
                    !model      ? "model"
                    : !ablation ? "ablation"
                    : !fit      ? "fit"
                                : "task");
    if (ablate < SN_ABLATE_NOTHING || ablate > SN_ABLATE_EDGES)
        return fail(context, SN_ERROR_ARGUMENT, "%s: ablate is %d", function, ablate);
    if (sn_task_count(fit) == 0 || sn_task_count(task) == 0)
        return fail(context, SN_ERROR_ARGUMENT, "%s: task %s has no pairs", function,
                    sn_task_name(sn_task_count(fit) ? task : fit));
    if (ablation->means->model != model)
        return fail(context, SN_ERROR_ARGUMENT, "%s: the ablation belongs to another model", function);
    if (ablate == SN_ABLATE_NOTHING || ablate == SN_ABLATE_EVERYTHING)
        return SN_OK;
    if (!circuit)
        return fail(context, SN_ERROR_ARGUMENT, "%s: circuit is NULL", function);
    if (circuit->model != model)
        return fail(context, SN_ERROR_ARGUMENT, "%s: the circuit belongs to another model", function);
    return SN_OK;
}

/* raw is taken last: its losses stay in losses->values for the caller. */
static void fill_result(sn_ablation_result *result, struct drawn_losses *losses)
{
    static const struct calibration raw = {1, 0};
    size_t size = result->struct_size < sizeof *result ? result->struct_size : sizeof *result;
    struct calibration fitted =
        calibrate(losses->differences[JUDGE_FIT], losses->n_draws * losses->n[JUDGE_FIT]);
    sn_ablation_result full = {.struct_size = result->struct_size,
                               .n_pairs = losses->n[JUDGE_TASK] / 2,
                               .n_draws = losses->n_draws,
                               .scale = fitted.scale,
                               .shift = fitted.shift};
    over_draws(&full.loss, &full.loss_spread, losses, calibrated_loss, fitted);
    over_draws(&full.accuracy, &full.accuracy_spread, losses, calibrated_accuracy, fitted);
    over_draws(&full.raw_accuracy, &full.raw_accuracy_spread, losses, calibrated_accuracy, raw);
    over_draws(&full.raw_loss, &full.raw_loss_spread, losses, calibrated_loss, raw);
    memcpy(result, &full, size);
}

int sn_evaluate_ablation(sn_ablation_result *result, double *raw_losses, size_t capacity, size_t *needed,
                         sn_context *context, sn_model *model, const sn_ablation *ablation,
                         const sn_circuit *circuit, int ablate, const sn_task *fit, const sn_task *task)
{
    static const char function[] = "sn_evaluate_ablation";
    if (!context)
        return SN_ERROR_ARGUMENT;
    int status = check_evaluate(context, result, model, ablation, circuit, ablate, fit, task);
    if (status != SN_OK)
        return status;
    if (raw_losses && capacity < ablation->n_draws)
        return copy_out(context, function, raw_losses, capacity, needed, NULL, ablation->n_draws,
                        sizeof *raw_losses);
    struct ablated_set set;
    struct drawn_losses losses = {.n_draws = 0};
    status = ablated_set_open(&set, context, circuit, ablate);
    if (status != SN_OK)
        return status;
    status = losses_open(&losses, context, model, ablation, set.kept_edges, fit, task);
    if (status == SN_OK)
        status = run_draws(&losses, set.kept, set.ablate);
    if (status == SN_OK) {
        fill_result(result, &losses);
        if (raw_losses || capacity || needed)
            status = copy_out(context, function, raw_losses, capacity, needed, losses.values,
                              losses.n_draws, sizeof *raw_losses);
    }
    losses_close(&losses);
    ablated_set_close(&set);
    return status;
}
