/* A folder of its own for each test that writes files; whoever empties it sees what was left behind. */
#ifndef SN_TESTS_TEMPORARY_H
#define SN_TESTS_TEMPORARY_H

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct temporary {
    char folder[64];
    char path[256]; /* of the last temporary_path */
};

static inline void temporary_create(struct temporary *temporary)
{
    snprintf(temporary->folder, sizeof temporary->folder, "/tmp/sparsenet-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(temporary->folder));
}

/* folder/name; lent until the next call. */
static inline const char *temporary_path(struct temporary *temporary, const char *name)
{
    snprintf(temporary->path, sizeof temporary->path, "%s/%s", temporary->folder, name);
    return temporary->path;
}

static inline void temporary_write(struct temporary *temporary, const char *name, const void *bytes,
                                   size_t size)
{
    FILE *file = fopen(temporary_path(temporary, name), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(size ? fwrite(bytes, 1, size, file) : 0, size);
    ck_assert_int_eq(fclose(file), 0);
}

/* What is in a file; to be freed. */
static inline unsigned char *temporary_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*size + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

/* Removes all files of the folder and returns how many there were. */
static inline size_t temporary_empty(struct temporary *temporary)
{
    DIR *directory = opendir(temporary->folder);
    size_t count = 0;
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char path[512];
        snprintf(path, sizeof path, "%s/%s", temporary->folder, entry->d_name);
        ck_assert_int_eq(remove(path), 0);
        count++;
    }
    closedir(directory);
    return count;
}

static inline void temporary_remove(struct temporary *temporary)
{
    temporary_empty(temporary);
    ck_assert_int_eq(rmdir(temporary->folder), 0);
}

#endif
