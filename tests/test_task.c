/* Tasks: pairs of prompts with two targets each, given as tokens or as text. */
#include <check.h>
#include <string.h>

#include "oom.h"
#include "sparsenet.h"

static sn_context *context;
static sn_tokenizer *tokenizer;
static sn_task *task;

static void setup(void)
{
    static const char text[] = "print('one')\nprint(\"two\")\nfor x in y:\n    print(x)\n";
    sn_corpus *corpus;
    sn_options *options;
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    ck_assert_int_eq(sn_corpus_create(&corpus, context), SN_OK);
    ck_assert_int_eq(sn_corpus_add_text(corpus, context, text, sizeof text - 1), SN_OK);
    ck_assert_int_eq(sn_options_create(&options, context), SN_OK);
    ck_assert_int_eq(sn_options_set_text(options, context, "required", "')\\n\n\")\\n\nin"), SN_OK);
    ck_assert_int_eq(sn_tokenizer_train(&tokenizer, context, corpus, 280, options), SN_OK);
    ck_assert_int_eq(sn_task_create(&task, context, "quotes"), SN_OK);
    sn_options_free(options);
    sn_corpus_free(corpus);
}

static void teardown(void)
{
    sn_task_free(task);
    sn_tokenizer_free(tokenizer);
    sn_context_free(context);
}

static int refused(int status, const char *message)
{
    return status == SN_ERROR_ARGUMENT && strstr(sn_context_message(context), message) != NULL;
}

START_TEST(pairs_come_back_as_given)
{
    ck_assert_str_eq(sn_task_name(task), "quotes");
    for (int32_t i = 0; i < 100; i++) { /* of all lengths, so that arrays grow at odd places */
        int32_t a[120], b[120];
        for (int32_t k = 0; k < 120; k++) {
            a[k] = 7 * i + k;
            b[k] = 5 * i + 2 * k;
        }
        ck_assert_int_eq(
            sn_task_add_pair(task, context, a, (size_t)i + 1, b, (size_t)(i % 7) + 1, i, i + 1), SN_OK);
    }
    ck_assert_uint_eq(sn_task_count(task), 100);
    for (int32_t i = 0; i < 100; i++) {
        const int32_t *a, *b;
        int32_t target_a, target_b;
        size_t n_a, n_b;
        ck_assert_int_eq(sn_task_pair(&a, &n_a, &b, &n_b, &target_a, &target_b, task, (size_t)i), SN_OK);
        ck_assert_uint_eq(n_a, (size_t)i + 1);
        ck_assert_uint_eq(n_b, (size_t)(i % 7) + 1);
        ck_assert_int_eq(a[n_a - 1], 7 * i + (int32_t)n_a - 1);
        ck_assert_int_eq(b[n_b - 1], 5 * i + 2 * ((int32_t)n_b - 1));
        ck_assert_int_eq(target_a, i);
        ck_assert_int_eq(target_b, i + 1);
    }
    ck_assert_int_eq(sn_task_pair(NULL, NULL, NULL, NULL, NULL, NULL, task, 99), SN_OK);
    ck_assert_int_eq(sn_task_pair(NULL, NULL, NULL, NULL, NULL, NULL, task, 100), SN_ERROR_ARGUMENT);
}
END_TEST

START_TEST(text_becomes_the_tokens_of_the_tokenizer)
{
    const int32_t *a;
    int32_t expected[32], target_a, target_b;
    size_t n_a, n;
    ck_assert_int_eq(
        sn_task_add_text_pair(task, context, tokenizer, "print('one", "print(\"one", "')\n", "\")\n"),
        SN_OK);
    ck_assert_int_eq(sn_tokenizer_encode(expected, 32, &n, context, tokenizer, "print('one", 10), SN_OK);
    ck_assert_int_eq(sn_task_pair(&a, &n_a, NULL, NULL, &target_a, &target_b, task, 0), SN_OK);
    ck_assert_uint_eq(n_a, n);
    ck_assert_mem_eq(a, expected, n * sizeof *a);
    ck_assert_int_eq(target_a, sn_tokenizer_find(tokenizer, "')\n", 3));
    ck_assert_int_eq(target_b, sn_tokenizer_find(tokenizer, "\")\n", 3));
}
END_TEST

START_TEST(bad_pairs_are_refused)
{
    int32_t tokens[3] = {1, 2, -3};
    ck_assert(refused(sn_task_add_pair(task, context, tokens, 0, tokens, 2, 1, 2), "prompt A is empty"));
    ck_assert(refused(sn_task_add_pair(task, context, tokens, 2, tokens, 0, 1, 2), "prompt B is empty"));
    ck_assert(refused(sn_task_add_pair(task, context, tokens, 2, tokens, 2, 4, 4), "4 and 4"));
    ck_assert(refused(sn_task_add_pair(task, context, tokens, 2, tokens, 2, 4, -1), "4 and -1"));
    ck_assert(
        refused(sn_task_add_pair(task, context, tokens, 2, tokens, 3, 1, 2), "token 2 of prompt B"));
    ck_assert(refused(sn_task_add_pair(task, context, NULL, 2, tokens, 2, 1, 2), "prompt_a is NULL"));
    ck_assert_uint_eq(sn_task_count(task), 0);
}
END_TEST

START_TEST(targets_must_be_what_the_tokenizer_would_write)
{
    /* not in the vocabulary */
    ck_assert(
        refused(sn_task_add_text_pair(task, context, tokenizer, "a = [1", "a = [[1", "]\n", "]]\n"),
                "\"]\\n\" is no single token"));
    /* a token, but the piece there is " in", which takes the space of the prompt with it */
    ck_assert(refused(sn_task_add_text_pair(task, context, tokenizer, "for x ", "for x ", "in", "i"),
                      "\"in\" is not the token that follows"));
    ck_assert_uint_eq(sn_task_count(task), 0);
}
END_TEST

static int attempt(sn_context *tight, void *payload)
{
    (void)payload;
    sn_task *made = NULL;
    int status = sn_task_create(&made, tight, "tight");
    for (int i = 0; status == SN_OK && i < 12; i++)
        status =
            sn_task_add_text_pair(made, tight, tokenizer, "print('one", "print(\"one", "')\n", "\")\n");
    ck_assert(status != SN_OK || sn_task_count(made) == 12);
    sn_task_free(made);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    ck_assert_uint_gt(oom_loop(attempt, NULL, 1, 0), 10);
}
END_TEST

Suite *task_suite(void)
{
    Suite *suite = suite_create("task");
    TCase *cases = tcase_create("task");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, pairs_come_back_as_given);
    tcase_add_test(cases, text_becomes_the_tokens_of_the_tokenizer);
    tcase_add_test(cases, bad_pairs_are_refused);
    tcase_add_test(cases, targets_must_be_what_the_tokenizer_would_write);
    tcase_add_test(cases, every_refused_allocation_is_survived);
    suite_add_tcase(suite, cases);
    return suite;
}
