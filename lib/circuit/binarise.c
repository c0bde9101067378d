/* Binarisation (paper, figure 34): a circuit whose nodes have two values each. */
#include "circuit/binarise.h"

#include <math.h>
#include <string.h>

#include "base/options.h"
#include "optim/adamw.h"
#include "optim/schedule.h"

#define CLIP_NORM 1.0

/* ---- learning */

static void draw_batch(struct learner *learner)
{
    for (size_t i = 0; i < learner->n_batch; i++) {
        if (learner->next == learner->n_deck) {
            random_shuffle(&learner->random, learner->deck, learner->n_deck);
            learner->next = 0;
        }
        learner->batch[i] = learner->deck[learner->next++];
    }
}

/* Gradient by the values, of the raw loss on the next batch. */
static int batch_gradient(double *loss, struct learner *learner)
{
    static const struct calibration raw = {1, 0};
    struct judge *judge = &learner->judge;
    struct steps *steps = &learner->binarised->steps;
    draw_batch(learner);
    memset(steps->gradient, 0, 2 * steps->n * sizeof(float));
    *loss = 0;
    int status = SN_OK;
    for (size_t first = 0, last; status == SN_OK && first < learner->n_batch; first = last) {
        last = pair_batch_end(judge->tasks[JUDGE_FIT], learner->batch, first, learner->n_batch,
                              BINARISE_TOKENS);
        double part = 0, share = (double)(last - first) / (double)learner->n_batch;
        status = binarise_run_pairs(learner, judge->session, learner->batch, first, last);
        if (status == SN_OK)
            status = pair_batch_backward(&part, &judge->batch, judge->session, raw, share);
        *loss += share * part;
    }
    return status;
}

/* l above r means nothing: both go halfway. */
static void take_values(struct learner *learner)
{
    struct steps *steps = &learner->binarised->steps;
    for (size_t i = 0; i < steps->n; i++) {
        float *weight = learner->weight + 2 * i;
        if (weight[0] > weight[1])
            weight[0] = weight[1] = 0.5f * (weight[0] + weight[1]);
        for (size_t side = 0; side < 2 && learner->scale[i] > 0; side++)
            steps->value[2 * i + side] = weight[side] * learner->scale[i];
    }
}

static int learn_step(struct learner *learner, size_t index)
{
    struct sn_context *context = learner->judge.context;
    const struct binarise_settings *settings = learner->settings;
    struct steps *steps = &learner->binarised->steps;
    double loss, sum = 0, left = schedule_decay(index, settings->steps);
    steps->t = (float)pow(left, 5);
    if (steps->t < STEPS_SMALLEST_T)
        steps->t = 0;
    int status = batch_gradient(&loss, learner);
    if (status != SN_OK)
        return status;
    for (size_t i = 0; i < 2 * steps->n; i++) {
        learner->gradient[i] = steps->gradient[i] * learner->scale[i / 2];
        sum += (double)learner->gradient[i] * (double)learner->gradient[i];
    }
    if (!isfinite(sum))
        return fail(context, SN_ERROR_NUMERIC, "sn_binarised_create: the gradient is not finite");
    struct adamw adamw = {.learning_rate = (float)(settings->learning_rate * left),
                          .epsilon = 1e-8f,
                          .gradient_scale = sum > CLIP_NORM ? (float)(CLIP_NORM / sqrt(sum)) : 1};
    adamw_set_step(&adamw, 0.9, 0.95, index + 1);
    struct optim_array array = {.weight = learner->weight,
                                .first = learner->first,
                                .second = learner->second,
                                .gradient = learner->gradient,
                                .n = 2 * steps->n,
                                .decay_factor = 1};
    status = adamw_update(context, &adamw, &array, 1);
    take_values(learner);
    return status == SN_OK ? progress(context, "binarise", index + 1, settings->steps, loss) : status;
}

/* What the steps do at t = 0. */
static int measure(struct measurement measured[JUDGE_SETS], struct judge *judge,
                   struct sn_binarised *binarised)
{
    binarised->steps.t = 0;
    int status = steps_attach(&binarised->steps, judge->measuring, 0);
    if (status == SN_OK)
        status = judge_measure(measured, judge, binarised->circuit->kept, SN_ABLATE_REST, ALL_PAIRS);
    steps_detach(&binarised->steps);
    return status;
}

static int learn(struct learner *learner)
{
    struct judge *judge = &learner->judge;
    struct sn_binarised *binarised = learner->binarised;
    struct steps *steps = &binarised->steps;
    struct measurement measured[JUDGE_SETS];
    size_t size = 2 * steps->n * sizeof(float);
    int status = measure(measured, judge, binarised);
    if (status != SN_OK)
        return status;
    binarised->loss[0] = measured[JUDGE_FIT].raw_loss;
    status = judge_set_masks(judge, binarised->circuit->kept, SN_ABLATE_REST, 1);
    if (status == SN_OK)
        status = steps_attach(steps, judge->session, 1);
    for (size_t i = 0; i < learner->n_deck; i++)
        learner->deck[i] = i;
    learner->next = learner->n_deck;
    random_seed(&learner->random, learner->settings->seed, 0);
    float *values = memory_allocate(binarised->memory, size); /* of the start */
    if (status == SN_OK && !values)
        status = fail_memory(judge->context, "steps of nodes", size);
    if (values)
        memcpy(values, steps->value, size);
    for (size_t i = 0; status == SN_OK && i < learner->settings->steps; i++)
        status = learn_step(learner, i);
    steps_detach(steps);
    gates_detach(&judge->gates);
    if (status == SN_OK)
        status = measure(measured, judge, binarised);
    if (status == SN_OK) {
        binarised->loss[1] = measured[JUDGE_FIT].raw_loss;
        if (binarised->loss[1] > binarised->loss[0]) { /* nothing was gained */
            binarised->loss[1] = binarised->loss[0];
            memcpy(steps->value, values, size);
        }
    }
    memory_free(binarised->memory, values, size);
    return status;
}

static void close_learner(struct learner *learner)
{
    struct memory *memory = learner->binarised->memory;
    const struct steps *steps = &learner->binarised->steps;
    size_t n = steps->n, size = 2 * n * sizeof(float);
    memory_free(memory, learner->observed, n * sizeof *learner->observed);
    memory_free(memory, learner->weight, size);
    memory_free(memory, learner->gradient, size);
    memory_free(memory, learner->first, size);
    memory_free(memory, learner->second, size);
    memory_free(memory, learner->scale, n * sizeof(float));
    memory_free(memory, learner->record, learner->record_panels * n * PANEL * sizeof(float));
    memory_free(memory, learner->record_tokens,
                learner->record_panels * steps->n_sites * sizeof(size_t));
    memory_free(memory, learner->deck, learner->n_deck * sizeof(size_t));
    memory_free(memory, learner->batch, learner->n_batch * sizeof(size_t));
    if (learner->judge.context)
        judge_close(&learner->judge);
}

static int open_learner(struct learner *learner, struct sn_context *context,
                        const struct sn_means *means, const struct sn_task *task)
{
    struct sn_binarised *binarised = learner->binarised;
    struct memory *memory = binarised->memory;
    size_t n = binarised->steps.n, batch = learner->settings->batch;
    learner->n_deck = sn_task_count(task);
    learner->n_batch = batch < learner->n_deck ? batch : learner->n_deck;
    learner->observed = memory_allocate_array(memory, n, sizeof *learner->observed);
    learner->weight = memory_allocate_zeroed_array(memory, n, 2 * sizeof(float));
    learner->gradient = memory_allocate_zeroed_array(memory, n, 2 * sizeof(float));
    learner->first = memory_allocate_zeroed_array(memory, n, 2 * sizeof(float));
    learner->second = memory_allocate_zeroed_array(memory, n, 2 * sizeof(float));
    learner->scale = memory_allocate_array(memory, n, sizeof(float));
    learner->deck = memory_allocate_array(memory, learner->n_deck, sizeof(size_t));
    learner->batch = memory_allocate_array(memory, learner->n_batch, sizeof(size_t));
    if (!learner->observed || !learner->weight || !learner->gradient || !learner->first ||
        !learner->second || !learner->scale || !learner->deck || !learner->batch)
        return fail_memory(context, "steps of nodes", 9 * n * sizeof(float));
    int status = judge_open(&learner->judge, context, binarised->circuit->model, means, task, task,
                            binarised->circuit->kept_edges ? JUDGE_EDGES : JUDGE_NODES);
    learner->judge.kept_edges = binarised->circuit->kept_edges;
    return status;
}

/* ---- public */

static int create_empty(struct sn_binarised **out, struct sn_context *context,
                        const struct sn_circuit *circuit)
{
    struct sn_binarised *binarised = memory_allocate_zeroed(context->memory, sizeof *binarised);
    if (!binarised)
        return fail_memory(context, "a binarised circuit", sizeof *binarised);
    binarised->memory = memory_retain(context->memory);
    *out = binarised;
    int status = sn_circuit_create(&binarised->circuit, context, circuit->model, circuit->task);
    if (status == SN_OK)
        status = circuit_set_edges(binarised->circuit, context, circuit->kept, circuit->kept_edges);
    return status == SN_OK ? steps_create(&binarised->steps, context, binarised->circuit) : status;
}

static int check(struct sn_context *context, const char *function, const struct sn_circuit *circuit,
                 const struct sn_means *means, const struct sn_task *fit, const struct sn_task *task)
{
    if (!circuit || !fit || !task)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function,
                    !circuit ? "circuit"
                    : !fit   ? "fit"
                             : "task");
    if (circuit->graph.n_nodes == 0)
        return fail(context, SN_ERROR_ARGUMENT, "%s: the circuit has no nodes", function);
    if (sn_task_count(fit) == 0 || sn_task_count(task) == 0)
        return fail(context, SN_ERROR_ARGUMENT, "%s: task %s has no pairs", function,
                    sn_task_name(sn_task_count(fit) ? task : fit));
    return means_check(means, context, circuit->model, function);
}

int sn_binarised_create(sn_binarised **out, sn_context *context, const sn_circuit *circuit,
                        const sn_means *means, const sn_task *task, const sn_options *options)
{
    static const struct option_spec specs[] = {
        {"steps", OPTION_INTEGER, offsetof(struct binarise_settings, steps), 200, 0, 1e9, NULL},
        {"batch", OPTION_INTEGER, offsetof(struct binarise_settings, batch), 32, 1, 1e9, NULL},
        {"seed", OPTION_INTEGER, offsetof(struct binarise_settings, seed), 0, 0, 9e15, NULL},
        {"learning_rate", OPTION_NUMBER, offsetof(struct binarise_settings, learning_rate), 0.01, 0, 1e3,
         NULL},
    };
    static const char function[] = "sn_binarised_create";
    struct binarise_settings settings;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    int status = check(context, function, circuit, means, task, task);
    if (status == SN_OK)
        status =
            options_read(&settings, context, function, specs, sizeof specs / sizeof *specs, options);
    if (status != SN_OK)
        return status;
    struct sn_binarised *binarised = NULL;
    struct learner learner = {.settings = &settings};
    status = create_empty(&binarised, context, circuit);
    if (status == SN_OK) {
        learner.binarised = binarised;
        status = open_learner(&learner, context, means, task);
        if (status == SN_OK)
            status = binarise_start(&learner);
        if (status == SN_OK)
            status = learn(&learner);
        close_learner(&learner);
    }
    if (status != SN_OK) {
        sn_binarised_free(binarised);
        return status;
    }
    *out = binarised;
    return SN_OK;
}

void sn_binarised_free(sn_binarised *binarised)
{
    if (!binarised)
        return;
    struct memory *memory = binarised->memory;
    steps_free(&binarised->steps);
    sn_circuit_free(binarised->circuit);
    memory_free(memory, binarised, sizeof *binarised);
    memory_release(memory);
}

size_t sn_binarised_count(const sn_binarised *binarised)
{
    return binarised ? binarised->steps.n : 0;
}

const char *sn_binarised_node(double *low, double *high, const sn_binarised *binarised, size_t index)
{
    if (!binarised || index >= binarised->steps.n)
        return NULL;
    if (low)
        *low = (double)binarised->steps.value[2 * index];
    if (high)
        *high = (double)binarised->steps.value[2 * index + 1];
    return sn_circuit_node_name(binarised->circuit, index);
}

int sn_binarised_losses(double *start_loss, double *loss, const sn_binarised *binarised)
{
    if (!binarised)
        return SN_ERROR_ARGUMENT;
    if (start_loss)
        *start_loss = binarised->loss[0];
    if (loss)
        *loss = binarised->loss[1];
    return SN_OK;
}

int sn_binarised_evaluate(sn_evaluation *result, sn_context *context, sn_binarised *binarised,
                          const sn_means *means, const sn_task *fit, const sn_task *task)
{
    static const char function[] = "sn_binarised_evaluate";
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!result || result->struct_size < 2 * sizeof(size_t))
        return fail(context, SN_ERROR_ARGUMENT, "%s: result is NULL or its struct_size %zu", function,
                    result ? result->struct_size : 0);
    if (!binarised)
        return fail(context, SN_ERROR_ARGUMENT, "%s: binarised is NULL", function);
    const struct sn_circuit *circuit = binarised->circuit;
    int status = check(context, function, circuit, means, fit, task);
    if (status != SN_OK)
        return status;
    struct judge judge;
    struct measurement measured[JUDGE_SETS];
    status = judge_open(&judge, context, circuit->model, means, fit, task,
                        circuit->kept_edges ? JUDGE_EDGES : JUDGE_NODES);
    if (status != SN_OK)
        return status;
    judge.kept_edges = circuit->kept_edges;
    status = measure(measured, &judge, binarised);
    judge_close(&judge);
    if (status == SN_OK)
        measurement_give(result, &measured[JUDGE_TASK], sn_task_count(task));
    return status;
}
