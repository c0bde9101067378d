/* The report: OUT_DIR/report.md, and what the figures add to it. */
#ifndef REPRODUCE_REPORT_H
#define REPRODUCE_REPORT_H

#include <stdio.h>

#include "model_list.h"
#include "model_numbers.h"
#include "rows.h"
#include "texts.h"

struct study {
    const struct setup *setup;
    const struct model_spec *list;
    const struct model_numbers *numbers;
    size_t n_models, n_seeds;
    struct rows rows; /* of all models and tasks */
    sn_context *context;
    FILE *report;
};

/* The model of a family and seed, NULL where the study has none. */
const struct model_spec *study_model(const struct study *study, const char *family, unsigned seed);
/* Opens OUT_DIR/NAME.csv with a header line. */
FILE *study_table(const struct study *study, const char *name, const char *header);
void study_close(FILE *table, const char *name);

void figure_2(const struct study *study);
void figure_3(const struct study *study);
void figure_10(const struct study *study);
void figure_31(const struct study *study);
void figure_32(const struct study *study);
void figure_edges(const struct study *study);
void figure_gradients(const struct study *study);
void figure_validation(const struct study *study);
/* The whole report, figure by figure. */
void report_write(struct study *study, const struct texts *texts);

#endif
