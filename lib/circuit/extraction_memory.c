/* What finding a circuit takes: everything is opened as for extraction, and the batches that its sessions would
 * run are asked for what they take. */
#include "base/threads.h"
#include "circuit/extract.h"
#include "circuit/prune.h"

struct needs {
    struct judge *judge;
    const struct extract_settings *settings;
    int orders; /* whether masks are put in order by gradients: all but the runs of a search do */
    size_t learning, measuring; /* most of any batch, of either session */
    size_t ordering;            /* the part of `learning` that puts masks in order */
    size_t learned; /* what is left of the first without the gates, in the runs of a search */
};

static size_t usage(const struct sn_context *context)
{
    size_t current;
    memory_usage(context->memory, &current, NULL);
    return current;
}

/* Pairs [first, last) of a set, run by one of the two sessions. */
static int ask(size_t *most, struct needs *needs, struct sn_session *session, enum judge_set set,
               size_t first, size_t last)
{
    struct judge *judge = needs->judge;
    struct pair_batch *batch = &judge->batch;
    size_t bytes, n = 2 * (last - first), vocab_size = judge->model->config.vocab_size;
    int status =
        pair_batch_fill(batch, judge->context, judge->tasks[set], NULL, first, last - first, vocab_size);
    if (status == SN_OK)
        status = sn_session_select_logits(session, batch->last, n);
    if (status == SN_OK)
        status = sn_session_estimate_memory(&bytes, session, batch->offsets[n], n);
    if (status != SN_OK)
        return status;
    if (session == judge->session) /* the gradient of the logits */
        bytes += memory_block_size(n * vocab_size * sizeof(float));
    *most = bytes > *most ? bytes : *most;
    return SN_OK;
}

/* All pairs of a set, so many tokens and pairs at a time. */
static int ask_set(size_t *most, struct needs *needs, struct sn_session *session, enum judge_set set,
                   size_t tokens, size_t pairs)
{
    struct judge *judge = needs->judge;
    size_t n = judge->n_pairs[set];
    int status = SN_OK;
    for (size_t first = 0, last; status == SN_OK && first < n; first = last) {
        size_t end = n - first < pairs ? n : first + pairs;
        last = pair_batch_end(judge->tasks[set], NULL, first, end, tokens);
        status = ask(most, needs, session, set, first, last);
    }
    return status;
}

/* What learning runs. Masks of edges leave the nodes alone (prune.c). */
static int ask_learning(struct needs *needs)
{
    struct judge *judge = needs->judge;
    const struct extract_settings *settings = needs->settings;
    size_t tokens = settings->loss == LOSS_PAIR ? prune_chunk_tokens(&judge->model->config) : (size_t)-1;
    int status = SN_OK;
    if (settings->method == JUDGE_NODES)
        status = gates_attach(&judge->gates, judge->session, 1);
    if (status == SN_OK)
        status = ask_set(&needs->learning, needs, judge->session, JUDGE_FIT, tokens, settings->batch);
    gates_detach(&judge->gates);
    if (status == SN_OK && !needs->orders)
        status = ask_set(&needs->learned, needs, judge->session, JUDGE_FIT, tokens, settings->batch);
    return status;
}

static int ask_sessions(struct needs *needs)
{
    struct judge *judge = needs->judge;
    int status = needs->settings->scores == SCORES_LEARNED ? ask_learning(needs) : SN_OK;
    if (status == SN_OK && needs->orders)
        status = gates_attach(&judge->gates, judge->session, 1);
    if (status == SN_OK && needs->orders)
        status =
            ask_set(&needs->ordering, needs, judge->session, JUDGE_FIT, JUDGE_BATCH_TOKENS, (size_t)-1);
    if (needs->ordering > needs->learning)
        needs->learning = needs->ordering;
    gates_detach(&judge->gates);
    if (status == SN_OK)
        status = gates_attach(&judge->gates, judge->measuring, 0);
    for (int set = 0; status == SN_OK && set < JUDGE_SETS; set++)
        status = ask_set(&needs->measuring, needs, judge->measuring, (enum judge_set)set,
                         JUDGE_BATCH_TOKENS, (size_t)-1);
    gates_detach(&judge->gates);
    return status;
}

/* Beside the masks, when single edges are removed: two sets of them, their order and scores. */
static size_t refining(const struct extract_settings *settings, size_t n_masks)
{
    if (settings->method != JUDGE_EDGES)
        return 0;
    return 2 * memory_block_size(n_masks) + memory_block_size(n_masks * sizeof(size_t)) +
           memory_block_size(n_masks * sizeof(double));
}

/* While nodes are removed from a model that is folded (judge_fold.c): sessions are closed while it is made, and new
 * ones stand beside it. */
static size_t folding(const struct needs *needs)
{
    const struct sn_model *model = needs->judge->model;
    size_t folded, making = fold_bytes(&folded, model);
    if (!needs->orders || needs->settings->method != JUDGE_NODES || !needs->settings->greedy ||
        fold_keeps_competitors(&model->config))
        return 0;
    size_t standing = folded + needs->ordering + needs->measuring;
    return making > standing ? making : standing;
}

/* A run of a search measures once, when it has learned; all else has measured before, and both sessions stand. */
static size_t at_most(const struct needs *needs, size_t n_masks)
{
    size_t measuring = needs->measuring + refining(needs->settings, n_masks);
    size_t both = measuring + (needs->orders ? needs->learning : needs->learned);
    size_t most = both > needs->learning ? both : needs->learning, fold = folding(needs);
    return fold > most ? fold : most;
}

/* Of one search for a circuit; *n_masks of it. */
static int estimate_search(size_t *bytes, size_t *n_masks, struct sn_context *context, int orders,
                           struct sn_model *model, const struct sn_means *means,
                           const struct sn_task *task, const struct sn_task *develop,
                           const struct extract_settings *settings)
{
    struct search search;
    size_t before = usage(context);
    int status = search_open(&search, context, model, means, task, develop, settings);
    if (status != SN_OK)
        return status;
    struct needs needs = {.judge = &search.judge, .settings = settings, .orders = orders};
    size_t opened = usage(context) - before;
    status = ask_sessions(&needs);
    *n_masks = extract_mask_count(&search);
    *bytes = opened + at_most(&needs, *n_masks) + 4 * memory_block_size(*n_masks * sizeof(float));
    search_close(&search);
    return status;
}

/* As many runs at once as there are workers, each with a context of one thread, and the masks of all. */
static int add_runs(size_t *bytes, struct sn_context *context, struct sn_model *model,
                    const struct sn_means *means, const struct sn_task *task,
                    const struct sn_task *develop, const struct extract_settings *settings)
{
    size_t one, n_masks, workers = parallel_workers(context);
    size_t at_once = settings->runs < workers ? settings->runs : workers;
    struct sn_context *worker = context_for_worker(context);
    if (!worker)
        return fail_memory(context, "a worker", 0);
    int status = estimate_search(&one, &n_masks, worker, 0, model, means, task, develop, settings);
    if (status != SN_OK)
        fail(context, status, "%s", sn_context_message(worker));
    sn_context_free(worker);
    if (status != SN_OK)
        return status;
    *bytes = at_once * one > *bytes ? at_once * one : *bytes;
    *bytes += memory_block_size(settings->runs * n_masks * sizeof(float));
    return SN_OK;
}

int sn_circuit_estimate_memory(size_t *bytes, sn_context *context, sn_model *model,
                               const sn_means *means, const sn_task *task, const sn_task *develop,
                               const sn_options *options)
{
    static const char function[] = "sn_circuit_estimate_memory";
    struct extract_settings settings;
    size_t n_masks;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!bytes)
        return fail(context, SN_ERROR_ARGUMENT, "%s: bytes is NULL", function);
    if (!develop)
        develop = task;
    int status = extract_check(context, model, means, task, develop, function);
    if (status == SN_OK)
        status = extract_read_options(&settings, context, function, options);
    if (status == SN_OK)
        status = estimate_search(bytes, &n_masks, context, 1, model, means, task, develop, &settings);
    if (status == SN_OK && settings.runs)
        status = add_runs(bytes, context, model, means, task, develop, &settings);
    return status;
}
