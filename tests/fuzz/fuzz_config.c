/* The configuration. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sn_context *context = fuzz_context(1);
    sn_model *model;
    char *text = malloc(size ? size : 1); /* of its own length, to the byte */
    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    fuzz_check(sn_model_create(&model, context, text, size, 1), context);
    free(text);
    if (model)
        fuzz_use_model(model, context);
    sn_model_free(model);
    sn_context_free(context);
    return 0;
}
