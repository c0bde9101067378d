/* How much scratch the kernels need: the same for every instruction set. */
#include "kernels/kernels.h"

/* One row of 16-bit keys per channel, as wide as the widest vector (topk_body.h). */
size_t abs_topk_scratch(size_t width)
{
    return width * 64;
}

/* Packed q, k, v, one tile of output, the scores of one tile of queries (attention_body.h). */
size_t attention_scratch(const struct attention_shape *shape)
{
    size_t floats = (3 * shape->stride + ATTENTION_TILE) * shape->d_head + shape->stride * ATTENTION_TILE;
    return floats * sizeof(float);
}

/* Packed q, k, v, dy by tiles and by rows, dk, dv; scores and their gradient of one tile of queries, its dq. */
size_t attention_backward_scratch(const struct attention_shape *shape)
{
    size_t floats = (9 * shape->stride + ATTENTION_TILE) * shape->d_head +
                    2 * shape->stride * ATTENTION_TILE;
    return floats * sizeof(float);
}
