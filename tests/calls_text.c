/* Calls of tokenizers, corpora, tasks and generated Python. */
#include <string.h>

#include "calls.h"
#include "world_objects.h"

#define TEXTS OBJECT(sn_corpus, O_TEXTS)
#define RAW OBJECT(sn_corpus, O_RAW)
#define TOKENS OBJECT(sn_corpus, O_TOKENS)
#define SOURCE OBJECT(sn_corpus, O_SOURCE)
#define FRESH OBJECT(sn_task, O_FRESH)

static const char text[] = "for i in x:\n    print('a')\n";

#define FREE_CALL(type, object)                                                                         \
    static int free_##type(struct world *w)                                                             \
    {                                                                                                   \
        sn_##type##_free(w->objects[object]);                                                           \
        w->objects[object] = NULL;                                                                      \
        return SN_OK;                                                                                   \
    }
FREE_CALL(tokenizer, O_TOKENIZER)
FREE_CALL(corpus, O_TEXTS)
FREE_CALL(task, O_TASK)

static int token_text(struct world *w)
{
    const char *bytes = sn_tokenizer_token(&w->out.sizes[0], TOKENIZER, 300);
    return keep_bytes(w, bytes, w->out.sizes[0]);
}

static int corpus_text(struct world *w)
{
    const char *bytes = sn_corpus_text(&w->out.sizes[0], TEXTS, 1);
    return keep_bytes(w, bytes, w->out.sizes[0]);
}

static int corpus_tokens(struct world *w)
{
    const int32_t *tokens = sn_corpus_tokens(&w->out.sizes[0], TEXTS, 1);
    return keep_bytes(w, tokens, w->out.sizes[0] * sizeof *tokens);
}

static int two_documents(const char **document, size_t *length, void *payload)
{
    size_t *n = payload;
    *document = text;
    *length = sizeof text - 1;
    return (*n)++ < 2;
}

static int add_documents(struct world *w)
{
    size_t n = 0;
    return sn_corpus_add_documents(RAW, CONTEXT, two_documents, &n);
}

static int task_pair(struct world *w)
{
    const int32_t *a, *b;
    int status = sn_task_pair(&a, &w->out.sizes[0], &b, &w->out.sizes[1], &w->out.tokens[0],
                              &w->out.tokens[1], TASK, 1);
    return status == SN_OK ? keep_bytes(w, a, w->out.sizes[0] * sizeof *a) : status;
}

#define CALLS(X)                                                                                        \
    X(sn_tokenizer_load, "", 0, 0, READS,                                                               \
      sn_tokenizer_load(MADE(sn_tokenizer, O_TOKENIZER), CONTEXT, FROM("tokenizer")))                   \
    X(sn_tokenizer_train, "", B(TEXTS), 0, CANCELS,                                                     \
      sn_tokenizer_train(MADE(sn_tokenizer, O_TOKENIZER), CONTEXT, TEXTS, 262, OPTIONS))                \
    X(sn_tokenizer_save, "", 0, B(TOKENIZER), WRITES,                                                   \
      sn_tokenizer_save(TOKENIZER, CONTEXT, TO("tokenizer")))                                           \
    X(sn_tokenizer_free, "", B(TOKENIZER), 0, ALLOCATES_NOTHING, free_tokenizer(w))                     \
    X(sn_tokenizer_size, "", B(TOKENIZER), 0, ALLOCATES_NOTHING, NUMBER(sn_tokenizer_size(TOKENIZER)))  \
    X(sn_tokenizer_token, "", B(TOKENIZER), 0, ALLOCATES_NOTHING, token_text(w))                        \
    X(sn_tokenizer_find, "", B(TOKENIZER), 0, ALLOCATES_NOTHING,                                        \
      NUMBER(sn_tokenizer_find(TOKENIZER, "for", 3)))                                                   \
    X(sn_tokenizer_encode, "", 0, B(TOKENIZER), 0,                                                      \
      sn_tokenizer_encode(TOKENS_OUT, CONTEXT, TOKENIZER, text, sizeof text - 1))                       \
    X(sn_tokenizer_decode, "", B(TOKENIZER), 0, ALLOCATES_NOTHING,                                      \
      sn_tokenizer_decode(BYTES, CONTEXT, TOKENIZER, world_tokens, 7))                                  \
    X(sn_corpus_create, "", 0, 0, 0, sn_corpus_create(MADE(sn_corpus, O_RAW), CONTEXT))                 \
    X(sn_corpus_free, "", B(TEXTS), 0, ALLOCATES_NOTHING, free_corpus(w))                               \
    X(sn_corpus_add_text, "", 0, B(RAW), 0, sn_corpus_add_text(RAW, CONTEXT, text, sizeof text - 1))    \
    X(sn_corpus_add_tokens, "", 0, B(TOKENS), 0,                                                        \
      sn_corpus_add_tokens(TOKENS, CONTEXT, world_tokens, 7))                                           \
    X(sn_corpus_add_directory, "", 0, B(RAW), READS | CANCELS,                                          \
      sn_corpus_add_directory(RAW, CONTEXT, FROM("texts"), ".py", 0, 0))                                \
    X(sn_corpus_add_token_file, "", 0, B(TOKENS), READS,                                                \
      sn_corpus_add_token_file(TOKENS, CONTEXT, FROM("tokens"), 2))                                     \
    X(sn_corpus_add_documents, "", 0, B(RAW), PARTLY_DONE | APPENDS, add_documents(w))                  \
    X(sn_corpus_count, "", B(TEXTS), 0, ALLOCATES_NOTHING, NUMBER(sn_corpus_count(TEXTS)))              \
    X(sn_corpus_text, "", B(TEXTS), 0, ALLOCATES_NOTHING, corpus_text(w))                               \
    X(sn_corpus_tokens, "", B(TEXTS), 0, ALLOCATES_NOTHING, corpus_tokens(w))                           \
    X(sn_corpus_token_count, "", B(TEXTS), 0, ALLOCATES_NOTHING, NUMBER(sn_corpus_token_count(TEXTS)))  \
    X(sn_corpus_split, "", 0, B(TEXTS), 0,                                                              \
      sn_corpus_split(MADE(sn_corpus, O_TEXTS), TEXTS, CONTEXT, 0.34, 3))                               \
    X(sn_corpus_tokenize, "", B(TOKENIZER), B(RAW), CANCELS,                                            \
      sn_corpus_tokenize(RAW, CONTEXT, TOKENIZER))                                                      \
    X(sn_corpus_sample, "", B(TOKENS), 0, ALLOCATES_NOTHING,                                            \
      sn_corpus_sample(OUT.tokens, OUT.more_tokens, OUT.sizes, TOKENS, CONTEXT, 3, 8, 1, 2))            \
    X(sn_task_create, "", 0, 0, 0, sn_task_create(MADE(sn_task, O_TASK), CONTEXT, "name"))              \
    X(sn_task_free, "", B(TASK), 0, ALLOCATES_NOTHING, free_task(w))                                    \
    X(sn_task_name, "", B(TASK), 0, ALLOCATES_NOTHING, TEXT(sn_task_name(TASK)))                        \
    X(sn_task_add_pair, "", 0, B(NEW_TASK), KEEPS_MEMORY,                                               \
      sn_task_add_pair(OBJECT(sn_task, O_NEW_TASK), CONTEXT, world_tokens, 4, world_tokens + 4, 3, 4,   \
                       5))                                                                              \
    X(sn_task_add_text_pair, "", B(TOKENIZER), B(TASK), 0,                                              \
      sn_task_add_text_pair(TASK, CONTEXT, TOKENIZER, "f(x", "[x", ")", "]"))                           \
    X(sn_task_load_jsonl, "", 0, 0, READS | CANCELS,                                                    \
      sn_task_load_jsonl(MADE(sn_task, O_TASK), CONTEXT, NULL, FROM("task.jsonl")))                     \
    X(sn_task_save_jsonl, "", B(TOKENIZER), B(TASK), WRITES,                                            \
      sn_task_save_jsonl(TASK, CONTEXT, TOKENIZER, TO("task.jsonl")))                                   \
    X(sn_task_count, "", B(TASK), 0, ALLOCATES_NOTHING, NUMBER(sn_task_count(TASK)))                    \
    X(sn_task_pair, "", B(TASK), 0, ALLOCATES_NOTHING, task_pair(w))                                    \
    X(sn_python_add_idioms, "seed=3", 0, B(RAW), PARTLY_DONE | APPENDS,                                 \
      sn_python_add_idioms(RAW, CONTEXT, 600, OPTIONS))                                                 \
    X(sn_python_task_count, "", 0, 0, ALLOCATES_NOTHING, NUMBER(sn_python_task_count()))                \
    X(sn_python_task_name, "", 0, 0, ALLOCATES_NOTHING, TEXT(sn_python_task_name(2)))                   \
    X(sn_python_required_tokens, "", 0, 0, ALLOCATES_NOTHING, TEXT(sn_python_required_tokens()))        \
    X(sn_python_task, "max_tokens=400", B(TOKENIZER), 0, 0,                                             \
      sn_python_task(MADE(sn_task, O_TASK), CONTEXT, TOKENIZER, "for_while", 2, OPTIONS))               \
    X(sn_python_check_fresh, "", B(TOKENIZER) | B(FRESH) | B(RAW), 0, 0,                                \
      sn_python_check_fresh(OUT.sizes, CONTEXT, TOKENIZER, FRESH, RAW))                                 \
    X(sn_python_quote_lines, "min_tokens=1", B(TOKENIZER) | B(SOURCE), 0, 0,                            \
      sn_python_quote_lines(MADE(sn_task, O_TASK), CONTEXT, TOKENIZER, SOURCE, ")", 2, OPTIONS))

DEFINE_TABLE(calls_text, CALLS)
