/* tokenizer.json: what it gives, what it refuses; paths of every form; pieces of a megabyte. */
#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/context.h"
#include "base/file.h"
#include "base/random.h"
#include "long.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"
#include "fixture.h"

#define DATA "tests/data/"

static sn_tokenizer *tokenizer;

static void setup(void)
{
    fixture_setup();
    tokenizer = NULL;
}

static void teardown(void)
{
    sn_tokenizer_free(tokenizer);
    fixture_teardown();
}

static void load(const char *path)
{
    sn_tokenizer_free(tokenizer);
    ck_assert_msg(sn_tokenizer_load(&tokenizer, context, path) == SN_OK, "%s",
                  sn_context_message(context));
}

static void expect_error(int status, const char *path, const char *part)
{
    sn_tokenizer *out = (sn_tokenizer *)context;
    int got = sn_tokenizer_load(&out, context, path);
    const char *message = sn_context_message(context);
    ck_assert_msg(got == status, "%d for \"%s\": %s", got, part, got ? message : "");
    ck_assert_ptr_null(out);
    ck_assert_msg(strstr(message, part) != NULL, "\"%s\" wants \"%s\"", message, part);
}

/* ------------------------------------------------------------ files by hand */

/* What a file is made of; NULL takes the usual. */
struct parts {
    const char *top, *added, *pre_tokenizer, *ends, *model, *vocab, *merges;
};

#define RELEASED                                                                                        \
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|"  \
    "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define BYTE_LEVEL(regex)                                                                               \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "                   \
    "\"use_regex\": " regex "}"
#define SPLIT(rest)                                                                                     \
    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": "      \
    "\"" RELEASED "\"}, " rest "}, " BYTE_LEVEL("false") "]}"
#define WHOLE_SPLIT SPLIT("\"behavior\": \"Isolated\", \"invert\": false")

static const char *part(const char *given, const char *usual)
{
    return given ? given : usual;
}

/* Bytes have their own values as ids. */
static void write_json(const struct parts *parts)
{
    static char text[32768];
    int n = sprintf(
        text, "{%s \"added_tokens\": %s, \"pre_tokenizer\": %s, %s, \"model\": {%s \"vocab\": {",
        part(parts->top, "\"version\": \"1.0\","), part(parts->added, "[]"),
        part(parts->pre_tokenizer, WHOLE_SPLIT), part(parts->ends, "\"decoder\": " BYTE_LEVEL("true")),
        part(parts->model, "\"type\": \"BPE\","));
    for (int byte = 0; byte < 256; byte++)
        n += sprintf(text + n, "%s\"\\u%04x\": %d", byte ? ", " : "",
                     (unsigned)byte_to_character((unsigned char)byte), byte);
    n += sprintf(text + n, "%s}, \"merges\": %s}}", part(parts->vocab, ""), part(parts->merges, "[]"));
    ck_assert_int_lt(n, (int)sizeof text);
    temporary_write(&temporary, "tokenizer.json", text, (size_t)n);
}

static void load_parts(const struct parts *parts)
{
    write_json(parts);
    load(temporary.folder);
}

/* The ids separated by spaces; lent until the next call. */
static const char *ids_of(const char *text, size_t length)
{
    static char shown[4096];
    int32_t tokens[512];
    char back[512];
    size_t n, needed, at = 0;
    ck_assert_int_eq(sn_tokenizer_encode(tokens, 512, &n, context, tokenizer, text, length), SN_OK);
    shown[0] = '\0';
    for (size_t i = 0; i < n; i++)
        at += (size_t)sprintf(shown + at, i ? " %d" : "%d", (int)tokens[i]);
    ck_assert_int_eq(sn_tokenizer_decode(back, 512, &needed, context, tokenizer, tokens, n), SN_OK);
    ck_assert_uint_eq(needed, length);
    ck_assert_int_eq(memcmp(back, text, length), 0);
    return shown;
}

static void expect_ids(const char *text, const char *ids)
{
    const char *got = ids_of(text, strlen(text));
    ck_assert_msg(strcmp(got, ids) == 0, "\"%s\" is %s, not %s", text, got, ids);
}

/* "b c", "a b", then "ab c": of the text abc the first merge leaves a and bc, which no line merges. */
#define ABC_VOCAB ", \"ab\": 256, \"bc\": 257, \"abc\": 258"
#define ABC_MERGES "[\"b c\", [\"a\", \"b\"], \"ab c\"]"

START_TEST(only_listed_pairs_merge)
{
    load_parts(&(struct parts){.vocab = ABC_VOCAB, .merges = ABC_MERGES});
    ck_assert_uint_eq(sn_tokenizer_size(tokenizer), 259);
    expect_ids("abc", "97 257");
    expect_ids("ab", "256");
    expect_ids("bcab", "257 256");
    load_parts(&(struct parts){.vocab = ABC_VOCAB,
                               .merges = ABC_MERGES,
                               .model = "\"type\": \"BPE\", \"ignore_merges\": true,"});
    expect_ids("abc", "258");
    expect_ids("abcb", "97 257 98");
    /* A token that no merge makes is its bytes, unless merges are ignored. */
    load_parts(&(struct parts){.vocab = ", \"xyz\": 256"});
    expect_ids("xyz", "120 121 122");
    load_parts(&(struct parts){.vocab = ", \"xyz\": 256", .model = "\"ignore_merges\": true,"});
    expect_ids("xyz xyzz", "256 32 120 121 122 122");
    ck_assert_int_eq(sn_tokenizer_find(tokenizer, "xyz", 3), 256);
}
END_TEST

/* The same merges under the rule of encoder.json + vocab.bpe: a and bc together are the token abc. */
START_TEST(any_pair_of_a_token_merges_in_the_other_form)
{
    static const char *const tokens[] = {"bc", "ab", "abc"};
    int32_t parts[3];
    size_t n;
    struct merger merger;
    ck_assert_int_eq(tokenizer_create(&tokenizer, context, FORM_ENCODER, SPLIT_RELEASED), SN_OK);
    ck_assert(tokenizer_put_bytes(tokenizer));
    int32_t a = tokenizer->byte_token['a'], b = tokenizer->byte_token['b'],
            c = tokenizer->byte_token['c'];
    for (int i = 0; i < 3; i++)
        ck_assert(tokenizer_put(tokenizer, 256 + i, tokens[i], strlen(tokens[i])));
    ck_assert(tokenizer_add_merge(tokenizer, 256, b, c) && tokenizer_add_merge(tokenizer, 257, a, b) &&
              tokenizer_add_merge(tokenizer, 258, 257, c) && tokenizer_index(tokenizer));
    merger_init(&merger, context->memory, tokenizer);
    ck_assert_int_eq(merge_piece(&n, parts, &merger, "abc", 3), SN_OK);
    merger_free(&merger);
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(parts[0], 258);
    expect_ids("abc", "258");
}
END_TEST

#define ADDED(id, content, rest) "{\"id\": " #id ", \"content\": \"" content "\"" rest "}"

static const char many_added[] =
    "[{\"id\": 256, \"content\": \"<|end|>\", \"special\": true, \"normalized\": false},"
    " {\"id\": 300, \"content\": \"<|end|>x\", \"special\": true, \"normalized\": false},"
    " {\"id\": 301, \"content\": \" a\", \"normalized\": true},"
    " {\"id\": 302, \"content\": \"a <\", \"normalized\": false},"
    " {\"id\": 303, \"content\": \"\\n\\u00e9\\u4f60\\u0007\\\"\", \"special\": false},"
    " {\"id\": 304, \"content\": \"b?\"}]";

/* Found before the text is cut: leftmost, then longest; those that are normalized between the others. */
START_TEST(added_tokens)
{
    load_parts(&(struct parts){.vocab = ", \"<|end|>\": 256, \"ab\": 257, \"\\u0120a\": 258",
                               .merges = "[\"a b\", \"\\u0120 a\"]",
                               .added = many_added});
    for (int round = 0; round < 2; round++) {
        ck_assert_uint_eq(sn_tokenizer_size(tokenizer), 305);
        expect_ids("x<|end|>y", "120 256 121");
        expect_ids("<|end|>x<|end|><|end", "300 256 60 124 101 110 100");
        expect_ids("<<|end|>", "60 256");
        expect_ids("x a <|end|>", "120 32 302 124 101 110 100 124 62"); /* pass 1 leaves "x " */
        expect_ids("x ab?", "120 301 304");
        expect_ids("aab?", "97 97 304");
        expect_ids("\n\xC3\xA9\xE4\xBD\xA0\x07\"!", "303 33");
        expect_ids("\xFF<|end|>\xC3", "255 256 195");
        expect_ids("  <|end|>", "32 32 256"); /* the end of a piece of text: no \S follows */
        ck_assert_int_eq(sn_tokenizer_find(tokenizer, " a", 2), 301);
        ck_assert_int_eq(sn_tokenizer_find(tokenizer, "<|end|>", 7), 256);
        ck_assert_ptr_null(sn_tokenizer_token(NULL, tokenizer, 299));
        int32_t both[] = {258, 301};
        char text[8];
        size_t needed;
        ck_assert_int_eq(sn_tokenizer_decode(text, 8, &needed, context, tokenizer, both, 2), SN_OK);
        ck_assert(needed == 4 && memcmp(text, " a a", 4) == 0);
        ck_assert_int_eq(sn_tokenizer_save(tokenizer, context, temporary.folder), SN_OK);
        load(temporary.folder);
    }
}
END_TEST

static const char sample[] =
    "#include <stdio.h>\n\n\nint main(void)\n{\n    return tokenizer->size == 12345;\n}\n"
    "\xC3\xA9t\xC3\xA9 \xE4\xBD\xA0 it's \xFF\xFE<|endoftext|>\r\n\t  x  ";

/* One vocabulary in both forms; the special token is found in texts by tokenizer.json only. */
START_TEST(forms_agree)
{
    char both[2][4096];
    size_t length = strlen(sample), plain = (size_t)(strstr(sample, "<|") - sample);
    for (int form = 0; form < 2; form++) {
        load(form ? DATA "tokenizer_json" : DATA "tokenizer");
        ck_assert_int_eq(tokenizer->form, form ? FORM_JSON : FORM_ENCODER);
        ck_assert_uint_eq(sn_tokenizer_size(tokenizer), 320);
        strcpy(both[form], ids_of(sample, plain));
        ck_assert(!strstr(ids_of(sample, length), " 319") == !form);
        ck_assert_int_eq(sn_tokenizer_find(tokenizer, "<|endoftext|>", 13), 319);
    }
    ck_assert_str_eq(both[0], both[1]);
    load(DATA "tokenizer_json/gpt2.json");
    ck_assert_uint_eq(sn_tokenizer_size(tokenizer), 326);
    ids_of(sample, length);
    expect_ids("\xC3\xA9t\xC3\xA9!", "325 0");
}
END_TEST

static void copy_file(const char *from, const char *name)
{
    char *text;
    size_t length;
    ck_assert_int_eq(file_read_all(&text, &length, context, from, 1 << 20), SN_OK);
    temporary_write(&temporary, name, text, length);
    memory_free(context->memory, text, length + 1);
}

START_TEST(paths)
{
    static const char *const encoders[] = {DATA "tokenizer/encoder.json", DATA "tokenizer/vocab.bpe",
                                           DATA "tokenizer/", DATA "tokenizer"};
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++) {
        load(encoders[i]);
        ck_assert_int_eq(tokenizer->form, FORM_ENCODER);
    }
    copy_file(DATA "tokenizer/encoder.json", "encoder.json");
    copy_file(DATA "tokenizer/vocab.bpe", "vocab.bpe");
    copy_file(DATA "tokenizer_json/tokenizer.json", "mine");
    load(temporary_path(&temporary, "mine"));
    ck_assert_int_eq(tokenizer->form, FORM_JSON);
    copy_file(DATA "tokenizer_json/tokenizer.json", "tokenizer.json");
    load(temporary.folder); /* both forms are there */
    ck_assert_int_eq(tokenizer->form, FORM_JSON);
    load(temporary_path(&temporary, "vocab.bpe"));
    ck_assert_int_eq(tokenizer->form, FORM_ENCODER);
    /* Saved into this folder it would not be what is read from there. */
    ck_assert_int_eq(sn_tokenizer_save(tokenizer, context, temporary.folder), SN_ERROR_STATE);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "tokenizer.json is there"));
    temporary_write(&temporary, "tokenizer.json", "{", 1); /* no falling back to the other form */
    expect_error(SN_ERROR_FORMAT, temporary.folder, "tokenizer.json: line 1");
    ck_assert_int_eq(chdir(DATA "tokenizer"), 0);
    load("encoder.json");
    ck_assert_int_eq(tokenizer->form, FORM_ENCODER);
    ck_assert_int_eq(chdir("../../.."), 0);
    expect_error(SN_ERROR_IO, "/nonexistent/tokenizer.json", "/nonexistent/tokenizer.json");
    expect_error(SN_ERROR_IO, "/dev/null", "not a regular file");
}
END_TEST

START_TEST(saved_json_is_the_same)
{
    static const char *const files[] = {DATA "tokenizer_json/tokenizer.json",
                                        DATA "tokenizer_json/gpt2.json"};
    for (size_t i = 0; i < 2; i++) {
        load(files[i]);
        sn_tokenizer *first = tokenizer;
        tokenizer = NULL;
        ck_assert_int_eq(sn_tokenizer_save(first, context, temporary.folder), SN_OK);
        load(temporary.folder);
        ck_assert_int_eq(tokenizer->split, first->split);
        ck_assert_int_eq(tokenizer->form, FORM_JSON);
        ck_assert_uint_eq(tokenizer->size, first->size);
        ck_assert_uint_eq(tokenizer->n_merges, first->n_merges);
        for (size_t id = 0; id < first->size; id++) {
            size_t n, m;
            const char *a = sn_tokenizer_token(&n, first, (int32_t)id),
                       *b = sn_tokenizer_token(&m, tokenizer, (int32_t)id);
            ck_assert(tokenizer->tokens[id].kinds == first->tokens[id].kinds && n == m && !a == !b &&
                      (!a || memcmp(a, b, n) == 0));
        }
        ck_assert_int_eq(
            memcmp(tokenizer->merges, first->merges, first->n_merges * sizeof *first->merges), 0);
        sn_tokenizer_free(first);
    }
}
END_TEST

/* ----------------------------------------------------------------- refusals */

static const struct {
    struct parts parts;
    const char *message; /* NULL: accepted */
} variants[] = {
    {{.top = ""}, NULL},
    {{.top = "\"version\": \"2.0\","}, "tokenizer.json: version: must be 1.0, not \"2.0\""},
    {{.top = "\"truncation\": {\"max_length\": 5},"},
     "truncation: must be null, not {\"max_length\":5}"},
    {{.top = "\"padding\": 1,"}, "padding: must be null, not 1"},
    {{.top = "\"normalizer\": {\"type\": \"NFC\"},"},
     "normalizer: must be null, not {\"type\":\"NFC\"}"},
    {{.top = "\"normalizer\": null, \"padding\": null,"}, NULL},
    {{.top = "\"sampler\": 1,"}, "tokenizer.json: sampler: unknown key"},
    {{.ends = "\"decoder\": null"}, "decoder: must be an object, not null"},
    {{.ends = "\"post_processor\": null"}, "decoder: must be an object, not absent"},
    {{.ends = "\"decoder\": {\"type\": \"WordPiece\"}"},
     "decoder.type: must be ByteLevel, not \"WordPiece\""},
    {{.ends = "\"decoder\": {\"type\": \"ByteLevel\", \"cleanup\": true}"},
     "decoder.cleanup: unknown key"},
    {{.ends = "\"decoder\": {\"type\": \"ByteLevel\"}, \"post_processor\": null"}, NULL},
    {{.ends = "\"decoder\": {\"type\": \"ByteLevel\"}, \"post_processor\": " BYTE_LEVEL("true")}, NULL},
    {{.ends = "\"decoder\": {\"type\": \"ByteLevel\"}, \"post_processor\": {\"type\": "
              "\"TemplateProcessing\", \"single\": []}"},
     "post_processor.type: must be ByteLevel, not \"TemplateProcessing\""},
    {{.pre_tokenizer = "null"}, "pre_tokenizer: must be ByteLevel, or a Sequence"},
    {{.pre_tokenizer = "{\"type\": \"Whitespace\"}"}, "pre_tokenizer.type: must be ByteLevel, or"},
    {{.pre_tokenizer = BYTE_LEVEL("true")}, NULL},
    {{.pre_tokenizer = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}"}, NULL},
    {{.pre_tokenizer = BYTE_LEVEL("false")}, "pre_tokenizer.use_regex: must be true, not false"},
    {{.pre_tokenizer = "{\"type\": \"ByteLevel\", \"add_prefix_space\": true}"},
     "pre_tokenizer.add_prefix_space: must be false, not true"},
    {{.pre_tokenizer = "{\"type\": \"ByteLevel\"}"},
     "pre_tokenizer.add_prefix_space: must be false, not absent"},
    {{.pre_tokenizer = "{\"type\": \"Sequence\", \"pretokenizers\": []}"},
     "pre_tokenizer.pretokenizers: must be [Split, ByteLevel], not []"},
    {{.pre_tokenizer = "{\"type\": \"Sequence\", \"pretokenizers\": [" BYTE_LEVEL(
          "true") ", " BYTE_LEVEL("true") "]}"},
     "pre_tokenizer.pretokenizers[0].type: must be Split, not \"ByteLevel\""},
    {{.pre_tokenizer = "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
                       "{\"Regex\": \"\\\\w+\"}, \"behavior\": \"Isolated\"}, 1]}"},
     "pre_tokenizer.pretokenizers[0].pattern.Regex: must be the released models' split pattern or "
     "GPT-2's, not \"\\\\w+\""},
    {{.pre_tokenizer = "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
                       "{\"String\": \" \"}, \"behavior\": \"Isolated\"}, 1]}"},
     "pre_tokenizer.pretokenizers[0].pattern.String: unknown key"},
    {{.pre_tokenizer = SPLIT("\"behavior\": \"Isolated\", \"invert\": true")}, NULL},
    {{.pre_tokenizer = SPLIT("\"behavior\": \"Removed\", \"invert\": true")}, NULL},
    {{.pre_tokenizer = SPLIT("\"behavior\": \"Removed\", \"invert\": false")},
     "pre_tokenizer.pretokenizers[0].behavior: must be Isolated"},
    {{.pre_tokenizer = SPLIT("\"behavior\": \"Contiguous\", \"invert\": false")},
     "behavior: must be Isolated (or Removed with invert), not \"Contiguous\""},
    {{.model = "\"type\": \"WordPiece\", \"max_input_chars_per_word\": 100,"},
     "tokenizer.json: model.type: must be BPE, not \"WordPiece\""},
    {{.model = "\"type\": \"Unigram\","}, "model.type: must be BPE, not \"Unigram\""},
    {{.model = ""}, NULL},
    {{.model = "\"dropout\": 0.1,"}, "model.dropout: must be null or 0, not 0.1"},
    {{.model = "\"dropout\": 0.0,"}, NULL},
    {{.model = "\"byte_fallback\": true,"}, "model.byte_fallback: must be false, not true"},
    {{.model = "\"continuing_subword_prefix\": \"##\","},
     "model.continuing_subword_prefix: must be null or \"\", not \"##\""},
    {{.model = "\"end_of_word_suffix\": \"</w>\","}, "model.end_of_word_suffix: must be null or \"\""},
    {{.model = "\"ignore_merges\": 1,"}, "model.ignore_merges: must be true or false, not 1"},
    {{.model = "\"unk_token\": \"<unk>\", \"fuse_unk\": true,"}, NULL},
    {{.model = "\"cache\": 1,"}, "model.cache: unknown key"},
    {{.vocab = ", \"ab\": 255"}, "model.vocab: "},
    {{.vocab = ", \"ab\": -1"}, "model.vocab: token \"ab\": its id must be 0 .. 1048575, not -1"},
    {{.vocab = ", \"ab\": 1048576"}, "its id must be 0 .. 1048575, not 1048576"},
    {{.vocab = ", \"a b\": 256"}, "model.vocab: token \"a b\" (id 256)"},
    {{.vocab = ", \"ab\": 1000000"}, NULL},
    {{.merges = "null"}, "model.merges: must be an array, not null"},
    {{.merges = "[\"a b\"]"}, "model.merges[0]: \"a b\": what it makes is not in model.vocab"},
    {{.vocab = ABC_VOCAB, .merges = "[\"a b\", \"abc a\", 1]"},
     "model.merges[1]: \"abc a\": what it makes"},
    {{.vocab = ABC_VOCAB, .merges = "[\"a b\", \"xy a\"]"},
     "model.merges[1]: \"xy a\": the left half is not in model.vocab"},
    {{.vocab = ABC_VOCAB, .merges = "[[\"a\", \"xy\"]]"},
     "model.merges[0]: [\"a\",\"xy\"]: the right half is not in model.vocab"},
    {{.vocab = ABC_VOCAB, .merges = "[\"a b\", \"a b\"]"},
     "model.merges[1]: \"a b\": stands there twice"},
    {{.vocab = ABC_VOCAB, .merges = "[\"#version: 0.2\", \"ab c\", \"a b\"]"}, NULL},
    {{.merges = "[\"ab\"]"}, "model.merges[0]: \"ab\": must be \"left right\""},
    {{.merges = "[\"a  b\"]"}, "model.merges[0]: \"a  b\": must be \"left right\""},
    {{.merges = "[[\"a\"]]"}, "model.merges[0]: [\"a\"]: must be"},
    {{.merges = "[[\"a\", \"b\", \"c\"]]"}, "model.merges[0]: [\"a\",\"b\",\"c\"]: must be"},
    {{.merges = "[[\"a\", 1]]"}, "model.merges[0]: [\"a\",1]: must be"},
    {{.merges = "[7]"}, "model.merges[0]: 7: must be"},
    {{.added = "{}"}, "added_tokens: must be an array, not {}"},
    {{.added = "null"}, NULL},
    {{.added = "[3]"}, "added_tokens[0]: must be an object, not 3"},
    {{.added = "[" ADDED(300, "x y", ", \"lstrip\": true") "]"},
     "added_tokens[0].lstrip: must be false, not true"},
    {{.added = "[" ADDED(300, "x y", ", \"single_word\": true") "]"},
     "added_tokens[0].single_word: must be false, not true"},
    {{.added = "[" ADDED(300, "x y", ", \"colour\": 1") "]"}, "added_tokens[0].colour: unknown key"},
    {{.added = "[" ADDED(300, "", "") "]"}, "added_tokens[0].content: must be a text of 1 .. 512 bytes"},
    {{.added = "[" ADDED(-1, "x y", "") "]"}, "added_tokens[0].id: must be a whole number"},
    {{.added = "[" ADDED(97, "x y", "") "]"},
     "added_tokens: \"x y\" has id 97, which model.vocab gives to \"a\""},
    {{.added = "[" ADDED(300, "a", "") "]"}, "added_tokens: \"a\" has id 300, but 97 in model.vocab"},
    {{.added = "[" ADDED(233, "\\u00e9", "") "]"}, "(id 233) stands for other bytes in model.vocab"},
    {{.added = "[" ADDED(97, "a", "") "]"}, NULL},
    {{.added = "[" ADDED(300, "x", "") "]"}, "but 120 in model.vocab"},
    {{.added = "[" ADDED(300, "x y", "") "," ADDED(300, "y z", "") "]"},
     "added_tokens: \"x y\" and \"y z\" both have id 300"},
    {{.added = "[" ADDED(300, "x y", "") "," ADDED(301, "x y", "") "]"},
     "added_tokens[1]: \"x y\" stands there twice"},
    {{.vocab = ", \"<a b>\": 256", .added = "[" ADDED(256, "<a b>", "") "]"}, NULL},
};

START_TEST(variants_are_accepted_or_refused)
{
    write_json(&variants[_i].parts);
    if (variants[_i].message) {
        expect_error(SN_ERROR_FORMAT, temporary.folder, variants[_i].message);
        ck_assert_ptr_nonnull(strstr(sn_context_message(context), "/tokenizer.json: "));
    } else {
        load(temporary.folder);
        ids_of(sample, strlen(sample));
    }
}
END_TEST

START_TEST(whole_files_refused)
{
    static const struct {
        const char *text, *message;
    } files[] = {
        {"", "tokenizer.json: line"},
        {"[]", "the file: must be an object, not []"},
        {"{}", "pre_tokenizer: must be ByteLevel"},
        {"{\"a\": \"\xFF\"}", "tokenizer.json: line 1"},
        {"{\"version\": \"1.0\", \"version\": \"1.0\"}", "duplicate"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        temporary_write(&temporary, "tokenizer.json", files[i].text, strlen(files[i].text));
        expect_error(SN_ERROR_FORMAT, temporary.folder, files[i].message);
    }
    static const char one[] = "{\"pre_tokenizer\": " BYTE_LEVEL("true") ", \"decoder\": " BYTE_LEVEL(
        "true") ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": []}}";
    temporary_write(&temporary, "tokenizer.json", one, sizeof one - 1);
    expect_error(SN_ERROR_FORMAT, temporary.folder, "model.vocab: no token for byte 0x00");
    ck_assert_int_eq(truncate(temporary_path(&temporary, "tokenizer.json"), (off_t)1 << 40), 0);
    expect_error(SN_ERROR_FORMAT, temporary.folder, "1099511627776 bytes, the limit is 16777216");
}
END_TEST

/* Cut anywhere it is refused; with a byte changed it is refused, or a tokenizer like any other. */
START_TEST(damaged_files)
{
    struct random_state random;
    char *text;
    size_t length, refused = 0;
    sn_tokenizer *out;
    ck_assert_int_eq(file_read_all(&text, &length, context, DATA "tokenizer_json/gpt2.json", 1 << 20),
                     SN_OK);
    for (size_t cut = 0; cut + 2 < length; cut += 1 + (long_tests() ? 0 : cut % 23)) {
        temporary_write(&temporary, "tokenizer.json", text, cut);
        expect_error(SN_ERROR_FORMAT, temporary.folder, "tokenizer.json: line");
    }
    random_seed(&random, 11, 0);
    for (size_t round = 0; round < (long_tests() ? 20000 : 600); round++) {
        size_t at = random_below(&random, length);
        char before = text[at];
        text[at] = (char)random_below(&random, 256);
        temporary_write(&temporary, "tokenizer.json", text, length);
        text[at] = before;
        int status = sn_tokenizer_load(&out, context, temporary.folder);
        ck_assert_msg(status == SN_OK || status == SN_ERROR_FORMAT, "%d", status);
        refused += status != SN_OK;
        if (status == SN_OK) {
            tokenizer = out;
            ids_of(sample, strlen(sample));
            sn_tokenizer_free(out);
            tokenizer = NULL;
        }
    }
    ck_assert_uint_gt(refused, 100);
    memory_free(context->memory, text, length + 1);
}
END_TEST

/* ------------------------------------------------------------- pieces, bytes */

static void check_round_trip(const char *text, size_t length)
{
    size_t n, needed;
    int32_t *tokens = malloc(length * sizeof *tokens + 1);
    char *back = malloc(length + 1);
    ck_assert_int_eq(sn_tokenizer_encode(tokens, length, &n, context, tokenizer, text, length), SN_OK);
    ck_assert_int_eq(sn_tokenizer_decode(back, length + 1, &needed, context, tokenizer, tokens, n),
                     SN_OK);
    ck_assert_uint_eq(needed, length);
    ck_assert_int_eq(memcmp(back, text, length), 0);
    free(tokens);
    free(back);
}

static const char *const all_files[] = {DATA "tokenizer", DATA "tokenizer_json",
                                        DATA "tokenizer_json/gpt2.json"};

START_TEST(all_bytes_come_back)
{
    struct random_state random;
    char text[1024];
    load(all_files[_i]);
    for (int byte = 0; byte < 256; byte++)
        text[2 * byte] = text[2 * byte + 1] = (char)byte;
    check_round_trip(text, 512);
    for (int byte = 0; byte < 256; byte++) {
        text[0] = (char)byte;
        check_round_trip(text, 1);
    }
    random_seed(&random, 5, 0);
    for (size_t round = 0; round < 300; round++) {
        size_t length = random_below(&random, sizeof text);
        for (size_t i = 0; i < length; i++) {
            text[i] = (char)random_below(&random, 256);
            if (round % 2 && random_below(&random, 9))
                text[i] = sample[random_below(&random, sizeof sample - 1)];
        }
        check_round_trip(text, length);
    }
}
END_TEST

/* A large piece, of a megabyte where there is time, costs a bounded number of steps a byte, each of a heap:
 * n log n. */
START_TEST(steps_of_huge_pieces)
{
    static const char *const units[] = {"a", " ", "\n", "ab", "    token", "return ", "\x80", "x"};
    size_t length = (size_t)1 << (long_tests() ? 20 : 18), n;
    char *text = malloc(length);
    int32_t *tokens = malloc(length * sizeof *tokens);
    struct merger merger;
    load(all_files[_i]);
    merger_init(&merger, context->memory, tokenizer);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t unit = strlen(units[u]);
        for (size_t i = 0; i < length; i++)
            text[i] = units[u][i % unit];
        merger.n_steps = 0;
        ck_assert_int_eq(merge_piece(&n, tokens, &merger, text, length), SN_OK);
        ck_assert_uint_ge(merger.n_steps, length - 1);
        ck_assert_uint_le(merger.n_steps, 3 * length);
        ck_assert_uint_le(merger.heap_capacity, 5 * length);
        if (u == 0) /* no token is made of a alone; the list was walked to its end */
            ck_assert_uint_eq(n, length);
        check_round_trip(text, length);
    }
    merger_free(&merger);
    free(tokens);
    free(text);
}
END_TEST

/* ------------------------------------------------------------- lack of memory */

static int whole_life(sn_context *own, void *payload)
{
    sn_tokenizer *loaded = NULL;
    int32_t tokens[512];
    size_t needed;
    int status = sn_tokenizer_load(&loaded, own, DATA "tokenizer_json/gpt2.json");
    if (status == SN_OK)
        status = sn_tokenizer_encode(tokens, 512, &needed, own, loaded, sample, strlen(sample));
    if (status == SN_OK)
        status = sn_tokenizer_save(loaded, own, payload);
    sn_tokenizer_free(loaded);
    loaded = NULL;
    if (status == SN_OK)
        status = sn_tokenizer_load(&loaded, own, DATA "tokenizer/vocab.bpe");
    sn_tokenizer_free(loaded);
    return status;
}

START_TEST(out_of_memory)
{
    ck_assert_uint_gt(oom_loop(whole_life, temporary.folder, 1, 0), 60);
    ck_assert_uint_eq(temporary_empty(&temporary), 1);
}
END_TEST

Suite *tokenizer_json_suite(void)
{
    Suite *suite = suite_create("tokenizer_json");
    TCase *cases = tcase_create("tokenizer_json");
    int n_variants = (int)(sizeof variants / sizeof *variants);
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 300);
    tcase_add_test(cases, only_listed_pairs_merge);
    tcase_add_test(cases, any_pair_of_a_token_merges_in_the_other_form);
    tcase_add_test(cases, added_tokens);
    tcase_add_test(cases, forms_agree);
    tcase_add_test(cases, paths);
    tcase_add_test(cases, saved_json_is_the_same);
    tcase_add_loop_test(cases, variants_are_accepted_or_refused, 0, n_variants);
    tcase_add_test(cases, whole_files_refused);
    tcase_add_test(cases, damaged_files);
    tcase_add_loop_test(cases, all_bytes_come_back, 0, 3);
    tcase_add_loop_test(cases, steps_of_huge_pieces, 0, 3);
    tcase_add_test(cases, out_of_memory);
    suite_add_tcase(suite, cases);
    return suite;
}
