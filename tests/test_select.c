/* Exact selection by magnitude and AbsTopK through the public calls. */
#include <math.h>

#include "matrix_helpers.h"

/* Computed by a stable sort in float64 (row 0 all equal, row 3 mostly zero). */
static const float golden_weights[7 * 9] = {
    0.5f,
    0.5f,
    0.5f,
    0.5f,
    0.5f,
    0.5f,
    0.5f,
    0.5f,
    0.5f,
    -2.22879124f,
    -1.6295042f,
    0.555905879f,
    1.0737766f,
    0.982088625f,
    -0.574831009f,
    -0.0790607631f,
    -0.888110697f,
    2.87843108f,
    -1.28482044f,
    1.43479276f,
    1.00958824f,
    -0.85394913f,
    0.949567974f,
    -0.879416347f,
    1.5106616f,
    -0.163890556f,
    -0.752144635f,
    -0.192706004f,
    -0.835399806f,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    -2.40480113f,
    -0.525520205f,
    1.438555f,
    0.0881298855f,
    -0.513104916f,
    0.535754144f,
    -0.0108039239f,
    -0.155376762f,
    0.305816978f,
    0.161755085f,
    1.31793725f,
    -0.78687346f,
    -0.805886328f,
    0.71252948f,
    0.150881886f,
    -2.05991316f,
    -0.217565209f,
    0.579824984f,
    0.464710742f,
    0.160774648f,
    -1.19057775f,
    0.612607062f,
    -0.77211374f,
    -0.419301659f,
    -1.28513646f,
    0.958687961f,
    -0.207753718f,
};

static const struct {
    size_t k;
    int axis;
    size_t minimum;
    const char *keep;
} goldens[] = {
    {20, SN_AXIS_NONE, 0,
     "000000000"
     "110110011"
     "111111100"
     "000000000"
     "101000000"
     "010000100"
     "001000110"},
    {40, SN_AXIS_ROW, 3,
     "111110000"
     "111111011"
     "111111101"
     "111000000"
     "111011000"
     "011110101"
     "001110110"},
    {40, SN_AXIS_COLUMN, 3,
     "111111010"
     "111111011"
     "111111101"
     "010000000"
     "111011000"
     "011110101"
     "001110110"},
};

START_TEST(selection_goldens)
{
    sn_context *context = new_context(1);
    unsigned char keep[7 * 9];
    ck_assert_int_eq(sn_magnitude_select(keep, context, golden_weights, 7, 9, goldens[_i].k,
                                         goldens[_i].axis, goldens[_i].minimum),
                     SN_OK);
    for (size_t i = 0; i < 7 * 9; i++)
        if (keep[i] != goldens[_i].keep[i] - '0')
            ck_abort_msg("row %zu, column %zu: keep is %d", i / 9, i % 9, keep[i]);
    sn_context_free(context);
}
END_TEST

struct ranked {
    float magnitude;
    size_t index;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->magnitude != y->magnitude)
        return x->magnitude < y->magnitude ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Marks the `count` best of the n entries start, start + step, ... that are not kept yet. */
static void keep_best(unsigned char *keep, const float *w, size_t start, size_t step, size_t n,
                      size_t count)
{
    struct ranked *ranked = malloc(n * sizeof *ranked);
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (!keep[start + i * step])
            ranked[found++] = (struct ranked){fabsf(w[start + i * step]), start + i * step};
    qsort(ranked, found, sizeof *ranked, compare_ranked);
    for (size_t i = 0; i < count && i < found; i++)
        keep[ranked[i].index] = 1;
    free(ranked);
}

static void expected_selection(unsigned char *keep, const float *w, size_t rows, size_t cols, size_t k,
                               int axis, size_t minimum)
{
    memset(keep, 0, rows * cols);
    size_t neurons = axis == SN_AXIS_ROW ? rows : cols;
    for (size_t i = 0; axis != SN_AXIS_NONE && i < neurons; i++)
        keep_best(keep, w, axis == SN_AXIS_ROW ? i * cols : i, axis == SN_AXIS_ROW ? 1 : cols,
                  axis == SN_AXIS_ROW ? cols : rows, minimum);
    keep_best(keep, w, 0, 1, rows * cols, axis == SN_AXIS_NONE ? k : k - neurons * minimum);
}

/* normal; few distinct values; nearly all zero; rows of very different scale; all zero */
static float *selection_weights(size_t rows, size_t cols, int kind)
{
    float *w = new_floats(rows * cols);
    for (size_t i = 0; i < rows * cols; i++) {
        float x = (float)random_normal(&random_numbers);
        w[i] = kind == 0   ? x
               : kind == 1 ? roundf(2 * x)
               : kind == 2 ? (random_below(&random_numbers, 50) ? 0 : x)
               : kind == 3 ? x * powf(10, (float)(i / cols * 30 / rows) - 15)
                           : 0;
    }
    return w;
}

START_TEST(selection_equals_sorting)
{
    /* rows, cols: the last ones are large enough for the sampled bracket */
    static const size_t sizes[][2] = {{1, 1}, {1, 200}, {200, 1}, {65, 63}, {260, 260}, {700, 101}};
    static const double shares[] = {0, 0.001, 0.02, 0.25, 0.5, 0.98, 1};
    size_t rows = sizes[_i][0], cols = sizes[_i][1], n = rows * cols;
    random_seed(&random_numbers, 6, (uint64_t)_i);
    sn_context *one = new_context(1), *three = new_context(3);
    size_t before = held(one);
    unsigned char *keep = malloc(n), *again = malloc(n), *expected = malloc(n);
    for (int kind = 0; kind < 5; kind++) {
        float *w = selection_weights(rows, cols, kind);
        for (size_t share = 0; share < sizeof shares / sizeof *shares; share++)
            for (int axis = SN_AXIS_NONE; axis <= SN_AXIS_COLUMN; axis++) {
                size_t k = (size_t)(shares[share] * (double)n),
                       neurons = axis == SN_AXIS_ROW ? rows : cols;
                /* minimums up to 16 go another way; kind 1 has ties */
                size_t most = share % 2 ? 20 : 3;
                size_t minimum = axis == SN_AXIS_NONE ? 0 : k / neurons < most ? k / neurons : most;
                ck_assert_int_eq(sn_magnitude_select(keep, one, w, rows, cols, k, axis, minimum), SN_OK);
                ck_assert_int_eq(sn_magnitude_select(again, three, w, rows, cols, k, axis, minimum),
                                 SN_OK);
                expected_selection(expected, w, rows, cols, k, axis, minimum);
                ck_assert_mem_eq(keep, expected, n);
                ck_assert_mem_eq(again, expected, n);
            }
        free(w);
    }
    free(keep), free(again), free(expected);
    end_context(one, before);
    sn_context_free(three);
}
END_TEST

START_TEST(infeasible_minimum)
{
    sn_context *context = new_context(1);
    unsigned char keep[7 * 9];
    size_t used = 99, count = 0;
    expect_failure(sn_magnitude_select(keep, context, golden_weights, 7, 9, 20, SN_AXIS_ROW, 3),
                   SN_ERROR_ARGUMENT, context, "minimum of 3 in each of 7 rows");
    expect_failure(sn_magnitude_select(keep, context, golden_weights, 7, 9, 64, SN_AXIS_NONE, 0),
                   SN_ERROR_ARGUMENT, context, "k is 64");
    expect_failure(sn_magnitude_select(keep, context, golden_weights, 7, 9, 20, 3, 0), SN_ERROR_ARGUMENT,
                   context, "axis is 3");
    /* inside the library the minimum is lowered to what fits, and the caller is told */
    ck_assert_int_eq(select_magnitude(keep, &used, context, golden_weights, 7, 9, 20, SN_AXIS_ROW, 3),
                     SN_OK);
    ck_assert_uint_eq(used, 2);
    for (size_t r = 0; r < 7; r++) {
        size_t row = 0;
        for (size_t c = 0; c < 9; c++)
            row += keep[r * 9 + c];
        ck_assert_uint_ge(row, 2);
        count += row;
    }
    ck_assert_uint_eq(count, 20);
    ck_assert_int_eq(select_magnitude(keep, &used, context, golden_weights, 7, 9, 6, SN_AXIS_ROW, 3),
                     SN_OK);
    ck_assert_uint_eq(used, 0);
    sn_context_free(context);
}
END_TEST

START_TEST(abs_topk_of_tokens)
{
    random_seed(&random_numbers, 7, 0);
    sn_context *context = new_context(1);
    size_t before = held(context);
    static const size_t cases[][3] = {{1, 1, 0},   {1, 1, 1},     {3, 5, 2},
                                      {64, 33, 8}, {65, 100, 25}, {130, 7, 6}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = cases[i][0], width = cases[i][1], k = cases[i][2];
        float *x = new_random(n * width), *y = new_random(n * width);
        for (size_t j = 0; j < n * width; j += 3)
            x[j] = (float)(j % 4) - 2; /* ties, zeros among them */
        unsigned char *keep = calloc(n, width);
        for (size_t t = 0; t < n; t++)
            keep_best(keep, x, t * width, 1, width, k);
        ck_assert_int_eq(sn_abs_topk(y, context, x, n, width, k), SN_OK);
        for (size_t j = 0; j < n * width; j++)
            ck_assert_float_eq(y[j], keep[j] ? x[j] : 0);
        ck_assert_int_eq(sn_abs_topk(x, context, x, n, width, k), SN_OK); /* in place */
        ck_assert_mem_eq(x, y, n * width * sizeof *x);
        free(x), free(y), free(keep);
    }
    const float x[2] = {1, 2};
    float y[2];
    expect_failure(sn_abs_topk(y, context, x, 1, 2, 3), SN_ERROR_ARGUMENT, context, "k is 3");
    expect_failure(sn_abs_topk(NULL, context, x, 1, 2, 1), SN_ERROR_ARGUMENT, context, "y is NULL");
    end_context(context, before);
}
END_TEST

Suite *select_suite(void);
Suite *select_suite(void)
{
    Suite *suite = suite_create("select");
    TCase *tests = tcase_create("selection");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, selection_goldens, 0, (int)(sizeof goldens / sizeof *goldens));
    tcase_add_loop_test(tests, selection_equals_sorting, 0, 6);
    tcase_add_test(tests, infeasible_minimum);
    tcase_add_test(tests, abs_topk_of_tokens);
    suite_add_tcase(suite, tests);
    return suite;
}
