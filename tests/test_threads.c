/* Parallel loops: every chunk once, the same failure whatever the threads, float mode, fork, hosts. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/context.h"
#include "base/threads.h"
#include "fork_threads.h"
#include "host_mode.h"
#include "oom.h"
#include "thread_faults.h"

#define N_CHUNKS 1000

static const size_t thread_counts[] = {1, 2, 3, 8};
#define N_COUNTS (sizeof thread_counts / sizeof *thread_counts)

static sn_context *create(size_t n_threads)
{
    sn_context *context;
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    ck_assert_int_eq(sn_context_set_threads(context, n_threads), SN_OK);
    return context;
}

struct work {
    size_t n_workers;
    atomic_int runs[N_CHUNKS];
    atomic_int busy[MAX_WORKERS]; /* 1 while a chunk runs under this worker's number */
    atomic_int n_wrong;
    size_t fail_from, fail_every; /* chunks from here on, at this distance, fail with 100 + chunk */
};

static int run_chunk(void *payload, size_t chunk, size_t worker)
{
    struct work *work = payload;
    if (chunk >= N_CHUNKS || worker >= work->n_workers || atomic_exchange(&work->busy[worker], 1) != 0) {
        atomic_fetch_add(&work->n_wrong, 1);
        return SN_OK;
    }
    atomic_fetch_add(&work->runs[chunk], 1);
    volatile double x = 1;
    for (size_t i = 0; i < chunk % 50 * 20; i++)
        x = x * 1.0001;
    atomic_store(&work->busy[worker], 0);
    if (work->fail_every && chunk >= work->fail_from &&
        (chunk - work->fail_from) % work->fail_every == 0)
        return 100 + (int)chunk;
    return SN_OK;
}

static size_t chunks_not_run_once(const struct work *work, size_t first, size_t last)
{
    size_t n = 0;
    for (size_t i = first; i < last; i++)
        n += atomic_load(&work->runs[i]) != 1;
    return n;
}

/* Loops of all lengths on one context: every chunk once, worker numbers never shared. */
static void check_loops(sn_context *context, size_t n_workers)
{
    static const size_t lengths[] = {0, 1, 2, 3, 7, 64, N_CHUNKS};
    ck_assert_uint_eq(parallel_workers(context), n_workers);
    for (size_t round = 0; round < 30; round++) {
        size_t length = lengths[round % (sizeof lengths / sizeof *lengths)];
        struct work work = {.n_workers = n_workers};
        ck_assert_int_eq(parallel_for(context, length, run_chunk, &work), SN_OK);
        ck_assert_uint_eq(chunks_not_run_once(&work, 0, length), 0);
        for (size_t i = length; i < N_CHUNKS; i++)
            work.n_wrong += work.runs[i] != 0;
        ck_assert_int_eq(work.n_wrong, 0);
    }
}

START_TEST(every_chunk_runs_once)
{
    sn_context *context = create(thread_counts[_i]);
    check_loops(context, thread_counts[_i]);
    sn_context_free(context);
}
END_TEST

START_TEST(thread_count_may_change)
{
    sn_context *context = create(1);
    for (size_t i = 0; i < 12; i++) {
        size_t n = thread_counts[(i * 7) % N_COUNTS];
        ck_assert_int_eq(sn_context_set_threads(context, n), SN_OK);
        check_loops(context, n);
    }
    ck_assert_int_eq(sn_context_set_threads(context, 0), SN_ERROR_ARGUMENT);
    ck_assert_str_eq(sn_context_message(context), "n_threads is 0; it must be 1 .. 256");
    ck_assert_int_eq(sn_context_set_threads(context, 257), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_context_set_threads(context, 256), SN_OK);
    check_loops(context, 256);
    sn_context_free(context);
}
END_TEST

/* The lowest failed chunk decides, and all below it have run, on any number of threads. */
START_TEST(lowest_failure_is_returned)
{
    sn_context *context = create(thread_counts[_i]);
    for (size_t from = 0; from < N_CHUNKS; from += 111) {
        struct work work = {.n_workers = thread_counts[_i], .fail_from = from, .fail_every = 3};
        ck_assert_int_eq(parallel_for(context, N_CHUNKS, run_chunk, &work), 100 + (int)from);
        ck_assert_uint_eq(chunks_not_run_once(&work, 0, from + 1), 0);
        ck_assert_int_eq(work.n_wrong, 0);
    }
    struct work after = {.n_workers = thread_counts[_i]};
    ck_assert_int_eq(parallel_for(context, N_CHUNKS, run_chunk, &after), SN_OK);
    ck_assert_uint_eq(chunks_not_run_once(&after, 0, N_CHUNKS), 0);
    sn_context_free(context);
}
END_TEST

struct race {
    atomic_int n_started, n_failed;
};

static void wait_for(atomic_int *count, int wanted)
{
    for (int i = 0; i < 20000 && atomic_load(count) < wanted; i++)
        usleep(100);
}

/* All three begin before any fails; then chunk 1 fails, chunk 0 after it, chunk 2 last. */
static int fail_in_turn(void *payload, size_t chunk, size_t worker)
{
    static const int turn[3] = {1, 0, 2};
    struct race *race = payload;
    (void)worker;
    atomic_fetch_add(&race->n_started, 1);
    wait_for(&race->n_started, 3);
    wait_for(&race->n_failed, turn[chunk]);
    usleep(5000); /* the one before has returned and was recorded */
    atomic_fetch_add(&race->n_failed, 1);
    return 100 + (int)chunk;
}

START_TEST(lowest_failure_wins_whenever_it_comes)
{
    sn_context *context = create(3);
    for (int i = 0; i < 5; i++) {
        struct race race = {0};
        ck_assert_int_eq(parallel_for(context, 3, fail_in_turn, &race), 100);
        ck_assert_int_eq(race.n_failed, 3);
    }
    sn_context_free(context);
}
END_TEST

static int run_out_of_memory(void *payload, size_t chunk, size_t worker)
{
    (void)payload;
    (void)worker;
    return chunk == 5 ? SN_ERROR_MEMORY : SN_OK;
}

START_TEST(lack_of_memory_has_a_message)
{
    sn_context *context = create(2);
    ck_assert_int_eq(parallel_for(context, 10, run_out_of_memory, NULL), SN_ERROR_MEMORY);
    ck_assert_str_eq(sn_context_message(context), "out of memory: scratch of a worker");
    sn_context_free(context);
}
END_TEST

static int loop_in_context(sn_context *context, void *payload)
{
    (void)payload;
    struct work work = {.n_workers = 4};
    int status = parallel_for(context, N_CHUNKS, run_chunk, &work);
    ck_assert_uint_eq(chunks_not_run_once(&work, 0, N_CHUNKS), 0);
    return status;
}

/* A loop, and the threads that it begins, ask for no memory: all that there is belongs to the context. */
START_TEST(loops_need_no_memory)
{
    size_t before, after;
    sn_context *context = create(4);
    sn_context_memory(NULL, &before, context);
    ck_assert_int_eq(loop_in_context(context, NULL), SN_OK);
    sn_context_memory(NULL, &after, context);
    ck_assert_uint_eq(before, after);
    sn_context_free(context);
}
END_TEST

/* Threads that cannot be had make a loop slower, not wrong; later ones are begun when they can be. */
START_TEST(loops_survive_lack_of_threads)
{
    sn_context *context = create(4);
    for (size_t left = 0; left < 4; left++) {
        thread_faults_left = left;
        int status = loop_in_context(context, NULL);
        size_t not_begun = thread_faults_left;
        thread_faults_left = SIZE_MAX;
        ck_assert_int_eq(status, SN_OK);
        ck_assert_uint_eq(not_begun, left == 3 ? 3 : 0); /* 0 + 1 + 2 threads are all */
    }
    ck_assert_int_eq(loop_in_context(context, NULL), SN_OK);
    sn_context_free(context);
}
END_TEST

/* -------------------------------------------------------------- float mode */

#ifdef HOST_MODE
struct flush {
    atomic_int n_kept; /* denormals that were not flushed */
};

static int make_denormal(void *payload, size_t chunk, size_t worker)
{
    (void)chunk;
    (void)worker;
    volatile float small = 1e-30f, product = small * 1e-12f;
    if (product != 0)
        atomic_fetch_add(&((struct flush *)payload)->n_kept, 1);
    return SN_OK;
}

START_TEST(denormals_are_flushed_inside_only)
{
    unsigned mode = host_mode(), strange = mode | HOST_TOWARD_ZERO;
    sn_context *context = create(thread_counts[_i]);
    struct flush flush = {0};
    set_host_mode(strange);
    int status = parallel_for(context, 100, make_denormal, &flush);
    unsigned after = host_mode();
    set_host_mode(mode);
    ck_assert_int_eq(status, SN_OK);
    ck_assert_uint_eq(after, strange);
    ck_assert_int_eq(flush.n_kept, 0);
    volatile float small = 1e-30f, product = small * 1e-12f;
    ck_assert(product != 0);
    sn_context_free(context);
}
END_TEST
#endif

/* -------------------------------------------------------------------- fork */

static void in_child(void (*body)(sn_context *), sn_context *context)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        alarm(20);
        body(context);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %d", status);
}

static void loop_in_child(sn_context *context)
{
    struct work work = {.n_workers = 4};
    for (int round = 0; round < 20; round++) {
        memset(&work, 0, sizeof work);
        work.n_workers = 4;
        if (parallel_for(context, N_CHUNKS, run_chunk, &work) != SN_OK || work.n_wrong ||
            chunks_not_run_once(&work, 0, N_CHUNKS))
            _exit(1);
    }
    sn_context_free(context);
}

static void free_in_child(sn_context *context)
{
    sn_context_free(context);
}

static void change_in_child(sn_context *context)
{
    if (sn_context_set_threads(context, 3) != SN_OK)
        _exit(2);
    struct work work = {.n_workers = 3};
    if (parallel_for(context, N_CHUNKS, run_chunk, &work) != SN_OK || work.n_wrong)
        _exit(3);
    sn_context_free(context);
}

START_TEST(pool_survives_fork)
{
    sn_context *context = create(4);
    check_loops(context, 4); /* the pool is alive now */
    for (int i = 0; i < 5; i++) {
        in_child(loop_in_child, context);
        in_child(free_in_child, context);
        in_child(change_in_child, context);
        check_loops(context, 4);
    }
    sn_context_free(context);
}
END_TEST

/* -------------------------------------------------------------------- host */

struct host {
    size_t n_threads, skip, beyond;
    int twice; /* the first chunk once more for each that is skipped */
    void (*body)(void *payload, size_t index);
    void *body_payload;
    size_t n;
    atomic_size_t next;
};

static void *host_thread(void *payload)
{
    struct host *host = payload;
    for (size_t i; (i = atomic_fetch_add(&host->next, 1)) < host->n;)
        host->body(host->body_payload, host->n - 1 - i); /* any order must do */
    return NULL;
}

static void host_parallel_for(size_t n, void (*body)(void *payload, size_t index), void *body_payload,
                              void *payload)
{
    struct host *host = payload;
    pthread_t threads[16];
    host->n = n > host->skip ? n - host->skip : 0;
    host->body = body;
    host->body_payload = body_payload;
    atomic_store(&host->next, 0);
    for (size_t i = 0; i < host->n_threads; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, host_thread, host), 0);
    for (size_t i = 0; i < host->n_threads; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; host->twice && i < host->skip; i++)
        body(body_payload, 0);
    for (size_t i = 0; i < host->beyond; i++)
        body(body_payload, n + i);
}

START_TEST(loops_under_a_limit)
{
    sn_context *context = create(8);
    struct host host = {.n_threads = 8};
    check_loops(context, 8);
    ck_assert_uint_eq(parallel_limit(context, 3), 0);
    check_loops(context, 3);
    ck_assert_int_eq(sn_context_set_parallel_for(context, host_parallel_for, &host, 8), SN_OK);
    check_loops(context, 3);
    ck_assert_uint_eq(parallel_limit(context, 20), 3);
    check_loops(context, 8);
    ck_assert_uint_eq(parallel_limit(context, 0), 20);
    check_loops(context, 8);
    sn_context_free(context);
}
END_TEST

START_TEST(host_runs_the_chunks)
{
    sn_context *context = create(2);
    struct host host = {.n_threads = thread_counts[_i]};
    ck_assert_int_eq(sn_context_set_parallel_for(context, host_parallel_for, &host, host.n_threads),
                     SN_OK);
    check_loops(context, host.n_threads);
    struct work work = {.n_workers = host.n_threads, .fail_from = 10, .fail_every = 7};
    int status = parallel_for(context, N_CHUNKS, run_chunk, &work);
    ck_assert_int_eq((status - 110) % 7, 0); /* the host's order decides which of them ran */
    ck_assert_int_ge(status, 110);
    ck_assert_int_eq(sn_context_set_parallel_for(context, NULL, NULL, 0), SN_OK);
    check_loops(context, 2);
    sn_context_free(context);
}
END_TEST

/* More threads at once than the host announced: they take turns, numbers stay unshared. */
START_TEST(host_with_more_threads_than_announced)
{
    sn_context *context = create(1);
    struct host host = {.n_threads = 8};
    ck_assert_int_eq(sn_context_set_parallel_for(context, host_parallel_for, &host, 2), SN_OK);
    check_loops(context, 2);
    sn_context_free(context);
}
END_TEST

START_TEST(host_that_breaks_its_word)
{
    sn_context *context = create(1);
    struct host host = {.n_threads = 2, .skip = 3};
    ck_assert_int_eq(sn_context_set_parallel_for(context, host_parallel_for, &host, 2), SN_OK);
    struct work work = {.n_workers = 2};
    ck_assert_int_eq(parallel_for(context, N_CHUNKS, run_chunk, &work), SN_ERROR_STATE);
    ck_assert_str_eq(sn_context_message(context), "the host's parallel_for ran 997 bodies of 1000");
    host.twice = 1; /* one chunk again for each that is left out */
    ck_assert_int_eq(parallel_for(context, N_CHUNKS, run_chunk, &work), SN_ERROR_STATE);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "twice"));
    host.twice = 0;
    host.skip = 0;
    host.beyond = 2;
    struct work whole = {.n_workers = 2};
    ck_assert_int_eq(parallel_for(context, N_CHUNKS, run_chunk, &whole), SN_OK);
    ck_assert_int_eq(whole.n_wrong, 0);
    ck_assert_int_eq(sn_context_set_parallel_for(context, host_parallel_for, &host, 0),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_context_set_parallel_for(context, host_parallel_for, &host, 257),
                     SN_ERROR_ARGUMENT);
    sn_context_free(context);
}
END_TEST

/* ---------------------------------------------------------- the host's state */

struct masks {
    pthread_t host;
    atomic_int n_open; /* signals that a worker of ours would take */
    atomic_int n_workers;
};

static int look_at_mask(void *payload, size_t chunk, size_t worker)
{
    struct masks *masks = payload;
    (void)chunk;
    (void)worker;
    if (!pthread_equal(pthread_self(), masks->host)) {
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, NULL, &mask);
        atomic_fetch_add(&masks->n_open, !sigismember(&mask, SIGUSR1) + !sigismember(&mask, SIGTERM));
        atomic_fetch_add(&masks->n_workers, 1);
    }
    usleep(200);
    return SN_OK;
}

START_TEST(signals_stay_on_the_hosts_threads)
{
    struct masks masks = {.host = pthread_self()};
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    sn_context *context = create(4);
    for (int i = 0; i < 100 && masks.n_workers == 0; i++)
        ck_assert_int_eq(parallel_for(context, 40, look_at_mask, &masks), SN_OK);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int number = 1; number < SIGRTMAX; number++)
        ck_assert_int_eq(sigismember(&before, number), sigismember(&after, number));
    sn_context_free(context);
    ck_assert_int_gt(masks.n_workers, 0);
    ck_assert_int_eq(masks.n_open, 0);
}
END_TEST

static void *own_context(void *payload)
{
    (void)payload;
    sn_context *context;
    if (sn_context_create(&context, NULL) != SN_OK || sn_context_set_threads(context, 3) != SN_OK)
        return (void *)1;
    size_t n_wrong = 0;
    for (int i = 0; i < 50; i++) {
        struct work work = {.n_workers = 3};
        n_wrong += parallel_for(context, 100, run_chunk, &work) != SN_OK;
        n_wrong += (size_t)work.n_wrong + chunks_not_run_once(&work, 0, 100);
    }
    sn_context_free(context);
    return (void *)n_wrong;
}

START_TEST(contexts_are_independent)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, own_context, NULL), 0);
    for (int i = 0; i < 4; i++) {
        void *n_wrong;
        pthread_join(threads[i], &n_wrong);
        ck_assert_ptr_null(n_wrong);
    }
}
END_TEST

Suite *threads_suite(void);
Suite *threads_suite(void)
{
    Suite *suite = suite_create("threads");
    TCase *loops = tcase_create("loops"), *fork_case = tcase_create("fork"),
          *hosts = tcase_create("hosts");
    tcase_add_loop_test(loops, every_chunk_runs_once, 0, N_COUNTS);
    tcase_add_test(loops, thread_count_may_change);
    tcase_add_test(loops, loops_under_a_limit);
    tcase_add_loop_test(loops, lowest_failure_is_returned, 0, N_COUNTS);
    tcase_add_test(loops, lowest_failure_wins_whenever_it_comes);
    tcase_add_test(loops, lack_of_memory_has_a_message);
    tcase_add_test(loops, loops_need_no_memory);
    tcase_add_test(loops, loops_survive_lack_of_threads);
#ifdef HOST_MODE
    tcase_add_loop_test(loops, denormals_are_flushed_inside_only, 0, N_COUNTS);
#endif
    tcase_add_test(loops, contexts_are_independent);
    if (child_may_have_threads())
        tcase_add_test(fork_case, pool_survives_fork);
    tcase_add_test(fork_case, signals_stay_on_the_hosts_threads);
    tcase_add_loop_test(hosts, host_runs_the_chunks, 0, N_COUNTS);
    tcase_add_test(hosts, host_with_more_threads_than_announced);
    tcase_add_test(hosts, host_that_breaks_its_word);
    suite_add_tcase(suite, loops);
    suite_add_tcase(suite, fork_case);
    suite_add_tcase(suite, hosts);
    return suite;
}
