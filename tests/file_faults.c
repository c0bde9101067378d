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

void file_faults_arm(void)
{
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
    return 1;
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
    if (interrupts() || fails("open", flags & O_CREAT ? ENOSPC : EMFILE))
        return -1;
    return __real_open(path, flags, mode);
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
    return __real_write(descriptor, bytes, size);
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
    (void)descriptor;
    return interrupts() || fails("fsync", EIO) ? -1 : 0;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    return fails("rename", ENOSPC) ? -1 : __real_rename(from, to);
}

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
    return fails("mkdir", EROFS) ? -1 : __real_mkdir(path, mode);
}

int __real_fstat(int descriptor, struct stat *status);
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
