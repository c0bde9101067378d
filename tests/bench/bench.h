/* What the measuring programs share. A job is one piece of work that can be run again and again: it is
 * opened from settings ("rows=4096 density=1/64"), run, and closed. jobs.c lists them by name; measure.c
 * runs them for bench.py over a line protocol, or one by hand. */
#ifndef SN_BENCH_BENCH_H
#define SN_BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/context.h"
#include "base/random.h"
#include "matrix/matrix.h"
#include "model/model.h"

struct job {
    void (*prepare)(void *state); /* before each run, not timed; may be NULL */
    void (*run)(void *state);
    void (*close)(void *state); /* may be NULL */
    void *state;
    sn_context *context;      /* of this job alone; freed after close */
    double units;             /* a run does so many of what its name says; times are per unit */
    double operations, bytes; /* of a whole run: multiplications and additions, bytes read and written */
    double tokens;            /* of a unit, where it is a model's work */
    int wall;                 /* times by the clock, not in processor time: work of several threads */
};

/* "key=value" words of a command. */
struct settings {
    char **words;
    size_t n_words;
};
/* A number or a fraction, `fallback` where the key is not there. */
double setting(const struct settings *settings, const char *key, double fallback);
size_t setting_size(const struct settings *settings, const char *key, size_t fallback);
const char *setting_text(const struct settings *settings, const char *key, const char *fallback);

struct job_kind {
    const char *name, *keys; /* keys: for --help */
    /* job: zeroed but for its context. Returns NULL, or why this machine cannot do it. */
    const char *(*open)(struct job *job, const struct settings *settings);
};

/* The lists of the files named so; the last entry's name is NULL. */
extern const struct job_kind limit_jobs[], product_jobs[], selection_jobs[], fusion_jobs[], token_jobs[],
    model_jobs[], circuit_jobs[];
const struct job_kind *job_find(const char *name);
void job_print_kinds(void);
/* NULL, or why not; the job is then closed. */
const char *job_open(struct job *job, const char *name, const struct settings *settings);
/* Runs at least once and for about `seconds`: the least seconds of a unit. */
double job_measure(struct job *job, double seconds);
void job_close(struct job *job);

/* Seconds: processor time of this process, or by the clock. */
double time_now(int wall);
/* Bytes of this process in memory now, and at most since memory_forget_peak. */
void memory_of_process(size_t *now, size_t *peak);
void memory_forget_peak(void);

/* Ends the program with the context's message unless status is SN_OK. */
void check(sn_context *context, int status);
/* 64-byte aligned, freed by free(); ends the program when there is none. */
void *must_allocate(size_t bytes);
/* Evenly in [-1, 1), fast. */
void fill_random(float *values, size_t n, uint64_t seed);
float *random_floats(size_t n, uint64_t seed);
/* Every row has the same number of entries, one in each of as many stretches of columns. */
struct sn_matrix *random_matrix(sn_context *context, size_t rows, size_t cols, double density);

/* The library's defaults of learning masks (circuit/prune.h). */
struct extract_settings learning_settings(size_t steps, size_t pairs, double k_coef);

/* What the installed OpenBLAS says of itself. */
const char *openblas_version(void);
/* Reads every byte, and does nothing else. */
void read_memory(const void *from, size_t bytes);

#endif
