/* tokenize TOKENIZER FILE [OUTPUT]: encodes FILE with the tokenizer (a folder or a file), checks that
 * decoding gives FILE back, writes the tokens as raw int32 and says how fast it went.
 * tokenize --train VOCABULARY DIRECTORY SOURCE SUFFIX [REQUIRED]: trains one on a tree of files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int complain(const sn_context *context, int status)
{
    fprintf(stderr, "tokenize: %s (%s)\n", sn_context_message(context), sn_status_string(status));
    return 1;
}

static int write_tokens(const char *path, const int32_t *tokens, size_t n)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return 0;
    int ok = fwrite(tokens, sizeof *tokens, n, file) == n;
    return fclose(file) == 0 && ok;
}

/* A status; SN_ERROR_FORMAT when the text does not come back. */
static int decode(sn_context *context, const sn_tokenizer *tokenizer, const int32_t *tokens, size_t n,
                  const char *text, size_t length)
{
    size_t needed = 0;
    char *back = malloc(length + 1);
    int status = back ? sn_tokenizer_decode(back, length + 1, &needed, context, tokenizer, tokens, n)
                      : SN_ERROR_MEMORY;
    if (status == SN_OK && (needed != length || memcmp(back, text, length) != 0))
        status = fail(context, SN_ERROR_FORMAT, "decoding gives %zu other bytes than the %zu encoded",
                      needed, length);
    free(back);
    return status;
}

static int encode(sn_context *context, const char *directory, const char *path, const char *output)
{
    sn_tokenizer *tokenizer = NULL;
    int32_t *tokens = NULL;
    char *text = NULL;
    size_t length = 0, n = 0;
    int status = sn_tokenizer_load(&tokenizer, context, directory);
    if (status == SN_OK)
        status = file_read_all(&text, &length, context, path, (size_t)1 << 30);
    if (status == SN_OK && !(tokens = malloc(length * sizeof *tokens + 1)))
        status = SN_ERROR_MEMORY;
    double start = seconds();
    if (status == SN_OK)
        status = sn_tokenizer_encode(tokens, length + 1, &n, context, tokenizer, text, length);
    double time = seconds() - start;
    if (status == SN_OK)
        fprintf(stderr, "%zu bytes, %zu tokens, %.3f s, %.1f MB/s\n", length, n, time,
                1e-6 * (double)length / time);
    if (status == SN_OK)
        status = decode(context, tokenizer, tokens, n, text, length);
    int result = status != SN_OK ? complain(context, status) : 0;
    if (!result && output && !write_tokens(output, tokens, n)) {
        perror(output);
        result = 1;
    }
    free(tokens);
    memory_free(context->memory, text, length + 1);
    sn_tokenizer_free(tokenizer);
    return result;
}

static int train(sn_context *context, size_t vocabulary, const char *directory, const char *source,
                 const char *suffix, const char *required)
{
    sn_corpus *corpus = NULL;
    sn_tokenizer *tokenizer = NULL;
    sn_options *options = NULL;
    int status = sn_corpus_create(&corpus, context);
    if (status == SN_OK)
        status = sn_corpus_add_directory(corpus, context, source, suffix, 0, 0);
    if (status == SN_OK)
        status = sn_options_create(&options, context);
    if (status == SN_OK && required)
        status = sn_options_set_text(options, context, "required", required);
    double start = seconds();
    if (status == SN_OK)
        status = sn_tokenizer_train(&tokenizer, context, corpus, vocabulary, options);
    if (status == SN_OK)
        fprintf(stderr, "%zu documents, %zu tokens, trained in %.2f s\n", sn_corpus_count(corpus),
                sn_tokenizer_size(tokenizer), seconds() - start);
    if (status == SN_OK)
        status = sn_tokenizer_save(tokenizer, context, directory);
    int result = status != SN_OK ? complain(context, status) : 0;
    sn_options_free(options);
    sn_corpus_free(corpus);
    sn_tokenizer_free(tokenizer);
    return result;
}

int main(int argc, char **argv)
{
    sn_context *context = NULL;
    int result = 2, training = argc > 1 && strcmp(argv[1], "--train") == 0;
    if (sn_context_create(&context, NULL) != SN_OK)
        return 1;
    if (training && (argc == 6 || argc == 7))
        result =
            train(context, (size_t)atol(argv[2]), argv[3], argv[4], argv[5], argc == 7 ? argv[6] : NULL);
    else if (!training && (argc == 3 || argc == 4))
        result = encode(context, argv[1], argv[2], argc == 4 ? argv[3] : NULL);
    else
        fprintf(stderr, "usage: tokenize TOKENIZER FILE [OUTPUT]\n"
                        "       tokenize --train VOCABULARY DIRECTORY SOURCE SUFFIX [REQUIRED]\n");
    sn_context_free(context);
    return result;
}
