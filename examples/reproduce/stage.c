#include "stage.h"

#define CHECKPOINT_INTERVAL 1000

static sn_trainer *start(const struct stage *stage, sn_context *context, const sn_model *from)
{
    sn_trainer *trainer;
    sn_options *how = options(context);
    set(context, how, "steps", (double)stage->steps);
    set(context, how, "batch", (double)stage->batch);
    set(context, how, "seed", stage->seed);
    set(context, how, "learning_rate", stage->learning_rate);
    set_text(context, how, "learning_rate_scale", "none");
    set(context, how, "density", stage->end_density);
    set(context, how, "density_bias", 1);
    set(context, how, "schedule_start_density", stage->start_density);
    set(context, how, "schedule_end", stage->schedule_end);
    set_text(context, how, "gradient", stage->support_gradients ? "support" : "dense");
    set(context, how, "minimum_per_neuron", 1);
    set(context, how, "checkpoint_interval", CHECKPOINT_INTERVAL);
    check(context, sn_trainer_create(&trainer, context, from, how));
    sn_options_free(how);
    return trainer;
}

void stage_run(sn_model **out, const struct stage *stage, const struct texts *texts, sn_context *context,
               const sn_model *from, const char *checkpoint)
{
    sn_trainer *trainer;
    if (checkpoint && file_exists(checkpoint))
        check(context, sn_trainer_load(&trainer, context, checkpoint));
    else
        trainer = start(stage, context, from);
    for (size_t i = 0; i < texts->n_tasks; i++) {
        check(context, sn_trainer_add_task(trainer, texts->pairs[i], stage->pair_share[i]));
        check(context, sn_trainer_add_corpus(trainer, texts->drill[i], stage->drill_share[i],
                                             stage->drill_window));
    }
    check(context, sn_trainer_add_corpus(trainer, texts->idioms, stage->idiom_share, 0));
    check(context, sn_trainer_add_corpus(trainer, texts->real, stage->real_share, 0));
    if (checkpoint)
        check(context, sn_trainer_set_checkpoint(trainer, checkpoint));
    check(context, sn_trainer_run(trainer, 0));
    check(context, sn_trainer_snapshot(out, trainer));
    sn_trainer_free(trainer);
}
