#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"
#include "report.h"
#include "sizes.h"

#define HEADLINE 0.15
#define MAX_SEEDS 8

/* Each rival is set beside the weight-sparse model over the tasks that both solve. */
static const char *const rivals[] = {"narrow", "dense"};
#define N_RIVALS 2
static const char *const curve_names[N_RIVALS][2] = {
    {"weight-sparse", "dense, narrow"}, {"weight-sparse, tasks of the next", "dense, same width"}};

static struct curve *new_curves(size_t n)
{
    struct curve *curves = calloc(n, sizeof *curves);
    if (!curves)
        stop("no memory for", "curves");
    return curves;
}

/* Every target loss that a table has, strict to loose; returns how many. */
static size_t find_targets(double targets[MAX_POINTS], const struct study *study, const char *variant,
                           int calibrated)
{
    size_t n = 0;
    for (size_t i = 0; i < study->rows.n; i++) {
        const struct row *row = &study->rows.row[i];
        size_t at = 0;
        if (strcmp(row->variant, variant) != 0 || row->calibrated != calibrated || row->target <= 0)
            continue;
        while (at < n && targets[at] < row->target)
            at++;
        if ((at < n && targets[at] <= row->target) || n == MAX_POINTS)
            continue;
        memmove(targets + at + 1, targets + at, (n - at) * sizeof *targets);
        targets[at] = row->target;
        n++;
    }
    return n;
}

/* ------------------------------------------------------------------ figure 2 */

struct comparison {
    const char *name, *title, *variant;
    int calibrated;
    enum measure measure;
};

/* Sparse model and rival of every seed; a seed that lacks one is left out. */
static size_t rival_sides(struct side *sides, const struct study *study, const char *rival,
                          const char *variant)
{
    size_t n = 0;
    for (unsigned seed = 1; seed <= study->n_seeds && seed <= MAX_SEEDS; seed++) {
        const struct model_spec *sparse = study_model(study, "sparse", seed);
        const struct model_spec *other = study_model(study, rival, seed);
        if (!sparse || !other)
            continue;
        sides[2 * n] = (struct side){sparse->name, variant};
        sides[2 * n++ + 1] = (struct side){other->name, variant};
    }
    return n;
}

/* One target's half of a line: tasks, both sizes, their ratio. */
static void compare_rival(const struct study *study, const struct comparison *comparison, size_t rival,
                          double target, FILE *table, struct curve *curves)
{
    struct side sides[MAX_SEEDS * 2];
    struct cell cells[2];
    size_t n_seeds = rival_sides(sides, study, rivals[rival], comparison->variant);
    compare_sizes(cells, &study->rows, sides, 2, n_seeds, target, comparison->calibrated,
                  comparison->measure);
    if (cells[0].n_tasks == 0) {
        fputs(" 0 | | | |", study->report);
        return;
    }
    fprintf(study->report, " %zu | %.1f | %.1f | %.1f |", cells[0].n_tasks, cells[0].size, cells[1].size,
            cells[1].size / cells[0].size);
    fprintf(table, "%s,%g,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%zu\n", rivals[rival], target, cells[0].size,
            cells[0].low, cells[0].high, cells[1].size, cells[1].low, cells[1].high, cells[0].n_tasks);
    for (size_t i = 0; i < 2; i++)
        curve_add(&curves[2 * rival + i], target, cells[i].size, cells[i].low, cells[i].high);
}

static void compare(const struct study *study, const struct comparison *comparison)
{
    double targets[MAX_POINTS];
    size_t n = find_targets(targets, study, comparison->variant, comparison->calibrated);
    struct curve *curves = new_curves(2 * N_RIVALS);
    FILE *table =
        study_table(study, comparison->name,
                    "rival,target_loss,sparse,sparse_least_seed,sparse_greatest_seed,size,least_seed,"
                    "greatest_seed,tasks");
    fprintf(study->report, "\n### %s\n\n![](%s.svg)\n\n", comparison->title, comparison->name);
    fputs(
        "| target loss | tasks, of all seeds | weight-sparse | narrow | ratio | tasks | weight-sparse |"
        " same width | ratio |\n|---|---|---|---|---|---|---|---|---|\n",
        study->report);
    for (size_t i = 0; i < 2 * N_RIVALS; i++)
        snprintf(curves[i].name, sizeof curves[i].name, "%s", curve_names[i / 2][i % 2]);
    for (size_t t = 0; t < n; t++) {
        fprintf(study->report, "| %g |", targets[t]);
        for (size_t rival = 0; rival < N_RIVALS; rival++)
            compare_rival(study, comparison, rival, targets[t], table, curves);
        fputc('\n', study->report);
    }
    study_close(table, comparison->name);
    struct axes axes = {comparison->title, "target loss, nats",
                        comparison->measure == EDGES ? "edges" : "nodes", 1, 1};
    draw(study->setup, study->context, comparison->name, &axes, curves, 2 * N_RIVALS);
    free(curves);
}

void figure_2(const struct study *study)
{
    static const struct comparison comparisons[] = {
        {"fig2_edges", "Edges, uncalibrated loss", "search", 0, EDGES},
        {"fig2_nodes", "Nodes, uncalibrated loss", "search", 0, NODES},
        {"fig2_edges_calibrated", "Edges, calibrated loss", "search", 1, EDGES},
        {"fig2_edges_necessary", "Edges of circuits that are necessary too, uncalibrated loss", "grown",
         0, EDGES},
    };
    fputs("\n## Circuit size against target loss (the paper's figure 2)\n\n"
          "Geometric means over the tasks that both models of a seed solve at the target, then "
          "over seeds. A\n"
          "circuit found for a stricter target counts for looser ones. A task for which a node without "
          "an edge\n"
          "suffices is left out.\n",
          study->report);
    for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++)
        compare(study, &comparisons[i]);
}

/* ------------------------------------------------------------------ figure 3 */

#define MAX_GRID 16

static size_t find_grid(const struct model_spec *grid[MAX_GRID],
                        const struct model_numbers *numbers[MAX_GRID], const struct study *study)
{
    size_t n = 0;
    for (size_t i = 0; i < study->n_models && n < MAX_GRID; i++)
        if (study->list[i].in_grid) {
            grid[n] = &study->list[i];
            numbers[n++] = &study->numbers[i];
        }
    return n;
}

void figure_3(const struct study *study)
{
    const struct model_spec *grid[MAX_GRID];
    const struct model_numbers *numbers[MAX_GRID];
    struct side sides[MAX_GRID];
    struct cell cells[MAX_GRID];
    size_t n = find_grid(grid, numbers, study), n_curves = 0;
    if (n < 2)
        return;
    for (size_t i = 0; i < n; i++)
        sides[i] = (struct side){grid[i]->name, "search"};
    fit_sizes(cells, &study->rows, sides, n, HEADLINE, 0, EDGES);
    struct curve *curves = new_curves(n);
    FILE *table =
        study_table(study, "fig3", "model,d_model,density,support,pretraining_loss,edges,tasks");
    fprintf(study->report,
            "\n## Width and nonzeros (the paper's figure 3)\n\n![](fig3.svg)\n\nEdges at uncalibrated "
            "loss %g, as if every model solved the same tasks: the logarithm of each circuit's size is "
            "taken as a "
            "sum of\nwhat belongs to the model and what to the task, fitted by least squares.\n\n"
            "| d_model | nonzeros | pretraining loss | edges | circuits |\n|---|---|---|---|---|\n",
            HEADLINE);
    for (size_t i = 0; i < n; i++) {
        double loss = model_loss(numbers[i]);
        fprintf(table, "%s,%zu,%g,%zu,%.4f,%.2f,%zu\n", grid[i]->name, grid[i]->d_model,
                grid[i]->density, numbers[i]->nonzeros, loss, cells[i].size, cells[i].n_tasks);
        fprintf(study->report, "| %zu | %zu | %.3f | %.1f | %zu |\n", grid[i]->d_model,
                numbers[i]->nonzeros, loss, cells[i].size, cells[i].n_tasks);
        if (cells[i].size == 0)
            continue;
        char name[80];
        size_t c = 0;
        snprintf(name, sizeof name, "d_model %zu", grid[i]->d_model);
        while (c < n_curves && strcmp(curves[c].name, name) != 0)
            c++;
        if (c == n_curves)
            snprintf(curves[n_curves++].name, sizeof curves[c].name, "%s", name);
        curve_add(&curves[c], loss, cells[i].size, 0, 0);
    }
    study_close(table, "fig3");
    struct axes axes = {"Pretraining loss and circuit size", "pretraining loss, nats", "edges", 0, 1};
    draw(study->setup, study->context, "fig3", &axes, curves, n_curves);
    free(curves);
}

/* ----------------------------------------------------------------- figure 10 */

void figure_10(const struct study *study)
{
    struct curve *curve = new_curves(1);
    FILE *table = study_table(study, "fig10", "model,density,kurtosis");
    snprintf(curve->name, sizeof curve->name, "models");
    curve->points_only = 1;
    fputs(
        "\n## Kurtosis of the residual stream (the paper's figure 10)\n\n![](fig10.svg)\n\n"
        "Over all tokens and channels in front of the final norm; 3 is that of a normal distribution.\n",
        study->report);
    for (size_t i = 0; i < study->n_models; i++) {
        fprintf(table, "%s,%g,%.3f\n", study->list[i].name, study->list[i].density,
                study->numbers[i].kurtosis);
        curve_add(curve, study->list[i].density, study->numbers[i].kurtosis, 0, 0);
    }
    study_close(table, "fig10");
    struct axes axes = {"Kurtosis of the residual stream", "share of nonzero weights", "kurtosis", 1, 1};
    draw(study->setup, study->context, "fig10", &axes, curve, 1);
    free(curve);
}

/* ---------------------------------------------------------- other ways to find */

/* Geometric means of the sparse models' circuits at the headline loss by variant, as a table. */
static void compare_variants(const struct study *study, const char *name, const char *const variants[],
                             size_t n)
{
    struct side sides[MAX_SEEDS * 8];
    struct cell cells[8];
    size_t n_seeds = 0;
    for (unsigned seed = 1; seed <= study->n_seeds && seed <= MAX_SEEDS; seed++) {
        const struct model_spec *spec = study_model(study, "sparse", seed);
        for (size_t v = 0; spec && v < n; v++)
            sides[n_seeds * n + v] = (struct side){spec->name, variants[v]};
        n_seeds += spec != NULL;
    }
    compare_sizes(cells, &study->rows, sides, n, n_seeds, HEADLINE, 0, EDGES);
    FILE *table = study_table(study, name, "variant,edges,least_seed,greatest_seed,tasks");
    fprintf(study->report,
            "| found by | edges | seeds from .. to | against the first |\n|---|---|---|---|\n");
    for (size_t v = 0; v < n; v++) {
        fprintf(table, "%s,%.3f,%.3f,%.3f,%zu\n", variants[v], cells[v].size, cells[v].low,
                cells[v].high, cells[v].n_tasks);
        if (cells[v].n_tasks > 0)
            fprintf(study->report, "| %s | %.1f | %.1f .. %.1f | %.2f |\n", variants[v], cells[v].size,
                    cells[v].low, cells[v].high, cells[v].size / cells[0].size);
    }
    fprintf(study->report, "\n%zu tasks of all seeds.\n", cells[0].n_tasks);
    study_close(table, name);
}

void figure_31(const struct study *study)
{
    static const char *const variants[] = {"learned rank", "attribution rank", "integrated rank"};
    fprintf(study->report,
            "\n## Learned masks against attribution (the paper's figure 31)\n\n"
            "The fewest of the ranked nodes that reach uncalibrated loss %g; nothing is removed "
            "afterwards.\n\n",
            HEADLINE);
    compare_variants(study, "fig31", variants, sizeof variants / sizeof *variants);
}

void figure_edges(const struct study *study)
{
    static const char *const variants[] = {"search", "edges"};
    fprintf(study->report,
            "\n## Masks on edges against masks on nodes\n\n"
            "At uncalibrated loss %g, with searches of the same number of runs.\n\n",
            HEADLINE);
    compare_variants(study, "edges", variants, sizeof variants / sizeof *variants);
}

/* The model of the grid that differs from this one in nothing but its gradients. */
static const struct model_spec *twin_in_grid(const struct study *study, const struct model_spec *spec)
{
    for (size_t i = 0; i < study->n_models; i++) {
        const struct model_spec *other = &study->list[i];
        if (other->in_grid && other->d_model == spec->d_model &&
            fabs(other->density - spec->density) < 1e-9)
            return other;
    }
    return NULL;
}

void figure_gradients(const struct study *study)
{
    const struct model_spec *models[2] = {NULL, study_model(study, "dense_gradients", 1)};
    struct side sides[2];
    struct cell cells[2];
    if (models[1])
        models[0] = twin_in_grid(study, models[1]);
    if (!models[0])
        return;
    for (size_t i = 0; i < 2; i++)
        sides[i] = (struct side){models[i]->name, "search"};
    compare_sizes(cells, &study->rows, sides, 2, 1, HEADLINE, 0, EDGES);
    FILE *table = study_table(study, "gradients", "gradients,model,pretraining_loss,edges,tasks");
    fprintf(
        study->report,
        "\n## Gradients on the support against gradients of every weight\n\nCircuits at uncalibrated "
        "loss %g of two models of one shape (d_model %zu, density 1/%.0f), over the %zu tasks that "
        "both solve.\n\n| trained with gradients of | pretraining loss | edges |\n|---|---|---|\n",
        HEADLINE, models[0]->d_model, 1 / models[0]->density, cells[0].n_tasks);
    static const char *const names[] = {"the support", "every weight"};
    for (size_t i = 0; i < 2; i++) {
        const double loss = model_loss(&study->numbers[models[i] - study->list]);
        fprintf(table, "%s,%s,%.4f,%.3f,%zu\n", names[i], models[i]->name, loss, cells[i].size,
                cells[i].n_tasks);
        if (cells[i].n_tasks > 0)
            fprintf(study->report, "| %s | %.3f | %.1f |\n", names[i], loss, cells[i].size);
    }
    study_close(table, "gradients");
}

/* ----------------------------------------------------------------- figure 32 */

void figure_32(const struct study *study)
{
    static const char *const names[] = {"sufficient circuits", "grown until necessary",
                                        "random nodes, as many"};
    struct curve *curves = new_curves(3);
    FILE *table =
        study_table(study, "fig32", "model,task,variant,target_loss,edges,complement_loss,random_loss");
    for (size_t i = 0; i < 3; i++) {
        snprintf(curves[i].name, sizeof curves[i].name, "%s", names[i]);
        curves[i].points_only = 1;
    }
    for (size_t i = 0; i < study->rows.n; i++) {
        const struct row *row = &study->rows.row[i];
        int grown = strcmp(row->variant, "grown") == 0;
        if (strncmp(row->model, "sparse", 6) != 0 || strcmp(row->status, "ok") != 0 || row->calibrated ||
            row->edges == 0 || (!grown && strcmp(row->variant, "search") != 0))
            continue;
        fprintf(table, "%s,%s,%s,%g,%zu,%.4f,%.4f\n", row->model, row->task, row->variant, row->target,
                row->edges, row->necessity, row->random_necessity);
        curve_add(&curves[grown], (double)row->edges, row->necessity, 0, 0);
        curve_add(&curves[2], (double)row->edges, row->random_necessity, 0, 0);
    }
    study_close(table, "fig32");
    fputs("\n## Necessity (the paper's figure 32)\n\n![](fig32.svg)\n\n"
          "Loss on fresh pairs of the model without the circuit, calibrated anew; chance is 0.693. "
          "Beside it that of\n"
          "the model without as many random nodes of the same sites.\n",
          study->report);
    struct axes axes = {"The model without the circuit", "edges of the circuit", "loss, nats", 1, 0};
    draw(study->setup, study->context, "fig32", &axes, curves, 3);
    free(curves);
}
