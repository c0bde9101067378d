/* A model's folder: config.json, a NUL, final_model.pt. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *rest;
    size_t n_rest;
    const size_t n_config = fuzz_split(&rest, &n_rest, data, size);
    if (!rest)
        return -1; /* not worth keeping */
    sn_context *context = fuzz_context(16);
    sn_model *model;
    fuzz_write("config.json", data, n_config);
    fuzz_write_zip("final_model.pt", rest, n_rest);
    fuzz_load_model(&model, context, fuzz_folder());
    if (model) {
        fuzz_use_model(model, context);
        if (size % 4 == 0)
            fuzz_export_model(model, context);
    }
    sn_model_free(model);
    sn_context_free(context);
    return 0;
}
