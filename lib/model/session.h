/* What the trainer and the circuit module use of a session beyond the public API. */
#ifndef SN_MODEL_SESSION_H
#define SN_MODEL_SESSION_H

#include "matrix/matrix.h"
#include "model/intervention.h"
#include "model/model.h"

enum gradient_mode { GRADIENT_NONE, GRADIENT_SUPPORT, GRADIENT_DENSE };

int session_create(struct sn_session **out, struct sn_context *context, struct sn_model *model,
                   enum gradient_mode mode);
/* A session that runs forward only: it keeps no activations and refuses a backward. */
int session_create_forward(struct sn_session **out, struct sn_context *context, struct sn_model *model);
/* As the option "selected_only" of sn_session_create. */
void session_run_selected_only(struct sn_session *session);
/* As the option "recompute"; a session made here never does unless told to. Before the first run. */
enum recompute_mode { RECOMPUTE_NEVER, RECOMPUTE_ALWAYS, RECOMPUTE_AUTO };
#define RECOMPUTE_CHOICES "never|always|auto"
void session_recompute(struct sn_session *session, enum recompute_mode mode);
/* What a forward and a backward with gradients of `mode` make the session hold besides the gradients and
 * what the model's matrices make; `sparse`: whether the weights will be so sparse that it may recompute. */
size_t session_estimate_run(struct sn_session *session, enum gradient_mode mode, int sparse,
                            size_t n_tokens, size_t n_sequences);
/* Whether that many of so many weights of the model's matrices are few enough. */
int session_counts_as_sparse(double support, double all);
/* sn_session_forward of sequences that begin alike: sequence s consists of the first shared[s] tokens
 * of sequence s - 1, which are not in the batch again, and of tokens[offsets[s] .. offsets[s + 1]),
 * at least one. What looks at positions sees those in the whole sequence; `sequence` of a shared
 * token is that of the first that has it, and gradients there are those of all. shared NULL: none. */
int session_forward_shared(struct sn_session *session, const int32_t *tokens, const size_t *offsets,
                           const size_t *shared, size_t n_sequences);
/* Accumulated gradient of parameter `index`: order of parameter_values; rows x cols row-major for
 * matrices in GRADIENT_DENSE. NULL for parameters that are not trainable or in GRADIENT_NONE. */
float *session_gradient(struct sn_session *session, size_t index);
/* After the owner of the model replaced matrices or their patterns: sizes gradient arrays anew (their
 * contents are zeroed). Values changed in place need no call. */
int session_parameters_changed(struct sn_session *session);
/* During the next backwards, also visits the full dense gradient of every trainable ROLE_MATRIX and
 * ROLE_EMBEDDING matrix, block of rows by block (support growth). NULL removes it. */
typedef int (*parameter_gradient_visitor)(void *payload, size_t parameter, size_t first_row,
                                          size_t last_row, const float *block, size_t worker);
void session_set_gradient_visitor(struct sn_session *session, parameter_gradient_visitor visit,
                                  void *payload);

/* sn_session_backward with a weight above 0 for each row that counts (NULL: 1 each): of the mean by
 * weight, which goes to *loss. One pass over the logits less than with sn_session_loss in front. */
int session_backward_weighted(double *loss, struct sn_session *session, const int32_t *targets,
                              const float *weights);
/* Cross-entropy of each row, nats, 0 where its target is below 0: of the last loss or backward. */
const float *session_row_losses(const struct sn_session *session);

/* Appends an intervention to a site's list; it is lent and must outlive its use. */
int session_attach(struct sn_session *session, size_t site, struct intervention *intervention);
/* Removes an intervention wherever it is attached. */
void session_detach(struct sn_session *session, struct intervention *intervention);

/* The logits of the last forward in panels [rows/64][vocab][64]; row order of the selection. */
const float *session_logit_panels(const struct sn_session *session);
struct sn_model *session_model(struct sn_session *session);
struct sn_context *session_context(struct sn_session *session);
/* 1: backward stops at the first layer's input without embedding gradients; implied by GRADIENT_NONE. */

#endif
