/* What loading a model takes, from its configuration and the headers of its files. The files are opened and
 * fitted together as for loading; what the tensors become is computed. */
#include "model/ingest.h"
#include "model/loading.h"

struct estimate {
    size_t held;  /* by the tensors so far */
    size_t peak;  /* the most so far, with what passes while a tensor is made */
    size_t chunk; /* of the widest tensor so far */
    double density;
};

static size_t usage(const struct sn_context *context)
{
    size_t current;
    memory_usage(context->memory, &current, NULL);
    return current;
}

/* Entries in the support of a matrix that the file holds dense. */
static size_t assumed_support(const struct estimate *estimate, const struct loading *loading,
                              const struct parameter *parameter)
{
    size_t all = parameter->rows * parameter->cols;
    int assumed = parameter->role == ROLE_MATRIX || parameter->role == ROLE_EMBEDDING;
    if (!assumed || loading->keep_dense || estimate->density > SPARSE_MAX_DENSITY)
        return all;
    return (size_t)(estimate->density * (double)all);
}

/* The most that stands while a dense tensor becomes a matrix of n_values, which takes `bytes` at the end: what
 * is gathered of a sparse one turns into it, what was gathered of a dense one is copied. */
static size_t most_of_dense(const struct loading *loading, const struct parameter *parameter,
                            size_t n_values, size_t bytes)
{
    size_t rows = parameter->rows, cols = parameter->cols, all = rows * cols;
    if (loading->keep_dense)
        return bytes;
    if (n_values == all)
        return bytes + ingest_estimate(rows, cols, (size_t)(SPARSE_MAX_DENSITY * (double)all));
    size_t gathered = ingest_estimate(rows, cols, n_values);
    return gathered > bytes ? gathered : bytes;
}

static void add_parameter(struct estimate *estimate, const struct loading *loading, size_t index)
{
    const struct parameter *parameter = &loading->model->parameters[index];
    const struct origin *origin = &loading->origins[index];
    size_t rows = parameter->rows, cols = parameter->cols, n_values, bytes, most;
    if (!origin->dense && !origin->values)
        return;
    if (!cols) {
        bytes = most = memory_block_size(rows * sizeof(float));
    } else if (origin->values) {
        n_values = (size_t)origin->values->count;
        bytes = matrix_estimate(rows, cols, n_values, 1);
        most = bytes;
    } else {
        n_values = assumed_support(estimate, loading, parameter);
        bytes = matrix_estimate(rows, cols, n_values, n_values < rows * cols);
        most = most_of_dense(loading, parameter, n_values, bytes);
        size_t chunk = memory_block_size(loading_chunk(cols) * sizeof(float));
        estimate->chunk = chunk > estimate->chunk ? chunk : estimate->chunk;
    }
    if (estimate->held + estimate->chunk + most > estimate->peak)
        estimate->peak = estimate->held + estimate->chunk + most;
    estimate->held += bytes;
}

int sn_model_estimate_memory(size_t *held, size_t *peak, sn_context *context, const char *path,
                             double density)
{
    struct loading loading;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_model_estimate_memory: path is NULL");
    if (!(density > 0 && density <= 1))
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_model_estimate_memory: density must be above 0 and at most 1");
    size_t before = usage(context);
    int status = loading_open(&loading, context, path);
    if (status != SN_OK)
        return status;
    struct estimate estimate = {.density = density};
    for (size_t i = 0; i < loading.n_origins; i++)
        add_parameter(&estimate, &loading, i);
    size_t opened = usage(context);
    sn_model_free(loading.model);
    loading.model = NULL;
    size_t shell = opened - usage(context); /* stays; the rest of what was opened does not */
    if (held)
        *held = estimate.held + shell;
    if (peak)
        *peak = estimate.peak + opened - before;
    loading_close(&loading);
    return SN_OK;
}
