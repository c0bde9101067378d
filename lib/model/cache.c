#include "model/cache.h"

#include <string.h>

static size_t page_floats(const struct cache *cache)
{
    return cache->n_layer * 2 * cache->d_attn * PANEL;
}

int cache_create(struct cache *cache, struct sn_context *context, const struct config *config)
{
    *cache = (struct cache){.memory = context->memory,
                            .n_layer = config->n_layer,
                            .d_attn = config_d_attn(config),
                            .capacity = (config->block_size + PANEL - 1) / PANEL};
    cache->pages = memory_allocate_array(cache->memory, cache->capacity, sizeof *cache->pages);
    return cache->pages ? SN_OK : fail_memory(context, "a cache", cache->capacity * sizeof(float *));
}

void cache_release(struct cache *cache)
{
    for (size_t i = 0; i < cache->n_pages; i++)
        memory_free(cache->memory, cache->pages[i], page_floats(cache) * sizeof(float));
    if (cache->pages)
        memory_free(cache->memory, cache->pages, cache->capacity * sizeof *cache->pages);
    *cache = (struct cache){0};
}

/* A page that no held token stands in starts from zeros, whoever used it before. */
int cache_reserve(struct cache *cache, struct sn_context *context, size_t n_more)
{
    size_t first = (cache->n_tokens + PANEL - 1) / PANEL;
    size_t wanted = (cache->n_tokens + n_more + PANEL - 1) / PANEL, bytes = page_floats(cache) * 4;
    for (size_t i = first; i < wanted && i < cache->n_pages; i++)
        memset(cache->pages[i], 0, bytes);
    for (; cache->n_pages < wanted; cache->n_pages++) {
        float *page = memory_allocate_zeroed_array(cache->memory, page_floats(cache), sizeof *page);
        if (!page)
            return fail_memory(context, "keys and values", bytes);
        cache->pages[cache->n_pages] = page;
    }
    return SN_OK;
}

size_t cache_place(const struct cache *cache, size_t layer, int which, size_t channel)
{
    return ((2 * layer + (size_t)which) * cache->d_attn + channel) * PANEL;
}

void cache_put(struct cache *cache, size_t layer, size_t position, const float *k, const float *v)
{
    float *page = cache->pages[position / PANEL] + position % PANEL;
    float *keys = page + cache_place(cache, layer, 0, 0),
          *values = page + cache_place(cache, layer, 1, 0);
    for (size_t c = 0; c < cache->d_attn; c++) {
        keys[c * PANEL] = k[c];
        values[c * PANEL] = v[c];
    }
}

void cache_put_panel(struct cache *cache, size_t layer, size_t panel, const float *k, const float *v)
{
    size_t bytes = cache->d_attn * PANEL * sizeof(float);
    memcpy(cache->pages[panel] + cache_place(cache, layer, 0, 0), k, bytes);
    memcpy(cache->pages[panel] + cache_place(cache, layer, 1, 0), v, bytes);
}

void cache_forget_rest(struct cache *cache)
{
    size_t used = cache->n_tokens % PANEL, rows = page_floats(cache) / PANEL;
    if (used == 0) /* a page that is begun is cleared first */
        return;
    float *page = cache->pages[cache->n_tokens / PANEL];
    for (size_t r = 0; r < rows; r++)
        memset(page + r * PANEL + used, 0, (PANEL - used) * sizeof *page);
}
