#include <string.h>

#include "format/json.h"
#include "format/safetensors.h"

#define ENCODE_BYTES 16384

static void store_little(unsigned char *bytes, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
}

int safetensors_writer_open(struct safetensors_writer *writer, struct sn_context *context,
                            const char *path)
{
    memset(writer, 0, sizeof *writer);
    int status = file_writer_open(&writer->file, context, path);
    if (status != SN_OK)
        return status;
    buffer_init(&writer->header, context->memory);
    buffer_text(&writer->header, "{");
    return SN_OK;
}

void safetensors_writer_metadata(struct safetensors_writer *writer, const char *key, const char *value)
{
    struct buffer *header = &writer->header;
    buffer_text(header, writer->n_metadata++ ? "," : "\"" SAFETENSORS_METADATA "\":{");
    json_append_text(header, key);
    buffer_text(header, ":");
    json_append_text(header, value);
}

static void end_metadata(struct safetensors_writer *writer)
{
    if (writer->n_metadata && writer->n_tensors == 0)
        buffer_text(&writer->header, "}");
}

void safetensors_writer_declare(struct safetensors_writer *writer, const char *name,
                                enum tensor_type type, const uint64_t *dimensions, size_t n_dimensions)
{
    struct buffer *header = &writer->header;
    uint64_t bytes = tensor_type_size(type);
    end_metadata(writer);
    if (writer->n_tensors++ || writer->n_metadata)
        buffer_text(header, ",");
    json_append_text(header, name);
    buffer_format(header, ":{\"dtype\":\"%s\",\"shape\":[", tensor_type_name(type));
    for (size_t i = 0; i < n_dimensions; i++) {
        bytes *= dimensions[i];
        buffer_format(header, "%s%llu", i ? "," : "", (unsigned long long)dimensions[i]);
    }
    buffer_format(header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)writer->declared,
                  (unsigned long long)(writer->declared + bytes));
    writer->declared += bytes;
}

/* The header is padded with spaces so that the data start at a multiple of 8. */
int safetensors_writer_begin(struct safetensors_writer *writer, struct sn_context *context)
{
    struct buffer *header = &writer->header;
    unsigned char prefix[8];
    end_metadata(writer);
    buffer_text(header, "}");
    while (!header->failed && header->size % 8)
        buffer_text(header, " ");
    if (header->failed)
        return fail_memory(context, "a safetensors header", 0);
    store_little(prefix, header->size, sizeof prefix);
    int status = file_write(&writer->file, context, prefix, sizeof prefix);
    if (status == SN_OK)
        status = file_write(&writer->file, context, header->bytes, header->size);
    return status;
}

int safetensors_write_bytes(struct safetensors_writer *writer, struct sn_context *context,
                            const void *bytes, size_t size)
{
    writer->written += size;
    return file_write(&writer->file, context, bytes, size);
}

int safetensors_write_floats(struct safetensors_writer *writer, struct sn_context *context,
                             const float *values, size_t count)
{
    unsigned char bytes[ENCODE_BYTES];
    int status = SN_OK;
    while (status == SN_OK && count) {
        size_t part = count < sizeof bytes / 4 ? count : sizeof bytes / 4;
        for (size_t i = 0; i < part; i++) {
            uint32_t bits;
            memcpy(&bits, &values[i], sizeof bits);
            store_little(bytes + 4 * i, bits, 4);
        }
        status = safetensors_write_bytes(writer, context, bytes, 4 * part);
        values += part;
        count -= part;
    }
    return status;
}

int safetensors_write_indices(struct safetensors_writer *writer, struct sn_context *context,
                              enum tensor_type type, const uint32_t *values, size_t count)
{
    unsigned char bytes[ENCODE_BYTES];
    size_t size = tensor_type_size(type);
    int status = SN_OK;
    while (status == SN_OK && count) {
        size_t part = count < sizeof bytes / size ? count : sizeof bytes / size;
        for (size_t i = 0; i < part; i++)
            store_little(bytes + size * i, values[i], size);
        status = safetensors_write_bytes(writer, context, bytes, size * part);
        values += part;
        count -= part;
    }
    return status;
}

int safetensors_writer_commit(struct safetensors_writer *writer, struct sn_context *context)
{
    int status = SN_OK;
    if (writer->written != writer->declared)
        status = fail(context, SN_ERROR_STATE, "%s: %llu bytes of tensors declared, %llu written",
                      writer->file.path, (unsigned long long)writer->declared,
                      (unsigned long long)writer->written);
    if (status == SN_OK)
        status = file_writer_commit(&writer->file, context);
    safetensors_writer_abort(writer);
    return status;
}

void safetensors_writer_abort(struct safetensors_writer *writer)
{
    file_writer_abort(&writer->file);
    if (writer->header.memory)
        buffer_free(&writer->header);
    memset(writer, 0, sizeof *writer);
}
