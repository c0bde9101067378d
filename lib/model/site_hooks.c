/* A site is where activations become nodes: interventions and recording, one panel at a time. */
#include "model/session_state.h"

#include <string.h>

int session_attach(struct sn_session *session, size_t site, struct intervention *intervention)
{
    struct memory *memory = session->context->memory;
    if (session->n_attachments == session->attachment_capacity) {
        size_t size = sizeof *session->attachments, old = session->attachment_capacity;
        size_t capacity = old ? 2 * old : 16;
        struct attachment *bigger =
            memory_resize(memory, session->attachments, old * size, capacity * size);
        if (!bigger)
            return fail_memory(session->context, "an intervention", capacity * size);
        session->attachments = bigger;
        session->attachment_capacity = capacity;
    }
    session->attachments[session->n_attachments++] =
        (struct attachment){.intervention = intervention, .site = site};
    session_forget_run(session);
    return SN_OK;
}

static void free_buffers(struct memory *memory, struct attachment *attachment)
{
    memory_free(memory, attachment->saved, attachment->saved_size);
    memory_free(memory, attachment->partials, attachment->partials_size);
}

void session_detach(struct sn_session *session, struct intervention *intervention)
{
    size_t kept = 0;
    for (size_t i = 0; i < session->n_attachments; i++) {
        if (session->attachments[i].intervention == intervention)
            free_buffers(session->context->memory, &session->attachments[i]);
        else
            session->attachments[kept++] = session->attachments[i];
    }
    session->n_attachments = kept;
    session_forget_run(session);
}

static int acts(const struct attachment *attachment, size_t site, int in_front)
{
    return attachment->site == site && (attachment->intervention->in_front != 0) == in_front;
}

int site_has_attachment(const struct sn_session *session, size_t site)
{
    for (size_t i = 0; i < session->n_attachments; i++)
        if (acts(&session->attachments[i], site, 0))
            return 1;
    return 0;
}

static struct site_view view_of(const struct sn_session *session, size_t site, size_t panel)
{
    const struct places *places = session_site_places(session, site);
    size_t first = panel * PANEL, left = places->n - first;
    struct site_view view = {
        .site = site,
        .panel = panel,
        .width = site_width(session_config(session), site),
        .n_tokens = left < PANEL ? left : PANEL,
        .token = places->token + first,
        .sequence = places->sequence + first,
        .position = places->position + first,
    };
    return view;
}

static void *saved_of(const struct attachment *attachment, size_t panel)
{
    size_t bytes = attachment->intervention->saved_bytes;
    return bytes ? attachment->saved + panel * bytes : NULL;
}

static void run_attached(struct sn_session *session, size_t site, size_t panel, float *x, int in_front)
{
    for (size_t i = 0; i < session->n_attachments; i++) {
        struct attachment *attachment = &session->attachments[i];
        if (!acts(attachment, site, in_front))
            continue;
        struct site_view view = view_of(session, site, panel);
        attachment->intervention->forward(attachment->intervention, &view, x,
                                          saved_of(attachment, panel));
    }
}

void site_forward_in_front(struct sn_session *session, size_t site, size_t panel, float *x)
{
    run_attached(session, site, panel, x, 1);
}

void site_forward(struct sn_session *session, size_t site, size_t panel, float *x)
{
    const struct site_record *record = &session->records[site];
    run_attached(session, site, panel, x, 0);
    if (record->wanted) {
        size_t width = site_width(session_config(session), site);
        memcpy(panel_of(record->values, panel, width), x, width * PANEL * sizeof *x);
    }
}

void site_backward(struct sn_session *session, size_t site, size_t panel, float *dx)
{
    struct site_record *record = &session->records[site];
    size_t width = site_width(session_config(session), site);
    if (record->added)
        session_kernels(session)->add(dx, panel_of(record->added, panel, width), width * PANEL);
    if (record->wanted)
        memcpy(panel_of(record->gradient, panel, width), dx, width * PANEL * sizeof *dx);
    for (size_t i = session->n_attachments; i-- > 0;) {
        struct attachment *attachment = &session->attachments[i];
        struct intervention *intervention = attachment->intervention;
        if (!acts(attachment, site, 0) || !intervention->backward)
            continue;
        struct site_view view = view_of(session, site, panel);
        float *partial = intervention->n_parameters
                             ? attachment->partials + panel * intervention->n_parameters
                             : NULL;
        if (partial)
            memset(partial, 0, intervention->n_parameters * sizeof *partial);
        intervention->backward(intervention, &view, dx, saved_of(attachment, panel), partial);
    }
}

/* Panels in order, so that sums do not depend on threads. */
void sites_sum_partials(struct sn_session *session)
{
    for (size_t i = 0; i < session->n_attachments; i++) {
        struct attachment *attachment = &session->attachments[i];
        struct intervention *intervention = attachment->intervention;
        size_t n = intervention->n_parameters;
        for (size_t panel = 0; intervention->backward && n && panel < session->n_panels; panel++)
            for (size_t p = 0; p < n; p++)
                intervention->gradient[p] += attachment->partials[panel * n + p];
    }
}

static int grow_bytes(struct sn_session *session, void **block, size_t *size, size_t wanted)
{
    struct memory *memory = session->context->memory;
    if (wanted <= *size)
        return SN_OK;
    memory_free(memory, *block, *size);
    *size = 0;
    *block = memory_allocate(memory, wanted);
    if (!*block)
        return fail_memory(session->context, "what a site keeps", wanted);
    *size = wanted;
    return SN_OK;
}

/* Partials start at zero: a site outside the range of a run contributes nothing. */
static int prepare_attachment(struct sn_session *session, struct attachment *attachment)
{
    const struct intervention *intervention = attachment->intervention;
    void *saved = attachment->saved, *partials = attachment->partials;
    size_t partials_bytes =
        session->keeps ? session->n_panels * intervention->n_parameters * sizeof(float) : 0;
    int status = grow_bytes(session, &saved, &attachment->saved_size,
                            session->n_panels * intervention->saved_bytes);
    if (status == SN_OK)
        status = grow_bytes(session, &partials, &attachment->partials_size, partials_bytes);
    attachment->saved = saved;
    attachment->partials = partials;
    if (status == SN_OK && partials_bytes)
        memset(attachment->partials, 0, partials_bytes);
    return status;
}

static int prepare_record(struct sn_session *session, size_t site)
{
    struct site_record *record = &session->records[site];
    size_t bytes = session->n_panels * site_width(session_config(session), site) * PANEL * sizeof(float);
    void *values = record->values, *gradient = record->gradient;
    int status = grow_bytes(session, &values, &record->values_size, bytes);
    if (status == SN_OK && session->keeps)
        status = grow_bytes(session, &gradient, &record->gradient_size, bytes);
    record->values = values;
    record->gradient = gradient;
    if (status != SN_OK)
        return status;
    memset(record->values, 0, bytes); /* sites outside the range read as zero */
    if (record->gradient)
        memset(record->gradient, 0, bytes);
    return SN_OK;
}

static void forget_added(struct sn_session *session, struct site_record *record)
{
    memory_free(session->context->memory, record->added, record->added_size);
    record->added = NULL;
    record->added_size = 0;
}

void sites_forget_added(struct sn_session *session)
{
    for (size_t site = 0; site < site_count(session_config(session)); site++)
        forget_added(session, &session->records[site]);
}

int sites_prepare(struct sn_session *session)
{
    int status = SN_OK;
    sites_forget_added(session);
    for (size_t i = 0; status == SN_OK && i < session->n_attachments; i++)
        status = prepare_attachment(session, &session->attachments[i]);
    for (size_t site = 0; status == SN_OK && site < site_count(session_config(session)); site++)
        if (session->records[site].wanted)
            status = prepare_record(session, site);
    return status;
}

size_t sites_bytes(const struct sn_session *session, size_t panels)
{
    const struct config *config = session_config(session);
    size_t copies = session->keeps ? 2 : 1, bytes = held_bytes(session);
    for (size_t site = 0; site < site_count(config); site++)
        if (session->records[site].wanted)
            bytes +=
                copies * memory_block_size(panels * site_width(config, site) * PANEL * sizeof(float));
    if (session->attachments)
        bytes += memory_block_size(session->attachment_capacity * sizeof *session->attachments);
    for (size_t i = 0; i < session->n_attachments; i++) {
        const struct intervention *intervention = session->attachments[i].intervention;
        size_t partials = session->keeps ? panels * intervention->n_parameters * sizeof(float) : 0;
        size_t saved = panels * intervention->saved_bytes;
        bytes += (saved ? memory_block_size(saved) : 0) + (partials ? memory_block_size(partials) : 0);
    }
    return bytes;
}

static void free_record(struct sn_session *session, struct site_record *record)
{
    struct memory *memory = session->context->memory;
    memory_free(memory, record->values, record->values_size);
    memory_free(memory, record->gradient, record->gradient_size);
    forget_added(session, record);
    memset(record, 0, sizeof *record);
}

void sites_free(struct sn_session *session)
{
    struct memory *memory = session->context->memory;
    size_t n_sites = site_count(session_config(session));
    (void)sn_session_clear_interventions(session);
    for (size_t i = 0; i < session->n_attachments; i++)
        free_buffers(memory, &session->attachments[i]);
    memory_free(memory, session->attachments,
                session->attachment_capacity * sizeof *session->attachments);
    for (size_t site = 0; session->records && site < n_sites; site++)
        free_record(session, &session->records[site]);
    memory_free(memory, session->records, n_sites * sizeof *session->records);
}

/* ------------------------------------------------------------------ public */

static int find_site(size_t *site, struct sn_session *session, const char *function, const char *name)
{
    int found = name ? site_find(session->model, name) : -1;
    *site = 0;
    if (found < 0)
        return fail(session->context, SN_ERROR_ARGUMENT, "%s: the model has no site \"%s\"", function,
                    name ? name : "(null)");
    *site = (size_t)found;
    return SN_OK;
}

int sn_session_record(sn_session *session, const char *site)
{
    size_t index;
    if (!session)
        return SN_ERROR_ARGUMENT;
    if (!site) {
        for (size_t i = 0; i < site_count(session_config(session)); i++)
            free_record(session, &session->records[i]);
        return SN_OK;
    }
    int status = find_site(&index, session, "sn_session_record", site);
    if (status != SN_OK)
        return status;
    session->records[index].wanted = 1;
    session_forget_run(session);
    return SN_OK;
}

/* Panels to token-major rows. */
static int unpack(float *out, size_t capacity, size_t *needed, struct sn_session *session,
                  const char *what, const float *panels, size_t width, size_t n_tokens)
{
    size_t count = n_tokens * width;
    if (needed)
        *needed = count;
    if (!out || capacity < count)
        return copy_out(session->context, what, out, capacity, needed, NULL, count, sizeof *out);
    for (size_t first = 0; first < n_tokens; first += PANEL) {
        size_t left = n_tokens - first, n = left < PANEL ? left : PANEL;
        session_kernels(session)->transpose(out + first * width, width, panels + first * width, PANEL,
                                            width, n);
    }
    return SN_OK;
}

int sn_session_activations(float *values, size_t capacity, size_t *needed, sn_session *session,
                           const char *site)
{
    size_t index;
    if (!session)
        return SN_ERROR_ARGUMENT;
    int status = find_site(&index, session, "sn_session_activations", site);
    if (status != SN_OK)
        return status;
    if (!session->forward_done || !session->records[index].wanted)
        return fail(session->context, SN_ERROR_STATE, "site %s was not recorded in the last forward",
                    site);
    return unpack(values, capacity, needed, session, "sn_session_activations",
                  session->records[index].values, site_width(session_config(session), index),
                  session_site_places(session, index)->n);
}

int sn_session_site_gradient(float *values, size_t capacity, size_t *needed, sn_session *session,
                             const char *site)
{
    size_t index;
    if (!session)
        return SN_ERROR_ARGUMENT;
    int status = find_site(&index, session, "sn_session_site_gradient", site);
    if (status != SN_OK)
        return status;
    if (!session->backward_done || !session->records[index].wanted)
        return fail(session->context, SN_ERROR_STATE, "site %s was not recorded in the last backward",
                    site);
    return unpack(values, capacity, needed, session, "sn_session_site_gradient",
                  session->records[index].gradient, site_width(session_config(session), index),
                  session_site_places(session, index)->n);
}

int sn_session_residual(float *values, size_t capacity, size_t *needed, sn_session *session)
{
    if (!session)
        return SN_ERROR_ARGUMENT;
    if (!session->forward_done)
        return fail(session->context, SN_ERROR_STATE, "sn_session_residual: no forward has been run");
    size_t last = session->last, n = 2 * session_config(session)->n_layer;
    return unpack(values, capacity, needed, session, "sn_session_residual",
                  session->stream[last < n ? last : n], session_config(session)->d_model,
                  session->by_rows ? session->n_rows : session->n_tokens);
}

int sn_session_input_gradient(float *values, size_t capacity, size_t *needed, sn_session *session)
{
    if (!session)
        return SN_ERROR_ARGUMENT;
    if (!session->backward_done)
        return fail(session->context, SN_ERROR_STATE,
                    "sn_session_input_gradient: no backward has been run");
    return unpack(values, capacity, needed, session, "sn_session_input_gradient", session->d_tokens,
                  session_config(session)->d_model, session->n_tokens);
}

int sn_session_add_site_gradient(sn_session *session, const char *site, const float *gradient,
                                 size_t n_values)
{
    size_t index;
    if (!session)
        return SN_ERROR_ARGUMENT;
    int status = find_site(&index, session, "sn_session_add_site_gradient", site);
    if (status != SN_OK)
        return status;
    size_t width = site_width(session_config(session), index);
    size_t n_tokens = session_site_places(session, index)->n, count = n_tokens * width;
    if (!session->keeps)
        return fail(session->context, SN_ERROR_STATE,
                    "sn_session_add_site_gradient: the session was created with \"backward\" 0");
    if (!session->forward_done)
        return fail(session->context, SN_ERROR_STATE,
                    "sn_session_add_site_gradient: no forward has been run");
    if (!gradient || n_values != count)
        return fail(session->context, SN_ERROR_ARGUMENT,
                    "sn_session_add_site_gradient: n_values is %zu; the batch needs %zu", n_values,
                    count);
    struct site_record *record = &session->records[index];
    size_t bytes = session->n_panels * width * PANEL * sizeof(float);
    forget_added(session, record);
    record->added = memory_allocate_zeroed(session->context->memory, bytes);
    if (!record->added)
        return fail_memory(session->context, "a gradient at a site", bytes);
    record->added_size = bytes;
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t c = 0; c < width; c++)
            panel_of(record->added, t / PANEL, width)[c * PANEL + t % PANEL] = gradient[t * width + c];
    return SN_OK;
}
