/* Writing a checkpoint. */
#include "train/checkpoint.h"

#include <math.h>
#include <string.h>

#include "base/file.h"
#include "train/trainer.h"

/* Failure is sticky, so that only the end needs a check. */
struct writer {
    struct file_writer file;
    struct sn_context *context;
    int status;
};

static void put(struct writer *writer, const void *bytes, size_t size)
{
    if (writer->status == SN_OK && size)
        writer->status = file_write(&writer->file, writer->context, bytes, size);
}

static void put_count(struct writer *writer, size_t count)
{
    uint64_t value = count;
    put(writer, &value, sizeof value);
}

static void put_number(struct writer *writer, double value)
{
    put(writer, &value, sizeof value);
}

static void put_text(struct writer *writer, const char *text)
{
    put_count(writer, strlen(text));
    put(writer, text, strlen(text));
}

static double setting_value(const struct train_settings *settings, const struct option_spec *spec)
{
    const char *field = (const char *)settings + spec->offset;
    if (spec->kind == OPTION_INTEGER)
        return (double)*(const size_t *)(const void *)field;
    if (spec->kind == OPTION_CHOICE)
        return (double)*(const int *)(const void *)field;
    return *(const double *)(const void *)field;
}

static void put_header(struct writer *writer, const struct sn_trainer *trainer)
{
    const uint32_t marks[2] = {CHECKPOINT_BYTE_ORDER, CHECKPOINT_VERSION};
    put(writer, CHECKPOINT_MAGIC, 8);
    put(writer, marks, sizeof marks);
    put_count(writer, n_train_option_specs);
    for (size_t i = 0; i < n_train_option_specs; i++) {
        put_text(writer, train_option_specs[i].key);
        put_number(writer, setting_value(&trainer->settings, &train_option_specs[i]));
    }
    put_count(writer, trainer->step);
    put_number(writer, trainer->loss);
    put_number(writer, trainer->text_loss);
    put_number(writer, trainer->task_loss);
    put_number(writer, trainer->gradient_rms);
    put_number(writer, trainer->learning_rate);
    put_text(writer, trainer->model->config_json);
}

#define COLUMNS ((size_t)1024) /* put at once */

static void put_columns(struct writer *writer, const struct pattern *pattern)
{
    uint32_t columns[COLUMNS];
    for (size_t first = 0; first < pattern->nnz; first += COLUMNS) {
        size_t n = pattern->nnz - first < COLUMNS ? pattern->nnz - first : COLUMNS;
        pattern_read_columns(columns, pattern, first, n);
        put(writer, columns, n * sizeof *columns);
    }
}

static void put_parameter(struct writer *writer, const struct parameter *parameter)
{
    const struct pattern *pattern = parameter->matrix ? parameter->matrix->pattern : NULL;
    put_text(writer, parameter->name);
    if (!parameter->matrix && !parameter->vector) {
        put_count(writer, STORAGE_ABSENT);
        return;
    }
    size_t n = parameter_size(parameter);
    put_count(writer, pattern ? STORAGE_SPARSE : parameter->matrix ? STORAGE_DENSE : STORAGE_VECTOR);
    put_count(writer, n);
    if (pattern) {
        put(writer, pattern->row_start, (pattern->rows + 1) * sizeof(uint32_t));
        put_columns(writer, pattern);
    }
    put(writer, parameter->matrix ? parameter->matrix->values : parameter->vector, n * sizeof(float));
}

static void put_state(struct writer *writer, const struct sn_trainer *trainer,
                      const struct train_parameter *parameter)
{
    const struct sn_matrix *matrix = train_model_parameter(trainer, parameter)->matrix;
    int has_keep = parameter->keep && !(matrix && matrix->pattern); /* a sparse matrix tells it */
    put_count(writer, parameter->support);
    put_count(writer, (size_t)parameter->minimum_lowered);
    put_count(writer, (size_t)has_keep);
    put(writer, parameter->keep, has_keep ? parameter->elements : 0);
    put_count(writer, parameter->n_values);
    put(writer, parameter->first, parameter->n_values * sizeof(float));
    put(writer, parameter->second, parameter->n_values * sizeof(float));
}

/* A training that has gone out of the numbers must not take the place of its last good checkpoint, and what is written
 * must be read. */
static int check_finite(const struct sn_trainer *trainer)
{
    const struct kernel_table *kernels = trainer->context->kernels;
    for (size_t i = 0; i < trainer->model->n_parameters; i++) {
        const struct parameter *parameter = &trainer->model->parameters[i];
        if ((parameter->matrix || parameter->vector) &&
            !isfinite(kernels->sum_of_squares(parameter_values(parameter), parameter_size(parameter))))
            return fail(trainer->context, SN_ERROR_NUMERIC,
                        "sn_trainer_save: not all weights of %s are finite numbers", parameter->name);
    }
    for (size_t i = 0; i < trainer->n_parameters; i++)
        if (!train_moments_are_sound(trainer, &trainer->parameters[i]))
            return fail(trainer->context, SN_ERROR_NUMERIC,
                        "sn_trainer_save: not all moments of %s are finite numbers",
                        train_model_parameter(trainer, &trainer->parameters[i])->name);
    return SN_OK;
}

int sn_trainer_save(sn_trainer *trainer, const char *path)
{
    if (!trainer)
        return SN_ERROR_ARGUMENT;
    struct writer writer = {.context = trainer->context};
    if (!path)
        return fail(trainer->context, SN_ERROR_ARGUMENT, "sn_trainer_save: path is NULL");
    int status = trainer_check_whole(trainer, "sn_trainer_save");
    if (status == SN_OK)
        status = check_finite(trainer);
    if (status != SN_OK)
        return status;
    writer.status = file_writer_open(&writer.file, trainer->context, path);
    if (writer.status != SN_OK)
        return writer.status;
    put_header(&writer, trainer);
    put_count(&writer, trainer->model->n_parameters);
    for (size_t i = 0; i < trainer->model->n_parameters; i++)
        put_parameter(&writer, &trainer->model->parameters[i]);
    for (size_t i = 0; i < trainer->n_parameters; i++)
        put_state(&writer, trainer, &trainer->parameters[i]);
    uint32_t checksum = writer.file.checksum;
    put(&writer, &checksum, sizeof checksum);
    if (writer.status == SN_OK)
        return file_writer_commit(&writer.file, trainer->context);
    file_writer_abort(&writer.file);
    return writer.status;
}
