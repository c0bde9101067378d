/* Files of torch.save as it writes them: tests/data/torch (see make_torch.py), and the same with noise. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "format/torch_file.h"
#include "zip_fix.h"
#include "fixture.h"

#define DATA "tests/data/torch/"

static struct torch_file file;

static void teardown(void)
{
    torch_file_close(&file);
    fixture_teardown();
}

/* --------------------------------------------------------------- models */

/* As make_torch.py numbers them. */
static const char *const names[] = {
    "transformer.wte.weight",
    "transformer.wpe.weight",
    "transformer.h.0.ln_1.weight",
    "transformer.h.0.attn.c_attn.weight",
    "transformer.h.0.attn.c_attn.bias",
    "transformer.h.0.attn.c_proj.weight",
    "transformer.h.0.attn.c_proj.bias",
    "transformer.h.0.ln_2.weight",
    "transformer.h.0.mlp.c_fc.weight",
    "transformer.h.0.mlp.c_fc.bias",
    "transformer.h.0.mlp.c_proj.weight",
    "transformer.h.0.mlp.c_proj.bias",
    "transformer.ln_f.weight",
    "final_logits_bias",
};

static float number(size_t t, size_t i)
{
    return (i * 7 + t) % 3 == 0 ? 0.0f : (float)((int)((i * 37 + t * 11) % 63) - 31) / 8;
}

static void assert_numbers(const sn_model *model, float tolerance)
{
    for (size_t t = 0; t < sizeof names / sizeof *names; t++) {
        float values[128];
        size_t n = 0, wrong = 0;
        ck_assert_int_eq(sn_model_tensor(values, 128, &n, context, model, names[t]), SN_OK);
        ck_assert_uint_gt(n, 4);
        for (size_t i = 0; i < n; i++)
            wrong += !(fabsf(values[i] - number(t, i)) <= tolerance * fabsf(number(t, i)));
        ck_assert_msg(wrong == 0, "%s: %zu of %zu numbers differ", names[t], wrong, n);
    }
}

START_TEST(state_dicts_load)
{
    static const char *const files[] = {DATA "plain.pt", DATA "protocol4.pt", DATA "odd.pt"};
    for (size_t i = 0; i < 3; i++) {
        sn_model *model;
        ck_assert_msg(sn_model_load(&model, context, files[i]) == SN_OK, "%s",
                      sn_context_message(context));
        assert_numbers(model, i == 2 ? 1e-7f : 0); /* thirds, summed to the number again */
        sn_model_free(model);
    }
}
END_TEST

/* The matrix that was sparse in the file is sparse, its values summed place by place. */
START_TEST(sparse_parameters)
{
    sn_model *model;
    ck_assert_int_eq(sn_model_load(&model, context, DATA "odd.pt"), SN_OK);
    for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
        size_t support;
        int is_sparse;
        ck_assert_int_eq(sn_model_tensor_info(NULL, NULL, &support, &is_sparse, model, i), SN_OK);
        const int expected = strcmp(sn_model_tensor_name(model, i), names[10]) == 0;
        ck_assert_int_eq(is_sparse, expected);
        if (expected)
            ck_assert_uint_eq(support, 20);
    }
    sn_model_free(model);
}
END_TEST

static void copy_file(const char *from, const char *to)
{
    static unsigned char bytes[1 << 16];
    FILE *stream = fopen(from, "rb");
    ck_assert_ptr_nonnull(stream);
    const size_t n = fread(bytes, 1, sizeof bytes, stream);
    fclose(stream);
    temporary_write(&temporary, to, bytes, n);
}

START_TEST(where_a_model_may_stand)
{
    sn_model *model;
    copy_file(DATA "plain.pt", "final_model.pt");
    ck_assert_int_eq(sn_model_load(&model, context, temporary.path), SN_ERROR_IO); /* no configuration */
    assert_message("config.json");
    copy_file(DATA "config.json", "beeg_config.json");
    ck_assert_int_eq(sn_model_load(&model, context, temporary.folder), SN_OK);
    assert_numbers(model, 0);
    ck_assert_int_eq(sn_model_save(model, context, temporary_path(&temporary, "native.pt")), SN_OK);
    sn_model_free(model);
    /* a native file whatever its name, a zip file whatever its name */
    ck_assert_int_eq(sn_model_load(&model, context, temporary.path), SN_OK);
    assert_numbers(model, 0);
    sn_model_free(model);
    copy_file(DATA "odd.pt", "weights");
    ck_assert_int_eq(sn_model_load(&model, context, temporary.path), SN_OK);
    assert_numbers(model, 1e-7f);
    sn_model_free(model);
    /* safetensors go before */
    temporary_write(&temporary, "model.safetensors", "", 0);
    ck_assert_int_eq(sn_model_load(&model, context, temporary.folder), SN_ERROR_FORMAT);
    assert_message("model.safetensors: 0 bytes");
}
END_TEST

START_TEST(whole_modules_and_old_files_are_refused)
{
    sn_model *model;
    ck_assert_int_eq(sn_model_load(&model, context, DATA "module.pt"), SN_ERROR_UNSUPPORTED);
    assert_message("module.pt: data.pkl: opcode GLOBAL (0x63) at byte 2: global "
                   "torch.nn.modules.linear.Linear is not allowed");
    ck_assert_int_eq(sn_model_load(&model, context, DATA "legacy.pt"), SN_ERROR_UNSUPPORTED);
    assert_message("before version 1.6");
}
END_TEST

START_TEST(state_dicts_of_other_things)
{
    sn_model *model;
    for (int protocol = 2; protocol <= 5; protocol++) {
        char path[64];
        snprintf(path, sizeof path, DATA "values%d.pt", protocol);
        ck_assert_int_eq(sn_model_load(&model, context, path), SN_ERROR_FORMAT);
        assert_message("data.pkl: none is None, not a tensor");
    }
}
END_TEST

/* --------------------------------------------------------------- values */

static const struct pickle_value *value_of(const char *key)
{
    const struct pickle_value *value = pickle_find(torch_file_root(&file), key);
    ck_assert_msg(value != NULL, "no %s", key);
    return value;
}

static const struct torch_tensor *tensor_of(const char *key)
{
    const struct torch_tensor *tensor = torch_tensor_of(pickle_find(value_of("tensors"), key));
    ck_assert_msg(tensor != NULL, "no %s", key);
    return tensor;
}

static void assert_plain_values(int protocol)
{
    static const struct {
        const char *key;
        int64_t value;
    } integers[] = {
        {"small", 7},          {"word", 40000}, {"negative", -5}, {"large", -((int64_t)1 << 40)},
        {"widest", INT64_MAX}, {"yes", 1},      {"no", 0}};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        ck_assert_int_eq(value_of(integers[i].key)->kind, i < 5 ? PICKLE_INTEGER : PICKLE_BOOL);
        ck_assert(value_of(integers[i].key)->as.integer == integers[i].value);
    }
    ck_assert_int_eq(value_of("none")->kind, PICKLE_NONE);
    ck_assert(value_of("number")->as.number == -0.125);
    ck_assert(pickle_is_text(value_of("text"), "Gr\xC3\xB6\xC3\x9F"
                                               "e \xE2\x9C\x93"));
    ck_assert(pickle_is_text(value_of("empty text"), ""));
    if (protocol > 2) {
        ck_assert_int_eq(value_of("bytes")->kind, PICKLE_BYTES);
        ck_assert_uint_eq(value_of("bytes")->as.text.length, 2);
    }
    ck_assert(pickle_is_text(value_of("device"), "cuda"));
    ck_assert_int_eq(value_of("dtype")->kind, PICKLE_GLOBAL);
    ck_assert_str_eq(value_of("dtype")->as.global->name, "float32");
    ck_assert_int_eq(value_of("size")->kind, PICKLE_TUPLE);
    ck_assert_uint_eq(value_of("size")->as.items.n, 2);
    ck_assert_int_eq((int)pickle_find(value_of("ordered"), "a")->as.integer, 1);
    const struct pickle_value *list = value_of("list");
    ck_assert_int_eq(list->kind, PICKLE_LIST);
    ck_assert_uint_eq(list->as.items.n, 3);
    ck_assert_uint_eq(list->as.items.list[1]->as.items.list[1]->as.items.n, 4);
    ck_assert_ptr_null(torch_tensor_of(list));
    ck_assert_ptr_null(torch_tensor_of(NULL));
}

/* Reads in pieces of `step` elements, as floats and, where the type allows, as integers. */
static void assert_elements(const char *key, const float *expected, size_t n, size_t step,
                            int is_integer)
{
    const struct torch_tensor *tensor = tensor_of(key);
    float floats[64];
    int64_t integers[64];
    size_t wrong = 0;
    ck_assert_uint_eq(tensor->count, n);
    for (size_t at = 0; at < n; at += step) {
        const size_t count = n - at < step ? n - at : step;
        ck_assert_int_eq(torch_read_floats(floats + at, &file, context, tensor, key, at, count), SN_OK);
        int status = torch_read_integers(integers + at, &file, context, tensor, key, at, count);
        ck_assert_int_eq(status, is_integer ? SN_OK : SN_ERROR_FORMAT);
    }
    for (size_t i = 0; i < n; i++)
        wrong += floats[i] != expected[i] || (is_integer && (float)integers[i] != expected[i]);
    ck_assert_msg(wrong == 0, "%s in pieces of %zu: %zu of %zu are wrong", key, step, wrong, n);
}

static void assert_tensors(size_t step)
{
    static const char *const counts[] = {"int64", "int32", "int16", "int8"};
    static const char *const eighths[] = {"float16", "bfloat16", "float32", "float64"};
    float expected[64];
    for (size_t i = 0; i < 24; i++)
        expected[i] = (float)i - 12;
    for (size_t i = 0; i < 4; i++)
        assert_elements(counts[i], expected, 24, step, 1);
    for (size_t i = 0; i < 24; i++)
        expected[i] = ((float)i - 12) / 8;
    for (size_t i = 0; i < 4; i++)
        assert_elements(eighths[i], expected, 24, step, 0);
    for (size_t i = 0; i < 24; i++)
        expected[i] = (float)i;
    assert_elements("uint8", expected, 24, step, 1);
    for (size_t i = 0; i < 24; i++)
        expected[i] = i > 12;
    assert_elements("bool", expected, 24, step, 1);
    for (size_t i = 0; i < 24; i++) /* (4, 2, 3) of (2, 3, 4) */
        expected[i] = (float)(i / 6 + i % 6 * 4) - 12;
    assert_elements("permuted", expected, 24, step, 1);
    for (size_t i = 0; i < 10; i++)
        expected[i] = i < 5 ? 1.5f : 2.5f;
    assert_elements("expanded", expected, 10, step, 0);
    for (size_t i = 0; i < 5; i++)
        expected[i] = (float)(3 + 4 * i);
    assert_elements("reversed step", expected, 5, step, 0);
    for (size_t i = 0; i < 4; i++)
        expected[i] = (float)(5 * i);
    assert_elements("diagonal", expected, 4, step, 0);
    expected[0] = 2.5f;
    assert_elements("scalar", expected, 1, step, 0);
    assert_elements("empty", expected, 0, step, 0);
}

START_TEST(trees_of_values)
{
    for (int protocol = 2; protocol <= 5; protocol++) {
        char path[64];
        snprintf(path, sizeof path, DATA "values%d.pt", protocol);
        ck_assert_msg(torch_file_open(&file, context, path) == SN_OK, "%s", sn_context_message(context));
        assert_plain_values(protocol);
        for (size_t step = 1; step <= 64; step = step * 3 / 2 + 1)
            assert_tensors(step);
        torch_file_close(&file);
    }
}
END_TEST

START_TEST(elements_that_are_not_there)
{
    float floats[4];
    int64_t integers[4];
    ck_assert_int_eq(torch_file_open(&file, context, DATA "values2.pt"), SN_OK);
    const struct torch_tensor *tensor = tensor_of("int64");
    ck_assert_int_eq(torch_read_floats(floats, &file, context, tensor, "it", 21, 4), SN_ERROR_FORMAT);
    assert_message("values2.pt: tensor it has 24 elements, 4 wanted from 21");
    ck_assert_int_eq(torch_read_floats(floats, &file, context, tensor, "it", UINT64_MAX, 2),
                     SN_ERROR_FORMAT);
    ck_assert_int_eq(torch_read_integers(integers, &file, context, tensor_of("float32"), "it", 0, 1),
                     SN_ERROR_FORMAT);
    assert_message("tensor it: dtype F32 holds no integers");
}
END_TEST

/* ---- noise and lack of memory */

/* Damaged files end well or with a message, whatever the bytes. */
START_TEST(noise)
{
    static unsigned char bytes[1 << 14], noisy[1 << 14];
    static const char *const files[] = {DATA "odd.pt", DATA "values4.pt"};
    struct random_state state;
    size_t n_good = 0;
    random_seed(&state, 5, 0);
    copy_file(DATA "config.json", "config.json");
    for (int i = 0; i < 3000; i++) {
        sn_model *model;
        FILE *stream = fopen(files[i % 2], "rb");
        const size_t size = fread(bytes, 1, sizeof bytes, stream);
        fclose(stream);
        memcpy(noisy, bytes, size);
        for (size_t k = 0; k < 1 + random_below(&state, 3); k++)
            noisy[random_below(&state, size)] ^= (unsigned char)(1u << random_below(&state, 8));
        if (i % 4)
            zip_fix_checksums(noisy, size);
        temporary_write(&temporary, "final_model.pt", noisy, size);
        int status = sn_model_load(&model, context, temporary.folder);
        ck_assert(status == SN_OK || sn_context_message(context)[0]);
        n_good += status == SN_OK;
        sn_model_free(model);
    }
    ck_assert_uint_gt(n_good, 100);
    ck_assert_uint_lt(n_good, 1400);
}
END_TEST

static int load_attempt(sn_context *with, void *payload)
{
    sn_model *model = NULL;
    int status = sn_model_load(&model, with, payload);
    sn_model_free(model);
    return status;
}

static int open_attempt(sn_context *with, void *payload)
{
    struct torch_file own;
    int status = torch_file_open(&own, with, payload);
    torch_file_close(&own);
    return status;
}

START_TEST(out_of_memory)
{
    ck_assert_uint_gt(oom_loop(load_attempt, (void *)(uintptr_t)DATA "odd.pt", 1, 0), 60);
    ck_assert_uint_gt(oom_loop(open_attempt, (void *)(uintptr_t)DATA "values5.pt", 1, 0), 10);
}
END_TEST

Suite *torch_suite(void)
{
    Suite *suite = suite_create("torch");
    TCase *tcase = tcase_create("torch");
    tcase_add_checked_fixture(tcase, fixture_setup, teardown);
    tcase_add_test(tcase, state_dicts_load);
    tcase_add_test(tcase, sparse_parameters);
    tcase_add_test(tcase, where_a_model_may_stand);
    tcase_add_test(tcase, whole_modules_and_old_files_are_refused);
    tcase_add_test(tcase, state_dicts_of_other_things);
    tcase_add_test(tcase, trees_of_values);
    tcase_add_test(tcase, elements_that_are_not_there);
    tcase_add_test(tcase, noise);
    tcase_add_test(tcase, out_of_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
