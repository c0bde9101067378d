/* Generated Python: documents, templates, lists of brackets, real lines, freshness. What holds for every
 * task stands in test_python_tasks.c. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oom.h"
#include "python/constructs.h"
#include "python/expand.h"
#include "python/words.h"
#include "sparsenet.h"

#define N_PAIRS 500
#define VOCABULARY 768

static const char *const SPLITS[] = {"prune", "develop", "fresh", "train"};

static sn_context *context;
static sn_corpus *idioms;
static sn_tokenizer *tokenizer;

/* One option of each kind, as most calls here need them; NULL text = no text option. */
static sn_options *options(const char *key, double value, const char *text_key, const char *text)
{
    sn_options *made;
    ck_assert_int_eq(sn_options_create(&made, context), SN_OK);
    if (key)
        ck_assert_int_eq(sn_options_set(made, context, key, value), SN_OK);
    if (text)
        ck_assert_int_eq(sn_options_set_text(made, context, text_key, text), SN_OK);
    return made;
}

static void setup(void)
{
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    ck_assert_int_eq(sn_corpus_create(&idioms, context), SN_OK);
    ck_assert_int_eq(sn_python_add_idioms(idioms, context, 400000, NULL), SN_OK);
    sn_options *required = options(NULL, 0, "required", sn_python_required_tokens());
    ck_assert_int_eq(sn_tokenizer_train(&tokenizer, context, idioms, VOCABULARY, required), SN_OK);
    sn_options_free(required);
}

static void teardown(void)
{
    sn_tokenizer_free(tokenizer);
    sn_corpus_free(idioms);
    sn_context_free(context);
}

static sn_task *make_task(const char *name, const char *split, double seed, size_t n_pairs)
{
    sn_task *task;
    sn_options *made = options("seed", seed, "split", split);
    int status = sn_python_task(&task, context, tokenizer, name, n_pairs, made);
    ck_assert_msg(status == SN_OK, "%s, %s: %s", name, split, sn_context_message(context));
    sn_options_free(made);
    ck_assert_uint_eq(sn_task_count(task), n_pairs);
    return task;
}

/* ------------------------------------------------------------ documents */

START_TEST(documents_follow_from_the_seed)
{
    sn_corpus *again, *other;
    sn_options *one = options("seed", 1, NULL, NULL);
    ck_assert_int_eq(sn_corpus_create(&again, context), SN_OK);
    ck_assert_int_eq(sn_corpus_create(&other, context), SN_OK);
    ck_assert_int_eq(sn_python_add_idioms(again, context, 50000, NULL), SN_OK);
    ck_assert_int_eq(sn_python_add_idioms(other, context, 50000, one), SN_OK);
    size_t total = 0, same = 0;
    for (size_t i = 0; i < sn_corpus_count(again); i++) {
        size_t n, m, o = 0;
        const char *text = sn_corpus_text(&n, again, i), *first = sn_corpus_text(&m, idioms, i);
        const char *differs = sn_corpus_text(&o, other, i);
        ck_assert_uint_eq(n, m);
        ck_assert_mem_eq(text, first, n);
        same += differs && n == o && memcmp(text, differs, n) == 0;
        total += n;
    }
    ck_assert_uint_ge(total, 50000);
    ck_assert_uint_lt(total, 60000);
    ck_assert_uint_eq(same, 0);
    sn_options_free(one);
    sn_corpus_free(other);
    sn_corpus_free(again);
}
END_TEST

static size_t count_text(const sn_corpus *corpus, const char *text)
{
    size_t found = 0, n;
    for (size_t i = 0; i < sn_corpus_count(corpus); i++)
        found += strstr(sn_corpus_text(&n, corpus, i), text) != NULL;
    return found;
}

START_TEST(constructs_can_be_chosen)
{
    sn_corpus *drill;
    sn_options *made = options("short", 1, "constructs", "for_while,set_or_string");
    ck_assert_int_eq(sn_corpus_create(&drill, context), SN_OK);
    ck_assert_int_eq(sn_python_add_idioms(drill, context, 50000, made), SN_OK);
    ck_assert_int_eq(sn_corpus_tokenize(drill, context, tokenizer), SN_OK);
    size_t n = sn_corpus_count(drill);
    ck_assert_uint_gt(count_text(drill, "set()"), n / 5);
    ck_assert_uint_gt(count_text(drill, "while "), n / 8);
    ck_assert_uint_eq(count_text(drill, "lambda"), 0);
    ck_assert_uint_eq(count_text(drill, "class "), 0);
    ck_assert_uint_lt(sn_corpus_token_count(drill), 48 * n); /* fits drill windows on average */
    sn_options_free(made);

    made = options(NULL, 0, "constructs", "for_while,no_such_thing");
    ck_assert_int_eq(sn_python_add_idioms(drill, context, 1000, made), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "no_such_thing"));
    sn_options_free(made);
    sn_corpus_free(drill);
}
END_TEST

START_TEST(every_construct_is_met)
{
    static const char *const MET[] = {
        "('",        "(\"",     "]]\n",    " while ",       "for ",          "= set()", ".add(",
        "= \"\"",    "=None, ", "class ",  "self.",         "with open",     " as ",    "{",
        "'r'",       "\"w\"",   "else:",   "elif not ",     "(f\"",          " if ",    "= lambda",
        "enumerate", "range(",  "== True", "while True:\n", "return True\n",
    };
    for (size_t i = 0; i < sizeof MET / sizeof *MET; i++)
        ck_assert_msg(count_text(idioms, MET[i]) > 10, "%s is rare", MET[i]);
}
END_TEST

/* ------------------------------------------------------------ templates */

static void expand_both(const char *pattern, enum word_partition partition)
{
    struct memory *memory = memory_create(NULL);
    struct writer writers[2];
    struct buffer texts[2];
    size_t marks = 0;
    for (const char *at = pattern; *at; at++)
        marks += *at == '~';
    ck_assert_msg(marks % 3 == 0, "unbalanced ~ in %s", pattern);
    for (int side = 0; side < 2; side++) {
        buffer_init(&texts[side], memory);
        writer_init(&writers[side], &texts[side], 3, 4, partition);
        writers[side].side = side;
        expand(&writers[side], pattern);
        ck_assert_msg(!texts[side].failed && texts[side].size, "cannot expand %s", pattern);
        ck_assert_ptr_null(strchr(texts[side].bytes, '$'));
    }
    ck_assert_msg(memcmp(&writers[0].random, &writers[1].random, sizeof writers[0].random) == 0,
                  "the sides of %s draw different numbers", pattern);
    for (int side = 0; side < 2; side++)
        buffer_free(&texts[side]);
    memory_release(memory);
}

START_TEST(all_templates_expand_alike_on_both_sides)
{
    for (size_t i = 0; i < N_CONSTRUCTS; i++) {
        for (const char *const *p = CONSTRUCTS[i].patterns; *p; p++)
            expand_both(*p, WORDS_TRAINING);
        for (const char *const *p = TASK_ROWS[i].prune; *p; p++)
            expand_both(*p, WORDS_TRAINING);
        for (const char *const *p = TASK_ROWS[i].develop; *p; p++)
            expand_both(*p, WORDS_DEVELOP);
        for (const char *const *p = TASK_ROWS[i].fresh; *p; p++)
            expand_both(*p, WORDS_FRESH);
    }
    for (size_t i = 0; i < N_STATEMENTS; i++)
        expand_both(STATEMENTS[i], WORDS_TRAINING);
    for (size_t i = 0; i < N_DEVELOP_CONTEXT; i++)
        expand_both(DEVELOP_CONTEXT[i], WORDS_DEVELOP);
    for (size_t i = 0; i < N_FRESH_CONTEXT; i++)
        expand_both(FRESH_CONTEXT[i], WORDS_FRESH);
}
END_TEST

static int list_holds(const char *const *list, const char *pattern)
{
    while (*list && strcmp(*list, pattern) != 0)
        list++;
    return *list != NULL;
}

/* A template of a held-out split stands in no list of what comes before it: training, pruning and,
 * for fresh ones, development. */
static void check_absent(const char *pattern, int fresh)
{
    for (size_t i = 0; i < N_CONSTRUCTS; i++) {
        for (const char *const *p = CONSTRUCTS[i].patterns; *p; p++)
            ck_assert_msg(!strstr(*p, pattern), "\"%s\" is in the generator", pattern);
        ck_assert_msg(!list_holds(TASK_ROWS[i].prune, pattern), "\"%s\" is a pruning template", pattern);
        ck_assert_msg(!fresh || !list_holds(TASK_ROWS[i].develop, pattern),
                      "fresh \"%s\" is a development template", pattern);
    }
    for (size_t i = 0; i < N_STATEMENTS; i++)
        ck_assert_msg(strcmp(STATEMENTS[i], pattern) != 0, "\"%s\" is a statement", pattern);
    for (size_t i = 0; fresh && i < N_DEVELOP_CONTEXT; i++)
        ck_assert_msg(strcmp(DEVELOP_CONTEXT[i], pattern) != 0,
                      "fresh \"%s\" is in front of development "
                      "prompts",
                      pattern);
}

START_TEST(held_out_templates_are_in_no_other_list)
{
    for (size_t i = 0; i < N_CONSTRUCTS; i++) {
        for (const char *const *p = TASK_ROWS[i].develop; *p; p++)
            check_absent(*p, 0);
        for (const char *const *p = TASK_ROWS[i].fresh; *p; p++)
            check_absent(*p, 1);
    }
    for (size_t i = 0; i < N_DEVELOP_CONTEXT; i++)
        check_absent(DEVELOP_CONTEXT[i], 0);
    for (size_t i = 0; i < N_FRESH_CONTEXT; i++)
        check_absent(FRESH_CONTEXT[i], 1);
}
END_TEST

/* One side of a template with its names in order of appearance, so that templates can be compared that
 * call them differently. */
static void normalise(char *out, const char *pattern, int side)
{
    char letters[26] = {0}, next = 'a';
    int alternative = -1;
    for (; *pattern; pattern++) {
        if (*pattern == '~')
            alternative = alternative == 1 ? -1 : alternative + 1;
        else if (alternative < 0 || alternative == side) {
            *out++ = *pattern;
            if (*pattern == '$' && pattern[1] >= 'a' && pattern[1] <= 'h') {
                char *letter = &letters[*++pattern - 'a'];
                if (!*letter)
                    *letter = next++;
                *out++ = *letter;
            }
        }
    }
    *out = '\0';
}

static void check_begins_no_unit(const char *pattern)
{
    char prompt[512], unit[512];
    for (int side = 0; side < 2; side++) {
        normalise(prompt, pattern, side);
        for (size_t i = 0; i < N_CONSTRUCTS; i++)
            for (const char *const *p = CONSTRUCTS[i].patterns; *p; p++) {
                normalise(unit, *p, SIDE_A);
                ck_assert_msg(strncmp(unit, prompt, strlen(prompt)) != 0, "\"%s\" begins like \"%s\"",
                              *p, pattern);
            }
    }
}

START_TEST(no_unit_of_training_begins_like_a_held_out_prompt)
{
    for (size_t i = 0; i < N_CONSTRUCTS; i++) {
        for (const char *const *p = TASK_ROWS[i].develop; *p; p++)
            check_begins_no_unit(*p);
        for (const char *const *p = TASK_ROWS[i].fresh; *p; p++)
            check_begins_no_unit(*p);
    }
}
END_TEST

START_TEST(every_construct_has_its_task)
{
    ck_assert_uint_eq(sn_python_task_count(), N_CONSTRUCTS);
    for (size_t i = 0; i < N_CONSTRUCTS; i++) {
        const char *name = CONSTRUCTS[i].name;
        size_t found = 0;
        for (size_t j = 0; j < N_CONSTRUCTS; j++)
            found += strcmp(sn_python_task_name(j), name) == 0;
        ck_assert_msg(found == 1, "%s has %zu tasks", name, found);
    }
    ck_assert_ptr_null(sn_python_task_name(N_CONSTRUCTS));
}
END_TEST

START_TEST(words_keep_to_their_partition)
{
    struct random_state random;
    char word[NAME_CAPACITY];
    random_seed(&random, 5, 0);
    for (int i = 0; i < 20000; i++) {
        for (enum word_partition partition = WORDS_TRAINING; partition <= WORDS_FRESH; partition++) {
            word_draw(word, &random, partition);
            ck_assert_int_eq(word_partition_of(word, strlen(word)), partition);
            ck_assert(partition == WORDS_TRAINING || (strlen(word) >= 5 && strlen(word) <= 12));
        }
    }
}
END_TEST

/* ---------------------------------------------------------------- pairs */

struct pair {
    const int32_t *tokens[2];
    size_t n[2];
    int32_t targets[2];
};

static struct pair get_pair(const sn_task *task, size_t index)
{
    struct pair pair;
    ck_assert_int_eq(sn_task_pair(&pair.tokens[0], &pair.n[0], &pair.tokens[1], &pair.n[1],
                                  &pair.targets[0], &pair.targets[1], task, index),
                     SN_OK);
    return pair;
}

static void decode(char *text, size_t capacity, const int32_t *tokens, size_t n)
{
    size_t length;
    ck_assert_int_eq(sn_tokenizer_decode(text, capacity - 1, &length, context, tokenizer, tokens, n),
                     SN_OK);
    text[length] = '\0';
}

START_TEST(all_tasks_and_splits_have_single_token_targets)
{
    const char *name = sn_python_task_name((size_t)_i);
    for (size_t s = 0; s < 4; s++) {
        sn_task *task = make_task(name, SPLITS[s], 3, 40);
        for (size_t i = 0; i < 40; i++) {
            struct pair pair = get_pair(task, i);
            ck_assert_int_ne(pair.targets[0], pair.targets[1]);
            for (int side = 0; side < 2; side++) {
                ck_assert_uint_ge(pair.n[side], 20);
                ck_assert_uint_le(pair.n[side], 120);
            }
        }
        sn_task_free(task);
    }
}
END_TEST

START_TEST(pairs_follow_from_the_seed)
{
    sn_task *a = make_task("for_while", "prune", 1, 30), *b = make_task("for_while", "prune", 1, 60);
    sn_task *c = make_task("for_while", "develop", 1, 30), *d = make_task("for_while", "prune", 2, 30);
    for (size_t i = 0; i < 30; i++) {
        struct pair p = get_pair(a, i), q = get_pair(b, i), r = get_pair(c, i), s = get_pair(d, i);
        ck_assert_uint_eq(p.n[0], q.n[0]);
        ck_assert_mem_eq(p.tokens[0], q.tokens[0], p.n[0] * sizeof *p.tokens[0]);
        ck_assert(p.n[0] != r.n[0] || memcmp(p.tokens[0], r.tokens[0], p.n[0] * sizeof(int32_t)) != 0);
        ck_assert(p.n[0] != s.n[0] || memcmp(p.tokens[0], s.tokens[0], p.n[0] * sizeof(int32_t)) != 0);
    }
    sn_task_free(d);
    sn_task_free(c);
    sn_task_free(b);
    sn_task_free(a);
}
END_TEST

/* The last bracket before the end: 0 none, 1 opening, 2 closing. */
static int last_bracket(const char *text)
{
    int last = 0;
    for (; *text; text++)
        last = *text == '[' ? 1 : *text == ']' ? 2 : last;
    return last;
}

START_TEST(brackets_need_counting)
{
    for (size_t s = 0; s < 3; s++) { /* the lists of "train" are those of "prune" */
        sn_task *task = make_task("bracket_counting", SPLITS[s], 31, N_PAIRS);
        size_t opening[2] = {0, 0}, same_last = 0;
        for (size_t i = 0; i < N_PAIRS; i++) {
            struct pair pair = get_pair(task, i);
            for (size_t back = 1; back <= 3; back++)
                ck_assert_int_eq(pair.tokens[0][pair.n[0] - back], pair.tokens[1][pair.n[1] - back]);
            int last[2];
            for (int side = 0; side < 2; side++) {
                char text[4096];
                decode(text, sizeof text, pair.tokens[side], pair.n[side]);
                last[side] = last_bracket(text);
                opening[side] += last[side] == 1;
            }
            same_last += last[0] == last[1];
        }
        double share = 0.5 + 0.5 * ((double)opening[0] - (double)opening[1]) / N_PAIRS;
        ck_assert_msg(share < 0.75, "the last bracket alone gives %.3f", share);
        ck_assert_uint_gt(same_last, N_PAIRS / 2);
        sn_task_free(task);
    }
}
END_TEST

START_TEST(a_third_stands_behind_unrelated_code)
{
    sn_task *bare, *behind;
    sn_options *none = options("distractor", 0, NULL, NULL), *all = options("distractor", 1, NULL, NULL);
    ck_assert_int_eq(sn_python_task(&bare, context, tokenizer, "for_while", 200, none), SN_OK);
    ck_assert_int_eq(sn_python_task(&behind, context, tokenizer, "for_while", 200, all), SN_OK);
    size_t quotes[2] = {0, 0}, longest = 0, shortest = 1000;
    for (size_t i = 0; i < 200; i++) {
        struct pair pair = get_pair(bare, i), other = get_pair(behind, i);
        char text[4096];
        decode(text, sizeof text, pair.tokens[0], pair.n[0]);
        quotes[0] += strchr(text, '\'') || strchr(text, '"');
        decode(text, sizeof text, other.tokens[0], other.n[0]);
        quotes[1] += strchr(text, '\'') || strchr(text, '"');
        longest = pair.n[0] > longest ? pair.n[0] : longest;
        shortest = other.n[0] < shortest ? other.n[0] : shortest;
    }
    ck_assert_uint_eq(quotes[0], 0);
    ck_assert_uint_gt(quotes[1], 100);
    ck_assert_uint_le(longest, 80);
    ck_assert_uint_ge(shortest, 40);
    sn_task_free(behind);
    sn_task_free(bare);
    sn_options_free(all);
    sn_options_free(none);
}
END_TEST

START_TEST(bad_requests_are_named)
{
    sn_task *task = NULL;
    sn_tokenizer *plain;
    ck_assert_int_eq(sn_python_task(&task, context, tokenizer, "no_task", 5, NULL), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "no_task"));
    ck_assert_ptr_null(task);
    sn_options *made = options("min_tokens", 200, NULL, NULL);
    ck_assert_int_eq(sn_python_task(&task, context, tokenizer, "for_while", 5, made), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "min_tokens 200"));
    sn_options_free(made);
    made = options("max_tokens", 1, NULL, NULL);
    ck_assert_int_eq(sn_options_set(made, context, "min_tokens", 1), SN_OK);
    ck_assert_int_eq(sn_python_task(&task, context, tokenizer, "for_while", 5, made), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "max_tokens 1"));
    sn_options_free(made);

    ck_assert_int_eq(sn_tokenizer_train(&plain, context, idioms, 256, NULL), SN_OK);
    made = options("max_tokens", 500, NULL, NULL);
    ck_assert_int_eq(sn_python_task(&task, context, plain, "bracket_counting", 5, made),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "]]\\n\" is no single token"));
    ck_assert_ptr_null(task);
    sn_options_free(made);
    sn_tokenizer_free(plain);
}
END_TEST

/* ------------------------------------------------------------ freshness */

START_TEST(a_leak_is_found_and_named)
{
    sn_corpus *leaking;
    sn_task *task;
    ck_assert_int_eq(sn_corpus_create(&leaking, context), SN_OK);
    ck_assert_int_eq(sn_task_create(&task, context, "leak"), SN_OK);
    ck_assert_int_eq(sn_task_add_text_pair(task, context, tokenizer, "for mrozunk_zlape",
                                           "while mrozunk_zlape", " in", ":\n"),
                     SN_OK);
    const char *harmless = "for item in range(9):\n    zlapes = mrozun\n", *leak = "print('a Zlape!')\n";
    ck_assert_int_eq(sn_corpus_add_text(leaking, context, harmless, strlen(harmless)), SN_OK);
    size_t n = 0;
    ck_assert_int_eq(sn_python_check_fresh(&n, context, tokenizer, task, leaking), SN_OK);
    ck_assert_uint_eq(n, 2); /* mrozunk and zlape; while is Python's own */
    ck_assert_int_eq(sn_corpus_add_text(leaking, context, leak, strlen(leak)), SN_OK);
    ck_assert_int_eq(sn_python_check_fresh(&n, context, tokenizer, task, leaking), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "\"zlape\""));
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "document 1"));
    /* and pruning prompts do leak, so the check is able to find what generated text holds */
    sn_task *prune = make_task("for_while", "prune", 1, 40);
    ck_assert_int_eq(sn_python_check_fresh(NULL, context, tokenizer, prune, idioms), SN_ERROR_ARGUMENT);
    sn_task_free(prune);
    sn_task_free(task);
    sn_corpus_free(leaking);
}
END_TEST

/* ----------------------------------------------------------- real lines */

static const char SOURCE[] = "import os\n"
                             "'''print(\"in a docstring\")\n'''\n"
                             "def main(path):\n"
                             "    # print('in a comment')\n"
                             "    print('plain text')\n"
                             "    log(path, \"double text\")\n"
                             "    log(f'prefixed')\n"
                             "    log('it\\'s escaped')\n"
                             "    log(\"don't\")\n"
                             "    log('other', 'last one') \n"
                             "    print('first', 'second part')\n"
                             "    print('')\n"
                             "    value = 'bare end'\n";

START_TEST(real_lines_are_cut_at_their_closing_quote)
{
    sn_corpus *source;
    sn_task *task;
    sn_options *made = options("context", 0, NULL, NULL);
    ck_assert_int_eq(sn_options_set(made, context, "min_tokens", 1), SN_OK);
    ck_assert_int_eq(sn_corpus_create(&source, context), SN_OK);
    ck_assert_int_eq(sn_corpus_add_text(source, context, SOURCE, sizeof SOURCE - 1), SN_OK);
    ck_assert_int_eq(sn_python_quote_lines(&task, context, tokenizer, source, ")", 10, made), SN_OK);
    ck_assert_uint_eq(sn_task_count(task), 3);
    size_t found[3] = {0, 0, 0};
    for (size_t i = 0; i < 3; i++) {
        struct pair pair = get_pair(task, i);
        char a[4096], b[4096];
        decode(a, sizeof a, pair.tokens[0], pair.n[0]);
        decode(b, sizeof b, pair.tokens[1], pair.n[1]);
        found[0] += !strcmp(a, "    print('plain text") && !strcmp(b, "    print(\"plain text");
        found[1] +=
            !strcmp(a, "    log(path, 'double text") && !strcmp(b, "    log(path, \"double text");
        found[2] += !strcmp(a, "    print('first', 'second part") &&
                    !strcmp(b, "    print('first', \"second part");
        ck_assert_int_eq(pair.targets[0], sn_tokenizer_find(tokenizer, "')\n", 3));
        ck_assert_int_eq(pair.targets[1], sn_tokenizer_find(tokenizer, "\")\n", 3));
    }
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(found[i], 1);
    sn_task_free(task);
    ck_assert_int_eq(sn_python_quote_lines(&task, context, tokenizer, source, "),", 10, made),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "'),\\n is no single token"));
    sn_options_free(made);
    made = options("min_tokens", 30, NULL, NULL);
    ck_assert_int_eq(sn_python_quote_lines(&task, context, tokenizer, source, ")", 10, made), SN_OK);
    for (size_t i = 0; i < sn_task_count(task); i++) {
        struct pair pair = get_pair(task, i);
        ck_assert_uint_ge(pair.n[0], 30);
        ck_assert_uint_le(pair.n[0], 120);
    }
    sn_task_free(task);
    sn_options_free(made);
    sn_corpus_free(source);
}
END_TEST

/* --------------------------------------------------------------- memory */

static int attempt_all(sn_context *tight, void *payload)
{
    (void)payload;
    sn_corpus *corpus = NULL;
    sn_task *task = NULL, *lines = NULL;
    int status = sn_corpus_create(&corpus, tight);
    if (status == SN_OK)
        status = sn_python_add_idioms(corpus, tight, 1500, NULL);
    if (status == SN_OK)
        status = sn_python_task(&task, tight, tokenizer, "bracket_counting", 2, NULL);
    if (status == SN_OK)
        status = sn_corpus_add_text(corpus, tight, SOURCE, sizeof SOURCE - 1);
    if (status == SN_OK)
        status = sn_python_quote_lines(&lines, tight, tokenizer, corpus, ")", 3, NULL);
    if (status == SN_OK) {
        size_t n;
        status = sn_python_check_fresh(&n, tight, tokenizer, lines, corpus);
        status = status == SN_ERROR_ARGUMENT ? SN_OK : status; /* the lines are in the corpus */
    }
    sn_task_free(lines);
    sn_task_free(task);
    sn_corpus_free(corpus);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    ck_assert_uint_gt(oom_loop(attempt_all, NULL, 1, 16), 50);
}
END_TEST

Suite *python_suite(void)
{
    Suite *suite = suite_create("python");
    TCase *data = tcase_create("templates");
    tcase_add_test(data, all_templates_expand_alike_on_both_sides);
    tcase_add_test(data, held_out_templates_are_in_no_other_list);
    tcase_add_test(data, no_unit_of_training_begins_like_a_held_out_prompt);
    tcase_add_test(data, every_construct_has_its_task);
    tcase_add_test(data, words_keep_to_their_partition);
    suite_add_tcase(suite, data);
    TCase *cases = tcase_create("python");
    tcase_add_unchecked_fixture(cases, setup, teardown);
    tcase_add_test(cases, documents_follow_from_the_seed);
    tcase_add_test(cases, constructs_can_be_chosen);
    tcase_add_test(cases, every_construct_is_met);
    tcase_add_loop_test(cases, all_tasks_and_splits_have_single_token_targets, 0, N_CONSTRUCTS);
    tcase_add_test(cases, pairs_follow_from_the_seed);
    tcase_add_test(cases, brackets_need_counting);
    tcase_add_test(cases, a_third_stands_behind_unrelated_code);
    tcase_add_test(cases, bad_requests_are_named);
    tcase_add_test(cases, a_leak_is_found_and_named);
    tcase_add_test(cases, real_lines_are_cut_at_their_closing_quote);
    tcase_add_test(cases, every_refused_allocation_is_survived);
    suite_add_tcase(suite, cases);
    return suite;
}
