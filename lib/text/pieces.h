/* Cutting text into the pieces inside which BPE merges, by one of the patterns that are known here. */
#ifndef SN_TEXT_PIECES_H
#define SN_TEXT_PIECES_H

#include <stddef.h>

#include "base/memory.h"

struct piece_pattern; /* immutable; may be shared by threads */
struct piece_reader;  /* one text at a time, one thread at a time */

enum split_pattern {
    SPLIT_RELEASED, /* openai/circuit_sparsity, tinypython_2k */
    SPLIT_GPT2      /* openai/gpt-2, encoder.py */
};

/* The pattern as tokenizer files write it, and back: 1 and *pattern, or 0 for any other text. */
const char *split_pattern_text(enum split_pattern pattern);
int split_pattern_find(enum split_pattern *pattern, const char *text);

/* A status, without a message. */
int piece_pattern_create(struct piece_pattern **out, struct memory *memory, enum split_pattern kind);
void piece_pattern_free(struct piece_pattern *pattern);

struct piece_reader *piece_reader_create(const struct piece_pattern *pattern); /* NULL: out of memory */
void piece_reader_free(struct piece_reader *reader);
/* The text is lent until the next start. */
void piece_reader_start(struct piece_reader *reader, const char *text, size_t length);
/* The next piece is text[*start .. *start + *length); *length is 0 after the last one. Pieces follow
 * each other without gaps; a byte that is not part of well-formed UTF-8 is a piece of its own.
 * Returns a status: SN_ERROR_MEMORY, SN_ERROR_UNSUPPORTED (a limit inside PCRE2). */
int piece_reader_next(size_t *start, size_t *length, struct piece_reader *reader);

#endif
