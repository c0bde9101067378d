/* Sizes of circuits over tasks and seeds, as the figures compare them: always over tasks that every model of the
 * comparison solves. */
#ifndef REPRODUCE_SIZES_H
#define REPRODUCE_SIZES_H

#include "rows.h"

enum measure { EDGES, NODES };

/* The fewest edges (nodes) of a model's circuits for a task that hold `target` or a stricter loss; 0 where there
 * are none. */
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

#endif
