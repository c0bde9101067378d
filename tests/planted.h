/* Models whose circuit is known because its weights were set by hand, and tasks for them.
 *
 * Tokens: 0 filler, 1 and 2 the two marks, 3 the last token of every prompt, 4 and 5 the targets, 6 and
 * 7 more filler. One layer, one head without queries and keys, so that attention averages. Embedding
 * channel 0 (and 1, with `backup`) is +1 for mark 1 and -1 for mark 2; channel 5 is 1 for all tokens.
 * The planted path: act_in.0 -> v.ch0 -> attn.resid_delta.2 -> logits 4 and 5. With `backup` a second
 * one runs from act_in.1 over v.ch1 and resid_delta.3. Noise that concerns neither target surrounds
 * them: v.ch2, the MLP and resid_delta.4. */
#ifndef SN_TESTS_PLANTED_H
#define SN_TESTS_PLANTED_H

#include <check.h>
#include <string.h>

#include "model/model.h"
#include "sparsenet.h"

#define PLANTED_CONFIG                                                                                  \
    "{\"block_size\": 16, \"vocab_size\": 8, \"n_layer\": 1, \"n_head\": 1, \"d_head\": 4,"             \
    " \"d_model\": 6, \"d_mlp\": 5, \"rms_norm\": true, \"bias\": false, \"tied_unembed\": false}"

static inline void planted_ok(sn_context *context, int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

/* Replaces a tensor's values by rows x cols given as (row, col, value) triples, all else zero. */
static inline void planted_set(sn_context *context, sn_model *model, const char *name,
                               const float *triples, size_t n)
{
    int index = model_find(model, name);
    ck_assert_msg(index >= 0, "no tensor %s", name);
    struct parameter *parameter = &model->parameters[index];
    float dense[256] = {0};
    ck_assert_uint_le(parameter->rows * parameter->cols, 256);
    for (size_t i = 0; i < n; i++)
        dense[(size_t)triples[3 * i] * parameter->cols + (size_t)triples[3 * i + 1]] =
            triples[3 * i + 2];
    matrix_free(parameter->matrix);
    planted_ok(context, matrix_from_dense(&parameter->matrix, context, parameter->rows, parameter->cols,
                                          dense, SPARSE_MAX_DENSITY));
}

#define PLANT(name, ...)                                                                                \
    do {                                                                                                \
        const float triples[] = {__VA_ARGS__};                                                          \
        planted_set(context, model, name, triples, sizeof triples / sizeof *triples / 3);               \
    } while (0)

static inline sn_model *planted_model(sn_context *context, int backup)
{
    const float b = backup ? 1.0f : 0.0f;
    sn_model *model;
    planted_ok(context, sn_model_create(&model, context, PLANTED_CONFIG, strlen(PLANTED_CONFIG), 1));
    PLANT("transformer.wte.weight", 1, 0, 1, 2, 0, -1, 1, 1, b, 2, 1, -b, 0, 5, 1, 1, 5, 1, 2, 5, 1, 3,
          5, 1, 6, 5, 1, 7, 5, 1, 6, 4, 0.5f, 7, 4, -0.5f);
    PLANT("transformer.wpe.weight", 0, 5, 0);
    /* rows 0-3 q, 4-7 k, 8-11 v */
    PLANT("transformer.h.0.attn.c_attn.weight", 8, 0, 1, 9, 1, b, 10, 4, 0.7f, 10, 5, 0.3f);
    PLANT("transformer.h.0.attn.c_proj.weight", 2, 0, 2.5f, 3, 1, 2.5f * b, 4, 2, 0.5f);
    PLANT("transformer.h.0.mlp.c_fc.weight", 0, 4, 0.9f, 1, 5, 0.4f, 1, 4, -0.3f, 2, 5, -0.8f);
    PLANT("transformer.h.0.mlp.c_proj.weight", 4, 0, 0.6f, 4, 1, 0.5f, 5, 2, 0.2f);
    PLANT("lm_head.weight", 4, 2, 2, 5, 2, -2, 4, 3, 2 * b, 5, 3, -2 * b, 6, 4, 1, 7, 5, 1);
    return model;
}

/* Pairs of prompts of 4..8 tokens with mark 1 (A) or mark 2 (B) at the same place among fillers. */
static inline sn_task *planted_task(sn_context *context, size_t n_pairs, unsigned seed)
{
    static const int32_t fillers[] = {0, 6, 7};
    sn_task *task;
    planted_ok(context, sn_task_create(&task, context, "planted"));
    for (size_t i = 0; i < n_pairs; i++) {
        int32_t prompts[2][8];
        size_t n = 4 + (seed = seed * 1103515245u + 12345u) / 65536 % 5;
        size_t place = (seed = seed * 1103515245u + 12345u) / 65536 % (n - 1);
        for (size_t t = 0; t < n; t++)
            prompts[0][t] = prompts[1][t] = fillers[(seed = seed * 1103515245u + 12345u) / 65536 % 3];
        for (int j = 0; j < 2; j++) {
            prompts[j][place] = 1 + j;
            prompts[j][n - 1] = 3;
        }
        planted_ok(context, sn_task_add_pair(task, context, prompts[0], n, prompts[1], n, 4, 5));
    }
    return task;
}

/* Token documents over which both marks are equally common. */
static inline sn_corpus *planted_corpus(sn_context *context)
{
    sn_corpus *corpus;
    planted_ok(context, sn_corpus_create(&corpus, context));
    for (int document = 0; document < 8; document++) {
        int32_t tokens[40];
        for (int t = 0; t < 40; t++)
            tokens[t] = (document + t * 3) % 8;
        planted_ok(context, sn_corpus_add_tokens(corpus, context, tokens, 40));
    }
    return corpus;
}

static inline sn_means *planted_means(sn_context *context, sn_model *model)
{
    sn_corpus *corpus = planted_corpus(context);
    sn_means *means;
    planted_ok(context, sn_means_create(&means, context, model, corpus, NULL));
    sn_corpus_free(corpus);
    return means;
}

#endif
