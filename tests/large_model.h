/* Models written tensor by tensor in the released layout, dense on disk, of any size: only a chunk of one
 * tensor is ever held. The same seed gives the same numbers in both forms. */
#ifndef SN_TESTS_LARGE_MODEL_H
#define SN_TESTS_LARGE_MODEL_H

#include <stdint.h>

#include "sparsenet.h"

struct large_model {
    const char *config; /* JSON */
    double density; /* share of matrices and embeddings that is not zero; tables and vectors are dense */
    uint64_t seed;
};

/* The shape of the largest released model, csp_yolo2: 419 million parameters. */
extern const char csp_yolo2_config[];

/* config.json and model.safetensors into a folder that exists. */
int large_write_safetensors(const struct large_model *model, sn_context *context, const char *folder);
/* beeg_config.json and final_model.pt. zip64: its records even where the file is small. */
int large_write_torch(const struct large_model *model, sn_context *context, const char *folder,
                      int zip64);

#endif
