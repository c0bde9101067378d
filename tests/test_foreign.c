/* Memory that jansson, libxsmm and the C library take for themselves. This file replaces malloc in the test
 * program; while a call of the library runs, the n-th allocation that is not ours fails. The call must then say
 * that memory lacked or do without it with the same result, leave nothing behind, and go on as ever. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "long.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#if defined(__GLIBC__) && !defined(SANITIZED) /* sanitizers have a malloc of their own */
#define REPLACED 1
#else
#define REPLACED 0
#endif

static _Thread_local int ours; /* above 0 inside the host allocator of a world */
static int armed;
static size_t n_foreign, fail_at; /* allocations since armed; that one fails, and the later ones */
static int only_one;              /* the later ones do not */
static long n_live;               /* foreign blocks */

static sn_allocator marked_allocator(struct oom *oom);

#if REPLACED
#define OUTWARD __attribute__((visibility("default"))) /* shared libraries are to find them */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

static int refuses(void)
{
    if (ours || !armed)
        return 0;
    if (++n_foreign < fail_at || fail_at == 0 || (only_one && n_foreign > fail_at))
        return 0;
    errno = ENOMEM;
    return 1;
}

static void *count(void *block)
{
    if (block && !ours)
        __atomic_fetch_add(&n_live, 1, __ATOMIC_RELAXED);
    return block;
}

OUTWARD void *malloc(size_t size)
{
    return refuses() ? NULL : count(__libc_malloc(size));
}

OUTWARD void *calloc(size_t n, size_t size)
{
    return refuses() ? NULL : count(__libc_calloc(n, size));
}

OUTWARD void *realloc(void *block, size_t size)
{
    if (refuses())
        return NULL;
    void *moved = __libc_realloc(block, size);
    return block ? moved : count(moved);
}

OUTWARD void free(void *block)
{
    if (block && !ours)
        __atomic_fetch_sub(&n_live, 1, __ATOMIC_RELAXED);
    __libc_free(block);
}
#endif

static void *allocate(size_t size, void *payload)
{
    ours++;
    void *block = oom_allocate(size, payload);
    ours--;
    return block;
}

static void *reallocate(void *block, size_t old_size, size_t new_size, void *payload)
{
    ours++;
    void *moved = oom_reallocate(block, old_size, new_size, payload);
    ours--;
    return moved;
}

static void release(void *block, size_t size, void *payload)
{
    ours++;
    oom_release(block, size, payload);
    ours--;
}

static sn_allocator marked_allocator(struct oom *oom)
{
    sn_allocator allocator = {allocate, reallocate, release, oom};
    return allocator;
}

static void prepare(void)
{
    world_allocator = marked_allocator;
    worlds_prepare();
}

/* One run, its n-th foreign allocation refused (0 = none). Returns its status, and that of another run. */
static int run(const struct call *call, size_t n, uint64_t *digest)
{
    static struct world world;
    world_create(&world, call);
    size_t live = atomic_load(&world.oom.live_bytes);
    n_foreign = 0;
    fail_at = n;
    armed = 1;
    int status = world_run(&world, call);
    armed = 0;
    if (status != SN_OK) {
        const char *message = sn_context_message(world.context);
        ck_assert_msg(status == SN_ERROR_MEMORY, "%s, foreign allocation %zu refused: %s (%s)",
                      call->symbol, n, sn_status_string(status), message);
        ck_assert_msg(strstr(message, "memory"), "%s, foreign allocation %zu refused: \"%s\"",
                      call->symbol, n, message);
        ck_assert_msg(!world.made_kind || !world.made, "%s: an object is given", call->symbol);
        ck_assert_msg(call->flags & (KEEPS_MEMORY | PARTLY_DONE) ||
                          atomic_load(&world.oom.live_bytes) == live,
                      "%s, foreign allocation %zu refused: memory is left", call->symbol, n);
        ck_assert_msg(world_run(&world, call) == SN_OK, "%s, then with memory: %s", call->symbol,
                      sn_context_message(world.context));
    }
    *digest = world_digest(&world, call);
    world_free(&world);
    return status;
}

START_TEST(every_call_survives_others_lack_of_memory)
{
    const struct call *call = call_at((size_t)_i);
    uint64_t expected, digest;
    run(call, 0, &expected); /* once, for what is kept for ever: kernels that were compiled */
    run(call, 0, &expected);
    size_t n = n_foreign, n_points = long_tests() || n < 24 ? n : 24, rounds = long_tests() ? 2 : 1;
    for (size_t i = 0; i < rounds * n_points; i++) {
        size_t at = n_points < 2 ? 1 : 1 + i % n_points * (n - 1) / (n_points - 1);
        long before = n_live;
        only_one = long_tests() ? i >= n_points : i % 2;
        run(call, at, &digest);
        ck_assert_msg(digest == expected, "%s, foreign allocation %zu of %zu refused: another result",
                      call->symbol, at, n);
        ck_assert_msg(n_live <= before, "%s, foreign allocation %zu of %zu refused: %ld blocks are left",
                      call->symbol, at, n, n_live - before);
    }
}
END_TEST

/* Or nothing above would have been tested. */
START_TEST(json_takes_memory_of_its_own)
{
    uint64_t digest;
    size_t n_calls = 0;
    for (size_t i = 0; i < call_count(); i++) {
        run(call_at(i), 0, &digest);
        n_calls += n_foreign > 0;
    }
    ck_assert_uint_ge(n_calls, 5);
}
END_TEST

Suite *foreign_suite(void);
Suite *foreign_suite(void)
{
    Suite *suite = suite_create("foreign");
    TCase *calls = tcase_create("calls");
    tcase_add_unchecked_fixture(calls, prepare, worlds_remove);
    if (REPLACED) {
        tcase_add_loop_test(calls, every_call_survives_others_lack_of_memory, 0, (int)call_count());
        tcase_add_test(calls, json_takes_memory_of_its_own);
    }
    suite_add_tcase(suite, calls);
    return suite;
}
