/* Mean, zero and resample ablation of circuits of nodes and edges. */
#include "circuit/ablation.h"
#include "long.h"
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

static sn_corpus *random_corpus(int32_t vocabulary, unsigned seed)
{
    sn_corpus *corpus;
    ok(sn_corpus_create(&corpus, context));
    for (int document = 0; document < 6; document++) {
        int32_t tokens[60];
        for (int t = 0; t < 60; t++)
            tokens[t] = (int32_t)next_random(&seed) % vocabulary;
        ok(sn_corpus_add_tokens(corpus, context, tokens, 60));
    }
    return corpus;
}

static sn_ablation *make_ablation(sn_model *model, const sn_means *means, const sn_corpus *corpus,
                                  const char *kind, const char *together, double samples, double draws)
{
    sn_options *options;
    sn_ablation *ablation;
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "kind", kind));
    if (together) {
        ok(sn_options_set_text(options, context, "together", together));
        ok(sn_options_set(options, context, "samples", samples));
        ok(sn_options_set(options, context, "draws", draws));
        ok(sn_options_set(options, context, "seed", 4));
    }
    ok(sn_ablation_create(&ablation, context, model, means, corpus, options));
    sn_options_free(options);
    return ablation;
}

static sn_ablation_result evaluate_ablation(sn_model *model, const sn_ablation *ablation,
                                            const sn_circuit *circuit, int ablate, const sn_task *task)
{
    sn_ablation_result result = {.struct_size = sizeof result};
    ok(sn_evaluate_ablation(&result, NULL, 0, NULL, context, model, ablation, circuit, ablate, task,
                            task));
    return result;
}

/* Random nodes, and of their edges each with a chance of `percent` in a hundred (100: no edge is cut).
 */
static sn_circuit *random_circuit(sn_model *model, unsigned percent, unsigned seed)
{
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "random"));
    size_t n = circuit->layout.n_nodes, n_edges = edge_count(model);
    unsigned char *kept = malloc(n), *kept_edges = malloc(n_edges);
    random_nodes(kept, n, 60, seed);
    random_nodes(kept_edges, n_edges, percent, seed + 1);
    ok(circuit_set_edges(circuit, context, kept, percent < 100 ? kept_edges : NULL));
    free(kept);
    free(kept_edges);
    return circuit;
}

static void assert_same(sn_ablation_result a, sn_evaluation b, double tolerance)
{
    ck_assert_uint_eq(a.n_pairs, b.n_pairs);
    ck_assert_uint_eq(a.n_draws, 1);
    ck_assert_msg(fabs(a.raw_loss - b.raw_loss) <= tolerance, "%.9g and %.9g", a.raw_loss, b.raw_loss);
    ck_assert(fabs(a.loss - b.loss) <= tolerance && fabs(a.scale - b.scale) <= 20 * tolerance);
    ck_assert(a.raw_accuracy == b.raw_accuracy && a.raw_loss_spread == 0 && a.loss_spread == 0);
}

/* Against sn_evaluate with the means that each kind stands for: a single sample is a constant. */
START_TEST(constants_are_those_of_evaluate)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_means *means = random_means(model, 3), *zeros, *sample;
    sn_corpus *corpus = random_corpus(23, 8);
    sn_task *task = random_task(9, 12, 11, 6);
    ok(means_create_values(&zeros, context, model, NULL));
    sn_ablation *mean = make_ablation(model, means, NULL, "mean", NULL, 0, 0);
    sn_ablation *zero = make_ablation(model, NULL, NULL, "zero", NULL, 0, 0);
    sn_ablation *one = make_ablation(model, NULL, corpus, "resample", "token", 1, 1);
    ok(means_create_values(&sample, context, model, one->samples));
    for (unsigned percent = 70; percent <= 100; percent += 30) {
        sn_circuit *circuit = random_circuit(model, percent, 5);
        for (int ablate = SN_ABLATE_NOTHING; ablate <= SN_ABLATE_EVERYTHING; ablate++) {
            sn_evaluation by_means = evaluate(model, means, circuit, ablate, task);
            sn_evaluation by_zeros = evaluate(model, zeros, circuit, ablate, task);
            sn_evaluation by_sample = evaluate(model, sample, circuit, ablate, task);
            assert_same(evaluate_ablation(model, mean, circuit, ablate, task), by_means, 0);
            assert_same(evaluate_ablation(model, zero, circuit, ablate, task), by_zeros, 0);
            assert_same(evaluate_ablation(model, one, circuit, ablate, task), by_sample, 1e-5);
            ck_assert(ablate == SN_ABLATE_NOTHING || by_sample.raw_loss != by_zeros.raw_loss);
        }
        sn_circuit_free(circuit);
    }
    sn_ablation_free(mean);
    sn_ablation_free(zero);
    sn_ablation_free(one);
    sn_means_free(means);
    sn_means_free(zeros);
    sn_means_free(sample);
    sn_corpus_free(corpus);
    sn_task_free(task);
    sn_model_free(model);
}
END_TEST

/* What a sample holds is what the sites show at one token of the corpus, all sites at the same token. */
START_TEST(samples_are_activations_of_the_corpus)
{
    sn_model *model = strong_model(SMOOTH_CONFIG, 6);
    sn_corpus *corpus = random_corpus(11, 8);
    sn_ablation *ablation = make_ablation(model, NULL, corpus, "resample", "token", 9, 1);
    const struct node_layout *layout = &ablation->means->layout;
    sn_session *session;
    ok(sn_session_create(&session, context, model, NULL));
    for (size_t s = 0; s < sn_model_site_count(model); s++)
        ok(sn_session_record(session, sn_model_site_name(model, s)));
    for (size_t sample = 0; sample < 9; sample++) {
        const float *values = ablation->samples + sample * means_size(ablation->means);
        size_t found = 0;
        for (size_t start = 0; start < 6 * 60 && !found; start++) { /* of a window of 40 */
            size_t n_tokens, document = start / 60, first = start % 60;
            const int32_t *tokens = sn_corpus_tokens(&n_tokens, corpus, document);
            size_t n = n_tokens - first < 40 ? n_tokens - first : 40, offsets[] = {0, n};
            ok(sn_session_forward(session, tokens + first, offsets, 1));
            float *rows = malloc(n * 64 * sizeof *rows);
            for (size_t t = 0; t < n && !found; t++) {
                found = 1;
                for (size_t s = 0; s < layout->n_sites && found; s++) {
                    size_t needed, width = layout->sites[s].width;
                    ok(sn_session_activations(rows, n * 64, &needed, session,
                                              sn_model_site_name(model, layout->sites[s].site)));
                    for (size_t c = 0; c < width; c++)
                        found = found &&
                                fabsf(rows[t * width + c] - values[layout->sites[s].first + c]) < 1e-5f;
                }
            }
            free(rows);
        }
        ck_assert_msg(found, "sample %zu stands nowhere in the corpus", sample);
    }
    sn_session_free(session);
    sn_ablation_free(ablation);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

/* One prompt by the public interventions, with the values that were drawn for it. */
static double reference_difference(sn_session *session, const sn_ablation *ablation,
                                   const unsigned char *kept, uint64_t draw, size_t pair,
                                   const int32_t *tokens, size_t n, const int32_t *targets)
{
    const struct node_layout *layout = &ablation->means->layout;
    for (size_t s = 0; s < layout->n_sites; s++) {
        const struct node_site *site = &layout->sites[s];
        size_t channels[64], n_channels = 0;
        float *values = malloc(n * 64 * sizeof *values);
        for (size_t c = 0; c < site->width; c++)
            if (!kept[site->first + c])
                channels[n_channels++] = c;
        for (size_t t = 0; t < n; t++) {
            size_t sample = ablation_pick(ablation, draw, 0, pair, t, site->site);
            for (size_t c = 0; c < n_channels; c++)
                values[t * n_channels + c] =
                    ablation->samples[sample * means_size(ablation->means) + site->first + channels[c]];
        }
        if (n_channels)
            ok(sn_session_intervene(session, sn_model_site_name(session_model(session), site->site),
                                    SN_SET, channels, n_channels, values, n * n_channels, NULL, 0));
        free(values);
    }
    size_t offsets[] = {0, n}, last = n - 1, needed;
    float logits[64];
    ok(sn_session_select_logits(session, &last, 1));
    ok(sn_session_forward(session, tokens, offsets, 1));
    ok(sn_session_logits(logits, 64, &needed, session));
    ok(sn_session_clear_interventions(session));
    return (double)logits[targets[0]] - (double)logits[targets[1]];
}

START_TEST(resampled_nodes_match_public_interventions)
{
    static const char *const configs[] = {SMOOTH_CONFIG, SPARSE_CONFIG};
    for (int i = 0; i < 2; i++) {
        sn_model *model = strong_model(configs[i], 8);
        sn_corpus *corpus = random_corpus(11, 8);
        sn_task *task = random_task(40, 30, 11, 6); /* more tokens than one chunk has */
        sn_ablation *ablation = make_ablation(model, NULL, corpus, "resample", "token", 20, 3);
        sn_circuit *circuit = random_circuit(model, 100, 5);
        sn_session *session;
        sn_ablation_result result = {.struct_size = sizeof result};
        double raw_losses[3], mean = 0, squares = 0;
        size_t needed;
        ok(sn_evaluate_ablation(&result, raw_losses, 3, &needed, context, model, ablation, circuit,
                                SN_ABLATE_REST, task, task));
        ck_assert_uint_eq(needed, 3);
        ok(sn_session_create(&session, context, model, NULL));
        for (uint64_t draw = 0; draw < 3; draw++) {
            double loss = 0;
            for (size_t pair = 0; pair < 40; pair++) {
                const int32_t *prompts[2];
                size_t n[2];
                int32_t targets[2];
                ok(sn_task_pair(&prompts[0], &n[0], &prompts[1], &n[1], &targets[0], &targets[1], task,
                                pair));
                for (int j = 0; j < 2; j++) {
                    double difference = reference_difference(session, ablation, circuit->kept, draw,
                                                             pair, prompts[j], n[j], targets);
                    loss += log1p(exp(j ? difference : -difference)) / 80;
                }
            }
            ck_assert_msg(fabs(loss - raw_losses[draw]) < 1e-4, "draw %d: %g by hand, %g", (int)draw,
                          loss, raw_losses[draw]);
            mean += loss / 3;
            squares += raw_losses[draw] * raw_losses[draw];
        }
        ck_assert(fabs(mean - result.raw_loss) < 1e-4);
        double spread = sqrt((squares - 3 * result.raw_loss * result.raw_loss) / 2);
        ck_assert(spread > 1e-4 && fabs(spread - result.raw_loss_spread) < 1e-6);
        sn_session_free(session);
        sn_circuit_free(circuit);
        sn_ablation_free(ablation);
        sn_task_free(task);
        sn_corpus_free(corpus);
        sn_model_free(model);
    }
}
END_TEST

/* All edges out of some reads and neurons are cut: the same draws as when these nodes are ablated. */
START_TEST(cut_edges_carry_what_their_sources_would)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_corpus *corpus = random_corpus(23, 8);
    sn_task *task = random_task(20, 12, 11, 6);
    sn_circuit *nodes, *edges;
    ok(sn_circuit_create(&nodes, context, model, "nodes"));
    ok(sn_circuit_create(&edges, context, model, "edges"));
    const struct node_layout *layout = &nodes->layout;
    size_t n = layout->n_nodes, n_edges = 0;
    unsigned char *kept = malloc(n), *all = malloc(n), *kept_edges = malloc(edge_count(model));
    memset(all, 1, n);
    memset(kept_edges, 1, edge_count(model));
    memset(kept, 1, n);
    for (size_t s = 0; s < layout->n_sites; s++) {
        size_t kind = layout->sites[s].site % SITES_PER_LAYER;
        if (kind == SITE_ATTN_ACT_IN || kind == SITE_MLP_ACT_IN || kind == SITE_MLP_POST_ACT)
            random_nodes(kept + layout->sites[s].first, layout->sites[s].width, 50, (unsigned)s);
    }
    for (size_t layer = 0; layer < model->config.n_layer; layer++) {
        struct edge_part parts[PARTS_PER_LAYER];
        edge_parts(parts, &n_edges, model, layout, layer);
        for (size_t p = 0; p < PARTS_PER_LAYER; p++)
            for (size_t r = 0; r < parts[p].n_rows; r++)
                for (size_t i = edge_row(&parts[p], parts[p].first_row + r);
                     i < edge_row(&parts[p], parts[p].first_row + r + 1); i++)
                    kept_edges[parts[p].first + i - parts[p].first_value] =
                        kept[parts[p].from + edge_column(&parts[p], parts[p].first_row + r, i)];
    }
    ok(circuit_set_nodes(nodes, context, kept));
    ok(circuit_set_edges(edges, context, all, kept_edges));
    static const char *const together[] = {"token", "prompt"};
    double losses[2];
    for (int i = 0; i < 2; i++) {
        sn_ablation *ablation = make_ablation(model, NULL, corpus, "resample", together[i], 50, 2);
        sn_ablation_result a = evaluate_ablation(model, ablation, nodes, SN_ABLATE_REST, task);
        sn_ablation_result b = evaluate_ablation(model, ablation, edges, SN_ABLATE_REST, task);
        ck_assert_msg(fabs(a.raw_loss - b.raw_loss) < 1e-5, "%g and %g", a.raw_loss, b.raw_loss);
        ck_assert(a.raw_loss_spread > 0 && fabs(a.raw_loss_spread - b.raw_loss_spread) < 1e-5);
        losses[i] = a.raw_loss;
        sn_ablation_free(ablation);
    }
    ck_assert(fabs(losses[0] - losses[1]) > 1e-3);
    free(kept);
    free(all);
    free(kept_edges);
    sn_circuit_free(nodes);
    sn_circuit_free(edges);
    sn_task_free(task);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

static sn_circuit *named_circuit(sn_model *model, const char *const *names)
{
    sn_circuit *circuit;
    ok(sn_circuit_create(&circuit, context, model, "named"));
    for (size_t i = 0; i < PLANTED_NODES; i++)
        ok(sn_circuit_add_node(circuit, context, names[i]));
    return circuit;
}

/* The mean hides what the backup path carries; draws of it do not. */
START_TEST(resampling_is_harder_than_the_mean)
{
    sn_model *model = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_corpus *corpus = planted_corpus(context);
    sn_task *task = planted_task(context, 40, 3);
    sn_circuit *circuit = named_circuit(model, planted_nodes);
    sn_ablation *mean = make_ablation(model, means, NULL, "mean", NULL, 0, 0);
    sn_ablation *draws = make_ablation(model, NULL, corpus, "resample", "prompt", 200, 16);
    sn_ablation_result by_mean = evaluate_ablation(model, mean, circuit, SN_ABLATE_REST, task);
    sn_ablation_result drawn = evaluate_ablation(model, draws, circuit, SN_ABLATE_REST, task);
    ck_assert_msg(drawn.raw_loss > by_mean.raw_loss + 0.02, "%g against %g", drawn.raw_loss,
                  by_mean.raw_loss);
    ck_assert(drawn.raw_loss_spread > 0 && drawn.raw_accuracy <= by_mean.raw_accuracy);
    /* without backup nothing outside the circuit bears on the task but through norms */
    sn_model *plain = planted_model(context, 0);
    sn_circuit *whole = named_circuit(plain, planted_nodes);
    sn_ablation *plain_draws = make_ablation(plain, NULL, corpus, "resample", "prompt", 200, 16);
    ck_assert(evaluate_ablation(plain, plain_draws, whole, SN_ABLATE_REST, task).raw_loss < 0.3);
    sn_ablation_result without = evaluate_ablation(plain, plain_draws, whole, SN_ABLATE_CIRCUIT, task);
    ck_assert_msg(without.loss > 0.6 && without.raw_accuracy < 0.65, "%g", without.loss);
    sn_ablation_free(mean);
    sn_ablation_free(draws);
    sn_ablation_free(plain_draws);
    sn_circuit_free(circuit);
    sn_circuit_free(whole);
    sn_task_free(task);
    sn_corpus_free(corpus);
    sn_means_free(means);
    sn_model_free(model);
    sn_model_free(plain);
}
END_TEST

static void refused(int status, const char *words)
{
    ck_assert_int_eq(status, SN_ERROR_ARGUMENT);
    ck_assert_msg(strstr(sn_context_message(context), words) != NULL, "%s", sn_context_message(context));
}

START_TEST(bad_arguments_are_named)
{
    sn_model *model = planted_model(context, 0), *other = planted_model(context, 1);
    sn_means *means = planted_means(context, model);
    sn_task *task = planted_task(context, 4, 3), *empty;
    sn_circuit *circuit = named_circuit(model, planted_nodes),
               *foreign = named_circuit(other, planted_nodes);
    sn_ablation *ablation;
    sn_options *options;
    ok(sn_task_create(&empty, context, "empty"));
    refused(sn_ablation_create(&ablation, context, NULL, means, NULL, NULL), "model is NULL");
    refused(sn_ablation_create(&ablation, context, model, NULL, NULL, NULL), "means is NULL");
    refused(sn_ablation_create(&ablation, context, other, means, NULL, NULL), "another model");
    ck_assert_ptr_null(ablation);
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "kind", "resample"));
    refused(sn_ablation_create(&ablation, context, model, means, NULL, options), "corpus is NULL");
    sn_corpus *corpus = planted_corpus(context);
    ok(sn_options_set(options, context, "window", 17));
    refused(sn_ablation_create(&ablation, context, model, means, corpus, options), "window is 17");
    ok(sn_ablation_create(&ablation, context, model, means, NULL, NULL));
    ck_assert_uint_eq(sn_ablation_draw_count(ablation), 1);
    sn_ablation_result result = {.struct_size = sizeof result};
#define EVALUATE(model, ablation, circuit, ablate, fit, task)                                           \
    sn_evaluate_ablation(&result, NULL, 0, NULL, context, model, ablation, circuit, ablate, fit, task)
    refused(EVALUATE(NULL, ablation, circuit, SN_ABLATE_REST, task, task), "model is NULL");
    refused(EVALUATE(model, NULL, circuit, SN_ABLATE_REST, task, task), "ablation is NULL");
    refused(EVALUATE(model, ablation, NULL, SN_ABLATE_REST, task, task), "circuit is NULL");
    refused(EVALUATE(model, ablation, foreign, SN_ABLATE_REST, task, task), "another model");
    refused(EVALUATE(other, ablation, foreign, SN_ABLATE_REST, task, task), "ablation belongs");
    refused(EVALUATE(model, ablation, circuit, SN_ABLATE_EDGES + 1, task, task), "ablate is 5");
    refused(EVALUATE(model, ablation, circuit, SN_ABLATE_REST, empty, task), "no pairs");
    refused(EVALUATE(model, ablation, circuit, SN_ABLATE_REST, task, NULL), "task is NULL");
    result.struct_size = 3;
    refused(EVALUATE(model, ablation, circuit, SN_ABLATE_REST, task, task), "struct_size 3");
    sn_options_free(options);
    sn_ablation_free(ablation);
    sn_ablation_free(NULL);
    sn_circuit_free(circuit);
    sn_circuit_free(foreign);
    sn_corpus_free(corpus);
    sn_task_free(task);
    sn_task_free(empty);
    sn_means_free(means);
    sn_model_free(model);
    sn_model_free(other);
}
END_TEST

START_TEST(threads_do_not_change_the_draws)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_corpus *corpus = random_corpus(23, 8);
    sn_task *task = random_task(30, 30, 11, 8);
    for (unsigned percent = 70; percent <= 100; percent += 30) {
        sn_circuit *circuit = random_circuit(model, percent, 5);
        sn_ablation_result results[2];
        for (int i = 0; i < 2; i++) {
            ok(sn_context_set_threads(context, i ? 3 : 1));
            sn_ablation *ablation = make_ablation(model, NULL, corpus, "resample", "token", 100, 2);
            results[i] = evaluate_ablation(model, ablation, circuit, SN_ABLATE_REST, task);
            sn_ablation_free(ablation);
        }
        ck_assert_int_eq(memcmp(&results[0], &results[1], sizeof results[0]), 0);
        sn_circuit_free(circuit);
    }
    sn_task_free(task);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

struct attempt {
    sn_model *model;
    sn_corpus *corpus;
    sn_task *task;
    sn_circuit *circuits[2];
};

static int resample(sn_context *own, void *payload)
{
    struct attempt *attempt = payload;
    sn_options *options = NULL;
    sn_ablation *ablation = NULL;
    sn_ablation_result result = {.struct_size = sizeof result};
    int status = sn_options_create(&options, own);
    if (status == SN_OK)
        status = sn_options_set_text(options, own, "kind", "resample");
    if (status == SN_OK)
        status = sn_options_set(options, own, "samples", 6);
    if (status == SN_OK)
        status = sn_options_set(options, own, "draws", 2);
    if (status == SN_OK)
        status = sn_ablation_create(&ablation, own, attempt->model, NULL, attempt->corpus, options);
    for (int i = 0; status == SN_OK && i < 2; i++)
        status =
            sn_evaluate_ablation(&result, NULL, 0, NULL, own, attempt->model, ablation,
                                 attempt->circuits[i], SN_ABLATE_REST, attempt->task, attempt->task);
    sn_ablation_free(ablation);
    sn_options_free(options);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    sn_model *model = planted_model(context, 0);
    struct attempt attempt = {model,
                              planted_corpus(context),
                              planted_task(context, 4, 3),
                              {random_circuit(model, 100, 3), random_circuit(model, 50, 4)}};
    ck_assert_uint_gt(oom_loop(resample, &attempt, 1, long_tests() ? 0 : 40), 50);
    for (int i = 0; i < 2; i++)
        sn_circuit_free(attempt.circuits[i]);
    sn_task_free(attempt.task);
    sn_corpus_free(attempt.corpus);
    sn_model_free(model);
}
END_TEST

Suite *ablation_suite(void);
Suite *ablation_suite(void)
{
    const TTest *cases[] = {constants_are_those_of_evaluate,
                            samples_are_activations_of_the_corpus,
                            resampled_nodes_match_public_interventions,
                            cut_edges_carry_what_their_sources_would,
                            resampling_is_harder_than_the_mean,
                            bad_arguments_are_named,
                            every_refused_allocation_is_survived};
    const TTest *threads[] = {threads_do_not_change_the_draws}; /* what ThreadSanitizer looks at */
    Suite *suite = suite_create("ablation");
    add_cases(suite, "ablation", cases, sizeof cases / sizeof *cases);
    add_cases(suite, "threads", threads, sizeof threads / sizeof *threads);
    return suite;
}
