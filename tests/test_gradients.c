/* Gradients of whole random models against finite differences in double precision (double_model.h):
 * random configurations and awkward shapes, weights, batches and kinds of gradients. Of each tensor the
 * derivative along a random direction, which is a sum over all its entries, and along single entries. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "double_model.h"
#include "fixture.h"
#include "long.h"

#define MAX_TOKENS 70
#define MAX_SEQUENCES 4

struct random_case {
    struct random_state random;
    char config[1024];
    sn_model *model;
    int support; /* gradients on the support alone */
    int32_t tokens[MAX_TOKENS], targets[MAX_TOKENS];
    size_t offsets[MAX_SEQUENCES + 1], n_sequences;
    struct double_model oracle;
    struct double_choices choices; /* of the model as it is */
    double norm;                   /* of the whole gradient */
    double worst;                  /* error of a direction, as a share of its gradient (see compare) */
    size_t n_directions, n_skipped;
};

static size_t pick(struct random_case *c, const size_t *list, size_t n)
{
    return list[random_below(&c->random, n)];
}

#define PICK(...)                                                                                       \
    pick(c, (const size_t[]){__VA_ARGS__}, sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t))

static const char *flag(struct random_case *c)
{
    return random_below(&c->random, 2) ? "true" : "false";
}

/* ------------------------------------------------------------------------- random models */

static size_t append_places(struct random_case *c, size_t at)
{
    static const char *const places[] = {"attn_in",         "attn_q",        "attn_k",     "attn_v",
                                         "attn_out",        "mlp_in",        "mlp_neuron", "mlp_out",
                                         "resid_post_attn", "resid_post_mlp"};
    int n = 0;
    at += (size_t)snprintf(c->config + at, sizeof c->config - at, ",\"afrac\":%g,\"afrac_loctypes\":\"",
                           0.1 + 0.85 * random_uniform(&c->random));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (random_below(&c->random, 2))
            at += (size_t)snprintf(c->config + at, sizeof c->config - at, "%s%s", n++ ? "," : "",
                                   places[i]);
    return at + (size_t)snprintf(c->config + at, sizeof c->config - at, "\"");
}

static void choose_config(struct random_case *c)
{
    size_t n_head = PICK(1, 1, 2, 3, 5), d_model = n_head * PICK(1, 2, 3, 5, 7), at = 0;
    at += (size_t)snprintf(
        c->config, sizeof c->config,
        "{\"block_size\":%zu,\"vocab_size\":%zu,\"n_layer\":%zu,\"n_head\":%zu,\"d_model\":%zu,"
        "\"d_head\":%zu,\"d_mlp\":%zu",
        PICK(1, 3, 5, 9, 9, 9, 9, 70), PICK(2, 3, 7, 23, 65), PICK(1, 1, 2, 3), n_head, d_model,
        PICK(1, 2, 3, 5, 8, 16), PICK(1, 3, 8, 17, 33));
    if (random_below(&c->random, 2))
        at += (size_t)snprintf(c->config + at, sizeof c->config - at,
                               ",\"d_pos_emb\":%zu,\"sinusoidal_cat_pos_emb\":%s", PICK(0, 1, 2, 5),
                               flag(c));
    at += (size_t)snprintf(c->config + at, sizeof c->config - at,
                           ",\"bias\":%s,\"ln_bias\":%s,\"rms_norm\":%s,\"tied_unembed\":%s,\"sink\":%s,"
                           "\"enable_bigram_table\":%s,\"learnable_bigram_table\":%s,\"flash\":%s,"
                           "\"residual_activation_type\":\"%s\",\"activation_type\":\"%s\"",
                           flag(c), flag(c), flag(c), flag(c), flag(c), flag(c), flag(c), flag(c),
                           random_below(&c->random, 4) ? "identity" : "relu",
                           random_below(&c->random, 2) ? "gelu" : "relu");
    if (random_below(&c->random, 3))
        at = append_places(c, at);
    snprintf(c->config + at, sizeof c->config - at, "}");
}

/* Of every density, so that some matrices are kept sparse and some dense; outputs of the order of 1. */
static void fill_matrix(struct random_case *c, struct parameter *p)
{
    double density = (double)PICK(5, 20, 44, 60, 100) / 100;
    float *values = malloc(p->rows * p->cols * sizeof *values);
    double scale = p->role == ROLE_MATRIX ? 1 / sqrt(1 + density * (double)p->cols) : 0.7;
    ck_assert_ptr_nonnull(values);
    for (size_t i = 0; i < p->rows * p->cols; i++) {
        double value = scale * random_normal(&c->random);
        values[i] = random_uniform(&c->random) < density ? (float)value : 0;
    }
    matrix_free(p->matrix);
    ck_assert_int_eq(
        matrix_from_dense(&p->matrix, context, p->rows, p->cols, values, SPARSE_MAX_DENSITY), SN_OK);
    free(values);
}

static void choose_weights(struct random_case *c)
{
    for (size_t i = 0; i < c->model->n_parameters; i++) {
        struct parameter *p = &c->model->parameters[i];
        int is_gain = p->role == ROLE_NORM && strstr(p->name, ".weight") != NULL;
        if (p->matrix && (p->trainable || p->role == ROLE_BIGRAM))
            fill_matrix(c, p);
        for (size_t r = 0; p->vector && r < p->rows; r++)
            p->vector[r] = (float)((is_gain ? 1 : 0) + 0.4 * random_normal(&c->random));
    }
}

static void choose_batch(struct random_case *c)
{
    size_t longest = (size_t)sn_model_config_number(c->model, "block_size");
    size_t vocabulary = (size_t)sn_model_config_number(c->model, "vocab_size");
    c->n_sequences = 1 + random_below(&c->random, longest == 70 ? 1 : MAX_SEQUENCES);
    for (size_t s = 0; s < c->n_sequences; s++) /* the first is as long as it may be */
        c->offsets[s + 1] = c->offsets[s] + (s ? 1 + random_below(&c->random, longest) : longest);
    ck_assert_uint_le(c->offsets[c->n_sequences], MAX_TOKENS);
    for (size_t t = 0; t < c->offsets[c->n_sequences]; t++) {
        c->tokens[t] = (int32_t)random_below(&c->random, vocabulary);
        c->targets[t] =
            t && random_below(&c->random, 5) == 0 ? -1 : (int32_t)random_below(&c->random, vocabulary);
    }
}

static double loss_of(const struct random_case *c, struct double_choices *choices)
{
    return double_model_loss(&c->oracle, c->tokens, c->offsets, c->n_sequences, c->targets, choices);
}

/* Rounding must not choose otherwise than the oracle does: 1 where it could. */
#define NEAR 2e-6

static int choose_case(struct random_case *c, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    random_seed(&c->random, seed, 0);
    choose_config(c);
    c->support = random_below(&c->random, 2) != 0;
    ck_assert_msg(sn_model_create(&c->model, context, c->config, strlen(c->config), seed) == SN_OK,
                  "%s: %s", c->config, sn_context_message(context));
    choose_weights(c);
    choose_batch(c);
    double_model_create(&c->oracle, c->model);
    loss_of(c, &c->choices);
    return c->choices.nearest < NEAR;
}

static void end_case(struct random_case *c)
{
    double_model_free(&c->oracle);
    sn_model_free(c->model);
}

/* ---------------------------------------------------------------------- finite differences */

/* The derivative along `direction`, n entries of one tensor; 0 where a decision changes on the way. */
static int difference(struct random_case *c, double *derivative, size_t parameter,
                      const double *direction, const double *start)
{
    const double step = 1e-6; /* an error of its square beside one of rounding of 1e-16 / step */
    size_t n = double_model_size(&c->oracle, parameter);
    double loss[2], *values = c->oracle.values[parameter];
    int same = 1;
    for (size_t i = 0; i < 2; i++) {
        struct double_choices choices;
        for (size_t j = 0; j < n; j++)
            values[j] = start[j] + (i ? -step : step) * direction[j];
        loss[i] = loss_of(c, &choices);
        same &= choices.digest == c->choices.digest;
    }
    memcpy(values, start, n * sizeof *values);
    *derivative = (loss[0] - loss[1]) / (2 * step);
    return same;
}

static void compare(struct random_case *c, size_t parameter, const float *gradient,
                    const double *direction, const double *start, const char *what)
{
    size_t n = double_model_size(&c->oracle, parameter);
    double expected, sum = 0, norm = 0;
    c->n_directions++;
    if (!difference(c, &expected, parameter, direction, start)) {
        c->n_skipped++;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        sum += (double)gradient[i] * direction[i];
        norm += (double)gradient[i] * (double)gradient[i];
    }
    /* A small gradient may be the difference of large ones: some share of the whole, and of 1, counts too. */
    double error = fabs(sum - expected), share = error / (sqrt(norm) + 0.02 * c->norm + 0.01);
    c->worst = fmax(c->worst, share);
    ck_assert_msg(share < 1e-4, "%s of %s: the gradient says %.9g, differences say %.9g (norm %g)\n%s",
                  what, c->model->parameters[parameter].name, sum, expected, sqrt(norm), c->config);
}

/* Whether the gradient of entry i is wanted: of matrices that are kept sparse in support mode, the
 * support's alone; the last row of a bigram table never has one (docs: as in the released code). */
static int has_gradient(const struct random_case *c, const struct parameter *p, size_t i,
                        const double *start)
{
    if (p->role == ROLE_BIGRAM && i / p->cols == p->rows - 1)
        return 0;
    return !(c->support && p->matrix && p->matrix->pattern) || start[i] != 0;
}

/* Along a random direction on the nonzero entries, where zeros stay zeros; and along single entries. */
static void check_tensor(struct random_case *c, size_t parameter, const float *gradient)
{
    const struct parameter *p = &c->model->parameters[parameter];
    size_t n = double_model_size(&c->oracle, parameter), n_entries = long_tests() ? 4 : 1;
    double *start = malloc(n * sizeof *start), *direction = calloc(n, sizeof *direction);
    ck_assert(start && direction);
    memcpy(start, c->oracle.values[parameter], n * sizeof *start);
    for (size_t i = 0; i < n; i++) {
        if (has_gradient(c, p, i, start))
            direction[i] = start[i] != 0 ? random_normal(&c->random) : 0;
        else
            ck_assert_msg(gradient[i] == 0, "%s[%zu] has a gradient\n%s", p->name, i, c->config);
    }
    compare(c, parameter, gradient, direction, start, "a direction");
    for (size_t k = 0; k < n_entries; k++) {
        size_t i = random_below(&c->random, n);
        memset(direction, 0, n * sizeof *direction);
        direction[i] = has_gradient(c, p, i, start) ? 1 : 0;
        compare(c, parameter, gradient, direction, start, "an entry");
    }
    free(start);
    free(direction);
}

static sn_session *open_session(struct random_case *c)
{
    sn_session *session;
    sn_options *options;
    ck_assert_int_eq(sn_options_create(&options, context), SN_OK);
    ck_assert_int_eq(
        sn_options_set_text(options, context, "gradients", c->support ? "support" : "dense"), SN_OK);
    ck_assert_int_eq(sn_options_set_text(options, context, "recompute",
                                         random_below(&c->random, 2) ? "always" : "never"),
                     SN_OK);
    ck_assert_int_eq(sn_session_create(&session, context, c->model, options), SN_OK);
    sn_options_free(options);
    return session;
}

static float *gradient_of(struct random_case *c, sn_session *session, size_t parameter)
{
    const char *name = c->model->parameters[parameter].name;
    size_t n = double_model_size(&c->oracle, parameter), needed;
    float *gradient = malloc(n * sizeof *gradient);
    ck_assert_ptr_nonnull(gradient);
    int status = sn_session_gradient(gradient, n, &needed, session, name);
    ck_assert_msg(status == SN_OK, "%s\n%s", sn_context_message(context), c->config);
    ck_assert_uint_eq(needed, n);
    for (size_t i = 0; i < n; i++)
        c->norm += (double)gradient[i] * (double)gradient[i];
    return gradient;
}

static void check_gradients(struct random_case *c, sn_session *session)
{
    float **gradients = calloc(c->model->n_parameters, sizeof *gradients);
    ck_assert_ptr_nonnull(gradients);
    c->norm = 0;
    for (size_t i = 0; i < c->model->n_parameters; i++)
        if (c->model->parameters[i].trainable && double_model_size(&c->oracle, i))
            gradients[i] = gradient_of(c, session, i);
    c->norm = sqrt(c->norm);
    for (size_t i = 0; i < c->model->n_parameters; i++) {
        if (gradients[i])
            check_tensor(c, i, gradients[i]);
        free(gradients[i]);
    }
    free(gradients);
}

static void check_case(struct random_case *c)
{
    sn_session *session = open_session(c);
    double loss, expected = loss_of(c, &c->choices);
    int status = sn_session_forward(session, c->tokens, c->offsets, c->n_sequences);
    ck_assert_msg(status == SN_OK, "%s\n%s", sn_context_message(context), c->config);
    ck_assert_int_eq(sn_session_loss(&loss, session, c->targets), SN_OK);
    ck_assert_msg(fabs(loss - expected) < 3e-6 * (1 + expected), "the loss is %.9g, not %.9g\n%s", loss,
                  expected, c->config);
    ck_assert_int_eq(sn_session_backward(session, c->targets), SN_OK);
    check_gradients(c, session);
    sn_session_free(session);
}

/* Models whose choices are too close are passed over, as are directions that change one. */
START_TEST(gradients_are_finite_differences)
{
    static struct random_case c;
    size_t n_models = long_tests() ? 300 : 30, n_done = 0, n_directions = 0, n_skipped = 0;
    double worst = 0;
    uint64_t seed = 1;
    for (; n_done < n_models; seed++) {
        if (!choose_case(&c, seed)) {
            check_case(&c);
            n_directions += c.n_directions;
            n_skipped += c.n_skipped;
            worst = fmax(worst, c.worst);
            n_done++;
        }
        end_case(&c);
    }
    if (long_tests())
        printf("%zu models of %zu, %zu directions, %zu skipped, worst error %.1e\n", n_done,
               (size_t)seed - 1, n_directions, n_skipped, worst);
    ck_assert_uint_lt(seed, 3 * n_models);
    ck_assert_uint_lt(4 * n_skipped, n_directions);
}
END_TEST

Suite *gradients_suite(void);
Suite *gradients_suite(void)
{
    Suite *suite = suite_create("gradients");
    TCase *group = tcase_create("gradients");
    tcase_add_checked_fixture(group, fixture_setup, fixture_teardown);
    tcase_set_timeout(group, 600);
    tcase_add_test(group, gradients_are_finite_differences);
    suite_add_tcase(suite, group);
    return suite;
}
