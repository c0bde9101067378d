/* What nodes do over a corpus, against values gathered by hand. */
#include "circuit/contexts.h"
#include "circuit/histogram.h"
#include "oom.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

/* ---- the histogram */

START_TEST(histogram_does_not_depend_on_the_order)
{
    enum { N = 3000 };
    static float values[N];
    unsigned seed = 3;
    for (int scale = 0; scale < 3; scale++)
        for (size_t bins = 2; bins <= 512; bins *= 16) {
            uint64_t counts[2][512] = {{0}};
            struct histogram histograms[2] = {{.counts = counts[0], .capacity = bins},
                                              {.counts = counts[1], .capacity = bins}};
            for (size_t i = 0; i < N; i++) {
                values[i] = (float)(next_random(&seed) % 20001) * 1e-4f - (scale == 1 ? 0 : 0.7f);
                if (scale == 2)
                    values[i] = ldexpf(values[i] + 1e-3f, (int)(next_random(&seed) % 200) - 100);
                values[i] += values[i] == 0;
            }
            for (size_t i = 0; i < N; i++) {
                histogram_add(&histograms[0], values[i]);
                histogram_add(&histograms[1], values[N - 1 - i]);
            }
            ck_assert_int_eq(histograms[0].exponent, histograms[1].exponent);
            ck_assert_int_eq(histograms[0].first, histograms[1].first);
            ck_assert_uint_eq(histograms[0].n_bins, histograms[1].n_bins);
            ck_assert_int_eq(memcmp(counts[0], counts[1], sizeof counts[0]), 0);
            ck_assert(histograms[0].n_bins > bins / 2 - (bins == 2) && histograms[0].n_bins <= bins);
            for (size_t bin = 0; bin < histograms[0].n_bins; bin++) {
                uint64_t expected = 0;
                for (size_t i = 0; i < N; i++)
                    expected += histogram_edge(&histograms[0], bin) <= (double)values[i] &&
                                (double)values[i] < histogram_edge(&histograms[0], bin + 1);
                ck_assert_uint_eq(counts[0][bin], expected);
            }
        }
}
END_TEST

START_TEST(histogram_of_few_values)
{
    static const float cases[][3] = {{1e-38f, 1e38f, -1e38f},
                                     {1, 1.0000001f, 1},
                                     {-5, -5, -5},
                                     {1e38f, 1e-45f, 1e-45f},
                                     {1e-45f, -1e-45f, 2}};
    for (size_t i = 0; i < 5; i++) {
        uint64_t counts[8] = {0}, total = 0;
        struct histogram histogram = {.counts = counts, .capacity = 8};
        for (size_t j = 0; j < 3; j++)
            histogram_add(&histogram, cases[i][j]);
        for (size_t bin = 0; bin < histogram.n_bins; bin++)
            total += counts[bin];
        ck_assert_uint_eq(total, 3);
        for (size_t j = 0; j < 3; j++)
            ck_assert(histogram_edge(&histogram, 0) <= (double)cases[i][j] &&
                      (double)cases[i][j] < histogram_edge(&histogram, histogram.n_bins));
    }
}
END_TEST

/* ---- the walk */

START_TEST(a_walk_meets_every_token_once)
{
    sn_corpus *corpus;
    sn_tokenizer *tokenizer;
    static const char text[] =
        "x = 1\nfor i in range(10):\n    print(i)\n\nclass A:\n    pass\n"
        "long = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]\n";
    ok(sn_corpus_create(&corpus, context));
    for (size_t i = 0; i < 4; i++)
        ok(sn_corpus_add_text(corpus, context, text, i ? sizeof text - 1 - 17 * i : 0));
    ok(sn_tokenizer_load(&tokenizer, context, "tests/data/tokenizer"));
    ok(sn_corpus_tokenize(corpus, context, tokenizer));
    for (size_t window = 1; window < 40; window++) {
        struct corpus_walk walk = {.corpus = corpus, .window = window};
        size_t total = 0, document = 0, next = 0, at_lines = 0;
        while (corpus_walk_next(&walk)) {
            if (walk.document != document)
                next = 0;
            document = walk.document;
            ck_assert_uint_eq(walk.start, next);
            ck_assert(walk.length >= 1 && walk.length <= window);
            next = walk.start + walk.length;
            total += walk.length;
            const struct document *d = &corpus->documents[document];
            size_t latest = walk.start + window; /* the last line's start in the window's second half */
            for (size_t i = 0; i < d->n_starts; i++)
                if (d->starts[i] > walk.start + window / 2 && d->starts[i] <= walk.start + window) {
                    latest = d->starts[i];
                    at_lines++;
                }
            ck_assert_uint_eq(next, d->n_tokens - walk.start <= window ? d->n_tokens : latest);
        }
        ck_assert_uint_eq(total, sn_corpus_token_count(corpus));
        ck_assert(window < 10 || at_lines > 0);
    }
    sn_tokenizer_free(tokenizer);
    sn_corpus_free(corpus);
}
END_TEST

/* ---- against values gathered by hand */

#define N_DOCUMENTS 12
#define WINDOW 90

static const char *const nodes[] = {"0.attn.act_in.3",      "1.attn.q.head2.ch1", "1.mlp.post_act.4",
                                    "1.attn.resid_delta.5", "0.mlp.act_in.20",    "0.attn.act_in.3"};
#define N_NODES (sizeof nodes / sizeof *nodes)

static sn_corpus *random_corpus(size_t n_documents)
{
    sn_corpus *corpus;
    unsigned seed = 21;
    ok(sn_corpus_create(&corpus, context));
    for (size_t d = 0; d < n_documents; d++) {
        int32_t tokens[200];
        size_t n = 40 + next_random(&seed) % 160;
        for (size_t t = 0; t < n; t++)
            tokens[t] = (int32_t)(next_random(&seed) % 23);
        ok(sn_corpus_add_tokens(corpus, context, tokens, n));
    }
    return corpus;
}

/* A node's values over a whole document, windows of WINDOW from its beginning on. */
static void gather(float *values, sn_model *model, const sn_corpus *corpus, size_t document,
                   const char *node)
{
    static float site_values[WINDOW * 64];
    size_t n, site = 0, channel = 0, needed;
    const int32_t *tokens = sn_corpus_tokens(&n, corpus, document);
    sn_session *session;
    ck_assert(node_find(&site, &channel, model, node));
    ok(sn_session_create(&session, context, model, NULL));
    ok(sn_session_record(session, sn_model_site_name(model, site)));
    for (size_t first = 0; first < n; first += WINDOW) {
        size_t length = n - first < WINDOW ? n - first : WINDOW, offsets[] = {0, length};
        ok(sn_session_forward(session, tokens + first, offsets, 1));
        ok(sn_session_activations(site_values, WINDOW * 64, &needed, session,
                                  sn_model_site_name(model, site)));
        for (size_t t = 0; t < length; t++)
            values[first + t] = site_values[t * (needed / length) + channel];
    }
    sn_session_free(session);
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static sn_token_context context_of(const sn_evidence *evidence, size_t node, int kind, size_t index)
{
    sn_token_context result = {.struct_size = sizeof result};
    ok(sn_evidence_context(&result, evidence, node, kind, index));
    return result;
}

static void check_contexts(const sn_evidence *evidence, size_t node, const sn_corpus *corpus,
                           float (*values)[200], const float *sorted, size_t n_nonzero, int documents)
{
    for (int kind = SN_CONTEXT_TOP; kind <= SN_CONTEXT_QUANTILE; kind++) {
        size_t n = sn_evidence_context_count(evidence, node, kind);
        ck_assert_uint_eq(n, kind == SN_CONTEXT_QUANTILE ? 6 : kind == SN_CONTEXT_TOP ? 3 : 2);
        for (size_t i = 0; i < n; i++) {
            sn_token_context c = context_of(evidence, node, kind, i);
            size_t n_tokens, first = c.position - c.at;
            const int32_t *tokens = sn_corpus_tokens(&n_tokens, corpus, c.document);
            ck_assert(c.n_tokens <= 8 && c.at <= 5 && c.at < c.n_tokens);
            ck_assert_uint_le(first + c.n_tokens, n_tokens);
            ck_assert_int_eq(memcmp(c.tokens, tokens + first, c.n_tokens * sizeof *tokens), 0);
            ck_assert_int_eq(
                memcmp(c.activations, values[c.document] + first, c.n_tokens * sizeof(float)), 0);
            ck_assert(c.value == (double)c.activations[c.at] && c.value != 0);
            /* windows do not reach over their ends */
            ck_assert_uint_eq(first / WINDOW, (first + c.n_tokens - 1) / WINDOW);
            ck_assert(c.n_tokens == 8 || first % WINDOW == 0 || (first + c.n_tokens) % WINDOW == 0 ||
                      first + c.n_tokens == n_tokens);
            for (size_t j = kind == SN_CONTEXT_QUANTILE ? i / 2 * 2 : 0; j < i; j++) {
                sn_token_context other = context_of(evidence, node, kind, j);
                if (kind != SN_CONTEXT_QUANTILE)
                    ck_assert(kind == SN_CONTEXT_TOP ? other.value >= c.value : other.value <= c.value);
                ck_assert(other.document != c.document ||
                          (!documents && (first >= other.position - other.at + other.n_tokens ||
                                          first + c.n_tokens <= other.position - other.at)));
            }
            if (kind != SN_CONTEXT_QUANTILE)
                continue;
            static const double asked[] = {0.1, 0.5, 1};
            size_t below = 0;
            while (below < n_nonzero && (double)sorted[below] < c.value)
                below++;
            ck_assert(c.quantile == asked[i / 2]);
            ck_assert_msg(fabs((double)below / (double)n_nonzero - c.quantile) < 0.12, "%s: %g at %g",
                          nodes[node], c.quantile, (double)below / (double)n_nonzero);
        }
    }
    ck_assert(context_of(evidence, node, SN_CONTEXT_TOP, 0).value == (double)sorted[n_nonzero - 1]);
    ck_assert(context_of(evidence, node, SN_CONTEXT_BOTTOM, 0).value == (double)sorted[0]);
}

static void check_node(const sn_evidence *evidence, size_t node, sn_model *model,
                       const sn_corpus *corpus, int documents)
{
    static float values[24][200], sorted[24 * 200];
    size_t n_all = 0, n_nonzero = 0, n_bins, counted = 0;
    double sum = 0;
    for (size_t d = 0; d < sn_corpus_count(corpus); d++) {
        size_t n;
        sn_corpus_tokens(&n, corpus, d);
        gather(values[d], model, corpus, d, nodes[node]);
        n_all += n;
        for (size_t t = 0; t < n; t++) {
            sum += (double)values[d][t];
            if (values[d][t] != 0)
                sorted[n_nonzero++] = values[d][t];
        }
    }
    qsort(sorted, n_nonzero, sizeof *sorted, compare_floats);
    sn_evidence_summary summary = {.struct_size = sizeof summary};
    ok(sn_evidence_summarize(&summary, evidence, node));
    ck_assert_uint_eq(summary.n_tokens, n_all);
    ck_assert_uint_eq(summary.n_zero, n_all - n_nonzero);
    ck_assert(fabs(summary.mean - sum / (double)n_all) < 1e-9);
    ck_assert(summary.maximum == fmax((double)sorted[n_nonzero - 1], summary.n_zero ? 0 : -1e9));
    ck_assert(summary.minimum == fmin((double)sorted[0], summary.n_zero ? 0 : 1e9));
    double variance = 0;
    for (size_t i = 0; i < n_nonzero; i++)
        variance += ((double)sorted[i] - summary.mean) * ((double)sorted[i] - summary.mean);
    variance += (double)summary.n_zero * summary.mean * summary.mean;
    ck_assert(fabs(summary.deviation - sqrt(variance / (double)n_all)) < 1e-6);
    const double *edges;
    const uint64_t *counts;
    ok(sn_evidence_histogram(&edges, &counts, &n_bins, evidence, node));
    ck_assert(n_bins > 10 && n_bins <= 20);
    for (size_t bin = 0; bin < n_bins; bin++) {
        uint64_t expected = 0;
        for (size_t i = 0; i < n_nonzero; i++)
            expected += edges[bin] <= (double)sorted[i] && (double)sorted[i] < edges[bin + 1];
        ck_assert_uint_eq(counts[bin], expected);
        counted += counts[bin];
    }
    ck_assert_uint_eq(counted, n_nonzero);
    check_contexts(evidence, node, corpus, values, sorted, n_nonzero, documents);
}

static sn_options *test_options(sn_context *owner, double tokens)
{
    sn_options *options = NULL;
    if (sn_options_create(&options, owner) != SN_OK ||
        sn_options_set(options, owner, "tokens", tokens) != SN_OK ||
        sn_options_set(options, owner, "bins", 20) != SN_OK ||
        sn_options_set(options, owner, "top", 3) != SN_OK ||
        sn_options_set(options, owner, "bottom", 2) != SN_OK ||
        sn_options_set(options, owner, "before", 5) != SN_OK ||
        sn_options_set(options, owner, "after", 2) != SN_OK ||
        sn_options_set_text(options, owner, "quantiles", "0.1,.5,1") != SN_OK) {
        sn_options_free(options);
        return NULL;
    }
    return options;
}

START_TEST(what_nodes_do)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_options *options = test_options(context, 0);
    for (int documents = 0; documents < 2; documents++) {
        sn_corpus *corpus = random_corpus(documents ? 24 : 3);
        sn_evidence *evidence;
        ok(sn_evidence_create(&evidence, context, model, corpus, nodes, N_NODES, options));
        ck_assert_uint_eq(sn_evidence_count(evidence), N_NODES);
        for (size_t i = 0; i < N_NODES; i++) {
            ck_assert_str_eq(sn_evidence_node(evidence, i), nodes[i]);
            check_node(evidence, i, model, corpus, documents);
        }
        sn_evidence_free(evidence);
        sn_corpus_free(corpus);
    }
    sn_options_free(options);
    sn_model_free(model);
}
END_TEST

START_TEST(same_text_is_shown_once)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_corpus *corpus;
    sn_options *options = test_options(context, 0);
    sn_evidence *evidence;
    int32_t tokens[30];
    for (int t = 0; t < 30; t++)
        tokens[t] = t % 23;
    ok(sn_corpus_create(&corpus, context));
    for (int d = 0; d < 20; d++)
        ok(sn_corpus_add_tokens(corpus, context, tokens, 30));
    ok(sn_evidence_create(&evidence, context, model, corpus, nodes, 1, options));
    ck_assert_uint_eq(sn_evidence_context_count(evidence, 0, SN_CONTEXT_TOP), 3);
    for (size_t i = 1; i < 3; i++)
        ck_assert_uint_ne(context_of(evidence, 0, SN_CONTEXT_TOP, i).position,
                          context_of(evidence, 0, SN_CONTEXT_TOP, 0).position);
    sn_evidence_free(evidence);
    sn_options_free(options);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

/* Everything that an evidence says, as one checksum. */
static uint64_t sum_of(const sn_evidence *evidence)
{
    uint64_t sum = 1469598103934665603u;
#define MIX(pointer, size)                                                                              \
    for (size_t b = 0; b < (size); b++)                                                                 \
    sum = (sum ^ ((const unsigned char *)(pointer))[b]) * 1099511628211u
    for (size_t i = 0; i < sn_evidence_count(evidence); i++) {
        sn_evidence_summary summary = {.struct_size = sizeof summary};
        const uint64_t *counts;
        size_t n_bins;
        ok(sn_evidence_summarize(&summary, evidence, i));
        ok(sn_evidence_histogram(NULL, &counts, &n_bins, evidence, i));
        MIX(&summary, sizeof summary);
        MIX(counts, n_bins * sizeof *counts);
        for (int kind = 0; kind < 3; kind++)
            for (size_t c = 0; c < sn_evidence_context_count(evidence, i, kind); c++) {
                sn_token_context shown = context_of(evidence, i, kind, c);
                MIX(shown.activations, shown.n_tokens * sizeof(float));
                MIX(&shown.document, sizeof shown.document);
                MIX(&shown.position, sizeof shown.position);
            }
    }
    return sum;
}

START_TEST(threads_and_seeds)
{
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_corpus *corpus = random_corpus(N_DOCUMENTS);
    uint64_t sums[4];
    for (unsigned i = 0; i < 4; i++) { /* 2: four threads; 3: another seed */
        sn_options *options = test_options(context, 500);
        sn_evidence *evidence;
        sn_evidence_summary summary = {.struct_size = sizeof summary};
        ok(sn_options_set(options, context, "seed", i == 3 ? 8 : 7));
        ok(sn_context_set_threads(context, i == 2 ? 4 : 1));
        ok(sn_evidence_create(&evidence, context, model, corpus, nodes, N_NODES, options));
        ok(sn_evidence_summarize(&summary, evidence, 0));
        ck_assert(summary.n_tokens > 350 && summary.n_tokens < 750);
        sums[i] = sum_of(evidence);
        sn_evidence_free(evidence);
        sn_options_free(options);
    }
    ck_assert(sums[0] == sums[1] && sums[0] == sums[2] && sums[0] != sums[3]);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

struct stop {
    size_t calls, at;
};

static int refuse(const char *stage, size_t done, size_t total, double value, void *payload)
{
    struct stop *stop = payload;
    (void)value;
    ck_assert(strcmp(stage, "evidence") == 0 && done <= total);
    return ++stop->calls == stop->at;
}

START_TEST(arguments)
{
    static const struct {
        const char *key, *text, *message;
        double value;
    } cases[] = {{"window", NULL, "window is 91, block_size 90", 91},
                 {"bins", NULL, "bins", 1},
                 {"quantiles", "0.5,1.5", "quantiles is \"0.5,1.5\"", 0},
                 {"quantiles", "0.5,", "quantiles", 0},
                 {"quantiles", "half", "quantiles", 0},
                 {"quantiles", "0.5;1", "quantiles", 0},
                 {"nothing", NULL, "nothing", 0}};
    sn_model *model = strong_model(SPARSE_CONFIG, 8);
    sn_corpus *corpus = random_corpus(N_DOCUMENTS), *empty;
    sn_evidence *evidence;
    static const char *const wrong[] = {"0.attn.act_in.3", "0.resid_mid.3"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sn_options *options;
        ok(sn_options_create(&options, context));
        ok(cases[i].text ? sn_options_set_text(options, context, cases[i].key, cases[i].text)
                         : sn_options_set(options, context, cases[i].key, cases[i].value));
        ck_assert_int_eq(sn_evidence_create(&evidence, context, model, corpus, nodes, 1, options),
                         SN_ERROR_ARGUMENT);
        ck_assert_msg(strstr(sn_context_message(context), cases[i].message) != NULL, "%s",
                      sn_context_message(context));
        sn_options_free(options);
    }
    ck_assert_int_eq(sn_evidence_create(&evidence, context, model, corpus, wrong, 2, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "nodes[1], \"0.resid_mid.3\""));
    ck_assert_int_eq(sn_evidence_create(&evidence, context, model, NULL, nodes, 1, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_evidence_create(&evidence, context, NULL, corpus, nodes, 1, NULL),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_evidence_create_circuit(&evidence, context, NULL, corpus, NULL),
                     SN_ERROR_ARGUMENT);
    ok(sn_corpus_create(&empty, context));
    ck_assert_int_eq(sn_evidence_create(&evidence, context, model, empty, nodes, 1, NULL),
                     SN_ERROR_STATE);
    ok(sn_corpus_add_text(empty, context, "x", 1));
    ck_assert_int_eq(sn_evidence_create(&evidence, context, model, empty, nodes, 1, NULL),
                     SN_ERROR_STATE);
    ck_assert_ptr_null(evidence);
    for (size_t at = 1; at <= 2; at++) {
        struct stop stop = {0, at};
        sn_context_set_progress(context, refuse, &stop);
        ck_assert_int_eq(sn_evidence_create(&evidence, context, model, corpus, nodes, 1, NULL),
                         SN_ERROR_CANCELLED);
    }
    sn_context_set_progress(context, NULL, NULL);
    ok(sn_evidence_create(&evidence, context, model, corpus, NULL, 0, NULL));
    ck_assert_uint_eq(sn_evidence_count(evidence), 0);
    ck_assert_ptr_null(sn_evidence_node(evidence, 0));
    sn_evidence_free(evidence);
    sn_evidence_free(NULL);
    sn_corpus_free(empty);
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

START_TEST(a_value_that_is_no_number)
{
    sn_model *model = planted_model(context, 0);
    sn_corpus *corpus = planted_corpus(context);
    sn_evidence *evidence;
    model->parameters[model->layers[0].ln_1].vector[0] = INFINITY;
    ck_assert_int_eq(sn_evidence_create(&evidence, context, model, corpus, planted_nodes, 1, NULL),
                     SN_ERROR_NUMERIC);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "not finite"));
    sn_corpus_free(corpus);
    sn_model_free(model);
}
END_TEST

struct subject {
    sn_circuit *circuit;
    sn_corpus *corpus;
};

static int attempt_evidence(sn_context *owner, void *payload)
{
    const struct subject *subject = payload;
    sn_evidence *evidence;
    sn_options *options = test_options(owner, 0);
    int status = options ? sn_evidence_create_circuit(&evidence, owner, subject->circuit,
                                                      subject->corpus, options)
                         : SN_ERROR_MEMORY;
    if (status == SN_OK) {
        ck_assert_uint_eq(sn_evidence_count(evidence), PLANTED_NODES);
        sn_evidence_free(evidence);
    }
    sn_options_free(options);
    return status;
}

START_TEST(no_memory)
{
    struct subject subject;
    sn_model *model = planted_model(context, 0);
    subject.corpus = planted_corpus(context);
    ok(sn_circuit_create(&subject.circuit, context, model, "c"));
    for (size_t i = 0; i < PLANTED_NODES; i++)
        ok(sn_circuit_add_node(subject.circuit, context, planted_nodes[i]));
    ck_assert_uint_gt(oom_loop(attempt_evidence, &subject, 1, 0), 30);
    sn_circuit_free(subject.circuit);
    sn_corpus_free(subject.corpus);
    sn_model_free(model);
}
END_TEST

Suite *evidence_suite(void);
Suite *evidence_suite(void)
{
    const TTest *parts[] = {histogram_does_not_depend_on_the_order, histogram_of_few_values,
                            a_walk_meets_every_token_once};
    const TTest *tests[] = {what_nodes_do, same_text_is_shown_once, arguments, a_value_that_is_no_number,
                            no_memory};
    const TTest *threads[] = {threads_and_seeds};
    Suite *suite = suite_create("evidence");
    add_cases(suite, "parts", parts, sizeof parts / sizeof *parts);
    add_cases(suite, "evidence", tests, sizeof tests / sizeof *tests);
    add_cases(suite, "threads", threads, sizeof threads / sizeof *threads);
    return suite;
}
