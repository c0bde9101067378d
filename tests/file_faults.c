#include "file_faults.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

struct file_faults file_faults;

/* Files that were written or synced and are not yet renamed, folders whose renames are not yet synced. */
#define MOST_NOTES 64
struct note {
    int used, is_due;
    dev_t device;
    ino_t inode;
};
static struct note files[MOST_NOTES], folders[MOST_NOTES];

/* The note of a file, made where there is none; NULL where there is no room, and then a rename comes too soon. */
static struct note *note_of(struct note *notes, const struct stat *status, int make)
{
    for (size_t i = 0; i < MOST_NOTES; i++)
        if (notes[i].used && notes[i].device == status->st_dev && notes[i].inode == status->st_ino)
            return &notes[i];
    for (size_t i = 0; make && i < MOST_NOTES; i++)
        if (!notes[i].used) {
            notes[i] = (struct note){.used = 1, .device = status->st_dev, .inode = status->st_ino};
            return &notes[i];
        }
    return NULL;
}

void file_faults_arm(void)
{
    memset(files, 0, sizeof files);
    memset(folders, 0, sizeof folders);
    file_faults.n_bytes = file_faults.n_renamed = file_faults.n_renamed_too_soon = 0;
    file_faults.n_folders_due = 0;
    file_faults.n = 0;
    file_faults.failed[0] = '\0';
    file_faults.armed = 1;
}

void file_faults_disarm(void)
{
    file_faults.armed = 0;
}

/* 1: the call is to fail, errno says with what. */
static int fails(const char *name, int usual_error)
{
    if (!file_faults.armed || ++file_faults.n != file_faults.at)
        return 0;
    if (file_faults.kill)
        kill(getpid(), SIGKILL);
    snprintf(file_faults.failed, sizeof file_faults.failed, "%s", name);
    errno = file_faults.failed_with = file_faults.error ? file_faults.error : usual_error;
    file_faults.failed_after = file_faults.n_bytes;
    return 1;
}

/* As fails, of a call on a folder or, perhaps, on another file. */
static int fails_on(const char *name, int usual_error, int is_folder)
{
    int failed = fails(name, usual_error);
    if (failed)
        file_faults.failed_behind = is_folder && file_faults.n_folders_due > 0;
    return failed;
}

static int interrupts(void)
{
    if (!file_faults.armed || !file_faults.interrupt || file_faults.interrupt++ % 2 == 0)
        return 0;
    errno = EINTR;
    return 1;
}

static size_t part_of(size_t size)
{
    return file_faults.armed && file_faults.most && size > file_faults.most ? file_faults.most : size;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (interrupts() || fails_on("open", flags & O_CREAT ? ENOSPC : EMFILE, flags & O_DIRECTORY))
        return -1;
    return __real_open(path, flags, mode);
}

int __real_fstat(int descriptor, struct stat *status);

static void note_written(int descriptor, size_t size)
{
    struct stat status;
    if (!file_faults.armed || __real_fstat(descriptor, &status) != 0)
        return;
    file_faults.n_bytes += size;
    struct note *note = note_of(files, &status, 1);
    if (note)
        note->is_due = 1;
}

static void note_synced(const struct stat *status)
{
    struct note *note = note_of(S_ISDIR(status->st_mode) ? folders : files, status, 1);
    if (note && note->is_due && S_ISDIR(status->st_mode))
        file_faults.n_folders_due--;
    if (note)
        note->is_due = 0;
}

/* `file` and `folder` are those of `from` and of where `to` is, before the rename. */
static void note_renamed(const struct stat *file, const struct stat *folder)
{
    struct note *note = note_of(files, file, 0), *above = note_of(folders, folder, 1);
    file_faults.n_renamed++;
    file_faults.n_renamed_too_soon += !note || note->is_due;
    if (note)
        note->used = 0;
    file_faults.n_folders_due += !above || !above->is_due;
    if (above)
        above->is_due = 1;
}

static int look_at_folder_of(const char *path, struct stat *status)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    return stat(folder, status);
}

ssize_t __real_write(int descriptor, const void *bytes, size_t size);
ssize_t __wrap_write(int descriptor, const void *bytes, size_t size);
ssize_t __wrap_write(int descriptor, const void *bytes, size_t size)
{
    size = part_of(size);
    if (file_faults.armed && file_faults.kill && file_faults.n + 1 == file_faults.at)
        (void)!__real_write(descriptor, bytes, size / 2);
    if (interrupts() || fails("write", ENOSPC))
        return -1;
    ssize_t put = __real_write(descriptor, bytes, size);
    if (put > 0)
        note_written(descriptor, (size_t)put);
    return put;
}

ssize_t __real_pread(int descriptor, void *bytes, size_t size, off_t offset);
ssize_t __wrap_pread(int descriptor, void *bytes, size_t size, off_t offset);
ssize_t __wrap_pread(int descriptor, void *bytes, size_t size, off_t offset)
{
    if (interrupts() || fails("pread", EIO))
        return -1;
    return __real_pread(descriptor, bytes, part_of(size), offset);
}

/* Tests do not wait for the disk: it is not the machine that dies in them. */
int __wrap_fsync(int descriptor);
int __wrap_fsync(int descriptor)
{
    struct stat status;
    int is_known = file_faults.armed && __real_fstat(descriptor, &status) == 0;
    if (interrupts() || fails_on("fsync", EIO, is_known && S_ISDIR(status.st_mode)))
        return -1;
    if (is_known)
        note_synced(&status);
    return 0;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    struct stat file, folder;
    if (fails("rename", ENOSPC))
        return -1;
    int is_known = file_faults.armed && stat(from, &file) == 0 && look_at_folder_of(to, &folder) == 0;
    if (__real_rename(from, to) != 0)
        return -1;
    if (is_known)
        note_renamed(&file, &folder);
    return 0;
}

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
    return fails("mkdir", EROFS) ? -1 : __real_mkdir(path, mode);
}

int __wrap_fstat(int descriptor, struct stat *status);
int __wrap_fstat(int descriptor, struct stat *status)
{
    return fails("fstat", EIO) ? -1 : __real_fstat(descriptor, status);
}

DIR *__real_fdopendir(int descriptor);
DIR *__wrap_fdopendir(int descriptor);
DIR *__wrap_fdopendir(int descriptor)
{
    return fails("fdopendir", EMFILE) ? NULL : __real_fdopendir(descriptor);
}

struct dirent *__real_readdir(DIR *directory);
struct dirent *__wrap_readdir(DIR *directory);
struct dirent *__wrap_readdir(DIR *directory)
{
    return fails("readdir", EIO) ? NULL : __real_readdir(directory);
}

ssize_t __real_getrandom(void *bytes, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags)
{
    return interrupts() || fails("getrandom", EIO) ? -1 : __real_getrandom(bytes, size, flags);
}

/* Not failing, but counted: a process may also die there. */
int __real_close(int descriptor);
int __wrap_close(int descriptor);
int __wrap_close(int descriptor)
{
    if (file_faults.kill)
        (void)fails("close", EIO);
    return __real_close(descriptor);
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
    if (file_faults.kill)
        (void)fails("unlink", EIO);
    return __real_unlink(path);
}
