/* The functions that state dicts call when they are unpickled, as descriptions of tensors: nothing is read
 * here but the sizes of storages. Their arguments follow torch/_utils.py of torch 1.13 and 2. */
#include "format/torch_rules.h"

#include <string.h>

/* Tags of names that are no element type. */
#define UNTYPED TENSOR_TYPES
#define NO_TYPE (-1)

struct storage {
    const struct zip_entry *entry;
    int type; /* enum tensor_type or UNTYPED */
};

/* ---- arguments */

static int check_count(struct pickle *pickle, const struct pickle_global *global,
                       const struct pickle_value *arguments, uint32_t least, uint32_t most)
{
    const uint32_t n = arguments->as.items.n;
    if (n >= least && n <= most)
        return SN_OK;
    return pickle_fail(pickle, SN_ERROR_FORMAT, "%s.%s with %lu arguments", global->module, global->name,
                       (unsigned long)n);
}

static int check_kind(struct pickle *pickle, const struct pickle_global *global,
                      const struct pickle_value *arguments, uint32_t i, enum pickle_kind kind)
{
    const struct pickle_value *value = arguments->as.items.list[i];
    if (value->kind == kind)
        return SN_OK;
    return pickle_fail(pickle, SN_ERROR_FORMAT, "%s.%s: argument %lu is %s", global->module,
                       global->name, (unsigned long)i + 1, pickle_kind_name(value));
}

/* The pointer of an object argument; NULL after a message. */
static void *object_of(struct pickle *pickle, const struct pickle_global *global,
                       const struct pickle_value *arguments, uint32_t i, int object)
{
    const struct pickle_value *value = arguments->as.items.list[i];
    if (value->kind == PICKLE_OBJECT && value->object == object)
        return value->as.pointer;
    pickle_fail(pickle, SN_ERROR_FORMAT, "%s.%s: argument %lu is no %s but %s", global->module,
                global->name, (unsigned long)i + 1,
                object == TORCH_OBJECT_STORAGE ? "storage" : "tensor", pickle_kind_name(value));
    return NULL;
}

/* requires_grad and the hooks, which are saved empty. */
static int check_gradient_arguments(struct pickle *pickle, const struct pickle_global *global,
                                    const struct pickle_value *arguments, uint32_t i)
{
    int status = check_kind(pickle, global, arguments, i, PICKLE_BOOL);
    const struct pickle_value *hooks = arguments->as.items.list[i + 1];
    if (status == SN_OK && hooks->kind != PICKLE_NONE &&
        !(hooks->kind == PICKLE_DICT && !hooks->as.items.n))
        status = pickle_fail(pickle, SN_ERROR_UNSUPPORTED, "%s.%s: a tensor with hooks", global->module,
                             global->name);
    return status;
}

/* A tuple or list of whole numbers >= 0. */
static int read_sizes(uint64_t sizes[TENSOR_MAX_DIMENSIONS], size_t *n, struct pickle *pickle,
                      const struct pickle_value *value, const char *what)
{
    if (value->kind != PICKLE_TUPLE && value->kind != PICKLE_LIST)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "the %s of a tensor is %s", what,
                           pickle_kind_name(value));
    if (value->as.items.n > TENSOR_MAX_DIMENSIONS)
        return pickle_fail(pickle, SN_ERROR_UNSUPPORTED,
                           "a tensor of %lu dimensions; at most %d are read",
                           (unsigned long)value->as.items.n, TENSOR_MAX_DIMENSIONS);
    *n = value->as.items.n;
    for (size_t i = 0; i < *n; i++) {
        const struct pickle_value *item = value->as.items.list[i];
        if (item->kind != PICKLE_INTEGER)
            return pickle_fail(pickle, SN_ERROR_FORMAT, "the %s of a tensor holds %s", what,
                               pickle_kind_name(item));
        if (item->as.integer < 0)
            return pickle_fail(pickle, SN_ERROR_FORMAT, "the %s of a tensor holds %lld", what,
                               (long long)item->as.integer);
        sizes[i] = (uint64_t)item->as.integer;
    }
    return SN_OK;
}

/* ---- storages */

/* The name of a storage's entry; a key is plain text, and the entry must be there. */
static int find_storage(const struct zip_entry **entry, struct pickle *pickle,
                        const struct pickle_value *key)
{
    int status;
    if (strlen(key->as.text.bytes) != key->as.text.length)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "the key of a storage holds a NUL");
    *entry = torch_find_entry(&status, pickle->payload, pickle->context, "data/", key->as.text.bytes);
    if (status == SN_OK && !*entry)
        status = pickle_fail(pickle, SN_ERROR_FORMAT, "storage \"%.200s\" is not in the file",
                             key->as.text.bytes);
    return status;
}

/* ("storage", type, key, location, number of elements); the location (cuda:0) does not matter here. */
static int make_storage(struct pickle_value **out, struct pickle *pickle, struct pickle_value *id)
{
    struct pickle_value **items = id->as.items.list;
    const struct zip_entry *entry = NULL;
    if (id->kind != PICKLE_TUPLE || id->as.items.n != 5 || !pickle_is_text(items[0], "storage") ||
        items[1]->kind != PICKLE_GLOBAL || items[2]->kind != PICKLE_TEXT ||
        items[3]->kind != PICKLE_TEXT || items[4]->kind != PICKLE_INTEGER)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "a persistent id that is no storage");
    const struct pickle_global *global = items[1]->as.global;
    if (global->tag == NO_TYPE || !strstr(global->name, "Storage"))
        return pickle_fail(pickle, SN_ERROR_FORMAT, "%s.%s is no type of a storage", global->module,
                           global->name);
    int status = find_storage(&entry, pickle, items[2]);
    if (status != SN_OK)
        return status;
    const uint64_t size = global->tag == UNTYPED ? 1 : tensor_type_size((enum tensor_type)global->tag);
    const int64_t n = items[4]->as.integer;
    if (n < 0 || entry->size % size != 0 || (uint64_t)n != entry->size / size)
        return pickle_fail(
            pickle, SN_ERROR_FORMAT,
            "storage \"%.200s\" of %lld elements of %llu bytes has %llu bytes in the file",
            items[2]->as.text.bytes, (long long)n, (unsigned long long)size,
            (unsigned long long)entry->size);
    struct storage *storage = pickle_allocate(pickle, sizeof *storage);
    if (!storage)
        return pickle->status;
    storage->entry = entry;
    storage->type = global->tag;
    *out = pickle_new_object(pickle, TORCH_OBJECT_STORAGE, storage);
    return *out ? SN_OK : pickle->status;
}

/* ---- tensors */

static int count_elements(uint64_t *count, struct pickle *pickle, const uint64_t *dimensions, size_t n)
{
    *count = 1;
    for (size_t i = 0; i < n; i++)
        if (__builtin_mul_overflow(*count, dimensions[i], count))
            return pickle_fail(pickle, SN_ERROR_FORMAT, "the size of a tensor overflows");
    return SN_OK;
}

/* Whether the strides are those of a row-major array; a dimension of 1 may have any. */
static int is_contiguous(const struct torch_tensor *tensor)
{
    uint64_t stride = 1;
    for (size_t i = tensor->n_dimensions; i > 0; i--) {
        if (tensor->dimensions[i - 1] != 1 && tensor->strides[i - 1] != stride)
            return 0;
        stride *= tensor->dimensions[i - 1];
    }
    return 1;
}

/* The last element that the shape reaches stands in the storage. */
static int check_reach(struct pickle *pickle, const struct torch_tensor *tensor, uint64_t n_storage)
{
    uint64_t last = tensor->offset, step;
    int overflow = 0;
    for (size_t i = 0; i < tensor->n_dimensions && tensor->count; i++)
        overflow |= __builtin_mul_overflow(tensor->dimensions[i] - 1, tensor->strides[i], &step) ||
                    __builtin_add_overflow(last, step, &last);
    if (!overflow && (tensor->count ? last < n_storage : last <= n_storage))
        return SN_OK;
    return pickle_fail(pickle, SN_ERROR_FORMAT,
                       "a tensor reaches beyond the %llu elements of its storage (offset %llu)",
                       (unsigned long long)n_storage, (unsigned long long)tensor->offset);
}

/* Strides of 0 make many elements of few; a file may not make more of them than a limit. */
static int count_expanded(struct pickle *pickle, const struct torch_tensor *tensor, uint64_t n_storage)
{
    struct torch_file *file = pickle->payload;
    if (tensor->count <= n_storage)
        return SN_OK;
    if (tensor->count - n_storage > TORCH_MAX_EXPANDED - file->n_expanded)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "a tensor of %llu elements on a storage of %llu",
                           (unsigned long long)tensor->count, (unsigned long long)n_storage);
    file->n_expanded += tensor->count - n_storage;
    return SN_OK;
}

/* arguments: storage, offset, size, stride. */
static int make_tensor(struct pickle_value **out, struct pickle *pickle,
                       const struct pickle_global *global, const struct pickle_value *arguments,
                       int type)
{
    struct pickle_value **items = arguments->as.items.list;
    size_t n_strides = 0;
    const struct storage *storage = object_of(pickle, global, arguments, 0, TORCH_OBJECT_STORAGE);
    int status = storage ? check_kind(pickle, global, arguments, 1, PICKLE_INTEGER) : SN_ERROR_FORMAT;
    if (status != SN_OK)
        return status;
    struct torch_tensor *tensor = pickle_allocate(pickle, sizeof *tensor);
    if (!tensor)
        return pickle->status;
    if ((type == NO_TYPE) == (storage->type == UNTYPED))
        return pickle_fail(pickle, SN_ERROR_FORMAT, "%s.%s: the storage has %s element type",
                           global->module, global->name, type == NO_TYPE ? "no" : "its own");
    if (items[1]->as.integer < 0)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "a tensor begins at element %lld of its storage",
                           (long long)items[1]->as.integer);
    tensor->type = (enum tensor_type)(type == NO_TYPE ? storage->type : type);
    tensor->storage = storage->entry;
    tensor->offset = (uint64_t)items[1]->as.integer;
    const uint64_t n_storage = storage->entry->size / tensor_type_size(tensor->type);
    status = read_sizes(tensor->dimensions, &tensor->n_dimensions, pickle, items[2], "size");
    if (status == SN_OK)
        status = read_sizes(tensor->strides, &n_strides, pickle, items[3], "stride");
    if (status == SN_OK && n_strides != tensor->n_dimensions)
        status = pickle_fail(pickle, SN_ERROR_FORMAT, "a tensor of %zu dimensions has %zu strides",
                             tensor->n_dimensions, n_strides);
    if (status == SN_OK)
        status = count_elements(&tensor->count, pickle, tensor->dimensions, tensor->n_dimensions);
    if (status == SN_OK)
        status = check_reach(pickle, tensor, n_storage);
    if (status == SN_OK)
        status = count_expanded(pickle, tensor, n_storage);
    if (status != SN_OK)
        return status;
    tensor->is_contiguous = is_contiguous(tensor);
    *out = pickle_new_object(pickle, TORCH_OBJECT_TENSOR, tensor);
    return *out ? SN_OK : pickle->status;
}

/* storage, offset, size, stride, requires_grad, hooks [, metadata] */
static int rebuild_tensor_v2(struct pickle_value **out, struct pickle *pickle,
                             const struct pickle_global *global, struct pickle_value *arguments)
{
    int status = check_count(pickle, global, arguments, 6, 7);
    if (status == SN_OK)
        status = check_gradient_arguments(pickle, global, arguments, 4);
    return status == SN_OK ? make_tensor(out, pickle, global, arguments, NO_TYPE) : status;
}

/* An untyped storage, then offset, size, stride, requires_grad, hooks, dtype [, metadata] */
static int rebuild_tensor_v3(struct pickle_value **out, struct pickle *pickle,
                             const struct pickle_global *global, struct pickle_value *arguments)
{
    int status = check_count(pickle, global, arguments, 7, 8);
    if (status == SN_OK)
        status = check_gradient_arguments(pickle, global, arguments, 4);
    if (status == SN_OK)
        status = check_kind(pickle, global, arguments, 6, PICKLE_GLOBAL);
    if (status != SN_OK)
        return status;
    const struct pickle_global *type = arguments->as.items.list[6]->as.global;
    if (type->tag < 0 || type->tag >= TENSOR_TYPES || strstr(type->name, "Storage"))
        return pickle_fail(pickle, SN_ERROR_FORMAT, "%s.%s is no dtype", type->module, type->name);
    return make_tensor(out, pickle, global, arguments, type->tag);
}

/* A Parameter is its tensor: data, requires_grad, hooks [, state] */
static int rebuild_parameter(struct pickle_value **out, struct pickle *pickle,
                             const struct pickle_global *global, struct pickle_value *arguments)
{
    const uint32_t n = strcmp(global->name, "_rebuild_parameter") == 0 ? 3 : 4;
    int status = check_count(pickle, global, arguments, n, n);
    if (status == SN_OK)
        status = check_gradient_arguments(pickle, global, arguments, 1);
    if (status == SN_OK && !object_of(pickle, global, arguments, 0, TORCH_OBJECT_TENSOR))
        status = SN_ERROR_FORMAT;
    if (status == SN_OK)
        *out = arguments->as.items.list[0];
    return status;
}

static int check_sparse(struct pickle *pickle, const struct torch_tensor *tensor)
{
    const struct torch_tensor *indices = tensor->indices, *values = tensor->values;
    if (!indices->storage || !values->storage || indices->type != TENSOR_I64 ||
        indices->n_dimensions != 2 || values->n_dimensions == 0 ||
        indices->dimensions[1] != values->dimensions[0])
        return pickle_fail(pickle, SN_ERROR_FORMAT,
                           "a sparse tensor whose indices and values do not fit");
    if (values->n_dimensions != 1)
        return pickle_fail(pickle, SN_ERROR_UNSUPPORTED, "a sparse tensor with dense dimensions");
    if (indices->dimensions[0] != tensor->n_dimensions)
        return pickle_fail(pickle, SN_ERROR_FORMAT,
                           "a sparse tensor of %zu dimensions has indices of %llu", tensor->n_dimensions,
                           (unsigned long long)indices->dimensions[0]);
    return SN_OK;
}

/* layout, (indices, values, size [, is_coalesced]) */
static int rebuild_sparse_tensor(struct pickle_value **out, struct pickle *pickle,
                                 const struct pickle_global *global, struct pickle_value *arguments)
{
    int status = check_count(pickle, global, arguments, 2, 2);
    if (status == SN_OK)
        status = check_kind(pickle, global, arguments, 1, PICKLE_TUPLE);
    if (status != SN_OK)
        return status;
    if (!pickle_is_text(arguments->as.items.list[0], "torch.sparse_coo"))
        return pickle_fail(pickle, SN_ERROR_UNSUPPORTED, "a sparse layout other than torch.sparse_coo");
    const struct pickle_value *parts = arguments->as.items.list[1];
    status = check_count(pickle, global, parts, 3, 4);
    if (status != SN_OK)
        return status;
    struct torch_tensor *tensor = pickle_allocate(pickle, sizeof *tensor);
    if (!tensor)
        return pickle->status;
    tensor->indices = object_of(pickle, global, parts, 0, TORCH_OBJECT_TENSOR);
    tensor->values = tensor->indices ? object_of(pickle, global, parts, 1, TORCH_OBJECT_TENSOR) : NULL;
    if (!tensor->values)
        return SN_ERROR_FORMAT;
    tensor->type = tensor->values->type;
    status =
        read_sizes(tensor->dimensions, &tensor->n_dimensions, pickle, parts->as.items.list[2], "size");
    if (status == SN_OK)
        status = count_elements(&tensor->count, pickle, tensor->dimensions, tensor->n_dimensions);
    if (status == SN_OK)
        status = check_sparse(pickle, tensor);
    if (status != SN_OK)
        return status;
    *out = pickle_new_object(pickle, TORCH_OBJECT_TENSOR, tensor);
    return *out ? SN_OK : pickle->status;
}

/* ---- plain values */

static int make_dict(struct pickle_value **out, struct pickle *pickle,
                     const struct pickle_global *global, struct pickle_value *arguments)
{
    int status = check_count(pickle, global, arguments, 0, 0);
    if (status != SN_OK)
        return status;
    *out = pickle_new(pickle, PICKLE_DICT);
    return *out ? SN_OK : pickle->status;
}

/* torch.Size((3, 4)) is the tuple. */
static int make_size(struct pickle_value **out, struct pickle *pickle,
                     const struct pickle_global *global, struct pickle_value *arguments)
{
    int status = check_count(pickle, global, arguments, 1, 1);
    if (status == SN_OK)
        status = check_kind(pickle, global, arguments, 0, PICKLE_TUPLE);
    if (status == SN_OK)
        *out = arguments->as.items.list[0];
    return status;
}

/* A layout or a device is its text; the number behind a device's type is dropped. */
static int make_text(struct pickle_value **out, struct pickle *pickle,
                     const struct pickle_global *global, struct pickle_value *arguments)
{
    int status = check_count(pickle, global, arguments, 1, 2);
    if (status == SN_OK)
        status = check_kind(pickle, global, arguments, 0, PICKLE_TEXT);
    if (status == SN_OK)
        *out = arguments->as.items.list[0];
    return status;
}

/* ---- the allow-list */

static const struct pickle_global globals[] = {
    {"collections", "OrderedDict", make_dict, NO_TYPE},
    {"torch._utils", "_rebuild_tensor_v2", rebuild_tensor_v2, NO_TYPE},
    {"torch._utils", "_rebuild_tensor_v3", rebuild_tensor_v3, NO_TYPE},
    {"torch._utils", "_rebuild_parameter", rebuild_parameter, NO_TYPE},
    {"torch._utils", "_rebuild_parameter_with_state", rebuild_parameter, NO_TYPE},
    {"torch._utils", "_rebuild_sparse_tensor", rebuild_sparse_tensor, NO_TYPE},
    {"torch.serialization", "_get_layout", make_text, NO_TYPE},
    {"torch", "Size", make_size, NO_TYPE},
    {"torch", "device", make_text, NO_TYPE},
    {"torch", "DoubleStorage", NULL, TENSOR_F64},
    {"torch", "FloatStorage", NULL, TENSOR_F32},
    {"torch", "HalfStorage", NULL, TENSOR_F16},
    {"torch", "BFloat16Storage", NULL, TENSOR_BF16},
    {"torch", "LongStorage", NULL, TENSOR_I64},
    {"torch", "IntStorage", NULL, TENSOR_I32},
    {"torch", "ShortStorage", NULL, TENSOR_I16},
    {"torch", "CharStorage", NULL, TENSOR_I8},
    {"torch", "ByteStorage", NULL, TENSOR_U8},
    {"torch", "BoolStorage", NULL, TENSOR_BOOL},
    {"torch.storage", "UntypedStorage", NULL, UNTYPED},
    {"torch", "float64", NULL, TENSOR_F64},
    {"torch", "float32", NULL, TENSOR_F32},
    {"torch", "float16", NULL, TENSOR_F16},
    {"torch", "bfloat16", NULL, TENSOR_BF16},
    {"torch", "int64", NULL, TENSOR_I64},
    {"torch", "int32", NULL, TENSOR_I32},
    {"torch", "int16", NULL, TENSOR_I16},
    {"torch", "int8", NULL, TENSOR_I8},
    {"torch", "uint32", NULL, TENSOR_U32},
    {"torch", "uint16", NULL, TENSOR_U16},
    {"torch", "uint8", NULL, TENSOR_U8},
    {"torch", "bool", NULL, TENSOR_BOOL},
};

const struct pickle_rules torch_rules = {globals, sizeof globals / sizeof *globals, make_storage};
