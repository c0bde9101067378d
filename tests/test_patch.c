/* Activation patching and path patching. */
#include "circuit/edges.h"
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

static sn_patch_result patch_node(sn_model *model, const char *node, const sn_task *task)
{
    sn_patch_result result = {.struct_size = sizeof result};
    ok(sn_patch_node(&result, NULL, 0, NULL, context, model, node, task));
    return result;
}

static sn_patch_result patch_path(sn_model *model, const char *from, const char *to, const sn_task *task)
{
    sn_patch_result result = {.struct_size = sizeof result};
    ok(sn_patch_path(&result, NULL, 0, NULL, context, model, from, to, task));
    return result;
}

/* All that tells the two prompts apart goes along the planted path. */
START_TEST(the_planted_path_carries_everything)
{
    sn_model *model = planted_model(context, 0);
    sn_task *task = planted_task(context, 40, 3);
    for (size_t i = 0; i < PLANTED_NODES; i++) {
        sn_patch_result node = patch_node(model, planted_nodes[i], task);
        ck_assert(node.total_effect > 1 && node.n_pairs == 40 && node.logit_spread > 0);
        ck_assert_msg(fabs(node.logit_effect - node.total_effect) < 1e-4, "%s: %g of %g",
                      planted_nodes[i], node.logit_effect, node.total_effect);
        ck_assert(node.node_effect > 0.5);
    }
    for (size_t i = 0; i + 1 < PLANTED_NODES; i++) {
        sn_patch_result path = patch_path(model, planted_nodes[i], planted_nodes[i + 1], task);
        ck_assert_msg(fabs(path.logit_effect - path.total_effect) < 1e-4, "%s on: %g of %g",
                      planted_nodes[i], path.logit_effect, path.total_effect);
        ck_assert(path.node_effect > 0.5);
    }
    /* from one end to the other there are nodes between, which are held */
    ck_assert(patch_path(model, planted_nodes[0], planted_nodes[2], task).node_effect == 0);
    /* a residual link that no weight reads on */
    sn_patch_result link = patch_path(model, planted_nodes[2], "0.mlp.act_in.2", task);
    ck_assert(link.node_effect > 0.1 && link.logit_effect == 0);
    /* no weight joins them; noise is alike in both prompts */
    ck_assert(patch_path(model, planted_nodes[0], "0.attn.v.head0.ch2", task).node_effect == 0);
    ck_assert(fabs(patch_node(model, "0.attn.act_in.4", task).logit_effect) < 1e-6);
    sn_task_free(task);
    sn_model_free(model);
}
END_TEST

/* Two paths that back each other up share the effect. */
START_TEST(backups_share_the_effect)
{
    sn_model *model = planted_model(context, 1);
    sn_task *task = planted_task(context, 40, 3);
    sn_patch_result one = patch_path(model, planted_nodes[0], planted_nodes[1], task);
    sn_patch_result other = patch_path(model, backup_nodes[0], backup_nodes[1], task);
    ck_assert(fabs(one.logit_effect - one.total_effect / 2) < 0.2 * one.total_effect);
    ck_assert(fabs(other.logit_effect - one.logit_effect) < 1e-4);
    ck_assert(patch_path(model, planted_nodes[0], backup_nodes[1], task).node_effect == 0);
    sn_task_free(task);
    sn_model_free(model);
}
END_TEST

static sn_session *recording_session(sn_model *model)
{
    sn_session *session;
    ok(sn_session_create(&session, context, model, NULL));
    for (size_t s = 0; s < sn_model_site_count(model); s++)
        ok(sn_session_record(session, sn_model_site_name(model, s)));
    return session;
}

#define MOST_TOKENS 64
#define MOST_CHANNELS 64

/* Values of one channel at the tokens of a prompt, and the difference of two logits at the last. */
static double run_prompt(float *values, sn_session *session, size_t site, size_t channel,
                         const int32_t *tokens, size_t n, const int32_t *targets)
{
    static float rows[MOST_TOKENS * MOST_CHANNELS];
    float logits[MOST_TOKENS];
    size_t needed, offsets[] = {0, n}, last = n - 1;
    sn_model *model = session_model(session);
    ok(sn_session_select_logits(session, &last, 1));
    ok(sn_session_forward(session, tokens, offsets, 1));
    ok(sn_session_activations(rows, MOST_TOKENS * MOST_CHANNELS, &needed, session,
                              sn_model_site_name(model, site)));
    for (size_t t = 0; t < n; t++)
        values[t] = rows[t * site_width(&model->config, site) + channel];
    ok(sn_session_logits(logits, MOST_TOKENS, &needed, session));
    return (double)logits[targets[0]] - (double)logits[targets[1]];
}

/* Holds a site at its recorded values but for some channels. */
static void hold_site(sn_session *held, sn_session *clean, size_t site, const unsigned char *moves)
{
    static float rows[MOST_TOKENS * MOST_CHANNELS];
    float values[MOST_TOKENS];
    sn_model *model = session_model(held);
    const char *name = sn_model_site_name(model, site);
    size_t needed, width = site_width(&model->config, site);
    ok(sn_session_activations(rows, MOST_TOKENS * MOST_CHANNELS, &needed, clean, name));
    for (size_t c = 0; c < width; c++) {
        for (size_t t = 0; t < needed / width; t++)
            values[t] = rows[t * width + c];
        if (!moves[c])
            ok(sn_session_intervene(held, name, SN_SET, &c, 1, values, needed / width, NULL, 0));
    }
}

/* The same as sn_patch_path for one prompt of two as long as each other, by public calls and dense
 * weights. */
static void by_hand(double *logit, double *node, sn_model *model, const char *from, const char *to,
                    const int32_t *given, const int32_t *other, size_t n, const int32_t *targets)
{
    sn_session *clean = recording_session(model), *held = recording_session(model);
    size_t from_site, from_channel, to_site, to_channel, d = model->config.d_model;
    float values[MOST_TOKENS], counterfactual[MOST_TOKENS], patched[MOST_TOKENS];
    unsigned char moves[MOST_CHANNELS] = {0}, none[MOST_CHANNELS] = {0};
    ck_assert(node_find(&from_site, &from_channel, model, from));
    ck_assert(node_find(&to_site, &to_channel, model, to));
    run_prompt(counterfactual, clean, from_site, from_channel, other, n, targets);
    double before = run_prompt(values, clean, to_site, to_channel, given, n, targets);
    const char *from_name = sn_model_site_name(model, from_site), *kind = strchr(from_name, '.') + 1;
    char tensor[64];
    size_t head = from_channel / model->config.d_head * model->config.d_head, needed;
    size_t first = from_channel, last = from_channel + 1;
    if (strcmp(kind, "attn.q") == 0 || strcmp(kind, "attn.k") == 0) {
        first = head;
        last = head + model->config.d_head;
    }
    if (strstr(kind, "resid_delta")) {
        moves[from_channel] = 1;
    } else if (!strstr(kind, "act_in")) {
        snprintf(tensor, sizeof tensor, "transformer.h.%c.%s.c_proj.weight", from_name[0],
                 strncmp(kind, "attn", 4) == 0 ? "attn" : "mlp");
        size_t width =
            strncmp(kind, "attn", 4) == 0 ? config_d_attn(&model->config) : model->config.d_mlp;
        float *weights = malloc(d * width * sizeof *weights);
        ok(sn_model_tensor(weights, d * width, &needed, context, model, tensor));
        for (size_t r = 0; r < d; r++)
            for (size_t c = first; c < last; c++)
                moves[r] |= weights[r * width + c] != 0;
        free(weights);
    }
    for (size_t site = from_site; site <= to_site; site++) {
        const char *name = sn_model_site_name(model, site);
        int same_layer_write = strstr(name, "resid_delta") && name[0] == from_name[0] && /* its block */
                               strncmp(strchr(name, '.') + 1, kind, 4) == 0 && site != from_site;
        int block_read = strstr(name, "act_in") && site != from_site &&
                         name[0] == sn_model_site_name(model, to_site)[0] &&
                         strncmp(name + 2, sn_model_site_name(model, to_site) + 2, 4) == 0 &&
                         !strstr(sn_model_site_name(model, to_site), "resid_delta");
        if (!site_has_nodes(&model->config, site))
            continue;
        if (site == to_site) {
            unsigned char itself[MOST_CHANNELS] = {0};
            itself[to_channel] = 1;
            hold_site(held, clean, site, itself);
        } else {
            hold_site(held, clean, site, same_layer_write || block_read ? moves : none);
        }
    }
    ok(sn_session_intervene(held, from_name, SN_SET, &from_channel, 1, counterfactual, n, NULL, 0));
    run_prompt(patched, held, to_site, to_channel, given, n, targets);
    ok(sn_session_clear_interventions(held));
    ok(sn_session_intervene(held, sn_model_site_name(model, to_site), SN_SET, &to_channel, 1, patched, n,
                            NULL, 0));
    float ignored[MOST_TOKENS];
    *logit = before - run_prompt(ignored, held, to_site, to_channel, given, n, targets);
    *node = 0;
    for (size_t t = 0; t < n; t++)
        if (fabs((double)values[t] - (double)patched[t]) > fabs(*node))
            *node = (double)values[t] - (double)patched[t];
    sn_session_free(clean);
    sn_session_free(held);
}

static sn_task *even_task(size_t n_pairs, size_t n, unsigned seed)
{
    sn_task *task;
    ok(sn_task_create(&task, context, "even"));
    for (size_t i = 0; i < n_pairs; i++) {
        int32_t prompts[2][MOST_TOKENS];
        for (int j = 0; j < 2; j++)
            for (size_t t = 0; t < n; t++)
                prompts[j][t] = (int32_t)next_random(&seed) % 11;
        ok(sn_task_add_pair(task, context, prompts[0], n, prompts[1], n, 3, 4));
    }
    return task;
}

START_TEST(paths_match_public_interventions)
{
    static const char *const configs[] = {SMOOTH_CONFIG, SPARSE_CONFIG};
    static const char *const paths[][2] = {
        {"0.attn.act_in.3", "0.attn.q.head1.ch2"},      {"0.attn.act_in.4", "0.attn.v.head0.ch1"},
        {"0.attn.v.head1.ch1", "0.attn.resid_delta.5"}, {"0.attn.q.head1.ch0", "0.attn.resid_delta.2"},
        {"0.attn.v.head0.ch3", "0.mlp.act_in.7"},       {"0.attn.v.head0.ch3", "0.mlp.post_act.9"},
        {"0.mlp.act_in.5", "0.mlp.post_act.4"},         {"0.mlp.post_act.4", "0.mlp.resid_delta.8"},
        {"0.mlp.post_act.4", "1.mlp.post_act.12"},      {"0.mlp.post_act.2", "1.attn.k.head0.ch2"},
        {"0.attn.k.head0.ch2", "1.attn.q.head1.ch1"},   {"0.mlp.resid_delta.6", "1.attn.act_in.6"},
        {"0.attn.resid_delta.1", "1.mlp.post_act.3"},   {"0.attn.resid_delta.1", "1.mlp.resid_delta.1"}};
    size_t n_moved = 0;
    for (int i = 0; i < 2; i++) {
        sn_model *model = strong_model(configs[i], 8);
        sn_task *task = even_task(3, 17, 4);
        for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
            double effects[12];
            size_t needed;
            sn_patch_result result = {.struct_size = sizeof result};
            ok(sn_patch_path(&result, effects, 12, &needed, context, model, paths[p][0], paths[p][1],
                             task));
            ck_assert_uint_eq(needed, 12);
            for (size_t pair = 0; pair < 3; pair++) {
                const int32_t *prompts[2];
                int32_t targets[2];
                size_t n;
                double logit, node;
                ok(sn_task_pair(&prompts[0], &n, &prompts[1], &n, &targets[0], &targets[1], task, pair));
                for (int j = 0; j < 2; j++) {
                    by_hand(&logit, &node, model, paths[p][0], paths[p][1], prompts[j], prompts[1 - j],
                            n, targets);
                    const double *effect = effects + 4 * pair + 2 * j, class = j ? -1 : 1;
                    ck_assert_msg(fabs(class * logit - effect[0]) < 2e-4 &&
                                      fabs(class * node - effect[1]) < 2e-4,
                                  "%s to %s: by hand %g and %g, not %g and %g", paths[p][0], paths[p][1],
                                  class * logit, class * node, effect[0], effect[1]);
                    n_moved += effect[1] != 0;
                }
            }
        }
        /* behind its block's nodes a write is reached by no weight */
        ck_assert(patch_path(model, "0.attn.resid_delta.1", "1.mlp.resid_delta.1", task).node_effect ==
                  0);
        sn_task_free(task);
        sn_model_free(model);
    }
    ck_assert_msg(n_moved > 80, "%zu effects are not zero", n_moved);
}
END_TEST

/* Inside a block an edge moves the value that it leads to by its weight times the change of its source.
 */
START_TEST(an_edge_carries_its_weight)
{
    sn_model *model = strong_model(SMOOTH_CONFIG, 8); /* no AbsTopK */
    sn_task *task = even_task(2, 9, 7);
    struct node_layout layout;
    ok(node_layout_create(&layout, context, model));
    size_t from_site, to_site, from, to;
    ck_assert(node_find(&from_site, &from, model, "1.attn.act_in.3"));
    ck_assert(node_find(&to_site, &to, model, "1.attn.k.head1.ch2"));
    float weight;
    ck_assert(edge_find(&weight, model, &layout, node_layout_first(&layout, from_site) + from,
                        node_layout_first(&layout, to_site) + to) != NO_NODE);
    sn_patch_result node = patch_node(model, "1.attn.act_in.3", task);
    sn_patch_result path = patch_path(model, "1.attn.act_in.3", "1.attn.k.head1.ch2", task);
    ck_assert(fabs((double)weight) > 1e-3);
    ck_assert_msg(fabs(path.node_effect - (double)weight * node.node_effect) < 1e-5, "%g, not %g x %g",
                  path.node_effect, (double)weight, node.node_effect);
    node_layout_free(&layout);
    sn_task_free(task);
    sn_model_free(model);
}
END_TEST

/* Prompts of different lengths: what both begin and end with is matched; tokens without a match stay. */
START_TEST(tokens_are_matched_from_both_ends)
{
    sn_model *model = planted_model(context, 0);
    static const int32_t a[] = {0, 1, 7, 3}, b[] = {0, 6, 2, 7, 3}; /* mark 1 at 1; filler, mark 2 */
    sn_task *task;
    double effects[4];
    size_t needed;
    ok(sn_task_create(&task, context, "uneven"));
    ok(sn_task_add_pair(task, context, a, 4, b, 5, 4, 5));
    sn_patch_result result = {.struct_size = sizeof result};
    ok(sn_patch_node(&result, effects, 4, &needed, context, model, "0.attn.act_in.0", task));
    /* A: its mark takes the filler's value, 0. B: the filler takes the mark's, its own mark has no
     * match. */
    sn_session *session = recording_session(model);
    float mark_a[8], mark_b[8];
    const int32_t targets[] = {4, 5};
    double given_a = run_prompt(mark_a, session, 1, 0, a, 4, targets);
    double given_b = run_prompt(mark_b, session, 1, 0, b, 5, targets);
    ck_assert(fabs(effects[1] - (double)mark_a[1]) < 1e-6); /* by what A's mark loses */
    ck_assert(fabs(effects[3] - (double)mark_a[1]) < 1e-6); /* and B's filler gains */
    ck_assert(fabs(result.total_effect - (given_a - given_b)) < 1e-5);
    mark_a[1] = 0;
    ok(sn_session_intervene(session, "0.attn.act_in", SN_SET, (size_t[]){0}, 1, mark_a, 4, NULL, 0));
    float ignored[8];
    double patched = run_prompt(ignored, session, 1, 0, a, 4, targets);
    ck_assert_msg(fabs(effects[0] - (given_a - patched)) < 1e-5, "%g", effects[0]);
    sn_session_free(session);
    sn_task_free(task);
    sn_model_free(model);
}
END_TEST

static void refused(int status, const char *words)
{
    ck_assert_int_eq(status, SN_ERROR_ARGUMENT);
    ck_assert_msg(strstr(sn_context_message(context), words) != NULL, "%s", sn_context_message(context));
}

START_TEST(bad_arguments_are_named)
{
    sn_model *model = planted_model(context, 0);
    sn_task *task = planted_task(context, 4, 3), *empty;
    sn_patch_result result = {.struct_size = sizeof result};
    const char *a = planted_nodes[0], *b = planted_nodes[1];
    double effects[16];
    size_t needed = 0;
    ok(sn_task_create(&empty, context, "empty"));
    refused(sn_patch_node(&result, NULL, 0, NULL, context, NULL, a, task), "model is NULL");
    refused(sn_patch_node(&result, NULL, 0, NULL, context, model, NULL, task), "node is NULL");
    refused(sn_patch_node(&result, NULL, 0, NULL, context, model, "0.attn.y.head0.ch0", task),
            "0.attn.y.head0.ch0");
    refused(sn_patch_node(&result, NULL, 0, NULL, context, model, a, empty), "no pairs");
    refused(sn_patch_node(&result, NULL, 0, NULL, context, model, a, NULL), "task is NULL");
    refused(sn_patch_node(NULL, NULL, 0, NULL, context, model, a, task), "result is NULL");
    refused(sn_patch_path(&result, NULL, 0, NULL, context, model, b, a, task), "does not stand behind");
    refused(sn_patch_path(&result, NULL, 0, NULL, context, model, a, NULL, task), "to is NULL");
    refused(sn_patch_path(&result, NULL, 0, NULL, context, model, "9.mlp", b, task), "9.mlp");
    ck_assert_int_eq(sn_patch_node(&result, effects, 15, &needed, context, model, a, task),
                     SN_ERROR_CAPACITY);
    ck_assert_uint_eq(needed, 16);
    ok(sn_patch_node(&result, effects, 16, &needed, context, model, a, task));
    sn_task_free(task);
    sn_task_free(empty);
    sn_model_free(model);
}
END_TEST

START_TEST(threads_do_not_change_effects)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_task *task = random_task(30, 40, 11, 8);
    double effects[2][120];
    size_t needed;
    for (int i = 0; i < 2; i++) {
        sn_patch_result result = {.struct_size = sizeof result};
        ok(sn_context_set_threads(context, i ? 3 : 1));
        ok(sn_patch_path(&result, effects[i], 120, &needed, context, model, "0.mlp.post_act.4",
                         "1.mlp.post_act.12", task));
    }
    ck_assert_int_eq(memcmp(effects[0], effects[1], sizeof effects[0]), 0);
    sn_task_free(task);
    sn_model_free(model);
}
END_TEST

struct attempt {
    sn_model *model;
    sn_task *task;
};

static int patch_both(sn_context *own, void *payload)
{
    struct attempt *attempt = payload;
    sn_patch_result result = {.struct_size = sizeof result};
    int status =
        sn_patch_node(&result, NULL, 0, NULL, own, attempt->model, planted_nodes[1], attempt->task);
    if (status == SN_OK)
        status = sn_patch_path(&result, NULL, 0, NULL, own, attempt->model, planted_nodes[0],
                               planted_nodes[1], attempt->task);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    struct attempt attempt = {planted_model(context, 0), planted_task(context, 4, 3)};
    ck_assert_uint_gt(oom_loop(patch_both, &attempt, 1, 0), 40);
    sn_task_free(attempt.task);
    sn_model_free(attempt.model);
}
END_TEST

Suite *patch_suite(void);
Suite *patch_suite(void)
{
    const TTest *cases[] = {the_planted_path_carries_everything, backups_share_the_effect,
                            paths_match_public_interventions,    an_edge_carries_its_weight,
                            tokens_are_matched_from_both_ends,   bad_arguments_are_named,
                            every_refused_allocation_is_survived};
    const TTest *threads[] = {threads_do_not_change_effects}; /* what ThreadSanitizer looks at */
    Suite *suite = suite_create("patch");
    add_cases(suite, "patch", cases, sizeof cases / sizeof *cases);
    add_cases(suite, "threads", threads, sizeof threads / sizeof *threads);
    return suite;
}
