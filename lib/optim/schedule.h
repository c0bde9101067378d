/* Learning rate and density over a run (method 3). Progress runs from 0 (start) to 1 (end). */
#ifndef SN_OPTIM_SCHEDULE_H
#define SN_OPTIM_SCHEDULE_H

#include <stddef.h>

enum density_shape { DENSITY_EXPONENTIAL, DENSITY_LINEAR, DENSITY_POWER };

struct density_schedule {
    enum density_shape shape;
    double power;         /* of DENSITY_POWER */
    double start_density; /* until `start`; a target above it is constant from the beginning */
    double start, end;    /* in progress; start <= end */
};

/* Density at `progress`: with p = (progress - start) / (end - start) clamped to [0, 1] and s the start
 * density, exponential s (target/s)^p, linear s + (target - s) p, power target + (s - target)(1 - p)^power.
 * Never rises; exactly `target` from `end` on. */
double schedule_density(const struct density_schedule *schedule, double target, double progress);

/* How the learning rate follows the density ("sharkfin" of the paper, the authors' script, none). */
enum rate_scale { RATE_SHARKFIN, RATE_FINAL, RATE_NONE };
/* 1/sqrt(density), sqrt(final_density / density), or 1. */
double schedule_rate_scale(enum rate_scale scale, double density, double final_density);

/* Linear decay to 0 at the end of the run: 1 - step / steps; step counts from 0. */
double schedule_decay(size_t step, size_t steps);
/* min(1, (step + 1) / (warmup steps)) * schedule_decay. */
double schedule_warmup_decay(size_t step, size_t steps, double warmup);

#endif
