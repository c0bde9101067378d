/* Keep masks: which entries of a parameter survive, and the zeroing of the others. */
#include "train/trainer.h"

size_t train_budget(const struct train_parameter *parameter, const struct step_plan *plan)
{
    double density = plan->density[parameter->class];
    size_t budget = (size_t)(density * (double)parameter->elements);
    if (density >= 1 || budget > parameter->elements)
        return parameter->elements;
    return budget ? budget : 1;
}

int train_stored_sparse(const struct train_parameter *parameter, size_t support)
{
    return (double)support <= SPARSE_MAX_DENSITY * (double)parameter->elements;
}

static void free_moments(struct sn_trainer *trainer, struct train_parameter *parameter)
{
    size_t bytes = parameter->n_values * sizeof(float);
    memory_free(trainer->memory, parameter->first, bytes);
    memory_free(trainer->memory, parameter->second, bytes);
    parameter->first = parameter->second = NULL;
    parameter->n_values = 0;
}

int train_moments_create(struct sn_trainer *trainer, struct train_parameter *parameter, size_t n_values)
{
    free_moments(trainer, parameter);
    parameter->first = memory_allocate_zeroed_array(trainer->memory, n_values, sizeof(float));
    parameter->second = memory_allocate_zeroed_array(trainer->memory, n_values, sizeof(float));
    parameter->n_values = n_values;
    if (parameter->first && parameter->second)
        return SN_OK;
    free_moments(trainer, parameter);
    return fail_memory(trainer->context, "moments", 2 * n_values * sizeof(float));
}

void train_keep_free(struct sn_trainer *trainer, struct train_parameter *parameter)
{
    memory_free(trainer->memory, parameter->keep, parameter->elements);
    parameter->keep = NULL;
}

int train_keep_create(struct sn_trainer *trainer, struct train_parameter *parameter)
{
    if (!parameter->keep)
        parameter->keep = memory_allocate(trainer->memory, parameter->elements);
    return parameter->keep ? SN_OK : fail_memory(trainer->context, "a keep mask", parameter->elements);
}

int train_select(struct sn_trainer *trainer, struct train_parameter *parameter, unsigned char *keep,
                 const float *weights, size_t budget)
{
    const struct parameter *model = train_model_parameter(trainer, parameter);
    size_t minimum = parameter->class == CLASS_MATRIX ? trainer->settings.minimum_per_neuron : 0;
    int axis = minimum ? model->axis : SN_AXIS_NONE;
    size_t used = minimum;
    int status = select_magnitude(keep, &used, trainer->context, weights, model->rows,
                                  model->cols ? model->cols : 1, budget, axis, minimum);
    parameter->minimum_lowered = axis != SN_AXIS_NONE && used < minimum;
    return status;
}

int train_select_vector(struct sn_trainer *trainer, struct train_parameter *parameter,
                        const struct step_plan *plan)
{
    size_t budget = train_budget(parameter, plan);
    parameter->support = budget;
    if (budget == parameter->elements) {
        train_keep_free(trainer, parameter);
        return SN_OK;
    }
    int status = train_keep_create(trainer, parameter);
    if (status != SN_OK)
        return status;
    return train_select(trainer, parameter, parameter->keep,
                        train_model_parameter(trainer, parameter)->vector, budget);
}

int train_adamw(struct sn_trainer *trainer, const struct step_plan *plan)
{
    const struct train_settings *settings = &trainer->settings;
    struct adamw adamw = {.learning_rate = (float)plan->learning_rate,
                          .epsilon = (float)settings->epsilon,
                          .gradient_scale = (float)gradient_scale((enum rms_mode)settings->rms_mode,
                                                                  trainer->gradient_rms,
                                                                  settings->rms_limit)};
    adamw_set_step(&adamw, settings->beta1, settings->beta2, trainer->step + 1);
    return adamw_update(trainer->context, &adamw, trainer->arrays, trainer->n_parameters);
}

struct mask_pass {
    struct sn_trainer *trainer;
    float late_decay; /* order "script": the factor by which decaying weights shrink after the mask */
};

static void mask_block(void *payload, const struct optim_array *array, size_t first, size_t last,
                       size_t block)
{
    const struct mask_pass *pass = payload;
    struct sn_trainer *trainer = pass->trainer;
    const struct train_parameter *parameter = &trainer->parameters[array - trainer->arrays];
    const struct parameter *model = train_model_parameter(trainer, parameter);
    float factor = model->cols && model->role != ROLE_BIGRAM ? pass->late_decay : 1;
    const unsigned char *keep = parameter->keep;
    float *weight = array->weight;
    (void)block;
    if (keep)
        for (size_t i = first; i < last; i++)
            weight[i] = keep[i] ? weight[i] * factor : 0.0f;
    else if (factor != 1)
        for (size_t i = first; i < last; i++)
            weight[i] *= factor;
}

int train_mask(struct sn_trainer *trainer, const struct step_plan *plan)
{
    const struct train_settings *settings = &trainer->settings;
    struct mask_pass pass = {trainer, 1};
    if (settings->order == ORDER_SCRIPT)
        pass.late_decay = (float)(1 - plan->learning_rate * settings->weight_decay);
    return optim_for_blocks(trainer->context, trainer->arrays, trainer->n_parameters, mask_block, &pass);
}
