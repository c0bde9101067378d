/* Small objects for targets whose bytes mean something beside others only. All end the process where
 * they cannot be made: the memory that a target allows must be enough for them. */
#ifndef SN_TESTS_FUZZ_SMALL_H
#define SN_TESTS_FUZZ_SMALL_H

#include "fuzz.h"

/* One layer, 8 tokens, 6 channels. */
sn_model *small_model(sn_context *context);
/* Its tokens, in two documents of 24. */
sn_corpus *small_corpus(sn_context *context);
sn_means *small_means(sn_context *context, sn_model *model);
sn_task *small_task(sn_context *context);
/* Of two short runs, with a target that any circuit meets. */
sn_search *small_search(sn_context *context, sn_model *model, const sn_means *means,
                        const sn_task *task);
/* Of three of its nodes. */
sn_circuit *small_circuit(sn_context *context, sn_model *model);
void small_must(int status);

/* What is the same for every input: made once, in memory of its own, which no input's cap concerns and none
 * has to give back. */
struct small {
    sn_context *context;
    sn_model *model;
    sn_corpus *corpus; /* its tokens */
    sn_means *means;
    sn_task *task;
    sn_corpus *texts;        /* a few lines of Python */
    sn_tokenizer *tokenizer; /* with the tokens that generated tasks want */
};
const struct small *small_fixed(void);
/* That in tests/data/released, likewise. Run at the root of the sources. */
sn_model *small_released(void);

#endif
