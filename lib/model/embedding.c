/* The two tables that tokens index: embedding (wte) and bigram; and positions (wpe). */
#include "model/session_state.h"

#include <string.h>

#define IDS_PER_CHUNK 32

/* column[.][t] of a panel = row `row` of the table; column is zeroed by the caller. */
static void add_row(const struct sn_matrix *table, size_t row, float *panel, size_t t)
{
    const struct pattern *pattern = table->pattern;
    if (!pattern) {
        const float *values = table->values + row * table->cols;
        for (size_t c = 0; c < table->cols; c++)
            panel[c * PANEL + t] += values[c];
        return;
    }
    for (uint32_t i = pattern->row_start[row]; i < pattern->row_start[row + 1]; i++)
        panel[pattern_column(pattern, i) * PANEL + t] += table->values[i];
}

static size_t tokens_in_panel(size_t n, size_t panel)
{
    size_t left = n - panel * PANEL;
    return left < PANEL ? left : PANEL;
}

void embedding_forward(struct sn_session *session, size_t panel)
{
    const struct config *config = session_config(session);
    float *x = panel_of(session->stream[0], panel, config->d_model);
    const struct sn_matrix *wte = session_matrix(session, session->model->wte);
    const struct sn_matrix *wpe = session_matrix(session, session->model->wpe);
    memset(x, 0, config->d_model * PANEL * sizeof *x);
    for (size_t t = 0; t < tokens_in_panel(session->n_tokens, panel); t++) {
        add_row(wte, (size_t)session->tokens[panel * PANEL + t], x, t);
        if (!config->has_d_pos_emb)
            add_row(wpe, session->places.position[panel * PANEL + t], x, t);
    }
}

void position_rows(const struct sn_session *session, const struct places *places, size_t panel,
                   float *rows)
{
    memset(rows, 0, session_config(session)->d_pos_emb * PANEL * sizeof *rows);
    for (size_t t = 0; t < tokens_in_panel(places->n, panel); t++)
        add_row(session_matrix(session, session->model->wpe), places->position[panel * PANEL + t], rows,
                t);
}

/* Rows of a token panel's logits += bigram rows, through 64 x 64 tiles. */
void bigram_forward(struct sn_session *session, size_t row_panel)
{
    const struct kernel_table *kernels = session_kernels(session);
    const struct sn_matrix *table = session_matrix(session, session->model->bigram);
    size_t vocab_size = session_config(session)->vocab_size,
           n = tokens_in_panel(session->n_rows, row_panel);
    float *logits = panel_of(session->logits, row_panel, vocab_size);
    float rows[PANEL * PANEL] __attribute__((aligned(64))),
        columns[PANEL * PANEL] __attribute__((aligned(64)));
    size_t id[PANEL];
    for (size_t t = 0; t < n; t++)
        id[t] = (size_t)session->tokens[head_row_token(session, row_panel * PANEL + t)];
    if (table->pattern) {
        for (size_t t = 0; t < n; t++)
            add_row(table, id[t], logits, t);
        return;
    }
    memset(rows, 0, sizeof rows);
    for (size_t first = 0; first < vocab_size; first += PANEL) {
        size_t width = vocab_size - first < PANEL ? vocab_size - first : PANEL;
        for (size_t t = 0; t < n; t++)
            memcpy(rows + t * PANEL, table->values + id[t] * vocab_size + first, width * sizeof *rows);
        kernels->transpose(columns, PANEL, rows, PANEL, PANEL, width);
        kernels->add(logits + first * PANEL, columns, width * PANEL);
    }
}

/* ---- gradients of a table: gradient[id[i]] += column i of d, tokens in order */

struct table_work {
    struct sn_session *session;
    int parameter;
    const float *d; /* [panels][cols][PANEL] */
    const int32_t *id;
    size_t n;      /* tokens */
    size_t skip;   /* this row gets none */
    float *blocks; /* scratch for visits, per worker */
};

/* Dense tables: a worker owns 64 columns. */
static int table_columns(void *payload, size_t chunk, size_t worker)
{
    const struct table_work *work = payload;
    const struct parameter *p = &work->session->model->parameters[work->parameter];
    const struct kernel_table *kernels = session_kernels(work->session);
    float *gradient = work->session->gradients[work->parameter];
    size_t first = chunk * PANEL, width = p->cols - first < PANEL ? p->cols - first : PANEL;
    float rows[PANEL * PANEL] __attribute__((aligned(64)));
    (void)worker;
    for (size_t panel = 0; panel * PANEL < work->n; panel++) {
        kernels->transpose(rows, PANEL, work->d + (panel * p->cols + first) * PANEL, PANEL, width,
                           PANEL);
        for (size_t t = 0; t < tokens_in_panel(work->n, panel); t++) {
            size_t row = (size_t)work->id[panel * PANEL + t];
            float *to = gradient + row * p->cols + first;
            for (size_t c = 0; row != work->skip && c < width; c++)
                to[c] += rows[t * PANEL + c];
        }
    }
    return SN_OK;
}

/* Sparse tables: a worker owns a range of rows and looks at their tokens. */
static int table_rows(void *payload, size_t chunk, size_t worker)
{
    const struct table_work *work = payload;
    const struct parameter *p = &work->session->model->parameters[work->parameter];
    const struct pattern *pattern = p->matrix->pattern;
    float *gradient = work->session->gradients[work->parameter];
    size_t first = chunk * IDS_PER_CHUNK, last = first + IDS_PER_CHUNK;
    (void)worker;
    for (size_t t = 0; t < work->n; t++) {
        size_t row = (size_t)work->id[t];
        if (row < first || row >= last || row == work->skip)
            continue;
        const float *d = work->d + (t / PANEL) * p->cols * PANEL + t % PANEL;
        for (uint32_t i = pattern->row_start[row]; i < pattern->row_start[row + 1]; i++)
            gradient[i] += d[pattern_column(pattern, i) * PANEL];
    }
    return SN_OK;
}

static int visit_rows(void *payload, size_t chunk, size_t worker)
{
    const struct table_work *work = payload;
    struct sn_session *session = work->session;
    const struct parameter *p = &session->model->parameters[work->parameter];
    size_t first = chunk * IDS_PER_CHUNK,
           last = first + IDS_PER_CHUNK < p->rows ? first + IDS_PER_CHUNK : p->rows;
    float *block = work->blocks + worker * IDS_PER_CHUNK * p->cols;
    memset(block, 0, (last - first) * p->cols * sizeof *block);
    for (size_t t = 0; t < work->n; t++) {
        size_t row = (size_t)work->id[t];
        if (row < first || row >= last || row == work->skip)
            continue;
        const float *d = work->d + (t / PANEL) * p->cols * PANEL + t % PANEL;
        for (size_t c = 0; c < p->cols; c++)
            block[(row - first) * p->cols + c] += d[c * PANEL];
    }
    return session->visit(session->visit_payload, (size_t)work->parameter, first, last, block, worker);
}

static int visit_table(struct table_work *work)
{
    struct sn_session *session = work->session;
    struct memory *memory = session->context->memory;
    const struct parameter *p = &session->model->parameters[work->parameter];
    size_t floats = parallel_workers(session->context) * IDS_PER_CHUNK * p->cols;
    work->blocks = memory_allocate_array(memory, floats, sizeof(float));
    if (!work->blocks)
        return fail_memory(session->context, "blocks of an embedding gradient", floats * sizeof(float));
    int status =
        parallel_for(session->context, (p->rows + IDS_PER_CHUNK - 1) / IDS_PER_CHUNK, visit_rows, work);
    memory_free(memory, work->blocks, floats * sizeof(float));
    return status;
}

static int table_backward(struct table_work *work)
{
    struct sn_session *session = work->session;
    const struct parameter *p = &session->model->parameters[work->parameter];
    int status, dense = !p->matrix->pattern || session->mode == GRADIENT_DENSE;
    if (!session->gradients[work->parameter])
        return SN_OK;
    if (dense)
        status = parallel_for(session->context, (p->cols + PANEL - 1) / PANEL, table_columns, work);
    else
        status = parallel_for(session->context, (p->rows + IDS_PER_CHUNK - 1) / IDS_PER_CHUNK,
                              table_rows, work);
    if (status == SN_OK && session->visit && p->role == ROLE_EMBEDDING)
        status = visit_table(work);
    return status;
}

int embedding_backward(struct sn_session *session)
{
    struct table_work work = {.session = session,
                              .parameter = session->model->wte,
                              .d = session->d_stream,
                              .id = session->tokens,
                              .n = session->n_tokens,
                              .skip = SIZE_MAX};
    int status = table_backward(&work);
    if (status != SN_OK || session_config(session)->has_d_pos_emb)
        return status;
    work.parameter = session->model->wpe;
    work.id = (const int32_t *)session->places.position;
    return table_backward(&work);
}

int position_backward(struct sn_session *session)
{
    struct table_work work = {.session = session,
                              .parameter = session->model->wpe,
                              .d = session->d_position,
                              .id = (const int32_t *)session->places.position,
                              .n = session->n_tokens,
                              .skip = SIZE_MAX};
    return session_config(session)->d_pos_emb ? table_backward(&work) : SN_OK;
}

int bigram_backward(struct sn_session *session)
{
    struct memory *memory = session->context->memory;
    if (session->model->bigram < 0 || !session->gradients[session->model->bigram])
        return SN_OK;
    int32_t *id = memory_allocate_array(memory, session->n_rows + 1, sizeof *id);
    if (!id)
        return fail_memory(session->context, "tokens of the logits", session->n_rows * sizeof *id);
    for (size_t row = 0; row < session->n_rows; row++)
        id[row] = session->tokens[head_row_token(session, row)];
    /* the released code looks rows up with padding_idx -1: the last row never learns */
    struct table_work work = {.session = session,
                              .parameter = session->model->bigram,
                              .d = session->logits_gradient,
                              .id = id,
                              .n = session->n_rows,
                              .skip = session_config(session)->vocab_size - 1};
    int status = table_backward(&work);
    memory_free(memory, id, (session->n_rows + 1) * sizeof *id);
    return status;
}
