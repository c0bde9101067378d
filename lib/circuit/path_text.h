/* A traced path, while it is being found and in words. */
#ifndef SN_CIRCUIT_PATH_TEXT_H
#define SN_CIRCUIT_PATH_TEXT_H

#include "circuit/flow.h"

#define NO_STEP ((size_t)-1)

struct path_step {
    size_t parent; /* the step nearer to the output, NO_STEP for the logits */
    size_t node;   /* of the circuit's graph */
    size_t length; /* nodes from here to the output */
    double weight; /* product of the weights from here to the output */
    double priority;
    float *gradient; /* n_tokens; NULL once opened */
};

enum path_source {
    SOURCE_TOKEN,    /* embedding of `token` */
    SOURCE_POSITION, /* position embedding */
    SOURCE_DIRECT,   /* embedding to unembedding, no node between */
    SOURCE_BIGRAM    /* bigram table */
};

struct found_path {
    size_t step; /* first node after the source; NO_STEP for none */
    enum path_source source;
    int32_t token;
    double weight, contribution;
};

/* `token (" → 0.attn.act_in.17 → ... → logit ") − logit ')`: strlen + 1 bytes, NULL when out of memory.
 * tokenizer may be NULL: tokens are then shown as #id. */
char *path_text(struct memory *memory, const struct flow *flow, const struct path_step *steps,
                const struct found_path *path, const sn_tokenizer *tokenizer);

#endif
