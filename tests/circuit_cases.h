/* What the suites of the circuit floor share: a context per test, models, tasks and means made from seeds. */
#ifndef SN_TESTS_CIRCUIT_CASES_H
#define SN_TESTS_CIRCUIT_CASES_H

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "circuit/refine.h"
#include "planted.h"

#define LN_2 0.69314718055994531

#define SMOOTH_CONFIG                                                                                   \
    "{\"block_size\": 40, \"vocab_size\": 11, \"n_layer\": 2, \"n_head\": 2, \"d_head\": 5, "           \
    "\"d_model\": 10,"                                                                                  \
    " \"d_mlp\": 14, \"rms_norm\": true, \"tied_unembed\": false, \"sink\": true, \"d_pos_emb\": 3}"
#define SPARSE_CONFIG                                                                                   \
    "{\"block_size\": 90, \"vocab_size\": 23, \"n_layer\": 2, \"n_head\": 3, \"d_head\": 4, "           \
    "\"d_model\": 18,"                                                                                  \
    " \"d_mlp\": 30, \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.5, \"d_pos_emb\": 6,"    \
    " \"afrac_loctypes\": \"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q\","         \
    " \"enable_bigram_table\": true, \"learnable_bigram_table\": true, \"sink\": true}"

static sn_context *context;

static inline void set_up(void)
{
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
}

static inline void tear_down(void)
{
    sn_context_free(context);
}

static inline void ok(int status)
{
    planted_ok(context, status);
}

static inline unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed / 65536;
}

/* A model with weights large enough that every node matters. */
static inline sn_model *strong_model(const char *config, float factor)
{
    sn_model *model;
    ok(sn_model_create(&model, context, config, strlen(config), 5));
    for (size_t i = 0; i < model->n_parameters; i++) {
        struct parameter *parameter = &model->parameters[i];
        if (parameter->role != ROLE_MATRIX && parameter->role != ROLE_EMBEDDING)
            continue;
        for (size_t j = 0; j < parameter->matrix->n_values; j++)
            parameter->matrix->values[j] *= factor;
        ok(matrix_values_changed(parameter->matrix, context));
    }
    return model;
}

static inline sn_task *random_task(size_t n_pairs, size_t longest, int32_t vocabulary, unsigned seed)
{
    sn_task *task;
    ok(sn_task_create(&task, context, "random"));
    for (size_t i = 0; i < n_pairs; i++) {
        int32_t prompts[2][64];
        size_t n[2];
        for (int j = 0; j < 2; j++) {
            n[j] = 1 + next_random(&seed) % longest;
            for (size_t t = 0; t < n[j]; t++)
                prompts[j][t] = (int32_t)next_random(&seed) % vocabulary;
        }
        int32_t a = (int32_t)next_random(&seed) % vocabulary;
        ok(sn_task_add_pair(task, context, prompts[0], n[0], prompts[1], n[1], a, (a + 1) % vocabulary));
    }
    return task;
}

static inline sn_means *random_means(sn_model *model, unsigned seed)
{
    sn_means *means;
    ok(means_create_values(&means, context, model, NULL));
    for (size_t i = 0; i < means->layout.n_nodes; i++)
        means->values[i] = (float)(next_random(&seed) % 200) * 0.005f - 0.5f;
    return means;
}

/* Keeps each node with a chance of `percent` in a hundred. */
static inline void random_nodes(unsigned char *kept, size_t n, unsigned percent, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        kept[i] = next_random(&seed) % 100 < percent;
}

static inline sn_evaluation evaluate(sn_model *model, const sn_means *means, const sn_circuit *circuit,
                                     int ablate, const sn_task *task)
{
    sn_evaluation result = {.struct_size = sizeof result};
    ok(sn_evaluate(&result, context, model, means, circuit, ablate, task, task));
    return result;
}

static inline size_t set_nodes(unsigned char *kept, const struct node_layout *layout,
                               const sn_model *model, const char *const *names, size_t n)
{
    memset(kept, 0, layout->n_nodes);
    for (size_t i = 0; i < n; i++) {
        size_t site, channel;
        ck_assert_msg(node_find(&site, &channel, model, names[i]), "%s", names[i]);
        kept[node_layout_first(layout, site) + channel] = 1;
    }
    return n;
}

#define PLANTED_NODES 3
static const char *const planted_nodes[PLANTED_NODES]
    __attribute__((unused)) = {"0.attn.act_in.0", "0.attn.v.head0.ch0", "0.attn.resid_delta.2"};
static const char *const backup_nodes[PLANTED_NODES]
    __attribute__((unused)) = {"0.attn.act_in.1", "0.attn.v.head0.ch1", "0.attn.resid_delta.3"};

/* A group of tests with a context each. */
static inline void add_cases(Suite *suite, const char *name, const TTest *const *tests, size_t n)
{
    TCase *group = tcase_create(name);
    tcase_add_checked_fixture(group, set_up, tear_down);
    tcase_set_timeout(group, 120);
    for (size_t i = 0; i < n; i++)
        tcase_add_test(group, tests[i]);
    suite_add_tcase(suite, group);
}

#endif
