/* The bytes as files of text below a folder (cut at the first NUL into two) and as files of tokens. */
#include "small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Every document that was tokenised is its tokens, put together again. */
static void check_documents(const sn_corpus *corpus, sn_context *context, const sn_tokenizer *tokenizer)
{
    for (size_t i = 0; i < sn_corpus_count(corpus); i++) {
        size_t length, n, n_back;
        const char *text = sn_corpus_text(&length, corpus, i);
        const int32_t *tokens = sn_corpus_tokens(&n, corpus, i);
        char *back = malloc(length + 1);
        if (!back ||
            sn_tokenizer_decode(back, length + 1, &n_back, context, tokenizer, tokens, n) != SN_OK ||
            n_back != length || memcmp(back, text, length) != 0)
            abort();
        free(back);
    }
}

static void draw(const sn_corpus *corpus, sn_context *context)
{
    int32_t tokens[32], targets[32];
    size_t lengths[4];
    for (uint64_t index = 0; index < 3; index++) {
        const int status = sn_corpus_sample(tokens, targets, lengths, corpus, context, 4, 8, 1, index);
        fuzz_check(status, context);
        for (int i = 0; status == SN_OK && i < 4; i++)
            if (lengths[i] < 1 || lengths[i] > 8)
                abort();
    }
}

/* Tokenised by `tokenizer`, or, which takes longest, where there is none by one that is learned from it. */
static void use_texts(sn_context *context, const sn_tokenizer *tokenizer)
{
    char folder[256];
    sn_corpus *corpus, *validation = NULL;
    sn_tokenizer *learned = NULL;
    snprintf(folder, sizeof folder, "%s/texts", fuzz_folder());
    small_must(sn_corpus_create(&corpus, context));
    fuzz_check(sn_corpus_add_directory(corpus, context, folder, ".py", 0, 0), context);
    if (!tokenizer) {
        fuzz_check(sn_tokenizer_train(&learned, context, corpus, 280, NULL), context);
        tokenizer = learned;
    }
    if (tokenizer && sn_corpus_tokenize(corpus, context, tokenizer) == SN_OK) {
        check_documents(corpus, context, tokenizer);
        draw(corpus, context);
        fuzz_check(sn_corpus_split(&validation, corpus, context, 0.5, 1), context);
    }
    sn_corpus_free(validation);
    sn_tokenizer_free(learned);
    sn_corpus_free(corpus);
}

static void use_tokens(sn_context *context, const char *path, size_t bytes_per_token)
{
    sn_corpus *corpus;
    small_must(sn_corpus_create(&corpus, context));
    const int status = sn_corpus_add_token_file(corpus, context, path, bytes_per_token);
    fuzz_check(status, context);
    if (status == SN_OK)
        draw(corpus, context);
    sn_corpus_free(corpus);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char folder[256];
    const uint8_t *rest;
    size_t n_rest;
    const size_t n_first = fuzz_split(&rest, &n_rest, data, size);
    const sn_tokenizer *tokenizer = small_fixed()->tokenizer;
    sn_context *context = fuzz_context(16);
    snprintf(folder, sizeof folder, "%s/texts", fuzz_folder());
    (void)mkdir(folder, 0700);
    fuzz_write("texts/a.py", data, n_first);
    fuzz_write("texts/b.py", rest ? rest : data, rest ? n_rest : 0); /* with NULs, if there are more */
    use_texts(context, size % 4 == 0 ? NULL : tokenizer);
    const char *path = fuzz_write("tokens", data, size);
    use_tokens(context, path, 2);
    use_tokens(context, path, 4);
    sn_context_free(context);
    return 0;
}
