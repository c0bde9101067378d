/* jansson passes over it when the room for a token cannot be made larger: the token then lacks characters,
 * is perhaps another key or number, perhaps invalid, and nothing is said. Its allocator is the host's to
 * set. So every text is parsed twice, and only what came out alike both times is believed; and the room
 * that its longest token may take is asked for, for the case that it cannot be had at all. */
#include "base/json_parse.h"

#include <errno.h>

#define ATTEMPTS 3

static int has_room(const char *text, size_t length)
{
    json_t *room = json_stringn_nocheck(text, length);
    json_decref(room);
    return room != NULL;
}

/* What is wrong with a text is so both times. */
static int are_alike(const json_t *first, const json_t *second)
{
    return first && second ? json_equal(first, second) : !first && !second;
}

static json_t *parse(int *lacks_memory, json_error_t *error, const char *text, size_t length)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        json_t *first = json_loadb(text, length, JSON_REJECT_DUPLICATES, error);
        json_t *second = json_loadb(text, length, JSON_REJECT_DUPLICATES, error);
        int alike = are_alike(first, second);
        json_decref(second);
        *lacks_memory = !has_room(text, length);
        if (alike && !*lacks_memory)
            return first;
        json_decref(first);
    }
    *lacks_memory = 1;
    return NULL;
}

/* jansson sets errno to zero, which no function of C does. */
json_t *json_parse(int *lacks_memory, json_error_t *error, const char *text, size_t length)
{
    const int host_errno = errno;
    json_t *json = parse(lacks_memory, error, text, length);
    if (errno == 0)
        errno = host_errno;
    return json;
}
