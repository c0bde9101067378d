/* A parallel loop as a host might have one: three threads, started for each loop, that take what is to be done from
 * the end. Any order must do. */
#ifndef SN_TESTS_HOST_LOOP_H
#define SN_TESTS_HOST_LOOP_H

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#define HOST_THREADS 3

struct host {
    void (*body)(void *payload, size_t index);
    void *body_payload;
    size_t n;
    atomic_size_t next;
};

static inline void *host_thread(void *payload)
{
    struct host *host = payload;
    for (size_t i; (i = atomic_fetch_add(&host->next, 1)) < host->n;)
        host->body(host->body_payload, host->n - 1 - i);
    return NULL;
}

/* An sn_parallel_for, for HOST_THREADS threads. */
static inline void host_loop(size_t n, void (*body)(void *payload, size_t index), void *body_payload,
                             void *payload)
{
    struct host host = {.body = body, .body_payload = body_payload, .n = n};
    pthread_t threads[HOST_THREADS];
    (void)payload;
    for (int i = 0; i < HOST_THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, host_thread, &host), 0);
    for (int i = 0; i < HOST_THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

#endif
