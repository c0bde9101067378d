/* The safetensors reader alone. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sn_context *context = fuzz_context(64);
    sn_tensors *tensors;
    fuzz_check(sn_tensors_load(&tensors, context, fuzz_write("tensors", data, size)), context);
    sn_tensors_free(tensors);
    sn_context_free(context);
    return 0;
}
