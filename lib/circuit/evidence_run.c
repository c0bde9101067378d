/* The pass over the corpus: an intervention at each site that changes nothing and copies the wanted
 * channels; then every node takes its values of the batch, window by window. */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "base/threads.h"
#include "circuit/evidence.h"
#include "model/intervention.h"
#include "model/session.h"

#define BATCH_TOKENS ((size_t)2048)
#define BATCH_VALUES ((size_t)1 << 22) /* of all nodes; a window may have more */

struct window {
    size_t document, start, offset, length; /* offset: in the batch */
};

/* Copies channels of one site. */
struct capture {
    struct intervention base;
    const struct evidence_run *run;
    size_t first, last; /* of run->by_site */
};

struct evidence_run {
    struct sn_context *context;
    struct sn_evidence *evidence;
    const struct sn_corpus *corpus;
    struct sn_session *session;
    size_t *by_site; /* the nodes' indices, site after site */
    struct capture *captures;
    size_t n_sites;
    float *values; /* [n_nodes][batch_tokens] */
    int32_t *tokens;
    size_t *offsets;
    struct window *windows;
    size_t batch_tokens, n_windows, n_tokens; /* room; of the batch so far */
};

static void copy_channels(struct intervention *self, const struct site_view *view, float *x, void *saved)
{
    const struct capture *capture = (const struct capture *)self;
    const struct evidence_run *run = capture->run;
    (void)saved;
    for (size_t i = capture->first; i < capture->last; i++) {
        size_t node = run->by_site[i];
        const float *from = x + run->evidence->nodes[node].channel * PANEL;
        memcpy(run->values + node * run->batch_tokens + view->token[0], from,
               view->n_tokens * sizeof *from);
    }
}

/* ---- one node */

/* A number that tells how early a place is drawn: the same for all nodes. */
static double draw(uint64_t seed, size_t document, size_t position)
{
    uint64_t x = seed * 0x9E3779B97F4A7C15u + (uint64_t)document * 0xD1B54A32D192ED03u +
                 (uint64_t)position * 0x8CB92BA72F3D8DD7u;
    for (int i = 0; i < 2; i++) {
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
        x ^= x >> 31;
    }
    return (double)(x >> 11) * 0x1p-53;
}

static void offer(struct place_list *list, const struct evidence_run *run, double score,
                  const struct window *window, const float *values, size_t at)
{
    const struct evidence_settings *settings = &run->evidence->settings;
    if (list->capacity == 0 || (list->n == list->capacity && score <= list->places[list->n - 1].score))
        return;
    size_t first = at > settings->before ? at - settings->before : 0;
    size_t left = window->length - at;
    size_t end = left > settings->after ? at + settings->after + 1 : window->length;
    const struct place place = {.score = score,
                                .value = values[at],
                                .document = window->document,
                                .position = window->start + at,
                                .first = window->start + first,
                                .n = end - first};
    place_list_offer(list, &place, values + first, run->corpus);
}

static int take_window(struct node_evidence *node, const struct evidence_run *run,
                       const struct window *window, const float *values)
{
    for (size_t t = 0; t < window->length; t++) {
        float value = values[t];
        if (value - value != 0)
            return SN_ERROR_NUMERIC;
        if (node->n_tokens++ == 0)
            node->minimum = node->maximum = value;
        node->minimum = value < node->minimum ? value : node->minimum;
        node->maximum = value > node->maximum ? value : node->maximum;
        if (value == 0) {
            node->n_zero++;
            continue;
        }
        node->sum += (double)value;
        node->squares += (double)value * (double)value;
        histogram_add(&node->histogram, value);
        offer(&node->lists[SN_CONTEXT_TOP], run, (double)value, window, values, t);
        offer(&node->lists[SN_CONTEXT_BOTTOM], run, -(double)value, window, values, t);
        offer(&node->lists[SAMPLE_LIST], run,
              draw(run->evidence->settings.seed, window->document, window->start + t), window, values,
              t);
    }
    return SN_OK;
}

static int take_batch(void *payload, size_t index, size_t worker)
{
    const struct evidence_run *run = payload;
    struct node_evidence *node = &run->evidence->nodes[index];
    int status = SN_OK;
    (void)worker;
    for (size_t w = 0; status == SN_OK && w < run->n_windows; w++)
        status = take_window(node, run, &run->windows[w],
                             run->values + index * run->batch_tokens + run->windows[w].offset);
    return status;
}

/* ---- all of them */

static int flush(struct evidence_run *run)
{
    size_t none = 0; /* one row of logits: nobody reads them */
    if (run->n_windows == 0)
        return SN_OK;
    run->offsets[run->n_windows] = run->n_tokens;
    int status = sn_session_select_logits(run->session, &none, 1);
    if (status == SN_OK)
        status = sn_session_forward(run->session, run->tokens, run->offsets, run->n_windows);
    if (status == SN_OK) {
        status = parallel_for(run->context, run->evidence->n_nodes, take_batch, run);
        if (status == SN_ERROR_NUMERIC)
            (void)fail(run->context, status, "a node's value in document %zu is not finite",
                       run->windows[0].document);
    }
    run->n_windows = run->n_tokens = 0;
    return status;
}

static int add_window(struct evidence_run *run, const struct corpus_walk *walk)
{
    int status = run->n_tokens + walk->length > run->batch_tokens ? flush(run) : SN_OK;
    if (status != SN_OK)
        return status;
    memcpy(run->tokens + run->n_tokens, run->corpus->documents[walk->document].tokens + walk->start,
           walk->length * sizeof *run->tokens);
    run->offsets[run->n_windows] = run->n_tokens;
    run->windows[run->n_windows++] =
        (struct window){walk->document, walk->start, run->n_tokens, walk->length};
    run->n_tokens += walk->length;
    return SN_OK;
}

/* As many of all windows, drawn without replacement in the order of the corpus, as make the tokens
 * wanted. */
static int run_corpus(struct evidence_run *run)
{
    const struct evidence_settings *settings = &run->evidence->settings;
    const struct corpus_walk start = {.corpus = run->corpus, .window = settings->window};
    size_t n = 0, total = run->corpus->n_tokens, done = 0;
    struct random_state random;
    int status = SN_OK;
    for (struct corpus_walk walk = start; corpus_walk_next(&walk);)
        n++;
    size_t wanted = n;
    if (settings->tokens && settings->tokens < total) {
        wanted = (size_t)ceil((double)n * (double)settings->tokens / (double)total);
        total = settings->tokens;
    }
    random_seed(&random, settings->seed, 0);
    for (struct corpus_walk walk = start; status == SN_OK && wanted > 0 && corpus_walk_next(&walk);) {
        if (random_below(&random, n--) >= wanted)
            continue;
        wanted--;
        status = add_window(run, &walk);
        done += walk.length;
        if (status == SN_OK && run->n_windows == 1)
            status = progress(run->context, "evidence", done < total ? done : total, total, 0);
    }
    if (status == SN_OK)
        status = flush(run);
    return status == SN_OK ? progress(run->context, "evidence", total, total, 0) : status;
}

/* Nodes in the order of sites, and a capture for each site that has some. */
static int attach(struct evidence_run *run, const struct sn_model *model)
{
    size_t n = 0;
    int status = SN_OK;
    for (size_t site = 0; status == SN_OK && site < site_count(&model->config); site++) {
        struct capture *capture = &run->captures[run->n_sites];
        *capture = (struct capture){.base = {.forward = copy_channels}, .run = run, .first = n};
        for (size_t i = 0; i < run->evidence->n_nodes; i++)
            if (run->evidence->nodes[i].site == site)
                run->by_site[n++] = i;
        capture->last = n;
        if (n > capture->first) {
            run->n_sites++;
            status = session_attach(run->session, site, &capture->base);
        }
    }
    return status;
}

static int allocate(struct evidence_run *run, size_t n_sites)
{
    struct memory *memory = run->context->memory;
    size_t n = run->evidence->n_nodes, tokens = run->batch_tokens;
    run->by_site = memory_allocate_array(memory, n, sizeof *run->by_site);
    run->captures = memory_allocate_array(memory, n_sites, sizeof *run->captures);
    run->values = memory_allocate_array(memory, n, tokens * sizeof *run->values);
    run->tokens = memory_allocate_array(memory, tokens, sizeof *run->tokens);
    run->offsets = memory_allocate_array(memory, tokens + 1, sizeof *run->offsets);
    run->windows = memory_allocate_array(memory, tokens, sizeof *run->windows);
    if (run->by_site && run->captures && run->values && run->tokens && run->offsets && run->windows)
        return SN_OK;
    return fail_memory(run->context, "nodes' values over a batch", n * tokens * sizeof *run->values);
}

static void release(struct evidence_run *run, size_t n_sites)
{
    struct memory *memory = run->context->memory;
    size_t n = run->evidence->n_nodes, tokens = run->batch_tokens;
    sn_session_free(run->session);
    memory_free(memory, run->by_site, n * sizeof *run->by_site);
    memory_free(memory, run->captures, n_sites * sizeof *run->captures);
    memory_free(memory, run->values, n * tokens * sizeof *run->values);
    memory_free(memory, run->tokens, tokens * sizeof *run->tokens);
    memory_free(memory, run->offsets, (tokens + 1) * sizeof *run->offsets);
    memory_free(memory, run->windows, tokens * sizeof *run->windows);
}

int evidence_gather(struct sn_evidence *evidence, struct sn_context *context, struct sn_model *model,
                    const struct sn_corpus *corpus)
{
    struct evidence_run run = {.context = context, .evidence = evidence, .corpus = corpus};
    size_t window = evidence->settings.window, n_sites = site_count(&model->config);
    size_t share = BATCH_VALUES / (evidence->n_nodes ? evidence->n_nodes : 1);
    run.batch_tokens = share < BATCH_TOKENS ? share : BATCH_TOKENS;
    run.batch_tokens = run.batch_tokens > window ? run.batch_tokens : window;
    int status = allocate(&run, n_sites + 1);
    if (status == SN_OK)
        status = session_create_forward(&run.session, context, model);
    if (status == SN_OK)
        status = attach(&run, model);
    if (status == SN_OK)
        status = run_corpus(&run);
    release(&run, n_sites + 1);
    return status;
}
