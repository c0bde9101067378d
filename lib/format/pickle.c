#include "format/pickle.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define MAX_PROTOCOL 5

struct opcode {
    const char *name;
    int (*run)(struct pickle *pickle, unsigned opcode); /* NULL: known, and refused */
};

static const struct opcode *opcode_of(unsigned byte);

int pickle_fail(struct pickle *pickle, int status, const char *format, ...)
{
    char reason[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    const unsigned byte = pickle->opcode_at < pickle->size ? pickle->bytes[pickle->opcode_at] : 0;
    const struct opcode *opcode = opcode_of(byte);
    return fail(pickle->context, status, "%s: %s: opcode %s (0x%02X) at byte %zu: %s", pickle->path,
                pickle->name, opcode->name ? opcode->name : "unknown", byte, pickle->opcode_at, reason);
}

/* ---- bytes */

/* The next `size` bytes of the pickle, which move past; NULL after a message when they are not there. */
static unsigned char *take(struct pickle *pickle, uint64_t size)
{
    if (size > pickle->size - pickle->at) {
        pickle_fail(pickle, SN_ERROR_FORMAT, "%llu bytes are wanted, the pickle has %zu more",
                    (unsigned long long)size, pickle->size - pickle->at);
        return NULL;
    }
    unsigned char *bytes = pickle->bytes + pickle->at;
    pickle->at += (size_t)size;
    return bytes;
}

static int take_little(uint64_t *value, struct pickle *pickle, size_t size)
{
    const unsigned char *bytes = take(pickle, size);
    if (!bytes)
        return SN_ERROR_FORMAT;
    *value = 0;
    for (size_t i = size; i > 0; i--)
        *value = *value << 8 | bytes[i - 1];
    return SN_OK;
}

/* A line of a GLOBAL opcode, without its end, which becomes a NUL. */
static char *take_line(struct pickle *pickle)
{
    unsigned char *start = pickle->bytes + pickle->at;
    unsigned char *end = memchr(start, '\n', pickle->size - pickle->at);
    if (!end) {
        pickle_fail(pickle, SN_ERROR_FORMAT, "a line without end");
        return NULL;
    }
    pickle->at += (size_t)(end - start) + 1;
    *end = '\0';
    return (char *)start;
}

/* ---- the stack */

/* Makes room for `needed` pointers, the new ones NULL; `limit` and `what` for the message. */
static int reserve(struct pickle_value ***array, size_t *capacity, struct pickle *pickle, size_t needed,
                   size_t limit, const char *what)
{
    if (needed <= *capacity)
        return SN_OK;
    if (needed > limit)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "more than %zu %s", limit, what);
    size_t larger = *capacity ? 2 * *capacity : 256;
    larger = larger < needed ? needed : larger > limit ? limit : larger;
    struct pickle_value **grown =
        memory_resize(pickle->memory, *array, *capacity * sizeof **array, larger * sizeof **array);
    if (!grown)
        return fail_memory(pickle->context, "a pickle", larger * sizeof **array);
    memset(grown + *capacity, 0, (larger - *capacity) * sizeof *grown);
    *array = grown;
    *capacity = larger;
    return SN_OK;
}

/* Takes NULL for what an allocation has refused. */
static int push(struct pickle *pickle, struct pickle_value *value)
{
    if (!value)
        return pickle->status;
    int status = reserve(&pickle->stack, &pickle->stack_capacity, pickle, pickle->n_stack + 1,
                         PICKLE_MAX_STACK, "values on the stack");
    if (status == SN_OK)
        pickle->stack[pickle->n_stack++] = value;
    return status;
}

/* The topmost n values, above the last mark, leave the stack; NULL after a message when there are fewer. */
static struct pickle_value **pop(struct pickle *pickle, size_t n)
{
    const size_t floor = pickle->n_marks ? pickle->marks[pickle->n_marks - 1] : 0;
    if (n > pickle->n_stack - floor) {
        pickle_fail(pickle, SN_ERROR_FORMAT, "%zu values are wanted from the stack, it has %zu", n,
                    pickle->n_stack - floor);
        return NULL;
    }
    pickle->n_stack -= n;
    return pickle->stack + pickle->n_stack;
}

/* All values above the last mark leave the stack, and the mark. */
static struct pickle_value **pop_to_mark(size_t *n, struct pickle *pickle)
{
    if (!pickle->n_marks) {
        pickle_fail(pickle, SN_ERROR_FORMAT, "there is no MARK");
        return NULL;
    }
    const size_t floor = pickle->marks[--pickle->n_marks];
    *n = pickle->n_stack - floor;
    pickle->n_stack = floor;
    return pickle->stack + floor;
}

/* The topmost value, which stays; NULL after a message unless it is of this kind. */
static struct pickle_value *top_of_kind(struct pickle *pickle, enum pickle_kind kind, const char *wanted)
{
    struct pickle_value **top = pop(pickle, 1);
    if (!top)
        return NULL;
    pickle->n_stack++;
    if ((*top)->kind == kind)
        return *top;
    pickle_fail(pickle, SN_ERROR_FORMAT, "%s is wanted on the stack, not %s", wanted,
                pickle_kind_name(*top));
    return NULL;
}

/* ---- opcodes: scalars and texts */

static int run_protocol(struct pickle *pickle, unsigned opcode)
{
    uint64_t version;
    (void)opcode;
    int status = take_little(&version, pickle, 1);
    if (status == SN_OK && version > MAX_PROTOCOL)
        status = pickle_fail(pickle, SN_ERROR_UNSUPPORTED, "protocol %u; at most %d is read",
                             (unsigned)version, MAX_PROTOCOL);
    return status;
}

/* A frame only announces how many bytes follow. */
static int run_frame(struct pickle *pickle, unsigned opcode)
{
    uint64_t size;
    (void)opcode;
    int status = take_little(&size, pickle, 8);
    if (status == SN_OK && size > pickle->size - pickle->at)
        status = pickle_fail(pickle, SN_ERROR_FORMAT, "a frame of %llu bytes, the pickle has %zu more",
                             (unsigned long long)size, pickle->size - pickle->at);
    return status;
}

static int run_constant(struct pickle *pickle, unsigned opcode)
{
    return push(pickle, opcode == 'N'    ? &pickle->none
                        : opcode == ')'  ? &pickle->empty_tuple
                        : opcode == 0x88 ? &pickle->truth[1]
                                         : &pickle->truth[0]);
}

static int push_integer(struct pickle *pickle, int64_t integer)
{
    struct pickle_value *value = pickle_new(pickle, PICKLE_INTEGER);
    if (value)
        value->as.integer = integer;
    return push(pickle, value);
}

static int run_integer(struct pickle *pickle, unsigned opcode)
{
    uint64_t raw;
    int status = take_little(&raw, pickle, opcode == 'K' ? 1 : opcode == 'M' ? 2 : 4);
    if (status != SN_OK)
        return status;
    return push_integer(pickle, opcode == 'J' ? (int32_t)(uint32_t)raw : (int64_t)raw);
}

/* Two's complement of up to 255 bytes; what does not fit 64 bits is refused. */
static int run_long(struct pickle *pickle, unsigned opcode)
{
    uint64_t size, raw = 0;
    (void)opcode;
    int status = take_little(&size, pickle, 1);
    if (status != SN_OK)
        return status;
    const unsigned char *bytes = take(pickle, size);
    if (!bytes)
        return SN_ERROR_FORMAT;
    const unsigned char sign = size && bytes[size - 1] & 0x80 ? 0xFF : 0;
    for (size_t i = 8; i > 0; i--)
        raw = raw << 8 | (i <= size ? bytes[i - 1] : sign);
    int fits = size < 8 || (raw >> 63 != 0) == (sign != 0);
    for (size_t i = 8; i < size; i++)
        fits &= bytes[i] == sign;
    if (!fits)
        return pickle_fail(pickle, SN_ERROR_UNSUPPORTED, "an integer of more than 64 bits");
    return push_integer(pickle, (int64_t)raw);
}

static int run_number(struct pickle *pickle, unsigned opcode)
{
    uint64_t raw = 0;
    (void)opcode;
    const unsigned char *bytes = take(pickle, 8);
    if (!bytes)
        return SN_ERROR_FORMAT;
    for (int i = 0; i < 8; i++)
        raw = raw << 8 | bytes[i];
    struct pickle_value *value = pickle_new(pickle, PICKLE_NUMBER);
    if (value)
        memcpy(&value->as.number, &raw, sizeof raw);
    return push(pickle, value);
}

/* A length, then as many bytes. They move one byte down, over the end of the length, to make room for a NUL. */
static int take_bytes(struct pickle *pickle, enum pickle_kind kind, size_t size_of_length)
{
    uint64_t length;
    int status = take_little(&length, pickle, size_of_length);
    if (status != SN_OK)
        return status;
    unsigned char *bytes = take(pickle, length);
    if (!bytes)
        return SN_ERROR_FORMAT;
    if (kind == PICKLE_TEXT && !utf8_is_valid(bytes, (size_t)length))
        return pickle_fail(pickle, SN_ERROR_FORMAT, "the text is not UTF-8");
    struct pickle_value *value = pickle_new(pickle, kind);
    if (!value)
        return pickle->status;
    memmove(bytes - 1, bytes, (size_t)length);
    bytes[(ptrdiff_t)length - 1] = '\0';
    value->as.text.bytes = (const char *)bytes - 1;
    value->as.text.length = (size_t)length;
    return push(pickle, value);
}

static int run_text(struct pickle *pickle, unsigned opcode)
{
    return take_bytes(pickle, PICKLE_TEXT, opcode == 'X' ? 4 : opcode == 0x8C ? 1 : 8);
}

static int run_bytes(struct pickle *pickle, unsigned opcode)
{
    return take_bytes(pickle, PICKLE_BYTES, opcode == 'B' ? 4 : 1);
}

/* ---- opcodes: containers */

static int run_mark(struct pickle *pickle, unsigned opcode)
{
    (void)opcode;
    if (pickle->n_marks == sizeof pickle->marks / sizeof *pickle->marks)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "values nested deeper than %d levels",
                           PICKLE_MAX_DEPTH);
    pickle->marks[pickle->n_marks++] = pickle->n_stack;
    return SN_OK;
}

static int run_empty(struct pickle *pickle, unsigned opcode)
{
    return push(pickle, pickle_new(pickle, opcode == ']' ? PICKLE_LIST : PICKLE_DICT));
}

static int append(struct pickle *pickle, struct pickle_value *container, struct pickle_value **items,
                  size_t n)
{
    int status = SN_OK;
    for (size_t i = 0; i < n && status == SN_OK; i++)
        status = pickle_push_item(pickle, container, items[i]);
    return status;
}

/* `items` stand just above the stack. */
static int push_tuple(struct pickle *pickle, struct pickle_value **items, size_t n)
{
    struct pickle_value *tuple = n ? pickle_new(pickle, PICKLE_TUPLE) : &pickle->empty_tuple;
    if (!tuple)
        return pickle->status;
    if (n) {
        tuple->as.items.list = pickle_allocate(pickle, n * sizeof *items);
        if (!tuple->as.items.list)
            return pickle->status;
        memcpy(tuple->as.items.list, items, n * sizeof *items);
        tuple->as.items.n = tuple->as.items.capacity = (uint32_t)n; /* at most PICKLE_MAX_STACK */
    }
    return push(pickle, tuple);
}

static int run_tuple(struct pickle *pickle, unsigned opcode)
{
    size_t n = opcode - 0x85 + 1;
    struct pickle_value **items = opcode == 't' ? pop_to_mark(&n, pickle) : pop(pickle, n);
    return items ? push_tuple(pickle, items, n) : SN_ERROR_FORMAT;
}

static int run_append(struct pickle *pickle, unsigned opcode)
{
    size_t n = 1;
    struct pickle_value **items = opcode == 'e' ? pop_to_mark(&n, pickle) : pop(pickle, n);
    struct pickle_value *list = items ? top_of_kind(pickle, PICKLE_LIST, "a list") : NULL;
    return list ? append(pickle, list, items, n) : SN_ERROR_FORMAT;
}

static int run_set_items(struct pickle *pickle, unsigned opcode)
{
    size_t n = 2;
    struct pickle_value **items = opcode == 'u' ? pop_to_mark(&n, pickle) : pop(pickle, n);
    struct pickle_value *dict = items ? top_of_kind(pickle, PICKLE_DICT, "a dict") : NULL;
    if (!dict)
        return SN_ERROR_FORMAT;
    if (n % 2)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "a key without a value");
    return append(pickle, dict, items, n);
}

/* ---- opcodes: the memo */

static int put(struct pickle *pickle, uint64_t slot)
{
    struct pickle_value **top = pop(pickle, 1);
    if (!top)
        return SN_ERROR_FORMAT;
    pickle->n_stack++;
    if (slot >= PICKLE_MAX_MEMO)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "memo slot %llu; the limit is %zu",
                           (unsigned long long)slot, PICKLE_MAX_MEMO);
    int status = reserve(&pickle->memo, &pickle->memo_capacity, pickle, (size_t)slot + 1,
                         PICKLE_MAX_MEMO, "memo slots");
    if (status != SN_OK)
        return status;
    pickle->n_memo += !pickle->memo[slot];
    pickle->memo[slot] = pickle->stack[pickle->n_stack - 1];
    return SN_OK;
}

static int run_put(struct pickle *pickle, unsigned opcode)
{
    uint64_t slot;
    if (opcode == 0x94) /* MEMOIZE: the slot is how many there have been */
        return put(pickle, pickle->n_memo);
    int status = take_little(&slot, pickle, opcode == 'q' ? 1 : 4);
    return status == SN_OK ? put(pickle, slot) : status;
}

static int run_get(struct pickle *pickle, unsigned opcode)
{
    uint64_t slot;
    int status = take_little(&slot, pickle, opcode == 'h' ? 1 : 4);
    if (status != SN_OK)
        return status;
    if (slot >= pickle->memo_capacity || !pickle->memo[slot])
        return pickle_fail(pickle, SN_ERROR_FORMAT, "memo slot %llu has never been set",
                           (unsigned long long)slot);
    return push(pickle, pickle->memo[slot]);
}

/* ---- opcodes: globals and calls */

static int push_global(struct pickle *pickle, const char *module, const char *name)
{
    if (!utf8_is_valid((const unsigned char *)module, strlen(module)) ||
        !utf8_is_valid((const unsigned char *)name, strlen(name)))
        return pickle_fail(pickle, SN_ERROR_FORMAT, "the name of a global is not UTF-8");
    for (size_t i = 0; i < pickle->rules->n_globals; i++) {
        const struct pickle_global *global = &pickle->rules->globals[i];
        if (strcmp(global->module, module) != 0 || strcmp(global->name, name) != 0)
            continue;
        struct pickle_value *value = pickle_new(pickle, PICKLE_GLOBAL);
        if (value)
            value->as.global = global;
        return push(pickle, value);
    }
    return pickle_fail(pickle, SN_ERROR_UNSUPPORTED, "global %.200s.%.200s is not allowed", module,
                       name);
}

static int run_global(struct pickle *pickle, unsigned opcode)
{
    (void)opcode;
    const char *module = take_line(pickle);
    const char *name = module ? take_line(pickle) : NULL;
    return name ? push_global(pickle, module, name) : SN_ERROR_FORMAT;
}

static int run_stack_global(struct pickle *pickle, unsigned opcode)
{
    (void)opcode;
    struct pickle_value **names = pop(pickle, 2);
    if (!names)
        return SN_ERROR_FORMAT;
    for (int i = 0; i < 2; i++)
        if (names[i]->kind != PICKLE_TEXT || strlen(names[i]->as.text.bytes) != names[i]->as.text.length)
            return pickle_fail(pickle, SN_ERROR_FORMAT, "the name of a global is %s",
                               names[i]->kind == PICKLE_TEXT ? "a text with a NUL"
                                                             : pickle_kind_name(names[i]));
    return push_global(pickle, names[0]->as.text.bytes, names[1]->as.text.bytes);
}

static int run_reduce(struct pickle *pickle, unsigned opcode)
{
    struct pickle_value **pair = pop(pickle, 2), *result = NULL;
    (void)opcode;
    if (!pair)
        return SN_ERROR_FORMAT;
    if (pair[0]->kind != PICKLE_GLOBAL || pair[1]->kind != PICKLE_TUPLE)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "a call of %s with %s", pickle_kind_name(pair[0]),
                           pickle_kind_name(pair[1]));
    const struct pickle_global *global = pair[0]->as.global;
    if (!global->call)
        return pickle_fail(pickle, SN_ERROR_UNSUPPORTED, "%s.%s may be named, not called",
                           global->module, global->name);
    int status = global->call(&result, pickle, global, pair[1]);
    return status == SN_OK ? push(pickle, result) : status;
}

/* The state of an OrderedDict holds the _metadata of a state dict, which nothing here needs. */
static int run_build(struct pickle *pickle, unsigned opcode)
{
    (void)opcode;
    struct pickle_value **state = pop(pickle, 1);
    if (!state)
        return SN_ERROR_FORMAT;
    if ((*state)->kind != PICKLE_DICT)
        return pickle_fail(pickle, SN_ERROR_UNSUPPORTED, "a state that is %s", pickle_kind_name(*state));
    return top_of_kind(pickle, PICKLE_DICT, "a dict") ? SN_OK : SN_ERROR_FORMAT;
}

static int run_persistent(struct pickle *pickle, unsigned opcode)
{
    struct pickle_value **id = pop(pickle, 1), *result = NULL;
    (void)opcode;
    if (!id)
        return SN_ERROR_FORMAT;
    if (!pickle->rules->persistent)
        return pickle_fail(pickle, SN_ERROR_UNSUPPORTED, "persistent ids are not allowed");
    int status = pickle->rules->persistent(&result, pickle, *id);
    return status == SN_OK ? push(pickle, result) : status;
}

/* ---- the machine */

#define STOP '.'

static const struct opcode opcodes[256] = {
    [0x80] = {"PROTO", run_protocol},
    [0x95] = {"FRAME", run_frame},
    [STOP] = {"STOP", NULL},
    ['('] = {"MARK", run_mark},
    ['N'] = {"NONE", run_constant},
    [0x88] = {"NEWTRUE", run_constant},
    [0x89] = {"NEWFALSE", run_constant},
    [')'] = {"EMPTY_TUPLE", run_constant},
    ['J'] = {"BININT", run_integer},
    ['K'] = {"BININT1", run_integer},
    ['M'] = {"BININT2", run_integer},
    [0x8A] = {"LONG1", run_long},
    ['G'] = {"BINFLOAT", run_number},
    ['X'] = {"BINUNICODE", run_text},
    [0x8C] = {"SHORT_BINUNICODE", run_text},
    [0x8D] = {"BINUNICODE8", run_text},
    ['B'] = {"BINBYTES", run_bytes},
    ['C'] = {"SHORT_BINBYTES", run_bytes},
    [']'] = {"EMPTY_LIST", run_empty},
    ['}'] = {"EMPTY_DICT", run_empty},
    ['t'] = {"TUPLE", run_tuple},
    [0x85] = {"TUPLE1", run_tuple},
    [0x86] = {"TUPLE2", run_tuple},
    [0x87] = {"TUPLE3", run_tuple},
    ['a'] = {"APPEND", run_append},
    ['e'] = {"APPENDS", run_append},
    ['s'] = {"SETITEM", run_set_items},
    ['u'] = {"SETITEMS", run_set_items},
    ['q'] = {"BINPUT", run_put},
    ['r'] = {"LONG_BINPUT", run_put},
    [0x94] = {"MEMOIZE", run_put},
    ['h'] = {"BINGET", run_get},
    ['j'] = {"LONG_BINGET", run_get},
    ['c'] = {"GLOBAL", run_global},
    [0x93] = {"STACK_GLOBAL", run_stack_global},
    ['R'] = {"REDUCE", run_reduce},
    ['b'] = {"BUILD", run_build},
    ['Q'] = {"BINPERSID", run_persistent},
    /* Known and refused: they import or make objects, or torch.save never writes them. */
    ['i'] = {"INST", NULL},
    ['o'] = {"OBJ", NULL},
    [0x81] = {"NEWOBJ", NULL},
    [0x92] = {"NEWOBJ_EX", NULL},
    [0x82] = {"EXT1", NULL},
    [0x83] = {"EXT2", NULL},
    [0x84] = {"EXT4", NULL},
    ['P'] = {"PERSID", NULL},
    ['0'] = {"POP", NULL},
    ['1'] = {"POP_MARK", NULL},
    ['2'] = {"DUP", NULL},
    ['F'] = {"FLOAT", NULL},
    ['I'] = {"INT", NULL},
    ['L'] = {"LONG", NULL},
    [0x8B] = {"LONG4", NULL},
    ['S'] = {"STRING", NULL},
    ['T'] = {"BINSTRING", NULL},
    ['U'] = {"SHORT_BINSTRING", NULL},
    ['V'] = {"UNICODE", NULL},
    [0x8E] = {"BINBYTES8", NULL},
    [0x96] = {"BYTEARRAY8", NULL},
    [0x97] = {"NEXT_BUFFER", NULL},
    [0x98] = {"READONLY_BUFFER", NULL},
    ['d'] = {"DICT", NULL},
    ['l'] = {"LIST", NULL},
    ['g'] = {"GET", NULL},
    ['p'] = {"PUT", NULL},
    [0x8F] = {"EMPTY_SET", NULL},
    [0x90] = {"ADDITEMS", NULL},
    [0x91] = {"FROZENSET", NULL},
};

static const struct opcode *opcode_of(unsigned byte)
{
    return &opcodes[byte];
}

/* STOP: one value is left, which is the result, and nothing stands behind. */
static int stop(struct pickle *pickle)
{
    if (pickle->n_stack != 1 || pickle->n_marks)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "%zu values and %zu marks are left", pickle->n_stack,
                           pickle->n_marks);
    if (pickle->at != pickle->size)
        return pickle_fail(pickle, SN_ERROR_FORMAT, "%zu bytes behind the end",
                           pickle->size - pickle->at);
    int status = pickle_check_tree(pickle, pickle->stack[0]);
    if (status == SN_OK)
        pickle->root = pickle->stack[0];
    return status;
}

static int run(struct pickle *pickle)
{
    int status = reserve(&pickle->stack, &pickle->stack_capacity, pickle, 1, PICKLE_MAX_STACK, "values");
    if (pickle->size > PICKLE_MAX_BYTES)
        return fail(pickle->context, SN_ERROR_FORMAT, "%s: %s: %zu bytes, the limit is %zu",
                    pickle->path, pickle->name, pickle->size, PICKLE_MAX_BYTES);
    while (status == SN_OK) {
        pickle->opcode_at = pickle->at;
        if (pickle->at == pickle->size)
            return fail(pickle->context, SN_ERROR_FORMAT,
                        "%s: %s: the pickle ends at byte %zu without STOP", pickle->path, pickle->name,
                        pickle->size);
        const unsigned byte = pickle->bytes[pickle->at++];
        if (byte == STOP)
            return stop(pickle);
        status = opcodes[byte].run
                     ? opcodes[byte].run(pickle, byte)
                     : pickle_fail(pickle, SN_ERROR_UNSUPPORTED, "this opcode is not allowed");
    }
    return status;
}

int pickle_read(struct pickle *pickle, struct sn_context *context, const char *path, const char *name,
                unsigned char *bytes, size_t size, const struct pickle_rules *rules, void *payload)
{
    memset(pickle, 0, sizeof *pickle);
    pickle->context = context;
    pickle->memory = context->memory;
    pickle->path = path;
    pickle->name = name;
    pickle->bytes = bytes;
    pickle->size = size;
    pickle->rules = rules;
    pickle->payload = payload;
    pickle->none.kind = PICKLE_NONE;
    pickle->truth[0].kind = pickle->truth[1].kind = PICKLE_BOOL;
    pickle->truth[1].as.integer = 1;
    pickle->empty_tuple.kind = PICKLE_TUPLE;
    int status = run(pickle);
    memory_free(pickle->memory, pickle->stack, pickle->stack_capacity * sizeof *pickle->stack);
    memory_free(pickle->memory, pickle->memo, pickle->memo_capacity * sizeof *pickle->memo);
    pickle->stack = pickle->memo = NULL;
    pickle->stack_capacity = pickle->memo_capacity = 0;
    return status;
}
