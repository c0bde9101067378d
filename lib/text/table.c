#include "text/table.h"

int array_reserve(struct memory *memory, void **block, size_t *capacity, size_t needed, size_t size)
{
    if (needed <= *capacity)
        return 1;
    size_t wanted = *capacity + *capacity / 2, bytes;
    if (wanted < needed)
        wanted = needed;
    if (wanted < 16)
        wanted = 16;
    if (!size_product(&bytes, wanted, size))
        return 0;
    void *grown = memory_resize(memory, *block, *capacity * size, bytes);
    if (!grown)
        return 0;
    *block = grown;
    *capacity = wanted;
    return 1;
}

void byte_table_init(struct byte_table *table, struct memory *memory)
{
    *table = (struct byte_table){.memory = memory};
}

void byte_table_free(struct byte_table *table)
{
    memory_free(table->memory, table->bytes, table->bytes_capacity);
    memory_free(table->memory, table->entries, table->entry_capacity * sizeof *table->entries);
    memory_free(table->memory, table->slots, table->n_slots * sizeof *table->slots);
    byte_table_init(table, table->memory);
}

size_t byte_table_find_hashed(const struct byte_table *table, const char *bytes, size_t length,
                              uint64_t hash)
{
    if (table->n_slots == 0)
        return NOT_FOUND;
    size_t mask = table->n_slots - 1;
    for (size_t slot = (size_t)hash & mask; table->slots[slot]; slot = (slot + 1) & mask) {
        const struct byte_entry *entry = &table->entries[table->slots[slot] - 1];
        if (entry->hash == hash && entry->length == length &&
            memcmp(table->bytes + entry->offset, bytes, length) == 0)
            return table->slots[slot] - 1;
    }
    return NOT_FOUND;
}

size_t byte_table_find(const struct byte_table *table, const char *bytes, size_t length)
{
    return byte_table_find_hashed(table, bytes, length, hash_bytes(bytes, length));
}

static void take_slot(uint32_t *slots, size_t n_slots, uint64_t hash, size_t index)
{
    size_t slot = (size_t)hash & (n_slots - 1);
    while (slots[slot])
        slot = (slot + 1) & (n_slots - 1);
    slots[slot] = (uint32_t)(index + 1);
}

static int grow_slots(struct byte_table *table)
{
    if (2 * (table->n_entries + 1) <= table->n_slots)
        return 1;
    size_t n_slots = table->n_slots ? 2 * table->n_slots : 64;
    uint32_t *slots = memory_allocate_zeroed_array(table->memory, n_slots, sizeof *slots);
    if (!slots)
        return 0;
    for (size_t i = 0; i < table->n_entries; i++)
        take_slot(slots, n_slots, table->entries[i].hash, i);
    memory_free(table->memory, table->slots, table->n_slots * sizeof *table->slots);
    table->slots = slots;
    table->n_slots = n_slots;
    return 1;
}

size_t byte_table_add(struct byte_table *table, const char *bytes, size_t length)
{
    uint64_t hash = hash_bytes(bytes, length);
    size_t index = byte_table_find_hashed(table, bytes, length, hash);
    if (index != NOT_FOUND)
        return index;
    index = table->n_entries;
    if (index >= UINT32_MAX || length > SIZE_MAX - table->n_bytes || !grow_slots(table) ||
        !array_reserve(table->memory, (void **)&table->bytes, &table->bytes_capacity,
                       table->n_bytes + length, 1) ||
        !array_reserve(table->memory, (void **)&table->entries, &table->entry_capacity, index + 1,
                       sizeof *table->entries))
        return NOT_FOUND;
    memcpy(table->bytes + table->n_bytes, bytes, length);
    table->entries[index] = (struct byte_entry){table->n_bytes, length, hash, 0};
    table->n_bytes += length;
    take_slot(table->slots, table->n_slots, hash, index);
    return table->n_entries++;
}

void pair_table_init(struct pair_table *table, struct memory *memory)
{
    *table = (struct pair_table){.memory = memory};
}

void pair_table_free(struct pair_table *table)
{
    memory_free(table->memory, table->keys, table->n_slots * sizeof *table->keys);
    memory_free(table->memory, table->values, table->n_slots * sizeof *table->values);
    pair_table_init(table, table->memory);
}

static size_t pair_slot(const struct pair_table *table, uint64_t key)
{
    size_t mask = table->n_slots - 1, slot = (size_t)hash_mix(key) & mask;
    while (table->keys[slot] != UINT64_MAX && table->keys[slot] != key)
        slot = (slot + 1) & mask;
    return slot;
}

static int grow_pairs(struct pair_table *table)
{
    struct pair_table old = *table;
    table->n_slots = old.n_slots ? 2 * old.n_slots : 64;
    table->keys = memory_allocate_array(table->memory, table->n_slots, sizeof *table->keys);
    table->values = memory_allocate_array(table->memory, table->n_slots, sizeof *table->values);
    if (!table->keys || !table->values) {
        memory_free(table->memory, table->keys, table->n_slots * sizeof *table->keys);
        memory_free(table->memory, table->values, table->n_slots * sizeof *table->values);
        *table = old;
        return 0;
    }
    memset(table->keys, 0xFF, table->n_slots * sizeof *table->keys);
    for (size_t i = 0; i < old.n_slots; i++) {
        if (old.keys[i] == UINT64_MAX)
            continue;
        size_t slot = pair_slot(table, old.keys[i]);
        table->keys[slot] = old.keys[i];
        table->values[slot] = old.values[i];
    }
    pair_table_free(&old);
    return 1;
}

int pair_table_set(struct pair_table *table, int32_t left, int32_t right, int32_t value)
{
    if (2 * (table->n_pairs + 1) > table->n_slots && !grow_pairs(table))
        return 0;
    uint64_t key = pair_key(left, right);
    size_t slot = pair_slot(table, key);
    table->n_pairs += table->keys[slot] == UINT64_MAX;
    table->keys[slot] = key;
    table->values[slot] = value;
    return 1;
}
