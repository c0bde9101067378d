/* One token through the model, on plain vectors and the caller's thread. What forward.c does for a panel
 * stands here for a token, in the same order; attention reads the cache. */
#include "model/generator.h"

#include <math.h>
#include <string.h>

static size_t whole(size_t n)
{
    return (n + 15) / 16 * 16;
}

/* ---- sites */

/* The session's interventions, which see a panel with this one token in it. */
static void intervene(struct sn_generator *generator, const struct attachment *attachment,
                      size_t position, float *x)
{
    if (attachment->intervention->token) {
        attachment->intervention->token(attachment->intervention, x);
        return;
    }
    float *panel = generator->vectors.panel;
    uint32_t sequence = 0, place = (uint32_t)position;
    struct site_view view = {.site = attachment->site,
                             .panel = position / PANEL,
                             .width = site_width(generator_config(generator), attachment->site),
                             .token = &place,
                             .n_tokens = 1,
                             .sequence = &sequence,
                             .position = &place};
    for (size_t c = 0; c < view.width; c++)
        panel[c * PANEL] = x[c];
    attachment->intervention->forward(attachment->intervention, &view, panel, NULL);
    for (size_t c = 0; c < view.width; c++)
        x[c] = panel[c * PANEL];
}

static void pass_site(struct sn_generator *generator, size_t site, size_t position, float *x)
{
    const struct sn_session *session = generator->session;
    struct generator_record *record = &generator->records[site];
    for (size_t i = 0; i < session->n_attachments; i++)
        if (session->attachments[i].site == site)
            intervene(generator, &session->attachments[i], position, x);
    if (record->running)
        memcpy(record->running, x, site_width(session_config(session), site) * sizeof *x);
}

/* ---- parts of a block */

static void norm(const struct sn_generator *generator, float *y, const float *x, int weight, int bias,
                 size_t width)
{
    const struct sn_session *session = generator->session;
    const struct kernel_table *kernels = session_kernels(session);
    if (session_config(session)->rms_norm)
        kernels->token_rms_norm(y, x, session_vector(session, weight), width);
    else
        kernels->token_layer_norm(y, x, session_vector(session, weight), session_vector(session, bias),
                                  width);
}

static void sparsify(const struct sn_generator *generator, enum topk_place place, float *x)
{
    const struct config *config = generator_config(generator);
    size_t width = config_place_width(config, place), k = config_topk(config, place, width);
    if (k < width)
        session_kernels(generator->session)->token_topk(x, width, k, generator->vectors.scratch);
}

static void multiply(const struct sn_generator *generator, const struct token_matrix *matrix, float *y,
                     const float *x, int bias)
{
    token_multiply(matrix, session_kernels(generator->session), y, x,
                   session_vector(generator->session, bias), generator->vectors.scratch);
}

/* x += row `row` of a table */
static void add_row(float *x, const struct sn_matrix *table, size_t row)
{
    const struct pattern *pattern = table->pattern;
    if (!pattern) {
        const float *values = table->values + row * table->cols;
        for (size_t c = 0; c < table->cols; c++)
            x[c] += values[c];
        return;
    }
    for (uint32_t i = pattern->row_start[row]; i < pattern->row_start[row + 1]; i++)
        x[pattern_column(pattern, i)] += table->values[i];
}

static void embed(struct sn_generator *generator, int32_t token, size_t position)
{
    const struct sn_session *session = generator->session;
    float *x = generator->vectors.stream;
    matrix_row(x, session_matrix(session, session->model->wte), (size_t)token);
    if (!session_config(session)->has_d_pos_emb)
        add_row(x, session_matrix(session, session->model->wpe), position);
}

/* Norm, positions, AbsTopK: what a block reads. which: 0 attention, 1 MLP. */
static void read_stream(struct sn_generator *generator, size_t layer, int which, size_t position)
{
    const struct sn_session *session = generator->session;
    const struct config *config = session_config(session);
    const struct layer_parameters *p = &session->model->layers[layer];
    float *x = generator->vectors.stream, *act_in = generator->vectors.act_in;
    size_t width = config->d_model, positions = config->d_pos_emb;
    pass_site(generator, site_index(layer, which ? SITE_RESID_MID : SITE_RESID_IN), position, x);
    norm(generator, act_in, x, which ? p->ln_2 : p->ln_1, which ? p->ln_2_bias : p->ln_1_bias, width);
    if (positions) {
        matrix_row(act_in + width, session_matrix(session, session->model->wpe), position);
        norm(generator, act_in + width, act_in + width, which ? p->ln_p2 : p->ln_p1,
             which ? p->ln_p2_bias : p->ln_p1_bias, positions);
    }
    sparsify(generator, which ? TOPK_MLP_IN : TOPK_ATTN_IN, act_in);
    pass_site(generator, site_index(layer, which ? SITE_MLP_ACT_IN : SITE_ATTN_ACT_IN), position,
              act_in);
}

/* Into the stream, with AbsTopK and site before; x: what the projection reads. */
static void write_stream(struct sn_generator *generator, size_t layer, int which, size_t position,
                         const float *x)
{
    const struct sn_session *session = generator->session;
    const struct config *config = session_config(session);
    const struct kernel_table *kernels = session_kernels(session);
    const struct generator_layer *matrices = &generator->layers[layer];
    const struct layer_parameters *p = &session->model->layers[layer];
    float *stream = generator->vectors.stream, *delta = generator->vectors.delta;
    multiply(generator, which ? &matrices->mlp_proj : &matrices->attn_proj, delta, x,
             which ? p->mlp_proj_bias : p->attn_proj_bias);
    sparsify(generator, which ? TOPK_MLP_OUT : TOPK_ATTN_OUT, delta);
    pass_site(generator, site_index(layer, which ? SITE_MLP_DELTA : SITE_ATTN_DELTA), position, delta);
    kernels->add(stream, delta, whole(config->d_model));
    if (config->residual_relu)
        kernels->relu(stream, stream, whole(config->d_model));
    sparsify(generator, which ? TOPK_RESID_POST_MLP : TOPK_RESID_POST_ATTN, stream);
}

static void attend(struct sn_generator *generator, size_t layer, size_t position)
{
    const struct sn_session *session = generator->session;
    const struct config *config = session_config(session);
    const float *sink = session_vector(session, session->model->layers[layer].sink);
    struct token_attention attention = {.pages = (const float *const *)generator->cache.pages,
                                        .n_tokens = position + 1,
                                        .d_head = config->d_head,
                                        .scale = (float)(1.0 / sqrt((double)config->d_head)),
                                        .has_sink = sink != NULL};
    for (size_t head = 0; head < config->n_head; head++) {
        size_t first = head * config->d_head;
        attention.sink = sink ? sink[head] : 0;
        attention.key = cache_place(&generator->cache, layer, 0, first);
        attention.value = cache_place(&generator->cache, layer, 1, first);
        session_kernels(session)->token_attention(generator->vectors.y + first,
                                                  generator->vectors.qkv + first, &attention,
                                                  generator->vectors.scratch);
    }
}

static void run_attention(struct sn_generator *generator, size_t layer, size_t position)
{
    const struct config *config = generator_config(generator);
    size_t d_attn = config_d_attn(config);
    float *q = generator->vectors.qkv, *k = q + d_attn, *v = k + d_attn, *y = generator->vectors.y;
    read_stream(generator, layer, 0, position);
    multiply(generator, &generator->layers[layer].c_attn, q, generator->vectors.act_in,
             generator->session->model->layers[layer].c_attn_bias);
    sparsify(generator, TOPK_ATTN_K, k);
    pass_site(generator, site_index(layer, SITE_ATTN_K), position, k);
    sparsify(generator, TOPK_ATTN_Q, q);
    pass_site(generator, site_index(layer, SITE_ATTN_Q), position, q);
    sparsify(generator, TOPK_ATTN_V, v);
    pass_site(generator, site_index(layer, SITE_ATTN_V), position, v);
    cache_put(&generator->cache, layer, position, k, v);
    attend(generator, layer, position);
    pass_site(generator, site_index(layer, SITE_ATTN_Y), position, y);
    write_stream(generator, layer, 0, position, y);
}

static void run_mlp(struct sn_generator *generator, size_t layer, size_t position)
{
    const struct config *config = generator_config(generator);
    const struct kernel_table *kernels = session_kernels(generator->session);
    float *hidden = generator->vectors.hidden;
    read_stream(generator, layer, 1, position);
    multiply(generator, &generator->layers[layer].c_fc, hidden, generator->vectors.act_in,
             generator->session->model->layers[layer].c_fc_bias);
    if (config->mlp_relu)
        kernels->relu(hidden, hidden, whole(config->d_mlp));
    else
        kernels->gelu(hidden, hidden, whole(config->d_mlp));
    sparsify(generator, TOPK_MLP_NEURON, hidden);
    pass_site(generator, site_index(layer, SITE_MLP_POST_ACT), position, hidden);
    write_stream(generator, layer, 1, position, hidden);
}

static void run_head(struct sn_generator *generator, int32_t token)
{
    const struct sn_session *session = generator->session;
    const struct sn_model *model = session->model;
    norm(generator, generator->vectors.normed, generator->vectors.stream, model->ln_f, model->ln_f_bias,
         model->config.d_model);
    multiply(generator, &generator->lm_head, generator->running, generator->vectors.normed,
             model->logits_bias);
    if (model->bigram >= 0)
        add_row(generator->running, session_matrix(session, model->bigram), (size_t)token);
}

struct step {
    struct sn_generator *generator;
    int32_t token;
    size_t position;
    int is_last;
};

static int run_step(void *payload, size_t chunk, size_t worker)
{
    const struct step *step = payload;
    struct sn_generator *generator = step->generator;
    const struct config *config = generator_config(generator);
    (void)chunk;
    (void)worker;
    embed(generator, step->token, step->position);
    for (size_t layer = 0; layer < config->n_layer; layer++) {
        run_attention(generator, layer, step->position);
        run_mlp(generator, layer, step->position);
    }
    pass_site(generator, SITES_PER_LAYER * config->n_layer, step->position, generator->vectors.stream);
    if (step->is_last)
        run_head(generator, step->token);
    return SN_OK;
}

/* One chunk: waking threads several times a layer costs more than a token's work has to share. The loop
 * sets the float mode. */
int generator_step(struct sn_generator *generator, int32_t token, size_t position, int is_last)
{
    struct step step = {generator, token, position, is_last};
    return parallel_for(generator->context, 1, run_step, &step);
}

/* ---- what a token needs */

static size_t widest(const struct config *config)
{
    size_t wide = 3 * config_d_attn(config);
    wide = config->d_mlp > wide ? config->d_mlp : wide;
    return config_d_in(config) > wide ? config_d_in(config) : wide;
}

static float *take(float **at, size_t n)
{
    float *taken = *at;
    *at += whole(n);
    return taken;
}

static void place_vectors(struct sn_generator *generator, const struct config *config)
{
    struct generator_vectors *v = &generator->vectors;
    float *at = generator->block;
    v->stream = take(&at, config->d_model);
    v->delta = take(&at, config->d_model);
    v->act_in = take(&at, config_d_in(config));
    v->qkv = take(&at, 3 * config_d_attn(config));
    v->y = take(&at, config_d_attn(config));
    v->hidden = take(&at, config->d_mlp);
    v->normed = take(&at, config->d_model);
    v->panel = take(&at, widest(config) * PANEL);
    v->scratch = at;
}

static int make_vectors(struct sn_generator *generator)
{
    const struct config *config = generator_config(generator);
    size_t topk = abs_topk_scratch(widest(config)),
           attention = token_attention_scratch(config->block_size, config->d_head);
    size_t scratch = (topk > attention ? topk : attention) / sizeof(float) + 16;
    size_t vectors = 3 * whole(config->d_model) + whole(config_d_in(config)) +
                     whole(3 * config_d_attn(config)) + whole(config_d_attn(config)) +
                     whole(config->d_mlp) + whole(widest(config) * PANEL);
    generator->block = memory_allocate_zeroed_array(generator->context->memory, vectors + scratch,
                                                    sizeof *generator->block);
    if (!generator->block)
        return fail_memory(generator->context, "vectors of a token", (vectors + scratch) * 4);
    generator->block_floats = vectors + scratch;
    place_vectors(generator, config);
    return SN_OK;
}

static int is_sparse(const struct config *config, enum topk_place place)
{
    size_t width = config_place_width(config, place);
    return config_topk(config, place, width) < width;
}

/* Whether a block reads mostly zeros: by AbsTopK of its own, or because the stream has them, which
 * RMSNorm keeps. */
static int reads_zeros(const struct config *config, enum topk_place own, enum topk_place stream)
{
    return is_sparse(config, own) ||
           (config->rms_norm && (config->residual_relu || is_sparse(config, stream)));
}

int generator_prepare(struct sn_generator *generator)
{
    struct sn_context *context = generator->context;
    const struct sn_session *session = generator->session;
    const struct config *config = session_config(session);
    int attention = reads_zeros(config, TOPK_ATTN_IN, TOPK_RESID_POST_MLP);
    int mlp = reads_zeros(config, TOPK_MLP_IN, TOPK_RESID_POST_ATTN);
    int neurons = config->mlp_relu || is_sparse(config, TOPK_MLP_NEURON);
    int head = config->rms_norm && (config->residual_relu || is_sparse(config, TOPK_RESID_POST_MLP));
    int status = make_vectors(generator);
    for (size_t l = 0; status == SN_OK && l < config->n_layer; l++) {
        struct generator_layer *layer = &generator->layers[l];
        const struct layer_parameters *p = &session->model->layers[l];
        const struct {
            struct token_matrix *to;
            int parameter, sparse_input;
        } matrices[] = {{&layer->c_attn, p->c_attn, attention},
                        {&layer->attn_proj, p->attn_proj, 0},
                        {&layer->c_fc, p->c_fc, mlp},
                        {&layer->mlp_proj, p->mlp_proj, neurons}};
        for (size_t i = 0; status == SN_OK && i < sizeof matrices / sizeof *matrices; i++)
            status = token_matrix_create(matrices[i].to, context,
                                         session_matrix(session, matrices[i].parameter),
                                         matrices[i].sparse_input);
    }
    if (status != SN_OK)
        return status;
    return token_matrix_create(&generator->lm_head, context,
                               session_matrix(session, session->model->lm_head), head);
}

void generator_release(struct sn_generator *generator)
{
    struct memory *memory = generator->context->memory;
    memory_free(memory, generator->block, generator->block_floats * sizeof *generator->block);
}
