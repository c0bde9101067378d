/* Tracing: planted paths come first, contributions add up to the margin, attention routes are right. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "circuit/flow.h"
#include "circuit/judge.h"
#include "planted.h"

#define ARROW " \xe2\x86\x92 "
#define MINUS " \xe2\x88\x92 "

static sn_context *context;

static void set_up(void)
{
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
}

static void tear_down(void)
{
    sn_context_free(context);
}

static void ok(int status)
{
    planted_ok(context, status);
}

static sn_circuit *planted_circuit(sn_model *model)
{
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "planted"));
    ok(sn_circuit_add_node(circuit, context, "0.attn.act_in.0"));
    ok(sn_circuit_add_node(circuit, context, "0.attn.v.head0.ch0"));
    ok(sn_circuit_add_node(circuit, context, "0.attn.resid_delta.2"));
    return circuit;
}

static void trace(sn_circuit *circuit, const sn_means *means, const sn_tokenizer *tokenizer,
                  const sn_task *task, double paths, double max_length)
{
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "paths", paths));
    ok(sn_options_set(options, context, "max_length", max_length));
    ok(sn_circuit_trace(circuit, context, means, tokenizer, task, options));
    sn_options_free(options);
}

/* Mean over prompts of class x difference of logits, the others at their means. */
static double margin_of(sn_model *model, const sn_means *means, const sn_circuit *circuit,
                        const sn_task *task)
{
    struct judge judge;
    struct measurement measured[JUDGE_SETS];
    double sum = 0;
    ok(judge_open(&judge, context, model, means, task, task, JUDGE_NODES));
    ok(judge_measure(measured, &judge, circuit->kept, SN_ABLATE_REST, ALL_PAIRS));
    size_t n = 2 * sn_task_count(task);
    for (size_t i = 0; i < n; i++)
        sum += (i % 2 ? -1 : 1) * judge.differences[JUDGE_TASK][i] / (double)n;
    judge_close(&judge);
    return sum;
}

START_TEST(planted_path_comes_first)
{
    sn_model *model = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 12, 5);
    sn_circuit *circuit = planted_circuit(model);
    trace(circuit, means, NULL, task, 10, 40);
    ck_assert_uint_eq(sn_circuit_path_count(circuit), 2);
    double sum = 0;
    int seen[3] = {0};
    for (size_t i = 0; i < 2; i++) {
        static const char rest[] = ARROW "0.attn.act_in.0" ARROW "0.attn.v.head0.ch0" ARROW
                                         "0.attn.resid_delta.2" ARROW "logit #4" MINUS "logit #5";
        double weight, contribution;
        const char *text = sn_circuit_path(&weight, &contribution, circuit, i);
        int mark;
        ck_assert_int_eq(sscanf(text, "token #%d", &mark), 1);
        ck_assert(mark == 1 || mark == 2);
        seen[mark]++;
        ck_assert_str_eq(text + strlen("token #1"), rest);
        /* embedding +-1, c_attn 1, c_proj 2.5, unembedding 2 - -2; all norm gains 1 */
        ck_assert_double_eq_tol(weight, mark == 1 ? 10 : -10, 1e-5);
        ck_assert_double_gt(contribution, 0);
        sum += contribution;
    }
    ck_assert(seen[1] == 1 && seen[2] == 1);
    ck_assert_double_eq_tol(sum, margin_of(model, means, circuit, task), 1e-4);
    ck_assert_ptr_null(sn_circuit_path(NULL, NULL, circuit, 2));
    /* Another set of nodes has other paths. */
    ok(sn_circuit_remove_node(circuit, context, "0.attn.v.head0.ch0"));
    ck_assert_uint_eq(sn_circuit_path_count(circuit), 0);
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(limits_are_kept)
{
    sn_model *model = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 12, 5);
    sn_circuit *circuit = planted_circuit(model);
    sn_options *options;
    trace(circuit, means, NULL, task, 1, 40);
    ck_assert_uint_eq(sn_circuit_path_count(circuit), 1);
    trace(circuit, means, NULL, task, 10, 3);
    ck_assert_uint_eq(sn_circuit_path_count(circuit), 2);
    trace(circuit, means, NULL, task, 10, 2); /* the path has three nodes */
    ck_assert_uint_eq(sn_circuit_path_count(circuit), 0);
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "paths", 0));
    ck_assert_int_eq(sn_circuit_trace(circuit, context, means, NULL, task, options), SN_ERROR_ARGUMENT);
    sn_options_free(options);
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(tokens_are_shown_as_text)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_circuit *circuit = planted_circuit(model);
    sn_task *task = planted_task(context, 3, 5);
    sn_corpus *corpus;
    sn_tokenizer *tokenizer;
    size_t length;
    ok(sn_corpus_create(&corpus, context));
    ok(sn_corpus_add_text(corpus, context, "a b", 3));
    ok(sn_tokenizer_train(&tokenizer, context, corpus, 256, NULL));
    trace(circuit, means, tokenizer, task, 10, 40);
    /* The first ids are the printable bytes from '!' on. */
    ck_assert_int_eq(sn_tokenizer_token(&length, tokenizer, 1)[0], '"');
    const char *first = sn_circuit_path(NULL, NULL, circuit, 0);
    ck_assert(strncmp(first, "token \"" ARROW, 9) == 0 || strncmp(first, "token #" ARROW, 9) == 0);
    ck_assert_ptr_nonnull(strstr(first, "logit %" MINUS "logit &"));
    sn_tokenizer_free(tokenizer);
    sn_corpus_free(corpus);
    sn_task_free(task);
    sn_circuit_free(circuit);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* ---- additivity: along value routes the paths of a whole model add up to its margin */

static const char *const additive_configs[] = {
    "{\"block_size\": 9, \"vocab_size\": 5, \"n_layer\": 1, \"n_head\": 1, \"d_head\": 2, \"d_model\": "
    "3,"
    " \"d_mlp\": 3, \"rms_norm\": true, \"tied_unembed\": false, \"sink\": true,"
    " \"enable_bigram_table\": true, \"learnable_bigram_table\": true}",
    "{\"block_size\": 9, \"vocab_size\": 5, \"n_layer\": 1, \"n_head\": 1, \"d_head\": 2, \"d_model\": "
    "3,"
    " \"d_mlp\": 4, \"rms_norm\": true, \"tied_unembed\": true, \"afrac\": 0.7, \"d_pos_emb\": 2,"
    " \"residual_activation_type\": \"relu\", \"activation_type\": \"relu\", \"afrac_loctypes\":"
    " \"attn_in,attn_q,attn_k,attn_v,attn_out,mlp_in,mlp_neuron,mlp_out,resid_post_attn,resid_post_"
    "mlp\"}",
    "{\"block_size\": 9, \"vocab_size\": 5, \"n_layer\": 1, \"n_head\": 1, \"d_head\": 2, \"d_model\": "
    "3,"
    " \"d_mlp\": 3, \"rms_norm\": false, \"ln_bias\": false, \"tied_unembed\": false}",
};

/* Makes a matrix behind a norm blind to what all channels have in common: each row times the gains adds up to 0. */
static void ignore_mean(const sn_model *model, int matrix, int norm)
{
    const float *gain = model->parameters[norm].vector;
    struct sn_matrix *of = model->parameters[matrix].matrix;
    for (size_t r = 0; r < of->rows; r++) {
        float *row = of->values + r * of->cols, sum = 0, squares = 0;
        for (size_t c = 0; c < of->cols; c++) {
            sum += row[c] * gain[c];
            squares += gain[c] * gain[c];
        }
        for (size_t c = 0; c < of->cols; c++)
            row[c] -= sum / squares * gain[c];
    }
}

/* The mean that LayerNorm subtracts is constant to a trace, so paths add up where nothing reads it. */
static void ignore_means(const sn_model *model)
{
    ignore_mean(model, model->layers[0].c_attn, model->layers[0].ln_1);
    ignore_mean(model, model->layers[0].c_fc, model->layers[0].ln_2);
    ignore_mean(model, model->lm_head, model->ln_f);
}

static sn_model *rough_model(const char *config)
{
    sn_model *model;
    unsigned seed = 4;
    ok(sn_model_create(&model, context, config, strlen(config), 5));
    for (size_t i = 0; i < model->n_parameters; i++) {
        struct parameter *parameter = &model->parameters[i];
        float *values = parameter_values(parameter);
        for (size_t j = 0; j < parameter_size(parameter); j++)
            if (parameter->role != ROLE_BIAS && parameter->role != ROLE_LOGIT_BIAS)
                values[j] = (float)((seed = seed * 1103515245u + 12345u) / 65536 % 2000) * 0.001f - 0.9f;
    }
    if (!model->config.rms_norm)
        ignore_means(model);
    for (size_t i = 0; i < model->n_parameters; i++)
        if (model->parameters[i].matrix)
            ok(matrix_values_changed(model->parameters[i].matrix, context));
    return model;
}

static sn_task *short_task(size_t n_pairs)
{
    sn_task *task;
    unsigned seed = 40;
    ok(sn_task_create(&task, context, "short"));
    for (size_t i = 0; i < n_pairs; i++) {
        int32_t prompts[2][6];
        for (int j = 0; j < 2; j++)
            for (int t = 0; t < 6; t++)
                prompts[j][t] = (int32_t)((seed = seed * 1103515245u + 12345u) / 65536 % 5);
        ok(sn_task_add_pair(task, context, prompts[0], 4 + i % 3, prompts[1], 6 - i % 2, 1, 3));
    }
    return task;
}

START_TEST(contributions_add_up_to_the_margin)
{
    sn_model *model = rough_model(additive_configs[_i]);
    sn_means *means;
    sn_task *task = short_task(6);
    sn_circuit *circuit;
    ok(means_create_values(&means, context, model, NULL));
    ok(sn_circuit_create(&circuit, context, model, NULL));
    unsigned char *all = malloc(circuit->layout.n_nodes);
    memset(all, 1, circuit->layout.n_nodes);
    ok(circuit_set_nodes(circuit, context, all));
    trace(circuit, means, NULL, task, 10000, 40);
    double sum = 0, largest = 0;
    size_t n_scores = 0, n = sn_circuit_path_count(circuit);
    ck_assert_uint_gt(n, 50);
    ck_assert_uint_lt(n, 10000); /* otherwise some are missing */
    for (size_t i = 0; i < n; i++) {
        double contribution, before;
        const char *text = sn_circuit_path(NULL, &contribution, circuit, i);
        if (i && sn_circuit_path(NULL, &before, circuit, i - 1))
            ck_assert_double_ge(fabs(before), fabs(contribution));
        if (strstr(text, ".q.") || strstr(text, ".k.")) {
            n_scores++; /* these explain where values are read, not what is read */
            continue;
        }
        sum += contribution;
        largest = fmax(largest, fabs(contribution));
    }
    double margin = margin_of(model, means, circuit, task);
    ck_assert_uint_gt(n_scores, 10);
    ck_assert_double_gt(largest, 1e-2);
    ck_assert_msg(fabs(sum - margin) < 1e-3 * largest, "paths add up to %g, the margin is %g", sum,
                  margin);
    free(all);
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* ---- attention */

struct attention_case {
    sn_model *model;
    sn_means *means;
    sn_task *task;
    sn_circuit *circuit;
    struct flow flow;
};

static void open_attention_case(struct attention_case *c)
{
    c->model = rough_model(additive_configs[0]);
    c->task = short_task(3);
    ok(means_create_values(&c->means, context, c->model, NULL));
    ok(sn_circuit_create(&c->circuit, context, c->model, NULL));
    unsigned char *all = malloc(c->circuit->layout.n_nodes);
    memset(all, 1, c->circuit->layout.n_nodes);
    ok(circuit_set_nodes(c->circuit, context, all));
    ok(flow_open(&c->flow, context, c->circuit, c->means, c->task, 3));
    free(all);
}

static void close_attention_case(struct attention_case *c)
{
    flow_close(&c->flow);
    sn_circuit_free(c->circuit);
    sn_task_free(c->task);
    sn_means_free(c->means);
    sn_model_free(c->model);
}

/* Values of channel `channel` of a site of layer 0, all nodes being kept in order. */
static const float *values_of(const struct attention_case *c, enum site_kind kind, size_t channel)
{
    size_t node = node_layout_first(&c->circuit->layout, site_index(0, kind)) + channel;
    return c->flow.values + node * c->flow.n_tokens;
}

START_TEST(patterns_reproduce_attention)
{
    struct attention_case c;
    int status;
    size_t needed;
    float y[64];
    sn_session *session;
    open_attention_case(&c);
    const float *pattern = flow_pattern(&status, &c.flow, 0, 0);
    ok(status);
    ck_assert_ptr_eq(pattern, flow_pattern(&status, &c.flow, 0, 0));
    ok(sn_session_create(&session, context, c.model, NULL));
    ok(sn_session_record(session, "0.attn.y"));
    ok(sn_session_forward(session, c.flow.batch.tokens, c.flow.batch.offsets, c.flow.n_sequences));
    ok(sn_session_activations(y, 64, &needed, session, "0.attn.y"));
    for (size_t i = 0; i < c.flow.n_sequences; i++) {
        size_t first = c.flow.batch.offsets[i], length = c.flow.batch.offsets[i + 1] - first;
        for (size_t t = 0; t < length; t++)
            for (size_t channel = 0; channel < 2; channel++) {
                const float *v = values_of(&c, SITE_ATTN_V, channel);
                double sum = 0;
                for (size_t s = 0; s <= t; s++)
                    sum +=
                        (double)pattern[c.flow.pattern_start[i] + t * length + s] * (double)v[first + s];
                ck_assert_double_eq_tol(sum, (double)y[(first + t) * 2 + channel], 1e-5);
            }
    }
    sn_session_free(session);
    close_attention_case(&c);
}
END_TEST

/* y of the last token of sequence 1 on v channel 1, with q or k of token `at` on channel 0 moved. */
static double moved_attention(const struct attention_case *c, int move_query, size_t at, double by)
{
    size_t first = c->flow.batch.offsets[1], last = c->flow.batch.offsets[2] - 1;
    int sink = c->model->layers[0].sink;
    double sum = exp((double)c->model->parameters[sink].vector[0]), y = 0;
    for (size_t s = first; s <= last; s++) {
        double score = 0;
        for (size_t channel = 0; channel < 2; channel++) {
            double q = (double)values_of(c, SITE_ATTN_Q, channel)[last];
            double k = (double)values_of(c, SITE_ATTN_K, channel)[s];
            q += channel == 0 && move_query && at == last ? by : 0;
            k += channel == 0 && !move_query && at == s ? by : 0;
            score += q * k / sqrt(2);
        }
        sum += exp(score);
        y += exp(score) * (double)values_of(c, SITE_ATTN_V, 1)[s];
    }
    return y / sum;
}

START_TEST(score_routes_are_derivatives)
{
    struct attention_case c;
    int status;
    float dy[64] = {0}, dq[64], dk[64], dv[64];
    open_attention_case(&c);
    const float *pattern = flow_pattern(&status, &c.flow, 0, 0);
    ok(status);
    size_t first = c.flow.batch.offsets[1], last = c.flow.batch.offsets[2] - 1;
    dy[last] = 1;
    const float *v = values_of(&c, SITE_ATTN_V, 1);
    flow_through_query(dq, &c.flow, pattern, dy, v, values_of(&c, SITE_ATTN_K, 0));
    flow_through_key(dk, &c.flow, pattern, dy, v, values_of(&c, SITE_ATTN_Q, 0));
    flow_through_values(dv, &c.flow, pattern, dy);
    double largest = 0;
    for (size_t t = 0; t < c.flow.n_tokens; t++) {
        double step = 1e-5, expected[2] = {0, 0};
        for (int query = 0; query < 2 && t >= first && t <= last; query++)
            expected[query] =
                (moved_attention(&c, query, t, step) - moved_attention(&c, query, t, -step)) /
                (2 * step);
        ck_assert_double_eq_tol((double)dk[t], expected[0], 1e-5);
        ck_assert_double_eq_tol((double)dq[t], expected[1], 1e-5);
        largest = fmax(largest, fmax(fabs(expected[0]), fabs(expected[1])));
        if (t < first || t > last)
            ck_assert_float_eq(dv[t], 0);
    }
    ck_assert_double_gt(largest, 1e-3);
    close_attention_case(&c);
}
END_TEST

START_TEST(an_empty_circuit_has_only_direct_paths)
{
    sn_model *model = rough_model(additive_configs[0]);
    sn_means *means;
    sn_task *task = short_task(4);
    sn_circuit *circuit;
    ok(means_create_values(&means, context, model, NULL));
    ok(sn_circuit_create(&circuit, context, model, NULL));
    trace(circuit, means, NULL, task, 100, 40);
    size_t n = sn_circuit_path_count(circuit), bigram = 0;
    ck_assert_uint_gt(n, 1);
    for (size_t i = 0; i < n; i++) {
        const char *text = sn_circuit_path(NULL, NULL, circuit, i);
        bigram += strstr(text, "bigram table") != NULL;
        ck_assert_msg(strstr(text, "bigram table") || strstr(text, "embedding") ||
                          strncmp(text, "position" ARROW "logit", 17) == 0,
                      "%s", text);
    }
    ck_assert_uint_ge(bigram, 1);
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* Spaces and bytes that a terminal would not show, and pairs whose targets differ. */
START_TEST(odd_tokens_are_shown_too)
{
    static const char config[] =
        "{\"block_size\": 9, \"vocab_size\": 256, \"n_layer\": 1, \"n_head\": 1, \"d_head\": 2, "
        "\"d_model\": 3, \"d_mlp\": 3, \"rms_norm\": true, \"tied_unembed\": false}";
    static const char *const shown[] = {"token \xe2\x90\xa3", "token \\x01", "token \\xff",
                                        "token \\x7f"};
    sn_model *model = rough_model(config);
    sn_means *means;
    sn_circuit *circuit;
    sn_corpus *corpus;
    sn_tokenizer *tokenizer;
    sn_task *task;
    ok(sn_corpus_create(&corpus, context));
    ok(sn_corpus_add_text(corpus, context, "a b", 3));
    ok(sn_tokenizer_train(&tokenizer, context, corpus, 256, NULL));
    ok(means_create_values(&means, context, model, NULL));
    ok(sn_circuit_create(&circuit, context, model, NULL));
    ok(sn_task_create(&task, context, "bytes"));
    const int32_t newline = sn_tokenizer_find(tokenizer, "\n", 1),
                  tab = sn_tokenizer_find(tokenizer, "\t", 1);
    const int32_t a[] = {sn_tokenizer_find(tokenizer, " ", 1), sn_tokenizer_find(tokenizer, "\x01", 1)};
    const int32_t b[] = {sn_tokenizer_find(tokenizer, "\xff", 1),
                         sn_tokenizer_find(tokenizer, "\x7f", 1)};
    for (size_t i = 0; i < 2; i++)
        ok(sn_task_add_pair(task, context, &a[i], 1, &b[i], 1, newline, tab));
    for (int differ = 0; differ < 2; differ++) {
        int seen[4] = {0};
        trace(circuit, means, tokenizer, task, 100, 40);
        ck_assert_uint_ge(sn_circuit_path_count(circuit), 4);
        for (size_t i = 0; i < sn_circuit_path_count(circuit); i++) {
            const char *text = sn_circuit_path(NULL, NULL, circuit, i);
            ck_assert_msg(strstr(text, differ ? "logit of target a" MINUS "logit of target b"
                                              : "logit \\n" MINUS "logit \\t") != NULL,
                          "%s", text);
            for (size_t k = 0; k < 4; k++)
                seen[k] |= strncmp(text, shown[k], strlen(shown[k])) == 0;
        }
        ck_assert(seen[0] && seen[1] && seen[2] && seen[3]);
        if (!differ)
            ok(sn_task_add_pair(task, context, &a[0], 1, &b[0], 1, tab, a[0]));
    }
    sn_task_free(task);
    sn_circuit_free(circuit);
    sn_means_free(means);
    sn_tokenizer_free(tokenizer);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

Suite *trace_suite(void);
Suite *trace_suite(void)
{
    Suite *suite = suite_create("trace");
    TCase *group = tcase_create("trace");
    tcase_add_checked_fixture(group, set_up, tear_down);
    tcase_set_timeout(group, 120);
    tcase_add_test(group, planted_path_comes_first);
    tcase_add_test(group, limits_are_kept);
    tcase_add_test(group, tokens_are_shown_as_text);
    tcase_add_loop_test(group, contributions_add_up_to_the_margin, 0,
                        sizeof additive_configs / sizeof *additive_configs);
    tcase_add_test(group, patterns_reproduce_attention);
    tcase_add_test(group, score_routes_are_derivatives);
    tcase_add_test(group, an_empty_circuit_has_only_direct_paths);
    tcase_add_test(group, odd_tokens_are_shown_too);
    suite_add_tcase(suite, group);
    return suite;
}
