#include "train/trainer.h"

#include <string.h>

#include "base/options.h"
#include "base/threads.h"

/* ------------------------------------------------------------------ making */

static enum density_class class_of(enum parameter_role role)
{
    switch (role) {
    case ROLE_MATRIX: return CLASS_MATRIX;
    case ROLE_EMBEDDING: return CLASS_EMBEDDING;
    case ROLE_BIAS: return CLASS_BIAS;
    case ROLE_BIGRAM: return CLASS_BIGRAM;
    case ROLE_POSITION:
    case ROLE_NORM:
    case ROLE_SINK:
    case ROLE_LOGIT_BIAS:
    case ROLE_HELD: break;
    }
    return CLASS_DENSE;
}

struct parameter *train_model_parameter(const struct sn_trainer *trainer,
                                        const struct train_parameter *parameter)
{
    return &trainer->model->parameters[parameter->index];
}

static int is_trained(const struct parameter *parameter)
{
    return parameter->trainable && (parameter->matrix || parameter->vector);
}

void train_list_parameters(struct sn_trainer *trainer)
{
    const struct sn_model *model = trainer->model;
    size_t n = 0;
    for (size_t i = 0; i < model->n_parameters; i++) {
        const struct parameter *from = &model->parameters[i];
        if (!is_trained(from))
            continue;
        size_t elements = from->rows * (from->cols ? from->cols : 1);
        trainer->parameters[n++] = (struct train_parameter){
            .index = i, .class = class_of(from->role), .elements = elements, .support = elements};
        trainer->n_elements += elements;
    }
}

size_t train_count_parameters(const struct sn_model *model)
{
    size_t n = 0;
    for (size_t i = 0; i < model->n_parameters; i++)
        n += is_trained(&model->parameters[i]) != 0;
    return n;
}

static int fill(struct sn_trainer *trainer)
{
    struct sn_context *context = trainer->context;
    trainer->serial = thread_pool_create(trainer->memory);
    if (!trainer->serial)
        return fail_memory(context, "a trainer", 0);
    size_t n = train_count_parameters(trainer->model);
    trainer->parameters =
        memory_allocate_zeroed_array(trainer->memory, n, sizeof(struct train_parameter));
    trainer->arrays = memory_allocate_zeroed_array(trainer->memory, n, sizeof(struct optim_array));
    trainer->n_parameters = n;
    if (!trainer->parameters || !trainer->arrays)
        return fail_memory(context, "a trainer's parameters", n * sizeof(struct train_parameter));
    train_list_parameters(trainer);
    int status = windows_create(&trainer->windows, context, trainer->settings.batch,
                                trainer->model->config.block_size, 0);
    if (status != SN_OK)
        return status;
    int dense = trainer->settings.gradient == TRAIN_DENSE;
    status = session_create(&trainer->session, context, trainer->model,
                            dense ? GRADIENT_DENSE : GRADIENT_SUPPORT);
    if (status == SN_OK)
        session_recompute(trainer->session, (enum recompute_mode)trainer->settings.recompute);
    return status;
}

int trainer_allocate(struct sn_trainer **out, struct sn_context *context, struct sn_model *model,
                     const struct train_settings *settings)
{
    *out = NULL;
    struct sn_trainer *trainer = memory_allocate_zeroed(context->memory, sizeof *trainer);
    if (!trainer) {
        sn_model_free(model);
        return fail_memory(context, "a trainer", sizeof *trainer);
    }
    trainer->context = context_retain(context);
    trainer->memory = memory_retain(context->memory);
    trainer->model = model;
    trainer->settings = *settings;
    int status = fill(trainer);
    if (status != SN_OK) {
        sn_trainer_free(trainer);
        return status;
    }
    *out = trainer;
    return SN_OK;
}

int sn_trainer_create(sn_trainer **out, sn_context *context, const sn_model *model,
                      const sn_options *options)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!model)
        return fail(context, SN_ERROR_ARGUMENT, "sn_trainer_create: model is NULL");
    struct train_settings settings;
    struct sn_model *copy = NULL;
    struct sn_trainer *trainer = NULL;
    int status = settings_read(&settings, context, "sn_trainer_create", &model->config, options);
    if (status == SN_OK)
        status = model_copy(&copy, context, model);
    if (status == SN_OK)
        status = trainer_allocate(&trainer, context, copy, &settings);
    if (status != SN_OK)
        return status;
    struct step_plan plan = {.refresh = 0};
    settings_densities(plan.density, &settings, 0);
    status = settings.gradient == TRAIN_DENSE ? dense_prepare(trainer) : support_prepare(trainer, &plan);
    if (status != SN_OK) {
        sn_trainer_free(trainer);
        return status;
    }
    *out = trainer;
    return SN_OK;
}

static void free_parameter(struct sn_trainer *trainer, struct train_parameter *parameter)
{
    size_t bytes = parameter->n_values * sizeof(float);
    memory_free(trainer->memory, parameter->first, bytes);
    memory_free(trainer->memory, parameter->second, bytes);
    train_keep_free(trainer->context, parameter);
    if (parameter->master != train_model_parameter(trainer, parameter)->matrix)
        matrix_free(parameter->master);
}

void sn_trainer_free(sn_trainer *trainer)
{
    if (!trainer)
        return;
    struct sn_context *context = trainer->context;
    struct memory *memory = trainer->memory;
    refresh_end(trainer);
    sn_session_free(trainer->session);
    for (size_t i = 0; trainer->parameters && i < trainer->n_parameters; i++)
        free_parameter(trainer, &trainer->parameters[i]);
    memory_free(memory, trainer->parameters, trainer->n_parameters * sizeof *trainer->parameters);
    memory_free(memory, trainer->arrays, trainer->n_parameters * sizeof *trainer->arrays);
    memory_free(memory, trainer->sources, trainer->n_sources * sizeof *trainer->sources);
    windows_free(&trainer->windows, memory);
    thread_pool_free(trainer->serial);
    if (trainer->checkpoint_path)
        memory_free(memory, trainer->checkpoint_path, strlen(trainer->checkpoint_path) + 1);
    sn_model_free(trainer->model);
    memory_free(memory, trainer, sizeof *trainer);
    memory_release(memory);
    context_release(context);
}

/* ---------------------------------------------------------------- stepping */

/* Where AdamW finds each parameter. */
static void point_arrays(struct sn_trainer *trainer, const struct step_plan *plan)
{
    const struct train_settings *settings = &trainer->settings;
    double decay =
        settings->order == ORDER_DECAY_FIRST ? plan->learning_rate * settings->weight_decay : 0;
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        struct train_parameter *parameter = &trainer->parameters[i];
        struct parameter *model = train_model_parameter(trainer, parameter);
        int decays = model->cols && model->role != ROLE_BIGRAM;
        float *weight = parameter->master ? parameter->master->values
                        : model->cols     ? model->matrix->values
                                          : model->vector;
        trainer->arrays[i] = (struct optim_array){weight,
                                                  parameter->first,
                                                  parameter->second,
                                                  session_gradient(trainer->session, parameter->index),
                                                  parameter->n_values,
                                                  decays ? (float)(1 - decay) : 1};
    }
}

/* Loss and gradients; nothing of the trainer's state changes but what a refresh wants to grow. */
static int run_model(struct sn_trainer *trainer, const struct step_plan *plan,
                     const struct train_batch *batch, double *loss)
{
    struct sn_session *session = trainer->session;
    int status = sn_session_zero_gradients(session);
    if (status == SN_OK && refresh_wanted(trainer, plan))
        status = refresh_begin(trainer, plan);
    if (status == SN_OK)
        status = sn_session_select_logits(session, batch->rows, batch->rows ? batch->n_rows : 0);
    if (status == SN_OK)
        status = sn_session_forward(session, batch->tokens, batch->offsets, batch->n_sequences);
    if (status == SN_OK)
        status = session_backward_weighted(loss, session, batch->targets, batch->weights);
    session_set_gradient_visitor(session, NULL, NULL);
    if (status == SN_OK && trainer->settings.gradient == TRAIN_SUPPORT)
        status = support_mask_gradients(trainer);
    return status;
}

/* Weights move here. Lack of memory leaves an unfinished step, whose update goes on where it stopped. */
static int update(struct sn_trainer *trainer)
{
    int status = trainer->settings.gradient == TRAIN_DENSE ? dense_update(trainer, &trainer->plan)
                                                           : support_update(trainer, &trainer->plan);
    trainer->unfinished = status == SN_ERROR_MEMORY;
    trainer->broken = status != SN_OK && !trainer->unfinished;
    if (status != SN_OK)
        return status;
    trainer->loss = trainer->unfinished_loss;
    trainer->learning_rate = trainer->plan.learning_rate;
    trainer->step++;
    return SN_OK;
}

/* Once broken, no step goes on from here. */
static int check_sound(struct sn_trainer *trainer, const char *function)
{
    return trainer->broken
               ? fail(trainer->context, SN_ERROR_STATE,
                      "%s: the trainer failed in the middle of step %zu; load the last checkpoint",
                      function, trainer->step + 1)
               : SN_OK;
}

int trainer_check_whole(struct sn_trainer *trainer, const char *function)
{
    int status = check_sound(trainer, function);
    if (status == SN_OK && trainer->unfinished)
        status = fail(trainer->context, SN_ERROR_STATE,
                      "%s: step %zu lacked memory and is not finished; step again first", function,
                      trainer->step + 1);
    return status;
}

static int step_on(struct sn_trainer *trainer, const struct step_plan *plan,
                   const struct train_batch *batch)
{
    double rms = 0;
    int status = check_sound(trainer, "sn_trainer_step");
    if (status == SN_OK)
        status = run_model(trainer, plan, batch, &trainer->unfinished_loss);
    if (status == SN_OK) {
        point_arrays(trainer, plan);
        status = gradient_rms(&rms, trainer->context, trainer->arrays, trainer->n_parameters,
                              trainer->n_elements);
    }
    if (status == SN_OK) {
        trainer->gradient_rms = rms;
        trainer->plan = *plan;
        status = update(trainer);
    }
    if (!trainer->unfinished)
        refresh_end(trainer);
    return status;
}

/* The rest of a step that lacked memory. */
static int finish_step(struct sn_trainer *trainer)
{
    int status = update(trainer);
    if (!trainer->unfinished)
        refresh_end(trainer);
    return status;
}

int trainer_step_with(struct sn_trainer *trainer, const int32_t *tokens, const size_t *offsets,
                      size_t n_sequences, const int32_t *targets, double learning_rate,
                      double density_matrix, double density_embedding, double *loss, double *grad_rms)
{
    struct step_plan plan = settings_plan(&trainer->settings, trainer->step);
    plan.learning_rate = learning_rate;
    plan.density[CLASS_MATRIX] = density_matrix;
    plan.density[CLASS_EMBEDDING] = density_embedding;
    const struct train_batch batch = {
        .tokens = tokens, .offsets = offsets, .n_sequences = n_sequences, .targets = targets};
    int status = step_on(trainer, &plan, &batch);
    if (loss)
        *loss = trainer->loss;
    if (grad_rms)
        *grad_rms = trainer->gradient_rms;
    return status;
}

/* What the last step's rows of each kind had, 0 where it had none. */
static void split_loss(struct sn_trainer *trainer)
{
    const struct train_windows *windows = &trainer->windows;
    const float *loss = session_row_losses(trainer->session);
    double sum[2] = {0, 0}; /* of text, of tasks */
    size_t count[2] = {0, 0};
    for (size_t s = 0, row = 0; s < windows->n_sequences; s++) {
        int prompt = windows->prompt && windows->prompt[s];
        size_t n = prompt ? 1 : windows->offsets[s + 1] - windows->offsets[s];
        for (size_t last = row + n; row < last; row++)
            if (windows->targets[row] >= 0) {
                sum[prompt] += (double)loss[row];
                count[prompt]++;
            }
    }
    trainer->text_loss = count[0] ? sum[0] / (double)count[0] : 0;
    trainer->task_loss = count[1] ? sum[1] / (double)count[1] : 0;
}

static int new_step(struct sn_trainer *trainer)
{
    const struct train_windows *windows = &trainer->windows;
    struct step_plan plan = settings_plan(&trainer->settings, trainer->step);
    int status = windows_draw(trainer, trainer->step);
    if (status != SN_OK)
        return status;
    const struct train_batch batch = {windows->tokens,  windows->offsets, windows->n_sequences,
                                      windows->targets, windows->rows,    windows->n_rows,
                                      windows->weights};
    return step_on(trainer, &plan, &batch);
}

int sn_trainer_step(double *loss, sn_trainer *trainer)
{
    if (!trainer)
        return SN_ERROR_ARGUMENT;
    if (!trainer->n_sources)
        return fail(trainer->context, SN_ERROR_STATE, "sn_trainer_step: no corpus or task was added");
    if (trainer->step >= trainer->settings.steps)
        return fail(trainer->context, SN_ERROR_STATE, "sn_trainer_step: the run of %zu steps is over",
                    trainer->settings.steps);
    int status = trainer->unfinished ? finish_step(trainer) : new_step(trainer);
    if (status != SN_OK)
        return status;
    split_loss(trainer);
    if (loss)
        *loss = trainer->loss;
    return SN_OK;
}

static int checkpoint_due(const struct sn_trainer *trainer)
{
    size_t interval = trainer->settings.checkpoint_interval;
    return trainer->checkpoint_path && interval && trainer->step % interval == 0;
}

int sn_trainer_run(sn_trainer *trainer, size_t n_steps)
{
    if (!trainer)
        return SN_ERROR_ARGUMENT;
    size_t steps = trainer->settings.steps, left = steps - trainer->step;
    size_t end = n_steps && n_steps < left ? trainer->step + n_steps : steps;
    int status = SN_OK;
    while (status == SN_OK && trainer->step < end) {
        status = sn_trainer_step(NULL, trainer);
        if (status == SN_OK && checkpoint_due(trainer))
            status = sn_trainer_save(trainer, trainer->checkpoint_path);
        if (status == SN_OK)
            status = progress(trainer->context, "train", trainer->step, steps, trainer->loss);
    }
    return status;
}

int sn_trainer_set_checkpoint(sn_trainer *trainer, const char *path)
{
    if (!trainer)
        return SN_ERROR_ARGUMENT;
    char *copy = path ? memory_copy_text(trainer->memory, path, strlen(path)) : NULL;
    if (path && !copy)
        return fail_memory(trainer->context, "a path", strlen(path) + 1);
    if (trainer->checkpoint_path)
        memory_free(trainer->memory, trainer->checkpoint_path, strlen(trainer->checkpoint_path) + 1);
    trainer->checkpoint_path = copy;
    return SN_OK;
}

int sn_trainer_snapshot(sn_model **out, sn_trainer *trainer)
{
    if (no_place(out, trainer ? trainer->context : NULL, __func__))
        return SN_ERROR_ARGUMENT;
    int status = trainer_check_whole(trainer, "sn_trainer_snapshot");
    return status != SN_OK ? status : model_copy(out, trainer->context, trainer->model);
}
