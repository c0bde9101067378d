/* Resampling as interventions: drawn values at ablated nodes, and along cut edges. */
#include "circuit/ablation.h"

#include <string.h>

/* The values of `first` on that a site takes at a token of the batch. */
static const float *drawn_values(const struct resampler *resampler, const struct site_view *view,
                                 size_t t, size_t site, size_t first)
{
    const struct sn_ablation *ablation = resampler->ablation;
    size_t sample =
        ablation_pick(ablation, resampler->draw, resampler->set,
                      resampler->first_pair + view->sequence[t] / 2, view->position[t], site);
    return ablation->samples + sample * means_size(ablation->means) + first;
}

static void resample_nodes(struct intervention *self, const struct site_view *view, float *x,
                           void *saved)
{
    const struct node_resample *node = (const struct node_resample *)self;
    (void)saved;
    for (size_t t = 0; t < view->n_tokens; t++) {
        const float *values = drawn_values(node->resampler, view, t, view->site, node->first);
        for (size_t c = 0; c < view->width; c++)
            if (node->mask[c] == 0)
                x[c * PANEL + t] = values[c];
    }
}

static void resample_edges(struct intervention *self, const struct site_view *view, float *x,
                           void *saved)
{
    const struct edge_resample *edges = (const struct edge_resample *)self;
    const struct edge_part *part = edges->part;
    const unsigned char *kept = edges->resampler->kept_edges + part->first;
    float *source = saved;
    for (size_t t = 0; t < view->n_tokens; t++) {
        const float *values = drawn_values(edges->resampler, view, t, edges->source_site, edges->first);
        for (size_t c = 0; c < part->matrix->cols; c++)
            source[c * PANEL + t] = values[c];
    }
    for (size_t r = 0; r < part->n_rows; r++) {
        size_t row = part->first_row + r;
        for (size_t i = edge_row(part, row); i < edge_row(part, row + 1); i++) {
            if (kept[i - part->first_value])
                continue;
            const float *from = source + edge_column(part, row, i) * PANEL;
            for (size_t t = 0; t < view->n_tokens; t++)
                x[r * PANEL + t] += edges->weights[i] * from[t];
        }
    }
}

/* Attention c_proj reads attention's output, whose values stand behind those of all nodes. */
static void init_edges(struct resampler *resampler, const struct node_layout *layout, size_t index)
{
    const struct gated_model *gated = resampler->gated;
    const struct edge_part *part = &gated->parts[index];
    size_t layer = index / PARTS_PER_LAYER;
    int carried = part->from == node_layout_first(layout, site_index(layer, SITE_ATTN_V));
    struct edge_resample *edges = &resampler->edges[index];
    *edges = (struct edge_resample){.base = {.forward = resample_edges,
                                             .saved_bytes = part->matrix->cols * PANEL * sizeof(float),
                                             .in_front = 1},
                                    .resampler = resampler,
                                    .part = part,
                                    .weights = gated->weights[index]};
    if (carried) {
        edges->source_site = site_index(layer, SITE_ATTN_Y);
        edges->first = layout->n_nodes + layer * config_d_attn(&gated->model->config);
    } else {
        edges->source_site = layout->sites[node_layout_site(layout, part->from)].site;
        edges->first = part->from;
    }
}

int resampler_create(struct resampler *resampler, struct sn_context *context,
                     const struct sn_ablation *ablation, const struct gates *gates,
                     const struct gated_model *gated)
{
    const struct node_layout *layout = gates->layout;
    memset(resampler, 0, sizeof *resampler);
    resampler->memory = memory_retain(context->memory);
    resampler->ablation = ablation;
    resampler->gated = gated;
    resampler->n_nodes = layout->n_sites;
    resampler->n_edges = gated ? gated->n_parts : 0;
    resampler->nodes =
        memory_allocate_zeroed_array(context->memory, resampler->n_nodes, sizeof *resampler->nodes);
    if (gated)
        resampler->edges =
            memory_allocate_zeroed_array(context->memory, resampler->n_edges, sizeof *resampler->edges);
    if (!resampler->nodes || (gated && !resampler->edges)) {
        resampler_free(resampler);
        return fail_memory(context, "resampling", layout->n_sites * sizeof *resampler->nodes);
    }
    for (size_t s = 0; s < layout->n_sites; s++)
        resampler->nodes[s] = (struct node_resample){.base = {.forward = resample_nodes},
                                                     .resampler = resampler,
                                                     .mask = gates->mask + layout->sites[s].first,
                                                     .first = layout->sites[s].first};
    for (size_t i = 0; i < resampler->n_edges; i++)
        init_edges(resampler, layout, i);
    return SN_OK;
}

void resampler_free(struct resampler *resampler)
{
    if (!resampler->memory)
        return;
    resampler_detach(resampler);
    memory_free(resampler->memory, resampler->nodes, resampler->n_nodes * sizeof *resampler->nodes);
    memory_free(resampler->memory, resampler->edges, resampler->n_edges * sizeof *resampler->edges);
    memory_release(resampler->memory);
    memset(resampler, 0, sizeof *resampler);
}

int resampler_attach(struct resampler *resampler, struct sn_session *session,
                     const unsigned char *kept_edges)
{
    const struct node_layout *layout = &resampler->ablation->means->layout;
    int status = SN_OK;
    resampler_detach(resampler);
    resampler->session = session;
    resampler->kept_edges = kept_edges;
    for (size_t s = 0; status == SN_OK && s < resampler->n_nodes; s++)
        status = session_attach(session, layout->sites[s].site, &resampler->nodes[s].base);
    for (size_t i = 0; kept_edges && status == SN_OK && i < resampler->n_edges; i++) {
        size_t to = layout->sites[node_layout_site(layout, resampler->edges[i].part->to)].site;
        status = session_attach(session, to, &resampler->edges[i].base);
    }
    if (status != SN_OK)
        resampler_detach(resampler);
    return status;
}

void resampler_detach(struct resampler *resampler)
{
    if (!resampler->session)
        return;
    for (size_t s = 0; s < resampler->n_nodes; s++)
        session_detach(resampler->session, &resampler->nodes[s].base);
    for (size_t i = 0; i < resampler->n_edges; i++)
        session_detach(resampler->session, &resampler->edges[i].base);
    resampler->session = NULL;
}
