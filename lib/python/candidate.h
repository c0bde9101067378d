/* Candidates for a pair of prompts: written from a template, with code in front, and judged by the
 * tokenizer. */
#ifndef SN_PYTHON_CANDIDATE_H
#define SN_PYTHON_CANDIDATE_H

#include "base/context.h"
#include "python/units.h"

struct task_settings {
    size_t seed;
    int split;
    size_t min_tokens, max_tokens;
    double distractor;
};

enum { SPLIT_PRUNE, SPLIT_DEVELOP, SPLIT_FRESH };

/* What the pairs of one call are made from. */
struct maker {
    struct sn_context *context;
    const sn_tokenizer *tokenizer;
    const struct task_row *row;
    const struct target_form *form; /* what the targets are in this tokenizer */
    struct task_settings settings;
    struct unit_choice plain, unrelated; /* code in front: statements only, or whole units */
    const char *const *patterns;
    size_t n_patterns;
    int wrong_side; /* of the last candidate whose targets were wrong */
};

struct token_list {
    int32_t *tokens;
    size_t n_tokens, capacity;
};

/* One pair in the making; prompt i is before + core. */
struct candidate {
    struct buffer before, core[2], prompt[2];
    struct buffer continuation[2]; /* right Python after the prompt: the target and a bit more */
    struct token_list tokens[2];   /* of the prompts */
    int32_t targets[2];
    int wrong_side; /* the first whose target does not follow its prompt, SIDE_B where both do */
};

enum verdict {
    CANDIDATE_FITS,
    CANDIDATE_LENGTH, /* not within min_tokens and max_tokens */
    CANDIDATE_TARGET  /* the targets are not two different tokens that follow the prompts */
};

void candidate_init(struct candidate *candidate, struct memory *memory);
void candidate_free(struct candidate *candidate);
/* Writes candidate number `stream` and says whether it can be a pair. */
int candidate_write(enum verdict *verdict, struct candidate *candidate, const struct maker *maker,
                    uint64_t stream);
/* targets.c: whether the tokenizer has both targets of the form as tokens. */
int form_is_possible(const struct maker *maker, const struct target_form *form);
/* Finds the candidate's targets among the tokens of prompt + continuation. */
int candidate_judge(enum verdict *verdict, struct candidate *candidate, const struct maker *maker);
/* The failure of a task that this tokenizer cannot express: names the target and how it is written. */
int refuse_targets(const struct maker *maker);

#endif
