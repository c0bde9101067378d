/* What the suites of matrices and selections share. */
#ifndef SN_TESTS_MATRIX_HELPERS_H
#define SN_TESTS_MATRIX_HELPERS_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/context.h"
#include "base/random.h"
#include "matrix/matrix.h"

static struct random_state random_numbers;

static inline sn_context *new_context(size_t n_threads)
{
    sn_context *context = NULL;
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    ck_assert_int_eq(sn_context_set_threads(context, n_threads), SN_OK);
    return context;
}

/* Every block that the context's memory gave has come back, but the context itself. */
static inline void end_context(sn_context *context, size_t held_before)
{
    size_t held;
    sn_context_memory(&held, NULL, context);
    ck_assert_uint_eq(held, held_before);
    sn_context_free(context);
}

static inline size_t held(const sn_context *context)
{
    size_t bytes;
    sn_context_memory(&bytes, NULL, context);
    return bytes;
}

static inline float *new_floats(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof *x + 64) / 64 * 64);
    ck_assert_ptr_nonnull(x);
    memset(x, 0, n * sizeof *x);
    return x;
}

static inline float *new_random(size_t n)
{
    float *x = new_floats(n);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)random_normal(&random_numbers);
    return x;
}

/* A dense array with about permille nonzeros; row 1 and column 2 empty. */
static inline float *new_sparse(size_t rows, size_t cols, size_t permille)
{
    float *w = new_floats(rows * cols);
    for (size_t i = 0; i < rows * cols; i++)
        if (random_below(&random_numbers, 1000) < permille && i / cols != 1 && i % cols != 2)
            w[i] = (float)random_normal(&random_numbers);
    return w;
}

static inline void expect_failure(int status, int expected, const sn_context *context, const char *part)
{
    ck_assert_int_eq(status, expected);
    if (!strstr(sn_context_message(context), part))
        ck_abort_msg("'%s' does not name '%s'", sn_context_message(context), part);
}

#endif
