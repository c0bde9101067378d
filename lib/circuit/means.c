/* Mean of every node over windows of a corpus: an intervention that changes nothing and adds up. */
#include "circuit/circuit.h"

#include <string.h>

#include "base/options.h"
#include "model/intervention.h"
#include "model/session.h"
#include "text/corpus.h"

#define MEANS_BATCH_TOKENS 2048 /* a forward's share; bounds the session and the partial sums */

size_t means_size(const struct sn_means *means)
{
    const struct config *config = &means->model->config;
    return means->layout.n_nodes + config->n_layer * config_d_attn(config);
}

int means_create_values(struct sn_means **out, struct sn_context *context, struct sn_model *model,
                        const float *values)
{
    *out = NULL;
    struct sn_means *means = memory_allocate_zeroed(context->memory, sizeof *means);
    if (!means)
        return fail_memory(context, "means", sizeof *means);
    means->memory = memory_retain(context->memory);
    means->model = sn_model_retain(model);
    int status = node_layout_create(&means->layout, context, model);
    size_t n = means_size(means);
    if (status == SN_OK) {
        means->values = memory_allocate_zeroed_array(means->memory, n, sizeof *means->values);
        if (!means->values)
            status = fail_memory(context, "means", n * sizeof *means->values);
    }
    if (status != SN_OK) {
        sn_means_free(means);
        return status;
    }
    means->carried = means->values + means->layout.n_nodes;
    if (values)
        memcpy(means->values, values, n * sizeof *values);
    *out = means;
    return SN_OK;
}

void sn_means_free(sn_means *means)
{
    if (!means)
        return;
    struct memory *memory = means->memory;
    memory_free(memory, means->values, means_size(means) * sizeof *means->values);
    node_layout_free(&means->layout);
    sn_model_free(means->model);
    memory_free(memory, means, sizeof *means);
    memory_release(memory);
}

const float *sn_means_site(size_t *width, const sn_means *means, const char *site)
{
    if (width)
        *width = 0;
    if (!means || !site)
        return NULL;
    int index = site_find(means->model, site);
    if (index < 0 || node_layout_first(&means->layout, (size_t)index) == NO_NODE)
        return NULL;
    if (width)
        *width = site_width(&means->model->config, (size_t)index);
    return means->values + node_layout_first(&means->layout, (size_t)index);
}

int means_check(const struct sn_means *means, struct sn_context *context, const struct sn_model *model,
                const char *function)
{
    if (!means)
        return fail(context, SN_ERROR_ARGUMENT, "%s: means is NULL", function);
    if (means->model == model)
        return SN_OK;
    struct node_layout layout;
    int status = node_layout_create(&layout, context, model);
    if (status != SN_OK)
        return status;
    size_t n = layout.n_nodes;
    int alike = node_layout_equal(&layout, &means->layout);
    node_layout_free(&layout);
    return alike ? fail(context, SN_ERROR_ARGUMENT, "%s: means were taken from another model", function)
                 : fail(context, SN_ERROR_ARGUMENT,
                        "%s: means have %zu nodes, the model %zu, or their sites differ", function,
                        means->layout.n_nodes, n);
}

/* One site's accumulator. Sums of panel p stand at partial + p * stride; each is written by one worker,
 * and they are added in the order of panels. */
struct accumulator {
    struct intervention base;
    double *partial;
    size_t stride;
};

static void accumulate(struct intervention *self, const struct site_view *view, float *x, void *saved)
{
    struct accumulator *accumulator = (struct accumulator *)self;
    double *partial = accumulator->partial + view->panel * accumulator->stride;
    (void)saved;
    for (size_t c = 0; c < view->width; c++) {
        double sum = 0;
        for (size_t t = 0; t < view->n_tokens; t++)
            sum += (double)x[c * PANEL + t];
        partial[c] = sum;
    }
}

struct means_settings {
    size_t tokens, window, seed;
};

static const struct option_spec specs[] = {
    {"tokens", OPTION_INTEGER, offsetof(struct means_settings, tokens), 32768, 1, 1e12, NULL},
    {"window", OPTION_INTEGER, offsetof(struct means_settings, window), 0, 0, 1e9, NULL},
    {"seed", OPTION_INTEGER, offsetof(struct means_settings, seed), 0, 0, 9e15, NULL},
};

struct means_run {
    struct sn_context *context;
    const struct sn_corpus *corpus;
    const struct sn_means *means; /* whose values are being measured */
    struct sn_session *session;
    struct means_settings settings;
    size_t batch_windows, max_panels;
    int32_t *tokens, *targets; /* batch_windows x window */
    size_t *lengths, *offsets;
    size_t n_values;        /* means_size */
    double *partial, *sums; /* n_values for each panel; n_values */
    struct accumulator
        *accumulators; /* of each site with nodes, then of each layer's attention output */
    size_t n_accumulators;
};

static int run_allocate(struct means_run *run)
{
    struct memory *memory = run->context->memory;
    size_t window = run->settings.window, n = run->n_values;
    run->batch_windows = window >= MEANS_BATCH_TOKENS ? 1 : MEANS_BATCH_TOKENS / window;
    size_t tokens = run->batch_windows * window;
    run->max_panels = (tokens + PANEL - 1) / PANEL;
    run->tokens = memory_allocate_array(memory, tokens, sizeof *run->tokens);
    run->targets = memory_allocate_array(memory, tokens, sizeof *run->targets);
    run->lengths = memory_allocate_array(memory, run->batch_windows, sizeof *run->lengths);
    run->offsets = memory_allocate_array(memory, run->batch_windows + 1, sizeof *run->offsets);
    run->partial = memory_allocate_array(memory, n, run->max_panels * sizeof *run->partial);
    run->sums = memory_allocate_zeroed_array(memory, n, sizeof *run->sums);
    run->accumulators =
        memory_allocate_zeroed_array(memory, run->n_accumulators, sizeof *run->accumulators);
    if (run->tokens && run->targets && run->lengths && run->offsets && run->partial && run->sums &&
        run->accumulators)
        return SN_OK;
    return fail_memory(run->context, "the means' windows and sums", 0);
}

static void run_free(struct means_run *run)
{
    struct memory *memory = run->context->memory;
    size_t n = run->n_values, tokens = run->batch_windows * run->settings.window;
    sn_session_free(run->session);
    memory_free(memory, run->tokens, tokens * sizeof *run->tokens);
    memory_free(memory, run->targets, tokens * sizeof *run->targets);
    memory_free(memory, run->lengths, run->batch_windows * sizeof *run->lengths);
    memory_free(memory, run->offsets, (run->batch_windows + 1) * sizeof *run->offsets);
    memory_free(memory, run->partial, n * run->max_panels * sizeof *run->partial);
    memory_free(memory, run->sums, n * sizeof *run->sums);
    memory_free(memory, run->accumulators, run->n_accumulators * sizeof *run->accumulators);
}

/* Sums the channels of a site into the values from `first` on. */
static int attach_one(struct means_run *run, size_t index, size_t site, size_t first)
{
    run->accumulators[index] = (struct accumulator){
        .base = {.forward = accumulate}, .partial = run->partial + first, .stride = run->n_values};
    return session_attach(run->session, site, &run->accumulators[index].base);
}

static int run_attach(struct means_run *run)
{
    const struct node_layout *layout = &run->means->layout;
    const struct config *config = &run->means->model->config;
    int status = SN_OK;
    for (size_t s = 0; status == SN_OK && s < layout->n_sites; s++)
        status = attach_one(run, s, layout->sites[s].site, layout->sites[s].first);
    for (size_t layer = 0; status == SN_OK && layer < config->n_layer; layer++)
        status = attach_one(run, layout->n_sites + layer, site_index(layer, SITE_ATTN_Y),
                            layout->n_nodes + layer * config_d_attn(config));
    return status;
}

static int run_batch(struct means_run *run, size_t n_windows, uint64_t index, size_t *n_tokens)
{
    int status = sn_corpus_sample(run->tokens, run->targets, run->lengths, run->corpus, run->context,
                                  n_windows, run->settings.window, run->settings.seed, index);
    if (status != SN_OK)
        return status;
    *n_tokens =
        corpus_pack_windows(run->tokens, run->offsets, run->lengths, run->settings.window, n_windows);
    /* One row of logits: nobody reads them. */
    size_t first_token = 0;
    status = sn_session_select_logits(run->session, &first_token, 1);
    if (status == SN_OK)
        status = sn_session_forward(run->session, run->tokens, run->offsets, n_windows);
    if (status != SN_OK)
        return status;
    size_t n_panels = (*n_tokens + PANEL - 1) / PANEL, n = run->n_values;
    for (size_t p = 0; p < n_panels; p++)
        for (size_t i = 0; i < n; i++)
            run->sums[i] += run->partial[p * n + i];
    return SN_OK;
}

static int run_all(struct means_run *run, float *values)
{
    size_t wanted = run->settings.tokens, seen = 0, n = run->n_values;
    int status = run_attach(run);
    for (uint64_t index = 0; status == SN_OK && seen < wanted;) {
        size_t n_tokens = 0,
               n_windows = (wanted - seen + run->settings.window - 1) / run->settings.window;
        if (n_windows > run->batch_windows)
            n_windows = run->batch_windows;
        status = run_batch(run, n_windows, index, &n_tokens);
        index += n_windows;
        seen += n_tokens;
        if (status == SN_OK)
            status = progress(run->context, "means", seen < wanted ? seen : wanted, wanted, 0);
    }
    for (size_t i = 0; status == SN_OK && i < n; i++) {
        values[i] = (float)(run->sums[i] / (double)seen);
        if (values[i] - values[i] != 0)
            status = fail(run->context, SN_ERROR_NUMERIC, "mean %zu of %zu is not finite", i, n);
    }
    return status;
}

int sn_means_create(sn_means **out, sn_context *context, sn_model *model, const sn_corpus *corpus,
                    const sn_options *options)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!model || !corpus)
        return fail(context, SN_ERROR_ARGUMENT, "sn_means_create: %s is NULL",
                    model ? "corpus" : "model");
    struct means_run run = {.context = context, .corpus = corpus};
    size_t block = model->config.block_size;
    int status = options_read(&run.settings, context, "sn_means_create", specs,
                              sizeof specs / sizeof *specs, options);
    if (status != SN_OK)
        return status;
    if (run.settings.window > block)
        return fail(context, SN_ERROR_ARGUMENT, "sn_means_create: window is %zu, block_size %zu",
                    run.settings.window, block);
    if (run.settings.window == 0)
        run.settings.window = block;
    sn_means *means = NULL;
    status = means_create_values(&means, context, model, NULL);
    if (status != SN_OK)
        return status;
    run.means = means;
    run.n_values = means_size(means);
    run.n_accumulators = means->layout.n_sites + model->config.n_layer;
    status = run_allocate(&run);
    if (status == SN_OK)
        status = session_create(&run.session, context, model, GRADIENT_NONE);
    if (status == SN_OK)
        status = run_all(&run, means->values);
    run_free(&run);
    if (status != SN_OK) {
        sn_means_free(means);
        return status;
    }
    *out = means;
    return SN_OK;
}
