/* The forward pass. A panel of tokens goes as far as it can on one worker: from attention's write over
 * the MLP to the next attention's read; only attention itself gathers across panels. */
#include "model/session_state.h"

#include <string.h>

void norm_forward(const struct sn_session *session, float *y, float *mean, float *inverse,
                  const float *x, int weight, int bias, size_t width)
{
    const struct kernel_table *kernels = session_kernels(session);
    if (session_config(session)->rms_norm)
        kernels->rms_norm(y, inverse, x, session_vector(session, weight), width);
    else
        kernels->layer_norm(y, mean, inverse, x, session_vector(session, weight),
                            session_vector(session, bias), width);
}

/* A panel on its way, on one worker. slot: its place in the arrays that hold what a sublayer leaves behind:
 * the panel itself where a backward will want it, the worker's own where nothing is kept. */
struct panel_run {
    struct sn_session *session;
    size_t panel, slot;
    size_t worker;
    char *scratch;
    int again; /* for the backward: what stands, the masks above all, says what was read and kept */
};

static size_t input_slot(const struct panel_run *run)
{
    return run->session->inputs_by_worker ? run->worker : run->slot;
}

/* AbsTopK in place; remembers what was kept. */
static void sparsify(const struct panel_run *run, struct layer_state *state, enum topk_place place,
                     float *x)
{
    const struct config *config = session_config(run->session);
    const struct kernel_table *kernels = session_kernels(run->session);
    size_t width = config_place_width(config, place), k = config_topk(config, place, width);
    if (k >= width)
        return;
    uint64_t *mask = mask_of(state->mask[place], run->slot, width);
    if (run->again)
        kernels->apply_mask(x, mask, width);
    else
        kernels->abs_topk(x, mask, width, k, run->scratch);
}

/* Residual ReLU and AbsTopK share one mask: what passes the gradient. */
static void finish_residual(const struct panel_run *run, struct layer_state *state,
                            enum topk_place place, float *x)
{
    const struct config *config = session_config(run->session);
    size_t width = config->d_model;
    if (config->residual_relu)
        session_kernels(run->session)->relu(x, x, width * PANEL);
    sparsify(run, state, place, x);
    if (!config->residual_relu || !run->session->keeps)
        return;
    uint64_t *mask = mask_of(state->mask[place], run->slot, width);
    for (size_t c = 0; c < width; c++) {
        uint64_t positive = 0;
        for (size_t t = 0; t < PANEL; t++)
            positive |= (uint64_t)(x[c * PANEL + t] > 0) << t;
        mask[c] = positive;
    }
}

/* What the norm of a block reads: the stream after its interventions. */
static const float *read_stream(const struct panel_run *run, size_t layer, int which)
{
    struct sn_session *session = run->session;
    size_t sublayer = 2 * layer + (size_t)which;
    float *stream = panel_of(session->stream[sublayer], run->panel, session_config(session)->d_model);
    if (!run->again || session_stream_again(session, sublayer))
        site_forward(session, site_index(layer, which ? SITE_RESID_MID : SITE_RESID_IN), run->panel,
                     stream);
    return stream;
}

/* Norm, positions, AbsTopK: act_in, what a block reads. which: 0 attention, 1 MLP. */
static const float *read_residual(const struct panel_run *run, size_t layer, int which)
{
    struct sn_session *session = run->session;
    const struct config *config = session_config(session);
    const struct layer_parameters *p = &session->model->layers[layer];
    struct layer_state *state = &session->layers[layer];
    size_t width = config->d_model, positions = config->d_pos_emb;
    float *act_in = panel_of(state->act_in[which], input_slot(run), config_d_in(config));
    const float *read = read_stream(run, layer, which);
    norm_forward(session, act_in, panel_of(state->mean[which], run->slot, 1),
                 panel_of(state->inverse[which], run->slot, 1), read, which ? p->ln_2 : p->ln_1,
                 which ? p->ln_2_bias : p->ln_1_bias, width);
    if (positions) {
        float *rows = (float *)run->scratch, *mean = rows + positions * PANEL, *inverse = mean + PANEL;
        position_rows(
            session,
            session_site_places(session, site_index(layer, which ? SITE_RESID_MID : SITE_RESID_IN)),
            run->panel, rows);
        norm_forward(session, act_in + width * PANEL, mean, inverse, rows, which ? p->ln_p2 : p->ln_p1,
                     which ? p->ln_p2_bias : p->ln_p1_bias, positions);
    }
    sparsify(run, state, which ? TOPK_MLP_IN : TOPK_ATTN_IN, act_in);
    site_forward(session, site_index(layer, which ? SITE_MLP_ACT_IN : SITE_ATTN_ACT_IN), run->panel,
                 act_in);
    return act_in;
}

static void attention_read(const struct panel_run *run, size_t layer)
{
    struct sn_session *session = run->session;
    const struct layer_parameters *p = &session->model->layers[layer];
    struct layer_state *state = &session->layers[layer];
    size_t d_attn = config_d_attn(session_config(session)), panel = run->panel;
    float *q = panel_of(state->qkv, panel, 3 * d_attn), *k = q + d_attn * PANEL, *v = k + d_attn * PANEL;
    const float *act_in = read_residual(run, layer, 0);
    matrix_multiply_panel(session_matrix(session, p->c_attn), session_kernels(session), q, act_in,
                          session_vector(session, p->c_attn_bias), 0);
    site_forward_in_front(session, site_index(layer, SITE_ATTN_K), panel, k);
    sparsify(run, state, TOPK_ATTN_K, k);
    site_forward(session, site_index(layer, SITE_ATTN_K), panel, k);
    site_forward_in_front(session, site_index(layer, SITE_ATTN_Q), panel, q);
    sparsify(run, state, TOPK_ATTN_Q, q);
    site_forward(session, site_index(layer, SITE_ATTN_Q), panel, q);
    site_forward_in_front(session, site_index(layer, SITE_ATTN_V), panel, v);
    sparsify(run, state, TOPK_ATTN_V, v);
    site_forward(session, site_index(layer, SITE_ATTN_V), panel, v);
}

/* A sublayer's output += the stream that it read from, or the rows of it that go on from here. */
static void add_stream(const struct panel_run *run, size_t layer, int which, float *delta)
{
    struct sn_session *session = run->session;
    size_t width = session_config(session)->d_model;
    float *stream = session->stream[2 * layer + (size_t)which];
    if (which == 0 && session_layer_by_rows(session, layer))
        batch_add_rows(session, run->panel, delta, stream, width);
    else
        session_kernels(session)->add(delta, panel_of(stream, run->panel, width), width * PANEL);
}

/* Projection of a sublayer's output, AbsTopK, site; then into the residual stream. */
static void write_residual(const struct panel_run *run, size_t layer, int which, const float *x)
{
    struct sn_session *session = run->session;
    const struct layer_parameters *p = &session->model->layers[layer];
    struct layer_state *state = &session->layers[layer];
    size_t width = session_config(session)->d_model, sublayer = 2 * layer + (size_t)which;
    float *delta = panel_of(session->stream[sublayer + 1], run->panel, width);
    matrix_multiply_panel(session_matrix(session, which ? p->mlp_proj : p->attn_proj),
                          session_kernels(session), delta, x,
                          session_vector(session, which ? p->mlp_proj_bias : p->attn_proj_bias), 0);
    size_t site = site_index(layer, which ? SITE_MLP_DELTA : SITE_ATTN_DELTA);
    site_forward_in_front(session, site, run->panel, delta);
    sparsify(run, state, which ? TOPK_MLP_OUT : TOPK_ATTN_OUT, delta);
    site_forward(session, site, run->panel, delta);
    add_stream(run, layer, which, delta);
    finish_residual(run, state, which ? TOPK_RESID_POST_MLP : TOPK_RESID_POST_ATTN, delta);
}

static void attention_write(const struct panel_run *run, size_t layer)
{
    struct sn_session *session = run->session;
    struct layer_state *state = &session->layers[layer];
    size_t d_attn = config_d_attn(session_config(session));
    float *y = panel_of(state->y, run->panel, d_attn);
    if (!run->again && state->y_before != state->y)
        memcpy(panel_of(state->y_before, run->panel, d_attn), y, d_attn * PANEL * sizeof *y);
    if (!run->again)
        site_forward(session, site_index(layer, SITE_ATTN_Y), run->panel, y);
    write_residual(run, layer, 0, y);
}

/* post_act, which the MLP's neurons hand on. Where nothing is kept, it stands where pre_act stood. */
static const float *neurons(const struct panel_run *run, size_t layer)
{
    struct sn_session *session = run->session;
    const struct kernel_table *kernels = session_kernels(session);
    const struct layer_parameters *p = &session->model->layers[layer];
    struct layer_state *state = &session->layers[layer];
    size_t d_mlp = session_config(session)->d_mlp;
    float *pre = panel_of(state->pre_act, session->recomputes ? run->worker : run->slot, d_mlp);
    float *post = panel_of(state->post_act, input_slot(run), d_mlp);
    const float *act_in = read_residual(run, layer, 1);
    matrix_multiply_panel(session_matrix(session, p->c_fc), kernels, pre, act_in,
                          session_vector(session, p->c_fc_bias), 0);
    site_forward_in_front(session, site_index(layer, SITE_MLP_POST_ACT), run->panel, pre);
    if (session_config(session)->mlp_relu)
        kernels->relu(post, pre, d_mlp * PANEL);
    else
        kernels->gelu(post, pre, d_mlp * PANEL);
    sparsify(run, state, TOPK_MLP_NEURON, post);
    site_forward(session, site_index(layer, SITE_MLP_POST_ACT), run->panel, post);
    return post;
}

void forward_again(struct sn_session *session, size_t layer, int which, size_t panel, size_t worker)
{
    const struct panel_run run = {session, panel, panel, worker, worker_scratch(session, worker), 1};
    if (which && session_stream_again(session, 2 * layer + 1))
        attention_write(&run, layer);
    if (which)
        neurons(&run, layer);
    else
        attention_read(&run, layer);
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
    const struct panel_run run = {
        session, panel, session_slot(session, panel, worker), worker, worker_scratch(session, worker),
        0};
    if (work->embed)
        embedding_forward(session, panel);
    if (work->write_layer >= 0)
        attention_write(&run, (size_t)work->write_layer);
    if (work->mlp_layer >= 0)
        write_residual(&run, (size_t)work->mlp_layer, 1, neurons(&run, (size_t)work->mlp_layer));
    if (work->read_layer >= 0)
        attention_read(&run, (size_t)work->read_layer);
    return SN_OK;
}

static int flush_panels(struct sn_session *session, struct panel_work *work)
{
    int idle = !work->embed && work->write_layer < 0 && work->mlp_layer < 0 && work->read_layer < 0;
    size_t n_panels = work->write_layer >= 0 ? session_layer_panels(session, (size_t)work->write_layer)
                                             : session->n_panels;
    int status = idle ? SN_OK : parallel_for(session->context, n_panels, run_panel, work);
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
                status = attention_forward_all(session, layer);
            work.write_layer = (int)layer;
        } else {
            work.mlp_layer = (int)layer;
        }
    }
    return status == SN_OK ? flush_panels(session, &work) : status;
}
