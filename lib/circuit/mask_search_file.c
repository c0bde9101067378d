/* The file of a search: tensors "settings", "runs" and "tau" in one safetensors file, of which the first says what
 * the others belong to. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checksum.h"
#include "base/file.h"
#include "circuit/mask_search.h"
#include "circuit/task.h"

#define N_SETTINGS 24
#define RUN_FIELDS 3

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

/* A whole number of up to 48 bits, exactly. */
static float *put_number(float *to, uint64_t number)
{
    for (int shift = 0; shift < 48; shift += 16)
        *to++ = (float)(number >> shift & 0xffff);
    return to;
}

/* Everything that the masks depend on, in N_SETTINGS floats. */
static void describe(float *out, const struct sn_search *search)
{
    const struct extract_settings *s = &search->settings;
    const struct sn_means *means = search->means;
    uint32_t data = task_checksum(task_checksum(0, search->task), search->develop);
    data = checksum_update(data, means->values, means_size(means) * sizeof *means->values);
    const double numbers[] = {(double)search->n_runs,
                              (double)search->n_masks,
                              s->target_loss,
                              (double)s->calibrated,
                              (double)s->steps,
                              (double)s->batch,
                              s->k_coef,
                              s->learning_rate,
                              s->init_bias,
                              s->init_noise,
                              s->temperature,
                              s->weight_decay,
                              s->beta2,
                              s->warmup,
                              (double)s->tie_query_key};
    memset(out, 0, N_SETTINGS * sizeof *out);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *out++ = (float)numbers[i];
    out = put_number(out, s->seed << 4 | (uint64_t)s->method << 2 | (uint64_t)s->loss);
    out = put_number(out, model_checksum(search->model));
    put_number(out, data);
}

static int add_runs(sn_tensors *tensors, struct sn_search *search)
{
    const size_t shape[] = {search->n_runs, RUN_FIELDS}, n = search->n_runs * RUN_FIELDS;
    float *fields = memory_allocate_array(search->memory, n, sizeof *fields);
    if (!fields)
        return fail_memory(search->context, "the runs of a search", n * sizeof *fields);
    for (size_t i = 0; i < search->n_runs; i++) {
        const struct run *run = &search->runs[i];
        fields[RUN_FIELDS * i] = (float)run->stage;
        fields[RUN_FIELDS * i + 1] = (float)run->short_edges;
        fields[RUN_FIELDS * i + 2] = (float)run->n_edges;
    }
    int status = sn_tensors_add(tensors, search->context, "runs", shape, 2, fields);
    memory_free(search->memory, fields, n * sizeof *fields);
    return status;
}

int search_save(struct sn_search *search, const char *path)
{
    const size_t n_settings = N_SETTINGS, shape[] = {search->n_runs, search->n_masks};
    float settings[N_SETTINGS];
    sn_tensors *tensors;
    int status = sn_tensors_create(&tensors, search->context);
    if (status != SN_OK)
        return status;
    describe(settings, search);
    status = sn_tensors_add(tensors, search->context, "settings", &n_settings, 1, settings);
    if (status == SN_OK)
        status = add_runs(tensors, search);
    if (status == SN_OK)
        status = sn_tensors_add(tensors, search->context, "tau", shape, 2, search->taus);
    if (status == SN_OK)
        status = sn_tensors_save(tensors, search->context, path);
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

static int read_state(struct sn_search *search, const char *path, const sn_tensors *tensors)
{
    float wanted[N_SETTINGS];
    const float *settings = find(tensors, "settings", N_SETTINGS, 1);
    if (!settings)
        return damaged(search, path,
                       "no file of a search: \"settings\" is missing or has another shape");
    describe(wanted, search);
    if (memcmp(settings, wanted, sizeof wanted) != 0)
        return damaged(search, path,
                       "of another search: its model, means, tasks or settings are not these");
    const float *fields = find(tensors, "runs", search->n_runs, RUN_FIELDS);
    const float *tau = find(tensors, "tau", search->n_runs, search->n_masks);
    if (!fields || !tau)
        return damaged(search, path, "\"runs\" or \"tau\" is missing or has another shape");
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
