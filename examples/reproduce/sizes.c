#include "sizes.h"

#include <math.h>
#include <string.h>

#define MAX_SIDES 16

double size_at(const struct rows *rows, const char *model, const char *task, const char *variant,
               double target, int calibrated, enum measure measure)
{
    double best = 0;
    for (size_t i = 0; i < rows->n; i++) {
        const struct row *row = &rows->row[i];
        double size = (double)(measure == EDGES ? row->edges : row->nodes);
        if (strcmp(row->status, "ok") != 0 || row->calibrated != calibrated || row->target > target ||
            strcmp(row->model, model) != 0 || strcmp(row->task, task) != 0 ||
            strcmp(row->variant, variant) != 0)
            continue;
        if (size <= 0)
            return 0;
        if (best <= 0 || size < best)
            best = size;
    }
    return best;
}

/* Adds the logarithms of one task's sizes to `sums`, if every side has one; returns whether. */
static int add_task(double *sums, const struct rows *rows, const struct side *sides, size_t n_sides,
                    const char *task, double target, int calibrated, enum measure measure)
{
    double sizes[MAX_SIDES];
    for (size_t i = 0; i < n_sides; i++) {
        sizes[i] = size_at(rows, sides[i].model, task, sides[i].variant, target, calibrated, measure);
        if (sizes[i] == 0)
            return 0;
    }
    for (size_t i = 0; i < n_sides; i++)
        sums[i] += log(sizes[i]);
    return 1;
}

void compare_sizes(struct cell *cells, const struct rows *rows, const struct side *sides, size_t n_sides,
                   size_t n_seeds, double target, int calibrated, enum measure measure)
{
    size_t n_used = 0;
    for (size_t i = 0; i < n_sides; i++)
        cells[i] = (struct cell){.low = INFINITY};
    for (size_t seed = 0; seed < n_seeds; seed++) {
        double sums[MAX_SIDES] = {0};
        size_t n = 0;
        for (size_t task = 0; task < sn_python_task_count(); task++)
            n += (size_t)add_task(sums, rows, sides + seed * n_sides, n_sides, sn_python_task_name(task),
                                  target, calibrated, measure);
        for (size_t i = 0; i < n_sides && n > 0; i++) {
            double mean = sums[i] / (double)n;
            cells[i].size += mean;
            cells[i].low = fmin(cells[i].low, exp(mean));
            cells[i].high = fmax(cells[i].high, exp(mean));
            cells[i].n_tasks += n;
        }
        n_used += n > 0;
    }
    for (size_t i = 0; i < n_sides; i++)
        cells[i].size = n_used ? exp(cells[i].size / (double)n_used) : 0;
}

#define MAX_TASKS 32
#define N_ROUNDS 200

/* Of MAX_SIDES x MAX_TASKS; 0 where a side has no circuit, or nothing to be compared with. */
struct table {
    double logarithm[MAX_SIDES][MAX_TASKS];
    int known[MAX_SIDES][MAX_TASKS];
    size_t n_sides, n_tasks;
};

static void fill_table(struct table *table, const struct rows *rows, const struct side *sides,
                       double target, int calibrated, enum measure measure)
{
    for (size_t t = 0; t < table->n_tasks; t++) {
        size_t n = 0;
        for (size_t i = 0; i < table->n_sides; i++) {
            double size = size_at(rows, sides[i].model, sn_python_task_name(t), sides[i].variant, target,
                                  calibrated, measure);
            table->known[i][t] = size > 0;
            table->logarithm[i][t] = size > 0 ? log(size) : 0;
            n += size > 0;
        }
        for (size_t i = 0; n < 2 && i < table->n_sides; i++)
            table->known[i][t] = 0;
    }
}

/* Means of what the other side leaves, in turns, until they no longer move. */
static void fit_table(double side[MAX_SIDES], double task[MAX_TASKS], const struct table *table)
{
    for (int round = 0; round < N_ROUNDS; round++) {
        for (size_t i = 0; i < table->n_sides; i++) {
            double sum = 0, n = 0;
            for (size_t t = 0; t < table->n_tasks; t++)
                if (table->known[i][t]) {
                    sum += table->logarithm[i][t] - task[t];
                    n++;
                }
            side[i] = n > 0 ? sum / n : 0;
        }
        for (size_t t = 0; t < table->n_tasks; t++) {
            double sum = 0, n = 0;
            for (size_t i = 0; i < table->n_sides; i++)
                if (table->known[i][t]) {
                    sum += table->logarithm[i][t] - side[i];
                    n++;
                }
            task[t] = n > 0 ? sum / n : 0;
        }
    }
}

void fit_sizes(struct cell *cells, const struct rows *rows, const struct side *sides, size_t n_sides,
               double target, int calibrated, enum measure measure)
{
    struct table table = {.n_sides = n_sides, .n_tasks = sn_python_task_count()};
    double side[MAX_SIDES] = {0}, task[MAX_TASKS] = {0}, sum = 0, n = 0;
    fill_table(&table, rows, sides, target, calibrated, measure);
    fit_table(side, task, &table);
    for (size_t t = 0; t < table.n_tasks; t++) {
        int used = 0;
        for (size_t i = 0; i < n_sides; i++)
            used |= table.known[i][t];
        sum += used ? task[t] : 0;
        n += used;
    }
    for (size_t i = 0; i < n_sides; i++) {
        cells[i] = (struct cell){0};
        for (size_t t = 0; t < table.n_tasks; t++)
            cells[i].n_tasks += (size_t)table.known[i][t];
        if (cells[i].n_tasks > 0)
            cells[i].size = exp(side[i] + sum / n);
    }
}
