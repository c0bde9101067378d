/* Documents, their tokens, and drawing windows from them. */
#ifndef SN_TEXT_CORPUS_H
#define SN_TEXT_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "base/context.h"

enum corpus_kind { CORPUS_EMPTY, CORPUS_TEXTS, CORPUS_TOKENS };

struct document {
    char *text; /* length bytes and a NUL; NULL in a corpus of tokens */
    size_t length;
    int32_t *tokens;
    size_t n_tokens;
    size_t *starts; /* ascending: tokens at which a window may start; NULL = at any */
    size_t n_starts;
    size_t drawn_before; /* tokens of the documents before this one that windows can be drawn from */
};

struct sn_corpus {
    struct memory *memory; /* of all documents; those moved by a split stay with it */
    enum corpus_kind kind;
    struct document *documents;
    size_t n_documents, capacity;
    int tokenized; /* every document has its tokens */
    size_t n_tokens;
    size_t n_drawable; /* tokens in documents of 2 or more */
};

/* A line of more tokens than this may also be entered at every so many tokens, so that a file without
 * line ends is not known by its beginning only. */
#define LONG_LINE_TOKENS 1024

/* A walk through all tokens of a tokenised corpus (corpus_walk.c): start it with corpus and window >
 * 0, all else zero. Windows are at most `window` tokens of one document, and begin where a line does
 * as far as lines allow. */
struct corpus_walk {
    const struct sn_corpus *corpus;
    size_t window;
    size_t document, start, length; /* the window walked to */
};

/* The first window, or the next one; 0 behind the last. */
int corpus_walk_next(struct corpus_walk *walk);
/* Appends an empty document to a corpus that accepts its kind; NULL when out of memory. */
struct document *corpus_append(struct sn_corpus *corpus, enum corpus_kind kind);
/* Drops the documents from `count` on: what a failed call had added. */
void corpus_truncate(struct sn_corpus *corpus, size_t count);
/* Frees what tokenising made. */
void document_drop_tokens(struct memory *memory, struct document *document);
/* Recomputes n_tokens, n_drawable and drawn_before. */
void corpus_count_tokens(struct sn_corpus *corpus);
/* Checks that documents of `kind` may be added. */
int corpus_accept(const struct sn_corpus *corpus, struct sn_context *context, enum corpus_kind kind,
                  const char *function);
/* Copies a text in. */
int corpus_append_text(struct sn_corpus *corpus, struct sn_context *context, const char *text,
                       size_t length);

/* Closes the gaps between n_windows rows of `window` entries, of which lengths[i] are filled, in place; how many
 * are left. offsets (n_windows + 1; may be NULL): where each row begins. */
size_t corpus_pack_windows(int32_t *rows, size_t *offsets, const size_t *lengths, size_t window,
                           size_t n_windows);

#endif
