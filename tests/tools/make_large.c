/* Writes a model in the released layout, dense on disk, without ever holding it:
 *   make_large FOLDER safetensors|pt|pt64 [DENSITY [CONFIG]]
 * DENSITY (default 1/64): share of matrices and embeddings that is not zero. CONFIG: a JSON file; without it
 * the shape of csp_yolo2 (419 million parameters, 1.7 GB). pt64: with zip64 records. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "large_model.h"

static int write_model(sn_context *context, int argc, char **argv, struct large_model *model)
{
    char *json = NULL;
    size_t length = 0;
    int status = argc > 4 ? file_read_all(&json, &length, context, argv[4], 1 << 20) : SN_OK;
    if (json)
        model->config = json;
    if (status == SN_OK)
        status = strcmp(argv[2], "safetensors") == 0
                     ? large_write_safetensors(model, context, argv[1])
                     : large_write_torch(model, context, argv[1], strcmp(argv[2], "pt64") == 0);
    if (json)
        memory_free(context->memory, json, length + 1);
    return status;
}

int main(int argc, char **argv)
{
    struct large_model model = {csp_yolo2_config, argc > 3 ? atof(argv[3]) : 1.0 / 64, 1};
    sn_context *context;
    if (argc < 3 || argc > 5) {
        fprintf(stderr, "usage: make_large FOLDER safetensors|pt|pt64 [DENSITY [CONFIG]]\n");
        return 2;
    }
    if (sn_context_create(&context, NULL) != SN_OK)
        return 1;
    int status = write_model(context, argc, argv, &model);
    if (status != SN_OK)
        fprintf(stderr, "make_large: %s: %s\n", sn_status_string(status), sn_context_message(context));
    sn_context_free(context);
    return status != SN_OK;
}
