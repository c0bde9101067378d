#include <string.h>

#include "circuit/edges.h"

/* What the columns of a part stand for has these means: nodes, or attention's output for attention c_proj. */
static const float *means_of(const struct gated_model *gated, const struct node_layout *layout,
                             const struct sn_means *means, size_t part)
{
    size_t layer = part / PARTS_PER_LAYER;
    if (gated->parts[part].from == node_layout_first(layout, site_index(layer, SITE_ATTN_V)))
        return means->carried + layer * config_d_attn(&gated->model->config);
    return means->values + gated->parts[part].from;
}

/* A copy that has biases wherever a linear map can have one; only what gates need gradients of is trainable. */
static int copy_model(struct sn_model **out, struct sn_context *context, const struct sn_model *model)
{
    struct config config = model->config;
    config.bias = 1;
    int status = model_allocate(out, context, &config);
    for (size_t i = 0; status == SN_OK && i < (*out)->n_parameters; i++) {
        struct parameter *to = &(*out)->parameters[i];
        int from = model_find(model, to->name);
        to->trainable = to->role == ROLE_MATRIX || to->role == ROLE_BIAS;
        if (from >= 0)
            status = parameter_copy(to, context, &model->parameters[from]);
        else
            status = parameter_zeros(to, context);
    }
    return status;
}

static int allocate(struct gated_model *gated, struct sn_context *context)
{
    gated->n_parts = gated->model->config.n_layer * PARTS_PER_LAYER;
    gated->parts = memory_allocate_array(gated->memory, gated->n_parts, sizeof *gated->parts);
    gated->source_means =
        memory_allocate_array(gated->memory, gated->n_parts, sizeof *gated->source_means);
    gated->weights = memory_allocate_array(gated->memory, gated->n_parts, sizeof *gated->weights);
    gated->n_edges = edge_count(gated->model);
    gated->gradient =
        memory_allocate_zeroed_array(gated->memory, gated->n_edges, sizeof *gated->gradient);
    if (gated->parts && gated->source_means && gated->weights && gated->gradient)
        return SN_OK;
    return fail_memory(context, "edge gates", gated->n_edges * sizeof *gated->gradient);
}

static const struct parameter *original_of(const struct gated_model *gated, int parameter)
{
    int index = model_find(gated->original, gated->model->parameters[parameter].name);
    return index < 0 ? NULL : &gated->original->parameters[index];
}

int gated_create(struct gated_model *gated, struct sn_context *context, const struct sn_model *model,
                 const struct node_layout *layout, const struct sn_means *means)
{
    memset(gated, 0, sizeof *gated);
    gated->memory = memory_retain(context->memory);
    gated->original = model;
    int status = copy_model(&gated->model, context, model);
    if (status == SN_OK)
        status = allocate(gated, context);
    if (status != SN_OK) {
        gated_free(gated);
        return status;
    }
    size_t n_edges = 0;
    for (size_t layer = 0; layer < model->config.n_layer; layer++)
        edge_parts(gated->parts + layer * PARTS_PER_LAYER, &n_edges, gated->model, layout, layer);
    for (size_t i = 0; i < gated->n_parts; i++) {
        gated->source_means[i] = means_of(gated, layout, means, i);
        gated->weights[i] = original_of(gated, gated->parts[i].parameter)->matrix->values;
    }
    return SN_OK;
}

void gated_free(struct gated_model *gated)
{
    if (!gated->memory)
        return;
    sn_model_free(gated->model);
    memory_free(gated->memory, gated->parts, gated->n_parts * sizeof *gated->parts);
    memory_free(gated->memory, gated->source_means, gated->n_parts * sizeof *gated->source_means);
    memory_free(gated->memory, gated->weights, gated->n_parts * sizeof *gated->weights);
    memory_free(gated->memory, gated->gradient, gated->n_edges * sizeof *gated->gradient);
    memory_release(gated->memory);
    memset(gated, 0, sizeof *gated);
}

/* kept NULL: all gates at `level`. */
static void set_part(struct gated_model *gated, size_t index, const unsigned char *kept, float level)
{
    const struct edge_part *part = &gated->parts[index];
    const struct parameter *bias = original_of(gated, part->bias);
    const float *weights = gated->weights[index], *mean = gated->source_means[index];
    for (size_t r = part->first_row; r < part->first_row + part->n_rows; r++) {
        float constant = 0;
        for (size_t i = edge_row(part, r); i < edge_row(part, r + 1); i++) {
            float gate = !kept ? level : kept[part->first + i - part->first_value] ? 1.0f : 0.0f;
            part->matrix->values[i] = gate * weights[i];
            if (gate != 1)
                constant += (1 - gate) * weights[i] * mean[edge_column(part, r, i)];
        }
        gated->model->parameters[part->bias].vector[r] = (bias ? bias->vector[r] : 0) + constant;
    }
}

static int set_parts(struct gated_model *gated, struct sn_context *context, const unsigned char *kept,
                     float level, int backward)
{
    int status = SN_OK;
    for (size_t i = 0; i < gated->n_parts; i++)
        set_part(gated, i, kept, level);
    for (size_t i = 0; backward && status == SN_OK && i < gated->model->n_parameters; i++)
        if (gated->model->parameters[i].role == ROLE_MATRIX)
            status = matrix_values_changed(gated->model->parameters[i].matrix, context);
    return status;
}

int gated_set(struct gated_model *gated, struct sn_context *context, const unsigned char *kept,
              int backward)
{
    return set_parts(gated, context, kept, 1, backward);
}

int gated_set_level(struct gated_model *gated, struct sn_context *context, float level)
{
    return set_parts(gated, context, NULL, level, 1);
}

void gated_gradient(struct gated_model *gated, struct sn_session *session)
{
    for (size_t p = 0; p < gated->n_parts; p++) {
        const struct edge_part *part = &gated->parts[p];
        const float *by_weight = session_gradient(session, (size_t)part->parameter);
        const float *by_bias = session_gradient(session, (size_t)part->bias);
        const float *weights = gated->weights[p], *mean = gated->source_means[p];
        float *gradient = gated->gradient + part->first;
        for (size_t r = part->first_row; r < part->first_row + part->n_rows; r++)
            for (size_t i = edge_row(part, r); i < edge_row(part, r + 1); i++)
                gradient[i - part->first_value] =
                    weights[i] * (by_weight[i] - by_bias[r] * mean[edge_column(part, r, i)]);
    }
}
