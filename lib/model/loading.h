/* A model's files, opened and fitted together but not read: which tensor of the file each parameter is. What
 * loading reads, and what estimating looks at. */
#ifndef SN_MODEL_LOADING_H
#define SN_MODEL_LOADING_H

#include "format/tensor_source.h"
#include "model/model.h"

/* Where one parameter comes from: one dense tensor, or the three of a sparse one; nothing for an absent
 * final_logits_bias. */
struct origin {
    const struct tensor_entry *dense, *indptr, *indices, *values;
};

struct loading {
    struct sn_context *context;
    struct sn_model *model; /* without values; freed by loading_close unless it is taken (set to NULL) */
    struct tensor_source file;
    struct origin *origins; /* n_origins, as many as the model has parameters */
    size_t n_origins;
    const struct tensor_entry
        *tied_head;   /* lm_head.weight beside transformer.wte.weight, which it must equal */
    int keep_dense;   /* a native file says itself what is sparse */
    const char *path; /* of the file, for messages */
    char *found;      /* the same, where it was found in a folder */
};

/* Floats that are read at a time of a tensor of rows of `cols`: whole rows, 256 KB so that they stay in the L2
 * cache until they are sorted. */
static inline size_t loading_chunk(size_t cols)
{
    return cols > ((size_t)1 << 16) ? cols : (size_t)1 << 16;
}

/* Opens what sn_model_load accepts. Every parameter has its tensors in their shapes, and every tensor its
 * parameter. Errors as sn_model_load. */
int loading_open(struct loading *loading, struct sn_context *context, const char *path);
/* A no-op on a zeroed struct and after a failed open. */
void loading_close(struct loading *loading);

#endif
