/* Calls of contexts, options, tensors and matrices. */
#include <string.h>

#include "calls.h"

#define MATRIX OBJECT(sn_matrix, O_MATRIX)
#define TENSORS OBJECT(sn_tensors, O_TENSORS)

static const float numbers[12] = {1, -2, 3, 0, 5, 0.25f, -7, 8, 9, 1, 0, -4};
static const size_t shape[2] = {3, 4}, indptr[4] = {0, 1, 3, 4};
static const uint32_t indices[4] = {3, 0, 2, 1};

static int no_progress(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)stage, (void)done, (void)total, (void)value, (void)payload;
    return 0;
}

static void in_turn(size_t n, void (*body)(void *payload, size_t index), void *body_payload,
                    void *payload)
{
    (void)payload;
    for (size_t i = 0; i < n; i++)
        body(body_payload, i);
}

static int take_context(struct world *w)
{
    sn_context_free(w->objects[O_CONTEXT]);
    w->objects[O_CONTEXT] = NULL;
    return SN_OK;
}

/* An object that is gone is not freed again. */
#define FREE_CALL(type, object)                                                                         \
    static int free_##type(struct world *w)                                                             \
    {                                                                                                   \
        sn_##type##_free(w->objects[object]);                                                           \
        w->objects[object] = NULL;                                                                      \
        return SN_OK;                                                                                   \
    }
FREE_CALL(options, O_OPTIONS)
FREE_CALL(tensors, O_TENSORS)
FREE_CALL(matrix, O_MATRIX)

static int tensor_values(struct world *w)
{
    const size_t *found;
    const float *values = sn_tensors_values(&found, &w->out.sizes[0], TENSORS, "a");
    return keep_bytes(w, values, found[0] * found[1] * sizeof *values);
}

static int matrix_gradient(struct world *w)
{
    return sn_matrix_gradient(w->out.floats, CONTEXT, MATRIX, numbers, numbers, 3);
}

#define CALLS(X)                                                                                        \
    X(sn_version_string, "", 0, 0, ALLOCATES_NOTHING, TEXT(sn_version_string()))                        \
    X(sn_status_string, "", 0, 0, ALLOCATES_NOTHING, TEXT(sn_status_string(SN_ERROR_IO)))               \
    X(sn_context_create, "", 0, 0, NO_MESSAGE,                                                          \
      sn_context_create(MADE(sn_context, O_CONTEXT), &w->allocator))                                    \
    X(sn_context_free, "", B(CONTEXT), 0, ALLOCATES_NOTHING, take_context(w))                           \
    X(sn_context_message, "", 0, 0, ALLOCATES_NOTHING, TEXT(sn_context_message(CONTEXT)))               \
    X(sn_context_isa, "", 0, 0, ALLOCATES_NOTHING, TEXT(sn_context_isa(CONTEXT)))                       \
    X(sn_context_set_threads, "", 0, 0, ALLOCATES_NOTHING, sn_context_set_threads(CONTEXT, 2))          \
    X(sn_context_set_progress, "", B(CONTEXT), 0, ALLOCATES_NOTHING,                                    \
      VOID(sn_context_set_progress(OBJECT(sn_context, O_CONTEXT), no_progress, NULL)))                  \
    X(sn_context_memory, "", B(CONTEXT), 0, ALLOCATES_NOTHING,                                          \
      VOID(sn_context_memory(&OUT.sizes[0], &OUT.sizes[1], OBJECT(sn_context, O_CONTEXT))))             \
    X(sn_context_set_memory_limit, "", B(CONTEXT), 0, ALLOCATES_NOTHING,                                \
      sn_context_set_memory_limit(OBJECT(sn_context, O_CONTEXT), 1000000))                              \
    X(sn_context_set_parallel_for, "", 0, 0, ALLOCATES_NOTHING,                                         \
      sn_context_set_parallel_for(CONTEXT, in_turn, NULL, 2))                                           \
    X(sn_options_create, "", 0, 0, 0, sn_options_create(MADE(sn_options, O_OPTIONS), CONTEXT))          \
    X(sn_options_free, "seed=1", 0, 0, ALLOCATES_NOTHING, free_options(w))                              \
    X(sn_options_set, "seed=1", 0, 0, 0, sn_options_set(OPTIONS, CONTEXT, "steps", 3))                  \
    X(sn_options_set_text, "seed=1", 0, 0, 0, sn_options_set_text(OPTIONS, CONTEXT, "kind", "zero"))    \
    X(sn_tensors_create, "", 0, 0, 0, sn_tensors_create(MADE(sn_tensors, O_TENSORS), CONTEXT))          \
    X(sn_tensors_load, "", 0, 0, READS,                                                                 \
      sn_tensors_load(MADE(sn_tensors, O_TENSORS), CONTEXT, FROM("tensors")))                           \
    X(sn_tensors_free, "", B(TENSORS), 0, ALLOCATES_NOTHING, free_tensors(w))                           \
    X(sn_tensors_add, "", 0, B(TENSORS), 0,                                                             \
      sn_tensors_add(TENSORS, CONTEXT, "more", shape, 2, numbers))                                      \
    X(sn_tensors_save, "", 0, B(TENSORS), WRITES, sn_tensors_save(TENSORS, CONTEXT, TO("tensors")))     \
    X(sn_tensors_count, "", B(TENSORS), 0, ALLOCATES_NOTHING, NUMBER(sn_tensors_count(TENSORS)))        \
    X(sn_tensors_name, "", B(TENSORS), 0, ALLOCATES_NOTHING, TEXT(sn_tensors_name(TENSORS, 0)))         \
    X(sn_tensors_values, "", B(TENSORS), 0, ALLOCATES_NOTHING, tensor_values(w))                        \
    X(sn_matrix_create_csr, "", 0, 0, 0,                                                                \
      sn_matrix_create_csr(MADE(sn_matrix, O_MATRIX), CONTEXT, 3, 4, indptr, indices, numbers))         \
    X(sn_matrix_create_dense, "", 0, 0, 0,                                                              \
      sn_matrix_create_dense(MADE(sn_matrix, O_MATRIX), CONTEXT, 3, 4, numbers, 1))                     \
    X(sn_matrix_free, "", B(MATRIX), 0, ALLOCATES_NOTHING, free_matrix(w))                              \
    X(sn_matrix_rows, "", B(MATRIX), 0, ALLOCATES_NOTHING, NUMBER(sn_matrix_rows(MATRIX)))              \
    X(sn_matrix_cols, "", B(MATRIX), 0, ALLOCATES_NOTHING, NUMBER(sn_matrix_cols(MATRIX)))              \
    X(sn_matrix_support, "", B(MATRIX), 0, ALLOCATES_NOTHING, NUMBER(sn_matrix_support(MATRIX)))        \
    X(sn_matrix_set_values, "", 0, B(MATRIX), ALLOCATES_NOTHING,                                        \
      sn_matrix_set_values(MATRIX, CONTEXT, numbers, 5))                                                \
    X(sn_matrix_multiply, "", 0, B(MATRIX), 0,                                                          \
      sn_matrix_multiply(OUT.floats, CONTEXT, MATRIX, numbers, 3))                                      \
    X(sn_matrix_multiply_transposed, "", 0, B(MATRIX), KEEPS_MEMORY,                                    \
      sn_matrix_multiply_transposed(OUT.floats, CONTEXT, MATRIX, numbers, 3))                           \
    X(sn_matrix_gradient, "", 0, B(MATRIX), 0, matrix_gradient(w))                                      \
    X(sn_abs_topk, "", 0, 0, 0, sn_abs_topk(OUT.floats, CONTEXT, numbers, 3, 4, 2))                     \
    X(sn_magnitude_select, "", 0, 0, 0,                                                                 \
      sn_magnitude_select((unsigned char *)OUT.bytes, CONTEXT, numbers, 3, 4, 5, SN_AXIS_ROW, 1))

DEFINE_TABLE(calls_base, CALLS)
