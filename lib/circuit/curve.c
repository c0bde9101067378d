#include "circuit/curve.h"

#include <string.h>

void curve_add(struct curve *curve, double x, double y)
{
    if (curve->every == 0)
        curve->every = 1;
    if (curve->n == CURVE_POINTS) {
        curve->n /= 2;
        curve->every *= 2;
        for (size_t i = 0; i < curve->n; i++) {
            curve->x[i] = curve->x[2 * i];
            curve->y[i] = curve->y[2 * i];
        }
    }
    if (curve->seen++ % curve->every)
        return;
    curve->x[curve->n] = x;
    curve->y[curve->n++] = y;
}

void curve_sort(struct curve *curve)
{
    size_t n = 0;
    for (size_t i = 0; i < curve->n; i++) {
        double x = curve->x[i], y = curve->y[i];
        size_t place = n;
        while (place > 0 && curve->x[place - 1] > x) {
            curve->x[place] = curve->x[place - 1];
            curve->y[place] = curve->y[place - 1];
            place--;
        }
        int again = place > 0 && !(curve->x[place - 1] < x);
        if (again) {
            memmove(curve->x + place, curve->x + place + 1, (n - place) * sizeof x);
            memmove(curve->y + place, curve->y + place + 1, (n - place) * sizeof y);
            place--;
        }
        curve->x[place] = x;
        curve->y[place] = y;
        n += !again;
    }
    curve->n = n;
}
