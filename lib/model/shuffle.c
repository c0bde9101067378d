/* The random-weight control: a model whose weights are permuted over their supports. */
#include <string.h>

#include "base/random.h"
#include "model/model.h"

/* Permutes the nonzero values among their places. scratch: n floats. */
static void shuffle_nonzeros(float *values, size_t n, float *scratch, struct random_state *random)
{
    size_t n_nonzeros = 0;
    for (size_t i = 0; i < n; i++)
        if (values[i] != 0)
            scratch[n_nonzeros++] = values[i];
    for (size_t i = n_nonzeros; i > 1; i--) {
        size_t j = random_below(random, i);
        float value = scratch[i - 1];
        scratch[i - 1] = scratch[j];
        scratch[j] = value;
    }
    for (size_t i = 0, next = 0; i < n; i++)
        if (values[i] != 0)
            values[i] = scratch[next++];
}

static int shuffle_parameter(struct parameter *parameter, struct sn_context *context,
                             struct random_state *random)
{
    float *values = parameter_values(parameter);
    size_t n = parameter_size(parameter);
    if (!values || parameter->role == ROLE_POSITION)
        return SN_OK;
    float *scratch = memory_allocate_array(context->memory, n, sizeof *scratch);
    if (!scratch)
        return fail_memory(context, "permuted weights", n * sizeof *scratch);
    shuffle_nonzeros(values, n, scratch, random);
    memory_free(context->memory, scratch, n * sizeof *scratch);
    return parameter->matrix ? matrix_values_changed(parameter->matrix, context) : SN_OK;
}

int sn_model_create_shuffled(sn_model **out, sn_context *context, const sn_model *model, uint64_t seed)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!model)
        return fail(context, SN_ERROR_ARGUMENT, "sn_model_create_shuffled: model is NULL");
    struct sn_model *copy;
    int status = model_copy(&copy, context, model);
    if (status != SN_OK)
        return status;
    for (size_t i = 0; status == SN_OK && i < copy->n_parameters; i++) {
        struct random_state random;
        random_seed(&random, seed, i); /* a stream each: one tensor's size does not move the others */
        status = shuffle_parameter(&copy->parameters[i], context, &random);
    }
    if (status != SN_OK) {
        sn_model_free(copy);
        return status;
    }
    *out = copy;
    return SN_OK;
}
