/* Elements of tensors in torch files, a bounded piece at a time. */
#include <string.h>

#include "base/checksum.h"
#include "format/torch_rules.h"

/* What a call reads, and where it goes: one of the two arrays. */
struct reading {
    struct torch_file *file;
    struct sn_context *context;
    const struct torch_tensor *tensor;
    const char *name;
    size_t size; /* bytes of an element */
    float *floats;
    int64_t *integers;
};

static int64_t decode_integer(const unsigned char *bytes, enum tensor_type type)
{
    const uint64_t raw = tensor_load_little(bytes, tensor_type_size(type));
    switch (type) {
    case TENSOR_I32: return (int32_t)(uint32_t)raw;
    case TENSOR_I16: return (int16_t)(uint16_t)raw;
    case TENSOR_I8: return (int8_t)(uint8_t)raw;
    case TENSOR_BOOL: return raw != 0;
    default: return (int64_t)raw;
    }
}

/* n elements at `bytes` become out[at], out[at + step], ... */
static void decode(const struct reading *reading, const unsigned char *bytes, size_t n, size_t at,
                   size_t step)
{
    const enum tensor_type type = reading->tensor->type;
    if (reading->floats && step == 1) {
        tensor_decode_floats(reading->floats + at, bytes, n, type);
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (reading->floats)
            tensor_decode_floats(reading->floats + at + i * step, bytes + i * reading->size, 1, type);
        else
            reading->integers[at + i * step] = decode_integer(bytes + i * reading->size, type);
}

/* ---- checksums */

/* Follows a storage that is read from its first byte on; any other order is not checked. */
static int follow_checksum(const struct reading *reading, uint64_t at, const void *bytes, size_t size)
{
    struct torch_file *file = reading->file;
    const struct zip_entry *storage = reading->tensor->storage;
    if (at == 0) {
        file->running = storage;
        file->running_at = 0;
        file->running_checksum = 0;
    }
    if (file->running != storage || file->running_at != at) {
        file->running = NULL;
        return SN_OK;
    }
    file->running_checksum = checksum_update(file->running_checksum, bytes, size);
    file->running_at += size;
    if (file->running_at < storage->size || file->running_checksum == storage->checksum)
        return SN_OK;
    return fail(reading->context, SN_ERROR_FORMAT,
                "%s: tensor %.200s: entry %.200s does not match its checksum", file->zip.file.path,
                reading->name, storage->name);
}

/* ---- reading */

/* Floats as this machine keeps them go straight to their place. */
static int read_contiguous(const struct reading *reading, uint64_t first, size_t count)
{
    const int direct = reading->floats && tensor_is_native(reading->tensor->type);
    int status = SN_OK;
    for (size_t done = 0; done < count && status == SN_OK;) {
        const size_t room = TORCH_SCRATCH / reading->size, left = count - done,
                     n = left < room ? left : room;
        const uint64_t at = (reading->tensor->offset + first + done) * reading->size;
        void *bytes = direct ? (void *)(reading->floats + done) : (void *)reading->file->scratch;
        status = zip_read(bytes, &reading->file->zip, reading->context, reading->tensor->storage, at,
                          n * reading->size);
        if (status == SN_OK)
            status = follow_checksum(reading, at, bytes, n * reading->size);
        if (status == SN_OK && !direct)
            decode(reading, reading->file->scratch, n, done, 1);
        done += n;
    }
    return status;
}

/* Every stride-th element of the storage from `from` on, n of them, to out[at], out[at + step], ... */
static int read_line(const struct reading *reading, uint64_t from, uint64_t stride, size_t n, size_t at,
                     size_t step)
{
    const size_t size = reading->size, room = TORCH_SCRATCH / size;
    unsigned char *scratch = reading->file->scratch;
    int status = SN_OK;
    for (size_t done = 0; done < n && status == SN_OK;) {
        const size_t fit = stride >= room ? 1 : stride ? (room - 1) / (size_t)stride + 1 : n;
        const size_t part = n - done < fit ? n - done : fit;
        const size_t span =
            part == 1 ? 1 : (part - 1) * (size_t)stride + 1; /* of stride 0: one element */
        status = zip_read(scratch, &reading->file->zip, reading->context, reading->tensor->storage,
                          (from + done * stride) * size, span * size);
        if (status != SN_OK)
            return status;
        for (size_t i = 1; i < part && stride > 1; i++)
            memcpy(scratch + i * size, scratch + i * (size_t)stride * size, size);
        if (stride)
            decode(reading, scratch, part, at + done * step, step);
        else
            for (size_t i = 0; i < part; i++)
                decode(reading, scratch, 1, at + i * step, step);
        done += part;
    }
    return status;
}

/* Where element `index` of the row-major order stands in the storage, and its place in the last dimension. */
static uint64_t locate(uint64_t *last, const struct torch_tensor *tensor, uint64_t index)
{
    uint64_t at = tensor->offset;
    *last = 0;
    for (size_t i = tensor->n_dimensions; i > 0; i--) {
        const uint64_t place = index % tensor->dimensions[i - 1];
        if (i == tensor->n_dimensions)
            *last = place;
        at += place * tensor->strides[i - 1];
        index /= tensor->dimensions[i - 1];
    }
    return at;
}

/* Whole rows of a matrix whose columns stand closer together than its rows: column by column. */
static int read_columns(const struct reading *reading, uint64_t first, size_t count)
{
    const struct torch_tensor *tensor = reading->tensor;
    const size_t cols = (size_t)tensor->dimensions[1], rows = count / cols;
    const uint64_t start = tensor->offset + first / cols * tensor->strides[0];
    int status = SN_OK;
    for (size_t c = 0; c < cols && status == SN_OK; c++)
        status = read_line(reading, start + c * tensor->strides[1], tensor->strides[0], rows, c, cols);
    return status;
}

static int read_rows(const struct reading *reading, uint64_t first, size_t count)
{
    const struct torch_tensor *tensor = reading->tensor;
    const size_t d = tensor->n_dimensions - 1;
    int status = SN_OK;
    for (size_t done = 0; done < count && status == SN_OK;) {
        uint64_t last, from = locate(&last, tensor, first + done);
        const uint64_t rest = tensor->dimensions[d] - last;
        const size_t n = rest < count - done ? (size_t)rest : count - done;
        status = read_line(reading, from, tensor->strides[d], n, done, 1);
        done += n;
    }
    return status;
}

static int read_elements(const struct reading *reading, uint64_t first, size_t count)
{
    const struct torch_tensor *tensor = reading->tensor;
    const char *path = reading->file->zip.file.path;
    if (!tensor->storage)
        return fail(reading->context, SN_ERROR_UNSUPPORTED, "%s: tensor %.200s is sparse", path,
                    reading->name);
    if (first > tensor->count || count > tensor->count - first)
        return fail(reading->context, SN_ERROR_FORMAT,
                    "%s: tensor %.200s has %llu elements, %zu wanted from %llu", path, reading->name,
                    (unsigned long long)tensor->count, count, (unsigned long long)first);
    if (!count)
        return SN_OK;
    if (tensor->is_contiguous)
        return read_contiguous(reading, first, count);
    if (tensor->n_dimensions == 2 && tensor->strides[0] < tensor->strides[1] &&
        first % tensor->dimensions[1] == 0 && count % tensor->dimensions[1] == 0)
        return read_columns(reading, first, count);
    return read_rows(reading, first, count);
}

int torch_read_floats(float *out, struct torch_file *file, struct sn_context *context,
                      const struct torch_tensor *tensor, const char *name, uint64_t first, size_t count)
{
    const struct reading reading = {file, context, tensor, name, tensor_type_size(tensor->type),
                                    out,  NULL};
    return read_elements(&reading, first, count);
}

int torch_read_integers(int64_t *out, struct torch_file *file, struct sn_context *context,
                        const struct torch_tensor *tensor, const char *name, uint64_t first,
                        size_t count)
{
    const struct reading reading = {file, context, tensor, name, tensor_type_size(tensor->type),
                                    NULL, out};
    if (tensor->type < TENSOR_I64)
        return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s: dtype %s holds no integers",
                    file->zip.file.path, name, tensor_type_name(tensor->type));
    return read_elements(&reading, first, count);
}
