/* Controls: random circuits of a circuit's size, and models whose weights are permuted. */
#include "circuit/ablation.h"
#include "long.h"
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

static sn_ablation *mean_ablation(sn_model *model, const sn_means *means)
{
    sn_ablation *ablation;
    ok(sn_ablation_create(&ablation, context, model, means, NULL, NULL));
    return ablation;
}

static size_t edges_of_part(const sn_circuit *circuit, const struct edge_part *part)
{
    size_t n = 0;
    for (size_t i = 0; i < circuit->graph.n_edges; i++) {
        size_t to = circuit->graph.nodes[circuit->graph.edges[i].to];
        size_t from = circuit->graph.nodes[circuit->graph.edges[i].from];
        n += to >= part->to && to - part->to < part->n_rows && from >= part->from &&
             from - part->from < part->matrix->cols;
    }
    return n;
}

START_TEST(random_edges_match_the_edges_between_sites)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_circuit *circuit, *controls[3];
    ok(sn_circuit_create(&circuit, context, model, "edges"));
    size_t n = circuit->layout.n_nodes, n_edges = edge_count(model), total = 0;
    unsigned char *kept = malloc(n), *kept_edges = malloc(n_edges);
    random_nodes(kept, n, 50, 4); /* so that kept edges without kept ends occur */
    random_nodes(kept_edges, n_edges, 10, 5);
    ok(circuit_set_edges(circuit, context, kept, kept_edges));
    for (int i = 0; i < 3; i++)
        ok(sn_circuit_create_random(&controls[i], context, circuit, i == 2 ? 1 : (uint64_t)i));
    for (size_t layer = 0, first = 0; layer < model->config.n_layer; layer++) {
        struct edge_part parts[PARTS_PER_LAYER];
        edge_parts(parts, &first, model, &circuit->layout, layer);
        for (size_t p = 0; p < PARTS_PER_LAYER; p++) {
            size_t wanted = edges_of_part(circuit, &parts[p]);
            for (int i = 0; i < 3; i++)
                ck_assert_uint_eq(edges_of_part(controls[i], &parts[p]), wanted);
            total += wanted;
        }
    }
    ck_assert_uint_gt(total, 50);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(controls[i]->graph.n_edges, total);
        for (size_t node = 0; node < controls[i]->graph.n_nodes; node++) { /* each is some edge's end */
            size_t touched = 0;
            for (size_t e = 0; e < total; e++)
                touched +=
                    controls[i]->graph.edges[e].from == node || controls[i]->graph.edges[e].to == node;
            ck_assert_uint_gt(touched, 0);
        }
    }
    ck_assert_int_ne(memcmp(controls[0]->kept_edges, controls[1]->kept_edges, n_edges), 0);
    ck_assert_int_eq(memcmp(controls[1]->kept_edges, controls[2]->kept_edges, n_edges), 0);
    free(kept);
    free(kept_edges);
    for (int i = 0; i < 3; i++)
        sn_circuit_free(controls[i]);
    sn_circuit_free(circuit);
    sn_model_free(model);
}
END_TEST

static sn_circuit *planted_circuit(sn_model *model, int of_edges)
{
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "planted"));
    for (size_t i = 0; i < PLANTED_NODES; i++)
        ok(sn_circuit_add_node(circuit, context, planted_nodes[i]));
    if (of_edges) {
        unsigned char *all = malloc(edge_count(model));
        memset(all, 1, edge_count(model));
        ok(circuit_set_edges(circuit, context, circuit->kept, all));
        free(all);
    }
    return circuit;
}

START_TEST(random_circuits_neither_suffice_nor_matter)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    sn_ablation *ablation = mean_ablation(model, means);
    for (int of_edges = 0; of_edges < 2; of_edges++) {
        sn_circuit *circuit = planted_circuit(model, of_edges);
        sn_controls controls = {.struct_size = sizeof controls};
        double losses[80], sum = 0, squares = 0;
        size_t needed, as_sufficient = 0, as_necessary = 0;
        ok(sn_circuit_measure_controls(&controls, losses, 80, &needed, context, ablation, circuit, 20, 7,
                                       task, task));
        ck_assert_uint_eq(needed, 80);
        ck_assert_uint_eq(controls.n_controls, 20);
        sn_evaluation own = evaluate(model, means, circuit, SN_ABLATE_REST, task);
        sn_evaluation without = evaluate(model, means, circuit, SN_ABLATE_CIRCUIT, task);
        ck_assert(controls.circuit_sufficient_raw_loss == own.raw_loss);
        ck_assert(controls.circuit_necessary_loss == without.loss);
        for (uint64_t i = 0; i < 20; i++) {
            sn_circuit *control;
            ok(sn_circuit_create_random(&control, context, circuit, 7 + i));
            sn_evaluation alone = evaluate(model, means, control, SN_ABLATE_REST, task);
            sn_evaluation gone = evaluate(model, means, control, SN_ABLATE_CIRCUIT, task);
            ck_assert(losses[4 * i] == alone.loss && losses[4 * i + 1] == alone.raw_loss);
            ck_assert(losses[4 * i + 2] == gone.loss && losses[4 * i + 3] == gone.raw_loss);
            as_sufficient += alone.raw_loss <= own.raw_loss;
            as_necessary += gone.loss >= without.loss;
            sum += alone.raw_loss / 20;
            squares += alone.raw_loss * alone.raw_loss;
            sn_circuit_free(control);
        }
        ck_assert_uint_eq(controls.n_as_sufficient, as_sufficient);
        ck_assert_uint_eq(controls.n_as_necessary, as_necessary);
        ck_assert(as_sufficient < 4 && as_necessary < 12); /* a draw may hit the planted path */
        ck_assert(fabs(controls.sufficient_raw_loss - sum) < 1e-9);
        ck_assert(fabs(controls.sufficient_raw_loss_spread - sqrt((squares - 20 * sum * sum) / 19)) <
                  1e-6);
        ck_assert(controls.sufficient_raw_loss > own.raw_loss + 0.3);
        ck_assert(controls.necessary_loss < without.loss - 0.2);
        if (of_edges)
            ck_assert(controls.edges == 2 && controls.nodes >= 3 && controls.nodes <= 4);
        else
            ck_assert(controls.nodes == 3);
        sn_circuit_free(circuit);
    }
    sn_ablation_free(ablation);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Both tensors have the same nonzero places and the same values; returns whether they stand alike. */
static int same_order(const sn_model *a, const sn_model *b, const char *name)
{
    size_t n, m;
    ok(sn_model_tensor(NULL, 0, &n, context, a, name));
    float *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
    ok(sn_model_tensor(x, n, &m, context, a, name));
    ok(sn_model_tensor(y, n, &m, context, b, name));
    ck_assert_uint_eq(n, m);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg((x[i] != 0) == (y[i] != 0), "%s: place %zu", name, i);
    int alike = memcmp(x, y, n * sizeof *x) == 0;
    qsort(x, n, sizeof *x, by_value);
    qsort(y, n, sizeof *y, by_value);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(x[i] == y[i], "%s: value %zu", name, i);
    free(x);
    free(y);
    return alike;
}

START_TEST(shuffled_models_keep_supports_and_values)
{
    sn_model *models[2] = {strong_model(SPARSE_CONFIG, 8), planted_model(context, 1)};
    for (int i = 0; i < 2; i++) {
        sn_model *shuffled, *again, *other;
        ok(sn_model_create_shuffled(&shuffled, context, models[i], 1));
        ok(sn_model_create_shuffled(&again, context, models[i], 1));
        ok(sn_model_create_shuffled(&other, context, models[i], 2));
        ck_assert_str_eq(sn_model_config_json(shuffled), sn_model_config_json(models[i]));
        for (size_t t = 0; t < sn_model_tensor_count(models[i]); t++) {
            const char *name = sn_model_tensor_name(models[i], t);
            size_t support[2];
            ok(sn_model_tensor_info(NULL, NULL, &support[0], NULL, models[i], t));
            ok(sn_model_tensor_info(NULL, NULL, &support[1], NULL, shuffled, t));
            ck_assert_uint_eq(support[0], support[1]);
            int alike = same_order(models[i], shuffled, name);
            ck_assert(same_order(shuffled, again, name));
            int position = models[i]->parameters[t].role == ROLE_POSITION;
            if (strstr(name, "c_attn.weight") || strstr(name, "wte") || position) {
                ck_assert_msg(alike == position, "%s", name);
                ck_assert(position || !same_order(shuffled, other, name));
            }
        }
        sn_model_free(shuffled);
        sn_model_free(again);
        sn_model_free(other);
        sn_model_free(models[i]);
    }
}
END_TEST

/* What extraction finds stands in the weights' places: permuted over them the task is gone. */
START_TEST(extraction_finds_nothing_in_shuffled_models)
{
    sn_model *model = planted_model(context, 0);
    sn_task *task = planted_task(context, 30, 3);
    sn_options *options;
    sn_circuit *circuit;
    static const char *const methods[] = {"nodes", "edges"};
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "steps", 20));
    for (uint64_t seed = 0; seed < 6; seed++) {
        sn_model *shuffled;
        ok(sn_model_create_shuffled(&shuffled, context, model, seed));
        sn_means *means = planted_means(context, shuffled);
        ok(sn_options_set_text(options, context, "method", methods[seed % 2]));
        int status = sn_circuit_extract(&circuit, context, shuffled, means, task, NULL, options);
        ck_assert_msg(status == SN_ERROR_TARGET, "seed %d: %s", (int)seed, sn_status_string(status));
        ck_assert_ptr_null(circuit);
        sn_means_free(means);
        sn_model_free(shuffled);
    }
    sn_options_free(options);
    sn_task_free(task);
    sn_model_free(model);
}
END_TEST

static void refused(int status, const char *words)
{
    ck_assert_int_eq(status, SN_ERROR_ARGUMENT);
    ck_assert_msg(strstr(sn_context_message(context), words) != NULL, "%s", sn_context_message(context));
}

START_TEST(bad_arguments_are_named)
{
    sn_model *model = planted_model(context, 0), *shuffled;
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 4, 3);
    sn_circuit *circuit = planted_circuit(model, 0);
    sn_ablation *ablation = mean_ablation(model, means);
    sn_controls controls = {.struct_size = sizeof controls};
    double losses[8];
    size_t needed = 0;
    refused(sn_model_create_shuffled(&shuffled, context, NULL, 1), "model is NULL");
    ck_assert_ptr_null(shuffled);
    refused(sn_circuit_measure_controls(&controls, NULL, 0, NULL, context, ablation, circuit, 0, 0, task,
                                        task),
            "n_controls is 0");
    refused(
        sn_circuit_measure_controls(&controls, NULL, 0, NULL, context, ablation, NULL, 2, 0, task, task),
        "circuit is NULL");
    refused(
        sn_circuit_measure_controls(&controls, NULL, 0, NULL, context, NULL, circuit, 2, 0, task, task),
        "ablation is NULL");
    refused(
        sn_circuit_measure_controls(NULL, NULL, 0, NULL, context, ablation, circuit, 2, 0, task, task),
        "result is NULL");
    ck_assert_int_eq(sn_circuit_measure_controls(&controls, losses, 7, &needed, context, ablation,
                                                 circuit, 2, 0, task, task),
                     SN_ERROR_CAPACITY);
    ck_assert_uint_eq(needed, 8);
    sn_ablation_free(ablation);
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

struct attempt {
    sn_model *model;
    sn_means *means;
    sn_task *task;
    sn_circuit *circuit;
};

static int control(sn_context *own, void *payload)
{
    struct attempt *attempt = payload;
    sn_model *shuffled = NULL;
    sn_ablation *ablation = NULL;
    sn_controls controls = {.struct_size = sizeof controls};
    int status = sn_model_create_shuffled(&shuffled, own, attempt->model, 1);
    if (status == SN_OK)
        status = sn_ablation_create(&ablation, own, attempt->model, attempt->means, NULL, NULL);
    if (status == SN_OK)
        status = sn_circuit_measure_controls(&controls, NULL, 0, NULL, own, ablation, attempt->circuit,
                                             2, 1, attempt->task, attempt->task);
    sn_ablation_free(ablation);
    sn_model_free(shuffled);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    sn_model *model = planted_model(context, 0);
    struct attempt attempt = {model, planted_means(context, model), planted_task(context, 4, 3),
                              planted_circuit(model, 1)};
    ck_assert_uint_gt(oom_loop(control, &attempt, 1, long_tests() ? 0 : 40), 50);
    sn_circuit_free(attempt.circuit);
    sn_task_free(attempt.task);
    sn_means_free(attempt.means);
    sn_model_free(model);
}
END_TEST

Suite *controls_suite(void);
Suite *controls_suite(void)
{
    const TTest *cases[] = {random_edges_match_the_edges_between_sites,
                            random_circuits_neither_suffice_nor_matter,
                            shuffled_models_keep_supports_and_values,
                            extraction_finds_nothing_in_shuffled_models,
                            bad_arguments_are_named,
                            every_refused_allocation_is_survived};
    Suite *suite = suite_create("controls");
    add_cases(suite, "controls", cases, sizeof cases / sizeof *cases);
    return suite;
}
