/* The curriculum: which stages a model is trained in until it does the tasks. */
#ifndef REPRODUCE_CURRICULUM_H
#define REPRODUCE_CURRICULUM_H

#include "skill.h"
#include "stage.h"

/* Fills in the stage with this number. `skill` is how well the model does the tasks by then, NULL in front of
 * stage 0. Returns 0 where no stage is left to do. */
int curriculum_stage(struct stage *stage, const struct model_spec *spec, const struct texts *texts,
                     const struct setup *setup, size_t number, const struct skill *skill);

#endif
