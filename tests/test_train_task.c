/* Training on a task's pairs: which rows a batch has, their loss and gradients against a recomputation in double
 * from the logits, resuming, refusals. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/random.h"
#include "fixture.h"
#include "train/trainer.h"

#define VOCABULARY 19
#define N_PAIRS 12

static const char config_text[] =
    "{\"block_size\": 24, \"vocab_size\": 19, \"n_layer\": 2, \"n_head\": 2, \"d_head\": 8, "
    "\"d_model\": 28,"
    " \"d_mlp\": 80, \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.5, \"d_pos_emb\": 4,"
    " \"afrac_loctypes\": \"mlp_neuron,attn_v\", \"enable_bigram_table\": true,"
    " \"learnable_bigram_table\": true, \"sink\": true}";

static sn_model *model;
static sn_corpus *corpus;
static sn_task *task;

static void ok(int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

/* Tokens 0 to 9 at random: nothing in them tells how a prompt goes on. */
static int make_corpus(sn_corpus **out, sn_context *in)
{
    struct random_state random;
    random_seed(&random, 5, 0);
    int status = sn_corpus_create(out, in);
    for (size_t d = 0; d < 4 && status == SN_OK; d++) {
        int32_t tokens[90];
        for (size_t i = 0; i < 90; i++)
            tokens[i] = (int32_t)random_below(&random, 10);
        status = sn_corpus_add_tokens(*out, in, tokens, 90);
    }
    return status;
}

/* Prompts of unequal length that end alike; the first token, 10 or 11, decides on 12 or 13. */
static int make_task(sn_task **out, sn_context *in)
{
    struct random_state random;
    random_seed(&random, 6, 0);
    int status = sn_task_create(out, in, "first_decides");
    for (size_t p = 0; p < N_PAIRS && status == SN_OK; p++) {
        int32_t a[12], b[12];
        const size_t n_a = 3 + p % 7, n_b = 3 + (p + 4) % 9;
        for (size_t i = 1; i < 12; i++)
            a[i] = b[i] = (int32_t)random_below(&random, 10);
        a[0] = 10;
        b[0] = 11;
        a[1] = b[1] = (int32_t)p % 10;
        a[n_a - 1] = b[n_b - 1] = 14;
        status = sn_task_add_pair(*out, in, a, n_a, b, n_b, 12, 13);
    }
    return status;
}

static void setup(void)
{
    fixture_setup();
    ok(sn_model_create(&model, context, config_text, strlen(config_text), 3));
    ok(make_corpus(&corpus, context));
    ok(make_task(&task, context));
}

static void teardown(void)
{
    sn_task_free(task);
    sn_corpus_free(corpus);
    sn_model_free(model);
    fixture_teardown();
}

struct setting {
    const char *key;
    double value;
};

/* The list ends with a NULL key. */
static sn_trainer *open_trainer(const char *gradient, const struct setting *settings)
{
    sn_trainer *trainer;
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "gradient", gradient));
    for (; settings->key; settings++)
        ok(sn_options_set(options, context, settings->key, settings->value));
    ok(sn_trainer_create(&trainer, context, model, options));
    sn_options_free(options);
    return trainer;
}

static void add_sources(sn_trainer *trainer, double text_share, double task_share)
{
    ok(sn_trainer_add_corpus(trainer, corpus, text_share, 11));
    ok(sn_trainer_add_task(trainer, task, task_share));
}

static double statistic(sn_trainer *trainer, const char *name)
{
    double value = NAN;
    ok(sn_trainer_statistic(&value, trainer, name));
    return value;
}

/* --------------------------------------------------------------------- batches */

/* Which pair the two sequences from `s` on are. */
static size_t find_pair(const struct train_windows *w, size_t s, size_t row)
{
    for (size_t p = 0; p < N_PAIRS; p++) {
        const int32_t *a, *b;
        size_t n_a, n_b;
        int32_t target_a, target_b;
        ok(sn_task_pair(&a, &n_a, &b, &n_b, &target_a, &target_b, task, p));
        if (w->offsets[s + 1] - w->offsets[s] == n_a && w->offsets[s + 2] - w->offsets[s + 1] == n_b &&
            memcmp(w->tokens + w->offsets[s], a, n_a * sizeof *a) == 0 &&
            memcmp(w->tokens + w->offsets[s + 1], b, n_b * sizeof *b) == 0 &&
            w->targets[row] == target_a && w->targets[row + 1] == target_b)
            return p;
    }
    return N_PAIRS;
}

/* Checks a batch from its first sequence to the last; how many of its windows are pairs. */
static size_t check_batch(const struct train_windows *w, size_t seen[N_PAIRS])
{
    size_t row = 0, pairs = 0, windows = 0;
    for (size_t s = 0; s < w->n_sequences; windows++) {
        const size_t first = w->offsets[s], last = w->offsets[s + 1] - 1;
        if (w->prompt[s]) {
            const size_t p = find_pair(w, s, row);
            ck_assert_uint_lt(p, N_PAIRS);
            seen[p]++;
            for (size_t side = 0; side < 2; side++, s++, row++) {
                ck_assert_uint_eq(w->rows[row], w->offsets[s + 1] - 1);
                ck_assert(w->weights[row] == 5);
            }
            pairs++;
            continue;
        }
        ck_assert_uint_le(last - first + 1, 11);
        for (size_t i = first; i <= last; i++, row++) {
            ck_assert(w->rows[row] == i && w->weights[row] == 1);
            if (i < last)
                ck_assert_int_eq(w->targets[row], w->tokens[i + 1]);
        }
        s++;
    }
    ck_assert_uint_eq(row, w->n_rows);
    ck_assert_uint_eq(windows, 8);
    return pairs;
}

START_TEST(batches_hold_pairs_by_their_share)
{
    static const struct setting settings[] = {{"steps", 100}, {"batch", 8}, {"task_weight", 5}, {0}};
    sn_trainer *trainer = open_trainer("dense", settings);
    size_t seen[N_PAIRS] = {0}, pairs = 0;
    add_sources(trainer, 3, 1);
    for (size_t step = 0; step < 100; step++) {
        ok(windows_draw(trainer, step));
        const size_t here = check_batch(&trainer->windows, seen);
        ck_assert(here >= 1 && here <= 3);
        pairs += here;
    }
    ck_assert_msg(pairs >= 198 && pairs <= 202, "%zu of 800", pairs);
    for (size_t p = 0; p < N_PAIRS; p++)
        ck_assert_msg(seen[p] >= 4, "pair %zu came %zu times", p, seen[p]);
    sn_trainer_free(trainer);
}
END_TEST

/* ------------------------------------------------------------ loss and gradient */

struct expected {
    double loss, text_loss, task_loss;
    float *gradient; /* by the logits, tokens x VOCABULARY */
};

/* Of one row: adds weight x loss to *loss; d, by the logits, is weight x (probability - target). */
static double add_row(double *loss, float *d, const float *logits, int32_t target, double weight)
{
    double sum = 0;
    for (size_t v = 0; v < VOCABULARY; v++)
        sum += exp((double)logits[v]);
    for (size_t v = 0; v < VOCABULARY; v++)
        d[v] = (float)(weight * (exp((double)logits[v]) / sum - (v == (size_t)target)));
    const double value = log(sum) - (double)logits[target];
    *loss += weight * value;
    return value;
}

/* From the batch that was drawn and the logits of all its tokens. */
static struct expected recompute(const struct train_windows *w, const float *logits)
{
    const size_t n = w->offsets[w->n_sequences];
    struct expected e = {.gradient = calloc(n * VOCABULARY, sizeof(float))};
    double total = 0, n_text = 0, n_task = 0;
    for (size_t row = 0; row < w->n_rows; row++) {
        const size_t at = w->rows[row] * VOCABULARY;
        const double weight = (double)w->weights[row];
        const double value = add_row(&e.loss, e.gradient + at, logits + at, w->targets[row], weight);
        total += weight;
        *(weight == 7 ? &e.task_loss : &e.text_loss) += value;
        *(weight == 7 ? &n_task : &n_text) += 1;
    }
    for (size_t i = 0; i < n * VOCABULARY; i++)
        e.gradient[i] = (float)((double)e.gradient[i] / total);
    e.loss /= total;
    e.text_loss /= n_text;
    e.task_loss /= n_task;
    return e;
}

/* The trainer's gradient against that of a session which starts from the recomputed one; `on_support`: only where
 * the model has weights. */
static void compare_gradients(sn_trainer *trainer, sn_session *session, const sn_model *before,
                              int on_support)
{
    for (size_t i = 0; i < before->n_parameters; i++) {
        const struct parameter *p = &before->parameters[i];
        size_t n, m;
        if (!p->trainable || (!p->matrix && !p->vector))
            continue;
        ok(sn_session_gradient(NULL, 0, &n, session, p->name));
        float *expected = malloc(3 * n * sizeof *expected), *got = expected + n, *weights = got + n;
        ok(sn_session_gradient(expected, n, &m, session, p->name));
        ok(sn_session_gradient(got, n, &m, trainer->session, p->name));
        ok(sn_model_tensor(weights, n, &m, context, before, p->name));
        double greatest = 0;
        for (size_t j = 0; j < n; j++)
            greatest = fmax(greatest, fabs((double)expected[j]));
        for (size_t j = 0; j < n; j++)
            if (!on_support || weights[j] != 0)
                ck_assert_msg(fabs((double)(expected[j] - got[j])) <= 2e-5 * greatest + 1e-9,
                              "%s[%zu]: %g and %g", p->name, j, (double)expected[j], (double)got[j]);
        free(expected);
    }
}

static void check_step(const char *gradient, double density)
{
    const struct setting settings[] = {
        {"steps", 50},       {"batch", 9},        {"task_weight", 7},        {"density", density},
        {"density_bias", 1}, {"schedule_end", 0}, {"refresh_interval", 999}, {0}};
    sn_trainer *trainer = open_trainer(gradient, settings);
    const struct train_windows *w = &trainer->windows;
    sn_model *before;
    sn_session *session;
    sn_options *options;
    add_sources(trainer, 2, 3);
    ok(sn_trainer_run(trainer, 3));
    ok(sn_trainer_snapshot(&before, trainer));
    ok(windows_draw(trainer, 3));
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "gradients", "dense"));
    ok(sn_session_create(&session, context, before, options));
    ok(sn_session_forward(session, w->tokens, w->offsets, w->n_sequences));
    const size_t n = w->offsets[w->n_sequences] * VOCABULARY;
    float *logits = malloc(n * sizeof *logits);
    ok(sn_session_logits(logits, n, NULL, session));
    struct expected e = recompute(w, logits);
    ok(sn_session_backward_from(session, e.gradient, NULL));
    double loss;
    ok(sn_trainer_step(&loss, trainer));
    ck_assert_msg(fabs(loss - e.loss) < 1e-6, "%.9f, recomputed %.9f", loss, e.loss);
    ck_assert(fabs(statistic(trainer, "text_loss") - e.text_loss) < 1e-6);
    ck_assert(fabs(statistic(trainer, "task_loss") - e.task_loss) < 1e-6);
    compare_gradients(trainer, session, before, density < 1);
    free(logits);
    free(e.gradient);
    sn_session_free(session);
    sn_options_free(options);
    sn_model_free(before);
    sn_trainer_free(trainer);
}

START_TEST(a_step_is_that_of_a_naive_recomputation)
{
    check_step("dense", 1);
    check_step("support", 0.3);
}
END_TEST

/* Of text alone, the weight has no part in it. */
START_TEST(without_a_task_there_is_no_task_loss)
{
    static const struct setting light[] = {{"steps", 20}, {"task_weight", 1}, {0}};
    static const struct setting heavy[] = {{"steps", 20}, {"task_weight", 100}, {0}};
    sn_trainer *a = open_trainer("dense", light), *b = open_trainer("dense", heavy);
    double loss_a, loss_b;
    ok(sn_trainer_add_corpus(a, corpus, 1, 0));
    ok(sn_trainer_add_corpus(b, corpus, 1, 0));
    ok(sn_trainer_run(a, 5));
    ok(sn_trainer_run(b, 5));
    ok(sn_trainer_step(&loss_a, a));
    ok(sn_trainer_step(&loss_b, b));
    ck_assert(loss_a == loss_b && statistic(a, "task_loss") == 0);
    ck_assert(fabs(loss_a - statistic(a, "text_loss")) < 1e-6);
    sn_trainer_free(a);
    sn_trainer_free(b);
}
END_TEST

/* The rows that a step had selected do not stay selected. */
START_TEST(validation_is_over_all_tokens)
{
    static const struct setting settings[] = {{"steps", 20}, {"density", 1}, {0}};
    sn_trainer *trainer = open_trainer("dense", settings), *plain;
    sn_model *trained = NULL;
    double among, alone;
    add_sources(trainer, 1, 3);
    ok(sn_trainer_run(trainer, 4));
    ok(sn_trainer_validate(&among, trainer, corpus, 40));
    ok(sn_trainer_snapshot(&trained, trainer));
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "density", 1));
    ok(sn_trainer_create(&plain, context, trained, options));
    ok(sn_trainer_validate(&alone, plain, corpus, 40));
    ck_assert(among == alone);
    sn_options_free(options);
    sn_model_free(trained);
    sn_trainer_free(plain);
    sn_trainer_free(trainer);
}
END_TEST

/* -------------------------------------------------------------------- learning */

static void check_learning(const char *gradient, double task_share, int learns)
{
    static const struct setting settings[] = {{"steps", 250},
                                              {"batch", 12},
                                              {"density", 0.3},
                                              {"learning_rate", 0.03},
                                              {"warmup", 0},
                                              {"refresh_interval", 10},
                                              {0}};
    sn_trainer *trainer = open_trainer(gradient, settings);
    sn_model *trained;
    sn_evaluation e = {.struct_size = sizeof e};
    ok(sn_trainer_add_corpus(trainer, corpus, 1, 0));
    if (task_share > 0)
        ok(sn_trainer_add_task(trainer, task, task_share));
    ok(sn_trainer_run(trainer, 0));
    ok(sn_trainer_snapshot(&trained, trainer));
    ok(sn_evaluate(&e, context, trained, NULL, NULL, SN_ABLATE_NOTHING, task, task));
    ck_assert_msg((e.raw_loss < 0.02) == learns, "%s, share %g: task loss %g", gradient, task_share,
                  e.raw_loss);
    sn_model_free(trained);
    sn_trainer_free(trainer);
}

START_TEST(a_task_is_learnt_from_its_pairs)
{
    check_learning("dense", 1, 1);
    check_learning("support", 1, 1);
    check_learning("support", 0, 0);
}
END_TEST

/* ---------------------------------------------------------------------- resume */

static char *state_of(sn_trainer *trainer, size_t *size)
{
    char *bytes;
    const char *path = temporary_path(&temporary, "state");
    ok(sn_trainer_save(trainer, path));
    ok(file_read_all(&bytes, size, context, path, (size_t)1 << 24));
    return bytes;
}

START_TEST(resuming_gives_the_same_bits)
{
    static const struct setting settings[] = {
        {"steps", 24},           {"batch", 7},       {"density", 0.2}, {"schedule_end", 0.6},
        {"refresh_interval", 3}, {"task_weight", 3}, {"seed", 4},      {0}};
    const char *gradient = _i ? "support" : "dense";
    size_t size, again_size;
    sn_trainer *trainer = open_trainer(gradient, settings);
    add_sources(trainer, 2, 1);
    ok(sn_trainer_run(trainer, 0));
    char *whole = state_of(trainer, &size);
    const double task_loss = statistic(trainer, "task_loss"),
                 text_loss = statistic(trainer, "text_loss");
    ck_assert(task_loss > 0 && text_loss > 0);
    sn_trainer_free(trainer);
    for (size_t pause = 1; pause < 24; pause += 5) {
        ok(sn_context_set_threads(context, 1 + pause % 3));
        trainer = open_trainer(gradient, settings);
        add_sources(trainer, 2, 1);
        ok(sn_trainer_run(trainer, pause));
        ok(sn_trainer_save(trainer, temporary_path(&temporary, "pause")));
        const double paused[] = {statistic(trainer, "task_loss"), statistic(trainer, "text_loss")};
        sn_trainer_free(trainer);
        ok(sn_context_set_threads(context, 3 - pause % 3));
        ok(sn_trainer_load(&trainer, context, temporary_path(&temporary, "pause")));
        ck_assert(statistic(trainer, "task_loss") == paused[0]);
        ck_assert(statistic(trainer, "text_loss") == paused[1]);
        add_sources(trainer, 2, 1);
        ok(sn_trainer_run(trainer, 0));
        char *again = state_of(trainer, &again_size);
        ck_assert(again_size == size && memcmp(again, whole, size) == 0);
        memory_free(context->memory, again, again_size + 1);
        sn_trainer_free(trainer);
    }
    memory_free(context->memory, whole, size + 1);
}
END_TEST

/* ---------------------------------------------------------------------- errors */

static sn_task *task_of(const int32_t *prompt, size_t n, int32_t target_a, int32_t target_b)
{
    sn_task *made;
    static const int32_t plain[] = {1, 2};
    ok(sn_task_create(&made, context, "odd"));
    ok(sn_task_add_pair(made, context, plain, 2, plain, 2, 3, 4));
    ok(sn_task_add_pair(made, context, plain, 2, prompt, n, target_a, target_b));
    return made;
}

static void refused(sn_trainer *trainer, const sn_task *bad, double share, const char *named)
{
    ck_assert_int_eq(sn_trainer_add_task(trainer, bad, share), SN_ERROR_ARGUMENT);
    assert_message(named);
    ck_assert_uint_eq(trainer->n_sources, 0);
}

START_TEST(bad_tasks_are_refused)
{
    static const struct setting settings[] = {{"steps", 20}, {0}};
    static const int32_t unknown[] = {1, VOCABULARY}, zeros[25] = {0};
    sn_trainer *trainer = open_trainer("dense", settings);
    sn_task *empty, *bad;
    ok(sn_task_create(&empty, context, "nothing"));
    refused(trainer, empty, 1, "task nothing has no pairs");
    refused(trainer, NULL, 1, "task is NULL");
    refused(trainer, task, 0, "share is 0");
    refused(trainer, task, NAN, "share is");
    sn_task_free(empty);
    bad = task_of(unknown, 2, 3, 4);
    refused(trainer, bad, 1, "prompt B of pair 1 has token 19");
    sn_task_free(bad);
    bad = task_of(zeros, 25, 3, 4);
    refused(trainer, bad, 1, "prompt B of pair 1 has 25 tokens; the model's block_size is 24");
    sn_task_free(bad);
    bad = task_of(zeros, 24, 99, 4);
    refused(trainer, bad, 1, "prompt A of pair 1 has token 99");
    sn_task_free(bad);
    ck_assert_int_eq(sn_trainer_add_task(NULL, task, 1), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_trainer_step(NULL, trainer), SN_ERROR_STATE);
    assert_message("no corpus or task");
    ok(sn_trainer_add_task(trainer, task, 1)); /* a task alone will do */
    ok(sn_trainer_step(NULL, trainer));
    ck_assert(statistic(trainer, "text_loss") == 0 &&
              fabs(statistic(trainer, "task_loss") - statistic(trainer, "loss")) < 1e-6);
    sn_trainer_free(trainer);
}
END_TEST

/* What was added to a task since, though it must not be: an error, not a write beyond the batch. */
START_TEST(a_task_that_grows_too_long_stops_the_step)
{
    static const struct setting settings[] = {{"steps", 20}, {"batch", 64}, {0}};
    static const int32_t zeros[200] = {0};
    sn_trainer *trainer = open_trainer("dense", settings);
    ok(sn_trainer_add_task(trainer, task, 1));
    ok(sn_trainer_step(NULL, trainer));
    for (size_t i = 0; i < 40; i++)
        ok(sn_task_add_pair(task, context, zeros, 2, zeros, 200, 1, 2));
    ck_assert_int_eq(sn_trainer_step(NULL, trainer), SN_ERROR_STATE);
    assert_message("first_decides");
    ck_assert(statistic(trainer, "step") == 1);
    sn_trainer_free(trainer);
}
END_TEST

static int train_a_little(sn_context *in, void *payload)
{
    sn_corpus *words = NULL;
    sn_task *pairs = NULL;
    sn_model *start = NULL;
    sn_options *options = NULL;
    sn_trainer *trainer = NULL;
    int status = make_corpus(&words, in);
    if (status == SN_OK)
        status = make_task(&pairs, in);
    if (status == SN_OK)
        status = sn_model_create(&start, in, config_text, strlen(config_text), 1);
    if (status == SN_OK)
        status = sn_options_create(&options, in);
    if (status == SN_OK)
        status = sn_options_set(options, in, "batch", 4);
    if (status == SN_OK)
        status = sn_options_set_text(options, in, "gradient", payload);
    if (status == SN_OK)
        status = sn_trainer_create(&trainer, in, start, options);
    if (status == SN_OK)
        status = sn_trainer_add_corpus(trainer, words, 1, 0);
    if (status == SN_OK)
        status = sn_trainer_add_task(trainer, pairs, 1);
    if (status == SN_OK)
        status = sn_trainer_run(trainer, 2);
    sn_trainer_free(trainer);
    sn_options_free(options);
    sn_model_free(start);
    sn_task_free(pairs);
    sn_corpus_free(words);
    return status;
}

START_TEST(every_allocation_may_fail)
{
    char gradient[2][8] = {"dense", "support"};
    ck_assert_uint_gt(oom_loop(train_a_little, gradient[_i], 1, 24), 60);
}
END_TEST

Suite *train_task_suite(void);
Suite *train_task_suite(void)
{
    Suite *suite = suite_create("train_task");
    TCase *tests = tcase_create("trainer on tasks");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, batches_hold_pairs_by_their_share);
    tcase_add_test(tests, a_step_is_that_of_a_naive_recomputation);
    tcase_add_test(tests, without_a_task_there_is_no_task_loss);
    tcase_add_test(tests, validation_is_over_all_tokens);
    tcase_add_test(tests, a_task_is_learnt_from_its_pairs);
    tcase_add_test(tests, bad_tasks_are_refused);
    tcase_add_test(tests, a_task_that_grows_too_long_stops_the_step);
    tcase_add_loop_test(tests, every_allocation_may_fail, 0, 2);
    TCase *threads = tcase_create("threads"); /* what ThreadSanitizer looks at */
    tcase_add_checked_fixture(threads, setup, teardown);
    tcase_set_timeout(threads, 120);
    tcase_add_loop_test(threads, resuming_gives_the_same_bits, 0, 2);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, threads);
    return suite;
}
