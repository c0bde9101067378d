/* What the figures need to know of each model beside its circuits. */
#ifndef REPRODUCE_MODEL_NUMBERS_H
#define REPRODUCE_MODEL_NUMBERS_H

#include "model_list.h"
#include "texts.h"

struct model_numbers {
    size_t nonzeros;
    double idiom_loss, real_loss; /* pretraining loss on held-out text, nats per token */
    size_t n_learnt;              /* tasks, on fresh pairs */
    double
        kurtosis; /* of the residual stream in front of the final norm, over tokens and channels; 3 = normal */
};

/* From what scores.c has written of a model, and its kurtosis. */
struct model_numbers model_numbers_measure(const struct setup *setup, const struct texts *texts,
                                           sn_context *context, const struct model_spec *spec);
/* What figures call the pretraining loss: half idioms, half real source. */
double model_loss(const struct model_numbers *numbers);

#endif
