/* Loading a model from a folder: which tensor is which, what becomes sparse, what is refused. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "everything.h"
#include "tensor_list.h"
#include "fixture.h"

#define TIED                                                                                            \
    "{\"block_size\":4,\"vocab_size\":9,\"n_layer\":1,\"n_head\":2,\"d_model\":6,\"rms_norm\":true}"
#define NO_POSITIONS                                                                                    \
    "{\"block_size\":4,\"vocab_size\":9,\"n_layer\":1,\"n_head\":2,\"d_model\":6,\"d_pos_emb\":0}"

static struct tensor_list list;

static void teardown(void)
{
    list_free(&list);
    fixture_teardown();
}

static void write_folder(const char *json)
{
    temporary_write(&temporary, "config.json", json, strlen(json));
    list_write(&list, context, temporary_path(&temporary, "model.safetensors"));
}

/* Loads the folder as it stands. */
static sn_model *load(void)
{
    sn_model *model;
    int status = sn_model_load(&model, context, temporary.folder);
    ck_assert_msg(status == SN_OK, "%s", sn_context_message(context));
    return model;
}

/* Writes and loads the list under `json`. */
static sn_model *load_list(const char *json)
{
    write_folder(json);
    return load();
}

static void assert_refused(int expected, const char *message)
{
    sn_model *model = (sn_model *)&list;
    ck_assert_int_eq(sn_model_load(&model, context, temporary.folder), expected);
    ck_assert_ptr_null(model);
    assert_message(message);
}

static void assert_list_refused(const char *json, const char *message)
{
    write_folder(json);
    assert_refused(SN_ERROR_FORMAT, message);
    assert_message(temporary.folder);
}

/* The dense values of a tensor are exactly these. */
static void assert_tensor(const sn_model *model, const char *name, const struct tensor *expected)
{
    size_t needed;
    float *values = malloc((expected->count + 1) * sizeof *values);
    ck_assert_int_eq(sn_model_tensor(values, expected->count, &needed, context, model, name), SN_OK);
    ck_assert_uint_eq(needed, expected->count);
    ck_assert_msg(memcmp(values, expected->floats, needed * sizeof *values) == 0, "%s differs", name);
    free(values);
}

static void assert_list(const sn_model *model)
{
    for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
        const char *name = sn_model_tensor_name(model, i);
        assert_tensor(model, name, list_find(&list, name));
    }
}

/* --------------------------------------------------------------- what loads */

static size_t count_nonzeros(const struct tensor *tensor)
{
    size_t count = 0;
    for (size_t i = 0; i < tensor->count; i++)
        count += tensor->floats[i] != 0;
    return count;
}

START_TEST(tensors_become_sparse)
{
    list_fill(&list, context, EVERYTHING);
    sn_model *model = load_list(EVERYTHING);
    size_t n_sparse = 0, n_dense = 0;
    assert_list(model);
    for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
        size_t rows, cols, support;
        int is_sparse;
        const struct tensor *tensor = list_find(&list, sn_model_tensor_name(model, i));
        ck_assert_int_eq(sn_model_tensor_info(&rows, &cols, &support, &is_sparse, model, i), SN_OK);
        size_t nnz = count_nonzeros(tensor);
        int expected = cols && (double)nnz <= 0.45 * (double)tensor->count;
        ck_assert_int_eq(is_sparse, expected);
        ck_assert_uint_eq(support, expected ? nnz : tensor->count);
        n_sparse += (size_t)(cols && is_sparse);
        n_dense += (size_t)(cols && !is_sparse);
    }
    ck_assert(n_sparse > 2 && n_dense > 2);
    sn_model_free(model);
}
END_TEST

/* Exactly at, below and above the share at which a matrix turns dense; the last value is the last. */
START_TEST(density_at_the_limit)
{
    static const size_t counts[] = {0, 1, 24, 25};
    list_fill(&list, context, TIED); /* vocab 9 x 6 = 54 entries, the limit is 24.3 */
    struct tensor *tensor = list_find(&list, "transformer.wte.weight");
    for (size_t i = 0; i < 4; i++) {
        int is_sparse;
        size_t support;
        memset(tensor->floats, 0, tensor->count * sizeof *tensor->floats);
        for (size_t j = 0; j < counts[i]; j++)
            tensor->floats[tensor->count - 1 - j] = (float)j + 0.5f;
        sn_model *model = load_list(TIED);
        size_t index = (size_t)model_find(model, tensor->name);
        ck_assert_int_eq(sn_model_tensor_info(NULL, NULL, &support, &is_sparse, model, index), SN_OK);
        ck_assert_int_eq(is_sparse, counts[i] < 25);
        ck_assert_uint_eq(support, counts[i] < 25 ? counts[i] : 54);
        assert_list(model);
        sn_model_free(model);
    }
}
END_TEST

#define WIDE                                                                                            \
    "{\"block_size\":4,\"vocab_size\":3000,\"n_layer\":1,\"n_head\":2,\"d_model\":64,\"d_mlp\":70000,"  \
    "\"bias\":false,\"rms_norm\":true}"

/* Tensors of many chunks, of rows longer than a chunk, turning dense in the middle. */
START_TEST(large_tensors)
{
    list_fill(&list, context, WIDE);
    struct tensor *fc = list_find(&list, "transformer.h.0.mlp.c_fc.weight");
    struct tensor *proj = list_find(&list, "transformer.h.0.mlp.c_proj.weight");
    struct tensor *wte = list_find(&list, "transformer.wte.weight");
    memset(fc->floats, 0, fc->count * sizeof *fc->floats);
    memset(proj->floats, 0, proj->count * sizeof *proj->floats);
    for (size_t i = 0; i < fc->count; i += 509)
        fc->floats[i] = (float)i * 0.25f;
    for (size_t i = proj->count - 1; i > 255; i -= 255)
        proj->floats[i] = -(float)i;
    for (size_t i = 0; i < wte->count; i++) /* sparse at first, dense behind */
        wte->floats[i] = i > wte->count / 3 || i % 8 == 0 ? (float)i : 0.0f;
    sn_model *model = load_list(WIDE);
    assert_list(model);
    ck_assert_ptr_nonnull(model->parameters[model->layers[0].c_fc].matrix->pattern);
    ck_assert_ptr_nonnull(model->parameters[model->layers[0].mlp_proj].matrix->pattern);
    ck_assert_ptr_null(model->parameters[model->wte].matrix->pattern);
    sn_model_free(model);
}
END_TEST

/* 36 MB of file, 1/250 of it nonzero: what is ever held stays far below the dense size. */
START_TEST(dense_copies_are_never_held)
{
    list_fill(&list, context, WIDE);
    for (size_t i = 0; i < list.n; i++)
        if (list.tensors[i].n_dimensions == 2)
            for (size_t j = 0; j < list.tensors[i].count; j++)
                list.tensors[i].floats[j] = j % 250 == 7 ? 1.0f : 0.0f;
    write_folder(WIDE);
    size_t before, peak;
    sn_context *own;
    ck_assert_int_eq(sn_context_create(&own, NULL), SN_OK);
    sn_context_memory(&before, NULL, own);
    sn_model *model;
    ck_assert_int_eq(sn_model_load(&model, own, temporary.folder), SN_OK);
    sn_context_memory(NULL, &peak, own);
    ck_assert_uint_lt(peak - before, 6u << 20);
    sn_model_free(model);
    sn_context_free(own);
}
END_TEST

START_TEST(prefixes_are_stripped)
{
    static const char *const prefixes[] = {"circuit_model.", "model."};
    for (size_t p = 0; p < 2; p++) {
        list_fill(&list, context, EVERYTHING);
        struct tensor_list plain = list;
        for (size_t i = 0; i < list.n; i++)
            snprintf(list.tensors[i].name, sizeof list.tensors[i].name, "%s%.90s", prefixes[p],
                     plain.tensors[i].name);
        sn_model *model = load_list(EVERYTHING);
        list = plain;
        assert_list(model);
        sn_model_free(model);
        list_free(&list);
    }
}
END_TEST

START_TEST(config_json_is_preferred)
{
    list_fill(&list, context, TIED);
    write_folder(TIED);
    temporary_write(&temporary, "beeg_config.json", "{}", 2);
    sn_model_free(load());
    ck_assert_int_eq(remove(temporary_path(&temporary, "config.json")), 0);
    assert_refused(SN_ERROR_FORMAT, "shape"); /* the defaults of {} do not fit */
    temporary_write(&temporary, "beeg_config.json", TIED, strlen(TIED));
    sn_model_free(load());
}
END_TEST

START_TEST(mask_buffers_are_ignored)
{
    list_fill(&list, context, TIED);
    struct tensor *mask = list_add(&list, "transformer.h.0.attn.bias", TENSOR_F32, 16, 0);
    static const uint64_t shape[4] = {1, 1, 4, 4};
    memcpy(mask->dimensions, shape, sizeof shape);
    mask->n_dimensions = 4;
    mask->floats[3] = NAN;
    sn_model *model = load_list(TIED);
    assert_list(model);
    sn_model_free(model);
    mask->n_dimensions = 1;
    mask->dimensions[0] = 16;
    assert_list_refused(TIED, "transformer.h.0.attn.bias has no place");
}
END_TEST

static void add_copy(const char *name, const char *of)
{
    struct tensor original = *list_find(&list, of);
    struct tensor *copy =
        list_add(&list, name, TENSOR_F32, original.dimensions[0], original.dimensions[1]);
    memcpy(copy->floats, original.floats, original.count * sizeof *copy->floats);
}

START_TEST(tied_weights_stand_once_or_twice)
{
    list_fill(&list, context, TIED);
    sn_model *model = load_list(TIED); /* only wte */
    assert_list(model);
    sn_model_free(model);
    add_copy("lm_head.weight", "transformer.wte.weight");
    model = load_list(TIED);
    assert_list(model);
    ck_assert_int_eq(model->lm_head, model->wte);
    sn_model_free(model);
    list_find(&list, "lm_head.weight")->floats[53] += 1;
    assert_list_refused(TIED, "differs from transformer.wte.weight at row 8");
    list_find(&list, "lm_head.weight")->dimensions[0] = 6;
    list_find(&list, "lm_head.weight")->dimensions[1] = 9;
    assert_list_refused(TIED, "lm_head.weight has shape [6, 9]; the configuration makes it [9, 6]");
    list_find(&list, "lm_head.weight")->dimensions[0] = 9;
    list_find(&list, "lm_head.weight")->dimensions[1] = 6;
    list_drop(&list, "transformer.wte.weight");
    model = load_list(TIED); /* only lm_head */
    assert_tensor(model, "transformer.wte.weight", list_find(&list, "lm_head.weight"));
    sn_model_free(model);
}
END_TEST

START_TEST(logits_bias_may_be_absent)
{
    list_fill(&list, context, TIED);
    list_drop(&list, "final_logits_bias");
    sn_model *model = load_list(TIED), *copy;
    size_t needed, support;
    float values[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    ck_assert_ptr_null(model->parameters[model->logits_bias].vector);
    ck_assert_int_eq(sn_model_tensor(values, 9, &needed, context, model, "final_logits_bias"), SN_OK);
    for (size_t i = 0; i < 9; i++)
        ck_assert_float_eq(values[i], 0);
    ck_assert_int_eq(sn_model_tensor_info(NULL, NULL, &support, NULL, model, (size_t)model->logits_bias),
                     SN_OK);
    ck_assert_uint_eq(support, 0);
    ck_assert_int_eq(model_copy(&copy, context, model), SN_OK);
    ck_assert_ptr_null(copy->parameters[copy->logits_bias].vector);
    sn_model_free(copy);
    sn_model_free(model);
}
END_TEST

/* As the released code does. */
START_TEST(tensors_without_use_are_ignored)
{
    list_fill(&list, context, TIED);
    list_add(&list, "transformer.h.0.attn.attn_imp.sink_logit", TENSOR_F32, 2, 0);
    sn_model_free(load_list(TIED));
    list_free(&list);
    list_fill(&list, context, NO_POSITIONS);
    list_add(&list, "transformer.wpe.weight", TENSOR_F32, 4, 6);
    list_add(&list, "transformer.h.0.ln_p1.weight", TENSOR_F32, 0, 0);
    list_add(&list, "transformer.h.0.ln_p2.bias", TENSOR_F32, 0, 0);
    sn_model *model = load_list(NO_POSITIONS);
    ck_assert_int_eq(model->wpe, -1);
    sn_model_free(model);
}
END_TEST

/* ----------------------------------------------------------- what is refused */

START_TEST(each_tensor_is_needed)
{
    list_fill(&list, context, EVERYTHING);
    size_t n = list.n;
    for (size_t i = 0; i < n; i++) {
        struct tensor_list whole = list;
        char message[200];
        snprintf(message, sizeof message, "tensor %s is missing", list.tensors[i].name);
        int may_be_absent = strcmp(list.tensors[i].name, "final_logits_bias") == 0;
        list.tensors[i] = list.tensors[--list.n];
        if (may_be_absent)
            sn_model_free(load_list(EVERYTHING));
        else
            assert_list_refused(EVERYTHING, message);
        list = whole;
    }
}
END_TEST

START_TEST(each_shape_must_fit)
{
    list_fill(&list, context, EVERYTHING);
    for (size_t i = 0; i < list.n; i++) {
        struct tensor *tensor = &list.tensors[i], whole = *tensor;
        char message[200];
        snprintf(message, sizeof message, "tensor %s has shape [", tensor->name);
        tensor->dimensions[tensor->n_dimensions++] = 1; /* the same elements */
        assert_list_refused(EVERYTHING, message);
        *tensor = whole;
        tensor->dimensions[0] -= 1;
        tensor->count -= tensor->n_dimensions == 2 ? tensor->dimensions[1] : 1;
        assert_list_refused(EVERYTHING, message);
        *tensor = whole;
    }
}
END_TEST

START_TEST(unknown_and_double_names)
{
    static const char *const names[] = {"x",
                                        "transformer.h.1.ln_1.weight",
                                        "transformer.h.0.ln_p1.weight",
                                        "transformer.wte.weight.values",
                                        "transformer.ln_f.weight.indptr",
                                        "bigram_table",
                                        "transformer.h.0.ln_1.bias",
                                        "model.model.x",
                                        ".values"};
    list_fill(&list, context, TIED);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        list_add(&list, names[i], TENSOR_F32, 3, 0);
        assert_list_refused(TIED, names[i][0] == 't' && strstr(names[i], "wte")
                                      ? "must stand as indptr, indices and values, or dense"
                                      : "has no place");
        list_drop(&list, names[i]);
    }
    add_copy("model.transformer.ln_f.weight", "transformer.ln_f.weight");
    assert_list_refused(TIED, "are the same");
}
END_TEST

START_TEST(values_must_be_finite)
{
    static const float values[] = {NAN, INFINITY, -INFINITY};
    list_fill(&list, context, TIED);
    for (size_t i = 0; i < list.n; i++) {
        struct tensor *tensor = &list.tensors[i];
        char message[200];
        float saved = tensor->floats[tensor->count - 1];
        snprintf(message, sizeof message, "tensor %s: element %zu is not finite", tensor->name,
                 tensor->count - 1);
        tensor->floats[tensor->count - 1] = values[i % 3];
        assert_list_refused(TIED, message);
        tensor->floats[tensor->count - 1] = saved;
    }
}
END_TEST

START_TEST(files_that_are_absent)
{
    sn_model *model;
    assert_refused(SN_ERROR_IO, "config.json or beeg_config.json");
    temporary_write(&temporary, "config.json", TIED, strlen(TIED));
    assert_refused(SN_ERROR_IO, "has no model.safetensors");
    temporary_write(&temporary, "final_model.pt", "PK", 2);
    assert_refused(SN_ERROR_FORMAT, "final_model.pt: no zip file");
    ck_assert_int_eq(sn_model_load(&model, context, temporary_path(&temporary, "none")), SN_ERROR_IO);
    assert_message(temporary.path);
    list_fill(&list, context, TIED);
    write_folder(TIED);
    ck_assert_int_eq(sn_model_load(&model, context, temporary.path), SN_ERROR_FORMAT);
    assert_message("no file of sn_model_save");
    ck_assert_int_eq(sn_model_load(NULL, context, temporary.path), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_model_load(&model, context, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_model_load(&model, NULL, temporary.path), SN_ERROR_ARGUMENT);
}
END_TEST

START_TEST(bad_configurations_name_their_file)
{
    list_fill(&list, context, TIED);
    write_folder("{\"n_layer\":1.5}");
    assert_refused(SN_ERROR_FORMAT, "/config.json: n_layer: must be a whole number");
    temporary_write(&temporary, "config.json", "", 0);
    assert_refused(SN_ERROR_FORMAT, "/config.json: empty");
    char *large = calloc(1, (1u << 20) + 1);
    temporary_write(&temporary, "config.json", large, (1u << 20) + 1);
    free(large);
    assert_refused(SN_ERROR_FORMAT, "the limit is");
}
END_TEST

static int cancel(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)value;
    (void)payload;
    ck_assert_str_eq(stage, "load");
    return done == total / 2;
}

START_TEST(loading_can_be_cancelled)
{
    list_fill(&list, context, TIED);
    write_folder(TIED);
    sn_context_set_progress(context, cancel, NULL);
    assert_refused(SN_ERROR_CANCELLED, "load cancelled");
}
END_TEST

static int load_attempt(sn_context *with, void *payload)
{
    sn_model *model = NULL;
    int status = sn_model_load(&model, with, payload);
    sn_model_free(model);
    return status;
}

START_TEST(load_out_of_memory)
{
    list_fill(&list, context, EVERYTHING);
    write_folder(EVERYTHING);
    ck_assert_uint_gt(oom_loop(load_attempt, temporary.folder, 1, 0), 100);
}
END_TEST

/* Every byte of a small file wrong in turn: refused or loaded, and nothing worse. */
START_TEST(damaged_bytes)
{
    list_fill(&list, context, TIED);
    write_folder(TIED);
    FILE *file = fopen(temporary_path(&temporary, "model.safetensors"), "rb");
    static unsigned char bytes[1 << 16];
    size_t size = fread(bytes, 1, sizeof bytes, file), n_refused = 0;
    fclose(file);
    ck_assert_uint_lt(size, sizeof bytes);
    for (size_t i = 0; i < size && i < 2000; i++) {
        static const unsigned char flips[] = {0x01, 0x10, 0x80};
        bytes[i] ^= flips[i % 3];
        temporary_write(&temporary, "model.safetensors", bytes, size);
        sn_model *model;
        int status = sn_model_load(&model, context, temporary.folder);
        ck_assert(status == SN_OK || status == SN_ERROR_FORMAT);
        n_refused += status != SN_OK;
        sn_model_free(model);
        bytes[i] ^= flips[i % 3];
    }
    ck_assert_uint_gt(n_refused, 1000);
    for (size_t cut = 0; cut < size; cut += 37) {
        temporary_write(&temporary, "model.safetensors", bytes, cut);
        assert_refused(SN_ERROR_FORMAT, "model.safetensors");
    }
}
END_TEST

Suite *load_suite(void);
Suite *load_suite(void)
{
    Suite *suite = suite_create("load");
    TCase *loads = tcase_create("loads"), *refused = tcase_create("refused");
    tcase_add_checked_fixture(loads, fixture_setup, teardown);
    tcase_set_timeout(loads, 60);
    tcase_add_test(loads, tensors_become_sparse);
    tcase_add_test(loads, density_at_the_limit);
    tcase_add_test(loads, large_tensors);
    tcase_add_test(loads, dense_copies_are_never_held);
    tcase_add_test(loads, prefixes_are_stripped);
    tcase_add_test(loads, config_json_is_preferred);
    tcase_add_test(loads, mask_buffers_are_ignored);
    tcase_add_test(loads, tied_weights_stand_once_or_twice);
    tcase_add_test(loads, logits_bias_may_be_absent);
    tcase_add_test(loads, tensors_without_use_are_ignored);
    suite_add_tcase(suite, loads);
    tcase_add_checked_fixture(refused, fixture_setup, teardown);
    tcase_set_timeout(refused, 60);
    tcase_add_test(refused, each_tensor_is_needed);
    tcase_add_test(refused, each_shape_must_fit);
    tcase_add_test(refused, unknown_and_double_names);
    tcase_add_test(refused, values_must_be_finite);
    tcase_add_test(refused, files_that_are_absent);
    tcase_add_test(refused, bad_configurations_name_their_file);
    tcase_add_test(refused, loading_can_be_cancelled);
    tcase_add_test(refused, load_out_of_memory);
    tcase_add_test(refused, damaged_bytes);
    suite_add_tcase(suite, refused);
    return suite;
}
