/* sn_search: many runs of mask learning with settings drawn by seed, of which the worse two thirds are
 * given up after a third of their steps. What is kept are the masks, from which a circuit for any
 * target loss is cut. */
#include <math.h>
#include <string.h>

#include "base/buffer.h"
#include "base/random.h"
#include "base/threads.h"
#include "circuit/extract.h"
#include "circuit/mask_search.h"
#include "circuit/order.h"

#define DEFAULT_RUNS 12
#define CENTRE_K_COEF 1e-3
#define K_COEF_RANGE 10.0       /* a run's is up to so many times more or less than the centre's */
#define LEARNING_RATE_RANGE 3.0 /* up to so many times more: slower masks do not fall in time */
#define LEAST_BIAS 0.02         /* init_bias between these, run 0 aside */
#define MOST_BIAS 0.3
#define SHORT_SHARE 3 /* a short run takes a third of the steps, and a third of the runs goes on */
#define TAKEN 2       /* runs of which a circuit is cut to the end */

/* Log-uniform in [low, high]. */
static double drawn_between(struct random_state *random, double low, double high)
{
    return low * pow(high / low, random_uniform(random));
}

static void draw_runs(struct sn_search *search)
{
    const struct extract_settings *centre = &search->settings;
    for (size_t i = 0; i < search->n_runs; i++) {
        struct run *run = &search->runs[i];
        struct random_state random;
        random_seed(&random, centre->seed, 16 + i);
        run->k_coef = centre->k_coef > 0 ? centre->k_coef : CENTRE_K_COEF;
        run->learning_rate = centre->learning_rate;
        run->init_bias = centre->init_bias;
        run->seed = centre->seed + i;
        if (i == 0)
            continue;
        run->k_coef = drawn_between(&random, run->k_coef / K_COEF_RANGE, run->k_coef * K_COEF_RANGE);
        if (run->learning_rate > 0)
            run->learning_rate =
                drawn_between(&random, run->learning_rate, run->learning_rate * LEARNING_RATE_RANGE);
        run->init_bias = LEAST_BIAS + (MOST_BIAS - LEAST_BIAS) * random_uniform(&random);
    }
}

static int open_inner(struct search *inner, const struct sn_search *search, struct sn_context *context,
                      const struct extract_settings *settings)
{
    return search_open(inner, context, search->model, search->means, search->task, search->develop,
                       settings);
}

/* How many masks there are, and whether the model does the task at all. */
static int look_at_model(struct sn_search *search)
{
    struct search inner;
    int status = open_inner(&inner, search, search->context, &search->settings);
    if (status != SN_OK)
        return status;
    search->n_masks = extract_mask_count(&inner);
    unsigned char *kept = memory_allocate(search->memory, inner.n);
    status = kept ? extract_check_full(&inner, kept)
                  : fail_memory(search->context, "a set of nodes", inner.n);
    memory_free(search->memory, kept, inner.n);
    search_close(&inner);
    return status;
}

static int allocate_runs(struct sn_search *search)
{
    search->runs = memory_allocate_zeroed_array(search->memory, search->n_runs, sizeof *search->runs);
    search->taus = memory_allocate_zeroed_array(search->memory, search->n_runs * search->n_masks,
                                                sizeof *search->taus);
    if (!search->runs || !search->taus)
        return fail_memory(search->context, "the masks of a search",
                           search->n_runs * search->n_masks * sizeof *search->taus);
    for (size_t i = 0; i < search->n_runs; i++)
        search->runs[i].tau = search->taus + i * search->n_masks;
    draw_runs(search);
    return SN_OK;
}

int sn_search_create(sn_search **out, sn_context *context, sn_model *model, const sn_means *means,
                     const sn_task *task, const sn_task *develop, const sn_options *options)
{
    static const char function[] = "sn_search_create";
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!develop)
        develop = task;
    struct extract_settings settings;
    int status = extract_check(context, model, means, task, develop, function);
    if (status == SN_OK)
        status = extract_read_options(&settings, context, function, options);
    if (status == SN_OK && settings.scores != SCORES_LEARNED)
        status = fail(context, SN_ERROR_ARGUMENT,
                      "%s: scores must be learned: others have no settings to search", function);
    if (status != SN_OK)
        return status;
    sn_search *search = memory_allocate_zeroed(context->memory, sizeof *search);
    if (!search)
        return fail_memory(context, "a search", sizeof *search);
    search->memory = memory_retain(context->memory);
    search->context = context_retain(context);
    search->model = sn_model_retain(model);
    search->means = means;
    search->task = task;
    search->develop = develop;
    search->settings = settings;
    search->n_runs = settings.runs ? settings.runs : DEFAULT_RUNS;
    search->n_finalists = (search->n_runs + SHORT_SHARE - 1) / SHORT_SHARE;
    status = look_at_model(search);
    if (status == SN_OK)
        status = allocate_runs(search);
    if (status != SN_OK) {
        sn_search_free(search);
        return status;
    }
    *out = search;
    return SN_OK;
}

void sn_search_free(sn_search *search)
{
    if (!search)
        return;
    struct sn_context *context = search->context;
    struct memory *memory = search->memory;
    if (search->path)
        memory_free(memory, search->path, strlen(search->path) + 1);
    memory_free(memory, search->runs, search->n_runs * sizeof *search->runs);
    memory_free(memory, search->taus, search->n_runs * search->n_masks * sizeof *search->taus);
    sn_model_free(search->model);
    memory_free(memory, search, sizeof *search);
    memory_release(memory);
    context_release(context);
}

/* ---- running */

/* Learns the masks of one run, on a context of its own. */
static int learn_run(struct sn_search *search, struct sn_context *context, struct run *run,
                     enum run_stage stage)
{
    struct extract_settings settings = search->settings;
    struct search inner;
    struct masks masks;
    settings.learning_rate = run->learning_rate;
    settings.init_bias = run->init_bias;
    settings.seed = run->seed;
    if (stage == RUN_SHORT)
        settings.steps = (settings.steps + SHORT_SHARE - 1) / SHORT_SHARE;
    int status = open_inner(&inner, search, context, &settings);
    if (status != SN_OK)
        return status;
    status = masks_create(&masks, context, search->n_masks);
    unsigned char *kept = memory_allocate(context->memory, inner.n);
    if (status == SN_OK && !kept)
        status = fail_memory(context, "a set of nodes", inner.n);
    if (status == SN_OK)
        status = extract_masks(&masks, &inner, run->k_coef, 0, settings.steps);
    if (status == SN_OK)
        status = extract_size(&run->n_edges, &inner, masks.tau, kept);
    if (status == SN_OK) {
        memcpy(run->tau, masks.tau, search->n_masks * sizeof *run->tau);
        run->stage = stage;
        if (stage == RUN_SHORT)
            run->short_edges = run->n_edges;
    }
    memory_free(context->memory, kept, inner.n);
    masks_free(&masks);
    search_close(&inner);
    return status;
}

struct round {
    struct sn_search *search;
    struct run *runs[MAX_WORKERS];
    struct sn_context *contexts[MAX_WORKERS]; /* of each run */
    size_t n_runs;
    enum run_stage stage;
};

static int round_chunk(void *payload, size_t chunk, size_t worker)
{
    struct round *round = payload;
    (void)worker;
    return learn_run(round->search, round->contexts[chunk], round->runs[chunk], round->stage);
}

/* With one worker the host hears of every step, and can stop at each. */
static int relay(const char *stage, size_t done, size_t total, double value, void *payload)
{
    struct sn_context *context = payload;
    return progress(context, stage, done, total, value) != SN_OK;
}

/* Runs that go on side by side, one for each worker. */
static int run_round(struct round *round)
{
    struct sn_context *context = round->search->context;
    int status = SN_OK;
    for (size_t i = 0; i < round->n_runs; i++) {
        round->contexts[i] = context_for_worker(context);
        if (!round->contexts[i])
            status = fail_memory(context, "a worker's context", sizeof *context);
        else if (round->n_runs == 1)
            sn_context_set_progress(round->contexts[i], relay, context);
    }
    if (status == SN_OK && round->n_runs == 1)
        status = round_chunk(round, 0, 0);
    else if (status == SN_OK)
        status = parallel_for(context, round->n_runs, round_chunk, round);
    for (size_t i = 0; i < round->n_runs; i++) {
        if (status != SN_OK && round->contexts[i] && *round->contexts[i]->message) {
            fail(context, status, "%s", round->contexts[i]->message);
            *round->contexts[i]->message = 0;
        }
        sn_context_free(round->contexts[i]);
    }
    return status;
}

static size_t count_at(const struct sn_search *search, enum run_stage stage)
{
    size_t n = 0;
    for (size_t i = 0; i < search->n_runs; i++)
        n += search->runs[i].stage >= stage;
    return n;
}

/* Brings the given runs to a stage, as many at once as there are workers; saves after each round. */
static int run_all(struct sn_search *search, const size_t *which, size_t n, enum run_stage stage)
{
    size_t workers = parallel_workers(search->context), total = search->n_runs + search->n_finalists;
    int status = SN_OK;
    if (workers > MAX_WORKERS)
        workers = MAX_WORKERS;
    for (size_t i = 0; status == SN_OK && i < n;) {
        struct round round = {.search = search, .stage = stage};
        for (; i < n && round.n_runs < workers; i++)
            if (search->runs[which[i]].stage < stage)
                round.runs[round.n_runs++] = &search->runs[which[i]];
        if (round.n_runs == 0)
            break;
        status = run_round(&round);
        if (status == SN_OK && search->path)
            status = search_save(search, search->path);
        if (status == SN_OK)
            status = progress(search->context, "search",
                              count_at(search, RUN_SHORT) + count_at(search, RUN_WHOLE), total,
                              (double)round.runs[0]->n_edges);
    }
    return status;
}

/* The runs in order of the edges that their short masks need. */
static int rank_runs(size_t *which, struct sn_search *search)
{
    double *score = memory_allocate_array(search->memory, search->n_runs, sizeof *score);
    if (!score)
        return fail_memory(search->context, "ranks", search->n_runs * sizeof *score);
    for (size_t i = 0; i < search->n_runs; i++) {
        which[i] = i;
        score[i] = (double)search->runs[i].short_edges;
    }
    order_by_score(which, search->n_runs, score);
    memory_free(search->memory, score, search->n_runs * sizeof *score);
    return SN_OK;
}

int sn_search_run(sn_search *search)
{
    if (!search)
        return SN_ERROR_ARGUMENT;
    size_t n = search->n_runs;
    size_t *which = memory_allocate_array(search->memory, n, sizeof *which);
    if (!which)
        return fail_memory(search->context, "runs", n * sizeof *which);
    for (size_t i = 0; i < n; i++)
        which[i] = i;
    int status = run_all(search, which, n, RUN_SHORT);
    if (status == SN_OK)
        status = rank_runs(which, search);
    if (status == SN_OK)
        status = run_all(search, which, search->n_finalists, RUN_WHOLE);
    memory_free(search->memory, which, n * sizeof *which);
    return status;
}

/* ---- cutting circuits */

/* Of the whole runs those that need the fewest edges at this target, in *which; *n of them. */
static int best_runs(size_t *which, size_t *n, struct sn_search *search, struct search *inner,
                     unsigned char *kept)
{
    double *edges = memory_allocate_zeroed_array(search->memory, search->n_runs, sizeof *edges);
    int status = edges ? SN_OK : fail_memory(search->context, "ranks", search->n_runs * sizeof *edges);
    *n = 0;
    for (size_t i = 0; status == SN_OK && i < search->n_runs; i++) {
        size_t n_edges = 0;
        if (search->runs[i].stage != RUN_WHOLE)
            continue;
        status = extract_size(&n_edges, inner, search->runs[i].tau, kept);
        edges[i] = (double)n_edges;
        which[(*n)++] = i;
    }
    if (status == SN_OK)
        order_by_score(which, *n, edges);
    memory_free(search->memory, edges, search->n_runs * sizeof *edges);
    return status;
}

static int cut(sn_circuit **out, struct sn_search *search, struct search *inner, size_t *which,
               unsigned char *kept)
{
    struct best best;
    size_t n = 0;
    int status = best_create(&best, inner);
    if (status != SN_OK)
        return status;
    status = extract_check_full(inner, kept);
    double full_loss = inner->loss;
    if (status == SN_OK)
        status = best_runs(which, &n, search, inner, kept);
    for (size_t i = 0; status == SN_OK && i < n && i < TAKEN; i++)
        status = extract_shrink(&best, inner, search->runs[which[i]].tau, kept, full_loss);
    if (status == SN_OK)
        status = extract_finish(&best, inner);
    if (status == SN_OK)
        status = extract_circuit(out, inner, &best);
    best_free(&best);
    return status;
}

int sn_search_circuit(sn_circuit **out, sn_search *search, double target_loss, int calibrated)
{
    struct sn_context *context = search ? search->context : NULL;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!(target_loss > 0 && target_loss <= 100))
        return fail(context, SN_ERROR_ARGUMENT, "sn_search_circuit: target_loss is %s",
                    SHOWN(target_loss));
    if (count_at(search, RUN_WHOLE) < search->n_finalists)
        return fail(context, SN_ERROR_STATE,
                    "sn_search_circuit: the search has not been run to its end");
    struct extract_settings settings = search->settings;
    struct search inner;
    settings.target_loss = target_loss;
    settings.calibrated = calibrated != 0;
    int status = open_inner(&inner, search, context, &settings);
    if (status != SN_OK)
        return status;
    size_t *which = memory_allocate_array(search->memory, search->n_runs, sizeof *which);
    unsigned char *kept = memory_allocate(search->memory, inner.n);
    status = which && kept ? cut(out, search, &inner, which, kept)
                           : fail_memory(context, "a set of nodes", inner.n);
    memory_free(search->memory, kept, inner.n);
    memory_free(search->memory, which, search->n_runs * sizeof *which);
    search_close(&inner);
    return status;
}

size_t sn_search_run_count(const sn_search *search)
{
    return search ? search->n_runs : 0;
}

int sn_search_run_info(double *k_coef, double *learning_rate, double *init_bias, size_t *n_edges,
                       int *whole, const sn_search *search, size_t index)
{
    if (!search || index >= search->n_runs)
        return SN_ERROR_ARGUMENT;
    const struct run *run = &search->runs[index];
    if (k_coef)
        *k_coef = run->k_coef;
    if (learning_rate)
        *learning_rate = run->learning_rate;
    if (init_bias)
        *init_bias = run->init_bias;
    if (n_edges)
        *n_edges = run->n_edges;
    if (whole)
        *whole = run->stage == RUN_WHOLE;
    return SN_OK;
}
