/* The one place through which every allocation of the library goes: fallible, 64-byte aligned,
 * told its old size when freed, counted. A `memory` is shared by a context and all objects made with
 * it; it is reference-counted and thread-safe. */
#ifndef SN_BASE_MEMORY_H
#define SN_BASE_MEMORY_H

#include <stddef.h>

#include "sparsenet.h"

struct memory;

struct memory *memory_create(const sn_allocator *allocator);
struct memory *memory_retain(struct memory *memory);
void memory_release(struct memory *memory);
/* What a block of `size` bytes counts for in memory_usage. */
size_t memory_block_size(size_t size);
void memory_usage(const struct memory *memory, size_t *current, size_t *peak);
/* What memory_usage may reach; an allocation beyond it fails. 0 = no limit. */
void memory_set_limit(struct memory *memory, size_t limit);
size_t memory_limit(const struct memory *memory);

/* NULL on failure. A size of 0 gives a valid block. */
void *memory_allocate(struct memory *memory, size_t size);
void *memory_allocate_zeroed(struct memory *memory, size_t size);
/* count x size with the product checked. */
void *memory_allocate_array(struct memory *memory, size_t count, size_t size);
void *memory_allocate_zeroed_array(struct memory *memory, size_t count, size_t size);
/* NULL on failure, and then the old block stands. block may be NULL with old_size 0. */
void *memory_resize(struct memory *memory, void *block, size_t old_size, size_t new_size);
/* block may be NULL. */
void memory_free(struct memory *memory, void *block, size_t size);
char *memory_copy_text(struct memory *memory, const char *text, size_t length); /* NUL added */

/* 1 and the product in *out, or 0 on overflow. */
int size_product(size_t *out, size_t a, size_t b);

#endif
