/* Whole models: d_head 16, d_mlp 4 x width, vocabulary 2048, AbsTopK 1/4 at the 8 published places,
 * sinks, sinusoidal positions, a learnable bigram table. Matrices and embeddings have `density`, the
 * rest is dense. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "circuit/prune.h"
#include "model/session.h"
#include "train/trainer.h"

#define VOCABULARY 2048

struct bench_model {
    sn_context *context;
    sn_model *model;
    size_t batch, length; /* sequences, tokens of each */
    int32_t *tokens, *targets;
    size_t *offsets;
    sn_session *session;
    sn_trainer *trainer;
    sn_corpus *corpus;
    size_t steps;
    sn_generator *generator;
    sn_means *means;
    sn_task *task;
    struct judge judge;
    struct masks masks;
    struct extract_settings extract;
    size_t *partner;
};

static sn_model *random_model(sn_context *context, const struct settings *settings, size_t block)
{
    char text[1024];
    size_t width = setting_size(settings, "width", 1024);
    double density = setting(settings, "density", 1.0 / 64);
    double embedding = setting(settings, "embedding", density);
    struct config config;
    sn_model *model;
    snprintf(text, sizeof text,
             "{\"block_size\": %zu, \"vocab_size\": %d, \"n_layer\": %zu, \"n_head\": %zu,"
             " \"d_head\": 16, \"d_model\": %zu, \"d_mlp\": %zu, \"rms_norm\": true, \"afrac\": 0.25,"
             " \"tied_unembed\": false, \"enable_bigram_table\": true, \"learnable_bigram_table\": true,"
             " \"sink\": true, \"d_pos_emb\": 32, \"sinusoidal_cat_pos_emb\": true, \"afrac_loctypes\":"
             " \"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q\"}",
             block, VOCABULARY, setting_size(settings, "layers", 8), width / 16, width, 4 * width);
    check(context, config_parse(&config, context, text, strlen(text), "the bench"));
    check(context, model_allocate(&model, context, &config));
    for (size_t i = 0; i < model->n_parameters; i++) {
        struct parameter *p = &model->parameters[i];
        double share = p->role == ROLE_MATRIX ? density : p->role == ROLE_EMBEDDING ? embedding : 1;
        if (p->cols == 0) {
            p->vector = memory_allocate_zeroed_array(context->memory, p->rows, sizeof *p->vector);
            for (size_t r = 0; p->role == ROLE_NORM && r < p->rows; r++)
                p->vector[r] = 1;
        } else if (share < SPARSE_MAX_DENSITY) {
            p->matrix = random_matrix(context, p->rows, p->cols, share);
        } else {
            check(context, matrix_create_dense(&p->matrix, context, p->rows, p->cols, NULL));
            fill_random(p->matrix->values, p->matrix->n_values, i);
            for (size_t v = 0; v < p->matrix->n_values; v++)
                p->matrix->values[v] *= 0.02f;
            check(context, matrix_values_changed(p->matrix, context));
        }
    }
    check(context, model_check_complete(model, context, "the bench"));
    return model;
}

/* ------------------------------------------------------------------------- running */

static void run_forward(void *state)
{
    struct bench_model *b = state;
    check(b->context, sn_session_forward(b->session, b->tokens, b->offsets, b->batch));
}

static void run_backward(void *state)
{
    struct bench_model *b = state;
    run_forward(state);
    check(b->context, sn_session_zero_gradients(b->session));
    check(b->context, sn_session_backward(b->session, b->targets));
}

static void run_first(void *state)
{
    struct bench_model *b = state;
    check(b->context, session_create_forward(&b->session, b->context, b->model));
    run_forward(state);
    sn_session_free(b->session);
    b->session = NULL;
}

static void run_steps(void *state)
{
    struct bench_model *b = state;
    check(b->context, sn_trainer_run(b->trainer, b->steps));
}

static void run_generate(void *state)
{
    struct bench_model *b = state;
    int32_t token = 1;
    check(b->context, sn_generator_reset(b->generator));
    check(b->context, sn_generator_append(b->generator, &token, 1));
    for (size_t i = 1; i < b->length; i++)
        check(b->context, sn_generator_next(&token, b->generator));
}

static void run_prune(void *state)
{
    struct bench_model *b = state;
    check(b->context,
          prune_learn(&b->masks, &b->judge, &b->extract, b->extract.k_coef, b->partner, 0, 1));
}

/* ------------------------------------------------------------------------- opening */

/* As the library does unless told otherwise, or what 0 and 1 say. */
static const char *recompute_choice(const struct settings *settings)
{
    double value = setting(settings, "recompute", 2);
    return value == 2 ? "auto" : value == 1 ? "always" : "never";
}

static void open_trainer(struct bench_model *b, const struct settings *settings, const char *gradient)
{
    sn_options *options;
    sn_context *context = b->context;
    size_t n = 100 * b->batch * b->length;
    double density = setting(settings, "density", 1.0 / 64);
    int32_t *tokens = must_allocate(n * sizeof *tokens);
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)(i * i / 7 % VOCABULARY);
    b->steps = setting_size(settings, "steps", strcmp(gradient, "support") == 0 ? 20 : 1);
    check(context, sn_options_create(&options, context));
    check(context, sn_options_set_text(options, context, "gradient", gradient));
    check(context, sn_options_set(options, context, "density", density));
    check(context, sn_options_set(options, context, "density_embedding",
                                  setting(settings, "embedding", density)));
    check(context, sn_options_set(options, context, "density_bias", 1));
    check(context, sn_options_set(options, context, "schedule_end", 0));
    check(context, sn_options_set(options, context, "steps", 1e6));
    check(context, sn_options_set(options, context, "batch", (double)b->batch));
    check(context,
          sn_options_set(options, context, "refresh_interval", setting(settings, "interval", 20)));
    check(context, sn_options_set(options, context, "window", (double)b->length));
    check(context, sn_options_set_text(options, context, "recompute", recompute_choice(settings)));
    check(context, sn_trainer_create(&b->trainer, context, b->model, options));
    check(context, sn_corpus_create(&b->corpus, context));
    check(context, sn_corpus_add_tokens(b->corpus, context, tokens, n));
    check(context, sn_trainer_add_corpus(b->trainer, b->corpus, 1, 0));
    sn_options_free(options);
    sn_model_free(b->model); /* the trainer has its own */
    b->model = NULL;
    free(tokens);
}

static void open_prune(struct bench_model *b, const struct settings *settings)
{
    size_t pairs = setting_size(settings, "pairs", 64);
    sn_context *context = b->context;
    b->steps = setting_size(settings, "steps", 1);
    check(context, means_create_values(&b->means, context, b->model, NULL));
    check(context, sn_task_create(&b->task, context, "bench"));
    for (size_t i = 0; i < pairs; i++) {
        const int32_t *a = b->tokens + i % b->batch * b->length;
        const int32_t *other = b->tokens + (i + 1) % b->batch * b->length;
        check(context, sn_task_add_pair(b->task, context, a, b->length, other, b->length, 3, 4));
    }
    b->extract = learning_settings(b->steps, pairs, 1e-4);
    check(context, judge_open(&b->judge, context, b->model, b->means, b->task, b->task, JUDGE_NODES));
    check(context, masks_create(&b->masks, context, b->judge.layout.n_nodes));
    b->partner = must_allocate(b->judge.layout.n_nodes * sizeof *b->partner);
    for (size_t i = 0; i < b->judge.layout.n_nodes; i++)
        b->partner[i] = i;
}

static void close_model(void *state)
{
    struct bench_model *b = state;
    sn_session_free(b->session);
    sn_trainer_free(b->trainer);
    sn_corpus_free(b->corpus);
    sn_generator_free(b->generator);
    masks_free(&b->masks);
    if (b->judge.context)
        judge_close(&b->judge);
    sn_means_free(b->means);
    sn_task_free(b->task);
    sn_model_free(b->model);
    free(b->partner);
    free(b->tokens);
    free(b->targets);
    free(b->offsets);
    free(b);
}

static void fill_batch(struct bench_model *b)
{
    size_t n = b->batch * b->length;
    b->tokens = must_allocate(n * sizeof *b->tokens);
    b->targets = must_allocate(n * sizeof *b->targets);
    b->offsets = must_allocate((b->batch + 1) * sizeof *b->offsets);
    for (size_t i = 0; i < n; i++) {
        b->tokens[i] = (int32_t)(i * i / 7 % VOCABULARY);
        b->targets[i] = (int32_t)((i + 1) * (i + 1) / 7 % VOCABULARY);
    }
    for (size_t i = 0; i <= b->batch; i++)
        b->offsets[i] = i * b->length;
}

/* Opens what `what` needs and returns what runs it, or NULL. */
static void (*open_what(struct bench_model *b, const struct settings *settings))(void *state)
{
    const char *what = setting_text(settings, "what", "forward");
    sn_context *context = b->context;
    if (strcmp(what, "forward") == 0) {
        check(context, session_create_forward(&b->session, context, b->model));
        return run_forward;
    }
    if (strcmp(what, "backward") == 0) {
        sn_options *options;
        check(context, sn_options_create(&options, context));
        check(context, sn_options_set_text(options, context, "gradients", "support"));
        check(context, sn_options_set_text(options, context, "recompute", recompute_choice(settings)));
        check(context, sn_session_create(&b->session, context, b->model, options));
        sn_options_free(options);
        return run_backward;
    }
    if (strcmp(what, "first") == 0)
        return run_first;
    if (strcmp(what, "step") == 0 || strcmp(what, "step-support") == 0) {
        open_trainer(b, settings, what[4] ? "support" : "dense");
        return run_steps;
    }
    if (strcmp(what, "generate") == 0) {
        check(context, sn_generator_create(&b->generator, context, b->model, NULL));
        return run_generate;
    }
    if (strcmp(what, "prune") == 0) {
        open_prune(b, settings);
        return run_prune;
    }
    return NULL;
}

/* Multiplications and additions of the products and of attention in one unit. */
static double count_operations(const struct bench_model *b, const sn_model *model, const char *what)
{
    double support = 0, elements = 0, tokens = (double)(b->batch * b->length);
    double attention = 8.0 * (double)(model->config.n_layer * model->config.d_model) * (double)b->length;
    for (size_t i = 0; i < model->n_parameters; i++)
        if (model->parameters[i].role == ROLE_MATRIX || (int)i == model->lm_head) {
            support += (double)model->parameters[i].matrix->n_values;
            elements += (double)(model->parameters[i].rows * model->parameters[i].cols);
        }
    if (strcmp(what, "forward") == 0)
        return tokens * (2 * support + attention / 4);
    if (strcmp(what, "step") == 0)
        return tokens * (4 * support + 2 * elements + attention);
    return strcmp(what, "backward") == 0 || strcmp(what, "step-support") == 0
               ? tokens * (6 * support + attention)
               : 0;
}

static const char *open_model(struct job *job, const struct settings *settings)
{
    struct bench_model *b = must_allocate(sizeof *b);
    const char *what = setting_text(settings, "what", "forward");
    int prunes = strcmp(what, "prune") == 0;
    memset(b, 0, sizeof *b);
    b->context = job->context;
    b->batch = setting_size(settings, "batch", 4);
    b->length = setting_size(settings, "tokens", prunes ? 32 : 256);
    b->model = random_model(job->context, settings, b->length);
    fill_batch(b);
    job->operations = count_operations(b, b->model, what);
    job->tokens = (double)b->length;
    if (strcmp(what, "generate") != 0)
        job->tokens *= prunes ? 2 * setting(settings, "pairs", 64) : (double)b->batch;
    job->state = b;
    job->close = close_model;
    job->run = open_what(b, settings);
    job->units = b->steps ? (double)b->steps : 1;
    job->operations *= job->units;
    return job->run ? NULL
                    : "what must be forward, backward, step, step-support, generate, prune, first";
}

const struct job_kind model_jobs[] = {{"model",
                                       "what (forward backward step step-support generate prune first) "
                                       "width layers density embedding batch "
                                       "tokens steps interval pairs recompute",
                                       open_model},
                                      {NULL, NULL, NULL}};
