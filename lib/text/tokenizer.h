/* Byte-level BPE. Two adjacent tokens of a piece merge when their bytes together are a token; the
 * lowest rank goes first, then the leftmost pair. */
#ifndef SN_TEXT_TOKENIZER_H
#define SN_TEXT_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "base/context.h"
#include "text/pieces.h"
#include "text/table.h"

#define MAX_TOKEN_BYTES 512
#define MAX_VOCABULARY ((size_t)1 << 20)
#define NO_RANK INT32_MAX

struct token {
    uint32_t entry;      /* in strings; NO_ENTRY for an id that no token has */
    int32_t rank;        /* bytes 0, merges from 1 in order; NO_RANK: never made from text (special) */
    int32_t left, right; /* what it is merged from; -1 for bytes and special tokens */
};
#define NO_ENTRY UINT32_MAX

struct sn_tokenizer {
    struct memory *memory;
    struct piece_pattern *pattern;
    struct byte_table strings; /* bytes of every token; value = its id */
    struct token *tokens;
    size_t size, capacity;
    int32_t n_merges;
    int32_t byte_token[256];
    struct pair_table pairs; /* (left, right) -> the token that they make; all ways to make it */
};

/* Building: put every token (bytes among them), rank the merges, then index the pairs once. All
 * return 1, or 0 when out of memory. */
int tokenizer_create(struct sn_tokenizer **out, struct sn_context *context); /* a status */
int tokenizer_put(struct sn_tokenizer *tokenizer, int32_t id, const char *bytes, size_t length);
void tokenizer_rank(struct sn_tokenizer *tokenizer, int32_t id, int32_t left, int32_t right);
int tokenizer_index_pairs(struct sn_tokenizer *tokenizer);
/* Adds the token left + right behind all others to an indexed tokenizer; its id in *id. */
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

/* BPE of one piece, without the short cut for pieces that are a token: tokens[length] receives *n. */
int merge_piece(size_t *n, int32_t *tokens, const struct sn_tokenizer *tokenizer, struct memory *memory,
                const char *piece, size_t length);

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
