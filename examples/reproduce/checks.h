/* What is measured of a circuit, or of the whole model, for its row. */
#ifndef REPRODUCE_CHECKS_H
#define REPRODUCE_CHECKS_H

#include "rows.h"
#include "texts.h"

/* A model at a task. */
struct subject {
    sn_context *context;
    sn_model *model;
    sn_means *means;
    sn_corpus *text; /* held-out text of both kinds, that the means and resampled values are of */
    sn_task *prune, *develop, *fresh;
};

void subject_open(struct subject *subject, sn_context *context, const struct setup *setup,
                  const struct texts *texts, sn_model *model, size_t task, size_t n_pairs);
/* Frees all but the model. */
void subject_close(struct subject *subject);

void checks_model(struct row *row, const struct subject *subject);
/* Size, loss, necessity beside that of a random circuit. */
void checks_circuit(struct row *row, const struct subject *subject, const sn_circuit *circuit);
/* Binarised nodes; everything else resampled. */
void checks_validate(struct row *row, const struct subject *subject, const sn_circuit *circuit);

#endif
