#include "skill.h"

#define N_PAIRS 96
#define DEVELOP_SEED 400
#define AIM 0.02   /* not LEARNT_LOSS: other pairs may be harder than these */
#define CHANCE 0.5 /* and above: such a task's ups and downs say nothing */

struct skill skill_measure(const struct texts *texts, sn_context *context, sn_model *model)
{
    struct skill skill = {.n_learnt = 0};
    for (size_t i = 0; i < texts->n_tasks; i++) {
        sn_evaluation result = {.struct_size = sizeof result};
        sn_task *develop = texts_task(texts, context, i, "develop", N_PAIRS, DEVELOP_SEED);
        check(context,
              sn_evaluate(&result, context, model, NULL, NULL, SN_ABLATE_NOTHING, develop, develop));
        sn_task_free(develop);
        skill.loss[i] = result.raw_loss;
        skill.n_learnt += result.raw_loss <= LEARNT_LOSS;
        if (result.raw_loss > AIM)
            skill.excess += (result.raw_loss < CHANCE ? result.raw_loss : CHANCE) - AIM;
    }
    return skill;
}
