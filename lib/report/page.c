/* sn_report_write_html: a page that shows a circuit in any browser, offline. Style, markup and script are those of
 * lib/report/viewer; what is of this circuit stands beside them as JSON, which nothing executes. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/circuit_json.h"
#include "report/page.h"
#include "report/page_json.h"
#include "report/viewer_parts.h"
#include "report/write_text.h"
#include "report/xml_text.h"

#define PAGE_VERSION 1
#define MOST_UNITS 999

void page_tokens(struct page *page, const int32_t *tokens, size_t n)
{
    page_json_open(&page->out, '[');
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] >= 0 && (size_t)tokens[i] < page->n_vocabulary)
            page->tokens[tokens[i]] = 1;
        page_json_next(&page->out);
        buffer_format(&page->out, "%ld", (long)tokens[i]);
    }
    page_json_close(&page->out, ']');
}

void page_values(struct page *page, const float *values, size_t n, size_t stride)
{
    struct buffer *out = &page->out;
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)values[i * stride]));
    page_json_open(out, '[');
    page_json_next(out);
    buffer_number(out, largest / MOST_UNITS, 6);
    for (size_t i = 0; i < n; i++) {
        page_json_next(out);
        buffer_format(out, "%ld",
                      largest > 0 ? lround(MOST_UNITS * ((double)values[i * stride] / largest)) : 0);
    }
    page_json_close(out, ']');
}

/* ------------------------------------------------------------------- the data */

static int append_piece(const char *bytes, size_t size, void *payload)
{
    struct page *page = payload;
    page_json_raw(&page->out, bytes, size);
    return page->out.failed ? fail_memory(page->context, "a page", page->out.capacity) : SN_OK;
}

static int write_circuits(struct page *page)
{
    const sn_circuit *const circuits[] = {page->circuit, page->inputs.other};
    int status = SN_OK;
    page_json_key(&page->out, "circuits");
    page_json_open(&page->out, '[');
    for (size_t i = 0; status == SN_OK && i < 2; i++) {
        if (!circuits[i])
            continue;
        page_json_next(&page->out);
        status = circuit_json_write(page->context, circuits[i], 0, append_piece, page);
    }
    page_json_close(&page->out, ']');
    page_json_key(&page->out, "touching");
    page_json_open(&page->out, '[');
    for (size_t i = 0; i < 2; i++)
        if (circuits[i])
            page_json_count(&page->out, sn_circuit_touching_edge_count(circuits[i]));
    page_json_close(&page->out, ']');
    return status;
}

static void write_task_names(struct page *page)
{
    const sn_task *const tasks[] = {page->inputs.task, page->inputs.other_task};
    page_json_key(&page->out, "tasks");
    page_json_open(&page->out, '[');
    for (size_t i = 0; i < 2; i++) {
        const char *name = tasks[i] ? sn_task_name(tasks[i]) : "";
        page_json_text(&page->out, name, strlen(name));
    }
    page_json_close(&page->out, ']');
}

/* Tokens that the page shows, by their numbers. */
static void write_vocabulary(struct page *page)
{
    struct buffer *out = &page->out;
    page_json_key(out, "vocabulary");
    page_json_open(out, '{');
    for (size_t i = 0; page->inputs.tokenizer && i < page->n_vocabulary; i++) {
        size_t length = 0;
        const char *bytes =
            page->tokens[i] ? sn_tokenizer_token(&length, page->inputs.tokenizer, (int32_t)i) : NULL;
        if (!bytes)
            continue;
        page_json_next(out);
        buffer_format(out, "\"%zu\":", i);
        page_json_text(out, bytes, length);
    }
    page_json_close(out, '}');
}

static int write_data(struct page *page)
{
    struct buffer *out = &page->out;
    const char *library = sn_version_string();
    buffer_text(out, "{");
    page_json_set_count(out, "version", PAGE_VERSION);
    page_json_key(out, "library");
    page_json_text(out, library, strlen(library));
    int status = write_circuits(page);
    write_task_names(page);
    page_evidence(page);
    if (status == SN_OK)
        status = page_prompts(page);
    if (status == SN_OK)
        status = page_channels(page);
    write_vocabulary(page);
    page_json_close(out, '}');
    return status;
}

/* ------------------------------------------------------------------- the page */

static void write_head(struct page *page)
{
    struct buffer *out = &page->out;
    buffer_text(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ");
    buffer_format(out, "style-src '%s'; script-src '%s'; ", viewer_style_hash, viewer_script_hash);
    buffer_text(out, "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                     "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    xml_text(out, sn_circuit_task(page->circuit));
    buffer_text(out, " \xc2\xb7 circuit</title>\n<style>");
    buffer_append(out, viewer_style, viewer_style_size);
    buffer_text(out, "</style>\n</head>\n<body>\n");
    buffer_append(out, viewer_markup, viewer_markup_size);
    buffer_text(out, "<script type=\"application/json\" id=\"data\">");
}

static void write_foot(struct page *page)
{
    struct buffer *out = &page->out;
    buffer_text(out, "</script>\n<script>");
    buffer_append(out, viewer_script, viewer_script_size);
    buffer_text(out, "</script>\n</body>\n</html>\n");
}

static int has_node(const struct page *page, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(page->nodes[i].name, name) == 0)
            return 1;
    return 0;
}

static int read_nodes(struct page *page)
{
    const sn_circuit *circuit = page->circuit, *other = page->inputs.other;
    size_t n_own = sn_circuit_node_count(circuit), n_other = sn_circuit_node_count(other);
    page->node_capacity = n_own + n_other;
    page->nodes = memory_allocate_array(page->context->memory, page->node_capacity, sizeof *page->nodes);
    if (!page->nodes)
        return fail_memory(page->context, "nodes of a page", page->node_capacity * sizeof *page->nodes);
    for (size_t i = 0; i < n_own + n_other; i++) {
        const char *name =
            i < n_own ? sn_circuit_node_name(circuit, i) : sn_circuit_node_name(other, i - n_own);
        if (i >= n_own && has_node(page, n_own, name))
            continue;
        page->nodes[page->n_nodes].name = name;
        node_parts_read(&page->nodes[page->n_nodes++].parts, name, page->d_head);
    }
    return SN_OK;
}

static int page_open(struct page *page)
{
    int64_t vocabulary = sn_model_config_number(page->model, "vocab_size");
    int64_t d_head = sn_model_config_number(page->model, "d_head");
    page->d_head = d_head > 0 ? (size_t)d_head : 1;
    page->n_vocabulary = vocabulary > 0 ? (size_t)vocabulary : 0;
    page->tokens = memory_allocate_zeroed(page->context->memory, page->n_vocabulary);
    if (!page->tokens)
        return fail_memory(page->context, "a page's vocabulary", page->n_vocabulary);
    return read_nodes(page);
}

static void page_close(struct page *page)
{
    struct memory *memory = page->context->memory;
    memory_free(memory, page->tokens, page->n_vocabulary);
    memory_free(memory, page->nodes, page->node_capacity * sizeof *page->nodes);
    buffer_free(&page->out);
}

/* All that this library knows of what the caller gave; zeros where it gave less. */
static int take_inputs(struct page *page, const sn_page *inputs)
{
    if (!inputs)
        return SN_OK;
    if (inputs->struct_size < sizeof inputs->struct_size)
        return fail(page->context, SN_ERROR_ARGUMENT, "sn_report_write_html: struct_size is %zu",
                    inputs->struct_size);
    memcpy(&page->inputs, inputs,
           inputs->struct_size < sizeof *inputs ? inputs->struct_size : sizeof *inputs);
    if (page->inputs.other && sn_circuit_model(page->inputs.other) != page->model)
        return fail(page->context, SN_ERROR_ARGUMENT,
                    "sn_report_write_html: circuits \"%.100s\" and \"%.100s\" are of different models",
                    sn_circuit_task(page->circuit), sn_circuit_task(page->inputs.other));
    return SN_OK;
}

int report_html(sn_context *context, const sn_circuit *circuit, const sn_page *inputs,
                const struct report_target *target)
{
    struct page page = {.context = context, .circuit = circuit, .model = sn_circuit_model(circuit)};
    int status = take_inputs(&page, inputs);
    if (status != SN_OK)
        return status;
    buffer_init(&page.out, context->memory);
    status = page_open(&page);
    if (status == SN_OK) {
        write_head(&page);
        status = write_data(&page);
        write_foot(&page);
    }
    if (status == SN_OK)
        status = report_write_text(context, &page.out, target, "a page");
    page_close(&page);
    return status;
}

int sn_report_write_html(sn_context *context, const sn_circuit *circuit, const sn_page *inputs,
                         const char *path)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!circuit || !path)
        return fail(context, SN_ERROR_ARGUMENT, "sn_report_write_html: %s is NULL",
                    circuit ? "path" : "circuit");
    return report_html(context, circuit, inputs, &(struct report_target){.path = path});
}
