/* Attention over a batch, one (sequence, head) per chunk: gathers q, k, v from the panels, runs the kernel,
 * scatters back. Forward and backward share the gathering. */
#include "model/session_state.h"

#include <math.h>
#include <string.h>

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
            memcpy(row + (t - begin), panels + (panel * width + first + c) * PANEL + at,
                   m * sizeof *row);
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

/* The same for what has the selected rows alone. */
static void gather_rows(const struct sn_session *session, size_t sequence, float *to, size_t stride,
                        const float *panels, size_t width, size_t first, size_t n)
{
    size_t begin = session->offsets[sequence], end = session->offsets[sequence + 1];
    memset(to, 0, n * stride * sizeof *to);
    for (size_t row = batch_first_row(session, begin);
         row < session->n_rows && session->selected[row] < end; row++) {
        const float *from = panels + (row / PANEL * width + first) * PANEL + row % PANEL;
        for (size_t c = 0; c < n; c++)
            to[c * stride + session->selected[row] - begin] = from[c * PANEL];
    }
}

static void scatter_rows(const struct sn_session *session, size_t sequence, const float *from,
                         size_t stride, float *panels, size_t width, size_t first, size_t n)
{
    size_t begin = session->offsets[sequence], end = session->offsets[sequence + 1];
    for (size_t row = batch_first_row(session, begin);
         row < session->n_rows && session->selected[row] < end; row++) {
        float *to = panels + (row / PANEL * width + first) * PANEL + row % PANEL;
        for (size_t c = 0; c < n; c++)
            to[c * PANEL] = from[c * stride + session->selected[row] - begin];
    }
}

/* Position in a sequence of the first query whose y is wanted. */
static size_t first_query(const struct sn_session *session, size_t layer, size_t sequence)
{
    size_t begin = session->offsets[sequence], end = session->offsets[sequence + 1];
    if (!session_layer_by_rows(session, layer))
        return 0;
    size_t row = batch_first_row(session, begin);
    return (row < session->n_rows && session->selected[row] < end ? session->selected[row] : end) -
           begin;
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
        .first_query = first_query(session, layer, sequence),
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
    gather_sequence(session, sequence, v, shape.stride, state->qkv, 3 * d_attn, 2 * d_attn + first,
                    d_head);
    session_kernels(session)->attention(y, lse_of(session, work->layer, sequence, head), q, k, v, &shape,
                                        dense_kernels_for(session_kernels(session)), y + block);
    if (session_layer_by_rows(session, work->layer))
        scatter_rows(session, sequence, y, shape.stride, state->y, d_attn, first, d_head);
    else
        scatter_sequence(session, sequence, y, shape.stride, state->y, d_attn, first, d_head);
    return SN_OK;
}

/* The tokens of the last panel behind the batch: nothing writes them, everything reads them. */
static void clear_padding(const struct places *places, float *panels, size_t width)
{
    size_t used = places->n % PANEL;
    if (used == 0)
        return;
    float *panel = panels + (places->n_panels - 1) * width * PANEL;
    for (size_t c = 0; c < width; c++)
        memset(panel + c * PANEL + used, 0, (PANEL - used) * sizeof *panel);
}

int attention_forward_all(struct sn_session *session, size_t layer)
{
    struct attention_work work = {session, layer};
    clear_padding(session_site_places(session, site_index(layer, SITE_ATTN_Y)), session->layers[layer].y,
                  config_d_attn(session_config(session)));
    return parallel_for(session->context, session->n_sequences * session_config(session)->n_head, attend,
                        &work);
}

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
    void (*gather)(const struct sn_session *, size_t, float *, size_t, const float *, size_t, size_t,
                   size_t) = session_layer_by_rows(session, work->layer) ? gather_rows : gather_sequence;
    gather(session, sequence, y, stride, state->y_before, d_attn, first, d_head);
    gather(session, sequence, dy, stride, session->d_y, d_attn, first, d_head);
    session_kernels(session)->attention_backward(dq, dk, dv, &session->sink_partial[chunk], dy, y, q, k,
                                                 v, lse_of(session, work->layer, sequence, head), &shape,
                                                 dense_kernels_for(session_kernels(session)),
                                                 dv + block);
    scatter_sequence(session, sequence, dq, stride, session->d_wide, 3 * d_attn, first, d_head);
    scatter_sequence(session, sequence, dk, stride, session->d_wide, 3 * d_attn, d_attn + first, d_head);
    scatter_sequence(session, sequence, dv, stride, session->d_wide, 3 * d_attn, 2 * d_attn + first,
                     d_head);
    return SN_OK;
}

int attention_backward_all(struct sn_session *session, size_t layer)
{
    struct attention_work work = {session, layer};
    const struct config *config = session_config(session);
    clear_padding(&session->places, session->d_wide, 3 * config_d_attn(config));
    int status =
        parallel_for(session->context, session->n_sequences * config->n_head, attend_backward, &work);
    int sink = session->model->layers[layer].sink;
    float *gradient = sink >= 0 ? session->gradients[sink] : NULL;
    for (size_t i = 0; gradient && status == SN_OK && i < session->n_sequences * config->n_head; i++)
        gradient[i % config->n_head] += session->sink_partial[i];
    return status;
}
