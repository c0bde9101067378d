/* AdamW, the gradient's RMS and the schedules against their formulas. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "optim/gradient_scale.h"
#include "optim/schedule.h"

static sn_context *context;

static void set_up(void)
{
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
}

static void tear_down(void)
{
    sn_context_free(context);
}

static void close_to(double got, double expected, double tolerance)
{
    ck_assert_msg(fabs(got - expected) <= tolerance, "got %.10g, expected %.10g", got, expected);
}

/* ---------------------------------------------------------------------- AdamW */

#define N ((size_t)3 * OPTIM_BLOCK + 37)

/* 64-byte aligned, as the library's own arrays are. */
static float *filled(size_t n, uint64_t seed, double scale)
{
    float *values = memory_allocate_array(context->memory, n, sizeof *values);
    struct random_state random;
    random_seed(&random, seed, 0);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(scale * random_normal(&random));
    return values;
}

static void drop(float *values, size_t n)
{
    memory_free(context->memory, values, n * sizeof *values);
}

struct scalar {
    double w, m, v;
};

/* torch.optim.AdamW on one number, in double. */
static void scalar_step(struct scalar *s, double g, uint64_t t, double rate, double decay)
{
    s->m = 0.9 * s->m + 0.1 * g;
    s->v = 0.95 * s->v + 0.05 * g * g;
    double m = s->m / (1 - pow(0.9, (double)t)), v = s->v / (1 - pow(0.95, (double)t));
    s->w = s->w * (1 - rate * decay) - rate * m / (sqrt(v) + 0.1);
}

static void run_adamw(float *weight, float *first, float *second, const float *gradient, size_t steps)
{
    struct optim_array arrays[2] = {
        {weight, first, second, gradient, OPTIM_BLOCK + 5, 1 - 0.02f * 0.1f},
        {weight + OPTIM_BLOCK + 64, first + OPTIM_BLOCK + 64, second + OPTIM_BLOCK + 64,
         gradient + OPTIM_BLOCK + 64, N - OPTIM_BLOCK - 64, 1},
    };
    struct adamw adamw = {.learning_rate = 0.02f, .epsilon = 0.1f, .gradient_scale = 0.5f};
    for (size_t t = 1; t <= steps; t++) {
        adamw_set_step(&adamw, 0.9, 0.95, t);
        ck_assert_int_eq(adamw_update(context, &adamw, arrays, 2), SN_OK);
    }
}

START_TEST(adamw_follows_the_formula)
{
    float *weight = filled(N, 1, 1), *gradient = filled(N, 2, 1), *start = filled(N, 1, 1);
    float *first = filled(N, 3, 0), *second = filled(N, 4, 0);
    run_adamw(weight, first, second, gradient, 3);
    for (size_t i = 0; i < N; i += i < 100 ? 1 : 97) {
        struct scalar s = {(double)start[i], 0, 0};
        if (i >= OPTIM_BLOCK + 5 && i < OPTIM_BLOCK + 64) {
            ck_assert(weight[i] == start[i]); /* between the arrays */
            continue;
        }
        for (uint64_t t = 1; t <= 3; t++)
            scalar_step(&s, 0.5 * (double)gradient[i], t, 0.02, i < OPTIM_BLOCK + 64 ? 0.1 : 0);
        close_to((double)weight[i], s.w, 2e-6 * (1 + fabs(s.w)));
        close_to((double)first[i], s.m, 1e-6);
        close_to((double)second[i], s.v, 1e-6);
    }
    drop(weight, N);
    drop(gradient, N);
    drop(start, N);
    drop(first, N);
    drop(second, N);
}
END_TEST

START_TEST(threads_do_not_change_bits)
{
    float *gradient = filled(N, 2, 1), *weights[2];
    double rms[2];
    for (size_t i = 0; i < 2; i++) {
        float *first = filled(N, 3, 0), *second = filled(N, 4, 0);
        struct optim_array array = {.gradient = gradient, .n = N};
        ck_assert_int_eq(sn_context_set_threads(context, i + 1), SN_OK);
        weights[i] = filled(N, 1, 1);
        run_adamw(weights[i], first, second, gradient, 2);
        ck_assert_int_eq(gradient_rms(&rms[i], context, &array, 1, N), SN_OK);
        drop(first, N);
        drop(second, N);
    }
    ck_assert_int_eq(memcmp(weights[0], weights[1], N * sizeof(float)), 0);
    ck_assert(rms[0] == rms[1]);
    drop(weights[0], N);
    drop(weights[1], N);
    drop(gradient, N);
}
END_TEST

/* ------------------------------------------------------------------------ RMS */

START_TEST(rms_is_over_all_elements)
{
    float *gradient = filled(N, 7, 3);
    double sum = 0, rms;
    struct optim_array arrays[2] = {{.gradient = gradient, .n = OPTIM_BLOCK + 1},
                                    {.gradient = gradient + OPTIM_BLOCK + 1, .n = N - OPTIM_BLOCK - 1}};
    for (size_t i = 0; i < N; i++)
        sum += (double)gradient[i] * (double)gradient[i];
    ck_assert_int_eq(gradient_rms(&rms, context, arrays, 2, N), SN_OK);
    close_to(rms, sqrt(sum / (double)N), 1e-12);
    ck_assert_int_eq(gradient_rms(&rms, context, arrays, 2, 4 * N), SN_OK);
    close_to(rms, sqrt(sum / (double)N) / 2, 1e-12);
    drop(gradient, N);
}
END_TEST

START_TEST(a_gradient_that_is_not_finite_is_refused)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    float *gradient = filled(N, 7, 3);
    struct optim_array array = {.gradient = gradient, .n = N};
    for (size_t i = 0; i < 3; i++) {
        double rms = -1;
        float saved = gradient[N - 3];
        gradient[N - 3] = bad[i];
        ck_assert_int_eq(gradient_rms(&rms, context, &array, 1, N), SN_ERROR_NUMERIC);
        ck_assert(rms < 0);
        gradient[N - 3] = saved;
    }
    drop(gradient, N);
}
END_TEST

START_TEST(clipping_and_normalising)
{
    close_to(gradient_scale(RMS_CLIP, 0.5, 1), 1, 0);
    close_to(gradient_scale(RMS_CLIP, 4, 1), 0.25, 1e-15);
    close_to(gradient_scale(RMS_CLIP, 4, 2), 0.5, 1e-15);
    close_to(gradient_scale(RMS_NORMALIZE, 0.5, 1), 1 / (0.5 + 1e-5), 1e-12);
    close_to(gradient_scale(RMS_NORMALIZE, 0, 1), 1e5, 1e-6);
}
END_TEST

/* ------------------------------------------------------------------ schedules */

START_TEST(densities_follow_their_shapes)
{
    struct density_schedule s = {DENSITY_LINEAR, 3, 1, 0.01, 0.5};
    close_to(schedule_density(&s, 0.1, 0), 1, 0);
    close_to(schedule_density(&s, 0.1, 0.01), 1, 0);
    close_to(schedule_density(&s, 0.1, 0.255), 0.55, 1e-12);
    s.shape = DENSITY_EXPONENTIAL;
    close_to(schedule_density(&s, 0.01, 0.255), 0.1, 1e-12);
    s.shape = DENSITY_POWER;
    close_to(schedule_density(&s, 0.1, 0.255), 0.1 + 0.9 / 8, 1e-12);
}
END_TEST

START_TEST(densities_never_rise_and_end_exactly)
{
    for (int shape = DENSITY_EXPONENTIAL; shape <= DENSITY_POWER; shape++) {
        struct density_schedule s = {(enum density_shape)shape, 3, 0.9, 0.1, 0.7};
        double last = 1;
        for (int i = 0; i <= 1000; i++) {
            double density = schedule_density(&s, 0.03, i / 1000.0);
            ck_assert(density <= last && density >= 0.03);
            last = density;
        }
        ck_assert(schedule_density(&s, 0.03, 0.7) == 0.03);
        ck_assert(schedule_density(&s, 0.03, 1) == 0.03);
        ck_assert(schedule_density(&s, 0.03, 0.6999) > 0.03);
        ck_assert(schedule_density(&s, 0.95, 0) == 0.95); /* a target above the start is constant */
        s.start = s.end = 0;
        ck_assert(schedule_density(&s, 0.03, 0) == 0.03); /* no schedule at all */
    }
}
END_TEST

START_TEST(rates_follow_warmup_decay_and_density)
{
    close_to(schedule_decay(0, 200), 1, 0);
    close_to(schedule_decay(150, 200), 0.25, 1e-15);
    close_to(schedule_decay(200, 200), 0, 0);
    close_to(schedule_warmup_decay(0, 200, 0.05), 0.1, 1e-15);
    close_to(schedule_warmup_decay(9, 200, 0.05), 1 - 9 / 200.0, 1e-15);
    close_to(schedule_warmup_decay(100, 200, 0.05), 0.5, 1e-15);
    close_to(schedule_warmup_decay(0, 200, 0), 1, 0);
    close_to(schedule_rate_scale(RATE_SHARKFIN, 1.0 / 64, 1.0 / 64), 8, 1e-12);
    close_to(schedule_rate_scale(RATE_FINAL, 1, 1.0 / 64), 1.0 / 8, 1e-12);
    close_to(schedule_rate_scale(RATE_FINAL, 1.0 / 64, 1.0 / 64), 1, 1e-12);
    close_to(schedule_rate_scale(RATE_NONE, 0.3, 0.1), 1, 0);
}
END_TEST

Suite *optim_suite(void);
Suite *optim_suite(void)
{
    Suite *suite = suite_create("optim");
    TCase *tests = tcase_create("formulas");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, adamw_follows_the_formula);
    tcase_add_test(tests, rms_is_over_all_elements);
    tcase_add_test(tests, a_gradient_that_is_not_finite_is_refused);
    tcase_add_test(tests, clipping_and_normalising);
    tcase_add_test(tests, densities_follow_their_shapes);
    tcase_add_test(tests, densities_never_rise_and_end_exactly);
    tcase_add_test(tests, rates_follow_warmup_decay_and_density);
    TCase *threads = tcase_create("threads"); /* what ThreadSanitizer looks at */
    tcase_add_checked_fixture(threads, set_up, tear_down);
    tcase_add_test(threads, threads_do_not_change_bits);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, threads);
    return suite;
}
