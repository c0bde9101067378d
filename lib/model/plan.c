/* Where everything of a run lives: one arena, sized by the same walk that hands out its ranges. */
#include "model/session_state.h"

#include <stdint.h>
#include <string.h>

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

/* "recompute" "auto": where it saves more bytes than this, and at most this share of the weights is nonzero. */
#define RECOMPUTE_SAVES ((size_t)64 << 20)
#define RECOMPUTE_DENSITY 0.125

struct plan_shape {
    size_t workers;
    size_t panels, row_panels, n_sequences, lse_total;
    size_t last_panels;      /* of the last layer behind its keys and values */
    size_t most;             /* of any layer */
    size_t slots, row_slots; /* panels of what no other panel looks at */
    size_t inputs;           /* 0, or workers: session_input_slot */
};

static struct plan_shape plan_shape(const struct sn_session *session, size_t workers, size_t panels,
                                    size_t row_panels, size_t n_sequences, size_t lse_total)
{
    size_t last_panels = session->by_rows ? row_panels : panels;
    struct plan_shape shape = {workers,
                               panels,
                               row_panels,
                               n_sequences,
                               lse_total,
                               last_panels,
                               last_panels > panels ? last_panels : panels,
                               panels,
                               row_panels,
                               0};
    if (!session->keeps && workers < panels)
        shape.slots = shape.row_slots = workers;
    if (session->keeps && session->mode == GRADIENT_NONE && workers < panels)
        shape.inputs = workers;
    return shape;
}

static float *plan_qkv(const struct sn_session *session, struct arena *arena,
                       const struct plan_shape *shape)
{
    return take_floats(arena, shape->panels, 3 * config_d_attn(session_config(session)));
}

/* What attention leaves, y for y_panels of them. */
static void plan_attention(const struct sn_session *session, struct arena *arena,
                           const struct plan_shape *shape, size_t y_panels, struct layer_state *state)
{
    const struct config *config = session_config(session);
    state->lse = take(arena, shape->lse_total * config->n_head, sizeof(float));
    state->y = state->y_before = take_floats(arena, y_panels, config_d_attn(config));
}

static void plan_norm(struct arena *arena, size_t slots, struct layer_state *state, int which)
{
    state->mean[which] = take_floats(arena, slots, 1);
    state->inverse[which] = take_floats(arena, slots, 1);
}

static float *plan_act_in(const struct sn_session *session, struct arena *arena, size_t slots)
{
    return take_floats(arena, slots, config_d_in(session_config(session)));
}

static float *plan_neurons(const struct sn_session *session, struct arena *arena, size_t slots)
{
    return take_floats(arena, slots, session_config(session)->d_mlp);
}

/* What linear maps read: of each layer its own, or one for all. */
static void plan_inputs(const struct sn_session *session, struct arena *arena,
                        const struct plan_shape *shape, size_t layer, size_t behind)
{
    struct layer_state *state = &session->layers[layer];
    const struct layer_state *first = &session->layers[0];
    int shared = session->recomputes || shape->inputs;
    size_t panels = shape->inputs ? shape->inputs : shape->most;
    if (!shared) {
        state->act_in[0] = plan_act_in(session, arena, shape->panels);
        state->act_in[1] = plan_act_in(session, arena, behind);
        state->post_act = plan_neurons(session, arena, behind);
    } else if (layer == 0) {
        state->act_in[0] = state->act_in[1] = plan_act_in(session, arena, panels);
        state->post_act = plan_neurons(session, arena, panels);
    } else {
        state->act_in[0] = state->act_in[1] = first->act_in[0];
        state->post_act = first->post_act;
    }
}

/* What else forward_again fills. */
static void plan_inside(const struct sn_session *session, struct arena *arena,
                        const struct plan_shape *shape, size_t layer, size_t behind)
{
    struct layer_state *state = &session->layers[layer];
    plan_inputs(session, arena, shape, layer, behind);
    if (!session->recomputes) {
        state->qkv = plan_qkv(session, arena, shape);
        state->pre_act = plan_neurons(session, arena, behind);
    } else if (layer == 0) {
        state->qkv = plan_qkv(session, arena, shape);
        state->pre_act = plan_neurons(session, arena, shape->workers);
    } else {
        state->qkv = session->layers[0].qkv;
        state->pre_act = session->layers[0].pre_act;
    }
}

static void plan_layer(struct sn_session *session, struct arena *arena, const struct plan_shape *shape,
                       size_t layer)
{
    const struct config *config = session_config(session);
    struct layer_state *state = &session->layers[layer];
    size_t behind = layer + 1 == config->n_layer ? shape->last_panels : shape->panels;
    for (int which = 0; which < 2; which++)
        plan_norm(arena, which ? behind : shape->panels, state, which);
    plan_attention(session, arena, shape, behind, state);
    if (site_has_attachment(session, site_index(layer, SITE_ATTN_Y)))
        state->y_before = take_floats(arena, behind, config_d_attn(config));
    plan_inside(session, arena, shape, layer, behind);
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

/* One set for all layers: nothing is looked at again. */
static void plan_shared_layers(struct sn_session *session, struct arena *arena,
                               const struct plan_shape *shape)
{
    const struct config *config = session_config(session);
    struct layer_state shared = {0};
    shared.qkv = plan_qkv(session, arena, shape);
    plan_attention(session, arena, shape, shape->panels, &shared);
    plan_norm(arena, shape->slots, &shared, 0);
    shared.mean[1] = shared.mean[0];
    shared.inverse[1] = shared.inverse[0];
    shared.act_in[0] = shared.act_in[1] = plan_act_in(session, arena, shape->slots);
    shared.pre_act = shared.post_act = take_floats(arena, shape->slots, config->d_mlp);
    for (int place = 0; place < TOPK_PLACES;
         place++) /* of widths that differ: each with its own slots */
        shared.mask[place] = take_mask(arena, config, (enum topk_place)place, shape->slots);
    for (size_t layer = 0; layer < config->n_layer; layer++)
        session->layers[layer] = shared;
}

static void plan_head(struct sn_session *session, struct arena *arena, const struct plan_shape *shape)
{
    const struct config *config = session_config(session);
    size_t rows = shape->row_panels, slots = shape->row_slots, d_model = config->d_model;
    session->head_in = session_stream_is_rows(session) ? session->stream[2 * config->n_layer]
                                                       : take_floats(arena, slots, d_model);
    session->head_mean = take_floats(arena, slots, 1);
    session->head_inverse = take_floats(arena, slots, 1);
    session->head_normed = take_floats(arena, slots, d_model);
    session->logits = take_floats(arena, rows, config->vocab_size);
    session->logits_gradient = session->keeps ? take_floats(arena, rows, config->vocab_size) : NULL;
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
    session->d_tokens = take_floats(arena, panels, config->d_model);
    session->d_rows =
        session->by_rows ? take_floats(arena, shape->row_panels, config->d_model) : session->d_tokens;
    session->d_out = take_floats(arena, panels, config->d_model);
    session->d_wide = take_floats(arena, panels, widest(config));
    session->d_y = take_floats(arena, panels, config_d_attn(config));
    session->d_position = take_floats(arena, panels, config->d_pos_emb);
    session->norm_partial = take(arena, 2 * most * norm_width, sizeof(float));
    session->position_partial = take(arena, 2 * most * norm_width, sizeof(float));
    session->sink_partial = take(arena, shape->n_sequences * config->n_head, sizeof(float));
}

/* A sublayer reads one stream and writes the next: where nothing is kept, two take turns. But for the
 * last one where the last layer goes by rows: its panels are written while others still gather rows
 * of the stream in front. */
static void plan_streams(struct sn_session *session, struct arena *arena, const struct plan_shape *shape)
{
    const struct config *config = session_config(session);
    session->stream_between =
        session->recomputes ? take_floats(arena, shape->most, config->d_model) : NULL;
    for (size_t s = 0; s <= 2 * config->n_layer; s++) {
        int last = session->by_rows && s == 2 * config->n_layer;
        int behind = last || (session->keeps && s >= 2 * config->n_layer - 1);
        int own = session->keeps || s < 2 || last;
        size_t panels = behind ? shape->last_panels : shape->panels;
        if (session_stream_again(session, s))
            session->stream[s] = session->stream_between;
        else
            session->stream[s] =
                own ? take_floats(arena, panels, config->d_model) : session->stream[s - 2];
    }
}

static void plan_all(struct sn_session *session, struct arena *arena, const struct plan_shape *shape)
{
    const struct config *config = session_config(session);
    plan_streams(session, arena, shape);
    if (session->keeps)
        for (size_t layer = 0; layer < config->n_layer; layer++)
            plan_layer(session, arena, shape, layer);
    else
        plan_shared_layers(session, arena, shape);
    plan_head(session, arena, shape);
    if (session->keeps)
        plan_backward(session, arena, shape);
}

static struct attention_shape longest_shape(const struct config *config, size_t longest)
{
    struct attention_shape shape = {.n_tokens = longest, .d_head = config->d_head, .scale = 1};
    shape.stride = (longest + ATTENTION_TILE - 1) / ATTENTION_TILE * ATTENTION_TILE;
    return shape;
}

/* Scratch of one worker: attention over the longest sequence (q, k, v, y and, for the backward, their
 * gradients and sums), or a panel's temporaries. */
static size_t scratch_bytes(const struct config *config, size_t longest, int keeps)
{
    struct attention_shape shape = longest_shape(config, longest);
    size_t attention = attention_scratch(&shape), backward = attention_backward_scratch(&shape);
    size_t blocks = keeps ? 9 : 4, rows = config->d_pos_emb + 2;
    if (keeps && backward > attention)
        attention = backward;
    if (keeps) { /* a block's backward: by what it read, and of the positions; the head's */
        rows = config_d_in(config) + 2 * config->d_pos_emb + 2;
        if (rows < 2 * config->d_model)
            rows = 2 * config->d_model;
    }
    attention += (blocks * config->d_head + 2) * shape.stride * sizeof(float) + 64;
    size_t panel = rows * PANEL * sizeof(float), topk = abs_topk_scratch(widest(config));
    if (topk > panel)
        panel = topk;
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
    size_t bytes = scratch_bytes(session_config(session), session->longest, session->keeps);
    int status = grow(session, &session->scratch, &session->scratch_total, session->workers * bytes,
                      "scratch of the workers");
    session->scratch_size = bytes;
    return status;
}

static struct plan_shape current_shape(const struct sn_session *session)
{
    return plan_shape(session, session->workers, session->n_panels, session->n_row_panels,
                      session->n_sequences, session->lse_offset[session->n_sequences]);
}

static void hand_out(struct sn_session *session, const struct plan_shape *shape)
{
    struct arena arena = {session->arena, 0, 0};
    session->slots_by_worker = shape->slots < shape->panels;
    session->inputs_by_worker = shape->inputs > 0;
    plan_all(session, &arena, shape);
}

static struct arena count_with(struct sn_session *session, const struct plan_shape *shape,
                               int recomputes)
{
    struct arena count = {0};
    session->recomputes = recomputes;
    plan_all(session, &count, shape);
    return count;
}

int session_counts_as_sparse(double support, double all)
{
    return support <= RECOMPUTE_DENSITY * all;
}

/* Whether products are cheap beside the rest, so that a second forward costs little. */
static int is_sparse(const struct sn_model *model)
{
    double support = 0, all = 0;
    for (size_t i = 0; i < model->n_parameters; i++) {
        const struct parameter *parameter = &model->parameters[i];
        if (parameter->role != ROLE_MATRIX)
            continue;
        support += (double)parameter->matrix->n_values;
        all += (double)parameter->rows * (double)parameter->cols;
    }
    return session_counts_as_sparse(support, all);
}

/* Decides whether the run recomputes, and counts what it takes. */
static struct arena count_run(struct sn_session *session, const struct plan_shape *shape)
{
    if (!session->keeps || session->recompute_mode == RECOMPUTE_NEVER)
        return count_with(session, shape, 0);
    struct arena recomputing = count_with(session, shape, 1), keeping;
    if (session->recompute_mode == RECOMPUTE_ALWAYS)
        return recomputing;
    keeping = count_with(session, shape, 0);
    int saves = keeping.overflow || keeping.used > recomputing.used + RECOMPUTE_SAVES;
    session->recomputes = saves && (session->assumed_sparse || is_sparse(session->model));
    return session->recomputes ? recomputing : keeping;
}

int plan_prepare(struct sn_session *session)
{
    session->workers = parallel_workers(session->context);
    struct plan_shape shape = current_shape(session);
    struct arena count = count_run(session, &shape);
    if (count.overflow)
        return fail(session->context, SN_ERROR_MEMORY,
                    "activations of %zu tokens overflow the address space", session->n_tokens);
    int status = grow(session, &session->arena, &session->arena_size, count.used, "activations");
    if (status == SN_OK)
        status = prepare_scratch(session);
    if (status == SN_OK)
        status = sites_prepare(session);
    if (status == SN_OK)
        hand_out(session, &shape);
    return status;
}

void plan_free(struct sn_session *session)
{
    struct memory *memory = session->context->memory;
    memory_free(memory, session->arena, session->arena_size);
    memory_free(memory, session->scratch, session->scratch_total);
}

/* ---- estimating */

/* What is allocated when the session is created, and the batch. */
static size_t fixed_bytes(const struct sn_session *session, size_t panels, size_t row_panels,
                          size_t n_sequences)
{
    const struct config *config = session_config(session);
    size_t n = session->model->n_parameters, tokens = panels * PANEL;
    size_t bytes = memory_block_size(sizeof *session) +
                   memory_block_size(config->n_layer * sizeof *session->layers) +
                   memory_block_size((2 * config->n_layer + 1) * sizeof *session->stream) +
                   memory_block_size(site_count(config) * sizeof *session->records) +
                   memory_block_size(n * sizeof *session->gradients) +
                   memory_block_size(n * sizeof *session->gradient_size) +
                   3 * memory_block_size((n_sequences + 1) * sizeof *session->offsets) +
                   4 * memory_block_size(tokens * sizeof *session->tokens);
    if (session->by_rows)
        bytes += 3 * memory_block_size(row_panels * PANEL * sizeof *session->row_places.token);
    for (size_t i = 0; i < n; i++)
        bytes +=
            session->gradients[i] ? memory_block_size(session->gradient_size[i] * sizeof(float)) : 0;
    return bytes;
}

/* What a first backward leaves with the model. */
static size_t transposed_bytes(const struct sn_session *session)
{
    size_t bytes = 0;
    for (size_t i = 0; session->keeps && i < session->model->n_parameters; i++) {
        const struct parameter *parameter = &session->model->parameters[i];
        if (parameter->matrix && (parameter->role == ROLE_MATRIX || (int)i == session->model->lm_head))
            bytes += matrix_transposed_bytes(parameter->matrix);
    }
    return bytes;
}

static size_t run_bytes(struct sn_session *session, size_t n_tokens, size_t n_sequences)
{
    const struct config *config = session_config(session);
    size_t panels = (n_tokens + PANEL - 1) / PANEL;
    int by_rows = session->by_rows;
    session->by_rows = session->selected_only && !session->select_all && config->n_layer > 0;
    size_t row_panels = session->select_all ? panels : (session->n_selected + PANEL - 1) / PANEL;
    size_t workers = parallel_workers(session->context);
    struct plan_shape shape = plan_shape(session, workers, panels, row_panels, n_sequences,
                                         n_tokens + n_sequences * (ATTENTION_TILE - 1));
    int recomputes = session->recomputes;
    struct arena count = count_run(session, &shape);
    size_t longest = n_sequences < n_tokens ? n_tokens - n_sequences + 1 : 1;
    if (longest > config->block_size)
        longest = config->block_size;
    size_t fixed = fixed_bytes(session, panels, row_panels, n_sequences);
    session->by_rows = by_rows;
    session->recomputes = recomputes;
    if (session->forward_done) { /* the walk has unset the pointers */
        shape = current_shape(session);
        hand_out(session, &shape);
    }
    size_t scratch = workers * scratch_bytes(config, longest, session->keeps);
    return memory_block_size(count.used) + memory_block_size(scratch) + sites_bytes(session, panels) +
           fixed;
}

size_t plan_bytes(struct sn_session *session, size_t n_tokens, size_t n_sequences)
{
    return run_bytes(session, n_tokens, n_sequences) + transposed_bytes(session);
}

size_t session_estimate_run(struct sn_session *session, enum gradient_mode mode, int sparse,
                            size_t n_tokens, size_t n_sequences)
{
    enum gradient_mode own = session->mode;
    enum recompute_mode recompute = session->recompute_mode;
    session->mode = mode;
    session->assumed_sparse = sparse;
    if (recompute == RECOMPUTE_AUTO && !sparse)
        session->recompute_mode = RECOMPUTE_NEVER;
    size_t bytes = run_bytes(session, n_tokens, n_sequences);
    session->mode = own;
    session->recompute_mode = recompute;
    session->assumed_sparse = 0;
    return bytes;
}
