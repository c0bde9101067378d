/* What the sparse kernels stream: an order of a pattern cut into tiles of rows and blocks of columns,
 * so that a block of the input panel stays in the L1 or L2 cache while a tile of rows uses it. Entries
 * stand in the order tile, block, row, column; each row's part of a block is contiguous. Positions are
 * derived per pattern and shared between matrices over it; values belong to one matrix. */
#ifndef SN_MATRIX_PACKING_H
#define SN_MATRIX_PACKING_H

#include "matrix/matrix.h"

/* One of the two orders. For the transposed one, rows and cols are the other way round. */
struct packed_order {
    size_t rows, cols, nnz;
    size_t tile_rows, n_tiles;
    size_t block_cols, n_blocks;
    uint32_t *start; /* rows * n_blocks + 1, in the order tile, block, row */
    uint16_t *index; /* nnz, column - first column of the block */
};

/* Shared, reference-counted, immutable but for the transposed order, which is made when first needed. */
struct packed_layout {
    struct memory *memory;
    size_t references;
    struct packed_order forward;
    struct packed_order *transposed; /* NULL before packing_prepare_transposed */
};

struct packing {
    struct packed_layout *layout;
    float *forward;    /* nnz values in packed order */
    float *transposed; /* the same in the packed transposed order, NULL until needed */
};

/* Another thread may be making these: only an atomic load sees them whole. NULL before they are there. */
static inline const struct packed_order *layout_transposed(const struct packed_layout *layout)
{
    return __atomic_load_n(&layout->transposed, __ATOMIC_ACQUIRE);
}

static inline float *packing_transposed(const struct packing *packing)
{
    return __atomic_load_n(&packing->transposed, __ATOMIC_ACQUIRE);
}

int packing_create(struct packing **out, struct sn_context *context, const struct pattern *pattern);
/* The transposed order with its values, unless they are there. Threads that share the packing may call at
 * the same time. */
int packing_prepare_transposed(struct packing *packing, struct sn_context *context,
                               struct pattern *pattern, const float *values);
/* Own values (unfilled), shared layout. */
int packing_copy(struct packing **out, struct sn_context *context, const struct packing *packing);
void packing_free(struct packing *packing, struct memory *memory);
/* Fills the value arrays that are there from the pattern's CSR order; parallel over tiles. */
int packing_refresh(struct packing *packing, struct sn_context *context, const struct pattern *pattern,
                    const float *values);
/* Bytes of the values and of the shared layout, as memory_usage counts them. */
size_t packing_bytes(const struct packing *packing);
/* Bytes that a fresh packing of such a matrix takes, without the transposed order. */
size_t packing_estimate(size_t rows, size_t cols, size_t nnz);
/* What packing_prepare_transposed adds to packing_bytes. */
size_t packing_transposed_bytes(const struct packing *packing);

/* Rows of tile `tile`. */
static inline size_t packed_tile_rows(const struct packed_order *order, size_t tile)
{
    size_t first = tile * order->tile_rows;
    return order->rows - first < order->tile_rows ? order->rows - first : order->tile_rows;
}

/* Starts of (tile, block): one more than the tile has rows. */
static inline const uint32_t *packed_start(const struct packed_order *order, size_t tile, size_t block)
{
    return order->start + tile * order->tile_rows * order->n_blocks +
           block * packed_tile_rows(order, tile);
}

static inline struct sparse_block packed_block(const struct packed_order *order, const float *values,
                                               size_t tile, size_t block)
{
    return (struct sparse_block){.rows = packed_tile_rows(order, tile),
                                 .first_column = block * order->block_cols,
                                 .start = packed_start(order, tile, block),
                                 .index = order->index,
                                 .value = values};
}

#endif
