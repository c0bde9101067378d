/* The page of a circuit: its data against the library's own answers, and that nothing of the data is markup. */
#include <check.h>
#include <jansson.h>
#include <math.h>

#include "oom.h"
#include "page_cases.h"
#include "temporary.h"

static sn_context *context;
static struct page_case given;
static struct temporary folder;

static void setup(void)
{
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    page_case_make(&given, context, 2, 16, 3);
    temporary_create(&folder);
}

static void teardown(void)
{
    temporary_remove(&folder);
    page_case_free(&given);
    sn_context_free(context);
}

static char *written(const sn_page *inputs)
{
    const char *path = temporary_path(&folder, "page.html");
    int status = sn_report_write_html(context, given.circuit, inputs, path);
    ck_assert_msg(status == SN_OK, "%s", sn_context_message(context));
    FILE *file = fopen(path, "rb");
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(file);
    char *text = calloc(1, size + 1);
    rewind(file);
    ck_assert_uint_eq(fread(text, 1, size, file), size);
    fclose(file);
    ck_assert_uint_eq(strlen(text), size); /* no NUL */
    ck_assert_uint_eq(temporary_empty(&folder), 1);
    return text;
}

/* What stands between two marks, the first after the last `from`; freed by the caller. */
static char *between(const char *text, const char *from, const char *to)
{
    const char *start = strstr(text, from);
    ck_assert_ptr_nonnull(start);
    start += strlen(from);
    const char *end = strstr(start, to);
    ck_assert_ptr_nonnull(end);
    return strndup(start, (size_t)(end - start));
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

#define DATA "<script type=\"application/json\" id=\"data\">"

static json_t *data_of(const char *page)
{
    char *text = between(page, DATA, "</script>");
    json_error_t error;
    json_t *data = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(data != NULL, "line %d: %s", error.line, error.text);
    ck_assert_uint_eq(strcspn(text, "<>&"), strlen(text));
    free(text);
    return data;
}

static const json_t *member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    ck_assert_msg(value != NULL, "no %s", key);
    return value;
}

static double number_at(const json_t *array, size_t index)
{
    return json_number_value(json_array_get(array, index));
}

START_TEST(nothing_of_the_data_is_markup)
{
    sn_page inputs = page_inputs(&given, 1);
    char *page = written(&inputs), *title = between(page, "<title>", "</title>");
    ck_assert_uint_eq(count(page, "<script"), 2);
    ck_assert_uint_eq(count(page, "</script"), 2);
    ck_assert_uint_eq(count(page, "<img"), 0);
    ck_assert_uint_eq(count(page, "<!--"), 0);
    ck_assert_uint_eq(count(page, "http"),
                      count(page, "http-equiv") + count(page, "http://www.w3.org/2000/svg"));
    ck_assert_uint_eq(strcspn(title, "<>"), strlen(title));
    ck_assert_ptr_nonnull(strstr(title, "&lt;/script&gt;"));
    free(title);
    free(page);
}
END_TEST

START_TEST(names_and_tokens_come_through_whole)
{
    sn_page inputs = page_inputs(&given, 1);
    char *page = written(&inputs), key[32];
    json_t *data = data_of(page);
    const json_t *circuits = member(data, "circuits"), *first = json_array_get(circuits, 0);
    const json_t *node = json_array_get(member(first, "nodes"), 0), *words = member(data, "vocabulary");
    ck_assert_uint_eq(json_array_size(circuits), 2);
    ck_assert_str_eq(json_string_value(member(first, "task")), HOSTILE);
    ck_assert_str_eq(json_string_value(member(node, "label")), HOSTILE);
    ck_assert_str_eq(json_string_value(member(node, "note")), HOSTILE_NOTE);
    ck_assert_str_eq(json_string_value(json_array_get(member(data, "tasks"), 0)), HOSTILE);
    snprintf(key, sizeof key, "%d", (int)sn_tokenizer_find(given.tokenizer, "\xff", 1));
    ck_assert_str_eq(json_string_value(member(words, key)), "\\xff");
    for (size_t i = 0; i < sn_tokenizer_size(given.tokenizer); i++) {
        size_t length;
        const char *bytes = sn_tokenizer_token(&length, given.tokenizer, (int32_t)i);
        snprintf(key, sizeof key, "%zu", i);
        const json_t *text = json_object_get(words, key);
        if (text && !memchr(bytes, 0xff, length) && !memchr(bytes, 0xfe, length) && i > 255)
            ck_assert_msg(json_string_length(text) >= length &&
                              memcmp(json_string_value(text), bytes, 1) == 0,
                          "token %zu", i);
    }
    json_decref(data);
    free(page);
}
END_TEST

/* Values: a unit, then multiples. */
static double value_at(const json_t *values, size_t index)
{
    return number_at(values, 0) * number_at(values, index + 1);
}

/* Three digits are kept. */
static void same(double shown, double value)
{
    ck_assert_msg(fabs(shown - value) <= 0.006 * fabs(value) + 1e-30, "%g is shown as %g", value, shown);
}

static void check_values(const json_t *prompt, const int32_t *tokens, size_t n)
{
    sn_session *session;
    const size_t offsets[] = {0, n};
    page_ok(&given, sn_session_create(&session, context, given.model, NULL));
    page_ok(&given, sn_session_record(session, "1.mlp.post_act"));
    page_ok(&given, sn_session_forward(session, tokens, offsets, 1));
    size_t width = sn_model_site_width(given.model, "1.mlp.post_act"), needed;
    float *values = malloc(n * width * sizeof *values);
    page_ok(&given, sn_session_activations(values, n * width, &needed, session, "1.mlp.post_act"));
    const json_t *shown = member(member(prompt, "values"), "1.mlp.post_act.3");
    ck_assert_uint_eq(json_array_size(shown), n + 1);
    for (size_t t = 0; t < n; t++)
        ck_assert(fabs(value_at(shown, t) - (double)values[t * width + 3]) <=
                  0.51 * number_at(shown, 0));
    free(values);
    sn_session_free(session);
}

/* What the page's script makes a channel's share of: two rows of values, or attention and one. */
static void check_attention(const json_t *prompt, const char *node, const int32_t *tokens, size_t n)
{
    float *probability = malloc(n * n * sizeof(float)), *share = malloc(n * n * sizeof(float));
    size_t needed;
    page_ok(&given, sn_node_attention(probability, share, n * n, &needed, context, given.model, NULL,
                                      NULL, node, tokens, n));
    const json_t *own = member(member(prompt, "values"), node);
    const json_t *partner = json_object_get(member(prompt, "partners"), node);
    const json_t *triangle = member(member(prompt, "attention"), node[0] == '0' ? "0.0" : "1.1");
    ck_assert_uint_eq(json_array_size(triangle), n * (n + 1) / 2);
    double worst = 0, largest = 0;
    for (size_t row = 0; row < n; row++)
        for (size_t column = 0; column <= row; column++) {
            double p = number_at(triangle, row * (row + 1) / 2 + column) / 1000;
            ck_assert(fabs(p - (double)probability[row * n + column]) < 0.00051);
            double made = strstr(node, ".q.") ? value_at(own, row) * value_at(partner, column) / sqrt(8)
                          : strstr(node, ".k.")
                              ? value_at(partner, row) * value_at(own, column) / sqrt(8)
                              : p * value_at(own, column);
            worst = fmax(worst, fabs(made - (double)share[row * n + column]));
            largest = fmax(largest, fabs((double)share[row * n + column]));
        }
    ck_assert_msg(largest > 0 && worst < 0.02 * largest, "%s: %g of %g", node, worst, largest);
    free(probability);
    free(share);
}

START_TEST(prompts_show_what_the_model_does)
{
    sn_page inputs = page_inputs(&given, 0);
    char *page = written(&inputs);
    json_t *data = data_of(page);
    const json_t *prompts = member(data, "prompts"), *b = json_array_get(prompts, 1);
    const int32_t *tokens;
    size_t n;
    int32_t target;
    ck_assert_uint_eq(json_array_size(prompts), 8); /* four pairs of six */
    page_ok(&given, sn_task_pair(NULL, NULL, &tokens, &n, NULL, &target, given.task, 0));
    ck_assert_uint_eq(json_array_size(member(b, "tokens")), n);
    for (size_t t = 0; t < n; t++)
        ck_assert_int_eq(json_integer_value(json_array_get(member(b, "tokens"), t)), tokens[t]);
    ck_assert_int_eq(json_integer_value(json_array_get(member(b, "targets"), 0)), target);
    check_values(b, tokens, n);
    check_attention(b, "0.attn.q.head0.ch3", tokens, n);
    check_attention(b, "0.attn.k.head0.ch6", tokens, n);
    check_attention(b, "1.attn.v.head1.ch1", tokens, n);
    json_decref(data);
    free(page);
}
END_TEST

START_TEST(evidence_and_tokens_are_the_librarys)
{
    sn_page inputs = page_inputs(&given, 0);
    char *page = written(&inputs);
    json_t *data = data_of(page);
    const char *name = sn_evidence_node(given.evidence, 2);
    const json_t *node = member(member(data, "evidence"), name);
    sn_evidence_summary summary = {.struct_size = sizeof summary};
    sn_token_context shown = {.struct_size = sizeof shown};
    page_ok(&given, sn_evidence_summarize(&summary, given.evidence, 2));
    page_ok(&given, sn_evidence_context(&shown, given.evidence, 2, SN_CONTEXT_BOTTOM, 0));
    same(json_number_value(member(node, "maximum")), summary.maximum);
    ck_assert_uint_eq((uint64_t)json_integer_value(member(node, "n_tokens")), summary.n_tokens);
    const json_t *bottom = json_array_get(member(node, "bottom"), 0);
    ck_assert_uint_eq((size_t)number_at(bottom, 2), shown.at);
    ck_assert_uint_eq(json_array_size(json_array_get(bottom, 4)), shown.n_tokens);
    same(value_at(json_array_get(bottom, 5), shown.at), shown.value);
    int32_t tokens[PAGE_VOCABULARY];
    float weights[PAGE_VOCABULARY];
    size_t n;
    page_ok(&given, sn_node_tokens(tokens, weights, PAGE_VOCABULARY, &n, context, given.model,
                                   "0.attn.act_in.3", SN_TOKENS_EMBEDDING));
    const json_t *list = member(member(member(data, "channels"), "3"), "embedding");
    ck_assert_uint_eq((size_t)json_integer_value(member(list, "n")), n);
    for (size_t i = 0; i < 24; i++) {
        ck_assert_int_eq((int)number_at(member(list, "list"), 2 * i), tokens[i]);
        same(number_at(member(list, "list"), 2 * i + 1), (double)weights[i]);
    }
    ck_assert_ptr_nonnull(json_object_get(json_array_get(member(data, "circuits"), 0), "series"));
    json_decref(data);
    free(page);
}
END_TEST

/* By another hand: sha256sum, and base64 of what it says. */
static void check_hash(const char *page, const char *text)
{
    char command[512], hex[65] = "";
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char expected[64] = "sha256-";
    temporary_write(&folder, "text", text, strlen(text));
    snprintf(command, sizeof command, "sha256sum < %s", folder.path);
    FILE *pipe = popen(command, "r");
    ck_assert_int_eq(fscanf(pipe, "%64s", hex), 1);
    pclose(pipe);
    for (size_t i = 0, at = 7; i < 33; i += 3) {
        unsigned long group = 0;
        for (size_t k = 0; k < 3; k++) {
            char byte[3] = {i + k < 32 ? hex[2 * (i + k)] : '0', i + k < 32 ? hex[2 * (i + k) + 1] : '0',
                            0};
            group = group << 8 | strtoul(byte, NULL, 16);
        }
        for (size_t k = 0; k < 4; k++)
            expected[at++] = i + k > 32 ? '=' : letters[group >> (18 - 6 * k) & 63];
    }
    ck_assert_msg(strstr(page, expected) != NULL, "%s", expected);
}

START_TEST(the_policy_names_style_and_script)
{
    char *page = written(NULL);
    char *style = between(page, "<style>", "</style>"), *script = between(page, "<script>", "</script>");
    char *policy = between(page, "Content-Security-Policy\" content=\"", "\"");
    ck_assert_ptr_eq(strstr(policy, "default-src 'none'; "), policy);
    ck_assert_uint_eq(count(policy, "unsafe"), 0);
    check_hash(policy, style);
    check_hash(policy, script);
    free(policy);
    free(style);
    free(script);
    free(page);
}
END_TEST

START_TEST(a_page_needs_no_more_than_a_circuit)
{
    sn_circuit *kept = given.circuit;
    char *page = written(NULL);
    json_t *data = data_of(page);
    ck_assert_uint_eq(json_array_size(member(data, "prompts")), 0);
    ck_assert_uint_eq(json_object_size(member(data, "evidence")), 0);
    ck_assert_uint_eq(json_object_size(member(data, "vocabulary")), 0);
    ck_assert_uint_gt(json_object_size(member(data, "channels")), 0);
    json_decref(data);
    free(page);
    page_ok(&given, sn_circuit_create(&given.circuit, context, given.model, ""));
    page = written(NULL);
    data = data_of(page);
    json_decref(data);
    free(page);
    sn_circuit_free(given.circuit);
    given.circuit = kept;
    /* a caller of an older library knows fewer fields */
    sn_page inputs = page_inputs(&given, 1);
    inputs.struct_size = offsetof(sn_page, task);
    page = written(&inputs);
    data = data_of(page);
    ck_assert_uint_eq(json_array_size(member(data, "prompts")), 0);
    ck_assert_uint_gt(json_object_size(member(data, "evidence")), 0);
    json_decref(data);
    free(page);
}
END_TEST

START_TEST(what_cannot_be_written_is_refused)
{
    sn_page inputs = page_inputs(&given, 1);
    const char *path = temporary_path(&folder, "no/such.html");
    sn_model *stranger = page_model(&given, 2, 16);
    sn_circuit *foreign;
    page_ok(&given, sn_circuit_create(&foreign, context, stranger, "foreign"));
    ck_assert_int_eq(sn_report_write_html(context, given.circuit, &inputs, path), SN_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "no/such"));
    ck_assert_int_eq(sn_report_write_html(NULL, given.circuit, NULL, path), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_report_write_html(context, NULL, NULL, path), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_report_write_html(context, given.circuit, NULL, NULL), SN_ERROR_ARGUMENT);
    path = temporary_path(&folder, "page.html");
    inputs.other = foreign;
    ck_assert_int_eq(sn_report_write_html(context, given.circuit, &inputs, path), SN_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "\"foreign\" are of different models"));
    inputs.struct_size = 0;
    ck_assert_int_eq(sn_report_write_html(context, given.circuit, &inputs, path), SN_ERROR_ARGUMENT);
    ck_assert_uint_eq(temporary_empty(&folder), 0);
    sn_circuit_free(foreign);
    sn_model_free(stranger);
}
END_TEST

static int stop_at_second(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)value;
    size_t *seen = payload;
    *seen = total;
    return strcmp(stage, "page") == 0 && done == 2;
}

START_TEST(writing_can_be_cancelled)
{
    sn_page inputs = page_inputs(&given, 1);
    size_t total = 0;
    sn_context_set_progress(context, stop_at_second, &total);
    ck_assert_int_eq(
        sn_report_write_html(context, given.circuit, &inputs, temporary_path(&folder, "page.html")),
        SN_ERROR_CANCELLED);
    ck_assert_uint_eq(total, 14); /* four pairs and three */
    ck_assert_uint_eq(temporary_empty(&folder), 0);
    sn_context_set_progress(context, NULL, NULL);
}
END_TEST

START_TEST(two_hundred_nodes_with_evidence_stay_below_two_megabytes)
{
    page_case_free(&given);
    page_case_make(&given, context, 2, 64, 6);
    sn_page inputs = page_inputs(&given, 0);
    size_t n = sn_circuit_node_count(given.circuit);
    ck_assert_msg(n >= 200 && n < 250, "%zu nodes", n);
    char *page = written(&inputs);
    ck_assert_msg(strlen(page) < 2000000, "%zu bytes", strlen(page));
    free(page);
}
END_TEST

static int attempt_page(sn_context *tight, void *payload)
{
    (void)payload;
    sn_page inputs = page_inputs(&given, 1);
    char path[256];
    inputs.n_pairs = 1;
    snprintf(path, sizeof path, "%s", temporary_path(&folder, "tight.html"));
    int status = sn_report_write_html(tight, given.circuit, &inputs, path);
    ck_assert_uint_le(temporary_empty(&folder), 1); /* the whole file or none, no temporary */
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    ck_assert_uint_gt(oom_loop(attempt_page, NULL, 1, 8), 40);
}
END_TEST

Suite *page_suite(void);
Suite *page_suite(void)
{
    Suite *suite = suite_create("page");
    TCase *cases = tcase_create("page");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, nothing_of_the_data_is_markup);
    tcase_add_test(cases, names_and_tokens_come_through_whole);
    tcase_add_test(cases, prompts_show_what_the_model_does);
    tcase_add_test(cases, evidence_and_tokens_are_the_librarys);
    tcase_add_test(cases, the_policy_names_style_and_script);
    tcase_add_test(cases, a_page_needs_no_more_than_a_circuit);
    tcase_add_test(cases, what_cannot_be_written_is_refused);
    tcase_add_test(cases, writing_can_be_cancelled);
    tcase_add_test(cases, two_hundred_nodes_with_evidence_stay_below_two_megabytes);
    tcase_add_test(cases, every_refused_allocation_is_survived);
    suite_add_tcase(suite, cases);
    return suite;
}
