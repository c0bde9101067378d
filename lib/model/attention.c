/* Attention over a batch, one (sequence, head) per chunk: gathers q, k, v from the panels, runs the kernel,
 * scatters back. Forward and backward share the gathering. */
#include "model/session_state.h"

#include <math.h>
#include <string.h>

struct attention_work {
    struct sn_session *session;
    size_t layer;
};

/* Channels first..first+n-1 of an array of panels [width][PANEL]. */
struct channels {
    float *panels;
    size_t width, first, n;
};

/* Tokens [begin, end) of the batch, panel by panel: rows of `stride` at `at` <-> channels. */
enum direction { GATHER, SCATTER, SCATTER_ADD };
static void move_tokens(const struct sn_session *session, const struct channels *channels, size_t begin,
                        size_t end, float *at, size_t stride, enum direction direction)
{
    const struct kernel_table *kernels = session_kernels(session);
    for (size_t t = begin; t < end;) {
        size_t place = t % PANEL, m = PANEL - place < end - t ? PANEL - place : end - t;
        float *rows = at + (t - begin);
        float *panel =
            channels->panels + (t / PANEL * channels->width + channels->first) * PANEL + place;
        if (direction == GATHER)
            kernels->move_rows(rows, stride, panel, PANEL, channels->n, m, 0);
        else
            kernels->move_rows(panel, PANEL, rows, stride, channels->n, m, direction == SCATTER_ADD);
        t += m;
    }
}

/* Positions [from, ...) of a sequence and what it shares with those in front of it: to [n][stride]. */
static void gather_sequence(const struct sn_session *session, size_t sequence, float *to, size_t stride,
                            const struct channels *channels, size_t from)
{
    size_t length = session_length(session, sequence), end = length;
    for (size_t owner = sequence; end > from; owner--) {
        size_t own = session->shared[owner], begin = own > from ? own : from;
        if (begin >= end)
            continue;
        size_t token = session->offsets[owner] - own;
        move_tokens(session, channels, token + begin, token + end, to + begin, stride, GATHER);
        end = begin;
    }
    for (size_t c = 0; c < channels->n; c++)
        memset(to + c * stride + length, 0, (stride - length) * sizeof *to);
}

/* The sequence's own tokens. */
static void scatter_own(const struct sn_session *session, size_t sequence, float *from, size_t stride,
                        const struct channels *channels)
{
    move_tokens(session, channels, session->offsets[sequence], session->offsets[sequence + 1],
                from + session->shared[sequence], stride, SCATTER);
}

/* Its own, and to what it shares is added. */
static void scatter_sequence(const struct sn_session *session, size_t sequence, float *from,
                             size_t stride, const struct channels *channels)
{
    scatter_own(session, sequence, from, stride, channels);
    size_t end = session->shared[sequence];
    for (size_t owner = sequence; end > 0;) {
        size_t begin = session->shared[--owner], token = session->offsets[owner] - begin;
        if (begin >= end)
            continue;
        move_tokens(session, channels, token + begin, token + end, from + begin, stride, SCATTER_ADD);
        end = begin;
    }
}

/* Selected rows [first, last) of a sequence. */
struct rows {
    size_t first, last;
};

static struct rows rows_of(const struct sn_session *session, size_t sequence)
{
    struct rows rows = {batch_first_row(session, session->offsets[sequence]),
                        batch_first_row(session, session->offsets[sequence + 1])};
    return rows;
}

/* The same for what has the selected rows alone. */
static void gather_rows(const struct sn_session *session, size_t sequence, float *to, size_t stride,
                        const struct channels *channels)
{
    struct rows rows = rows_of(session, sequence);
    memset(to, 0, channels->n * stride * sizeof *to);
    for (size_t row = rows.first; row < rows.last; row++)
        move_tokens(session, channels, row, row + 1, to + session->row_places.position[row], stride,
                    GATHER);
}

static void scatter_rows(const struct sn_session *session, size_t sequence, float *from, size_t stride,
                         const struct channels *channels)
{
    struct rows rows = rows_of(session, sequence);
    for (size_t row = rows.first; row < rows.last; row++)
        move_tokens(session, channels, row, row + 1, from + session->row_places.position[row], stride,
                    SCATTER);
}

/* Position in a sequence of the first query whose y is wanted. */
static size_t first_query(const struct sn_session *session, size_t layer, size_t sequence)
{
    if (!session_layer_by_rows(session, layer))
        return session->shared[sequence];
    struct rows rows = rows_of(session, sequence);
    return rows.first < rows.last ? session->row_places.position[rows.first]
                                  : session_length(session, sequence);
}

static struct attention_shape shape_of(const struct sn_session *session, size_t layer, size_t sequence,
                                       size_t head)
{
    const struct config *config = session_config(session);
    const float *sink = session_vector(session, session->model->layers[layer].sink);
    struct attention_shape shape = {
        .n_tokens = session_length(session, sequence),
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

/* One head's part of q (0), k (1) or v (2) in an array of all three, or of y. */
static struct channels head_of_qkv(const struct config *config, float *panels, size_t part, size_t head)
{
    size_t d_attn = config_d_attn(config), d_head = config->d_head;
    return (struct channels){panels, 3 * d_attn, part * d_attn + head * d_head, d_head};
}

static struct channels head_of_y(const struct config *config, float *panels, size_t head)
{
    return (struct channels){panels, config_d_attn(config), head * config->d_head, config->d_head};
}

/* q, k and v one after the other at `to`; of q the tiles that are looked at. */
static void gather_qkv(const struct sn_session *session, size_t layer, size_t sequence, size_t head,
                       const struct attention_shape *shape, float *to)
{
    for (size_t part = 0; part < 3; part++) {
        struct channels channels =
            head_of_qkv(session_config(session), session->layers[layer].qkv, part, head);
        size_t from = part == 0 ? shape->first_query / ATTENTION_TILE * ATTENTION_TILE : 0;
        gather_sequence(session, sequence, to + part * shape->d_head * shape->stride, shape->stride,
                        &channels, from);
    }
}

static int attend(void *payload, size_t chunk, size_t worker)
{
    const struct attention_work *work = payload;
    struct sn_session *session = work->session;
    const struct config *config = session_config(session);
    size_t sequence = chunk / config->n_head, head = chunk % config->n_head;
    struct attention_shape shape = shape_of(session, work->layer, sequence, head);
    struct channels to = head_of_y(config, session->layers[work->layer].y, head);
    size_t block = config->d_head * shape.stride;
    float *q = worker_scratch(session, worker), *k = q + block, *v = k + block, *y = v + block;
    gather_qkv(session, work->layer, sequence, head, &shape, q);
    session_kernels(session)->attention(y, lse_of(session, work->layer, sequence, head), q, k, v, &shape,
                                        y + block);
    if (session_layer_by_rows(session, work->layer))
        scatter_rows(session, sequence, y, shape.stride, &to);
    else
        scatter_own(session, sequence, y, shape.stride, &to);
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

/* [n][stride] of y or its gradient, zero where nobody looks. */
static void gather_y(const struct sn_session *session, size_t layer, size_t sequence, float *to,
                     size_t stride, const struct channels *channels)
{
    if (session_layer_by_rows(session, layer)) {
        gather_rows(session, sequence, to, stride, channels);
        return;
    }
    size_t shared = session->shared[sequence];
    for (size_t c = 0; c < channels->n && shared > 0; c++)
        memset(to + c * stride, 0, shared * sizeof *to);
    gather_sequence(session, sequence, to, stride, channels, shared);
}

static void sequence_backward(struct sn_session *session, size_t layer, size_t sequence, size_t head,
                              float *scratch)
{
    const struct config *config = session_config(session);
    struct attention_shape shape = shape_of(session, layer, sequence, head);
    struct channels y_channels = head_of_y(config, session->layers[layer].y_before, head);
    struct channels dy_channels = head_of_y(config, session->d_y, head);
    size_t block = config->d_head * shape.stride, stride = shape.stride;
    float *q = scratch, *k = q + block, *v = k + block, *y = v + block;
    float *dy = y + block, *dq = dy + block, *dk = dq + block, *dv = dk + block;
    gather_qkv(session, layer, sequence, head, &shape, q);
    gather_y(session, layer, sequence, y, stride, &y_channels);
    gather_y(session, layer, sequence, dy, stride, &dy_channels);
    session_kernels(session)->attention_backward(
        dq, dk, dv, &session->sink_partial[sequence * config->n_head + head], dy, y, q, k, v,
        lse_of(session, layer, sequence, head), &shape, dv + block);
    struct channels to = head_of_qkv(config, session->d_wide, 0, head);
    scatter_own(session, sequence, dq, stride, &to);
    to = head_of_qkv(config, session->d_wide, 1, head);
    scatter_sequence(session, sequence, dk, stride, &to);
    to = head_of_qkv(config, session->d_wide, 2, head);
    scatter_sequence(session, sequence, dv, stride, &to);
}

/* Sequences that share tokens add to the same gradients: they go one after the other. */
static int attend_backward(void *payload, size_t chunk, size_t worker)
{
    const struct attention_work *work = payload;
    struct sn_session *session = work->session;
    size_t n_head = session_config(session)->n_head, sequence = chunk / n_head, head = chunk % n_head;
    if (session->shared[sequence] > 0)
        return SN_OK;
    do
        sequence_backward(session, work->layer, sequence, head, worker_scratch(session, worker));
    while (++sequence < session->n_sequences && session->shared[sequence] > 0);
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
