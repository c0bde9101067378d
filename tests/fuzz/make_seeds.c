/* make_seeds FOLDER: seeds that only the library can write: FOLDER/checkpoint/..., FOLDER/search/..., FOLDER/native/...,
 * and FOLDER/exported/..., folders. FOLDER and those that have no folders in them are there. */
#include <stdio.h>
#include <string.h>

#include "small.h"

static const char *path_in(const char *folder, const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* After a step, with every kind of storage. */
static void write_checkpoint(sn_context *context, const char *gradient, const char *path)
{
    sn_model *model = small_model(context);
    sn_corpus *corpus = small_corpus(context);
    sn_options *options;
    sn_trainer *trainer;
    small_must(sn_options_create(&options, context));
    small_must(sn_options_set(options, context, "steps", 6));
    small_must(sn_options_set(options, context, "batch", 2));
    small_must(sn_options_set(options, context, "density", 0.3));
    small_must(sn_options_set(options, context, "refresh_interval", 2));
    small_must(sn_options_set_text(options, context, "gradient", gradient));
    small_must(sn_trainer_create(&trainer, context, model, options));
    small_must(sn_trainer_add_corpus(trainer, corpus, 1, 0));
    small_must(sn_trainer_run(trainer, 3));
    small_must(sn_trainer_save(trainer, path));
    sn_trainer_free(trainer);
    sn_options_free(options);
    sn_corpus_free(corpus);
    sn_model_free(model);
}

static void write_search(sn_context *context, const char *path)
{
    const struct small *small = small_fixed();
    sn_search *search = small_search(context, small->model, small->means, small->task);
    small_must(sn_search_set_file(search, path));
    small_must(sn_search_run(search));
    sn_search_free(search);
}

/* The smallest of each kind: of what is small most is read and mutated in a given time. */
static const char *const kinds[] = {
    "\"tied_unembed\": true, \"bias\": false, \"sink\": true",
    "\"rms_norm\": false, \"activation_type\": \"relu\", \"enable_bigram_table\": true",
    "\"d_pos_emb\": 2, \"sinusoidal_cat_pos_emb\": true, \"residual_activation_type\": \"relu\"",
    "\"afrac\": 0.5, \"afrac_loctypes\": \"attn_in,attn_q,attn_k,attn_v,attn_out,mlp_in,mlp_neuron\"",
};

static void write_model(sn_context *context, const char *folder, size_t kind)
{
    char config[512], name[64];
    sn_model *model;
    snprintf(config, sizeof config,
             "{\"block_size\": 4, \"vocab_size\": 5, \"n_layer\": 1, \"n_head\": 1, \"d_head\": 2,"
             " \"d_model\": 4, \"d_mlp\": 3, %s}",
             kinds[kind]);
    small_must(sn_model_create(&model, context, config, strlen(config), 1));
    snprintf(name, sizeof name, "native/small%zu", kind);
    small_must(sn_model_save(model, context, path_in(folder, name)));
    snprintf(name, sizeof name, "exported/small%zu", kind);
    small_must(sn_model_export(model, context, path_in(folder, name)));
    sn_model_free(model);
}

int main(int n_arguments, char **arguments)
{
    if (n_arguments != 2)
        return 2;
    sn_context *context = fuzz_context(64);
    write_checkpoint(context, "dense", path_in(arguments[1], "checkpoint/dense"));
    write_checkpoint(context, "support", path_in(arguments[1], "checkpoint/support"));
    write_search(context, path_in(arguments[1], "search/whole"));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        write_model(context, arguments[1], i);
    sn_context_free(context);
    return 0;
}
