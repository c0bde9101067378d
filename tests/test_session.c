/* Sessions: ragged batches, ranges, interventions, gradients; on the public API. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sparsenet.h"

static const char config_text[] =
    "{\"block_size\": 90, \"vocab_size\": 23, \"n_layer\": 2, \"n_head\": 3, \"d_head\": 4, "
    "\"d_model\": 18,"
    " \"d_mlp\": 30, \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.5, \"d_pos_emb\": 6,"
    " \"afrac_loctypes\": \"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q\","
    " \"enable_bigram_table\": true, \"learnable_bigram_table\": true, \"sink\": true}";
static const char smooth_text[] =
    "{\"block_size\": 40, \"vocab_size\": 11, \"n_layer\": 2, \"n_head\": 2, \"d_head\": 5, "
    "\"d_model\": 10,"
    " \"d_mlp\": 14, \"rms_norm\": false, \"tied_unembed\": true, \"sink\": true}";

static sn_context *context;
static sn_model *model;

static void set_up(void)
{
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    ck_assert_int_eq(sn_model_create(&model, context, config_text, strlen(config_text), 3), SN_OK);
}

static void tear_down(void)
{
    sn_model_free(model);
    sn_context_free(context);
}

static void ok(int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

static sn_session *open_session(sn_model *of, const char *gradients)
{
    sn_options *options;
    sn_session *session;
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "gradients", gradients));
    ok(sn_session_create(&session, context, of, options));
    sn_options_free(options);
    return session;
}

static float *logits_of(sn_session *session, size_t *count)
{
    ok(sn_session_logits(NULL, 0, count, session));
    float *logits = malloc(*count * sizeof *logits);
    ok(sn_session_logits(logits, *count, count, session));
    return logits;
}

static void fill_tokens(int32_t *tokens, size_t n, int32_t vocabulary, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)((seed = seed * 1103515245u + 12345u) >> 16) % vocabulary;
}

static void assert_close(const float *a, const float *b, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs((double)a[i] - (double)b[i]) <= tolerance, "[%zu]: %g and %g", i,
                      (double)a[i], (double)b[i]);
}

START_TEST(ragged_batch_equals_its_sequences)
{
    size_t offsets[] = {0, 1, 64, 67, 150, 151}, single[2] = {0, 0}, count, one;
    int32_t tokens[151];
    fill_tokens(tokens, 151, 23, 7);
    sn_session *session = open_session(model, "none");
    ok(sn_session_forward(session, tokens, offsets, 5));
    float *all = logits_of(session, &count);
    ck_assert_uint_eq(count, 151 * 23);
    for (size_t s = 0; s < 5; s++) {
        single[1] = offsets[s + 1] - offsets[s];
        ok(sn_session_forward(session, tokens + offsets[s], single, 1));
        float *alone = logits_of(session, &one);
        assert_close(alone, all + offsets[s] * 23, one, 2e-6);
        free(alone);
    }
    free(all);
    sn_session_free(session);
}
END_TEST

START_TEST(threads_do_not_change_bits)
{
    size_t offsets[] = {0, 70, 75, 160, 230}, count;
    int32_t tokens[230];
    fill_tokens(tokens, 230, 23, 11);
    float *reference = NULL, *reference_gradient = NULL;
    for (size_t threads = 1; threads <= 4; threads++) {
        float gradient[54 * 24];
        ok(sn_context_set_threads(context, threads));
        sn_session *session = open_session(model, "dense");
        ok(sn_session_forward(session, tokens, offsets, 4));
        ok(sn_session_backward(session, tokens));
        float *logits = logits_of(session, &count);
        ok(sn_session_gradient(gradient, 36 * 24, &(size_t){0}, session,
                               "transformer.h.0.attn.c_attn.weight"));
        if (!reference) {
            reference = logits;
            reference_gradient = malloc(36 * 24 * sizeof(float));
            memcpy(reference_gradient, gradient, 36 * 24 * sizeof(float));
        } else {
            ck_assert_int_eq(memcmp(reference, logits, count * sizeof(float)), 0);
            ck_assert_int_eq(memcmp(reference_gradient, gradient, 36 * 24 * sizeof(float)), 0);
            free(logits);
        }
        sn_session_free(session);
    }
    free(reference);
    free(reference_gradient);
}
END_TEST

static sn_session *recomputing_session(void)
{
    sn_options *options;
    sn_session *session;
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "gradients", "dense"));
    ok(sn_options_set_text(options, context, "recompute", "always"));
    ok(sn_session_create(&session, context, model, options));
    sn_options_free(options);
    return session;
}

/* The backward has scratch for as many workers as the forward had; an estimate in between lays out nothing anew. */
START_TEST(more_threads_after_the_forward)
{
    size_t offsets[] = {0, 70, 75, 160, 230}, bytes;
    int32_t tokens[230];
    static float expected[54 * 24], gradient[54 * 24];
    fill_tokens(tokens, 230, 23, 11);
    for (int recomputes = 0; recomputes < 2; recomputes++)
        for (size_t threads = 1; threads <= 8; threads += 7) {
            ok(sn_context_set_threads(context, 1));
            sn_session *session = recomputes ? recomputing_session() : open_session(model, "dense");
            ok(sn_session_forward(session, tokens, offsets, 4));
            ok(sn_context_set_threads(context, threads));
            ok(sn_session_estimate_memory(&bytes, session, 500, 3));
            ok(sn_session_backward(session, tokens));
            ok(sn_session_gradient(threads > 1 ? gradient : expected, 36 * 24, &(size_t){0}, session,
                                   "transformer.h.0.attn.c_attn.weight"));
            sn_session_free(session);
        }
    ck_assert_int_eq(memcmp(gradient, expected, sizeof gradient), 0);
}
END_TEST

/* Selecting and recording change the shape of what a run leaves: then it is gone, whole. */
START_TEST(results_are_forgotten_together)
{
    size_t offsets[] = {0, 3}, needed = 0, bytes;
    const size_t first = 0;
    int32_t tokens[3] = {1, 2, 3};
    sn_session *session = open_session(model, "dense");
    for (int which = 0; which < 2; which++) {
        ok(sn_session_record(session, "0.attn.act_in"));
        ok(sn_session_forward(session, tokens, offsets, 1));
        ok(sn_session_backward(session, tokens));
        ok(sn_session_input_gradient(NULL, 0, &needed, session));
        ok(which ? sn_session_record(session, "0.mlp.act_in")
                 : sn_session_select_logits(session, &first, 1));
        ok(sn_session_estimate_memory(&bytes, session, 3, 1));
        ck_assert_int_eq(sn_session_input_gradient(NULL, 0, &needed, session), SN_ERROR_STATE);
        ck_assert_int_eq(sn_session_site_gradient(NULL, 0, &needed, session, "0.mlp.act_in"),
                         SN_ERROR_STATE);
        ok(sn_session_gradient(NULL, 0, &needed, session, "transformer.h.0.attn.c_attn.weight"));
    }
    sn_session_free(session);
}
END_TEST

START_TEST(selected_logits_equal_all)
{
    size_t offsets[] = {0, 80, 140}, positions[] = {3, 79, 80, 139}, count, few;
    int32_t tokens[140], targets[140];
    fill_tokens(tokens, 140, 23, 5);
    sn_session *session = open_session(model, "dense");
    ok(sn_session_forward(session, tokens, offsets, 2));
    float *all = logits_of(session, &count);
    for (size_t i = 0; i < 140; i++)
        targets[i] = -1;
    for (size_t i = 0; i < 4; i++)
        targets[positions[i]] = (int32_t)i;
    ok(sn_session_backward(session, targets));
    float full[30 * 24], selected[30 * 24];
    ok(sn_session_gradient(full, 720, &count, session, "transformer.h.1.mlp.c_fc.weight"));
    ok(sn_session_zero_gradients(session));
    ok(sn_session_select_logits(session, positions, 4));
    ok(sn_session_forward(session, tokens, offsets, 2));
    float *part = logits_of(session, &few);
    ck_assert_uint_eq(few, 4 * 23);
    for (size_t i = 0; i < 4; i++)
        assert_close(part + i * 23, all + positions[i] * 23, 23, 1e-6);
    int32_t four[] = {0, 1, 2, 3};
    ok(sn_session_backward(session, four));
    ok(sn_session_gradient(selected, 720, &count, session, "transformer.h.1.mlp.c_fc.weight"));
    assert_close(full, selected, 720, 1e-6);
    free(all);
    free(part);
    sn_session_free(session);
}
END_TEST

START_TEST(ranges_compose)
{
    size_t offsets[] = {0, 9, 75}, count;
    int32_t tokens[75];
    fill_tokens(tokens, 75, 23, 9);
    sn_session *session = open_session(model, "none");
    ok(sn_session_record(session, "0.resid_in"));
    ok(sn_session_forward(session, tokens, offsets, 2));
    float *whole = logits_of(session, &count);
    float residual[75 * 18];
    ok(sn_session_activations(residual, 75 * 18, &count, session, "0.resid_in"));
    for (size_t s = 0; s < 4; s++) {
        ok(sn_session_forward_range(session, residual, NULL, offsets, 2, s, s + 1));
        ok(sn_session_residual(residual, 75 * 18, &count, session));
    }
    ok(sn_session_forward_range(session, residual, tokens, offsets, 2, 4, 5));
    float *composed = logits_of(session, &count);
    assert_close(whole, composed, count, 1e-6);
    ck_assert_int_eq(sn_session_forward_range(session, residual, NULL, offsets, 2, 4, 5),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_session_forward_range(session, residual, tokens, offsets, 2, 3, 3),
                     SN_ERROR_ARGUMENT);
    free(whole);
    free(composed);
    sn_session_free(session);
}
END_TEST

/* A smooth model (no AbsTopK) of layer norms, so that finite differences hold. At random weights the
 * attention is all but even; scaled queries, keys and values give it gradients that can be measured. */
static void sharpen_attention(sn_session *session)
{
    static const char *const sites[] = {"0.attn.q", "0.attn.k", "0.attn.v",
                                        "1.attn.q", "1.attn.k", "1.attn.v"};
    float scales[10];
    for (size_t i = 0; i < 10; i++)
        scales[i] = 20;
    ok(sn_session_clear_interventions(session));
    for (size_t i = 0; i < sizeof sites / sizeof *sites; i++)
        ok(sn_session_intervene(session, sites[i], SN_SCALE, NULL, 0, scales, 10, NULL, 0));
}

static double loss_with_shift(sn_session *session, const char *site, size_t channel, float shift,
                              const int32_t *tokens, const size_t *offsets, size_t n)
{
    double loss;
    sharpen_attention(session);
    ok(sn_session_intervene(session, site, SN_ADD, &channel, 1, &shift, 1, NULL, 0));
    ok(sn_session_forward(session, tokens, offsets, n));
    ok(sn_session_loss(&loss, session, tokens));
    return loss;
}

START_TEST(site_gradients_are_finite_differences)
{
    static const char *const sites[] = {
        "0.resid_in",        "0.attn.act_in",      "0.attn.q",    "0.attn.k",       "0.attn.v",
        "0.attn.y",          "0.attn.resid_delta", "0.resid_mid", "0.mlp.act_in",   "0.mlp.post_act",
        "0.mlp.resid_delta", "1.resid_in",         "1.attn.k",    "1.mlp.post_act", "final_resid"};
    sn_model *smooth;
    size_t offsets[] = {0, 7, 20}, count;
    int32_t tokens[20];
    fill_tokens(tokens, 20, 11, 4);
    ok(sn_model_create(&smooth, context, smooth_text, strlen(smooth_text), 5));
    sn_session *session = open_session(smooth, "none");
    for (size_t i = 0; i < sizeof sites / sizeof *sites; i++) {
        size_t width = sn_model_site_width(smooth, sites[i]), channel = i % width;
        float gradient[20 * 14], *g = gradient;
        ck_assert_uint_gt(width, 0);
        ok(sn_session_record(session, sites[i]));
        sharpen_attention(session);
        ok(sn_session_forward(session, tokens, offsets, 2));
        ok(sn_session_backward(session, tokens));
        ok(sn_session_site_gradient(g, 20 * 14, &count, session, sites[i]));
        double analytic = 0, h = 1e-3;
        for (size_t t = 0; t < 20; t++)
            analytic += (double)gradient[t * width + channel];
        double up = loss_with_shift(session, sites[i], channel, (float)h, tokens, offsets, 2);
        double down = loss_with_shift(session, sites[i], channel, (float)-h, tokens, offsets, 2);
        ck_assert_msg(fabs((up - down) / (2 * h) - analytic) < 4e-5 + 0.01 * fabs(analytic),
                      "%s: %g and %g", sites[i], (up - down) / (2 * h), analytic);
    }
    sn_session_free(session);
    sn_model_free(smooth);
}
END_TEST

START_TEST(interventions_set_scale_and_mask)
{
    size_t offsets[] = {0, 70}, channels[] = {2, 5}, count;
    int32_t tokens[70];
    float values[] = {1.5f, -2.0f}, got[70 * 30], before[70 * 30];
    unsigned char mask[70] = {0};
    fill_tokens(tokens, 70, 23, 4);
    mask[66] = 1;
    sn_session *session = open_session(model, "none");
    ok(sn_session_record(session, "0.mlp.post_act"));
    ok(sn_session_forward(session, tokens, offsets, 1));
    ok(sn_session_activations(before, 2100, &count, session, "0.mlp.post_act"));
    ok(sn_session_intervene(session, "0.mlp.post_act", SN_SET, channels, 2, values, 2, mask, 70));
    ok(sn_session_intervene(session, "0.mlp.post_act", SN_SCALE, channels, 1, values, 1, NULL, 0));
    ok(sn_session_forward(session, tokens, offsets, 1));
    ok(sn_session_activations(got, 2100, &count, session, "0.mlp.post_act"));
    for (size_t t = 0; t < 70; t++)
        for (size_t c = 0; c < 30; c++) {
            float expected = before[t * 30 + c];
            if (t == 66 && c == 2)
                expected = 1.5f;
            if (t == 66 && c == 5)
                expected = -2.0f;
            if (c == 2)
                expected *= 1.5f;
            ck_assert_float_eq(got[t * 30 + c], expected);
        }
    ck_assert_int_eq(
        sn_session_intervene(session, "0.mlp.nope", SN_SET, channels, 2, values, 2, NULL, 0),
        SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "0.mlp.nope"));
    channels[1] = 30;
    ck_assert_int_eq(
        sn_session_intervene(session, "0.mlp.post_act", SN_SET, channels, 2, values, 2, NULL, 0),
        SN_ERROR_ARGUMENT);
    sn_session_free(session);
}
END_TEST

START_TEST(patching_a_site_reproduces_the_other_run)
{
    size_t offsets[] = {0, 66}, count;
    int32_t tokens[66], others[66];
    float patch[66 * 18];
    fill_tokens(tokens, 66, 23, 4);
    fill_tokens(others, 66, 23, 8);
    sn_session *session = open_session(model, "none");
    ok(sn_session_record(session, "final_resid"));
    ok(sn_session_forward(session, others, offsets, 1));
    ok(sn_session_activations(patch, 66 * 18, &count, session, "final_resid"));
    ok(sn_session_intervene(session, "final_resid", SN_SET, NULL, 0, patch, 66 * 18, NULL, 0));
    ok(sn_session_forward(session, tokens, offsets, 1));
    float patched[66 * 18];
    ok(sn_session_activations(patched, 66 * 18, &count, session, "final_resid"));
    ck_assert_int_eq(memcmp(patch, patched, sizeof patch), 0);
    sn_session_free(session);
}
END_TEST

START_TEST(callers_gradient_equals_loss_gradient)
{
    size_t offsets[] = {0, 30, 65}, count;
    int32_t tokens[65];
    fill_tokens(tokens, 65, 23, 4);
    sn_session *session = open_session(model, "support");
    ok(sn_session_forward(session, tokens, offsets, 2));
    float *logits = logits_of(session, &count), a[18 * 30], b[18 * 30], bigram_a[529], bigram_b[529];
    ok(sn_session_backward(session, tokens));
    ok(sn_session_gradient(a, 540, &count, session, "transformer.h.0.mlp.c_proj.weight"));
    ok(sn_session_gradient(bigram_a, 529, &count, session, "bigram_table"));
    ok(sn_session_zero_gradients(session));
    for (size_t t = 0; t < 65; t++) {
        double sum = 0;
        for (size_t c = 0; c < 23; c++)
            sum += exp((double)logits[t * 23 + c]);
        for (size_t c = 0; c < 23; c++)
            logits[t * 23 + c] =
                (float)((exp((double)logits[t * 23 + c]) / sum - (tokens[t] == (int32_t)c)) / 65);
    }
    ok(sn_session_backward_from(session, logits, NULL));
    ok(sn_session_gradient(b, 540, &count, session, "transformer.h.0.mlp.c_proj.weight"));
    ok(sn_session_gradient(bigram_b, 529, &count, session, "bigram_table"));
    assert_close(a, b, 540, 1e-7);
    assert_close(bigram_a, bigram_b, 529, 1e-7);
    for (size_t c = 0; c < 23; c++)
        ck_assert_float_eq(bigram_a[22 * 23 + c], 0);
    free(logits);
    sn_session_free(session);
}
END_TEST

START_TEST(a_gradient_added_at_a_site_acts_once)
{
    size_t offsets[] = {0, 20}, count;
    int32_t tokens[20];
    float ones[20 * 18], a[20 * 18], b[20 * 18], c[20 * 18];
    fill_tokens(tokens, 20, 23, 4);
    for (size_t i = 0; i < 360; i++)
        ones[i] = 1;
    sn_session *session = open_session(model, "none");
    ok(sn_session_record(session, "final_resid"));
    ok(sn_session_forward(session, tokens, offsets, 1));
    ok(sn_session_backward(session, tokens));
    ok(sn_session_site_gradient(a, 360, &count, session, "final_resid"));
    ok(sn_session_add_site_gradient(session, "final_resid", ones, 360));
    ok(sn_session_backward(session, tokens));
    ok(sn_session_site_gradient(b, 360, &count, session, "final_resid"));
    ok(sn_session_backward(session, tokens));
    ok(sn_session_site_gradient(c, 360, &count, session, "final_resid"));
    for (size_t i = 0; i < 360; i++)
        ck_assert_float_eq_tol(b[i], a[i] + 1, 1e-6f);
    ck_assert_int_eq(memcmp(a, c, sizeof a), 0);
    sn_session_free(session);
}
END_TEST

START_TEST(bad_batches_are_refused_by_name)
{
    size_t offsets[] = {0, 3}, empty[] = {0, 2, 2}, shifted[] = {1, 3}, count;
    int32_t tokens[100] = {1, 2, 23};
    double loss;
    sn_session *session = open_session(model, "none");
    ck_assert_int_eq(sn_session_logits(NULL, 0, &count, session), SN_ERROR_STATE);
    ck_assert_int_eq(sn_session_forward(session, tokens, offsets, 1), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "tokens[2] is 23"));
    ck_assert_int_eq(sn_session_forward(session, tokens, empty, 2), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_session_forward(session, tokens, shifted, 1), SN_ERROR_ARGUMENT);
    offsets[1] = 91;
    tokens[2] = 0;
    ck_assert_int_eq(sn_session_forward(session, tokens, offsets, 1), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "block_size is 90"));
    offsets[1] = 3;
    ok(sn_session_forward(session, tokens, offsets, 1));
    int32_t none[] = {-1, -1, -1}, beyond[] = {0, 23, 0};
    ck_assert_int_eq(sn_session_loss(&loss, session, none), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_session_loss(&loss, session, beyond), SN_ERROR_ARGUMENT);
    sn_session_free(session);
}
END_TEST

START_TEST(estimate_covers_what_is_held)
{
    size_t offsets[] = {0, 80, 160}, estimate, before, after;
    int32_t tokens[160];
    fill_tokens(tokens, 160, 23, 2);
    sn_session *session = open_session(model, "dense");
    ok(sn_session_estimate_memory(&estimate, session, 160, 2));
    sn_context_memory(&before, NULL, context);
    ok(sn_session_forward(session, tokens, offsets, 2));
    ok(sn_session_backward(session, tokens));
    sn_context_memory(&after, NULL, context);
    ck_assert_uint_le(after - before, estimate);
    ck_assert_uint_ge((after - before) * 10, estimate * 8);
    sn_session_free(session);
}
END_TEST

Suite *session_suite(void);
Suite *session_suite(void)
{
    Suite *suite = suite_create("session");
    TCase *tests = tcase_create("session");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, results_are_forgotten_together);
    tcase_add_test(tests, ragged_batch_equals_its_sequences);
    tcase_add_test(tests, selected_logits_equal_all);
    tcase_add_test(tests, ranges_compose);
    tcase_add_test(tests, site_gradients_are_finite_differences);
    tcase_add_test(tests, interventions_set_scale_and_mask);
    tcase_add_test(tests, patching_a_site_reproduces_the_other_run);
    tcase_add_test(tests, callers_gradient_equals_loss_gradient);
    tcase_add_test(tests, a_gradient_added_at_a_site_acts_once);
    tcase_add_test(tests, bad_batches_are_refused_by_name);
    tcase_add_test(tests, estimate_covers_what_is_held);
    TCase *threads = tcase_create("threads"); /* what ThreadSanitizer looks at */
    tcase_add_checked_fixture(threads, set_up, tear_down);
    tcase_add_test(threads, threads_do_not_change_bits);
    tcase_add_test(threads, more_threads_after_the_forward);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, threads);
    return suite;
}
