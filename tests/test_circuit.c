/* Circuits: nodes and edges, gates, means, calibration, measuring, finding, growing. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "circuit/refine.h"
#include "long.h"
#include "oom.h"
#include "planted.h"

#define LN_2 0.69314718055994531

static const char smooth_config[] =
    "{\"block_size\": 40, \"vocab_size\": 11, \"n_layer\": 2, \"n_head\": 2, \"d_head\": 5, \"d_model\": 10,"
    " \"d_mlp\": 14, \"rms_norm\": true, \"tied_unembed\": false, \"sink\": true, \"d_pos_emb\": 3}";
static const char sparse_config[] =
    "{\"block_size\": 90, \"vocab_size\": 23, \"n_layer\": 2, \"n_head\": 3, \"d_head\": 4, \"d_model\": 18,"
    " \"d_mlp\": 30, \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.5, \"d_pos_emb\": 6,"
    " \"afrac_loctypes\": \"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q\","
    " \"enable_bigram_table\": true, \"learnable_bigram_table\": true, \"sink\": true}";

static sn_context *context;

static void set_up(void)
{
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
}

static void tear_down(void)
{
    size_t left;
    sn_context_memory(&left, NULL, context);
    sn_context_free(context);
}

static void ok(int status)
{
    planted_ok(context, status);
}

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed / 65536;
}

/* A model with weights large enough that every node matters. */
static sn_model *strong_model(const char *config, float factor)
{
    sn_model *model;
    ok(sn_model_create(&model, context, config, strlen(config), 5));
    for (size_t i = 0; i < model->n_parameters; i++) {
        struct parameter *parameter = &model->parameters[i];
        if (parameter->role != ROLE_MATRIX && parameter->role != ROLE_EMBEDDING)
            continue;
        for (size_t j = 0; j < parameter->matrix->n_values; j++)
            parameter->matrix->values[j] *= factor;
        ok(matrix_values_changed(parameter->matrix, context));
    }
    return model;
}

static sn_task *random_task(size_t n_pairs, size_t longest, int32_t vocabulary, unsigned seed)
{
    sn_task *task;
    ok(sn_task_create(&task, context, "random"));
    for (size_t i = 0; i < n_pairs; i++) {
        int32_t prompts[2][64];
        size_t n[2];
        for (int j = 0; j < 2; j++) {
            n[j] = 1 + next_random(&seed) % longest;
            for (size_t t = 0; t < n[j]; t++)
                prompts[j][t] = (int32_t)next_random(&seed) % vocabulary;
        }
        int32_t a = (int32_t)next_random(&seed) % vocabulary;
        ok(sn_task_add_pair(task, context, prompts[0], n[0], prompts[1], n[1], a, (a + 1) % vocabulary));
    }
    return task;
}

static sn_means *random_means(sn_model *model, unsigned seed)
{
    sn_means *means;
    ok(means_create_values(&means, context, model, NULL));
    for (size_t i = 0; i < means->layout.n_nodes; i++)
        means->values[i] = (float)(next_random(&seed) % 200) * 0.005f - 0.5f;
    return means;
}

/* Keeps each node with a chance of `percent` in a hundred. */
static void random_nodes(unsigned char *kept, size_t n, unsigned percent, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        kept[i] = next_random(&seed) % 100 < percent;
}

static sn_evaluation evaluate(sn_model *model, const sn_means *means, const sn_circuit *circuit, int ablate,
                              const sn_task *task)
{
    sn_evaluation result = {.struct_size = sizeof result};
    ok(sn_evaluate(&result, context, model, means, circuit, ablate, task, task));
    return result;
}

static size_t set_nodes(unsigned char *kept, const struct node_layout *layout, const sn_model *model,
                        const char *const *names, size_t n)
{
    memset(kept, 0, layout->n_nodes);
    for (size_t i = 0; i < n; i++) {
        size_t site, channel;
        ck_assert_msg(node_find(&site, &channel, model, names[i]), "%s", names[i]);
        kept[node_layout_first(layout, site) + channel] = 1;
    }
    return n;
}

static const char *const planted_nodes[] = {"0.attn.act_in.0", "0.attn.v.head0.ch0", "0.attn.resid_delta.2"};
static const char *const backup_nodes[] = {"0.attn.act_in.1", "0.attn.v.head0.ch1", "0.attn.resid_delta.3"};

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
    static const char *const names[] = {"0.attn.act_in.6",   "0.attn.y.head0.ch0", "1.attn.act_in.0",
                                        "0.attn.act_in.-1",  "0.resid_in.0",       "0.attn.v.0",
                                        "0.mlp.post_act.05", "", "final_resid.0"};
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
    enum site_kind a = (enum site_kind)(from % SITES_PER_LAYER), b = (enum site_kind)(to % SITES_PER_LAYER);
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

static float naive_weight(const sn_model *model, const struct node_layout *layout, size_t from, size_t to)
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
    ok(sn_model_create(&model, context, sparse_config, strlen(sparse_config), 2));
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
    ck_assert_uint_eq(graph_count_edges(model, &circuit->layout, kept), expected);
    free(kept);
    sn_circuit_free(circuit);
    sn_model_free(model);
}
END_TEST

START_TEST(random_control_matches_site_counts)
{
    sn_model *model = strong_model(sparse_config, 1);
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

/* ---- gates */

/* Loss of the pairs under fractional masks; with gradient != 0 also its gradient by the masks. */
static double masked_loss(struct judge *judge, const float *mask, int gradient)
{
    struct calibration calibration = {1.3, 0.2};
    double loss, difference[64];
    size_t n = judge->n_pairs[JUDGE_TASK];
    memcpy(judge->gates.mask, mask, judge->layout.n_nodes * sizeof *mask);
    gates_zero_gradient(&judge->gates);
    ok(gates_attach(&judge->gates, judge->session, gradient));
    ok(pair_batch_fill(&judge->batch, context, judge->tasks[JUDGE_TASK], NULL, 0, n,
                       judge->model->config.vocab_size));
    ok(pair_batch_forward(&judge->batch, judge->session));
    ok(pair_batch_differences(difference, &judge->batch, judge->session));
    double again = calibrated_loss(difference, 2 * n, calibration);
    if (gradient) {
        ok(pair_batch_backward(&loss, &judge->batch, judge->session, calibration));
        ck_assert_double_eq_tol(loss, again, 1e-12);
    }
    gates_detach(&judge->gates);
    return again;
}

START_TEST(gate_gradients_match_finite_differences)
{
    sn_model *model = strong_model(smooth_config, 12);
    sn_means *means = random_means(model, 6);
    sn_task *task = random_task(9, 20, 11, 21);
    struct judge judge;
    unsigned seed = 77;
    ok(judge_open(&judge, context, model, means, task, task));
    size_t n = judge.layout.n_nodes;
    float *mask = malloc(n * sizeof *mask), *gradient = malloc(n * sizeof *gradient);
    for (size_t i = 0; i < n; i++)
        mask[i] = i % 5 == 0 ? 1.0f : i % 5 == 1 ? 0.0f : (float)(next_random(&seed) % 100) * 0.01f;
    masked_loss(&judge, mask, 1);
    memcpy(gradient, judge.gates.gradient, n * sizeof *gradient);
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)gradient[i]));
    ck_assert_double_gt(largest, 1e-2);
    for (size_t i = 0; i < n; i += 3) {
        float step = 0.01f, saved = mask[i];
        mask[i] = saved + step;
        double up = masked_loss(&judge, mask, 0);
        mask[i] = saved - step;
        double down = masked_loss(&judge, mask, 0);
        mask[i] = saved;
        double numeric = (up - down) / (2 * (double)step);
        ck_assert_msg(fabs(numeric - (double)gradient[i]) < 2e-3 * largest + 2e-2 * fabs(numeric),
                      "node %zu: %g, by differences %g", i, (double)gradient[i], numeric);
    }
    free(mask);
    free(gradient);
    judge_close(&judge);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

static float *all_logits(sn_session *session, size_t *n)
{
    int32_t tokens[130];
    size_t offsets[] = {0, 1, 70, 130};
    unsigned seed = 8;
    for (int t = 0; t < 130; t++)
        tokens[t] = (int32_t)next_random(&seed) % 23;
    ok(sn_session_forward(session, tokens, offsets, 3));
    ok(sn_session_logits(NULL, 0, n, session));
    float *logits = malloc(*n * sizeof *logits);
    ok(sn_session_logits(logits, *n, n, session));
    return logits;
}

START_TEST(all_ones_is_the_full_model_all_zeros_ablates_everything)
{
    sn_model *model = strong_model(sparse_config, 10);
    sn_means *means = random_means(model, 12);
    sn_session *session;
    struct gates gates;
    size_t n, again;
    ok(session_create(&session, context, model, GRADIENT_NONE));
    ok(gates_create(&gates, context, &means->layout, means->values));
    float *plain = all_logits(session, &n);
    for (int learning = 0; learning < 2; learning++) {
        ok(gates_attach(&gates, session, learning));
        float *gated = all_logits(session, &again);
        ck_assert_uint_eq(n, again);
        ck_assert_int_eq(memcmp(plain, gated, n * sizeof *plain), 0);
        free(gated);
    }
    memset(gates.mask, 0, means->layout.n_nodes * sizeof *gates.mask);
    float *ablated = all_logits(session, &n);
    gates_detach(&gates);
    for (size_t s = 0; s < means->layout.n_sites; s++) {
        size_t width, site = means->layout.sites[s].site;
        const float *values = sn_means_site(&width, means, model->site_names[site]);
        ok(sn_session_intervene(session, model->site_names[site], SN_SET, NULL, 0, values, width, NULL, 0));
    }
    float *set = all_logits(session, &n);
    ck_assert_int_eq(memcmp(ablated, set, n * sizeof *set), 0);
    ck_assert_int_ne(memcmp(ablated, plain, n * sizeof *set), 0);
    free(plain);
    free(ablated);
    free(set);
    gates_free(&gates);
    sn_session_free(session);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(complement_masks_are_the_opposite)
{
    sn_model *model = strong_model(sparse_config, 1);
    sn_means *means = random_means(model, 1);
    struct gates gates;
    size_t n = means->layout.n_nodes;
    unsigned char *kept = malloc(n);
    random_nodes(kept, n, 50, 2);
    kept[0] = 7; /* any nonzero byte means kept */
    ok(gates_create(&gates, context, &means->layout, means->values));
    gates_set(&gates, kept, 0);
    for (size_t i = 0; i < n; i++)
        ck_assert_float_eq(gates.mask[i], kept[i] ? 1 : 0);
    gates_set(&gates, kept, 1);
    for (size_t i = 0; i < n; i++)
        ck_assert_float_eq(gates.mask[i], kept[i] ? 0 : 1);
    free(kept);
    gates_free(&gates);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* ---- means */

START_TEST(means_equal_recorded_averages)
{
    sn_model *model = strong_model(sparse_config, 8);
    sn_corpus *corpus;
    sn_means *means;
    sn_session *session;
    int32_t tokens[75];
    size_t offsets[] = {0, 75}, width, needed;
    unsigned seed = 5;
    for (int t = 0; t < 75; t++)
        tokens[t] = (int32_t)next_random(&seed) % 23;
    ok(sn_corpus_create(&corpus, context));
    ok(sn_corpus_add_tokens(corpus, context, tokens, 75));
    /* One document: every window is a part of it, so all its starts are found by asking the corpus. */
    int32_t sampled[90], targets[90];
    size_t length;
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "tokens", 1));
    ok(sn_options_set(options, context, "seed", 3));
    ok(sn_means_create(&means, context, model, corpus, options));
    ok(sn_corpus_sample(sampled, targets, &length, corpus, context, 1, 90, 3, 0));
    offsets[1] = length;
    ok(sn_session_create(&session, context, model, NULL));
    for (size_t s = 0; s < means->layout.n_sites; s++) {
        const char *site = model->site_names[means->layout.sites[s].site];
        float values[90 * 30];
        ok(sn_session_record(session, site));
        ok(sn_session_forward(session, sampled, offsets, 1));
        ok(sn_session_activations(values, 90 * 30, &needed, session, site));
        const float *mean = sn_means_site(&width, means, site);
        ck_assert_uint_eq(needed, length * width);
        for (size_t c = 0; c < width; c++) {
            double sum = 0;
            for (size_t t = 0; t < length; t++)
                sum += (double)values[t * width + c];
            ck_assert_double_eq_tol((double)mean[c], sum / (double)length, 1e-6);
        }
    }
    ck_assert_ptr_null(sn_means_site(&width, means, "0.attn.y"));
    ck_assert_ptr_null(sn_means_site(&width, means, "nowhere"));
    sn_options_free(options);
    sn_session_free(session);
    sn_means_free(means);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

START_TEST(means_take_enough_tokens_on_any_threads)
{
    sn_model *model = strong_model(sparse_config, 8);
    sn_corpus *corpus = planted_corpus(context);
    sn_means *one, *three;
    ok(sn_means_create(&one, context, model, corpus, NULL));
    ok(sn_context_set_threads(context, 3));
    ok(sn_means_create(&three, context, model, corpus, NULL));
    ck_assert_int_eq(memcmp(one->values, three->values, one->layout.n_nodes * sizeof(float)), 0);
    sn_means_free(one);
    sn_means_free(three);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

/* ---- calibration */

/* What calibrate minimises: the loss and its two ridges. */
static double objective(const double *difference, size_t n, struct calibration at)
{
    return calibrated_loss(difference, n, at) + CALIBRATION_SHIFT_RIDGE * at.shift * at.shift +
           CALIBRATION_SCALE_RIDGE * (at.scale - 1) * (at.scale - 1);
}

static double brute_force(const double *difference, size_t n, struct calibration *best)
{
    double lowest = INFINITY;
    for (int i = 0; i <= 400; i++)
        for (int j = -600; j <= 600; j++) {
            struct calibration at = {i * 0.01, j * 0.02};
            double loss = objective(difference, n, at);
            if (loss < lowest) {
                lowest = loss;
                *best = at;
            }
        }
    return lowest;
}

START_TEST(calibration_is_the_optimum)
{
    unsigned seed = 17;
    for (int round = 0; round < 12; round++) {
        double difference[40];
        struct calibration grid;
        double overlap = 0.3 * round, shift = round % 3 - 1;
        for (size_t i = 0; i < 40; i++)
            difference[i] = (i % 2 ? -1 : 1) + shift +
                            overlap * ((double)(next_random(&seed) % 2001) / 1000 - 1);
        double lowest = brute_force(difference, 40, &grid);
        struct calibration found = calibrate(difference, 40);
        double loss = objective(difference, 40, found);
        ck_assert_msg(loss <= lowest + 1e-9 && loss >= lowest - 2e-3,
                      "round %d: %.9f at (%g, %g), grid %.9f at (%g, %g)", round, loss, found.scale,
                      found.shift, lowest, grid.scale, grid.shift);
        ck_assert(found.scale >= 0 && found.scale <= CALIBRATION_MAX_SCALE);
    }
}
END_TEST

START_TEST(calibration_is_bounded)
{
    double separable[] = {0.1, -0.1, 0.2, -0.3}, opposite[] = {-9, 9, -12, 13, -8, 11};
    double constant[] = {5, 5, 5, 5}, shifted[] = {7.5, 6.5, 7.6, 6.4};
    struct calibration found = calibrate(separable, 4);
    ck_assert_double_eq(found.scale, CALIBRATION_MAX_SCALE);
    ck_assert_double_lt(fabs(found.shift), 0.2);
    found = calibrate(opposite, 6);
    ck_assert_double_eq(found.scale, 0);
    ck_assert_double_eq_tol(calibrated_loss(opposite, 6, found), LN_2, 1e-12);
    found = calibrate(constant, 4);
    ck_assert_double_eq_tol(calibrated_loss(constant, 4, found), LN_2, 1e-3);
    ck_assert_double_eq(calibrated_accuracy(constant, 4, (struct calibration){0, 0}), 0.5);
    found = calibrate(shifted, 4);
    ck_assert_double_lt(found.shift, -1); /* towards the middle of the classes, against the ridge */
    ck_assert_double_lt(calibrated_loss(shifted, 4, found),
                        calibrated_loss(shifted, 4, (struct calibration){found.scale, 0}) - 0.1);
}
END_TEST

START_TEST(losses_of_huge_margins_stay_finite)
{
    double huge[] = {1e30, 1e30, -1e30, 1e-30};
    struct calibration found = calibrate(huge, 4), raw = {1, 0};
    ck_assert(isfinite(calibrated_loss(huge, 4, found)) && isfinite(found.shift));
    ck_assert(isfinite(calibrated_loss(huge, 4, raw)));
}
END_TEST

/* ---- measuring */

START_TEST(evaluation_agrees_with_a_plain_session)
{
    sn_model *model = strong_model(sparse_config, 10);
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

/* ---- finding */

static const struct extract_settings settings = {.target_loss = 0.15,
                                                 .learning_rate = 0.01,
                                                 .init_bias = 0.1,
                                                 .init_noise = 0.01,
                                                 .temperature = 1,
                                                 .weight_decay = 1e-3,
                                                 .beta2 = 0.95,
                                                 .necessity = 0.15,
                                                 .calibrated = 1,
                                                 .steps = 60,
                                                 .batch = 16,
                                                 .greedy = 2,
                                                 .grow = 1};

START_TEST(masks_fall_where_nothing_depends_on_them)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    struct search search;
    struct masks masks;
    ok(search_open(&search, context, model, means, task, task, &settings));
    ok(masks_create(&masks, context, search.n));
    ok(prune_learn(&masks, &search.judge, &settings, 1e-2, search.partner, 0, settings.steps));
    unsigned char *planted = malloc(search.n);
    set_nodes(planted, &search.judge.layout, model, planted_nodes, 3);
    for (size_t i = 0; i < search.n; i++) {
        ck_assert_msg((masks.tau[i] > 0) == planted[i], "node %zu: tau %g", i, (double)masks.tau[i]);
        ck_assert(masks.tau[i] >= -1 && masks.tau[i] <= 1);
    }
    free(planted);
    masks_free(&masks);
    search_close(&search);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(bisection_finds_the_smallest_number)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    struct search search;
    ok(search_open(&search, context, model, means, task, task, &settings));
    unsigned char *kept = malloc(search.n), *planted = malloc(search.n);
    float *tau = malloc(search.n * sizeof *tau);
    set_nodes(planted, &search.judge.layout, model, planted_nodes, 3);
    for (int positive = 0; positive < 3; positive++) {
        /* The planted nodes stand at ranks 0, 4 and 8; as many masks are on as `positive` says. */
        static const size_t on[] = {2, 9, 25};
        size_t place = 0, count = 0, rank[] = {0, 4, 8}, next = 1;
        for (size_t i = 0; i < search.n; i++) {
            size_t r = planted[i] ? rank[place++] : next++;
            while (!planted[i] && (r == 4 || r == 8))
                r = next++;
            tau[i] = 0.5f + 0.01f * ((float)on[positive] - (float)r) - 0.5f - 0.005f;
        }
        ok(refine_bisect(&search, tau, kept));
        for (size_t i = 0; i < search.n; i++)
            count += kept[i];
        ck_assert_uint_eq(count, 9);
        for (size_t i = 0; i < search.n; i++)
            ck_assert(!planted[i] || kept[i]);
    }
    free(tau);
    free(kept);
    free(planted);
    search_close(&search);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(greedy_removal_leaves_what_is_needed)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    struct search search;
    size_t removed;
    int meets;
    ok(search_open(&search, context, model, means, task, task, &settings));
    unsigned char *kept = malloc(search.n), *planted = malloc(search.n);
    set_nodes(planted, &search.judge.layout, model, planted_nodes, 3);
    memset(kept, 1, search.n);
    ok(refine_greedy(&search, kept, 0, &removed));
    ck_assert_int_eq(memcmp(kept, planted, search.n), 0);
    ck_assert_uint_eq(removed, search.n - 3);
    ok(search_meets(&search, kept, &meets));
    ck_assert(meets && search.loss <= settings.target_loss);
    ok(refine_greedy(&search, kept, 0, &removed));
    ck_assert_uint_eq(removed, 0);
    free(kept);
    free(planted);
    search_close(&search);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(elimination_leaves_what_is_needed)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    struct search search;
    int meets;
    ok(search_open(&search, context, model, means, task, task, &settings));
    unsigned char *kept = malloc(search.n), *planted = malloc(search.n);
    set_nodes(planted, &search.judge.layout, model, planted_nodes, 3);
    random_nodes(kept, search.n, 60, 5);
    for (size_t i = 0; i < search.n; i++)
        kept[i] |= planted[i];
    ok(refine_eliminate(&search, kept));
    ck_assert_int_eq(memcmp(kept, planted, search.n), 0);
    ok(search_meets(&search, kept, &meets));
    ck_assert(meets);
    /* Nothing can go where the target is already missed. */
    search.settings.target_loss = 1e-9;
    ok(refine_eliminate(&search, kept));
    ck_assert_int_eq(memcmp(kept, planted, search.n), 0);
    free(kept);
    free(planted);
    search_close(&search);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(tied_queries_and_keys_go_together)
{
    sn_model *model = strong_model(sparse_config, 6);
    sn_means *means = random_means(model, 3);
    sn_task *task = random_task(20, 20, 23, 3);
    struct extract_settings tied = settings;
    struct search search;
    struct masks masks;
    size_t removed, both = 0;
    tied.tie_query_key = 1;
    tied.steps = 20;
    tied.target_loss = 0.69;
    ok(search_open(&search, context, model, means, task, task, &tied));
    ok(masks_create(&masks, context, search.n));
    unsigned char *kept = malloc(search.n);
    ok(prune_learn(&masks, &search.judge, &tied, 1e-4, search.partner, 0, tied.steps));
    ok(refine_bisect(&search, masks.tau, kept));
    ok(refine_greedy(&search, kept, 0, &removed));
    for (size_t layer = 0; layer < 2; layer++) {
        size_t q = node_layout_first(&search.judge.layout, site_index(layer, SITE_ATTN_Q));
        size_t k = node_layout_first(&search.judge.layout, site_index(layer, SITE_ATTN_K));
        for (size_t c = 0; c < 12; c++) {
            ck_assert_float_eq(masks.tau[q + c], masks.tau[k + c]);
            ck_assert_uint_eq(kept[q + c], kept[k + c]);
            both += kept[q + c];
            ck_assert_uint_eq(search.partner[q + c], k + c);
        }
    }
    free(kept);
    masks_free(&masks);
    search_close(&search);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

static sn_circuit *extract(sn_model *model, const sn_means *means, const sn_task *task,
                           const sn_task *develop, double grow, double calibrated)
{
    sn_options *options;
    sn_circuit *circuit;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "steps", 60));
    ok(sn_options_set(options, context, "batch", 16));
    ok(sn_options_set(options, context, "grow", grow));
    ok(sn_options_set(options, context, "calibrated", calibrated));
    ok(sn_circuit_extract(&circuit, context, model, means, task, develop, options));
    sn_options_free(options);
    return circuit;
}

START_TEST(extraction_finds_the_planted_circuit)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 40, 3), *develop = planted_task(context, 60, 99);
    for (int calibrated = 0; calibrated < 2; calibrated++) {
        sn_circuit *circuit = extract(model, means, task, develop, 1, calibrated);
        ck_assert_uint_eq(sn_circuit_node_count(circuit), 3);
        for (size_t i = 0; i < 3; i++)
            ck_assert_str_eq(sn_circuit_node_name(circuit, i), planted_nodes[i]);
        ck_assert_uint_eq(sn_circuit_edge_count(circuit), 2);
        ck_assert_str_eq(sn_circuit_task(circuit), "planted");
        sn_circuit_free(circuit);
    }
    sn_task_free(task);
    sn_task_free(develop);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(growing_takes_in_the_backup)
{
    sn_model *model = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 40, 3), *develop = planted_task(context, 40, 99);
    sn_circuit *small = extract(model, means, task, develop, 0, 1);
    sn_circuit *grown = extract(model, means, task, develop, 1, 1);
    /* One of two equal paths suffices, and the other then does the task alone. */
    ck_assert_uint_eq(sn_circuit_node_count(small), 3);
    ck_assert_double_lt(evaluate(model, means, small, SN_ABLATE_REST, develop).loss, 0.15);
    ck_assert_double_lt(evaluate(model, means, small, SN_ABLATE_CIRCUIT, develop).loss, 0.2);
    ck_assert_uint_gt(sn_circuit_node_count(grown), 3);
    ck_assert_uint_le(sn_circuit_node_count(grown), 6);
    ck_assert_double_lt(evaluate(model, means, grown, SN_ABLATE_REST, develop).loss, 0.15);
    ck_assert_double_gt(evaluate(model, means, grown, SN_ABLATE_CIRCUIT, develop).loss, LN_2 - 0.15);
    int backup = 0;
    for (size_t i = 0; i < sn_circuit_node_count(grown); i++)
        for (size_t j = 0; j < 3; j++)
            backup += strcmp(sn_circuit_node_name(grown, i), backup_nodes[j]) == 0;
    ck_assert_int_ge(backup, 1);
    sn_circuit_free(small);
    sn_circuit_free(grown);
    sn_task_free(task);
    sn_task_free(develop);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(a_model_that_cannot_is_refused)
{
    sn_model *model = strong_model(sparse_config, 1);
    sn_means *means = random_means(model, 1);
    sn_task *task = random_task(20, 20, 23, 8);
    sn_circuit *circuit = (sn_circuit *)&context;
    ck_assert_int_eq(sn_circuit_extract(&circuit, context, model, means, task, NULL, NULL),
                     SN_ERROR_TARGET);
    ck_assert_ptr_null(circuit);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "the target is 0.15"));
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "full model has calibrated loss 0.6"));
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(threads_do_not_change_the_circuit)
{
    sn_model *model = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 40, 3), *develop = planted_task(context, 40, 99);
    sn_circuit *one = extract(model, means, task, develop, 1, 1);
    ok(sn_context_set_threads(context, 3));
    sn_circuit *three = extract(model, means, task, develop, 1, 1);
    ck_assert_int_eq(memcmp(one->kept, three->kept, one->layout.n_nodes), 0);
    sn_circuit_free(one);
    sn_circuit_free(three);
    sn_task_free(task);
    sn_task_free(develop);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

static int stop_at(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)done, (void)total, (void)value;
    return strcmp(stage, payload) == 0;
}

START_TEST(cancelling_leaves_nothing_behind)
{
    static char *const stages[] = {"prune", "greedy", "grow"};
    sn_model *model = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 40, 3);
    sn_options *options;
    size_t before, after;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "steps", 60));
    ok(sn_options_set(options, context, "k_coef", 1e-3));
    for (size_t i = 0; i < 3; i++) {
        sn_circuit *circuit;
        sn_context_memory(&before, NULL, context);
        sn_context_set_progress(context, stop_at, stages[i]);
        ck_assert_int_eq(sn_circuit_extract(&circuit, context, model, means, task, NULL, options),
                         SN_ERROR_CANCELLED);
        ck_assert_ptr_null(circuit);
        sn_context_memory(&after, NULL, context);
        ck_assert_uint_eq(before, after);
    }
    sn_context_set_progress(context, stop_at, "means");
    sn_means *none;
    sn_corpus *corpus = planted_corpus(context);
    ck_assert_int_eq(sn_means_create(&none, context, model, corpus, NULL), SN_ERROR_CANCELLED);
    ck_assert_ptr_null(none);
    sn_corpus_free(corpus);
    sn_options_free(options);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* ---- bad input */

START_TEST(strangers_are_refused)
{
    sn_model *model = planted_model(context, 0), *twin = planted_model(context, 0);
    sn_model *wide = strong_model(sparse_config, 1);
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
        {model, means, NULL, 4, task, "ablate is 4"},
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
    ck_assert_int_eq(sn_circuit_extract(&out, context, model, means, empty, NULL, NULL), SN_ERROR_ARGUMENT);
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

/* ---- out of memory */

static int find_a_circuit(sn_context *own, void *payload)
{
    sn_model *model = payload;
    sn_corpus *corpus = NULL;
    sn_means *means = NULL;
    sn_task *task = NULL;
    sn_options *options = NULL;
    sn_circuit *circuit = NULL, *control = NULL;
    int32_t tokens[12] = {0, 1, 3, 6, 2, 3, 7, 1, 0, 2, 3, 0};
    int status = sn_corpus_create(&corpus, own);
    if (status == SN_OK)
        status = sn_corpus_add_tokens(corpus, own, tokens, 12);
    if (status == SN_OK)
        status = sn_options_create(&options, own);
    if (status == SN_OK)
        status = sn_options_set(options, own, "tokens", 64);
    if (status == SN_OK)
        status = sn_means_create(&means, own, model, corpus, options);
    sn_options_free(options);
    options = NULL;
    if (status == SN_OK)
        status = sn_task_create(&task, own, "planted");
    for (int i = 0; status == SN_OK && i < 4; i++) {
        int32_t a[] = {6, 1, (int32_t)(6 + i % 2), 3}, b[] = {6, 2, (int32_t)(6 + i % 2), 3};
        status = sn_task_add_pair(task, own, a, 4, b, 4, 4, 5);
    }
    if (status == SN_OK)
        status = sn_options_create(&options, own);
    if (status == SN_OK)
        status = sn_options_set(options, own, "steps", 2);
    if (status == SN_OK)
        status = sn_options_set(options, own, "k_coef", 1e-3);
    if (status == SN_OK)
        status = sn_circuit_extract(&circuit, own, model, means, task, NULL, options);
    if (status == SN_OK)
        status = sn_circuit_create_random(&control, own, circuit, 3);
    if (status == SN_OK)
        status = sn_circuit_trace(circuit, own, means, NULL, task, NULL);
    sn_circuit_free(control);
    sn_circuit_free(circuit);
    sn_options_free(options);
    sn_task_free(task);
    sn_means_free(means);
    sn_corpus_free(corpus);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    sn_model *model = planted_model(context, 1);
    ck_assert_uint_gt(oom_loop(find_a_circuit, model, 1, long_tests() ? 400 : 40), 100);
    sn_model_free(model);
}
END_TEST

Suite *circuit_suite(void);
Suite *circuit_suite(void)
{
    Suite *suite = suite_create("circuit");
    struct {
        const char *name;
        const TTest *tests[8];
    } cases[] = {
        {"graph",
         {nodes_are_listed_in_order, names_of_no_nodes_are_refused, edges_are_the_nonzeros_between_kept_nodes,
          random_control_matches_site_counts}},
        {"gates",
         {gate_gradients_match_finite_differences, all_ones_is_the_full_model_all_zeros_ablates_everything,
          complement_masks_are_the_opposite, means_equal_recorded_averages,
          means_take_enough_tokens_on_any_threads}},
        {"calibration",
         {calibration_is_the_optimum, calibration_is_bounded, losses_of_huge_margins_stay_finite}},
        {"measuring",
         {evaluation_agrees_with_a_plain_session, short_result_structs_are_respected,
          planted_circuit_is_sufficient_and_necessary, strangers_are_refused}},
        {"finding",
         {masks_fall_where_nothing_depends_on_them, bisection_finds_the_smallest_number,
          greedy_removal_leaves_what_is_needed, elimination_leaves_what_is_needed,
          tied_queries_and_keys_go_together, extraction_finds_the_planted_circuit,
          growing_takes_in_the_backup}},
        {"states",
         {a_model_that_cannot_is_refused, threads_do_not_change_the_circuit, cancelling_leaves_nothing_behind,
          every_refused_allocation_is_survived}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TCase *group = tcase_create(cases[i].name);
        tcase_add_checked_fixture(group, set_up, tear_down);
        tcase_set_timeout(group, 120);
        for (size_t t = 0; t < 8 && cases[i].tests[t]; t++)
            tcase_add_test(group, cases[i].tests[t]);
        suite_add_tcase(suite, group);
    }
    return suite;
}
