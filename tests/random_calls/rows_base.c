/* Contexts, options, tensors, matrices. */
#include <string.h>

#include "play.h"

static void in_turn(size_t n, void (*body)(void *payload, size_t index), void *body_payload,
                    void *payload)
{
    (void)payload;
    for (size_t i = 0; i < n; i++)
        body(body_payload, i);
}

static int stop_sometimes(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)done, (void)total, (void)value, (void)payload;
    (void)answer_text(stage);
    return play.reports_left == 0 || --play.reports_left == 0;
}

static void *no_block(size_t size, void *payload)
{
    (void)size, (void)payload;
    return NULL;
}

static int create_context(void)
{
    struct world *world = &play.worlds[play.world];
    sn_allocator *allocator = block(sizeof *allocator);
    *allocator = world->allocator;
    if (odd())
        allocator->allocate = no_block;
    if (odd())
        allocator->reallocate = NULL;
    return sn_context_create(SLOT(context, K_CONTEXT), chance(10) ? NULL : allocator);
}

static int free_context(void)
{
    sn_context_free(play_take(K_CONTEXT));
    return SN_OK;
}

static int set_progress(void)
{
    sn_context_set_progress(C, odd() ? NULL : stop_sometimes, NULL);
    return SN_OK;
}

static int memory(void)
{
    size_t *current = odd() ? NULL : block(sizeof *current), *peak = odd() ? NULL : block(sizeof *peak);
    sn_context_memory(current, peak, C);
    return current && peak && *current <= *peak && *current ? SN_OK : NO_ANSWER;
}

static int set_limit(void)
{
    return sn_context_set_memory_limit(C, chance(50) ? 0 : amount(0, 10000000));
}

static int set_threads(void)
{
    return sn_context_set_threads(C, chance(70) ? 1 : few(1, 4));
}

static int set_parallel_for(void)
{
    return sn_context_set_parallel_for(C, chance(50) ? NULL : in_turn, NULL,
                                       chance(80) ? 1 : amount(1, 3));
}

#define KEYS "steps", "batch", "seed", "window", "density", "tokens", "target_loss"

static int set_option(void)
{
    return sn_options_set(CHANGE(options, K_OPTIONS), C, ONE_OF(KEYS), real(0, 3));
}

static int set_option_text(void)
{
    return sn_options_set_text(CHANGE(options, K_OPTIONS), C,
                               ONE_OF("method", "kind", "gradients", "split"),
                               ONE_OF("nodes", "edges", "zero", "support", "fresh"));
}

static int create_options(void)
{
    return sn_options_create(SLOT(options, K_OPTIONS), C);
}

static int free_options(void)
{
    sn_options_free(play_take(K_OPTIONS));
    return SN_OK;
}

/* ------------------------------------------------------------------- tensors */

static int free_tensors(void)
{
    sn_tensors_free(play_take(K_TENSORS));
    return SN_OK;
}

/* Shapes of which no array can be are to be refused: their product overflows. */
static int add_tensor(void)
{
    sn_tensors *tensors = CHANGE(tensors, K_TENSORS);
    const size_t n_dimensions = odd() ? 9 : draw(4);
    size_t *shape = block(9 * sizeof *shape), n = 1;
    for (size_t d = 0; d < 9; d++)
        shape[d] = draw(4);
    for (size_t d = 0; d < n_dimensions; d++)
        n *= shape[d];
    if (n_dimensions >= 2 && odd())
        shape[0] = shape[1] = SIZE_MAX / 3;
    if (tensors && sn_tensors_count(tensors) > 40)
        tensors = NULL;
    return sn_tensors_add(tensors, C,
                          chance(80) ? ONE_OF("a", "b", "c", "d/e", "f.g", "h", "i", "j") : text(),
                          odd() ? NULL : shape, n_dimensions, floats(n));
}

static int tensor_name(void)
{
    const sn_tensors *tensors = READ(tensors, K_TENSORS);
    return answer_text(sn_tensors_name(tensors, amount(0, 2)));
}

static int tensor_values(void)
{
    const size_t *shape = NULL;
    size_t n_dimensions = 9, n = 1;
    const sn_tensors *tensors = READ(tensors, K_TENSORS);
    const float *values = sn_tensors_values(odd() ? NULL : &shape, odd() ? NULL : &n_dimensions, tensors,
                                            ONE_OF("a", "b", "c"));
    const int known = shape && n_dimensions < 9;
    for (size_t d = 0; known && d < n_dimensions; d++)
        n *= shape[d];
    return answer_bytes(values, known ? n * sizeof *values : 0);
}

/* ------------------------------------------------------------------ matrices */

static int free_matrix(void)
{
    sn_matrix_free(play_take(K_MATRIX));
    return SN_OK;
}

static int create_csr(void)
{
    const size_t rows = draw(6), cols = few(1, 70);
    size_t *indptr = block((rows + 1) * sizeof *indptr), n = 0;
    uint32_t *indices = block(rows * 70 * sizeof *indices);
    for (size_t r = 0; r < rows; r++) {
        for (uint32_t c = 0; c < cols && c < 70; c++)
            if (chance(30))
                indices[n++] = c;
        indptr[r + 1] = n;
    }
    if (n && odd())
        indices[draw(n)] = chance(50) ? UINT32_MAX : (uint32_t)draw(70);
    if (odd())
        indptr[draw(rows + 1)] = chance(50) ? SIZE_MAX - draw(3) : draw(n + 1);
    return sn_matrix_create_csr(SLOT(matrix, K_MATRIX), C, rows, odd() ? SIZE_MAX / 2 : cols,
                                odd() ? NULL : indptr, odd() ? NULL : indices,
                                chance(10) ? NULL : floats(n));
}

/* As for tensors: sizes of which no array can be. */
static size_t overflowing(size_t *rows, size_t *cols)
{
    *rows = draw(6);
    *cols = draw(70);
    const size_t n = *rows * *cols;
    if (odd())
        *rows = *cols = (size_t)1 << (32 + draw(31));
    return n;
}

static int create_dense(void)
{
    size_t rows, cols;
    const float *values = floats(overflowing(&rows, &cols));
    return sn_matrix_create_dense(SLOT(matrix, K_MATRIX), C, rows, cols, values, real(0, 1));
}

static int set_values(void)
{
    sn_matrix *matrix = CHANGE(matrix, K_MATRIX);
    const size_t n = matrix ? sn_matrix_support(matrix) : 3;
    return sn_matrix_set_values(matrix, C, floats(n), odd() ? n + 1 + draw(3) : n);
}

/* Which of the three products. */
static int product(int which)
{
    const sn_matrix *matrix = READ(matrix, K_MATRIX);
    const size_t rows = sn_matrix_rows(matrix), cols = sn_matrix_cols(matrix),
                 n = chance(90) ? draw(5) : 70;
    const float *x = floats(n * cols), *dy = floats(n * rows);
    float *y = block(n * rows * sizeof *y), *dx = block(n * cols * sizeof *dx);
    float *values = block(sn_matrix_support(matrix) * sizeof *values);
    const int nowhere = odd();
    if (which == 0)
        return sn_matrix_multiply(nowhere ? NULL : y, C, matrix, x, n);
    if (which == 1)
        return sn_matrix_multiply_transposed(nowhere ? NULL : dx, C, matrix, dy, n);
    return sn_matrix_gradient(nowhere ? NULL : values, C, matrix, dy, x, n);
}

static int topk(void)
{
    size_t n_tokens, width;
    const size_t n = overflowing(&n_tokens, &width);
    const float *x = floats(n);
    float *y = block(n * sizeof *y);
    return sn_abs_topk(odd() ? NULL : y, C, x, n_tokens, width, amount(0, width));
}

static int magnitude_select(void)
{
    size_t rows, cols;
    const size_t n = overflowing(&rows, &cols);
    const float *w = floats(n);
    unsigned char *keep = block(n);
    const size_t k = n ? amount(n / 2, n) : amount(0, 0);
    return sn_magnitude_select(odd() ? NULL : keep, C, w, rows, cols, k,
                               whole(SN_AXIS_NONE, SN_AXIS_COLUMN), amount(0, 1));
}

static int save_tensors(void)
{
    return sn_tensors_save(READ(tensors, K_TENSORS), C, to_file());
}

#define ROWS(X)                                                                                         \
    X(sn_version_string, FAIR, answer_text(sn_version_string()))                                        \
    X(sn_status_string, FAIR, answer_text(sn_status_string(whole(0, 10))))                              \
    X(sn_context_create, FAIR, create_context())                                                        \
    X(sn_context_free, FAIR, free_context())                                                            \
    X(sn_context_message, CHEAP, answer_text(sn_context_message(C)))                                    \
    X(sn_context_isa, CHEAP, answer_text(sn_context_isa(C)))                                            \
    X(sn_context_set_threads, FAIR, set_threads())                                                      \
    X(sn_context_set_progress, CHEAP, set_progress())                                                   \
    X(sn_context_memory, CHEAP, memory())                                                               \
    X(sn_context_set_memory_limit, FAIR, set_limit())                                                   \
    X(sn_context_set_parallel_for, FAIR, set_parallel_for())                                            \
    X(sn_options_create, CHEAP, create_options())                                                       \
    X(sn_options_free, CHEAP, free_options())                                                           \
    X(sn_options_set, CHEAP, set_option())                                                              \
    X(sn_options_set_text, CHEAP, set_option_text())                                                    \
    X(sn_tensors_create, CHEAP, sn_tensors_create(SLOT(tensors, K_TENSORS), C))                         \
    X(sn_tensors_load, FAIR, sn_tensors_load(SLOT(tensors, K_TENSORS), C, from_file("tensors")))        \
    X(sn_tensors_free, CHEAP, free_tensors())                                                           \
    X(sn_tensors_add, CHEAP, add_tensor())                                                              \
    X(sn_tensors_save, FAIR, save_tensors())                                                            \
    X(sn_tensors_count, CHEAP, answer_number((double)sn_tensors_count(READ(tensors, K_TENSORS))))       \
    X(sn_tensors_name, CHEAP, tensor_name())                                                            \
    X(sn_tensors_values, CHEAP, tensor_values())                                                        \
    X(sn_matrix_create_csr, CHEAP, create_csr())                                                        \
    X(sn_matrix_create_dense, CHEAP, create_dense())                                                    \
    X(sn_matrix_free, CHEAP, free_matrix())                                                             \
    X(sn_matrix_rows, CHEAP, answer_number((double)sn_matrix_rows(READ(matrix, K_MATRIX))))             \
    X(sn_matrix_cols, CHEAP, answer_number((double)sn_matrix_cols(READ(matrix, K_MATRIX))))             \
    X(sn_matrix_support, CHEAP, answer_number((double)sn_matrix_support(READ(matrix, K_MATRIX))))       \
    X(sn_matrix_set_values, CHEAP, set_values())                                                        \
    X(sn_matrix_multiply, CHEAP, product(0))                                                            \
    X(sn_matrix_multiply_transposed, CHEAP, product(1))                                                 \
    X(sn_matrix_gradient, CHEAP, product(2))                                                            \
    X(sn_abs_topk, CHEAP, topk())                                                                       \
    X(sn_magnitude_select, CHEAP, magnitude_select())

DEFINE_ROWS(rows_base, ROWS)
