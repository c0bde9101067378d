#include "train/trainer.h"

#include <string.h>

#include "base/memory.h"
#include "base/random.h"

int windows_create(struct train_windows *windows, struct sn_context *context, size_t capacity,
                   size_t window, int with_prompts)
{
    struct memory *memory = context->memory;
    size_t n;
    memset(windows, 0, sizeof *windows);
    if (!size_product(&n, capacity, window))
        return fail_memory(context, "a batch of windows", SIZE_MAX);
    windows->capacity = capacity;
    windows->window = window;
    windows->tokens = memory_allocate_array(memory, n, sizeof(int32_t));
    windows->targets = memory_allocate_array(memory, n, sizeof(int32_t));
    windows->offsets = memory_allocate_array(memory, capacity + 1, sizeof(size_t));
    if (with_prompts) {
        windows->weights = memory_allocate_array(memory, n, sizeof(float));
        windows->rows = memory_allocate_array(memory, n, sizeof(size_t));
        windows->prompt = memory_allocate(memory, capacity);
    }
    int has_all = windows->tokens && windows->targets && windows->offsets;
    if (has_all && (!with_prompts || (windows->weights && windows->rows && windows->prompt)))
        return SN_OK;
    windows_free(windows, memory);
    return fail_memory(context, "a batch of windows", 2 * n * sizeof(int32_t));
}

void windows_free(struct train_windows *windows, struct memory *memory)
{
    size_t n = windows->capacity * windows->window;
    memory_free(memory, windows->tokens, n * sizeof(int32_t));
    memory_free(memory, windows->targets, n * sizeof(int32_t));
    memory_free(memory, windows->offsets, (windows->capacity + 1) * sizeof(size_t));
    memory_free(memory, windows->weights, n * sizeof(float));
    memory_free(memory, windows->rows, n * sizeof(size_t));
    memory_free(memory, windows->prompt, windows->capacity);
    memset(windows, 0, sizeof *windows);
}

static void clear(struct train_windows *windows)
{
    windows->n_sequences = 0;
    windows->n_rows = 0;
    windows->offsets[0] = 0;
}

/* Closes a sequence of `length` tokens, of which the last `n_rows` have targets. */
static void close_sequence(struct train_windows *windows, size_t length, size_t n_rows, float weight)
{
    size_t *end = windows->offsets + windows->n_sequences;
    end[1] = end[0] + length;
    for (size_t i = 0; windows->prompt && i < n_rows; i++) {
        windows->rows[windows->n_rows + i] = end[1] - n_rows + i;
        windows->weights[windows->n_rows + i] = weight;
    }
    windows->n_rows += n_rows;
    windows->n_sequences++;
}

/* Appends window `number` of a corpus to the packed batch. */
static int append(struct train_windows *windows, struct sn_context *context, const sn_corpus *corpus,
                  size_t window, uint64_t seed, uint64_t number)
{
    size_t length;
    int status = sn_corpus_sample(windows->tokens + windows->offsets[windows->n_sequences],
                                  windows->targets + windows->n_rows, &length, corpus, context, 1,
                                  window, seed, number);
    if (status != SN_OK)
        return status;
    if (windows->prompt)
        windows->prompt[windows->n_sequences] = 0;
    close_sequence(windows, length, length, 1);
    return SN_OK;
}

static void append_prompt(struct train_windows *windows, const int32_t *prompt, size_t n, int32_t target,
                          float weight)
{
    memcpy(windows->tokens + windows->offsets[windows->n_sequences], prompt, n * sizeof *prompt);
    windows->targets[windows->n_rows] = target;
    windows->prompt[windows->n_sequences] = 1;
    close_sequence(windows, n, 1, weight);
}

/* Appends both prompts of the pair that window `number` of a task is. */
static int append_pair(struct train_windows *windows, struct sn_context *context, const sn_task *task,
                       float weight, uint64_t seed, uint64_t number)
{
    struct random_state random;
    const int32_t *a, *b;
    size_t n_a, n_b;
    int32_t target_a, target_b;
    random_seed(&random, seed, number);
    int status = sn_task_pair(&a, &n_a, &b, &n_b, &target_a, &target_b, task,
                              random_below(&random, sn_task_count(task)));
    if (status != SN_OK)
        return status;
    if (n_a > windows->window || n_b > windows->window)
        return fail(context, SN_ERROR_STATE,
                    "task %s has got a prompt that is too long since it was added", sn_task_name(task));
    append_prompt(windows, a, n_a, target_a, weight);
    append_prompt(windows, b, n_b, target_b, weight);
    return SN_OK;
}

int windows_draw_corpus(struct train_windows *windows, struct sn_context *context,
                        const sn_corpus *corpus, size_t n, size_t window, uint64_t seed, uint64_t first)
{
    int status = SN_OK;
    clear(windows);
    for (size_t i = 0; status == SN_OK && i < n; i++)
        status = append(windows, context, corpus, window, seed, first + i);
    return status;
}

/* Multiples of the golden ratio spread the windows of the whole run evenly over [0, 1), so that every
 * batch holds each source's share up to one or two windows, and the run holds it exactly. */
static double spread(uint64_t window_number)
{
    return (double)((window_number * 0x9E3779B97F4A7C15u) >> 11) * 0x1p-53;
}

static size_t source_of(const struct sn_trainer *trainer, double place)
{
    double total = 0, reached = 0;
    size_t source = 0;
    for (size_t i = 0; i < trainer->n_sources; i++)
        total += trainer->sources[i].share;
    for (size_t i = 0; i < trainer->n_sources; i++) {
        if (trainer->sources[i].share > 0)
            source = i;
        reached += trainer->sources[i].share;
        if (place * total < reached)
            break;
    }
    return source;
}

int windows_draw(struct sn_trainer *trainer, size_t step)
{
    struct train_windows *windows = &trainer->windows;
    size_t batch = trainer->settings.batch;
    int status = SN_OK;
    clear(windows);
    for (size_t i = 0; status == SN_OK && i < batch; i++) {
        uint64_t number = (uint64_t)step * batch + i;
        size_t s = source_of(trainer, spread(number));
        const struct train_source *source = &trainer->sources[s];
        /* sources draw from separate sequences of the seed */
        uint64_t seed = trainer->settings.seed + 0xD1B54A32D192ED03u * (s + 1);
        status = source->task
                     ? append_pair(windows, trainer->context, source->task,
                                   (float)trainer->settings.task_weight, seed, number)
                     : append(windows, trainer->context, source->corpus, source->window, seed, number);
    }
    return status;
}
