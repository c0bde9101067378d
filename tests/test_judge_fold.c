/* While nodes only leave, the folded model of what is left must measure as the whole model does. */
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

static sn_model *model;
static sn_task *fit, *task;
static sn_means *means;
static struct judge judge;
static unsigned char *kept;

static void open_case(const char *config, enum judge_gates gates)
{
    set_up();
    model = strong_model(config, 6);
    fit = random_task(9, 12, 11, 3);
    task = random_task(7, 12, 11, 4);
    means = random_means(model, 8);
    ok(judge_open(&judge, context, model, means, fit, task, gates));
    kept = calloc(judge.layout.n_nodes, 1);
    ck_assert_ptr_nonnull(kept);
}

static void close_case(void)
{
    free(kept);
    judge_close(&judge);
    sn_means_free(means);
    sn_task_free(task);
    sn_task_free(fit);
    sn_model_free(model);
    tear_down();
}

/* Takes out all but about `share` of the nodes that are left. */
static void thin_out(double share, unsigned *seed)
{
    for (size_t i = 0; i < judge.layout.n_nodes; i++)
        if (next_random(seed) % 1000 >= (unsigned)(1000 * share))
            kept[i] = 0;
}

static void compare(const struct judge *whole)
{
    struct measurement a[JUDGE_SETS], b[JUDGE_SETS];
    struct judge *other = (struct judge *)whole;
    size_t n = judge.layout.n_nodes;
    static const struct calibration raw = {1, 0};
    ok(judge_measure(a, other, kept, SN_ABLATE_REST, ALL_PAIRS));
    ok(judge_measure(b, &judge, kept, SN_ABLATE_REST, ALL_PAIRS));
    for (int set = 0; set < JUDGE_SETS; set++) {
        ck_assert_double_eq_tol(a[set].raw_loss, b[set].raw_loss, 1e-5 * (1 + a[set].raw_loss));
        for (size_t i = 0; i < 2 * judge.n_pairs[set]; i++)
            ck_assert_double_eq_tol(other->differences[set][i], judge.differences[set][i],
                                    1e-4 * (1 + fabs(other->differences[set][i])));
    }
    ok(judge_gradient(other, kept, SN_ABLATE_REST, JUDGE_FIT, raw));
    ok(judge_gradient(&judge, kept, SN_ABLATE_REST, JUDGE_FIT, raw));
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)other->gates.gradient[i]));
    ck_assert_double_gt(largest, 0);
    for (size_t i = 0; i < n; i++)
        if (kept[i])
            ck_assert_double_eq_tol((double)other->gates.gradient[i], (double)judge.gates.gradient[i],
                                    1e-4 * largest);
}

START_TEST(it_measures_as_the_whole_model_does)
{
    struct judge whole;
    unsigned seed = 21;
    open_case(SMOOTH_CONFIG, JUDGE_NODES);
    ok(judge_open(&whole, context, model, means, fit, task, JUDGE_NODES));
    memset(kept, 1, judge.layout.n_nodes);
    for (int round = 0; round < 4; round++) {
        const sn_model *before = judge.folded;
        thin_out(0.6, &seed);
        ok(judge_fold(&judge, kept));
        ck_assert_ptr_nonnull(judge.folded);
        ck_assert_ptr_ne(judge.folded, before);
        compare(&whole);
        unsigned char *few = malloc(judge.layout.n_nodes); /* and any part of it */
        memcpy(few, kept, judge.layout.n_nodes);
        thin_out(0.9, &seed);
        compare(&whole);
        memcpy(kept, few, judge.layout.n_nodes);
        free(few);
    }
    ok(judge_unfold(&judge));
    ck_assert_ptr_null(judge.folded);
    memset(kept, 1, judge.layout.n_nodes);
    compare(&whole);
    judge_close(&whole);
    close_case();
}
END_TEST

START_TEST(it_folds_where_that_saves_much)
{
    unsigned seed = 4;
    open_case(SMOOTH_CONFIG, JUDGE_NODES);
    memset(kept, 1, judge.layout.n_nodes);
    kept[1] = 0;
    ok(judge_fold(&judge, kept));
    ck_assert_ptr_null(judge.folded);
    thin_out(0.5, &seed);
    ok(judge_fold(&judge, kept));
    const sn_model *folded = judge.folded;
    ck_assert_ptr_nonnull(folded);
    size_t last = judge.layout.n_nodes;
    while (!kept[--last]) {
    }
    kept[last] = 0;
    ok(judge_fold(&judge, kept));
    ck_assert_ptr_eq(judge.folded, folded); /* one node less is no reason */
    close_case();
    static const struct {
        const char *config;
        enum judge_gates gates;
    } never[] = {{SPARSE_CONFIG, JUDGE_NODES}, {SMOOTH_CONFIG, JUDGE_EDGES}};
    for (size_t i = 0; i < 2; i++) {
        open_case(never[i].config, never[i].gates);
        ok(judge_fold(&judge, kept));
        ck_assert_ptr_null(judge.folded);
        close_case();
    }
}
END_TEST

START_TEST(pairs_that_were_measured_are_not_run_again)
{
    struct measurement at_once[JUDGE_SETS], in_turns[JUDGE_SETS];
    unsigned seed = 3;
    open_case(SPARSE_CONFIG, JUDGE_NODES);
    memset(kept, 1, judge.layout.n_nodes);
    thin_out(0.7, &seed);
    ok(judge_measure(at_once, &judge, kept, SN_ABLATE_REST, ALL_PAIRS));
    /* sets of 9 and 7 pairs: the second has been measured whole by then */
    ok(judge_measure(in_turns, &judge, kept, SN_ABLATE_REST, 3));
    ok(judge_measure_more(in_turns, &judge, kept, SN_ABLATE_REST, 3, 8));
    ok(judge_measure_more(in_turns, &judge, kept, SN_ABLATE_REST, 8, ALL_PAIRS));
    for (int set = 0; set < JUDGE_SETS; set++) {
        ck_assert(at_once[set].loss == in_turns[set].loss);
        ck_assert(at_once[set].raw_loss == in_turns[set].raw_loss);
        ck_assert(at_once[set].accuracy == in_turns[set].accuracy);
    }
    kept[judge.layout.n_nodes - 1] ^= 1; /* what is taken over is taken over, and nothing more */
    kept[0] ^= 1;
    ok(judge_measure_more(in_turns, &judge, kept, SN_ABLATE_REST, 8, ALL_PAIRS));
    ck_assert(at_once[JUDGE_TASK].raw_loss == in_turns[JUDGE_TASK].raw_loss);
    close_case();
}
END_TEST

/* Folding, folding anew, and the whole model again, with a judge of its own. */
static int fold_twice(sn_context *own, void *payload)
{
    struct judge mine;
    struct measurement measured[JUDGE_SETS];
    unsigned char *left = payload;
    unsigned seed = 8;
    memset(left, 1, judge.layout.n_nodes);
    int status = judge_open(&mine, own, model, means, fit, task, JUDGE_NODES);
    if (status != SN_OK)
        return status;
    for (int round = 0; status == SN_OK && round < 2; round++) {
        for (size_t i = 0; i < judge.layout.n_nodes; i++)
            if (next_random(&seed) % 2)
                left[i] = 0;
        status = judge_fold(&mine, left);
        if (status == SN_OK)
            status = judge_measure(measured, &mine, left, SN_ABLATE_REST, ALL_PAIRS);
    }
    if (status == SN_OK)
        status = judge_unfold(&mine);
    if (status == SN_OK)
        status = judge_measure(measured, &mine, left, SN_ABLATE_REST, ALL_PAIRS);
    judge_close(&mine);
    return status;
}

START_TEST(memory_may_run_out_anywhere)
{
    open_case(SMOOTH_CONFIG, JUDGE_NODES);
    unsigned char *left = malloc(judge.layout.n_nodes);
    ck_assert_uint_gt(oom_loop(fold_twice, left, 1, 0), 100);
    free(left);
    close_case();
}
END_TEST

Suite *judge_fold_suite(void);
Suite *judge_fold_suite(void)
{
    Suite *suite = suite_create("judge_fold");
    TCase *tcase = tcase_create("fold");
    tcase_add_test(tcase, it_measures_as_the_whole_model_does);
    tcase_add_test(tcase, it_folds_where_that_saves_much);
    tcase_add_test(tcase, pairs_that_were_measured_are_not_run_again);
    tcase_add_test(tcase, memory_may_run_out_anywhere);
    suite_add_tcase(suite, tcase);
    return suite;
}
