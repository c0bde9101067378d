/* A circuit as a model of its own: means become biases, and what no kept node needs is left out.
 *
 * A kept node's row loses the columns of ablated sources: weight times mean goes to the bias. The stream
 * keeps all its channels, so norms and AbsTopK in front of the reads are those of the circuit. Behind them
 * AbsTopK chooses among nodes of which some are gone: their rows stay as competitors, and held_nodes puts
 * them at their means afterwards (docs/circuits.md). */
#include <string.h>

#include "base/options.h"
#include "circuit/edges.h"

enum fold_topk { FOLD_EXACT, FOLD_OFF };

/* Of which AbsTopK chooses among nodes that linear maps write. */
static const enum topk_place inner_places[] = {TOPK_ATTN_Q,   TOPK_ATTN_K,     TOPK_ATTN_V,
                                               TOPK_ATTN_OUT, TOPK_MLP_NEURON, TOPK_MLP_OUT};
#define N_INNER (sizeof inner_places / sizeof *inner_places)

int fold_keeps_competitors(const struct config *config)
{
    for (size_t i = 0; i < N_INNER; i++) {
        size_t width = config_place_width(config, inner_places[i]);
        if (config_topk(config, inner_places[i], width) < width)
            return 1;
    }
    return 0;
}

struct fold {
    struct sn_context *context;
    const struct node_layout *layout; /* lent, as are these */
    const unsigned char *kept;
    const struct sn_means *means;
    struct gated_model gated; /* its edges are cut as the circuit's are; then it is folded in place */
    struct config config;     /* of the folded model */
};

static enum topk_place place_of(size_t site)
{
    switch (site % SITES_PER_LAYER) {
    case SITE_ATTN_K: return TOPK_ATTN_K;
    case SITE_ATTN_Q: return TOPK_ATTN_Q;
    case SITE_ATTN_V: return TOPK_ATTN_V;
    case SITE_ATTN_DELTA: return TOPK_ATTN_OUT;
    case SITE_MLP_POST_ACT: return TOPK_MLP_NEURON;
    default: return TOPK_MLP_OUT;
    }
}

/* Whether AbsTopK chooses at a site of the folded model. */
static int chooses(const struct fold *fold, size_t site)
{
    size_t width = site_width(&fold->config, site);
    return config_topk(&fold->config, place_of(site), width) < width;
}

static size_t count_kept(const struct fold *fold, size_t first, size_t width)
{
    size_t n = 0;
    for (size_t i = 0; i < width; i++)
        n += fold->kept[first + i] != 0;
    return n;
}

/* ---- the configuration */

static int holds_nodes(const struct fold *fold)
{
    for (size_t layer = 0; layer < fold->config.n_layer; layer++)
        for (size_t i = 0; i < HELD_SITES; i++) {
            size_t site = held_site(layer, i), width = site_width(&fold->config, site);
            size_t first = node_layout_first(fold->layout, site);
            if (chooses(fold, site) && count_kept(fold, first, width) < width)
                return 1;
        }
    return 0;
}

static void set_config(struct fold *fold, enum fold_topk topk)
{
    fold->config = fold->gated.model->config;
    for (size_t i = 0; topk == FOLD_OFF && i < N_INNER; i++)
        fold->config.topk_places &= ~(1u << inner_places[i]);
    if (holds_nodes(fold))
        fold->config.held_nodes = 1;
}

/* ---- rows */

/* A v channel at its mean still passes the softmax, whose weights sum to less than 1 beside a sink. */
static int source_is_constant(const struct fold *fold, const struct edge_part *part, size_t column)
{
    size_t node = part->from + column;
    const struct node_layout *layout = fold->layout;
    if (fold->kept[node])
        return 0;
    int from_v = layout->sites[node_layout_site(layout, node)].site % SITES_PER_LAYER == SITE_ATTN_V;
    return !from_v || !fold->config.sink || fold->means->values[node] == 0;
}

/* values: of the gated model's matrix. */
static void fold_row(struct fold *fold, const struct edge_part *part, float *values, size_t row)
{
    float *bias = &fold->gated.model->parameters[part->bias].vector[row];
    for (size_t i = edge_row(part, row); i < edge_row(part, row + 1); i++) {
        size_t column = edge_column(part, row, i);
        if (!source_is_constant(fold, part, column))
            continue;
        *bias += values[i] * fold->means->values[part->from + column];
        values[i] = 0;
    }
}

/* Nothing reads an ablated neuron any more; every other ablated node is its mean. */
static void drop_row(struct fold *fold, const struct edge_part *part, float *values, size_t row,
                     int neuron)
{
    size_t node = part->to + row - part->first_row;
    for (size_t i = edge_row(part, row); i < edge_row(part, row + 1); i++)
        values[i] = 0;
    fold->gated.model->parameters[part->bias].vector[row] = neuron ? 0 : fold->means->values[node];
}

static void fold_part(struct fold *fold, const struct edge_part *part)
{
    const struct node_layout *layout = fold->layout;
    size_t site = layout->sites[node_layout_site(layout, part->to)].site;
    float *values = fold->gated.model->parameters[part->parameter].matrix->values;
    int compete = chooses(fold, site) && count_kept(fold, part->to, part->n_rows) > 0;
    for (size_t r = 0; r < part->n_rows; r++) {
        if (compete || fold->kept[part->to + r])
            fold_row(fold, part, values, part->first_row + r);
        else
            drop_row(fold, part, values, part->first_row + r,
                     site % SITES_PER_LAYER == SITE_MLP_POST_ACT);
    }
}

/* ---- the model */

static size_t count_nonzeros(const struct sn_matrix *matrix)
{
    size_t n = 0;
    for (size_t i = 0; i < matrix->n_values; i++)
        n += matrix->values[i] != 0;
    return n;
}

/* row_start: rows + 1; column, values: as many as `matrix` has nonzeros. */
static void gather(uint32_t *row_start, uint32_t *column, float *values, const struct sn_matrix *matrix)
{
    const struct pattern *pattern = matrix->pattern;
    size_t n = 0;
    for (size_t r = 0; r < matrix->rows; r++) {
        size_t first = pattern ? pattern->row_start[r] : r * matrix->cols;
        size_t last = pattern ? pattern->row_start[r + 1] : first + matrix->cols;
        row_start[r] = (uint32_t)n;
        for (size_t i = first; i < last; i++) {
            if (matrix->values[i] == 0)
                continue;
            column[n] = pattern ? pattern_column(pattern, i) : (uint32_t)(i - first);
            values[n++] = matrix->values[i];
        }
    }
    row_start[matrix->rows] = (uint32_t)n;
}

/* A copy whose support is the nonzeros. */
static int compact(struct sn_matrix **out, struct sn_context *context, const struct sn_matrix *matrix)
{
    struct memory *memory = context->memory;
    size_t nnz = count_nonzeros(matrix);
    if ((double)nnz > SPARSE_MAX_DENSITY * (double)matrix->rows * (double)matrix->cols)
        return matrix_copy(out, context, matrix);
    uint32_t *row_start = memory_allocate_array(memory, matrix->rows + 1, sizeof *row_start);
    uint32_t *column = memory_allocate_array(memory, nnz + 1, sizeof *column);
    float *values = memory_allocate_array(memory, nnz + 1, sizeof *values);
    struct pattern *pattern = NULL;
    int status =
        row_start && column && values ? SN_OK : fail_memory(context, "a folded matrix", nnz * 8);
    if (status == SN_OK) {
        gather(row_start, column, values, matrix);
        status = pattern_create(&pattern, context, matrix->rows, matrix->cols, row_start, column);
    }
    if (status == SN_OK) {
        status = matrix_create_sparse(out, context, pattern, values);
        pattern_release(pattern);
    }
    memory_free(memory, row_start, (matrix->rows + 1) * sizeof *row_start);
    memory_free(memory, column, (nnz + 1) * sizeof *column);
    memory_free(memory, values, (nnz + 1) * sizeof *values);
    return status;
}

/* Nodes that the original held stay held. */
static void set_held(struct sn_model *model, const struct fold *fold, size_t layer, size_t i)
{
    size_t site = held_site(layer, i), first = node_layout_first(fold->layout, site);
    float *mask = model->parameters[model->layers[layer].held_mask[i]].vector;
    float *value = model->parameters[model->layers[layer].held_value[i]].vector;
    for (size_t c = 0; c < site_width(&model->config, site); c++)
        if (!fold->kept[first + c] && (mask[c] != 0 || chooses(fold, site))) {
            mask[c] = 1;
            value[c] = fold->means->values[first + c];
        }
}

static int make_model(struct sn_model **out, const struct fold *fold)
{
    struct sn_context *context = fold->context;
    int status = model_allocate(out, context, &fold->config);
    for (size_t i = 0; status == SN_OK && i < (*out)->n_parameters; i++) {
        struct parameter *to = &(*out)->parameters[i];
        int index = model_find(fold->gated.model, to->name);
        const struct parameter *from = index < 0 ? NULL : &fold->gated.model->parameters[index];
        if (!from)
            status = parameter_zeros(to, context);
        else if (from->role == ROLE_MATRIX)
            status = compact(&to->matrix, context, from->matrix);
        else
            status = parameter_copy(to, context, from);
    }
    for (size_t layer = 0; status == SN_OK && layer < fold->config.n_layer; layer++)
        for (size_t i = 0; fold->config.held_nodes && i < HELD_SITES; i++)
            set_held(*out, fold, layer, i);
    if (status != SN_OK) {
        sn_model_free(*out);
        *out = NULL;
    }
    return status;
}

static int fold_model(struct sn_model **out, struct fold *fold, struct sn_model *model,
                      const unsigned char *kept_edges, enum fold_topk topk)
{
    int status = gated_create(&fold->gated, fold->context, model, fold->layout, fold->means);
    if (status != SN_OK)
        return status;
    status = gated_set(&fold->gated, fold->context, kept_edges, 0);
    if (status == SN_OK) {
        set_config(fold, topk);
        for (size_t i = 0; i < fold->gated.n_parts; i++)
            fold_part(fold, &fold->gated.parts[i]);
        status = make_model(out, fold);
    }
    gated_free(&fold->gated);
    return status;
}

int fold_nodes(struct sn_model **out, struct sn_context *context, const struct node_layout *layout,
               const unsigned char *kept, const struct sn_means *means)
{
    struct fold fold = {.context = context, .layout = layout, .kept = kept, .means = means};
    return fold_model(out, &fold, means->model, NULL, FOLD_EXACT);
}

static size_t copy_bytes(const struct parameter *parameter)
{
    const struct sn_matrix *matrix = parameter->matrix;
    if (!matrix)
        return memory_block_size(parameter->rows * sizeof(float));
    return matrix_estimate(matrix->rows, matrix->cols, matrix->n_values, matrix->pattern != NULL);
}

size_t fold_bytes(size_t *folded, const struct sn_model *model)
{
    size_t copy = 0;
    for (size_t i = 0; i < model->n_parameters; i++)
        copy += copy_bytes(&model->parameters[i]);
    *folded = copy;
    return 2 * copy + memory_block_size(edge_count(model) * sizeof(float));
}

struct fold_settings {
    int topk;
};

int sn_circuit_fold(sn_model **out, sn_context *context, const sn_circuit *circuit,
                    const sn_means *means, const sn_options *options)
{
    static const struct option_spec specs[] = {
        {"topk", OPTION_CHOICE, offsetof(struct fold_settings, topk), FOLD_EXACT, 0, 0, "exact|off"}};
    struct fold_settings settings;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!circuit)
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_fold: circuit is NULL");
    int status = means_check(means, context, circuit->model, "sn_circuit_fold");
    if (status == SN_OK)
        status = options_read(&settings, context, "sn_circuit_fold", specs, 1, options);
    if (status != SN_OK)
        return status;
    struct fold fold = {
        .context = context, .layout = &circuit->layout, .kept = circuit->kept, .means = means};
    return fold_model(out, &fold, circuit->model, circuit->kept_edges, (enum fold_topk)settings.topk);
}
