/* How much scratch the kernels need: the same for every instruction set. */
#include "kernels/kernels.h"

/* One vector of 16-bit keys per channel (topk_body.h), or of one token the keys and a bucket. */
size_t abs_topk_scratch(size_t width)
{
    return width * 64;
}

/* Each row whole and a word of bits; a whole vector may be written behind the last value (gate_body.h). */
size_t gate_kept_bytes(size_t rows)
{
    return rows * (PANEL * sizeof(float) + sizeof(uint64_t)) + 64;
}

/* Packed v, one tile of q and of output, the scores of one tile of queries (attention_body.h). */
size_t attention_scratch(const struct attention_shape *shape)
{
    size_t channels = attention_blocks(shape->d_head) * ATTENTION_TILE;
    return ((shape->stride + 2 * ATTENTION_TILE) * channels + shape->stride * ATTENTION_TILE) *
           sizeof(float);
}

/* Packed q and dy, the rows of dq; one tile of k, as channels and as rows, of v, dk and dv; two squares;
 * lse and delta. */
size_t attention_backward_scratch(const struct attention_shape *shape)
{
    size_t channels = attention_blocks(shape->d_head) * ATTENTION_TILE;
    return ((3 * shape->stride + 5 * ATTENTION_TILE) * channels +
            2 * (ATTENTION_TILE * ATTENTION_TILE + shape->stride)) *
           sizeof(float);
}

/* The scores of whole pages; the channels of the query that are not zero, with their factors. */
size_t token_attention_scratch(size_t n_tokens, size_t d_head)
{
    size_t pages = (n_tokens + PANEL - 1) / PANEL, channels = (d_head + 15) / 16 * 16;
    return pages * PANEL * sizeof(float) +
           channels * (sizeof(uint32_t) + sizeof(float) + sizeof(uint16_t));
}
