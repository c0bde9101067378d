/* Ragged batches: sequences packed end to end, no padding between them; what a sequence shares with
 * the one in front of it is not repeated. */
#include "model/session_state.h"

#include <string.h>

static int check_length(struct sn_session *session, size_t sequence, size_t shared, size_t own,
                        size_t before)
{
    size_t block_size = session_config(session)->block_size;
    if (shared > before)
        return fail(session->context, SN_ERROR_ARGUMENT,
                    "sequence %zu shares %zu tokens with one of %zu tokens", sequence, shared, before);
    if (own > block_size || shared > block_size - own)
        return fail(session->context, SN_ERROR_ARGUMENT,
                    "sequence %zu has %zu tokens; block_size is %zu", sequence, shared + own,
                    block_size);
    return SN_OK;
}

static int check_offsets(struct sn_session *session, const size_t *offsets, const size_t *shared,
                         size_t n_sequences)
{
    struct sn_context *context = session->context;
    size_t before = 0;
    if (n_sequences == 0)
        return fail(context, SN_ERROR_ARGUMENT, "n_sequences is 0");
    if (offsets[0] != 0)
        return fail(context, SN_ERROR_ARGUMENT, "offsets[0] is %zu; it must be 0", offsets[0]);
    for (size_t s = 0; s < n_sequences; s++) {
        if (offsets[s + 1] <= offsets[s])
            return fail(context, SN_ERROR_ARGUMENT,
                        "sequence %zu is empty: offsets[%zu] is %zu, offsets[%zu] is %zu", s, s,
                        offsets[s], s + 1, offsets[s + 1]);
        size_t from_before = shared ? shared[s] : 0, own = offsets[s + 1] - offsets[s];
        int status = check_length(session, s, from_before, own, before);
        if (status != SN_OK)
            return status;
        before = from_before + own;
    }
    if (offsets[n_sequences] > UINT32_MAX / 2)
        return fail(context, SN_ERROR_ARGUMENT, "%zu tokens are too many for one batch",
                    offsets[n_sequences]);
    return SN_OK;
}

static int check_tokens(struct sn_session *session, const int32_t *tokens, size_t n_tokens)
{
    size_t vocab_size = session_config(session)->vocab_size;
    for (size_t t = 0; t < n_tokens; t++)
        if (tokens[t] < 0 || (size_t)tokens[t] >= vocab_size)
            return fail(session->context, SN_ERROR_ARGUMENT,
                        "tokens[%zu] is %d; the vocabulary has %zu tokens", t, (int)tokens[t],
                        vocab_size);
    return SN_OK;
}

static void free_places(struct memory *memory, struct places *places)
{
    size_t bytes = places->capacity * sizeof *places->token;
    memory_free(memory, places->token, bytes);
    memory_free(memory, places->sequence, bytes);
    memory_free(memory, places->position, bytes);
}

static int grow_places(struct sn_session *session, struct places *places, size_t capacity)
{
    struct memory *memory = session->context->memory;
    if (capacity <= places->capacity)
        return SN_OK;
    struct places bigger = {.token = memory_allocate_array(memory, capacity, sizeof *places->token),
                            .sequence = memory_allocate_array(memory, capacity, sizeof *places->token),
                            .position = memory_allocate_array(memory, capacity, sizeof *places->token),
                            .capacity = capacity};
    int failed = !bigger.token || !bigger.sequence || !bigger.position;
    free_places(memory, failed ? &bigger : places);
    if (failed)
        return fail_memory(session->context, "tokens of a batch", 3 * capacity * sizeof *places->token);
    *places = bigger;
    return SN_OK;
}

static int grow_tokens(struct sn_session *session, size_t capacity)
{
    struct memory *memory = session->context->memory;
    if (capacity <= session->token_capacity)
        return SN_OK;
    int32_t *tokens = memory_allocate_array(memory, capacity, sizeof *tokens);
    if (!tokens)
        return fail_memory(session->context, "tokens of a batch", capacity * sizeof *tokens);
    memory_free(memory, session->tokens, session->token_capacity * sizeof *tokens);
    session->tokens = tokens;
    session->token_capacity = capacity;
    return SN_OK;
}

static int grow_sequences(struct sn_session *session, size_t capacity)
{
    struct memory *memory = session->context->memory;
    if (capacity <= session->sequence_capacity)
        return SN_OK;
    size_t *offsets = memory_allocate_array(memory, capacity, sizeof *offsets);
    size_t *lse_offset = memory_allocate_array(memory, capacity, sizeof *lse_offset);
    size_t *shared = memory_allocate_array(memory, capacity, sizeof *shared);
    if (!offsets || !lse_offset || !shared) {
        memory_free(memory, offsets, capacity * sizeof *offsets);
        memory_free(memory, lse_offset, capacity * sizeof *lse_offset);
        memory_free(memory, shared, capacity * sizeof *shared);
        return fail_memory(session->context, "offsets of a batch", 3 * capacity * sizeof *offsets);
    }
    memory_free(memory, session->offsets, session->sequence_capacity * sizeof *offsets);
    memory_free(memory, session->lse_offset, session->sequence_capacity * sizeof *lse_offset);
    memory_free(memory, session->shared, session->sequence_capacity * sizeof *shared);
    session->offsets = offsets;
    session->lse_offset = lse_offset;
    session->shared = shared;
    session->sequence_capacity = capacity;
    return SN_OK;
}

static void fill_places(struct sn_session *session, const size_t *offsets, size_t n_sequences)
{
    struct places *places = &session->places;
    size_t n_tokens = offsets[n_sequences], padded = session->n_panels * PANEL;
    places->n = n_tokens;
    places->n_panels = session->n_panels;
    session->lse_offset[0] = 0;
    session->longest = 0;
    for (size_t s = 0; s < n_sequences; s++) {
        size_t own = offsets[s + 1] - offsets[s], length = session->shared[s] + own;
        session->lse_offset[s + 1] =
            session->lse_offset[s] + (length + ATTENTION_TILE - 1) / ATTENTION_TILE * ATTENTION_TILE;
        if (length > session->longest)
            session->longest = length;
        for (size_t i = 0; i < own; i++) {
            places->token[offsets[s] + i] = (uint32_t)(offsets[s] + i);
            places->sequence[offsets[s] + i] = (uint32_t)s;
            places->position[offsets[s] + i] = (uint32_t)(session->shared[s] + i);
        }
    }
    for (size_t t = n_tokens; t < padded; t++) {
        places->token[t] = (uint32_t)t;
        places->sequence[t] = (uint32_t)(n_sequences - 1);
        places->position[t] = 0;
    }
    memcpy(session->offsets, offsets, (n_sequences + 1) * sizeof *offsets);
}

static int set_row_places(struct sn_session *session)
{
    const struct places *from = &session->places;
    struct places *rows = &session->row_places;
    int status = grow_places(session, rows, session->n_row_panels * PANEL);
    rows->n = session->n_rows;
    rows->n_panels = session->n_row_panels;
    for (size_t row = 0; status == SN_OK && row < rows->n_panels * PANEL; row++) {
        size_t token = session->selected[row < rows->n ? row : rows->n - 1];
        rows->token[row] = (uint32_t)token;
        rows->sequence[row] = from->sequence[token];
        rows->position[row] = from->position[token];
    }
    return status;
}

static int set_rows(struct sn_session *session)
{
    session->n_rows = session->select_all ? session->n_tokens : session->n_selected;
    session->n_row_panels = (session->n_rows + PANEL - 1) / PANEL;
    if (!session->select_all && session->n_selected &&
        session->selected[session->n_selected - 1] >= session->n_tokens)
        return fail(session->context, SN_ERROR_ARGUMENT,
                    "selected position %zu is outside the batch of %zu tokens",
                    session->selected[session->n_selected - 1], session->n_tokens);
    return session->selected_only && !session->select_all ? set_row_places(session) : SN_OK;
}

static size_t rows_in_panel(const struct sn_session *session, size_t panel)
{
    size_t left = session->n_rows - panel * PANEL;
    return left < PANEL ? left : PANEL;
}

size_t batch_first_row(const struct sn_session *session, size_t token)
{
    size_t low = 0, high = session->n_rows;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (session->selected[middle] < token)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void batch_add_rows(const struct sn_session *session, size_t row_panel, float *rows, const float *panels,
                    size_t width)
{
    for (size_t t = 0; t < rows_in_panel(session, row_panel); t++) {
        size_t token = session->selected[row_panel * PANEL + t];
        const float *from = panels + (token / PANEL) * width * PANEL + token % PANEL;
        for (size_t c = 0; c < width; c++)
            rows[c * PANEL + t] += from[c * PANEL];
    }
}

void batch_add_to_tokens(const struct sn_session *session, size_t row_panel, float *panels,
                         const float *rows, size_t width)
{
    for (size_t t = 0; t < rows_in_panel(session, row_panel); t++) {
        size_t token = session->selected[row_panel * PANEL + t];
        float *to = panels + (token / PANEL) * width * PANEL + token % PANEL;
        for (size_t c = 0; c < width; c++)
            to[c * PANEL] += rows[c * PANEL + t];
    }
}

int batch_set(struct sn_session *session, const int32_t *tokens, const size_t *offsets,
              const size_t *shared, size_t n_sequences)
{
    session_forget_run(session);
    int status = check_offsets(session, offsets, shared, n_sequences);
    size_t n_tokens = status == SN_OK ? offsets[n_sequences] : 0;
    if (status == SN_OK && tokens)
        status = check_tokens(session, tokens, n_tokens);
    size_t n_panels = (n_tokens + PANEL - 1) / PANEL;
    if (status == SN_OK)
        status = grow_tokens(session, n_panels * PANEL);
    if (status == SN_OK)
        status = grow_places(session, &session->places, n_panels * PANEL);
    if (status == SN_OK)
        status = grow_sequences(session, n_sequences + 1);
    if (status != SN_OK)
        return status;
    session->n_tokens = n_tokens;
    session->n_sequences = n_sequences;
    session->n_panels = n_panels;
    session->has_tokens = tokens != NULL;
    memset(session->tokens, 0, n_panels * PANEL * sizeof *session->tokens);
    if (tokens)
        memcpy(session->tokens, tokens, n_tokens * sizeof *tokens);
    for (size_t s = 0; s < n_sequences; s++)
        session->shared[s] = shared ? shared[s] : 0;
    fill_places(session, offsets, n_sequences);
    return set_rows(session);
}

int batch_select(struct sn_session *session, const size_t *positions, size_t n_positions)
{
    struct memory *memory = session->context->memory;
    for (size_t i = 1; i < n_positions; i++)
        if (positions[i] <= positions[i - 1])
            return fail(session->context, SN_ERROR_ARGUMENT,
                        "positions[%zu] is %zu after %zu; they must ascend", i, positions[i],
                        positions[i - 1]);
    size_t *copy = NULL;
    if (n_positions) {
        copy = memory_allocate_array(memory, n_positions, sizeof *copy);
        if (!copy)
            return fail_memory(session->context, "selected positions", n_positions * sizeof *copy);
        memcpy(copy, positions, n_positions * sizeof *copy);
    }
    memory_free(memory, session->selected, session->n_selected * sizeof *copy);
    session->selected = copy;
    session->n_selected = n_positions;
    session->select_all = n_positions == 0;
    return SN_OK;
}

void batch_free(struct sn_session *session)
{
    struct memory *memory = session->context->memory;
    memory_free(memory, session->tokens, session->token_capacity * sizeof *session->tokens);
    free_places(memory, &session->places);
    free_places(memory, &session->row_places);
    memory_free(memory, session->offsets, session->sequence_capacity * sizeof *session->offsets);
    memory_free(memory, session->lse_offset, session->sequence_capacity * sizeof *session->lse_offset);
    memory_free(memory, session->shared, session->sequence_capacity * sizeof *session->shared);
    memory_free(memory, session->selected, session->n_selected * sizeof *session->selected);
}
