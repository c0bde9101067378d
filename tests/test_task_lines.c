/* Tasks as JSON Lines: what is written is read back, what nobody vouches for is refused by line and field. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oom.h"
#include "sparsenet.h"
#include "temporary.h"

#include "fixture.h"

#define LONGEST_LINE ((size_t)1 << 20)

static sn_tokenizer *tokenizer;

static void setup(void)
{
    sn_corpus *idioms;
    sn_options *options;
    fixture_setup();
    ck_assert_int_eq(sn_corpus_create(&idioms, context), SN_OK);
    ck_assert_int_eq(sn_python_add_idioms(idioms, context, 60000, NULL), SN_OK);
    ck_assert_int_eq(sn_options_create(&options, context), SN_OK);
    ck_assert_int_eq(sn_options_set_text(options, context, "required", sn_python_required_tokens()),
                     SN_OK);
    ck_assert_int_eq(sn_tokenizer_train(&tokenizer, context, idioms, 512, options), SN_OK);
    sn_options_free(options);
    sn_corpus_free(idioms);
}

static void teardown(void)
{
    sn_tokenizer_free(tokenizer);
    fixture_teardown();
}

static int same_tasks(const sn_task *a, const sn_task *b)
{
    int same = sn_task_count(a) == sn_task_count(b);
    for (size_t i = 0; same && i < sn_task_count(a); i++) {
        const int32_t *p[2][2];
        size_t n[2][2];
        int32_t targets[2][2];
        for (int t = 0; t < 2; t++)
            sn_task_pair(&p[t][0], &n[t][0], &p[t][1], &n[t][1], &targets[t][0], &targets[t][1],
                         t ? b : a, i);
        for (int side = 0; side < 2; side++)
            same &= n[0][side] == n[1][side] && targets[0][side] == targets[1][side] &&
                    memcmp(p[0][side], p[1][side], n[0][side] * sizeof(int32_t)) == 0;
    }
    return same;
}

static char *read_back(size_t *length, const char *path)
{
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    char *text = malloc(1 << 22);
    *length = fread(text, 1, (1 << 22) - 1, file);
    text[*length] = '\0';
    fclose(file);
    return text;
}

/* Writes and reads the task; returns how many of its lines are text. */
static size_t round_trip(const sn_task *task, const sn_tokenizer *with)
{
    sn_task *again;
    size_t length, n_text = 0;
    const char *path = temporary_path(&temporary, "some_task.jsonl");
    ck_assert_int_eq(sn_task_save_jsonl(task, context, with, path), SN_OK);
    int status = sn_task_load_jsonl(&again, context, with, path);
    ck_assert_msg(status == SN_OK, "%s", sn_context_message(context));
    ck_assert_msg(same_tasks(task, again), "%s is another one after reading", sn_task_name(task));
    ck_assert_str_eq(sn_task_name(again), "some_task");
    sn_task_free(again);
    char *text = read_back(&length, path);
    for (const char *at = text; (at = strstr(at, "{\"prompt\": \"")); at++)
        n_text++;
    free(text);
    return n_text;
}

START_TEST(generated_tasks_come_back_equal)
{
    for (size_t i = 0; i < sn_python_task_count(); i++) {
        sn_task *task;
        ck_assert_int_eq(sn_python_task(&task, context, tokenizer, sn_python_task_name(i), 12, NULL),
                         SN_OK);
        ck_assert_uint_eq(round_trip(task, tokenizer), 12); /* all as text */
        ck_assert_uint_eq(round_trip(task, NULL), 0);
        sn_task_free(task);
    }
}
END_TEST

START_TEST(what_is_no_text_is_written_as_ids)
{
    sn_task *task;
    const int32_t halves[] = {0xC3, 'a'}, nul[] = {'a', 0}, letters[] = {'a', 'b'};
    ck_assert_int_eq(sn_task_create(&task, context, "ids"), SN_OK);
    ck_assert_int_eq(sn_task_add_pair(task, context, halves, 2, letters, 2, 'x', 'y'), SN_OK);
    ck_assert_int_eq(sn_task_add_pair(task, context, nul, 2, letters, 2, 'x', 'y'), SN_OK);
    ck_assert_uint_eq(round_trip(task, tokenizer), 0);
    /* and so is what the tokenizer would write in other tokens */
    const int32_t apart[] = {'f', 'o', 'r'};
    ck_assert_int_eq(sn_task_add_pair(task, context, apart, 3, letters, 1, ' ', '\n'), SN_OK);
    ck_assert_uint_eq(round_trip(task, tokenizer), 0);
    ck_assert_uint_eq(round_trip(task, NULL), 0);
    sn_task_free(task);
}
END_TEST

START_TEST(long_files_are_read_in_pieces)
{
    static int32_t tokens[9000];
    sn_task *task;
    ck_assert_int_eq(sn_task_create(&task, context, "long"), SN_OK);
    for (int32_t i = 0; i < 40; i++) { /* lines of all lengths to 90 KB, half a megabyte in all */
        size_t n = (size_t)(i * i * 5 + 1);
        for (size_t k = 0; k < n; k++)
            tokens[k] = (int32_t)((k * 7919 + (size_t)i) % 2147483647);
        ck_assert_int_eq(sn_task_add_pair(task, context, tokens, n, tokens, n / 2 + 1, i, i + 1), SN_OK);
    }
    ck_assert_uint_eq(round_trip(task, NULL), 0);
    sn_task_free(task);
}
END_TEST

static int load_text(sn_task **task, const sn_tokenizer *with, const char *text, size_t length)
{
    temporary_write(&temporary, "pairs.jsonl", text, length);
    return sn_task_load_jsonl(task, context, with, temporary_path(&temporary, "pairs.jsonl"));
}

START_TEST(pairs_written_by_hand_are_read)
{
    static const char text[] =
        "\n  \r\n{\"prompt\": \"print('one\", \"alternative\": \"print(\\\"one\", \"target\": \"')\\n\","
        " \"alternative_target\": \"\\\")\\n\"}\r\n"
        "{\"alternative_target\": 98, \"target\": 97, \"alternative\": [3], \"prompt\": [1, 2]}";
    sn_task *task;
    const int32_t *a;
    int32_t target_a, target_b;
    size_t n;
    ck_assert_int_eq(load_text(&task, tokenizer, text, sizeof text - 1), SN_OK);
    ck_assert_str_eq(sn_task_name(task), "pairs");
    ck_assert_uint_eq(sn_task_count(task), 2);
    ck_assert_int_eq(sn_task_pair(NULL, NULL, NULL, NULL, &target_a, &target_b, task, 0), SN_OK);
    ck_assert_int_eq(target_a, sn_tokenizer_find(tokenizer, "')\n", 3));
    ck_assert_int_eq(target_b, sn_tokenizer_find(tokenizer, "\")\n", 3));
    ck_assert_int_eq(sn_task_pair(&a, &n, NULL, NULL, &target_a, &target_b, task, 1), SN_OK);
    ck_assert(n == 2 && a[0] == 1 && a[1] == 2 && target_a == 97 && target_b == 98);
    sn_task_free(task);
}
END_TEST

#define GOOD "{\"prompt\": [1, 2], \"alternative\": [3], \"target\": 4, \"alternative_target\": 5}\n"
#define IDS(prompt, alternative, target, other)                                                         \
    "{\"prompt\": " prompt ", \"alternative\": " alternative ", \"target\": " target                    \
    ", \"alternative_target\": " other "}"

static const struct bad_file {
    const char *text, *message;
} BAD_FILES[] = {
    {"", "holds no pair"},
    {"\n \n\t\r\n", "holds no pair"},
    {GOOD "{\"prompt\": [1]", "line 2: bad JSON"},
    {GOOD "\n" GOOD "[]\n", "line 4: not an object"},
    {"7\n", "line 1: bad JSON"},
    {"{\"prompt\": \"a\xff\"}\n", "line 1: bad JSON"},
    {"{\"prompt\": \"a\\u0000\"}\n", "line 1: bad JSON"},
    {GOOD IDS("[1]", "[2]", "3", "4") " x\n", "line 2: bad JSON"},
    {IDS("[1]", "[2]", "3", "4, \"target\": 3"), "line 1: bad JSON"},
    {"{\"prompt\": [1], \"alternative\": [2], \"target\": 3}", "line 1: alternative_target is missing"},
    {GOOD IDS("[1]", "[2]", "3", "4, \"tar\\nget2\": 3"), "line 2: \"tar?get2\" is no field"},
    {IDS("[1]", "[2]", "3", "3"), "line 1: sn_task_add_pair: targets 3 and 3"},
    {IDS("[]", "[2]", "3", "4"), "line 1: sn_task_add_pair: prompt A is empty"},
    {IDS("[1]", "[]", "3", "4"), "line 1: sn_task_add_pair: prompt B is empty"},
    {IDS("[1, -1]", "[2]", "3", "4"), "line 1: prompt: must be tokens of 0"},
    {IDS("[1]", "[2, 2147483648]", "3", "4"), "line 1: alternative: must be tokens of 0"},
    {IDS("[1]", "[2, 1.5]", "3", "4"), "line 1: alternative: must be tokens of 0"},
    {IDS("[1]", "[[2]]", "3", "4"), "line 1: alternative: must be tokens of 0"},
    {IDS("[1]", "[2]", "null", "4"), "line 1: target: must be tokens of 0"},
    {IDS("[1]", "[2]", "3", "99999999999"), "line 1: alternative_target: must be tokens of 0"},
    {IDS("[1]", "5", "3", "4"), "line 1: alternative: must be an array of tokens"},
    {IDS("[1]", "[2]", "\"x\"", "4"), "line 1: prompt: must be a text"},
    {IDS("\"a\"", "\"b\"", "\"x\"", "7"), "line 1: alternative_target: must be a text"},
};

START_TEST(bad_files_are_refused_by_line_and_field)
{
    const struct bad_file *bad = &BAD_FILES[_i];
    for (int with = 0; with < 2; with++) {
        sn_task *task;
        int status = load_text(&task, with ? tokenizer : NULL, bad->text, strlen(bad->text));
        ck_assert_msg(status == SN_ERROR_FORMAT, "status %d of %s", status, bad->text);
        ck_assert_ptr_null(task);
        assert_message("pairs.jsonl");
        assert_message(bad->message);
    }
}
END_TEST

static void refuse(const sn_tokenizer *with, const char *text, size_t length, const char *message)
{
    sn_task *task;
    ck_assert_int_eq(load_text(&task, with, text, length), SN_ERROR_FORMAT);
    ck_assert_ptr_null(task);
    assert_message(message);
}

START_TEST(texts_need_a_tokenizer_that_has_their_targets)
{
    static const char several[] = IDS("\"x\"", "\"y\"", "\"qqzz\"", "\" =\""),
                      same[] = IDS("\"x\"", "\"y\"", "\" =\"", "\" =\""),
                      glued[] = IDS("\"x \"", "\"y\"", "\"in\"", "\" =\""),
                      large[] = IDS("[1]", "[512]", "3", "4"), with_nul[] = "{\"prompt\":\0}\n";
    refuse(NULL, several, sizeof several - 1, "line 1: holds text, for which a tokenizer must be given");
    refuse(tokenizer, several, sizeof several - 1, "target \"qqzz\" is no single token");
    refuse(tokenizer, same, sizeof same - 1, "must be two different tokens");
    refuse(tokenizer, glued, sizeof glued - 1, "line 1: sn_task_add_text_pair: target \"in\"");
    refuse(tokenizer, large, sizeof large - 1, "alternative: must be tokens of 0 .. 511");
    refuse(tokenizer, with_nul, sizeof with_nul - 1, "line 1: bad JSON");
}
END_TEST

START_TEST(endless_lines_are_refused)
{
    sn_task *task;
    size_t n = strlen(GOOD), size = n + LONGEST_LINE + 1;
    char *text = malloc(size);
    memset(text, ' ', size);
    memcpy(text, GOOD, n);
    memcpy(text + n, GOOD, n - 1); /* one pair and blanks to the end */
    ck_assert_int_eq(load_text(&task, NULL, text, size - 1), SN_OK);
    ck_assert_uint_eq(sn_task_count(task), 2);
    sn_task_free(task);
    refuse(NULL, text, size, "line 2 has more than 1048576 bytes");
    free(text);
}
END_TEST

START_TEST(other_failures_are_reported)
{
    sn_task *task;
    const int32_t tokens[] = {1, 600};
    ck_assert_int_eq(sn_task_load_jsonl(&task, context, NULL, "/nonexistent"), SN_ERROR_IO);
    assert_message("/nonexistent");
    ck_assert_int_eq(sn_task_load_jsonl(&task, context, NULL, temporary.folder), SN_ERROR_IO);
    ck_assert_int_eq(sn_task_load_jsonl(&task, context, NULL, NULL), SN_ERROR_ARGUMENT);
    assert_message("path is NULL");
    ck_assert_int_eq(sn_task_load_jsonl(NULL, context, NULL, "x"), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_task_create(&task, context, "t"), SN_OK);
    ck_assert_int_eq(sn_task_save_jsonl(task, context, NULL, temporary_path(&temporary, "t.jsonl")),
                     SN_ERROR_ARGUMENT);
    assert_message("no pair");
    ck_assert_int_eq(sn_task_add_pair(task, context, tokens, 2, tokens, 1, 1, 2), SN_OK);
    ck_assert_int_eq(sn_task_save_jsonl(task, context, NULL, "/nonexistent/file"), SN_ERROR_IO);
    ck_assert_int_eq(sn_task_save_jsonl(NULL, context, NULL, "x"), SN_ERROR_ARGUMENT);
    assert_message("task is NULL");
    /* a token that the tokenizer does not have; nothing is left of the attempt */
    const char *path = temporary_path(&temporary, "t.jsonl");
    ck_assert_int_eq(sn_task_save_jsonl(task, context, tokenizer, path), SN_ERROR_ARGUMENT);
    ck_assert_uint_eq(temporary_empty(&temporary), 0);
    sn_task_free(task);
}
END_TEST

static int stop(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)done, (void)total, (void)value, (void)payload;
    return strcmp(stage, "task") == 0;
}

START_TEST(reading_can_be_cancelled)
{
    sn_task *task;
    sn_context_set_progress(context, stop, NULL);
    ck_assert_int_eq(load_text(&task, NULL, GOOD, strlen(GOOD)), SN_ERROR_CANCELLED);
    ck_assert_ptr_null(task);
}
END_TEST

static int attempt(sn_context *tight, void *payload)
{
    sn_task *task = NULL, *again = NULL;
    const char *path = payload;
    const int32_t odd[] = {0xC3, 1};
    int status = sn_python_task(&task, tight, tokenizer, "for_while", 3, NULL);
    if (status == SN_OK)
        status = sn_task_add_pair(task, tight, odd, 2, odd, 1, 1, 2);
    if (status == SN_OK)
        status = sn_task_save_jsonl(task, tight, tokenizer, path);
    if (status == SN_OK)
        status = sn_task_load_jsonl(&again, tight, tokenizer, path);
    ck_assert(status != SN_OK || same_tasks(task, again));
    sn_task_free(again);
    sn_task_free(task);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    char path[256];
    snprintf(path, sizeof path, "%s", temporary_path(&temporary, "tight.jsonl"));
    ck_assert_uint_gt(oom_loop(attempt, path, 1, 40), 30);
}
END_TEST

Suite *task_lines_suite(void)
{
    Suite *suite = suite_create("task_lines");
    TCase *cases = tcase_create("task_lines");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, generated_tasks_come_back_equal);
    tcase_add_test(cases, what_is_no_text_is_written_as_ids);
    tcase_add_test(cases, long_files_are_read_in_pieces);
    tcase_add_test(cases, pairs_written_by_hand_are_read);
    tcase_add_loop_test(cases, bad_files_are_refused_by_line_and_field, 0,
                        (int)(sizeof BAD_FILES / sizeof *BAD_FILES));
    tcase_add_test(cases, texts_need_a_tokenizer_that_has_their_targets);
    tcase_add_test(cases, endless_lines_are_refused);
    tcase_add_test(cases, other_failures_are_reported);
    tcase_add_test(cases, reading_can_be_cancelled);
    tcase_add_test(cases, every_refused_allocation_is_survived);
    suite_add_tcase(suite, cases);
    return suite;
}
