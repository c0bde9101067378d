/* Circuits folded into models of their own, and what ablations cost in pretraining loss. */
#include "circuit/judge.h"
#include "oom.h"
#include "temporary.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

#define PLAIN_CONFIG                                                                                    \
    "{\"block_size\": 40, \"vocab_size\": 11, \"n_layer\": 2, \"n_head\": 2, \"d_head\": 5, "           \
    "\"d_model\": 10, \"d_mlp\": 14, \"rms_norm\": true, \"tied_unembed\": false, \"bias\": false}"
#define RELU_CONFIG                                                                                     \
    "{\"block_size\": 40, \"vocab_size\": 11, \"n_layer\": 2, \"n_head\": 2, \"d_head\": 5, "           \
    "\"d_model\": 10, \"d_mlp\": 14, \"afrac\": 0.5, \"residual_activation_type\": \"relu\","           \
    " \"activation_type\": \"relu\", \"afrac_loctypes\": "                                              \
    "\"attn_v,mlp_neuron,resid_post_attn,mlp_out\"}"

/* Logit differences of all pairs, 2 each. circuit NULL: of the model as it is. */
static double *differences(sn_model *model, const sn_means *means, const sn_circuit *circuit,
                           const sn_task *task)
{
    struct judge judge;
    struct measurement measured[JUDGE_SETS];
    int edges = circuit && circuit->kept_edges;
    ok(judge_open(&judge, context, model, circuit ? means : NULL, task, task,
                  edges ? JUDGE_EDGES : JUDGE_NODES));
    judge.kept_edges = edges ? circuit->kept_edges : NULL;
    ok(judge_measure(measured, &judge, circuit ? circuit->kept : NULL,
                     circuit ? SN_ABLATE_REST : SN_ABLATE_NOTHING, ALL_PAIRS));
    size_t n = 2 * sn_task_count(task);
    double *copy = malloc(n * sizeof *copy);
    memcpy(copy, judge.differences[JUDGE_TASK], n * sizeof *copy);
    judge_close(&judge);
    return copy;
}

static double largest_gap(const double *a, const double *b, size_t n)
{
    double gap = 0;
    for (size_t i = 0; i < n; i++)
        gap = fmax(gap, fabs(a[i] - b[i]));
    return gap;
}

static double spread(const double *a, size_t n)
{
    double low = a[0], high = a[0];
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, a[i]);
        high = fmax(high, a[i]);
    }
    return high - low;
}

static sn_circuit *random_circuit(sn_model *model, unsigned percent, unsigned seed, int cut_edges)
{
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "random"));
    unsigned char *kept = malloc(circuit->layout.n_nodes);
    unsigned char *edges = malloc(edge_count(model));
    random_nodes(kept, circuit->layout.n_nodes, percent, seed);
    random_nodes(edges, edge_count(model), 70, seed + 1);
    ok(circuit_set_edges(circuit, context, kept, cut_edges ? edges : NULL));
    free(kept);
    free(edges);
    return circuit;
}

static size_t matrix_nonzeros(const sn_model *model)
{
    size_t n = 0;
    for (size_t i = 0; i < model->n_parameters; i++)
        if (model->parameters[i].role == ROLE_MATRIX)
            for (size_t j = 0; j < model->parameters[i].matrix->n_values; j++)
                n += model->parameters[i].matrix->values[j] != 0;
    return n;
}

static sn_model *fold(const sn_circuit *circuit, const sn_means *means, const char *topk)
{
    sn_model *folded;
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "topk", topk));
    ok(sn_circuit_fold(&folded, context, circuit, means, options));
    sn_options_free(options);
    return folded;
}

START_TEST(folded_models_answer_as_their_circuits)
{
    static const char *const configs[] = {PLAIN_CONFIG, SMOOTH_CONFIG, SPARSE_CONFIG, RELU_CONFIG};
    sn_model *model = strong_model(configs[_i % 4], 8);
    sn_means *means = random_means(model, 3);
    sn_task *task = random_task(12, 20, 11, 5);
    for (unsigned percent = 0; percent <= 100; percent += 20) {
        sn_circuit *circuit = random_circuit(model, percent, percent + 7, _i >= 4);
        sn_model *folded = fold(circuit, means, "exact");
        double *a = differences(model, means, circuit, task), *b = differences(folded, NULL, NULL, task);
        double gap = largest_gap(a, b, 24);
        ck_assert_msg(gap < 2e-4, "%u %% kept: differences are %g apart", percent, gap);
        if (percent >= 60)
            ck_assert_double_gt(spread(a, 24), 0.01); /* there is something to agree about */
        if (percent < 100)
            ck_assert_uint_lt(matrix_nonzeros(folded), matrix_nonzeros(model));
        free(a);
        free(b);
        sn_model_free(folded);
        sn_circuit_free(circuit);
    }
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

static sn_circuit *planted_circuit(sn_model *model)
{
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "planted"));
    for (size_t i = 0; i < PLANTED_NODES; i++)
        ok(sn_circuit_add_node(circuit, context, planted_nodes[i]));
    return circuit;
}

/* Without sinks and AbsTopK nothing but the edges is left, and the configuration needs nothing new. */
START_TEST(what_is_left_are_the_edges)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_circuit *circuit = planted_circuit(model);
    sn_task *task = planted_task(context, 20, 3);
    sn_model *folded = fold(circuit, means, "exact");
    ck_assert_uint_eq(sn_circuit_edge_count(circuit), 2);
    ck_assert_uint_eq(matrix_nonzeros(folded), 2);
    ck_assert_int_eq(sn_model_config_number(folded, "held_nodes"), 0);
    ck_assert_ptr_null(strstr(sn_model_config_json(folded), "held_nodes"));
    sn_evaluation kept = evaluate(model, means, circuit, SN_ABLATE_REST, task);
    sn_evaluation alone = evaluate(folded, NULL, NULL, SN_ABLATE_NOTHING, task);
    ck_assert_double_lt(kept.raw_loss, 0.3);
    ck_assert_double_eq_tol(alone.raw_loss, kept.raw_loss, 1e-5);
    ck_assert_double_eq_tol(alone.loss, kept.loss, 1e-5);
    ck_assert_double_eq(alone.accuracy, kept.accuracy);
    sn_model_free(folded);
    sn_task_free(task);
    sn_circuit_free(circuit);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(without_inner_topk_no_competitor_is_left)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_means *means = random_means(model, 3);
    sn_circuit *circuit = random_circuit(model, 30, 9, 0);
    sn_model *exact = fold(circuit, means, "exact"), *off = fold(circuit, means, "off");
    ck_assert_int_eq(sn_model_config_number(exact, "held_nodes"), 1);
    ck_assert_int_eq(sn_model_config_number(off, "held_nodes"), 0);
    ck_assert_ptr_nonnull(strstr(sn_model_config_json(off), "\"afrac_loctypes\":\"attn_in,mlp_in\""));
    ck_assert_uint_lt(matrix_nonzeros(off), matrix_nonzeros(exact));
    ck_assert_uint_ge(matrix_nonzeros(off), sn_circuit_edge_count(circuit));
    sn_model_free(exact);
    sn_model_free(off);
    sn_circuit_free(circuit);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* Logits of one sequence's last token, token by token or in panels. */
static void last_logits(float *logits, sn_model *model, const int32_t *tokens, size_t n, int by_token)
{
    size_t vocabulary = model->config.vocab_size, offsets[] = {0, n}, last = n - 1;
    sn_session *session;
    sn_generator *generator;
    if (!by_token) {
        ok(sn_session_create(&session, context, model, NULL));
        ok(sn_session_select_logits(session, &last, 1));
        ok(sn_session_forward(session, tokens, offsets, 1));
        ok(sn_session_logits(logits, vocabulary, NULL, session));
        sn_session_free(session);
        return;
    }
    ok(sn_generator_create(&generator, context, model, NULL));
    for (size_t t = 0; t < n; t++)
        ok(sn_generator_append(generator, tokens + t, 1));
    ok(sn_generator_logits(logits, vocabulary, NULL, generator));
    sn_generator_free(generator);
}

START_TEST(a_folded_model_saves_loads_and_generates)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8), *loaded;
    sn_means *means = random_means(model, 3);
    sn_circuit *circuit = random_circuit(model, 50, 9, 0);
    sn_model *folded = fold(circuit, means, "exact");
    struct temporary temporary;
    temporary_create(&temporary);
    const char *path = temporary_path(&temporary, "folded.safetensors");
    ok(sn_model_save(folded, context, path));
    ok(sn_model_load(&loaded, context, path));
    ck_assert_str_eq(sn_model_config_json(loaded), sn_model_config_json(folded));
    int32_t tokens[70];
    float a[23], b[23], c[23];
    for (int t = 0; t < 70; t++)
        tokens[t] = t * 7 % 23;
    last_logits(a, folded, tokens, 70, 0);
    last_logits(b, loaded, tokens, 70, 0);
    last_logits(c, loaded, tokens, 70, 1);
    ck_assert_mem_eq(a, b, sizeof a);
    for (int i = 0; i < 23; i++)
        ck_assert_float_eq_tol(a[i], c[i], 1e-3f);
    ck_assert_int_eq(sn_model_export(folded, context, path), SN_ERROR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "held_nodes"));
    temporary_remove(&temporary);
    sn_model_free(loaded);
    sn_model_free(folded);
    sn_circuit_free(circuit);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* No gradient passes a held node: biases in front of AbsTopK there have none, those of free ones have. */
START_TEST(held_nodes_take_no_gradient)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_means *means = random_means(model, 3);
    sn_circuit *circuit = random_circuit(model, 60, 9, 0);
    sn_model *folded = fold(circuit, means, "exact");
    struct sn_session *session;
    int32_t tokens[40], targets[40];
    size_t offsets[] = {0, 40}, n_held = 0;
    for (int t = 0; t < 40; t++) {
        tokens[t] = t * 7 % 23;
        targets[t] = t * 5 % 23;
    }
    ok(session_create(&session, context, folded, GRADIENT_SUPPORT));
    ok(sn_session_forward(session, tokens, offsets, 1));
    ok(sn_session_backward(session, targets));
    const struct layer_parameters *layer = &folded->layers[1];
    const float *mask = folded->parameters[layer->held_mask[4]].vector;
    const float *gradient = session_gradient(session, (size_t)layer->mlp_proj_bias);
    double free_gradient = 0;
    for (size_t c = 0; c < folded->config.d_model; c++) {
        if (mask[c] != 0)
            ck_assert_float_eq(gradient[c], 0);
        else
            free_gradient += fabs((double)gradient[c]);
        n_held += mask[c] != 0;
    }
    ck_assert_uint_gt(n_held, 0);
    ck_assert_double_gt(free_gradient, 1e-4);
    sn_session_free(session);
    sn_model_free(folded);
    sn_circuit_free(circuit);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(a_folded_model_folds_again)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_means *means = random_means(model, 3);
    sn_task *task = random_task(12, 20, 11, 5);
    sn_circuit *circuit = random_circuit(model, 60, 9, 0), *all;
    sn_model *once = fold(circuit, means, "exact");
    sn_means *again_means = random_means(once, 4);
    ok(sn_circuit_create(&all, context, once, "all"));
    unsigned char *kept = malloc(all->layout.n_nodes);
    memset(kept, 1, all->layout.n_nodes);
    ok(circuit_set_nodes(all, context, kept));
    sn_model *twice = fold(all, again_means, "exact");
    double *a = differences(once, NULL, NULL, task), *b = differences(twice, NULL, NULL, task);
    ck_assert_double_eq(largest_gap(a, b, 24), 0);
    free(a);
    free(b);
    free(kept);
    sn_model_free(twice);
    sn_circuit_free(all);
    sn_means_free(again_means);
    sn_model_free(once);
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(bad_arguments_are_named)
{
    sn_model *model = planted_model(context, 0), *other = planted_model(context, 1), *folded = model;
    sn_means *means = planted_means(context, other);
    sn_circuit *circuit = planted_circuit(model);
    ck_assert_int_eq(sn_circuit_fold(&folded, context, circuit, means, NULL), SN_ERROR_ARGUMENT);
    ck_assert_ptr_null(folded);
    ck_assert_int_eq(sn_circuit_fold(&folded, context, circuit, NULL, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_fold(&folded, context, NULL, means, NULL), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "circuit is NULL"));
    ck_assert_int_eq(sn_circuit_fold(NULL, context, circuit, means, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_fold(&folded, NULL, circuit, means, NULL), SN_ERROR_ARGUMENT);
    sn_circuit_free(circuit);
    sn_means_free(means);
    sn_model_free(other);
    sn_model_free(model);
}
END_TEST

struct fold_payload {
    const sn_circuit *circuit;
    const sn_means *means;
};

static int fold_and_run(sn_context *own, void *payload)
{
    const struct fold_payload *p = payload;
    const int32_t tokens[] = {1, 2, 3};
    const size_t offsets[] = {0, 3};
    sn_model *folded = NULL;
    sn_session *session = NULL;
    int status = sn_circuit_fold(&folded, own, p->circuit, p->means, NULL);
    if (status == SN_OK)
        status = sn_session_create(&session, own, folded, NULL);
    if (status == SN_OK)
        status = sn_session_forward(session, tokens, offsets, 1);
    sn_session_free(session);
    sn_model_free(folded);
    return status;
}

START_TEST(memory_may_run_out_anywhere)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_means *means = random_means(model, 3);
    sn_circuit *circuit = random_circuit(model, 50, 9, 1);
    struct fold_payload payload = {circuit, means};
    ck_assert_uint_gt(oom_loop(fold_and_run, &payload, 1, 0), 100);
    sn_circuit_free(circuit);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* ---- what ablations cost in pretraining loss */

static double text_loss(sn_model *model, const sn_means *means, const sn_circuit *circuit, int ablate,
                        const sn_corpus *corpus)
{
    double loss = -1;
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "tokens", 500));
    ok(sn_options_set(options, context, "window", 13));
    ok(sn_circuit_text_loss(&loss, context, model, means, circuit, ablate, corpus, options));
    sn_options_free(options);
    return loss;
}

/* The full model's from a plain session over the same windows; a circuit's from its folded model. */
START_TEST(text_losses_are_those_of_plain_sessions)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_means *means = random_means(model, 3);
    sn_corpus *corpus = planted_corpus(context);
    int32_t tokens[39 * 13], targets[39 * 13];
    size_t lengths[39], offsets[2] = {0}, counted = 0;
    double sum = 0, loss;
    sn_session *session;
    ok(sn_session_create(&session, context, model, NULL));
    for (uint64_t index = 0; index < 2; index++) { /* 39 windows hold fewer than 500 tokens, 78 more */
        ok(sn_corpus_sample(tokens, targets, lengths, corpus, context, 39, 13, 0, index));
        for (size_t i = 0; i < 39; i++) {
            size_t n = 0;
            offsets[1] = lengths[i];
            ok(sn_session_forward(session, tokens + 13 * i, offsets, 1));
            ok(sn_session_loss(&loss, session, targets + 13 * i));
            for (size_t t = 0; t < lengths[i]; t++)
                n += targets[13 * i + t] >= 0;
            sum += loss * (double)n;
            counted += n;
        }
        ck_assert(index == 0 ? counted < 500 : counted >= 500);
    }
    sn_session_free(session);
    double full = text_loss(model, NULL, NULL, SN_ABLATE_NOTHING, corpus);
    ck_assert_double_eq_tol(full, sum / (double)counted, 1e-5);
    for (int cut = 0; cut < 2; cut++) {
        sn_circuit *circuit = random_circuit(model, 60, 9, cut);
        sn_model *folded = fold(circuit, means, "exact");
        double kept = text_loss(model, means, circuit, SN_ABLATE_REST, corpus);
        double alone = text_loss(folded, NULL, NULL, SN_ABLATE_NOTHING, corpus);
        ck_assert_double_eq_tol(kept, alone, 1e-4);
        ck_assert_double_gt(fabs(kept - full), 1e-2);
        sn_model_free(folded);
        sn_circuit_free(circuit);
    }
    sn_corpus_free(corpus);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* An empty circuit's rest is everything, and without it nothing is missing. */
START_TEST(text_losses_of_the_two_ends)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_means *means = random_means(model, 3);
    sn_corpus *corpus = planted_corpus(context);
    sn_circuit *circuit = random_circuit(model, 0, 1, 0);
    double full = text_loss(model, NULL, NULL, SN_ABLATE_NOTHING, corpus);
    double none = text_loss(model, means, NULL, SN_ABLATE_EVERYTHING, corpus);
    ck_assert_double_gt(fabs(full - none), 1e-2);
    ck_assert_double_eq(text_loss(model, means, circuit, SN_ABLATE_REST, corpus), none);
    ck_assert_double_eq(text_loss(model, means, circuit, SN_ABLATE_CIRCUIT, corpus), full);
    double loss;
    ck_assert_int_eq(
        sn_circuit_text_loss(&loss, context, model, means, NULL, SN_ABLATE_REST, corpus, NULL),
        SN_ERROR_ARGUMENT);
    ck_assert_int_eq(
        sn_circuit_text_loss(&loss, context, model, NULL, circuit, SN_ABLATE_REST, corpus, NULL),
        SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_text_loss(&loss, context, model, means, circuit, 4, corpus, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "ablate is 4"));
    sn_circuit_free(circuit);
    sn_corpus_free(corpus);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

struct text_payload {
    sn_model *model;
    const sn_means *means;
    const sn_circuit *circuit;
    const sn_corpus *corpus;
};

static int measure_text(sn_context *own, void *payload)
{
    const struct text_payload *p = payload;
    sn_options *options = NULL;
    double loss;
    int status = sn_options_create(&options, own);
    if (status == SN_OK)
        status = sn_options_set(options, own, "tokens", 50);
    if (status == SN_OK)
        status = sn_circuit_text_loss(&loss, own, p->model, p->means, p->circuit, SN_ABLATE_REST,
                                      p->corpus, options);
    sn_options_free(options);
    return status;
}

START_TEST(text_losses_survive_refused_allocations)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_means *means = random_means(model, 3);
    sn_corpus *corpus = planted_corpus(context);
    sn_circuit *circuit = random_circuit(model, 50, 9, 1);
    struct text_payload payload = {model, means, circuit, corpus};
    ck_assert_uint_gt(oom_loop(measure_text, &payload, 1, 0), 50);
    sn_circuit_free(circuit);
    sn_corpus_free(corpus);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

Suite *fold_suite(void);
Suite *fold_suite(void)
{
    const TTest *const tests[] = {
        what_is_left_are_the_edges,
        without_inner_topk_no_competitor_is_left,
        a_folded_model_saves_loads_and_generates,
        held_nodes_take_no_gradient,
        a_folded_model_folds_again,
        bad_arguments_are_named,
        memory_may_run_out_anywhere,
        text_losses_are_those_of_plain_sessions,
        text_losses_of_the_two_ends,
        text_losses_survive_refused_allocations,
    };
    Suite *suite = suite_create("fold");
    add_cases(suite, "folding", tests, sizeof tests / sizeof *tests);
    TCase *equal = tcase_create("equal");
    tcase_add_checked_fixture(equal, set_up, tear_down);
    tcase_add_loop_test(equal, folded_models_answer_as_their_circuits, 0, 8);
    suite_add_tcase(suite, equal);
    return suite;
}
