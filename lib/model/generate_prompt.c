/* A long prompt: 64 tokens at a time through the session, whose keys and values fill the cache. */
#include "model/generator.h"

#include <string.h>

static float *recorded(const struct sn_session *session, size_t layer, enum site_kind kind, size_t panel)
{
    return panel_of(session->records[site_index(layer, kind)].values, panel,
                    config_d_attn(session_config(session)));
}

static void want(struct sn_generator *generator)
{
    struct sn_session *session = generator->session;
    const struct config *config = session_config(session);
    for (size_t layer = 0; layer < config->n_layer; layer++) {
        session->records[site_index(layer, SITE_ATTN_K)].wanted = 1;
        session->records[site_index(layer, SITE_ATTN_V)].wanted = 1;
    }
    for (size_t site = 0; site < site_count(config); site++)
        if (generator->records[site].running)
            session->records[site].wanted = 1;
}

static void take_over(struct sn_generator *generator, size_t n_tokens)
{
    struct sn_session *session = generator->session;
    const struct config *config = session_config(session);
    size_t last = n_tokens - 1;
    for (size_t layer = 0; layer < config->n_layer; layer++)
        for (size_t panel = 0; panel < session->n_panels; panel++)
            cache_put_panel(&generator->cache, layer, panel,
                            recorded(session, layer, SITE_ATTN_K, panel),
                            recorded(session, layer, SITE_ATTN_V, panel));
    for (size_t site = 0; site < site_count(config); site++) {
        size_t width = site_width(config, site);
        float *to = generator->records[site].running;
        if (!to)
            continue;
        const float *from = panel_of(session->records[site].values, last / PANEL, width) + last % PANEL;
        for (size_t c = 0; c < width; c++)
            to[c] = from[c * PANEL];
    }
}

/* Activations of all layers are much larger than the cache: they go as soon as it is filled. */
static void release_run(struct sn_session *session)
{
    (void)sn_session_record(session, NULL);
    plan_free(session);
    session->arena = session->scratch = NULL;
    session->arena_size = session->scratch_total = 0;
    session_forget_run(session);
}

int generator_prompt(struct sn_generator *generator, const int32_t *tokens, size_t n_tokens)
{
    struct sn_session *session = generator->session;
    size_t offsets[2] = {0, n_tokens}, last = n_tokens - 1, needed;
    want(generator);
    int status = sn_session_select_logits(session, &last, 1);
    if (status == SN_OK)
        status = sn_session_forward(session, tokens, offsets, 1);
    if (status == SN_OK)
        status = sn_session_logits(generator->running, generator_config(generator)->vocab_size, &needed,
                                   session);
    if (status == SN_OK)
        take_over(generator, n_tokens);
    release_run(session);
    return status;
}
