#include "draw.h"

void curve_add(struct curve *curve, double x, double y, double low, double high)
{
    if (curve->n == MAX_POINTS)
        return;
    curve->x[curve->n] = x;
    curve->y[curve->n] = y;
    curve->low[curve->n] = low > 0 ? low : y;
    curve->high[curve->n] = low > 0 ? high : y;
    curve->has_spread |= low > 0;
    curve->n++;
}

void draw(const struct setup *setup, sn_context *context, const char *name, const struct axes *axes,
          const struct curve *curves, size_t n)
{
    char path[PATH_CAPACITY];
    sn_plot *plot;
    sn_options *how = options(context);
    set(context, how, "log_x", axes->log_x);
    set(context, how, "log_y", axes->log_y);
    check(context, sn_plot_create(&plot, context, axes->title, axes->x, axes->y, how));
    sn_options_free(how);
    for (size_t i = 0; i < n; i++) {
        const struct curve *c = &curves[i];
        if (c->n > 0)
            check(context, sn_plot_add(plot, context, c->name,
                                       c->points_only ? SN_PLOT_POINTS : SN_PLOT_LINE, c->n, c->x, c->y,
                                       c->has_spread ? c->low : NULL, c->has_spread ? c->high : NULL));
    }
    make_path(path, setup, name, ".svg");
    check(context, sn_plot_write_svg(plot, context, path));
    sn_plot_free(plot);
}
