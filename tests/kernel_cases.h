/* One table of operations x awkward shapes drives parity with the reference kernels on every
 * instruction set that this machine can run. A suite fills an array of kernel_case and adds
 * run_kernel_cases in a test; each check draws its inputs from case_random, runs both tables and
 * compares with case_compare. Buffers carry guard zones that are checked at the end of each case. */
#ifndef SN_TESTS_KERNEL_CASES_H
#define SN_TESTS_KERNEL_CASES_H

#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/float_mode.h"
#include "base/random.h"
#include "kernel_tables.h"

#define CASE_SHAPES 20
#define CASE_BUFFERS 128
#define CASE_GUARD 64 /* bytes after each buffer */
#define CASE_GUARD_BYTE 0xA5

struct kernel_case {
    const char *operation;
    /* Runs one shape on `kernels` and on `reference`, compares, and may also check gradients. */
    void (*check)(const struct kernel_table *kernels, const struct kernel_table *reference,
                  const size_t shape[4]);
    size_t shapes[CASE_SHAPES][4]; /* meaning is the check's own; a row of zeros ends the list */
};

/* What runs now, for messages, and its buffers. */
struct case_state {
    char label[160];
    struct random_state random;
    struct {
        unsigned char *block;
        size_t size;
    } buffers[CASE_BUFFERS];
    size_t n_buffers;
};

static struct case_state case_state;

/* Timing: with SN_TEST_TIMES=n in the environment every case runs n times, and the best time of each timed
 * call is printed for every table and shape: the table that checks the kernels also clocks them. */
struct case_timing {
    const char *call, *table;
    double nanoseconds;
};

static struct {
    struct case_timing calls[64];
    size_t n_calls;
} case_times;

static inline double case_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static inline void case_clocked(const char *call, const char *table, double nanoseconds)
{
    for (size_t i = 0; i < case_times.n_calls; i++) {
        struct case_timing *timing = &case_times.calls[i];
        if (strcmp(timing->call, call) == 0 && strcmp(timing->table, table) == 0) {
            timing->nanoseconds = fmin(timing->nanoseconds, nanoseconds);
            return;
        }
    }
    ck_assert_uint_lt(case_times.n_calls, 64);
    case_times.calls[case_times.n_calls++] = (struct case_timing){call, table, nanoseconds};
}

/* kernels->call(...), clocked. */
#define CASE_TIMED(kernels, call, ...)                                                                  \
    do {                                                                                                \
        double case_start = case_now();                                                                 \
        (kernels)->call(__VA_ARGS__);                                                                   \
        case_clocked(#call, (kernels)->name, case_now() - case_start);                                  \
    } while (0)

static inline size_t case_repeats(void)
{
    const char *times = getenv("SN_TEST_TIMES");
    return times ? (size_t)strtoul(times, NULL, 10) : 1;
}

static inline void case_print_times(const char *operation, const size_t shape[4])
{
    for (size_t i = 0; i < case_times.n_calls; i++)
        printf("%-20s %-22s %-10s %6zu %6zu %6zu %6zu %12.0f ns\n", operation, case_times.calls[i].call,
               case_times.calls[i].table, shape[0], shape[1], shape[2], shape[3],
               case_times.calls[i].nanoseconds);
}

/* `size` bytes, 64-byte aligned, zeroed, followed by a guard zone; released by the harness. */
static inline void *case_bytes(size_t size)
{
    size_t whole = (size + CASE_GUARD + 63) / 64 * 64;
    ck_assert_uint_lt(case_state.n_buffers, CASE_BUFFERS);
    unsigned char *block = aligned_alloc(64, whole);
    ck_assert_ptr_nonnull(block);
    memset(block, 0, size);
    memset(block + size, CASE_GUARD_BYTE, CASE_GUARD);
    case_state.buffers[case_state.n_buffers].block = block;
    case_state.buffers[case_state.n_buffers++].size = size;
    return block;
}

static inline float *case_floats(size_t n)
{
    return case_bytes(n * sizeof(float));
}

/* Normal numbers times scale. */
static inline float *case_random(size_t n, double scale)
{
    float *x = case_floats(n);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(scale * random_normal(&case_state.random));
    return x;
}

static inline float *case_copy(const float *from, size_t n)
{
    float *x = case_floats(n);
    memcpy(x, from, n * sizeof *x);
    return x;
}

/* |actual - expected| <= tolerance * max |expected| (+ 1e-30) everywhere; NaN fails. */
static inline void case_compare(const char *what, const float *actual, const float *expected, size_t n,
                                double tolerance)
{
    double scale = 0;
    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs((double)expected[i]));
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)actual[i] - (double)expected[i]);
        if (!(error <= tolerance * scale + 1e-30))
            ck_abort_msg("%s: %s[%zu] is %.9g, expected %.9g (scale %.3g)", case_state.label, what, i,
                         (double)actual[i], (double)expected[i], scale);
    }
}

static inline void case_compare_bytes(const char *what, const void *actual, const void *expected,
                                      size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((const unsigned char *)actual)[i] != ((const unsigned char *)expected)[i])
            ck_abort_msg("%s: %s differs at byte %zu of %zu", case_state.label, what, i, size);
}

/* gradient[i] against central differences of loss(payload) in x[i], for up to 24 spread entries.
 * step is absolute; tolerance is relative to max |gradient|. Losses should be summed in double. */
static inline void case_check_gradient(const char *what, double (*loss)(void *payload), void *payload,
                                       float *x, const float *gradient, size_t n, double step,
                                       double tolerance)
{
    double scale = 0;
    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs((double)gradient[i]));
    size_t stride = n / 24 + 1;
    for (size_t i = 0; i < n; i += stride) {
        float saved = x[i];
        x[i] = (float)((double)saved + step);
        double up = x[i], above = loss(payload);
        x[i] = (float)((double)saved - step);
        double down = x[i], below = loss(payload);
        x[i] = saved;
        double numeric = (above - below) / (up - down);
        if (!(fabs(numeric - (double)gradient[i]) <= tolerance * scale + 1e-7))
            ck_abort_msg("%s: gradient of %s[%zu] is %.7g, finite differences say %.7g",
                         case_state.label, what, i, (double)gradient[i], numeric);
    }
}

static inline void case_begin(const char *operation, const char *isa, const size_t shape[4])
{
    snprintf(case_state.label, sizeof case_state.label, "%s on %s, shape %zu %zu %zu %zu", operation,
             isa, shape[0], shape[1], shape[2], shape[3]);
    case_state.n_buffers = 0;
    random_seed(&case_state.random, 7, shape[0] * 1000003 + shape[1] * 1009 + shape[2] * 31 + shape[3]);
}

static inline void case_end(void)
{
    for (size_t i = 0; i < case_state.n_buffers; i++) {
        unsigned char *block = case_state.buffers[i].block;
        for (size_t j = 0; j < CASE_GUARD; j++)
            if (block[case_state.buffers[i].size + j] != CASE_GUARD_BYTE)
                ck_abort_msg("%s: buffer %zu (%zu bytes) was written past its end", case_state.label, i,
                             case_state.buffers[i].size);
        free(block);
    }
    case_state.n_buffers = 0;
}

/* Every case on every kernel table (kernel_tables.h), with flush-to-zero as in the library's own loops. */
static inline void run_kernel_cases(const struct kernel_case *cases, size_t n_cases)
{
    size_t n_run = 0, repeats = case_repeats();
    float_mode saved = float_mode_flush();
    for (size_t i = 0; i < N_KERNEL_TABLES; i++) {
        const struct kernel_table *kernels = kernel_table_number(i);
        for (size_t c = 0; kernels && c < n_cases; c++)
            for (size_t s = 0; s < CASE_SHAPES; s++) {
                const size_t *shape = cases[c].shapes[s];
                if (!shape[0] && !shape[1] && !shape[2] && !shape[3])
                    break;
                case_times.n_calls = 0;
                for (size_t repeat = 0; repeat < repeats; repeat++) {
                    case_begin(cases[c].operation, kernels->name, shape);
                    cases[c].check(kernels, kernels_reference(), shape);
                    case_end();
                }
                if (repeats > 1)
                    case_print_times(cases[c].operation, shape);
                n_run++;
            }
    }
    float_mode_restore(saved);
    ck_assert_uint_gt(n_run, 0);
}

#endif
