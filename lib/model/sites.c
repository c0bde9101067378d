#include <stdio.h>
#include <string.h>

#include "model/model.h"

static const char *const kind_names[SITES_PER_LAYER] = {
    [SITE_RESID_IN] = "resid_in",
    [SITE_ATTN_ACT_IN] = "attn.act_in",
    [SITE_ATTN_K] = "attn.k",
    [SITE_ATTN_Q] = "attn.q",
    [SITE_ATTN_V] = "attn.v",
    [SITE_ATTN_Y] = "attn.y",
    [SITE_ATTN_DELTA] = "attn.resid_delta",
    [SITE_RESID_MID] = "resid_mid",
    [SITE_MLP_ACT_IN] = "mlp.act_in",
    [SITE_MLP_POST_ACT] = "mlp.post_act",
    [SITE_MLP_DELTA] = "mlp.resid_delta",
};

size_t site_count(const struct config *config)
{
    return config->n_layer * SITES_PER_LAYER + 1;
}

size_t site_index(size_t layer, enum site_kind kind)
{
    return layer * SITES_PER_LAYER + kind;
}

size_t held_site(size_t layer, size_t i)
{
    static const enum site_kind kinds[HELD_SITES] = {SITE_ATTN_K, SITE_ATTN_Q, SITE_ATTN_V,
                                                     SITE_ATTN_DELTA, SITE_MLP_DELTA};
    return site_index(layer, kinds[i]);
}

/* The kind of a site, or SITES_PER_LAYER for final_resid. */
static enum site_kind kind_of(const struct config *config, size_t site)
{
    return site + 1 == site_count(config) ? SITES_PER_LAYER : (enum site_kind)(site % SITES_PER_LAYER);
}

size_t site_width(const struct config *config, size_t site)
{
    switch (kind_of(config, site)) {
    case SITE_ATTN_ACT_IN:
    case SITE_MLP_ACT_IN: return config_d_in(config);
    case SITE_ATTN_K:
    case SITE_ATTN_Q:
    case SITE_ATTN_V:
    case SITE_ATTN_Y: return config_d_attn(config);
    case SITE_MLP_POST_ACT: return config->d_mlp;
    default: return config->d_model;
    }
}

int site_has_nodes(const struct config *config, size_t site)
{
    enum site_kind kind = kind_of(config, site);
    return kind != SITE_RESID_IN && kind != SITE_ATTN_Y && kind != SITE_RESID_MID &&
           kind != SITES_PER_LAYER;
}

/* ---- names */

char **site_names_create(struct memory *memory, const struct config *config)
{
    size_t n = site_count(config);
    char **names = memory_allocate_zeroed_array(memory, n, sizeof *names);
    for (size_t i = 0; names && i < n; i++) {
        char text[64];
        if (i + 1 == n)
            snprintf(text, sizeof text, "final_resid");
        else
            snprintf(text, sizeof text, "%zu.%s", i / SITES_PER_LAYER, kind_names[i % SITES_PER_LAYER]);
        names[i] = memory_copy_text(memory, text, strlen(text));
        if (!names[i]) {
            site_names_free(memory, names, config);
            return NULL;
        }
    }
    return names;
}

void site_names_free(struct memory *memory, char **names, const struct config *config)
{
    size_t n = site_count(config);
    if (!names)
        return;
    for (size_t i = 0; i < n; i++)
        if (names[i])
            memory_free(memory, names[i], strlen(names[i]) + 1);
    memory_free(memory, names, n * sizeof *names);
}

int site_find(const struct sn_model *model, const char *name)
{
    size_t n = site_count(&model->config);
    for (size_t i = 0; i < n; i++)
        if (strcmp(model->site_names[i], name) == 0)
            return (int)i;
    return -1;
}

static int has_heads(const struct config *config, size_t site)
{
    enum site_kind kind = kind_of(config, site);
    return kind >= SITE_ATTN_K && kind <= SITE_ATTN_Y;
}

void node_name(char *name, size_t capacity, const struct sn_model *model, size_t site, size_t channel)
{
    const char *site_name = model->site_names[site];
    size_t d_head = model->config.d_head;
    if (has_heads(&model->config, site))
        snprintf(name, capacity, "%s.head%zu.ch%zu", site_name, channel / d_head, channel % d_head);
    else
        snprintf(name, capacity, "%s.%zu", site_name, channel);
}

/* Reads a decimal number below `limit` in its only spelling; *text moves behind it. */
static int read_number(size_t *number, const char **text, size_t limit)
{
    const char *c = *text;
    size_t value = 0;
    if (*c < '0' || *c > '9' || (*c == '0' && c[1] >= '0' && c[1] <= '9'))
        return 0;
    for (; *c >= '0' && *c <= '9'; c++) {
        value = value * 10 + (size_t)(*c - '0');
        if (value >= limit) /* before it can overflow: limits are small */
            return 0;
    }
    *number = value;
    *text = c;
    return 1;
}

static int skip_text(const char **text, const char *expected)
{
    size_t length = strlen(expected);
    if (strncmp(*text, expected, length) != 0)
        return 0;
    *text += length;
    return 1;
}

/* The channel part of a name: "head1.ch2" or "17". */
static int read_channel(size_t *channel, const char *text, const struct config *config, size_t site)
{
    size_t head, inside;
    if (!has_heads(config, site))
        return read_number(channel, &text, site_width(config, site)) && *text == '\0';
    if (!skip_text(&text, "head") || !read_number(&head, &text, config->n_head) ||
        !skip_text(&text, ".ch") || !read_number(&inside, &text, config->d_head) || *text != '\0')
        return 0;
    *channel = head * config->d_head + inside;
    return 1;
}

int node_find(size_t *site, size_t *channel, const struct sn_model *model, const char *name)
{
    const struct config *config = &model->config;
    size_t layer;
    if (!read_number(&layer, &name, config->n_layer) || !skip_text(&name, "."))
        return 0;
    for (size_t kind = 0; kind < SITES_PER_LAYER; kind++) {
        const char *rest = name;
        size_t found = site_index(layer, (enum site_kind)kind);
        if (!skip_text(&rest, kind_names[kind]) || !skip_text(&rest, "."))
            continue;
        if (!site_has_nodes(config, found) || !read_channel(channel, rest, config, found))
            return 0;
        *site = found;
        return 1;
    }
    return 0;
}

/* ---- public */

size_t sn_model_site_count(const sn_model *model)
{
    return model ? site_count(&model->config) : 0;
}

const char *sn_model_site_name(const sn_model *model, size_t index)
{
    return index < sn_model_site_count(model) ? model->site_names[index] : NULL;
}

size_t sn_model_site_width(const sn_model *model, const char *site)
{
    int index = model && site ? site_find(model, site) : -1;
    return index < 0 ? 0 : site_width(&model->config, (size_t)index);
}
