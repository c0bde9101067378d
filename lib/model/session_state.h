/* The inside of a session, shared by the files that run a model: batch.c lays out the ragged batch,
 * forward.c and backward.c go through the sublayers, attention.c gathers across panels, embedding.c and
 * head.c are the two ends, site_hooks.c runs interventions, gradients.c owns the weight gradients.
 *
 * P = panels of PANEL tokens, D = d_model, A = n_head d_head, M = d_mlp, E = D + d_pos_emb. Every
 * activation array is [P][width][PANEL]; one arena holds them all, planned before the run. */
#ifndef SN_MODEL_SESSION_STATE_H
#define SN_MODEL_SESSION_STATE_H

#include "kernels/dense.h"
#include "base/threads.h"
#include "model/session.h"

/* What one layer keeps between forward and backward. In a session that keeps nothing all layers share
 * one set, and of what no other panel looks at (all but the stream, qkv, lse and y) each worker has
 * one panel. In one that recomputes they share act_in, qkv, post_act and the stream between the layer's
 * halves, and of pre_act each worker has one panel. */
struct layer_state {
    float *mean[2], *inverse[2]; /* [P][PANEL] of the norms; [0] attention, [1] MLP */
    float *act_in[2];            /* [P][E][PANEL] after AbsTopK and interventions */
    float *qkv;                  /* [P][3A][PANEL], q then k then v */
    float *lse;                  /* per sequence and head, lse_offset */
    float *y;                    /* [P][A][PANEL] */
    float *y_before;             /* y before its interventions; == y where there are none */
    float *pre_act, *post_act;   /* [P][M][PANEL] */
    uint64_t *mask[TOPK_PLACES]; /* [P][width] kept entries; NULL where the place is off */
};

/* Where the tokens of an array stand, by panel and place in it: of the whole batch, or of the
 * selected rows. */
struct places {
    uint32_t *token;    /* packed index in the batch */
    uint32_t *sequence; /* its sequence */
    uint32_t *position; /* and position in that */
    size_t n, n_panels; /* the last panel is filled up */
    size_t capacity;    /* of each array */
};

struct attachment {
    struct intervention *intervention;
    size_t site;
    int owned;            /* made by sn_session_intervene, freed with the attachment */
    unsigned char *saved; /* n_panels x saved_bytes */
    float *partials;      /* n_panels x n_parameters */
    size_t saved_size, partials_size;
};

struct site_record {
    int wanted;
    float *values, *gradient; /* [P][width][PANEL], filled by forward and backward */
    float *added;             /* gradient to add in the next backward, or NULL */
    size_t values_size, gradient_size, added_size; /* bytes */
};

struct sn_session {
    struct sn_context *context;
    struct sn_model *model; /* retained */
    enum gradient_mode mode;
    int keeps; /* activations, for a backward */
    enum recompute_mode recompute_mode;
    int assumed_sparse; /* while estimating: as if the model were sparse enough to recompute */
    int recomputes;     /* in this run: the backward computes anew what only its own layer looks at */
    int selected_only;  /* option: of the last layer only what the selected rows need */

    /* batch (batch.c) */
    int32_t *tokens;      /* n_panels x PANEL, padding 0; valid when has_tokens */
    struct places places; /* of the batch */
    size_t *offsets;      /* n_sequences + 1, of what is in the batch */
    size_t *shared;       /* n_sequences: tokens that a sequence takes from the one before (session.h) */
    size_t *lse_offset;   /* n_sequences + 1, in tokens rounded up per sequence */
    size_t n_tokens, n_sequences, n_panels, longest;
    size_t token_capacity, sequence_capacity;
    int has_tokens;
    size_t *selected; /* packed indices whose logits are wanted */
    size_t n_selected;
    int select_all;
    size_t n_rows, n_row_panels;
    struct places row_places; /* of the selected rows, with selected_only */

    /* range of sublayers of the last forward */
    size_t first, last;
    int from_embedding;
    int by_rows; /* the last layer behind its keys and values has the selected rows alone */
    int forward_done, backward_done;

    /* arena */
    unsigned char *arena;
    size_t arena_size;
    size_t workers;         /* at the last forward: the backward's loops have no more */
    unsigned char *scratch; /* workers x scratch_size */
    size_t scratch_size, scratch_total;
    int slots_by_worker;  /* session_slot */
    int inputs_by_worker; /* session_input_slot */
    struct layer_state *layers;
    float **stream;        /* 2 n_layer + 1 inputs of the sublayers and of the head */
    float *stream_between; /* recomputing: the one array of all streams between attention and MLP */
    float *head_in;        /* [row panels][D][PANEL]; the last stream when that has the selected rows */
    float *head_mean, *head_inverse;
    float *head_normed; /* [row panels][D][PANEL] */
    float *logits;      /* [row panels][V][PANEL] */
    float *logits_gradient;
    float *row_loss, *row_lse; /* [row panels][PANEL] */
    int32_t *row_target;
    /* backward */
    float *d_stream;         /* d_tokens, or d_rows in the part that has rows alone */
    float *d_tokens;         /* [P][D] */
    float *d_rows;           /* [row panels][D], where rows go by themselves */
    float *d_out;            /* [P][D] gradient of a sublayer's output before the residual sum */
    float *d_wide;           /* [P][max(M, 3A)] */
    float *d_y;              /* [P][A] */
    float *d_position;       /* [P][d_pos_emb] */
    float *norm_partial;     /* 2 x [panels][max(D, d_pos_emb)], this panel's gain and bias gradient */
    float *position_partial; /* the same for the position norm */
    float *sink_partial;     /* n_sequences x n_head */

    /* sites (site_hooks.c) */
    struct attachment *attachments;
    size_t n_attachments, attachment_capacity;
    struct site_record *records; /* site_count */
    struct held *held;           /* held.c: n_layer x HELD_SITES, NULL where the model holds no nodes */

    /* gradients (gradients.c) */
    float **gradients;     /* per parameter, NULL where none */
    size_t *gradient_size; /* floats */
    parameter_gradient_visitor visit;
    void *visit_payload;
};

/* Its results are no longer to be had: of another shape from now on, or half made. */
static inline void session_forget_run(struct sn_session *session)
{
    session->forward_done = session->backward_done = 0;
}

/* A range of the arena. */
struct arena {
    unsigned char *base; /* NULL while only sizes are counted */
    size_t used;
    int overflow;
};

static inline const struct config *session_config(const struct sn_session *session)
{
    return &session->model->config;
}
static inline const struct kernel_table *session_kernels(const struct sn_session *session)
{
    return session->context->kernels;
}
static inline const float *session_vector(const struct sn_session *session, int parameter)
{
    return parameter < 0 ? NULL : session->model->parameters[parameter].vector;
}
static inline const struct sn_matrix *session_matrix(const struct sn_session *session, int parameter)
{
    return parameter < 0 ? NULL : session->model->parameters[parameter].matrix;
}
static inline void *worker_scratch(const struct sn_session *session, size_t worker)
{
    return session->scratch + worker * session->scratch_size;
}
/* The site from which on the last layer may have the selected rows alone: what attention gives. */
static inline size_t session_row_site(const struct sn_session *session)
{
    return site_index(session_config(session)->n_layer - 1, SITE_ATTN_Y);
}
/* What the arrays of a site hold. */
static inline const struct places *session_site_places(const struct sn_session *session, size_t site)
{
    return session->by_rows && site >= session_row_site(session) ? &session->row_places
                                                                 : &session->places;
}
/* Whether the part of a layer behind attention goes by rows. */
static inline int session_layer_by_rows(const struct sn_session *session, size_t layer)
{
    return session->by_rows && layer + 1 == session_config(session)->n_layer;
}
static inline size_t session_layer_panels(const struct sn_session *session, size_t layer)
{
    return session_layer_by_rows(session, layer) ? session->n_row_panels : session->n_panels;
}
/* Whether the last stream holds the rows whose logits are wanted, and in their order. */
static inline int session_stream_is_rows(const struct sn_session *session)
{
    return session->select_all || session->by_rows;
}
/* Tokens of a sequence, with those that it shares. */
static inline size_t session_length(const struct sn_session *session, size_t sequence)
{
    return session->shared[sequence] + session->offsets[sequence + 1] - session->offsets[sequence];
}
/* Where a panel stands in an array of which a session that keeps nothing has one panel for each
 * worker. */
static inline size_t session_slot(const struct sn_session *session, size_t panel, size_t worker)
{
    return session->slots_by_worker ? worker : panel;
}
/* The same of what linear maps read, and of the gradients by what they give: only gradients by weights look at
 * these again. */
static inline size_t session_input_slot(const struct sn_session *session, size_t panel, size_t worker)
{
    return session->inputs_by_worker ? worker : session_slot(session, panel, worker);
}
/* Whether the backward makes a stream anew: one between a layer's halves that the run came through. */
static inline int session_stream_again(const struct sn_session *session, size_t s)
{
    return session->recomputes && s % 2 == 1 && s != session->first && s != session->last;
}
/* Panel `panel` of an array of `width` channels. */
static inline float *panel_of(float *array, size_t panel, size_t width)
{
    return array + panel * width * PANEL;
}
static inline uint64_t *mask_of(uint64_t *mask, size_t panel, size_t width)
{
    return mask + panel * width;
}

/* batch.c */
int batch_set(struct sn_session *session, const int32_t *tokens, const size_t *offsets,
              const size_t *shared, size_t n_sequences);
int batch_select(struct sn_session *session, const size_t *positions, size_t n_positions);
/* The first selected row at or behind a token, n_rows where there is none. */
size_t batch_first_row(const struct sn_session *session, size_t token);
/* Columns of a panel of rows += those of their tokens; and columns of tokens += those of their rows. */
void batch_add_rows(const struct sn_session *session, size_t row_panel, float *rows, const float *panels,
                    size_t width);
void batch_add_to_tokens(const struct sn_session *session, size_t row_panel, float *panels,
                         const float *rows, size_t width);
void batch_free(struct sn_session *session);

/* plan.c: sizes the arena, the scratch and the attachments for the batch and the range. plan_bytes:
 * what a forward (and a backward, if the session keeps for one) over such a batch makes the session
 * hold. */
int plan_prepare(struct sn_session *session);
size_t plan_bytes(struct sn_session *session, size_t n_tokens, size_t n_sequences);
void plan_free(struct sn_session *session);

/* held.c */
int held_attach(struct sn_session *session);
void held_free(struct sn_session *session);
size_t held_bytes(const struct sn_session *session);

/* site_hooks.c */
int sites_prepare(struct sn_session *session);
/* What sites_prepare allocates for that many panels. */
size_t sites_bytes(const struct sn_session *session, size_t panels);
void site_forward(struct sn_session *session, size_t site, size_t panel, float *x);
/* Those in front of the site's activation function and AbsTopK. */
void site_forward_in_front(struct sn_session *session, size_t site, size_t panel, float *x);
void site_backward(struct sn_session *session, size_t site, size_t panel, float *dx);
/* Behind the site's activation function and AbsTopK. */
int site_has_attachment(const struct sn_session *session, size_t site);
void sites_sum_partials(struct sn_session *session);
void sites_forget_added(struct sn_session *session);
void sites_free(struct sn_session *session);

/* intervene.c */
int interventions_check(const struct sn_session *session);

/* embedding.c */
void embedding_forward(struct sn_session *session, size_t panel);
int embedding_backward(struct sn_session *session);
void position_rows(const struct sn_session *session, const struct places *places, size_t panel,
                   float *rows);
int position_backward(struct sn_session *session);
/* logits of a panel of rows += bigram rows of their tokens */
void bigram_forward(struct sn_session *session, size_t row_panel);
int bigram_backward(struct sn_session *session);

/* head.c */
int head_forward(struct sn_session *session);
int head_backward(struct sn_session *session, const float *residual_gradient);
/* Packed token index of logits row `row`. */
size_t head_row_token(const struct sn_session *session, size_t row);

/* attention.c: y from qkv; d_wide (dq, dk, dv) and the sinks' gradient from d_y. */
int attention_forward_all(struct sn_session *session, size_t layer);
int attention_backward_all(struct sn_session *session, size_t layer);

/* forward.c, backward.c */
/* What the backward of a block (which: 0 attention, 1 MLP) looks at and a session that recomputes has
 * let go: act_in and qkv, or the stream between the layer's halves, act_in, pre_act and post_act of one
 * panel, bit for bit as the forward had them. */
void forward_again(struct sn_session *session, size_t layer, int which, size_t panel, size_t worker);
int forward_sublayers(struct sn_session *session);
int backward_sublayers(struct sn_session *session);
void norm_forward(const struct sn_session *session, float *y, float *mean, float *inverse,
                  const float *x, int weight, int bias, size_t width);
void norm_backward(const struct sn_session *session, float *dx, float *dweight, float *dbias,
                   const float *dy, const float *x, const float *mean, const float *inverse, int weight,
                   size_t width);
/* Adds panels' partials [n_panels][width] in order into the gradient of a norm parameter. */
void add_partials(struct sn_session *session, int parameter, const float *partial, size_t stride,
                  size_t width, size_t n_panels);

/* gradients.c */
int gradients_prepare(struct sn_session *session);
void gradients_free(struct sn_session *session);
/* Accumulates dW of a matrix parameter, in the session's mode, and shows it to the visitor. */
int gradients_add_product(struct sn_session *session, int parameter, const float *dy, size_t dy_stride,
                          const float *x, size_t x_stride, size_t n_panels);
/* Accumulates sums over tokens of dy's rows into a 1-D parameter. */
int gradients_add_rows(struct sn_session *session, int parameter, const float *dy, size_t dy_stride,
                       size_t n_panels);

#endif
