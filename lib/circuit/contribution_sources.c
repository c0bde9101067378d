#include "circuit/contributions.h"

#include <string.h>

static int add_source(struct listing *listing, const char *name, int kind, double weight, int used)
{
    struct sn_contributions *to = listing->to;
    size_t size = sizeof *to->sources, old = to->capacity;
    if (to->n_sources == old) {
        size_t capacity = old ? 2 * old : 16;
        struct source *sources = memory_resize(to->memory, to->sources, old * size, capacity * size);
        if (!sources)
            return fail_memory(listing->context, "contributions", capacity * size);
        to->sources = sources;
        to->capacity = capacity;
    }
    struct source *source = &to->sources[to->n_sources++];
    *source = (struct source){.shown = {.kind = kind, .used = used, .weight = weight}};
    memcpy(source->shown.source, name, strlen(name) + 1);
    return SN_OK;
}

/* Whether an edge carries its source as computed: neither cut nor from a node outside. */
static int edge_is_cut(const struct listing *listing, size_t edge)
{
    const struct sn_circuit *circuit = listing->circuit;
    return circuit && circuit->kept_edges && !circuit->kept_edges[edge];
}

static int is_kept(const struct listing *listing, size_t node)
{
    return !listing->circuit || listing->circuit->kept[node];
}

/* The mean that a cut edge carries: of attention's output where c_proj reads it (gated.c). */
static float mean_of(const struct listing *listing, const struct edge_part *part, size_t column)
{
    const struct sn_means *means = listing->means;
    if (listing->kind == SITE_ATTN_DELTA)
        return means->carried[listing->layer * config_d_attn(&listing->model->config) + column];
    return means->values[part->from + column];
}

static size_t source_site(const struct listing *listing)
{
    return site_index(listing->layer, listing->kind == SITE_ATTN_DELTA     ? SITE_ATTN_Y
                                      : listing->kind == SITE_MLP_DELTA    ? SITE_MLP_POST_ACT
                                      : listing->kind == SITE_MLP_POST_ACT ? SITE_MLP_ACT_IN
                                                                           : SITE_ATTN_ACT_IN);
}

static int list_row(struct listing *listing, const struct edge_part *part)
{
    char name[NODE_NAME_BYTES];
    const struct sn_model *model = listing->model;
    size_t row = part->first_row + listing->channel;
    size_t from_site = listing->layout.sites[node_layout_site(&listing->layout, part->from)].site;
    int status = SN_OK;
    for (size_t i = edge_row(part, row); status == SN_OK && i < edge_row(part, row + 1); i++) {
        size_t column = edge_column(part, row, i);
        int cut = edge_is_cut(listing, part->first + i - part->first_value);
        if (part->matrix->values[i] == 0)
            continue;
        node_name(name, sizeof name, model, from_site, column);
        status = add_source(listing, name, SN_SOURCE_NODE, (double)part->matrix->values[i],
                            !cut && is_kept(listing, part->from + column));
        if (status != SN_OK)
            break;
        struct source *source = &listing->to->sources[listing->to->n_sources - 1];
        source->site = cut ? NO_NODE : source_site(listing);
        source->column = column;
        source->mean = cut ? mean_of(listing, part, column) : 0;
    }
    if (status != SN_OK || part->bias < 0)
        return status;
    status = add_source(listing, "bias", SN_SOURCE_BIAS, 1, 1);
    if (status == SN_OK) {
        struct source *source = &listing->to->sources[listing->to->n_sources - 1];
        source->site = NO_NODE;
        source->mean = model->parameters[part->bias].vector[row];
    }
    return status;
}

int list_weights(struct listing *listing)
{
    struct edge_part parts[PARTS_PER_LAYER];
    size_t n_edges = 0;
    for (size_t layer = 0; layer <= listing->layer; layer++)
        edge_parts(parts, &n_edges, listing->model, &listing->layout, layer);
    for (size_t p = 0; p < PARTS_PER_LAYER; p++)
        if (listing->node >= parts[p].to && listing->node - parts[p].to < parts[p].n_rows)
            return list_row(listing, &parts[p]);
    return SN_OK;
}

static int stream_is_cut(const struct config *config, int which)
{
    enum topk_place place = which ? TOPK_RESID_POST_MLP : TOPK_RESID_POST_ATTN;
    return config->residual_relu || config_topk(config, place, config->d_model) < config->d_model;
}

/* The stream behind sublayer `stage`: in front of the next one. */
static size_t stream_behind(size_t stage)
{
    return stage % 2 ? site_index(stage / 2 + 1, SITE_RESID_IN) : site_index(stage / 2, SITE_RESID_MID);
}

int list_stream(struct listing *listing)
{
    char name[NODE_NAME_BYTES];
    const struct sn_model *model = listing->model;
    const struct config *config = &model->config;
    size_t stages = 2 * listing->layer + (listing->kind == SITE_MLP_ACT_IN);
    if (listing->channel >= config->d_model)
        return add_source(listing, "position", SN_SOURCE_POSITION, 1, 1);
    int status = add_source(listing, "embedding", SN_SOURCE_EMBEDDING, 1, 1);
    if (status == SN_OK && !config->has_d_pos_emb)
        status = add_source(listing, "position", SN_SOURCE_POSITION, 1, 1);
    for (size_t stage = 0; status == SN_OK && stage < stages; stage++) {
        size_t site = site_index(stage / 2, stage % 2 ? SITE_MLP_DELTA : SITE_ATTN_DELTA);
        size_t first = node_layout_first(&listing->layout, site);
        node_name(name, sizeof name, model, site, listing->channel);
        status =
            add_source(listing, name, SN_SOURCE_NODE, 1, is_kept(listing, first + listing->channel));
        if (status == SN_OK) {
            listing->to->sources[listing->to->n_sources - 1].site = site;
            listing->to->sources[listing->to->n_sources - 1].column = listing->channel;
        }
        if (status != SN_OK || !stream_is_cut(config, stage % 2))
            continue;
        status = add_source(listing, model->site_names[stream_behind(stage)], SN_SOURCE_STREAM, 1, 1);
        if (status == SN_OK)
            listing->to->sources[listing->to->n_sources - 1].site = stream_behind(stage);
    }
    return status;
}
