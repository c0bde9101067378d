#include <string.h>

#include "matrix/matrix.h"

/* Columns counted, summed, then filled row by row: rows stay ascending in each column. */
static void fill_columns(struct pattern_columns *columns, const struct pattern *pattern)
{
    uint32_t *next = columns->start; /* next[c] ends as the start of c + 1 and is shifted back */
    memset(next, 0, (pattern->cols + 1) * sizeof *next);
    for (size_t i = 0; i < pattern->nnz; i++)
        next[pattern_column(pattern, i)]++;
    uint32_t sum = 0;
    for (size_t c = 0; c <= pattern->cols; c++) {
        uint32_t count = next[c];
        next[c] = sum;
        sum += count;
    }
    for (size_t r = 0; r < pattern->rows; r++)
        for (uint32_t i = pattern->row_start[r]; i < pattern->row_start[r + 1]; i++)
            index_set(&columns->index, next[pattern_column(pattern, i)]++, (uint32_t)r);
    memmove(next + 1, next, pattern->cols * sizeof *next);
    next[0] = 0;
    blocks_fill(&columns->blocks, columns->start, &columns->index);
}

static void free_columns(struct pattern_columns *columns, const struct pattern *pattern)
{
    struct memory *memory = pattern->memory;
    if (!columns)
        return;
    memory_free(memory, columns->start, (pattern->cols + 1) * sizeof(uint32_t));
    index_free(&columns->index, memory, pattern->nnz);
    blocks_free(&columns->blocks, memory);
    memory_free(memory, columns->entry, pattern->nnz * sizeof(uint32_t));
    memory_free(memory, columns, sizeof *columns);
}

static struct pattern_columns *create_columns(const struct pattern *pattern)
{
    struct memory *memory = pattern->memory;
    struct pattern_columns *columns = memory_allocate_zeroed(memory, sizeof *columns);
    if (!columns)
        return NULL;
    columns->start = memory_allocate_array(memory, pattern->cols + 1, sizeof(uint32_t));
    if (columns->start && index_allocate(&columns->index, memory, pattern->rows, pattern->nnz) &&
        blocks_allocate(&columns->blocks, memory, pattern->cols, pattern->rows, pattern->nnz)) {
        fill_columns(columns, pattern);
        return columns;
    }
    free_columns(columns, pattern);
    return NULL;
}

/* Of threads that make it at the same time the first to finish wins; the others' copies are the same. */
static struct pattern_columns *share_columns(struct pattern *pattern)
{
    struct pattern_columns *there = __atomic_load_n(&pattern->columns, __ATOMIC_ACQUIRE);
    struct pattern_columns *columns = there ? there : create_columns(pattern);
    if (there || !columns ||
        __atomic_compare_exchange_n(&pattern->columns, &there, columns, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return columns;
    free_columns(columns, pattern);
    return there;
}

int pattern_columns(const struct pattern_columns **out, struct sn_context *context,
                    struct pattern *pattern)
{
    *out = share_columns(pattern);
    return *out ? SN_OK
                : fail_memory(context, "the columns of a sparse pattern",
                              index_bytes(pattern->rows, pattern->nnz));
}

/* NULL when out of memory. */
static uint32_t *create_entries(const struct pattern *pattern, const struct pattern_columns *columns)
{
    struct memory *memory = pattern->memory;
    uint32_t *entry = memory_allocate_array(memory, pattern->nnz, sizeof *entry);
    uint32_t *next = memory_allocate_array(memory, pattern->cols, sizeof *next);
    if (entry && next) {
        memcpy(next, columns->start, pattern->cols * sizeof *next);
        for (size_t i = 0; i < pattern->nnz; i++)
            entry[next[pattern_column(pattern, i)]++] = (uint32_t)i;
    } else {
        memory_free(memory, entry, pattern->nnz * sizeof *entry);
        entry = NULL;
    }
    memory_free(memory, next, pattern->cols * sizeof *next);
    return entry;
}

int pattern_entries(const struct pattern_columns **out, struct sn_context *context,
                    struct pattern *pattern)
{
    struct pattern_columns *columns = share_columns(pattern);
    uint32_t *there = columns ? __atomic_load_n(&columns->entry, __ATOMIC_ACQUIRE) : NULL;
    uint32_t *entry = there || !columns ? there : create_entries(pattern, columns);
    *out = columns;
    if (!entry)
        return fail_memory(context, "the columns of a sparse pattern", pattern->nnz * sizeof *entry);
    if (!there && !__atomic_compare_exchange_n(&columns->entry, &there, entry, 0, __ATOMIC_ACQ_REL,
                                               __ATOMIC_ACQUIRE))
        memory_free(pattern->memory, entry, pattern->nnz * sizeof *entry);
    return SN_OK;
}

/* Without its arrays, but for the cuts, which are unfilled; NULL when they cannot be had. */
static struct pattern *allocate_shell(struct sn_context *context, size_t rows, size_t cols, size_t nnz)
{
    struct memory *memory = context->memory;
    struct pattern *pattern = memory_allocate_zeroed(memory, sizeof *pattern);
    if (!pattern)
        return NULL;
    pattern->memory = memory_retain(memory);
    pattern->references = 1;
    pattern->rows = rows;
    pattern->cols = cols;
    pattern->nnz = nnz;
    if (blocks_allocate(&pattern->blocks, memory, rows, cols, nnz))
        return pattern;
    pattern_release(pattern);
    return NULL;
}

/* The arrays unfilled; NULL when they cannot be had. */
static struct pattern *allocate_pattern(struct sn_context *context, size_t rows, size_t cols, size_t nnz)
{
    struct pattern *pattern = allocate_shell(context, rows, cols, nnz);
    if (!pattern)
        return NULL;
    pattern->row_start = memory_allocate_array(context->memory, rows + 1, sizeof(uint32_t));
    if (pattern->row_start && index_allocate(&pattern->index, context->memory, cols, nnz))
        return pattern;
    pattern_release(pattern);
    return NULL;
}

static int check_size(struct sn_context *context, size_t rows, size_t cols, size_t nnz)
{
    if (rows == 0 || cols == 0 || rows >= UINT32_MAX || cols >= UINT32_MAX)
        return fail(context, SN_ERROR_ARGUMENT, "a matrix of %zu x %zu: each side must be 1 .. 2^32 - 2",
                    rows, cols);
    if (nnz >= UINT32_MAX)
        return fail(context, SN_ERROR_UNSUPPORTED, "%zu nonzeros in one matrix; 2^32 - 2 is the limit",
                    nnz);
    return SN_OK;
}

int pattern_create(struct pattern **out, struct sn_context *context, size_t rows, size_t cols,
                   const uint32_t *row_start, const uint32_t *col_index)
{
    *out = NULL;
    size_t nnz = row_start[rows];
    int status = check_size(context, rows, cols, nnz);
    if (status != SN_OK)
        return status;
    struct pattern *pattern = allocate_pattern(context, rows, cols, nnz);
    if (!pattern)
        return fail_memory(context, "a sparse pattern", nnz * sizeof(uint32_t));
    memcpy(pattern->row_start, row_start, (rows + 1) * sizeof *row_start);
    for (size_t i = 0; i < nnz; i++)
        index_set(&pattern->index, i, col_index[i]);
    blocks_fill(&pattern->blocks, pattern->row_start, &pattern->index);
    *out = pattern;
    return SN_OK;
}

int pattern_adopt(struct pattern **out, struct sn_context *context, size_t rows, size_t cols,
                  uint32_t *row_start, const struct sparse_index *index)
{
    *out = NULL;
    int status = check_size(context, rows, cols, row_start[rows]);
    if (status != SN_OK)
        return status;
    struct pattern *pattern = allocate_shell(context, rows, cols, row_start[rows]);
    if (!pattern)
        return fail_memory(context, "a sparse pattern", sizeof *pattern);
    pattern->row_start = row_start;
    pattern->index = *index;
    blocks_fill(&pattern->blocks, row_start, index);
    *out = pattern;
    return SN_OK;
}

/* The columns of up to 8 kept bytes from column `c` on become entries at, at + 1 ...; index NULL only
 * counts. */
static size_t take_word(struct sparse_index *index, size_t at, const unsigned char *keep, size_t c,
                        size_t n)
{
    const uint64_t low_bits = 0x7F7F7F7F7F7F7F7F;
    uint64_t word = 0, found;
    memcpy(&word, keep + c, n);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    found =
        (((word & low_bits) + low_bits) | word) & ~low_bits; /* top bit of every byte that is not 0 */
    size_t count = 0;
    if (!index)
        return (size_t)((found >> 7) * 0x0101010101010101 >> 56);
    for (; found; found &= found - 1)
        index_set(index, at + count++, (uint32_t)(c + (size_t)__builtin_ctzll(found) / 8));
    return count;
}

static size_t take_row(struct sparse_index *index, size_t at, const unsigned char *keep, size_t cols)
{
    size_t count = 0, c = 0;
    for (; c + 8 <= cols; c += 8)
        count += take_word(index, at + count, keep, c, 8);
    if (c < cols)
        count += take_word(index, at + count, keep, c, cols - c);
    return count;
}

static size_t count_kept(const unsigned char *keep, size_t rows, size_t cols)
{
    size_t count = 0;
    for (size_t r = 0; r < rows; r++)
        count += take_row(NULL, 0, keep + r * cols, cols);
    return count;
}

int pattern_from_mask(struct pattern **out, struct sn_context *context, size_t rows, size_t cols,
                      const unsigned char *keep)
{
    *out = NULL;
    size_t nnz = count_kept(keep, rows, cols), filled = 0;
    int status = check_size(context, rows, cols, nnz);
    if (status != SN_OK)
        return status;
    struct pattern *pattern = allocate_pattern(context, rows, cols, nnz);
    if (!pattern)
        return fail_memory(context, "a sparse pattern", nnz * sizeof(uint32_t));
    for (size_t r = 0; r < rows; r++) {
        pattern->row_start[r] = (uint32_t)filled;
        filled += take_row(&pattern->index, filled, keep + r * cols, cols);
    }
    pattern->row_start[rows] = (uint32_t)filled;
    blocks_fill(&pattern->blocks, pattern->row_start, &pattern->index);
    *out = pattern;
    return SN_OK;
}

void pattern_read_columns(uint32_t *out, const struct pattern *pattern, size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = pattern_column(pattern, first + i);
}

struct pattern *pattern_retain(struct pattern *pattern)
{
    if (pattern)
        __atomic_add_fetch(&pattern->references, 1, __ATOMIC_RELAXED);
    return pattern;
}

void pattern_release(struct pattern *pattern)
{
    if (!pattern || __atomic_sub_fetch(&pattern->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    struct memory *memory = pattern->memory;
    memory_free(memory, pattern->row_start, (pattern->rows + 1) * sizeof(uint32_t));
    index_free(&pattern->index, memory, pattern->nnz);
    blocks_free(&pattern->blocks, memory);
    free_columns(pattern->columns, pattern);
    memory_free(memory, pattern, sizeof *pattern);
    memory_release(memory);
}
