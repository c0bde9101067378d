/* One model from random weights to the finished file. */
#ifndef REPRODUCE_TRAIN_MODEL_H
#define REPRODUCE_TRAIN_MODEL_H

#include "model_list.h"
#include "texts.h"

/* Trains the model, unless its file is there; goes on where an interrupted run stopped. Writes
 * models/NAME.safetensors last. context: of this thread alone. */
void train_model(const struct setup *setup, const struct model_spec *spec, const struct texts *texts,
                 sn_context *context);
/* Reads the finished model. */
sn_model *load_trained_model(const struct setup *setup, const struct model_spec *spec,
                             sn_context *context);

#endif
