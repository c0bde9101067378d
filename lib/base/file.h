/* Files: reading at an offset with every length checked, and atomic writing. */
#ifndef SN_BASE_FILE_H
#define SN_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/context.h"

/* fail(SN_ERROR_IO), or for ENOMEM SN_ERROR_MEMORY, with the path, what could not be done and what the system
 * says of `error`. */
int fail_system(struct sn_context *context, const char *path, const char *what, int error);
/* open(2) with O_CLOEXEC (and mode 0666 for a new file), again after a signal; -1 and errno. */
int file_open_descriptor(const char *path, int flags);
/* Makes a folder, unless it is there. */
int file_make_folder(struct sn_context *context, const char *path);

struct file_reader {
    int descriptor; /* -1 when closed */
    uint64_t size;
    const char *path; /* lent by the caller, for messages */
};

/* Opens a regular file; anything else is SN_ERROR_IO. Messages name the path and the reason. */
int file_open(struct file_reader *file, struct sn_context *context, const char *path);
/* Reads exactly `size` bytes at `offset`; SN_ERROR_FORMAT when the file is too short. */
int file_read_at(struct file_reader *file, struct sn_context *context, uint64_t offset, void *bytes,
                 size_t size);
void file_close(struct file_reader *file);
/* Reads a whole file of at most `limit` bytes into a fresh NUL-terminated block of *size + 1 bytes. */
int file_read_all(char **bytes, size_t *size, struct sn_context *context, const char *path,
                  size_t limit);
int file_exists(const char *path); /* a regular file */
/* "directory/name" in a fresh block of strlen + 1 bytes, NULL when out of memory. */
char *file_path_join(struct memory *memory, const char *directory, const char *name);
void file_path_free(struct memory *memory, char *path);

/* Writes go to a temporary beside the target and become visible whole at commit (fsync + rename). */
struct file_writer {
    int descriptor;
    char *path;
    char *temporary;
    struct memory *memory;
    uint64_t written;
    uint32_t checksum; /* CRC-32 of all that was written */
    unsigned char *pending;
    size_t n_pending;
    int status; /* of the first failed write: what follows a hole must not become visible */
};

/* The target may exist as a regular file or not at all; a device or folder is never replaced. */
int file_writer_open(struct file_writer *file, struct sn_context *context, const char *path);
int file_write(struct file_writer *file, struct sn_context *context, const void *bytes, size_t size);
int file_writer_commit(struct file_writer *file, struct sn_context *context);
/* Drops the temporary; a no-op after commit or on a zeroed writer. */
void file_writer_abort(struct file_writer *file);

#endif
