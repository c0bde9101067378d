/* Golden pruning step: node masks at given taus and means, the gradient of the loss through them, the
 * surrogate gradient of tau, one optimizer step. Formulas stand in the case's meta.json. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "circuit/prune.h"
#include "golden.h"

#define SMALL_GRADIENT 1e-5 /* Adam's first step is a sign: below it tau_after is not compared */

struct prune_case {
    FILE *out;
    sn_context *context;
    json_t *meta;
    struct golden_file *masks_file, *expected;
    sn_model *model;
    struct node_layout layout;
    struct gates gates;
    struct masks masks;
    float *means;
    sn_session *session;
    int32_t *tokens, *targets;
    size_t n_tokens;
    int failures;
};

static double number(const struct prune_case *c, const char *key)
{
    return json_number_value(json_object_get(c->meta, key));
}

static void miss(struct prune_case *c, const char *name, const char *why)
{
    fprintf(c->out, "FAIL %s: %s\n", name, why);
    c->failures++;
}

/* 3e-5 x the largest expected value + 1e-7, as meta.json states. skip: entries not to compare. */
static void compare(struct prune_case *c, const char *name, const float *got, size_t n,
                    const unsigned char *skip)
{
    struct golden_tensor tensor;
    float *expected = golden_floats(c->expected, name, &tensor);
    if (!expected || tensor.count != n) {
        miss(c, name, "missing among the expected tensors, or of another size");
    } else {
        double limit = 3e-5 * golden_max_abs(expected, n) + 1e-7;
        for (size_t i = 0; skip && i < n; i++)
            if (skip[i])
                expected[i] = got[i];
        c->failures += golden_compare(c->out, name, got, expected, n, limit);
    }
    free(expected);
}

static void compare_number(struct prune_case *c, const char *name, double got)
{
    float value = (float)got;
    compare(c, name, &value, 1, NULL);
}

/* tau and means of every node site. */
static int read_masks(struct prune_case *c)
{
    for (size_t s = 0; s < c->layout.n_sites; s++) {
        const struct node_site *site = &c->layout.sites[s];
        float *into[2] = {c->masks.tau + site->first, c->means + site->first};
        for (int i = 0; i < 2; i++) {
            char name[128];
            struct golden_tensor tensor;
            snprintf(name, sizeof name, "%s.%s", i ? "mean" : "tau", c->model->site_names[site->site]);
            float *values = golden_floats(c->masks_file, name, &tensor);
            int fits = values && tensor.count == site->width;
            if (fits)
                memcpy(into[i], values, site->width * sizeof *values);
            free(values);
            if (!fits)
                return fail(c->context, SN_ERROR_FORMAT, "masks.safetensors: %s does not fit", name);
        }
    }
    return SN_OK;
}

static int open_case(struct prune_case *c, const char *directory)
{
    size_t n_targets = 0;
    c->meta = golden_meta(directory);
    c->tokens = golden_tokens(directory, "tokens.i32", &c->n_tokens);
    c->targets = golden_tokens(directory, "targets.i32", &n_targets);
    c->masks_file = golden_open_in(directory, "masks.safetensors");
    c->expected = golden_open_in(directory, "expected.safetensors");
    if (!c->meta || !c->tokens || !c->targets || n_targets != c->n_tokens)
        return fail(c->context, SN_ERROR_FORMAT, "meta.json, tokens.i32 or targets.i32 is missing");
    if (!c->masks_file || !c->expected)
        return fail(c->context, SN_ERROR_FORMAT, "masks.safetensors or expected.safetensors is missing");
    int status = golden_load(&c->model, c->context, directory);
    if (status == SN_OK)
        status = node_layout_create(&c->layout, c->context, c->model);
    if (status == SN_OK)
        status = masks_create(&c->masks, c->context, c->layout.n_nodes);
    c->means = status == SN_OK ? calloc(c->layout.n_nodes + 1, sizeof *c->means) : NULL;
    if (status == SN_OK && !c->means)
        status = SN_ERROR_MEMORY;
    if (status == SN_OK)
        status = read_masks(c);
    return status;
}

static int run_model(struct prune_case *c, double *loss)
{
    const json_t *shape = json_object_get(c->meta, "tokens_shape");
    size_t rows = (size_t)json_integer_value(json_array_get(shape, 0)), length = c->n_tokens / rows;
    size_t *offsets = calloc(rows + 1, sizeof *offsets);
    int status =
        offsets ? session_create(&c->session, c->context, c->model, GRADIENT_NONE) : SN_ERROR_MEMORY;
    for (size_t i = 0; offsets && i <= rows; i++)
        offsets[i] = i * length;
    if (status == SN_OK)
        status = gates_create(&c->gates, c->context, &c->layout, c->means);
    if (status == SN_OK) {
        masks_heaviside(c->gates.mask, c->masks.tau, c->masks.n);
        status = gates_attach(&c->gates, c->session, 1);
    }
    for (size_t site = 0; status == SN_OK && site < sn_model_site_count(c->model); site++)
        status = sn_session_record(c->session, sn_model_site_name(c->model, site));
    if (status == SN_OK)
        status = sn_session_forward(c->session, c->tokens, offsets, rows);
    if (status == SN_OK)
        status = sn_session_loss(loss, c->session, c->targets);
    if (status == SN_OK)
        status = sn_session_backward(c->session, c->targets);
    free(offsets);
    return status;
}

static void compare_forward(struct prune_case *c, double loss)
{
    size_t needed, n_active = 0;
    for (size_t i = 0; i < c->masks.n; i++)
        n_active += c->masks.tau[i] > 0;
    compare_number(c, "loss_ce", loss);
    compare_number(c, "loss_total", loss + number(c, "k_coef") * (double)n_active);
    compare_number(c, "n_active", (double)n_active);
    size_t size = c->n_tokens * (size_t)sn_model_config_number(c->model, "vocab_size");
    float *logits = malloc(size * sizeof *logits);
    if (logits && sn_session_logits(logits, size, &needed, c->session) == SN_OK)
        compare(c, "logits", logits, needed, NULL);
    else
        miss(c, "logits", sn_context_message(c->context));
    free(logits);
    for (size_t site = 0; site < sn_model_site_count(c->model); site++) {
        const char *site_name = sn_model_site_name(c->model, site);
        char name[128];
        size_t n = c->n_tokens * sn_model_site_width(c->model, site_name);
        float *values = malloc(n * sizeof *values);
        snprintf(name, sizeof name, "hook.%s", site_name);
        if (values && sn_session_activations(values, n, &needed, c->session, site_name) == SN_OK)
            compare(c, name, values, needed, NULL);
        else
            miss(c, name, sn_context_message(c->context));
        free(values);
    }
}

static void compare_sites(struct prune_case *c, const char *prefix, const float *values,
                          const unsigned char *skip)
{
    for (size_t s = 0; s < c->layout.n_sites; s++) {
        const struct node_site *site = &c->layout.sites[s];
        char name[128];
        snprintf(name, sizeof name, "%s.%s", prefix, c->model->site_names[site->site]);
        compare(c, name, values + site->first, site->width, skip ? skip + site->first : NULL);
    }
}

static int compare_step(struct prune_case *c)
{
    struct masks *masks = &c->masks;
    unsigned char *skip = calloc(masks->n + 1, 1);
    if (!skip)
        return SN_ERROR_MEMORY;
    masks_surrogate(masks, c->gates.gradient, 0, number(c, "temp"));
    compare_sites(c, "grad_ce", masks->gradient, NULL);
    masks_surrogate(masks, c->gates.gradient, number(c, "k_coef"), number(c, "temp"));
    compare_sites(c, "grad_total", masks->gradient, NULL);
    for (size_t i = 0; i < masks->n; i++)
        skip[i] = fabs((double)masks->gradient[i]) < SMALL_GRADIENT;
    int status = masks_step(masks, c->context, 1, number(c, "lr"), number(c, "weight_decay"),
                            number(c, "beta2"), 0);
    if (status == SN_OK)
        compare_sites(c, "tau_after", masks->tau, skip);
    free(skip);
    return status;
}

int golden_check_prune(const char *directory, FILE *out)
{
    struct prune_case c = {.out = out};
    double loss = 0;
    if (sn_context_create(&c.context, NULL) != SN_OK)
        return fprintf(out, "FAIL %s: no context\n", directory) > 0;
    int status = open_case(&c, directory);
    if (status == SN_OK)
        status = run_model(&c, &loss);
    if (status == SN_OK) {
        compare_forward(&c, loss);
        status = compare_step(&c);
    }
    if (status != SN_OK)
        miss(&c, directory, sn_context_message(c.context));
    gates_free(&c.gates);
    sn_session_free(c.session);
    masks_free(&c.masks);
    node_layout_free(&c.layout);
    sn_model_free(c.model);
    golden_close(c.expected);
    golden_close(c.masks_file);
    free(c.means);
    free(c.tokens);
    free(c.targets);
    json_decref(c.meta);
    sn_context_free(c.context);
    return c.failures;
}
