/* Speed of the kernels that work on rows and heads: best of several runs, one thread.
 *   rows [ISA ...]     default: every instruction set of this machine
 *   rows --only NAME [ISA ...]   only operations whose name begins so */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/float_mode.h"
#include "base/random.h"
#include "kernels/kernels.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct arena {
    const struct kernel_table *kernels;
    size_t width; /* channels, elements / PANEL, or tokens of a head */
    size_t k;
    float *x, *y, *z, *w, *small, *kept;
    uint64_t *mask;
    int32_t *target;
    void *scratch;
    struct attention_shape shape;
};

struct operation {
    const char *name;
    void (*run)(struct arena *a);
    void (*prepare)(struct arena *a); /* before each run, not timed; or NULL */
    size_t widths[8];
    double elements, flops; /* per width: elements of the result, operations; flops 0: not shown */
};

static void *bytes(size_t size)
{
    void *block = aligned_alloc(64, (size + 127) / 64 * 64);
    if (!block)
        exit(1);
    memset(block, 0, size);
    return block;
}

static void restore(struct arena *a)
{
    memcpy(a->x, a->kept, a->width * PANEL * sizeof(float));
}

static void run_topk(struct arena *a)
{
    a->kernels->abs_topk(a->x, a->mask, a->width, a->width / 4, a->scratch);
}
static void run_apply_mask(struct arena *a)
{
    a->kernels->apply_mask(a->x, a->mask, a->width);
}
static void run_rms(struct arena *a)
{
    a->kernels->rms_norm(a->y, a->small, a->x, a->w, a->width);
}
static void run_rms_backward(struct arena *a)
{
    a->kernels->rms_norm_backward(a->y, a->small + PANEL, a->z, a->x, a->small, a->w, a->width);
}
static void run_layer(struct arena *a)
{
    a->kernels->layer_norm(a->y, a->small, a->small + PANEL, a->x, a->w, a->w, a->width);
}
static void run_layer_backward(struct arena *a)
{
    float *out = a->small + 2 * PANEL;
    a->kernels->layer_norm_backward(a->y, out, out + a->width, a->z, a->x, a->small, a->small + PANEL,
                                    a->w, a->width);
}
static void run_gelu(struct arena *a)
{
    a->kernels->gelu(a->y, a->x, a->width * PANEL);
}
static void run_gelu_backward(struct arena *a)
{
    a->kernels->gelu_backward(a->y, a->z, a->x, a->width * PANEL);
}
static void run_relu(struct arena *a)
{
    a->kernels->relu(a->y, a->x, a->width * PANEL);
}
static void run_add(struct arena *a)
{
    a->kernels->add(a->y, a->x, a->width * PANEL);
}
static void run_transpose(struct arena *a)
{
    a->kernels->transpose(a->y, PANEL, a->x, a->width, PANEL, a->width);
}
static void run_cross_entropy(struct arena *a)
{
    a->kernels->cross_entropy(a->small, a->small + PANEL, a->x, a->target, a->width);
}
static void run_cross_entropy_backward(struct arena *a)
{
    a->kernels->cross_entropy_backward(a->x, a->small + PANEL, a->target, a->width, 0.1f);
}
static void run_adamw(struct arena *a)
{
    a->kernels->adamw(a->x, a->y, a->kept, a->z, a->width * PANEL, 1, 1e-3f, 1, 0.9f, 0.95f, 1, 1, 0.1f);
}
static void run_squares(struct arena *a)
{
    a->small[0] = (float)a->kernels->sum_of_squares(a->x, a->width * PANEL);
}
static void run_attention(struct arena *a)
{
    size_t n = a->shape.d_head * a->shape.stride;
    a->kernels->attention(a->y, a->small, a->x, a->x + n, a->x + 2 * n, &a->shape, a->scratch);
}
static void run_attention_backward(struct arena *a)
{
    size_t n = a->shape.d_head * a->shape.stride;
    a->kernels->attention_backward(a->z, a->z + n, a->z + 2 * n, a->w, a->kept, a->y, a->x, a->x + n,
                                   a->x + 2 * n, a->small, &a->shape, a->scratch);
}

static void set_shape(struct arena *a)
{
    size_t stride = (a->width + ATTENTION_TILE - 1) / ATTENTION_TILE * ATTENTION_TILE;
    a->shape = (struct attention_shape){
        .n_tokens = a->width, .stride = stride, .d_head = 16, .scale = 0.25f, .has_sink = 1};
}

/* A tenth of the entries nonzero, and the last 8 tokens padding. */
static void sparse_input(struct arena *a)
{
    for (size_t i = 0; i < a->width * PANEL; i++)
        a->x[i] = i % PANEL >= PANEL - 8 || (i * 2654435761u >> 16) % 10 ? 0 : a->kept[i];
}

static const struct operation operations[] = {
    {"abs_topk", run_topk, restore, {128, 256, 512, 1024, 2048, 8192}, PANEL, 0},
    {"abs_topk_sparse", run_topk, sparse_input, {128, 512, 2048, 8192}, PANEL, 0},
    {"apply_mask", run_apply_mask, NULL, {128, 2048}, PANEL, 0},
    {"rms_norm", run_rms, NULL, {128, 2048}, PANEL, 0},
    {"rms_norm_backward", run_rms_backward, NULL, {128, 2048}, PANEL, 0},
    {"layer_norm", run_layer, NULL, {128, 2048}, PANEL, 0},
    {"layer_norm_backward", run_layer_backward, NULL, {128, 2048}, PANEL, 0},
    {"gelu", run_gelu, NULL, {64, 8192}, PANEL, 0},
    {"gelu_backward", run_gelu_backward, NULL, {64, 8192}, PANEL, 0},
    {"relu", run_relu, NULL, {64, 8192}, PANEL, 0},
    {"add", run_add, NULL, {64, 8192}, PANEL, 0},
    {"transpose", run_transpose, NULL, {64, 2048}, PANEL, 0},
    {"cross_entropy", run_cross_entropy, NULL, {512, 2048}, PANEL, 0},
    {"cross_entropy_backward", run_cross_entropy_backward, NULL, {512, 2048}, PANEL, 0},
    {"adamw", run_adamw, NULL, {64, 8192}, PANEL, 0},
    {"sum_of_squares", run_squares, NULL, {64, 8192}, PANEL, 0},
    /* two products of T x T x 16, the causal half of them useful */
    {"attention", run_attention, set_shape, {32, 64, 128, 256, 1024}, 1, 32},
    {"attention_backward", run_attention_backward, set_shape, {32, 64, 128, 256, 1024}, 1, 80},
};

static struct arena arena_create(const struct kernel_table *kernels, size_t width)
{
    struct random_state random;
    size_t n = (width < 1024 ? 1024 : width) * PANEL + 64;
    struct arena a = {.kernels = kernels, .width = width};
    float **arrays[] = {&a.x, &a.y, &a.z, &a.w, &a.small, &a.kept};
    random_seed(&random, 1, 0);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        *arrays[i] = bytes(n * sizeof(float));
        for (size_t j = 0; j < n; j++)
            (*arrays[i])[j] = i == 4 ? 0.01f : (float)random_normal(&random);
    }
    for (size_t j = 0; j < n; j++)
        a.kept[j] = fabsf(a.kept[j]);
    a.mask = bytes(width * sizeof *a.mask);
    a.target = bytes(PANEL * sizeof *a.target);
    set_shape(&a);
    size_t size = attention_backward_scratch(&a.shape), topk = abs_topk_scratch(width);
    a.scratch = bytes(size > topk ? size : topk);
    return a;
}

static void arena_free(struct arena *a)
{
    void *blocks[] = {a->x, a->y, a->z, a->w, a->small, a->kept, a->mask, a->target, a->scratch};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        free(blocks[i]);
}

/* Best time of one run in seconds, over about 60 ms. */
static double measure(const struct operation *operation, struct arena *a)
{
    double best = 1e9, end = now() + 0.06;
    for (int i = 0; i < 5 || now() < end; i++) {
        if (operation->prepare)
            operation->prepare(a);
        double start = now();
        operation->run(a);
        double time = now() - start;
        best = time < best ? time : best;
    }
    return best;
}

static void bench(const struct kernel_table *kernels, const char *only)
{
    for (size_t o = 0; o < sizeof operations / sizeof *operations; o++) {
        const struct operation *operation = &operations[o];
        if (only && strncmp(operation->name, only, strlen(only)) != 0)
            continue;
        for (size_t i = 0; i < 8 && operation->widths[i]; i++) {
            size_t width = operation->widths[i];
            struct arena a = arena_create(kernels, width);
            double seconds = measure(operation, &a);
            if (operation->flops > 0)
                printf("%-9s %-22s T %5zu, d_head 16: %8.1f us %6.1f GF/s\n", kernels->name,
                       operation->name, width, 1e6 * seconds,
                       1e-9 * operation->flops * (double)width * (double)(width + 1) / seconds);
            else
                printf("%-9s %-22s width %5zu: %6.3f ns/element\n", kernels->name, operation->name,
                       width, 1e9 * seconds / (operation->elements * (double)width));
            arena_free(&a);
        }
    }
}

int main(int argc, char **argv)
{
    static char *all[] = {"portable", "avx2", "avx512"};
    const char *only = NULL;
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "--only") == 0) {
        only = argv[2];
        first = 3;
    }
    char **names = argc > first ? argv + first : all;
    int n_names = argc > first ? argc - first : 3;
    float_mode saved = float_mode_flush();
    for (int i = 0; i < n_names; i++)
        if (kernels_by_name(names[i]))
            bench(kernels_by_name(names[i]), only);
    float_mode_restore(saved);
    return 0;
}
