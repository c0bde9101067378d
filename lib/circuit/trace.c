/* Strongest paths of a circuit, from the difference of the two target logits back to input tokens.
 *
 * A step is a node reached from the output by one path; its flow is the gradient of the difference by
 * the node's value along that path alone, token by token. Steps are opened in the order of how much
 * passes through them; a read node opens onto earlier writes of its channel (residual links) and onto
 * the embedding, where a path is complete. */
#include <math.h>
#include <string.h>

#include "base/options.h"
#include "circuit/path_text.h"

#define TRACE_PAIRS 16   /* pairs of the task that contributions are averaged over */
#define TRACE_STEPS 8192 /* opened at most */
#define NEGLIGIBLE 1e-6  /* steps through which less than this share of the largest flow passes */

struct trace_settings {
    size_t paths, max_length;
};

static const struct option_spec specs[] = {
    {"paths", OPTION_INTEGER, offsetof(struct trace_settings, paths), 10, 1, 10000, NULL},
    {"max_length", OPTION_INTEGER, offsetof(struct trace_settings, max_length), 40, 1, 10000, NULL},
};

struct trace {
    struct sn_context *context;
    struct flow *flow;
    struct trace_settings settings;
    struct path_step *steps;
    size_t n_steps, step_capacity;
    size_t *heap; /* steps still to be opened, largest priority on top; step_capacity */
    size_t n_heap;
    double largest;
    struct found_path *found; /* best first, settings.paths */
    size_t n_found;
    double *by_token; /* vocab_size, zero between uses */
    float *scratch;   /* 3 x n_tokens */
    double direct_position;
};

static double class_of(size_t sequence)
{
    return sequence % 2 ? -1 : 1;
}

/* ---- what has been found */

static void remember(struct trace *trace, struct found_path path)
{
    size_t place = trace->n_found;
    if (path.contribution == 0 || !isfinite(path.contribution))
        return;
    while (place > 0 && fabs(trace->found[place - 1].contribution) < fabs(path.contribution))
        place--;
    if (place == trace->settings.paths)
        return;
    if (trace->n_found < trace->settings.paths)
        trace->n_found++;
    memmove(trace->found + place + 1, trace->found + place,
            (trace->n_found - 1 - place) * sizeof *trace->found);
    trace->found[place] = path;
}

/* ---- steps */

static int before(const struct trace *trace, size_t a, size_t b)
{
    double pa = trace->steps[a].priority, pb = trace->steps[b].priority;
    return pa > pb || (pa == pb && a < b);
}

static void heap_push(struct trace *trace, size_t step)
{
    size_t place = trace->n_heap++;
    for (; place > 0 && before(trace, step, trace->heap[(place - 1) / 2]); place = (place - 1) / 2)
        trace->heap[place] = trace->heap[(place - 1) / 2];
    trace->heap[place] = step;
}

static size_t heap_pop(struct trace *trace)
{
    size_t top = trace->heap[0], last = trace->heap[--trace->n_heap], place = 0;
    for (size_t child; (child = 2 * place + 1) < trace->n_heap; place = child) {
        if (child + 1 < trace->n_heap && before(trace, trace->heap[child + 1], trace->heap[child]))
            child++;
        if (!before(trace, trace->heap[child], last))
            break;
        trace->heap[place] = trace->heap[child];
    }
    trace->heap[place] = last;
    return top;
}

static int grow_steps(struct trace *trace)
{
    if (trace->n_steps < trace->step_capacity)
        return SN_OK;
    struct memory *memory = trace->context->memory;
    size_t old = trace->step_capacity, capacity = old ? 2 * old : 256;
    size_t *heap = memory_allocate_array(memory, capacity, sizeof *heap);
    struct path_step *steps =
        heap ? memory_resize(memory, trace->steps, old * sizeof *steps, capacity * sizeof *steps) : NULL;
    if (!steps) {
        memory_free(memory, heap, capacity * sizeof *heap);
        return fail_memory(trace->context, "steps of paths", capacity * sizeof *steps);
    }
    if (trace->n_heap)
        memcpy(heap, trace->heap, trace->n_heap * sizeof *heap);
    memory_free(memory, trace->heap, old * sizeof *heap);
    trace->steps = steps;
    trace->heap = heap;
    trace->step_capacity = capacity;
    return SN_OK;
}

/* Mean over prompts of how much passes through a node: sum over tokens of |flow x value|. */
static double passing(const struct flow *flow, const float *gradient, size_t node)
{
    const float *values = flow->values + node * flow->n_tokens;
    double sum = 0;
    for (size_t t = 0; t < flow->n_tokens; t++)
        sum += fabs((double)gradient[t] * (double)values[t]);
    return sum / (double)flow->n_sequences;
}

/* Adds a step; gradient (n_tokens) is copied. *step may be NULL; NO_STEP when too little passes. */
static int add_step(size_t *step, struct trace *trace, size_t parent, size_t node, double weight,
                    const float *gradient)
{
    size_t n = trace->flow->n_tokens, length = parent == NO_STEP ? 1 : trace->steps[parent].length + 1;
    double priority = passing(trace->flow, gradient, node);
    if (step)
        *step = NO_STEP;
    if (!(priority > NEGLIGIBLE * trace->largest) || length > trace->settings.max_length)
        return SN_OK;
    if (priority > trace->largest)
        trace->largest = priority;
    int status = grow_steps(trace);
    if (status != SN_OK)
        return status;
    float *copy = memory_allocate_array(trace->context->memory, n, sizeof *copy);
    if (!copy)
        return fail_memory(trace->context, "a path's flow", n * sizeof *copy);
    memcpy(copy, gradient, n * sizeof *copy);
    trace->steps[trace->n_steps] = (struct path_step){.parent = parent,
                                                      .node = node,
                                                      .length = length,
                                                      .weight = weight,
                                                      .priority = priority,
                                                      .gradient = copy};
    if (step)
        *step = trace->n_steps;
    heap_push(trace, trace->n_steps++);
    return SN_OK;
}

/* ---- sources */

/* Adds what reaches residual channel `channel` of the embedding sum, by token to by_token; returns what
 * reaches the position embedding added there. gradient: by that channel. */
static double add_embedding(struct trace *trace, size_t channel, const float *gradient)
{
    const struct flow *flow = trace->flow;
    const struct sn_model *model = flow->circuit->model;
    const struct sn_matrix *wte = model->parameters[model->wte].matrix;
    const struct sn_matrix *wpe =
        flow->config->has_d_pos_emb || model->wpe < 0 ? NULL : model->parameters[model->wpe].matrix;
    double position = 0, share = 1 / (double)flow->n_sequences;
    for (size_t i = 0; i < flow->n_sequences; i++)
        for (size_t t = flow->batch.offsets[i]; t < flow->batch.offsets[i + 1]; t++) {
            double g = class_of(i) * (double)gradient[t] * share;
            size_t token = (size_t)flow->batch.tokens[t];
            if (g == 0)
                continue;
            trace->by_token[token] += g * (double)matrix_at(wte, token, channel);
            if (wpe)
                position += g * (double)matrix_at(wpe, t - flow->batch.offsets[i], channel);
        }
    return position;
}

/* Paths that end at the embedding of each token, or of the position, on a read's channel. */
static void end_at_embedding(struct trace *trace, size_t parent, size_t channel, const float *gradient,
                             double weight)
{
    const struct flow *flow = trace->flow;
    const struct sn_model *model = flow->circuit->model;
    const struct sn_matrix *wte = model->parameters[model->wte].matrix;
    double position = add_embedding(trace, channel, gradient);
    for (size_t t = 0; t < flow->n_tokens; t++) {
        size_t token = (size_t)flow->batch.tokens[t];
        remember(trace, (struct found_path){.step = parent,
                                            .source = SOURCE_TOKEN,
                                            .token = (int32_t)token,
                                            .weight = weight * (double)matrix_at(wte, token, channel),
                                            .contribution = trace->by_token[token]});
        trace->by_token[token] = 0;
    }
    remember(trace,
             (struct found_path){
                 .step = parent, .source = SOURCE_POSITION, .weight = weight, .contribution = position});
}

static void end_at_position(struct trace *trace, size_t parent, size_t node, const float *gradient,
                            double weight)
{
    const struct flow *flow = trace->flow;
    const float *values = flow->values + node * flow->n_tokens;
    double sum = 0;
    for (size_t i = 0; i < flow->n_sequences; i++)
        for (size_t t = flow->batch.offsets[i]; t < flow->batch.offsets[i + 1]; t++)
            sum += class_of(i) * (double)gradient[t] * (double)values[t];
    remember(trace, (struct found_path){.step = parent,
                                        .source = SOURCE_POSITION,
                                        .weight = weight,
                                        .contribution = sum / (double)flow->n_sequences});
}

static size_t find_node(const struct flow *flow, size_t layer, enum site_kind kind, size_t channel)
{
    const struct graph *graph = &flow->circuit->graph;
    size_t wanted = node_layout_first(&flow->circuit->layout, site_index(layer, kind)) + channel;
    size_t low = 0, high = graph->n_nodes;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (graph->nodes[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low < graph->n_nodes && graph->nodes[low] == wanted ? low : NO_NODE;
}

/* From residual channel `channel` in front of sublayer `stage` back along the stream: to kept writes of
 * that channel and to the embedding. gradient (n_tokens) is changed where the stream is not linear. */
static int follow_stream(struct trace *trace, size_t parent, size_t stage, size_t channel,
                         float *gradient, double weight)
{
    const struct flow *flow = trace->flow;
    size_t n = flow->n_tokens, d_model = flow->config->d_model;
    for (; stage > 0; stage--) {
        for (size_t t = 0; flow->open && t < n; t++)
            if (!flow->open[(stage * n + t) * d_model + channel])
                gradient[t] = 0;
        size_t layer = (stage - 1) / 2;
        size_t node =
            find_node(flow, layer, (stage - 1) % 2 ? SITE_MLP_DELTA : SITE_ATTN_DELTA, channel);
        int status = node == NO_NODE ? SN_OK : add_step(NULL, trace, parent, node, weight, gradient);
        if (status != SN_OK)
            return status;
    }
    if (parent == NO_STEP) /* one path for all channels: direct_paths */
        trace->direct_position += add_embedding(trace, channel, gradient);
    else
        end_at_embedding(trace, parent, channel, gradient, weight);
    return SN_OK;
}

/* ---- opening a step */

/* gradient by the node's value, times its slope and a weight */
static void pass_node(float *out, const struct flow *flow, size_t node, const float *gradient,
                      float weight)
{
    const float *slopes = flow->slopes + node * flow->n_tokens;
    for (size_t t = 0; t < flow->n_tokens; t++)
        out[t] = gradient[t] * slopes[t] * weight;
}

static int open_read(struct trace *trace, size_t step, size_t stage, size_t channel)
{
    const struct path_step s = trace->steps[step];
    if (channel >= trace->flow->config->d_model) {
        end_at_position(trace, step, s.node, s.gradient, s.weight);
        return SN_OK;
    }
    double gain = (double)flow_gain(trace->flow, stage)[channel];
    pass_node(trace->scratch, trace->flow, s.node, s.gradient, 1);
    return follow_stream(trace, step, stage, channel, trace->scratch, s.weight * gain);
}

/* Queries and keys that decide where the v channel of step `value` is read; dy: gradient by y. */
static int open_scores(struct trace *trace, size_t value, size_t layer, size_t head, const float *dy,
                       const float *probability)
{
    struct flow *flow = trace->flow;
    size_t n = flow->n_tokens, d_head = flow->config->d_head;
    float *out = trace->scratch + 2 * n;
    const float *v = flow->values + trace->steps[value].node * n;
    double weight = trace->steps[value].weight;
    int status = SN_OK;
    for (size_t c = 0; status == SN_OK && c < d_head; c++) {
        size_t q = find_node(flow, layer, SITE_ATTN_Q, head * d_head + c);
        size_t k = find_node(flow, layer, SITE_ATTN_K, head * d_head + c);
        if (q == NO_NODE || k == NO_NODE)
            continue;
        flow_through_query(out, flow, probability, dy, v, flow->values + k * n);
        status = add_step(NULL, trace, value, q, weight, out);
        if (status != SN_OK)
            break;
        flow_through_key(out, flow, probability, dy, v, flow->values + q * n);
        status = add_step(NULL, trace, value, k, weight, out);
    }
    return status;
}

/* An edge from a v channel to an attention write: the value route, and what decides where it is read. */
static int open_attention(struct trace *trace, size_t step, const struct edge *edge, size_t layer)
{
    struct flow *flow = trace->flow;
    const struct path_step s = trace->steps[step];
    size_t value_layer, channel, value;
    enum site_kind kind;
    int status;
    float *dy = trace->scratch, *dv = trace->scratch + flow->n_tokens;
    flow_node(&value_layer, &kind, &channel, flow, edge->from);
    size_t head = channel / flow->config->d_head;
    const float *probability = flow_pattern(&status, flow, layer, head);
    if (status != SN_OK)
        return status;
    pass_node(dy, flow, s.node, s.gradient, edge->weight);
    flow_through_values(dv, flow, probability, dy);
    status = add_step(&value, trace, step, edge->from, s.weight * (double)edge->weight, dv);
    if (status != SN_OK || value == NO_STEP)
        return status;
    return open_scores(trace, value, layer, head, dy, probability);
}

static int open_step(struct trace *trace, size_t step)
{
    const struct graph *graph = &trace->flow->circuit->graph;
    const struct path_step s = trace->steps[step];
    size_t layer, channel;
    enum site_kind kind;
    int status = SN_OK;
    flow_node(&layer, &kind, &channel, trace->flow, s.node);
    if (kind == SITE_ATTN_ACT_IN || kind == SITE_MLP_ACT_IN)
        return open_read(trace, step, 2 * layer + (kind == SITE_MLP_ACT_IN), channel);
    for (size_t e = graph->first_edge[s.node]; status == SN_OK && e < graph->first_edge[s.node + 1];
         e++) {
        const struct edge *edge = &graph->edges[e];
        if (kind == SITE_ATTN_DELTA) {
            status = open_attention(trace, step, edge, layer);
            continue;
        }
        pass_node(trace->scratch, trace->flow, s.node, s.gradient, edge->weight);
        status =
            add_step(NULL, trace, step, edge->from, s.weight * (double)edge->weight, trace->scratch);
    }
    return status;
}

/* ---- the output end */

/* Difference of the unembedding rows of pair `pair`'s targets on a channel, norm gain included. */
static double output_weight(const struct trace *trace, size_t pair, size_t channel)
{
    const struct flow *flow = trace->flow;
    const struct sn_model *model = flow->circuit->model;
    const struct sn_matrix *head = model->parameters[model->lm_head].matrix;
    const int32_t *targets = flow->batch.targets + 2 * pair;
    double gain = (double)flow_gain(flow, 2 * flow->config->n_layer)[channel];
    return gain * ((double)matrix_at(head, (size_t)targets[0], channel) -
                   (double)matrix_at(head, (size_t)targets[1], channel));
}

/* Mean over pairs of the product of weights from a token's embedding straight to the logits. */
static double direct_weight(const struct trace *trace, size_t token)
{
    const struct flow *flow = trace->flow;
    const struct sn_model *model = flow->circuit->model;
    const struct sn_matrix *wte = model->parameters[model->wte].matrix;
    double sum = 0;
    for (size_t c = 0; c < flow->config->d_model; c++)
        for (size_t pair = 0; pair < flow->batch.n_pairs; pair++)
            sum += (double)matrix_at(wte, token, c) * output_weight(trace, pair, c);
    return sum / (double)flow->batch.n_pairs;
}

/* What start_at_logits has gathered by token: paths on which no node lies. */
static void direct_paths(struct trace *trace)
{
    const struct flow *flow = trace->flow;
    for (size_t i = 0; i < flow->n_sequences; i++) {
        size_t token = (size_t)flow->batch.tokens[flow->batch.last[i]];
        if (trace->by_token[token] != 0)
            remember(trace, (struct found_path){.step = NO_STEP,
                                                .source = SOURCE_DIRECT,
                                                .token = (int32_t)token,
                                                .weight = direct_weight(trace, token),
                                                .contribution = trace->by_token[token]});
        trace->by_token[token] = 0;
    }
    remember(trace, (struct found_path){.step = NO_STEP,
                                        .source = SOURCE_POSITION,
                                        .weight = 1,
                                        .contribution = trace->direct_position});
}

/* The bigram row of each prompt's last token. */
static void bigram_paths(struct trace *trace)
{
    const struct flow *flow = trace->flow;
    const struct sn_model *model = flow->circuit->model;
    if (model->bigram < 0)
        return;
    for (size_t i = 0; i < flow->n_sequences; i++) {
        size_t token = (size_t)flow->batch.tokens[flow->batch.last[i]];
        double weight = 0, contribution = 0;
        for (size_t j = 0; j < flow->n_sequences; j++) {
            const int32_t *targets = flow->batch.targets + j / 2 * 2;
            const struct sn_matrix *bigram = model->parameters[model->bigram].matrix;
            double difference = (double)matrix_at(bigram, token, (size_t)targets[0]) -
                                (double)matrix_at(bigram, token, (size_t)targets[1]);
            weight += difference / (double)flow->n_sequences;
            if ((size_t)flow->batch.tokens[flow->batch.last[j]] == token)
                contribution += class_of(j) * difference / (double)flow->n_sequences;
        }
        if (trace->by_token[token] == 0)
            remember(trace, (struct found_path){.step = NO_STEP,
                                                .source = SOURCE_BIGRAM,
                                                .token = (int32_t)token,
                                                .weight = weight,
                                                .contribution = contribution});
        trace->by_token[token] = 1; /* once per token */
    }
    for (size_t i = 0; i < flow->n_sequences; i++)
        trace->by_token[(size_t)flow->batch.tokens[flow->batch.last[i]]] = 0;
}

static int start_at_logits(struct trace *trace)
{
    const struct flow *flow = trace->flow;
    size_t stage = 2 * flow->config->n_layer, n = flow->n_tokens;
    int status = SN_OK;
    for (size_t c = 0; status == SN_OK && c < flow->config->d_model; c++) {
        double weight = 0;
        int any = 0;
        memset(trace->scratch, 0, n * sizeof(float));
        for (size_t i = 0; i < flow->n_sequences; i++) {
            double w = output_weight(trace, i / 2, c);
            size_t last = flow->batch.last[i];
            trace->scratch[last] = (float)((double)flow->inverse[stage * n + last] * w);
            weight += w / (double)flow->n_sequences;
            any |= w != 0;
        }
        if (any)
            status = follow_stream(trace, NO_STEP, stage, c, trace->scratch, weight);
    }
    direct_paths(trace);
    bigram_paths(trace);
    return status;
}

static int search_paths(struct trace *trace)
{
    int status = start_at_logits(trace);
    for (size_t opened = 0; status == SN_OK && trace->n_heap && opened < TRACE_STEPS; opened++) {
        size_t step = heap_pop(trace);
        status = open_step(trace, step);
        memory_free(trace->context->memory, trace->steps[step].gradient,
                    trace->flow->n_tokens * sizeof(float));
        trace->steps[step].gradient = NULL;
        if (status == SN_OK && opened % 64 == 0)
            status = progress(trace->context, "trace", opened, TRACE_STEPS, 0);
    }
    return status;
}

/* ---- public */

static int store_paths(struct sn_circuit *circuit, struct trace *trace, const sn_tokenizer *tokenizer)
{
    size_t n = trace->n_found;
    struct traced_path *paths = memory_allocate_zeroed_array(circuit->memory, n, sizeof *paths);
    if (!paths)
        return fail_memory(trace->context, "paths", n * sizeof *paths);
    circuit_drop_paths(circuit);
    circuit->paths = paths;
    for (size_t i = 0; i < n; i++) {
        paths[i].text =
            path_text(circuit->memory, trace->flow, trace->steps, &trace->found[i], tokenizer);
        if (!paths[i].text) {
            /* Only finished paths count; the array is given back with its own size. */
            for (size_t j = 0; j < i; j++)
                memory_free(circuit->memory, paths[j].text, strlen(paths[j].text) + 1);
            memory_free(circuit->memory, paths, n * sizeof *paths);
            circuit->paths = NULL;
            return fail_memory(trace->context, "a path's text", 0);
        }
        paths[i].weight = trace->found[i].weight;
        paths[i].contribution = trace->found[i].contribution;
    }
    circuit->n_paths = n;
    return SN_OK;
}

static int run_trace(struct sn_circuit *circuit, struct trace *trace, const sn_tokenizer *tokenizer)
{
    struct memory *memory = trace->context->memory;
    size_t n = trace->flow->n_tokens, vocab = trace->flow->config->vocab_size;
    trace->found = memory_allocate_array(memory, trace->settings.paths + 1, sizeof *trace->found);
    trace->by_token = memory_allocate_zeroed_array(memory, vocab, sizeof *trace->by_token);
    trace->scratch = memory_allocate_array(memory, 3 * n, sizeof *trace->scratch);
    int status = SN_OK;
    if (!trace->found || !trace->by_token || !trace->scratch)
        status = fail_memory(trace->context, "a trace", 0);
    if (status == SN_OK)
        status = search_paths(trace);
    if (status == SN_OK)
        status = store_paths(circuit, trace, tokenizer);
    for (size_t i = 0; i < trace->n_steps; i++)
        memory_free(memory, trace->steps[i].gradient, n * sizeof(float));
    memory_free(memory, trace->steps, trace->step_capacity * sizeof *trace->steps);
    memory_free(memory, trace->heap, trace->step_capacity * sizeof *trace->heap);
    memory_free(memory, trace->found, (trace->settings.paths + 1) * sizeof *trace->found);
    memory_free(memory, trace->by_token, vocab * sizeof *trace->by_token);
    memory_free(memory, trace->scratch, 3 * n * sizeof *trace->scratch);
    return status;
}

int sn_circuit_trace(sn_circuit *circuit, sn_context *context, const sn_means *means,
                     const sn_tokenizer *tokenizer, const sn_task *task, const sn_options *options)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !task)
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_trace: %s is NULL",
                    circuit ? "task" : "circuit");
    size_t n_pairs = sn_task_count(task);
    if (n_pairs == 0)
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_trace: task %s has no pairs",
                    sn_task_name(task));
    struct trace trace = {.context = context};
    struct flow flow;
    int status = means_check(means, context, circuit->model, "sn_circuit_trace");
    if (status == SN_OK)
        status = options_read(&trace.settings, context, "sn_circuit_trace", specs,
                              sizeof specs / sizeof *specs, options);
    if (status == SN_OK)
        status = flow_open(&flow, context, circuit, means, task,
                           n_pairs < TRACE_PAIRS ? n_pairs : TRACE_PAIRS);
    if (status != SN_OK)
        return status;
    trace.flow = &flow;
    status = run_trace(circuit, &trace, tokenizer);
    flow_close(&flow);
    return status;
}
