/* Byte-level BPE: in each piece the pair of adjacent tokens with the lowest rank merges first, of equal
 * ones the leftmost. */
#ifndef SN_TEXT_TOKENIZER_H
#define SN_TEXT_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "base/context.h"
#include "text/pieces.h"
#include "text/table.h"
#include "text/tokenizer_added.h"

#define MAX_TOKEN_BYTES 512
#define MAX_VOCABULARY ((size_t)1 << 20)

/* Which files a tokenizer is of, and with them which pairs may merge. */
enum tokenizer_form {
    FORM_ENCODER, /* encoder.json + vocab.bpe: any two tokens whose bytes together are a merged token
                   * merge, however its line in the file cuts it (tiktoken, which the released models
                   * use) */
    FORM_JSON     /* tokenizer.json: only the pairs that are listed (Hugging Face tokenizers) */
};

enum token_kind {
    TOKEN_MODEL = 1,      /* in the vocabulary of the BPE */
    TOKEN_TEXT = 2,       /* a byte, or a merge makes it */
    TOKEN_WHOLE = 4,      /* a piece of exactly its bytes is this token */
    TOKEN_ADDED = 8,      /* found in texts before they are cut into pieces */
    TOKEN_SPECIAL = 16,   /* with TOKEN_ADDED; changes nothing here */
    TOKEN_NORMALIZED = 32 /* with TOKEN_ADDED: looked for after those without */
};

struct token {
    uint32_t entry; /* in strings; NO_ENTRY for an id that no token has */
    int32_t kinds;
};
#define NO_ENTRY UINT32_MAX

struct merge {
    int32_t left, right, token;
};
#define NO_MERGE (-1)

struct sn_tokenizer {
    struct memory *memory;
    enum tokenizer_form form;
    enum split_pattern split;
    int ignore_merges; /* every piece that is in the vocabulary is one token */
    struct piece_pattern *pattern;
    struct byte_table strings; /* bytes of every token; value = its id */
    struct token *tokens;
    size_t size, capacity;
    struct merge *merges; /* by rank */
    size_t n_merges, merge_capacity;
    int32_t byte_token[256];
    struct pair_table pairs; /* (left, right) -> its merge */
    struct added_table added;
};

/* Building: put every token (bytes among them), add the merges by rank, then index once. All return 1,
 * or 0 when out of memory. */
int tokenizer_create(struct sn_tokenizer **out, struct sn_context *context, enum tokenizer_form form,
                     enum split_pattern split); /* a status */
int tokenizer_put(struct sn_tokenizer *tokenizer, int32_t id, const char *bytes, size_t length);
/* A token found in texts as it stands. It may have the bytes of another token, which only merges then
 * make: put it behind all merges. */
int tokenizer_put_added(struct sn_tokenizer *tokenizer, int32_t id, const char *bytes, size_t length,
                        int kinds);
int tokenizer_add_merge(struct sn_tokenizer *tokenizer, int32_t token, int32_t left, int32_t right);
int tokenizer_index(struct sn_tokenizer *tokenizer);
/* Adds the token left + right behind all others to an indexed tokenizer of FORM_ENCODER; its id in
 * *id. */
int tokenizer_append_merge(int32_t *id, struct sn_tokenizer *tokenizer, int32_t left, int32_t right);
/* The 256 byte tokens in the order of the released files: printable ones first. */
int tokenizer_put_bytes(struct sn_tokenizer *tokenizer);

static inline size_t token_length(const struct sn_tokenizer *tokenizer, int32_t id)
{
    uint32_t entry = tokenizer->tokens[id].entry;
    return entry == NO_ENTRY ? 0 : tokenizer->strings.entries[entry].length;
}
static inline const char *token_bytes(const struct sn_tokenizer *tokenizer, int32_t id)
{
    return byte_table_bytes(&tokenizer->strings, tokenizer->tokens[id].entry);
}
/* Bytes of left and right together into joined[2 * MAX_TOKEN_BYTES]; the length. */
size_t token_join(char *joined, const struct sn_tokenizer *tokenizer, int32_t left, int32_t right);

/* The mapping of the files: byte -> the character that stands for it (GPT-2), and back (-1: none). */
int byte_to_character(unsigned char byte);
int character_to_byte(uint32_t character);

/* BPE of one piece, with scratch memory that is kept from piece to piece. */
struct merger {
    struct memory *memory;
    const struct sn_tokenizer *tokenizer;
    uint32_t *next, *previous; /* a list of the parts; UINT32_MAX ends */
    size_t next_capacity, previous_capacity;
    struct merge_candidate *heap;
    size_t n_heap, heap_capacity;
    size_t n_steps; /* pairs looked at in long pieces so far */
};
void merger_init(struct merger *merger, struct memory *memory, const struct sn_tokenizer *tokenizer);
void merger_free(struct merger *merger);
/* Without the short cut for pieces that are a token: tokens[length] receives *n. A status, without a
 * message. */
int merge_piece(size_t *n, int32_t *tokens, struct merger *merger, const char *piece, size_t length);

/* Encodes text after text with the same scratch memory; for one thread. */
struct encoder;
int encoder_create(struct encoder **out, struct memory *memory, const struct sn_tokenizer *tokenizer);
void encoder_free(struct encoder *encoder);
/* The tokens are lent until the next run. Returns a status, sets no message. */
int encoder_run(const int32_t **tokens, size_t *n_tokens, struct encoder *encoder, const char *text,
                size_t length);
/* The message for what encoder_run returned. */
int fail_encode(struct sn_context *context, int status, const char *what);

#endif
