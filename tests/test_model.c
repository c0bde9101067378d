/* lib/model without files: the list of parameters, sites and node names, random weights. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "everything.h"
#include "fixture.h"

static struct config config_of(const char *json)
{
    struct config config;
    int status = config_parse(&config, context, json, strlen(json), "c.json");
    ck_assert_msg(status == SN_OK, "%s", sn_context_message(context));
    return config;
}

static sn_model *allocate(const char *json)
{
    struct config config = config_of(json);
    sn_model *model;
    ck_assert_int_eq(model_allocate(&model, context, &config), SN_OK);
    return model;
}

static sn_model *create(const char *json, uint64_t seed)
{
    sn_model *model;
    int status = sn_model_create(&model, context, json, strlen(json), seed);
    ck_assert_msg(status == SN_OK, "%s", sn_context_message(context));
    return model;
}

/* --------------------------------------------------------------- parameters */

static const struct {
    const char *name;
    enum parameter_role role;
    int axis, trainable;
    size_t rows, cols;
} layer_tensors[] = {
    {"ln_1.weight", ROLE_NORM, SN_AXIS_NONE, 1, 21, 0},
    {"ln_1.bias", ROLE_NORM, SN_AXIS_NONE, 1, 21, 0},
    {"attn.c_attn.weight", ROLE_MATRIX, SN_AXIS_ROW, 1, 45, 27},
    {"attn.c_attn.bias", ROLE_BIAS, SN_AXIS_NONE, 1, 45, 0},
    {"attn.c_proj.weight", ROLE_MATRIX, SN_AXIS_COLUMN, 1, 21, 15},
    {"attn.c_proj.bias", ROLE_BIAS, SN_AXIS_NONE, 1, 21, 0},
    {"attn.attn_imp.sink_logit", ROLE_SINK, SN_AXIS_NONE, 1, 3, 0},
    {"ln_2.weight", ROLE_NORM, SN_AXIS_NONE, 1, 21, 0},
    {"ln_2.bias", ROLE_NORM, SN_AXIS_NONE, 1, 21, 0},
    {"mlp.c_fc.weight", ROLE_MATRIX, SN_AXIS_ROW, 1, 35, 27},
    {"mlp.c_fc.bias", ROLE_BIAS, SN_AXIS_NONE, 1, 35, 0},
    {"mlp.c_proj.weight", ROLE_MATRIX, SN_AXIS_COLUMN, 1, 21, 35},
    {"mlp.c_proj.bias", ROLE_BIAS, SN_AXIS_NONE, 1, 21, 0},
    {"ln_p1.weight", ROLE_NORM, SN_AXIS_NONE, 1, 6, 0},
    {"ln_p1.bias", ROLE_NORM, SN_AXIS_NONE, 1, 6, 0},
    {"ln_p2.weight", ROLE_NORM, SN_AXIS_NONE, 1, 6, 0},
    {"ln_p2.bias", ROLE_NORM, SN_AXIS_NONE, 1, 6, 0},
};
#define N_LAYER_TENSORS (sizeof layer_tensors / sizeof *layer_tensors)

static void check_parameter(const sn_model *model, size_t index, const char *name,
                            enum parameter_role role, int axis, int trainable, size_t rows, size_t cols)
{
    const struct parameter *parameter = &model->parameters[index];
    ck_assert_str_eq(parameter->name, name);
    ck_assert_int_eq(parameter->role, role);
    ck_assert_int_eq(parameter->axis, axis);
    ck_assert_int_eq(parameter->trainable, trainable);
    ck_assert_uint_eq(parameter->rows, rows);
    ck_assert_uint_eq(parameter->cols, cols);
    ck_assert_int_eq(model_find(model, name), (int)index);
}

/* Names, shapes and order of the released state dict. */
START_TEST(parameters_in_order)
{
    sn_model *model = allocate(EVERYTHING);
    size_t i = 0;
    check_parameter(model, i++, "bigram_table", ROLE_BIGRAM, SN_AXIS_NONE, 1, 29, 29);
    check_parameter(model, i++, "final_logits_bias", ROLE_LOGIT_BIAS, SN_AXIS_NONE, 0, 29, 0);
    check_parameter(model, i++, "transformer.wte.weight", ROLE_EMBEDDING, SN_AXIS_NONE, 1, 29, 21);
    check_parameter(model, i++, "transformer.wpe.weight", ROLE_POSITION, SN_AXIS_NONE, 0, 11, 6);
    for (int layer = 0; layer < 2; layer++)
        for (size_t t = 0; t < N_LAYER_TENSORS; t++) {
            char name[100];
            snprintf(name, sizeof name, "transformer.h.%d.%s", layer, layer_tensors[t].name);
            check_parameter(model, i++, name, layer_tensors[t].role, layer_tensors[t].axis,
                            layer_tensors[t].trainable, layer_tensors[t].rows, layer_tensors[t].cols);
        }
    check_parameter(model, i++, "transformer.ln_f.weight", ROLE_NORM, SN_AXIS_NONE, 1, 21, 0);
    check_parameter(model, i++, "transformer.ln_f.bias", ROLE_NORM, SN_AXIS_NONE, 1, 21, 0);
    check_parameter(model, i++, "lm_head.weight", ROLE_EMBEDDING, SN_AXIS_NONE, 1, 29, 21);
    ck_assert_uint_eq(model->n_parameters, i);
    ck_assert_uint_eq(sn_model_tensor_count(model), i);
    ck_assert_ptr_null(sn_model_tensor_name(model, i));
    sn_model_free(model);
}
END_TEST

START_TEST(parameters_by_layer)
{
    sn_model *model = allocate(EVERYTHING);
    const struct layer_parameters *layer = &model->layers[1];
    const int indices[] = {layer->ln_1,          layer->ln_1_bias, layer->c_attn,
                           layer->c_attn_bias,   layer->attn_proj, layer->attn_proj_bias,
                           layer->sink,          layer->ln_2,      layer->ln_2_bias,
                           layer->c_fc,          layer->c_fc_bias, layer->mlp_proj,
                           layer->mlp_proj_bias, layer->ln_p1,     layer->ln_p1_bias,
                           layer->ln_p2,         layer->ln_p2_bias};
    for (size_t t = 0; t < N_LAYER_TENSORS; t++) {
        char name[100];
        snprintf(name, sizeof name, "transformer.h.1.%s", layer_tensors[t].name);
        ck_assert_int_ge(indices[t], 0);
        ck_assert_str_eq(model->parameters[indices[t]].name, name);
    }
    sn_model_free(model);
}
END_TEST

START_TEST(parameters_that_are_absent)
{
    sn_model *model =
        allocate("{\"block_size\":4,\"vocab_size\":5,\"n_layer\":1,\"n_head\":1,\"d_model\":2,"
                 "\"bias\":false,\"rms_norm\":true,\"enable_bigram_table\":true}");
    const struct layer_parameters *layer = &model->layers[0];
    ck_assert(layer->ln_1 >= 0 && layer->c_attn >= 0 && layer->mlp_proj >= 0);
    ck_assert(layer->ln_1_bias == -1 && layer->c_attn_bias == -1 && layer->sink == -1);
    ck_assert(layer->ln_p1 == -1 && layer->ln_p2_bias == -1 && model->ln_f_bias == -1);
    ck_assert_int_eq(model->lm_head, model->wte);
    ck_assert_int_eq(model_find(model, "lm_head.weight"), -1);
    /* a fixed bigram table is a buffer behind the other one */
    check_parameter(model, 0, "final_logits_bias", ROLE_LOGIT_BIAS, SN_AXIS_NONE, 0, 5, 0);
    check_parameter(model, 1, "bigram_table", ROLE_BIGRAM, SN_AXIS_NONE, 0, 5, 5);
    check_parameter(model, 3, "transformer.wpe.weight", ROLE_EMBEDDING, SN_AXIS_NONE, 1, 4, 2);
    ck_assert_int_eq(model_check_complete(model, context, "x"), SN_ERROR_FORMAT);
    assert_message("x: tensor bigram_table is missing"); /* final_logits_bias may be absent */
    sn_model_free(model);
    model = allocate("{\"d_pos_emb\":0,\"n_layer\":1}");
    ck_assert(model->wpe == -1 && model->layers[0].ln_p1 == -1);
    ck_assert_int_eq(model_find(model, "transformer.wpe.weight"), -1);
    sn_model_free(model);
}
END_TEST

static const char *const no_tensors[] = {
    "",
    "transformer",
    "transformer.h.",
    "transformer.h.0.",
    "transformer.h.2.ln_1.weight",
    "transformer.h.00.ln_1.weight",
    "transformer.h.-1.ln_1.weight",
    "transformer.h.0.ln_1.weightx",
    "transformer.h.18446744073709551616.ln_1.weight",
    "transformer.wte",
    "lm_head.weight ",
};

START_TEST(parameters_not_found)
{
    sn_model *model = allocate(EVERYTHING);
    for (size_t i = 0; i < sizeof no_tensors / sizeof *no_tensors; i++)
        ck_assert_int_eq(model_find(model, no_tensors[i]), -1);
    sn_model_free(model);
}
END_TEST

/* ------------------------------------------------------- sites and node names */

static const char *const site_names[] = {
    "resid_in",         "attn.act_in", "attn.k",     "attn.q",       "attn.v",          "attn.y",
    "attn.resid_delta", "resid_mid",   "mlp.act_in", "mlp.post_act", "mlp.resid_delta",
};
static const size_t site_widths[] = {21, 27, 15, 15, 15, 15, 21, 21, 27, 35, 21};
static const int site_nodes[] = {0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1};

START_TEST(sites_in_order)
{
    sn_model *model = allocate(EVERYTHING);
    ck_assert_uint_eq(sn_model_site_count(model), 23);
    for (size_t i = 0; i < 22; i++) {
        char name[64];
        snprintf(name, sizeof name, "%zu.%s", i / 11, site_names[i % 11]);
        ck_assert_str_eq(sn_model_site_name(model, i), name);
        ck_assert_uint_eq(sn_model_site_width(model, name), site_widths[i % 11]);
        ck_assert_uint_eq(site_width(&model->config, i), site_widths[i % 11]);
        ck_assert_int_eq(site_find(model, name), (int)i);
        ck_assert_int_eq(site_has_nodes(&model->config, i), site_nodes[i % 11]);
    }
    ck_assert_uint_eq(site_index(1, SITE_MLP_POST_ACT), 20);
    ck_assert_str_eq(sn_model_site_name(model, 22), "final_resid");
    ck_assert_uint_eq(sn_model_site_width(model, "final_resid"), 21);
    ck_assert_int_eq(site_has_nodes(&model->config, 22), 0);
    ck_assert_ptr_null(sn_model_site_name(model, 23));
    ck_assert_uint_eq(sn_model_site_width(model, "2.resid_in"), 0);
    ck_assert_int_eq(site_find(model, "0.attn"), -1);
    sn_model_free(model);
}
END_TEST

START_TEST(node_names_and_back)
{
    sn_model *model = allocate(EVERYTHING);
    size_t n_nodes = 0;
    for (size_t site = 0; site < site_count(&model->config); site++)
        for (size_t channel = 0; channel < site_width(&model->config, site); channel++) {
            char name[100];
            size_t found_site = 999, found_channel = 999;
            node_name(name, sizeof name, model, site, channel);
            int found = node_find(&found_site, &found_channel, model, name);
            ck_assert_int_eq(found, site_has_nodes(&model->config, site));
            if (!found)
                continue;
            ck_assert_uint_eq(found_site, site);
            ck_assert_uint_eq(found_channel, channel);
            n_nodes++;
        }
    ck_assert_uint_eq(n_nodes, 2 * (27 + 15 * 3 + 21 + 27 + 35 + 21));
    sn_model_free(model);
}
END_TEST

static void check_node(const sn_model *model, size_t site, size_t channel, const char *name)
{
    char text[100];
    node_name(text, sizeof text, model, site, channel);
    ck_assert_str_eq(text, name);
}

START_TEST(node_names_of_the_paper)
{
    sn_model *model =
        allocate("{\"n_layer\":11,\"n_head\":96,\"d_head\":16,\"d_model\":2304,\"d_mlp\":1000}");
    char text[12];
    check_node(model, site_index(10, SITE_ATTN_DELTA), 83, "10.attn.resid_delta.83");
    check_node(model, site_index(0, SITE_MLP_POST_ACT), 863, "0.mlp.post_act.863");
    check_node(model, site_index(10, SITE_ATTN_V), 82 * 16, "10.attn.v.head82.ch0");
    check_node(model, site_index(3, SITE_MLP_ACT_IN), 17, "3.mlp.act_in.17");
    node_name(text, sizeof text, model, site_index(10, SITE_ATTN_V), 82 * 16 + 15);
    ck_assert_str_eq(text, "10.attn.v.h"); /* cut, with its NUL */
    sn_model_free(model);
}
END_TEST

static const char *const no_nodes[] = {
    "",
    "0",
    "0.",
    "0.attn",
    "0.attn.q",
    "0.attn.q.",
    "0.attn.q.0",
    "0.attn.q.head3.ch0",
    "0.attn.q.head0.ch5",
    "0.attn.q.head0.ch",
    "0.attn.q.head.ch0",
    "0.attn.q.head0",
    "0.attn.q.head0.ch0.",
    "0.attn.q.head00.ch0",
    "0.attn.q.head0.ch01",
    "0.attn.q.head-1.ch0",
    "0.attn.y.head0.ch0",
    "0.resid_in.0",
    "0.resid_mid.0",
    "final_resid.0",
    "2.mlp.post_act.0",
    "-1.mlp.post_act.0",
    "00.mlp.post_act.0",
    "0.mlp.post_act.35",
    "0.mlp.post_act.034",
    "0.mlp.post_act.+1",
    "0.mlp.post_act. 1",
    "0.mlp.post_act.1 ",
    "0.mlp.post_act",
    "0.mlp.post_act.",
    "0.mlp.post_act.18446744073709551617",
    "x.mlp.post_act.0",
    "0.mlp.post_actx.0",
    "18446744073709551616.mlp.post_act.0",
    "0.attn.act_in.27",
    "0mlp.post_act.0",
};

START_TEST(node_names_refused)
{
    sn_model *model = allocate(EVERYTHING);
    for (size_t i = 0; i < sizeof no_nodes / sizeof *no_nodes; i++) {
        size_t site, channel;
        ck_assert_msg(!node_find(&site, &channel, model, no_nodes[i]), "\"%s\" is no node", no_nodes[i]);
    }
    sn_model_free(model);
}
END_TEST

/* ------------------------------------------------------------ random weights */

static float *dense(const sn_model *model, const char *name, size_t *count)
{
    ck_assert_int_eq(sn_model_tensor(NULL, 0, count, context, model, name), SN_OK);
    float *values = malloc(*count * sizeof *values);
    ck_assert_int_eq(sn_model_tensor(values, *count, count, context, model, name), SN_OK);
    return values;
}

static double deviation(const sn_model *model, const char *name)
{
    size_t n;
    double sum = 0, square = 0;
    float *values = dense(model, name, &n);
    for (size_t i = 0; i < n; i++) {
        sum += (double)values[i];
        square += (double)values[i] * (double)values[i];
    }
    free(values);
    double mean = sum / (double)n;
    ck_assert_double_lt(fabs(mean), 0.002);
    return sqrt(square / (double)n - mean * mean);
}

static void assert_all(const sn_model *model, const char *name, float expected)
{
    size_t n;
    float *values = dense(model, name, &n);
    for (size_t i = 0; i < n; i++)
        ck_assert_float_eq(values[i], expected);
    free(values);
}

START_TEST(create_distributions)
{
    sn_model *model =
        create("{\"block_size\":64,\"vocab_size\":99,\"n_layer\":2,\"n_head\":4,\"d_model\":64,"
               "\"tied_unembed\":false,\"enable_bigram_table\":true,\"sink\":true}",
               5);
    ck_assert_double_eq_tol(deviation(model, "transformer.wte.weight"), 0.02, 0.001);
    ck_assert_double_eq_tol(deviation(model, "transformer.wpe.weight"), 0.02, 0.001);
    ck_assert_double_eq_tol(deviation(model, "lm_head.weight"), 0.02, 0.001);
    ck_assert_double_eq_tol(deviation(model, "transformer.h.0.attn.c_attn.weight"), 0.02, 0.001);
    ck_assert_double_eq_tol(deviation(model, "transformer.h.1.mlp.c_fc.weight"), 0.02, 0.001);
    ck_assert_double_eq_tol(deviation(model, "transformer.h.0.attn.c_proj.weight"), 0.01, 0.001);
    ck_assert_double_eq_tol(deviation(model, "transformer.h.1.mlp.c_proj.weight"), 0.01, 0.001);
    assert_all(model, "transformer.h.1.ln_2.weight", 1);
    assert_all(model, "transformer.ln_f.weight", 1);
    assert_all(model, "transformer.h.0.ln_1.bias", 0);
    assert_all(model, "transformer.h.0.mlp.c_fc.bias", 0);
    assert_all(model, "transformer.h.0.attn.attn_imp.sink_logit", 0);
    assert_all(model, "final_logits_bias", 0);
    size_t n;
    double sum = 0;
    float *bigram = dense(model, "bigram_table", &n);
    for (size_t i = 0; i < n; i++) {
        ck_assert(bigram[i] >= 0 && bigram[i] < 0.02f);
        sum += (double)bigram[i];
    }
    ck_assert_double_eq_tol(sum / (double)n, 0.01, 0.001);
    free(bigram);
    ck_assert_int_eq(model_check_complete(model, context, "x"), SN_OK);
    sn_model_free(model);
}
END_TEST

START_TEST(create_is_reproducible)
{
    sn_model *models[3] = {create(EVERYTHING, 1), create(EVERYTHING, 1), create(EVERYTHING, 2)};
    for (size_t i = 0; i < sn_model_tensor_count(models[0]); i++) {
        const struct parameter *p[3];
        for (int m = 0; m < 3; m++)
            p[m] = &models[m]->parameters[i];
        size_t bytes = parameter_size(p[0]) * sizeof(float);
        ck_assert_mem_eq(parameter_values(p[0]), parameter_values(p[1]), bytes);
        if (p[0]->matrix && p[0]->role != ROLE_POSITION)
            ck_assert_mem_ne(parameter_values(p[0]), parameter_values(p[2]), bytes);
    }
    for (int m = 0; m < 3; m++)
        sn_model_free(models[m]);
}
END_TEST

/* The released code's table: 7 channels are 3 sines, 3 cosines and a zero; periods 4, 4 sqrt(5), 20. */
START_TEST(create_sinusoids)
{
    sn_model *model =
        create("{\"block_size\":20,\"vocab_size\":5,\"n_layer\":1,\"n_head\":1,\"d_model\":2,"
               "\"d_pos_emb\":7,\"sinusoidal_cat_pos_emb\":true}",
               5);
    const double periods[3] = {4, 4 * sqrt(5.0), 20};
    size_t n;
    float *values = dense(model, "transformer.wpe.weight", &n);
    for (size_t t = 0; t < 20; t++) {
        for (size_t j = 0; j < 3; j++) {
            double angle = 2 * acos(-1.0) * (double)t / periods[j];
            ck_assert_double_eq_tol((double)values[t * 7 + j], sin(angle), 1e-6);
            ck_assert_double_eq_tol((double)values[t * 7 + 3 + j], cos(angle), 1e-6);
        }
        ck_assert_float_eq(values[t * 7 + 6], 0);
    }
    free(values);
    sn_model_free(model);
    model = create("{\"block_size\":3,\"vocab_size\":5,\"n_layer\":1,\"n_head\":1,\"d_model\":2,"
                   "\"d_pos_emb\":1,\"sinusoidal_cat_pos_emb\":true}",
                   5);
    values = dense(model, "transformer.wpe.weight", &n); /* one channel: a sine of period 4 */
    ck_assert_float_eq_tol(values[0], 0, 1e-7f);
    ck_assert_float_eq_tol(values[1], 1, 1e-7f);
    ck_assert_float_eq_tol(values[2], 0, 1e-6f);
    free(values);
    sn_model_free(model);
}
END_TEST

START_TEST(copy_is_independent)
{
    sn_model *model = create(EVERYTHING, 1), *copy;
    ck_assert_int_eq(model_copy(&copy, context, model), SN_OK);
    ck_assert_str_eq(sn_model_config_json(copy), sn_model_config_json(model));
    for (size_t i = 0; i < model->n_parameters; i++) {
        float *here = parameter_values(&model->parameters[i]),
              *there = parameter_values(&copy->parameters[i]);
        size_t n = parameter_size(&model->parameters[i]);
        ck_assert_uint_eq(parameter_size(&copy->parameters[i]), n);
        ck_assert_ptr_ne(here, there);
        ck_assert_mem_eq(here, there, n * sizeof *here);
        ck_assert_int_eq(copy->parameters[i].trainable, model->parameters[i].trainable);
    }
    parameter_values(&copy->parameters[2])[0] = 99;
    ck_assert_float_ne(parameter_values(&model->parameters[2])[0], 99);
    sn_model_free(model);
    ck_assert_float_eq(matrix_at(copy->parameters[2].matrix, 0, 0), 99);
    sn_model_free(copy);
}
END_TEST

START_TEST(references)
{
    sn_model *model = create(EVERYTHING, 1);
    ck_assert_ptr_eq(sn_model_retain(model), model);
    sn_model_free(model);
    ck_assert_uint_eq(sn_model_site_count(model), 23);
    sn_model_free(model);
    sn_model_free(NULL);
    ck_assert_ptr_null(sn_model_retain(NULL));
}
END_TEST

START_TEST(numbers_of_the_configuration)
{
    sn_model *model = create(EVERYTHING, 1);
    static const struct {
        const char *key;
        int64_t value;
    } numbers[] = {{"block_size", 11},
                   {"vocab_size", 29},
                   {"n_layer", 2},
                   {"n_head", 3},
                   {"d_head", 5},
                   {"d_model", 21},
                   {"d_mlp", 35},
                   {"d_pos_emb", 6},
                   {"bias", 1},
                   {"ln_bias", 1},
                   {"rms_norm", 0},
                   {"tied_unembed", 0},
                   {"enable_bigram_table", 1},
                   {"learnable_bigram_table", 1},
                   {"sinusoidal_cat_pos_emb", 1},
                   {"sink", 1},
                   {"afrac", -1},
                   {"", -1},
                   {"d_mode", -1}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        ck_assert_int_eq(sn_model_config_number(model, numbers[i].key), numbers[i].value);
    ck_assert_int_eq(sn_model_config_number(NULL, "n_layer"), -1);
    ck_assert_int_eq(sn_model_config_number(model, NULL), -1);
    sn_model_free(model);
}
END_TEST

START_TEST(getters_check_their_arguments)
{
    sn_model *model = create(EVERYTHING, 1), *none = model;
    size_t rows, cols, support, needed = 7;
    int is_sparse;
    float value;
    ck_assert_int_eq(sn_model_tensor_info(&rows, &cols, &support, &is_sparse, model, 0), SN_OK);
    ck_assert(rows == 29 && cols == 29 && support == 841 && is_sparse == 0);
    ck_assert_int_eq(sn_model_tensor_info(NULL, NULL, NULL, NULL, model, 1), SN_OK);
    ck_assert_int_eq(sn_model_tensor_info(&rows, NULL, NULL, NULL, model, 999), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_model_tensor_info(&rows, NULL, NULL, NULL, NULL, 0), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_model_tensor(&value, 1, &needed, context, model, "bigram_table"),
                     SN_ERROR_CAPACITY);
    ck_assert_uint_eq(needed, 841);
    ck_assert_int_eq(sn_model_tensor(&value, 1, NULL, context, model, "bigram_table"),
                     SN_ERROR_CAPACITY);
    ck_assert_int_eq(sn_model_tensor(NULL, 0, NULL, context, model, "bigram_table"), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_model_tensor(NULL, 9, &needed, context, model, "bigram_table"),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_model_tensor(&value, 1, &needed, context, model, "nothing"), SN_ERROR_ARGUMENT);
    assert_message("\"nothing\"");
    ck_assert_int_eq(sn_model_tensor(&value, 1, &needed, context, NULL, "x"), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_model_tensor(&value, 1, &needed, NULL, model, "x"), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_model_create(NULL, context, "{}", 2, 1), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_model_create(&none, NULL, "{}", 2, 1), SN_ERROR_ARGUMENT);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(sn_model_create(&none, context, NULL, 2, 1), SN_ERROR_ARGUMENT);
    ck_assert_uint_eq(sn_model_tensor_count(NULL), 0);
    ck_assert_uint_eq(sn_model_site_count(NULL), 0);
    ck_assert_ptr_null(sn_model_config_json(NULL));
    ck_assert_uint_eq(sn_model_site_width(NULL, "final_resid"), 0);
    sn_model_free(model);
}
END_TEST

static int create_attempt(sn_context *with, void *payload)
{
    sn_model *model = NULL, *copy = NULL;
    int status = sn_model_create(&model, with, payload, strlen(payload), 3);
    if (status == SN_OK)
        status = model_copy(&copy, with, model);
    sn_model_free(model);
    sn_model_free(copy);
    return status;
}

START_TEST(create_and_copy_out_of_memory)
{
    char json[] = EVERYTHING;
    ck_assert_uint_gt(oom_loop(create_attempt, json, 1, 0), 100);
}
END_TEST

Suite *model_suite(void);
Suite *model_suite(void)
{
    Suite *suite = suite_create("model");
    TCase *layout = tcase_create("layout"), *random = tcase_create("create");
    tcase_add_checked_fixture(layout, fixture_setup, fixture_teardown);
    tcase_add_test(layout, parameters_in_order);
    tcase_add_test(layout, parameters_by_layer);
    tcase_add_test(layout, parameters_that_are_absent);
    tcase_add_test(layout, parameters_not_found);
    tcase_add_test(layout, sites_in_order);
    tcase_add_test(layout, node_names_and_back);
    tcase_add_test(layout, node_names_of_the_paper);
    tcase_add_test(layout, node_names_refused);
    suite_add_tcase(suite, layout);
    tcase_add_checked_fixture(random, fixture_setup, fixture_teardown);
    tcase_add_test(random, create_distributions);
    tcase_add_test(random, create_is_reproducible);
    tcase_add_test(random, create_sinusoids);
    tcase_add_test(random, copy_is_independent);
    tcase_add_test(random, references);
    tcase_add_test(random, numbers_of_the_configuration);
    tcase_add_test(random, getters_check_their_arguments);
    tcase_add_test(random, create_and_copy_out_of_memory);
    suite_add_tcase(suite, random);
    return suite;
}
