/* A circuit as a Graphviz digraph: a cluster for each layer's attention and MLP, the residual stream
 * running upwards; edges blue where the weight is positive, red where negative, as wide as it is
 * large; dashed grey where a written residual channel is read again. */
#include <math.h>
#include <string.h>

#include "report/node_parts.h"
#include "report/write_text.h"

static size_t head_width(const sn_circuit *circuit)
{
    int64_t d_head = sn_model_config_number(sn_circuit_model(circuit), "d_head");
    return d_head > 0 ? (size_t)d_head : 1;
}

/* The inside of a quoted string of the DOT language. */
static void append_escaped(struct buffer *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buffer_text(out, "\\");
        if ((unsigned char)*text >= ' ')
            buffer_append(out, text, 1);
        else if (*text == '\n')
            buffer_text(out, "\\n");
    }
}

static void append_quoted(struct buffer *out, const char *text)
{
    buffer_text(out, "\"");
    append_escaped(out, text);
    buffer_text(out, "\"");
}

/* Fill colour by what the node does: reads, looks, carries, computes, writes. */
static const char *node_colour(const struct node_parts *parts)
{
    const char *site = strrchr(parts->site, '.');
    static const char *const COLOURS[][2] = {
        {".act_in", "#e8e8e8"}, {".q", "#ffe3b3"},        {".k", "#fff3b3"},
        {".v", "#d5efc4"},      {".post_act", "#cfe2f7"}, {".resid_delta", "#e6d3f2"},
    };
    for (size_t i = 0; site && i < sizeof COLOURS / sizeof *COLOURS; i++)
        if (strcmp(site, COLOURS[i][0]) == 0)
            return COLOURS[i][1];
    return "#ffffff";
}

/* A label stands under the node's name, a note is shown on hover. */
static void append_node(struct buffer *out, const sn_circuit *circuit, size_t index,
                        const struct node_parts *parts)
{
    const char *name = sn_circuit_node_name(circuit, index);
    const char *label = sn_circuit_label(circuit, index, SN_LABEL);
    const char *note = sn_circuit_label(circuit, index, SN_NOTE);
    buffer_text(out, "    ");
    append_quoted(out, name);
    buffer_format(out, " [fillcolor=\"%s\"", node_colour(parts));
    if (label) {
        buffer_text(out, ", label=\"");
        append_escaped(out, name);
        buffer_text(out, "\\n");
        append_escaped(out, label);
        buffer_text(out, "\"");
    }
    if (note) {
        buffer_text(out, ", tooltip=");
        append_quoted(out, note);
    }
    buffer_text(out, "];\n");
}

/* Nodes come in order of site, so those of one block stand together. */
static void append_clusters(struct buffer *out, const sn_circuit *circuit)
{
    size_t d_head = head_width(circuit);
    long layer = -1;
    int in_mlp = -1;
    for (size_t i = 0; i < sn_circuit_node_count(circuit); i++) {
        struct node_parts parts;
        const char *name = sn_circuit_node_name(circuit, i);
        node_parts_read(&parts, name, d_head);
        if (parts.layer != layer || parts.in_mlp != in_mlp) {
            buffer_text(out, layer < 0 ? "" : "  }\n");
            layer = parts.layer;
            in_mlp = parts.in_mlp;
            buffer_format(out, "  subgraph cluster_%ld_%s {\n    label=\"layer %ld, %s\";\n", layer,
                          in_mlp ? "mlp" : "attn", layer, in_mlp ? "MLP" : "attention");
        }
        append_node(out, circuit, i, &parts);
    }
    buffer_text(out, layer < 0 ? "" : "  }\n");
}

static double largest_weight(const sn_circuit *circuit)
{
    double largest = 0;
    for (size_t i = 0; i < sn_circuit_edge_count(circuit); i++) {
        float weight = 0;
        sn_circuit_edge(NULL, NULL, &weight, circuit, i);
        if (fabs((double)weight) > largest)
            largest = fabs((double)weight);
    }
    return largest > 0 ? largest : 1;
}

static void append_arrow(struct buffer *out, const sn_circuit *circuit, size_t from, size_t to)
{
    buffer_text(out, "  ");
    append_quoted(out, sn_circuit_node_name(circuit, from));
    buffer_text(out, " -> ");
    append_quoted(out, sn_circuit_node_name(circuit, to));
}

static void append_edges(struct buffer *out, const sn_circuit *circuit)
{
    double largest = largest_weight(circuit);
    for (size_t i = 0; i < sn_circuit_edge_count(circuit); i++) {
        size_t from = 0, to = 0;
        float weight = 0;
        sn_circuit_edge(&from, &to, &weight, circuit, i);
        append_arrow(out, circuit, from, to);
        buffer_format(out, " [color=\"%s\", penwidth=", weight < 0 ? "#c0392b" : "#2166ac");
        buffer_number(out, 0.5 + 3.5 * fabs((double)weight) / largest, 3);
        buffer_text(out, ", label=\"");
        buffer_number(out, (double)weight, 3);
        buffer_text(out, "\"];\n");
    }
}

static void append_residual_links(struct buffer *out, const sn_circuit *circuit)
{
    size_t d_head = head_width(circuit);
    for (size_t i = 0; i < sn_circuit_node_count(circuit); i++)
        for (size_t j = 0; j < sn_circuit_node_count(circuit); j++) {
            struct node_parts from, to;
            node_parts_read(&from, sn_circuit_node_name(circuit, i), d_head);
            node_parts_read(&to, sn_circuit_node_name(circuit, j), d_head);
            if (!node_residual_link(&from, &to))
                continue;
            append_arrow(out, circuit, i, j);
            buffer_text(out, " [color=\"#999999\", style=dashed, arrowhead=none];\n");
        }
}

static void append_digraph(struct buffer *out, const sn_circuit *circuit)
{
    buffer_text(out, "digraph ");
    append_quoted(out, sn_circuit_task(circuit));
    buffer_text(out, " {\n  rankdir=BT;\n  labelloc=t;\n  label=");
    append_quoted(out, sn_circuit_task(circuit));
    buffer_text(out,
                ";\n  fontname=\"Helvetica\";\n"
                "  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=11];\n"
                "  edge [fontname=\"Helvetica\", fontsize=9];\n");
    append_clusters(out, circuit);
    append_edges(out, circuit);
    append_residual_links(out, circuit);
    buffer_text(out, "}\n");
}

int report_dot(sn_context *context, const sn_circuit *circuit, const struct report_target *target)
{
    struct buffer text;
    buffer_init(&text, context->memory);
    append_digraph(&text, circuit);
    return report_write_text(context, &text, target, "a circuit as DOT");
}

int sn_report_write_dot(sn_context *context, const sn_circuit *circuit, const char *path)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_report_write_dot: %s is NULL",
                    circuit ? "path" : "circuit");
    return report_dot(context, circuit, &(struct report_target){.path = path});
}
