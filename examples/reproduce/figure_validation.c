#include <stdlib.h>
#include <string.h>

#include "draw.h"
#include "report.h"

#define HEADLINE 0.15
#define N_FAMILIES 3
static const char *const families[N_FAMILIES] = {"sparse", "narrow", "dense"};
static const char *const names[N_FAMILIES] = {"weight-sparse", "dense, narrow", "dense, same width"};

static size_t family_of(const char *model)
{
    for (size_t f = 0; f < N_FAMILIES; f++) {
        const size_t length = strlen(families[f]);
        if (strncmp(model, families[f], length) == 0 && strncmp(model + length, "_d", 2) == 0 &&
            model[length + 2] >= '0' && model[length + 2] <= '9')
            return f;
    }
    return N_FAMILIES;
}

static int is_validated(const struct row *row)
{
    return strcmp(row->variant, "search") == 0 && strcmp(row->status, "ok") == 0 && !row->calibrated &&
           row->target == HEADLINE && row->binarised >= 0;
}

/* What share of a family's circuits stays below a loss, and how many there are. */
static double share_below(size_t *n, const struct study *study, size_t family, int resampled,
                          double loss)
{
    size_t below = 0;
    *n = 0;
    for (size_t i = 0; i < study->rows.n; i++) {
        const struct row *row = &study->rows.row[i];
        if (!is_validated(row) || family_of(row->model) != family)
            continue;
        ++*n;
        below += (resampled ? row->resampled : row->binarised) < loss;
    }
    return *n ? (double)below / (double)*n : 0;
}

static void write_shares(const struct study *study)
{
    fputs("| models | circuits | binarised below 0.3 | resampled below 0.3 |\n|---|---|---|---|\n",
          study->report);
    for (size_t f = 0; f < N_FAMILIES; f++) {
        size_t n;
        const double binarised = share_below(&n, study, f, 0, 0.3);
        const double resampled = share_below(&n, study, f, 1, 0.3);
        if (n > 0)
            fprintf(study->report, "| %s | %zu | %.0f %% | %.0f %% |\n", names[f], n, 100 * binarised,
                    100 * resampled);
    }
}

void figure_validation(const struct study *study)
{
    struct curve *binarised = calloc(2 * N_FAMILIES, sizeof *binarised);
    if (!binarised)
        stop("no memory for", "curves");
    struct curve *resampled = binarised + N_FAMILIES;
    FILE *table =
        study_table(study, "validation", "model,task,edges,fresh_raw_loss,binarised,resampled");
    for (size_t f = 0; f < N_FAMILIES; f++) {
        snprintf(binarised[f].name, sizeof binarised[f].name, "%s", names[f]);
        binarised[f].points_only = 1;
        resampled[f] = binarised[f];
    }
    for (size_t i = 0; i < study->rows.n; i++) {
        const struct row *row = &study->rows.row[i];
        const size_t family = is_validated(row) ? family_of(row->model) : N_FAMILIES;
        if (family == N_FAMILIES)
            continue;
        fprintf(table, "%s,%s,%zu,%.4f,%.4f,%.4f\n", row->model, row->task, row->edges, row->raw_loss,
                row->binarised, row->resampled);
        if (row->edges == 0) /* no place on a logarithmic axis */
            continue;
        curve_add(&binarised[family], (double)row->edges, row->binarised, 0, 0);
        curve_add(&resampled[family], (double)row->edges, row->resampled, 0, 0);
    }
    study_close(table, "validation");
    fprintf(
        study->report,
        "\n## Binarised nodes (the paper's figure 34) and resampling\n\n![](fig34.svg)\n\n"
        "![](resampled.svg)\n\nUncalibrated loss on fresh pairs of the circuits at %g: with every "
        "node a step between two\nlearned values, and with everything outside the circuit drawn from "
        "text instead of held at its mean.\n\n",
        HEADLINE);
    write_shares(study);
    struct axes axes = {"Circuits with binarised nodes", "edges of the circuit", "loss, nats", 1, 0};
    draw(study->setup, study->context, "fig34", &axes, binarised, N_FAMILIES);
    axes.title = "Circuits with all else resampled";
    draw(study->setup, study->context, "resampled", &axes, resampled, N_FAMILIES);
    free(binarised);
}
