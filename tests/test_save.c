/* The native file: what is saved comes back bit by bit; damaged files are refused. And the shared folders
 * of malformed and golden models, where SPARSENET_SHARED (../shared) has them. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "everything.h"
#include "shared.h"
#include "tensor_list.h"
#include "fixture.h"

static struct tensor_list list;
static char native[256]; /* path of the native file */

static void setup(void)
{
    fixture_setup();
    snprintf(native, sizeof native, "%s/native.safetensors", temporary.folder);
}

static void teardown(void)
{
    list_free(&list);
    fixture_teardown();
}

static sn_model *load(const char *path)
{
    sn_model *model;
    int status = sn_model_load(&model, context, path);
    ck_assert_msg(status == SN_OK, "%s", sn_context_message(context));
    return model;
}

static void save(const sn_model *model)
{
    int status = sn_model_save(model, context, native);
    ck_assert_msg(status == SN_OK, "%s", sn_context_message(context));
}

/* A model of all densities, loaded from dense tensors. */
static sn_model *mixed_model(const char *json)
{
    list_fill(&list, context, json);
    temporary_write(&temporary, "config.json", json, strlen(json));
    list_write(&list, context, temporary_path(&temporary, "model.safetensors"));
    sn_model *model = load(temporary.folder);
    temporary_empty(&temporary);
    list_free(&list);
    return model;
}

/* Bit for bit, support for support. */
static void assert_same_parameter(const struct parameter *a, const struct parameter *b)
{
    ck_assert_str_eq(a->name, b->name);
    ck_assert_msg(!a->matrix == !b->matrix && !a->vector == !b->vector, "%s: kind", a->name);
    if (!a->matrix && !a->vector)
        return;
    ck_assert_uint_eq(parameter_size(a), parameter_size(b));
    ck_assert_msg(memcmp(parameter_values(a), parameter_values(b), parameter_size(a) * sizeof(float)) ==
                      0,
                  "%s: values", a->name);
    const struct pattern *p = a->matrix ? a->matrix->pattern : NULL;
    const struct pattern *q = b->matrix ? b->matrix->pattern : NULL;
    ck_assert_msg(!p == !q, "%s: sparse or dense", a->name);
    if (!p)
        return;
    ck_assert_uint_eq(p->nnz, q->nnz);
    ck_assert_mem_eq(p->row_start, q->row_start, (p->rows + 1) * sizeof *p->row_start);
    size_t differ = 0;
    for (size_t i = 0; i < p->nnz; i++)
        differ += pattern_column(p, i) != pattern_column(q, i);
    ck_assert_uint_eq(differ, 0);
}

static void assert_same_model(const sn_model *a, const sn_model *b)
{
    ck_assert_str_eq(sn_model_config_json(a), sn_model_config_json(b));
    ck_assert_uint_eq(a->n_parameters, b->n_parameters);
    for (size_t i = 0; i < a->n_parameters; i++)
        assert_same_parameter(&a->parameters[i], &b->parameters[i]);
}

static void check_round_trip(const sn_model *model)
{
    save(model);
    sn_model *again = load(native);
    assert_same_model(model, again);
    sn_model_free(again);
}

/* -------------------------------------------------------------- round trips */

START_TEST(mixed_densities_come_back)
{
    sn_model *model = mixed_model(EVERYTHING);
    check_round_trip(model);
    sn_model_free(model);
    ck_assert_uint_eq(temporary_empty(&temporary), 1); /* the file alone, no temporary */
}
END_TEST

/* Freshly grown entries are zero and stay in the support; -0 and denormals keep their bits. */
START_TEST(zeros_in_the_support_come_back)
{
    sn_model *model = mixed_model(EVERYTHING);
    size_t n_sparse = 0;
    for (size_t i = 0; i < model->n_parameters; i++) {
        struct sn_matrix *matrix = model->parameters[i].matrix;
        if (!matrix || matrix->n_values < 4)
            continue;
        matrix->values[0] = 0.0f;
        matrix->values[1] = -0.0f;
        matrix->values[2] = 0x1p-149f;
        matrix->values[matrix->n_values - 1] = 0.0f;
        n_sparse += matrix->pattern != NULL;
    }
    ck_assert_uint_gt(n_sparse, 2);
    check_round_trip(model);
    sn_model_free(model);
}
END_TEST

/* What is kept dense comes back dense, even when it is full of zeros. */
START_TEST(dense_stays_dense)
{
    sn_model *model;
    ck_assert_int_eq(sn_model_create(&model, context, EVERYTHING, strlen(EVERYTHING), 4), SN_OK);
    for (size_t i = 0; i < model->n_parameters; i += 2)
        memset(parameter_values(&model->parameters[i]), 0,
               parameter_size(&model->parameters[i]) * sizeof(float));
    check_round_trip(model);
    sn_model_free(model);
}
END_TEST

static const char *const shapes[] = {
    "{\"block_size\":1,\"vocab_size\":1,\"n_layer\":1,\"n_head\":1,\"d_model\":1,\"d_mlp\":1}",
    "{\"block_size\":3,\"vocab_size\":7,\"n_layer\":3,\"n_head\":1,\"d_model\":3,\"d_pos_emb\":0}",
    ("{\"block_size\":3,\"vocab_size\":7,\"n_layer\":1,\"n_head\":1,\"d_model\":3,\"tied_unembed\":"
     "false,"
     "\"bias\":false,\"rms_norm\":true,\"enable_bigram_table\":true,\"afrac\":0.3}"),
    /* columns beyond 16 bits */
    "{\"block_size\":2,\"vocab_size\":3,\"n_layer\":1,\"n_head\":1,\"d_model\":2,\"d_mlp\":65537}",
    "{\"block_size\":2,\"vocab_size\":3,\"n_layer\":1,\"n_head\":1,\"d_model\":2,\"d_mlp\":65536}",
};

START_TEST(awkward_shapes_come_back)
{
    sn_model *model = mixed_model(shapes[_i]);
    check_round_trip(model);
    sn_model_free(model);
}
END_TEST

/* Columns of more than 16 bits are stored in 32; nothing is misaligned for those who map the file. */
START_TEST(indices_as_small_as_fits)
{
    for (int wide = 0; wide < 2; wide++) {
        struct safetensors file;
        sn_model *model = mixed_model(shapes[wide ? 3 : 4]);
        struct parameter *proj = &model->parameters[model->layers[0].mlp_proj];
        struct pattern *pattern = NULL;
        const uint32_t row_start[3] = {0, 1, 3}, columns[3] = {0, 1, wide ? 65536 : 65535};
        const float values[3] = {1, 0, 3};
        matrix_free(proj->matrix);
        ck_assert_int_eq(pattern_create(&pattern, context, 2, proj->cols, row_start, columns), SN_OK);
        ck_assert_int_eq(matrix_create_sparse(&proj->matrix, context, pattern, values), SN_OK);
        pattern_release(pattern);
        check_round_trip(model);
        ck_assert_int_eq(safetensors_open(&file, context, native), SN_OK);
        const struct tensor_entry *indices =
            safetensors_find(&file, "transformer.h.0.mlp.c_proj.weight.indices");
        ck_assert_ptr_nonnull(indices);
        ck_assert_int_eq(indices->type, wide ? TENSOR_U32 : TENSOR_U16);
        for (size_t i = 0; i < file.n_entries; i++)
            ck_assert_uint_eq(file.entries[i].offset % tensor_type_size(file.entries[i].type), 0);
        safetensors_close(&file);
        sn_model_free(model);
    }
}
END_TEST

START_TEST(absent_logits_bias_stays_absent)
{
    sn_model *model = mixed_model(EVERYTHING);
    struct parameter *bias = &model->parameters[model->logits_bias];
    memory_free(model->memory, bias->vector, bias->rows * sizeof(float));
    bias->vector = NULL;
    check_round_trip(model);
    sn_model_free(model);
}
END_TEST

/* Saving over a file replaces it whole; saving twice gives the same bytes. */
START_TEST(saving_is_reproducible)
{
    static char bytes[2][1 << 17];
    size_t sizes[2];
    temporary_write(&temporary, "native.safetensors", "old", 3);
    sn_model *model = mixed_model(EVERYTHING);
    for (int i = 0; i < 2; i++) {
        save(model);
        FILE *file = fopen(native, "rb");
        sizes[i] = fread(bytes[i], 1, sizeof bytes[i], file);
        fclose(file);
    }
    ck_assert_uint_lt(sizes[0], sizeof bytes[0]);
    ck_assert_uint_eq(sizes[0], sizes[1]);
    ck_assert_mem_eq(bytes[0], bytes[1], sizes[0]);
    sn_model_free(model);
}
END_TEST

/* ------------------------------------------------------------ failing to save */

static int cancel(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)total;
    (void)value;
    (void)payload;
    return strcmp(stage, "save") == 0 && done == 3;
}

START_TEST(a_failed_save_leaves_the_old_file)
{
    sn_model *model = mixed_model(EVERYTHING);
    temporary_write(&temporary, "native.safetensors", "old", 3);
    sn_context_set_progress(context, cancel, NULL);
    ck_assert_int_eq(sn_model_save(model, context, native), SN_ERROR_CANCELLED);
    sn_context_set_progress(context, NULL, NULL);
    char *bytes;
    size_t size;
    ck_assert_int_eq(file_read_all(&bytes, &size, context, native, 100), SN_OK);
    ck_assert_str_eq(bytes, "old");
    memory_free(context->memory, bytes, size + 1);
    ck_assert_uint_eq(temporary_empty(&temporary), 1);
    ck_assert_int_eq(sn_model_save(model, context, temporary_path(&temporary, "no/where")), SN_ERROR_IO);
    assert_message(temporary.path);
    ck_assert_int_eq(sn_model_save(model, context, "/dev/full/x"), SN_ERROR_IO);
    ck_assert_int_eq(sn_model_save(model, NULL, native), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_model_save(NULL, context, native), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_model_save(model, context, NULL), SN_ERROR_ARGUMENT);
    ck_assert_uint_eq(temporary_empty(&temporary), 0);
    sn_model_free(model);
}
END_TEST

static int save_attempt(sn_context *with, void *payload)
{
    return sn_model_save(payload, with, native);
}

static int load_attempt(sn_context *with, void *payload)
{
    sn_model *model = NULL;
    int status = sn_model_load(&model, with, payload);
    sn_model_free(model);
    return status;
}

START_TEST(native_out_of_memory)
{
    sn_model *model = mixed_model(EVERYTHING);
    ck_assert_uint_gt(oom_loop(save_attempt, model, 1, 0), 3);
    ck_assert_uint_eq(temporary_empty(&temporary), 1);
    save(model);
    ck_assert_uint_gt(oom_loop(load_attempt, native, 1, 0), 100);
    sn_model_free(model);
}
END_TEST

/* ------------------------------------------------------- damaged native files */

#define SMALL                                                                                           \
    "{\"block_size\":2,\"vocab_size\":3,\"n_layer\":1,\"n_head\":1,\"d_model\":4,\"rms_norm\":true}"
#define WTE "transformer.wte.weight"

/* A native file whose wte (3 x 4) has the entries (0,1) (0,3) (2,0), as a list to be spoilt. */
static void fill_native(void)
{
    static const uint32_t row_start[4] = {0, 2, 2, 3}, columns[3] = {1, 3, 0};
    list_free(&list);
    list_fill(&list, context, SMALL);
    list_drop(&list, WTE);
    list.metadata[0][0] = "sparsenet.version", list.metadata[0][1] = "1";
    list.metadata[1][0] = "sparsenet.config", list.metadata[1][1] = SMALL;
    list.n_metadata = 2;
    memcpy(list_add(&list, WTE ".indptr", TENSOR_U32, 4, 0)->integers, row_start, sizeof row_start);
    memcpy(list_add(&list, WTE ".indices", TENSOR_U16, 3, 0)->integers, columns, sizeof columns);
    struct tensor *values = list_add(&list, WTE ".values", TENSOR_F32, 3, 0);
    values->floats[0] = 1, values->floats[1] = 2, values->floats[2] = 3;
}

static void assert_native_refused(int expected, const char *message)
{
    sn_model *model = (sn_model *)&list;
    list_write(&list, context, native);
    ck_assert_int_eq(sn_model_load(&model, context, native), expected);
    ck_assert_ptr_null(model);
    assert_message(message);
    assert_message(native);
    fill_native();
}

START_TEST(native_by_hand)
{
    fill_native();
    list_write(&list, context, native);
    sn_model *model = load(native);
    const struct sn_matrix *wte = model->parameters[model->wte].matrix;
    static const float expected[12] = {0, 1, 0, 2, 0, 0, 0, 0, 3, 0, 0, 0};
    for (size_t i = 0; i < 12; i++)
        ck_assert_float_eq(matrix_at(wte, i / 4, i % 4), expected[i]);
    ck_assert_uint_eq(wte->pattern->nnz, 3);
    sn_model_free(model);
}
END_TEST

static uint32_t *indptr(void)
{
    return list_find(&list, WTE ".indptr")->integers;
}

static uint32_t *indices(void)
{
    return list_find(&list, WTE ".indices")->integers;
}

START_TEST(native_sparse_tensors_are_checked)
{
    fill_native();
    indptr()[0] = 1;
    assert_native_refused(SN_ERROR_FORMAT, "indptr must run from 0 to 3");
    indptr()[3] = 2;
    assert_native_refused(SN_ERROR_FORMAT, "indptr must run from 0 to 3");
    indptr()[1] = 3;
    indices()[0] = 0, indices()[1] = 1, indices()[2] = 3;
    assert_native_refused(SN_ERROR_FORMAT, "indptr falls at row 1");
    indptr()[1] = 4;
    assert_native_refused(SN_ERROR_FORMAT, WTE ".indptr: element 1 is 4, it must be below 4");
    indptr()[2] = UINT32_MAX;
    assert_native_refused(SN_ERROR_FORMAT, "element 2 is 4294967295");
    indices()[1] = 4;
    assert_native_refused(SN_ERROR_FORMAT, WTE ".indices: element 1 is 4, it must be below 4");
    indices()[1] = 1;
    assert_native_refused(SN_ERROR_FORMAT, "the indices of row 0 do not ascend");
    indices()[0] = 3, indices()[1] = 1;
    assert_native_refused(SN_ERROR_FORMAT, "the indices of row 0 do not ascend");
    list_find(&list, WTE ".values")->floats[1] = INFINITY;
    assert_native_refused(SN_ERROR_FORMAT, WTE ".values: element 1 is not finite");
}
END_TEST

static void resize(const char *name, size_t n)
{
    struct tensor *tensor = list_find(&list, name);
    tensor->dimensions[0] = tensor->count = n;
}

START_TEST(native_parts_must_fit)
{
    static const char *const parts[] = {WTE ".indptr", WTE ".indices", WTE ".values"};
    fill_native();
    for (size_t i = 0; i < 3; i++) {
        list_drop(&list, parts[i]);
        assert_native_refused(SN_ERROR_FORMAT, "must stand as indptr, indices and values, or dense");
    }
    list_add(&list, WTE, TENSOR_F32, 3, 4);
    assert_native_refused(SN_ERROR_FORMAT, "must stand as indptr, indices and values, or dense");
    resize(WTE ".indptr", 3);
    assert_native_refused(SN_ERROR_FORMAT, WTE ".indptr has shape [3]; the configuration makes it [4]");
    resize(WTE ".indices", 2);
    assert_native_refused(SN_ERROR_FORMAT, WTE ".indices has shape [2]");
    resize(WTE ".values", 2);
    assert_native_refused(SN_ERROR_FORMAT, WTE ".indices has shape [3]");
    list_find(&list, WTE ".indices")->type = TENSOR_F32;
    assert_native_refused(SN_ERROR_FORMAT, "holds no indices");
    list_drop(&list, WTE ".values");
    list_add(&list, WTE ".values", TENSOR_F32, 13, 0);
    assert_native_refused(SN_ERROR_FORMAT, "13 values are too many for 3 x 4");
}
END_TEST

START_TEST(native_metadata_is_checked)
{
    fill_native();
    list.metadata[0][1] = "2";
    assert_native_refused(SN_ERROR_UNSUPPORTED, "version \"2\" of the native format");
    list.metadata[0][0] = "version";
    assert_native_refused(SN_ERROR_FORMAT, "no file of sn_model_save");
    list.n_metadata = 1;
    assert_native_refused(SN_ERROR_FORMAT, "no file of sn_model_save");
    list.metadata[1][1] = "{\"n_layer\":-1}";
    assert_native_refused(SN_ERROR_FORMAT, "n_layer: must be a whole number");
    list.metadata[1][1] = "";
    assert_native_refused(SN_ERROR_FORMAT, "empty");
}
END_TEST

/* Every byte of a native file wrong in turn. */
START_TEST(native_damaged_bytes)
{
    static unsigned char bytes[1 << 15];
    size_t n_refused = 0;
    fill_native();
    list_write(&list, context, native);
    FILE *file = fopen(native, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    ck_assert_uint_lt(size, sizeof bytes);
    for (size_t i = 0; i < size; i++) {
        unsigned char saved = bytes[i];
        sn_model *model;
        bytes[i] = (unsigned char)(saved ^ (1u << i % 8));
        temporary_write(&temporary, "native.safetensors", bytes, size);
        int status = sn_model_load(&model, context, native);
        ck_assert(status == SN_OK || status == SN_ERROR_FORMAT || status == SN_ERROR_UNSUPPORTED);
        n_refused += status != SN_OK;
        sn_model_free(model);
        bytes[i] = saved;
    }
    ck_assert_uint_gt(n_refused, size / 3);
}
END_TEST

/* ------------------------------------------------------------- shared folders */

static void check_bad_folder(const char *folder, const char *expected)
{
    sn_model *model = NULL;
    int status = sn_model_load(&model, context, folder);
    ck_assert_msg(status == SN_OK || sn_context_message(context)[0], "%s: no message", folder);
    ck_assert_msg(!model == (status != SN_OK), "%s", folder);
    if (strcmp(expected, "accept") == 0)
        ck_assert_msg(status == SN_OK, "%s: %s", folder, sn_context_message(context));
    else if (strcmp(expected, "reject") == 0)
        ck_assert_msg(status == SN_ERROR_FORMAT || status == SN_ERROR_IO ||
                          status == SN_ERROR_UNSUPPORTED,
                      "%s: status %d", folder, status);
    else
        ck_assert_msg(strcmp(expected, "either") == 0 || strcmp(expected, "reject-or-warn") == 0,
                      "%s: %s", folder, expected);
    sn_model_free(model);
}

START_TEST(bad_folders)
{
    const char *path = shared_path("bad/expect.tsv");
    char name[64], expected[32], folder[600];
    size_t n = 0;
    if (!path)
        return;
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    while (fscanf(file, "%63s %31s", name, expected) == 2) {
        if (name[0] != 's' && name[0] != 'c') /* the others are PyTorch files */
            continue;
        snprintf(folder, sizeof folder, "%s/%s", shared_path("bad"), name);
        check_bad_folder(folder, expected);
        n++;
    }
    fclose(file);
    ck_assert_uint_gt(n, 30);
}
END_TEST

START_TEST(golden_models_come_back)
{
    static const char *const names[] = {"p01_ln_gelu_tied",
                                        "p02_rms_afrac_bigram",
                                        "p03_sink_catpos_all",
                                        "p04_ln_sinusoidal",
                                        "p05_relu_resid_fixedbigram",
                                        "p06_T1_minimal",
                                        "p07_bf16",
                                        "p08_afrac_truncation",
                                        "p09_maskbuffers_n_mlp",
                                        "p10_sparse_coo",
                                        "p11_hf_prefix",
                                        "p13_zero_ties"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        snprintf(name, sizeof name, "goldens/%s", names[i]);
        const char *path = shared_path(name);
        if (!path)
            return;
        sn_model *model = load(path);
        check_round_trip(model);
        sn_model_free(model);
    }
}
END_TEST

Suite *save_suite(void);
Suite *save_suite(void)
{
    Suite *suite = suite_create("save");
    TCase *trips = tcase_create("round trips"), *failing = tcase_create("failing"),
          *shared = tcase_create("shared");
    tcase_add_checked_fixture(trips, setup, teardown);
    tcase_set_timeout(trips, 60);
    tcase_add_test(trips, mixed_densities_come_back);
    tcase_add_test(trips, zeros_in_the_support_come_back);
    tcase_add_test(trips, dense_stays_dense);
    tcase_add_loop_test(trips, awkward_shapes_come_back, 0, (int)(sizeof shapes / sizeof *shapes));
    tcase_add_test(trips, indices_as_small_as_fits);
    tcase_add_test(trips, absent_logits_bias_stays_absent);
    tcase_add_test(trips, saving_is_reproducible);
    suite_add_tcase(suite, trips);
    tcase_add_checked_fixture(failing, setup, teardown);
    tcase_set_timeout(failing, 60);
    tcase_add_test(failing, a_failed_save_leaves_the_old_file);
    tcase_add_test(failing, native_out_of_memory);
    tcase_add_test(failing, native_by_hand);
    tcase_add_test(failing, native_sparse_tensors_are_checked);
    tcase_add_test(failing, native_parts_must_fit);
    tcase_add_test(failing, native_metadata_is_checked);
    tcase_add_test(failing, native_damaged_bytes);
    suite_add_tcase(suite, failing);
    tcase_add_checked_fixture(shared, setup, teardown);
    tcase_set_timeout(shared, 60);
    tcase_add_test(shared, bad_folders);
    tcase_add_test(shared, golden_models_come_back);
    suite_add_tcase(suite, shared);
    return suite;
}
