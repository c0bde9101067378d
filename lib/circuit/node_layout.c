#include "circuit/circuit.h"

#include <string.h>

int node_layout_create(struct node_layout *layout, struct sn_context *context,
                       const struct sn_model *model)
{
    const struct config *config = &model->config;
    size_t n = site_count(config), n_sites = 0, n_nodes = 0;
    memset(layout, 0, sizeof *layout);
    for (size_t site = 0; site < n; site++)
        n_sites += site_has_nodes(config, site) != 0;
    struct node_site *sites = memory_allocate_array(context->memory, n_sites, sizeof *sites);
    if (!sites)
        return fail_memory(context, "the node layout", n_sites * sizeof *sites);
    for (size_t site = 0, i = 0; site < n; site++) {
        if (!site_has_nodes(config, site))
            continue;
        sites[i] = (struct node_site){.site = site, .width = site_width(config, site), .first = n_nodes};
        n_nodes += sites[i++].width;
    }
    *layout = (struct node_layout){.memory = memory_retain(context->memory),
                                   .sites = sites,
                                   .n_sites = n_sites,
                                   .n_nodes = n_nodes};
    return SN_OK;
}

void node_layout_free(struct node_layout *layout)
{
    if (!layout->memory)
        return;
    memory_free(layout->memory, layout->sites, layout->n_sites * sizeof *layout->sites);
    memory_release(layout->memory);
    memset(layout, 0, sizeof *layout);
}

size_t node_layout_first(const struct node_layout *layout, size_t site)
{
    for (size_t i = 0; i < layout->n_sites; i++)
        if (layout->sites[i].site == site)
            return layout->sites[i].first;
    return NO_NODE;
}

size_t node_layout_site(const struct node_layout *layout, size_t node)
{
    size_t low = 0, high = layout->n_sites;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (layout->sites[middle].first <= node)
            low = middle;
        else
            high = middle;
    }
    return low;
}

int node_layout_equal(const struct node_layout *a, const struct node_layout *b)
{
    return a->n_sites == b->n_sites && a->n_nodes == b->n_nodes &&
           memcmp(a->sites, b->sites, a->n_sites * sizeof *a->sites) == 0;
}

size_t node_layout_find(const struct node_layout *layout, const struct sn_model *model, const char *name)
{
    size_t site, channel, first;
    if (!node_find(&site, &channel, model, name))
        return NO_NODE;
    first = node_layout_first(layout, site);
    return first == NO_NODE ? NO_NODE : first + channel;
}
