/* From a small circuit to a better one: exchanges, growing of edges, and what is said of a necessity out of reach. */
#include <stdio.h>

#include "circuit/extract.h"
#include "circuit/grow.h"
#include "circuit/swap.h"
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

static const struct extract_settings settings = {
    .target_loss = 0.15, .necessity = 0.15, .steps = 40, .batch = 16, .greedy = 2, .grow = 1};

/* ---- exchanges */

/* Three channels carry the mark, and v.ch0 reads the first two at half the weight and the third at one and a half. */
static sn_model *crowded_model(void)
{
    sn_model *model = planted_model(context, 0);
    PLANT("transformer.wte.weight", 1, 0, 1, 2, 0, -1, 1, 1, 1, 2, 1, -1, 1, 3, 1, 2, 3, -1, 0, 5, 1, 1,
          5, 1, 2, 5, 1, 3, 5, 1, 6, 5, 1, 7, 5, 1, 6, 4, 0.5f, 7, 4, -0.5f);
    PLANT("transformer.h.0.attn.c_attn.weight", 8, 0, 0.5f, 8, 1, 0.5f, 8, 3, 1.5f, 10, 4, 0.7f, 10, 5,
          0.3f);
    return model;
}

struct crowd {
    sn_model *model;
    sn_means *means;
    sn_task *task;
    struct search search;
    unsigned char *two, *one; /* nodes: with both weak reads, with the strong one */
};

static double loss_of(struct crowd *crowd, const char *const *names, size_t n)
{
    int meets;
    unsigned char *kept = malloc(crowd->search.n);
    set_nodes(kept, &crowd->search.judge.layout, crowd->model, names, n);
    ok(search_meets_unscreened(&crowd->search, kept, &meets));
    free(kept);
    return crowd->search.loss;
}

/* The target is met by both weak reads together, and by the strong one alone. */
static void crowd_open(struct crowd *crowd, int method)
{
    static const char *const names[] = {"0.attn.v.head0.ch0", "0.attn.resid_delta.2", "0.attn.act_in.0",
                                        "0.attn.act_in.1"};
    static const char *const strong[] = {"0.attn.v.head0.ch0", "0.attn.resid_delta.2",
                                         "0.attn.act_in.3"};
    struct extract_settings own = settings;
    own.method = method;
    crowd->model = crowded_model();
    crowd->means = planted_means(context, crowd->model);
    crowd->task = planted_task(context, 30, 3);
    ok(search_open(&crowd->search, context, crowd->model, crowd->means, crowd->task, crowd->task, &own));
    size_t n = crowd->search.n;
    crowd->two = malloc(n);
    crowd->one = malloc(n);
    set_nodes(crowd->two, &crowd->search.judge.layout, crowd->model, names, 4);
    set_nodes(crowd->one, &crowd->search.judge.layout, crowd->model, strong, 3);
    double weak = loss_of(crowd, names, 3), both = loss_of(crowd, names, 4),
           best = loss_of(crowd, strong, 3);
    ck_assert_msg(best < both - 0.01 && both < weak - 0.01, "%g, %g, %g", best, both, weak);
    crowd->search.settings.target_loss = 0.5 * (weak + both);
}

static void crowd_close(struct crowd *crowd)
{
    search_close(&crowd->search);
    free(crowd->two);
    free(crowd->one);
    sn_task_free(crowd->task);
    sn_means_free(crowd->means);
    sn_model_free(crowd->model);
}

START_TEST(an_exchange_finds_the_smaller_circuit)
{
    struct crowd crowd;
    crowd_open(&crowd, JUDGE_NODES);
    size_t n = crowd.search.n;
    unsigned char *kept = malloc(n);
    memcpy(kept, crowd.two, n);
    ok(refine_eliminate(&crowd.search, kept));
    ck_assert_mem_eq(kept, crowd.two, n); /* no single node can go */
    ok(refine_swap(&crowd.search, kept, 0));
    ck_assert_mem_eq(kept, crowd.two, n);
    ok(refine_swap(&crowd.search, kept, 1));
    ck_assert_mem_eq(kept, crowd.one, n);
    ck_assert_uint_eq(crowd.search.held, NO_NODE);
    ok(refine_swap(&crowd.search, kept, 5)); /* nothing better is left */
    ck_assert_mem_eq(kept, crowd.one, n);
    /* What came in is held while others go. */
    size_t idle = node_layout_first(&crowd.search.judge.layout, site_index(0, SITE_MLP_POST_ACT));
    kept[idle] = 1;
    crowd.search.held = idle;
    ok(refine_eliminate(&crowd.search, kept));
    ck_assert_uint_eq(kept[idle], 1);
    crowd.search.held = NO_NODE;
    ok(refine_eliminate(&crowd.search, kept));
    ck_assert_mem_eq(kept, crowd.one, n);
    free(kept);
    crowd_close(&crowd);
}
END_TEST

START_TEST(an_exchange_of_edges_finds_the_smaller_circuit)
{
    struct crowd crowd;
    struct edge_refinement edges;
    crowd_open(&crowd, JUDGE_EDGES);
    size_t n = crowd.search.judge.gated.n_edges, count = 0;
    unsigned char *kept = malloc(crowd.search.n), *before = malloc(n);
    memcpy(kept, crowd.two, crowd.search.n);
    ok(edge_refinement_open(&edges, &crowd.search, kept));
    memcpy(before, edges.kept_edges, n);
    ok(refine_edges_eliminate(&edges));
    ck_assert_mem_eq(edges.kept_edges, before, n);
    ok(refine_edges_swap(&edges, 0));
    ck_assert_mem_eq(edges.kept_edges, before, n);
    ok(refine_edges_swap(&edges, 1));
    ck_assert_mem_eq(kept, crowd.one, crowd.search.n);
    for (size_t i = 0; i < n; i++)
        count += edges.kept_edges[i];
    ck_assert_uint_eq(count, 2);
    size_t idle = 0;
    while (edges.kept_edges[idle])
        idle++;
    edges.kept_edges[idle] = 1;
    edges.held = idle;
    ok(refine_edges_eliminate(&edges));
    ck_assert_uint_eq(edges.kept_edges[idle], 1);
    edges.held = NO_NODE;
    ok(refine_edges_eliminate(&edges));
    ck_assert_uint_eq(edges.kept_edges[idle], 0);
    edge_refinement_close(&edges);
    free(kept);
    free(before);
    crowd_close(&crowd);
}
END_TEST

/* ---- growing */

static sn_circuit *extract(sn_model *model, const sn_means *means, const sn_task *task,
                           const char *method, double grow, double calibrated)
{
    sn_options *options;
    sn_circuit *circuit;
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "method", method));
    ok(sn_options_set(options, context, "steps", 40));
    ok(sn_options_set(options, context, "batch", 16));
    ok(sn_options_set(options, context, "grow", grow));
    ok(sn_options_set(options, context, "calibrated", calibrated));
    ok(sn_circuit_extract(&circuit, context, model, means, task, NULL, options));
    sn_options_free(options);
    return circuit;
}

static double measured(const sn_circuit *circuit, const char *name)
{
    for (size_t i = 0; i < sn_circuit_measurement_count(circuit); i++) {
        double value;
        if (strcmp(sn_circuit_measurement(&value, circuit, i), name) == 0)
            return value;
    }
    return -1;
}

START_TEST(edges_grow_into_the_backup)
{
    sn_model *model = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 40, 3);
    sn_circuit *small = extract(model, means, task, "edges", 0, 1);
    sn_circuit *grown = extract(model, means, task, "edges", 1, 1);
    ck_assert_uint_eq(sn_circuit_edge_count(small), 2);
    ck_assert_double_lt(evaluate(model, means, small, SN_ABLATE_EDGES, task).loss, 0.2);
    ck_assert_uint_eq(sn_circuit_measurement_count(small), 0); /* it was not asked for */
    size_t n = sn_circuit_edge_count(grown);
    ck_assert_uint_ge(n, 3);
    ck_assert_uint_le(n, 4);
    ck_assert_double_le(evaluate(model, means, grown, SN_ABLATE_REST, task).loss, 0.15);
    double necessity = evaluate(model, means, grown, SN_ABLATE_EDGES, task).loss;
    ck_assert_double_gt(necessity, LN_2 - 0.152);
    ck_assert_double_eq_tol(measured(grown, "grown_necessity"), necessity, 1e-9);
    ck_assert_double_eq_tol(measured(grown, "necessity_wanted"), LN_2 - 0.15, 1e-12);
    ck_assert_double_eq(measured(grown, "necessity_reached"), 1);
    /* Where its nodes go too, no less is lost. */
    ck_assert_double_ge(evaluate(model, means, grown, SN_ABLATE_CIRCUIT, task).loss, necessity - 1e-3);
    sn_circuit_free(small);
    sn_circuit_free(grown);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* The last token is a mark itself, and the unembedding reads its embedding: a way to the logits without any node. It
 * does not meet the target as it is, but calibrated it does the task, whatever is ablated. */
START_TEST(a_necessity_out_of_reach_is_said)
{
    static const char *const methods[] = {"nodes", "edges"};
    static const int32_t marks[2][4] = {{1, 1, 1, 1}, {2, 2, 2, 2}};
    sn_model *model = planted_model(context, 0);
    PLANT("lm_head.weight", 4, 2, 2, 5, 2, -2, 4, 0, 0.2f, 5, 0, -0.2f, 6, 4, 1, 7, 5, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task;
    ok(sn_task_create(&task, context, "marks"));
    for (size_t n = 1; n <= 4; n++)
        ok(sn_task_add_pair(task, context, marks[0], n, marks[1], n, 4, 5));
    for (int i = 0; i < 2; i++) {
        sn_circuit *circuit = extract(model, means, task, methods[i], 1, 0);
        int ablate = i ? SN_ABLATE_EDGES : SN_ABLATE_CIRCUIT;
        ck_assert_uint_gt(sn_circuit_edge_count(circuit), 0);
        ck_assert_double_le(evaluate(model, means, circuit, SN_ABLATE_REST, task).raw_loss, 0.15);
        double necessity = evaluate(model, means, circuit, ablate, task).loss;
        ck_assert_double_lt(necessity, 0.3);
        ck_assert_double_eq(measured(circuit, "necessity_reached"), 0);
        ck_assert_double_eq_tol(measured(circuit, "grown_necessity"), necessity, 1e-9);
        sn_circuit_free(circuit);
    }
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* Edge by edge against a model whose weights say the same; and a circuit of nodes has all edges between them. */
START_TEST(cut_edges_of_a_circuit_carry_means)
{
    sn_model *model = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "planted"));
    for (size_t i = 0; i < PLANTED_NODES; i++)
        ok(sn_circuit_add_node(circuit, context, planted_nodes[i]));
    sn_evaluation cut = evaluate(model, means, circuit, SN_ABLATE_EDGES, task);
    sn_evaluation whole = evaluate(model, means, circuit, SN_ABLATE_NOTHING, task);
    ck_assert_double_gt(cut.raw_loss,
                        whole.raw_loss + 0.01); /* the backup is left, half of the logits */
    /* Without the weights of the path, whose sources have a mean of about 0, it is nearly that. */
    sn_model *other = planted_model(context, 1);
    {
        sn_model *kept = model;
        model = other;
        PLANT("transformer.h.0.attn.c_proj.weight", 3, 1, 2.5f, 4, 2, 0.5f);
        model = kept;
    }
    sn_evaluation without = evaluate(other, NULL, NULL, SN_ABLATE_NOTHING, task);
    ck_assert_double_eq_tol(cut.raw_loss, without.raw_loss, 0.02);
    sn_evaluation none = {.struct_size = sizeof none};
    ck_assert_int_eq(sn_evaluate(&none, context, model, means, NULL, SN_ABLATE_EDGES, task, task),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_evaluate(&none, context, model, means, circuit, SN_ABLATE_EDGES + 1, task, task),
                     SN_ERROR_ARGUMENT);
    sn_ablation *mean;
    sn_ablation_result drawn = {.struct_size = sizeof drawn};
    ok(sn_ablation_create(&mean, context, model, means, NULL, NULL));
    ok(sn_evaluate_ablation(&drawn, NULL, 0, NULL, context, model, mean, circuit, SN_ABLATE_EDGES, task,
                            task));
    ck_assert_double_eq(drawn.raw_loss, cut.raw_loss);
    sn_ablation_free(mean);
    sn_model_free(other);
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* ---- threads, cancelling, lack of memory */

struct attempt {
    sn_model *model;
    sn_means *means;
    sn_task *task;
    const char *method;
};

static int find_edges(sn_circuit **out, sn_context *own, const struct attempt *attempt)
{
    sn_options *options = NULL;
    int status = sn_options_create(&options, own);
    if (status == SN_OK)
        status = sn_options_set_text(options, own, "method", attempt->method);
    if (status == SN_OK)
        status = sn_options_set(options, own, "steps", 4);
    if (status == SN_OK)
        status = sn_options_set(options, own, "k_coef", 1e-3);
    if (status == SN_OK)
        status = sn_options_set(options, own, "swap", 1);
    if (status == SN_OK)
        status =
            sn_circuit_extract(out, own, attempt->model, attempt->means, attempt->task, NULL, options);
    sn_options_free(options);
    return status;
}

static int find_and_free(sn_context *own, void *payload)
{
    sn_circuit *circuit = NULL;
    int status = find_edges(&circuit, own, payload);
    sn_circuit_free(circuit);
    return status;
}

static void attempt_open(struct attempt *attempt, const char *method)
{
    attempt->method = method;
    attempt->model = planted_model(context, 1);
    attempt->means = planted_means(context, attempt->model);
    attempt->task = planted_task(context, 40, 3);
}

static void attempt_close(struct attempt *attempt)
{
    sn_task_free(attempt->task);
    sn_means_free(attempt->means);
    sn_model_free(attempt->model);
}

START_TEST(memory_may_run_out_anywhere)
{
    static const char *const methods[] = {"nodes", "edges"};
    for (int i = 0; i < 2; i++) {
        struct attempt attempt;
        attempt_open(&attempt, methods[i]);
        ck_assert_uint_gt(oom_loop(find_and_free, &attempt, 1, 24), 50);
        attempt_close(&attempt);
    }
}
END_TEST

/* The planted path beside neurons that do next to nothing. */
static sn_model *wide_model(unsigned n_neurons)
{
    char config[256];
    snprintf(
        config, sizeof config,
        "{\"block_size\": 16, \"vocab_size\": 8, \"n_layer\": 1, \"n_head\": 1, \"d_head\": 4,"
        " \"d_model\": 6, \"d_mlp\": %u, \"rms_norm\": true, \"bias\": false, \"tied_unembed\": false}",
        n_neurons);
    sn_model *model;
    ok(sn_model_create(&model, context, config, strlen(config), 1));
    PLANT("transformer.wte.weight", 1, 0, 1, 2, 0, -1, 0, 5, 1, 1, 5, 1, 2, 5, 1, 3, 5, 1, 6, 5, 1, 7, 5,
          1, 6, 4, 0.5f, 7, 4, -0.5f);
    PLANT("transformer.wpe.weight", 0, 5, 0);
    PLANT("transformer.h.0.attn.c_attn.weight", 8, 0, 1, 10, 4, 0.7f, 10, 5, 0.3f);
    PLANT("transformer.h.0.attn.c_proj.weight", 2, 0, 2.5f, 4, 2, 0.5f);
    PLANT("lm_head.weight", 4, 2, 2, 5, 2, -2, 6, 4, 1, 7, 5, 1);
    return model;
}

static int count_rounds(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)done, (void)total, (void)value;
    *(size_t *)payload += strcmp(stage, "eliminate") == 0;
    return 0;
}

START_TEST(of_many_nodes_several_go_at_once)
{
    sn_model *model = wide_model(200);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    struct search search;
    size_t rounds = 0, left = 0;
    int meets;
    ok(search_open(&search, context, model, means, task, task, &settings));
    unsigned char *kept = malloc(search.n);
    memset(kept, 1, search.n);
    sn_context_set_progress(context, count_rounds, &rounds);
    ok(refine_eliminate(&search, kept));
    sn_context_set_progress(context, NULL, NULL);
    for (size_t i = 0; i < search.n; i++)
        left += kept[i];
    ck_assert_uint_gt(search.n, 3 * 64);
    ck_assert_uint_le(left, 4);
    /* from 3 at a time down to 1 below 128: 236 to 192 by threes, to 128 by twos */
    ck_assert_uint_lt(rounds, search.n - left - 40);
    ck_assert_uint_gt(rounds, 128 - left);
    ok(search_meets_unscreened(&search, kept, &meets));
    ck_assert(meets);
    free(kept);
    search_close(&search);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(of_many_edges_several_go_at_once)
{
    sn_model *model = wide_model(60);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    struct extract_settings own = settings;
    struct search search;
    struct edge_refinement edges;
    size_t rounds = 0, before = 0, left = 0;
    int meets;
    own.method = JUDGE_EDGES;
    ok(search_open(&search, context, model, means, task, task, &own));
    unsigned char *kept = malloc(search.n);
    memset(kept, 1, search.n);
    ok(edge_refinement_open(&edges, &search, kept));
    for (size_t i = 0; i < search.judge.gated.n_edges; i++)
        before += edges.kept_edges[i];
    sn_context_set_progress(context, count_rounds, &rounds);
    ok(refine_edges_eliminate(&edges));
    sn_context_set_progress(context, NULL, NULL);
    for (size_t i = 0; i < search.judge.gated.n_edges; i++)
        left += edges.kept_edges[i];
    ck_assert_uint_gt(before, 5 * 128);
    ck_assert_uint_le(left, 3);
    ck_assert_uint_lt(rounds, before - left - 200); /* by fives at first, one by one below 256 */
    ck_assert_uint_gt(rounds, 255 - left);
    ok(edge_refinement_meets(&edges, &meets));
    ck_assert(meets);
    edge_refinement_close(&edges);
    free(kept);
    search_close(&search);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* ---- masks that are not worth shrinking */

/* Masks by which what elimination leaves comes first, or last: then everything is let in. */
static float *masks_of(struct search *search, int wanted_first)
{
    size_t n = extract_mask_count(search);
    float *tau = malloc(n * sizeof *tau);
    unsigned char *kept = malloc(search->n);
    struct edge_refinement edges = {0};
    memset(kept, 1, search->n);
    if (search->settings.method == JUDGE_NODES) {
        ok(refine_eliminate(search, kept));
    } else {
        ok(edge_refinement_open(&edges, search, kept));
        ok(refine_edges_eliminate(&edges));
    }
    const unsigned char *wanted = search->settings.method == JUDGE_NODES ? kept : edges.kept_edges;
    for (size_t i = 0; i < n; i++)
        tau[i] = (wanted[i] != 0) == wanted_first ? 1 : -1;
    if (search->settings.method != JUDGE_NODES)
        edge_refinement_close(&edges);
    free(kept);
    return tau;
}

static int count_removals(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)done;
    (void)total;
    (void)value;
    *(size_t *)payload += strcmp(stage, "greedy") == 0 || strcmp(stage, "eliminate") == 0;
    return 0;
}

static size_t removals_of(struct best *best, struct search *search, const float *tau,
                          unsigned char *kept)
{
    size_t removals = 0;
    sn_context_set_progress(context, count_removals, &removals);
    ok(extract_shrink(best, search, tau, kept, 0));
    sn_context_set_progress(context, NULL, NULL);
    return removals;
}

START_TEST(masks_that_leave_much_more_are_given_up)
{
    sn_model *model = wide_model(60);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    struct extract_settings own = settings;
    struct search search;
    struct best best, only;
    own.method = _i;
    ok(search_open(&search, context, model, means, task, task, &own));
    float *few = masks_of(&search, 1), *many = masks_of(&search, 0);
    unsigned char *kept = malloc(search.n);
    ok(best_create(&best, &search));
    ok(best_create(&only, &search));
    removals_of(&best, &search, few, kept);
    ck_assert_int_eq(best.found, 1);
    size_t n_edges = best.n_edges, n_nodes = best.n_nodes;
    ck_assert_uint_eq(removals_of(&best, &search, many, kept), 0);
    ck_assert_uint_eq(best.n_edges, n_edges);
    ck_assert_uint_eq(best.n_nodes, n_nodes);
    /* without others the same masks are shrunk, and what they leave then takes nothing from better ones */
    ck_assert_uint_gt(removals_of(&only, &search, many, kept), 0);
    ck_assert_int_eq(only.found, 1);
    removals_of(&only, &search, few, kept);
    ck_assert_uint_le(only.n_edges, n_edges);
    best_free(&only);
    best_free(&best);
    free(kept);
    free(many);
    free(few);
    search_close(&search);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

static int stop_at(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)done, (void)total, (void)value;
    return strcmp(stage, payload) == 0;
}

START_TEST(it_can_be_cancelled)
{
    static char *const stages[] = {"swap", "grow"};
    struct attempt attempt;
    attempt_open(&attempt, "edges");
    ok(find_and_free(context, &attempt));
    for (int i = 0; i < 2; i++) {
        sn_circuit *circuit;
        size_t before, after;
        sn_context_memory(&before, NULL, context);
        sn_context_set_progress(context, stop_at, stages[i]);
        ck_assert_int_eq(find_edges(&circuit, context, &attempt), SN_ERROR_CANCELLED);
        ck_assert_ptr_null(circuit);
        sn_context_memory(&after, NULL, context);
        ck_assert_uint_eq(before, after);
    }
    sn_context_set_progress(context, NULL, NULL);
    attempt_close(&attempt);
}
END_TEST

START_TEST(threads_do_not_change_what_is_grown)
{
    struct attempt attempt;
    sn_circuit *circuits[2];
    attempt_open(&attempt, "edges");
    for (int i = 0; i < 2; i++) {
        ok(sn_context_set_threads(context, i ? 3 : 1));
        ok(find_edges(&circuits[i], context, &attempt));
    }
    ck_assert_mem_eq(circuits[0]->kept_edges, circuits[1]->kept_edges, edge_count(attempt.model));
    ck_assert(measured(circuits[0], "grown_necessity") == measured(circuits[1], "grown_necessity"));
    sn_circuit_free(circuits[0]);
    sn_circuit_free(circuits[1]);
    attempt_close(&attempt);
}
END_TEST

Suite *refine_suite(void);
Suite *refine_suite(void)
{
    const TTest *const tests[] = {an_exchange_finds_the_smaller_circuit,
                                  an_exchange_of_edges_finds_the_smaller_circuit,
                                  edges_grow_into_the_backup,
                                  a_necessity_out_of_reach_is_said,
                                  cut_edges_of_a_circuit_carry_means,
                                  of_many_nodes_several_go_at_once,
                                  of_many_edges_several_go_at_once,
                                  it_can_be_cancelled,
                                  memory_may_run_out_anywhere};
    const TTest *const threads[] = {threads_do_not_change_what_is_grown};
    Suite *suite = suite_create("refine");
    add_cases(suite, "refine", tests, sizeof tests / sizeof *tests);
    add_cases(suite, "threads", threads, 1);
    TCase *masks = tcase_create("masks"); /* of nodes, of edges */
    tcase_add_checked_fixture(masks, set_up, tear_down);
    tcase_add_loop_test(masks, masks_that_leave_much_more_are_given_up, JUDGE_NODES, JUDGE_EDGES + 1);
    suite_add_tcase(suite, masks);
    return suite;
}
