/* A circuit as a picture: a column for each step of the forward pass, nodes as dots with their channels, edges by
 * sign (colour, dashes) and strength (width), residual links drawn lightly. */
#include <math.h>
#include <string.h>

#include "base/buffer.h"
#include "report/circuit_layout.h"
#include "report/svg_parts.h"
#include "report/write_text.h"
#include "report/xml_text.h"

#define MARGIN 16
#define TOP 104   /* title, summary and the names of the columns */
#define BOTTOM 52 /* the legend */
#define NARROWEST 640
#define DOT 5
#define SMALLEST_ROW 12 /* with names; below it they are shown on hover only */
#define TITLE_LETTERS 64

static const char STYLE[] =
    "<style>text{font:12px system-ui,sans-serif;fill:#222}.page{fill:#fff}.title{font-size:17px;"
    "font-weight:600}.step{font-size:13px;text-anchor:middle}.name{text-anchor:middle;paint-order:"
    "stroke;"
    "stroke:#fff;stroke-width:3px}.block{fill:#888;fill-opacity:.09}.edge{fill:none;stroke-opacity:.8}"
    ".plus{stroke:#0072b2}.minus{stroke:#d55e00;stroke-dasharray:7 4}"
    ".link{fill:none;stroke:#888;stroke-opacity:.45;stroke-dasharray:1 "
    "4;stroke-linecap:round}.node{fill:#333}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.page{fill:#15181c}.name{stroke:#15181c}"
    ".plus{stroke:#56b4e9}.minus{stroke:#f0883e}.node{fill:#ddd}}</style>\n";

struct drawing {
    const sn_circuit *circuit;
    struct circuit_layout layout;
    struct buffer *out;
    double width, height, left; /* left: of the columns, which stand in the middle */
};

static void begin_text(struct buffer *out, const char *class, double x, double y)
{
    buffer_format(out, "<text class=\"%s\"", class);
    svg_attribute(out, "x", x);
    svg_attribute(out, "y", y);
    buffer_text(out, ">");
}

static void text_at(struct buffer *out, const char *class, double x, double y, const char *text)
{
    begin_text(out, class, x, y);
    xml_text(out, text);
    buffer_text(out, "</text>\n");
}

/* At most `letters` of a text (no more than TITLE_LETTERS), the last a mark that there was more. */
static void append_short(struct buffer *out, const char *text, size_t letters)
{
    char piece[4 * TITLE_LETTERS + 1];
    size_t n = 0, seen = 0, whole = layout_letters(text) <= letters;
    for (; text[n] && n < sizeof piece - 1; n++) {
        seen += ((unsigned char)text[n] & 0xC0) != 0x80;
        if (!whole && seen == letters)
            break;
        piece[n] = text[n];
    }
    piece[n] = '\0';
    xml_text(out, piece);
    buffer_text(out, whole ? "" : "\xe2\x80\xa6");
}

static const struct layout_node *node_of(const struct drawing *drawing, size_t index)
{
    return &drawing->layout.nodes[drawing->layout.places[index]];
}

/* ------------------------------------------------------------------- the columns */

static const char *step_name(const struct node_parts *parts)
{
    const char *site = strrchr(parts->site, '.');
    if (parts->head >= 0)
        return "q, k, v";
    if (strcmp(site, ".post_act") == 0)
        return "neurons";
    return strcmp(site, ".resid_delta") == 0 ? "write" : "read";
}

static void draw_columns(const struct drawing *drawing)
{
    const struct circuit_layout *layout = &drawing->layout;
    struct buffer *out = drawing->out;
    for (size_t i = 0, end; i < layout->n_columns; i = end) {
        const struct layout_column *first = &layout->columns[i];
        const struct node_parts *block = &layout->nodes[first->first].parts;
        double width = 0;
        for (end = i; end < layout->n_columns; end++) {
            const struct layout_column *column = &layout->columns[end];
            const struct node_parts *parts = &layout->nodes[column->first].parts;
            if (parts->layer != block->layer || parts->in_mlp != block->in_mlp)
                break;
            width += column->width;
            text_at(out, "step", drawing->left + column->left + column->width / 2, TOP - 12,
                    step_name(parts));
        }
        buffer_text(out, "<rect class=\"block\" rx=\"6\"");
        svg_attribute(out, "x", drawing->left + first->left + 3);
        svg_attribute(out, "y", TOP - 44);
        svg_attribute(out, "width", width - 6);
        svg_attribute(out, "height", layout->height + 52);
        buffer_text(out, "/>\n");
        begin_text(out, "step", drawing->left + first->left + width / 2, TOP - 29);
        buffer_format(out, "%ld %s</text>\n", block->layer, block->in_mlp ? "MLP" : "attention");
    }
}

/* ------------------------------------------------------------------ edges and nodes */

static void draw_curve(const struct drawing *drawing, const struct layout_link *link)
{
    const struct layout_node *from = node_of(drawing, link->from), *to = node_of(drawing, link->to);
    struct buffer *out = drawing->out;
    double x1 = drawing->left + from->x, y1 = TOP + from->y, x2 = drawing->left + to->x,
           y2 = TOP + to->y;
    const double at[] = {x1, y1, x1 + 0.4 * (x2 - x1), y1, x2 - 0.4 * (x2 - x1), y2, x2, y2};
    buffer_text(out, " d=\"M");
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        buffer_text(out, i == 2 ? "C" : i == 0 ? "" : " ");
        svg_number(out, at[i]);
    }
    buffer_text(out, "\"");
}

static double largest_weight(const struct circuit_layout *layout)
{
    double largest = layout->n_edges ? fabs(layout->links[0].weight) : 0;
    return largest > 0 ? largest : 1;
}

static void draw_edge(const struct drawing *drawing, const struct layout_link *link)
{
    struct buffer *out = drawing->out;
    buffer_format(out, "<path class=\"edge %s\"", link->weight < 0 ? "minus" : "plus");
    svg_attribute(out, "stroke-width", 0.8 + 4 * fabs(link->weight) / largest_weight(&drawing->layout));
    draw_curve(drawing, link);
    buffer_text(out, "><title>");
    xml_text(out, sn_circuit_node_name(drawing->circuit, link->from));
    buffer_text(out, " to ");
    xml_text(out, sn_circuit_node_name(drawing->circuit, link->to));
    buffer_text(out, ": ");
    buffer_number(out, link->weight, 4);
    buffer_text(out, "</title></path>\n");
}

/* Residual links lie under the edges, strong edges over weak ones. */
static void draw_links(const struct drawing *drawing)
{
    const struct circuit_layout *layout = &drawing->layout;
    for (size_t i = layout->n_edges; i < layout->n_links; i++) {
        buffer_text(drawing->out, "<path class=\"link\" stroke-width=\"1.4\"");
        draw_curve(drawing, &layout->links[i]);
        buffer_text(drawing->out, "/>\n");
    }
    for (size_t i = layout->n_edges; i-- > 0;)
        draw_edge(drawing, &layout->links[i]);
}

static void draw_node(const struct drawing *drawing, const struct layout_node *node)
{
    struct buffer *out = drawing->out;
    const char *label = sn_circuit_label(drawing->circuit, node->index, SN_LABEL);
    const char *note = sn_circuit_label(drawing->circuit, node->index, SN_NOTE);
    double x = drawing->left + node->x, y = TOP + node->y;
    buffer_text(out, "<circle class=\"node\"");
    svg_attribute(out, "cx", x);
    svg_attribute(out, "cy", y);
    svg_attribute(out, "r", fmin(DOT, drawing->layout.row / 2));
    buffer_text(out, "><title>");
    xml_text(out, sn_circuit_node_name(drawing->circuit, node->index));
    for (int i = 0; i < 2; i++)
        if (i == 0 ? label : note) {
            buffer_text(out, "\n");
            xml_text(out, i == 0 ? label : note);
        }
    buffer_text(out, "</title></circle>\n");
    if (drawing->layout.row < SMALLEST_ROW)
        return;
    char name[LAYOUT_NAME];
    layout_node_name(name, &node->parts);
    begin_text(out, "name", x, y - 9);
    buffer_text(out, name);
    if (label) {
        buffer_text(out, " ");
        append_short(out, label, LAYOUT_LABEL_LETTERS);
    }
    buffer_text(out, "</text>\n");
}

/* ---------------------------------------------------------------- title and legend */

static void draw_head(const struct drawing *drawing)
{
    const struct circuit_layout *layout = &drawing->layout;
    size_t n_edges = sn_circuit_edge_count(drawing->circuit);
    struct buffer *out = drawing->out;
    begin_text(out, "title", MARGIN, 26);
    append_short(out, sn_circuit_task(drawing->circuit), TITLE_LETTERS);
    buffer_text(out, "</text>\n");
    begin_text(out, "summary", MARGIN, 46);
    buffer_format(out, "%zu nodes, %zu edges", layout->n_nodes, n_edges);
    if (n_edges > layout->n_edges)
        buffer_format(out, " (the heaviest %zu drawn)", layout->n_edges);
    buffer_text(out, "</text>\n");
}

static void draw_key(struct buffer *out, const char *class, double width, double x, double y)
{
    buffer_format(out, "<line class=\"%s\"", class);
    svg_attribute(out, "stroke-width", width);
    svg_attribute(out, "x1", x);
    svg_attribute(out, "y1", y - 4);
    svg_attribute(out, "x2", x + 34);
    svg_attribute(out, "y2", y - 4);
    buffer_text(out, "/>\n");
}

static void draw_legend(const struct drawing *drawing)
{
    struct buffer *out = drawing->out;
    double y = drawing->height - MARGIN;
    draw_key(out, "edge plus", 3, MARGIN, y);
    text_at(out, "key", MARGIN + 42, y, "positive weight");
    draw_key(out, "edge minus", 3, MARGIN + 150, y);
    text_at(out, "key", MARGIN + 192, y, "negative weight");
    draw_key(out, "link", 1.4, MARGIN + 304, y);
    text_at(out, "key", MARGIN + 346, y, "same residual channel");
    if (drawing->layout.n_edges == 0)
        return;
    begin_text(out, "key", MARGIN + 510, y);
    buffer_text(out, "widest: ");
    buffer_number(out, largest_weight(&drawing->layout), 3);
    buffer_text(out, "</text>\n");
}

static void draw(struct drawing *drawing)
{
    const struct circuit_layout *layout = &drawing->layout;
    struct buffer *out = drawing->out;
    drawing->width = fmax(NARROWEST, layout->width + 2 * MARGIN);
    drawing->height = TOP + layout->height + BOTTOM;
    drawing->left = (drawing->width - layout->width) / 2;
    buffer_text(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ");
    svg_number(out, drawing->width);
    buffer_text(out, " ");
    svg_number(out, drawing->height);
    buffer_text(out, "\" role=\"img\">\n<title>");
    xml_text(out, sn_circuit_task(drawing->circuit));
    buffer_format(out,
                  "</title>\n<desc>Circuit of %zu nodes and %zu edges, from left to right.</desc>\n",
                  layout->n_nodes, sn_circuit_edge_count(drawing->circuit));
    buffer_text(out, STYLE);
    buffer_text(out, "<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n");
    draw_columns(drawing);
    draw_head(drawing);
    draw_links(drawing);
    for (size_t i = 0; i < layout->n_nodes; i++)
        draw_node(drawing, &layout->nodes[i]);
    draw_legend(drawing);
    buffer_text(out, "</svg>\n");
}

int report_svg(sn_context *context, const sn_circuit *circuit, const struct report_target *target)
{
    struct buffer text;
    struct drawing drawing = {.circuit = circuit, .out = &text};
    buffer_init(&text, context->memory);
    int status = layout_make(&drawing.layout, context, circuit);
    if (status == SN_OK) {
        draw(&drawing);
        status = report_write_text(context, &text, target, "a circuit as SVG");
    }
    layout_free(&drawing.layout);
    return status;
}

int sn_report_write_svg(sn_context *context, const sn_circuit *circuit, const char *path)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_report_write_svg: %s is NULL",
                    circuit ? "path" : "circuit");
    return report_svg(context, circuit, &(struct report_target){.path = path});
}
