/* Reading a checkpoint. The checksum comes first; nevertheless no length or index in the file is
 * trusted. */
#include <math.h>
#include <string.h>

#include "base/checksum.h"
#include "base/file.h"
#include "train/checkpoint.h"
#include "train/trainer.h"

#define TRAILER sizeof(uint32_t)
#define CHUNK ((size_t)1 << 18)

/* Failure is sticky; after one all reads give zeros. */
struct reader {
    struct file_reader file;
    struct sn_context *context;
    uint64_t offset;
    int status;
};

static void take(struct reader *reader, void *bytes, size_t size)
{
    if (reader->status == SN_OK)
        reader->status = file_read_at(&reader->file, reader->context, reader->offset, bytes, size);
    if (reader->status != SN_OK)
        memset(bytes, 0, size);
    reader->offset += size;
}

static int refuse(struct reader *reader, const char *what)
{
    if (reader->status == SN_OK)
        reader->status = fail(reader->context, SN_ERROR_FORMAT, "%s: %s (at byte %llu)",
                              reader->file.path, what, (unsigned long long)reader->offset);
    return reader->status;
}

static size_t take_count(struct reader *reader)
{
    uint64_t value;
    take(reader, &value, sizeof value);
    if (value > SIZE_MAX / 16)
        refuse(reader, "an impossible count");
    return reader->status == SN_OK ? (size_t)value : 0;
}

static double take_number(struct reader *reader)
{
    double value;
    take(reader, &value, sizeof value);
    return value;
}

static double take_statistic(struct reader *reader)
{
    double value = take_number(reader);
    if (!isfinite(value))
        refuse(reader, "a statistic that is no finite number");
    return value;
}

/* A count of elements that follow in the file, so that no allocation exceeds what the file holds. */
static size_t take_length(struct reader *reader, size_t element_size)
{
    size_t n = take_count(reader);
    if (reader->status == SN_OK && n > (reader->file.size - reader->offset) / element_size)
        refuse(reader, "a length beyond the end of the file");
    return reader->status == SN_OK ? n : 0;
}

/* Text that must be exactly `expected`. */
static void take_expected(struct reader *reader, const char *expected, const char *what)
{
    char text[256] = {0};
    size_t length = take_length(reader, 1), wanted = strlen(expected);
    if (reader->status == SN_OK && (length != wanted || length >= sizeof text))
        refuse(reader, what);
    if (reader->status == SN_OK)
        take(reader, text, length);
    if (reader->status == SN_OK && memcmp(text, expected, wanted) != 0)
        refuse(reader, what);
}

/* ------------------------------------------------------------------- the whole */

static int check_marks(struct reader *reader)
{
    char magic[8];
    uint32_t marks[2];
    take(reader, magic, sizeof magic);
    if (reader->status == SN_OK && memcmp(magic, CHECKPOINT_MAGIC, sizeof magic) != 0)
        return fail(reader->context, SN_ERROR_FORMAT, "%s: not a checkpoint of a trainer",
                    reader->file.path);
    take(reader, marks, sizeof marks);
    if (reader->status == SN_OK && marks[0] != CHECKPOINT_BYTE_ORDER)
        return fail(reader->context, SN_ERROR_UNSUPPORTED,
                    "%s: written on a machine of another byte order", reader->file.path);
    if (reader->status == SN_OK && marks[1] != CHECKPOINT_VERSION)
        return fail(reader->context, SN_ERROR_UNSUPPORTED,
                    "%s: checkpoint version %u; this is version %u", reader->file.path,
                    (unsigned)marks[1], CHECKPOINT_VERSION);
    return reader->status;
}

static int check_sum(struct reader *reader)
{
    struct file_reader *file = &reader->file;
    unsigned char *chunk = memory_allocate(reader->context->memory, CHUNK);
    uint32_t checksum = 0, expected = 0;
    int status = chunk ? SN_OK : fail_memory(reader->context, "a checkpoint", CHUNK);
    uint64_t end = file->size < TRAILER ? 0 : file->size - TRAILER;
    for (uint64_t at = 0; status == SN_OK && at < end; at += CHUNK) {
        size_t n = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
        status = file_read_at(file, reader->context, at, chunk, n);
        if (status == SN_OK)
            checksum = checksum_update(checksum, chunk, n);
    }
    memory_free(reader->context->memory, chunk, CHUNK);
    if (status == SN_OK)
        status = file_read_at(file, reader->context, end, &expected, sizeof expected);
    if (status == SN_OK && checksum != expected)
        status = fail(reader->context, SN_ERROR_FORMAT,
                      "%s: the checksum is %08x, the file says %08x: it is damaged or cut short",
                      file->path, (unsigned)checksum, (unsigned)expected);
    return status;
}

/* -------------------------------------------------------------------- settings */

static void store_setting(struct reader *reader, struct train_settings *settings,
                          const struct option_spec *spec, double value)
{
    char *field = (char *)settings + spec->offset;
    double choices = 1;
    for (const char *c = spec->choices; c && *c; c++)
        choices += *c == '|';
    int is_choice = spec->kind == OPTION_CHOICE, whole = spec->kind != OPTION_NUMBER;
    double low = is_choice ? 0 : spec->minimum, high = is_choice ? choices - 1 : spec->maximum;
    if (!(value >= low && value <= high) || (whole && value != floor(value)))
        refuse(reader, spec->key);
    else if (is_choice)
        *(int *)(void *)field = (int)value;
    else if (whole)
        *(size_t *)(void *)field = (size_t)value;
    else
        *(double *)(void *)field = value;
}

static void take_settings(struct reader *reader, struct train_settings *settings)
{
    memset(settings, 0, sizeof *settings);
    if (take_count(reader) != n_train_option_specs)
        refuse(reader, "another number of settings");
    for (size_t i = 0; reader->status == SN_OK && i < n_train_option_specs; i++) {
        const struct option_spec *spec = &train_option_specs[i];
        take_expected(reader, spec->key, "an unknown setting");
        double value = take_number(reader);
        if (reader->status == SN_OK)
            store_setting(reader, settings, spec, value);
    }
}

static void take_config(struct reader *reader, struct config *config)
{
    struct memory *memory = reader->context->memory;
    size_t length = take_length(reader, 1);
    char *json = memory_allocate(memory, length + 1);
    if (!json && reader->status == SN_OK)
        reader->status = fail_memory(reader->context, "a configuration", length);
    if (json) {
        take(reader, json, length);
        json[length] = '\0';
    }
    if (reader->status == SN_OK)
        reader->status = config_parse(config, reader->context, json, length, reader->file.path);
    memory_free(memory, json, length + 1);
}

/* ---------------------------------------------------------------------- tensors */

/* A NaN or an infinity would go on into every number that the trainer gives. */
static void check_finite(struct reader *reader, const char *name, const float *values, size_t n)
{
    if (reader->status == SN_OK && !isfinite(reader->context->kernels->sum_of_squares(values, n)))
        reader->status = fail(reader->context, SN_ERROR_FORMAT,
                              "%s: %s: not all are finite numbers (in front of byte %llu)",
                              reader->file.path, name, (unsigned long long)reader->offset);
}

static float *take_floats(struct reader *reader, const char *name, size_t n)
{
    float *values = memory_allocate_array(reader->context->memory, n, sizeof *values);
    if (values)
        take(reader, values, n * sizeof *values);
    else if (reader->status == SN_OK)
        reader->status = fail_memory(reader->context, "a tensor of a checkpoint", n * sizeof *values);
    if (values)
        check_finite(reader, name, values, n);
    return values;
}

static int pattern_is_valid(const uint32_t *row_start, const uint32_t *col_index, size_t rows,
                            size_t cols, size_t n)
{
    if (row_start[0] != 0 || row_start[rows] != n)
        return 0;
    for (size_t r = 0; r < rows; r++) {
        if (row_start[r + 1] < row_start[r] || row_start[r + 1] > n)
            return 0;
        for (size_t i = row_start[r]; i < row_start[r + 1]; i++)
            if (col_index[i] >= cols || (i > row_start[r] && col_index[i] <= col_index[i - 1]))
                return 0;
    }
    return 1;
}

static void take_pattern(struct reader *reader, struct pattern **pattern,
                         const struct parameter *parameter, size_t n)
{
    struct memory *memory = reader->context->memory;
    size_t start_bytes = (parameter->rows + 1) * sizeof(uint32_t), bytes = n * sizeof(uint32_t);
    *pattern = NULL;
    if (start_bytes > reader->file.size) {
        refuse(reader, "a sparse tensor beyond the end of the file");
        return;
    }
    uint32_t *row_start = memory_allocate(memory, start_bytes),
             *col_index = memory_allocate(memory, bytes);
    if (row_start && col_index) {
        take(reader, row_start, start_bytes);
        take(reader, col_index, bytes);
        if (reader->status == SN_OK &&
            !pattern_is_valid(row_start, col_index, parameter->rows, parameter->cols, n))
            refuse(reader, "a malformed sparse tensor");
        if (reader->status == SN_OK)
            reader->status = pattern_create(pattern, reader->context, parameter->rows, parameter->cols,
                                            row_start, col_index);
    } else if (reader->status == SN_OK) {
        reader->status = fail_memory(reader->context, "a sparse tensor", start_bytes + bytes);
    }
    memory_free(memory, row_start, start_bytes);
    memory_free(memory, col_index, bytes);
}

static void take_matrix(struct reader *reader, struct parameter *parameter, int sparse)
{
    size_t n = take_length(reader, sizeof(float)), elements = parameter->rows * parameter->cols;
    struct pattern *pattern = NULL;
    if (n > elements || (!sparse && n != elements))
        refuse(reader, parameter->name);
    if (sparse && reader->status == SN_OK)
        take_pattern(reader, &pattern, parameter, n);
    if (reader->status != SN_OK) /* n is not to be trusted */
        return;
    float *values = take_floats(reader, parameter->name, n);
    if (reader->status == SN_OK)
        reader->status = sparse
                             ? matrix_create_sparse(&parameter->matrix, reader->context, pattern, values)
                             : matrix_create_dense(&parameter->matrix, reader->context, parameter->rows,
                                                   parameter->cols, values);
    memory_free(reader->context->memory, values, n * sizeof *values);
    pattern_release(pattern);
}

static void take_parameter(struct reader *reader, struct parameter *parameter)
{
    take_expected(reader, parameter->name, "an unexpected tensor name");
    size_t storage = take_count(reader);
    if (reader->status != SN_OK || storage == STORAGE_ABSENT)
        return;
    int is_matrix = parameter->cols != 0;
    if (is_matrix && (storage == STORAGE_DENSE || storage == STORAGE_SPARSE))
        take_matrix(reader, parameter, storage == STORAGE_SPARSE);
    else if (!is_matrix && storage == STORAGE_VECTOR &&
             take_length(reader, sizeof(float)) == parameter->rows)
        parameter->vector = take_floats(reader, parameter->name, parameter->rows);
    else
        refuse(reader, parameter->name);
}

static int take_model(struct reader *reader, struct sn_model **out, const struct config *config)
{
    *out = NULL;
    if (reader->status == SN_OK)
        reader->status = model_allocate(out, reader->context, config);
    struct sn_model *model = *out;
    if (reader->status != SN_OK)
        return reader->status;
    if (take_count(reader) != model->n_parameters)
        refuse(reader, "another number of tensors than the configuration's");
    for (size_t i = 0; reader->status == SN_OK && i < model->n_parameters; i++)
        take_parameter(reader, &model->parameters[i]);
    if (reader->status == SN_OK)
        reader->status = model_check_complete(model, reader->context, reader->file.path);
    if (reader->status != SN_OK) {
        sn_model_free(model);
        *out = NULL;
    }
    return reader->status;
}

/* ------------------------------------------------------------- training state */

static void take_keep(struct reader *reader, struct sn_trainer *trainer,
                      struct train_parameter *parameter)
{
    if (reader->status == SN_OK && reader->offset + parameter->elements > reader->file.size)
        refuse(reader, "a keep mask beyond the end of the file");
    if (reader->status == SN_OK)
        reader->status = train_keep_create(trainer->context, parameter);
    if (reader->status == SN_OK)
        take(reader, parameter->keep, parameter->elements);
    for (size_t i = 0; reader->status == SN_OK && i < parameter->elements; i++)
        parameter->keep[i] = parameter->keep[i] != 0;
}

static void take_state(struct reader *reader, struct sn_trainer *trainer,
                       struct train_parameter *parameter)
{
    const struct parameter *model = train_model_parameter(trainer, parameter);
    parameter->support = take_count(reader);
    parameter->minimum_lowered = take_count(reader) != 0;
    if (parameter->support > parameter->elements)
        refuse(reader, "a support larger than its tensor");
    if (take_count(reader) && reader->status == SN_OK) {
        if (model->matrix && model->matrix->pattern)
            refuse(reader, "a keep mask for a sparse tensor");
        take_keep(reader, trainer, parameter);
    }
    size_t n = take_length(reader, 2 * sizeof(float));
    size_t expected = trainer->settings.gradient == TRAIN_SUPPORT && model->matrix
                          ? model->matrix->n_values
                          : parameter->elements;
    if (reader->status == SN_OK && n != expected)
        refuse(reader, "another number of moments than weights");
    if (reader->status == SN_OK && !parameter->first)
        reader->status = train_moments_create(trainer->context, parameter, n);
    if (reader->status != SN_OK)
        return;
    take(reader, parameter->first, n * sizeof(float));
    take(reader, parameter->second, n * sizeof(float));
    if (reader->status == SN_OK && !train_moments_are_sound(trainer, parameter))
        refuse(reader, "moments that are no finite numbers, or means of squares below zero");
}

static void take_states(struct reader *reader, struct sn_trainer *trainer)
{
    if (reader->status == SN_OK && trainer->settings.gradient == TRAIN_DENSE)
        reader->status = dense_prepare(trainer);
    for (size_t i = 0; reader->status == SN_OK && i < trainer->n_parameters; i++)
        take_state(reader, trainer, &trainer->parameters[i]);
    if (reader->status == SN_OK && reader->offset + TRAILER != reader->file.size)
        refuse(reader, "bytes beyond the last tensor");
}

static int take_trainer(struct reader *reader, struct sn_trainer **out)
{
    struct train_settings settings;
    struct config config;
    struct sn_model *model;
    take_settings(reader, &settings);
    size_t step = take_count(reader);
    double loss = take_statistic(reader), text_loss = take_statistic(reader),
           task_loss = take_statistic(reader);
    double rms = take_statistic(reader), rate = take_statistic(reader);
    if (step > settings.steps)
        refuse(reader, "more steps done than the run has");
    take_config(reader, &config);
    if (reader->status == SN_OK)
        reader->status = settings_check(&settings, reader->context, reader->file.path, &config);
    if (take_model(reader, &model, &config) != SN_OK)
        return reader->status;
    reader->status = trainer_allocate(out, reader->context, model, &settings);
    if (reader->status != SN_OK)
        return reader->status;
    struct sn_trainer *trainer = *out;
    take_states(reader, trainer);
    trainer->step = step;
    trainer->loss = loss;
    trainer->text_loss = text_loss;
    trainer->task_loss = task_loss;
    trainer->gradient_rms = rms;
    trainer->learning_rate = rate;
    return reader->status;
}

int sn_trainer_load(sn_trainer **out, sn_context *context, const char *path)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_trainer_load: path is NULL");
    struct reader reader = {.context = context};
    struct sn_trainer *trainer = NULL;
    int status = file_open(&reader.file, context, path);
    if (status != SN_OK)
        return status;
    status = check_marks(&reader);
    if (status == SN_OK)
        status = check_sum(&reader);
    if (status == SN_OK)
        status = take_trainer(&reader, &trainer);
    file_close(&reader.file);
    if (status != SN_OK) {
        sn_trainer_free(trainer);
        return status;
    }
    *out = trainer;
    return SN_OK;
}
