/* What every binding must come to as well, by C itself: reference FOLDER trains a small model within seconds,
 * saves it with its tokenizer, and writes c.logits (floats), c.text (generated), c.json and c.svg (a circuit)
 * beside them. The settings below stand in the cases of all languages. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sparsenet.h>

static const char config[] =
    "{\"block_size\": 128, \"vocab_size\": 384, \"n_layer\": 1, \"n_head\": 2, \"d_head\": 8,"
    " \"d_model\": 32, \"d_mlp\": 32, \"rms_norm\": true, \"tied_unembed\": false,"
    " \"enable_bigram_table\": true, \"learnable_bigram_table\": true}";

static sn_context *context;

static void check(int status)
{
    if (status == SN_OK)
        return;
    fprintf(stderr, "reference: %s: %s\n", sn_status_string(status), sn_context_message(context));
    exit(1);
}

/* Pairs of names and values, ended by NULL. */
struct setting {
    const char *key;
    double value;
    const char *text;
};

static sn_options *options(const struct setting *settings)
{
    sn_options *made;
    check(sn_options_create(&made, context));
    for (; settings->key; settings++)
        check(settings->text ? sn_options_set_text(made, context, settings->key, settings->text)
                             : sn_options_set(made, context, settings->key, settings->value));
    return made;
}

static const char *in(const char *folder, const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *folder, const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(in(folder, name), "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        perror(in(folder, name));
        exit(1);
    }
}

static sn_corpus *idioms(size_t n_bytes, const struct setting *settings)
{
    sn_corpus *corpus;
    sn_options *how = options(settings);
    check(sn_corpus_create(&corpus, context));
    check(sn_python_add_idioms(corpus, context, n_bytes, how));
    sn_options_free(how);
    return corpus;
}

static sn_task *quotes(const sn_tokenizer *tokenizer, size_t n_pairs, const char *split)
{
    const struct setting settings[] = {
        {"seed", 2, NULL}, {"split", 0, split}, {"max_tokens", 60, NULL}, {0}};
    sn_options *how = options(settings);
    sn_task *task;
    check(sn_python_task(&task, context, tokenizer, "single_double_quote", n_pairs, how));
    sn_options_free(how);
    return task;
}

static void train(const char *folder)
{
    const struct setting what[] = {{"constructs", 0, "single_double_quote"}, {"short", 1, NULL}, {0}};
    const struct setting required[] = {{"required", 0, sn_python_required_tokens()}, {0}};
    const struct setting how[] = {{"steps", 300, NULL},
                                  {"batch", 8, NULL},
                                  {"density", 0.125, NULL},
                                  {"learning_rate", 0.02, NULL},
                                  {"learning_rate_scale", 0, "none"},
                                  {"window", 48, NULL},
                                  {0}};
    sn_corpus *corpus = idioms(200000, what);
    sn_tokenizer *tokenizer;
    sn_model *start, *model;
    sn_trainer *trainer;
    sn_options *for_tokenizer = options(required), *for_trainer = options(how);
    check(sn_tokenizer_train(&tokenizer, context, corpus, 384, for_tokenizer));
    check(sn_corpus_tokenize(corpus, context, tokenizer));
    sn_task *task = quotes(tokenizer, 512, "train");
    check(sn_model_create(&start, context, config, strlen(config), 1));
    check(sn_trainer_create(&trainer, context, start, for_trainer));
    check(sn_trainer_add_corpus(trainer, corpus, 0.25, 0));
    check(sn_trainer_add_task(trainer, task, 0.75));
    check(sn_trainer_run(trainer, 0));
    check(sn_trainer_snapshot(&model, trainer));
    check(sn_model_save(model, context, in(folder, "model.safetensors")));
    check(sn_tokenizer_save(tokenizer, context, in(folder, "tokenizer")));
    sn_trainer_free(trainer);
    sn_model_free(model);
    sn_model_free(start);
    sn_task_free(task);
    sn_tokenizer_free(tokenizer);
    sn_corpus_free(corpus);
    sn_options_free(for_tokenizer);
    sn_options_free(for_trainer);
}

/* ------------------------------------------------------------------- the case */

static void write_logits(const char *folder, sn_model *model, const sn_tokenizer *tokenizer)
{
    static const char *const texts[] = {"for i in range(10):\n    print(i)\n", "name = 'a' + \"b\"\n"};
    int32_t tokens[128];
    size_t offsets[3] = {0}, n, needed;
    sn_session *session;
    for (size_t i = 0; i < 2; i++) {
        check(sn_tokenizer_encode(tokens + offsets[i], 128 - offsets[i], &n, context, tokenizer,
                                  texts[i], strlen(texts[i])));
        offsets[i + 1] = offsets[i] + n;
    }
    check(sn_session_create(&session, context, model, NULL));
    check(sn_session_forward(session, tokens, offsets, 2));
    check(sn_session_logits(NULL, 0, &needed, session));
    float *logits = malloc(needed * sizeof *logits);
    check(sn_session_logits(logits, needed, &needed, session));
    write_file(folder, "c.logits", logits, needed * sizeof *logits);
    free(logits);
    sn_session_free(session);
}

static void write_text(const char *folder, sn_model *model, const sn_tokenizer *tokenizer)
{
    const struct setting settings[] = {{"temperature", 0.8, NULL}, {"seed", 3, NULL}, {0}};
    sn_options *how = options(settings);
    sn_generator *generator;
    int32_t tokens[32];
    char text[4096];
    size_t n;
    check(sn_generator_create(&generator, context, model, how));
    check(sn_tokenizer_encode(tokens, 32, &n, context, tokenizer, "print(", 6));
    check(sn_generator_append(generator, tokens, n));
    for (size_t i = 0; i < 24; i++)
        check(sn_generator_next(&tokens[i], generator));
    check(sn_tokenizer_decode(text, sizeof text, &n, context, tokenizer, tokens, 24));
    write_file(folder, "c.text", text, n);
    sn_generator_free(generator);
    sn_options_free(how);
}

static void write_circuit(const char *folder, sn_model *model, const sn_tokenizer *tokenizer)
{
    const struct setting seed[] = {{"seed", 5, NULL}, {0}}, few[] = {{"tokens", 4096, NULL}, {0}};
    const struct setting how[] = {{"steps", 40, NULL}, {"k_coef", 1e-3, NULL}, {"batch", 16, NULL}, {0}};
    sn_options *for_means = options(few), *for_extract = options(how);
    sn_corpus *corpus = idioms(20000, seed);
    sn_means *means;
    sn_circuit *circuit;
    check(sn_corpus_tokenize(corpus, context, tokenizer));
    check(sn_means_create(&means, context, model, corpus, for_means));
    sn_task *task = quotes(tokenizer, 24, "prune");
    check(sn_circuit_extract(&circuit, context, model, means, task, NULL, for_extract));
    check(sn_circuit_trace(circuit, context, means, tokenizer, task, NULL));
    check(sn_report_write_json(context, circuit, in(folder, "c.json")));
    check(sn_report_write_svg(context, circuit, in(folder, "c.svg")));
    sn_circuit_free(circuit);
    sn_task_free(task);
    sn_means_free(means);
    sn_corpus_free(corpus);
    sn_options_free(for_means);
    sn_options_free(for_extract);
}

int main(int n_arguments, char **arguments)
{
    sn_model *model;
    sn_tokenizer *tokenizer;
    if (n_arguments != 2)
        return 2;
    check(sn_context_create(&context, NULL));
    train(arguments[1]);
    check(sn_model_load(&model, context, in(arguments[1], "model.safetensors")));
    check(sn_tokenizer_load(&tokenizer, context, in(arguments[1], "tokenizer")));
    write_logits(arguments[1], model, tokenizer);
    write_text(arguments[1], model, tokenizer);
    write_circuit(arguments[1], model, tokenizer);
    sn_tokenizer_free(tokenizer);
    sn_model_free(model);
    sn_context_free(context);
    return 0;
}
