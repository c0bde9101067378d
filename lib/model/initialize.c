#include <math.h>
#include <string.h>

#include "base/random.h"
#include "model/model.h"

#define STANDARD_DEVIATION 0.02
#define BIGRAM_LIMIT 0.02

static void fill_normal(float *values, size_t n, struct random_state *random, double deviation)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(deviation * random_normal(random));
}

/* block_size x width: width / 2 periods, log-spaced from 4 to block_size tokens; all sines, then all
 * cosines, zeros in an odd last channel (the released code's table). */
static void fill_sinusoids(float *values, size_t block_size, size_t width)
{
    size_t half = width > 1 ? width / 2 : 1;
    double low = log10(4.0), high = log10(block_size > 4 ? (double)block_size : 4.0);
    for (size_t t = 0; t < block_size; t++)
        for (size_t c = 0; c < width; c++) {
            size_t j = c % half;
            double exponent = half > 1 ? low + (high - low) * (double)j / (double)(half - 1) : low;
            double angle = (double)t * 2 * 3.14159265358979323846 / pow(10.0, exponent);
            double value = c < half ? sin(angle) : c < 2 * half ? cos(angle) : 0;
            values[t * width + c] = (float)value;
        }
}

/* c_proj writes into the residual stream: 2 n_layer such terms are summed there. */
static double deviation_of(const struct config *config, const struct parameter *parameter)
{
    int writes_residual = parameter->role == ROLE_MATRIX && parameter->axis == SN_AXIS_COLUMN;
    return writes_residual ? STANDARD_DEVIATION / sqrt(2.0 * (double)config->n_layer)
                           : STANDARD_DEVIATION;
}

static void fill_matrix(float *values, const struct config *config, const struct parameter *parameter,
                        struct random_state *random)
{
    size_t n = parameter->rows * parameter->cols;
    if (parameter->role == ROLE_POSITION && config->sinusoidal_cat_pos_emb)
        fill_sinusoids(values, parameter->rows, parameter->cols);
    else if (parameter->role == ROLE_BIGRAM)
        for (size_t i = 0; i < n; i++)
            values[i] = (float)(BIGRAM_LIMIT * random_uniform(random));
    else
        fill_normal(values, n, random, deviation_of(config, parameter));
}

static int create_matrix(struct parameter *parameter, struct sn_context *context,
                         const struct config *config, struct random_state *random)
{
    int status =
        matrix_create_dense(&parameter->matrix, context, parameter->rows, parameter->cols, NULL);
    if (status != SN_OK)
        return status;
    fill_matrix(parameter->matrix->values, config, parameter, random);
    return matrix_values_changed(parameter->matrix, context);
}

/* Gains are 1; biases, sinks and the bias of the logits 0. */
static int create_vector(struct parameter *parameter, struct sn_context *context)
{
    size_t n = parameter->rows, length = strlen(parameter->name);
    int gain = parameter->role == ROLE_NORM && strcmp(parameter->name + length - 7, ".weight") == 0;
    parameter->vector = memory_allocate_array(context->memory, n, sizeof(float));
    if (!parameter->vector)
        return fail_memory(context, parameter->name, n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        parameter->vector[i] = gain ? 1.0f : 0.0f;
    return SN_OK;
}

int sn_model_create(sn_model **out, sn_context *context, const char *config_json, size_t length,
                    uint64_t seed)
{
    struct config config;
    struct sn_model *model;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!config_json)
        return fail(context, SN_ERROR_ARGUMENT, "sn_model_create: config_json is NULL");
    int status = config_parse(&config, context, config_json, length, "configuration");
    if (status == SN_OK)
        status = model_allocate(&model, context, &config);
    if (status != SN_OK)
        return status;
    for (size_t i = 0; i < model->n_parameters && status == SN_OK; i++) {
        struct parameter *parameter = &model->parameters[i];
        struct random_state random;
        random_seed(&random, seed, i); /* a stream each: one tensor's size does not move the others */
        status = parameter->cols ? create_matrix(parameter, context, &config, &random)
                                 : create_vector(parameter, context);
    }
    if (status != SN_OK) {
        sn_model_free(model);
        return status;
    }
    *out = model;
    return SN_OK;
}
