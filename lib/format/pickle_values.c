/* The values of a pickle: one arena that is freed as a whole, so that no depth of nesting costs stack. */
#include <stddef.h>
#include <string.h>

#include "format/pickle.h"

#define BLOCK_BYTES ((size_t)1 << 16)
#define ALIGNMENT sizeof(max_align_t)

struct pickle_block {
    struct pickle_block *next;
    size_t size, used; /* bytes, this head included */
};

#define HEAD ((sizeof(struct pickle_block) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT)

static struct pickle_block *new_block(struct pickle *pickle, size_t size)
{
    if (size > PICKLE_MAX_MEMORY - pickle->n_bytes) {
        pickle->status = pickle_fail(pickle, SN_ERROR_FORMAT, "the values take more than %zu bytes",
                                     PICKLE_MAX_MEMORY);
        return NULL;
    }
    struct pickle_block *block = memory_allocate(pickle->memory, size);
    if (!block) {
        pickle->status = fail_memory(pickle->context, "the values of a pickle", size);
        return NULL;
    }
    block->size = size;
    block->used = HEAD;
    pickle->n_bytes += size;
    return block;
}

void *pickle_allocate(struct pickle *pickle, size_t size)
{
    struct pickle_block *block = pickle->blocks;
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!block || size > block->size - block->used) {
        const int own = size > BLOCK_BYTES / 4; /* a large piece leaves the block in use as it is */
        struct pickle_block *fresh = new_block(pickle, own ? HEAD + size : BLOCK_BYTES);
        if (!fresh)
            return NULL;
        if (own && block) {
            fresh->next = block->next;
            block->next = fresh;
        } else {
            fresh->next = block;
            pickle->blocks = fresh;
        }
        block = fresh;
    }
    void *bytes = (char *)block + block->used;
    block->used += size;
    return memset(bytes, 0, size);
}

void pickle_free(struct pickle *pickle)
{
    struct pickle_block *block = pickle->blocks;
    while (block) {
        struct pickle_block *next = block->next;
        memory_free(pickle->memory, block, block->size);
        block = next;
    }
    pickle->blocks = NULL;
    pickle->root = NULL;
}

struct pickle_value *pickle_new(struct pickle *pickle, enum pickle_kind kind)
{
    struct pickle_value *value = pickle_allocate(pickle, sizeof *value);
    if (value)
        value->kind = (uint8_t)kind;
    return value;
}

struct pickle_value *pickle_new_object(struct pickle *pickle, int object, void *pointer)
{
    struct pickle_value *value = pickle_new(pickle, PICKLE_OBJECT);
    if (value) {
        value->object = (uint8_t)object;
        value->as.pointer = pointer;
    }
    return value;
}

/* Arrays grow inside the arena; what they leave behind is less than they are. */
int pickle_push_item(struct pickle *pickle, struct pickle_value *container, struct pickle_value *item)
{
    const uint32_t n = container->as.items.n, capacity = container->as.items.capacity;
    if (n == capacity) {
        const uint32_t larger = capacity ? 2 * capacity : 4; /* far below 2^31: the arena's limit */
        struct pickle_value **list = pickle_allocate(pickle, larger * sizeof *list);
        if (!list)
            return pickle->status;
        if (n)
            memcpy(list, container->as.items.list, n * sizeof *list);
        container->as.items.list = list;
        container->as.items.capacity = larger;
    }
    container->as.items.list[container->as.items.n++] = item;
    return SN_OK;
}

/* ---- looking at values */

int pickle_is_text(const struct pickle_value *value, const char *text)
{
    return value->kind == PICKLE_TEXT && value->as.text.length == strlen(text) &&
           memcmp(value->as.text.bytes, text, value->as.text.length) == 0;
}

const struct pickle_value *pickle_find(const struct pickle_value *dict, const char *key)
{
    if (!dict || dict->kind != PICKLE_DICT)
        return NULL;
    for (uint32_t i = dict->as.items.n; i >= 2; i -= 2)
        if (pickle_is_text(dict->as.items.list[i - 2], key))
            return dict->as.items.list[i - 1];
    return NULL;
}

const char *pickle_kind_name(const struct pickle_value *value)
{
    static const char *const names[] = {
        [PICKLE_NONE] = "None",       [PICKLE_BOOL] = "a truth value", [PICKLE_INTEGER] = "an integer",
        [PICKLE_NUMBER] = "a number", [PICKLE_TEXT] = "a text",        [PICKLE_BYTES] = "bytes",
        [PICKLE_LIST] = "a list",     [PICKLE_TUPLE] = "a tuple",      [PICKLE_DICT] = "a dict",
        [PICKLE_GLOBAL] = "a name",   [PICKLE_OBJECT] = "an object",
    };
    return names[value->kind];
}

/* ---- the shape of the whole */

#define BEING_VISITED UINT32_MAX

/* Counts each value's tree once, so that values in many places cost nothing here; recursion ends at the
 * greatest depth allowed. */
static int measure(struct pickle *pickle, struct pickle_value *value, unsigned depth)
{
    if (value->n_values == BEING_VISITED)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "%s contains itself", pickle_kind_name(value));
    if (value->n_values)
        return SN_OK;
    value->height = 0;
    uint32_t n = 1;
    if (value->kind == PICKLE_LIST || value->kind == PICKLE_TUPLE || value->kind == PICKLE_DICT) {
        unsigned height = 1;
        value->n_values = BEING_VISITED;
        if (depth == PICKLE_MAX_DEPTH)
            return pickle_fail(pickle, SN_ERROR_FORMAT, "values nested deeper than %d levels",
                               PICKLE_MAX_DEPTH);
        for (uint32_t i = 0; i < value->as.items.n; i++) {
            struct pickle_value *item = value->as.items.list[i];
            int status = measure(pickle, item, depth + 1);
            if (status != SN_OK)
                return status;
            n += item->n_values;
            if (n > PICKLE_MAX_TREE)
                return pickle_fail(pickle, SN_ERROR_FORMAT, "more than %lu values",
                                   (unsigned long)PICKLE_MAX_TREE);
            if (item->height + 1u > height)
                height = item->height + 1u;
        }
        if (height > PICKLE_MAX_DEPTH)
            return pickle_fail(pickle, SN_ERROR_FORMAT, "values nested deeper than %d levels",
                               PICKLE_MAX_DEPTH);
        value->height = (uint8_t)height;
    }
    value->n_values = n;
    return SN_OK;
}

int pickle_check_tree(struct pickle *pickle, struct pickle_value *root)
{
    return measure(pickle, root, 0);
}
