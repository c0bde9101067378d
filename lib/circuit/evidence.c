/* Evidence for nodes: made, and handed out. */
#include "circuit/evidence.h"

#include <math.h>
#include <string.h>

#include "base/options.h"
#include "circuit/order.h"

static const struct option_spec specs[] = {
    {"tokens", OPTION_INTEGER, offsetof(struct evidence_settings, tokens), 32768, 0, 1e12, NULL},
    {"window", OPTION_INTEGER, offsetof(struct evidence_settings, window), 0, 0, 1e9, NULL},
    {"seed", OPTION_INTEGER, offsetof(struct evidence_settings, seed), 0, 0, 9e15, NULL},
    {"bins", OPTION_INTEGER, offsetof(struct evidence_settings, bins), 64, 2, HISTOGRAM_BINS, NULL},
    {"top", OPTION_INTEGER, offsetof(struct evidence_settings, top), 8, 0, 1024, NULL},
    {"bottom", OPTION_INTEGER, offsetof(struct evidence_settings, bottom), 8, 0, 1024, NULL},
    {"quantiles", OPTION_TEXT, offsetof(struct evidence_settings, quantile_text), 0, 0, 0, NULL},
    {"per_quantile", OPTION_INTEGER, offsetof(struct evidence_settings, per_quantile), 2, 0, 64, NULL},
    {"before", OPTION_INTEGER, offsetof(struct evidence_settings, before), 16, 0, 4096, NULL},
    {"after", OPTION_INTEGER, offsetof(struct evidence_settings, after), 8, 0, 4096, NULL},
    {"sample", OPTION_INTEGER, offsetof(struct evidence_settings, sample), 256, 16, 65536, NULL},
};

/* A number from 0 to 1, of digits and a decimal point; *text moves behind it. */
static int read_quantile(double *quantile, const char **text)
{
    const char *c = *text;
    double value = 0, place = 1;
    int digits = 0, point = 0;
    for (; (*c >= '0' && *c <= '9') || (*c == '.' && !point); c++) {
        if (*c == '.') {
            point = 1;
            continue;
        }
        digits++;
        place *= point ? 10 : 1;
        value = value * 10 + (*c - '0');
        if (digits > 15)
            return 0;
    }
    *quantile = value / place;
    *text = c;
    return digits > 0 && *quantile <= 1;
}

static int read_quantiles(struct evidence_settings *settings, struct sn_context *context,
                          const char *function)
{
    const char *text = settings->quantile_text ? settings->quantile_text : "0.25,0.5,0.75,0.95";
    const char *c = text;
    settings->n_quantiles = 0;
    while (*c) {
        if (settings->n_quantiles == MOST_QUANTILES)
            return fail(context, SN_ERROR_ARGUMENT, "%s: option quantiles has more than %d", function,
                        MOST_QUANTILES);
        if (!read_quantile(&settings->quantiles[settings->n_quantiles++], &c) ||
            (*c && (*c != ',' || !c[1])))
            return fail(context, SN_ERROR_ARGUMENT,
                        "%s: option quantiles is \"%.100s\"; it must be numbers from 0 to 1 with "
                        "commas between",
                        function, text);
        c += *c == ',';
    }
    settings->quantile_text = NULL; /* the options' */
    if (settings->n_quantiles == 0 || settings->per_quantile == 0)
        settings->n_quantiles = settings->per_quantile = settings->sample = 0;
    return SN_OK;
}

static int read_settings(struct evidence_settings *settings, struct sn_context *context,
                         const struct sn_model *model, const char *function, const sn_options *options)
{
    size_t block = model->config.block_size;
    int status = options_read(settings, context, function, specs, sizeof specs / sizeof *specs, options);
    if (status == SN_OK)
        status = read_quantiles(settings, context, function);
    if (status != SN_OK)
        return status;
    if (settings->window > block)
        return fail(context, SN_ERROR_ARGUMENT, "%s: window is %zu, block_size %zu", function,
                    settings->window, block);
    if (settings->window == 0)
        settings->window = block;
    return SN_OK;
}

/* ---- making */

static int allocate(struct sn_evidence *evidence, struct sn_context *context, size_t n_nodes)
{
    const struct evidence_settings *settings = &evidence->settings;
    struct memory *memory = evidence->memory;
    size_t n = evidence->n_nodes = n_nodes;
    evidence->width = settings->before + settings->after + 1;
    if (evidence->width > settings->window)
        evidence->width = settings->window;
    evidence->n_places = settings->top + settings->bottom + settings->sample;
    evidence->n_shown =
        settings->top + settings->bottom + settings->n_quantiles * settings->per_quantile;
    size_t room = evidence->n_places * evidence->width, shown = evidence->n_shown * evidence->width;
    evidence->names = memory_allocate_array(memory, n, NODE_NAME_BYTES);
    evidence->nodes = memory_allocate_zeroed_array(memory, n, sizeof *evidence->nodes);
    evidence->counts =
        memory_allocate_zeroed_array(memory, n, settings->bins * sizeof *evidence->counts);
    evidence->edges = memory_allocate_array(memory, n, (settings->bins + 1) * sizeof *evidence->edges);
    evidence->places = memory_allocate_array(memory, n, evidence->n_places * sizeof *evidence->places);
    evidence->place_values = memory_allocate_array(memory, n, room * sizeof *evidence->place_values);
    evidence->shown = memory_allocate_array(memory, n, evidence->n_shown * sizeof *evidence->shown);
    evidence->shown_tokens = memory_allocate_array(memory, n, shown * sizeof *evidence->shown_tokens);
    evidence->shown_values = memory_allocate_array(memory, n, shown * sizeof *evidence->shown_values);
    if (evidence->names && evidence->nodes && evidence->counts && evidence->edges && evidence->places &&
        evidence->place_values && evidence->shown && evidence->shown_tokens && evidence->shown_values)
        return SN_OK;
    return fail_memory(context, "evidence for nodes", n * room * sizeof *evidence->place_values);
}

static void drop_places(struct sn_evidence *evidence)
{
    size_t n = evidence->n_nodes, room = evidence->n_places * evidence->width;
    memory_free(evidence->memory, evidence->places, n * evidence->n_places * sizeof *evidence->places);
    memory_free(evidence->memory, evidence->place_values, n * room * sizeof *evidence->place_values);
    evidence->places = NULL;
    evidence->place_values = NULL;
}

static void prepare_node(struct sn_evidence *evidence, size_t index, const struct sn_corpus *corpus)
{
    const struct evidence_settings *settings = &evidence->settings;
    struct node_evidence *node = &evidence->nodes[index];
    const size_t capacity[PLACE_LISTS] = {settings->top, settings->bottom, settings->sample};
    size_t used = index * evidence->n_places;
    node->histogram.counts = evidence->counts + index * settings->bins;
    node->histogram.capacity = settings->bins;
    for (int list = 0; list < PLACE_LISTS; list++) {
        node->lists[list] =
            (struct place_list){.places = evidence->places + used,
                                .activations = evidence->place_values + used * evidence->width,
                                .capacity = capacity[list],
                                .width = evidence->width,
                                .rule = list == SAMPLE_LIST                         ? PLACES_ANY
                                        : corpus->n_documents >= 4 * capacity[list] ? PLACES_DOCUMENTS
                                                                                    : PLACES_APART};
        used += capacity[list];
    }
}

static int find_nodes(struct sn_evidence *evidence, struct sn_context *context,
                      const struct sn_model *model, const char *const *nodes, const char *function)
{
    for (size_t i = 0; i < evidence->n_nodes; i++) {
        struct node_evidence *node = &evidence->nodes[i];
        if (!nodes[i] || !node_find(&node->site, &node->channel, model, nodes[i]))
            return fail(context, SN_ERROR_ARGUMENT,
                        "%s: nodes[%zu], \"%.100s\", is no node of this model", function, i,
                        nodes[i] ? nodes[i] : "NULL");
        node_name(evidence->names[i], NODE_NAME_BYTES, model, node->site, node->channel);
    }
    return SN_OK;
}

/* ---- contexts, from the places found */

static void show(struct sn_evidence *evidence, size_t slot, const struct place_list *list,
                 const struct place *place, const struct sn_corpus *corpus, double quantile)
{
    int32_t *tokens = evidence->shown_tokens + slot * evidence->width;
    float *values = evidence->shown_values + slot * evidence->width;
    memcpy(tokens, corpus->documents[place->document].tokens + place->first, place->n * sizeof *tokens);
    memcpy(values, list->activations + place->slot * list->width, place->n * sizeof *values);
    evidence->shown[slot] = (sn_token_context){.document = place->document,
                                               .position = place->position,
                                               .n_tokens = place->n,
                                               .at = place->position - place->first,
                                               .tokens = tokens,
                                               .activations = values,
                                               .quantile = quantile,
                                               .value = (double)place->value};
}

/* Up to per_quantile places of the sample (order: by value), nearest to the quantile first. */
static size_t show_quantile(struct sn_evidence *evidence, size_t slot, const struct place_list *sample,
                            const size_t *order, double quantile, const struct sn_corpus *corpus)
{
    const struct place *taken[64];
    size_t n = 0, wanted = evidence->settings.per_quantile;
    size_t middle = (size_t)floor(quantile * (double)(sample->n - 1) + 0.5);
    enum place_rule rule = corpus->n_documents >= 4 * wanted ? PLACES_DOCUMENTS : PLACES_APART;
    for (size_t step = 0; n < wanted && step < 2 * sample->n; step++) {
        size_t away = (step + 1) / 2, rank = step % 2 ? middle + away : middle - away;
        if (rank >= sample->n) /* below 0 too */
            continue;
        const struct place *place = &sample->places[order[rank]];
        size_t i = 0;
        while (i < n && places_apart(taken[i], place, corpus, rule))
            i++;
        if (i < n)
            continue;
        taken[n] = place;
        show(evidence, slot + n++, sample, place, corpus, quantile);
    }
    return n;
}

/* order, score: room for the sample. */
static void show_node(struct sn_evidence *evidence, size_t index, const struct sn_corpus *corpus,
                      size_t *order, double *score)
{
    const struct evidence_settings *settings = &evidence->settings;
    struct node_evidence *node = &evidence->nodes[index];
    size_t slot = index * evidence->n_shown;
    for (int kind = 0; kind < SAMPLE_LIST; kind++) {
        node->first_context[kind] = slot;
        for (size_t i = 0; i < node->lists[kind].n; i++)
            show(evidence, slot++, &node->lists[kind], &node->lists[kind].places[i], corpus,
                 kind == SN_CONTEXT_TOP ? 1 : 0);
    }
    node->first_context[SAMPLE_LIST] = slot;
    const struct place_list *sample = &node->lists[SAMPLE_LIST];
    for (size_t i = 0; i < sample->n; i++) {
        order[i] = i;
        score[i] = (double)sample->places[i].value;
    }
    order_by_score(order, sample->n, score);
    for (size_t q = 0; sample->n && q < settings->n_quantiles; q++)
        slot += show_quantile(evidence, slot, sample, order, settings->quantiles[q], corpus);
    node->first_context[PLACE_LISTS] = slot;
    double *edges = evidence->edges + index * (settings->bins + 1);
    for (size_t bin = 0; node->histogram.n_bins && bin <= node->histogram.n_bins; bin++)
        edges[bin] = histogram_edge(&node->histogram, bin);
}

static int show_all(struct sn_evidence *evidence, struct sn_context *context,
                    const struct sn_corpus *corpus)
{
    size_t n = evidence->settings.sample;
    size_t *order = memory_allocate_array(context->memory, n, sizeof *order);
    double *score = memory_allocate_array(context->memory, n, sizeof *score);
    int status = order && score ? SN_OK : fail_memory(context, "a sample's order", n * sizeof *score);
    for (size_t i = 0; status == SN_OK && i < evidence->n_nodes; i++)
        show_node(evidence, i, corpus, order, score);
    memory_free(context->memory, order, n * sizeof *order);
    memory_free(context->memory, score, n * sizeof *score);
    return status;
}

static int make(struct sn_evidence *evidence, struct sn_context *context, struct sn_model *model,
                const struct sn_corpus *corpus, const char *const *nodes, size_t n_nodes,
                const sn_options *options, const char *function)
{
    int status = read_settings(&evidence->settings, context, model, function, options);
    if (status == SN_OK)
        status = allocate(evidence, context, n_nodes);
    if (status == SN_OK)
        status = find_nodes(evidence, context, model, nodes, function);
    for (size_t i = 0; status == SN_OK && i < n_nodes; i++)
        prepare_node(evidence, i, corpus);
    if (status == SN_OK)
        status = evidence_gather(evidence, context, model, corpus);
    if (status == SN_OK)
        status = show_all(evidence, context, corpus);
    return status;
}

static int create(sn_evidence **out, sn_context *context, sn_model *model, const sn_corpus *corpus,
                  const char *const *nodes, size_t n_nodes, const sn_options *options,
                  const char *function)
{
    if (!corpus->tokenized || corpus->n_tokens == 0)
        return fail(context, SN_ERROR_STATE, "%s: the corpus %s", function,
                    corpus->tokenized || corpus->n_documents == 0 ? "has no tokens"
                                                                  : "is not tokenised");
    sn_evidence *evidence = memory_allocate_zeroed(context->memory, sizeof *evidence);
    if (!evidence)
        return fail_memory(context, "evidence", sizeof *evidence);
    evidence->memory = memory_retain(context->memory);
    int status = make(evidence, context, model, corpus, nodes, n_nodes, options, function);
    if (status != SN_OK) {
        sn_evidence_free(evidence);
        return status;
    }
    drop_places(evidence);
    *out = evidence;
    return SN_OK;
}

/* ---- public */

int sn_evidence_create(sn_evidence **out, sn_context *context, sn_model *model, const sn_corpus *corpus,
                       const char *const *nodes, size_t n_nodes, const sn_options *options)
{
    static const char function[] = "sn_evidence_create";
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!model || !corpus || (!nodes && n_nodes))
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function,
                    !model    ? "model"
                    : !corpus ? "corpus"
                              : "nodes");
    return create(out, context, model, corpus, nodes, n_nodes, options, function);
}

int sn_evidence_create_circuit(sn_evidence **out, sn_context *context, const sn_circuit *circuit,
                               const sn_corpus *corpus, const sn_options *options)
{
    static const char function[] = "sn_evidence_create_circuit";
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!circuit || !corpus)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function,
                    circuit ? "corpus" : "circuit");
    size_t n = circuit->graph.n_nodes;
    const char **names = memory_allocate_array(context->memory, n, sizeof *names);
    if (!names)
        return fail_memory(context, "nodes' names", n * sizeof *names);
    for (size_t i = 0; i < n; i++)
        names[i] = circuit->graph.names[i];
    int status = create(out, context, circuit->model, corpus, names, n, options, function);
    memory_free(context->memory, names, n * sizeof *names);
    return status;
}

void sn_evidence_free(sn_evidence *evidence)
{
    if (!evidence)
        return;
    struct memory *memory = evidence->memory;
    size_t n = evidence->n_nodes, bins = evidence->settings.bins;
    size_t shown = n * evidence->n_shown, width = evidence->width;
    drop_places(evidence);
    memory_free(memory, evidence->names, n * NODE_NAME_BYTES);
    memory_free(memory, evidence->nodes, n * sizeof *evidence->nodes);
    memory_free(memory, evidence->counts, n * bins * sizeof *evidence->counts);
    memory_free(memory, evidence->edges, n * (bins + 1) * sizeof *evidence->edges);
    memory_free(memory, evidence->shown, shown * sizeof *evidence->shown);
    memory_free(memory, evidence->shown_tokens, shown * width * sizeof *evidence->shown_tokens);
    memory_free(memory, evidence->shown_values, shown * width * sizeof *evidence->shown_values);
    memory_free(memory, evidence, sizeof *evidence);
    memory_release(memory);
}

size_t sn_evidence_count(const sn_evidence *evidence)
{
    return evidence ? evidence->n_nodes : 0;
}

const char *sn_evidence_node(const sn_evidence *evidence, size_t index)
{
    return index < sn_evidence_count(evidence) ? evidence->names[index] : NULL;
}

int sn_evidence_summarize(sn_evidence_summary *result, const sn_evidence *evidence, size_t index)
{
    if (!result || result->struct_size < sizeof(size_t) || index >= sn_evidence_count(evidence))
        return SN_ERROR_ARGUMENT;
    const struct node_evidence *node = &evidence->nodes[index];
    double n = (double)node->n_tokens, mean = node->sum / n, variance = node->squares / n - mean * mean;
    const sn_evidence_summary full = {.struct_size = result->struct_size,
                                      .n_tokens = node->n_tokens,
                                      .n_zero = node->n_zero,
                                      .minimum = (double)node->minimum,
                                      .maximum = (double)node->maximum,
                                      .mean = mean,
                                      .deviation = variance > 0 ? sqrt(variance) : 0};
    memcpy(result, &full, full.struct_size < sizeof full ? full.struct_size : sizeof full);
    return SN_OK;
}

int sn_evidence_histogram(const double **edges, const uint64_t **counts, size_t *n_bins,
                          const sn_evidence *evidence, size_t index)
{
    if (index >= sn_evidence_count(evidence))
        return SN_ERROR_ARGUMENT;
    if (edges)
        *edges = evidence->edges + index * (evidence->settings.bins + 1);
    if (counts)
        *counts = evidence->nodes[index].histogram.counts;
    if (n_bins)
        *n_bins = evidence->nodes[index].histogram.n_bins;
    return SN_OK;
}

size_t sn_evidence_context_count(const sn_evidence *evidence, size_t index, int kind)
{
    if (index >= sn_evidence_count(evidence) || kind < SN_CONTEXT_TOP || kind > SN_CONTEXT_QUANTILE)
        return 0;
    const size_t *first = evidence->nodes[index].first_context;
    return first[kind + 1] - first[kind];
}

int sn_evidence_context(sn_token_context *result, const sn_evidence *evidence, size_t index, int kind,
                        size_t context)
{
    if (!result || result->struct_size < sizeof(size_t) ||
        context >= sn_evidence_context_count(evidence, index, kind))
        return SN_ERROR_ARGUMENT;
    size_t size = result->struct_size;
    sn_token_context full = evidence->shown[evidence->nodes[index].first_context[kind] + context];
    full.struct_size = size;
    memcpy(result, &full, size < sizeof full ? size : sizeof full);
    return SN_OK;
}
