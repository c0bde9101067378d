#include "format/json.h"

#include <stdint.h>
#include <stdio.h>

#include "base/file.h"
#include "base/json_parse.h"

/* jansson recurses once per level; a host's thread may have a small stack. */
static int too_deep(const char *text, size_t length)
{
    size_t depth = 0;
    int in_string = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = 0;
        } else if (c == '"') {
            in_string = 1;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_MAX_DEPTH)
                return 1;
        } else if ((c == '}' || c == ']') && depth) {
            depth--;
        }
    }
    return 0;
}

/* jansson's text quotes the input, whose bytes may be anything. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
}

int json_read_text(json_t **out, struct sn_context *context, const char *text, size_t length,
                   const char *source)
{
    json_error_t error;
    int lacks_memory;
    *out = NULL;
    if (length == 0)
        return fail(context, SN_ERROR_FORMAT, "%s: empty, JSON expected", source);
    if (too_deep(text, length))
        return fail(context, SN_ERROR_FORMAT, "%s: JSON nested deeper than %d levels", source,
                    JSON_MAX_DEPTH);
    *out = json_parse(&lacks_memory, &error, text, length);
    if (*out)
        return SN_OK;
    if (lacks_memory)
        return fail_memory(context, source, 0);
    make_printable(error.text);
    return fail(context, SN_ERROR_FORMAT, "%s: bad JSON at line %d, column %d: %s", source, error.line,
                error.column, error.text);
}

int json_read_file(json_t **out, struct sn_context *context, const char *path, size_t limit)
{
    char *text;
    size_t length;
    *out = NULL;
    int status = file_read_all(&text, &length, context, path, limit);
    if (status != SN_OK)
        return status;
    status = json_read_text(out, context, text, length, path);
    memory_free(context->memory, text, length + 1);
    return status;
}

int json_fail(struct sn_context *context, const json_t *value, const char *source, const char *key,
              const char *wanted)
{
    char text[65];
    size_t length = json_dumpb(value, text, sizeof text - 4, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    if (length > sizeof text - 4) {
        /* what fits has been written, in whole tokens: an unknown part of the buffer */
        const char *kind = json_is_object(value)  ? "an object"
                           : json_is_array(value) ? "an array"
                                                  : "a long text";
        snprintf(text, sizeof text, "%s", kind);
    } else {
        text[length] = '\0';
    }
    return fail(context, SN_ERROR_FORMAT, "%s: %s: must be %s, not %s", source, key, wanted, text);
}

int json_field_size(size_t *value, struct sn_context *context, const json_t *object, const char *source,
                    const char *key, size_t minimum, size_t maximum)
{
    const json_t *field = json_object_get(object, key);
    if (!field)
        return SN_OK;
    json_int_t number = json_integer_value(field);
    if (!json_is_integer(field) || number < 0 || (uint64_t)number < minimum ||
        (uint64_t)number > maximum) {
        char wanted[96];
        snprintf(wanted, sizeof wanted, "a whole number %zu .. %zu", minimum, maximum);
        return json_fail(context, field, source, key, wanted);
    }
    *value = (size_t)number;
    return SN_OK;
}

int json_field_number(double *value, struct sn_context *context, const json_t *object,
                      const char *source, const char *key)
{
    const json_t *field = json_object_get(object, key);
    if (!field)
        return SN_OK;
    if (!json_is_number(field))
        return json_fail(context, field, source, key, "a number");
    *value = json_number_value(field);
    return SN_OK;
}

int json_field_flag(int *value, struct sn_context *context, const json_t *object, const char *source,
                    const char *key)
{
    const json_t *field = json_object_get(object, key);
    if (!field)
        return SN_OK;
    if (!json_is_boolean(field))
        return json_fail(context, field, source, key, "true or false");
    *value = json_is_true(field);
    return SN_OK;
}

int json_field_text(const char **value, struct sn_context *context, const json_t *object,
                    const char *source, const char *key)
{
    const json_t *field = json_object_get(object, key);
    if (!field)
        return SN_OK;
    if (!json_is_string(field))
        return json_fail(context, field, source, key, "a text");
    *value = json_string_value(field);
    return SN_OK;
}

void json_append_text(struct buffer *buffer, const char *text)
{
    buffer_text(buffer, "\"");
    for (const char *run = text; *run;) {
        size_t plain = 0;
        while ((unsigned char)run[plain] >= 0x20 && run[plain] != '"' && run[plain] != '\\')
            plain++;
        buffer_append(buffer, run, plain);
        run += plain;
        if (*run)
            buffer_format(buffer, "\\u%04x", (unsigned)(unsigned char)*run++);
    }
    buffer_text(buffer, "\"");
}
