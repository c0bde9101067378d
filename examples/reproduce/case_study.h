/* Two circuits of the first weight-sparse model from the inside: what every node of the quote and the bracket circuit
 * is made of, and a prediction about the whole model. Writes case_TASK.md and case_dilution.svg. */
#ifndef REPRODUCE_CASE_STUDY_H
#define REPRODUCE_CASE_STUDY_H

#include "report.h"
#include "texts.h"

void case_study(const struct study *study, const struct texts *texts);

#endif
