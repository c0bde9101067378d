#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/model.h"

#define MAX_LAYER_PARAMETERS (18 + 2 * HELD_SITES)
#define MAX_MODEL_PARAMETERS 7

/* ---- the list of parameters, in the order of the released state dict */

struct shape {
    enum parameter_role role;
    int axis;
    size_t rows, cols;
};

/* Appends a parameter named "transformer.h.LAYER.NAME", or NAME alone with layer < 0. Its index, or -1
 * when out of memory. */
static int add(struct sn_model *model, long layer, const char *name, struct shape shape)
{
    char text[128];
    if (layer >= 0)
        snprintf(text, sizeof text, "transformer.h.%ld.%s", layer, name);
    else
        snprintf(text, sizeof text, "%s", name);
    struct parameter *parameter = &model->parameters[model->n_parameters];
    parameter->name = memory_copy_text(model->memory, text, strlen(text));
    if (!parameter->name)
        return -1;
    parameter->role = shape.role;
    parameter->axis = shape.axis;
    parameter->rows = shape.rows;
    parameter->cols = shape.cols;
    parameter->trainable = 1;
    return (int)model->n_parameters++;
}

static struct shape vector_shape(enum parameter_role role, size_t rows)
{
    struct shape shape = {role, SN_AXIS_NONE, rows, 0};
    return shape;
}

static struct shape matrix_shape(enum parameter_role role, int axis, size_t rows, size_t cols)
{
    struct shape shape = {role, axis, rows, cols};
    return shape;
}

/* A norm's gain and, for LayerNorm with ln_bias, its bias. */
static void add_norm(struct sn_model *model, long layer, const char *name, size_t width, int *weight,
                     int *bias)
{
    const struct config *config = &model->config;
    char text[64];
    snprintf(text, sizeof text, "%s.weight", name);
    *weight = add(model, layer, text, vector_shape(ROLE_NORM, width));
    if (config->rms_norm || !config->ln_bias)
        return;
    snprintf(text, sizeof text, "%s.bias", name);
    *bias = add(model, layer, text, vector_shape(ROLE_NORM, width));
}

/* A linear map y = W x + b, W: outputs x inputs. */
static void add_linear(struct sn_model *model, long layer, const char *name, int axis, size_t outputs,
                       size_t inputs, int *weight, int *bias)
{
    char text[64];
    snprintf(text, sizeof text, "%s.weight", name);
    *weight = add(model, layer, text, matrix_shape(ROLE_MATRIX, axis, outputs, inputs));
    if (!model->config.bias)
        return;
    snprintf(text, sizeof text, "%s.bias", name);
    *bias = add(model, layer, text, vector_shape(ROLE_BIAS, outputs));
}

static void add_held(struct sn_model *model, size_t index)
{
    static const char *const places[HELD_SITES] = {"attn_k", "attn_q", "attn_v", "attn_out", "mlp_out"};
    struct layer_parameters *layer = &model->layers[index];
    for (size_t i = 0; i < HELD_SITES; i++) {
        struct shape shape = vector_shape(ROLE_HELD, site_width(&model->config, held_site(index, i)));
        char text[64];
        snprintf(text, sizeof text, "held.%s.mask", places[i]);
        layer->held_mask[i] = add(model, (long)index, text, shape);
        snprintf(text, sizeof text, "held.%s.value", places[i]);
        layer->held_value[i] = add(model, (long)index, text, shape);
        if (layer->held_mask[i] >= 0)
            model->parameters[layer->held_mask[i]].trainable = 0;
        if (layer->held_value[i] >= 0)
            model->parameters[layer->held_value[i]].trainable = 0;
    }
}

static void add_layer(struct sn_model *model, size_t index)
{
    const struct config *config = &model->config;
    struct layer_parameters *layer = &model->layers[index];
    size_t d_model = config->d_model, d_in = config_d_in(config), d_attn = config_d_attn(config);
    long l = (long)index;
    for (int *entry = (int *)(void *)layer; entry < (int *)(void *)(layer + 1); entry++)
        *entry = -1;
    add_norm(model, l, "ln_1", d_model, &layer->ln_1, &layer->ln_1_bias);
    add_linear(model, l, "attn.c_attn", SN_AXIS_ROW, 3 * d_attn, d_in, &layer->c_attn,
               &layer->c_attn_bias);
    add_linear(model, l, "attn.c_proj", SN_AXIS_COLUMN, d_model, d_attn, &layer->attn_proj,
               &layer->attn_proj_bias);
    if (config->sink)
        layer->sink = add(model, l, "attn.attn_imp.sink_logit", vector_shape(ROLE_SINK, config->n_head));
    add_norm(model, l, "ln_2", d_model, &layer->ln_2, &layer->ln_2_bias);
    add_linear(model, l, "mlp.c_fc", SN_AXIS_ROW, config->d_mlp, d_in, &layer->c_fc, &layer->c_fc_bias);
    add_linear(model, l, "mlp.c_proj", SN_AXIS_COLUMN, d_model, config->d_mlp, &layer->mlp_proj,
               &layer->mlp_proj_bias);
    if (config->d_pos_emb > 0) {
        add_norm(model, l, "ln_p1", config->d_pos_emb, &layer->ln_p1, &layer->ln_p1_bias);
        add_norm(model, l, "ln_p2", config->d_pos_emb, &layer->ln_p2, &layer->ln_p2_bias);
    }
    if (config->held_nodes)
        add_held(model, index);
}

static void add_bigram(struct sn_model *model)
{
    size_t vocabulary = model->config.vocab_size;
    model->bigram =
        add(model, -1, "bigram_table", matrix_shape(ROLE_BIGRAM, SN_AXIS_NONE, vocabulary, vocabulary));
    if (model->bigram >= 0)
        model->parameters[model->bigram].trainable = model->config.learnable_bigram_table;
}

/* With d_pos_emb 0 the concatenated mode has no channels to concatenate: no wpe at all. */
static void add_positions(struct sn_model *model)
{
    const struct config *config = &model->config;
    size_t width = config->has_d_pos_emb ? config->d_pos_emb : config->d_model;
    if (width == 0)
        return;
    model->wpe = add(model, -1, "transformer.wpe.weight",
                     matrix_shape(config->has_d_pos_emb ? ROLE_POSITION : ROLE_EMBEDDING, SN_AXIS_NONE,
                                  config->block_size, width));
    if (model->wpe >= 0)
        model->parameters[model->wpe].trainable =
            !(config->has_d_pos_emb && config->sinusoidal_cat_pos_emb);
}

static void add_parameters(struct sn_model *model)
{
    const struct config *config = &model->config;
    size_t vocabulary = config->vocab_size, d_model = config->d_model;
    if (config->enable_bigram_table && config->learnable_bigram_table)
        add_bigram(model);
    model->logits_bias = add(model, -1, "final_logits_bias", vector_shape(ROLE_LOGIT_BIAS, vocabulary));
    if (model->logits_bias >= 0)
        model->parameters[model->logits_bias].trainable = 0;
    if (config->enable_bigram_table && !config->learnable_bigram_table)
        add_bigram(model);
    model->wte = add(model, -1, "transformer.wte.weight",
                     matrix_shape(ROLE_EMBEDDING, SN_AXIS_NONE, vocabulary, d_model));
    add_positions(model);
    for (size_t l = 0; l < config->n_layer; l++)
        add_layer(model, l);
    add_norm(model, -1, "transformer.ln_f", d_model, &model->ln_f, &model->ln_f_bias);
    model->lm_head = config->tied_unembed
                         ? model->wte
                         : add(model, -1, "lm_head.weight",
                               matrix_shape(ROLE_EMBEDDING, SN_AXIS_NONE, vocabulary, d_model));
}

/* How many add_parameters has to make: a shortfall means that memory ran out. */
static size_t count_parameters(const struct config *config)
{
    size_t norm = config->rms_norm || !config->ln_bias ? 1 : 2, linear = config->bias ? 2 : 1;
    size_t layer = (config->d_pos_emb ? 4 : 2) * norm + 4 * linear + (config->sink ? 1 : 0) +
                   (config->held_nodes ? 2 * HELD_SITES : 0);
    size_t positions = config->has_d_pos_emb && config->d_pos_emb == 0 ? 0 : 1;
    return config->n_layer * layer + norm + 2 + positions + (config->enable_bigram_table ? 1 : 0) +
           (config->tied_unembed ? 0 : 1);
}

/* ---- life of a model */

static size_t allocated_parameters(const struct config *config)
{
    return config->n_layer * MAX_LAYER_PARAMETERS + MAX_MODEL_PARAMETERS;
}

int model_allocate(struct sn_model **out, struct sn_context *context, const struct config *config)
{
    struct memory *memory = context->memory;
    *out = NULL;
    struct sn_model *model = memory_allocate_zeroed(memory, sizeof *model);
    if (!model)
        return fail_memory(context, "a model", sizeof *model);
    model->memory = memory_retain(memory);
    model->references = 1;
    model->config = *config;
    model->bigram = model->logits_bias = model->wte = model->wpe = -1;
    model->ln_f = model->ln_f_bias = model->lm_head = -1;
    model->config_json = config_write(memory, config);
    model->parameters =
        memory_allocate_zeroed_array(memory, allocated_parameters(config), sizeof *model->parameters);
    model->layers = memory_allocate_zeroed_array(memory, config->n_layer, sizeof *model->layers);
    model->site_names = site_names_create(memory, config);
    if (model->config_json && model->parameters && model->layers && model->site_names)
        add_parameters(model);
    if (model->n_parameters != count_parameters(config)) {
        sn_model_free(model);
        return fail_memory(context, "the parameters of a model", 0);
    }
    *out = model;
    return SN_OK;
}

int model_check_complete(const struct sn_model *model, struct sn_context *context, const char *source)
{
    for (size_t i = 0; i < model->n_parameters; i++) {
        const struct parameter *parameter = &model->parameters[i];
        if (!parameter->matrix && !parameter->vector && parameter->role != ROLE_LOGIT_BIAS)
            return fail(context, SN_ERROR_FORMAT, "%s: tensor %s is missing", source, parameter->name);
    }
    return SN_OK;
}

int parameter_zeros(struct parameter *parameter, struct sn_context *context)
{
    if (parameter->cols)
        return matrix_create_dense(&parameter->matrix, context, parameter->rows, parameter->cols, NULL);
    parameter->vector = memory_allocate_zeroed_array(context->memory, parameter->rows, sizeof(float));
    if (!parameter->vector)
        return fail_memory(context, parameter->name, parameter->rows * sizeof(float));
    return SN_OK;
}

int parameter_copy(struct parameter *to, struct sn_context *context, const struct parameter *from)
{
    if (from->matrix)
        return matrix_copy(&to->matrix, context, from->matrix);
    if (!from->vector)
        return SN_OK;
    int status = parameter_zeros(to, context);
    if (status == SN_OK)
        memcpy(to->vector, from->vector, from->rows * sizeof(float));
    return status;
}

int model_copy(struct sn_model **out, struct sn_context *context, const struct sn_model *model)
{
    struct sn_model *copy;
    *out = NULL;
    int status = model_allocate(&copy, context, &model->config);
    if (status != SN_OK)
        return status;
    for (size_t i = 0; i < model->n_parameters && status == SN_OK; i++)
        status = parameter_copy(&copy->parameters[i], context, &model->parameters[i]);
    if (status != SN_OK) {
        sn_model_free(copy);
        return status;
    }
    *out = copy;
    return SN_OK;
}

sn_model *sn_model_retain(sn_model *model)
{
    if (model)
        __atomic_add_fetch(&model->references, 1, __ATOMIC_RELAXED);
    return model;
}

static void free_text(struct memory *memory, char *text)
{
    if (text)
        memory_free(memory, text, strlen(text) + 1);
}

void sn_model_free(sn_model *model)
{
    if (!model || __atomic_sub_fetch(&model->references, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    struct memory *memory = model->memory;
    for (size_t i = 0; i < model->n_parameters; i++) {
        struct parameter *parameter = &model->parameters[i];
        free_text(memory, parameter->name);
        matrix_free(parameter->matrix);
        memory_free(memory, parameter->vector, parameter->rows * sizeof(float));
    }
    memory_free(memory, model->parameters,
                allocated_parameters(&model->config) * sizeof *model->parameters);
    memory_free(memory, model->layers, model->config.n_layer * sizeof *model->layers);
    site_names_free(memory, model->site_names, &model->config);
    free_text(memory, model->config_json);
    memory_free(memory, model, sizeof *model);
    memory_release(memory);
}

/* ---- looking things up */

/* Index in [first, last), -1 if the name is not there. */
static int find_between(const struct sn_model *model, const char *name, size_t first, size_t last)
{
    for (size_t i = first; i < last; i++)
        if (strcmp(model->parameters[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* A layer's parameters stand together, ln_1.weight first. */
static int find_in_layer(const struct sn_model *model, const char *name, const char *number)
{
    size_t layer = 0;
    for (; *number >= '0' && *number <= '9' && layer < model->config.n_layer; number++)
        layer = layer * 10 + (size_t)(*number - '0');
    if (layer >= model->config.n_layer)
        return -1;
    size_t last =
        layer + 1 < model->config.n_layer ? (size_t)model->layers[layer + 1].ln_1 : (size_t)model->ln_f;
    return find_between(model, name, (size_t)model->layers[layer].ln_1, last);
}

int model_find(const struct sn_model *model, const char *name)
{
    static const char prefix[] = "transformer.h.";
    if (strncmp(name, prefix, sizeof prefix - 1) == 0)
        return find_in_layer(model, name, name + sizeof prefix - 1);
    size_t first_layer = (size_t)(model->config.n_layer ? model->layers[0].ln_1 : model->ln_f);
    int index = find_between(model, name, 0, first_layer);
    return index >= 0 ? index : find_between(model, name, (size_t)model->ln_f, model->n_parameters);
}

size_t parameter_size(const struct parameter *parameter)
{
    return parameter->matrix ? parameter->matrix->n_values : parameter->rows;
}

float *parameter_values(const struct parameter *parameter)
{
    return parameter->matrix ? parameter->matrix->values : parameter->vector;
}

const char *sn_model_config_json(const sn_model *model)
{
    return model ? model->config_json : NULL;
}

size_t sn_model_tensor_count(const sn_model *model)
{
    return model ? model->n_parameters : 0;
}

const char *sn_model_tensor_name(const sn_model *model, size_t index)
{
    return model && index < model->n_parameters ? model->parameters[index].name : NULL;
}

int sn_model_tensor_info(size_t *rows, size_t *cols, size_t *support, int *is_sparse,
                         const sn_model *model, size_t index)
{
    if (!model || index >= model->n_parameters)
        return SN_ERROR_ARGUMENT;
    const struct parameter *parameter = &model->parameters[index];
    if (rows)
        *rows = parameter->rows;
    if (cols)
        *cols = parameter->cols;
    if (support)
        *support = parameter->matrix || parameter->vector ? parameter_size(parameter) : 0;
    if (is_sparse)
        *is_sparse = parameter->matrix && parameter->matrix->pattern;
    return SN_OK;
}

/* An absent final_logits_bias reads as zeros. */
static void write_dense(float *values, const struct parameter *parameter)
{
    if (parameter->matrix)
        for (size_t r = 0; r < parameter->rows; r++)
            matrix_row(values + r * parameter->cols, parameter->matrix, r);
    else if (parameter->vector)
        memcpy(values, parameter->vector, parameter->rows * sizeof *values);
    else
        memset(values, 0, parameter->rows * sizeof *values);
}

int sn_model_tensor(float *values, size_t capacity, size_t *needed, sn_context *context,
                    const sn_model *model, const char *name)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!model || !name)
        return fail(context, SN_ERROR_ARGUMENT, "sn_model_tensor: %s is NULL", model ? "name" : "model");
    int index = model_find(model, name);
    if (index < 0)
        return fail(context, SN_ERROR_ARGUMENT, "sn_model_tensor: the model has no tensor \"%.200s\"",
                    name);
    const struct parameter *parameter = &model->parameters[index];
    size_t count = parameter->rows * (parameter->cols ? parameter->cols : 1);
    /* copy_out with nothing to copy checks the arguments; the rows are written straight to the caller */
    int status = copy_out(context, name, values, capacity, needed, "", 0, sizeof *values);
    if (needed)
        *needed = count;
    if (status != SN_OK || !values)
        return status;
    if (capacity < count)
        return fail(context, SN_ERROR_CAPACITY, "%s: capacity %zu, needed %zu", name, capacity, count);
    write_dense(values, parameter);
    return SN_OK;
}
