#include "text/tokenizer_files.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json_parse.h"

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

size_t unmap_token(char *bytes, const char *text, size_t length)
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

int fail_file_memory(struct sn_context *context, const char *path)
{
    return fail(context, SN_ERROR_MEMORY, "out of memory while reading %s", path);
}

int read_json_file(json_t **root, struct sn_context *context, const char *path)
{
    char *text;
    size_t length;
    json_error_t error;
    int lacks_memory;
    *root = NULL;
    int status = file_read_all(&text, &length, context, path, MAX_TOKENIZER_FILE_BYTES);
    if (status != SN_OK)
        return status;
    *root = json_parse(&lacks_memory, &error, text, length);
    if (!*root)
        status = lacks_memory
                     ? fail_file_memory(context, path)
                     : fail(context, SN_ERROR_FORMAT, "%s: line %d: %s", path, error.line, error.text);
    memory_free(context->memory, text, length + 1);
    return status;
}

void show_json(char text[SHOWN_JSON], const json_t *value)
{
    size_t room = SHOWN_JSON - 4, length = 0;
    if (value)
        length = json_dumpb(value, text, room, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT);
    if (length && length <= room)
        text[length] = '\0';
    else if (json_is_string(value))
        snprintf(text, SHOWN_JSON, "\"%.*s...\"", (int)room - 8, json_string_value(value));
    else
        snprintf(text, SHOWN_JSON, "%s",
                 !value                  ? "absent"
                 : json_is_object(value) ? "an object"
                 : json_is_array(value)  ? "an array"
                                         : "unreadable");
}

static int fail_id(struct sn_context *context, const char *path, const char *where, const char *name,
                   const json_t *value)
{
    char shown[SHOWN_JSON];
    show_json(shown, value);
    return fail(context, SN_ERROR_FORMAT, "%s: %stoken \"%.100s\": its id must be 0 .. %zu, not %s",
                path, where, name, MAX_VOCABULARY - 1, shown);
}

int collect_names(const char ***names, size_t *size, struct sn_context *context, const char *path,
                  const char *where, json_t *root)
{
    const char *name;
    json_t *value;
    size_t count = 0;
    *names = NULL;
    *size = 0;
    json_object_foreach(root, name, value)
    {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= (json_int_t)MAX_VOCABULARY)
            return fail_id(context, path, where, name, value);
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
            return fail(context, SN_ERROR_FORMAT, "%s: %s\"%.100s\" and \"%.100s\" both have id %zu",
                        path, where, (*names)[id], name, id);
        (*names)[id] = name;
    }
    return SN_OK;
}

int put_name(struct sn_tokenizer *tokenizer, struct sn_context *context, const char *path,
             const char *where, const char *name, size_t id)
{
    char bytes[MAX_TOKEN_BYTES];
    size_t length = unmap_token(bytes, name, strlen(name));
    if (length == 0)
        return fail(context, SN_ERROR_FORMAT,
                    "%s: %stoken \"%.100s\" (id %zu) is empty, longer than %d bytes, or holds a "
                    "character that stands for no byte",
                    path, where, name, id, MAX_TOKEN_BYTES);
    return tokenizer_put(tokenizer, (int32_t)id, bytes, length) ? SN_OK
                                                                : fail_file_memory(context, path);
}

int check_bytes(const struct sn_tokenizer *tokenizer, struct sn_context *context, const char *path,
                const char *where)
{
    for (int byte = 0; byte < 256; byte++)
        if (tokenizer->byte_token[byte] < 0)
            return fail(context, SN_ERROR_FORMAT, "%s: %sno token for byte 0x%02X", path, where,
                        (unsigned)byte);
    return SN_OK;
}

/* The files of a folder in fresh blocks, NULL where there was no memory. */
struct tokenizer_paths {
    struct memory *memory;
    char *encoder, *merges, *json;
};

static int paths_make(struct tokenizer_paths *paths, struct sn_context *context, const char *directory)
{
    paths->memory = context->memory;
    paths->encoder = file_path_join(context->memory, directory, "encoder.json");
    paths->merges = file_path_join(context->memory, directory, "vocab.bpe");
    paths->json = file_path_join(context->memory, directory, "tokenizer.json");
    return paths->encoder && paths->merges && paths->json
               ? SN_OK
               : fail_memory(context, "a path", strlen(directory));
}

static void paths_free(struct tokenizer_paths *paths)
{
    file_path_free(paths->memory, paths->encoder);
    file_path_free(paths->memory, paths->merges);
    file_path_free(paths->memory, paths->json);
}

static int is_there(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

/* encoder: 1 for the pair of files even beside a tokenizer.json. */
static int load_folder(struct sn_tokenizer **tokenizer, struct sn_context *context,
                       const char *directory, int encoder)
{
    struct tokenizer_paths paths;
    int status = paths_make(&paths, context, directory);
    if (status == SN_OK)
        status = !encoder && is_there(paths.json)
                     ? read_tokenizer_json(tokenizer, context, paths.json)
                     : read_encoder_files(tokenizer, context, paths.encoder, paths.merges);
    paths_free(&paths);
    return status;
}

/* The folder of encoder.json or vocab.bpe, or any other file, which is read as tokenizer.json. */
static int load_file(struct sn_tokenizer **tokenizer, struct sn_context *context, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (strcmp(name, "encoder.json") != 0 && strcmp(name, "vocab.bpe") != 0)
        return read_tokenizer_json(tokenizer, context, path);
    size_t length = slash > path ? (size_t)(slash - path) : 1;
    char *directory = memory_copy_text(context->memory, slash ? path : ".", length);
    int status = directory ? load_folder(tokenizer, context, directory, 1)
                           : fail_memory(context, "a path", length);
    memory_free(context->memory, directory, length + 1);
    return status;
}

int sn_tokenizer_load(sn_tokenizer **out, sn_context *context, const char *path)
{
    struct stat target;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_tokenizer_load: path is NULL");
    struct sn_tokenizer *tokenizer = NULL;
    int is_file = stat(path, &target) == 0 && !S_ISDIR(target.st_mode);
    int status =
        is_file ? load_file(&tokenizer, context, path) : load_folder(&tokenizer, context, path, 0);
    if (status != SN_OK) {
        sn_tokenizer_free(tokenizer);
        return status;
    }
    *out = tokenizer;
    return SN_OK;
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

static int save_encoder(const struct sn_tokenizer *tokenizer, struct sn_context *context,
                        const struct tokenizer_paths *paths)
{
    struct buffer encoder, merges;
    buffer_init(&encoder, context->memory);
    buffer_init(&merges, context->memory);
    write_encoder_json(&encoder, tokenizer);
    write_vocab_bpe(&merges, tokenizer);
    int status = SN_OK;
    if (encoder.failed || merges.failed)
        status = fail_memory(context, "the files of a tokenizer", 0);
    else if (is_there(paths->json))
        status = fail(context, SN_ERROR_STATE,
                      "sn_tokenizer_save: %s is there, and would be read instead of what is saved",
                      paths->json);
    if (status == SN_OK)
        status = write_file(context, paths->encoder, &encoder);
    if (status == SN_OK)
        status = write_file(context, paths->merges, &merges);
    buffer_free(&encoder);
    buffer_free(&merges);
    return status;
}

static int save_json(const struct sn_tokenizer *tokenizer, struct sn_context *context,
                     const struct tokenizer_paths *paths)
{
    struct buffer buffer;
    buffer_init(&buffer, context->memory);
    write_tokenizer_json(&buffer, tokenizer);
    int status = write_file(context, paths->json, &buffer);
    buffer_free(&buffer);
    return status;
}

int sn_tokenizer_save(const sn_tokenizer *tokenizer, sn_context *context, const char *directory)
{
    struct tokenizer_paths paths;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!tokenizer || !directory)
        return fail(context, SN_ERROR_ARGUMENT, "sn_tokenizer_save: %s is NULL",
                    tokenizer ? "directory" : "tokenizer");
    int status = paths_make(&paths, context, directory);
    if (status == SN_OK)
        status = file_make_folder(context, directory);
    if (status == SN_OK)
        status = tokenizer->form == FORM_JSON ? save_json(tokenizer, context, &paths)
                                              : save_encoder(tokenizer, context, &paths);
    paths_free(&paths);
    return status;
}
