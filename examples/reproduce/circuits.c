#include "circuits.h"

#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "sizes.h"
#include "train_model.h"

#define N_PAIRS 32
#define MOST_EDGES 100 /* of a circuit of nodes for which masks on edges are searched as well */
#define HEADLINE 0.15
#define GREEDY 2 /* passes of greedy removal */

/* What is cut from one search: target losses, strictest first, since each circuit is cut from the one before. A list
 * ends at 0. */
struct cuts {
    double uncalibrated[8], calibrated[8];
    double grown; /* the strictest uncalibrated circuit to be grown as well */
};
static const struct cuts whole_study = {{0.01, 0.05, 0.15, 0.3, 0.5}, {0.05, 0.15}, HEADLINE};
static const struct cuts other_seeds = {
    {0.05, 0.15, 0.5}, {0.15}, HEADLINE}; /* the strictest takes longest */
static const struct cuts quick_study = {{0.05, 0.15}, {0.15}, HEADLINE};
static const struct cuts headline_study = {{HEADLINE}, {0}, 1};

struct work {
    const struct setup *setup;
    const struct model_spec *spec;
    struct subject subject;
    const char *task;
    int is_beside; /* of the headline loss alone */
    struct rows rows;
};

void circuits_path(char path[PATH_CAPACITY], const struct setup *setup, const struct model_spec *spec,
                   size_t task)
{
    char name[128];
    snprintf(name, sizeof name, "circuits/%s.%s", spec->name, sn_python_task_name(task));
    make_path(path, setup, name, ".csv");
}

static struct row *add_row(struct work *work, const char *variant, const char *status, double target,
                           int calibrated)
{
    struct row *row = rows_add(&work->rows);
    snprintf(row->model, sizeof row->model, "%s", work->spec->name);
    snprintf(row->task, sizeof row->task, "%s", work->task);
    snprintf(row->variant, sizeof row->variant, "%s", variant);
    snprintf(row->status, sizeof row->status, "%s", status);
    row->target = target;
    row->calibrated = calibrated;
    return row;
}

/* Binarised and resampled: figure 34. */
static int is_validated(const struct model_spec *spec)
{
    return spec->seed == 1 && !spec->beside && strcmp(spec->family, "dense") != 0;
}

/* A row for what a search or an extraction gave. */
static void add_circuit(struct work *work, const char *variant, double target, int calibrated,
                        int status, sn_circuit *circuit)
{
    if (status == SN_ERROR_TARGET) {
        add_row(work, variant, "missed", target, calibrated);
        return;
    }
    check(work->subject.context, status);
    struct row *row = add_row(work, variant, "ok", target, calibrated);
    checks_circuit(row, &work->subject, circuit);
    if (target == HEADLINE && !calibrated && strcmp(variant, "search") == 0 && is_validated(work->spec))
        checks_validate(row, &work->subject, circuit);
}

static sn_options *settings(const struct work *work, int grow, int greedy)
{
    sn_options *how = options(work->subject.context);
    set(work->subject.context, how, "target_loss", HEADLINE);
    set(work->subject.context, how, "calibrated", 0);
    set(work->subject.context, how, "runs", 4);
    set(work->subject.context, how, "steps", 100);
    set(work->subject.context, how, "grow", grow);
    set(work->subject.context, how, "greedy", greedy);
    return how;
}

/* The search of a model and task, from its file where that is there. */
static sn_search *open_search(struct work *work, int greedy)
{
    char name[128], path[PATH_CAPACITY];
    sn_search *search = NULL;
    sn_options *how = settings(work, 0, greedy);
    int status = sn_search_create(&search, work->subject.context, work->subject.model,
                                  work->subject.means, work->subject.prune, work->subject.develop, how);
    sn_options_free(how);
    if (status == SN_ERROR_TARGET)
        return NULL;
    check(work->subject.context, status);
    snprintf(name, sizeof name, "searches/%s.%s", work->spec->name, work->task);
    make_path(path, work->setup, name, ".safetensors");
    check(work->subject.context, sn_search_set_file(search, path));
    check(work->subject.context, sn_search_run(search));
    return search;
}

/* For people to look at, with the delta of every node and edge: those of dense models have too many of both. */
static void keep_circuit(struct work *work, sn_circuit *circuit)
{
    char name[128], path[PATH_CAPACITY];
    check(work->subject.context,
          sn_circuit_measure_deltas(circuit, work->subject.context, work->subject.means,
                                    work->subject.prune, work->subject.prune));
    snprintf(name, sizeof name, "circuits/%s.%s", work->spec->name, work->task);
    make_path(path, work->setup, name, ".json");
    check(work->subject.context, sn_report_write_json(work->subject.context, circuit, path));
}

/* The same circuit, to which is added what it takes to be necessary too. */
static void grow(struct work *work, const sn_circuit *circuit, double target)
{
    sn_circuit *grown = NULL;
    sn_options *how = settings(work, 1, GREEDY);
    set(work->subject.context, how, "target_loss", target);
    int status = sn_circuit_refine(&grown, work->subject.context, circuit, work->subject.means,
                                   work->subject.prune, work->subject.develop, how);
    sn_options_free(how);
    add_circuit(work, "grown", target, 0, status, grown);
    sn_circuit_free(grown);
}

/* From the masks, or from the circuit for the target before, which is smaller to start from. */
static int cut(sn_circuit **out, struct work *work, sn_search *search, const sn_circuit *before,
               double target, int calibrated)
{
    if (!before)
        return sn_search_circuit(out, search, target, calibrated);
    sn_options *how = settings(work, 0, GREEDY);
    set(work->subject.context, how, "target_loss", target);
    set(work->subject.context, how, "calibrated", calibrated);
    int status = sn_circuit_refine(out, work->subject.context, before, work->subject.means,
                                   work->subject.prune, work->subject.develop, how);
    sn_options_free(how);
    return status;
}

static void cut_all(struct work *work, sn_search *search, const double *targets, int calibrated,
                    double least_grown)
{
    sn_circuit *before = NULL, *circuit;
    for (; *targets > 0; targets++) {
        int status = cut(&circuit, work, search, before, *targets, calibrated);
        add_circuit(work, "search", *targets, calibrated, status, circuit);
        if (status != SN_OK)
            continue;
        if (*targets == HEADLINE && !calibrated && work->spec->density < 1)
            keep_circuit(work, circuit);
        if (*targets >= least_grown && *targets <= HEADLINE)
            grow(work, circuit, *targets);
        sn_circuit_free(before);
        before = circuit;
    }
    sn_circuit_free(before);
}

static void search_targets(struct work *work)
{
    const struct cuts *cuts = work->is_beside        ? &headline_study
                              : work->setup->quick   ? &quick_study
                              : work->spec->seed > 1 ? &other_seeds
                                                     : &whole_study;
    sn_search *search = open_search(work, GREEDY);
    if (!search) {
        add_row(work, "search", "unlearnt", HEADLINE, 0);
        return;
    }
    cut_all(work, search, cuts->uncalibrated, 0, cuts->grown);
    cut_all(work, search, cuts->calibrated, 1, 1);
    sn_search_free(search);
}

/* One circuit at the headline loss, found otherwise. */
static void extract(struct work *work, const char *variant, const char *method, const char *scores,
                    int greedy)
{
    sn_circuit *circuit = NULL;
    sn_options *how = settings(work, 0, greedy);
    set_text(work->subject.context, how, "method", method);
    set_text(work->subject.context, how, "scores", scores);
    if (strcmp(scores, "learned") != 0)
        set(work->subject.context, how, "runs", 0);
    int status =
        sn_circuit_extract(&circuit, work->subject.context, work->subject.model, work->subject.means,
                           work->subject.prune, work->subject.develop, how);
    sn_options_free(how);
    add_circuit(work, variant, HEADLINE, 0, status, circuit);
    sn_circuit_free(circuit);
}

/* Of the circuit of nodes at the headline loss; 0 without one. */
static size_t headline_edges(const struct work *work)
{
    return (size_t)size_at(&work->rows, work->spec->name, work->task, "search", HEADLINE, 0, EDGES);
}

static void compare_methods(struct work *work)
{
    sn_circuit *circuit = NULL;
    sn_search *search = open_search(work, 0); /* the same masks, and nothing removed afterwards */
    int status = sn_search_circuit(&circuit, search, HEADLINE, 0);
    add_circuit(work, "learned rank", HEADLINE, 0, status, circuit);
    sn_circuit_free(circuit);
    sn_search_free(search);
    if (headline_edges(work) <= MOST_EDGES)
        extract(work, "edges", "edges", "learned", GREEDY);
    extract(work, "attribution rank", "nodes", "attribution", 0);
    extract(work, "integrated rank", "nodes", "integrated", 0);
}

void circuits_find(const struct setup *setup, const struct texts *texts, sn_context *context,
                   const struct model_spec *spec, size_t task)
{
    struct work work = {.setup = setup, .spec = spec, .task = sn_python_task_name(task)};
    char path[PATH_CAPACITY];
    double start = seconds();
    circuits_path(path, setup, spec, task);
    if (file_exists(path))
        return;
    /* Counting takes many times the edges of any other task, and most of them for the strict targets. */
    work.is_beside = spec->beside || strcmp(work.task, "bracket_counting") == 0;
    sn_model *model = load_trained_model(setup, spec, context);
    subject_open(&work.subject, context, setup, texts, model, task, N_PAIRS);
    checks_model(add_row(&work, "model", "ok", 0, 0), &work.subject);
    search_targets(&work);
    if (strcmp(spec->family, "sparse") == 0 && spec->seed == 1 && !work.is_beside &&
        headline_edges(&work) > 0)
        compare_methods(&work);
    rows_write(&work.rows, path);
    say(setup, "%s, %s: %zu circuits in %.0f s", spec->name, work.task, work.rows.n - 1,
        seconds() - start);
    rows_free(&work.rows);
    subject_close(&work.subject);
    sn_model_free(model);
}
