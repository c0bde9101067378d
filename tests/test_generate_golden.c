/* Generating on the golden models: logits token by token, and of a prompt with steps behind it, against
 * the expected ones; and greedy tokens against those of forwards without a cache. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "shared.h"
#include "sparsenet.h"

static const char *const names[] = {
    "p01_ln_gelu_tied",  "p02_rms_afrac_bigram", "p03_sink_catpos_all",
    "p04_ln_sinusoidal", "p06_T1_minimal",       "p05_relu_resid_fixedbigram",
    "p07_bf16",          "p08_afrac_truncation", "p09_maskbuffers_n_mlp",
    "p10_sparse_coo",    "p11_hf_prefix",        "p12_mid_csp_ratio",
    "p13_zero_ties",
};

static sn_context *context;

static void ok(int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

struct golden_case {
    sn_model *model;
    json_t *meta;
    struct golden_file *file;
    int32_t *tokens;
    float *logits; /* batch x length x vocabulary */
    size_t batch, length, vocabulary;
    double limit;
    sn_generator *generator;
    float *got; /* vocabulary */
};

/* 0 where the goldens are not there. */
static int open_case(struct golden_case *c, const char *name)
{
    char relative[256], path[600];
    size_t n;
    struct golden_tensor tensor;
    snprintf(relative, sizeof relative, "goldens/%s", name);
    const char *directory = shared_path(relative);
    if (!directory)
        return 0;
    snprintf(path, sizeof path, "%s", directory);
    ok(sn_context_create(&context, NULL));
    ok(sn_model_load(&c->model, context, path));
    c->meta = golden_meta(path);
    c->file = golden_open_in(path, "expected.safetensors");
    c->tokens = golden_tokens(path, "tokens.i32", &n);
    ck_assert(c->meta && c->file && c->tokens);
    json_t *shape = json_object_get(c->meta, "tokens_shape");
    c->batch = (size_t)json_integer_value(json_array_get(shape, 0));
    c->length = (size_t)json_integer_value(json_array_get(shape, 1));
    c->vocabulary = (size_t)sn_model_config_number(c->model, "vocab_size");
    c->logits = golden_floats(c->file, "logits", &tensor);
    ck_assert_uint_eq(tensor.count, c->batch * c->length * c->vocabulary);
    json_t *tolerance = json_object_get(json_object_get(c->meta, "tolerance"), "logits");
    c->limit = json_number_value(json_object_get(tolerance, "atol_times_maxabs")) *
               golden_max_abs(c->logits, tensor.count);
    c->got = malloc(c->vocabulary * sizeof *c->got);
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "temperature", 0));
    ok(sn_generator_create(&c->generator, context, c->model, options));
    sn_options_free(options);
    return 1;
}

static void close_case(struct golden_case *c)
{
    sn_generator_free(c->generator);
    sn_model_free(c->model);
    golden_close(c->file);
    json_decref(c->meta);
    free(c->tokens);
    free(c->logits);
    free(c->got);
    sn_context_free(context);
}

/* The logits behind token t of a sequence. */
static void compare(struct golden_case *c, const char *name, size_t sequence, size_t t)
{
    const float *expected = c->logits + (sequence * c->length + t) * c->vocabulary;
    size_t needed;
    ok(sn_generator_logits(c->got, c->vocabulary, &needed, c->generator));
    for (size_t i = 0; i < c->vocabulary; i++)
        ck_assert_msg(fabs((double)c->got[i] - (double)expected[i]) <= c->limit + 1e-8,
                      "%s, sequence %zu, token %zu: logit %zu is %.9g, expected %.9g (limit %.3g)", name,
                      sequence, t, i, (double)c->got[i], (double)expected[i], c->limit);
}

START_TEST(expected_logits)
{
    struct golden_case c = {0};
    if (!open_case(&c, names[_i]))
        return;
    for (size_t s = 0; s < c.batch; s++) {
        const int32_t *tokens = c.tokens + s * c.length;
        ok(sn_generator_reset(c.generator));
        for (size_t t = 0; t < c.length; t++) {
            ok(sn_generator_append(c.generator, tokens + t, 1));
            compare(&c, names[_i], s, t);
        }
        for (size_t prompt = c.length / 2; prompt <= c.length; prompt += c.length / 3 + 1) {
            ok(sn_generator_reset(c.generator));
            ok(sn_generator_append(c.generator, tokens, prompt));
            for (size_t t = prompt; t < c.length; t++)
                ok(sn_generator_append(c.generator, tokens + t, 1));
            compare(&c, names[_i], s, c.length - 1);
        }
    }
    close_case(&c);
}
END_TEST

static int32_t first_largest(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return (int32_t)best;
}

/* From a prompt to the end of the context; each token from a forward over all before it. */
START_TEST(greedy_tokens)
{
    struct golden_case c = {0};
    if (!open_case(&c, names[_i]))
        return;
    sn_session *session;
    ok(sn_session_create(&session, context, c.model, NULL));
    size_t block_size = (size_t)sn_model_config_number(c.model, "block_size"), needed;
    int32_t tokens[64];
    ck_assert_uint_le(block_size, 64);
    for (size_t prompt = 1; prompt <= c.length; prompt += 17) {
        memcpy(tokens, c.tokens, prompt * sizeof *tokens);
        ok(sn_generator_reset(c.generator));
        ok(sn_generator_append(c.generator, tokens, prompt));
        for (size_t n = prompt; n < block_size; n++) {
            size_t offsets[2] = {0, n}, last = n - 1;
            ok(sn_session_select_logits(session, &last, 1));
            ok(sn_session_forward(session, tokens, offsets, 1));
            ok(sn_session_logits(c.got, c.vocabulary, &needed, session));
            ok(sn_generator_next(&tokens[n], c.generator));
            ck_assert_msg(tokens[n] == first_largest(c.got, c.vocabulary),
                          "%s: token %zu is %d, a forward without a cache says %d", names[_i], n,
                          tokens[n], first_largest(c.got, c.vocabulary));
        }
        ck_assert_uint_eq(sn_generator_count(c.generator), block_size);
    }
    sn_session_free(session);
    close_case(&c);
}
END_TEST

Suite *generate_golden_suite(void);
Suite *generate_golden_suite(void)
{
    int n = (int)(sizeof names / sizeof *names);
    Suite *suite = suite_create("generate_golden");
    TCase *tests = tcase_create("golden models");
    tcase_add_loop_test(tests, expected_logits, 0, n);
    tcase_add_loop_test(tests, greedy_tokens, 0, n);
    suite_add_tcase(suite, tests);
    return suite;
}
