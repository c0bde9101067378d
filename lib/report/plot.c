#include "report/plot.h"

#include <math.h>
#include <string.h>

#include "base/buffer.h"
#include "base/options.h"
#include "base/utf8.h"

struct plot_settings {
    size_t log_x, log_y;
};

/* A copy; NULL when out of memory. */
static char *copy_text(struct memory *memory, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_allocate(memory, size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

static void free_text(struct memory *memory, char *text)
{
    memory_free(memory, text, text ? strlen(text) + 1 : 0);
}

/* NULL without error where there are none to copy. */
static int copy_numbers(double **out, struct memory *memory, const double *values, size_t n)
{
    *out = NULL;
    if (!values || n == 0)
        return 1;
    *out = memory_allocate_array(memory, n, sizeof **out);
    if (*out)
        memcpy(*out, values, n * sizeof **out);
    return *out != NULL;
}

static int check_text(sn_context *context, const char *function, const char *what, const char *text)
{
    if (!text)
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is NULL", function, what);
    if (!utf8_is_valid((const unsigned char *)text, strlen(text)))
        return fail(context, SN_ERROR_ARGUMENT, "%s: %s is not UTF-8", function, what);
    return SN_OK;
}

int sn_plot_create(sn_plot **out, sn_context *context, const char *title, const char *x_label,
                   const char *y_label, const sn_options *options)
{
    static const struct option_spec SPECS[] = {
        {"log_x", OPTION_INTEGER, offsetof(struct plot_settings, log_x), 0, 0, 1, NULL},
        {"log_y", OPTION_INTEGER, offsetof(struct plot_settings, log_y), 0, 0, 1, NULL},
    };
    struct plot_settings settings;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    int status = check_text(context, "sn_plot_create", "title", title);
    if (status == SN_OK)
        status = check_text(context, "sn_plot_create", "x_label", x_label);
    if (status == SN_OK)
        status = check_text(context, "sn_plot_create", "y_label", y_label);
    if (status == SN_OK)
        status = options_read(&settings, context, "sn_plot_create", SPECS, sizeof SPECS / sizeof *SPECS,
                              options);
    if (status != SN_OK)
        return status;
    sn_plot *plot = memory_allocate_zeroed(context->memory, sizeof *plot);
    if (!plot)
        return fail_memory(context, "a plot", sizeof *plot);
    plot->memory = memory_retain(context->memory);
    plot->log_x = settings.log_x;
    plot->log_y = settings.log_y;
    plot->title = copy_text(plot->memory, title);
    plot->x_label = copy_text(plot->memory, x_label);
    plot->y_label = copy_text(plot->memory, y_label);
    if (!plot->title || !plot->x_label || !plot->y_label) {
        sn_plot_free(plot);
        return fail_memory(context, "a plot's texts", strlen(title) + strlen(x_label) + strlen(y_label));
    }
    *out = plot;
    return SN_OK;
}

static void free_series(struct memory *memory, struct plot_series *series)
{
    free_text(memory, series->name);
    memory_free(memory, series->x, series->n * sizeof *series->x);
    memory_free(memory, series->y, series->n * sizeof *series->y);
    memory_free(memory, series->low, series->n * sizeof *series->low);
    memory_free(memory, series->high, series->n * sizeof *series->high);
}

void sn_plot_free(sn_plot *plot)
{
    if (!plot)
        return;
    struct memory *memory = plot->memory;
    for (size_t i = 0; i < plot->n_series; i++)
        free_series(memory, &plot->series[i]);
    for (size_t i = 0; i < plot->n_levels; i++)
        free_text(memory, plot->levels[i].label);
    free_text(memory, plot->title);
    free_text(memory, plot->x_label);
    free_text(memory, plot->y_label);
    memory_free(memory, plot, sizeof *plot);
    memory_release(memory);
}

static int check_value(sn_context *context, const char *series, size_t point, const char *what,
                       double value, size_t logarithmic)
{
    if (!isfinite(value))
        return fail(context, SN_ERROR_ARGUMENT, "sn_plot_add: series \"%s\", point %zu: %s is %s",
                    series, point, what, SHOWN(value));
    if (logarithmic && value <= 0)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_plot_add: series \"%s\", point %zu: %s is %s on a logarithmic axis", series,
                    point, what, SHOWN(value));
    return SN_OK;
}

static int check_point(const sn_plot *plot, sn_context *context, const struct plot_series *given,
                       size_t i)
{
    int status = check_value(context, given->name, i, "x", given->x[i], plot->log_x);
    if (status == SN_OK)
        status = check_value(context, given->name, i, "y", given->y[i], plot->log_y);
    if (status != SN_OK || !given->low)
        return status;
    status = check_value(context, given->name, i, "low", given->low[i], plot->log_y);
    if (status == SN_OK)
        status = check_value(context, given->name, i, "high", given->high[i], plot->log_y);
    if (status == SN_OK && (given->low[i] > given->y[i] || given->y[i] > given->high[i]))
        status = fail(context, SN_ERROR_ARGUMENT,
                      "sn_plot_add: series \"%s\", point %zu: y %s is not within %s .. %s", given->name,
                      i, SHOWN(given->y[i]), SHOWN(given->low[i]), SHOWN(given->high[i]));
    return status;
}

int sn_plot_add(sn_plot *plot, sn_context *context, const char *name, int style, size_t n,
                const double *x, const double *y, const double *low, const double *high)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!plot || (n > 0 && (!x || !y)) || !low != !high)
        return fail(context, SN_ERROR_ARGUMENT, "sn_plot_add: %s",
                    !plot           ? "plot is NULL"
                    : !low != !high ? "low and high come together"
                                    : "x or y is NULL");
    int status = check_text(context, "sn_plot_add", "name", name);
    if (status != SN_OK)
        return status;
    if (style < SN_PLOT_LINE || style > SN_PLOT_DASHED)
        return fail(context, SN_ERROR_ARGUMENT, "sn_plot_add: style is %d", style);
    if (plot->n_series == PLOT_MAX_SERIES)
        return fail(context, SN_ERROR_ARGUMENT, "sn_plot_add: series \"%s\" is one more than %d", name,
                    PLOT_MAX_SERIES);
    struct plot_series given = {(char *)(uintptr_t)name,
                                style,
                                n,
                                (double *)(uintptr_t)x,
                                (double *)(uintptr_t)y,
                                (double *)(uintptr_t)low,
                                (double *)(uintptr_t)high};
    for (size_t i = 0; i < n; i++) {
        status = check_point(plot, context, &given, i);
        if (status != SN_OK)
            return status;
    }
    struct memory *memory = plot->memory;
    struct plot_series copy = {.name = copy_text(memory, name), .style = style, .n = n};
    int copied = copy.name != NULL;
    copied &= copy_numbers(&copy.x, memory, x, n);
    copied &= copy_numbers(&copy.y, memory, y, n);
    copied &= copy_numbers(&copy.low, memory, low, n);
    copied &= copy_numbers(&copy.high, memory, high, n);
    if (!copied) {
        free_series(memory, &copy);
        return fail_memory(context, "a series of a plot", 4 * n * sizeof *x);
    }
    plot->series[plot->n_series++] = copy;
    return SN_OK;
}

int sn_plot_add_level(sn_plot *plot, sn_context *context, const char *label, double y)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!plot)
        return fail(context, SN_ERROR_ARGUMENT, "sn_plot_add_level: plot is NULL");
    int status = check_text(context, "sn_plot_add_level", "label", label);
    if (status != SN_OK)
        return status;
    if (!isfinite(y) || (plot->log_y && y <= 0))
        return fail(context, SN_ERROR_ARGUMENT, "sn_plot_add_level: \"%s\" is at %s%s", label, SHOWN(y),
                    isfinite(y) ? " on a logarithmic axis" : "");
    if (plot->n_levels == PLOT_MAX_SERIES)
        return fail(context, SN_ERROR_ARGUMENT, "sn_plot_add_level: \"%s\" is one more than %d", label,
                    PLOT_MAX_SERIES);
    char *copy = copy_text(plot->memory, label);
    if (!copy)
        return fail_memory(context, "a level of a plot", strlen(label));
    plot->levels[plot->n_levels++] = (struct plot_level){copy, y};
    return SN_OK;
}
