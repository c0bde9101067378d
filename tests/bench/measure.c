/* Runs jobs: one by hand, or many for bench.py, which sends lines and reads one line back for each.
 *   measure JOB [key=value ...]     for a second: the best time, and what it amounts to
 *   measure                         open JOB key=value ... -> ok NUMBER UNITS OPERATIONS BYTES ISA | no REASON
 *                                   run NUMBER SECONDS     -> seconds of a unit, the least of the runs
 *                                   close NUMBER           -> ok
 *                                   memory                 -> bytes now, at most since forget
 *                                   forget                 -> ok
 *                                   versions               -> of the compiler and of libraries
 * SPARSENET_ISA chooses the instruction set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if SN_XSMM
#include <libxsmm.h>
#endif

#include "base/float_mode.h"
#include "bench.h"

#define MAX_JOBS 16
#define MAX_WORDS 32

static struct job jobs[MAX_JOBS];

static size_t split(char **words, char *line)
{
    size_t n = 0;
    for (char *word = strtok(line, " \n"); word && n < MAX_WORDS; word = strtok(NULL, " \n"))
        words[n++] = word;
    return n;
}

static void serve_open(char **words, size_t n)
{
    size_t free_place = 0;
    while (free_place < MAX_JOBS && jobs[free_place].context)
        free_place++;
    const char *why = "too many jobs";
    struct job *job = &jobs[free_place];
    if (n < 2)
        why = "which job?";
    else if (free_place < MAX_JOBS)
        why = job_open(job, words[1], &(struct settings){words + 2, n - 2});
    if (why)
        printf("no %s\n", why);
    else
        printf("ok %zu %.17g %.17g %.17g %s\n", free_place, job->units, job->operations, job->bytes,
               sn_context_isa(job->context));
}

static void print_versions(void)
{
#if SN_XSMM
    printf("libxsmm %s; ", LIBXSMM_VERSION);
#endif
    printf("%s; built with " __VERSION__ "\n", openblas_version());
}

static void serve(char **words, size_t n)
{
    struct job *job = n > 1 ? &jobs[strtoul(words[1], NULL, 10) % MAX_JOBS] : NULL;
    size_t now, peak;
    if (strcmp(words[0], "open") == 0) {
        serve_open(words, n);
    } else if (strcmp(words[0], "memory") == 0) {
        memory_of_process(&now, &peak);
        printf("%zu %zu\n", now, peak);
    } else if (strcmp(words[0], "forget") == 0) {
        memory_forget_peak();
        printf("ok\n");
    } else if (strcmp(words[0], "versions") == 0) {
        print_versions();
    } else if (strcmp(words[0], "run") == 0 && n == 3 && job->context) {
        printf("%.9g\n", job_measure(job, strtod(words[2], NULL)));
    } else if (strcmp(words[0], "close") == 0 && job && job->context) {
        job_close(job);
        printf("ok\n");
    } else {
        printf("no such command\n");
    }
    fflush(stdout);
}

static int by_hand(char **words, size_t n)
{
    struct job job;
    if (strcmp(words[0], "--help") == 0 || !job_find(words[0])) {
        printf("measure JOB [key=value ...] [threads=N] [seconds=1]; without a job it reads commands\n");
        job_print_kinds();
        return strcmp(words[0], "--help") != 0;
    }
    const struct settings settings = {words + 1, n - 1};
    const char *why = job_open(&job, words[0], &settings);
    if (why) {
        fprintf(stderr, "measure: %s: %s\n", words[0], why);
        return 1;
    }
    job_measure(&job, 0); /* warms up */
    double best = job_measure(&job, setting(&settings, "seconds", 1)), run = best * job.units;
    printf("%-8s %12.3f us", sn_context_isa(job.context), 1e6 * best);
    if (job.operations > 0)
        printf("  %8.2f GF/s", 1e-9 * job.operations / run);
    if (job.bytes > 0)
        printf("  %8.2f GB/s", 1e-9 * job.bytes / run);
    printf("\n");
    job_close(&job);
    return 0;
}

int main(int n_arguments, char **arguments)
{
    char *line = NULL, *words[MAX_WORDS];
    size_t capacity = 0;
    float_mode saved = float_mode_flush();
    if (n_arguments > 1)
        return by_hand(arguments + 1, (size_t)n_arguments - 1);
    while (getline(&line, &capacity, stdin) > 0) {
        size_t n = split(words, line);
        if (n > 0)
            serve(words, n);
    }
    free(line);
    float_mode_restore(saved);
    return 0;
}
