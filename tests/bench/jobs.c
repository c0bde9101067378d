#include <stdio.h>
#include <string.h>

#include "bench.h"

static const struct job_kind *const lists[] = {limit_jobs, product_jobs, selection_jobs, fusion_jobs,
                                               token_jobs, model_jobs,   circuit_jobs};
#define N_LISTS (sizeof lists / sizeof *lists)

const struct job_kind *job_find(const char *name)
{
    for (size_t i = 0; i < N_LISTS; i++)
        for (const struct job_kind *kind = lists[i]; kind->name; kind++)
            if (strcmp(kind->name, name) == 0)
                return kind;
    return NULL;
}

void job_print_kinds(void)
{
    for (size_t i = 0; i < N_LISTS; i++)
        for (const struct job_kind *kind = lists[i]; kind->name; kind++)
            printf("  %-20s %s\n", kind->name, kind->keys);
}

const char *job_open(struct job *job, const char *name, const struct settings *settings)
{
    const struct job_kind *kind = job_find(name);
    size_t threads = setting_size(settings, "threads", 1);
    memset(job, 0, sizeof *job);
    if (!kind)
        return "no such job";
    if (sn_context_create(&job->context, NULL) != SN_OK)
        return "this machine lacks the instruction set that SPARSENET_ISA names";
    if (sn_context_set_threads(job->context, threads) != SN_OK)
        return "threads must be 1 to 256";
    job->units = 1;
    job->wall = threads > 1;
    const char *why = kind->open(job, settings);
    if (why)
        job_close(job);
    return why;
}

double job_measure(struct job *job, double seconds)
{
    double best = 1e30, total = 0;
    do {
        if (job->prepare)
            job->prepare(job->state);
        double start = time_now(job->wall);
        job->run(job->state);
        double time = time_now(job->wall) - start;
        best = time < best ? time : best;
        total += time;
    } while (total < seconds);
    return best / job->units;
}

void job_close(struct job *job)
{
    if (job->close && job->state)
        job->close(job->state);
    sn_context_free(job->context);
    memset(job, 0, sizeof *job);
}
