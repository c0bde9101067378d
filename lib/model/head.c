/* The head: final norm, unembedding, biases and bigram rows for the selected tokens; and the loss. */
#include "model/session_state.h"

#include <math.h>
#include <string.h>

size_t head_row_token(const struct sn_session *session, size_t row)
{
    return session->select_all ? row : session->selected[row];
}

static void gather_rows(const struct sn_session *session, size_t panel, float *x)
{
    size_t width = session_config(session)->d_model;
    memset(x, 0, width * PANEL * sizeof *x);
    batch_add_rows(session, panel, x, session->stream[2 * session_config(session)->n_layer], width);
}

static int final_site(void *payload, size_t panel, size_t worker)
{
    struct sn_session *session = payload;
    const struct config *config = session_config(session);
    (void)worker;
    site_forward(session, SITES_PER_LAYER * config->n_layer, panel,
                 panel_of(session->stream[2 * config->n_layer], panel, config->d_model));
    return SN_OK;
}

static int head_panel(void *payload, size_t panel, size_t worker)
{
    struct sn_session *session = payload;
    const struct config *config = session_config(session);
    const struct sn_model *model = session->model;
    size_t width = config->d_model, slot = session_slot(session, panel, worker);
    size_t in = session_stream_is_rows(session) ? panel : slot;
    float *normed = panel_of(session->head_normed, slot, width);
    if (!session_stream_is_rows(session))
        gather_rows(session, panel, panel_of(session->head_in, in, width));
    norm_forward(session, normed, panel_of(session->head_mean, slot, 1),
                 panel_of(session->head_inverse, slot, 1), panel_of(session->head_in, in, width),
                 model->ln_f, model->ln_f_bias, width);
    matrix_multiply_panel(session_matrix(session, model->lm_head), session_kernels(session),
                          panel_of(session->logits, panel, config->vocab_size), normed,
                          session_vector(session, model->logits_bias), 0);
    if (model->bigram >= 0)
        bigram_forward(session, panel);
    return SN_OK;
}

/* Of the last stream. */
static size_t final_panels(const struct sn_session *session)
{
    return session->by_rows ? session->n_row_panels : session->n_panels;
}

int head_forward(struct sn_session *session)
{
    int status = parallel_for(session->context, final_panels(session), final_site, session);
    return status == SN_OK ? parallel_for(session->context, session->n_row_panels, head_panel, session)
                           : status;
}

/* ---- loss */

static int set_targets(struct sn_session *session, const int32_t *targets, size_t *counted)
{
    size_t vocab_size = session_config(session)->vocab_size;
    *counted = 0;
    for (size_t row = 0; row < session->n_rows; row++) {
        if (targets[row] >= 0 && (size_t)targets[row] >= vocab_size)
            return fail(session->context, SN_ERROR_ARGUMENT,
                        "targets[%zu] is %d; the vocabulary has %zu tokens", row, (int)targets[row],
                        vocab_size);
        session->row_target[row] = targets[row];
        *counted += targets[row] >= 0;
    }
    for (size_t row = session->n_rows; row < session->n_row_panels * PANEL; row++)
        session->row_target[row] = -1;
    if (*counted == 0)
        return fail(session->context, SN_ERROR_ARGUMENT, "no target counts: all are negative");
    return SN_OK;
}

static int loss_panel(void *payload, size_t panel, size_t worker)
{
    struct sn_session *session = payload;
    size_t vocab_size = session_config(session)->vocab_size;
    (void)worker;
    session_kernels(session)->cross_entropy(
        panel_of(session->row_loss, panel, 1), panel_of(session->row_lse, panel, 1),
        panel_of(session->logits, panel, vocab_size), session->row_target + panel * PANEL, vocab_size);
    return SN_OK;
}

/* *total: of the weights of the rows that count (NULL: 1 each). */
static int mean_loss(double *loss, double *total, struct sn_session *session, const int32_t *targets,
                     const float *weights)
{
    size_t counted;
    if (!session->forward_done || session->last <= 2 * session_config(session)->n_layer)
        return fail(session->context, SN_ERROR_STATE, "no forward has computed logits");
    if (!targets)
        return fail(session->context, SN_ERROR_ARGUMENT, "targets is NULL");
    int status = set_targets(session, targets, &counted);
    if (status == SN_OK)
        status = parallel_for(session->context, session->n_row_panels, loss_panel, session);
    if (status != SN_OK)
        return status;
    double sum = 0;
    *total = 0;
    for (size_t row = 0; row < session->n_rows; row++) {
        double weight = session->row_target[row] < 0 ? 0 : weights ? (double)weights[row] : 1;
        sum += weight * (double)session->row_loss[row];
        *total += weight;
    }
    *loss = sum / *total;
    if (!isfinite(*loss))
        return fail(session->context, SN_ERROR_NUMERIC, "the loss is not finite");
    return SN_OK;
}

int sn_session_loss(double *loss, sn_session *session, const int32_t *targets)
{
    double total;
    if (!session)
        return SN_ERROR_ARGUMENT;
    if (!loss)
        return fail(session->context, SN_ERROR_ARGUMENT, "sn_session_loss: loss is NULL");
    return mean_loss(loss, &total, session, targets, NULL);
}

const float *session_row_losses(const struct sn_session *session)
{
    return session->row_loss;
}

/* ---- backward */

struct loss_work {
    struct sn_session *session;
    const float *weights; /* of the rows; NULL: 1 each */
    float scale;
};

static void weigh_rows(float *d, const float *weights, size_t n_rows, size_t vocab_size)
{
    float weight[PANEL];
    size_t n_other = 0;
    for (size_t t = 0; t < PANEL; t++) {
        weight[t] = t < n_rows ? weights[t] : 1;
        n_other += weight[t] != 1.0f;
    }
    for (size_t c = 0; n_other && c < vocab_size; c++)
        for (size_t t = 0; t < PANEL; t++)
            d[c * PANEL + t] *= weight[t];
}

static int loss_gradient_panel(void *payload, size_t panel, size_t worker)
{
    const struct loss_work *work = payload;
    struct sn_session *session = work->session;
    size_t vocab_size = session_config(session)->vocab_size;
    float *d = panel_of(session->logits_gradient, panel, vocab_size);
    (void)worker;
    memcpy(d, panel_of(session->logits, panel, vocab_size), vocab_size * PANEL * sizeof *d);
    session_kernels(session)->cross_entropy_backward(d, panel_of(session->row_lse, panel, 1),
                                                     session->row_target + panel * PANEL, vocab_size,
                                                     work->scale);
    size_t first = panel * PANEL, left = session->n_rows - first;
    if (work->weights)
        weigh_rows(d, work->weights + first, left < PANEL ? left : PANEL, vocab_size);
    return SN_OK;
}

/* d head_in, kept where head_in was read from: head_normed is still needed for dW, so it goes to the
 * front of d_out (all rows selected) or through it into d_stream. */
static int head_backward_panel(void *payload, size_t panel, size_t worker)
{
    struct sn_session *session = payload;
    const struct config *config = session_config(session);
    size_t width = config->d_model;
    float *partial = session->norm_partial + panel * 2 * width;
    float *d_normed = worker_scratch(session, worker), *dx = d_normed + width * PANEL;
    matrix_multiply_transposed_panel(session_matrix(session, session->model->lm_head),
                                     session_kernels(session), d_normed,
                                     panel_of(session->logits_gradient, panel, config->vocab_size), 0);
    if (session_stream_is_rows(session))
        dx = panel_of(session->d_stream, panel, width);
    else
        memset(dx, 0, width * PANEL * sizeof *dx);
    norm_backward(session, dx, partial, partial + width, d_normed,
                  panel_of(session->head_in, panel, width), panel_of(session->head_mean, panel, 1),
                  panel_of(session->head_inverse, panel, 1), session->model->ln_f, width);
    if (!session_stream_is_rows(session))
        batch_add_to_tokens(session, panel, session->d_stream, dx, width);
    return SN_OK;
}

static int final_site_backward(void *payload, size_t panel, size_t worker)
{
    struct sn_session *session = payload;
    const struct config *config = session_config(session);
    (void)worker;
    site_backward(session, SITES_PER_LAYER * config->n_layer, panel,
                  panel_of(session->d_stream, panel, config->d_model));
    return SN_OK;
}

static void set_residual_gradient(struct sn_session *session, const float *gradient)
{
    size_t width = session_config(session)->d_model;
    session->d_stream = session->by_rows ? session->d_rows : session->d_tokens;
    memset(session->d_stream, 0, final_panels(session) * width * PANEL * sizeof(float));
    for (size_t t = 0; gradient && t < session->n_tokens; t++)
        for (size_t c = 0; c < width; c++)
            panel_of(session->d_stream, t / PANEL, width)[c * PANEL + t % PANEL] =
                gradient[t * width + c];
}

int head_backward(struct sn_session *session, const float *residual_gradient)
{
    const struct config *config = session_config(session);
    size_t width = config->d_model;
    set_residual_gradient(session, residual_gradient);
    if (session->last <= 2 * config->n_layer)
        return SN_OK;
    int status = parallel_for(session->context, session->n_row_panels, head_backward_panel, session);
    if (status == SN_OK)
        status = parallel_for(session->context, final_panels(session), final_site_backward, session);
    if (status != SN_OK)
        return status;
    add_partials(session, session->model->ln_f, session->norm_partial, 2 * width, width,
                 session->n_row_panels);
    add_partials(session, session->model->ln_f_bias, session->norm_partial + width, 2 * width, width,
                 session->n_row_panels);
    status = gradients_add_product(session, session->model->lm_head, session->logits_gradient,
                                   config->vocab_size * PANEL, session->head_normed, width * PANEL,
                                   session->n_row_panels);
    return status == SN_OK ? bigram_backward(session) : status;
}

/* Running forward needs no transposed order, so a model gets it at its first backward. */
static int prepare_matrices(struct sn_session *session)
{
    const struct sn_model *model = session->model;
    size_t n_sublayers = 2 * model->config.n_layer;
    int status = SN_OK;
    for (size_t s = session->first; s < session->last && s < n_sublayers && status == SN_OK; s++) {
        const struct layer_parameters *p = &model->layers[s / 2];
        status = matrix_prepare_transposed(session_matrix(session, s % 2 ? p->c_fc : p->c_attn),
                                           session->context);
        if (status == SN_OK)
            status = matrix_prepare_transposed(
                session_matrix(session, s % 2 ? p->mlp_proj : p->attn_proj), session->context);
    }
    if (status == SN_OK && session->last > n_sublayers)
        status = matrix_prepare_transposed(session_matrix(session, model->lm_head), session->context);
    return status;
}

static int finish_backward(struct sn_session *session, const float *residual_gradient)
{
    size_t limit = parallel_limit(session->context, session->workers);
    int status = prepare_matrices(session);
    if (status == SN_OK)
        status = head_backward(session, residual_gradient);
    if (status == SN_OK)
        status = backward_sublayers(session);
    parallel_limit(session->context, limit);
    sites_forget_added(session);
    session->backward_done = status == SN_OK;
    return status;
}

static int check_keeps(const struct sn_session *session, const char *function)
{
    if (session->keeps)
        return SN_OK;
    return fail(session->context, SN_ERROR_STATE,
                "%s: the session was created with \"backward\" 0 and keeps no activations", function);
}

int session_backward_weighted(double *loss, struct sn_session *session, const int32_t *targets,
                              const float *weights)
{
    double total;
    session->backward_done = 0;
    int status = check_keeps(session, "sn_session_backward");
    if (status == SN_OK)
        status = mean_loss(loss, &total, session, targets, weights);
    if (status != SN_OK)
        return status;
    struct loss_work work = {session, weights, 1.0f / (float)total};
    status = parallel_for(session->context, session->n_row_panels, loss_gradient_panel, &work);
    return status == SN_OK ? finish_backward(session, NULL) : status;
}

int sn_session_backward(sn_session *session, const int32_t *targets)
{
    double loss;
    return session ? session_backward_weighted(&loss, session, targets, NULL) : SN_ERROR_ARGUMENT;
}

static void set_logits_gradient(struct sn_session *session, const float *gradient)
{
    size_t vocab_size = session_config(session)->vocab_size;
    memset(session->logits_gradient, 0, session->n_row_panels * vocab_size * PANEL * sizeof(float));
    for (size_t row = 0; gradient && row < session->n_rows; row++) {
        float *to = panel_of(session->logits_gradient, row / PANEL, vocab_size) + row % PANEL;
        for (size_t c = 0; c < vocab_size; c++)
            to[c * PANEL] = gradient[row * vocab_size + c];
    }
}

int sn_session_backward_from(sn_session *session, const float *logits_gradient,
                             const float *residual_gradient)
{
    if (!session)
        return SN_ERROR_ARGUMENT;
    struct sn_context *context = session->context;
    session->backward_done = 0;
    int status = check_keeps(session, "sn_session_backward_from");
    if (status != SN_OK)
        return status;
    if (!session->forward_done)
        return fail(context, SN_ERROR_STATE, "sn_session_backward_from: no forward has been run");
    int has_logits = session->last > 2 * session_config(session)->n_layer;
    if (has_logits && residual_gradient)
        return fail(context, SN_ERROR_ARGUMENT,
                    "residual_gradient is given, but the last forward went on to logits");
    if (!has_logits && logits_gradient)
        return fail(context, SN_ERROR_ARGUMENT,
                    "logits_gradient is given, but the last forward had no logits");
    if (has_logits)
        set_logits_gradient(session, logits_gradient);
    return finish_backward(session, residual_gradient);
}

int sn_session_logits(float *logits, size_t capacity, size_t *needed, sn_session *session)
{
    if (!session)
        return SN_ERROR_ARGUMENT;
    if (!session->forward_done || session->last <= 2 * session_config(session)->n_layer)
        return fail(session->context, SN_ERROR_STATE,
                    "sn_session_logits: no forward has computed logits");
    size_t vocab_size = session_config(session)->vocab_size, count = session->n_rows * vocab_size;
    if (needed)
        *needed = count;
    if (!logits || capacity < count)
        return copy_out(session->context, "sn_session_logits", logits, capacity, needed, NULL, count,
                        sizeof *logits);
    for (size_t row = 0; row < session->n_rows; row++) {
        const float *from = panel_of(session->logits, row / PANEL, vocab_size) + row % PANEL;
        for (size_t c = 0; c < vocab_size; c++)
            logits[row * vocab_size + c] = from[c * PANEL];
    }
    return SN_OK;
}
