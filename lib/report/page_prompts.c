/* Pairs of the tasks as the page holds them: at every token the value of each node, and each head's attention. */
#include <string.h>

#include "base/memory.h"
#include "report/page.h"
#include "report/page_json.h"

#define DEFAULT_PAIRS 4
#define MOST_VALUES 110000    /* of nodes at tokens: beyond it fewer pairs are shown, one at least */
#define MOST_ATTENTION 100000 /* of pairs of tokens: heads and prompts beyond it go without */
#define SITE_BYTES 96

struct prompt {
    const int32_t *tokens;
    size_t n;
    int32_t target, other;
};

struct prompt_writer {
    struct page *page;
    sn_session *session;
    char site[SITE_BYTES]; /* whose values are held */
    float *values, *attention;
    size_t width, value_capacity, attention_capacity; /* floats */
    size_t attention_left;
    size_t done, total;
};

/* ------------------------------------------------------------------ which prompts */

static struct prompt prompt_of(const sn_task *task, size_t pair, int half)
{
    struct prompt a = {0}, b = {0};
    sn_task_pair(&a.tokens, &a.n, &b.tokens, &b.n, &a.target, &b.target, task, pair);
    a.other = b.target;
    b.other = a.target;
    return half ? b : a;
}

static size_t longest_prompt(const sn_task *task)
{
    size_t longest = 1;
    for (size_t i = 0; i < 2 * sn_task_count(task); i++) {
        struct prompt prompt = prompt_of(task, i / 2, (int)(i % 2));
        longest = prompt.n > longest ? prompt.n : longest;
    }
    return longest;
}

static int partner_site(char site[SITE_BYTES], const struct node_parts *parts);

/* Rows of values of a prompt: of nodes, and of what queries and keys are multiplied with. */
static size_t row_count(const struct page *page)
{
    size_t n = page->n_nodes;
    for (size_t i = 0; i < page->n_nodes; i++) {
        char site[SITE_BYTES];
        n += (size_t)partner_site(site, &page->nodes[i].parts);
    }
    return n;
}

static size_t pair_count(const struct page *page, const sn_task *task)
{
    size_t wanted = page->inputs.n_pairs ? page->inputs.n_pairs : DEFAULT_PAIRS;
    size_t room = MOST_VALUES / (2 * longest_prompt(task) * (row_count(page) + 1));
    size_t n = task ? sn_task_count(task) : 0;
    wanted = wanted < room ? wanted : room ? room : 1;
    return n < wanted ? n : wanted;
}

/* ------------------------------------------------------------- values of a prompt */

static int reserve(float **values, size_t *capacity, struct page *page, size_t needed)
{
    struct memory *memory = page->context->memory;
    if (needed <= *capacity)
        return SN_OK;
    float *more = memory_allocate_array(memory, needed, sizeof **values);
    if (!more)
        return fail_memory(page->context, "values of a prompt", needed * sizeof **values);
    memory_free(memory, *values, *capacity * sizeof **values);
    *values = more;
    *capacity = needed;
    return SN_OK;
}

/* Brings the values of a site into writer->values, n_tokens x width. */
static int hold_site(struct prompt_writer *writer, const char *site)
{
    struct page *page = writer->page;
    size_t needed = 0;
    if (strcmp(site, writer->site) == 0)
        return SN_OK;
    writer->site[0] = '\0';
    sn_session_activations(NULL, 0, &needed, writer->session, site);
    int status = reserve(&writer->values, &writer->value_capacity, page, needed);
    if (status == SN_OK)
        status = sn_session_activations(writer->values, writer->value_capacity, &needed, writer->session,
                                        site);
    if (status != SN_OK)
        return status;
    writer->width = sn_model_site_width(page->model, site);
    memcpy(writer->site, site, strlen(site) + 1);
    return SN_OK;
}

static int write_values(struct prompt_writer *writer, const char *name, const char *site, size_t channel,
                        size_t n_tokens)
{
    struct page *page = writer->page;
    int status = hold_site(writer, site);
    if (status != SN_OK)
        return status;
    page_json_key(&page->out, name);
    page_values(page, writer->values + channel, n_tokens, writer->width);
    return SN_OK;
}

/* The site of the keys for that of queries, and the other way round; 0 for others. */
static int partner_site(char site[SITE_BYTES], const struct node_parts *parts)
{
    size_t length = strlen(parts->site);
    memcpy(site, parts->site, length + 1);
    if (parts->head < 0 || length == 0 || !strchr("qk", site[length - 1]))
        return 0;
    site[length - 1] = site[length - 1] == 'q' ? 'k' : 'q';
    return 1;
}

/* What a query channel is multiplied with in each score is the key channel of its number, so the page can make
 * either's share of a score from two rows of values. */
static int write_node_values(struct prompt_writer *writer, const struct prompt *prompt)
{
    struct page *page = writer->page;
    int status = SN_OK;
    page_json_key(&page->out, "values");
    page_json_open(&page->out, '{');
    for (size_t i = 0; status == SN_OK && i < page->n_nodes; i++) {
        const struct node_parts *parts = &page->nodes[i].parts;
        status = write_values(writer, page->nodes[i].name, parts->site, parts->channel, prompt->n);
    }
    page_json_close(&page->out, '}');
    page_json_key(&page->out, "partners");
    page_json_open(&page->out, '{');
    for (size_t i = 0; status == SN_OK && i < page->n_nodes; i++) {
        char site[SITE_BYTES];
        const struct node_parts *parts = &page->nodes[i].parts;
        if (partner_site(site, parts))
            status = write_values(writer, page->nodes[i].name, site, parts->channel, prompt->n);
    }
    page_json_close(&page->out, '}');
    return status;
}

/* ------------------------------------------------------------------ attention */

static int is_first_of_head(const struct page *page, size_t index)
{
    const struct node_parts *parts = &page->nodes[index].parts;
    for (size_t i = 0; i < index; i++)
        if (page->nodes[i].parts.layer == parts->layer && page->nodes[i].parts.head == parts->head)
            return 0;
    return parts->head >= 0;
}

/* Row after row up to the token that looks, in thousandths. */
static void write_triangle(struct prompt_writer *writer, size_t n)
{
    struct buffer *out = &writer->page->out;
    page_json_open(out, '[');
    for (size_t row = 0; row < n; row++)
        for (size_t column = 0; column <= row; column++)
            page_json_count(out, (size_t)(1000 * (double)writer->attention[row * n + column] + 0.5));
    page_json_close(out, ']');
}

static int write_head(struct prompt_writer *writer, size_t index, const struct prompt *prompt)
{
    struct page *page = writer->page;
    const struct page_node *node = &page->nodes[index];
    size_t needed = 0;
    int status = reserve(&writer->attention, &writer->attention_capacity, page, prompt->n * prompt->n);
    if (status == SN_OK)
        status = sn_node_attention(writer->attention, NULL, writer->attention_capacity, &needed,
                                   page->context, page->model, NULL, NULL, node->name, prompt->tokens,
                                   prompt->n);
    if (status != SN_OK)
        return status;
    page_json_next(&page->out);
    buffer_format(&page->out, "\"%ld.%ld\":", node->parts.layer, node->parts.head);
    write_triangle(writer, prompt->n);
    return SN_OK;
}

static int write_attention(struct prompt_writer *writer, const struct prompt *prompt)
{
    struct page *page = writer->page;
    size_t cost = prompt->n * (prompt->n + 1) / 2;
    int status = SN_OK;
    page_json_key(&page->out, "attention");
    page_json_open(&page->out, '{');
    for (size_t i = 0; status == SN_OK && i < page->n_nodes; i++) {
        if (cost > writer->attention_left || !is_first_of_head(page, i))
            continue;
        writer->attention_left -= cost;
        status = write_head(writer, i, prompt);
    }
    page_json_close(&page->out, '}');
    return status;
}

/* ------------------------------------------------------------------ all of them */

static int write_prompt(struct prompt_writer *writer, size_t task, const struct prompt *prompt)
{
    struct page *page = writer->page;
    struct buffer *out = &page->out;
    const size_t offsets[] = {0, prompt->n};
    const int32_t targets[] = {prompt->target, prompt->other};
    int status = sn_session_forward(writer->session, prompt->tokens, offsets, 1);
    if (status != SN_OK)
        return status;
    writer->site[0] = '\0';
    page_json_open(out, '{');
    page_json_set_count(out, "task", task);
    page_json_key(out, "tokens");
    page_tokens(page, prompt->tokens, prompt->n);
    page_json_key(out, "targets");
    page_tokens(page, targets, 2);
    status = write_node_values(writer, prompt);
    if (status == SN_OK)
        status = write_attention(writer, prompt);
    page_json_close(out, '}');
    return status == SN_OK ? progress(page->context, "page", ++writer->done, writer->total, 0) : status;
}

static int write_task(struct prompt_writer *writer, const sn_task *task, size_t number)
{
    size_t n = pair_count(writer->page, task), all = sn_task_count(task);
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < 2 * n; i++) {
        struct prompt prompt = prompt_of(task, i / 2 * all / n, (int)(i % 2));
        status = write_prompt(writer, number, &prompt);
    }
    return status;
}

static int open_session(struct prompt_writer *writer)
{
    struct page *page = writer->page;
    sn_options *options;
    int status = sn_options_create(&options, page->context);
    if (status == SN_OK)
        status = sn_options_set(options, page->context, "backward", 0);
    if (status == SN_OK)
        status = sn_session_create(&writer->session, page->context, page->model, options);
    sn_options_free(options);
    for (size_t i = 0; status == SN_OK && i < page->n_nodes; i++) {
        char site[SITE_BYTES];
        status = sn_session_record(writer->session, page->nodes[i].parts.site);
        if (status == SN_OK && partner_site(site, &page->nodes[i].parts))
            status = sn_session_record(writer->session, site);
    }
    return status;
}

int page_prompts(struct page *page)
{
    const sn_task *const tasks[] = {page->inputs.task, page->inputs.other_task};
    struct memory *memory = page->context->memory;
    struct prompt_writer writer = {.page = page, .attention_left = MOST_ATTENTION};
    int status = open_session(&writer);
    page_json_key(&page->out, "prompts");
    page_json_open(&page->out, '[');
    for (size_t i = 0; i < 2; i++)
        writer.total += 2 * pair_count(page, tasks[i]);
    for (size_t i = 0; status == SN_OK && i < 2; i++)
        if (tasks[i])
            status = write_task(&writer, tasks[i], i);
    page_json_close(&page->out, ']');
    memory_free(memory, writer.values, writer.value_capacity * sizeof(float));
    memory_free(memory, writer.attention, writer.attention_capacity * sizeof(float));
    sn_session_free(writer.session);
    return status;
}
