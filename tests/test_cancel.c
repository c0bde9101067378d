/* Cancelling anywhere: every call that reports progress is stopped at each of its reports (in long
 * tests; else at some). It must say so, leave nothing behind and its objects as they were or a part of
 * the way on, and come to the same result when it is made again. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "calls.h"
#include "long.h"

#define SHORT_POINTS 12

struct stop {
    size_t at; /* the report that says stop; 0 = none */
    size_t n;  /* reports so far */
    size_t n_wrong;
};

static int count_and_stop(const char *stage, size_t done, size_t total, double value, void *payload)
{
    struct stop *stop = payload;
    (void)value;
    stop->n_wrong += !stage || !stage[0] || done > total;
    return ++stop->n == stop->at;
}

static uint64_t run_whole(const struct call *call, size_t *n_reports)
{
    static struct world world;
    struct stop stop = {0};
    world_create(&world, call);
    sn_context_set_progress(world.context, count_and_stop, &stop);
    int status = world_run(&world, call);
    ck_assert_msg(status == SN_OK, "%s: %s", call->symbol, sn_context_message(world.context));
    sn_context_set_progress(world.context, NULL, NULL);
    ck_assert_msg(stop.n_wrong == 0, "%s: a report without a stage, or with more done than there is",
                  call->symbol);
    uint64_t digest = world_digest(&world, call);
    world_free(&world);
    *n_reports = stop.n;
    return digest;
}

static void stop_at(const struct call *call, uint64_t digest, size_t at)
{
    static struct world world;
    struct stop stop = {.at = at};
    world_create(&world, call);
    uint64_t state = world_state(&world, call);
    size_t live = atomic_load(&world.oom.live_bytes);
    sn_context_set_progress(world.context, count_and_stop, &stop);
    int status = world_run(&world, call);
    sn_context_set_progress(world.context, NULL, NULL);
    ck_assert_msg(status == SN_ERROR_CANCELLED, "%s, stopped at report %zu: the status is %d",
                  call->symbol, at, status);
    ck_assert_msg(strstr(sn_context_message(world.context), "cancelled"), "%s: \"%s\"", call->symbol,
                  sn_context_message(world.context));
    ck_assert_msg(!world.made_kind || !world.made, "%s: an object is given in spite of it",
                  call->symbol);
    ck_assert_msg(stop.n == at, "%s: %zu reports after it was told to stop", call->symbol, stop.n - at);
    ck_assert_msg(call->flags & KEEPS_MEMORY || atomic_load(&world.oom.live_bytes) == live,
                  "%s, stopped at report %zu: memory is left", call->symbol, at);
    ck_assert_msg(call->flags & PARTLY_DONE || world_state(&world, call) == state,
                  "%s, stopped at report %zu: an object is not as it was", call->symbol, at);
    status = world_run(&world, call);
    ck_assert_msg(status == SN_OK || call->flags & PARTLY_DONE, "%s, made again: %s", call->symbol,
                  sn_context_message(world.context));
    ck_assert_msg(world_digest(&world, call) == digest, "%s, stopped at report %zu: another result",
                  call->symbol, at);
    world_free(&world);
}

START_TEST(every_call_can_be_stopped_anywhere)
{
    const struct call *call = call_at((size_t)_i);
    size_t n;
    uint64_t digest = run_whole(call, &n);
    ck_assert_msg((n > 0) == ((call->flags & CANCELS) != 0), "%s makes %zu reports", call->symbol, n);
    size_t n_points = long_tests() || n < SHORT_POINTS ? n : SHORT_POINTS;
    for (size_t i = 0; i < n_points; i++)
        stop_at(call, digest, n_points < 2 ? 1 : 1 + i * (n - 1) / (n_points - 1));
}
END_TEST

Suite *cancel_suite(void);
Suite *cancel_suite(void)
{
    Suite *suite = suite_create("cancel");
    TCase *calls = tcase_create("calls");
    tcase_add_unchecked_fixture(calls, worlds_prepare, worlds_remove);
    tcase_add_loop_test(calls, every_call_can_be_stopped_anywhere, 0, (int)call_count());
    suite_add_tcase(suite, calls);
    return suite;
}
