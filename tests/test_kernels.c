/* Sparse and dense products and the scans of the selection, against the naive kernels. */
#include <stdlib.h>
#include <string.h>

#if SN_XSMM
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <libxsmm.h>
#pragma GCC diagnostic pop
#endif

#include "kernel_cases.h"
#include "kernels/dense.h"
#include "sparsenet.h"

/* ------------------------------------------------------------------- products */

#define MODE_BIAS 1
#define MODE_ACCUMULATE 2
#define MODE_OFFSET 4 /* the block starts at column 3 */

/* A random block with `permille` of its entries; row 1 and column 1 stay empty. */
static struct sparse_block random_block(size_t rows, size_t cols, size_t permille, size_t first_column)
{
    uint32_t *start = case_bytes((rows + 1) * sizeof *start);
    uint16_t *index = case_bytes(rows * cols * sizeof *index);
    uint32_t n = 0;
    for (size_t r = 0; r < rows; r++) {
        start[r] = n;
        for (size_t c = 0; c < cols; c++)
            if (random_below(&case_state.random, 1000) < permille && r != 1 && c != 1)
                index[n++] = (uint16_t)c;
    }
    start[rows] = n;
    return (struct sparse_block){rows, first_column, start, start + 1, index, case_random(n, 1)};
}

static void check_sparse_multiply(const struct kernel_table *kernels,
                                  const struct kernel_table *reference, const size_t shape[4])
{
    size_t rows = shape[0], cols = shape[1], offset = shape[3] & MODE_OFFSET ? 3 : 0;
    struct sparse_block block = random_block(rows, cols, shape[2], offset);
    const float *x = case_random((cols + offset) * PANEL, 1);
    const float *bias = shape[3] & MODE_BIAS ? case_random(rows, 1) : NULL;
    int accumulate = (shape[3] & MODE_ACCUMULATE) != 0;
    float *y = case_random(rows * PANEL, 1), *expected = case_copy(y, rows * PANEL);
    CASE_TIMED(kernels, sparse_multiply, y, &block, x, bias, accumulate);
    reference->sparse_multiply(expected, &block, x, bias, accumulate);
    case_compare("y", y, expected, rows * PANEL, 2e-6);
}

struct multiply_loss {
    const struct kernel_table *kernels;
    const struct sparse_block *block;
    const float *x, *dy;
    float *y;
};

/* sum of dy y, so that its gradient in the values is what sparse_gradient sums. */
static double multiply_loss(void *payload)
{
    const struct multiply_loss *loss = payload;
    loss->kernels->sparse_multiply(loss->y, loss->block, loss->x, NULL, 0);
    double sum = 0;
    for (size_t i = 0; i < loss->block->rows * PANEL; i++)
        sum += (double)loss->dy[i] * loss->y[i];
    return sum;
}

static void check_sparse_gradient(const struct kernel_table *kernels,
                                  const struct kernel_table *reference, const size_t shape[4])
{
    size_t rows = shape[0], cols = shape[1], first = rows > 2, last = rows > 3 ? rows - 1 : rows;
    struct sparse_block block = random_block(rows, cols, shape[2], 0);
    size_t nnz = block.start[rows];
    const float *x = case_random(cols * PANEL, 1), *dy = case_random(rows * PANEL, 1);
    float *gradient = case_random(nnz, 1), *expected = case_copy(gradient, nnz);
    CASE_TIMED(kernels, sparse_gradient, gradient, &block, first, last, dy, x);
    reference->sparse_gradient(expected, &block, first, last, dy, x);
    case_compare("gradient", gradient, expected, nnz, 2e-6);

    memset(gradient, 0, nnz * sizeof *gradient);
    CASE_TIMED(kernels, sparse_gradient, gradient, &block, 0, rows, dy, x);
    struct multiply_loss loss = {kernels, &block, x, dy, case_floats(rows * PANEL)};
    case_check_gradient("values", multiply_loss, &loss, (float *)(uintptr_t)block.value, gradient, nnz,
                        0.25, 1e-3);
}

static void check_gemm(const struct kernel_table *kernels, const struct kernel_table *reference,
                       const size_t shape[4])
{
    size_t m = shape[0], n = shape[1], k = shape[2], ldc = m + 3, lda = m + 1, ldb = (n > k ? n : k) + 2;
    int accumulate = (shape[3] & MODE_ACCUMULATE) != 0;
    const float *a = case_random(lda * k, 1), *b = case_random(ldb * (n > k ? n : k), 1);
    const float *start = case_random(ldc * n, 1);
    float *expected = case_copy(start, ldc * n), *c = case_copy(start, ldc * n);
    float *fast = case_copy(start, ldc * n);
    const struct dense_kernels *dense = dense_kernels_for(kernels);
    reference->gemm(expected, ldc, a, lda, b, 1, ldb, m, n, k, accumulate);
    CASE_TIMED(kernels, gemm, c, ldc, a, lda, b, 1, ldb, m, n, k, accumulate);
    dense->gemm(dense, fast, ldc, a, lda, b, ldb, m, n, k, accumulate);
    case_compare("own product", c, expected, ldc * n, 2e-6);
    case_compare("dispatched product", fast, expected, ldc * n, 2e-6);

    memcpy(expected, start, ldc * n * sizeof *c);
    memcpy(c, start, ldc * n * sizeof *c);
    memcpy(fast, start, ldc * n * sizeof *c);
    reference->gemm(expected, ldc, a, lda, b, ldb, 1, m, n, k, accumulate);
    CASE_TIMED(kernels, gemm, c, ldc, a, lda, b, ldb, 1, m, n, k, accumulate);
    dense->gemm_transposed(dense, fast, ldc, a, lda, b, ldb, m, n, k, accumulate);
    case_compare("own product, B transposed", c, expected, ldc * n, 2e-6);
    case_compare("dispatched product, B transposed", fast, expected, ldc * n, 2e-6);
}

/* The blocking is shared by all tables, so the expectation is one product of the naive kernel. */
static void check_dense_multiply(const struct kernel_table *kernels,
                                 const struct kernel_table *reference, const size_t shape[4])
{
    size_t rows = shape[0], cols = shape[1];
    int accumulate = (shape[3] & MODE_ACCUMULATE) != 0;
    const float *w = case_random(rows * cols, 1), *x = case_random(cols * PANEL, 1);
    const float *dy = case_random(rows * PANEL, 1);
    const float *bias = shape[3] & MODE_BIAS ? case_random(rows, 1) : NULL;
    float *y = case_random(rows * PANEL, 1), *expected_y = case_copy(y, rows * PANEL);
    float *dx = case_random(cols * PANEL, 1), *expected_dx = case_copy(dx, cols * PANEL);
    for (size_t i = 0; bias && !accumulate && i < rows * PANEL; i++)
        expected_y[i] = bias[i / PANEL];
    reference->gemm(expected_y, PANEL, x, PANEL, w, 1, cols, PANEL, rows, cols, accumulate || bias);
    reference->gemm(expected_dx, PANEL, dy, PANEL, w, cols, 1, PANEL, cols, rows, accumulate);
    dense_multiply(kernels, y, w, rows, cols, x, bias, accumulate);
    case_compare("y", y, expected_y, rows * PANEL, 2e-6);
    dense_multiply_transposed(kernels, dx, w, rows, cols, dy, accumulate);
    case_compare("dx", dx, expected_dx, cols * PANEL, 2e-6);
}

/* shape: rows, cols, panels. Rows first..last-1 only; the panels lie further apart than needed. */
static void check_dense_gradient(const struct kernel_table *kernels,
                                 const struct kernel_table *reference, const size_t shape[4])
{
    (void)reference;
    size_t rows = shape[0], cols = shape[1], n_panels = shape[2], first = rows > 2, last = rows;
    size_t dy_stride = rows * PANEL + 32, x_stride = cols * PANEL + 16, n = (last - first) * cols;
    const float *dy = case_random(dy_stride * n_panels, 1), *x = case_random(x_stride * n_panels, 1);
    float *gradient = case_random(n, 1), *expected = case_copy(gradient, n);
    dense_gradient(kernels, gradient, cols, first, last, dy, dy_stride, x, x_stride, n_panels);
    for (size_t i = 0; i < n; i++) {
        double sum = expected[i];
        for (size_t p = 0; p < n_panels; p++)
            for (size_t t = 0; t < PANEL; t++)
                sum += (double)dy[p * dy_stride + (first + i / cols) * PANEL + t] *
                       x[p * x_stride + i % cols * PANEL + t];
        expected[i] = (float)sum;
    }
    case_compare("gradient", gradient, expected, n, 2e-6);
}

/* ------------------------------------------------------------------ selection */

/* Few distinct magnitudes, so that ties and both ends of a bracket occur; some zeros and a NaN. */
static float *tied_weights(size_t n)
{
    float *w = case_floats(n);
    for (size_t i = 0; i < n; i++)
        w[i] = (float)random_below(&case_state.random, 9) *
               (random_below(&case_state.random, 2) ? -0.5f : 0.5f);
    if (n > 3)
        w[n / 2] = NAN;
    return w;
}

static int32_t bits_of(float w)
{
    int32_t bits;
    memcpy(&bits, &w, sizeof bits);
    return bits;
}

static unsigned char *random_skip(size_t n)
{
    unsigned char *skip = case_bytes(n);
    for (size_t i = 0; i < n; i++)
        skip[i] = random_below(&case_state.random, 4) == 0;
    return skip;
}

/* shape: entries, room for keys between, 1 = with skip, 2 = the whole range */
static void check_magnitude_scan(const struct kernel_table *kernels,
                                 const struct kernel_table *reference, const size_t shape[4])
{
    size_t n = shape[0], capacity = shape[1];
    const float *w = tied_weights(n);
    const unsigned char *skip = shape[2] & 1 ? random_skip(n) : NULL;
    int whole = (shape[2] & 2) != 0;
    struct magnitude_scan scan = {.low = whole ? -1 : bits_of(1.0f),
                                  .high = whole ? INT32_MAX : bits_of(3.0f),
                                  .capacity = capacity};
    struct magnitude_scan expected = scan;
    scan.between = case_bytes(capacity * sizeof *scan.between);
    expected.between = case_bytes(capacity * sizeof *scan.between);
    CASE_TIMED(kernels, magnitude_scan, &scan, w, skip, n);
    reference->magnitude_scan(&expected, w, skip, n);
    ck_assert_uint_eq(scan.above, expected.above);
    ck_assert_uint_eq(scan.at_high, expected.at_high);
    ck_assert_uint_eq(scan.at_low, expected.at_low);
    ck_assert_uint_eq(scan.n_between, expected.n_between);
    case_compare_bytes("between", scan.between, expected.between, capacity * sizeof *scan.between);
}

/* shape: entries, ties to take */
static void check_magnitude_mark(const struct kernel_table *kernels,
                                 const struct kernel_table *reference, const size_t shape[4])
{
    size_t n = shape[0], ties = shape[1], expected_ties = ties;
    const float *w = tied_weights(n);
    unsigned char *keep = random_skip(n), *expected = case_bytes(n);
    memcpy(expected, keep, n);
    CASE_TIMED(kernels, magnitude_mark, keep, w, n, bits_of(2.5f), &ties);
    reference->magnitude_mark(expected, w, n, bits_of(2.5f), &expected_ties);
    case_compare_bytes("keep", keep, expected, n);
    ck_assert_uint_eq(ties, expected_ties);
}

/* shape: columns, rows, levels: finds every column's largest, then marks them row by row */
static void check_magnitude_columns(const struct kernel_table *kernels,
                                    const struct kernel_table *reference, const size_t shape[4])
{
    size_t n = shape[0], rows = shape[1], n_levels = shape[2], stride = n + 5;
    const float *w = tied_weights(n * rows);
    size_t bytes = n_levels * stride * sizeof(int32_t);
    int32_t *levels = case_bytes(bytes), *expected_levels = case_bytes(bytes);
    memset(levels, -1, bytes);
    memset(expected_levels, -1, bytes);
    for (size_t r = 0; r < rows; r++) {
        CASE_TIMED(kernels, magnitude_levels, levels, stride, n_levels, w + r * n, n);
        reference->magnitude_levels(expected_levels, stride, n_levels, w + r * n, n);
    }
    case_compare_bytes("levels", levels, expected_levels, bytes);

    const int32_t *threshold = levels + (n_levels - 1) * stride;
    uint32_t *ties = case_bytes(n * sizeof *ties), *expected_ties = case_bytes(n * sizeof *ties);
    unsigned char *keep = case_bytes(n * rows), *expected = case_bytes(n * rows);
    for (size_t c = 0; c < n; c++)
        for (size_t l = 0; l < n_levels; l++)
            expected_ties[c] = ties[c] += levels[l * stride + c] == threshold[c];
    for (size_t r = 0; r < rows; r++) {
        CASE_TIMED(kernels, magnitude_mark_columns, keep + r * n, w + r * n, n, threshold, ties);
        reference->magnitude_mark_columns(expected + r * n, w + r * n, n, threshold, expected_ties);
    }
    case_compare_bytes("keep", keep, expected, n * rows);
    case_compare_bytes("ties", ties, expected_ties, n * sizeof *ties);
}

/* shape: entries, one in so many is not zero, where a number that is not finite stands (past the end: nowhere),
 * which one: 0 infinity, 1 minus infinity, 2 NaN */
static void check_gather_nonzeros(const struct kernel_table *kernels,
                                  const struct kernel_table *reference, const size_t shape[4])
{
    static const float odd[] = {INFINITY, -INFINITY, NAN};
    size_t n = shape[0], bytes = n * sizeof(float), count, expected_count;
    float *x = case_bytes(bytes);
    for (size_t i = 0; i < n; i++)
        x[i] = random_below(&case_state.random, shape[1]) ? (i % 3 ? 0.0f : -0.0f)
               : i % 7                                    ? (float)random_normal(&case_state.random)
                                                          : 1e-42f;
    if (shape[2] < n)
        x[shape[2]] = odd[shape[3]];
    float *value = case_bytes(bytes), *expected_value = case_bytes(bytes);
    uint32_t *index = case_bytes(bytes), *expected_index = case_bytes(bytes);
    int not_finite = 0, expected = 0;
    CASE_TIMED(kernels, gather_nonzeros, value, index, &not_finite, x, n);
    count = kernels->gather_nonzeros(value, index, &not_finite, x, n);
    expected_count = reference->gather_nonzeros(expected_value, expected_index, &expected, x, n);
    ck_assert_uint_eq(count, expected_count);
    ck_assert_int_eq(not_finite, expected);
    ck_assert_int_eq(not_finite, shape[2] < n);
    case_compare_bytes("values", value, expected_value, count * sizeof *value);
    case_compare_bytes("indices", index, expected_index, count * sizeof *index);
}

/* ----------------------------------------------------------------------- table */

static const struct kernel_case cases[] = {
    {"sparse_multiply",
     check_sparse_multiply,
     {{1, 1, 1000, 0},
      {1, 3, 1000, MODE_BIAS},
      {2, 2, 500, MODE_ACCUMULATE},
      {3, 64, 0, 0},
      {3, 5, 0, MODE_BIAS},
      {3, 17, 600, MODE_BIAS | MODE_ACCUMULATE},
      {7, 63, 300, 0},
      {8, 64, 300, MODE_OFFSET},
      {9, 65, 300, MODE_BIAS | MODE_OFFSET},
      {33, 1000, 16, 0},
      {257, 300, 250, MODE_BIAS},
      {128, 2049, 4, MODE_ACCUMULATE | MODE_OFFSET},
      {5, 40000, 3, 0},
      {64, 127, 900, MODE_ACCUMULATE}}},
    {"sparse_gradient",
     check_sparse_gradient,
     {{1, 1, 1000},
      {1, 3, 1000},
      {2, 2, 500},
      {3, 5, 0},
      {3, 17, 1000},
      {5, 15, 1000},
      {5, 18, 1000},
      {9, 33, 1000},
      {9, 34, 900},
      {33, 500, 40},
      {100, 129, 250},
      {257, 64, 10}}},
    {"gemm",
     check_gemm,
     {{1, 1, 1, 0},
      {2, 3, 1, 0},
      {3, 2, 5, MODE_ACCUMULATE},
      {15, 5, 7, 0},
      {16, 6, 8, MODE_ACCUMULATE},
      {17, 7, 9, 0},
      {31, 13, 16, 0},
      {32, 16, 32, MODE_ACCUMULATE},
      {33, 11, 65, 0},
      {63, 97, 31, MODE_ACCUMULATE},
      {64, 96, 64, 0},
      {65, 95, 3, 0},
      {128, 16, 128, 0},
      {64, 96, 700, 0}}},
    {"dense_multiply",
     check_dense_multiply,
     {{1, 1, 0, 0},
      {2, 3, 0, MODE_BIAS},
      {3, 2, 0, MODE_ACCUMULATE},
      {95, 97, 0, MODE_BIAS},
      {96, 96, 0, 0},
      {97, 95, 0, MODE_BIAS | MODE_ACCUMULATE},
      {200, 33, 0, 0},
      {37, 1500, 0, MODE_BIAS},
      {37, 1025, 0, 0},
      {1500, 37, 0, MODE_ACCUMULATE}}},
    {"dense_gradient",
     check_dense_gradient,
     {{1, 1, 1},
      {2, 3, 2},
      {3, 2, 0},
      {3, 63, 1},
      {127, 64, 2},
      {128, 65, 3},
      {129, 130, 2},
      {300, 70, 3}}},
    {"magnitude_scan",
     check_magnitude_scan,
     {{1, 1, 0},
      {2, 2, 3},
      {3, 3, 1},
      {15, 4, 2},
      {16, 16, 0},
      {17, 17, 1},
      {64, 3, 1},
      {65, 65, 2},
      {10007, 10007, 0},
      {10007, 10007, 1},
      {10007, 100, 3}}},
    {"magnitude_mark",
     check_magnitude_mark,
     {{1, 0},
      {1, 1},
      {2, 1},
      {3, 2},
      {15, 1},
      {16, 2},
      {17, 3},
      {63, 100},
      {1000, 20},
      {10007, 300},
      {10007, 0}}},
    {"gather_nonzeros",
     check_gather_nonzeros,
     {{1, 1, 1, 0},
      {1, 1, 0, 2},
      {2, 2, 2, 0},
      {15, 3, 14, 1},
      {16, 100, 16, 0},
      {63, 1, 63, 0},
      {64, 2, 63, 2},
      {65, 2, 64, 0},
      {129, 5, 0, 1},
      {2080, 64, 2080, 0},
      {8192, 64, 4097, 2},
      {8192, 1, 8192, 0}}},
    {"magnitude_levels and mark_columns",
     check_magnitude_columns,
     {{1, 1, 1},
      {2, 3, 2},
      {3, 2, 2},
      {15, 9, 3},
      {16, 20, 4},
      {17, 30, 4},
      {64, 40, 4},
      {65, 7, 7},
      {300, 100, 4}}},
};

START_TEST(parity)
{
    run_kernel_cases(&cases[_i], 1);
}
END_TEST

START_TEST(names)
{
    ck_assert_str_eq(kernels_reference()->name, "reference");
    ck_assert_str_eq(kernels_by_name("portable")->name, "portable");
    ck_assert_ptr_null(kernels_by_name("sse9"));
    ck_assert_ptr_null(kernels_by_name(""));
    ck_assert_ptr_eq(kernels_best(), kernels_by_name(kernels_best()->name));
    ck_assert_ptr_eq(dense_kernels_best(), dense_kernels_for(kernels_best()));
    ck_assert_ptr_eq(dense_kernels_portable(), dense_kernels_for(kernels_by_name("portable")));
}
END_TEST

START_TEST(forced_instruction_set)
{
    sn_context *context = NULL;
    setenv("SPARSENET_ISA", "portable", 1);
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    ck_assert_str_eq(sn_context_isa(context), "portable");
    sn_context_free(context);
    setenv("SPARSENET_ISA", "sse9", 1);
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_ERROR_UNSUPPORTED);
    ck_assert_ptr_null(context);
    setenv("SPARSENET_ISA", "", 1);
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    ck_assert_str_eq(sn_context_isa(context), kernels_best()->name);
    sn_context_free(context);
    unsetenv("SPARSENET_ISA");
    ck_assert_int_eq(sn_context_create(NULL, NULL), SN_ERROR_ARGUMENT);
}
END_TEST

#if SN_XSMM
/* With LIBXSMM_TARGET=generic, as a step of the full check has it, the other cases go by our own products. */
START_TEST(generic_target_has_no_kernels)
{
    const char *target = getenv("LIBXSMM_TARGET");
    if (target && strcmp(target, "generic") == 0)
        ck_assert(!libxsmm_smmdispatch(8, 8, 8, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
}
END_TEST
#endif

Suite *kernels_suite(void);
Suite *kernels_suite(void)
{
    Suite *suite = suite_create("kernels");
    TCase *tests = tcase_create("sparse and dense products");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, parity, 0, (int)(sizeof cases / sizeof *cases));
    tcase_add_test(tests, names);
    tcase_add_test(tests, forced_instruction_set);
#if SN_XSMM
    tcase_add_test(tests, generic_target_has_no_kernels);
#endif
    suite_add_tcase(suite, tests);
    return suite;
}
