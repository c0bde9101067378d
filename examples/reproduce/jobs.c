#include "jobs.h"

#include <pthread.h>
#include <stdlib.h>

struct queue {
    pthread_mutex_t lock;
    size_t next, n;
    void (*run)(void *payload, sn_context *context, size_t i);
    void *payload;
};

/* n when none is left. */
static size_t take(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t i = queue->next < queue->n ? queue->next++ : queue->n;
    pthread_mutex_unlock(&queue->lock);
    return i;
}

static void *work(void *payload)
{
    struct queue *queue = payload;
    sn_context *context;
    if (sn_context_create(&context, NULL) != SN_OK)
        stop("no memory for", "a context");
    for (size_t i = take(queue); i < queue->n; i = take(queue))
        queue->run(queue->payload, context, i);
    sn_context_free(context);
    return NULL;
}

void jobs_run(const struct setup *setup, size_t n,
              void (*run)(void *payload, sn_context *context, size_t i), void *payload)
{
    struct queue queue = {PTHREAD_MUTEX_INITIALIZER, 0, n, run, payload};
    pthread_t *threads = calloc(setup->n_threads, sizeof *threads);
    size_t started = 0;
    while (threads && started + 1 < setup->n_threads &&
           pthread_create(&threads[started], NULL, work, &queue) == 0)
        started++;
    work(&queue);
    while (started > 0)
        pthread_join(threads[--started], NULL);
    free(threads);
}
