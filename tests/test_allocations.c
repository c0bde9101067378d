/* Every public function without memory. The first, second, third ... allocation of each call is
 * refused, once with all that follow and once alone; the call must say so, leave nothing behind and its
 * objects as they were, and give the same result as ever when it is repeated. What is said to allocate
 * nothing must do so. Long: every allocation; else a number of them, spread over the call. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "long.h"

#define SHORT_POINTS 24

/* ------------------------------------------------------------- the list is whole */

static int find(const char *symbol)
{
    for (size_t i = 0; i < call_count(); i++)
        if (strcmp(call_at(i)->symbol, symbol) == 0)
            return (int)i;
    return -1;
}

START_TEST(every_public_function_has_a_call)
{
    FILE *file = fopen("tests/data/symbols.txt", "r");
    char symbol[128];
    size_t n = 0;
    ck_assert_ptr_nonnull(file);
    for (; fscanf(file, "%127s", symbol) == 1; n++)
        ck_assert_msg(find(symbol) >= 0, "%s has no call in tests/calls_*.c", symbol);
    fclose(file);
    ck_assert_uint_eq(n, call_count()); /* neither twice nor one that is no more */
}
END_TEST

/* -------------------------------------------------------------------- one call */

struct expected {
    uint64_t digest;
    size_t n_allocations;
};

/* What the context counts is what its host was asked for, to the byte. */
static void check_accounts(struct world *w, const struct call *call)
{
    size_t current, peak;
    sn_context_memory(&current, &peak, w->context);
    if (call->needs & B(CONTEXT) || call->flags & NO_MESSAGE) /* another context counts for itself */
        return;
    ck_assert_msg(current == atomic_load(&w->oom.live_bytes),
                  "%s: %zu bytes are said to be held, not %zu", call->symbol, current,
                  atomic_load(&w->oom.live_bytes));
    /* threads may be counted here and there in another order */
    ck_assert_msg(world_threads > 1 || peak == atomic_load(&w->oom.peak_bytes),
                  "%s: the peak is said to be %zu, not %zu", call->symbol, peak,
                  atomic_load(&w->oom.peak_bytes));
}

static struct expected run_undisturbed(const struct call *call)
{
    static struct world world;
    struct expected expected;
    world_create(&world, call);
    atomic_store(&world.oom.n_allocations, 0);
    int status = world_run(&world, call);
    expected.n_allocations = atomic_load(&world.oom.n_allocations);
    check_accounts(&world, call);
    ck_assert_msg(status == SN_OK, "%s: %s: %s", call->symbol, sn_status_string(status),
                  sn_context_message(world.context));
    expected.digest = world_digest(&world, call);
    world_free(&world);
    return expected;
}

/* A refusal that did not matter (a thread fewer, a slower way) is no failure: the result tells. */
static void check_refused(struct world *w, const struct call *call, int status, size_t live,
                          uint64_t state, const char *where)
{
    const char *name = call->symbol;
    ck_assert_msg(status == SN_ERROR_MEMORY, "%s, %s: the status is %d (%s)", name, where, status,
                  sn_context_message(w->context));
    ck_assert_msg(call->flags & NO_MESSAGE || strstr(sn_context_message(w->context), "memory"),
                  "%s, %s: the message is \"%s\"", name, where, sn_context_message(w->context));
    ck_assert_msg(!w->made_kind || !w->made, "%s, %s: an object is given in spite of it", name, where);
    ck_assert_msg(call->flags & (KEEPS_MEMORY | PARTLY_DONE) || atomic_load(&w->oom.live_bytes) == live,
                  "%s, %s: %zu bytes are left", name, where, atomic_load(&w->oom.live_bytes) - live);
    ck_assert_msg(call->flags & PARTLY_DONE || world_state(w, call) == state,
                  "%s, %s: an object is not as it was", name, where);
}

static void refuse(const struct call *call, const struct expected *expected, size_t n, int only_one)
{
    static struct world world;
    char where[64];
    snprintf(where, sizeof where, "allocation %zu of %zu refused%s", n, expected->n_allocations,
             only_one ? " alone" : "");
    world_create(&world, call);
    uint64_t state = world_state(&world, call);
    size_t live = atomic_load(&world.oom.live_bytes);
    atomic_store(&world.oom.n_allocations, 0);
    atomic_store(&world.oom.only_one, only_one);
    atomic_store(&world.oom.fail_at, n);
    int status = world_run(&world, call);
    atomic_store(&world.oom.fail_at, 0);
    ck_assert_msg(atomic_load(&world.oom.n_failed) > 0 || world_threads > 1, "%s, %s: it came to none",
                  call->symbol, where);
    if (status != SN_OK) {
        check_refused(&world, call, status, live, state, where);
        status = world_run(&world, call);
    }
    ck_assert_msg(status == SN_OK, "%s, %s: then, with memory: %s", call->symbol, where,
                  sn_context_message(world.context));
    ck_assert_msg(call->flags & APPENDS || world_digest(&world, call) == expected->digest,
                  "%s, %s: another result", call->symbol, where);
    if (call->flags & APPENDS)
        (void)world_digest(&world, call); /* frees what was made */
    world_free(&world);
}

/* The i-th of `n_points` allocations, spread over all from the first to the last. */
static size_t point(size_t i, size_t n_points, size_t n)
{
    return n_points < 2 ? 1 : 1 + i * (n - 1) / (n_points - 1);
}

static void check_nothing(const struct call *call, const struct expected *expected)
{
    static struct world world;
    ck_assert_msg(expected->n_allocations == 0, "%s makes %zu allocations", call->symbol,
                  expected->n_allocations);
    world_create(&world, call);
    atomic_store(&world.oom.n_allocations, 0);
    atomic_store(&world.oom.fail_at, 1);
    ck_assert_int_eq(world_run(&world, call), SN_OK);
    atomic_store(&world.oom.fail_at, 0);
    ck_assert_msg(world_digest(&world, call) == expected->digest, "%s: another result", call->symbol);
    world_free(&world);
}

START_TEST(every_call_survives_lack_of_memory)
{
    const struct call *call = call_at((size_t)_i);
    struct expected expected = run_undisturbed(call);
    size_t n = expected.n_allocations;
    if (call->flags & ALLOCATES_NOTHING) {
        check_nothing(call, &expected);
        return;
    }
    ck_assert_msg(n > 0, "%s is said to allocate", call->symbol);
    size_t n_points = long_tests() || n < SHORT_POINTS ? n : SHORT_POINTS;
    for (size_t i = 0; i < n_points; i++) {
        if (long_tests() || n < SHORT_POINTS || i % 2 == 0)
            refuse(call, &expected, point(i, n_points, n), 0);
        if (long_tests() || n < SHORT_POINTS || i % 2 == 1)
            refuse(call, &expected, point(i, n_points, n), 1);
    }
}
END_TEST

/* With helpers an allocation may be any thread's, and how many there are may differ from one run to the next. */
START_TEST(every_call_survives_it_on_several_threads)
{
    const struct call *call = call_at((size_t)_i);
    if (call->flags & (ALLOCATES_NOTHING | NO_MESSAGE)) /* NO_MESSAGE: a context is yet to be made */
        return;
    world_threads = 3;
    struct expected expected = run_undisturbed(call);
    size_t n = expected.n_allocations, n_points = long_tests() ? 4 * SHORT_POINTS : SHORT_POINTS / 6;
    for (size_t i = 0; i < n_points && i < n; i++)
        refuse(call, &expected, point(i, n_points < n ? n_points : n, n), (int)(i % 2));
    world_threads = 1;
}
END_TEST

/* -------------------------------------------------------------------- a limit */

/* Runs with the context's limit; returns the status and checks that the limit was kept. */
static int run_within(const struct call *call, size_t room, uint64_t *digest, size_t *most)
{
    static struct world world;
    size_t held, peak;
    world_create(&world, call);
    sn_context_memory(&held, NULL, world.context);
    atomic_store(&world.oom.peak_bytes, 0);
    ck_assert_int_eq(sn_context_set_memory_limit(world.context, held + room), SN_OK);
    int status = world_run(&world, call);
    ck_assert_int_eq(sn_context_set_memory_limit(world.context, 0), SN_OK);
    peak = atomic_load(&world.oom.peak_bytes);
    *most = peak > held ? peak - held : 0;
    ck_assert_msg(*most <= room, "%s: %zu bytes above the limit", call->symbol, *most - room);
    ck_assert_msg(status == SN_OK || (status == SN_ERROR_MEMORY &&
                                      strstr(sn_context_message(world.context), "the limit is")),
                  "%s, %zu bytes to have: %d, \"%s\"", call->symbol, room, status,
                  sn_context_message(world.context));
    if (status == SN_OK)
        *digest = world_digest(&world, call);
    world_free(&world);
    return status;
}

START_TEST(every_call_keeps_to_a_limit)
{
    const struct call *call = call_at((size_t)_i);
    uint64_t whole = 0, digest = 0;
    size_t needed, most;
    if (call->flags & NO_MESSAGE) /* a new context has no limit yet */
        return;
    ck_assert_int_eq(run_within(call, (size_t)1 << 40, &whole, &needed), SN_OK);
    ck_assert_int_eq(run_within(call, needed, &digest, &most), SN_OK);
    ck_assert_msg(most == needed && digest == whole, "%s: another result within a limit", call->symbol);
    if (needed == 0)
        return;
    for (size_t i = 0; i < 5; i++)
        if (run_within(call, i * (needed - 1) / 4, &digest, &most) == SN_OK)
            ck_assert_msg(digest == whole, "%s: another result with less memory", call->symbol);
}
END_TEST

Suite *allocations_suite(void);
Suite *allocations_suite(void)
{
    Suite *suite = suite_create("allocations");
    TCase *list = tcase_create("list"), *calls = tcase_create("calls");
    TCase *threads = tcase_create("threads"); /* what ThreadSanitizer looks at */
    tcase_add_test(list, every_public_function_has_a_call);
    tcase_add_unchecked_fixture(calls, worlds_prepare, worlds_remove);
    tcase_add_loop_test(calls, every_call_survives_lack_of_memory, 0, (int)call_count());
    tcase_add_loop_test(calls, every_call_keeps_to_a_limit, 0, (int)call_count());
    tcase_add_unchecked_fixture(threads, worlds_prepare, worlds_remove);
    tcase_add_loop_test(threads, every_call_survives_it_on_several_threads, 0, (int)call_count());
    suite_add_tcase(suite, list);
    suite_add_tcase(suite, calls);
    suite_add_tcase(suite, threads);
    return suite;
}
