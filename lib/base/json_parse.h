/* Parsing by jansson, in spite of what it does when memory lacks (json_parse.c). */
#ifndef SN_BASE_JSON_PARSE_H
#define SN_BASE_JSON_PARSE_H

#include <jansson.h>
#include <stddef.h>

/* The document in text[0..length), duplicate keys refused. NULL with *lacks_memory, or with an error. */
json_t *json_parse(int *lacks_memory, json_error_t *error, const char *text, size_t length);

#endif
