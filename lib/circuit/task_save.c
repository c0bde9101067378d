/* Tasks to JSON Lines: text where reading it gives the same tokens, else token ids. */
#include <string.h>

#include "base/file.h"
#include "circuit/task.h"
#include "format/json.h"
#include "base/utf8.h"

struct writing {
    struct sn_context *context;
    const sn_tokenizer *tokenizer; /* NULL: ids only */
    const sn_task *task;
    sn_task *again;         /* holds pairs as reading their text would give them */
    struct buffer texts[4]; /* of one pair: prompt, alternative and their targets */
    struct buffer line;
};

static int decode(struct buffer *text, const struct writing *writing, const int32_t *tokens, size_t n)
{
    size_t length;
    text->size = 0;
    int status = sn_tokenizer_decode(NULL, 0, &length, writing->context, writing->tokenizer, tokens, n);
    if (status != SN_OK)
        return status;
    char *bytes = memory_allocate(writing->context->memory, length + 1);
    if (!bytes)
        return fail_memory(writing->context, "a prompt's text", length + 1);
    status =
        sn_tokenizer_decode(bytes, length, &length, writing->context, writing->tokenizer, tokens, n);
    if (status == SN_OK) {
        buffer_append(text, bytes, length);
        status = text->failed ? fail_memory(writing->context, "a prompt's text", length) : SN_OK;
    }
    memory_free(writing->context->memory, bytes, length + 1);
    return status;
}

static int decode_pair(struct writing *writing, const struct task_pair *pair, size_t index)
{
    int status = decode(&writing->texts[0], writing, task_prompt_a(writing->task, index), pair->n_a);
    if (status == SN_OK)
        status = decode(&writing->texts[1], writing, task_prompt_b(writing->task, index), pair->n_b);
    if (status == SN_OK)
        status = decode(&writing->texts[2], writing, &pair->target_a, 1);
    if (status == SN_OK)
        status = decode(&writing->texts[3], writing, &pair->target_b, 1);
    return status;
}

static int same_last_pair(const sn_task *task, size_t index, const sn_task *again)
{
    size_t last = again->n_pairs - 1;
    const struct task_pair *a = &task->pairs[index], *b = &again->pairs[last];
    return a->n_a == b->n_a && a->n_b == b->n_b && a->target_a == b->target_a &&
           a->target_b == b->target_b &&
           memcmp(task_prompt_a(task, index), task_prompt_a(again, last),
                  (a->n_a + a->n_b) * sizeof *task->tokens) == 0;
}

/* Whether the pair comes back from its text. */
static int survives_as_text(int *survives, struct writing *writing, size_t index)
{
    *survives = 0;
    if (!writing->tokenizer)
        return SN_OK;
    int status = decode_pair(writing, &writing->task->pairs[index], index);
    if (status != SN_OK)
        return status;
    for (int i = 0; i < 4; i++) {
        const struct buffer *text = &writing->texts[i];
        if (!text->size || memchr(text->bytes, '\0', text->size) ||
            !utf8_is_valid((const unsigned char *)text->bytes, text->size))
            return SN_OK;
    }
    status = sn_task_add_text_pair(writing->again, writing->context, writing->tokenizer,
                                   writing->texts[0].bytes, writing->texts[1].bytes,
                                   writing->texts[2].bytes, writing->texts[3].bytes);
    if (status == SN_OK)
        *survives = same_last_pair(writing->task, index, writing->again);
    return status == SN_ERROR_ARGUMENT ? SN_OK : status;
}

static void append_ids(struct buffer *line, const int32_t *tokens, size_t n)
{
    buffer_text(line, "[");
    for (size_t i = 0; i < n; i++)
        buffer_format(line, i ? ",%d" : "%d", (int)tokens[i]);
    buffer_text(line, "]");
}

static void append_text_pair(struct buffer *line, const struct buffer texts[4])
{
    static const char *const keys[] = {
        "{\"prompt\": ", ", \"alternative\": ", ", \"target\": ", ", \"alternative_target\": "};
    for (int i = 0; i < 4; i++) {
        buffer_text(line, keys[i]);
        json_append_text(line, texts[i].bytes);
    }
    buffer_text(line, "}\n");
}

static void append_id_pair(struct buffer *line, const sn_task *task, size_t index)
{
    const struct task_pair *pair = &task->pairs[index];
    buffer_text(line, "{\"prompt\": ");
    append_ids(line, task_prompt_a(task, index), pair->n_a);
    buffer_text(line, ", \"alternative\": ");
    append_ids(line, task_prompt_b(task, index), pair->n_b);
    buffer_format(line, ", \"target\": %d, \"alternative_target\": %d}\n", (int)pair->target_a,
                  (int)pair->target_b);
}

static int write_pair(struct file_writer *file, struct writing *writing, size_t index)
{
    int survives, status = survives_as_text(&survives, writing, index);
    if (status != SN_OK)
        return status;
    writing->line.size = 0;
    if (survives)
        append_text_pair(&writing->line, writing->texts);
    else
        append_id_pair(&writing->line, writing->task, index);
    if (writing->line.failed)
        return fail_memory(writing->context, "a line", writing->line.capacity);
    if (writing->line.size > TASK_LONGEST_LINE)
        return fail(writing->context, SN_ERROR_UNSUPPORTED,
                    "sn_task_save_jsonl: pair %zu takes more than the %zu bytes that a line may have",
                    index, TASK_LONGEST_LINE);
    return file_write(file, writing->context, writing->line.bytes, writing->line.size);
}

static int write_file(struct writing *writing, const char *path)
{
    struct file_writer file = {0};
    int status = file_writer_open(&file, writing->context, path);
    for (size_t i = 0; status == SN_OK && i < writing->task->n_pairs; i++)
        status = write_pair(&file, writing, i);
    if (status == SN_OK)
        status = file_writer_commit(&file, writing->context);
    file_writer_abort(&file);
    return status;
}

int sn_task_save_jsonl(const sn_task *task, sn_context *context, const sn_tokenizer *tokenizer,
                       const char *path)
{
    struct writing writing = {.context = context, .tokenizer = tokenizer, .task = task};
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!task || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_task_save_jsonl: %s is NULL",
                    task ? "path" : "task");
    if (task->n_pairs == 0)
        return fail(context, SN_ERROR_ARGUMENT, "sn_task_save_jsonl: the task has no pair of prompts");
    int status = sn_task_create(&writing.again, context, "again");
    if (status != SN_OK)
        return status;
    buffer_init(&writing.line, context->memory);
    for (int i = 0; i < 4; i++)
        buffer_init(&writing.texts[i], context->memory);
    status = write_file(&writing, path);
    for (int i = 0; i < 4; i++)
        buffer_free(&writing.texts[i]);
    buffer_free(&writing.line);
    sn_task_free(writing.again);
    return status;
}
