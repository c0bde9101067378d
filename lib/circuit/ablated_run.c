#include "circuit/ablated_run.h"

#include <string.h>

int ablated_run_check(struct sn_context *context, const struct sn_model *model,
                      const struct sn_circuit *circuit, const struct sn_means *means,
                      const char *function)
{
    if (!circuit)
        return SN_OK;
    if (circuit->model != model)
        return fail(context, SN_ERROR_ARGUMENT, "%s: the circuit belongs to another model", function);
    return means_check(means, context, model, function);
}

static int open_parts(struct ablated_run *run, struct sn_context *context, struct sn_model *model,
                      const struct sn_circuit *circuit, const struct sn_means *means, size_t free_node)
{
    int status = SN_OK;
    if (circuit && circuit->kept_edges) {
        status = gated_create(&run->gated, context, model, &circuit->layout, means);
        if (status == SN_OK)
            status = gated_set(&run->gated, context, circuit->kept_edges, 0);
        model = run->gated.model;
    }
    if (status == SN_OK)
        status = session_create_forward(&run->session, context, model);
    if (status != SN_OK || !circuit)
        return status;
    status = gates_create(&run->gates, context, &circuit->layout, means->values);
    if (status != SN_OK)
        return status;
    gates_set(&run->gates, circuit->kept, 0);
    if (free_node != NO_NODE)
        run->gates.mask[free_node] = 1;
    return gates_attach(&run->gates, run->session, 0);
}

int ablated_run_open(struct ablated_run *run, struct sn_context *context, struct sn_model *model,
                     const struct sn_circuit *circuit, const struct sn_means *means, size_t free_node)
{
    memset(run, 0, sizeof *run);
    run->memory = memory_retain(context->memory);
    int status = open_parts(run, context, model, circuit, means, free_node);
    if (status != SN_OK)
        ablated_run_close(run);
    return status;
}

void ablated_run_close(struct ablated_run *run)
{
    if (!run->memory)
        return;
    gates_free(&run->gates);
    sn_session_free(run->session);
    gated_free(&run->gated);
    memory_release(run->memory);
    memset(run, 0, sizeof *run);
}
