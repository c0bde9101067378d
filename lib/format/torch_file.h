/* A file of torch.save (the zip form, torch 1.6 and later): a tree of plain values, and tensors whose elements
 * are read in chunks. Walk it from the root: dicts, lists, tuples, texts, numbers (format/pickle.h), tensors
 * (torch_tensor_of) and names like torch.float32 (a PICKLE_GLOBAL). Nothing in the file is executed.
 *
 *     struct torch_file file;
 *     status = torch_file_open(&file, context, path);
 *     value = pickle_find(torch_file_root(&file), "circuit_data"); ...
 *     tensor = torch_tensor_of(value);
 *     if (tensor) status = torch_read_floats(out, &file, context, tensor, "circuit_data", 0, tensor->count);
 *     torch_file_close(&file);
 */
#ifndef SN_FORMAT_TORCH_FILE_H
#define SN_FORMAT_TORCH_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "format/pickle.h"
#include "format/tensor_source.h"
#include "format/zip.h"

/* Elements that tensors may have beyond what their storages hold (dimensions of stride 0), in one file. */
#define TORCH_MAX_EXPANDED ((uint64_t)1 << 24)

/* Checked against its storage when the file is opened: every element that the shape reaches is there. */
struct torch_tensor {
    enum tensor_type type;
    size_t n_dimensions;
    uint64_t dimensions[TENSOR_MAX_DIMENSIONS];
    uint64_t count; /* elements: the product of the dimensions */
    /* Dense: elements of `storage`. */
    const struct zip_entry *storage;
    uint64_t strides[TENSOR_MAX_DIMENSIONS], offset; /* in elements */
    int is_contiguous;
    /* Sparse COO: both set, storage NULL. indices: n_dimensions x nnz, int64, not yet checked against the
     * dimensions; values: nnz. An index may stand several times: its values are summed. */
    const struct torch_tensor *indices, *values;
};

struct torch_file {
    struct zip zip;
    struct pickle pickle;
    unsigned char *bytes; /* data.pkl */
    size_t n_bytes;
    char *folder; /* the zip's top folder, with a slash */
    size_t n_folder;
    uint64_t n_expanded;
    unsigned char *scratch;
    const struct zip_entry *running; /* the storage that is being read from its start to its end */
    uint64_t running_at;
    uint32_t running_checksum;
};

/* Reads the zip directory and the pickle, and checks every tensor against its storage. `path` is lent until
 * the close. Errors: SN_ERROR_IO, SN_ERROR_FORMAT, SN_ERROR_UNSUPPORTED (outside the allow-list), SN_ERROR_MEMORY. */
int torch_file_open(struct torch_file *file, struct sn_context *context, const char *path);
/* A no-op on a zeroed struct and after a failed open. All values and tensors go. */
void torch_file_close(struct torch_file *file);
const struct pickle_value *torch_file_root(const struct torch_file *file);
/* NULL unless the value is a tensor (or a Parameter, which is read as its tensor). */
const struct torch_tensor *torch_tensor_of(const struct pickle_value *value);

/* Elements first .. first + count - 1 of a dense tensor in row-major order, whatever its strides, as float32.
 * name: of the tensor, for messages. A storage that is read from its first byte to its last in order is
 * compared with its checksum. Cheapest in chunks of whole rows. */
int torch_read_floats(float *out, struct torch_file *file, struct sn_context *context,
                      const struct torch_tensor *tensor, const char *name, uint64_t first, size_t count);
/* The same of a tensor of integers or truth values. */
int torch_read_integers(int64_t *out, struct torch_file *file, struct sn_context *context,
                        const struct torch_tensor *tensor, const char *name, uint64_t first,
                        size_t count);

#endif
