#include "circuit/steps.h"

#include <string.h>

static float step(float x, float l, float r, float t)
{
    float h = 0.5f * (l + r);
    if (t <= 0)
        return x > h ? r : l;
    float s = h + (x - h) / t;
    s = s < l ? l : s > r ? r : s;
    return t * x + (1 - t) * s;
}

/* Adds dx' times the derivatives by l and r to partial; returns that by x. */
static float step_slopes(float partial[2], float dx, float x, const float value[2], float t)
{
    float h = 0.5f * (value[0] + value[1]), s = t > 0 ? h + (x - h) / t : 0;
    int below = t > 0 ? s <= value[0] : !(x > h), above = t > 0 ? s >= value[1] : x > h;
    if (below) {
        partial[0] += dx * (1 - t);
    } else if (above) {
        partial[1] += dx * (1 - t);
    } else {
        float by_end = 0.5f * (1 - 1 / t) * (1 - t);
        partial[0] += dx * by_end;
        partial[1] += dx * by_end;
        return dx * (t + (1 - t) / t);
    }
    return dx * t;
}

static void record(const struct step_site *site, const struct site_view *view, const float *x)
{
    struct steps *steps = site->steps;
    float *to = steps->record + (view->panel * steps->n + site->first) * PANEL;
    steps->record_tokens[view->panel * steps->n_sites + site->index] = view->n_tokens;
    for (size_t i = 0; i < site->n; i++)
        memcpy(to + i * PANEL, x + steps->channel[site->first + i] * PANEL, PANEL * sizeof *to);
}

/* x: width x PANEL. `saved` are the nodes' rows before the step, when learning. */
static void site_forward_step(struct intervention *self, const struct site_view *view, float *x,
                              void *saved)
{
    const struct step_site *site = (const struct step_site *)self;
    const struct steps *steps = site->steps;
    if (steps->record) {
        record(site, view, x);
        return;
    }
    for (size_t i = 0; i < site->n; i++) {
        float *row = x + steps->channel[site->first + i] * PANEL;
        const float *value = steps->value + 2 * (site->first + i);
        if (saved)
            memcpy((float *)saved + i * PANEL, row, PANEL * sizeof *row);
        for (size_t t = 0; t < PANEL; t++)
            row[t] = step(row[t], value[0], value[1], steps->t);
    }
}

static void site_backward_step(struct intervention *self, const struct site_view *view, float *dx,
                               const void *saved, float *partial)
{
    const struct step_site *site = (const struct step_site *)self;
    const struct steps *steps = site->steps;
    for (size_t i = 0; i < site->n; i++) {
        float *row = dx + steps->channel[site->first + i] * PANEL;
        const float *x = (const float *)saved + i * PANEL;
        for (size_t t = 0; t < view->n_tokens; t++)
            row[t] = step_slopes(partial + 2 * i, row[t], x[t], steps->value + 2 * (site->first + i),
                                 steps->t);
    }
}

int steps_create(struct steps *steps, struct sn_context *context, const struct sn_circuit *circuit)
{
    const struct node_layout *layout = &circuit->layout;
    size_t n = circuit->graph.n_nodes;
    *steps = (struct steps){.memory = memory_retain(context->memory), .n = n, .t = 1};
    steps->capacity = layout->n_sites;
    steps->sites = memory_allocate_zeroed_array(steps->memory, layout->n_sites, sizeof *steps->sites);
    steps->channel = memory_allocate_array(steps->memory, n, sizeof *steps->channel);
    steps->value = memory_allocate_zeroed_array(steps->memory, n, 2 * sizeof(float));
    steps->gradient = memory_allocate_zeroed_array(steps->memory, n, 2 * sizeof(float));
    if (!steps->sites || !steps->channel || !steps->value || !steps->gradient) {
        steps_free(steps);
        return fail_memory(context, "steps of nodes", 4 * n * sizeof(float));
    }
    for (size_t i = 0; i < n; i++) {
        const struct node_site *from = &layout->sites[node_layout_site(layout, circuit->graph.nodes[i])];
        size_t last = steps->n_sites;
        if (last == 0 || steps->sites[last - 1].site != from->site) {
            steps->sites[last] = (struct step_site){.base = {.forward = site_forward_step},
                                                    .steps = steps,
                                                    .index = last,
                                                    .site = from->site,
                                                    .first = i};
            steps->sites[last].base.gradient = steps->gradient + 2 * i;
            steps->n_sites++;
        }
        steps->sites[steps->n_sites - 1].n++;
        steps->channel[i] = circuit->graph.nodes[i] - from->first;
    }
    return SN_OK;
}

void steps_free(struct steps *steps)
{
    if (!steps->memory)
        return;
    steps_detach(steps);
    memory_free(steps->memory, steps->sites, steps->capacity * sizeof *steps->sites);
    memory_free(steps->memory, steps->channel, steps->n * sizeof *steps->channel);
    memory_free(steps->memory, steps->value, 2 * steps->n * sizeof(float));
    memory_free(steps->memory, steps->gradient, 2 * steps->n * sizeof(float));
    memory_release(steps->memory);
    memset(steps, 0, sizeof *steps);
}

int steps_attach(struct steps *steps, struct sn_session *session, int learning)
{
    steps_detach(steps);
    steps->session = session;
    for (size_t s = 0; s < steps->n_sites; s++) {
        struct step_site *site = &steps->sites[s];
        site->base.backward = learning ? site_backward_step : NULL;
        site->base.saved_bytes = learning ? site->n * PANEL * sizeof(float) : 0;
        site->base.n_parameters = learning ? 2 * site->n : 0;
        int status = session_attach(session, site->site, &site->base);
        if (status != SN_OK) {
            steps_detach(steps);
            return status;
        }
    }
    return SN_OK;
}

void steps_detach(struct steps *steps)
{
    if (!steps->session)
        return;
    for (size_t s = 0; s < steps->n_sites; s++)
        session_detach(steps->session, &steps->sites[s].base);
    steps->session = NULL;
}
