/* All twenty tasks in all splits: what differs between the prompts of a pair, what must not tell the
 * classes apart, which words the splits have, and which tokenizers can express them. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oom.h"
#include "python/constructs.h"
#include "sparsenet.h"
#include "temporary.h"

#define N_PAIRS 400
#define VOCABULARY 768
#define MAX_TEXT 4096
#define MAX_SPANS 8

static const char *const SPLITS[] = {"prune", "develop", "fresh", "train"};

/* Where the two prompts of a pair differ: `a` stands in A where `b` stands in B, "@" for any name or number,
 * and nowhere else is there a difference. at_most: how many such places a pair may have. */
struct place {
    const char *a, *b;
};

static const struct definition {
    const char *task;
    struct place places[4];
    size_t at_most;
} DEFINITIONS[] = {
    {"single_double_quote", {{"'", "\""}}, 1},
    {"bracket_counting", {{"", "]"}, {"[", ""}, {"", "["}}, 3},
    {"for_while", {{"for", "while"}}, 1},
    {"set_or_string", {{"set()", "\"\""}}, 1},
    {"final_kwarg", {{"=None", ""}}, 3},
    {"set_or_string_fixedvarname", {{"set()", "\"\""}}, 1},
    {"class_init", {{"@", "@"}}, 1},
    {"with_as", {{"with", "@ ="}, {" @\nwith", ""}, {" @\n    with", ""}, {" @\n        with", ""}}, 1},
    {"bracket_brace", {{"{", "["}}, 1},
    {"with_open", {{"input", "output"}}, 1},
    {"else_elif", {{"else", "elif"}}, 1},
    {"fstring_brace", {{"f", ""}}, 1},
    {"if_ternary", {{" ", "\n    "}}, 1},
    {"var_swap", {{"@", "@"}}, 1},
    {"indent_for", {{"for @ in @:", "@ = @"}, {"for @ in self.@:", "@ = self.@"}}, 1},
    {"lambda_func",
     {{"lambda", "@\ndef"}, {"lambda", "@\n    def"}, {"@ = lambda", "def"}, {"@ = lambda", "@\ndef"}},
     1},
    {"if_equals", {{" if", ""}}, 1},
    {"enumerate_range", {{", ", "_"}}, 1},
    {"var_if", {{" if", ""}, {"==", "="}}, 2},
    {"while_return_true", {{"while", "return"}}, 1},
};

static sn_context *context;
static sn_corpus *idioms;
static sn_tokenizer *tokenizer;

static sn_tokenizer *train(const sn_corpus *text, size_t size)
{
    sn_tokenizer *made;
    sn_options *options;
    ck_assert_int_eq(sn_options_create(&options, context), SN_OK);
    ck_assert_int_eq(sn_options_set_text(options, context, "required", sn_python_required_tokens()),
                     SN_OK);
    ck_assert_int_eq(sn_tokenizer_train(&made, context, text, size, options), SN_OK);
    sn_options_free(options);
    return made;
}

static void setup(void)
{
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    ck_assert_int_eq(sn_corpus_create(&idioms, context), SN_OK);
    ck_assert_int_eq(sn_python_add_idioms(idioms, context, 400000, NULL), SN_OK);
    tokenizer = train(idioms, VOCABULARY);
}

static void teardown(void)
{
    sn_tokenizer_free(tokenizer);
    sn_corpus_free(idioms);
    sn_context_free(context);
}

static int try_task(sn_task **task, const sn_tokenizer *with, const char *name, const char *split,
                    size_t n_pairs)
{
    sn_options *options;
    ck_assert_int_eq(sn_options_create(&options, context), SN_OK);
    ck_assert_int_eq(sn_options_set(options, context, "seed", 17), SN_OK);
    /* room for tokenizers that write letter by letter */
    if (with != tokenizer)
        ck_assert_int_eq(sn_options_set(options, context, "max_tokens", 600), SN_OK);
    ck_assert_int_eq(sn_options_set_text(options, context, "split", split), SN_OK);
    int status = sn_python_task(task, context, with, name, n_pairs, options);
    sn_options_free(options);
    return status;
}

static sn_task *make_task(const sn_tokenizer *with, const char *name, const char *split, size_t n_pairs)
{
    sn_task *task;
    int status = try_task(&task, with, name, split, n_pairs);
    ck_assert_msg(status == SN_OK, "%s, %s: %s", name, split, sn_context_message(context));
    ck_assert_uint_eq(sn_task_count(task), n_pairs);
    return task;
}

struct side {
    const int32_t *tokens;
    size_t n;
    int32_t target;
    char text[MAX_TEXT];
    size_t spans[MAX_SPANS][2]; /* where in the text it differs from the other side: first, end */
};

static void get_pair(struct side sides[2], const sn_tokenizer *with, const sn_task *task, size_t index)
{
    ck_assert_int_eq(sn_task_pair(&sides[0].tokens, &sides[0].n, &sides[1].tokens, &sides[1].n,
                                  &sides[0].target, &sides[1].target, task, index),
                     SN_OK);
    for (int i = 0; i < 2; i++) {
        size_t length;
        ck_assert_int_eq(sn_tokenizer_decode(sides[i].text, MAX_TEXT - 1, &length, context, with,
                                             sides[i].tokens, sides[i].n),
                         SN_OK);
        sides[i].text[length] = '\0';
    }
}

/* ---------------------------------------------------- where prompts differ */

static int is_name_byte(char byte)
{
    return byte == '_' || (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z');
}

/* Length of what `pattern` matches at the start of text, or -1. */
static long match(const char *pattern, const char *text)
{
    const char *at = text;
    for (; *pattern; pattern++) {
        if (*pattern == '@') {
            const char *start = at;
            while (is_name_byte(*at))
                at++;
            if (at == start)
                return -1;
        } else if (*pattern != *at++)
            return -1;
    }
    return (long)(at - text);
}

/* Whether the texts from i and j on are equal but for at most `left` places of the definition. A place
 * may begin before the first byte that differs: "else" and "elif" share two. */
static int explain(struct side sides[2], const struct definition *definition, size_t i, size_t j,
                   size_t left, size_t n_found)
{
    const char *a = sides[0].text, *b = sides[1].text;
    size_t same = 0;
    while (a[i + same] && a[i + same] == b[j + same])
        same++;
    if (!a[i + same] && !b[j + same]) {
        sides[0].spans[n_found][0] = sides[1].spans[n_found][0] = MAX_TEXT; /* no more */
        return 1;
    }
    for (size_t back = 0; left && back <= same && back < 40; back++) {
        size_t start[2] = {i + same - back, j + same - back};
        for (size_t p = 0; p < 4 && definition->places[p].a; p++) {
            long n_a = match(definition->places[p].a, a + start[0]);
            long n_b = match(definition->places[p].b, b + start[1]);
            if (n_a < 0 || n_b < 0)
                continue;
            size_t end[2] = {start[0] + (size_t)n_a, start[1] + (size_t)n_b};
            for (int side = 0; side < 2; side++) {
                sides[side].spans[n_found][0] = start[side];
                sides[side].spans[n_found][1] = end[side];
            }
            if (explain(sides, definition, end[0], end[1], left - 1, n_found + 1))
                return 1;
        }
    }
    return 0;
}

/* Depth at the end of the last line. */
static int depth(const char *text)
{
    int open = 0;
    for (; *text; text++)
        open = *text == '\n' ? 0 : open + (*text == '[') - (*text == ']');
    return open;
}

static void check_pair(struct side sides[2], const struct definition *definition, size_t index)
{
    ck_assert_msg(explain(sides, definition, 0, 0, definition->at_most, 0), "%s, pair %zu:\n%s\n---\n%s",
                  definition->task, index, sides[0].text, sides[1].text);
    ck_assert_str_ne(sides[0].text, sides[1].text);
    if (strcmp(definition->task, "bracket_counting") == 0) {
        ck_assert_int_eq(depth(sides[0].text), 2);
        ck_assert_int_eq(depth(sides[1].text), 1);
    }
}

/* --------------------------------------------- what must not tell classes apart */

struct counts {
    size_t holds[VOCABULARY][2]; /* prompts that hold the token outside the places */
    size_t times[VOCABULARY][2]; /* how often all of them do */
    size_t lengths[MAX_TEXT][2]; /* prompts of this length */
};

/* The token of this side that ends (or with `starts` starts) exactly at a byte, -1 if none does. */
static int32_t token_at(const struct side *side, size_t byte, int starts)
{
    size_t at = 0, length;
    for (size_t i = 0; i < side->n; i++, at += length) {
        sn_tokenizer_token(&length, tokenizer, side->tokens[i]);
        if ((starts ? at : at + length) == byte)
            return side->tokens[i];
    }
    return -1;
}

/* Whether bytes start..end are part of the difference: in a place, or at its edge where the other side has
 * another token (" else" and "elif" behind a space of their own). */
static int in_place(const struct side sides[2], int which, size_t start, size_t end)
{
    const struct side *side = &sides[which], *other = &sides[1 - which];
    for (size_t i = 0; i < MAX_SPANS && side->spans[i][0] < MAX_TEXT; i++) {
        const size_t *span = side->spans[i], *opposite = other->spans[i];
        if (start < span[1] && end > span[0])
            return 1;
        if (end == span[0] && token_at(side, span[0], 0) != token_at(other, opposite[0], 0))
            return 1;
        if (start == span[1] && token_at(side, span[1], 1) != token_at(other, opposite[1], 1))
            return 1;
    }
    return 0;
}

static void count_side(struct counts *counts, const struct side sides[2], int which)
{
    const struct side *side = &sides[which];
    unsigned char seen[VOCABULARY] = {0};
    size_t at = 0, length;
    for (size_t i = 0; i < side->n; i++, at += length) {
        int32_t token = side->tokens[i];
        sn_tokenizer_token(&length, tokenizer, token);
        if (in_place(sides, which, at, at + length))
            continue;
        counts->times[token][which]++;
        counts->holds[token][which] += !seen[token];
        seen[token] = 1;
    }
    counts->lengths[side->n][which]++;
}

/* How well a rule does that says A where `a` of N_PAIRS prompts of A and `b` of B fulfil it, or says B. */
static double accuracy(size_t a, size_t b)
{
    double share = 0.5 + 0.5 * ((double)a - (double)b) / N_PAIRS;
    return share > 0.5 ? share : 1 - share;
}

static void check_counts(const struct counts *counts, const char *name, const char *split)
{
    size_t at_least[2] = {0, 0}, n;
    double worst = 0.5;
    for (size_t i = MAX_TEXT; i-- > 0;) {
        for (int side = 0; side < 2; side++)
            at_least[side] += counts->lengths[i][side];
        double rule = accuracy(at_least[0], at_least[1]);
        worst = rule > worst ? rule : worst;
    }
    ck_assert_msg(worst <= 0.55, "%s, %s: the best rule on the length is right in %.3f", name, split,
                  worst);
    for (int32_t t = 0; t < VOCABULARY; t++) {
        const char *bytes = sn_tokenizer_token(&n, tokenizer, t);
        double rule = accuracy(counts->holds[t][0], counts->holds[t][1]);
        ck_assert_msg(rule <= 0.53, "%s, %s: token \"%.*s\" alone is right in %.3f", name, split, (int)n,
                      bytes, rule);
        double a = (double)counts->times[t][0], b = (double)counts->times[t][1];
        ck_assert_msg(a - b <= 0.06 * N_PAIRS && b - a <= 0.06 * N_PAIRS,
                      "%s, %s: token \"%.*s\" is met %.0f times in A and %.0f in B", name, split, (int)n,
                      bytes, a, b);
    }
}

START_TEST(prompts_differ_in_one_place_that_nothing_else_betrays)
{
    const struct definition *definition = &DEFINITIONS[_i];
    static struct counts counts;
    static struct side sides[2];
    for (size_t s = 0; s < 4; s++) {
        sn_task *task = make_task(tokenizer, definition->task, SPLITS[s], N_PAIRS);
        memset(&counts, 0, sizeof counts);
        for (size_t i = 0; i < N_PAIRS; i++) {
            get_pair(sides, tokenizer, task, i);
            check_pair(sides, definition, i);
            for (int side = 0; side < 2; side++)
                count_side(&counts, sides, side);
        }
        check_counts(&counts, definition->task, SPLITS[s]);
        sn_task_free(task);
    }
}
END_TEST

START_TEST(every_task_has_its_definition)
{
    ck_assert_uint_eq(sizeof DEFINITIONS / sizeof *DEFINITIONS, N_CONSTRUCTS);
    for (size_t i = 0; i < N_CONSTRUCTS; i++)
        ck_assert_str_eq(DEFINITIONS[i].task, sn_python_task_name(i));
}
END_TEST

/* ------------------------------------------------------ templates and words */

static size_t count_list(const char *const *list)
{
    size_t n = 0;
    while (list[n])
        n++;
    return n;
}

START_TEST(no_split_and_no_construct_is_thin)
{
    for (size_t i = 0; i < N_CONSTRUCTS; i++) {
        const struct task_row *row = &TASK_ROWS[i];
        size_t n_units = count_list(CONSTRUCTS[i].patterns);
        ck_assert_msg(count_list(row->prune) >= 5 && count_list(row->develop) >= 5 &&
                          count_list(row->fresh) >= 5 && (!row->train || count_list(row->train) >= 5),
                      "%s has a split with fewer than five templates", row->name);
        ck_assert_msg(n_units >= 15 || strcmp(CONSTRUCTS[i].name, "bracket_counting") == 0,
                      "%s has %zu units", CONSTRUCTS[i].name, n_units); /* whose lists vary inside */
        ck_assert_uint_le(CONSTRUCTS[i].n_in_front, n_units);
    }
}
END_TEST

static size_t times_in(const char *const *list, const char *pattern)
{
    size_t n = 0;
    for (; list && *list; list++)
        n += strcmp(*list, pattern) == 0;
    return n;
}

START_TEST(no_template_is_in_two_splits)
{
    for (size_t i = 0; i < N_CONSTRUCTS; i++) {
        const struct task_row *row = &TASK_ROWS[i];
        const char *const *const lists[] = {row->prune, row->develop, row->fresh, row->train};
        for (size_t l = 0; l < 4; l++)
            for (const char *const *pattern = lists[l]; pattern && *pattern; pattern++)
                ck_assert_msg(times_in(row->prune, *pattern) + times_in(row->develop, *pattern) +
                                      times_in(row->fresh, *pattern) + times_in(row->train, *pattern) ==
                                  1,
                              "%s has %s twice", row->name, *pattern);
    }
}
END_TEST

/* The prompts of a task as a corpus of texts. */
static sn_corpus *prompts_of(const sn_task *task)
{
    static struct side sides[2];
    sn_corpus *corpus;
    ck_assert_int_eq(sn_corpus_create(&corpus, context), SN_OK);
    for (size_t i = 0; i < sn_task_count(task); i++) {
        get_pair(sides, tokenizer, task, i);
        for (int side = 0; side < 2; side++)
            ck_assert_int_eq(
                sn_corpus_add_text(corpus, context, sides[side].text, strlen(sides[side].text)), SN_OK);
    }
    return corpus;
}

static void check_apart(const sn_task *task, const sn_corpus *from, const char *name, const char *what)
{
    size_t n;
    int status = sn_python_check_fresh(&n, context, tokenizer, task, from);
    ck_assert_msg(status == SN_OK, "%s, %s: %s", name, what, sn_context_message(context));
    ck_assert_uint_gt(n, 100);
}

START_TEST(splits_share_no_words_with_each_other_or_training)
{
    const char *name = sn_python_task_name((size_t)_i);
    sn_task *tasks[4];
    sn_corpus *prompts[4];
    for (size_t s = 0; s < 4; s++) {
        tasks[s] = make_task(tokenizer, name, SPLITS[s], 100);
        prompts[s] = prompts_of(tasks[s]);
    }
    check_apart(tasks[1], idioms, name, "develop and training");
    check_apart(tasks[2], idioms, name, "fresh and training");
    check_apart(tasks[1], prompts[0], name, "develop and prune");
    check_apart(tasks[2], prompts[0], name, "fresh and prune");
    check_apart(tasks[2], prompts[1], name, "fresh and develop");
    check_apart(tasks[1], prompts[3], name, "develop and train");
    check_apart(tasks[2], prompts[3], name, "fresh and train");
    for (size_t s = 0; s < 4; s++) {
        sn_task_free(tasks[s]);
        sn_corpus_free(prompts[s]);
    }
}
END_TEST

/* --------------------------------------------------------------- tokenizers */

/* A byte as GPT-2's vocabulary writes it. */
static void append_byte(char *out, unsigned char byte)
{
    int plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173), code = byte;
    if (!plain) {
        code = 256;
        for (int b = 0; b < byte; b++)
            code += !((b >= 33 && b <= 126) || (b >= 161 && b != 173));
    }
    char utf8[3] = {(char)code, '\0', '\0'};
    if (code >= 128) {
        utf8[0] = (char)(0xC0 | (code >> 6));
        utf8[1] = (char)(0x80 | (code & 63));
    }
    strcat(out, utf8);
}

/* Adds a token of these bytes, built byte by byte. */
static void add_token(json_t *vocabulary, json_t *merges, const char *bytes)
{
    char left[128] = "";
    append_byte(left, (unsigned char)*bytes++);
    for (; *bytes; bytes++) {
        char right[4] = "", both[128];
        append_byte(right, (unsigned char)*bytes);
        strcat(strcpy(both, left), right);
        if (!json_object_get(vocabulary, both)) {
            json_object_set_new(vocabulary, both,
                                json_integer((json_int_t)json_object_size(vocabulary)));
            json_array_append_new(merges, json_pack("[ss]", left, right));
        }
        strcpy(left, both);
    }
}

/* A tokenizer with GPT-2's split pattern, which cuts newlines off what stands in front, and these tokens. */
static sn_tokenizer *gpt2_like(const char *const *tokens)
{
    struct temporary folder;
    sn_tokenizer *made;
    json_t *vocabulary = json_object(), *merges = json_array();
    for (int byte = 0; byte < 256; byte++) {
        char key[4] = "";
        append_byte(key, (unsigned char)byte);
        json_object_set_new(vocabulary, key, json_integer(byte));
    }
    for (; *tokens; tokens++)
        add_token(vocabulary, merges, *tokens);
    json_t *all =
        json_pack("{s:s, s:{s:s, s:b, s:b}, s:{s:s}, s:{s:s, s:o, s:o}}", "version", "1.0",
                  "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 1, "decoder",
                  "type", "ByteLevel", "model", "type", "BPE", "vocab", vocabulary, "merges", merges);
    char *text = json_dumps(all, 0);
    temporary_create(&folder);
    temporary_write(&folder, "tokenizer.json", text, strlen(text));
    int status = sn_tokenizer_load(&made, context, temporary_path(&folder, "tokenizer.json"));
    ck_assert_msg(status == SN_OK, "%s", sn_context_message(context));
    temporary_remove(&folder);
    free(text);
    json_decref(all);
    return made;
}

static const char *const GPT2_TOKENS[] = {
    " enumerate", " range", " else", " not", " in", " as", "\n       ", "\n   ", " ==",   " +=", " =",
    " {",         ".add",   "set",   "')",   "\")", "]]",  "):",        "None",  "while", "for", NULL};

/* All tasks in all splits with this tokenizer; the targets of each are the two tokens named. */
static void check_all_tasks(const sn_tokenizer *with, int newlines_alone)
{
    static struct side sides[2];
    for (size_t t = 0; t < N_CONSTRUCTS; t++)
        for (size_t s = 0; s < 4; s++) {
            const struct task_row *row = &TASK_ROWS[t];
            sn_task *task = make_task(with, row->name, SPLITS[s], 12);
            for (size_t i = 0; i < 12; i++) {
                get_pair(sides, with, task, i);
                check_pair(sides, &DEFINITIONS[t], i);
                ck_assert_int_ne(sides[0].target, sides[1].target);
                for (int side = 0; side < 2 && !row->copies_name; side++) {
                    size_t n;
                    const char *bytes = sn_tokenizer_token(&n, with, sides[side].target);
                    int glued = n > 1 && bytes[n - 1] == '\n';
                    ck_assert_msg(!newlines_alone || !glued, "%s: \"%.*s\"", row->name, (int)n, bytes);
                    ck_assert_msg(strstr(row->continuations[side], "\n") == NULL || n > 0, "%s",
                                  row->name);
                }
            }
            sn_task_free(task);
        }
}

START_TEST(tokenizers_with_the_released_split_pattern_have_newlines_glued)
{
    static const char text[] = "It is a truth universally acknowledged, that a single man in possession "
                               "of a good fortune, must be in want of a wife.\n";
    static struct side sides[2];
    sn_corpus *other;
    ck_assert_int_eq(sn_corpus_create(&other, context), SN_OK);
    ck_assert_int_eq(sn_corpus_add_text(other, context, text, sizeof text - 1), SN_OK);
    sn_tokenizer *prose = train(other, 400);
    check_all_tasks(prose, 0);
    sn_task *task = make_task(prose, "bracket_counting", "fresh", 5);
    get_pair(sides, prose, task, 4);
    ck_assert_int_eq(sides[0].target, sn_tokenizer_find(prose, "]]\n", 3));
    ck_assert_int_eq(sides[1].target, sn_tokenizer_find(prose, "]\n", 2));
    sn_task_free(task);
    sn_tokenizer_free(prose);
    sn_corpus_free(other);
}
END_TEST

START_TEST(tokenizers_with_the_split_pattern_of_gpt2_have_newlines_alone)
{
    static const char *const expected[][3] = {{"bracket_counting", "]]", "]"},
                                              {"single_double_quote", "')", "\")"},
                                              {"with_as", " as", "\n"},
                                              {"set_or_string", ".", " +="},
                                              {"indent_for", "\n       ", "\n   "},
                                              {"var_if", ":", "\n"},
                                              {"final_kwarg", "=", "):"},
                                              {"if_ternary", " else", ":"},
                                              {"fstring_brace", " {", "\")"},
                                              {"enumerate_range", " enumerate", " range"}};
    static struct side sides[2];
    sn_tokenizer *gpt2 = gpt2_like(GPT2_TOKENS);
    check_all_tasks(gpt2, 1);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        sn_task *task = make_task(gpt2, expected[i][0], "develop", 3);
        get_pair(sides, gpt2, task, 2);
        for (int side = 0; side < 2; side++) {
            const char *target = expected[i][1 + side];
            ck_assert_msg(sides[side].target == sn_tokenizer_find(gpt2, target, strlen(target)),
                          "%s: not \"%s\"", expected[i][0], target);
        }
        sn_task_free(task);
    }
    sn_tokenizer_free(gpt2);
}
END_TEST

static void check_refused(const sn_tokenizer *with, const char *name, const char *message)
{
    sn_task *task;
    int status = try_task(&task, with, name, "prune", 3);
    ck_assert_msg(status == SN_ERROR_ARGUMENT, "%s: status %d", name, status);
    ck_assert_ptr_null(task);
    ck_assert_msg(strstr(sn_context_message(context), message) != NULL, "%s",
                  sn_context_message(context));
}

START_TEST(what_a_tokenizer_cannot_express_is_refused_by_name)
{
    static const char *const letters[] = {"):", NULL}, *const glued[] = {")\n", "]]", NULL};
    sn_tokenizer *bytes = gpt2_like(letters);
    check_refused(bytes, "bracket_counting",
                  "task bracket_counting: target \"]]\\n\" is no single token but \"]\" \"]\" \"\\n\"");
    check_refused(bytes, "set_or_string",
                  "task set_or_string: target \".add\" is no single token but \".\" \"a\" \"d\" \"d\"");
    check_refused(bytes, "for_while", "task for_while: target \" in\" is no single token");
    check_refused(bytes, "class_init", "task class_init: this tokenizer does not tell names apart");
    sn_task *task = make_task(bytes, "final_kwarg", "prune", 3); /* "=" and "):" it has */
    sn_task_free(task);
    sn_tokenizer_free(bytes);
    /* all of the targets are tokens, but one does not come out where it should */
    sn_tokenizer *half = gpt2_like(glued);
    check_refused(half, "with_as", "task with_as: target \")\\n\" is not what this tokenizer writes");
    sn_tokenizer_free(half);
}
END_TEST

static int attempt_refusal(sn_context *tight, void *payload)
{
    sn_task *task;
    int status = sn_python_task(&task, tight, payload, "with_as", 2, NULL);
    ck_assert_ptr_null(task);
    return status == SN_ERROR_ARGUMENT ? SN_OK : status;
}

static int attempt_second_form(sn_context *tight, void *payload)
{
    sn_task *task;
    int status = sn_python_task(&task, tight, payload, "else_elif", 2, NULL);
    sn_task_free(task);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    static const char *const some[] = {")\n", " not", "for", "while", "else", "elif", NULL};
    sn_tokenizer *gpt2 = gpt2_like(some);
    ck_assert_uint_gt(oom_loop(attempt_refusal, gpt2, 1, 8), 10);
    ck_assert_uint_gt(oom_loop(attempt_second_form, gpt2, 1, 8), 10);
    sn_tokenizer_free(gpt2);
}
END_TEST

Suite *python_tasks_suite(void)
{
    Suite *suite = suite_create("python_tasks");
    TCase *cases = tcase_create("python_tasks");
    tcase_add_unchecked_fixture(cases, setup, teardown);
    tcase_add_test(cases, every_task_has_its_definition);
    tcase_add_test(cases, no_split_and_no_construct_is_thin);
    tcase_add_test(cases, no_template_is_in_two_splits);
    tcase_add_loop_test(cases, prompts_differ_in_one_place_that_nothing_else_betrays, 0, N_CONSTRUCTS);
    tcase_add_loop_test(cases, splits_share_no_words_with_each_other_or_training, 0, N_CONSTRUCTS);
    tcase_add_test(cases, tokenizers_with_the_released_split_pattern_have_newlines_glued);
    tcase_add_test(cases, tokenizers_with_the_split_pattern_of_gpt2_have_newlines_alone);
    tcase_add_test(cases, what_a_tokenizer_cannot_express_is_refused_by_name);
    tcase_add_test(cases, every_refused_allocation_is_survived);
    suite_add_tcase(suite, cases);
    return suite;
}
