#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"

#define PENDING_BYTES ((size_t)1 << 18)

/* strerror_r returns the text under glibc, a status elsewhere. */
static inline const char *text_of_glibc(const char *result, const char *text)
{
    (void)text;
    return result;
}

static inline const char *text_of_posix(int result, const char *text)
{
    return result == 0 ? text : "unknown error";
}

int fail_system(struct sn_context *context, const char *path, const char *what, int error)
{
    char text[128];
    const char *reason = _Generic(strerror_r(error, text, sizeof text), char *: text_of_glibc,
                                  int: text_of_posix)(strerror_r(error, text, sizeof text), text);
    return fail(context, error == ENOMEM ? SN_ERROR_MEMORY : SN_ERROR_IO, "%s: %s: %s", path, what,
                reason);
}

int file_open_descriptor(const char *path, int flags)
{
    int descriptor;
    do
        descriptor = open(path, flags | O_CLOEXEC, 0666);
    while (descriptor < 0 && errno == EINTR);
    return descriptor;
}

int file_open(struct file_reader *file, struct sn_context *context, const char *path)
{
    struct stat status;
    file->path = path;
    file->size = 0;
    file->descriptor = file_open_descriptor(path, O_RDONLY | O_NONBLOCK);
    if (file->descriptor < 0)
        return fail_system(context, path, "cannot open", errno);
    if (fstat(file->descriptor, &status) != 0) {
        int error = errno;
        file_close(file);
        return fail_system(context, path, "cannot look at", error);
    }
    if (!S_ISREG(status.st_mode)) {
        file_close(file);
        return fail(context, SN_ERROR_IO, "%s: not a regular file", path);
    }
    file->size = (uint64_t)status.st_size;
    return SN_OK;
}

int file_read_at(struct file_reader *file, struct sn_context *context, uint64_t offset, void *bytes,
                 size_t size)
{
    if (offset > file->size || size > file->size - offset)
        return fail(context, SN_ERROR_FORMAT,
                    "%s: truncated: %zu bytes wanted at offset %llu, the file has %llu", file->path,
                    size, (unsigned long long)offset, (unsigned long long)file->size);
    char *to = bytes;
    while (size) {
        ssize_t got = pread(file->descriptor, to, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_system(context, file->path, "cannot read", errno);
        if (got == 0)
            return fail(context, SN_ERROR_IO, "%s: the file shrank while it was read", file->path);
        to += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return SN_OK;
}

void file_close(struct file_reader *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    file->descriptor = -1;
}

int file_read_all(char **bytes, size_t *size, struct sn_context *context, const char *path, size_t limit)
{
    struct file_reader file;
    *bytes = NULL;
    *size = 0;
    int status = file_open(&file, context, path);
    if (status != SN_OK)
        return status;
    char *block = NULL;
    size_t length = (size_t)file.size;
    if (file.size > limit)
        status = fail(context, SN_ERROR_FORMAT, "%s: %llu bytes, the limit is %zu", path,
                      (unsigned long long)file.size, limit);
    else if (!(block = memory_allocate(context->memory, length + 1)))
        status = fail_memory(context, path, length + 1);
    else
        status = file_read_at(&file, context, 0, block, length);
    file_close(&file);
    if (status != SN_OK) {
        memory_free(context->memory, block, length + 1);
        return status;
    }
    block[length] = '\0';
    *bytes = block;
    *size = length;
    return SN_OK;
}

int file_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

char *file_path_join(struct memory *memory, const char *directory, const char *name)
{
    size_t n = strlen(directory), m = strlen(name);
    char *path = memory_allocate(memory, n + m + 2);
    if (!path)
        return NULL;
    memcpy(path, directory, n);
    path[n] = '/';
    memcpy(path + n + 1, name, m + 1);
    return path;
}

void file_path_free(struct memory *memory, char *path)
{
    if (path)
        memory_free(memory, path, strlen(path) + 1);
}

int file_make_folder(struct sn_context *context, const char *path)
{
    return mkdir(path, 0777) == 0 || errno == EEXIST
               ? SN_OK
               : fail_system(context, path, "cannot create the folder", errno);
}

/* Few bytes come whole or not at all. */
static int draw_noise(unsigned char *noise, size_t size)
{
    ssize_t got;
    do
        got = getrandom(noise, size, 0);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)size;
}

/* mkstemp would give mode 0600, and reading the umask would change it for the host for a moment. */
static int open_temporary(struct file_writer *file, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
    for (int attempt = 0; attempt < 100; attempt++) {
        unsigned char noise[6];
        if (!draw_noise(noise, sizeof noise))
            return 0;
        for (size_t i = 0; i < sizeof noise; i++)
            file->temporary[length + 1 + i] = letters[noise[i] % 32];
        file->descriptor = file_open_descriptor(file->temporary, O_WRONLY | O_CREAT | O_EXCL);
        if (file->descriptor >= 0 || errno != EEXIST)
            break;
    }
    return file->descriptor >= 0;
}

int file_writer_open(struct file_writer *file, struct sn_context *context, const char *path)
{
    memset(file, 0, sizeof *file);
    file->descriptor = -1;
    struct stat target;
    if (stat(path, &target) == 0 && !S_ISREG(target.st_mode))
        return fail(context, SN_ERROR_IO, "%s: not a regular file", path);
    file->memory = context->memory;
    size_t length = strlen(path);
    file->path = memory_copy_text(file->memory, path, length);
    file->temporary = memory_allocate(file->memory, length + 8);
    file->pending = memory_allocate(file->memory, PENDING_BYTES);
    if (file->temporary) {
        memcpy(file->temporary, path, length);
        memcpy(file->temporary + length, ".XXXXXX", 8);
    }
    if (!file->path || !file->temporary || !file->pending) {
        file_writer_abort(file);
        return fail_memory(context, "a file writer", length + PENDING_BYTES);
    }
    if (!open_temporary(file, length)) {
        int status = fail_system(context, path, "cannot create", errno);
        file_writer_abort(file);
        return status;
    }
    return SN_OK;
}

static int flush_pending(struct file_writer *file, struct sn_context *context)
{
    if (file->status != SN_OK)
        return file->status;
    const unsigned char *from = file->pending;
    while (file->n_pending) {
        ssize_t put = write(file->descriptor, from, file->n_pending);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return file->status =
                       fail_system(context, file->path, "cannot write", put < 0 ? errno : ENOSPC);
        from += put;
        file->n_pending -= (size_t)put;
    }
    return SN_OK;
}

int file_write(struct file_writer *file, struct sn_context *context, const void *bytes, size_t size)
{
    const unsigned char *from = bytes;
    if (file->status != SN_OK)
        return file->status;
    file->checksum = checksum_update(file->checksum, bytes, size);
    file->written += size;
    while (size) {
        size_t room = PENDING_BYTES - file->n_pending, part = size < room ? size : room;
        memcpy(file->pending + file->n_pending, from, part);
        file->n_pending += part;
        from += part;
        size -= part;
        if (file->n_pending == PENDING_BYTES) {
            int status = flush_pending(file, context);
            if (status != SN_OK)
                return status;
        }
    }
    return SN_OK;
}

static void release_writer(struct file_writer *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    if (file->path)
        memory_free(file->memory, file->path, strlen(file->path) + 1);
    if (file->temporary)
        memory_free(file->memory, file->temporary, strlen(file->temporary) + 1);
    memory_free(file->memory, file->pending, PENDING_BYTES);
    memset(file, 0, sizeof *file);
    file->descriptor = -1;
}

static int sync_whole(int descriptor)
{
    int result;
    do
        result = fsync(descriptor);
    while (result != 0 && errno == EINTR);
    return result;
}

/* The rename is on disk once its directory is. Not every file system can tell: the file itself is
 * whole. */
static void sync_directory(const char *path)
{
    char directory[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof directory)
        return;
    memcpy(directory, path, length);
    directory[length] = '\0';
    int descriptor =
        file_open_descriptor(slash ? (length ? directory : "/") : ".", O_RDONLY | O_DIRECTORY);
    if (descriptor >= 0) {
        (void)sync_whole(descriptor);
        close(descriptor);
    }
}

int file_writer_commit(struct file_writer *file, struct sn_context *context)
{
    int status = flush_pending(file, context);
    if (status == SN_OK && sync_whole(file->descriptor) != 0)
        status = fail_system(context, file->path, "cannot sync", errno);
    if (status == SN_OK && rename(file->temporary, file->path) != 0)
        status = fail_system(context, file->path, "cannot rename to", errno);
    if (status != SN_OK) {
        file_writer_abort(file);
        return status;
    }
    sync_directory(file->path);
    release_writer(file);
    return SN_OK;
}

void file_writer_abort(struct file_writer *file)
{
    if (!file->memory)
        return;
    if (file->descriptor >= 0)
        (void)unlink(file->temporary);
    release_writer(file);
}
