/* The file of a search. What says which model, tasks and settings it belongs to, a tensor of sums that
 * stands in front, is taken from a file of this search: a fuzzer cannot guess it. */
#include "small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_SETTINGS 24

struct work {
    sn_context *context;
    sn_model *model;
    sn_means *means;
    sn_task *task;
    sn_search *search;
};

static void begin(struct work *work)
{
    work->context = fuzz_context(64);
    work->model = small_model(work->context);
    work->means = small_means(work->context, work->model);
    work->task = small_task(work->context);
    work->search = small_search(work->context, work->model, work->means, work->task);
}

static void end(struct work *work)
{
    sn_search_free(work->search);
    sn_task_free(work->task);
    sn_means_free(work->means);
    sn_model_free(work->model);
    sn_context_free(work->context);
}

/* As this search writes them, after it has run. */
static const float *own_settings(void)
{
    static float settings[N_SETTINGS];
    static int known;
    char path[256];
    struct work work;
    sn_tensors *tensors;
    if (known++)
        return settings;
    begin(&work);
    snprintf(path, sizeof path, "%s/own", fuzz_folder());
    small_must(sn_search_set_file(work.search, path));
    small_must(sn_search_run(work.search));
    small_must(sn_tensors_load(&tensors, work.context, path));
    memcpy(settings, sn_tensors_values(NULL, NULL, tensors, "settings"), sizeof settings);
    sn_tensors_free(tensors);
    end(&work);
    return settings;
}

static const char *write_search(const uint8_t *data, size_t size)
{
    uint64_t header;
    uint8_t *copy = malloc(size + 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    if (size > 8 + N_SETTINGS * sizeof(float)) {
        memcpy(&header, data, sizeof header);
        if (header <= size - 8 - N_SETTINGS * sizeof(float))
            memcpy(copy + 8 + header, own_settings(), N_SETTINGS * sizeof(float));
    }
    const char *path = fuzz_write("search", copy, size);
    free(copy);
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct work work;
    sn_circuit *circuit = NULL;
    const char *path = write_search(data, size);
    begin(&work);
    int status = sn_search_set_file(work.search, path);
    fuzz_check(status, work.context);
    if (status == SN_OK) {
        fuzz_check(sn_search_run(work.search), work.context);
        fuzz_check(sn_search_circuit(&circuit, work.search, 20, 1), work.context);
    }
    sn_circuit_free(circuit);
    end(&work);
    return 0;
}
