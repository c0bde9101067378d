/* The same bits on 1, 2, 3 and 8 threads and through a loop of the host's: what runs, what generates, what trains,
 * what finds circuits, what checks them and what makes tokens. Each work leaves a digest of all that it gave. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "circuit_cases.h"
#include "host_loop.h"
#include "temporary.h"

#define N_TOKENS 230
#define MAX_FLOATS ((size_t)1 << 16)

static int32_t tokens[N_TOKENS];
static const size_t offsets[] = {0, 70, 75, 160, N_TOKENS};
static float floats[MAX_FLOATS];
static struct temporary temporary;

/* Sparse, as training leaves it; of the same bits whoever made it, which the training below shows. */
static sn_model *model;
static sn_corpus *corpus;
static sn_task *task;

static sn_options *options_of(const char *text)
{
    sn_options *options;
    char copy[512], *state;
    snprintf(copy, sizeof copy, "%s", text);
    ok(sn_options_create(&options, context));
    for (char *word = strtok_r(copy, " ", &state); word; word = strtok_r(NULL, " ", &state)) {
        char *value = strchr(word, '='), *end;
        *value++ = '\0';
        double number = strtod(value, &end);
        ok(*end ? sn_options_set_text(options, context, word, value)
                : sn_options_set(options, context, word, number));
    }
    return options;
}

static sn_trainer *trained(const char *settings)
{
    sn_model *start = strong_model(SPARSE_CONFIG, 3);
    sn_options *options = options_of(settings);
    sn_trainer *trainer;
    ok(sn_trainer_create(&trainer, context, start, options));
    ok(sn_trainer_add_corpus(trainer, corpus, 0.7, 0));
    ok(sn_trainer_add_task(trainer, task, 0.3));
    ok(sn_trainer_run(trainer, 0));
    sn_options_free(options);
    sn_model_free(start);
    return trainer;
}

static void set_up_all(void)
{
    unsigned seed = 11;
    set_up();
    temporary_create(&temporary);
    for (size_t i = 0; i < N_TOKENS; i++)
        tokens[i] = (int32_t)next_random(&seed) % 23;
    ok(sn_corpus_create(&corpus, context));
    for (size_t i = 0; i < 4; i++)
        ok(sn_corpus_add_tokens(corpus, context, tokens + offsets[i], offsets[i + 1] - offsets[i]));
    task = random_task(24, 40, 23, 5);
    sn_trainer *trainer = trained("steps=10 batch=6 density=0.3 density_bias=1 learning_rate=0.003");
    ok(sn_trainer_snapshot(&model, trainer));
    sn_trainer_free(trainer);
}

static void tear_down_all(void)
{
    sn_task_free(task);
    sn_corpus_free(corpus);
    sn_model_free(model);
    temporary_remove(&temporary);
    tear_down();
}

/* ------------------------------------------------------------------------------- works */

/* n is looked at when the call that gave the status, another argument, has set it. */
static void mix_floats(uint64_t *hash, int status, const size_t *n)
{
    ok(status);
    ck_assert_uint_le(*n, MAX_FLOATS);
    mix(hash, floats, *n * sizeof *floats);
}

static void forward(uint64_t *hash, const char *settings)
{
    sn_options *options = options_of(settings);
    sn_session *session;
    size_t n, positions[] = {3, 69, 70, 100, 159, 229};
    double loss;
    ok(sn_session_create(&session, context, model, options));
    ok(sn_session_record(session, "1.mlp.post_act"));
    for (int run = 0; run < 2; run++) { /* all logits, then some */
        ok(sn_session_forward(session, tokens, offsets, 4));
        ok(sn_session_loss(&loss, session, tokens));
        mix(hash, &loss, sizeof loss);
        mix_floats(hash, sn_session_logits(floats, MAX_FLOATS, &n, session), &n);
        mix_floats(hash, sn_session_residual(floats, MAX_FLOATS, &n, session), &n);
        mix_floats(hash, sn_session_activations(floats, MAX_FLOATS, &n, session, "1.mlp.post_act"), &n);
        ok(sn_session_select_logits(session, positions, 6));
    }
    sn_session_free(session);
    sn_options_free(options);
}

static void gradients(uint64_t *hash, const char *settings)
{
    sn_options *options = options_of(settings);
    sn_session *session;
    size_t n;
    ok(sn_session_create(&session, context, model, options));
    ok(sn_session_record(session, "0.attn.v"));
    ok(sn_session_forward(session, tokens, offsets, 4));
    ok(sn_session_backward(session, tokens));
    for (size_t i = 0; i < sn_model_tensor_count(model); i++)
        if (model->parameters[i].trainable)
            mix_floats(
                hash,
                sn_session_gradient(floats, MAX_FLOATS, &n, session, sn_model_tensor_name(model, i)),
                &n);
    mix_floats(hash, sn_session_input_gradient(floats, MAX_FLOATS, &n, session), &n);
    mix_floats(hash, sn_session_site_gradient(floats, MAX_FLOATS, &n, session, "0.attn.v"), &n);
    sn_session_free(session);
    sn_options_free(options);
}

static void generation(uint64_t *hash, const char *settings)
{
    sn_options *options = options_of(settings);
    sn_generator *generator;
    size_t n;
    ok(sn_generator_create(&generator, context, model, options));
    ok(sn_generator_append(generator, tokens, 66));
    for (int i = 0; i < 20; i++) {
        int32_t token;
        ok(sn_generator_next(&token, generator));
        mix(hash, &token, sizeof token);
        mix_floats(hash, sn_generator_logits(floats, MAX_FLOATS, &n, generator), &n);
    }
    sn_generator_free(generator);
    sn_options_free(options);
}

static void training(uint64_t *hash, const char *settings)
{
    sn_trainer *trainer = trained(settings);
    double loss;
    ok(sn_trainer_validate(&loss, trainer, corpus, 7));
    mix(hash, &loss, sizeof loss);
    ok(sn_trainer_save(trainer, temporary_path(&temporary, "state")));
    mix_file(hash, temporary.path);
    sn_trainer_free(trainer);
}

/* A model that can do a task (planted.h), and what is needed to find out how. */
struct subject {
    sn_model *model;
    sn_corpus *corpus;
    sn_task *task, *develop;
    sn_means *means;
    sn_circuit *circuit;
};

static void mix_evaluation(uint64_t *hash, const struct subject *s, int ablate)
{
    sn_evaluation result;
    memset(&result, 0, sizeof result);
    result.struct_size = sizeof result;
    ok(sn_evaluate(&result, context, s->model, s->means, s->circuit, ablate, s->develop, s->task));
    mix(hash, &result, sizeof result);
}

static void mix_ablation(uint64_t *hash, const struct subject *s, const char *kind)
{
    sn_options *options = options_of(kind);
    sn_ablation *ablation;
    sn_ablation_result result;
    memset(&result, 0, sizeof result);
    result.struct_size = sizeof result;
    ok(sn_ablation_create(&ablation, context, s->model, s->means, s->corpus, options));
    ok(sn_evaluate_ablation(&result, NULL, 0, NULL, context, s->model, ablation, s->circuit,
                            SN_ABLATE_REST, s->develop, s->task));
    mix(hash, &result, sizeof result);
    sn_ablation_free(ablation);
    sn_options_free(options);
}

static void measure(uint64_t *hash, const struct subject *s)
{
    double loss;
    mix_evaluation(hash, s, SN_ABLATE_NOTHING);
    mix_evaluation(hash, s, SN_ABLATE_REST);
    mix_evaluation(hash, s, SN_ABLATE_CIRCUIT);
    mix_ablation(hash, s, "kind=mean");
    mix_ablation(hash, s, "kind=resample samples=64 draws=3");
    ok(sn_circuit_text_loss(&loss, context, s->model, s->means, s->circuit, SN_ABLATE_REST, s->corpus,
                            NULL));
    mix(hash, &loss, sizeof loss);
    ok(sn_circuit_measure_deltas(s->circuit, context, s->means, s->task, s->task));
    ok(sn_circuit_trace(s->circuit, context, s->means, NULL, s->task, NULL));
    ok(sn_report_write_json(context, s->circuit, temporary_path(&temporary, "json")));
    mix_file(hash, temporary.path);
}

static struct subject subject_create(void)
{
    struct subject s = {.model = planted_model(context, 1),
                        .corpus = planted_corpus(context),
                        .task = planted_task(context, 40, 3),
                        .develop = planted_task(context, 40, 99)};
    ok(sn_means_create(&s.means, context, s.model, s.corpus, NULL));
    return s;
}

/* With a circuit chosen by hand, with more than the task needs. */
static struct subject subject_with_circuit(void)
{
    struct subject s = subject_create();
    ok(sn_circuit_create(&s.circuit, context, s.model, "planted"));
    for (size_t i = 0; i < PLANTED_NODES; i++) {
        ok(sn_circuit_add_node(s.circuit, context, planted_nodes[i]));
        ok(sn_circuit_add_node(s.circuit, context, backup_nodes[i]));
    }
    ok(sn_circuit_add_node(s.circuit, context, "0.attn.v.head0.ch2"));
    return s;
}

static void subject_free(struct subject *s)
{
    sn_circuit_free(s->circuit);
    sn_means_free(s->means);
    sn_task_free(s->develop);
    sn_task_free(s->task);
    sn_corpus_free(s->corpus);
    sn_model_free(s->model);
}

static void extraction(uint64_t *hash, const char *settings)
{
    sn_options *options = options_of(settings);
    struct subject s = subject_create();
    mix(hash, s.means->values, s.means->layout.n_nodes * sizeof *s.means->values);
    ok(sn_circuit_extract(&s.circuit, context, s.model, s.means, s.task, s.develop, options));
    measure(hash, &s);
    subject_free(&s);
    sn_options_free(options);
}

/* ---------------------------------------------------- works: searches and checks of circuits */

static void mix_circuit(uint64_t *hash, const sn_circuit *circuit)
{
    ok(sn_report_write_json(context, circuit, temporary_path(&temporary, "json")));
    mix_file(hash, temporary.path);
}

static void search(uint64_t *hash, const char *settings)
{
    sn_options *options = options_of(settings);
    struct subject s = subject_create();
    sn_search *search;
    ok(sn_search_create(&search, context, s.model, s.means, s.task, s.develop, options));
    ok(sn_search_run(search));
    for (size_t i = 0; i < sn_search_run_count(search); i++) {
        size_t n_edges;
        ok(sn_search_run_info(NULL, NULL, NULL, &n_edges, NULL, search, i));
        mix(hash, &n_edges, sizeof n_edges);
    }
    ok(sn_search_circuit(&s.circuit, search, 0.3, 0));
    mix_circuit(hash, s.circuit);
    sn_search_free(search);
    subject_free(&s);
    sn_options_free(options);
}

static void refining(uint64_t *hash, const char *settings)
{
    sn_options *options = options_of(settings);
    struct subject s = subject_with_circuit();
    sn_circuit *refined;
    ok(sn_circuit_refine(&refined, context, s.circuit, s.means, s.task, s.develop, options));
    mix_circuit(hash, refined);
    sn_circuit_free(refined);
    subject_free(&s);
    sn_options_free(options);
}

/* Enough nodes and tokens that every thread gets some of them. */
static sn_evidence *evidence_of_neurons(const sn_options *options)
{
    static char names[60][32];
    const char *nodes[60];
    sn_evidence *found;
    sn_corpus *more;
    for (size_t i = 0; i < 60; i++) {
        sprintf(names[i], "%zu.mlp.post_act.%zu", i / 30, i % 30);
        nodes[i] = names[i];
    }
    ok(sn_corpus_create(&more, context));
    for (size_t i = 0; i < 60; i++)
        ok(sn_corpus_add_tokens(more, context, tokens + 2 * i, 90));
    ok(sn_evidence_create(&found, context, model, more, nodes, 60, options));
    sn_corpus_free(more);
    return found;
}

static void evidence(uint64_t *hash, const char *settings)
{
    sn_options *options = options_of(settings);
    sn_evidence *found = evidence_of_neurons(options);
    for (size_t i = 0; i < sn_evidence_count(found); i++) {
        sn_evidence_summary summary;
        const double *edges;
        const uint64_t *counts;
        size_t n;
        memset(&summary, 0, sizeof summary);
        summary.struct_size = sizeof summary;
        ok(sn_evidence_summarize(&summary, found, i));
        mix(hash, &summary, sizeof summary);
        ok(sn_evidence_histogram(&edges, &counts, &n, found, i));
        mix(hash, edges, (n + 1) * sizeof *edges);
        mix(hash, counts, n * sizeof *counts);
        for (size_t j = 0; j < sn_evidence_context_count(found, i, SN_CONTEXT_TOP); j++) {
            sn_token_context shown = {.struct_size = sizeof shown};
            ok(sn_evidence_context(&shown, found, i, SN_CONTEXT_TOP, j));
            mix(hash, &shown.document, sizeof shown.document);
            mix(hash, &shown.position, sizeof shown.position);
            mix(hash, shown.activations, shown.n_tokens * sizeof *shown.activations);
        }
    }
    sn_evidence_free(found);
    sn_options_free(options);
}

/* Of one node, of a path, and of a node by another one. */
static void patches(uint64_t *hash, const char *settings)
{
    sn_options *options = options_of(settings);
    struct subject s = subject_with_circuit();
    sn_patch_result results[2];
    sn_replacement replacement;
    double effects[2][160];
    memset(results, 0, sizeof results);
    memset(&replacement, 0, sizeof replacement);
    results[0].struct_size = results[1].struct_size = sizeof *results;
    replacement.struct_size = sizeof replacement;
    ok(sn_patch_node(&results[0], effects[0], 160, NULL, context, s.model, planted_nodes[1], s.task));
    ok(sn_patch_path(&results[1], effects[1], 160, NULL, context, s.model, planted_nodes[0],
                     planted_nodes[1], s.task));
    ok(sn_replace_node(&replacement, context, s.model, s.means, s.circuit, planted_nodes[1],
                       backup_nodes[1], s.corpus, s.task, s.develop, options));
    mix(hash, results, sizeof results);
    mix(hash, effects, sizeof effects);
    mix(hash, &replacement, sizeof replacement);
    subject_free(&s);
    sn_options_free(options);
}

static void binarising(uint64_t *hash, const char *settings)
{
    sn_options *options = options_of(settings);
    struct subject s = subject_with_circuit();
    sn_binarised *binarised;
    sn_evaluation result;
    double numbers[2];
    memset(&result, 0, sizeof result);
    result.struct_size = sizeof result;
    ok(sn_binarised_create(&binarised, context, s.circuit, s.means, s.task, options));
    for (size_t i = 0; i < sn_binarised_count(binarised); i++) {
        ck_assert_ptr_nonnull(sn_binarised_node(&numbers[0], &numbers[1], binarised, i));
        mix(hash, numbers, sizeof numbers);
    }
    ok(sn_binarised_losses(&numbers[0], &numbers[1], binarised));
    mix(hash, numbers, sizeof numbers);
    ok(sn_binarised_evaluate(&result, context, binarised, s.means, s.develop, s.task));
    mix(hash, &result, sizeof result);
    sn_binarised_free(binarised);
    subject_free(&s);
    sn_options_free(options);
}

static void controls(uint64_t *hash, const char *settings)
{
    sn_options *options = options_of(settings);
    struct subject s = subject_with_circuit();
    sn_ablation *ablation;
    sn_controls result;
    double losses[4 * 4];
    memset(&result, 0, sizeof result);
    result.struct_size = sizeof result;
    ok(sn_ablation_create(&ablation, context, s.model, s.means, s.corpus, options));
    ok(sn_circuit_measure_controls(&result, losses, 16, NULL, context, ablation, s.circuit, 4, 9,
                                   s.develop, s.task));
    mix(hash, &result, sizeof result);
    mix(hash, losses, sizeof losses);
    sn_ablation_free(ablation);
    subject_free(&s);
    sn_options_free(options);
}

/* A tokenizer learned from some documents, and their tokens. */
static void tokenising(uint64_t *hash, const char *settings)
{
    static const char *const words[] = {"def ",    "name", "(",    "):\n    ",
                                        "return ", " += ", "\n\n", "12"};
    sn_options *options = options_of(settings);
    sn_tokenizer *tokenizer;
    sn_corpus *texts;
    unsigned seed = 17;
    ok(sn_corpus_create(&texts, context));
    for (size_t i = 0; i < 40; i++) {
        static char text[16000];
        size_t length = 0;
        for (size_t n = next_random(&seed) % 1500; n > 0; n--)
            length += (size_t)sprintf(text + length, "%s", words[next_random(&seed) % 8]);
        ok(sn_corpus_add_text(texts, context, text, length));
    }
    ok(sn_tokenizer_train(&tokenizer, context, texts, 300, options));
    ok(sn_corpus_tokenize(texts, context, tokenizer));
    for (size_t i = 0; i < sn_corpus_count(texts); i++) {
        size_t n;
        const int32_t *of_text = sn_corpus_tokens(&n, texts, i);
        mix(hash, &n, sizeof n);
        mix(hash, of_text, n * sizeof *of_text);
    }
    sn_tokenizer_free(tokenizer);
    sn_corpus_free(texts);
    sn_options_free(options);
}

/* -------------------------------------------------------------------------- who does them */

#define TRAINING "steps=12 batch=8 density=0.3 learning_rate=0.01 refresh_interval=3 schedule_end=0.5 "
#define SEARCH "steps=40 batch=16 target_loss=0.1 seed=5 "

static const struct {
    void (*run)(uint64_t *hash, const char *settings);
    const char *name, *settings;
} works[] = {
    {forward, "forward", "backward=1"},
    {forward, "forward only, selected rows", "backward=0 selected_only=1"},
    {gradients, "dense gradients", "gradients=dense recompute=never"},
    {gradients, "gradients on the support, recomputing", "gradients=support recompute=always"},
    {generation, "generation", "temperature=1 seed=4"},
    {generation, "generation among the likeliest", "temperature=0.7 top_k=5 seed=4"},
    {training, "training with dense gradients", TRAINING "gradient=dense"},
    {training, "training on the support", TRAINING "gradient=support"},
    {extraction, "masks of nodes", SEARCH "method=nodes"},
    {extraction, "masks of edges", SEARCH "method=edges"},
    {extraction, "attribution", SEARCH "method=nodes scores=attribution"},
    {search, "search", "runs=5 steps=12 batch=8 target_loss=0.3 seed=5"},
    {refining, "refining nodes", "target_loss=0.1 method=nodes"},
    {refining, "refining edges", "target_loss=0.1 method=edges"},
    {evidence, "evidence", "sample=64"},
    {patches, "patches and replacement", "tokens=300 window=16"},
    {binarising, "binarising", "steps=12 batch=8 seed=3"},
    {controls, "controls", "kind=resample samples=64 draws=2"},
    {tokenising, "tokenising", ""},
};
#define N_WORKS ((int)(sizeof works / sizeof *works))

START_TEST(nothing_depends_on_who_does_the_work)
{
    static const size_t threads[] = {1, 2, 3, 8, 0}; /* 0: the host's loop */
    uint64_t first = 0;
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        uint64_t hash = 0xCBF29CE484222325u;
        if (threads[i])
            ok(sn_context_set_threads(context, threads[i]));
        else
            ok(sn_context_set_parallel_for(context, host_loop, NULL, HOST_THREADS));
        works[_i].run(&hash, works[_i].settings);
        if (i == 0)
            first = hash;
        ck_assert_msg(hash == first, "%s: other bits on %zu threads (0: the host's)", works[_i].name,
                      threads[i]);
    }
    ok(sn_context_set_parallel_for(context, NULL, NULL, 0));
}
END_TEST

Suite *same_bits_suite(void);
Suite *same_bits_suite(void)
{
    Suite *suite = suite_create("same_bits");
    TCase *group = tcase_create("threads"); /* what ThreadSanitizer looks at */
    tcase_add_checked_fixture(group, set_up_all, tear_down_all);
    tcase_set_timeout(group, 300);
    tcase_add_loop_test(group, nothing_depends_on_who_does_the_work, 0, N_WORKS);
    suite_add_tcase(suite, group);
    return suite;
}
