/* Tasks from JSON Lines (docs/tasks.md): one pair in a line, as text or as token ids. Nobody vouches for
 * such a file; every error names the line. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "circuit/task.h"
#include "format/json.h"

#define CHUNK_BYTES ((size_t)1 << 16)

static const char *const FIELDS[] = {"prompt", "alternative", "target", "alternative_target"};
enum { PROMPT, ALTERNATIVE, TARGET, ALTERNATIVE_TARGET, N_FIELDS };

/* Lines of a file, read in chunks. */
struct line_reader {
    struct sn_context *context;
    struct file_reader file;
    uint64_t offset; /* bytes of the file read so far */
    char *chunk;     /* CHUNK_BYTES */
    size_t at, n_chunk;
    struct buffer line; /* without its newline */
    size_t number;      /* of that line, from 1 */
};

static int read_chunk(struct line_reader *reader)
{
    uint64_t left = reader->file.size - reader->offset;
    reader->at = 0;
    reader->n_chunk = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
    int status = progress(reader->context, "task", (size_t)reader->offset, (size_t)reader->file.size,
                          (double)reader->number);
    if (status == SN_OK)
        status =
            file_read_at(&reader->file, reader->context, reader->offset, reader->chunk, reader->n_chunk);
    reader->offset += reader->n_chunk;
    return status;
}

/* The next line; *more is 0 at the end of the file. */
static int next_line(int *more, struct line_reader *reader)
{
    reader->line.size = 0;
    reader->number++;
    for (*more = 0;;) {
        if (reader->at == reader->n_chunk) {
            if (reader->offset == reader->file.size)
                return SN_OK;
            int status = read_chunk(reader);
            if (status != SN_OK)
                return status;
        }
        *more = 1;
        const char *start = reader->chunk + reader->at;
        const char *end = memchr(start, '\n', reader->n_chunk - reader->at);
        size_t n = end ? (size_t)(end - start) : reader->n_chunk - reader->at;
        if (n > TASK_LONGEST_LINE - reader->line.size)
            return fail(reader->context, SN_ERROR_FORMAT, "%s: line %zu has more than %zu bytes",
                        reader->file.path, reader->number, TASK_LONGEST_LINE);
        buffer_append(&reader->line, start, n);
        if (reader->line.failed)
            return fail_memory(reader->context, "a line", n);
        reader->at += n + (end != NULL);
        if (end)
            return SN_OK;
    }
}

static int is_blank(const struct buffer *line)
{
    size_t i = 0;
    while (i < line->size && strchr(" \t\r", line->bytes[i]) && line->bytes[i])
        i++;
    return i == line->size;
}

struct reading {
    struct line_reader *reader;
    const sn_tokenizer *tokenizer; /* NULL: token ids only */
    sn_task *task;
    char source[256]; /* "path: line 3" */
};

/* Wraps a message of this context in the place of its cause. */
static int fail_in_line(const struct reading *reading, int status)
{
    struct sn_context *context = reading->reader->context;
    char why[sizeof context->message];
    if (status != SN_ERROR_ARGUMENT)
        return status;
    memcpy(why, context->message, sizeof why);
    return fail(context, SN_ERROR_FORMAT, "%s: %s", reading->source, why);
}

static int fail_unknown(const struct reading *reading, const char *key)
{
    char shown[41];
    size_t n = 0;
    for (; key[n] && n < sizeof shown - 1; n++)
        shown[n] = key[n] >= 0x20 && key[n] <= 0x7e ? key[n] : '?';
    shown[n] = '\0';
    return fail(reading->reader->context, SN_ERROR_FORMAT, "%s: \"%s\" is no field of a pair",
                reading->source, shown);
}

static int check_fields(const struct reading *reading, json_t *object)
{
    struct sn_context *context = reading->reader->context;
    const char *key;
    json_t *value;
    (void)value;
    if (!json_is_object(object))
        return fail(context, SN_ERROR_FORMAT, "%s: not an object", reading->source);
    for (size_t i = 0; i < N_FIELDS; i++)
        if (!json_object_get(object, FIELDS[i]))
            return fail(context, SN_ERROR_FORMAT, "%s: %s is missing", reading->source, FIELDS[i]);
    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (i < N_FIELDS && strcmp(key, FIELDS[i]) != 0)
            i++;
        if (i == N_FIELDS)
            return fail_unknown(reading, key);
    }
    return SN_OK;
}

static int read_token(int32_t *token, const struct reading *reading, const json_t *value,
                      const char *field)
{
    char wanted[64];
    json_int_t number = json_integer_value(value);
    long long most =
        reading->tokenizer ? (long long)sn_tokenizer_size(reading->tokenizer) - 1 : INT32_MAX;
    snprintf(wanted, sizeof wanted, "tokens of 0 .. %lld", most);
    if (!json_is_integer(value) || number < 0 || number > most)
        return json_fail(reading->reader->context, value, reading->source, field, wanted);
    *token = (int32_t)number;
    return SN_OK;
}

static int read_tokens(int32_t *tokens, const struct reading *reading, const json_t *array,
                       const char *field)
{
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < json_array_size(array); i++)
        status = read_token(&tokens[i], reading, json_array_get(array, i), field);
    return status;
}

static int add_ids(const struct reading *reading, json_t *const values[N_FIELDS])
{
    struct sn_context *context = reading->reader->context;
    size_t n[2];
    int32_t targets[2];
    int status = SN_OK;
    for (int side = 0; side < 2 && status == SN_OK; side++) {
        n[side] = json_array_size(values[PROMPT + side]);
        if (!json_is_array(values[PROMPT + side]))
            return json_fail(context, values[PROMPT + side], reading->source, FIELDS[PROMPT + side],
                             "an array of tokens, as the other fields are no texts");
        status = read_token(&targets[side], reading, values[TARGET + side], FIELDS[TARGET + side]);
    }
    if (status != SN_OK)
        return status;
    size_t size = (n[0] + n[1] + 1) * sizeof(int32_t); /* never 0; a line bounds it */
    int32_t *tokens = memory_allocate(context->memory, size);
    if (!tokens)
        return fail_memory(context, "the tokens of a pair", size);
    status = read_tokens(tokens, reading, values[PROMPT], FIELDS[PROMPT]);
    if (status == SN_OK)
        status = read_tokens(tokens + n[0], reading, values[ALTERNATIVE], FIELDS[ALTERNATIVE]);
    if (status == SN_OK)
        status = fail_in_line(reading, sn_task_add_pair(reading->task, context, tokens, n[0],
                                                        tokens + n[0], n[1], targets[0], targets[1]));
    memory_free(context->memory, tokens, size);
    return status;
}

static int add_text(const struct reading *reading, json_t *const values[N_FIELDS])
{
    struct sn_context *context = reading->reader->context;
    const char *texts[N_FIELDS];
    for (size_t i = 0; i < N_FIELDS; i++) {
        texts[i] = json_string_value(values[i]);
        if (!texts[i])
            return json_fail(context, values[i], reading->source, FIELDS[i],
                             "a text, as other fields are");
    }
    if (!reading->tokenizer)
        return fail(
            context, SN_ERROR_FORMAT,
            "%s: holds text, for which a tokenizer must be given; without one only token ids are "
            "read",
            reading->source);
    return fail_in_line(reading, sn_task_add_text_pair(reading->task, context, reading->tokenizer,
                                                       texts[PROMPT], texts[ALTERNATIVE], texts[TARGET],
                                                       texts[ALTERNATIVE_TARGET]));
}

static int read_pair(struct reading *reading)
{
    const struct line_reader *reader = reading->reader;
    json_t *object, *values[N_FIELDS];
    int text = 0;
    snprintf(reading->source, sizeof reading->source, "%.200s: line %zu", reader->file.path,
             reader->number);
    int status =
        json_read_text(&object, reader->context, reader->line.bytes, reader->line.size, reading->source);
    if (status == SN_OK)
        status = check_fields(reading, object);
    for (size_t i = 0; status == SN_OK && i < N_FIELDS; i++) {
        values[i] = json_object_get(object, FIELDS[i]);
        text |= json_is_string(values[i]);
    }
    if (status == SN_OK)
        status = text ? add_text(reading, values) : add_ids(reading, values);
    json_decref(object);
    return status;
}

static int read_pairs(struct reading *reading)
{
    struct line_reader *reader = reading->reader;
    int more, status = next_line(&more, reader);
    while (status == SN_OK && more) {
        if (!is_blank(&reader->line))
            status = read_pair(reading);
        if (status == SN_OK)
            status = next_line(&more, reader);
    }
    if (status == SN_OK && !sn_task_count(reading->task))
        status =
            fail(reader->context, SN_ERROR_FORMAT, "%s: holds no pair of prompts", reader->file.path);
    return status;
}

/* A task named like the file, without folder and ".jsonl". */
static int create_named(sn_task **task, sn_context *context, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    size_t length = strlen(base);
    if (length > 6 && strcmp(base + length - 6, ".jsonl") == 0)
        length -= 6;
    char *name = memory_copy_text(context->memory, base, length);
    if (!name)
        return fail_memory(context, "a task's name", length + 1);
    int status = sn_task_create(task, context, name);
    memory_free(context->memory, name, length + 1);
    return status;
}

static int read_file(sn_task *task, sn_context *context, const sn_tokenizer *tokenizer, const char *path)
{
    struct line_reader reader = {.context = context};
    struct reading reading = {.reader = &reader, .tokenizer = tokenizer, .task = task};
    int status = file_open(&reader.file, context, path);
    if (status != SN_OK)
        return status;
    buffer_init(&reader.line, context->memory);
    reader.chunk = memory_allocate(context->memory, CHUNK_BYTES);
    status = reader.chunk ? read_pairs(&reading) : fail_memory(context, "lines", CHUNK_BYTES);
    memory_free(context->memory, reader.chunk, CHUNK_BYTES);
    buffer_free(&reader.line);
    file_close(&reader.file);
    return status;
}

int sn_task_load_jsonl(sn_task **out, sn_context *context, const sn_tokenizer *tokenizer,
                       const char *path)
{
    sn_task *task = NULL;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_task_load_jsonl: path is NULL");
    int status = create_named(&task, context, path);
    if (status == SN_OK)
        status = read_file(task, context, tokenizer, path);
    if (status != SN_OK) {
        sn_task_free(task);
        return status;
    }
    *out = task;
    return SN_OK;
}
