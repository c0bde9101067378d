/* How a sparse product goes over an order of a pattern: tiles of rows times blocks of columns, so
 * that a block of the input panel stays in the L1 or L2 cache while a tile of rows uses it. Columns
 * ascend in each row, so a row's part of a block is a stretch of its entries: what is kept is where
 * the stretches end, nothing is copied. */
#ifndef SN_MATRIX_BLOCKS_H
#define SN_MATRIX_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "kernels/kernels.h"

#define INDEX_RANGE ((size_t)1 << 16) /* what the lower half of an index tells apart */

/* The other side of each entry (of a row its column): the lower 16 bits, which the kernels read, and
 * the upper ones where that side is longer than INDEX_RANGE. */
struct sparse_index {
    uint16_t *low;
    uint16_t *high; /* NULL: zeros */
};

static inline uint32_t index_at(const struct sparse_index *index, size_t i)
{
    return index->high ? (uint32_t)index->high[i] << 16 | index->low[i] : index->low[i];
}

static inline void index_set(struct sparse_index *index, size_t i, uint32_t value)
{
    index->low[i] = (uint16_t)value;
    if (index->high)
        index->high[i] = (uint16_t)(value >> 16);
}

/* Unfilled, for n entries of a side of this length; 0 when out of memory, and then to be freed all
 * the same. */
int index_allocate(struct sparse_index *index, struct memory *memory, size_t side, size_t n);
void index_free(struct sparse_index *index, struct memory *memory, size_t n);
size_t index_bytes(size_t side, size_t n);

struct blocks {
    size_t rows, cols;
    size_t tile_rows, n_tiles;
    size_t block_cols, n_blocks; /* a block lies within one INDEX_RANGE */
    /* Of each tile n_blocks - 1 times its rows: where they enter each block but the first. NULL where
     * n_blocks is 1. */
    uint32_t *cut;
};

/* Chooses and allocates; 0 when out of memory, and then to be freed all the same. */
int blocks_allocate(struct blocks *blocks, struct memory *memory, size_t rows, size_t cols, size_t nnz);
/* start: rows + 1 */
void blocks_fill(struct blocks *blocks, const uint32_t *start, const struct sparse_index *index);
void blocks_free(struct blocks *blocks, struct memory *memory);
size_t blocks_bytes(size_t rows, size_t cols, size_t nnz);

/* One of the two orders of a matrix, as the products see it; all lent. */
struct sparse_order {
    const struct blocks *blocks;
    const uint32_t *start;
    const uint16_t *index; /* lower halves */
    const float *value;
};

static inline size_t tile_rows(const struct blocks *blocks, size_t tile)
{
    size_t first = tile * blocks->tile_rows;
    return blocks->rows - first < blocks->tile_rows ? blocks->rows - first : blocks->tile_rows;
}

static inline struct sparse_block order_block(const struct sparse_order *order, size_t tile,
                                              size_t block)
{
    const struct blocks *blocks = order->blocks;
    size_t first = tile * blocks->tile_rows, rows = tile_rows(blocks, tile);
    const uint32_t *start = order->start + first, *end = start + 1;
    const uint32_t *cut = blocks->cut ? blocks->cut + first * (blocks->n_blocks - 1) : NULL;
    if (block > 0)
        start = cut + (block - 1) * rows;
    if (block + 1 < blocks->n_blocks)
        end = cut + block * rows;
    return (struct sparse_block){.rows = rows,
                                 .first_column = block * blocks->block_cols / INDEX_RANGE * INDEX_RANGE,
                                 .start = start,
                                 .end = end,
                                 .index = order->index,
                                 .value = order->value};
}

#endif
