/* A zip archive in memory, as torch.save or another writer makes it, whose fields a test may then spoil. */
#ifndef SN_TESTS_ZIP_WRITER_H
#define SN_TESTS_ZIP_WRITER_H

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"

#define ZIP_WRITER_ENTRIES 32

struct zip_writer {
    unsigned char *bytes;
    size_t size, capacity;
    struct {
        char name[80];
        size_t local, size; /* where the local header stands; bytes of data */
        uint32_t checksum;
    } entries[ZIP_WRITER_ENTRIES];
    size_t n_entries;
    size_t central[ZIP_WRITER_ENTRIES]; /* where the records of the directory stand */
    size_t directory, end64, locator, end;
    int sizes_behind; /* set before adding: local headers without sizes, data descriptors */
    int zip64_fields; /* set before finishing: sizes and offsets of entries in extra fields */
};

static inline void zip_writer_free(struct zip_writer *zip)
{
    free(zip->bytes);
    memset(zip, 0, sizeof *zip);
}

static inline void zip_writer_put(struct zip_writer *zip, const void *bytes, size_t size)
{
    if (zip->size + size > zip->capacity) {
        zip->capacity = 2 * (zip->size + size);
        zip->bytes = realloc(zip->bytes, zip->capacity);
        ck_assert_ptr_nonnull(zip->bytes);
    }
    if (size)
        memcpy(zip->bytes + zip->size, bytes, size);
    zip->size += size;
}

static inline void zip_writer_number(struct zip_writer *zip, uint64_t value, size_t size)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    zip_writer_put(zip, bytes, size);
}

/* Overwrites `size` bytes at `at`. */
static inline void zip_writer_patch(struct zip_writer *zip, size_t at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        zip->bytes[at + i] = (unsigned char)(value >> 8 * i);
}

static inline void zip_writer_add(struct zip_writer *zip, const char *name, const void *bytes,
                                  size_t size)
{
    ck_assert_uint_lt(zip->n_entries, ZIP_WRITER_ENTRIES);
    const size_t i = zip->n_entries++, n = strlen(name);
    memcpy(zip->entries[i].name, name, n + 1);
    zip->entries[i].local = zip->size;
    zip->entries[i].size = size;
    zip->entries[i].checksum = checksum_update(0, bytes, size);
    const int bare = zip->sizes_behind;
    zip_writer_number(zip, 0x04034b50, 4);
    zip_writer_number(zip, 20, 2);
    zip_writer_number(zip, bare ? 0x808 : 0x800, 2);
    zip_writer_number(zip, 0, 6); /* stored, time, date */
    zip_writer_number(zip, bare ? 0 : zip->entries[i].checksum, 4);
    zip_writer_number(zip, bare ? 0 : size, 4);
    zip_writer_number(zip, bare ? 0 : size, 4);
    zip_writer_number(zip, n, 2);
    zip_writer_number(zip, 8, 2);
    zip_writer_put(zip, name, n);
    zip_writer_put(zip, "FB\4\0ZZZZ", 8); /* padding, as torch writes it */
    zip_writer_put(zip, bytes, size);
    if (bare) {
        zip_writer_number(zip, 0x08074b50, 4);
        zip_writer_number(zip, zip->entries[i].checksum, 4);
        zip_writer_number(zip, size, 4);
        zip_writer_number(zip, size, 4);
    }
}

static inline void zip_writer_record(struct zip_writer *zip, size_t i)
{
    const size_t n = strlen(zip->entries[i].name);
    const int wide = zip->zip64_fields;
    const uint64_t size = wide ? 0xFFFFFFFF : zip->entries[i].size;
    zip->central[i] = zip->size;
    zip_writer_number(zip, 0x02014b50, 4);
    zip_writer_number(zip, 20, 2);
    zip_writer_number(zip, 20, 2);
    zip_writer_number(zip, zip->sizes_behind ? 0x808 : 0x800, 2);
    zip_writer_number(zip, 0, 6);
    zip_writer_number(zip, zip->entries[i].checksum, 4);
    zip_writer_number(zip, size, 4);
    zip_writer_number(zip, size, 4);
    zip_writer_number(zip, n, 2);
    zip_writer_number(zip, wide ? 34 : 0, 2);
    zip_writer_number(zip, 0, 2); /* comment */
    zip_writer_number(zip, 0, 2); /* disk */
    zip_writer_number(zip, 0, 6); /* attributes */
    zip_writer_number(zip, wide ? 0xFFFFFFFF : zip->entries[i].local, 4);
    zip_writer_put(zip, zip->entries[i].name, n);
    if (!wide)
        return;
    zip_writer_number(zip, 0x5455, 2); /* another field in front */
    zip_writer_number(zip, 2, 2);
    zip_writer_number(zip, 0, 2);
    zip_writer_number(zip, 1, 2);
    zip_writer_number(zip, 24, 2);
    zip_writer_number(zip, zip->entries[i].size, 8);
    zip_writer_number(zip, zip->entries[i].size, 8);
    zip_writer_number(zip, zip->entries[i].local, 8);
}

static inline void zip_writer_end64(struct zip_writer *zip, size_t size)
{
    zip->end64 = zip->size;
    zip_writer_number(zip, 0x06064b50, 4);
    zip_writer_number(zip, 44, 8);
    zip_writer_number(zip, 45, 2);
    zip_writer_number(zip, 45, 2);
    zip_writer_number(zip, 0, 8); /* disks */
    zip_writer_number(zip, zip->n_entries, 8);
    zip_writer_number(zip, zip->n_entries, 8);
    zip_writer_number(zip, size, 8);
    zip_writer_number(zip, zip->directory, 8);
    zip->locator = zip->size;
    zip_writer_number(zip, 0x07064b50, 4);
    zip_writer_number(zip, 0, 4);
    zip_writer_number(zip, zip->end64, 8);
    zip_writer_number(zip, 1, 4);
}

/* The directory and its end; comment: of the archive. */
static inline void zip_writer_finish(struct zip_writer *zip, int zip64, const char *comment)
{
    zip->directory = zip->size;
    for (size_t i = 0; i < zip->n_entries; i++)
        zip_writer_record(zip, i);
    const size_t size = zip->size - zip->directory;
    if (zip64)
        zip_writer_end64(zip, size);
    zip->end = zip->size;
    zip_writer_number(zip, 0x06054b50, 4);
    zip_writer_number(zip, 0, 4);
    zip_writer_number(zip, zip64 ? 0xFFFF : zip->n_entries, 2);
    zip_writer_number(zip, zip64 ? 0xFFFF : zip->n_entries, 2);
    zip_writer_number(zip, zip64 ? 0xFFFFFFFF : size, 4);
    zip_writer_number(zip, zip64 ? 0xFFFFFFFF : zip->directory, 4);
    zip_writer_number(zip, strlen(comment), 2);
    zip_writer_put(zip, comment, strlen(comment));
}

#endif
