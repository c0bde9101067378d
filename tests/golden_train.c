/* Golden training steps: explicit batches, rates and densities through the trainer's single-step entry;
 * every parameter after every step, and the moments at the end. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "train/trainer.h"

struct train_case {
    FILE *out;
    sn_context *context;
    json_t *meta;
    struct golden_file *expected;
    sn_trainer *trainer;
    int32_t *tokens, *targets;
    size_t steps, batch, length;
    int failures;
};

static double meta_number(const struct train_case *c, const char *key)
{
    return json_number_value(json_object_get(c->meta, key));
}

static double meta_entry(const struct train_case *c, const char *key, size_t i)
{
    return json_number_value(json_array_get(json_object_get(c->meta, key), i));
}

static int set_options(const struct train_case *c, sn_options *options)
{
    static const char *const numbers[][2] = {
        {"beta1", "beta1"},
        {"beta2", "beta2"},
        {"epsilon", "eps"},
        {"weight_decay", "weight_decay"},
        {"minimum_per_neuron", "min_alive"},
    };
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < sizeof numbers / sizeof *numbers; i++)
        status = sn_options_set(options, c->context, numbers[i][0], meta_number(c, numbers[i][1]));
    if (status == SN_OK)
        status = sn_options_set(options, c->context, "density_bias", 1);
    if (status == SN_OK)
        status = sn_options_set(options, c->context, "steps", (double)c->steps);
    json_t *clip = json_object_get(c->meta, "clip_rms");
    if (status != SN_OK || !json_is_number(clip))
        return status == SN_OK ? sn_options_set_text(options, c->context, "order", "script") : status;
    status = sn_options_set_text(options, c->context, "rms_mode", "clip");
    return status == SN_OK ? sn_options_set(options, c->context, "rms_limit", json_number_value(clip))
                           : status;
}

static int open_trainer(struct train_case *c, const char *directory)
{
    sn_model *model = NULL;
    sn_options *options = NULL;
    int status = golden_load(&model, c->context, directory);
    if (status == SN_OK)
        status = sn_options_create(&options, c->context);
    if (status == SN_OK)
        status = set_options(c, options);
    if (status == SN_OK)
        status = sn_trainer_create(&c->trainer, c->context, model, options);
    sn_options_free(options);
    sn_model_free(model);
    return status;
}

static void miss(struct train_case *c, const char *name, const char *why)
{
    fprintf(c->out, "FAIL %s: %s\n", name, why);
    c->failures++;
}

static void compare(struct train_case *c, const char *name, const float *got, size_t n, double relative,
                    double absolute)
{
    struct golden_tensor tensor;
    float *expected = golden_floats(c->expected, name, &tensor);
    if (expected && tensor.count == n)
        c->failures += golden_compare(c->out, name, got, expected, n,
                                      relative * golden_max_abs(expected, n) + absolute);
    else
        miss(c, name, "missing among the expected tensors, or of another size");
    free(expected);
}

/* The zero pattern of a masked matrix must match exactly. */
static void compare_zeros(struct train_case *c, const char *name, const float *got, size_t n)
{
    size_t wrong = 0;
    struct golden_tensor tensor;
    float *expected = golden_floats(c->expected, name, &tensor);
    for (size_t i = 0; expected && i < tensor.count && i < n; i++)
        wrong += (got[i] == 0) != (expected[i] == 0);
    if (wrong)
        fprintf(c->out, "FAIL %s: %zu entries are zero on one side only\n", name, wrong);
    c->failures += wrong != 0;
    free(expected);
}

static void compare_parameters(struct train_case *c, size_t step)
{
    for (size_t i = 0; i < c->trainer->n_parameters; i++) {
        const struct train_parameter *parameter = &c->trainer->parameters[i];
        const struct parameter *model = train_model_parameter(c->trainer, parameter);
        char name[256];
        size_t needed;
        float *got = malloc(parameter->elements * sizeof *got);
        snprintf(name, sizeof name, "step%zu.param.%s", step, model->name);
        if (!got || sn_model_tensor(got, parameter->elements, &needed, c->context, c->trainer->model,
                                    model->name) != SN_OK) {
            miss(c, name, sn_context_message(c->context));
        } else {
            compare(c, name, got, parameter->elements, 2e-5, 2e-7);
            if (parameter->class == CLASS_MATRIX || parameter->class == CLASS_EMBEDDING)
                compare_zeros(c, name, got, parameter->elements);
        }
        free(got);
    }
}

static void compare_number(struct train_case *c, size_t step, const char *what, double value)
{
    char name[64];
    float got = (float)value;
    snprintf(name, sizeof name, "step%zu.%s", step, what);
    compare(c, name, &got, 1, 1e-5, 0);
}

static int run_steps(struct train_case *c)
{
    size_t *offsets = calloc(c->batch + 1, sizeof *offsets);
    int status = offsets ? SN_OK : SN_ERROR_MEMORY;
    for (size_t b = 0; offsets && b <= c->batch; b++)
        offsets[b] = b * c->length;
    for (size_t step = 0; status == SN_OK && step < c->steps; step++) {
        size_t first = step * c->batch * c->length;
        double loss, rms;
        status = trainer_step_with(c->trainer, c->tokens + first, offsets, c->batch, c->targets + first,
                                   meta_entry(c, "lr", step), meta_entry(c, "density_matrices", step),
                                   meta_entry(c, "density_embeddings", step), &loss, &rms);
        if (status != SN_OK)
            break;
        compare_number(c, step + 1, "loss", loss);
        compare_number(c, step + 1, "grad_rms", rms);
        compare_parameters(c, step + 1);
    }
    free(offsets);
    return status;
}

static void compare_moments(struct train_case *c)
{
    for (size_t i = 0; i < c->trainer->n_parameters; i++) {
        const struct train_parameter *parameter = &c->trainer->parameters[i];
        const char *parameter_name = train_model_parameter(c->trainer, parameter)->name;
        char name[256];
        snprintf(name, sizeof name, "final.m.%s", parameter_name);
        compare(c, name, parameter->first, parameter->elements, 1e-4, 1e-12);
        snprintf(name, sizeof name, "final.v.%s", parameter_name);
        compare(c, name, parameter->second, parameter->elements, 1e-4, 1e-16);
    }
}

static int check_case(struct train_case *c, const char *directory)
{
    size_t n_tokens = 0, n_targets = 0;
    c->expected = golden_open_in(directory, "expected.safetensors");
    c->meta = golden_meta(directory);
    c->tokens = golden_tokens(directory, "tokens.i32", &n_tokens);
    c->targets = golden_tokens(directory, "targets.i32", &n_targets);
    c->steps = (size_t)meta_entry(c, "tokens_shape", 0);
    c->batch = (size_t)meta_entry(c, "tokens_shape", 1);
    c->length = (size_t)meta_entry(c, "tokens_shape", 2);
    if (!c->expected || !c->meta || !c->tokens || !c->targets ||
        n_tokens != c->steps * c->batch * c->length || n_targets != n_tokens) {
        miss(c, directory, "expected.safetensors, meta.json, tokens.i32 or targets.i32");
        return SN_OK;
    }
    int status = open_trainer(c, directory);
    if (status == SN_OK)
        status = run_steps(c);
    if (status == SN_OK)
        compare_moments(c);
    return status;
}

int golden_check_train(const char *directory, FILE *out)
{
    struct train_case c = {.out = out};
    if (sn_context_create(&c.context, NULL) != SN_OK) {
        fprintf(out, "FAIL %s: no context\n", directory);
        return 1;
    }
    int status = check_case(&c, directory);
    if (status != SN_OK)
        miss(&c, directory, sn_context_message(c.context));
    sn_trainer_free(c.trainer);
    golden_close(c.expected);
    json_decref(c.meta);
    free(c.tokens);
    free(c.targets);
    sn_context_free(c.context);
    return c.failures;
}
