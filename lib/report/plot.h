/* The inside of sn_plot: plot.c takes the points, plot_axis.c finds range and ticks, plot_svg.c draws. */
#ifndef SN_REPORT_PLOT_H
#define SN_REPORT_PLOT_H

#include <stddef.h>

#include "base/context.h"
#include "base/memory.h"

#define PLOT_MAX_SERIES 12
#define PLOT_MAX_TICKS 64

struct plot_series {
    char *name;
    int style;
    size_t n;
    double *x, *y, *low, *high; /* n each; low and high are both there or NULL */
};

struct plot_level {
    char *label;
    double y;
};

struct sn_plot {
    struct memory *memory; /* retained */
    char *title, *x_label, *y_label;
    size_t log_x, log_y;
    struct plot_series series[PLOT_MAX_SERIES];
    struct plot_level levels[PLOT_MAX_SERIES];
    size_t n_series, n_levels;
};

/* One axis: values from `from` to `to` (logarithms of them on a logarithmic one), and its ticks. */
struct plot_axis {
    int logarithmic;
    double from, to;
    size_t n_ticks;
    double tick[PLOT_MAX_TICKS];
    int labelled[PLOT_MAX_TICKS];
};

/* The axis for values from `low` to `high`, with some room at both ends. */
void plot_axis_fit(struct plot_axis *axis, double low, double high, int logarithmic);
/* Where a value stands on it, 0 .. 1. */
double plot_axis_place(const struct plot_axis *axis, double value);

#endif
