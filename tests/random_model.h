/* Random models over every option of the configuration, in awkward shapes, with weights of every density and a ragged
 * batch: what double_model.h is compared with. */
#ifndef SN_TESTS_RANDOM_MODEL_H
#define SN_TESTS_RANDOM_MODEL_H

#include "base/random.h"
#include "double_model.h"

#define RANDOM_MODEL_TOKENS 70
#define RANDOM_MODEL_SEQUENCES 4

struct random_model {
    struct random_state random; /* goes on where the choices below ended */
    sn_context *context;        /* lent */
    char config[1024];
    sn_model *model;
    int32_t tokens[RANDOM_MODEL_TOKENS], targets[RANDOM_MODEL_TOKENS];
    size_t offsets[RANDOM_MODEL_SEQUENCES + 1], n_sequences;
    struct double_model oracle;
    struct double_choices choices; /* of the model as it is */
};

/* Returns 0 where a choice (of AbsTopK, of ReLU) is so close that rounding could make it: such a model is to be passed
 * over. To be freed either way. */
int random_model_create(struct random_model *out, sn_context *context, uint64_t seed);
void random_model_free(struct random_model *model);
/* By the oracle, with the weights that it holds now. */
double random_model_loss(const struct random_model *model, struct double_choices *choices);

#endif
