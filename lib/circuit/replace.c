#include "circuit/replacer.h"

#include <string.h>

#include "base/options.h"
#include "circuit/ablated_run.h"

/* ---- what it does to the task */

static int measure_before(sn_replacement *full, struct replacer *replacer)
{
    struct measurement measured[JUDGE_SETS];
    int status = replacer_measure_before(measured, replacer);
    const struct measurement *before = &measured[JUDGE_TASK];
    if (status != SN_OK)
        return status;
    full->scale = before->calibration.scale;
    full->shift = before->calibration.shift;
    full->loss_before = before->loss;
    full->accuracy_before = before->accuracy;
    full->raw_loss_before = before->raw_loss;
    full->raw_accuracy_before = before->raw_accuracy;
    return progress(replacer->context, "replace", 1, 3, before->raw_loss);
}

/* With replacer->factor and offset in place of the node, read with the calibration from before. */
static int measure_line(double *loss, double *accuracy, double *raw_loss, double *raw_accuracy,
                        struct replacer *replacer, const sn_replacement *full)
{
    static const struct calibration raw = {1, 0};
    const struct calibration calibration = {full->scale, full->shift};
    struct measurement measured[JUDGE_SETS];
    const struct judge *judge = &replacer->judge;
    int status = replacer_measure(measured, replacer);
    if (status != SN_OK)
        return status;
    const double *difference = judge->differences[JUDGE_TASK];
    size_t n = 2 * judge->n_pairs[JUDGE_TASK];
    *loss = calibrated_loss(difference, n, calibration);
    *accuracy = calibrated_accuracy(difference, n, calibration);
    *raw_loss = calibrated_loss(difference, n, raw);
    *raw_accuracy = calibrated_accuracy(difference, n, raw);
    return SN_OK;
}

static int measure_all(sn_replacement *full, struct replacer *replacer, const struct line *fitted)
{
    struct line over_task = {0};
    int status = replacer_gather(&over_task, replacer, NULL, JUDGE_TASK);
    if (status == SN_OK)
        status = measure_before(full, replacer);
    full->explained_on_task = line_explained(&over_task, full->factor, full->offset);
    replacer->factor = full->factor;
    replacer->offset = full->offset;
    if (status == SN_OK)
        status = measure_line(&full->loss, &full->accuracy, &full->raw_loss, &full->raw_accuracy,
                              replacer, full);
    if (status == SN_OK)
        status = progress(replacer->context, "replace", 2, 3, full->raw_loss);
    replacer->factor = 0;
    replacer->offset = fitted->mean_y;
    if (status == SN_OK)
        status = measure_line(&full->loss_constant, &full->accuracy_constant, &full->raw_loss_constant,
                              &full->raw_accuracy_constant, replacer, full);
    return status == SN_OK ? progress(replacer->context, "replace", 3, 3, full->raw_loss_constant)
                           : status;
}

static int replace(sn_replacement *result, struct replacer *replacer, const struct sn_corpus *corpus)
{
    struct line line = {0};
    sn_replacement full = {.struct_size = result->struct_size,
                           .n_pairs = replacer->judge.n_pairs[JUDGE_TASK]};
    int status = replacer_gather(&line, replacer, corpus, JUDGE_FIT);
    if (status != SN_OK)
        return status;
    full.n_values = line.n;
    line_fit(&full.factor, &full.offset, &line);
    full.correlation = line_correlation(&line);
    full.explained = line_explained(&line, full.factor, full.offset);
    status = measure_all(&full, replacer, &line);
    if (status == SN_OK)
        memcpy(result, &full, full.struct_size < sizeof full ? full.struct_size : sizeof full);
    return status;
}

/* ---- public */

static int find_tap(struct tap *tap, struct replacer *replacer, const struct sn_model *model,
                    const char *argument, const char *name, const char *function)
{
    if (!name)
        return fail(replacer->context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function, argument);
    if (!node_find(&tap->site, &tap->channel, model, name))
        return fail(replacer->context, SN_ERROR_ARGUMENT, "%s: %s, \"%.100s\", is no node of this model",
                    function, argument, name);
    return SN_OK;
}

static int find_nodes(struct replacer *replacer, const struct sn_model *model, const char *node,
                      const char *by, const char *function)
{
    struct sn_context *context = replacer->context;
    const struct sn_circuit *circuit = replacer->circuit;
    int status = find_tap(&replacer->node, replacer, model, "node", node, function);
    if (status == SN_OK)
        status = find_tap(&replacer->by, replacer, model, "by", by, function);
    if (status != SN_OK)
        return status;
    const struct tap *to = &replacer->node, *from = &replacer->by;
    if (from->site > to->site || (from->site == to->site && from->channel == to->channel))
        return fail(context, SN_ERROR_ARGUMENT,
                    "%s: by, \"%s\", is not another node at the site of \"%s\" "
                    "or before it",
                    function, by, node);
    if (circuit && !circuit->kept[node_layout_first(&circuit->layout, to->site) + to->channel])
        return fail(context, SN_ERROR_ARGUMENT, "%s: node, \"%s\", is not in the circuit", function,
                    node);
    return SN_OK;
}

static int check(struct sn_context *context, const sn_replacement *result, const struct sn_model *model,
                 const struct sn_task *fit, const struct sn_task *task, const char *function)
{
    if (!result || result->struct_size < 2 * sizeof(size_t))
        return fail(context, SN_ERROR_ARGUMENT, "%s: result is NULL or its struct_size %zu", function,
                    result ? result->struct_size : 0);
    if (!model || !fit || !task)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function,
                    !model ? "model"
                    : !fit ? "fit"
                           : "task");
    if (sn_task_count(fit) == 0 || sn_task_count(task) == 0)
        return fail(context, SN_ERROR_ARGUMENT, "%s: task %s has no pairs", function,
                    sn_task_name(sn_task_count(fit) ? task : fit));
    return SN_OK;
}

static int read_settings(struct replace_settings *settings, struct sn_context *context,
                         const struct sn_model *model, const char *function, const sn_options *options)
{
    static const struct option_spec specs[] = {
        {"tokens", OPTION_INTEGER, offsetof(struct replace_settings, tokens), 32768, 1, 1e12, NULL},
        {"window", OPTION_INTEGER, offsetof(struct replace_settings, window), 0, 0, 1e9, NULL},
        {"seed", OPTION_INTEGER, offsetof(struct replace_settings, seed), 0, 0, 9e15, NULL},
    };
    size_t block = model->config.block_size;
    int status = options_read(settings, context, function, specs, sizeof specs / sizeof *specs, options);
    if (status == SN_OK && settings->window > block)
        status = fail(context, SN_ERROR_ARGUMENT, "%s: window is %zu, block_size %zu", function,
                      settings->window, block);
    if (settings->window == 0)
        settings->window = block;
    return status;
}

int sn_replace_node(sn_replacement *result, sn_context *context, sn_model *model, const sn_means *means,
                    const sn_circuit *circuit, const char *node, const char *by, const sn_corpus *corpus,
                    const sn_task *fit, const sn_task *task, const sn_options *options)
{
    static const char function[] = "sn_replace_node";
    if (!context)
        return SN_ERROR_ARGUMENT;
    struct replacer replacer = {.context = context, .circuit = circuit};
    int status = check(context, result, model, fit, task, function);
    if (status == SN_OK)
        status = ablated_run_check(context, model, circuit, means, function);
    if (status == SN_OK)
        status = find_nodes(&replacer, model, node, by, function);
    if (status == SN_OK)
        status = read_settings(&replacer.settings, context, model, function, options);
    if (status != SN_OK)
        return status;
    status = replacer_open(&replacer, model, means, corpus, fit, task);
    if (status == SN_OK)
        status = replace(result, &replacer, corpus);
    replacer_close(&replacer);
    return status;
}
