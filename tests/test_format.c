/* lib/format: strict JSON, reading and writing safetensors. */
#include <check.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "format/safetensors.h"
#include "fixture.h"

/* --------------------------------------------------------------------- JSON */

static int parses(const char *text, size_t length)
{
    json_t *value = NULL;
    int status = json_read_text(&value, context, text, length, "some.json");
    ck_assert(status == SN_OK ? value != NULL : value == NULL);
    json_decref(value);
    return status;
}

static const char *const refused_json[] = {
    "",
    " ",
    "{",
    "{\"a\":1,\"a\":2}",
    "{\"a\":{\"b\":1,\"b\":1}}",
    "{\"a\":NaN}",
    "{\"a\":Infinity}",
    "{\"a\":-Infinity}",
    "{\"a\":1e999}",
    "{\"a\":1} x",
    "{\"a\":1}{}",
    "{\"a\":1,}",
    "{'a':1}",
    "{\"a\":01}",
    "{\"a\":\"\\u0000\"}",
    "{\"a\\u0000b\":1}",
    "{\"a\":\"\\ud800\"}",
    "{\"a\":\"\xff\"}",
    "{\"a\":\"\xc0\xaf\"}",
    "{\"a\":\"\xed\xa0\x80\"}",
    "{\"\xfe\":1}",
    "{\"a\":\"line\nbreak\"}",
    "{\"a\":99999999999999999999}",
    "// {}",
};

START_TEST(json_refuses)
{
    ck_assert_int_eq(parses(refused_json[_i], strlen(refused_json[_i])), SN_ERROR_FORMAT);
    ck_assert_ptr_eq(strstr(sn_context_message(context), "some.json: "), sn_context_message(context));
    for (const char *c = sn_context_message(context); *c; c++)
        ck_assert_msg(*c >= 0x20 && *c <= 0x7e, "byte %d in the message", *c);
}
END_TEST

START_TEST(json_refuses_a_raw_nul)
{
    ck_assert_int_eq(parses("{\"a\":1}\0", 8), SN_ERROR_FORMAT);
    ck_assert_int_eq(parses("{\"a\0\":1}", 8), SN_ERROR_FORMAT);
}
END_TEST

START_TEST(json_says_where)
{
    ck_assert_int_eq(parses("{\n \"a\": nul\n}", 13), SN_ERROR_FORMAT);
    assert_message("line 2");
}
END_TEST

static int parses_nested(size_t depth)
{
    char text[4096];
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return parses(text, 2 * depth);
}

START_TEST(json_limits_depth)
{
    ck_assert_int_eq(parses_nested(JSON_MAX_DEPTH), SN_OK);
    ck_assert_int_eq(parses_nested(JSON_MAX_DEPTH + 1), SN_ERROR_FORMAT);
    ck_assert_int_eq(parses_nested(2000), SN_ERROR_FORMAT);
    /* brackets in strings do not count */
    char text[400] = "\"\\\"";
    memset(text + 3, '[', 300);
    text[303] = '"';
    json_t *value;
    ck_assert_int_eq(json_read_text(&value, context, text, 304, "some.json"), SN_ERROR_FORMAT);
    text[0] = '[', text[1] = '"', text[304] = ']';
    memcpy(text + 2, "\\\"", 2);
    ck_assert_int_eq(json_read_text(&value, context, text, 305, "some.json"), SN_OK);
    json_decref(value);
}
END_TEST

static json_t *object_of(const char *text)
{
    json_t *object;
    ck_assert_int_eq(json_read_text(&object, context, text, strlen(text), "c.json"), SN_OK);
    return object;
}

START_TEST(json_fields)
{
    json_t *object = object_of("{\"n\":7,\"x\":0.25,\"i\":3,\"f\":true,\"g\":false,\"t\":\"text\"}");
    size_t n = 1, absent = 5;
    double x = 0, y = 0;
    int f = 0, g = 1;
    const char *text = NULL;
    ck_assert_int_eq(json_field_size(&n, context, object, "c.json", "n", 7, 7), SN_OK);
    ck_assert_int_eq(json_field_size(&absent, context, object, "c.json", "m", 0, 9), SN_OK);
    ck_assert_int_eq(json_field_number(&x, context, object, "c.json", "x"), SN_OK);
    ck_assert_int_eq(json_field_number(&y, context, object, "c.json", "i"), SN_OK);
    ck_assert_int_eq(json_field_flag(&f, context, object, "c.json", "f"), SN_OK);
    ck_assert_int_eq(json_field_flag(&g, context, object, "c.json", "g"), SN_OK);
    ck_assert_int_eq(json_field_text(&text, context, object, "c.json", "t"), SN_OK);
    ck_assert_uint_eq(n, 7);
    ck_assert_uint_eq(absent, 5);
    ck_assert(x == 0.25 && y == 3 && f == 1 && g == 0);
    ck_assert_str_eq(text, "text");
    json_decref(object);
}
END_TEST

static const struct {
    const char *json, *message;
} wrong_sizes[] = {
    {"{\"n\":\"3\"}", "c.json: n: must be a whole number 1 .. 9, not \"3\""},
    {"{\"n\":0}", "not 0"},
    {"{\"n\":10}", "not 10"},
    {"{\"n\":-1}", "not -1"},
    {"{\"n\":2.0}", "not 2.0"},
    {"{\"n\":null}", "not null"},
    {"{\"n\":true}", "not true"},
    {"{\"n\":[1]}", "not [1]"},
    {"{\"n\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
     "not a long text"},
    {"{\"n\":\"\xc3\xa4\"}", "not \"\\u00E4\""},
};

START_TEST(json_fields_of_a_wrong_kind)
{
    json_t *object = object_of(wrong_sizes[_i].json);
    size_t n = 4;
    ck_assert_int_eq(json_field_size(&n, context, object, "c.json", "n", 1, 9), SN_ERROR_FORMAT);
    assert_message(wrong_sizes[_i].message);
    ck_assert_uint_eq(n, 4);
    json_decref(object);
    object = object_of("{\"n\":null,\"s\":\"x\"}");
    double x;
    int flag;
    const char *text;
    ck_assert_int_eq(json_field_number(&x, context, object, "c.json", "s"), SN_ERROR_FORMAT);
    assert_message("c.json: s: must be a number, not \"x\"");
    ck_assert_int_eq(json_field_flag(&flag, context, object, "c.json", "n"), SN_ERROR_FORMAT);
    ck_assert_int_eq(json_field_text(&text, context, object, "c.json", "n"), SN_ERROR_FORMAT);
    json_decref(object);
}
END_TEST

START_TEST(json_text_is_escaped)
{
    static const char text[] = "quote \" slash \\ tab \t bell \a \x1f \xc3\xa4 end";
    struct buffer buffer;
    json_t *value;
    buffer_init(&buffer, context->memory);
    buffer_text(&buffer, "[");
    json_append_text(&buffer, text);
    buffer_text(&buffer, ",");
    json_append_text(&buffer, "");
    buffer_text(&buffer, "]");
    ck_assert_int_eq(json_read_text(&value, context, buffer.bytes, buffer.size, "some.json"), SN_OK);
    ck_assert_str_eq(json_string_value(json_array_get(value, 0)), text);
    ck_assert_str_eq(json_string_value(json_array_get(value, 1)), "");
    json_decref(value);
    buffer_free(&buffer);
}
END_TEST

START_TEST(json_files)
{
    json_t *value;
    temporary_write(&temporary, "a.json", "[1, 2]", 6);
    ck_assert_int_eq(json_read_file(&value, context, temporary_path(&temporary, "a.json"), 6), SN_OK);
    ck_assert_uint_eq(json_array_size(value), 2);
    json_decref(value);
    ck_assert_int_eq(json_read_file(&value, context, temporary.path, 5), SN_ERROR_FORMAT);
    ck_assert_int_eq(json_read_file(&value, context, temporary_path(&temporary, "none"), 5),
                     SN_ERROR_IO);
    assert_message(temporary.path);
}
END_TEST

/* -------------------------------------------------------------- safetensors */

/* Writes header length, header (n_header bytes) and data as a file. */
static const char *raw_file(const char *header, size_t n_header, const void *data, size_t n_data)
{
    unsigned char bytes[8192];
    ck_assert_uint_le(8 + n_header + n_data, sizeof bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)n_header >> (8 * i));
    memcpy(bytes + 8, header, n_header);
    if (n_data)
        memcpy(bytes + 8 + n_header, data, n_data);
    temporary_write(&temporary, "raw.safetensors", bytes, 8 + n_header + n_data);
    return temporary_path(&temporary, "raw.safetensors");
}

static int opens(const char *path)
{
    struct safetensors file;
    int status = safetensors_open(&file, context, path);
    safetensors_close(&file);
    return status;
}

/* 16 bytes of data follow each of them. */
static const struct {
    const char *header, *message;
} bad_headers[] = {
    {"", "empty"},
    {"[]", "no JSON object"},
    {"{}", "16 bytes behind"},
    {"{\"a\":1}", "tensor a"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", "tensor a"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16],\"x\":0}}", "tensor a"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offset\":[0,16]}}", "data_offsets"},
    {"{\"a\":{\"dtype\":\"F33\",\"shape\":[4],\"data_offsets\":[0,16]}}", "\"F33\""},
    {"{\"a\":{\"dtype\":32,\"shape\":[4],\"data_offsets\":[0,16]}}", "dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,16]}}", "shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,4],\"data_offsets\":[0,16]}}", "dimensions"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4.0],\"data_offsets\":[0,16]}}", "dimension 0"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,-2],\"data_offsets\":[0,16]}}", "dimension 1"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"4\"],\"data_offsets\":[0,16]}}", "dimension 0"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0]}}", "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16,16]}}", "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[-16,0]}}", "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}", "[16, 0]"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,20]}}", "[0, 20]"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,9223372036854775807]}}", "outside"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,16]}}", "3 elements of F32"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
     "overflows"},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693954],\"data_offsets\":[0,16]}}",
     "do not fill"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[4,16]}}", "a leaves a hole"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", "4 bytes behind"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
     "b leaves a hole"},
    {"{\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[4,16]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
     "b overlaps"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
     "overlaps"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
     "duplicate"},
    {"{\"__metadata__\":[],\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
     "__metadata__"},
    {"{\"__metadata__\":{\"k\":1},\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
     "__metadata__: k"},
};

START_TEST(safetensors_refuses)
{
    static const char data[16];
    const char *header = bad_headers[_i].header;
    ck_assert_int_eq(opens(raw_file(header, strlen(header), data, sizeof data)), SN_ERROR_FORMAT);
    assert_message(bad_headers[_i].message);
    assert_message(temporary_path(&temporary, "raw.safetensors"));
}
END_TEST

START_TEST(safetensors_refuses_header_lengths)
{
    static const uint64_t lengths[] = {9, 1u << 20, UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char bytes[16] = {0};
        for (int b = 0; b < 8; b++)
            bytes[b] = (char)(lengths[i] >> (8 * b));
        memcpy(bytes + 8, "{}      ", 8);
        temporary_write(&temporary, "raw.safetensors", bytes, sizeof bytes);
        ck_assert_int_eq(opens(temporary_path(&temporary, "raw.safetensors")), SN_ERROR_FORMAT);
        assert_message("a header of");
    }
    for (size_t n = 0; n < 8; n++) {
        temporary_write(&temporary, "raw.safetensors", "\2\0\0\0\0\0\0", n);
        ck_assert_int_eq(opens(temporary_path(&temporary, "raw.safetensors")), SN_ERROR_FORMAT);
        assert_message("too few");
    }
}
END_TEST

/* Sparse on disk: the length is refused before anything of that size is allocated or read. */
START_TEST(safetensors_limits_the_header)
{
    uint64_t length = SAFETENSORS_MAX_HEADER + 1;
    char bytes[8];
    for (int b = 0; b < 8; b++)
        bytes[b] = (char)(length >> (8 * b));
    temporary_write(&temporary, "raw.safetensors", bytes, sizeof bytes);
    ck_assert_int_eq(truncate(temporary_path(&temporary, "raw.safetensors"), (off_t)(length + 100)), 0);
    size_t peak;
    ck_assert_int_eq(opens(temporary.path), SN_ERROR_FORMAT);
    assert_message("the limit is");
    sn_context_memory(NULL, &peak, context);
    ck_assert_uint_lt(peak, 1u << 20);
}
END_TEST

START_TEST(safetensors_refuses_what_is_no_file)
{
    ck_assert_int_eq(opens(temporary_path(&temporary, "absent")), SN_ERROR_IO);
    ck_assert_int_eq(opens(temporary.folder), SN_ERROR_IO);
    assert_message("not a regular file");
}
END_TEST

START_TEST(safetensors_accepts_empty_tensors)
{
    static const char header[] = "{\"z\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                                 "\"e\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[8,8]},"
                                 "\"d\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[0,0]},"
                                 "\"s\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[8,10]}}  ";
    static const unsigned char data[10] = {[9] = 0x3c};
    struct safetensors file;
    float value = 0;
    const char *path = raw_file(header, sizeof header - 1, data, sizeof data);
    ck_assert_int_eq(safetensors_open(&file, context, path), SN_OK);
    ck_assert_uint_eq(file.n_entries, 4);
    ck_assert_ptr_null(safetensors_find(&file, "a"));
    ck_assert_ptr_null(safetensors_metadata(&file, "format"));
    ck_assert_uint_eq(safetensors_find(&file, "e")->count, 0);
    const struct tensor_entry *scalar = safetensors_find(&file, "s");
    ck_assert_uint_eq(scalar->n_dimensions, 0);
    ck_assert_int_eq(safetensors_read_floats(&value, &file, context, scalar, 0, 1), SN_OK);
    ck_assert(value == 1.0f);
    safetensors_close(&file);
    safetensors_close(&file);
}
END_TEST

/* One tensor of each type in a file whose data start at an odd offset. */
static const struct {
    const char *name, *type;
    size_t size, count;
    unsigned char bytes[40];
    float floats[8];
    int is_index;
} all_types[] = {
    {"f64",
     "F64",
     8,
     3,
     {0, 0, 0, 0,    0,    0,    0xf8, 0x3f, 0,    0,    0,    0,
      0, 0, 0, 0xc0, 0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f},
     {1.5f, -2.0f, 0.1f},
     0},
    {"f32", "F32", 4, 3, {0, 0, 0xc0, 0x3f, 0, 0, 0, 0x80, 1, 0, 0, 0}, {1.5f, -0.0f, 0x1p-149f}, 0},
    /* 1, -2, the largest, the smallest normal and subnormal, an odd one, -0, -infinity */
    {"f16",
     "F16",
     2,
     8,
     {0, 0x3c, 0, 0xc0, 0xff, 0x7b, 0, 4, 1, 0, 0xff, 0x83, 0, 0x80, 0, 0xfc},
     {1.0f, -2.0f, 65504.0f, 0x1p-14f, 0x1p-24f, -0x1.ff8p-15f, -0.0f, -INFINITY},
     0},
    {"bf16",
     "BF16",
     2,
     4,
     {0x80, 0x3f, 0x49, 0xc0, 1, 0, 0x80, 0x7f},
     {1.0f, -3.140625f, 0x1p-133f, INFINITY},
     0},
    {"i64", "I64", 8, 2, {5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0}, {5, 65536}, 1},
    {"i32", "I32", 4, 2, {7, 0, 0, 0, 255, 1, 0, 0}, {7, 511}, 1},
    {"i16", "I16", 2, 2, {7, 0, 0xff, 0x7f}, {7, 32767}, 1},
    {"i8", "I8", 1, 2, {7, 127}, {7, 127}, 1},
    {"u64", "U64", 8, 1, {9, 1, 0, 0, 0, 0, 0, 0}, {265}, 1},
    {"u32", "U32", 4, 2, {7, 0, 0, 0, 0, 0, 0, 1}, {7, 16777216}, 1},
    {"u16", "U16", 2, 2, {7, 0, 0xff, 0xff}, {7, 65535}, 1},
    {"u8", "U8", 1, 3, {7, 0, 255}, {7, 0, 255}, 1},
    {"bool", "BOOL", 1, 3, {1, 0, 1}, {1, 0, 1}, 0},
};
#define N_TYPES (sizeof all_types / sizeof *all_types)

static void open_all_types(struct safetensors *file, const char *padding)
{
    char header[4096] = "{", data[512];
    size_t at = 0;
    for (size_t i = 0; i < N_TYPES; i++) {
        size_t bytes = all_types[i].size * all_types[i].count, length = strlen(header);
        snprintf(header + length, sizeof header - length,
                 "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[1,%zu],\"data_offsets\":[%zu,%zu]}",
                 i ? "," : "", all_types[i].name, all_types[i].type, all_types[i].count, at, at + bytes);
        memcpy(data + at, all_types[i].bytes, bytes);
        at += bytes;
    }
    strcat(header, "}");
    strcat(header, padding);
    const char *path = raw_file(header, strlen(header), data, at);
    ck_assert_int_eq(safetensors_open(file, context, path), SN_OK);
}

static void check_types(const char *padding)
{
    struct safetensors file;
    open_all_types(&file, padding);
    for (size_t i = 0; i < N_TYPES; i++) {
        const struct tensor_entry *entry = safetensors_find(&file, all_types[i].name);
        float values[8];
        uint32_t indices[8];
        size_t n = all_types[i].count;
        ck_assert_ptr_nonnull(entry);
        ck_assert_str_eq(tensor_type_name(entry->type), all_types[i].type);
        ck_assert_uint_eq(tensor_type_size(entry->type), all_types[i].size);
        ck_assert_int_eq(safetensors_read_floats(values, &file, context, entry, 0, n), SN_OK);
        ck_assert_msg(memcmp(values, all_types[i].floats, n * sizeof *values) == 0, "%s: %g %g",
                      all_types[i].name, (double)values[0], (double)values[1]);
        int status = safetensors_read_indices(indices, &file, context, entry, 0, n, UINT64_MAX);
        ck_assert_int_eq(status, all_types[i].is_index ? SN_OK : SN_ERROR_FORMAT);
        for (size_t j = 0; j < n && status == SN_OK; j++)
            ck_assert_uint_eq(indices[j], (uint32_t)all_types[i].floats[j]);
    }
    safetensors_close(&file);
}

START_TEST(safetensors_reads_all_types)
{
    static const char spaces[] = "        ";
    for (size_t i = 0; i <= 8; i++)
        check_types(spaces + i);
}
END_TEST

START_TEST(safetensors_refuses_wrong_indices)
{
    static const char header[] = "{\"a\":{\"dtype\":\"I32\",\"shape\":[3],\"data_offsets\":[0,12]},"
                                 "\"b\":{\"dtype\":\"U64\",\"shape\":[1],\"data_offsets\":[12,20]}}";
    static const unsigned char data[20] = {4, 0, 0, 0, 5, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, [16] = 1};
    struct safetensors file;
    uint32_t out[3];
    ck_assert_int_eq(
        safetensors_open(&file, context, raw_file(header, sizeof header - 1, data, sizeof data)), SN_OK);
    const struct tensor_entry *a = safetensors_find(&file, "a"), *b = safetensors_find(&file, "b");
    ck_assert_int_eq(safetensors_read_indices(out, &file, context, a, 0, 2, 6), SN_OK);
    ck_assert_int_eq(safetensors_read_indices(out, &file, context, a, 0, 2, 5), SN_ERROR_FORMAT);
    assert_message("element 1 is 5, it must be below 5");
    ck_assert_int_eq(safetensors_read_indices(out, &file, context, a, 2, 1, UINT64_MAX),
                     SN_ERROR_FORMAT);
    assert_message("element 2 is negative");
    ck_assert_int_eq(safetensors_read_indices(out, &file, context, b, 0, 1, UINT64_MAX),
                     SN_ERROR_FORMAT);
    ck_assert_int_eq(safetensors_read_indices(out, &file, context, a, 1, 3, 6), SN_ERROR_FORMAT);
    ck_assert_int_eq(safetensors_read_indices(out, &file, context, a, UINT64_MAX, 3, 6),
                     SN_ERROR_FORMAT);
    assert_message("has 3 elements");
    safetensors_close(&file);
}
END_TEST

#define MANY 10007

static float value_of(size_t i)
{
    return (float)i * 0.37f - 1000.0f;
}

static int write_many(struct safetensors_writer *writer, sn_context *with, const char *path,
                      size_t n_floats)
{
    const uint64_t shape[2] = {1, MANY};
    float *values = malloc(MANY * sizeof *values);
    uint32_t *indices = malloc(MANY * sizeof *indices);
    for (size_t i = 0; i < MANY; i++) {
        values[i] = value_of(i);
        indices[i] = (uint32_t)(i * 6 % 65536);
    }
    int status = safetensors_writer_open(writer, with, path);
    if (status == SN_OK) {
        safetensors_writer_metadata(writer, "key \"one\"", "value\nof two lines");
        safetensors_writer_metadata(writer, "format", "pt");
        safetensors_writer_declare(writer, "floats", TENSOR_F32, shape, 2);
        safetensors_writer_declare(writer, "long", TENSOR_U32, shape + 1, 1);
        safetensors_writer_declare(writer, "short", TENSOR_U16, shape + 1, 1);
        status = safetensors_writer_begin(writer, with);
    }
    if (status == SN_OK)
        status = safetensors_write_floats(writer, with, values, n_floats);
    if (status == SN_OK)
        status = safetensors_write_indices(writer, with, TENSOR_U32, indices, MANY);
    if (status == SN_OK)
        status = safetensors_write_indices(writer, with, TENSOR_U16, indices, MANY);
    free(values);
    free(indices);
    if (status != SN_OK && status != SN_ERROR_IO)
        safetensors_writer_abort(writer);
    return status;
}

static void check_many(struct safetensors *file)
{
    static const size_t starts[] = {0, 1, 4095, 4096, 4097, MANY - 1};
    float *values = malloc(MANY * sizeof *values);
    uint32_t *indices = malloc(MANY * sizeof *indices);
    for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
        size_t first = starts[s], n = MANY - first;
        ck_assert_int_eq(
            safetensors_read_floats(values, file, context, safetensors_find(file, "floats"), first, n),
            SN_OK);
        for (size_t i = 0; i < n; i++)
            ck_assert(values[i] == value_of(first + i));
        for (int wide = 0; wide < 2; wide++) {
            const struct tensor_entry *entry = safetensors_find(file, wide ? "long" : "short");
            ck_assert_int_eq(safetensors_read_indices(indices, file, context, entry, first, n, 65536),
                             SN_OK);
            for (size_t i = 0; i < n; i++)
                ck_assert_uint_eq(indices[i], (first + i) * 6 % 65536);
        }
    }
    free(values);
    free(indices);
}

START_TEST(safetensors_round_trip)
{
    struct safetensors_writer writer;
    struct safetensors file;
    const char *path = temporary_path(&temporary, "a.safetensors");
    ck_assert_int_eq(write_many(&writer, context, path, MANY), SN_OK);
    ck_assert_int_eq(access(path, F_OK), -1); /* nothing under the name before the commit */
    ck_assert_int_eq(safetensors_writer_commit(&writer, context), SN_OK);
    safetensors_writer_abort(&writer);
    ck_assert_int_eq(safetensors_open(&file, context, path), SN_OK);
    ck_assert_uint_eq(file.entries[0].offset % 8, 0);
    ck_assert_str_eq(safetensors_metadata(&file, "key \"one\""), "value\nof two lines");
    ck_assert_str_eq(safetensors_metadata(&file, "format"), "pt");
    ck_assert_uint_eq(safetensors_find(&file, "floats")->n_dimensions, 2);
    check_many(&file);
    safetensors_close(&file);
    ck_assert_uint_eq(temporary_empty(&temporary), 1);
}
END_TEST

START_TEST(safetensors_without_tensors)
{
    for (int with_metadata = 0; with_metadata < 2; with_metadata++) {
        struct safetensors_writer writer;
        struct safetensors file;
        const char *path = temporary_path(&temporary, "a.safetensors");
        ck_assert_int_eq(safetensors_writer_open(&writer, context, path), SN_OK);
        if (with_metadata)
            safetensors_writer_metadata(&writer, "a", "b");
        ck_assert_int_eq(safetensors_writer_begin(&writer, context), SN_OK);
        ck_assert_int_eq(safetensors_writer_commit(&writer, context), SN_OK);
        ck_assert_int_eq(safetensors_open(&file, context, path), SN_OK);
        ck_assert_uint_eq(file.n_entries, 0);
        ck_assert(!safetensors_metadata(&file, "a") == !with_metadata);
        safetensors_close(&file);
    }
}
END_TEST

START_TEST(safetensors_writer_leaves_nothing)
{
    struct safetensors_writer writer;
    const char *path = temporary_path(&temporary, "a.safetensors");
    ck_assert_int_eq(write_many(&writer, context, path, MANY), SN_OK);
    safetensors_writer_abort(&writer);
    ck_assert_uint_eq(temporary_empty(&temporary), 0);
    ck_assert_int_eq(write_many(&writer, context, path, MANY - 1), SN_OK); /* a value short */
    ck_assert_int_eq(safetensors_writer_commit(&writer, context), SN_ERROR_STATE);
    assert_message(path);
    ck_assert_uint_eq(temporary_empty(&temporary), 0);
    ck_assert_int_eq(safetensors_writer_open(&writer, context, temporary_path(&temporary, "no/a")),
                     SN_ERROR_IO);
    safetensors_writer_abort(&writer);
}
END_TEST

static int write_attempt(sn_context *with, void *payload)
{
    struct safetensors_writer writer;
    int status = write_many(&writer, with, payload, MANY);
    return status == SN_OK ? safetensors_writer_commit(&writer, with) : status;
}

static int read_attempt(sn_context *with, void *payload)
{
    struct safetensors file;
    int status = safetensors_open(&file, with, payload);
    safetensors_close(&file);
    return status;
}

START_TEST(safetensors_out_of_memory)
{
    char path[256];
    snprintf(path, sizeof path, "%s", temporary_path(&temporary, "a.safetensors"));
    ck_assert_uint_gt(oom_loop(write_attempt, path, 1, 0), 3);
    ck_assert_uint_gt(oom_loop(read_attempt, path, 1, 0), 3);
    ck_assert_uint_eq(temporary_empty(&temporary), 1);
}
END_TEST

Suite *format_suite(void);
Suite *format_suite(void)
{
    Suite *suite = suite_create("format");
    TCase *json = tcase_create("json"), *safetensors = tcase_create("safetensors");
    tcase_add_checked_fixture(json, fixture_setup, fixture_teardown);
    tcase_add_loop_test(json, json_refuses, 0, (int)(sizeof refused_json / sizeof *refused_json));
    tcase_add_test(json, json_refuses_a_raw_nul);
    tcase_add_test(json, json_says_where);
    tcase_add_test(json, json_limits_depth);
    tcase_add_test(json, json_fields);
    tcase_add_loop_test(json, json_fields_of_a_wrong_kind, 0,
                        (int)(sizeof wrong_sizes / sizeof *wrong_sizes));
    tcase_add_test(json, json_text_is_escaped);
    tcase_add_test(json, json_files);
    suite_add_tcase(suite, json);
    tcase_add_checked_fixture(safetensors, fixture_setup, fixture_teardown);
    tcase_add_loop_test(safetensors, safetensors_refuses, 0,
                        (int)(sizeof bad_headers / sizeof *bad_headers));
    tcase_add_test(safetensors, safetensors_refuses_header_lengths);
    tcase_add_test(safetensors, safetensors_limits_the_header);
    tcase_add_test(safetensors, safetensors_refuses_what_is_no_file);
    tcase_add_test(safetensors, safetensors_accepts_empty_tensors);
    tcase_add_test(safetensors, safetensors_reads_all_types);
    tcase_add_test(safetensors, safetensors_refuses_wrong_indices);
    tcase_add_test(safetensors, safetensors_round_trip);
    tcase_add_test(safetensors, safetensors_without_tensors);
    tcase_add_test(safetensors, safetensors_writer_leaves_nothing);
    tcase_add_test(safetensors, safetensors_out_of_memory);
    suite_add_tcase(suite, safetensors);
    return suite;
}
