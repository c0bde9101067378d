/* Every contribution to a node together is its input: on made-up models, golden ones, and inside
 * circuits. */
#include <dirent.h>

#include "circuit/edges.h"
#include "oom.h"
#include "shared.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

#define N_TOKENS 9

static double activation(const struct config *config, double x)
{
    return config->mlp_relu ? (x > 0 ? x : 0) : 0.5 * x * (1 + erf(x / sqrt(2)));
}

static size_t width_at(const struct config *config, enum site_kind kind)
{
    static const enum topk_place places[SITES_PER_LAYER] = {
        [SITE_ATTN_K] = TOPK_ATTN_K,           [SITE_ATTN_Q] = TOPK_ATTN_Q,
        [SITE_ATTN_V] = TOPK_ATTN_V,           [SITE_ATTN_DELTA] = TOPK_ATTN_OUT,
        [SITE_MLP_POST_ACT] = TOPK_MLP_NEURON, [SITE_MLP_DELTA] = TOPK_MLP_OUT,
    };
    size_t width = config_place_width(config, places[kind]);
    return width - config_topk(config, places[kind], width); /* how many AbsTopK takes */
}

struct counts {
    size_t equal, zero;
};

/* value follows from input, unless AbsTopK made it zero. */
static void check_value(struct counts *counts, const sn_model *model, const char *node, double input,
                        double value)
{
    size_t site = 0, channel = 0;
    ck_assert(node_find(&site, &channel, model, node));
    enum site_kind kind = (enum site_kind)(site % SITES_PER_LAYER);
    double expected = kind == SITE_MLP_POST_ACT ? activation(&model->config, input) : input;
    if (value == 0 && width_at(&model->config, kind)) {
        counts->zero++;
        return;
    }
    ck_assert_msg(fabs(value - expected) <= 2e-5 * (1 + fabs(value)), "%s: %.9g from %.9g, value %.9g",
                  node, expected, input, value);
    counts->equal++;
}

/* The stream in front of a read, at one token, from a session. */
static double stream_at(sn_session *session, const sn_model *model, size_t site, size_t channel,
                        size_t position)
{
    static float values[1 << 17];
    size_t needed, before = site % SITES_PER_LAYER == SITE_ATTN_ACT_IN ? SITE_RESID_IN : SITE_RESID_MID;
    const char *name = sn_model_site_name(model, site - site % SITES_PER_LAYER + before);
    ok(sn_session_activations(values, sizeof values / sizeof *values, &needed, session, name));
    return (double)values[position * model->config.d_model + channel];
}

static void check_read(sn_session *session, const sn_model *model, const char *node, double input,
                       size_t position)
{
    size_t site = 0, channel = 0, d_model = model->config.d_model;
    ck_assert(node_find(&site, &channel, model, node));
    double expected = channel < d_model ? stream_at(session, model, site, channel, position)
                                        : (double)matrix_at(model->parameters[model->wpe].matrix,
                                                            position, channel - d_model);
    ck_assert_msg(fabs(input - expected) <= 1e-5 * (1 + fabs(expected)), "%s: %.9g, the stream has %.9g",
                  node, input, expected);
}

static int is_read(const char *node)
{
    return strstr(node, "act_in") != NULL;
}

/* Some nodes of every site, at the last token but one of a prompt. */
static struct counts check_model(sn_model *model, unsigned per_site)
{
    struct counts counts = {0, 0};
    struct node_layout layout;
    sn_session *session;
    int32_t tokens[N_TOKENS];
    unsigned seed = 11;
    size_t n = model->config.block_size < N_TOKENS ? model->config.block_size : N_TOKENS;
    size_t offsets[] = {0, n}, position = n > 1 ? n - 2 : 0;
    for (size_t t = 0; t < n; t++)
        tokens[t] = (int32_t)(next_random(&seed) % model->config.vocab_size);
    ok(sn_session_create(&session, context, model, NULL));
    for (size_t s = 0; s < sn_model_site_count(model); s++)
        ok(sn_session_record(session, sn_model_site_name(model, s)));
    ok(sn_session_forward(session, tokens, offsets, 1));
    ok(node_layout_create(&layout, context, model));
    for (size_t s = 0; s < layout.n_sites; s++)
        for (unsigned i = 0; i < per_site; i++) {
            char node[NODE_NAME_BYTES];
            sn_contributions *found;
            double input, value;
            size_t channel = next_random(&seed) % layout.sites[s].width;
            if (i == 0)
                channel = layout.sites[s].width - 1; /* of a concatenated position, where there are */
            node_name(node, sizeof node, model, layout.sites[s].site, channel);
            ok(sn_contributions_create(&found, context, model, NULL, NULL, node, tokens, n, position));
            ok(sn_contributions_sum(&input, NULL, &value, NULL, found));
            if (is_read(node))
                check_read(session, model, node, input, position);
            else
                check_value(&counts, model, node, input, value);
            sn_contributions_free(found);
        }
    node_layout_free(&layout);
    sn_session_free(session);
    return counts;
}

START_TEST(they_sum_to_the_input)
{
    static const char *const configs[] = {SMOOTH_CONFIG, SPARSE_CONFIG};
    for (size_t i = 0; i < 2; i++) {
        sn_model *model = strong_model(configs[i], 8);
        struct counts counts = check_model(model, 8);
        ck_assert_uint_gt(counts.equal, 30);
        ck_assert_int_eq(counts.zero > 0, i == 1);
        sn_model_free(model);
    }
    sn_model *model = planted_model(context, 1);
    ck_assert_uint_gt(check_model(model, 6).equal, 20);
    sn_model_free(model);
}
END_TEST

/* The golden models: norms, residual ReLU and AbsTopK, positions of all kinds, biases or none. */
START_TEST(they_sum_to_the_input_of_golden_models)
{
    const char *shared = shared_path("goldens");
    char folder[512], path[1024];
    size_t n_models = 0;
    if (!shared)
        return;
    snprintf(folder, sizeof folder, "%s", shared);
    DIR *directory = opendir(folder);
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        sn_model *model;
        if (entry->d_name[0] != 'p')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        ok(sn_model_load(&model, context, path));
        struct counts counts = check_model(model, 3);
        ck_assert_msg(counts.equal > 0, "%s: %zu equal", entry->d_name, counts.equal);
        n_models++;
        sn_model_free(model);
    }
    closedir(directory);
    ck_assert_uint_gt(n_models, 5);
}
END_TEST

START_TEST(they_sum_to_the_input_of_a_released_model)
{
    sn_model *model;
    ok(sn_model_load(&model, context, "tests/data/released"));
    ck_assert_uint_gt(check_model(model, 6).equal, 10);
    sn_model_free(model);
}
END_TEST

/* A circuit by hand, from the public interventions alone: what stands at the node then. */
static double value_inside(sn_model *model, const sn_circuit *circuit, const sn_means *means,
                           const char *node, const int32_t *tokens, size_t n, size_t position)
{
    static float values[4096];
    sn_session *session;
    size_t offsets[] = {0, n}, site = 0, channel = 0, needed;
    ck_assert(node_find(&site, &channel, model, node));
    ok(sn_session_create(&session, context, model, NULL));
    for (size_t s = 0; s < circuit->layout.n_sites; s++) {
        const struct node_site *at = &circuit->layout.sites[s];
        size_t channels[256], n_channels = 0;
        float set[256];
        for (size_t c = 0; c < at->width; c++)
            if (!circuit->kept[at->first + c] && !(at->site == site && c == channel)) {
                set[n_channels] = means->values[at->first + c];
                channels[n_channels++] = c;
            }
        if (n_channels)
            ok(sn_session_intervene(session, sn_model_site_name(model, at->site), SN_SET, channels,
                                    n_channels, set, n_channels, NULL, 0));
    }
    ok(sn_session_record(session, sn_model_site_name(model, site)));
    ok(sn_session_forward(session, tokens, offsets, 1));
    ok(sn_session_activations(values, 4096, &needed, session, sn_model_site_name(model, site)));
    sn_session_free(session);
    return (double)values[position * (needed / n) + channel];
}

START_TEST(inside_a_circuit)
{
    static const char *const configs[] = {SMOOTH_CONFIG, SPARSE_CONFIG};
    for (size_t k = 0; k < 2; k++) {
        sn_model *model = strong_model(configs[k], 8);
        sn_means *means = random_means(model, 3);
        sn_circuit *circuit;
        struct counts counts = {0, 0};
        size_t held = 0, used = 0;
        int32_t tokens[N_TOKENS];
        unsigned seed = 5;
        for (size_t t = 0; t < N_TOKENS; t++)
            tokens[t] = (int32_t)(next_random(&seed) % model->config.vocab_size);
        ok(sn_circuit_create(&circuit, context, model, "half"));
        random_nodes(circuit->kept, circuit->layout.n_nodes, 60, 9);
        ok(circuit_set_nodes(circuit, context, circuit->kept));
        for (size_t i = 0; i < circuit->layout.n_nodes; i += 3) {
            char node[NODE_NAME_BYTES];
            const struct node_site *site = &circuit->layout.sites[node_layout_site(&circuit->layout, i)];
            sn_contributions *found;
            double input, value;
            node_name(node, sizeof node, model, site->site, i - site->first);
            ok(sn_contributions_create(&found, context, model, circuit, means, node, tokens, N_TOKENS,
                                       N_TOKENS - 1));
            ok(sn_contributions_sum(&input, NULL, &value, NULL, found));
            ck_assert(value ==
                      value_inside(model, circuit, means, node, tokens, N_TOKENS, N_TOKENS - 1));
            if (!is_read(node))
                check_value(&counts, model, node, input, value);
            for (size_t j = 0; j < sn_contributions_count(found); j++) {
                sn_contribution one = {.struct_size = sizeof one};
                ok(sn_contributions_get(&one, found, j));
                if (one.kind != SN_SOURCE_NODE)
                    continue;
                size_t from = node_layout_find(&circuit->layout, model, one.source);
                ck_assert_int_eq(one.used, circuit->kept[from] != 0);
                held += !one.used;
                used += one.used != 0;
                if (!one.used && !strstr(one.source, ".v."))
                    ck_assert(fabs(one.value - one.weight * (double)means->values[from]) < 1e-6);
            }
            sn_contributions_free(found);
        }
        ck_assert(counts.equal > 10 && held > 10 && used > 10);
        sn_circuit_free(circuit);
        sn_means_free(means);
        sn_model_free(model);
    }
}
END_TEST

/* Cut edges carry their source's mean: the run has other weights, the list the original ones. */
START_TEST(with_cut_edges)
{
    static const char *const configs[] = {SMOOTH_CONFIG, SPARSE_CONFIG};
    for (size_t k = 0; k < 2; k++) {
        sn_model *model = strong_model(configs[k], 8);
        sn_means *means = random_means(model, 3);
        sn_circuit *circuit;
        struct counts counts = {0, 0};
        size_t n_edges = edge_count(model), cut = 0;
        size_t n_carried = model->config.n_layer * config_d_attn(&model->config);
        unsigned char *kept_edges = malloc(n_edges);
        int32_t tokens[N_TOKENS] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
        unsigned seed = 5;
        for (size_t i = 0; i < n_carried; i++)
            means->carried[i] = (float)(next_random(&seed) % 100) * 0.01f - 0.5f;
        random_nodes(kept_edges, n_edges, 50, 4);
        ok(sn_circuit_create(&circuit, context, model, "edges"));
        random_nodes(circuit->kept, circuit->layout.n_nodes, 80, 9);
        ok(circuit_set_edges(circuit, context, circuit->kept, kept_edges));
        free(kept_edges);
        for (size_t i = 0; i < circuit->layout.n_nodes; i += 3) {
            char node[NODE_NAME_BYTES];
            const struct node_site *site = &circuit->layout.sites[node_layout_site(&circuit->layout, i)];
            sn_contributions *found;
            double input, value;
            node_name(node, sizeof node, model, site->site, i - site->first);
            ok(sn_contributions_create(&found, context, model, circuit, means, node, tokens, N_TOKENS,
                                       4));
            ok(sn_contributions_sum(&input, NULL, &value, NULL, found));
            if (!is_read(node))
                check_value(&counts, model, node, input, value);
            for (size_t j = 0; j < sn_contributions_count(found); j++) {
                sn_contribution one = {.struct_size = sizeof one};
                ok(sn_contributions_get(&one, found, j));
                cut += one.kind == SN_SOURCE_NODE && !one.used &&
                       circuit->kept[node_layout_find(&circuit->layout, model, one.source)];
            }
            sn_contributions_free(found);
        }
        ck_assert(counts.equal > 10 && cut > 10);
        sn_circuit_free(circuit);
        sn_means_free(means);
        sn_model_free(model);
    }
}
END_TEST

START_TEST(a_task_is_the_mean_of_its_prompts)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_task *task = random_task(6, 20, 23, 4);
    static const char *const nodes[] = {"0.attn.act_in.3", "1.attn.resid_delta.5", "1.mlp.act_in.7",
                                        "0.mlp.post_act.11", "1.attn.q.head2.ch1"};
    for (size_t k = 0; k < sizeof nodes / sizeof *nodes; k++) {
        sn_contributions *all, *one;
        double expected[4] = {0}, got[4], input, value;
        ok(sn_contributions_create_task(&all, context, model, NULL, NULL, nodes[k], task));
        ok(sn_contributions_sum(&got[0], &got[1], &got[2], &got[3], all));
        for (size_t i = 0; i < 12; i++) {
            const int32_t *a, *b;
            size_t n_a, n_b;
            ok(sn_task_pair(&a, &n_a, &b, &n_b, NULL, NULL, task, i / 2));
            ok(sn_contributions_create(&one, context, model, NULL, NULL, nodes[k], i % 2 ? b : a,
                                       i % 2 ? n_b : n_a, (i % 2 ? n_b : n_a) - 1));
            ok(sn_contributions_sum(&input, NULL, &value, NULL, one));
            expected[i % 2] += input / 6;
            expected[2 + i % 2] += value / 6;
            ck_assert_uint_eq(sn_contributions_count(one), sn_contributions_count(all));
            sn_contributions_free(one);
        }
        for (int i = 0; i < 4; i++)
            ck_assert_msg(fabs(got[i] - expected[i]) < 1e-5, "%s: %g, not %g", nodes[k], got[i],
                          expected[i]);
        double before = INFINITY;
        for (size_t i = 0; i < sn_contributions_count(all); i++) {
            sn_contribution c = {.struct_size = sizeof c};
            ok(sn_contributions_get(&c, all, i));
            ck_assert(fabs(c.value) + fabs(c.value_b) <= before);
            before = fabs(c.value) + fabs(c.value_b);
        }
        sn_contributions_free(all);
    }
    sn_task_free(task);
    sn_model_free(model);
}
END_TEST

static int refuse(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)done, (void)total, (void)value, (void)payload;
    return strcmp(stage, "contributions") == 0;
}

START_TEST(arguments)
{
    sn_model *model = planted_model(context, 0), *other = planted_model(context, 0);
    sn_means *means = planted_means(context, model), *others = planted_means(context, other);
    sn_task *task = planted_task(context, 3, 1), *empty;
    sn_circuit *circuit;
    sn_contributions *found;
    const int32_t tokens[] = {0, 1, 3}, wrong[] = {0, 99, 3};
    ok(sn_task_create(&empty, context, "empty"));
    ok(sn_circuit_create(&circuit, context, model, "c"));
#define REFUSED(status, text, ...)                                                                      \
    do {                                                                                                \
        ck_assert_int_eq(__VA_ARGS__, status);                                                          \
        ck_assert_msg(strstr(sn_context_message(context), text) != NULL, "%s",                          \
                      sn_context_message(context));                                                     \
        ck_assert_ptr_null(found);                                                                      \
    } while (0)
    const char *node = planted_nodes[0];
    REFUSED(SN_ERROR_ARGUMENT, "position is 3, n_tokens 3",
            sn_contributions_create(&found, context, model, NULL, NULL, node, tokens, 3, 3));
    REFUSED(
        SN_ERROR_ARGUMENT, "\"0.attn.y.head0.ch0\" is no node",
        sn_contributions_create(&found, context, model, NULL, NULL, "0.attn.y.head0.ch0", tokens, 3, 0));
    REFUSED(SN_ERROR_ARGUMENT, "99",
            sn_contributions_create(&found, context, model, NULL, NULL, node, wrong, 3, 0));
    REFUSED(SN_ERROR_ARGUMENT, "means is NULL",
            sn_contributions_create(&found, context, model, circuit, NULL, node, tokens, 3, 0));
    REFUSED(SN_ERROR_ARGUMENT, "another model",
            sn_contributions_create(&found, context, model, circuit, others, node, tokens, 3, 0));
    REFUSED(SN_ERROR_ARGUMENT, "another model",
            sn_contributions_create(&found, context, other, circuit, others, node, tokens, 3, 0));
    REFUSED(SN_ERROR_ARGUMENT, "tokens is NULL",
            sn_contributions_create(&found, context, model, NULL, NULL, node, NULL, 3, 0));
    REFUSED(SN_ERROR_ARGUMENT, "task empty has no pairs",
            sn_contributions_create_task(&found, context, model, NULL, NULL, node, empty));
    REFUSED(SN_ERROR_ARGUMENT, "task is NULL",
            sn_contributions_create_task(&found, context, model, NULL, NULL, node, NULL));
    sn_context_set_progress(context, refuse, NULL);
    ck_assert_int_eq(sn_contributions_create_task(&found, context, model, circuit, means, node, task),
                     SN_ERROR_CANCELLED);
    sn_contribution one = {.struct_size = sizeof one};
    ck_assert_int_eq(sn_contributions_get(&one, NULL, 0), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_contributions_sum(NULL, NULL, NULL, NULL, NULL), SN_ERROR_ARGUMENT);
    sn_contributions_free(NULL);
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_task_free(empty);
    sn_means_free(means);
    sn_means_free(others);
    sn_model_free(model);
    sn_model_free(other);
}
END_TEST

struct subject {
    sn_model *model;
    sn_means *means;
    sn_circuit *circuit;
    sn_task *task;
};

static int attempt_contributions(sn_context *owner, void *payload)
{
    const struct subject *subject = payload;
    const int32_t tokens[] = {0, 1, 3};
    sn_contributions *one, *all = NULL;
    int status = sn_contributions_create(&one, owner, subject->model, subject->circuit, subject->means,
                                         planted_nodes[1], tokens, 3, 2);
    if (status == SN_OK)
        status = sn_contributions_create_task(&all, owner, subject->model, NULL, NULL, "0.mlp.act_in.4",
                                              subject->task);
    sn_contributions_free(one);
    sn_contributions_free(all);
    return status;
}

START_TEST(no_memory)
{
    struct subject subject = {.model = planted_model(context, 0)};
    subject.means = planted_means(context, subject.model);
    subject.task = planted_task(context, 3, 1);
    ok(sn_circuit_create(&subject.circuit, context, subject.model, "c"));
    ok(sn_circuit_add_node(subject.circuit, context, planted_nodes[0]));
    unsigned char *kept_edges = calloc(1, edge_count(subject.model));
    ok(circuit_set_edges(subject.circuit, context, subject.circuit->kept, kept_edges));
    free(kept_edges);
    ck_assert_uint_gt(oom_loop(attempt_contributions, &subject, 1, 0), 30);
    sn_circuit_free(subject.circuit);
    sn_task_free(subject.task);
    sn_means_free(subject.means);
    sn_model_free(subject.model);
}
END_TEST

Suite *contributions_suite(void);
Suite *contributions_suite(void)
{
    const TTest *tests[] = {they_sum_to_the_input,
                            they_sum_to_the_input_of_golden_models,
                            they_sum_to_the_input_of_a_released_model,
                            inside_a_circuit,
                            with_cut_edges,
                            a_task_is_the_mean_of_its_prompts,
                            arguments,
                            no_memory};
    Suite *suite = suite_create("contributions");
    add_cases(suite, "contributions", tests, sizeof tests / sizeof *tests);
    return suite;
}
