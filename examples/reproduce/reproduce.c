/* The paper's comparisons at the scale of one CPU.
 *
 *   reproduce OUT_DIR [--quick] [--threads N] [--source DIR] [--scale X]
 *
 * Trains the models of the study (model_list.c), as many at a time as there are threads, and measures them.
 * What is in OUT_DIR already is not made anew: an interrupted run goes on where it stopped. Uses the public
 * header alone. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_list.h"
#include "scores.h"
#include "texts.h"
#include "train_model.h"

struct work {
    const struct setup *setup;
    const struct texts *texts;
    const struct model_spec *list;
    size_t n_models, next;
    pthread_mutex_t lock;
};

static sn_context *make_context(void)
{
    sn_context *context;
    int status = sn_context_create(&context, NULL);
    if (status != SN_OK) {
        fprintf(stderr, "reproduce: %s\n", sn_status_string(status));
        exit(1);
    }
    return context;
}

static const struct model_spec *take(struct work *work)
{
    pthread_mutex_lock(&work->lock);
    const struct model_spec *spec = work->next < work->n_models ? &work->list[work->next++] : NULL;
    pthread_mutex_unlock(&work->lock);
    return spec;
}

static void *run_worker(void *payload)
{
    struct work *work = payload;
    sn_context *context = make_context();
    for (const struct model_spec *spec; (spec = take(work));) {
        train_model(work->setup, spec, work->texts, context);
        scores_measure(work->setup, spec, work->texts, context);
    }
    sn_context_free(context);
    return NULL;
}

static void train_all(struct work *work)
{
    pthread_t threads[64];
    const size_t n = work->setup->n_threads;
    for (size_t i = 1; i < n; i++)
        if (pthread_create(&threads[i], NULL, run_worker, work) != 0)
            stop("cannot start a thread for", work->setup->directory);
    run_worker(work);
    for (size_t i = 1; i < n; i++)
        pthread_join(threads[i], NULL);
}

static int read_arguments(struct setup *setup, int n_arguments, char **arguments)
{
    for (int i = 1; i < n_arguments; i++) {
        const int has_value = i + 1 < n_arguments;
        if (strcmp(arguments[i], "--quick") == 0)
            setup->quick = 1;
        else if (strcmp(arguments[i], "--threads") == 0 && has_value)
            setup->n_threads = strtoul(arguments[++i], NULL, 10);
        else if (strcmp(arguments[i], "--scale") == 0 && has_value)
            setup->scale = strtod(arguments[++i], NULL);
        else if (strcmp(arguments[i], "--source") == 0 && has_value)
            setup->source = arguments[++i];
        else if (arguments[i][0] != '-' && !setup->directory)
            setup->directory = arguments[i];
        else
            return 0;
    }
    return setup->directory && setup->n_threads >= 1 && setup->n_threads <= 64 && setup->scale > 0;
}

int main(int n_arguments, char **arguments)
{
    struct setup setup = {.n_threads = 1, .scale = 1, .start = seconds()};
    struct model_spec list[MAX_MODELS];
    struct texts texts;
    char path[PATH_CAPACITY];
    if (!read_arguments(&setup, n_arguments, arguments)) {
        fprintf(stderr, "usage: %s OUT_DIR [--quick] [--threads 1..64] [--source DIR] [--scale X]\n",
                arguments[0]);
        return 2;
    }
    make_directory(setup.directory);
    make_path(path, &setup, "models", "");
    make_directory(path);
    sn_context *context = make_context();
    texts_make(&texts, &setup, context);
    texts_make_fresh(&texts, &setup, context);
    struct work work = {
        &setup, &texts, list, model_list(list, setup.quick), 0, PTHREAD_MUTEX_INITIALIZER};
    train_all(&work);
    scores_collect(&setup, list, work.n_models);
    say(&setup, "done: %zu models; see models.csv and tasks.csv in %s", work.n_models, setup.directory);
    texts_free(&texts);
    sn_context_free(context);
    return 0;
}
