/* Reading Python pickles by an allow-list. The machine knows the opcodes that torch.save writes (protocols 2 to
 * 5) and builds values; it never looks anything up, imports or calls. A global must stand in the reader's
 * table, and a call of it is a function of this library. Everything else is refused, with the opcode and its
 * place, or the global's name, in the message. */
#ifndef SN_FORMAT_PICKLE_H
#define SN_FORMAT_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/context.h"

#define PICKLE_MAX_BYTES ((size_t)64 << 20)   /* of the pickle itself */
#define PICKLE_MAX_MEMORY ((size_t)256 << 20) /* of all its values */
#define PICKLE_MAX_STACK ((size_t)1 << 22)    /* values on the stack */
#define PICKLE_MAX_MEMO ((size_t)1 << 22)     /* numbers of memo slots */
#define PICKLE_MAX_DEPTH 64                   /* containers inside each other */
#define PICKLE_MAX_TREE                                                                                 \
    ((uint32_t)1 << 24) /* values, those that stand in several places counted there */

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INTEGER,
    PICKLE_NUMBER,
    PICKLE_TEXT,
    PICKLE_BYTES,
    PICKLE_LIST,
    PICKLE_TUPLE,
    PICKLE_DICT,
    PICKLE_GLOBAL, /* a name of the table, not called: torch.float32 */
    PICKLE_OBJECT  /* what a call or a persistent id stands for */
};

struct pickle_value {
    uint8_t kind;      /* enum pickle_kind */
    uint8_t object;    /* of a PICKLE_OBJECT: what it is, as its maker says */
    uint8_t height;    /* levels of containers below, after the end */
    uint32_t n_values; /* in its tree, after the end */
    union {
        int64_t integer; /* also PICKLE_BOOL */
        double number;
        struct {
            const char *bytes; /* UTF-8 for a text; a NUL stands behind */
            size_t length;
        } text;
        struct {
            struct pickle_value **list; /* of a dict: key, value, key, value ... */
            uint32_t n, capacity;
        } items;
        const struct pickle_global *global;
        void *pointer; /* of a PICKLE_OBJECT */
    } as;
};

struct pickle;

/* One allowed global. call: the function that REDUCE stands for, NULL where the name may only be named. It
 * sets *out or fails through pickle_fail; arguments is a tuple. */
struct pickle_global {
    const char *module, *name;
    int (*call)(struct pickle_value **out, struct pickle *pickle, const struct pickle_global *global,
                struct pickle_value *arguments);
    int tag; /* for the reader's use */
};

struct pickle_rules {
    const struct pickle_global *globals;
    size_t n_globals;
    /* What a persistent id stands for; NULL: none are allowed. */
    int (*persistent)(struct pickle_value **out, struct pickle *pickle, struct pickle_value *id);
};

struct pickle_block;

struct pickle {
    struct sn_context *context;
    struct memory *memory;
    const char *path, *name; /* for messages: the file, and the pickle in it */
    const struct pickle_rules *rules;
    void *payload; /* for the reader's calls */
    unsigned char *bytes;
    size_t size, at, opcode_at;
    struct pickle_value **stack, **memo;
    size_t n_stack, stack_capacity, n_memo, memo_capacity;
    size_t marks[4 * PICKLE_MAX_DEPTH]; /* places in the stack */
    size_t n_marks;
    struct pickle_block *blocks;
    size_t n_bytes; /* of all blocks */
    struct pickle_value none, truth[2], empty_tuple;
    struct pickle_value *root;
    int status; /* why the last pickle_allocate gave NULL */
};

/* Reads a pickle. `bytes` are lent until pickle_free and are changed: texts stay in them. Errors:
 * SN_ERROR_FORMAT (malformed, a limit), SN_ERROR_UNSUPPORTED (outside the allow-list), SN_ERROR_MEMORY.
 * pickle_free is due in any case. */
int pickle_read(struct pickle *pickle, struct sn_context *context, const char *path, const char *name,
                unsigned char *bytes, size_t size, const struct pickle_rules *rules, void *payload);
void pickle_free(struct pickle *pickle);

/* The value of a text key, the last one if it stands twice; NULL when there is none or `dict` is no dict. */
const struct pickle_value *pickle_find(const struct pickle_value *dict, const char *key);
int pickle_is_text(const struct pickle_value *value, const char *text);
const char *pickle_kind_name(const struct pickle_value *value); /* "a list" */

/* ---- for the calls of a reader */

/* "path: name: OPCODE (0x52) at byte n: ..."; returns status. */
int pickle_fail(struct pickle *pickle, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Zeroed; NULL with pickle->status set, after a message. size: at most a few times that of the pickle. All live
 * until pickle_free. */
void *pickle_allocate(struct pickle *pickle, size_t size);
struct pickle_value *pickle_new(struct pickle *pickle, enum pickle_kind kind);
struct pickle_value *pickle_new_object(struct pickle *pickle, int object, void *pointer);
int pickle_push_item(struct pickle *pickle, struct pickle_value *container, struct pickle_value *item);
/* Refuses what is too deep, too large or contains itself; done by pickle_read for the root. */
int pickle_check_tree(struct pickle *pickle, struct pickle_value *root);

#endif
