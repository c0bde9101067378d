#include "python/expand.h"

#include <string.h>

#include "python/constructs.h"

#define N_NAMES 8
#define N_CLASSES 4

struct bound {
    char names[N_NAMES][NAME_CAPACITY];
    char classes[N_CLASSES][NAME_CAPACITY];
};

void writer_init(struct writer *writer, struct buffer *out, uint64_t seed, uint64_t stream,
                 enum word_partition partition)
{
    memset(writer, 0, sizeof *writer);
    writer->out = out;
    writer->partition = partition;
    writer->n_plain = N_STATEMENTS;
    random_seed(&writer->random, seed, stream);
}

int writer_chance(struct writer *writer, double probability)
{
    return random_uniform(&writer->random) < probability;
}

void writer_name(char name[NAME_CAPACITY], struct writer *writer)
{
    if (writer->n_recent && writer_chance(writer, 0.5)) {
        size_t n = writer->n_recent < N_RECENT_NAMES ? writer->n_recent : N_RECENT_NAMES;
        memcpy(name, writer->recent[random_below(&writer->random, n)], NAME_CAPACITY);
        return;
    }
    name_draw(name, &writer->random, writer->partition);
    memcpy(writer->recent[writer->n_recent++ % N_RECENT_NAMES], name, NAME_CAPACITY);
}

static int is_bound(const struct bound *bound, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(bound->names[i], name) == 0)
            return 1;
    return 0;
}

/* Draws the names that the pattern uses before any text is written, so that alternatives of the two
 * sides need no random numbers. */
static void bind(struct bound *bound, struct writer *writer, const char *pattern)
{
    char use[3] = "$?";
    memset(bound, 0, sizeof *bound);
    for (size_t i = 0; i < N_NAMES; i++) {
        use[1] = (char)('a' + i);
        if (!strstr(pattern, use))
            continue;
        do
            writer_name(bound->names[i], writer);
        while (is_bound(bound, i, bound->names[i]));
    }
    for (size_t i = 0; i < N_CLASSES; i++) {
        use[1] = (char)('A' + i);
        if (strstr(pattern, use))
            class_draw(bound->classes[i], &writer->random, writer->partition);
    }
}

static void write_literal(struct writer *writer, int words)
{
    const char *quote = writer_chance(writer, 0.5) ? "'" : "\"";
    char word[NAME_CAPACITY];
    buffer_text(writer->out, quote);
    if (words)
        phrase_append(writer->out, &writer->random, writer->partition);
    else {
        word_draw(word, &writer->random, writer->partition);
        buffer_text(writer->out, word);
    }
    buffer_text(writer->out, quote);
}

static void write_value(struct writer *writer)
{
    char name[NAME_CAPACITY];
    double form = random_uniform(&writer->random);
    if (form < 0.5)
        number_append(writer->out, &writer->random);
    else if (form < 0.8) {
        writer_name(name, writer);
        buffer_text(writer->out, name);
    } else
        write_literal(writer, 1);
}

void expand_statement(struct writer *writer)
{
    expand(writer, STATEMENTS[random_below(&writer->random, writer->n_plain)]);
}

static void expand_drawn(struct writer *writer, char kind)
{
    char word[NAME_CAPACITY];
    switch (kind) {
    case 's': phrase_append(writer->out, &writer->random, writer->partition); break;
    case 'w':
        word_draw(word, &writer->random, writer->partition);
        buffer_text(writer->out, word);
        break;
    case 'n': number_append(writer->out, &writer->random); break;
    case 'v': write_value(writer); break;
    case 'l': write_list(writer); break;
    case 'o': write_open_list(writer, writer->side); break;
    case 't': write_literal(writer, 1); break;
    case 'u': write_literal(writer, 0); break;
    case 'x': expand_statement(writer); break;
    case 'Q': buffer_text(writer->out, writer->side == SIDE_A ? "'" : "\""); break;
    default: writer->out->failed = 1; break; /* no such template exists; tests expand them all */
    }
}

void expand(struct writer *writer, const char *pattern)
{
    struct bound bound;
    int alternative = -1; /* outside ~A~B~; 0 in A, 1 in B */
    bind(&bound, writer, pattern);
    for (const char *at = pattern; *at; at++) {
        int silent = alternative >= 0 && alternative != writer->side;
        if (*at == '~')
            alternative = alternative == 1 ? -1 : alternative + 1;
        else if (*at != '$') {
            if (!silent)
                buffer_append(writer->out, at, 1);
        } else {
            char kind = *++at;
            if (silent)
                continue;
            if (kind >= 'a' && kind < 'a' + N_NAMES)
                buffer_text(writer->out, bound.names[kind - 'a']);
            else if (kind >= 'A' && kind < 'A' + N_CLASSES)
                buffer_text(writer->out, bound.classes[kind - 'A']);
            else
                expand_drawn(writer, kind);
        }
    }
}
