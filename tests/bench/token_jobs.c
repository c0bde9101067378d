/* One token through a matrix, and a loop that only reads what the product uses; and starting up. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "matrix/token.h"

struct token_product {
    sn_context *context;
    struct sn_matrix *matrix;
    struct token_matrix token;
    float *x, *y;
    void *scratch;
    const void *index;
    const float *value;
    size_t index_bytes, value_bytes, passes;
};

static void run_product(void *state)
{
    struct token_product *t = state;
    for (size_t i = 0; i < t->passes; i++)
        token_multiply(&t->token, t->context->kernels, t->y, t->x, NULL, t->scratch);
}

static void run_read(void *state)
{
    struct token_product *t = state;
    for (size_t i = 0; i < t->passes; i++) {
        read_memory(t->index, t->index_bytes);
        read_memory(t->value, t->value_bytes);
    }
}

static void close_product(void *state)
{
    struct token_product *t = state;
    matrix_free(t->matrix);
    free(t->x);
    free(t->y);
    free(t->scratch);
    free(t);
}

/* Bytes of the entries that the product meets. */
static double bytes_met(const struct token_product *t, size_t cols)
{
    const struct pattern_columns *columns = pattern_columns_made(t->matrix->pattern);
    size_t n = columns ? 0 : t->matrix->n_values;
    for (size_t c = 0; columns && c < cols; c++)
        n += t->x[c] != 0 ? columns->start[c + 1] - columns->start[c] : 0;
    return 6.0 * (double)n;
}

static const char *open_token(struct job *job, const struct settings *settings, void (*run)(void *state))
{
    struct token_product *t = must_allocate(sizeof *t);
    size_t rows = setting_size(settings, "rows", 4096), cols = setting_size(settings, "cols", 1024);
    double share = setting(settings, "share", 1);
    *t = (struct token_product){.context = job->context};
    t->matrix = random_matrix(job->context, rows, cols, setting(settings, "density", 1.0 / 16));
    check(job->context, token_matrix_create(&t->token, job->context, t->matrix, share < 1));
    t->x = random_floats(cols, 1);
    t->y = random_floats(rows, 2);
    t->scratch = must_allocate(token_scratch(cols));
    float *chance = random_floats(cols, 3);
    for (size_t c = 0; c < cols; c++)
        t->x[c] = 0.5 * (double)chance[c] + 0.5 < share ? t->x[c] : 0;
    free(chance);
    size_t n = t->matrix->n_values;
    const struct pattern_columns *columns = pattern_columns_made(t->matrix->pattern);
    t->index = columns ? columns->index.low : t->matrix->pattern->index.low;
    t->value = columns ? matrix_transposed(t->matrix) : t->matrix->values;
    t->index_bytes = n * sizeof(uint16_t);
    t->value_bytes = n * sizeof(float);
    t->passes = 2000000 / n + 1;
    job->units = (double)t->passes;
    job->bytes =
        job->units * (run == run_read ? (double)(t->index_bytes + t->value_bytes) : bytes_met(t, cols));
    job->state = t;
    job->run = run;
    job->close = close_product;
    return NULL;
}

static const char *open_product(struct job *job, const struct settings *settings)
{
    return open_token(job, settings, run_product);
}

static const char *open_token_read(struct job *job, const struct settings *settings)
{
    return open_token(job, settings, run_read);
}

/* ------------------------------------------------------------------------- start-up */

#define CONTEXTS 1000

static void run_context(void *state)
{
    (void)state;
    for (size_t i = 0; i < CONTEXTS; i++) {
        sn_context *context;
        if (sn_context_create(&context, NULL) != SN_OK)
            exit(1);
        sn_context_free(context);
    }
}

static const char *open_context(struct job *job, const struct settings *settings)
{
    (void)settings;
    job->run = run_context;
    job->units = CONTEXTS;
    return NULL;
}

const struct job_kind token_jobs[] = {
    {"token", "rows cols density share (of nonzero inputs; below 1: by columns): matrix x vector",
     open_product},
    {"token_read", "the same keys: only reads the matrix", open_token_read},
    {"context", "opens and closes a context", open_context},
    {NULL, NULL, NULL}};
