/* Tokenising a corpus and drawing training windows from it. */
#include <string.h>

#include "base/random.h"
#include "base/threads.h"
#include "text/corpus.h"
#include "text/table.h"
#include "text/tokenizer.h"

#define DOCUMENTS_PER_REPORT ((size_t)64)

struct tokenize_job {
    struct sn_corpus *corpus;
    const struct sn_tokenizer *tokenizer;
    struct encoder *encoders[MAX_WORKERS]; /* by worker, made at first use */
    size_t first;                          /* document of chunk 0 */
};

static int ends_line(const struct sn_tokenizer *tokenizer, int32_t token)
{
    size_t length = token_length(tokenizer, token);
    return length && token_bytes(tokenizer, token)[length - 1] == '\n';
}

/* Calls for every token that begins a line, or lies a whole number of LONG_LINE_TOKENS behind one;
 * a line that begins inside a token (the pattern glues "\n" and "/" to punctuation) is passed over.
 * starts may be NULL: only counts. The last token is no start: it has no target. */
static size_t list_starts(size_t *starts, const struct sn_tokenizer *tokenizer, const int32_t *tokens,
                          size_t n_tokens)
{
    size_t n = 0, last = 0;
    for (size_t i = 0; i + 1 < n_tokens; i++) {
        if (i && i - last < LONG_LINE_TOKENS && !ends_line(tokenizer, tokens[i - 1]))
            continue;
        last = i;
        if (starts)
            starts[n] = i;
        n++;
    }
    return n;
}

static int keep_tokens(struct memory *memory, struct document *document,
                       const struct sn_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens)
{
    size_t n_starts = list_starts(NULL, tokenizer, tokens, n_tokens);
    document->tokens = memory_allocate_array(memory, n_tokens, sizeof *tokens);
    document->n_tokens = document->tokens ? n_tokens : 0;
    document->starts = memory_allocate_array(memory, n_starts, sizeof *document->starts);
    document->n_starts = document->starts ? n_starts : 0;
    if (!document->tokens || !document->starts)
        return SN_ERROR_MEMORY;
    if (n_tokens)
        memcpy(document->tokens, tokens, n_tokens * sizeof *tokens);
    list_starts(document->starts, tokenizer, tokens, n_tokens);
    return SN_OK;
}

static int tokenize_document(void *payload, size_t chunk, size_t worker)
{
    struct tokenize_job *job = payload;
    struct memory *memory = job->corpus->memory;
    struct document *document = &job->corpus->documents[job->first + chunk];
    const int32_t *tokens;
    size_t n_tokens;
    int status = SN_OK;
    if (!job->encoders[worker])
        status = encoder_create(&job->encoders[worker], memory, job->tokenizer);
    if (status == SN_OK)
        status =
            encoder_run(&tokens, &n_tokens, job->encoders[worker], document->text, document->length);
    if (status == SN_OK)
        status = keep_tokens(memory, document, job->tokenizer, tokens, n_tokens);
    return status;
}

static int tokenize_all(struct tokenize_job *job, struct sn_context *context)
{
    size_t n = job->corpus->n_documents;
    int status = SN_OK;
    while (job->first < n && status == SN_OK) {
        size_t some = n - job->first < DOCUMENTS_PER_REPORT ? n - job->first : DOCUMENTS_PER_REPORT;
        status = parallel_for(context, some, tokenize_document, job);
        if (status != SN_OK)
            return fail_encode(context, status, "sn_corpus_tokenize");
        job->first += some;
        status = progress(context, "tokenize", job->first, n, (double)job->first);
    }
    return status;
}

static void drop_all_tokens(struct sn_corpus *corpus)
{
    for (size_t i = 0; i < corpus->n_documents; i++)
        document_drop_tokens(corpus->memory, &corpus->documents[i]);
}

int sn_corpus_tokenize(sn_corpus *corpus, sn_context *context, const sn_tokenizer *tokenizer)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!corpus || !tokenizer)
        return fail(context, SN_ERROR_ARGUMENT, "sn_corpus_tokenize: %s is NULL",
                    corpus ? "tokenizer" : "corpus");
    if (corpus->kind != CORPUS_TEXTS)
        return fail(context, SN_ERROR_STATE, "sn_corpus_tokenize: the corpus %s",
                    corpus->kind == CORPUS_EMPTY ? "is empty" : "holds tokens already");
    struct tokenize_job *job = memory_allocate_zeroed(context->memory, sizeof *job);
    if (!job)
        return fail_memory(context, "tokenising", sizeof *job);
    job->corpus = corpus;
    job->tokenizer = tokenizer;
    drop_all_tokens(corpus);
    int status = tokenize_all(job, context);
    if (status != SN_OK)
        drop_all_tokens(corpus);
    corpus_count_tokens(corpus);
    for (size_t i = 0; i < MAX_WORKERS; i++)
        encoder_free(job->encoders[i]);
    memory_free(context->memory, job, sizeof *job);
    return status;
}

/* The document that holds drawable token number `place`: the last one with drawn_before <= place. */
static const struct document *find_document(const struct sn_corpus *corpus, size_t place)
{
    size_t low = 0, high = corpus->n_documents;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (corpus->documents[middle].drawn_before <= place)
            low = middle;
        else
            high = middle;
    }
    return &corpus->documents[low];
}

/* The start of the line that holds token `at`. */
static size_t find_start(const struct document *document, size_t at)
{
    size_t low = 0, high = document->n_starts;
    if (!document->starts)
        return at < document->n_tokens - 1 ? at : at - 1;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (document->starts[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return document->starts[low];
}

/* A token drawn evenly from the corpus decides the document and the line. */
static size_t draw_window(int32_t *tokens, int32_t *targets, const struct sn_corpus *corpus,
                          size_t window, uint64_t seed, uint64_t number)
{
    struct random_state state;
    random_seed(&state, seed, number);
    size_t place = random_below(&state, corpus->n_drawable);
    const struct document *document = find_document(corpus, place);
    size_t start = find_start(document, place - document->drawn_before);
    size_t left = document->n_tokens - 1 - start, length = left < window ? left : window;
    memcpy(tokens, document->tokens + start, length * sizeof *tokens);
    memcpy(targets, document->tokens + start + 1, length * sizeof *targets);
    return length;
}

int sn_corpus_sample(int32_t *tokens, int32_t *targets, size_t *lengths, const sn_corpus *corpus,
                     sn_context *context, size_t n_windows, size_t window, uint64_t seed, uint64_t index)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!tokens || !targets || !lengths || !corpus)
        return fail(context, SN_ERROR_ARGUMENT, "sn_corpus_sample: %s is NULL",
                    !tokens    ? "tokens"
                    : !targets ? "targets"
                    : !lengths ? "lengths"
                               : "corpus");
    if (window == 0)
        return fail(context, SN_ERROR_ARGUMENT, "sn_corpus_sample: window is 0");
    if (!corpus->tokenized)
        return fail(context, SN_ERROR_STATE, "sn_corpus_sample: the corpus %s",
                    corpus->n_documents ? "is not tokenised" : "is empty");
    if (corpus->n_drawable == 0)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_corpus_sample: none of the %zu documents has 2 tokens", corpus->n_documents);
    for (size_t i = 0; i < n_windows; i++)
        lengths[i] = draw_window(tokens + i * window, targets + i * window, corpus, window, seed,
                                 index * n_windows + i);
    return SN_OK;
}

size_t corpus_pack_windows(int32_t *rows, size_t *offsets, const size_t *lengths, size_t window,
                           size_t n_windows)
{
    size_t used = 0;
    for (size_t i = 0; i < n_windows; i++) {
        memmove(rows + used, rows + i * window, lengths[i] * sizeof *rows);
        if (offsets)
            offsets[i] = used;
        used += lengths[i];
    }
    if (offsets)
        offsets[n_windows] = used;
    return used;
}
