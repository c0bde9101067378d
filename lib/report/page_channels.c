/* The residual channels that a circuit reads or writes: which tokens' embeddings lie there, and which tokens' logits
 * are read from there. */
#include <string.h>

#include "base/memory.h"
#include "report/page.h"
#include "report/page_json.h"

#define MOST_TOKENS 24 /* of a list, and as many others as the prompts hold */
#define MOST_OTHERS 24

struct channel_writer {
    struct page *page;
    int32_t *tokens;
    float *weights;
    size_t capacity;
    const unsigned char *in_prompts; /* a byte for each token */
};

/* The strongest, then those that occur in the prompts. */
static int is_listed(const struct channel_writer *writer, size_t index, size_t *n_others)
{
    if (index < MOST_TOKENS)
        return 1;
    return writer->in_prompts[writer->tokens[index]] && (*n_others)++ < MOST_OTHERS;
}

static void write_list(struct channel_writer *writer, size_t n)
{
    struct page *page = writer->page;
    struct buffer *out = &page->out;
    size_t n_others = 0;
    page_json_set_count(out, "n", n);
    page_json_key(out, "list");
    page_json_open(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (!is_listed(writer, i, &n_others))
            continue;
        page->tokens[writer->tokens[i]] = 1;
        page_json_count(out, (size_t)writer->tokens[i]);
        page_json_number(out, (double)writer->weights[i]);
    }
    page_json_close(out, ']');
}

static int write_table(struct channel_writer *writer, const char *node, int table)
{
    struct page *page = writer->page;
    size_t n = 0;
    int status = sn_node_tokens(writer->tokens, writer->weights, writer->capacity, &n, page->context,
                                page->model, node, table);
    if (status != SN_OK || n == 0)
        return status;
    page_json_key(&page->out, table == SN_TOKENS_EMBEDDING ? "embedding" : "unembedding");
    page_json_open(&page->out, '{');
    write_list(writer, n);
    page_json_close(&page->out, '}');
    return SN_OK;
}

static int is_residual(const struct node_parts *parts)
{
    return strstr(parts->site, "act_in") || strstr(parts->site, "resid");
}

static int is_first_of_channel(const struct page *page, size_t index)
{
    const struct node_parts *parts = &page->nodes[index].parts;
    if (!is_residual(parts))
        return 0;
    for (size_t i = 0; i < index; i++)
        if (page->nodes[i].parts.channel == parts->channel && is_residual(&page->nodes[i].parts))
            return 0;
    return 1;
}

static int write_channels(struct channel_writer *writer)
{
    struct page *page = writer->page;
    int status = SN_OK;
    page_json_key(&page->out, "channels");
    page_json_open(&page->out, '{');
    for (size_t i = 0; status == SN_OK && i < page->n_nodes; i++) {
        if (!is_first_of_channel(page, i))
            continue;
        page_json_next(&page->out);
        buffer_format(&page->out, "\"%zu\":", page->nodes[i].parts.channel);
        page_json_open(&page->out, '{');
        status = write_table(writer, page->nodes[i].name, SN_TOKENS_EMBEDDING);
        if (status == SN_OK)
            status = write_table(writer, page->nodes[i].name, SN_TOKENS_UNEMBEDDING);
        page_json_close(&page->out, '}');
    }
    page_json_close(&page->out, '}');
    return status;
}

int page_channels(struct page *page)
{
    struct memory *memory = page->context->memory;
    size_t n = page->n_vocabulary;
    unsigned char *in_prompts = memory_allocate(memory, n);
    struct channel_writer writer = {.page = page, .capacity = n, .in_prompts = in_prompts};
    writer.tokens = memory_allocate_array(memory, n, sizeof *writer.tokens);
    writer.weights = memory_allocate_array(memory, n, sizeof *writer.weights);
    int status = SN_OK;
    if (!in_prompts || !writer.tokens || !writer.weights)
        status = fail_memory(page->context, "tokens of a channel", n * sizeof *writer.weights);
    if (status == SN_OK) {
        memcpy(in_prompts, page->tokens, n);
        status = write_channels(&writer);
    }
    memory_free(memory, in_prompts, n);
    memory_free(memory, writer.tokens, n * sizeof *writer.tokens);
    memory_free(memory, writer.weights, n * sizeof *writer.weights);
    return status;
}
