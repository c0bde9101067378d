/* Objects and contexts may go in any order and on any thread, as a garbage collector lets them go. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

static const char config_text[] = "{\"block_size\": 64, \"vocab_size\": 8, \"n_layer\": 1, \"n_head\": "
                                  "1, \"d_head\": 4, \"d_model\": 6,"
                                  " \"d_mlp\": 5, \"rms_norm\": true, \"tied_unembed\": false}";
static const int32_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 0};
static const size_t offsets[] = {0, 3, 8};

/* One of everything that works in a context until it is freed, and the others. */
struct objects {
    sn_model *model;
    sn_session *session;
    sn_generator *generator;
    sn_trainer *trainer;
    sn_corpus *corpus;
    sn_means *means;
    sn_task *task;
    sn_search *search;
    sn_options *options;
    sn_circuit *circuit;
};

static int made_all(struct objects *o, sn_context *in)
{
    int status = sn_model_create(&o->model, in, config_text, strlen(config_text), 1);
    if (status == SN_OK)
        status = sn_session_create(&o->session, in, o->model, NULL);
    if (status == SN_OK)
        status = sn_generator_create(&o->generator, in, o->model, NULL);
    if (status == SN_OK)
        status = sn_trainer_create(&o->trainer, in, o->model, NULL);
    if (status == SN_OK)
        status = sn_corpus_create(&o->corpus, in);
    if (status == SN_OK)
        status = sn_corpus_add_tokens(o->corpus, in, tokens, 8);
    if (status == SN_OK)
        status = sn_trainer_add_corpus(o->trainer, o->corpus, 1, 0);
    if (status == SN_OK)
        status = sn_means_create(&o->means, in, o->model, o->corpus, NULL);
    if (status == SN_OK)
        status = sn_task_create(&o->task, in, "task");
    if (status == SN_OK)
        status = sn_task_add_pair(o->task, in, tokens, 2, tokens + 1, 2, 6, 7);
    if (status == SN_OK)
        status = sn_options_create(&o->options, in);
    if (status == SN_OK)
        status = sn_options_set(o->options, in, "target_loss", 20);
    if (status == SN_OK)
        status = sn_search_create(&o->search, in, o->model, o->means, o->task, NULL, o->options);
    if (status == SN_OK)
        status = sn_circuit_create(&o->circuit, in, o->model, "");
    return status;
}

/* The n-th of them; N_KINDS counts them and the context. */
#define N_KINDS 11
static void free_kind(struct objects *o, sn_context *in, size_t kind)
{
    switch (kind) {
    case 0: sn_context_free(in); break;
    case 1: sn_model_free(o->model); break;
    case 2: sn_session_free(o->session); break;
    case 3: sn_generator_free(o->generator); break;
    case 4: sn_trainer_free(o->trainer); break;
    case 5: sn_corpus_free(o->corpus); break;
    case 6: sn_means_free(o->means); break;
    case 7: sn_task_free(o->task); break;
    case 8: sn_search_free(o->search); break;
    case 9: sn_options_free(o->options); break;
    default: sn_circuit_free(o->circuit);
    }
}

/* In every order that turning and reversing the list gives. */
START_TEST(freed_in_any_order)
{
    for (size_t k = 0; k < 2 * N_KINDS; k++) {
        struct oom counted = {0};
        struct objects objects = {0};
        sn_allocator allocator = oom_allocator(&counted);
        sn_context *own;
        ck_assert_int_eq(sn_context_create(&own, &allocator), SN_OK);
        int status = made_all(&objects, own);
        ck_assert_msg(status == SN_OK, "%s", sn_context_message(own));
        for (size_t i = 0; i < N_KINDS; i++) {
            size_t turned = (i + k) % N_KINDS;
            free_kind(&objects, own, k < N_KINDS ? turned : N_KINDS - 1 - turned);
        }
        ck_assert_uint_eq(counted.live_blocks, 0);
        ck_assert_uint_eq(counted.n_wrong, 0);
    }
}
END_TEST

static int never(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)stage, (void)done, (void)total, (void)value;
    *(int *)payload = 1;
    return 1;
}

static void never_loop(size_t n, void (*body)(void *body_payload, size_t index), void *body_payload,
                       void *payload)
{
    *(int *)payload = 1;
    for (size_t i = 0; i < n; i++)
        body(body_payload, i);
}

/* What the host lent to a context that it has freed may be gone: it is not called any more. */
START_TEST(a_freed_context_serves_what_holds_it_without_callbacks)
{
    struct objects objects = {0};
    sn_context *own;
    int called = 0;
    ck_assert_int_eq(sn_context_create(&own, NULL), SN_OK);
    ck_assert_int_eq(made_all(&objects, own), SN_OK);
    sn_context_set_progress(own, never, &called);
    ck_assert_int_eq(sn_context_set_parallel_for(own, never_loop, &called, 2), SN_OK);
    sn_context_free(own);
    ck_assert_int_eq(sn_session_forward(objects.session, tokens, offsets, 2), SN_OK);
    ck_assert_int_eq(sn_generator_append(objects.generator, tokens, 8), SN_OK);
    ck_assert_int_eq(sn_trainer_run(objects.trainer, 1), SN_OK);
    ck_assert_int_eq(called, 0);
    for (size_t kind = 1; kind < N_KINDS; kind++)
        free_kind(&objects, NULL, kind);
}
END_TEST

static int attempt(sn_context *tight, void *payload)
{
    struct objects objects = {0};
    (void)payload;
    int status = made_all(&objects, tight);
    for (size_t kind = 1; kind < N_KINDS; kind++)
        free_kind(&objects, NULL, kind);
    return status;
}

/* A failed creation gives its hold of the context back, or the context would be left over. */
START_TEST(every_refused_allocation_is_survived)
{
    ck_assert_uint_gt(oom_loop(attempt, NULL, 1, 8), 100);
}
END_TEST

struct collector {
    sn_session *sessions[64];
    sn_generator *generators[64];
    atomic_int n_started;
};

static void *collect(void *payload)
{
    struct collector *collector = payload;
    atomic_store(&collector->n_started, 1);
    for (size_t i = 0; i < 64; i++) {
        sn_session_free(collector->sessions[i]);
        sn_generator_free(collector->generators[i]);
    }
    return NULL;
}

/* Another thread frees what belongs to a context that is at work. */
START_TEST(freed_on_another_thread_while_the_context_works)
{
    struct collector collector = {.n_started = 0};
    sn_model *model;
    sn_session *session;
    pthread_t thread;
    ck_assert_int_eq(sn_context_set_threads(context, 2), SN_OK);
    ck_assert_int_eq(sn_model_create(&model, context, config_text, strlen(config_text), 1), SN_OK);
    ck_assert_int_eq(sn_session_create(&session, context, model, NULL), SN_OK);
    for (size_t i = 0; i < 64; i++) {
        ck_assert_int_eq(sn_session_create(&collector.sessions[i], context, model, NULL), SN_OK);
        ck_assert_int_eq(sn_session_forward(collector.sessions[i], tokens, offsets, 2), SN_OK);
        ck_assert_int_eq(sn_generator_create(&collector.generators[i], context, model, NULL), SN_OK);
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, collect, &collector), 0);
    while (!atomic_load(&collector.n_started))
        ;
    for (size_t i = 0; i < 50; i++)
        ck_assert_int_eq(sn_session_forward(session, tokens, offsets, 2), SN_OK);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    sn_session_free(session);
    sn_model_free(model);
}
END_TEST

/* The last session of a freed context goes on one thread or the other. */
START_TEST(the_last_holds_of_a_context_go_on_two_threads)
{
    for (size_t round = 0; round < 50; round++) {
        struct collector collector = {.n_started = 0};
        struct oom counted = {0};
        sn_allocator allocator = oom_allocator(&counted);
        sn_context *own;
        sn_model *model;
        sn_session *last;
        pthread_t thread;
        ck_assert_int_eq(sn_context_create(&own, &allocator), SN_OK);
        ck_assert_int_eq(sn_model_create(&model, own, config_text, strlen(config_text), 1), SN_OK);
        ck_assert_int_eq(sn_session_create(&last, own, model, NULL), SN_OK);
        ck_assert_int_eq(sn_session_create(&collector.sessions[0], own, model, NULL), SN_OK);
        ck_assert_int_eq(pthread_create(&thread, NULL, collect, &collector), 0);
        sn_context_free(own);
        sn_session_free(last);
        sn_model_free(model);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_uint_eq(counted.live_blocks, 0);
    }
}
END_TEST

Suite *lifetime_suite(void)
{
    Suite *suite = suite_create("lifetime");
    TCase *cases = tcase_create("lifetime");
    tcase_add_checked_fixture(cases, fixture_setup, fixture_teardown);
    tcase_add_test(cases, freed_in_any_order);
    tcase_add_test(cases, a_freed_context_serves_what_holds_it_without_callbacks);
    tcase_add_test(cases, every_refused_allocation_is_survived);
    suite_add_tcase(suite, cases);
    TCase *threads = tcase_create("threads");
    tcase_add_checked_fixture(threads, fixture_setup, fixture_teardown);
    tcase_add_test(threads, freed_on_another_thread_while_the_context_works);
    tcase_add_test(threads, the_last_holds_of_a_context_go_on_two_threads);
    suite_add_tcase(suite, threads);
    return suite;
}
