/* What training and pruning are said to take, against what they took: within a tenth, over several shapes. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "circuit_cases.h"
#include "long.h"

#define WIDE                                                                                            \
    "{\"block_size\": 64, \"vocab_size\": 300, \"n_layer\": 2, \"n_head\": 8, \"d_head\": 16,"          \
    " \"d_model\": 128, \"d_mlp\": 512, \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.25,"  \
    " \"d_pos_emb\": 8, \"enable_bigram_table\": true, \"learnable_bigram_table\": true, \"sink\": "    \
    "true}"
#define TIED                                                                                            \
    "{\"block_size\": 48, \"vocab_size\": 500, \"n_layer\": 3, \"n_head\": 4, \"d_head\": 16,"          \
    " \"d_model\": 64, \"d_mlp\": 256, \"rms_norm\": false, \"bias\": true, \"tied_unembed\": true}"
#define LARGE                                                                                           \
    "{\"block_size\": 32, \"vocab_size\": 400, \"n_layer\": 1, \"n_head\": 4, \"d_head\": 32,"          \
    " \"d_model\": 512, \"d_mlp\": 2048, \"rms_norm\": true, \"tied_unembed\": false}"

static const struct {
    const char *config, *options;
    size_t n_threads;
} trainings[] = {
    {WIDE, "steps=12 batch=4 density=0.05", 1},
    {WIDE, "steps=12 batch=16 density=0.02", 2},
    {WIDE, "steps=12 batch=4 density=0.02 schedule_start_density=0.02", 1},
    {WIDE, "steps=12 batch=4 density=0.4 schedule=linear", 1},
    {WIDE, "steps=24 batch=4 density=0.05 gradient=support refresh_interval=4", 1},
    {WIDE, "steps=24 batch=16 density=0.3 gradient=support refresh_interval=4", 2},
    {WIDE,
     "steps=24 batch=8 density=0.02 gradient=support refresh_interval=6 schedule_start_density=0.02", 1},
    {TIED, "steps=12 batch=8 density=0.05", 1},
    {TIED, "steps=12 batch=8 density=0.1 density_bias=1 recompute=always", 3},
    {TIED, "steps=24 batch=8 density=0.1 gradient=support refresh_interval=4", 1},
    {TIED, "steps=24 batch=12 density=0.1 gradient=support refresh_interval=4", 3},
    {TIED, "steps=12 batch=8 density=1", 3}, /* neither weights nor activations are sparse */
    {WIDE, "steps=12 batch=8 density=1", 3},
    {LARGE, "steps=6 batch=2 density=0.05", 1},
    {LARGE, "steps=12 batch=2 density=0.05 gradient=support refresh_interval=3", 2},
    {LARGE,
     "steps=12 batch=2 density=0.02 gradient=support refresh_interval=3 schedule_start_density=0.02", 1},
};

#define N_TRAININGS ((int)(sizeof trainings / sizeof *trainings))

static sn_options *read_options(const char *text)
{
    char copy[256], *state, *equals, *end;
    sn_options *options;
    snprintf(copy, sizeof copy, "%s", text);
    ok(sn_options_create(&options, context));
    for (char *word = strtok_r(copy, " ", &state); word; word = strtok_r(NULL, " ", &state)) {
        ck_assert_ptr_nonnull(equals = strchr(word, '='));
        *equals = '\0';
        double number = strtod(equals + 1, &end);
        ok(*end ? sn_options_set_text(options, context, word, equals + 1)
                : sn_options_set(options, context, word, number));
    }
    return options;
}

static sn_corpus *long_corpus(int32_t vocabulary)
{
    static int32_t tokens[20000];
    unsigned seed = 3;
    sn_corpus *corpus;
    for (size_t i = 0; i < 20000; i++)
        tokens[i] = (int32_t)next_random(&seed) % vocabulary;
    ok(sn_corpus_create(&corpus, context));
    ok(sn_corpus_add_tokens(corpus, context, tokens, 20000));
    return corpus;
}

static void expect_close(const char *what, size_t said, size_t before)
{
    size_t peak;
    sn_context_memory(NULL, &peak, context);
    double ratio = (double)said / (double)(peak - before);
    ck_assert_msg(ratio > 0.9 && ratio < 1.1, "%s: %zu bytes said, %zu taken (%.3f)", what, said,
                  peak - before, ratio);
}

/* All of them in long tests. */
static int is_chosen(int index, unsigned long few)
{
    return long_tests() || (few >> index & 1);
}

START_TEST(training_takes_what_is_said)
{
    if (!is_chosen(_i, 1 << 1 | 1 << 4 | 1 << 8 | 1 << 9))
        return;
    const char *config = trainings[_i].config;
    sn_model *model;
    sn_trainer *trainer;
    size_t before, again, said;
    ok(sn_context_set_threads(context, trainings[_i].n_threads));
    ok(sn_model_create(&model, context, config, strlen(config), 3));
    sn_corpus *corpus = long_corpus((int32_t)sn_model_config_number(model, "vocab_size"));
    sn_options *options = read_options(trainings[_i].options);
    sn_context_memory(&before, NULL, context);
    ok(sn_trainer_estimate_memory(&said, context, model, options));
    sn_context_memory(&again, NULL, context);
    ck_assert_uint_eq(again, before); /* nothing is kept of it */
    ok(sn_trainer_create(&trainer, context, model, options));
    ok(sn_trainer_add_corpus(trainer, corpus, 1, 0));
    ok(sn_trainer_run(trainer, 0));
    expect_close(trainings[_i].options, said, before);
    sn_trainer_free(trainer);
    sn_options_free(options);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

static const struct {
    const char *config, *options;
    size_t n_threads, n_pairs, longest;
    size_t reports; /* after which it is stopped; 0: none, and there is a task to develop on */
} prunings[] = {
    {WIDE, "steps=2", 1, 24, 60, 3},
    {WIDE, "steps=2 batch=8", 2, 24, 30, 3},
    {WIDE, "steps=2 method=edges", 1, 16, 40, 3},
    {TIED, "steps=2 loss=vocabulary", 1, 24, 40, 3},
    {TIED, "steps=2 scores=attribution", 3, 24, 40, 3},
    {TIED, "steps=2 method=edges", 3, 24, 40, 3},
    {WIDE, "steps=2 scores=integrated", 3, 24, 60, 3},
    {WIDE, "steps=2 runs=3", 3, 24, 40, 3},
    {TIED, "steps=2 runs=2 method=edges", 2, 24, 40, 3},
    {LARGE, "steps=2 runs=3", 3, 12, 30, 3},
    {LARGE, "steps=2", 1, 12, 30, 150},
    {LARGE, "steps=2 runs=4", 1, 12, 30, 3},
    {TIED, "steps=20 target_loss=0.65", 1, 12, 20, 0},
};

#define N_PRUNINGS ((int)(sizeof prunings / sizeof *prunings))

/* Once masks are learned and the first removals were tried, all has been needed that will be; but for a folded model,
 * which is made when a quarter of the nodes has gone. */
static size_t most_reports;
static int stop_soon(const char *stage, size_t done, size_t total, double value, void *payload)
{
    size_t *n = payload;
    (void)done, (void)total, (void)value;
    *n += strcmp(stage, "prune") != 0 && strcmp(stage, "attribute") != 0 && strcmp(stage, "search") != 0;
    return *n > most_reports;
}

static void read_last_logits(float *logits, sn_model *model, const int32_t *prompt, size_t n)
{
    const size_t offsets[2] = {0, n}, last = n - 1;
    sn_session *session;
    ok(sn_session_create(&session, context, model, NULL));
    ok(sn_session_select_logits(session, &last, 1));
    ok(sn_session_forward(session, prompt, offsets, 1));
    ok(sn_session_logits(logits, 512, NULL, session));
    sn_session_free(session);
}

/* Of random prompts, with the targets that the model tells them apart by: no training makes it better. */
static sn_task *easy_task(sn_model *model, size_t n_pairs, size_t longest)
{
    static float logits[2][512];
    size_t vocabulary = (size_t)sn_model_config_number(model, "vocab_size");
    sn_task *prompts = random_task(n_pairs, longest, (int32_t)vocabulary, 5), *task;
    ok(sn_task_create(&task, context, "easy"));
    for (size_t i = 0; i < n_pairs; i++) {
        const int32_t *a, *b;
        size_t n_a, n_b, best[2] = {0, 0};
        ok(sn_task_pair(&a, &n_a, &b, &n_b, NULL, NULL, prompts, i));
        read_last_logits(logits[0], model, a, n_a);
        read_last_logits(logits[1], model, b, n_b);
        for (size_t t = 1; t < vocabulary; t++) {
            float margin = logits[0][t] - logits[1][t];
            best[0] = margin > logits[0][best[0]] - logits[1][best[0]] ? t : best[0];
            best[1] = margin < logits[0][best[1]] - logits[1][best[1]] ? t : best[1];
        }
        ok(sn_task_add_pair(task, context, a, n_a, b, n_b, (int32_t)best[0], (int32_t)best[1]));
    }
    sn_task_free(prompts);
    return task;
}

START_TEST(pruning_takes_what_is_said)
{
    if (!is_chosen(_i, 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8))
        return;
    const char *config = prunings[_i].config;
    sn_model *model;
    sn_circuit *circuit;
    size_t before, again, said;
    ok(sn_context_set_threads(context, prunings[_i].n_threads));
    model = strong_model(config, 3);
    sn_task *task = easy_task(model, prunings[_i].n_pairs, prunings[_i].longest);
    /* twice as many pairs, of longer prompts: what looks at both takes more */
    sn_task *develop = !prunings[_i].reports
                           ? easy_task(model, 2 * prunings[_i].n_pairs, 2 * prunings[_i].longest)
                           : NULL;
    sn_means *means = random_means(model, 7);
    sn_options *options = read_options(prunings[_i].options);
    if (prunings[_i].reports)
        ok(sn_options_set(options, context, "target_loss", 0.5));
    sn_context_memory(&before, NULL, context);
    ok(sn_circuit_estimate_memory(&said, context, model, means, task, develop, options));
    sn_context_memory(&again, NULL, context);
    ck_assert_uint_eq(again, before);
    size_t n_reports = 0;
    most_reports = prunings[_i].reports;
    if (most_reports)
        sn_context_set_progress(context, stop_soon, &n_reports);
    int status = sn_circuit_extract(&circuit, context, model, means, task, develop, options);
    ck_assert_msg(status == SN_OK || status == SN_ERROR_CANCELLED, "%s", sn_context_message(context));
    expect_close(prunings[_i].options, said, before);
    sn_circuit_free(circuit);
    sn_options_free(options);
    sn_means_free(means);
    sn_task_free(task);
    sn_task_free(develop);
    sn_model_free(model);
}
END_TEST

START_TEST(bad_questions_are_refused)
{
    sn_model *model = planted_model(context, 0);
    size_t said;
    sn_options *options = read_options("density=2");
    ck_assert_int_eq(sn_trainer_estimate_memory(&said, NULL, model, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_trainer_estimate_memory(NULL, context, model, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_trainer_estimate_memory(&said, context, NULL, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_trainer_estimate_memory(&said, context, model, options), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "density is 2"));
    ck_assert_int_eq(sn_circuit_estimate_memory(&said, context, model, NULL, NULL, NULL, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_estimate_memory(&said, NULL, model, NULL, NULL, NULL, NULL),
                     SN_ERROR_ARGUMENT);
    sn_options_free(options);
    sn_model_free(model);
}
END_TEST

Suite *training_memory_suite(void);
Suite *training_memory_suite(void)
{
    Suite *suite = suite_create("training_memory");
    TCase *tests = tcase_create("estimates");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, training_takes_what_is_said, 0, N_TRAININGS);
    tcase_add_loop_test(tests, pruning_takes_what_is_said, 0, N_PRUNINGS);
    tcase_add_test(tests, bad_questions_are_refused);
    suite_add_tcase(suite, tests);
    return suite;
}
