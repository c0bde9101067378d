/* Calls that write what people look at. */
#include <string.h>

#include "calls.h"
#include "world_objects.h"

#define PLOT OBJECT(sn_plot, O_PLOT)

static const double x[3] = {1, 2, 4}, y[3] = {0.5, 0.25, 0.125}, low[3] = {0.25, 0, 0},
                    high[3] = {1, 1, 1};

static int free_plot(struct world *w)
{
    sn_plot_free(PLOT);
    w->objects[O_PLOT] = NULL;
    return SN_OK;
}

static int write_page(struct world *w)
{
    sn_page page = {.struct_size = sizeof page,
                    .tokenizer = TOKENIZER,
                    .evidence = OBJECT(sn_evidence, O_EVIDENCE),
                    .task = TASK,
                    .other = OBJECT(sn_circuit, O_OTHER),
                    .other_task = TASK,
                    .n_pairs = 1};
    return sn_report_write_html(CONTEXT, CIRCUIT, &page, TO("page.html"));
}

/* Length and hash (FNV-1a) of what came. */
static int take_text(const char *text, size_t length, void *payload)
{
    struct outputs *out = payload;
    for (size_t i = 0; i < length; i++)
        out->sets[0] = (out->sets[0] ^ (unsigned char)text[i]) * 1099511628211u;
    out->sizes[0] += length;
    return 0;
}

#define CALLS(X)                                                                                        \
    X(sn_report_write_json, "", 0, B(CIRCUIT), WRITES,                                                  \
      sn_report_write_json(CONTEXT, CIRCUIT, TO("circuit.json")))                                       \
    X(sn_report_write_dot, "", 0, B(CIRCUIT), WRITES,                                                   \
      sn_report_write_dot(CONTEXT, CIRCUIT, TO("circuit.dot")))                                         \
    X(sn_report_write_graphml, "", 0, B(CIRCUIT), WRITES,                                               \
      sn_report_write_graphml(CONTEXT, CIRCUIT, TO("circuit.graphml")))                                 \
    X(sn_report_write_svg, "", 0, B(CIRCUIT), WRITES,                                                   \
      sn_report_write_svg(CONTEXT, CIRCUIT, TO("circuit.svg")))                                         \
    X(sn_report_write_html, "", B(TOKENIZER) | B(EVIDENCE) | B(TASK) | B(OTHER), B(CIRCUIT),            \
      WRITES | CANCELS, write_page(w))                                                                  \
    X(sn_report_send, "", 0, B(CIRCUIT), 0,                                                             \
      sn_report_send(CONTEXT, CIRCUIT, SN_REPORT_JSON, NULL, take_text, &w->out))                       \
    X(sn_plot_create, "log_x=1", 0, 0, 0,                                                               \
      sn_plot_create(MADE(sn_plot, O_PLOT), CONTEXT, "title", "x", "y", OPTIONS))                       \
    X(sn_plot_free, "", B(PLOT), 0, ALLOCATES_NOTHING, free_plot(w))                                    \
    X(sn_plot_add, "", 0, B(PLOT), 0,                                                                   \
      sn_plot_add(PLOT, CONTEXT, "second", SN_PLOT_POINTS, 3, x, y, low, high))                         \
    X(sn_plot_add_level, "", 0, B(PLOT), 0, sn_plot_add_level(PLOT, CONTEXT, "level", 0.75))            \
    X(sn_plot_write_svg, "", 0, B(PLOT), WRITES, sn_plot_write_svg(PLOT, CONTEXT, TO("plot.svg")))

DEFINE_TABLE(calls_report, CALLS)
