/* sn_circuit_extract: the whole way from a task to a circuit. */
#include <math.h>
#include <string.h>

#include "base/buffer.h"
#include "base/options.h"
#include "circuit/extract.h"
#include "circuit/grow.h"
#include "circuit/swap.h"

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

int best_create(struct best *best, const struct search *search)
{
    struct sn_context *context = search->judge.context;
    *best = (struct best){.memory = memory_retain(context->memory),
                          .n_kept = search->n,
                          .n_kept_edges = search->judge.gated.n_edges}; /* 0 with masks of nodes */
    best->kept = memory_allocate_zeroed(best->memory, best->n_kept);
    if (best->n_kept_edges)
        best->kept_edges = memory_allocate_zeroed(best->memory, best->n_kept_edges);
    if (best->kept && (best->kept_edges || !best->n_kept_edges))
        return SN_OK;
    size_t bytes = best->n_kept + best->n_kept_edges;
    best_free(best);
    return fail_memory(context, "a set of nodes and edges", bytes);
}

void best_free(struct best *best)
{
    if (!best->memory)
        return;
    memory_free(best->memory, best->kept, best->n_kept);
    memory_free(best->memory, best->kept_edges, best->n_kept_edges);
    memory_release(best->memory);
    memset(best, 0, sizeof *best);
}

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

static int fail_target(struct search *search, const char *what)
{
    char loss[NUMBER_TEXT], target[NUMBER_TEXT], accuracy[NUMBER_TEXT];
    number_text(loss, search->loss, 4);
    number_text(target, search->settings.target_loss, 4);
    number_text(accuracy, search->accuracy, 4);
    return fail(search->judge.context, SN_ERROR_TARGET,
                "task %s: %s has %s loss %s and accuracy %s; the target is %s",
                sn_task_name(search->judge.tasks[JUDGE_TASK]), what,
                search->settings.calibrated ? "calibrated" : "uncalibrated", loss, accuracy, target);
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
        status = fail_target(search, "the full model");
    return status;
}

static size_t count_kept(const unsigned char *kept, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += kept[i] != 0;
    return count;
}

/* kept_edges NULL: all edges between the nodes. */
static void take_smaller(struct best *best, struct search *search, const unsigned char *kept,
                         const unsigned char *kept_edges)
{
    size_t edges = graph_count_edges(search->judge.model, &search->judge.layout, kept, kept_edges);
    size_t nodes = count_kept(kept, search->n);
    if (best->found && (edges > best->n_edges || (edges == best->n_edges && nodes >= best->n_nodes)))
        return;
    memcpy(best->kept, kept, search->n);
    if (kept_edges)
        memcpy(best->kept_edges, kept_edges, search->judge.gated.n_edges);
    best->n_nodes = nodes;
    best->n_edges = edges;
    best->found = 1;
    best->n_taken++;
    best->by_size = search->by_size;
}

/* Bisection and greedy removal stop half way between the full model's loss and the target: what is left of
 * it is spent by elimination, where it buys most. */
static int shrink_nodes(struct search *search, const float *tau, unsigned char *kept, double full_loss)
{
    double target = search->settings.target_loss;
    search->settings.target_loss = 0.5 * (target + fmin(full_loss, target));
    int status = refine_bisect(search, tau, kept);
    size_t removed = 1;
    for (size_t pass = 0; status == SN_OK && removed && pass < search->settings.greedy; pass++)
        status = refine_greedy(search, kept, 0, &removed);
    search->settings.target_loss = target;
    return status == SN_OK && search->settings.greedy ? refine_eliminate(search, kept) : status;
}

/* The same for edges. */
static int shrink_edges(struct edge_refinement *edges, const float *tau, double full_loss)
{
    struct extract_settings *settings = &edges->search->settings;
    double target = settings->target_loss;
    settings->target_loss = 0.5 * (target + fmin(full_loss, target));
    int status = refine_edges_bisect(edges, tau);
    edges->removed = 1;
    for (size_t pass = 0; status == SN_OK && edges->removed && pass < settings->greedy; pass++)
        status = refine_edges_greedy(edges, 0);
    settings->target_loss = target;
    return status == SN_OK && settings->greedy ? refine_edges_eliminate(edges) : status;
}

int extract_size(size_t *n_edges, struct search *search, const float *tau, unsigned char *kept)
{
    const struct judge *judge = &search->judge;
    if (search->settings.method == JUDGE_NODES) {
        int status = refine_bisect(search, tau, kept);
        *n_edges = graph_count_edges(judge->model, &judge->layout, kept, NULL);
        return status;
    }
    struct edge_refinement edges;
    int status = edge_refinement_open(&edges, search, kept);
    if (status == SN_OK)
        status = refine_edges_bisect(&edges, tau);
    if (status == SN_OK)
        *n_edges = graph_count_edges(judge->model, &judge->layout, kept, edges.kept_edges);
    edge_refinement_close(&edges);
    return status;
}

int extract_shrink(struct best *best, struct search *search, const float *tau, unsigned char *kept,
                   double full_loss)
{
    if (search->settings.method == JUDGE_NODES) {
        int status = shrink_nodes(search, tau, kept, full_loss);
        if (status == SN_OK)
            take_smaller(best, search, kept, NULL);
        return status;
    }
    struct edge_refinement edges;
    int status = edge_refinement_open(&edges, search, kept);
    if (status == SN_OK)
        status = shrink_edges(&edges, tau, full_loss);
    if (status == SN_OK)
        take_smaller(best, search, kept, edges.kept_edges);
    edge_refinement_close(&edges);
    return status;
}

static int finish_nodes(struct best *best, struct search *search)
{
    int status = refine_swap(search, best->kept, search->settings.swap);
    return status == SN_OK && search->settings.grow ? refine_grow(search, best->kept) : status;
}

static int finish_edges(struct best *best, struct search *search)
{
    struct edge_refinement edges;
    int status = edge_refinement_open(&edges, search, best->kept);
    if (status != SN_OK)
        return status;
    memcpy(edges.kept_edges, best->kept_edges, best->n_kept_edges);
    edge_refinement_use(&edges);
    status = refine_edges_swap(&edges, search->settings.swap);
    if (status == SN_OK && search->settings.grow)
        status = refine_edges_grow(&edges);
    memcpy(best->kept_edges, edges.kept_edges, best->n_kept_edges);
    edge_refinement_close(&edges);
    return status;
}

int extract_finish(struct best *best, struct search *search)
{
    int meets = 0, nodes = search->settings.method == JUDGE_NODES;
    int status = nodes ? finish_nodes(best, search) : finish_edges(best, search);
    if (search->settings.grow)
        best->necessity = search->necessity;
    search->judge.kept_edges = best->kept_edges;
    if (status == SN_OK)
        status = search_meets_unscreened(search, best->kept, &meets);
    search->judge.kept_edges = NULL;
    if (status == SN_OK && !meets)
        status = fail_target(search, "the circuit found");
    if (status == SN_OK && count_kept(best->kept, search->n) == 0)
        status = fail_target(search, "the empty circuit, biases and bigram table alone,");
    return status;
}

/* What growing came to: a circuit that could not be made necessary is one all the same, and says so. */
static int keep_necessity(struct sn_circuit *circuit, struct search *search, const struct best *best)
{
    struct sn_context *context = search->judge.context;
    double wanted = grow_wanted(search);
    if (!search->settings.grow)
        return SN_OK;
    int status = circuit_add_measurement(circuit, context, "grown_necessity", best->necessity);
    if (status == SN_OK)
        status = circuit_add_measurement(circuit, context, "necessity_wanted", wanted);
    if (status == SN_OK)
        status = circuit_add_measurement(circuit, context, "necessity_reached",
                                         best->necessity >= wanted - NECESSITY_SLACK);
    return status;
}

static int keep_curves(sn_circuit *circuit, struct sn_context *context, const struct best *best)
{
    struct curve by_size = best->by_size;
    curve_sort(&by_size);
    const struct {
        const char *name;
        const struct curve *curve;
    } curves[] = {
        {"loss_by_size", &by_size}, {"pruning_loss", &best->loss}, {"pruning_size", &best->size}};
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < sizeof curves / sizeof *curves; i++)
        if (curves[i].curve->n)
            status = sn_circuit_set_series(circuit, context, curves[i].name, curves[i].curve->n,
                                           curves[i].curve->x, curves[i].curve->y);
    return status;
}

int extract_circuit(sn_circuit **out, struct search *search, const struct best *best)
{
    struct sn_context *context = search->judge.context;
    sn_circuit *circuit;
    int status = sn_circuit_create(&circuit, context, search->judge.model,
                                   sn_task_name(search->judge.tasks[JUDGE_FIT]));
    if (status == SN_OK)
        status = circuit_set_edges(circuit, context, best->kept, best->kept_edges);
    if (status == SN_OK)
        status = keep_necessity(circuit, search, best);
    if (status == SN_OK)
        status = keep_curves(circuit, context, best);
    if (status != SN_OK) {
        sn_circuit_free(circuit);
        return status;
    }
    *out = circuit;
    return SN_OK;
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
    if (!context || !out)
        return SN_ERROR_ARGUMENT;
    *out = NULL;
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
