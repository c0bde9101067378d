/* What both gradient modes do with a parameter: budgets, moments, keep masks, AdamW. */
#include <math.h>

#include "base/threads.h"
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

static void free_moments(struct memory *memory, struct train_parameter *parameter)
{
    size_t bytes = parameter->n_values * sizeof(float);
    memory_free(memory, parameter->first, bytes);
    memory_free(memory, parameter->second, bytes);
    parameter->first = parameter->second = NULL;
    parameter->n_values = 0;
}

int train_moments_create(struct sn_context *context, struct train_parameter *parameter, size_t n_values)
{
    free_moments(context->memory, parameter);
    parameter->first = memory_allocate_zeroed_array(context->memory, n_values, sizeof(float));
    parameter->second = memory_allocate_zeroed_array(context->memory, n_values, sizeof(float));
    parameter->n_values = n_values;
    if (parameter->first && parameter->second)
        return SN_OK;
    free_moments(context->memory, parameter);
    return fail_memory(context, "moments", 2 * n_values * sizeof(float));
}

int train_moments_are_sound(const struct sn_trainer *trainer, const struct train_parameter *parameter)
{
    const struct kernel_table *kernels = trainer->context->kernels;
    if (!isfinite(kernels->sum_of_squares(parameter->first, parameter->n_values)))
        return 0;
    for (size_t i = 0; i < parameter->n_values; i++)
        if (!(parameter->second[i] >= 0))
            return 0;
    return 1;
}

void train_keep_free(struct sn_context *context, struct train_parameter *parameter)
{
    memory_free(context->memory, parameter->keep, parameter->elements);
    parameter->keep = NULL;
}

int train_keep_create(struct sn_context *context, struct train_parameter *parameter)
{
    if (!parameter->keep)
        parameter->keep = memory_allocate(context->memory, parameter->elements);
    return parameter->keep ? SN_OK : fail_memory(context, "a keep mask", parameter->elements);
}

int train_select(struct sn_trainer *trainer, struct sn_context *context,
                 struct train_parameter *parameter, unsigned char *keep, const float *weights,
                 size_t budget)
{
    const struct parameter *model = train_model_parameter(trainer, parameter);
    size_t minimum = parameter->class == CLASS_MATRIX ? trainer->settings.minimum_per_neuron : 0;
    int axis = minimum ? model->axis : SN_AXIS_NONE;
    size_t used = minimum;
    int status = select_magnitude(keep, &used, context, weights, model->rows,
                                  model->cols ? model->cols : 1, budget, axis, minimum);
    parameter->minimum_lowered = axis != SN_AXIS_NONE && used < minimum;
    return status;
}

int train_select_vector(struct sn_trainer *trainer, struct sn_context *context,
                        struct train_parameter *parameter, const struct step_plan *plan)
{
    size_t budget = train_budget(parameter, plan);
    parameter->support = budget;
    if (budget == parameter->elements) {
        train_keep_free(context, parameter);
        return SN_OK;
    }
    int status = train_keep_create(context, parameter);
    if (status != SN_OK)
        return status;
    return train_select(trainer, context, parameter, parameter->keep,
                        train_model_parameter(trainer, parameter)->vector, budget);
}

int train_adamw(struct sn_trainer *trainer, const struct step_plan *plan)
{
    if (trainer->unfinished)
        return SN_OK;
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        struct train_parameter *parameter = &trainer->parameters[i];
        parameter->stage = UPDATE_OPEN;
        parameter->changed = parameter->replaced = 0;
    }
    const struct train_settings *settings = &trainer->settings;
    struct adamw adamw = {.learning_rate = (float)plan->learning_rate,
                          .epsilon = (float)settings->epsilon,
                          .gradient_scale =
                              (float)gradient_scale((enum rms_mode)settings->rms_mode,
                                                    trainer->gradient_rms, settings->rms_limit)};
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
        for (size_t i = first; i < last; i++) { /* no branch: which entries stay is unpredictable */
            union {
                float value;
                uint32_t bits;
            } word = {weight[i] * factor};
            word.bits &= 0u - keep[i];
            weight[i] = word.value;
        }
    else if (factor != 1)
        for (size_t i = first; i < last; i++)
            weight[i] *= factor;
}

int train_mask(struct sn_trainer *trainer, struct sn_context *context, struct train_parameter *parameter,
               const struct step_plan *plan)
{
    const struct train_settings *settings = &trainer->settings;
    struct mask_pass pass = {trainer, 1};
    if (settings->order == ORDER_SCRIPT)
        pass.late_decay = (float)(1 - plan->learning_rate * settings->weight_decay);
    if (parameter->stage >= UPDATE_MASKED)
        return SN_OK;
    parameter->stage = UPDATE_SELECTED;
    int status = optim_for_blocks(context, &trainer->arrays[parameter - trainer->parameters], 1,
                                  mask_block, &pass);
    parameter->stage = status == SN_OK ? UPDATE_MASKED : UPDATE_SELECTED;
    return status;
}

/* A parameter of this many entries is worth all threads by itself. */
#define LARGE_PARAMETER ((size_t)1 << 20)

struct parameter_loop {
    struct sn_trainer *trainer;
    const struct step_plan *plan;
    parameter_function function;
};

static int run_small(void *payload, size_t chunk, size_t worker)
{
    const struct parameter_loop *loop = payload;
    struct sn_trainer *trainer = loop->trainer;
    struct train_parameter *parameter = &trainer->parameters[chunk];
    (void)worker;
    if (parameter->elements >= LARGE_PARAMETER)
        return SN_OK;
    struct sn_context own = *trainer->context; /* loops inside a chunk run on its thread alone */
    own.pool = trainer->serial;
    own.progress = NULL;
    return loop->function(trainer, &own, parameter, loop->plan);
}

int train_for_parameters(struct sn_trainer *trainer, const struct step_plan *plan,
                         parameter_function function)
{
    struct parameter_loop loop = {trainer, plan, function};
    int status = parallel_for(trainer->context, trainer->n_parameters, run_small, &loop);
    for (size_t i = 0; status == SN_OK && i < trainer->n_parameters; i++)
        if (trainer->parameters[i].elements >= LARGE_PARAMETER)
            status = function(trainer, trainer->context, &trainer->parameters[i], plan);
    return status;
}
