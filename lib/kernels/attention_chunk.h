/* How many keys attention takes at a time (attention_body.h), which its scratch must know. */
#ifndef SN_KERNELS_ATTENTION_CHUNK_H
#define SN_KERNELS_ATTENTION_CHUNK_H

#include <stddef.h>

#include "kernels/kernels.h"

#define ATTENTION_CHUNK (4 * (size_t)ATTENTION_TILE)

static inline size_t attention_whole_chunks(size_t n_tokens)
{
    return (n_tokens + ATTENTION_CHUNK - 1) / ATTENTION_CHUNK * ATTENTION_CHUNK;
}

#endif
