/* A circuit as one JSON object. The layout is described in docs/circuit-json.md; "format" and "version"
 * come first so that a reader can refuse what it does not know. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/buffer.h"
#include "base/context.h"
#include "base/file.h"
#include "base/json_parse.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "report/circuit_json.h"
#include "report/node_parts.h"
#include "report/write_text.h"

#define CIRCUIT_FORMAT_VERSION 1
#define DIGITS 9 /* give a float back exactly */

/* jansson's setters take over the value and fail on NULL, so one flag collects every failure. */
static void set(json_t *object, const char *key, json_t *value, int *failed)
{
    if (json_object_set_new(object, key, value) != 0)
        *failed = 1;
}

static void append(json_t *array, json_t *value, int *failed)
{
    if (json_array_append_new(array, value) != 0)
        *failed = 1;
}

/* json_string gives NULL for what is not UTF-8, but also for lack of memory. */
static json_t *text_or_mark(const char *text)
{
    int valid = utf8_is_valid((const unsigned char *)text, strlen(text));
    return json_string(valid ? text : "(not UTF-8)");
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static void set_delta(json_t *object, int status, double loss, double raw_loss, int *failed)
{
    if (status != SN_OK)
        return;
    set(object, "delta", number_or_null(loss), failed);
    set(object, "raw_delta", number_or_null(raw_loss), failed);
}

static json_t *node_object(const sn_circuit *circuit, size_t index, size_t d_head, int *failed)
{
    struct node_parts parts;
    const char *name = sn_circuit_node_name(circuit, index);
    json_t *node = json_object();
    node_parts_read(&parts, name, d_head);
    set(node, "name", json_string(name), failed);
    set(node, "site", json_string(parts.site), failed);
    set(node, "channel", json_integer((json_int_t)parts.channel), failed);
    set(node, "layer", json_integer(parts.layer), failed);
    if (parts.head >= 0) {
        set(node, "head", json_integer(parts.head), failed);
        set(node, "head_channel", json_integer(parts.head_channel), failed);
    }
    double loss = 0, raw_loss = 0;
    int status = sn_circuit_node_delta(&loss, &raw_loss, circuit, index);
    set_delta(node, status, loss, raw_loss, failed);
    const char *label = sn_circuit_label(circuit, index, SN_LABEL);
    const char *note = sn_circuit_label(circuit, index, SN_NOTE);
    if (label)
        set(node, "label", json_string(label), failed);
    if (note)
        set(node, "note", json_string(note), failed);
    return node;
}

static json_t *node_array(const sn_circuit *circuit, size_t d_head, int *failed)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < sn_circuit_node_count(circuit); i++)
        append(nodes, node_object(circuit, i, d_head, failed), failed);
    return nodes;
}

static json_t *edge_array(const sn_circuit *circuit, int *failed)
{
    json_t *edges = json_array();
    for (size_t i = 0; i < sn_circuit_edge_count(circuit); i++) {
        size_t from = 0, to = 0;
        float weight = 0;
        json_t *edge = json_object();
        sn_circuit_edge(&from, &to, &weight, circuit, i);
        set(edge, "from", json_string(sn_circuit_node_name(circuit, from)), failed);
        set(edge, "to", json_string(sn_circuit_node_name(circuit, to)), failed);
        set(edge, "weight", number_or_null((double)weight), failed);
        double loss = 0, raw_loss = 0;
        int status = sn_circuit_edge_delta(&loss, &raw_loss, circuit, i);
        set_delta(edge, status, loss, raw_loss, failed);
        append(edges, edge, failed);
    }
    return edges;
}

static json_t *link_object(const sn_circuit *circuit, size_t from, size_t to, int *failed)
{
    json_t *link = json_object();
    set(link, "from", json_string(sn_circuit_node_name(circuit, from)), failed);
    set(link, "to", json_string(sn_circuit_node_name(circuit, to)), failed);
    return link;
}

static json_t *link_array(sn_context *context, const sn_circuit *circuit, size_t d_head, int *failed)
{
    size_t n = sn_circuit_node_count(circuit);
    json_t *links = json_array();
    struct node_parts *parts = memory_allocate_array(context->memory, n, sizeof *parts);
    if (!parts)
        *failed = 1;
    for (size_t i = 0; parts && i < n; i++)
        node_parts_read(&parts[i], sn_circuit_node_name(circuit, i), d_head);
    for (size_t i = 0; parts && i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (node_residual_link(&parts[i], &parts[j]))
                append(links, link_object(circuit, i, j, failed), failed);
    memory_free(context->memory, parts, n * sizeof *parts);
    return links;
}

static json_t *path_array(const sn_circuit *circuit, int *failed)
{
    json_t *paths = json_array();
    for (size_t i = 0; i < sn_circuit_path_count(circuit); i++) {
        double weight = 0, contribution = 0;
        const char *text = sn_circuit_path(&weight, &contribution, circuit, i);
        json_t *path = json_object();
        set(path, "text", text_or_mark(text), failed); /* the bytes of a token need not be UTF-8 */
        set(path, "weight", number_or_null(weight), failed);
        set(path, "contribution", number_or_null(contribution), failed);
        append(paths, path, failed);
    }
    return paths;
}

static json_t *measurement_object(const sn_circuit *circuit, int *failed)
{
    json_t *measurements = json_object();
    for (size_t i = 0; i < sn_circuit_measurement_count(circuit); i++) {
        double value = 0;
        const char *name = sn_circuit_measurement(&value, circuit, i);
        set(measurements, name, number_or_null(value), failed);
    }
    return measurements;
}

static json_t *numbers(const double *values, size_t n, int *failed)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++)
        append(array, number_or_null(values[i]), failed);
    return array;
}

static json_t *series_array(const sn_circuit *circuit, int *failed)
{
    json_t *all = json_array();
    for (size_t i = 0; i < sn_circuit_series_count(circuit); i++) {
        const double *x, *y;
        size_t n;
        const char *name = sn_circuit_series(&x, &y, &n, circuit, i);
        json_t *series = json_object();
        set(series, "name", json_string(name), failed);
        set(series, "x", numbers(x, n, failed), failed);
        set(series, "y", numbers(y, n, failed), failed);
        append(all, series, failed);
    }
    return all;
}

static json_t *config_object(const sn_model *model)
{
    const char *text = sn_model_config_json(model);
    int lacks_memory;
    json_error_t error;
    return json_parse(&lacks_memory, &error, text, strlen(text));
}

static json_t *circuit_object(sn_context *context, const sn_circuit *circuit, int *failed)
{
    const sn_model *model = sn_circuit_model(circuit);
    int64_t d_head = sn_model_config_number(model, "d_head");
    size_t width = d_head > 0 ? (size_t)d_head : 1;
    json_t *root = json_object();
    set(root, "format", json_string("sparsenet circuit"), failed);
    set(root, "version", json_integer(CIRCUIT_FORMAT_VERSION), failed);
    set(root, "library", json_string(sn_version_string()), failed);
    set(root, "task", text_or_mark(sn_circuit_task(circuit)), failed);
    set(root, "model", config_object(model), failed);
    set(root, "nodes", node_array(circuit, width, failed), failed);
    set(root, "edges", edge_array(circuit, failed), failed);
    set(root, "residual_links", link_array(context, circuit, width, failed), failed);
    set(root, "paths", path_array(circuit, failed), failed);
    set(root, "measurements", measurement_object(circuit, failed), failed);
    if (sn_circuit_series_count(circuit))
        set(root, "series", series_array(circuit, failed), failed);
    return root;
}

struct json_sink {
    circuit_json_piece write;
    void *payload;
    int status;
};

static int write_piece(const char *bytes, size_t size, void *payload)
{
    struct json_sink *sink = payload;
    sink->status = sink->write(bytes, size, sink->payload);
    return sink->status == SN_OK ? 0 : -1;
}

int circuit_json_write(sn_context *context, const sn_circuit *circuit, int indented,
                       circuit_json_piece write, void *payload)
{
    int failed = 0;
    struct json_sink sink = {.write = write, .payload = payload};
    size_t flags = JSON_REAL_PRECISION(DIGITS) | (indented ? JSON_INDENT(1) : JSON_COMPACT);
    json_t *root = circuit_object(context, circuit, &failed);
    int status = failed || !root ? fail_memory(context, "a circuit as JSON", 0) : SN_OK;
    const int host_errno = errno;
    if (status == SN_OK && json_dump_callback(root, write_piece, &sink, flags) != 0)
        status = sink.status != SN_OK ? sink.status : fail_memory(context, "a circuit as JSON", 0);
    if (errno == 0) /* jansson's doing, as no function of C does */
        errno = host_errno;
    json_decref(root);
    return status;
}

struct json_file {
    struct file_writer writer;
    sn_context *context;
};

static int write_to_file(const char *bytes, size_t size, void *payload)
{
    struct json_file *file = payload;
    return file_write(&file->writer, file->context, bytes, size);
}

static int write_file(sn_context *context, const sn_circuit *circuit, const char *path)
{
    struct json_file file;
    memset(&file, 0, sizeof file);
    file.context = context;
    int status = file_writer_open(&file.writer, context, path);
    if (status == SN_OK)
        status = circuit_json_write(context, circuit, 1, write_to_file, &file);
    if (status == SN_OK)
        status = file_write(&file.writer, context, "\n", 1);
    if (status == SN_OK)
        status = file_writer_commit(&file.writer, context);
    file_writer_abort(&file.writer);
    return status;
}

static int append_piece(const char *bytes, size_t size, void *payload)
{
    buffer_append(payload, bytes, size);
    return SN_OK;
}

/* The JSON library gives a word at a time; a file gathers them by itself, for a callback they are joined first. */
int report_json(sn_context *context, const sn_circuit *circuit, const struct report_target *target)
{
    struct buffer text;
    if (target->path)
        return write_file(context, circuit, target->path);
    buffer_init(&text, context->memory);
    int status = circuit_json_write(context, circuit, 1, append_piece, &text);
    buffer_text(&text, "\n");
    if (status == SN_OK)
        return report_write_text(context, &text, target, "a circuit as JSON");
    buffer_free(&text);
    return status;
}

int sn_report_write_json(sn_context *context, const sn_circuit *circuit, const char *path)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_report_write_json: %s is NULL",
                    circuit ? "path" : "circuit");
    return report_json(context, circuit, &(struct report_target){.path = path});
}
