/* The configuration. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sn_context *context = fuzz_context(2);
    sn_model *model;
    fuzz_check(sn_model_create(&model, context, (const char *)data, size, 1), context);
    sn_model_free(model);
    sn_context_free(context);
    return 0;
}
