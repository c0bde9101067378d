#include "circuit/flow.h"

#include <math.h>
#include <string.h>

#define RMS_EPSILON 1.1920928955078125e-07 /* 2^-23 */
#define LAYER_EPSILON 1e-5

void flow_node(size_t *layer, enum site_kind *kind, size_t *channel, const struct flow *flow,
               size_t node)
{
    const struct node_layout *layout = &flow->circuit->layout;
    size_t index = flow->circuit->graph.nodes[node];
    const struct node_site *site = &layout->sites[node_layout_site(layout, index)];
    *layer = site->site / SITES_PER_LAYER;
    *kind = (enum site_kind)(site->site % SITES_PER_LAYER);
    *channel = index - site->first;
}

const float *flow_gain(const struct flow *flow, size_t stage)
{
    const struct sn_model *model = flow->circuit->model;
    size_t layer = stage / 2;
    int parameter = layer == model->config.n_layer ? model->ln_f
                    : stage % 2                    ? model->layers[layer].ln_2
                                                   : model->layers[layer].ln_1;
    return model->parameters[parameter].vector;
}

/* Site whose value is the stream in front of `stage`. */
static size_t stream_site(const struct config *config, size_t stage)
{
    if (stage == 2 * config->n_layer)
        return site_count(config) - 1;
    return site_index(stage / 2, stage % 2 ? SITE_RESID_MID : SITE_RESID_IN);
}

static int stream_is_linear(const struct config *config)
{
    unsigned places = 1u << TOPK_RESID_POST_ATTN | 1u << TOPK_RESID_POST_MLP;
    return !config->residual_relu && !(config->topk_places & places);
}

/* flow->site_values = the site's recorded values. */
static int read_site(struct flow *flow, size_t site)
{
    size_t needed;
    return sn_session_activations(flow->site_values, flow->site_capacity, &needed, flow->session,
                                  flow->circuit->model->site_names[site]);
}

static double inverse_of(const float *x, size_t width, int rms)
{
    double mean = 0, sum = 0;
    for (size_t c = 0; !rms && c < width; c++)
        mean += (double)x[c] / (double)width;
    for (size_t c = 0; c < width; c++)
        sum += ((double)x[c] - mean) * ((double)x[c] - mean);
    return 1 / sqrt(sum / (double)width + (rms ? RMS_EPSILON : LAYER_EPSILON));
}

static int read_streams(struct flow *flow)
{
    size_t width = flow->config->d_model, n = flow->n_tokens;
    int status = SN_OK;
    for (size_t stage = 0; status == SN_OK && stage <= 2 * flow->config->n_layer; stage++) {
        status = read_site(flow, stream_site(flow->config, stage));
        for (size_t t = 0; status == SN_OK && t < n; t++)
            flow->inverse[stage * n + t] =
                (float)inverse_of(flow->site_values + t * width, width, flow->config->rms_norm);
        for (size_t i = 0; status == SN_OK && flow->open && i < n * width; i++)
            flow->open[stage * n * width + i] = flow->site_values[i] != 0;
    }
    return status;
}

static int place_is_on(const struct config *config, enum site_kind kind)
{
    static const enum topk_place places[SITES_PER_LAYER] = {
        [SITE_ATTN_ACT_IN] = TOPK_ATTN_IN,     [SITE_ATTN_K] = TOPK_ATTN_K,
        [SITE_ATTN_Q] = TOPK_ATTN_Q,           [SITE_ATTN_V] = TOPK_ATTN_V,
        [SITE_ATTN_DELTA] = TOPK_ATTN_OUT,     [SITE_MLP_ACT_IN] = TOPK_MLP_IN,
        [SITE_MLP_POST_ACT] = TOPK_MLP_NEURON, [SITE_MLP_DELTA] = TOPK_MLP_OUT,
    };
    return (config->topk_places >> places[kind] & 1) != 0;
}

/* Values of the circuit's nodes at one site, and the part of their slopes that AbsTopK decides. */
static void take_nodes(struct flow *flow, size_t first, size_t last, size_t width)
{
    size_t layer, channel, n = flow->n_tokens;
    enum site_kind kind;
    for (size_t node = first; node < last; node++) {
        float *values = flow->values + node * n, *slopes = flow->slopes + node * n;
        flow_node(&layer, &kind, &channel, flow, node);
        int sparse = place_is_on(flow->config, kind);
        for (size_t t = 0; t < n; t++) {
            values[t] = flow->site_values[t * width + channel];
            slopes[t] = !sparse || values[t] != 0 ? 1.0f : 0.0f;
        }
        if ((kind != SITE_ATTN_ACT_IN && kind != SITE_MLP_ACT_IN) || channel >= flow->config->d_model)
            continue;
        size_t stage = 2 * layer + (kind == SITE_MLP_ACT_IN);
        for (size_t t = 0; t < n; t++)
            slopes[t] *= flow->inverse[stage * n + t] * flow_gain(flow, stage)[channel];
    }
}

static int read_nodes(struct flow *flow)
{
    const struct graph *graph = &flow->circuit->graph;
    const struct node_layout *layout = &flow->circuit->layout;
    int status = SN_OK;
    for (size_t first = 0, last; status == SN_OK && first < graph->n_nodes; first = last) {
        const struct node_site *site = &layout->sites[node_layout_site(layout, graph->nodes[first])];
        for (last = first; last < graph->n_nodes && graph->nodes[last] < site->first + site->width;)
            last++;
        status = read_site(flow, site->site);
        if (status == SN_OK)
            take_nodes(flow, first, last, site->width);
    }
    return status;
}

/* Slope of a neuron: its value over what went into its activation function. */
static void neuron_slopes(struct flow *flow, size_t node, size_t layer, size_t channel)
{
    const struct layer_parameters *p = &flow->circuit->model->layers[layer];
    const struct parameter *parameters = flow->circuit->model->parameters;
    const struct sn_matrix *c_fc = parameters[p->c_fc].matrix;
    const float *bias = p->c_fc_bias < 0 ? NULL : parameters[p->c_fc_bias].vector;
    const float *values = flow->values + node * flow->n_tokens;
    float *slopes = flow->slopes + node * flow->n_tokens;
    for (size_t t = 0; t < flow->n_tokens; t++) {
        const float *x = flow->site_values + t * c_fc->cols;
        double input = bias ? (double)bias[channel] : 0;
        size_t first = c_fc->pattern ? c_fc->pattern->row_start[channel] : channel * c_fc->cols;
        size_t last = c_fc->pattern ? c_fc->pattern->row_start[channel + 1] : first + c_fc->cols;
        for (size_t e = first; e < last; e++)
            input += (double)c_fc->values[e] *
                     (double)x[c_fc->pattern ? pattern_column(c_fc->pattern, e) : e - first];
        double at_zero = flow->config->mlp_relu ? 0 : 0.5;
        slopes[t] *= (float)(fabs(input) > 1e-12 ? (double)values[t] / input : at_zero);
    }
}

static int read_neurons(struct flow *flow)
{
    size_t layer, channel, read = NO_NODE;
    enum site_kind kind;
    int status = SN_OK;
    for (size_t node = 0; status == SN_OK && node < flow->circuit->graph.n_nodes; node++) {
        flow_node(&layer, &kind, &channel, flow, node);
        if (kind != SITE_MLP_POST_ACT)
            continue;
        if (layer != read)
            status = read_site(flow, site_index(layer, SITE_MLP_ACT_IN));
        read = layer;
        if (status == SN_OK)
            neuron_slopes(flow, node, layer, channel);
    }
    return status;
}

static int record_sites(struct flow *flow)
{
    const struct sn_model *model = flow->circuit->model;
    int status = SN_OK;
    for (size_t site = 0; status == SN_OK && site < site_count(flow->config); site++)
        if (site + 1 == site_count(flow->config) || site % SITES_PER_LAYER != SITE_ATTN_Y)
            status = sn_session_record(flow->session, model->site_names[site]);
    return status;
}

static int flow_allocate(struct flow *flow)
{
    struct memory *memory = flow->context->memory;
    const struct config *config = flow->config;
    size_t n = flow->n_tokens, nodes = flow->circuit->graph.n_nodes, stages = 2 * config->n_layer + 1;
    size_t width = 0;
    for (size_t site = 0; site < site_count(config); site++)
        width = site_width(config, site) > width ? site_width(config, site) : width;
    flow->site_capacity = n * width;
    flow->values = memory_allocate_array(memory, nodes, n * sizeof(float));
    flow->slopes = memory_allocate_array(memory, nodes, n * sizeof(float));
    flow->inverse = memory_allocate_array(memory, stages, n * sizeof(float));
    flow->site_values = memory_allocate_array(memory, width, n * sizeof(float));
    flow->pattern_start = memory_allocate_array(memory, flow->n_sequences + 1, sizeof(size_t));
    int linear = stream_is_linear(config);
    if (!linear)
        flow->open = memory_allocate_array(memory, stages * n, config->d_model);
    if (flow->values && flow->slopes && flow->inverse && flow->site_values && flow->pattern_start &&
        (linear || flow->open))
        return SN_OK;
    return fail_memory(flow->context, "a trace's activations", 0);
}

static int flow_run(struct flow *flow, const struct sn_means *means, const struct sn_task *task,
                    size_t n_pairs)
{
    struct sn_context *context = flow->context;
    const struct sn_circuit *circuit = flow->circuit;
    int status = SN_OK;
    if (circuit->kept_edges)
        status = gated_create(&flow->gated, context, circuit->model, &circuit->layout, means);
    if (status == SN_OK && circuit->kept_edges)
        status = gated_set(&flow->gated, context, circuit->kept_edges, 0);
    if (status == SN_OK)
        status = session_create(&flow->session, context,
                                circuit->kept_edges ? flow->gated.model : circuit->model, GRADIENT_NONE);
    if (status == SN_OK)
        status = gates_create(&flow->gates, context, &circuit->layout, means->values);
    if (status == SN_OK) {
        gates_set(&flow->gates, circuit->kept, 0);
        status = gates_attach(&flow->gates, flow->session, 0);
    }
    if (status == SN_OK)
        status = record_sites(flow);
    if (status == SN_OK)
        status =
            pair_batch_fill(&flow->batch, context, task, NULL, 0, n_pairs, flow->config->vocab_size);
    if (status == SN_OK)
        status = pair_batch_forward(&flow->batch, flow->session);
    return status;
}

int flow_open(struct flow *flow, struct sn_context *context, const struct sn_circuit *circuit,
              const struct sn_means *means, const struct sn_task *task, size_t n_pairs)
{
    memset(flow, 0, sizeof *flow);
    flow->context = context;
    flow->circuit = circuit;
    flow->config = &circuit->model->config;
    pair_batch_init(&flow->batch, context->memory);
    int status = flow_run(flow, means, task, n_pairs);
    if (status == SN_OK) {
        flow->n_sequences = 2 * n_pairs;
        flow->n_tokens = flow->batch.offsets[flow->n_sequences];
        status = flow_allocate(flow);
    }
    if (status == SN_OK) {
        flow->pattern_start[0] = 0;
        for (size_t s = 0; s < flow->n_sequences; s++) {
            size_t length = flow->batch.offsets[s + 1] - flow->batch.offsets[s];
            flow->pattern_start[s + 1] = flow->pattern_start[s] + length * length;
        }
        status = read_streams(flow);
    }
    if (status == SN_OK)
        status = read_nodes(flow);
    if (status == SN_OK)
        status = read_neurons(flow);
    if (status != SN_OK)
        flow_close(flow);
    return status;
}

void flow_close(struct flow *flow)
{
    if (!flow->context)
        return;
    struct memory *memory = flow->context->memory;
    size_t n = flow->n_tokens, nodes = flow->circuit->graph.n_nodes,
           stages = 2 * flow->config->n_layer + 1;
    for (size_t i = 0; i < flow->n_patterns; i++)
        memory_free(memory, flow->patterns[i].probability,
                    flow->pattern_start[flow->n_sequences] * sizeof(float));
    memory_free(memory, flow->patterns, flow->pattern_capacity * sizeof *flow->patterns);
    gates_free(&flow->gates);
    sn_session_free(flow->session);
    gated_free(&flow->gated);
    pair_batch_free(&flow->batch);
    memory_free(memory, flow->values, nodes * n * sizeof(float));
    memory_free(memory, flow->slopes, nodes * n * sizeof(float));
    memory_free(memory, flow->inverse, stages * n * sizeof(float));
    memory_free(memory, flow->site_values, flow->site_capacity * sizeof(float));
    memory_free(memory, flow->pattern_start, (flow->n_sequences + 1) * sizeof(size_t));
    memory_free(memory, flow->open, stages * n * flow->config->d_model);
    memset(flow, 0, sizeof *flow);
}

/* ---- attention */

/* row[s] = softmax of row[0..t], with the sink in the denominator. */
static void softmax_row(float *row, size_t t, const float *sink)
{
    double largest = sink ? (double)*sink : -INFINITY, sum = 0;
    for (size_t s = 0; s <= t; s++)
        largest = fmax(largest, (double)row[s]);
    for (size_t s = 0; s <= t; s++)
        sum += exp((double)row[s] - largest);
    if (sink)
        sum += exp((double)*sink - largest);
    for (size_t s = 0; s <= t; s++)
        row[s] = (float)(exp((double)row[s] - largest) / sum);
}

/* q, k: n_tokens x d_head of this head. */
static void head_probabilities(float *probability, const struct flow *flow, const float *q,
                               const float *k, size_t d_head, const float *sink)
{
    double scale = 1 / sqrt((double)d_head);
    for (size_t s = 0; s < flow->n_sequences; s++) {
        size_t first = flow->batch.offsets[s], length = flow->batch.offsets[s + 1] - first;
        float *rows = probability + flow->pattern_start[s];
        for (size_t t = 0; t < length; t++) {
            for (size_t u = 0; u <= t; u++) {
                double sum = 0;
                for (size_t c = 0; c < d_head; c++)
                    sum += (double)q[(first + t) * d_head + c] * (double)k[(first + u) * d_head + c];
                rows[t * length + u] = (float)(sum * scale);
            }
            softmax_row(rows + t * length, t, sink);
        }
    }
}

static void take_head(float *out, const struct flow *flow, size_t head)
{
    size_t d_head = flow->config->d_head, width = config_d_attn(flow->config);
    for (size_t t = 0; t < flow->n_tokens; t++)
        memcpy(out + t * d_head, flow->site_values + t * width + head * d_head, d_head * sizeof *out);
}

static int compute_pattern(struct flow *flow, struct head_pattern *pattern)
{
    const struct sn_model *model = flow->circuit->model;
    size_t d_head = flow->config->d_head, size = flow->n_tokens * d_head;
    int sink = model->layers[pattern->layer].sink;
    float *q = memory_allocate_array(flow->context->memory, size, sizeof *q);
    float *k = memory_allocate_array(flow->context->memory, size, sizeof *k);
    int status =
        q && k ? SN_OK : fail_memory(flow->context, "a head's queries and keys", size * sizeof *q);
    if (status == SN_OK)
        status = read_site(flow, site_index(pattern->layer, SITE_ATTN_Q));
    if (status == SN_OK) {
        take_head(q, flow, pattern->head);
        status = read_site(flow, site_index(pattern->layer, SITE_ATTN_K));
    }
    if (status == SN_OK) {
        take_head(k, flow, pattern->head);
        head_probabilities(pattern->probability, flow, q, k, d_head,
                           sink < 0 ? NULL : &model->parameters[sink].vector[pattern->head]);
    }
    memory_free(flow->context->memory, q, size * sizeof *q);
    memory_free(flow->context->memory, k, size * sizeof *k);
    return status;
}

static int grow_patterns(struct flow *flow)
{
    if (flow->n_patterns < flow->pattern_capacity)
        return SN_OK;
    size_t capacity = flow->pattern_capacity ? 2 * flow->pattern_capacity : 8,
           size = sizeof *flow->patterns;
    struct head_pattern *patterns = memory_resize(flow->context->memory, flow->patterns,
                                                  flow->pattern_capacity * size, capacity * size);
    if (!patterns)
        return fail_memory(flow->context, "attention patterns", capacity * size);
    flow->patterns = patterns;
    flow->pattern_capacity = capacity;
    return SN_OK;
}

const float *flow_pattern(int *status, struct flow *flow, size_t layer, size_t head)
{
    *status = SN_OK;
    for (size_t i = 0; i < flow->n_patterns; i++)
        if (flow->patterns[i].layer == layer && flow->patterns[i].head == head)
            return flow->patterns[i].probability;
    *status = grow_patterns(flow);
    if (*status != SN_OK)
        return NULL;
    struct head_pattern *pattern = &flow->patterns[flow->n_patterns];
    size_t size = flow->pattern_start[flow->n_sequences];
    *pattern = (struct head_pattern){.layer = layer, .head = head};
    pattern->probability = memory_allocate_array(flow->context->memory, size, sizeof(float));
    if (!pattern->probability) {
        *status = fail_memory(flow->context, "an attention pattern", size * sizeof(float));
        return NULL;
    }
    flow->n_patterns++;
    *status = compute_pattern(flow, pattern);
    return *status == SN_OK ? pattern->probability : NULL;
}

void flow_through_values(float *dv, const struct flow *flow, const float *probability, const float *dy)
{
    memset(dv, 0, flow->n_tokens * sizeof *dv);
    for (size_t i = 0; i < flow->n_sequences; i++) {
        size_t first = flow->batch.offsets[i], length = flow->batch.offsets[i + 1] - first;
        for (size_t t = 0; t < length; t++) {
            const float *row = probability + flow->pattern_start[i] + t * length;
            for (size_t s = 0; dy[first + t] != 0 && s <= t; s++)
                dv[first + s] += row[s] * dy[first + t];
        }
    }
}

/* What one token's score gradients feed on: row of probabilities and y[t]. */
static float attended(const float *row, const float *v, size_t t)
{
    float y = 0;
    for (size_t s = 0; s <= t; s++)
        y += row[s] * v[s];
    return y;
}

/* For each t and s <= t: score gradient dy[t] probability[t][s] (v[s] - y[t]) / sqrt(d_head), times the
 * other side's activation, summed into out[t] (query) or out[s] (key). */
static void through_scores(float *out, const struct flow *flow, const float *probability,
                           const float *dy, const float *v, const float *other, int to_query)
{
    float scale = (float)(1 / sqrt((double)flow->config->d_head));
    memset(out, 0, flow->n_tokens * sizeof *out);
    for (size_t i = 0; i < flow->n_sequences; i++) {
        size_t first = flow->batch.offsets[i], length = flow->batch.offsets[i + 1] - first;
        for (size_t t = 0; t < length; t++) {
            const float *row = probability + flow->pattern_start[i] + t * length;
            if (dy[first + t] == 0)
                continue;
            float y = attended(row, v + first, t);
            for (size_t s = 0; s <= t; s++) {
                float gradient = dy[first + t] * row[s] * (v[first + s] - y) * scale;
                out[first + (to_query ? t : s)] += gradient * other[first + (to_query ? s : t)];
            }
        }
    }
}

void flow_through_query(float *dq, const struct flow *flow, const float *probability, const float *dy,
                        const float *v, const float *k)
{
    through_scores(dq, flow, probability, dy, v, k, 1);
}

void flow_through_key(float *dk, const struct flow *flow, const float *probability, const float *dy,
                      const float *v, const float *q)
{
    through_scores(dk, flow, probability, dy, v, q, 0);
}
