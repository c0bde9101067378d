/* The places of a corpus where a node's value stands out: a list of the best few, kept while the
 * corpus goes by. */
#ifndef SN_CIRCUIT_CONTEXTS_H
#define SN_CIRCUIT_CONTEXTS_H

#include <stddef.h>
#include <stdint.h>

#include "text/corpus.h"

struct place {
    double score;
    float value;
    uint32_t slot;             /* of the activations */
    size_t document, position; /* in the document */
    size_t first, n;           /* what is shown: tokens first .. first + n - 1 of the document */
};

/* How two places must differ to stand in one list. */
enum place_rule {
    PLACES_ANY,       /* not at all */
    PLACES_APART,     /* what is shown does not overlap, and is not the same tokens */
    PLACES_DOCUMENTS, /* and the documents differ */
};

struct place_list {
    struct place *places; /* capacity, lent: largest score first; of equal ones the earlier */
    float *activations;   /* [capacity][width], lent: of the tokens shown, by slot */
    size_t n, capacity, width;
    enum place_rule rule;
};

/* Whether two places keep apart under the rule. */
int places_apart(const struct place *a, const struct place *b, const struct sn_corpus *corpus,
                 enum place_rule rule);
/* activations: those of the tokens shown, copied where the place is taken. */
void place_list_offer(struct place_list *list, const struct place *place, const float *activations,
                      const struct sn_corpus *corpus);

#endif
