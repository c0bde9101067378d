/* encoder.json ({"token": id}) and vocab.bpe ("#version: 0.2", then a merge a line: "left right"), as
 * GPT-2 introduced them. */
#include <string.h>

#include "base/file.h"
#include "text/tokenizer_files.h"

static int read_encoder(struct sn_tokenizer *tokenizer, struct sn_context *context, const char *path)
{
    const char **names = NULL;
    size_t size = 0;
    json_t *root = NULL;
    int status = read_json_file(&root, context, path);
    if (status == SN_OK && !json_is_object(root))
        status = fail(context, SN_ERROR_FORMAT, "%s: line 1: an object {\"token\": id} is wanted", path);
    if (status == SN_OK)
        status = collect_names(&names, &size, context, path, "", root);
    for (size_t id = 0; id < size && status == SN_OK; id++)
        if (names[id])
            status = put_name(tokenizer, context, path, "", names[id], id);
    if (status == SN_OK)
        status = check_bytes(tokenizer, context, path, "");
    json_decref(root);
    memory_free(context->memory, names, size * sizeof *names);
    return status;
}

struct line {
    const char *path, *text;
    size_t length, number;
};

/* With the beginning of the line, in which whatever might not print is a question mark. */
static int fail_line(struct sn_context *context, const struct line *line, const char *what)
{
    char shown[60];
    size_t n = 0;
    for (; n < line->length && n + 1 < sizeof shown; n++)
        shown[n] = line->text[n] >= ' ' && line->text[n] <= '~' ? line->text[n] : '?';
    shown[n] = '\0';
    return fail(context, SN_ERROR_FORMAT, "%s: line %zu: \"%s\": %s", line->path, line->number, shown,
                what);
}

/* A half of a merge must be a byte or come from an earlier line. */
static int find_half(int32_t *id, const struct sn_tokenizer *tokenizer, const char *text, size_t length)
{
    char bytes[MAX_TOKEN_BYTES];
    size_t n = unmap_token(bytes, text, length);
    *id = n ? sn_tokenizer_find(tokenizer, bytes, n) : -1;
    return *id >= 0 && tokenizer->tokens[*id].kinds & TOKEN_TEXT;
}

/* made[id]: 1 + the number of the merge that makes the token. */
static int read_merge(struct sn_tokenizer *tokenizer, int32_t *made, struct sn_context *context,
                      const struct line *line)
{
    char joined[2 * MAX_TOKEN_BYTES];
    int32_t left, right, id;
    const char *space = memchr(line->text, ' ', line->length);
    size_t cut = space ? (size_t)(space - line->text) : 0;
    if (cut == 0 || cut + 1 == line->length || memchr(space + 1, ' ', line->length - cut - 1))
        return fail_line(context, line, "two tokens with one space between them are wanted");
    if (!find_half(&left, tokenizer, line->text, cut))
        return fail_line(context, line, "the left half is no byte and no earlier line makes it");
    if (!find_half(&right, tokenizer, space + 1, line->length - cut - 1))
        return fail_line(context, line, "the right half is no byte and no earlier line makes it");
    id = sn_tokenizer_find(tokenizer, joined, token_join(joined, tokenizer, left, right));
    if (id < 0)
        return fail_line(context, line, "the merged token is not in encoder.json");
    if (made[id]) { /* another way to an earlier token changes nothing: bytes decide what merges */
        const struct merge *merge = &tokenizer->merges[made[id] - 1];
        return merge->left == left && merge->right == right
                   ? fail_line(context, line, "this merge stands there twice")
                   : SN_OK;
    }
    if (!tokenizer_add_merge(tokenizer, id, left, right))
        return fail_file_memory(context, line->path);
    made[id] = (int32_t)tokenizer->n_merges;
    return SN_OK;
}

static int read_lines(struct sn_tokenizer *tokenizer, int32_t *made, struct sn_context *context,
                      const char *path, const char *text, size_t size)
{
    struct line line = {.path = path, .number = 1};
    int status = SN_OK;
    for (size_t at = 0; at < size && status == SN_OK; line.number++) {
        const char *end = memchr(text + at, '\n', size - at);
        line.text = text + at;
        line.length = end ? (size_t)(end - line.text) : size - at;
        at += line.length + (end != NULL);
        if (line.length && line.text[line.length - 1] == '\r')
            line.length--;
        if (line.number == 1)
            status = line.length >= 8 && memcmp(line.text, "#version", 8) == 0
                         ? SN_OK
                         : fail_line(context, &line, "\"#version\" is wanted first");
        else if (line.length)
            status = read_merge(tokenizer, made, context, &line);
    }
    if (status == SN_OK && line.number == 1)
        status = fail(context, SN_ERROR_FORMAT, "%s: line 1: the file is empty", path);
    return status;
}

static int read_merges(struct sn_tokenizer *tokenizer, struct sn_context *context, const char *path)
{
    char *text;
    size_t size, n_made = tokenizer->size;
    int status = file_read_all(&text, &size, context, path, MAX_TOKENIZER_FILE_BYTES);
    if (status != SN_OK)
        return status;
    int32_t *made = memory_allocate_zeroed_array(context->memory, n_made, sizeof *made);
    status =
        made ? read_lines(tokenizer, made, context, path, text, size) : fail_file_memory(context, path);
    memory_free(context->memory, made, n_made * sizeof *made);
    memory_free(context->memory, text, size + 1);
    return status;
}

int read_encoder_files(struct sn_tokenizer **out, struct sn_context *context, const char *encoder_path,
                       const char *merges_path)
{
    int status = tokenizer_create(out, context, FORM_ENCODER, SPLIT_RELEASED);
    if (status == SN_OK)
        status = read_encoder(*out, context, encoder_path);
    if (status == SN_OK)
        status = read_merges(*out, context, merges_path);
    if (status == SN_OK && !tokenizer_index(*out))
        status = fail_memory(context, "the pairs of a tokenizer", 0);
    return status;
}
