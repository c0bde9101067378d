#include <math.h>
#include <string.h>

#include "model/ingest.h"
#include "model/loading.h"

struct loader {
    struct sn_context *context;
    struct loading *loading;
    float *chunk;
    size_t n_chunk; /* floats */
};

/* ---- values */

static int read_floats(float *out, struct loader *loader, const struct tensor_entry *entry,
                       uint64_t first, size_t count)
{
    struct tensor_source *file = &loader->loading->file;
    return file->read_floats(out, file, loader->context, entry, first, count);
}

/* The message for the first NaN or infinity among elements that begin with `first`. */
static int fail_not_finite(const struct loader *loader, const struct tensor_entry *entry,
                           const float *values, uint64_t first)
{
    size_t i = 0;
    while (isfinite(values[i]))
        i++;
    return fail(loader->context, SN_ERROR_FORMAT,
                "%s: tensor %.200s: element %llu is not finite as a 32-bit float", loader->loading->path,
                entry->name, (unsigned long long)(first + i));
}

/* Reads elements first .. first + count - 1; a NaN or an infinity is refused. */
static int read_finite(float *out, struct loader *loader, const struct tensor_entry *entry,
                       uint64_t first, size_t count)
{
    int status = read_floats(out, loader, entry, first, count);
    if (status == SN_OK && !isfinite(loader->context->kernels->sum_of_squares(out, count)))
        return fail_not_finite(loader, entry, out, first);
    return status;
}

/* Makes the chunk hold at least one row of `cols`; *rows is how many it holds. */
static int reserve_chunk(size_t *rows, struct loader *loader, size_t cols)
{
    struct memory *memory = loader->context->memory;
    size_t n = loading_chunk(cols);
    if (loader->n_chunk < n) {
        memory_free(memory, loader->chunk, loader->n_chunk * sizeof(float));
        loader->n_chunk = 0;
        loader->chunk = memory_allocate_array(memory, n, sizeof(float));
        if (!loader->chunk)
            return fail_memory(loader->context, "a chunk of a tensor", n * sizeof(float));
        loader->n_chunk = n;
    }
    *rows = loader->n_chunk / cols;
    return SN_OK;
}

static int load_dense(struct loader *loader, struct parameter *parameter,
                      const struct tensor_entry *entry)
{
    size_t rows = parameter->rows, cols = parameter->cols, step = 0;
    struct ingest ingest = {0};
    int status = reserve_chunk(&step, loader, cols);
    if (status == SN_OK)
        status = ingest_begin(&ingest, loader->context, rows, cols,
                              loader->loading->keep_dense ? -1.0 : SPARSE_MAX_DENSITY);
    for (size_t row = 0; row < rows && status == SN_OK; row += step) {
        size_t n = rows - row < step ? rows - row : step;
        uint64_t first = (uint64_t)row * cols;
        status = read_floats(loader->chunk, loader, entry, first, n * cols);
        if (status == SN_OK)
            status = ingest_rows(&ingest, loader->context, loader->chunk, n);
        if (status == SN_OK && ingest.not_finite)
            status = fail_not_finite(loader, entry, loader->chunk, first);
    }
    if (status == SN_OK)
        status = ingest_finish(&parameter->matrix, &ingest, loader->context);
    ingest_abort(&ingest);
    return status;
}

static int load_vector(struct loader *loader, struct parameter *parameter,
                       const struct tensor_entry *entry)
{
    parameter->vector = memory_allocate_array(loader->context->memory, parameter->rows, sizeof(float));
    if (!parameter->vector)
        return fail_memory(loader->context, parameter->name, parameter->rows * sizeof(float));
    return read_finite(parameter->vector, loader, entry, 0, parameter->rows);
}

/* ---- sparse tensors of the native file */

struct csr {
    uint32_t *row_start;
    struct sparse_index index;
    float *values;
    size_t rows, nnz;
};

static int csr_allocate(struct csr *csr, struct sn_context *context, size_t rows, size_t cols,
                        size_t nnz)
{
    csr->rows = rows;
    csr->nnz = nnz;
    csr->row_start = memory_allocate_array(context->memory, rows + 1, sizeof *csr->row_start);
    csr->values = memory_allocate_array(context->memory, nnz, sizeof *csr->values);
    if (csr->row_start && csr->values && index_allocate(&csr->index, context->memory, cols, nnz))
        return SN_OK;
    return fail_memory(context, "a sparse tensor", (rows + 1 + 2 * nnz) * 4);
}

static void csr_free(struct csr *csr, struct memory *memory)
{
    memory_free(memory, csr->row_start, (csr->rows + 1) * sizeof *csr->row_start);
    index_free(&csr->index, memory, csr->nnz);
    memory_free(memory, csr->values, csr->nnz * sizeof *csr->values);
}

/* Row starts from 0 to nnz without a step back; columns ascending in each row. */
static int csr_check(const struct csr *csr, const struct loader *loader, const char *name)
{
    const char *path = loader->loading->path;
    if (csr->row_start[0] != 0 || csr->row_start[csr->rows] != csr->nnz)
        return fail(loader->context, SN_ERROR_FORMAT, "%s: tensor %s: indptr must run from 0 to %zu",
                    path, name, csr->nnz);
    for (size_t r = 0; r < csr->rows; r++) {
        if (csr->row_start[r] > csr->row_start[r + 1])
            return fail(loader->context, SN_ERROR_FORMAT, "%s: tensor %s: indptr falls at row %zu", path,
                        name, r);
        for (size_t i = (size_t)csr->row_start[r] + 1; i < csr->row_start[r + 1]; i++)
            if (index_at(&csr->index, i - 1) >= index_at(&csr->index, i))
                return fail(loader->context, SN_ERROR_FORMAT,
                            "%s: tensor %s: the indices of row %zu do not ascend", path, name, r);
    }
    return SN_OK;
}

#define COLUMNS ((size_t)4096) /* read at once */

static int read_columns(struct csr *csr, struct loader *loader, const struct tensor_entry *entry,
                        size_t cols)
{
    uint32_t columns[COLUMNS];
    struct tensor_source *file = &loader->loading->file;
    int status = SN_OK;
    for (size_t first = 0; first < csr->nnz && status == SN_OK; first += COLUMNS) {
        size_t n = csr->nnz - first < COLUMNS ? csr->nnz - first : COLUMNS;
        status = file->read_indices(columns, file, loader->context, entry, first, n, cols);
        for (size_t i = 0; i < n && status == SN_OK; i++)
            index_set(&csr->index, first + i, columns[i]);
    }
    return status;
}

static int read_csr(struct csr *csr, struct loader *loader, const struct parameter *parameter,
                    const struct origin *origin)
{
    struct sn_context *context = loader->context;
    struct tensor_source *file = &loader->loading->file;
    const size_t rows = parameter->rows, nnz = (size_t)origin->values->count;
    int status = csr_allocate(csr, context, rows, parameter->cols, nnz);
    if (status == SN_OK)
        status = file->read_indices(csr->row_start, file, context, origin->indptr, 0, rows + 1,
                                    (uint64_t)nnz + 1);
    if (status == SN_OK)
        status = read_columns(csr, loader, origin->indices, parameter->cols);
    if (status == SN_OK)
        status = read_finite(csr->values, loader, origin->values, 0, nnz);
    return status == SN_OK ? csr_check(csr, loader, parameter->name) : status;
}

/* What has been read becomes the matrix, without a copy. */
static int load_sparse(struct loader *loader, struct parameter *parameter, const struct origin *origin)
{
    struct csr csr = {0};
    struct pattern *pattern = NULL;
    int status = read_csr(&csr, loader, parameter, origin);
    if (status == SN_OK)
        status = pattern_adopt(&pattern, loader->context, parameter->rows, parameter->cols,
                               csr.row_start, &csr.index);
    if (status == SN_OK) {
        csr.row_start = NULL;
        csr.index = (struct sparse_index){0};
        status = matrix_adopt_sparse(&parameter->matrix, loader->context, pattern, csr.values);
    }
    if (status == SN_OK)
        csr.values = NULL;
    pattern_release(pattern);
    csr_free(&csr, loader->context->memory);
    return status;
}

/* ---- a whole model */

static int load_parameter(struct loader *loader, size_t index)
{
    struct parameter *parameter = &loader->loading->model->parameters[index];
    const struct origin *origin = &loader->loading->origins[index];
    if (origin->values)
        return load_sparse(loader, parameter, origin);
    if (!origin->dense)
        return SN_OK;
    return parameter->cols ? load_dense(loader, parameter, origin->dense)
                           : load_vector(loader, parameter, origin->dense);
}

/* With tied weights a file may hold both names; then they must be the same numbers. */
static int check_tied_head(struct loader *loader)
{
    const struct tensor_entry *head = loader->loading->tied_head;
    const struct sn_model *model = loader->loading->model;
    const struct sn_matrix *embedding = model->parameters[model->wte].matrix;
    size_t rows = model->config.vocab_size, cols = model->config.d_model, step;
    if (!head)
        return SN_OK;
    int status = reserve_chunk(&step, loader, 2 * cols);
    for (size_t row = 0; row < rows && status == SN_OK; row++) {
        float *there = loader->chunk, *here = loader->chunk + cols;
        status = read_finite(there, loader, head, (uint64_t)row * cols, cols);
        matrix_row(here, embedding, row);
        for (size_t c = 0; c < cols && status == SN_OK; c++)
            if (here[c] != there[c])
                status = fail(loader->context, SN_ERROR_FORMAT,
                              "%s: tied_unembed is true, but tensor %.200s differs from "
                              "transformer.wte.weight at row %zu",
                              loader->loading->path, head->name, row);
    }
    return status;
}

static int load_tensors(struct loading *loading)
{
    struct loader loader = {.context = loading->context, .loading = loading};
    size_t n = loading->model->n_parameters;
    int status = SN_OK;
    for (size_t i = 0; i < n && status == SN_OK; i++) {
        status = load_parameter(&loader, i);
        if (status == SN_OK)
            status = progress(loading->context, "load", i + 1, n, 0);
    }
    if (status == SN_OK)
        status = check_tied_head(&loader);
    memory_free(loading->context->memory, loader.chunk, loader.n_chunk * sizeof(float));
    return status;
}

int sn_model_load(sn_model **out, sn_context *context, const char *path)
{
    struct loading loading;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_model_load: path is NULL");
    int status = loading_open(&loading, context, path);
    if (status == SN_OK)
        status = load_tensors(&loading);
    if (status == SN_OK) {
        *out = loading.model;
        loading.model = NULL;
    }
    loading_close(&loading);
    return status;
}
