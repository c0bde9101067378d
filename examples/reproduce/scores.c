#include "scores.h"

#include "skill.h"
#include "train_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_PAIRS 200
#define DEVELOP_SEED 400
#define N_WINDOWS 512

struct text_loss {
    double idioms, real;
};

/* A file that appears under its name only when it is whole. */
struct table {
    FILE *file;
    char path[PATH_CAPACITY], temporary[PATH_CAPACITY];
};

static void table_open(struct table *table, const struct setup *setup, const char *name)
{
    make_path(table->path, setup, name, ".csv");
    make_path(table->temporary, setup, name, ".csv.part");
    table->file = fopen(table->temporary, "w");
    if (!table->file)
        stop("cannot write", table->temporary);
}

static void table_close(struct table *table)
{
    const int failed = ferror(table->file);
    if (fclose(table->file) != 0 || failed || rename(table->temporary, table->path) != 0)
        stop("cannot write", table->path);
}

static void name_of(char name[96], const struct model_spec *spec, const char *end)
{
    snprintf(name, 96, "models/%s%s", spec->name, end);
}

static double validate(sn_trainer *trainer, sn_context *context, const sn_corpus *corpus)
{
    double loss;
    check(context, sn_trainer_validate(&loss, trainer, corpus, N_WINDOWS));
    return loss;
}

/* A trainer of density 1 leaves a model as it is; it takes no step here. */
static struct text_loss measure_text(const struct texts *texts, sn_context *context,
                                     const sn_model *model)
{
    sn_trainer *trainer;
    sn_options *how = options(context);
    struct text_loss loss;
    set(context, how, "density", 1);
    set_text(context, how, "gradient", "support");
    check(context, sn_trainer_create(&trainer, context, model, how));
    loss.idioms = validate(trainer, context, texts->held_out_idioms);
    loss.real = validate(trainer, context, texts->held_out_real);
    sn_trainer_free(trainer);
    sn_options_free(how);
    return loss;
}

/* A tensor's nonzeros, also where it is stored dense. */
static size_t count_nonzeros(sn_context *context, const sn_model *model, const char *name)
{
    size_t size, n = 0;
    check(context, sn_model_tensor(NULL, 0, &size, context, model, name));
    float *values = malloc(size * sizeof *values);
    if (!values)
        stop("no memory for", name);
    check(context, sn_model_tensor(values, size, &size, context, model, name));
    for (size_t i = 0; i < size; i++)
        n += values[i] != 0;
    free(values);
    return n;
}

/* Nonzeros and entries of the matrices and embeddings that have to be sparse: not of the tables of bigrams
 * and positions, nor of vectors. */
static void count_weights(size_t *nonzeros, size_t *entries, sn_context *context, const sn_model *model)
{
    *nonzeros = *entries = 0;
    for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
        const char *name = sn_model_tensor_name(model, i);
        size_t rows, cols;
        (void)sn_model_tensor_info(&rows, &cols, NULL, NULL, model, i);
        if (cols == 0 || strstr(name, "bigram") || strstr(name, "wpe"))
            continue;
        *nonzeros += count_nonzeros(context, model, name);
        *entries += rows * cols;
    }
}

static sn_evaluation evaluate(sn_context *context, sn_model *model, const sn_task *fit,
                              const sn_task *task)
{
    sn_evaluation result = {.struct_size = sizeof result};
    check(context, sn_evaluate(&result, context, model, NULL, NULL, SN_ABLATE_NOTHING, fit, task));
    return result;
}

static void write_line(FILE *file, const struct model_spec *spec, const char *task, const char *split,
                       const sn_evaluation *e)
{
    fprintf(file, "%s,%s,%s,%.5f,%.5f,%.5f,%.5f\n", spec->name, task, split, e->raw_loss,
            e->raw_accuracy, e->loss, e->accuracy);
}

/* Returns how many tasks are learnt, on fresh pairs. */
static size_t write_tasks(FILE *file, const struct setup *setup, const struct model_spec *spec,
                          const struct texts *texts, sn_context *context, sn_model *model)
{
    size_t n_learnt = 0;
    for (size_t i = 0; i < texts->n_tasks; i++) {
        const char *name = sn_python_task_name(i);
        sn_task *develop = texts_task(texts, context, i, "develop", N_PAIRS, DEVELOP_SEED);
        sn_task *fresh = texts_fresh_task(texts, setup, context, i);
        const sn_evaluation on_develop = evaluate(context, model, develop, develop);
        const sn_evaluation on_fresh = evaluate(context, model, develop, fresh);
        write_line(file, spec, name, "develop", &on_develop);
        write_line(file, spec, name, "fresh", &on_fresh);
        n_learnt += on_fresh.raw_loss <= LEARNT_LOSS;
        sn_task_free(develop);
        sn_task_free(fresh);
    }
    return n_learnt;
}

void scores_measure(const struct setup *setup, const struct model_spec *spec, const struct texts *texts,
                    sn_context *context)
{
    struct table tasks, summary;
    char name[96], path[PATH_CAPACITY];
    size_t nonzeros, entries;
    model_path(path, setup, spec, ".csv");
    if (file_exists(path))
        return;
    sn_model *model = load_trained_model(setup, spec, context);
    name_of(name, spec, ".tasks");
    table_open(&tasks, setup, name);
    const size_t n_learnt = write_tasks(tasks.file, setup, spec, texts, context, model);
    table_close(&tasks);
    const struct text_loss loss = measure_text(texts, context, model);
    count_weights(&nonzeros, &entries, context, model);
    name_of(name, spec, "");
    table_open(&summary, setup, name);
    fprintf(summary.file, "%s,%s,%zu,%zu,%.6f,%u,%zu,%zu,%.4f,%.4f,%zu\n", spec->name, spec->family,
            spec->d_model, spec->n_layer, spec->density, spec->seed, nonzeros, entries, loss.idioms,
            loss.real, n_learnt);
    table_close(&summary);
    sn_model_free(model);
    say(setup, "%s: %zu weights; held-out idioms %.3f, real source %.3f nats; %zu tasks on fresh pairs",
        spec->name, nonzeros, loss.idioms, loss.real, n_learnt);
}

static void append_file(FILE *to, const char *path)
{
    char bytes[4096];
    FILE *from = fopen(path, "r");
    if (!from)
        stop("cannot read", path);
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, from)) > 0;)
        fwrite(bytes, 1, n, to);
    fclose(from);
}

static void collect(const struct setup *setup, const struct model_spec *list, size_t n_models,
                    const char *table_name, const char *suffix, const char *header)
{
    struct table table;
    char path[PATH_CAPACITY];
    table_open(&table, setup, table_name);
    fprintf(table.file, "%s\n", header);
    for (size_t i = 0; i < n_models; i++) {
        model_path(path, setup, &list[i], suffix);
        append_file(table.file, path);
    }
    table_close(&table);
}

void scores_collect(const struct setup *setup, const struct model_spec *list, size_t n_models)
{
    collect(setup, list, n_models, "models", ".csv",
            "model,family,d_model,n_layer,density,seed,nonzeros,entries,idiom_loss,real_loss,learnt");
    collect(setup, list, n_models, "tasks", ".tasks.csv",
            "model,task,split,raw_loss,raw_accuracy,loss,accuracy");
}
