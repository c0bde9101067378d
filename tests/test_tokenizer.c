/* Tokenizer: exact inverses on any bytes, pieces, training, required tokens, files good and bad. */
#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/context.h"
#include "base/random.h"
#include "long.h"
#include "text/tokenizer.h"
#include "fixture.h"

static sn_corpus *corpus;
static sn_options *options;
static sn_tokenizer *tokenizer;

static const char sample[] =
    "import os\n\n\ndef print_names(names, limit=None):\n    for name in names:\n        print('a', "
    "name)\n"
    "    while True:\n        print(\"b\", [1, [2, 34567]])\n        if limit == 3:\n            return "
    "True\n"
    "# Gr\xC3\xBC\xC3\x9F"
    "e \xE4\xBD\xA0\xE5\xA5\xBD\n\n\nclass Names:\n    def __init__(self, names):\n"
    "        self.names = set()\n        self.names.add('x')\n        self.text = \"\"\n        "
    "self.text += 'y'\n";

static void setup(void)
{
    fixture_setup();
    ck_assert_int_eq(sn_corpus_create(&corpus, context), SN_OK);
    ck_assert_int_eq(sn_options_create(&options, context), SN_OK);
    ck_assert_int_eq(sn_corpus_add_text(corpus, context, sample, sizeof sample - 1), SN_OK);
    tokenizer = NULL;
}

static void teardown(void)
{
    sn_tokenizer_free(tokenizer);
    sn_options_free(options);
    sn_corpus_free(corpus);
    fixture_teardown();
}

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

static void train(size_t vocabulary_size, const char *required)
{
    sn_tokenizer_free(tokenizer);
    if (required)
        ck_assert_int_eq(sn_options_set_text(options, context, "required", required), SN_OK);
    ck_assert_msg(sn_tokenizer_train(&tokenizer, context, corpus, vocabulary_size, options) == SN_OK,
                  "%s", sn_context_message(context));
}

/* A fresh array, its size in *n. */
static int32_t *encode(size_t *n, const sn_tokenizer *with, const char *text, size_t length)
{
    ck_assert_int_eq(sn_tokenizer_encode(NULL, 0, n, context, with, text, length), SN_OK);
    int32_t *tokens = malloc(*n * sizeof *tokens + 1);
    ck_assert_int_eq(sn_tokenizer_encode(tokens, *n, n, context, with, text, length), SN_OK);
    return tokens;
}

static void check_round_trip(const sn_tokenizer *with, const char *text, size_t length)
{
    size_t n, needed;
    int32_t *tokens = encode(&n, with, text, length);
    ck_assert_uint_le(n, length);
    char *back = malloc(length + 1);
    ck_assert_int_eq(sn_tokenizer_decode(NULL, 0, &needed, context, with, tokens, n), SN_OK);
    ck_assert_uint_eq(needed, length);
    ck_assert_int_eq(sn_tokenizer_decode(back, length, &needed, context, with, tokens, n), SN_OK);
    ck_assert_int_eq(length ? memcmp(back, text, length) : 0, 0);
    free(back);
    free(tokens);
}

static int32_t single(const char *text)
{
    size_t n;
    int32_t *tokens = encode(&n, tokenizer, text, strlen(text)), token = tokens[0];
    ck_assert_msg(n == 1, "\"%s\" is %zu tokens", text, n);
    free(tokens);
    ck_assert_int_eq(sn_tokenizer_find(tokenizer, text, strlen(text)), token);
    return token;
}

START_TEST(any_bytes_come_back)
{
    struct random_state random;
    char *text = malloc(4096);
    train(400, NULL);
    random_seed(&random, 7, 0);
    for (size_t round = 0; round < 200; round++) {
        size_t length = random_below(&random, 600);
        for (size_t i = 0; i < length; i++) { /* every other time mostly letters, so that pieces merge */
            int any = round % 2 || random_below(&random, 20) == 0;
            text[i] = any ? (char)random_below(&random, 256)
                          : sample[random_below(&random, sizeof sample - 1)];
        }
        check_round_trip(tokenizer, text, length);
    }
    static const char awkward[][12] = {"\xE2\x82", "\xED\xA0\x80x", "\xC0\xAF",     "\xF4\x90\x80\x80",
                                       "\xFF",     "a\x80z",        "\xF0\x9F\x98", "\xE0\x80\x80"};
    for (size_t i = 0; i < sizeof awkward / sizeof *awkward; i++)
        check_round_trip(tokenizer, awkward[i], strlen(awkward[i]));
    check_round_trip(tokenizer, "a\0b\0\0c", 6);
    check_round_trip(tokenizer, "", 0);
    check_round_trip(tokenizer, NULL, 0);
    free(text);
}
END_TEST

/* Bytes outside UTF-8 are tokens of one byte, and the text on both sides is cut as if it were alone. */
START_TEST(invalid_bytes_stand_alone)
{
    train(400, NULL);
    size_t n;
    int32_t *tokens = encode(&n, tokenizer, "names\xE2\x82names", 12);
    int32_t name = single("names");
    ck_assert_uint_eq(n, 4);
    ck_assert_int_eq(tokens[0], name);
    ck_assert_int_eq(tokens[1], tokenizer->byte_token[0xE2]);
    ck_assert_int_eq(tokens[2], tokenizer->byte_token[0x82]);
    ck_assert_int_eq(tokens[3], name);
    free(tokens);
}
END_TEST

/* Huge pieces of one kind: linear time, no deep stack, the heap instead of the scan. */
START_TEST(huge_lines)
{
    static const char *const units[] = {"a",        " ",    "=",   "\n",  " \n",
                                        "\xC3\xA9", "\x80", "x y", "\n/", "12"};
    size_t length = (size_t)1 << (long_tests() ? 21 : 18);
    char *text = malloc(length);
    train(400, NULL);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t unit = strlen(units[u]);
        for (size_t i = 0; i < length; i++)
            text[i] = units[u][i % unit];
        check_round_trip(tokenizer, text, length - length % unit);
    }
    free(text);
}
END_TEST

/* Short pieces are merged by a scan, long ones by a heap: the same text both ways. */
START_TEST(scan_and_heap_agree)
{
    struct random_state random;
    char text[4096];
    int32_t whole[4096], part[4096], rest[4096];
    size_t n, m, k;
    struct merger merger;
    train(500, NULL);
    merger_init(&merger, context->memory, tokenizer);
    random_seed(&random, 3, 1);
    for (size_t round = 0; round < 300; round++) {
        size_t length = 49 + random_below(&random, 500);
        for (size_t i = 0; i < length; i++)
            text[i] = "names print"[random_below(&random, 11)];
        ck_assert_int_eq(merge_piece(&n, whole, &merger, text, length), SN_OK);
        /* A boundary of the whole is a boundary that no merge crosses: both sides encode alike alone. */
        size_t cut = 0, bytes = 0;
        while (cut < n && bytes + token_length(tokenizer, whole[cut]) <= 48)
            bytes += token_length(tokenizer, whole[cut++]);
        ck_assert_int_eq(merge_piece(&m, part, &merger, text, bytes), SN_OK);
        ck_assert_int_eq(merge_piece(&k, rest, &merger, text + bytes, length - bytes), SN_OK);
        ck_assert_uint_eq(m, cut);
        ck_assert_uint_eq(m + k, n);
        ck_assert_int_eq(memcmp(part, whole, m * sizeof *whole), 0);
        ck_assert_int_eq(memcmp(rest, whole + m, k * sizeof *whole), 0);
    }
    merger_free(&merger);
}
END_TEST

static const struct {
    const char *text;
    const char *pieces; /* separated by | */
    enum split_pattern split;
} cuts[] = {
    {"print('a')\n", "print|('|a|')\n", SPLIT_RELEASED},
    {"x = [[1], [23456]]\n\n", "x| =| [[|1|],| [|234|56|]]\n\n", SPLIT_RELEASED},
    {"if a:\n    b += 1", "if| a|:\n|   | b| +=| |1", SPLIT_RELEASED},
    {"\n\n  \n  a  \t", "\n\n  \n| | a|  \t", SPLIT_RELEASED},
    {"self.x.add(y)#\r\n//z", "self|.x|.add|(y|)#\r\n//|z", SPLIT_RELEASED},
    {"a.\n/b", "a|.\n/|b", SPLIT_RELEASED},
    {"\xC3\xA9t\xC3\xA9 1\xC2\xB2", "\xC3\xA9t\xC3\xA9| |1\xC2\xB2", SPLIT_RELEASED},
    {"a\xC2\x85 b", "a|\xC2\x85| b", SPLIT_RELEASED},
    {"a\xE1\xA0\x8E"
     "b",
     "a|\xE1\xA0\x8E"
     "b",
     SPLIT_RELEASED}, /* U+180E is no white space */
    {" \xE1\xA0\x8E!", " \xE1\xA0\x8E!", SPLIT_RELEASED},
    {" \xFF ", " |\xFF| ", SPLIT_RELEASED},
    {"print('a')\n", "print|('|a|')|\n", SPLIT_GPT2},
    {"it's they'll I'd we've 'm X're", "it|'s| they|'ll| I|'d| we|'ve| '|m| X|'re", SPLIT_GPT2},
    {"'S 'x ''s a''b", "'|S| '|x| ''|s| a|''|b", SPLIT_GPT2},
    {"x = [[1], [23456]]\n\n", "x| =| [[|1|],| [|23456|]]|\n\n", SPLIT_GPT2},
    {"if a:\n    b += 1", "if| a|:|\n   | b| +=| 1", SPLIT_GPT2},
    {"\n\n  \n  a  \t", "\n\n  \n | a|  \t", SPLIT_GPT2},
    {"a\n\nb\xFF\n\nb", "a|\n|\n|b|\xFF|\n|\n|b", SPLIT_GPT2},
    {" \xE1\xA0\x8E!", " \xE1\xA0\x8E!", SPLIT_GPT2},
};

START_TEST(pieces_of_the_patterns)
{
    struct piece_pattern *pattern;
    ck_assert_int_eq(piece_pattern_create(&pattern, context->memory, cuts[_i].split), SN_OK);
    struct piece_reader *reader = piece_reader_create(pattern);
    ck_assert_ptr_nonnull(reader);
    char joined[128];
    size_t start, length, n = 0, at = 0, total = strlen(cuts[_i].text);
    piece_reader_start(reader, cuts[_i].text, total);
    for (;;) {
        ck_assert_int_eq(piece_reader_next(&start, &length, reader), SN_OK);
        ck_assert_uint_eq(start, at);
        if (length == 0)
            break;
        if (n)
            joined[n++] = '|';
        memcpy(joined + n, cuts[_i].text + start, length);
        n += length;
        at += length;
    }
    joined[n] = '\0';
    ck_assert_uint_eq(at, total);
    ck_assert_str_eq(joined, cuts[_i].pieces);
    piece_reader_free(reader);
    piece_pattern_free(pattern);
}
END_TEST

START_TEST(training_is_exact_and_repeatable)
{
    sn_corpus *small;
    sn_tokenizer *again;
    size_t length;
    ck_assert_int_eq(sn_corpus_create(&small, context), SN_OK);
    ck_assert_int_eq(sn_corpus_add_text(small, context, "aaab\naaab\naaab\nab\nab\n", 21), SN_OK);
    ck_assert_int_eq(sn_tokenizer_train(&again, context, small, 300, NULL), SN_OK);
    /* aa counts 6, ab 5: aa first. Then (aa, a) 3, (a, b) 5: ab. Then (aa, ab): aaab, and no pair. */
    ck_assert_uint_eq(sn_tokenizer_size(again), 259);
    ck_assert_int_eq(memcmp(sn_tokenizer_token(&length, again, 256), "aa", 2), 0);
    ck_assert_int_eq(memcmp(sn_tokenizer_token(&length, again, 257), "ab", 2), 0);
    ck_assert_int_eq(memcmp(sn_tokenizer_token(&length, again, 258), "aaab", 4), 0);
    ck_assert_uint_eq(length, 4);
    sn_tokenizer_free(again);
    sn_corpus_free(small);
    train(360, NULL);
    ck_assert_uint_eq(sn_tokenizer_size(tokenizer), 360);
    ck_assert_int_eq(sn_tokenizer_train(&again, context, corpus, 360, NULL), SN_OK);
    for (int32_t id = 0; id < 360; id++) {
        size_t other;
        const char *a = sn_tokenizer_token(&length, tokenizer, id),
                   *b = sn_tokenizer_token(&other, again, id);
        ck_assert_uint_eq(length, other);
        ck_assert_int_eq(memcmp(a, b, length), 0);
    }
    sn_tokenizer_free(again);
}
END_TEST

/* Ties go to the lowest ids: in the byte order of the files '!' is 0 and the space 188 + 32. */
START_TEST(ties_go_to_lowest_ids)
{
    sn_corpus *small;
    sn_tokenizer *learnt;
    size_t length;
    ck_assert_int_eq(sn_corpus_create(&small, context), SN_OK);
    ck_assert_int_eq(sn_corpus_add_text(small, context, "zy\nxw\n xv", 9), SN_OK);
    ck_assert_int_eq(sn_tokenizer_train(&learnt, context, small, 260, NULL), SN_OK);
    ck_assert_int_eq(sn_tokenizer_find(learnt, "!", 1), 0);
    ck_assert_int_eq(sn_tokenizer_find(learnt, " ", 1), 220);
    static const char *const expected[] = {"xv", "xw", "zy", " xv"};
    for (int32_t i = 0; i < 4; i++) {
        const char *bytes = sn_tokenizer_token(&length, learnt, 256 + i);
        ck_assert_uint_eq(length, strlen(expected[i]));
        ck_assert_int_eq(memcmp(bytes, expected[i], length), 0);
    }
    sn_tokenizer_free(learnt);
    sn_corpus_free(small);
}
END_TEST

static const char *const wanted[] = {"')",     "\")", " in",      ":",    "]",    "]]",
                                     "]]]]]]", "]\n", "]]\n",     ".add", " +=",  "=None",
                                     "):",     "   ", " zqzqzqz", "abab", "\\\\", "ab"};
static const char wanted_text[] =
    "')\n\")\n in\n:\n]\n]]\n]]]]]]\n]\\n\n]]\\n\n.add\n +=\n=None\n):\n   \n"
    " zqzqzqz\nabab\n\n\\\\\\\\\nab\n";

static int all_single(void)
{
    int32_t parts[64];
    size_t n_single = 0;
    struct merger merger;
    merger_init(&merger, context->memory, tokenizer);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        size_t n, length = strlen(wanted[i]);
        ck_assert_int_eq(merge_piece(&n, parts, &merger, wanted[i], length), SN_OK);
        n_single += n == 1; /* by merges, not by the short cut for whole pieces */
        single(wanted[i]);
    }
    merger_free(&merger);
    return n_single == sizeof wanted / sizeof *wanted;
}

START_TEST(required_tokens_are_single)
{
    static const size_t sizes[] = {300, 320, 350, 380, 390};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        train(sizes[i], wanted_text);
        ck_assert_uint_eq(sn_tokenizer_size(tokenizer), sizes[i]);
        ck_assert(all_single());
        check_round_trip(tokenizer, sample, sizeof sample - 1);
    }
    train(512, wanted_text); /* more than the text has pairs for: every word is one token by then */
    ck_assert_uint_lt(sn_tokenizer_size(tokenizer), 512);
    ck_assert(all_single());
    size_t n;
    int32_t *tokens = encode(&n, tokenizer, "f('x')", 6);
    ck_assert_int_eq(tokens[n - 1], sn_tokenizer_find(tokenizer, "')", 2));
    free(tokens);
}
END_TEST

/* With the first learnt token, "za", the second required one takes five merges; without it one that goes on from the
 * first. The sizes between the two are filled with learnt tokens behind the required ones. */
START_TEST(gaps_of_required_tokens_are_filled)
{
    static const char text[] = "za\nza\nza\nza\nmn\nmn\nmn\nop\nop\n";
    for (size_t size = 262; size <= 265; size++) {
        sn_corpus *small;
        sn_tokenizer *learnt;
        size_t n;
        ck_assert_int_eq(sn_corpus_create(&small, context), SN_OK);
        ck_assert_int_eq(sn_corpus_add_text(small, context, text, sizeof text - 1), SN_OK);
        ck_assert_int_eq(sn_options_set_text(options, context, "required", "abcdef\nzabcdef\n"), SN_OK);
        ck_assert_int_eq(sn_tokenizer_train(&learnt, context, small, size, options), SN_OK);
        ck_assert_uint_eq(sn_tokenizer_size(learnt), size);
        ck_assert_int_eq(sn_tokenizer_find(learnt, "za", 2) >= 0, size > 262);
        ck_assert_int_eq(sn_tokenizer_find(learnt, "mn", 2) >= 0, size > 263);
        ck_assert_int_eq(sn_tokenizer_find(learnt, "op", 2) >= 0, size > 264);
        free(encode(&n, learnt, "zabcdef", 7));
        ck_assert_uint_eq(n, 1);
        free(encode(&n, learnt, "zabcd", 5)); /* za comes too late for this one */
        ck_assert_uint_eq(n, 2);
        sn_tokenizer_free(learnt);
        sn_corpus_free(small);
    }
}
END_TEST

static void expect_train_error(size_t vocabulary_size, const char *required, const char *part)
{
    sn_tokenizer *out = (sn_tokenizer *)context;
    ck_assert_int_eq(sn_options_set_text(options, context, "required", required), SN_OK);
    ck_assert_int_eq(sn_tokenizer_train(&out, context, corpus, vocabulary_size, options),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_null(out);
    ck_assert_msg(strstr(sn_context_message(context), part) != NULL, "%s", sn_context_message(context));
}

START_TEST(training_refuses)
{
    sn_tokenizer *out;
    expect_train_error(400, "a b", "\"a b\" is cut after 1 of its 3 bytes");
    expect_train_error(400, "in\n .add", "\" .add\" is cut after 2");
    expect_train_error(400, "\\x", "backslash");
    expect_train_error(400, "ends in \\", "backslash");
    expect_train_error(255, "", "vocabulary_size is 255");
    expect_train_error(260, " zqzqzqz", "the required tokens need 26");
    expect_train_error((size_t)1 << 40, "", "vocabulary_size");
    char *longest = malloc(700);
    memset(longest, 'a', 699);
    longest[699] = '\0';
    expect_train_error(400, longest, "too long");
    free(longest);
    sn_corpus *empty;
    int32_t tokens[] = {1, 2, 3};
    ck_assert_int_eq(sn_corpus_create(&empty, context), SN_OK);
    ck_assert_int_eq(sn_tokenizer_train(&out, context, empty, 300, NULL), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "empty"));
    ck_assert_int_eq(sn_corpus_add_tokens(empty, context, tokens, 3), SN_OK);
    ck_assert_int_eq(sn_tokenizer_train(&out, context, empty, 300, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_tokenizer_train(&out, context, NULL, 300, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_tokenizer_train(&out, NULL, corpus, 300, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_tokenizer_train(NULL, context, corpus, 300, NULL), SN_ERROR_ARGUMENT);
    sn_corpus_free(empty);
}
END_TEST

static int cancel(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)total;
    (void)value;
    *(size_t *)payload = done;
    return strcmp(stage, "tokenizer") == 0 && done > 300;
}

START_TEST(training_can_be_cancelled)
{
    size_t done = 0;
    sn_context_set_progress(context, cancel, &done);
    ck_assert_int_eq(sn_tokenizer_train(&tokenizer, context, corpus, 400, NULL), SN_ERROR_CANCELLED);
    ck_assert_ptr_null(tokenizer);
    ck_assert_uint_gt(done, 300);
}
END_TEST

START_TEST(saved_and_loaded_is_the_same)
{
    sn_tokenizer *loaded;
    char nested[300];
    train(450, wanted_text);
    snprintf(nested, sizeof nested, "%s/made", temporary.folder);
    ck_assert_int_eq(sn_tokenizer_save(tokenizer, context, nested), SN_OK);
    ck_assert_int_eq(sn_tokenizer_save(tokenizer, context, nested), SN_OK); /* over the old one */
    ck_assert_msg(sn_tokenizer_load(&loaded, context, nested) == SN_OK, "%s",
                  sn_context_message(context));
    ck_assert_uint_eq(sn_tokenizer_size(loaded), sn_tokenizer_size(tokenizer));
    ck_assert_int_eq(
        memcmp(loaded->tokens, tokenizer->tokens, tokenizer->size * sizeof *tokenizer->tokens), 0);
    ck_assert_uint_eq(loaded->pairs.n_pairs, tokenizer->pairs.n_pairs);
    ck_assert_uint_eq(loaded->n_merges, tokenizer->n_merges);
    ck_assert_int_eq(
        memcmp(loaded->merges, tokenizer->merges, loaded->n_merges * sizeof *loaded->merges), 0);
    for (size_t i = 0; i < 256; i++)
        ck_assert_int_eq(loaded->byte_token[i], tokenizer->byte_token[i]);
    size_t n, m;
    int32_t *a = encode(&n, tokenizer, sample, sizeof sample - 1),
            *b = encode(&m, loaded, sample, sizeof sample - 1);
    ck_assert_uint_eq(n, m);
    ck_assert_int_eq(memcmp(a, b, n * sizeof *a), 0);
    free(a);
    free(b);
    sn_tokenizer_free(loaded);
    struct temporary inner = temporary_inner("made");
    ck_assert_uint_eq(temporary_empty(&inner), 2); /* no temporary is left */
    ck_assert_int_eq(sn_tokenizer_save(tokenizer, context, "/nonexistent/folder"), SN_ERROR_IO);
    ck_assert_int_eq(sn_tokenizer_load(&loaded, context, "/nonexistent"), SN_ERROR_IO);
    ck_assert_ptr_null(loaded);
}
END_TEST

/* encoder.json of the 256 bytes, `extra` inside, without the entry of id `without` (-1: none). */
static void write_encoder(const char *extra, int without)
{
    static char text[16384];
    size_t n = (size_t)sprintf(text, "{%s", extra);
    sn_tokenizer *bytes;
    ck_assert_int_eq(tokenizer_create(&bytes, context, FORM_ENCODER, SPLIT_RELEASED), SN_OK);
    ck_assert(tokenizer_put_bytes(bytes));
    for (int id = 0; id < 256; id++)
        if (id != without)
            n += (size_t)sprintf(text + n, "%s\n\"\\u%04x\": %d", n == 1 ? "" : ",",
                                 (unsigned)byte_to_character((unsigned char)token_bytes(bytes, id)[0]),
                                 id);
    n += (size_t)sprintf(text + n, "}");
    sn_tokenizer_free(bytes);
    temporary_write(&temporary, "encoder.json", text, n);
}

static void write_merges(const char *text)
{
    temporary_write(&temporary, "vocab.bpe", text, strlen(text));
}

static void expect_load_error(int status, const char *file, const char *part)
{
    sn_tokenizer *out = (sn_tokenizer *)context;
    int got = sn_tokenizer_load(&out, context, temporary.folder);
    const char *message = sn_context_message(context);
    ck_assert_msg(got == status, "%d for \"%s\": %s", got, part, message);
    ck_assert_ptr_null(out);
    ck_assert_msg(strstr(message, file) && strstr(message, part), "\"%s\" wants \"%s\"", message, part);
}

START_TEST(files_by_hand)
{
    write_encoder("\"ab\": 256, \"abc\": 258, \"<|endoftext|>\": 300", -1);
    write_merges("#version: 0.2\r\na b\r\nab c\n");
    ck_assert_msg(sn_tokenizer_load(&tokenizer, context, temporary.folder) == SN_OK, "%s",
                  sn_context_message(context));
    ck_assert_uint_eq(sn_tokenizer_size(tokenizer), 301);
    size_t n, length;
    ck_assert_ptr_null(sn_tokenizer_token(&length, tokenizer, 257)); /* a gap */
    ck_assert_uint_eq(length, 0);
    ck_assert_ptr_null(sn_tokenizer_token(NULL, tokenizer, 301));
    ck_assert_ptr_null(sn_tokenizer_token(NULL, tokenizer, -1));
    int32_t *tokens = encode(&n, tokenizer, "abcabx", 6);
    ck_assert_uint_eq(n, 3);
    ck_assert_int_eq(tokens[0], 258);
    ck_assert_int_eq(tokens[1], 256);
    ck_assert_int_eq(tokens[2], tokenizer->byte_token['x']);
    free(tokens);
}
END_TEST

/* Text never gives a special token, decoding does write it, and both survive a save. */
START_TEST(special_tokens)
{
    write_encoder("\"ab\": 256, \"<|endoftext|>\": 300", -1);
    write_merges("#version: 0.2\na b\n");
    for (int round = 0; round < 2; round++) {
        sn_tokenizer_free(tokenizer);
        ck_assert_int_eq(sn_tokenizer_load(&tokenizer, context, temporary.folder), SN_OK);
        ck_assert_int_eq(sn_tokenizer_find(tokenizer, "<|endoftext|>", 13), 300);
        check_round_trip(tokenizer, "ab<|endoftext|>", 15);
        size_t n, needed;
        int32_t *tokens = encode(&n, tokenizer, "ab<|endoftext|>", 15), special[] = {256, 300},
                gap[] = {257};
        for (size_t i = 0; i < n; i++)
            ck_assert_int_ne(tokens[i], 300);
        free(tokens);
        char text[16];
        ck_assert_int_eq(sn_tokenizer_decode(text, 16, &needed, context, tokenizer, special, 2), SN_OK);
        ck_assert_uint_eq(needed, 15);
        ck_assert_int_eq(memcmp(text, "ab<|endoftext|>", 15), 0);
        ck_assert_int_eq(sn_tokenizer_decode(text, 16, &needed, context, tokenizer, gap, 1),
                         SN_ERROR_ARGUMENT);
        ck_assert_int_eq(sn_tokenizer_save(tokenizer, context, temporary.folder), SN_OK);
    }
}
END_TEST

START_TEST(malformed_encoder)
{
    static const struct {
        const char *text, *part;
    } whole[] = {
        {"", "line"},
        {"{\"a\": 1", "line"},
        {"[1, 2]", "an object"},
        {"{}", "no token for byte 0x00"},
        {"{\"a\": 1, \"a\": 2}", "duplicate"},
        {"{\"a\": 1, \"b\": 1}", "both have id 1"},
        {"{\"a\": -1}", "token \"a\": its id must be 0 .. 1048575, not -1"},
        {"{\"a\": 1.5}", "token \"a\": its id must be 0 .. 1048575, not 1.5"},
        {"{\"a\": \"1\"}", "token \"a\": its id must be 0 .. 1048575, not \"1\""},
        {"{\"a\": 4000000000}", "token \"a\": its id must be 0 .. 1048575, not 4000000000"},
        {"{\"a\": 99999999999999999999}", "line 1"},
        {"{\"\": 0}", "is empty"},
        {"{\"a b\": 0}", "stands for no byte"},
        {"{\"\\u4f60\": 0}", "stands for no byte"},
        {"{\"\xFF\": 0}", "line 1"},
        {"{\"a\\u0000\": 0}", "line 1"},
        {"\n\n{\"a\" 1}", "line 3"},
    };
    write_merges("#version: 0.2\n");
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        temporary_write(&temporary, "encoder.json", whole[i].text, strlen(whole[i].text));
        expect_load_error(SN_ERROR_FORMAT, "encoder.json", whole[i].part);
    }
    write_encoder("", 100);
    expect_load_error(SN_ERROR_FORMAT, "encoder.json", "no token for byte 0xA7");
    char extra[2000];
    memcpy(extra, "\"", 1);
    memset(extra + 1, 'a', MAX_TOKEN_BYTES + 1);
    memcpy(extra + MAX_TOKEN_BYTES + 2, "\": 256", 7);
    write_encoder(extra, -1);
    expect_load_error(SN_ERROR_FORMAT, "encoder.json", "longer than 512 bytes");
}
END_TEST

START_TEST(malformed_merges)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "the file is empty"},
        {"a b\n", "line 1: \"a b\": \"#version\""},
        {"#version: 0.2\na b\nab\n", "line 3: \"ab\": two tokens"},
        {"#version: 0.2\na b\n ab\n", "line 3: \" ab\": two tokens"},
        {"#version: 0.2\nab \n", "line 2: \"ab \": two tokens"},
        {"#version: 0.2\na b c\n", "line 2: \"a b c\": two tokens"},
        {"#version: 0.2\na b\n\nab d\n", "line 4: \"ab d\": the merged token is not in encoder.json"},
        {"#version: 0.2\nab c\n", "line 2: \"ab c\": the left half"},
        {"#version: 0.2\nc ab\n", "line 2: \"c ab\": the right half"},
        {"#version: 0.2\na \xE4\xBD\xA0\n", "line 2: \"a ???\": the right half"},
        {"#version: 0.2\na \xFF\n", "line 2: \"a ?\": the right half"},
        {"#version: 0.2\na b\na b\n", "line 3: \"a b\": this merge stands there twice"},
    };
    write_encoder("\"ab\": 256, \"abc\": 257", -1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_merges(cases[i].text);
        expect_load_error(SN_ERROR_FORMAT, "vocab.bpe", cases[i].part);
    }
    ck_assert_int_eq(remove(temporary_path(&temporary, "vocab.bpe")), 0);
    expect_load_error(SN_ERROR_IO, "vocab.bpe", "cannot open");
}
END_TEST

START_TEST(arguments)
{
    int32_t tokens[4] = {-7, -7, -7, -7};
    size_t needed = 99;
    char text[4];
    train(256, NULL);
    ck_assert_int_eq(sn_tokenizer_encode(tokens, 2, &needed, context, tokenizer, "abc", 3),
                     SN_ERROR_CAPACITY);
    ck_assert_uint_eq(needed, 3);
    ck_assert_int_eq(tokens[0], -7);
    ck_assert_int_eq(sn_tokenizer_encode(tokens, 3, NULL, context, tokenizer, "abc", 3), SN_OK);
    ck_assert_int_eq(tokens[3], -7);
    ck_assert_int_eq(sn_tokenizer_decode(text, 2, &needed, context, tokenizer, tokens, 3),
                     SN_ERROR_CAPACITY);
    ck_assert_uint_eq(needed, 3);
    ck_assert_int_eq(sn_tokenizer_decode(text, 4, &needed, context, tokenizer, tokens, 4),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "tokens[3] is -7"));
    ck_assert_int_eq(sn_tokenizer_encode(NULL, 0, NULL, context, tokenizer, "abc", 3),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_tokenizer_encode(tokens, 4, &needed, context, NULL, "abc", 3),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_tokenizer_encode(tokens, 4, &needed, context, tokenizer, NULL, 3),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_tokenizer_encode(tokens, 4, &needed, NULL, tokenizer, "abc", 3),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_tokenizer_decode(NULL, 4, &needed, context, tokenizer, tokens, 3),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_tokenizer_find(tokenizer, "abc", 3), -1);
    ck_assert_int_eq(sn_tokenizer_find(tokenizer, "", 0), -1);
    ck_assert_int_eq(sn_tokenizer_find(NULL, "a", 1), -1);
    ck_assert_uint_eq(sn_tokenizer_size(NULL), 0);
    sn_tokenizer_free(NULL);
}
END_TEST

static int whole_life(sn_context *own, void *payload)
{
    sn_corpus *texts = NULL;
    sn_tokenizer *learnt = NULL, *loaded = NULL;
    sn_options *settings = NULL;
    size_t needed;
    int32_t tokens[512];
    int status = sn_corpus_create(&texts, own);
    if (status == SN_OK)
        status = sn_corpus_add_text(texts, own, sample, sizeof sample - 1);
    if (status == SN_OK)
        status = sn_options_create(&settings, own);
    if (status == SN_OK)
        status = sn_options_set_text(settings, own, "required", "]]]\n zq");
    if (status == SN_OK)
        status = sn_tokenizer_train(&learnt, own, texts, 300, settings);
    if (status == SN_OK)
        status = sn_tokenizer_save(learnt, own, payload);
    if (status == SN_OK)
        status = sn_tokenizer_load(&loaded, own, payload);
    if (status == SN_OK)
        status = sn_tokenizer_encode(tokens, 512, &needed, own, loaded, sample, 300);
    if (status == SN_OK)
        status = sn_corpus_tokenize(texts, own, loaded);
    sn_tokenizer_free(loaded);
    sn_tokenizer_free(learnt);
    sn_options_free(settings);
    sn_corpus_free(texts);
    return status;
}

START_TEST(out_of_memory)
{
    ck_assert_uint_gt(oom_loop(whole_life, temporary.folder, 1, 0), 100);
    temporary_empty(&temporary);
    ck_assert_int_eq(oom_run(&oom, 0, whole_life, temporary.folder, 1), SN_OK);
    ck_assert_uint_eq(temporary_empty(&temporary), 2);
}
END_TEST

Suite *tokenizer_suite(void)
{
    Suite *suite = suite_create("tokenizer");
    TCase *cases = tcase_create("tokenizer");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 300);
    tcase_add_test(cases, any_bytes_come_back);
    tcase_add_test(cases, invalid_bytes_stand_alone);
    tcase_add_test(cases, huge_lines);
    tcase_add_test(cases, scan_and_heap_agree);
    tcase_add_loop_test(cases, pieces_of_the_patterns, 0, (int)(sizeof cuts / sizeof *cuts));
    tcase_add_test(cases, training_is_exact_and_repeatable);
    tcase_add_test(cases, ties_go_to_lowest_ids);
    tcase_add_test(cases, required_tokens_are_single);
    tcase_add_test(cases, gaps_of_required_tokens_are_filled);
    tcase_add_test(cases, training_refuses);
    tcase_add_test(cases, training_can_be_cancelled);
    tcase_add_test(cases, saved_and_loaded_is_the_same);
    tcase_add_test(cases, files_by_hand);
    tcase_add_test(cases, special_tokens);
    tcase_add_test(cases, malformed_encoder);
    tcase_add_test(cases, malformed_merges);
    tcase_add_test(cases, arguments);
    tcase_add_test(cases, out_of_memory);
    suite_add_tcase(suite, cases);
    return suite;
}
