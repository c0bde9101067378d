/* What a trainer can tell about itself. */
#include "train/trainer.h"

#include <string.h>

/* Kept entries (or all) of the parameters of classes first..last. */
static double count(const struct sn_trainer *trainer, enum density_class first, enum density_class last,
                    int kept)
{
    size_t sum = 0;
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        const struct train_parameter *parameter = &trainer->parameters[i];
        if (parameter->class >= first && parameter->class <= last)
            sum += kept ? parameter->support : parameter->elements;
    }
    return (double)sum;
}

static double step(const struct sn_trainer *trainer)
{
    return (double)trainer->step;
}

static double steps(const struct sn_trainer *trainer)
{
    return (double)trainer->settings.steps;
}

static double loss(const struct sn_trainer *trainer)
{
    return trainer->loss;
}

static double text_loss(const struct sn_trainer *trainer)
{
    return trainer->text_loss;
}

static double task_loss(const struct sn_trainer *trainer)
{
    return trainer->task_loss;
}

static double learning_rate(const struct sn_trainer *trainer)
{
    return trainer->learning_rate;
}

static double rms(const struct sn_trainer *trainer)
{
    return trainer->gradient_rms;
}

static double density(const struct sn_trainer *trainer)
{
    double all = count(trainer, CLASS_MATRIX, CLASS_MATRIX, 0);
    return all > 0 ? count(trainer, CLASS_MATRIX, CLASS_MATRIX, 1) / all : 0;
}

static double nonzeros(const struct sn_trainer *trainer)
{
    return count(trainer, CLASS_MATRIX, CLASS_EMBEDDING, 1);
}

static double parameters(const struct sn_trainer *trainer)
{
    return count(trainer, CLASS_MATRIX, CLASS_EMBEDDING, 0);
}

static int row_is_empty(const struct sn_matrix *matrix, size_t row)
{
    const struct pattern *pattern = matrix->pattern;
    size_t first = pattern ? pattern->row_start[row] : row * matrix->cols;
    size_t last = pattern ? pattern->row_start[row + 1] : first + matrix->cols;
    for (size_t i = first; i < last; i++)
        if (matrix->values[i] != 0)
            return 0;
    return 1;
}

static int column_is_empty(const struct sn_matrix *matrix, size_t col)
{
    const struct pattern_columns *columns =
        matrix->pattern ? pattern_columns_made(matrix->pattern) : NULL;
    size_t n = columns ? columns->start[col + 1] - columns->start[col] : matrix->rows;
    for (size_t i = 0; i < n; i++) {
        size_t entry = columns ? columns->entry[columns->start[col] + i] : i * matrix->cols + col;
        if (matrix->values[entry] != 0)
            return 0;
    }
    return 1;
}

/* What column_is_empty looks at. */
static int prepare_columns(struct sn_trainer *trainer)
{
    const struct sn_model *model = trainer->model;
    const struct pattern_columns *columns;
    int status = SN_OK;
    for (size_t l = 0; l < model->config.n_layer && status == SN_OK; l++) {
        const struct sn_matrix *writes = model->parameters[model->layers[l].mlp_proj].matrix;
        if (writes->pattern)
            status = pattern_entries(&columns, trainer->context, writes->pattern);
    }
    return status;
}

/* MLP neurons that read nothing or write nothing. */
static double dead_neurons(const struct sn_trainer *trainer)
{
    const struct sn_model *model = trainer->model;
    size_t dead = 0;
    for (size_t l = 0; l < model->config.n_layer; l++) {
        const struct sn_matrix *reads = model->parameters[model->layers[l].c_fc].matrix;
        const struct sn_matrix *writes = model->parameters[model->layers[l].mlp_proj].matrix;
        for (size_t n = 0; n < model->config.d_mlp; n++)
            dead += row_is_empty(reads, n) || column_is_empty(writes, n);
    }
    return (double)dead;
}

static double minimum_lowered(const struct sn_trainer *trainer)
{
    size_t lowered = 0;
    for (size_t i = 0; i < trainer->n_parameters; i++)
        lowered += trainer->parameters[i].minimum_lowered != 0;
    return (double)lowered;
}

static const struct statistic {
    const char *name;
    double (*value)(const struct sn_trainer *trainer);
} table[] = {
    {"step", step},
    {"steps", steps},
    {"loss", loss},
    {"text_loss", text_loss},
    {"task_loss", task_loss},
    {"learning_rate", learning_rate},
    {"density", density},
    {"gradient_rms", rms},
    {"nonzeros", nonzeros},
    {"parameters", parameters},
    {"dead_neurons", dead_neurons},
    {"minimum_lowered", minimum_lowered},
};

int sn_trainer_statistic(double *value, sn_trainer *trainer, const char *name)
{
    if (!trainer)
        return SN_ERROR_ARGUMENT;
    if (!value || !name)
        return fail(trainer->context, SN_ERROR_ARGUMENT, "sn_trainer_statistic: %s is NULL",
                    value ? "name" : "value");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, name) == 0) {
            int status = table[i].value == dead_neurons ? prepare_columns(trainer) : SN_OK;
            if (status == SN_OK)
                *value = table[i].value(trainer);
            return status;
        }
    }
    return fail(trainer->context, SN_ERROR_ARGUMENT, "sn_trainer_statistic: no statistic is called %s",
                name);
}

/* One batch of validation windows; adds its loss, weighted by its tokens. */
static int validate_batch(double *sum, size_t *n_tokens, struct sn_trainer *trainer,
                          const sn_corpus *corpus, size_t first, size_t n)
{
    struct train_windows *windows = &trainer->windows;
    double value = 0;
    int status = windows_draw_corpus(windows, trainer->context, corpus, n, trainer->settings.window,
                                     0x56414C4944415445u, first);
    if (status == SN_OK) /* a step with prompts has selected some */
        status = sn_session_select_logits(trainer->session, NULL, 0);
    if (status == SN_OK)
        status = sn_session_forward(trainer->session, windows->tokens, windows->offsets, n);
    if (status == SN_OK)
        status = sn_session_loss(&value, trainer->session, windows->targets);
    *sum += value * (double)windows->offsets[n];
    *n_tokens += windows->offsets[n];
    return status;
}

int sn_trainer_validate(double *result, sn_trainer *trainer, const sn_corpus *corpus, size_t n_windows)
{
    if (!trainer)
        return SN_ERROR_ARGUMENT;
    if (!result || !corpus || !n_windows)
        return fail(trainer->context, SN_ERROR_ARGUMENT, "sn_trainer_validate: %s",
                    !result   ? "loss is NULL"
                    : !corpus ? "corpus is NULL"
                              : "n_windows is 0");
    int status = trainer_check_whole(trainer, "sn_trainer_validate");
    double sum = 0;
    size_t n_tokens = 0, batch = trainer->settings.batch;
    for (size_t first = 0; first < n_windows; first += batch) {
        size_t n = n_windows - first < batch ? n_windows - first : batch;
        if (status == SN_OK)
            status = validate_batch(&sum, &n_tokens, trainer, corpus, first, n);
    }
    if (status != SN_OK)
        return status;
    *result = sum / (double)n_tokens;
    return SN_OK;
}
