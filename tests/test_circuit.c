/* Circuits: nodes, edges, the random control; measuring a model under one. */
#include "circuit_cases.h"

/* ---- nodes and edges */

START_TEST(nodes_are_listed_in_order)
{
    sn_model *model = planted_model(context, 0);
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "by hand"));
    ck_assert_str_eq(sn_circuit_task(circuit), "by hand");
    ck_assert_uint_eq(sn_circuit_node_count(circuit), 0);
    ok(sn_circuit_add_node(circuit, context, "0.mlp.act_in.4"));
    ok(sn_circuit_add_node(circuit, context, "0.attn.resid_delta.2"));
    ok(sn_circuit_add_node(circuit, context, "0.attn.v.head0.ch0"));
    ok(sn_circuit_add_node(circuit, context, "0.attn.act_in.0"));
    ok(sn_circuit_add_node(circuit, context, "0.attn.act_in.0")); /* twice is once */
    ck_assert_uint_eq(sn_circuit_node_count(circuit), 4);
    ck_assert_str_eq(sn_circuit_node_name(circuit, 0), "0.attn.act_in.0");
    ck_assert_str_eq(sn_circuit_node_name(circuit, 1), "0.attn.v.head0.ch0");
    ck_assert_str_eq(sn_circuit_node_name(circuit, 2), "0.attn.resid_delta.2");
    ck_assert_str_eq(sn_circuit_node_name(circuit, 3), "0.mlp.act_in.4");
    ck_assert_ptr_null(sn_circuit_node_name(circuit, 4));
    ck_assert_uint_eq(sn_circuit_edge_count(circuit), 2);
    size_t from, to;
    float weight;
    ok(sn_circuit_edge(&from, &to, &weight, circuit, 1));
    ck_assert_uint_eq(from, 1);
    ck_assert_uint_eq(to, 2);
    ck_assert_float_eq(weight, 2.5f);
    ck_assert_int_eq(sn_circuit_edge(&from, &to, &weight, circuit, 2), SN_ERROR_ARGUMENT);
    ok(sn_circuit_remove_node(circuit, context, "0.attn.v.head0.ch0"));
    ck_assert_uint_eq(sn_circuit_node_count(circuit), 3);
    ck_assert_uint_eq(sn_circuit_edge_count(circuit), 0);
    sn_circuit_free(circuit);
    sn_model_free(model);
}
END_TEST

START_TEST(names_of_no_nodes_are_refused)
{
    static const char *const names[] = {
        "0.attn.act_in.6", "0.attn.y.head0.ch0", "1.attn.act_in.0",   "0.attn.act_in.-1",
        "0.resid_in.0",    "0.attn.v.0",         "0.mlp.post_act.05", "",
        "final_resid.0"};
    sn_model *model = planted_model(context, 0);
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, NULL));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ck_assert_int_eq(sn_circuit_add_node(circuit, context, names[i]), SN_ERROR_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(sn_context_message(context), names[i]));
    }
    ck_assert_uint_eq(sn_circuit_node_count(circuit), 0);
    sn_circuit_free(circuit);
    sn_model_free(model);
}
END_TEST

/* Which of the model's dense arrays joins two sites, and the row offset of the `to` site in it. */
static const char *joining_tensor(size_t *first_row, const sn_model *model, size_t from, size_t to)
{
    static char name[64];
    size_t layer = to / SITES_PER_LAYER, d_attn = config_d_attn(&model->config);
    enum site_kind a = (enum site_kind)(from % SITES_PER_LAYER),
                   b = (enum site_kind)(to % SITES_PER_LAYER);
    const char *tensor = NULL;
    *first_row = 0;
    if (from / SITES_PER_LAYER != layer)
        return NULL;
    if (a == SITE_ATTN_ACT_IN && (b == SITE_ATTN_Q || b == SITE_ATTN_K || b == SITE_ATTN_V)) {
        tensor = "attn.c_attn";
        *first_row = b == SITE_ATTN_Q ? 0 : b == SITE_ATTN_K ? d_attn : 2 * d_attn;
    }
    if (a == SITE_ATTN_V && b == SITE_ATTN_DELTA)
        tensor = "attn.c_proj";
    if (a == SITE_MLP_ACT_IN && b == SITE_MLP_POST_ACT)
        tensor = "mlp.c_fc";
    if (a == SITE_MLP_POST_ACT && b == SITE_MLP_DELTA)
        tensor = "mlp.c_proj";
    snprintf(name, sizeof name, "transformer.h.%zu.%s.weight", layer, tensor ? tensor : "");
    return tensor ? name : NULL;
}

static float naive_weight(const sn_model *model, const struct node_layout *layout, size_t from,
                          size_t to)
{
    const struct node_site *a = &layout->sites[node_layout_site(layout, from)];
    const struct node_site *b = &layout->sites[node_layout_site(layout, to)];
    size_t first_row;
    const char *name = joining_tensor(&first_row, model, a->site, b->site);
    if (!name)
        return 0;
    return matrix_at(model->parameters[model_find(model, name)].matrix, first_row + to - b->first,
                     from - a->first);
}

/* Every second weight is zeroed, so that the matrices become sparse, some entries of the support too. */
static sn_model *half_zero_model(void)
{
    sn_model *model;
    unsigned seed = 3;
    ok(sn_model_create(&model, context, SPARSE_CONFIG, strlen(SPARSE_CONFIG), 2));
    for (size_t i = 0; i < model->n_parameters; i++) {
        struct parameter *parameter = &model->parameters[i];
        if (parameter->role != ROLE_MATRIX)
            continue;
        size_t n = parameter->rows * parameter->cols;
        float *dense = malloc(n * sizeof *dense);
        for (size_t r = 0; r < parameter->rows; r++)
            matrix_row(dense + r * parameter->cols, parameter->matrix, r);
        for (size_t j = 0; j < n; j++)
            if (next_random(&seed) % 3)
                dense[j] = 0;
        matrix_free(parameter->matrix);
        ok(matrix_from_dense(&parameter->matrix, context, parameter->rows, parameter->cols, dense,
                             i % 2 ? SPARSE_MAX_DENSITY : 0));
        if (parameter->matrix->pattern)
            parameter->matrix->values[0] = 0;
        ok(matrix_values_changed(parameter->matrix, context));
        free(dense);
    }
    return model;
}

START_TEST(edges_are_the_nonzeros_between_kept_nodes)
{
    sn_model *model = half_zero_model();
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, NULL));
    size_t n = circuit->layout.n_nodes, expected = 0, edge = 0;
    unsigned char *kept = malloc(n);
    random_nodes(kept, n, 40, 9);
    ok(circuit_set_nodes(circuit, context, kept));
    const struct graph *graph = &circuit->graph;
    for (size_t to = 0; to < graph->n_nodes; to++)
        for (size_t from = 0; from < graph->n_nodes; from++) {
            float weight = naive_weight(model, &circuit->layout, graph->nodes[from], graph->nodes[to]);
            if (weight == 0)
                continue;
            size_t got_from, got_to;
            float got;
            expected++;
            ok(sn_circuit_edge(&got_from, &got_to, &got, circuit, edge++));
            ck_assert_uint_eq(got_from, from);
            ck_assert_uint_eq(got_to, to);
            ck_assert_float_eq(got, weight);
        }
    ck_assert_uint_gt(expected, 50);
    ck_assert_uint_eq(sn_circuit_edge_count(circuit), expected);
    ck_assert_uint_eq(graph_count_edges(model, &circuit->layout, kept, NULL), expected);
    free(kept);
    sn_circuit_free(circuit);
    sn_model_free(model);
}
END_TEST

START_TEST(random_control_matches_site_counts)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 1);
    sn_circuit *circuit, *control[3];
    ok(sn_circuit_create(&circuit, context, model, "t"));
    const struct node_layout *layout = &circuit->layout;
    unsigned char *kept = malloc(layout->n_nodes);
    random_nodes(kept, layout->n_nodes, 30, 4);
    ok(circuit_set_nodes(circuit, context, kept));
    for (int i = 0; i < 3; i++)
        ok(sn_circuit_create_random(&control[i], context, circuit, i == 2 ? 1 : (uint64_t)i));
    for (size_t s = 0; s < layout->n_sites; s++)
        for (int i = 0; i < 3; i++) {
            size_t wanted = 0, got = 0, first = layout->sites[s].first;
            for (size_t c = 0; c < layout->sites[s].width; c++) {
                wanted += circuit->kept[first + c];
                got += control[i]->kept[first + c];
            }
            ck_assert_uint_eq(got, wanted);
        }
    ck_assert_int_eq(memcmp(control[1]->kept, control[2]->kept, layout->n_nodes), 0);
    ck_assert_int_ne(memcmp(control[0]->kept, control[1]->kept, layout->n_nodes), 0);
    ck_assert_int_ne(memcmp(control[0]->kept, circuit->kept, layout->n_nodes), 0);
    for (int i = 0; i < 3; i++)
        sn_circuit_free(control[i]);
    free(kept);
    sn_circuit_free(circuit);
    sn_model_free(model);
}
END_TEST

/* ---- measuring */

START_TEST(evaluation_agrees_with_a_plain_session)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 10);
    sn_task *task = random_task(90, 60, 23, 31); /* several chunks of one forward each */
    sn_session *session;
    double loss = 0, right = 0;
    ok(sn_session_create(&session, context, model, NULL));
    for (size_t i = 0; i < sn_task_count(task); i++)
        for (int j = 0; j < 2; j++) {
            const int32_t *prompts[2];
            size_t n[2], needed;
            int32_t targets[2];
            float logits[60 * 23];
            ok(sn_task_pair(&prompts[0], &n[0], &prompts[1], &n[1], &targets[0], &targets[1], task, i));
            size_t offsets[2] = {0, n[j]};
            ok(sn_session_forward(session, prompts[j], offsets, 1));
            ok(sn_session_logits(logits, 60 * 23, &needed, session));
            const float *last = logits + (n[j] - 1) * 23;
            double margin = (double)last[targets[j]] - (double)last[targets[1 - j]];
            loss += log1p(exp(-margin)) / 180;
            right += (margin > 0) / 180.0;
        }
    sn_evaluation full = evaluate(model, NULL, NULL, SN_ABLATE_NOTHING, task);
    ck_assert_uint_eq(full.n_pairs, 90);
    ck_assert_double_eq_tol(full.raw_loss, loss, 1e-4);
    ck_assert_double_eq_tol(full.raw_accuracy, right, 1e-9);
    ck_assert_double_le(full.loss, full.raw_loss);
    sn_session_free(session);
    sn_task_free(task);
    sn_model_free(model);
}
END_TEST

START_TEST(short_result_structs_are_respected)
{
    sn_model *model = planted_model(context, 0);
    sn_task *task = planted_task(context, 4, 1);
    sn_evaluation result;
    memset(&result, 0x5a, sizeof result);
    result.struct_size = offsetof(sn_evaluation, raw_loss);
    ok(sn_evaluate(&result, context, model, NULL, NULL, SN_ABLATE_NOTHING, task, task));
    ck_assert_uint_eq(result.n_pairs, 4);
    ck_assert_double_lt(result.loss, 0.3);
    ck_assert_int_eq(((unsigned char *)&result)[offsetof(sn_evaluation, raw_loss)], 0x5a);
    result.struct_size = 3;
    ck_assert_int_eq(sn_evaluate(&result, context, model, NULL, NULL, SN_ABLATE_NOTHING, task, task),
                     SN_ERROR_ARGUMENT);
    sn_task_free(task);
    sn_model_free(model);
}
END_TEST

START_TEST(planted_circuit_is_sufficient_and_necessary)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 40, 7);
    sn_circuit *circuit, *control;
    ok(sn_circuit_create(&circuit, context, model, NULL));
    for (size_t i = 0; i < 3; i++)
        ok(sn_circuit_add_node(circuit, context, planted_nodes[i]));
    sn_evaluation full = evaluate(model, means, NULL, SN_ABLATE_NOTHING, task);
    sn_evaluation rest = evaluate(model, means, circuit, SN_ABLATE_REST, task);
    sn_evaluation without = evaluate(model, means, circuit, SN_ABLATE_CIRCUIT, task);
    sn_evaluation nothing = evaluate(model, means, NULL, SN_ABLATE_EVERYTHING, task);
    ck_assert_double_lt(full.raw_loss, 0.1);
    ck_assert_double_lt(rest.raw_loss, 0.1);
    ck_assert_double_eq(rest.raw_accuracy, 1);
    ck_assert_double_eq_tol(without.loss, LN_2, 1e-3);
    ck_assert_double_eq_tol(nothing.loss, LN_2, 1e-3);
    /* Three other nodes: neither. */
    ok(sn_circuit_create(&control, context, model, NULL));
    ok(sn_circuit_add_node(control, context, "0.attn.act_in.4"));
    ok(sn_circuit_add_node(control, context, "0.attn.v.head0.ch2"));
    ok(sn_circuit_add_node(control, context, "0.attn.resid_delta.4"));
    ck_assert_double_gt(evaluate(model, means, control, SN_ABLATE_REST, task).loss, 0.6);
    ck_assert_double_lt(evaluate(model, means, control, SN_ABLATE_CIRCUIT, task).loss, 0.1);
    sn_circuit_free(control);
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* ---- bad input */

START_TEST(strangers_are_refused)
{
    sn_model *model = planted_model(context, 0), *twin = planted_model(context, 0);
    sn_model *wide = strong_model(SPARSE_CONFIG, 1);
    sn_means *means = planted_means(context, model), *wide_means = random_means(wide, 1);
    sn_task *task = planted_task(context, 4, 1), *empty, *large;
    sn_circuit *circuit, *out;
    sn_evaluation result = {.struct_size = sizeof result};
    int32_t prompt[] = {1, 2}, outside = 8;
    ok(sn_task_create(&empty, context, "empty"));
    ok(sn_task_create(&large, context, "large"));
    ok(sn_task_add_pair(large, context, prompt, 2, prompt, 2, 1, outside));
    ok(sn_circuit_create(&circuit, context, twin, NULL));
    struct {
        sn_model *model;
        const sn_means *means;
        const sn_circuit *circuit;
        int ablate;
        const sn_task *task;
        const char *says;
    } cases[] = {
        {model, wide_means, NULL, SN_ABLATE_EVERYTHING, task, "means have 276"},
        {twin, means, circuit, SN_ABLATE_REST, task, "means were taken from another model"},
        {model, means, circuit, SN_ABLATE_REST, task, "another model"},
        {model, NULL, circuit, SN_ABLATE_REST, task, "means is NULL"},
        {model, means, NULL, SN_ABLATE_REST, task, "circuit is NULL"},
        {model, means, NULL, SN_ABLATE_EDGES, task, "circuit is NULL"},
        {model, means, NULL, SN_ABLATE_EDGES + 1, task, "ablate is 5"},
        {model, means, NULL, SN_ABLATE_NOTHING, empty, "empty"},
        {model, means, NULL, SN_ABLATE_NOTHING, NULL, "NULL"},
        {model, means, NULL, SN_ABLATE_NOTHING, large, "target 8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(sn_evaluate(&result, context, cases[i].model, cases[i].means, cases[i].circuit,
                                     cases[i].ablate, cases[i].task, cases[i].task),
                         SN_ERROR_ARGUMENT);
        if (i == 0)
            ck_assert_ptr_nonnull(strstr(sn_context_message(context), "nodes, the model"));
        else
            ck_assert_msg(strstr(sn_context_message(context), cases[i].says), "%zu: %s", i,
                          sn_context_message(context));
    }
    ck_assert_int_eq(sn_circuit_extract(&out, context, model, wide_means, task, NULL, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_extract(&out, context, model, means, empty, NULL, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_trace(circuit, context, means, NULL, task, NULL), SN_ERROR_ARGUMENT);
    sn_circuit_free(circuit);
    sn_task_free(empty);
    sn_task_free(large);
    sn_task_free(task);
    sn_means_free(means);
    sn_means_free(wide_means);
    sn_model_free(model);
    sn_model_free(twin);
    sn_model_free(wide);
}
END_TEST

Suite *circuit_suite(void);
Suite *circuit_suite(void)
{
    const TTest *graph[] = {nodes_are_listed_in_order, names_of_no_nodes_are_refused,
                            edges_are_the_nonzeros_between_kept_nodes,
                            random_control_matches_site_counts};
    const TTest *measuring[] = {evaluation_agrees_with_a_plain_session,
                                short_result_structs_are_respected,
                                planted_circuit_is_sufficient_and_necessary};
    const TTest *strangers[] = {strangers_are_refused};
    Suite *suite = suite_create("circuit");
    add_cases(suite, "graph", graph, sizeof graph / sizeof *graph);
    add_cases(suite, "measuring", measuring, sizeof measuring / sizeof *measuring);
    add_cases(suite, "strangers", strangers, sizeof strangers / sizeof *strangers);
    return suite;
}
