/* The forward pass. A panel of tokens goes as far as it can on one worker: from attention's write over
 * the MLP to the next attention's read; only attention itself gathers across panels. */
#include "model/session_state.h"

#include <math.h>
#include <string.h>

void norm_forward(const struct sn_session *session, float *y, float *mean, float *inverse, const float *x,
                  int weight, int bias, size_t width)
{
    const struct kernel_table *kernels = session_kernels(session);
    if (session_config(session)->rms_norm)
        kernels->rms_norm(y, inverse, x, session_vector(session, weight), width);
    else
        kernels->layer_norm(y, mean, inverse, x, session_vector(session, weight),
                            session_vector(session, bias), width);
}

/* AbsTopK in place; remembers what was kept. */
static void sparsify(const struct sn_session *session, struct layer_state *state, enum topk_place place,
                     size_t panel, float *x, void *scratch)
{
    const struct config *config = session_config(session);
    size_t width = config_place_width(config, place), k = config_topk(config, place, width);
    if (k < width)
        session_kernels(session)->abs_topk(x, mask_of(state->mask[place], panel, width), width, k, scratch);
}

/* Residual ReLU and AbsTopK share one mask: what passes the gradient. */
static void finish_residual(const struct sn_session *session, struct layer_state *state,
                            enum topk_place place, size_t panel, float *x, void *scratch)
{
    const struct config *config = session_config(session);
    size_t width = config->d_model;
    if (config->residual_relu)
        session_kernels(session)->relu(x, x, width * PANEL);
    sparsify(session, state, place, panel, x, scratch);
    if (!config->residual_relu)
        return;
    uint64_t *mask = mask_of(state->mask[place], panel, width);
    for (size_t c = 0; c < width; c++) {
        uint64_t positive = 0;
        for (size_t t = 0; t < PANEL; t++)
            positive |= (uint64_t)(x[c * PANEL + t] > 0) << t;
        mask[c] = positive;
    }
}

/* Norm, positions, AbsTopK: what a block reads. which: 0 attention, 1 MLP. */
static void read_residual(struct sn_session *session, size_t layer, int which, size_t panel, char *scratch)
{
    const struct config *config = session_config(session);
    const struct layer_parameters *p = &session->model->layers[layer];
    struct layer_state *state = &session->layers[layer];
    size_t width = config->d_model, positions = config->d_pos_emb;
    size_t site = site_index(layer, which ? SITE_RESID_MID : SITE_RESID_IN);
    float *stream = panel_of(session->stream[2 * layer + (size_t)which], panel, width);
    float *read = panel_of(state->read[which], panel, width);
    float *act_in = panel_of(state->act_in[which], panel, config_d_in(config));
    site_forward(session, site, panel, stream, 0);
    if (read != stream) {
        memcpy(read, stream, width * PANEL * sizeof *read);
        site_forward(session, site, panel, read, 1);
    }
    norm_forward(session, act_in, panel_of(state->mean[which], panel, 1),
                 panel_of(state->inverse[which], panel, 1), read, which ? p->ln_2 : p->ln_1,
                 which ? p->ln_2_bias : p->ln_1_bias, width);
    if (positions) {
        float *rows = (float *)scratch, *mean = rows + positions * PANEL, *inverse = mean + PANEL;
        position_rows(session, panel, rows);
        norm_forward(session, act_in + width * PANEL, mean, inverse, rows, which ? p->ln_p2 : p->ln_p1,
                     which ? p->ln_p2_bias : p->ln_p1_bias, positions);
    }
    sparsify(session, state, which ? TOPK_MLP_IN : TOPK_ATTN_IN, panel, act_in, scratch);
    site_forward(session, site_index(layer, which ? SITE_MLP_ACT_IN : SITE_ATTN_ACT_IN), panel, act_in, 0);
}

static void attention_read(struct sn_session *session, size_t layer, size_t panel, char *scratch)
{
    const struct config *config = session_config(session);
    const struct layer_parameters *p = &session->model->layers[layer];
    struct layer_state *state = &session->layers[layer];
    size_t d_attn = config_d_attn(config);
    float *q = panel_of(state->qkv, panel, 3 * d_attn), *k = q + d_attn * PANEL, *v = k + d_attn * PANEL;
    read_residual(session, layer, 0, panel, scratch);
    matrix_multiply_panel(session_matrix(session, p->c_attn), session_kernels(session), q,
                          panel_of(state->act_in[0], panel, config_d_in(config)),
                          session_vector(session, p->c_attn_bias), 0);
    sparsify(session, state, TOPK_ATTN_K, panel, k, scratch);
    site_forward(session, site_index(layer, SITE_ATTN_K), panel, k, 0);
    sparsify(session, state, TOPK_ATTN_Q, panel, q, scratch);
    site_forward(session, site_index(layer, SITE_ATTN_Q), panel, q, 0);
    sparsify(session, state, TOPK_ATTN_V, panel, v, scratch);
    site_forward(session, site_index(layer, SITE_ATTN_V), panel, v, 0);
}

/* Projection of a sublayer's output, AbsTopK, site; then into the residual stream. */
static void write_residual(struct sn_session *session, size_t layer, int which, size_t panel,
                           const float *x, char *scratch)
{
    const struct config *config = session_config(session);
    const struct layer_parameters *p = &session->model->layers[layer];
    struct layer_state *state = &session->layers[layer];
    size_t width = config->d_model, sublayer = 2 * layer + (size_t)which;
    float *delta = panel_of(session->stream[sublayer + 1], panel, width);
    matrix_multiply_panel(session_matrix(session, which ? p->mlp_proj : p->attn_proj),
                          session_kernels(session), delta, x,
                          session_vector(session, which ? p->mlp_proj_bias : p->attn_proj_bias), 0);
    sparsify(session, state, which ? TOPK_MLP_OUT : TOPK_ATTN_OUT, panel, delta, scratch);
    site_forward(session, site_index(layer, which ? SITE_MLP_DELTA : SITE_ATTN_DELTA), panel, delta, 0);
    session_kernels(session)->add(delta, panel_of(session->stream[sublayer], panel, width), width * PANEL);
    finish_residual(session, state, which ? TOPK_RESID_POST_MLP : TOPK_RESID_POST_ATTN, panel, delta,
                    scratch);
}

static void attention_write(struct sn_session *session, size_t layer, size_t panel, char *scratch)
{
    struct layer_state *state = &session->layers[layer];
    size_t d_attn = config_d_attn(session_config(session));
    float *y = panel_of(state->y, panel, d_attn);
    if (state->y_before != state->y)
        memcpy(panel_of(state->y_before, panel, d_attn), y, d_attn * PANEL * sizeof *y);
    site_forward(session, site_index(layer, SITE_ATTN_Y), panel, y, 0);
    write_residual(session, layer, 0, panel, y, scratch);
}

static void mlp(struct sn_session *session, size_t layer, size_t panel, char *scratch)
{
    const struct config *config = session_config(session);
    const struct kernel_table *kernels = session_kernels(session);
    const struct layer_parameters *p = &session->model->layers[layer];
    struct layer_state *state = &session->layers[layer];
    size_t d_mlp = config->d_mlp;
    float *pre = panel_of(state->pre_act, panel, d_mlp), *post = panel_of(state->post_act, panel, d_mlp);
    read_residual(session, layer, 1, panel, scratch);
    matrix_multiply_panel(session_matrix(session, p->c_fc), kernels, pre,
                          panel_of(state->act_in[1], panel, config_d_in(config)),
                          session_vector(session, p->c_fc_bias), 0);
    if (config->mlp_relu)
        kernels->relu(post, pre, d_mlp * PANEL);
    else
        kernels->gelu(post, pre, d_mlp * PANEL);
    sparsify(session, state, TOPK_MLP_NEURON, panel, post, scratch);
    site_forward(session, site_index(layer, SITE_MLP_POST_ACT), panel, post, 0);
    write_residual(session, layer, 1, panel, post, scratch);
}

/* What a panel does between two attentions; -1 = nothing. */
struct panel_work {
    struct sn_session *session;
    int embed;
    int write_layer, mlp_layer, read_layer;
};

static int run_panel(void *payload, size_t panel, size_t worker)
{
    const struct panel_work *work = payload;
    struct sn_session *session = work->session;
    char *scratch = worker_scratch(session, worker);
    if (work->embed)
        embedding_forward(session, panel);
    if (work->write_layer >= 0)
        attention_write(session, (size_t)work->write_layer, panel, scratch);
    if (work->mlp_layer >= 0)
        mlp(session, (size_t)work->mlp_layer, panel, scratch);
    if (work->read_layer >= 0)
        attention_read(session, (size_t)work->read_layer, panel, scratch);
    return SN_OK;
}

/* ---- attention: one (sequence, head) per chunk */

struct attention_work {
    struct sn_session *session;
    size_t layer;
};

/* Channels first..first+n-1 of one sequence: panels [width][PANEL] <-> [n][stride]. */
static void gather_sequence(const struct sn_session *session, size_t sequence, float *to, size_t stride,
                            const float *panels, size_t width, size_t first, size_t n)
{
    size_t begin = session->offsets[sequence], end = session->offsets[sequence + 1];
    for (size_t c = 0; c < n; c++) {
        float *row = to + c * stride;
        for (size_t t = begin; t < end;) {
            size_t panel = t / PANEL, at = t % PANEL, m = PANEL - at < end - t ? PANEL - at : end - t;
            memcpy(row + (t - begin), panels + (panel * width + first + c) * PANEL + at, m * sizeof *row);
            t += m;
        }
        memset(row + (end - begin), 0, (stride - (end - begin)) * sizeof *row);
    }
}

static void scatter_sequence(const struct sn_session *session, size_t sequence, const float *from,
                             size_t stride, float *panels, size_t width, size_t first, size_t n)
{
    size_t begin = session->offsets[sequence], end = session->offsets[sequence + 1];
    for (size_t c = 0; c < n; c++)
        for (size_t t = begin; t < end;) {
            size_t panel = t / PANEL, at = t % PANEL, m = PANEL - at < end - t ? PANEL - at : end - t;
            memcpy(panels + (panel * width + first + c) * PANEL + at, from + c * stride + (t - begin),
                   m * sizeof *from);
            t += m;
        }
}

static struct attention_shape shape_of(const struct sn_session *session, size_t layer, size_t sequence,
                                       size_t head)
{
    const struct config *config = session_config(session);
    const float *sink = session_vector(session, session->model->layers[layer].sink);
    struct attention_shape shape = {
        .n_tokens = session->offsets[sequence + 1] - session->offsets[sequence],
        .stride = session->lse_offset[sequence + 1] - session->lse_offset[sequence],
        .d_head = config->d_head,
        .scale = (float)(1.0 / sqrt((double)config->d_head)),
        .has_sink = sink != NULL,
        .sink = sink ? sink[head] : 0,
    };
    return shape;
}

static float *lse_of(const struct sn_session *session, size_t layer, size_t sequence, size_t head)
{
    size_t begin = session->lse_offset[sequence];
    size_t stride = session->lse_offset[sequence + 1] - begin, n_head = session_config(session)->n_head;
    return session->layers[layer].lse + begin * n_head + head * stride;
}

static int attend(void *payload, size_t chunk, size_t worker)
{
    const struct attention_work *work = payload;
    struct sn_session *session = work->session;
    const struct config *config = session_config(session);
    struct layer_state *state = &session->layers[work->layer];
    size_t sequence = chunk / config->n_head, head = chunk % config->n_head;
    size_t d_head = config->d_head, d_attn = config_d_attn(config), first = head * d_head;
    struct attention_shape shape = shape_of(session, work->layer, sequence, head);
    size_t block = d_head * shape.stride;
    float *q = worker_scratch(session, worker), *k = q + block, *v = k + block, *y = v + block;
    gather_sequence(session, sequence, q, shape.stride, state->qkv, 3 * d_attn, first, d_head);
    gather_sequence(session, sequence, k, shape.stride, state->qkv, 3 * d_attn, d_attn + first, d_head);
    gather_sequence(session, sequence, v, shape.stride, state->qkv, 3 * d_attn, 2 * d_attn + first, d_head);
    session_kernels(session)->attention(y, lse_of(session, work->layer, sequence, head), q, k, v, &shape,
                                        dense_kernels_for(session_kernels(session)), y + block);
    scatter_sequence(session, sequence, y, shape.stride, state->y, d_attn, first, d_head);
    return SN_OK;
}

/* The tokens of the last panel behind the batch: nothing writes them, everything reads them. */
static void clear_padding(const struct sn_session *session, float *panels, size_t width)
{
    size_t used = session->n_tokens % PANEL;
    if (used == 0)
        return;
    float *panel = panels + (session->n_panels - 1) * width * PANEL;
    for (size_t c = 0; c < width; c++)
        memset(panel + c * PANEL + used, 0, (PANEL - used) * sizeof *panel);
}

static int run_attention(struct sn_session *session, size_t layer)
{
    struct attention_work work = {session, layer};
    clear_padding(session, session->layers[layer].y, config_d_attn(session_config(session)));
    return parallel_for(session->context, session->n_sequences * session_config(session)->n_head, attend,
                        &work);
}

static int flush_panels(struct sn_session *session, struct panel_work *work)
{
    int idle = !work->embed && work->write_layer < 0 && work->mlp_layer < 0 && work->read_layer < 0;
    int status = idle ? SN_OK : parallel_for(session->context, session->n_panels, run_panel, work);
    *work = (struct panel_work){session, 0, -1, -1, -1};
    return status;
}

int forward_sublayers(struct sn_session *session)
{
    struct panel_work work = {session, session->from_embedding, -1, -1, -1};
    size_t n_sublayers = 2 * session_config(session)->n_layer;
    size_t last = session->last < n_sublayers ? session->last : n_sublayers;
    int status = SN_OK;
    for (size_t s = session->first; status == SN_OK && s < last; s++) {
        size_t layer = s / 2;
        if (s % 2 == 0) {
            work.read_layer = (int)layer;
            status = flush_panels(session, &work);
            if (status == SN_OK)
                status = run_attention(session, layer);
            work.write_layer = (int)layer;
        } else {
            work.mlp_layer = (int)layer;
        }
    }
    return status == SN_OK ? flush_panels(session, &work) : status;
}

/* ---- the backward of attention, beside its forward: they share the gathering */

static int attend_backward(void *payload, size_t chunk, size_t worker)
{
    const struct attention_work *work = payload;
    struct sn_session *session = work->session;
    const struct config *config = session_config(session);
    struct layer_state *state = &session->layers[work->layer];
    size_t sequence = chunk / config->n_head, head = chunk % config->n_head;
    size_t d_head = config->d_head, d_attn = config_d_attn(config), first = head * d_head;
    struct attention_shape shape = shape_of(session, work->layer, sequence, head);
    size_t block = d_head * shape.stride, stride = shape.stride;
    float *q = worker_scratch(session, worker), *k = q + block, *v = k + block, *y = v + block;
    float *dy = y + block, *dq = dy + block, *dk = dq + block, *dv = dk + block;
    gather_sequence(session, sequence, q, stride, state->qkv, 3 * d_attn, first, d_head);
    gather_sequence(session, sequence, k, stride, state->qkv, 3 * d_attn, d_attn + first, d_head);
    gather_sequence(session, sequence, v, stride, state->qkv, 3 * d_attn, 2 * d_attn + first, d_head);
    gather_sequence(session, sequence, y, stride, state->y_before, d_attn, first, d_head);
    gather_sequence(session, sequence, dy, stride, session->d_y, d_attn, first, d_head);
    session_kernels(session)->attention_backward(
        dq, dk, dv, &session->sink_partial[chunk], dy, y, q, k, v,
        lse_of(session, work->layer, sequence, head), &shape, dense_kernels_for(session_kernels(session)), dv + block);
    scatter_sequence(session, sequence, dq, stride, session->d_wide, 3 * d_attn, first, d_head);
    scatter_sequence(session, sequence, dk, stride, session->d_wide, 3 * d_attn, d_attn + first, d_head);
    scatter_sequence(session, sequence, dv, stride, session->d_wide, 3 * d_attn, 2 * d_attn + first, d_head);
    return SN_OK;
}

int attention_backward_all(struct sn_session *session, size_t layer)
{
    struct attention_work work = {session, layer};
    const struct config *config = session_config(session);
    clear_padding(session, session->d_wide, 3 * config_d_attn(config));
    int status = parallel_for(session->context, session->n_sequences * config->n_head, attend_backward, &work);
    int sink = session->model->layers[layer].sink;
    float *gradient = sink >= 0 ? session->gradients[sink] : NULL;
    for (size_t i = 0; gradient && status == SN_OK && i < session->n_sequences * config->n_head; i++)
        gradient[i % config->n_head] += session->sink_partial[i];
    return status;
}
