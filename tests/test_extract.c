/* Finding circuits: learned masks, bisection, removal, growing; states and refusals. */
#include "long.h"
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

/* ---- finding */

static const struct extract_settings settings = {.target_loss = 0.15,
                                                 .learning_rate = 0.01,
                                                 .init_bias = 0.1,
                                                 .init_noise = 0.01,
                                                 .temperature = 1,
                                                 .weight_decay = 1e-3,
                                                 .beta2 = 0.95,
                                                 .necessity = 0.15,
                                                 .calibrated = 1,
                                                 .steps = 60,
                                                 .batch = 16,
                                                 .greedy = 2,
                                                 .grow = 1};

START_TEST(masks_fall_where_nothing_depends_on_them)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    struct search search;
    struct masks masks;
    ok(search_open(&search, context, model, means, task, task, &settings));
    ok(masks_create(&masks, context, search.n));
    ok(prune_learn(&masks, &search.judge, &settings, 1e-2, search.partner, 0, settings.steps));
    unsigned char *planted = malloc(search.n);
    set_nodes(planted, &search.judge.layout, model, planted_nodes, 3);
    for (size_t i = 0; i < search.n; i++) {
        ck_assert_msg((masks.tau[i] > 0) == planted[i], "node %zu: tau %g", i, (double)masks.tau[i]);
        ck_assert(masks.tau[i] >= -1 && masks.tau[i] <= 1);
    }
    free(planted);
    masks_free(&masks);
    search_close(&search);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(bisection_finds_the_smallest_number)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    struct search search;
    ok(search_open(&search, context, model, means, task, task, &settings));
    unsigned char *kept = malloc(search.n), *planted = malloc(search.n);
    float *tau = malloc(search.n * sizeof *tau);
    set_nodes(planted, &search.judge.layout, model, planted_nodes, 3);
    for (int positive = 0; positive < 3; positive++) {
        /* The planted nodes stand at ranks 0, 4 and 8; as many masks are on as `positive` says. */
        static const size_t on[] = {2, 9, 25};
        size_t place = 0, count = 0, rank[] = {0, 4, 8}, next = 1;
        for (size_t i = 0; i < search.n; i++) {
            size_t r = planted[i] ? rank[place++] : next++;
            while (!planted[i] && (r == 4 || r == 8))
                r = next++;
            tau[i] = 0.5f + 0.01f * ((float)on[positive] - (float)r) - 0.5f - 0.005f;
        }
        ok(refine_bisect(&search, tau, kept));
        for (size_t i = 0; i < search.n; i++)
            count += kept[i];
        ck_assert_uint_eq(count, 9);
        for (size_t i = 0; i < search.n; i++)
            ck_assert(!planted[i] || kept[i]);
    }
    free(tau);
    free(kept);
    free(planted);
    search_close(&search);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(greedy_removal_leaves_what_is_needed)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    struct search search;
    size_t removed;
    int meets;
    ok(search_open(&search, context, model, means, task, task, &settings));
    unsigned char *kept = malloc(search.n), *planted = malloc(search.n);
    set_nodes(planted, &search.judge.layout, model, planted_nodes, 3);
    memset(kept, 1, search.n);
    ok(refine_greedy(&search, kept, 0, &removed));
    ck_assert_int_eq(memcmp(kept, planted, search.n), 0);
    ck_assert_uint_eq(removed, search.n - 3);
    ok(search_meets(&search, kept, &meets));
    ck_assert(meets && search.loss <= settings.target_loss);
    ok(refine_greedy(&search, kept, 0, &removed));
    ck_assert_uint_eq(removed, 0);
    free(kept);
    free(planted);
    search_close(&search);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(elimination_leaves_what_is_needed)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 30, 3);
    struct search search;
    int meets;
    ok(search_open(&search, context, model, means, task, task, &settings));
    unsigned char *kept = malloc(search.n), *planted = malloc(search.n);
    set_nodes(planted, &search.judge.layout, model, planted_nodes, 3);
    random_nodes(kept, search.n, 60, 5);
    for (size_t i = 0; i < search.n; i++)
        kept[i] |= planted[i];
    ok(refine_eliminate(&search, kept));
    ck_assert_int_eq(memcmp(kept, planted, search.n), 0);
    ok(search_meets(&search, kept, &meets));
    ck_assert(meets);
    /* Nothing can go where the target is already missed. */
    search.settings.target_loss = 1e-9;
    ok(refine_eliminate(&search, kept));
    ck_assert_int_eq(memcmp(kept, planted, search.n), 0);
    free(kept);
    free(planted);
    search_close(&search);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* A model in which every node matters, and masks of what a search with these settings looks at. */
struct strong_search {
    sn_model *model;
    sn_means *means;
    sn_task *task;
    struct search search;
    struct masks masks;
};

static void open_strong(struct strong_search *s, size_t n_pairs, size_t longest,
                        const struct extract_settings *how)
{
    s->model = strong_model(SPARSE_CONFIG, 6);
    s->means = random_means(s->model, 3);
    s->task = random_task(n_pairs, longest, 23, 3);
    ok(search_open(&s->search, context, s->model, s->means, s->task, s->task, how));
    ok(masks_create(&s->masks, context, s->search.n));
}

static void close_strong(struct strong_search *s)
{
    masks_free(&s->masks);
    search_close(&s->search);
    sn_task_free(s->task);
    sn_means_free(s->means);
    sn_model_free(s->model);
}

START_TEST(tied_queries_and_keys_go_together)
{
    struct extract_settings tied = settings;
    struct strong_search s;
    size_t removed;
    tied.tie_query_key = 1;
    tied.steps = 20;
    tied.target_loss = 0.69;
    open_strong(&s, 20, 20, &tied);
    unsigned char *kept = malloc(s.search.n);
    ok(prune_learn(&s.masks, &s.search.judge, &tied, 1e-4, s.search.partner, 0, tied.steps));
    ok(refine_bisect(&s.search, s.masks.tau, kept));
    ok(refine_greedy(&s.search, kept, 0, &removed));
    for (size_t layer = 0; layer < 2; layer++) {
        size_t q = node_layout_first(&s.search.judge.layout, site_index(layer, SITE_ATTN_Q));
        size_t k = node_layout_first(&s.search.judge.layout, site_index(layer, SITE_ATTN_K));
        for (size_t c = 0; c < 12; c++) {
            ck_assert_float_eq(s.masks.tau[q + c], s.masks.tau[k + c]);
            ck_assert_uint_eq(kept[q + c], kept[k + c]);
            ck_assert_uint_eq(s.search.partner[q + c], k + c);
        }
    }
    free(kept);
    close_strong(&s);
}
END_TEST

/* A step takes its pairs some at a time: together they have the gradient of all. */
START_TEST(a_step_is_cut_into_chunks)
{
    static const struct config small = {.n_layer = 2, .d_model = 128},
                               large = {.n_layer = 8, .d_model = 2048};
    struct extract_settings one_step = settings;
    struct strong_search s;
    size_t n_tokens = 0;
    double largest = 0, at_start = 1 / (1 + exp(-settings.init_bias)), slope = at_start * (1 - at_start);
    ck_assert_uint_eq(prune_chunk_tokens(&small), 1024);
    ck_assert_uint_eq(prune_chunk_tokens(&large), 512);
    one_step.steps = 1;
    one_step.batch = 64;
    one_step.init_noise = 0;
    open_strong(&s, one_step.batch, 60, &one_step);
    for (size_t i = 0; i < sn_task_count(s.task); i++) {
        size_t n_a, n_b;
        ok(sn_task_pair(NULL, &n_a, NULL, &n_b, NULL, NULL, s.task, i));
        n_tokens += n_a + n_b;
    }
    ck_assert_uint_gt(n_tokens, 2 * prune_chunk_tokens(&s.model->config));
    ok(prune_learn(&s.masks, &s.search.judge, &one_step, 0, NULL, 0, 1));
    ok(judge_gradient_at(&s.search.judge, 1, JUDGE_FIT));
    const float *gradient = s.search.judge.gates.gradient;
    for (size_t i = 0; i < s.search.n; i++)
        largest = fmax(largest, fabs((double)gradient[i]));
    ck_assert_double_gt(largest, 0);
    for (size_t i = 0; i < s.search.n; i++)
        ck_assert_double_eq_tol((double)s.masks.gradient[i], (double)gradient[i] * slope,
                                1e-5 * largest);
    close_strong(&s);
}
END_TEST

/* Scores that attribution gives to a query's and its key's channel are one sum. */
START_TEST(tied_attributions_are_sums)
{
    struct extract_settings tied = settings;
    struct strong_search s;
    tied.tie_query_key = 1;
    open_strong(&s, 20, 20, &tied);
    ok(prune_attribute(&s.masks, &s.search.judge, SCORES_ATTRIBUTION, s.search.partner));
    double *score = malloc(s.search.n * sizeof *score), largest = 0;
    size_t n_tied = 0;
    for (size_t i = 0; i < s.search.n; i++) {
        size_t other = s.search.partner[i];
        score[i] = (double)s.search.judge.gates.gradient[i];
        score[i] = fabs(score[i] + (other == i ? 0 : (double)s.search.judge.gates.gradient[other]));
        largest = fmax(largest, score[i]);
        n_tied += other != i && score[i] > 0 && s.search.judge.gates.gradient[other] != 0;
    }
    ck_assert_double_gt(largest, 0);
    ck_assert_uint_gt(n_tied, 10);
    for (size_t i = 0; i < s.search.n; i++)
        ck_assert_double_eq_tol((double)s.masks.tau[i], score[i] / largest - 1, 1e-5);
    free(score);
    close_strong(&s);
}
END_TEST

static sn_circuit *extract_by(const char *loss, sn_model *model, const sn_means *means,
                              const sn_task *task, const sn_task *develop, double grow,
                              double calibrated)
{
    sn_options *options;
    sn_circuit *circuit;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "steps", 60));
    ok(sn_options_set(options, context, "batch", 16));
    ok(sn_options_set(options, context, "grow", grow));
    ok(sn_options_set(options, context, "calibrated", calibrated));
    ok(sn_options_set_text(options, context, "loss", loss));
    ok(sn_circuit_extract(&circuit, context, model, means, task, develop, options));
    sn_options_free(options);
    return circuit;
}

static sn_circuit *extract(sn_model *model, const sn_means *means, const sn_task *task,
                           const sn_task *develop, double grow, double calibrated)
{
    return extract_by("pair", model, means, task, develop, grow, calibrated);
}

/* Curves in order of x: the loss is low where many nodes are kept; learning took nodes away, not all. */
static void check_curves(const sn_circuit *circuit)
{
    static const char *const names[] = {"loss_by_size", "pruning_loss", "pruning_size"};
    const double *x, *y;
    size_t n = 0;
    ck_assert_uint_eq(sn_circuit_series_count(circuit), 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_str_eq(sn_circuit_series(&x, &y, &n, circuit, i), names[i]);
        ck_assert_uint_gt(n, 1);
        for (size_t k = 1; k < n; k++)
            ck_assert(x[k - 1] < x[k]);
        if (i == 0)
            ck_assert(x[n - 1] >= 3 && y[n - 1] <= 0.15 && y[0] > 0.15);
        if (i == 2)
            ck_assert(y[n - 1] < y[0] && y[n - 1] >= 3);
    }
}

static void check_planted(const sn_circuit *circuit)
{
    ck_assert_uint_eq(sn_circuit_node_count(circuit), 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_str_eq(sn_circuit_node_name(circuit, i), planted_nodes[i]);
    ck_assert_uint_eq(sn_circuit_edge_count(circuit), 2);
    ck_assert_str_eq(sn_circuit_task(circuit), "planted");
    check_curves(circuit);
}

START_TEST(extraction_finds_the_planted_circuit)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 40, 3), *develop = planted_task(context, 60, 99);
    for (int calibrated = 0; calibrated < 2; calibrated++) {
        sn_circuit *circuit = extract(model, means, task, develop, 1, calibrated);
        check_planted(circuit);
        sn_circuit_free(circuit);
    }
    sn_task_free(task);
    sn_task_free(develop);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

static double first_loss(const sn_circuit *circuit)
{
    const double *x, *y;
    size_t n = 0;
    ck_assert_str_eq(sn_circuit_series(&x, &y, &n, circuit, 1), "pruning_loss");
    ck_assert_uint_gt(n, 0);
    return y[0];
}

/* The other tokens take part: the loss is larger than that of the pair, and the circuit the same here. */
START_TEST(masks_learn_from_the_whole_vocabulary)
{
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 40, 3), *develop = planted_task(context, 60, 99);
    sn_circuit *circuit = extract_by("vocabulary", model, means, task, develop, 1, 1);
    sn_circuit *by_pair = extract(model, means, task, develop, 1, 1);
    check_planted(circuit);
    ck_assert_double_gt(first_loss(circuit), first_loss(by_pair) + 1e-3);
    sn_circuit_free(by_pair);
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_task_free(develop);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(a_curve_stays_in_its_room)
{
    static struct curve curve;
    for (int i = 0; i < 100000; i++)
        curve_add(&curve, i, 2 * i);
    ck_assert(curve.n > CURVE_POINTS / 2 && curve.n <= CURVE_POINTS);
    for (size_t i = 0; i < curve.n; i++) {
        ck_assert(curve.x[i] == (double)(i * curve.every));
        ck_assert(curve.y[i] == 2 * curve.x[i]);
    }
}
END_TEST

START_TEST(growing_takes_in_the_backup)
{
    sn_model *model = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 40, 3), *develop = planted_task(context, 40, 99);
    sn_circuit *small = extract(model, means, task, develop, 0, 1);
    sn_circuit *grown = extract(model, means, task, develop, 1, 1);
    /* One of two equal paths suffices, and the other then does the task alone. */
    ck_assert_uint_eq(sn_circuit_node_count(small), 3);
    ck_assert_double_lt(evaluate(model, means, small, SN_ABLATE_REST, develop).loss, 0.15);
    ck_assert_double_lt(evaluate(model, means, small, SN_ABLATE_CIRCUIT, develop).loss, 0.2);
    ck_assert_uint_gt(sn_circuit_node_count(grown), 3);
    ck_assert_uint_le(sn_circuit_node_count(grown), 6);
    ck_assert_double_lt(evaluate(model, means, grown, SN_ABLATE_REST, develop).loss, 0.15);
    ck_assert_double_gt(evaluate(model, means, grown, SN_ABLATE_CIRCUIT, develop).loss, LN_2 - 0.15);
    int backup = 0;
    for (size_t i = 0; i < sn_circuit_node_count(grown); i++)
        for (size_t j = 0; j < 3; j++)
            backup += strcmp(sn_circuit_node_name(grown, i), backup_nodes[j]) == 0;
    ck_assert_int_ge(backup, 1);
    sn_circuit_free(small);
    sn_circuit_free(grown);
    sn_task_free(task);
    sn_task_free(develop);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(a_model_that_cannot_is_refused)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 1);
    sn_means *means = random_means(model, 1);
    sn_task *task = random_task(20, 20, 23, 8);
    sn_circuit *circuit = (sn_circuit *)&context;
    ck_assert_int_eq(sn_circuit_extract(&circuit, context, model, means, task, NULL, NULL),
                     SN_ERROR_TARGET);
    ck_assert_ptr_null(circuit);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "the target is 0.15"));
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "full model has calibrated loss 0.6"));
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* At a target above chance nothing is needed, and what was found is no explanation. */
START_TEST(an_empty_circuit_is_refused)
{
    static const char *const methods[] = {"nodes", "edges"};
    sn_model *model = planted_model(context, 0);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 40, 3);
    for (int i = 0; i < 2; i++) {
        sn_options *options;
        sn_circuit *circuit = (sn_circuit *)&context;
        ok(sn_options_create(&options, context));
        ok(sn_options_set(options, context, "steps", 60));
        ok(sn_options_set(options, context, "grow", 0));
        ok(sn_options_set(options, context, "target_loss", 0.75));
        ok(sn_options_set_text(options, context, "method", methods[i]));
        ck_assert_int_eq(sn_circuit_extract(&circuit, context, model, means, task, NULL, options),
                         SN_ERROR_TARGET);
        ck_assert_ptr_null(circuit);
        const char *message = sn_context_message(context);
        ck_assert_msg(strstr(message, "the empty circuit") && strstr(message, "calibrated loss 0.69"),
                      "%s: %s", methods[i], message);
        sn_options_free(options);
    }
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

START_TEST(threads_do_not_change_the_circuit)
{
    sn_model *model = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 40, 3), *develop = planted_task(context, 40, 99);
    sn_circuit *one = extract(model, means, task, develop, 1, 1);
    ok(sn_context_set_threads(context, 3));
    sn_circuit *three = extract(model, means, task, develop, 1, 1);
    ck_assert_int_eq(memcmp(one->kept, three->kept, one->layout.n_nodes), 0);
    sn_circuit_free(one);
    sn_circuit_free(three);
    sn_task_free(task);
    sn_task_free(develop);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

static int stop_at(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)done, (void)total, (void)value;
    return strcmp(stage, payload) == 0;
}

START_TEST(cancelling_leaves_nothing_behind)
{
    static char *const stages[] = {"prune", "greedy", "grow"};
    sn_model *model = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 40, 3);
    sn_options *options;
    size_t before, after;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "steps", 60));
    ok(sn_options_set(options, context, "k_coef", 1e-3));
    for (size_t i = 0; i < 4; i++) { /* the first backward leaves the transposed orders with the model */
        sn_circuit *circuit;
        sn_context_memory(&before, NULL, context);
        sn_context_set_progress(context, stop_at, stages[i ? i - 1 : 0]);
        ck_assert_int_eq(sn_circuit_extract(&circuit, context, model, means, task, NULL, options),
                         SN_ERROR_CANCELLED);
        ck_assert_ptr_null(circuit);
        sn_context_memory(&after, NULL, context);
        ck_assert(i == 0 || before == after);
    }
    sn_context_set_progress(context, stop_at, "means");
    sn_means *none;
    sn_corpus *corpus = planted_corpus(context);
    ck_assert_int_eq(sn_means_create(&none, context, model, corpus, NULL), SN_ERROR_CANCELLED);
    ck_assert_ptr_null(none);
    sn_corpus_free(corpus);
    sn_options_free(options);
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
}
END_TEST

/* ---- out of memory */

static int find_a_circuit(sn_context *own, void *payload)
{
    sn_model *model = payload;
    sn_corpus *corpus = NULL;
    sn_means *means = NULL;
    sn_task *task = NULL;
    sn_options *options = NULL;
    sn_circuit *circuit = NULL, *control = NULL;
    int32_t tokens[12] = {0, 1, 3, 6, 2, 3, 7, 1, 0, 2, 3, 0};
    int status = sn_corpus_create(&corpus, own);
    if (status == SN_OK)
        status = sn_corpus_add_tokens(corpus, own, tokens, 12);
    if (status == SN_OK)
        status = sn_options_create(&options, own);
    if (status == SN_OK)
        status = sn_options_set(options, own, "tokens", 64);
    if (status == SN_OK)
        status = sn_means_create(&means, own, model, corpus, options);
    sn_options_free(options);
    options = NULL;
    if (status == SN_OK)
        status = sn_task_create(&task, own, "planted");
    for (int i = 0; status == SN_OK && i < 4; i++) {
        int32_t a[] = {6, 1, (int32_t)(6 + i % 2), 3}, b[] = {6, 2, (int32_t)(6 + i % 2), 3};
        status = sn_task_add_pair(task, own, a, 4, b, 4, 4, 5);
    }
    if (status == SN_OK)
        status = sn_options_create(&options, own);
    if (status == SN_OK)
        status = sn_options_set(options, own, "steps", 2);
    if (status == SN_OK)
        status = sn_options_set(options, own, "k_coef", 1e-3);
    if (status == SN_OK)
        status = sn_circuit_extract(&circuit, own, model, means, task, NULL, options);
    if (status == SN_OK)
        status = sn_circuit_create_random(&control, own, circuit, 3);
    if (status == SN_OK)
        status = sn_circuit_trace(circuit, own, means, NULL, task, NULL);
    sn_circuit_free(control);
    sn_circuit_free(circuit);
    sn_options_free(options);
    sn_task_free(task);
    sn_means_free(means);
    sn_corpus_free(corpus);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    sn_model *model = planted_model(context, 1);
    ck_assert_uint_gt(oom_loop(find_a_circuit, model, 1, long_tests() ? 400 : 40), 100);
    sn_model_free(model);
}
END_TEST

Suite *extract_suite(void);
Suite *extract_suite(void)
{
    const TTest *finding[] = {masks_fall_where_nothing_depends_on_them,
                              bisection_finds_the_smallest_number,
                              greedy_removal_leaves_what_is_needed,
                              elimination_leaves_what_is_needed,
                              tied_queries_and_keys_go_together,
                              a_step_is_cut_into_chunks,
                              tied_attributions_are_sums,
                              extraction_finds_the_planted_circuit,
                              masks_learn_from_the_whole_vocabulary,
                              a_curve_stays_in_its_room,
                              growing_takes_in_the_backup};
    const TTest *states[] = {a_model_that_cannot_is_refused, an_empty_circuit_is_refused,
                             cancelling_leaves_nothing_behind, every_refused_allocation_is_survived};
    const TTest *threads[] = {threads_do_not_change_the_circuit}; /* what ThreadSanitizer looks at */
    Suite *suite = suite_create("extract");
    add_cases(suite, "finding", finding, sizeof finding / sizeof *finding);
    add_cases(suite, "states", states, sizeof states / sizeof *states);
    add_cases(suite, "threads", threads, sizeof threads / sizeof *threads);
    return suite;
}
