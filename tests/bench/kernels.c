/* Times the matrix products and the selections on one thread, beside the fused multiply-add peak that
 * the same instruction set reaches in the same run. Times are the thread's CPU time: on a busy machine
 * they still tell about the code.
 *
 *   build/tests/bench/kernels [repetitions]      SPARSENET_ISA chooses the instruction set
 *
 * Shape: y (M x N tokens) = W (M x K) x, on panels, K = 1024, M = 4096, N = 4096. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/context.h"
#include "base/float_mode.h"
#include "base/random.h"
#include "kernels/dense.h"
#include "matrix/matrix.h"

#define ROWS ((size_t)4096)
#define COLS ((size_t)1024)
#define PANELS ((size_t)64)

struct bench {
    struct sn_context *context;
    const struct sn_matrix *matrix;
    float *x, *y; /* all panels */
    float *gradient;
    const float *weights;
    unsigned char *keep;
    size_t k, minimum;
    int axis;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double best_of(int repetitions, void (*run)(struct bench *), struct bench *bench)
{
    double best = 1e30;
    for (int i = 0; i < repetitions + 1; i++) { /* the first one warms up */
        double start = now();
        run(bench);
        double seconds = now() - start;
        if (i > 0 && seconds < best)
            best = seconds;
    }
    return best;
}

/* ---------------------------------------------------------------------- peak */

#define PEAK_LOOPS 10000000

typedef float vec4 __attribute__((vector_size(16)));
typedef float vec8 __attribute__((vector_size(32)));
typedef float vec16 __attribute__((vector_size(64)));

/* Twelve independent chains, in registers, hide the latency on every machine we know. */
#define STEP(i) s##i = s##i * factor + step;
#define PEAK(name, vector, attribute)                                                                   \
    attribute static double name(void)                                                                  \
    {                                                                                                   \
        vector factor = (vector){0} + 0.999f, step = (vector){0} + 0.001f;                              \
        vector s0 = step, s1 = step * 2, s2 = step * 3, s3 = step * 4, s4 = step * 5, s5 = step * 6;    \
        vector s6 = -s0, s7 = -s1, s8 = -s2, s9 = -s3, s10 = -s4, s11 = -s5;                            \
        double start = now();                                                                           \
        for (long loop = 0; loop < PEAK_LOOPS; loop++) {                                                \
            STEP(0)                                                                                     \
            STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11)   \
        }                                                                                               \
        double seconds = now() - start;                                                                 \
        vector sum = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11;                       \
        volatile float sink = sum[0];                                                                   \
        (void)sink;                                                                                     \
        return PEAK_LOOPS * 12.0 * 2 * (sizeof(vector) / 4) / seconds * 1e-9;                           \
    }

/* clang contracts within an expression by itself, and has no such attribute. */
#if defined(__clang__)
#define FUSED(isa) __attribute__((target(isa)))
#else
#define FUSED(isa) __attribute__((target(isa), optimize("fp-contract=fast")))
#endif

PEAK(peak_portable, vec4, )
#if defined(__x86_64__) || defined(__i386__)
PEAK(peak_avx2, vec8, FUSED("avx2,fma"))
PEAK(peak_avx512, vec16, FUSED("avx512f,fma"))
#endif

static double measure_peak(const char *isa)
{
#if defined(__x86_64__) || defined(__i386__)
    if (strcmp(isa, "avx2") == 0)
        return peak_avx2();
    if (strcmp(isa, "avx512") == 0)
        return peak_avx512();
#endif
    (void)isa;
    return peak_portable();
}

/* ------------------------------------------------------------------ what runs */

static void forward(struct bench *b)
{
    for (size_t p = 0; p < PANELS; p++)
        matrix_multiply_panel(b->matrix, b->context->kernels, b->y + p * ROWS * PANEL,
                              b->x + p * COLS * PANEL, NULL, 0);
}

static void transposed(struct bench *b)
{
    if (matrix_prepare_transposed(b->matrix, b->context) != SN_OK)
        exit(1);
    for (size_t p = 0; p < PANELS; p++)
        matrix_multiply_transposed_panel(b->matrix, b->context->kernels, b->x + p * COLS * PANEL,
                                         b->y + p * ROWS * PANEL, 0);
}

static void gradient(struct bench *b)
{
    matrix_gradient(b->gradient, b->context, b->matrix, b->y, ROWS * PANEL, b->x, COLS * PANEL, PANELS);
}

static void own_product(struct bench *b)
{
    for (size_t p = 0; p < PANELS; p++)
        for (size_t r = 0; r < ROWS; r += 96)
            b->context->kernels->gemm(b->y + (p * ROWS + r) * PANEL, PANEL, b->x + p * COLS * PANEL,
                                      PANEL, b->weights + r * COLS, 1, COLS, PANEL,
                                      ROWS - r < 96 ? ROWS - r : 96, COLS, 0);
}

static void refresh(struct bench *b)
{
    matrix_values_changed((struct sn_matrix *)b->matrix, b->context);
}

static void selection(struct bench *b)
{
    select_magnitude(b->keep, NULL, b->context, b->weights, ROWS, COLS, b->k, b->axis, b->minimum);
}

static void rebuild(struct bench *b)
{
    struct pattern *pattern = NULL;
    struct sn_matrix *matrix = NULL;
    if (pattern_from_mask(&pattern, b->context, ROWS, COLS, b->keep) == SN_OK &&
        matrix_create_sparse(&matrix, b->context, pattern, NULL) == SN_OK)
        b->k = pattern->nnz;
    pattern_release(pattern);
    matrix_free(matrix);
}

/* --------------------------------------------------------------------- report */

static double flops(size_t nnz)
{
    return 2.0 * (double)nnz * PANELS * PANEL;
}

static void report(const char *what, double seconds, double operations, double peak)
{
    printf("  %-28s %8.2f ms %7.1f GF/s %5.1f %% of peak\n", what, seconds * 1e3,
           operations / seconds * 1e-9, operations / seconds * 1e-7 / peak);
}

static void report_elements(const char *what, double seconds)
{
    printf("  %-28s %8.2f ms %7.2f ns/element\n", what, seconds * 1e3, seconds * 1e9 / (ROWS * COLS));
}

static int bench_density(struct bench *b, double density, int repetitions, double peak)
{
    b->k = (size_t)(density * ROWS * COLS);
    b->axis = 0;
    b->minimum = 0;
    double select_seconds = best_of(repetitions, selection, b);
    b->axis = SN_AXIS_ROW;
    b->minimum = b->k / ROWS < 4 ? b->k / ROWS : 4;
    double rows_seconds = best_of(repetitions, selection, b);
    b->axis = SN_AXIS_COLUMN;
    double columns_seconds = best_of(repetitions, selection, b);
    struct pattern *pattern = NULL;
    struct sn_matrix *matrix = NULL;
    if (pattern_from_mask(&pattern, b->context, ROWS, COLS, b->keep) != SN_OK ||
        matrix_create_sparse(&matrix, b->context, pattern, NULL) != SN_OK)
        return 1;
    for (size_t i = 0; i < matrix->n_values; i++)
        matrix->values[i] = b->weights[i];
    b->matrix = matrix;
    printf("density 1/%.0f, %zu nonzeros\n", 1 / density, matrix->n_values);
    refresh(b);
    report("forward", best_of(repetitions, forward, b), flops(matrix->n_values), peak);
    report("transposed", best_of(repetitions, transposed, b), flops(matrix->n_values), peak);
    report("gradient on the support", best_of(repetitions, gradient, b), flops(matrix->n_values), peak);
    report_elements("new values", best_of(repetitions, refresh, b));
    report_elements("new pattern and packing", best_of(repetitions, rebuild, b));
    report_elements("selection", select_seconds);
    report_elements("selection, minimum per row", rows_seconds);
    report_elements("selection, per column", columns_seconds);
    pattern_release(pattern);
    matrix_free(matrix);
    return 0;
}

static int bench_dense(struct bench *b, int repetitions, double peak)
{
    struct sn_matrix *matrix = NULL;
    if (matrix_create_dense(&matrix, b->context, ROWS, COLS, b->weights) != SN_OK)
        return 1;
    b->matrix = matrix;
    printf("dense\n");
    report("forward", best_of(repetitions, forward, b), flops(matrix->n_values), peak);
    report("forward without libxsmm", best_of(repetitions, own_product, b), flops(matrix->n_values),
           peak);
    report("transposed", best_of(repetitions, transposed, b), flops(matrix->n_values), peak);
    report("gradient", best_of(repetitions, gradient, b), flops(matrix->n_values), peak);
    matrix_free(matrix);
    return 0;
}

static void fill(float *values, size_t n, struct random_state *random)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)random_normal(random);
}

int main(int argc, char **argv)
{
    const double densities[] = {1.0 / 4, 1.0 / 16, 1.0 / 64, 1.0 / 256, 1.0 / 1000};
    int repetitions = argc > 1 ? atoi(argv[1]) : 3;
    struct bench b = {0};
    struct random_state random;
    random_seed(&random, 1, 0);
    float_mode_flush();
    if (sn_context_create(&b.context, NULL) != SN_OK)
        return 1;
    float *weights = aligned_alloc(64, ROWS * COLS * sizeof(float));
    b.x = aligned_alloc(64, COLS * PANEL * PANELS * sizeof(float));
    b.y = aligned_alloc(64, ROWS * PANEL * PANELS * sizeof(float));
    b.gradient = calloc(ROWS * COLS, sizeof(float));
    b.keep = malloc(ROWS * COLS);
    if (!weights || !b.x || !b.y || !b.gradient || !b.keep)
        return 1;
    fill(weights, ROWS * COLS, &random);
    fill(b.x, COLS * PANEL * PANELS, &random);
    fill(b.y, ROWS * PANEL * PANELS, &random);
    b.weights = weights;
    double peak = measure_peak(sn_context_isa(b.context));
    printf("%s, multiply-add peak %.1f GF/s, %zu x %zu matrix, %zu tokens\n", sn_context_isa(b.context),
           peak, ROWS, COLS, PANELS * PANEL);
    int failed = 0;
    for (size_t i = 0; i < sizeof densities / sizeof *densities; i++)
        failed |= bench_density(&b, densities[i], repetitions, peak);
    failed |= bench_dense(&b, repetitions, peak);
    free(weights);
    free(b.x);
    free(b.y);
    free(b.gradient);
    free(b.keep);
    sn_context_free(b.context);
    return failed;
}
