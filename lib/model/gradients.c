/* Gradients of the weights: dense, on the support, or none; accumulated until zeroed. */
#include "model/session_state.h"

#include <string.h>

#define ROWS_PER_CHUNK 16

static size_t wanted_size(const struct sn_session *session, const struct parameter *parameter)
{
    if (session->mode == GRADIENT_NONE || !parameter->trainable ||
        (!parameter->matrix && !parameter->vector))
        return 0;
    if (parameter->matrix && session->mode == GRADIENT_DENSE)
        return parameter->rows * parameter->cols;
    return parameter_size(parameter);
}

int gradients_prepare(struct sn_session *session)
{
    struct memory *memory = session->context->memory;
    for (size_t i = 0; i < session->model->n_parameters; i++) {
        size_t size = wanted_size(session, &session->model->parameters[i]);
        if (size != session->gradient_size[i]) {
            memory_free(memory, session->gradients[i], session->gradient_size[i] * sizeof(float));
            session->gradient_size[i] = 0;
            session->gradients[i] = NULL;
            if (size == 0)
                continue;
            session->gradients[i] = memory_allocate_array(memory, size, sizeof(float));
            if (!session->gradients[i])
                return fail_memory(session->context, session->model->parameters[i].name,
                                   size * sizeof(float));
            session->gradient_size[i] = size;
        }
        if (size)
            memset(session->gradients[i], 0, size * sizeof(float));
    }
    return SN_OK;
}

void gradients_free(struct sn_session *session)
{
    struct memory *memory = session->context->memory;
    size_t n = session->model->n_parameters;
    for (size_t i = 0; session->gradients && session->gradient_size && i < n; i++)
        memory_free(memory, session->gradients[i], session->gradient_size[i] * sizeof(float));
    memory_free(memory, session->gradients, n * sizeof *session->gradients);
    memory_free(memory, session->gradient_size, n * sizeof *session->gradient_size);
}

float *session_gradient(struct sn_session *session, size_t index)
{
    return index < session->model->n_parameters ? session->gradients[index] : NULL;
}

int session_parameters_changed(struct sn_session *session)
{
    return gradients_prepare(session);
}

void session_set_gradient_visitor(struct sn_session *session, parameter_gradient_visitor visit,
                                  void *payload)
{
    session->visit = visit;
    session->visit_payload = payload;
}

struct visit_work {
    struct sn_session *session;
    size_t parameter;
};

static int visit_block(void *payload, size_t first_row, size_t last_row, const float *block,
                       size_t worker)
{
    const struct visit_work *work = payload;
    return work->session->visit(work->session->visit_payload, work->parameter, first_row, last_row,
                                block, worker);
}

int gradients_add_product(struct sn_session *session, int parameter, const float *dy, size_t dy_stride,
                          const float *x, size_t x_stride, size_t n_panels)
{
    const struct parameter *p = &session->model->parameters[parameter];
    float *gradient = session->gradients[parameter];
    int status = SN_OK;
    if (!gradient)
        return SN_OK;
    if (session->mode == GRADIENT_DENSE && p->matrix->pattern)
        status = matrix_gradient_dense(gradient, session->context, p->rows, p->cols, dy, dy_stride, x,
                                       x_stride, n_panels);
    else
        status =
            matrix_gradient(gradient, session->context, p->matrix, dy, dy_stride, x, x_stride, n_panels);
    if (status != SN_OK || !session->visit || (p->role != ROLE_MATRIX && p->role != ROLE_EMBEDDING))
        return status;
    struct visit_work work = {session, (size_t)parameter};
    return matrix_gradient_visit(session->context, p->rows, p->cols, dy, dy_stride, x, x_stride,
                                 n_panels, visit_block, &work);
}

struct row_sums {
    float *gradient;
    const float *dy;
    size_t rows, stride, n_panels;
};

static int sum_rows(void *payload, size_t chunk, size_t worker)
{
    const struct row_sums *sums = payload;
    size_t first = chunk * ROWS_PER_CHUNK, last = first + ROWS_PER_CHUNK;
    (void)worker;
    for (size_t panel = 0; panel < sums->n_panels; panel++)
        for (size_t r = first; r < last && r < sums->rows; r++) {
            const float *row = sums->dy + panel * sums->stride + r * PANEL;
            float part[16] = {0};
            for (size_t t = 0; t < PANEL; t += 16)
                for (size_t i = 0; i < 16; i++)
                    part[i] += row[t + i];
            float sum = 0;
            for (size_t i = 0; i < 16; i++)
                sum += part[i];
            sums->gradient[r] += sum;
        }
    return SN_OK;
}

int gradients_add_rows(struct sn_session *session, int parameter, const float *dy, size_t dy_stride,
                       size_t n_panels)
{
    float *gradient = parameter < 0 ? NULL : session->gradients[parameter];
    if (!gradient)
        return SN_OK;
    struct row_sums sums = {gradient, dy, session->model->parameters[parameter].rows, dy_stride,
                            n_panels};
    return parallel_for(session->context, (sums.rows + ROWS_PER_CHUNK - 1) / ROWS_PER_CHUNK, sum_rows,
                        &sums);
}

int sn_session_zero_gradients(sn_session *session)
{
    if (!session)
        return SN_ERROR_ARGUMENT;
    for (size_t i = 0; i < session->model->n_parameters; i++)
        if (session->gradients[i])
            memset(session->gradients[i], 0, session->gradient_size[i] * sizeof(float));
    return SN_OK;
}

/* Support order to row-major. */
static void scatter_support(float *dense, const struct parameter *p, const float *values)
{
    const struct pattern *pattern = p->matrix->pattern;
    memset(dense, 0, p->rows * p->cols * sizeof *dense);
    for (size_t r = 0; r < p->rows; r++)
        for (uint32_t i = pattern->row_start[r]; i < pattern->row_start[r + 1]; i++)
            dense[r * p->cols + pattern_column(pattern, i)] = values[i];
}

int sn_session_gradient(float *values, size_t capacity, size_t *needed, sn_session *session,
                        const char *tensor)
{
    if (!session)
        return SN_ERROR_ARGUMENT;
    int index = tensor ? model_find(session->model, tensor) : -1;
    if (index < 0)
        return fail(session->context, SN_ERROR_ARGUMENT,
                    "sn_session_gradient: the model has no tensor \"%s\"", tensor ? tensor : "(null)");
    const struct parameter *p = &session->model->parameters[index];
    size_t count = p->cols ? p->rows * p->cols : p->rows;
    int is_empty = session->mode == GRADIENT_SUPPORT && p->trainable && p->matrix && !parameter_size(p);
    if (!session->gradients[index] && !is_empty)
        return fail(session->context, SN_ERROR_STATE, "no gradient is kept for %s", tensor);
    if (count == session->gradient_size[index])
        return copy_out(session->context, tensor, values, capacity, needed, session->gradients[index],
                        count, sizeof *values);
    if (needed)
        *needed = count;
    if (!values || capacity < count)
        return copy_out(session->context, tensor, values, capacity, needed, NULL, count, sizeof *values);
    scatter_support(values, p, session->gradients[index]);
    return SN_OK;
}
