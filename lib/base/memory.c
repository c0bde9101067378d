#include "base/memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

struct memory {
    sn_allocator host;
    atomic_size_t references;
    atomic_size_t current;
    atomic_size_t peak;
    atomic_size_t limit; /* of current; 0 = none */
};

static void *host_allocate(size_t size, void *payload)
{
    (void)payload;
    return malloc(size);
}

static void *host_reallocate(void *block, size_t old_size, size_t new_size, void *payload)
{
    (void)old_size;
    (void)payload;
    return realloc(block, new_size);
}

static void host_release(void *block, size_t size, void *payload)
{
    (void)size;
    (void)payload;
    free(block);
}

static const sn_allocator default_allocator = {host_allocate, host_reallocate, host_release, NULL};

struct memory *memory_create(const sn_allocator *allocator)
{
    const sn_allocator *host = allocator ? allocator : &default_allocator;
    struct memory *memory = host->allocate(sizeof *memory, host->payload);
    if (!memory)
        return NULL;
    memory->host = *host;
    atomic_init(&memory->references, 1);
    atomic_init(&memory->current, sizeof *memory);
    atomic_init(&memory->peak, sizeof *memory);
    atomic_init(&memory->limit, 0);
    return memory;
}

struct memory *memory_retain(struct memory *memory)
{
    atomic_fetch_add_explicit(&memory->references, 1, memory_order_relaxed);
    return memory;
}

void memory_release(struct memory *memory)
{
    if (!memory)
        return;
    if (atomic_fetch_sub_explicit(&memory->references, 1, memory_order_acq_rel) == 1) {
        sn_allocator host = memory->host;
        host.release(memory, sizeof *memory, host.payload);
    }
}

void memory_usage(const struct memory *memory, size_t *current, size_t *peak)
{
    if (current)
        *current = atomic_load_explicit(&memory->current, memory_order_relaxed);
    if (peak)
        *peak = atomic_load_explicit(&memory->peak, memory_order_relaxed);
}

void memory_set_limit(struct memory *memory, size_t limit)
{
    atomic_store_explicit(&memory->limit, limit, memory_order_relaxed);
}

size_t memory_limit(const struct memory *memory)
{
    return atomic_load_explicit(&memory->limit, memory_order_relaxed);
}

size_t memory_block_size(size_t size)
{
    return size + ALIGNMENT;
}

int size_product(size_t *out, size_t a, size_t b)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Counts `size` bytes that are about to be asked for; 0 where they would go beyond the limit. */
static int count_up(struct memory *memory, size_t size)
{
    size_t limit = memory_limit(memory);
    size_t now = atomic_fetch_add_explicit(&memory->current, size, memory_order_relaxed) + size;
    if (limit == 0 || now <= limit)
        return 1;
    atomic_fetch_sub_explicit(&memory->current, size, memory_order_relaxed);
    return 0;
}

static void count_down(struct memory *memory, size_t size)
{
    atomic_fetch_sub_explicit(&memory->current, size, memory_order_relaxed);
}

/* Only what was had is part of the peak. */
static void note_peak(struct memory *memory)
{
    size_t now = atomic_load_explicit(&memory->current, memory_order_relaxed);
    size_t peak = atomic_load_explicit(&memory->peak, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak_explicit(
                             &memory->peak, &peak, now, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* The host's allocation, counted. */
static unsigned char *take(struct memory *memory, size_t total)
{
    if (!count_up(memory, total))
        return NULL;
    unsigned char *raw = memory->host.allocate(total, memory->host.payload);
    if (raw)
        note_peak(memory);
    else
        count_down(memory, total);
    return raw;
}

/* The same from old_total to total bytes. */
static unsigned char *take_again(struct memory *memory, void *block, size_t old_total, size_t total)
{
    if (total > old_total && !count_up(memory, total - old_total))
        return NULL;
    unsigned char *raw = memory->host.reallocate(block, old_total, total, memory->host.payload);
    if (raw && total < old_total)
        count_down(memory, old_total - total);
    if (!raw && total > old_total)
        count_down(memory, total - old_total);
    if (raw)
        note_peak(memory);
    return raw;
}

/* The byte in front of an aligned block holds its distance from the host's block (1..64). */
void *memory_allocate(struct memory *memory, size_t size)
{
    if (size > SIZE_MAX - ALIGNMENT)
        return NULL;
    unsigned char *raw = take(memory, size + ALIGNMENT);
    if (!raw)
        return NULL;
    size_t distance = ALIGNMENT - (uintptr_t)raw % ALIGNMENT;
    raw[distance - 1] = (unsigned char)distance;
    return raw + distance;
}

void *memory_allocate_zeroed(struct memory *memory, size_t size)
{
    void *block = memory_allocate(memory, size);
    if (block)
        memset(block, 0, size);
    return block;
}

void *memory_allocate_array(struct memory *memory, size_t count, size_t size)
{
    size_t bytes;
    return size_product(&bytes, count, size) ? memory_allocate(memory, bytes) : NULL;
}

void *memory_allocate_zeroed_array(struct memory *memory, size_t count, size_t size)
{
    size_t bytes;
    return size_product(&bytes, count, size) ? memory_allocate_zeroed(memory, bytes) : NULL;
}

/* The host's block may land at another distance from alignment: the content then moves along. */
void *memory_resize(struct memory *memory, void *block, size_t old_size, size_t new_size)
{
    if (!block)
        return memory_allocate(memory, new_size);
    if (new_size > SIZE_MAX - ALIGNMENT)
        return NULL;
    unsigned char *aligned = block;
    size_t old_distance = aligned[-1];
    unsigned char *raw =
        take_again(memory, aligned - old_distance, old_size + ALIGNMENT, new_size + ALIGNMENT);
    if (!raw)
        return NULL;
    size_t distance = ALIGNMENT - (uintptr_t)raw % ALIGNMENT;
    if (distance != old_distance)
        memmove(raw + distance, raw + old_distance, old_size < new_size ? old_size : new_size);
    raw[distance - 1] = (unsigned char)distance;
    return raw + distance;
}

void memory_free(struct memory *memory, void *block, size_t size)
{
    if (!block)
        return;
    unsigned char *aligned = block;
    size_t total = size + ALIGNMENT;
    count_down(memory, total);
    memory->host.release(aligned - aligned[-1], total, memory->host.payload);
}

char *memory_copy_text(struct memory *memory, const char *text, size_t length)
{
    char *copy = length < SIZE_MAX ? memory_allocate(memory, length + 1) : NULL;
    if (!copy)
        return NULL;
    if (length)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}
