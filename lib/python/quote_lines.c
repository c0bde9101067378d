/* Lines of real source cut in front of a closing quote: does what holds on generated prompts hold on
 * code that people wrote? */
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/context.h"
#include "base/options.h"
#include "base/random.h"

#define MAX_CLOSER 8
#define MAX_PROMPT_BYTES 4096

/* Where a string stands that closes its line. Offsets into document `document`. */
struct quote_line {
    size_t document, line, open, close; /* first byte of the line; the two quotes */
};

struct line_list {
    struct quote_line *lines;
    size_t n_lines, capacity;
};

struct line_settings {
    size_t seed, min_tokens, max_tokens, context;
};

static const struct option_spec LINE_OPTIONS[] = {
    {"seed", OPTION_INTEGER, offsetof(struct line_settings, seed), 0, 0, 9e15, NULL},
    {"min_tokens", OPTION_INTEGER, offsetof(struct line_settings, min_tokens), 8, 1, 1e6, NULL},
    {"max_tokens", OPTION_INTEGER, offsetof(struct line_settings, max_tokens), 120, 1, 1e6, NULL},
    {"context", OPTION_INTEGER, offsetof(struct line_settings, context), 1, 0, 1, NULL},
};

struct quote_search {
    sn_context *context;
    const sn_tokenizer *tokenizer;
    const sn_corpus *source;
    const char *closer;
    struct line_settings settings;
    struct line_list found[2]; /* of lines closed by ' and by " */
};

static int add_line(struct line_list *list, sn_context *context, const struct quote_line *line)
{
    if (list->n_lines == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 256, size = sizeof *line;
        struct quote_line *lines =
            memory_resize(context->memory, list->lines, list->capacity * size, capacity * size);
        if (!lines)
            return fail_memory(context, "lines of source", capacity * size);
        list->lines = lines;
        list->capacity = capacity;
    }
    list->lines[list->n_lines++] = *line;
    return SN_OK;
}

/* Where a string opened by `quotes` quotes at text[at - quotes .. at) ends: the offset behind its
 * closing quotes. A short string also ends at its line's end. */
static size_t string_end(const char *text, size_t length, size_t at, char quote, size_t quotes)
{
    for (; at < length; at++) {
        if (text[at] == '\\')
            at++;
        else if (quotes == 1 && text[at] == '\n')
            return at;
        else if (text[at] == quote &&
                 (quotes == 1 || (at + 2 < length && text[at + 1] == quote && text[at + 2] == quote)))
            return at + quotes;
    }
    return length;
}

static int is_word_byte(char byte)
{
    return byte == '_' || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9');
}

/* A plain, not empty string (no prefix, no escape, no other quote) that the closer and the end of the
 * line follow. close: offset of the closing quote. */
static int is_wanted(const struct quote_search *search, const char *text, size_t length, size_t open,
                     size_t close)
{
    size_t n_closer = strlen(search->closer);
    if (close <= open + 1 || text[close] != text[open] || (open && is_word_byte(text[open - 1])))
        return 0;
    if (close + 1 + n_closer >= length || memcmp(text + close + 1, search->closer, n_closer) != 0 ||
        text[close + 1 + n_closer] != '\n')
        return 0;
    for (size_t i = open + 1; i < close; i++)
        if (text[i] == '\'' || text[i] == '"' || text[i] == '\\' || text[i] == '\0')
            return 0;
    return 1;
}

/* Reads one document as Python does, as far as strings and comments go. */
static int find_lines(struct quote_search *search, size_t document)
{
    size_t length, line = 0;
    const char *text = sn_corpus_text(&length, search->source, document);
    if (!text)
        return fail(search->context, SN_ERROR_ARGUMENT,
                    "sn_python_quote_lines: document %zu of source is tokens, not text", document);
    for (size_t at = 0; at < length;) {
        char byte = text[at];
        if (byte == '\n')
            line = at + 1;
        if (byte == '#') {
            while (at < length && text[at] != '\n')
                at++;
        } else if (byte == '\'' || byte == '"') {
            size_t quotes = at + 2 < length && text[at + 1] == byte && text[at + 2] == byte ? 3 : 1;
            size_t end = string_end(text, length, at + quotes, byte, quotes);
            struct quote_line found = {document, line, at, end - 1};
            if (quotes == 1 && is_wanted(search, text, length, at, end - 1)) {
                int status = add_line(&search->found[byte == '"'], search->context, &found);
                if (status != SN_OK)
                    return status;
            }
            for (; at < end; at++)
                line = text[at] == '\n' ? at + 1 : line;
        } else
            at++;
    }
    return SN_OK;
}

static void shuffle_lines(struct line_list *list, struct random_state *random)
{
    for (size_t i = list->n_lines; i > 1; i--) {
        size_t j = random_below(random, i);
        struct quote_line swapped = list->lines[i - 1];
        list->lines[i - 1] = list->lines[j];
        list->lines[j] = swapped;
    }
}

/* Text from `start` to the closing quote, with the opening quote replaced. */
static void write_prompt(struct buffer *prompt, const char *text, size_t start,
                         const struct quote_line *line, char quote)
{
    prompt->size = 0;
    buffer_append(prompt, text + start, line->open - start);
    buffer_append(prompt, &quote, 1);
    buffer_append(prompt, text + line->open + 1, line->close - line->open - 1);
}

/* The prompt's start: as many lines before as keep it within `wanted` tokens. *fits: within bounds. */
static int choose_start(size_t *start, int *fits, const struct quote_search *search, const char *text,
                        const struct quote_line *line, size_t wanted)
{
    size_t n = 0, at = line->line;
    *start = at;
    *fits = 0;
    while (line->close - at <= MAX_PROMPT_BYTES) {
        size_t n_more;
        int status = sn_tokenizer_encode(NULL, 0, &n_more, search->context, search->tokenizer, text + at,
                                         line->close - at);
        if (status != SN_OK)
            return status;
        if (n_more > (n ? wanted : search->settings.max_tokens))
            break;
        n = n_more;
        *start = at;
        if (!at || !search->settings.context)
            break;
        for (at--; at && text[at - 1] != '\n'; at--)
            ;
    }
    *fits = n >= search->settings.min_tokens && n <= search->settings.max_tokens;
    return SN_OK;
}

/* Adds the pair of one line; lines that do not fit or tokenize otherwise are passed over. */
static int add_line_pair(sn_task *task, const struct quote_search *search, const struct quote_line *line,
                         size_t wanted, struct buffer prompts[2], const char *const targets[2])
{
    size_t start, length;
    int fits;
    const char *text = sn_corpus_text(&length, search->source, line->document);
    int status = choose_start(&start, &fits, search, text, line, wanted);
    if (status != SN_OK || !fits)
        return status;
    write_prompt(&prompts[0], text, start, line, '\'');
    write_prompt(&prompts[1], text, start, line, '"');
    if (prompts[0].failed || prompts[1].failed)
        return fail_memory(search->context, "a prompt", length);
    if (memchr(prompts[0].bytes, '\0', prompts[0].size))
        return SN_OK;
    status = sn_task_add_text_pair(task, search->context, search->tokenizer, prompts[0].bytes,
                                   prompts[1].bytes, targets[0], targets[1]);
    return status == SN_ERROR_ARGUMENT ? SN_OK : status;
}

/* Draws lines from both lists, preferring the one that has given fewer so far. */
static int add_pairs(sn_task *task, struct quote_search *search, size_t n_pairs,
                     const char *const targets[2])
{
    struct random_state random;
    struct buffer prompts[2];
    size_t next[2] = {0, 0}, given[2] = {0, 0};
    size_t range = search->settings.max_tokens - search->settings.min_tokens + 1;
    int status = SN_OK;
    random_seed(&random, search->settings.seed, 0);
    for (int i = 0; i < 2; i++) {
        shuffle_lines(&search->found[i], &random);
        buffer_init(&prompts[i], search->context->memory);
    }
    while (status == SN_OK && sn_task_count(task) < n_pairs) {
        int left[2] = {next[0] < search->found[0].n_lines, next[1] < search->found[1].n_lines};
        if (!left[0] && !left[1])
            break;
        int kind = left[0] && (given[0] <= given[1] || !left[1]) ? 0 : 1;
        size_t wanted = search->settings.min_tokens + random_below(&random, range);
        size_t before = sn_task_count(task);
        status = add_line_pair(task, search, &search->found[kind].lines[next[kind]++], wanted, prompts,
                               targets);
        given[kind] += sn_task_count(task) - before;
    }
    buffer_free(&prompts[0]);
    buffer_free(&prompts[1]);
    return status;
}

static int check_arguments(sn_context *context, const sn_tokenizer *tokenizer, const sn_corpus *source,
                           const char *closer, size_t n_pairs)
{
    if (!tokenizer || !source || !closer)
        return fail(context, SN_ERROR_ARGUMENT, "sn_python_quote_lines: %s is NULL",
                    !tokenizer ? "tokenizer"
                    : source   ? "closer"
                               : "source");
    if (strlen(closer) > MAX_CLOSER)
        return fail(context, SN_ERROR_ARGUMENT,
                    "sn_python_quote_lines: closer has %zu bytes; %d at most", strlen(closer),
                    MAX_CLOSER);
    if (!n_pairs)
        return fail(context, SN_ERROR_ARGUMENT, "sn_python_quote_lines: n_pairs is 0");
    return SN_OK;
}

static int write_targets(char targets[2][MAX_CLOSER + 3], const struct quote_search *search)
{
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(search->closer);
        targets[i][0] = i ? '"' : '\'';
        memcpy(targets[i] + 1, search->closer, length);
        memcpy(targets[i] + 1 + length, "\n", 2);
        if (sn_tokenizer_find(search->tokenizer, targets[i], length + 2) < 0)
            return fail(search->context, SN_ERROR_ARGUMENT,
                        "sn_python_quote_lines: target %c%s\\n is no single token", targets[i][0],
                        search->closer);
    }
    return SN_OK;
}

static int make_task(sn_task **task, struct quote_search *search, size_t n_pairs,
                     const char *const targets[2])
{
    char name[32 + MAX_CLOSER];
    int status = SN_OK;
    snprintf(name, sizeof name, "quote_lines %s", search->closer);
    for (size_t i = 0; status == SN_OK && i < sn_corpus_count(search->source); i++)
        status = find_lines(search, i);
    if (status == SN_OK)
        status = sn_task_create(task, search->context, name);
    if (status == SN_OK)
        status = add_pairs(*task, search, n_pairs, targets);
    if (status == SN_OK && !sn_task_count(*task))
        status =
            fail(search->context, SN_ERROR_ARGUMENT,
                 "sn_python_quote_lines: no line of source ends in a string and \"%s\"", search->closer);
    return status;
}

int sn_python_quote_lines(sn_task **out, sn_context *context, const sn_tokenizer *tokenizer,
                          const sn_corpus *source, const char *closer, size_t n_pairs,
                          const sn_options *options)
{
    char targets[2][MAX_CLOSER + 3];
    sn_task *task = NULL;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    int status = check_arguments(context, tokenizer, source, closer, n_pairs);
    if (status != SN_OK)
        return status;
    struct quote_search search = {
        .context = context, .tokenizer = tokenizer, .source = source, .closer = closer};
    status = options_read(&search.settings, context, "sn_python_quote_lines", LINE_OPTIONS,
                          sizeof LINE_OPTIONS / sizeof *LINE_OPTIONS, options);
    if (status == SN_OK && search.settings.min_tokens > search.settings.max_tokens)
        status = fail(context, SN_ERROR_ARGUMENT,
                      "sn_python_quote_lines: min_tokens %zu is above max_tokens %zu",
                      search.settings.min_tokens, search.settings.max_tokens);
    if (status == SN_OK)
        status = write_targets(targets, &search);
    if (status == SN_OK)
        status = make_task(&task, &search, n_pairs, (const char *const[2]){targets[0], targets[1]});
    for (int i = 0; i < 2; i++)
        memory_free(context->memory, search.found[i].lines,
                    search.found[i].capacity * sizeof *search.found[i].lines);
    if (status != SN_OK) {
        sn_task_free(task);
        return status;
    }
    *out = task;
    return SN_OK;
}
