/* What makes a node's value: every weight that leads to it, times what stands at its source. */
#include "circuit/contributions.h"

#include <math.h>
#include <string.h>

#include "circuit/order.h"
#include "circuit/pair_loss.h"
#include "circuit/task.h"

#define CHUNK_TOKENS 1024 /* of one forward over a task; bounds the session's memory */

/* ---- running */

/* Records a site and gives its row a place. */
static int record(struct listing *listing, size_t site)
{
    if (listing->row[site] != NO_NODE)
        return SN_OK;
    listing->row[site] = listing->n_values;
    listing->n_values += site_width(&listing->model->config, site);
    return sn_session_record(listing->run.session, listing->model->site_names[site]);
}

/* The streams in front of and behind a sublayer whose stream is cut tell what was taken away. */
static int record_sites(struct listing *listing)
{
    int status = record(listing, listing->site);
    for (size_t i = 0; status == SN_OK && i < listing->to->n_sources; i++) {
        const struct source *source = &listing->to->sources[i];
        int stream = source->shown.kind == SN_SOURCE_STREAM;
        if ((source->shown.kind != SN_SOURCE_NODE && !stream) || source->site == NO_NODE)
            continue;
        status = record(listing, source->site);
        if (status != SN_OK || !stream)
            continue;
        int in_mlp = source->site % SITES_PER_LAYER == SITE_RESID_IN;
        size_t layer = source->site / SITES_PER_LAYER - (in_mlp ? 1 : 0);
        status = record(listing, site_index(layer, in_mlp ? SITE_RESID_MID : SITE_RESID_IN));
    }
    return status;
}

static int open_run(struct listing *listing, struct sn_model *model)
{
    struct memory *memory = listing->context->memory;
    size_t n_sites = site_count(&model->config);
    listing->row = memory_allocate_array(memory, n_sites, sizeof *listing->row);
    if (!listing->row)
        return fail_memory(listing->context, "a node's sources", n_sites * sizeof *listing->row);
    for (size_t i = 0; i < n_sites; i++)
        listing->row[i] = NO_NODE;
    int status = ablated_run_open(&listing->run, listing->context, model, listing->circuit,
                                  listing->means, listing->node);
    if (status == SN_OK)
        status = record_sites(listing);
    if (status != SN_OK)
        return status;
    listing->values = memory_allocate_array(memory, listing->n_values, sizeof *listing->values);
    return listing->values ? SN_OK
                           : fail_memory(listing->context, "a node's sources", listing->n_values);
}

/* All recorded sites of the last forward, a row of each for token `token`, into listing->values. */
static int read_rows(struct listing *listing, size_t token)
{
    struct memory *memory = listing->context->memory;
    for (size_t site = 0; site < site_count(&listing->model->config); site++) {
        const char *name = listing->model->site_names[site];
        size_t width = site_width(&listing->model->config, site), needed = 0;
        if (listing->row[site] == NO_NODE)
            continue;
        int status = sn_session_activations(NULL, 0, &needed, listing->run.session, name);
        if (status == SN_OK && needed > listing->n_site_values) {
            size_t size = sizeof *listing->site_values;
            float *grown = memory_resize(memory, listing->site_values, listing->n_site_values * size,
                                         needed * size);
            if (!grown)
                return fail_memory(listing->context, "a site's values", needed * size);
            listing->site_values = grown;
            listing->n_site_values = needed;
        }
        if (status == SN_OK)
            status = sn_session_activations(listing->site_values, needed, &needed, listing->run.session,
                                            name);
        if (status != SN_OK)
            return status;
        memcpy(listing->values + listing->row[site], listing->site_values + token * width,
               width * sizeof(float));
    }
    return SN_OK;
}

static double value_at(const struct listing *listing, size_t site, size_t column)
{
    return (double)listing->values[listing->row[site] + column];
}

static double entry(const struct listing *listing, int parameter, size_t row, size_t column)
{
    return (double)matrix_at(listing->model->parameters[parameter].matrix, row, column);
}

/* Behind a sublayer the stream is what was in front plus what was written, less this. */
static double taken_away(const struct listing *listing, size_t site)
{
    int in_mlp = site % SITES_PER_LAYER == SITE_RESID_IN;
    size_t layer = site / SITES_PER_LAYER - (in_mlp ? 1 : 0), c = listing->channel;
    size_t before = site_index(layer, in_mlp ? SITE_RESID_MID : SITE_RESID_IN);
    size_t written = site_index(layer, in_mlp ? SITE_MLP_DELTA : SITE_ATTN_DELTA);
    return value_at(listing, site, c) - value_at(listing, before, c) - value_at(listing, written, c);
}

static double contribution(const struct listing *listing, const struct source *source, int32_t token,
                           size_t position)
{
    const struct sn_model *model = listing->model;
    size_t d_model = model->config.d_model, channel = listing->channel;
    switch (source->shown.kind) {
    case SN_SOURCE_EMBEDDING: return entry(listing, model->wte, (size_t)token, channel);
    case SN_SOURCE_POSITION:
        return entry(listing, model->wpe, position, channel < d_model ? channel : channel - d_model);
    case SN_SOURCE_STREAM: return taken_away(listing, source->site);
    default:
        return source->shown.weight * (source->site == NO_NODE
                                           ? (double)source->mean
                                           : value_at(listing, source->site, source->column));
    }
}

/* One sequence, its last token: added to the sums of class `class`, `share` times. */
static int add_sequence(struct listing *listing, const int32_t *tokens, size_t at, size_t position,
                        int class, double share)
{
    struct sn_contributions *to = listing->to;
    int status = read_rows(listing, at);
    for (size_t i = 0; status == SN_OK && i < to->n_sources; i++) {
        sn_contribution *shown = &to->sources[i].shown;
        *(class ? &shown->value_b : &shown->value) +=
            share * contribution(listing, &to->sources[i], tokens[at], position);
    }
    if (status == SN_OK)
        to->value[class] += share * value_at(listing, listing->site, listing->channel);
    return status;
}

static int run_tokens(struct listing *listing, const int32_t *tokens, size_t n_tokens, size_t position)
{
    const size_t offsets[2] = {0, n_tokens}, none = 0;
    int status = sn_session_select_logits(listing->run.session, &none, 1);
    if (status == SN_OK)
        status = sn_session_forward(listing->run.session, tokens, offsets, 1);
    return status == SN_OK ? add_sequence(listing, tokens, position, position, 0, 1) : status;
}

static int run_task(struct listing *listing, const struct sn_task *task)
{
    struct pair_batch batch;
    size_t n = task->n_pairs;
    int status = SN_OK;
    pair_batch_init(&batch, listing->context->memory);
    for (size_t first = 0, last; status == SN_OK && first < n; first = last) {
        last = pair_batch_end(task, NULL, first, n, CHUNK_TOKENS);
        status = pair_batch_fill(&batch, listing->context, task, NULL, first, last - first,
                                 listing->model->config.vocab_size);
        if (status == SN_OK)
            status = pair_batch_forward(&batch, listing->run.session);
        for (size_t s = 0; status == SN_OK && s < 2 * (last - first); s++)
            status = add_sequence(listing, batch.tokens, batch.last[s], batch.last[s] - batch.offsets[s],
                                  (int)(s % 2), 1 / (double)n);
        if (status == SN_OK)
            status = progress(listing->context, "contributions", last, n, 0);
    }
    pair_batch_free(&batch);
    return status;
}

static int sort(struct sn_contributions *contributions, struct sn_context *context)
{
    size_t n = contributions->n_sources;
    double *score = memory_allocate_array(context->memory, n, sizeof *score);
    contributions->order = memory_allocate_array(contributions->memory, n, sizeof *contributions->order);
    int status = score && contributions->order ? SN_OK : fail_memory(context, "contributions", n);
    for (size_t i = 0; status == SN_OK && i < n; i++) {
        const sn_contribution *shown = &contributions->sources[i].shown;
        contributions->order[i] = i;
        score[i] = -(fabs(shown->value) + fabs(shown->value_b));
    }
    if (status == SN_OK)
        order_by_score(contributions->order, n, score);
    memory_free(context->memory, score, n * sizeof *score);
    return status;
}

static int find_node(struct listing *listing, const char *node, const char *function)
{
    listing->node = node_layout_find(&listing->layout, listing->model, node);
    if (listing->node == NO_NODE)
        return fail(listing->context, SN_ERROR_ARGUMENT, "%s: \"%.100s\" is no node of this model",
                    function, node);
    const struct node_site *site =
        &listing->layout.sites[node_layout_site(&listing->layout, listing->node)];
    listing->site = site->site;
    listing->channel = listing->node - site->first;
    listing->layer = listing->site / SITES_PER_LAYER;
    listing->kind = (enum site_kind)(listing->site % SITES_PER_LAYER);
    return SN_OK;
}

/* Either tokens or a task. */
struct prompt {
    const int32_t *tokens;
    size_t n_tokens, position;
    const struct sn_task *task;
};

static int fill(struct listing *listing, struct sn_model *model, const char *node,
                const struct prompt *prompt, const char *function)
{
    int status = node_layout_create(&listing->layout, listing->context, model);
    if (status == SN_OK)
        status = find_node(listing, node, function);
    if (status == SN_OK)
        status = listing->kind == SITE_ATTN_ACT_IN || listing->kind == SITE_MLP_ACT_IN
                     ? list_stream(listing)
                     : list_weights(listing);
    if (status == SN_OK)
        status = open_run(listing, model);
    if (status == SN_OK)
        status = prompt->task ? run_task(listing, prompt->task)
                              : run_tokens(listing, prompt->tokens, prompt->n_tokens, prompt->position);
    return status == SN_OK ? sort(listing->to, listing->context) : status;
}

static void close_listing(struct listing *listing)
{
    struct memory *memory = listing->context->memory;
    ablated_run_close(&listing->run);
    if (listing->row)
        memory_free(memory, listing->row, site_count(&listing->model->config) * sizeof *listing->row);
    memory_free(memory, listing->site_values, listing->n_site_values * sizeof *listing->site_values);
    if (listing->values)
        memory_free(memory, listing->values, listing->n_values * sizeof *listing->values);
    node_layout_free(&listing->layout);
}

static int create(sn_contributions **out, sn_context *context, sn_model *model,
                  const sn_circuit *circuit, const sn_means *means, const char *node,
                  const struct prompt *prompt, const char *function)
{
    int status = ablated_run_check(context, model, circuit, means, function);
    if (status != SN_OK)
        return status;
    sn_contributions *contributions = memory_allocate_zeroed(context->memory, sizeof *contributions);
    if (!contributions)
        return fail_memory(context, "contributions", sizeof *contributions);
    contributions->memory = memory_retain(context->memory);
    struct listing listing = {
        .context = context, .model = model, .circuit = circuit, .means = means, .to = contributions};
    status = fill(&listing, model, node, prompt, function);
    close_listing(&listing);
    if (status != SN_OK) {
        sn_contributions_free(contributions);
        return status;
    }
    *out = contributions;
    return SN_OK;
}

/* ---- public */

int sn_contributions_create(sn_contributions **out, sn_context *context, sn_model *model,
                            const sn_circuit *circuit, const sn_means *means, const char *node,
                            const int32_t *tokens, size_t n_tokens, size_t position)
{
    static const char function[] = "sn_contributions_create";
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!model || !node || !tokens)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function,
                    !model  ? "model"
                    : !node ? "node"
                            : "tokens");
    if (position >= n_tokens)
        return fail(context, SN_ERROR_ARGUMENT, "%s: position is %zu, n_tokens %zu", function, position,
                    n_tokens);
    const struct prompt prompt = {.tokens = tokens, .n_tokens = n_tokens, .position = position};
    return create(out, context, model, circuit, means, node, &prompt, function);
}

int sn_contributions_create_task(sn_contributions **out, sn_context *context, sn_model *model,
                                 const sn_circuit *circuit, const sn_means *means, const char *node,
                                 const sn_task *task)
{
    static const char function[] = "sn_contributions_create_task";
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!model || !node || !task)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function,
                    !model  ? "model"
                    : !node ? "node"
                            : "task");
    if (task->n_pairs == 0)
        return fail(context, SN_ERROR_ARGUMENT, "%s: task %s has no pairs", function, task->name);
    const struct prompt prompt = {.task = task};
    return create(out, context, model, circuit, means, node, &prompt, function);
}

void sn_contributions_free(sn_contributions *contributions)
{
    if (!contributions)
        return;
    struct memory *memory = contributions->memory;
    memory_free(memory, contributions->sources,
                contributions->capacity * sizeof *contributions->sources);
    memory_free(memory, contributions->order, contributions->n_sources * sizeof *contributions->order);
    memory_free(memory, contributions, sizeof *contributions);
    memory_release(memory);
}

size_t sn_contributions_count(const sn_contributions *contributions)
{
    return contributions ? contributions->n_sources : 0;
}

int sn_contributions_get(sn_contribution *result, const sn_contributions *contributions, size_t index)
{
    if (!result || result->struct_size < sizeof(size_t) || !contributions ||
        index >= contributions->n_sources)
        return SN_ERROR_ARGUMENT;
    size_t size = result->struct_size;
    sn_contribution full = contributions->sources[contributions->order[index]].shown;
    full.struct_size = size;
    memcpy(result, &full, size < sizeof full ? size : sizeof full);
    return SN_OK;
}

int sn_contributions_sum(double *input, double *input_b, double *value, double *value_b,
                         const sn_contributions *contributions)
{
    double sum[CLASSES] = {0, 0};
    if (!contributions)
        return SN_ERROR_ARGUMENT;
    for (size_t i = 0; i < contributions->n_sources; i++) {
        sum[0] += contributions->sources[i].shown.value;
        sum[1] += contributions->sources[i].shown.value_b;
    }
    double *const out[] = {input, input_b, value, value_b};
    const double got[] = {sum[0], sum[1], contributions->value[0], contributions->value[1]};
    for (size_t i = 0; i < sizeof out / sizeof *out; i++)
        if (out[i])
            *out[i] = got[i];
    return SN_OK;
}
