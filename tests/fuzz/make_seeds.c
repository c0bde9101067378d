/* make_seeds FOLDER: seeds that only the library can write: FOLDER/checkpoint/..., FOLDER/search/... .
 * The folders are there. */
#include <stdio.h>

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
    sn_model *model = small_model(context);
    sn_means *means = small_means(context, model);
    sn_task *task = small_task(context);
    sn_search *search = small_search(context, model, means, task);
    small_must(sn_search_set_file(search, path));
    small_must(sn_search_run(search));
    sn_search_free(search);
    sn_task_free(task);
    sn_means_free(means);
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
    sn_context_free(context);
    return 0;
}
