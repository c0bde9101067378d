/* Cutting text into the pieces inside which BPE merges, by the released tokenizer's pattern
 * (openai/circuit_sparsity, tinypython_2k). */
#ifndef SN_TEXT_PIECES_H
#define SN_TEXT_PIECES_H

#include <stddef.h>

#include "base/memory.h"

struct piece_pattern; /* immutable; may be shared by threads */
struct piece_reader;  /* one text at a time, one thread at a time */

int piece_pattern_create(struct piece_pattern **out, struct memory *memory); /* a status */
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
