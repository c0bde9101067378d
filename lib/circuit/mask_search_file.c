/* The file of a search: tensors "checksums", "runs" and "tau" in one safetensors file, of which the first says what
 * the others belong to and whether they are what was written. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checksum.h"
#include "base/file.h"
#include "circuit/mask_search.h"
#include "circuit/task.h"

#define RUN_FIELDS 3

/* Each is two floats, of 16 bits. */
enum { OF_SETTINGS, OF_MODEL, OF_DATA, OF_RESULTS, N_CHECKSUMS };

static uint32_t model_checksum(const struct sn_model *model)
{
    uint32_t checksum = checksum_update(0, model->config_json, strlen(model->config_json));
    for (size_t i = 0; i < model->n_parameters; i++) {
        const struct parameter *parameter = &model->parameters[i];
        if (parameter->matrix || parameter->vector)
            checksum = checksum_update(checksum, parameter_values(parameter),
                                       parameter_size(parameter) * sizeof(float));
    }
    return checksum;
}

static uint32_t task_checksum(uint32_t checksum, const sn_task *task)
{
    for (size_t i = 0; i < sn_task_count(task); i++) {
        const int32_t *prompts[2];
        int32_t targets[2];
        size_t n[2];
        if (sn_task_pair(&prompts[0], &n[0], &prompts[1], &n[1], &targets[0], &targets[1], task, i) !=
            SN_OK)
            break;
        for (int j = 0; j < 2; j++)
            checksum = checksum_update(checksum, prompts[j], n[j] * sizeof **prompts);
        checksum = checksum_update(checksum, targets, sizeof targets);
    }
    return checksum;
}

/* Of every setting that the masks depend on. */
static uint32_t settings_checksum(const struct sn_search *search)
{
    const struct extract_settings *s = &search->settings;
    const double numbers[] = {s->target_loss,  s->k_coef,     s->learning_rate,
                              s->init_bias,    s->init_noise, s->temperature,
                              s->weight_decay, s->beta2,      s->warmup};
    const uint64_t counts[] = {search->n_runs,
                               search->n_masks,
                               s->steps,
                               s->batch,
                               s->seed,
                               (uint64_t)s->calibrated,
                               (uint64_t)s->tie_query_key,
                               (uint64_t)s->method,
                               (uint64_t)s->loss};
    return checksum_update(checksum_update(0, numbers, sizeof numbers), counts, sizeof counts);
}

/* Of the means and both tasks. */
static uint32_t data_checksum(const struct sn_search *search)
{
    const struct sn_means *means = search->means;
    uint32_t checksum = task_checksum(task_checksum(0, search->task), search->develop);
    return checksum_update(checksum, means->values, means_size(means) * sizeof *means->values);
}

static uint32_t results_checksum(const struct sn_search *search, const float *fields, const float *tau)
{
    uint32_t checksum = checksum_update(0, fields, search->n_runs * RUN_FIELDS * sizeof *fields);
    return checksum_update(checksum, tau, search->n_runs * search->n_masks * sizeof *tau);
}

static void put_checksum(float *checksums, int of, uint32_t value)
{
    checksums[2 * of] = (float)(value >> 16);
    checksums[2 * of + 1] = (float)(value & 0xffff);
}

static int is_checksum(const float *checksums, int of, uint32_t value)
{
    return checksums[2 * of] == (float)(value >> 16) && checksums[2 * of + 1] == (float)(value & 0xffff);
}

static int add_results(sn_tensors *tensors, struct sn_search *search, float *fields)
{
    const size_t n_checksums = 2 * N_CHECKSUMS, runs[] = {search->n_runs, RUN_FIELDS},
                 taus[] = {search->n_runs, search->n_masks};
    float checksums[2 * N_CHECKSUMS];
    for (size_t i = 0; i < search->n_runs; i++) {
        const struct run *run = &search->runs[i];
        fields[RUN_FIELDS * i] = (float)run->stage;
        fields[RUN_FIELDS * i + 1] = (float)run->short_edges;
        fields[RUN_FIELDS * i + 2] = (float)run->n_edges;
    }
    put_checksum(checksums, OF_SETTINGS, settings_checksum(search));
    put_checksum(checksums, OF_MODEL, model_checksum(search->model));
    put_checksum(checksums, OF_DATA, data_checksum(search));
    put_checksum(checksums, OF_RESULTS, results_checksum(search, fields, search->taus));
    int status = sn_tensors_add(tensors, search->context, "checksums", &n_checksums, 1, checksums);
    if (status == SN_OK)
        status = sn_tensors_add(tensors, search->context, "runs", runs, 2, fields);
    return status == SN_OK ? sn_tensors_add(tensors, search->context, "tau", taus, 2, search->taus)
                           : status;
}

int search_save(struct sn_search *search, const char *path)
{
    const size_t n = search->n_runs * RUN_FIELDS;
    sn_tensors *tensors;
    int status = sn_tensors_create(&tensors, search->context);
    if (status != SN_OK)
        return status;
    float *fields = memory_allocate_array(search->memory, n, sizeof *fields);
    status = fields ? add_results(tensors, search, fields)
                    : fail_memory(search->context, "the runs of a search", n * sizeof *fields);
    if (status == SN_OK)
        status = sn_tensors_save(tensors, search->context, path);
    memory_free(search->memory, fields, n * sizeof *fields);
    sn_tensors_free(tensors);
    return status;
}

static const float *find(const sn_tensors *tensors, const char *name, size_t rows, size_t cols)
{
    const size_t *shape;
    size_t n;
    const float *values = sn_tensors_values(&shape, &n, tensors, name);
    size_t count = 1;
    for (size_t i = 0; values && i < n; i++)
        count *= shape[i];
    return values && n <= 2 && shape[0] == rows && count == rows * cols ? values : NULL;
}

static int damaged(struct sn_search *search, const char *path, const char *what)
{
    return fail(search->context, SN_ERROR_FORMAT, "%s: %s", path, what);
}

static int read_runs(struct sn_search *search, const char *path, const float *fields, const float *tau)
{
    for (size_t i = 0; i < search->n_runs; i++) {
        const float *run = fields + RUN_FIELDS * i;
        if (!(run[0] >= RUN_NOT && run[0] <= RUN_WHOLE && run[1] >= 0 && run[1] < 1e12f && run[2] >= 0 &&
              run[2] < 1e12f))
            return damaged(search, path, "\"runs\" holds numbers that no run has");
    }
    for (size_t i = 0; i < search->n_runs * search->n_masks; i++)
        if (!(tau[i] >= -1 && tau[i] <= 1))
            return damaged(search, path, "\"tau\" holds masks outside [-1, 1]");
    for (size_t i = 0; i < search->n_runs; i++) {
        search->runs[i].stage = (enum run_stage)(int)fields[RUN_FIELDS * i];
        search->runs[i].short_edges = (size_t)fields[RUN_FIELDS * i + 1];
        search->runs[i].n_edges = (size_t)fields[RUN_FIELDS * i + 2];
    }
    memcpy(search->taus, tau, search->n_runs * search->n_masks * sizeof *tau);
    return SN_OK;
}

/* What the file is of, if not of this search. */
static const char *differs(const struct sn_search *search, const float *checksums)
{
    if (!is_checksum(checksums, OF_MODEL, model_checksum(search->model)))
        return "of another search: its model is not this one";
    if (!is_checksum(checksums, OF_DATA, data_checksum(search)))
        return "of another search: its means or tasks are not these";
    if (!is_checksum(checksums, OF_SETTINGS, settings_checksum(search)))
        return "of another search: its settings are not these";
    return NULL;
}

static int read_state(struct sn_search *search, const char *path, const sn_tensors *tensors)
{
    const float *checksums = find(tensors, "checksums", 2 * N_CHECKSUMS, 1);
    if (!checksums)
        return damaged(search, path,
                       "no file of a search: \"checksums\" is missing or has another shape");
    const char *what = differs(search, checksums);
    if (what)
        return damaged(search, path, what);
    const float *fields = find(tensors, "runs", search->n_runs, RUN_FIELDS);
    const float *tau = find(tensors, "tau", search->n_runs, search->n_masks);
    if (!fields || !tau)
        return damaged(search, path, "\"runs\" or \"tau\" is missing or has another shape");
    if (!is_checksum(checksums, OF_RESULTS, results_checksum(search, fields, tau)))
        return damaged(search, path, "\"runs\" or \"tau\" is damaged: their checksum is another");
    return read_runs(search, path, fields, tau);
}

/* Also a folder, a pipe or what cannot be looked at. Like a place where nothing can be written, it is found out now
 * and not when the first round has been run. */
static int is_there(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 || errno != ENOENT;
}

static int take_up(struct sn_search *search, const char *path)
{
    sn_tensors *tensors;
    int status = sn_tensors_load(&tensors, search->context, path);
    if (status == SN_OK)
        status = read_state(search, path, tensors);
    sn_tensors_free(tensors);
    return status;
}

int sn_search_set_file(sn_search *search, const char *path)
{
    if (!search)
        return SN_ERROR_ARGUMENT;
    if (!path)
        return fail(search->context, SN_ERROR_ARGUMENT, "sn_search_set_file: path is NULL");
    char *copy = memory_copy_text(search->memory, path, strlen(path));
    if (!copy)
        return fail_memory(search->context, "a path", strlen(path) + 1);
    int status = is_there(path) ? take_up(search, path) : search_save(search, path);
    if (status != SN_OK) {
        memory_free(search->memory, copy, strlen(copy) + 1);
        return status;
    }
    if (search->path)
        memory_free(search->memory, search->path, strlen(search->path) + 1);
    search->path = copy;
    return SN_OK;
}
