#include "curriculum.h"

#include <string.h>

#define N_LESSONS 4
#define N_FIRST 2 /* lessons that go by the names of the tasks; the others by what is missed */
/* Of a model START_WIDTH wide; wider ones start with as many weights a channel. */
#define START_DENSITY 0.4
#define START_WIDTH 128
#define OUT_OF_REACH 0.45 /* nats: a task above it is not learnt by more of its pairs at the end */
#define BOOST 8           /* the weight, and one more, of a task that is BOOST_AT nats or more away */
#define BOOST_AT 0.2

/* A lesson is a stage's plan: how long, at which rate, and which windows (text of the constructs and pairs are
 * shared out among the tasks). */
static const struct lesson {
    size_t steps;
    double learning_rate, pairs, drill, idioms, real;
    double kept; /* of the weight of tasks that take many pairs, where the others go by what is missed */
} lessons[N_LESSONS] = {
    {800, 0.015, 0.50, 0.20, 0.15, 0.15, 1},   /* at a constant density, the hardest tasks above all */
    {1700, 0.015, 0.45, 0.15, 0.20, 0.20, 1},  /* the same while the density falls */
    {500, 0.010, 0.45, 0.15, 0.20, 0.20, 0.5}, /* what is just missed, */
    {600, 0.012, 0.50, 0.10, 0.20, 0.20, 1},   /* and what still is */
};

/* Most tasks are to look up one token that decides. Counting needs more pairs; so do the two in which other code may
 * look like that token. The last two copy a name: two layers of this width never did them, and with more of their
 * pairs did the others worse. */
static double weight_of(const char *task)
{
    static const struct {
        const char *task;
        double weight;
    } special[] = {{"bracket_counting", 8},
                   {"set_or_string", 2},
                   {"with_as", 2},
                   {"class_init", 0.3},
                   {"var_swap", 0.3}};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (strcmp(task, special[i].task) == 0)
            return special[i].weight;
    return 1;
}

/* What is just missed gets more. `least`: the weight that the task has in any case. */
static double weight_at_the_end(double least, double loss)
{
    if (loss > OUT_OF_REACH)
        return least;
    double weight = 1;
    if (loss > 0.6 * LEARNT_LOSS)
        weight += BOOST * (loss < BOOST_AT ? loss : BOOST_AT) / BOOST_AT;
    return weight > least ? weight : least;
}

static void share_windows(struct stage *stage, const struct lesson *lesson, const struct texts *texts,
                          const struct skill *skill)
{
    double weight[MAX_TASKS], sum = 0;
    for (size_t i = 0; i < texts->n_tasks; i++) {
        weight[i] = lesson->kept * weight_of(sn_python_task_name(i));
        if (skill)
            weight[i] = weight_at_the_end(weight[i], skill->loss[i]);
        sum += weight[i];
    }
    for (size_t i = 0; i < texts->n_tasks; i++) {
        stage->pair_share[i] = lesson->pairs * weight[i] / sum;
        stage->drill_share[i] = lesson->drill * weight[i] / sum;
    }
    stage->idiom_share = lesson->idioms;
    stage->real_share = lesson->real;
}

static double start_density(const struct model_spec *spec)
{
    double density = START_DENSITY * START_WIDTH / (double)spec->d_model;
    return density < spec->density ? spec->density : density > 1 ? 1 : density;
}

int curriculum_stage(struct stage *stage, const struct model_spec *spec, const struct texts *texts,
                     const struct setup *setup, size_t number, const struct skill *skill)
{
    if (number >= N_LESSONS || (skill && skill->n_learnt == texts->n_tasks))
        return 0;
    const struct lesson *lesson = &lessons[number];
    memset(stage, 0, sizeof *stage);
    stage->batch = 32;
    stage->seed = 100 * spec->seed + (unsigned)number;
    stage->drill_window = 48;
    stage->support_gradients = spec->support_gradients;
    stage->start_density = number < N_FIRST ? start_density(spec) : spec->density;
    stage->end_density = number == 0 ? stage->start_density : spec->density;
    stage->schedule_end = 0.8;
    stage->steps =
        (size_t)(setup->scale * (setup->quick ? 0.5 : 1) * spec->length * (double)lesson->steps);
    if (stage->steps == 0)
        stage->steps = 1;
    stage->learning_rate = spec->rate * lesson->learning_rate;
    share_windows(stage, lesson, texts, number < N_FIRST ? NULL : skill);
    return 1;
}
