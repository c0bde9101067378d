#include "double_model.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RMS_EPSILON 0x1p-23
#define LAYER_NORM_EPSILON 1e-5

size_t double_model_size(const struct double_model *model, size_t parameter)
{
    const struct parameter *p = &model->model->parameters[parameter];
    return p->matrix || p->vector ? p->rows * (p->cols ? p->cols : 1) : 0;
}

static double *take(size_t n)
{
    double *values = calloc(n ? n : 1, sizeof *values);
    ck_assert_ptr_nonnull(values);
    return values;
}

void double_model_create(struct double_model *out, const sn_model *model)
{
    *out = (struct double_model){model, calloc(model->n_parameters, sizeof(double *))};
    ck_assert_ptr_nonnull(out->values);
    for (size_t i = 0; i < model->n_parameters; i++) {
        const struct parameter *p = &model->parameters[i];
        out->values[i] = take(double_model_size(out, i));
        for (size_t r = 0; p->matrix && r < p->rows; r++)
            for (size_t c = 0; c < p->cols; c++)
                out->values[i][r * p->cols + c] = (double)matrix_at(p->matrix, r, c);
        for (size_t r = 0; p->vector && r < p->rows; r++)
            out->values[i][r] = (double)p->vector[r];
    }
}

void double_model_free(struct double_model *model)
{
    for (size_t i = 0; i < model->model->n_parameters; i++)
        free(model->values[i]);
    free(model->values);
}

/* -------------------------------------------------------------------- one token's vector */

/* A run over one sequence; arrays are token-major. */
struct double_run {
    const struct double_model *model;
    const struct config *config;
    struct double_choices *choices;
    size_t n; /* tokens */
};

static const double *tensor(const struct double_run *run, int parameter)
{
    return parameter < 0 ? NULL : run->model->values[parameter];
}

static double largest_of(const double *x, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(x[i]));
    return largest;
}

static void decide(const struct double_run *run, int decision, double distance, double scale)
{
    run->choices->digest = (run->choices->digest ^ (uint64_t)(unsigned)decision) * 0x100000001B3u;
    if (scale > 0 && distance / scale < run->choices->nearest)
        run->choices->nearest = distance / scale;
}

/* Keeps the k largest in magnitude, of equals the first. */
static void keep_largest(const struct double_run *run, double *x, size_t width, enum topk_place place)
{
    const struct config *config = run->config;
    size_t k = (size_t)(config->afrac * (double)width);
    if (config->afrac == 0 || !(config->topk_places >> place & 1u) || k >= width)
        return;
    double *old = take(width), scale = largest_of(x, width), least = INFINITY, most = 0;
    memcpy(old, x, width * sizeof *x);
    for (size_t i = 0; i < width; i++) {
        size_t n_above = 0;
        for (size_t j = 0; j < width; j++)
            n_above += fabs(old[j]) > fabs(old[i]) || (j < i && fabs(old[j]) == fabs(old[i]));
        decide(run, n_above < k, 1, 0);
        if (n_above < k)
            least = fmin(least, fabs(old[i]));
        else
            most = fmax(most, fabs(old[i]));
        if (n_above >= k)
            x[i] = 0;
    }
    if (k && most > 0)
        decide(run, 0, least - most, scale);
    free(old);
}

static void rectify(const struct double_run *run, double *x, size_t width)
{
    double scale = largest_of(x, width);
    for (size_t i = 0; i < width; i++) {
        /* exactly 0 is no near miss: it stays so */
        decide(run, x[i] > 0, x[i] == 0 ? 1 : fabs(x[i]), x[i] == 0 ? 0 : scale);
        x[i] = x[i] > 0 ? x[i] : 0;
    }
}

static void normalise(const struct double_run *run, double *y, const double *x, size_t width, int weight,
                      int bias)
{
    const double *gain = tensor(run, weight), *shift = tensor(run, bias);
    double mean = 0, squares = 0;
    for (size_t i = 0; !run->config->rms_norm && i < width; i++)
        mean += x[i] / (double)width;
    for (size_t i = 0; i < width; i++)
        squares += (x[i] - mean) * (x[i] - mean) / (double)width;
    double root = sqrt(squares + (run->config->rms_norm ? RMS_EPSILON : LAYER_NORM_EPSILON));
    for (size_t i = 0; i < width; i++)
        y[i] = (x[i] - mean) / root * gain[i] + (shift ? shift[i] : 0);
}

/* y = W x + b */
static void map(const struct double_run *run, double *y, const double *x, int weight, int bias)
{
    const struct parameter *p = &run->model->model->parameters[weight];
    const double *w = tensor(run, weight), *b = tensor(run, bias);
    for (size_t r = 0; r < p->rows; r++) {
        y[r] = b ? b[r] : 0;
        for (size_t c = 0; c < p->cols; c++)
            y[r] += w[r * p->cols + c] * x[c];
    }
}

/* --------------------------------------------------------------------------- sublayers */

/* What a block reads of token t: the normed stream, positions behind it, AbsTopK. */
static void read_stream(const struct double_run *run, double *act_in, const double *x, size_t t,
                        size_t layer, int is_mlp)
{
    const struct config *config = run->config;
    const struct layer_parameters *p = &run->model->model->layers[layer];
    const double *positions = tensor(run, run->model->model->wpe);
    normalise(run, act_in, x, config->d_model, is_mlp ? p->ln_2 : p->ln_1,
              is_mlp ? p->ln_2_bias : p->ln_1_bias);
    if (config->d_pos_emb)
        normalise(run, act_in + config->d_model, positions + t * config->d_pos_emb, config->d_pos_emb,
                  is_mlp ? p->ln_p2 : p->ln_p1, is_mlp ? p->ln_p2_bias : p->ln_p1_bias);
    keep_largest(run, act_in, config->d_model + config->d_pos_emb, is_mlp ? TOPK_MLP_IN : TOPK_ATTN_IN);
}

/* Softmax over keys 0..t and, with a sink, one more whose value is zero. qkv: n x 3 widths. */
static void attend(const struct double_run *run, double *y, const double *qkv, size_t t, size_t head,
                   const double *sinks)
{
    size_t d_head = run->config->d_head, width = run->config->n_head * d_head;
    double *score = take(run->n), highest = sinks ? sinks[head] : -INFINITY;
    for (size_t s = 0; s <= t; s++) {
        for (size_t c = head * d_head; c < (head + 1) * d_head; c++)
            score[s] += qkv[t * 3 * width + c] * qkv[s * 3 * width + width + c] / sqrt((double)d_head);
        highest = fmax(highest, score[s]);
    }
    double total = sinks ? exp(sinks[head] - highest) : 0;
    for (size_t s = 0; s <= t; s++)
        total += exp(score[s] - highest);
    for (size_t c = head * d_head; c < (head + 1) * d_head; c++) {
        y[c] = 0;
        for (size_t s = 0; s <= t; s++)
            y[c] += exp(score[s] - highest) / total * qkv[s * 3 * width + 2 * width + c];
    }
    free(score);
}

static void add_write(const struct double_run *run, double *x, double *delta, int is_mlp)
{
    size_t width = run->config->d_model;
    keep_largest(run, delta, width, is_mlp ? TOPK_MLP_OUT : TOPK_ATTN_OUT);
    for (size_t i = 0; i < width; i++)
        x[i] += delta[i];
    if (run->config->residual_relu)
        rectify(run, x, width);
    keep_largest(run, x, width, is_mlp ? TOPK_RESID_POST_MLP : TOPK_RESID_POST_ATTN);
}

static void run_attention(const struct double_run *run, double *stream, size_t layer)
{
    const struct config *config = run->config;
    const struct layer_parameters *p = &run->model->model->layers[layer];
    size_t d_model = config->d_model, width = config->n_head * config->d_head;
    double *act_in = take(d_model + config->d_pos_emb), *qkv = take(run->n * 3 * width),
           *y = take(width), *delta = take(d_model);
    for (size_t t = 0; t < run->n; t++) {
        double *row = qkv + t * 3 * width;
        read_stream(run, act_in, stream + t * d_model, t, layer, 0);
        map(run, row, act_in, p->c_attn, p->c_attn_bias);
        keep_largest(run, row, width, TOPK_ATTN_Q);
        keep_largest(run, row + width, width, TOPK_ATTN_K);
        keep_largest(run, row + 2 * width, width, TOPK_ATTN_V);
    }
    for (size_t t = 0; t < run->n; t++) {
        for (size_t head = 0; head < config->n_head; head++)
            attend(run, y, qkv, t, head, tensor(run, p->sink));
        map(run, delta, y, p->attn_proj, p->attn_proj_bias);
        add_write(run, stream + t * d_model, delta, 0);
    }
    free(act_in);
    free(qkv);
    free(y);
    free(delta);
}

static void run_mlp(const struct double_run *run, double *stream, size_t layer)
{
    const struct config *config = run->config;
    const struct layer_parameters *p = &run->model->model->layers[layer];
    size_t d_model = config->d_model;
    double *act_in = take(d_model + config->d_pos_emb), *neurons = take(config->d_mlp),
           *delta = take(d_model);
    for (size_t t = 0; t < run->n; t++) {
        read_stream(run, act_in, stream + t * d_model, t, layer, 1);
        map(run, neurons, act_in, p->c_fc, p->c_fc_bias);
        if (config->mlp_relu)
            rectify(run, neurons, config->d_mlp);
        for (size_t i = 0; !config->mlp_relu && i < config->d_mlp; i++)
            neurons[i] *= 0.5 * (1 + erf(neurons[i] / sqrt(2)));
        keep_largest(run, neurons, config->d_mlp, TOPK_MLP_NEURON);
        map(run, delta, neurons, p->mlp_proj, p->mlp_proj_bias);
        add_write(run, stream + t * d_model, delta, 1);
    }
    free(act_in);
    free(neurons);
    free(delta);
}

/* --------------------------------------------------------------------------- whole model */

static void embed(const struct double_run *run, double *stream, const int32_t *tokens)
{
    const sn_model *model = run->model->model;
    const double *embedding = tensor(run, model->wte), *positions = tensor(run, model->wpe);
    size_t width = run->config->d_model;
    for (size_t t = 0; t < run->n; t++)
        for (size_t c = 0; c < width; c++)
            stream[t * width + c] = embedding[(size_t)tokens[t] * width + c] +
                                    (run->config->has_d_pos_emb ? 0 : positions[t * width + c]);
}

static double token_loss(const struct double_run *run, const double *x, int32_t token, int32_t target)
{
    const sn_model *model = run->model->model;
    size_t n = run->config->vocab_size;
    double *normed = take(run->config->d_model), *logits = take(n), total = 0, highest = -INFINITY;
    const double *table = tensor(run, model->bigram);
    normalise(run, normed, x, run->config->d_model, model->ln_f, model->ln_f_bias);
    map(run, logits, normed, model->lm_head, model->logits_bias);
    for (size_t i = 0; i < n; i++) {
        logits[i] += table ? table[(size_t)token * n + i] : 0;
        highest = fmax(highest, logits[i]);
    }
    for (size_t i = 0; i < n; i++)
        total += exp(logits[i] - highest);
    double loss = log(total) + highest - logits[target];
    free(normed);
    free(logits);
    return loss;
}

double double_model_loss(const struct double_model *model, const int32_t *tokens, const size_t *offsets,
                         size_t n_sequences, const int32_t *targets, struct double_choices *choices)
{
    const struct config *config = &model->model->config;
    double loss = 0;
    size_t n_counted = 0;
    *choices = (struct double_choices){0xCBF29CE484222325u, INFINITY};
    for (size_t s = 0; s < n_sequences; s++) {
        size_t first = offsets[s];
        struct double_run run = {model, config, choices, offsets[s + 1] - first};
        double *stream = take(run.n * config->d_model);
        embed(&run, stream, tokens + first);
        for (size_t layer = 0; layer < config->n_layer; layer++) {
            run_attention(&run, stream, layer);
            run_mlp(&run, stream, layer);
        }
        for (size_t t = 0; t < run.n; t++)
            if (targets[first + t] >= 0) {
                loss += token_loss(&run, stream + t * config->d_model, tokens[first + t],
                                   targets[first + t]);
                n_counted++;
            }
        free(stream);
    }
    return loss / (double)n_counted;
}
