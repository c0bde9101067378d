/* Added tokens: strings found in a text before it is cut into pieces. */
#ifndef SN_TEXT_TOKENIZER_ADDED_H
#define SN_TEXT_TOKENIZER_ADDED_H

#include <stddef.h>
#include <stdint.h>

#include "text/table.h"

/* Tokens of the second pass are looked for between those of the first. */
#define N_ADDED_PASSES 2

/* A tree of bytes for each pass. */
struct added_table {
    struct memory *memory;
    struct pair_table next; /* (node, byte) -> node; the first nodes are the roots of the passes */
    int32_t *ends;          /* of each node: the token that ends there, or -1 */
    size_t n_nodes, capacity;
    unsigned char starts[N_ADDED_PASSES][256]; /* whether a token begins with the byte */
    size_t n_tokens[N_ADDED_PASSES];
};

void added_table_init(struct added_table *table, struct memory *memory);
void added_table_free(struct added_table *table);
int added_table_put(struct added_table *table, int pass, int32_t token, const char *bytes,
                    size_t length); /* 1 ok, 0 out of memory */
/* The leftmost of the tokens in text[from .. to), of several there the longest: its id, or -1; it is
 * text[*start .. *start + *length). */
int32_t added_table_find(size_t *start, size_t *length, const struct added_table *table, int pass,
                         const char *text, size_t from, size_t to);

#endif
