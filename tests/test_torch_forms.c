/* Files of torch.save put together here: forms of torch 2, and every kind of spoilt tensor and archive. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "format/torch_file.h"
#include "format/torch_source.h"
#include "zip_writer.h"
#include "fixture.h"

static struct torch_file file;
static struct zip_writer writer;
static struct buffer pickle;

static void setup(void)
{
    fixture_setup();
    buffer_init(&pickle, context->memory);
}

static void teardown(void)
{
    torch_file_close(&file);
    buffer_free(&pickle);
    zip_writer_free(&writer);
    fixture_teardown();
}

static void put_text(const char *text)
{
    buffer_append(&pickle, "\x8C", 1);
    buffer_append(&pickle, (char[]){(char)strlen(text)}, 1);
    buffer_text(&pickle, text);
}

static void put_number(int64_t number_)
{
    buffer_append(&pickle, "\x8A\x8", 2);
    buffer_append(&pickle, &number_, 8); /* the tests run on little-endian machines */
}

static void put_numbers(const int64_t *numbers, size_t n)
{
    buffer_append(&pickle, "(", 1);
    for (size_t i = 0; i < n; i++)
        put_number(numbers[i]);
    buffer_append(&pickle, "t", 1);
}

/* How a tensor stands in the pickle; each test spoils a copy. */
struct form {
    const char *rebuild, *storage, *key, *dtype; /* dtype: of _rebuild_tensor_v3 */
    int64_t n_storage, offset, size[9], stride[9];
    size_t n_size, n_stride;
    const char *requires_grad, *hooks, *extra; /* as opcodes */
};

static const struct form whole = {"_rebuild_tensor_v2",
                                  "torch\nFloatStorage",
                                  "0",
                                  NULL,
                                  12,
                                  0,
                                  {3, 4},
                                  {4, 1},
                                  2,
                                  2,
                                  "\x89",
                                  "ccollections\nOrderedDict\n)R",
                                  ""};

static void put_form(const struct form *form)
{
    buffer_format(&pickle, "ctorch._utils\n%s\n((", form->rebuild);
    put_text("storage");
    buffer_format(&pickle, "c%s\n", form->storage);
    put_text(form->key);
    put_text("cuda:3");
    put_number(form->n_storage);
    buffer_append(&pickle, "tQ", 2);
    put_number(form->offset);
    put_numbers(form->size, form->n_size);
    put_numbers(form->stride, form->n_stride);
    buffer_text(&pickle, form->requires_grad);
    buffer_text(&pickle, form->hooks);
    if (form->dtype)
        buffer_format(&pickle, "ctorch\n%s\n", form->dtype);
    buffer_text(&pickle, form->extra);
    buffer_append(&pickle, "tR", 2);
}

static const float twelve[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

/* Opens an archive of the pickle so far, with storages 0 (12 floats) and 1 (6 int64). */
static int open_pickle(const char *byteorder)
{
    static const int64_t six[6] = {0, 2, 2, 3, 1, 1};
    torch_file_close(&file);
    zip_writer_free(&writer);
    buffer_append(&pickle, ".", 1);
    zip_writer_add(&writer, "top/data.pkl", pickle.bytes, pickle.size);
    if (byteorder)
        zip_writer_add(&writer, "top/byteorder", byteorder, strlen(byteorder));
    zip_writer_add(&writer, "top/data/0", twelve, sizeof twelve);
    zip_writer_add(&writer, "top/data/1", six, sizeof six);
    zip_writer_finish(&writer, 1, "");
    temporary_write(&temporary, "a.pt", writer.bytes, writer.size);
    buffer_free(&pickle);
    buffer_init(&pickle, context->memory);
    return torch_file_open(&file, context, temporary.path);
}

static int open_form(const struct form *form)
{
    put_form(form);
    return open_pickle(NULL);
}

START_TEST(the_form_itself)
{
    float values[12];
    ck_assert_msg(open_form(&whole) == SN_OK, "%s", sn_context_message(context));
    const struct torch_tensor *tensor = torch_tensor_of(torch_file_root(&file));
    ck_assert_ptr_nonnull(tensor);
    ck_assert(tensor->is_contiguous);
    ck_assert_int_eq(torch_read_floats(values, &file, context, tensor, "it", 0, 12), SN_OK);
    ck_assert_int_eq(memcmp(values, twelve, sizeof twelve), 0);
}
END_TEST

/* The metadata that torch 2 adds, hooks that are None, a dtype of its own. */
START_TEST(newer_forms)
{
    struct form form = whole;
    form.extra = "}";
    form.hooks = "N";
    ck_assert_int_eq(open_form(&form), SN_OK);
    form.rebuild = "_rebuild_tensor_v3";
    form.storage = "torch.storage\nUntypedStorage";
    form.n_storage = 48;
    form.dtype = "uint16";
    form.size[0] = 12, form.size[1] = 2;
    form.stride[0] = 2;
    ck_assert_msg(open_form(&form) == SN_OK, "%s", sn_context_message(context));
    int64_t values[24];
    const struct torch_tensor *tensor = torch_tensor_of(torch_file_root(&file));
    ck_assert_int_eq(tensor->type, TENSOR_U16);
    ck_assert_int_eq(torch_read_integers(values, &file, context, tensor, "it", 0, 24), SN_OK);
    ck_assert_int_eq((int)values[3], 0x3F80); /* the upper half of 1.0f */
    put_form(&whole);
    ck_assert_int_eq(open_pickle("little"), SN_OK);
    put_form(&whole);
    ck_assert_int_eq(open_pickle("big"), SN_ERROR_UNSUPPORTED);
    assert_message("the byte order is not little-endian");
    put_form(&whole);
    ck_assert_int_eq(open_pickle("wibble"), SN_ERROR_UNSUPPORTED);
}
END_TEST

START_TEST(parameters_are_their_tensors)
{
    static const char *const tails[] = {"\x88N\x87R", "\x88}}tR"};
    static const char *const heads[] = {"ctorch._utils\n_rebuild_parameter\n",
                                        "ctorch._utils\n_rebuild_parameter_with_state\n("};
    for (size_t i = 0; i < 2; i++) {
        buffer_text(&pickle, heads[i]);
        put_form(&whole);
        buffer_text(&pickle, tails[i]);
        ck_assert_msg(open_pickle(NULL) == SN_OK, "%s", sn_context_message(context));
        ck_assert_ptr_nonnull(torch_tensor_of(torch_file_root(&file)));
    }
}
END_TEST

static void assert_form_refused(const struct form *form, int status, const char *message)
{
    ck_assert_msg(open_form(form) == status, "%s: %s", message, sn_context_message(context));
    assert_message(message);
    assert_message("a.pt: data.pkl: opcode ");
}

START_TEST(storages_are_checked)
{
    struct form form = whole;
    form.key = "9";
    assert_form_refused(&form, SN_ERROR_FORMAT, "storage \"9\" is not in the file");
    form.key = "../data.pkl";
    assert_form_refused(&form, SN_ERROR_FORMAT, "storage \"../data.pkl\" is not in the file");
    form = whole;
    form.n_storage = 11;
    assert_form_refused(&form, SN_ERROR_FORMAT, "storage \"0\" of 11 elements of 4 bytes has 48 bytes");
    form.n_storage = 13;
    assert_form_refused(&form, SN_ERROR_FORMAT, "storage \"0\" of 13 elements of 4 bytes has 48 bytes");
    form.n_storage = -1;
    assert_form_refused(&form, SN_ERROR_FORMAT, "storage \"0\" of -1 elements");
    form.n_storage = 12 + ((int64_t)1 << 62);
    assert_form_refused(&form, SN_ERROR_FORMAT, "storage \"0\" of 4611686018427387916 elements");
    form = whole;
    form.storage = "torch\nfloat32";
    assert_form_refused(&form, SN_ERROR_FORMAT, "torch.float32 is no type of a storage");
    form.storage = "collections\nOrderedDict";
    assert_form_refused(&form, SN_ERROR_FORMAT, "is no type of a storage");
    form.storage = "torch\nComplexFloatStorage";
    assert_form_refused(&form, SN_ERROR_UNSUPPORTED, "global torch.ComplexFloatStorage is not allowed");
    form.storage = "torch.storage\nUntypedStorage";
    form.n_storage = 48;
    assert_form_refused(&form, SN_ERROR_FORMAT, "the storage has no element type");
    form = whole;
    form.rebuild = "_rebuild_tensor_v3";
    form.dtype = "float32";
    assert_form_refused(&form, SN_ERROR_FORMAT, "the storage has its own element type");
    form.dtype = "FloatStorage";
    assert_form_refused(&form, SN_ERROR_FORMAT, "torch.FloatStorage is no dtype");
}
END_TEST

START_TEST(shapes_are_checked)
{
    struct form form = whole;
    form.stride[0] = 5; /* the last element is 13 */
    assert_form_refused(&form, SN_ERROR_FORMAT,
                        "reaches beyond the 12 elements of its storage (offset 0)");
    form = whole;
    form.offset = 1;
    assert_form_refused(&form, SN_ERROR_FORMAT,
                        "reaches beyond the 12 elements of its storage (offset 1)");
    form.offset = (int64_t)1 << 40;
    assert_form_refused(&form, SN_ERROR_FORMAT, "(offset 1099511627776)");
    form.offset = INT64_MAX;
    assert_form_refused(&form, SN_ERROR_FORMAT, "reaches beyond");
    form.offset = -1;
    assert_form_refused(&form, SN_ERROR_FORMAT, "a tensor begins at element -1 of its storage");
    form = whole;
    form.stride[1] = -1;
    assert_form_refused(&form, SN_ERROR_FORMAT, "the stride of a tensor holds -1");
    form = whole;
    form.size[0] = -3;
    assert_form_refused(&form, SN_ERROR_FORMAT, "the size of a tensor holds -3");
    form = whole;
    form.size[0] = form.size[1] = (int64_t)1 << 33;
    form.stride[0] = form.stride[1] = 0;
    assert_form_refused(&form, SN_ERROR_FORMAT, "the size of a tensor overflows");
    form.size[1] = 1;
    assert_form_refused(&form, SN_ERROR_FORMAT, "a tensor of 8589934592 elements on a storage of 12");
    form.stride[0] = INT64_MAX;
    assert_form_refused(&form, SN_ERROR_FORMAT, "reaches beyond");
    form = whole;
    form.n_stride = 1;
    assert_form_refused(&form, SN_ERROR_FORMAT, "a tensor of 2 dimensions has 1 strides");
    form = whole;
    form.n_size = form.n_stride = 9;
    assert_form_refused(&form, SN_ERROR_UNSUPPORTED, "a tensor of 9 dimensions; at most 8 are read");
}
END_TEST

START_TEST(arguments_are_checked)
{
    struct form form = whole;
    form.requires_grad = "N";
    assert_form_refused(&form, SN_ERROR_FORMAT, "torch._utils._rebuild_tensor_v2: argument 5 is None");
    form = whole;
    form.hooks = "K\1";
    assert_form_refused(&form, SN_ERROR_UNSUPPORTED, "a tensor with hooks");
    form.hooks = "}K\1K\1s";
    assert_form_refused(&form, SN_ERROR_UNSUPPORTED, "a tensor with hooks");
    form = whole;
    form.extra = "NN";
    assert_form_refused(&form, SN_ERROR_FORMAT, "torch._utils._rebuild_tensor_v2 with 8 arguments");
    form = whole;
    form.rebuild = "_rebuild_qtensor";
    assert_form_refused(&form, SN_ERROR_UNSUPPORTED,
                        "global torch._utils._rebuild_qtensor is not allowed");
    form.rebuild = "_rebuild_parameter";
    assert_form_refused(&form, SN_ERROR_FORMAT, "torch._utils._rebuild_parameter with 6 arguments");
    buffer_text(&pickle, "ctorch._utils\n_rebuild_tensor_v2\n(K\1K\1))\x89N"
                         "tR");
    ck_assert_int_eq(open_pickle(NULL), SN_ERROR_FORMAT);
    assert_message("argument 1 is no storage but an integer");
    buffer_text(&pickle, "ctorch._utils\n_rebuild_parameter\n}\x89N\x87R");
    ck_assert_int_eq(open_pickle(NULL), SN_ERROR_FORMAT);
    assert_message("argument 1 is no tensor but a dict");
    buffer_text(&pickle, "ccollections\nOrderedDict\n]\x85R");
    ck_assert_int_eq(open_pickle(NULL), SN_ERROR_FORMAT);
    assert_message("collections.OrderedDict with 1 arguments");
    buffer_text(&pickle, "NQ");
    ck_assert_int_eq(open_pickle(NULL), SN_ERROR_FORMAT);
    assert_message("a persistent id that is no storage");
}
END_TEST

/* Strides of 0 make more elements than are stored, up to a limit for the file. */
START_TEST(expanded_tensors_are_limited)
{
    struct form form = whole;
    form.size[0] = 12 + (int64_t)TORCH_MAX_EXPANDED;
    form.n_size = form.n_stride = 1;
    form.stride[0] = 0;
    ck_assert_int_eq(open_form(&form), SN_OK);
    put_form(&form);
    form.size[0] = 13;
    put_form(&form);
    buffer_append(&pickle, "\x86", 1);
    ck_assert_int_eq(open_pickle(NULL), SN_ERROR_FORMAT);
    assert_message("a tensor of 13 elements on a storage of 12");
}
END_TEST

/* ---- sparse */

static const struct form
    indices = {"_rebuild_tensor_v2",
               "torch\nLongStorage",
               "1",
               NULL,
               6,
               0,
               {2, 3},
               {3, 1},
               2,
               2,
               "\x89",
               "N",
               ""},
    values = {
        "_rebuild_tensor_v2", "torch\nFloatStorage", "0", NULL, 12, 1, {3}, {1}, 1, 1, "\x89", "N", ""};

/* {"w": a sparse 3 x 4 tensor}: rows 0 2 2, columns 3 1 1, values 1 2 3. */
static void put_sparse(const struct form *at, const struct form *what, const int64_t *size, size_t n,
                       const char *layout, const char *name)
{
    buffer_append(&pickle, "}", 1);
    put_text(name);
    buffer_text(&pickle, "ctorch._utils\n_rebuild_sparse_tensor\nctorch.serialization\n_get_layout\n");
    put_text(layout);
    buffer_text(&pickle, "\x85R");
    buffer_append(&pickle, "(", 1);
    put_form(at);
    put_form(what);
    buffer_text(&pickle, "ctorch\nSize\n");
    put_numbers(size, n);
    buffer_text(&pickle, "\x85Rt\x86Rs");
}

START_TEST(sparse_matrices_are_three_entries)
{
    static const int64_t size[] = {3, 4};
    struct tensor_source source;
    uint32_t got[4];
    float got_values[2];
    put_sparse(&indices, &values, size, 2, "torch.sparse_coo", "w");
    ck_assert_msg(open_pickle(NULL) == SN_OK, "%s", sn_context_message(context));
    ck_assert_int_eq(torch_source(&source, context, temporary.path), SN_OK);
    ck_assert_uint_eq(source.n_entries, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct tensor_entry *entry = &source.entries[i];
        ck_assert_uint_eq(entry->n_dimensions, 1);
        ck_assert_uint_eq(entry->dimensions[0], entry->count);
        if (strcmp(entry->name, "w.values") == 0) {
            ck_assert_uint_eq(entry->count, 2);
            ck_assert_int_eq(source.read_floats(got_values, &source, context, entry, 0, 2), SN_OK);
            ck_assert_float_eq(got_values[0], 1);
            ck_assert_float_eq(got_values[1], 2 + 3);
            continue;
        }
        static const uint32_t row_start[] = {0, 1, 1, 2}, column[] = {3, 1};
        const int is_start = strcmp(entry->name, "w.indptr") == 0;
        ck_assert(is_start || strcmp(entry->name, "w.indices") == 0);
        ck_assert_uint_eq(entry->count, is_start ? 4 : 2);
        ck_assert_int_eq(source.read_indices(got, &source, context, entry, 0, is_start ? 4 : 2, 4),
                         SN_OK);
        ck_assert_int_eq(memcmp(got, is_start ? row_start : column, is_start ? 16 : 8), 0);
        ck_assert_int_eq(source.read_indices(got, &source, context, entry, 0, 2, 1), SN_ERROR_FORMAT);
        ck_assert_int_eq(source.read_indices(got, &source, context, entry, 1, 4, 4), SN_ERROR_FORMAT);
    }
    tensor_source_close(&source);
}
END_TEST

static int open_source(struct tensor_source *source)
{
    int status = open_pickle(NULL);
    torch_file_close(&file);
    return status == SN_OK ? torch_source(source, context, temporary.path) : status;
}

/* NAME.indices and NAME.indptr of a file may be dense tensors too: integers below a limit. */
START_TEST(dense_integers_are_indices)
{
    static const uint32_t expected[] = {0, 2, 2, 3, 1, 1};
    struct tensor_source source;
    uint32_t got[6];
    buffer_append(&pickle, "}", 1);
    put_text("w.indices");
    put_form(&indices);
    buffer_text(&pickle, "s");
    ck_assert_msg(open_source(&source) == SN_OK, "%s", sn_context_message(context));
    ck_assert_uint_eq(source.n_entries, 1);
    const struct tensor_entry *entry = &source.entries[0];
    ck_assert_int_eq(source.read_indices(got, &source, context, entry, 0, 6, 4), SN_OK);
    ck_assert_int_eq(memcmp(got, expected, sizeof got), 0);
    got[1] = 7;
    ck_assert_int_eq(source.read_indices(got, &source, context, entry, 3, 2, 4), SN_OK);
    ck_assert(got[0] == 3 && got[1] == 1);
    ck_assert_int_eq(source.read_indices(got, &source, context, entry, 0, 6, 3), SN_ERROR_FORMAT);
    assert_message("a.pt: tensor w.indices: element 3 is 3, it must be below 3");
    tensor_source_close(&source);
}
END_TEST

/* The integers of a sparse matrix can be read as floats; a sparse vector is floats alone. */
START_TEST(sparse_parts_are_numbers)
{
    static const int64_t size[] = {3, 4}, length[] = {4};
    struct form at = indices;
    struct tensor_source source;
    float got[4];
    uint32_t index[4];
    put_sparse(&indices, &values, size, 2, "torch.sparse_coo", "w");
    ck_assert_int_eq(open_source(&source), SN_OK);
    ck_assert_uint_eq(source.n_entries, 3);
    for (size_t i = 0; i < source.n_entries; i++) {
        static const float row_start[] = {0, 1, 1, 2}, column[] = {3, 1};
        const struct tensor_entry *entry = &source.entries[i];
        if (strcmp(entry->name, "w.values") == 0)
            continue;
        const int is_start = strcmp(entry->name, "w.indptr") == 0;
        ck_assert_uint_eq(entry->count, is_start ? 4 : 2);
        ck_assert_int_eq(source.read_floats(got, &source, context, entry, 0, entry->count), SN_OK);
        for (size_t k = 0; k < entry->count; k++)
            ck_assert_float_eq(got[k], is_start ? row_start[k] : column[k]);
    }
    tensor_source_close(&source);
    at.size[0] = 1;
    put_sparse(&at, &values, length, 1, "torch.sparse_coo", "v");
    ck_assert_msg(open_source(&source) == SN_OK, "%s", sn_context_message(context));
    ck_assert_uint_eq(source.n_entries, 1);
    ck_assert_int_eq(source.read_floats(got, &source, context, &source.entries[0], 0, 4), SN_OK);
    ck_assert(got[0] == 1 && got[1] == 0 && got[2] == 2 + 3 && got[3] == 0);
    ck_assert_int_ne(source.read_indices(index, &source, context, &source.entries[0], 0, 4, 9), SN_OK);
    assert_message("tensor v: dtype F32 holds no indices");
    tensor_source_close(&source);
}
END_TEST

static void assert_sparse_refused(int is_listing, const struct form *at, const struct form *what,
                                  const int64_t *size, size_t n, const char *message)
{
    struct tensor_source source;
    put_sparse(at, what, size, n, "torch.sparse_coo", "w");
    int status = open_pickle(NULL);
    if (is_listing) {
        ck_assert_int_eq(status, SN_OK);
        status = torch_source(&source, context, temporary.path);
    }
    ck_assert_int_ne(status, SN_OK);
    assert_message(message);
}

START_TEST(sparse_tensors_are_checked)
{
    static const int64_t size[] = {3, 4, 1}, few_rows[] = {2, 4}, few_columns[] = {3, 3},
                         many[] = {1 << 25, 4};
    struct form at = indices, what = values;
    assert_sparse_refused(1, &at, &what, few_rows, 2,
                          "tensor w: sparse index 2 of entry 1 must be 0 .. 1");
    assert_sparse_refused(1, &at, &what, few_columns, 2,
                          "tensor w: sparse index 3 of entry 0 must be 0 .. 2");
    assert_sparse_refused(1, &at, &what, many, 2,
                          "sparse tensor w has 33554432 rows; at most 16777216 are read");
    assert_sparse_refused(0, &at, &what, size, 3, "a sparse tensor of 3 dimensions has indices of 2");
    what.size[0] = 4;
    assert_sparse_refused(0, &at, &what, size, 2, "indices and values do not fit");
    what = values;
    what.n_size = what.n_stride = 2, what.size[1] = what.stride[1] = 1;
    assert_sparse_refused(0, &at, &what, size, 2, "a sparse tensor with dense dimensions");
    at = values;
    assert_sparse_refused(0, &at, &values, size, 2, "indices and values do not fit");
    put_sparse(&indices, &values, size, 2, "torch.sparse_csr", "w");
    ck_assert_int_eq(open_pickle(NULL), SN_ERROR_UNSUPPORTED);
    assert_message("a sparse layout other than torch.sparse_coo");
}
END_TEST

/* ---- state dicts */

START_TEST(state_dicts_below_a_key)
{
    static const char *const keys[] = {"model", "state_dict", "model_state_dict", "module"};
    struct tensor_source source;
    for (size_t i = 0; i < 4; i++) {
        buffer_text(&pickle, "}(");
        put_text("epoch");
        put_number(3);
        put_text(keys[i]);
        buffer_append(&pickle, "}", 1);
        put_text("w");
        put_form(&whole);
        buffer_text(&pickle, "su");
        ck_assert_msg(open_source(&source) == SN_OK, "%s", sn_context_message(context));
        ck_assert_uint_eq(source.n_entries, 1);
        ck_assert_str_eq(source.entries[0].name, "w");
        tensor_source_close(&source);
    }
}
END_TEST

START_TEST(what_is_no_state_dict)
{
    struct tensor_source source;
    put_form(&whole);
    ck_assert_int_eq(open_source(&source), SN_ERROR_FORMAT);
    assert_message("a.pt: data.pkl holds an object, not a state dict");
    buffer_text(&pickle, "}");
    put_number(1);
    put_form(&whole);
    buffer_text(&pickle, "s");
    ck_assert_int_eq(open_source(&source), SN_ERROR_FORMAT);
    assert_message("a key of the state dict is an integer, not a text");
    buffer_text(&pickle, "}");
    buffer_append(&pickle, "\x8C\3w\0x", 5);
    put_form(&whole);
    buffer_text(&pickle, "s");
    ck_assert_int_eq(open_source(&source), SN_ERROR_FORMAT);
    assert_message("the name w goes on behind a NUL");
}
END_TEST

START_TEST(no_state_is_no_tensor)
{
    struct tensor_source source;
    buffer_text(&pickle, "}");
    ck_assert_int_eq(open_source(&source), SN_OK);
    ck_assert_uint_eq(source.n_entries, 0);
    tensor_source_close(&source);
}
END_TEST

/* ---- the archive */

static void assert_archive_refused(const char *message)
{
    zip_writer_finish(&writer, 0, "");
    temporary_write(&temporary, "a.pt", writer.bytes, writer.size);
    zip_writer_free(&writer);
    ck_assert_int_eq(torch_file_open(&file, context, temporary.path), SN_ERROR_FORMAT);
    assert_message(message);
}

START_TEST(where_the_pickle_stands)
{
    zip_writer_add(&writer, "data.pkl", "N.", 2);
    assert_archive_refused("there is no entry FOLDER/data.pkl");
    zip_writer_add(&writer, "a/b/data.pkl", "N.", 2);
    assert_archive_refused("there is no entry FOLDER/data.pkl");
    zip_writer_add(&writer, "a/data.pkl", "N.", 2);
    zip_writer_add(&writer, "b/data.pkl", "N.", 2);
    assert_archive_refused("both a/data.pkl and b/data.pkl are there");
    zip_writer_add(&writer, "a/data.pkl", "N.", 2);
    writer.bytes[writer.size - 1] = 'N';
    assert_archive_refused("entry a/data.pkl does not match its checksum");
}
END_TEST

/* Read in order from first to last, a storage is compared with its checksum; otherwise not. */
START_TEST(checksums_of_storages)
{
    float values_[12];
    ck_assert_int_eq(open_form(&whole), SN_OK);
    torch_file_close(&file);
    zip_writer_patch(&writer, writer.entries[1].local + 30 + 10 + 8 + 44, 0x3F800000,
                     4); /* the last one */
    temporary_write(&temporary, "a.pt", writer.bytes, writer.size);
    ck_assert_int_eq(torch_file_open(&file, context, temporary.path), SN_OK);
    const struct torch_tensor *tensor = torch_tensor_of(torch_file_root(&file));
    ck_assert_int_eq(torch_read_floats(values_, &file, context, tensor, "it", 0, 5), SN_OK);
    ck_assert_int_eq(torch_read_floats(values_, &file, context, tensor, "it", 5, 6), SN_OK);
    ck_assert_int_eq(torch_read_floats(values_, &file, context, tensor, "it", 11, 1), SN_ERROR_FORMAT);
    assert_message("tensor it: entry top/data/0 does not match its checksum");
    ck_assert_int_eq(torch_read_floats(values_, &file, context, tensor, "it", 0, 12), SN_ERROR_FORMAT);
    ck_assert_int_eq(torch_read_floats(values_, &file, context, tensor, "it", 1, 11), SN_OK);
    ck_assert_float_eq(values_[10], 1);
}
END_TEST

/* Rows longer than what is read at once, columns first, every third element: against arithmetic. */
START_TEST(strides_of_large_tensors)
{
    enum { ROWS = 3, COLUMNS = 150000, N = ROWS * COLUMNS };
    static float numbers[N], got[N];
    for (size_t i = 0; i < N; i++)
        numbers[i] = (float)i;
    static const int64_t shapes[][4] = {{ROWS, COLUMNS, 1, ROWS},
                                        {COLUMNS, ROWS, 1, COLUMNS},
                                        {ROWS, COLUMNS / 3, COLUMNS, 3},
                                        {2, 5, 200000, 50000}};
    for (size_t s = 0; s < 4; s++) {
        struct form form = whole;
        size_t wrong = 0;
        form.n_storage = N;
        for (size_t d = 0; d < 2; d++) {
            form.size[d] = shapes[s][d];
            form.stride[d] = shapes[s][2 + d];
        }
        put_form(&form);
        buffer_append(&pickle, ".", 1);
        zip_writer_add(&writer, "top/data.pkl", pickle.bytes, pickle.size);
        zip_writer_add(&writer, "top/data/0", numbers, sizeof numbers);
        zip_writer_finish(&writer, 0, "");
        temporary_write(&temporary, "a.pt", writer.bytes, writer.size);
        buffer_free(&pickle);
        buffer_init(&pickle, context->memory);
        zip_writer_free(&writer);
        ck_assert_msg(torch_file_open(&file, context, temporary.path) == SN_OK, "%s",
                      sn_context_message(context));
        const struct torch_tensor *tensor = torch_tensor_of(torch_file_root(&file));
        const size_t rows = (size_t)shapes[s][0], cols = (size_t)shapes[s][1],
                     step = (rows / 3 + 1) * cols;
        ck_assert(!tensor->is_contiguous);
        for (size_t at = 0; at < rows * cols; at += step) {
            const size_t count = rows * cols - at < step ? rows * cols - at : step;
            ck_assert_int_eq(torch_read_floats(got + at, &file, context, tensor, "it", at, count),
                             SN_OK);
        }
        for (size_t i = 0; i < rows * cols; i++)
            wrong +=
                got[i] != (float)(i / cols * (size_t)shapes[s][2] + i % cols * (size_t)shapes[s][3]);
        ck_assert_msg(wrong == 0, "shape %zu: %zu wrong", s, wrong);
        torch_file_close(&file);
    }
}
END_TEST

Suite *torch_forms_suite(void)
{
    Suite *suite = suite_create("torch_forms");
    TCase *tcase = tcase_create("torch_forms");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_form_itself);
    tcase_add_test(tcase, newer_forms);
    tcase_add_test(tcase, parameters_are_their_tensors);
    tcase_add_test(tcase, storages_are_checked);
    tcase_add_test(tcase, shapes_are_checked);
    tcase_add_test(tcase, arguments_are_checked);
    tcase_add_test(tcase, expanded_tensors_are_limited);
    tcase_add_test(tcase, sparse_matrices_are_three_entries);
    tcase_add_test(tcase, dense_integers_are_indices);
    tcase_add_test(tcase, sparse_parts_are_numbers);
    tcase_add_test(tcase, sparse_tensors_are_checked);
    tcase_add_test(tcase, state_dicts_below_a_key);
    tcase_add_test(tcase, what_is_no_state_dict);
    tcase_add_test(tcase, no_state_is_no_tensor);
    tcase_add_test(tcase, where_the_pickle_stands);
    tcase_add_test(tcase, checksums_of_storages);
    tcase_add_test(tcase, strides_of_large_tensors);
    suite_add_tcase(suite, tcase);
    return suite;
}
