#include "report/page_json.h"

#include <math.h>
#include <string.h>

#include "base/utf8.h"

#define DIGITS 3

void page_json_next(struct buffer *out)
{
    if (out->size && !strchr("[{:", out->bytes[out->size - 1]))
        buffer_append(out, ",", 1);
}

void page_json_open(struct buffer *out, char bracket)
{
    page_json_next(out);
    buffer_append(out, &bracket, 1);
}

void page_json_close(struct buffer *out, char bracket)
{
    buffer_append(out, &bracket, 1);
}

/* Bytes of the character that begins here, 0 where none does. */
static size_t character_length(const unsigned char *text, size_t length)
{
    size_t n = text[0] < 0x80 ? 1 : text[0] >= 0xF0 ? 4 : text[0] >= 0xE0 ? 3 : 2;
    return n <= length && utf8_is_valid(text, n) ? n : 0;
}

static void append_character(struct buffer *out, const unsigned char *text, size_t length)
{
    if (length == 0)
        buffer_format(out, "\\\\x%02x", text[0]);
    else if (length == 1 && (text[0] < ' ' || text[0] == 0x7f || strchr("<>&\"\\", text[0])))
        buffer_format(out, "\\u%04x", text[0]);
    else
        buffer_append(out, text, length);
}

void page_json_text(struct buffer *out, const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    page_json_next(out);
    buffer_append(out, "\"", 1);
    for (size_t i = 0; i < length;) {
        size_t n = character_length(bytes + i, length - i);
        append_character(out, bytes + i, n);
        i += n ? n : 1;
    }
    buffer_append(out, "\"", 1);
}

void page_json_key(struct buffer *out, const char *key)
{
    page_json_text(out, key, strlen(key));
    buffer_append(out, ":", 1);
}

void page_json_number(struct buffer *out, double value)
{
    page_json_next(out);
    if (isfinite(value))
        buffer_number(out, value, DIGITS);
    else
        buffer_text(out, "null");
}

void page_json_count(struct buffer *out, size_t count)
{
    page_json_next(out);
    buffer_format(out, "%zu", count);
}

void page_json_set_number(struct buffer *out, const char *key, double value)
{
    page_json_key(out, key);
    page_json_number(out, value);
}

void page_json_set_count(struct buffer *out, const char *key, size_t count)
{
    page_json_key(out, key);
    page_json_count(out, count);
}

void page_json_raw(struct buffer *out, const char *json, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t n = i;
        while (n < length && !strchr("<>&", json[n]))
            n++;
        buffer_append(out, json + i, n - i);
        if (n < length)
            buffer_format(out, "\\u%04x", (unsigned)json[n]);
        i = n + 1;
    }
}
