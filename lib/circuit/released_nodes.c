/* The kept channels of a released circuit. */
#include "circuit/released.h"

#include <stdio.h>
#include <string.h>

int released_site(size_t *site, struct released *released, const struct pickle_value *key,
                  const char *name)
{
    if (key->kind != PICKLE_TEXT)
        return released_fail(released, name, "%s stands where the name of a site was expected",
                             pickle_kind_name(key));
    const int found = strlen(key->as.text.bytes) == key->as.text.length
                          ? site_find(released->model, key->as.text.bytes)
                          : -1;
    if (found < 0)
        return released_fail(released, name, "\"%.64s\" is no site of this model, which has %zu layers",
                             key->as.text.bytes, released->model->config.n_layer);
    *site = (size_t)found;
    return SN_OK;
}

int released_kept(struct channel_list *list, struct released *released, size_t site)
{
    const char *site_name = released->model->site_names[site];
    const struct pickle_value *value = pickle_find(released->kept, site_name);
    char name[RELEASED_NAME_BYTES];
    memset(list, 0, sizeof *list);
    if (!value)
        return SN_OK;
    snprintf(name, sizeof name, "circuit_data[\"%s\"]", site_name);
    return released_channels(list, released, value, name, site);
}

/* Every list in circuit_data belongs to a site of the model; other values (prune_config) are notes. */
static int check_locations(struct released *released)
{
    const struct pickle_value *kept = released->kept;
    size_t site, length;
    int status = SN_OK;
    for (uint32_t i = 0; i + 1 < kept->as.items.n && status == SN_OK; i += 2) {
        const struct pickle_value *value = kept->as.items.list[i + 1];
        if (released_is_list(&length, value) || torch_tensor_of(value))
            status = released_site(&site, released, kept->as.items.list[i], "circuit_data");
    }
    return status;
}

int released_mark_nodes(unsigned char *kept, size_t *n_unplaced, struct released *released,
                        const struct node_layout *layout)
{
    const size_t n_sites = site_count(&released->model->config);
    int status = check_locations(released);
    *n_unplaced = 0;
    for (size_t site = 0; site < n_sites && status == SN_OK; site++) {
        const size_t first = node_layout_first(layout, site);
        struct channel_list list;
        status = released_kept(&list, released, site);
        for (size_t i = 0; i < list.n && first != NO_NODE; i++)
            kept[first + list.channels[i]] = 1;
        *n_unplaced += first == NO_NODE ? list.n : 0;
        channel_list_free(&list);
    }
    return status;
}
