/* Activation patching of one node, and path patching between two (docs/checks.md).
 *
 * Prompts of a pair run in one batch, so that the counterfactual value of a node stands in the same
 * panels as the given one. A first run keeps all sites from that of `from` to that of `to`; a second one
 * holds them there but for the channels on the way, with the counterfactual value at `from`, and shows
 * what becomes of `to`; a third one puts that in place and shows the logits. Activation patching needs
 * the first and the third. */
#include <math.h>
#include <string.h>

#include "circuit/circuit.h"
#include "circuit/pair_loss.h"
#include "circuit/task.h"
#include "model/intervention.h"

#define CHUNK_TOKENS 512
#define NO_TOKEN ((size_t)-1)
#define EFFECTS_PER_PAIR 4

struct place {
    size_t site, channel;
};

struct patcher;

struct site_patch {
    struct intervention base; /* first */
    struct patcher *patcher;
    size_t site, width;
    float *given;               /* width x PANEL of each panel: the values of the first run */
    const unsigned char *moves; /* channels that are computed anew, of the first n_moves; NULL: none */
    size_t n_moves;
};

struct patcher {
    struct sn_context *context;
    struct sn_model *model;
    struct place from, to; /* the same one in activation patching */
    struct sn_session *session;
    struct pair_batch batch;
    unsigned char *joined; /* d_model: channels that `from` writes to */
    struct site_patch *sites;
    size_t n_sites;
    size_t token_capacity, panel_capacity, pair_capacity; /* of a batch */
    size_t *partner;    /* of each packed token: where the counterfactual value stands, or NO_TOKEN */
    float *patched;     /* of each packed token: the value of `to` */
    double *difference; /* of each prompt of the batch */
    double *effects;    /* EFFECTS_PER_PAIR for each pair of the task */
    double *totals;     /* of each pair */
    size_t n_pairs;
};

static float *given_panel(const struct site_patch *site, size_t panel)
{
    return site->given + panel * site->width * PANEL;
}

static float given_value(const struct site_patch *site, size_t token, size_t channel)
{
    return given_panel(site, token / PANEL)[channel * PANEL + token % PANEL];
}

/* ---- the three runs, as interventions */

static void keep_given(struct intervention *self, const struct site_view *view, float *x, void *saved)
{
    const struct site_patch *site = (const struct site_patch *)self;
    (void)saved;
    memcpy(given_panel(site, view->panel), x, site->width * PANEL * sizeof *x);
}

/* `from` takes the values of its partners. */
static void put_counterfactual(const struct site_patch *site, const struct site_view *view, float *x)
{
    const struct patcher *patcher = site->patcher;
    size_t channel = patcher->from.channel;
    for (size_t t = 0; t < view->n_tokens; t++) {
        size_t partner = patcher->partner[view->token[t]];
        if (partner != NO_TOKEN)
            x[channel * PANEL + t] = given_value(site, partner, channel);
    }
}

static void hold_given(struct intervention *self, const struct site_view *view, float *x, void *saved)
{
    const struct site_patch *site = (const struct site_patch *)self;
    struct patcher *patcher = site->patcher;
    const float *given = given_panel(site, view->panel);
    (void)saved;
    for (size_t c = 0; c < site->width; c++) {
        int moves = c < site->n_moves && site->moves[c];
        if (site->site == patcher->to.site && c == patcher->to.channel)
            for (size_t t = 0; t < view->n_tokens; t++)
                patcher->patched[view->token[t]] = x[c * PANEL + t];
        else if (!moves)
            memcpy(x + c * PANEL, given + c * PANEL, PANEL * sizeof *x);
    }
    if (site->site == patcher->from.site)
        put_counterfactual(site, view, x);
}

static void put_patched(struct intervention *self, const struct site_view *view, float *x, void *saved)
{
    const struct site_patch *site = (const struct site_patch *)self;
    const struct patcher *patcher = site->patcher;
    (void)saved;
    for (size_t t = 0; t < view->n_tokens; t++)
        x[patcher->to.channel * PANEL + t] = patcher->patched[view->token[t]];
}

typedef void (*panel_function)(struct intervention *self, const struct site_view *view, float *x,
                               void *saved);

/* One forward of the batch under `act` at the sites from `first` on. */
static int run(struct patcher *patcher, size_t first, panel_function act)
{
    int status = SN_OK;
    for (size_t s = first; status == SN_OK && s < patcher->n_sites; s++) {
        patcher->sites[s].base.forward = act;
        status = session_attach(patcher->session, patcher->sites[s].site, &patcher->sites[s].base);
    }
    if (status == SN_OK)
        status = pair_batch_forward(&patcher->batch, patcher->session);
    if (status == SN_OK)
        status = pair_batch_differences(patcher->difference, &patcher->batch, patcher->session);
    for (size_t s = first; s < patcher->n_sites; s++)
        session_detach(patcher->session, &patcher->sites[s].base);
    return status;
}

/* ---- tokens of the given prompt and those of the counterfactual one */

static size_t common_end(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b, size_t most)
{
    size_t n = 0;
    while (n < most && a[n_a - 1 - n] == b[n_b - 1 - n])
        n++;
    return n;
}

static void match_prompts(struct patcher *patcher, size_t given, size_t other)
{
    const struct pair_batch *batch = &patcher->batch;
    size_t first = batch->offsets[given], n = batch->offsets[given + 1] - first;
    size_t other_first = batch->offsets[other], n_other = batch->offsets[other + 1] - other_first;
    const int32_t *a = batch->tokens + first, *b = batch->tokens + other_first;
    size_t shorter = n < n_other ? n : n_other, front = 0;
    while (front < shorter && a[front] == b[front])
        front++;
    size_t end = common_end(a, n, b, n_other, shorter - front);
    for (size_t t = 0; t < n; t++) {
        size_t partner = t < n - end ? (t < n_other - end ? other_first + t : NO_TOKEN)
                                     : other_first + n_other - (n - t);
        patcher->partner[first + t] = partner;
    }
}

/* ---- what joins the two nodes */

static void mark_column(unsigned char *joined, const struct sn_matrix *matrix, size_t first, size_t last)
{
    for (size_t r = 0; r < matrix->rows; r++)
        for (size_t c = first; c < last; c++)
            if (matrix_at(matrix, r, c) != 0)
                joined[r] = 1;
}

/* Channels of the stream that a node's block writes its value to. A query or key moves where its head
 * looks, so all that this head writes. A read writes nothing: what it feeds are nodes. */
static void find_joined(struct patcher *patcher)
{
    const struct sn_model *model = patcher->model;
    size_t layer = patcher->from.site / SITES_PER_LAYER, channel = patcher->from.channel;
    size_t d_head = model->config.d_head, head = channel / d_head * d_head;
    const struct parameter *parameters = model->parameters;
    const struct layer_parameters *p = &model->layers[layer];
    switch ((enum site_kind)(patcher->from.site % SITES_PER_LAYER)) {
    case SITE_ATTN_Q:
    case SITE_ATTN_K:
        mark_column(patcher->joined, parameters[p->attn_proj].matrix, head, head + d_head);
        break;
    case SITE_ATTN_V:
        mark_column(patcher->joined, parameters[p->attn_proj].matrix, channel, channel + 1);
        break;
    case SITE_MLP_POST_ACT:
        mark_column(patcher->joined, parameters[p->mlp_proj].matrix, channel, channel + 1);
        break;
    case SITE_ATTN_DELTA:
    case SITE_MLP_DELTA: patcher->joined[channel] = 1; break;
    default: break;
    }
}

/* The site where the block of `site` writes, and where it reads. */
static size_t write_site(size_t site)
{
    size_t kind = site % SITES_PER_LAYER;
    return site - kind + (kind <= SITE_ATTN_DELTA ? SITE_ATTN_DELTA : SITE_MLP_DELTA);
}

static size_t read_site(size_t site)
{
    size_t kind = site % SITES_PER_LAYER;
    return site - kind + (kind <= SITE_ATTN_DELTA ? SITE_ATTN_ACT_IN : SITE_MLP_ACT_IN);
}

/* A write of `to`'s own block is behind nodes of that block: reads move only for q, k, v and neurons. */
static int reads_directly(size_t site)
{
    size_t kind = site % SITES_PER_LAYER;
    return kind == SITE_ATTN_Q || kind == SITE_ATTN_K || kind == SITE_ATTN_V ||
           kind == SITE_MLP_POST_ACT;
}

static int moves_at(const struct patcher *patcher, size_t site)
{
    size_t from = patcher->from.site, to = patcher->to.site;
    if (site <= from || site >= to)
        return 0;
    return site == write_site(from) || (reads_directly(to) && site == read_site(to));
}

/* ---- life */

static int open_sites(struct patcher *patcher)
{
    const struct config *config = &patcher->model->config;
    struct memory *memory = patcher->context->memory;
    size_t first = patcher->from.site, n = 0;
    for (size_t site = first; site <= patcher->to.site; site++)
        n += site_has_nodes(config, site) != 0;
    patcher->sites = memory_allocate_zeroed_array(memory, n, sizeof *patcher->sites);
    if (!patcher->sites)
        return fail_memory(patcher->context, "sites to patch", n * sizeof *patcher->sites);
    patcher->n_sites = n;
    for (size_t site = first, s = 0; site <= patcher->to.site; site++) {
        if (!site_has_nodes(config, site))
            continue;
        struct site_patch *patch = &patcher->sites[s++];
        patch->patcher = patcher;
        patch->site = site;
        patch->width = site_width(config, site);
        patch->moves = moves_at(patcher, site) ? patcher->joined : NULL;
        patch->n_moves = patch->moves ? config->d_model : 0;
        patch->given = memory_allocate_array(memory, patcher->panel_capacity * PANEL,
                                             patch->width * sizeof *patch->given);
        if (!patch->given)
            return fail_memory(patcher->context, "the values of a site",
                               patcher->panel_capacity * PANEL * patch->width * sizeof(float));
    }
    return SN_OK;
}

/* The largest batch that will run. */
static void size_batches(struct patcher *patcher, const struct sn_task *task)
{
    for (size_t first = 0, last; first < patcher->n_pairs; first = last) {
        size_t tokens = 0;
        last = pair_batch_end(task, NULL, first, patcher->n_pairs, CHUNK_TOKENS);
        for (size_t i = first; i < last; i++)
            tokens += task->pairs[i].n_a + task->pairs[i].n_b;
        if (tokens > patcher->token_capacity)
            patcher->token_capacity = tokens;
        if (last - first > patcher->pair_capacity)
            patcher->pair_capacity = last - first;
    }
    patcher->panel_capacity = (patcher->token_capacity + PANEL - 1) / PANEL;
}

static int patcher_open(struct patcher *patcher, const struct sn_task *task)
{
    struct memory *memory = patcher->context->memory;
    size_t d_model = patcher->model->config.d_model;
    patcher->n_pairs = sn_task_count(task);
    pair_batch_init(&patcher->batch, memory);
    size_batches(patcher, task);
    size_t n = patcher->token_capacity;
    patcher->joined = memory_allocate_zeroed(memory, d_model);
    patcher->partner = memory_allocate_array(memory, n, sizeof *patcher->partner);
    patcher->patched = memory_allocate_array(memory, n, sizeof *patcher->patched);
    patcher->difference =
        memory_allocate_array(memory, patcher->pair_capacity, 2 * sizeof *patcher->difference);
    patcher->effects =
        memory_allocate_array(memory, patcher->n_pairs, EFFECTS_PER_PAIR * sizeof *patcher->effects);
    patcher->totals = memory_allocate_array(memory, patcher->n_pairs, sizeof *patcher->totals);
    if (!patcher->joined || !patcher->partner || !patcher->patched || !patcher->difference ||
        !patcher->effects || !patcher->totals)
        return fail_memory(patcher->context, "effects of patching", n * sizeof *patcher->partner);
    find_joined(patcher);
    int status = open_sites(patcher);
    if (status == SN_OK)
        status = session_create_forward(&patcher->session, patcher->context, patcher->model);
    return status;
}

static void patcher_close(struct patcher *patcher)
{
    struct memory *memory = patcher->context->memory;
    size_t n = patcher->token_capacity;
    sn_session_free(patcher->session);
    pair_batch_free(&patcher->batch);
    for (size_t s = 0; s < patcher->n_sites; s++)
        memory_free(memory, patcher->sites[s].given,
                    patcher->panel_capacity * PANEL * patcher->sites[s].width * sizeof(float));
    memory_free(memory, patcher->sites, patcher->n_sites * sizeof *patcher->sites);
    memory_free(memory, patcher->joined, patcher->model->config.d_model);
    memory_free(memory, patcher->partner, n * sizeof *patcher->partner);
    memory_free(memory, patcher->patched, n * sizeof *patcher->patched);
    memory_free(memory, patcher->difference, patcher->pair_capacity * 2 * sizeof *patcher->difference);
    memory_free(memory, patcher->effects,
                patcher->n_pairs * EFFECTS_PER_PAIR * sizeof *patcher->effects);
    memory_free(memory, patcher->totals, patcher->n_pairs * sizeof *patcher->totals);
}

/* ---- a batch */

/* The change of `to`'s value that is largest in size, over the tokens of a prompt. */
static double largest_change(const struct patcher *patcher, size_t prompt)
{
    const struct site_patch *site = &patcher->sites[patcher->n_sites - 1];
    double largest = 0;
    for (size_t t = patcher->batch.offsets[prompt]; t < patcher->batch.offsets[prompt + 1]; t++) {
        double change = (double)given_value(site, t, patcher->to.channel) - (double)patcher->patched[t];
        if (fabs(change) > fabs(largest))
            largest = change;
    }
    return largest;
}

/* Activation patching: `from` is `to`, and its new value is known. */
static void take_partners(struct patcher *patcher)
{
    const struct site_patch *site = &patcher->sites[0];
    for (size_t t = 0; t < patcher->batch.offsets[2 * patcher->batch.n_pairs]; t++) {
        size_t from = patcher->partner[t] == NO_TOKEN ? t : patcher->partner[t];
        patcher->patched[t] = given_value(site, from, patcher->from.channel);
    }
}

static int patch_batch(struct patcher *patcher, const struct sn_task *task, size_t first, size_t last)
{
    struct pair_batch *batch = &patcher->batch;
    double *effects = patcher->effects + first * EFFECTS_PER_PAIR;
    int status = pair_batch_fill(batch, patcher->context, task, NULL, first, last - first,
                                 patcher->model->config.vocab_size);
    if (status == SN_OK)
        status = run(patcher, 0, keep_given);
    if (status != SN_OK)
        return status;
    for (size_t i = 0; i < last - first; i++) {
        const double *difference = patcher->difference + 2 * i;
        patcher->totals[first + i] = difference[0] - difference[1];
        effects[EFFECTS_PER_PAIR * i] = difference[0];
        effects[EFFECTS_PER_PAIR * i + 2] = difference[1];
        match_prompts(patcher, 2 * i, 2 * i + 1);
        match_prompts(patcher, 2 * i + 1, 2 * i);
    }
    if (patcher->from.site == patcher->to.site)
        take_partners(patcher);
    else
        status = run(patcher, 0, hold_given);
    if (status == SN_OK)
        status = run(patcher, patcher->n_sites - 1, put_patched);
    for (size_t prompt = 0; status == SN_OK && prompt < 2 * (last - first); prompt++) {
        double class = prompt % 2 ? -1 : 1, *effect = effects + 2 * prompt;
        effect[0] = class * (effect[0] - patcher->difference[prompt]);
        effect[1] = class * largest_change(patcher, prompt);
    }
    return status;
}

/* ---- public */

/* kind 0: of the logits, 1: of the node. */
static void mean_and_spread(double *mean, double *spread, const struct patcher *patcher, size_t kind)
{
    double sum = 0, squares = 0, n = (double)patcher->n_pairs;
    for (size_t i = 0; i < patcher->n_pairs; i++) {
        const double *effects = patcher->effects + EFFECTS_PER_PAIR * i + kind;
        sum += (effects[0] + effects[2]) / 2;
    }
    *mean = sum / n;
    for (size_t i = 0; i < patcher->n_pairs; i++) {
        const double *effects = patcher->effects + EFFECTS_PER_PAIR * i + kind;
        double off = (effects[0] + effects[2]) / 2 - *mean;
        squares += off * off;
    }
    *spread = patcher->n_pairs > 1 ? sqrt(squares / (n - 1)) : 0;
}

static void fill_result(sn_patch_result *result, const struct patcher *patcher)
{
    size_t size = result->struct_size < sizeof *result ? result->struct_size : sizeof *result;
    sn_patch_result full = {.struct_size = result->struct_size, .n_pairs = patcher->n_pairs};
    mean_and_spread(&full.logit_effect, &full.logit_spread, patcher, 0);
    mean_and_spread(&full.node_effect, &full.node_spread, patcher, 1);
    for (size_t i = 0; i < patcher->n_pairs; i++)
        full.total_effect += patcher->totals[i] / (double)patcher->n_pairs;
    memcpy(result, &full, size);
}

static int run_task(struct patcher *patcher, const struct sn_task *task)
{
    int status = patcher_open(patcher, task);
    for (size_t first = 0, last; status == SN_OK && first < patcher->n_pairs; first = last) {
        last = pair_batch_end(task, NULL, first, patcher->n_pairs, CHUNK_TOKENS);
        status = patch_batch(patcher, task, first, last);
        if (status == SN_OK)
            status = progress(patcher->context, "patch", last, patcher->n_pairs, 0);
    }
    return status;
}

static int find_place(struct place *place, sn_context *context, const char *function,
                      const char *argument, const sn_model *model, const char *name)
{
    if (!name)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function, argument);
    if (!node_find(&place->site, &place->channel, model, name))
        return fail(context, SN_ERROR_ARGUMENT, "%s: \"%s\" is no node of this model", function, name);
    return SN_OK;
}

static int check_patch(sn_context *context, const char *function, const sn_patch_result *result,
                       const sn_model *model, const sn_task *task)
{
    if (!result || result->struct_size < 2 * sizeof(size_t))
        return fail(context, SN_ERROR_ARGUMENT, "%s: result is NULL or its struct_size %zu", function,
                    result ? result->struct_size : 0);
    if (!model || !task)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function, model ? "task" : "model");
    if (sn_task_count(task) == 0)
        return fail(context, SN_ERROR_ARGUMENT, "%s: task %s has no pairs", function,
                    sn_task_name(task));
    return SN_OK;
}

static int patch(sn_patch_result *result, double *effects, size_t capacity, size_t *needed,
                 struct patcher *patcher, const sn_task *task, const char *function)
{
    size_t n = EFFECTS_PER_PAIR * sn_task_count(task);
    int wanted = effects || capacity || needed;
    if (effects && capacity < n)
        return copy_out(patcher->context, function, effects, capacity, needed, NULL, n, sizeof *effects);
    int status = run_task(patcher, task);
    if (status == SN_OK) {
        fill_result(result, patcher);
        if (wanted)
            status = copy_out(patcher->context, function, effects, capacity, needed, patcher->effects, n,
                              sizeof *effects);
    }
    patcher_close(patcher);
    return status;
}

int sn_patch_node(sn_patch_result *result, double *effects, size_t capacity, size_t *needed,
                  sn_context *context, sn_model *model, const char *node, const sn_task *task)
{
    static const char function[] = "sn_patch_node";
    struct patcher patcher = {.context = context, .model = model};
    if (!context)
        return SN_ERROR_ARGUMENT;
    int status = check_patch(context, function, result, model, task);
    if (status == SN_OK)
        status = find_place(&patcher.from, context, function, "node", model, node);
    if (status != SN_OK)
        return status;
    patcher.to = patcher.from;
    return patch(result, effects, capacity, needed, &patcher, task, function);
}

int sn_patch_path(sn_patch_result *result, double *effects, size_t capacity, size_t *needed,
                  sn_context *context, sn_model *model, const char *from, const char *to,
                  const sn_task *task)
{
    static const char function[] = "sn_patch_path";
    struct patcher patcher = {.context = context, .model = model};
    if (!context)
        return SN_ERROR_ARGUMENT;
    int status = check_patch(context, function, result, model, task);
    if (status == SN_OK)
        status = find_place(&patcher.from, context, function, "from", model, from);
    if (status == SN_OK)
        status = find_place(&patcher.to, context, function, "to", model, to);
    if (status != SN_OK)
        return status;
    if (patcher.to.site <= patcher.from.site)
        return fail(context, SN_ERROR_ARGUMENT, "%s: to, \"%s\", does not stand behind from, \"%s\"",
                    function, to, from);
    return patch(result, effects, capacity, needed, &patcher, task, function);
}
