/* Random sequences of calls of the public interface: what rows, which make one call each, are given.
 *
 * A call is either polite, with arguments that fit one another as far as can be known, so that it should
 * succeed, or it is not: then any argument may be NULL, of another model or context, out of range, no
 * number, no text. Arrays are blocks of their own of exactly the size that the header asks for, so that
 * AddressSanitizer sees a step too far. What no caller could ask for is not tried: an array that is shorter
 * than its count says, an object after its end, one that is lent to a trainer or a search and then changed. */
#ifndef SN_TESTS_PLAY_H
#define SN_TESTS_PLAY_H

#include <stddef.h>
#include <stdint.h>

#include "calls.h"
#include "sparsenet.h"

enum kind {
    K_CONTEXT,
    K_OPTIONS,
    K_TOKENIZER,
    K_CORPUS,
    K_TENSORS,
    K_MATRIX,
    K_MODEL,
    K_SESSION,
    K_GENERATOR,
    K_TASK,
    K_TRAINER,
    K_MEANS,
    K_ABLATION,
    K_SEARCH,
    K_CIRCUIT,
    K_EVIDENCE,
    K_CONTRIBUTIONS,
    K_BINARISED,
    K_SHARED,
    K_PLOT,
    N_KINDS
};

#define MOST_ITEMS 16
#define MOST_LENT 8
struct item {
    void *object;
    uint64_t call;       /* the last that was given it */
    int kept;            /* the world's own: not to be freed or changed before the world ends */
    int dead;            /* what was lent to it is gone: it may only be freed */
    sn_model *model;     /* that it belongs to; NULL: to none. Compared, never looked at */
    sn_context *context; /* that its messages are in; NULL: unknown or gone */
    void *lent[MOST_LENT];
    size_t n_lent;
};

#define N_WORLDS 2
struct play {
    uint64_t random;
    uint64_t seed;
    int polite;
    int world;           /* of polite calls */
    sn_model *model;     /* that polite arguments belong to */
    sn_context *context; /* where this call's message is to be; NULL: nowhere */
    sn_model
        *tag; /* of the objects that this call was given; a session's own model lives as long as it */
    struct world worlds[N_WORLDS];
    struct item items[N_KINDS][MOST_ITEMS];
    size_t n_items[N_KINDS];
    uint64_t call; /* number of this call, from the beginning of the worlds */
    void *changed; /* the object that this call may change */
    void *lending[MOST_LENT];
    size_t n_lending;
    sn_options *options; /* of this call */
    size_t reports_left; /* of progress, until the callback cancels */
};
extern struct play play;

/* ------------------------------------------------------------------- chance */

void play_seed(uint64_t seed);
uint64_t draw(uint64_t n); /* 0 .. n - 1 */
int chance(unsigned percent);
int odd(void); /* this argument is to be a bad one: never in a polite call */

/* ------------------------------------------------------------------ objects */

enum use { USE_READ, USE_CHANGE, USE_FREE };
void *play_pick(enum kind kind, enum use use);
/* To read: in most polite calls the world's own of this sort. */
const void *play_own(enum object object, enum kind kind);
/* Where the call puts an object. NULL when it is odd. */
void *play_slot(enum kind kind);
/* Takes an object out of the pool; the call is about to free it. */
void *play_take(enum kind kind);
/* The call lends this to the object that it makes or changes. */
const void *play_lend(const void *object);
/* Slots, messages and lent objects after a call. */
void play_begin_call(void);
void play_end_call(int status);
/* Worlds with their objects, made anew; and all gone, in any order, which must leave nothing. */
void play_open(void);
void play_close(void);
/* Ends with a line that says what is wrong. */
void play_wrong(const char *what) __attribute__((noreturn));

/* ---------------------------------------------------------------- arguments */

/* Blocks of exactly so many bytes, until the call has ended. */
void *block(size_t size);
void release_arguments(void);
float *floats(size_t n); /* values; NULL or not finite where odd */
double *doubles(size_t n, double low, double high);
double real(double low, double high);
size_t amount(size_t low, size_t high); /* any size where odd */
size_t few(size_t low, size_t high); /* where odd: those outside, but not huge, as arrays go with it */
int whole(int low, int high);
uint64_t any_seed(void);
int32_t token(void);       /* of the vocabulary of planted models */
int32_t *tokens(size_t n); /* n of them */
const char *one_of(const char *const *words, size_t n);
#define ONE_OF(...)                                                                                     \
    one_of((const char *const[]){__VA_ARGS__},                                                          \
           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))
const char *text(void); /* short, UTF-8 */
const char *a_node(void);
const char *a_site(void);
const char *a_tensor(void);
const char *to_file(void);               /* to write */
const char *from_file(const char *name); /* of the inputs; where odd another one, or none */
const sn_options *settings(const char *keys);
size_t room(size_t needed, void *out); /* capacity for so many; *(void **)out becomes NULL where odd */

/* A call that gives an array: `call` uses out, capacity and needed. */
#define SIZED(type, call)                                                                               \
    ({                                                                                                  \
        type *out = NULL;                                                                               \
        size_t capacity = 0, n_needed = 0, *needed = &n_needed;                                         \
        const int known = (call) == SN_OK;                                                              \
        out = block(n_needed * sizeof *out);                                                            \
        capacity = known ? room(n_needed, &out) : 0;                                                    \
        needed = odd() ? NULL : needed;                                                                 \
        (call);                                                                                         \
    })

/* Not those of the tables in calls_*.c. */
#undef TOKENIZER
#undef MODEL
#undef TASK
#undef MEANS
#undef CIRCUIT
#define C ((sn_context *)play_pick(K_CONTEXT, USE_READ))
#define TOKENIZER READ(tokenizer, K_TOKENIZER)
#define TOKENS ((const sn_corpus *)play_own(O_TOKENS, K_CORPUS))
#define TEXTS ((const sn_corpus *)play_own(O_TEXTS, K_CORPUS))
#define SOURCE ((const sn_corpus *)play_own(O_SOURCE, K_CORPUS))
#define MODEL READ(model, K_MODEL)
#define TASK READ(task, K_TASK)
#define MEANS READ(means, K_MEANS)
#define CIRCUIT READ(circuit, K_CIRCUIT)
#define READ(type, kind) ((sn_##type *)play_pick(kind, USE_READ))
#define CHANGE(type, kind) ((sn_##type *)play_pick(kind, USE_CHANGE))
#define SLOT(type, kind) ((sn_##type **)play_slot(kind))

/* ---------------------------------------------------------------- the rows */

/* What a function without a status says: nothing, where the question made no sense. */
#define NO_ANSWER (-1)
int answer_text(const char *text);
int answer_bytes(const void *bytes, size_t size);
int answer_number(double number);

/* How dear a call is: a deck holds each row so many times. */
enum cost { DEAR = 1, FAIR = 6, CHEAP = 50 };

struct row {
    const char *symbol;
    int cost;
    int (*run)(void);
};
struct rows {
    const struct row *rows;
    size_t n;
};
extern const struct rows rows_base, rows_text, rows_task, rows_model, rows_session, rows_trainer,
    rows_circuit, rows_search, rows_evidence, rows_checks, rows_report;

#define DEFINE_ROW(symbol, cost, ...)                                                                   \
    static int row_##symbol(void)                                                                       \
    {                                                                                                   \
        return __VA_ARGS__;                                                                             \
    }
#define LIST_ROW(symbol, cost, ...) {#symbol, cost, row_##symbol},
#define DEFINE_ROWS(table, LIST)                                                                        \
    LIST(DEFINE_ROW)                                                                                    \
    static const struct row table##_list[] = {LIST(LIST_ROW)};                                          \
    const struct rows table = {table##_list, sizeof table##_list / sizeof *table##_list};

#endif
