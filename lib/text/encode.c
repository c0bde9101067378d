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
    struct merger merger;
    int32_t *tokens;
    size_t n_tokens, capacity;
    struct cached_piece cache[MAX_CACHE_SLOTS];
    size_t cache_mask; /* slots in use for this text - 1 */
};

/* The rank of the merge of two tokens, INT32_MAX if there is none. */
static inline int32_t pair_rank(const struct sn_tokenizer *tokenizer, int32_t left, int32_t right)
{
    int32_t merge = pair_table_get(&tokenizer->pairs, left, right);
    return merge < 0 ? INT32_MAX : merge;
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
        if (ranks[best] == INT32_MAX)
            break;
        parts[best] = tokenizer->merges[ranks[best]].token;
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
 * swallowed is -1; a heap entry whose pair has changed since no longer has that rank. The n bytes push
 * at most n pairs and each of at most n merges two more, so the time is that of 3 n steps of a heap. */
struct merge_candidate {
    int32_t rank;
    uint32_t at;
};

void merger_init(struct merger *merger, struct memory *memory, const struct sn_tokenizer *tokenizer)
{
    *merger = (struct merger){.memory = memory, .tokenizer = tokenizer};
}

void merger_free(struct merger *merger)
{
    memory_free(merger->memory, merger->next, merger->next_capacity * sizeof *merger->next);
    memory_free(merger->memory, merger->previous, merger->previous_capacity * sizeof *merger->previous);
    memory_free(merger->memory, merger->heap, merger->heap_capacity * sizeof *merger->heap);
    merger_init(merger, merger->memory, merger->tokenizer);
}

static int comes_first(struct merge_candidate a, struct merge_candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

/* The pair of the part at `at` and the next one, if it can merge. */
static int push_pair(struct merger *merger, const int32_t *parts, uint32_t at)
{
    uint32_t next = at == UINT32_MAX ? at : merger->next[at];
    if (next == UINT32_MAX)
        return 1;
    struct merge_candidate item = {pair_rank(merger->tokenizer, parts[at], parts[next]), at};
    merger->n_steps++;
    if (item.rank == INT32_MAX)
        return 1;
    if (!array_reserve(merger->memory, (void **)&merger->heap, &merger->heap_capacity,
                       merger->n_heap + 1, sizeof *merger->heap))
        return 0;
    size_t i = merger->n_heap++;
    for (; i > 0 && comes_first(item, merger->heap[(i - 1) / 2]); i = (i - 1) / 2)
        merger->heap[i] = merger->heap[(i - 1) / 2];
    merger->heap[i] = item;
    return 1;
}

static struct merge_candidate pop_pair(struct merger *merger)
{
    struct merge_candidate first = merger->heap[0], last = merger->heap[--merger->n_heap];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < merger->n_heap) {
        if (child + 1 < merger->n_heap && comes_first(merger->heap[child + 1], merger->heap[child]))
            child++;
        if (!comes_first(merger->heap[child], last))
            break;
        merger->heap[i] = merger->heap[child];
        i = child;
    }
    merger->heap[i] = last;
    return first;
}

static int merge_candidate(struct merger *merger, int32_t *parts, struct merge_candidate item)
{
    uint32_t at = item.at, next = merger->next[at];
    if (parts[at] < 0 || next == UINT32_MAX ||
        pair_rank(merger->tokenizer, parts[at], parts[next]) != item.rank)
        return 1;
    parts[at] = merger->tokenizer->merges[item.rank].token;
    parts[next] = -1;
    merger->next[at] = merger->next[next];
    if (merger->next[at] != UINT32_MAX)
        merger->previous[merger->next[at]] = at;
    return push_pair(merger, parts, at) && push_pair(merger, parts, merger->previous[at]);
}

static int merge_long(size_t *n, int32_t *parts, struct merger *merger, size_t count)
{
    merger->n_heap = 0;
    if (!array_reserve(merger->memory, (void **)&merger->next, &merger->next_capacity, count,
                       sizeof *merger->next) ||
        !array_reserve(merger->memory, (void **)&merger->previous, &merger->previous_capacity, count,
                       sizeof *merger->previous))
        return SN_ERROR_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        merger->next[i] = i + 1 < count ? i + 1 : UINT32_MAX;
        merger->previous[i] = i - 1; /* wraps to UINT32_MAX at 0 */
    }
    int ok = 1;
    for (uint32_t i = 0; ok && i < count; i++)
        ok = push_pair(merger, parts, i);
    while (ok && merger->n_heap)
        ok = merge_candidate(merger, parts, pop_pair(merger));
    *n = 0;
    for (size_t i = 0; ok && i < count; i++)
        if (parts[i] >= 0)
            parts[(*n)++] = parts[i];
    return ok ? SN_OK : SN_ERROR_MEMORY;
}

int merge_piece(size_t *n, int32_t *tokens, struct merger *merger, const char *piece, size_t length)
{
    *n = 0;
    if (length >= UINT32_MAX)
        return SN_ERROR_UNSUPPORTED;
    for (size_t i = 0; i < length; i++)
        tokens[i] = merger->tokenizer->byte_token[(unsigned char)piece[i]];
    if (length > SHORT_PIECE)
        return merge_long(n, tokens, merger, length);
    *n = merge_short(merger->tokenizer, tokens, length);
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
    merger_init(&encoder->merger, memory, tokenizer);
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
    merger_free(&encoder->merger);
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
        if (tokenizer->tokens[token].kinds & TOKEN_WHOLE) {
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
    int status = merge_piece(&n, tokens, &encoder->merger, text + start, length);
    if (status == SN_OK && length <= CACHED_PIECE)
        *cached = (struct cached_piece){start, encoder->n_tokens, (uint32_t)length, (uint32_t)n};
    encoder->n_tokens += n;
    return status;
}

static int reserve_tokens(struct encoder *encoder, size_t n)
{
    return array_reserve(encoder->memory, (void **)&encoder->tokens, &encoder->capacity,
                         encoder->n_tokens + n, sizeof *encoder->tokens)
               ? SN_OK
               : SN_ERROR_MEMORY;
}

/* text[from .. to) without added tokens. */
static int encode_pieces(struct encoder *encoder, const char *text, size_t from, size_t to)
{
    size_t start, length = 1;
    int status = SN_OK;
    if (from == to)
        return SN_OK;
    piece_reader_start(encoder->reader, text + from, to - from);
    while (status == SN_OK && length) {
        status = piece_reader_next(&start, &length, encoder->reader);
        if (status == SN_OK)
            status = reserve_tokens(encoder, length);
        if (status == SN_OK && length)
            status = encode_piece(encoder, text, from + start, length);
    }
    return status;
}

/* text[from .. to) without the added tokens of the passes before. */
static int encode_from_pass(struct encoder *encoder, int pass, const char *text, size_t from, size_t to)
{
    size_t start, length;
    if (pass == N_ADDED_PASSES)
        return encode_pieces(encoder, text, from, to);
    for (;;) {
        int32_t token =
            added_table_find(&start, &length, &encoder->tokenizer->added, pass, text, from, to);
        if (token < 0)
            return encode_from_pass(encoder, pass + 1, text, from, to);
        int status = encode_from_pass(encoder, pass + 1, text, from, start);
        if (status == SN_OK)
            status = reserve_tokens(encoder, 1);
        if (status != SN_OK)
            return status;
        encoder->tokens[encoder->n_tokens++] = token;
        from = start + length;
    }
}

int encoder_run(const int32_t **tokens, size_t *n_tokens, struct encoder *encoder, const char *text,
                size_t length)
{
    encoder->n_tokens = 0;
    clear_cache(encoder, length);
    int status = encode_from_pass(encoder, 0, text, 0, length);
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
