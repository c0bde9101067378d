/* Ablations as objects: what stands in for the values of ablated nodes and cut edges. */
#include "circuit/ablation.h"

#include <string.h>

#include "base/options.h"

static uint64_t mix(uint64_t hash, uint64_t word)
{
    uint64_t z = (hash ^ word) + 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

size_t ablation_pick(const struct sn_ablation *ablation, uint64_t draw, uint64_t set, uint64_t pair,
                     uint64_t position, uint64_t site)
{
    if (ablation->together == TOGETHER_PROMPT)
        position = 0;
    uint64_t hash = mix(mix(mix(ablation->seed, draw), set), pair);
    hash = mix(mix(hash, position), site);
    return (size_t)((hash >> 32) * (uint64_t)ablation->n_samples >> 32);
}

struct ablation_settings {
    int kind, together;
    size_t samples, window, draws, seed;
};

static const struct option_spec specs[] = {
    {"kind", OPTION_CHOICE, offsetof(struct ablation_settings, kind), ABLATION_MEAN, 0, 0,
     "mean|zero|resample"},
    {"together", OPTION_CHOICE, offsetof(struct ablation_settings, together), TOGETHER_TOKEN, 0, 0,
     "token|prompt"},
    {"samples", OPTION_INTEGER, offsetof(struct ablation_settings, samples), 1024, 1, 1e9, NULL},
    {"window", OPTION_INTEGER, offsetof(struct ablation_settings, window), 0, 0, 1e9, NULL},
    {"draws", OPTION_INTEGER, offsetof(struct ablation_settings, draws), 8, 1, 1e6, NULL},
    {"seed", OPTION_INTEGER, offsetof(struct ablation_settings, seed), 0, 0, 9e15, NULL},
};

static int collect(struct sn_ablation *ablation, struct sn_context *context,
                   const struct sn_corpus *corpus, const struct ablation_settings *settings)
{
    size_t n = means_size(ablation->means), block = ablation->means->model->config.block_size;
    const struct samples_settings wanted = {settings->samples,
                                            settings->window ? settings->window : block, settings->seed};
    if (wanted.window > block)
        return fail(context, SN_ERROR_ARGUMENT, "sn_ablation_create: window is %zu, block_size %zu",
                    wanted.window, block);
    ablation->samples =
        memory_allocate_array(ablation->memory, settings->samples, n * sizeof *ablation->samples);
    if (!ablation->samples)
        return fail_memory(context, "samples of activations", settings->samples * n * sizeof(float));
    ablation->n_samples = settings->samples;
    ablation->n_draws = settings->draws;
    return samples_collect(ablation->samples, context, ablation->means, corpus, &wanted);
}

static int check_create(sn_context *context, const sn_model *model, const sn_means *means,
                        const sn_corpus *corpus, int kind)
{
    static const char function[] = "sn_ablation_create";
    if (!model)
        return fail(context, SN_ERROR_ARGUMENT, "%s: model is NULL", function);
    if (kind == ABLATION_MEAN)
        return means_check(means, context, model, function);
    if (kind == ABLATION_RESAMPLE && !corpus)
        return fail(context, SN_ERROR_ARGUMENT, "%s: corpus is NULL", function);
    return SN_OK;
}

int sn_ablation_create(sn_ablation **out, sn_context *context, sn_model *model, const sn_means *means,
                       const sn_corpus *corpus, const sn_options *options)
{
    struct ablation_settings settings;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    int status = options_read(&settings, context, "sn_ablation_create", specs,
                              sizeof specs / sizeof *specs, options);
    if (status == SN_OK)
        status = check_create(context, model, means, corpus, settings.kind);
    if (status != SN_OK)
        return status;
    sn_ablation *ablation = memory_allocate_zeroed(context->memory, sizeof *ablation);
    if (!ablation)
        return fail_memory(context, "an ablation", sizeof *ablation);
    ablation->memory = memory_retain(context->memory);
    ablation->kind = (enum ablation_kind)settings.kind;
    ablation->together = (enum ablation_together)settings.together;
    ablation->seed = settings.seed;
    ablation->n_draws = 1;
    status = means_create_values(&ablation->means, context, model,
                                 ablation->kind == ABLATION_MEAN ? means->values : NULL);
    if (status == SN_OK && ablation->kind == ABLATION_RESAMPLE)
        status = collect(ablation, context, corpus, &settings);
    if (status != SN_OK) {
        sn_ablation_free(ablation);
        return status;
    }
    *out = ablation;
    return SN_OK;
}

void sn_ablation_free(sn_ablation *ablation)
{
    if (!ablation)
        return;
    struct memory *memory = ablation->memory;
    if (ablation->samples)
        memory_free(memory, ablation->samples,
                    ablation->n_samples * means_size(ablation->means) * sizeof *ablation->samples);
    sn_means_free(ablation->means);
    memory_free(memory, ablation, sizeof *ablation);
    memory_release(memory);
}

size_t sn_ablation_draw_count(const sn_ablation *ablation)
{
    return ablation ? ablation->n_draws : 0;
}
