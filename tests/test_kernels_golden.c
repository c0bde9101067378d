/* The golden numbers of single operations (o01_ops), on every instruction set. The folder of goldens is
 * found through SPARSENET_SHARED; without it these tests say so and pass. */
#include "kernel_cases.h"

#include "golden_file.h"
#include "kernels/dense.h"

#define TOLERANCE 2e-5 /* of the largest value of a row, as the case's meta.json says */

static struct golden_file *golden;

static void golden_setup(void)
{
    char path[1024];
    golden_path(path, sizeof path, "o01_ops/ops.safetensors");
    golden = golden_open(path);
    if (!golden)
        printf("kernels_golden: no %s, skipped (set SPARSENET_SHARED)\n", path);
}

static void golden_teardown(void)
{
    golden_close(golden);
    golden = NULL;
}

/* A tensor as floats in a buffer of the harness, with its last dimension in *width. */
static float *golden_rows(const char *name, size_t *rows, size_t *width)
{
    struct golden_tensor tensor;
    float *values = golden_floats(golden, name, &tensor);
    ck_assert_msg(values != NULL, "o01_ops has no %s", name);
    *width = tensor.rank ? tensor.shape[tensor.rank - 1] : 1;
    *rows = tensor.count / *width;
    float *copy = case_copy(values, tensor.count);
    free(values);
    return copy;
}

/* [rows][width] as a panel of one token per row, zeros after them. */
static float *golden_panel(const char *name, size_t *rows, size_t *width)
{
    float *values = golden_rows(name, rows, width), *panel = case_floats(*width * PANEL);
    ck_assert_uint_le(*rows, PANEL);
    for (size_t t = 0; t < *rows; t++)
        for (size_t c = 0; c < *width; c++)
            panel[c * PANEL + t] = values[t * *width + c];
    return panel;
}

static void compare_golden(const char *name, const float *panel, double tolerance)
{
    size_t rows, width;
    float *expected = golden_rows(name, &rows, &width), *actual = case_floats(width);
    for (size_t t = 0; t < rows; t++) {
        for (size_t c = 0; c < width; c++)
            actual[c] = panel[c * PANEL + t];
        case_compare(name, actual, expected + t * width, width, tolerance);
    }
}

static void golden_abs_topk(const struct kernel_table *kernels)
{
    static const size_t counts[] = {0, 1, 4, 12};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        char name[32];
        size_t rows, width;
        float *x = golden_panel("abstopk.x", &rows, &width);
        uint64_t *mask = case_bytes(width * sizeof *mask);
        kernels->abs_topk(x, mask, width, counts[i], case_bytes(abs_topk_scratch(width)));
        snprintf(name, sizeof name, "abstopk.k%zu", counts[i]);
        compare_golden(name, x, 0);
    }
}

static void golden_norms(const struct kernel_table *kernels)
{
    size_t rows, width;
    float *x = golden_panel("norm.x", &rows, &width), *dy = golden_panel("norm.dy", &rows, &width);
    float *w = golden_rows("norm.w", &rows, &width), *b = golden_rows("norm.b", &rows, &width);
    size_t n = width * PANEL;
    float *y = case_floats(n), *dx = case_floats(n), *dw = case_floats(width), *db = case_floats(width);
    float *inverse = case_floats(PANEL), *mean = case_floats(PANEL);
    kernels->rms_norm(y, inverse, x, w, width);
    kernels->rms_norm_backward(dx, dw, dy, x, inverse, w, width);
    compare_golden("norm.rms", y, TOLERANCE);
    compare_golden("norm.rms_dx", dx, TOLERANCE);
    memset(dx, 0, n * sizeof *dx);
    kernels->layer_norm(y, mean, inverse, x, w, b, width);
    kernels->layer_norm_backward(dx, dw, db, dy, x, mean, inverse, w, width);
    compare_golden("norm.layernorm", y, TOLERANCE);
    compare_golden("norm.layernorm_dx", dx, TOLERANCE);
}

static void golden_gelu(const struct kernel_table *kernels)
{
    size_t rows, n;
    float *given = golden_rows("gelu.x", &rows, &n), *y2 = golden_rows("gelu.y", &rows, &n);
    float *dx2 = golden_rows("gelu.dy_dx", &rows, &n);
    size_t whole = (n + 15) / 16 * 16;
    float *x = case_floats(whole), *y = case_floats(whole), *dx = case_floats(whole);
    memcpy(x, given, n * sizeof *x);
    for (size_t i = 0; i < whole; i++)
        dx[i] = 1;
    kernels->gelu(y, x, whole);
    kernels->gelu_backward(dx, dx, x, whole);
    case_compare("gelu.y", y, y2, n, TOLERANCE);
    case_compare("gelu.dy_dx", dx, dx2, n, TOLERANCE);
}

/* The loss is the mean over the targets that count. */
static void golden_cross_entropy(const struct kernel_table *kernels)
{
    size_t rows, width, one;
    float *logits = golden_panel("xent.logits", &rows, &width);
    float *expected = golden_rows("xent.loss", &one, &one);
    int32_t *given = golden_integers(golden, "xent.target", NULL), target[PANEL];
    ck_assert_ptr_nonnull(given);
    size_t used = 0;
    for (size_t t = 0; t < PANEL; t++) {
        target[t] = t < rows ? given[t] : -1;
        used += target[t] >= 0;
    }
    free(given);
    float loss[PANEL], lse[PANEL], mean = 0;
    kernels->cross_entropy(loss, lse, logits, target, width);
    for (size_t t = 0; t < rows; t++)
        mean += loss[t] / (float)used;
    case_compare("xent.loss", &mean, expected, 1, TOLERANCE);
    kernels->cross_entropy_backward(logits, lse, target, width, 1 / (float)used);
    compare_golden("xent.dlogits", logits, TOLERANCE);
}

#define HEADS 3 /* attn.* is [2][9][3 heads of 5] */
#define SEQUENCES 2

static const struct attention_shape golden_shape = {
    .n_tokens = 9, .stride = ATTENTION_TILE, .d_head = 5, .scale = 0.44721359549995794f};

/* One head of one sequence of a golden tensor as [d_head][stride]. */
static float *golden_head(const char *name, size_t sequence, size_t head)
{
    const struct attention_shape *s = &golden_shape;
    size_t rows, width;
    float *given = golden_rows(name, &rows, &width), *x = case_floats(s->d_head * s->stride);
    ck_assert_uint_eq(rows, SEQUENCES * s->n_tokens);
    ck_assert_uint_eq(width, HEADS * s->d_head);
    for (size_t d = 0; d < s->d_head; d++)
        for (size_t t = 0; t < s->n_tokens; t++)
            x[d * s->stride + t] = given[(sequence * s->n_tokens + t) * width + head * s->d_head + d];
    return x;
}

/* Relative to the largest value of the sequence: where the softmax is saturated (logits of several
 * hundred) whole tokens have gradients of 1e-7 and less, which are differences of numbers near 1. */
static void compare_head(const char *kind, const char *what, const float *actual, size_t sequence,
                         size_t head)
{
    const struct attention_shape *s = &golden_shape;
    char name[32];
    size_t rows, width;
    snprintf(name, sizeof name, "attn.%s.%s", kind, what);
    const float *expected = golden_rows(name, &rows, &width) + sequence * s->n_tokens * width;
    double scale = 0;
    for (size_t i = 0; i < s->n_tokens * width; i++)
        scale = fmax(scale, fabs((double)expected[i]));
    for (size_t t = 0; t < s->n_tokens; t++)
        for (size_t d = 0; d < s->d_head; d++) {
            double a = actual[d * s->stride + t], e = expected[t * width + head * s->d_head + d];
            ck_assert_msg(fabs(a - e) <= TOLERANCE * scale,
                          "%s: %s of sequence %zu, head %zu, token %zu, channel %zu is %.9g, expected %.9g",
                          case_state.label, name, sequence, head, t, d, a, e);
        }
}

/* Adds the head's gradient of the sink logit to dsink[head]. */
static void golden_attention_head(const struct kernel_table *kernels, const char *kind, size_t sequence,
                                  size_t head, const float *sink, float *dsink)
{
    struct attention_shape s = golden_shape;
    s.has_sink = sink != NULL;
    s.sink = sink ? sink[head] : 0;
    size_t n = s.d_head * s.stride;
    float *q = golden_head("attn.q", sequence, head), *k = golden_head("attn.k", sequence, head);
    float *v = golden_head("attn.v", sequence, head), *dy = golden_head("attn.dy", sequence, head);
    float *y = case_floats(n), *dq = case_floats(n), *dk = case_floats(n), *dv = case_floats(n);
    float *lse = case_floats(s.stride), gradient = 0;
    const struct dense_kernels *dense = dense_kernels_best();
    kernels->attention(y, lse, q, k, v, &s, dense, case_bytes(attention_scratch(&s)));
    kernels->attention_backward(dq, dk, dv, &gradient, dy, y, q, k, v, lse, &s, dense,
                                case_bytes(attention_backward_scratch(&s)));
    compare_head(kind, "y", y, sequence, head);
    compare_head(kind, "dq", dq, sequence, head);
    compare_head(kind, "dk", dk, sequence, head);
    compare_head(kind, "dv", dv, sequence, head);
    dsink[head] += gradient;
}

static void golden_attention_kind(const struct kernel_table *kernels, const char *kind)
{
    for (size_t head = 0; head < HEADS; head++) {
        size_t rows, width;
        float dsink[HEADS] = {0};
        float *sink = strcmp(kind, "sink") == 0 ? golden_rows("attn.sink", &rows, &width) : NULL;
        for (size_t sequence = 0; sequence < SEQUENCES; sequence++)
            golden_attention_head(kernels, kind, sequence, head, sink, dsink);
        if (sink) {
            float *expected = golden_rows("attn.sink.dsink", &rows, &width);
            double scale = 0;
            for (size_t h = 0; h < HEADS; h++)
                scale = fmax(scale, fabs((double)expected[h]));
            ck_assert(fabs((double)dsink[head] - (double)expected[head]) <= TOLERANCE * scale);
        }
        case_end();
    }
}

static void golden_attention(const struct kernel_table *kernels)
{
    golden_attention_kind(kernels, "nosink");
    golden_attention_kind(kernels, "sink");
}

START_TEST(golden_operations)
{
    static const char *const names[] = {"portable", "avx2", "avx512"};
    static const struct {
        const char *name;
        void (*check)(const struct kernel_table *kernels);
    } operations[] = {{"abs_topk", golden_abs_topk},
                      {"norms", golden_norms},
                      {"gelu", golden_gelu},
                      {"cross_entropy", golden_cross_entropy},
                      {"attention", golden_attention}};
    static const size_t no_shape[4] = {0};
    for (size_t i = 0; golden && i < sizeof names / sizeof *names; i++)
        for (size_t o = 0; kernels_by_name(names[i]) && o < sizeof operations / sizeof *operations; o++) {
            case_begin(operations[o].name, names[i], no_shape);
            operations[o].check(kernels_by_name(names[i]));
            case_end();
        }
}
END_TEST

Suite *kernels_golden_suite(void)
{
    Suite *suite = suite_create("kernels_golden");
    TCase *operations = tcase_create("o01_ops");
    tcase_add_checked_fixture(operations, golden_setup, golden_teardown);
    tcase_add_test(operations, golden_operations);
    suite_add_tcase(suite, operations);
    return suite;
}
