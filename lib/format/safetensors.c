#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "format/json.h"

/* Elements are decoded through a buffer on the stack, so alignment in the file does not matter. */
#define DECODE_BYTES 16384

static const struct {
    const char *name;
    size_t size;
} types[SAFETENSORS_TYPES] = {
    [SAFETENSORS_F64] = {"F64", 8},   [SAFETENSORS_F32] = {"F32", 4}, [SAFETENSORS_F16] = {"F16", 2},
    [SAFETENSORS_BF16] = {"BF16", 2}, [SAFETENSORS_I64] = {"I64", 8}, [SAFETENSORS_I32] = {"I32", 4},
    [SAFETENSORS_I16] = {"I16", 2},   [SAFETENSORS_I8] = {"I8", 1},   [SAFETENSORS_U64] = {"U64", 8},
    [SAFETENSORS_U32] = {"U32", 4},   [SAFETENSORS_U16] = {"U16", 2}, [SAFETENSORS_U8] = {"U8", 1},
    [SAFETENSORS_BOOL] = {"BOOL", 1},
};

size_t safetensors_type_size(enum safetensors_type type)
{
    return types[type].size;
}

const char *safetensors_type_name(enum safetensors_type type)
{
    return types[type].name;
}

/* ---- header */

static int parse_type(enum safetensors_type *type, struct sn_context *context, const json_t *tensor,
                      const char *path, const char *name)
{
    const char *text = json_string_value(json_object_get(tensor, "dtype"));
    if (!text)
        return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s: dtype is missing or no text", path,
                    name);
    for (int i = 0; i < SAFETENSORS_TYPES; i++)
        if (strcmp(types[i].name, text) == 0) {
            *type = (enum safetensors_type)i;
            return SN_OK;
        }
    return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s: unknown dtype \"%.40s\"", path, name,
                text);
}

static int parse_shape(struct safetensors_entry *entry, struct sn_context *context, const json_t *tensor,
                       const char *path, const char *name)
{
    const json_t *shape = json_object_get(tensor, "shape");
    size_t n = json_array_size(shape);
    if (!json_is_array(shape) || n > SAFETENSORS_MAX_DIMENSIONS)
        return fail(context, SN_ERROR_FORMAT,
                    "%s: tensor %.200s: shape must be an array of at most %d dimensions", path, name,
                    SAFETENSORS_MAX_DIMENSIONS);
    entry->n_dimensions = n;
    entry->count = 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *dimension = json_array_get(shape, i);
        if (!json_is_integer(dimension) || json_integer_value(dimension) < 0)
            return fail(context, SN_ERROR_FORMAT,
                        "%s: tensor %.200s: dimension %zu is not a whole number >= 0", path, name, i);
        entry->dimensions[i] = (uint64_t)json_integer_value(dimension);
        if (__builtin_mul_overflow(entry->count, entry->dimensions[i], &entry->count))
            return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s: the shape overflows", path, name);
    }
    return SN_OK;
}

/* data_offsets = [begin, end) inside the `n_data` bytes of data, which start at `data` in the file. */
static int parse_range(struct safetensors_entry *entry, struct sn_context *context, const json_t *tensor,
                       uint64_t data, uint64_t n_data, const char *path, const char *name)
{
    const json_t *range = json_object_get(tensor, "data_offsets");
    const json_t *first = json_array_get(range, 0), *second = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(first) || !json_is_integer(second) ||
        json_integer_value(first) < 0)
        return fail(context, SN_ERROR_FORMAT,
                    "%s: tensor %.200s: data_offsets must be two whole numbers >= 0", path, name);
    json_int_t begin = json_integer_value(first), end = json_integer_value(second);
    if (begin > end || (uint64_t)end > n_data)
        return fail(
            context, SN_ERROR_FORMAT,
            "%s: tensor %.200s: data_offsets [%lld, %lld] lie outside the file's %llu bytes of data",
            path, name, (long long)begin, (long long)end, (unsigned long long)n_data);
    uint64_t bytes;
    if (__builtin_mul_overflow(entry->count, (uint64_t)types[entry->type].size, &bytes) ||
        bytes != (uint64_t)(end - begin))
        return fail(context, SN_ERROR_FORMAT,
                    "%s: tensor %.200s: %llu elements of %s do not fill %lld bytes", path, name,
                    (unsigned long long)entry->count, types[entry->type].name, (long long)(end - begin));
    entry->offset = data + (uint64_t)begin;
    return SN_OK;
}

static int parse_metadata(struct safetensors *file, struct sn_context *context, json_t *metadata)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return fail(context, SN_ERROR_FORMAT, "%s: __metadata__ is no object", file->file.path);
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return fail(context, SN_ERROR_FORMAT, "%s: __metadata__: %.200s is no text", file->file.path,
                        key);
    }
    file->metadata = json_incref(metadata);
    return SN_OK;
}

static int parse_tensor(struct safetensors *file, struct sn_context *context, const char *name,
                        const json_t *tensor, uint64_t data)
{
    const char *path = file->file.path;
    struct safetensors_entry *entry = &file->entries[file->n_entries];
    if (!json_is_object(tensor) || json_object_size(tensor) != 3)
        return fail(context, SN_ERROR_FORMAT,
                    "%s: tensor %.200s: not an object of dtype, shape and data_offsets", path, name);
    int status = parse_type(&entry->type, context, tensor, path, name);
    if (status == SN_OK)
        status = parse_shape(entry, context, tensor, path, name);
    if (status == SN_OK)
        status = parse_range(entry, context, tensor, data, file->file.size - data, path, name);
    if (status != SN_OK)
        return status;
    entry->name = memory_copy_text(file->memory, name, strlen(name));
    if (!entry->name)
        return fail_memory(context, "a tensor name", strlen(name) + 1);
    file->n_entries++;
    return SN_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct safetensors_entry *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->count != y->count) /* empty tensors go before the one that starts where they stand */
        return x->count < y->count ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The data must be covered exactly once. */
static int check_coverage(const struct safetensors *file, struct sn_context *context, uint64_t data)
{
    uint64_t at = data;
    for (size_t i = 0; i < file->n_entries; i++) {
        const struct safetensors_entry *entry = &file->entries[i];
        if (entry->offset != at)
            return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s %s", file->file.path, entry->name,
                        entry->offset < at ? "overlaps the tensor before it"
                                           : "leaves a hole in front of it");
        at += entry->count * types[entry->type].size;
    }
    if (at != file->file.size)
        return fail(context, SN_ERROR_FORMAT, "%s: %llu bytes behind the last tensor", file->file.path,
                    (unsigned long long)(file->file.size - at));
    return SN_OK;
}

static int parse_header(struct safetensors *file, struct sn_context *context, const json_t *header,
                        uint64_t data)
{
    if (!json_is_object(header))
        return fail(context, SN_ERROR_FORMAT, "%s: the header is no JSON object", file->file.path);
    size_t n = json_object_size(header);
    json_t *metadata = json_object_get(header, "__metadata__");
    int status = metadata ? parse_metadata(file, context, metadata) : SN_OK;
    if (status != SN_OK)
        return status;
    if (metadata)
        n--;
    file->entries = memory_allocate_zeroed_array(file->memory, n, sizeof *file->entries);
    if (!file->entries)
        return fail_memory(context, "the list of tensors", n * sizeof *file->entries);
    file->n_allocated = n;
    for (void *i = json_object_iter((json_t *)header); i;
         i = json_object_iter_next((json_t *)header, i)) {
        if (strcmp(json_object_iter_key(i), "__metadata__") == 0)
            continue;
        status = parse_tensor(file, context, json_object_iter_key(i), json_object_iter_value(i), data);
        if (status != SN_OK)
            return status;
    }
    qsort(file->entries, file->n_entries, sizeof *file->entries, by_offset);
    return check_coverage(file, context, data);
}

static uint64_t load_little(const unsigned char *bytes, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i > 0; i--)
        value = value << 8 | bytes[i - 1];
    return value;
}

static int read_header(struct safetensors *file, struct sn_context *context)
{
    const char *path = file->file.path;
    unsigned char prefix[8];
    if (file->file.size < sizeof prefix)
        return fail(context, SN_ERROR_FORMAT, "%s: %llu bytes are too few for a safetensors file", path,
                    (unsigned long long)file->file.size);
    int status = file_read_at(&file->file, context, 0, prefix, sizeof prefix);
    if (status != SN_OK)
        return status;
    uint64_t length = load_little(prefix, sizeof prefix);
    if (length > file->file.size - sizeof prefix || length > SAFETENSORS_MAX_HEADER)
        return fail(context, SN_ERROR_FORMAT,
                    "%s: a header of %llu bytes in a file of %llu (the limit is %zu)", path,
                    (unsigned long long)length, (unsigned long long)file->file.size,
                    SAFETENSORS_MAX_HEADER);
    json_t *header = NULL;
    char *text = memory_allocate(file->memory, (size_t)length);
    if (!text)
        return fail_memory(context, "a safetensors header", (size_t)length);
    status = file_read_at(&file->file, context, sizeof prefix, text, (size_t)length);
    if (status == SN_OK)
        status = json_read_text(&header, context, text, (size_t)length, path);
    memory_free(file->memory, text, (size_t)length);
    if (status == SN_OK)
        status = parse_header(file, context, header, sizeof prefix + length);
    json_decref(header);
    return status;
}

int safetensors_open(struct safetensors *file, struct sn_context *context, const char *path)
{
    memset(file, 0, sizeof *file);
    int status = file_open(&file->file, context, path);
    if (status != SN_OK) {
        memset(file, 0, sizeof *file);
        return status;
    }
    file->memory = context->memory;
    status = read_header(file, context);
    if (status != SN_OK)
        safetensors_close(file);
    return status;
}

void safetensors_close(struct safetensors *file)
{
    if (!file->memory)
        return;
    for (size_t i = 0; i < file->n_entries; i++)
        memory_free(file->memory, file->entries[i].name, strlen(file->entries[i].name) + 1);
    memory_free(file->memory, file->entries, file->n_allocated * sizeof *file->entries);
    json_decref(file->metadata);
    file_close(&file->file);
    memset(file, 0, sizeof *file);
}

const struct safetensors_entry *safetensors_find(const struct safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->n_entries; i++)
        if (strcmp(file->entries[i].name, name) == 0)
            return &file->entries[i];
    return NULL;
}

const char *safetensors_metadata(const struct safetensors *file, const char *key)
{
    return json_string_value(json_object_get(file->metadata, key));
}

/* ---- data */

static float float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float half_to_float(uint32_t half)
{
    uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31u, mantissa = half & 1023u;
    if (exponent == 31)
        return float_from_bits(sign | 0x7F800000u | mantissa << 13);
    if (exponent)
        return float_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    float small = (float)mantissa * 0x1p-24f; /* exact: subnormal halves are normal floats */
    return sign ? -small : small;
}

static float double_to_float(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return (float)value;
}

static float decode_float(const unsigned char *bytes, enum safetensors_type type)
{
    uint64_t raw = load_little(bytes, types[type].size);
    switch (type) {
    case SAFETENSORS_F64: return double_to_float(raw);
    case SAFETENSORS_F16: return half_to_float((uint32_t)raw);
    case SAFETENSORS_BF16: return float_from_bits((uint32_t)raw << 16);
    case SAFETENSORS_I64: return (float)(int64_t)raw;
    case SAFETENSORS_I32: return (float)(int32_t)raw;
    case SAFETENSORS_I16: return (float)(int16_t)raw;
    case SAFETENSORS_I8: return (float)(int8_t)raw;
    case SAFETENSORS_BOOL: return raw ? 1.0f : 0.0f;
    default: return (float)raw;
    }
}

static void decode_floats(float *out, const unsigned char *bytes, size_t count,
                          enum safetensors_type type)
{
    size_t size = types[type].size;
    if (type == SAFETENSORS_F32) {
        for (size_t i = 0; i < count; i++)
            out[i] = float_from_bits((uint32_t)load_little(bytes + 4 * i, 4));
        return;
    }
    for (size_t i = 0; i < count; i++)
        out[i] = decode_float(bytes + i * size, type);
}

static int check_elements(const struct safetensors *file, struct sn_context *context,
                          const struct safetensors_entry *entry, uint64_t first, size_t count)
{
    if (first <= entry->count && count <= entry->count - first)
        return SN_OK;
    return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s has %llu elements, %zu wanted from %llu",
                file->file.path, entry->name, (unsigned long long)entry->count, count,
                (unsigned long long)first);
}

int safetensors_read_floats(float *out, struct safetensors *file, struct sn_context *context,
                            const struct safetensors_entry *entry, uint64_t first, size_t count)
{
    unsigned char bytes[DECODE_BYTES];
    size_t size = types[entry->type].size;
    int status = check_elements(file, context, entry, first, count);
    while (status == SN_OK && count) {
        size_t part = count < DECODE_BYTES / size ? count : DECODE_BYTES / size;
        status = file_read_at(&file->file, context, entry->offset + first * size, bytes, part * size);
        if (status == SN_OK)
            decode_floats(out, bytes, part, entry->type);
        out += part;
        first += part;
        count -= part;
    }
    return status;
}

static int is_signed(enum safetensors_type type)
{
    return type >= SAFETENSORS_I64 && type <= SAFETENSORS_I8;
}

static int decode_indices(uint32_t *out, struct sn_context *context, const struct safetensors *file,
                          const struct safetensors_entry *entry, const unsigned char *bytes,
                          uint64_t first, size_t count, uint64_t limit)
{
    size_t size = types[entry->type].size;
    for (size_t i = 0; i < count; i++) {
        uint64_t raw = load_little(bytes + i * size, size);
        int negative = is_signed(entry->type) && raw >> (8 * size - 1);
        if (negative || raw >= limit || raw > UINT32_MAX)
            return fail(context, SN_ERROR_FORMAT,
                        "%s: tensor %.200s: element %llu is %s%llu, it must be below %llu",
                        file->file.path, entry->name, (unsigned long long)(first + i),
                        negative ? "negative, as unsigned " : "", (unsigned long long)raw,
                        (unsigned long long)limit);
        out[i] = (uint32_t)raw;
    }
    return SN_OK;
}

int safetensors_read_indices(uint32_t *out, struct safetensors *file, struct sn_context *context,
                             const struct safetensors_entry *entry, uint64_t first, size_t count,
                             uint64_t limit)
{
    unsigned char bytes[DECODE_BYTES];
    size_t size = types[entry->type].size;
    if (entry->type < SAFETENSORS_I64 || entry->type == SAFETENSORS_BOOL)
        return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s: dtype %s holds no indices",
                    file->file.path, entry->name, types[entry->type].name);
    int status = check_elements(file, context, entry, first, count);
    while (status == SN_OK && count) {
        size_t part = count < DECODE_BYTES / size ? count : DECODE_BYTES / size;
        status = file_read_at(&file->file, context, entry->offset + first * size, bytes, part * size);
        if (status == SN_OK)
            status = decode_indices(out, context, file, entry, bytes, first, part, limit);
        out += part;
        first += part;
        count -= part;
    }
    return status;
}
