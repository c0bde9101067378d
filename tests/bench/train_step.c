/* Milliseconds of one training step and what of it is the model (forward, loss, backward), at several
 * densities, in both gradient modes. train_step [d_model] [threads] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "train/trainer.h"

#define STEPS 20

static sn_context *context;
static sn_corpus *corpus;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void check(int status)
{
    if (status == SN_OK)
        return;
    fprintf(stderr, "%s\n", sn_context_message(context));
    exit(1);
}

/* Forward and backward alone, over the trainer's batch. */
static double model_time(sn_trainer *trainer)
{
    struct train_windows *windows = &trainer->windows;
    double best = 1e30, loss;
    for (size_t i = 0; i < 5; i++) {
        double start = now();
        check(sn_session_zero_gradients(trainer->session));
        check(sn_session_forward(trainer->session, windows->tokens, windows->offsets,
                                 windows->n_sequences));
        check(sn_session_loss(&loss, trainer->session, windows->targets));
        check(sn_session_backward(trainer->session, windows->targets));
        best = now() - start < best ? now() - start : best;
    }
    return best;
}

static void measure(const sn_model *model, const char *gradient, double density)
{
    sn_options *options;
    sn_trainer *trainer;
    check(sn_options_create(&options, context));
    check(sn_options_set_text(options, context, "gradient", gradient));
    check(sn_options_set(options, context, "density", density));
    check(sn_options_set(options, context, "density_bias", 1));
    check(sn_options_set(options, context, "schedule_end", 0));
    check(sn_options_set(options, context, "minimum_per_neuron", density < 0.1 ? 1 : 4));
    check(sn_trainer_create(&trainer, context, model, options));
    check(sn_trainer_add_corpus(trainer, corpus, 1, 0));
    check(sn_trainer_run(trainer, 3));
    double total = 0, best = 1e30, worst = 0;
    for (size_t i = 0; i < STEPS; i++) {
        double start = now();
        check(sn_trainer_step(NULL, trainer));
        double time = now() - start;
        total += time;
        best = time < best ? time : best;
        worst = time > worst ? time : worst;
    }
    printf("%-8s %9.5f %10.2f %10.2f %10.2f %10.2f\n", gradient, density, best, total / STEPS, worst,
           model_time(trainer));
    sn_trainer_free(trainer);
    sn_options_free(options);
}

int main(int n_arguments, char **arguments)
{
    char config[512];
    int width = n_arguments > 1 ? atoi(arguments[1]) : 128;
    size_t threads = n_arguments > 2 ? (size_t)atoi(arguments[2]) : 2;
    static const double densities[] = {1, 0.4, 0.125, 1.0 / 32, 1.0 / 256};
    static int32_t tokens[100000];
    sn_model *model;
    snprintf(
        config, sizeof config,
        "{\"block_size\": 128, \"vocab_size\": 768, \"n_layer\": 2, \"n_head\": %d, \"d_head\": 16,"
        " \"d_model\": %d, \"d_mlp\": %d, \"d_pos_emb\": 16, \"sinusoidal_cat_pos_emb\": true,"
        " \"rms_norm\": true, \"tied_unembed\": false, \"afrac\": 0.25, \"enable_bigram_table\": true,"
        " \"learnable_bigram_table\": true, \"sink\": true, \"afrac_loctypes\":"
        " \"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q\"}",
        width / 16, width, 4 * width);
    check(sn_context_create(&context, NULL));
    check(sn_context_set_threads(context, threads));
    check(sn_model_create(&model, context, config, strlen(config), 1));
    for (size_t i = 0; i < 100000; i++)
        tokens[i] = (int32_t)(i * i / 7 % 768);
    check(sn_corpus_create(&corpus, context));
    check(sn_corpus_add_tokens(corpus, context, tokens, 100000));
    printf("2 layers, d_model %d, 16 windows of 128 tokens, %zu threads, %s; milliseconds\n", width,
           threads, sn_context_isa(context));
    printf("%-8s %9s %10s %10s %10s %10s\n", "gradient", "density", "best step", "mean", "worst",
           "model alone");
    for (size_t mode = 0; mode < 2; mode++)
        for (size_t i = 0; i < sizeof densities / sizeof *densities; i++)
            measure(model, mode ? "support" : "dense", densities[i]);
    sn_corpus_free(corpus);
    sn_model_free(model);
    sn_context_free(context);
    return 0;
}
