#include "text/corpus.h"

#include <string.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/random.h"
#include "text/table.h"

int sn_corpus_create(sn_corpus **out, sn_context *context)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    *out = memory_allocate_zeroed(context->memory, sizeof **out);
    if (!*out)
        return fail_memory(context, "a corpus", sizeof **out);
    (*out)->memory = memory_retain(context->memory);
    return SN_OK;
}

void document_drop_tokens(struct memory *memory, struct document *document)
{
    memory_free(memory, document->tokens, document->n_tokens * sizeof *document->tokens);
    memory_free(memory, document->starts, document->n_starts * sizeof *document->starts);
    document->tokens = NULL;
    document->starts = NULL;
    document->n_tokens = document->n_starts = 0;
}

void corpus_truncate(struct sn_corpus *corpus, size_t count)
{
    while (corpus->n_documents > count) {
        struct document *document = &corpus->documents[--corpus->n_documents];
        document_drop_tokens(corpus->memory, document);
        memory_free(corpus->memory, document->text, document->length + 1);
    }
    if (corpus->n_documents == 0)
        corpus->kind = CORPUS_EMPTY;
    corpus_count_tokens(corpus);
}

void sn_corpus_free(sn_corpus *corpus)
{
    if (!corpus)
        return;
    struct memory *memory = corpus->memory;
    corpus_truncate(corpus, 0);
    memory_free(memory, corpus->documents, corpus->capacity * sizeof *corpus->documents);
    memory_free(memory, corpus, sizeof *corpus);
    memory_release(memory);
}

struct document *corpus_append(struct sn_corpus *corpus, enum corpus_kind kind)
{
    if (!array_reserve(corpus->memory, (void **)&corpus->documents, &corpus->capacity,
                       corpus->n_documents + 1, sizeof *corpus->documents))
        return NULL;
    struct document *document = &corpus->documents[corpus->n_documents++];
    memset(document, 0, sizeof *document);
    corpus->kind = kind;
    return document;
}

static void count_document(struct sn_corpus *corpus, struct document *document)
{
    document->drawn_before = corpus->n_drawable;
    corpus->n_tokens += document->n_tokens;
    if (document->n_tokens >= 2)
        corpus->n_drawable += document->n_tokens;
}

void corpus_count_tokens(struct sn_corpus *corpus)
{
    corpus->n_tokens = corpus->n_drawable = 0;
    corpus->tokenized = corpus->n_documents > 0;
    for (size_t i = 0; i < corpus->n_documents; i++) {
        corpus->tokenized &= corpus->documents[i].tokens != NULL;
        count_document(corpus, &corpus->documents[i]);
    }
}

int corpus_accept(const struct sn_corpus *corpus, struct sn_context *context, enum corpus_kind kind,
                  const char *function)
{
    if (corpus->kind != CORPUS_EMPTY && corpus->kind != kind)
        return fail(context, SN_ERROR_STATE, "%s: the corpus holds %s already", function,
                    kind == CORPUS_TEXTS ? "tokens" : "texts");
    return SN_OK;
}

int corpus_append_text(struct sn_corpus *corpus, struct sn_context *context, const char *text,
                       size_t length)
{
    char *copy = memory_copy_text(corpus->memory, length ? text : "", length);
    struct document *document = copy ? corpus_append(corpus, CORPUS_TEXTS) : NULL;
    if (!document) {
        memory_free(corpus->memory, copy, length + 1);
        return fail_memory(context, "a document", length);
    }
    document->text = copy;
    document->length = length;
    corpus->tokenized = 0;
    return SN_OK;
}

int sn_corpus_add_text(sn_corpus *corpus, sn_context *context, const char *text, size_t length)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!corpus || (!text && length))
        return fail(context, SN_ERROR_ARGUMENT, "sn_corpus_add_text: %s is NULL",
                    corpus ? "text" : "corpus");
    int status = corpus_accept(corpus, context, CORPUS_TEXTS, "sn_corpus_add_text");
    return status == SN_OK ? corpus_append_text(corpus, context, text, length) : status;
}

int sn_corpus_add_documents(sn_corpus *corpus, sn_context *context, sn_document_callback callback,
                            void *payload)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!corpus || !callback)
        return fail(context, SN_ERROR_ARGUMENT, "sn_corpus_add_documents: %s is NULL",
                    corpus ? "callback" : "corpus");
    size_t before = corpus->n_documents;
    int status = corpus_accept(corpus, context, CORPUS_TEXTS, "sn_corpus_add_documents");
    while (status == SN_OK) {
        const char *text = NULL;
        size_t length = 0;
        int more = callback(&text, &length, payload);
        if (more == 0)
            return SN_OK;
        if (more < 0)
            status = fail(context, SN_ERROR_CANCELLED, "sn_corpus_add_documents: cancelled");
        else if (!text && length)
            status = fail(context, SN_ERROR_ARGUMENT,
                          "sn_corpus_add_documents: document %zu has text NULL and length %zu",
                          corpus->n_documents - before, length);
        else
            status = corpus_append_text(corpus, context, text, length);
    }
    corpus_truncate(corpus, before);
    return status;
}

/* An empty document of n tokens to be filled. */
static int append_tokens(int32_t **tokens, struct sn_corpus *corpus, struct sn_context *context,
                         size_t n_tokens)
{
    *tokens = memory_allocate_array(corpus->memory, n_tokens, sizeof **tokens);
    struct document *document = *tokens ? corpus_append(corpus, CORPUS_TOKENS) : NULL;
    if (!document) {
        memory_free(corpus->memory, *tokens, n_tokens * sizeof **tokens);
        return fail_memory(context, "tokens", n_tokens);
    }
    document->tokens = *tokens;
    document->n_tokens = n_tokens;
    return SN_OK;
}

int sn_corpus_add_tokens(sn_corpus *corpus, sn_context *context, const int32_t *tokens, size_t n_tokens)
{
    int32_t *copy;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!corpus || (!tokens && n_tokens))
        return fail(context, SN_ERROR_ARGUMENT, "sn_corpus_add_tokens: %s is NULL",
                    corpus ? "tokens" : "corpus");
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i] < 0)
            return fail(context, SN_ERROR_ARGUMENT, "sn_corpus_add_tokens: tokens[%zu] is %d", i,
                        (int)tokens[i]);
    int status = corpus_accept(corpus, context, CORPUS_TOKENS, "sn_corpus_add_tokens");
    if (status == SN_OK)
        status = append_tokens(&copy, corpus, context, n_tokens);
    if (status != SN_OK)
        return status;
    if (n_tokens)
        memcpy(copy, tokens, n_tokens * sizeof *copy);
    count_document(corpus, &corpus->documents[corpus->n_documents - 1]);
    corpus->tokenized = 1;
    return SN_OK;
}

static int read_tokens(int32_t *tokens, size_t n_tokens, struct sn_context *context,
                       const struct file_reader *file, size_t bytes_per_token)
{
    unsigned char chunk[16384];
    size_t per_chunk = sizeof chunk / bytes_per_token;
    for (size_t at = 0; at < n_tokens; at += per_chunk) {
        size_t n = n_tokens - at < per_chunk ? n_tokens - at : per_chunk;
        struct file_reader reader = *file;
        int status = file_read_at(&reader, context, at * bytes_per_token, chunk, n * bytes_per_token);
        if (status != SN_OK)
            return status;
        for (size_t i = 0; i < n; i++) {
            const unsigned char *p = chunk + i * bytes_per_token;
            uint32_t token = (uint32_t)p[0] | (uint32_t)p[1] << 8;
            if (bytes_per_token == 4)
                token |= (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
            if (token > INT32_MAX)
                return fail(context, SN_ERROR_FORMAT, "%s: token %zu is %u, above %d", file->path,
                            at + i, (unsigned)token, INT32_MAX);
            tokens[at + i] = (int32_t)token;
        }
    }
    return SN_OK;
}

static int add_open_file(struct sn_corpus *corpus, struct sn_context *context,
                         const struct file_reader *file, size_t bytes_per_token)
{
    int32_t *tokens;
    if (file->size == 0 || file->size % bytes_per_token)
        return fail(context, SN_ERROR_FORMAT,
                    "%s: %llu bytes are not a whole number of tokens of %zu bytes", file->path,
                    (unsigned long long)file->size, bytes_per_token);
    size_t before = corpus->n_documents, n_tokens = (size_t)(file->size / bytes_per_token);
    int status = corpus_accept(corpus, context, CORPUS_TOKENS, "sn_corpus_add_token_file");
    if (status != SN_OK)
        return status;
    status = append_tokens(&tokens, corpus, context, n_tokens);
    if (status == SN_OK)
        status = read_tokens(tokens, n_tokens, context, file, bytes_per_token);
    if (status != SN_OK) {
        corpus_truncate(corpus, before);
        return status;
    }
    count_document(corpus, &corpus->documents[before]);
    corpus->tokenized = 1;
    return SN_OK;
}

int sn_corpus_add_token_file(sn_corpus *corpus, sn_context *context, const char *path,
                             size_t bytes_per_token)
{
    struct file_reader file;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!corpus || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_corpus_add_token_file: %s is NULL",
                    corpus ? "path" : "corpus");
    if (bytes_per_token != 2 && bytes_per_token != 4)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_corpus_add_token_file: bytes_per_token is %zu; it must be 2 or 4",
                    bytes_per_token);
    int status = file_open(&file, context, path);
    if (status != SN_OK)
        return status;
    status = add_open_file(corpus, context, &file, bytes_per_token);
    file_close(&file);
    return status;
}

size_t sn_corpus_count(const sn_corpus *corpus)
{
    return corpus ? corpus->n_documents : 0;
}

const char *sn_corpus_text(size_t *length, const sn_corpus *corpus, size_t index)
{
    int present = corpus && index < corpus->n_documents;
    if (length)
        *length = present ? corpus->documents[index].length : 0;
    return present ? corpus->documents[index].text : NULL;
}

const int32_t *sn_corpus_tokens(size_t *n_tokens, const sn_corpus *corpus, size_t index)
{
    int present = corpus && index < corpus->n_documents && corpus->tokenized;
    if (n_tokens)
        *n_tokens = present ? corpus->documents[index].n_tokens : 0;
    return present ? corpus->documents[index].tokens : NULL;
}

size_t sn_corpus_token_count(const sn_corpus *corpus)
{
    return corpus && corpus->tokenized ? corpus->n_tokens : 0;
}

/* marks: nonzero for documents that go; both corpora keep the order. */
static void move_documents(struct sn_corpus *from, struct sn_corpus *to, const unsigned char *marks)
{
    size_t kept = 0;
    for (size_t i = 0; i < from->n_documents; i++) {
        if (marks[i])
            to->documents[to->n_documents++] = from->documents[i];
        else
            from->documents[kept++] = from->documents[i];
    }
    from->n_documents = kept;
    to->kind = from->kind;
    corpus_count_tokens(from);
    corpus_count_tokens(to);
}

static int choose_documents(unsigned char *marks, struct memory *memory, size_t n, size_t n_chosen,
                            uint64_t seed)
{
    struct random_state state;
    size_t *order = memory_allocate_array(memory, n, sizeof *order);
    if (!order)
        return 0;
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    random_seed(&state, seed, 0);
    random_shuffle(&state, order, n);
    for (size_t i = 0; i < n_chosen; i++)
        marks[order[i]] = 1;
    memory_free(memory, order, n * sizeof *order);
    return 1;
}

int sn_corpus_split(sn_corpus **validation, sn_corpus *corpus, sn_context *context, double share,
                    uint64_t seed)
{
    if (validation)
        *validation = NULL;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!validation || !corpus)
        return fail(context, SN_ERROR_ARGUMENT, "sn_corpus_split: %s is NULL",
                    validation ? "corpus" : "validation");
    if (!(share >= 0 && share <= 1))
        return fail(context, SN_ERROR_ARGUMENT, "sn_corpus_split: share is %s; it must be 0 .. 1",
                    SHOWN(share));
    size_t n = corpus->n_documents, n_chosen = (size_t)(share * (double)n + 0.5);
    if (n_chosen == 0 || n_chosen >= n)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_corpus_split: a share of %s of %zu documents leaves one side empty",
                    SHOWN(share), n);
    struct memory *memory = corpus->memory;
    struct sn_corpus *moved = memory_allocate_zeroed(memory, sizeof *moved);
    unsigned char *marks = memory_allocate_zeroed(memory, n);
    int ok = moved && marks;
    if (moved)
        moved->memory = memory_retain(memory);
    ok = ok && array_reserve(memory, (void **)&moved->documents, &moved->capacity, n_chosen,
                             sizeof *moved->documents);
    ok = ok && choose_documents(marks, memory, n, n_chosen, seed);
    if (ok)
        move_documents(corpus, moved, marks);
    memory_free(memory, marks, n);
    if (!ok) {
        sn_corpus_free(moved);
        return fail_memory(context, "a split", n);
    }
    *validation = moved;
    return SN_OK;
}
