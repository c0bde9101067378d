/* Sizes at their limits: models of no layer, one channel, one head of one, one token, a vocabulary of one; batches,
 * prompts and texts of none, of one, and of one too many. What a model can do is right by an independent
 * computation (double_model.h), what it cannot is refused by name. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "double_model.h"
#include "fixture.h"

static void ok(int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

static void refused(int status, int expected, const char *part)
{
    ck_assert_msg(status == expected, "%s: %s", sn_status_string(status), sn_context_message(context));
    assert_message(part);
}

#define SHAPE(block, vocabulary, layers, heads, d_head, width, neurons, more)                           \
    "{\"block_size\":" #block ",\"vocab_size\":" #vocabulary ",\"n_layer\":" #layers                    \
    ",\"n_head\":" #heads ",\"d_head\":" #d_head ",\"d_model\":" #width ",\"d_mlp\":" #neurons          \
    ",\"rms_norm\":true" more "}"
#define ALL_PLACES                                                                                      \
    ",\"afrac\":0.5,\"afrac_loctypes\":\"attn_in,attn_q,attn_k,attn_v,attn_out,mlp_in,mlp_neuron,mlp_"  \
    "out,"                                                                                              \
    "resid_post_attn,resid_post_mlp\""
#define TABLE ",\"enable_bigram_table\":true,\"learnable_bigram_table\":true"

static const char *const shapes[] = {
    SHAPE(12, 9, 0, 1, 4, 6, 5, ""),
    SHAPE(12, 9, 0, 2, 3, 6, 5, TABLE ",\"tied_unembed\":false,\"d_pos_emb\":2"),
    SHAPE(12, 9, 0, 1, 1, 6, 5, ALL_PLACES),
    SHAPE(12, 1, 1, 1, 4, 6, 5, TABLE),
    SHAPE(12, 1, 0, 1, 1, 1, 1, ",\"tied_unembed\":false"),
    SHAPE(12, 9, 2, 1, 1, 1, 1, ",\"sink\":true"),
    SHAPE(12, 9, 1, 1, 1, 1, 1, ALL_PLACES), /* AbsTopK of nothing: everything is 0 */
    SHAPE(1, 9, 1, 2, 3, 6, 5, ",\"d_pos_emb\":1"),
    SHAPE(1, 1, 1, 1, 1, 1, 1, ""),
    SHAPE(12, 2, 1, 3, 1, 3, 1, ALL_PLACES ",\"d_pos_emb\":1,\"residual_activation_type\":\"relu\""),
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

static sn_model *open_model(size_t shape)
{
    sn_model *model;
    ok(sn_model_create(&model, context, shapes[shape], strlen(shapes[shape]), 3));
    for (size_t i = 0; i < model->n_parameters; i++) { /* weights of the order of 1 */
        struct parameter *p = &model->parameters[i];
        for (size_t j = 0; p->matrix && p->role != ROLE_POSITION && j < p->matrix->n_values; j++)
            p->matrix->values[j] *= 30;
        if (p->matrix)
            ok(matrix_values_changed(p->matrix, context));
    }
    return model;
}

static size_t number(const sn_model *model, const char *key)
{
    return (size_t)sn_model_config_number(model, key);
}

static void fill_tokens(int32_t *tokens, size_t n, const sn_model *model)
{
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)((5 * i + i * i / 3) % number(model, "vocab_size"));
}

/* ------------------------------------------------------------------------------- running */

static double expected_loss(const sn_model *model, const int32_t *tokens, const size_t *offsets,
                            size_t n_sequences, const int32_t *targets)
{
    struct double_model oracle;
    struct double_choices choices;
    double_model_create(&oracle, model);
    double loss = double_model_loss(&oracle, tokens, offsets, n_sequences, targets, &choices);
    double_model_free(&oracle);
    return loss;
}

START_TEST(forward_and_backward)
{
    sn_model *model = open_model((size_t)_i);
    size_t longest = number(model, "block_size"), one = longest > 1 ? longest - 1 : 1;
    size_t offsets[] = {0, 1, 1 + longest, 1 + longest + one}, none[] = {0}, needed;
    int32_t tokens[40], targets[40];
    double loss;
    sn_session *session;
    sn_options *options;
    fill_tokens(tokens, 40, model);
    fill_tokens(targets, 40, model);
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "gradients", "dense"));
    ok(sn_session_create(&session, context, model, options));
    refused(sn_session_forward(session, tokens, none, 0), SN_ERROR_ARGUMENT, "n_sequences is 0");
    for (size_t n = 1; n <= 3; n++) { /* one token; it and as many as may be; and a last sequence */
        size_t n_tokens = offsets[n];
        ok(sn_session_forward(session, tokens, offsets, n));
        ok(sn_session_loss(&loss, session, targets));
        ck_assert_double_eq_tol(loss, expected_loss(model, tokens, offsets, n, targets),
                                2e-6 * (1 + loss));
        ok(sn_session_logits(NULL, 0, &needed, session));
        ck_assert_uint_eq(needed, n_tokens * number(model, "vocab_size"));
        ok(sn_session_zero_gradients(session));
        ok(sn_session_backward(session, targets));
    }
    float *gradient = malloc(1000 * sizeof *gradient);
    for (size_t i = 0; i < sn_model_tensor_count(model); i++)
        if (model->parameters[i].trainable) {
            ok(sn_session_gradient(gradient, 1000, &needed, session, sn_model_tensor_name(model, i)));
            for (size_t j = 0; j < needed; j++)
                ck_assert(isfinite(gradient[j]));
            if (number(model, "vocab_size") ==
                1) /* nothing else could come: the loss is 0 for any weights */
                for (size_t j = 0; j < needed; j++)
                    ck_assert_float_eq(gradient[j], 0);
        }
    free(gradient);
    offsets[1] = longest + 1;
    char part[64];
    snprintf(part, sizeof part, "has %zu tokens; block_size is %zu", longest + 1, longest);
    refused(sn_session_forward(session, tokens, offsets, 1), SN_ERROR_ARGUMENT, part);
    sn_options_free(options);
    sn_session_free(session);
    sn_model_free(model);
}
END_TEST

/* As forward, token by token, up to block_size and no further. */
START_TEST(generation)
{
    sn_model *model = open_model((size_t)_i);
    size_t longest = number(model, "block_size"), vocabulary = number(model, "vocab_size"), needed;
    int32_t tokens[12], token;
    float one[9], all[12 * 9];
    sn_generator *generator;
    sn_session *session;
    ok(sn_generator_create(&generator, context, model, NULL));
    ok(sn_session_create(&session, context, model, NULL));
    refused(sn_generator_next(&token, generator), SN_ERROR_STATE, "");
    tokens[0] = 0;
    ok(sn_generator_append(generator, tokens, 1));
    for (size_t n = 1; n < longest; n++) {
        ok(sn_generator_next(&tokens[n], generator));
        ck_assert(tokens[n] >= 0 && (size_t)tokens[n] < vocabulary);
    }
    ok(sn_generator_logits(one, 9, &needed, generator));
    ok(sn_session_forward(session, tokens, (size_t[]){0, longest}, 1));
    ok(sn_session_logits(all, 12 * 9, &needed, session));
    for (size_t i = 0; i < vocabulary; i++)
        ck_assert_float_eq_tol(one[i], all[(longest - 1) * vocabulary + i], 1e-5f);
    refused(sn_generator_next(&token, generator), SN_ERROR_STATE, "block_size");
    ck_assert_uint_eq(sn_generator_count(generator), longest);
    sn_session_free(session);
    sn_generator_free(generator);
    sn_model_free(model);
}
END_TEST

START_TEST(files)
{
    sn_model *model = open_model((size_t)_i), *loaded[2];
    float before[1000], after[1000];
    size_t n, needed;
    ok(sn_model_save(model, context, temporary_path(&temporary, "native")));
    ok(sn_model_load(&loaded[0], context, temporary.path));
    ok(sn_model_export(model, context, temporary_path(&temporary, "folder")));
    ok(sn_model_load(&loaded[1], context, temporary.path));
    char path[512];
    static const char *const made[] = {"model.safetensors", "config.json", ""};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", temporary.path, made[i]);
        ck_assert_int_eq(remove(path), 0);
    }
    for (size_t k = 0; k < 2; k++) {
        ck_assert_str_eq(sn_model_config_json(model), sn_model_config_json(loaded[k]));
        for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
            const char *name = sn_model_tensor_name(model, i);
            ok(sn_model_tensor(before, 1000, &n, context, model, name));
            ok(sn_model_tensor(after, 1000, &needed, context, loaded[k], name));
            ck_assert(n == needed && memcmp(before, after, n * sizeof *before) == 0);
        }
        sn_model_free(loaded[k]);
    }
    sn_model_free(model);
}
END_TEST

/* ------------------------------------------------------------------------------- training */

static sn_corpus *open_corpus(const sn_model *model, size_t n_tokens)
{
    int32_t tokens[200];
    sn_corpus *corpus;
    fill_tokens(tokens, n_tokens, model);
    ok(sn_corpus_create(&corpus, context));
    ok(sn_corpus_add_tokens(corpus, context, tokens, n_tokens));
    return corpus;
}

static sn_trainer *open_trainer(const sn_model *model, const char *gradient)
{
    sn_trainer *trainer;
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "steps", 12));
    ok(sn_options_set(options, context, "batch", 3));
    ok(sn_options_set(options, context, "density", 0.4));
    ok(sn_options_set(options, context, "refresh_interval", 3));
    ok(sn_options_set_text(options, context, "gradient", gradient));
    ok(sn_trainer_create(&trainer, context, model, options));
    sn_options_free(options);
    return trainer;
}

static void train(const sn_model *model, const char *gradient)
{
    sn_corpus *corpus = open_corpus(model, 200);
    sn_trainer *trainer = open_trainer(model, gradient), *resumed;
    sn_model *trained;
    double loss, again;
    ok(sn_trainer_add_corpus(trainer, corpus, 1, 0));
    ok(sn_trainer_run(trainer, 5));
    ok(sn_trainer_save(trainer, temporary_path(&temporary, "state")));
    ok(sn_trainer_run(trainer, 0));
    ok(sn_trainer_validate(&loss, trainer, corpus, 4));
    ck_assert(isfinite(loss) && (number(model, "vocab_size") > 1 ? loss > 0 : loss == 0));
    static const char *const statistics[] = {"loss",       "density",      "nonzeros",
                                             "parameters", "dead_neurons", "gradient_rms"};
    for (size_t i = 0; i < sizeof statistics / sizeof *statistics; i++) {
        ok(sn_trainer_statistic(&again, trainer, statistics[i]));
        ck_assert_msg(isfinite(again), "%s is %g", statistics[i], again);
    }
    ok(sn_trainer_snapshot(&trained, trainer));
    ok(sn_trainer_load(&resumed, context, temporary.path));
    ok(sn_trainer_add_corpus(resumed, corpus, 1, 0));
    ok(sn_trainer_run(resumed, 0));
    ok(sn_trainer_validate(&again, resumed, corpus, 4));
    ck_assert(loss == again);
    sn_model_free(trained);
    sn_trainer_free(resumed);
    sn_trainer_free(trainer);
    sn_corpus_free(corpus);
}

START_TEST(training)
{
    sn_model *model = open_model((size_t)_i);
    train(model, "dense");
    train(model, "support");
    sn_model_free(model);
}
END_TEST

START_TEST(corpora_of_next_to_nothing)
{
    sn_model *model = open_model(0);
    sn_corpus *corpus, *validation, *one = open_corpus(model, 1), *two = open_corpus(model, 2);
    sn_trainer *trainer = open_trainer(model, "dense");
    sn_tokenizer *tokenizer;
    int32_t tokens[4], targets[4];
    size_t lengths[1];
    double loss;
    ok(sn_corpus_create(&corpus, context));
    refused(sn_trainer_step(&loss, trainer), SN_ERROR_STATE, "no corpus");
    refused(sn_tokenizer_train(&tokenizer, context, corpus, 300, NULL), SN_ERROR_ARGUMENT, "");
    refused(sn_corpus_split(&validation, corpus, context, 0.5, 1), SN_ERROR_ARGUMENT, "");
    ck_assert_int_ne(sn_corpus_sample(tokens, targets, lengths, corpus, context, 1, 4, 0, 0), SN_OK);
    for (size_t i = 0; i < 3; i++) { /* a corpus is lent: what it holds matters when it is drawn from */
        sn_trainer *other = open_trainer(model, "dense");
        ok(sn_trainer_add_corpus(other, i == 0 ? corpus : i == 1 ? one : two, 1, 0));
        if (i == 2)
            ok(sn_trainer_step(&loss, other));
        else
            refused(sn_trainer_step(&loss, other), i ? SN_ERROR_ARGUMENT : SN_ERROR_STATE,
                    i ? "2 tokens" : "empty");
        sn_trainer_free(other);
    }
    ck_assert(isfinite(loss));
    sn_trainer_free(trainer);
    sn_corpus_free(two);
    sn_corpus_free(one);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

/* ------------------------------------------------------------------------------- circuits */

/* Prompts of one token where the model has room for no more. */
static sn_task *open_task(const sn_model *model, size_t n_pairs)
{
    sn_task *task;
    ok(sn_task_create(&task, context, "task"));
    for (size_t i = 0; i < n_pairs; i++) {
        int32_t a[2] = {0, 1}, b[2] = {1, 1};
        ok(sn_task_add_pair(task, context, a, 1, b, number(model, "block_size") > 1 ? 1 + i % 2 : 1, 0,
                            1));
    }
    return task;
}

static void write_reports(const sn_circuit *circuit, const sn_task *task)
{
    sn_page page = {.struct_size = sizeof page, .task = task};
    sn_circuit *again;
    ok(sn_report_write_dot(context, circuit, temporary_path(&temporary, "dot")));
    ok(sn_report_write_graphml(context, circuit, temporary_path(&temporary, "graphml")));
    ok(sn_report_write_svg(context, circuit, temporary_path(&temporary, "svg")));
    ok(sn_report_write_html(context, circuit, &page, temporary_path(&temporary, "html")));
    ok(sn_report_write_json(context, circuit, temporary_path(&temporary, "json")));
    ok(sn_circuit_load(&again, context, sn_circuit_model(circuit), temporary.path));
    ck_assert_uint_eq(sn_circuit_node_count(again), sn_circuit_node_count(circuit));
    ck_assert_uint_eq(sn_circuit_edge_count(again), sn_circuit_edge_count(circuit));
    sn_circuit_free(again);
}

/* A circuit of every node, made by hand. */
static sn_circuit *whole_circuit(sn_model *model)
{
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "task"));
    for (size_t site = 0; site < site_count(&model->config); site++)
        for (size_t c = 0; site_has_nodes(&model->config, site) && c < site_width(&model->config, site);
             c++) {
            char name[96];
            node_name(name, sizeof name, model, site, c);
            ok(sn_circuit_add_node(circuit, context, name));
        }
    return circuit;
}

static double raw_loss(sn_model *model, const sn_means *means, const sn_circuit *circuit, int ablate,
                       const sn_task *task)
{
    sn_evaluation result = {.struct_size = sizeof result};
    ok(sn_evaluate(&result, context, model, means, circuit, ablate, task, task));
    ck_assert(isfinite(result.loss) && isfinite(result.raw_loss));
    return result.raw_loss;
}

static void check_circuit(sn_model *model, const sn_means *means, const sn_corpus *corpus,
                          const sn_task *task)
{
    sn_circuit *circuit = whole_circuit(model);
    sn_model *folded;
    double full = raw_loss(model, NULL, NULL, SN_ABLATE_NOTHING, task), text, ablated;
    ck_assert_double_eq_tol(raw_loss(model, means, circuit, SN_ABLATE_REST, task), full,
                            1e-5 * (1 + full));
    raw_loss(model, means, circuit, SN_ABLATE_CIRCUIT, task);
    double nothing = raw_loss(model, means, NULL, SN_ABLATE_EVERYTHING, task);
    if (number(model, "n_layer") == 0) /* there is nothing to ablate */
        ck_assert_double_eq_tol(nothing, full, 1e-6);
    ok(sn_circuit_measure_deltas(circuit, context, means, task, task));
    ok(sn_circuit_trace(circuit, context, means, NULL, task, NULL));
    write_reports(circuit, task);
    ok(sn_circuit_text_loss(&text, context, model, NULL, NULL, SN_ABLATE_NOTHING, corpus, NULL));
    ok(sn_circuit_text_loss(&ablated, context, model, means, circuit, SN_ABLATE_REST, corpus, NULL));
    ck_assert_double_eq_tol(text, ablated, 1e-5 * (1 + text));
    ok(sn_circuit_fold(&folded, context, circuit, means, NULL));
    ck_assert_double_eq_tol(raw_loss(folded, NULL, NULL, SN_ABLATE_NOTHING, task), full,
                            1e-5 * (1 + full));
    sn_model_free(folded);
    sn_circuit_free(circuit);
}

static void extract(sn_model *model, const sn_means *means, const sn_task *task, const char *method)
{
    sn_circuit *circuit = NULL;
    sn_options *options;
    size_t bytes;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "steps", 5));
    ok(sn_options_set(options, context, "target_loss", 0.6));
    ok(sn_options_set_text(options, context, "method", method));
    ok(sn_circuit_estimate_memory(&bytes, context, model, means, task, NULL, options));
    int status = sn_circuit_extract(&circuit, context, model, means, task, NULL, options);
    ck_assert_msg(status == SN_OK || status == SN_ERROR_TARGET, "%s: %s", sn_status_string(status),
                  sn_context_message(context));
    if (status == SN_OK)
        write_reports(circuit, task);
    sn_circuit_free(circuit);
    sn_options_free(options);
}

/* A vocabulary of one has no two targets: a task for it cannot be run. */
START_TEST(circuits)
{
    sn_model *model = open_model((size_t)_i);
    sn_corpus *corpus = open_corpus(model, 200);
    sn_task *task = open_task(model, 1 + (size_t)_i % 3), *nothing = open_task(model, 0);
    sn_means *means;
    sn_evaluation result = {.struct_size = sizeof result};
    ok(sn_means_create(&means, context, model, corpus, NULL));
    refused(sn_evaluate(&result, context, model, NULL, NULL, SN_ABLATE_NOTHING, nothing, nothing),
            SN_ERROR_ARGUMENT, "pair");
    if (number(model, "vocab_size") == 1) {
        refused(sn_evaluate(&result, context, model, NULL, NULL, SN_ABLATE_NOTHING, task, task),
                SN_ERROR_ARGUMENT, "1");
    } else {
        check_circuit(model, means, corpus, task);
        extract(model, means, task, "nodes");
        extract(model, means, task, "edges");
    }
    sn_means_free(means);
    sn_task_free(nothing);
    sn_task_free(task);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

Suite *limits_suite(void);
Suite *limits_suite(void)
{
    Suite *suite = suite_create("limits");
    TCase *group = tcase_create("sizes");
    tcase_add_checked_fixture(group, fixture_setup, fixture_teardown);
    tcase_add_loop_test(group, forward_and_backward, 0, N_SHAPES);
    tcase_add_loop_test(group, generation, 0, N_SHAPES);
    tcase_add_loop_test(group, files, 0, N_SHAPES);
    tcase_add_loop_test(group, training, 0, N_SHAPES);
    tcase_add_loop_test(group, circuits, 0, N_SHAPES);
    tcase_add_test(group, corpora_of_next_to_nothing);
    suite_add_tcase(suite, group);
    return suite;
}
