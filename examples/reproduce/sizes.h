/* Sizes of circuits over tasks and seeds, as the figures compare them: over tasks that every model of the comparison
 * solves, or, of many models, by a fit. */
#ifndef REPRODUCE_SIZES_H
#define REPRODUCE_SIZES_H

#include "rows.h"

enum measure { EDGES, NODES };

/* The fewest edges (nodes) of a model's circuits for a task that hold `target` or a stricter loss; 0 where there
 * are none, or where the task needs no edge at all: a geometric mean has no place for that. */
double size_at(const struct rows *rows, const char *model, const char *task, const char *variant,
               double target, int calibrated, enum measure measure);

struct cell {
    double size;      /* geometric mean over tasks, and over seeds */
    double low, high; /* least and greatest of the seeds' means */
    size_t n_tasks;   /* of all seeds */
};

/* One thing compared in one seed: whose circuits, found how. */
struct side {
    const char *model, *variant;
};

/* Means of `n_sides` sides over tasks which all sides have at this target, seed by seed: side[seed * n_sides + i]. */
void compare_sizes(struct cell *cells, const struct rows *rows, const struct side *sides, size_t n_sides,
                   size_t n_seeds, double target, int calibrated, enum measure measure);

/* Sizes of models that do not all solve the same tasks, as if they did: each logarithm is a sum of what belongs to the
 * model and what to the task, fitted by least squares to the circuits that there are of tasks which at least two sides
 * solve. A cell's size is the model's at the mean of the tasks; n_tasks: those of its own that were used. Of one seed. */
void fit_sizes(struct cell *cells, const struct rows *rows, const struct side *sides, size_t n_sides,
               double target, int calibrated, enum measure measure);

#endif
