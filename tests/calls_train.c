/* Calls of trainers. */
#include <string.h>

#include "calls.h"
#include "world_objects.h"

#define TRAINER OBJECT(sn_trainer, O_TRAINER)
#define TOKENS OBJECT(sn_corpus, O_TOKENS)

static int free_trainer(struct world *w)
{
    sn_trainer_free(TRAINER);
    w->objects[O_TRAINER] = NULL;
    return SN_OK;
}

#define CALLS(X)                                                                                        \
    X(sn_trainer_create, "steps=4 density=0.5 gradient=support", B(MODEL), 0, 0,                        \
      sn_trainer_create(MADE(sn_trainer, O_TRAINER), CONTEXT, MODEL, OPTIONS))                          \
    X(sn_trainer_estimate_memory, "steps=4 density=0.5", B(MODEL), 0, 0,                                \
      sn_trainer_estimate_memory(OUT.sizes, CONTEXT, MODEL, OPTIONS))                                   \
    X(sn_trainer_free, "", B(TRAINER), 0, ALLOCATES_NOTHING, free_trainer(w))                           \
    X(sn_trainer_add_corpus, "", B(TOKENS), B(TRAINER), KEEPS_MEMORY,                                   \
      sn_trainer_add_corpus(TRAINER, TOKENS, 0.5, 4))                                                   \
    X(sn_trainer_add_task, "", B(TASK), B(TRAINER), KEEPS_MEMORY,                                       \
      sn_trainer_add_task(TRAINER, TASK, 1))                                                            \
    X(sn_trainer_step, "", 0, B(TRAINER), KEEPS_MEMORY | PARTLY_DONE,                                   \
      sn_trainer_step(OUT.numbers, TRAINER))                                                            \
    X(sn_trainer_run, "", 0, B(GROWER), KEEPS_MEMORY | PARTLY_DONE | CANCELS,                           \
      sn_trainer_run(OBJECT(sn_trainer, O_GROWER), 0))                                                  \
    X(sn_trainer_validate, "", B(TOKENS), B(TRAINER), KEEPS_MEMORY,                                     \
      sn_trainer_validate(OUT.numbers, TRAINER, TOKENS, 3))                                             \
    X(sn_trainer_snapshot, "", 0, B(TRAINER), 0, sn_trainer_snapshot(MADE(sn_model, O_MODEL), TRAINER)) \
    X(sn_trainer_statistic, "", 0, B(TRAINER), KEEPS_MEMORY,                                            \
      sn_trainer_statistic(OUT.numbers, TRAINER, "dead_neurons"))                                       \
    X(sn_trainer_set_checkpoint, "", 0, B(TRAINER), 0,                                                  \
      sn_trainer_set_checkpoint(TRAINER, TO("checkpoint")))                                             \
    X(sn_trainer_save, "", 0, B(TRAINER), WRITES, sn_trainer_save(TRAINER, TO("trainer")))              \
    X(sn_trainer_load, "", 0, 0, READS,                                                                 \
      sn_trainer_load(MADE(sn_trainer, O_TRAINER), CONTEXT, FROM("trainer")))

DEFINE_TABLE(calls_train, CALLS)
