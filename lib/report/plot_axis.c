#include <math.h>

#include "report/plot.h"

#define ROOM 0.04       /* of the range, at both ends */
#define N_STEPS 6       /* of a linear axis, at most */
#define FEW_DECADES 2.2 /* up to here 2 and 5 have labels too */

double plot_axis_place(const struct plot_axis *axis, double value)
{
    double at = axis->logarithmic ? log10(value) : value;
    return (at - axis->from) / (axis->to - axis->from);
}

static void add_tick(struct plot_axis *axis, double value, int labelled)
{
    double place = plot_axis_place(axis, value);
    if (place < -1e-9 || place > 1 + 1e-9 || axis->n_ticks == PLOT_MAX_TICKS)
        return;
    axis->tick[axis->n_ticks] = value;
    axis->labelled[axis->n_ticks++] = labelled;
}

/* 1, 2 or 5 times a power of ten. */
static double round_step(double step)
{
    double power = pow(10, floor(log10(step)));
    double rest = step / power;
    return power * (rest <= 1 ? 1 : rest <= 2 ? 2 : rest <= 5 ? 5 : 10);
}

static void linear_ticks(struct plot_axis *axis)
{
    double step = round_step((axis->to - axis->from) / N_STEPS);
    double first = ceil(axis->from / step);
    for (int i = 0; i <= 2 * N_STEPS; i++) {
        double value = (first + i) * step;
        add_tick(axis, fabs(value) < step / 2 ? 0 : value, 1);
    }
}

static void log_ticks(struct plot_axis *axis)
{
    int few = axis->to - axis->from < FEW_DECADES, first = (int)floor(axis->from),
        last = (int)ceil(axis->to);
    int every = (last - first) / 8 + 1; /* decades to a label */
    for (int decade = first; decade <= last; decade++)
        for (int digit = 1; digit < (every == 1 ? 10 : 2); digit++)
            add_tick(axis, digit * pow(10, decade),
                     digit == 1 ? (decade - first) % every == 0 : few && (digit == 2 || digit == 5));
}

void plot_axis_fit(struct plot_axis *axis, double low, double high, int logarithmic)
{
    double from = logarithmic ? log10(low) : low, to = logarithmic ? log10(high) : high;
    double least = logarithmic ? 0.3 : 1e-9 + 1e-3 * fmax(fabs(from), fabs(to));
    double room = fmax(ROOM * (to - from), (least - (to - from)) / 2);
    *axis = (struct plot_axis){.logarithmic = logarithmic, .from = from - room, .to = to + room};
    if (!logarithmic && low >= 0 && axis->from < 0)
        axis->from = 0;
    if (logarithmic)
        log_ticks(axis);
    else
        linear_ticks(axis);
}
