/* The mode whose cost follows the nonzeros: gradients, moments and updates live on the support; every
 * few steps a refresh (refresh.c) moves part of the support and follows the density schedule. A matrix
 * that is still mostly kept stands dense, with a keep mask. */
#include "train/trainer.h"

#include <string.h>

#include "base/random.h"
#include "base/threads.h"

/* ------------------------------------------------------------------ the start */

/* |w| to choose from: zeros become tiny random numbers, so that ties among them break at random. */
static void fill_candidates(float *candidates, const struct sn_matrix *matrix, uint64_t seed,
                            uint64_t stream)
{
    struct random_state random;
    random_seed(&random, seed, stream);
    for (size_t r = 0; r < matrix->rows; r++) {
        float *row = candidates + r * matrix->cols;
        matrix_row(row, matrix, r);
        for (size_t c = 0; c < matrix->cols; c++)
            if (row[c] == 0)
                row[c] = (float)(1e-30 * (1 + random_uniform(&random)));
    }
}

static int choose_start(struct sn_trainer *trainer, struct train_parameter *parameter, size_t budget)
{
    const struct sn_matrix *matrix = train_model_parameter(trainer, parameter)->matrix;
    size_t bytes = parameter->elements * sizeof(float);
    float *candidates = memory_allocate(trainer->memory, bytes);
    if (!candidates)
        return fail_memory(trainer->context, "the first support", bytes);
    fill_candidates(candidates, matrix, trainer->settings.seed, parameter->index);
    int status = train_keep_create(trainer->context, parameter);
    if (status == SN_OK)
        status = train_select(trainer, trainer->context, parameter, parameter->keep, candidates, budget);
    memory_free(trainer->memory, candidates, bytes);
    return status;
}

/* The matrix over the kept entries, sparse or dense by their share. */
static int build_start(struct sn_matrix **out, struct sn_trainer *trainer,
                       const struct train_parameter *parameter, const struct sn_matrix *matrix)
{
    struct sn_context *context = trainer->context;
    struct pattern *pattern = NULL;
    int status, sparse = train_stored_sparse(parameter, parameter->support);
    *out = NULL;
    if (sparse) {
        status = pattern_from_mask(&pattern, context, matrix->rows, matrix->cols, parameter->keep);
        if (status == SN_OK)
            status = matrix_create_sparse(out, context, pattern, NULL);
        pattern_release(pattern);
    } else {
        status = matrix_create_dense(out, context, matrix->rows, matrix->cols, NULL);
    }
    if (status != SN_OK)
        return status;
    float *to = (*out)->values;
    for (size_t i = 0; i < parameter->elements; i++) {
        int kept = !parameter->keep || parameter->keep[i];
        if (kept)
            *to = matrix_at(matrix, i / matrix->cols, i % matrix->cols);
        to += kept || !sparse;
    }
    status = matrix_values_changed(*out, context);
    if (status != SN_OK) {
        matrix_free(*out);
        *out = NULL;
    }
    return status;
}

static int prepare_matrix(struct sn_trainer *trainer, struct train_parameter *parameter,
                          const struct step_plan *plan)
{
    struct parameter *model = train_model_parameter(trainer, parameter);
    struct sn_matrix *fresh;
    if (parameter->elements >= UINT32_MAX)
        return fail(trainer->context, SN_ERROR_UNSUPPORTED,
                    "%s has %zu entries; gradients on the support take matrices below 2^32 - 1",
                    model->name, parameter->elements);
    parameter->support = train_budget(parameter, plan);
    int status = SN_OK;
    if (parameter->support < parameter->elements)
        status = choose_start(trainer, parameter, parameter->support);
    if (status == SN_OK)
        status = build_start(&fresh, trainer, parameter, model->matrix);
    if (status != SN_OK)
        return status;
    if (fresh->pattern)
        train_keep_free(trainer->context, parameter);
    matrix_free(model->matrix);
    model->matrix = fresh;
    return train_moments_create(trainer->context, parameter, fresh->n_values);
}

int support_prepare(struct sn_trainer *trainer, const struct step_plan *plan)
{
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        struct train_parameter *parameter = &trainer->parameters[i];
        int status = train_model_parameter(trainer, parameter)->cols
                         ? prepare_matrix(trainer, parameter, plan)
                         : train_moments_create(trainer->context, parameter, parameter->elements);
        if (status != SN_OK)
            return status;
    }
    return session_parameters_changed(trainer->session);
}

/* ------------------------------------------------------------------------ step */

#define MASK_BLOCK ((size_t)1 << 16)

struct gradient_mask {
    float *gradient;
    const unsigned char *keep;
    size_t n;
};

static int mask_chunk(void *payload, size_t chunk, size_t worker)
{
    const struct gradient_mask *mask = payload;
    size_t first = chunk * MASK_BLOCK,
           last = first + MASK_BLOCK < mask->n ? first + MASK_BLOCK : mask->n;
    (void)worker;
    for (size_t i = first; i < last; i++)
        mask->gradient[i] = mask->keep[i] ? mask->gradient[i] : 0.0f;
    return SN_OK;
}

int support_mask_gradients(struct sn_trainer *trainer)
{
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < trainer->n_parameters; i++) {
        const struct train_parameter *parameter = &trainer->parameters[i];
        if (!parameter->keep || !train_model_parameter(trainer, parameter)->cols)
            continue;
        struct gradient_mask mask = {session_gradient(trainer->session, parameter->index),
                                     parameter->keep, parameter->elements};
        status =
            parallel_for(trainer->context, (mask.n + MASK_BLOCK - 1) / MASK_BLOCK, mask_chunk, &mask);
    }
    return status;
}

static int update_parameter(struct sn_trainer *trainer, struct sn_context *context,
                            struct train_parameter *parameter, const struct step_plan *plan)
{
    struct sn_matrix *matrix = train_model_parameter(trainer, parameter)->matrix;
    int status = SN_OK;
    if (!matrix && parameter->stage == UPDATE_OPEN)
        status = train_select_vector(trainer, context, parameter, plan);
    if (status == SN_OK)
        status = train_mask(trainer, context, parameter, plan);
    if (status == SN_OK && matrix && parameter->stage == UPDATE_MASKED)
        status = matrix_values_changed(matrix, context);
    if (status == SN_OK)
        parameter->stage = UPDATE_DONE;
    return status;
}

int support_update(struct sn_trainer *trainer, const struct step_plan *plan)
{
    int status = train_adamw(trainer, plan);
    if (status == SN_OK)
        status = train_for_parameters(trainer, plan, update_parameter);
    return status == SN_OK ? refresh_apply(trainer) : status;
}
