/* A histogram whose range need not be known before. Bins are of one width, a power of two, and begin
 * at multiples of it; where the values leave what `capacity` bins cover, the width doubles. So the
 * result is exact and does not depend on the order of the values: the narrowest such bins that hold
 * them all. */
#ifndef SN_CIRCUIT_HISTOGRAM_H
#define SN_CIRCUIT_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BINS 4096 /* most that capacity may be, for the above to hold */

struct histogram {
    uint64_t *counts; /* capacity, lent, zeros at first */
    size_t capacity, n_bins;
    int exponent;  /* bins are 2^exponent wide */
    double scale;  /* 2^-exponent */
    int64_t first; /* counts[0] is of [first, first + 1) x width */
};

/* value: finite, not zero. */
void histogram_add(struct histogram *histogram, float value);
/* Lower edge of bin `bin`; of bin n_bins the upper edge of the last. */
double histogram_edge(const struct histogram *histogram, size_t bin);

#endif
