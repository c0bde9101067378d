#include "base/memory.h"
#include "train/trainer.h"

#include <string.h>

int windows_create(struct train_windows *windows, struct sn_context *context, size_t capacity,
                   size_t window)
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
    windows->row_tokens = memory_allocate_array(memory, n, sizeof(int32_t));
    windows->row_targets = memory_allocate_array(memory, n, sizeof(int32_t));
    windows->offsets = memory_allocate_array(memory, capacity + 1, sizeof(size_t));
    windows->lengths = memory_allocate_array(memory, capacity, sizeof(size_t));
    if (windows->tokens && windows->targets && windows->row_tokens && windows->row_targets &&
        windows->offsets && windows->lengths)
        return SN_OK;
    windows_free(windows, memory);
    return fail_memory(context, "a batch of windows", 4 * n * sizeof(int32_t));
}

void windows_free(struct train_windows *windows, struct memory *memory)
{
    size_t n = windows->capacity * windows->window;
    memory_free(memory, windows->tokens, n * sizeof(int32_t));
    memory_free(memory, windows->targets, n * sizeof(int32_t));
    memory_free(memory, windows->row_tokens, n * sizeof(int32_t));
    memory_free(memory, windows->row_targets, n * sizeof(int32_t));
    memory_free(memory, windows->offsets, (windows->capacity + 1) * sizeof(size_t));
    memory_free(memory, windows->lengths, windows->capacity * sizeof(size_t));
    memset(windows, 0, sizeof *windows);
}

/* Draws n windows and appends them to the packed batch. */
static int append(struct train_windows *windows, struct sn_context *context, const sn_corpus *corpus,
                  size_t n, size_t window, uint64_t seed, uint64_t first)
{
    int status = sn_corpus_sample(windows->row_tokens, windows->row_targets, windows->lengths, corpus,
                                  context, n, window, seed, first);
    if (status != SN_OK)
        return status;
    size_t *end = windows->offsets + windows->n_sequences;
    for (size_t i = 0; i < n; i++) {
        size_t length = windows->lengths[i];
        memcpy(windows->tokens + *end, windows->row_tokens + i * window, length * sizeof(int32_t));
        memcpy(windows->targets + *end, windows->row_targets + i * window, length * sizeof(int32_t));
        end[1] = *end + length;
        end++;
    }
    windows->n_sequences += n;
    return SN_OK;
}

static void clear(struct train_windows *windows)
{
    windows->n_sequences = 0;
    windows->offsets[0] = 0;
}

int windows_draw_corpus(struct train_windows *windows, struct sn_context *context,
                        const sn_corpus *corpus, size_t n, size_t window, uint64_t seed, uint64_t first)
{
    clear(windows);
    return append(windows, context, corpus, n, window, seed, first);
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
    uint64_t first = (uint64_t)step * batch;
    clear(windows);
    for (size_t s = 0; s < trainer->n_sources; s++) {
        const struct train_source *source = &trainer->sources[s];
        size_t n = 0;
        for (size_t i = 0; i < batch; i++)
            n += source_of(trainer, spread(first + i)) == s;
        if (!n)
            continue;
        /* sources draw from separate sequences of the seed */
        uint64_t seed = trainer->settings.seed + 0xD1B54A32D192ED03u * (s + 1);
        int status = append(windows, trainer->context, source->corpus, n, source->window, seed, first);
        if (status != SN_OK)
            return status;
    }
    return SN_OK;
}
