/* Nodes that a model holds at a fixed value, after AbsTopK: what is left of a circuit's ablated nodes
 * where AbsTopK must still see what they would have been (docs/circuits.md). Every session attaches them
 * first. */
#include <string.h>

#include "model/session_state.h"

struct held {
    struct intervention base;
    const float *mask, *value; /* the model's; a channel is held where its mask is not 0 */
    size_t width;
};

static void held_forward(struct intervention *self, const struct site_view *view, float *x, void *saved)
{
    const struct held *held = (const struct held *)self;
    (void)view;
    (void)saved;
    for (size_t c = 0; c < held->width; c++)
        for (size_t t = 0; held->mask[c] != 0 && t < PANEL; t++)
            x[c * PANEL + t] = held->value[c];
}

static void held_token(struct intervention *self, float *x)
{
    const struct held *held = (const struct held *)self;
    for (size_t c = 0; c < held->width; c++)
        x[c] = held->mask[c] != 0 ? held->value[c] : x[c];
}

static void held_backward(struct intervention *self, const struct site_view *view, float *dx,
                          const void *saved, float *partial)
{
    const struct held *held = (const struct held *)self;
    (void)view;
    (void)saved;
    (void)partial;
    for (size_t c = 0; c < held->width; c++)
        if (held->mask[c] != 0)
            memset(dx + c * PANEL, 0, PANEL * sizeof *dx);
}

int held_attach(struct sn_session *session)
{
    const struct sn_model *model = session->model;
    size_t n = model->config.n_layer * HELD_SITES;
    if (!model->config.held_nodes)
        return SN_OK;
    session->held = memory_allocate_zeroed_array(session->context->memory, n, sizeof *session->held);
    if (!session->held)
        return fail_memory(session->context, "held nodes", n * sizeof *session->held);
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < n; i++) {
        const struct layer_parameters *layer = &model->layers[i / HELD_SITES];
        size_t site = held_site(i / HELD_SITES, i % HELD_SITES);
        session->held[i] = (struct held){
            .base = {.forward = held_forward, .backward = held_backward, .token = held_token},
            .mask = model->parameters[layer->held_mask[i % HELD_SITES]].vector,
            .value = model->parameters[layer->held_value[i % HELD_SITES]].vector,
            .width = site_width(&model->config, site)};
        status = session_attach(session, site, &session->held[i].base);
    }
    return status;
}

void held_free(struct sn_session *session)
{
    size_t n = session_config(session)->n_layer * HELD_SITES;
    memory_free(session->context->memory, session->held, n * sizeof *session->held);
    session->held = NULL;
}

size_t held_bytes(const struct sn_session *session)
{
    size_t n = session_config(session)->n_layer * HELD_SITES;
    return session->held ? memory_block_size(n * sizeof *session->held) : 0;
}
