/* All circuits of one model for one task: one search of masks serves every target loss. */
#ifndef REPRODUCE_CIRCUITS_H
#define REPRODUCE_CIRCUITS_H

#include "model_list.h"
#include "rows.h"
#include "texts.h"

/* Finds them and writes OUT_DIR/circuits/MODEL.TASK.csv, the circuit at the headline loss as JSON beside. What is
 * there already stays; a search goes on where it stopped. */
void circuits_find(const struct setup *setup, const struct texts *texts, sn_context *context,
                   const struct model_spec *spec, size_t task);
/* The path of that table. */
void circuits_path(char path[PATH_CAPACITY], const struct setup *setup, const struct model_spec *spec,
                   size_t task);

#endif
