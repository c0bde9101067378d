/* Searching circuits in a model of d_model 128 and 2 layers, with the prompts of a real task. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "circuit/prune.h"

#define VOCABULARY 768
#define CORPUS_BYTES 1000000
#define N_PAIRS 256
#define DENSITY (1.0 / 24)
#define MODEL                                                                                           \
    "{\"block_size\": 128, \"vocab_size\": 768, \"n_layer\": 2, \"d_model\": 128, \"n_head\": 8,"       \
    " \"d_head\": 16, \"rms_norm\": true, \"tied_unembed\": false, \"sink\": true, \"afrac\": 0.25,"    \
    " \"afrac_loctypes\": \"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q\","         \
    " \"enable_bigram_table\": true, \"learnable_bigram_table\": true, \"d_pos_emb\": 16,"              \
    " \"sinusoidal_cat_pos_emb\": true}"

struct bench_circuit {
    sn_context *context;
    sn_corpus *idioms;
    sn_tokenizer *tokenizer;
    sn_model *model;
    sn_means *means;
    sn_task *prune, *develop;
    sn_options *options; /* of the search */
    int cuts;
    struct judge judge;
    struct masks masks;
    size_t *partner;
    struct extract_settings learning;
};

static void open_text(struct bench_circuit *b)
{
    sn_options *options;
    check(b->context, sn_corpus_create(&b->idioms, b->context));
    check(b->context, sn_python_add_idioms(b->idioms, b->context, CORPUS_BYTES, NULL));
    check(b->context, sn_options_create(&options, b->context));
    check(b->context, sn_options_set_text(options, b->context, "required", sn_python_required_tokens()));
    check(b->context, sn_tokenizer_train(&b->tokenizer, b->context, b->idioms, VOCABULARY, options));
    sn_options_free(options);
    check(b->context, sn_corpus_tokenize(b->idioms, b->context, b->tokenizer));
}

static void open_tasks(struct bench_circuit *b, const char *task)
{
    sn_options *options;
    check(b->context, sn_python_task(&b->prune, b->context, b->tokenizer, task, N_PAIRS, NULL));
    check(b->context, sn_options_create(&options, b->context));
    check(b->context, sn_options_set_text(options, b->context, "split", "develop"));
    check(b->context, sn_python_task(&b->develop, b->context, b->tokenizer, task, N_PAIRS / 2, options));
    sn_options_free(options);
}

/* Weights as few steps of training leave them. */
static void open_model(struct bench_circuit *b, size_t steps)
{
    sn_model *start;
    sn_trainer *trainer;
    sn_options *options;
    sn_context *context = b->context;
    check(context, sn_model_create(&start, context, MODEL, strlen(MODEL), 1));
    check(context, sn_options_create(&options, context));
    check(context, sn_options_set(options, context, "steps", (double)steps));
    check(context, sn_options_set(options, context, "batch", 32));
    check(context, sn_options_set(options, context, "window", 64));
    check(context, sn_options_set(options, context, "learning_rate", 0.015));
    check(context, sn_options_set_text(options, context, "learning_rate_scale", "none"));
    check(context, sn_options_set(options, context, "density", DENSITY));
    check(context, sn_options_set(options, context, "density_bias", 1));
    check(context, sn_options_set(options, context, "schedule_start_density", 0.4));
    check(context, sn_options_set(options, context, "schedule_end", 0.8));
    check(context, sn_options_set_text(options, context, "gradient", "support"));
    check(context, sn_options_set(options, context, "minimum_per_neuron", 1));
    check(context, sn_trainer_create(&trainer, context, start, options));
    check(context, sn_trainer_add_corpus(trainer, b->idioms, 0.5, 0));
    check(context, sn_trainer_add_task(trainer, b->prune, 0.5));
    check(context, sn_trainer_run(trainer, 0));
    check(context, sn_trainer_snapshot(&b->model, trainer));
    check(context, sn_means_create(&b->means, context, b->model, b->idioms, NULL));
    sn_trainer_free(trainer);
    sn_options_free(options);
    sn_model_free(start);
}

struct extract_settings learning_settings(size_t steps, size_t pairs, double k_coef)
{
    return (struct extract_settings){.k_coef = k_coef,
                                     .learning_rate = 0.01,
                                     .init_bias = 0.1,
                                     .init_noise = 0.01,
                                     .temperature = 1,
                                     .weight_decay = 1e-3,
                                     .beta2 = 0.95,
                                     .steps = steps,
                                     .batch = pairs,
                                     .loss = LOSS_PAIR};
}

/* A run of learning masks: what it costs does not depend on whether the model does the task. */
static void run_learn(void *state)
{
    struct bench_circuit *b = state;
    check(b->context,
          prune_learn(&b->masks, &b->judge, &b->learning, b->learning.k_coef, b->partner, 0, 1));
}

static void open_learn(struct bench_circuit *b)
{
    b->learning = learning_settings(150, 32, 1e-3);
    check(b->context,
          judge_open(&b->judge, b->context, b->model, b->means, b->prune, b->develop, JUDGE_NODES));
    size_t n = b->judge.layout.n_nodes;
    check(b->context, masks_create(&b->masks, b->context, n));
    b->partner = must_allocate(n * sizeof *b->partner);
    for (size_t i = 0; i < n; i++)
        b->partner[i] = i;
}

/* A whole search; with `cuts`, and the circuit at an uncalibrated loss of 0.15 from it. */
static void run_search(void *state)
{
    struct bench_circuit *b = state;
    sn_search *search;
    sn_circuit *circuit = NULL;
    check(b->context,
          sn_search_create(&search, b->context, b->model, b->means, b->prune, b->develop, b->options));
    check(b->context, sn_search_run(search));
    if (b->cuts)
        check(b->context, sn_search_circuit(&circuit, search, 0.15, 0));
    sn_circuit_free(circuit);
    sn_search_free(search);
}

static void close_circuit(void *state)
{
    struct bench_circuit *b = state;
    masks_free(&b->masks);
    if (b->judge.context)
        judge_close(&b->judge);
    free(b->partner);
    sn_options_free(b->options);
    sn_task_free(b->prune);
    sn_task_free(b->develop);
    sn_means_free(b->means);
    sn_model_free(b->model);
    sn_tokenizer_free(b->tokenizer);
    sn_corpus_free(b->idioms);
    free(b);
}

static const char *open_circuit(struct job *job, const struct settings *settings)
{
    struct bench_circuit *b = must_allocate(sizeof *b);
    const char *task = setting_text(settings, "task", "single_double_quote");
    const char *what = setting_text(settings, "what", "learn");
    int learns = strcmp(what, "learn") == 0;
    memset(b, 0, sizeof *b);
    b->context = job->context;
    b->cuts = strcmp(what, "cut") == 0;
    job->state = b;
    job->close = close_circuit;
    job->run = learns ? run_learn : run_search;
    open_text(b);
    open_tasks(b, task);
    open_model(b, setting_size(settings, "steps", learns ? 2 : 600));
    if (learns)
        open_learn(b);
    check(b->context, sn_options_create(&b->options, b->context));
    check(b->context, sn_options_set(b->options, b->context, "runs", setting(settings, "runs", 12)));
    check(b->context, sn_options_set(b->options, b->context, "calibrated", 0));
    return NULL;
}

const struct job_kind circuit_jobs[] = {
    {"circuit", "what (learn search cut) task steps (of training) runs", open_circuit},
    {NULL, NULL, NULL}};
