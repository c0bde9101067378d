/* Trainers. Their runs are of a few steps. */
#include <string.h>

#include "play.h"
#include "world_objects.h"

#define TRAINER CHANGE(trainer, K_TRAINER)
#define SETTINGS                                                                                        \
    settings("steps:i1-20! batch:i1-4! window:i2-8 seed:i0-9 density:r0.2-1! gradient:=dense|support "  \
             "refresh_interval:i1-4 refresh_fraction:r0-1 refresh_end:r0-1 rms_mode:=normalize|clip "   \
             "rms_limit:r0.5-2 schedule:=exponential|linear|power schedule_start_density:r0.5-1 "       \
             "minimum_per_neuron:i0-4 learning_rate:r0-0.1 warmup:r0-0.5 beta1:r0-0.9 beta2:r0.5-0.99 " \
             "weight_decay:r0-0.5 density_embedding:r0.2-1 density_bias:r0.2-1 density_bigram:r0.2-1 "  \
             "learning_rate_scale:=sharkfin|final|none order:=decay_first|script schedule_end:r0.2-1 "  \
             "checkpoint_interval:i0-2 task_weight:r1-16 recompute:=auto|never|always")

static int create(void)
{
    return sn_trainer_create(SLOT(trainer, K_TRAINER), C, READ(model, K_MODEL), SETTINGS);
}

static int estimate(void)
{
    size_t *bytes = odd() ? NULL : block(sizeof *bytes);
    return sn_trainer_estimate_memory(bytes, C, READ(model, K_MODEL), SETTINGS);
}

static int free_trainer(void)
{
    sn_trainer_free(play_take(K_TRAINER));
    return SN_OK;
}

static int add_corpus(void)
{
    sn_trainer *trainer = TRAINER;
    return sn_trainer_add_corpus(trainer, play_lend(TOKENS), real(0.1, 2), chance(50) ? 0 : few(2, 8));
}

static int add_task(void)
{
    sn_trainer *trainer = TRAINER;
    return sn_trainer_add_task(trainer, play_lend(READ(task, K_TASK)), real(0.1, 2));
}

static int step(void)
{
    double *loss = odd() || chance(20) ? NULL : block(sizeof *loss);
    return sn_trainer_step(loss, TRAINER);
}

static int run(void)
{
    return sn_trainer_run(TRAINER, draw(3));
}

static int validate(void)
{
    double *loss = odd() ? NULL : block(sizeof *loss);
    return sn_trainer_validate(loss, TRAINER, TOKENS, few(1, 4));
}

static int snapshot(void)
{
    return sn_trainer_snapshot(SLOT(model, K_MODEL), TRAINER);
}

static int statistic(void)
{
    double *value = odd() ? NULL : block(sizeof *value);
    return sn_trainer_statistic(value, TRAINER,
                                ONE_OF("step", "steps", "loss", "text_loss", "task_loss",
                                       "learning_rate", "density", "gradient_rms", "nonzeros",
                                       "parameters", "dead_neurons", "minimum_lowered"));
}

static int save(void)
{
    return sn_trainer_save(TRAINER, to_file());
}

static int load(void)
{
    return sn_trainer_load(SLOT(trainer, K_TRAINER), C, from_file("trainer"));
}

#define ROWS(X)                                                                                         \
    X(sn_trainer_create, FAIR, create())                                                                \
    X(sn_trainer_estimate_memory, FAIR, estimate())                                                     \
    X(sn_trainer_free, FAIR, free_trainer())                                                            \
    X(sn_trainer_add_corpus, CHEAP, add_corpus())                                                       \
    X(sn_trainer_add_task, FAIR, add_task())                                                            \
    X(sn_trainer_step, FAIR, step())                                                                    \
    X(sn_trainer_run, FAIR, run())                                                                      \
    X(sn_trainer_validate, FAIR, validate())                                                            \
    X(sn_trainer_snapshot, FAIR, snapshot())                                                            \
    X(sn_trainer_statistic, CHEAP, statistic())                                                         \
    X(sn_trainer_set_checkpoint, FAIR, sn_trainer_set_checkpoint(TRAINER, to_file()))                   \
    X(sn_trainer_save, FAIR, save())                                                                    \
    X(sn_trainer_load, FAIR, load())

DEFINE_ROWS(rows_trainer, ROWS)
