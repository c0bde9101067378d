/* Tokenizers and corpora. */
#include <string.h>

#include "play.h"
#include "world_objects.h"

/* ---------------------------------------------------------------- tokenizers */

static int train_tokenizer(void)
{
    const size_t size = amount(256, 300);
    return sn_tokenizer_train(SLOT(tokenizer, K_TOKENIZER), C, TEXTS,
                              size > 1000 && size < SIZE_MAX / 2 ? 255 : size,
                              settings(chance(50) ? "" : "required:=for|a\\n|x"));
}

static int save_tokenizer(void)
{
    return sn_tokenizer_save(TOKENIZER, C, to_file());
}

static int free_tokenizer(void)
{
    sn_tokenizer_free(play_take(K_TOKENIZER));
    return SN_OK;
}

static int tokenizer_token(void)
{
    size_t length = 0;
    const char *bytes =
        sn_tokenizer_token(odd() ? NULL : &length, TOKENIZER, odd() ? token() : (int32_t)draw(256));
    return answer_bytes(bytes, length);
}

/* Without a NUL behind them. */
static const char *some_bytes(size_t *length)
{
    const char *words = text();
    *length = words ? strlen(words) : draw(2);
    char *bytes = block(*length);
    if (words && *length)
        memcpy(bytes, words, *length);
    return words ? bytes : NULL;
}

static int find_token(void)
{
    size_t length;
    const char *bytes = chance(70) ? ONE_OF("a", "f", "=", "x", "\n") : text();
    length = bytes ? strlen(bytes) : draw(2);
    return sn_tokenizer_find(TOKENIZER, bytes, length) < 0 ? NO_ANSWER : SN_OK;
}

static int encode(void)
{
    size_t length;
    sn_context *context = C;
    const sn_tokenizer *tokenizer = TOKENIZER;
    const char *bytes = some_bytes(&length);
    return SIZED(int32_t, sn_tokenizer_encode(out, capacity, needed, context, tokenizer, bytes, length));
}

static int decode(void)
{
    const size_t n = draw(9);
    sn_context *context = C;
    const sn_tokenizer *tokenizer = TOKENIZER;
    const int32_t *ids = tokens(n);
    return SIZED(char, sn_tokenizer_decode(out, capacity, needed, context, tokenizer, ids, n));
}

/* --------------------------------------------------------------------- corpora */

enum what { TEXT_DOCUMENTS, TOKEN_DOCUMENTS };

/* One that has, or may have, such documents, as far as politeness goes, and does not grow for ever. */
static sn_corpus *to_change(enum what what)
{
    sn_corpus *corpus = NULL;
    for (int i = 0; i < 8; i++) {
        size_t length;
        corpus = CHANGE(corpus, K_CORPUS);
        if (!corpus || !play.polite)
            break;
        if (sn_corpus_count(corpus) == 0 ||
            !sn_corpus_text(&length, corpus, 0) == (what == TOKEN_DOCUMENTS))
            break;
    }
    return corpus && sn_corpus_count(corpus) > 60 ? NULL : corpus;
}

static int free_corpus(void)
{
    sn_corpus_free(play_take(K_CORPUS));
    return SN_OK;
}

static int add_text(void)
{
    size_t length;
    const char *bytes = some_bytes(&length);
    return sn_corpus_add_text(to_change(TEXT_DOCUMENTS), C, bytes, length);
}

static int add_tokens(void)
{
    const size_t n = draw(20);
    return sn_corpus_add_tokens(to_change(TOKEN_DOCUMENTS), C, tokens(n), n);
}

static int add_directory(void)
{
    return sn_corpus_add_directory(to_change(TEXT_DOCUMENTS), C, from_file("texts"),
                                   ONE_OF(".py", "", "y"), amount(0, 40), amount(0, 90));
}

static int add_token_file(void)
{
    return sn_corpus_add_token_file(to_change(TOKEN_DOCUMENTS), C, from_file("tokens"),
                                    chance(50) ? 2 : amount(2, 4));
}

static int some_documents(const char **document, size_t *length, void *payload)
{
    size_t *n = payload;
    *document = odd() ? NULL : "while x:\n    y = x\n";
    *length = *document || chance(50) ? (odd() ? 0 : 19) : 0;
    if (*document && *length > 19)
        *length = 19;
    return *n == 0 ? (odd() ? -1 : 0) : (int)(*n)--;
}

static int add_documents(void)
{
    size_t n = draw(4);
    return sn_corpus_add_documents(to_change(TEXT_DOCUMENTS), C, odd() ? NULL : some_documents, &n);
}

static int corpus_text(void)
{
    size_t length = 0;
    const char *bytes = sn_corpus_text(odd() ? NULL : &length, TEXTS, amount(0, 2));
    return answer_bytes(bytes, length);
}

static int corpus_tokens(void)
{
    size_t n = 0;
    const int32_t *ids = sn_corpus_tokens(odd() ? NULL : &n, TOKENS, amount(0, 2));
    return answer_bytes(ids, n * sizeof *ids);
}

static int split(void)
{
    return sn_corpus_split(SLOT(corpus, K_CORPUS), CHANGE(corpus, K_CORPUS), C, real(0.2, 0.8),
                           any_seed());
}

static int tokenize(void)
{
    return sn_corpus_tokenize(to_change(TEXT_DOCUMENTS), C, TOKENIZER);
}

static int sample(void)
{
    const size_t n = few(1, 4), window = few(1, 9);
    int32_t *inputs = block(n * window * sizeof *inputs), *targets = block(n * window * sizeof *targets);
    size_t *lengths = block(n * sizeof *lengths);
    return sn_corpus_sample(odd() ? NULL : inputs, odd() ? NULL : targets, odd() ? NULL : lengths,
                            TOKENS, C, n, window, any_seed(), odd() ? UINT64_MAX : draw(9));
}

#define ROWS(X)                                                                                         \
    X(sn_tokenizer_load, DEAR,                                                                          \
      sn_tokenizer_load(SLOT(tokenizer, K_TOKENIZER), C, from_file("tokenizer")))                       \
    X(sn_tokenizer_train, FAIR, train_tokenizer())                                                      \
    X(sn_tokenizer_save, FAIR, save_tokenizer())                                                        \
    X(sn_tokenizer_free, FAIR, free_tokenizer())                                                        \
    X(sn_tokenizer_size, CHEAP, answer_number((double)sn_tokenizer_size(TOKENIZER)))                    \
    X(sn_tokenizer_token, CHEAP, tokenizer_token())                                                     \
    X(sn_tokenizer_find, CHEAP, find_token())                                                           \
    X(sn_tokenizer_encode, CHEAP, encode())                                                             \
    X(sn_tokenizer_decode, CHEAP, decode())                                                             \
    X(sn_corpus_create, CHEAP, sn_corpus_create(SLOT(corpus, K_CORPUS), C))                             \
    X(sn_corpus_free, CHEAP, free_corpus())                                                             \
    X(sn_corpus_add_text, CHEAP, add_text())                                                            \
    X(sn_corpus_add_tokens, CHEAP, add_tokens())                                                        \
    X(sn_corpus_add_directory, FAIR, add_directory())                                                   \
    X(sn_corpus_add_token_file, FAIR, add_token_file())                                                 \
    X(sn_corpus_add_documents, CHEAP, add_documents())                                                  \
    X(sn_corpus_count, CHEAP, answer_number((double)sn_corpus_count(TOKENS)))                           \
    X(sn_corpus_text, CHEAP, corpus_text())                                                             \
    X(sn_corpus_tokens, CHEAP, corpus_tokens())                                                         \
    X(sn_corpus_token_count, CHEAP, answer_number((double)sn_corpus_token_count(TOKENS)))               \
    X(sn_corpus_split, CHEAP, split())                                                                  \
    X(sn_corpus_tokenize, FAIR, tokenize())                                                             \
    X(sn_corpus_sample, CHEAP, sample())

DEFINE_ROWS(rows_text, ROWS)
