/* One stretch of training. */
#ifndef REPRODUCE_STAGE_H
#define REPRODUCE_STAGE_H

#include "model_list.h"
#include "texts.h"

struct stage {
    size_t steps, batch;
    double learning_rate; /* falls to zero at the end */
    double start_density, end_density, schedule_end;
    unsigned seed;
    int support_gradients;
    size_t drill_window;
    /* Of the windows: pairs of the tasks, text of their constructs, idioms of all kinds, source that people wrote. */
    double pair_share[MAX_TASKS], drill_share[MAX_TASKS], idiom_share, real_share;
};

/* Trains `from` on; *out is the new model. checkpoint (may be NULL): where the state is kept meanwhile,
 * and from where the stage goes on if it was interrupted; the caller removes it. */
void stage_run(sn_model **out, const struct stage *stage, const struct texts *texts, sn_context *context,
               const sn_model *from, const char *checkpoint);

#endif
