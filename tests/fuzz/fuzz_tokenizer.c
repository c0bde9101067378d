/* A tokenizer's files: encoder.json, a NUL, vocab.bpe; without a NUL, tokenizer.json. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void write_files(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"encoder.json", "vocab.bpe", "tokenizer.json"};
    const uint8_t *rest;
    size_t n_rest;
    const size_t n_first = fuzz_split(&rest, &n_rest, data, size);
    for (size_t i = 0; i < 3; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", fuzz_folder(), names[i]);
        unlink(path);
    }
    if (rest) {
        fuzz_write("encoder.json", data, n_first);
        fuzz_write("vocab.bpe", rest, n_rest);
    } else {
        fuzz_write("tokenizer.json", data, size);
    }
}

/* Whatever was accepted gives every text that it encodes back, byte for byte. */
static void round_trip(const sn_tokenizer *tokenizer, sn_context *context, const char *text,
                       size_t length)
{
    int32_t tokens[512];
    char back[4096];
    size_t n_tokens, n_back;
    int status = sn_tokenizer_encode(tokens, 512, &n_tokens, context, tokenizer, text, length);
    fuzz_check(status, context);
    if (status != SN_OK || n_tokens > 512)
        return;
    status = sn_tokenizer_decode(back, sizeof back, &n_back, context, tokenizer, tokens, n_tokens);
    if (status != SN_OK || n_back != length || memcmp(text, back, length) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sn_context *context = fuzz_context(64);
    sn_tokenizer *tokenizer;
    write_files(data, size);
    fuzz_check(sn_tokenizer_load(&tokenizer, context, fuzz_folder()), context);
    if (tokenizer) {
        round_trip(tokenizer, context, (const char *)data, size < 256 ? size : 256);
        round_trip(tokenizer, context, "for i in range(10):\n    f('x')\xff\n", 33);
    }
    sn_tokenizer_free(tokenizer);
    sn_context_free(context);
    return 0;
}
