#include "circuit/edges.h"

static struct edge_part make_part(size_t *n_edges, const struct sn_model *model,
                                  const struct node_layout *layout, size_t layer, int parameter,
                                  int bias, enum site_kind to, enum site_kind from, size_t block)
{
    size_t to_site = site_index(layer, to), rows = site_width(&model->config, to_site);
    struct edge_part part = {.matrix = model->parameters[parameter].matrix,
                             .parameter = parameter,
                             .bias = bias,
                             .first_row = block * rows,
                             .n_rows = rows,
                             .to = node_layout_first(layout, to_site),
                             .from = node_layout_first(layout, site_index(layer, from)),
                             .first = *n_edges};
    part.first_value = edge_row(&part, part.first_row);
    part.n_edges = edge_row(&part, part.first_row + rows) - part.first_value;
    *n_edges += part.n_edges;
    return part;
}

/* A column of attention c_proj is a channel of attn.y, which is the v channel carried along by attention, so
 * its edges run from v to resid_delta. */
void edge_parts(struct edge_part parts[PARTS_PER_LAYER], size_t *n_edges, const struct sn_model *model,
                const struct node_layout *layout, size_t layer)
{
    const struct layer_parameters *p = &model->layers[layer];
    parts[0] = make_part(n_edges, model, layout, layer, p->c_attn, p->c_attn_bias, SITE_ATTN_K,
                         SITE_ATTN_ACT_IN, 1);
    parts[1] = make_part(n_edges, model, layout, layer, p->c_attn, p->c_attn_bias, SITE_ATTN_Q,
                         SITE_ATTN_ACT_IN, 0);
    parts[2] = make_part(n_edges, model, layout, layer, p->c_attn, p->c_attn_bias, SITE_ATTN_V,
                         SITE_ATTN_ACT_IN, 2);
    parts[3] = make_part(n_edges, model, layout, layer, p->attn_proj, p->attn_proj_bias, SITE_ATTN_DELTA,
                         SITE_ATTN_V, 0);
    parts[4] = make_part(n_edges, model, layout, layer, p->c_fc, p->c_fc_bias, SITE_MLP_POST_ACT,
                         SITE_MLP_ACT_IN, 0);
    parts[5] = make_part(n_edges, model, layout, layer, p->mlp_proj, p->mlp_proj_bias, SITE_MLP_DELTA,
                         SITE_MLP_POST_ACT, 0);
}

size_t edge_count(const struct sn_model *model)
{
    size_t n = 0;
    for (size_t layer = 0; layer < model->config.n_layer; layer++) {
        const struct layer_parameters *p = &model->layers[layer];
        const int matrices[] = {p->c_attn, p->attn_proj, p->c_fc, p->mlp_proj};
        for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
            n += model->parameters[matrices[i]].matrix->n_values;
    }
    return n;
}

static size_t find_in_part(float *weight, const struct edge_part *part, size_t from, size_t to)
{
    size_t row = part->first_row + (to - part->to);
    for (size_t i = edge_row(part, row); i < edge_row(part, row + 1); i++)
        if (part->from + edge_column(part, row, i) == from && part->matrix->values[i] != 0) {
            *weight = part->matrix->values[i];
            return part->first + i - part->first_value;
        }
    return NO_NODE;
}

size_t edge_find(float *weight, const struct sn_model *model, const struct node_layout *layout,
                 size_t from, size_t to)
{
    struct edge_part parts[PARTS_PER_LAYER];
    size_t n_edges = 0;
    for (size_t layer = 0; layer < model->config.n_layer; layer++) {
        edge_parts(parts, &n_edges, model, layout, layer);
        for (size_t p = 0; p < PARTS_PER_LAYER; p++)
            if (to >= parts[p].to && to - parts[p].to < parts[p].n_rows && from >= parts[p].from &&
                from - parts[p].from < parts[p].matrix->cols)
                return find_in_part(weight, &parts[p], from, to);
    }
    return NO_NODE;
}
