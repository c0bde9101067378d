/* The state dict of a torch file as a source of tensors for loading. */
#ifndef SN_FORMAT_TORCH_SOURCE_H
#define SN_FORMAT_TORCH_SOURCE_H

#include "format/tensor_source.h"

/* The tensors of the dict at the root, or of the one under its key model, state_dict, model_state_dict
 * or module. A sparse matrix becomes the three entries of tensor_source.h, a sparse vector a dense one.
 * Anything else in that dict is refused. Errors: as torch_file_open. */
int torch_source(struct tensor_source *source, struct sn_context *context, const char *path);

/* *matches: whether the file begins as a zip file, or is named .pt and does not begin as a safetensors
 * file. */
int torch_source_matches(int *matches, struct sn_context *context, const char *path);

#endif
