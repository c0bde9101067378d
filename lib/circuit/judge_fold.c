/* While nodes only leave a circuit, its measurements need not run what has left: the model of the circuit, folded as
 * sn_circuit_fold does, stands in for the whole one, at a cost that follows the circuit's edges. */
#include "circuit/judge.h"

#define WORTH_A_FOLD 0.75 /* of the nodes that the last fold had, or of all */

static int set_sessions(struct judge *judge, struct sn_model *model)
{
    sn_session_free(judge->session);
    sn_session_free(judge->measuring);
    judge->session = judge->measuring = NULL;
    return judge_open_sessions(judge, model, GRADIENT_NONE);
}

static int fold(struct sn_model **out, struct judge *judge, const unsigned char *kept)
{
    sn_circuit *circuit;
    int status = sn_circuit_create(&circuit, judge->context, judge->model, NULL);
    if (status == SN_OK)
        status = circuit_set_nodes(circuit, judge->context, kept);
    if (status == SN_OK)
        status = sn_circuit_fold(out, judge->context, circuit, judge->means, NULL);
    sn_circuit_free(circuit);
    return status;
}

int judge_fold(struct judge *judge, const unsigned char *kept)
{
    struct sn_model *folded;
    size_t n = 0, n_before = judge->folded ? judge->n_folded : judge->layout.n_nodes;
    for (size_t i = 0; i < judge->layout.n_nodes; i++)
        n += kept[i] != 0;
    if ((double)n > WORTH_A_FOLD * (double)n_before || judge->gated.memory || !judge->has_gates)
        return SN_OK;
    if (fold_keeps_competitors(
            &judge->model->config)) /* little is saved, and such models are sparse already */
        return SN_OK;
    int status = fold(&folded, judge, kept);
    if (status != SN_OK)
        return status;
    status = set_sessions(judge, folded);
    sn_model_free(judge->folded);
    judge->folded = folded;
    judge->n_folded = n;
    return status;
}

int judge_unfold(struct judge *judge)
{
    if (!judge->folded)
        return SN_OK;
    int status = set_sessions(judge, judge->model);
    sn_model_free(judge->folded);
    judge->folded = NULL;
    return status;
}
