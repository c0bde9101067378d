/* A dense folder in the released layout, for tools that know nothing of sparse tensors. */
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "format/safetensors.h"
#include "model/model.h"

static int write_matrix(struct safetensors_writer *writer, struct sn_context *context,
                        const struct sn_matrix *matrix, float *row)
{
    int status = SN_OK;
    for (size_t r = 0; r < matrix->rows && status == SN_OK; r++) {
        matrix_row(row, matrix, r);
        status = safetensors_write_floats(writer, context, row, matrix->cols);
    }
    return status;
}

static int write_parameters(struct safetensors_writer *writer, struct sn_context *context,
                            const struct sn_model *model, float *row)
{
    int status = safetensors_writer_begin(writer, context);
    for (size_t i = 0; i < model->n_parameters && status == SN_OK; i++) {
        const struct parameter *parameter = &model->parameters[i];
        if (parameter->matrix)
            status = write_matrix(writer, context, parameter->matrix, row);
        else if (parameter->vector)
            status = safetensors_write_floats(writer, context, parameter->vector, parameter->rows);
        if (status == SN_OK)
            status = progress(context, "export", i + 1, model->n_parameters, 0);
    }
    return status;
}

static size_t longest_row(const struct sn_model *model)
{
    size_t longest = 1;
    for (size_t i = 0; i < model->n_parameters; i++)
        if (model->parameters[i].cols > longest)
            longest = model->parameters[i].cols;
    return longest;
}

/* One row at a time: no dense copy of a tensor is ever held. */
static int export_weights(struct sn_context *context, const struct sn_model *model, const char *path)
{
    struct safetensors_writer writer;
    const size_t width = longest_row(model);
    float *row = memory_allocate_array(context->memory, width, sizeof *row);
    if (!row)
        return fail_memory(context, "a row of weights", width * sizeof *row);
    int status = safetensors_writer_open(&writer, context, path);
    if (status == SN_OK) {
        for (size_t i = 0; i < model->n_parameters; i++) {
            const struct parameter *parameter = &model->parameters[i];
            const uint64_t shape[2] = {parameter->rows, parameter->cols};
            if (parameter->matrix || parameter->vector)
                safetensors_writer_declare(&writer, parameter->name, TENSOR_F32, shape,
                                           parameter->matrix ? 2 : 1);
        }
        status = write_parameters(&writer, context, model, row);
        if (status == SN_OK)
            status = safetensors_writer_commit(&writer, context);
        else
            safetensors_writer_abort(&writer);
    }
    memory_free(context->memory, row, width * sizeof *row);
    return status;
}

static int export_config(struct sn_context *context, const struct sn_model *model, const char *path)
{
    struct file_writer file;
    int status = file_writer_open(&file, context, path);
    if (status != SN_OK)
        return status;
    status = file_write(&file, context, model->config_json, strlen(model->config_json));
    if (status == SN_OK)
        status = file_write(&file, context, "\n", 1);
    if (status == SN_OK)
        return file_writer_commit(&file, context);
    file_writer_abort(&file);
    return status;
}

int sn_model_export(const sn_model *model, sn_context *context, const char *directory)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!model || !directory)
        return fail(context, SN_ERROR_ARGUMENT, "sn_model_export: %s is NULL",
                    model ? "directory" : "model");
    if (model->config.held_nodes)
        return fail(context, SN_ERROR_UNSUPPORTED,
                    "sn_model_export: the released layout has no held_nodes; sn_model_save keeps them");
    char *weights = file_path_join(context->memory, directory, "model.safetensors");
    char *config = file_path_join(context->memory, directory, "config.json");
    int status = SN_OK;
    if (!weights || !config)
        status = fail_memory(context, "a path", 0);
    else
        status = file_make_folder(context, directory);
    if (status == SN_OK)
        status = export_weights(context, model, weights);
    if (status == SN_OK)
        status = export_config(context, model, config);
    file_path_free(context->memory, weights);
    file_path_free(context->memory, config);
    return status;
}
