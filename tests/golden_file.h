/* Reads the safetensors files of golden cases without the library's own reader, which they judge.
 * Everything returned is malloc'ed or owned by the file. */
#ifndef SN_TESTS_GOLDEN_FILE_H
#define SN_TESTS_GOLDEN_FILE_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN_RANK 8

struct golden_file {
    unsigned char *bytes;
    size_t size;
    size_t data; /* offset of the first tensor */
    json_t *header;
};

struct golden_tensor {
    char type[8]; /* "F32", "F64", "I32", "I64", "BF16" */
    size_t rank, shape[GOLDEN_RANK];
    size_t count; /* product of the shape */
    const unsigned char *bytes;
};

static inline void golden_close(struct golden_file *file)
{
    if (!file)
        return;
    json_decref(file->header);
    free(file->bytes);
    free(file);
}

static inline unsigned char *golden_bytes(const char *path, size_t *size)
{
    FILE *stream = fopen(path, "rb");
    if (!stream)
        return NULL;
    unsigned char *bytes = NULL;
    if (fseek(stream, 0, SEEK_END) == 0) {
        long end = ftell(stream);
        rewind(stream);
        *size = end > 0 ? (size_t)end : 0;
        bytes = malloc(*size + 1);
        if (bytes && fread(bytes, 1, *size, stream) != *size) {
            free(bytes);
            bytes = NULL;
        }
    }
    fclose(stream);
    return bytes;
}

/* NULL where there is no such file or it is not a safetensors file. */
static inline struct golden_file *golden_open(const char *path)
{
    struct golden_file *file = calloc(1, sizeof *file);
    uint64_t length = 0;
    if (!file)
        return NULL;
    file->bytes = golden_bytes(path, &file->size);
    if (file->bytes && file->size >= 8) {
        memcpy(&length, file->bytes, 8);
        if (length <= file->size - 8) {
            file->data = 8 + (size_t)length;
            file->header = json_loadb((const char *)file->bytes + 8, (size_t)length, 0, NULL);
        }
    }
    if (!json_is_object(file->header)) {
        golden_close(file);
        return NULL;
    }
    return file;
}

static inline size_t golden_width(const char *type)
{
    static const struct {
        const char *name;
        size_t width;
    } types[] = {{"F32", 4}, {"F64", 8}, {"I32", 4}, {"I64", 8}, {"BF16", 2}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, type) == 0)
            return types[i].width;
    return 0;
}

/* 1 and the tensor, or 0 where it is missing or malformed. */
static inline int golden_find(const struct golden_file *file, const char *name,
                              struct golden_tensor *tensor)
{
    json_t *entry = json_object_get(file->header, name), *shape = json_object_get(entry, "shape");
    json_t *offsets = json_object_get(entry, "data_offsets");
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    memset(tensor, 0, sizeof *tensor);
    if (!type || !golden_width(type) || json_array_size(shape) > GOLDEN_RANK)
        return 0;
    snprintf(tensor->type, sizeof tensor->type, "%s", type);
    tensor->rank = json_array_size(shape);
    tensor->count = 1;
    for (size_t i = 0; i < tensor->rank; i++) {
        tensor->shape[i] = (size_t)json_integer_value(json_array_get(shape, i));
        tensor->count *= tensor->shape[i];
    }
    size_t begin = (size_t)json_integer_value(json_array_get(offsets, 0));
    size_t end = (size_t)json_integer_value(json_array_get(offsets, 1));
    if (begin > end || end > file->size - file->data ||
        end - begin != tensor->count * golden_width(type))
        return 0;
    tensor->bytes = file->bytes + file->data + begin;
    return 1;
}

static inline double golden_value(const struct golden_tensor *tensor, size_t i)
{
    size_t width = golden_width(tensor->type);
    const unsigned char *at = tensor->bytes + i * width;
    union {
        float f32;
        double f64;
        int32_t i32;
        int64_t i64;
        uint32_t bits;
    } value = {0};
    if (strcmp(tensor->type, "BF16") == 0) {
        uint16_t half;
        memcpy(&half, at, 2);
        value.bits = (uint32_t)half << 16;
        return (double)value.f32;
    }
    memcpy(&value, at, width);
    switch (tensor->type[0] == 'F' ? width : width + 1) {
    case 4: return (double)value.f32;
    case 8: return value.f64;
    case 5: return value.i32;
    default: return (double)value.i64;
    }
}

/* A tensor of any type as floats or integers; NULL where golden_find fails. The tensor's shape
 * goes to *tensor, which may be NULL. */
#define GOLDEN_READER(name, type)                                                                       \
    static inline type *name(const struct golden_file *file, const char *tensor_name,                   \
                             struct golden_tensor *tensor)                                              \
    {                                                                                                   \
        struct golden_tensor found;                                                                     \
        type *values =                                                                                  \
            golden_find(file, tensor_name, &found) ? malloc((found.count + 1) * sizeof *values) : NULL; \
        for (size_t i = 0; values && i < found.count; i++)                                              \
            values[i] = (type)golden_value(&found, i);                                                  \
        if (tensor)                                                                                     \
            *tensor = found;                                                                            \
        return values;                                                                                  \
    }
GOLDEN_READER(golden_floats, float)
GOLDEN_READER(golden_integers, int32_t)
#undef GOLDEN_READER

#endif
