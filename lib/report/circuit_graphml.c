/* A circuit as GraphML: what graph libraries read. */
#include <string.h>

#include "report/node_parts.h"
#include "report/write_text.h"
#include "report/xml_text.h"

static void append_key(struct buffer *out, const char *name, const char *of, const char *type)
{
    buffer_format(out, "  <key id=\"%s_%s\" for=\"%s\" attr.name=\"%s\" attr.type=\"%s\"/>\n", of, name,
                  of, name, type);
}

static void append_number(struct buffer *out, const char *key, double value)
{
    buffer_format(out, "      <data key=\"%s\">", key);
    buffer_number(out, value, 9);
    buffer_text(out, "</data>\n");
}

static void append_text(struct buffer *out, const char *key, const char *text)
{
    if (!text)
        return;
    buffer_format(out, "      <data key=\"%s\">", key);
    xml_text(out, text);
    buffer_text(out, "</data>\n");
}

static void append_node(struct buffer *out, const sn_circuit *circuit, size_t index, size_t d_head)
{
    struct node_parts parts;
    const char *name = sn_circuit_node_name(circuit, index);
    double delta = 0;
    node_parts_read(&parts, name, d_head);
    buffer_text(out, "    <node id=\"");
    xml_text(out, name);
    buffer_format(out, "\">\n      <data key=\"node_site\">");
    xml_text(out, parts.site);
    buffer_text(out, "</data>\n");
    append_number(out, "node_layer", (double)parts.layer);
    append_number(out, "node_channel", (double)parts.channel);
    if (sn_circuit_node_delta(&delta, NULL, circuit, index) == SN_OK)
        append_number(out, "node_delta", delta);
    append_text(out, "node_label", sn_circuit_label(circuit, index, SN_LABEL));
    append_text(out, "node_note", sn_circuit_label(circuit, index, SN_NOTE));
    buffer_text(out, "    </node>\n");
}

static void append_edge(struct buffer *out, const sn_circuit *circuit, size_t index)
{
    size_t from = 0, to = 0;
    float weight = 0;
    double delta = 0;
    sn_circuit_edge(&from, &to, &weight, circuit, index);
    buffer_text(out, "    <edge source=\"");
    xml_text(out, sn_circuit_node_name(circuit, from));
    buffer_text(out, "\" target=\"");
    xml_text(out, sn_circuit_node_name(circuit, to));
    buffer_text(out, "\">\n");
    append_number(out, "edge_weight", (double)weight);
    if (sn_circuit_edge_delta(&delta, NULL, circuit, index) == SN_OK)
        append_number(out, "edge_delta", delta);
    buffer_text(out, "    </edge>\n");
}

static void append_graph(struct buffer *out, const sn_circuit *circuit)
{
    int64_t d_head = sn_model_config_number(sn_circuit_model(circuit), "d_head");
    buffer_text(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                     "<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n");
    append_key(out, "task", "graph", "string");
    append_key(out, "site", "node", "string");
    append_key(out, "layer", "node", "int");
    append_key(out, "channel", "node", "int");
    append_key(out, "delta", "node", "double");
    append_key(out, "label", "node", "string");
    append_key(out, "note", "node", "string");
    append_key(out, "weight", "edge", "double");
    append_key(out, "delta", "edge", "double");
    buffer_text(out, "  <graph id=\"circuit\" edgedefault=\"directed\">\n    <data key=\"graph_task\">");
    xml_text(out, sn_circuit_task(circuit));
    buffer_text(out, "</data>\n");
    for (size_t i = 0; i < sn_circuit_node_count(circuit); i++)
        append_node(out, circuit, i, d_head > 0 ? (size_t)d_head : 1);
    for (size_t i = 0; i < sn_circuit_edge_count(circuit); i++)
        append_edge(out, circuit, i);
    buffer_text(out, "  </graph>\n</graphml>\n");
}

int report_graphml(sn_context *context, const sn_circuit *circuit, const struct report_target *target)
{
    struct buffer text;
    buffer_init(&text, context->memory);
    append_graph(&text, circuit);
    return report_write_text(context, &text, target, "a circuit as GraphML");
}

int sn_report_write_graphml(sn_context *context, const sn_circuit *circuit, const char *path)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_report_write_graphml: %s is NULL",
                    circuit ? "path" : "circuit");
    return report_graphml(context, circuit, &(struct report_target){.path = path});
}
