/* A straight line through pairs of values, by least squares, in one pass. Means and moments are carried along rather
 * than sums of squares, so that a constant has a variance of exactly 0. */
#ifndef SN_CIRCUIT_LINE_H
#define SN_CIRCUIT_LINE_H

#include <stddef.h>

struct line {
    size_t n;
    double mean_x, mean_y;
    double xx, yy, xy; /* sums of squares and products around the means */
};

void line_add(struct line *line, double x, double y);
/* y = factor x + offset; factor 0 where x is constant, and both 0 without values. */
void line_fit(double *factor, double *offset, const struct line *line);
/* In -1 .. 1; 0 where x or y is constant. */
double line_correlation(const struct line *line);
/* The share of y's variance that factor x + offset explains: 1 - mean squared error / variance. Below 0 where y's mean
 * would do better; where y is constant, 1 if it is met and 0 if not. */
double line_explained(const struct line *line, double factor, double offset);

#endif
