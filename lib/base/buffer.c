#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buffer_init(struct buffer *buffer, struct memory *memory)
{
    memset(buffer, 0, sizeof *buffer);
    buffer->memory = memory;
}

static int reserve(struct buffer *buffer, size_t more)
{
    if (buffer->failed || more >= (size_t)-1 / 2 - buffer->size) {
        buffer->failed = 1;
        return 0;
    }
    size_t needed = buffer->size + more + 1;
    if (needed <= buffer->capacity)
        return 1;
    size_t capacity = buffer->capacity ? buffer->capacity : 256;
    while (capacity < needed)
        capacity *= 2;
    char *bytes = memory_resize(buffer->memory, buffer->bytes, buffer->capacity, capacity);
    if (!bytes) {
        buffer->failed = 1;
        return 0;
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return 1;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t size)
{
    if (!reserve(buffer, size))
        return;
    if (size)
        memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
    buffer->bytes[buffer->size] = '\0';
}

void buffer_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0 || !reserve(buffer, (size_t)length)) {
        buffer->failed = 1;
        return;
    }
    va_start(arguments, format);
    vsnprintf(buffer->bytes + buffer->size, (size_t)length + 1, format, arguments);
    va_end(arguments);
    buffer->size += (size_t)length;
}

/* A locale's decimal mark may be several bytes long. */
void number_text(char text[NUMBER_TEXT], double value, int digits)
{
    char local[64];
    snprintf(local, sizeof local, "%.*g", digits < 17 ? digits : 17, value);
    size_t n = 0;
    for (const char *c = local; *c && n < NUMBER_TEXT - 1; c++) {
        if (strchr("0123456789+-einfa", *c))
            text[n++] = *c;
        else if (n == 0 || text[n - 1] != '.')
            text[n++] = '.';
    }
    text[n] = '\0';
}

const char *number_shown(char text[NUMBER_TEXT], double value)
{
    number_text(text, value, 6);
    return text;
}

void buffer_number(struct buffer *buffer, double value, int digits)
{
    char text[NUMBER_TEXT];
    number_text(text, value, digits);
    buffer_text(buffer, text);
}

void buffer_free(struct buffer *buffer)
{
    memory_free(buffer->memory, buffer->bytes, buffer->capacity);
    buffer->bytes = NULL;
    buffer->size = buffer->capacity = 0;
}
