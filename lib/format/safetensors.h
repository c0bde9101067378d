/* The safetensors format: an 8-byte little-endian header length, a JSON header naming tensors and
 * their byte ranges, then the data. Files are read in chunks; every length is checked before use. */
#ifndef SN_FORMAT_SAFETENSORS_H
#define SN_FORMAT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/file.h"
#include "format/tensor_source.h"

#define SAFETENSORS_MAX_HEADER ((size_t)100 << 20)
#define SAFETENSORS_METADATA "__metadata__" /* the key in a header that is no tensor */

struct safetensors {
    struct memory *memory;
    struct file_reader file;
    struct tensor_entry *entries; /* in the order of their data */
    size_t n_entries, n_allocated;
    struct json_t *metadata; /* NULL when absent */
};

/* Opens a file and checks its whole header: ranges without overlap, hole or rest, sizes that match the
 * shapes. `path` is lent until the close. Errors: SN_ERROR_IO, SN_ERROR_FORMAT, SN_ERROR_MEMORY. */
int safetensors_open(struct safetensors *file, struct sn_context *context, const char *path);
/* A no-op on a zeroed struct and after a failed open. */
void safetensors_close(struct safetensors *file);
/* NULL when there is no tensor of this name. */
const struct tensor_entry *safetensors_find(const struct safetensors *file, const char *name);
/* The text of a metadata key, lent; NULL when absent. */
const char *safetensors_metadata(const struct safetensors *file, const char *key);

/* Opens the file as a source of tensors, which its close frees. */
int safetensors_source(struct tensor_source *source, struct sn_context *context, const char *path);

/* Elements first .. first + count - 1, in row-major order, as float32; every type is converted. */
int safetensors_read_floats(float *out, struct safetensors *file, struct sn_context *context,
                            const struct tensor_entry *entry, uint64_t first, size_t count);
/* The same of an integer tensor as numbers below `limit`; others are SN_ERROR_FORMAT. */
int safetensors_read_indices(uint32_t *out, struct safetensors *file, struct sn_context *context,
                             const struct tensor_entry *entry, uint64_t first, size_t count,
                             uint64_t limit);

/* Writing: open, metadata, declare every tensor, begin, then the data of all tensors in the order of
 * their declaration, commit. Nothing is visible under `path` before the commit. */
struct safetensors_writer {
    struct file_writer file;
    struct buffer header;
    uint64_t declared; /* bytes of data */
    uint64_t written;
    size_t n_metadata, n_tensors;
};

int safetensors_writer_open(struct safetensors_writer *writer, struct sn_context *context,
                            const char *path);
/* Before the first tensor is declared. key and value: UTF-8. */
void safetensors_writer_metadata(struct safetensors_writer *writer, const char *key, const char *value);
void safetensors_writer_declare(struct safetensors_writer *writer, const char *name,
                                enum tensor_type type, const uint64_t *dimensions, size_t n_dimensions);
/* Writes the header; reports failures of the calls before. */
int safetensors_writer_begin(struct safetensors_writer *writer, struct sn_context *context);
int safetensors_write_floats(struct safetensors_writer *writer, struct sn_context *context,
                             const float *values, size_t count);
/* type: TENSOR_U16 (each value < 65536) or TENSOR_U32. */
int safetensors_write_indices(struct safetensors_writer *writer, struct sn_context *context,
                              enum tensor_type type, const uint32_t *values, size_t count);
/* Data as it stands in the file, little-endian. */
int safetensors_write_bytes(struct safetensors_writer *writer, struct sn_context *context,
                            const void *bytes, size_t size);
/* SN_ERROR_STATE when data are missing or too many; then and on failure nothing is left behind. */
int safetensors_writer_commit(struct safetensors_writer *writer, struct sn_context *context);
/* A no-op on a zeroed writer and after a commit. */
void safetensors_writer_abort(struct safetensors_writer *writer);

#endif
