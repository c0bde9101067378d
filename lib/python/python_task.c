/* Pairs of prompts for the tasks of the paper (A.3), from one table of templates. */
#include <string.h>

#include "base/context.h"
#include "base/options.h"
#include "python/units.h"

#define MAX_ATTEMPTS 200 /* candidates per pair before the last error is given up to the caller */
#define MAX_CONTEXT_UNITS 64

size_t sn_python_task_count(void)
{
    return N_CONSTRUCTS;
}

const char *sn_python_task_name(size_t index)
{
    return index < N_CONSTRUCTS ? TASK_ROWS[index].name : NULL;
}

const char *sn_python_required_tokens(void)
{
    return "')\\n\n\")\\n\n]\\n\n]]\\n\n in\n:\\n\n.add\n +=\n=None\n):\\n\n)\\n\n not\n {\n else\n   "
           "\n       \n"
           " ==\n =\n enumerate\n range\n"
           /* what the tasks turn on, so that it is one token in both prompts */
           "('\n(\"\n '\n \"\n [\n],\n [[\nfor\n for\nwhile\n while\n set\n()\\n\n \"\"\\n";
}

struct task_settings {
    size_t seed;
    int split;
    size_t min_tokens, max_tokens;
    double distractor;
};

enum { SPLIT_PRUNE, SPLIT_DEVELOP, SPLIT_FRESH };

static const struct option_spec TASK_OPTIONS[] = {
    {"seed", OPTION_INTEGER, offsetof(struct task_settings, seed), 0, 0, 9e15, NULL},
    {"split", OPTION_CHOICE, offsetof(struct task_settings, split), 0, 0, 0, "prune|develop|fresh"},
    {"min_tokens", OPTION_INTEGER, offsetof(struct task_settings, min_tokens), 20, 1, 1e6, NULL},
    {"max_tokens", OPTION_INTEGER, offsetof(struct task_settings, max_tokens), 120, 1, 1e6, NULL},
    {"distractor", OPTION_NUMBER, offsetof(struct task_settings, distractor), 0.33, 0, 1, NULL},
};

/* One pair in the making; prompt i is context + core. */
struct candidate {
    struct buffer before, core[2], prompt[2], target[2];
};

struct maker {
    struct sn_context *context;
    const sn_tokenizer *tokenizer;
    const struct task_row *row;
    struct task_settings settings;
    struct unit_choice plain, unrelated; /* code in front: statements only, or whole units */
    const char *const *patterns;
    size_t n_patterns;
};

static void candidate_init(struct candidate *candidate, struct memory *memory)
{
    buffer_init(&candidate->before, memory);
    for (int side = 0; side < 2; side++) {
        buffer_init(&candidate->core[side], memory);
        buffer_init(&candidate->prompt[side], memory);
        buffer_init(&candidate->target[side], memory);
    }
}

static void candidate_free(struct candidate *candidate)
{
    buffer_free(&candidate->before);
    for (int side = 0; side < 2; side++) {
        buffer_free(&candidate->core[side]);
        buffer_free(&candidate->prompt[side]);
        buffer_free(&candidate->target[side]);
    }
}

static void candidate_clear(struct candidate *candidate)
{
    candidate->before.size = 0;
    for (int side = 0; side < 2; side++)
        candidate->core[side].size = candidate->prompt[side].size = candidate->target[side].size = 0;
}

static int candidate_failed(const struct candidate *candidate)
{
    int failed = candidate->before.failed;
    for (int side = 0; side < 2; side++)
        failed |= candidate->core[side].failed | candidate->prompt[side].failed |
                  candidate->target[side].failed;
    return failed;
}

static size_t count_patterns(const char *const *patterns)
{
    size_t n = 0;
    while (patterns[n])
        n++;
    return n;
}

static enum word_partition partition_of(const struct maker *maker)
{
    static const enum word_partition PARTITIONS[] = {WORDS_TRAINING, WORDS_DEVELOP, WORDS_FRESH};
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

/* Expands pattern and target together, so that they share names: "prompt \1 target". */
static void write_core(struct candidate *candidate, const struct maker *maker, const char *pattern,
                       uint64_t stream, int side)
{
    struct writer writer;
    struct buffer joined, text;
    buffer_init(&joined, maker->context->memory);
    buffer_init(&text, maker->context->memory);
    buffer_format(&joined, "%s\1%s", pattern,
                  side == SIDE_A ? maker->row->target_a : maker->row->target_b);
    writer_init(&writer, &text, split_seed(&maker->settings), stream, partition_of(maker));
    writer.side = side;
    if (!joined.failed)
        expand(&writer, joined.bytes);
    if (joined.failed || text.failed)
        candidate->core[side].failed = 1;
    else {
        size_t length = strcspn(text.bytes, "\1");
        buffer_append(&candidate->core[side], text.bytes, length);
        buffer_text(&candidate->target[side], text.bytes + length + 1);
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

/* For tasks that copy a name of several tokens: the target is the first of them. */
static int shorten_target(struct buffer *target, const struct maker *maker)
{
    size_t n, length;
    int32_t tokens[NAME_CAPACITY + 1];
    int status = sn_tokenizer_encode(tokens, NAME_CAPACITY + 1, &n, maker->context, maker->tokenizer,
                                     target->bytes, target->size);
    if (status != SN_OK || !n)
        return status;
    sn_tokenizer_token(&length, maker->tokenizer, tokens[0]);
    target->size = length;
    target->bytes[length] = '\0';
    return SN_OK;
}

/* Writes candidate number `stream`. *fits says whether its length is within bounds. */
static int write_candidate(struct candidate *candidate, int *fits, const struct maker *maker,
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
    for (int side = 0; side < 2 && status == SN_OK && !candidate_failed(candidate); side++) {
        status = token_count(&n[side], maker, &candidate->core[side]);
        if (status == SN_OK && maker->row->copies_name)
            status = shorten_target(&candidate->target[side], maker);
    }
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
    *fits = n[0] + shorter >= settings->min_tokens && n[0] + longer <= settings->max_tokens;
    return status;
}

/* Adds pair `index`, drawing candidates until one fits. A target that is no single token fails for
 * every candidate, and its message is the one that stays. */
static int add_pair(sn_task *task, const struct maker *maker, size_t index)
{
    struct candidate candidate;
    int status = SN_ERROR_ARGUMENT, fits = 0, stop = 0;
    candidate_init(&candidate, maker->context->memory);
    for (size_t attempt = 0; attempt < MAX_ATTEMPTS && !stop; attempt++) {
        status = write_candidate(&candidate, &fits, maker, index * MAX_ATTEMPTS + attempt);
        if (status == SN_OK && fits)
            status = sn_task_add_text_pair(task, maker->context, maker->tokenizer,
                                           candidate.prompt[0].bytes, candidate.prompt[1].bytes,
                                           candidate.target[0].bytes, candidate.target[1].bytes);
        stop = status == SN_OK ? fits : status != SN_ERROR_ARGUMENT;
    }
    if (status == SN_OK && !fits)
        status =
            fail(maker->context, SN_ERROR_ARGUMENT,
                 "sn_python_task: no prompt of task %s has between min_tokens %zu and max_tokens %zu "
                 "tokens",
                 maker->row->name, maker->settings.min_tokens, maker->settings.max_tokens);
    candidate_free(&candidate);
    return status;
}

/* Where prompts and the code in front of them come from; the split prune has the code of training. */
static void choose_patterns(struct maker *maker)
{
    const struct task_row *row = maker->row;
    const struct {
        const char *const *prompts, *const *context;
        size_t n_plain, n_context;
    } splits[] = {{row->prune, STATEMENTS, N_PLAIN_STATEMENTS, 0},
                  {row->develop, DEVELOP_CONTEXT, N_PLAIN_DEVELOP_CONTEXT, N_DEVELOP_CONTEXT},
                  {row->fresh, FRESH_CONTEXT, N_PLAIN_FRESH_CONTEXT, N_FRESH_CONTEXT}},
      *split = &splits[maker->settings.split];
    maker->patterns = split->prompts;
    maker->n_patterns = count_patterns(split->prompts);
    maker->plain.patterns = split->context;
    maker->plain.n_patterns = split->n_plain;
    unit_choice_excluding(&maker->unrelated, row->excluded);
    if (split->n_context) {
        maker->unrelated.patterns = split->context;
        maker->unrelated.n_patterns = split->n_context;
    }
}

static int maker_init(struct maker *maker, sn_context *context, const sn_tokenizer *tokenizer,
                      const char *name, const sn_options *options)
{
    *maker = (struct maker){.context = context, .tokenizer = tokenizer};
    for (size_t i = 0; i < N_CONSTRUCTS; i++)
        if (strcmp(TASK_ROWS[i].name, name) == 0)
            maker->row = &TASK_ROWS[i];
    if (!maker->row)
        return fail(context, SN_ERROR_ARGUMENT, "sn_python_task: name is \"%.64s\", which is no task",
                    name);
    int status = options_read(&maker->settings, context, "sn_python_task", TASK_OPTIONS,
                              sizeof TASK_OPTIONS / sizeof *TASK_OPTIONS, options);
    if (status != SN_OK)
        return status;
    if (maker->settings.min_tokens > maker->settings.max_tokens)
        return fail(context, SN_ERROR_ARGUMENT, "sn_python_task: min_tokens %zu is above max_tokens %zu",
                    maker->settings.min_tokens, maker->settings.max_tokens);
    choose_patterns(maker);
    return SN_OK;
}

int sn_python_task(sn_task **out, sn_context *context, const sn_tokenizer *tokenizer, const char *name,
                   size_t n_pairs, const sn_options *options)
{
    struct maker maker;
    sn_task *task = NULL;
    if (out)
        *out = NULL;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!out || !tokenizer || !name)
        return fail(context, SN_ERROR_ARGUMENT, "sn_python_task: %s is NULL",
                    !out        ? "out"
                    : tokenizer ? "name"
                                : "tokenizer");
    if (!n_pairs)
        return fail(context, SN_ERROR_ARGUMENT, "sn_python_task: n_pairs is 0");
    int status = maker_init(&maker, context, tokenizer, name, options);
    if (status == SN_OK)
        status = sn_task_create(&task, context, name);
    for (size_t i = 0; status == SN_OK && i < n_pairs; i++)
        status = add_pair(task, &maker, i);
    if (status != SN_OK) {
        sn_task_free(task);
        return status;
    }
    *out = task;
    return SN_OK;
}
