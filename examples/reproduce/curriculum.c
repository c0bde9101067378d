#include "curriculum.h"

#include <string.h>

#define N_ROUNDS 4
#define BOOST 6 /* a task at chance has this many times the drill of one that is learnt, and one more */
#define CHANCE 0.5
#define IDIOM_SHARE 0.2
#define REAL_SHARE 0.1

/* The constructs that models learn last have more of the first drill. */
static double first_weight(const char *task)
{
    static const char *const hard[] = {"bracket_counting", "set_or_string", "class_init", "var_swap",
                                       "with_open"};
    for (size_t i = 0; i < sizeof hard / sizeof *hard; i++)
        if (strcmp(task, hard[i]) == 0)
            return 4;
    return 1;
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
    for (size_t i = 0; i < texts->n_tasks; i++) {
        stage->drill_share[i] =
            skill ? round_weight(skill->loss[i]) : first_weight(sn_python_task_name(i));
        sum += stage->drill_share[i];
    }
    for (size_t i = 0; i < texts->n_tasks; i++)
        stage->drill_share[i] *= (1 - IDIOM_SHARE - REAL_SHARE) / sum;
    stage->idiom_share = IDIOM_SHARE;
    stage->real_share = REAL_SHARE;
}

/* Every other round lets in more weights to begin with: what was never learnt may find no place among those
 * of a sparse model. */
static double start_density(const struct model_spec *spec, size_t number)
{
    double density = number == 0 ? 0.4 : number % 2 ? 2.5 * spec->density : spec->density;
    return density < spec->density ? spec->density : density > 1 ? 1 : density;
}

int curriculum_stage(struct stage *stage, const struct model_spec *spec, const struct texts *texts,
                     const struct setup *setup, size_t number, const struct skill *skill)
{
    const int is_dense = spec->density == 1;
    if (number > (setup->quick ? 2 : N_ROUNDS) || (skill && skill->n_learnt == texts->n_tasks))
        return 0;
    memset(stage, 0, sizeof *stage);
    stage->batch = 16;
    stage->seed = 100 * spec->seed + (unsigned)number;
    stage->drill_window = 48;
    stage->support_gradients = !is_dense;
    stage->start_density = start_density(spec, number);
    stage->end_density = spec->density;
    stage->schedule_end = 0.6;
    stage->steps = is_dense ? (number ? 500 : 1000) : (number ? 2000 : 4000);
    stage->steps = (size_t)(setup->scale * (setup->quick ? 0.5 : 1) * (double)stage->steps);
    if (stage->steps == 0)
        stage->steps = 1;
    stage->learning_rate = is_dense ? (number ? 0.004 : 0.006) : (number ? 0.012 : 0.015);
    share_drill(stage, texts, skill);
    return 1;
}
