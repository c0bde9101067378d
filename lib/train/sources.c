/* What a trainer learns from: corpora and tasks, each with its share of the windows. */
#include "base/buffer.h"
#include "train/trainer.h"

#include <math.h>

static int check_share(struct sn_context *context, const char *function, double share)
{
    if (share > 0 && isfinite(share))
        return SN_OK;
    return fail(context, SN_ERROR_ARGUMENT, "%s: share is %s; it must be above 0", function,
                SHOWN(share));
}

static int add_source(struct sn_trainer *trainer, const struct train_source *source)
{
    size_t n = trainer->n_sources, size = sizeof *trainer->sources;
    struct train_source *sources =
        memory_resize(trainer->memory, trainer->sources, n * size, (n + 1) * size);
    if (!sources)
        return fail_memory(trainer->context, "a trainer's corpora and tasks", (n + 1) * size);
    sources[n] = *source;
    trainer->sources = sources;
    trainer->n_sources = n + 1;
    return SN_OK;
}

int sn_trainer_add_corpus(sn_trainer *trainer, const sn_corpus *corpus, double share, size_t window)
{
    if (!trainer)
        return SN_ERROR_ARGUMENT;
    struct sn_context *context = trainer->context;
    size_t block_size = trainer->model->config.block_size;
    if (!corpus)
        return fail(context, SN_ERROR_ARGUMENT, "sn_trainer_add_corpus: corpus is NULL");
    if (window > block_size)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_trainer_add_corpus: window is %zu; the model's block_size is %zu", window,
                    block_size);
    const struct train_source source = {
        .corpus = corpus, .share = share, .window = window ? window : trainer->settings.window};
    int status = check_share(context, "sn_trainer_add_corpus", share);
    return status == SN_OK ? add_source(trainer, &source) : status;
}

/* One prompt and its target against the model. */
static int check_prompt(const struct sn_trainer *trainer, size_t pair, char side, const int32_t *prompt,
                        size_t n, int32_t target)
{
    const struct config *config = &trainer->model->config;
    if (n > config->block_size)
        return fail(
            trainer->context, SN_ERROR_ARGUMENT,
            "sn_trainer_add_task: prompt %c of pair %zu has %zu tokens; the model's block_size is "
            "%zu",
            side, pair, n, config->block_size);
    for (size_t i = 0; i <= n; i++) {
        int32_t token = i < n ? prompt[i] : target;
        if (token < 0 || (size_t)token >= config->vocab_size)
            return fail(
                trainer->context, SN_ERROR_ARGUMENT,
                "sn_trainer_add_task: prompt %c of pair %zu has token %d; the vocabulary has %zu", side,
                pair, (int)token, config->vocab_size);
    }
    return SN_OK;
}

static int check_pairs(const struct sn_trainer *trainer, const sn_task *task)
{
    int status = SN_OK;
    if (!sn_task_count(task))
        return fail(trainer->context, SN_ERROR_ARGUMENT, "sn_trainer_add_task: task %s has no pairs",
                    sn_task_name(task));
    for (size_t i = 0; status == SN_OK && i < sn_task_count(task); i++) {
        const int32_t *a, *b;
        size_t n_a, n_b;
        int32_t target_a, target_b;
        status = sn_task_pair(&a, &n_a, &b, &n_b, &target_a, &target_b, task, i);
        if (status == SN_OK)
            status = check_prompt(trainer, i, 'A', a, n_a, target_a);
        if (status == SN_OK)
            status = check_prompt(trainer, i, 'B', b, n_b, target_b);
    }
    return status;
}

/* A pair takes two sequences where a window takes one. */
static int make_room(struct sn_trainer *trainer)
{
    struct train_windows grown;
    if (trainer->windows.prompt)
        return SN_OK;
    if (trainer->settings.batch > SIZE_MAX / 2)
        return fail_memory(trainer->context, "a batch of pairs", SIZE_MAX);
    int status = windows_create(&grown, trainer->context, 2 * trainer->settings.batch,
                                trainer->windows.window, 1);
    if (status != SN_OK)
        return status;
    windows_free(&trainer->windows, trainer->memory);
    trainer->windows = grown;
    return SN_OK;
}

int sn_trainer_add_task(sn_trainer *trainer, const sn_task *task, double share)
{
    if (!trainer)
        return SN_ERROR_ARGUMENT;
    if (!task)
        return fail(trainer->context, SN_ERROR_ARGUMENT, "sn_trainer_add_task: task is NULL");
    const struct train_source source = {.task = task, .share = share};
    int status = check_share(trainer->context, "sn_trainer_add_task", share);
    if (status == SN_OK)
        status = check_pairs(trainer, task);
    if (status == SN_OK)
        status = make_room(trainer);
    return status == SN_OK ? add_source(trainer, &source) : status;
}
