/* Sessions: creating, running, freeing. */
#include "model/session_state.h"

#include "base/options.h"

static int allocate_parts(struct sn_session *session)
{
    struct memory *memory = session->context->memory;
    const struct config *config = session_config(session);
    size_t n_parameters = session->model->n_parameters;
    session->layers = memory_allocate_zeroed_array(memory, config->n_layer, sizeof *session->layers);
    session->stream =
        memory_allocate_zeroed_array(memory, 2 * config->n_layer + 1, sizeof *session->stream);
    session->records =
        memory_allocate_zeroed_array(memory, site_count(config), sizeof *session->records);
    session->gradients = memory_allocate_zeroed_array(memory, n_parameters, sizeof *session->gradients);
    session->gradient_size =
        memory_allocate_zeroed_array(memory, n_parameters, sizeof *session->gradient_size);
    if (!session->layers || !session->stream || !session->records || !session->gradients ||
        !session->gradient_size)
        return fail_memory(session->context, "a session", 0);
    int status = held_attach(session);
    return status == SN_OK ? gradients_prepare(session) : status;
}

static int create(struct sn_session **out, struct sn_context *context, struct sn_model *model,
                  enum gradient_mode mode, int keeps)
{
    *out = NULL;
    struct sn_session *session = memory_allocate_zeroed(context->memory, sizeof *session);
    if (!session)
        return fail_memory(context, "a session", sizeof *session);
    session->context = context_retain(context);
    session->model = sn_model_retain(model);
    session->mode = mode;
    session->keeps = keeps;
    session->select_all = 1;
    int status = allocate_parts(session);
    if (status != SN_OK) {
        sn_session_free(session);
        return status;
    }
    *out = session;
    return SN_OK;
}

int session_create(struct sn_session **out, struct sn_context *context, struct sn_model *model,
                   enum gradient_mode mode)
{
    return create(out, context, model, mode, 1);
}

int session_create_forward(struct sn_session **out, struct sn_context *context, struct sn_model *model)
{
    return create(out, context, model, GRADIENT_NONE, 0);
}

struct session_settings {
    int mode, recompute;
    size_t backward, selected_only;
};

int sn_session_create(sn_session **out, sn_context *context, sn_model *model, const sn_options *options)
{
    static const struct option_spec specs[] = {
        {"gradients", OPTION_CHOICE, offsetof(struct session_settings, mode), GRADIENT_NONE, 0, 0,
         "none|support|dense"},
        {"backward", OPTION_INTEGER, offsetof(struct session_settings, backward), 1, 0, 1, NULL},
        {"selected_only", OPTION_INTEGER, offsetof(struct session_settings, selected_only), 0, 0, 1,
         NULL},
        {"recompute", OPTION_CHOICE, offsetof(struct session_settings, recompute), RECOMPUTE_AUTO, 0, 0,
         RECOMPUTE_CHOICES},
    };
    struct session_settings settings;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!model)
        return fail(context, SN_ERROR_ARGUMENT, "sn_session_create: model is NULL");
    int status = options_read(&settings, context, "sn_session_create", specs,
                              sizeof specs / sizeof *specs, options);
    if (status == SN_OK && !settings.backward && settings.mode != GRADIENT_NONE)
        status = fail(context, SN_ERROR_ARGUMENT,
                      "sn_session_create: \"backward\" is 0, which leaves no \"gradients\" but none");
    if (status == SN_OK)
        status = create(out, context, model, (enum gradient_mode)settings.mode, settings.backward != 0);
    if (status == SN_OK)
        (*out)->selected_only = settings.selected_only != 0;
    if (status == SN_OK && settings.backward)
        session_recompute(*out, (enum recompute_mode)settings.recompute);
    return status;
}

void session_recompute(struct sn_session *session, enum recompute_mode mode)
{
    session->recompute_mode = mode;
}

void session_run_selected_only(struct sn_session *session)
{
    session->selected_only = 1;
}

void sn_session_free(sn_session *session)
{
    if (!session)
        return;
    struct sn_context *context = session->context;
    struct memory *memory = context->memory;
    size_t n_layer = session_config(session)->n_layer;
    sites_free(session);
    held_free(session);
    plan_free(session);
    batch_free(session);
    gradients_free(session);
    memory_free(memory, session->layers, n_layer * sizeof *session->layers);
    memory_free(memory, session->stream, (2 * n_layer + 1) * sizeof *session->stream);
    sn_model_free(session->model);
    memory_free(memory, session, sizeof *session);
    context_release(context);
}

/* Sublayers [first, last) are about to run on the batch. */
static int prepare(struct sn_session *session, const int32_t *tokens, const size_t *offsets,
                   const size_t *shared, size_t n_sequences, size_t first, size_t last)
{
    size_t n_sublayers = 2 * session_config(session)->n_layer;
    int status = batch_set(session, tokens, offsets, shared, n_sequences);
    session->first = first;
    session->last = last;
    session->by_rows =
        session->selected_only && !session->select_all && first + 2 <= n_sublayers && last > n_sublayers;
    if (status == SN_OK)
        status = plan_prepare(session);
    return status == SN_OK ? interventions_check(session) : status;
}

static int run(struct sn_session *session, int from_embedding)
{
    session->from_embedding = from_embedding;
    int status = forward_sublayers(session);
    if (status == SN_OK && session->last > 2 * session_config(session)->n_layer)
        status = head_forward(session);
    session->forward_done = status == SN_OK;
    return status;
}

int sn_session_forward(sn_session *session, const int32_t *tokens, const size_t *offsets,
                       size_t n_sequences)
{
    return session_forward_shared(session, tokens, offsets, NULL, n_sequences);
}

int session_forward_shared(struct sn_session *session, const int32_t *tokens, const size_t *offsets,
                           const size_t *shared, size_t n_sequences)
{
    if (!session)
        return SN_ERROR_ARGUMENT;
    if (!tokens || !offsets)
        return fail(session->context, SN_ERROR_ARGUMENT, "sn_session_forward: %s is NULL",
                    tokens ? "offsets" : "tokens");
    int status = prepare(session, tokens, offsets, shared, n_sequences, 0,
                         2 * session_config(session)->n_layer + 1);
    return status == SN_OK ? run(session, 1) : status;
}

static void set_stream(struct sn_session *session, size_t sublayer, const float *residual)
{
    size_t width = session_config(session)->d_model;
    float *stream = session->stream[sublayer];
    for (size_t t = 0; t < session->n_panels * PANEL; t++)
        for (size_t c = 0; c < width; c++)
            stream[(t / PANEL * width + c) * PANEL + t % PANEL] =
                t < session->n_tokens ? residual[t * width + c] : 0;
}

int sn_session_forward_range(sn_session *session, const float *residual, const int32_t *tokens,
                             const size_t *offsets, size_t n_sequences, size_t first, size_t last)
{
    if (!session)
        return SN_ERROR_ARGUMENT;
    struct sn_context *context = session->context;
    size_t n = 2 * session_config(session)->n_layer;
    if (!residual || !offsets)
        return fail(context, SN_ERROR_ARGUMENT, "sn_session_forward_range: %s is NULL",
                    residual ? "offsets" : "residual");
    if (first > n || last > n + 1 || first >= last)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_session_forward_range: sublayers %zu .. %zu; the model has 0 .. %zu", first,
                    last, n + 1);
    if (last > n && session->model->bigram >= 0 && !tokens)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_session_forward_range: logits of a model with a bigram table need tokens");
    int status = prepare(session, tokens, offsets, NULL, n_sequences, first, last);
    if (status != SN_OK)
        return status;
    set_stream(session, first, residual);
    return run(session, 0);
}

int sn_session_select_logits(sn_session *session, const size_t *positions, size_t n_positions)
{
    if (!session)
        return SN_ERROR_ARGUMENT;
    if (!positions && n_positions)
        return fail(session->context, SN_ERROR_ARGUMENT, "sn_session_select_logits: positions is NULL");
    session_forget_run(session);
    return batch_select(session, positions, n_positions);
}

int sn_session_estimate_memory(size_t *bytes, sn_session *session, size_t n_tokens, size_t n_sequences)
{
    if (!session)
        return SN_ERROR_ARGUMENT;
    if (!bytes || n_tokens == 0 || n_sequences == 0)
        return fail(session->context, SN_ERROR_ARGUMENT,
                    "sn_session_estimate_memory: %zu tokens in %zu sequences", n_tokens, n_sequences);
    *bytes = plan_bytes(session, n_tokens, n_sequences);
    return SN_OK;
}

const float *session_logit_panels(const struct sn_session *session)
{
    return session->logits;
}

struct sn_model *session_model(struct sn_session *session)
{
    return session->model;
}

struct sn_context *session_context(struct sn_session *session)
{
    return session->context;
}
