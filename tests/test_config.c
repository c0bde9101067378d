/* lib/model/config.c: what is read, written, tolerated and refused. */
#include <check.h>
#include <locale.h>
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

static void assert_same_config(const struct config *a, const struct config *b)
{
    ck_assert_uint_eq(a->block_size, b->block_size);
    ck_assert_uint_eq(a->vocab_size, b->vocab_size);
    ck_assert_uint_eq(a->n_layer, b->n_layer);
    ck_assert_uint_eq(a->n_head, b->n_head);
    ck_assert_uint_eq(a->d_head, b->d_head);
    ck_assert_uint_eq(a->d_model, b->d_model);
    ck_assert_uint_eq(a->d_mlp, b->d_mlp);
    ck_assert_int_eq(a->bias, b->bias);
    ck_assert_int_eq(a->ln_bias, b->ln_bias);
    ck_assert_int_eq(a->rms_norm, b->rms_norm);
    ck_assert_int_eq(a->residual_relu, b->residual_relu);
    ck_assert_int_eq(a->mlp_relu, b->mlp_relu);
    ck_assert(a->afrac == b->afrac);
    ck_assert_uint_eq(a->topk_places, b->topk_places);
    ck_assert_int_eq(a->tied_unembed, b->tied_unembed);
    ck_assert_int_eq(a->enable_bigram_table, b->enable_bigram_table);
    ck_assert_int_eq(a->learnable_bigram_table, b->learnable_bigram_table);
    ck_assert_int_eq(a->has_d_pos_emb, b->has_d_pos_emb);
    ck_assert_uint_eq(a->d_pos_emb, b->d_pos_emb);
    ck_assert_int_eq(a->sinusoidal_cat_pos_emb, b->sinusoidal_cat_pos_emb);
    ck_assert_int_eq(a->sink, b->sink);
}

/* The defaults of the released code. */
START_TEST(config_defaults)
{
    struct config config = config_of("{}");
    const struct config expected = {
        .block_size = 1024,
        .vocab_size = 50304,
        .n_layer = 12,
        .n_head = 12,
        .d_head = 64,
        .d_model = 768,
        .d_mlp = 3072,
        .bias = 1,
        .ln_bias = 1,
        .tied_unembed = 1,
    };
    assert_same_config(&config, &expected);
    ck_assert_uint_eq(config_d_in(&config), 768);
    ck_assert_uint_eq(config_d_attn(&config), 768);
    config = config_of("{\"afrac\": 0.25}");
    ck_assert_uint_eq(config.topk_places,
                      1u << TOPK_ATTN_IN | 1u << TOPK_ATTN_OUT | 1u << TOPK_MLP_IN | 1u << TOPK_MLP_OUT);
}
END_TEST

START_TEST(config_reads_everything)
{
    struct config config = config_of(EVERYTHING);
    const struct config expected = {
        .block_size = 11,
        .vocab_size = 29,
        .n_layer = 2,
        .n_head = 3,
        .d_head = 5,
        .d_model = 21,
        .d_mlp = 35,
        .d_pos_emb = 6,
        .has_d_pos_emb = 1,
        .bias = 1,
        .ln_bias = 1,
        .residual_relu = 1,
        .mlp_relu = 1,
        .afrac = 0.58,
        .topk_places = (1u << TOPK_PLACES) - 1,
        .enable_bigram_table = 1,
        .learnable_bigram_table = 1,
        .sinusoidal_cat_pos_emb = 1,
        .sink = 1,
    };
    assert_same_config(&config, &expected);
}
END_TEST

static const char *const configs[] = {
    "{}",
    EVERYTHING,
    "{\"d_pos_emb\":0}",
    "{\"afrac\":0.1,\"afrac_loctypes\":\"\"}",
    "{\"afrac\":0.3333333333333333,\"afrac_loctypes\":\"mlp_neuron,attn_q\"}",
    "{\"afrac\":1}",
    "{\"afrac\":1e-9,\"rms_norm\":true,\"bias\":false}",
};

START_TEST(config_round_trip)
{
    struct config config = config_of(configs[_i]);
    char *text = config_write(context->memory, &config);
    ck_assert_ptr_nonnull(text);
    struct config again = config_of(text);
    assert_same_config(&config, &again);
    memory_free(context->memory, text, strlen(text) + 1);
}
END_TEST

/* A locale with a decimal comma changes neither what is written nor what is read. */
START_TEST(config_ignores_the_locale)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    int found = 0;
    for (size_t i = 0; i < 4 && !found; i++)
        found = setlocale(LC_ALL, names[i]) != NULL;
    struct config config = config_of("{\"afrac\":0.58}");
    char *text = config_write(context->memory, &config);
    setlocale(LC_ALL, "C");
    ck_assert(config.afrac == 0.58);
    ck_assert_ptr_nonnull(strstr(text, "\"afrac\":0.58,"));
    memory_free(context->memory, text, strlen(text) + 1);
}
END_TEST

START_TEST(config_topk_truncates)
{
    struct config config = config_of("{\"afrac\":0.58,\"afrac_loctypes\":\"mlp_neuron\"}");
    ck_assert_uint_eq(config_topk(&config, TOPK_MLP_NEURON, 50), 28); /* 0.58 x 50 is just below 29 */
    ck_assert_uint_eq(config_topk(&config, TOPK_MLP_NEURON, 1), 0);
    ck_assert_uint_eq(config_topk(&config, TOPK_ATTN_IN, 50), 50);
    config = config_of("{\"afrac\":1}");
    ck_assert_uint_eq(config_topk(&config, TOPK_ATTN_IN, 50), 50);
    config = config_of("{\"afrac\":null,\"afrac_loctypes\":\"what a loader never looks at\"}");
    ck_assert_uint_eq(config_topk(&config, TOPK_ATTN_IN, 50), 50);
}
END_TEST

START_TEST(config_place_widths)
{
    struct config config = config_of(EVERYTHING);
    static const size_t widths[TOPK_PLACES] = {27, 15, 15, 15, 21, 27, 35, 21, 21, 21};
    for (int place = 0; place < TOPK_PLACES; place++)
        ck_assert_uint_eq(config_place_width(&config, (enum topk_place)place), widths[place]);
}
END_TEST

START_TEST(config_tolerates)
{
    struct config config = config_of(
        "{\"n_mlp\":31,\"use_tied_aux_matrix\":false,\"architectures\":[\"X\"],\"model_type\":"
        "\"circuitgpt\","
        "\"torch_dtype\":\"float32\",\"unembed_rank\":null,\"bigram_table_rank\":null,\"auto_map\":{"
        "\"a\":\"b\"},"
        "\"transformers_version\":\"4.57.1\",\"dropout\":0.1,\"debug_nans\":false,\"tokenizer_name\":"
        "\"x\","
        "\"grad_checkpointing\":false,\"dropout_cat_pos_emb\":false,\"enable_sparse_kernels\":true,"
        "\"flash\":false,\"pfrac\":0.01,\"n_embd\":768,\"expansion_factor\":1,\"mup\":false,\"d_head\":"
        "null,"
        "\"d_pos_emb\":null,\"d_mlp\":null}");
    ck_assert_uint_eq(config.d_mlp, 31);
    ck_assert_int_eq(config.has_d_pos_emb, 0);
    config = config_of("{\"n_mlp\":31,\"d_mlp\":31}");
    ck_assert_uint_eq(config.d_mlp, 31);
    config = config_of("{\"d_pos_emb\":0}");
    ck_assert_int_eq(config.has_d_pos_emb, 1);
}
END_TEST

static const struct {
    const char *json, *message;
} bad_configs[] = {
    {"[]", "c.json: the configuration must be a JSON object"},
    {"{\"foo_bar\":1}", "c.json: foo_bar: unknown key"},
    {"{\"d_model\":\"3\"}", "c.json: d_model: must be a whole number 1 .. 1048576, not \"3\""},
    {"{\"d_model\":null}", "d_model"},
    {"{\"d_model\":0}", "d_model"},
    {"{\"n_layer\":1.5}", "n_layer: must be a whole number 0 .. 4096, not 1.5"},
    {"{\"n_head\":0}", "n_head"},
    {"{\"n_head\":-2}", "n_head"},
    {"{\"vocab_size\":1099511627776}", "vocab_size"},
    {"{\"block_size\":0}", "block_size"},
    {"{\"d_pos_emb\":-1}", "d_pos_emb"},
    {"{\"n_head\":5}", "d_model is 768, no multiple of n_head 5"},
    {"{\"n_head\":768,\"d_head\":65536}", "n_head 768 x d_head 65536"},
    {"{\"n_mlp\":31,\"d_mlp\":32}", "n_mlp is 31, but d_mlp is 32"},
    {"{\"bias\":1}", "bias: must be true or false, not 1"},
    {"{\"sink\":null}", "sink"},
    {"{\"use_tied_aux_matrix\":true}", "use_tied_aux_matrix"},
    {"{\"mup\":true}", "mup"},
    {"{\"activation_type\":\"swish\"}", "activation_type: must be \"gelu\" or \"relu\", not \"swish\""},
    {"{\"residual_activation_type\":\"gelu\"}", "\"identity\" or \"relu\""},
    {"{\"activation_type\":7}", "activation_type"},
    {"{\"afrac\":0}", "afrac"},
    {"{\"afrac\":-0.5}", "afrac"},
    {"{\"afrac\":1.5}", "afrac: must be above 0 and at most 1 (null: no activation sparsity), not 1.5"},
    {"{\"afrac\":\"0.5\"}", "afrac: must be a number"},
    {"{\"afrac\":0.5,\"afrac_loctypes\":\"attn_in, mlp_in\"}", "\" mlp_in\" is no place of AbsTopK"},
    {"{\"afrac\":0.5,\"afrac_loctypes\":\"attn_in,\"}", "\"\" is no place"},
    {"{\"afrac\":0.5,\"afrac_loctypes\":\"attn_inn\"}", "\"attn_inn\""},
    {"{\"afrac\":0.5,\"afrac_loctypes\":\"attn_i\"}", "\"attn_i\""},
    {"{\"afrac_loctypes\":3}", "afrac_loctypes"},
};

START_TEST(config_refuses)
{
    struct config config;
    const char *json = bad_configs[_i].json;
    ck_assert_int_eq(config_parse(&config, context, json, strlen(json), "c.json"), SN_ERROR_FORMAT);
    assert_message(bad_configs[_i].message);
    sn_model *model = (sn_model *)&config;
    ck_assert_int_eq(sn_model_create(&model, context, json, strlen(json), 1), SN_ERROR_FORMAT);
    ck_assert_ptr_null(model);
}
END_TEST

Suite *config_suite(void);
Suite *config_suite(void)
{
    Suite *suite = suite_create("config");
    TCase *config = tcase_create("config");
    tcase_add_checked_fixture(config, fixture_setup, fixture_teardown);
    tcase_add_test(config, config_defaults);
    tcase_add_test(config, config_reads_everything);
    tcase_add_loop_test(config, config_round_trip, 0, (int)(sizeof configs / sizeof *configs));
    tcase_add_test(config, config_ignores_the_locale);
    tcase_add_test(config, config_topk_truncates);
    tcase_add_test(config, config_place_widths);
    tcase_add_test(config, config_tolerates);
    tcase_add_loop_test(config, config_refuses, 0, (int)(sizeof bad_configs / sizeof *bad_configs));
    suite_add_tcase(suite, config);
    return suite;
}
