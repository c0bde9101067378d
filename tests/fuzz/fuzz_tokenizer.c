/* A tokenizer's files: encoder.json, a NUL, vocab.bpe; without a NUL, tokenizer.json. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOST_TOKENS 512

/* A folder for each form: nothing has to be taken away for the other. Returns the folder, lent until the next call. */
static const char *folder(const char *form, const char *what)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s-%s", fuzz_folder(), what, form);
    (void)mkdir(path, 0700);
    return path;
}

static const char *write_files(const uint8_t *data, size_t size)
{
    const uint8_t *rest;
    size_t n_rest;
    const size_t n_first = fuzz_split(&rest, &n_rest, data, size);
    const char *path = folder(rest ? "bpe" : "json", "given");
    if (rest) {
        fuzz_write("given-bpe/encoder.json", data, n_first);
        fuzz_write("given-bpe/vocab.bpe", rest, n_rest);
    } else {
        fuzz_write("given-json/tokenizer.json", data, size);
    }
    return path;
}

/* Returns whether the text was encoded, into at most MOST_TOKENS. */
static int encode(int32_t *tokens, size_t *n, const sn_tokenizer *tokenizer, sn_context *context,
                  const char *text, size_t length)
{
    const int status = sn_tokenizer_encode(tokens, MOST_TOKENS, n, context, tokenizer, text, length);
    fuzz_check(status, context);
    return status == SN_OK && *n <= MOST_TOKENS;
}

/* Whatever was accepted gives every text that it encodes back, byte for byte; saved and loaded again (NULL: not so)
 * it encodes alike. */
static void check_text(const sn_tokenizer *tokenizer, const sn_tokenizer *again, sn_context *context,
                       const char *text, size_t length)
{
    int32_t tokens[MOST_TOKENS], tokens_again[MOST_TOKENS];
    char back[4096];
    size_t n, n_again, n_back;
    if (!encode(tokens, &n, tokenizer, context, text, length))
        return;
    const int status = sn_tokenizer_decode(back, sizeof back, &n_back, context, tokenizer, tokens, n);
    if (status != SN_OK || n_back != length || memcmp(text, back, length) != 0)
        abort();
    if (again && encode(tokens_again, &n_again, again, context, text, length) &&
        (n_again != n || memcmp(tokens, tokens_again, n * sizeof *tokens) != 0))
        abort();
}

/* Saved and loaded again; NULL where memory or the form did not allow that. */
static sn_tokenizer *save_and_load(const sn_tokenizer *tokenizer, sn_context *context, int has_nul)
{
    sn_tokenizer *again;
    const char *path = folder(has_nul ? "bpe" : "json", "saved");
    int status = sn_tokenizer_save(tokenizer, context, path);
    fuzz_check(status, context);
    if (status != SN_OK)
        return NULL;
    status = sn_tokenizer_load(&again, context, path);
    if (status == SN_OK ? sn_tokenizer_size(again) != sn_tokenizer_size(tokenizer)
                        : status != SN_ERROR_MEMORY)
        abort(); /* what the library writes it must read */
    return again;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char line[] = "for i in range(10):\n    f('x')\xff\n";
    sn_context *context = fuzz_context(16);
    sn_tokenizer *tokenizer;
    fuzz_check(sn_tokenizer_load(&tokenizer, context, write_files(data, size)), context);
    if (tokenizer) {
        sn_tokenizer *again = save_and_load(tokenizer, context, size && memchr(data, 0, size) != NULL);
        check_text(tokenizer, again, context, (const char *)data, size < 256 ? size : 256);
        check_text(tokenizer, again, context, line, sizeof line - 1);
        sn_tokenizer_free(again);
    }
    sn_tokenizer_free(tokenizer);
    sn_context_free(context);
    return 0;
}
