/* Generated documents of simple Python idioms (the first component of the paper's training data). */
#include <string.h>

#include "base/context.h"
#include "base/options.h"
#include "python/units.h"

void unit_choice_excluding(struct unit_choice *choice, const char *excluded)
{
    memset(choice, 0, sizeof *choice);
    for (size_t i = 0; i < N_CONSTRUCTS; i++) {
        const char *at = excluded, *name = CONSTRUCTS[i].name;
        size_t length = strlen(name);
        while ((at = strstr(at, name)) &&
               ((at[length] && at[length] != ',') || (at != excluded && at[-1] != ',')))
            at += length;
        if (!at)
            choice->constructs[choice->n_constructs++] = i;
    }
}

int unit_choice_named(struct unit_choice *choice, struct sn_context *context, const char *list)
{
    memset(choice, 0, sizeof *choice);
    if (!list || strcmp(list, "all") == 0) {
        unit_choice_excluding(choice, "");
        return SN_OK;
    }
    for (const char *at = list;; at++) {
        size_t length = strcspn(at, ","), index = construct_find(at, length);
        if (index == N_CONSTRUCTS || choice->n_constructs == N_CONSTRUCTS)
            return fail(
                context, SN_ERROR_ARGUMENT,
                "sn_python_add_idioms: option constructs names \"%.*s\", which is unknown or one "
                "too many",
                (int)(length < 64 ? length : 64), at);
        choice->constructs[choice->n_constructs++] = index;
        at += length;
        if (!*at)
            return SN_OK;
    }
}

size_t count_patterns(const char *const *patterns)
{
    size_t n = 0;
    while (patterns[n])
        n++;
    return n;
}

static const char *draw_pattern(struct writer *writer, const struct unit_choice *choice)
{
    if (choice->patterns)
        return choice->patterns[random_below(&writer->random, choice->n_patterns)];
    size_t index = choice->constructs[random_below(&writer->random, choice->n_constructs)];
    const char *const *patterns = CONSTRUCTS[index].patterns;
    size_t n = choice->in_front ? CONSTRUCTS[index].n_in_front : 0;
    if (!n)
        n = count_patterns(patterns);
    return patterns[random_below(&writer->random, n)];
}

/* Appends `text` to `out` with four spaces in front of every line. */
static void append_indented(struct buffer *out, const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        length += text[length] == '\n';
        buffer_text(out, *text == '\n' ? "" : "    ");
        buffer_append(out, text, length);
        text += length;
    }
}

static void write_in_function(struct writer *writer, const char *pattern)
{
    struct buffer *out = writer->out, body;
    buffer_init(&body, out->memory);
    expand(writer, writer_chance(writer, 0.6) ? "def $a($b):\n" : "def $a():\n");
    writer->out = &body;
    expand(writer, pattern);
    if (writer_chance(writer, 0.3))
        expand(writer, "return $a\n");
    writer->out = out;
    if (body.failed)
        out->failed = 1;
    else
        append_indented(out, body.bytes);
    buffer_free(&body);
}

void write_unit(struct writer *writer, const struct unit_choice *choice)
{
    const char *pattern = draw_pattern(writer, choice);
    int block = strncmp(pattern, "def", 3) == 0 || strncmp(pattern, "class", 5) == 0;
    if (!block && !choice->patterns && writer_chance(writer, 0.35))
        write_in_function(writer, pattern);
    else
        expand(writer, pattern);
}

static void write_document(struct writer *writer, const struct unit_choice *choice, int brief)
{
    size_t n_units = brief ? 1 : 4 + random_below(&writer->random, 8);
    if (brief && writer_chance(writer, 0.3))
        expand_statement(writer);
    for (size_t i = 0; i < n_units; i++) {
        if (i && writer_chance(writer, 0.1))
            buffer_text(writer->out, "\n");
        if (!brief && writer_chance(writer, 0.2))
            expand_statement(writer);
        write_unit(writer, choice);
    }
}

struct idiom_settings {
    size_t seed;
    const char *constructs;
    size_t brief;
};

static const struct option_spec IDIOM_OPTIONS[] = {
    {"seed", OPTION_INTEGER, offsetof(struct idiom_settings, seed), 0, 0, 9e15, NULL},
    {"constructs", OPTION_TEXT, offsetof(struct idiom_settings, constructs), 0, 0, 0, NULL},
    {"short", OPTION_INTEGER, offsetof(struct idiom_settings, brief), 0, 0, 1, NULL},
};

int sn_python_add_idioms(sn_corpus *corpus, sn_context *context, size_t n_bytes,
                         const sn_options *options)
{
    struct idiom_settings settings;
    struct unit_choice choice;
    struct buffer text;
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!corpus)
        return fail(context, SN_ERROR_ARGUMENT, "sn_python_add_idioms: corpus is NULL");
    int status = options_read(&settings, context, "sn_python_add_idioms", IDIOM_OPTIONS,
                              sizeof IDIOM_OPTIONS / sizeof *IDIOM_OPTIONS, options);
    if (status == SN_OK)
        status = unit_choice_named(&choice, context, settings.constructs);
    if (status != SN_OK)
        return status;
    buffer_init(&text, context->memory);
    size_t written = 0;
    for (uint64_t stream = 0; status == SN_OK && written < n_bytes; stream++) {
        struct writer writer;
        text.size = 0;
        writer_init(&writer, &text, settings.seed, stream, WORDS_TRAINING);
        write_document(&writer, &choice, settings.brief != 0);
        status = text.failed ? fail_memory(context, "a generated document", text.capacity)
                             : sn_corpus_add_text(corpus, context, text.bytes, text.size);
        written += text.size;
    }
    buffer_free(&text);
    return status;
}
