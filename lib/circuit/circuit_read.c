/* Circuits from JSON (docs/circuit-json.md). The file comes from anywhere: every field is checked against the model. */
#include <math.h>
#include <string.h>

#include "circuit/circuit_read.h"
#include "circuit/edges.h"
#include "circuit/labels.h"

#define READ_VERSION 1
#define MOST_BYTES ((size_t)64 << 20)

int reader_malformed(const struct reader *reader, const char *place, const char *what, const char *value)
{
    return fail(reader->context, SN_ERROR_FORMAT, "%s: %s: %s%s%.100s%s", reader->path, place, what,
                value ? " \"" : "", value ? value : "", value ? "\"" : "");
}

static int check_head(const struct reader *reader)
{
    const char *format = "";
    size_t version = 0;
    if (!json_is_object(reader->root))
        return reader_malformed(reader, "the file", "must be an object", NULL);
    int status = json_field_text(&format, reader->context, reader->root, reader->path, "format");
    if (status == SN_OK && strcmp(format, "sparsenet circuit") != 0)
        return reader_malformed(reader, "format", "must be \"sparsenet circuit\", not", format);
    if (status == SN_OK)
        status = json_field_size(&version, reader->context, reader->root, reader->path, "version", 1,
                                 1000000);
    if (status == SN_OK && version > READ_VERSION)
        return fail(reader->context, SN_ERROR_UNSUPPORTED,
                    "%s: version: is %zu; this library reads up to %d", reader->path, version,
                    READ_VERSION);
    return status == SN_OK && version == 0 ? reader_malformed(reader, "version", "is missing", NULL)
                                           : status;
}

/* Some tools write 1.0 as 1. */
static int same_value(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) {
        double x = json_number_value(a), y = json_number_value(b);
        return !(x < y) && !(x > y);
    }
    return json_equal((json_t *)a, (json_t *)b);
}

/* The configuration in the file must be the model's, key by key. */
static int check_model(const struct reader *reader)
{
    const json_t *stored = json_object_get(reader->root, "model");
    const char *own_text = sn_model_config_json(reader->circuit->model), *key;
    json_t *own, *value;
    if (!json_is_object(stored))
        return reader_malformed(reader, "model", "must be an object", NULL);
    int status = json_read_text(&own, reader->context, own_text, strlen(own_text), "the model");
    if (status != SN_OK)
        return status;
    json_object_foreach(own, key, value)
    {
        const json_t *other = json_object_get(stored, key);
        if (!other || !same_value(other, value)) {
            status = reader_malformed(reader, "model",
                                      "the file belongs to another model, which differs in", key);
            break;
        }
    }
    json_decref(own);
    return status;
}

/* The flat index of the node that `value` names. */
static int read_node(size_t *node, const struct reader *reader, const json_t *value, const char *place)
{
    const struct sn_circuit *circuit = reader->circuit;
    size_t site, channel;
    const char *name = json_string_value(value);
    if (!name)
        return reader_malformed(reader, place, "must be the name of a node", NULL);
    if (!node_find(&site, &channel, circuit->model, name) ||
        node_layout_first(&circuit->layout, site) == NO_NODE)
        return reader_malformed(reader, place, "the model has no node", name);
    *node = node_layout_first(&circuit->layout, site) + channel;
    return SN_OK;
}

static int read_nodes(struct reader *reader)
{
    const json_t *nodes = json_object_get(reader->root, "nodes");
    if (!json_is_array(nodes))
        return reader_malformed(reader, "nodes", "must be an array", NULL);
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        size_t node = 0;
        const json_t *name = json_object_get(json_array_get(nodes, i), "name");
        int status = read_node(&node, reader, name, "nodes");
        if (status != SN_OK)
            return status;
        if (reader->kept[node])
            return reader_malformed(reader, "nodes", "stands twice:", json_string_value(name));
        reader->kept[node] = 1;
    }
    return SN_OK;
}

static int read_edge(struct reader *reader, const json_t *object)
{
    const json_t *from_name = json_object_get(object, "from"), *to_name = json_object_get(object, "to");
    const json_t *stored = json_object_get(object, "weight");
    size_t from = 0, to = 0;
    float weight = 0;
    int status = read_node(&from, reader, from_name, "edges: from");
    if (status == SN_OK)
        status = read_node(&to, reader, to_name, "edges: to");
    if (status != SN_OK)
        return status;
    if (!reader->kept[from] || !reader->kept[to])
        return reader_malformed(reader, "edges", "an end is not among the nodes:",
                                json_string_value(reader->kept[from] ? to_name : from_name));
    size_t edge = edge_find(&weight, reader->circuit->model, &reader->circuit->layout, from, to);
    if (edge == NO_NODE)
        return fail(
            reader->context, SN_ERROR_FORMAT,
            "%s: edges: the model has no weight from %s to %s: the file belongs to another model",
            reader->path, json_string_value(from_name), json_string_value(to_name));
    if (reader->kept_edges[edge])
        return fail(reader->context, SN_ERROR_FORMAT, "%s: edges: %s to %s stands twice", reader->path,
                    json_string_value(from_name), json_string_value(to_name));
    if (!json_is_number(stored) || (float)json_number_value(stored) != weight)
        return fail(
            reader->context, SN_ERROR_FORMAT,
            "%s: edges: the weight from %s to %s is not the model's: the file belongs to another model",
            reader->path, json_string_value(from_name), json_string_value(to_name));
    reader->kept_edges[edge] = 1;
    return SN_OK;
}

/* Where all edges between the nodes are there, none counts as cut. */
static int read_edges(struct reader *reader)
{
    struct sn_circuit *circuit = reader->circuit;
    const json_t *edges = json_object_get(reader->root, "edges");
    if (!json_is_array(edges))
        return reader_malformed(reader, "edges", "must be an array", NULL);
    for (size_t i = 0; i < json_array_size(edges); i++) {
        int status = read_edge(reader, json_array_get(edges, i));
        if (status != SN_OK)
            return status;
    }
    size_t between = graph_count_edges(circuit->model, &circuit->layout, reader->kept, NULL);
    return circuit_set_edges(circuit, reader->context, reader->kept,
                             json_array_size(edges) == between ? NULL : reader->kept_edges);
}

/* delta and raw_delta of one node or edge, numbers both. */
static int read_delta(const struct reader *reader, struct delta *delta, const json_t *object,
                      const char *place)
{
    const json_t *loss = json_object_get(object, "delta"), *raw = json_object_get(object, "raw_delta");
    if (!json_is_number(loss) || !json_is_number(raw))
        return reader_malformed(reader, place, "all or none must have a delta and a raw_delta, numbers",
                                NULL);
    delta->loss = json_number_value(loss);
    delta->raw_loss = json_number_value(raw);
    return SN_OK;
}

/* The place of a node in the graph's list. */
static size_t node_place(const struct graph *graph, size_t node)
{
    size_t place = 0;
    while (graph->nodes[place] != node)
        place++;
    return place;
}

static size_t edge_place(const struct graph *graph, size_t from, size_t to)
{
    size_t place = graph->first_edge[to];
    while (graph->edges[place].from != from)
        place++;
    return place;
}

/* Where the first node has them, all nodes and edges have. */
static int read_deltas(struct reader *reader)
{
    struct sn_circuit *circuit = reader->circuit;
    const struct graph *graph = &circuit->graph;
    const json_t *nodes = json_object_get(reader->root, "nodes");
    const json_t *edges = json_object_get(reader->root, "edges");
    if (!json_object_get(json_array_get(nodes, 0), "delta"))
        return SN_OK;
    int status = circuit_make_deltas(circuit, reader->context);
    for (size_t i = 0; status == SN_OK && i < json_array_size(nodes); i++) {
        size_t node = 0;
        const json_t *object = json_array_get(nodes, i);
        status = read_node(&node, reader, json_object_get(object, "name"), "nodes");
        if (status == SN_OK)
            status = read_delta(reader, &circuit->deltas[node_place(graph, node)], object, "nodes");
    }
    for (size_t i = 0; status == SN_OK && i < json_array_size(edges); i++) {
        size_t from = 0, to = 0;
        const json_t *object = json_array_get(edges, i);
        status = read_node(&from, reader, json_object_get(object, "from"), "edges: from");
        if (status == SN_OK)
            status = read_node(&to, reader, json_object_get(object, "to"), "edges: to");
        if (status != SN_OK)
            break;
        size_t place = edge_place(graph, node_place(graph, from), node_place(graph, to));
        status = read_delta(reader, &circuit->deltas[graph->n_nodes + place], object, "edges");
    }
    return status;
}

static int read_label(const struct reader *reader, const json_t *object, int kind)
{
    static const char *const keys[] = {"label", "note"}, *const places[] = {"nodes: label",
                                                                            "nodes: note"};
    const json_t *value = json_object_get(object, keys[kind]);
    size_t node = 0;
    if (!value)
        return SN_OK;
    const char *fault =
        json_is_string(value) ? label_fault(json_string_value(value), kind) : "must be text";
    if (fault)
        return reader_malformed(reader, places[kind], fault, NULL);
    int status = read_node(&node, reader, json_object_get(object, "name"), "nodes");
    return status == SN_OK ? circuit_label_node(reader->circuit, reader->context, node, kind,
                                                json_string_value(value))
                           : status;
}

static int read_labels(const struct reader *reader)
{
    const json_t *nodes = json_object_get(reader->root, "nodes");
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < json_array_size(nodes); i++) {
        status = read_label(reader, json_array_get(nodes, i), SN_LABEL);
        if (status == SN_OK)
            status = read_label(reader, json_array_get(nodes, i), SN_NOTE);
    }
    return status;
}

static int read_circuit(struct reader *reader, sn_model *model)
{
    const char *task = "";
    int status = check_head(reader);
    if (status == SN_OK)
        status = json_field_text(&task, reader->context, reader->root, reader->path, "task");
    if (status == SN_OK)
        status = sn_circuit_create(&reader->circuit, reader->context, model, task);
    if (status != SN_OK)
        return status;
    reader->n_nodes = reader->circuit->layout.n_nodes;
    reader->n_edges = edge_count(model);
    reader->kept = memory_allocate_zeroed(reader->context->memory, reader->n_nodes);
    reader->kept_edges = memory_allocate_zeroed(reader->context->memory, reader->n_edges);
    if (!reader->kept || !reader->kept_edges)
        return fail_memory(reader->context, "sets of nodes and edges",
                           reader->n_nodes + reader->n_edges);
    status = check_model(reader);
    if (status == SN_OK)
        status = read_nodes(reader);
    if (status == SN_OK)
        status = read_edges(reader);
    if (status == SN_OK)
        status = read_deltas(reader);
    if (status == SN_OK)
        status = read_labels(reader);
    if (status == SN_OK)
        status = reader_take_paths(reader);
    if (status == SN_OK)
        status = reader_take_measurements(reader);
    if (status == SN_OK)
        status = reader_take_series(reader);
    return status;
}

int sn_circuit_load(sn_circuit **out, sn_context *context, sn_model *model, const char *path)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!model || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_load: %s is NULL", model ? "path" : "model");
    struct reader reader = {.context = context, .path = path};
    json_t *root;
    int status = json_read_file(&root, context, path, MOST_BYTES);
    if (status != SN_OK)
        return status;
    reader.root = root;
    status = read_circuit(&reader, model);
    memory_free(context->memory, reader.kept, reader.n_nodes);
    memory_free(context->memory, reader.kept_edges, reader.n_edges);
    json_decref(root);
    if (status != SN_OK) {
        sn_circuit_free(reader.circuit);
        return status;
    }
    *out = reader.circuit;
    return SN_OK;
}
