/* The paper's comparisons at the scale of one CPU.
 *
 *   reproduce OUT_DIR [--quick] [--threads N] [--source DIR] [--scale X] [--report]
 *
 * Trains the models of the study (model_list.c), finds their circuits for every task and writes report.md with its
 * figures and the tables behind them; as many models or tasks at a time as there are threads.
 * What is in OUT_DIR already is not made anew: an interrupted run goes on where it stopped; --report writes the report
 * of what is there so far. Uses the public header alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "circuits.h"
#include "jobs.h"
#include "report.h"
#include "scores.h"
#include "texts.h"
#include "train_model.h"

#define N_FIRST_TASKS 6

struct work {
    const struct setup *setup;
    const struct texts *texts;
    const struct model_spec *list;
};

static void train(void *payload, sn_context *context, size_t i)
{
    const struct work *work = payload;
    train_model(work->setup, &work->list[i], work->texts, context);
    scores_measure(work->setup, &work->list[i], work->texts, context);
}

/* Those of the paper's and others that models of this size learn. */
static const char *const studied[] = {
    "single_double_quote", "for_while",  "set_or_string",    "bracket_brace", "enumerate_range",
    "final_kwarg",         "with_open",  "fstring_brace",    "lambda_func",   "if_equals",
    "else_elif",           "indent_for", "while_return_true"};

/* Models that stand beside the headline's, and the quick study, have the first few. Counting brackets, which narrow models
 * do not learn, is of the model that the case study explains. */
static int is_studied(const char *task, const struct setup *setup, const struct model_spec *spec)
{
    const size_t n = setup->quick || spec->beside ? N_FIRST_TASKS : sizeof studied / sizeof *studied;
    for (size_t i = 0; i < n; i++)
        if (strcmp(task, studied[i]) == 0)
            return 1;
    return strcmp(task, "bracket_counting") == 0 && strcmp(spec->family, "sparse") == 0 &&
           spec->seed == 1 && !setup->quick;
}

/* The circuits of one model and task. */
static void find_circuits(void *payload, sn_context *context, size_t i)
{
    const struct work *work = payload;
    const size_t n = work->texts->n_tasks;
    if (is_studied(sn_python_task_name(i % n), work->setup, &work->list[i / n]))
        circuits_find(work->setup, work->texts, context, &work->list[i / n], i % n);
}

/* One group of models after another: trained first, then their circuits. */
static void make_all(struct work *work, size_t n_models)
{
    const struct model_spec *const end = work->list + n_models;
    while (work->list < end) {
        size_t n = 1;
        while (work->list + n < end && work->list[n].group == work->list->group)
            n++;
        jobs_run(work->setup, n, train, work);
        jobs_run(work->setup, n * work->texts->n_tasks, find_circuits, work);
        work->list += n;
    }
    work->list = end - n_models;
}

/* Models that are there already come first; returns how many. */
static size_t find_trained(struct model_spec *list, size_t n_models, const struct setup *setup)
{
    char path[PATH_CAPACITY];
    size_t n = 0;
    for (size_t i = 0; i < n_models; i++) {
        model_path(path, setup, &list[i], ".csv");
        if (file_exists(path))
            list[n++] = list[i];
    }
    return n;
}

static void write_report(const struct work *work, sn_context *context, size_t n_models)
{
    struct model_numbers numbers[MAX_MODELS];
    char path[PATH_CAPACITY];
    struct study study = {.setup = work->setup,
                          .list = work->list,
                          .numbers = numbers,
                          .n_models = n_models,
                          .context = context};
    for (size_t i = 0; i < n_models; i++) {
        numbers[i] = model_numbers_measure(work->setup, work->texts, context, &work->list[i]);
        study.n_seeds = work->list[i].seed > study.n_seeds ? work->list[i].seed : study.n_seeds;
        for (size_t task = 0; task < work->texts->n_tasks; task++) {
            circuits_path(path, work->setup, &work->list[i], task);
            rows_read(&study.rows, path);
        }
    }
    make_path(path, work->setup, "circuits", ".csv");
    rows_write(&study.rows, path);
    report_write(&study, work->texts);
    rows_free(&study.rows);
}

static int read_arguments(struct setup *setup, int n_arguments, char **arguments)
{
    for (int i = 1; i < n_arguments; i++) {
        const int has_value = i + 1 < n_arguments;
        if (strcmp(arguments[i], "--quick") == 0)
            setup->quick = 1;
        else if (strcmp(arguments[i], "--report") == 0)
            setup->report_only = 1;
        else if (strcmp(arguments[i], "--threads") == 0 && has_value)
            setup->n_threads = strtoul(arguments[++i], NULL, 10);
        else if (strcmp(arguments[i], "--scale") == 0 && has_value)
            setup->scale = strtod(arguments[++i], NULL);
        else if (strcmp(arguments[i], "--source") == 0 && has_value)
            setup->source = arguments[++i];
        else if (arguments[i][0] != '-' && !setup->directory)
            setup->directory = arguments[i];
        else
            return 0;
    }
    return setup->directory && setup->n_threads >= 1 && setup->n_threads <= 64 && setup->scale > 0;
}

int main(int n_arguments, char **arguments)
{
    struct setup setup = {.n_threads = 1, .scale = 1, .start = seconds()};
    struct model_spec list[MAX_MODELS];
    struct texts texts;
    char path[PATH_CAPACITY];
    if (!read_arguments(&setup, n_arguments, arguments)) {
        fprintf(stderr,
                "usage: %s OUT_DIR [--quick] [--threads 1..64] [--source DIR] [--scale X] [--report]\n",
                arguments[0]);
        return 2;
    }
    make_directory(setup.directory);
    static const char *const folders[] = {"models", "searches", "circuits"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        make_path(path, &setup, folders[i], "");
        make_directory(path);
    }
    sn_context *context;
    if (sn_context_create(&context, NULL) != SN_OK)
        stop("no memory for", "a context");
    texts_make(&texts, &setup, context);
    texts_make_fresh(&texts, &setup, context);
    size_t n_models = model_list(list, setup.quick);
    struct work work = {&setup, &texts, list};
    if (setup.report_only)
        n_models = find_trained(list, n_models, &setup);
    else
        make_all(&work, n_models);
    scores_collect(&setup, list, n_models);
    write_report(&work, context, n_models);
    texts_free(&texts);
    sn_context_free(context);
    return 0;
}
