/* The losses and ablation results of a released circuit as measurements. The authors' task loss sums the two
 * prompts of a pair where ours is their mean: what is known to be on their scale is halved. */
#include "circuit/released.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A number that is not finite says nothing and is left out. */
int released_add(struct released *released, struct sn_circuit *circuit, double value, const char *format,
                 ...)
{
    char name[2 * NODE_NAME_BYTES + 64];
    va_list arguments;
    if (!isfinite(value))
        return SN_OK;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return circuit_add_measurement(circuit, released->context, name, value);
}

static int add_loss(struct released *released, struct sn_circuit *circuit, const char *key,
                    const char *measurement)
{
    const struct pickle_value *value = pickle_find(released->importances, key);
    char name[RELEASED_NAME_BYTES];
    double loss;
    if (!value || value->kind == PICKLE_NONE)
        return SN_OK;
    snprintf(name, sizeof name, "importances[\"%s\"]", key);
    int status = released_number(&loss, released, value, name);
    return status == SN_OK ? released_add(released, circuit, loss / 2, "%s", measurement) : status;
}

/* ---- ablation of single nodes: per site a list in the order of its kept channels */

static int add_node_losses(struct released *released, struct sn_circuit *circuit,
                           const struct channel_list *list, const struct pickle_value *losses,
                           size_t site)
{
    const char *site_name = released->model->site_names[site];
    char name[RELEASED_NAME_BYTES], node[NODE_NAME_BYTES];
    int status = SN_OK;
    size_t n;
    snprintf(name, sizeof name, "importances[\"ch_interv_losses\"][\"%s\"]", site_name);
    if (!released_is_list(&n, losses))
        return released_fail(released, name, "is no list of numbers");
    if (n != list->n)
        return released_fail(released, name,
                             "has %zu numbers for the %zu channels of circuit_data[\"%s\"]", n, list->n,
                             site_name);
    for (size_t i = 0; i < n && status == SN_OK; i++) {
        double loss;
        status = released_list_number(&loss, released, losses, i, name);
        if (status != SN_OK)
            break;
        node_name(node, sizeof node, released->model, site, list->channels[i]);
        status = released_add(released, circuit, loss / 2, "released_ablation_loss %s", node);
    }
    return status;
}

static int add_all_node_losses(struct released *released, struct sn_circuit *circuit)
{
    const struct pickle_value *all = pickle_find(released->importances, "ch_interv_losses");
    int status = SN_OK;
    for (size_t site = 0; all && site < site_count(&released->model->config) && status == SN_OK;
         site++) {
        const struct pickle_value *losses = pickle_find(all, released->model->site_names[site]);
        struct channel_list list;
        if (!losses)
            continue;
        status = released_kept(&list, released, site);
        if (status == SN_OK)
            status = add_node_losses(released, circuit, &list, losses, site);
        channel_list_free(&list);
    }
    return status;
}

/* ---- ablation of layers and sites: their scale is not certain, so they stay as they stand */

static int add_as_stored(struct released *released, struct sn_circuit *circuit, const char *key,
                         const char *part, const char *measurement)
{
    const struct pickle_value *value = pickle_find(pickle_find(released->importances, key), part);
    char name[RELEASED_NAME_BYTES];
    double loss;
    if (!value)
        return SN_OK;
    snprintf(name, sizeof name, "importances[\"%s\"][\"%s\"]", key, part);
    int status = released_number(&loss, released, value, name);
    return status == SN_OK ? released_add(released, circuit, loss, "%s %s", measurement, part) : status;
}

static int add_part_losses(struct released *released, struct sn_circuit *circuit)
{
    const struct config *config = &released->model->config;
    static const char *const parts[] = {"attn", "mlp"};
    int status = SN_OK;
    for (size_t i = 0; i < 2 * config->n_layer && status == SN_OK; i++) {
        char part[64];
        snprintf(part, sizeof part, "%zu.%s", i / 2, parts[i % 2]);
        status = add_as_stored(released, circuit, "layer_interv_losses", part,
                               "released_layer_loss_as_stored");
    }
    for (size_t site = 0; site < site_count(config) && status == SN_OK; site++)
        status = add_as_stored(released, circuit, "loc_interv_losses", released->model->site_names[site],
                               "released_site_loss_as_stored");
    return status;
}

/* What the search for the circuit ended with: the last of all_loss, a list of (step, loss). */
static int add_search_loss(struct released *released, struct sn_circuit *circuit)
{
    const struct pickle_value *steps = pickle_find(torch_file_root(&released->file), "all_loss");
    size_t n = 0;
    double loss;
    if (!steps || torch_tensor_of(steps) || !released_is_list(&n, steps) || !n)
        return SN_OK;
    const struct pickle_value *last = steps->as.items.list[n - 1];
    if (!released_is_list(&n, last) || n != 2)
        return SN_OK;
    int status = released_list_number(&loss, released, last, 1, "all_loss");
    return status == SN_OK ? released_add(released, circuit, loss, "released_search_loss_as_stored")
                           : status;
}

int released_losses(struct released *released, struct sn_circuit *circuit)
{
    int status = add_loss(released, circuit, "loss", "released_model_loss");
    if (status == SN_OK)
        status = add_loss(released, circuit, "interv_loss", "released_circuit_loss");
    if (status == SN_OK)
        status = add_all_node_losses(released, circuit);
    if (status == SN_OK)
        status = add_part_losses(released, circuit);
    if (status == SN_OK)
        status = add_search_loss(released, circuit);
    return status;
}
