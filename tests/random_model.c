#include "random_model.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t pick(struct random_model *c, const size_t *list, size_t n)
{
    return list[random_below(&c->random, n)];
}

#define PICK(...)                                                                                       \
    pick(c, (const size_t[]){__VA_ARGS__}, sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t))

static const char *flag(struct random_model *c)
{
    return random_below(&c->random, 2) ? "true" : "false";
}

static size_t append_places(struct random_model *c, size_t at)
{
    static const char *const places[] = {"attn_in",         "attn_q",        "attn_k",     "attn_v",
                                         "attn_out",        "mlp_in",        "mlp_neuron", "mlp_out",
                                         "resid_post_attn", "resid_post_mlp"};
    int n = 0;
    at += (size_t)snprintf(c->config + at, sizeof c->config - at, ",\"afrac\":%g,\"afrac_loctypes\":\"",
                           0.1 + 0.85 * random_uniform(&c->random));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (random_below(&c->random, 2))
            at += (size_t)snprintf(c->config + at, sizeof c->config - at, "%s%s", n++ ? "," : "",
                                   places[i]);
    return at + (size_t)snprintf(c->config + at, sizeof c->config - at, "\"");
}

static void choose_config(struct random_model *c)
{
    size_t n_head = PICK(1, 1, 2, 3, 5), d_model = n_head * PICK(1, 2, 3, 5, 7), at = 0;
    at += (size_t)snprintf(
        c->config, sizeof c->config,
        "{\"block_size\":%zu,\"vocab_size\":%zu,\"n_layer\":%zu,\"n_head\":%zu,\"d_model\":%zu,"
        "\"d_head\":%zu,\"d_mlp\":%zu",
        PICK(1, 3, 5, 9, 9, 9, 9, 70), PICK(1, 2, 3, 7, 23, 65), PICK(0, 1, 1, 2, 3), n_head, d_model,
        PICK(1, 2, 3, 5, 8, 16), PICK(1, 3, 8, 17, 33));
    if (random_below(&c->random, 2))
        at += (size_t)snprintf(c->config + at, sizeof c->config - at,
                               ",\"d_pos_emb\":%zu,\"sinusoidal_cat_pos_emb\":%s", PICK(0, 1, 2, 5),
                               flag(c));
    at += (size_t)snprintf(c->config + at, sizeof c->config - at,
                           ",\"bias\":%s,\"ln_bias\":%s,\"rms_norm\":%s,\"tied_unembed\":%s,\"sink\":%s,"
                           "\"enable_bigram_table\":%s,\"learnable_bigram_table\":%s,\"flash\":%s,"
                           "\"residual_activation_type\":\"%s\",\"activation_type\":\"%s\"",
                           flag(c), flag(c), flag(c), flag(c), flag(c), flag(c), flag(c), flag(c),
                           random_below(&c->random, 4) ? "identity" : "relu",
                           random_below(&c->random, 2) ? "gelu" : "relu");
    if (random_below(&c->random, 3))
        at = append_places(c, at);
    snprintf(c->config + at, sizeof c->config - at, "}");
}

/* Of every density, so that some matrices are kept sparse and some dense; outputs of the order of 1. */
static void fill_matrix(struct random_model *c, struct parameter *p)
{
    double density = (double)PICK(5, 20, 44, 60, 100) / 100;
    float *values = malloc(p->rows * p->cols * sizeof *values);
    double scale = p->role == ROLE_MATRIX ? 1 / sqrt(1 + density * (double)p->cols) : 0.7;
    ck_assert_ptr_nonnull(values);
    for (size_t i = 0; i < p->rows * p->cols; i++) {
        double value = scale * random_normal(&c->random);
        values[i] = random_uniform(&c->random) < density ? (float)value : 0;
    }
    matrix_free(p->matrix);
    ck_assert_int_eq(
        matrix_from_dense(&p->matrix, c->context, p->rows, p->cols, values, SPARSE_MAX_DENSITY), SN_OK);
    free(values);
}

static void choose_weights(struct random_model *c)
{
    for (size_t i = 0; i < c->model->n_parameters; i++) {
        struct parameter *p = &c->model->parameters[i];
        int is_gain = p->role == ROLE_NORM && strstr(p->name, ".weight") != NULL;
        if (p->matrix && (p->trainable || p->role == ROLE_BIGRAM))
            fill_matrix(c, p);
        for (size_t r = 0; p->vector && r < p->rows; r++)
            p->vector[r] = (float)((is_gain ? 1 : 0) + 0.4 * random_normal(&c->random));
    }
}

static void choose_batch(struct random_model *c)
{
    size_t longest = (size_t)sn_model_config_number(c->model, "block_size");
    size_t vocabulary = (size_t)sn_model_config_number(c->model, "vocab_size");
    c->n_sequences = 1 + random_below(&c->random, longest == 70 ? 1 : RANDOM_MODEL_SEQUENCES);
    for (size_t s = 0; s < c->n_sequences; s++) /* the first is as long as it may be */
        c->offsets[s + 1] = c->offsets[s] + (s ? 1 + random_below(&c->random, longest) : longest);
    ck_assert_uint_le(c->offsets[c->n_sequences], RANDOM_MODEL_TOKENS);
    for (size_t t = 0; t < c->offsets[c->n_sequences]; t++) {
        c->tokens[t] = (int32_t)random_below(&c->random, vocabulary);
        c->targets[t] =
            t && random_below(&c->random, 5) == 0 ? -1 : (int32_t)random_below(&c->random, vocabulary);
    }
}

double random_model_loss(const struct random_model *c, struct double_choices *choices)
{
    return double_model_loss(&c->oracle, c->tokens, c->offsets, c->n_sequences, c->targets, choices);
}

#define NEAR 2e-6

int random_model_create(struct random_model *c, sn_context *context, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    c->context = context;
    random_seed(&c->random, seed, 0);
    choose_config(c);
    ck_assert_msg(sn_model_create(&c->model, context, c->config, strlen(c->config), seed) == SN_OK,
                  "%s: %s", c->config, sn_context_message(context));
    choose_weights(c);
    choose_batch(c);
    double_model_create(&c->oracle, c->model);
    random_model_loss(c, &c->choices);
    return c->choices.nearest >= NEAR;
}

void random_model_free(struct random_model *c)
{
    double_model_free(&c->oracle);
    sn_model_free(c->model);
}
