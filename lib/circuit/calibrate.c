/* The loss is convex in (scale, shift). For a given scale the best shift is the root of an increasing
 * function, which lies where the two classes' pulls can balance; with that shift the derivative by the
 * scale is again increasing, so bisection over the bounded scale finds the optimum whatever the data. */
#include "circuit/calibrate.h"

#include <math.h>

#define SCALE_STEPS 45
#define SHIFT_STEPS 100

static double class_of(size_t prompt)
{
    return prompt % 2 ? -1 : 1;
}

/* log(1 + exp(-margin)) without overflow */
static double softplus_negative(double margin)
{
    return margin > 0 ? log1p(exp(-margin)) : log1p(exp(margin)) - margin;
}

/* 1 / (1 + exp(margin)) */
static double miss(double margin)
{
    if (margin > 0) {
        double e = exp(-margin);
        return e / (1 + e);
    }
    return 1 / (1 + exp(margin));
}

double calibrated_loss(const double *difference, size_t n_prompts, struct calibration calibration)
{
    double sum = 0;
    for (size_t i = 0; i < n_prompts; i++)
        sum += softplus_negative(class_of(i) * (calibration.scale * difference[i] + calibration.shift));
    return n_prompts ? sum / (double)n_prompts : 0;
}

double calibrated_accuracy(const double *difference, size_t n_prompts, struct calibration calibration)
{
    double right = 0;
    for (size_t i = 0; i < n_prompts; i++) {
        double margin = class_of(i) * (calibration.scale * difference[i] + calibration.shift);
        right += margin > 0 ? 1 : margin == 0 ? 0.5 : 0;
    }
    return n_prompts ? right / (double)n_prompts : 0;
}

/* Derivatives by shift (value and slope) and by scale, sums over prompts. */
struct derivatives {
    double shift, shift_slope, scale;
};

static struct derivatives derive(const double *difference, size_t n, struct calibration at)
{
    double ridge = 2 * CALIBRATION_SHIFT_RIDGE * (double)n;
    struct derivatives d = {ridge * at.shift, ridge,
                            2 * CALIBRATION_SCALE_RIDGE * (double)n * (at.scale - 1)};
    for (size_t i = 0; i < n; i++) {
        double m = miss(class_of(i) * (at.scale * difference[i] + at.shift));
        d.shift -= class_of(i) * m;
        d.shift_slope += m * (1 - m);
        d.scale -= class_of(i) * m * difference[i];
    }
    return d;
}

/* Newton's method kept inside a shrinking bracket. Below -max(scale d) all prompts are called B, above
 * -min(scale d) all A: the root lies between. */
static double best_shift(const double *difference, size_t n, double scale, struct derivatives *at)
{
    double low = 0, high = 0; /* where the ridge alone would have it */
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, -scale * difference[i]);
        high = fmax(high, -scale * difference[i]);
    }
    double shift = 0.5 * (low + high);
    for (int step = 0; step < SHIFT_STEPS; step++) {
        *at = derive(difference, n, (struct calibration){scale, shift});
        if (at->shift > 0)
            high = shift;
        else
            low = shift;
        double next = at->shift_slope > 0 ? shift - at->shift / at->shift_slope : low;
        if (!(next > low && next < high))
            next = 0.5 * (low + high);
        if (fabs(next - shift) <= 1e-13 * (1 + fabs(shift)))
            break;
        shift = next;
    }
    return shift;
}

struct calibration calibrate(const double *difference, size_t n_prompts)
{
    struct calibration best = {0, 0};
    struct derivatives at;
    if (n_prompts == 0)
        return best;
    best.shift = best_shift(difference, n_prompts, 0, &at);
    if (at.scale >= 0)
        return best;
    double low = 0, high = CALIBRATION_MAX_SCALE;
    best.scale = high;
    best.shift = best_shift(difference, n_prompts, best.scale, &at);
    if (at.scale <= 0)
        return best;
    for (int step = 0; step < SCALE_STEPS; step++) {
        best.scale = 0.5 * (low + high);
        best.shift = best_shift(difference, n_prompts, best.scale, &at);
        if (at.scale > 0)
            high = best.scale;
        else
            low = best.scale;
    }
    return best;
}
