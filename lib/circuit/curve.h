/* A curve as it grows, in a fixed room: when it is full every second point goes, and of what follows as many. */
#ifndef SN_CIRCUIT_CURVE_H
#define SN_CIRCUIT_CURVE_H

#include <stddef.h>

#define CURVE_POINTS 256 /* even */

struct curve {
    size_t n, seen;
    size_t every; /* one of so many points is kept; 0 at the start stands for 1 */
    double x[CURVE_POINTS], y[CURVE_POINTS];
};

void curve_add(struct curve *curve, double x, double y);
/* Points in order of x, of one x the last. */
void curve_sort(struct curve *curve);

#endif
