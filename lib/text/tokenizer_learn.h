/* Learning BPE merges from texts. */
#ifndef SN_TEXT_TOKENIZER_LEARN_H
#define SN_TEXT_TOKENIZER_LEARN_H

#include "text/corpus.h"
#include "text/tokenizer.h"

/* Adds merges to a tokenizer that holds the byte tokens (pairs not indexed), until it has
 * vocabulary_size tokens or no pair is left. A status, with a message. */
int learn_merges(struct sn_tokenizer *tokenizer, struct sn_context *context,
                 const struct sn_corpus *corpus, size_t vocabulary_size);

#endif
