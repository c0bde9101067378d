#include "circuit/pair_loss.h"

#include <math.h>
#include <string.h>

void pair_batch_init(struct pair_batch *batch, struct memory *memory)
{
    memset(batch, 0, sizeof *batch);
    batch->memory = memory_retain(memory);
}

void pair_batch_free(struct pair_batch *batch)
{
    if (!batch->memory)
        return;
    size_t n = 2 * batch->pair_capacity;
    memory_free(batch->memory, batch->tokens, batch->token_capacity * sizeof *batch->tokens);
    memory_free(batch->memory, batch->offsets, (n + 1) * sizeof *batch->offsets);
    memory_free(batch->memory, batch->shared, n * sizeof *batch->shared);
    memory_free(batch->memory, batch->last, n * sizeof *batch->last);
    memory_free(batch->memory, batch->targets, n * sizeof *batch->targets);
    memory_free(batch->memory, batch->gradient, batch->gradient_size * sizeof *batch->gradient);
    memory_release(batch->memory);
    memset(batch, 0, sizeof *batch);
}

static int reserve_pairs(struct pair_batch *batch, struct sn_context *context, size_t n_pairs)
{
    if (n_pairs <= batch->pair_capacity)
        return SN_OK;
    struct memory *memory = batch->memory;
    size_t old = 2 * batch->pair_capacity, n = 2 * n_pairs;
    size_t *offsets = memory_allocate_array(memory, n + 1, sizeof *offsets);
    size_t *shared = memory_allocate_array(memory, n, sizeof *shared);
    size_t *last = memory_allocate_array(memory, n, sizeof *last);
    int32_t *targets = memory_allocate_array(memory, n, sizeof *targets);
    if (!offsets || !shared || !last || !targets) {
        memory_free(memory, offsets, (n + 1) * sizeof *offsets);
        memory_free(memory, shared, n * sizeof *shared);
        memory_free(memory, last, n * sizeof *last);
        memory_free(memory, targets, n * sizeof *targets);
        return fail_memory(context, "a batch of pairs", n * sizeof *offsets);
    }
    memory_free(memory, batch->offsets, (old + 1) * sizeof *offsets);
    memory_free(memory, batch->shared, old * sizeof *shared);
    memory_free(memory, batch->last, old * sizeof *last);
    memory_free(memory, batch->targets, old * sizeof *targets);
    batch->offsets = offsets;
    batch->shared = shared;
    batch->last = last;
    batch->targets = targets;
    batch->pair_capacity = n_pairs;
    return SN_OK;
}

static int reserve_tokens(struct pair_batch *batch, struct sn_context *context, size_t n_tokens)
{
    if (n_tokens <= batch->token_capacity)
        return SN_OK;
    size_t capacity = n_tokens + n_tokens / 2, size = sizeof *batch->tokens;
    int32_t *tokens =
        memory_resize(batch->memory, batch->tokens, batch->token_capacity * size, capacity * size);
    if (!tokens)
        return fail_memory(context, "a batch of pairs", capacity * size);
    batch->tokens = tokens;
    batch->token_capacity = capacity;
    return SN_OK;
}

/* Tokens that two prompts begin with, but for the last one of each, whose logits are wanted. */
static size_t common_prefix(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    size_t n = 0, most = (n_a < n_b ? n_a : n_b) - 1;
    while (n < most && a[n] == b[n])
        n++;
    return n;
}

static int append_prompt(struct pair_batch *batch, struct sn_context *context, size_t sequence,
                         const int32_t *prompt, size_t n)
{
    size_t used = batch->offsets[sequence];
    int status = reserve_tokens(batch, context, used + n);
    if (status != SN_OK)
        return status;
    memcpy(batch->tokens + used, prompt, n * sizeof *prompt);
    batch->offsets[sequence + 1] = used + n;
    batch->last[sequence] = used + n - 1;
    return SN_OK;
}

int pair_batch_fill(struct pair_batch *batch, struct sn_context *context, const struct sn_task *task,
                    const size_t *pairs, size_t first, size_t n_pairs, size_t vocab_size)
{
    batch->n_pairs = 0;
    int status = reserve_pairs(batch, context, n_pairs);
    if (status == SN_OK)
        batch->offsets[0] = 0;
    for (size_t i = 0; status == SN_OK && i < n_pairs; i++) {
        const int32_t *prompt_a, *prompt_b;
        size_t n_a, n_b, index = pairs ? pairs[i] : first + i;
        int32_t *targets = batch->targets + 2 * i;
        if (sn_task_pair(&prompt_a, &n_a, &prompt_b, &n_b, &targets[0], &targets[1], task, index) !=
            SN_OK)
            return fail(context, SN_ERROR_ARGUMENT, "task %s has no pair %zu", sn_task_name(task),
                        index);
        for (size_t j = 0; j < 2; j++)
            if (targets[j] < 0 || (size_t)targets[j] >= vocab_size)
                return fail(context, SN_ERROR_ARGUMENT,
                            "pair %zu of task %s has target %d; the vocabulary has %zu tokens", index,
                            sn_task_name(task), (int)targets[j], vocab_size);
        status = append_prompt(batch, context, 2 * i, prompt_a, n_a);
        size_t shared = batch->share ? common_prefix(prompt_a, n_a, prompt_b, n_b) : 0;
        batch->shared[2 * i] = 0;
        batch->shared[2 * i + 1] = shared;
        if (status == SN_OK)
            status = append_prompt(batch, context, 2 * i + 1, prompt_b + shared, n_b - shared);
    }
    if (status == SN_OK)
        batch->n_pairs = n_pairs;
    return status;
}

size_t pair_batch_end(const struct sn_task *task, const size_t *pairs, size_t first, size_t n_pairs,
                      size_t tokens)
{
    size_t total = 0, last = first;
    for (; last < n_pairs; last++) {
        size_t n_a, n_b;
        if (sn_task_pair(NULL, &n_a, NULL, &n_b, NULL, NULL, task, pairs ? pairs[last] : last) != SN_OK)
            break;
        total += n_a + n_b;
        if (last > first && total > tokens)
            break;
    }
    return last;
}

int pair_batch_forward(struct pair_batch *batch, struct sn_session *session)
{
    int status = sn_session_select_logits(session, batch->last, 2 * batch->n_pairs);
    if (status == SN_OK)
        status = session_forward_shared(session, batch->tokens, batch->offsets, batch->shared,
                                        2 * batch->n_pairs);
    return status;
}

int pair_batch_differences(double *difference, const struct pair_batch *batch,
                           struct sn_session *session)
{
    const float *logits = session_logit_panels(session);
    size_t vocab = session_model(session)->config.vocab_size;
    for (size_t row = 0; row < 2 * batch->n_pairs; row++) {
        const float *panel = logits + row / PANEL * vocab * PANEL + row % PANEL;
        const int32_t *targets = batch->targets + row / 2 * 2;
        difference[row] =
            (double)panel[(size_t)targets[0] * PANEL] - (double)panel[(size_t)targets[1] * PANEL];
        if (!isfinite(difference[row]))
            return fail(session_context(session), SN_ERROR_NUMERIC,
                        "the logits of pair %zu are not finite", row / 2);
    }
    return SN_OK;
}

static int reserve_gradient(struct pair_batch *batch, struct sn_context *context, size_t size)
{
    if (size > batch->gradient_size) {
        float *gradient = memory_allocate_array(batch->memory, size, sizeof *gradient);
        if (!gradient)
            return fail_memory(context, "the gradient of the logits", size * sizeof *gradient);
        memory_free(batch->memory, batch->gradient, batch->gradient_size * sizeof *gradient);
        batch->gradient = gradient;
        batch->gradient_size = size;
    }
    memset(batch->gradient, 0, size * sizeof *batch->gradient);
    return SN_OK;
}

int pair_batch_backward(double *loss, struct pair_batch *batch, struct sn_session *session,
                        struct calibration calibration, double share)
{
    struct sn_context *context = session_context(session);
    size_t n = 2 * batch->n_pairs, vocab = session_model(session)->config.vocab_size;
    double *difference = memory_allocate_array(context->memory, n, sizeof *difference);
    if (!difference)
        return fail_memory(context, "logit differences", n * sizeof *difference);
    int status = pair_batch_differences(difference, batch, session);
    if (status == SN_OK)
        status = reserve_gradient(batch, context, n * vocab);
    if (status == SN_OK) {
        *loss = calibrated_loss(difference, n, calibration);
        for (size_t row = 0; row < n; row++) {
            double class = row % 2 ? -1 : 1;
            double margin = class * (calibration.scale * difference[row] + calibration.shift);
            /* d loss / d difference, opposite for the two logits */
            double slope = -class * calibration.scale / (1 + exp(margin)) * share / (double)n;
            const int32_t *targets = batch->targets + row / 2 * 2;
            batch->gradient[row * vocab + (size_t)targets[0]] = (float)slope;
            batch->gradient[row * vocab + (size_t)targets[1]] = (float)-slope;
        }
        status = sn_session_backward_from(session, batch->gradient, NULL);
    }
    memory_free(context->memory, difference, n * sizeof *difference);
    return status;
}

int pair_batch_backward_vocabulary(double *loss, struct pair_batch *batch, struct sn_session *session)
{
    int status = sn_session_loss(loss, session, batch->targets);
    if (status == SN_OK)
        status = sn_session_backward(session, batch->targets);
    return status;
}
