#include "matrix/matrix.h"

#include <string.h>

#include "base/threads.h"

/* Takes over the values; NULL when out of memory. */
static struct sn_matrix *make_matrix(struct memory *memory, size_t rows, size_t cols, float *values,
                                     size_t n_values)
{
    struct sn_matrix *matrix = values ? memory_allocate_zeroed(memory, sizeof *matrix) : NULL;
    if (!matrix)
        return NULL;
    matrix->memory = memory_retain(memory);
    matrix->rows = rows;
    matrix->cols = cols;
    matrix->values = values;
    matrix->n_values = n_values;
    return matrix;
}

/* n floats: a copy of values, or zeros; NULL when out of memory. */
static float *copy_values(struct memory *memory, const float *values, size_t n)
{
    float *copy = memory_allocate_array(memory, n, sizeof *copy);
    if (copy && values)
        memcpy(copy, values, n * sizeof *copy);
    else if (copy)
        memset(copy, 0, n * sizeof *copy);
    return copy;
}

int matrix_adopt_sparse(struct sn_matrix **out, struct sn_context *context, struct pattern *pattern,
                        float *values)
{
    *out = make_matrix(context->memory, pattern->rows, pattern->cols, values, pattern->nnz);
    if (!*out)
        return fail_memory(context, "a sparse matrix", pattern->nnz * sizeof(float));
    (*out)->pattern = pattern_retain(pattern);
    return SN_OK;
}

int matrix_create_sparse(struct sn_matrix **out, struct sn_context *context, struct pattern *pattern,
                         const float *values)
{
    float *copy = copy_values(context->memory, values, pattern->nnz);
    int status = matrix_adopt_sparse(out, context, pattern, copy);
    if (status != SN_OK)
        memory_free(context->memory, copy, pattern->nnz * sizeof *copy);
    return status;
}

int matrix_create_dense(struct sn_matrix **out, struct sn_context *context, size_t rows, size_t cols,
                        const float *values)
{
    *out = NULL;
    size_t n;
    if (rows == 0 || cols == 0 || !size_product(&n, rows, cols))
        return fail(context, SN_ERROR_ARGUMENT, "a matrix of %zu x %zu", rows, cols);
    float *copy = copy_values(context->memory, values, n);
    *out = make_matrix(context->memory, rows, cols, copy, n);
    if (*out)
        return SN_OK;
    memory_free(context->memory, copy, n * sizeof *copy);
    return fail_memory(context, "a dense matrix", n * sizeof(float));
}

/* Marks the nonzeros (NaN included) and counts them. */
static size_t mark_nonzeros(unsigned char *keep, const float *values, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        keep[i] = values[i] != 0;
        count += keep[i];
    }
    return count;
}

static void gather_kept(float *out, const unsigned char *keep, const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (keep[i])
            *out++ = values[i];
}

/* keep: room for one byte per entry. */
static int create_from_marked(struct sn_matrix **out, struct sn_context *context, size_t rows,
                              size_t cols, const float *values, const unsigned char *keep, size_t nnz)
{
    struct pattern *pattern = NULL;
    int status = pattern_from_mask(&pattern, context, rows, cols, keep);
    float *kept = memory_allocate_array(context->memory, nnz, sizeof *kept);
    if (status == SN_OK && !kept)
        status = fail_memory(context, "the nonzeros of a matrix", nnz * sizeof *kept);
    if (status == SN_OK) {
        gather_kept(kept, keep, values, rows * cols);
        status = matrix_create_sparse(out, context, pattern, kept);
    }
    memory_free(context->memory, kept, nnz * sizeof *kept);
    pattern_release(pattern);
    return status;
}

int matrix_from_dense(struct sn_matrix **out, struct sn_context *context, size_t rows, size_t cols,
                      const float *values, double max_density)
{
    *out = NULL;
    size_t n;
    if (rows == 0 || cols == 0 || !size_product(&n, rows, cols))
        return fail(context, SN_ERROR_ARGUMENT, "a matrix of %zu x %zu", rows, cols);
    unsigned char *keep = memory_allocate(context->memory, n);
    if (!keep)
        return fail_memory(context, "the pattern of a matrix", n);
    size_t nnz = mark_nonzeros(keep, values, n);
    int status = (double)nnz <= max_density * (double)n
                     ? create_from_marked(out, context, rows, cols, values, keep, nnz)
                     : matrix_create_dense(out, context, rows, cols, values);
    memory_free(context->memory, keep, n);
    return status;
}

int matrix_copy(struct sn_matrix **out, struct sn_context *context, const struct sn_matrix *matrix)
{
    return matrix->pattern
               ? matrix_create_sparse(out, context, matrix->pattern, matrix->values)
               : matrix_create_dense(out, context, matrix->rows, matrix->cols, matrix->values);
}

void matrix_free(struct sn_matrix *matrix)
{
    if (!matrix)
        return;
    struct memory *memory = matrix->memory;
    pattern_release(matrix->pattern);
    memory_free(memory, matrix->values, matrix->n_values * sizeof(float));
    memory_free(memory, matrix->transposed, matrix->n_values * sizeof(float));
    memory_free(memory, matrix, sizeof *matrix);
    memory_release(memory);
}

/* ---- the values by columns */

#define TRANSPOSE_ENTRIES ((size_t)65536)

struct transposition {
    float *to;
    const float *from;
    const uint32_t *entry;
    size_t n;
};

static int transpose_chunk(void *payload, size_t chunk, size_t worker)
{
    const struct transposition *transposition = payload;
    size_t first = chunk * TRANSPOSE_ENTRIES, last = first + TRANSPOSE_ENTRIES;
    (void)worker;
    for (size_t i = first; i < last && i < transposition->n; i++)
        transposition->to[i] = transposition->from[transposition->entry[i]];
    return SN_OK;
}

int matrix_values_changed(struct sn_matrix *matrix, struct sn_context *context)
{
    const struct pattern_columns *columns;
    if (!matrix_transposed(matrix))
        return SN_OK;
    int status = pattern_entries(&columns, context, matrix->pattern);
    if (status != SN_OK)
        return status;
    struct transposition transposition = {matrix->transposed, matrix->values, columns->entry,
                                          matrix->n_values};
    return parallel_for(context, (matrix->n_values + TRANSPOSE_ENTRIES - 1) / TRANSPOSE_ENTRIES,
                        transpose_chunk, &transposition);
}

/* next: room for a place of each column. A matrix whose values never change needs no places of its
 * entries. */
static void fill_transposed(float *transposed, uint32_t *next, const struct sn_matrix *matrix,
                            const struct pattern_columns *columns)
{
    memcpy(next, columns->start, matrix->cols * sizeof *next);
    for (size_t i = 0; i < matrix->n_values; i++)
        transposed[next[pattern_column(matrix->pattern, i)]++] = matrix->values[i];
}

/* Nothing else of a matrix changes while it is shared; of threads that make it at the same time the
 * first wins. */
int matrix_prepare_transposed(const struct sn_matrix *matrix, struct sn_context *context)
{
    struct memory *memory = matrix->memory;
    const struct pattern_columns *columns;
    float *none = NULL;
    if (!matrix->pattern || matrix_transposed(matrix))
        return SN_OK;
    int status = pattern_columns(&columns, context, matrix->pattern);
    if (status != SN_OK)
        return status;
    size_t bytes = matrix->n_values * sizeof(float);
    float *transposed = memory_allocate(memory, bytes);
    uint32_t *next = memory_allocate_array(memory, matrix->cols, sizeof *next);
    if (transposed && next)
        fill_transposed(transposed, next, matrix, columns);
    else
        status = fail_memory(context, "a transposed matrix", bytes);
    if (status != SN_OK ||
        !__atomic_compare_exchange_n(&((struct sn_matrix *)(uintptr_t)matrix)->transposed, &none,
                                     transposed, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        memory_free(memory, transposed, bytes);
    memory_free(memory, next, matrix->cols * sizeof *next);
    return status;
}

void matrix_row(float *out, const struct sn_matrix *matrix, size_t row)
{
    if (!matrix->pattern) {
        memcpy(out, matrix->values + row * matrix->cols, matrix->cols * sizeof *out);
        return;
    }
    memset(out, 0, matrix->cols * sizeof *out);
    const struct pattern *pattern = matrix->pattern;
    for (size_t i = pattern->row_start[row]; i < pattern->row_start[row + 1]; i++)
        out[pattern_column(pattern, i)] = matrix->values[i];
}

float matrix_at(const struct sn_matrix *matrix, size_t row, size_t col)
{
    if (!matrix->pattern)
        return matrix->values[row * matrix->cols + col];
    const struct pattern *pattern = matrix->pattern;
    size_t low = pattern->row_start[row], high = pattern->row_start[row + 1];
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (pattern_column(pattern, middle) < col)
            low = middle + 1;
        else
            high = middle;
    }
    return low < pattern->row_start[row + 1] && pattern_column(pattern, low) == col ? matrix->values[low]
                                                                                    : 0;
}

/* Of a pattern's columns without the places of entries. */
static size_t columns_estimate(size_t rows, size_t cols, size_t nnz)
{
    return memory_block_size(sizeof(struct pattern_columns)) +
           memory_block_size((cols + 1) * sizeof(uint32_t)) + index_bytes(rows, nnz) +
           blocks_bytes(cols, rows, nnz);
}

static size_t columns_bytes(const struct pattern *pattern)
{
    return columns_estimate(pattern->rows, pattern->cols, pattern->nnz);
}

size_t matrix_transposed_estimate(size_t rows, size_t cols, size_t nnz)
{
    return memory_block_size(nnz * sizeof(float)) + columns_estimate(rows, cols, nnz);
}

size_t matrix_estimate(size_t rows, size_t cols, size_t n_values, int sparse)
{
    size_t bytes =
        memory_block_size(sizeof(struct sn_matrix)) + memory_block_size(n_values * sizeof(float));
    if (sparse)
        bytes += memory_block_size(sizeof(struct pattern)) +
                 memory_block_size((rows + 1) * sizeof(uint32_t)) + index_bytes(cols, n_values) +
                 blocks_bytes(rows, cols, n_values);
    return bytes;
}

size_t matrix_bytes(const struct sn_matrix *matrix)
{
    struct pattern *pattern = matrix->pattern;
    size_t values = memory_block_size(matrix->n_values * sizeof(float));
    size_t bytes = matrix_estimate(matrix->rows, matrix->cols, matrix->n_values, pattern != NULL);
    const struct pattern_columns *columns = pattern ? pattern_columns_made(pattern) : NULL;
    if (columns)
        bytes += columns_bytes(pattern);
    if (columns && __atomic_load_n(&columns->entry, __ATOMIC_ACQUIRE))
        bytes += memory_block_size(pattern->nnz * sizeof(uint32_t));
    return matrix_transposed(matrix) ? bytes + values : bytes;
}

size_t matrix_transposed_bytes(const struct sn_matrix *matrix)
{
    const struct pattern *pattern = matrix->pattern;
    if (!pattern)
        return 0;
    return (matrix_transposed(matrix) ? 0 : memory_block_size(matrix->n_values * sizeof(float))) +
           (pattern_columns_made(pattern) ? 0 : columns_bytes(pattern));
}

/* ------------------------------------------------------------------ public */

/* Checks CSR arrays and narrows indptr into row_start. */
static int read_csr(uint32_t *row_start, struct sn_context *context, size_t rows, size_t cols,
                    const size_t *indptr, const uint32_t *indices)
{
    for (size_t r = 0; r < rows; r++) {
        row_start[r] = (uint32_t)indptr[r];
        for (size_t i = indptr[r]; i < indptr[r + 1]; i++) {
            if (indices[i] >= cols)
                return fail(context, SN_ERROR_ARGUMENT,
                            "indices[%zu] in row %zu is %u; the matrix has %zu columns", i, r,
                            indices[i], cols);
            if (i > indptr[r] && indices[i] <= indices[i - 1])
                return fail(context, SN_ERROR_ARGUMENT,
                            "indices[%zu] in row %zu is %u after %u; they must ascend", i, r, indices[i],
                            indices[i - 1]);
        }
    }
    row_start[rows] = (uint32_t)indptr[rows];
    return SN_OK;
}

static int check_indptr(struct sn_context *context, size_t rows, size_t cols, const size_t *indptr)
{
    if (rows == 0 || cols == 0 || rows >= UINT32_MAX || cols >= UINT32_MAX)
        return fail(context, SN_ERROR_ARGUMENT, "a matrix of %zu x %zu: each side must be 1 .. 2^32 - 2",
                    rows, cols);
    if (indptr[0] != 0)
        return fail(context, SN_ERROR_ARGUMENT, "indptr[0] is %zu; it must be 0", indptr[0]);
    for (size_t r = 0; r < rows; r++)
        if (indptr[r + 1] < indptr[r] || indptr[r + 1] - indptr[r] > cols)
            return fail(context, SN_ERROR_ARGUMENT,
                        "row %zu reaches from indptr %zu to %zu; a row holds 0 .. %zu entries", r,
                        indptr[r], indptr[r + 1], cols);
    if (indptr[rows] >= UINT32_MAX)
        return fail(context, SN_ERROR_UNSUPPORTED, "%zu nonzeros in one matrix; 2^32 - 2 is the limit",
                    indptr[rows]);
    return SN_OK;
}

int sn_matrix_create_csr(sn_matrix **out, sn_context *context, size_t rows, size_t cols,
                         const size_t *indptr, const uint32_t *indices, const float *values)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!indptr)
        return fail(context, SN_ERROR_ARGUMENT, "sn_matrix_create_csr: indptr is NULL");
    int status = check_indptr(context, rows, cols, indptr);
    if (status != SN_OK)
        return status;
    if (indptr[rows] && !indices)
        return fail(context, SN_ERROR_ARGUMENT, "indices is NULL, indptr tells of %zu", indptr[rows]);
    uint32_t *row_start = memory_allocate_array(context->memory, rows + 1, sizeof *row_start);
    if (!row_start)
        return fail_memory(context, "the rows of a matrix", (rows + 1) * sizeof *row_start);
    struct pattern *pattern = NULL;
    status = read_csr(row_start, context, rows, cols, indptr, indices);
    if (status == SN_OK)
        status = pattern_create(&pattern, context, rows, cols, row_start, indices);
    if (status == SN_OK)
        status = matrix_create_sparse(out, context, pattern, values);
    pattern_release(pattern);
    memory_free(context->memory, row_start, (rows + 1) * sizeof *row_start);
    return status;
}

int sn_matrix_create_dense(sn_matrix **out, sn_context *context, size_t rows, size_t cols,
                           const float *values, double max_density)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!values)
        return fail(context, SN_ERROR_ARGUMENT, "sn_matrix_create_dense: values is NULL");
    if (!(max_density >= 0 && max_density <= 1))
        return fail(context, SN_ERROR_ARGUMENT, "max_density must be 0 .. 1");
    return matrix_from_dense(out, context, rows, cols, values, max_density);
}

void sn_matrix_free(sn_matrix *matrix)
{
    matrix_free(matrix);
}

size_t sn_matrix_rows(const sn_matrix *matrix)
{
    return matrix ? matrix->rows : 0;
}

size_t sn_matrix_cols(const sn_matrix *matrix)
{
    return matrix ? matrix->cols : 0;
}

size_t sn_matrix_support(const sn_matrix *matrix)
{
    return matrix ? matrix->n_values : 0;
}

int sn_matrix_set_values(sn_matrix *matrix, sn_context *context, const float *values, size_t n)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!matrix || (!values && n))
        return fail(context, SN_ERROR_ARGUMENT, "%s is NULL", matrix ? "values" : "matrix");
    if (n != matrix->n_values)
        return fail(context, SN_ERROR_ARGUMENT, "n is %zu; the support has %zu entries", n,
                    matrix->n_values);
    if (n)
        memcpy(matrix->values, values, n * sizeof *values);
    return matrix_values_changed(matrix, context);
}
