/* The inside of a generator, shared by the files that make it: generate.c has the public calls,
 * generate_step.c runs one token, generate_prompt.c a long prompt through panels, generate_sample.c
 * draws. D = d_model, A = n_head d_head, M = d_mlp, E = D + d_pos_emb. */
#ifndef SN_MODEL_GENERATOR_H
#define SN_MODEL_GENERATOR_H

#include "base/random.h"
#include "matrix/token.h"
#include "model/cache.h"
#include "model/session_state.h"

struct generator_layer {
    struct token_matrix c_attn, attn_proj, c_fc, mlp_proj;
};

/* A site's values of the last token; those of a token that is still running stand aside until it has
 * succeeded. */
struct generator_record {
    float *values, *running; /* width; NULL where not wanted */
    int filled;
};

/* Vectors of one token, zeros up to the next multiple of 16. */
struct generator_vectors {
    float *stream, *delta; /* D */
    float *act_in;         /* E */
    float *qkv;            /* 3A */
    float *y;              /* A */
    float *hidden;         /* M */
    float *normed;         /* D */
    float *panel;          /* [widest][PANEL], of which interventions see token 0 */
    void *scratch;
};

struct sn_generator {
    struct sn_context *context;
    struct sn_session *session; /* holds the model and the interventions; runs long prompts */
    struct generator_layer *layers;
    struct token_matrix lm_head;
    struct cache cache;
    struct generator_vectors vectors;
    float *block; /* where the vectors stand */
    size_t block_floats;
    struct generator_record *records; /* site_count */

    float *logits, *running; /* vocab_size: of the token after those held; of a running token */
    double *weights;         /* vocab_size, for drawing */
    double temperature;
    size_t top_k, seed;
    struct random_state random;
};

static inline const struct config *generator_config(const struct sn_generator *generator)
{
    return session_config(generator->session);
}

/* Runs one token at a position behind those in the cache; the last of a run leaves logits in `running`. */
int generator_step(struct sn_generator *generator, int32_t token, size_t position, int is_last);
/* Makes the vectors and the matrices' columns. */
int generator_prepare(struct sn_generator *generator);
void generator_release(struct sn_generator *generator);
/* The same for a prompt of an empty generator, with the kernels for panels. */
int generator_prompt(struct sn_generator *generator, const int32_t *tokens, size_t n_tokens);

/* Draws from softmax(logits / temperature) over the top_k largest (0: all; ties to the lowest); the
 * largest itself at temperature 0. No logit is NaN or +inf and one is finite. weights: room for n. */
size_t draw_token(struct random_state *random, double *weights, const float *logits, size_t n,
                  double temperature, size_t top_k);

#endif
