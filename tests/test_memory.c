/* Memory: sessions that run forward only, what a first backward makes, and the estimators against what the
 * context counts. The model of the largest released shape is `make check-full`'s (tools/large_memory.c). */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "large_model.h"
#include "model/model.h"
#include "oom.h"
#include "temporary.h"

#define SPARSE_PLACES "attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q"

static const char *const configs[] = {
    "{\"block_size\": 90, \"vocab_size\": 70, \"n_layer\": 3, \"n_head\": 3, \"d_head\": 4, "
    "\"d_model\": 24, "
    "\"d_mlp\": 96, \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.25, \"d_pos_emb\": 6, "
    "\"afrac_loctypes\": \"" SPARSE_PLACES "\", "
    "\"enable_bigram_table\": true, \"learnable_bigram_table\": true, \"sink\": true}",
    "{\"block_size\": 90, \"vocab_size\": 70, \"n_layer\": 2, \"n_head\": 2, \"d_head\": 5, "
    "\"d_model\": 10, "
    "\"d_mlp\": 14, \"rms_norm\": false, \"tied_unembed\": true, \"sink\": true}",
    "{\"block_size\": 90, \"vocab_size\": 70, \"n_layer\": 2, \"n_head\": 2, \"d_head\": 8, "
    "\"d_model\": 16, "
    "\"d_mlp\": 20, \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.5, \"afrac_loctypes\": "
    "\"resid_post_attn,resid_post_mlp,mlp_neuron\", \"residual_activation_type\": \"relu\", "
    "\"activation_type\": \"relu\"}"};

#define N_CONFIGS (sizeof configs / sizeof *configs)
#define N_TOKENS 200
static const size_t offsets[] = {0, 1, 64, 67, 150, 151, N_TOKENS};
#define N_SEQUENCES 6

static sn_context *context;
static struct temporary temporary;
static int32_t tokens[N_TOKENS];

static void set_up(void)
{
    unsigned seed = 5;
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    temporary_create(&temporary);
    for (size_t i = 0; i < N_TOKENS; i++)
        tokens[i] = (int32_t)((seed = seed * 1103515245u + 12345u) >> 16) % 70;
}

static void tear_down(void)
{
    temporary_remove(&temporary);
    sn_context_free(context);
}

static void ok(int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

static void expect(int status, int wanted, const char *words)
{
    ck_assert_int_eq(status, wanted);
    ck_assert_msg(strstr(sn_context_message(context), words), "%s", sn_context_message(context));
}

static size_t held(void)
{
    size_t current;
    sn_context_memory(&current, NULL, context);
    return current;
}

/* A model read from a file, so that its matrices are sparse. */
static sn_model *loaded_model(const char *config, double density)
{
    const struct large_model large = {config, density, 3};
    sn_model *model;
    ok(large_write_safetensors(&large, context, temporary.folder));
    ok(sn_model_load(&model, context, temporary.folder));
    temporary_empty(&temporary);
    return model;
}

static sn_session *open_session_with(sn_model *model, int backward, const char *gradients,
                                     int selected_only, const char *recompute)
{
    sn_options *options;
    sn_session *session;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "backward", backward));
    ok(sn_options_set(options, context, "selected_only", selected_only));
    ok(sn_options_set_text(options, context, "gradients", gradients));
    ok(sn_options_set_text(options, context, "recompute", recompute));
    ok(sn_session_create(&session, context, model, options));
    sn_options_free(options);
    return session;
}

static sn_session *open_session(sn_model *model, int backward, const char *gradients)
{
    return open_session_with(model, backward, gradients, 0, "auto");
}

static void assert_close(const char *what, size_t estimated, size_t measured)
{
    double ratio = (double)estimated / (double)measured;
    ck_assert_msg(ratio > 0.9 && ratio < 1.1, "%s: %zu estimated, %zu measured", what, estimated,
                  measured);
}

/* ---- forward only */

typedef int (*reader)(float *values, size_t capacity, size_t *needed, sn_session *session);

/* The same bits of both sessions. */
static void same(const char *what, reader read, sn_session *a, sn_session *b)
{
    size_t n, m;
    ok(read(NULL, 0, &n, a));
    float *x = malloc((n + 1) * sizeof *x), *y = malloc((n + 1) * sizeof *y);
    ok(read(x, n, &n, a));
    ok(read(y, n, &m, b));
    ck_assert_uint_eq(n, m);
    ck_assert_msg(n && memcmp(x, y, n * sizeof *x) == 0, "%s differ", what);
    free(x);
    free(y);
}

static const char *site;

static int read_site(float *values, size_t capacity, size_t *needed, sn_session *session)
{
    return sn_session_activations(values, capacity, needed, session, site);
}

static void same_sites(const sn_model *model, sn_session *a, sn_session *b)
{
    for (size_t i = 0; i < sn_model_site_count(model); i++) {
        site = sn_model_site_name(model, i);
        same(site, read_site, a, b);
    }
}

/* Something at every site, also at those of the residual stream. */
static void attach(const sn_model *model, sn_session *session)
{
    static const size_t channels[] = {0, 3, 7};
    static const float values[] = {0.5f, -0.25f, 2};
    for (size_t i = 0; i < sn_model_site_count(model); i++) {
        const char *name = sn_model_site_name(model, i);
        ok(sn_session_record(session, name));
        ok(sn_session_intervene(session, name, (int)(i % 3), channels, 3, values, 3, NULL, 0));
    }
}

static void compare_runs(const sn_model *model, sn_session *keeping, sn_session *forward, int recorded)
{
    static const size_t selected[] = {0, 3, 66, 130, N_TOKENS - 1};
    sn_session *const both[2] = {keeping, forward};
    double loss[2];
    int32_t targets[N_TOKENS];
    for (int i = 0; i < 2; i++) {
        ok(sn_session_forward(both[i], tokens, offsets, N_SEQUENCES));
        ok(sn_session_loss(&loss[i], both[i], tokens));
    }
    ck_assert(loss[0] == loss[1]);
    same("logits", sn_session_logits, keeping, forward);
    same("residuals", sn_session_residual, keeping, forward);
    if (recorded)
        same_sites(model, keeping, forward);
    for (int i = 0; i < 2; i++) {
        ok(sn_session_select_logits(both[i], selected, 5));
        ok(sn_session_forward(both[i], tokens, offsets, N_SEQUENCES));
        ok(sn_session_loss(&loss[i], both[i], memcpy(targets, tokens, sizeof targets)));
    }
    ck_assert(loss[0] == loss[1]);
    same("selected logits", sn_session_logits, keeping, forward);
}

START_TEST(forward_only_gives_the_same_bits)
{
    sn_model *model = loaded_model(configs[_i], 0.3);
    for (size_t threads = 1; threads <= 3; threads++) {
        ok(sn_context_set_threads(context, threads));
        sn_session *keeping = open_session(model, 1, "none"), *forward = open_session(model, 0, "none");
        compare_runs(model, keeping, forward, 0);
        ok(sn_session_select_logits(keeping, NULL, 0));
        ok(sn_session_select_logits(forward, NULL, 0));
        attach(model, keeping);
        attach(model, forward);
        compare_runs(model, keeping, forward, 1);
        sn_session_free(keeping);
        sn_session_free(forward);
    }
    sn_model_free(model);
}
END_TEST

/* Every range: the two streams take turns wherever it begins. */
START_TEST(forward_only_ranges)
{
    sn_model *model = loaded_model(configs[0], 0.3);
    size_t width = 24, n = 2 * 3 + 1;
    float *residual = malloc(N_TOKENS * width * sizeof *residual);
    for (size_t i = 0; i < N_TOKENS * width; i++)
        residual[i] = (float)(i * 37 % 101) / 50 - 1;
    sn_session *keeping = open_session(model, 1, "none"), *forward = open_session(model, 0, "none");
    for (size_t first = 0; first < n; first++)
        for (size_t last = first + 1; last <= n; last++) {
            ok(sn_session_forward_range(keeping, residual, tokens, offsets, N_SEQUENCES, first, last));
            ok(sn_session_forward_range(forward, residual, tokens, offsets, N_SEQUENCES, first, last));
            same("residuals", sn_session_residual, keeping, forward);
            if (last == n)
                same("logits", sn_session_logits, keeping, forward);
        }
    free(residual);
    sn_session_free(keeping);
    sn_session_free(forward);
    sn_model_free(model);
}
END_TEST

START_TEST(forward_only_refuses_a_backward)
{
    sn_model *model = loaded_model(configs[0], 0.3);
    sn_session *session = open_session(model, 0, "none"), *none;
    float gradient[N_TOKENS * 24] = {0};
    sn_options *options;
    ok(sn_session_forward(session, tokens, offsets, N_SEQUENCES));
    expect(sn_session_backward(session, tokens), SN_ERROR_STATE, "\"backward\" 0");
    expect(sn_session_backward_from(session, NULL, NULL), SN_ERROR_STATE, "\"backward\" 0");
    expect(sn_session_add_site_gradient(session, "0.resid_mid", gradient, N_TOKENS * 24), SN_ERROR_STATE,
           "\"backward\" 0");
    expect(sn_session_input_gradient(NULL, 0, NULL, session), SN_ERROR_STATE, "no backward");
    sn_session_free(session);
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "backward", 0));
    ok(sn_options_set_text(options, context, "gradients", "support"));
    expect(sn_session_create(&none, context, model, options), SN_ERROR_ARGUMENT, "\"gradients\"");
    ck_assert_ptr_null(none);
    ok(sn_options_set(options, context, "backward", 2));
    expect(sn_session_create(&none, context, model, options), SN_ERROR_ARGUMENT, "backward");
    sn_options_free(options);
    sn_model_free(model);
}
END_TEST

/* ---- what a first backward makes */

static size_t count_transposed(const sn_model *model)
{
    size_t count = 0;
    for (size_t i = 0; i < model->n_parameters; i++)
        count += model->parameters[i].matrix && model->parameters[i].matrix->pattern &&
                 model->parameters[i].matrix->pattern->columns;
    return count;
}

START_TEST(running_forward_makes_no_transposed_order)
{
    sn_model *model = loaded_model(configs[0], 0.1);
    for (int backward = 0; backward < 2; backward++) {
        sn_session *session = open_session(model, backward, "none");
        ok(sn_session_forward(session, tokens, offsets, N_SEQUENCES));
        ck_assert_uint_eq(count_transposed(model), 0);
        if (backward)
            ok(sn_session_backward(session, tokens));
        sn_session_free(session);
    }
    ck_assert_uint_eq(count_transposed(model), 4 * 3 + 1);
    sn_model_free(model);
}
END_TEST

struct runner {
    sn_model *model;
    pthread_barrier_t *start;
    float gradient[N_TOKENS * 24];
    int status;
};

static void *first_backward(void *payload)
{
    struct runner *runner = payload;
    sn_context *own;
    sn_session *session = NULL;
    runner->status = sn_context_create(&own, NULL);
    if (runner->status == SN_OK)
        runner->status = sn_session_create(&session, own, runner->model, NULL);
    if (runner->status == SN_OK)
        runner->status = sn_session_forward(session, tokens, offsets, N_SEQUENCES);
    pthread_barrier_wait(runner->start);
    if (runner->status == SN_OK)
        runner->status = sn_session_backward(session, tokens);
    if (runner->status == SN_OK)
        runner->status = sn_session_input_gradient(runner->gradient, N_TOKENS * 24, NULL, session);
    sn_session_free(session);
    sn_context_free(own);
    return NULL;
}

/* Contexts that share a model may come to their first backward at the same time. */
START_TEST(first_backwards_at_once)
{
    enum { n = 4 };
    static struct runner runners[n];
    size_t before = held();
    for (int round = 0; round < 5; round++) {
        pthread_t threads[n];
        pthread_barrier_t start;
        sn_model *model = loaded_model(configs[0], 0.1);
        ck_assert_int_eq(pthread_barrier_init(&start, NULL, n), 0);
        for (int i = 0; i < n; i++) {
            runners[i] = (struct runner){.model = model, .start = &start};
            ck_assert_int_eq(pthread_create(&threads[i], NULL, first_backward, &runners[i]), 0);
        }
        for (int i = 0; i < n; i++) {
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
            ck_assert_int_eq(runners[i].status, SN_OK);
            ck_assert_mem_eq(runners[i].gradient, runners[0].gradient, sizeof runners[0].gradient);
        }
        pthread_barrier_destroy(&start);
        sn_model_free(model);
    }
    ck_assert_uint_eq(held(), before);
}
END_TEST

/* ---- the estimators */

/* mode 0: forward only; 1: inputs' gradients; 2, 3: weights' as well */
START_TEST(session_estimate_agrees)
{
    static const char *const gradients[] = {"none", "none", "support", "dense"};
    static const size_t selected[] = {0, 3, 66, 130, N_TOKENS - 1};
    sn_model *model = loaded_model(configs[_i / 4], 0.1);
    int mode = _i % 4;
    for (size_t threads = 1; threads <= 3; threads++)
        for (int more = 0; more < 4; more++) {
            size_t before = held(), estimate, again;
            ok(sn_context_set_threads(context, threads));
            sn_session *session = open_session_with(model, mode > 0, gradients[mode], more == 2,
                                                    more == 3 ? "always" : "auto");
            if (more == 1)
                attach(model, session);
            if (more == 1 || more == 2)
                ok(sn_session_select_logits(session, selected, 5));
            ok(sn_session_estimate_memory(&estimate, session, N_TOKENS, N_SEQUENCES));
            /* on the way it does not take more either */
            ok(sn_context_set_memory_limit(context, before + estimate + estimate / 10));
            ok(sn_session_forward(session, tokens, offsets, N_SEQUENCES));
            if (mode)
                ok(sn_session_backward(session, tokens));
            assert_close(gradients[mode], estimate, held() - before);
            ok(sn_context_set_memory_limit(context, 0));
            ok(sn_session_estimate_memory(&again, session, N_TOKENS, N_SEQUENCES));
            ck_assert_uint_le(again, estimate); /* what the backward has made is not counted again */
            sn_session_free(session);
        }
    sn_model_free(model);
}
END_TEST

/* An estimate between forward and backward disturbs neither. */
START_TEST(estimating_leaves_the_run_alone)
{
    sn_model *model = loaded_model(configs[0], 0.1);
    sn_session *session = open_session(model, 1, "none"), *other = open_session(model, 1, "none");
    size_t estimate;
    ok(sn_session_forward(session, tokens, offsets, N_SEQUENCES));
    ok(sn_session_estimate_memory(&estimate, session, 90, 1));
    ok(sn_session_backward(session, tokens));
    ok(sn_session_estimate_memory(&estimate, session, 5 * N_TOKENS, 20));
    ok(sn_session_forward(other, tokens, offsets, N_SEQUENCES));
    ok(sn_session_backward(other, tokens));
    same("logits", sn_session_logits, session, other);
    same("gradients", sn_session_input_gradient, session, other);
    sn_session_free(session);
    sn_session_free(other);
    sn_model_free(model);
}
END_TEST

START_TEST(forward_only_needs_a_fraction)
{
    sn_model *model = loaded_model(configs[0], 0.1);
    sn_session *keeping = open_session(model, 1, "none"), *forward = open_session(model, 0, "none");
    size_t kept, passed, large;
    ok(sn_session_estimate_memory(&kept, keeping, 64 * 90, 64));
    ok(sn_session_estimate_memory(&passed, forward, 64 * 90, 64));
    ok(sn_session_estimate_memory(&large, forward, 128 * 90, 128));
    ck_assert_uint_lt(passed, kept / 5);
    ck_assert_uint_gt(large, passed);
    sn_session_free(keeping);
    sn_session_free(forward);
    sn_model_free(model);
}
END_TEST

static const char wide_config[] =
    "{\"block_size\": 64, \"vocab_size\": 300, \"n_layer\": 2, \"n_head\": 8, \"d_head\": 16, "
    "\"d_model\": "
    "128, \"d_mlp\": 512, \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.25, \"d_pos_emb\": "
    "8, "
    "\"enable_bigram_table\": true, \"learnable_bigram_table\": true, \"sink\": true}";

/* Loads in a context of its own and compares with what was said before. */
static void check_model_estimate(const char *path, double density)
{
    size_t start, said_held, said_peak, after, peak;
    sn_context *own = NULL;
    sn_model *model;
    ck_assert_int_eq(sn_context_create(&own, NULL), SN_OK);
    sn_context_memory(&start, NULL, own);
    sn_context *mine = context;
    context = own; /* for the messages */
    ok(sn_model_estimate_memory(&said_held, &said_peak, own, path, density));
    sn_context_memory(&after, NULL, own);
    ck_assert_uint_eq(after, start);
    ok(sn_model_load(&model, own, path));
    sn_context_memory(&after, &peak, own);
    assert_close("held", said_held, after - start);
    assert_close("peak", said_peak, peak - start);
    ok(sn_model_estimate_memory(NULL, NULL, own, path, density));
    sn_model_free(model);
    context = mine;
    sn_context_free(own);
}

START_TEST(model_estimate_agrees)
{
    static const double densities[] = {1.0 / 64, 0.1, 0.4, 1};
    const struct large_model large = {_i / 4 ? configs[0] : wide_config, densities[_i % 4], 11};
    sn_model *model;
    ok(large_write_safetensors(&large, context, temporary.folder));
    check_model_estimate(temporary.folder, large.density);
    ok(sn_model_load(&model, context, temporary.folder));
    temporary_empty(&temporary);
    ok(sn_model_save(model, context, temporary_path(&temporary, "native.safetensors")));
    sn_model_free(model);
    check_model_estimate(temporary.path, 0.5); /* whatever is assumed: its headers tell */
    temporary_empty(&temporary);
    ok(large_write_torch(&large, context, temporary.folder, _i % 2));
    check_model_estimate(temporary.folder, large.density);
}
END_TEST

/* Both forms that the generator writes are the same model. */
START_TEST(generated_forms_agree)
{
    const struct large_model large = {wide_config, 0.05, 2};
    sn_model *models[2];
    float *values[2];
    for (int form = 0; form < 2; form++) {
        ok(form ? large_write_torch(&large, context, temporary.folder, 1)
                : large_write_safetensors(&large, context, temporary.folder));
        ok(sn_model_load(&models[form], context, temporary.folder));
        temporary_empty(&temporary);
        values[form] = malloc(512 * 136 * sizeof **values);
    }
    for (size_t i = 0; i < sn_model_tensor_count(models[0]); i++) {
        const char *name = sn_model_tensor_name(models[0], i);
        size_t n;
        for (int form = 0; form < 2; form++) {
            ok(sn_model_tensor(NULL, 0, &n, context, models[form], name));
            values[form] = realloc(values[form], n * sizeof **values);
            ok(sn_model_tensor(values[form], n, &n, context, models[form], name));
        }
        ck_assert_msg(memcmp(values[0], values[1], n * sizeof **values) == 0, "%s", name);
    }
    for (int form = 0; form < 2; form++) {
        free(values[form]);
        sn_model_free(models[form]);
    }
}
END_TEST

START_TEST(model_estimate_refuses)
{
    size_t bytes;
    const char *missing = temporary_path(&temporary, "missing");
    ck_assert_int_eq(sn_model_estimate_memory(&bytes, &bytes, NULL, "x", 1), SN_ERROR_ARGUMENT);
    expect(sn_model_estimate_memory(&bytes, &bytes, context, NULL, 1), SN_ERROR_ARGUMENT, "path");
    expect(sn_model_estimate_memory(&bytes, &bytes, context, missing, 0), SN_ERROR_ARGUMENT, "density");
    expect(sn_model_estimate_memory(&bytes, &bytes, context, missing, 1.5), SN_ERROR_ARGUMENT,
           "density");
    expect(sn_model_estimate_memory(&bytes, &bytes, context, missing, 1), SN_ERROR_IO, "missing");
}
END_TEST

/* ---- out of memory */

static int estimate_and_run(sn_context *with, void *payload)
{
    size_t bytes;
    sn_model *model = NULL;
    sn_session *session = NULL;
    sn_options *options = NULL;
    int status = sn_model_estimate_memory(&bytes, &bytes, with, payload, 0.1);
    if (status == SN_OK)
        status = sn_model_load(&model, with, payload);
    if (status == SN_OK)
        status = sn_options_create(&options, with);
    if (status == SN_OK)
        status = sn_options_set(options, with, "backward", 0);
    if (status == SN_OK)
        status = sn_session_create(&session, with, model, options);
    if (status == SN_OK)
        status = sn_session_forward(session, tokens, offsets, N_SEQUENCES);
    sn_session_free(session);
    if (status == SN_OK)
        status = sn_session_create(&session, with, model, NULL);
    else
        session = NULL;
    if (status == SN_OK)
        status = sn_session_forward(session, tokens, offsets, N_SEQUENCES);
    if (status == SN_OK)
        status = sn_session_backward(session, tokens);
    sn_session_free(session);
    sn_options_free(options);
    sn_model_free(model);
    return status;
}

START_TEST(every_allocation_may_fail)
{
    const struct large_model large = {configs[1], 0.1, 3};
    ok(large_write_safetensors(&large, context, temporary.folder));
    oom_loop(estimate_and_run, temporary.folder, 1, 0);
}
END_TEST

Suite *memory_suite(void);
Suite *memory_suite(void)
{
    Suite *suite = suite_create("memory");
    TCase *tests = tcase_create("memory"), *threads = tcase_create("threads");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_checked_fixture(threads, set_up, tear_down);
    tcase_add_loop_test(threads, forward_only_gives_the_same_bits, 0, (int)N_CONFIGS);
    tcase_add_test(tests, forward_only_ranges);
    tcase_add_test(tests, forward_only_refuses_a_backward);
    tcase_add_test(tests, running_forward_makes_no_transposed_order);
    tcase_add_test(threads, first_backwards_at_once);
    tcase_add_loop_test(threads, session_estimate_agrees, 0, 4 * (int)N_CONFIGS);
    tcase_add_test(tests, estimating_leaves_the_run_alone);
    tcase_add_test(tests, forward_only_needs_a_fraction);
    tcase_add_loop_test(tests, model_estimate_agrees, 0, 8);
    tcase_add_test(tests, generated_forms_agree);
    tcase_add_test(tests, model_estimate_refuses);
    tcase_add_test(tests, every_allocation_may_fail);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, threads);
    return suite;
}
