/* The instruction sets of this machine beside each other. They sum in different orders, so their results are not the
 * same bits, but near each other (docs/numerics.md has the tolerances). Random models of which no choice hangs on
 * rounding (random_model.h), and training without masks, whose paths do not part. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "circuit_cases.h"
#include "kernel_tables.h"
#include "long.h"
#include "random_model.h"

#define MAX_FLOATS ((size_t)1 << 16)
#define MAX_TENSORS 128

/* How far two sets may be apart: arrays as a share of their largest magnitude. */
enum quantity { LOGITS, LOSS, GRADIENTS, EACH_GRADIENT, GENERATED, STEPS, N_QUANTITIES };
static const struct {
    const char *name;
    double tolerance;
} quantities[N_QUANTITIES] = {
    [LOGITS] = {"logits", 2e-5},
    [LOSS] = {"loss", 2e-6},
    [GRADIENTS] = {"gradients of all tensors together", 1e-3},
    [EACH_GRADIENT] = {"gradients, tensor by tensor", 2e-2},
    [GENERATED] = {"logits of the last token, generating", 2e-5},
    [STEPS] = {"losses of 40 training steps", 2e-5},
};

struct results {
    float *values[N_QUANTITIES];
    size_t n[N_QUANTITIES];
    size_t n_tensors, ends[MAX_TENSORS]; /* of the gradients */
};

static float *room(struct results *results, enum quantity quantity, size_t n)
{
    float *from = results->values[quantity] + results->n[quantity];
    results->n[quantity] += n;
    ck_assert_uint_le(results->n[quantity], MAX_FLOATS);
    return from;
}

static struct results results_create(void)
{
    struct results results = {.n = {0}};
    for (size_t q = 0; q < N_QUANTITIES; q++)
        ck_assert_ptr_nonnull(results.values[q] = calloc(MAX_FLOATS, sizeof(float)));
    return results;
}

static void results_free(struct results *results)
{
    for (size_t q = 0; q < N_QUANTITIES; q++)
        free(results->values[q]);
}

static double largest(const float *a, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)a[i]));
    return most;
}

static double distance(const float *a, const float *b, size_t n, double floor)
{
    double apart = 0;
    for (size_t i = 0; i < n; i++)
        apart = fmax(apart, fabs((double)a[i] - (double)b[i]));
    return apart / (largest(a, n) + floor);
}

/* worst: of all cases so far. */
static void allow(double worst[N_QUANTITIES], enum quantity quantity, double apart, const char *set,
                  const char *what)
{
    ck_assert_msg(apart <= quantities[quantity].tolerance,
                  "%s: on %s they are %g from portable ones\n%s", quantities[quantity].name, set, apart,
                  what);
    worst[quantity] = fmax(worst[quantity], apart);
}

static void compare(double worst[N_QUANTITIES], const struct results *a, const struct results *b,
                    const char *set, const char *what)
{
    const float *from = a->values[GRADIENTS], *other = b->values[GRADIENTS];
    for (size_t q = 0; q < N_QUANTITIES; q++) {
        ck_assert_uint_eq(a->n[q], b->n[q]);
        allow(worst, (enum quantity)q, distance(a->values[q], b->values[q], a->n[q], 1e-2), set, what);
    }
    /* A tensor whose true gradient is next to nothing holds the rounding of others: hence the floor. */
    double floor = 1e-3 * largest(from, a->n[GRADIENTS]) + 1e-3;
    ck_assert_uint_eq(a->n_tensors, b->n_tensors);
    for (size_t i = 0, begin = 0; i < a->n_tensors; begin = a->ends[i++])
        allow(worst, EACH_GRADIENT, distance(from + begin, other + begin, a->ends[i] - begin, floor),
              set, what);
}

static void tell(const double worst[N_QUANTITIES])
{
    for (size_t q = 0; long_tests() && q < N_QUANTITIES; q++)
        if (worst[q] > 0)
            printf("%-40s at most %.1e apart; %.0e is allowed\n", quantities[q].name, worst[q],
                   quantities[q].tolerance);
}

/* Makes the context's kernels those of a set, as SPARSENET_ISA does; "portable" is the first. */
static const char *choose_set(size_t i)
{
    const struct kernel_table *table = kernel_table_number(i);
    if (table)
        context->kernels = table;
    return table ? table->name : NULL;
}

/* ------------------------------------------------------------------------- random models */

static void run_model(struct results *results, const struct random_model *r)
{
    size_t n_tokens = r->offsets[r->n_sequences], vocabulary = r->model->config.vocab_size, n;
    sn_session *session;
    sn_options *options;
    double loss;
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "gradients", "dense"));
    ok(sn_session_create(&session, context, r->model, options));
    ok(sn_session_forward(session, r->tokens, r->offsets, r->n_sequences));
    n = n_tokens * vocabulary;
    ok(sn_session_logits(room(results, LOGITS, n), n, &n, session));
    ok(sn_session_loss(&loss, session, r->targets));
    *room(results, LOSS, 1) = (float)loss;
    ok(sn_session_backward(session, r->targets));
    for (size_t i = 0; i < r->model->n_parameters; i++)
        if (r->model->parameters[i].trainable && (n = double_model_size(&r->oracle, i))) {
            ok(sn_session_gradient(room(results, GRADIENTS, n), n, &n, session,
                                   r->model->parameters[i].name));
            ck_assert_uint_lt(results->n_tensors, MAX_TENSORS);
            results->ends[results->n_tensors++] = results->n[GRADIENTS];
        }
    sn_session_free(session);
    sn_options_free(options);
}

static void run_generator(struct results *results, const struct random_model *r)
{
    sn_generator *generator;
    size_t n = r->model->config.vocab_size;
    ok(sn_generator_create(&generator, context, r->model, NULL));
    ok(sn_generator_append(generator, r->tokens, r->offsets[1]));
    ok(sn_generator_logits(room(results, GENERATED, n), n, &n, generator));
    sn_generator_free(generator);
}

START_TEST(random_models_agree)
{
    static struct random_model r;
    size_t n_models = long_tests() ? 1000 : 80;
    double worst[N_QUANTITIES] = {0};
    for (uint64_t seed = 1; seed <= n_models; seed++) {
        struct results first = results_create();
        choose_set(0);
        int is_clear = random_model_create(&r, context, seed);
        for (size_t i = 0; is_clear && i < N_KERNEL_TABLES; i++) {
            struct results other = results_create(), *results = i ? &other : &first;
            const char *set = choose_set(i);
            if (set) {
                run_model(results, &r);
                run_generator(results, &r);
                compare(worst, &first, results, set, r.config);
            }
            results_free(&other);
        }
        results_free(&first);
        random_model_free(&r);
    }
    tell(worst);
}
END_TEST

/* ------------------------------------------------------------------------------- training */

static void train(struct results *results, const char *config)
{
    static const struct {
        const char *key;
        double value;
    } settings[] = {{"steps", 40}, {"batch", 6}, {"density", 1}, {"learning_rate", 0.01}, {"seed", 2}};
    int32_t tokens[300] = {0};
    unsigned seed = 3;
    sn_model *model = strong_model(config, 3);
    sn_corpus *corpus;
    sn_trainer *trainer;
    sn_options *options;
    for (size_t i = 0; i < 300; i++)
        tokens[i] = i % 3 ? (3 * tokens[i - 1] + 1) % 11 : (int32_t)next_random(&seed) % 11;
    ok(sn_corpus_create(&corpus, context));
    ok(sn_corpus_add_tokens(corpus, context, tokens, 300));
    ok(sn_options_create(&options, context));
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        ok(sn_options_set(options, context, settings[i].key, settings[i].value));
    ok(sn_trainer_create(&trainer, context, model, options));
    ok(sn_trainer_add_corpus(trainer, corpus, 1, 0));
    for (size_t step = 0; step < 40; step++) {
        double loss;
        ok(sn_trainer_step(&loss, trainer));
        *room(results, STEPS, 1) = (float)loss;
    }
    sn_trainer_free(trainer);
    sn_options_free(options);
    sn_corpus_free(corpus);
    sn_model_free(model);
}

START_TEST(training_agrees)
{
    static const char *const configs[] = {
        SMOOTH_CONFIG, "{\"block_size\": 20, \"vocab_size\": 11, \"n_layer\": 2, \"n_head\": 2,"
                       " \"d_model\": 16, \"tied_unembed\": true}"};
    double worst[N_QUANTITIES] = {0};
    for (size_t k = 0; k < 2; k++) {
        struct results first = results_create();
        for (size_t i = 0; i < N_KERNEL_TABLES; i++) {
            struct results other = results_create(), *results = i ? &other : &first;
            const char *set = choose_set(i);
            if (set) {
                train(results, configs[k]);
                compare(worst, &first, results, set, configs[k]);
            }
            results_free(&other);
        }
        ck_assert_float_lt(first.values[STEPS][39], 0.9f * first.values[STEPS][0]); /* it learns */
        results_free(&first);
    }
    tell(worst);
}
END_TEST

Suite *isa_suite(void);
Suite *isa_suite(void)
{
    const TTest *tests[] = {random_models_agree, training_agrees};
    Suite *suite = suite_create("isa");
    add_cases(suite, "sets", tests, sizeof tests / sizeof *tests);
    return suite;
}
