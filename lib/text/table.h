/* Hash tables of the tokenizer: byte strings with a number each, and pairs of token ids. */
#ifndef SN_TEXT_TABLE_H
#define SN_TEXT_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"

#define NOT_FOUND SIZE_MAX

/* Makes room for `needed` elements of `size` bytes, growing by half; 1 ok, 0 out of memory. */
int array_reserve(struct memory *memory, void **block, size_t *capacity, size_t needed, size_t size);

struct byte_entry {
    size_t offset, length; /* in the table's own bytes */
    uint64_t hash;
    int64_t value;
};

/* Byte strings in the order added, each once. */
struct byte_table {
    struct memory *memory;
    char *bytes;
    size_t n_bytes, bytes_capacity;
    struct byte_entry *entries;
    size_t n_entries, entry_capacity;
    uint32_t *slots; /* entry index + 1; 0 = free */
    size_t n_slots;  /* a power of two, at least twice n_entries */
};

void byte_table_init(struct byte_table *table, struct memory *memory);
void byte_table_free(struct byte_table *table);
/* Index of the entry, or NOT_FOUND. */
size_t byte_table_find(const struct byte_table *table, const char *bytes, size_t length);
size_t byte_table_find_hashed(const struct byte_table *table, const char *bytes, size_t length,
                              uint64_t hash);
/* Index of the present or new entry (value 0), or NOT_FOUND when out of memory. */
size_t byte_table_add(struct byte_table *table, const char *bytes, size_t length);
static inline const char *byte_table_bytes(const struct byte_table *table, size_t index)
{
    return table->bytes + table->entries[index].offset;
}

/* Pairs of ids -> one id. */
struct pair_table {
    struct memory *memory;
    uint64_t *keys; /* UINT64_MAX = free */
    int32_t *values;
    size_t n_pairs, n_slots; /* slots: a power of two, at least twice n_pairs */
};

void pair_table_init(struct pair_table *table, struct memory *memory);
void pair_table_free(struct pair_table *table);
int pair_table_set(struct pair_table *table, int32_t left, int32_t right, int32_t value); /* 1 ok */

static inline uint64_t hash_mix(uint64_t x)
{
    x *= 0x9E3779B97F4A7C15u;
    x ^= x >> 32;
    x *= 0xD1342543DE82EF95u;
    return x ^ (x >> 29);
}

static inline uint64_t hash_bytes(const char *bytes, size_t length)
{
    uint64_t hash = length, word;
    for (; length >= 8; length -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        hash = hash_mix(hash ^ word);
    }
    word = 0;
    for (size_t i = 0; i < length; i++)
        word |= (uint64_t)(unsigned char)bytes[i] << (8 * i);
    return hash_mix(hash ^ word);
}

static inline uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* -1 when absent. */
static inline int32_t pair_table_get(const struct pair_table *table, int32_t left, int32_t right)
{
    uint64_t key = pair_key(left, right);
    if (table->n_slots == 0)
        return -1;
    size_t mask = table->n_slots - 1, slot = (size_t)hash_mix(key) & mask;
    while (table->keys[slot] != UINT64_MAX) {
        if (table->keys[slot] == key)
            return table->values[slot];
        slot = (slot + 1) & mask;
    }
    return -1;
}

#endif
