/* The forms in which a safetensors folder may hold a model: element types, prefixes, sparse triplets, one name
 * for tied weights. All must load as the same numbers. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "everything.h"
#include "tensor_list.h"
#include "fixture.h"

#define TIED                                                                                            \
    "{\"block_size\":4,\"vocab_size\":9,\"n_layer\":1,\"n_head\":2,\"d_model\":6,\"rms_norm\":true}"

static struct tensor_list list;

static void teardown(void)
{
    list_free(&list);
    fixture_teardown();
}

/* Every tensor of the configuration, in eighths that each type holds exactly, two thirds of them zero. */
static void fill(const char *json)
{
    list_fill(&list, context, json);
    for (size_t i = 0; i < list.n; i++)
        for (size_t j = 0; j < list.tensors[i].count; j++)
            list.tensors[i].floats[j] =
                (i + j) % 3 ? 0 : (float)((int)((j * 37 + i * 11) % 63) - 31) / 8;
}

/* The bits of an eighth below 4 in magnitude. */
static uint64_t encode(float value, enum tensor_type type)
{
    uint32_t bits;
    uint64_t wide;
    const double twice = (double)value;
    memcpy(&bits, &value, sizeof bits);
    memcpy(&wide, &twice, sizeof wide);
    switch (type) {
    case TENSOR_F64: return wide;
    case TENSOR_BF16: return bits >> 16;
    case TENSOR_F16: /* sign, exponent with another bias, ten bits */
        return value == 0
                   ? 0
                   : (bits >> 16 & 0x8000) | ((bits >> 23 & 255) - 112) << 10 | (bits >> 13 & 1023);
    default: return bits;
    }
}

static void write_as(enum tensor_type type, const char *json)
{
    struct safetensors_writer file;
    temporary_write(&temporary, "config.json", json, strlen(json));
    ck_assert_int_eq(
        safetensors_writer_open(&file, context, temporary_path(&temporary, "model.safetensors")), SN_OK);
    for (size_t i = 0; i < list.n; i++)
        safetensors_writer_declare(&file, list.tensors[i].name, type, list.tensors[i].dimensions,
                                   list.tensors[i].n_dimensions);
    ck_assert_int_eq(safetensors_writer_begin(&file, context), SN_OK);
    for (size_t i = 0; i < list.n; i++)
        for (size_t j = 0; j < list.tensors[i].count; j++) {
            const uint64_t bits = encode(list.tensors[i].floats[j], type); /* little-endian here */
            ck_assert(safetensors_write_bytes(&file, context, &bits, tensor_type_size(type)) == SN_OK);
        }
    ck_assert_int_eq(safetensors_writer_commit(&file, context), SN_OK);
}

/* The folder loads, and every tensor is that of `expected`. */
static void assert_loads_as(const struct tensor_list *expected)
{
    sn_model *model;
    ck_assert_msg(sn_model_load(&model, context, temporary.folder) == SN_OK, "%s",
                  sn_context_message(context));
    for (size_t i = 0; i < expected->n; i++) {
        const struct tensor *tensor = &expected->tensors[i];
        size_t n;
        float *values = malloc((tensor->count + 1) * sizeof *values);
        ck_assert_int_eq(sn_model_tensor(values, tensor->count, &n, context, model, tensor->name),
                         SN_OK);
        ck_assert_msg(n == tensor->count && memcmp(values, tensor->floats, n * sizeof *values) == 0,
                      "%s differs", tensor->name);
        free(values);
    }
    sn_model_free(model);
}

START_TEST(every_element_type)
{
    static const enum tensor_type types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_F64};
    fill(EVERYTHING);
    for (size_t i = 0; i < 4; i++) {
        write_as(types[i], EVERYTHING);
        assert_loads_as(&list);
    }
}
END_TEST

static void write_with_prefix(const char *prefix)
{
    static struct tensor_list renamed;
    renamed = list;
    for (size_t i = 0; i < list.n; i++)
        snprintf(renamed.tensors[i].name, sizeof renamed.tensors[i].name, "%s%.80s", prefix,
                 list.tensors[i].name);
    list_write(&renamed, context, temporary_path(&temporary, "model.safetensors"));
}

/* transformers, DistributedDataParallel, torch.compile, and several around each other. */
START_TEST(every_prefix)
{
    static const char *const prefixes[] = {"",
                                           "circuit_model.",
                                           "model.",
                                           "module.",
                                           "_orig_mod.",
                                           "module._orig_mod.",
                                           "_orig_mod.model.circuit_model."};
    fill(TIED);
    temporary_write(&temporary, "config.json", TIED, strlen(TIED));
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        write_with_prefix(prefixes[i]);
        assert_loads_as(&list);
    }
}
END_TEST

/* A dense matrix of the list becomes its three sparse parts. */
static void add_sparse(struct tensor_list *to, const struct tensor *dense)
{
    char name[128];
    const size_t rows = (size_t)dense->dimensions[0], cols = (size_t)dense->dimensions[1];
    size_t nnz = 0;
    for (size_t i = 0; i < dense->count; i++)
        nnz += dense->floats[i] != 0;
    snprintf(name, sizeof name, "%.100s.indptr", dense->name);
    struct tensor *indptr = list_add(to, name, TENSOR_U32, rows + 1, 0);
    snprintf(name, sizeof name, "%.100s.indices", dense->name);
    struct tensor *indices = list_add(to, name, TENSOR_U16, nnz, 0);
    snprintf(name, sizeof name, "%.100s.values", dense->name);
    struct tensor *values = list_add(to, name, TENSOR_F32, nnz, 0);
    for (size_t r = 0, n = 0; r < rows; r++) {
        for (size_t c = 0; c < cols; c++) {
            if (dense->floats[r * cols + c] == 0)
                continue;
            indices->integers[n] = (uint32_t)c;
            values->floats[n++] = dense->floats[r * cols + c];
        }
        indptr->integers[r + 1] = (uint32_t)n;
    }
}

/* Triplets beside dense tensors, in a folder with a configuration of its own. */
START_TEST(sparse_triplets)
{
    static struct tensor_list sparse;
    fill(TIED);
    memset(&sparse, 0, sizeof sparse);
    for (size_t i = 0; i < list.n; i++) {
        const struct tensor *from = &list.tensors[i];
        if (from->n_dimensions == 2 && i % 2) {
            add_sparse(&sparse, from);
            continue;
        }
        struct tensor *copy = list_add(&sparse, from->name, TENSOR_F32, (size_t)from->dimensions[0],
                                       from->n_dimensions == 2 ? (size_t)from->dimensions[1] : 0);
        memcpy(copy->floats, from->floats, from->count * sizeof *copy->floats);
    }
    ck_assert_uint_gt(sparse.n, list.n + 2);
    temporary_write(&temporary, "config.json", TIED, strlen(TIED));
    list_write(&sparse, context, temporary_path(&temporary, "model.safetensors"));
    assert_loads_as(&list);
    list_free(&sparse);
}
END_TEST

/* Tied weights under either name alone. */
START_TEST(tied_weights_of_one_name)
{
    fill(TIED);
    temporary_write(&temporary, "config.json", TIED, strlen(TIED));
    list_write(&list, context, temporary_path(&temporary, "model.safetensors"));
    assert_loads_as(&list);
    struct tensor *embedding = list_find(&list, "transformer.wte.weight");
    snprintf(embedding->name, sizeof embedding->name, "lm_head.weight");
    list_write(&list, context, temporary_path(&temporary, "model.safetensors"));
    snprintf(embedding->name, sizeof embedding->name, "transformer.wte.weight");
    assert_loads_as(&list);
}
END_TEST

Suite *load_forms_suite(void)
{
    Suite *suite = suite_create("load_forms");
    TCase *tcase = tcase_create("load_forms");
    tcase_add_checked_fixture(tcase, fixture_setup, teardown);
    tcase_add_test(tcase, every_element_type);
    tcase_add_test(tcase, every_prefix);
    tcase_add_test(tcase, sparse_triplets);
    tcase_add_test(tcase, tied_weights_of_one_name);
    suite_add_tcase(suite, tcase);
    return suite;
}
