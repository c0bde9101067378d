#include "optim/schedule.h"

#include <math.h>

static double shaped(const struct density_schedule *schedule, double from, double to, double p)
{
    switch (schedule->shape) {
    case DENSITY_LINEAR: return from + (to - from) * p;
    case DENSITY_POWER: return to + (from - to) * pow(1 - p, schedule->power);
    case DENSITY_EXPONENTIAL: break;
    }
    return from * pow(to / from, p);
}

double schedule_density(const struct density_schedule *schedule, double target, double progress)
{
    double from = schedule->start_density;
    if (progress >= schedule->end || from <= target)
        return target;
    if (progress <= schedule->start)
        return from;
    double p = (progress - schedule->start) / (schedule->end - schedule->start);
    return shaped(schedule, from, target, p);
}

double schedule_rate_scale(enum rate_scale scale, double density, double final_density)
{
    switch (scale) {
    case RATE_SHARKFIN: return 1 / sqrt(density);
    case RATE_FINAL: return sqrt(final_density / density);
    case RATE_NONE: break;
    }
    return 1;
}

double schedule_decay(size_t step, size_t steps)
{
    return step < steps ? 1 - (double)step / (double)steps : 0;
}

double schedule_warmup_decay(size_t step, size_t steps, double warmup)
{
    double warm = warmup * (double)steps, rising = (double)(step + 1);
    return (rising < warm ? rising / warm : 1) * schedule_decay(step, steps);
}
