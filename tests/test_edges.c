/* Circuits of edges: gates on single weights, their gradients, and the search with masks of edges. */
#include "circuit/refine_edges.h"
#include "long.h"
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

static void random_carried(sn_means *means, unsigned seed)
{
    for (size_t i = means->layout.n_nodes; i < means_size(means); i++)
        means->values[i] = (float)(next_random(&seed) % 200) * 0.005f - 0.5f;
}

/* Logit differences of all pairs, 2 each. */
static double *differences(struct judge *judge, const unsigned char *kept, int ablate)
{
    struct measurement measured[JUDGE_SETS];
    size_t n = 2 * judge->n_pairs[JUDGE_FIT];
    double *copy = malloc(n * sizeof *copy);
    ok(judge_measure(measured, judge, kept, ablate, ALL_PAIRS));
    memcpy(copy, judge->differences[JUDGE_FIT], n * sizeof *copy);
    return copy;
}

static void assert_alike(const double *a, const double *b, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(a[i] - b[i]) <= tolerance, "difference %zu: %.9g and %.9g", i, a[i], b[i]);
}

START_TEST(with_all_edges_the_model_is_the_same)
{
    static const char *const configs[] = {SMOOTH_CONFIG, SPARSE_CONFIG};
    for (int i = 0; i < 2; i++) {
        sn_model *model = strong_model(configs[i], 8);
        sn_means *means = random_means(model, 3);
        sn_task *task = random_task(7, 12, 11, 5);
        struct judge nodes, edges;
        ok(judge_open(&nodes, context, model, means, task, task, JUDGE_NODES));
        ok(judge_open(&edges, context, model, means, task, task, JUDGE_EDGES));
        double *a = differences(&nodes, NULL, SN_ABLATE_NOTHING);
        double *b = differences(&edges, NULL, SN_ABLATE_NOTHING);
        assert_alike(a, b, 14, 0);
        free(a);
        free(b);
        judge_close(&nodes);
        judge_close(&edges);
        sn_task_free(task);
        sn_means_free(means);
        sn_model_free(model);
    }
}
END_TEST

/* All edges out of some reads and neurons are cut, which is what ablating these nodes does. */
START_TEST(cutting_all_edges_of_nodes_ablates_them)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_means *means = random_means(model, 3);
    sn_task *task = random_task(9, 12, 11, 6);
    struct judge nodes, edges;
    ok(judge_open(&nodes, context, model, means, task, task, JUDGE_NODES));
    ok(judge_open(&edges, context, model, means, task, task, JUDGE_EDGES));
    size_t n = nodes.layout.n_nodes;
    unsigned char *kept = malloc(n), *all = malloc(n), *kept_edges = malloc(edges.gated.n_edges);
    unsigned seed = 5;
    memset(all, 1, n);
    memset(kept, 1, n);
    for (size_t i = 0; i < n; i++) {
        size_t kind = nodes.layout.sites[node_layout_site(&nodes.layout, i)].site % SITES_PER_LAYER;
        if (kind == SITE_ATTN_ACT_IN || kind == SITE_MLP_ACT_IN || kind == SITE_MLP_POST_ACT)
            kept[i] = next_random(&seed) % 2;
    }
    for (size_t p = 0; p < edges.gated.n_parts; p++) {
        const struct edge_part *part = &edges.gated.parts[p];
        for (size_t r = part->first_row; r < part->first_row + part->n_rows; r++)
            for (size_t i = edge_row(part, r); i < edge_row(part, r + 1); i++)
                kept_edges[part->first + i - part->first_value] =
                    kept[part->from + edge_column(part, r, i)];
    }
    edges.kept_edges = kept_edges;
    double *a = differences(&nodes, kept, SN_ABLATE_REST);
    double *b = differences(&edges, all, SN_ABLATE_REST);
    double *whole = differences(&nodes, all, SN_ABLATE_REST);
    assert_alike(a, b, 18, 2e-4);
    ck_assert_msg(fabs(a[0] - whole[0]) > 1e-2, "nothing was ablated");
    free(a);
    free(b);
    free(whole);
    free(kept);
    free(all);
    free(kept_edges);
    judge_close(&nodes);
    judge_close(&edges);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* With the edges of attention c_proj cut at attention's output, its mean is what is added. */
START_TEST(attention_carries_its_own_mean)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    const float *v = means->values + node_layout_first(&means->layout, site_index(0, SITE_ATTN_V));
    /* Attention averages over the tokens so far: the mean of its output lies near that of v, not on it. */
    ck_assert(fabsf(means->carried[2] - v[2]) < 0.2f && fabsf(v[2]) > 0.05f);
    ck_assert(means->carried[2] != v[2] && means->carried[3] == 0);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

static double loss_of(struct judge *judge)
{
    struct measurement measured[JUDGE_SETS];
    judge->limit = ALL_PAIRS;
    ok(judge_measure(measured, judge, NULL, SN_ABLATE_NOTHING, ALL_PAIRS));
    return measured[JUDGE_FIT].raw_loss;
}

/* A gate of 1 - h on one edge, by hand: a weight of (1 - h) w and h w mean in the bias. */
START_TEST(gate_gradients_match_finite_differences)
{
    sn_model *model = strong_model(SMOOTH_CONFIG, 12);
    sn_means *means = random_means(model, 6);
    random_carried(means, 9);
    sn_task *task = random_task(9, 20, 11, 21);
    struct judge judge;
    static const struct calibration raw = {1, 0};
    ok(judge_open(&judge, context, model, means, task, task, JUDGE_EDGES));
    struct gated_model *gated = &judge.gated;
    ok(judge_gradient(&judge, NULL, SN_ABLATE_NOTHING, JUDGE_FIT, raw));
    float *gradient = malloc(gated->n_edges * sizeof *gradient);
    memcpy(gradient, gated->gradient, gated->n_edges * sizeof *gradient);
    double largest = 0;
    for (size_t i = 0; i < gated->n_edges; i++)
        largest = fmax(largest, fabs((double)gradient[i]));
    ck_assert(largest > 1e-3);
    sn_model *other; /* the same model with biases, of which single weights are changed */
    ok(gated_set(gated, context, NULL, 0));
    ok(model_copy(&other, context, gated->model));
    struct judge plain;
    ok(judge_open(&plain, context, other, means, task, task, JUDGE_NODES));
    plain.has_gates = 0;
    for (size_t p = 0; p < gated->n_parts; p++) {
        const struct edge_part *part = &gated->parts[p];
        float *values = other->parameters[part->parameter].matrix->values;
        for (size_t k = 0; k < 6; k++) {
            size_t row = part->first_row + (k * 7 + 1) % part->n_rows, i = edge_row(part, row) + k % 3;
            float *bias = &other->parameters[part->bias].vector[row], w = values[i], b = *bias;
            float mean = gated->source_means[p][edge_column(part, row, i)];
            double loss[2];
            for (int side = 0; side < 2; side++) {
                float h = side ? -0.02f : 0.02f;
                values[i] = w * (1 - h);
                *bias = b + h * w * mean;
                loss[side] = loss_of(&plain);
            }
            values[i] = w;
            *bias = b;
            double wanted = (loss[1] - loss[0]) / 0.04;
            double got = (double)gradient[part->first + i - part->first_value];
            ck_assert_msg(fabs(wanted - got) < 2e-3 * largest + 0.02 * fabs(wanted),
                          "part %zu row %zu: %g by differences, %g", p, row, wanted, got);
        }
    }
    free(gradient);
    judge_close(&plain);
    judge_close(&judge);
    sn_model_free(other);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

static sn_options *edge_options(const char *const *keys, const double *values, size_t n)
{
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "method", "edges"));
    for (size_t i = 0; i < n; i++)
        ok(sn_options_set(options, context, keys[i], values[i]));
    return options;
}

/* The planted model's v.ch2 and MLP hang on two reads each; of all edges only the planted two matter. */
START_TEST(extraction_finds_the_planted_edges)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    static const char *const keys[] = {"steps"};
    static const double values[] = {40};
    sn_options *options = edge_options(keys, values, 1);
    sn_circuit *circuit;
    ok(sn_circuit_extract(&circuit, context, model, means, task, NULL, options));
    ck_assert_uint_eq(sn_circuit_edge_count(circuit), 2);
    ck_assert_uint_eq(sn_circuit_node_count(circuit), PLANTED_NODES);
    for (size_t i = 0; i < PLANTED_NODES; i++)
        ck_assert_str_eq(sn_circuit_node_name(circuit, i), planted_nodes[i]);
    ck_assert(evaluate(model, means, circuit, SN_ABLATE_REST, task).loss <= 0.15);
    sn_circuit_free(circuit);
    sn_options_free(options);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* A circuit that keeps its nodes but not the edge on which the task hangs. */
START_TEST(an_edge_that_is_cut_is_not_used)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "planted"));
    for (size_t i = 0; i < PLANTED_NODES; i++)
        ok(sn_circuit_add_node(circuit, context, planted_nodes[i]));
    ck_assert(evaluate(model, means, circuit, SN_ABLATE_REST, task).loss < 0.2);
    size_t n = edge_count(model);
    unsigned char *kept_edges = malloc(n);
    for (size_t i = 0; i < n; i++) {
        memset(kept_edges, 1, n);
        kept_edges[i] = 0;
        ok(circuit_set_edges(circuit, context, circuit->kept, kept_edges));
        double loss = evaluate(model, means, circuit, SN_ABLATE_REST, task).loss;
        int planted = sn_circuit_edge_count(circuit) < 2;
        ck_assert_msg(planted ? loss > 0.6 : loss < 0.2, "edge %zu: loss %g", i, loss);
        ok(sn_circuit_trace(circuit, context, means, NULL, task, NULL));
        ck_assert_uint_eq(sn_circuit_path_count(circuit) > 0, !planted);
    }
    free(kept_edges);
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* Along all masks from 0 to 1 the derivatives by each add up to the change of the loss. */
START_TEST(integrated_gradients_are_complete)
{
    sn_model *model = strong_model(SMOOTH_CONFIG, 6);
    sn_means *means = random_means(model, 6);
    random_carried(means, 9);
    sn_task *task = random_task(9, 20, 11, 21);
    static const struct calibration raw = {1, 0};
    for (int gates = JUDGE_NODES; gates <= JUDGE_EDGES; gates++) {
        struct judge judge;
        struct measurement whole[JUDGE_SETS];
        ok(judge_open(&judge, context, model, means, task, task, (enum judge_gates)gates));
        size_t n = gates == JUDGE_EDGES ? judge.gated.n_edges : judge.layout.n_nodes;
        const float *gradient = gates == JUDGE_EDGES ? judge.gated.gradient : judge.gates.gradient;
        unsigned char *none = calloc(n, 1), *nodes = malloc(judge.layout.n_nodes);
        double sum = 0;
        for (int step = 0; step < 32; step++) {
            ok(judge_gradient_at(&judge, ((float)step + 0.5f) / 32, JUDGE_FIT));
            for (size_t i = 0; i < n; i++)
                sum += (double)gradient[i] / 32;
        }
        ok(judge_measure(whole, &judge, NULL, SN_ABLATE_NOTHING, ALL_PAIRS));
        struct measurement ablated[JUDGE_SETS];
        memset(nodes, gates == JUDGE_EDGES, judge.layout.n_nodes);
        judge.kept_edges = gates == JUDGE_EDGES ? none : NULL;
        ok(judge_measure(ablated, &judge, nodes, SN_ABLATE_REST, ALL_PAIRS));
        double change = whole[JUDGE_FIT].raw_loss - ablated[JUDGE_FIT].raw_loss;
        ck_assert_msg(fabs(change) > 0.02 && fabs(sum - change) < 0.02 * fabs(change) + 1e-3,
                      "gates %d: %g in sum, the loss changes by %g", gates, sum, change);
        ok(judge_gradient(&judge, NULL, SN_ABLATE_NOTHING, JUDGE_FIT, raw));
        float first = gradient[n / 2];
        ok(judge_gradient_at(&judge, 1, JUDGE_FIT));
        ck_assert(gradient[n / 2] == first);
        free(none);
        free(nodes);
        judge_close(&judge);
    }
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(attribution_finds_the_planted_circuit)
{
    static const char *const methods[] = {"nodes", "edges"}, *const scores[] = {"attribution",
                                                                                "integrated"};
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    for (int i = 0; i < 4; i++) {
        sn_options *options = edge_options(NULL, NULL, 0);
        sn_circuit *circuit;
        ok(sn_options_set_text(options, context, "method", methods[i % 2]));
        ok(sn_options_set_text(options, context, "scores", scores[i / 2]));
        ok(sn_options_set(options, context, "greedy", 0)); /* by its ranks alone */
        ok(sn_circuit_extract(&circuit, context, model, means, task, NULL, options));
        ck_assert_uint_eq(sn_circuit_edge_count(circuit), 2);
        ck_assert_uint_eq(sn_circuit_node_count(circuit), PLANTED_NODES);
        sn_circuit_free(circuit);
        sn_options_free(options);
    }
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* Against circuits that lack the one node or edge, measured by themselves. */
START_TEST(deltas_are_what_ablation_costs)
{
    sn_model *model = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 20, 3), *fit = planted_task(context, 20, 4);
    sn_circuit *circuit, *less;
    ok(sn_circuit_create(&circuit, context, model, "planted"));
    ok(sn_circuit_create(&less, context, model, "less"));
    for (size_t i = 0; i < PLANTED_NODES; i++) {
        ok(sn_circuit_add_node(circuit, context, planted_nodes[i]));
        ok(sn_circuit_add_node(circuit, context, backup_nodes[i]));
    }
    double loss, raw;
    ck_assert_int_eq(sn_circuit_node_delta(&loss, &raw, circuit, 0), SN_ERROR_STATE);
    ok(sn_circuit_measure_deltas(circuit, context, means, fit, task));
    sn_evaluation whole = {.struct_size = sizeof whole}, part = whole;
    ok(sn_evaluate(&whole, context, model, means, circuit, SN_ABLATE_REST, fit, task));
    size_t n = circuit->graph.n_nodes, n_edges = edge_count(model);
    ck_assert_uint_eq(circuit->graph.n_edges, 4);
    unsigned char *kept = malloc(circuit->layout.n_nodes), *kept_edges = malloc(n_edges);
    for (size_t i = 0; i < n + circuit->graph.n_edges; i++) {
        memcpy(kept, circuit->kept, circuit->layout.n_nodes);
        memset(kept_edges, 1, n_edges);
        if (i < n) {
            kept[circuit->graph.nodes[i]] = 0;
            ok(sn_circuit_node_delta(&loss, &raw, circuit, i));
        } else {
            const struct edge *edge = &circuit->graph.edges[i - n];
            float weight;
            kept_edges[edge_find(&weight, model, &circuit->layout, circuit->graph.nodes[edge->from],
                                 circuit->graph.nodes[edge->to])] = 0;
            ck_assert(weight == edge->weight);
            ok(sn_circuit_edge_delta(&loss, &raw, circuit, i - n));
        }
        ok(circuit_set_edges(less, context, kept, kept_edges));
        ok(sn_evaluate(&part, context, model, means, less, SN_ABLATE_REST, fit, task));
        ck_assert_msg(fabs(raw - (part.raw_loss - whole.raw_loss)) < 1e-6, "part %zu: %g, not %g", i,
                      raw, part.raw_loss - whole.raw_loss);
        ck_assert(raw > 0 && loss > 0); /* each of two paths is worth something */
    }
    ck_assert_int_eq(sn_circuit_node_delta(&loss, &raw, circuit, n), SN_ERROR_ARGUMENT);
    ok(sn_circuit_remove_node(circuit, context, planted_nodes[0])); /* what was measured is gone */
    ck_assert_int_eq(sn_circuit_node_delta(&loss, &raw, circuit, 0), SN_ERROR_STATE);
    ck_assert_int_eq(sn_circuit_measure_deltas(circuit, context, NULL, fit, task), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_measure_deltas(circuit, context, means, NULL, task), SN_ERROR_ARGUMENT);
    free(kept);
    free(kept_edges);
    sn_circuit_free(circuit);
    sn_circuit_free(less);
    sn_task_free(task);
    sn_task_free(fit);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(threads_do_not_change_the_edges)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_means *means = random_means(model, 3);
    sn_task *task = random_task(12, 12, 11, 8);
    static const char *const keys[] = {"steps", "target_loss", "greedy", "k_coef"};
    static const double values[] = {6, 20, 1, 1e-3};
    sn_options *options = edge_options(keys, values, 4);
    sn_circuit *circuits[2];
    for (int i = 0; i < 2; i++) {
        ok(sn_context_set_threads(context, i ? 3 : 1));
        int status = sn_circuit_extract(&circuits[i], context, model, means, task, NULL, options);
        ck_assert_msg(status == SN_OK || status == SN_ERROR_TARGET, "%d", status);
    }
    ck_assert_int_eq(circuits[0] == NULL, circuits[1] == NULL);
    for (int i = 0; circuits[0] && i < 1; i++) {
        ck_assert_uint_eq(circuits[0]->graph.n_edges, circuits[1]->graph.n_edges);
        ck_assert_int_eq(memcmp(circuits[0]->kept_edges, circuits[1]->kept_edges, edge_count(model)), 0);
    }
    sn_circuit_free(circuits[0]);
    sn_circuit_free(circuits[1]);
    sn_options_free(options);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

struct attempt {
    sn_model *model;
    sn_means *means;
    sn_task *task;
};

static int find_edges(sn_context *own, void *payload)
{
    struct attempt *attempt = payload;
    sn_options *options = NULL;
    sn_circuit *circuit = NULL;
    int status = sn_options_create(&options, own);
    if (status == SN_OK)
        status = sn_options_set_text(options, own, "method", "edges");
    if (status == SN_OK)
        status = sn_options_set(options, own, "steps", 2);
    if (status == SN_OK)
        status = sn_options_set(options, own, "k_coef", 1e-3);
    if (status == SN_OK)
        status = sn_circuit_extract(&circuit, own, attempt->model, attempt->means, attempt->task, NULL,
                                    options);
    if (status == SN_OK)
        status = sn_circuit_trace(circuit, own, attempt->means, NULL, attempt->task, NULL);
    if (status == SN_OK)
        status = sn_circuit_measure_deltas(circuit, own, attempt->means, attempt->task, attempt->task);
    sn_circuit_free(circuit);
    circuit = NULL;
    if (status == SN_OK)
        status = sn_options_set_text(options, own, "scores", "attribution");
    if (status == SN_OK)
        status = sn_circuit_extract(&circuit, own, attempt->model, attempt->means, attempt->task, NULL,
                                    options);
    sn_circuit_free(circuit);
    sn_options_free(options);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    sn_model *model = planted_model(context, 0);
    struct attempt attempt = {model, planted_means(context, model), planted_task(context, 4, 3)};
    ck_assert_uint_gt(oom_loop(find_edges, &attempt, 1, long_tests() ? 400 : 40), 50);
    sn_task_free(attempt.task);
    sn_means_free(attempt.means);
    sn_model_free(model);
}
END_TEST

Suite *edges_suite(void);
Suite *edges_suite(void)
{
    const TTest *gates[] = {with_all_edges_the_model_is_the_same,
                            cutting_all_edges_of_nodes_ablates_them, attention_carries_its_own_mean,
                            gate_gradients_match_finite_differences};
    const TTest *circuits[] = {
        extraction_finds_the_planted_edges,    integrated_gradients_are_complete,
        attribution_finds_the_planted_circuit, deltas_are_what_ablation_costs,
        an_edge_that_is_cut_is_not_used,       every_refused_allocation_is_survived};
    const TTest *threads[] = {threads_do_not_change_the_edges}; /* what ThreadSanitizer looks at */
    Suite *suite = suite_create("edges");
    add_cases(suite, "gates", gates, sizeof gates / sizeof *gates);
    add_cases(suite, "circuits", circuits, sizeof circuits / sizeof *circuits);
    add_cases(suite, "threads", threads, sizeof threads / sizeof *threads);
    return suite;
}
