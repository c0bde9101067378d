/* The library's own file. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sn_context *context = fuzz_context(16);
    sn_model *model;
    fuzz_load_model(&model, context, fuzz_write("native.safetensors", data, size));
    if (model) {
        fuzz_use_model(model, context);
        if (size % 4 == 0)
            fuzz_export_model(model, context);
    }
    sn_model_free(model);
    sn_context_free(context);
    return 0;
}
