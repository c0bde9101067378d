/* Node masks, means, calibration. */
#include "circuit_cases.h"
#include "long.h"

/* ---- gates */

/* Loss of the pairs under fractional masks; with gradient != 0 also its gradient by the masks. */
static double masked_loss(struct judge *judge, const float *mask, int gradient)
{
    struct calibration calibration = {1.3, 0.2};
    double loss, difference[64];
    size_t n = judge->n_pairs[JUDGE_TASK];
    memcpy(judge->gates.mask, mask, judge->layout.n_nodes * sizeof *mask);
    gates_zero_gradient(&judge->gates);
    ok(gates_attach(&judge->gates, judge->session, gradient));
    ok(pair_batch_fill(&judge->batch, context, judge->tasks[JUDGE_TASK], NULL, 0, n,
                       judge->model->config.vocab_size));
    ok(pair_batch_forward(&judge->batch, judge->session));
    ok(pair_batch_differences(difference, &judge->batch, judge->session));
    double again = calibrated_loss(difference, 2 * n, calibration);
    if (gradient) {
        ok(pair_batch_backward(&loss, &judge->batch, judge->session, calibration, 1));
        ck_assert_double_eq_tol(loss, again, 1e-12);
    }
    gates_detach(&judge->gates);
    return again;
}

START_TEST(gate_gradients_match_finite_differences)
{
    sn_model *model = strong_model(SMOOTH_CONFIG, 12);
    sn_means *means = random_means(model, 6);
    sn_task *task = random_task(9, 20, 11, 21);
    struct judge judge;
    unsigned seed = 77;
    ok(judge_open(&judge, context, model, means, task, task, JUDGE_NODES));
    size_t n = judge.layout.n_nodes;
    float *mask = malloc(n * sizeof *mask), *gradient = malloc(n * sizeof *gradient);
    for (size_t i = 0; i < n; i++)
        mask[i] = i % 5 == 0 ? 1.0f : i % 5 == 1 ? 0.0f : (float)(next_random(&seed) % 100) * 0.01f;
    masked_loss(&judge, mask, 1);
    memcpy(gradient, judge.gates.gradient, n * sizeof *gradient);
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)gradient[i]));
    ck_assert_double_gt(largest, 1e-2);
    for (size_t i = 0; i < n; i += 3) {
        float step = 0.01f, saved = mask[i];
        mask[i] = saved + step;
        double up = masked_loss(&judge, mask, 0);
        mask[i] = saved - step;
        double down = masked_loss(&judge, mask, 0);
        mask[i] = saved;
        double numeric = (up - down) / (2 * (double)step);
        ck_assert_msg(fabs(numeric - (double)gradient[i]) < 2e-3 * largest + 2e-2 * fabs(numeric),
                      "node %zu: %g, by differences %g", i, (double)gradient[i], numeric);
    }
    free(mask);
    free(gradient);
    judge_close(&judge);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* Pairs that differ in one token, near their ends. */
static sn_task *similar_prompts(size_t n_pairs, size_t length, int32_t vocabulary)
{
    sn_task *task;
    unsigned seed = 5;
    ok(sn_task_create(&task, context, "similar"));
    for (size_t i = 0; i < n_pairs; i++) {
        int32_t a[64], b[64];
        size_t n = length - i % 5;
        for (size_t t = 0; t < n; t++)
            a[t] = b[t] = (int32_t)next_random(&seed) % vocabulary;
        b[n - 1 - i % 7] = (b[n - 1 - i % 7] + 1) % vocabulary;
        ok(sn_task_add_pair(task, context, a, n, b, n, 1, 2));
    }
    return task;
}

/* What a pair has in common is run once, and of the last layer only the last tokens: the loss and every
 * gradient are those of whole prompts side by side. */
START_TEST(shared_prompts_give_the_gradients_of_whole_ones)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 12);
    sn_means *means = random_means(model, 6);
    sn_task *task = similar_prompts(9, 40, 23);
    struct judge judge;
    unsigned seed = 78;
    ok(judge_open(&judge, context, model, means, task, task, JUDGE_NODES));
    size_t n = judge.layout.n_nodes;
    float *mask = malloc(n * sizeof *mask), *plain = malloc(n * sizeof *plain);
    for (size_t i = 0; i < n; i++)
        mask[i] = next_random(&seed) % 3 ? 1.0f : 0.0f;
    double loss = masked_loss(&judge, mask, 1);
    ck_assert_uint_gt(judge.batch.shared[1], 30);
    memcpy(plain, judge.gates.gradient, n * sizeof *plain);
    sn_session *short_cut = judge.session;
    ok(session_create(&judge.session, context, model, GRADIENT_NONE));
    judge.batch.share = 0;
    ck_assert_double_eq_tol(masked_loss(&judge, mask, 1), loss, 1e-6);
    double largest = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)plain[i]));
        worst = fmax(worst, fabs((double)plain[i] - (double)judge.gates.gradient[i]));
    }
    ck_assert_msg(worst <= 1e-5 * largest, "%g of %g", worst, largest);
    sn_session_free(short_cut);
    free(mask);
    free(plain);
    judge_close(&judge);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

static float *all_logits(sn_session *session, size_t *n)
{
    int32_t tokens[130];
    size_t offsets[] = {0, 1, 70, 130};
    unsigned seed = 8;
    for (int t = 0; t < 130; t++)
        tokens[t] = (int32_t)next_random(&seed) % 23;
    ok(sn_session_forward(session, tokens, offsets, 3));
    ok(sn_session_logits(NULL, 0, n, session));
    float *logits = malloc(*n * sizeof *logits);
    ok(sn_session_logits(logits, *n, n, session));
    return logits;
}

START_TEST(all_ones_is_the_full_model_all_zeros_ablates_everything)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 10);
    sn_means *means = random_means(model, 12);
    sn_session *session;
    struct gates gates;
    size_t n, again;
    ok(session_create(&session, context, model, GRADIENT_NONE));
    ok(gates_create(&gates, context, &means->layout, means->values));
    float *plain = all_logits(session, &n);
    for (int learning = 0; learning < 2; learning++) {
        ok(gates_attach(&gates, session, learning));
        float *gated = all_logits(session, &again);
        ck_assert_uint_eq(n, again);
        ck_assert_int_eq(memcmp(plain, gated, n * sizeof *plain), 0);
        free(gated);
    }
    memset(gates.mask, 0, means->layout.n_nodes * sizeof *gates.mask);
    float *ablated = all_logits(session, &n);
    gates_detach(&gates);
    for (size_t s = 0; s < means->layout.n_sites; s++) {
        size_t width, site = means->layout.sites[s].site;
        const float *values = sn_means_site(&width, means, model->site_names[site]);
        ok(sn_session_intervene(session, model->site_names[site], SN_SET, NULL, 0, values, width, NULL,
                                0));
    }
    float *set = all_logits(session, &n);
    ck_assert_int_eq(memcmp(ablated, set, n * sizeof *set), 0);
    ck_assert_int_ne(memcmp(ablated, plain, n * sizeof *set), 0);
    free(plain);
    free(ablated);
    free(set);
    gates_free(&gates);
    sn_session_free(session);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(complement_masks_are_the_opposite)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 1);
    sn_means *means = random_means(model, 1);
    struct gates gates;
    size_t n = means->layout.n_nodes;
    unsigned char *kept = malloc(n + 1);
    random_nodes(kept, n, 50, 2);
    kept[0] = 7; /* any nonzero byte means kept */
    ok(gates_create(&gates, context, &means->layout, means->values));
    gates_set(&gates, kept, 0);
    for (size_t i = 0; i < n; i++)
        ck_assert_float_eq(gates.mask[i], kept[i] ? 1 : 0);
    gates_set(&gates, kept, 1);
    for (size_t i = 0; i < n; i++)
        ck_assert_float_eq(gates.mask[i], kept[i] ? 0 : 1);
    free(kept);
    gates_free(&gates);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* ---- means */

START_TEST(means_equal_recorded_averages)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_corpus *corpus;
    sn_means *means;
    sn_session *session;
    int32_t tokens[75];
    size_t offsets[] = {0, 75}, width, needed;
    unsigned seed = 5;
    for (int t = 0; t < 75; t++)
        tokens[t] = (int32_t)next_random(&seed) % 23;
    ok(sn_corpus_create(&corpus, context));
    ok(sn_corpus_add_tokens(corpus, context, tokens, 75));
    /* One window is enough for one token; the corpus tells which one that is. */
    int32_t sampled[90], targets[90];
    size_t length;
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "tokens", 1));
    ok(sn_options_set(options, context, "seed", 3));
    ok(sn_means_create(&means, context, model, corpus, options));
    ok(sn_corpus_sample(sampled, targets, &length, corpus, context, 1, 90, 3, 0));
    offsets[1] = length;
    ok(sn_session_create(&session, context, model, NULL));
    for (size_t s = 0; s < means->layout.n_sites; s++) {
        const char *site = model->site_names[means->layout.sites[s].site];
        float values[90 * 30];
        ok(sn_session_record(session, site));
        ok(sn_session_forward(session, sampled, offsets, 1));
        ok(sn_session_activations(values, 90 * 30, &needed, session, site));
        const float *mean = sn_means_site(&width, means, site);
        ck_assert_uint_eq(needed, length * width);
        for (size_t c = 0; c < width; c++) {
            double sum = 0;
            for (size_t t = 0; t < length; t++)
                sum += (double)values[t * width + c];
            ck_assert_double_eq_tol((double)mean[c], sum / (double)length, 1e-6);
        }
    }
    ck_assert_ptr_null(sn_means_site(&width, means, "0.attn.y"));
    ck_assert_ptr_null(sn_means_site(&width, means, "nowhere"));
    sn_options_free(options);
    sn_session_free(session);
    sn_means_free(means);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

START_TEST(means_take_enough_tokens_on_any_threads)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_corpus *corpus = planted_corpus(context);
    sn_means *one, *three;
    ok(sn_means_create(&one, context, model, corpus, NULL));
    ok(sn_context_set_threads(context, 3));
    ok(sn_means_create(&three, context, model, corpus, NULL));
    ck_assert_int_eq(memcmp(one->values, three->values, one->layout.n_nodes * sizeof(float)), 0);
    sn_means_free(one);
    sn_means_free(three);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

/* ---- calibration */

/* What calibrate minimises: the loss and its two ridges. */
static double objective(const double *difference, size_t n, struct calibration at)
{
    return calibrated_loss(difference, n, at) + CALIBRATION_SHIFT_RIDGE * at.shift * at.shift +
           CALIBRATION_SCALE_RIDGE * (at.scale - 1) * (at.scale - 1);
}

static double brute_force(const double *difference, size_t n, struct calibration *best)
{
    double lowest = INFINITY;
    for (int i = 0; i <= 400; i++)
        for (int j = -600; j <= 600; j++) {
            struct calibration at = {i * 0.01, j * 0.02};
            double loss = objective(difference, n, at);
            if (loss < lowest) {
                lowest = loss;
                *best = at;
            }
        }
    return lowest;
}

START_TEST(calibration_is_the_optimum)
{
    unsigned seed = 17;
    /* each shift and a wide range of overlaps, whatever the step */
    for (int round = 0; round < 12; round += long_tests() ? 1 : 4) {
        double difference[40];
        struct calibration grid = {0, 0};
        double overlap = 0.3 * round, shift = round % 3 - 1;
        for (size_t i = 0; i < 40; i++)
            difference[i] =
                (i % 2 ? -1 : 1) + shift + overlap * ((double)(next_random(&seed) % 2001) / 1000 - 1);
        double lowest = brute_force(difference, 40, &grid);
        struct calibration found = calibrate(difference, 40);
        double loss = objective(difference, 40, found);
        ck_assert_msg(loss <= lowest + 1e-9 && loss >= lowest - 2e-3,
                      "round %d: %.9f at (%g, %g), grid %.9f at (%g, %g)", round, loss, found.scale,
                      found.shift, lowest, grid.scale, grid.shift);
        ck_assert(found.scale >= 0 && found.scale <= CALIBRATION_MAX_SCALE);
    }
}
END_TEST

START_TEST(calibration_is_bounded)
{
    double separable[] = {0.1, -0.1, 0.2, -0.3}, opposite[] = {-9, 9, -12, 13, -8, 11};
    double constant[] = {5, 5, 5, 5}, shifted[] = {7.5, 6.5, 7.6, 6.4};
    struct calibration found = calibrate(separable, 4);
    ck_assert_double_eq(found.scale, CALIBRATION_MAX_SCALE);
    ck_assert_double_lt(fabs(found.shift), 0.2);
    found = calibrate(opposite, 6);
    ck_assert_double_eq(found.scale, 0);
    ck_assert_double_eq_tol(calibrated_loss(opposite, 6, found), LN_2, 1e-12);
    found = calibrate(constant, 4);
    ck_assert_double_eq_tol(calibrated_loss(constant, 4, found), LN_2, 1e-3);
    ck_assert_double_eq(calibrated_accuracy(constant, 4, (struct calibration){0, 0}), 0.5);
    found = calibrate(shifted, 4);
    ck_assert_double_lt(found.shift, -1); /* towards the middle of the classes, against the ridge */
    ck_assert_double_lt(calibrated_loss(shifted, 4, found),
                        calibrated_loss(shifted, 4, (struct calibration){found.scale, 0}) - 0.1);
}
END_TEST

START_TEST(losses_of_huge_margins_stay_finite)
{
    double huge[] = {1e30, 1e30, -1e30, 1e-30};
    struct calibration found = calibrate(huge, 4), raw = {1, 0};
    ck_assert(isfinite(calibrated_loss(huge, 4, found)) && isfinite(found.shift));
    ck_assert(isfinite(calibrated_loss(huge, 4, raw)));
}
END_TEST

Suite *gates_suite(void);
Suite *gates_suite(void)
{
    const TTest *masks[] = {
        gate_gradients_match_finite_differences, shared_prompts_give_the_gradients_of_whole_ones,
        all_ones_is_the_full_model_all_zeros_ablates_everything, complement_masks_are_the_opposite};
    const TTest *averages[] = {means_equal_recorded_averages};
    const TTest *threads[] = {
        means_take_enough_tokens_on_any_threads}; /* what ThreadSanitizer looks at */
    const TTest *calibration[] = {calibration_is_the_optimum, calibration_is_bounded,
                                  losses_of_huge_margins_stay_finite};
    Suite *suite = suite_create("gates");
    add_cases(suite, "masks", masks, sizeof masks / sizeof *masks);
    add_cases(suite, "averages", averages, sizeof averages / sizeof *averages);
    add_cases(suite, "calibration", calibration, sizeof calibration / sizeof *calibration);
    add_cases(suite, "threads", threads, sizeof threads / sizeof *threads);
    return suite;
}
