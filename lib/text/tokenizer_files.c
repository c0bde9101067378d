/* encoder.json ({"token": id}) and vocab.bpe ("#version: 0.2", then a merge a line: "left right"), as
 * GPT-2 introduced them. Both write bytes as characters that can be printed. */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/file.h"
#include "text/tokenizer.h"

#define MAX_FILE_BYTES ((size_t)16 << 20)

/* One character of well-formed UTF-8; *at moves on. Returns 0xFFFD for anything malformed. */
static uint32_t next_character(const char *text, size_t length, size_t *at)
{
    unsigned char first = (unsigned char)text[(*at)++];
    size_t n = first < 0x80 ? 0 : first < 0xC0 ? 4 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
    if (n == 4 || n > length - *at)
        return 0xFFFD;
    uint32_t character = n ? first & (0x3Fu >> n) : first;
    for (; n; n--)
        character = character << 6 | ((unsigned char)text[(*at)++] & 0x3Fu);
    return character;
}

/* The bytes that `text` stands for: their number, 0 if it is empty or too long or holds a character
 * that stands for no byte. */
static size_t unmap(char *bytes, const char *text, size_t length)
{
    size_t n = 0;
    for (size_t at = 0; at < length;) {
        int byte = character_to_byte(next_character(text, length, &at));
        if (byte < 0 || n == MAX_TOKEN_BYTES)
            return 0;
        bytes[n++] = (char)byte;
    }
    return n;
}

static int fail_file_memory(struct sn_context *context, const char *path)
{
    return fail(context, SN_ERROR_MEMORY, "out of memory while reading %s", path);
}

/* names[id] = the key of that id, NULL where no token has it. */
static int collect_names(const char ***names, size_t *size, struct sn_context *context, const char *path,
                         json_t *root)
{
    const char *name;
    json_t *value;
    size_t count = 0;
    json_object_foreach(root, name, value)
    {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= (json_int_t)MAX_VOCABULARY)
            return fail(context, SN_ERROR_FORMAT, "%s: token \"%.100s\": its id must be 0 .. %zu", path,
                        name, MAX_VOCABULARY - 1);
        if ((size_t)id + 1 > count)
            count = (size_t)id + 1;
    }
    *names = memory_allocate_zeroed_array(context->memory, count, sizeof **names);
    if (!*names)
        return fail_file_memory(context, path);
    *size = count;
    json_object_foreach(root, name, value)
    {
        size_t id = (size_t)json_integer_value(value);
        if ((*names)[id])
            return fail(context, SN_ERROR_FORMAT, "%s: \"%.100s\" and \"%.100s\" both have id %zu", path,
                        (*names)[id], name, id);
        (*names)[id] = name;
    }
    return SN_OK;
}

static int put_names(struct sn_tokenizer *tokenizer, struct sn_context *context, const char *path,
                     const char *const *names, size_t size)
{
    char bytes[MAX_TOKEN_BYTES];
    for (size_t id = 0; id < size; id++) {
        if (!names[id])
            continue;
        size_t length = unmap(bytes, names[id], strlen(names[id]));
        if (length == 0)
            return fail(context, SN_ERROR_FORMAT,
                        "%s: token \"%.100s\" (id %zu) is empty, longer than %d bytes, or holds a "
                        "character that stands for no byte",
                        path, names[id], id, MAX_TOKEN_BYTES);
        if (!tokenizer_put(tokenizer, (int32_t)id, bytes, length))
            return fail_file_memory(context, path);
    }
    for (int byte = 0; byte < 256; byte++)
        if (tokenizer->byte_token[byte] < 0)
            return fail(context, SN_ERROR_FORMAT, "%s: no token for byte 0x%02X", path, (unsigned)byte);
    return SN_OK;
}

static int read_encoder(struct sn_tokenizer *tokenizer, struct sn_context *context, const char *path)
{
    char *text = NULL;
    const char **names = NULL;
    size_t length = 0, size = 0;
    json_error_t error;
    json_t *root = NULL;
    int status = file_read_all(&text, &length, context, path, MAX_FILE_BYTES);
    if (status != SN_OK)
        goto done;
    root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        status = json_error_code(&error) == json_error_out_of_memory
                     ? fail_file_memory(context, path)
                     : fail(context, SN_ERROR_FORMAT, "%s: line %d: %s", path, error.line, error.text);
        goto done;
    }
    if (!json_is_object(root)) {
        status = fail(context, SN_ERROR_FORMAT, "%s: line 1: an object {\"token\": id} is wanted", path);
        goto done;
    }
    status = collect_names(&names, &size, context, path, root);
    if (status == SN_OK)
        status = put_names(tokenizer, context, path, names, size);
done:
    json_decref(root);
    memory_free(context->memory, names, size * sizeof *names);
    memory_free(context->memory, text, length + 1);
    return status;
}

struct line {
    const char *path, *text;
    size_t length, number;
};

static int fail_line(struct sn_context *context, const struct line *line, const char *what)
{
    return fail(context, SN_ERROR_FORMAT, "%s: line %zu: %s", line->path, line->number, what);
}

/* A half of a merge must be a byte or come from an earlier line. */
static int find_half(int32_t *id, const struct sn_tokenizer *tokenizer, const char *text, size_t length)
{
    char bytes[MAX_TOKEN_BYTES];
    size_t n = unmap(bytes, text, length);
    *id = n ? sn_tokenizer_find(tokenizer, bytes, n) : -1;
    return *id >= 0 && tokenizer->tokens[*id].rank != NO_RANK;
}

static int read_merge(struct sn_tokenizer *tokenizer, struct sn_context *context,
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
    struct token *token = &tokenizer->tokens[id];
    if (token->rank == NO_RANK)
        tokenizer_rank(tokenizer, id, left, right);
    else if (token->left == left && token->right == right)
        return fail_line(context, line, "this merge stands there twice");
    return SN_OK; /* another way to an earlier token changes nothing: bytes decide what merges */
}

static int read_merges(struct sn_tokenizer *tokenizer, struct sn_context *context, const char *path)
{
    char *text;
    size_t size;
    int status = file_read_all(&text, &size, context, path, MAX_FILE_BYTES);
    if (status != SN_OK)
        return status;
    struct line line = {.path = path, .number = 1};
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
            status = read_merge(tokenizer, context, &line);
    }
    if (status == SN_OK && line.number == 1)
        status = fail(context, SN_ERROR_FORMAT, "%s: line 1: the file is empty", path);
    memory_free(context->memory, text, size + 1);
    return status;
}

/* Both paths in fresh blocks. */
static int make_paths(char **encoder, char **merges, struct sn_context *context, const char *directory)
{
    *encoder = file_path_join(context->memory, directory, "encoder.json");
    *merges = file_path_join(context->memory, directory, "vocab.bpe");
    return *encoder && *merges ? SN_OK : fail_memory(context, "a path", strlen(directory));
}

int sn_tokenizer_load(sn_tokenizer **out, sn_context *context, const char *directory)
{
    char *encoder, *merges;
    sn_tokenizer *tokenizer = NULL;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!out || !directory)
        return fail(context, SN_ERROR_ARGUMENT, "sn_tokenizer_load: %s is NULL",
                    out ? "directory" : "out");
    *out = NULL;
    int status = make_paths(&encoder, &merges, context, directory);
    if (status == SN_OK)
        status = tokenizer_create(&tokenizer, context);
    if (status == SN_OK)
        status = read_encoder(tokenizer, context, encoder);
    if (status == SN_OK)
        status = read_merges(tokenizer, context, merges);
    if (status == SN_OK && !tokenizer_index_pairs(tokenizer))
        status = fail_memory(context, "the pairs of a tokenizer", 0);
    file_path_free(context->memory, encoder);
    file_path_free(context->memory, merges);
    if (status != SN_OK) {
        sn_tokenizer_free(tokenizer);
        return status;
    }
    *out = tokenizer;
    return SN_OK;
}

/* The token in characters of the files: UTF-8, or escaped for a JSON string. */
static void append_mapped(struct buffer *buffer, const struct sn_tokenizer *tokenizer, int32_t id,
                          int as_json)
{
    const char *bytes = token_bytes(tokenizer, id);
    for (size_t i = 0; i < token_length(tokenizer, id); i++) {
        int character = byte_to_character((unsigned char)bytes[i]);
        if (as_json && (character == '"' || character == '\\'))
            buffer_format(buffer, "\\%c", character);
        else if (character < 0x80)
            buffer_format(buffer, "%c", character);
        else if (as_json)
            buffer_format(buffer, "\\u%04x", (unsigned)character);
        else
            buffer_format(buffer, "%c%c", 0xC0 | character >> 6, 0x80 | (character & 0x3F));
    }
}

static void write_encoder(struct buffer *buffer, const struct sn_tokenizer *tokenizer)
{
    const char *separator = "{";
    for (int32_t id = 0; (size_t)id < tokenizer->size; id++) {
        if (tokenizer->tokens[id].entry == NO_ENTRY)
            continue;
        buffer_format(buffer, "%s\"", separator);
        append_mapped(buffer, tokenizer, id, 1);
        buffer_format(buffer, "\": %d", (int)id);
        separator = ", ";
    }
    buffer_text(buffer, "}\n");
}

static int write_merges(struct buffer *buffer, const struct sn_tokenizer *tokenizer)
{
    size_t n = (size_t)tokenizer->n_merges;
    int32_t *in_order = memory_allocate_array(tokenizer->memory, n, sizeof *in_order);
    if (!in_order)
        return 0;
    for (int32_t id = 0; (size_t)id < tokenizer->size; id++)
        if (tokenizer->tokens[id].left >= 0)
            in_order[tokenizer->tokens[id].rank - 1] = id;
    buffer_text(buffer, "#version: 0.2\n");
    for (size_t i = 0; i < n; i++) {
        append_mapped(buffer, tokenizer, tokenizer->tokens[in_order[i]].left, 0);
        buffer_text(buffer, " ");
        append_mapped(buffer, tokenizer, tokenizer->tokens[in_order[i]].right, 0);
        buffer_text(buffer, "\n");
    }
    memory_free(tokenizer->memory, in_order, n * sizeof *in_order);
    return 1;
}

static int write_file(struct sn_context *context, const char *path, const struct buffer *buffer)
{
    struct file_writer file;
    if (buffer->failed)
        return fail_memory(context, path, 0);
    int status = file_writer_open(&file, context, path);
    if (status != SN_OK)
        return status;
    status = file_write(&file, context, buffer->bytes, buffer->size);
    if (status == SN_OK)
        return file_writer_commit(&file, context);
    file_writer_abort(&file);
    return status;
}

int sn_tokenizer_save(const sn_tokenizer *tokenizer, sn_context *context, const char *directory)
{
    struct buffer encoder, merges;
    char *encoder_path, *merges_path;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!tokenizer || !directory)
        return fail(context, SN_ERROR_ARGUMENT, "sn_tokenizer_save: %s is NULL",
                    tokenizer ? "directory" : "tokenizer");
    buffer_init(&encoder, context->memory);
    buffer_init(&merges, context->memory);
    write_encoder(&encoder, tokenizer);
    merges.failed |= !write_merges(&merges, tokenizer);
    int status = make_paths(&encoder_path, &merges_path, context, directory);
    if (status == SN_OK && (encoder.failed || merges.failed))
        status = fail_memory(context, "the files of a tokenizer", 0);
    if (status == SN_OK && mkdir(directory, 0777) != 0 && errno != EEXIST)
        status = fail(context, SN_ERROR_IO, "%s: cannot create the folder (error %d)", directory, errno);
    if (status == SN_OK)
        status = write_file(context, encoder_path, &encoder);
    if (status == SN_OK)
        status = write_file(context, merges_path, &merges);
    file_path_free(context->memory, encoder_path);
    file_path_free(context->memory, merges_path);
    buffer_free(&encoder);
    buffer_free(&merges);
    return status;
}
