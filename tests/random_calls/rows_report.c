/* Reports and plots. */
#include <string.h>

#include "play.h"
#include "world_objects.h"

#define PLOT CHANGE(plot, K_PLOT)

static const sn_page *page(void)
{
    sn_page *inputs = block(sizeof *inputs);
    if (chance(20))
        return NULL;
    inputs->struct_size = few(sizeof *inputs, sizeof *inputs);
    inputs->tokenizer = chance(50) ? NULL : READ(tokenizer, K_TOKENIZER);
    inputs->evidence = chance(50) ? NULL : READ(evidence, K_EVIDENCE);
    inputs->task = chance(50) ? NULL : READ(task, K_TASK);
    inputs->other = chance(50) ? NULL : CIRCUIT;
    inputs->other_task = inputs->other && chance(50) ? READ(task, K_TASK) : NULL;
    inputs->n_pairs = amount(0, 2);
    return inputs;
}

static int take(const char *bytes, size_t length, void *payload)
{
    (void)payload;
    answer_bytes(bytes, length);
    return odd() && chance(20);
}

static int send(void)
{
    return sn_report_send(C, CIRCUIT, chance(90) ? whole(SN_REPORT_JSON, SN_REPORT_SVG) : SN_REPORT_HTML,
                          page(), odd() ? NULL : take, NULL);
}

static int create_plot(void)
{
    return sn_plot_create(SLOT(plot, K_PLOT), C, text(), text(), text(),
                          settings("log_x:i0-1 log_y:i0-1"));
}

static int free_plot(void)
{
    sn_plot_free(play_take(K_PLOT));
    return SN_OK;
}

/* The spread is around y. */
static int add(void)
{
    const size_t n = few(1, 6);
    const double *x = doubles(n, 0.5, 9), *y = doubles(n, 1, 2);
    const int spread = chance(30);
    return sn_plot_add(PLOT, C, text(), whole(SN_PLOT_LINE, SN_PLOT_DASHED), n, x, y,
                       spread ? doubles(n, 0.5, 1) : NULL, spread ? doubles(n, 2, 3) : NULL);
}

#define ROWS(X)                                                                                         \
    X(sn_report_write_json, FAIR, sn_report_write_json(C, CIRCUIT, to_file()))                          \
    X(sn_report_write_dot, FAIR, sn_report_write_dot(C, CIRCUIT, to_file()))                            \
    X(sn_report_write_graphml, FAIR, sn_report_write_graphml(C, CIRCUIT, to_file()))                    \
    X(sn_report_write_svg, FAIR, sn_report_write_svg(C, CIRCUIT, to_file()))                            \
    X(sn_report_write_html, DEAR, sn_report_write_html(C, CIRCUIT, page(), to_file()))                  \
    X(sn_report_send, FAIR, send())                                                                     \
    X(sn_plot_create, CHEAP, create_plot())                                                             \
    X(sn_plot_free, CHEAP, free_plot())                                                                 \
    X(sn_plot_add, CHEAP, add())                                                                        \
    X(sn_plot_add_level, FAIR, sn_plot_add_level(PLOT, C, text(), real(0.5, 2)))                        \
    X(sn_plot_write_svg, FAIR, sn_plot_write_svg(READ(plot, K_PLOT), C, to_file()))

DEFINE_ROWS(rows_report, ROWS)
