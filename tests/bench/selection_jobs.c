/* Selections and attention: exact top-k over weights, AbsTopK on panels, heads with a sink. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* --------------------------------------------------------------- top-k over weights */

struct selection {
    sn_context *context;
    float *weights;
    unsigned char *keep;
    size_t rows, cols, k, minimum;
};

static void run_select(void *state)
{
    struct selection *s = state;
    check(s->context, select_magnitude(s->keep, NULL, s->context, s->weights, s->rows, s->cols, s->k,
                                       s->minimum ? SN_AXIS_ROW : SN_AXIS_NONE, s->minimum));
}

static void close_select(void *state)
{
    struct selection *s = state;
    free(s->weights);
    free(s->keep);
    free(s);
}

static const char *open_select(struct job *job, const struct settings *settings)
{
    struct selection *s = must_allocate(sizeof *s);
    *s = (struct selection){.context = job->context,
                            .rows = setting_size(settings, "rows", 4096),
                            .cols = setting_size(settings, "cols", 1024),
                            .minimum = setting_size(settings, "minimum", 0)};
    size_t n = s->rows * s->cols;
    struct random_state random;
    random_seed(&random, 1, 0);
    s->k = (size_t)(setting(settings, "density", 1.0 / 64) * (double)n);
    s->weights = must_allocate(n * sizeof *s->weights);
    for (size_t i = 0; i < n; i++)
        s->weights[i] = (float)random_normal(&random);
    s->keep = must_allocate(n);
    job->state = s;
    job->run = run_select;
    job->close = close_select;
    job->bytes = 5 * (double)n;
    return NULL;
}

/* ------------------------------------------------------------------ AbsTopK on panels */

struct topk {
    const struct kernel_table *kernels;
    size_t width, k, panels;
    float *x, *kept, *gradient;
    uint64_t *mask;
    void *scratch;
};

static void prepare_topk(void *state)
{
    struct topk *t = state;
    memcpy(t->x, t->kept, t->panels * t->width * PANEL * sizeof *t->x);
}

static void run_topk(void *state)
{
    struct topk *t = state;
    for (size_t p = 0; p < t->panels; p++) {
        t->kernels->abs_topk(t->x + p * t->width * PANEL, t->mask + p * t->width, t->width, t->k,
                             t->scratch);
        if (t->gradient)
            t->kernels->apply_mask(t->gradient + p * t->width * PANEL, t->mask + p * t->width, t->width);
    }
}

static void close_topk(void *state)
{
    struct topk *t = state;
    free(t->x);
    free(t->kept);
    free(t->gradient);
    free(t->mask);
    free(t->scratch);
    free(t);
}

static const char *open_topk(struct job *job, const struct settings *settings)
{
    struct topk *t = must_allocate(sizeof *t);
    *t = (struct topk){.kernels = job->context->kernels,
                       .width = setting_size(settings, "width", 1024),
                       .panels = setting_size(settings, "tokens", 1024) / PANEL};
    size_t n = t->panels * t->width * PANEL;
    t->k = (size_t)(setting(settings, "share", 0.25) * (double)t->width);
    t->kept = random_floats(n, 1);
    t->x = random_floats(n, 1);
    t->gradient = setting_size(settings, "backward", 0) ? random_floats(n, 2) : NULL;
    t->mask = must_allocate(t->panels * t->width * sizeof *t->mask);
    t->scratch = must_allocate(abs_topk_scratch(t->width));
    job->state = t;
    job->prepare = prepare_topk;
    job->run = run_topk;
    job->close = close_topk;
    job->bytes = 8 * (double)n;
    return NULL;
}

/* -------------------------------------------------------------------------- attention */

struct attention {
    const struct kernel_table *kernels;
    struct attention_shape shape;
    size_t heads, head; /* floats of one array of one head */
    float *q, *k, *v, *y, *dy, *dq, *dk, *dv, *lse;
    void *scratch;
};

static void run_attention(void *state)
{
    struct attention *a = state;
    for (size_t h = 0; h < a->heads; h++) {
        size_t at = h * a->head;
        a->kernels->attention(a->y + at, a->lse + h * a->shape.stride, a->q + at, a->k + at, a->v + at,
                              &a->shape, a->scratch);
    }
}

static void run_attention_backward(void *state)
{
    struct attention *a = state;
    float dsink;
    for (size_t h = 0; h < a->heads; h++) {
        size_t at = h * a->head;
        a->kernels->attention_backward(a->dq + at, a->dk + at, a->dv + at, &dsink, a->dy + at, a->y + at,
                                       a->q + at, a->k + at, a->v + at, a->lse + h * a->shape.stride,
                                       &a->shape, a->scratch);
    }
}

static void close_attention(void *state)
{
    struct attention *a = state;
    float *arrays[] = {a->q, a->k, a->v, a->y, a->dy, a->dq, a->dk, a->dv, a->lse};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
    free(a->scratch);
    free(a);
}

/* sequence: tokens; backward=1: that alone. Two products of T x T x 16, the causal half of them useful;
 * five in the backward, where the softmax is computed anew. */
static const char *open_attention(struct job *job, const struct settings *settings)
{
    struct attention *a = must_allocate(sizeof *a);
    size_t n = setting_size(settings, "sequence", 256), d_head = 16;
    size_t stride = (n + ATTENTION_TILE - 1) / ATTENTION_TILE * ATTENTION_TILE;
    *a = (struct attention){
        .kernels = job->context->kernels,
        .shape = {.n_tokens = n, .stride = stride, .d_head = d_head, .scale = 0.25f, .has_sink = 1},
        .heads = setting_size(settings, "heads", 64),
        .head = d_head * stride};
    float **arrays[] = {&a->q, &a->k, &a->v, &a->y, &a->dy, &a->dq, &a->dk, &a->dv};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        *arrays[i] = random_floats(a->heads * a->head, i);
    a->lse = random_floats(a->heads * stride, 9);
    a->scratch = must_allocate(attention_backward_scratch(&a->shape));
    run_attention(a);
    int backward = setting_size(settings, "backward", 0) != 0;
    job->state = a;
    job->run = backward ? run_attention_backward : run_attention;
    job->close = close_attention;
    job->operations = (backward ? 80.0 : 32.0) * (double)(a->heads * n * (n + 1));
    return NULL;
}

const struct job_kind selection_jobs[] = {
    {"select", "rows cols density minimum (per row, 0: none): exact top-k by magnitude", open_select},
    {"topk", "width tokens share backward: AbsTopK on panels", open_topk},
    {"attention", "sequence heads backward (1: alone): causal, with sink, d_head 16", open_attention},
    {NULL, NULL, NULL}};
