#include "circuit/line.h"

#include <math.h>

void line_add(struct line *line, double x, double y)
{
    double n = (double)++line->n, off_x = x - line->mean_x, off_y = y - line->mean_y;
    line->mean_x += off_x / n;
    line->mean_y += off_y / n;
    line->xx += off_x * (x - line->mean_x);
    line->yy += off_y * (y - line->mean_y);
    line->xy += off_x * (y - line->mean_y);
}

void line_fit(double *factor, double *offset, const struct line *line)
{
    *factor = line->xx > 0 ? line->xy / line->xx : 0;
    *offset = line->mean_y - *factor * line->mean_x;
}

double line_correlation(const struct line *line)
{
    if (!(line->xx > 0 && line->yy > 0))
        return 0;
    double correlation = line->xy / (sqrt(line->xx) * sqrt(line->yy));
    return fmax(-1, fmin(1, correlation));
}

double line_explained(const struct line *line, double factor, double offset)
{
    double off = line->mean_y - factor * line->mean_x - offset;
    double error = line->yy - 2 * factor * line->xy + factor * factor * line->xx;
    error = fmax(error, 0) + (double)line->n * off * off;
    if (line->yy > 0)
        return 1 - error / line->yy;
    return error > 0 ? 0 : 1;
}
