/* The text that all models learn from, and the tokenizer that they share. */
#ifndef REPRODUCE_TEXTS_H
#define REPRODUCE_TEXTS_H

#include "setup.h"

#define MAX_TASKS 20

/* Read only once made: threads may share it. */
struct texts {
    size_t n_tasks;
    sn_tokenizer *tokenizer;
    sn_corpus *idioms, *real;
    sn_task *pairs[MAX_TASKS];                  /* to learn the tasks from, */
    sn_corpus *prompts;                         /* and all their prompts as text, not tokenized */
    sn_corpus *drill[MAX_TASKS];                /* one unit a document, of one task's construct each */
    sn_corpus *held_out_idioms, *held_out_real; /* never trained on */
};

/* Makes all text, and the tokenizer or reads it where an earlier run has written it. */
void texts_make(struct texts *texts, const struct setup *setup, sn_context *context);
void texts_free(struct texts *texts);
/* Pairs of the task with this index. */
sn_task *texts_task(const struct texts *texts, sn_context *context, size_t index, const char *split,
                    size_t n_pairs, unsigned seed);
/* Pairs that no choice was made on, no word of which occurs in any text that a model was trained on: read from
 * OUT_DIR/fresh/TASK.jsonl, where the first call writes them. */
sn_task *texts_fresh_task(const struct texts *texts, const struct setup *setup, sn_context *context,
                          size_t index);
/* Makes the fresh pairs of all tasks that are not there yet. */
void texts_make_fresh(const struct texts *texts, const struct setup *setup, sn_context *context);

#endif
