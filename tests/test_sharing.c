/* What may be shared: a model by sessions in threads of the host's own, a process by contexts, a
 * context by the two processes of a fork. Everybody gets the bits that a lone run gives. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "circuit_cases.h"
#include "fork_threads.h"
#include "host_loop.h"
#include "temporary.h"

#define N_TOKENS 200
#define N_RUNNERS 8

static int32_t tokens[N_TOKENS];
static const size_t offsets[] = {0, 1, 64, 67, 150, 151, N_TOKENS};

static void make_tokens(void)
{
    unsigned seed = 5;
    for (size_t i = 0; i < N_TOKENS; i++)
        tokens[i] = (int32_t)next_random(&seed) % 23;
}

/* ------------------------------------------------------------- one model, eight sessions */

struct runner {
    sn_model *model;
    size_t n_threads;
    int rounds, status;
    float gradient[N_TOKENS * 18];
    double loss;
};

static void *run_session(void *payload)
{
    struct runner *runner = payload;
    sn_context *own = NULL;
    sn_session *session = NULL;
    int status = sn_context_create(&own, NULL);
    if (status == SN_OK)
        status = sn_context_set_threads(own, runner->n_threads);
    for (int i = 0; status == SN_OK && i < runner->rounds; i++) {
        status = sn_session_create(&session, own, runner->model, NULL);
        if (status == SN_OK)
            status = sn_session_forward(session, tokens, offsets, 6);
        if (status == SN_OK)
            status = sn_session_loss(&runner->loss, session, tokens);
        if (status == SN_OK)
            status = sn_session_backward(session, tokens);
        if (status == SN_OK)
            status = sn_session_input_gradient(runner->gradient, N_TOKENS * 18, NULL, session);
        sn_session_free(session);
    }
    sn_context_free(own);
    runner->status = status;
    return NULL;
}

START_TEST(eight_sessions_share_a_model)
{
    static struct runner alone, runners[N_RUNNERS];
    pthread_t threads[N_RUNNERS];
    make_tokens();
    sn_model *model = strong_model(SPARSE_CONFIG, 3);
    alone = (struct runner){.model = model, .n_threads = 1, .rounds = 1};
    run_session(&alone);
    ck_assert_int_eq(alone.status, SN_OK);
    for (size_t i = 0; i < N_RUNNERS; i++) {
        runners[i] =
            (struct runner){.model = sn_model_retain(model), .n_threads = 1 + i % 2, .rounds = 4};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_session, &runners[i]), 0);
    }
    sn_model_free(model); /* theirs alone now */
    for (size_t i = 0; i < N_RUNNERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(runners[i].status, SN_OK);
        ck_assert(runners[i].loss == alone.loss);
        ck_assert_mem_eq(runners[i].gradient, alone.gradient, sizeof alone.gradient);
    }
    for (size_t i = 1; i < N_RUNNERS; i++)
        sn_model_free(runners[i].model);
    sn_model_free(runners[0].model);
}
END_TEST

/* ------------------------------------------------------------------ training in company */

static sn_trainer *open_trainer(sn_context *own, const sn_model *model, const sn_corpus *corpus)
{
    static const struct {
        const char *key;
        double value;
    } settings[] = {
        {"steps", 12}, {"batch", 6}, {"window", 16}, {"density", 0.3}, {"schedule_end", 0.5}};
    sn_options *options;
    sn_trainer *trainer;
    planted_ok(own, sn_options_create(&options, own));
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        planted_ok(own, sn_options_set(options, own, settings[i].key, settings[i].value));
    planted_ok(own, sn_trainer_create(&trainer, own, model, options));
    planted_ok(own, sn_trainer_add_corpus(trainer, corpus, 1, 0));
    sn_options_free(options);
    return trainer;
}

struct training {
    const sn_model *model;
    const sn_corpus *corpus;
    size_t n_threads;
    char path[256];
};

static void *train(void *payload)
{
    struct training *training = payload;
    sn_context *own;
    if (sn_context_create(&own, NULL) != SN_OK)
        return NULL;
    planted_ok(own, sn_context_set_threads(own, training->n_threads));
    sn_trainer *trainer = open_trainer(own, training->model, training->corpus);
    planted_ok(own, sn_trainer_run(trainer, 0));
    planted_ok(own, sn_trainer_save(trainer, training->path));
    sn_trainer_free(trainer);
    sn_context_free(own);
    return training;
}

static void expect_same_files(const char *a, const char *b)
{
    static char bytes[2][1 << 20];
    size_t sizes[2];
    const char *paths[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(paths[i], "rb");
        ck_assert_msg(file != NULL, "%s is not there", paths[i]);
        sizes[i] = fread(bytes[i], 1, sizeof bytes[i], file);
        fclose(file);
    }
    ck_assert_uint_eq(sizes[0], sizes[1]);
    ck_assert_uint_lt(sizes[0], sizeof bytes[0]);
    ck_assert_int_eq(memcmp(bytes[0], bytes[1], sizes[0]), 0);
}

static sn_corpus *token_corpus(void)
{
    sn_corpus *corpus;
    make_tokens();
    ok(sn_corpus_create(&corpus, context));
    ok(sn_corpus_add_tokens(corpus, context, tokens, N_TOKENS));
    return corpus;
}

START_TEST(two_contexts_train_at_once)
{
    struct temporary folder;
    pthread_t threads[2];
    struct training trainings[3];
    sn_model *model = strong_model(SPARSE_CONFIG, 3);
    sn_corpus *corpus = token_corpus();
    temporary_create(&folder);
    for (size_t i = 0; i < 3; i++) {
        trainings[i] = (struct training){.model = model, .corpus = corpus, .n_threads = 1 + i % 2};
        snprintf(trainings[i].path, sizeof trainings[i].path, "%s/%zu", folder.folder, i);
    }
    ck_assert_ptr_nonnull(train(&trainings[2])); /* alone */
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, train, &trainings[i]), 0);
    for (size_t i = 0; i < 2; i++) {
        void *result;
        ck_assert_int_eq(pthread_join(threads[i], &result), 0);
        ck_assert_ptr_nonnull(result);
        expect_same_files(trainings[i].path, trainings[2].path);
    }
    temporary_remove(&folder);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

/* ----------------------------------------------------------------------- the host's loop */

START_TEST(the_hosts_loop_gives_the_same_bits)
{
    struct temporary folder;
    char paths[2][256];
    sn_model *model = strong_model(SPARSE_CONFIG, 3);
    sn_corpus *corpus = token_corpus();
    temporary_create(&folder);
    for (int i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%d", folder.folder, i);
        if (i)
            ok(sn_context_set_parallel_for(context, host_loop, NULL, HOST_THREADS));
        sn_trainer *trainer = open_trainer(context, model, corpus);
        ok(sn_trainer_run(trainer, 0));
        ok(sn_trainer_save(trainer, paths[i]));
        sn_trainer_free(trainer);
    }
    expect_same_files(paths[0], paths[1]);
    ok(sn_context_set_parallel_for(context, NULL, NULL, 0));
    temporary_remove(&folder);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

/* --------------------------------------------------------------------------------- fork */

/* In the middle of a run with its threads started, a fork: parent and child both go on to the end. */
START_TEST(both_sides_of_a_fork_go_on)
{
    struct temporary folder;
    char paths[3][256];
    sn_model *model = strong_model(SPARSE_CONFIG, 3);
    sn_corpus *corpus = token_corpus();
    temporary_create(&folder);
    for (int i = 0; i < 3; i++)
        snprintf(paths[i], sizeof paths[i], "%s/%d", folder.folder, i);
    struct training whole = {.model = model, .corpus = corpus, .n_threads = 1};
    snprintf(whole.path, sizeof whole.path, "%s", paths[0]);
    ck_assert_ptr_nonnull(train(&whole));
    ok(sn_context_set_threads(context, 3));
    sn_trainer *trainer = open_trainer(context, model, corpus);
    ok(sn_trainer_run(trainer, 5));
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    int status = sn_trainer_run(trainer, 0);
    if (status == SN_OK)
        status = sn_trainer_save(trainer, paths[child ? 1 : 2]);
    sn_trainer_free(trainer);
    if (child == 0) {
        sn_corpus_free(corpus);
        sn_model_free(model);
        sn_context_free(context);
        _exit(status);
    }
    ok(status);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == SN_OK, "the child ended with %d", status);
    expect_same_files(paths[0], paths[1]);
    expect_same_files(paths[0], paths[2]);
    temporary_remove(&folder);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

Suite *sharing_suite(void);
Suite *sharing_suite(void)
{
    const TTest *threads[] = {eight_sessions_share_a_model, two_contexts_train_at_once,
                              the_hosts_loop_gives_the_same_bits}; /* what ThreadSanitizer looks at */
    const TTest *forks[] = {both_sides_of_a_fork_go_on};
    Suite *suite = suite_create("sharing");
    add_cases(suite, "threads", threads, sizeof threads / sizeof *threads);
    if (child_may_have_threads())
        add_cases(suite, "forks", forks, sizeof forks / sizeof *forks);
    return suite;
}
