/* What circuits of one model have in common. */
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

static const char *const mlp_nodes[] = {"0.mlp.act_in.4", "0.mlp.post_act.0", "0.mlp.resid_delta.4"};

static sn_circuit *circuit_of(sn_model *model, const char *const *nodes, size_t n)
{
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "c"));
    for (size_t i = 0; i < n; i++)
        ok(sn_circuit_add_node(circuit, context, nodes[i]));
    return circuit;
}

static void add_all(sn_circuit *circuit, const char *const *nodes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ok(sn_circuit_add_node(circuit, context, nodes[i]));
}

START_TEST(shared_pieces_are_found)
{
    sn_model *model = planted_model(context, 1);
    sn_circuit *circuits[3];
    for (size_t i = 0; i < 3; i++)
        circuits[i] = circuit_of(model, planted_nodes, PLANTED_NODES);
    add_all(circuits[0], mlp_nodes, 3);
    add_all(circuits[2], mlp_nodes, 3);
    add_all(circuits[2], backup_nodes, PLANTED_NODES); /* nobody else's */
    sn_shared *shared;
    ok(sn_shared_create(&shared, context, (const sn_circuit *const *)circuits, 3));
    ck_assert_uint_eq(sn_shared_node_count(shared), 6);
    for (size_t i = 0; i < 6; i++) {
        uint64_t in = 0;
        const char *name = sn_shared_node(&in, shared, i);
        ck_assert_str_eq(name, i < 3 ? planted_nodes[i] : mlp_nodes[i - 3]);
        ck_assert_uint_eq(in, i < 3 ? 7 : 5);
    }
    ck_assert_uint_eq(sn_shared_edge_count(shared), 4);
    const char *from, *to;
    float weight;
    uint64_t in;
    ok(sn_shared_edge(&from, &to, &weight, &in, shared, 0));
    ck_assert_str_eq(from, planted_nodes[0]);
    ck_assert_str_eq(to, planted_nodes[1]);
    ck_assert(weight == 1.0f && in == 7);
    ok(sn_shared_edge(&from, &to, &weight, &in, shared, 3));
    ck_assert_str_eq(from, mlp_nodes[1]);
    ck_assert_str_eq(to, mlp_nodes[2]);
    ck_assert(weight == 0.6f && in == 5);
    ck_assert_uint_eq(sn_shared_motif_count(shared), 2);
    const size_t *edges;
    size_t n_edges;
    ok(sn_shared_motif(&in, &edges, &n_edges, shared, 0));
    ck_assert(in == 7 && n_edges == 2 && edges[0] == 0 && edges[1] == 1);
    ok(sn_shared_motif(&in, &edges, &n_edges, shared, 1));
    ck_assert(in == 5 && n_edges == 2 && edges[0] == 2 && edges[1] == 3);
    ck_assert_int_eq(sn_shared_motif(&in, &edges, &n_edges, shared, 2), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_shared_edge(NULL, NULL, NULL, NULL, shared, 4), SN_ERROR_ARGUMENT);
    ck_assert_ptr_null(sn_shared_node(NULL, shared, 6));
    sn_shared_free(shared);
    for (size_t i = 0; i < 3; i++)
        sn_circuit_free(circuits[i]);
    sn_model_free(model);
}
END_TEST

START_TEST(a_residual_channel_connects)
{
    static const char *const nodes[] = {"0.attn.v.head0.ch2", "0.attn.resid_delta.4", "0.mlp.act_in.4",
                                        "0.mlp.post_act.0"};
    sn_model *model = planted_model(context, 0);
    sn_circuit *a = circuit_of(model, nodes, 4), *b = circuit_of(model, nodes, 4);
    const sn_circuit *both[] = {a, b};
    sn_shared *shared;
    const size_t *edges;
    size_t n_edges;
    uint64_t in;
    ok(sn_shared_create(&shared, context, both, 2));
    ck_assert_uint_eq(sn_shared_motif_count(shared), 1);
    ok(sn_shared_motif(&in, &edges, &n_edges, shared, 0));
    ck_assert(in == 3 && n_edges == 2);
    sn_shared_free(shared);
    /* without the link there are two single edges, and no motif */
    ok(sn_circuit_remove_node(b, context, "0.attn.resid_delta.4"));
    ok(sn_circuit_add_node(b, context, "0.attn.act_in.4"));
    ok(sn_circuit_add_node(a, context, "0.attn.act_in.4"));
    ok(sn_shared_create(&shared, context, both, 2));
    ck_assert_uint_eq(sn_shared_edge_count(shared), 2);
    ck_assert_uint_eq(sn_shared_motif_count(shared), 0);
    sn_shared_free(shared);
    sn_circuit_free(a);
    sn_circuit_free(b);
    sn_model_free(model);
}
END_TEST

/* Of random circuits: every motif is shared by exactly its circuits, connected edges of each of them
 * lie in one. */
START_TEST(random_circuits)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 6);
    enum { N = 5 };
    sn_circuit *circuits[N];
    unsigned char *kept = NULL;
    for (unsigned i = 0; i < N; i++) {
        ok(sn_circuit_create(&circuits[i], context, model, "r"));
        size_t n = circuits[i]->layout.n_nodes;
        kept = realloc(kept, n);
        random_nodes(kept, n, 35, 7 + i);
        ok(circuit_set_nodes(circuits[i], context, kept));
    }
    free(kept);
    sn_shared *shared;
    ok(sn_shared_create(&shared, context, (const sn_circuit *const *)circuits, N));
    size_t before = N;
    for (size_t i = 0; i < sn_shared_node_count(shared); i++) {
        uint64_t in = 0;
        const char *name = sn_shared_node(&in, shared, i);
        size_t uses = 0;
        for (size_t c = 0; c < N; c++) {
            int has = circuits[c]->kept[node_layout_find(&circuits[c]->layout, model, name)];
            ck_assert_int_eq(has, (int)(in >> c & 1));
            uses += has != 0;
        }
        ck_assert(uses >= 2 && uses <= before);
        before = uses;
    }
    ck_assert_uint_gt(sn_shared_motif_count(shared), 3);
    for (size_t m = 0; m < sn_shared_motif_count(shared); m++) {
        const size_t *edges;
        size_t n_edges;
        uint64_t in, common = ~(uint64_t)0, of_edge;
        ok(sn_shared_motif(&in, &edges, &n_edges, shared, m));
        ck_assert_uint_ge(n_edges, 2);
        for (size_t e = 0; e < n_edges; e++) {
            ok(sn_shared_edge(NULL, NULL, NULL, &of_edge, shared, edges[e]));
            common &= of_edge;
            ck_assert(e == 0 || edges[e] > edges[e - 1]);
        }
        ck_assert_uint_eq(common, in);
    }
    sn_shared_free(shared);
    for (size_t i = 0; i < N; i++)
        sn_circuit_free(circuits[i]);
    sn_model_free(model);
}
END_TEST

static int refuse(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)done, (void)total, (void)value, (void)payload;
    return strcmp(stage, "shared") == 0;
}

START_TEST(arguments)
{
    sn_model *model = planted_model(context, 0), *other = planted_model(context, 1);
    sn_circuit *a = circuit_of(model, planted_nodes, 3), *b = circuit_of(other, planted_nodes, 3);
    const sn_circuit *mixed[] = {a, b}, *missing[] = {a, NULL}, *same[] = {a, a};
    sn_shared *shared;
    ck_assert_int_eq(sn_shared_create(&shared, context, mixed, 2), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "circuits[1]"));
    ck_assert_int_eq(sn_shared_create(&shared, context, missing, 2), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_shared_create(&shared, context, NULL, 1), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_shared_create(&shared, context, same, 0), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_shared_create(&shared, context, same, 65), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_shared_create(NULL, context, same, 2), SN_ERROR_ARGUMENT);
    ck_assert_ptr_null(shared);
    sn_context_set_progress(context, refuse, NULL);
    ck_assert_int_eq(sn_shared_create(&shared, context, same, 2), SN_ERROR_CANCELLED);
    sn_context_set_progress(context, NULL, NULL);
    ok(sn_shared_create(&shared, context, same, 1));
    ck_assert_uint_eq(sn_shared_node_count(shared), 0);
    sn_shared_free(shared);
    sn_shared_free(NULL);
    ck_assert_uint_eq(
        sn_shared_node_count(NULL) + sn_shared_edge_count(NULL) + sn_shared_motif_count(NULL), 0);
    sn_circuit_free(a);
    sn_circuit_free(b);
    sn_model_free(model);
    sn_model_free(other);
}
END_TEST

static int attempt_shared(sn_context *owner, void *payload)
{
    const sn_circuit *const *circuits = payload;
    sn_shared *shared;
    int status = sn_shared_create(&shared, owner, circuits, 2);
    sn_shared_free(shared);
    return status;
}

START_TEST(no_memory)
{
    sn_model *model = planted_model(context, 0);
    sn_circuit *a = circuit_of(model, planted_nodes, 3);
    const sn_circuit *same[] = {a, a};
    ck_assert_uint_gt(oom_loop(attempt_shared, same, 1, 0), 10);
    sn_circuit_free(a);
    sn_model_free(model);
}
END_TEST

Suite *shared_suite(void);
Suite *shared_suite(void)
{
    const TTest *const tests[] = {shared_pieces_are_found, a_residual_channel_connects, random_circuits,
                                  arguments, no_memory};
    Suite *suite = suite_create("shared");
    add_cases(suite, "shared", tests, sizeof tests / sizeof *tests);
    return suite;
}
