/* Strict JSON on top of jansson. Refused, with the source's name and the place: duplicate keys, NaN and
 * infinities, text that is not UTF-8, anything behind the document, NUL in strings, deep nesting.
 * Values come from files that nobody vouches for, so every getter checks type and range. jansson
 * allocates on its own (docs/conventions.md). */
#ifndef SN_FORMAT_JSON_H
#define SN_FORMAT_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/context.h"

#define JSON_MAX_DEPTH 64

/* Parses text[0..length); `source` names it in messages. The caller json_decref()s *out (NULL on
 * failure). Errors: SN_ERROR_FORMAT. */
int json_read_text(json_t **out, struct sn_context *context, const char *text, size_t length,
                   const char *source);
/* Reads a whole file of at most `limit` bytes. */
int json_read_file(json_t **out, struct sn_context *context, const char *path, size_t limit);

/* Each field getter leaves *value as it is when the key is absent, so that it may hold a default; null
 * counts as a value of the wrong type. Errors: SN_ERROR_FORMAT "source: key: must be ..., not ...". */
int json_field_size(size_t *value, struct sn_context *context, const json_t *object, const char *source,
                    const char *key, size_t minimum, size_t maximum);
int json_field_number(double *value, struct sn_context *context, const json_t *object,
                      const char *source, const char *key);
int json_field_flag(int *value, struct sn_context *context, const json_t *object, const char *source,
                    const char *key);
/* *value is lent by the object. */
int json_field_text(const char **value, struct sn_context *context, const json_t *object,
                    const char *source, const char *key);
/* Fails with "source: key: must be `wanted`, not `value`". */
int json_fail(struct sn_context *context, const json_t *value, const char *source, const char *key,
              const char *wanted);

/* Appends a quoted, escaped JSON string; text is UTF-8. */
void json_append_text(struct buffer *buffer, const char *text);

#endif
