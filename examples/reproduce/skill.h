/* How well a model does the tasks, on the pairs that choices are made on. */
#ifndef REPRODUCE_SKILL_H
#define REPRODUCE_SKILL_H

#include "texts.h"

#define LEARNT_LOSS 0.05

struct skill {
    double loss[MAX_TASKS]; /* uncalibrated, on development pairs */
    double excess;          /* sum over the tasks of what is missing to a loss well below LEARNT_LOSS */
    size_t n_learnt;        /* tasks that are not above it */
};

struct skill skill_measure(const struct texts *texts, sn_context *context, sn_model *model);

#endif
