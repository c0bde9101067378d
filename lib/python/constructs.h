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
    size_t n_in_front;           /* the first so many stand in front of pruning prompts too; 0: all */
};

extern const struct construct CONSTRUCTS[N_CONSTRUCTS];
/* Index of the construct with this name of `length` bytes, N_CONSTRUCTS if there is none. */
size_t construct_find(const char *name, size_t length);

/* The units of the constructs that construct_units.c lists; each ends in NULL. */
extern const char *const FINAL_KWARG_UNITS[],
    *const CLASS_INIT_UNITS[],
        *const WITH_AS_UNITS[],
            *const BRACKET_BRACE_UNITS[],
                *const WITH_OPEN_UNITS[],
                    *const ELSE_ELIF_UNITS[],
                        *const FSTRING_BRACE_UNITS[],
                            *const IF_TERNARY_UNITS[],
                                *const VAR_SWAP_UNITS[],
                                    *const INDENT_FOR_UNITS[],
                                        *const LAMBDA_FUNC_UNITS[],
                                            *const IF_EQUALS_UNITS[],
                                                *const ENUMERATE_RANGE_UNITS[],
                                                    *const VAR_IF_UNITS[],
                                                        *const WHILE_RETURN_TRUE_UNITS[];

/* What the two targets are in one kind of tokenizer. Of the continuation, `before` still belongs to the
 * prompt, and then comes the target: of "]]" and a newline "]]\n", or "]]" where newlines stand alone. */
struct target_form {
    const char *before;
    const char *targets[2];
};

#define N_TARGET_FORMS 4

struct task_row {
    const char *name;
    const char
        *continuations[2]; /* right Python after the prompt of side A, B: targets and a bit more */
    struct target_form forms[N_TARGET_FORMS]; /* in order of preference; the rest is NULL */
    const char *const *prune;                 /* prompts of the split prune; each list ends in NULL */
    const char *const *develop;               /* prompts of the split develop, */
    const char *const *fresh;                 /* and of the split fresh: each in no other list */
    const char *excluded;     /* constructs never met in the code before, separated by commas */
    int copies_name;          /* the target is the first token of the continuation, which is a name */
    const char *const *train; /* prompts of the split train, in no other list; NULL: those of prune */
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
