#include <string.h>

#include "text/tokenizer.h"

#define SHORT_PIECE 48  /* below this a scan for the lowest rank beats a heap */
#define CACHED_PIECE 64 /* longer pieces hardly repeat */
#define MAX_CACHE_SLOTS 4096

/* Where in this text and its tokens a piece was met last. */
struct cached_piece {
    size_t text_at, token_at;
    uint32_t length, n_tokens;
};

struct encoder {
    struct memory *memory;
    const struct sn_tokenizer *tokenizer;
    struct piece_reader *reader;
    int32_t *tokens;
    size_t n_tokens, capacity;
    struct cached_piece cache[MAX_CACHE_SLOTS];
    size_t cache_mask; /* slots in use for this text - 1 */
};

static inline int32_t pair_rank(const struct sn_tokenizer *tokenizer, int32_t left, int32_t right)
{
    int32_t token = pair_table_get(&tokenizer->pairs, left, right);
    return token < 0 ? NO_RANK : tokenizer->tokens[token].rank;
}

/* parts: n byte tokens in, merged tokens out; returns how many are left. */
static size_t merge_short(const struct sn_tokenizer *tokenizer, int32_t *parts, size_t n)
{
    int32_t ranks[SHORT_PIECE];
    for (size_t i = 0; i + 1 < n; i++)
        ranks[i] = pair_rank(tokenizer, parts[i], parts[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best])
                best = i;
        if (ranks[best] == NO_RANK)
            break;
        parts[best] = pair_table_get(&tokenizer->pairs, parts[best], parts[best + 1]);
        n--;
        memmove(parts + best + 1, parts + best + 2, (n - best - 1) * sizeof *parts);
        memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof *ranks);
        if (best + 1 < n)
            ranks[best] = pair_rank(tokenizer, parts[best], parts[best + 1]);
        if (best > 0)
            ranks[best - 1] = pair_rank(tokenizer, parts[best - 1], parts[best]);
    }
    return n;
}

/* Long pieces: a linked list of the parts and a heap of the pairs that can merge. A part that was
 * swallowed is -1; a heap entry whose pair has changed since no longer has that rank. */
struct candidate {
    int32_t rank;
    uint32_t at;
};

struct long_piece {
    struct memory *memory;
    const struct sn_tokenizer *tokenizer;
    int32_t *parts;
    uint32_t *next, *previous; /* UINT32_MAX ends */
    struct candidate *heap;
    size_t n_heap, heap_capacity;
};

static int comes_first(struct candidate a, struct candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static int push_pair(struct long_piece *piece, uint32_t at)
{
    uint32_t next = at == UINT32_MAX ? at : piece->next[at];
    if (next == UINT32_MAX)
        return 1;
    struct candidate item = {pair_rank(piece->tokenizer, piece->parts[at], piece->parts[next]), at};
    if (item.rank == NO_RANK)
        return 1;
    if (!array_reserve(piece->memory, (void **)&piece->heap, &piece->heap_capacity, piece->n_heap + 1,
                       sizeof *piece->heap))
        return 0;
    size_t i = piece->n_heap++;
    for (; i > 0 && comes_first(item, piece->heap[(i - 1) / 2]); i = (i - 1) / 2)
        piece->heap[i] = piece->heap[(i - 1) / 2];
    piece->heap[i] = item;
    return 1;
}

static struct candidate pop_pair(struct long_piece *piece)
{
    struct candidate first = piece->heap[0], last = piece->heap[--piece->n_heap];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < piece->n_heap) {
        if (child + 1 < piece->n_heap && comes_first(piece->heap[child + 1], piece->heap[child]))
            child++;
        if (!comes_first(piece->heap[child], last))
            break;
        piece->heap[i] = piece->heap[child];
        i = child;
    }
    piece->heap[i] = last;
    return first;
}

static int merge_candidate(struct long_piece *piece, struct candidate item)
{
    uint32_t at = item.at, next = piece->next[at];
    if (piece->parts[at] < 0 || next == UINT32_MAX)
        return 1;
    int32_t token = pair_table_get(&piece->tokenizer->pairs, piece->parts[at], piece->parts[next]);
    if (token < 0 || piece->tokenizer->tokens[token].rank != item.rank)
        return 1;
    piece->parts[at] = token;
    piece->parts[next] = -1;
    piece->next[at] = piece->next[next];
    if (piece->next[at] != UINT32_MAX)
        piece->previous[piece->next[at]] = at;
    return push_pair(piece, at) && push_pair(piece, piece->previous[at]);
}

static int merge_long(const struct sn_tokenizer *tokenizer, struct memory *memory, int32_t *parts,
                      size_t *n)
{
    struct long_piece piece = {.memory = memory, .tokenizer = tokenizer, .parts = parts};
    size_t count = *n, kept = 0;
    piece.next = memory_allocate_array(memory, count, sizeof *piece.next);
    piece.previous = memory_allocate_array(memory, count, sizeof *piece.previous);
    int ok = piece.next && piece.previous;
    for (uint32_t i = 0; ok && i < count; i++) {
        piece.next[i] = i + 1 < count ? i + 1 : UINT32_MAX;
        piece.previous[i] = i - 1; /* wraps to UINT32_MAX at 0 */
    }
    for (uint32_t i = 0; ok && i < count; i++)
        ok = push_pair(&piece, i);
    while (ok && piece.n_heap)
        ok = merge_candidate(&piece, pop_pair(&piece));
    for (size_t i = 0; ok && i < count; i++)
        if (parts[i] >= 0)
            parts[kept++] = parts[i];
    memory_free(memory, piece.next, count * sizeof *piece.next);
    memory_free(memory, piece.previous, count * sizeof *piece.previous);
    memory_free(memory, piece.heap, piece.heap_capacity * sizeof *piece.heap);
    *n = kept;
    return ok ? SN_OK : SN_ERROR_MEMORY;
}

int merge_piece(size_t *n, int32_t *tokens, const struct sn_tokenizer *tokenizer, struct memory *memory,
                const char *piece, size_t length)
{
    for (size_t i = 0; i < length; i++)
        tokens[i] = tokenizer->byte_token[(unsigned char)piece[i]];
    *n = length;
    if (length >= UINT32_MAX)
        return SN_ERROR_UNSUPPORTED;
    if (length > SHORT_PIECE)
        return merge_long(tokenizer, memory, tokens, n);
    *n = merge_short(tokenizer, tokens, length);
    return SN_OK;
}

int encoder_create(struct encoder **out, struct memory *memory, const struct sn_tokenizer *tokenizer)
{
    *out = NULL;
    struct encoder *encoder = memory_allocate(memory, sizeof *encoder);
    if (!encoder)
        return SN_ERROR_MEMORY;
    encoder->memory = memory;
    encoder->tokenizer = tokenizer;
    encoder->tokens = NULL;
    encoder->capacity = encoder->n_tokens = 0;
    encoder->reader = piece_reader_create(tokenizer->pattern);
    if (!encoder->reader) {
        encoder_free(encoder);
        return SN_ERROR_MEMORY;
    }
    *out = encoder;
    return SN_OK;
}

void encoder_free(struct encoder *encoder)
{
    if (!encoder)
        return;
    piece_reader_free(encoder->reader);
    memory_free(encoder->memory, encoder->tokens, encoder->capacity * sizeof *encoder->tokens);
    memory_free(encoder->memory, encoder, sizeof *encoder);
}

/* A short text does not pay for clearing the whole cache. */
static void clear_cache(struct encoder *encoder, size_t length)
{
    size_t slots = 64;
    while (slots < MAX_CACHE_SLOTS && slots < length / 8)
        slots *= 2;
    encoder->cache_mask = slots - 1;
    memset(encoder->cache, 0, slots * sizeof *encoder->cache);
}

/* Room for `length` more tokens stands ready. */
static int encode_piece(struct encoder *encoder, const char *text, size_t start, size_t length)
{
    const struct sn_tokenizer *tokenizer = encoder->tokenizer;
    int32_t *tokens = encoder->tokens + encoder->n_tokens;
    uint64_t hash = hash_bytes(text + start, length);
    size_t entry = byte_table_find_hashed(&tokenizer->strings, text + start, length, hash), n;
    if (entry != NOT_FOUND) {
        int32_t token = (int32_t)tokenizer->strings.entries[entry].value;
        if (tokenizer->tokens[token].rank != NO_RANK) {
            tokens[0] = token;
            encoder->n_tokens++;
            return SN_OK;
        }
    }
    struct cached_piece *cached = &encoder->cache[(size_t)(hash >> 40) & encoder->cache_mask];
    if (cached->length == length && memcmp(text + cached->text_at, text + start, length) == 0) {
        memcpy(tokens, encoder->tokens + cached->token_at, cached->n_tokens * sizeof *tokens);
        encoder->n_tokens += cached->n_tokens;
        return SN_OK;
    }
    int status = merge_piece(&n, tokens, tokenizer, encoder->memory, text + start, length);
    if (status == SN_OK && length <= CACHED_PIECE)
        *cached = (struct cached_piece){start, encoder->n_tokens, (uint32_t)length, (uint32_t)n};
    encoder->n_tokens += n;
    return status;
}

int encoder_run(const int32_t **tokens, size_t *n_tokens, struct encoder *encoder, const char *text,
                size_t length)
{
    size_t start, piece;
    int status = SN_OK;
    encoder->n_tokens = 0;
    clear_cache(encoder, length);
    piece_reader_start(encoder->reader, text, length);
    while (status == SN_OK) {
        status = piece_reader_next(&start, &piece, encoder->reader);
        if (status != SN_OK || piece == 0)
            break;
        if (!array_reserve(encoder->memory, (void **)&encoder->tokens, &encoder->capacity,
                           encoder->n_tokens + piece, sizeof *encoder->tokens))
            return SN_ERROR_MEMORY;
        status = encode_piece(encoder, text, start, piece);
    }
    *tokens = encoder->tokens;
    *n_tokens = encoder->n_tokens;
    return status;
}

int fail_encode(struct sn_context *context, int status, const char *what)
{
    if (status == SN_ERROR_MEMORY)
        return fail_memory(context, what, 0);
    if (status == SN_ERROR_UNSUPPORTED)
        return fail(context, status, "%s: a piece of text of 4 GiB or more, or beyond PCRE2's limits",
                    what);
    return status;
}

int sn_tokenizer_encode(int32_t *tokens, size_t capacity, size_t *needed, sn_context *context,
                        const sn_tokenizer *tokenizer, const char *text, size_t length)
{
    const int32_t *encoded;
    size_t count;
    struct encoder *encoder;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!tokenizer || (!text && length))
        return fail(context, SN_ERROR_ARGUMENT, "sn_tokenizer_encode: %s is NULL",
                    tokenizer ? "text" : "tokenizer");
    int status = encoder_create(&encoder, context->memory, tokenizer);
    if (status == SN_OK)
        status = encoder_run(&encoded, &count, encoder, text, length);
    if (status == SN_OK)
        status = copy_out(context, "sn_tokenizer_encode", tokens, capacity, needed, encoded, count,
                          sizeof *tokens);
    else
        status = fail_encode(context, status, "sn_tokenizer_encode");
    encoder_free(encoder);
    return status;
}
