/* Evidence as the page holds it: a summary, a histogram and contexts for each node. */
#include <string.h>

#include "report/page.h"
#include "report/page_json.h"

static int is_shown(const struct page *page, const char *name)
{
    for (size_t i = 0; i < page->n_nodes; i++)
        if (strcmp(page->nodes[i].name, name) == 0)
            return 1;
    return 0;
}

static void write_summary(struct page *page, size_t index)
{
    struct buffer *out = &page->out;
    sn_evidence_summary s = {.struct_size = sizeof s};
    if (sn_evidence_summarize(&s, page->inputs.evidence, index) != SN_OK)
        return;
    page_json_set_count(out, "n_tokens", (size_t)s.n_tokens);
    page_json_set_count(out, "n_zero", (size_t)s.n_zero);
    page_json_set_number(out, "minimum", s.minimum);
    page_json_set_number(out, "maximum", s.maximum);
    page_json_set_number(out, "mean", s.mean);
    page_json_set_number(out, "deviation", s.deviation);
}

/* Bins have one width, a power of two: its digits are not to be cut. */
static void write_histogram(struct page *page, size_t index)
{
    struct buffer *out = &page->out;
    const double *edges;
    const uint64_t *counts;
    size_t n_bins = 0;
    if (sn_evidence_histogram(&edges, &counts, &n_bins, page->inputs.evidence, index) != SN_OK ||
        !n_bins)
        return;
    page_json_key(out, "first");
    buffer_number(out, edges[0], 12);
    page_json_key(out, "width");
    buffer_number(out, edges[1] - edges[0], 12);
    page_json_key(out, "counts");
    page_json_open(out, '[');
    for (size_t i = 0; i < n_bins; i++)
        page_json_count(out, (size_t)counts[i]);
    page_json_close(out, ']');
}

static void write_context(struct page *page, const sn_token_context *context)
{
    struct buffer *out = &page->out;
    page_json_open(out, '{');
    page_json_set_count(out, "document", context->document);
    page_json_set_count(out, "position", context->position);
    page_json_set_count(out, "at", context->at);
    page_json_set_number(out, "quantile", context->quantile);
    page_json_key(out, "tokens");
    page_tokens(page, context->tokens, context->n_tokens);
    page_json_key(out, "values");
    page_values(page, context->activations, context->n_tokens, 1);
    page_json_close(out, '}');
}

static void write_contexts(struct page *page, size_t index, int kind, const char *key)
{
    const sn_evidence *evidence = page->inputs.evidence;
    size_t n = sn_evidence_context_count(evidence, index, kind);
    page_json_key(&page->out, key);
    page_json_open(&page->out, '[');
    for (size_t i = 0; i < n; i++) {
        sn_token_context context = {.struct_size = sizeof context};
        if (sn_evidence_context(&context, evidence, index, kind, i) == SN_OK)
            write_context(page, &context);
    }
    page_json_close(&page->out, ']');
}

void page_evidence(struct page *page)
{
    const sn_evidence *evidence = page->inputs.evidence;
    page_json_key(&page->out, "evidence");
    page_json_open(&page->out, '{');
    for (size_t i = 0; i < sn_evidence_count(evidence); i++) {
        if (!is_shown(page, sn_evidence_node(evidence, i)))
            continue;
        page_json_key(&page->out, sn_evidence_node(evidence, i));
        page_json_open(&page->out, '{');
        write_summary(page, i);
        write_histogram(page, i);
        write_contexts(page, i, SN_CONTEXT_TOP, "top");
        write_contexts(page, i, SN_CONTEXT_BOTTOM, "bottom");
        write_contexts(page, i, SN_CONTEXT_QUANTILE, "quantiles");
        page_json_close(&page->out, '}');
    }
    page_json_close(&page->out, '}');
}
