/* The kernels for one token at a time, on every instruction set against the naive ones. */
#include "kernel_cases.h"

#define MODE_BIAS 1

static int drawn(size_t permille)
{
    return random_below(&case_state.random, 1000) < permille;
}

/* A vector in which `permille` of the entries are not zero. */
static float *sparse_vector(size_t n, size_t permille)
{
    float *x = case_floats(n);
    for (size_t i = 0; i < n; i++)
        x[i] = drawn(permille) ? (float)random_normal(&case_state.random) : 0;
    return x;
}

/* ------------------------------------------------------------------- products */

/* shape: rows, columns, permille of the matrix, permille of x. Column 1 is empty. */
static void check_columns(const struct kernel_table *kernels, const struct kernel_table *reference,
                          const size_t shape[4])
{
    size_t rows = shape[0], cols = shape[1];
    uint32_t n = 0, *start = case_bytes((cols + 1) * sizeof *start);
    uint16_t *row = case_bytes(rows * cols * sizeof *row);
    for (size_t c = 0; c < cols; c++) {
        start[c] = n;
        for (size_t r = 0; c != 1 && r < rows; r++)
            if (drawn(shape[2]))
                row[n++] = (uint16_t)r;
    }
    start[cols] = n;
    struct sparse_columns columns = {start, row, case_random(n, 1)};
    float *x = sparse_vector(cols, shape[3]);
    float *y = case_random(rows, 1), *expected = case_copy(y, rows);
    float *values = case_floats(cols);
    uint32_t *active = case_bytes(cols * sizeof *active);
    int not_finite = 0;
    size_t n_active = reference->gather_nonzeros(values, active, &not_finite, x, cols);
    CASE_TIMED(kernels, token_columns, y, &columns, active, values, n_active);
    reference->token_columns(expected, &columns, active, values, n_active);
    case_compare("y", y, expected, rows, 4e-6);
}

/* shape: rows, columns, permille, mode. Row 1 is empty; the first column is 3 of x. */
static void check_rows(const struct kernel_table *kernels, const struct kernel_table *reference,
                       const size_t shape[4])
{
    size_t rows = shape[0], cols = shape[1];
    uint32_t n = 0, *start = case_bytes((rows + 1) * sizeof *start);
    uint16_t *index = case_bytes(rows * cols * sizeof *index);
    for (size_t r = 0; r < rows; r++) {
        start[r] = n;
        for (size_t c = 0; r != 1 && c < cols; c++)
            if (drawn(shape[2]))
                index[n++] = (uint16_t)c;
    }
    start[rows] = n;
    struct sparse_block matrix = {rows, 3, start, start + 1, index, case_random(n, 1)};
    const float *x = case_random(cols + 3, 1);
    const float *bias = shape[3] & MODE_BIAS ? case_random(rows, 1) : NULL;
    float *y = case_random(rows, 1), *expected = case_floats(rows);
    CASE_TIMED(kernels, token_rows, y, &matrix, x, bias);
    reference->token_rows(expected, &matrix, x, bias);
    case_compare("y", y, expected, rows, 2e-6);
}

/* shape: rows, columns, mode */
static void check_dense(const struct kernel_table *kernels, const struct kernel_table *reference,
                        const size_t shape[4])
{
    size_t rows = shape[0], cols = shape[1];
    const float *w = case_random(rows * cols, 1), *x = case_random(cols, 1);
    const float *bias = shape[2] & MODE_BIAS ? case_random(rows, 1) : NULL;
    float *y = case_random(rows, 1), *expected = case_floats(rows);
    CASE_TIMED(kernels, token_dense, y, w, rows, cols, x, bias);
    reference->token_dense(expected, w, rows, cols, x, bias);
    case_compare("y", y, expected, rows, 2e-6);
}

/* ------------------------------------------------------------------ selection */

enum { TOPK_NORMAL, TOPK_SPARSE, TOPK_TIES, TOPK_CONSTANT, TOPK_ZERO, TOPK_SPECIAL, TOPK_CLOSE };

static float topk_value(size_t kind)
{
    static const float special[] = {0.0f,  -0.0f,  1e-42f,    -1e-42f,  1.0f,        -1.0f, 2e-45f,
                                    3e38f, -3e38f, -INFINITY, INFINITY, 0x1.0p-126f, NAN};
    struct random_state *random = &case_state.random;
    switch (kind) {
    case TOPK_NORMAL: return (float)random_normal(random);
    case TOPK_SPARSE: return drawn(900) ? 0 : (float)random_normal(random);
    case TOPK_TIES: return (float)random_below(random, 7) - 3;
    case TOPK_CONSTANT: return -0.5f;
    case TOPK_ZERO: return 0;
    case TOPK_CLOSE: return 1.0f + 0x1.0p-23f * (float)random_below(random, 3000);
    default: return special[random_below(random, sizeof special / sizeof *special)];
    }
}

/* shape: width, k, kind */
static void check_topk(const struct kernel_table *kernels, const struct kernel_table *reference,
                       const size_t shape[4])
{
    size_t width = shape[0], k = shape[1];
    float *x = case_floats(width);
    for (size_t i = 0; i < width; i++)
        x[i] = topk_value(shape[2]);
    float *expected = case_copy(x, width);
    CASE_TIMED(kernels, token_topk, x, width, k, case_bytes(abs_topk_scratch(width)));
    reference->token_topk(expected, width, k, case_bytes(width));
    for (size_t i = 0; i < width; i++) /* a kept -0 may become 0: no product can tell */
        if (expected[i] == 0 && x[i] == 0)
            x[i] = expected[i];
    case_compare_bytes("x", x, expected, width * sizeof *x);
}

/* ---------------------------------------------------------------------- norms */

/* shape: width, kind: normal numbers, zeros, huge, far from zero */
static void check_norms(const struct kernel_table *kernels, const struct kernel_table *reference,
                        const size_t shape[4])
{
    static const double scales[] = {1, 0, 1e15, 1};
    size_t width = shape[0], kind = shape[1];
    float *x = case_random(width, scales[kind]);
    for (size_t c = 0; kind == 3 && c < width; c++)
        x[c] += 100;
    const float *weight = case_random(width, 1), *bias = case_random(width, 1);
    float *y = case_floats(width), *expected = case_floats(width);
    CASE_TIMED(kernels, token_rms_norm, y, x, weight, width);
    reference->token_rms_norm(expected, x, weight, width);
    case_compare("rms_norm", y, expected, width, 2e-6);
    for (int with_bias = 0; with_bias < 2; with_bias++) {
        memcpy(y, x, width * sizeof *y); /* in place */
        CASE_TIMED(kernels, token_layer_norm, y, y, weight, with_bias ? bias : NULL, width);
        reference->token_layer_norm(expected, x, weight, with_bias ? bias : NULL, width);
        case_compare("layer_norm", y, expected, width, kind == 3 ? 1e-4 : width == 1 ? 2e-5 : 4e-6);
    }
}

/* ------------------------------------------------------------------ attention */

/* shape: tokens, d_head, kind (bit 0: a sink; bit 1: three quarters of the query are 0; bit 2: huge
 * scores). What stands behind the last token must not matter. */
static void check_attention(const struct kernel_table *kernels, const struct kernel_table *reference,
                            const size_t shape[4])
{
    size_t n = shape[0], d_head = shape[1], n_pages = (n + PANEL - 1) / PANEL;
    size_t page_floats = 2 * d_head * PANEL + 16;
    const float *pages[8];
    for (size_t i = 0; i < n_pages; i++)
        pages[i] = case_random(page_floats, 1);
    struct token_attention attention = {.pages = pages,
                                        .key = d_head * PANEL + 16,
                                        .value = 0,
                                        .n_tokens = n,
                                        .d_head = d_head,
                                        .scale = shape[2] & 4 ? 50.0f : 0.3f,
                                        .has_sink = shape[2] & 1,
                                        .sink = 0.7f};
    const float *q = sparse_vector(d_head, shape[2] & 2 ? 250 : 1000);
    float *y = case_floats(d_head), *expected = case_floats(d_head);
    void *scratch = case_bytes(token_attention_scratch(n, d_head));
    CASE_TIMED(kernels, token_attention, y, q, &attention, scratch);
    reference->token_attention(expected, q, &attention, NULL);
    /* Huge scores come near 200, where floats are 1.5e-5 apart: as much, and more, of a weight. */
    case_compare("y", y, expected, d_head, shape[2] & 4 ? 4e-5 : 1e-5);
}

static const struct kernel_case cases[] = {
    {"token_columns",
     check_columns,
     {{1, 1, 1000, 1000},
      {5, 3, 500, 1000},
      {8, 4, 1000, 1000},
      {17, 9, 700, 500},
      {100, 60, 300, 250},
      {300, 64, 20, 250},
      {64, 50, 300, 0},
      {2000, 300, 250, 250}}},
    {"token_rows",
     check_rows,
     {{1, 1, 1000, 0},
      {2, 5, 1000, MODE_BIAS},
      {7, 9, 600, 0},
      {30, 64, 300, MODE_BIAS},
      {65, 100, 50, 0},
      {300, 112, 250, MODE_BIAS}}},
    {"token_dense",
     check_dense,
     {{1, 1, 0}, {3, 5, MODE_BIAS}, {4, 16, 0}, {5, 31, MODE_BIAS}, {9, 33, 0}, {64, 100, MODE_BIAS}}},
    {"token_topk",
     check_topk,
     {{1, 0, TOPK_NORMAL},
      {2, 1, TOPK_NORMAL},
      {7, 3, TOPK_TIES},
      {16, 4, TOPK_NORMAL},
      {31, 30, TOPK_NORMAL},
      {33, 8, TOPK_SPARSE},
      {50, 29, TOPK_CONSTANT},
      {64, 16, TOPK_ZERO},
      {100, 25, TOPK_SPECIAL},
      {101, 60, TOPK_SPECIAL},
      {200, 50, TOPK_TIES},
      {333, 83, TOPK_CLOSE},
      {1000, 900, TOPK_CLOSE},
      {1000, 250, TOPK_SPARSE},
      {1024, 256, TOPK_NORMAL},
      {1040, 1, TOPK_NORMAL},
      {4096, 1024, TOPK_NORMAL}}},
    {"token norms",
     check_norms,
     {{1, 0}, {5, 0}, {16, 0}, {33, 0}, {100, 1}, {100, 2}, {100, 3}, {1024, 0}}},
    {"token_attention",
     check_attention,
     {{1, 1, 0},
      {1, 16, 1},
      {2, 3, 2},
      {63, 5, 1},
      {64, 16, 3},
      {65, 16, 0},
      {100, 7, 4},
      {130, 16, 5},
      {256, 16, 3},
      {257, 20, 1}}},
};

START_TEST(parity)
{
    run_kernel_cases(&cases[_i], 1);
}
END_TEST

Suite *kernels_token_suite(void);
Suite *kernels_token_suite(void)
{
    Suite *suite = suite_create("kernels_token");
    TCase *tests = tcase_create("one token");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, parity, 0, (int)(sizeof cases / sizeof *cases));
    suite_add_tcase(suite, tests);
    return suite;
}
