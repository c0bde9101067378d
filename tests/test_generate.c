/* Generators against sessions over the same tokens: logits, sites, interventions; sampling; limits. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "matrix/matrix.h"
#include "model/generator.h"
#include "model/model.h"
#include "oom.h"

/* Between them every option of the configuration. */
static const char *const configs[] = {
    "{\"block_size\": 150, \"vocab_size\": 23, \"n_layer\": 2, \"n_head\": 3, \"d_head\": 5, "
    "\"d_model\": 18,"
    " \"d_mlp\": 30, \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.4, \"d_pos_emb\": 6,"
    " \"afrac_loctypes\": \"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q\","
    " \"enable_bigram_table\": true, \"learnable_bigram_table\": true, \"sink\": true}",
    "{\"block_size\": 70, \"vocab_size\": 17, \"n_layer\": 3, \"n_head\": 2, \"d_head\": 16, "
    "\"d_model\": 32,"
    " \"d_mlp\": 64, \"rms_norm\": true, \"tied_unembed\": true, \"afrac\": 0.5, \"bias\": false,"
    " \"residual_activation_type\": \"relu\", \"activation_type\": \"relu\", \"sink\": true,"
    " \"afrac_loctypes\": \"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q,"
    "resid_post_attn,resid_post_mlp\"}",
    "{\"block_size\": 40, \"vocab_size\": 11, \"n_layer\": 2, \"n_head\": 2, \"d_head\": 3, "
    "\"d_model\": 10,"
    " \"d_mlp\": 14, \"rms_norm\": false, \"tied_unembed\": true, \"d_pos_emb\": 5,"
    " \"sinusoidal_cat_pos_emb\": true, \"afrac\": null, \"enable_bigram_table\": true}",
    "{\"block_size\": 100, \"vocab_size\": 40, \"n_layer\": 1, \"n_head\": 1, \"d_head\": 8, "
    "\"d_model\": 25,"
    " \"d_mlp\": 33, \"rms_norm\": false, \"tied_unembed\": false, \"d_pos_emb\": 0, \"afrac\": 0.3,"
    " \"afrac_loctypes\": \"attn_q,mlp_neuron,resid_post_mlp\"}",
};
#define N_CONFIGS ((int)(sizeof configs / sizeof *configs))

static sn_context *context;
static sn_model *model;

static void ok(int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

static void refused(int status, int expected, const char *part)
{
    ck_assert_int_eq(status, expected);
    ck_assert_msg(strstr(sn_context_message(context), part) != NULL, "\"%s\" lacks \"%s\"",
                  sn_context_message(context), part);
}

/* Biases, gains and sinks that matter; matrices of which `density` is left, large enough to matter. */
static void make_interesting(sn_model *of, double density)
{
    struct random_state random;
    random_seed(&random, 5, 0);
    for (size_t i = 0; i < of->n_parameters; i++) {
        struct parameter *p = &of->parameters[i];
        for (size_t r = 0; p->vector && r < p->rows; r++)
            p->vector[r] += (float)(0.3 * random_normal(&random));
        if (!p->matrix || !p->trainable)
            continue;
        size_t n = p->rows * p->cols;
        float *values = malloc(n * sizeof *values);
        for (size_t v = 0; v < n; v++)
            values[v] = random_uniform(&random) < density ? (float)(0.7 * random_normal(&random)) : 0;
        matrix_free(p->matrix);
        ok(matrix_from_dense(&p->matrix, context, p->rows, p->cols, values, SPARSE_MAX_DENSITY));
        free(values);
    }
}

static void open_model(const char *config, double density)
{
    ok(sn_model_create(&model, context, config, strlen(config), 3));
    make_interesting(model, density);
}

static void set_up(void)
{
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    open_model(configs[0], 0.3);
}

static void tear_down(void)
{
    sn_model_free(model);
    sn_context_free(context);
}

static sn_generator *open_generator(double temperature, double top_k, double seed)
{
    sn_options *options;
    sn_generator *generator;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "temperature", temperature));
    ok(sn_options_set(options, context, "top_k", top_k));
    ok(sn_options_set(options, context, "seed", seed));
    ok(sn_generator_create(&generator, context, model, options));
    sn_options_free(options);
    return generator;
}

static size_t vocabulary(void)
{
    return model->config.vocab_size;
}

static float *logits_of(sn_generator *generator)
{
    size_t needed;
    float *logits = malloc(vocabulary() * sizeof *logits);
    ok(sn_generator_logits(logits, vocabulary(), &needed, generator));
    ck_assert_uint_eq(needed, vocabulary());
    return logits;
}

static void fill_tokens(int32_t *tokens, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)((i * i * 7 + i * 3 + 2) % vocabulary());
}

static void assert_close(const char *what, const float *got, const float *expected, size_t n)
{
    double scale = 0;
    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs((double)expected[i]));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)got[i] - (double)expected[i]) <= 1e-5 * scale + 1e-7,
                      "%s[%zu] is %.9g, expected %.9g", what, i, (double)got[i], (double)expected[i]);
}

/* ------------------------------------------------------------ against a session */

static void run_session(sn_session *session, const int32_t *tokens, size_t n)
{
    size_t offsets[2] = {0, n};
    ok(sn_session_forward(session, tokens, offsets, 1));
}

/* The last token at every site. */
static void compare_sites(sn_generator *generator, sn_session *session, size_t n)
{
    float got[256], *expected = malloc(n * 256 * sizeof *expected);
    for (size_t s = 0; s < sn_model_site_count(model); s++) {
        const char *site = sn_model_site_name(model, s);
        size_t width = sn_model_site_width(model, site), needed;
        ok(sn_generator_activations(got, 256, &needed, generator, site));
        ck_assert_uint_eq(needed, width);
        ok(sn_session_activations(expected, n * 256, &needed, session, site));
        assert_close(site, got, expected + (n - 1) * width, width);
    }
    free(expected);
}

static void compare_logits(sn_generator *generator, sn_session *session, size_t n)
{
    size_t count = n * vocabulary(), needed;
    float *all = malloc(count * sizeof *all), *got = logits_of(generator);
    ok(sn_session_logits(all, count, &needed, session));
    assert_close("logits", got, all + (n - 1) * vocabulary(), vocabulary());
    free(all);
    free(got);
}

static void record_all(sn_generator *generator, sn_session *session)
{
    for (size_t s = 0; s < sn_model_site_count(model); s++) {
        ok(sn_session_record(session, sn_model_site_name(model, s)));
        ok(sn_generator_record(generator, sn_model_site_name(model, s)));
    }
}

/* Every option, sparse and dense: step by step, and prompts on both sides of where panels begin. */
START_TEST(equals_forward)
{
    static const size_t prompts[] = {1, 2, 15, 16, 33, 64, 65, 130};
    sn_model_free(model);
    open_model(configs[_i / 2], _i % 2 ? 0.3 : 1);
    size_t block_size = model->config.block_size;
    int32_t tokens[150];
    fill_tokens(tokens, block_size);
    sn_session *session;
    ok(sn_session_create(&session, context, model, NULL));
    sn_generator *generator = open_generator(0, 0, 0);
    record_all(generator, session);
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        size_t n = prompts[i];
        if (n + 3 > block_size)
            break;
        ok(sn_generator_reset(generator));
        ok(sn_generator_append(generator, tokens, n));
        for (size_t end = n + 3; n < end; n++) {
            ck_assert_uint_eq(sn_generator_count(generator), n);
            run_session(session, tokens, n);
            compare_logits(generator, session, n);
            compare_sites(generator, session, n);
            ok(sn_generator_append(generator, tokens + n, 1));
        }
    }
    sn_generator_free(generator);
    sn_session_free(session);
}
END_TEST

START_TEST(threads_do_not_change_bits)
{
    float *first = NULL;
    int32_t tokens[60], first_token = -1;
    fill_tokens(tokens, 60);
    for (size_t threads = 1; threads <= 3; threads++) {
        ok(sn_context_set_threads(context, threads));
        sn_generator *generator = open_generator(1, 0, 9);
        ok(sn_generator_append(generator, tokens, 50));
        ok(sn_generator_append(generator, tokens + 50, 10));
        int32_t token;
        ok(sn_generator_next(&token, generator));
        float *logits = logits_of(generator);
        if (first) {
            ck_assert_int_eq(token, first_token);
            ck_assert_int_eq(memcmp(first, logits, vocabulary() * sizeof *first), 0);
            free(logits);
        } else {
            first = logits;
            first_token = token;
        }
        sn_generator_free(generator);
    }
    free(first);
}
END_TEST

/* ---------------------------------------------------------------- interventions */

struct edit_case {
    const char *site;
    int action;
    size_t channels[3];
    size_t n_channels; /* 0: all */
    int per_token, masked;
};

static const struct edit_case edits[] = {
    {"0.resid_in", SN_ADD, {0}, 0, 0, 0},
    {"0.attn.act_in", SN_SET, {2, 19, 4}, 3, 1, 0},
    {"1.attn.k", SN_SCALE, {1, 8}, 2, 0, 1},
    {"0.attn.q", SN_ADD, {3}, 1, 0, 0},
    {"1.attn.v", SN_SET, {0}, 0, 0, 1},
    {"0.attn.y", SN_SCALE, {5, 6}, 2, 1, 1},
    {"1.attn.resid_delta", SN_ADD, {7}, 1, 0, 0},
    {"0.resid_mid", SN_SET, {0, 17}, 2, 0, 0},
    {"1.mlp.act_in", SN_SCALE, {20, 21}, 2, 0, 0},
    {"0.mlp.post_act", SN_SET, {29, 1}, 2, 1, 0},
    {"1.mlp.resid_delta", SN_SCALE, {0}, 0, 0, 0},
    {"final_resid", SN_ADD, {9}, 1, 0, 1},
};
#define N_EDITS ((int)(sizeof edits / sizeof *edits))

static void attach(sn_generator *generator, sn_session *session, const struct edit_case *edit,
                   size_t n_tokens)
{
    float values[90 * 40];
    unsigned char mask[90];
    size_t width = edit->n_channels ? edit->n_channels : sn_model_site_width(model, edit->site);
    size_t n_values = edit->per_token ? n_tokens * width : width;
    const size_t *channels = edit->n_channels ? edit->channels : NULL;
    for (size_t i = 0; i < n_values; i++)
        values[i] = (float)((double)(i * 37 % 101) / 50 - 1);
    for (size_t t = 0; t < n_tokens; t++)
        mask[t] = t % 3 != 1;
    const unsigned char *used = edit->masked ? mask : NULL;
    ok(sn_session_intervene(session, edit->site, edit->action, channels, edit->n_channels, values,
                            n_values, used, edit->masked ? n_tokens : 0));
    ok(sn_generator_intervene(generator, edit->site, edit->action, channels, edit->n_channels, values,
                              n_values, used, edit->masked ? n_tokens : 0));
}

/* Each kind at each site; the last round all together. */
START_TEST(interventions_as_in_a_session)
{
    int32_t tokens[80];
    fill_tokens(tokens, 80);
    sn_session *session;
    ok(sn_session_create(&session, context, model, NULL));
    sn_generator *generator = open_generator(0, 0, 0);
    record_all(generator, session);
    for (int i = 0; i < N_EDITS; i++)
        if (_i == N_EDITS || _i == i)
            attach(generator, session, &edits[i], 80);
    for (size_t prompt = 1; prompt <= 70; prompt += 69) {
        ok(sn_generator_reset(generator));
        ok(sn_generator_append(generator, tokens, prompt));
        for (size_t n = prompt; n < prompt + 10; n++) {
            ok(sn_generator_append(generator, tokens + n, 1));
            run_session(session, tokens, n + 1);
            compare_logits(generator, session, n + 1);
            compare_sites(generator, session, n + 1);
        }
    }
    ok(sn_generator_clear_interventions(generator)); /* from the next sequence on nothing acts */
    ok(sn_session_clear_interventions(session));
    ok(sn_generator_reset(generator));
    ok(sn_generator_append(generator, tokens, 5));
    run_session(session, tokens, 5);
    compare_logits(generator, session, 5);
    sn_generator_free(generator);
    sn_session_free(session);
}
END_TEST

/* Attached in the middle, an intervention leaves the keys and values of held tokens alone. */
START_TEST(interventions_act_from_now_on)
{
    int32_t tokens[12];
    unsigned char mask[12] = {0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1};
    float strength = 4;
    size_t channel = 3;
    fill_tokens(tokens, 12);
    sn_session *session;
    ok(sn_session_create(&session, context, model, NULL));
    ok(sn_session_intervene(session, "0.attn.resid_delta", SN_ADD, &channel, 1, &strength, 1, mask, 12));
    sn_generator *generator = open_generator(0, 0, 0);
    ok(sn_generator_append(generator, tokens, 7));
    ok(sn_generator_intervene(generator, "0.attn.resid_delta", SN_ADD, &channel, 1, &strength, 1, NULL,
                              0));
    ok(sn_generator_append(generator, tokens + 7, 5));
    run_session(session, tokens, 12);
    compare_logits(generator, session, 12);
    sn_generator_free(generator);
    sn_session_free(session);
}
END_TEST

START_TEST(values_per_token_run_out)
{
    int32_t tokens[40];
    float values[20] = {0};
    size_t channel = 0;
    fill_tokens(tokens, 40);
    sn_generator *generator = open_generator(0, 0, 0);
    ok(sn_generator_intervene(generator, "0.attn.q", SN_SET, &channel, 1, values, 20, NULL, 0));
    ok(sn_generator_append(generator, tokens, 18));
    ok(sn_generator_append(generator, tokens, 2));
    refused(sn_generator_append(generator, tokens, 1), SN_ERROR_ARGUMENT, "20 tokens");
    ck_assert_uint_eq(sn_generator_count(generator), 20);
    ok(sn_generator_reset(generator));
    refused(sn_generator_append(generator, tokens, 21), SN_ERROR_ARGUMENT, "20 tokens");
    ok(sn_generator_clear_interventions(generator));
    ok(sn_generator_append(generator, tokens, 21));
    sn_generator_free(generator);
}
END_TEST

/* ----------------------------------------------------------------------- limits */

START_TEST(full_context)
{
    int32_t tokens[151], token = -7;
    fill_tokens(tokens, 151);
    sn_generator *generator = open_generator(0, 0, 0);
    refused(sn_generator_append(generator, tokens, 151), SN_ERROR_STATE, "block_size of 150");
    ck_assert_uint_eq(sn_generator_count(generator), 0);
    ok(sn_generator_append(generator, tokens, 149));
    ok(sn_generator_next(&token, generator));
    ck_assert_int_ge(token, 0);
    int32_t last = token;
    float *before = logits_of(generator);
    refused(sn_generator_next(&token, generator), SN_ERROR_STATE, "block_size of 150");
    refused(sn_generator_append(generator, tokens, 1), SN_ERROR_STATE, "block_size of 150");
    ck_assert_int_eq(token, last);
    ck_assert_uint_eq(sn_generator_count(generator), 150);
    float *after = logits_of(generator);
    ck_assert_int_eq(memcmp(before, after, vocabulary() * sizeof *before), 0);
    free(before);
    free(after);
    sn_generator_free(generator);
}
END_TEST

START_TEST(arguments)
{
    sn_options *options;
    sn_generator *generator = NULL;
    size_t needed;
    float value = 1;
    int32_t token = 3;
    ck_assert_int_eq(sn_generator_create(NULL, context, model, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_generator_create(&generator, NULL, model, NULL), SN_ERROR_ARGUMENT);
    refused(sn_generator_create(&generator, context, NULL, NULL), SN_ERROR_ARGUMENT, "model is NULL");
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "temperature", -1));
    refused(sn_generator_create(&generator, context, model, options), SN_ERROR_ARGUMENT, "temperature");
    ck_assert_ptr_null(generator);
    sn_options_free(options);
    ok(sn_generator_create(&generator, context, model, NULL));
    refused(sn_generator_next(&token, generator), SN_ERROR_STATE, "no tokens");
    refused(sn_generator_logits(&value, 1, &needed, generator), SN_ERROR_STATE, "no tokens");
    ok(sn_generator_append(generator, NULL, 0));
    refused(sn_generator_append(generator, NULL, 1), SN_ERROR_ARGUMENT, "tokens is NULL");
    ok(sn_generator_append(generator, &token, 1));
    refused(sn_generator_append(generator, (int32_t[]){1, 23}, 2), SN_ERROR_ARGUMENT, "tokens[1] is 23");
    refused(sn_generator_append(generator, (int32_t[]){-1}, 1), SN_ERROR_ARGUMENT, "tokens[0] is -1");
    ck_assert_uint_eq(sn_generator_count(generator), 1);
    ok(sn_generator_logits(NULL, 0, &needed, generator));
    ck_assert_uint_eq(needed, 23);
    ck_assert_int_eq(sn_generator_logits(&value, 1, &needed, generator), SN_ERROR_CAPACITY);
    refused(sn_generator_next(NULL, generator), SN_ERROR_ARGUMENT, "token is NULL");
    refused(sn_generator_record(generator, "9.attn.q"), SN_ERROR_ARGUMENT, "9.attn.q");
    refused(sn_generator_activations(&value, 1, &needed, generator, "0.attn.q"), SN_ERROR_STATE,
            "not recorded");
    ok(sn_generator_record(generator, "0.attn.q"));
    ok(sn_generator_record(generator, "0.attn.q"));
    refused(sn_generator_activations(&value, 1, &needed, generator, "0.attn.q"), SN_ERROR_STATE,
            "not recorded");
    ok(sn_generator_append(generator, &token, 1));
    ok(sn_generator_activations(NULL, 0, &needed, generator, "0.attn.q"));
    ck_assert_uint_eq(needed, 15);
    ok(sn_generator_record(generator, NULL));
    refused(sn_generator_activations(&value, 1, &needed, generator, "0.attn.q"), SN_ERROR_STATE,
            "not recorded");
    refused(sn_generator_intervene(generator, "0.attn.z", SN_SET, NULL, 0, &value, 1, NULL, 0),
            SN_ERROR_ARGUMENT, "0.attn.z");
    ck_assert_int_eq(sn_generator_append(NULL, &token, 1), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_generator_next(&token, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_generator_reset(NULL), SN_ERROR_ARGUMENT);
    ck_assert_uint_eq(sn_generator_count(NULL), 0);
    sn_generator_free(generator);
    sn_generator_free(NULL);
}
END_TEST

/* A NaN or an infinity is refused, in a step and in a prompt, and leaves nothing behind. */
START_TEST(numeric_trouble)
{
    static const float values[] = {NAN, INFINITY, -INFINITY};
    int32_t tokens[40];
    size_t channel = 2;
    fill_tokens(tokens, 40);
    for (size_t start = 0; start <= 20; start += 20)
        for (size_t i = 0; i < 3; i++) {
            sn_generator *generator = open_generator(1, 0, 4), *clean = open_generator(1, 0, 4);
            if (start) {
                ok(sn_generator_append(generator, tokens, start));
                ok(sn_generator_append(clean, tokens, start));
            }
            ok(sn_generator_intervene(generator, "0.attn.v", SN_SET, &channel, 1, &values[i], 1, NULL,
                                      0));
            refused(sn_generator_append(generator, tokens + start, 20), SN_ERROR_NUMERIC, "logit");
            ck_assert_uint_eq(sn_generator_count(generator), start);
            int32_t a = -1, b = -1;
            if (start) {
                refused(sn_generator_next(&a, generator), SN_ERROR_NUMERIC, "logit");
                ck_assert_int_eq(a, -1);
            }
            ok(sn_generator_clear_interventions(generator));
            ok(sn_generator_append(generator, tokens + start, 3));
            ok(sn_generator_append(clean, tokens + start, 3));
            float *got = logits_of(generator), *expected = logits_of(clean);
            ck_assert_int_eq(memcmp(got, expected, vocabulary() * sizeof *got), 0);
            for (size_t more = 0; more < 6; more++) {
                ok(sn_generator_next(&a, generator));
                ok(sn_generator_next(&b, clean));
                ck_assert_int_eq(a, b);
            }
            free(got);
            free(expected);
            sn_generator_free(generator);
            sn_generator_free(clean);
        }
}
END_TEST

/* What was generated before a reset does not show after it. */
START_TEST(reset_starts_anew)
{
    int32_t tokens[150], a[20], b[20];
    fill_tokens(tokens, 150);
    sn_generator *used = open_generator(1.3, 9, 21), *fresh = open_generator(1.3, 9, 21);
    ok(sn_generator_append(used, tokens, 140));
    for (size_t i = 0; i < 10; i++)
        ok(sn_generator_next(&a[0], used));
    ok(sn_generator_reset(used));
    ck_assert_uint_eq(sn_generator_count(used), 0);
    ok(sn_generator_append(used, tokens + 5, 3));
    ok(sn_generator_append(fresh, tokens + 5, 3));
    for (size_t i = 0; i < 20; i++) {
        ok(sn_generator_next(&a[i], used));
        ok(sn_generator_next(&b[i], fresh));
    }
    ck_assert_int_eq(memcmp(a, b, sizeof a), 0);
    sn_generator_free(used);
    sn_generator_free(fresh);
}
END_TEST

/* The model may be given up; memory is what the header says, and all of it comes back, but for the
 * columns of matrices, which the first generator leaves with the model. */
START_TEST(memory)
{
    size_t before, created, held;
    int32_t tokens[130];
    fill_tokens(tokens, 130);
    sn_generator *generator = open_generator(1, 0, 0);
    sn_generator_free(generator);
    sn_context_memory(&before, NULL, context);
    generator = open_generator(1, 0, 0);
    sn_model_retain(model);
    sn_model_free(model);
    sn_context_memory(&created, NULL, context);
    ok(sn_generator_append(generator, tokens, 130));
    sn_context_memory(&held, NULL, context);
    size_t pages = 3 * 64 * 2 * 15 * 8; /* 130 tokens in three pages, 2 layers, 15 channels, 8 bytes */
    ck_assert_uint_ge(held - created, pages);
    ck_assert_uint_le(held - created, pages + 8192); /* and the batch's tokens */
    sn_generator_free(generator);
    sn_context_memory(&held, NULL, context);
    ck_assert_uint_eq(held, before);
}
END_TEST

static int generate_something(sn_context *in, void *payload)
{
    int32_t tokens[70], token;
    float strength = 2;
    sn_generator *generator;
    (void)payload;
    for (size_t t = 0; t < 70; t++)
        tokens[t] = (int32_t)t % 23;
    int status = sn_generator_create(&generator, in, model, NULL);
    if (status == SN_OK)
        status = sn_generator_record(generator, "1.mlp.post_act");
    size_t channel = 1;
    if (status == SN_OK)
        status =
            sn_generator_intervene(generator, "0.attn.q", SN_ADD, &channel, 1, &strength, 1, NULL, 0);
    if (status == SN_OK)
        status = sn_generator_append(generator, tokens, 62);
    size_t held = sn_generator_count(generator);
    for (size_t i = 0; status == SN_OK && i < 5; i++) {
        status = sn_generator_next(&token, generator);
        ck_assert_uint_eq(sn_generator_count(generator), held + (status == SN_OK));
        held = sn_generator_count(generator);
    }
    sn_generator_free(generator);
    return status;
}

START_TEST(lack_of_memory)
{
    ck_assert_uint_gt(oom_loop(generate_something, NULL, 1, 0), 30);
}
END_TEST

/* --------------------------------------------------------------------- sampling */

#define DRAWS 60000

/* Chi-square of draws from logits of -i/2, against the distribution that the settings ask for; more than
 * 5 standard deviations above its mean has a chance below 1e-5, and the seed is fixed. */
static void check_distribution(double temperature, size_t top_k, uint64_t seed)
{
    enum { N = 12 };
    float logits[N];
    double weights[N], expected[N], sum = 0, chi = 0;
    size_t counts[N] = {0}, order[N], n_kept = top_k && top_k < N ? top_k : N;
    for (size_t i = 0; i < N; i++) {
        order[i] = i * 5 % N; /* the i-th likeliest */
        logits[order[i]] = 3 - 0.5f * (float)i;
    }
    for (size_t i = 0; i < n_kept; i++)
        sum += exp(-0.5 * (double)i / temperature);
    for (size_t i = 0; i < N; i++)
        expected[order[i]] = i < n_kept ? DRAWS * exp(-0.5 * (double)i / temperature) / sum : 0;
    struct random_state random;
    random_seed(&random, seed, 0);
    for (size_t i = 0; i < DRAWS; i++)
        counts[draw_token(&random, weights, logits, N, temperature, top_k)]++;
    for (size_t i = 0; i < N; i++) {
        double difference = (double)counts[i] - expected[i];
        if (expected[i] > 0)
            chi += difference * difference / expected[i];
        else
            ck_assert_uint_eq(counts[i], 0);
    }
    double freedom = (double)(n_kept - 1);
    ck_assert_msg(chi < freedom + 5 * sqrt(2 * freedom) + 1, "chi-square %g of %g degrees", chi,
                  freedom);
}

START_TEST(distribution)
{
    check_distribution(1, 0, 1);
    check_distribution(1, 12, 2);
    check_distribution(1, 5, 3);
    check_distribution(0.5, 0, 4);
    check_distribution(3, 7, 5);
    check_distribution(1, 1, 6);
}
END_TEST

START_TEST(sampling_edges)
{
    struct random_state random;
    double weights[6];
    size_t counts[6] = {0};
    const float tied[6] = {1, 2, 2, 0, 2, -INFINITY}, zeros[6] = {-0.0f, 0, -1, 0, -2, -3};
    random_seed(&random, 8, 0);
    ck_assert_uint_eq(draw_token(&random, weights, tied, 6, 0, 0), 1); /* ties to the lowest */
    ck_assert_uint_eq(draw_token(&random, weights, tied, 6, 1e-30, 1), 1);
    for (size_t i = 0; i < 3000; i++)
        counts[draw_token(&random, weights, tied, 6, 1, 2)]++;
    ck_assert(counts[1] > 1300 && counts[2] > 1300 && counts[1] + counts[2] == 3000);
    memset(counts, 0, sizeof counts);
    for (size_t i = 0; i < 3000; i++)
        counts[draw_token(&random, weights, zeros, 6, 1, 2)]++; /* -0 ties with 0 */
    ck_assert(counts[0] > 1300 && counts[1] > 1300 && counts[0] + counts[1] == 3000);
    memset(counts, 0, sizeof counts);
    for (size_t i = 0; i < 3000; i++)
        counts[draw_token(&random, weights, tied, 6, 1e6, 0)]++;
    ck_assert_uint_eq(counts[5], 0); /* no draw falls on what has no probability */
    for (size_t i = 0; i < 5; i++)
        ck_assert(counts[i] > 450 && counts[i] < 750);
}
END_TEST

/* Through the generator: what follows the same prompt is drawn from the softmax of its logits. */
START_TEST(next_token_distribution)
{
    size_t n = vocabulary(), counts[23] = {0}, draws = 4000;
    double sum = 0, chi = 0;
    int32_t prompt[] = {4, 9}, token;
    sn_generator *generator = NULL;
    float *logits = NULL;
    for (size_t i = 0; i < draws; i++) {
        if (i % 1000 == 0) {
            sn_generator_free(generator);
            generator = open_generator(2, 0, (double)i);
        }
        generator->cache.n_tokens = 0; /* a reset that leaves the random numbers running */
        ok(sn_generator_append(generator, prompt, 2));
        if (!logits)
            logits = logits_of(generator);
        ok(sn_generator_next(&token, generator));
        counts[token]++;
    }
    for (size_t i = 0; i < n; i++)
        sum += exp((double)logits[i] / 2);
    for (size_t i = 0; i < n; i++) {
        double expected = (double)draws * exp((double)logits[i] / 2) / sum;
        chi += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
    }
    ck_assert_msg(chi < 22 + 5 * sqrt(44), "chi-square %g of 22 degrees", chi);
    free(logits);
    sn_generator_free(generator);
}
END_TEST

Suite *generate_suite(void);
Suite *generate_suite(void)
{
    Suite *suite = suite_create("generate");
    TCase *tests = tcase_create("generators");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, equals_forward, 0, 2 * N_CONFIGS);
    tcase_add_test(tests, threads_do_not_change_bits);
    tcase_add_loop_test(tests, interventions_as_in_a_session, 0, N_EDITS + 1);
    tcase_add_test(tests, interventions_act_from_now_on);
    tcase_add_test(tests, values_per_token_run_out);
    tcase_add_test(tests, full_context);
    tcase_add_test(tests, arguments);
    tcase_add_test(tests, numeric_trouble);
    tcase_add_test(tests, reset_starts_anew);
    tcase_add_test(tests, memory);
    tcase_add_test(tests, lack_of_memory);
    tcase_add_test(tests, distribution);
    tcase_add_test(tests, sampling_edges);
    tcase_add_test(tests, next_token_distribution);
    suite_add_tcase(suite, tests);
    return suite;
}
