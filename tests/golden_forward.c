/* Logits, loss, every hook and every gradient of a golden model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "sparsenet.h"

struct forward_case {
    FILE *out;
    sn_context *context;
    sn_model *model;
    sn_session *session;
    json_t *meta;
    struct golden_file *expected;
    int32_t *tokens, *targets;
    size_t batch, length;
    int failures;
};

static double limit_of(const struct forward_case *c, const char *kind, const float *expected, size_t n)
{
    json_t *tolerance = json_object_get(json_object_get(c->meta, "tolerance"), kind);
    return json_number_value(json_object_get(tolerance, "atol_times_maxabs")) *
               golden_max_abs(expected, n) +
           1e-8;
}

static void trouble(struct forward_case *c, const char *what, const char *why)
{
    fprintf(c->out, "FAIL %s: %s\n", what, why);
    c->failures++;
}

static void compare(struct forward_case *c, const char *name, const char *kind, const float *got,
                    size_t n)
{
    struct golden_tensor tensor;
    float *expected = golden_floats(c->expected, name, &tensor);
    if (expected && tensor.count == n)
        c->failures += golden_compare(c->out, name, got, expected, n, limit_of(c, kind, expected, n));
    else
        trouble(c, name, "missing among the expected tensors, or of another size");
    free(expected);
}

static int run_model(struct forward_case *c)
{
    size_t offsets[65];
    double loss;
    if (c->batch > 64)
        return SN_ERROR_ARGUMENT;
    for (size_t b = 0; b <= c->batch; b++)
        offsets[b] = b * c->length;
    for (size_t s = 0; s < sn_model_site_count(c->model); s++)
        if (sn_session_record(c->session, sn_model_site_name(c->model, s)) != SN_OK)
            return SN_ERROR_ARGUMENT;
    int status = sn_session_forward(c->session, c->tokens, offsets, c->batch);
    if (status == SN_OK)
        status = sn_session_loss(&loss, c->session, c->targets);
    if (status == SN_OK) {
        float got = (float)loss;
        compare(c, "loss", "loss", &got, 1);
        status = sn_session_backward(c->session, c->targets);
    }
    return status;
}

static int starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* The whole gradient of a parameter, malloc'ed; NULL after a message in the context. */
static float *whole_gradient(size_t *n, struct forward_case *c, const char *parameter)
{
    if (sn_session_gradient(NULL, 0, n, c->session, parameter) != SN_OK)
        return NULL;
    float *gradient = malloc((*n + 1) * sizeof *gradient);
    if (gradient && sn_session_gradient(gradient, *n, n, c->session, parameter) == SN_OK)
        return gradient;
    free(gradient);
    return NULL;
}

/* gradrows.NAME.value: the rows that NAME.index lists; all others must be zero. */
static int read_rows(struct forward_case *c, const char *name, float *got, size_t n)
{
    char parameter[128], index_name[160];
    struct golden_tensor index;
    size_t n_gradient = 0, n_stray = 0;
    snprintf(parameter, sizeof parameter, "%.*s",
             (int)(strlen(name) - strlen("gradrows.") - strlen(".value")), name + strlen("gradrows."));
    snprintf(index_name, sizeof index_name, "gradrows.%s.index", parameter);
    float *rows = golden_floats(c->expected, index_name, &index);
    float *gradient = rows && index.count ? whole_gradient(&n_gradient, c, parameter) : NULL;
    const size_t cols = gradient ? n / index.count : 0;
    for (size_t i = 0; i < index.count && gradient; i++) {
        float *row = gradient + (size_t)rows[i] * cols;
        memcpy(got + i * cols, row, cols * sizeof *got);
        memset(row, 0, cols * sizeof *row);
    }
    for (size_t i = 0; i < n_gradient && gradient; i++)
        n_stray += gradient[i] != 0;
    if (n_stray)
        trouble(c, name, "rows that are not listed have a gradient");
    free(rows);
    free(gradient);
    return cols ? SN_OK : SN_ERROR_FORMAT;
}

/* gradsum.NAME: the sums of g, |g|, g^2 and g * cos(index). */
static int read_sums(struct forward_case *c, const char *name, float *got, size_t n)
{
    size_t n_gradient = 0;
    double sums[4] = {0};
    float *gradient = n == 4 ? whole_gradient(&n_gradient, c, name + strlen("gradsum.")) : NULL;
    if (!gradient)
        return SN_ERROR_FORMAT;
    for (size_t i = 0; i < n_gradient; i++) {
        const double g = (double)gradient[i];
        sums[0] += g;
        sums[1] += fabs(g);
        sums[2] += g * g;
        sums[3] += g * cos((double)i);
    }
    for (size_t i = 0; i < 4; i++)
        got[i] = (float)sums[i];
    free(gradient);
    return SN_OK;
}

static int read_result(struct forward_case *c, const char *name, float *got, size_t n)
{
    size_t needed;
    if (strcmp(name, "logits") == 0)
        return sn_session_logits(got, n, &needed, c->session);
    if (starts_with(name, "gradrows."))
        return read_rows(c, name, got, n);
    if (starts_with(name, "gradsum."))
        return read_sums(c, name, got, n);
    if (starts_with(name, "hook."))
        return sn_session_activations(got, n, &needed, c->session, name + 5);
    return sn_session_gradient(got, n, &needed, c->session, name + 5);
}

static const char *kind_of(const char *name)
{
    return starts_with(name, "hook.") ? "hook" : starts_with(name, "grad") ? "grad" : name;
}

static void compare_all(struct forward_case *c)
{
    const char *name;
    json_t *entry;
    struct golden_tensor tensor;
    size_t n_compared = 0;
    json_object_foreach(c->expected->header, name, entry)
    {
        if (strcmp(name, "loss") == 0 || strcmp(name, "__metadata__") == 0 ||
            (starts_with(name, "gradrows.") && strstr(name, ".index")))
            continue;
        float *got =
            golden_find(c->expected, name, &tensor) ? malloc((tensor.count + 1) * sizeof *got) : NULL;
        if (!got)
            trouble(c, name, "malformed among the expected tensors");
        else if (read_result(c, name, got, tensor.count) != SN_OK)
            trouble(c, name, sn_context_message(c->context));
        else
            compare(c, name, kind_of(name), got, tensor.count);
        n_compared++;
        free(got);
    }
    if (n_compared < 3) /* logits, hooks, gradients */
        trouble(c, "expected.safetensors", "holds next to nothing");
}

static void open_case(struct forward_case *c, const char *directory)
{
    size_t n, m;
    sn_options *options = NULL;
    c->meta = golden_meta(directory);
    c->expected = golden_open_in(directory, "expected.safetensors");
    c->tokens = golden_tokens(directory, "tokens.i32", &n);
    c->targets = golden_tokens(directory, "targets.i32", &m);
    json_t *shape = json_object_get(c->meta, "tokens_shape");
    c->batch = (size_t)json_integer_value(json_array_get(shape, 0));
    c->length = (size_t)json_integer_value(json_array_get(shape, 1));
    if (!c->meta || !c->tokens || !c->targets || n != m || n != c->batch * c->length)
        trouble(c, directory, "meta.json, tokens.i32 or targets.i32 is missing, or they do not fit");
    else if (!c->expected)
        trouble(c, "expected.safetensors", "missing or malformed");
    else if (golden_load(&c->model, c->context, directory) != SN_OK)
        trouble(c, "load", sn_context_message(c->context));
    else if (sn_options_create(&options, c->context) != SN_OK ||
             sn_options_set_text(options, c->context, "gradients", "dense") != SN_OK ||
             sn_session_create(&c->session, c->context, c->model, options) != SN_OK)
        trouble(c, "session", sn_context_message(c->context));
    sn_options_free(options);
}

int golden_check_forward(const char *directory, FILE *out)
{
    struct forward_case c = {.out = out};
    if (sn_context_create(&c.context, NULL) != SN_OK) {
        fprintf(out, "FAIL no context\n");
        return 1;
    }
    open_case(&c, directory);
    if (c.failures == 0) {
        if (run_model(&c) != SN_OK)
            trouble(&c, "run", sn_context_message(c.context));
        else
            compare_all(&c);
    }
    sn_session_free(c.session);
    sn_model_free(c.model);
    golden_close(c.expected);
    json_decref(c.meta);
    free(c.tokens);
    free(c.targets);
    sn_context_free(c.context);
    return c.failures;
}
