/* Templates of Python text and their expansion. In a template
 *   $a .. $h  are identifiers, the same name at each use, different letters different names;
 *   $A .. $D  are class names likewise;
 *   $s phrase, $w word, $n number, $v simple value, $l list literal, $x simple statement;
 *   $t and $u string literals (phrase, word) in either quote;
 *   $Q        is ' on side A and " on side B;
 *   $o        is a list left open, at depth 2 on side A and at depth 1 on side B;
 *   ~A~B~     is the text A on side A, B on side B; of $ only bound names may stand inside.
 * Both sides of a pair are expanded from the same random state and draw the same numbers, so they
 * differ exactly where $Q, $o and ~A~B~ say. */
#ifndef SN_PYTHON_EXPAND_H
#define SN_PYTHON_EXPAND_H

#include "base/buffer.h"
#include "base/random.h"
#include "python/words.h"

#define SIDE_A 0
#define SIDE_B 1
#define N_RECENT_NAMES 10

struct writer {
    struct buffer *out;
    struct random_state random;
    enum word_partition partition;
    int side;
    char recent[N_RECENT_NAMES][NAME_CAPACITY]; /* names in use in this document, met again */
    size_t n_recent;
    size_t n_plain; /* $x draws from so many of the simple statements */
};

/* A writer for one document or prompt; `stream` separates the documents of one seed. */
void writer_init(struct writer *writer, struct buffer *out, uint64_t seed, uint64_t stream,
                 enum word_partition partition);
int writer_chance(struct writer *writer, double probability);
/* A name for this document: half of the time one that is in use already. */
void writer_name(char name[NAME_CAPACITY], struct writer *writer);
void expand(struct writer *writer, const char *pattern);
/* One simple statement with its newline, from the first n_plain of the list. */
void expand_statement(struct writer *writer);

/* brackets.c: "[" and elements without the final closers; the depth at the end is returned. */
int write_open_list(struct writer *writer, int side);
/* A complete list, flat or nested. */
void write_list(struct writer *writer);

#endif
