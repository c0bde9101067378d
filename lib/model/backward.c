/* The backward pass: the sublayers in reverse. The panel phases turn d_stream, the gradient by the
 * residual stream, into that of the sublayer's input and leave the gradients by the linear maps'
 * outputs in d_out and d_wide, from which the weight gradients are taken afterwards. */
#include "model/session_state.h"

#include <string.h>

void norm_backward(const struct sn_session *session, float *dx, float *dweight, float *dbias,
                   const float *dy, const float *x, const float *mean, const float *inverse, int weight,
                   size_t width)
{
    const struct kernel_table *kernels = session_kernels(session);
    if (session_config(session)->rms_norm)
        kernels->rms_norm_backward(dx, dweight, dy, x, inverse, session_vector(session, weight), width);
    else
        kernels->layer_norm_backward(dx, dweight, dbias, dy, x, mean, inverse,
                                     session_vector(session, weight), width);
}

void add_partials(struct sn_session *session, int parameter, const float *partial, size_t stride,
                  size_t width, size_t n_panels)
{
    float *gradient = parameter < 0 ? NULL : session->gradients[parameter];
    if (!gradient)
        return;
    for (size_t panel = 0; panel < n_panels; panel++)
        for (size_t c = 0; c < width; c++)
            gradient[c] += partial[panel * stride + c];
}

static void unsparsify(const struct sn_session *session, struct layer_state *state,
                       enum topk_place place, size_t panel, float *dx)
{
    size_t width = config_place_width(session_config(session), place);
    if (state->mask[place])
        session_kernels(session)->apply_mask(dx, mask_of(state->mask[place], panel, width), width);
}

/* Through the residual sum and the projection: fills d_out; writes the gradient by x [n][PANEL]. */
static void write_backward(struct sn_session *session, size_t layer, int which, size_t panel,
                           size_t worker, float *dx)
{
    const struct layer_parameters *p = &session->model->layers[layer];
    struct layer_state *state = &session->layers[layer];
    size_t width = session_config(session)->d_model;
    float *d_stream = panel_of(session->d_stream, panel, width);
    float *d_out = panel_of(session->d_out, session_input_slot(session, panel, worker), width);
    unsparsify(session, state, which ? TOPK_RESID_POST_MLP : TOPK_RESID_POST_ATTN, panel, d_stream);
    memcpy(d_out, d_stream, width * PANEL * sizeof *d_out);
    site_backward(session, site_index(layer, which ? SITE_MLP_DELTA : SITE_ATTN_DELTA), panel, d_out);
    unsparsify(session, state, which ? TOPK_MLP_OUT : TOPK_ATTN_OUT, panel, d_out);
    matrix_multiply_transposed_panel(session_matrix(session, which ? p->mlp_proj : p->attn_proj),
                                     session_kernels(session), dx, d_out, 0);
}

static const struct places *places_of_read(const struct sn_session *session, size_t layer, int which)
{
    return session_site_places(session, site_index(layer, which ? SITE_RESID_MID : SITE_RESID_IN));
}

static void position_norm_backward(struct sn_session *session, size_t layer, int which, size_t panel,
                                   const float *dy, float *scratch)
{
    const struct layer_parameters *p = &session->model->layers[layer];
    size_t width = session_config(session)->d_pos_emb;
    int weight = which ? p->ln_p2 : p->ln_p1;
    float *rows = scratch, *y = rows + width * PANEL, *mean = y + width * PANEL, *inverse = mean + PANEL;
    float *partial = session->position_partial + panel * 2 * width;
    position_rows(session, places_of_read(session, layer, which), panel, rows);
    norm_forward(session, y, mean, inverse, rows, weight, which ? p->ln_p2_bias : p->ln_p1_bias, width);
    if (which == 0 || !session_layer_by_rows(session, layer)) {
        norm_backward(session, panel_of(session->d_position, panel, width), partial, partial + width, dy,
                      rows, mean, inverse, weight, width);
        return;
    }
    memset(y, 0, width * PANEL * sizeof *y);
    norm_backward(session, y, partial, partial + width, dy, rows, mean, inverse, weight, width);
    batch_add_to_tokens(session, panel, session->d_position, y, width);
}

/* Through act_in, the norm and the site of the stream; d_act [E][PANEL] is consumed. */
static void read_backward(struct sn_session *session, size_t layer, int which, size_t panel,
                          float *d_act, float *scratch)
{
    const struct config *config = session_config(session);
    struct layer_state *state = &session->layers[layer];
    const struct layer_parameters *p = &session->model->layers[layer];
    size_t width = config->d_model, site = site_index(layer, which ? SITE_RESID_MID : SITE_RESID_IN);
    float *d_stream = panel_of(session->d_stream, panel, width);
    float *partial = session->norm_partial + panel * 2 * width;
    const float *stream = panel_of(session->stream[2 * layer + (size_t)which], panel, width);
    site_backward(session, site_index(layer, which ? SITE_MLP_ACT_IN : SITE_ATTN_ACT_IN), panel, d_act);
    unsparsify(session, state, which ? TOPK_MLP_IN : TOPK_ATTN_IN, panel, d_act);
    norm_backward(session, d_stream, partial, partial + width, d_act, stream,
                  panel_of(state->mean[which], panel, 1), panel_of(state->inverse[which], panel, 1),
                  which ? p->ln_2 : p->ln_1, width);
    if (config->d_pos_emb)
        position_norm_backward(session, layer, which, panel, d_act + width * PANEL, scratch);
    site_backward(session, site, panel, d_stream);
}

struct backward_work {
    struct sn_session *session;
    size_t layer;
};

static int mlp_panel(void *payload, size_t panel, size_t worker)
{
    const struct backward_work *work = payload;
    struct sn_session *session = work->session;
    const struct config *config = session_config(session);
    const struct kernel_table *kernels = session_kernels(session);
    struct layer_state *state = &session->layers[work->layer];
    size_t d_mlp = config->d_mlp;
    float *d_act = worker_scratch(session, worker), *rest = d_act + config_d_in(config) * PANEL;
    float *d_post = panel_of(session->d_wide, session_input_slot(session, panel, worker), d_mlp);
    float *pre = panel_of(state->pre_act, session->recomputes ? worker : panel, d_mlp);
    if (session->recomputes)
        forward_again(session, work->layer, 1, panel, worker);
    write_backward(session, work->layer, 1, panel, worker, d_post);
    site_backward(session, site_index(work->layer, SITE_MLP_POST_ACT), panel, d_post);
    unsparsify(session, state, TOPK_MLP_NEURON, panel, d_post);
    if (config->mlp_relu)
        kernels->relu_backward(d_post, d_post, pre, d_mlp * PANEL);
    else
        kernels->gelu_backward(d_post, d_post, pre, d_mlp * PANEL);
    matrix_multiply_transposed_panel(session_matrix(session, session->model->layers[work->layer].c_fc),
                                     kernels, d_act, d_post, 0);
    read_backward(session, work->layer, 1, panel, d_act, rest);
    return SN_OK;
}

static int attention_write_panel(void *payload, size_t panel, size_t worker)
{
    const struct backward_work *work = payload;
    struct sn_session *session = work->session;
    float *d_y = panel_of(session->d_y, panel, config_d_attn(session_config(session)));
    write_backward(session, work->layer, 0, panel, worker, d_y);
    site_backward(session, site_index(work->layer, SITE_ATTN_Y), panel, d_y);
    return SN_OK;
}

static int attention_again_panel(void *payload, size_t panel, size_t worker)
{
    const struct backward_work *work = payload;
    forward_again(work->session, work->layer, 0, panel, worker);
    return SN_OK;
}

static int attention_read_panel(void *payload, size_t panel, size_t worker)
{
    const struct backward_work *work = payload;
    struct sn_session *session = work->session;
    const struct config *config = session_config(session);
    struct layer_state *state = &session->layers[work->layer];
    size_t d_attn = config_d_attn(config), layer = work->layer;
    float *d_act = worker_scratch(session, worker), *rest = d_act + config_d_in(config) * PANEL;
    float *dq = panel_of(session->d_wide, panel, 3 * d_attn), *dk = dq + d_attn * PANEL,
          *dv = dk + d_attn * PANEL;
    site_backward(session, site_index(layer, SITE_ATTN_V), panel, dv);
    unsparsify(session, state, TOPK_ATTN_V, panel, dv);
    site_backward(session, site_index(layer, SITE_ATTN_Q), panel, dq);
    unsparsify(session, state, TOPK_ATTN_Q, panel, dq);
    site_backward(session, site_index(layer, SITE_ATTN_K), panel, dk);
    unsparsify(session, state, TOPK_ATTN_K, panel, dk);
    matrix_multiply_transposed_panel(session_matrix(session, session->model->layers[layer].c_attn),
                                     session_kernels(session), d_act, dq, 0);
    read_backward(session, layer, 0, panel, d_act, rest);
    return SN_OK;
}

/* Gains and biases of the norms that a sublayer read through. */
static void add_norm_gradients(struct sn_session *session, size_t panels, int gain, int bias,
                               int position_gain, int position_bias)
{
    const struct config *config = session_config(session);
    size_t width = config->d_model, positions = config->d_pos_emb;
    add_partials(session, gain, session->norm_partial, 2 * width, width, panels);
    add_partials(session, bias, session->norm_partial + width, 2 * width, width, panels);
    if (!positions)
        return;
    add_partials(session, position_gain, session->position_partial, 2 * positions, positions, panels);
    add_partials(session, position_bias, session->position_partial + positions, 2 * positions, positions,
                 panels);
}

/* dW and bias gradient of one linear map over all panels. */
static int add_linear(struct sn_session *session, size_t panels, int weight, int bias, const float *dy,
                      size_t dy_width, const float *x, size_t x_width)
{
    int status =
        gradients_add_product(session, weight, dy, dy_width * PANEL, x, x_width * PANEL, panels);
    return status == SN_OK ? gradients_add_rows(session, bias, dy, dy_width * PANEL, panels) : status;
}

static int mlp_backward(struct sn_session *session, size_t layer)
{
    const struct config *config = session_config(session);
    const struct layer_parameters *p = &session->model->layers[layer];
    struct layer_state *state = &session->layers[layer];
    struct backward_work work = {session, layer};
    size_t panels = session_layer_panels(session, layer);
    int status = parallel_for(session->context, panels, mlp_panel, &work);
    if (status != SN_OK)
        return status;
    add_norm_gradients(session, panels, p->ln_2, p->ln_2_bias, p->ln_p2, p->ln_p2_bias);
    status = add_linear(session, panels, p->mlp_proj, p->mlp_proj_bias, session->d_out, config->d_model,
                        state->post_act, config->d_mlp);
    if (status == SN_OK)
        status = add_linear(session, panels, p->c_fc, p->c_fc_bias, session->d_wide, config->d_mlp,
                            state->act_in[1], config_d_in(config));
    return status;
}

/* From here on the gradient by the stream is that of all tokens. */
static void leave_rows(struct sn_session *session)
{
    size_t width = session_config(session)->d_model;
    memset(session->d_tokens, 0, session->n_panels * width * PANEL * sizeof *session->d_tokens);
    for (size_t panel = 0; panel < session->n_row_panels; panel++)
        batch_add_to_tokens(session, panel, session->d_tokens, panel_of(session->d_rows, panel, width),
                            width);
    session->d_stream = session->d_tokens;
}

static int attention_sublayer_backward(struct sn_session *session, size_t layer)
{
    const struct config *config = session_config(session);
    const struct layer_parameters *p = &session->model->layers[layer];
    struct layer_state *state = &session->layers[layer];
    struct backward_work work = {session, layer};
    size_t d_attn = config_d_attn(config);
    size_t panels = session_layer_panels(session, layer);
    int status = parallel_for(session->context, panels, attention_write_panel, &work);
    if (status == SN_OK)
        status = add_linear(session, panels, p->attn_proj, p->attn_proj_bias, session->d_out,
                            config->d_model, state->y, d_attn);
    if (status == SN_OK && session_layer_by_rows(session, layer))
        leave_rows(session);
    if (status == SN_OK && session->recomputes)
        status = parallel_for(session->context, session->n_panels, attention_again_panel, &work);
    if (status == SN_OK)
        status = attention_backward_all(session, layer);
    if (status == SN_OK)
        status = parallel_for(session->context, session->n_panels, attention_read_panel, &work);
    if (status != SN_OK)
        return status;
    add_norm_gradients(session, session->n_panels, p->ln_1, p->ln_1_bias, p->ln_p1, p->ln_p1_bias);
    return add_linear(session, session->n_panels, p->c_attn, p->c_attn_bias, session->d_wide, 3 * d_attn,
                      state->act_in[0], config_d_in(config));
}

int backward_sublayers(struct sn_session *session)
{
    const struct config *config = session_config(session);
    size_t n_sublayers = 2 * config->n_layer;
    size_t last = session->last < n_sublayers ? session->last : n_sublayers;
    int status = SN_OK;
    memset(session->d_position, 0, session->n_panels * config->d_pos_emb * PANEL * sizeof(float));
    for (size_t s = last; status == SN_OK && s-- > session->first;)
        status = s % 2 ? mlp_backward(session, s / 2) : attention_sublayer_backward(session, s / 2);
    if (status == SN_OK)
        status = position_backward(session);
    if (status == SN_OK && session->from_embedding)
        status = embedding_backward(session);
    if (status == SN_OK)
        sites_sum_partials(session);
    return status;
}
