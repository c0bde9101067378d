/* sn_circuit_refine: from a circuit to the smallest inside it. */
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

struct setting {
    sn_model *model;
    sn_means *means;
    sn_task *task;
    sn_circuit *whole; /* the planted path, its backup, and noise */
    sn_options *options;
};

static void setting_open(struct setting *s, int method)
{
    static const char *const noise[] = {"0.attn.act_in.4", "0.attn.v.head0.ch2", "0.attn.resid_delta.4",
                                        "0.mlp.post_act.1"};
    s->model = planted_model(context, 1);
    s->means = planted_means(context, s->model);
    s->task = planted_task(context, 40, 3);
    ok(sn_circuit_create(&s->whole, context, s->model, "by hand"));
    for (size_t i = 0; i < PLANTED_NODES; i++) {
        ok(sn_circuit_add_node(s->whole, context, planted_nodes[i]));
        ok(sn_circuit_add_node(s->whole, context, backup_nodes[i]));
    }
    for (size_t i = 0; i < sizeof noise / sizeof *noise; i++)
        ok(sn_circuit_add_node(s->whole, context, noise[i]));
    ok(sn_options_create(&s->options, context));
    ok(sn_options_set_text(s->options, context, "method", method ? "edges" : "nodes"));
    ok(sn_options_set(s->options, context, "grow", 0));
}

static void setting_close(struct setting *s)
{
    sn_options_free(s->options);
    sn_circuit_free(s->whole);
    sn_task_free(s->task);
    sn_means_free(s->means);
    sn_model_free(s->model);
}

static sn_circuit *refine(const struct setting *s, const sn_circuit *from)
{
    sn_circuit *circuit;
    ok(sn_circuit_refine(&circuit, context, from, s->means, s->task, NULL, s->options));
    return circuit;
}

START_TEST(noise_and_backup_go_and_the_target_holds)
{
    for (int method = 0; method < 2; method++) {
        struct setting s;
        setting_open(&s, method);
        size_t nodes = sn_circuit_node_count(s.whole), edges = sn_circuit_edge_count(s.whole);
        sn_circuit *small = refine(&s, s.whole);
        ck_assert_uint_eq(sn_circuit_edge_count(small), 2);
        ck_assert_uint_eq(sn_circuit_node_count(small), 3);
        ck_assert_double_le(evaluate(s.model, s.means, small, SN_ABLATE_REST, s.task).loss, 0.15);
        ck_assert_str_eq(sn_circuit_task(small), "planted");
        ck_assert_uint_eq(sn_circuit_node_count(s.whole), nodes); /* what it started from is as it was */
        ck_assert_uint_eq(sn_circuit_edge_count(s.whole), edges);
        sn_circuit *again = refine(&s, small); /* nothing more can go */
        ck_assert_uint_eq(sn_circuit_edge_count(again), 2);
        sn_circuit_free(again);
        sn_circuit_free(small);
        setting_close(&s);
    }
}
END_TEST

START_TEST(cut_edges_stay_cut)
{
    struct setting s;
    setting_open(&s, 1);
    sn_circuit *edges = refine(&s, s.whole);
    ok(sn_options_set_text(s.options, context, "method", "nodes"));
    sn_circuit *again = refine(&s, edges);
    ck_assert_uint_eq(sn_circuit_edge_count(again), 2);
    for (size_t i = 0; i < 2; i++) {
        size_t from[2], to[2];
        ok(sn_circuit_edge(&from[0], &to[0], NULL, edges, i));
        ok(sn_circuit_edge(&from[1], &to[1], NULL, again, i));
        ck_assert_uint_eq(from[0], from[1]);
        ck_assert_uint_eq(to[0], to[1]);
    }
    sn_circuit_free(again);
    sn_circuit_free(edges);
    setting_close(&s);
}
END_TEST

START_TEST(what_was_removed_may_be_grown_back_to_be_necessary)
{
    struct setting s;
    setting_open(&s, 0);
    sn_circuit *small = refine(&s, s.whole);
    ck_assert_double_lt(evaluate(s.model, s.means, small, SN_ABLATE_CIRCUIT, s.task).loss, 0.3);
    ok(sn_options_set(s.options, context, "grow", 1));
    sn_circuit *grown = refine(&s, small);
    ck_assert_double_gt(evaluate(s.model, s.means, grown, SN_ABLATE_CIRCUIT, s.task).loss, 0.54);
    ck_assert_double_le(evaluate(s.model, s.means, grown, SN_ABLATE_REST, s.task).loss, 0.15);
    sn_circuit_free(grown);
    sn_circuit_free(small);
    setting_close(&s);
}
END_TEST

START_TEST(a_circuit_that_misses_the_target_is_refused)
{
    for (int method = 0; method < 2; method++) {
        struct setting s;
        sn_circuit *none;
        setting_open(&s, method);
        ok(sn_circuit_remove_node(s.whole, context, planted_nodes[1]));
        ok(sn_circuit_remove_node(s.whole, context, backup_nodes[1]));
        ck_assert_int_eq(sn_circuit_refine(&none, context, s.whole, s.means, s.task, NULL, s.options),
                         SN_ERROR_TARGET);
        ck_assert_ptr_null(none);
        ck_assert_ptr_nonnull(strstr(sn_context_message(context), "the circuit to start from"));
        ck_assert_int_eq(sn_circuit_refine(&none, context, NULL, s.means, s.task, NULL, s.options),
                         SN_ERROR_ARGUMENT);
        ck_assert_int_eq(sn_circuit_refine(&none, context, s.whole, NULL, s.task, NULL, s.options),
                         SN_ERROR_ARGUMENT);
        ck_assert_int_eq(sn_circuit_refine(NULL, context, s.whole, s.means, s.task, NULL, NULL),
                         SN_ERROR_ARGUMENT);
        setting_close(&s);
    }
}
END_TEST

/* ---- cancelling, threads, lack of memory */

static int stop_at(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)done, (void)total, (void)value;
    return strcmp(stage, payload) == 0;
}

START_TEST(it_can_be_cancelled)
{
    static char *const stages[] = {"greedy", "eliminate"};
    for (int i = 0; i < 4; i++) {
        struct setting s;
        sn_circuit *none;
        setting_open(&s, i / 2);
        sn_context_set_progress(context, stop_at, stages[i % 2]);
        ck_assert_int_eq(sn_circuit_refine(&none, context, s.whole, s.means, s.task, NULL, s.options),
                         SN_ERROR_CANCELLED);
        ck_assert_ptr_null(none);
        sn_context_set_progress(context, NULL, NULL);
        sn_circuit_free(refine(&s, s.whole));
        setting_close(&s);
    }
}
END_TEST

static int refine_and_free(sn_context *own, void *payload)
{
    const struct setting *s = payload;
    sn_circuit *circuit = NULL;
    int status = sn_circuit_refine(&circuit, own, s->whole, s->means, s->task, NULL, s->options);
    sn_circuit_free(circuit);
    return status;
}

START_TEST(memory_may_run_out_anywhere)
{
    for (int method = 0; method < 2; method++) {
        struct setting s;
        setting_open(&s, method);
        ok(sn_options_set(s.options, context, "grow", 1));
        ck_assert_uint_gt(oom_loop(refine_and_free, &s, 1, 24), 30);
        setting_close(&s);
    }
}
END_TEST

START_TEST(threads_do_not_change_the_circuit)
{
    struct setting s;
    setting_open(&s, 0);
    sn_circuit *one = refine(&s, s.whole);
    ok(sn_context_set_threads(context, 3));
    sn_circuit *three = refine(&s, s.whole);
    ck_assert_uint_eq(sn_circuit_node_count(one), sn_circuit_node_count(three));
    for (size_t i = 0; i < sn_circuit_node_count(one); i++)
        ck_assert_str_eq(sn_circuit_node_name(one, i), sn_circuit_node_name(three, i));
    sn_circuit_free(one);
    sn_circuit_free(three);
    setting_close(&s);
}
END_TEST

Suite *refine_circuit_suite(void);
Suite *refine_circuit_suite(void)
{
    const TTest *refining[] = {noise_and_backup_go_and_the_target_holds, cut_edges_stay_cut,
                               what_was_removed_may_be_grown_back_to_be_necessary,
                               a_circuit_that_misses_the_target_is_refused};
    const TTest *states[] = {it_can_be_cancelled, memory_may_run_out_anywhere};
    const TTest *threads[] = {threads_do_not_change_the_circuit};
    Suite *suite = suite_create("refine_circuit");
    add_cases(suite, "refining", refining, sizeof refining / sizeof *refining);
    add_cases(suite, "states", states, sizeof states / sizeof *states);
    add_cases(suite, "threads", threads, 1);
    return suite;
}
