/* What training takes, before anything is made: the sizes of everything at the densities of the schedule, and
 * at each step what stands at the same time while one parameter after the other is brought up to date. */
#include <stdint.h>

#include "base/threads.h"
#include "kernels/dense.h"
#include "train/trainer.h"

#define MOST_STEPS ((size_t)512) /* looked at; between them densities hardly change */

/* One parameter with so many kept entries. */
struct sizes {
    size_t weights;    /* master, model's matrix and pattern, or vector */
    size_t pattern;    /* of these, what a refresh keeps until its end */
    size_t transposed; /* what the backward makes of the matrix */
    size_t moments, gradient, keep;
};

struct estimate {
    struct sn_trainer trainer; /* of the model as it is given: parameters, settings */
    size_t base;               /* what does not change */
    size_t run[2];             /* of the session's run, with weights that count as sparse or not */
    size_t most_run;           /* the larger so far: an arena never shrinks */
    size_t peak, workers;
};

static size_t block_of(size_t count)
{
    return memory_block_size(count * sizeof(float));
}

static const struct parameter *model_parameter(const struct estimate *e, const struct train_parameter *p)
{
    return train_model_parameter(&e->trainer, p);
}

static int is_transposed(const struct estimate *e, const struct train_parameter *p)
{
    return model_parameter(e, p)->role == ROLE_MATRIX || (int)p->index == e->trainer.model->lm_head;
}

static struct sizes sizes_of(const struct estimate *e, const struct train_parameter *p, size_t support)
{
    const struct parameter *model = model_parameter(e, p);
    size_t rows = model->rows, cols = model->cols, all = p->elements;
    int dense = e->trainer.settings.gradient == TRAIN_DENSE || !cols;
    int sparse = cols && train_stored_sparse(p, support);
    size_t n = dense || !sparse ? all : support;
    struct sizes s = {.moments = 2 * block_of(n), .gradient = block_of(n)};
    if (support < all && (dense || !sparse))
        s.keep = memory_block_size(all);
    if (!cols || (dense && cols) || !sparse)
        s.weights = cols ? matrix_estimate(rows, cols, all, 0) : block_of(all);
    if (sparse) {
        size_t bytes = matrix_estimate(rows, cols, support, 1);
        s.weights += bytes;
        s.pattern = bytes - matrix_estimate(rows, cols, support, 0);
        s.transposed = is_transposed(e, p) ? matrix_transposed_estimate(rows, cols, support) : 0;
    }
    return s;
}

static size_t total(const struct sizes *s)
{
    return s->weights + s->transposed + s->moments + s->gradient + s->keep;
}

static void note(struct estimate *e, size_t bytes)
{
    e->peak = bytes > e->peak ? bytes : e->peak;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* ------------------------------------------------------------------ dense gradients */

/* What stands beside the old state while a parameter is brought to the new one. */
static size_t dense_transient(const struct estimate *e, const struct train_parameter *p,
                              const struct sizes *old, const struct sizes *new, size_t support)
{
    const struct parameter *model = model_parameter(e, p);
    size_t selecting = 0, building = 0;
    if (support < p->elements)
        selecting = select_estimate(p->elements) + (model->cols ? new->keep : new->keep - old->keep);
    if (model->cols && train_stored_sparse(p, support))
        building = matrix_estimate(model->rows, model->cols, support, 1) + block_of(support) +
                   new->keep - old->keep;
    return larger(selecting, building);
}

static void dense_step(struct estimate *e, const struct step_plan *before, const struct step_plan *plan)
{
    struct sn_trainer *trainer = &e->trainer;
    size_t now = e->base + e->most_run, most_small = 0;
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        struct sizes old =
            sizes_of(e, &trainer->parameters[i], train_budget(&trainer->parameters[i], before));
        now += total(&old);
    }
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        const struct train_parameter *p = &trainer->parameters[i];
        size_t support = train_budget(p, plan);
        struct sizes old = sizes_of(e, p, train_budget(p, before)), new = sizes_of(e, p, support);
        size_t transient = dense_transient(e, p, &old, &new, support);
        most_small = larger(most_small, transient);
        note(e, now + transient + (e->workers - 1) * most_small);
        now += total(&new) - new.transposed - total(&old);
    }
}

/* -------------------------------------------------------------- gradients on the support */

/* A refresh of one parameter: how many entries it grows; 0 = it is left as it is. */
static size_t grown(const struct estimate *e, const struct train_parameter *p, size_t old, size_t new,
                    const struct step_plan *plan)
{
    int refreshed = plan->refresh && old < p->elements && p->class != CLASS_BIGRAM;
    if (!model_parameter(e, p)->cols || p->class == CLASS_DENSE || (new >= old && !refreshed))
        return 0;
    size_t base = new < old ? new : old, dropped = (size_t)(plan->drop_fraction * (double)base);
    return p->class == CLASS_BIGRAM ? 0 : new - (base - dropped);
}

static int is_refreshed(const struct estimate *e, const struct train_parameter *p, size_t old,
                        size_t new, const struct step_plan *plan)
{
    if (!model_parameter(e, p)->cols || p->class == CLASS_DENSE)
        return 0;
    return new < old || (plan->refresh && old < p->elements && p->class != CLASS_BIGRAM);
}

/* What beginning a parameter's refresh makes, and holds to the end of the step. */
static size_t begun(const struct estimate *e, const struct train_parameter *p, size_t old, size_t n_grow)
{
    const struct parameter *model = model_parameter(e, p);
    const struct sn_model *whole = e->trainer.model;
    int twice = whole->wte == whole->lm_head && (int)p->index == whole->wte;
    int counts = p->class == CLASS_MATRIX && model->axis == SN_AXIS_COLUMN &&
                 e->trainer.settings.minimum_per_neuron;
    size_t bytes = refresh_estimate(old, n_grow, twice ? 2 : 1);
    if (!train_stored_sparse(p, old)) /* its pattern is made of the keep mask */
        bytes += matrix_estimate(model->rows, model->cols, old, 1) - block_of(old);
    if (counts)
        bytes += block_of(old) + (is_transposed(e, p) && train_stored_sparse(p, old)
                                      ? 0
                                      : matrix_transposed_estimate(model->rows, model->cols, old));
    return bytes;
}

/* The dense gradient of a block of rows for each worker. */
static size_t visited(const struct estimate *e)
{
    size_t most = 0;
    for (size_t i = 0; i < e->trainer.n_parameters; i++)
        most = larger(most, model_parameter(e, &e->trainer.parameters[i])->cols);
    return block_of(most * DENSE_GRADIENT_ROWS * e->workers);
}

static void support_step(struct estimate *e, const struct step_plan *before,
                         const struct step_plan *plan)
{
    struct sn_trainer *trainer = &e->trainer;
    size_t now = e->base + e->most_run;
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        struct sizes old =
            sizes_of(e, &trainer->parameters[i], train_budget(&trainer->parameters[i], before));
        now += total(&old);
    }
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        const struct train_parameter *p = &trainer->parameters[i];
        size_t old = train_budget(p, before), new = train_budget(p, plan);
        if (!is_refreshed(e, p, old, new, plan))
            continue;
        now += begun(e, p, old, grown(e, p, old, new, plan));
        note(e, now + memory_block_size(old * sizeof(uint64_t)) +
                    (train_stored_sparse(p, old) ? 0 : block_of(old)));
    }
    note(e, now + visited(e));
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        const struct train_parameter *p = &trainer->parameters[i];
        size_t support = train_budget(p, plan), old_support = train_budget(p, before);
        if (!is_refreshed(e, p, old_support, support, plan))
            continue;
        struct sizes old = sizes_of(e, p, old_support), new = sizes_of(e, p, support);
        size_t layout = block_of(model_parameter(e, p)->rows + 1) + 2 * block_of(support);
        note(e, now + layout + new.weights + new.moments + new.keep);
        now += new.weights + new.moments + new.keep - old.keep;
        now -= old.weights - old.pattern + old.moments;
    }
}

/* The model is copied whole and its supports are chosen from it, one after the other. */
static void support_start(struct estimate *e, const struct step_plan *first)
{
    struct sn_trainer *trainer = &e->trainer;
    size_t now = e->base;
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        const struct parameter *model = model_parameter(e, &trainer->parameters[i]);
        size_t n = model->matrix ? model->matrix->n_values : trainer->parameters[i].elements;
        now += 2 * block_of(n); /* weights and gradients */
    }
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        const struct train_parameter *p = &trainer->parameters[i];
        const struct parameter *model = model_parameter(e, p);
        size_t support = train_budget(p, first), all = p->elements;
        struct sizes new = sizes_of(e, p, support);
        size_t choosing = block_of(all) + select_estimate(all);
        size_t keep = model->cols && support < all ? memory_block_size(all) : 0;
        if (keep)
            note(e, now + keep + choosing);
        note(e, now + keep + new.weights);
        now += new.weights + new.moments + new.keep;
        now -= block_of(model->matrix ? model->matrix->n_values : all);
    }
}

/* --------------------------------------------------------------------------- the run */

static int counts_as_sparse(const struct estimate *e, const struct step_plan *plan)
{
    double support = 0, all = 0;
    for (size_t i = 0; i < e->trainer.n_parameters; i++) {
        const struct train_parameter *p = &e->trainer.parameters[i];
        size_t kept = train_budget(p, plan);
        if (model_parameter(e, p)->role != ROLE_MATRIX)
            continue;
        support += (double)(train_stored_sparse(p, kept) ? kept : p->elements);
        all += (double)p->elements;
    }
    return session_counts_as_sparse(support, all);
}

/* Step `step`, from the densities of the one before it. */
static void look_at_step(struct estimate *e, size_t step)
{
    const struct train_settings *settings = &e->trainer.settings;
    struct step_plan plan = settings_plan(settings, step), before = plan;
    if (step)
        before = settings_plan(settings, step - 1);
    else
        settings_densities(before.density, settings, 0);
    e->most_run = larger(e->most_run, e->run[counts_as_sparse(e, &before)]);
    if (settings->gradient == TRAIN_DENSE)
        dense_step(e, &before, &plan);
    else
        support_step(e, &before, &plan);
}

static void look_at_run(struct estimate *e)
{
    const struct train_settings *settings = &e->trainer.settings;
    struct step_plan first = {.refresh = 0};
    settings_densities(first.density, settings, 0);
    if (settings->gradient == TRAIN_SUPPORT)
        support_start(e, &first);
    size_t unit = settings->gradient == TRAIN_SUPPORT ? settings->refresh_interval : 1;
    size_t stride = (settings->steps / unit / MOST_STEPS + 1) * unit;
    look_at_step(e, 0);
    for (size_t step = stride; step <= settings->steps; step += stride)
        look_at_step(e, step - 1);
}

/* ------------------------------------------------------------------------- what is fixed */

static size_t usage(const struct sn_context *context)
{
    size_t current;
    memory_usage(context->memory, &current, NULL);
    return current;
}

/* The trainer's own, its batch, and the shell of a model: names, configuration. */
static int add_fixed(struct estimate *e, struct sn_context *context, const struct sn_model *model)
{
    const struct train_settings *settings = &e->trainer.settings;
    size_t before = usage(context), n = e->trainer.n_parameters;
    size_t windows = settings->batch * model->config.block_size;
    struct sn_model *shell;
    int status = model_allocate(&shell, context, &model->config);
    if (status != SN_OK)
        return status;
    e->base += usage(context) - before;
    sn_model_free(shell);
    e->base += memory_block_size(sizeof e->trainer) + thread_pool_bytes() +
               memory_block_size(n * sizeof(struct train_parameter)) +
               memory_block_size(n * sizeof(struct optim_array)) +
               2 * memory_block_size(windows * sizeof(int32_t)) +
               memory_block_size((settings->batch + 1) * sizeof(size_t));
    for (size_t i = 0; i < model->n_parameters; i++) { /* what is not trained is copied as it is */
        const struct parameter *p = &model->parameters[i];
        if (!p->trainable && (p->matrix || p->vector))
            e->base += p->matrix ? matrix_bytes(p->matrix) : block_of(p->rows);
    }
    return SN_OK;
}

static int add_run(struct estimate *e, struct sn_context *context, struct sn_model *model)
{
    const struct train_settings *settings = &e->trainer.settings;
    struct sn_session *session;
    int status = session_create(&session, context, model, GRADIENT_NONE);
    if (status != SN_OK)
        return status;
    enum gradient_mode mode = settings->gradient == TRAIN_DENSE ? GRADIENT_DENSE : GRADIENT_SUPPORT;
    session_recompute(session, (enum recompute_mode)settings->recompute);
    for (int sparse = 0; sparse < 2; sparse++)
        e->run[sparse] = session_estimate_run(session, mode, sparse, settings->batch * settings->window,
                                              settings->batch);
    sn_session_free(session);
    return SN_OK;
}

int sn_trainer_estimate_memory(size_t *bytes, sn_context *context, const sn_model *model,
                               const sn_options *options)
{
    struct estimate e = {.peak = 0};
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!bytes || !model)
        return fail(context, SN_ERROR_ARGUMENT, "sn_trainer_estimate_memory: %s is NULL",
                    bytes ? "model" : "bytes");
    int status = settings_read(&e.trainer.settings, context, "sn_trainer_estimate_memory",
                               &model->config, options);
    if (status != SN_OK)
        return status;
    struct sn_model *lent = (struct sn_model *)(uintptr_t)model; /* read only, but for its references */
    size_t n = train_count_parameters(model);
    e.workers = parallel_workers(context);
    e.trainer.model = lent;
    e.trainer.n_parameters = n;
    e.trainer.parameters =
        memory_allocate_zeroed_array(context->memory, n, sizeof(struct train_parameter));
    if (!e.trainer.parameters)
        return fail_memory(context, "an estimate", n * sizeof(struct train_parameter));
    train_list_parameters(&e.trainer);
    status = add_fixed(&e, context, model);
    if (status == SN_OK)
        status = add_run(&e, context, lent);
    if (status == SN_OK) {
        look_at_run(&e);
        *bytes = e.peak;
    }
    memory_free(context->memory, e.trainer.parameters, n * sizeof(struct train_parameter));
    return status;
}
