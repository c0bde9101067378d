/* The public interventions: set, add, scale; for channels and tokens of the caller's choice. */
#include "model/session_state.h"

#include <string.h>

struct edit {
    struct intervention intervention; /* first: the library sees only this */
    int action;
    size_t n_channels;
    size_t *channels; /* NULL: all, n_channels = width */
    float *values;    /* per channel, or per token and channel */
    size_t n_values;
    unsigned char *token_mask;
    size_t n_tokens; /* of token_mask */
};

static int edits_token(const struct edit *edit, size_t token)
{
    return !edit->token_mask || (token < edit->n_tokens && edit->token_mask[token]);
}

static float edit_value(const struct edit *edit, size_t token, size_t i)
{
    if (edit->n_values == edit->n_channels)
        return edit->values[i];
    return edit->values[token * edit->n_channels + i];
}

static void edit_forward(struct intervention *self, const struct site_view *view, float *x, void *saved)
{
    const struct edit *edit = (const struct edit *)self;
    (void)saved;
    for (size_t t = 0; t < view->n_tokens; t++) {
        size_t token = view->token[t];
        if (!edits_token(edit, token))
            continue;
        for (size_t i = 0; i < edit->n_channels; i++) {
            float *place = &x[(edit->channels ? edit->channels[i] : i) * PANEL + t];
            float value = edit_value(edit, token, i);
            *place = edit->action == SN_SET   ? value
                     : edit->action == SN_ADD ? *place + value
                                              : *place * value;
        }
    }
}

static void edit_backward(struct intervention *self, const struct site_view *view, float *dx,
                          const void *saved, float *partial)
{
    const struct edit *edit = (const struct edit *)self;
    (void)saved;
    (void)partial;
    for (size_t t = 0; t < view->n_tokens; t++) {
        size_t token = view->token[t];
        if (!edits_token(edit, token))
            continue;
        for (size_t i = 0; i < edit->n_channels; i++) {
            float *place = &dx[(edit->channels ? edit->channels[i] : i) * PANEL + t];
            *place = edit->action == SN_SET ? 0.0f : *place * edit_value(edit, token, i);
        }
    }
}

static void edit_free(struct memory *memory, struct edit *edit)
{
    if (!edit)
        return;
    memory_free(memory, edit->channels, edit->n_channels * sizeof *edit->channels);
    memory_free(memory, edit->values, edit->n_values * sizeof *edit->values);
    memory_free(memory, edit->token_mask, edit->n_tokens);
    memory_free(memory, edit, sizeof *edit);
}

static void *copy_block(struct memory *memory, const void *from, size_t count, size_t size, int *failed)
{
    if (!from)
        return NULL;
    void *copy = memory_allocate_array(memory, count, size);
    if (!copy)
        *failed = 1;
    else if (count)
        memcpy(copy, from, count * size);
    return copy;
}

static struct edit *edit_create(struct memory *memory, int action, const size_t *channels,
                                size_t n_channels, const float *values, size_t n_values,
                                const unsigned char *token_mask, size_t n_tokens)
{
    int failed = 0;
    struct edit *edit = memory_allocate_zeroed(memory, sizeof *edit);
    if (!edit)
        return NULL;
    edit->intervention.forward = edit_forward;
    edit->intervention.backward = action == SN_ADD ? NULL : edit_backward;
    edit->action = action;
    edit->n_channels = n_channels;
    edit->n_values = n_values;
    edit->n_tokens = token_mask ? n_tokens : 0;
    edit->channels = copy_block(memory, channels, n_channels, sizeof *channels, &failed);
    edit->values = copy_block(memory, values, n_values, sizeof *values, &failed);
    edit->token_mask = copy_block(memory, token_mask, n_tokens, 1, &failed);
    if (failed) {
        edit_free(memory, edit);
        return NULL;
    }
    return edit;
}

static int check_edit(struct sn_session *session, size_t width, int action, const size_t *channels,
                      size_t n_channels, const float *values, size_t n_values)
{
    struct sn_context *context = session->context;
    if (action != SN_SET && action != SN_ADD && action != SN_SCALE)
        return fail(context, SN_ERROR_ARGUMENT, "sn_session_intervene: action is %d", action);
    for (size_t i = 0; channels && i < n_channels; i++)
        if (channels[i] >= width)
            return fail(context, SN_ERROR_ARGUMENT,
                        "sn_session_intervene: channels[%zu] is %zu; the site has %zu", i, channels[i],
                        width);
    if (!values || n_channels == 0 || n_values == 0 || n_values % n_channels != 0)
        return fail(context, SN_ERROR_ARGUMENT, "sn_session_intervene: n_values is %zu for %zu channels",
                    n_values, n_channels);
    return SN_OK;
}

int sn_session_intervene(sn_session *session, const char *site, int action, const size_t *channels,
                         size_t n_channels, const float *values, size_t n_values,
                         const unsigned char *token_mask, size_t n_tokens)
{
    if (!session)
        return SN_ERROR_ARGUMENT;
    struct sn_context *context = session->context;
    int index = site ? site_find(session->model, site) : -1;
    if (index < 0)
        return fail(context, SN_ERROR_ARGUMENT, "sn_session_intervene: the model has no site \"%s\"",
                    site ? site : "(null)");
    size_t width = site_width(session_config(session), (size_t)index);
    if (!channels)
        n_channels = width;
    int status = check_edit(session, width, action, channels, n_channels, values, n_values);
    if (status != SN_OK)
        return status;
    struct edit *edit = edit_create(context->memory, action, channels, n_channels, values, n_values,
                                    token_mask, n_tokens);
    if (!edit)
        return fail_memory(context, "an intervention", n_values * sizeof *values);
    status = session_attach(session, (size_t)index, &edit->intervention);
    if (status != SN_OK) {
        edit_free(context->memory, edit);
        return status;
    }
    session->attachments[session->n_attachments - 1].owned = 1;
    return SN_OK;
}

int sn_session_clear_interventions(sn_session *session)
{
    if (!session)
        return SN_ERROR_ARGUMENT;
    for (size_t i = session->n_attachments; i-- > 0;) {
        struct attachment attachment = session->attachments[i];
        if (!attachment.owned)
            continue;
        session_detach(session, attachment.intervention);
        edit_free(session->context->memory, (struct edit *)attachment.intervention);
    }
    return SN_OK;
}

/* Values given per token must cover the batch that is about to run. */
int interventions_check(const struct sn_session *session)
{
    for (size_t i = 0; i < session->n_attachments; i++) {
        if (!session->attachments[i].owned)
            continue;
        const struct edit *edit = (const struct edit *)session->attachments[i].intervention;
        size_t rows = edit->n_values / edit->n_channels;
        if (rows != 1 && rows < session->n_tokens)
            return fail(session->context, SN_ERROR_ARGUMENT,
                        "an intervention at %s has values for %zu tokens; the batch has %zu",
                        session->model->site_names[session->attachments[i].site], rows,
                        session->n_tokens);
    }
    return SN_OK;
}
