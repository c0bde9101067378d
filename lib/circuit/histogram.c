#include "circuit/histogram.h"

#include <math.h>
#include <string.h>

/* Two floats that differ, do so by 2^-24 of the larger at least: at 2^-40 no width is too coarse for
 * 4096 bins. */
#define FINEST 40

static int64_t halved(int64_t bin, int times)
{
    if (times > 62)
        return bin < 0 ? -1 : 0;
    int64_t size = (int64_t)1 << times;
    return bin >= 0 ? bin / size : -((-bin + size - 1) / size);
}

/* Doubles the width `times` times. */
static void coarsen(struct histogram *histogram, int times)
{
    int64_t first = halved(histogram->first, times);
    size_t n = 0;
    for (size_t i = 0; i < histogram->n_bins; i++) {
        uint64_t count = histogram->counts[i];
        size_t to = (size_t)(halved(histogram->first + (int64_t)i, times) - first);
        histogram->counts[i] = 0; /* to <= i */
        histogram->counts[to] += count;
        n = to + 1;
    }
    histogram->first = first;
    histogram->n_bins = n;
    histogram->exponent += times;
    histogram->scale = ldexp(1, -histogram->exponent);
}

/* Takes bin `bin` into the range, if it fits. */
static int reach(struct histogram *histogram, int64_t bin)
{
    int64_t last = histogram->first + (int64_t)histogram->n_bins - 1;
    int64_t low = bin < histogram->first ? bin : histogram->first, high = bin > last ? bin : last;
    if (high - low >= (int64_t)histogram->capacity)
        return 0;
    size_t shift = (size_t)(histogram->first - low);
    if (shift) {
        memmove(histogram->counts + shift, histogram->counts,
                histogram->n_bins * sizeof *histogram->counts);
        memset(histogram->counts, 0, shift * sizeof *histogram->counts);
    }
    histogram->first = low;
    histogram->n_bins = (size_t)(high - low) + 1;
    return 1;
}

void histogram_add(struct histogram *histogram, float value)
{
    int finest = ilogbf(value) - FINEST;
    if (histogram->n_bins == 0) {
        histogram->exponent = finest;
        histogram->scale = ldexp(1, -finest);
        histogram->first = (int64_t)floor((double)value * histogram->scale);
        histogram->n_bins = 1;
    } else if (histogram->exponent < finest) {
        coarsen(histogram, finest - histogram->exponent);
    }
    int64_t bin = (int64_t)floor((double)value * histogram->scale);
    while (!reach(histogram, bin)) {
        coarsen(histogram, 1);
        bin = (int64_t)floor((double)value * histogram->scale);
    }
    histogram->counts[bin - histogram->first]++;
}

double histogram_edge(const struct histogram *histogram, size_t bin)
{
    return ldexp((double)(histogram->first + (int64_t)bin), histogram->exponent);
}
