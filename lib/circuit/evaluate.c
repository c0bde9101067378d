#include "circuit/ablated_set.h"
#include "circuit/judge.h"

#include <string.h>

int judge_open_sessions(struct judge *judge, struct sn_model *model, enum gradient_mode mode)
{
    int status = session_create(&judge->session, judge->context, model, mode);
    if (status == SN_OK)
        status = session_create_forward(&judge->measuring, judge->context, model);
    if (status == SN_OK) {
        session_run_selected_only(judge->session);
        session_run_selected_only(judge->measuring);
    }
    return status;
}

static int open_model(struct judge *judge, const struct sn_means *means, enum judge_gates gates)
{
    if (gates == JUDGE_NODES)
        return judge_open_sessions(judge, judge->model, GRADIENT_NONE);
    int status = gated_create(&judge->gated, judge->context, judge->model, &judge->layout, means);
    return status == SN_OK ? judge_open_sessions(judge, judge->gated.model, GRADIENT_SUPPORT) : status;
}

static int open_parts(struct judge *judge, const struct sn_means *means, enum judge_gates gates)
{
    struct sn_context *context = judge->context;
    int status = node_layout_create(&judge->layout, context, judge->model);
    if (status == SN_OK)
        status = open_model(judge, means, gates);
    if (status == SN_OK && means) {
        status = gates_create(&judge->gates, context, &judge->layout, means->values);
        judge->has_gates = status == SN_OK;
    }
    for (int set = 0; status == SN_OK && set < JUDGE_SETS; set++) {
        size_t n = sn_task_count(judge->tasks[set]);
        judge->n_pairs[set] = n;
        judge->differences[set] = memory_allocate_array(context->memory, n, 2 * sizeof(double));
        if (!judge->differences[set])
            status = fail_memory(context, "logit differences", 2 * n * sizeof(double));
    }
    return status;
}

int judge_open(struct judge *judge, struct sn_context *context, struct sn_model *model,
               const struct sn_means *means, const struct sn_task *fit, const struct sn_task *task,
               enum judge_gates gates)
{
    memset(judge, 0, sizeof *judge);
    judge->context = context;
    judge->model = model;
    judge->means = means;
    judge->tasks[JUDGE_FIT] = fit;
    judge->tasks[JUDGE_TASK] = task;
    pair_batch_init(&judge->batch, context->memory);
    judge->batch.share = 1;
    int status = open_parts(judge, means, gates);
    if (status != SN_OK)
        judge_close(judge);
    return status;
}

void judge_close(struct judge *judge)
{
    struct memory *memory = judge->context->memory;
    gates_free(&judge->gates);
    sn_session_free(judge->session);
    sn_session_free(judge->measuring);
    sn_model_free(judge->folded);
    gated_free(&judge->gated);
    pair_batch_free(&judge->batch);
    for (int set = 0; set < JUDGE_SETS; set++)
        memory_free(memory, judge->differences[set], 2 * judge->n_pairs[set] * sizeof(double));
    node_layout_free(&judge->layout);
    memset(judge, 0, sizeof *judge);
}

int judge_set_masks(struct judge *judge, const unsigned char *kept, int ablate, int learning)
{
    if (!judge->has_gates)
        return SN_OK;
    size_t n = judge->layout.n_nodes;
    int status = SN_OK;
    if (judge->gated.memory)
        status = gated_set(&judge->gated, judge->context,
                           ablate == SN_ABLATE_REST ? judge->kept_edges : NULL, learning);
    if (status != SN_OK)
        return status;
    if (ablate == SN_ABLATE_REST || ablate == SN_ABLATE_CIRCUIT)
        gates_set(&judge->gates, kept, ablate == SN_ABLATE_CIRCUIT);
    else
        for (size_t i = 0; i < n; i++)
            judge->gates.mask[i] = ablate == SN_ABLATE_NOTHING ? 1.0f : 0.0f;
    if (judge->resampler && !learning)
        return resampler_attach(judge->resampler, judge->measuring,
                                ablate == SN_ABLATE_REST ? judge->kept_edges : NULL);
    return gates_attach(&judge->gates, learning ? judge->session : judge->measuring, learning);
}

static int run_chunk(struct judge *judge, struct sn_session *session, enum judge_set set, size_t first,
                     size_t last)
{
    int status = pair_batch_fill(&judge->batch, judge->context, judge->tasks[set], NULL, first,
                                 last - first, judge->model->config.vocab_size);
    if (status == SN_OK)
        status = pair_batch_forward(&judge->batch, session);
    return status;
}

static size_t used_pairs(const struct judge *judge, enum judge_set set)
{
    return judge->n_pairs[set] < judge->limit ? judge->n_pairs[set] : judge->limit;
}

/* All pairs in use but the first `done`. */
static int run_set(struct judge *judge, enum judge_set set, size_t done)
{
    size_t n = used_pairs(judge, set);
    if (set == JUDGE_TASK && judge->tasks[JUDGE_TASK] == judge->tasks[JUDGE_FIT]) {
        memcpy(judge->differences[set], judge->differences[JUDGE_FIT], 2 * n * sizeof(double));
        return SN_OK;
    }
    int status = SN_OK;
    for (size_t first = done, last; status == SN_OK && first < n; first = last) {
        last = pair_batch_end(judge->tasks[set], NULL, first, n, JUDGE_BATCH_TOKENS);
        if (judge->resampler) {
            judge->resampler->set = set;
            judge->resampler->first_pair = first;
        }
        status = run_chunk(judge, judge->measuring, set, first, last);
        if (status == SN_OK)
            status = pair_batch_differences(judge->differences[set] + 2 * first, &judge->batch,
                                            judge->measuring);
    }
    return status;
}

int judge_measure(struct measurement result[JUDGE_SETS], struct judge *judge, const unsigned char *kept,
                  int ablate, size_t limit)
{
    return judge_measure_more(result, judge, kept, ablate, 0, limit);
}

int judge_measure_more(struct measurement result[JUDGE_SETS], struct judge *judge,
                       const unsigned char *kept, int ablate, size_t done, size_t limit)
{
    static const struct calibration raw = {1, 0};
    judge->limit = limit;
    int status = judge_set_masks(judge, kept, ablate, 0);
    for (int set = 0; status == SN_OK && set < JUDGE_SETS; set++)
        status = run_set(judge, (enum judge_set)set, done);
    gates_detach(&judge->gates);
    if (judge->resampler)
        resampler_detach(judge->resampler);
    if (status != SN_OK)
        return status;
    struct calibration fitted =
        calibrate(judge->differences[JUDGE_FIT], 2 * used_pairs(judge, JUDGE_FIT));
    for (int set = 0; set < JUDGE_SETS; set++) {
        const double *difference = judge->differences[set];
        size_t n = 2 * used_pairs(judge, (enum judge_set)set);
        result[set] = (struct measurement){.calibration = fitted,
                                           .loss = calibrated_loss(difference, n, fitted),
                                           .accuracy = calibrated_accuracy(difference, n, fitted),
                                           .raw_loss = calibrated_loss(difference, n, raw),
                                           .raw_accuracy = calibrated_accuracy(difference, n, raw)};
    }
    return SN_OK;
}

/* With the masks as they are set. */
static int run_gradient(struct judge *judge, enum judge_set set, struct calibration calibration)
{
    size_t n = judge->n_pairs[set];
    gates_zero_gradient(&judge->gates);
    int status = sn_session_zero_gradients(judge->session);
    for (size_t first = 0, last; status == SN_OK && first < n; first = last) {
        double loss;
        last = pair_batch_end(judge->tasks[set], NULL, first, n, JUDGE_BATCH_TOKENS);
        status = run_chunk(judge, judge->session, set, first, last);
        if (status == SN_OK)
            status = pair_batch_backward(&loss, &judge->batch, judge->session, calibration,
                                         (double)(last - first) / (double)n);
    }
    gates_detach(&judge->gates);
    if (status == SN_OK && judge->gated.memory)
        gated_gradient(&judge->gated, judge->session);
    return status;
}

int judge_gradient(struct judge *judge, const unsigned char *kept, int ablate, enum judge_set set,
                   struct calibration calibration)
{
    int status = judge_set_masks(judge, kept, ablate, 1);
    return status == SN_OK ? run_gradient(judge, set, calibration) : status;
}

int judge_gradient_at(struct judge *judge, float level, enum judge_set set)
{
    static const struct calibration raw = {1, 0};
    int status = SN_OK;
    if (judge->gated.memory) {
        status = gated_set_level(&judge->gated, judge->context, level);
    } else {
        for (size_t i = 0; i < judge->layout.n_nodes; i++)
            judge->gates.mask[i] = level;
        status = gates_attach(&judge->gates, judge->session, 1);
    }
    return status == SN_OK ? run_gradient(judge, set, raw) : status;
}

void measurement_give(sn_evaluation *result, const struct measurement *m, size_t n_pairs)
{
    size_t size = result->struct_size < sizeof *result ? result->struct_size : sizeof *result;
    sn_evaluation full = {.struct_size = result->struct_size,
                          .n_pairs = n_pairs,
                          .loss = m->loss,
                          .accuracy = m->accuracy,
                          .raw_loss = m->raw_loss,
                          .raw_accuracy = m->raw_accuracy,
                          .scale = m->calibration.scale,
                          .shift = m->calibration.shift};
    memcpy(result, &full, size);
}

/* ---- public */

static int check_evaluate(sn_context *context, const sn_evaluation *result, const sn_model *model,
                          const sn_means *means, const sn_circuit *circuit, int ablate,
                          const sn_task *fit, const sn_task *task)
{
    if (!result || result->struct_size < 2 * sizeof(size_t))
        return fail(context, SN_ERROR_ARGUMENT, "sn_evaluate: result is NULL or its struct_size %zu",
                    result ? result->struct_size : 0);
    if (!model || !fit || !task)
        return fail(context, SN_ERROR_ARGUMENT, "sn_evaluate: %s is NULL",
                    !model ? "model"
                    : !fit ? "fit"
                           : "task");
    if (ablate < SN_ABLATE_NOTHING || ablate > SN_ABLATE_EDGES)
        return fail(context, SN_ERROR_ARGUMENT, "sn_evaluate: ablate is %d", ablate);
    if (sn_task_count(fit) == 0 || sn_task_count(task) == 0)
        return fail(context, SN_ERROR_ARGUMENT, "sn_evaluate: task %s has no pairs",
                    sn_task_name(sn_task_count(fit) ? task : fit));
    if (ablate == SN_ABLATE_NOTHING)
        return SN_OK;
    int status = means_check(means, context, model, "sn_evaluate");
    if (status != SN_OK || ablate == SN_ABLATE_EVERYTHING)
        return status;
    if (!circuit)
        return fail(context, SN_ERROR_ARGUMENT, "sn_evaluate: circuit is NULL");
    if (circuit->model != model)
        return fail(context, SN_ERROR_ARGUMENT, "sn_evaluate: the circuit belongs to another model");
    return SN_OK;
}

int sn_evaluate(sn_evaluation *result, sn_context *context, sn_model *model, const sn_means *means,
                const sn_circuit *circuit, int ablate, const sn_task *fit, const sn_task *task)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    int status = check_evaluate(context, result, model, means, circuit, ablate, fit, task);
    if (status != SN_OK)
        return status;
    struct ablated_set set;
    struct judge judge;
    struct measurement measured[JUDGE_SETS];
    status = ablated_set_open(&set, context, circuit, ablate);
    if (status != SN_OK)
        return status;
    status = judge_open(&judge, context, model, ablate == SN_ABLATE_NOTHING ? NULL : means, fit, task,
                        set.kept_edges ? JUDGE_EDGES : JUDGE_NODES);
    if (status == SN_OK) {
        judge.kept_edges = set.kept_edges;
        status = judge_measure(measured, &judge, set.kept, set.ablate, ALL_PAIRS);
        judge_close(&judge);
    }
    ablated_set_close(&set);
    if (status == SN_OK)
        measurement_give(result, &measured[JUDGE_TASK], sn_task_count(task));
    return status;
}
