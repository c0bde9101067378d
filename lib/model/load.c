#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/safetensors.h"
#include "format/torch_source.h"
#include "model/ingest.h"
#include "model/model.h"
#include "model/native.h"

#define MAX_CONFIG_BYTES ((size_t)1 << 20)
#define CHUNK_FLOATS ((size_t)1 << 16)

/* Where one parameter comes from: one dense tensor, or the three of a sparse one. */
struct origin {
    const struct tensor_entry *dense, *indptr, *indices, *values;
};

struct loader {
    struct sn_context *context;
    struct sn_model *model;
    struct tensor_source file;
    struct origin *origins;               /* n_parameters */
    const struct tensor_entry *tied_head; /* lm_head.weight of a model with tied weights */
    float *chunk;
    size_t n_chunk;   /* floats */
    int keep_dense;   /* a native file says itself what is sparse */
    const char *path; /* of the file, for messages */
};

/* ---- which tensor is which */

/* What wrappers put in front of a name, in any order: transformers, DistributedDataParallel, torch.compile. */
static const char *strip_prefixes(const char *name)
{
    static const char *const prefixes[] = {"circuit_model.", "model.", "module.", "_orig_mod."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes;) {
        const size_t length = strlen(prefixes[i]);
        const int stands = strncmp(name, prefixes[i], length) == 0;
        name += stands ? length : 0;
        i = stands ? 0 : i + 1;
    }
    return name;
}

static int ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* The causal mask that released code stores as a buffer: (1, 1, block, block). */
static int is_mask(const struct tensor_entry *entry, const char *name)
{
    return ends_with(name, ".attn.bias") && entry->n_dimensions == 4 && entry->dimensions[0] == 1 &&
           entry->dimensions[1] == 1 && entry->dimensions[2] == entry->dimensions[3];
}

/* Tensors that the configuration has no use for and the released code passes over. */
static int is_ignored(const struct config *config, const struct tensor_entry *entry, const char *name)
{
    if (is_mask(entry, name))
        return 1;
    if (!config->sink && ends_with(name, ".attn.attn_imp.sink_logit"))
        return 1;
    int no_positions = config->has_d_pos_emb && config->d_pos_emb == 0;
    return no_positions && (strcmp(name, "transformer.wpe.weight") == 0 || strstr(name, ".ln_p1.") ||
                            strstr(name, ".ln_p2."));
}

/* The place of a name among the sources, NULL if the model has no such tensor. */
static const struct tensor_entry **find_place(struct loader *loader, const char *name)
{
    static const char *const suffixes[] = {TENSOR_INDPTR, TENSOR_INDICES, TENSOR_VALUES};
    if (loader->model->config.tied_unembed && strcmp(name, "lm_head.weight") == 0)
        return &loader->tied_head;
    int index = model_find(loader->model, name);
    if (index >= 0)
        return &loader->origins[index].dense;
    for (int i = 0; i < 3; i++) {
        char base[128];
        size_t length = strlen(name) - strlen(suffixes[i]);
        if (!ends_with(name, suffixes[i]) || length >= sizeof base)
            continue;
        memcpy(base, name, length);
        base[length] = '\0';
        index = model_find(loader->model, base);
        if (index < 0 || loader->model->parameters[index].cols == 0)
            return NULL;
        struct origin *origin = &loader->origins[index];
        return i == 0 ? &origin->indptr : i == 1 ? &origin->indices : &origin->values;
    }
    return NULL;
}

static int assign_sources(struct loader *loader)
{
    for (size_t i = 0; i < loader->file.n_entries; i++) {
        const struct tensor_entry *entry = &loader->file.entries[i];
        const char *name = strip_prefixes(entry->name);
        if (is_ignored(&loader->model->config, entry, name))
            continue;
        const struct tensor_entry **place = find_place(loader, name);
        if (!place)
            return fail(loader->context, SN_ERROR_FORMAT,
                        "%s: tensor %.200s has no place in a model of this configuration", loader->path,
                        entry->name);
        if (*place)
            return fail(loader->context, SN_ERROR_FORMAT, "%s: tensors %.200s and %.200s are the same",
                        loader->path, (*place)->name, entry->name);
        *place = entry;
    }
    struct origin *embedding = &loader->origins[loader->model->wte];
    if (loader->tied_head && !embedding->dense && !embedding->values) {
        embedding->dense = loader->tied_head;
        loader->tied_head = NULL;
    }
    return SN_OK;
}

/* ---- shapes and values */

static void print_shape(char *text, size_t capacity, const uint64_t *dimensions, size_t n)
{
    size_t length = (size_t)snprintf(text, capacity, "[");
    for (size_t i = 0; i < n && length < capacity; i++)
        length += (size_t)snprintf(text + length, capacity - length, "%s%llu", i ? ", " : "",
                                   (unsigned long long)dimensions[i]);
    if (length < capacity)
        snprintf(text + length, capacity - length, "]");
}

static int check_shape(const struct loader *loader, const struct tensor_entry *entry,
                       const uint64_t *dimensions, size_t n)
{
    char found[200], wanted[64];
    if (entry->n_dimensions == n && memcmp(entry->dimensions, dimensions, n * sizeof *dimensions) == 0)
        return SN_OK;
    print_shape(found, sizeof found, entry->dimensions, entry->n_dimensions);
    print_shape(wanted, sizeof wanted, dimensions, n);
    return fail(loader->context, SN_ERROR_FORMAT,
                "%s: tensor %.200s has shape %s; the configuration makes it %s", loader->path,
                entry->name, found, wanted);
}

/* Reads elements first .. first + count - 1; a NaN or an infinity is refused. */
static int read_finite(float *out, struct loader *loader, const struct tensor_entry *entry,
                       uint64_t first, size_t count)
{
    int status = loader->file.read_floats(out, &loader->file, loader->context, entry, first, count);
    if (status != SN_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(out[i]))
            return fail(loader->context, SN_ERROR_FORMAT,
                        "%s: tensor %.200s: element %llu is not finite as a 32-bit float", loader->path,
                        entry->name, (unsigned long long)(first + i));
    return SN_OK;
}

/* Makes the chunk hold at least one row of `cols`; *rows is how many it holds. */
static int reserve_chunk(size_t *rows, struct loader *loader, size_t cols)
{
    struct memory *memory = loader->context->memory;
    if (loader->n_chunk < cols || !loader->chunk) {
        size_t n = cols > CHUNK_FLOATS ? cols : CHUNK_FLOATS;
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
    const uint64_t shape[2] = {parameter->rows, parameter->cols};
    struct ingest ingest = {0};
    size_t step = 0;
    int status = check_shape(loader, entry, shape, 2);
    if (status == SN_OK)
        status = reserve_chunk(&step, loader, parameter->cols);
    if (status == SN_OK)
        status = ingest_begin(&ingest, loader->context, parameter->rows, parameter->cols,
                              loader->keep_dense ? -1.0 : SPARSE_MAX_DENSITY);
    for (size_t row = 0; row < parameter->rows && status == SN_OK; row += step) {
        size_t n = parameter->rows - row < step ? parameter->rows - row : step;
        status = read_finite(loader->chunk, loader, entry, (uint64_t)row * parameter->cols,
                             n * parameter->cols);
        if (status == SN_OK)
            status = ingest_rows(&ingest, loader->context, loader->chunk, n);
    }
    if (status == SN_OK)
        status = ingest_finish(&parameter->matrix, &ingest, loader->context);
    ingest_abort(&ingest);
    return status;
}

static int load_vector(struct loader *loader, struct parameter *parameter,
                       const struct tensor_entry *entry)
{
    const uint64_t shape[1] = {parameter->rows};
    int status = check_shape(loader, entry, shape, 1);
    if (status != SN_OK)
        return status;
    parameter->vector = memory_allocate_array(loader->context->memory, parameter->rows, sizeof(float));
    if (!parameter->vector)
        return fail_memory(loader->context, parameter->name, parameter->rows * sizeof(float));
    return read_finite(parameter->vector, loader, entry, 0, parameter->rows);
}

/* ---- sparse tensors of the native file */

struct csr {
    uint32_t *row_start, *col_index;
    float *values;
    size_t rows, nnz;
};

static int csr_allocate(struct csr *csr, struct sn_context *context, size_t rows, size_t nnz)
{
    csr->rows = rows;
    csr->nnz = nnz;
    csr->row_start = memory_allocate_array(context->memory, rows + 1, sizeof *csr->row_start);
    csr->col_index = memory_allocate_array(context->memory, nnz, sizeof *csr->col_index);
    csr->values = memory_allocate_array(context->memory, nnz, sizeof *csr->values);
    if (csr->row_start && csr->col_index && csr->values)
        return SN_OK;
    return fail_memory(context, "a sparse tensor", (rows + 1 + 2 * nnz) * 4);
}

static void csr_free(struct csr *csr, struct memory *memory)
{
    memory_free(memory, csr->row_start, (csr->rows + 1) * sizeof *csr->row_start);
    memory_free(memory, csr->col_index, csr->nnz * sizeof *csr->col_index);
    memory_free(memory, csr->values, csr->nnz * sizeof *csr->values);
}

/* Row starts from 0 to nnz without a step back; columns ascending in each row. */
static int csr_check(const struct csr *csr, const struct loader *loader, const char *name)
{
    if (csr->row_start[0] != 0 || csr->row_start[csr->rows] != csr->nnz)
        return fail(loader->context, SN_ERROR_FORMAT, "%s: tensor %s: indptr must run from 0 to %zu",
                    loader->path, name, csr->nnz);
    for (size_t r = 0; r < csr->rows; r++) {
        if (csr->row_start[r] > csr->row_start[r + 1])
            return fail(loader->context, SN_ERROR_FORMAT, "%s: tensor %s: indptr falls at row %zu",
                        loader->path, name, r);
        for (size_t i = (size_t)csr->row_start[r] + 1; i < csr->row_start[r + 1]; i++)
            if (csr->col_index[i - 1] >= csr->col_index[i])
                return fail(loader->context, SN_ERROR_FORMAT,
                            "%s: tensor %s: the indices of row %zu do not ascend", loader->path, name,
                            r);
    }
    return SN_OK;
}

static int read_csr(struct csr *csr, struct loader *loader, const struct parameter *parameter,
                    const struct origin *origin)
{
    struct sn_context *context = loader->context;
    const uint64_t n_rows = parameter->rows + 1, nnz = origin->values->count;
    if (nnz > UINT32_MAX || nnz > (uint64_t)parameter->rows * parameter->cols)
        return fail(context, SN_ERROR_FORMAT, "%s: tensor %s: %llu values are too many for %zu x %zu",
                    loader->path, parameter->name, (unsigned long long)nnz, parameter->rows,
                    parameter->cols);
    int status = check_shape(loader, origin->indptr, &n_rows, 1);
    if (status == SN_OK)
        status = check_shape(loader, origin->indices, &nnz, 1);
    if (status == SN_OK)
        status = check_shape(loader, origin->values, &nnz, 1);
    if (status == SN_OK)
        status = csr_allocate(csr, context, parameter->rows, (size_t)nnz);
    if (status == SN_OK)
        status = loader->file.read_indices(csr->row_start, &loader->file, context, origin->indptr, 0,
                                           parameter->rows + 1, nnz + 1);
    if (status == SN_OK)
        status = loader->file.read_indices(csr->col_index, &loader->file, context, origin->indices, 0,
                                           (size_t)nnz, parameter->cols);
    if (status == SN_OK)
        status = read_finite(csr->values, loader, origin->values, 0, (size_t)nnz);
    return status == SN_OK ? csr_check(csr, loader, parameter->name) : status;
}

static int load_sparse(struct loader *loader, struct parameter *parameter, const struct origin *origin)
{
    struct csr csr = {0};
    struct pattern *pattern = NULL;
    if (origin->dense || !origin->indptr || !origin->indices || !origin->values)
        return fail(loader->context, SN_ERROR_FORMAT,
                    "%s: tensor %s must stand as indptr, indices and values, or dense", loader->path,
                    parameter->name);
    int status = read_csr(&csr, loader, parameter, origin);
    if (status == SN_OK)
        status = pattern_create(&pattern, loader->context, parameter->rows, parameter->cols,
                                csr.row_start, csr.col_index);
    if (status == SN_OK)
        status = matrix_create_sparse(&parameter->matrix, loader->context, pattern, csr.values);
    pattern_release(pattern);
    csr_free(&csr, loader->context->memory);
    return status;
}

/* ---- a whole model */

static int load_parameter(struct loader *loader, size_t index)
{
    struct parameter *parameter = &loader->model->parameters[index];
    const struct origin *origin = &loader->origins[index];
    if (origin->indptr || origin->indices || origin->values)
        return load_sparse(loader, parameter, origin);
    if (!origin->dense)
        return SN_OK; /* model_check_complete decides */
    return parameter->cols ? load_dense(loader, parameter, origin->dense)
                           : load_vector(loader, parameter, origin->dense);
}

/* With tied weights a file may hold both names; then they must be the same numbers. */
static int check_tied_head(struct loader *loader)
{
    const struct tensor_entry *head = loader->tied_head;
    const struct sn_matrix *embedding = loader->model->parameters[loader->model->wte].matrix;
    size_t rows = loader->model->config.vocab_size, cols = loader->model->config.d_model, step;
    const uint64_t shape[2] = {rows, cols};
    if (!head || !embedding)
        return SN_OK;
    int status = check_shape(loader, head, shape, 2);
    if (status == SN_OK)
        status = reserve_chunk(&step, loader, 2 * cols);
    for (size_t row = 0; row < rows && status == SN_OK; row++) {
        float *there = loader->chunk, *here = loader->chunk + cols;
        status = read_finite(there, loader, head, (uint64_t)row * cols, cols);
        matrix_row(here, embedding, row);
        for (size_t c = 0; c < cols && status == SN_OK; c++)
            if (here[c] != there[c])
                status = fail(loader->context, SN_ERROR_FORMAT,
                              "%s: tied_unembed is true, but tensor %.200s differs from "
                              "transformer.wte.weight at row %zu",
                              loader->path, head->name, row);
    }
    return status;
}

static int load_tensors(struct loader *loader)
{
    struct sn_model *model = loader->model;
    struct memory *memory = loader->context->memory;
    loader->origins = memory_allocate_zeroed_array(memory, model->n_parameters, sizeof(struct origin));
    if (!loader->origins)
        return fail_memory(loader->context, "the list of tensors",
                           model->n_parameters * sizeof(struct origin));
    int status = assign_sources(loader);
    for (size_t i = 0; i < model->n_parameters && status == SN_OK; i++) {
        status = load_parameter(loader, i);
        if (status == SN_OK)
            status = progress(loader->context, "load", i + 1, model->n_parameters, 0);
    }
    if (status == SN_OK)
        status = check_tied_head(loader);
    if (status == SN_OK)
        status = model_check_complete(model, loader->context, loader->path);
    memory_free(memory, loader->origins, model->n_parameters * sizeof(struct origin));
    memory_free(memory, loader->chunk, loader->n_chunk * sizeof(float));
    return status;
}

/* The configuration that a file written by sn_model_save carries. */
static int native_config(const char **json, const struct tensor_source *file, struct sn_context *context)
{
    const char *version = file->metadata ? file->metadata(file, NATIVE_VERSION_KEY) : NULL;
    *json = file->metadata ? file->metadata(file, NATIVE_CONFIG_KEY) : NULL;
    if (!*json || !version)
        return fail(context, SN_ERROR_FORMAT,
                    "%s: no file of sn_model_save (a folder with config.json is needed)", file->path);
    if (strcmp(version, NATIVE_VERSION) != 0)
        return fail(context, SN_ERROR_UNSUPPORTED, "%s: version \"%.40s\" of the native format",
                    file->path, version);
    return SN_OK;
}

/* The one place that knows the formats of weights. */
static int open_weights(struct tensor_source *file, struct sn_context *context, const char *path)
{
    return torch_source_matches(context, path) ? torch_source(file, context, path)
                                               : safetensors_source(file, context, path);
}

/* Opens `path` and makes the model of the configuration, which comes from the file itself when json is
 * NULL. */
static int load_file(sn_model **out, struct sn_context *context, const char *path, const char *json,
                     size_t length, const char *config_path)
{
    struct loader loader = {.context = context, .path = path, .keep_dense = !json};
    struct config config;
    int status = open_weights(&loader.file, context, path);
    if (status == SN_OK && !json) {
        status = native_config(&json, &loader.file, context);
        length = json ? strlen(json) : 0;
    }
    if (status == SN_OK)
        status = config_parse(&config, context, json, length, config_path);
    if (status == SN_OK)
        status = model_allocate(&loader.model, context, &config);
    if (status == SN_OK)
        status = load_tensors(&loader);
    tensor_source_close(&loader.file);
    if (status != SN_OK) {
        sn_model_free(loader.model);
        return status;
    }
    *out = loader.model;
    return SN_OK;
}

/* The first of two names that is a file in the folder; NULL with *status SN_OK when neither is. */
static char *find_in_folder(int *status, struct sn_context *context, const char *folder,
                            const char *first, const char *second)
{
    const char *names[2] = {first, second};
    for (int i = 0; i < 2 && names[i]; i++) {
        char *path = file_path_join(context->memory, folder, names[i]);
        if (!path) {
            *status = fail_memory(context, "a path", 0);
            return NULL;
        }
        if (file_exists(path))
            return path;
        file_path_free(context->memory, path);
    }
    return NULL;
}

/* weights: the file to read, NULL for the one in the folder. */
static int load_folder(sn_model **out, struct sn_context *context, const char *folder,
                       const char *weights)
{
    struct memory *memory = context->memory;
    char *text = NULL, *found = NULL;
    size_t length = 0;
    int status = SN_OK;
    char *config = find_in_folder(&status, context, folder, "config.json", "beeg_config.json");
    if (!config && status == SN_OK)
        status =
            fail(context, SN_ERROR_IO,
                 "%s: neither a model file nor a folder with config.json or beeg_config.json", folder);
    if (status == SN_OK)
        status = file_read_all(&text, &length, context, config, MAX_CONFIG_BYTES);
    if (status == SN_OK && !weights) {
        found = find_in_folder(&status, context, folder, "model.safetensors", "final_model.pt");
        if (!found && status == SN_OK)
            status = fail(context, SN_ERROR_IO,
                          "%s: the folder has no model.safetensors and no final_model.pt", folder);
    }
    if (status == SN_OK)
        status = load_file(out, context, weights ? weights : found, text, length, config);
    if (text)
        memory_free(memory, text, length + 1);
    file_path_free(memory, found);
    file_path_free(memory, config);
    return status;
}

/* A file of torch.save has its configuration beside it. */
static int load_beside(sn_model **out, struct sn_context *context, const char *path)
{
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) : 1;
    char *folder = memory_copy_text(context->memory, slash ? path : ".", n);
    if (!folder)
        return fail_memory(context, "a path", n + 1);
    int status = load_folder(out, context, n ? folder : "/", path);
    memory_free(context->memory, folder, n + 1);
    return status;
}

int sn_model_load(sn_model **out, sn_context *context, const char *path)
{
    if (out)
        *out = NULL;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!out || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_model_load: %s is NULL", out ? "path" : "out");
    if (!file_exists(path))
        return load_folder(out, context, path, NULL);
    if (torch_source_matches(context, path))
        return load_beside(out, context, path);
    return load_file(out, context, path, NULL, 0, path);
}
