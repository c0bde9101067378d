/* A corpus gone through once, window by window, every token in one window. */
#include "text/corpus.h"

/* Where the window behind one of at most `window` tokens from `start` on begins: at a line's start,
 * if there is one in the window's second half. */
static size_t window_end(const struct document *document, size_t start, size_t window)
{
    size_t end = start + window, low = 0, high = document->n_starts;
    if (document->n_tokens - start <= window)
        return document->n_tokens;
    while (high > low) { /* low: starts at or in front of `end` */
        size_t middle = low + (high - low) / 2;
        if (document->starts[middle] <= end)
            low = middle + 1;
        else
            high = middle;
    }
    return low && document->starts[low - 1] > start + window / 2 ? document->starts[low - 1] : end;
}

int corpus_walk_next(struct corpus_walk *walk)
{
    const struct sn_corpus *corpus = walk->corpus;
    walk->start += walk->length;
    walk->length = 0;
    while (walk->document < corpus->n_documents &&
           walk->start >= corpus->documents[walk->document].n_tokens) {
        walk->document++;
        walk->start = 0;
    }
    if (walk->document == corpus->n_documents)
        return 0;
    walk->length =
        window_end(&corpus->documents[walk->document], walk->start, walk->window) - walk->start;
    return 1;
}
