/* A figure as OUT_DIR/NAME.svg, from curves. */
#ifndef REPRODUCE_DRAW_H
#define REPRODUCE_DRAW_H

#include "setup.h"

#define MAX_POINTS 256

struct curve {
    char name[80];
    size_t n;
    int points_only;
    int has_spread; /* low and high hold */
    double x[MAX_POINTS], y[MAX_POINTS], low[MAX_POINTS], high[MAX_POINTS];
};

struct axes {
    const char *title, *x, *y;
    int log_x, log_y;
};

/* Adds a point; no spread where low is 0. */
void curve_add(struct curve *curve, double x, double y, double low, double high);
/* Curves without points are left out. */
void draw(const struct setup *setup, sn_context *context, const char *name, const struct axes *axes,
          const struct curve *curves, size_t n);

#endif
