/* Reports to a callback: the bytes of the files, whole; cancelling, refusals, lack of memory. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

static const char config_text[] =
    "{\"block_size\": 16, \"vocab_size\": 23, \"n_layer\": 2, \"n_head\": 3, \"d_head\": 4, "
    "\"d_model\": 12, \"d_mlp\": 20, \"rms_norm\": true, \"tied_unembed\": false}";
static const char *const NODES[] = {"0.attn.act_in.3", "0.attn.v.head2.ch1", "0.attn.resid_delta.5",
                                    "0.mlp.act_in.5", "0.mlp.post_act.7"};
#define N_FORMS 5

static sn_model *model;
static sn_circuit *circuit;
static sn_task *task;

static void ok(int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(context));
}

static void setup(void)
{
    const int32_t a[] = {1, 2, 3}, b[] = {1, 4, 3};
    fixture_setup();
    ok(sn_model_create(&model, context, config_text, strlen(config_text), 3));
    ok(sn_circuit_create(&circuit, context, model, "task"));
    for (size_t i = 0; i < sizeof NODES / sizeof *NODES; i++)
        ok(sn_circuit_add_node(circuit, context, NODES[i]));
    ok(sn_task_create(&task, context, "task"));
    ok(sn_task_add_pair(task, context, a, 3, b, 3, 5, 6));
}

static void teardown(void)
{
    sn_task_free(task);
    sn_circuit_free(circuit);
    sn_model_free(model);
    fixture_teardown();
}

struct text {
    char *bytes;
    size_t size;
    size_t n_pieces, stop_at; /* the piece at which to cancel, from 1; 0: none */
};

static int take(const char *bytes, size_t length, void *payload)
{
    struct text *text = payload;
    if (++text->n_pieces == text->stop_at)
        return 1;
    text->bytes = realloc(text->bytes, text->size + length + 1);
    memcpy(text->bytes + text->size, bytes, length);
    text->size += length;
    return 0;
}

static sn_page page_inputs(void)
{
    const sn_page inputs = {.struct_size = sizeof inputs, .task = task};
    return inputs;
}

static int write_form(int form, const char *path)
{
    const sn_page inputs = page_inputs();
    switch (form) {
    case SN_REPORT_JSON: return sn_report_write_json(context, circuit, path);
    case SN_REPORT_DOT: return sn_report_write_dot(context, circuit, path);
    case SN_REPORT_GRAPHML: return sn_report_write_graphml(context, circuit, path);
    case SN_REPORT_SVG: return sn_report_write_svg(context, circuit, path);
    default: return sn_report_write_html(context, circuit, &inputs, path);
    }
}

START_TEST(the_same_bytes_as_the_file)
{
    const sn_page inputs = page_inputs();
    struct text text = {0};
    ok(sn_report_send(context, circuit, _i, &inputs, take, &text));
    const char *path = temporary_path(&temporary, "report");
    ok(write_form(_i, path));
    FILE *file = fopen(path, "rb");
    char *bytes = malloc(text.size + 2);
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(bytes, 1, text.size + 2, file), text.size);
    fclose(file);
    ck_assert_uint_gt(text.size, 100);
    ck_assert_int_eq(memcmp(bytes, text.bytes, text.size), 0);
    free(bytes);
    free(text.bytes);
}
END_TEST

START_TEST(a_callback_cancels)
{
    struct text text = {.stop_at = 1};
    ck_assert_int_eq(sn_report_send(context, circuit, _i, NULL, take, &text), SN_ERROR_CANCELLED);
    assert_message("cancelled by its callback");
    ck_assert_uint_eq(text.n_pieces, 1);
    ck_assert_uint_eq(text.size, 0);
}
END_TEST

START_TEST(wrong_arguments)
{
    struct text text = {0};
    sn_page inputs = page_inputs();
    ck_assert_int_eq(sn_report_send(NULL, circuit, SN_REPORT_SVG, NULL, take, &text), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_report_send(context, NULL, SN_REPORT_SVG, NULL, take, &text), SN_ERROR_ARGUMENT);
    assert_message("circuit is NULL");
    ck_assert_int_eq(sn_report_send(context, circuit, SN_REPORT_SVG, NULL, NULL, NULL),
                     SN_ERROR_ARGUMENT);
    assert_message("callback is NULL");
    ck_assert_int_eq(sn_report_send(context, circuit, N_FORMS, NULL, take, &text), SN_ERROR_ARGUMENT);
    assert_message("form is 5");
    ck_assert_int_eq(sn_report_send(context, circuit, -1, NULL, take, &text), SN_ERROR_ARGUMENT);
    inputs.struct_size = 1;
    ck_assert_int_eq(sn_report_send(context, circuit, SN_REPORT_HTML, &inputs, take, &text),
                     SN_ERROR_ARGUMENT);
    assert_message("struct_size is 1");
    ck_assert_uint_eq(text.n_pieces, 0);
}
END_TEST

static int attempt(sn_context *tight, void *payload)
{
    const sn_page inputs = page_inputs();
    struct text text = {0};
    int status = sn_report_send(tight, circuit, *(const int *)payload, &inputs, take, &text);
    free(text.bytes);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    int form = _i;
    ck_assert_uint_gt(oom_loop(attempt, &form, 1, 8), 0);
}
END_TEST

Suite *report_send_suite(void)
{
    Suite *suite = suite_create("report_send");
    TCase *cases = tcase_create("report_send");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_loop_test(cases, the_same_bytes_as_the_file, 0, N_FORMS);
    tcase_add_loop_test(cases, a_callback_cancels, 0, N_FORMS);
    tcase_add_test(cases, wrong_arguments);
    tcase_add_loop_test(cases, every_refused_allocation_is_survived, 0, N_FORMS);
    suite_add_tcase(suite, cases);
    return suite;
}
