#include "matrix/blocks.h"

#include <string.h>

/* Measured on panels of 64 tokens (docs/performance.md). Blocks must be wide enough for some 32
 * entries per row, else reading and writing the sums costs more than the nearer input saves; narrower
 * than fits the L1 cache (32 KB) helps no more. So dense matrices stream their input from L1, sparser
 * ones from L2, and the sparsest, bound by their sums, see one block. Sums of a tile stay in the L2
 * cache. */
#define BLOCK_ENTRIES 32
#define L1_BLOCK_COLS 112
#define L1_TILE_ROWS 256
#define MAX_TILE_ROWS 1024

int index_allocate(struct sparse_index *index, struct memory *memory, size_t side, size_t n)
{
    index->low = memory_allocate_array(memory, n, sizeof *index->low);
    index->high = side > INDEX_RANGE ? memory_allocate_array(memory, n, sizeof *index->high) : NULL;
    return index->low && (side <= INDEX_RANGE || index->high);
}

void index_free(struct sparse_index *index, struct memory *memory, size_t n)
{
    memory_free(memory, index->low, n * sizeof *index->low);
    memory_free(memory, index->high, n * sizeof *index->high);
}

size_t index_bytes(size_t side, size_t n)
{
    return (side > INDEX_RANGE ? 2 : 1) * memory_block_size(n * sizeof(uint16_t));
}

/* The largest power of two up to n: such blocks do not straddle ranges. */
static size_t power_of_two(size_t n)
{
    size_t power = 1;
    while (power <= n / 2)
        power *= 2;
    return power;
}

static struct blocks choose_blocks(size_t rows, size_t cols, size_t nnz)
{
    double wanted = BLOCK_ENTRIES * (double)rows * (double)cols / ((double)nnz + 1);
    size_t limit = wanted < L1_BLOCK_COLS         ? L1_BLOCK_COLS
                   : wanted < (double)INDEX_RANGE ? (size_t)wanted
                                                  : INDEX_RANGE;
    size_t tile = limit == L1_BLOCK_COLS ? L1_TILE_ROWS : MAX_TILE_ROWS;
    struct blocks blocks = {.rows = rows, .cols = cols, .tile_rows = rows < tile ? rows : tile};
    size_t n_blocks = (cols + limit - 1) / limit;
    blocks.n_tiles = (rows + blocks.tile_rows - 1) / blocks.tile_rows;
    blocks.block_cols =
        cols > INDEX_RANGE ? power_of_two(limit) : (cols + n_blocks - 1) / n_blocks; /* of equal width */
    blocks.n_blocks = (cols + blocks.block_cols - 1) / blocks.block_cols;
    return blocks;
}

/* 0 where no cuts are kept; SIZE_MAX where they cannot be counted. */
static size_t count_cuts(const struct blocks *blocks)
{
    size_t n;
    if (blocks->n_blocks == 1)
        return 0;
    return size_product(&n, blocks->rows, blocks->n_blocks - 1) ? n : SIZE_MAX;
}

int blocks_allocate(struct blocks *blocks, struct memory *memory, size_t rows, size_t cols, size_t nnz)
{
    *blocks = choose_blocks(rows, cols, nnz);
    if (blocks->n_blocks > 1)
        blocks->cut = memory_allocate_array(memory, count_cuts(blocks), sizeof *blocks->cut);
    return blocks->n_blocks == 1 || blocks->cut;
}

void blocks_free(struct blocks *blocks, struct memory *memory)
{
    memory_free(memory, blocks->cut, count_cuts(blocks) * sizeof *blocks->cut);
    blocks->cut = NULL;
}

size_t blocks_bytes(size_t rows, size_t cols, size_t nnz)
{
    struct blocks blocks = choose_blocks(rows, cols, nnz);
    return blocks.n_blocks > 1 ? memory_block_size(count_cuts(&blocks) * sizeof *blocks.cut) : 0;
}

void blocks_fill(struct blocks *blocks, const uint32_t *start, const struct sparse_index *index)
{
    uint32_t *cut = blocks->cut;
    for (size_t tile = 0; cut && tile < blocks->n_tiles; tile++) {
        size_t rows = tile_rows(blocks, tile), first = tile * blocks->tile_rows;
        const uint32_t *from = start + first;
        for (size_t block = 1; block < blocks->n_blocks; block++, from = cut, cut += rows)
            for (size_t r = 0; r < rows; r++) {
                uint32_t i = from[r], last = start[first + r + 1];
                while (i < last && index_at(index, i) < block * blocks->block_cols)
                    i++;
                cut[r] = i;
            }
    }
}
