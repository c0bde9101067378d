#include "circuit/gates.h"

#include <string.h>

#include "kernels/kernels.h"

/* x: width x PANEL. `saved`, when learning, takes what the backward wants of it. */
static void gate_forward(struct intervention *self, const struct site_view *view, float *x, void *saved)
{
    const struct gate *gate = (const struct gate *)self;
    (void)view;
    gate->kernels->gate(x, saved, gate->mask, gate->mean, gate->width);
}

static void gate_backward(struct intervention *self, const struct site_view *view, float *dx,
                          const void *saved, float *partial)
{
    const struct gate *gate = (const struct gate *)self;
    gate->kernels->gate_backward(partial, dx, saved, gate->mask, gate->mean, gate->width,
                                 view->n_tokens);
}

int gates_create(struct gates *gates, struct sn_context *context, const struct node_layout *layout,
                 const float *means)
{
    size_t n = layout->n_nodes;
    memset(gates, 0, sizeof *gates);
    gates->memory = memory_retain(context->memory);
    gates->layout = layout;
    gates->gates = memory_allocate_zeroed_array(gates->memory, layout->n_sites, sizeof *gates->gates);
    gates->mask = memory_allocate_array(gates->memory, n, sizeof *gates->mask);
    gates->gradient = memory_allocate_zeroed_array(gates->memory, n, sizeof *gates->gradient);
    if (!gates->gates || !gates->mask || !gates->gradient) {
        gates_free(gates);
        return fail_memory(context, "node masks", n * sizeof(float));
    }
    for (size_t i = 0; i < n; i++)
        gates->mask[i] = 1;
    for (size_t s = 0; s < layout->n_sites; s++) {
        const struct node_site *site = &layout->sites[s];
        gates->gates[s] = (struct gate){.base = {.forward = gate_forward},
                                        .kernels = context->kernels,
                                        .width = site->width,
                                        .mask = gates->mask + site->first,
                                        .mean = means + site->first};
        gates->gates[s].base.gradient = gates->gradient + site->first;
    }
    return SN_OK;
}

void gates_free(struct gates *gates)
{
    if (!gates->memory)
        return;
    gates_detach(gates);
    size_t n = gates->layout->n_nodes;
    memory_free(gates->memory, gates->gates, gates->layout->n_sites * sizeof *gates->gates);
    memory_free(gates->memory, gates->mask, n * sizeof *gates->mask);
    memory_free(gates->memory, gates->gradient, n * sizeof *gates->gradient);
    memory_release(gates->memory);
    memset(gates, 0, sizeof *gates);
}

int gates_attach(struct gates *gates, struct sn_session *session, int learning)
{
    gates_detach(gates);
    gates->session = session;
    for (size_t s = 0; s < gates->layout->n_sites; s++) {
        struct gate *gate = &gates->gates[s];
        gate->base.backward = learning ? gate_backward : NULL;
        gate->base.saved_bytes = learning ? gate_kept_bytes(gate->width) : 0;
        gate->base.n_parameters = learning ? gate->width : 0;
        int status = session_attach(session, gates->layout->sites[s].site, &gate->base);
        if (status != SN_OK) {
            gates_detach(gates);
            return status;
        }
    }
    return SN_OK;
}

void gates_detach(struct gates *gates)
{
    if (!gates->session)
        return;
    for (size_t s = 0; s < gates->layout->n_sites; s++)
        session_detach(gates->session, &gates->gates[s].base);
    gates->session = NULL;
}

void gates_set(struct gates *gates, const unsigned char *kept, int complement)
{
    for (size_t i = 0; i < gates->layout->n_nodes; i++)
        gates->mask[i] = (kept[i] != 0) != (complement != 0) ? 1.0f : 0.0f;
}

void gates_zero_gradient(struct gates *gates)
{
    memset(gates->gradient, 0, gates->layout->n_nodes * sizeof *gates->gradient);
}
