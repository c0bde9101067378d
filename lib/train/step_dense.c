/* The faithful mode (paper 2.1): gradients, moments and master weights are dense; after each update
 * every matrix keeps its largest entries. While that is most of a matrix, the model's matrix is the
 * master itself; below, a sparse one is built from it at every step that changes the support. */
#include "train/trainer.h"

#include <string.h>

#include "base/threads.h"

/* ------------------------------------------------------------------ the start */

static void keep_pattern(struct train_parameter *parameter, const struct pattern *pattern)
{
    memset(parameter->keep, 0, parameter->elements);
    for (size_t r = 0; r < pattern->rows; r++)
        for (size_t i = pattern->row_start[r]; i < pattern->row_start[r + 1]; i++)
            parameter->keep[r * pattern->cols + pattern_column(pattern, i)] = 1;
    parameter->support = pattern->nnz;
}

static int prepare_matrix(struct sn_trainer *trainer, struct train_parameter *parameter,
                          struct sn_matrix *matrix)
{
    if (!matrix->pattern) {
        parameter->master = matrix;
        return SN_OK;
    }
    int status = train_keep_create(trainer->context, parameter);
    if (status == SN_OK)
        status =
            matrix_create_dense(&parameter->master, trainer->context, matrix->rows, matrix->cols, NULL);
    if (status != SN_OK)
        return status;
    for (size_t r = 0; r < matrix->rows; r++)
        matrix_row(parameter->master->values + r * matrix->cols, matrix, r);
    keep_pattern(parameter, matrix->pattern);
    return SN_OK;
}

int dense_prepare(struct sn_trainer *trainer)
{
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        struct train_parameter *parameter = &trainer->parameters[i];
        struct sn_matrix *matrix = train_model_parameter(trainer, parameter)->matrix;
        int status = train_moments_create(trainer->context, parameter, parameter->elements);
        if (status == SN_OK && matrix)
            status = prepare_matrix(trainer, parameter, matrix);
        if (status != SN_OK)
            return status;
    }
    return SN_OK;
}

/* ------------------------------------------------------------------- selection */

/* Renews the keep mask; parameter->changed tells whether it differs from the last one. */
static int select_matrix(struct sn_trainer *trainer, struct sn_context *context,
                         struct train_parameter *parameter, const struct step_plan *plan)
{
    size_t budget = train_budget(parameter, plan);
    parameter->changed |= parameter->support != budget || !parameter->keep;
    parameter->support = budget;
    if (budget == parameter->elements) {
        train_keep_free(context, parameter);
        return SN_OK;
    }
    unsigned char *fresh = memory_allocate(context->memory, parameter->elements);
    if (!fresh)
        return fail_memory(context, "a keep mask", parameter->elements);
    int status = train_select(trainer, context, parameter, fresh, parameter->master->values, budget);
    if (status != SN_OK) {
        memory_free(context->memory, fresh, parameter->elements);
        return status;
    }
    if (!parameter->changed)
        parameter->changed = memcmp(fresh, parameter->keep, parameter->elements) != 0;
    train_keep_free(context, parameter);
    parameter->keep = fresh;
    return SN_OK;
}

/* ----------------------------------------------------- from master to the model */

struct gather {
    const struct pattern *pattern;
    const float *dense;
    float *values;
};

#define GATHER_ROWS 64

static int gather_rows(void *payload, size_t chunk, size_t worker)
{
    const struct gather *gather = payload;
    const struct pattern *pattern = gather->pattern;
    size_t first = chunk * GATHER_ROWS, last = first + GATHER_ROWS;
    (void)worker;
    for (size_t r = first; r < last && r < pattern->rows; r++) {
        const float *row = gather->dense + r * pattern->cols;
        for (size_t i = pattern->row_start[r]; i < pattern->row_start[r + 1]; i++)
            gather->values[i] = row[pattern_column(pattern, i)];
    }
    return SN_OK;
}

static int gather_values(float *values, struct sn_context *context, const struct pattern *pattern,
                         const float *dense)
{
    struct gather gather = {pattern, dense, values};
    return parallel_for(context, (pattern->rows + GATHER_ROWS - 1) / GATHER_ROWS, gather_rows, &gather);
}

static int build_sparse(struct sn_matrix **out, struct sn_context *context,
                        const struct train_parameter *parameter)
{
    const struct sn_matrix *master = parameter->master;
    struct pattern *pattern = NULL;
    *out = NULL;
    int status = pattern_from_mask(&pattern, context, master->rows, master->cols, parameter->keep);
    if (status != SN_OK)
        return status;
    size_t bytes = pattern->nnz * sizeof(float);
    float *values = memory_allocate(context->memory, bytes);
    if (!values)
        status = fail_memory(context, "weights", bytes);
    if (status == SN_OK)
        status = gather_values(values, context, pattern, master->values);
    if (status == SN_OK)
        status = matrix_create_sparse(out, context, pattern, values);
    memory_free(context->memory, values, bytes);
    pattern_release(pattern);
    return status;
}

/* Brings the model's matrix up to date with the master. */
static int install(struct sn_trainer *trainer, struct sn_context *context,
                   struct train_parameter *parameter)
{
    struct parameter *model = train_model_parameter(trainer, parameter);
    struct sn_matrix *fresh = parameter->master;
    int status = SN_OK;
    if (train_stored_sparse(parameter, parameter->support)) {
        if (!parameter->changed && model->matrix->pattern) {
            status = gather_values(model->matrix->values, context, model->matrix->pattern,
                                   parameter->master->values);
            return status == SN_OK ? matrix_values_changed(model->matrix, context) : status;
        }
        status = build_sparse(&fresh, context, parameter);
    } else {
        status = matrix_values_changed(fresh, context);
    }
    if (status != SN_OK || fresh == model->matrix)
        return status;
    if (model->matrix != parameter->master)
        matrix_free(model->matrix);
    model->matrix = fresh;
    parameter->replaced = 1;
    return SN_OK;
}

static int update_parameter(struct sn_trainer *trainer, struct sn_context *context,
                            struct train_parameter *parameter, const struct step_plan *plan)
{
    int status = SN_OK;
    if (parameter->stage == UPDATE_OPEN)
        status = parameter->master ? select_matrix(trainer, context, parameter, plan)
                                   : train_select_vector(trainer, context, parameter, plan);
    if (status == SN_OK)
        status = train_mask(trainer, context, parameter, plan);
    if (status == SN_OK && parameter->stage == UPDATE_MASKED && parameter->master)
        status = install(trainer, context, parameter);
    if (status == SN_OK)
        parameter->stage = UPDATE_DONE;
    return status;
}

int dense_update(struct sn_trainer *trainer, const struct step_plan *plan)
{
    int status = train_adamw(trainer, plan), replaced = 0;
    if (status == SN_OK)
        status = train_for_parameters(trainer, plan, update_parameter);
    for (size_t i = 0; i < trainer->n_parameters; i++)
        replaced |= trainer->parameters[i].replaced;
    return status == SN_OK && replaced ? session_parameters_changed(trainer->session) : status;
}
