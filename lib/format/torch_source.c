#include "format/torch_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/torch_coo.h"

/* What of a tensor an entry shows. */
enum part { PART_DENSE, PART_INDPTR, PART_INDICES, PART_VALUES };

static const char *const suffixes[] = {"", TENSOR_INDPTR, TENSOR_INDICES, TENSOR_VALUES};

/* `entry` comes first: a pointer to it is a pointer to this. */
struct item {
    struct tensor_entry entry;
    const struct torch_tensor *tensor;
    enum part part;
};

struct payload {
    struct memory *memory;
    struct torch_file file;
    struct item *items; /* in the order of the dict, then of the data */
    struct tensor_entry *entries;
    size_t n_items, n_allocated;
    const struct torch_tensor *sparse; /* whose rows stand here */
    struct torch_rows rows;
};

/* ---- which tensors there are */

static const struct pickle_value *find_state(const struct torch_file *file)
{
    static const char *const keys[] = {"model", "state_dict", "model_state_dict", "module"};
    const struct pickle_value *root = torch_file_root(file);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct pickle_value *inner = pickle_find(root, keys[i]);
        if (inner && inner->kind == PICKLE_DICT)
            return inner;
    }
    return root;
}

/* Reads the rows of a sparse tensor, unless they are here already. */
static int load_rows(struct payload *payload, struct sn_context *context,
                     const struct torch_tensor *tensor, const char *name)
{
    if (payload->sparse == tensor)
        return SN_OK;
    payload->sparse = NULL;
    torch_rows_free(&payload->rows, payload->memory);
    int status = torch_rows_read(&payload->rows, &payload->file, context, tensor, name);
    if (status == SN_OK)
        payload->sparse = tensor;
    return status;
}

static int add_entry(struct payload *payload, struct sn_context *context, const char *name,
                     const struct torch_tensor *tensor, enum part part)
{
    struct item *item = &payload->items[payload->n_items];
    struct tensor_entry *entry = &item->entry;
    const size_t length = strlen(name), n_suffix = strlen(suffixes[part]);
    const struct zip_entry *storage = tensor->storage ? tensor->storage : tensor->values->storage;
    entry->name = memory_allocate(payload->memory, length + n_suffix + 1);
    if (!entry->name)
        return fail_memory(context, "a tensor name", length + n_suffix + 1);
    memcpy(entry->name, name, length);
    memcpy(entry->name + length, suffixes[part], n_suffix + 1);
    payload->n_items++;
    item->tensor = tensor;
    item->part = part;
    entry->offset =
        storage->offset + (tensor->storage ? tensor->offset * tensor_type_size(tensor->type) : 0);
    if (part == PART_DENSE) {
        entry->type = tensor->type;
        entry->n_dimensions = tensor->n_dimensions;
        memcpy(entry->dimensions, tensor->dimensions, sizeof entry->dimensions);
        entry->count = tensor->count;
    } else {
        entry->type = part == PART_VALUES ? TENSOR_F32 : TENSOR_U32;
        entry->n_dimensions = 1;
        entry->count = part == PART_INDPTR ? payload->rows.n_rows + 1
                                           : payload->rows.row_start[payload->rows.n_rows];
        entry->dimensions[0] = entry->count;
    }
    return SN_OK;
}

static int add_tensor(struct payload *payload, struct sn_context *context,
                      const struct pickle_value *key, const struct pickle_value *value)
{
    const char *path = payload->file.zip.file.path;
    const struct torch_tensor *tensor = torch_tensor_of(value);
    if (key->kind != PICKLE_TEXT)
        return fail(context, SN_ERROR_FORMAT, "%s: data.pkl: a key of the state dict is %s, not a text",
                    path, pickle_kind_name(key));
    const char *name = key->as.text.bytes;
    if (strlen(name) != key->as.text.length)
        return fail(context, SN_ERROR_FORMAT, "%s: data.pkl: the name %.200s goes on behind a NUL", path,
                    name);
    if (!tensor)
        return fail(context, SN_ERROR_FORMAT, "%s: data.pkl: %.200s is %s, not a tensor", path, name,
                    pickle_kind_name(value));
    if (tensor->storage)
        return add_entry(payload, context, name, tensor, PART_DENSE);
    int status = load_rows(payload, context, tensor, name);
    if (status == SN_OK && tensor->n_dimensions == 1)
        return add_entry(payload, context, name, tensor, PART_DENSE);
    for (enum part part = PART_INDPTR; part <= PART_VALUES && status == SN_OK; part++)
        status = add_entry(payload, context, name, tensor, part);
    return status;
}

static int by_offset(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->entry.offset != y->entry.offset)
        return x->entry.offset < y->entry.offset ? -1 : 1;
    return strcmp(x->entry.name, y->entry.name); /* of one tensor: indices, indptr, values */
}

static int list_tensors(struct payload *payload, struct sn_context *context)
{
    const char *path = payload->file.zip.file.path;
    const struct pickle_value *state = find_state(&payload->file);
    if (state->kind != PICKLE_DICT)
        return fail(context, SN_ERROR_FORMAT, "%s: data.pkl holds %s, not a state dict", path,
                    pickle_kind_name(state));
    const uint32_t n = state->as.items.n;
    struct pickle_value **values = state->as.items.list;
    payload->n_allocated = 3 * (size_t)(n / 2);
    payload->items =
        memory_allocate_zeroed_array(payload->memory, payload->n_allocated, sizeof *payload->items);
    payload->entries =
        memory_allocate_array(payload->memory, payload->n_allocated, sizeof *payload->entries);
    if (!payload->items || !payload->entries)
        return fail_memory(context, "a list of tensors", payload->n_allocated * sizeof *payload->items);
    int status = SN_OK;
    for (uint32_t i = 0; i < n && status == SN_OK; i += 2)
        status = add_tensor(payload, context, values[i], values[i + 1]);
    qsort(payload->items, payload->n_items, sizeof *payload->items, by_offset);
    for (size_t i = 0; i < payload->n_items; i++)
        payload->entries[i] = payload->items[i].entry;
    return status;
}

/* ---- as a source */

static const struct item *item_of(const struct payload *payload, const struct tensor_entry *entry)
{
    return &payload->items[entry - payload->entries];
}

/* The rows behind an entry; the file may have changed since it was listed. */
static int load_entry_rows(struct payload *payload, struct sn_context *context, const struct item *item)
{
    const char *path = payload->file.zip.file.path, *name = item->entry.name;
    int status = load_rows(payload, context, item->tensor, name);
    if (status != SN_OK || item->part == PART_DENSE || item->part == PART_INDPTR)
        return status;
    if (payload->rows.row_start[payload->rows.n_rows] != item->entry.count)
        return fail(context, SN_ERROR_FORMAT, "%s: tensor %.200s changed while it was read", path, name);
    return SN_OK;
}

/* A sparse vector, written out. */
static void fill_vector(float *out, const struct torch_rows *rows, uint64_t first, size_t count)
{
    memset(out, 0, count * sizeof *out);
    for (size_t i = 0; i < rows->row_start[1]; i++)
        if (rows->column[i] >= first && rows->column[i] - first < count)
            out[rows->column[i] - first] = rows->values[i];
}

static int source_floats(float *out, struct tensor_source *source, struct sn_context *context,
                         const struct tensor_entry *entry, uint64_t first, size_t count)
{
    struct payload *payload = source->payload;
    const struct item *item = item_of(payload, entry);
    int status = tensor_check_range(context, source->path, entry, first, count);
    if (status != SN_OK)
        return status;
    if (item->tensor->storage)
        return torch_read_floats(out, &payload->file, context, item->tensor, entry->name, first, count);
    status = load_entry_rows(payload, context, item);
    if (status != SN_OK)
        return status;
    const struct torch_rows *rows = &payload->rows;
    if (item->part == PART_DENSE)
        fill_vector(out, rows, first, count);
    else if (item->part == PART_VALUES)
        memcpy(out, rows->values + first, count * sizeof *out);
    else
        for (size_t i = 0; i < count; i++)
            out[i] = (float)(item->part == PART_INDPTR ? rows->row_start : rows->column)[first + i];
    return SN_OK;
}

static int check_limit(struct sn_context *context, const char *path, const struct tensor_entry *entry,
                       uint64_t first, size_t i, int64_t value, uint64_t limit)
{
    if (value >= 0 && (uint64_t)value < limit && value <= UINT32_MAX)
        return SN_OK;
    return fail(context, SN_ERROR_FORMAT,
                "%s: tensor %.200s: element %llu is %lld, it must be below %llu", path, entry->name,
                (unsigned long long)(first + i), (long long)value, (unsigned long long)limit);
}

/* Dense integers, through a buffer on the stack. */
static int read_dense_indices(uint32_t *out, struct payload *payload, struct sn_context *context,
                              const struct item *item, uint64_t first, size_t count, uint64_t limit)
{
    int64_t integers[1024];
    const size_t room = sizeof integers / sizeof *integers;
    const char *path = payload->file.zip.file.path;
    int status = SN_OK;
    for (size_t done = 0; done < count && status == SN_OK; done += room) {
        const size_t n = count - done < room ? count - done : room;
        status = torch_read_integers(integers, &payload->file, context, item->tensor, item->entry.name,
                                     first + done, n);
        for (size_t i = 0; i < n && status == SN_OK; i++) {
            status = check_limit(context, path, &item->entry, first, done + i, integers[i], limit);
            out[done + i] = (uint32_t)integers[i];
        }
    }
    return status;
}

static int source_indices(uint32_t *out, struct tensor_source *source, struct sn_context *context,
                          const struct tensor_entry *entry, uint64_t first, size_t count, uint64_t limit)
{
    struct payload *payload = source->payload;
    const struct item *item = item_of(payload, entry);
    int status = tensor_check_range(context, source->path, entry, first, count);
    if (status == SN_OK)
        status = tensor_check_integer(context, source->path, entry);
    if (status != SN_OK)
        return status;
    if (item->tensor->storage)
        return read_dense_indices(out, payload, context, item, first, count, limit);
    if (item->part == PART_DENSE)
        return fail(context, SN_ERROR_UNSUPPORTED, "%s: tensor %.200s: sparse indices", source->path,
                    entry->name);
    status = load_entry_rows(payload, context, item);
    const uint32_t *from = item->part == PART_INDPTR ? payload->rows.row_start : payload->rows.column;
    for (size_t i = 0; i < count && status == SN_OK; i++) {
        status = check_limit(context, source->path, entry, first, i, from[first + i], limit);
        out[i] = from[first + i];
    }
    return status;
}

static void source_close(struct tensor_source *source)
{
    struct payload *payload = source->payload;
    struct memory *memory = payload->memory;
    for (size_t i = 0; i < payload->n_items; i++)
        memory_free(memory, payload->items[i].entry.name, strlen(payload->items[i].entry.name) + 1);
    memory_free(memory, payload->items, payload->n_allocated * sizeof *payload->items);
    memory_free(memory, payload->entries, payload->n_allocated * sizeof *payload->entries);
    torch_rows_free(&payload->rows, memory);
    torch_file_close(&payload->file);
    memory_free(memory, payload, sizeof *payload);
    memset(source, 0, sizeof *source);
}

int torch_source_matches(int *matches, struct sn_context *context, const char *path)
{
    struct file_reader file;
    unsigned char start[9] = {0};
    const size_t n = strlen(path);
    *matches = 0;
    int status = file_open(&file, context, path);
    if (status != SN_OK)
        return status;
    const size_t size = file.size < sizeof start ? (size_t)file.size : sizeof start;
    status = file_read_at(&file, context, 0, start, size);
    file_close(&file);
    const int named = n > 3 && strcmp(path + n - 3, ".pt") == 0;
    *matches = status == SN_OK && (memcmp(start, "PK\3\4", 4) == 0 || (named && start[8] != '{'));
    return status;
}

int torch_source(struct tensor_source *source, struct sn_context *context, const char *path)
{
    memset(source, 0, sizeof *source);
    struct payload *payload = memory_allocate_zeroed(context->memory, sizeof *payload);
    if (!payload)
        return fail_memory(context, "a torch file", sizeof *payload);
    payload->memory = context->memory;
    *source = (struct tensor_source){.path = path,
                                     .payload = payload,
                                     .read_floats = source_floats,
                                     .read_indices = source_indices,
                                     .close = source_close};
    int status = torch_file_open(&payload->file, context, path);
    if (status == SN_OK)
        status = list_tensors(payload, context);
    if (status != SN_OK) {
        source_close(source);
        return status;
    }
    source->entries = payload->entries;
    source->n_entries = payload->n_items;
    return SN_OK;
}
