/* An allocator that fails at a chosen allocation, checks that every block comes back with its old size,
 * and counts what is left; and a loop that lets the first, second, third ... allocation fail until the
 * work succeeds, demanding a clean error each time. */
#ifndef SN_TESTS_OOM_H
#define SN_TESTS_OOM_H

#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "sparsenet.h"

#define OOM_MAGIC ((size_t)0x5EED0FB10C5)

struct oom_block { /* in front of each block; 16 bytes keep malloc's alignment */
    size_t size;
    size_t magic;
};

struct oom {
    atomic_size_t fail_at; /* the n-th allocation from now fails, and all later ones; 0 = none */
    atomic_int only_one;   /* all later ones succeed again */
    atomic_size_t n_allocations;
    atomic_size_t n_failed;
    atomic_size_t live_blocks;
    atomic_size_t live_bytes;
    atomic_size_t peak_bytes; /* the largest live_bytes that a call of ours left */
    atomic_size_t n_wrong;    /* blocks given back with another size than they had, or twice */
};

static inline int oom_refuses(struct oom *oom)
{
    size_t n = atomic_fetch_add(&oom->n_allocations, 1) + 1, fail_at = atomic_load(&oom->fail_at);
    if (fail_at == 0 || n < fail_at || (n > fail_at && atomic_load(&oom->only_one)))
        return 0;
    atomic_fetch_add(&oom->n_failed, 1);
    return 1;
}

static inline void oom_note_peak(struct oom *oom)
{
    size_t live = atomic_load(&oom->live_bytes), peak = atomic_load(&oom->peak_bytes);
    while (live > peak && !atomic_compare_exchange_weak(&oom->peak_bytes, &peak, live))
        ;
}

static inline void *oom_take(struct oom *oom, size_t size)
{
    if (oom_refuses(oom))
        return NULL;
    struct oom_block *block = malloc(sizeof *block + size);
    if (!block)
        return NULL;
    block->size = size;
    block->magic = OOM_MAGIC;
    atomic_fetch_add(&oom->live_blocks, 1);
    atomic_fetch_add(&oom->live_bytes, size);
    return block + 1;
}

static inline void *oom_allocate(size_t size, void *payload)
{
    void *bytes = oom_take(payload, size);
    oom_note_peak(payload);
    return bytes;
}

static inline void oom_release(void *bytes, size_t size, void *payload)
{
    struct oom *oom = payload;
    struct oom_block *block = (struct oom_block *)bytes - 1;
    if (block->magic != OOM_MAGIC || block->size != size) {
        atomic_fetch_add(&oom->n_wrong, 1);
        return;
    }
    block->magic = 0;
    atomic_fetch_sub(&oom->live_blocks, 1);
    atomic_fetch_sub(&oom->live_bytes, size);
    free(block);
}

/* Always moves, so that a stale pointer shows. */
static inline void *oom_reallocate(void *bytes, size_t old_size, size_t new_size, void *payload)
{
    void *bigger = oom_take(payload, new_size);
    if (!bigger)
        return NULL;
    for (size_t i = 0; i < old_size && i < new_size; i++)
        ((char *)bigger)[i] = ((const char *)bytes)[i];
    oom_release(bytes, old_size, payload);
    oom_note_peak(payload);
    return bigger;
}

static inline sn_allocator oom_allocator(struct oom *oom)
{
    sn_allocator allocator = {oom_allocate, oom_reallocate, oom_release, oom};
    return allocator;
}

/* Work under test: makes and frees its objects in `context`, returns a status. */
typedef int (*oom_attempt)(sn_context *context, void *payload);

static inline int oom_run(struct oom *oom, size_t fail_at, oom_attempt attempt, void *payload,
                          size_t n_threads)
{
    sn_allocator allocator = oom_allocator(oom);
    sn_context *context = NULL;
    ck_assert_int_eq(sn_context_create(&context, &allocator), SN_OK);
    ck_assert_int_eq(sn_context_set_threads(context, n_threads), SN_OK);
    atomic_store(&oom->n_allocations, 0);
    atomic_store(&oom->fail_at, fail_at);
    int status = attempt(context, payload);
    atomic_store(&oom->fail_at, 0);
    if (status != SN_OK)
        ck_assert_msg(sn_context_message(context)[0] != '\0', "status %d without a message", status);
    sn_context_free(context);
    return status;
}

/* Allows 0, 1, 2, ... allocations (in steps growing with `stride_share`: 0 = every one, 8 = by an
 * eighth) until the attempt succeeds without a refusal. Returns how many it needs. */
static inline size_t oom_loop(oom_attempt attempt, void *payload, size_t n_threads, size_t stride_share)
{
    for (size_t n = 1;; n += 1 + (stride_share ? n / stride_share : 0)) {
        struct oom oom = {0};
        int status = oom_run(&oom, n, attempt, payload, n_threads);
        size_t left = atomic_load(&oom.live_blocks);
        ck_assert_msg(left == 0, "allocation %zu refused: %zu blocks are left", n, left);
        ck_assert_msg(atomic_load(&oom.n_wrong) == 0, "allocation %zu refused: a wrong size at free", n);
        if (atomic_load(&oom.n_failed) == 0) {
            ck_assert_msg(status == SN_OK, "without a refusal the status is %d", status);
            return n - 1;
        }
        ck_assert_msg(status == SN_OK || status == SN_ERROR_MEMORY,
                      "allocation %zu refused: the status is %d", n, status);
    }
}

#endif
