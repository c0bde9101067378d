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

static void rig_open(struct rig *rig)
{
    rig->model = strong_model(SMOOTH_CONFIG, 8);
    rig->means = random_means(rig->model, 3);
    rig->task = random_task(6, 20, 11, 5);
    ok(sn_circuit_create(&rig->circuit, context, rig->model, "random"));
    unsigned char *kept = malloc(rig->circuit->layout.n_nodes);
    random_nodes(kept, rig->circuit->layout.n_nodes, 30, 9);
    ok(circuit_set_nodes(rig->circuit, context, kept));
    free(kept);
    ok(judge_open(&rig->judge, context, rig->model, rig->means, rig->task, rig->task, JUDGE_NODES));
    ok(steps_create(&rig->steps, context, rig->circuit));
    unsigned seed = 4;
    for (size_t i = 0; i < rig->steps.n; i++) {
        rig->steps.value[2 * i] = -0.1f - (float)(next_random(&seed) % 100) * 0.005f;
        rig->steps.value[2 * i + 1] = 0.1f + (float)(next_random(&seed) % 100) * 0.005f;
    }
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

START_TEST(gradients_are_those_of_differences)
{
    static const struct calibration raw = {1, 0};
    struct rig rig;
    double loss, wrong = 0, whole = 0;
    rig_open(&rig);
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
    ck_assert_msg(wrong < 0.03 * whole, "gradients are off by %g of %g", wrong, whole);
    rig_close(&rig);
}
END_TEST

START_TEST(the_way_begins_at_the_identity)
{
    struct rig rig;
    rig_open(&rig);
    double circuit = evaluate(rig.model, rig.means, rig.circuit, SN_ABLATE_REST, rig.task).raw_loss;
    rig.steps.t = 1;
    ck_assert_double_eq(rig_loss(&rig), circuit);
    rig.steps.t = 0;
    ck_assert_double_gt(fabs(rig_loss(&rig) - circuit), 1e-3);
    rig_close(&rig);
}
END_TEST

START_TEST(any_number_of_threads_gives_the_same_bits)
{
    struct rig rig;
    sn_binarised *binarised[2];
    rig_open(&rig);
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

static int stop_at_5(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)total, (void)value, (void)payload;
    return strcmp(stage, "binarise") == 0 && done == 5;
}

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
    sn_context_set_progress(context, stop_at_5, NULL);
    ck_assert_int_eq(sn_binarised_create(&binarised, context, rig.circuit, rig.means, rig.task, NULL),
                     SN_ERROR_CANCELLED);
    ck_assert_ptr_null(binarised);
    sn_context_set_progress(context, NULL, NULL);
    binarised = binarise(rig.circuit, rig.means, rig.task, 1);
    ck_assert_int_eq(
        sn_binarised_evaluate(&result, context, binarised, rig.means, rig.task, rig.task),
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
}
END_TEST

Suite *binarise_suite(void)
{
    const TTest *const tests[] = {binary_nodes_stay_as_they_are,
                                  learning_lowers_the_loss_of_steps,
                                  gradients_are_those_of_differences,
                                  the_way_begins_at_the_identity,
                                  bad_arguments_are_named,
                                  memory_may_run_out_anywhere};
    const TTest *const threads[] = {any_number_of_threads_gives_the_same_bits};
    Suite *suite = suite_create("binarise");
    add_cases(suite, "binarise", tests, sizeof tests / sizeof *tests);
    add_cases(suite, "threads", threads, 1);
    return suite;
}
