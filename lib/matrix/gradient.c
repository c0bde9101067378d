#include <string.h>

#include "base/threads.h"
#include "kernels/dense.h"
#include "matrix/matrix.h"

/* Activations of all panels. */
struct panels {
    const float *dy, *x;
    size_t dy_stride, x_stride, n_panels;
};

/* ------------------------------------------------------------- on the support */

#define CHUNK_ENTRIES ((size_t)65536) /* sums of a chunk: 256 KB, they stay in the L2 cache */

struct sparse_work {
    const struct pattern *pattern;
    const struct kernel_table *kernels;
    struct panels panels;
    size_t chunk_rows;
    float *gradient;
};

/* Each chunk passes through all of x, so chunks are as large as the cache and the workers allow. The sums
 * do not depend on their number: one chunk adds up each entry, panel by panel. */
static size_t choose_chunk_rows(const struct pattern *pattern, size_t workers)
{
    size_t n = pattern->nnz / CHUNK_ENTRIES + 1;
    if (workers > 1 && n < 3 * workers)
        n = 3 * workers;
    return (pattern->rows + n - 1) / n;
}

/* Rows first..last-1 of one panel, tile by tile. */
static void sparse_panel(const struct sparse_work *work, size_t first, size_t last, const float *dy,
                         const float *x)
{
    const struct blocks *blocks = &work->pattern->blocks;
    const struct sparse_order order = {blocks, work->pattern->row_start, work->pattern->index.low, NULL};
    while (first < last) {
        size_t tile = first / blocks->tile_rows, begin = tile * blocks->tile_rows;
        size_t end = last - begin < blocks->tile_rows ? last - begin : blocks->tile_rows;
        for (size_t b = 0; b < blocks->n_blocks; b++) {
            struct sparse_block block = order_block(&order, tile, b);
            work->kernels->sparse_gradient(work->gradient, &block, first - begin, end,
                                           dy + begin * PANEL, x);
        }
        first = begin + end;
    }
}

static int sparse_chunk(void *payload, size_t chunk, size_t worker)
{
    (void)worker;
    const struct sparse_work *work = payload;
    const struct panels *panels = &work->panels;
    size_t first = chunk * work->chunk_rows, last = first + work->chunk_rows;
    if (last > work->pattern->rows)
        last = work->pattern->rows;
    for (size_t p = 0; p < panels->n_panels; p++)
        sparse_panel(work, first, last, panels->dy + p * panels->dy_stride,
                     panels->x + p * panels->x_stride);
    return SN_OK;
}

static int sparse_gradients(float *gradient, struct sn_context *context, const struct sn_matrix *matrix,
                            const struct panels *panels)
{
    const struct pattern *pattern = matrix->pattern;
    struct sparse_work work = {.pattern = pattern,
                               .kernels = context->kernels,
                               .panels = *panels,
                               .chunk_rows = choose_chunk_rows(pattern, parallel_workers(context)),
                               .gradient = gradient};
    return parallel_for(context, (pattern->rows + work.chunk_rows - 1) / work.chunk_rows, sparse_chunk,
                        &work);
}

/* ------------------------------------------------------------------------ dense */

struct dense_work {
    size_t rows, cols;
    const struct kernel_table *kernels;
    struct panels panels;
    float *gradient; /* whole, or one block per worker with `visit` */
    gradient_block_visitor visit;
    void *payload;
};

static int dense_chunk(void *payload, size_t chunk, size_t worker)
{
    const struct dense_work *work = payload;
    const struct panels *panels = &work->panels;
    size_t first = chunk * DENSE_GRADIENT_ROWS, last = first + DENSE_GRADIENT_ROWS;
    if (last > work->rows)
        last = work->rows;
    float *block = work->gradient + (work->visit ? worker * DENSE_GRADIENT_ROWS : first) * work->cols;
    if (work->visit)
        memset(block, 0, (last - first) * work->cols * sizeof *block);
    dense_gradient(work->kernels, block, work->cols, first, last, panels->dy, panels->dy_stride,
                   panels->x, panels->x_stride, panels->n_panels);
    return work->visit ? work->visit(work->payload, first, last, block, worker) : SN_OK;
}

static int run_dense(struct dense_work *work, struct sn_context *context)
{
    return parallel_for(context, (work->rows + DENSE_GRADIENT_ROWS - 1) / DENSE_GRADIENT_ROWS,
                        dense_chunk, work);
}

int matrix_gradient(float *gradient, struct sn_context *context, const struct sn_matrix *matrix,
                    const float *dy, size_t dy_stride, const float *x, size_t x_stride, size_t n_panels)
{
    struct panels panels = {dy, x, dy_stride, x_stride, n_panels};
    if (matrix->pattern)
        return sparse_gradients(gradient, context, matrix, &panels);
    return matrix_gradient_dense(gradient, context, matrix->rows, matrix->cols, dy, dy_stride, x,
                                 x_stride, n_panels);
}

int matrix_gradient_dense(float *gradient, struct sn_context *context, size_t rows, size_t cols,
                          const float *dy, size_t dy_stride, const float *x, size_t x_stride,
                          size_t n_panels)
{
    struct dense_work work = {.rows = rows,
                              .cols = cols,
                              .kernels = context->kernels,
                              .panels = {dy, x, dy_stride, x_stride, n_panels},
                              .gradient = gradient};
    return run_dense(&work, context);
}

int matrix_gradient_visit(struct sn_context *context, size_t rows, size_t cols, const float *dy,
                          size_t dy_stride, const float *x, size_t x_stride, size_t n_panels,
                          gradient_block_visitor visit, void *payload)
{
    size_t block = (rows < DENSE_GRADIENT_ROWS ? rows : DENSE_GRADIENT_ROWS), n;
    struct dense_work work = {.rows = rows,
                              .cols = cols,
                              .kernels = context->kernels,
                              .panels = {dy, x, dy_stride, x_stride, n_panels},
                              .visit = visit,
                              .payload = payload};
    /* one worker's block may be cut to the matrix, several stand DENSE_GRADIENT_ROWS apart */
    size_t workers = parallel_workers(context);
    if (workers > 1)
        block = DENSE_GRADIENT_ROWS * workers;
    if (!size_product(&n, block, cols))
        return fail_memory(context, "blocks of a gradient", SIZE_MAX);
    work.gradient = memory_allocate_array(context->memory, n, sizeof(float));
    if (!work.gradient)
        return fail_memory(context, "blocks of a gradient", n * sizeof(float));
    int status = run_dense(&work, context);
    memory_free(context->memory, work.gradient, n * sizeof(float));
    return status;
}

/* ----------------------------------------------------------------------- public */

#define GROUP_PANELS 16 /* panels transposed at a time: bounded scratch, whatever n_tokens */

struct group {
    const struct kernel_table *kernels;
    const float *dy, *x; /* token-major, from the group's first token on */
    size_t rows, cols, n_tokens;
    float *dy_panels, *x_panels;
};

static void to_panel(const struct kernel_table *kernels, float *panel, const float *tokens, size_t width,
                     size_t n)
{
    if (n < PANEL)
        memset(panel, 0, width * PANEL * sizeof *panel);
    kernels->transpose(panel, PANEL, tokens, width, n, width);
}

static int group_chunk(void *payload, size_t chunk, size_t worker)
{
    (void)worker;
    const struct group *group = payload;
    size_t token = chunk * PANEL, left = group->n_tokens - token, n = left < PANEL ? left : PANEL;
    to_panel(group->kernels, group->dy_panels + token * group->rows, group->dy + token * group->rows,
             group->rows, n);
    to_panel(group->kernels, group->x_panels + token * group->cols, group->x + token * group->cols,
             group->cols, n);
    return SN_OK;
}

static int add_groups(float *values, struct sn_context *context, const struct sn_matrix *matrix,
                      const float *dy, const float *x, size_t n_tokens, float *scratch)
{
    size_t rows = matrix->rows, cols = matrix->cols, limit = GROUP_PANELS * PANEL;
    for (size_t token = 0; token < n_tokens; token += limit) {
        size_t n = n_tokens - token < limit ? n_tokens - token : limit;
        size_t n_panels = (n + PANEL - 1) / PANEL;
        struct group group = {context->kernels,
                              dy + token * rows,
                              x + token * cols,
                              rows,
                              cols,
                              n,
                              scratch,
                              scratch + n_panels * PANEL * rows};
        int status = parallel_for(context, n_panels, group_chunk, &group);
        if (status == SN_OK)
            status = matrix_gradient(values, context, matrix, group.dy_panels, rows * PANEL,
                                     group.x_panels, cols * PANEL, n_panels);
        if (status != SN_OK)
            return status;
    }
    return SN_OK;
}

int sn_matrix_gradient(float *values, sn_context *context, const sn_matrix *matrix, const float *dy,
                       const float *x, size_t n_tokens)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    const char *missing = !matrix                       ? "matrix"
                          : !values && matrix->n_values ? "values"
                          : n_tokens && !dy             ? "dy"
                          : n_tokens && !x              ? "x"
                                                        : NULL;
    if (missing)
        return fail(context, SN_ERROR_ARGUMENT, "%s is NULL", missing);
    if (n_tokens == 0)
        return SN_OK;
    size_t n_panels = (n_tokens + PANEL - 1) / PANEL, n;
    if (n_panels > GROUP_PANELS)
        n_panels = GROUP_PANELS;
    if (!size_product(&n, n_panels * PANEL, matrix->rows + matrix->cols))
        return fail_memory(context, "panels", SIZE_MAX);
    float *scratch = memory_allocate_array(context->memory, n, sizeof *scratch);
    if (!scratch)
        return fail_memory(context, "panels", n * sizeof *scratch);
    int status = add_groups(values, context, matrix, dy, x, n_tokens, scratch);
    memory_free(context->memory, scratch, n * sizeof *scratch);
    return status;
}
