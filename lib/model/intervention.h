/* The intervention contract. A site is where activations become nodes: after AbsTopK each named place
 * of the forward pass calls the interventions attached there, in order, one panel at a time, on any
 * worker. Recording, mean ablation under gates, patching, steering are interventions; none has its own
 * forward pass. */
#ifndef SN_MODEL_INTERVENTION_H
#define SN_MODEL_INTERVENTION_H

#include <stddef.h>
#include <stdint.h>

/* One panel of one site. Arrays have n_tokens entries (<= PANEL). */
struct site_view {
    size_t site;
    size_t panel;
    size_t width;
    size_t n_tokens;
    const uint32_t *token;    /* packed index of each token */
    const uint32_t *sequence; /* of each token */
    const uint32_t *position; /* of each token in its sequence */
};

struct intervention {
    /* Changes x [width][PANEL] in place. `saved`: saved_bytes(...) bytes for this panel, kept until
     * the backward (NULL when 0). */
    void (*forward)(struct intervention *self, const struct site_view *view, float *x, void *saved);
    /* Turns dx, the gradient by the new value, into the gradient by the old one, in place. `partial`:
     * n_parameters floats for this panel, zeroed before; the session adds them to `gradient` over
     * panels in order. NULL when the intervention's backward is the identity. */
    void (*backward)(struct intervention *self, const struct site_view *view, float *dx,
                     const void *saved, float *partial);
    /* Does what forward does to one token, x[width]; NULL: forward gets a panel with this one token in it. */
    void (*token)(struct intervention *self, float *x);
    size_t saved_bytes;  /* per panel */
    size_t n_parameters; /* floats of gradient; 0 for none */
    float *gradient;     /* n_parameters, owned by the intervention; accumulated by backward */
    /* 1, at q, k, v, post_act and resid_delta: acts on what the linear map gave, in front of the activation
     * function and AbsTopK, as another source of that map would. It may only add (backward NULL). */
    int in_front;
};

#endif
