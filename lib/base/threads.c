#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/context.h"
#include "base/float_mode.h"

#define STACK_BYTES ((size_t)1 << 20) /* libxsmm's JIT needs more than 128 KB */

struct loop {
    chunk_function function;
    void *payload;
    size_t n_chunks, n_workers;
    atomic_size_t next;
    atomic_size_t first_failed; /* lowest failed chunk, SIZE_MAX if none */
    atomic_int status;          /* of that chunk */
    pthread_mutex_t failure_lock;
};

struct thread_pool {
    struct memory *memory;
    size_t n_threads; /* including the caller's */
    sn_parallel_for host;
    void *host_payload;
    size_t host_threads;
    _Atomic unsigned char host_slots[MAX_WORKERS];
    /* workers */
    pthread_t threads[MAX_WORKERS];
    size_t n_started, n_numbered; /* begun; those that have taken a number */
    pid_t process;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_cond_t idle;
    struct loop *loop;
    uint64_t generation;
    size_t n_running;
    int stopping;
};

struct thread_pool *thread_pool_create(struct memory *memory)
{
    struct thread_pool *pool = memory_allocate_zeroed(memory, sizeof *pool);
    if (!pool)
        return NULL;
    pool->memory = memory;
    pool->n_threads = 1;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->idle, NULL);
    return pool;
}

static void stop_workers(struct thread_pool *pool)
{
    if (pool->n_started == 0)
        return;
    if (pool->process == getpid()) {
        pthread_mutex_lock(&pool->lock);
        pool->stopping = 1;
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
        for (size_t i = 0; i < pool->n_started; i++)
            pthread_join(pool->threads[i], NULL);
        pool->stopping = 0;
    } else { /* a child after fork has none of the parent's threads; its locks start anew */
        pthread_mutex_init(&pool->lock, NULL);
        pthread_cond_init(&pool->wake, NULL);
        pthread_cond_init(&pool->idle, NULL);
    }
    pool->n_started = 0;
    pool->n_numbered = 0;
    pool->loop = NULL;
    pool->n_running = 0;
}

size_t thread_pool_bytes(void)
{
    return memory_block_size(sizeof(struct thread_pool));
}

void thread_pool_free(struct thread_pool *pool)
{
    if (!pool)
        return;
    stop_workers(pool);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->idle);
    memory_free(pool->memory, pool, sizeof *pool);
}

int thread_pool_set_threads(struct thread_pool *pool, size_t n_threads)
{
    if (n_threads != pool->n_threads)
        stop_workers(pool);
    pool->n_threads = n_threads;
    return 1;
}

void thread_pool_set_host(struct thread_pool *pool, sn_parallel_for host, void *payload,
                          size_t n_threads)
{
    pool->host = host;
    pool->host_payload = payload;
    pool->host_threads = host ? n_threads : 0;
}

static void record_failure(struct loop *loop, size_t chunk, int status)
{
    pthread_mutex_lock(&loop->failure_lock);
    if (chunk < atomic_load(&loop->first_failed)) {
        atomic_store(&loop->first_failed, chunk);
        atomic_store(&loop->status, status);
    }
    pthread_mutex_unlock(&loop->failure_lock);
}

static void run_chunk(struct loop *loop, size_t chunk, size_t worker)
{
    if (chunk > atomic_load_explicit(&loop->first_failed, memory_order_relaxed))
        return;
    float_mode saved = float_mode_flush();
    int status = loop->function(loop->payload, chunk, worker);
    float_mode_restore(saved);
    if (status != SN_OK)
        record_failure(loop, chunk, status);
}

static void run_loop(struct loop *loop, size_t worker)
{
    for (;;) {
        size_t chunk = atomic_fetch_add_explicit(&loop->next, 1, memory_order_relaxed);
        if (chunk >= loop->n_chunks)
            return;
        run_chunk(loop, chunk, worker);
    }
}

/* A thread has nothing of its own that it would have to give back: whoever forks between calls may do so before the
 * last one has begun. */
static void *worker_main(void *argument)
{
    struct thread_pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    const size_t worker = ++pool->n_numbered;
    uint64_t seen = pool->loop ? pool->generation - 1 : pool->generation;
    for (;;) {
        while (!pool->stopping && (!pool->loop || pool->generation == seen))
            pthread_cond_wait(&pool->wake, &pool->lock);
        if (pool->stopping)
            break;
        seen = pool->generation;
        struct loop *loop = pool->loop;
        pool->n_running++;
        pthread_mutex_unlock(&pool->lock);
        if (worker < loop->n_workers)
            run_loop(loop, worker);
        pthread_mutex_lock(&pool->lock);
        if (--pool->n_running == 0)
            pthread_cond_signal(&pool->idle);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* The host's signals stay on the host's threads. */
static int start_worker(struct thread_pool *pool)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = pthread_create(&pool->threads[pool->n_started], &attributes, worker_main, pool);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    pool->n_started += error == 0;
    return error == 0;
}

/* Fewer threads than asked for is slower, not wrong. */
static void start_workers(struct thread_pool *pool)
{
    if (pool->n_started && pool->process != getpid())
        stop_workers(pool);
    pool->process = getpid();
    while (pool->n_started + 1 < pool->n_threads)
        if (!start_worker(pool))
            break;
}

/* Waits for the workers that took part, not for those that wake up after the last chunk is taken. */
static void run_on_pool(struct thread_pool *pool, struct loop *loop)
{
    start_workers(pool);
    if (pool->n_started) {
        pthread_mutex_lock(&pool->lock);
        pool->loop = loop;
        pool->generation++;
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
    run_loop(loop, 0);
    if (pool->n_started) {
        pthread_mutex_lock(&pool->lock);
        pool->loop = NULL;
        while (pool->n_running)
            pthread_cond_wait(&pool->idle, &pool->lock);
        pthread_mutex_unlock(&pool->lock);
    }
}

struct host_loop {
    struct thread_pool *pool;
    struct loop *loop;
    atomic_size_t n_run;
    _Atomic uint64_t marks; /* sum of those that have been run */
};

/* Sums of them tell which were taken, without a place for each. */
static uint64_t mark(size_t index)
{
    uint64_t bits = ((uint64_t)index + 1) * 0x9E3779B97F4A7C15u;
    bits = (bits ^ bits >> 31) * 0xBF58476D1CE4E5B9u;
    return bits ^ bits >> 29;
}

static void host_body(void *payload, size_t index)
{
    struct host_loop *host = payload;
    if (index >= host->loop->n_chunks)
        return;
    size_t n = host->loop->n_workers, slot = 0;
    while (atomic_exchange_explicit(&host->pool->host_slots[slot], 1, memory_order_acquire)) {
        slot = (slot + 1) % n;
        if (slot == 0) /* the host has more threads than may work at once (parallel_limit) */
            (void)sched_yield();
    }
    run_chunk(host->loop, index, slot);
    atomic_store_explicit(&host->pool->host_slots[slot], 0, memory_order_release);
    atomic_fetch_add_explicit(&host->n_run, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&host->marks, mark(index), memory_order_relaxed);
}

/* A host that leaves out a chunk, or runs one twice, would give wrong results without a word. */
static int run_on_host(struct sn_context *context, struct loop *loop)
{
    struct thread_pool *pool = context->pool;
    struct host_loop host = {.pool = pool, .loop = loop};
    uint64_t marks = 0;
    atomic_init(&host.n_run, 0);
    atomic_init(&host.marks, 0);
    pool->host(loop->n_chunks, host_body, &host, pool->host_payload);
    size_t n_run = atomic_load(&host.n_run);
    if (n_run != loop->n_chunks)
        return fail(context, SN_ERROR_STATE, "the host's parallel_for ran %zu bodies of %zu", n_run,
                    loop->n_chunks);
    for (size_t i = 0; i < loop->n_chunks; i++)
        marks += mark(i);
    if (marks != atomic_load(&host.marks))
        return fail(context, SN_ERROR_STATE,
                    "the host's parallel_for ran some of %zu bodies twice and left others out", n_run);
    return SN_OK;
}

int parallel_for(struct sn_context *context, size_t n_chunks, chunk_function function, void *payload)
{
    struct thread_pool *pool = context->pool;
    struct loop loop = {.function = function, .payload = payload, .n_chunks = n_chunks};
    loop.n_workers = parallel_workers(context);
    atomic_init(&loop.next, 0);
    atomic_init(&loop.first_failed, SIZE_MAX);
    atomic_init(&loop.status, SN_OK);
    pthread_mutex_init(&loop.failure_lock, NULL);
    int host_status = SN_OK;
    if (pool->host) {
        host_status = run_on_host(context, &loop);
    } else if (loop.n_workers > 1 && n_chunks > 1) {
        run_on_pool(pool, &loop);
    } else {
        run_loop(&loop, 0);
    }
    pthread_mutex_destroy(&loop.failure_lock);
    int status = atomic_load(&loop.status);
    if (status == SN_OK)
        return host_status;
    if (status == SN_ERROR_MEMORY)
        return fail_memory(context, "scratch of a worker", 0);
    return status;
}

size_t parallel_workers(const struct sn_context *context)
{
    const struct thread_pool *pool = context->pool;
    size_t n = pool->host ? pool->host_threads : pool->n_threads;
    return context->most_workers && context->most_workers < n ? context->most_workers : n;
}

size_t parallel_limit(struct sn_context *context, size_t most)
{
    size_t before = context->most_workers;
    context->most_workers = most;
    return before;
}
