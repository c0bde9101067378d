/* Products of a matrix with a batch of tokens: ours, libxsmm's spmdm and OpenBLAS. Y (rows x tokens) =
 * W (rows x cols) X (cols x tokens). */
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#if SN_XSMM
#include <libxsmm.h>
#endif

#include "bench.h"

struct product {
    sn_context *context;
    struct sn_matrix *matrix;
    size_t rows, cols, tokens, panels;
    float *x, *y, *gradient;
    float *dense; /* rows x cols, row-major */
    void *peer;
};

static void close_product(void *state)
{
    struct product *p = state;
    matrix_free(p->matrix);
    free(p->x);
    free(p->y);
    free(p->gradient);
    free(p->dense);
    free(p);
}

/* x and y are filled: either may be the input. */
static struct product *open_shape(struct job *job, const struct settings *settings)
{
    struct product *p = must_allocate(sizeof *p);
    *p = (struct product){.context = job->context,
                          .rows = setting_size(settings, "rows", 4096),
                          .cols = setting_size(settings, "cols", 1024),
                          .tokens = setting_size(settings, "tokens", 4096)};
    p->panels = p->tokens / PANEL;
    p->x = random_floats(p->cols * p->tokens, 1);
    p->y = random_floats(p->rows * p->tokens, 2);
    job->state = p;
    job->close = close_product;
    job->bytes = 4 * (double)p->tokens * (double)(p->rows + p->cols);
    return p;
}

static void count_operations(struct job *job, const struct product *p, size_t nnz)
{
    job->operations = 2 * (double)nnz * (double)p->tokens;
}

/* ---------------------------------------------------------------------------- ours */

static void run_forward(void *state)
{
    struct product *p = state;
    for (size_t i = 0; i < p->panels; i++)
        matrix_multiply_panel(p->matrix, p->context->kernels, p->y + i * p->rows * PANEL,
                              p->x + i * p->cols * PANEL, NULL, 0);
}

static void run_transposed(void *state)
{
    struct product *p = state;
    for (size_t i = 0; i < p->panels; i++)
        matrix_multiply_transposed_panel(p->matrix, p->context->kernels, p->x + i * p->cols * PANEL,
                                         p->y + i * p->rows * PANEL, 0);
}

static void run_gradient(void *state)
{
    struct product *p = state;
    matrix_gradient(p->gradient, p->context, p->matrix, p->y, p->rows * PANEL, p->x, p->cols * PANEL,
                    p->panels);
}

static const char *open_ours(struct job *job, const struct settings *settings, void (*run)(void *state))
{
    struct product *p = open_shape(job, settings);
    double density = setting(settings, "density", 1);
    if (density < 1) {
        p->matrix = random_matrix(job->context, p->rows, p->cols, density);
    } else {
        p->dense = random_floats(p->rows * p->cols, 3);
        check(job->context, matrix_create_dense(&p->matrix, job->context, p->rows, p->cols, p->dense));
    }
    p->gradient = random_floats(p->matrix->n_values, 4);
    check(job->context, matrix_prepare_transposed(p->matrix, job->context));
    count_operations(job, p, p->matrix->n_values);
    job->run = run;
    return NULL;
}

static const char *open_forward(struct job *job, const struct settings *settings)
{
    return open_ours(job, settings, run_forward);
}

static const char *open_transposed(struct job *job, const struct settings *settings)
{
    return open_ours(job, settings, run_transposed);
}

static const char *open_gradient(struct job *job, const struct settings *settings)
{
    return open_ours(job, settings, run_gradient);
}

/* --------------------------------------------------------------------------- peers */

/* A peer multiplies x as cols x tokens; one row of y is compared with a plain sum. */
static int peer_is_right(const struct product *p)
{
    size_t row = p->rows / 2, token = p->tokens / 3;
    double sum = 0;
    for (size_t c = 0; c < p->cols; c++)
        sum += (double)p->dense[row * p->cols + c] * (double)p->x[c * p->tokens + token];
    return fabs(sum - (double)p->y[row * p->tokens + token]) < 1e-3;
}

static const char *finish_peer(struct job *job, struct product *p, void (*run)(void *state), size_t nnz)
{
    job->run = run;
    count_operations(job, p, nnz);
    run(p);
    return peer_is_right(p) ? NULL : "its result is wrong";
}

typedef void (*sgemm_function)(int order, int transpose_a, int transpose_b, int m, int n, int k,
                               float alpha, const float *a, int lda, const float *b, int ldb, float beta,
                               float *c, int ldc);

static void run_sgemm(void *state)
{
    struct product *p = state;
    sgemm_function sgemm;
    memcpy(&sgemm, &p->peer, sizeof sgemm);
    sgemm(101, 111, 111, (int)p->rows, (int)p->tokens, (int)p->cols, 1, p->dense, (int)p->cols, p->x,
          (int)p->tokens, 0, p->y, (int)p->tokens);
}

#define OPENBLAS "libopenblas.so.0"

const char *openblas_version(void)
{
    void *library = dlopen(OPENBLAS, RTLD_NOW | RTLD_LOCAL), *symbol;
    char *(*get_config)(void);
    if (!library)
        return "no OpenBLAS";
    symbol = dlsym(library, "openblas_get_config");
    memcpy(&get_config, &symbol, sizeof symbol);
    return get_config();
}

static const char *open_openblas(struct job *job, const struct settings *settings)
{
    void *library = dlopen(OPENBLAS, RTLD_NOW | RTLD_LOCAL), *symbol;
    void (*set_threads)(int);
    if (!library)
        return "OpenBLAS is not installed";
    symbol = dlsym(library, "openblas_set_num_threads");
    memcpy(&set_threads, &symbol, sizeof symbol);
    set_threads((int)setting_size(settings, "threads", 1));
    struct product *p = open_shape(job, settings);
    p->dense = random_floats(p->rows * p->cols, 3);
    p->peer = dlsym(library, "cblas_sgemm");
    return finish_peer(job, p, run_sgemm, p->rows * p->cols);
}

#if SN_XSMM
struct spmdm {
    libxsmm_spmdm_handle handle;
    libxsmm_CSR_sparseslice *slices;
};

static void run_spmdm(void *state)
{
    struct product *p = state;
    struct spmdm *peer = p->peer;
    const float one = 1, zero = 0;
    for (int i = 0; i < libxsmm_spmdm_get_num_compute_blocks(&peer->handle); i++)
        libxsmm_spmdm_compute_fp32_thread(&peer->handle, 'N', 'N', &one, peer->slices, p->x, 'N', &zero,
                                          p->y, i, 0, 1);
}

static void close_spmdm(void *state)
{
    struct product *p = state;
    struct spmdm *peer = p->peer;
    libxsmm_spmdm_destroy(&peer->handle);
    free(peer);
    close_product(p);
}

static const char *open_spmdm(struct job *job, const struct settings *settings)
{
    struct product *p = open_shape(job, settings);
    struct spmdm *peer = must_allocate(sizeof *peer);
    struct sn_matrix *matrix =
        random_matrix(job->context, p->rows, p->cols, setting(settings, "density", 0.25));
    size_t nnz = matrix->n_values;
    p->dense = must_allocate(p->rows * p->cols * sizeof *p->dense);
    for (size_t r = 0; r < p->rows; r++)
        matrix_row(p->dense + r * p->cols, matrix, r);
    matrix_free(matrix);
    libxsmm_spmdm_init((int)p->rows, (int)p->tokens, (int)p->cols, 1, &peer->handle, &peer->slices);
    for (int i = 0; i < libxsmm_spmdm_get_num_createSparseSlice_blocks(&peer->handle); i++)
        libxsmm_spmdm_createSparseSlice_fp32_thread(&peer->handle, 'N', p->dense, peer->slices, i, 0, 1);
    p->peer = peer;
    job->close = close_spmdm;
    return finish_peer(job, p, run_spmdm, nnz);
}
#else
static const char *open_spmdm(struct job *job, const struct settings *settings)
{
    (void)job;
    (void)settings;
    return "built without libxsmm";
}
#endif

const struct job_kind product_jobs[] = {
    {"forward", "rows cols tokens density (1: dense)", open_forward},
    {"transposed", "rows cols tokens density: dX", open_transposed},
    {"gradient", "rows cols tokens density: dW on the support", open_gradient},
    {"openblas", "rows cols tokens: dense forward", open_openblas},
    {"spmdm", "rows cols tokens density: forward through libxsmm's spmdm", open_spmdm},
    {NULL, NULL, NULL}};
