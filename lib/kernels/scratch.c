/* How much scratch the kernels need: the same for every instruction set. */
#include "kernels/attention_chunk.h"
#include "kernels/kernels.h"

/* One row of 16-bit keys per channel, as wide as the widest vector (topk_body.h). */
size_t abs_topk_scratch(size_t width)
{
    return width * 64;
}

/* Packed q, k and v, one tile of output, the scores of one tile of queries (attention_body.h). */
size_t attention_scratch(const struct attention_shape *shape)
{
    size_t channel = 2 * shape->stride + attention_whole_chunks(shape->stride) + ATTENTION_TILE;
    return (channel * shape->d_head + shape->stride * ATTENTION_TILE) * sizeof(float);
}

/* q, k, v and dy packed by tiles, by chunks and by rows, dk, dv; one tile of dq; the scores of one tile
 * of queries and their gradient. */
size_t attention_backward_scratch(const struct attention_shape *shape)
{
    size_t channel = 8 * shape->stride + attention_whole_chunks(shape->stride) + ATTENTION_TILE;
    return (channel * shape->d_head + 2 * shape->stride * ATTENTION_TILE) * sizeof(float);
}

/* The scores of whole pages; the channels of the query that are not zero, with their factors. */
size_t token_attention_scratch(size_t n_tokens, size_t d_head)
{
    size_t pages = (n_tokens + PANEL - 1) / PANEL, channels = (d_head + 15) / 16 * 16;
    return pages * PANEL * sizeof(float) +
           channels * (sizeof(uint32_t) + sizeof(float) + sizeof(uint16_t));
}
