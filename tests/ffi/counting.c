/* A host allocator that counts, for cases in languages that could not write one: its blocks come and go on any
 * thread. Built as a shared object beside the case. */
#include <stdatomic.h>
#include <stdlib.h>

#include <sparsenet.h>

static atomic_size_t live_bytes, live_blocks;

static void *allocate(size_t size, void *payload)
{
    void *block = malloc(size);
    (void)payload;
    if (block) {
        atomic_fetch_add(&live_bytes, size);
        atomic_fetch_add(&live_blocks, 1);
    }
    return block;
}

static void *reallocate(void *block, size_t old_size, size_t new_size, void *payload)
{
    void *moved = realloc(block, new_size);
    (void)payload;
    if (moved) {
        atomic_fetch_add(&live_bytes, new_size);
        atomic_fetch_sub(&live_bytes, old_size);
    }
    return moved;
}

static void release(void *block, size_t size, void *payload)
{
    (void)payload;
    free(block);
    atomic_fetch_sub(&live_bytes, size);
    atomic_fetch_sub(&live_blocks, 1);
}

extern sn_allocator counting_allocator;
sn_allocator counting_allocator = {allocate, reallocate, release, NULL};

size_t counting_live_bytes(void);
size_t counting_live_bytes(void)
{
    return atomic_load(&live_bytes);
}

size_t counting_live_blocks(void);
size_t counting_live_blocks(void)
{
    return atomic_load(&live_blocks);
}
