/* Tensors by name, whatever file they stand in: loading reads through this and knows no format. A format
 * fills the struct at its open; its reads convert every element type. */
#ifndef SN_FORMAT_TENSOR_SOURCE_H
#define SN_FORMAT_TENSOR_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "base/context.h"

enum tensor_type {
    TENSOR_F64,
    TENSOR_F32,
    TENSOR_F16,
    TENSOR_BF16,
    TENSOR_I64,
    TENSOR_I32,
    TENSOR_I16,
    TENSOR_I8,
    TENSOR_U64,
    TENSOR_U32,
    TENSOR_U16,
    TENSOR_U8,
    TENSOR_BOOL,
    TENSOR_TYPES
};

#define TENSOR_MAX_DIMENSIONS 8

size_t tensor_type_size(enum tensor_type type);
const char *tensor_type_name(enum tensor_type type); /* "F32" */

struct tensor_entry {
    char *name; /* owned by the format, strlen + 1 bytes */
    enum tensor_type type;
    size_t n_dimensions;
    uint64_t dimensions[TENSOR_MAX_DIMENSIONS];
    uint64_t count;  /* elements */
    uint64_t offset; /* of the first byte in the file; a format with other storage may leave it 0 */
};

struct tensor_source {
    const char *path; /* for messages; lent by who opened it */
    const struct tensor_entry
        *entries; /* in the order of their data: read so, a file is read once through */
    size_t n_entries;
    void *payload; /* the format's own */
    /* Elements first .. first + count - 1 in row-major order as float32, whatever their type. Reads stand in
     * any order, but a tensor's chunks come one after another. Messages name file and tensor. */
    int (*read_floats)(float *out, struct tensor_source *source, struct sn_context *context,
                       const struct tensor_entry *entry, uint64_t first, size_t count);
    /* The same of an integer tensor as numbers below `limit`; others are SN_ERROR_FORMAT. */
    int (*read_indices)(uint32_t *out, struct tensor_source *source, struct sn_context *context,
                        const struct tensor_entry *entry, uint64_t first, size_t count, uint64_t limit);
    /* The text of a metadata key, lent; NULL when absent. The function may be NULL: no metadata. */
    const char *(*metadata)(const struct tensor_source *source, const char *key);
    /* Frees payload and entries and zeroes the source. */
    void (*close)(struct tensor_source *source);
};

/* A no-op on a zeroed source. */
static inline void tensor_source_close(struct tensor_source *source)
{
    if (source->close)
        source->close(source);
}

/* A sparse parameter NAME of a file is three entries, in the form of the library's own file: NAME.indptr
 * (rows + 1 integers), NAME.indices (columns, ascending in each row) and NAME.values. */
#define TENSOR_INDPTR ".indptr"
#define TENSOR_INDICES ".indices"
#define TENSOR_VALUES ".values"

/* A little-endian number of up to 8 bytes. */
uint64_t tensor_load_little(const unsigned char *bytes, size_t size);
/* 1 if elements stand in files as this machine keeps a float: they can be read straight to their place. */
int tensor_is_native(enum tensor_type type);
/* Little-endian elements, at any alignment, as float32. */
void tensor_decode_floats(float *out, const unsigned char *bytes, size_t count, enum tensor_type type);
/* The same as numbers below `limit`. source and entry are for the message; first: index of the first one in
 * the tensor. */
int tensor_decode_indices(uint32_t *out, struct sn_context *context, const char *path,
                          const struct tensor_entry *entry, const unsigned char *bytes, uint64_t first,
                          size_t count, uint64_t limit);
/* SN_ERROR_FORMAT unless elements first .. first + count - 1 exist. */
int tensor_check_range(struct sn_context *context, const char *path, const struct tensor_entry *entry,
                       uint64_t first, size_t count);
/* SN_ERROR_FORMAT unless the entry's type can hold indices. */
int tensor_check_integer(struct sn_context *context, const char *path, const struct tensor_entry *entry);

#endif
