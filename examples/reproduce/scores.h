/* What the trained models do: loss on held-out text, and on every task. */
#ifndef REPRODUCE_SCORES_H
#define REPRODUCE_SCORES_H

#include "model_list.h"
#include "texts.h"

/* Measures a trained model, unless that is done, into models/NAME.tasks.csv (a line for each task and split)
 * and models/NAME.csv (one line). */
void scores_measure(const struct setup *setup, const struct model_spec *spec, const struct texts *texts,
                    sn_context *context);
/* Puts them together as tasks.csv and models.csv. */
void scores_collect(const struct setup *setup, const struct model_spec *list, size_t n_models);

#endif
