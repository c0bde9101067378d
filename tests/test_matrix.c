/* Matrices through the public calls and the internal ones that the model uses. */
#include <math.h>

#include "matrix/token.h"
#include "matrix_helpers.h"

static void assert_close(const char *what, const float *actual, const double *expected, size_t n)
{
    double scale = 0;
    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(expected[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)actual[i] - expected[i]) <= 3e-6 * scale))
            ck_abort_msg("%s[%zu] is %.9g, expected %.9g", what, i, (double)actual[i], expected[i]);
}

/* y = x w^T, dx = dy w, dw = dy^T x in double, token-major. */
static void expected_products(double *y, double *dx, double *dw, const float *w, const float *x,
                              const float *dy, size_t rows, size_t cols, size_t n_tokens)
{
    memset(y, 0, n_tokens * rows * sizeof *y);
    memset(dx, 0, n_tokens * cols * sizeof *dx);
    memset(dw, 0, rows * cols * sizeof *dw);
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < cols; c++) {
                y[t * rows + r] += (double)w[r * cols + c] * x[t * cols + c];
                dx[t * cols + c] += (double)w[r * cols + c] * dy[t * rows + r];
                dw[r * cols + c] += (double)dy[t * rows + r] * x[t * cols + c];
            }
}

/* ------------------------------------------------------- products against double */

/* rows, cols, permille, tokens */
static const size_t shapes[][4] = {
    {1, 1, 1000, 1},    {1, 1, 0, 3},       {2, 3, 1000, 2},     {3, 2, 500, 63},
    {3, 4, 0, 64},      {127, 97, 250, 65}, {128, 96, 90, 64},   {129, 193, 250, 130},
    {40, 1700, 20, 70}, {1700, 40, 20, 3},  {33, 65, 450, 1100}, {300, 200, 1000, 100},
    {3, 140000, 5, 2},  {140000, 3, 5, 2}, /* indices beyond 16 bits */
};

static void check_products(sn_context *context, const sn_matrix *matrix, const float *w, size_t n_tokens)
{
    size_t rows = sn_matrix_rows(matrix), cols = sn_matrix_cols(matrix),
           support = sn_matrix_support(matrix);
    float *x = new_random(n_tokens * cols), *dy = new_random(n_tokens * rows);
    float *y = new_random(n_tokens * rows), *dx = new_random(n_tokens * cols), *dw = new_random(support);
    double *expected_y = malloc(n_tokens * rows * sizeof(double));
    double *expected_dx = malloc(n_tokens * cols * sizeof(double));
    double *expected_dw = malloc(rows * cols * sizeof(double));
    double *on_support = malloc((support + 1) * sizeof(double));
    expected_products(expected_y, expected_dx, expected_dw, w, x, dy, rows, cols, n_tokens);
    size_t n = 0;
    for (size_t i = 0; i < rows * cols; i++)
        if (!matrix->pattern || w[i] != 0) {
            on_support[n] = expected_dw[i] + (double)dw[n];
            n++;
        }
    ck_assert_uint_eq(n, support);
    ck_assert_int_eq(sn_matrix_multiply(y, context, matrix, x, n_tokens), SN_OK);
    assert_close("y", y, expected_y, n_tokens * rows);
    ck_assert_int_eq(sn_matrix_multiply_transposed(dx, context, matrix, dy, n_tokens), SN_OK);
    assert_close("dx", dx, expected_dx, n_tokens * cols);
    ck_assert_int_eq(sn_matrix_gradient(dw, context, matrix, dy, x, n_tokens), SN_OK);
    assert_close("dw", dw, on_support, support);
    free(x), free(dy), free(y), free(dx), free(dw);
    free(expected_y), free(expected_dx), free(expected_dw), free(on_support);
}

/* One token by rows and by columns, with and without a bias; `share` of its inputs are not zero. */
static void check_token(sn_context *context, const sn_matrix *matrix, const float *w, double share)
{
    size_t rows = sn_matrix_rows(matrix), cols = sn_matrix_cols(matrix);
    float *x = new_random(cols), *bias = new_random(rows), *y = new_random(rows);
    void *scratch = malloc(token_scratch(cols));
    double *expected = malloc(rows * sizeof *expected);
    for (size_t c = 0; c < cols; c++)
        x[c] = (double)(c * 7919 % cols) < share * (double)cols ? x[c] : 0;
    for (int form = 0; form < 4; form++) {
        const float *added = form & 1 ? bias : NULL;
        struct token_matrix token;
        for (size_t r = 0; r < rows; r++) {
            expected[r] = added ? (double)bias[r] : 0;
            for (size_t c = 0; c < cols; c++)
                expected[r] += (double)w[r * cols + c] * (double)x[c];
        }
        ck_assert_int_eq(token_matrix_create(&token, context, matrix, form & 2), SN_OK);
        ck_assert_int_eq(token.by_columns, (form & 2) && matrix->pattern && rows <= INDEX_RANGE);
        token_multiply(&token, context->kernels, y, x, added, scratch);
        assert_close("y of a token", y, expected, rows);
    }
    free(x), free(bias), free(y), free(scratch), free(expected);
}

START_TEST(products)
{
    const size_t *shape = shapes[_i];
    random_seed(&random_numbers, 1, (uint64_t)_i);
    for (size_t n_threads = 1; n_threads <= 3; n_threads += 2) {
        sn_context *context = new_context(n_threads);
        size_t before = held(context);
        float *w = new_sparse(shape[0], shape[1], shape[2]);
        for (int dense = 0; dense < 2; dense++) {
            sn_matrix *matrix = NULL;
            ck_assert_int_eq(sn_matrix_create_dense(&matrix, context, shape[0], shape[1], w, 1), SN_OK);
            if (dense) {
                sn_matrix_free(matrix);
                ck_assert_int_eq(matrix_create_dense(&matrix, context, shape[0], shape[1], w), SN_OK);
            }
            ck_assert_int_eq(matrix->pattern == NULL, dense);
            check_products(context, matrix, w, shape[3]);
            check_token(context, matrix, w, 0.25);
            check_token(context, matrix, w, 1);
            sn_matrix_free(matrix);
        }
        free(w);
        if (n_threads == 1) /* a thread that is just starting may still hold its parameters */
            end_context(context, before);
        else
            sn_context_free(context);
    }
}
END_TEST

/* -------------------------------------------------------------- objects and values */

START_TEST(csr)
{
    /* row 1 and column 1 are empty; an explicit zero stays in the support */
    const size_t indptr[] = {0, 2, 2, 4};
    const uint32_t indices[] = {0, 3, 2, 3};
    const float values[] = {1, -2, 0, 4};
    sn_context *context = new_context(1);
    size_t before = held(context);
    sn_matrix *matrix = NULL;
    ck_assert_int_eq(sn_matrix_create_csr(&matrix, context, 3, 4, indptr, indices, values), SN_OK);
    ck_assert_uint_eq(sn_matrix_rows(matrix), 3);
    ck_assert_uint_eq(sn_matrix_cols(matrix), 4);
    ck_assert_uint_eq(sn_matrix_support(matrix), 4);
    const struct pattern_columns *columns = NULL, *again = NULL;
    const uint32_t start[] = {0, 1, 1, 2, 4}, entry[] = {0, 2, 1, 3};
    const uint16_t row_index[] = {0, 2, 0, 2};
    ck_assert_ptr_null(matrix->pattern->columns);
    ck_assert_int_eq(pattern_columns(&columns, context, matrix->pattern), SN_OK);
    ck_assert_mem_eq(columns->start, start, sizeof start);
    ck_assert_mem_eq(columns->index.low, row_index, sizeof row_index);
    ck_assert_ptr_null(columns->entry);
    ck_assert_int_eq(pattern_entries(&again, context, matrix->pattern), SN_OK);
    ck_assert_ptr_eq(again, columns);
    ck_assert_mem_eq(columns->entry, entry, sizeof entry);
    ck_assert_int_eq(pattern_columns(&again, context, matrix->pattern), SN_OK);
    ck_assert_ptr_eq(again, columns);
    const float dense[3][4] = {{1, 0, 0, -2}, {0, 0, 0, 0}, {0, 0, 0, 4}};
    for (size_t r = 0; r < 3; r++) {
        float row[4] = {9, 9, 9, 9};
        matrix_row(row, matrix, r);
        ck_assert_mem_eq(row, dense[r], sizeof row);
        for (size_t c = 0; c < 4; c++)
            ck_assert_float_eq(matrix_at(matrix, r, c), dense[r][c]);
    }
    ck_assert_uint_eq(matrix_bytes(matrix), held(context) - before);
    sn_matrix_free(matrix);
    ck_assert_int_eq(sn_matrix_create_csr(&matrix, context, 3, 4, indptr, indices, NULL), SN_OK);
    ck_assert_float_eq(matrix_at(matrix, 0, 0), 0);
    sn_matrix_free(matrix);
    end_context(context, before);
}
END_TEST

START_TEST(copies_have_their_own_values)
{
    sn_context *context = new_context(1);
    size_t before = held(context);
    random_seed(&random_numbers, 2, 0);
    float *w = new_sparse(50, 300, 300), *x = new_random(300), *y = new_floats(50),
          *y_before = new_floats(50);
    sn_matrix *matrix = NULL, *copy = NULL;
    ck_assert_int_eq(matrix_from_dense(&matrix, context, 50, 300, w, 0.45), SN_OK);
    ck_assert_ptr_nonnull(matrix->pattern);
    ck_assert_int_eq(matrix_copy(&copy, context, matrix), SN_OK);
    ck_assert_ptr_eq(copy->pattern, matrix->pattern);
    ck_assert_int_eq(sn_matrix_multiply(y_before, context, matrix, x, 1), SN_OK);

    float *doubled = new_floats(matrix->n_values);
    for (size_t i = 0; i < matrix->n_values; i++)
        doubled[i] = 2 * matrix->values[i];
    ck_assert_int_eq(sn_matrix_set_values(matrix, context, doubled, matrix->n_values), SN_OK);
    ck_assert_int_eq(sn_matrix_multiply(y, context, copy, x, 1), SN_OK);
    ck_assert_mem_eq(y, y_before, 50 * sizeof *y);
    ck_assert_int_eq(sn_matrix_multiply(y, context, matrix, x, 1), SN_OK);
    for (size_t i = 0; i < 50; i++)
        ck_assert_float_eq(y[i], 2 * y_before[i]);

    /* what the transposed order streams has changed too */
    float *dx = new_floats(300), *dx_copy = new_floats(300);
    ck_assert_int_eq(sn_matrix_multiply_transposed(dx, context, matrix, x, 1), SN_OK);
    ck_assert_int_eq(sn_matrix_multiply_transposed(dx_copy, context, copy, x, 1), SN_OK);
    for (size_t i = 0; i < 300; i++)
        ck_assert_float_eq(dx[i], 2 * dx_copy[i]);
    sn_matrix_free(matrix); /* the copy keeps the pattern and layout alive */
    ck_assert_int_eq(sn_matrix_multiply(y, context, copy, x, 1), SN_OK);
    ck_assert_mem_eq(y, y_before, 50 * sizeof *y);
    sn_matrix_free(copy);
    free(w), free(x), free(y), free(y_before), free(doubled), free(dx), free(dx_copy);
    end_context(context, before);
}
END_TEST

START_TEST(density_decides)
{
    sn_context *context = new_context(1);
    size_t before = held(context);
    const float w[] = {1, 0, 0, NAN};
    sn_matrix *matrix = NULL;
    ck_assert_int_eq(sn_matrix_create_dense(&matrix, context, 2, 2, w, 0.5), SN_OK);
    ck_assert_ptr_nonnull(matrix->pattern);
    ck_assert_uint_eq(sn_matrix_support(matrix), 2);
    sn_matrix_free(matrix);
    ck_assert_int_eq(sn_matrix_create_dense(&matrix, context, 2, 2, w, 0.49), SN_OK);
    ck_assert_ptr_null(matrix->pattern);
    ck_assert_uint_eq(sn_matrix_support(matrix), 4);
    sn_matrix_free(matrix);
    sn_matrix_free(NULL);
    end_context(context, before);
}
END_TEST

START_TEST(bad_arguments)
{
    sn_context *context = new_context(1);
    size_t before = held(context);
    sn_matrix *matrix = (sn_matrix *)&before;
    const size_t good[] = {0, 1, 2}, shrinking[] = {0, 2, 1}, late[] = {1, 1, 2}, wide[] = {0, 4, 4};
    const uint32_t outside[] = {0, 3}, inside[] = {0, 2, 2, 2};
    const float values[] = {1, 2, 3, 4};
    const size_t pair[] = {0, 2, 2};
    const uint32_t twice[] = {1, 1};
    expect_failure(sn_matrix_create_csr(&matrix, context, 2, 3, good, outside, values),
                   SN_ERROR_ARGUMENT, context, "indices[1] in row 1 is 3");
    ck_assert_ptr_null(matrix);
    expect_failure(sn_matrix_create_csr(&matrix, context, 2, 3, pair, twice, values), SN_ERROR_ARGUMENT,
                   context, "indices[1] in row 0 is 1 after 1");
    expect_failure(sn_matrix_create_csr(&matrix, context, 2, 3, shrinking, inside, values),
                   SN_ERROR_ARGUMENT, context, "row 1");
    expect_failure(sn_matrix_create_csr(&matrix, context, 2, 3, late, inside, values), SN_ERROR_ARGUMENT,
                   context, "indptr[0] is 1");
    expect_failure(sn_matrix_create_csr(&matrix, context, 2, 3, wide, inside, values), SN_ERROR_ARGUMENT,
                   context, "row 0");
    expect_failure(sn_matrix_create_csr(&matrix, context, 0, 3, good, inside, values), SN_ERROR_ARGUMENT,
                   context, "0 x 3");
    expect_failure(sn_matrix_create_csr(&matrix, context, 2, 3, good, NULL, values), SN_ERROR_ARGUMENT,
                   context, "indices");
    expect_failure(sn_matrix_create_csr(NULL, context, 2, 3, good, inside, values), SN_ERROR_ARGUMENT,
                   context, "out");
    ck_assert_int_eq(sn_matrix_create_csr(&matrix, NULL, 2, 3, good, inside, values), SN_ERROR_ARGUMENT);
    expect_failure(sn_matrix_create_dense(&matrix, context, 2, 0, values, 1), SN_ERROR_ARGUMENT, context,
                   "2 x 0");
    expect_failure(sn_matrix_create_dense(&matrix, context, SIZE_MAX, SIZE_MAX, values, 1),
                   SN_ERROR_ARGUMENT, context, "matrix");
    expect_failure(sn_matrix_create_dense(&matrix, context, 2, 2, values, NAN), SN_ERROR_ARGUMENT,
                   context, "max_density");
    ck_assert_int_eq(sn_matrix_create_dense(&matrix, context, 2, 2, values, 0.5), SN_OK);
    expect_failure(sn_matrix_set_values(matrix, context, values, 3), SN_ERROR_ARGUMENT, context,
                   "n is 3");
    expect_failure(sn_matrix_multiply(NULL, context, matrix, values, 2), SN_ERROR_ARGUMENT, context,
                   "y");
    expect_failure(sn_matrix_multiply_transposed(NULL, context, NULL, values, 2), SN_ERROR_ARGUMENT,
                   context, "matrix");
    expect_failure(sn_matrix_gradient(NULL, context, matrix, values, values, 1), SN_ERROR_ARGUMENT,
                   context, "values");
    ck_assert_int_eq(sn_matrix_multiply(NULL, context, matrix, NULL, 0), SN_OK);
    sn_matrix_free(matrix);
    end_context(context, before);
}
END_TEST

/* Every allocation fails once: a clean status, nothing leaked. */
struct failing {
    size_t left, live;
};

static void *failing_allocate(size_t size, void *payload)
{
    struct failing *failing = payload;
    if (failing->left == 0)
        return NULL;
    failing->left--;
    failing->live += size;
    return malloc(size);
}

static void *failing_reallocate(void *block, size_t old_size, size_t size, void *payload)
{
    struct failing *failing = payload;
    if (failing->left == 0)
        return NULL;
    failing->left--;
    failing->live += size - old_size;
    return realloc(block, size);
}

static void failing_release(void *block, size_t size, void *payload)
{
    ((struct failing *)payload)->live -= size;
    free(block);
}

/* SN_OK or the first failure of a walk through everything that allocates here. */
static int walk(sn_context *context, const float *w, float *scratch, unsigned char *keep)
{
    sn_matrix *matrix = NULL, *copy = NULL;
    int status = sn_matrix_create_dense(&matrix, context, 40, 300, w, 0.9);
    if (status == SN_OK)
        status = matrix_copy(&copy, context, matrix);
    if (status == SN_OK)
        status = sn_matrix_multiply(scratch, context, copy, w, 2);
    if (status == SN_OK)
        status = sn_matrix_gradient(scratch, context, copy, w, w, 2);
    if (status == SN_OK)
        status = sn_magnitude_select(keep, context, w, 40, 300, 200, SN_AXIS_ROW, 2);
    if (status == SN_OK)
        status = sn_abs_topk(scratch, context, w, 2, 300, 7);
    sn_matrix_free(matrix);
    sn_matrix_free(copy);
    return status;
}

START_TEST(out_of_memory)
{
    random_seed(&random_numbers, 3, 0);
    float *w = new_sparse(40, 300, 300), *scratch = new_floats(40 * 300);
    unsigned char keep[40 * 300];
    size_t allowed = 0;
    for (int status = SN_ERROR_MEMORY; status != SN_OK; allowed++) {
        struct failing failing = {allowed, 0};
        sn_allocator allocator = {failing_allocate, failing_reallocate, failing_release, &failing};
        sn_context *context = NULL;
        status = sn_context_create(&context, &allocator);
        if (status == SN_OK)
            status = walk(context, w, scratch, keep);
        ck_assert(status == SN_OK || status == SN_ERROR_MEMORY);
        sn_context_free(context);
        ck_assert_uint_eq(failing.live, 0);
    }
    ck_assert_uint_gt(allowed, 20);
    free(w), free(scratch);
}
END_TEST

/* ------------------------------------------------------------- panels and threads */

struct all_gradients {
    float *y, *dx, *on_support, *dense, *visited;
};

struct visit {
    float *whole;
    size_t cols, n_rows;
};

static int copy_block(void *payload, size_t first_row, size_t last_row, const float *block,
                      size_t worker)
{
    struct visit *visit = payload;
    (void)worker;
    memcpy(visit->whole + first_row * visit->cols, block,
           (last_row - first_row) * visit->cols * sizeof *block);
    __atomic_add_fetch(&visit->n_rows, last_row - first_row, __ATOMIC_RELAXED);
    return SN_OK;
}

static int stop_at_second(void *payload, size_t first_row, size_t last_row, const float *block,
                          size_t worker)
{
    (void)payload, (void)last_row, (void)block, (void)worker;
    return first_row > 0 ? SN_ERROR_CANCELLED : SN_OK;
}

#define ROWS 400
#define COLS 260
#define N_PANELS 3

static struct all_gradients run_all(size_t n_threads, const float *w, const float *x, const float *dy)
{
    sn_context *context = new_context(n_threads);
    sn_matrix *matrix = NULL;
    struct all_gradients out = {new_floats(ROWS * PANEL), new_floats(COLS * PANEL), NULL,
                                new_floats(ROWS * COLS), new_floats(ROWS * COLS)};
    struct visit visit = {out.visited, COLS, 0};
    ck_assert_int_eq(matrix_from_dense(&matrix, context, ROWS, COLS, w, SPARSE_MAX_DENSITY), SN_OK);
    ck_assert_ptr_nonnull(matrix->pattern);
    out.on_support = new_floats(matrix->n_values);
    matrix_multiply_panel(matrix, context->kernels, out.y, x, NULL, 0);
    ck_assert_int_eq(matrix_prepare_transposed(matrix, context), SN_OK);
    matrix_multiply_transposed_panel(matrix, context->kernels, out.dx, dy, 0);
    ck_assert_int_eq(
        matrix_gradient(out.on_support, context, matrix, dy, ROWS * PANEL, x, COLS * PANEL, N_PANELS),
        SN_OK);
    ck_assert_int_eq(matrix_gradient_dense(out.dense, context, ROWS, COLS, dy, ROWS * PANEL, x,
                                           COLS * PANEL, N_PANELS),
                     SN_OK);
    ck_assert_int_eq(matrix_gradient_visit(context, ROWS, COLS, dy, ROWS * PANEL, x, COLS * PANEL,
                                           N_PANELS, copy_block, &visit),
                     SN_OK);
    ck_assert_uint_eq(visit.n_rows, ROWS);
    ck_assert_int_eq(matrix_gradient_visit(context, ROWS, COLS, dy, ROWS * PANEL, x, COLS * PANEL,
                                           N_PANELS, stop_at_second, NULL),
                     SN_ERROR_CANCELLED);
    matrix_free(matrix);
    sn_context_free(context);
    return out;
}

static void free_all(struct all_gradients *all)
{
    free(all->y), free(all->dx), free(all->on_support), free(all->dense), free(all->visited);
}

START_TEST(gradients_agree_and_ignore_threads)
{
    random_seed(&random_numbers, 4, 0);
    float *w = new_sparse(ROWS, COLS, 200), *x = new_random(N_PANELS * COLS * PANEL);
    float *dy = new_random(N_PANELS * ROWS * PANEL);
    struct all_gradients one = run_all(1, w, x, dy), three = run_all(3, w, x, dy);
    double *expected = malloc(ROWS * COLS * sizeof *expected);
    size_t nnz = 0;
    for (size_t i = 0; i < ROWS * COLS; i++)
        if (w[i] != 0)
            expected[nnz++] = one.dense[i];
    assert_close("gradient on the support", one.on_support, expected, nnz);
    ck_assert_mem_eq(one.visited, one.dense, ROWS * COLS * sizeof *w);
    ck_assert_mem_eq(one.on_support, three.on_support, nnz * sizeof *w);
    ck_assert_mem_eq(one.dense, three.dense, ROWS * COLS * sizeof *w);
    ck_assert_mem_eq(one.visited, three.visited, ROWS * COLS * sizeof *w);
    for (size_t i = 0; i < ROWS * COLS; i++) {
        double sum = 0;
        for (size_t p = 0; p < N_PANELS; p++)
            for (size_t t = 0; t < PANEL; t++)
                sum +=
                    (double)dy[(p * ROWS + i / COLS) * PANEL + t] * x[(p * COLS + i % COLS) * PANEL + t];
        expected[i] = sum;
    }
    assert_close("dense gradient", one.dense, expected, ROWS * COLS);
    free_all(&one), free_all(&three);
    free(w), free(x), free(dy), free(expected);
}
END_TEST

START_TEST(bias_and_accumulation_on_panels)
{
    random_seed(&random_numbers, 5, 0);
    sn_context *context = new_context(1);
    float *w = new_sparse(150, 210, 300), *x = new_random(210 * PANEL), *bias = new_random(150);
    float *plain = new_floats(150 * PANEL), *y = new_random(150 * PANEL),
          *start = new_floats(150 * PANEL);
    for (int dense = 0; dense < 2; dense++) {
        sn_matrix *matrix = NULL;
        ck_assert_int_eq(matrix_from_dense(&matrix, context, 150, 210, w, dense ? 0 : 1), SN_OK);
        ck_assert_int_eq(matrix->pattern == NULL, dense);
        matrix_multiply_panel(matrix, context->kernels, plain, x, NULL, 0);
        memcpy(start, y, 150 * PANEL * sizeof *y);
        matrix_multiply_panel(matrix, context->kernels, y, x, NULL, 1);
        for (size_t i = 0; i < 150 * PANEL; i++)
            ck_assert_float_eq_tol(y[i], start[i] + plain[i], 1e-4f);
        matrix_multiply_panel(matrix, context->kernels, y, x, bias, 0);
        for (size_t i = 0; i < 150 * PANEL; i++)
            ck_assert_float_eq_tol(y[i], bias[i / PANEL] + plain[i], 1e-4f);
        matrix_free(matrix);
    }
    free(w), free(x), free(bias), free(plain), free(y), free(start);
    sn_context_free(context);
}
END_TEST

START_TEST(pattern_from_mask_equals_csr)
{
    sn_context *context = new_context(1);
    size_t before = held(context);
    const unsigned char keep[] = {0, 1, 0, 0, 0, 0, 7, 0, 1};
    const uint32_t row_start[] = {0, 1, 1, 3}, col_index[] = {1, 0, 2};
    struct pattern *a = NULL, *b = NULL;
    ck_assert_int_eq(pattern_from_mask(&a, context, 3, 3, keep), SN_OK);
    ck_assert_int_eq(pattern_create(&b, context, 3, 3, row_start, col_index), SN_OK);
    ck_assert_uint_eq(a->nnz, 3);
    ck_assert_mem_eq(a->row_start, row_start, sizeof row_start);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(pattern_column(a, i), col_index[i]);
    ck_assert_ptr_eq(pattern_retain(a), a);
    pattern_release(a);
    pattern_release(a);
    pattern_release(b);
    pattern_release(NULL);
    end_context(context, before);
}
END_TEST

Suite *matrix_suite(void);
Suite *matrix_suite(void)
{
    Suite *suite = suite_create("matrix");
    TCase *tests = tcase_create("products and values");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, csr);
    tcase_add_test(tests, copies_have_their_own_values);
    tcase_add_test(tests, density_decides);
    tcase_add_test(tests, bad_arguments);
    tcase_add_test(tests, out_of_memory);
    tcase_add_test(tests, bias_and_accumulation_on_panels);
    tcase_add_test(tests, pattern_from_mask_equals_csr);
    TCase *threads = tcase_create("threads"); /* what ThreadSanitizer looks at */
    tcase_set_timeout(threads, 60);
    tcase_add_loop_test(threads, products, 0, (int)(sizeof shapes / sizeof *shapes));
    tcase_add_test(threads, gradients_agree_and_ignore_threads);
    suite_add_tcase(suite, tests);
    suite_add_tcase(suite, threads);
    return suite;
}
