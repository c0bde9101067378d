#include "model/loading.h"

#include <stdio.h>
#include <string.h>

#include "format/safetensors.h"
#include "format/torch_source.h"
#include "model/native.h"

#define MAX_CONFIG_BYTES ((size_t)1 << 20)

/* ---- which tensor is which */

/* What wrappers put in front of a name, in any order: transformers, DistributedDataParallel,
 * torch.compile. */
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

/* The place of a name among the origins, NULL if the model has no such tensor. */
static const struct tensor_entry **find_place(struct loading *loading, const char *name)
{
    static const char *const suffixes[] = {TENSOR_INDPTR, TENSOR_INDICES, TENSOR_VALUES};
    if (loading->model->config.tied_unembed && strcmp(name, "lm_head.weight") == 0)
        return &loading->tied_head;
    int index = model_find(loading->model, name);
    if (index >= 0)
        return &loading->origins[index].dense;
    for (int i = 0; i < 3; i++) {
        char base[128];
        size_t length = strlen(name) - strlen(suffixes[i]);
        if (!ends_with(name, suffixes[i]) || length >= sizeof base)
            continue;
        memcpy(base, name, length);
        base[length] = '\0';
        index = model_find(loading->model, base);
        if (index < 0 || loading->model->parameters[index].cols == 0)
            return NULL;
        struct origin *origin = &loading->origins[index];
        return i == 0 ? &origin->indptr : i == 1 ? &origin->indices : &origin->values;
    }
    return NULL;
}

static int assign_origins(struct loading *loading)
{
    for (size_t i = 0; i < loading->file.n_entries; i++) {
        const struct tensor_entry *entry = &loading->file.entries[i];
        const char *name = strip_prefixes(entry->name);
        if (is_ignored(&loading->model->config, entry, name))
            continue;
        const struct tensor_entry **place = find_place(loading, name);
        if (!place)
            return fail(loading->context, SN_ERROR_FORMAT,
                        "%s: tensor %.200s has no place in a model of this configuration", loading->path,
                        entry->name);
        if (*place)
            return fail(loading->context, SN_ERROR_FORMAT, "%s: tensors %.200s and %.200s are the same",
                        loading->path, (*place)->name, entry->name);
        *place = entry;
    }
    struct origin *embedding = &loading->origins[loading->model->wte];
    if (loading->tied_head && !embedding->dense && !embedding->values) {
        embedding->dense = loading->tied_head;
        loading->tied_head = NULL;
    }
    return SN_OK;
}

/* ---- shapes */

static void print_shape(char *text, size_t capacity, const uint64_t *dimensions, size_t n)
{
    size_t length = (size_t)snprintf(text, capacity, "[");
    for (size_t i = 0; i < n && length < capacity; i++)
        length += (size_t)snprintf(text + length, capacity - length, "%s%llu", i ? ", " : "",
                                   (unsigned long long)dimensions[i]);
    if (length < capacity)
        snprintf(text + length, capacity - length, "]");
}

static int check_shape(const struct loading *loading, const struct tensor_entry *entry,
                       const uint64_t *dimensions, size_t n)
{
    char found[200], wanted[64];
    if (entry->n_dimensions == n && memcmp(entry->dimensions, dimensions, n * sizeof *dimensions) == 0)
        return SN_OK;
    print_shape(found, sizeof found, entry->dimensions, entry->n_dimensions);
    print_shape(wanted, sizeof wanted, dimensions, n);
    return fail(loading->context, SN_ERROR_FORMAT,
                "%s: tensor %.200s has shape %s; the configuration makes it %s", loading->path,
                entry->name, found, wanted);
}

static int check_sparse(const struct loading *loading, const struct parameter *parameter,
                        const struct origin *origin)
{
    if (origin->dense || !origin->indptr || !origin->indices || !origin->values)
        return fail(loading->context, SN_ERROR_FORMAT,
                    "%s: tensor %s must stand as indptr, indices and values, or dense", loading->path,
                    parameter->name);
    const uint64_t n_rows = parameter->rows + 1, nnz = origin->values->count;
    if (nnz > UINT32_MAX || nnz > (uint64_t)parameter->rows * parameter->cols)
        return fail(loading->context, SN_ERROR_FORMAT,
                    "%s: tensor %s: %llu values are too many for %zu x %zu", loading->path,
                    parameter->name, (unsigned long long)nnz, parameter->rows, parameter->cols);
    int status = check_shape(loading, origin->indptr, &n_rows, 1);
    if (status == SN_OK)
        status = check_shape(loading, origin->indices, &nnz, 1);
    return status == SN_OK ? check_shape(loading, origin->values, &nnz, 1) : status;
}

static int check_origin(const struct loading *loading, const struct parameter *parameter,
                        const struct origin *origin)
{
    const uint64_t shape[2] = {parameter->rows, parameter->cols};
    if (origin->indptr || origin->indices || origin->values)
        return check_sparse(loading, parameter, origin);
    if (origin->dense)
        return check_shape(loading, origin->dense, shape, parameter->cols ? 2 : 1);
    if (parameter->role == ROLE_LOGIT_BIAS)
        return SN_OK;
    return fail(loading->context, SN_ERROR_FORMAT, "%s: tensor %s is missing", loading->path,
                parameter->name);
}

static int check_origins(const struct loading *loading)
{
    const struct sn_model *model = loading->model;
    const uint64_t head[2] = {model->config.vocab_size, model->config.d_model};
    int status = SN_OK;
    for (size_t i = 0; i < loading->n_origins && status == SN_OK; i++)
        status = check_origin(loading, &model->parameters[i], &loading->origins[i]);
    return status == SN_OK && loading->tied_head ? check_shape(loading, loading->tied_head, head, 2)
                                                 : status;
}

static int fit_together(struct loading *loading)
{
    size_t n = loading->model->n_parameters;
    loading->origins =
        memory_allocate_zeroed_array(loading->context->memory, n, sizeof *loading->origins);
    if (!loading->origins)
        return fail_memory(loading->context, "the list of tensors", n * sizeof *loading->origins);
    loading->n_origins = n;
    int status = assign_origins(loading);
    return status == SN_OK ? check_origins(loading) : status;
}

/* ---- files */

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
    int is_torch;
    int status = torch_source_matches(&is_torch, context, path);
    if (status != SN_OK)
        return status;
    return is_torch ? torch_source(file, context, path) : safetensors_source(file, context, path);
}

/* Opens `path`; the configuration comes from the file itself when json is NULL. path: lent. */
static int open_file(struct loading *loading, const char *path, const char *json, size_t length,
                     const char *config_path)
{
    struct sn_context *context = loading->context;
    struct config config;
    loading->path = path;
    loading->keep_dense = !json;
    int status = open_weights(&loading->file, context, path);
    if (status == SN_OK && !json) {
        status = native_config(&json, &loading->file, context);
        length = json ? strlen(json) : 0;
    }
    if (status == SN_OK)
        status = config_parse(&config, context, json, length, config_path);
    if (status == SN_OK)
        status = model_allocate(&loading->model, context, &config);
    return status == SN_OK ? fit_together(loading) : status;
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
static int open_folder(struct loading *loading, const char *folder, const char *weights)
{
    struct sn_context *context = loading->context;
    struct memory *memory = context->memory;
    char *text = NULL;
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
        loading->found = find_in_folder(&status, context, folder, "model.safetensors", "final_model.pt");
        if (!loading->found && status == SN_OK)
            status = fail(context, SN_ERROR_IO,
                          "%s: the folder has no model.safetensors and no final_model.pt", folder);
    }
    if (status == SN_OK)
        status = open_file(loading, weights ? weights : loading->found, text, length, config);
    if (text)
        memory_free(memory, text, length + 1);
    file_path_free(memory, config);
    return status;
}

/* A file of torch.save has its configuration beside it. */
static int open_beside(struct loading *loading, const char *path)
{
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) : 1;
    struct memory *memory = loading->context->memory;
    char *folder = memory_copy_text(memory, slash ? path : ".", n);
    if (!folder)
        return fail_memory(loading->context, "a path", n + 1);
    int status = open_folder(loading, n ? folder : "/", path);
    memory_free(memory, folder, n + 1);
    return status;
}

int loading_open(struct loading *loading, struct sn_context *context, const char *path)
{
    memset(loading, 0, sizeof *loading);
    loading->context = context;
    int is_file = file_exists(path), is_torch = 0;
    int status =
        is_file ? torch_source_matches(&is_torch, context, path) : open_folder(loading, path, NULL);
    if (status == SN_OK && is_file)
        status = is_torch ? open_beside(loading, path) : open_file(loading, path, NULL, 0, path);
    if (status != SN_OK)
        loading_close(loading);
    return status;
}

void loading_close(struct loading *loading)
{
    if (!loading->context)
        return;
    struct memory *memory = loading->context->memory;
    memory_free(memory, loading->origins, loading->n_origins * sizeof *loading->origins);
    tensor_source_close(&loading->file);
    sn_model_free(loading->model);
    file_path_free(memory, loading->found);
    memset(loading, 0, sizeof *loading);
}
