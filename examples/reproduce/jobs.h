/* Work that many threads share: model by model, task by task. */
#ifndef REPRODUCE_JOBS_H
#define REPRODUCE_JOBS_H

#include "setup.h"

/* Calls run(payload, context, i) for i in 0 .. n - 1, in order of i as threads come free; each thread has a
 * context of its own. */
void jobs_run(const struct setup *setup, size_t n,
              void (*run)(void *payload, sn_context *context, size_t i), void *payload);

#endif
