#include "report.h"

#include <string.h>

#include "case_study.h"
#include "skill.h"

const struct model_spec *study_model(const struct study *study, const char *family, unsigned seed)
{
    for (size_t i = 0; i < study->n_models; i++)
        if (strcmp(study->list[i].family, family) == 0 && study->list[i].seed == seed)
            return &study->list[i];
    return NULL;
}

FILE *study_table(const struct study *study, const char *name, const char *header)
{
    char path[PATH_CAPACITY];
    make_path(path, study->setup, name, ".csv");
    FILE *table = fopen(path, "w");
    if (!table)
        stop("cannot write", path);
    fprintf(table, "%s\n", header);
    return table;
}

void study_close(FILE *table, const char *name)
{
    if (ferror(table) | fclose(table))
        stop("cannot write", name);
}

static const struct row *model_row(const struct study *study, const char *model, const char *task)
{
    for (size_t i = 0; i < study->rows.n; i++) {
        const struct row *row = &study->rows.row[i];
        if (strcmp(row->variant, "model") == 0 && strcmp(row->model, model) == 0 &&
            strcmp(row->task, task) == 0)
            return row;
    }
    return NULL;
}

static void write_models(const struct study *study)
{
    fputs("## The models\n\n| model | d_model | nonzeros | idioms, nats | real source, nats | kurtosis |"
          " tasks at 0.05 on fresh pairs |\n|---|---|---|---|---|---|---|\n",
          study->report);
    for (size_t i = 0; i < study->n_models; i++) {
        const struct model_numbers *numbers = &study->numbers[i];
        fprintf(study->report, "| %s | %zu | %zu | %.3f | %.3f | %.1f | %zu |\n", study->list[i].name,
                study->list[i].d_model, numbers->nonzeros, numbers->idiom_loss, numbers->real_loss,
                numbers->kurtosis, numbers->n_learnt);
    }
}

/* Loss of whole models and edges at the headline loss, task by task, for the models of seed 1. */
static void write_tasks(const struct study *study)
{
    fputs("\n## The tasks\n\nLoss of the whole model on fresh pairs, uncalibrated, and edges of its "
          "circuit at 0.15;"
          " seed 1.\n\n| task | sparse | edges | narrow | edges | same width | edges |\n"
          "|---|---|---|---|---|---|---|\n",
          study->report);
    static const char *const families[] = {"sparse", "narrow", "dense"};
    for (size_t task = 0; task < sn_python_task_count(); task++) {
        const char *name = sn_python_task_name(task);
        fprintf(study->report, "| %s |", name);
        for (size_t f = 0; f < 3; f++) {
            const struct model_spec *spec = study_model(study, families[f], 1);
            const struct row *whole = spec ? model_row(study, spec->name, name) : NULL;
            size_t edges = 0;
            for (size_t i = 0; whole && i < study->rows.n; i++) {
                const struct row *row = &study->rows.row[i];
                if (strcmp(row->model, spec->name) == 0 && strcmp(row->task, name) == 0 &&
                    strcmp(row->variant, "search") == 0 && strcmp(row->status, "ok") == 0 &&
                    !row->calibrated && row->target == 0.15)
                    edges = row->edges;
            }
            if (whole)
                fprintf(study->report, " %.3f |", whole->raw_loss);
            else
                fputs(" |", study->report);
            if (edges)
                fprintf(study->report, " %zu |", edges);
            else
                fputs(" |", study->report);
        }
        fputc('\n', study->report);
    }
}

void report_write(struct study *study, const struct texts *texts)
{
    char path[PATH_CAPACITY];
    make_path(path, study->setup, "report", ".md");
    study->report = fopen(path, "w");
    if (!study->report)
        stop("cannot write", path);
    fprintf(study->report, "# Circuits of weight-sparse models on one CPU\n\nlibsparsenet %s%s\n\n",
            sn_version_string(),
            study->setup->quick ? ", the quick study: one seed and fewer steps" : "");
    write_models(study);
    write_tasks(study);
    figure_2(study);
    figure_3(study);
    figure_31(study);
    figure_32(study);
    figure_validation(study);
    figure_edges(study);
    figure_gradients(study);
    figure_10(study);
    case_study(study, texts);
    study_close(study->report, path);
    say(study->setup, "see %s", path);
}
