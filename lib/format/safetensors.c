#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "format/json.h"

/* Elements are decoded through a buffer on the stack, so alignment in the file does not matter. */
#define DECODE_BYTES 16384

/* ---- header */

static int parse_type(enum tensor_type *type, struct sn_context *context, const json_t *tensor,
                      const char *path, const char *name)
{
    const char *text = json_string_value(json_object_get(tensor, "dtype"));
    if (!text)
        return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s: dtype is missing or no text", path,
                    name);
    for (int i = 0; i < TENSOR_TYPES; i++)
        if (strcmp(tensor_type_name((enum tensor_type)i), text) == 0) {
            *type = (enum tensor_type)i;
            return SN_OK;
        }
    return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s: unknown dtype \"%.40s\"", path, name,
                text);
}

static int parse_shape(struct tensor_entry *entry, struct sn_context *context, const json_t *tensor,
                       const char *path, const char *name)
{
    const json_t *shape = json_object_get(tensor, "shape");
    size_t n = json_array_size(shape);
    if (!json_is_array(shape) || n > TENSOR_MAX_DIMENSIONS)
        return fail(context, SN_ERROR_FORMAT,
                    "%s: tensor %.200s: shape must be an array of at most %d dimensions", path, name,
                    TENSOR_MAX_DIMENSIONS);
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
static int parse_range(struct tensor_entry *entry, struct sn_context *context, const json_t *tensor,
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
    if (__builtin_mul_overflow(entry->count, (uint64_t)tensor_type_size(entry->type), &bytes) ||
        bytes != (uint64_t)(end - begin))
        return fail(context, SN_ERROR_FORMAT,
                    "%s: tensor %.200s: %llu elements of %s do not fill %lld bytes", path, name,
                    (unsigned long long)entry->count, tensor_type_name(entry->type),
                    (long long)(end - begin));
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
    struct tensor_entry *entry = &file->entries[file->n_entries];
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
    const struct tensor_entry *x = a, *y = b;
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
        const struct tensor_entry *entry = &file->entries[i];
        if (entry->offset != at)
            return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s %s", file->file.path, entry->name,
                        entry->offset < at ? "overlaps the tensor before it"
                                           : "leaves a hole in front of it");
        at += entry->count * tensor_type_size(entry->type);
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
    json_t *metadata = json_object_get(header, SAFETENSORS_METADATA);
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
        if (strcmp(json_object_iter_key(i), SAFETENSORS_METADATA) == 0)
            continue;
        status = parse_tensor(file, context, json_object_iter_key(i), json_object_iter_value(i), data);
        if (status != SN_OK)
            return status;
    }
    qsort(file->entries, file->n_entries, sizeof *file->entries, by_offset);
    return check_coverage(file, context, data);
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
    uint64_t length = tensor_load_little(prefix, sizeof prefix);
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

const struct tensor_entry *safetensors_find(const struct safetensors *file, const char *name)
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

int safetensors_read_floats(float *out, struct safetensors *file, struct sn_context *context,
                            const struct tensor_entry *entry, uint64_t first, size_t count)
{
    unsigned char bytes[DECODE_BYTES];
    size_t size = tensor_type_size(entry->type);
    int status = tensor_check_range(context, file->file.path, entry, first, count);
    if (status == SN_OK && tensor_is_native(entry->type))
        return file_read_at(&file->file, context, entry->offset + first * size, out, count * size);
    while (status == SN_OK && count) {
        size_t part = count < DECODE_BYTES / size ? count : DECODE_BYTES / size;
        status = file_read_at(&file->file, context, entry->offset + first * size, bytes, part * size);
        if (status == SN_OK)
            tensor_decode_floats(out, bytes, part, entry->type);
        out += part;
        first += part;
        count -= part;
    }
    return status;
}

int safetensors_read_indices(uint32_t *out, struct safetensors *file, struct sn_context *context,
                             const struct tensor_entry *entry, uint64_t first, size_t count,
                             uint64_t limit)
{
    unsigned char bytes[DECODE_BYTES];
    const char *path = file->file.path;
    size_t size = tensor_type_size(entry->type);
    int status = tensor_check_integer(context, path, entry);
    if (status == SN_OK)
        status = tensor_check_range(context, path, entry, first, count);
    while (status == SN_OK && count) {
        size_t part = count < DECODE_BYTES / size ? count : DECODE_BYTES / size;
        status = file_read_at(&file->file, context, entry->offset + first * size, bytes, part * size);
        if (status == SN_OK)
            status = tensor_decode_indices(out, context, path, entry, bytes, first, part, limit);
        out += part;
        first += part;
        count -= part;
    }
    return status;
}

/* ---- as a source of tensors */

static int source_floats(float *out, struct tensor_source *source, struct sn_context *context,
                         const struct tensor_entry *entry, uint64_t first, size_t count)
{
    return safetensors_read_floats(out, source->payload, context, entry, first, count);
}

static int source_indices(uint32_t *out, struct tensor_source *source, struct sn_context *context,
                          const struct tensor_entry *entry, uint64_t first, size_t count, uint64_t limit)
{
    return safetensors_read_indices(out, source->payload, context, entry, first, count, limit);
}

static const char *source_metadata(const struct tensor_source *source, const char *key)
{
    return safetensors_metadata(source->payload, key);
}

static void source_close(struct tensor_source *source)
{
    struct safetensors *file = source->payload;
    struct memory *memory = file->memory;
    safetensors_close(file);
    memory_free(memory, file, sizeof *file);
    memset(source, 0, sizeof *source);
}

int safetensors_source(struct tensor_source *source, struct sn_context *context, const char *path)
{
    memset(source, 0, sizeof *source);
    struct safetensors *file = memory_allocate(context->memory, sizeof *file);
    if (!file)
        return fail_memory(context, "a safetensors file", sizeof *file);
    int status = safetensors_open(file, context, path);
    if (status != SN_OK) {
        memory_free(context->memory, file, sizeof *file);
        return status;
    }
    *source = (struct tensor_source){.path = path,
                                     .entries = file->entries,
                                     .n_entries = file->n_entries,
                                     .payload = file,
                                     .read_floats = source_floats,
                                     .read_indices = source_indices,
                                     .metadata = source_metadata,
                                     .close = source_close};
    return SN_OK;
}
