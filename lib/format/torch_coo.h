/* Sparse COO tensors of a torch file as rows of ascending columns: the form in which sparse parameters load. */
#ifndef SN_FORMAT_TORCH_COO_H
#define SN_FORMAT_TORCH_COO_H

#include "format/torch_file.h"

#define TORCH_MAX_SPARSE_ROWS ((uint64_t)1 << 24)

struct torch_rows {
    size_t n_rows, n_allocated; /* a vector is one row */
    uint32_t *row_start;        /* n_rows + 1 */
    uint32_t *column;           /* n_allocated, row_start[n_rows] of them in use */
    float *values;
};

/* A tensor of one or two dimensions; indices outside of it are refused. Values of one place are summed in the
 * order of the file. */
int torch_rows_read(struct torch_rows *rows, struct torch_file *file, struct sn_context *context,
                    const struct torch_tensor *tensor, const char *name);
/* A no-op on a zeroed struct. */
void torch_rows_free(struct torch_rows *rows, struct memory *memory);

#endif
