#include "circuit/contexts.h"

#include <string.h>

static int same_tokens(const struct place *a, const struct place *b, const struct sn_corpus *corpus)
{
    return a->n == b->n && a->position - a->first == b->position - b->first &&
           memcmp(corpus->documents[a->document].tokens + a->first,
                  corpus->documents[b->document].tokens + b->first, a->n * sizeof(int32_t)) == 0;
}

int places_apart(const struct place *a, const struct place *b, const struct sn_corpus *corpus,
                 enum place_rule rule)
{
    if (rule == PLACES_ANY)
        return 1;
    if (a->document == b->document &&
        (rule == PLACES_DOCUMENTS || (a->first < b->first + b->n && b->first < a->first + a->n)))
        return 0;
    return !same_tokens(a, b, corpus);
}

static void remove_place(struct place_list *list, size_t index)
{
    list->n--;
    memmove(list->places + index, list->places + index + 1, (list->n - index) * sizeof *list->places);
}

static uint32_t free_slot(const struct place_list *list)
{
    for (uint32_t slot = 0;; slot++) {
        size_t i = 0;
        while (i < list->n && list->places[i].slot != slot)
            i++;
        if (i == list->n)
            return slot;
    }
}

/* A slot that no place has: the last one's, which gives way, where the list is full. */
static uint32_t make_room(struct place_list *list)
{
    if (list->n == list->capacity)
        return list->places[--list->n].slot;
    /* slots are given out in order until one has been freed */
    for (size_t i = 0; i < list->n; i++)
        if (list->places[i].slot == list->n)
            return free_slot(list);
    return (uint32_t)list->n;
}

void place_list_offer(struct place_list *list, const struct place *place, const float *activations,
                      const struct sn_corpus *corpus)
{
    if (list->capacity == 0 ||
        (list->n == list->capacity && place->score <= list->places[list->n - 1].score))
        return;
    if (list->rule != PLACES_ANY) {
        for (size_t i = 0; i < list->n && list->places[i].score >= place->score; i++)
            if (!places_apart(&list->places[i], place, corpus, list->rule))
                return;
        for (size_t i = list->n; i-- > 0 && list->places[i].score < place->score;)
            if (!places_apart(&list->places[i], place, corpus, list->rule))
                remove_place(list, i);
    }
    uint32_t slot = make_room(list);
    size_t at = list->n;
    while (at > 0 && list->places[at - 1].score < place->score)
        at--;
    memmove(list->places + at + 1, list->places + at, (list->n - at) * sizeof *list->places);
    list->places[at] = *place;
    list->places[at].slot = slot;
    list->n++;
    memcpy(list->activations + slot * list->width, activations, place->n * sizeof *activations);
}
