/* Circuits in the form that the authors released: tests/data/released, written with torch by
 * tests/data/make_viz_data.py, which also says what must be found there. */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "oom.h"
#include "sparsenet.h"

#define FOLDER "tests/data/released"

static sn_context *context;
static sn_model *model;
static json_t *expected;

static void ok(int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

static void set_up(void)
{
    ok(sn_context_create(&context, NULL));
    ok(sn_model_load(&model, context, FOLDER));
    expected = json_load_file(FOLDER "/expected.json", 0, NULL);
    ck_assert_ptr_nonnull(expected);
}

static void tear_down(void)
{
    json_decref(expected);
    sn_model_free(model);
    sn_context_free(context);
}

static sn_options *with_targets(double a, double b)
{
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "target_a", a));
    ok(sn_options_set(options, context, "target_b", b));
    return options;
}

static sn_circuit *load(sn_task **task, const char *name, double a, double b)
{
    char path[128];
    sn_circuit *circuit;
    sn_options *options = with_targets(a, b);
    snprintf(path, sizeof path, FOLDER "/%s.pt", name);
    ok(sn_circuit_load_released(&circuit, task, context, model, path, options));
    sn_options_free(options);
    return circuit;
}

static size_t find_node(const sn_circuit *circuit, const char *name)
{
    for (size_t i = 0; i < sn_circuit_node_count(circuit); i++)
        if (strcmp(sn_circuit_node_name(circuit, i), name) == 0)
            return i;
    ck_abort_msg("no node %s", name);
}

/* ---- what is read */

static void check_nodes(const sn_circuit *circuit)
{
    const json_t *nodes = json_object_get(expected, "nodes");
    ck_assert_uint_gt(json_array_size(nodes), 70);
    ck_assert_uint_eq(sn_circuit_node_count(circuit), json_array_size(nodes));
    for (size_t i = 0; i < json_array_size(nodes); i++)
        find_node(circuit, json_string_value(json_array_get(nodes, i)));
}

static void check_edges(const sn_circuit *circuit)
{
    const json_t *edges = json_object_get(expected, "edges");
    ck_assert_uint_gt(json_array_size(edges), 40);
    ck_assert_uint_eq(sn_circuit_edge_count(circuit), json_array_size(edges));
    for (size_t i = 0; i < json_array_size(edges); i++) {
        const json_t *edge = json_array_get(edges, i);
        const size_t source = find_node(circuit, json_string_value(json_array_get(edge, 0)));
        const size_t target = find_node(circuit, json_string_value(json_array_get(edge, 1)));
        int found = 0;
        for (size_t e = 0; e < sn_circuit_edge_count(circuit); e++) {
            size_t from, to;
            float weight;
            ok(sn_circuit_edge(&from, &to, &weight, circuit, e));
            if (from == source && to == target) {
                ck_assert_double_eq((double)weight, json_real_value(json_array_get(edge, 2)));
                found++;
            }
        }
        ck_assert_int_eq(found, 1);
    }
}

static void check_measurements(const sn_circuit *circuit)
{
    const json_t *numbers = json_object_get(expected, "measurements");
    ck_assert_uint_eq(sn_circuit_measurement_count(circuit), json_object_size(numbers));
    for (size_t i = 0; i < sn_circuit_measurement_count(circuit); i++) {
        double value;
        const char *name = sn_circuit_measurement(&value, circuit, i);
        const json_t *number = json_object_get(numbers, name);
        ck_assert_msg(number != NULL, "%s was not expected", name);
        ck_assert_msg(value == json_number_value(number), "%s is %g, not %g", name, value,
                      json_number_value(number));
    }
}

static void check_prompt(const json_t *tokens, const int32_t *prompt, size_t n)
{
    ck_assert_uint_eq(n, json_array_size(tokens));
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(prompt[i], json_integer_value(json_array_get(tokens, i)));
}

static void check_task(const sn_task *task, int32_t target_a, int32_t target_b)
{
    const json_t *prompts = json_object_get(expected, "prompts");
    const size_t n = json_array_size(prompts) / 2;
    ck_assert_uint_eq(n, 4);
    ck_assert_uint_eq(sn_task_count(task), n);
    for (size_t i = 0; i < n; i++) {
        const int32_t *a, *b;
        size_t n_a, n_b;
        int32_t right_a, right_b;
        ok(sn_task_pair(&a, &n_a, &b, &n_b, &right_a, &right_b, task, i));
        check_prompt(json_array_get(prompts, i), a, n_a);
        check_prompt(json_array_get(prompts, n + i), b, n_b);
        ck_assert_int_eq(right_a, target_a);
        ck_assert_int_eq(right_b, target_b);
    }
}

START_TEST(a_released_circuit_is_read_whole)
{
    sn_task *task;
    sn_circuit *circuit = load(&task, "viz_data", 7, 8);
    ck_assert_str_eq(sn_circuit_task(circuit), "released");
    ck_assert_ptr_eq(sn_circuit_model(circuit), model);
    check_nodes(circuit);
    check_edges(circuit);
    check_measurements(circuit);
    check_task(task, 7, 8);
    sn_task_free(task);
    sn_circuit_free(circuit);
}
END_TEST

START_TEST(lists_mean_what_tensors_mean)
{
    sn_circuit *circuit = load(NULL, "lists", -1, -1);
    check_nodes(circuit);
    check_edges(circuit);
    check_measurements(circuit);
    sn_circuit_free(circuit);
}
END_TEST

START_TEST(a_mask_names_channels)
{
    sn_circuit *circuit = load(NULL, "mask", -1, -1);
    ck_assert_uint_eq(sn_circuit_node_count(circuit), 2);
    ck_assert_str_eq(sn_circuit_node_name(circuit, 0), "0.attn.v.head0.ch2");
    ck_assert_str_eq(sn_circuit_node_name(circuit, 1), "0.attn.v.head1.ch3");
    ck_assert_uint_eq(sn_circuit_measurement_count(circuit), 0);
    sn_circuit_free(circuit);
}
END_TEST

START_TEST(the_name_is_the_callers)
{
    sn_options *options = with_targets(1, 2);
    sn_circuit *circuit;
    sn_task *task;
    ok(sn_options_set_text(options, context, "name", "quotes"));
    ok(sn_circuit_load_released(&circuit, &task, context, model, FOLDER "/viz_data.pt", options));
    ck_assert_str_eq(sn_circuit_task(circuit), "quotes");
    ck_assert_str_eq(sn_task_name(task), "quotes");
    sn_task_free(task);
    sn_circuit_free(circuit);
    sn_options_free(options);
}
END_TEST

/* A released circuit and its task go where any other does. */
START_TEST(what_was_read_can_be_measured)
{
    sn_evaluation full = {.struct_size = sizeof full}, nothing = full, circuit_alone = full;
    sn_corpus *corpus;
    sn_means *means;
    sn_task *task;
    sn_circuit *circuit = load(&task, "viz_data", -1, -1);
    int32_t tokens[64];
    for (int i = 0; i < 64; i++)
        tokens[i] = i * 7 % 24;
    ok(sn_corpus_create(&corpus, context));
    ok(sn_corpus_add_tokens(corpus, context, tokens, 64));
    ok(sn_means_create(&means, context, model, corpus, NULL));
    ok(sn_evaluate(&full, context, model, NULL, NULL, SN_ABLATE_NOTHING, task, task));
    ok(sn_evaluate(&circuit_alone, context, model, means, circuit, SN_ABLATE_REST, task, task));
    ok(sn_evaluate(&nothing, context, model, means, NULL, SN_ABLATE_EVERYTHING, task, task));
    ck_assert_uint_eq(full.n_pairs, 4);
    ck_assert_double_ne(circuit_alone.raw_loss, full.raw_loss);
    ck_assert_double_ne(circuit_alone.raw_loss, nothing.raw_loss);
    sn_means_free(means);
    sn_corpus_free(corpus);
    sn_task_free(task);
    sn_circuit_free(circuit);
}
END_TEST

/* ---- targets */

/* The token of the greatest mean log probability over a half of the prompts. */
static int32_t answer_of(size_t half)
{
    const json_t *prompts = json_object_get(expected, "prompts");
    const size_t n = json_array_size(prompts) / 2, n_words = 24;
    double sums[24] = {0};
    sn_session *session;
    ok(sn_session_create(&session, context, model, NULL));
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(prompts, half * n + i);
        const size_t offsets[] = {0, json_array_size(row)};
        int32_t tokens[20];
        float logits[20 * 24];
        double total = 0;
        size_t needed;
        for (size_t t = 0; t < offsets[1]; t++)
            tokens[t] = (int32_t)json_integer_value(json_array_get(row, t));
        ok(sn_session_forward(session, tokens, offsets, 1));
        ok(sn_session_logits(logits, sizeof logits / sizeof *logits, &needed, session));
        const float *last = logits + (offsets[1] - 1) * n_words;
        for (size_t v = 0; v < n_words; v++)
            total += exp((double)last[v]);
        for (size_t v = 0; v < n_words; v++)
            sums[v] += (double)last[v] - log(total);
    }
    sn_session_free(session);
    size_t best = 0;
    for (size_t v = 1; v < n_words; v++)
        best = sums[v] > sums[best] ? v : best;
    return (int32_t)best;
}

START_TEST(targets_left_open_are_the_models_answers)
{
    sn_task *task;
    const int32_t a = answer_of(0), b = answer_of(1);
    ck_assert_int_ne(a, b); /* or the case would show nothing */
    sn_circuit_free(load(&task, "viz_data", -1, -1));
    check_task(task, a, b);
    sn_task_free(task);
    sn_circuit_free(load(&task, "viz_data", -1, (b + 1) % 24 == a ? b + 2 : (b + 1) % 24));
    check_task(task, a, (b + 1) % 24 == a ? b + 2 : (b + 1) % 24);
    sn_task_free(task);
}
END_TEST

START_TEST(one_answer_to_both_halves_is_no_task)
{
    sn_circuit *circuit = (void *)1;
    sn_task *task = (void *)1;
    const char *path = FOLDER "/same_answer.pt";
    ck_assert_int_eq(sn_circuit_load_released(&circuit, &task, context, model, path, NULL),
                     SN_ERROR_TARGET);
    ck_assert_ptr_null(circuit);
    ck_assert_ptr_null(task);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "both halves"));
    sn_circuit_free(load(&task, "same_answer", 3, 4));
    ck_assert_uint_eq(sn_task_count(task), 1);
    sn_task_free(task);
}
END_TEST

/* ---- refusals */

static const struct refusal {
    const char *file, *message;
} refusals[] = {
    {"no_dict", "circuit_data"},
    {"no_circuit", "circuit_data"},
    {"circuit_is_list", "circuit_data: is a list"},
    {"importances_is_list", "importances: is a list"},
    {"unknown_site", "circuit_data: \"2.attn.q\" is no site of this model, which has 2 layers"},
    {"number_as_site", "an integer stands where the name of a site was expected"},
    {"channel_large", "circuit_data[\"0.attn.q\"]: channel 12; 0.attn.q of this model has 12"},
    {"channel_negative", "circuit_data[\"0.mlp.act_in\"]: channel -1"},
    {"channel_twice", "circuit_data[\"0.mlp.act_in\"]: channel 4 stands twice"},
    {"channel_number", "circuit_data[\"0.mlp.act_in\"]: holds a number"},
    {"channels_many", "circuit_data[\"0.attn.v\"]: has 13 entries; there can be at most 12"},
    {"channels_float", "dtype F32 holds no integers"},
    {"channels_matrix", "circuit_data[\"0.attn.v\"]: is a tensor that has not one dimension"},
    {"mask_width", "circuit_data[\"0.attn.v\"]: is a mask of 2 channels; 0.attn.v of this model has 12"},
    {"total", "num_total_nodes: is 999; this model has "},
    {"config", "d_mlp is 64; that of this model is 32"},
    {"loss_text", "importances[\"loss\"]: is a text"},
    {"loss_matrix", "importances[\"interv_loss\"]: is a tensor of several elements"},
    {"losses_short", "ch_interv_losses\"][\"0.attn.q\"]: has 1 numbers for the 2 channels"},
    {"losses_number", "ch_interv_losses\"][\"0.attn.q\"]: is no list"},
    {"edges_number", "importances[\"pair_data\"]: is an integer"},
    {"edges_entry", "importances[\"pair_data\"][0]: is not [matrix"},
    {"edges_matrix", "importances[\"pair_data\"][0]: the matrix does not fit its 1 and 2 channels"},
    {"edges_flat", "importances[\"pair_data\"][0]: the matrix does not fit"},
    {"edges_channel", "importances[\"pair_data\"][0]: channel 18"},
    {"edges_site", "\"9.attn.q\" is no site of this model"},
    {"edges_pair", "importances[\"pair_data\"][0]: is not [matrix"},
    {"prompts_missing", "importances[\"task_samples\"]: is missing"},
    {"prompts_odd", "has 3 prompts"},
    {"prompts_none", "has 0 prompts"},
    {"prompts_vector", "has 1 dimensions"},
    {"prompts_number", "is an integer; a matrix of tokens was expected"},
    {"prompts_float", "dtype F32 holds no integers"},
    {"prompts_long", "task_samples\"][0][0]: has 21 tokens; this model takes 20"},
    {"prompt_empty", "task_samples\"][0][1]: is nothing but zeros"},
    {"prompt_token", "task_samples\"][0][2]: token 3 is 24; this model knows 24"},
    {"prompt_negative", "task_samples\"][0][6]: token 0 is -4"},
};

START_TEST(malformed_files_are_refused)
{
    const struct refusal *refusal = &refusals[_i];
    char path[128];
    sn_circuit *circuit = (void *)1;
    sn_task *task = (void *)1;
    sn_options *options = with_targets(1, 2);
    snprintf(path, sizeof path, FOLDER "/bad/%s.pt", refusal->file);
    int status = sn_circuit_load_released(&circuit, &task, context, model, path, options);
    const char *message = sn_context_message(context);
    ck_assert_msg(status == SN_ERROR_FORMAT, "%s ends with %s: %s", path, sn_status_string(status),
                  message);
    ck_assert_ptr_null(circuit);
    ck_assert_ptr_null(task);
    ck_assert_msg(strncmp(message, path, strlen(path)) == 0, "%s", message);
    ck_assert_msg(strstr(message, refusal->message) != NULL, "%s: \"%s\" was expected", message,
                  refusal->message);
    sn_options_free(options);
}
END_TEST

START_TEST(prompts_are_read_only_for_a_task)
{
    sn_circuit *circuit = load(NULL, "bad/prompts_odd", -1, -1);
    ck_assert_uint_eq(sn_circuit_node_count(circuit), 3);
    sn_circuit_free(circuit);
}
END_TEST

START_TEST(another_model_is_refused)
{
    static const char config[] =
        "{\"block_size\": 20, \"vocab_size\": 24, \"n_layer\": 3, \"n_head\": 3, "
        "\"d_head\": 4, \"d_model\": 18, \"d_mlp\": 32}";
    sn_circuit *circuit;
    sn_model *other;
    ok(sn_model_create(&other, context, config, strlen(config), 1));
    ck_assert_int_eq(
        sn_circuit_load_released(&circuit, NULL, context, other, FOLDER "/viz_data.pt", NULL),
        SN_ERROR_FORMAT);
    ck_assert_ptr_null(circuit);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "n_layer is 2; that of this model is 3"));
    sn_model_free(other);
}
END_TEST

/* A checkpoint is a torch file too, but no circuit. */
START_TEST(a_state_dict_is_refused)
{
    sn_circuit *circuit;
    ck_assert_int_eq(
        sn_circuit_load_released(&circuit, NULL, context, model, FOLDER "/final_model.pt", NULL),
        SN_ERROR_FORMAT);
    ck_assert_int_eq(sn_circuit_load_released(&circuit, NULL, context, model, FOLDER "/none.pt", NULL),
                     SN_ERROR_IO);
    ck_assert_ptr_null(circuit);
}
END_TEST

START_TEST(arguments_are_checked)
{
    static const double targets[][2] = {{3, 3}, {24, 1}, {1, -2}, {0.5, 1}};
    const char *path = FOLDER "/viz_data.pt";
    sn_circuit *circuit = (void *)1;
    ck_assert_int_eq(sn_circuit_load_released(&circuit, NULL, NULL, model, path, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_null(circuit);
    ck_assert_int_eq(sn_circuit_load_released(NULL, NULL, context, model, path, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_load_released(&circuit, NULL, context, NULL, path, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_circuit_load_released(&circuit, NULL, context, model, NULL, NULL),
                     SN_ERROR_ARGUMENT);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        sn_options *options = with_targets(targets[i][0], targets[i][1]);
        ck_assert_int_eq(sn_circuit_load_released(&circuit, NULL, context, model, path, options),
                         SN_ERROR_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(sn_context_message(context), "target_"));
        sn_options_free(options);
    }
}
END_TEST

/* ---- memory */

static int attempt(sn_context *limited, void *payload)
{
    sn_circuit *circuit;
    sn_task *task;
    (void)payload;
    int status = sn_circuit_load_released(&circuit, &task, limited, model, FOLDER "/viz_data.pt", NULL);
    ck_assert((status == SN_OK) == (circuit != NULL) && (status == SN_OK) == (task != NULL));
    sn_task_free(task);
    sn_circuit_free(circuit);
    return status;
}

START_TEST(every_allocation_may_fail)
{
    ck_assert_uint_gt(oom_loop(attempt, NULL, 1, 0), 200);
}
END_TEST

Suite *released_suite(void);
Suite *released_suite(void)
{
    Suite *suite = suite_create("released");
    TCase *cases = tcase_create("released");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, a_released_circuit_is_read_whole);
    tcase_add_test(cases, lists_mean_what_tensors_mean);
    tcase_add_test(cases, a_mask_names_channels);
    tcase_add_test(cases, the_name_is_the_callers);
    tcase_add_test(cases, what_was_read_can_be_measured);
    tcase_add_test(cases, targets_left_open_are_the_models_answers);
    tcase_add_test(cases, one_answer_to_both_halves_is_no_task);
    tcase_add_loop_test(cases, malformed_files_are_refused, 0,
                        (int)(sizeof refusals / sizeof *refusals));
    tcase_add_test(cases, prompts_are_read_only_for_a_task);
    tcase_add_test(cases, another_model_is_refused);
    tcase_add_test(cases, a_state_dict_is_refused);
    tcase_add_test(cases, arguments_are_checked);
    tcase_add_test(cases, every_allocation_may_fail);
    suite_add_tcase(suite, cases);
    return suite;
}
