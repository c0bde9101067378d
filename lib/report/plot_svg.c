#include <math.h>
#include <string.h>

#include "base/buffer.h"
#include "report/plot.h"
#include "report/svg_parts.h"
#include "report/write_text.h"
#include "report/xml_text.h"

#define WIDTH 640
#define HEIGHT 420
#define LEFT 74
#define RIGHT 18
#define BOTTOM 62
#define TITLE_AT 26
#define LEGEND_AT 50 /* of its first row */
#define LEGEND_ROW 21
#define LETTER 7.8 /* about what one takes at the legend's size */
#define KEY 34     /* line and mark in front of a legend's text */

/* Okabe and Ito's colours, which colour-blind readers tell apart; each comes with a mark of its own. */
static const char *const COLOURS[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"};
#define N_COLOURS (sizeof COLOURS / sizeof *COLOURS)
static const char STYLE[] =
    "<style>text{font:15px system-ui,sans-serif;fill:#222}.title{font-size:17px;font-weight:600}"
    ".frame{stroke:#555;fill:none}.grid{stroke:#888;stroke-opacity:.22}.minor{stroke-opacity:.1}"
    ".level{stroke:#555;stroke-dasharray:2 4}.line{fill:none;stroke-width:2.2;stroke-linejoin:round}"
    ".dashed{stroke-dasharray:7 5}.band{fill-opacity:.16;stroke:none}.bar{stroke-width:1.4}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.frame,.level{stroke:#aaa}}</style>\n";

struct drawing {
    const sn_plot *plot;
    struct buffer *out;
    struct plot_axis x, y;
    double top; /* of the frame, under the legend */
};

static double across(const struct drawing *drawing, double value)
{
    return LEFT + plot_axis_place(&drawing->x, value) * (WIDTH - LEFT - RIGHT);
}

static double down(const struct drawing *drawing, double value)
{
    return HEIGHT - BOTTOM - plot_axis_place(&drawing->y, value) * (HEIGHT - BOTTOM - drawing->top);
}

static void text_at(struct buffer *out, double x, double y, const char *attributes, const char *text)
{
    buffer_text(out, "<text");
    svg_attribute(out, "x", x);
    svg_attribute(out, "y", y);
    buffer_format(out, "%s>", attributes);
    xml_text(out, text);
    buffer_text(out, "</text>\n");
}

static void line(struct buffer *out, const char *class, double x1, double y1, double x2, double y2)
{
    buffer_format(out, "<line class=\"%s\"", class);
    svg_attribute(out, "x1", x1);
    svg_attribute(out, "y1", y1);
    svg_attribute(out, "x2", x2);
    svg_attribute(out, "y2", y2);
    buffer_text(out, "/>\n");
}

/* ------------------------------------------------------------------- the frame */

static void fit_axes(struct drawing *drawing)
{
    const sn_plot *plot = drawing->plot;
    double low_x = INFINITY, high_x = -INFINITY, low_y = INFINITY, high_y = -INFINITY;
    for (size_t s = 0; s < plot->n_series; s++) {
        const struct plot_series *series = &plot->series[s];
        for (size_t i = 0; i < series->n; i++) {
            low_x = fmin(low_x, series->x[i]);
            high_x = fmax(high_x, series->x[i]);
            low_y = fmin(low_y, series->low ? series->low[i] : series->y[i]);
            high_y = fmax(high_y, series->high ? series->high[i] : series->y[i]);
        }
    }
    for (size_t i = 0; i < plot->n_levels; i++) {
        low_y = fmin(low_y, plot->levels[i].y);
        high_y = fmax(high_y, plot->levels[i].y);
    }
    plot_axis_fit(&drawing->x, low_x <= high_x ? low_x : 0.1, low_x <= high_x ? high_x : 1,
                  plot->log_x != 0);
    plot_axis_fit(&drawing->y, low_y <= high_y ? low_y : 0.1, low_y <= high_y ? high_y : 1,
                  plot->log_y != 0);
}

static void draw_ticks(const struct drawing *drawing)
{
    char text[NUMBER_TEXT];
    for (size_t i = 0; i < drawing->x.n_ticks; i++) {
        double at = across(drawing, drawing->x.tick[i]);
        line(drawing->out, drawing->x.labelled[i] ? "grid" : "grid minor", at, drawing->top, at,
             HEIGHT - BOTTOM);
        number_text(text, drawing->x.tick[i], 6);
        if (drawing->x.labelled[i])
            text_at(drawing->out, at, HEIGHT - BOTTOM + 20, " text-anchor=\"middle\"", text);
    }
    for (size_t i = 0; i < drawing->y.n_ticks; i++) {
        double at = down(drawing, drawing->y.tick[i]);
        line(drawing->out, drawing->y.labelled[i] ? "grid" : "grid minor", LEFT, at, WIDTH - RIGHT, at);
        number_text(text, drawing->y.tick[i], 6);
        if (drawing->y.labelled[i])
            text_at(drawing->out, LEFT - 8, at + 5, " text-anchor=\"end\"", text);
    }
}

static void draw_frame(const struct drawing *drawing)
{
    struct buffer *out = drawing->out;
    double middle = (drawing->top + HEIGHT - BOTTOM) / 2;
    draw_ticks(drawing);
    buffer_format(out, "<rect class=\"frame\" x=\"%d\" width=\"%d\"", LEFT, WIDTH - LEFT - RIGHT);
    svg_attribute(out, "y", drawing->top);
    svg_attribute(out, "height", HEIGHT - BOTTOM - drawing->top);
    buffer_text(out, "/>\n");
    text_at(out, LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 18, " text-anchor=\"middle\"",
            drawing->plot->x_label);
    buffer_text(out, "<text text-anchor=\"middle\" transform=\"translate(20 ");
    svg_number(out, middle);
    buffer_text(out, ") rotate(-90)\">");
    xml_text(out, drawing->plot->y_label);
    buffer_text(out, "</text>\n");
    text_at(out, LEFT, TITLE_AT, " class=\"title\"", drawing->plot->title);
}

/* ------------------------------------------------------------------ the series */

static void draw_mark(struct buffer *out, size_t series, double x, double y)
{
    static const char *const SHAPES[] = {"",
                                         "M-3.8-3.8h7.6v7.6h-7.6z",
                                         "M0-5 4.7 3.6h-9.4z",
                                         "M0-5.4 5.4 0 0 5.4-5.4 0z",
                                         "M0 5 4.7-3.6h-9.4z",
                                         "M-4-1.4h2.6V-4h2.8v2.6H4v2.8H1.4V4h-2.8V1.4H-4z"};
    const char *colour = COLOURS[series % N_COLOURS];
    size_t shape = (series + series / N_COLOURS) % N_COLOURS;
    if (shape == 0) {
        buffer_text(out, "<circle");
        svg_attribute(out, "cx", x);
        svg_attribute(out, "cy", y);
        buffer_text(out, " r=\"4.2\"");
    } else {
        buffer_format(out, "<path d=\"%s\" transform=\"translate(", SHAPES[shape]);
        svg_number(out, x);
        buffer_text(out, " ");
        svg_number(out, y);
        buffer_text(out, ")\"");
    }
    buffer_format(out, " fill=\"%s\"/>\n", colour);
}

static void add_place(const struct drawing *drawing, double x, double y, int first)
{
    buffer_text(drawing->out, first ? "" : " ");
    svg_number(drawing->out, across(drawing, x));
    buffer_text(drawing->out, ",");
    svg_number(drawing->out, down(drawing, y));
}

static void draw_band(const struct drawing *drawing, const struct plot_series *series,
                      const char *colour)
{
    buffer_format(drawing->out, "<polygon class=\"band\" fill=\"%s\" points=\"", colour);
    for (size_t i = 0; i < series->n; i++)
        add_place(drawing, series->x[i], series->high[i], i == 0);
    for (size_t i = series->n; i-- > 0;)
        add_place(drawing, series->x[i], series->low[i], 0);
    buffer_text(drawing->out, "\"/>\n");
}

static void draw_bars(const struct drawing *drawing, const struct plot_series *series,
                      const char *colour)
{
    for (size_t i = 0; i < series->n; i++) {
        double at = across(drawing, series->x[i]);
        buffer_format(drawing->out, "<g stroke=\"%s\">", colour);
        line(drawing->out, "bar", at, down(drawing, series->low[i]), at, down(drawing, series->high[i]));
        buffer_text(drawing->out, "</g>\n");
    }
}

static void draw_series(const struct drawing *drawing, size_t index)
{
    const struct plot_series *series = &drawing->plot->series[index];
    const char *colour = COLOURS[index % N_COLOURS];
    if (series->n == 0)
        return;
    buffer_text(drawing->out, "<g class=\"series\"><title>");
    xml_text(drawing->out, series->name);
    buffer_text(drawing->out, "</title>\n");
    if (series->low && series->style == SN_PLOT_POINTS)
        draw_bars(drawing, series, colour);
    else if (series->low)
        draw_band(drawing, series, colour);
    if (series->style != SN_PLOT_POINTS) {
        buffer_format(drawing->out, "<polyline class=\"line%s\" stroke=\"%s\" points=\"",
                      series->style == SN_PLOT_DASHED ? " dashed" : "", colour);
        for (size_t i = 0; i < series->n; i++)
            add_place(drawing, series->x[i], series->y[i], i == 0);
        buffer_text(drawing->out, "\"/>\n");
    }
    for (size_t i = 0; i < series->n && series->style != SN_PLOT_DASHED; i++)
        draw_mark(drawing->out, index, across(drawing, series->x[i]), down(drawing, series->y[i]));
    buffer_text(drawing->out, "</g>\n");
}

static void draw_levels(const struct drawing *drawing)
{
    for (size_t i = 0; i < drawing->plot->n_levels; i++) {
        double at = down(drawing, drawing->plot->levels[i].y);
        line(drawing->out, "level", LEFT, at, WIDTH - RIGHT, at);
        text_at(drawing->out, WIDTH - RIGHT - 6, at - drawing->top < 20 ? at + 16 : at - 5,
                " text-anchor=\"end\"", drawing->plot->levels[i].label);
    }
}

/* ------------------------------------------------------------------ the legend */

static size_t letters(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

/* Draws it, or (out NULL) only says how many rows it takes. */
static int draw_legend(const sn_plot *plot, struct buffer *out)
{
    double x = LEFT;
    int row = 0, any = 0;
    for (size_t i = 0; i < plot->n_series; i++) {
        const struct plot_series *series = &plot->series[i];
        double wide = KEY + LETTER * (double)letters(series->name) + 18;
        if (!*series->name)
            continue;
        if (any && x + wide > WIDTH - RIGHT) {
            x = LEFT;
            row++;
        }
        any = 1;
        double y = LEGEND_AT + row * LEGEND_ROW;
        if (out && series->style != SN_PLOT_POINTS) {
            buffer_format(out, "<g stroke=\"%s\">", COLOURS[i % N_COLOURS]);
            line(out, series->style == SN_PLOT_DASHED ? "line dashed" : "line", x, y - 5, x + KEY - 8,
                 y - 5);
            buffer_text(out, "</g>\n");
        }
        if (out && series->style != SN_PLOT_DASHED)
            draw_mark(out, i, x + (KEY - 8) / 2.0, y - 5);
        if (out)
            text_at(out, x + KEY, y, "", series->name);
        x += wide;
    }
    return any ? row + 1 : 0;
}

int sn_plot_write_svg(const sn_plot *plot, sn_context *context, const char *path)
{
    struct buffer out;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!plot || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_plot_write_svg: %s is NULL", plot ? "path" : "plot");
    buffer_init(&out, context->memory);
    struct drawing drawing = {.plot = plot, .out = &out};
    drawing.top = LEGEND_AT - 12 + draw_legend(plot, NULL) * LEGEND_ROW;
    fit_axes(&drawing);
    buffer_format(
        &out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n<title>",
        WIDTH, HEIGHT);
    xml_text(&out, plot->title);
    buffer_text(&out, "</title>\n");
    buffer_text(&out, STYLE);
    draw_frame(&drawing);
    draw_levels(&drawing);
    for (size_t i = 0; i < plot->n_series; i++)
        draw_series(&drawing, i);
    draw_legend(plot, &out);
    buffer_text(&out, "</svg>\n");
    return report_write_text(context, &out, &(struct report_target){.path = path}, "a plot");
}
