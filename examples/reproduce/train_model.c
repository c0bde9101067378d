#include "train_model.h"

#include "curriculum.h"

#include <stdio.h>

#define MAX_STAGES 16

struct course { /* of one model */
    const struct setup *setup;
    const struct model_spec *spec;
    const struct texts *texts;
    sn_context *context;
    sn_model *model;
    struct skill skill; /* after the first stage */
    size_t stage;       /* the one that comes next */
    double reported;    /* when progress was last printed */
};

static void stage_path(char path[PATH_CAPACITY], const struct course *course, size_t stage,
                       const char *suffix)
{
    char end[64];
    snprintf(end, sizeof end, ".stage%zu%s", stage, suffix);
    model_path(path, course->setup, course->spec, end);
}

static int report_step(const char *name, size_t done, size_t total, double loss, void *payload)
{
    struct course *course = payload;
    if (seconds() - course->reported > 30 && done < total) {
        course->reported = seconds();
        say(course->setup, "%s: stage %zu, %s %zu of %zu, loss %.2f", course->spec->name, course->stage,
            name, done, total, loss);
    }
    return 0;
}

static void say_skill(const struct course *course)
{
    char line[512];
    size_t length = 0;
    line[0] = 0;
    for (size_t i = 0; i < course->texts->n_tasks && length < sizeof line; i++)
        if (course->skill.loss[i] > LEARNT_LOSS)
            length += (size_t)snprintf(line + length, sizeof line - length, " %s %.2f",
                                       sn_python_task_name(i), course->skill.loss[i]);
    say(course->setup, "%s: %zu of %zu tasks learnt%s%s", course->spec->name, course->skill.n_learnt,
        course->texts->n_tasks, length ? "; not yet:" : "", line);
}

/* The model after the last stage that an earlier run has finished, or a new one. */
static void take_up(struct course *course)
{
    char path[PATH_CAPACITY];
    course->model = NULL;
    course->stage = 0;
    for (size_t stage = MAX_STAGES; stage-- > 0 && !course->model;) {
        stage_path(path, course, stage, ".safetensors");
        if (file_exists(path)) {
            check(course->context, sn_model_load(&course->model, course->context, path));
            course->stage = stage + 1;
        }
    }
    if (course->model)
        course->skill = skill_measure(course->texts, course->context, course->model);
    else
        course->model = model_start(course->spec, course->context, course->texts->tokenizer);
}

/* Keeps the better one of the model so far and what a stage made of it: the one that lacks less. */
static void keep_better(struct course *course, sn_model *trained)
{
    const struct skill skill = skill_measure(course->texts, course->context, trained);
    const int better = course->stage < 2 || skill.excess < course->skill.excess;
    sn_model_free(better ? course->model : trained);
    if (better) {
        course->model = trained;
        course->skill = skill;
    }
}

static void run_stage(struct course *course, const struct stage *stage)
{
    char checkpoint[PATH_CAPACITY], path[PATH_CAPACITY];
    sn_model *trained;
    stage_path(checkpoint, course, course->stage, ".checkpoint");
    stage_path(path, course, course->stage, ".safetensors");
    course->reported = seconds();
    sn_context_set_progress(course->context, report_step, course);
    stage_run(&trained, stage, course->texts, course->context, course->model, checkpoint);
    sn_context_set_progress(course->context, NULL, NULL);
    keep_better(course, trained);
    check(course->context, sn_model_save(course->model, course->context, path));
    (void)remove(checkpoint);
    say_skill(course);
    course->stage++;
}

static void remove_stages(const struct course *course)
{
    char path[PATH_CAPACITY];
    for (size_t stage = 0; stage < MAX_STAGES; stage++) {
        stage_path(path, course, stage, ".safetensors");
        (void)remove(path);
        stage_path(path, course, stage, ".checkpoint");
        (void)remove(path);
    }
}

void train_model(const struct setup *setup, const struct model_spec *spec, const struct texts *texts,
                 sn_context *context)
{
    struct course course = {.setup = setup, .spec = spec, .texts = texts, .context = context};
    struct stage stage;
    char path[PATH_CAPACITY];
    model_path(path, setup, spec, ".safetensors");
    if (file_exists(path))
        return;
    const double start = seconds();
    take_up(&course);
    while (
        curriculum_stage(&stage, spec, texts, setup, course.stage, course.stage ? &course.skill : NULL))
        run_stage(&course, &stage);
    check(context, sn_model_save(course.model, context, path));
    sn_model_free(course.model);
    remove_stages(&course);
    say(setup, "%s: done in %.0f s", spec->name, seconds() - start);
}

sn_model *load_trained_model(const struct setup *setup, const struct model_spec *spec,
                             sn_context *context)
{
    char path[PATH_CAPACITY];
    sn_model *model;
    model_path(path, setup, spec, ".safetensors");
    check(context, sn_model_load(&model, context, path));
    return model;
}
