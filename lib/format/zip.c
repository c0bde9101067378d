#include "format/zip.h"

#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/utf8.h"

/* Fixed parts of the records, their signatures (APPNOTE 6.3 of the format). */
#define END_BYTES 22
#define END_SIGNATURE 0x06054b50u
#define END64_BYTES 56
#define END64_SIGNATURE 0x06064b50u
#define LOCATOR_BYTES 20
#define LOCATOR_SIGNATURE 0x07064b50u
#define CENTRAL_BYTES 46
#define CENTRAL_SIGNATURE 0x02014b50u
#define LOCAL_BYTES 30
#define LOCAL_SIGNATURE 0x04034b50u
#define MAX_COMMENT 65535

#define FLAG_ENCRYPTED 0x0001u
#define FLAG_SIZES_BEHIND 0x0008u
#define FLAG_STRONG 0x0040u
#define FLAG_MASKED 0x2000u

/* A 16- or 32-bit field that says: look in the zip64 record. */
#define IN_ZIP64_16 0xFFFFu
#define IN_ZIP64_32 0xFFFFFFFFu

static uint64_t little(const unsigned char *bytes, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i > 0; i--)
        value = value << 8 | bytes[i - 1];
    return value;
}

static uint32_t little16(const unsigned char *bytes)
{
    return (uint32_t)little(bytes, 2);
}

static uint32_t little32(const unsigned char *bytes)
{
    return (uint32_t)little(bytes, 4);
}

/* ---- where the central directory stands */

struct directory {
    uint64_t offset, size, count;
    uint64_t end; /* where the records behind it begin */
};

/* The last record of the file: its comment reaches exactly to the end. *at is its place. */
static int find_end(unsigned char end[END_BYTES], uint64_t *at, struct zip *zip,
                    struct sn_context *context)
{
    const uint64_t size = zip->file.size;
    const size_t n = size < MAX_COMMENT + END_BYTES ? (size_t)size : MAX_COMMENT + END_BYTES;
    unsigned char *tail = memory_allocate(zip->memory, n);
    if (!tail)
        return fail_memory(context, "the end of a zip file", n);
    int found = 0, status = file_read_at(&zip->file, context, size - n, tail, n);
    for (size_t i = n < END_BYTES ? 0 : n - END_BYTES + 1; i > 0 && status == SN_OK && !found; i--) {
        const unsigned char *record = tail + i - 1;
        if (little32(record) != END_SIGNATURE || little16(record + 20) != n - (i - 1) - END_BYTES)
            continue;
        memcpy(end, record, END_BYTES);
        *at = size - n + i - 1;
        found = 1;
    }
    memory_free(zip->memory, tail, n);
    if (status == SN_OK && !found)
        status = fail(context, SN_ERROR_FORMAT, "%s: no zip file, or cut short: it has no end record",
                      zip->file.path);
    return status;
}

/* A field of the end record is the zip64 record's, or says that it stands there. */
static int agrees(uint64_t here, uint64_t elsewhere, uint64_t there)
{
    return here == there || here == elsewhere;
}

static int read_end64(struct directory *directory, struct zip *zip, struct sn_context *context,
                      const unsigned char *end, const unsigned char *locator, uint64_t locator_at)
{
    unsigned char record[END64_BYTES];
    const char *path = zip->file.path;
    const uint64_t at = little(locator + 8, 8);
    if (little32(locator + 4) != 0 || little32(locator + 16) > 1)
        return fail(context, SN_ERROR_UNSUPPORTED, "%s: a zip file on several disks", path);
    if (locator_at < END64_BYTES || at > locator_at - END64_BYTES)
        return fail(context, SN_ERROR_FORMAT, "%s: the zip64 end record cannot stand at byte %llu", path,
                    (unsigned long long)at);
    int status = file_read_at(&zip->file, context, at, record, sizeof record);
    if (status != SN_OK)
        return status;
    if (little32(record) != END64_SIGNATURE || little(record + 4, 8) != locator_at - at - 12)
        return fail(context, SN_ERROR_FORMAT, "%s: there is no zip64 end record at byte %llu", path,
                    (unsigned long long)at);
    directory->count = little(record + 32, 8);
    directory->size = little(record + 40, 8);
    directory->offset = little(record + 48, 8);
    directory->end = at;
    if (little32(record + 16) != 0 || little32(record + 20) != 0 ||
        little(record + 24, 8) != directory->count)
        return fail(context, SN_ERROR_UNSUPPORTED, "%s: a zip file on several disks", path);
    if (!agrees(little16(end + 10), IN_ZIP64_16, directory->count) ||
        !agrees(little32(end + 12), IN_ZIP64_32, directory->size) ||
        !agrees(little32(end + 16), IN_ZIP64_32, directory->offset))
        return fail(context, SN_ERROR_FORMAT, "%s: the two end records of the zip file disagree", path);
    return SN_OK;
}

static int locate_directory(struct directory *directory, struct zip *zip, struct sn_context *context)
{
    unsigned char end[END_BYTES], locator[LOCATOR_BYTES] = {0};
    uint64_t at = 0;
    int status = find_end(end, &at, zip, context);
    if (status == SN_OK && at >= LOCATOR_BYTES)
        status = file_read_at(&zip->file, context, at - LOCATOR_BYTES, locator, sizeof locator);
    if (status != SN_OK)
        return status;
    if (little32(locator) == LOCATOR_SIGNATURE) {
        status = read_end64(directory, zip, context, end, locator, at - LOCATOR_BYTES);
    } else {
        directory->count = little16(end + 10);
        directory->size = little32(end + 12);
        directory->offset = little32(end + 16);
        directory->end = at;
        if (little16(end + 4) != 0 || little16(end + 6) != 0 || little16(end + 8) != directory->count)
            status =
                fail(context, SN_ERROR_UNSUPPORTED, "%s: a zip file on several disks", zip->file.path);
    }
    return status;
}

/* ---- entries */

static int fail_entry(struct sn_context *context, const struct zip *zip, const char *name, int status,
                      const char *what)
{
    return fail(context, status, "%s: entry %.200s %s", zip->file.path, name, what);
}

/* Fields that stand in the zip64 extra field, in this order, as far as the record says so. */
static int read_extra64(uint64_t *const fields[3], const unsigned char *extra, size_t n_extra)
{
    while (n_extra >= 4) {
        const size_t size = little16(extra + 2);
        if (size > n_extra - 4)
            return 0;
        if (little16(extra) == 1) {
            size_t at = 0;
            for (int i = 0; i < 3; i++) {
                if (*fields[i] != IN_ZIP64_32)
                    continue;
                if (size - at < 8)
                    return 0;
                *fields[i] = little(extra + 4 + at, 8);
                at += 8;
            }
            return 1;
        }
        extra += 4 + size;
        n_extra -= 4 + size;
    }
    return *fields[0] != IN_ZIP64_32 && *fields[1] != IN_ZIP64_32 && *fields[2] != IN_ZIP64_32;
}

static int name_is_clean(const unsigned char *name, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (name[i] < 0x20 || name[i] == 0x7F)
            return 0;
    return length > 0 && utf8_is_valid(name, length);
}

static int check_method(struct sn_context *context, const struct zip *zip, const char *name,
                        uint32_t flags, uint32_t method)
{
    if (flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED))
        return fail_entry(context, zip, name, SN_ERROR_UNSUPPORTED, "is encrypted");
    if (method != 0)
        return fail(context, SN_ERROR_UNSUPPORTED,
                    "%s: entry %.200s is compressed (method %u); only stored entries are read",
                    zip->file.path, name, method);
    return SN_OK;
}

/* Reads one record of the central directory; *record moves behind it. The name moves to the record's start,
 * so that it can end in a NUL. entry->offset is that of the local header. */
static int parse_record(struct zip_entry *entry, struct zip *zip, struct sn_context *context,
                        unsigned char **record, size_t room)
{
    unsigned char *at = *record;
    if (room < CENTRAL_BYTES || little32(at) != CENTRAL_SIGNATURE)
        return fail(context, SN_ERROR_FORMAT, "%s: the zip directory is malformed at record %zu",
                    zip->file.path, zip->n_entries);
    const size_t n_name = little16(at + 28), n_extra = little16(at + 30), n_comment = little16(at + 32);
    const uint32_t flags = little16(at + 8), method = little16(at + 10), disk = little16(at + 34);
    uint64_t packed = little32(at + 20), size = little32(at + 24), offset = little32(at + 42);
    if (n_name + n_extra + n_comment > room - CENTRAL_BYTES)
        return fail(context, SN_ERROR_FORMAT, "%s: the zip directory is cut in record %zu",
                    zip->file.path, zip->n_entries);
    if (!name_is_clean(at + CENTRAL_BYTES, n_name))
        return fail(context, SN_ERROR_FORMAT, "%s: the name of entry %zu is no clean UTF-8 text",
                    zip->file.path, zip->n_entries);
    uint64_t *const fields[3] = {&size, &packed, &offset};
    const int extra_fits = read_extra64(fields, at + CENTRAL_BYTES + n_name, n_extra);
    entry->checksum = little32(at + 16);
    memmove(at, at + CENTRAL_BYTES, n_name);
    at[n_name] = '\0';
    entry->name = (const char *)at;
    entry->size = size;
    entry->offset = offset;
    *record = at + CENTRAL_BYTES + n_name + n_extra + n_comment;
    if (!extra_fits)
        return fail_entry(context, zip, entry->name, SN_ERROR_FORMAT, "has a malformed zip64 field");
    if (disk != 0 && disk != IN_ZIP64_16)
        return fail_entry(context, zip, entry->name, SN_ERROR_UNSUPPORTED, "stands on another disk");
    int status = check_method(context, zip, entry->name, flags, method);
    if (status == SN_OK && packed != size)
        status = fail_entry(context, zip, entry->name, SN_ERROR_FORMAT,
                            "is stored, but in another number of bytes than it has");
    return status;
}

static int by_offset(const void *a, const void *b)
{
    const struct zip_entry *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct zip_entry *)a)->name, ((const struct zip_entry *)b)->name);
}

static int name_differs(int *differs, struct zip *zip, struct sn_context *context, uint64_t at,
                        const char *name)
{
    char part[256];
    size_t length = strlen(name);
    int status = SN_OK;
    *differs = 0;
    while (length && status == SN_OK && !*differs) {
        size_t n = length < sizeof part ? length : sizeof part;
        status = file_read_at(&zip->file, context, at, part, n);
        if (status == SN_OK)
            *differs = memcmp(part, name, n) != 0;
        at += n;
        name += n;
        length -= n;
    }
    return status;
}

/* The local header must tell the same; entry->offset moves from it to the data, which end before `limit`. */
static int check_local(struct zip_entry *entry, struct zip *zip, struct sn_context *context,
                       uint64_t limit)
{
    unsigned char header[LOCAL_BYTES];
    const char *name = entry->name;
    if (entry->offset > limit || limit - entry->offset < LOCAL_BYTES)
        return fail_entry(context, zip, name, SN_ERROR_FORMAT, "overlaps what stands behind it");
    int differs = 0, status = file_read_at(&zip->file, context, entry->offset, header, sizeof header);
    if (status != SN_OK)
        return status;
    const uint64_t n_name = little16(header + 26), n_extra = little16(header + 28);
    const uint32_t flags = little16(header + 6), packed = little32(header + 18),
                   size = little32(header + 22);
    if (little32(header) != LOCAL_SIGNATURE || n_name != strlen(name))
        return fail_entry(context, zip, name, SN_ERROR_FORMAT, "has no header where it should be");
    status = name_differs(&differs, zip, context, entry->offset + LOCAL_BYTES, name);
    if (status == SN_OK && differs)
        status = fail_entry(context, zip, name, SN_ERROR_FORMAT, "has another name in its own header");
    if (status == SN_OK)
        status = check_method(context, zip, name, flags, little16(header + 8));
    if (status != SN_OK)
        return status;
    const int sizes_behind = (flags & FLAG_SIZES_BEHIND) && packed == 0 && size == 0;
    if (!sizes_behind &&
        !(agrees(packed, IN_ZIP64_32, entry->size) && agrees(size, IN_ZIP64_32, entry->size)))
        return fail_entry(context, zip, name, SN_ERROR_FORMAT, "has another size in its own header");
    entry->offset += LOCAL_BYTES + n_name + n_extra;
    if (entry->offset > limit || entry->size > limit - entry->offset)
        return fail_entry(context, zip, name, SN_ERROR_FORMAT, "overlaps what stands behind it");
    return SN_OK;
}

static int check_entries(struct zip *zip, struct sn_context *context, uint64_t directory_offset)
{
    int status = SN_OK;
    qsort(zip->entries, zip->n_entries, sizeof *zip->entries, by_offset);
    for (size_t i = 0; i < zip->n_entries && status == SN_OK; i++)
        status = check_local(&zip->entries[i], zip, context,
                             i + 1 < zip->n_entries ? zip->entries[i + 1].offset : directory_offset);
    if (status != SN_OK)
        return status;
    qsort(zip->entries, zip->n_entries, sizeof *zip->entries, by_name);
    for (size_t i = 1; i < zip->n_entries; i++)
        if (strcmp(zip->entries[i - 1].name, zip->entries[i].name) == 0)
            return fail_entry(context, zip, zip->entries[i].name, SN_ERROR_FORMAT, "stands there twice");
    return SN_OK;
}

static int read_directory(struct zip *zip, struct sn_context *context)
{
    struct directory directory = {0};
    const char *path = zip->file.path;
    int status = locate_directory(&directory, zip, context);
    if (status != SN_OK)
        return status;
    if (directory.size > ZIP_MAX_DIRECTORY)
        return fail(context, SN_ERROR_FORMAT, "%s: a zip directory of %llu bytes, the limit is %zu",
                    path, (unsigned long long)directory.size, ZIP_MAX_DIRECTORY);
    if (directory.size > directory.end || directory.offset != directory.end - directory.size ||
        directory.count > directory.size / CENTRAL_BYTES)
        return fail(context, SN_ERROR_FORMAT,
                    "%s: a zip directory of %llu entries in %llu bytes cannot stand at byte %llu", path,
                    (unsigned long long)directory.count, (unsigned long long)directory.size,
                    (unsigned long long)directory.offset);
    zip->n_directory = (size_t)directory.size;
    zip->directory = memory_allocate(zip->memory, zip->n_directory);
    zip->n_allocated = (size_t)directory.count;
    zip->entries = memory_allocate_array(zip->memory, zip->n_allocated, sizeof *zip->entries);
    if (!zip->directory || !zip->entries)
        return fail_memory(context, "a zip directory", zip->n_directory);
    status = file_read_at(&zip->file, context, directory.offset, zip->directory, zip->n_directory);
    unsigned char *record = zip->directory, *end = zip->directory + zip->n_directory;
    for (; zip->n_entries < zip->n_allocated && status == SN_OK; zip->n_entries++)
        status =
            parse_record(&zip->entries[zip->n_entries], zip, context, &record, (size_t)(end - record));
    if (status == SN_OK && record != end)
        status =
            fail(context, SN_ERROR_FORMAT, "%s: the zip directory holds more than its entries", path);
    return status == SN_OK ? check_entries(zip, context, directory.offset) : status;
}

int zip_open(struct zip *zip, struct sn_context *context, const char *path)
{
    memset(zip, 0, sizeof *zip);
    int status = file_open(&zip->file, context, path);
    if (status != SN_OK) {
        memset(zip, 0, sizeof *zip);
        return status;
    }
    zip->memory = context->memory;
    status = read_directory(zip, context);
    if (status != SN_OK)
        zip_close(zip);
    return status;
}

void zip_close(struct zip *zip)
{
    if (!zip->memory)
        return;
    memory_free(zip->memory, zip->entries, zip->n_allocated * sizeof *zip->entries);
    memory_free(zip->memory, zip->directory, zip->n_directory);
    file_close(&zip->file);
    memset(zip, 0, sizeof *zip);
}

const struct zip_entry *zip_find(const struct zip *zip, const char *name)
{
    const struct zip_entry key = {.name = name};
    return bsearch(&key, zip->entries, zip->n_entries, sizeof key, by_name);
}

int zip_read(void *bytes, struct zip *zip, struct sn_context *context, const struct zip_entry *entry,
             uint64_t offset, size_t size)
{
    if (offset > entry->size || size > entry->size - offset)
        return fail(context, SN_ERROR_FORMAT, "%s: entry %.200s has %llu bytes, %zu wanted from %llu",
                    zip->file.path, entry->name, (unsigned long long)entry->size, size,
                    (unsigned long long)offset);
    return file_read_at(&zip->file, context, entry->offset + offset, bytes, size);
}

int zip_read_whole(unsigned char **bytes, struct zip *zip, struct sn_context *context,
                   const struct zip_entry *entry, size_t limit)
{
    *bytes = NULL;
    if (entry->size > limit)
        return fail(context, SN_ERROR_FORMAT, "%s: entry %.200s has %llu bytes, the limit is %zu",
                    zip->file.path, entry->name, (unsigned long long)entry->size, limit);
    const size_t size = (size_t)entry->size;
    unsigned char *block = memory_allocate(zip->memory, size);
    if (!block)
        return fail_memory(context, entry->name, size);
    int status = zip_read(block, zip, context, entry, 0, size);
    if (status == SN_OK && checksum_update(0, block, size) != entry->checksum)
        status = fail_entry(context, zip, entry->name, SN_ERROR_FORMAT, "does not match its checksum");
    if (status != SN_OK) {
        memory_free(zip->memory, block, size);
        return status;
    }
    *bytes = block;
    return SN_OK;
}
