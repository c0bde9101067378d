/* Training a tokenizer: learnt merges, then those that make the required strings single tokens. */
#include <string.h>

#include "base/options.h"
#include "text/tokenizer_learn.h"

/* What the character behind a backslash means, 0 if nothing. */
static char unescape(char c)
{
    return c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c == '\\' ? '\\' : '\0';
}

/* One line of "required". */
static int add_line(struct byte_table *required, struct sn_context *context, const char *line,
                    size_t length)
{
    char bytes[MAX_TOKEN_BYTES];
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        char c = line[i] != '\\' ? line[i] : i + 1 < length ? unescape(line[++i]) : '\0';
        if (!c || n == sizeof bytes)
            return fail(context, SN_ERROR_ARGUMENT, "sn_tokenizer_train: required token \"%.*s\" %s",
                        (int)(length < 100 ? length : 100), line,
                        c ? "is too long" : "has a backslash not followed by n, r, t or a backslash");
        bytes[n++] = c;
    }
    if (n && byte_table_add(required, bytes, n) == NOT_FOUND)
        return fail_memory(context, "required tokens", n);
    return SN_OK;
}

static int read_required(struct byte_table *required, struct sn_context *context, const char *text)
{
    int status = SN_OK;
    while (text && *text && status == SN_OK) {
        size_t length = strcspn(text, "\n");
        status = add_line(required, context, text, length);
        text += length + (text[length] == '\n');
    }
    return status;
}

/* BPE never merges across pieces, so a token must lie within one. */
static int check_required(const struct byte_table *required, struct sn_context *context,
                          const struct sn_tokenizer *tokenizer)
{
    struct piece_reader *reader = piece_reader_create(tokenizer->pattern);
    if (!reader)
        return fail_memory(context, "required tokens", 0);
    int status = SN_OK;
    for (size_t i = 0; i < required->n_entries && status == SN_OK; i++) {
        size_t start, length, wanted = required->entries[i].length;
        piece_reader_start(reader, byte_table_bytes(required, i), wanted);
        status = piece_reader_next(&start, &length, reader);
        if (status != SN_OK)
            fail_encode(context, status, "required tokens");
        else if (length != wanted)
            status =
                fail(context, SN_ERROR_ARGUMENT,
                     "sn_tokenizer_train: required token \"%.*s\" is cut after %zu of its %zu bytes "
                     "by the split pattern",
                     (int)wanted, byte_table_bytes(required, i), length, wanted);
    }
    piece_reader_free(reader);
    return status;
}

/* Merges from what the string encodes to now, until it is one token. Later ranks come last, so strings
 * done before stay single. */
static int add_required(struct sn_tokenizer *tokenizer, const char *bytes, size_t length)
{
    int32_t tokens[MAX_TOKEN_BYTES], id;
    size_t n = 0;
    struct merger merger;
    merger_init(&merger, tokenizer->memory, tokenizer);
    int ok = merge_piece(&n, tokens, &merger, bytes, length) == SN_OK;
    while (ok && n > 1)
        ok = tokenizer_append_merge(&id, tokenizer, tokens[0], tokens[1]) &&
             merge_piece(&n, tokens, &merger, bytes, length) == SN_OK;
    merger_free(&merger);
    return ok;
}

/* A tokenizer of the first n_merges merges of `learnt` and the required tokens. */
static int assemble(struct sn_tokenizer **out, struct sn_context *context,
                    const struct sn_tokenizer *learnt, size_t n_merges,
                    const struct byte_table *required)
{
    char joined[2 * MAX_TOKEN_BYTES];
    struct sn_tokenizer *tokenizer;
    int status = tokenizer_create(&tokenizer, context, FORM_ENCODER, SPLIT_RELEASED);
    *out = tokenizer;
    if (status != SN_OK)
        return status;
    int ok = tokenizer_put_bytes(tokenizer);
    for (int32_t id = 256; ok && (size_t)id < 256 + n_merges; id++) {
        const struct merge *merge = &learnt->merges[id - 256]; /* one a token, in the order of ids */
        ok = tokenizer_put(tokenizer, id, joined,
                           token_join(joined, learnt, merge->left, merge->right)) &&
             tokenizer_add_merge(tokenizer, id, merge->left, merge->right);
    }
    ok = ok && tokenizer_index(tokenizer);
    for (size_t i = 0; ok && i < required->n_entries; i++)
        ok = add_required(tokenizer, byte_table_bytes(required, i), required->entries[i].length);
    return ok ? SN_OK : fail_memory(context, "a tokenizer", 0);
}

/* Where the required merges leave a gap that no number of learnt ones fills, later learnt ones do. */
static int fill_gap(struct sn_tokenizer *tokenizer, struct sn_context *context,
                    const struct sn_tokenizer *learnt, size_t first, size_t vocabulary_size)
{
    char joined[2 * MAX_TOKEN_BYTES];
    for (size_t id = first; id < learnt->size && tokenizer->size < vocabulary_size; id++) {
        const struct merge *merge = &learnt->merges[id - 256];
        int32_t left = sn_tokenizer_find(tokenizer, token_bytes(learnt, merge->left),
                                         token_length(learnt, merge->left));
        int32_t right = sn_tokenizer_find(tokenizer, token_bytes(learnt, merge->right),
                                          token_length(learnt, merge->right)),
                added;
        if (left < 0 || right < 0 ||
            sn_tokenizer_find(tokenizer, joined, token_join(joined, tokenizer, left, right)) >= 0)
            continue;
        if (!tokenizer_append_merge(&added, tokenizer, left, right))
            return fail_memory(context, "a tokenizer", 0);
    }
    return SN_OK;
}

/* As many learnt merges as leave room for the required ones. */
static int fit(struct sn_tokenizer **out, struct sn_context *context, const struct sn_tokenizer *learnt,
               size_t vocabulary_size, const struct byte_table *required)
{
    size_t n_merges = learnt->size - 256;
    for (;;) {
        int status = assemble(out, context, learnt, n_merges, required);
        if (status != SN_OK)
            return status;
        size_t size = (*out)->size;
        if (size <= vocabulary_size)
            return fill_gap(*out, context, learnt, 256 + n_merges, vocabulary_size);
        sn_tokenizer_free(*out);
        *out = NULL;
        if (n_merges == 0)
            return fail(context, SN_ERROR_ARGUMENT,
                        "sn_tokenizer_train: vocabulary_size is %zu; the required tokens need %zu",
                        vocabulary_size, size);
        n_merges -= n_merges < size - vocabulary_size ? n_merges : size - vocabulary_size;
    }
}

static int check_arguments(struct sn_context *context, const struct sn_corpus *corpus,
                           size_t vocabulary_size)
{
    if (!corpus)
        return fail(context, SN_ERROR_ARGUMENT, "sn_tokenizer_train: corpus is NULL");
    if (vocabulary_size < 256 || vocabulary_size > MAX_VOCABULARY)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_tokenizer_train: vocabulary_size is %zu; it must be 256 .. %zu", vocabulary_size,
                    MAX_VOCABULARY);
    if (corpus->kind != CORPUS_TEXTS)
        return fail(context, SN_ERROR_ARGUMENT, "sn_tokenizer_train: the corpus %s",
                    corpus->kind == CORPUS_EMPTY ? "is empty" : "holds tokens, not texts");
    return SN_OK;
}

static int train(struct sn_tokenizer **out, struct sn_context *context, const struct sn_corpus *corpus,
                 size_t vocabulary_size, const struct byte_table *required)
{
    struct sn_tokenizer *learnt;
    int status = tokenizer_create(&learnt, context, FORM_ENCODER, SPLIT_RELEASED);
    if (status == SN_OK)
        status = check_required(required, context, learnt);
    if (status == SN_OK && !tokenizer_put_bytes(learnt))
        status = fail_memory(context, "a tokenizer", 0);
    if (status == SN_OK)
        status = learn_merges(learnt, context, corpus, vocabulary_size);
    if (status == SN_OK)
        status = fit(out, context, learnt, vocabulary_size, required);
    sn_tokenizer_free(learnt);
    return status;
}

int sn_tokenizer_train(sn_tokenizer **out, sn_context *context, const sn_corpus *corpus,
                       size_t vocabulary_size, const sn_options *options)
{
    struct settings {
        const char *required;
    } settings;
    const struct option_spec specs[] = {
        {.key = "required", .kind = OPTION_TEXT, .offset = offsetof(struct settings, required)},
    };
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    struct byte_table required;
    byte_table_init(&required, context->memory);
    int status = check_arguments(context, corpus, vocabulary_size);
    if (status == SN_OK)
        status = options_read(&settings, context, "sn_tokenizer_train", specs, 1, options);
    if (status == SN_OK)
        status = read_required(&required, context, settings.required);
    if (status == SN_OK)
        status = train(out, context, corpus, vocabulary_size, &required);
    byte_table_free(&required);
    if (status != SN_OK) {
        sn_tokenizer_free(*out);
        *out = NULL;
    }
    return status;
}
