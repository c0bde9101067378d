/* A node's weights, the tokens of its channel, and its head's attention. */
#include "circuit/edges.h"
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

/* The weight between two nodes from the dense tensors alone; 0 where none can stand. */
static float weight_between(const sn_model *model, size_t layer, const char *tensor, size_t row,
                            size_t column)
{
    char name[96];
    snprintf(name, sizeof name, "transformer.h.%zu.%s.weight", layer, tensor);
    return matrix_at(model->parameters[model_find(model, name)].matrix, row, column);
}

static size_t list(sn_node_edge *edges, sn_model *model, const sn_circuit *circuit, const char *node,
                   int direction)
{
    size_t needed = 0, again;
    ok(sn_node_edges(NULL, 0, &needed, context, model, circuit, node, direction));
    ck_assert_uint_le(needed, 256);
    if (needed)
        ck_assert_int_eq(
            sn_node_edges(edges, needed - 1, &again, context, model, circuit, node, direction),
            SN_ERROR_CAPACITY);
    ok(sn_node_edges(edges, 256, &again, context, model, circuit, node, direction));
    ck_assert_uint_eq(again, needed);
    for (size_t i = 1; i < needed; i++)
        ck_assert(fabsf(edges[i].weight) <= fabsf(edges[i - 1].weight));
    return needed;
}

START_TEST(weights_in_and_out)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_circuit *circuit;
    sn_node_edge edges[256];
    const struct config *config = &model->config;
    size_t n_kept = 0, n_used = 0, n, d_attn = config_d_attn(config);
    ok(sn_circuit_create(&circuit, context, model, "c"));
    random_nodes(circuit->kept, circuit->layout.n_nodes, 50, 3);
    unsigned char *kept_edges = malloc(edge_count(model));
    random_nodes(kept_edges, edge_count(model), 50, 4);
    ok(circuit_set_edges(circuit, context, circuit->kept, kept_edges));
    free(kept_edges);
    /* a neuron: all of c_fc's row, all of c_proj's column */
    n = list(edges, model, circuit, "1.mlp.post_act.7", SN_INCOMING);
    ck_assert_uint_eq(n, config_d_in(config));
    for (size_t i = 0; i < n; i++) {
        size_t site, channel;
        ck_assert(node_find(&site, &channel, model, edges[i].node));
        ck_assert_uint_eq(site, site_index(1, SITE_MLP_ACT_IN));
        ck_assert(edges[i].weight == weight_between(model, 1, "mlp.c_fc", 7, channel));
    }
    n = list(edges, model, circuit, "1.mlp.post_act.7", SN_OUTGOING);
    ck_assert_uint_eq(n, config->d_model);
    n = list(edges, model, circuit, "0.attn.act_in.4", SN_OUTGOING);
    ck_assert_uint_eq(n, 3 * d_attn);
    for (size_t i = 0; i < n; i++) {
        size_t site, channel;
        ck_assert(node_find(&site, &channel, model, edges[i].node));
        size_t block = site == site_index(0, SITE_ATTN_Q)   ? 0
                       : site == site_index(0, SITE_ATTN_K) ? 1
                                                            : 2;
        ck_assert(edges[i].weight ==
                  weight_between(model, 0, "attn.c_attn", block * d_attn + channel, 4));
    }
    ck_assert_uint_eq(list(edges, model, circuit, "0.attn.act_in.4", SN_INCOMING), 0);
    ck_assert_uint_eq(list(edges, model, circuit, "0.attn.q.head0.ch1", SN_OUTGOING), 0);
    ck_assert_uint_eq(list(edges, model, circuit, "1.attn.v.head2.ch1", SN_OUTGOING), config->d_model);
    /* over all nodes: each edge of the circuit once at either end */
    for (int direction = SN_INCOMING; direction <= SN_OUTGOING; direction++) {
        n_used = n_kept = 0;
        for (size_t i = 0; i < circuit->graph.n_nodes; i++) {
            n = list(edges, model, circuit, circuit->graph.names[i], direction);
            for (size_t e = 0; e < n; e++) {
                size_t other = node_layout_find(&circuit->layout, model, edges[e].node);
                ck_assert_int_eq(edges[e].in_circuit, circuit->kept[other]);
                n_kept += edges[e].in_circuit != 0;
                n_used += edges[e].used != 0;
            }
        }
        ck_assert_uint_eq(n_used, circuit->graph.n_edges);
        ck_assert_uint_gt(n_kept, n_used);
    }
    /* a node outside has edges of the model only */
    size_t outside = 0, ends = 0;
    while (circuit->kept[outside])
        outside++;
    char name[NODE_NAME_BYTES];
    node_name(name, sizeof name, model, circuit->layout.sites[0].site, outside);
    ck_assert_uint_lt(outside, circuit->layout.sites[0].width);
    n = list(edges, model, circuit, name, SN_OUTGOING);
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(edges[i].used, 0);
        ends += edges[i].in_circuit != 0;
    }
    ck_assert_uint_gt(ends, 0);
    n = list(edges, model, NULL, "1.mlp.post_act.7", SN_INCOMING);
    for (size_t i = 0; i < n; i++)
        ck_assert(!edges[i].in_circuit && !edges[i].used);
    sn_circuit_free(circuit);
    sn_model_free(model);
}
END_TEST

START_TEST(tokens_of_a_channel)
{
    sn_model *model = planted_model(context, 0);
    int32_t tokens[8];
    float weights[8];
    size_t n;
    ok(sn_node_tokens(tokens, weights, 8, &n, context, model, "0.attn.act_in.0", SN_TOKENS_EMBEDDING));
    ck_assert(n == 2 && tokens[0] == 1 && weights[0] == 1 && tokens[1] == 2 && weights[1] == -1);
    ok(sn_node_tokens(NULL, NULL, 0, &n, context, model, "0.attn.resid_delta.2", SN_TOKENS_UNEMBEDDING));
    ck_assert_uint_eq(n, 2);
    ok(sn_node_tokens(tokens, weights, 2, &n, context, model, "0.attn.resid_delta.2",
                      SN_TOKENS_UNEMBEDDING));
    ck_assert(tokens[0] == 4 && weights[0] == 2 && tokens[1] == 5 && weights[1] == -2);
    ck_assert_int_eq(sn_node_tokens(tokens, weights, 1, &n, context, model, "0.attn.resid_delta.2",
                                    SN_TOKENS_UNEMBEDDING),
                     SN_ERROR_CAPACITY);
    ok(sn_node_tokens(tokens, weights, 8, &n, context, model, "0.mlp.act_in.5", SN_TOKENS_EMBEDDING));
    ck_assert_uint_eq(n, 6);
    ok(sn_node_tokens(tokens, NULL, 8, &n, context, model, "0.mlp.post_act.1", SN_TOKENS_EMBEDDING));
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(sn_node_tokens(tokens, weights, 8, &n, context, model, "x", SN_TOKENS_EMBEDDING),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_node_tokens(tokens, weights, 8, &n, context, model, "0.mlp.act_in.5", 2),
                     SN_ERROR_ARGUMENT);
    sn_model_free(model);
    /* strongest first; a channel of concatenated positions has none */
    int32_t many[23];
    float strong[23];
    model = strong_model(SPARSE_CONFIG, 8);
    ok(sn_node_tokens(many, strong, 23, &n, context, model, "1.mlp.act_in.3", SN_TOKENS_UNEMBEDDING));
    ck_assert_uint_eq(n, 23);
    for (size_t i = 0; i < n; i++) {
        ck_assert(strong[i] == matrix_at(model->parameters[model->lm_head].matrix, (size_t)many[i], 3));
        ck_assert(i == 0 || fabsf(strong[i]) <= fabsf(strong[i - 1]));
    }
    ok(sn_node_tokens(many, strong, 23, &n, context, model, "1.mlp.act_in.20", SN_TOKENS_EMBEDDING));
    ck_assert_uint_eq(n, 0);
    sn_model_free(model);
}
END_TEST

/* Probabilities times v are attn.y; q and k parts of all channels of a head are the scores. */
START_TEST(attention)
{
    enum { N = 7, SQUARE = N * N };
    static const int32_t tokens[N] = {3, 1, 4, 1, 5, 9, 2};
    static const size_t offsets[] = {0, N};
    static const char *const configs[] = {SMOOTH_CONFIG, SPARSE_CONFIG};
    for (size_t k = 0; k < 2; k++) {
        sn_model *model = strong_model(configs[k], 12);
        size_t d_head = model->config.d_head, width = config_d_attn(&model->config), needed;
        float probability[SQUARE], share[SQUARE], again[SQUARE], y[N * 16];
        double scores[SQUARE] = {0};
        sn_session *session;
        ok(sn_session_create(&session, context, model, NULL));
        ok(sn_session_record(session, "1.attn.y"));
        ok(sn_session_forward(session, tokens, offsets, 1));
        ok(sn_session_activations(y, sizeof y / sizeof *y, &needed, session, "1.attn.y"));
        for (size_t c = 0; c < d_head; c++) {
            char node[64];
            snprintf(node, sizeof node, "1.attn.v.head1.ch%zu", c);
            ok(sn_node_attention(probability, share, SQUARE, &needed, context, model, NULL, NULL, node,
                                 tokens, N));
            ck_assert_uint_eq(needed, SQUARE);
            for (size_t t = 0; t < N; t++) {
                double carried = 0, sum = 0;
                for (size_t s = 0; s < N; s++) {
                    carried += (double)share[t * N + s];
                    sum += (double)probability[t * N + s];
                    ck_assert(s <= t || (probability[t * N + s] == 0 && share[t * N + s] == 0));
                }
                ck_assert(sum < 1 && sum > 0.1); /* both have a sink */
                ck_assert(fabs(carried - (double)y[t * width + d_head + c]) < 1e-5);
            }
            snprintf(node, sizeof node, "1.attn.%c.head1.ch%zu", c % 2 ? 'q' : 'k', c);
            ok(sn_node_attention(again, share, SQUARE, &needed, context, model, NULL, NULL, node, tokens,
                                 N));
            ck_assert_int_eq(memcmp(again, probability, sizeof again), 0);
            for (size_t i = 0; i < SQUARE; i++)
                scores[i] += (double)share[i];
        }
        for (size_t t = 0; t < N; t++)
            for (size_t s = 1; s <= t; s++)
                ck_assert(fabs(log((double)probability[t * N + s] / (double)probability[t * N]) -
                               (scores[t * N + s] - scores[t * N])) < 1e-4);
        /* with everything at its mean all tokens look alike */
        sn_means *means = random_means(model, 4);
        sn_circuit *circuit;
        ok(sn_circuit_create(&circuit, context, model, "empty"));
        ok(sn_node_attention(probability, NULL, SQUARE, &needed, context, model, circuit, means,
                             "1.attn.q.head0.ch1", tokens, N));
        for (size_t s = 1; s < N; s++)
            ck_assert(fabsf(probability[(N - 1) * N + s] - probability[(N - 1) * N]) < 1e-6f);
        sn_circuit_free(circuit);
        sn_means_free(means);
        sn_session_free(session);
        sn_model_free(model);
    }
}
END_TEST

START_TEST(arguments)
{
    sn_model *model = planted_model(context, 0), *other = planted_model(context, 0);
    static const int32_t tokens[20] = {0};
    sn_circuit *circuit;
    float array[400];
    size_t needed = 0;
    sn_node_edge edge;
    ok(sn_circuit_create(&circuit, context, model, "c"));
    ck_assert_int_eq(sn_node_edges(&edge, 1, &needed, context, other, circuit, "0.attn.act_in.0", 0),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_node_edges(&edge, 1, &needed, context, model, circuit, "0.attn.act_in.0", 2),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_node_edges(&edge, 1, &needed, context, model, circuit, "final_resid.0", 0),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_node_attention(array, NULL, 400, &needed, context, model, NULL, NULL,
                                       "0.attn.act_in.0", tokens, 3),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "is no q, k or v channel"));
    ck_assert_int_eq(sn_node_attention(array, NULL, 400, &needed, context, model, NULL, NULL,
                                       "0.attn.q.head0.ch0", tokens, 17),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_node_attention(array, NULL, 8, &needed, context, model, NULL, NULL,
                                       "0.attn.q.head0.ch0", tokens, 3),
                     SN_ERROR_CAPACITY);
    ck_assert_uint_eq(needed, 9);
    ck_assert_int_eq(sn_node_attention(array, NULL, 400, &needed, context, model, circuit, NULL,
                                       "0.attn.q.head0.ch0", tokens, 3),
                     SN_ERROR_ARGUMENT);
    sn_circuit_free(circuit);
    sn_model_free(model);
    sn_model_free(other);
}
END_TEST

static int attempt(sn_context *owner, void *payload)
{
    static const int32_t prompt[] = {0, 1, 3};
    sn_model *model = payload;
    sn_node_edge edges[16];
    int32_t tokens[8];
    float array[9];
    size_t needed;
    int status = sn_node_edges(edges, 16, &needed, owner, model, NULL, planted_nodes[1], SN_OUTGOING);
    if (status == SN_OK)
        status = sn_node_tokens(tokens, NULL, 8, &needed, owner, model, planted_nodes[0],
                                SN_TOKENS_EMBEDDING);
    if (status == SN_OK)
        status = sn_node_attention(array, array, 9, &needed, owner, model, NULL, NULL, planted_nodes[1],
                                   prompt, 3);
    return status;
}

START_TEST(no_memory)
{
    sn_model *model = planted_model(context, 0);
    ck_assert_uint_gt(oom_loop(attempt, model, 1, 0), 15);
    sn_model_free(model);
}
END_TEST

Suite *node_edges_suite(void);
Suite *node_edges_suite(void)
{
    const TTest *tests[] = {weights_in_and_out, tokens_of_a_channel, attention, arguments, no_memory};
    Suite *suite = suite_create("node_edges");
    add_cases(suite, "node_edges", tests, sizeof tests / sizeof *tests);
    return suite;
}
