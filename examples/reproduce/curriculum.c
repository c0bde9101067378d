#include "curriculum.h"

#include <string.h>

#define LAST_STAGE 3
#define BOOST 6 /* a task at chance has this many times the drill of one that is learnt, and one more */
#define CHANCE 0.5
#define DENSE_RATE 0.4 /* of a sparse model's learning rates; not tuned yet */

/* What models learn last, or forget. */
static int is_hard(const char *task)
{
    static const char *const hard[] = {"bracket_counting", "set_or_string", "with_open"};
    for (size_t i = 0; i < sizeof hard / sizeof *hard; i++)
        if (strcmp(task, hard[i]) == 0)
            return 1;
    return 0;
}

/* The first stage has hardly anything else: drowned in other text they stay at chance. */
static double first_weight(const char *task)
{
    return is_hard(task) ? 4 : 0.1;
}

/* Later ones have it by their loss. */
static double round_weight(double loss)
{
    if (loss <= 0.6 * LEARNT_LOSS)
        return 1;
    return 1 + BOOST * (loss < CHANCE ? loss : CHANCE) / CHANCE;
}

static void share_drill(struct stage *stage, const struct texts *texts, const struct skill *skill)
{
    double sum = 0;
    stage->idiom_share = skill ? 0.1 : 0.05;
    stage->real_share = skill ? 0.05 : 0.02;
    for (size_t i = 0; i < texts->n_tasks; i++) {
        const char *task = sn_python_task_name(i);
        double weight = skill ? round_weight(skill->loss[i]) : first_weight(task);
        stage->drill_share[i] = is_hard(task) && weight < 3 ? 3 : weight;
        sum += stage->drill_share[i];
    }
    for (size_t i = 0; i < texts->n_tasks; i++)
        stage->drill_share[i] *= (1 - stage->idiom_share - stage->real_share) / sum;
}

/* Focus at a constant density, then everything while it falls; the round behind that lets in some more weights
 * to begin with, since what was never learnt may find no place among those of a sparse model. */
static double start_density(const struct model_spec *spec, size_t number)
{
    double density = number < 2 ? 0.4 : number == 2 ? 2.5 * spec->density : spec->density;
    return density < spec->density ? spec->density : density > 1 ? 1 : density;
}

int curriculum_stage(struct stage *stage, const struct model_spec *spec, const struct texts *texts,
                     const struct setup *setup, size_t number, const struct skill *skill)
{
    static const size_t steps[LAST_STAGE + 1] = {1200, 2500, 1000, 1000};
    static const double rates[LAST_STAGE + 1] = {0.02, 0.015, 0.012, 0.012};
    if (number > (setup->quick ? 2 : LAST_STAGE) || (skill && skill->n_learnt == texts->n_tasks))
        return 0;
    memset(stage, 0, sizeof *stage);
    stage->batch = 32;
    stage->seed = 100 * spec->seed + (unsigned)number;
    stage->drill_window = 48;
    stage->support_gradients = spec->density < 1;
    stage->start_density = start_density(spec, number);
    stage->end_density = number == 0 ? stage->start_density : spec->density;
    stage->schedule_end = 0.8;
    stage->steps = steps[number];
    stage->steps = (size_t)(setup->scale * (setup->quick ? 0.5 : 1) * (double)stage->steps);
    if (stage->steps == 0)
        stage->steps = 1;
    stage->learning_rate = spec->density < 1 ? rates[number] : DENSE_RATE * rates[number];
    share_drill(stage, texts, skill);
    return 1;
}
