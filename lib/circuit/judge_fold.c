/* While nodes only leave a circuit, its measurements need not run what has left: the model of the circuit, folded as
 * sn_circuit_fold does, stands in for the whole one, at a cost that follows the circuit's edges. */
#include "circuit/judge.h"

#define WORTH_A_FOLD 0.75 /* of the nodes that the last fold had, or of all */

static void close_sessions(struct judge *judge)
{
    sn_session_free(judge->session);
    sn_session_free(judge->measuring);
    sn_model_free(judge->folded);
    judge->session = judge->measuring = NULL;
    judge->folded = NULL;
}

int judge_fold(struct judge *judge, const unsigned char *kept)
{
    size_t n = 0, n_before = judge->folded ? judge->n_folded : judge->layout.n_nodes;
    for (size_t i = 0; i < judge->layout.n_nodes; i++)
        n += kept[i] != 0;
    if (n >= n_before || (double)n > WORTH_A_FOLD * (double)n_before || judge->gated.memory ||
        !judge->has_gates)
        return SN_OK;
    /* With them little is saved, and such models are sparse already. */
    if (fold_keeps_competitors(&judge->model->config))
        return SN_OK;
    close_sessions(judge); /* first: what they hold is more than folding takes, as a rule */
    int status = fold_nodes(&judge->folded, judge->context, &judge->layout, kept, judge->means);
    judge->n_folded = n;
    return status == SN_OK ? judge_open_sessions(judge, judge->folded, GRADIENT_NONE) : status;
}

int judge_unfold(struct judge *judge)
{
    if (!judge->folded)
        return SN_OK;
    close_sessions(judge);
    return judge_open_sessions(judge, judge->model, GRADIENT_NONE);
}
