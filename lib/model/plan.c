/* Where everything of a run lives: one arena, sized by the same walk that hands out its ranges. */
#include "model/session_state.h"

#include <stdint.h>
#include <string.h>

#define WARM_UP_TOKENS 1024

static void *take(struct arena *arena, size_t count, size_t element_size)
{
    size_t bytes, start = arena->used;
    if (!size_product(&bytes, count, element_size) || bytes > SIZE_MAX / 4 ||
        arena->used > SIZE_MAX / 4) {
        arena->overflow = 1;
        return NULL;
    }
    arena->used += (bytes + 63) / 64 * 64;
    return arena->base ? arena->base + start : NULL;
}

static float *take_floats(struct arena *arena, size_t panels, size_t width)
{
    size_t rows;
    if (!size_product(&rows, panels, width)) {
        arena->overflow = 1;
        return NULL;
    }
    return take(arena, rows, PANEL * sizeof(float));
}

static uint64_t *take_mask(struct arena *arena, const struct config *config, enum topk_place place,
                           size_t panels)
{
    size_t width = config_place_width(config, place);
    int relu = config->residual_relu && (place == TOPK_RESID_POST_ATTN || place == TOPK_RESID_POST_MLP);
    if (!relu && config_topk(config, place, width) >= width)
        return NULL;
    return take(arena, panels * width, sizeof(uint64_t));
}

struct plan_shape {
    size_t panels, row_panels, n_sequences, lse_total;
};

static void plan_read(struct sn_session *session, struct arena *arena, const struct plan_shape *shape,
                      struct layer_state *state, size_t layer, int which)
{
    const struct config *config = session_config(session);
    size_t site = site_index(layer, which ? SITE_RESID_MID : SITE_RESID_IN);
    state->mean[which] = take_floats(arena, shape->panels, 1);
    state->inverse[which] = take_floats(arena, shape->panels, 1);
    state->act_in[which] = take_floats(arena, shape->panels, config_d_in(config));
    state->read[which] = site_has_attachment(session, site, 1)
                             ? take_floats(arena, shape->panels, config->d_model)
                             : session->stream[2 * layer + (size_t)which];
}

static void plan_layer(struct sn_session *session, struct arena *arena, const struct plan_shape *shape,
                       size_t layer)
{
    const struct config *config = session_config(session);
    struct layer_state *state = &session->layers[layer];
    size_t d_attn = config_d_attn(config);
    plan_read(session, arena, shape, state, layer, 0);
    plan_read(session, arena, shape, state, layer, 1);
    state->qkv = take_floats(arena, shape->panels, 3 * d_attn);
    state->lse = take(arena, shape->lse_total * config->n_head, sizeof(float));
    state->y = take_floats(arena, shape->panels, d_attn);
    state->y_before = site_has_attachment(session, site_index(layer, SITE_ATTN_Y), 0)
                          ? take_floats(arena, shape->panels, d_attn)
                          : state->y;
    state->pre_act = take_floats(arena, shape->panels, config->d_mlp);
    state->post_act = take_floats(arena, shape->panels, config->d_mlp);
    for (int place = 0; place < TOPK_PLACES; place++)
        state->mask[place] = take_mask(arena, config, (enum topk_place)place, shape->panels);
}

static size_t widest(const struct config *config)
{
    size_t wide = 3 * config_d_attn(config);
    if (config->d_mlp > wide)
        wide = config->d_mlp;
    if (config_d_in(config) > wide)
        wide = config_d_in(config);
    return wide;
}

static void plan_head(struct sn_session *session, struct arena *arena, const struct plan_shape *shape)
{
    const struct config *config = session_config(session);
    size_t rows = shape->row_panels, d_model = config->d_model;
    session->head_in =
        session->select_all ? session->stream[2 * config->n_layer] : take_floats(arena, rows, d_model);
    session->head_mean = take_floats(arena, rows, 1);
    session->head_inverse = take_floats(arena, rows, 1);
    session->head_normed = take_floats(arena, rows, d_model);
    session->logits = take_floats(arena, rows, config->vocab_size);
    session->logits_gradient = take_floats(arena, rows, config->vocab_size);
    session->row_loss = take_floats(arena, rows, 1);
    session->row_lse = take_floats(arena, rows, 1);
    session->row_target = take(arena, rows * PANEL, sizeof(int32_t));
}

static void plan_backward(struct sn_session *session, struct arena *arena,
                          const struct plan_shape *shape)
{
    const struct config *config = session_config(session);
    size_t panels = shape->panels, norm_width = config->d_model + config->d_pos_emb;
    size_t most = panels > shape->row_panels ? panels : shape->row_panels;
    session->d_stream = take_floats(arena, panels, config->d_model);
    session->d_out = take_floats(arena, panels, config->d_model);
    session->d_wide = take_floats(arena, panels, widest(config));
    session->d_y = take_floats(arena, panels, config_d_attn(config));
    session->d_position = take_floats(arena, panels, config->d_pos_emb);
    session->norm_partial = take(arena, 2 * most * norm_width, sizeof(float));
    session->position_partial = take(arena, 2 * most * norm_width, sizeof(float));
    session->sink_partial = take(arena, shape->n_sequences * config->n_head, sizeof(float));
}

static void plan_all(struct sn_session *session, struct arena *arena, const struct plan_shape *shape)
{
    const struct config *config = session_config(session);
    for (size_t s = 0; s <= 2 * config->n_layer; s++)
        session->stream[s] = take_floats(arena, shape->panels, config->d_model);
    for (size_t layer = 0; layer < config->n_layer; layer++)
        plan_layer(session, arena, shape, layer);
    plan_head(session, arena, shape);
    plan_backward(session, arena, shape);
}

/* Scratch of one worker: attention over the longest sequence, or a panel's temporaries. */
static size_t scratch_bytes(const struct config *config, size_t longest)
{
    struct attention_shape shape = {.n_tokens = longest, .d_head = config->d_head};
    shape.stride = (longest + ATTENTION_TILE - 1) / ATTENTION_TILE * ATTENTION_TILE;
    size_t forward = attention_scratch(&shape), backward = attention_backward_scratch(&shape);
    size_t attention = (forward > backward ? forward : backward) +
                       (9 * config->d_head + 2) * shape.stride * sizeof(float);
    size_t rows = 2 * widest(config) + 2 * config->d_model + 4 * config->d_pos_emb + 8 + PANEL;
    size_t panel = rows * PANEL * sizeof(float) + abs_topk_scratch(widest(config));
    return ((attention > panel ? attention : panel) + 4095) / 4096 * 4096;
}

static int grow(struct sn_session *session, unsigned char **block, size_t *size, size_t wanted,
                const char *what)
{
    struct memory *memory = session->context->memory;
    if (wanted <= *size)
        return SN_OK;
    memory_free(memory, *block, *size);
    *size = 0;
    *block = memory_allocate(memory, wanted);
    if (!*block)
        return fail_memory(session->context, what, wanted);
    *size = wanted;
    return SN_OK;
}

static int prepare_scratch(struct sn_session *session)
{
    size_t bytes = scratch_bytes(session_config(session), session->longest);
    size_t workers = parallel_workers(session->context);
    int status = grow(session, &session->scratch, &session->scratch_total, workers * bytes,
                      "scratch of the workers");
    session->scratch_size = bytes;
    return status;
}

int plan_prepare(struct sn_session *session)
{
    struct plan_shape shape = {session->n_panels, session->n_row_panels, session->n_sequences,
                               session->lse_offset[session->n_sequences]};
    struct arena count = {0};
    plan_all(session, &count, &shape);
    if (count.overflow)
        return fail(session->context, SN_ERROR_MEMORY,
                    "activations of %zu tokens overflow the address space", session->n_tokens);
    int status = grow(session, &session->arena, &session->arena_size, count.used, "activations");
    if (status == SN_OK)
        status = prepare_scratch(session);
    if (status == SN_OK)
        status = sites_prepare(session);
    if (status != SN_OK)
        return status;
    struct arena arena = {session->arena, 0, 0};
    plan_all(session, &arena, &shape);
    return SN_OK;
}

/* libxsmm compiles a shape at its first use: attention over the longest sequence touches all of its own. */
int plan_warm_up(struct sn_session *session)
{
    const struct config *config = session_config(session);
    const struct kernel_table *kernels = session_kernels(session);
    struct memory *memory = session->context->memory;
    struct attention_shape shape = {
        .n_tokens = config->block_size, .d_head = config->d_head, .scale = 1};
    if (shape.n_tokens > WARM_UP_TOKENS)
        shape.n_tokens = WARM_UP_TOKENS;
    shape.stride = (shape.n_tokens + ATTENTION_TILE - 1) / ATTENTION_TILE * ATTENTION_TILE;
    size_t block = shape.d_head * shape.stride, bytes = scratch_bytes(config, shape.n_tokens);
    float *q = memory_allocate_zeroed(memory, bytes), sink;
    if (!q)
        return fail_memory(session->context, "scratch of attention", bytes);
    float *k = q + block, *v = k + block, *y = v + block, *dy = y + block, *dq = dy + block,
          *dk = dq + block, *dv = dk + block, *lse = dv + block, *rest = lse + 2 * shape.stride;
    rest += (64 - (uintptr_t)rest % 64) % 64 / sizeof *rest;
    kernels->attention(y, lse, q, k, v, &shape, dense_kernels_for(kernels), rest);
    kernels->attention_backward(dq, dk, dv, &sink, dy, y, q, k, v, lse, &shape,
                                dense_kernels_for(kernels), rest);
    memory_free(memory, q, bytes);
    return SN_OK;
}

size_t plan_bytes(struct sn_session *session, size_t n_tokens, size_t n_sequences)
{
    size_t panels = (n_tokens + PANEL - 1) / PANEL;
    struct plan_shape shape = {panels, session->select_all ? panels : session->n_row_panels, n_sequences,
                               n_tokens + n_sequences * (ATTENTION_TILE - 1)};
    struct arena count = {0};
    size_t longest =
        session_config(session)->block_size < n_tokens ? session_config(session)->block_size : n_tokens;
    plan_all(session, &count, &shape);
    session->forward_done = 0; /* the pointers were unset by the walk */
    size_t gradients = 0;
    for (size_t i = 0; i < session->model->n_parameters; i++)
        gradients += session->gradients[i] ? session->gradient_size[i] * sizeof(float) : 0;
    return count.used +
           parallel_workers(session->context) * scratch_bytes(session_config(session), longest) +
           gradients + panels * PANEL * 12;
}

void plan_free(struct sn_session *session)
{
    struct memory *memory = session->context->memory;
    memory_free(memory, session->arena, session->arena_size);
    memory_free(memory, session->scratch, session->scratch_total);
}
