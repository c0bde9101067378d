/* Keys and values of the tokens that a generator holds. A page has PANEL tokens of all layers:
 * [layer][keys, values][d_attn][PANEL], which is how a session's panels stand, so that a prompt's panels
 * are copied whole. Pages are made as tokens come. */
#ifndef SN_MODEL_CACHE_H
#define SN_MODEL_CACHE_H

#include "model/model.h"

struct cache {
    struct memory *memory;
    size_t n_layer, d_attn;
    size_t n_tokens; /* held; what stands behind them is finite */
    float **pages;   /* capacity, the first n_pages of them there */
    size_t n_pages, capacity;
};

int cache_create(struct cache *cache, struct sn_context *context, const struct config *config);
/* A zeroed one too. */
void cache_release(struct cache *cache);
/* Room for n_more tokens behind those held, n_tokens + n_more <= block_size. */
int cache_reserve(struct cache *cache, struct sn_context *context, size_t n_more);
/* Writes token `position`, n_tokens <= position < what is reserved; k, v: d_attn. */
void cache_put(struct cache *cache, size_t layer, size_t position, const float *k, const float *v);
/* Writes the whole page of panel `panel`; k, v: [d_attn][PANEL]. */
void cache_put_panel(struct cache *cache, size_t layer, size_t panel, const float *k, const float *v);
/* Clears what was written behind the last page's tokens. */
void cache_forget_rest(struct cache *cache);
/* Floats from a page's start to the keys (which 0) or values (1) of a head's first channel. */
size_t cache_place(const struct cache *cache, size_t layer, int which, size_t channel);

#endif
