/* Corpora: documents from every source, splitting, tokenising on any number of threads, windows. */
#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/context.h"
#include "base/random.h"
#include "text/corpus.h"
#include "text/tokenizer.h"
#include "fixture.h"

static sn_corpus *corpus;

static void setup(void)
{
    fixture_setup();
    ck_assert_int_eq(sn_corpus_create(&corpus, context), SN_OK);
}

static void teardown(void)
{
    sn_corpus_free(corpus);
    fixture_teardown();
}

static void add_text(const char *text)
{
    ck_assert_int_eq(sn_corpus_add_text(corpus, context, text, strlen(text)), SN_OK);
}

static void expect_text(size_t index, const char *text, size_t length)
{
    size_t n;
    const char *lent = sn_corpus_text(&n, corpus, index);
    ck_assert_ptr_nonnull(lent);
    ck_assert_uint_eq(n, length);
    ck_assert_int_eq(memcmp(lent, text, length), 0);
}

static void expect_message(int got, int status, const char *part)
{
    ck_assert_msg(got == status, "%d: %s", got, sn_context_message(context));
    ck_assert_msg(strstr(sn_context_message(context), part) != NULL, "\"%s\" wants \"%s\"",
                  sn_context_message(context), part);
}

/* A corpus of n documents of idioms with the document's number in them; some are empty or tiny. */
static void add_many(size_t n)
{
    char text[4096];
    for (size_t d = 0; d < n; d++) {
        size_t length = 0;
        for (size_t line = 0; line < d % 23; line++)
            length += (size_t)snprintf(text + length, sizeof text - length,
                                       "def name_%zu(value):\n    return value + [%zu, %zu]\n\n", d,
                                       line, d * line);
        if (d % 7 == 3)
            length = d % 3; /* 0, 1 or 2 bytes */
        ck_assert_int_eq(sn_corpus_add_text(corpus, context, text, length), SN_OK);
    }
}

static sn_tokenizer *train(size_t vocabulary_size)
{
    sn_tokenizer *tokenizer;
    ck_assert_msg(sn_tokenizer_train(&tokenizer, context, corpus, vocabulary_size, NULL) == SN_OK, "%s",
                  sn_context_message(context));
    return tokenizer;
}

START_TEST(text_documents)
{
    size_t n = 5;
    ck_assert_uint_eq(sn_corpus_count(corpus), 0);
    ck_assert_ptr_null(sn_corpus_text(&n, corpus, 0));
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(sn_corpus_add_text(corpus, context, "a\0b\xFF", 4), SN_OK);
    ck_assert_int_eq(sn_corpus_add_text(corpus, context, NULL, 0), SN_OK);
    ck_assert_uint_eq(sn_corpus_count(corpus), 2);
    expect_text(0, "a\0b\xFF", 4);
    expect_text(1, "", 0);
    ck_assert_ptr_null(sn_corpus_tokens(&n, corpus, 0));
    ck_assert_uint_eq(sn_corpus_token_count(corpus), 0);
    int32_t token = 1;
    expect_message(sn_corpus_add_tokens(corpus, context, &token, 1), SN_ERROR_STATE, "holds texts");
    expect_message(sn_corpus_add_text(corpus, context, NULL, 3), SN_ERROR_ARGUMENT, "text is NULL");
    ck_assert_int_eq(sn_corpus_add_text(corpus, NULL, "a", 1), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_corpus_create(NULL, context), SN_ERROR_ARGUMENT);
    sn_corpus *none = corpus;
    ck_assert_int_eq(sn_corpus_create(&none, NULL), SN_ERROR_ARGUMENT);
    ck_assert_ptr_null(none);
}
END_TEST

START_TEST(token_arrays)
{
    static const int32_t tokens[] = {5, 0, INT32_MAX}, bad[] = {1, 2, -3};
    size_t n;
    ck_assert_int_eq(sn_corpus_add_tokens(corpus, context, tokens, 3), SN_OK);
    ck_assert_int_eq(sn_corpus_add_tokens(corpus, context, NULL, 0), SN_OK);
    ck_assert_int_eq(sn_corpus_add_tokens(corpus, context, tokens, 2), SN_OK);
    expect_message(sn_corpus_add_tokens(corpus, context, bad, 3), SN_ERROR_ARGUMENT, "tokens[2] is -3");
    expect_message(sn_corpus_add_text(corpus, context, "a", 1), SN_ERROR_STATE, "holds tokens");
    ck_assert_uint_eq(sn_corpus_count(corpus), 3);
    ck_assert_uint_eq(sn_corpus_token_count(corpus), 5);
    ck_assert_int_eq(memcmp(sn_corpus_tokens(&n, corpus, 0), tokens, sizeof tokens), 0);
    ck_assert_uint_eq(n, 3);
    ck_assert_ptr_null(sn_corpus_text(&n, corpus, 0));
    ck_assert_ptr_null(sn_corpus_tokens(&n, corpus, 3));
}
END_TEST

/* A call that fails leaves a corpus that still takes either kind. */
START_TEST(failed_first_call_fixes_no_kind)
{
    static const int32_t bad[] = {-1}, good[] = {1, 2};
    ck_assert_int_eq(sn_corpus_add_tokens(corpus, context, bad, 1), SN_ERROR_ARGUMENT);
    temporary_write(&temporary, "t", "\x01\x02\x03", 3);
    ck_assert_int_eq(sn_corpus_add_token_file(corpus, context, temporary_path(&temporary, "t"), 2),
                     SN_ERROR_FORMAT);
    ck_assert_int_eq(sn_corpus_add_directory(corpus, context, "/nonexistent", "", 0, 0), SN_ERROR_IO);
    ck_assert_int_eq(sn_corpus_add_tokens(corpus, context, good, 2), SN_OK);
}
END_TEST

START_TEST(token_files)
{
    size_t n;
    enum { COUNT = 70000 };
    unsigned char *bytes = malloc(4 * COUNT);
    for (uint32_t i = 0; i < COUNT; i++)
        for (uint32_t b = 0; b < 4; b++)
            bytes[4 * i + b] = (unsigned char)(i * 3 >> 8 * b);
    temporary_write(&temporary, "u32", bytes, 4 * COUNT);
    const char *path = temporary_path(&temporary, "u32");
    ck_assert_int_eq(sn_corpus_add_token_file(corpus, context, path, 4), SN_OK);
    ck_assert_int_eq(sn_corpus_add_token_file(corpus, context, path, 2), SN_OK);
    const int32_t *tokens = sn_corpus_tokens(&n, corpus, 0);
    ck_assert_uint_eq(n, COUNT);
    for (int32_t i = 0; i < COUNT; i++)
        ck_assert_int_eq(tokens[i], 3 * i);
    tokens = sn_corpus_tokens(&n, corpus, 1);
    ck_assert_uint_eq(n, 2 * COUNT);
    for (int32_t i = 0; i < COUNT; i++) {
        ck_assert_int_eq(tokens[2 * i], 3 * i & 0xFFFF);
        ck_assert_int_eq(tokens[2 * i + 1], 3 * i >> 16);
    }
    ck_assert_uint_eq(sn_corpus_token_count(corpus), 3 * COUNT);
    bytes[4 * 50000 + 3] = 0x80;
    temporary_write(&temporary, "u32", bytes, 4 * COUNT);
    expect_message(sn_corpus_add_token_file(corpus, context, path, 4), SN_ERROR_FORMAT,
                   "token 50000 is 2147");
    temporary_write(&temporary, "u32", bytes, 6);
    expect_message(sn_corpus_add_token_file(corpus, context, path, 4), SN_ERROR_FORMAT, "6 bytes");
    temporary_write(&temporary, "u32", bytes, 0);
    expect_message(sn_corpus_add_token_file(corpus, context, path, 4), SN_ERROR_FORMAT, "0 bytes");
    expect_message(sn_corpus_add_token_file(corpus, context, path, 3), SN_ERROR_ARGUMENT,
                   "bytes_per_token is 3");
    expect_message(sn_corpus_add_token_file(corpus, context, "/nonexistent", 2), SN_ERROR_IO,
                   "/nonexistent");
    ck_assert_uint_eq(sn_corpus_count(corpus), 2);
    ck_assert_uint_eq(sn_corpus_token_count(corpus), 3 * COUNT);
    free(bytes);
}
END_TEST

static struct temporary temporary_inner(const char *name)
{
    struct temporary inner;
    size_t n = strlen(temporary.folder), m = strlen(name);
    ck_assert_uint_lt(n + m + 1, sizeof inner.folder);
    memcpy(inner.folder, temporary.folder, n);
    inner.folder[n] = '/';
    memcpy(inner.folder + n + 1, name, m + 1);
    return inner;
}

static void make_tree(void)
{
    static const char *const folders[] = {"b", "b/deep", "a", "a/empty"};
    static const char *const files[] = {"z.py",       "b/two.py", "b/one.py", "b/deep/three.py",
                                        "a/skip.txt", "b.py"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        ck_assert_int_eq(mkdir(temporary_path(&temporary, folders[i]), 0755), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        temporary_write(&temporary, files[i], files[i], strlen(files[i]));
    temporary_write(&temporary, "a/empty.py", "", 0);
    temporary_write(&temporary, "a/large.py", "0123456789012345678901234567890123456789", 40);
    ck_assert_int_eq(symlink("../z.py", temporary_path(&temporary, "a/link.py")), 0);
    ck_assert_int_eq(symlink("..", temporary_path(&temporary, "a/loop")), 0);
}

static void remove_tree(void)
{
    static const char *const folders[] = {"b/deep", "a/empty", "b", "a"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        struct temporary inner = temporary_inner(folders[i]);
        temporary_remove(&inner);
    }
}

START_TEST(directories)
{
    /* By path: "b.py" stands before "b/...", since '.' < '/'. */
    static const char *const expected[] = {"b.py", "b/deep/three.py", "b/one.py", "b/two.py", "z.py"};
    make_tree();
    ck_assert_int_eq(sn_corpus_add_directory(corpus, context, temporary.folder, ".py", 39, 0), SN_OK);
    ck_assert_uint_eq(sn_corpus_count(corpus), 5);
    for (size_t i = 0; i < 5; i++)
        expect_text(i, expected[i], strlen(expected[i]));
    ck_assert_int_eq(sn_corpus_add_directory(corpus, context, temporary.folder, ".py", 0, 0), SN_OK);
    ck_assert_uint_eq(sn_corpus_count(corpus), 11);
    expect_text(5, "0123456789012345678901234567890123456789", 40);
    /* b.py 4 + three 15 = 19 bytes; one.py would make it 27. */
    ck_assert_int_eq(sn_corpus_add_directory(corpus, context, temporary.folder, ".py", 39, 26), SN_OK);
    ck_assert_uint_eq(sn_corpus_count(corpus), 13);
    ck_assert_int_eq(sn_corpus_add_directory(corpus, context, temporary.folder, ".txt", 0, 0), SN_OK);
    ck_assert_uint_eq(sn_corpus_count(corpus), 14);
    ck_assert_int_eq(sn_corpus_add_directory(corpus, context, temporary.folder, ".none", 0, 0), SN_OK);
    ck_assert_uint_eq(sn_corpus_count(corpus), 14);
    expect_message(
        sn_corpus_add_directory(corpus, context, temporary_path(&temporary, "z.py"), "", 0, 0),
        SN_ERROR_IO, "z.py");
    expect_message(sn_corpus_add_directory(corpus, context, NULL, "", 0, 0), SN_ERROR_ARGUMENT,
                   "directory is NULL");
    expect_message(sn_corpus_add_directory(corpus, context, "/", NULL, 0, 0), SN_ERROR_ARGUMENT,
                   "suffix is NULL");
    remove_tree();
}
END_TEST

struct counted {
    size_t calls, cancel_at;
};

static int count_progress(const char *stage, size_t done, size_t total, double value, void *payload)
{
    struct counted *counted = payload;
    (void)stage;
    (void)value;
    ck_assert_uint_le(done, total);
    return ++counted->calls == counted->cancel_at;
}

START_TEST(cancelled_directory_adds_nothing)
{
    make_tree();
    add_text("before");
    for (size_t at = 1;; at++) {
        struct counted counted = {0, at};
        sn_context_set_progress(context, count_progress, &counted);
        int status = sn_corpus_add_directory(corpus, context, temporary.folder, ".py", 39, 0);
        if (counted.calls < at) {
            ck_assert_int_eq(status, SN_OK);
            ck_assert_uint_gt(at, 3);
            break;
        }
        ck_assert_int_eq(status, SN_ERROR_CANCELLED);
        ck_assert_uint_eq(sn_corpus_count(corpus), 1);
    }
    ck_assert_uint_eq(sn_corpus_count(corpus), 6);
    remove_tree();
}
END_TEST

struct source {
    int n, end;
    const char *text;
};

static int pull(const char **text, size_t *length, void *payload)
{
    struct source *source = payload;
    if (source->n-- == 0)
        return source->end;
    *text = source->text;
    *length = 3;
    return 1;
}

START_TEST(callbacks)
{
    struct source source = {4, 0, "a\0b"};
    ck_assert_int_eq(sn_corpus_add_documents(corpus, context, pull, &source), SN_OK);
    ck_assert_uint_eq(sn_corpus_count(corpus), 4);
    expect_text(3, "a\0b", 3);
    source = (struct source){4, -1, "abc"};
    ck_assert_int_eq(sn_corpus_add_documents(corpus, context, pull, &source), SN_ERROR_CANCELLED);
    source = (struct source){2, 0, NULL};
    expect_message(sn_corpus_add_documents(corpus, context, pull, &source), SN_ERROR_ARGUMENT,
                   "length 3");
    expect_message(sn_corpus_add_documents(corpus, context, NULL, NULL), SN_ERROR_ARGUMENT, "callback");
    ck_assert_uint_eq(sn_corpus_count(corpus), 4);
}
END_TEST

/* Which of 40 numbered documents go, as a bit mask; order kept on both sides, nothing lost. */
static uint64_t split_mask(double share, uint64_t seed)
{
    sn_corpus *numbers, *validation;
    uint64_t mask[2] = {0, 0};
    ck_assert_int_eq(sn_corpus_create(&numbers, context), SN_OK);
    for (char d = 0; d < 40; d++)
        ck_assert_int_eq(sn_corpus_add_text(numbers, context, &d, 1), SN_OK);
    ck_assert_int_eq(sn_corpus_split(&validation, numbers, context, share, seed), SN_OK);
    for (int side = 0; side < 2; side++) {
        const sn_corpus *part = side ? validation : numbers;
        int last = -1;
        for (size_t i = 0; i < sn_corpus_count(part); i++) {
            int number = sn_corpus_text(NULL, part, i)[0];
            ck_assert_int_gt(number, last);
            last = number;
            mask[side] |= (uint64_t)1 << number;
        }
    }
    ck_assert(mask[0] + mask[1] == ((uint64_t)1 << 40) - 1);
    sn_corpus_free(numbers);
    sn_corpus_free(validation);
    return mask[1];
}

START_TEST(splits)
{
    uint64_t mask = split_mask(0.25, 1);
    ck_assert_int_eq(__builtin_popcountll(mask), 10);
    ck_assert(mask == split_mask(0.25, 1));
    ck_assert(mask != split_mask(0.25, 2));
    sn_corpus *validation = corpus;
    add_text("one");
    add_text("two");
    expect_message(sn_corpus_split(&validation, corpus, context, 0.1, 0), SN_ERROR_ARGUMENT,
                   "one side empty");
    ck_assert_ptr_null(validation);
    expect_message(sn_corpus_split(&validation, corpus, context, 0.9, 0), SN_ERROR_ARGUMENT,
                   "one side empty");
    expect_message(sn_corpus_split(&validation, corpus, context, 1.5, 0), SN_ERROR_ARGUMENT,
                   "share is 1.5");
    expect_message(sn_corpus_split(&validation, corpus, context, -0.5, 0), SN_ERROR_ARGUMENT,
                   "share is -0.5");
    double nan = 0;
    nan /= nan;
    ck_assert_int_eq(sn_corpus_split(&validation, corpus, context, nan, 0), SN_ERROR_ARGUMENT);
    ck_assert_uint_eq(sn_corpus_count(corpus), 2);
}
END_TEST

/* Both sides of a split keep their tokens, may be freed in any order, and outlive the context. */
START_TEST(split_keeps_tokens)
{
    sn_corpus *validation;
    sn_context *other;
    add_many(50);
    sn_tokenizer *tokenizer = train(300);
    ck_assert_int_eq(sn_context_create(&other, NULL), SN_OK);
    ck_assert_int_eq(sn_corpus_tokenize(corpus, context, tokenizer), SN_OK);
    size_t total = sn_corpus_token_count(corpus);
    ck_assert_int_eq(sn_corpus_split(&validation, corpus, other, 0.2, 5), SN_OK);
    sn_context_free(other);
    ck_assert_uint_eq(sn_corpus_token_count(corpus) + sn_corpus_token_count(validation), total);
    ck_assert_uint_gt(sn_corpus_token_count(validation), 0);
    sn_corpus_free(corpus);
    corpus = NULL;
    ck_assert_ptr_nonnull(sn_corpus_tokens(NULL, validation, 0));
    sn_corpus_free(validation);
    sn_tokenizer_free(tokenizer);
}
END_TEST

/* Everything a tokenised corpus says, as one number. */
static uint64_t digest(const sn_corpus *of)
{
    uint64_t hash = 1;
    for (size_t d = 0; d < of->n_documents; d++) {
        const struct document *document = &of->documents[d];
        hash = hash_mix(hash + document->n_tokens + (document->n_starts << 20));
        for (size_t i = 0; i < document->n_tokens; i++)
            hash = hash_mix(hash + (uint64_t)document->tokens[i]);
        for (size_t i = 0; i < document->n_starts; i++)
            hash = hash_mix(hash + document->starts[i]);
    }
    return hash;
}

START_TEST(tokens_do_not_depend_on_threads)
{
    uint64_t one = 0;
    add_many(300);
    sn_tokenizer *tokenizer = train(500);
    for (size_t n_threads = 1; n_threads <= 3; n_threads++) {
        ck_assert_int_eq(sn_context_set_threads(context, n_threads), SN_OK);
        ck_assert_int_eq(sn_corpus_tokenize(corpus, context, tokenizer), SN_OK);
        if (n_threads == 1)
            one = digest(corpus);
        ck_assert(digest(corpus) == one);
    }
    for (size_t d = 0; d < 300; d++) { /* and each document is what encoding it alone gives */
        int32_t alone[4096];
        size_t length, n, needed;
        const char *text = sn_corpus_text(&length, corpus, d);
        const int32_t *tokens = sn_corpus_tokens(&n, corpus, d);
        ck_assert_int_eq(sn_tokenizer_encode(alone, 4096, &needed, context, tokenizer, text, length),
                         SN_OK);
        ck_assert_uint_eq(needed, n);
        ck_assert_int_eq(memcmp(alone, tokens, n * sizeof *tokens), 0);
    }
    sn_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(tokenizing_states)
{
    sn_corpus *validation;
    int32_t token;
    size_t length;
    add_many(200);
    sn_tokenizer *tokenizer = train(300);
    expect_message(sn_corpus_sample(&token, &token, &length, corpus, context, 1, 1, 0, 0),
                   SN_ERROR_STATE, "not tokenised");
    struct counted counted = {0, 2};
    sn_context_set_progress(context, count_progress, &counted);
    ck_assert_int_eq(sn_corpus_tokenize(corpus, context, tokenizer), SN_ERROR_CANCELLED);
    sn_context_set_progress(context, NULL, NULL);
    ck_assert_uint_eq(sn_corpus_token_count(corpus), 0);
    ck_assert_ptr_null(sn_corpus_tokens(NULL, corpus, 10));
    ck_assert_int_eq(sn_corpus_tokenize(corpus, context, tokenizer), SN_OK);
    ck_assert_uint_gt(sn_corpus_token_count(corpus), 0);
    add_text("x = 1\n"); /* the new one has no tokens yet */
    ck_assert_uint_eq(sn_corpus_token_count(corpus), 0);
    ck_assert_int_eq(sn_corpus_sample(&token, &token, &length, corpus, context, 1, 1, 0, 0),
                     SN_ERROR_STATE);
    ck_assert_int_eq(sn_corpus_tokenize(corpus, context, tokenizer), SN_OK);
    ck_assert_int_eq(sn_corpus_split(&validation, corpus, context, 0.5, 0), SN_OK);
    expect_message(sn_corpus_tokenize(corpus, context, NULL), SN_ERROR_ARGUMENT, "tokenizer is NULL");
    sn_corpus_free(validation);
    ck_assert_int_eq(sn_corpus_create(&validation, context), SN_OK);
    expect_message(sn_corpus_tokenize(validation, context, tokenizer), SN_ERROR_STATE, "empty");
    token = 3;
    ck_assert_int_eq(sn_corpus_add_tokens(validation, context, &token, 1), SN_OK);
    expect_message(sn_corpus_tokenize(validation, context, tokenizer), SN_ERROR_STATE, "holds tokens");
    expect_message(sn_corpus_sample(&token, &token, &length, validation, context, 1, 1, 0, 0),
                   SN_ERROR_ARGUMENT, "none of the 1 documents has 2 tokens");
    sn_corpus_free(validation);
    sn_tokenizer_free(tokenizer);
}
END_TEST

enum { WINDOWS = 64, WINDOW = 24 };
static int32_t drawn[WINDOWS * WINDOW], next[WINDOWS * WINDOW], again[WINDOWS * WINDOW],
    other[WINDOWS * WINDOW];
static size_t lengths[WINDOWS], lengths_again[WINDOWS];

static void draw(size_t n_windows, uint64_t seed, uint64_t index, int32_t *tokens, size_t *sizes)
{
    ck_assert_msg(
        sn_corpus_sample(tokens, next, sizes, corpus, context, n_windows, WINDOW, seed, index) == SN_OK,
        "%s", sn_context_message(context));
}

/* Where in which document the window stands, all places. The callback's answer must hold for one. */
static int stands_at_line_start(const sn_tokenizer *tokenizer, const int32_t *tokens,
                                const int32_t *targets, size_t length)
{
    for (size_t d = 0; d < sn_corpus_count(corpus); d++) {
        size_t n;
        const int32_t *all = sn_corpus_tokens(&n, corpus, d);
        for (size_t at = 0; at + length < n; at++) {
            if (memcmp(all + at, tokens, length * sizeof *all) != 0 ||
                memcmp(all + at + 1, targets, length * sizeof *all) != 0 ||
                (length < WINDOW && at + length + 1 != n))
                continue;
            size_t bytes;
            const char *before = at ? sn_tokenizer_token(&bytes, tokenizer, all[at - 1]) : NULL;
            if (!before || before[bytes - 1] == '\n')
                return 1;
        }
    }
    return 0;
}

START_TEST(windows_start_at_lines)
{
    add_many(60);
    sn_tokenizer *tokenizer = train(320);
    ck_assert_int_eq(sn_corpus_tokenize(corpus, context, tokenizer), SN_OK);
    size_t n_cut = 0, n_inside = 0;
    for (uint64_t index = 0; index < 5; index++) {
        draw(WINDOWS, 11, index, drawn, lengths);
        for (size_t i = 0; i < WINDOWS; i++) {
            ck_assert_uint_ge(lengths[i], 1);
            ck_assert_uint_le(lengths[i], WINDOW);
            n_cut += lengths[i] < WINDOW;
            n_inside += drawn[i * WINDOW] != sn_tokenizer_find(tokenizer, "def", 3);
            ck_assert(
                stands_at_line_start(tokenizer, drawn + i * WINDOW, next + i * WINDOW, lengths[i]));
        }
    }
    ck_assert_uint_gt(n_cut, 0); /* both kinds did occur */
    ck_assert_uint_lt(n_cut, 5 * WINDOWS / 2);
    ck_assert_uint_gt(n_inside, 0);
    sn_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(sampling_needs_no_state)
{
    add_many(60);
    sn_tokenizer *tokenizer = train(320);
    ck_assert_int_eq(sn_corpus_tokenize(corpus, context, tokenizer), SN_OK);
    memset(drawn, 0, sizeof drawn);
    memset(again, 0, sizeof again);
    memset(other, 0, sizeof other);
    draw(WINDOWS, 3, 0, drawn, lengths);
    draw(WINDOWS, 3, 0, again, lengths_again);
    ck_assert_int_eq(memcmp(drawn, again, sizeof drawn), 0);
    ck_assert_int_eq(memcmp(lengths, lengths_again, sizeof lengths), 0);
    for (size_t part = 0; part < 4; part++) /* 4 calls of 16 windows are one of 64 */
        draw(WINDOWS / 4, 3, part, other + part * WINDOWS / 4 * WINDOW,
             lengths_again + part * WINDOWS / 4);
    ck_assert_int_eq(memcmp(drawn, other, sizeof drawn), 0);
    ck_assert_int_eq(memcmp(lengths, lengths_again, sizeof lengths), 0);
    draw(WINDOWS, 3, 1, again, lengths_again);
    ck_assert_int_ne(memcmp(drawn, again, sizeof drawn), 0);
    draw(WINDOWS, 4, 0, again, lengths_again);
    ck_assert_int_ne(memcmp(drawn, again, sizeof drawn), 0);
    sn_tokenizer_free(tokenizer);
}
END_TEST

/* Documents are drawn by their tokens; those of fewer than 2 never. */
START_TEST(sampling_is_proportional)
{
    size_t counts[4] = {0};
    int32_t tokens[300];
    for (int32_t i = 0; i < 300; i++)
        tokens[i] = i % 2;
    static const size_t sizes[] = {100, 1, 0, 300, 2, 1};
    for (size_t d = 0; d < 6; d++) {
        for (size_t i = 0; i < sizes[d]; i++)
            tokens[i] = (int32_t)(1000 * d + i);
        ck_assert_int_eq(sn_corpus_add_tokens(corpus, context, tokens, sizes[d]), SN_OK);
    }
    size_t latest = 0;
    for (uint64_t index = 0; index < 200; index++) {
        draw(WINDOWS, 0, index, drawn, lengths);
        for (size_t i = 0; i < WINDOWS; i++) {
            size_t d = (size_t)drawn[i * WINDOW] / 1000, at = (size_t)drawn[i * WINDOW] % 1000;
            ck_assert(d == 0 || d == 3 || d == 4);
            size_t left = sizes[d] - 1 - at;
            ck_assert_uint_eq(lengths[i], left < WINDOW ? left : WINDOW);
            counts[d == 0 ? 0 : d == 3 ? 1 : 2]++;
            if (d == 3 && at > latest)
                latest = at;
        }
    }
    double n = 200 * WINDOWS, expected[] = {n * 100 / 402, n * 300 / 402, n * 2 / 402};
    for (size_t i = 0; i < 3; i++) /* five standard deviations */
        ck_assert_double_lt(((double)counts[i] - expected[i]) * ((double)counts[i] - expected[i]),
                            25 * expected[i]);
    ck_assert_uint_eq(latest, 298);
}
END_TEST

/* Half a megabyte without a line end: windows come from all of it, not only from its beginning. */
START_TEST(one_huge_line)
{
    size_t length = 1 << 19;
    char *text = malloc(length);
    for (size_t i = 0; i < length; i++)
        text[i] = "0x1f, "[i % 6];
    memcpy(text + length / 2, "\0\xFF\xC3", 3);
    ck_assert_int_eq(sn_corpus_add_text(corpus, context, text, length), SN_OK);
    free(text);
    sn_tokenizer *tokenizer = train(260);
    ck_assert_int_eq(sn_corpus_tokenize(corpus, context, tokenizer), SN_OK);
    const struct document *document = &corpus->documents[0];
    ck_assert_uint_gt(document->n_starts, 100);
    for (size_t i = 0; i < document->n_starts; i++)
        ck_assert_uint_eq(document->starts[i], i * LONG_LINE_TOKENS);
    draw(WINDOWS, 0, 0, drawn, lengths);
    sn_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(sample_arguments)
{
    static const int32_t tokens[] = {1, 2, 3};
    ck_assert_int_eq(sn_corpus_sample(drawn, next, lengths, corpus, context, 1, 4, 0, 0),
                     SN_ERROR_STATE);
    ck_assert_int_eq(sn_corpus_add_tokens(corpus, context, tokens, 3), SN_OK);
    expect_message(sn_corpus_sample(drawn, next, lengths, corpus, context, 1, 0, 0, 0),
                   SN_ERROR_ARGUMENT, "window is 0");
    expect_message(sn_corpus_sample(NULL, next, lengths, corpus, context, 1, 4, 0, 0), SN_ERROR_ARGUMENT,
                   "tokens is NULL");
    expect_message(sn_corpus_sample(drawn, next, NULL, corpus, context, 1, 4, 0, 0), SN_ERROR_ARGUMENT,
                   "lengths is NULL");
    ck_assert_int_eq(sn_corpus_sample(drawn, next, lengths, corpus, NULL, 1, 4, 0, 0),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_corpus_sample(drawn, next, lengths, corpus, context, 0, 4, 0, 0), SN_OK);
    sn_corpus_free(NULL);
    ck_assert_uint_eq(sn_corpus_count(NULL), 0);
}
END_TEST

static int whole_life(sn_context *own, void *payload)
{
    sn_corpus *texts = NULL, *validation = NULL, *arrays = NULL;
    sn_tokenizer *tokenizer = payload;
    int status = sn_corpus_create(&texts, own);
    if (status == SN_OK)
        status = sn_corpus_add_directory(texts, own, temporary.folder, ".py", 0, 0);
    for (size_t i = 0; i < 20 && status == SN_OK; i++)
        status = sn_corpus_add_text(texts, own, "for x in y:\n    print(x)\n", 24);
    if (status == SN_OK)
        status = sn_corpus_tokenize(texts, own, tokenizer);
    if (status == SN_OK)
        status = sn_corpus_split(&validation, texts, own, 0.3, 1);
    if (status == SN_OK)
        status = sn_corpus_create(&arrays, own);
    if (status == SN_OK)
        status = sn_corpus_add_token_file(arrays, own, temporary_path(&temporary, "z.py"), 4);
    sn_corpus_free(arrays);
    sn_corpus_free(validation);
    sn_corpus_free(texts);
    return status;
}

START_TEST(out_of_memory)
{
    make_tree();
    add_many(30);
    sn_tokenizer *tokenizer = train(300);
    /* The tokenizer's own memory is the outer context's, which refuses nothing. */
    ck_assert_uint_gt(oom_loop(whole_life, tokenizer, 1, 0), 40);
    ck_assert_uint_gt(oom_loop(whole_life, tokenizer, 3, 8), 40);
    sn_tokenizer_free(tokenizer);
    remove_tree();
}
END_TEST

Suite *corpus_suite(void)
{
    Suite *suite = suite_create("corpus");
    TCase *cases = tcase_create("corpus");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 300);
    tcase_add_test(cases, text_documents);
    tcase_add_test(cases, token_arrays);
    tcase_add_test(cases, failed_first_call_fixes_no_kind);
    tcase_add_test(cases, token_files);
    tcase_add_test(cases, directories);
    tcase_add_test(cases, cancelled_directory_adds_nothing);
    tcase_add_test(cases, callbacks);
    tcase_add_test(cases, splits);
    tcase_add_test(cases, split_keeps_tokens);
    tcase_add_test(cases, tokenizing_states);
    tcase_add_test(cases, windows_start_at_lines);
    tcase_add_test(cases, sampling_needs_no_state);
    tcase_add_test(cases, sampling_is_proportional);
    tcase_add_test(cases, one_huge_line);
    tcase_add_test(cases, sample_arguments);
    TCase *threads = tcase_create("threads"); /* what ThreadSanitizer looks at */
    tcase_add_checked_fixture(threads, setup, teardown);
    tcase_set_timeout(threads, 300);
    tcase_add_test(threads, tokens_do_not_depend_on_threads);
    tcase_add_test(threads, out_of_memory);
    suite_add_tcase(suite, cases);
    suite_add_tcase(suite, threads);
    return suite;
}
