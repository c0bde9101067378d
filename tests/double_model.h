/* The whole model once more, in double precision and as plainly as it can be written: an oracle for
 * losses, and by finite differences for gradients. It shares the parsed configuration and the names of
 * the parameters with the library, and no arithmetic. Without held nodes. */
#ifndef SN_TESTS_DOUBLE_MODEL_H
#define SN_TESTS_DOUBLE_MODEL_H

#include <stdint.h>

#include "model/model.h"

struct double_model {
    const sn_model *model; /* lent */
    double **values;       /* by parameter: rows x cols, or rows */
};

/* What AbsTopK and ReLU decided, of a whole run. */
struct double_choices {
    uint64_t digest; /* of all decisions, in order */
    double nearest;  /* how close the closest was, as a share of the largest magnitude of its vector */
};

/* Its own copy of all weights; ends the test where it cannot. */
void double_model_create(struct double_model *out, const sn_model *model);
void double_model_free(struct double_model *model);
size_t double_model_size(const struct double_model *model, size_t parameter);
/* Mean cross-entropy, nats, over tokens with targets >= 0; sequence s is tokens[offsets[s]...]. */
double double_model_loss(const struct double_model *model, const int32_t *tokens, const size_t *offsets,
                         size_t n_sequences, const int32_t *targets, struct double_choices *choices);

#endif
