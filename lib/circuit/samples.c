/* Activations of random tokens of a corpus: an intervention that changes nothing and copies. */
#include "circuit/ablation.h"

#include <string.h>

#include "base/random.h"

#define TOKENS_PER_WINDOW 4 /* taken of each window */
#define BATCH_TOKENS 2048   /* of one forward; bounds the session's memory */
#define NO_SAMPLE ((size_t)-1)

struct sampler;

struct site_copy {
    struct intervention base; /* first */
    const struct sampler *sampler;
    size_t first; /* of the site's values in a sample */
};

struct sampler {
    struct sn_context *context;
    const struct sn_corpus *corpus;
    const struct sn_means *means; /* its layout */
    struct samples_settings settings;
    struct sn_session *session;
    struct site_copy *copies;
    size_t n_copies, batch_windows, n_values;
    int32_t *tokens, *targets; /* batch_windows x window */
    size_t *lengths, *offsets;
    size_t *sample_of; /* of each packed token of the batch, or NO_SAMPLE */
    float *samples;    /* lent */
};

/* A token stands in one panel, so no two workers write one place. */
static void copy_sampled(struct intervention *self, const struct site_view *view, float *x, void *saved)
{
    const struct site_copy *copy = (const struct site_copy *)self;
    const struct sampler *sampler = copy->sampler;
    (void)saved;
    for (size_t t = 0; t < view->n_tokens; t++) {
        size_t sample = sampler->sample_of[view->token[t]];
        if (sample == NO_SAMPLE)
            continue;
        float *values = sampler->samples + sample * sampler->n_values + copy->first;
        for (size_t c = 0; c < view->width; c++)
            values[c] = x[c * PANEL + t];
    }
}

static int sampler_open(struct sampler *sampler)
{
    struct memory *memory = sampler->context->memory;
    size_t window = sampler->settings.window;
    sampler->batch_windows = window >= BATCH_TOKENS ? 1 : BATCH_TOKENS / window;
    sampler->n_copies = sampler->means->layout.n_sites + sampler->means->model->config.n_layer;
    size_t windows = sampler->batch_windows, tokens = windows * window;
    sampler->tokens = memory_allocate_array(memory, tokens, sizeof *sampler->tokens);
    sampler->targets = memory_allocate_array(memory, tokens, sizeof *sampler->targets);
    sampler->lengths = memory_allocate_array(memory, windows, sizeof *sampler->lengths);
    sampler->offsets = memory_allocate_array(memory, windows + 1, sizeof *sampler->offsets);
    sampler->sample_of = memory_allocate_array(memory, tokens, sizeof *sampler->sample_of);
    sampler->copies = memory_allocate_zeroed_array(memory, sampler->n_copies, sizeof *sampler->copies);
    if (!sampler->tokens || !sampler->targets || !sampler->lengths || !sampler->offsets ||
        !sampler->sample_of || !sampler->copies)
        return fail_memory(sampler->context, "windows to sample from", tokens * sizeof(size_t));
    return session_create_forward(&sampler->session, sampler->context, sampler->means->model);
}

static void sampler_close(struct sampler *sampler)
{
    struct memory *memory = sampler->context->memory;
    size_t windows = sampler->batch_windows, tokens = windows * sampler->settings.window;
    sn_session_free(sampler->session);
    memory_free(memory, sampler->tokens, tokens * sizeof *sampler->tokens);
    memory_free(memory, sampler->targets, tokens * sizeof *sampler->targets);
    memory_free(memory, sampler->lengths, windows * sizeof *sampler->lengths);
    memory_free(memory, sampler->offsets, (windows + 1) * sizeof *sampler->offsets);
    memory_free(memory, sampler->sample_of, tokens * sizeof *sampler->sample_of);
    memory_free(memory, sampler->copies, sampler->n_copies * sizeof *sampler->copies);
}

static int attach_one(struct sampler *sampler, size_t index, size_t site, size_t first)
{
    sampler->copies[index] = (struct site_copy){{.forward = copy_sampled}, sampler, first};
    return session_attach(sampler->session, site, &sampler->copies[index].base);
}

static int sampler_attach(struct sampler *sampler)
{
    const struct node_layout *layout = &sampler->means->layout;
    const struct config *config = &sampler->means->model->config;
    int status = SN_OK;
    for (size_t s = 0; status == SN_OK && s < layout->n_sites; s++)
        status = attach_one(sampler, s, layout->sites[s].site, layout->sites[s].first);
    for (size_t layer = 0; status == SN_OK && layer < config->n_layer; layer++)
        status = attach_one(sampler, layout->n_sites + layer, site_index(layer, SITE_ATTN_Y),
                            layout->n_nodes + layer * config_d_attn(config));
    return status;
}

/* Packs the windows, and gives samples from `sample` on to different tokens of each. Returns the next
 * sample. */
static size_t choose_tokens(struct sampler *sampler, size_t n_windows, size_t sample,
                            struct random_state *random)
{
    size_t used = 0, wanted = sampler->settings.n_samples;
    for (size_t i = 0; i < n_windows; i++) {
        size_t n = sampler->lengths[i];
        memmove(sampler->tokens + used, sampler->tokens + i * sampler->settings.window,
                n * sizeof *sampler->tokens);
        sampler->offsets[i] = used;
        for (size_t t = used; t < used + n; t++)
            sampler->sample_of[t] = NO_SAMPLE;
        for (size_t taken = 0; taken < TOKENS_PER_WINDOW && taken < n && sample < wanted; taken++) {
            size_t t = used + random_below(random, n);
            while (sampler->sample_of[t] != NO_SAMPLE)
                t = used + random_below(random, n);
            sampler->sample_of[t] = sample++;
        }
        used += n;
    }
    sampler->offsets[n_windows] = used;
    return sample;
}

static int sample_all(struct sampler *sampler)
{
    const struct samples_settings *settings = &sampler->settings;
    struct random_state random;
    size_t first_token = 0;
    random_seed(&random, settings->seed, 1);
    int status = sampler_attach(sampler);
    for (size_t sample = 0, index = 0; status == SN_OK && sample < settings->n_samples;) {
        size_t left = settings->n_samples - sample;
        size_t windows = (left + TOKENS_PER_WINDOW - 1) / TOKENS_PER_WINDOW;
        if (windows > sampler->batch_windows)
            windows = sampler->batch_windows;
        status = sn_corpus_sample(sampler->tokens, sampler->targets, sampler->lengths, sampler->corpus,
                                  sampler->context, windows, settings->window, settings->seed, index);
        if (status != SN_OK)
            break;
        sample = choose_tokens(sampler, windows, sample, &random);
        index += windows;
        status = sn_session_select_logits(sampler->session, &first_token, 1); /* nobody reads them */
        if (status == SN_OK)
            status = sn_session_forward(sampler->session, sampler->tokens, sampler->offsets, windows);
        if (status == SN_OK)
            status = progress(sampler->context, "samples", sample, settings->n_samples, 0);
    }
    return status;
}

int samples_collect(float *samples, struct sn_context *context, const struct sn_means *layout_of,
                    const struct sn_corpus *corpus, const struct samples_settings *settings)
{
    struct sampler sampler = {.context = context,
                              .corpus = corpus,
                              .means = layout_of,
                              .settings = *settings,
                              .n_values = means_size(layout_of),
                              .samples = samples};
    int status = sampler_open(&sampler);
    if (status == SN_OK)
        status = sample_all(&sampler);
    sampler_close(&sampler);
    for (size_t i = 0; status == SN_OK && i < settings->n_samples * sampler.n_values; i++)
        if (samples[i] - samples[i] != 0)
            status = fail(context, SN_ERROR_NUMERIC, "value %zu of sample %zu is not finite",
                          i % sampler.n_values, i / sampler.n_values);
    return status;
}
