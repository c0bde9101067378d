/* Loads a model and says in one line what it is: exit status 0, or 3 with the reason. */
#include <stdio.h>

#include "sparsenet.h"

static void summarise(const sn_model *model, const sn_context *context)
{
    size_t n_sparse = 0, n_weights = 0, n_support = 0, bytes = 0;
    for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
        size_t rows = 0, cols = 0, support = 0;
        int is_sparse = 0;
        sn_model_tensor_info(&rows, &cols, &support, &is_sparse, model, i);
        n_sparse += is_sparse != 0;
        n_weights += rows * (cols ? cols : 1);
        n_support += support;
    }
    sn_context_memory(&bytes, NULL, context);
    printf("n_layer %lld, d_model %lld, vocab_size %lld: %zu tensors, %zu of them sparse, %zu of %zu "
           "weights in the support, %zu bytes\n",
           (long long)sn_model_config_number(model, "n_layer"),
           (long long)sn_model_config_number(model, "d_model"),
           (long long)sn_model_config_number(model, "vocab_size"), sn_model_tensor_count(model),
           n_sparse, n_support, n_weights, bytes);
}

int main(int argc, char **argv)
{
    sn_context *context = NULL;
    sn_model *model = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: load_check MODEL\n");
        return 2;
    }
    int status = sn_context_create(&context, NULL);
    if (status == SN_OK)
        status = sn_model_load(&model, context, argv[1]);
    if (status == SN_OK)
        summarise(model, context);
    else
        printf("%s: %s\n", sn_status_string(status), context ? sn_context_message(context) : "");
    sn_model_free(model);
    sn_context_free(context);
    return status == SN_OK ? 0 : 3;
}
