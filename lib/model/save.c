#include <string.h>

#include "format/safetensors.h"
#include "model/model.h"
#include "model/native.h"

static void declare(struct safetensors_writer *writer, const struct parameter *parameter,
                    const char *suffix, enum tensor_type type, const uint64_t *dimensions, size_t n)
{
    char name[160];
    size_t length = strlen(parameter->name);
    memcpy(name, parameter->name, length);
    memcpy(name + length, suffix, strlen(suffix) + 1);
    safetensors_writer_declare(writer, name, type, dimensions, n);
}

static int has_short_indices(const struct parameter *parameter)
{
    return parameter->matrix && parameter->matrix->pattern && parameter->cols <= 65536;
}

/* Other readers map the file and want every tensor aligned: the 16-bit indices of all tensors go behind
 * everything that is 32 bits wide. */
static void declare_parameter(struct safetensors_writer *writer, const struct parameter *parameter)
{
    const uint64_t dense[2] = {parameter->rows, parameter->cols}, n_rows = parameter->rows + 1;
    if (!parameter->matrix && !parameter->vector)
        return;
    if (!parameter->matrix || !parameter->matrix->pattern) {
        declare(writer, parameter, "", TENSOR_F32, dense, parameter->matrix ? 2 : 1);
        return;
    }
    const uint64_t nnz = parameter->matrix->pattern->nnz;
    declare(writer, parameter, TENSOR_INDPTR, TENSOR_U32, &n_rows, 1);
    declare(writer, parameter, TENSOR_VALUES, TENSOR_F32, &nnz, 1);
    if (!has_short_indices(parameter))
        declare(writer, parameter, TENSOR_INDICES, TENSOR_U32, &nnz, 1);
}

static void declare_short_indices(struct safetensors_writer *writer, const struct parameter *parameter)
{
    if (!has_short_indices(parameter))
        return;
    const uint64_t nnz = parameter->matrix->pattern->nnz;
    declare(writer, parameter, TENSOR_INDICES, TENSOR_U16, &nnz, 1);
}

#define INDICES ((size_t)1024) /* written at once */

static int write_columns(struct safetensors_writer *writer, struct sn_context *context,
                         enum tensor_type type, const struct pattern *pattern)
{
    uint32_t columns[INDICES];
    int status = SN_OK;
    for (size_t first = 0; first < pattern->nnz && status == SN_OK; first += INDICES) {
        size_t n = pattern->nnz - first < INDICES ? pattern->nnz - first : INDICES;
        pattern_read_columns(columns, pattern, first, n);
        status = safetensors_write_indices(writer, context, type, columns, n);
    }
    return status;
}

static int write_parameter(struct safetensors_writer *writer, struct sn_context *context,
                           const struct parameter *parameter)
{
    if (!parameter->matrix && !parameter->vector)
        return SN_OK;
    const struct pattern *pattern = parameter->matrix ? parameter->matrix->pattern : NULL;
    int status = SN_OK;
    if (pattern)
        status = safetensors_write_indices(writer, context, TENSOR_U32, pattern->row_start,
                                           parameter->rows + 1);
    if (status == SN_OK)
        status = safetensors_write_floats(writer, context, parameter_values(parameter),
                                          parameter_size(parameter));
    if (status == SN_OK && pattern && !has_short_indices(parameter))
        status = write_columns(writer, context, TENSOR_U32, pattern);
    return status;
}

static int write_short_indices(struct safetensors_writer *writer, struct sn_context *context,
                               const struct parameter *parameter)
{
    if (!has_short_indices(parameter))
        return SN_OK;
    const struct pattern *pattern = parameter->matrix->pattern;
    return write_columns(writer, context, TENSOR_U16, pattern);
}

/* In the order of the declarations. */
static int write_data(struct safetensors_writer *writer, struct sn_context *context,
                      const struct sn_model *model)
{
    int status = safetensors_writer_begin(writer, context);
    for (size_t i = 0; i < model->n_parameters && status == SN_OK; i++) {
        status = write_parameter(writer, context, &model->parameters[i]);
        if (status == SN_OK)
            status = progress(context, "save", i + 1, model->n_parameters, 0);
    }
    for (size_t i = 0; i < model->n_parameters && status == SN_OK; i++)
        status = write_short_indices(writer, context, &model->parameters[i]);
    return status;
}

int sn_model_save(const sn_model *model, sn_context *context, const char *path)
{
    struct safetensors_writer writer;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!model || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_model_save: %s is NULL", model ? "path" : "model");
    int status = safetensors_writer_open(&writer, context, path);
    if (status != SN_OK)
        return status;
    safetensors_writer_metadata(&writer, NATIVE_VERSION_KEY, NATIVE_VERSION);
    safetensors_writer_metadata(&writer, NATIVE_CONFIG_KEY, model->config_json);
    for (size_t i = 0; i < model->n_parameters; i++)
        declare_parameter(&writer, &model->parameters[i]);
    for (size_t i = 0; i < model->n_parameters; i++)
        declare_short_indices(&writer, &model->parameters[i]);
    status = write_data(&writer, context, model);
    if (status == SN_OK)
        return safetensors_writer_commit(&writer, context);
    safetensors_writer_abort(&writer);
    return status;
}
