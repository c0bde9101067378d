/* Calls of sessions. */
#include <string.h>

#include "calls.h"
#include "world_objects.h"

#define SESSION OBJECT(sn_session, O_SESSION)
#define RUN OBJECT(sn_session, O_RUN)
#define BACK OBJECT(sn_session, O_BACK)

static const size_t channels[2] = {1, 3}, rows[2] = {2, 6};
static const float values[64] = {0.5f, -1, 0.25f, 2, 0, 1};

static int free_session(struct world *w)
{
    sn_session_free(SESSION);
    w->objects[O_SESSION] = NULL;
    return SN_OK;
}

#define CALLS(X)                                                                                        \
    X(sn_session_create, "gradients=support", B(MODEL), 0, 0,                                           \
      sn_session_create(MADE(sn_session, O_SESSION), CONTEXT, MODEL, OPTIONS))                          \
    X(sn_session_free, "", B(SESSION), 0, ALLOCATES_NOTHING, free_session(w))                           \
    X(sn_session_forward, "", 0, B(EMPTY), KEEPS_MEMORY,                                                \
      sn_session_forward(OBJECT(sn_session, O_EMPTY), world_tokens, world_offsets, 2))                  \
    X(sn_session_logits, "", B(RUN), 0, ALLOCATES_NOTHING, sn_session_logits(FLOATS, RUN))              \
    X(sn_session_loss, "", B(RUN), 0, ALLOCATES_NOTHING,                                                \
      sn_session_loss(OUT.numbers, RUN, world_tokens))                                                  \
    X(sn_session_select_logits, "", 0, B(SESSION), KEEPS_MEMORY,                                        \
      sn_session_select_logits(SESSION, rows, 2))                                                       \
    X(sn_session_record, "", 0, B(SESSION), ALLOCATES_NOTHING, sn_session_record(SESSION, WORLD_SITE))  \
    X(sn_session_activations, "", B(RUN), 0, ALLOCATES_NOTHING,                                         \
      sn_session_activations(FLOATS, RUN, WORLD_SITE))                                                  \
    X(sn_session_site_gradient, "", B(BACK), 0, ALLOCATES_NOTHING,                                      \
      sn_session_site_gradient(FLOATS, BACK, WORLD_SITE))                                               \
    X(sn_session_intervene, "", 0, B(SESSION), KEEPS_MEMORY,                                            \
      sn_session_intervene(SESSION, WORLD_SITE, SN_ADD, channels, 2, values, 2, NULL, 0))               \
    X(sn_session_clear_interventions, "", 0, B(SESSION), ALLOCATES_NOTHING,                             \
      sn_session_clear_interventions(SESSION))                                                          \
    X(sn_session_forward_range, "", 0, B(EMPTY), KEEPS_MEMORY,                                          \
      sn_session_forward_range(OBJECT(sn_session, O_EMPTY), values, NULL, world_offsets, 2, 1, 3))      \
    X(sn_session_residual, "", B(RUN), 0, ALLOCATES_NOTHING, sn_session_residual(FLOATS, RUN))          \
    X(sn_session_add_site_gradient, "", 0, B(RUN), KEEPS_MEMORY,                                        \
      sn_session_add_site_gradient(RUN, WORLD_SITE, values, 42))                                        \
    X(sn_session_backward, "", 0, B(RUN), KEEPS_MEMORY, sn_session_backward(RUN, world_tokens))         \
    X(sn_session_backward_from, "", 0, B(RUN), KEEPS_MEMORY,                                            \
      sn_session_backward_from(RUN, values, NULL))                                                      \
    X(sn_session_input_gradient, "", B(BACK), 0, ALLOCATES_NOTHING,                                     \
      sn_session_input_gradient(FLOATS, BACK))                                                          \
    X(sn_session_zero_gradients, "", 0, B(BACK), ALLOCATES_NOTHING, sn_session_zero_gradients(BACK))    \
    X(sn_session_gradient, "", B(BACK), 0, ALLOCATES_NOTHING,                                           \
      sn_session_gradient(FLOATS, BACK, "lm_head.weight"))                                              \
    X(sn_session_estimate_memory, "", B(BACK), 0, ALLOCATES_NOTHING,                                    \
      sn_session_estimate_memory(OUT.sizes, BACK, 30, 3))

DEFINE_TABLE(calls_session, CALLS)
