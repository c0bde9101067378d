/* The library's own file. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sn_context *context = fuzz_context(64);
    sn_model *model;
    fuzz_check(sn_model_load(&model, context, fuzz_write("native.safetensors", data, size)), context);
    if (model)
        fuzz_use_model(model, context);
    sn_model_free(model);
    sn_context_free(context);
    return 0;
}
