/* Plots: what is refused, what is drawn, and that the file is well formed whatever the texts. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sparsenet.h"

#include "oom.h"
#include "temporary.h"

static const double x[] = {1, 2, 4, 8}, y[] = {10, 20, 40, 80}, low[] = {5, 15, 30, 60},
                    high[] = {12, 30, 41, 99};

static sn_context *context;
static struct temporary temporary;

static void ok(int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

static void set_up(void)
{
    ok(sn_context_create(&context, NULL));
    temporary_create(&temporary);
}

static void tear_down(void)
{
    sn_context_free(context);
    temporary_remove(&temporary);
}

static sn_plot *make_plot(const char *title, int logarithmic)
{
    sn_plot *plot;
    sn_options *options;
    ok(sn_options_create(&options, context));
    ok(sn_options_set(options, context, "log_x", logarithmic));
    ok(sn_options_set(options, context, "log_y", logarithmic));
    ok(sn_plot_create(&plot, context, title, "steps", "loss, nats", options));
    sn_options_free(options);
    return plot;
}

/* The file as text, to be freed. */
static char *written(const sn_plot *plot)
{
    const char *path = temporary_path(&temporary, "plot.svg");
    ok(sn_plot_write_svg(plot, context, path));
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    char *text = calloc(1, 1 << 18);
    ck_assert_uint_gt(fread(text, 1, (1 << 18) - 1, file), 0);
    fclose(file);
    ck_assert_uint_eq(temporary_empty(&temporary), 1);
    return text;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

/* Every tag that opens closes, in order; style has none inside. */
static void assert_well_formed(const char *text)
{
    const char *names[32];
    size_t lengths[32], depth = 0;
    for (const char *at = text; (at = strchr(at, '<')) != NULL; at++) {
        const char *end = strchr(at, '>');
        size_t length = strcspn(at + 1, " />\n");
        ck_assert_ptr_nonnull(end);
        ck_assert(memchr(at + 1, '<', (size_t)(end - at - 1)) == NULL);
        if (at[1] == '/') {
            ck_assert_uint_gt(depth, 0);
            depth--;
            ck_assert(strncmp(at + 2, names[depth], lengths[depth]) == 0);
        } else if (end[-1] != '/') {
            ck_assert_uint_lt(depth, 32);
            names[depth] = at + 1;
            lengths[depth++] = length;
        }
    }
    ck_assert_uint_eq(depth, 0);
}

START_TEST(a_plot_shows_its_series)
{
    sn_plot *plot = make_plot("Loss by step", _i);
    ok(sn_plot_add(plot, context, "one", SN_PLOT_LINE, 4, x, y, low, high));
    ok(sn_plot_add(plot, context, "two", SN_PLOT_POINTS, 4, x, low, low, y));
    ok(sn_plot_add(plot, context, "three", SN_PLOT_DASHED, 4, x, high, NULL, NULL));
    ok(sn_plot_add(plot, context, "", SN_PLOT_LINE, 0, NULL, NULL, NULL, NULL));
    ok(sn_plot_add_level(plot, context, "chance", 50));
    char *text = written(plot), *again = written(plot);
    assert_well_formed(text);
    ck_assert_str_eq(text, again);
    ck_assert_uint_eq(count(text, "<polyline"), 2);
    ck_assert_uint_eq(count(text, "<polygon"), 1);
    ck_assert_uint_eq(count(text, "class=\"bar\""), 4);
    ck_assert_uint_eq(count(text, "<circle"), 4 + 1); /* and one in the legend */
    ck_assert_uint_eq(count(text, "<path"), 4 + 1);
    ck_assert_uint_eq(count(text, ">three<"), 2); /* in the legend, and as the series' title */
    ck_assert_ptr_nonnull(strstr(text, ">chance</text>"));
    ck_assert_ptr_nonnull(strstr(text, _i ? ">10</text>" : ">80</text>"));
    ck_assert_ptr_nonnull(strstr(text, "loss, nats"));
    free(text);
    free(again);
    sn_plot_free(plot);
}
END_TEST

/* Points stand where their values say: halfway up is halfway between. */
START_TEST(places_follow_values)
{
    static const double at[] = {1, 10, 100};
    double cx[3], cy[3];
    sn_plot *plot = make_plot("places", 1);
    ok(sn_plot_add(plot, context, "", SN_PLOT_POINTS, 3, at, at, NULL, NULL));
    char *text = written(plot), *circle = text;
    for (int i = 0; i < 3; i++, circle++) {
        circle = strstr(circle, "<circle");
        ck_assert_ptr_nonnull(circle);
        ck_assert_int_eq(sscanf(circle, "<circle cx=\"%lf\" cy=\"%lf\"", &cx[i], &cy[i]), 2);
    }
    ck_assert_double_eq_tol(cx[1], (cx[0] + cx[2]) / 2, 0.02);
    ck_assert_double_eq_tol(cy[1], (cy[0] + cy[2]) / 2, 0.02);
    ck_assert_double_gt(cx[2], cx[0] + 100);
    ck_assert_double_lt(cy[2], cy[0] - 100); /* upwards */
    free(text);
    sn_plot_free(plot);
}
END_TEST

START_TEST(hostile_texts_stay_text)
{
    const char *hostile = "</svg><script>alert(1)</script><img onerror=\"x\">&'\x01";
    sn_plot *plot = make_plot(hostile, 0);
    ok(sn_plot_add(plot, context, hostile, SN_PLOT_LINE, 4, x, y, NULL, NULL));
    ok(sn_plot_add_level(plot, context, hostile, 3));
    char *text = written(plot);
    assert_well_formed(text);
    ck_assert_ptr_null(strstr(text, "<script"));
    ck_assert_ptr_null(strstr(text, "<img"));
    ck_assert_ptr_null(strchr(text, '\x01'));
    free(text);
    sn_plot_free(plot);
}
END_TEST

START_TEST(plots_of_little_are_drawn)
{
    static const double one[] = {5}, zero[] = {0};
    sn_plot *plot = make_plot("nothing", _i);
    char *text = written(plot);
    assert_well_formed(text);
    free(text);
    ok(sn_plot_add(plot, context, "one point", SN_PLOT_LINE, 1, one, one, NULL, NULL));
    if (!_i)
        ok(sn_plot_add(plot, context, "zero", SN_PLOT_LINE, 1, zero, zero, NULL, NULL));
    text = written(plot);
    assert_well_formed(text);
    ck_assert_ptr_null(strstr(text, "nan"));
    ck_assert_ptr_null(strstr(text, "inf"));
    free(text);
    sn_plot_free(plot);
}
END_TEST

static void refuse(int status, const char *what)
{
    ck_assert_int_eq(status, SN_ERROR_ARGUMENT);
    ck_assert_msg(strstr(sn_context_message(context), what), "\"%s\" says nothing of %s",
                  sn_context_message(context), what);
}

START_TEST(bad_values_are_refused)
{
    const double bad[] = {1, NAN, 4, 8}, negative[] = {1, 2, -4, 8};
    sn_plot *plot = make_plot("bad", 1), *none;
    refuse(sn_plot_create(&none, context, NULL, "", "", NULL), "title");
    refuse(sn_plot_create(&none, context, "\xff", "", "", NULL), "UTF-8");
    refuse(sn_plot_add(plot, context, "s", SN_PLOT_LINE, 4, bad, y, NULL, NULL), "point 1: x is nan");
    refuse(sn_plot_add(plot, context, "s", SN_PLOT_LINE, 4, x, negative, NULL, NULL),
           "point 2: y is -4");
    refuse(sn_plot_add(plot, context, "s", SN_PLOT_LINE, 4, x, y, y, low),
           "point 0: y 10 is not within");
    refuse(sn_plot_add(plot, context, "s", SN_PLOT_LINE, 4, x, y, low, NULL), "together");
    refuse(sn_plot_add(plot, context, "s", 7, 4, x, y, NULL, NULL), "style is 7");
    refuse(sn_plot_add(plot, context, NULL, SN_PLOT_LINE, 4, x, y, NULL, NULL), "name");
    refuse(sn_plot_add_level(plot, context, "level", 0), "logarithmic");
    for (int i = 0; i < 12; i++)
        ok(sn_plot_add(plot, context, "s", SN_PLOT_LINE, 4, x, y, NULL, NULL));
    refuse(sn_plot_add(plot, context, "s", SN_PLOT_LINE, 4, x, y, NULL, NULL), "one more than 12");
    refuse(sn_plot_write_svg(plot, context, NULL), "path");
    ck_assert_int_eq(sn_plot_write_svg(plot, context, "/nowhere/at/all.svg"), SN_ERROR_IO);
    sn_plot_free(plot);
    sn_plot_free(NULL);
}
END_TEST

static int attempt_plot(sn_context *with, void *payload)
{
    const char *path = temporary_path(&temporary, "plot.svg");
    sn_plot *plot = NULL;
    (void)payload;
    int status = sn_plot_create(&plot, with, "t", "x", "y", NULL);
    if (status == SN_OK)
        status = sn_plot_add(plot, with, "s", SN_PLOT_LINE, 4, x, y, low, high);
    if (status == SN_OK)
        status = sn_plot_add_level(plot, with, "l", 3);
    if (status == SN_OK)
        status = sn_plot_write_svg(plot, with, path);
    sn_plot_free(plot);
    ck_assert_uint_eq(temporary_empty(&temporary), status == SN_OK ? 1 : 0);
    return status;
}

START_TEST(failing_allocations_leave_nothing)
{
    ck_assert_uint_gt(oom_loop(attempt_plot, NULL, 1, 0), 8);
}
END_TEST

Suite *plot_suite(void);
Suite *plot_suite(void)
{
    Suite *suite = suite_create("plot");
    TCase *tests = tcase_create("plot");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, a_plot_shows_its_series, 0, 2);
    tcase_add_test(tests, places_follow_values);
    tcase_add_test(tests, hostile_texts_stay_text);
    tcase_add_loop_test(tests, plots_of_little_are_drawn, 0, 2);
    tcase_add_test(tests, bad_values_are_refused);
    tcase_add_test(tests, failing_allocations_leave_nothing);
    suite_add_tcase(suite, tests);
    return suite;
}
