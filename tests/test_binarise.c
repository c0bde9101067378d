/* Circuits whose nodes have two values each. */
#include "circuit/judge.h"
#include "circuit/steps.h"
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

static sn_circuit *planted_circuit(sn_model *model)
{
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "planted"));
    for (size_t i = 0; i < PLANTED_NODES; i++)
        ok(sn_circuit_add_node(circuit, context, planted_nodes[i]));
    return circuit;
}

/* Prompts of one mark only, over which every planted node has exactly two values. */
static sn_task *binary_task(void)
{
    static const int32_t marks[2][4] = {{1, 1, 1, 1}, {2, 2, 2, 2}};
    sn_task *task;
    ok(sn_task_create(&task, context, "binary"));
    for (size_t n = 1; n <= 4; n++)
        ok(sn_task_add_pair(task, context, marks[0], n, marks[1], n, 4, 5));
    return task;
}

static sn_binarised *binarise(const sn_circuit *circuit, const sn_means *means, const sn_task *task,
                              double steps)
{
    sn_binarised *binarised;
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "steps", steps));
    ok(sn_options_set(options, context, "batch", 6));
    ok(sn_options_set(options, context, "seed", 3));
    ok(sn_binarised_create(&binarised, context, circuit, means, task, options));
    sn_options_free(options);
    return binarised;
}

START_TEST(binary_nodes_stay_as_they_are)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_circuit *circuit = planted_circuit(model);
    sn_task *task = binary_task();
    sn_evaluation before = evaluate(model, means, circuit, SN_ABLATE_REST, task);
    sn_evaluation after = {.struct_size = sizeof after};
    sn_binarised *binarised = binarise(circuit, means, task, 0);
    ok(sn_binarised_evaluate(&after, context, binarised, means, task, task));
    ck_assert_double_lt(before.raw_loss, 0.3);
    ck_assert_double_eq_tol(after.raw_loss, before.raw_loss, 1e-5);
    ck_assert_double_eq_tol(after.loss, before.loss, 1e-5);
    ck_assert_double_eq(after.raw_accuracy, 1);
    ck_assert_uint_eq(after.n_pairs, 4);
    ck_assert_uint_eq(sn_binarised_count(binarised), PLANTED_NODES);
    for (size_t i = 0; i < PLANTED_NODES; i++) {
        double low, high;
        ck_assert_str_eq(sn_binarised_node(&low, &high, binarised, i), planted_nodes[i]);
        ck_assert_double_gt(high, 0.1);
        ck_assert_double_eq_tol(low, -high, 1e-5); /* the marks write opposite values */
    }
    ck_assert_ptr_null(sn_binarised_node(NULL, NULL, binarised, PLANTED_NODES));
    sn_binarised_free(binarised);
    binarised = binarise(circuit, means, task, 40);
    ok(sn_binarised_evaluate(&after, context, binarised, means, task, task));
    ck_assert_double_lt(after.raw_loss, before.raw_loss); /* values farther apart */
    sn_binarised_free(binarised);
    sn_task_free(task);
    sn_circuit_free(circuit);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* Nodes of more than two values: the loss becomes another one, and learning lowers it. The circuit may go meanwhile. */
START_TEST(learning_lowers_the_loss_of_steps)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_circuit *circuit = planted_circuit(model);
    sn_task *task = planted_task(context, 20, 3);
    double whole = evaluate(model, means, circuit, SN_ABLATE_REST, task).raw_loss, from, to;
    sn_binarised *binarised = binarise(circuit, means, task, 100);
    sn_circuit_free(circuit);
    sn_evaluation after = {.struct_size = sizeof after};
    ok(sn_binarised_evaluate(&after, context, binarised, means, task, task));
    ok(sn_binarised_losses(&from, &to, binarised));
    ck_assert_double_eq(after.raw_loss, to);
    ck_assert_double_gt(fabs(from - whole), 1e-4);
    ck_assert_msg(to < 0.9 * from, "%g of %g is left; the circuit has %g", to, from, whole);
    sn_binarised_free(binarised);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* A judge with steps of random values attached to its session for learning. */
struct rig {
    sn_model *model;
    sn_means *means;
    sn_task *task;
    sn_circuit *circuit;
    struct judge judge;
    struct steps steps;
};

/* percent: edges between kept nodes that stay, of a hundred; 100: a circuit of nodes. */
static void rig_open_edges(struct rig *rig, unsigned percent)
{
    rig->model = strong_model(SMOOTH_CONFIG, 8);
    rig->means = random_means(rig->model, 3);
    rig->task = random_task(6, 20, 11, 5);
    ok(sn_circuit_create(&rig->circuit, context, rig->model, "random"));
    unsigned char *kept = malloc(rig->circuit->layout.n_nodes);
    random_nodes(kept, rig->circuit->layout.n_nodes, 30, 9);
    unsigned char *kept_edges = malloc(edge_count(rig->model));
    random_nodes(kept_edges, edge_count(rig->model), percent, 17);
    ok(circuit_set_edges(rig->circuit, context, kept, percent < 100 ? kept_edges : NULL));
    free(kept);
    free(kept_edges);
    ok(judge_open(&rig->judge, context, rig->model, rig->means, rig->task, rig->task,
                  percent < 100 ? JUDGE_EDGES : JUDGE_NODES));
    rig->judge.kept_edges = rig->circuit->kept_edges;
    ok(steps_create(&rig->steps, context, rig->circuit));
    unsigned seed = 4;
    for (size_t i = 0; i < rig->steps.n; i++) {
        rig->steps.value[2 * i] = -0.1f - (float)(next_random(&seed) % 100) * 0.005f;
        rig->steps.value[2 * i + 1] = 0.1f + (float)(next_random(&seed) % 100) * 0.005f;
    }
}

static void rig_open(struct rig *rig)
{
    rig_open_edges(rig, 100);
}

static void rig_close(struct rig *rig)
{
    steps_free(&rig->steps);
    judge_close(&rig->judge);
    sn_circuit_free(rig->circuit);
    sn_task_free(rig->task);
    sn_means_free(rig->means);
    sn_model_free(rig->model);
}

static double rig_loss(struct rig *rig)
{
    struct measurement measured[JUDGE_SETS];
    ok(steps_attach(&rig->steps, rig->judge.measuring, 0));
    ok(judge_measure(measured, &rig->judge, rig->circuit->kept, SN_ABLATE_REST, ALL_PAIRS));
    steps_detach(&rig->steps);
    return measured[JUDGE_TASK].raw_loss;
}

/* By central differences at t = 0.6, of nodes with all edges between them, and with some of these cut. */
static void check_gradients(unsigned percent)
{
    static const struct calibration raw = {1, 0};
    struct rig rig;
    double loss, wrong = 0, whole = 0;
    rig_open_edges(&rig, percent);
    rig.steps.t = 0.6f;
    struct pair_batch *batch = &rig.judge.batch;
    ok(judge_set_masks(&rig.judge, rig.circuit->kept, SN_ABLATE_REST, 1));
    ok(steps_attach(&rig.steps, rig.judge.session, 1));
    ok(pair_batch_fill(batch, context, rig.task, NULL, 0, 6, 11));
    ok(pair_batch_forward(batch, rig.judge.session));
    ok(pair_batch_backward(&loss, batch, rig.judge.session, raw, 1));
    gates_detach(&rig.judge.gates);
    steps_detach(&rig.steps);
    ck_assert_double_eq_tol(loss, rig_loss(&rig), 1e-5);
    for (size_t i = 0; i < 2 * rig.steps.n; i++) {
        float *value = &rig.steps.value[i], kept = *value;
        *value = kept + 2e-3f;
        double up = rig_loss(&rig);
        *value = kept - 2e-3f;
        double slope = (up - rig_loss(&rig)) / 4e-3;
        *value = kept;
        wrong += fabs(slope - (double)rig.steps.gradient[i]);
        whole += fabs(slope);
    }
    ck_assert_double_gt(whole, 0.1);
    ck_assert_msg(wrong < 0.03 * whole, "%u %%: gradients are off by %g of %g", percent, wrong, whole);
    rig_close(&rig);
}

START_TEST(gradients_are_those_of_differences)
{
    check_gradients(100);
    check_gradients(70);
}
END_TEST

START_TEST(the_way_begins_at_the_identity)
{
    static const unsigned percents[] = {100, 70};
    double losses[2];
    for (int i = 0; i < 2; i++) {
        struct rig rig;
        rig_open_edges(&rig, percents[i]);
        losses[i] = evaluate(rig.model, rig.means, rig.circuit, SN_ABLATE_REST, rig.task).raw_loss;
        rig.steps.t = 1;
        ck_assert_double_eq(rig_loss(&rig), losses[i]);
        rig.steps.t = 0;
        ck_assert_double_gt(fabs(rig_loss(&rig) - losses[i]), 1e-3);
        rig_close(&rig);
    }
    ck_assert_double_gt(fabs(losses[0] - losses[1]), 1e-3); /* the edges that are cut say something */
}
END_TEST

/* Where the edge into the write is cut nothing but its mean arrives, and the write has one value, twice. */
START_TEST(a_cut_edge_stays_cut)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_circuit *circuit = planted_circuit(model);
    sn_task *task = binary_task();
    size_t n = edge_count(model), node[PLANTED_NODES];
    unsigned char *kept_edges = malloc(n);
    float weight;
    memset(kept_edges, 1, n);
    for (size_t i = 0; i < PLANTED_NODES; i++)
        node[i] = node_layout_find(&circuit->layout, model, planted_nodes[i]);
    ok(circuit_set_edges(circuit, context, circuit->kept, kept_edges));
    sn_binarised *all = binarise(circuit, means, task, 0);
    kept_edges[edge_find(&weight, model, &circuit->layout, node[1], node[2])] = 0;
    ok(circuit_set_edges(circuit, context, circuit->kept, kept_edges));
    sn_binarised *cut = binarise(circuit, means, task, 0);
    sn_evaluation before = evaluate(model, means, circuit, SN_ABLATE_REST, task);
    sn_evaluation after = {.struct_size = sizeof after};
    ok(sn_binarised_evaluate(&after, context, cut, means, task, task));
    ck_assert_double_eq_tol(after.raw_loss, before.raw_loss, 1e-6);
    ck_assert_double_eq_tol(after.raw_loss, LN_2, 0.01);
    ok(sn_binarised_evaluate(&after, context, all, means, task, task));
    ck_assert_double_lt(after.raw_loss, 0.3);
    for (size_t i = 0; i < PLANTED_NODES; i++) {
        double low, high, same_low, same_high;
        ck_assert_str_eq(sn_binarised_node(&low, &high, cut, i), planted_nodes[i]);
        ck_assert_ptr_nonnull(sn_binarised_node(&same_low, &same_high, all, i));
        if (i == 2)
            ck_assert(low == high && same_low < same_high);
        else
            ck_assert(low == same_low && high == same_high && low < high);
    }
    sn_binarised_free(all);
    sn_binarised_free(cut);
    free(kept_edges);
    sn_task_free(task);
    sn_circuit_free(circuit);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* The write counts marks, and the logits compare the count with one and a half. Most prompts have one or two of them, a
 * few have six: the thresholds that are tried lie between two and six, where one and two are the same. */
START_TEST(what_steps_cost_is_learned_back_in_part)
{
    static const int32_t fillers[] = {0, 6, 7};
    sn_model *model = planted_model(context, 0);
    PLANT("lm_head.weight", 4, 2, 2, 5, 2, -2, 4, 5, -1.86f, 5, 5, 1.86f, 6, 4, 1, 7, 5, 1);
    sn_means *means = planted_means(context, model);
    sn_circuit *circuit = planted_circuit(model);
    sn_task *task;
    double from, to;
    ok(sn_task_create(&task, context, "count"));
    for (size_t i = 0; i < 9; i++) {
        const int32_t x = fillers[i % 3], more = i % 3 ? x : 1;
        const int32_t several[] = {1, more, more, more, more, 1, 3}, one[] = {1, x, x, x, x, x, 3};
        ok(sn_task_add_pair(task, context, several, 7, one, 7, 4, 5));
    }
    double whole = evaluate(model, means, circuit, SN_ABLATE_REST, task).raw_loss;
    sn_binarised *binarised = binarise(circuit, means, task, 300);
    ok(sn_binarised_losses(&from, &to, binarised));
    ck_assert_msg(whole < 0.15 && from > whole + 0.3, "%g become %g", whole, from);
    ck_assert_msg(to < from - 0.5 * (from - whole), "%g and %g become %g", whole, from, to);
    sn_evaluation after = {.struct_size = sizeof after};
    ok(sn_binarised_evaluate(&after, context, binarised, means, task, task));
    ck_assert_double_eq(after.raw_loss, to);
    sn_binarised_free(binarised);
    sn_task_free(task);
    sn_circuit_free(circuit);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(any_number_of_threads_gives_the_same_bits)
{
    struct rig rig;
    sn_binarised *binarised[2];
    rig_open_edges(&rig, 70);
    for (int i = 0; i < 2; i++) {
        ok(sn_context_set_threads(context, i ? 3 : 1));
        binarised[i] = binarise(rig.circuit, rig.means, rig.task, 12);
    }
    for (size_t i = 0; i < rig.steps.n; i++) {
        double a[2], b[2];
        ck_assert_ptr_nonnull(sn_binarised_node(&a[0], &a[1], binarised[0], i));
        ck_assert_ptr_nonnull(sn_binarised_node(&b[0], &b[1], binarised[1], i));
        ck_assert_mem_eq(a, b, sizeof a);
        ck_assert_double_le(a[0], a[1]);
    }
    sn_binarised_free(binarised[0]);
    sn_binarised_free(binarised[1]);
    rig_close(&rig);
}
END_TEST

struct stop {
    size_t at, seen;
};

static int stop_at(const char *stage, size_t done, size_t total, double value, void *payload)
{
    struct stop *stop = payload;
    ck_assert_str_eq(stage, "binarise");
    ck_assert_uint_eq(total, 200);
    ck_assert(isfinite(value) && done == stop->seen + 1);
    stop->seen = done;
    return done == stop->at;
}

/* At the first step, in the middle and at the last; nothing is left behind, and the context goes on. */
START_TEST(it_can_be_cancelled)
{
    static const size_t places[] = {1, 5, 200};
    static const unsigned percents[] = {100, 70};
    for (int i = 0; i < 2; i++) {
        struct rig rig;
        rig_open_edges(&rig, percents[i]);
        sn_binarised_free(binarise(rig.circuit, rig.means, rig.task, 1));
        for (size_t p = 0; p < 3; p++) {
            struct stop stop = {places[p], 0};
            sn_binarised *binarised = (sn_binarised *)&stop;
            size_t before, after;
            sn_context_memory(&before, NULL, context);
            sn_context_set_progress(context, stop_at, &stop);
            ck_assert_int_eq(
                sn_binarised_create(&binarised, context, rig.circuit, rig.means, rig.task, NULL),
                SN_ERROR_CANCELLED);
            ck_assert_ptr_null(binarised);
            ck_assert_uint_eq(stop.seen, places[p]);
            sn_context_memory(&after, NULL, context);
            ck_assert_uint_eq(before, after);
        }
        sn_context_set_progress(context, NULL, NULL);
        sn_binarised_free(binarise(rig.circuit, rig.means, rig.task, 1));
        rig_close(&rig);
    }
}
END_TEST

START_TEST(bad_arguments_are_named)
{
    struct rig rig;
    rig_open(&rig);
    sn_binarised *binarised;
    sn_task *none;
    sn_circuit *empty;
    sn_evaluation result = {.struct_size = 0};
    ok(sn_task_create(&none, context, "none"));
    ok(sn_circuit_create(&empty, context, rig.model, "empty"));
    ck_assert_int_eq(sn_binarised_create(&binarised, context, empty, rig.means, rig.task, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "no nodes"));
    ck_assert_int_eq(sn_binarised_create(&binarised, context, rig.circuit, NULL, rig.task, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_binarised_create(&binarised, context, rig.circuit, rig.means, none, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "none"));
    binarised = binarise(rig.circuit, rig.means, rig.task, 1);
    ck_assert_int_eq(sn_binarised_evaluate(&result, context, binarised, rig.means, rig.task, rig.task),
                     SN_ERROR_ARGUMENT);
    result.struct_size = sizeof result;
    ck_assert_int_eq(sn_binarised_evaluate(&result, context, NULL, rig.means, rig.task, rig.task),
                     SN_ERROR_ARGUMENT);
    sn_binarised_free(binarised);
    sn_circuit_free(empty);
    sn_task_free(none);
    rig_close(&rig);
}
END_TEST

static int create_and_evaluate(sn_context *own, void *payload)
{
    struct rig *rig = payload;
    sn_evaluation result = {.struct_size = sizeof result};
    sn_binarised *binarised = NULL;
    sn_options *options = NULL;
    int status = sn_options_create(&options, own);
    if (status == SN_OK)
        status = sn_options_set(options, own, "steps", 2);
    if (status == SN_OK)
        status = sn_binarised_create(&binarised, own, rig->circuit, rig->means, rig->task, options);
    if (status == SN_OK)
        status = sn_binarised_evaluate(&result, own, binarised, rig->means, rig->task, rig->task);
    sn_binarised_free(binarised);
    sn_options_free(options);
    return status;
}

START_TEST(memory_may_run_out_anywhere)
{
    struct rig rig;
    rig_open(&rig);
    ck_assert_uint_gt(oom_loop(create_and_evaluate, &rig, 1, 0), 50);
    rig_close(&rig);
    rig_open_edges(&rig, 70);
    ck_assert_uint_gt(oom_loop(create_and_evaluate, &rig, 1, 8), 50);
    rig_close(&rig);
}
END_TEST

Suite *binarise_suite(void)
{
    const TTest *const tests[] = {binary_nodes_stay_as_they_are,
                                  learning_lowers_the_loss_of_steps,
                                  gradients_are_those_of_differences,
                                  the_way_begins_at_the_identity,
                                  a_cut_edge_stays_cut,
                                  what_steps_cost_is_learned_back_in_part,
                                  it_can_be_cancelled,
                                  bad_arguments_are_named,
                                  memory_may_run_out_anywhere};
    const TTest *const threads[] = {any_number_of_threads_gives_the_same_bits};
    Suite *suite = suite_create("binarise");
    add_cases(suite, "binarise", tests, sizeof tests / sizeof *tests);
    add_cases(suite, "threads", threads, 1);
    return suite;
}
