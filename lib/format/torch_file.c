#include "format/torch_file.h"

#include <string.h>

#include "format/torch_rules.h"

#define PICKLE_NAME "/data.pkl"

/* Files of torch before 1.6 begin with a pickle of their own. */
static int fail_not_zip(struct sn_context *context, const char *path, int status)
{
    struct file_reader file;
    unsigned char start[2] = {0};
    if (status != SN_ERROR_FORMAT || file_open(&file, context, path) != SN_OK)
        return status;
    const int is_short = file.size < sizeof start;
    int read = is_short ? SN_ERROR_FORMAT : file_read_at(&file, context, 0, start, sizeof start);
    file_close(&file);
    if (read == SN_OK && start[0] == 0x80 && start[1] >= 2 && start[1] <= 5)
        return fail(context, SN_ERROR_UNSUPPORTED,
                    "%s: a file of torch.save before version 1.6 (no zip); save it anew to read it",
                    path);
    return fail(context, status, "%s", context->message);
}

/* The one entry TOP/data.pkl; its folder goes to file->folder. */
static int find_pickle(const struct zip_entry **found, struct torch_file *file,
                       struct sn_context *context)
{
    *found = NULL;
    for (size_t i = 0; i < file->zip.n_entries; i++) {
        const struct zip_entry *entry = &file->zip.entries[i];
        const char *slash = strchr(entry->name, '/');
        if (!slash || strcmp(slash, PICKLE_NAME) != 0)
            continue;
        if (*found)
            return fail(context, SN_ERROR_FORMAT, "%s: both %.200s and %.200s are there",
                        file->zip.file.path, (*found)->name, entry->name);
        *found = entry;
    }
    if (!*found)
        return fail(context, SN_ERROR_FORMAT, "%s: no file of torch.save: there is no entry FOLDER%s",
                    file->zip.file.path, PICKLE_NAME);
    file->n_folder = strlen((*found)->name) - strlen(PICKLE_NAME) + 1;
    file->folder = memory_copy_text(file->zip.memory, (*found)->name, file->n_folder);
    return file->folder ? SN_OK : fail_memory(context, "the name of a folder", file->n_folder + 1);
}

const struct zip_entry *torch_find_entry(int *status, const struct torch_file *file,
                                         struct sn_context *context, const char *folder,
                                         const char *name)
{
    const size_t n = strlen(folder), m = strlen(name), size = file->n_folder + n + m + 1;
    char *path = memory_allocate(file->zip.memory, size);
    *status = path ? SN_OK : fail_memory(context, "the name of an entry", size);
    if (!path)
        return NULL;
    memcpy(path, file->folder, file->n_folder);
    memcpy(path + file->n_folder, folder, n);
    memcpy(path + file->n_folder + n, name, m + 1);
    const struct zip_entry *entry = zip_find(&file->zip, path);
    memory_free(file->zip.memory, path, size);
    return entry;
}

/* torch 2 writes the order of bytes into an entry of its own. */
static int check_byte_order(struct torch_file *file, struct sn_context *context)
{
    static const char little[] = "little";
    char order[sizeof little - 1];
    int status;
    const struct zip_entry *entry = torch_find_entry(&status, file, context, "", "byteorder");
    if (!entry)
        return status;
    if (entry->size != sizeof order)
        return fail(context, SN_ERROR_UNSUPPORTED, "%s: the byte order is not little-endian",
                    file->zip.file.path);
    status = zip_read(order, &file->zip, context, entry, 0, sizeof order);
    if (status == SN_OK && memcmp(order, little, sizeof order) != 0)
        status = fail(context, SN_ERROR_UNSUPPORTED, "%s: the byte order is not little-endian",
                      file->zip.file.path);
    return status;
}

int torch_file_open(struct torch_file *file, struct sn_context *context, const char *path)
{
    const struct zip_entry *entry = NULL;
    memset(file, 0, sizeof *file);
    int status = zip_open(&file->zip, context, path);
    if (status != SN_OK)
        return fail_not_zip(context, path, status);
    status = find_pickle(&entry, file, context);
    if (status == SN_OK)
        status = check_byte_order(file, context);
    if (status == SN_OK)
        status = zip_read_whole(&file->bytes, &file->zip, context, entry, PICKLE_MAX_BYTES);
    if (status == SN_OK) {
        file->n_bytes = (size_t)entry->size;
        status = pickle_read(&file->pickle, context, path, "data.pkl", file->bytes, file->n_bytes,
                             &torch_rules, file);
    }
    if (status == SN_OK) {
        file->scratch = memory_allocate(file->zip.memory, TORCH_SCRATCH);
        if (!file->scratch)
            status = fail_memory(context, "reading tensors", TORCH_SCRATCH);
    }
    if (status != SN_OK)
        torch_file_close(file);
    return status;
}

void torch_file_close(struct torch_file *file)
{
    struct memory *memory = file->zip.memory;
    if (!memory)
        return;
    pickle_free(&file->pickle);
    memory_free(memory, file->bytes, file->n_bytes);
    memory_free(memory, file->folder, file->n_folder + 1);
    memory_free(memory, file->scratch, TORCH_SCRATCH);
    zip_close(&file->zip);
    memset(file, 0, sizeof *file);
}

const struct pickle_value *torch_file_root(const struct torch_file *file)
{
    return file->pickle.root;
}

const struct torch_tensor *torch_tensor_of(const struct pickle_value *value)
{
    return value && value->kind == PICKLE_OBJECT && value->object == TORCH_OBJECT_TENSOR
               ? value->as.pointer
               : NULL;
}
