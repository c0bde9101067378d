/* Adding a tree of files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "text/corpus.h"
#include "text/table.h"

#define DEFAULT_FILE_BYTES ((size_t)1 << 20)

struct path_list {
    struct memory *memory;
    char **paths;
    size_t n_paths, capacity;
};

struct walk {
    struct sn_context *context;
    const char *suffix;
    size_t max_file_bytes;
    struct path_list folders; /* still to be read */
    struct path_list files;
};

static void list_free(struct path_list *list)
{
    for (size_t i = 0; i < list->n_paths; i++)
        file_path_free(list->memory, list->paths[i]);
    memory_free(list->memory, list->paths, list->capacity * sizeof *list->paths);
}

/* Takes the path over; path may be NULL (out of memory). */
static int list_add(struct path_list *list, char *path)
{
    if (path && array_reserve(list->memory, (void **)&list->paths, &list->capacity, list->n_paths + 1,
                              sizeof *list->paths)) {
        list->paths[list->n_paths++] = path;
        return 1;
    }
    file_path_free(list->memory, path);
    return 0;
}

static int ends_in(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

static int visit_entry(struct walk *walk, int folder, const char *path, const char *name)
{
    struct stat status;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return SN_OK;
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? SN_OK : fail_system(walk->context, path, name, errno);
    struct path_list *list = NULL;
    if (S_ISDIR(status.st_mode))
        list = &walk->folders;
    else if (S_ISREG(status.st_mode) && ends_in(name, walk->suffix) && status.st_size > 0 &&
             (uint64_t)status.st_size <= walk->max_file_bytes)
        list = &walk->files;
    if (list && !list_add(list, file_path_join(list->memory, path, name)))
        return fail_memory(walk->context, "a list of files", strlen(path) + strlen(name));
    return SN_OK;
}

static int read_folder(struct walk *walk, const char *path, int is_root)
{
    const int host_errno = errno;
    int descriptor = file_open_descriptor(path, O_RDONLY | O_DIRECTORY | (is_root ? 0 : O_NOFOLLOW));
    DIR *folder = descriptor < 0 ? NULL : fdopendir(descriptor);
    if (!folder) {
        int error = errno;
        if (descriptor >= 0)
            close(descriptor);
        return fail_system(walk->context, path, "cannot open the folder", error);
    }
    int status = SN_OK;
    while (status == SN_OK) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry) {
            if (errno)
                status = fail_system(walk->context, path, "cannot read the folder", errno);
            break;
        }
        status = visit_entry(walk, descriptor, path, entry->d_name);
    }
    closedir(folder);
    if (errno == 0) /* as no function of C leaves it behind */
        errno = host_errno;
    return status;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_files(struct walk *walk, const char *directory)
{
    int status = read_folder(walk, directory, 1);
    while (status == SN_OK && walk->folders.n_paths) {
        char *folder = walk->folders.paths[--walk->folders.n_paths];
        status = read_folder(walk, folder, 0);
        file_path_free(walk->folders.memory, folder);
        if (status == SN_OK)
            status = progress(walk->context, "corpus", 0, walk->files.n_paths + 1, 0);
    }
    if (status == SN_OK && walk->files.n_paths)
        qsort(walk->files.paths, walk->files.n_paths, sizeof *walk->files.paths, compare_paths);
    return status;
}

/* *total: bytes added so far; *full is set when the next file would go beyond max_total. */
static int add_file(int *full, size_t *total, struct sn_corpus *corpus, const struct walk *walk,
                    const char *path, size_t max_total)
{
    char *text;
    size_t length;
    int status = file_read_all(&text, &length, walk->context, path, walk->max_file_bytes);
    if (status != SN_OK)
        return status;
    *full = max_total && length > max_total - *total;
    if (!*full && length) {
        status = corpus_append_text(corpus, walk->context, text, length);
        *total += length;
    }
    memory_free(walk->context->memory, text, length + 1);
    return status;
}

static int add_files(struct sn_corpus *corpus, const struct walk *walk, size_t max_total)
{
    size_t total = 0, n = walk->files.n_paths;
    int full = 0, status = SN_OK;
    for (size_t i = 0; i < n && !full && status == SN_OK; i++) {
        status = add_file(&full, &total, corpus, walk, walk->files.paths[i], max_total);
        if (status == SN_OK && (i % 16 == 15 || i + 1 == n))
            status = progress(walk->context, "corpus", i + 1, n, (double)total);
    }
    return status;
}

int sn_corpus_add_directory(sn_corpus *corpus, sn_context *context, const char *directory,
                            const char *suffix, size_t max_file_bytes, size_t max_total_bytes)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!corpus || !directory || !suffix)
        return fail(context, SN_ERROR_ARGUMENT, "sn_corpus_add_directory: %s is NULL",
                    !corpus     ? "corpus"
                    : directory ? "suffix"
                                : "directory");
    size_t before = corpus->n_documents;
    struct walk walk = {.context = context,
                        .suffix = suffix,
                        .max_file_bytes = max_file_bytes ? max_file_bytes : DEFAULT_FILE_BYTES,
                        .folders.memory = context->memory,
                        .files.memory = context->memory};
    int status = corpus_accept(corpus, context, CORPUS_TEXTS, "sn_corpus_add_directory");
    if (status != SN_OK)
        return status;
    status = list_files(&walk, directory);
    if (status == SN_OK)
        status = add_files(corpus, &walk, max_total_bytes);
    if (status != SN_OK)
        corpus_truncate(corpus, before);
    list_free(&walk.folders);
    list_free(&walk.files);
    return status;
}
