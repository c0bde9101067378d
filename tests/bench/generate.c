/* Generation token by token, and what the products for one token reach of the bandwidth of reading.
 *   generate [--width D] [--layers N] [--density P] [--tokens T] [--runs R] [--part speed|products]
 * The model: d_head 16, d_mlp 4 D, vocabulary 2048, AbsTopK 1/4 at the 8 published places, a sink, a bigram
 * table. First, tokens per second from an empty context to T tokens, best of R runs, and long prompts. Then,
 * for each matrix of a layer, one product with a quarter of the inputs nonzero (attention's projection and
 * the head: with all), between runs of a loop that only reads the same arrays from end to end. "touched":
 * the bandwidth of the entries that the product uses, as a share of that loop's. "matrix": the time of
 * reading the matrix once over the time of the product. All times are processor time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "matrix/token.h"
#include "model/model.h"
#include "kernels/kernels.h"

typedef int32_t reader __attribute__((vector_size(32), aligned(4), may_alias));

#define REPEATS 60
#define ENTRY_KILOBYTES 6e-3 /* index and value */

static sn_context *context;
static struct random_state numbers;
static volatile int32_t sink;

/* Of this thread: a token runs on one, and on a shared machine others take their turns in between. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static void check(int status)
{
    if (status == SN_OK)
        return;
    fprintf(stderr, "%s\n", sn_context_message(context));
    exit(1);
}

/* Every row has the same number of entries, one in each of as many stretches of columns. */
static struct sn_matrix *random_matrix(size_t rows, size_t cols, double density)
{
    size_t per_row = (size_t)(density * (double)cols + 0.5), n = 0;
    uint32_t *start = malloc((rows + 1) * sizeof *start),
             *index = malloc((rows * per_row + 1) * sizeof *index);
    float *values = malloc((rows * per_row + 1) * sizeof *values);
    struct pattern *pattern;
    struct sn_matrix *matrix;
    for (size_t r = 0; r < rows; r++) {
        start[r] = (uint32_t)n;
        for (size_t i = 0; i < per_row; i++) {
            double place = ((double)i + random_uniform(&numbers)) * (double)cols / (double)per_row;
            index[n] = (uint32_t)place;
            values[n++] = (float)(random_normal(&numbers) / (double)per_row);
        }
    }
    start[rows] = (uint32_t)n;
    check(pattern_create(&pattern, context, rows, cols, start, index));
    check(matrix_create_sparse(&matrix, context, pattern, values));
    pattern_release(pattern);
    free(start);
    free(index);
    free(values);
    return matrix;
}

static sn_model *random_model(size_t width, size_t layers, double density, size_t tokens)
{
    char text[1024];
    struct config config;
    sn_model *model;
    snprintf(text, sizeof text,
             "{\"block_size\": %zu, \"vocab_size\": 2048, \"n_layer\": %zu, \"n_head\": %zu,"
             " \"d_head\": 16, \"d_model\": %zu, \"d_mlp\": %zu, \"rms_norm\": true, \"afrac\": 0.25,"
             " \"tied_unembed\": false, \"enable_bigram_table\": true, \"learnable_bigram_table\": true,"
             " \"sink\": true, \"d_pos_emb\": 32, \"sinusoidal_cat_pos_emb\": true, \"afrac_loctypes\":"
             " \"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q\"}",
             tokens, layers, width / 16, width, 4 * width);
    check(config_parse(&config, context, text, strlen(text), "the bench"));
    check(model_allocate(&model, context, &config));
    for (size_t i = 0; i < model->n_parameters; i++) {
        struct parameter *p = &model->parameters[i];
        double share = p->role == ROLE_MATRIX || p->role == ROLE_EMBEDDING ? density : 1;
        if (p->cols == 0) {
            p->vector = memory_allocate_zeroed_array(context->memory, p->rows, sizeof *p->vector);
            for (size_t r = 0; p->role == ROLE_NORM && r < p->rows; r++)
                p->vector[r] = 1;
        } else if (share < SPARSE_MAX_DENSITY) {
            p->matrix = random_matrix(p->rows, p->cols, share);
        } else {
            check(matrix_create_dense(&p->matrix, context, p->rows, p->cols, NULL));
            for (size_t v = 0; v < p->matrix->n_values; v++)
                p->matrix->values[v] = (float)random_uniform(&numbers) * 0.02f;
        }
    }
    check(model_check_complete(model, context, "the bench"));
    return model;
}

static void measure_speed(size_t width, size_t layers, double density, size_t tokens, size_t runs)
{
    sn_model *model = random_model(width, layers, density, tokens);
    sn_generator *generator;
    size_t before, after;
    double best = 1e30, first = 0, worst = 0;
    sn_context_memory(&before, NULL, context);
    check(sn_generator_create(&generator, context, model, NULL));
    for (size_t run = 0; run < runs; run++) {
        int32_t token = 1;
        double start = now();
        check(sn_generator_reset(generator));
        check(sn_generator_append(generator, &token, 1));
        for (size_t i = 1; i < tokens; i++)
            check(sn_generator_next(&token, generator));
        double time = (now() - start) / (double)tokens;
        first = run == 0 ? time : first;
        best = time < best ? time : best;
        worst = time > worst ? time : worst;
    }
    sn_context_memory(&after, NULL, context);
    printf("width %zu, %zu layers, density 1/%.0f, %zu tokens from an empty context, 1 thread, %s\n",
           width, layers, 1 / density, tokens, sn_context_isa(context));
    printf("%.0f tokens/s at best (%.1f us a token; first run %.1f, worst %.1f)\n", 1e6 / best, best,
           first, worst);
    printf("memory: model %.1f MB, generator %.1f MB\n", 1e-6 * (double)before,
           1e-6 * (double)(after - before));
    int32_t prompt[256];
    size_t n = tokens < 256 ? tokens : 256;
    for (size_t i = 0; i < n; i++)
        prompt[i] = (int32_t)(i * 37 % 2048);
    for (size_t length = 8; length <= n; length *= 2) {
        double panels = 1e30, steps = 1e30;
        for (size_t run = 0; run < 3; run++) {
            check(sn_generator_reset(generator));
            double start = now();
            check(sn_generator_append(generator, prompt, length));
            panels = now() - start < panels ? now() - start : panels;
            check(sn_generator_reset(generator));
            start = now();
            for (size_t i = 0; i < length; i++)
                check(sn_generator_append(generator, prompt + i, 1));
            steps = now() - start < steps ? now() - start : steps;
        }
        printf("prompt of %3zu: appended at once %8.0f us, one by one %8.0f us\n", length, panels,
               steps);
    }
    sn_generator_free(generator);
    sn_model_free(model);
}

/* ---- products */

/* Loads and nothing else: an OR keeps them. Built for AVX2 where this machine has it. */
static inline __attribute__((always_inline)) int32_t read_blocks(const char *at, size_t bytes)
{
    reader all[8] = {{0}};
    size_t i = 0;
    for (; i + 256 <= bytes; i += 256)
        for (size_t j = 0; j < 8; j++)
            all[j] |= *(const reader *)(at + i + 32 * j);
    for (; i + 32 <= bytes; i += 32)
        all[0] |= *(const reader *)(at + i);
    for (size_t j = 1; j < 8; j++)
        all[0] |= all[j];
    return all[0][0] | all[0][5];
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static int32_t read_avx2(const void *from, size_t bytes)
{
    return read_blocks(from, bytes);
}
#endif

static int32_t read_all(const void *from, size_t bytes)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return read_avx2(from, bytes);
#endif
    return read_blocks(from, bytes);
}

/* Several streams at a time, as hardware likes it. */
static void read_streams(const void *from, size_t bytes)
{
    size_t part = bytes / 4 / 64 * 64;
    int32_t all = 0;
    for (size_t at = 0; at < part; at += 4096)
        for (size_t i = 0; i < 4; i++)
            all |= read_all((const char *)from + i * part + at, part - at < 4096 ? part - at : 4096);
    sink = all | read_all((const char *)from + 4 * part, bytes - 4 * part);
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

struct product_times {
    double product, by_rows, read;
};

static struct product_times time_product(const struct token_matrix *token, const float *x, float *y,
                                         void *scratch)
{
    const struct kernel_table *kernels = context->kernels;
    const struct sn_matrix *matrix = token->matrix;
    const struct token_matrix plain = {.matrix = matrix};
    const uint16_t *index = token->by_columns ? pattern_columns_made(matrix->pattern)->index.low
                                              : matrix->pattern->index.low;
    const float *value = token->by_columns ? matrix_transposed(matrix) : matrix->values;
    size_t index_bytes = sizeof *index * matrix->n_values;
    struct product_times best = {1e30, 1e30, 1e30};
    for (size_t i = 0; i < REPEATS; i++) {
        double start = now();
        token_multiply(token, kernels, y, x, NULL, scratch);
        best.product = least(best.product, now() - start);
        start = now();
        read_streams(index, index_bytes);
        read_streams(value, 4 * matrix->n_values);
        best.read = least(best.read, now() - start);
        start = now();
        token_multiply(&plain, kernels, y, x, NULL, scratch);
        best.by_rows = least(best.by_rows, now() - start);
    }
    return best;
}

static void measure_product(const char *name, size_t rows, size_t cols, double density, int quarter)
{
    struct sn_matrix *matrix = random_matrix(rows, cols, density);
    struct token_matrix token;
    float *x = calloc(cols, sizeof *x), *y = calloc(rows, sizeof *y);
    void *scratch = malloc(token_scratch(cols));
    size_t n_touched = quarter ? 0 : matrix->n_values;
    check(token_matrix_create(&token, context, matrix, quarter));
    const uint32_t *start = quarter ? pattern_columns_made(matrix->pattern)->start : NULL;
    for (size_t c = 0; c < cols; c++)
        if (!quarter || random_below(&numbers, 4) == 0) {
            x[c] = (float)random_normal(&numbers);
            n_touched += quarter ? start[c + 1] - start[c] : 0;
        }
    struct product_times t = time_product(&token, x, y, scratch);
    double touched = ENTRY_KILOBYTES * (double)n_touched,
           all = ENTRY_KILOBYTES * (double)matrix->n_values;
    printf("%-10s %5zu x %5zu 1/%-3.0f %8.1f KB %8.1f us, by rows %8.1f, read %8.1f us (%5.1f GB/s); "
           "touched %4.2f  matrix %4.2f\n",
           name, rows, cols, 1 / density, all, t.product, t.by_rows, t.read, all / t.read,
           touched / t.product / (all / t.read), t.read / t.product);
    matrix_free(matrix);
    free(x);
    free(y);
    free(scratch);
}

static void measure_dense(size_t rows, size_t cols)
{
    float *w = aligned_alloc(64, rows * cols * sizeof *w), *x = calloc(cols, sizeof *x),
          *y = calloc(rows, sizeof *y);
    double product = 1e30, whole = 1e30, bytes = 4e-3 * (double)(rows * cols);
    for (size_t i = 0; i < rows * cols; i++)
        w[i] = (float)random_uniform(&numbers);
    for (size_t i = 0; i < REPEATS; i++) {
        double start = now();
        context->kernels->token_dense(y, w, rows, cols, x, NULL);
        product = least(product, now() - start);
        start = now();
        read_streams(w, rows * cols * sizeof *w);
        whole = least(whole, now() - start);
    }
    printf("%-10s %5zu x %5zu       %8.1f KB %8.1f us, read %8.1f us (%5.1f GB/s); matrix %4.2f\n",
           "dense", rows, cols, bytes, product, whole, bytes / whole, whole / product);
    free(w);
    free(x);
    free(y);
}

static void measure_products(size_t width)
{
    static const double densities[] = {1.0 / 4, 1.0 / 16, 1.0 / 64, 1.0 / 256};
    for (size_t i = 0; i < sizeof densities / sizeof *densities; i++) {
        measure_product("c_attn", 3 * width, width, densities[i], 1);
        measure_product("attn_proj", width, width, densities[i], 0);
        measure_product("c_fc", 4 * width, width, densities[i], 1);
        measure_product("mlp_proj", width, 4 * width, densities[i], 1);
        measure_product("lm_head", 2048, width, densities[i], 0);
        measure_product("large", 8 * width, 2 * width, densities[i], 1);
    }
    measure_dense(width, width);
    measure_dense(4 * width, width);
}

int main(int n_arguments, char **arguments)
{
    size_t width = 1024, layers = 8, tokens = 256, runs = 5;
    double density = 1.0 / 64;
    const char *part = "";
    for (int i = 1; i + 1 < n_arguments; i += 2) {
        const char *key = arguments[i], *value = arguments[i + 1], *slash = strchr(value, '/');
        double number = strtod(value, NULL) / (slash ? strtod(slash + 1, NULL) : 1);
        if (strcmp(key, "--width") == 0)
            width = (size_t)number / 16 * 16;
        else if (strcmp(key, "--layers") == 0)
            layers = (size_t)number;
        else if (strcmp(key, "--density") == 0)
            density = number;
        else if (strcmp(key, "--tokens") == 0)
            tokens = (size_t)number;
        else if (strcmp(key, "--runs") == 0)
            runs = (size_t)number;
        else if (strcmp(key, "--part") == 0)
            part = value;
        else
            fprintf(stderr, "%s is not known\n", key);
    }
    random_seed(&numbers, 1, 0);
    check(sn_context_create(&context, NULL));
    if (strcmp(part, "products") != 0)
        measure_speed(width, layers, density, tokens, runs);
    if (strcmp(part, "speed") != 0)
        measure_products(width);
    sn_context_free(context);
    return 0;
}
