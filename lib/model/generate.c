/* Generating token by token: the public calls. */
#include "model/generator.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/options.h"

/* From this many tokens on, a prompt goes through panels of 64 (docs/running.md). */
#define PROMPT_TOKENS 16

static int allocate_parts(struct sn_generator *generator)
{
    struct memory *memory = generator->context->memory;
    const struct config *config = generator_config(generator);
    size_t vocabulary = config->vocab_size;
    generator->layers = memory_allocate_zeroed_array(memory, config->n_layer, sizeof *generator->layers);
    generator->records =
        memory_allocate_zeroed_array(memory, site_count(config), sizeof *generator->records);
    generator->logits = memory_allocate_array(memory, vocabulary, sizeof(float));
    generator->running = memory_allocate_array(memory, vocabulary, sizeof(float));
    generator->weights = memory_allocate_array(memory, vocabulary, sizeof(double));
    if (!generator->layers || !generator->records || !generator->logits || !generator->running ||
        !generator->weights)
        return fail_memory(generator->context, "a generator", vocabulary * 16);
    int status = cache_create(&generator->cache, generator->context, config);
    return status == SN_OK ? generator_prepare(generator) : status;
}

struct generator_settings {
    double temperature;
    size_t top_k, seed;
};

int sn_generator_create(sn_generator **out, sn_context *context, sn_model *model,
                        const sn_options *options)
{
    static const struct option_spec specs[] = {
        {"temperature", OPTION_NUMBER, offsetof(struct generator_settings, temperature), 1, 0, 1e6,
         NULL},
        {"top_k", OPTION_INTEGER, offsetof(struct generator_settings, top_k), 0, 0, 1e9, NULL},
        {"seed", OPTION_INTEGER, offsetof(struct generator_settings, seed), 0, 0, 9e15, NULL},
    };
    struct generator_settings settings;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!model)
        return fail(context, SN_ERROR_ARGUMENT, "sn_generator_create: model is NULL");
    int status = options_read(&settings, context, "sn_generator_create", specs,
                              sizeof specs / sizeof *specs, options);
    if (status != SN_OK)
        return status;
    struct sn_generator *generator = memory_allocate_zeroed(context->memory, sizeof *generator);
    if (!generator)
        return fail_memory(context, "a generator", sizeof *generator);
    generator->context = context_retain(context);
    generator->temperature = settings.temperature;
    generator->top_k = settings.top_k;
    generator->seed = settings.seed;
    random_seed(&generator->random, settings.seed, 0);
    status = session_create_forward(&generator->session, context, model);
    if (status == SN_OK)
        status = allocate_parts(generator);
    if (status == SN_OK)
        *out = generator;
    else
        sn_generator_free(generator);
    return status;
}

static void free_records(struct sn_generator *generator)
{
    const struct config *config = generator_config(generator);
    struct memory *memory = generator->context->memory;
    for (size_t site = 0; generator->records && site < site_count(config); site++) {
        size_t bytes = site_width(config, site) * sizeof(float);
        memory_free(memory, generator->records[site].values, bytes);
        memory_free(memory, generator->records[site].running, bytes);
        generator->records[site] = (struct generator_record){0};
    }
}

void sn_generator_free(sn_generator *generator)
{
    if (!generator)
        return;
    struct sn_context *context = generator->context;
    struct memory *memory = context->memory;
    if (generator->session) {
        const struct config *config = generator_config(generator);
        size_t vocabulary = config->vocab_size;
        generator_release(generator);
        cache_release(&generator->cache);
        free_records(generator);
        memory_free(memory, generator->records, site_count(config) * sizeof *generator->records);
        memory_free(memory, generator->layers, config->n_layer * sizeof *generator->layers);
        memory_free(memory, generator->logits, vocabulary * sizeof(float));
        memory_free(memory, generator->running, vocabulary * sizeof(float));
        memory_free(memory, generator->weights, vocabulary * sizeof(double));
    }
    sn_session_free(generator->session);
    memory_free(memory, generator, sizeof *generator);
    context_release(context);
}

/* ---- appending */

static int check_tokens(const struct sn_generator *generator, const int32_t *tokens, size_t n_tokens)
{
    const struct config *config = generator_config(generator);
    size_t held = generator->cache.n_tokens;
    if (n_tokens > config->block_size - held)
        return fail(generator->context, SN_ERROR_STATE,
                    "the context is full: %zu tokens are held, %zu more do not fit into a block_size of "
                    "%zu",
                    held, n_tokens, config->block_size);
    for (size_t t = 0; t < n_tokens; t++)
        if (tokens[t] < 0 || (size_t)tokens[t] >= config->vocab_size)
            return fail(generator->context, SN_ERROR_ARGUMENT,
                        "tokens[%zu] is %d; the vocabulary has %zu tokens", t, (int)tokens[t],
                        config->vocab_size);
    return SN_OK;
}

/* Some token must have a probability. */
static int check_logits(const struct sn_generator *generator)
{
    size_t n = generator_config(generator)->vocab_size, n_finite = 0;
    for (size_t i = 0; i < n; i++) {
        float logit = generator->running[i];
        if (isnan(logit) || (isinf(logit) && logit > 0))
            return fail(generator->context, SN_ERROR_NUMERIC, "the logit of token %zu is %s", i,
                        isnan(logit) ? "not a number" : "infinite");
        n_finite += isfinite(logit) != 0;
    }
    return n_finite ? SN_OK : fail(generator->context, SN_ERROR_NUMERIC, "the logits are all -infinity");
}

static int run_tokens(struct sn_generator *generator, const int32_t *tokens, size_t n_tokens)
{
    size_t held = generator->cache.n_tokens;
    int status = cache_reserve(&generator->cache, generator->context, n_tokens);
    generator->session->n_tokens = held + n_tokens; /* which values given per token must cover */
    if (status == SN_OK)
        status = interventions_check(generator->session);
    if (status == SN_OK && held == 0 && n_tokens >= PROMPT_TOKENS)
        return generator_prompt(generator, tokens, n_tokens);
    for (size_t t = 0; status == SN_OK && t < n_tokens; t++)
        status = generator_step(generator, tokens[t], held + t, t + 1 == n_tokens);
    return status;
}

static void swap_floats(float **a, float **b)
{
    float *kept = *a;
    *a = *b;
    *b = kept;
}

/* What the run has computed replaces what was there. */
static void accept(struct sn_generator *generator, size_t n_tokens)
{
    generator->cache.n_tokens += n_tokens;
    swap_floats(&generator->logits, &generator->running);
    for (size_t site = 0; site < site_count(generator_config(generator)); site++) {
        struct generator_record *record = &generator->records[site];
        swap_floats(&record->values, &record->running);
        record->filled = record->values != NULL;
    }
}

int sn_generator_append(sn_generator *generator, const int32_t *tokens, size_t n_tokens)
{
    if (!generator)
        return SN_ERROR_ARGUMENT;
    if (n_tokens == 0)
        return SN_OK;
    if (!tokens)
        return fail(generator->context, SN_ERROR_ARGUMENT, "sn_generator_append: tokens is NULL");
    int status = check_tokens(generator, tokens, n_tokens);
    if (status != SN_OK)
        return status;
    status = run_tokens(generator, tokens, n_tokens);
    if (status == SN_OK)
        status = check_logits(generator);
    if (status == SN_OK)
        accept(generator, n_tokens);
    if (status != SN_OK || n_tokens > 1) /* a failed run and a panel's padding leave something behind */
        cache_forget_rest(&generator->cache);
    return status;
}

int sn_generator_next(int32_t *token, sn_generator *generator)
{
    if (!generator)
        return SN_ERROR_ARGUMENT;
    const struct config *config = generator_config(generator);
    if (!token)
        return fail(generator->context, SN_ERROR_ARGUMENT, "sn_generator_next: token is NULL");
    if (generator->cache.n_tokens == 0)
        return fail(generator->context, SN_ERROR_STATE,
                    "sn_generator_next: no tokens have been appended to go on from");
    struct random_state before = generator->random;
    int32_t drawn = (int32_t)draw_token(&generator->random, generator->weights, generator->logits,
                                        config->vocab_size, generator->temperature, generator->top_k);
    int status = sn_generator_append(generator, &drawn, 1);
    if (status == SN_OK)
        *token = drawn;
    else
        generator->random = before;
    return status;
}

int sn_generator_logits(float *logits, size_t capacity, size_t *needed, sn_generator *generator)
{
    if (!generator)
        return SN_ERROR_ARGUMENT;
    if (generator->cache.n_tokens == 0)
        return fail(generator->context, SN_ERROR_STATE,
                    "sn_generator_logits: no tokens have been appended");
    return copy_out(generator->context, "sn_generator_logits", logits, capacity, needed,
                    generator->logits, generator_config(generator)->vocab_size, sizeof *logits);
}

size_t sn_generator_count(const sn_generator *generator)
{
    return generator ? generator->cache.n_tokens : 0;
}

int sn_generator_reset(sn_generator *generator)
{
    if (!generator)
        return SN_ERROR_ARGUMENT;
    generator->cache.n_tokens = 0;
    for (size_t site = 0; site < site_count(generator_config(generator)); site++)
        generator->records[site].filled = 0;
    random_seed(&generator->random, generator->seed, 0);
    return SN_OK;
}

/* ---- sites */

int sn_generator_intervene(sn_generator *generator, const char *site, int action, const size_t *channels,
                           size_t n_channels, const float *values, size_t n_values,
                           const unsigned char *token_mask, size_t n_tokens)
{
    return generator ? sn_session_intervene(generator->session, site, action, channels, n_channels,
                                            values, n_values, token_mask, n_tokens)
                     : SN_ERROR_ARGUMENT;
}

int sn_generator_clear_interventions(sn_generator *generator)
{
    return generator ? sn_session_clear_interventions(generator->session) : SN_ERROR_ARGUMENT;
}

static int find_record(struct generator_record **record, size_t *width, struct sn_generator *generator,
                       const char *function, const char *site)
{
    int index = site ? site_find(generator->session->model, site) : -1;
    if (index < 0)
        return fail(generator->context, SN_ERROR_ARGUMENT, "%s: the model has no site \"%s\"", function,
                    site ? site : "(null)");
    *record = &generator->records[index];
    *width = site_width(generator_config(generator), (size_t)index);
    return SN_OK;
}

int sn_generator_record(sn_generator *generator, const char *site)
{
    struct generator_record *record;
    size_t width;
    if (!generator)
        return SN_ERROR_ARGUMENT;
    struct memory *memory = generator->context->memory;
    if (!site) {
        free_records(generator);
        return SN_OK;
    }
    int status = find_record(&record, &width, generator, "sn_generator_record", site);
    if (status != SN_OK || record->values)
        return status;
    float *values = memory_allocate_array(memory, width, sizeof *values);
    float *running = memory_allocate_array(memory, width, sizeof *running);
    if (!values || !running) {
        memory_free(memory, values, width * sizeof *values);
        memory_free(memory, running, width * sizeof *running);
        return fail_memory(generator->context, "what a site keeps", 2 * width * sizeof *values);
    }
    *record = (struct generator_record){values, running, 0};
    return SN_OK;
}

int sn_generator_activations(float *values, size_t capacity, size_t *needed, sn_generator *generator,
                             const char *site)
{
    struct generator_record *record;
    size_t width;
    if (!generator)
        return SN_ERROR_ARGUMENT;
    int status = find_record(&record, &width, generator, "sn_generator_activations", site);
    if (status != SN_OK)
        return status;
    if (!record->filled)
        return fail(generator->context, SN_ERROR_STATE, "site %s was not recorded with the last token",
                    site);
    return copy_out(generator->context, "sn_generator_activations", values, capacity, needed,
                    record->values, width, sizeof *values);
}
