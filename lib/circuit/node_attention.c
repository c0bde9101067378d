/* A head's attention over given tokens, and what one of its channels has to do with it. */
#include <math.h>
#include <string.h>

#include "circuit/ablated_run.h"

struct head {
    struct sn_context *context;
    const struct sn_model *model;
    size_t layer, index, channel; /* channel: of the site */
    enum site_kind kind;
    size_t n_tokens, width; /* width: of the site */
    float *values[3];       /* n_tokens x width: k, q, v */
    size_t n_values;
    float *row; /* n_tokens */
};

static const enum site_kind KINDS[3] = {SITE_ATTN_K, SITE_ATTN_Q, SITE_ATTN_V};

static int run_head(struct head *head, struct ablated_run *run, const int32_t *tokens)
{
    const size_t offsets[2] = {0, head->n_tokens}, none = 0;
    int status = sn_session_select_logits(run->session, &none, 1);
    for (int i = 0; status == SN_OK && i < 3; i++)
        status =
            sn_session_record(run->session, head->model->site_names[site_index(head->layer, KINDS[i])]);
    if (status == SN_OK)
        status = sn_session_forward(run->session, tokens, offsets, 1);
    for (int i = 0; status == SN_OK && i < 3; i++) {
        size_t needed;
        head->values[i] = memory_allocate_array(head->context->memory, head->n_values, sizeof(float));
        status = head->values[i]
                     ? sn_session_activations(head->values[i], head->n_values, &needed, run->session,
                                              head->model->site_names[site_index(head->layer, KINDS[i])])
                     : fail_memory(head->context, "a head's queries and keys",
                                   head->n_values * sizeof(float));
    }
    return status;
}

/* probabilities of row t, from scores, with the sink in the denominator. */
static void look(float *row, const struct head *head, size_t t)
{
    const struct sn_model *model = head->model;
    size_t d_head = model->config.d_head;
    int parameter = model->layers[head->layer].sink;
    double sink =
        parameter < 0 ? (double)-INFINITY : (double)model->parameters[parameter].vector[head->index];
    double largest = sink, sum = 0, scale = 1 / sqrt((double)d_head);
    const float *k = head->values[0] + head->index * d_head;
    const float *q = head->values[1] + head->index * d_head + t * head->width;
    for (size_t s = 0; s <= t; s++) {
        double score = 0;
        for (size_t c = 0; c < d_head; c++)
            score += (double)q[c] * (double)k[s * head->width + c];
        row[s] = (float)(score * scale);
        largest = fmax(largest, (double)row[s]);
    }
    for (size_t s = 0; s <= t; s++)
        sum += exp((double)row[s] - largest);
    sum += exp(sink - largest);
    for (size_t s = 0; s <= t; s++)
        row[s] = (float)(exp((double)row[s] - largest) / sum);
}

static float share_of(const struct head *head, const float *row, size_t t, size_t s)
{
    const float *k = head->values[0] + head->channel, *q = head->values[1] + head->channel;
    const float *v = head->values[2] + head->channel;
    if (head->kind == SITE_ATTN_V)
        return row[s] * v[s * head->width];
    return (float)((double)q[t * head->width] * (double)k[s * head->width] /
                   sqrt((double)head->model->config.d_head));
}

static void fill(float *probability, float *share, const struct head *head)
{
    size_t n = head->n_tokens;
    for (size_t t = 0; t < n; t++) {
        memset(head->row, 0, n * sizeof *head->row);
        look(head->row, head, t);
        memcpy(probability + t * n, head->row, n * sizeof *probability);
        for (size_t s = 0; share && s < n; s++)
            share[t * n + s] = s <= t ? share_of(head, head->row, t, s) : 0;
    }
}

static int attend(float *probability, float *share, struct head *head, struct sn_model *model,
                  const struct sn_circuit *circuit, const struct sn_means *means, const int32_t *tokens)
{
    struct memory *memory = head->context->memory;
    struct ablated_run run;
    size_t n = head->n_tokens;
    head->row = memory_allocate_array(memory, n, sizeof *head->row);
    if (!head->row)
        return fail_memory(head->context, "a row of attention", n * sizeof *head->row);
    int status = ablated_run_open(&run, head->context, model, circuit, means, NO_NODE);
    if (status == SN_OK) {
        status = run_head(head, &run, tokens);
        ablated_run_close(&run);
    }
    if (status == SN_OK)
        fill(probability, share, head);
    for (int i = 0; i < 3; i++)
        memory_free(memory, head->values[i], head->n_values * sizeof(float));
    memory_free(memory, head->row, n * sizeof *head->row);
    return status;
}

int sn_node_attention(float *probability, float *share, size_t capacity, size_t *needed,
                      sn_context *context, sn_model *model, const sn_circuit *circuit,
                      const sn_means *means, const char *node, const int32_t *tokens, size_t n_tokens)
{
    static const char function[] = "sn_node_attention";
    struct head head = {.context = context, .model = model, .n_tokens = n_tokens};
    size_t site = 0, count;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!model || !node || !tokens)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function,
                    !model  ? "model"
                    : !node ? "node"
                            : "tokens");
    if (node_find(&site, &head.channel, model, node))
        head.kind = (enum site_kind)(site % SITES_PER_LAYER);
    if (head.kind != SITE_ATTN_K && head.kind != SITE_ATTN_Q && head.kind != SITE_ATTN_V)
        return fail(context, SN_ERROR_ARGUMENT, "%s: \"%.100s\" is no q, k or v channel of this model",
                    function, node);
    if (n_tokens == 0 || n_tokens > model->config.block_size)
        return fail(context, SN_ERROR_ARGUMENT, "%s: n_tokens is %zu, block_size %zu", function,
                    n_tokens, model->config.block_size);
    int status = ablated_run_check(context, model, circuit, means, function);
    if (status != SN_OK)
        return status;
    count = n_tokens * n_tokens;
    if (needed)
        *needed = count;
    if (!probability || capacity < count)
        return copy_out(context, function, probability, capacity, needed, NULL, count, sizeof(float));
    head.layer = site / SITES_PER_LAYER;
    head.index = head.channel / model->config.d_head;
    head.width = config_d_attn(&model->config);
    head.n_values = n_tokens * head.width;
    return attend(probability, share, &head, model, circuit, means, tokens);
}
