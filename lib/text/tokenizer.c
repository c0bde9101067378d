#include "text/tokenizer.h"

#include <string.h>

int tokenizer_create(struct sn_tokenizer **out, struct sn_context *context, enum tokenizer_form form,
                     enum split_pattern split)
{
    *out = NULL;
    struct sn_tokenizer *tokenizer = memory_allocate_zeroed(context->memory, sizeof *tokenizer);
    if (!tokenizer)
        return fail_memory(context, "a tokenizer", sizeof *tokenizer);
    tokenizer->memory = memory_retain(context->memory);
    tokenizer->form = form;
    tokenizer->split = split;
    byte_table_init(&tokenizer->strings, tokenizer->memory);
    pair_table_init(&tokenizer->pairs, tokenizer->memory);
    added_table_init(&tokenizer->added, tokenizer->memory);
    memset(tokenizer->byte_token, 0xFF, sizeof tokenizer->byte_token);
    int status = piece_pattern_create(&tokenizer->pattern, tokenizer->memory, split);
    if (status != SN_OK) {
        sn_tokenizer_free(tokenizer);
        return status == SN_ERROR_MEMORY
                   ? fail_memory(context, "the split pattern", 0)
                   : fail(context, status, "PCRE2 refuses the split pattern; is it built with Unicode?");
    }
    *out = tokenizer;
    return SN_OK;
}

void sn_tokenizer_free(sn_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    struct memory *memory = tokenizer->memory;
    piece_pattern_free(tokenizer->pattern);
    byte_table_free(&tokenizer->strings);
    pair_table_free(&tokenizer->pairs);
    added_table_free(&tokenizer->added);
    memory_free(memory, tokenizer->tokens, tokenizer->capacity * sizeof *tokenizer->tokens);
    memory_free(memory, tokenizer->merges, tokenizer->merge_capacity * sizeof *tokenizer->merges);
    memory_free(memory, tokenizer, sizeof *tokenizer);
    memory_release(memory);
}

/* Enters the token; what had the same bytes keeps them, but is no longer found by them. */
static int put(struct sn_tokenizer *tokenizer, int32_t id, const char *bytes, size_t length, int kinds)
{
    size_t place = (size_t)id;
    if (!array_reserve(tokenizer->memory, (void **)&tokenizer->tokens, &tokenizer->capacity, place + 1,
                       sizeof *tokenizer->tokens))
        return 0;
    size_t entry = byte_table_add(&tokenizer->strings, bytes, length);
    if (entry == NOT_FOUND)
        return 0;
    tokenizer->strings.entries[entry].value = id;
    for (; tokenizer->size <= place; tokenizer->size++)
        tokenizer->tokens[tokenizer->size] = (struct token){NO_ENTRY, 0};
    tokenizer->tokens[place].entry = (uint32_t)entry;
    tokenizer->tokens[place].kinds |= kinds;
    return 1;
}

int tokenizer_put(struct sn_tokenizer *tokenizer, int32_t id, const char *bytes, size_t length)
{
    if (!put(tokenizer, id, bytes, length, TOKEN_MODEL | (length == 1 ? TOKEN_TEXT | TOKEN_WHOLE : 0)))
        return 0;
    if (length == 1)
        tokenizer->byte_token[(unsigned char)bytes[0]] = id;
    return 1;
}

int tokenizer_put_added(struct sn_tokenizer *tokenizer, int32_t id, const char *bytes, size_t length,
                        int kinds)
{
    return put(tokenizer, id, bytes, length, kinds | TOKEN_ADDED) &&
           added_table_put(&tokenizer->added, kinds & TOKEN_NORMALIZED ? 1 : 0, id, bytes, length);
}

int tokenizer_add_merge(struct sn_tokenizer *tokenizer, int32_t token, int32_t left, int32_t right)
{
    if (tokenizer->n_merges >= INT32_MAX ||
        !array_reserve(tokenizer->memory, (void **)&tokenizer->merges, &tokenizer->merge_capacity,
                       tokenizer->n_merges + 1, sizeof *tokenizer->merges))
        return 0;
    int32_t rank = (int32_t)tokenizer->n_merges++;
    tokenizer->merges[rank] = (struct merge){left, right, token};
    tokenizer->tokens[token].kinds |= TOKEN_TEXT;
    return tokenizer->form != FORM_JSON || pair_table_set(&tokenizer->pairs, left, right, rank);
}

/* The id of a token that text can give, or -1. */
static int32_t find_in_text(const struct sn_tokenizer *tokenizer, const char *bytes, size_t length)
{
    int32_t id = sn_tokenizer_find(tokenizer, bytes, length);
    return id >= 0 && tokenizer->tokens[id].kinds & TOKEN_TEXT ? id : -1;
}

/* Every way to cut the token of the merge in two tokens. */
static int index_splits(struct sn_tokenizer *tokenizer, int32_t merge)
{
    int32_t token = tokenizer->merges[merge].token;
    const char *bytes = token_bytes(tokenizer, token);
    size_t length = token_length(tokenizer, token);
    tokenizer->tokens[token].kinds |= TOKEN_WHOLE;
    for (size_t cut = 1; cut < length; cut++) {
        int32_t left = find_in_text(tokenizer, bytes, cut);
        int32_t right = left < 0 ? -1 : find_in_text(tokenizer, bytes + cut, length - cut);
        if (right >= 0 && !pair_table_set(&tokenizer->pairs, left, right, merge))
            return 0;
    }
    return 1;
}

/* Marks the tokens that the merges make of their own bytes: text may hold a token that they miss. */
static int find_whole_tokens(struct sn_tokenizer *tokenizer)
{
    int32_t parts[MAX_TOKEN_BYTES];
    struct merger merger;
    int ok = 1;
    merger_init(&merger, tokenizer->memory, tokenizer);
    for (int32_t id = 0; ok && (size_t)id < tokenizer->size; id++) {
        struct token *token = &tokenizer->tokens[id];
        size_t n = 0, length = token_length(tokenizer, id);
        if (token->kinds & TOKEN_MODEL && tokenizer->ignore_merges) {
            token->kinds |= TOKEN_WHOLE;
        } else if (token->kinds & TOKEN_TEXT && length > 1) {
            ok = merge_piece(&n, parts, &merger, token_bytes(tokenizer, id), length) == SN_OK;
            if (ok && n == 1 && parts[0] == id)
                token->kinds |= TOKEN_WHOLE;
        }
    }
    merger_free(&merger);
    return ok;
}

int tokenizer_index(struct sn_tokenizer *tokenizer)
{
    if (tokenizer->form == FORM_JSON)
        return find_whole_tokens(tokenizer);
    for (int32_t i = 0; (size_t)i < tokenizer->n_merges; i++)
        if (!index_splits(tokenizer, i))
            return 0;
    return 1;
}

/* A new token is also a new half of longer ones. */
static int index_as_half(struct sn_tokenizer *tokenizer, int32_t half)
{
    size_t length = token_length(tokenizer, half);
    const char *bytes = token_bytes(tokenizer, half);
    for (int32_t i = 0; (size_t)i < tokenizer->n_merges; i++) {
        int32_t id = tokenizer->merges[i].token;
        if (token_length(tokenizer, id) <= length)
            continue;
        const char *whole = token_bytes(tokenizer, id);
        size_t rest = token_length(tokenizer, id) - length;
        int32_t right =
            memcmp(whole, bytes, length) ? -1 : find_in_text(tokenizer, whole + length, rest);
        if (right >= 0 && !pair_table_set(&tokenizer->pairs, half, right, i))
            return 0;
        int32_t left = memcmp(whole + rest, bytes, length) ? -1 : find_in_text(tokenizer, whole, rest);
        if (left >= 0 && !pair_table_set(&tokenizer->pairs, left, half, i))
            return 0;
    }
    return 1;
}

size_t token_join(char *joined, const struct sn_tokenizer *tokenizer, int32_t left, int32_t right)
{
    size_t n = token_length(tokenizer, left), m = token_length(tokenizer, right);
    memcpy(joined, token_bytes(tokenizer, left), n);
    memcpy(joined + n, token_bytes(tokenizer, right), m);
    return n + m;
}

int tokenizer_append_merge(int32_t *id, struct sn_tokenizer *tokenizer, int32_t left, int32_t right)
{
    char joined[2 * MAX_TOKEN_BYTES];
    size_t length = token_join(joined, tokenizer, left, right);
    *id = (int32_t)tokenizer->size;
    if (!tokenizer_put(tokenizer, *id, joined, length) ||
        !tokenizer_add_merge(tokenizer, *id, left, right))
        return 0;
    return index_splits(tokenizer, (int32_t)tokenizer->n_merges - 1) && index_as_half(tokenizer, *id);
}

/* GPT-2's table: bytes that Latin-1 prints stand for themselves, the others for U+0100 onwards. */
static int stands_for_itself(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

int byte_to_character(unsigned char byte)
{
    if (stands_for_itself(byte))
        return byte;
    int character = 0x100;
    for (int other = 0; other < byte; other++)
        character += !stands_for_itself(other);
    return character;
}

int character_to_byte(uint32_t character)
{
    if (character < 0x100)
        return stands_for_itself((int)character) ? (int)character : -1;
    uint32_t next = 0x100;
    for (int byte = 0; byte < 256; byte++)
        if (!stands_for_itself(byte) && next++ == character)
            return byte;
    return -1;
}

int tokenizer_put_bytes(struct sn_tokenizer *tokenizer)
{
    int32_t id = 0;
    for (int themselves = 1; themselves >= 0; themselves--)
        for (int byte = 0; byte < 256; byte++) {
            char character = (char)byte;
            if (stands_for_itself(byte) == themselves && !tokenizer_put(tokenizer, id++, &character, 1))
                return 0;
        }
    return 1;
}

size_t sn_tokenizer_size(const sn_tokenizer *tokenizer)
{
    return tokenizer ? tokenizer->size : 0;
}

const char *sn_tokenizer_token(size_t *length, const sn_tokenizer *tokenizer, int32_t token)
{
    if (length)
        *length = 0;
    if (!tokenizer || token < 0 || (size_t)token >= tokenizer->size ||
        tokenizer->tokens[token].entry == NO_ENTRY)
        return NULL;
    if (length)
        *length = token_length(tokenizer, token);
    return token_bytes(tokenizer, token);
}

int32_t sn_tokenizer_find(const sn_tokenizer *tokenizer, const char *text, size_t length)
{
    if (!tokenizer || !text || length == 0)
        return -1;
    size_t entry = byte_table_find(&tokenizer->strings, text, length);
    return entry == NOT_FOUND ? -1 : (int32_t)tokenizer->strings.entries[entry].value;
}

static int measure(size_t *total, sn_context *context, const sn_tokenizer *tokenizer,
                   const int32_t *tokens, size_t n_tokens)
{
    *total = 0;
    for (size_t i = 0; i < n_tokens; i++) {
        size_t length;
        if (!sn_tokenizer_token(&length, tokenizer, tokens[i]))
            return fail(context, SN_ERROR_ARGUMENT,
                        "sn_tokenizer_decode: tokens[%zu] is %d, which no token of the %zu has", i,
                        (int)tokens[i], tokenizer->size);
        if (length > SIZE_MAX - *total)
            return fail(context, SN_ERROR_ARGUMENT, "sn_tokenizer_decode: the text is too long");
        *total += length;
    }
    return SN_OK;
}

int sn_tokenizer_decode(char *text, size_t capacity, size_t *needed, sn_context *context,
                        const sn_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens)
{
    size_t total = 0, length;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!tokenizer || (!tokens && n_tokens) || (!text && capacity))
        return fail(context, SN_ERROR_ARGUMENT, "sn_tokenizer_decode: %s is NULL",
                    !tokenizer          ? "tokenizer"
                    : !text && capacity ? "text"
                                        : "tokens");
    int status = measure(&total, context, tokenizer, tokens, n_tokens);
    if (status != SN_OK)
        return status;
    if (capacity < total || capacity == 0)
        return copy_out(context, "sn_tokenizer_decode", text, capacity, needed, NULL, total, 1);
    if (needed)
        *needed = total;
    for (size_t i = 0; i < n_tokens; i++) {
        const char *bytes = sn_tokenizer_token(&length, tokenizer, tokens[i]);
        memcpy(text, bytes, length);
        text += length;
    }
    return SN_OK;
}
