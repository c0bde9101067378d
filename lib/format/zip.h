/* Reading zip archives whose entries are stored, as torch.save writes them (zip64 too). The central directory
 * is the truth, and every local header must agree with it. Compressed and encrypted entries, several disks,
 * names that stand twice, entries that overlap or leave the file are refused. Data are read in pieces; names
 * are compared as text and never reach the file system. */
#ifndef SN_FORMAT_ZIP_H
#define SN_FORMAT_ZIP_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"

#define ZIP_MAX_DIRECTORY ((size_t)64 << 20) /* bytes of the central directory */

struct zip_entry {
    const char *name; /* UTF-8 without control characters; lent by the archive */
    uint64_t offset;  /* of the first byte of data in the file */
    uint64_t size;
    uint32_t checksum; /* CRC-32 that the archive states */
};

struct zip {
    struct memory *memory;
    struct file_reader file;
    unsigned char *directory; /* the central directory; names stand in it */
    size_t n_directory;
    struct zip_entry *entries; /* ascending by name */
    size_t n_entries, n_allocated;
};

/* `path` is lent until the close. Errors: SN_ERROR_IO, SN_ERROR_FORMAT, SN_ERROR_UNSUPPORTED (compressed,
 * encrypted, several disks), SN_ERROR_MEMORY. */
int zip_open(struct zip *zip, struct sn_context *context, const char *path);
/* A no-op on a zeroed struct and after a failed open. */
void zip_close(struct zip *zip);
/* NULL when there is none. */
const struct zip_entry *zip_find(const struct zip *zip, const char *name);
/* `size` bytes at `offset` of the entry's data. */
int zip_read(void *bytes, struct zip *zip, struct sn_context *context, const struct zip_entry *entry,
             uint64_t offset, size_t size);
/* The whole entry in a block of entry->size bytes, its checksum compared; larger than `limit` is refused. */
int zip_read_whole(unsigned char **bytes, struct zip *zip, struct sn_context *context,
                   const struct zip_entry *entry, size_t limit);

#endif
