#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

/* ------------------------------------------------------------------ settings */

const char *setting_text(const struct settings *settings, const char *key, const char *fallback)
{
    size_t length = strlen(key);
    for (size_t i = 0; i < settings->n_words; i++)
        if (strncmp(settings->words[i], key, length) == 0 && settings->words[i][length] == '=')
            return settings->words[i] + length + 1;
    return fallback;
}

double setting(const struct settings *settings, const char *key, double fallback)
{
    const char *text = setting_text(settings, key, NULL), *slash = text ? strchr(text, '/') : NULL;
    if (!text)
        return fallback;
    return strtod(text, NULL) / (slash ? strtod(slash + 1, NULL) : 1);
}

size_t setting_size(const struct settings *settings, const char *key, size_t fallback)
{
    return (size_t)setting(settings, key, (double)fallback);
}

/* -------------------------------------------------------------- time and memory */

double time_now(int wall)
{
    struct timespec t;
    clock_gettime(wall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void memory_forget_peak(void)
{
    malloc_trim(0);
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file)
        return;
    fputs("5", file);
    fclose(file);
}

void memory_of_process(size_t *now, size_t *peak)
{
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    *now = *peak = 0;
    while (file && fgets(line, sizeof line, file)) {
        size_t kilobytes;
        if (sscanf(line, "VmRSS: %zu", &kilobytes) == 1)
            *now = 1024 * kilobytes;
        if (sscanf(line, "VmHWM: %zu", &kilobytes) == 1)
            *peak = 1024 * kilobytes;
    }
    if (file)
        fclose(file);
}

void check(sn_context *context, int status)
{
    if (status == SN_OK)
        return;
    fprintf(stderr, "bench: %s\n", sn_context_message(context));
    exit(1);
}

void *must_allocate(size_t bytes)
{
    void *block = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!block) {
        fprintf(stderr, "bench: no %zu bytes of memory\n", bytes);
        exit(1);
    }
    return block;
}

/* ------------------------------------------------------------------------ data */

void fill_random(float *values, size_t n, uint64_t seed)
{
    uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
    }
}

float *random_floats(size_t n, uint64_t seed)
{
    float *values = must_allocate(n * sizeof *values);
    fill_random(values, n, seed);
    return values;
}

struct sn_matrix *random_matrix(sn_context *context, size_t rows, size_t cols, double density)
{
    size_t per_row = (size_t)(density * (double)cols + 0.5), n = 0;
    per_row = per_row ? per_row : 1;
    uint32_t *start = must_allocate((rows + 1) * sizeof *start);
    uint32_t *index = must_allocate(rows * per_row * sizeof *index);
    float *values = must_allocate(rows * per_row * sizeof *values);
    struct random_state random;
    struct pattern *pattern;
    struct sn_matrix *matrix;
    random_seed(&random, rows * cols + per_row, 0);
    for (size_t r = 0; r < rows; r++) {
        start[r] = (uint32_t)n;
        for (size_t i = 0; i < per_row; i++) {
            double place = ((double)i + random_uniform(&random)) * (double)cols / (double)per_row;
            index[n] = (uint32_t)place;
            values[n++] = (float)(random_normal(&random) / (double)per_row);
        }
    }
    start[rows] = (uint32_t)n;
    check(context, pattern_create(&pattern, context, rows, cols, start, index));
    check(context, matrix_create_sparse(&matrix, context, pattern, values));
    pattern_release(pattern);
    free(start);
    free(index);
    free(values);
    return matrix;
}
