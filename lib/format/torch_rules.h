/* What the pickle of a torch file may name and call: the allow-list. Inside lib/format only. */
#ifndef SN_FORMAT_TORCH_RULES_H
#define SN_FORMAT_TORCH_RULES_H

#include "format/torch_file.h"

#define TORCH_SCRATCH ((size_t)1 << 18) /* bytes that are read at once */

/* Kinds of PICKLE_OBJECT. */
#define TORCH_OBJECT_STORAGE 1
#define TORCH_OBJECT_TENSOR 2

/* The payload of the pickle is its struct torch_file. */
extern const struct pickle_rules torch_rules;

/* The entry TOP/foldername; NULL when there is none, *status then SN_OK or SN_ERROR_MEMORY. */
const struct zip_entry *torch_find_entry(int *status, const struct torch_file *file,
                                         struct sn_context *context, const char *folder,
                                         const char *name);

#endif
