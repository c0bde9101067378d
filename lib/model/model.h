/* The model: configuration, named parameters, sites. Immutable while shared; belongs to no context. */
#ifndef SN_MODEL_MODEL_H
#define SN_MODEL_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/context.h"
#include "matrix/matrix.h"

/* AbsTopK places, bits of config.topk_places, under the released names of afrac_loctypes. */
enum topk_place {
    TOPK_ATTN_IN,
    TOPK_ATTN_Q,
    TOPK_ATTN_K,
    TOPK_ATTN_V,
    TOPK_ATTN_OUT,
    TOPK_MLP_IN,
    TOPK_MLP_NEURON,
    TOPK_MLP_OUT,
    TOPK_RESID_POST_ATTN,
    TOPK_RESID_POST_MLP,
    TOPK_PLACES
};

struct config {
    size_t block_size, vocab_size, n_layer, n_head, d_head, d_model, d_mlp;
    int bias, ln_bias, rms_norm;
    int residual_relu; /* residual_activation_type "relu" instead of "identity" */
    int mlp_relu;      /* activation_type "relu" instead of "gelu" */
    double afrac;      /* 0 when null: no activation sparsity */
    unsigned topk_places;
    int tied_unembed;
    int enable_bigram_table, learnable_bigram_table;
    int has_d_pos_emb; /* d_pos_emb present (0 still means the concatenated mode) */
    size_t d_pos_emb;
    int sinusoidal_cat_pos_emb;
    int sink;
    int held_nodes; /* some nodes have a fixed value: held.c */
};

/* Channels that attention and MLP read: d_model + d_pos_emb. */
size_t config_d_in(const struct config *config);
/* n_head * d_head */
size_t config_d_attn(const struct config *config);
/* k of AbsTopK at a place, or `width` when the place is off: int(afrac * width). */
size_t config_topk(const struct config *config, enum topk_place place, size_t width);
size_t config_place_width(const struct config *config, enum topk_place place);
/* Parses the released configuration; `source` names the file in messages. config.c */
int config_parse(struct config *config, struct sn_context *context, const char *json, size_t length,
                 const char *source);
/* JSON of the whole configuration in a fresh NUL-terminated block of strlen + 1 bytes. */
char *config_write(struct memory *memory, const struct config *config);

enum parameter_role {
    ROLE_MATRIX,    /* c_attn, c_proj, c_fc weights */
    ROLE_EMBEDDING, /* wte, lm_head, and wpe without d_pos_emb */
    ROLE_POSITION,  /* wpe with d_pos_emb: never masked */
    ROLE_BIGRAM,    /* bigram_table */
    ROLE_BIAS,      /* 1-D biases of linear maps */
    ROLE_NORM,      /* norm gains and biases */
    ROLE_SINK,      /* sink logits */
    ROLE_LOGIT_BIAS, /* final_logits_bias */
    ROLE_HELD        /* with held_nodes: which nodes are held, and at what */
};

struct parameter {
    char *name; /* released state-dict name; owned, strlen + 1 bytes */
    enum parameter_role role;
    int trainable;            /* 0 for buffers and frozen tables */
    int axis;                 /* SN_AXIS_*: along which the minimum per neuron counts */
    size_t rows, cols;        /* a vector has cols 0 */
    struct sn_matrix *matrix; /* 2-D */
    float *vector;            /* 1-D, `rows` floats, 64-byte aligned */
};

#define HELD_SITES 5 /* of a layer: k, q, v and the two resid_delta, in this order */

/* Indices into model->parameters, -1 where absent. */
struct layer_parameters {
    int held_mask[HELD_SITES], held_value[HELD_SITES];
    int ln_1, ln_1_bias, c_attn, c_attn_bias, attn_proj, attn_proj_bias, sink;
    int ln_2, ln_2_bias, c_fc, c_fc_bias, mlp_proj, mlp_proj_bias;
    int ln_p1, ln_p1_bias, ln_p2, ln_p2_bias;
};

struct sn_model {
    struct memory *memory; /* retained */
    size_t references;     /* atomic builtins */
    struct config config;
    char *config_json;
    struct parameter *parameters;
    size_t n_parameters;
    struct layer_parameters *layers;                             /* n_layer */
    int bigram, logits_bias, wte, wpe, ln_f, ln_f_bias, lm_head; /* lm_head == wte when tied */
    char **site_names; /* site_count(config) names, strlen + 1 bytes each */
};

/* A model of this configuration with every parameter absent (matrix, vector NULL): layout.c */
int model_allocate(struct sn_model **out, struct sn_context *context, const struct config *config);
/* SN_ERROR_FORMAT naming the first parameter that is still absent. */
int model_check_complete(const struct sn_model *model, struct sn_context *context, const char *source);
/* A deep copy with own values (patterns shared), for training. */
int model_copy(struct sn_model **out, struct sn_context *context, const struct sn_model *model);
/* Own values of a parameter that is still absent: those of another of its shape (absent where that is), or
 * zeros. */
int parameter_copy(struct parameter *to, struct sn_context *context, const struct parameter *from);
int parameter_zeros(struct parameter *parameter, struct sn_context *context);
/* Index of a parameter by name, -1 if there is none. */
int model_find(const struct sn_model *model, const char *name);
/* Number of values over the support: nnz, rows x cols when dense, rows for vectors. */
size_t parameter_size(const struct parameter *parameter);
float *parameter_values(const struct parameter *parameter);

/* ---- sites: layer-major, 11 per layer, then final_resid */
enum site_kind {
    SITE_RESID_IN,
    SITE_ATTN_ACT_IN,
    SITE_ATTN_K,
    SITE_ATTN_Q,
    SITE_ATTN_V,
    SITE_ATTN_Y,
    SITE_ATTN_DELTA,
    SITE_RESID_MID,
    SITE_MLP_ACT_IN,
    SITE_MLP_POST_ACT,
    SITE_MLP_DELTA,
    SITES_PER_LAYER
};
size_t site_count(const struct config *config);
size_t site_index(size_t layer, enum site_kind kind);
size_t site_width(const struct config *config, size_t site);
/* The site of a layer whose nodes held_mask[i] and held_value[i] hold. */
size_t held_site(size_t layer, size_t i);
/* The names of all sites, made and freed by the model; NULL when out of memory. */
char **site_names_create(struct memory *memory, const struct config *config);
void site_names_free(struct memory *memory, char **names, const struct config *config);
/* Index by name, -1 if unknown. */
int site_find(const struct sn_model *model, const char *name);
/* Whether nodes live there: act_in, q, k, v, post_act, resid_delta (method 4). */
int site_has_nodes(const struct config *config, size_t site);
/* Node names: "0.mlp.post_act.86", "1.attn.v.head2.ch0". Writes at most `capacity` bytes with NUL. */
void node_name(char *name, size_t capacity, const struct sn_model *model, size_t site, size_t channel);
/* Parses a node name; 1 on success, 0 if it names no node of the model. */
int node_find(size_t *site, size_t *channel, const struct sn_model *model, const char *name);

#endif
