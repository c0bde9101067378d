/* The trainer: budgets and minimums at every step, both gradient modes, exact resume, refusals. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/random.h"
#include "long.h"
#include "oom.h"
#include "temporary.h"
#include "train/trainer.h"

/* rows of 48 and 80 against 32 columns: sizes on both sides of the sparse and dense kernels' tiles */
static const char config_text[] =
    "{\"block_size\": 24, \"vocab_size\": 19, \"n_layer\": 2, \"n_head\": 2, \"d_head\": 8, "
    "\"d_model\": 28,"
    " \"d_mlp\": 80, \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.5, \"d_pos_emb\": 4,"
    " \"afrac_loctypes\": \"mlp_neuron,attn_v\", \"enable_bigram_table\": true,"
    " \"learnable_bigram_table\": true, \"sink\": true}";
static const char tied_text[] = "{\"block_size\": 24, \"vocab_size\": 19, \"n_layer\": 1, \"n_head\": "
                                "2, \"d_head\": 8, \"d_model\": 16,"
                                " \"d_mlp\": 40, \"rms_norm\": true, \"tied_unembed\": true}";

static sn_context *context;
static sn_model *model;
static sn_corpus *corpus;

/* Sequences in which the next token follows from the one before the last: a bigram table is not enough. */
static sn_corpus *make_corpus(sn_context *in, uint64_t seed)
{
    sn_corpus *made;
    struct random_state random;
    random_seed(&random, seed, 0);
    ck_assert_int_eq(sn_corpus_create(&made, in), SN_OK);
    for (size_t d = 0; d < 6; d++) {
        int32_t tokens[150];
        tokens[0] = (int32_t)random_below(&random, 19);
        tokens[1] = (int32_t)random_below(&random, 19);
        for (size_t i = 2; i < 150; i++)
            tokens[i] = i % 10 ? (3 * tokens[i - 2] + 1) % 19 : (int32_t)random_below(&random, 19);
        ck_assert_int_eq(sn_corpus_add_tokens(made, in, tokens, 150), SN_OK);
    }
    return made;
}

static void ok(int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

static void set_up(void)
{
    ok(sn_context_create(&context, NULL));
    ok(sn_model_create(&model, context, config_text, strlen(config_text), 3));
    corpus = make_corpus(context, 5);
}

static void tear_down(void)
{
    sn_corpus_free(corpus);
    sn_model_free(model);
    sn_context_free(context);
}

/* Options as "key=value key=value"; values that are no numbers are texts. */
static sn_options *parse_options(sn_context *in, const char *text)
{
    sn_options *options;
    char copy[512], *save = NULL;
    ck_assert(strlen(text) < sizeof copy);
    ck_assert_int_eq(sn_options_create(&options, in), SN_OK);
    strcpy(copy, text);
    for (char *item = strtok_r(copy, " ", &save); item; item = strtok_r(NULL, " ", &save)) {
        char *value = strchr(item, '='), *end;
        *value++ = '\0';
        double number = strtod(value, &end);
        ck_assert_int_eq(*end ? sn_options_set_text(options, in, item, value)
                              : sn_options_set(options, in, item, number),
                         SN_OK);
    }
    return options;
}

static sn_trainer *open_trainer(const sn_model *of, const char *text)
{
    sn_trainer *trainer;
    sn_options *options = parse_options(context, text);
    ok(sn_trainer_create(&trainer, context, of, options));
    sn_options_free(options);
    ok(sn_trainer_add_corpus(trainer, corpus, 1, 0));
    return trainer;
}

static double statistic(sn_trainer *trainer, const char *name)
{
    double value = NAN;
    ok(sn_trainer_statistic(&value, trainer, name));
    return value;
}

static float *tensor(const sn_model *of, const char *name, size_t *n)
{
    ok(sn_model_tensor(NULL, 0, n, context, of, name));
    float *values = malloc((*n + 1) * sizeof *values);
    ok(sn_model_tensor(values, *n, n, context, of, name));
    return values;
}

static void assert_same_models(const sn_model *a, const sn_model *b, double tolerance)
{
    for (size_t i = 0; i < sn_model_tensor_count(a); i++) {
        size_t n, m;
        const char *name = sn_model_tensor_name(a, i);
        if (!a->parameters[i].matrix && !a->parameters[i].vector)
            continue;
        float *x = tensor(a, name, &n), *y = tensor(b, name, &m);
        ck_assert_uint_eq(n, m);
        if (tolerance == 0)
            ck_assert_msg(memcmp(x, y, n * sizeof *x) == 0, "%s differs", name);
        for (size_t j = 0; j < n; j++)
            ck_assert_msg(fabs((double)x[j] - (double)y[j]) <= tolerance, "%s[%zu]: %g and %g", name, j,
                          (double)x[j], (double)y[j]);
        free(x);
        free(y);
    }
}

/* Bit for bit: weights, supports, masks, moments, step. */
static void assert_same_trainers(const sn_trainer *a, const sn_trainer *b)
{
    assert_same_models(a->model, b->model, 0);
    ck_assert_uint_eq(a->step, b->step);
    ck_assert(a->loss == b->loss && a->gradient_rms == b->gradient_rms);
    for (size_t i = 0; i < a->n_parameters; i++) {
        const struct train_parameter *p = &a->parameters[i], *q = &b->parameters[i];
        const char *name = train_model_parameter(a, p)->name;
        ck_assert_uint_eq(p->n_values, q->n_values);
        ck_assert_uint_eq(p->support, q->support);
        ck_assert_msg(memcmp(p->first, q->first, p->n_values * sizeof(float)) == 0, "m of %s", name);
        ck_assert_msg(memcmp(p->second, q->second, p->n_values * sizeof(float)) == 0, "v of %s", name);
        ck_assert_int_eq(!p->keep, !q->keep);
        if (p->keep)
            ck_assert_msg(memcmp(p->keep, q->keep, p->elements) == 0, "mask of %s", name);
        const struct sn_matrix *x = train_model_parameter(a, p)->matrix;
        const struct sn_matrix *y = train_model_parameter(b, q)->matrix;
        ck_assert_int_eq(!(x && x->pattern), !(y && y->pattern));
        if (x && x->pattern)
            ck_assert_int_eq(memcmp(x->pattern->index.low, y->pattern->index.low, x->n_values * 2), 0);
    }
}

/* ----------------------------------------------------------- budgets, minimums */

/* 1 where an entry is in the support. */
static unsigned char *support_of(const sn_trainer *trainer, const struct train_parameter *parameter)
{
    const struct parameter *p = train_model_parameter(trainer, parameter);
    unsigned char *on = calloc(parameter->elements, 1);
    const struct pattern *pattern = p->matrix ? p->matrix->pattern : NULL;
    for (size_t i = 0; !pattern && i < parameter->elements; i++)
        on[i] = !parameter->keep || parameter->keep[i];
    for (size_t r = 0; pattern && r < p->rows; r++)
        for (size_t i = pattern->row_start[r]; i < pattern->row_start[r + 1]; i++)
            on[r * p->cols + pattern_column(pattern, i)] = 1;
    return on;
}

static size_t count(const unsigned char *on, size_t n, size_t stride)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += on[i * stride];
    return sum;
}

/* The support has exactly its budget, nothing lives off it, every neuron has its minimum. */
static void check_parameter(const sn_trainer *trainer, const struct train_parameter *parameter,
                            size_t budget, size_t minimum)
{
    const struct parameter *p = train_model_parameter(trainer, parameter);
    unsigned char *on = support_of(trainer, parameter);
    size_t n, neurons = p->axis == SN_AXIS_ROW ? p->rows : p->cols;
    float *values = tensor(trainer->model, p->name, &n);
    ck_assert_uint_eq(parameter->support, budget);
    ck_assert_msg(count(on, n, 1) == budget, "%s: %zu entries, budget %zu", p->name, count(on, n, 1),
                  budget);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(on[i] || values[i] == 0, "%s[%zu] lives off the support", p->name, i);
    if (parameter->class == CLASS_MATRIX && minimum > budget / neurons)
        minimum = budget / neurons;
    for (size_t i = 0; parameter->class == CLASS_MATRIX && i < neurons; i++) {
        size_t has = p->axis == SN_AXIS_ROW ? count(on + i * p->cols, p->cols, 1)
                                            : count(on + i, p->rows, p->cols);
        ck_assert_msg(has >= minimum, "%s: neuron %zu has %zu of %zu", p->name, i, has, minimum);
    }
    free(values);
    free(on);
}

static void check_supports(const sn_trainer *trainer, const struct step_plan *plan, size_t minimum)
{
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        const struct train_parameter *parameter = &trainer->parameters[i];
        check_parameter(trainer, parameter, train_budget(parameter, plan), minimum);
    }
}

static void run_checked(const char *options, size_t steps, size_t minimum)
{
    sn_trainer *trainer = open_trainer(model, options);
    for (size_t step = 0; step < steps; step++) {
        struct step_plan plan = settings_plan(&trainer->settings, step);
        ok(sn_trainer_step(NULL, trainer));
        check_supports(trainer, &plan, minimum);
    }
    /* the end of the schedule: exactly int(density x size) */
    for (size_t i = 0; i < trainer->n_parameters; i++)
        if (trainer->parameters[i].class == CLASS_MATRIX)
            ck_assert_uint_eq(trainer->parameters[i].support,
                              (size_t)(0.15 * (double)trainer->parameters[i].elements));
    sn_trainer_free(trainer);
}

START_TEST(dense_mode_keeps_budget_and_minimum_at_every_step)
{
    run_checked(
        "steps=40 batch=3 density=0.15 density_embedding=0.3 density_bias=0.5 minimum_per_neuron=3", 40,
        3);
    run_checked(
        "steps=30 batch=3 density=0.15 schedule=linear schedule_start=0.1 schedule_end=1 order=script",
        30, 4);
    run_checked("steps=20 batch=3 density=0.15 density_bigram=0.2 schedule=power schedule_end=0", 20, 4);
}
END_TEST

START_TEST(support_mode_keeps_budget_and_minimum_at_every_step)
{
    run_checked("gradient=support steps=40 batch=3 density=0.15 density_embedding=0.3 density_bias=0.5 "
                "minimum_per_neuron=3 refresh_interval=3 refresh_fraction=0.6 refresh_end=1",
                40, 3);
    run_checked("gradient=support steps=40 batch=3 density=0.15 schedule_start_density=0.3 "
                "refresh_interval=7 schedule_end=0.7 density_bigram=0.5",
                40, 4);
    run_checked("gradient=support steps=12 batch=3 density=0.15 schedule_end=0 refresh_interval=5", 12,
                4);
}
END_TEST

START_TEST(an_infeasible_minimum_is_lowered)
{
    static const char *const modes[] = {"dense", "support"};
    for (size_t mode = 0; mode < 2; mode++) {
        char options[256];
        snprintf(options, sizeof options,
                 "gradient=%s steps=12 batch=3 density=0.05 minimum_per_neuron=4 "
                 "schedule_end=0.4 refresh_interval=4",
                 modes[mode]);
        sn_trainer *trainer = open_trainer(model, options);
        ok(sn_trainer_run(trainer, 0));
        /* c_fc: int(0.05 * 80 * 32) = 128 entries leave 1 for each of 80 rows */
        ck_assert(statistic(trainer, "minimum_lowered") >= 2);
        struct step_plan plan = settings_plan(&trainer->settings, 11);
        check_supports(trainer, &plan, 4);
        sn_trainer_free(trainer);
    }
    sn_trainer *trainer = open_trainer(model, "steps=4 batch=2 density=0.2 schedule_end=0");
    ok(sn_trainer_run(trainer, 0));
    ck_assert(statistic(trainer, "minimum_lowered") == 0);
    sn_trainer_free(trainer);
}
END_TEST

/* -------------------------------------------------------------------- learning */

static void check_learning(const char *options)
{
    double before, after;
    sn_trainer *trainer = open_trainer(model, options);
    ok(sn_trainer_validate(&before, trainer, corpus, 30));
    ok(sn_trainer_run(trainer, 0));
    ok(sn_trainer_validate(&after, trainer, corpus, 30));
    ck_assert_msg(before > 2.8 && after < 0.5 * before, "loss went from %g to %g", before, after);
    ck_assert(fabs(statistic(trainer, "density") - 0.2) < 0.01);
    ck_assert(statistic(trainer, "step") == 200 && statistic(trainer, "steps") == 200);
    sn_trainer_free(trainer);
}

START_TEST(sparse_training_learns)
{
    check_learning("steps=200 batch=8 density=0.2 learning_rate=0.02");
    check_learning(
        "steps=200 batch=8 density=0.2 learning_rate=0.02 gradient=support refresh_interval=10");
    check_learning(
        "steps=200 batch=8 density=0.2 learning_rate=0.02 gradient=support refresh_interval=10 "
        "schedule_end=0");
}
END_TEST

START_TEST(at_density_one_both_modes_agree)
{
    sn_trainer *dense = open_trainer(model, "steps=20 batch=4 density=1");
    sn_trainer *support = open_trainer(model, "steps=20 batch=4 density=1 gradient=support");
    ok(sn_trainer_run(dense, 12));
    ok(sn_trainer_run(support, 12));
    assert_same_models(dense->model, support->model, 1e-6);
    ck_assert(fabs(dense->gradient_rms - support->gradient_rms) < 1e-6 * dense->gradient_rms);
    sn_trainer_free(dense);
    sn_trainer_free(support);
}
END_TEST

/* On a fixed support, support gradients are the dense gradients' entries there. */
START_TEST(one_support_step_equals_the_masked_dense_step)
{
    const char *common = "steps=50 batch=4 density=0.2 density_bias=1 schedule_end=0 weight_decay=0 "
                         "rms_mode=clip rms_limit=1e30 warmup=0 order=script";
    char options[256];
    snprintf(options, sizeof options, "gradient=support refresh_interval=1000 %s", common);
    sn_trainer *support = open_trainer(model, options);
    sn_model *start;
    ok(sn_trainer_snapshot(&start, support));
    sn_trainer *dense = open_trainer(start, common);
    ok(sn_trainer_step(NULL, support));
    ok(sn_trainer_step(NULL, dense));
    for (size_t i = 0; i < dense->n_parameters; i++) {
        const struct train_parameter *p = &support->parameters[i];
        unsigned char *on = support_of(support, p);
        size_t n;
        float *moved = tensor(support->model, train_model_parameter(support, p)->name, &n);
        const float *m = dense->parameters[i].first, *v = dense->parameters[i].second;
        float *first = tensor(start, train_model_parameter(dense, p)->name, &n);
        for (size_t j = 0; j < n; j++) {
            double step = (double)m[j] / 0.1 / (sqrt((double)v[j] / 0.05) + 0.1);
            double expected = on[j] ? (double)first[j] - support->learning_rate * step : 0;
            ck_assert_msg(fabs((double)moved[j] - expected) < 1e-6, "parameter %zu [%zu]", i, j);
        }
        free(first);
        free(moved);
        free(on);
    }
    sn_trainer_free(support);
    sn_trainer_free(dense);
    sn_model_free(start);
}
END_TEST

/* --------------------------------------------------------------------- refresh */

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The dense gradient of the trainer's next batch. */
static float *next_gradient(sn_trainer *trainer, const char *name, size_t n)
{
    sn_model *now;
    sn_session *session;
    sn_options *options = parse_options(context, "gradients=dense");
    float *gradient = malloc(n * sizeof *gradient);
    size_t needed;
    struct train_windows *windows = &trainer->windows;
    ok(sn_trainer_snapshot(&now, trainer));
    ok(sn_session_create(&session, context, now, options));
    ok(windows_draw(trainer, trainer->step));
    ok(sn_session_forward(session, windows->tokens, windows->offsets, windows->n_sequences));
    ok(sn_session_backward(session, windows->targets));
    ok(sn_session_gradient(gradient, n, &needed, session, name));
    sn_session_free(session);
    sn_options_free(options);
    sn_model_free(now);
    return gradient;
}

/* What a refresh must leave of one matrix without a minimum, from first principles. */
static unsigned char *expected_support(const unsigned char *on, const float *values,
                                       const float *gradient, size_t n, size_t kept, size_t budget)
{
    unsigned char *expected = calloc(n, 1);
    uint64_t *keys = malloc(n * sizeof *keys);
    for (int grow = 0; grow < 2; grow++) {
        size_t n_keys = 0, wanted = grow ? budget - kept : kept;
        for (size_t i = 0; i < n; i++)
            if (grow ? !expected[i] : on[i])
                keys[n_keys++] = magnitude_key(grow ? gradient[i] : values[i], (uint32_t)i);
        qsort(keys, n_keys, sizeof *keys, compare_keys);
        for (size_t i = 0; i < wanted; i++)
            expected[key_index(keys[i])] = 1;
    }
    free(keys);
    return expected;
}

static void check_refresh(sn_trainer *trainer, const char *name, double drop_fraction)
{
    struct train_parameter *parameter = trainer->parameters;
    while (strcmp(train_model_parameter(trainer, parameter)->name, name) != 0)
        parameter++;
    size_t n = parameter->elements, m, support = parameter->support;
    unsigned char *on = support_of(trainer, parameter);
    float *values = tensor(trainer->model, name, &m), *gradient = next_gradient(trainer, name, n);
    size_t kept = support - (size_t)(drop_fraction * (double)support);
    unsigned char *expected = expected_support(on, values, gradient, n, kept, support);
    ok(sn_trainer_step(NULL, trainer));
    unsigned char *got = support_of(trainer, parameter);
    ck_assert_msg(memcmp(expected, got, n) == 0, "%s: another support", name);
    float *after = tensor(trainer->model, name, &m);
    const struct sn_matrix *matrix = train_model_parameter(trainer, parameter)->matrix;
    size_t grown = 0;
    for (size_t i = 0, entry = 0; i < n; entry += got[i++]) {
        size_t place = matrix->pattern ? entry : i;
        if (!got[i] || (on[i] && after[i] != 0))
            continue; /* an entry that was dropped and grew again at once starts anew, too */
        ck_assert(after[i] == 0 && parameter->first[place] == 0 && parameter->second[place] == 0);
        grown++;
    }
    ck_assert_uint_ge(grown, support - kept);
    free(after);
    free(got);
    free(expected);
    free(gradient);
    free(values);
    free(on);
}

START_TEST(a_refresh_drops_by_weight_and_grows_by_gradient)
{
    static const char *const names[] = {"transformer.h.1.mlp.c_fc.weight", "transformer.wte.weight",
                                        "transformer.h.0.attn.c_proj.weight", "lm_head.weight"};
    static const double densities[] = {0.2, 0.7};
    for (size_t i = 0; i < 8; i++) {
        char options[256];
        snprintf(options, sizeof options,
                 "gradient=support steps=40 batch=5 density=%g schedule_end=0 minimum_per_neuron=0 "
                 "refresh_interval=8 refresh_fraction=0.4",
                 densities[i / 4]);
        ok(sn_context_set_threads(context, 1 + i % 2));
        sn_trainer *trainer = open_trainer(model, options);
        ok(sn_trainer_run(trainer, 7));
        check_refresh(trainer, names[i % 4], 0.4 * (1 - 8 / 40.0));
        sn_trainer_free(trainer);
    }
}
END_TEST

START_TEST(a_tied_embedding_keeps_its_budget)
{
    sn_model *tied;
    ok(sn_model_create(&tied, context, tied_text, strlen(tied_text), 3));
    sn_trainer *trainer = open_trainer(
        tied, "gradient=support steps=20 batch=4 density=0.2 schedule_end=0.5 refresh_interval=3");
    for (size_t step = 0; step < 20; step++) {
        struct step_plan plan = settings_plan(&trainer->settings, step);
        ok(sn_trainer_step(NULL, trainer));
        check_supports(trainer, &plan, 4);
    }
    sn_trainer_free(trainer);
    sn_model_free(tied);
}
END_TEST

START_TEST(zero_weights_start_at_random_places)
{
    sn_model *zero;
    ok(model_copy(&zero, context, model));
    for (size_t i = 0; i < zero->n_parameters; i++)
        if (zero->parameters[i].matrix)
            memset(zero->parameters[i].matrix->values, 0,
                   zero->parameters[i].matrix->n_values * sizeof(float));
    sn_trainer *trainer = open_trainer(
        zero,
        "gradient=support steps=20 batch=4 density=0.2 schedule_end=0 minimum_per_neuron=0 seed=4");
    const struct sn_matrix *matrix = trainer->model->parameters[trainer->model->layers[0].c_fc].matrix;
    ck_assert_uint_eq(matrix->pattern->nnz, 80 * 32 / 5);
    size_t upper = matrix->pattern->row_start[40];
    ck_assert_msg(upper > 180 && upper < 330, "%zu of 512 in the upper half", upper);
    sn_trainer_free(trainer);
    sn_model_free(zero);
}
END_TEST

START_TEST(choosing_on_a_support_agrees_with_sorting)
{
    struct random_state random;
    random_seed(&random, 8, 0);
    for (size_t round = 0; round < 60; round++) {
        size_t rows = 1 + random_below(&random, 20), cols = 1 + random_below(&random, 20),
               n = rows * cols;
        int axis = (int)random_below(&random, 3);
        unsigned char keep[400], retain[400], expected[400];
        float values[400], dense[400];
        struct pattern *pattern;
        for (size_t i = 0; i < n; i++)
            keep[i] = random_below(&random, 4) != 0;
        ok(pattern_from_mask(&pattern, context, rows, cols, keep));
        size_t nnz = pattern->nnz, neurons = axis == SN_AXIS_ROW ? rows : cols;
        size_t k = random_below(&random, nnz + 1), minimum = axis ? k / neurons : 0;
        for (size_t i = 0, entry = 0; i < n; i++) {
            dense[i] = keep[i] ? (float)(1 + random_below(&random, 5)) *
                                     (random_below(&random, 2) ? 1.0f : -1.0f)
                               : 0.0f;
            if (keep[i])
                values[entry++] = dense[i];
        }
        ok(support_select(retain, context, pattern, values, k, axis, minimum));
        ck_assert_uint_eq(count(retain, nnz, 1), k);
        /* over the full matrix the same choice falls on the support wherever every neuron has enough */
        ok(select_magnitude(expected, NULL, context, dense, rows, cols, k, axis, minimum));
        int comparable = 1;
        for (size_t i = 0; i < n; i++)
            comparable &= !expected[i] || keep[i];
        for (size_t i = 0, entry = 0; comparable && i < n; i++)
            if (keep[i])
                ck_assert_uint_eq(expected[i], retain[entry++]);
        pattern_release(pattern);
    }
}
END_TEST

START_TEST(keys_select_and_sort)
{
    struct random_state random;
    random_seed(&random, 9, 0);
    for (size_t round = 0; round < 200; round++) {
        uint64_t keys[300] = {0}, sorted[300];
        size_t n = random_below(&random, 301), k = random_below(&random, n + 1);
        for (size_t i = 0; i < n; i++) /* many equal, rising, falling or random */
            keys[i] = round % 4 == 0   ? random_below(&random, 5)
                      : round % 4 == 1 ? i
                      : round % 4 == 2 ? n - i
                                       : random_bits(&random);
        memcpy(sorted, keys, n * sizeof *keys);
        qsort(sorted, n, sizeof *sorted, compare_keys);
        top_keys(keys, n, k);
        qsort(keys, k, sizeof *keys, compare_keys);
        ck_assert_int_eq(memcmp(keys, sorted, k * sizeof *keys), 0);
        sort_keys(keys, n);
        for (size_t i = 0; i < n; i++)
            ck_assert_uint_eq(keys[i], sorted[n - 1 - i]);
    }
    ck_assert(magnitude_key(-2, 7) > magnitude_key(1, 7) && magnitude_key(2, 6) > magnitude_key(-2, 7));
    ck_assert_uint_eq(key_index(magnitude_key(-2, 7)), 7);
}
END_TEST

/* ---------------------------------------------------------------------- resume */

static const char *const resume_options[] = {
    "steps=30 batch=4 density=0.15 density_bigram=0.6 checkpoint_interval=7 order=script seed=11",
    "steps=30 batch=4 density=0.15 schedule=linear schedule_end=0.9 seed=12 rms_mode=clip",
    "steps=30 batch=4 density=0.6 density_bias=0.5",
    "gradient=support steps=30 batch=4 density=0.15 refresh_interval=4 schedule_end=0.6 seed=13",
    "gradient=support steps=30 batch=4 density=0.15 refresh_interval=3 schedule_end=0 seed=14",
    "gradient=support steps=30 batch=4 density=0.7 density_embedding=0.2 refresh_interval=3 seed=15",
};

START_TEST(resuming_gives_the_same_bits)
{
    struct temporary temporary;
    temporary_create(&temporary);
    const char *path = temporary_path(&temporary, "state");
    sn_trainer *whole = open_trainer(model, resume_options[_i]), *part;
    ok(sn_trainer_run(whole, 0));
    for (size_t pause = 0; pause <= 30; pause += 6) {
        ok(sn_context_set_threads(context, 1 + pause % 4 / 2));
        part = open_trainer(model, resume_options[_i]);
        if (pause)
            ok(sn_trainer_run(part, pause));
        ok(sn_trainer_save(part, path));
        sn_trainer_free(part);
        ok(sn_context_set_threads(context, 2 - pause % 4 / 2));
        ok(sn_trainer_load(&part, context, path));
        ck_assert_uint_eq(part->step, pause);
        ok(sn_trainer_add_corpus(part, corpus, 1, 0));
        ok(sn_trainer_run(part, 0));
        assert_same_trainers(whole, part);
        sn_trainer_free(part);
    }
    ck_assert_uint_eq(temporary_empty(&temporary), 1); /* no temporary file is left */
    temporary_remove(&temporary);
    sn_trainer_free(whole);
}
END_TEST

/* Saving what was loaded gives the same file: nothing is lost on the way. */
START_TEST(a_loaded_state_saves_to_the_same_bytes)
{
    struct temporary temporary;
    temporary_create(&temporary);
    char first[256];
    strcpy(first, temporary_path(&temporary, "first"));
    const char *second = temporary_path(&temporary, "second");
    sn_trainer *trainer = open_trainer(model, resume_options[_i]), *again;
    ok(sn_trainer_run(trainer, 11));
    ok(sn_trainer_save(trainer, first));
    ok(sn_trainer_load(&again, context, first));
    ok(sn_trainer_save(again, second));
    assert_same_trainers(trainer, again);
    char command[600];
    snprintf(command, sizeof command, "cmp -s %s %s", first, second);
    ck_assert_int_eq(system(command), 0);
    sn_trainer_free(again);
    sn_trainer_free(trainer);
    temporary_remove(&temporary);
}
END_TEST

static int load_bytes(struct temporary *temporary, const unsigned char *bytes, size_t size)
{
    sn_trainer *trainer = (sn_trainer *)&trainer;
    temporary_write(temporary, "bad", bytes, size);
    int status = sn_trainer_load(&trainer, context, temporary_path(temporary, "bad"));
    ck_assert((status == SN_OK) == (trainer != NULL));
    if (status != SN_OK)
        ck_assert_ptr_nonnull(strstr(sn_context_message(context), "bad"));
    sn_trainer_free(trainer);
    return status;
}

static unsigned char *saved_bytes(struct temporary *temporary, const char *options, size_t *size)
{
    sn_trainer *trainer = open_trainer(model, options);
    ok(sn_trainer_run(trainer, 5));
    ok(sn_trainer_save(trainer, temporary_path(temporary, "state")));
    sn_trainer_free(trainer);
    return temporary_read(temporary_path(temporary, "state"), size);
}

START_TEST(damaged_checkpoints_are_refused)
{
    struct temporary temporary;
    size_t size;
    temporary_create(&temporary);
    unsigned char *bytes = saved_bytes(&temporary, resume_options[3], &size);
    ok(load_bytes(&temporary, bytes, size));
    for (size_t i = 0; i < 60; i++) {
        size_t at = i * (size - 1) / 59;
        bytes[at] ^= 0x10;
        int status = load_bytes(&temporary, bytes, size);
        ck_assert_msg(status == SN_ERROR_FORMAT || (at < 16 && status == SN_ERROR_UNSUPPORTED),
                      "byte %zu: %d", at, status);
        if (at >= 16)
            ck_assert_ptr_nonnull(strstr(sn_context_message(context), "checksum"));
        bytes[at] ^= 0x10;
        ck_assert_int_eq(load_bytes(&temporary, bytes, at), SN_ERROR_FORMAT);
    }
    ck_assert_int_eq(load_bytes(&temporary, (const unsigned char *)"{\"a\": 1, \"b\": 2}", 16),
                     SN_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "not a checkpoint"));
    bytes[12] = 9;
    ck_assert_int_eq(load_bytes(&temporary, bytes, size), SN_ERROR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "version 9"));
    free(bytes);
    sn_trainer *none;
    ck_assert_int_eq(sn_trainer_load(&none, context, temporary_path(&temporary, "absent")), SN_ERROR_IO);
    temporary_remove(&temporary);
}
END_TEST

/* A file whose checksum is right but whose contents lie: a status, never a crash. */
/* What was changed has its checksum put right; it is refused with `part` in the message. Frees the bytes. */
static void refuse_marked(struct temporary *temporary, unsigned char *bytes, size_t size,
                          const char *part)
{
    const uint32_t checksum = checksum_update(0, bytes, size - 4);
    memcpy(bytes + size - 4, &checksum, sizeof checksum);
    ck_assert_int_eq(load_bytes(temporary, bytes, size), SN_ERROR_FORMAT);
    ck_assert_msg(strstr(sn_context_message(context), part) != NULL, "%s", sn_context_message(context));
    free(bytes);
}

/* Where `from` first stands in the file of the trainer, `to` takes its place. */
static void refuse_instead(sn_trainer *trainer, struct temporary *temporary, const void *from,
                           const void *to, size_t n, const char *part)
{
    size_t size, at = 0;
    ok(sn_trainer_save(trainer, temporary_path(temporary, "state")));
    unsigned char *bytes = temporary_read(temporary_path(temporary, "state"), &size);
    while (memcmp(bytes + at, from, n) != 0)
        ck_assert_uint_lt(++at + n, size);
    memcpy(bytes + at, to, n);
    refuse_marked(temporary, bytes, size, part);
}

/* `place` holds what is no number: it is neither written nor read. */
static void refuse_number(sn_trainer *trainer, struct temporary *temporary, float *place, float value,
                          const char *part)
{
    const float own = *place, mark = 1234.5678f;
    *place = value;
    ck_assert_int_eq(sn_trainer_save(trainer, temporary_path(temporary, "none")), SN_ERROR_NUMERIC);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "finite"));
    ck_assert_int_ne(access(temporary_path(temporary, "none"), F_OK), 0);
    *place = mark;
    refuse_instead(trainer, temporary, &mark, &value, sizeof mark, part);
    *place = own;
}

START_TEST(what_is_no_number_is_refused)
{
    struct temporary temporary;
    const double none = NAN;
    temporary_create(&temporary);
    for (size_t variant = 0; variant < 2; variant++) {
        sn_trainer *trainer = open_trainer(model, resume_options[variant ? 5 : 0]);
        ok(sn_trainer_run(trainer, 2));
        struct train_parameter *parameter = &trainer->parameters[0];
        float *weights = parameter_values(&trainer->model->parameters[parameter->index]);
        refuse_number(trainer, &temporary, &weights[0], NAN, "finite");
        refuse_number(trainer, &temporary, &weights[0], INFINITY, "finite");
        refuse_number(trainer, &temporary, &parameter->first[1], -INFINITY, "moments");
        refuse_number(trainer, &temporary, &parameter->second[1], NAN, "moments");
        refuse_number(trainer, &temporary, &parameter->second[0], -1, "moments");
        refuse_instead(trainer, &temporary, &trainer->loss, &none, sizeof none, "statistic");
        sn_trainer_free(trainer);
    }
    temporary_remove(&temporary);
}
END_TEST

START_TEST(lying_checkpoints_do_no_harm)
{
    struct temporary temporary;
    size_t size, refused = 0;
    temporary_create(&temporary);
    for (size_t variant = 0; variant < 2; variant++) {
        unsigned char *bytes = saved_bytes(&temporary, resume_options[variant ? 5 : 0], &size);
        for (size_t i = 0; i < 400; i++) {
            static const unsigned char masks[] = {0x01, 0x80, 0xff};
            /* the header and the lengths in front are looked at byte by byte, the rest in leaps */
            size_t at = 16 + (i < 200 ? i * 7 : 1400 + (i - 200) * ((size - 1420) / 200));
            uint32_t checksum;
            bytes[at] ^= masks[i % 3];
            checksum = checksum_update(0, bytes, size - 4);
            memcpy(bytes + size - 4, &checksum, 4);
            refused += load_bytes(&temporary, bytes, size) != SN_OK;
            bytes[at] ^= masks[i % 3];
        }
        free(bytes);
    }
    ck_assert_uint_gt(refused, 100);
    temporary_remove(&temporary);
}
END_TEST

/* ------------------------------------------------------------- stops and errors */

static int cancel_at(const char *stage, size_t done, size_t total, double value, void *payload)
{
    ck_assert_str_eq(stage, "train");
    ck_assert(total == 20 && isfinite(value));
    return done == *(size_t *)payload;
}

START_TEST(cancelling_leaves_a_trainer_that_goes_on)
{
    size_t at = 7;
    const char *options = "steps=20 batch=4 density=0.2 gradient=support refresh_interval=7";
    sn_trainer *whole = open_trainer(model, options), *trainer = open_trainer(model, options);
    ok(sn_trainer_run(whole, 0));
    sn_context_set_progress(context, cancel_at, &at);
    ck_assert_int_eq(sn_trainer_run(trainer, 0), SN_ERROR_CANCELLED);
    ck_assert(statistic(trainer, "step") == 7);
    sn_context_set_progress(context, NULL, NULL);
    ok(sn_trainer_run(trainer, 0));
    assert_same_trainers(whole, trainer);
    ck_assert_int_eq(sn_trainer_step(NULL, trainer), SN_ERROR_STATE); /* the run is over */
    sn_trainer_free(trainer);
    sn_trainer_free(whole);
}
END_TEST

START_TEST(nan_stops_before_anything_changes)
{
    static const char *const modes[] = {"dense", "support"};
    struct temporary temporary;
    temporary_create(&temporary);
    for (size_t mode = 0; mode < 2; mode++) {
        char options[256];
        snprintf(options, sizeof options,
                 "gradient=%s steps=20 batch=4 density=0.2 checkpoint_interval=3 "
                 "refresh_interval=4",
                 modes[mode]);
        sn_trainer *trainer = open_trainer(model, options), *good;
        ok(sn_trainer_set_checkpoint(trainer, temporary_path(&temporary, "last")));
        ok(sn_trainer_run(trainer, 3));
        float *gain = trainer->model->parameters[trainer->model->ln_f].vector, saved = gain[2];
        sn_model *before, *after;
        gain[2] = mode ? INFINITY : NAN;
        ok(sn_trainer_snapshot(&before, trainer));
        float m = trainer->parameters[0].first[0];
        ck_assert_int_eq(sn_trainer_run(trainer, 0), SN_ERROR_NUMERIC);
        ok(sn_trainer_snapshot(&after, trainer));
        for (size_t i = 0; i < after->n_parameters; i++)
            if ((int)i != after->ln_f && parameter_values(&after->parameters[i]))
                ck_assert_int_eq(memcmp(parameter_values(&before->parameters[i]),
                                        parameter_values(&after->parameters[i]),
                                        parameter_size(&after->parameters[i]) * sizeof(float)),
                                 0);
        ck_assert(trainer->step == 3 && trainer->parameters[0].first[0] == m);
        ok(sn_trainer_load(&good, context, temporary_path(&temporary, "last")));
        ck_assert_uint_eq(good->step, 3);
        gain[2] = saved; /* mended, it goes on */
        ok(sn_trainer_run(trainer, 0));
        ok(sn_trainer_add_corpus(good, corpus, 1, 0));
        ok(sn_trainer_run(good, 0));
        assert_same_trainers(trainer, good);
        sn_trainer_free(good);
        sn_trainer_free(trainer);
        sn_model_free(before);
        sn_model_free(after);
    }
    temporary_remove(&temporary);
}
END_TEST

START_TEST(snapshots_do_not_change_with_training)
{
    sn_trainer *trainer = open_trainer(model, "steps=20 batch=4 density=0.2 schedule_end=0");
    sn_model *first, *second;
    int sparse;
    size_t support;
    ok(sn_trainer_run(trainer, 2));
    ok(sn_trainer_snapshot(&first, trainer));
    ok(sn_trainer_snapshot(&second, trainer));
    ok(sn_trainer_run(trainer, 0));
    assert_same_models(first, second, 0);
    int index = first->layers[1].c_fc;
    ok(sn_model_tensor_info(NULL, NULL, &support, &sparse, first, (size_t)index));
    ck_assert(sparse && support == 80 * 32 / 5);
    ck_assert_int_ne(memcmp(first->parameters[index].matrix->values,
                            trainer->model->parameters[index].matrix->values, support * sizeof(float)),
                     0);
    sn_trainer_free(trainer);
    sn_model_free(first);
    sn_model_free(second);
}
END_TEST

START_TEST(bad_settings_are_named)
{
    static const struct {
        const char *options, *named;
    } cases[] = {
        {"colour=3", "colour"},
        {"window=25", "window is 25"},
        {"density=0", "density is 0"},
        {"density=1.5", "density is 1.5"},
        {"schedule_start=0.6", "schedule_start is 0.6"},
        {"schedule=cubic", "cubic"},
        {"steps=0", "steps is 0"},
        {"steps=2.5", "steps is 2.5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sn_trainer *trainer = (sn_trainer *)&trainer;
        sn_options *options = parse_options(context, cases[i].options);
        ck_assert_int_eq(sn_trainer_create(&trainer, context, model, options), SN_ERROR_ARGUMENT);
        ck_assert_ptr_null(trainer);
        ck_assert_msg(strstr(sn_context_message(context), cases[i].named), "\"%s\" does not name %s",
                      sn_context_message(context), cases[i].named);
        sn_options_free(options);
    }
}
END_TEST

START_TEST(bad_calls_are_refused)
{
    sn_trainer *trainer = NULL;
    double value;
    ok(sn_trainer_create(&trainer, context, model, NULL));
    ck_assert_int_eq(sn_trainer_step(NULL, trainer), SN_ERROR_STATE);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "corpus"));
    ck_assert_int_eq(sn_trainer_add_corpus(trainer, NULL, 1, 0), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_trainer_add_corpus(trainer, corpus, 0, 0), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_trainer_add_corpus(trainer, corpus, 1, 25), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_trainer_statistic(&value, trainer, "colour"), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "colour"));
    ck_assert_int_eq(sn_trainer_validate(&value, trainer, corpus, 0), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_trainer_save(trainer, "/nonexistent/folder/state"), SN_ERROR_IO);
    ck_assert_int_eq(sn_trainer_step(NULL, NULL), SN_ERROR_ARGUMENT);
    sn_trainer *none = trainer;
    ck_assert_int_eq(sn_trainer_create(&none, NULL, model, NULL), SN_ERROR_ARGUMENT);
    ck_assert_ptr_null(none);
    sn_trainer_free(trainer);
    sn_trainer_free(NULL);
}
END_TEST

/* --------------------------------------------------------------------- batches */

START_TEST(batches_mix_sources_by_share)
{
    sn_corpus *zeros, *empty;
    int32_t tokens[40] = {0};
    size_t counts[2] = {0, 0};
    ok(sn_corpus_create(&zeros, context));
    ok(sn_corpus_add_tokens(zeros, context, tokens, 40));
    ok(sn_corpus_create(&empty, context));
    sn_trainer *trainer = NULL;
    sn_options *options = parse_options(context, "steps=100 batch=8 window=20");
    ok(sn_trainer_create(&trainer, context, model, options));
    ok(sn_trainer_add_corpus(trainer, corpus, 3, 0));
    ok(sn_trainer_add_corpus(trainer, zeros, 1, 10));
    for (size_t step = 0; step < 100; step++) {
        const struct train_windows *w = &trainer->windows;
        size_t here = 0;
        ok(windows_draw(trainer, step));
        ck_assert_uint_eq(w->n_sequences, 8);
        for (size_t s = 0; s < 8; s++) {
            size_t first = w->offsets[s], n = w->offsets[s + 1] - first;
            int zero = 1;
            for (size_t i = 0; i < n; i++) {
                zero &= w->tokens[first + i] == 0;
                if (i + 1 < n)
                    ck_assert_int_eq(w->targets[first + i], w->tokens[first + i + 1]);
            }
            ck_assert_uint_le(n, zero ? 10 : 20);
            here += (size_t)zero;
        }
        ck_assert(here >= 1 && here <= 3);
        counts[0] += 8 - here;
        counts[1] += here;
    }
    ck_assert_msg(counts[1] >= 198 && counts[1] <= 202, "%zu of 800", counts[1]);
    int32_t again[8 * 24];
    ok(windows_draw(trainer, 3));
    memcpy(again, trainer->windows.tokens, 60 * sizeof *again);
    ok(windows_draw(trainer, 4));
    ck_assert_int_ne(memcmp(again, trainer->windows.tokens, 60 * sizeof *again), 0);
    ok(windows_draw(trainer, 3));
    ck_assert_int_eq(memcmp(again, trainer->windows.tokens, 60 * sizeof *again), 0);
    ok(sn_trainer_add_corpus(trainer, empty, 100, 0));
    ck_assert_int_ne(sn_trainer_step(NULL, trainer), SN_OK);
    ck_assert(statistic(trainer, "step") == 0);
    sn_options_free(options);
    sn_trainer_free(trainer);
    sn_corpus_free(zeros);
    sn_corpus_free(empty);
}
END_TEST

START_TEST(statistics_count_what_they_say)
{
    sn_trainer *trainer =
        open_trainer(model, "steps=10 batch=3 density=0.1 density_embedding=0.5 schedule_end=0 "
                            "minimum_per_neuron=0 learning_rate=0.03 warmup=0");
    ok(sn_trainer_step(NULL, trainer));
    double sizes = 0, kept = 0;
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        const struct train_parameter *p = &trainer->parameters[i];
        if (p->class != CLASS_MATRIX && p->class != CLASS_EMBEDDING)
            continue;
        sizes += (double)p->elements;
        kept += floor((p->class == CLASS_MATRIX ? 0.1 : 0.5) * (double)p->elements);
    }
    ck_assert(statistic(trainer, "parameters") == sizes && statistic(trainer, "nonzeros") == kept);
    ck_assert(fabs(statistic(trainer, "learning_rate") - 0.03 / sqrt(0.1)) < 1e-9);
    /* a neuron whose row is emptied by hand is dead; so is one that writes nothing */
    double dead = statistic(trainer, "dead_neurons");
    struct sn_matrix *reads = trainer->model->parameters[trainer->model->layers[0].c_fc].matrix;
    struct sn_matrix *writes = trainer->model->parameters[trainer->model->layers[0].mlp_proj].matrix;
    size_t live = 0;
    for (size_t n = 0; n < 80 && live < 2; n++) {
        const struct pattern *r = reads->pattern;
        const struct pattern_columns *w = writes->pattern->columns;
        if (r->row_start[n] == r->row_start[n + 1] || w->start[n] == w->start[n + 1])
            continue;
        for (size_t i = r->row_start[n]; live == 0 && i < r->row_start[n + 1]; i++)
            reads->values[i] = 0;
        for (size_t i = w->start[n]; live == 1 && i < w->start[n + 1]; i++)
            writes->values[w->entry[i]] = 0;
        live++;
    }
    ck_assert(live == 2 && statistic(trainer, "dead_neurons") == dead + 2);
    sn_trainer_free(trainer);
}
END_TEST

/* ------------------------------------------------------------------- no memory */

static int train_a_little(sn_context *in, void *payload)
{
    const char *path = payload;
    sn_corpus *words = NULL;
    sn_model *small = NULL;
    sn_options *options = NULL;
    sn_trainer *trainer = NULL, *again = NULL;
    int32_t tokens[60];
    for (int32_t i = 0; i < 60; i++)
        tokens[i] = i * i % 19;
    int status = sn_corpus_create(&words, in);
    if (status == SN_OK)
        status = sn_corpus_add_tokens(words, in, tokens, 60);
    if (status == SN_OK)
        status = sn_model_create(&small, in, tied_text, strlen(tied_text), 1);
    if (status == SN_OK)
        status = sn_options_create(&options, in);
    if (status == SN_OK)
        status = sn_options_set(options, in, "steps", 4);
    if (status == SN_OK && strstr(path, "support"))
        status = sn_options_set_text(options, in, "gradient", "support");
    if (status == SN_OK)
        status = sn_options_set(options, in, "refresh_interval", 2);
    if (status == SN_OK)
        status = sn_trainer_create(&trainer, in, small, options);
    if (status == SN_OK)
        status = sn_trainer_add_corpus(trainer, words, 1, 0);
    if (status == SN_OK)
        status = sn_trainer_run(trainer, 3);
    if (status == SN_OK)
        status = sn_trainer_save(trainer, path);
    if (status == SN_OK)
        status = sn_trainer_load(&again, in, path);
    sn_trainer_free(trainer);
    sn_trainer_free(again);
    sn_options_free(options);
    sn_model_free(small);
    sn_corpus_free(words);
    return status;
}

START_TEST(every_allocation_may_fail)
{
    static const char *const names[] = {"dense", "support"};
    struct temporary temporary;
    temporary_create(&temporary);
    for (size_t i = 0; i < 2; i++) {
        char path[256];
        strcpy(path, temporary_path(&temporary, names[i]));
        ck_assert_uint_gt(oom_loop(train_a_little, path, 1, long_tests() ? 0 : 24), 100);
    }
    temporary_remove(&temporary);
}
END_TEST

/* Each allocation of a second step refused in turn: where weights had begun to move, nobody sees them. */
START_TEST(a_step_half_made_is_not_shown)
{
    size_t half_made = 0;
    for (size_t n = 1;; n++) {
        struct oom oom = {0};
        sn_allocator allocator = oom_allocator(&oom);
        sn_context *own;
        sn_options *options;
        sn_trainer *trainer;
        sn_model *copy;
        double loss;
        ok(sn_context_create(&own, &allocator));
        ok(sn_options_create(&options, own));
        ok(sn_options_set(options, own, "steps", 4));
        ok(sn_trainer_create(&trainer, own, model, options));
        ok(sn_trainer_add_corpus(trainer, corpus, 1, 0));
        ok(sn_trainer_step(NULL, trainer));
        atomic_store(&oom.n_allocations, 0);
        atomic_store(&oom.fail_at, n);
        int status = sn_trainer_step(NULL, trainer);
        atomic_store(&oom.fail_at, 0);
        if (trainer->unfinished) {
            half_made++;
            ck_assert_int_eq(sn_trainer_snapshot(&copy, trainer), SN_ERROR_STATE);
            ck_assert_ptr_null(copy);
            ck_assert_int_eq(sn_trainer_validate(&loss, trainer, corpus, 2), SN_ERROR_STATE);
            ck_assert_int_eq(sn_trainer_save(trainer, "/nonexistent/folder/state"), SN_ERROR_STATE);
            ok(sn_trainer_step(NULL, trainer));
        }
        ok(sn_trainer_snapshot(&copy, trainer));
        ok(sn_trainer_validate(&loss, trainer, corpus, 2));
        sn_model_free(copy);
        sn_trainer_free(trainer);
        sn_options_free(options);
        sn_context_free(own);
        if (status == SN_OK)
            break;
        ck_assert_int_eq(status, SN_ERROR_MEMORY);
    }
    ck_assert_uint_gt(half_made, 0);
}
END_TEST

Suite *train_suite(void);
Suite *train_suite(void)
{
    Suite *suite = suite_create("train");
    TCase *tests = tcase_create("trainer");
    int n_resume = (int)(sizeof resume_options / sizeof *resume_options);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, dense_mode_keeps_budget_and_minimum_at_every_step);
    tcase_add_test(tests, support_mode_keeps_budget_and_minimum_at_every_step);
    tcase_add_test(tests, an_infeasible_minimum_is_lowered);
    tcase_add_test(tests, sparse_training_learns);
    tcase_add_test(tests, at_density_one_both_modes_agree);
    tcase_add_test(tests, one_support_step_equals_the_masked_dense_step);
    tcase_add_test(tests, a_tied_embedding_keeps_its_budget);
    tcase_add_test(tests, zero_weights_start_at_random_places);
    tcase_add_test(tests, choosing_on_a_support_agrees_with_sorting);
    tcase_add_test(tests, keys_select_and_sort);
    tcase_add_loop_test(tests, a_loaded_state_saves_to_the_same_bytes, 0, n_resume);
    tcase_add_test(tests, damaged_checkpoints_are_refused);
    tcase_add_test(tests, what_is_no_number_is_refused);
    tcase_add_test(tests, lying_checkpoints_do_no_harm);
    tcase_add_test(tests, cancelling_leaves_a_trainer_that_goes_on);
    tcase_add_test(tests, nan_stops_before_anything_changes);
    tcase_add_test(tests, snapshots_do_not_change_with_training);
    tcase_add_test(tests, bad_settings_are_named);
    tcase_add_test(tests, bad_calls_are_refused);
    tcase_add_test(tests, batches_mix_sources_by_share);
    tcase_add_test(tests, statistics_count_what_they_say);
    tcase_add_test(tests, every_allocation_may_fail);
    tcase_add_test(tests, a_step_half_made_is_not_shown);
    TCase *threads = tcase_create("threads"); /* what ThreadSanitizer looks at */
    tcase_add_checked_fixture(threads, set_up, tear_down);
    tcase_set_timeout(threads, 120);
    tcase_add_test(threads, a_refresh_drops_by_weight_and_grows_by_gradient);
    tcase_add_loop_test(threads, resuming_gives_the_same_bits, 0, n_resume);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, threads);
    return suite;
}
