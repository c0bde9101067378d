/* Tensors that leave for other tools: named arrays in a safetensors file, and models as dense folders. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "everything.h"
#include "model/model.h"
#include "fixture.h"

static const char config[] =
    "{\"block_size\": 8, \"vocab_size\": 11, \"n_layer\": 1, \"n_head\": 2, \"d_model\": 6,"
    " \"d_mlp\": 10, \"tied_unembed\": false, \"sink\": true, \"rms_norm\": true}";

static const float values[] = {1, -2, 3.5f, 0, 5, 6};
static const size_t shape[] = {2, 3};

static int make(sn_tensors **out, sn_context *in)
{
    int status = sn_tensors_create(out, in);
    if (status == SN_OK)
        status = sn_tensors_add(*out, in, "logits", shape, 2, values);
    if (status == SN_OK)
        status = sn_tensors_add(*out, in, "loss", NULL, 0, values + 2);
    if (status == SN_OK)
        status = sn_tensors_add(*out, in, "none", (const size_t[]){0, 4}, 2, values);
    return status;
}

START_TEST(saved_tensors_come_back)
{
    sn_tensors *tensors;
    const size_t *back;
    size_t n;
    ck_assert_int_eq(make(&tensors, context), SN_OK);
    char *path = strdup(temporary_path(&temporary, "a.safetensors"));
    ck_assert_int_eq(sn_tensors_save(tensors, context, path), SN_OK);
    sn_tensors_free(tensors);
    ck_assert_int_eq(sn_tensors_load(&tensors, context, path), SN_OK);
    ck_assert_uint_eq(sn_tensors_count(tensors), 3);
    const float *read = sn_tensors_values(&back, &n, tensors, "logits");
    ck_assert_uint_eq(n, 2);
    ck_assert_mem_eq(back, shape, sizeof shape);
    ck_assert_mem_eq(read, values, sizeof values);
    read = sn_tensors_values(&back, &n, tensors, "loss");
    ck_assert_uint_eq(n, 0);
    ck_assert(read[0] == 3.5f);
    ck_assert_ptr_nonnull(sn_tensors_values(&back, &n, tensors, "none"));
    ck_assert_uint_eq(back[0], 0);
    ck_assert_ptr_null(sn_tensors_values(&back, &n, tensors, "other"));
    ck_assert_ptr_null(sn_tensors_name(tensors, 3));
    sn_tensors_free(tensors);
    free(path);
}
END_TEST

START_TEST(bad_tensors_are_named)
{
    sn_tensors *tensors;
    ck_assert_int_eq(make(&tensors, context), SN_OK);
    ck_assert_int_eq(sn_tensors_add(tensors, context, "loss", NULL, 0, values), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "loss"));
    ck_assert_int_eq(
        sn_tensors_add(tensors, context, "x", (size_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1}, 9, values),
        SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_tensors_add(tensors, context, "x", (size_t[]){SIZE_MAX / 2, 3}, 2, values),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "overflows"));
    ck_assert_int_eq(sn_tensors_add(tensors, context, "x", NULL, 1, values), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_tensors_add(tensors, context, "a\xff", NULL, 0, values), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "UTF-8"));
    ck_assert_int_eq(sn_tensors_add(tensors, context, "__metadata__", NULL, 0, values),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "__metadata__"));
    ck_assert_uint_eq(sn_tensors_count(tensors), 3);
    ck_assert_int_eq(sn_tensors_save(tensors, context, "/nonexistent/a"), SN_ERROR_IO);
    sn_tensors_free(tensors);
    temporary_write(&temporary, "cut", "\x10\0\0\0\0\0\0\0{}", 10);
    ck_assert_int_eq(sn_tensors_load(&tensors, context, temporary_path(&temporary, "cut")),
                     SN_ERROR_FORMAT);
    ck_assert_ptr_null(tensors);
}
END_TEST

static int attempt(sn_context *in, void *path)
{
    sn_tensors *tensors = NULL, *read = NULL;
    int status = make(&tensors, in);
    if (status == SN_OK)
        status = sn_tensors_save(tensors, in, path);
    if (status == SN_OK)
        status = sn_tensors_load(&read, in, path);
    sn_tensors_free(tensors);
    sn_tensors_free(read);
    return status;
}

START_TEST(tensors_survive_without_memory)
{
    char *path = strdup(temporary_path(&temporary, "a.safetensors"));
    ck_assert_uint_gt(oom_loop(attempt, path, 1, 0), 5);
    free(path);
}
END_TEST

/* What was exported loads as the same model, whether it had been sparse or dense. */
START_TEST(exported_models_load_as_they_were)
{
    sn_model *model, *back;
    size_t needed, again;
    ck_assert_int_eq(sn_model_create(&model, context, config, strlen(config), 3), SN_OK);
    for (size_t i = 0; i < model->n_parameters; i++)
        for (size_t j = 0; model->parameters[i].matrix && j < parameter_size(&model->parameters[i]); j++)
            if (i % 2 && j % 5)
                parameter_values(&model->parameters[i])[j] = 0;
    ck_assert_int_eq(sn_model_export(model, context, temporary.folder), SN_OK);
    ck_assert_int_eq(sn_model_load(&back, context, temporary.folder), SN_OK);
    ck_assert_str_eq(sn_model_config_json(model), sn_model_config_json(back));
    ck_assert_uint_eq(sn_model_tensor_count(model), sn_model_tensor_count(back));
    for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
        float a[512], b[512];
        const char *name = sn_model_tensor_name(model, i);
        ck_assert_int_eq(sn_model_tensor(a, 512, &needed, context, model, name), SN_OK);
        ck_assert_int_eq(sn_model_tensor(b, 512, &again, context, back, name), SN_OK);
        ck_assert_uint_eq(needed, again);
        ck_assert_mem_eq(a, b, needed * sizeof *a);
    }
    sn_model_free(model);

    sn_tensors *tensors; /* the exported file holds no triplets */
    ck_assert_int_eq(sn_tensors_load(&tensors, context, temporary_path(&temporary, "model.safetensors")),
                     SN_OK);
    ck_assert_uint_eq(sn_tensors_count(tensors), sn_model_tensor_count(back));
    sn_tensors_free(tensors);
    sn_model_free(back);
}
END_TEST

static int cancel_at_second(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)stage, (void)total, (void)value, (void)payload;
    return done >= 2;
}

START_TEST(a_failed_export_leaves_nothing)
{
    sn_model *model;
    ck_assert_int_eq(sn_model_create(&model, context, config, strlen(config), 3), SN_OK);
    ck_assert_int_eq(sn_model_export(model, context, "/nonexistent/folder"), SN_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "/nonexistent/folder"));
    sn_context_set_progress(context, cancel_at_second, NULL);
    ck_assert_int_eq(sn_model_export(model, context, temporary.folder), SN_ERROR_CANCELLED);
    ck_assert_uint_eq(temporary_empty(&temporary), 0);
    sn_model_free(model);
}
END_TEST

Suite *tensors_suite(void);
Suite *tensors_suite(void)
{
    Suite *suite = suite_create("tensors");
    TCase *all = tcase_create("tensors");
    tcase_add_checked_fixture(all, fixture_setup, fixture_teardown);
    tcase_add_test(all, saved_tensors_come_back);
    tcase_add_test(all, bad_tensors_are_named);
    tcase_add_test(all, tensors_survive_without_memory);
    tcase_add_test(all, exported_models_load_as_they_were);
    tcase_add_test(all, a_failed_export_leaves_nothing);
    suite_add_tcase(suite, all);
    return suite;
}
