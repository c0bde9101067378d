#include "matrix/packing.h"

#include <string.h>

#include "base/threads.h"

/* Measured on panels of 64 tokens (docs/performance.md). Blocks must be wide enough for some 16 entries
 * per row, else reading and writing the sums costs more than the nearer input saves; narrower than fits
 * the L1 cache (32 KB) helps no more. So dense matrices stream their input from L1, sparser ones from L2,
 * and the sparsest, bound by their sums, see one block. Sums of a tile stay in the L2 cache. */
#define BLOCK_ENTRIES 16
#define L1_BLOCK_COLS 112
#define MAX_BLOCK_COLS 65536 /* local indices have 16 bits */
#define L1_TILE_ROWS 256
#define MAX_TILE_ROWS 1024

static void choose_blocks(struct packed_order *order, size_t rows, size_t cols, size_t nnz)
{
    double wanted = BLOCK_ENTRIES * (double)rows * (double)cols / ((double)nnz + 1);
    size_t limit = wanted < L1_BLOCK_COLS    ? L1_BLOCK_COLS
                   : wanted < MAX_BLOCK_COLS ? (size_t)wanted
                                             : MAX_BLOCK_COLS;
    size_t tile = limit == L1_BLOCK_COLS ? L1_TILE_ROWS : MAX_TILE_ROWS;
    order->rows = rows;
    order->cols = cols;
    order->nnz = nnz;
    order->tile_rows = rows < tile ? rows : tile;
    order->n_tiles = (rows + order->tile_rows - 1) / order->tile_rows;
    order->n_blocks = (cols + limit - 1) / limit;
    order->block_cols = (cols + order->n_blocks - 1) / order->n_blocks; /* blocks of equal width */
    order->n_blocks = (cols + order->block_cols - 1) / order->block_cols;
}

/* start of the pattern's rows in this order; index: the other side of each entry. */
static void fill_order(struct packed_order *order, const uint32_t *row_start, const uint32_t *index)
{
    uint32_t cursor[MAX_TILE_ROWS];
    uint32_t filled = 0, *start = order->start;
    for (size_t tile = 0; tile < order->n_tiles; tile++) {
        size_t first = tile * order->tile_rows, rows = packed_tile_rows(order, tile);
        memcpy(cursor, row_start + first, rows * sizeof *cursor);
        for (size_t block = 0; block < order->n_blocks; block++) {
            size_t begin = block * order->block_cols, end = begin + order->block_cols;
            for (size_t r = 0; r < rows; r++) {
                *start++ = filled;
                uint32_t i = cursor[r], last = row_start[first + r + 1];
                for (; i < last && index[i] < end; i++)
                    order->index[filled++] = (uint16_t)(index[i] - begin);
                cursor[r] = i;
            }
        }
    }
    *start = filled;
}

static int create_order(struct packed_order *order, struct memory *memory, size_t rows, size_t cols,
                        size_t nnz, const uint32_t *row_start, const uint32_t *index)
{
    choose_blocks(order, rows, cols, nnz);
    size_t n_starts;
    if (!size_product(&n_starts, rows, order->n_blocks))
        return 0;
    order->start = memory_allocate_array(memory, n_starts + 1, sizeof *order->start);
    order->index = memory_allocate_array(memory, nnz, sizeof *order->index);
    if (!order->start || !order->index)
        return 0;
    fill_order(order, row_start, index);
    return 1;
}

static size_t start_bytes(const struct packed_order *order)
{
    return (order->rows * order->n_blocks + 1) * sizeof *order->start;
}

static void free_order(struct packed_order *order, struct memory *memory)
{
    memory_free(memory, order->start, start_bytes(order));
    memory_free(memory, order->index, order->nnz * sizeof *order->index);
}

static void free_transposed(struct packed_order *order, struct memory *memory)
{
    if (!order)
        return;
    free_order(order, memory);
    memory_free(memory, order, sizeof *order);
}

static void release_layout(struct packed_layout *layout)
{
    if (!layout || __atomic_sub_fetch(&layout->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    struct memory *memory = layout->memory;
    free_order(&layout->forward, memory);
    free_transposed(layout->transposed, memory);
    memory_free(memory, layout, sizeof *layout);
    memory_release(memory);
}

static struct packed_layout *create_layout(struct memory *memory, const struct pattern *pattern)
{
    struct packed_layout *layout = memory_allocate_zeroed(memory, sizeof *layout);
    if (!layout)
        return NULL;
    layout->memory = memory_retain(memory);
    layout->references = 1;
    if (create_order(&layout->forward, memory, pattern->rows, pattern->cols, pattern->nnz,
                     pattern->row_start, pattern->col_index))
        return layout;
    release_layout(layout);
    return NULL;
}

/* Takes over the reference to layout, also when it fails. */
static int create_over(struct packing **out, struct sn_context *context, struct packed_layout *layout)
{
    struct memory *memory = context->memory;
    size_t nnz = layout->forward.nnz;
    struct packing *packing = memory_allocate_zeroed(memory, sizeof *packing);
    if (!packing) {
        release_layout(layout);
        return fail_memory(context, "a packed matrix", sizeof *packing);
    }
    packing->layout = layout;
    packing->forward = memory_allocate_array(memory, nnz, sizeof(float));
    if (!packing->forward) {
        packing_free(packing, memory);
        return fail_memory(context, "a packed matrix", nnz * sizeof(float));
    }
    *out = packing;
    return SN_OK;
}

int packing_create(struct packing **out, struct sn_context *context, const struct pattern *pattern)
{
    *out = NULL;
    struct packed_layout *layout = create_layout(context->memory, pattern);
    if (!layout)
        return fail_memory(context, "a packed pattern", pattern->nnz * sizeof(uint16_t));
    return create_over(out, context, layout);
}

int packing_copy(struct packing **out, struct sn_context *context, const struct packing *packing)
{
    *out = NULL;
    __atomic_add_fetch(&packing->layout->references, 1, __ATOMIC_RELAXED);
    return create_over(out, context, packing->layout);
}

void packing_free(struct packing *packing, struct memory *memory)
{
    if (!packing)
        return;
    size_t bytes = packing->layout->forward.nnz * sizeof(float);
    memory_free(memory, packing->forward, bytes);
    memory_free(memory, packing->transposed, bytes);
    release_layout(packing->layout);
    memory_free(memory, packing, sizeof *packing);
}

#define REFRESH_ROWS ((size_t)256)

struct refresh {
    const struct pattern *pattern;
    const struct pattern_columns *columns;
    const struct packed_order *forward_order, *transposed_order;
    float *forward, *transposed;
    const float *values;
    size_t forward_chunks;
};

/* A row's CSR entries are its parts of the blocks in order: no permutation is kept for them. entry:
 * where each value of this order stands in CSR order, NULL when it is that order. */
static void refresh_row(float *packed, const struct packed_order *order, size_t from,
                        const uint32_t *entry, const float *values, size_t row)
{
    size_t tile = row / order->tile_rows, r = row % order->tile_rows;
    for (size_t block = 0; block < order->n_blocks; block++) {
        const uint32_t *start = packed_start(order, tile, block) + r;
        float *to = packed + start[0];
        size_t n = start[1] - start[0];
        for (size_t i = 0; i < n; i++)
            to[i] = values[entry ? entry[from + i] : from + i];
        from += n;
    }
}

static void refresh_rows(float *packed, const struct packed_order *order, const uint32_t *row_start,
                         const uint32_t *entry, const float *values, size_t chunk)
{
    size_t first = chunk * REFRESH_ROWS, last = first + REFRESH_ROWS;
    for (size_t row = first; row < last && row < order->rows; row++)
        refresh_row(packed, order, row_start[row], entry, values, row);
}

static int refresh_chunk(void *payload, size_t chunk, size_t worker)
{
    (void)worker;
    const struct refresh *refresh = payload;
    if (chunk < refresh->forward_chunks)
        refresh_rows(refresh->forward, refresh->forward_order, refresh->pattern->row_start, NULL,
                     refresh->values, chunk);
    else
        refresh_rows(refresh->transposed, refresh->transposed_order, refresh->columns->start,
                     refresh->columns->entry, refresh->values, chunk - refresh->forward_chunks);
    return SN_OK;
}

static size_t refresh_chunks(const struct packed_order *order)
{
    return (order->rows + REFRESH_ROWS - 1) / REFRESH_ROWS;
}

int packing_refresh(struct packing *packing, struct sn_context *context, const struct pattern *pattern,
                    const float *values)
{
    const struct packed_layout *layout = packing->layout;
    struct refresh refresh = {.pattern = pattern,
                              .columns = pattern_columns_made(pattern),
                              .forward_order = &layout->forward,
                              .transposed_order = layout_transposed(layout),
                              .forward = packing->forward,
                              .transposed = packing_transposed(packing),
                              .values = values,
                              .forward_chunks = refresh_chunks(&layout->forward)};
    size_t chunks = refresh.forward_chunks;
    if (refresh.transposed)
        chunks += refresh_chunks(refresh.transposed_order);
    return parallel_for(context, chunks, refresh_chunk, &refresh);
}

/* ---- the transposed order, on demand: of threads that make it at the same time the first wins */

static int prepare_order(struct packed_layout *layout, struct sn_context *context,
                         const struct pattern *pattern, const struct pattern_columns *columns)
{
    struct memory *memory = layout->memory;
    struct packed_order *none = NULL;
    if (layout_transposed(layout))
        return SN_OK;
    struct packed_order *order = memory_allocate_zeroed(memory, sizeof *order);
    if (!order || !create_order(order, memory, pattern->cols, pattern->rows, pattern->nnz,
                                columns->start, columns->row_index)) {
        free_transposed(order, memory);
        return fail_memory(context, "a packed pattern", pattern->nnz * sizeof(uint16_t));
    }
    if (!__atomic_compare_exchange_n(&layout->transposed, &none, order, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        free_transposed(order, memory);
    return SN_OK;
}

int packing_prepare_transposed(struct packing *packing, struct sn_context *context,
                               struct pattern *pattern, const float *values)
{
    struct packed_layout *layout = packing->layout;
    struct memory *memory = layout->memory;
    struct refresh refresh = {.pattern = pattern, .values = values};
    size_t bytes = pattern->nnz * sizeof(float);
    float *none = NULL;
    if (packing_transposed(packing))
        return SN_OK;
    int status = pattern_columns(&refresh.columns, context, pattern);
    if (status == SN_OK)
        status = prepare_order(layout, context, pattern, refresh.columns);
    if (status != SN_OK)
        return status;
    refresh.transposed_order = layout_transposed(layout);
    refresh.transposed = memory_allocate(memory, bytes);
    if (!refresh.transposed)
        return fail_memory(context, "a packed matrix", bytes);
    status = parallel_for(context, refresh_chunks(refresh.transposed_order), refresh_chunk, &refresh);
    if (status != SN_OK || !__atomic_compare_exchange_n(&packing->transposed, &none, refresh.transposed,
                                                        0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        memory_free(memory, refresh.transposed, bytes);
    return status;
}

/* The two arrays of an order and one of values. */
static size_t order_bytes(const struct packed_order *order)
{
    return memory_block_size(start_bytes(order)) + memory_block_size(order->nnz * sizeof *order->index) +
           memory_block_size(order->nnz * sizeof(float));
}

size_t packing_estimate(size_t rows, size_t cols, size_t nnz)
{
    struct packed_order order;
    choose_blocks(&order, rows, cols, nnz);
    return memory_block_size(sizeof(struct packing)) + memory_block_size(sizeof(struct packed_layout)) +
           order_bytes(&order);
}

size_t packing_transposed_bytes(const struct packing *packing)
{
    const struct packed_order *forward = &packing->layout->forward;
    struct packed_order order;
    choose_blocks(&order, forward->cols, forward->rows, forward->nnz);
    size_t values = memory_block_size(forward->nnz * sizeof(float));
    size_t layout = memory_block_size(sizeof order) + order_bytes(&order) - values;
    return (layout_transposed(packing->layout) ? 0 : layout) +
           (packing_transposed(packing) ? 0 : values);
}

size_t packing_bytes(const struct packing *packing)
{
    const struct packed_order *order = &packing->layout->forward;
    struct packed_order transposed;
    choose_blocks(&transposed, order->cols, order->rows, order->nnz);
    return packing_estimate(order->rows, order->cols, order->nnz) +
           memory_block_size(sizeof transposed) + order_bytes(&transposed) -
           packing_transposed_bytes(packing);
}
