/* Golden single operations: AbsTopK, norms, GELU, attention with and without sink, cross-entropy,
 * magnitude selection. Shapes, formulas and the tolerance stand in the case's meta.json. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/context.h"
#include "golden.h"
#include "kernels/kernels.h"

#define MAX_BLOCKS 256

struct ops {
    FILE *out;
    sn_context *context;
    const struct kernel_table *kernels;
    struct golden_file *file;
    double limit;             /* of the largest value of a row */
    void *blocks[MAX_BLOCKS]; /* freed at the end */
    size_t n_blocks;
    int failures;
};

/* Zeroed, 64-byte aligned, freed with `ops`. */
static void *block(struct ops *ops, size_t size)
{
    size_t whole = (size + 64) / 64 * 64;
    void *made = ops->n_blocks < MAX_BLOCKS ? aligned_alloc(64, whole) : NULL;
    if (!made)
        abort(); /* a test tool */
    memset(made, 0, whole);
    return ops->blocks[ops->n_blocks++] = made;
}

static float *floats(struct ops *ops, size_t n)
{
    return block(ops, n * sizeof(float));
}

static void miss(struct ops *ops, const char *name, const char *why)
{
    fprintf(ops->out, "FAIL %s: %s\n", name, why);
    ops->failures++;
}

/* n values of a tensor; zeros and a failure when it is missing or of another size. */
static float *tensor(struct ops *ops, const char *name, size_t n)
{
    float *values = floats(ops, n);
    struct golden_tensor found;
    float *read = golden_floats(ops->file, name, &found);
    if (read && found.count == n)
        memcpy(values, read, n * sizeof *values);
    else
        miss(ops, name, "missing, or of another size");
    free(read);
    return values;
}

/* got: rows x width, like the tensor. limit 0 compares exactly. */
static void compare(struct ops *ops, const char *name, const float *got, size_t rows, size_t width,
                    double limit)
{
    float *expected = tensor(ops, name, rows * width);
    ops->failures += golden_compare_rows(ops->out, name, got, expected, rows, width, limit);
}

/* [rows][width] to a panel [width][PANEL] of one token per row, and back. */
static float *panel_of(struct ops *ops, const char *name, size_t rows, size_t width)
{
    float *values = tensor(ops, name, rows * width), *panel = floats(ops, width * PANEL);
    for (size_t t = 0; t < rows; t++)
        for (size_t c = 0; c < width; c++)
            panel[c * PANEL + t] = values[t * width + c];
    return panel;
}

static void compare_panel(struct ops *ops, const char *name, const float *panel, size_t rows,
                          size_t width)
{
    float *values = floats(ops, rows * width);
    for (size_t t = 0; t < rows; t++)
        for (size_t c = 0; c < width; c++)
            values[t * width + c] = panel[c * PANEL + t];
    compare(ops, name, values, rows, width, ops->limit);
}

static void check_abs_topk(struct ops *ops)
{
    static const size_t counts[] = {0, 1, 4, 12, 13};
    const size_t rows = 6, width = 13;
    float *x = tensor(ops, "abstopk.x", rows * width), *y = floats(ops, rows * width);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        char name[32];
        snprintf(name, sizeof name, "abstopk.k%zu", counts[i]);
        if (sn_abs_topk(y, ops->context, x, rows, width, counts[i]) == SN_OK)
            compare(ops, name, y, rows, width, 0);
        else
            miss(ops, name, sn_context_message(ops->context));
    }
}

static void check_norms(struct ops *ops)
{
    const struct kernel_table *kernels = ops->kernels;
    const size_t rows = 5, width = 13;
    float *x = panel_of(ops, "norm.x", rows, width), *dy = panel_of(ops, "norm.dy", rows, width);
    float *w = tensor(ops, "norm.w", width), *b = tensor(ops, "norm.b", width);
    float *y = floats(ops, width * PANEL), *dx = floats(ops, width * PANEL);
    float *dw = floats(ops, width), *db = floats(ops, width);
    float *mean = floats(ops, PANEL), *inverse = floats(ops, PANEL);
    kernels->rms_norm(y, inverse, x, w, width);
    kernels->rms_norm_backward(dx, dw, dy, x, inverse, w, width);
    compare_panel(ops, "norm.rms", y, rows, width);
    compare_panel(ops, "norm.rms_dx", dx, rows, width);
    memset(dx, 0, width * PANEL * sizeof *dx);
    kernels->layer_norm(y, mean, inverse, x, w, b, width);
    kernels->layer_norm_backward(dx, dw, db, dy, x, mean, inverse, w, width);
    compare_panel(ops, "norm.layernorm", y, rows, width);
    compare_panel(ops, "norm.layernorm_dx", dx, rows, width);
}

static void check_gelu(struct ops *ops)
{
    const size_t n = 86, whole = 96; /* kernels take multiples of 16 */
    float *x = floats(ops, whole), *y = floats(ops, whole), *dx = floats(ops, whole);
    memcpy(x, tensor(ops, "gelu.x", n), n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        dx[i] = 1;
    ops->kernels->gelu(y, x, whole);
    ops->kernels->gelu_backward(dx, dx, x, whole);
    /* Of 1: as one row, whose largest value is 40, they would pass with errors that models show. */
    ops->failures += golden_compare(ops->out, "gelu.y", y, tensor(ops, "gelu.y", n), n, ops->limit);
    ops->failures +=
        golden_compare(ops->out, "gelu.dy_dx", dx, tensor(ops, "gelu.dy_dx", n), n, ops->limit);
}

/* The loss is the mean over the targets that count. */
static void check_cross_entropy(struct ops *ops)
{
    const size_t rows = 6, width = 11;
    float *logits = panel_of(ops, "xent.logits", rows, width), *given = tensor(ops, "xent.target", rows);
    float *loss = floats(ops, PANEL), *lse = floats(ops, PANEL), mean = 0;
    int32_t target[PANEL];
    float used = 0;
    for (size_t t = 0; t < PANEL; t++) {
        target[t] = t < rows ? (int32_t)given[t] : -1;
        used += target[t] >= 0;
    }
    ops->kernels->cross_entropy(loss, lse, logits, target, width);
    for (size_t t = 0; t < rows; t++)
        mean += loss[t] / used;
    compare(ops, "xent.loss", &mean, 1, 1, ops->limit);
    ops->kernels->cross_entropy_backward(logits, lse, target, width, 1 / used);
    compare_panel(ops, "xent.dlogits", logits, rows, width);
}

/* attn.*: SEQUENCES x TOKENS x (HEADS x D_HEAD) */
enum { SEQUENCES = 2, TOKENS = 9, HEADS = 3, D_HEAD = 5, WIDTH = HEADS * D_HEAD };

/* One head of one sequence as [D_HEAD][stride], and back. */
static float *head_of(struct ops *ops, const float *values, size_t sequence, size_t head)
{
    float *x = floats(ops, D_HEAD * ATTENTION_TILE);
    for (size_t d = 0; d < D_HEAD; d++)
        for (size_t t = 0; t < TOKENS; t++)
            x[d * ATTENTION_TILE + t] = values[(sequence * TOKENS + t) * WIDTH + head * D_HEAD + d];
    return x;
}

static void put_head(float *values, const float *x, size_t sequence, size_t head)
{
    for (size_t d = 0; d < D_HEAD; d++)
        for (size_t t = 0; t < TOKENS; t++)
            values[(sequence * TOKENS + t) * WIDTH + head * D_HEAD + d] = x[d * ATTENTION_TILE + t];
}

struct attention_case {
    float *q, *k, *v, *dy;     /* given */
    float *y, *dq, *dk, *dv;   /* made */
    float *sink, dsink[HEADS]; /* sink: NULL without */
};

static void run_head(struct ops *ops, struct attention_case *c, size_t sequence, size_t head)
{
    struct attention_shape shape = {.n_tokens = TOKENS,
                                    .stride = ATTENTION_TILE,
                                    .d_head = D_HEAD,
                                    .scale = 1 / sqrtf(D_HEAD),
                                    .has_sink = c->sink != NULL,
                                    .sink = c->sink ? c->sink[head] : 0};
    size_t n = D_HEAD * ATTENTION_TILE;
    float *q = head_of(ops, c->q, sequence, head), *k = head_of(ops, c->k, sequence, head);
    float *v = head_of(ops, c->v, sequence, head), *dy = head_of(ops, c->dy, sequence, head);
    float *y = floats(ops, n), *dq = floats(ops, n), *dk = floats(ops, n), *dv = floats(ops, n);
    float *lse = floats(ops, ATTENTION_TILE), dsink = 0;
    ops->kernels->attention(y, lse, q, k, v, &shape, block(ops, attention_scratch(&shape)));
    ops->kernels->attention_backward(dq, dk, dv, &dsink, dy, y, q, k, v, lse, &shape,
                                     block(ops, attention_backward_scratch(&shape)));
    put_head(c->y, y, sequence, head);
    put_head(c->dq, dq, sequence, head);
    put_head(c->dk, dk, sequence, head);
    put_head(c->dv, dv, sequence, head);
    c->dsink[head] += dsink;
}

static void check_attention(struct ops *ops, const char *kind)
{
    const size_t n = SEQUENCES * TOKENS * WIDTH;
    int has_sink = strcmp(kind, "sink") == 0;
    struct attention_case c = {.q = tensor(ops, "attn.q", n),
                               .k = tensor(ops, "attn.k", n),
                               .v = tensor(ops, "attn.v", n),
                               .dy = tensor(ops, "attn.dy", n),
                               .y = floats(ops, n),
                               .dq = floats(ops, n),
                               .dk = floats(ops, n),
                               .dv = floats(ops, n)};
    c.sink = has_sink ? tensor(ops, "attn.sink", HEADS) : NULL;
    for (size_t sequence = 0; sequence < SEQUENCES; sequence++)
        for (size_t head = 0; head < HEADS; head++)
            run_head(ops, &c, sequence, head);
    /* Rows are heads of tokens; but where the softmax is saturated (logits of several hundred) dq and dk of
     * whole tokens are 1e-7 and less, differences of numbers near 1: a row is then all of a sequence. */
    const size_t heads = SEQUENCES * TOKENS * HEADS;
    const struct {
        const char *what;
        const float *got;
        size_t rows;
    } results[] = {
        {"y", c.y, heads}, {"dq", c.dq, SEQUENCES}, {"dk", c.dk, SEQUENCES}, {"dv", c.dv, heads}};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        char name[32];
        snprintf(name, sizeof name, "attn.%s.%s", kind, results[i].what);
        compare(ops, name, results[i].got, results[i].rows, n / results[i].rows, ops->limit);
    }
    if (has_sink)
        compare(ops, "attn.sink.dsink", c.dsink, 1, HEADS, ops->limit);
}

static void check_selection(struct ops *ops)
{
    static const struct {
        const char *name;
        int axis;
        size_t k, minimum;
    } cases[] = {{"mask.axis0_k40_min3", SN_AXIS_COLUMN, 40, 3},
                 {"mask.axis1_k40_min3", SN_AXIS_ROW, 40, 3},
                 {"mask.plain_k20", SN_AXIS_NONE, 20, 0}};
    const size_t rows = 7, cols = 9;
    float *w = tensor(ops, "mask.w", rows * cols), *mask = floats(ops, rows * cols);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char keep[7 * 9] = {0};
        if (sn_magnitude_select(keep, ops->context, w, rows, cols, cases[i].k, cases[i].axis,
                                cases[i].minimum) != SN_OK) {
            miss(ops, cases[i].name, sn_context_message(ops->context));
            continue;
        }
        for (size_t e = 0; e < rows * cols; e++)
            mask[e] = keep[e];
        compare(ops, cases[i].name, mask, 1, rows * cols, 0);
    }
}

/* "2e-5 * max|row| ..." */
static double limit_of(const char *directory)
{
    json_t *meta = golden_meta(directory);
    const char *text = json_string_value(json_object_get(meta, "tolerance"));
    double limit = text ? strtod(text, NULL) : 0;
    json_decref(meta);
    return limit;
}

int golden_check_ops_on(const char *directory, FILE *out, const struct kernel_table *kernels)
{
    struct ops ops = {.out = out, .kernels = kernels, .limit = limit_of(directory)};
    ops.file = golden_open_in(directory, "ops.safetensors");
    if (sn_context_create(&ops.context, NULL) != SN_OK || !ops.file || !(ops.limit > 0)) {
        miss(&ops, directory, "no context, or ops.safetensors or meta.json is missing");
    } else {
        ops.context->kernels = kernels;
        check_abs_topk(&ops);
        check_norms(&ops);
        check_gelu(&ops);
        check_attention(&ops, "nosink");
        check_attention(&ops, "sink");
        check_cross_entropy(&ops);
        check_selection(&ops);
    }
    for (size_t i = 0; i < ops.n_blocks; i++)
        free(ops.blocks[i]);
    golden_close(ops.file);
    sn_context_free(ops.context);
    return ops.failures;
}

int golden_check_ops(const char *directory, FILE *out)
{
    sn_context *context = NULL;
    if (sn_context_create(&context, NULL) != SN_OK)
        return fprintf(out, "FAIL %s: no context\n", directory) > 0;
    const struct kernel_table *kernels = context->kernels;
    sn_context_free(context);
    return golden_check_ops_on(directory, out, kernels);
}
