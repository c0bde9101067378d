/* Writing candidates for a pair of prompts. */
#include "python/candidate.h"

#include <string.h>

#define MAX_CONTEXT_UNITS 64

void candidate_init(struct candidate *candidate, struct memory *memory)
{
    buffer_init(&candidate->before, memory);
    for (int side = 0; side < 2; side++) {
        buffer_init(&candidate->core[side], memory);
        buffer_init(&candidate->prompt[side], memory);
        buffer_init(&candidate->continuation[side], memory);
        candidate->tokens[side] = (struct token_list){0};
    }
}

void candidate_free(struct candidate *candidate)
{
    struct memory *memory = candidate->before.memory;
    buffer_free(&candidate->before);
    for (int side = 0; side < 2; side++) {
        buffer_free(&candidate->core[side]);
        buffer_free(&candidate->prompt[side]);
        buffer_free(&candidate->continuation[side]);
        memory_free(memory, candidate->tokens[side].tokens,
                    candidate->tokens[side].capacity * sizeof *candidate->tokens[side].tokens);
    }
}

static void candidate_clear(struct candidate *candidate)
{
    candidate->before.size = 0;
    for (int side = 0; side < 2; side++)
        candidate->core[side].size = candidate->prompt[side].size = candidate->continuation[side].size =
            0;
}

static int candidate_failed(const struct candidate *candidate)
{
    int failed = candidate->before.failed;
    for (int side = 0; side < 2; side++)
        failed |= candidate->core[side].failed | candidate->prompt[side].failed |
                  candidate->continuation[side].failed;
    return failed;
}

static enum word_partition partition_of(const struct maker *maker)
{
    static const enum word_partition PARTITIONS[] = {WORDS_TRAINING, WORDS_DEVELOP, WORDS_FRESH,
                                                     WORDS_TRAINING};
    return PARTITIONS[maker->settings.split];
}

/* Splits draw from different seeds; the top bits keep them apart from the seeds of the idioms. */
static uint64_t split_seed(const struct task_settings *settings)
{
    return settings->seed ^ ((uint64_t)(settings->split + 1) << 60);
}

static int token_count(size_t *n, const struct maker *maker, const struct buffer *text)
{
    return sn_tokenizer_encode(NULL, 0, n, maker->context, maker->tokenizer,
                               text->size ? text->bytes : "", text->size);
}

/* Expands pattern and continuation together, so that they share names: "prompt \1 continuation". */
static void write_core(struct candidate *candidate, const struct maker *maker, const char *pattern,
                       uint64_t stream, int side)
{
    struct writer writer;
    struct buffer joined, text;
    buffer_init(&joined, maker->context->memory);
    buffer_init(&text, maker->context->memory);
    buffer_format(&joined, "%s\1%s", pattern, maker->row->continuations[side]);
    writer_init(&writer, &text, split_seed(&maker->settings), stream, partition_of(maker));
    writer.side = side;
    if (!joined.failed)
        expand(&writer, joined.bytes);
    if (joined.failed || text.failed)
        candidate->core[side].failed = 1;
    else {
        size_t length = strcspn(text.bytes, "\1");
        buffer_append(&candidate->core[side], text.bytes, length);
        buffer_text(&candidate->core[side], maker->form->before);
        buffer_text(&candidate->continuation[side], text.bytes + length + 1);
    }
    buffer_free(&text);
    buffer_free(&joined);
}

/* Code in front until the prompt has `wanted` tokens; a unit that would pass max_tokens is dropped. */
static int write_before(struct candidate *candidate, const struct maker *maker, uint64_t stream,
                        size_t core_tokens, size_t wanted, int unrelated)
{
    struct writer writer;
    struct buffer *before = &candidate->before;
    size_t n = 0;
    writer_init(&writer, before, split_seed(&maker->settings), stream, partition_of(maker));
    for (size_t i = 0; i < MAX_CONTEXT_UNITS && core_tokens + n < wanted; i++) {
        size_t size = before->size, n_more;
        write_unit(&writer, unrelated ? &maker->unrelated : &maker->plain);
        if (before->failed)
            return SN_OK; /* seen by the caller */
        int status = token_count(&n_more, maker, before);
        if (status != SN_OK)
            return status;
        if (core_tokens + n_more <= maker->settings.max_tokens)
            n = n_more;
        else
            before->size = size;
    }
    return SN_OK;
}

int candidate_write(enum verdict *verdict, struct candidate *candidate, const struct maker *maker,
                    uint64_t stream)
{
    struct random_state random;
    const struct task_settings *settings = &maker->settings;
    size_t range = settings->max_tokens - settings->min_tokens, n[2] = {0, 0};
    int status = SN_OK;
    candidate_clear(candidate);
    random_seed(&random, split_seed(settings), 4 * stream);
    int unrelated = random_uniform(&random) < settings->distractor;
    const char *pattern = maker->patterns[random_below(&random, maker->n_patterns)];
    size_t wanted = settings->min_tokens + (unrelated ? range / 3 : 0);
    wanted += random_below(&random, (unrelated ? range - range / 3 : range / 3) + 1);
    for (int side = 0; side < 2; side++)
        write_core(candidate, maker, pattern, 4 * stream + 1, side);
    for (int side = 0; side < 2 && status == SN_OK && !candidate_failed(candidate); side++)
        status = token_count(&n[side], maker, &candidate->core[side]);
    size_t longer = n[0] > n[1] ? n[0] : n[1], shorter = n[0] + n[1] - longer;
    if (status == SN_OK && !candidate_failed(candidate) && longer <= settings->max_tokens)
        status = write_before(candidate, maker, 4 * stream + 2, longer, wanted, unrelated);
    for (int side = 0; side < 2; side++) {
        buffer_append(&candidate->prompt[side], candidate->before.bytes, candidate->before.size);
        buffer_append(&candidate->prompt[side], candidate->core[side].bytes, candidate->core[side].size);
    }
    if (status != SN_OK || candidate_failed(candidate))
        return status != SN_OK ? status : fail_memory(maker->context, "a generated prompt", longer);
    status = token_count(&n[0], maker, &candidate->before);
    *verdict = CANDIDATE_LENGTH;
    if (status == SN_OK && n[0] + shorter >= settings->min_tokens &&
        n[0] + longer <= settings->max_tokens)
        status = candidate_judge(verdict, candidate, maker);
    return status;
}
