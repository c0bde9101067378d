/* Sessions that run of the last layer only what the selected tokens need, batches whose sequences
 * begin alike, and sessions that compute anew what they let go, against sessions that run and keep
 * all. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/session.h"
#include "sparsenet.h"

#define N_TOKENS 230
#define N_SEQUENCES 5
#define N_SELECTED 5

static const char *const configs[] = {
    "{\"block_size\": 90, \"vocab_size\": 23, \"n_layer\": 2, \"n_head\": 3, \"d_head\": 4,"
    " \"d_model\": 18, \"d_mlp\": 30, \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.5,"
    " \"afrac_loctypes\": \"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q\","
    " \"d_pos_emb\": 6, \"enable_bigram_table\": true, \"learnable_bigram_table\": true, \"sink\": "
    "true}",
    "{\"block_size\": 90, \"vocab_size\": 23, \"n_layer\": 1, \"n_head\": 2, \"d_head\": 5,"
    " \"d_model\": 10, \"d_mlp\": 14, \"rms_norm\": false, \"tied_unembed\": true, \"sink\": false,"
    " \"residual_activation_type\": \"relu\", \"afrac\": 0.5, \"afrac_loctypes\": \"resid_post_attn\"}",
};
#define N_CONFIGS (sizeof configs / sizeof *configs)

/* The third sequence has no selected token, the second and the fourth have two. */
static const size_t offsets[] = {0, 1, 67, 70, 150, N_TOKENS};
static const size_t selected[N_SELECTED] = {0, 30, 66, 71, 149};
static const int32_t targets[N_SELECTED] = {4, 9, 0, 22, 13};

static sn_context *context;
static sn_model *model;
static int32_t tokens[N_TOKENS];

static void ok(int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

static void set_up(void)
{
    ok(sn_context_create(&context, NULL));
    unsigned seed = 17;
    for (size_t i = 0; i < N_TOKENS; i++)
        tokens[i] = (int32_t)((seed = seed * 1103515245u + 12345u) >> 16) % 23;
}

static void tear_down(void)
{
    sn_model_free(model);
    sn_context_free(context);
    model = NULL;
}

static void use_config(size_t config)
{
    sn_model_free(model);
    ok(sn_model_create(&model, context, configs[config], strlen(configs[config]), 3));
}

enum keeping { KEEP_ALL, KEEP_LITTLE, KEEP_AUTO };

static sn_session *open_keeping(const char *gradients, int backward, int selected_only,
                                enum keeping keeping)
{
    static const char *const names[] = {
        [KEEP_ALL] = "never", [KEEP_LITTLE] = "always", [KEEP_AUTO] = "auto"};
    sn_options *options;
    sn_session *session;
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "gradients", gradients));
    ok(sn_options_set(options, context, "backward", backward));
    ok(sn_options_set(options, context, "selected_only", selected_only));
    ok(sn_options_set_text(options, context, "recompute", names[keeping]));
    ok(sn_session_create(&session, context, model, options));
    sn_options_free(options);
    return session;
}

static sn_session *open_session(const char *gradients, int backward, int selected_only)
{
    return open_keeping(gradients, backward, selected_only, KEEP_ALL);
}

/* At random weights attention is all but even and gradients through it are lost in the rest. One
 * token of the last layer's neurons is changed too, by its index in the batch. */
static void sharpen(sn_session *session)
{
    static const char *const kinds[] = {"attn.q", "attn.k", "attn.v"};
    float scales[12], values[] = {0.5f, -1.5f};
    unsigned char mask[N_TOKENS] = {0};
    size_t channels[] = {1, 7}, last = (size_t)sn_model_config_number(model, "n_layer") - 1;
    char site[32];
    for (size_t i = 0; i < 12; i++)
        scales[i] = 20;
    for (size_t i = 0; i < 3 * (last + 1); i++) {
        snprintf(site, sizeof site, "%zu.%s", i / 3, kinds[i % 3]);
        ok(sn_session_intervene(session, site, SN_SCALE, NULL, 0, scales,
                                sn_model_site_width(model, site), NULL, 0));
    }
    mask[71] = mask[72] = 1;
    snprintf(site, sizeof site, "%zu.mlp.post_act", last);
    ok(sn_session_intervene(session, site, SN_ADD, channels, 2, values, 2, mask, N_TOKENS));
    ok(sn_session_intervene(session, "final_resid", SN_ADD, channels, 2, values, 2, mask, N_TOKENS));
}

static void run(sn_session *session)
{
    ok(sn_session_select_logits(session, selected, N_SELECTED));
    ok(sn_session_forward(session, tokens, offsets, N_SEQUENCES));
}

static float *values_of(int (*get)(float *, size_t, size_t *, sn_session *), sn_session *session,
                        size_t *count)
{
    ok(get(NULL, 0, count, session));
    float *values = malloc(*count * sizeof *values);
    ok(get(values, *count, count, session));
    return values;
}

static float *named_values(int (*get)(float *, size_t, size_t *, sn_session *, const char *),
                           sn_session *session, const char *name, size_t *count)
{
    ok(get(NULL, 0, count, session, name));
    float *values = malloc(*count * sizeof *values);
    ok(get(values, *count, count, session, name));
    return values;
}

/* Frees both. */
static void assert_close(const char *what, float *a, float *b, size_t n)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)a[i]));
    }
    ck_assert_msg(worst <= 2e-5 * largest + 1e-9, "%s differs by %g of %g", what, worst, largest);
    free(a);
    free(b);
}

static int is_by_rows(const char *site)
{
    static const char *const behind[] = {"attn.y",     "attn.resid_delta", "resid_mid",
                                         "mlp.act_in", "mlp.post_act",     "mlp.resid_delta"};
    if (strcmp(site, "final_resid") == 0)
        return 1;
    for (size_t i = 0; i < sizeof behind / sizeof *behind; i++)
        if (strcmp(site + 2, behind[i]) == 0)
            return site[0] - '0' + 1 == (int)sn_model_config_number(model, "n_layer");
    return 0;
}

/* The rows of the selected tokens, in place. */
static size_t take_selected(float *values, size_t width)
{
    for (size_t i = 0; i < N_SELECTED; i++)
        memmove(values + i * width, values + selected[i] * width, width * sizeof *values);
    return N_SELECTED * width;
}

static void compare_site(sn_session *all, sn_session *rows, const char *site)
{
    size_t n_all, n_rows, width = sn_model_site_width(model, site);
    int (*const get[])(float *, size_t, size_t *, sn_session *,
                       const char *) = {sn_session_activations, sn_session_site_gradient};
    for (size_t i = 0; i < 2; i++) {
        float *a = named_values(get[i], all, site, &n_all),
              *b = named_values(get[i], rows, site, &n_rows);
        if (is_by_rows(site))
            n_all = take_selected(a, width);
        ck_assert_uint_eq(n_all, n_rows);
        assert_close(site, a, b, n_rows);
    }
}

static void compare_numbers(sn_session *all, sn_session *rows)
{
    size_t n, n_all;
    float *a = values_of(sn_session_logits, all, &n), *b = values_of(sn_session_logits, rows, &n);
    ck_assert_uint_eq(n, N_SELECTED * 23);
    assert_close("logits", a, b, n);
    a = values_of(sn_session_residual, all, &n_all);
    b = values_of(sn_session_residual, rows, &n);
    ck_assert_uint_eq(take_selected(a, n_all / N_TOKENS), n);
    assert_close("residual", a, b, n);
    a = values_of(sn_session_input_gradient, all, &n_all);
    b = values_of(sn_session_input_gradient, rows, &n);
    ck_assert_uint_eq(n_all, n);
    assert_close("input gradient", a, b, n);
}

START_TEST(the_numbers_are_those_of_a_whole_run)
{
    size_t n;
    for (size_t config = 0; config < N_CONFIGS; config++) {
        use_config(config);
        sn_session *session[2];
        for (int rows = 0; rows < 2; rows++) {
            session[rows] = open_session("dense", 1, rows);
            sharpen(session[rows]);
            for (size_t i = 0; i < sn_model_site_count(model); i++)
                ok(sn_session_record(session[rows], sn_model_site_name(model, i)));
            run(session[rows]);
            ok(sn_session_backward(session[rows], targets));
        }
        compare_numbers(session[0], session[1]);
        for (size_t i = 0; i < sn_model_site_count(model); i++)
            compare_site(session[0], session[1], sn_model_site_name(model, i));
        for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
            const char *name = sn_model_tensor_name(model, i);
            if (sn_session_gradient(NULL, 0, &n, session[0], name) != SN_OK)
                continue;
            float *a = named_values(sn_session_gradient, session[0], name, &n);
            assert_close(name, a, named_values(sn_session_gradient, session[1], name, &n), n);
        }
        sn_session_free(session[0]);
        sn_session_free(session[1]);
    }
}
END_TEST

/* Nothing selected, a range without logits and one behind attention: as without the option. */
START_TEST(runs_that_read_all_run_all)
{
    size_t n, n_layer;
    for (size_t config = 0; config < N_CONFIGS; config++) {
        use_config(config);
        n_layer = (size_t)sn_model_config_number(model, "n_layer");
        size_t width = (size_t)sn_model_config_number(model, "d_model");
        sn_session *session[2];
        float *residual[2], *logits[2];
        for (int rows = 0; rows < 2; rows++) {
            session[rows] = open_session("none", 1, rows);
            ok(sn_session_forward(session[rows], tokens, offsets, N_SEQUENCES));
            residual[rows] = values_of(sn_session_residual, session[rows], &n);
            ck_assert_uint_eq(n, N_TOKENS * width);
            ok(sn_session_select_logits(session[rows], selected, N_SELECTED));
            ok(sn_session_forward_range(session[rows], residual[0], tokens, offsets, N_SEQUENCES, 0,
                                        2 * n_layer));
            free(values_of(sn_session_residual, session[rows], &n));
            ck_assert_uint_eq(n, N_TOKENS * width);
            ok(sn_session_forward_range(session[rows], residual[0], tokens, offsets, N_SEQUENCES,
                                        2 * n_layer - 1, 2 * n_layer + 1));
            logits[rows] = values_of(sn_session_logits, session[rows], &n);
        }
        assert_close("logits", logits[0], logits[1], n);
        assert_close("residual", residual[0], residual[1], N_TOKENS * width);
        sn_session_free(session[0]);
        sn_session_free(session[1]);
    }
}
END_TEST

START_TEST(forward_only_gives_the_same_bits)
{
    size_t n;
    for (size_t config = 0; config < N_CONFIGS; config++) {
        use_config(config);
        float *logits[2];
        for (int backward = 0; backward < 2; backward++) {
            sn_session *session = open_session("none", backward, 1);
            run(session);
            logits[backward] = values_of(sn_session_logits, session, &n);
            sn_session_free(session);
        }
        ck_assert_int_eq(memcmp(logits[0], logits[1], n * sizeof(float)), 0);
        free(logits[0]);
        free(logits[1]);
    }
}
END_TEST

START_TEST(a_gradient_is_added_for_the_selected_tokens)
{
    size_t n, width;
    use_config(0);
    sn_session *session = open_session("none", 1, 1);
    width = sn_model_site_width(model, "1.mlp.resid_delta");
    float *ones = malloc(N_TOKENS * width * sizeof *ones);
    for (size_t i = 0; i < N_TOKENS * width; i++)
        ones[i] = 1;
    ok(sn_session_record(session, "1.mlp.resid_delta"));
    run(session);
    ok(sn_session_backward(session, targets));
    float *before = named_values(sn_session_site_gradient, session, "1.mlp.resid_delta", &n);
    ck_assert_int_eq(sn_session_add_site_gradient(session, "1.mlp.resid_delta", ones, N_TOKENS * width),
                     SN_ERROR_ARGUMENT);
    ok(sn_session_add_site_gradient(session, "1.mlp.resid_delta", ones, N_SELECTED * width));
    ok(sn_session_backward(session, targets));
    float *after = named_values(sn_session_site_gradient, session, "1.mlp.resid_delta", &n);
    for (size_t i = 0; i < n; i++)
        before[i] += 1;
    assert_close("gradient", before, after, n);
    free(ones);
    sn_session_free(session);
}
END_TEST

/* ---- sequences that begin alike. Sequence 2 shares with sequence 0 through 1, sequence 4 all of 3. */

#define N_LIKE 5
static const size_t like_own[N_LIKE] = {70, 5, 50, 20, 1}, like_shared[N_LIKE] = {0, 65, 30, 0, 20};

/* The sequences as the session takes them and in full; origin: of each token in full, its place in
 * `own`. */
struct like {
    int32_t own[N_TOKENS], full[2 * N_TOKENS];
    size_t own_offsets[N_LIKE + 1], full_offsets[N_LIKE + 1], origin[2 * N_TOKENS];
    int repeated[2 * N_TOKENS];
};

static void make_like(struct like *like)
{
    memset(like, 0, sizeof *like);
    for (size_t s = 0; s < N_LIKE; s++) {
        size_t to = like->full_offsets[s], before = s ? like->full_offsets[s - 1] : 0;
        for (size_t i = 0; i < like_shared[s] + like_own[s]; i++, to++) {
            size_t own = like->own_offsets[s] + i - like_shared[s];
            like->repeated[to] = i < like_shared[s];
            like->origin[to] = i < like_shared[s] ? like->origin[before + i] : own;
            if (i >= like_shared[s])
                like->own[own] = tokens[own];
            like->full[to] = like->own[like->origin[to]];
        }
        like->own_offsets[s + 1] = like->own_offsets[s] + like_own[s];
        like->full_offsets[s + 1] = to;
    }
}

/* Runs both and their backward; every own token counts in the loss, or the last of each sequence. */
static void run_like(sn_session *shared, sn_session *full, const struct like *like, int last_only)
{
    size_t n = 0, n_full = like->full_offsets[N_LIKE], own_last[N_LIKE], full_last[N_LIKE];
    int32_t full_targets[2 * N_TOKENS];
    for (size_t s = 0; s < N_LIKE; s++) {
        own_last[s] = like->own_offsets[s + 1] - 1;
        full_last[s] = like->full_offsets[s + 1] - 1;
    }
    for (size_t i = 0; i < n_full; i++)
        full_targets[i] = like->repeated[i] ? -1 : like->own[like->origin[i]];
    ok(sn_session_select_logits(shared, own_last, last_only ? N_LIKE : 0));
    ok(sn_session_select_logits(full, full_last, last_only ? N_LIKE : 0));
    ok(session_forward_shared(shared, like->own, like->own_offsets, like_shared, N_LIKE));
    ok(sn_session_forward(full, like->full, like->full_offsets, N_LIKE));
    ok(sn_session_backward(shared, last_only ? targets : like->own));
    ok(sn_session_backward(full, last_only ? targets : full_targets));
    float *a = values_of(sn_session_logits, shared, &n), *b = values_of(sn_session_logits, full, &n);
    for (size_t i = 0; !last_only && i < n_full; i++)
        memmove(b + like->origin[i] * 23, b + i * 23, 23 * sizeof *b);
    assert_close("logits", a, b, (last_only ? N_LIKE : like->own_offsets[N_LIKE]) * 23);
}

/* The gradient of what is shared is the sum over those that share it. */
static void compare_like_gradients(sn_session *shared, sn_session *full, const struct like *like)
{
    size_t n, width = (size_t)sn_model_config_number(model, "d_model");
    float *a = values_of(sn_session_input_gradient, shared, &n);
    float *b = values_of(sn_session_input_gradient, full, &n), *sum = calloc(n, sizeof *sum);
    for (size_t i = 0; i < n; i++)
        sum[like->origin[i / width] * width + i % width] += b[i];
    assert_close("input gradient", a, sum, like->own_offsets[N_LIKE] * width);
    free(b);
    for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
        const char *name = sn_model_tensor_name(model, i);
        if (sn_session_gradient(NULL, 0, &n, shared, name) != SN_OK)
            continue;
        a = named_values(sn_session_gradient, shared, name, &n);
        assert_close(name, a, named_values(sn_session_gradient, full, name, &n), n);
    }
}

START_TEST(what_sequences_share_is_run_once)
{
    struct like like;
    make_like(&like);
    for (size_t i = 0; i < 4 * N_CONFIGS; i++) {
        use_config(i / 4);
        int selected_only = i & 1, last_only = (i & 2) != 0;
        sn_session *shared = open_session("dense", 1, selected_only);
        sn_session *full = open_session("dense", 1, 0);
        run_like(shared, full, &like, last_only);
        compare_like_gradients(shared, full, &like);
        sn_session_free(shared);
        sn_session_free(full);
    }
}
END_TEST

START_TEST(bad_sharing_is_refused_by_name)
{
    struct like like;
    make_like(&like);
    use_config(0);
    sn_session *session = open_session("none", 1, 0);
    size_t first[N_LIKE] = {1}, beyond[N_LIKE] = {0, 71}, long_one[N_LIKE] = {0, 65, 41};
    const size_t *const bad[] = {first, beyond, long_one};
    const char *const words[] = {"sequence 0 shares 1", "sequence 1 shares 71 tokens with one of 70",
                                 "sequence 2 has 91 tokens"};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(session_forward_shared(session, like.own, like.own_offsets, bad[i], N_LIKE),
                         SN_ERROR_ARGUMENT);
        ck_assert_msg(strstr(sn_context_message(context), words[i]) != NULL, "%s",
                      sn_context_message(context));
    }
    ok(session_forward_shared(session, like.own, like.own_offsets, NULL, N_LIKE));
    sn_session_free(session);
}
END_TEST

START_TEST(estimate_covers_what_is_held)
{
    size_t estimate, before, after;
    use_config(0);
    for (int backward = 0; backward < 2; backward++) {
        sn_session *session = open_session("none", backward, 1);
        ok(sn_session_select_logits(session, selected, N_SELECTED));
        ok(sn_session_estimate_memory(&estimate, session, N_TOKENS, N_SEQUENCES));
        sn_context_memory(&before, NULL, context);
        run(session);
        if (backward)
            ok(sn_session_backward(session, targets));
        sn_context_memory(&after, NULL, context);
        ck_assert_uint_le(after - before, estimate);
        ck_assert_uint_ge((after - before) * 10, estimate * 7);
        sn_session_free(session);
    }
}
END_TEST

static void compare_values(int (*get)(float *, size_t, size_t *, sn_session *), sn_session *keeping,
                           sn_session *recomputing)
{
    size_t n, n_other;
    float *a = values_of(get, keeping, &n), *b = values_of(get, recomputing, &n_other);
    ck_assert_uint_eq(n, n_other);
    ck_assert(memcmp(a, b, n * sizeof *a) == 0);
    free(a);
    free(b);
}

static void compare_named(int (*get)(float *, size_t, size_t *, sn_session *, const char *),
                          sn_session *keeping, sn_session *recomputing, const char *name)
{
    size_t n, n_other;
    float *a = named_values(get, keeping, name, &n), *b = named_values(get, recomputing, name, &n_other);
    ck_assert_uint_eq(n, n_other);
    ck_assert_msg(memcmp(a, b, n * sizeof *a) == 0, "%s differs", name);
    free(a);
    free(b);
}

static void compare_bits(sn_session *keeping, sn_session *recomputing)
{
    size_t n, n_gradients = 0;
    compare_values(sn_session_logits, keeping, recomputing);
    compare_values(sn_session_input_gradient, keeping, recomputing);
    for (size_t i = 0; i < sn_model_site_count(model); i++) {
        const char *site = sn_model_site_name(model, i);
        compare_named(sn_session_activations, keeping, recomputing, site);
        compare_named(sn_session_site_gradient, keeping, recomputing, site);
    }
    for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
        const char *name = sn_model_tensor_name(model, i);
        if (sn_session_gradient(NULL, 0, &n, keeping, name) != SN_OK)
            continue;
        compare_named(sn_session_gradient, keeping, recomputing, name);
        n_gradients++;
    }
    ck_assert_uint_gt(n_gradients, 5);
}

/* Where acting twice, or not again, would show: what the stream between the halves is made of, and it. */
static void disturb(sn_session *session)
{
    static const char *const sites[] = {"0.attn.y",   "0.attn.resid_delta", "0.resid_mid",
                                        "0.resid_in", "0.mlp.act_in",       "0.attn.act_in"};
    static const float values[] = {0.25f, -0.75f};
    static const size_t channels[] = {1, 7};
    for (size_t i = 0; i < sizeof sites / sizeof *sites; i++)
        ok(sn_session_intervene(session, sites[i], i % 2 ? SN_SCALE : SN_ADD, channels, 2, values, 2,
                                NULL, 0));
}

/* Both configurations, all tokens or the selected ones; a second run finds what the first one left. */
START_TEST(recomputing_gives_the_same_bits)
{
    sn_session *sessions[2];
    size_t estimates[2];
    use_config((size_t)_i / 2);
    for (int recompute = 0; recompute < 2; recompute++) {
        sn_session *session = open_keeping("dense", 1, _i % 2, recompute ? KEEP_LITTLE : KEEP_ALL);
        for (size_t i = 0; i < sn_model_site_count(model); i++)
            ok(sn_session_record(session, sn_model_site_name(model, i)));
        sharpen(session);
        disturb(session);
        for (int32_t again = 0; again < 2; again++) {
            tokens[3] = again;
            run(session);
            ok(sn_session_backward(session, targets));
        }
        ok(sn_session_estimate_memory(&estimates[recompute], session, N_TOKENS, N_SEQUENCES));
        sessions[recompute] = session;
    }
    compare_bits(sessions[0], sessions[1]);
    ck_assert(estimates[1] < estimates[0] || _i / 2 == 1); /* of one layer there is nothing to share */
    for (int i = 0; i < 2; i++)
        sn_session_free(sessions[i]);
}
END_TEST

/* Ranges that begin or end between the halves of a layer: there the stream is the caller's. */
START_TEST(recomputing_ranges_gives_the_same_bits)
{
    static const size_t ranges[][2] = {{1, 4}, {0, 3}, {1, 3}, {1, 2}, {0, 1}, {0, 4}};
    size_t first = ranges[_i][0], last = ranges[_i][1];
    float residual[N_TOKENS * 18], gradient[N_TOKENS * 18];
    sn_session *sessions[2];
    use_config(0);
    for (size_t i = 0; i < N_TOKENS * 18; i++) {
        residual[i] = (float)((i * 7919) % 201) / 100 - 1;
        gradient[i] = (float)((i * 104729) % 301) / 150 - 1;
    }
    for (int recompute = 0; recompute < 2; recompute++) {
        sn_session *session = sessions[recompute] =
            open_keeping("dense", 1, 0, recompute ? KEEP_LITTLE : KEEP_ALL);
        disturb(session);
        ok(sn_session_forward_range(session, residual, tokens, offsets, N_SEQUENCES, first, last));
        ok(sn_session_backward_from(session, NULL, gradient));
    }
    compare_values(sn_session_residual, sessions[0], sessions[1]);
    compare_values(sn_session_input_gradient, sessions[0], sessions[1]);
    for (size_t i = 0, n; i < sn_model_tensor_count(model); i++) {
        const char *name = sn_model_tensor_name(model, i);
        if (sn_session_gradient(NULL, 0, &n, sessions[0], name) == SN_OK)
            compare_named(sn_session_gradient, sessions[0], sessions[1], name);
    }
    sn_session_free(sessions[0]);
    sn_session_free(sessions[1]);
}
END_TEST

START_TEST(threads_do_not_change_bits)
{
    size_t n, last[N_LIKE];
    float *reference[2] = {NULL, NULL};
    struct like like;
    make_like(&like);
    for (size_t s = 0; s < N_LIKE; s++)
        last[s] = like.own_offsets[s + 1] - 1;
    use_config(0);
    for (size_t threads = 1; threads <= 3; threads++) {
        ok(sn_context_set_threads(context, threads));
        sn_session *session = open_keeping("dense", 1, 1, threads > 1 ? KEEP_LITTLE : KEEP_ALL);
        ok(sn_session_select_logits(session, last, N_LIKE));
        ok(session_forward_shared(session, like.own, like.own_offsets, like_shared, N_LIKE));
        ok(sn_session_backward(session, targets));
        for (size_t i = 0; i < 2; i++) {
            float *values = i == 0 ? values_of(sn_session_logits, session, &n)
                                   : values_of(sn_session_input_gradient, session, &n);
            if (!reference[i])
                reference[i] = malloc(n * sizeof(float)),
                memcpy(reference[i], values, n * sizeof(float));
            ck_assert_int_eq(memcmp(reference[i], values, n * sizeof(float)), 0);
            free(values);
        }
        sn_session_free(session);
    }
    free(reference[0]);
    free(reference[1]);
}
END_TEST

/* Every matrix of the model with one nonzero in each row. */
static void make_sparse(void)
{
    for (size_t i = 0; i < model->n_parameters; i++) {
        struct parameter *parameter = &model->parameters[i];
        if (parameter->role != ROLE_MATRIX)
            continue;
        size_t rows = parameter->rows, cols = parameter->cols;
        float *values = calloc(rows * cols, sizeof *values);
        for (size_t r = 0; r < rows; r++)
            values[r * cols + r % cols] = 1;
        matrix_free(parameter->matrix);
        ok(matrix_from_dense(&parameter->matrix, context, rows, cols, values, 1));
        free(values);
    }
}

/* Left to itself a session computes anew what products of few nonzeros make, where that saves much. */
START_TEST(auto_recomputes_large_runs_of_sparse_models)
{
    for (int sparse = 0; sparse < 2; sparse++) {
        use_config(0);
        if (sparse)
            make_sparse();
        for (int large = 0; large < 2; large++) {
            size_t bytes[3], n_tokens = large ? 90 << 12 : 90;
            for (enum keeping keeping = KEEP_ALL; keeping <= KEEP_AUTO; keeping++) {
                sn_session *session = open_keeping("support", 1, 0, keeping);
                ok(sn_session_estimate_memory(&bytes[keeping], session, n_tokens, n_tokens / 90));
                sn_session_free(session);
            }
            ck_assert_uint_lt(bytes[KEEP_LITTLE], bytes[KEEP_ALL]);
            ck_assert_uint_eq(bytes[KEEP_AUTO], bytes[sparse && large ? KEEP_LITTLE : KEEP_ALL]);
        }
    }
}
END_TEST

Suite *session_rows_suite(void);
Suite *session_rows_suite(void)
{
    Suite *suite = suite_create("session_rows");
    TCase *tests = tcase_create("session_rows");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, the_numbers_are_those_of_a_whole_run);
    tcase_add_test(tests, runs_that_read_all_run_all);
    tcase_add_test(tests, forward_only_gives_the_same_bits);
    tcase_add_test(tests, a_gradient_is_added_for_the_selected_tokens);
    tcase_add_test(tests, what_sequences_share_is_run_once);
    tcase_add_test(tests, bad_sharing_is_refused_by_name);
    tcase_add_test(tests, estimate_covers_what_is_held);
    tcase_add_loop_test(tests, recomputing_gives_the_same_bits, 0, 2 * N_CONFIGS);
    tcase_add_loop_test(tests, recomputing_ranges_gives_the_same_bits, 0, 6);
    tcase_add_test(tests, auto_recomputes_large_runs_of_sparse_models);
    TCase *threads = tcase_create("threads");
    tcase_add_checked_fixture(threads, set_up, tear_down);
    tcase_add_test(threads, threads_do_not_change_bits);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, threads);
    return suite;
}
