#include "text/tokenizer_added.h"

#include <string.h>

void added_table_init(struct added_table *table, struct memory *memory)
{
    memset(table, 0, sizeof *table);
    table->memory = memory;
    pair_table_init(&table->next, memory);
}

void added_table_free(struct added_table *table)
{
    pair_table_free(&table->next);
    memory_free(table->memory, table->ends, table->capacity * sizeof *table->ends);
    added_table_init(table, table->memory);
}

/* The new node, or -1 when out of memory. */
static int32_t add_node(struct added_table *table)
{
    if (table->n_nodes >= INT32_MAX ||
        !array_reserve(table->memory, (void **)&table->ends, &table->capacity, table->n_nodes + 1,
                       sizeof *table->ends))
        return -1;
    table->ends[table->n_nodes] = -1;
    return (int32_t)table->n_nodes++;
}

int added_table_put(struct added_table *table, int pass, int32_t token, const char *bytes, size_t length)
{
    while (table->n_nodes < N_ADDED_PASSES)
        if (add_node(table) < 0)
            return 0;
    int32_t node = pass;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        int32_t next = pair_table_get(&table->next, node, byte);
        if (next < 0) {
            next = add_node(table);
            if (next < 0 || !pair_table_set(&table->next, node, byte, next))
                return 0;
        }
        node = next;
    }
    table->ends[node] = token;
    table->starts[pass][(unsigned char)bytes[0]] = 1;
    table->n_tokens[pass]++;
    return 1;
}

/* The longest token at text[at .. to), or -1. */
static int32_t longest_at(size_t *length, const struct added_table *table, int pass, const char *text,
                          size_t at, size_t to)
{
    int32_t node = pass, found = -1;
    for (size_t i = at; i < to; i++) {
        node = pair_table_get(&table->next, node, (unsigned char)text[i]);
        if (node < 0)
            break;
        if (table->ends[node] >= 0) {
            found = table->ends[node];
            *length = i + 1 - at;
        }
    }
    return found;
}

int32_t added_table_find(size_t *start, size_t *length, const struct added_table *table, int pass,
                         const char *text, size_t from, size_t to)
{
    if (table->n_tokens[pass] == 0)
        return -1;
    for (size_t at = from; at < to; at++) {
        if (!table->starts[pass][(unsigned char)text[at]])
            continue;
        int32_t token = longest_at(length, table, pass, text, at, to);
        if (token >= 0) {
            *start = at;
            return token;
        }
    }
    return -1;
}
