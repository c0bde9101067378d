/* Plain values, lists and tensors of a released circuit as the numbers they are expected to be. */
#include "circuit/released.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int released_fail(struct released *released, const char *name, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return fail(released->context, SN_ERROR_FORMAT, "%s: %s: %s", released->path, name, text);
}

static const char *kind_name(const struct pickle_value *value)
{
    return torch_tensor_of(value) ? "a tensor" : pickle_kind_name(value);
}

int released_number(double *out, struct released *released, const struct pickle_value *value,
                    const char *name)
{
    const struct torch_tensor *tensor = torch_tensor_of(value);
    float number;
    if (value->kind == PICKLE_NUMBER) {
        *out = value->as.number;
        return SN_OK;
    }
    if (value->kind == PICKLE_INTEGER) {
        *out = (double)value->as.integer;
        return SN_OK;
    }
    if (!tensor || tensor->count != 1)
        return released_fail(released, name, "is %s; a number was expected",
                             tensor ? "a tensor of several elements" : pickle_kind_name(value));
    int status = torch_read_floats(&number, &released->file, released->context, tensor, name, 0, 1);
    if (status == SN_OK)
        *out = (double)number;
    return status;
}

int released_is_list(size_t *n, const struct pickle_value *value)
{
    const struct torch_tensor *tensor = torch_tensor_of(value);
    if (tensor) {
        *n = (size_t)tensor->count;
        return tensor->n_dimensions == 1;
    }
    const int is_list = value->kind == PICKLE_LIST || value->kind == PICKLE_TUPLE;
    *n = is_list ? value->as.items.n : 0;
    return is_list;
}

int released_list_number(double *out, struct released *released, const struct pickle_value *value,
                         size_t i, const char *name)
{
    const struct torch_tensor *tensor = torch_tensor_of(value);
    float number;
    if (!tensor)
        return released_number(out, released, value->as.items.list[i], name);
    int status = torch_read_floats(&number, &released->file, released->context, tensor, name, i, 1);
    if (status == SN_OK)
        *out = (double)number;
    return status;
}

/* ---- integers */

static int read_integer(int64_t *out, struct released *released, const struct pickle_value *value,
                        const char *name)
{
    const struct torch_tensor *tensor = torch_tensor_of(value);
    if (tensor && tensor->count == 1)
        return torch_read_integers(out, &released->file, released->context, tensor, name, 0, 1);
    if (value->kind != PICKLE_INTEGER)
        return released_fail(released, name, "holds %s; an integer was expected", kind_name(value));
    *out = value->as.integer;
    return SN_OK;
}

int released_integers(int64_t **out, size_t *n, struct released *released,
                      const struct pickle_value *value, const char *name, size_t limit)
{
    const struct torch_tensor *tensor = torch_tensor_of(value);
    struct memory *memory = released->context->memory;
    int status = SN_OK;
    *out = NULL;
    if (!released_is_list(n, value))
        return released_fail(released, name, "is %s; a list of integers was expected",
                             tensor ? "a tensor that has not one dimension" : pickle_kind_name(value));
    if (!tensor && *n && pickle_is_text(value->as.items.list[*n - 1], "bias"))
        --*n;
    if (*n > limit)
        return released_fail(released, name, "has %zu entries; there can be at most %zu", *n, limit);
    int64_t *integers = memory_allocate_array(memory, *n, sizeof *integers);
    if (!integers)
        return fail_memory(released->context, name, *n * sizeof *integers);
    if (tensor)
        status = torch_read_integers(integers, &released->file, released->context, tensor, name, 0, *n);
    for (size_t i = 0; !tensor && i < *n && status == SN_OK; i++)
        status = read_integer(&integers[i], released, value->as.items.list[i], name);
    if (status != SN_OK) {
        memory_free(memory, integers, *n * sizeof *integers);
        return status;
    }
    *out = integers;
    return SN_OK;
}

/* ---- channels */

void channel_list_free(struct channel_list *list)
{
    if (!list->memory)
        return;
    memory_free(list->memory, list->channels, list->n * sizeof *list->channels);
    memory_release(list->memory);
    memset(list, 0, sizeof *list);
}

/* A mask of `width` truth values becomes the numbers of those that are set, in place. */
static size_t numbers_of_mask(int64_t *mask, size_t width)
{
    size_t n = 0;
    for (size_t c = 0; c < width; c++)
        if (mask[c])
            mask[n++] = (int64_t)c;
    return n;
}

/* seen: width zeros. */
static int check_channels(struct released *released, const char *name, const int64_t *channels, size_t n,
                          unsigned char *seen, size_t site)
{
    const size_t width = site_width(&released->model->config, site);
    for (size_t i = 0; i < n; i++) {
        if (channels[i] < 0 || (uint64_t)channels[i] >= width)
            return released_fail(released, name, "channel %lld; %s of this model has %zu",
                                 (long long)channels[i], released->model->site_names[site], width);
        if (seen[channels[i]]++)
            return released_fail(released, name, "channel %lld stands twice", (long long)channels[i]);
    }
    return SN_OK;
}

static int keep_channels(struct channel_list *list, struct released *released, const int64_t *channels,
                         size_t n)
{
    struct memory *memory = released->context->memory;
    size_t *copy = memory_allocate_array(memory, n, sizeof *copy);
    if (!copy)
        return fail_memory(released->context, "channels", n * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = (size_t)channels[i];
    *list = (struct channel_list){memory_retain(memory), copy, n};
    return SN_OK;
}

int released_channels(struct channel_list *list, struct released *released,
                      const struct pickle_value *value, const char *name, size_t site)
{
    const struct torch_tensor *tensor = torch_tensor_of(value);
    const size_t width = site_width(&released->model->config, site);
    struct memory *memory = released->context->memory;
    int64_t *channels = NULL;
    size_t n_read = 0, n;
    memset(list, 0, sizeof *list);
    const int is_mask = tensor && tensor->type == TENSOR_BOOL && tensor->count;
    if (is_mask && tensor->count != width)
        return released_fail(released, name, "is a mask of %llu channels; %s of this model has %zu",
                             (unsigned long long)tensor->count, released->model->site_names[site],
                             width);
    unsigned char *seen = memory_allocate_zeroed(memory, width);
    int status = seen ? SN_OK : fail_memory(released->context, name, width);
    if (status == SN_OK)
        status = released_integers(&channels, &n_read, released, value, name, width);
    if (status == SN_OK) {
        n = is_mask ? numbers_of_mask(channels, n_read) : n_read;
        status = check_channels(released, name, channels, n, seen, site);
    }
    if (status == SN_OK)
        status = keep_channels(list, released, channels, n);
    if (channels)
        memory_free(memory, channels, n_read * sizeof *channels);
    memory_free(memory, seen, width);
    return status;
}
