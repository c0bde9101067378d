/* sn_circuit_extract: the whole way from a task to a circuit. */
#include <string.h>

#include "base/options.h"
#include "circuit/extract.h"

#define FULL_ACCURACY 0.9 /* below it the model does not do the task */

static const double k_coef_sweep[] = {1e-4, 3e-4, 1e-3, 3e-3};
#define SWEEP (sizeof k_coef_sweep / sizeof *k_coef_sweep)

#define NUMBER(key, field, fallback, low, high)                                                         \
    {                                                                                                   \
        key, OPTION_NUMBER, offsetof(struct extract_settings, field), fallback, low, high, NULL         \
    }
#define INTEGER(key, field, fallback, low, high)                                                        \
    {                                                                                                   \
        key, OPTION_INTEGER, offsetof(struct extract_settings, field), fallback, low, high, NULL        \
    }

static const struct option_spec specs[] = {
    NUMBER("target_loss", target_loss, 0.15, 1e-6, 100),
    INTEGER("calibrated", calibrated, 1, 0, 1),
    INTEGER("steps", steps, 150, 0, 1e9),
    INTEGER("batch", batch, 32, 1, 1e6),
    NUMBER("k_coef", k_coef, 0, 0, 1e6),
    NUMBER("learning_rate", learning_rate, 0.01, 0, 10),
    NUMBER("init_bias", init_bias, 0.1, -1, 1),
    NUMBER("init_noise", init_noise, 0.01, 0, 10),
    NUMBER("temperature", temperature, 1, 1e-3, 1e3),
    NUMBER("weight_decay", weight_decay, 1e-3, 0, 1),
    NUMBER("beta2", beta2, 0.95, 0, 0.999999),
    NUMBER("warmup", warmup, 0, 0, 1),
    INTEGER("tie_query_key", tie_query_key, 0, 0, 1),
    {"method", OPTION_CHOICE, offsetof(struct extract_settings, method), JUDGE_NODES, 0, 0,
     "nodes|edges"},
    {"scores", OPTION_CHOICE, offsetof(struct extract_settings, scores), SCORES_LEARNED, 0, 0,
     "learned|attribution|integrated"},
    {"loss", OPTION_CHOICE, offsetof(struct extract_settings, loss), LOSS_PAIR, 0, 0, "pair|vocabulary"},
    INTEGER("greedy", greedy, 2, 0, 100),
    INTEGER("swap", swap, 0, 0, 1000),
    INTEGER("grow", grow, 1, 0, 1),
    NUMBER("necessity", necessity, 0.15, 0, 0.69),
    INTEGER("seed", seed, 0, 0, 9e15),
    INTEGER("runs", runs, 0, 0, 4096),
};

int extract_read_options(struct extract_settings *settings, struct sn_context *context,
                         const char *function, const sn_options *options)
{
    return options_read(settings, context, function, specs, sizeof specs / sizeof *specs, options);
}

int extract_check(struct sn_context *context, const struct sn_model *model, const struct sn_means *means,
                  const struct sn_task *task, const struct sn_task *develop, const char *function)
{
    if (!model || !task)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function, model ? "task" : "model");
    const sn_task *empty = sn_task_count(task) == 0      ? task
                           : sn_task_count(develop) == 0 ? develop
                                                         : NULL;
    if (empty)
        return fail(context, SN_ERROR_ARGUMENT, "%s: task %s has no pairs", function,
                    sn_task_name(empty));
    return means_check(means, context, model, function);
}

size_t extract_mask_count(const struct search *search)
{
    return search->settings.method == JUDGE_EDGES ? search->judge.gated.n_edges : search->n;
}

int extract_masks(struct masks *masks, struct search *search, double k_coef, size_t done, size_t total)
{
    const struct extract_settings *settings = &search->settings;
    const size_t *partner = settings->method == JUDGE_NODES ? search->partner : NULL;
    if (settings->scores == SCORES_LEARNED)
        return prune_learn(masks, &search->judge, settings, k_coef, partner, done, total);
    return prune_attribute(masks, &search->judge, (enum mask_scores)settings->scores, partner);
}

/* The full model may meet the target with its own logits too: it needs no calibration, and one fitted on
 * pairs that it does without a fault has nothing to go by. */
int extract_check_full(struct search *search, unsigned char *kept)
{
    size_t calibrated = search->settings.calibrated;
    int meets = 0;
    memset(kept, 1, search->n);
    search->accuracy = 0;
    int status = search_meets_unscreened(search, kept, &meets);
    if (status == SN_OK && !meets && calibrated) {
        search->settings.calibrated = 0;
        status = search_meets_unscreened(search, kept, &meets);
        search->settings.calibrated = calibrated;
    }
    if (status == SN_OK && (!meets || search->accuracy < FULL_ACCURACY))
        status = extract_fail_target(search, "the full model");
    return status;
}

/* Masks and shrinking with every strength of the penalty; the fewest edges win. Attribution knows none. */
static int sweep(struct best *best, struct search *search, struct masks *masks, unsigned char *kept)
{
    const struct extract_settings *settings = &search->settings;
    size_t n_runs = settings->k_coef > 0 || settings->scores != SCORES_LEARNED ? 1 : SWEEP;
    int status = extract_check_full(search, kept);
    double full_loss = search->loss;
    for (size_t run = 0; status == SN_OK && run < n_runs; run++) {
        double k_coef = settings->k_coef > 0 ? settings->k_coef : k_coef_sweep[run];
        size_t n_taken = best->n_taken;
        status = extract_masks(masks, search, k_coef, run * settings->steps, n_runs * settings->steps);
        if (status == SN_OK)
            status = extract_shrink(best, search, masks->tau, kept, full_loss);
        if (best->n_taken != n_taken) {
            best->loss = masks->loss;
            best->size = masks->kept;
        }
    }
    return status == SN_OK ? extract_finish(best, search) : status;
}

static int find(sn_circuit **out, struct search *search)
{
    struct sn_context *context = search->judge.context;
    struct masks masks;
    struct best best = {0};
    int status = masks_create(&masks, context, extract_mask_count(search));
    if (status != SN_OK)
        return status;
    unsigned char *kept = memory_allocate(context->memory, search->n);
    status = kept ? best_create(&best, search) : fail_memory(context, "a set of nodes", search->n);
    if (status == SN_OK)
        status = sweep(&best, search, &masks, kept);
    if (status == SN_OK)
        status = extract_circuit(out, search, &best);
    best_free(&best);
    memory_free(context->memory, kept, search->n);
    masks_free(&masks);
    return status;
}

/* "runs": the settings of the masks are searched for as well. */
static int extract_by_search(sn_circuit **out, sn_context *context, sn_model *model,
                             const sn_means *means, const sn_task *task, const sn_task *develop,
                             const sn_options *options, const struct extract_settings *settings)
{
    sn_search *search;
    int status = sn_search_create(&search, context, model, means, task, develop, options);
    if (status == SN_OK)
        status = sn_search_run(search);
    if (status == SN_OK)
        status = sn_search_circuit(out, search, settings->target_loss, (int)settings->calibrated);
    sn_search_free(search);
    return status;
}

int sn_circuit_extract(sn_circuit **out, sn_context *context, sn_model *model, const sn_means *means,
                       const sn_task *task, const sn_task *develop, const sn_options *options)
{
    static const char function[] = "sn_circuit_extract";
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!develop)
        develop = task;
    struct extract_settings settings;
    struct search search;
    int status = extract_check(context, model, means, task, develop, function);
    if (status == SN_OK)
        status = extract_read_options(&settings, context, function, options);
    if (status == SN_OK && settings.runs)
        return extract_by_search(out, context, model, means, task, develop, options, &settings);
    if (status == SN_OK)
        status = search_open(&search, context, model, means, task, develop, &settings);
    if (status != SN_OK)
        return status;
    status = find(out, &search);
    search_close(&search);
    return status;
}
