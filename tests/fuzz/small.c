#include "small.h"

#include <stdlib.h>
#include <string.h>

void small_must(int status)
{
    if (status != SN_OK)
        abort();
}

sn_model *small_model(sn_context *context)
{
    static const char config[] =
        "{\"block_size\": 8, \"vocab_size\": 8, \"n_layer\": 1, \"n_head\": 1, \"d_head\": 2,"
        " \"d_model\": 6, \"d_mlp\": 4, \"rms_norm\": true, \"tied_unembed\": false}";
    sn_model *model;
    small_must(sn_model_create(&model, context, config, strlen(config), 1));
    return model;
}

sn_corpus *small_corpus(sn_context *context)
{
    sn_corpus *corpus;
    small_must(sn_corpus_create(&corpus, context));
    for (int document = 0; document < 2; document++) {
        int32_t tokens[24];
        for (int i = 0; i < 24; i++)
            tokens[i] = (3 * i + document) % 8;
        small_must(sn_corpus_add_tokens(corpus, context, tokens, 24));
    }
    return corpus;
}

sn_means *small_means(sn_context *context, sn_model *model)
{
    sn_corpus *corpus = small_corpus(context);
    sn_options *options;
    sn_means *means;
    small_must(sn_options_create(&options, context));
    small_must(sn_options_set(options, context, "tokens", 32));
    small_must(sn_means_create(&means, context, model, corpus, options));
    sn_options_free(options);
    sn_corpus_free(corpus);
    return means;
}

sn_task *small_task(sn_context *context)
{
    static const int32_t a[3] = {1, 0, 3}, b[3] = {2, 0, 3};
    sn_task *task;
    small_must(sn_task_create(&task, context, "small"));
    small_must(sn_task_add_pair(task, context, a, 3, b, 3, 5, 4));
    return task;
}

sn_search *small_search(sn_context *context, sn_model *model, const sn_means *means, const sn_task *task)
{
    sn_options *options;
    sn_search *search;
    small_must(sn_options_create(&options, context));
    small_must(sn_options_set(options, context, "runs", 2));
    small_must(sn_options_set(options, context, "steps", 2));
    small_must(sn_options_set(options, context, "batch", 1));
    small_must(sn_options_set(options, context, "target_loss", 20));
    small_must(sn_search_create(&search, context, model, means, task, NULL, options));
    sn_options_free(options);
    return search;
}

sn_circuit *small_circuit(sn_context *context, sn_model *model)
{
    sn_circuit *circuit;
    small_must(sn_circuit_create(&circuit, context, model, "small"));
    small_must(sn_circuit_add_node(circuit, context, "0.attn.act_in.0"));
    small_must(sn_circuit_add_node(circuit, context, "0.attn.v.head0.ch1"));
    small_must(sn_circuit_add_node(circuit, context, "0.attn.resid_delta.2"));
    return circuit;
}

static sn_corpus *texts(sn_context *context)
{
    static const char *const lines[] = {"for a in b:\n    a = 'c'\n",
                                        "print(\"some words\")\nprint('more')\n",
                                        "x = ['a', 'b']\ny = f('long', \"line\")\n"};
    sn_corpus *corpus;
    small_must(sn_corpus_create(&corpus, context));
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        small_must(sn_corpus_add_text(corpus, context, lines[i], strlen(lines[i])));
    return corpus;
}

static sn_tokenizer *python_tokenizer(sn_context *context, const sn_corpus *corpus)
{
    sn_options *options;
    sn_tokenizer *tokenizer;
    small_must(sn_options_create(&options, context));
    small_must(sn_options_set_text(options, context, "required", sn_python_required_tokens()));
    small_must(sn_tokenizer_train(&tokenizer, context, corpus, 512, options));
    sn_options_free(options);
    return tokenizer;
}

/* The same model, which can do the task: only then is there anything to search for. */
static sn_model *trained_model(sn_context *context, const sn_task *task)
{
    sn_model *model = small_model(context), *trained;
    sn_options *options;
    sn_trainer *trainer;
    small_must(sn_options_create(&options, context));
    small_must(sn_options_set(options, context, "steps", 150));
    small_must(sn_options_set(options, context, "batch", 2));
    small_must(sn_options_set(options, context, "density", 1));
    small_must(sn_options_set(options, context, "learning_rate", 0.05));
    small_must(sn_options_set(options, context, "weight_decay", 0));
    small_must(sn_trainer_create(&trainer, context, model, options));
    small_must(sn_trainer_add_task(trainer, task, 1));
    small_must(sn_trainer_run(trainer, 0));
    small_must(sn_trainer_snapshot(&trained, trainer));
    sn_trainer_free(trainer);
    sn_options_free(options);
    sn_model_free(model);
    return trained;
}

/* A backward, so that the model's matrices have whatever they make at their first one. */
static void warm_up(sn_context *context, sn_model *model)
{
    static const int32_t tokens[] = {0}, targets[] = {1};
    static const size_t offsets[] = {0, 1};
    sn_options *options;
    sn_session *session;
    small_must(sn_options_create(&options, context));
    small_must(sn_options_set_text(options, context, "gradients", "support"));
    small_must(sn_session_create(&session, context, model, options));
    small_must(sn_session_forward(session, tokens, offsets, 1));
    small_must(sn_session_backward(session, targets));
    sn_session_free(session);
    sn_options_free(options);
}

const struct small *small_fixed(void)
{
    static struct small small;
    if (!small.context) {
        small_must(sn_context_create(&small.context, NULL));
        small.task = small_task(small.context);
        small.model = trained_model(small.context, small.task);
        warm_up(small.context, small.model);
        small.corpus = small_corpus(small.context);
        small.means = small_means(small.context, small.model);
        small.texts = texts(small.context);
        small.tokenizer = python_tokenizer(small.context, small.texts);
    }
    return &small;
}

sn_model *small_released(void)
{
    static sn_model *model;
    if (!model) {
        sn_context *context = small_fixed()->context;
        small_must(sn_model_load(&model, context, "tests/data/released"));
        warm_up(context, model);
    }
    return model;
}
