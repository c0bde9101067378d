#include "format/torch_coo.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK 1024 /* entries read at once, on the stack */

/* One place of a row that is out of order. */
struct place {
    uint32_t column, order;
    float value;
};

static int by_column(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

/* Indices first .. first + n - 1 of one dimension; a vector's rows are all 0. */
static int read_indices(int64_t *out, struct torch_file *file, struct sn_context *context,
                        const struct torch_tensor *tensor, const char *name, size_t dimension,
                        uint64_t first, size_t n)
{
    const struct torch_tensor *indices = tensor->indices;
    if (tensor->n_dimensions == 1 && dimension == 0) {
        memset(out, 0, n * sizeof *out);
        return SN_OK;
    }
    const size_t row = dimension + tensor->n_dimensions - 2;
    const uint64_t limit = tensor->dimensions[row];
    int status =
        torch_read_integers(out, file, context, indices, name, row * indices->dimensions[1] + first, n);
    for (size_t i = 0; i < n && status == SN_OK; i++)
        if (out[i] < 0 || (uint64_t)out[i] >= limit)
            status = fail(context, SN_ERROR_FORMAT,
                          "%s: tensor %.200s: sparse index %lld of entry %llu must be 0 .. %llu",
                          file->zip.file.path, name, (long long)out[i], (unsigned long long)(first + i),
                          (unsigned long long)limit - 1);
    return status;
}

/* row_start[r + 1] becomes the number of entries before and in row r. */
static int count_rows(struct torch_rows *rows, struct torch_file *file, struct sn_context *context,
                      const struct torch_tensor *tensor, const char *name)
{
    int64_t row[CHUNK];
    int status = SN_OK;
    for (size_t first = 0; first < rows->n_allocated && status == SN_OK; first += CHUNK) {
        const size_t n = rows->n_allocated - first < CHUNK ? rows->n_allocated - first : CHUNK;
        status = read_indices(row, file, context, tensor, name, 0, first, n);
        for (size_t i = 0; i < n && status == SN_OK; i++)
            rows->row_start[row[i] + 1]++;
    }
    for (size_t r = 0; r < rows->n_rows; r++)
        rows->row_start[r + 1] += rows->row_start[r];
    return status;
}

/* Puts every entry behind those of its row that stand before it; cursor[r]: where row r's next one goes. */
static int place_entries(struct torch_rows *rows, uint32_t *cursor, struct torch_file *file,
                         struct sn_context *context, const struct torch_tensor *tensor, const char *name)
{
    int64_t row[CHUNK], column[CHUNK];
    float value[CHUNK];
    int status = SN_OK;
    memcpy(cursor, rows->row_start, rows->n_rows * sizeof *cursor);
    for (size_t first = 0; first < rows->n_allocated && status == SN_OK; first += CHUNK) {
        const size_t n = rows->n_allocated - first < CHUNK ? rows->n_allocated - first : CHUNK;
        status = read_indices(row, file, context, tensor, name, 0, first, n);
        if (status == SN_OK)
            status = read_indices(column, file, context, tensor, name, 1, first, n);
        if (status == SN_OK)
            status = torch_read_floats(value, file, context, tensor->values, name, first, n);
        for (size_t i = 0; i < n && status == SN_OK; i++) {
            /* the file may have changed since the rows were counted */
            if (cursor[row[i]] == rows->row_start[row[i] + 1])
                return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s changed while it was read",
                            file->zip.file.path, name);
            const uint32_t at = cursor[row[i]]++;
            rows->column[at] = (uint32_t)column[i];
            rows->values[at] = value[i];
        }
    }
    return status;
}

static int ascends(const uint32_t *column, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (column[i - 1] >= column[i])
            return 0;
    return 1;
}

/* Sorts n entries and sums those of one column; returns how many are left. */
static size_t merge_row(uint32_t *column, float *values, struct place *places, size_t n)
{
    if (ascends(column, n))
        return n;
    for (size_t i = 0; i < n; i++)
        places[i] = (struct place){column[i], (uint32_t)i, values[i]};
    qsort(places, n, sizeof *places, by_column);
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        if (left && column[left - 1] == places[i].column) {
            values[left - 1] += places[i].value;
            continue;
        }
        column[left] = places[i].column;
        values[left++] = places[i].value;
    }
    return left;
}

static int merge_rows(struct torch_rows *rows, struct sn_context *context)
{
    size_t longest = 0;
    for (size_t r = 0; r < rows->n_rows; r++) {
        const size_t n = rows->row_start[r + 1] - rows->row_start[r];
        longest = n > longest ? n : longest;
    }
    struct place *places = memory_allocate_array(context->memory, longest, sizeof *places);
    if (!places)
        return fail_memory(context, "sorting a sparse tensor", longest * sizeof *places);
    uint32_t start = 0, to = 0;
    for (size_t r = 0; r < rows->n_rows; r++) {
        const size_t n = rows->row_start[r + 1] - start;
        const size_t left = merge_row(rows->column + start, rows->values + start, places, n);
        memmove(rows->column + to, rows->column + start, left * sizeof *rows->column);
        memmove(rows->values + to, rows->values + start, left * sizeof *rows->values);
        start = rows->row_start[r + 1];
        to += (uint32_t)left;
        rows->row_start[r + 1] = to;
    }
    memory_free(context->memory, places, longest * sizeof *places);
    return SN_OK;
}

static int allocate_rows(struct torch_rows *rows, struct sn_context *context, const char *path,
                         const struct torch_tensor *tensor, const char *name)
{
    const uint64_t nnz = tensor->values->count;
    const int is_vector = tensor->n_dimensions == 1;
    if (tensor->n_dimensions < 1 || tensor->n_dimensions > 2)
        return fail(context, SN_ERROR_UNSUPPORTED, "%s: tensor %.200s is sparse in %zu dimensions", path,
                    name, tensor->n_dimensions);
    const uint64_t n_rows = is_vector ? 1 : tensor->dimensions[0];
    if (n_rows > TORCH_MAX_SPARSE_ROWS)
        return fail(context, SN_ERROR_UNSUPPORTED,
                    "%s: sparse tensor %.200s has %llu rows; at most %llu are read", path, name,
                    (unsigned long long)n_rows, (unsigned long long)TORCH_MAX_SPARSE_ROWS);
    if (nnz >= UINT32_MAX || tensor->dimensions[tensor->n_dimensions - 1] > UINT32_MAX)
        return fail(context, SN_ERROR_UNSUPPORTED,
                    "%s: sparse tensor %.200s: %llu entries are more than 32-bit indices reach", path,
                    name, (unsigned long long)nnz);
    rows->n_rows = (size_t)n_rows;
    rows->n_allocated = (size_t)nnz;
    rows->row_start =
        memory_allocate_zeroed_array(context->memory, rows->n_rows + 1, sizeof *rows->row_start);
    rows->column = memory_allocate_array(context->memory, rows->n_allocated, sizeof *rows->column);
    rows->values = memory_allocate_array(context->memory, rows->n_allocated, sizeof *rows->values);
    if (rows->row_start && rows->column && rows->values)
        return SN_OK;
    return fail_memory(context, "a sparse tensor", (rows->n_rows + 1 + 2 * rows->n_allocated) * 4);
}

int torch_rows_read(struct torch_rows *rows, struct torch_file *file, struct sn_context *context,
                    const struct torch_tensor *tensor, const char *name)
{
    uint32_t *cursor = NULL;
    memset(rows, 0, sizeof *rows);
    int status = allocate_rows(rows, context, file->zip.file.path, tensor, name);
    if (status == SN_OK)
        status = count_rows(rows, file, context, tensor, name);
    if (status == SN_OK) {
        cursor = memory_allocate_array(context->memory, rows->n_rows, sizeof *cursor);
        if (!cursor)
            status = fail_memory(context, "a sparse tensor", rows->n_rows * sizeof *cursor);
    }
    if (status == SN_OK)
        status = place_entries(rows, cursor, file, context, tensor, name);
    if (status == SN_OK)
        status = merge_rows(rows, context);
    memory_free(context->memory, cursor, rows->n_rows * sizeof *cursor);
    if (status != SN_OK)
        torch_rows_free(rows, context->memory);
    return status;
}

void torch_rows_free(struct torch_rows *rows, struct memory *memory)
{
    memory_free(memory, rows->row_start, (rows->n_rows + 1) * sizeof *rows->row_start);
    memory_free(memory, rows->column, rows->n_allocated * sizeof *rows->column);
    memory_free(memory, rows->values, rows->n_allocated * sizeof *rows->values);
    memset(rows, 0, sizeof *rows);
}
