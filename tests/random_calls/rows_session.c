/* Sessions. */
#include <string.h>

#include "play.h"
#include "world_objects.h"

#define SESSION CHANGE(session, K_SESSION)

static int create(void)
{
    return sn_session_create(SLOT(session, K_SESSION), C, READ(model, K_MODEL),
                             settings("gradients:=none|support|dense backward:i0-1 selected_only:i0-1 "
                                      "recompute:=auto|never|always"));
}

static int free_session(void)
{
    sn_session_free(play_take(K_SESSION));
    return SN_OK;
}

/* Ragged sequences; where odd, offsets that fall, repeat or go far. */
static size_t *some_offsets(size_t n_sequences, size_t longest)
{
    size_t *offsets = block((n_sequences + 1) * sizeof *offsets);
    for (size_t s = 0; s < n_sequences; s++)
        offsets[s + 1] = offsets[s] + few(1, longest);
    return offsets;
}

static const size_t *spoilt(size_t *offsets, size_t n_sequences)
{
    if (odd())
        offsets[draw(n_sequences + 1)] =
            chance(50) ? SIZE_MAX - draw(9) : draw(offsets[n_sequences] + 1);
    return odd() ? NULL : offsets;
}

/* At times a batch of more than one panel of 64 tokens. */
static int forward(void)
{
    sn_session *session = SESSION;
    const size_t n = chance(95) ? draw(3) + (size_t)!odd() : 12, longest = chance(90) ? 7 : 8;
    size_t *offsets = some_offsets(n, longest);
    const int32_t *ids = tokens(offsets[n]);
    return sn_session_forward(session, ids, spoilt(offsets, n), n);
}

static int forward_range(void)
{
    sn_session *session = SESSION;
    const size_t n = draw(3) + (size_t)!odd(),
                 width = play.tag ? (size_t)sn_model_config_number(play.tag, "d_model") : 6;
    const size_t last = play.tag ? 2 * (size_t)sn_model_config_number(play.tag, "n_layer") + 1 : 3;
    const size_t first = amount(0, last - 1);
    size_t *offsets = some_offsets(n, 7);
    const float *residual = floats(offsets[n] * width);
    const int32_t *ids = tokens(offsets[n]);
    return sn_session_forward_range(session, residual, ids, spoilt(offsets, n), n, first,
                                    first < last ? amount(first + 1, last) : last);
}

/* One that has, in half of all polite calls, run forward for sure, and backward if that is wanted. */
static sn_session *that_ran(int backwards)
{
    static const int32_t targets[] = {1, 2, -1, 4, 5, 6, 7}, *const ids = world_tokens;
    sn_session *session = SESSION;
    if (session && play.polite && chance(50)) {
        (void)sn_session_record(session, WORLD_SITE);
        (void)sn_session_select_logits(session, NULL, 0);
        (void)sn_session_forward(session, ids, world_offsets, 2);
        if (backwards)
            (void)sn_session_backward(session, targets);
    }
    return session;
}

static int logits(void)
{
    sn_session *session = that_ran(0);
    return SIZED(float, sn_session_logits(out, capacity, needed, session));
}

/* As many as there are rows of logits; none where there are no logits. */
static const int32_t *targets(sn_session *session)
{
    size_t n = 0;
    (void)sn_session_logits(NULL, 0, &n, session);
    int32_t *values = tokens(n / 8);
    for (size_t i = 0; values && i < n / 8; i++)
        if (chance(20))
            values[i] = -1;
    return values;
}

static int loss(void)
{
    sn_session *session = that_ran(0);
    double *value = odd() ? NULL : block(sizeof *value);
    return sn_session_loss(value, session, targets(session));
}

static size_t token_count(sn_session *session, size_t *n_values)
{
    size_t n = 0;
    const int64_t width = play.tag ? sn_model_config_number(play.tag, "d_model") : 1;
    (void)sn_session_residual(NULL, 0, &n, session);
    *n_values = n;
    return width > 0 ? n / (size_t)width : 0;
}

static int select_logits(void)
{
    sn_session *session = SESSION;
    size_t n_values, n = chance(50) ? 0 : few(1, 3), tokens_before = token_count(session, &n_values);
    size_t *positions = block(n * sizeof *positions);
    for (size_t i = 0; i < n; i++)
        positions[i] = odd() ? amount(0, 3) : i + draw(tokens_before / (n + 1) + 1);
    return sn_session_select_logits(session, n ? positions : NULL, n);
}

static int record(void)
{
    return sn_session_record(SESSION, chance(50) ? WORLD_SITE : chance(10) ? NULL : a_site());
}

static int activations(void)
{
    sn_session *session = that_ran(0);
    const char *site = chance(60) ? ONE_OF(WORLD_SITE) : a_site();
    return SIZED(float, sn_session_activations(out, capacity, needed, session, site));
}

static int site_gradient(void)
{
    sn_session *session = that_ran(1);
    const char *site = chance(60) ? ONE_OF(WORLD_SITE) : a_site();
    return SIZED(float, sn_session_site_gradient(out, capacity, needed, session, site));
}

/* Values by channel, or by token and channel for as many tokens as there were. */
static int intervene(void)
{
    sn_session *session = SESSION;
    const char *site = a_site();
    const size_t width = site && play.tag ? sn_model_site_width(play.tag, site) : 3;
    size_t n_values, n_tokens = token_count(session, &n_values);
    const size_t n = chance(50) || width == 0 ? width : 1, by_token = chance(20) ? n_tokens : 1;
    size_t *channels = block(n * sizeof *channels);
    for (size_t i = 0; i < n; i++)
        channels[i] = n == width ? i : amount(0, width - 1);
    unsigned char *mask = block(n_tokens);
    for (size_t i = 0; i < n_tokens; i++)
        mask[i] = (unsigned char)draw(2);
    const int masked = chance(20);
    return sn_session_intervene(session, site, whole(SN_SET, SN_SCALE),
                                chance(30) && n == width ? NULL : channels, odd() ? 0 : n,
                                floats(n * by_token), odd() ? 0 : n * by_token, masked ? mask : NULL,
                                masked || by_token > 1 ? n_tokens : 0);
}

static int residual(void)
{
    sn_session *session = that_ran(0);
    return SIZED(float, sn_session_residual(out, capacity, needed, session));
}

static int add_site_gradient(void)
{
    sn_session *session = that_ran(0);
    size_t n_values, n_tokens = token_count(session, &n_values);
    const char *site = a_site();
    const size_t n = site && play.tag ? n_tokens * sn_model_site_width(play.tag, site) : n_values;
    const float *gradient = floats(n);
    return sn_session_add_site_gradient(session, site, gradient, n && odd() ? n - 1 : n);
}

static int backward(void)
{
    sn_session *session = that_ran(0);
    return sn_session_backward(session, targets(session));
}

static int backward_from(void)
{
    sn_session *session = that_ran(0);
    size_t n_logits = 0, n_values;
    (void)sn_session_logits(NULL, 0, &n_logits, session);
    (void)token_count(session, &n_values);
    return sn_session_backward_from(session, n_logits || odd() ? floats(n_logits) : NULL,
                                    !n_logits || odd() ? floats(n_values) : NULL);
}

static int input_gradient(void)
{
    sn_session *session = that_ran(1);
    return SIZED(float, sn_session_input_gradient(out, capacity, needed, session));
}

static int gradient(void)
{
    sn_session *session = that_ran(1);
    const char *tensor = a_tensor();
    return SIZED(float, sn_session_gradient(out, capacity, needed, session, tensor));
}

static int estimate(void)
{
    size_t *bytes = odd() ? NULL : block(sizeof *bytes);
    return sn_session_estimate_memory(bytes, SESSION, amount(1, 30), amount(1, 3));
}

#define ROWS(X)                                                                                         \
    X(sn_session_create, FAIR, create())                                                                \
    X(sn_session_free, FAIR, free_session())                                                            \
    X(sn_session_forward, CHEAP, forward())                                                             \
    X(sn_session_logits, CHEAP, logits())                                                               \
    X(sn_session_loss, CHEAP, loss())                                                                   \
    X(sn_session_select_logits, CHEAP, select_logits())                                                 \
    X(sn_session_record, CHEAP, record())                                                               \
    X(sn_session_activations, CHEAP, activations())                                                     \
    X(sn_session_site_gradient, CHEAP, site_gradient())                                                 \
    X(sn_session_intervene, CHEAP, intervene())                                                         \
    X(sn_session_clear_interventions, CHEAP, sn_session_clear_interventions(SESSION))                   \
    X(sn_session_forward_range, CHEAP, forward_range())                                                 \
    X(sn_session_residual, CHEAP, residual())                                                           \
    X(sn_session_add_site_gradient, CHEAP, add_site_gradient())                                         \
    X(sn_session_backward, CHEAP, backward())                                                           \
    X(sn_session_backward_from, CHEAP, backward_from())                                                 \
    X(sn_session_input_gradient, CHEAP, input_gradient())                                               \
    X(sn_session_zero_gradients, CHEAP, sn_session_zero_gradients(SESSION))                             \
    X(sn_session_gradient, CHEAP, gradient())                                                           \
    X(sn_session_estimate_memory, CHEAP, estimate())

DEFINE_ROWS(rows_session, ROWS)
