/* Evidence as the page holds it: a summary, a histogram and contexts for each node. */
#include <string.h>

#include "report/page.h"
#include "report/page_json.h"

#define MOST_TOKENS 90000 /* of all contexts: beyond it nodes show fewer, so that pages stay small */

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
    page_json_open(out, '[');
    page_json_count(out, context->document);
    page_json_count(out, context->position);
    page_json_count(out, context->at);
    page_json_number(out, context->quantile);
    page_tokens(page, context->tokens, context->n_tokens);
    page_values(page, context->activations, context->n_tokens, 1);
    page_json_close(out, ']');
}

/* As many contexts as `room` tokens allow, one at least; of quantiles some of each. */
static void write_contexts(struct page *page, size_t index, int kind, const char *key, size_t room)
{
    const sn_evidence *evidence = page->inputs.evidence;
    size_t n = sn_evidence_context_count(evidence, index, kind), shown = n;
    sn_token_context context = {.struct_size = sizeof context};
    if (sn_evidence_context(&context, evidence, index, kind, 0) == SN_OK && context.n_tokens)
        shown = room / context.n_tokens ? room / context.n_tokens : 1;
    shown = shown < n ? shown : n;
    page_json_key(&page->out, key);
    page_json_open(&page->out, '[');
    for (size_t i = 0; i < shown; i++) {
        size_t which = kind == SN_CONTEXT_QUANTILE ? i * n / shown : i;
        if (sn_evidence_context(&context, evidence, index, kind, which) == SN_OK)
            write_context(page, &context);
    }
    page_json_close(&page->out, ']');
}

void page_evidence(struct page *page)
{
    const sn_evidence *evidence = page->inputs.evidence;
    size_t room = MOST_TOKENS / (page->n_nodes + 1);
    page_json_key(&page->out, "evidence");
    page_json_open(&page->out, '{');
    for (size_t i = 0; i < sn_evidence_count(evidence); i++) {
        if (!is_shown(page, sn_evidence_node(evidence, i)))
            continue;
        page_json_key(&page->out, sn_evidence_node(evidence, i));
        page_json_open(&page->out, '{');
        write_summary(page, i);
        write_histogram(page, i);
        write_contexts(page, i, SN_CONTEXT_TOP, "top", 4 * room / 10);
        write_contexts(page, i, SN_CONTEXT_BOTTOM, "bottom", 3 * room / 10);
        write_contexts(page, i, SN_CONTEXT_QUANTILE, "quantiles", 3 * room / 10);
        page_json_close(&page->out, '}');
    }
    page_json_close(&page->out, '}');
}
