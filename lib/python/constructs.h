/* The idioms: templates (expand.h) of units of generated training text by construct, one construct
 * for each task, and the templates of the tasks' prompts. */
#ifndef SN_PYTHON_CONSTRUCTS_H
#define SN_PYTHON_CONSTRUCTS_H

#include <stddef.h>

#define N_CONSTRUCTS 20
#define N_STATEMENTS 28
#define N_PLAIN_STATEMENTS 14 /* those without strings and lists come first */

/* Simple statements, each with its newline. */
extern const char *const STATEMENTS[N_STATEMENTS];

struct construct {
    const char *name;            /* of the task */
    const char *const *patterns; /* whole lines at column 0; ends in NULL */
};

extern const struct construct CONSTRUCTS[N_CONSTRUCTS];
/* Index of the construct with this name of `length` bytes, N_CONSTRUCTS if there is none. */
size_t construct_find(const char *name, size_t length);

struct task_row {
    const char *name;
    const char *target_a, *target_b; /* patterns of bound names or plain text */
    const char *const *prune;        /* prompts of the split prune; each list ends in NULL */
    const char *const *develop;      /* prompts of the split develop, */
    const char *const *fresh;        /* and of the split fresh: each in no other list */
    const char *excluded;            /* constructs never met in the code before, separated by commas */
    int copies_name;                 /* the target is the first token of a name */
};

extern const struct task_row TASK_ROWS[N_CONSTRUCTS];
/* Units of code in front of the prompts of a split; those without strings and lists come first. */
#define N_DEVELOP_CONTEXT 17
#define N_PLAIN_DEVELOP_CONTEXT 7
extern const char *const DEVELOP_CONTEXT[N_DEVELOP_CONTEXT];
#define N_FRESH_CONTEXT 21
#define N_PLAIN_FRESH_CONTEXT 8
extern const char *const FRESH_CONTEXT[N_FRESH_CONTEXT];

#endif
