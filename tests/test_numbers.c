/* Numbers at their limits: what every public call does with a model that computes NaN and infinity, what AbsTopK and
 * products make of them, and that denormals are zero wherever a chunk of work runs. */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "circuit_cases.h"
#include "kernel_tables.h"

/* ---------------------------------------------------------- every call, on a model that overflows */

/* 0: finite weights, as a file may hold them, whose products overflow; 1: a NaN; 2: an infinity (which no file
 * and no training can bring in). */
#define N_POISONS 3

static void poison(sn_context *own, sn_model *model, int kind)
{
    static const char *const large[] = {"transformer.h.0.attn.c_proj.weight",
                                        "transformer.h.0.mlp.c_proj.weight", "transformer.wte.weight"};
    for (size_t i = 0; kind == 0 && i < sizeof large / sizeof *large; i++) {
        struct sn_matrix *matrix = model->parameters[model_find(model, large[i])].matrix;
        for (size_t j = 0; j < matrix->n_values; j++)
            matrix->values[j] *= 1e38f;
        planted_ok(own, matrix_values_changed(matrix, own));
    }
    if (kind)
        model->parameters[model->layers[0].ln_2].vector[4] = kind == 1 ? NAN : INFINITY;
}

static int all_finite(const double *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(numbers[i]))
            return 0;
    return 1;
}

/* Raw arrays of what a model computes may hold anything; what a call concludes may not. */
static void check_outputs(const struct call *call, const struct outputs *out)
{
#define FINITE(part, first)                                                                             \
    ck_assert_msg(                                                                                      \
        all_finite(&out->part.first,                                                                    \
                   (sizeof out->part - offsetof(__typeof__(out->part), first)) / sizeof(double)),       \
        "%s gives a " #part " that is not finite", call->symbol)
    ck_assert_msg(all_finite(out->numbers, 64), "%s gives a number that is not finite", call->symbol);
    FINITE(evaluation, loss);
    FINITE(ablation, loss);
    FINITE(patch, logit_effect);
    FINITE(replacement, factor);
    FINITE(controls, circuit_sufficient_raw_loss);
    FINITE(contribution, weight);
    FINITE(summary, minimum);
#undef FINITE
}

static char *read_file(const char *path)
{
    static char text[1 << 21];
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[n] = '\0';
    if (file)
        fclose(file);
    return file ? text : NULL;
}

/* A number that is none stands between what may stand around a number. */
static int has_no_number(const char *text, const char *word)
{
    static const char before[] = " :,[(=\"'-+", after[] = " ,]})\"'\n";
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        if (at > text && strchr(before, at[-1]) && strchr(after, at[strlen(word)]))
            return 1;
    return 0;
}

static void check_json(const struct call *call, const char *text)
{
    json_t *json = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL);
    ck_assert_msg(json != NULL, "%s writes no JSON", call->symbol);
    json_decref(json);
}

static void check_page(struct world *w, const struct call *call)
{
    static const char start[] = "<script type=\"application/json\" id=\"data\">";
    const char *text = read_file(world_in_folder(w, "page.html"));
    if (!text)
        return;
    ck_assert_ptr_nonnull(text = strstr(text, start));
    check_json(call, text + sizeof start - 1);
}

static void check_files(struct world *w, const struct call *call)
{
    static const char *const names[] = {"circuit.json", "circuit.dot", "circuit.graphml", "circuit.svg",
                                        "plot.svg"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = read_file(world_in_folder(w, names[i]));
        if (!text)
            continue;
        ck_assert_msg(!has_no_number(text, "nan") && !has_no_number(text, "inf") &&
                          !has_no_number(text, "NaN") && !has_no_number(text, "Infinity"),
                      "%s writes a number that is none", call->symbol);
        if (i == 0)
            check_json(call, text);
    }
    check_page(w, call);
}

/* A circuit that was made under such a model can be written like any other. */
static void check_circuit(struct world *w, const struct call *call)
{
    if (w->made_kind != O_CIRCUIT || !w->made)
        return;
    planted_ok(w->context,
               sn_report_write_json(w->context, w->made, world_in_folder(w, "circuit.json")));
    check_files(w, call);
}

START_TEST(calls_conclude_nothing_from_no_numbers)
{
    static struct world world;
    const struct call *call = call_at((size_t)_i / N_POISONS);
    world_create(&world, call);
    if (world.objects[O_MODEL]) {
        poison(world.context, world.objects[O_MODEL], _i % N_POISONS);
        int status = world_run(&world, call);
        if (status == SN_OK) {
            check_outputs(call, &world.out);
            check_files(&world, call);
            check_circuit(&world, call);
            world_drop(&world);
        } else {
            int is_other = status == SN_ERROR_FORMAT && strcmp(call->symbol, "sn_circuit_load") == 0;
            ck_assert_msg(status == SN_ERROR_NUMERIC || status == SN_ERROR_TARGET || is_other,
                          "%s: %s: %s", call->symbol, sn_status_string(status),
                          sn_context_message(world.context));
            ck_assert_msg(sn_context_message(world.context)[0] != '\0', "%s: no message", call->symbol);
            ck_assert_msg(!world.made_kind || !world.made, "%s: an object in spite of it", call->symbol);
        }
    }
    world_free(&world);
}
END_TEST

/* ------------------------------------------------------------------ what kernels make of them */

/* Magnitudes are compared by their bits: a NaN is larger than infinity, and denormals are larger than 0. What is kept
 * keeps its bits. */
START_TEST(topk_takes_nan_for_the_largest)
{
    const float rows[4][5] = {{1, NAN, -3, INFINITY, 2},
                              {-INFINITY, 1, INFINITY, 2, 3},
                              {-NAN, NAN, 5, 6, INFINITY},
                              {1e-45f, 0, -2e-40f, 0, 1e-40f}};
    static const unsigned char kept[4][5] = {
        {0, 1, 0, 1, 0}, {1, 0, 1, 0, 0}, {1, 1, 0, 0, 0}, {0, 0, 1, 0, 1}};
    float x[80 * 5], y[80 * 5];
    unsigned char keep[5];
    for (size_t t = 0; t < 80; t++)
        memcpy(x + 5 * t, rows[t % 4], sizeof rows[0]);
    for (size_t table = 0; table < N_KERNEL_TABLES; table++) {
        if (!kernel_table_number(table))
            continue;
        context->kernels = kernel_table_number(table);
        ok(sn_abs_topk(y, context, x, 80, 5, 2));
        for (size_t t = 0; t < 80; t++)
            for (size_t i = 0; i < 5; i++)
                ck_assert_msg(
                    memcmp(&y[5 * t + i], kept[t % 4][i] ? &x[5 * t + i] : &(float){0}, sizeof *y) == 0,
                    "%s, row %zu, entry %zu: %g", context->kernels->name, t, i, (double)y[5 * t + i]);
        for (size_t r = 0; r < 4; r++) {
            ok(sn_magnitude_select(keep, context, rows[r], 1, 5, 2, SN_AXIS_NONE, 0));
            ck_assert_mem_eq(keep, kept[r], 5);
        }
    }
}
END_TEST

/* What is off the support is not multiplied: a NaN goes where an entry takes it, and nowhere else. */
START_TEST(products_carry_what_entries_carry)
{
    static const size_t indptr[] = {0, 1, 2, 2};
    static const uint32_t indices[] = {1, 0};
    static const float values[] = {2, 3};
    const float x[] = {1, NAN, 1, INFINITY};
    float y[6];
    sn_matrix *matrix;
    ok(sn_matrix_create_csr(&matrix, context, 3, 2, indptr, indices, values));
    ok(sn_matrix_multiply(y, context, matrix, x, 2));
    ck_assert(isnan(y[0]) && y[1] == 3 && y[2] == 0);
    ck_assert(isinf(y[3]) && y[4] == 3 && y[5] == 0);
    sn_matrix_free(matrix);
}
END_TEST

/* ------------------------------------------------------------------------------- denormals */

static void scale_weights(sn_model *model, const char *name, float factor)
{
    struct sn_matrix *matrix = model->parameters[model_find(model, name)].matrix;
    for (size_t i = 0; i < matrix->n_values; i++)
        matrix->values[i] *= factor;
    ok(matrix_values_changed(matrix, context));
}

/* A model whose MLP has only weights below the least normal number is a model without an MLP, on any thread,
 * forward and backward. */
START_TEST(denormal_weights_are_zero)
{
    static const char name[] = "transformer.h.0.mlp.c_fc.weight";
    int32_t tokens[150];
    size_t offsets[] = {0, 70, 150}, n;
    double losses[4];
    float gradients[4][18 * 23];
    unsigned seed = 3;
    for (size_t i = 0; i < 150; i++)
        tokens[i] = (int32_t)next_random(&seed) % 23;
    for (size_t run = 0; run < 4; run++) { /* denormal on 1 and 3 threads, zero, and as it was */
        sn_model *model = strong_model(SPARSE_CONFIG, 3);
        sn_session *session;
        sn_options *options;
        if (run < 3)
            scale_weights(model, name, run < 2 ? 1e-40f : 0);
        ok(sn_options_create(&options, context));
        ok(sn_options_set_text(options, context, "gradients", "support"));
        ok(sn_context_set_threads(context, run == 1 ? 3 : 1));
        ok(sn_session_create(&session, context, model, options));
        ok(sn_session_forward(session, tokens, offsets, 2));
        ok(sn_session_loss(&losses[run], session, tokens));
        ok(sn_session_backward(session, tokens));
        ok(sn_session_gradient(gradients[run], 18 * 23, &n, session, "lm_head.weight"));
        sn_session_free(session);
        sn_options_free(options);
        sn_model_free(model);
    }
    for (size_t run = 1; run < 3; run++) {
        ck_assert(losses[0] == losses[run]);
        ck_assert_mem_eq(gradients[0], gradients[run], sizeof gradients[0]);
    }
    ck_assert(losses[0] != losses[3]);
}
END_TEST

Suite *numbers_suite(void);
Suite *numbers_suite(void)
{
    Suite *suite = suite_create("numbers");
    TCase *calls = tcase_create("calls");
    tcase_add_unchecked_fixture(calls, worlds_prepare, worlds_remove);
    tcase_add_loop_test(calls, calls_conclude_nothing_from_no_numbers, 0, (int)call_count() * N_POISONS);
    suite_add_tcase(suite, calls);
    const TTest *kernels[] = {topk_takes_nan_for_the_largest, products_carry_what_entries_carry};
    const TTest *threads[] = {denormal_weights_are_zero};
    add_cases(suite, "kernels", kernels, sizeof kernels / sizeof *kernels);
    add_cases(suite, "threads", threads, sizeof threads / sizeof *threads);
    return suite;
}
