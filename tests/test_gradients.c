/* Gradients of whole random models against finite differences in double precision (double_model.h):
 * random configurations and awkward shapes, weights, batches and kinds of gradients. Of each tensor the
 * derivative along a random direction, which is a sum over all its entries, and along single entries. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "long.h"
#include "random_model.h"

struct gradient_case {
    struct random_model r;
    int support;  /* gradients on the support alone */
    double norm;  /* of the whole gradient */
    double worst; /* error of a direction, as a share of its gradient (see compare) */
    size_t n_directions, n_skipped;
};

/* ---------------------------------------------------------------------- finite differences */

/* The derivative along `direction`, n entries of one tensor; 0 where a decision changes on the way. */
static int difference(struct gradient_case *c, double *derivative, size_t parameter,
                      const double *direction, const double *start)
{
    const double step = 1e-6; /* an error of its square beside one of rounding of 1e-16 / step */
    size_t n = double_model_size(&c->r.oracle, parameter);
    double loss[2], *values = c->r.oracle.values[parameter];
    int same = 1;
    for (size_t i = 0; i < 2; i++) {
        struct double_choices choices;
        for (size_t j = 0; j < n; j++)
            values[j] = start[j] + (i ? -step : step) * direction[j];
        loss[i] = random_model_loss(&c->r, &choices);
        same &= choices.digest == c->r.choices.digest;
    }
    memcpy(values, start, n * sizeof *values);
    *derivative = (loss[0] - loss[1]) / (2 * step);
    return same;
}

static void compare(struct gradient_case *c, size_t parameter, const float *gradient,
                    const double *direction, const double *start, const char *what)
{
    size_t n = double_model_size(&c->r.oracle, parameter);
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
                  what, c->r.model->parameters[parameter].name, sum, expected, sqrt(norm), c->r.config);
}

/* Whether the gradient of entry i is wanted: of matrices that are kept sparse in support mode, the
 * support's alone; the last row of a bigram table never has one (docs: as in the released code). */
static int has_gradient(const struct gradient_case *c, const struct parameter *p, size_t i,
                        const double *start)
{
    if (p->role == ROLE_BIGRAM && i / p->cols == p->rows - 1)
        return 0;
    return !(c->support && p->matrix && p->matrix->pattern) || start[i] != 0;
}

/* Along a random direction on the nonzero entries, where zeros stay zeros; and along single entries. */
static void check_tensor(struct gradient_case *c, size_t parameter, const float *gradient)
{
    const struct parameter *p = &c->r.model->parameters[parameter];
    size_t n = double_model_size(&c->r.oracle, parameter), n_entries = long_tests() ? 4 : 1;
    double *start = malloc(n * sizeof *start), *direction = calloc(n, sizeof *direction);
    ck_assert(start && direction);
    memcpy(start, c->r.oracle.values[parameter], n * sizeof *start);
    for (size_t i = 0; i < n; i++) {
        if (has_gradient(c, p, i, start))
            direction[i] = start[i] != 0 ? random_normal(&c->r.random) : 0;
        else
            ck_assert_msg(gradient[i] == 0, "%s[%zu] has a gradient\n%s", p->name, i, c->r.config);
    }
    compare(c, parameter, gradient, direction, start, "a direction");
    for (size_t k = 0; k < n_entries; k++) {
        size_t i = random_below(&c->r.random, n);
        memset(direction, 0, n * sizeof *direction);
        direction[i] = has_gradient(c, p, i, start) ? 1 : 0;
        compare(c, parameter, gradient, direction, start, "an entry");
    }
    free(start);
    free(direction);
}

static sn_session *open_session(struct gradient_case *c)
{
    sn_session *session;
    sn_options *options;
    ck_assert_int_eq(sn_options_create(&options, context), SN_OK);
    ck_assert_int_eq(
        sn_options_set_text(options, context, "gradients", c->support ? "support" : "dense"), SN_OK);
    ck_assert_int_eq(sn_options_set_text(options, context, "recompute",
                                         random_below(&c->r.random, 2) ? "always" : "never"),
                     SN_OK);
    ck_assert_int_eq(sn_session_create(&session, context, c->r.model, options), SN_OK);
    sn_options_free(options);
    return session;
}

static float *gradient_of(struct gradient_case *c, sn_session *session, size_t parameter)
{
    const char *name = c->r.model->parameters[parameter].name;
    size_t n = double_model_size(&c->r.oracle, parameter), needed;
    float *gradient = malloc(n * sizeof *gradient);
    ck_assert_ptr_nonnull(gradient);
    int status = sn_session_gradient(gradient, n, &needed, session, name);
    ck_assert_msg(status == SN_OK, "%s\n%s", sn_context_message(context), c->r.config);
    ck_assert_uint_eq(needed, n);
    for (size_t i = 0; i < n; i++)
        c->norm += (double)gradient[i] * (double)gradient[i];
    return gradient;
}

static void check_gradients(struct gradient_case *c, sn_session *session)
{
    float **gradients = calloc(c->r.model->n_parameters, sizeof *gradients);
    ck_assert_ptr_nonnull(gradients);
    c->norm = 0;
    for (size_t i = 0; i < c->r.model->n_parameters; i++)
        if (c->r.model->parameters[i].trainable && double_model_size(&c->r.oracle, i))
            gradients[i] = gradient_of(c, session, i);
    c->norm = sqrt(c->norm);
    for (size_t i = 0; i < c->r.model->n_parameters; i++) {
        if (gradients[i])
            check_tensor(c, i, gradients[i]);
        free(gradients[i]);
    }
    free(gradients);
}

static void check_case(struct gradient_case *c)
{
    sn_session *session = open_session(c);
    double loss, expected = random_model_loss(&c->r, &c->r.choices);
    int status = sn_session_forward(session, c->r.tokens, c->r.offsets, c->r.n_sequences);
    ck_assert_msg(status == SN_OK, "%s\n%s", sn_context_message(context), c->r.config);
    ck_assert_int_eq(sn_session_loss(&loss, session, c->r.targets), SN_OK);
    ck_assert_msg(fabs(loss - expected) < 3e-6 * (1 + expected), "the loss is %.9g, not %.9g\n%s", loss,
                  expected, c->r.config);
    ck_assert_int_eq(sn_session_backward(session, c->r.targets), SN_OK);
    check_gradients(c, session);
    sn_session_free(session);
}

/* Models whose choices are too close are passed over, as are directions that change one. */
START_TEST(gradients_are_finite_differences)
{
    static struct gradient_case c;
    size_t n_models = long_tests() ? 300 : 30, n_done = 0, n_directions = 0, n_skipped = 0;
    double worst = 0;
    uint64_t seed = 1;
    for (; n_done < n_models; seed++) {
        memset(&c, 0, sizeof c);
        if (random_model_create(&c.r, context, seed)) {
            c.support = random_below(&c.r.random, 2) != 0;
            check_case(&c);
            n_directions += c.n_directions;
            n_skipped += c.n_skipped;
            worst = fmax(worst, c.worst);
            n_done++;
        }
        random_model_free(&c.r);
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
