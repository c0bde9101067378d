/* Learning merges: distinct pieces with their counts, then again and again the most frequent pair,
 * ties to the lowest ids. Counts are kept up to date; a heap holds for every pair at least one entry
 * that is not below its count. */
#include <string.h>

#include "text/tokenizer_learn.h"

struct word {
    size_t start; /* in symbols */
    uint32_t length;
    int64_t count;
};

struct pair {
    int32_t left, right;
    int64_t count;
    uint32_t *words; /* those that held the pair at some time */
    size_t n_words, capacity;
    int touched; /* its count may have risen since the last push */
};

struct pair_entry {
    int64_t count;
    uint32_t pair;
};

struct learner {
    struct sn_context *context;
    struct memory *memory;
    struct sn_tokenizer *tokenizer; /* what is learnt; its pairs are indexed at the end only */
    struct byte_table pieces;       /* value = count */
    int32_t *symbols;
    struct word *words;
    struct pair_table index; /* (left, right) -> pair */
    struct pair *pairs;
    size_t n_pairs, pair_capacity;
    uint32_t *touched;
    size_t n_touched, touched_capacity;
    struct pair_entry *heap;
    size_t n_heap, heap_capacity;
};

static int count_pieces(struct learner *learner, const struct sn_corpus *corpus)
{
    struct piece_reader *reader = piece_reader_create(learner->tokenizer->pattern);
    if (!reader)
        return fail_memory(learner->context, "counting pieces", 0);
    int status = SN_OK;
    for (size_t d = 0; d < corpus->n_documents && status == SN_OK; d++) {
        const struct document *document = &corpus->documents[d];
        size_t start, length = 1;
        piece_reader_start(reader, document->text, document->length);
        while (status == SN_OK && length) {
            status = piece_reader_next(&start, &length, reader);
            if (status != SN_OK || length < 2)
                continue;
            status = length < UINT32_MAX ? SN_OK : SN_ERROR_UNSUPPORTED;
            size_t entry = byte_table_add(&learner->pieces, document->text + start, length);
            if (entry == NOT_FOUND)
                status = SN_ERROR_MEMORY;
            else
                learner->pieces.entries[entry].value++;
        }
        if (status != SN_OK)
            fail_encode(learner->context, status, "counting pieces");
        else if (d % 64 == 63)
            status = progress(learner->context, "tokenizer", 0, 1, (double)learner->pieces.n_entries);
    }
    piece_reader_free(reader);
    return status;
}

static int comes_first(const struct learner *learner, struct pair_entry a, struct pair_entry b)
{
    const struct pair *p = &learner->pairs[a.pair], *q = &learner->pairs[b.pair];
    if (a.count != b.count)
        return a.count > b.count;
    return p->left != q->left ? p->left < q->left : p->right < q->right;
}

static int push_pair(struct learner *learner, uint32_t pair)
{
    struct pair_entry item = {learner->pairs[pair].count, pair};
    if (item.count <= 0)
        return 1;
    if (!array_reserve(learner->memory, (void **)&learner->heap, &learner->heap_capacity,
                       learner->n_heap + 1, sizeof *learner->heap))
        return 0;
    struct pair_entry *heap = learner->heap;
    size_t i = learner->n_heap++;
    for (; i > 0 && comes_first(learner, item, heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = item;
    return 1;
}

static struct pair_entry pop_pair(struct learner *learner)
{
    struct pair_entry *heap = learner->heap, first = heap[0], last = heap[--learner->n_heap];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < learner->n_heap) {
        if (child + 1 < learner->n_heap && comes_first(learner, heap[child + 1], heap[child]))
            child++;
        if (!comes_first(learner, heap[child], last))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return first;
}

/* Index of the pair, made if need be; -1 when out of memory. */
static int32_t find_pair(struct learner *learner, int32_t left, int32_t right)
{
    int32_t pair = pair_table_get(&learner->index, left, right);
    if (pair >= 0)
        return pair;
    if (learner->n_pairs >= INT32_MAX ||
        !array_reserve(learner->memory, (void **)&learner->pairs, &learner->pair_capacity,
                       learner->n_pairs + 1, sizeof *learner->pairs))
        return -1;
    pair = (int32_t)learner->n_pairs;
    if (!pair_table_set(&learner->index, left, right, pair))
        return -1;
    learner->pairs[learner->n_pairs++] = (struct pair){.left = left, .right = right};
    return pair;
}

static int push_touched(struct learner *learner)
{
    for (size_t i = 0; i < learner->n_touched; i++) {
        learner->pairs[learner->touched[i]].touched = 0;
        if (!push_pair(learner, learner->touched[i]))
            return 0;
    }
    learner->n_touched = 0;
    return 1;
}

/* Counts one occurrence in a word, and notes the word. */
static int add_occurrence(struct learner *learner, uint32_t word, int32_t left, int32_t right)
{
    int32_t found = find_pair(learner, left, right);
    if (found < 0)
        return 0;
    struct pair *pair = &learner->pairs[found];
    pair->count += learner->words[word].count;
    if (!pair->touched) {
        if (!array_reserve(learner->memory, (void **)&learner->touched, &learner->touched_capacity,
                           learner->n_touched + 1, sizeof *learner->touched))
            return 0;
        learner->touched[learner->n_touched++] = (uint32_t)found;
        pair->touched = 1;
    }
    if (pair->n_words && pair->words[pair->n_words - 1] == word)
        return 1;
    if (!array_reserve(learner->memory, (void **)&pair->words, &pair->capacity, pair->n_words + 1,
                       sizeof *pair->words))
        return 0;
    pair->words[pair->n_words++] = word;
    return 1;
}

/* Words as byte tokens, and the counts of their pairs. */
static int make_words(struct learner *learner)
{
    const struct byte_table *pieces = &learner->pieces;
    learner->words = memory_allocate_array(learner->memory, pieces->n_entries, sizeof *learner->words);
    learner->symbols = memory_allocate_array(learner->memory, pieces->n_bytes, sizeof *learner->symbols);
    if (!learner->words || !learner->symbols)
        return 0;
    for (size_t i = 0; i < pieces->n_bytes; i++)
        learner->symbols[i] = learner->tokenizer->byte_token[(unsigned char)pieces->bytes[i]];
    for (size_t w = 0; w < pieces->n_entries; w++) {
        const struct byte_entry *entry = &pieces->entries[w];
        learner->words[w] = (struct word){entry->offset, (uint32_t)entry->length, entry->value};
        const int32_t *symbols = learner->symbols + entry->offset;
        for (size_t i = 0; i + 1 < entry->length; i++)
            if (!add_occurrence(learner, (uint32_t)w, symbols[i], symbols[i + 1]))
                return 0;
    }
    return push_touched(learner);
}

/* Replaces left + right by token in one word. All of the word's pairs leave the counts and come back;
 * only pairs with the new token are new to it. */
static int merge_in_word(struct learner *learner, uint32_t w, int32_t left, int32_t right, int32_t token)
{
    struct word *word = &learner->words[w];
    int32_t *symbols = learner->symbols + word->start;
    uint32_t n = 0, i = 0;
    while (i + 1 < word->length && !(symbols[i] == left && symbols[i + 1] == right))
        i++;
    if (i + 1 >= word->length)
        return 1;
    for (i = 0; i + 1 < word->length; i++)
        learner->pairs[pair_table_get(&learner->index, symbols[i], symbols[i + 1])].count -= word->count;
    for (i = 0; i < word->length; n++) {
        int here = i + 1 < word->length && symbols[i] == left && symbols[i + 1] == right;
        symbols[n] = here ? token : symbols[i];
        i += here ? 2 : 1;
    }
    word->length = n;
    for (i = 0; i + 1 < n; i++) {
        if (symbols[i] == token || symbols[i + 1] == token) {
            if (!add_occurrence(learner, w, symbols[i], symbols[i + 1]))
                return 0;
        } else {
            learner->pairs[pair_table_get(&learner->index, symbols[i], symbols[i + 1])].count +=
                word->count;
        }
    }
    return 1;
}

/* Merges one pair wherever it stands; its list of words is used up. */
static int merge_pair(struct learner *learner, uint32_t p, int32_t token)
{
    struct pair pair = learner->pairs[p];
    learner->pairs[p].words = NULL;
    learner->pairs[p].n_words = learner->pairs[p].capacity = 0;
    int ok = 1;
    for (size_t i = 0; ok && i < pair.n_words; i++)
        ok = merge_in_word(learner, pair.words[i], pair.left, pair.right, token);
    memory_free(learner->memory, pair.words, pair.capacity * sizeof *pair.words);
    return ok;
}

/* Bytes decide what merges, so every pair that spells the new token merges along. */
static int merge_spelling(struct learner *learner, int32_t token)
{
    struct sn_tokenizer *tokenizer = learner->tokenizer;
    const char *bytes = token_bytes(tokenizer, token);
    size_t length = token_length(tokenizer, token);
    for (size_t cut = 1; cut < length; cut++) {
        int32_t left = sn_tokenizer_find(tokenizer, bytes, cut);
        int32_t right = sn_tokenizer_find(tokenizer, bytes + cut, length - cut);
        int32_t pair = left < 0 || right < 0 ? -1 : pair_table_get(&learner->index, left, right);
        if (pair >= 0 && learner->pairs[pair].count > 0 && !merge_pair(learner, (uint32_t)pair, token))
            return 0;
    }
    return push_touched(learner);
}

/* The most frequent pair, or -1 when none is left. */
static int32_t best_pair(int *ok, struct learner *learner)
{
    while (*ok && learner->n_heap) {
        struct pair_entry top = pop_pair(learner);
        const struct pair *pair = &learner->pairs[top.pair];
        if (top.count > pair->count && pair->count > 0)
            *ok = push_pair(learner, top.pair);
        else if (top.count == pair->count && pair->count > 0 &&
                 token_length(learner->tokenizer, pair->left) +
                         token_length(learner->tokenizer, pair->right) <=
                     MAX_TOKEN_BYTES)
            return (int32_t)top.pair;
    }
    return -1;
}

static int grow_vocabulary(struct learner *learner, size_t vocabulary_size)
{
    struct sn_tokenizer *tokenizer = learner->tokenizer;
    char joined[2 * MAX_TOKEN_BYTES];
    int ok = 1;
    while (ok && tokenizer->size < vocabulary_size) {
        int32_t best = best_pair(&ok, learner);
        if (best < 0)
            break;
        int32_t left = learner->pairs[best].left, right = learner->pairs[best].right;
        size_t length = token_join(joined, tokenizer, left, right);
        int32_t token = sn_tokenizer_find(tokenizer, joined, length);
        if (token < 0) { /* else a later token opened another way to spell this one */
            token = (int32_t)tokenizer->size;
            ok = tokenizer_put(tokenizer, token, joined, length) &&
                 tokenizer_add_merge(tokenizer, token, left, right);
            if (!ok)
                break;
        }
        ok = merge_spelling(learner, token);
        if (ok && token % 16 == 0) {
            int status = progress(learner->context, "tokenizer", tokenizer->size, vocabulary_size,
                                  (double)tokenizer->size);
            if (status != SN_OK)
                return status;
        }
    }
    return ok ? SN_OK : fail_memory(learner->context, "learning merges", 0);
}

static void learner_free(struct learner *learner)
{
    for (size_t p = 0; p < learner->n_pairs; p++)
        memory_free(learner->memory, learner->pairs[p].words,
                    learner->pairs[p].capacity * sizeof *learner->pairs[p].words);
    memory_free(learner->memory, learner->pairs, learner->pair_capacity * sizeof *learner->pairs);
    memory_free(learner->memory, learner->touched, learner->touched_capacity * sizeof *learner->touched);
    memory_free(learner->memory, learner->heap, learner->heap_capacity * sizeof *learner->heap);
    memory_free(learner->memory, learner->words, learner->pieces.n_entries * sizeof *learner->words);
    memory_free(learner->memory, learner->symbols, learner->pieces.n_bytes * sizeof *learner->symbols);
    byte_table_free(&learner->pieces);
    pair_table_free(&learner->index);
}

int learn_merges(struct sn_tokenizer *tokenizer, struct sn_context *context,
                 const struct sn_corpus *corpus, size_t vocabulary_size)
{
    struct learner learner = {.context = context, .memory = context->memory, .tokenizer = tokenizer};
    byte_table_init(&learner.pieces, context->memory);
    pair_table_init(&learner.index, context->memory);
    int status = count_pieces(&learner, corpus);
    if (status == SN_OK && !make_words(&learner))
        status = fail_memory(context, "the words of a corpus", 0);
    if (status == SN_OK)
        status = grow_vocabulary(&learner, vocabulary_size);
    learner_free(&learner);
    return status;
}
