/* A growing byte buffer. Failure is sticky: after one failed append all others are no-ops and
 * `failed` is set, so that only the end needs a check. */
#ifndef SN_BASE_BUFFER_H
#define SN_BASE_BUFFER_H

#include <stddef.h>

#include "base/memory.h"

struct buffer {
    struct memory *memory;
    char *bytes; /* always NUL-terminated after an append; NULL when empty */
    size_t size;
    size_t capacity;
    int failed;
};

void buffer_init(struct buffer *buffer, struct memory *memory);
void buffer_append(struct buffer *buffer, const void *bytes, size_t size);
void buffer_text(struct buffer *buffer, const char *text);
/* No floating-point conversions here: they follow the host's locale. Use buffer_number. */
void buffer_format(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A number with `digits` significant digits (at most 17) and a decimal point whatever the locale. */
#define NUMBER_TEXT 32
void number_text(char text[NUMBER_TEXT], double value, int digits);
void buffer_number(struct buffer *buffer, double value, int digits);
/* The same into `text`, which it returns. SHOWN(0.25) is "0.25" for an argument of fail(); it lasts as
 * long as the block in which it stands. */
const char *number_shown(char text[NUMBER_TEXT], double value);
#define SHOWN(value) number_shown((char[NUMBER_TEXT]){0}, value)
void buffer_free(struct buffer *buffer);

#endif
