/* A node in place of another, up to a factor and a constant. */
#include "circuit/line.h"
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

struct rig {
    sn_model *model;
    sn_means *means;
    sn_corpus *corpus;
    sn_task *fit, *task;
    sn_circuit *circuit;
};

/* Both paths of the planted model, the second one carrying twice as much at its value. */
static void rig_open(struct rig *rig)
{
    rig->model = planted_model(context, 1);
    sn_model *model = rig->model;
    PLANT("transformer.h.0.attn.c_attn.weight", 8, 0, 1, 9, 1, -2, 10, 4, 0.7f, 10, 5, 0.3f);
    PLANT("transformer.h.0.attn.c_proj.weight", 2, 0, 2.5f, 3, 1, -1.25f, 4, 2, 0.5f);
    rig->means = planted_means(context, model);
    rig->corpus = planted_corpus(context);
    rig->fit = planted_task(context, 30, 3);
    rig->task = planted_task(context, 40, 99);
    ok(sn_circuit_create(&rig->circuit, context, model, "both"));
    for (size_t i = 0; i < PLANTED_NODES; i++) {
        ok(sn_circuit_add_node(rig->circuit, context, planted_nodes[i]));
        ok(sn_circuit_add_node(rig->circuit, context, backup_nodes[i]));
    }
}

static void rig_close(struct rig *rig)
{
    sn_circuit_free(rig->circuit);
    sn_task_free(rig->task);
    sn_task_free(rig->fit);
    sn_corpus_free(rig->corpus);
    sn_means_free(rig->means);
    sn_model_free(rig->model);
}

static sn_replacement replace(const struct rig *rig, int inside, const char *node, const char *by,
                              const sn_corpus *corpus)
{
    sn_replacement result = {.struct_size = sizeof result};
    ok(sn_replace_node(&result, context, rig->model, inside ? rig->means : NULL,
                       inside ? rig->circuit : NULL, node, by, corpus, rig->fit, rig->task, NULL));
    return result;
}

START_TEST(a_line_is_that_of_least_squares)
{
    static const double x[] = {1, 2, 4, 7, 7}, y[] = {-1, 0, 5, 9, 8};
    struct line line = {0};
    double factor, offset, sums[5] = {0};
    for (size_t i = 0; i < 5; i++) {
        line_add(&line, x[i], y[i]);
        sums[0] += x[i], sums[1] += y[i], sums[2] += x[i] * x[i], sums[3] += x[i] * y[i];
    }
    line_fit(&factor, &offset, &line);
    double wanted = (5 * sums[3] - sums[0] * sums[1]) / (5 * sums[2] - sums[0] * sums[0]);
    ck_assert_double_eq_tol(factor, wanted, 1e-12);
    ck_assert_double_eq_tol(offset, (sums[1] - wanted * sums[0]) / 5, 1e-12);
    double error = 0, variance = 0;
    for (size_t i = 0; i < 5; i++) {
        error += (y[i] - factor * x[i] - offset) * (y[i] - factor * x[i] - offset);
        variance += (y[i] - sums[1] / 5) * (y[i] - sums[1] / 5);
    }
    ck_assert_double_eq_tol(line_explained(&line, factor, offset), 1 - error / variance, 1e-12);
    ck_assert_double_eq_tol(pow(line_correlation(&line), 2), 1 - error / variance, 1e-12);
    ck_assert_double_lt(line_explained(&line, -factor, offset), 0);
    struct line flat = {0};
    for (size_t i = 0; i < 5; i++)
        line_add(&flat, 0.1, y[i]);
    line_fit(&factor, &offset, &flat);
    ck_assert(factor == 0 && line_correlation(&flat) == 0);
    ck_assert_double_eq_tol(offset, sums[1] / 5, 1e-12);
}
END_TEST

/* The second path carries -2 times the first one's value at every token. */
START_TEST(the_same_thing_but_for_scale_costs_nothing)
{
    struct rig rig;
    rig_open(&rig);
    for (int inside = 0; inside < 2; inside++)
        for (int text = 0; text < 2; text++) {
            sn_replacement r = replace(&rig, inside, "0.attn.v.head0.ch1", "0.attn.v.head0.ch0",
                                       text ? rig.corpus : NULL);
            sn_evaluation before = {.struct_size = sizeof before};
            ok(sn_evaluate(&before, context, rig.model, rig.means, rig.circuit,
                           inside ? SN_ABLATE_REST : SN_ABLATE_NOTHING, rig.fit, rig.task));
            ck_assert_double_eq_tol(r.factor, -2, 1e-4);
            ck_assert_double_eq_tol(r.offset, 0, 1e-4);
            ck_assert_double_eq_tol(r.correlation, -1, 1e-6);
            ck_assert_double_eq_tol(r.explained, 1, 1e-6);
            ck_assert_double_eq_tol(r.explained_on_task, 1, 1e-6);
            ck_assert_double_eq_tol(r.loss_before, before.loss, 1e-5);
            ck_assert_double_eq_tol(r.raw_loss_before, before.raw_loss, 1e-5);
            ck_assert_double_eq_tol(r.accuracy_before, before.accuracy, 1e-9);
            ck_assert_double_eq_tol(r.scale, before.scale, 1e-4);
            ck_assert_double_eq_tol(r.shift, before.shift, 1e-4);
            ck_assert_double_eq_tol(r.loss, r.loss_before, 1e-5);
            ck_assert_double_eq_tol(r.raw_loss, r.raw_loss_before, 1e-5);
            ck_assert_double_eq(r.raw_accuracy, r.raw_accuracy_before);
            ck_assert_msg(r.raw_loss_constant > r.raw_loss_before + 0.01, "%g from %g",
                          r.raw_loss_constant, r.raw_loss_before);
            ck_assert_uint_eq(r.n_pairs, 40);
            ck_assert_uint_ge(r.n_values, text ? 32768 : 240);
        }
    rig_close(&rig);
}
END_TEST

/* Every token of every prompt counts. */
static size_t count_tokens(const sn_task *task)
{
    size_t n = 0;
    for (size_t i = 0, a, b; i < sn_task_count(task); i++) {
        ok(sn_task_pair(NULL, &a, NULL, &b, NULL, NULL, task, i));
        n += a + b;
    }
    return n;
}

/* A node that says something else: what is put in its place is a constant and a bit, and the task is lost. */
START_TEST(another_thing_costs_the_task)
{
    struct rig rig;
    rig_open(&rig);
    for (size_t i = 0; i < PLANTED_NODES; i++)
        ok(sn_circuit_remove_node(rig.circuit, context, backup_nodes[i]));
    sn_replacement r = replace(&rig, 1, "0.attn.v.head0.ch0", "0.attn.v.head0.ch2", NULL);
    ck_assert_uint_eq(r.n_values, count_tokens(rig.fit));
    ck_assert_double_lt(fabs(r.correlation), 0.5);
    ck_assert_double_lt(r.loss_before, 0.2);
    ck_assert_double_gt(r.raw_loss, 0.5);
    ck_assert_double_lt(r.accuracy, 0.7);
    ck_assert_double_eq_tol(r.raw_loss_constant, LN_2, 0.1);
    /* The backup is not kept, but still computed: its read is ablated, so that it is constant. */
    r = replace(&rig, 1, "0.attn.v.head0.ch0", "0.attn.v.head0.ch1", NULL);
    ck_assert_double_eq(r.factor, 0);
    ck_assert_double_eq(r.correlation, 0);
    ck_assert_double_eq(r.raw_loss, r.raw_loss_constant);
    ok(sn_circuit_add_node(rig.circuit, context, backup_nodes[0]));
    r = replace(&rig, 1, "0.attn.v.head0.ch0", "0.attn.v.head0.ch1", NULL);
    ck_assert_double_eq_tol(r.factor, -0.5, 1e-4); /* left out, and yet the same thing */
    ck_assert_double_eq_tol(r.raw_loss, r.raw_loss_before, 1e-5);
    rig_close(&rig);
}
END_TEST

/* Against a model whose weights do what the replacement says. */
START_TEST(a_replacement_is_a_change_of_weights)
{
    sn_model *model = strong_model(SMOOTH_CONFIG, 8), *other;
    sn_task *fit = random_task(9, 20, 11, 5), *task = random_task(12, 20, 11, 6);
    sn_replacement r = {.struct_size = sizeof r};
    sn_evaluation wanted = {.struct_size = sizeof wanted};
    ok(sn_replace_node(&r, context, model, NULL, NULL, "1.mlp.post_act.3", "1.mlp.post_act.8", NULL, fit,
                       task, NULL));
    ck_assert_double_gt(fabs(r.factor), 1e-3);
    ok(model_copy(&other, context, model));
    /* What neuron 3 wrote, neuron 8 writes, times the factor; the constant goes to the bias. */
    struct parameter *parameters = other->parameters;
    const struct layer_parameters *layer = &other->layers[1];
    float *weights = parameters[layer->mlp_proj].matrix->values;
    ck_assert(parameters[layer->mlp_proj].matrix->pattern == NULL && layer->mlp_proj_bias >= 0);
    for (size_t row = 0; row < 10; row++) {
        float *w = weights + row * 14;
        w[8] += (float)r.factor * w[3];
        parameters[layer->mlp_proj_bias].vector[row] += (float)r.offset * w[3];
        w[3] = 0;
    }
    ok(matrix_values_changed(parameters[layer->mlp_proj].matrix, context));
    ok(sn_evaluate(&wanted, context, other, NULL, NULL, SN_ABLATE_NOTHING, fit, task));
    ck_assert_double_gt(fabs(r.raw_loss - r.raw_loss_before), 1e-3);
    ck_assert_double_eq_tol(r.raw_loss, wanted.raw_loss, 1e-4);
    ck_assert_double_eq_tol(r.raw_accuracy, wanted.raw_accuracy, 1e-9);
    sn_model_free(other);
    sn_task_free(fit);
    sn_task_free(task);
    sn_model_free(model);
}
END_TEST

/* Inside a circuit of edges a node that all edges into it are cut from is constant. */
START_TEST(cut_edges_are_cut)
{
    struct rig rig;
    rig_open(&rig);
    size_t n = edge_count(rig.model);
    unsigned char *kept_edges = malloc(n);
    float weight;
    const struct node_layout *layout = &rig.circuit->layout;
    memset(kept_edges, 1, n);
    ok(circuit_set_edges(rig.circuit, context, rig.circuit->kept, kept_edges));
    sn_replacement whole = replace(&rig, 1, "0.attn.v.head0.ch1", "0.attn.v.head0.ch0", NULL);
    ck_assert_double_eq_tol(whole.factor, -2, 1e-4);
    size_t v = node_layout_first(layout, site_index(0, SITE_ATTN_V));
    kept_edges[edge_find(&weight, rig.model, layout,
                         node_layout_first(layout, site_index(0, SITE_ATTN_ACT_IN)), v)] = 0;
    ok(circuit_set_edges(rig.circuit, context, rig.circuit->kept, kept_edges));
    sn_replacement cut = replace(&rig, 1, "0.attn.v.head0.ch1", "0.attn.v.head0.ch0", NULL);
    ck_assert_double_eq(cut.factor, 0);
    ck_assert_double_gt(cut.raw_loss, cut.raw_loss_before + 0.02);
    free(kept_edges);
    rig_close(&rig);
}
END_TEST

static void refuse(const struct rig *rig, const sn_means *means, const char *node, const char *by,
                   const char *word)
{
    sn_replacement result = {.struct_size = sizeof result, .n_pairs = 77};
    ck_assert_int_eq(sn_replace_node(&result, context, rig->model, means, rig->circuit, node, by, NULL,
                                     rig->fit, rig->task, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_msg(strstr(sn_context_message(context), word) != NULL, "%s: %s", word,
                  sn_context_message(context));
    ck_assert_uint_eq(result.n_pairs, 77);
}

START_TEST(bad_arguments_are_named)
{
    struct rig rig;
    rig_open(&rig);
    refuse(&rig, rig.means, NULL, planted_nodes[0], "node is NULL");
    refuse(&rig, rig.means, planted_nodes[1], "0.attn.v.head9.ch0", "head9");
    refuse(&rig, rig.means, planted_nodes[0], planted_nodes[1], "or before it");
    refuse(&rig, rig.means, planted_nodes[1], planted_nodes[1], "or before it");
    refuse(&rig, rig.means, "0.mlp.post_act.0", planted_nodes[1], "not in the circuit");
    refuse(&rig, NULL, planted_nodes[1], planted_nodes[0], "means is NULL");
    sn_replacement small = {.struct_size = sizeof(size_t)}, r = {.struct_size = 2 * sizeof(size_t)};
    ck_assert_int_eq(sn_replace_node(&small, context, rig.model, NULL, NULL, planted_nodes[1],
                                     planted_nodes[0], NULL, rig.fit, rig.task, NULL),
                     SN_ERROR_ARGUMENT);
    r.factor = 5;
    ok(sn_replace_node(&r, context, rig.model, NULL, NULL, planted_nodes[1], planted_nodes[0], NULL,
                       rig.fit, rig.task, NULL));
    ck_assert(r.n_pairs == 40 && r.factor == 5); /* as much as there is room for */
    sn_task *none;
    ok(sn_task_create(&none, context, "none"));
    ck_assert_int_eq(sn_replace_node(&r, context, rig.model, NULL, NULL, planted_nodes[1],
                                     planted_nodes[0], NULL, none, rig.task, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "none has no pairs"));
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "window", 999));
    ck_assert_int_eq(sn_replace_node(&r, context, rig.model, NULL, NULL, planted_nodes[1],
                                     planted_nodes[0], rig.corpus, rig.fit, rig.task, options),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "window is 999"));
    sn_options_free(options);
    sn_task_free(none);
    rig_close(&rig);
}
END_TEST

static int stop_at(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)done, (void)total, (void)value;
    return strcmp(stage, payload) == 0;
}

START_TEST(it_can_be_cancelled)
{
    static char *const stages[] = {"fit", "replace"};
    struct rig rig;
    size_t before, after;
    rig_open(&rig);
    (void)replace(&rig, 1, planted_nodes[1], planted_nodes[0], rig.corpus);
    for (size_t i = 0; i < 2; i++) {
        sn_replacement result = {.struct_size = sizeof result};
        sn_context_memory(&before, NULL, context);
        sn_context_set_progress(context, stop_at, stages[i]);
        ck_assert_int_eq(sn_replace_node(&result, context, rig.model, rig.means, rig.circuit,
                                         planted_nodes[1], planted_nodes[0], rig.corpus, rig.fit,
                                         rig.task, NULL),
                         SN_ERROR_CANCELLED);
        sn_context_memory(&after, NULL, context);
        ck_assert_uint_eq(before, after);
        ck_assert_uint_eq(result.n_pairs, 0);
    }
    sn_context_set_progress(context, NULL, NULL);
    rig_close(&rig);
}
END_TEST

static int replace_somewhere(sn_context *own, void *payload)
{
    const struct rig *rig = payload;
    sn_replacement result = {.struct_size = sizeof result};
    return sn_replace_node(&result, own, rig->model, rig->means, rig->circuit, planted_nodes[1],
                           planted_nodes[0], rig->corpus, rig->fit, rig->task, NULL);
}

START_TEST(memory_may_run_out_anywhere)
{
    struct rig rig;
    rig_open(&rig);
    ck_assert_uint_gt(oom_loop(replace_somewhere, &rig, 1, 0), 20);
    rig_close(&rig);
}
END_TEST

/* In the last layer, where v is run at all tokens, by a q. */
START_TEST(any_number_of_threads_gives_the_same_bits)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_task *task = random_task(40, 40, 23, 6);
    sn_replacement r[2];
    for (int i = 0; i < 2; i++) {
        r[i] = (sn_replacement){.struct_size = sizeof r[i]};
        ok(sn_context_set_threads(context, i ? 3 : 1));
        ok(sn_replace_node(&r[i], context, model, NULL, NULL, "1.attn.v.head0.ch1", "1.attn.q.head1.ch2",
                           NULL, task, task, NULL));
    }
    ck_assert_mem_eq(&r[0], &r[1], sizeof r[0]);
    ck_assert_uint_eq(r[0].n_values, count_tokens(task));
    ck_assert(r[0].factor != 0 && r[0].raw_loss != r[0].raw_loss_before);
    sn_task_free(task);
    sn_model_free(model);
}
END_TEST

Suite *replace_suite(void);
Suite *replace_suite(void)
{
    const TTest *const tests[] = {a_line_is_that_of_least_squares,
                                  the_same_thing_but_for_scale_costs_nothing,
                                  another_thing_costs_the_task,
                                  a_replacement_is_a_change_of_weights,
                                  cut_edges_are_cut,
                                  bad_arguments_are_named,
                                  it_can_be_cancelled,
                                  memory_may_run_out_anywhere};
    const TTest *const threads[] = {any_number_of_threads_gives_the_same_bits};
    Suite *suite = suite_create("replace");
    add_cases(suite, "replace", tests, sizeof tests / sizeof *tests);
    add_cases(suite, "threads", threads, 1);
    return suite;
}
