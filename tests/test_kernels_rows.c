/* Selection, norms, activations, loss, attention, optimizer: every instruction set against the naive
 * kernels, and every backward against finite differences of the naive forward. */
#include "kernel_cases.h"

#define PANEL_FLOATS(width) ((width)*PANEL)

/* |actual - expected| <= tolerance * max(max |expected|, floor): for results that are small differences
 * of large terms, whose size the floor gives. */
static void compare_floor(const char *what, const float *actual, const float *expected, size_t stride,
                          size_t n, double tolerance, double floor)
{
    double scale = floor;
    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs((double)expected[i * stride]));
    for (size_t i = 0; i < n; i++) {
        double a = actual[i * stride], e = expected[i * stride];
        if (!(fabs(a - e) <= tolerance * scale + 1e-30))
            ck_abort_msg("%s: %s[%zu] is %.9g, expected %.9g (scale %.3g)", case_state.label, what, i, a,
                         e, scale);
    }
}

/* A panel token by token; floors, one per token, or NULL and the same for all. */
static void compare_tokens(const char *what, const float *actual, const float *expected, size_t width,
                           double tolerance, const float *floors, double floor)
{
    char name[64];
    for (size_t t = 0; t < PANEL; t++) {
        snprintf(name, sizeof name, "token %zu of %s", t, what);
        compare_floor(name, actual + t, expected + t, PANEL, width, tolerance,
                      floors ? (double)floors[t] : floor);
    }
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* ------------------------------------------------------------------ selection */

enum {
    TOPK_NORMAL,
    TOPK_SPARSE,
    TOPK_TIES,
    TOPK_CONSTANT,
    TOPK_ZERO,
    TOPK_SPECIAL,
    TOPK_STEPS,
    TOPK_MIXED
};

static float topk_value(size_t kind, size_t t)
{
    static const float special[] = {0.0f,  -0.0f,   1e-42f,   -1e-42f,   1.0f,        -1.0f,
                                    3e38f, -3e-38f, INFINITY, -INFINITY, 0x1.0p-126f, 2e-45f};
    struct random_state *random = &case_state.random;
    switch (kind == TOPK_MIXED ? t % TOPK_MIXED : kind) {
    case TOPK_NORMAL: return (float)random_normal(random);
    case TOPK_SPARSE: return random_uniform(random) < 0.9 ? 0 : (float)random_normal(random);
    case TOPK_TIES: return (float)random_below(random, 7) - 3;
    case TOPK_CONSTANT: return 0.5f;
    case TOPK_ZERO: return 0;
    case TOPK_STEPS:
        return (float)ldexp(random_normal(random), (int)(t / 8 * 5 % 17)); /* token groups */
    default: return special[random_below(random, sizeof special / sizeof *special)];
    }
}

/* shape: width, k, kind */
static void check_abs_topk(const struct kernel_table *kernels, const struct kernel_table *reference,
                           const size_t shape[4])
{
    size_t width = shape[0], k = shape[1], n = PANEL_FLOATS(width);
    float *x = case_floats(n);
    for (size_t i = 0; i < n; i++)
        x[i] = topk_value(shape[2], i % PANEL);
    float *expected = case_copy(x, n), *dx = case_random(n, 1), *dx_expected = case_copy(dx, n);
    uint64_t *mask = case_bytes(width * sizeof *mask), *mask_expected = case_bytes(width * sizeof *mask);
    memset(mask, 0xFF, width * sizeof *mask);
    reference->abs_topk(expected, mask_expected, width, k, NULL);
    CASE_TIMED(kernels, abs_topk, x, mask, width, k, case_bytes(abs_topk_scratch(width)));
    case_compare_bytes("mask", mask, mask_expected, width * sizeof *mask);
    case_compare_bytes("x", x, expected, n * sizeof *x);
    CASE_TIMED(kernels, apply_mask, dx, mask, width);
    reference->apply_mask(dx_expected, mask_expected, width);
    case_compare_bytes("dx", dx, dx_expected, n * sizeof *dx);
}

/* ---------------------------------------------------------------------- norms */

/* Random tokens, the first five of them zero, constant, tiny, huge, and far from zero. */
static float *norm_input(size_t width, size_t kind)
{
    float *x = case_random(PANEL_FLOATS(width), 1);
    for (size_t c = 0; c < width && kind == 0; c++) {
        x[c * PANEL] = 0;
        x[c * PANEL + 1] = 3;
        x[c * PANEL + 2] *= 1e-6f;
        x[c * PANEL + 3] *= 1e15f;
        x[c * PANEL + 4] += 1000;
    }
    return x;
}

struct norm_loss {
    const struct kernel_table *reference;
    float *x, *weight, *bias, *dy, *y;
    size_t width;
};

static double rms_norm_loss(void *payload)
{
    struct norm_loss *l = payload;
    float inverse[PANEL];
    l->reference->rms_norm(l->y, inverse, l->x, l->weight, l->width);
    return dot(l->y, l->dy, PANEL_FLOATS(l->width));
}

static double layer_norm_loss(void *payload)
{
    struct norm_loss *l = payload;
    float inverse[PANEL], mean[PANEL];
    l->reference->layer_norm(l->y, mean, inverse, l->x, l->weight, l->bias, l->width);
    return dot(l->y, l->dy, PANEL_FLOATS(l->width));
}

static float *difference(const float *a, const float *b, size_t n)
{
    float *d = case_floats(n);
    for (size_t i = 0; i < n; i++)
        d[i] = a[i] - b[i];
    return d;
}

/* shape: width, kind (0 with odd tokens; 1 plain, and then finite differences) */
static void check_rms_norm(const struct kernel_table *kernels, const struct kernel_table *reference,
                           const size_t shape[4])
{
    size_t width = shape[0], n = PANEL_FLOATS(width);
    float *x = norm_input(width, shape[1]), *weight = case_random(width, 1), *dy = case_random(n, 1);
    float *y = case_floats(n), *inverse = case_floats(PANEL), *dweight = case_random(width, 1);
    float *y2 = case_floats(n), *inverse2 = case_floats(PANEL), *dweight2 = case_floats(width);
    float *start = case_random(n, shape[1] ? 0 : 1e-3), *dx = case_copy(start, n);
    float *dx2 = case_copy(start, n);
    CASE_TIMED(kernels, rms_norm, y, inverse, x, weight, width);
    reference->rms_norm(y2, inverse2, x, weight, width);
    compare_tokens("y", y, y2, width, 2e-6, NULL, 0);
    compare_tokens("inverse", inverse, inverse2, 1, 2e-6, NULL, 0);
    CASE_TIMED(kernels, rms_norm_backward, dx, dweight, dy, x, inverse2, weight, width);
    reference->rms_norm_backward(dx2, dweight2, dy, x, inverse2, weight, width);
    compare_tokens("dx", dx, dx2, width, 1e-5, inverse2, 0);
    case_compare("dweight", dweight, dweight2, width, 1e-5);
    if (shape[1]) {
        struct norm_loss loss = {reference, x, weight, NULL, dy, y, width};
        case_check_gradient("x", rms_norm_loss, &loss, x, difference(dx, start, n), n, 1e-2, 2e-3);
        case_check_gradient("weight", rms_norm_loss, &loss, weight, dweight, width, 1e-2, 2e-3);
    }
}

/* shape: width, kind as above, has bias */
static void check_layer_norm(const struct kernel_table *kernels, const struct kernel_table *reference,
                             const size_t shape[4])
{
    size_t width = shape[0], n = PANEL_FLOATS(width);
    float *x = norm_input(width, shape[1]), *weight = case_random(width, 1), *dy = case_random(n, 1);
    float *bias = shape[2] ? case_random(width, 1) : NULL;
    float *y = case_floats(n), *mean = case_floats(PANEL), *inverse = case_floats(PANEL);
    float *y2 = case_floats(n), *mean2 = case_floats(PANEL), *inverse2 = case_floats(PANEL);
    float *dweight = case_random(width, 1), *dweight2 = case_floats(width);
    float *dbias = shape[2] ? case_random(width, 1) : NULL,
          *dbias2 = shape[2] ? case_floats(width) : NULL;
    float *start = case_random(n, shape[1] ? 0 : 1e-3), *dx = case_copy(start, n);
    float *dx2 = case_copy(start, n);
    CASE_TIMED(kernels, layer_norm, y, mean, inverse, x, weight, bias, width);
    reference->layer_norm(y2, mean2, inverse2, x, weight, bias, width);
    compare_tokens("y", y, y2, width, 1e-4, NULL, 1); /* token 4 loses digits to its mean */
    compare_tokens("inverse", inverse, inverse2, 1, 1e-4, NULL, 0);
    CASE_TIMED(kernels, layer_norm_backward, dx, dweight, dbias, dy, x, mean2, inverse2, weight, width);
    reference->layer_norm_backward(dx2, dweight2, dbias2, dy, x, mean2, inverse2, weight, width);
    compare_tokens("dx", dx, dx2, width, 1e-5, inverse2, 0);
    case_compare("dweight", dweight, dweight2, width, 1e-5);
    if (bias)
        case_compare("dbias", dbias, dbias2, width, 1e-5);
    if (shape[1] && width > 2) { /* of two channels the normalised ones are +-1: no gradient to see */
        struct norm_loss loss = {reference, x, weight, bias, dy, y, width};
        case_check_gradient("x", layer_norm_loss, &loss, x, dx, n, 3e-3, 1e-2);
        case_check_gradient("weight", layer_norm_loss, &loss, weight, dweight, width, 1e-2, 2e-3);
        if (bias)
            case_check_gradient("bias", layer_norm_loss, &loss, bias, dbias, width, 1e-2, 2e-3);
    }
}

/* ----------------------------------------------------------------- elementwise */

struct gelu_loss {
    const struct kernel_table *reference;
    float *x, *dy, *y;
    size_t n;
};

static double gelu_loss(void *payload)
{
    struct gelu_loss *l = payload;
    l->reference->gelu(l->y, l->x, l->n);
    return dot(l->y, l->dy, l->n);
}

/* An even sweep of [-12, 12], then zeros, tiny and large values. */
static float *sweep(size_t n)
{
    static const float odd[] = {0.0f, -0.0f, 1e-6f, -1e-6f, 1e15f, -1e15f, 90.0f, -90.0f};
    float *x = case_floats(n);
    for (size_t i = 0; i < n; i++)
        x[i] = i % 5 == 4 ? odd[i / 5 % 8] : (float)(24.0 * (double)i / (double)n - 12.0);
    return x;
}

/* shape: n, a multiple of 16 */
static void check_gelu(const struct kernel_table *kernels, const struct kernel_table *reference,
                       const size_t shape[4])
{
    size_t n = shape[0];
    float *x = sweep(n), *y = case_floats(n), *y2 = case_floats(n);
    float *dy = case_random(n, 1), *dx = case_copy(dy, n), *dx2 = case_floats(n);
    CASE_TIMED(kernels, gelu, y, x, n);
    reference->gelu(y2, x, n);
    for (size_t i = 0; i < n; i++) /* erf is good to 2.5e-7 of 1 */
        compare_floor("y", y + i, y2 + i, 1, 1, 2.5e-7, fmax(0.01, fabs((double)x[i])));
    float *in_place = case_copy(x, n);
    CASE_TIMED(kernels, gelu, in_place, in_place, n);
    case_compare_bytes("y in place", in_place, y, n * sizeof *y);
    CASE_TIMED(kernels, gelu_backward, dx, dx, x, n);
    reference->gelu_backward(dx2, dy, x, n);
    case_compare("dx", dx, dx2, n, 5e-7);
    float *plain = case_random(n, 1.5);
    struct gelu_loss loss = {reference, plain, dy, y, n};
    CASE_TIMED(kernels, gelu_backward, dx, dy, plain, n);
    case_check_gradient("x", gelu_loss, &loss, plain, dx, n, 1e-2, 2e-3);
}

static void check_relu(const struct kernel_table *kernels, const struct kernel_table *reference,
                       const size_t shape[4])
{
    size_t n = shape[0];
    float *x = sweep(n), *y = case_floats(n), *y2 = case_floats(n);
    float *dy = case_random(n, 1), *dx = case_floats(n), *dx2 = case_floats(n);
    x[n / 2] = NAN;
    CASE_TIMED(kernels, relu, y, x, n);
    reference->relu(y2, x, n);
    ck_assert_msg(isnan(y[n / 2]), "%s: NaN vanished", case_state.label);
    y[n / 2] = y2[n / 2] = x[n / 2] = 0;
    case_compare("y", y, y2, n, 0);
    CASE_TIMED(kernels, relu_backward, dx, dy, x, n);
    reference->relu_backward(dx2, dy, x, n);
    case_compare_bytes("dx", dx, dx2, n * sizeof *dx);
    float *sum = case_copy(y, n), *sum2 = case_copy(y, n);
    CASE_TIMED(kernels, add, sum, dy, n);
    reference->add(sum2, dy, n);
    case_compare_bytes("sum", sum, sum2, n * sizeof *sum);
}

/* shape: rows, tokens, share of zeros in percent */
static void check_gate(const struct kernel_table *kernels, const struct kernel_table *reference,
                       const size_t shape[4])
{
    size_t rows = shape[0], n = shape[1], size = rows * PANEL, kept_size = gate_kept_bytes(rows);
    float *dx = case_random(size, 1), *x = case_random(size, 1), *pick = case_random(size, 1);
    float *mean = case_random(rows, 1), *sum = case_random(rows, 1), *sum2 = case_copy(sum, rows);
    float *mask = case_floats(rows), *dx2 = case_copy(dx, size);
    void *kept = case_floats(kept_size / sizeof(float)), *kept2 = case_floats(size);
    for (size_t i = 0; i < size; i++)
        if (fabsf(pick[i]) * 100 < (float)shape[2])
            x[i] = 0;
    for (size_t r = 0; r < rows; r++) {
        mask[r] = r % 4 == 3 ? 0.25f : r % 2 ? 1 : 0;
        for (size_t t = n; t < PANEL; t++)
            x[r * PANEL + t] = mask[r] == 0 ? NAN : 3; /* not looked at */
    }
    float *x2 = case_copy(x, size), *again = case_copy(x, size), *again2 = case_copy(x, size);
    CASE_TIMED(kernels, gate, x, kept, mask, mean, rows);
    reference->gate(x2, kept2, mask, mean, rows);
    case_compare("x", x, x2, size, 1e-6);
    CASE_TIMED(kernels, gate_backward, sum, dx, kept, mask, mean, rows, n);
    reference->gate_backward(sum2, dx2, kept2, mask, mean, rows, n);
    case_compare("sum", sum, sum2, rows, 2e-5);
    case_compare_bytes("dx", dx, dx2, size * sizeof *dx);
    kernels->gate(again, NULL, mask, mean, rows);
    reference->gate(again2, NULL, mask, mean, rows);
    case_compare("nothing kept", again, again2, size, 1e-6);
}

/* shape: rows, floats, extra stride */
static void check_move_rows(const struct kernel_table *kernels, const struct kernel_table *reference,
                            const size_t shape[4])
{
    size_t rows = shape[0], n = shape[1], to_stride = n + shape[2], from_stride = n + 2 * shape[2];
    float *from = case_random(rows * from_stride, 1);
    float *to = case_random(rows * to_stride, 1), *to2 = case_copy(to, rows * to_stride);
    CASE_TIMED(kernels, move_rows, to, to_stride, from, from_stride, rows, n, 0);
    reference->move_rows(to2, to_stride, from, from_stride, rows, n, 0);
    case_compare_bytes("moved", to, to2, rows * to_stride * sizeof *to);
    kernels->move_rows(to, to_stride, from, from_stride, rows, n, 1);
    reference->move_rows(to2, to_stride, from, from_stride, rows, n, 1);
    case_compare_bytes("added", to, to2, rows * to_stride * sizeof *to);
}

/* shape: rows, columns, extra stride */
static void check_transpose(const struct kernel_table *kernels, const struct kernel_table *reference,
                            const size_t shape[4])
{
    size_t rows = shape[0], cols = shape[1], from_stride = cols + shape[2], to_stride = rows + shape[2];
    float *from = case_random(rows * from_stride, 1);
    float *to = case_random(cols * to_stride, 1), *to2 = case_copy(to, cols * to_stride);
    CASE_TIMED(kernels, transpose, to, to_stride, from, from_stride, rows, cols);
    reference->transpose(to2, to_stride, from, from_stride, rows, cols);
    case_compare_bytes("to", to, to2, cols * to_stride * sizeof *to);
}

/* shape: n */
static void check_adamw(const struct kernel_table *kernels, const struct kernel_table *reference,
                        const size_t shape[4])
{
    size_t n = shape[0];
    float *weight = case_random(n, 1), *weight2 = case_copy(weight, n);
    float *m = case_random(n, 0.1), *m2 = case_copy(m, n), *v = case_floats(n), *v2 = case_floats(n);
    float beta1 = 0.9f, beta2 = 0.95f, power1 = 1, power2 = 1;
    for (int step = 0; step < 4; step++) {
        float *gradient = case_random(n, step == 2 ? 1e-4 : 30);
        power1 *= beta1, power2 *= beta2;
        float correction1 = 1 / (1 - power1), correction2 = 1 / (1 - power2);
        float epsilon = step == 3 ? 1e-8f : 0.1f;
        CASE_TIMED(kernels, adamw, weight, m, v, gradient, n, 0.5f, 1e-2f, 0.999f, beta1, beta2,
                   correction1, correction2, epsilon);
        reference->adamw(weight2, m2, v2, gradient, n, 0.5f, 1e-2f, 0.999f, beta1, beta2, correction1,
                         correction2, epsilon);
    }
    case_compare("weight", weight, weight2, n, 1e-6);
    case_compare("m", m, m2, n, 1e-6);
    case_compare("v", v, v2, n, 1e-6);
    double sum = kernels->sum_of_squares(weight, n), expected = reference->sum_of_squares(weight, n);
    ck_assert_msg(fabs(sum - expected) <= 1e-13 * expected,
                  "%s: sum of squares is %.17g, expected %.17g", case_state.label, sum, expected);
    double portable = kernels_by_name("portable")->sum_of_squares(weight, n);
    ck_assert_msg(sum == portable, "%s: sum of squares depends on the instruction set",
                  case_state.label);
}

/* ------------------------------------------------------------------------ loss */

struct loss_loss {
    const struct kernel_table *reference;
    float *logits;
    const int32_t *target;
    size_t classes;
};

static double loss_sum(void *payload)
{
    struct loss_loss *l = payload;
    float loss[PANEL], lse[PANEL];
    double sum = 0;
    l->reference->cross_entropy(loss, lse, l->logits, l->target, l->classes);
    for (size_t t = 0; t < PANEL; t++)
        sum += (double)loss[t];
    return 0.25 * sum;
}

/* shape: classes, spread of the logits */
static void check_cross_entropy(const struct kernel_table *kernels, const struct kernel_table *reference,
                                const size_t shape[4])
{
    size_t classes = shape[0], n = PANEL_FLOATS(classes);
    double spread = (double)shape[1];
    float *logits = case_random(n, spread), *logits2 = case_copy(logits, n),
          *kept = case_copy(logits, n);
    int32_t *target = case_bytes(PANEL * sizeof *target);
    for (size_t t = 0; t < PANEL; t++)
        target[t] = t % 5 == 3 ? -1 : (int32_t)random_below(&case_state.random, classes);
    float *loss = case_floats(PANEL), *lse = case_floats(PANEL);
    float *loss2 = case_floats(PANEL), *lse2 = case_floats(PANEL);
    CASE_TIMED(kernels, cross_entropy, loss, lse, logits, target, classes);
    reference->cross_entropy(loss2, lse2, logits, target, classes);
    compare_tokens("loss", loss, loss2, 1, 2e-6, NULL, 1);
    compare_tokens("lse", lse, lse2, 1, 2e-6, NULL, 1);
    CASE_TIMED(kernels, cross_entropy_backward, logits, lse2, target, classes, 0.25f);
    reference->cross_entropy_backward(logits2, lse2, target, classes, 0.25f);
    compare_tokens("logits", logits, logits2, classes, 4e-7 * (1 + spread), NULL, 0.25);
    if (spread < 10) {
        struct loss_loss payload = {reference, kept, target, classes};
        case_check_gradient("logits", loss_sum, &payload, kept, logits, n, 2e-2, 2e-3);
    }
}

/* ------------------------------------------------------------------- attention */

struct attention_case {
    const struct kernel_table *kernels;
    struct attention_shape shape;
    size_t n;
    float *q, *k, *v, *dy, *y, *lse, *dq, *dk, *dv;
    float dsink;
    void *scratch, *backward_scratch;
};

static void attention_run(struct attention_case *a)
{
    CASE_TIMED(a->kernels, attention, a->y, a->lse, a->q, a->k, a->v, &a->shape, a->scratch);
    CASE_TIMED(a->kernels, attention_backward, a->dq, a->dk, a->dv, &a->dsink, a->dy, a->y, a->q, a->k,
               a->v, a->lse, &a->shape, a->backward_scratch);
}

static float *attention_input(const struct attention_shape *shape, double scale)
{
    float *x = case_random(shape->d_head * shape->stride, scale);
    for (size_t d = 0; d < shape->d_head; d++)
        for (size_t t = shape->n_tokens; t < shape->stride; t++)
            x[d * shape->stride + t] = 0;
    return x;
}

static void attention_outputs(struct attention_case *a)
{
    a->y = case_random(a->n, 1);
    a->lse = case_random(a->shape.stride, 1);
    a->dq = case_random(a->n, 1);
    a->dk = case_random(a->n, 1);
    a->dv = case_random(a->n, 1);
    a->scratch = case_bytes(attention_scratch(&a->shape));
    a->backward_scratch = case_bytes(attention_backward_scratch(&a->shape));
}

static double attention_loss(void *payload)
{
    struct attention_case *a = payload;
    CASE_TIMED(a->kernels, attention, a->y, a->lse, a->q, a->k, a->v, &a->shape, a->scratch);
    return dot(a->y, a->dy, a->n);
}

static void attention_compare(const struct attention_case *a, const struct attention_case *b,
                              double tolerance)
{
    compare_floor("y", a->y, b->y, 1, a->n, tolerance, 0.1);
    case_compare("lse", a->lse, b->lse, a->shape.stride, 2e-6);
    compare_floor("dq", a->dq, b->dq, 1, a->n, tolerance, 0.1);
    compare_floor("dk", a->dk, b->dk, 1, a->n, tolerance, 0.1);
    compare_floor("dv", a->dv, b->dv, 1, a->n, tolerance, 0.1);
    compare_floor("dsink", &a->dsink, &b->dsink, 1, 1, 10 * tolerance, 0.1);
    for (size_t t = a->shape.n_tokens; t < a->shape.stride; t++)
        ck_assert_msg(a->y[t] == 0 && a->dq[t] == 0 && a->lse[t] == 0,
                      "%s: padding of token %zu not zero", case_state.label, t);
}

/* Queries in front of `first` are not looked at: the others are as they were, and so is all that
 * hangs on them alone. */
static void attention_later_queries(struct attention_case a, struct attention_case r, size_t first)
{
    size_t stride = r.shape.stride, d_head = r.shape.d_head;
    r.dy = case_bytes(r.n * sizeof *r.dy);
    for (size_t i = 0; i < r.n; i++)
        r.dy[i] = i % stride < first ? 0 : a.dy[i];
    a.dy = r.dy;
    a.shape.first_query = r.shape.first_query = first;
    attention_outputs(&r);
    attention_outputs(&a);
    attention_run(&r);
    attention_run(&a);
    for (size_t d = 0; d < d_head && first < stride; d++)
        compare_floor("later y", a.y + d * stride + first, r.y + d * stride + first, 1, stride - first,
                      1e-5, 0.1);
    compare_floor("later dq", a.dq, r.dq, 1, a.n, 1e-5, 0.1);
    compare_floor("later dk", a.dk, r.dk, 1, a.n, 1e-5, 0.1);
    compare_floor("later dv", a.dv, r.dv, 1, a.n, 1e-5, 0.1);
    compare_floor("later dsink", &a.dsink, &r.dsink, 1, 1, 1e-4, 0.1);
}

static void attention_differences(struct attention_case *r, struct attention_case *a)
{
    case_check_gradient("q", attention_loss, r, r->q, a->dq, r->n, 1e-2, 3e-3);
    case_check_gradient("k", attention_loss, r, r->k, a->dk, r->n, 1e-2, 3e-3);
    case_check_gradient("v", attention_loss, r, r->v, a->dv, r->n, 1e-2, 3e-3);
    if (r->shape.has_sink)
        case_check_gradient("sink", attention_loss, r, &r->shape.sink, &a->dsink, 1, 1e-2, 3e-3);
}

/* shape: tokens, d_head, sink (0 none, 1 at 0.5, 2 at 90, 3 at -50), scale of q */
static void check_attention(const struct kernel_table *kernels, const struct kernel_table *reference,
                            const size_t shape[4])
{
    static const float sinks[] = {0, 0.5f, 90, -50};
    struct attention_shape s = {.n_tokens = shape[0], .d_head = shape[1]};
    s.stride = (s.n_tokens + ATTENTION_TILE - 1) / ATTENTION_TILE * ATTENTION_TILE;
    s.scale = (float)(1 / sqrt((double)s.d_head));
    s.has_sink = shape[2] != 0;
    s.sink = sinks[shape[2]];
    struct attention_case r = {.kernels = reference, .shape = s, .n = s.d_head * s.stride};
    r.q = attention_input(&s, (double)shape[3]);
    r.k = attention_input(&s, 1);
    r.v = attention_input(&s, 1);
    r.dy = attention_input(&s, 1);
    attention_outputs(&r);
    attention_run(&r);
    double tolerance = shape[3] > 4 ? 1e-4 : 1e-5;
    struct attention_case a = r;
    a.kernels = kernels;
    attention_outputs(&a);
    attention_run(&a);
    attention_compare(&a, &r, tolerance);
    for (size_t later = 1; shape[3] <= 4 && later < 4; later++)
        attention_later_queries(a, r, later * s.n_tokens / 3);
    if (shape[3] <= 4 && s.n_tokens <= 40)
        attention_differences(&r, &a);
}

/* ----------------------------------------------------------------------- table */

static const struct kernel_case cases[] = {
    {"abs_topk",
     check_abs_topk,
     {{2, 1, 0},
      {3, 0, 0},
      {3, 2, 2},
      {31, 7, 1},
      {32, 8, 7},
      {33, 8, 5},
      {64, 16, 4},
      {65, 64, 0},
      {100, 25, 3},
      {128, 32, 0},
      {128, 32, 7},
      {257, 64, 7},
      {512, 1, 0},
      {1024, 256, 1},
      {1024, 256, 7},
      {256, 64, 6},
      {2048, 512, 0},
      {33000, 30, 7}}},
    {"rms_norm",
     check_rms_norm,
     {{1, 0},
      {2, 0},
      {3, 0},
      {13, 1},
      {31, 0},
      {63, 0},
      {64, 0},
      {65, 0},
      {65, 1},
      {129, 0},
      {2048, 0}}},
    {"layer_norm",
     check_layer_norm,
     {{1, 0, 1},
      {2, 0, 0},
      {3, 0, 1},
      {13, 1, 1},
      {31, 0, 0},
      {63, 0, 1},
      {64, 0, 0},
      {65, 0, 1},
      {65, 1, 0},
      {129, 0, 1},
      {2048, 0, 1}}},
    {"gelu", check_gelu, {{16}, {32}, {48}, {64}, {1024}, {100000 / 16 * 16}}},
    {"gate",
     check_gate,
     {{1, 1}, {3, 64, 75}, {2, 3, 100}, {5, 15, 50}, {7, 16}, {4, 33, 75}, {96, 63, 75}, {512, 64, 75}}},
    {"move_rows",
     check_move_rows,
     {{1, 1, 0},
      {3, 64, 0},
      {2, 3, 1},
      {16, 15, 2},
      {7, 16, 48},
      {4, 33, 5},
      {16, 47, 17},
      {16, 63, 1}}},
    {"relu and add", check_relu, {{16}, {32}, {48}, {64}, {4096}}},
    {"transpose",
     check_transpose,
     {{1, 1, 0},
      {1, 9, 0},
      {9, 1, 3},
      {2, 3, 1},
      {7, 8, 0},
      {8, 8, 0},
      {16, 16, 0},
      {15, 17, 2},
      {17, 15, 0},
      {64, 64, 0},
      {33, 65, 5},
      {5, 256, 0},
      {300, 70, 1}}},
    {"adamw", check_adamw, {{1}, {2}, {3}, {15}, {16}, {17}, {31}, {1000}, {4096}}},
    {"cross_entropy",
     check_cross_entropy,
     {{1, 1}, {2, 1}, {3, 2}, {11, 1}, {17, 200}, {63, 3}, {64, 3}, {65, 30}, {512, 2}, {2049, 4}}},
    {"attention",
     check_attention,
     {{1, 1, 0, 1},
      {1, 16, 1, 1},
      {2, 3, 1, 1},
      {3, 5, 0, 2},
      {9, 5, 2, 60},
      {9, 5, 3, 60},
      {31, 16, 1, 1},
      {32, 16, 0, 3},
      {17, 16, 1, 1},
      {33, 16, 1, 1},
      {48, 20, 1, 1},
      {33, 7, 3, 1},
      {64, 16, 2, 1},
      {65, 32, 1, 1},
      {100, 16, 1, 200},
      {100, 5, 0, 300},
      {256, 16, 1, 3},
      {70, 64, 1, 1}}},
};

START_TEST(kernels_agree)
{
    run_kernel_cases(&cases[_i], 1);
}
END_TEST

Suite *kernels_rows_suite(void)
{
    Suite *suite = suite_create("kernels_rows");
    TCase *parity = tcase_create("parity");
    tcase_add_loop_test(parity, kernels_agree, 0, sizeof cases / sizeof *cases);
    suite_add_tcase(suite, parity);
    return suite;
}
