/* Named arrays of floats in one safetensors file: how logits, activations and gradients leave for other
 * tools and come back. */
#include <string.h>

#include "base/utf8.h"
#include "format/safetensors.h"

struct tensor {
    char *name;
    size_t n_dimensions, count;
    size_t shape[TENSOR_MAX_DIMENSIONS];
    float *values;
};

struct sn_tensors {
    struct memory *memory;
    struct tensor *list;
    size_t count, capacity;
};

int sn_tensors_create(sn_tensors **out, sn_context *context)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    sn_tensors *tensors = memory_allocate_zeroed(context->memory, sizeof *tensors);
    if (!tensors)
        return fail_memory(context, "a set of tensors", sizeof *tensors);
    tensors->memory = memory_retain(context->memory);
    *out = tensors;
    return SN_OK;
}

static void free_tensor(struct memory *memory, struct tensor *tensor)
{
    if (tensor->name)
        memory_free(memory, tensor->name, strlen(tensor->name) + 1);
    memory_free(memory, tensor->values, tensor->count * sizeof *tensor->values);
}

void sn_tensors_free(sn_tensors *tensors)
{
    if (!tensors)
        return;
    struct memory *memory = tensors->memory;
    for (size_t i = 0; i < tensors->count; i++)
        free_tensor(memory, &tensors->list[i]);
    memory_free(memory, tensors->list, tensors->capacity * sizeof *tensors->list);
    memory_free(memory, tensors, sizeof *tensors);
    memory_release(memory);
}

static struct tensor *find(const sn_tensors *tensors, const char *name)
{
    for (size_t i = 0; i < tensors->count; i++)
        if (strcmp(tensors->list[i].name, name) == 0)
            return &tensors->list[i];
    return NULL;
}

static int reserve(sn_tensors *tensors, struct sn_context *context)
{
    if (tensors->count < tensors->capacity)
        return SN_OK;
    const size_t capacity = tensors->capacity ? 2 * tensors->capacity : 8;
    struct tensor *list = memory_resize(tensors->memory, tensors->list, tensors->capacity * sizeof *list,
                                        capacity * sizeof *list);
    if (!list)
        return fail_memory(context, "a list of tensors", capacity * sizeof *list);
    tensors->list = list;
    tensors->capacity = capacity;
    return SN_OK;
}

/* A new one, which a file can hold and be read with again. */
static int check_name(const sn_tensors *tensors, struct sn_context *context, const char *name)
{
    if (!utf8_is_valid((const unsigned char *)name, strlen(name)))
        return fail(context, SN_ERROR_ARGUMENT, "a tensor's name is not UTF-8: \"%.200s\"", name);
    if (strcmp(name, SAFETENSORS_METADATA) == 0)
        return fail(context, SN_ERROR_ARGUMENT,
                    "tensor %s: safetensors files have another use for this name", name);
    if (find(tensors, name))
        return fail(context, SN_ERROR_ARGUMENT, "tensor %s: there is one of this name already", name);
    return SN_OK;
}

/* A new last tensor, of a name that none has, with room for its values. */
static int append(struct tensor **out, sn_tensors *tensors, struct sn_context *context, const char *name,
                  const size_t *shape, size_t n_dimensions)
{
    struct tensor tensor = {.n_dimensions = n_dimensions, .count = 1};
    if (n_dimensions > TENSOR_MAX_DIMENSIONS)
        return fail(context, SN_ERROR_ARGUMENT, "tensor %s: %zu dimensions; at most %d are kept", name,
                    n_dimensions, TENSOR_MAX_DIMENSIONS);
    size_t bytes = sizeof(float);
    for (size_t i = 0; i < n_dimensions; i++) {
        tensor.shape[i] = shape[i];
        if (!size_product(&bytes, bytes, shape[i]))
            return fail(context, SN_ERROR_ARGUMENT, "tensor %s: its size overflows", name);
    }
    tensor.count = bytes / sizeof(float);
    int status = reserve(tensors, context);
    if (status != SN_OK)
        return status;
    tensor.values = memory_allocate(tensors->memory, bytes);
    tensor.name = memory_copy_text(tensors->memory, name, strlen(name));
    if (!tensor.values || !tensor.name) {
        free_tensor(tensors->memory, &tensor);
        return fail_memory(context, "a tensor", bytes);
    }
    tensors->list[tensors->count] = tensor;
    *out = &tensors->list[tensors->count++];
    return SN_OK;
}

int sn_tensors_add(sn_tensors *tensors, sn_context *context, const char *name, const size_t *shape,
                   size_t n_dimensions, const float *values)
{
    struct tensor *tensor = NULL;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!tensors || !name || (!shape && n_dimensions > 0) || !values)
        return fail(context, SN_ERROR_ARGUMENT, "sn_tensors_add: %s is NULL",
                    !tensors  ? "tensors"
                    : !name   ? "name"
                    : !values ? "values"
                              : "shape");
    int status = check_name(tensors, context, name);
    if (status == SN_OK)
        status = append(&tensor, tensors, context, name, shape, n_dimensions);
    if (status == SN_OK)
        memcpy(tensor->values, values, tensor->count * sizeof *values);
    return status;
}

int sn_tensors_save(const sn_tensors *tensors, sn_context *context, const char *path)
{
    struct safetensors_writer writer;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!tensors || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_tensors_save: %s is NULL",
                    tensors ? "path" : "tensors");
    int status = safetensors_writer_open(&writer, context, path);
    if (status != SN_OK)
        return status;
    for (size_t i = 0; i < tensors->count; i++) {
        const struct tensor *tensor = &tensors->list[i];
        uint64_t shape[TENSOR_MAX_DIMENSIONS];
        for (size_t d = 0; d < tensor->n_dimensions; d++)
            shape[d] = tensor->shape[d];
        safetensors_writer_declare(&writer, tensor->name, TENSOR_F32, shape, tensor->n_dimensions);
    }
    status = safetensors_writer_begin(&writer, context);
    for (size_t i = 0; i < tensors->count && status == SN_OK; i++)
        status =
            safetensors_write_floats(&writer, context, tensors->list[i].values, tensors->list[i].count);
    if (status == SN_OK)
        return safetensors_writer_commit(&writer, context);
    safetensors_writer_abort(&writer);
    return status;
}

static int read_entry(sn_tensors *tensors, struct sn_context *context, struct safetensors *file,
                      const struct tensor_entry *entry)
{
    struct tensor *tensor = NULL;
    size_t shape[TENSOR_MAX_DIMENSIONS];
    for (size_t d = 0; d < entry->n_dimensions; d++)
        shape[d] = (size_t)entry->dimensions[d];
    int status = append(&tensor, tensors, context, entry->name, shape, entry->n_dimensions);
    if (status == SN_OK)
        status = safetensors_read_floats(tensor->values, file, context, entry, 0, tensor->count);
    return status;
}

int sn_tensors_load(sn_tensors **out, sn_context *context, const char *path)
{
    struct safetensors file;
    sn_tensors *tensors;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_tensors_load: path is NULL");
    int status = safetensors_open(&file, context, path);
    if (status != SN_OK)
        return status;
    status = sn_tensors_create(&tensors, context);
    for (size_t i = 0; i < file.n_entries && status == SN_OK; i++)
        status = read_entry(tensors, context, &file, &file.entries[i]);
    safetensors_close(&file);
    if (status == SN_OK)
        *out = tensors;
    else
        sn_tensors_free(tensors);
    return status;
}

size_t sn_tensors_count(const sn_tensors *tensors)
{
    return tensors ? tensors->count : 0;
}

const char *sn_tensors_name(const sn_tensors *tensors, size_t index)
{
    return tensors && index < tensors->count ? tensors->list[index].name : NULL;
}

const float *sn_tensors_values(const size_t **shape, size_t *n_dimensions, const sn_tensors *tensors,
                               const char *name)
{
    const struct tensor *tensor = tensors && name ? find(tensors, name) : NULL;
    if (shape)
        *shape = tensor ? tensor->shape : NULL;
    if (n_dimensions)
        *n_dimensions = tensor ? tensor->n_dimensions : 0;
    return tensor ? tensor->values : NULL;
}
