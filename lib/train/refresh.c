/* Refreshing the support (findings of RigL, with the paper's minimum per neuron): the smallest entries
 * are dropped, the entries off the support with the largest dense gradient of one batch grow at value 0.
 * The dense gradient passes by in blocks of rows; only bounded lists of candidates outlive a block. */
#include "train/trainer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define LOCAL_KEYS 1024
#define NEW_ENTRY UINT32_MAX

/* What one matrix drops and grows. */
struct growth {
    struct train_parameter *parameter; /* NULL: this one stays as it is */
    struct pattern *pattern;           /* the support before */
    unsigned char *retain;             /* nnz of it */
    size_t n_retained, n_grow;
    uint64_t *keys;             /* candidates, key_bytes() of room */
    size_t n_keys, limit;       /* cut down to `limit` whenever there are twice as many */
    _Atomic uint64_t threshold; /* smaller keys are no candidates any more */
    pthread_mutex_t lock;
    int has_entries; /* the keys have become the entries that grow */
    int applied;     /* the parameter has its new support */
};

struct refresh {
    struct growth *growths; /* by index of model parameter */
    size_t n_growths;
};

static size_t key_bytes(const struct growth *growth)
{
    return (2 * growth->limit + LOCAL_KEYS) * sizeof(uint64_t);
}

size_t refresh_estimate(size_t nnz, size_t n_grow, size_t shown)
{
    struct growth growth = {.limit = shown * n_grow};
    return memory_block_size(nnz) + memory_block_size(key_bytes(&growth));
}

/* -------------------------------------------------------------------- choosing */

/* How many entries stay and how many grow; returns the minimum per neuron that must stay. */
static size_t choose_counts(struct growth *growth, struct sn_trainer *trainer,
                            const struct step_plan *plan)
{
    struct train_parameter *parameter = growth->parameter;
    const struct parameter *model = train_model_parameter(trainer, parameter);
    size_t budget = train_budget(parameter, plan), nnz = growth->pattern->nnz;
    size_t neurons = model->axis == SN_AXIS_ROW ? model->rows : model->cols;
    int counts = parameter->class == CLASS_MATRIX && model->axis != SN_AXIS_NONE;
    size_t wanted = counts ? trainer->settings.minimum_per_neuron : 0;
    size_t minimum = wanted < budget / neurons ? wanted : budget / neurons;
    size_t base = budget < nnz ? budget : nnz;
    size_t least = minimum * neurons < base ? minimum * neurons : base;
    int grows = parameter->class != CLASS_BIGRAM; /* sessions do not show the table's dense gradient */
    size_t dropped = grows ? (size_t)(plan->drop_fraction * (double)base) : 0;
    parameter->minimum_lowered = minimum < wanted;
    growth->n_retained = base - dropped < least ? least : base - dropped;
    growth->n_grow = grows ? budget - growth->n_retained : 0;
    return minimum;
}

/* The support's values in its CSR order; a fresh block for a matrix that is stored dense. */
static const float *support_values(float **fresh, struct memory *memory, const struct sn_matrix *matrix,
                                   const struct pattern *pattern)
{
    *fresh = NULL;
    if (matrix->pattern)
        return matrix->values;
    *fresh = memory_allocate_array(memory, pattern->nnz, sizeof(float));
    for (size_t r = 0; *fresh && r < pattern->rows; r++)
        for (size_t i = pattern->row_start[r]; i < pattern->row_start[r + 1]; i++)
            (*fresh)[i] = matrix->values[r * pattern->cols + pattern_column(pattern, i)];
    return *fresh;
}

static int choose_retained(struct growth *growth, struct sn_trainer *trainer, size_t minimum)
{
    const struct parameter *model = train_model_parameter(trainer, growth->parameter);
    size_t nnz = growth->pattern->nnz;
    float *fresh;
    const float *values = support_values(&fresh, trainer->memory, model->matrix, growth->pattern);
    growth->retain = memory_allocate(trainer->memory, nnz);
    int status = values && growth->retain
                     ? support_select(growth->retain, trainer->context, growth->pattern, values,
                                      growth->n_retained, minimum ? model->axis : SN_AXIS_NONE, minimum)
                     : fail_memory(trainer->context, "a refresh of the support", nnz * sizeof *values);
    memory_free(trainer->memory, fresh, nnz * sizeof *values);
    return status;
}

static int current_pattern(struct pattern **out, struct sn_trainer *trainer,
                           struct train_parameter *parameter)
{
    const struct parameter *model = train_model_parameter(trainer, parameter);
    if (model->matrix->pattern) {
        *out = pattern_retain(model->matrix->pattern);
        return SN_OK;
    }
    if (!parameter->keep) {
        int status = train_keep_create(trainer->context, parameter);
        if (status != SN_OK)
            return status;
        memset(parameter->keep, 1, parameter->elements);
    }
    return pattern_from_mask(out, trainer->context, model->rows, model->cols, parameter->keep);
}

static int begin_growth(struct growth *growth, struct sn_trainer *trainer,
                        struct train_parameter *parameter, const struct step_plan *plan)
{
    pthread_mutex_init(&growth->lock, NULL);
    growth->parameter = parameter;
    int status = current_pattern(&growth->pattern, trainer, parameter);
    if (status == SN_OK)
        status = choose_retained(growth, trainer, choose_counts(growth, trainer, plan));
    if (status != SN_OK)
        return status;
    /* a tied embedding shows its gradient twice, once per use */
    int tied = trainer->model->wte == trainer->model->lm_head;
    int twice = tied && (int)parameter->index == trainer->model->wte;
    growth->limit = twice ? 2 * growth->n_grow : growth->n_grow;
    growth->keys = memory_allocate(trainer->memory, key_bytes(growth));
    return growth->keys ? SN_OK
                        : fail_memory(trainer->context, "candidates for growth", key_bytes(growth));
}

static int wants_refresh(const struct sn_trainer *trainer, const struct train_parameter *parameter,
                         const struct step_plan *plan)
{
    if (!train_model_parameter(trainer, parameter)->cols || parameter->class == CLASS_DENSE)
        return 0;
    size_t budget = train_budget(parameter, plan);
    if (budget < parameter->support)
        return 1;
    return parameter->class != CLASS_BIGRAM && parameter->support < parameter->elements &&
           (plan->refresh || budget > parameter->support);
}

int refresh_wanted(const struct sn_trainer *trainer, const struct step_plan *plan)
{
    for (size_t i = 0; trainer->settings.gradient == TRAIN_SUPPORT && i < trainer->n_parameters; i++)
        if (wants_refresh(trainer, &trainer->parameters[i], plan))
            return 1;
    return 0;
}

/* ------------------------------------------------------------------- listening */

static void cut_keys(struct growth *growth)
{
    uint64_t least = UINT64_MAX;
    top_keys(growth->keys, growth->n_keys, growth->limit);
    growth->n_keys = growth->limit;
    for (size_t i = 0; i < growth->limit; i++)
        least = growth->keys[i] < least ? growth->keys[i] : least;
    atomic_store_explicit(&growth->threshold, least, memory_order_relaxed);
}

static void flush_keys(struct growth *growth, const uint64_t *keys, size_t n)
{
    pthread_mutex_lock(&growth->lock);
    memcpy(growth->keys + growth->n_keys, keys, n * sizeof *keys);
    growth->n_keys += n;
    if (growth->n_keys > 2 * growth->limit)
        cut_keys(growth);
    pthread_mutex_unlock(&growth->lock);
}

/* The candidates of one block of the dense gradient. The keys are unique, so which of them survive
 * does not depend on the order in which blocks come. */
static int look_at_block(void *payload, size_t index, size_t first_row, size_t last_row,
                         const float *block, size_t worker)
{
    struct growth *growth = &((struct refresh *)payload)->growths[index];
    uint64_t local[LOCAL_KEYS];
    size_t n = 0;
    (void)worker;
    if (!growth->parameter || !growth->n_grow)
        return SN_OK;
    const struct pattern *pattern = growth->pattern;
    uint64_t threshold = atomic_load_explicit(&growth->threshold, memory_order_relaxed);
    for (size_t r = first_row; r < last_row; r++) {
        const float *row = block + (r - first_row) * pattern->cols;
        size_t i = pattern->row_start[r], last = pattern->row_start[r + 1];
        for (size_t c = 0; c < pattern->cols; c++) {
            int on = i < last && pattern_column(pattern, i) == c;
            int kept = on && growth->retain[i];
            i += (size_t)on;
            uint64_t key = magnitude_key(row[c], (uint32_t)(r * pattern->cols + c));
            if (kept || key <= threshold)
                continue;
            local[n++] = key;
            if (n == LOCAL_KEYS) {
                flush_keys(growth, local, n);
                threshold = atomic_load_explicit(&growth->threshold, memory_order_relaxed);
                n = 0;
            }
        }
    }
    if (n)
        flush_keys(growth, local, n);
    return SN_OK;
}

int refresh_begin(struct sn_trainer *trainer, const struct step_plan *plan)
{
    struct memory *memory = trainer->memory;
    size_t n = trainer->model->n_parameters;
    struct refresh *refresh = memory_allocate_zeroed(memory, sizeof *refresh);
    if (!refresh)
        return fail_memory(trainer->context, "a refresh of the support", sizeof *refresh);
    trainer->refresh = refresh;
    refresh->growths = memory_allocate_zeroed_array(memory, n, sizeof *refresh->growths);
    refresh->n_growths = n;
    if (!refresh->growths)
        return fail_memory(trainer->context, "a refresh of the support", n * sizeof *refresh->growths);
    for (size_t i = 0; i < trainer->n_parameters; i++) {
        struct train_parameter *parameter = &trainer->parameters[i];
        if (!wants_refresh(trainer, parameter, plan))
            continue;
        int status = begin_growth(&refresh->growths[parameter->index], trainer, parameter, plan);
        if (status != SN_OK)
            return status;
    }
    session_set_gradient_visitor(trainer->session, look_at_block, refresh);
    return SN_OK;
}

void refresh_end(struct sn_trainer *trainer)
{
    struct memory *memory = trainer->memory;
    struct refresh *refresh = trainer->refresh;
    trainer->refresh = NULL;
    if (!refresh)
        return;
    for (size_t i = 0; refresh->growths && i < refresh->n_growths; i++) {
        struct growth *growth = &refresh->growths[i];
        if (!growth->parameter)
            continue;
        memory_free(memory, growth->retain, growth->pattern ? growth->pattern->nnz : 0);
        memory_free(memory, growth->keys, key_bytes(growth));
        pattern_release(growth->pattern);
        pthread_mutex_destroy(&growth->lock);
    }
    memory_free(memory, refresh->growths, refresh->n_growths * sizeof *refresh->growths);
    memory_free(memory, refresh, sizeof *refresh);
}

/* ------------------------------------------------------------------ rebuilding */

static void swap_halves(uint64_t *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        keys[i] = keys[i] << 32 | keys[i] >> 32;
}

/* Of an entry that was shown twice the larger gradient counts. Sorting by index brings its two keys
 * together. */
static void merge_shown_twice(struct growth *growth)
{
    uint64_t *keys = growth->keys;
    size_t n = 0;
    swap_halves(keys, growth->n_keys);
    sort_keys(keys, growth->n_keys);
    for (size_t i = 0; i < growth->n_keys; i++) {
        if (n && keys[n - 1] >> 32 == keys[i] >> 32)
            n--;
        keys[n++] = keys[i];
    }
    swap_halves(keys, n);
    growth->n_keys = n;
}

/* The flat indices of the entries to grow, ascending, in place of the keys. */
static const uint64_t *grown_entries(struct growth *growth)
{
    if (growth->has_entries)
        return growth->keys;
    growth->has_entries = 1;
    if (growth->limit > growth->n_grow)
        merge_shown_twice(growth);
    if (growth->n_grow > growth->n_keys)
        growth->n_grow = growth->n_keys;
    top_keys(growth->keys, growth->n_keys, growth->n_grow);
    for (size_t i = 0; i < growth->n_grow; i++)
        growth->keys[i] = key_index(growth->keys[i]);
    sort_keys(growth->keys, growth->n_grow);
    return growth->keys;
}

/* The new support, row-major: where each entry stands, and where it stood in the old values. */
struct layout {
    size_t n;
    uint32_t *row_start; /* rows + 1 */
    uint32_t *col_index; /* n */
    uint32_t *source;    /* n; NEW_ENTRY for grown ones */
};

static void layout_free(struct layout *layout, struct memory *memory, size_t rows)
{
    memory_free(memory, layout->row_start, (rows + 1) * sizeof(uint32_t));
    memory_free(memory, layout->col_index, layout->n * sizeof(uint32_t));
    memory_free(memory, layout->source, layout->n * sizeof(uint32_t));
}

static void layout_add(struct layout *layout, size_t *filled, size_t col, size_t source)
{
    layout->col_index[*filled] = (uint32_t)col;
    layout->source[(*filled)++] = (uint32_t)source;
}

/* Merges what stays with what grows. stored_dense: old values lie row-major. */
static void layout_fill(struct layout *layout, const struct growth *growth, const uint64_t *grown,
                        int stored_dense)
{
    const struct pattern *pattern = growth->pattern;
    size_t g = 0, filled = 0, cols = pattern->cols;
    for (size_t r = 0; r < pattern->rows; r++) {
        layout->row_start[r] = (uint32_t)filled;
        for (size_t i = pattern->row_start[r]; i < pattern->row_start[r + 1]; i++) {
            size_t flat = r * cols + pattern_column(pattern, i);
            if (!growth->retain[i])
                continue;
            for (; g < growth->n_grow && grown[g] < flat; g++)
                layout_add(layout, &filled, grown[g] - r * cols, NEW_ENTRY);
            layout_add(layout, &filled, pattern_column(pattern, i), stored_dense ? flat : i);
        }
        for (; g < growth->n_grow && grown[g] < (r + 1) * cols; g++)
            layout_add(layout, &filled, grown[g] - r * cols, NEW_ENTRY);
    }
    layout->row_start[pattern->rows] = (uint32_t)filled;
}

static int layout_create(struct layout *layout, struct sn_trainer *trainer, struct growth *growth)
{
    struct memory *memory = trainer->memory;
    const struct sn_matrix *matrix = train_model_parameter(trainer, growth->parameter)->matrix;
    const uint64_t *grown = grown_entries(growth);
    layout->n = growth->n_retained + growth->n_grow;
    layout->row_start = memory_allocate_array(memory, matrix->rows + 1, sizeof(uint32_t));
    layout->col_index = memory_allocate_array(memory, layout->n, sizeof(uint32_t));
    layout->source = memory_allocate_array(memory, layout->n, sizeof(uint32_t));
    if (!layout->row_start || !layout->col_index || !layout->source)
        return fail_memory(trainer->context, "a refreshed support", 2 * layout->n * sizeof(uint32_t));
    layout_fill(layout, growth, grown, !matrix->pattern);
    return SN_OK;
}

/* to, from: values in the new and the old order; `cols` nonzero when the new order is row-major dense. */
static void move_values(float *to, const float *from, const struct layout *layout, size_t rows,
                        size_t cols)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = layout->row_start[r]; i < layout->row_start[r + 1]; i++)
            to[cols ? r * cols + layout->col_index[i] : i] =
                layout->source[i] == NEW_ENTRY ? 0 : from[layout->source[i]];
}

static int create_matrix(struct sn_matrix **out, struct sn_trainer *trainer, const struct layout *layout,
                         size_t rows, size_t cols, int sparse)
{
    struct pattern *pattern = NULL;
    *out = NULL;
    if (!sparse)
        return matrix_create_dense(out, trainer->context, rows, cols, NULL);
    int status =
        pattern_create(&pattern, trainer->context, rows, cols, layout->row_start, layout->col_index);
    if (status == SN_OK)
        status = matrix_create_sparse(out, trainer->context, pattern, NULL);
    pattern_release(pattern);
    return status;
}

/* The keep mask of a matrix that stays dense. */
static void mark_kept(struct train_parameter *parameter, const struct layout *layout, size_t rows,
                      size_t cols)
{
    memset(parameter->keep, 0, parameter->elements);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = layout->row_start[r]; i < layout->row_start[r + 1]; i++)
            parameter->keep[r * cols + layout->col_index[i]] = 1;
}

/* Makes the new matrix and moments, of which nothing is seen yet. */
static int make_next(struct sn_matrix **fresh, struct train_parameter *next, struct sn_trainer *trainer,
                     struct train_parameter *parameter, const struct layout *layout, int sparse)
{
    const struct parameter *model = train_model_parameter(trainer, parameter);
    size_t rows = model->rows, cols = sparse ? 0 : model->cols;
    *next = *parameter;
    next->first = next->second = NULL;
    next->n_values = 0;
    int status = create_matrix(fresh, trainer, layout, rows, model->cols, sparse);
    if (status == SN_OK)
        status = train_moments_create(trainer->context, next, (*fresh)->n_values);
    if (status != SN_OK)
        return status;
    move_values((*fresh)->values, model->matrix->values, layout, rows, cols);
    move_values(next->first, parameter->first, layout, rows, cols);
    move_values(next->second, parameter->second, layout, rows, cols);
    status = matrix_values_changed(*fresh, trainer->context);
    return status == SN_OK && !sparse ? train_keep_create(trainer->context, parameter) : status;
}

static void free_moments(struct memory *memory, struct train_parameter *parameter)
{
    memory_free(memory, parameter->first, parameter->n_values * sizeof(float));
    memory_free(memory, parameter->second, parameter->n_values * sizeof(float));
}

/* Moves weights and moments over and installs the new matrix; without memory all is as it was. */
static int rebuild(struct sn_trainer *trainer, struct train_parameter *parameter,
                   const struct layout *layout)
{
    struct parameter *model = train_model_parameter(trainer, parameter);
    int sparse = train_stored_sparse(parameter, layout->n);
    struct sn_matrix *fresh = NULL;
    struct train_parameter next;
    int status = make_next(&fresh, &next, trainer, parameter, layout, sparse);
    if (status != SN_OK) {
        free_moments(trainer->memory, &next);
        matrix_free(fresh);
        return status;
    }
    free_moments(trainer->memory, parameter);
    parameter->first = next.first;
    parameter->second = next.second;
    parameter->n_values = next.n_values;
    matrix_free(model->matrix);
    model->matrix = fresh;
    parameter->support = layout->n;
    if (sparse)
        train_keep_free(trainer->context, parameter);
    else
        mark_kept(parameter, layout, model->rows, model->cols);
    return SN_OK;
}

int refresh_apply(struct sn_trainer *trainer)
{
    int status = SN_OK;
    if (!trainer->refresh)
        return SN_OK;
    for (size_t i = 0; status == SN_OK && i < trainer->refresh->n_growths; i++) {
        struct growth *growth = &trainer->refresh->growths[i];
        struct layout layout = {0};
        if (!growth->parameter || growth->applied)
            continue;
        status = layout_create(&layout, trainer, growth);
        if (status == SN_OK)
            status = rebuild(trainer, growth->parameter, &layout);
        growth->applied = status == SN_OK;
        layout_free(&layout, trainer->memory, growth->pattern->rows);
    }
    return status == SN_OK ? session_parameters_changed(trainer->session) : status;
}
