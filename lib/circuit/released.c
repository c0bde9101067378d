#include "circuit/released.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/options.h"

struct settings {
    const char *name;
    double target_a, target_b; /* below 0: the model's answers */
};

static const struct option_spec specs[] = {
    {"name", OPTION_TEXT, offsetof(struct settings, name), 0, 0, 0, NULL},
    {"target_a", OPTION_NUMBER, offsetof(struct settings, target_a), -1, -1, INT32_MAX, NULL},
    {"target_b", OPTION_NUMBER, offsetof(struct settings, target_b), -1, -1, INT32_MAX, NULL},
};

/* ---- the file and the model it is of */

static int open_file(struct released *released)
{
    int status = torch_file_open(&released->file, released->context, released->path);
    if (status != SN_OK)
        return status;
    const struct pickle_value *root = torch_file_root(&released->file);
    released->kept = pickle_find(root, "circuit_data");
    released->importances = pickle_find(root, "importances");
    if (!released->kept)
        return fail(released->context, SN_ERROR_FORMAT,
                    "%s: no released circuit: a dict with \"circuit_data\" was expected",
                    released->path);
    if (released->kept->kind != PICKLE_DICT)
        return released_fail(released, "circuit_data", "is %s; a dict was expected",
                             pickle_kind_name(released->kept));
    if (released->importances && released->importances->kind != PICKLE_DICT)
        return released_fail(released, "importances", "is %s; a dict was expected",
                             pickle_kind_name(released->importances));
    return SN_OK;
}

/* The configuration in the file may leave keys out (None: derived from others). */
static int check_config(struct released *released)
{
    static const char *const keys[] = {"n_layer", "d_model", "n_head",     "d_head",
                                       "d_mlp",   "n_mlp",   "vocab_size", "block_size"};
    const struct pickle_value *config = pickle_find(released->importances, "beeg_model_config");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct pickle_value *value = pickle_find(config, keys[i]);
        const char *own = strcmp(keys[i], "n_mlp") == 0 ? "d_mlp" : keys[i];
        const int64_t expected = sn_model_config_number(released->model, own);
        if (value && value->kind == PICKLE_INTEGER && value->as.integer != expected)
            return released_fail(released, "importances[\"beeg_model_config\"]",
                                 "%s is %lld; that of this model is %lld", keys[i],
                                 (long long)value->as.integer, (long long)expected);
    }
    return SN_OK;
}

/* The file counts the channels of final_resid where it has that site. */
static int check_total(struct released *released, const struct node_layout *layout)
{
    const struct pickle_value *total = pickle_find(torch_file_root(&released->file), "num_total_nodes");
    const size_t extra =
        pickle_find(released->kept, "final_resid") ? released->model->config.d_model : 0;
    if (!total || total->kind != PICKLE_INTEGER ||
        total->as.integer == (int64_t)(layout->n_nodes + extra))
        return SN_OK;
    return released_fail(released, "num_total_nodes",
                         "is %lld; this model has %zu at the sites of the file",
                         (long long)total->as.integer, layout->n_nodes + extra);
}

/* ---- the circuit */

static int fill_circuit(struct sn_circuit *circuit, struct released *released)
{
    struct memory *memory = released->context->memory;
    const size_t n_nodes = circuit->layout.n_nodes;
    size_t n_unplaced = 0;
    unsigned char *kept = memory_allocate_zeroed(memory, n_nodes);
    int status = kept ? SN_OK : fail_memory(released->context, "a circuit", n_nodes);
    if (status == SN_OK)
        status = check_total(released, &circuit->layout);
    if (status == SN_OK)
        status = released_mark_nodes(kept, &n_unplaced, released, &circuit->layout);
    if (status == SN_OK)
        status = circuit_set_nodes(circuit, released->context, kept);
    if (status == SN_OK)
        status = released_losses(released, circuit);
    if (status == SN_OK)
        status = released_edges(released, circuit);
    if (status == SN_OK && n_unplaced)
        status = released_add(released, circuit, (double)n_unplaced, "released_unplaced_nodes");
    memory_free(memory, kept, n_nodes);
    return status;
}

static int load(sn_circuit **circuit, sn_task **task, struct released *released,
                const struct settings *settings)
{
    int status = open_file(released);
    if (status == SN_OK)
        status = check_config(released);
    if (status == SN_OK)
        status = sn_circuit_create(circuit, released->context, released->model, settings->name);
    if (status == SN_OK)
        status = fill_circuit(*circuit, released);
    if (status == SN_OK && task)
        status = released_task(task, released, settings->name, (int32_t)settings->target_a,
                               (int32_t)settings->target_b);
    torch_file_close(&released->file);
    return status;
}

static int check_settings(struct settings *settings, sn_context *context, const sn_model *model,
                          const sn_options *options)
{
    const double n_words = (double)model->config.vocab_size;
    int status = options_read(settings, context, "sn_circuit_load_released", specs,
                              sizeof specs / sizeof *specs, options);
    if (status != SN_OK)
        return status;
    if (!settings->name)
        settings->name = "released";
    const double targets[2] = {settings->target_a, settings->target_b};
    for (int i = 0; i < 2; i++)
        if (targets[i] >= n_words || (targets[i] != -1 && !(targets[i] >= 0)) ||
            targets[i] != (double)(int32_t)targets[i])
            return fail(context, SN_ERROR_ARGUMENT,
                        "sn_circuit_load_released: target_%c is %s; a token below %s or -1 was expected",
                        "ab"[i], SHOWN(targets[i]), SHOWN(n_words));
    if (targets[0] >= 0 && targets[0] == targets[1])
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_circuit_load_released: target_a and target_b are both %s", SHOWN(targets[0]));
    return SN_OK;
}

int sn_circuit_load_released(sn_circuit **circuit, sn_task **task, sn_context *context, sn_model *model,
                             const char *path, const sn_options *options)
{
    struct settings settings;
    if (circuit)
        *circuit = NULL;
    if (task)
        *task = NULL;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !model || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_load_released: %s is NULL",
                    !circuit ? "circuit"
                    : model  ? "path"
                             : "model");
    int status = check_settings(&settings, context, model, options);
    if (status != SN_OK)
        return status;
    struct released released = {.context = context, .model = model, .path = path};
    status = load(circuit, task, &released, &settings);
    if (status != SN_OK) {
        sn_circuit_free(*circuit);
        *circuit = NULL;
    }
    return status;
}
