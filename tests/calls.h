/* One call of every public function, on objects that are made anew each time: what the suites that look
 * for faults (no memory, a cancel, an interrupted or failing file, a host with settings of its own) run
 * through. A call says what it needs, what it makes and what it may do; its outputs and the objects it
 * changes have a digest, by which two runs are the same or not. tests/data/symbols.txt is the list that
 * must be complete. */
#ifndef SN_TESTS_CALLS_H
#define SN_TESTS_CALLS_H

#include "oom.h"
#include "sparsenet.h"

/* Objects that calls are made on. Later ones may stand on earlier ones and are freed before them. */
enum object {
    NO_OBJECT,
    O_CONTEXT, /* a second one, with the same allocator */
    O_OPTIONS,
    O_TOKENIZER,
    O_TEXTS,  /* a corpus of texts, tokenised */
    O_RAW,    /* a corpus of texts, not tokenised */
    O_TOKENS, /* a corpus of the planted model's tokens */
    O_SOURCE, /* a corpus of lines of Python that end in strings */
    O_TENSORS,
    O_MATRIX,
    O_MODEL,
    O_SESSION,   /* has run nothing; runs when it is looked at */
    O_EMPTY,     /* has run nothing; is looked at as it is */
    O_RUN,       /* has run forward */
    O_BACK,      /* has run forward and backward */
    O_GENERATOR, /* holds tokens */
    O_TASK,
    O_NEW_TASK, /* without pairs */
    O_FRESH,    /* a task of Python prompts */
    O_TRAINER,  /* with dense gradients */
    O_GROWER,   /* with gradients on the support, and refreshes */
    O_MEANS,
    O_ABLATION, /* by resampling */
    O_SEARCH,   /* has run nothing */
    O_FOUND,    /* a search that has come to its end */
    O_CIRCUIT,  /* with everything that a circuit can hold */
    O_OTHER,    /* another of the same model */
    O_EVIDENCE,
    O_CONTRIBUTIONS,
    O_BINARISED,
    O_SHARED,
    O_PLOT,
    N_OBJECTS
};

#define N_FLOATS 4096
#define N_BYTES 4096

/* What a call gives but objects: zeroed before it, no pointers, so that its bytes are its content. */
struct outputs {
    size_t needed;
    float floats[N_FLOATS];
    float more_floats[N_FLOATS];
    int32_t tokens[N_BYTES];
    int32_t more_tokens[N_BYTES];
    char bytes[N_BYTES];
    double numbers[64];
    size_t sizes[8];
    int flags[8];
    uint64_t sets[2];
    sn_node_edge edges[64];
    sn_evaluation evaluation;
    sn_ablation_result ablation;
    sn_patch_result patch;
    sn_replacement replacement;
    sn_controls controls;
    sn_contribution contribution;
    sn_evidence_summary summary;
};

struct world {
    struct oom oom;
    sn_allocator allocator;
    sn_context *context;
    void *objects[N_OBJECTS];
    enum object made_kind;
    void *made; /* the object that the call gives */
    struct outputs out;
    char folder[64]; /* the call may write here; empty before it */
    char path[128];  /* of the last in_folder or input */
    uint64_t hash;
};

enum call_flags {
    ALLOCATES_NOTHING = 1, /* of the context's memory */
    NO_MESSAGE = 2,        /* has no context to keep one in */
    KEEPS_MEMORY = 4, /* after a failure its object may hold more than before: buffers it made already */
    PARTLY_DONE = 8,  /* after a failure or a cancel its object may have gone on a part of the way */
    CANCELS = 16,     /* reports progress, and stops when asked to */
    READS = 32,       /* files */
    WRITES = 64,      /* files, below `folder` */
    APPENDS = 128     /* what was added before a failure stays, and the call made again adds all anew */
};

struct call {
    const char *symbol;
    const char *options; /* "key=value key=text": made into O_OPTIONS before the call; "" = none */
    unsigned needs;      /* bits 1 << enum object, made before the call */
    unsigned looks;      /* bits of objects that the call may change: they belong to what is compared */
    unsigned flags;
    int (*run)(struct world *);
};

#define BIT(object) (1u << (object))
#define B(name) BIT(O_##name)

struct call_table {
    const struct call *calls;
    size_t n;
};
extern const struct call_table calls_base, calls_text, calls_model, calls_session, calls_train,
    calls_circuit, calls_search, calls_checks, calls_report;

/* All calls, in the order of the tables. */
size_t call_count(void);
const struct call *call_at(size_t index);

/* The input files, made once before the tests: call in an unchecked fixture. */
void worlds_prepare(void);
void worlds_remove(void);

/* How worlds get the allocator of their `oom`: oom_allocator, unless a suite puts its own in front. */
extern sn_allocator (*world_allocator)(struct oom *oom);
extern size_t world_threads; /* of their contexts; 1 */
/* A world with what `call` needs; nothing is refused yet. */
void world_create(struct world *world, const struct call *call);
/* Runs the call; the outputs are zeroed before. */
int world_run(struct world *world, const struct call *call);
/* Of what the call gave and of the objects it looks at; frees what it made. */
uint64_t world_digest(struct world *world, const struct call *call);
/* Frees what the call made, unseen. */
void world_drop(struct world *world);
/* Of those of its objects whose digest can be taken without changing them. */
uint64_t world_state(struct world *world, const struct call *call);
/* Frees everything and demands that nothing is left. */
void world_free(struct world *world);

/* The object of a kind, made where it is not there. */
void *world_object(struct world *world, enum object object);
/* Where the call puts the object it gives. */
void *world_made(struct world *world, enum object object);
const char *world_in_folder(struct world *world, const char *name); /* to write; lent until the next */
const char *world_input(const char *name); /* to read; lent until the next but three */
void world_must(struct world *world, int status);

void mix(uint64_t *hash, const void *bytes, size_t size);
void mix_text(uint64_t *hash, const char *text);
void mix_file(uint64_t *hash, const char *path); /* its bytes, or that there is none */

/* For the tables. */
#define CONTEXT (w->context)
#define OUT (w->out)
#define FLOATS w->out.floats, N_FLOATS, &w->out.needed
#define TOKENS_OUT w->out.tokens, N_BYTES, &w->out.needed
#define BYTES w->out.bytes, N_BYTES, &w->out.needed
#define OBJECT(type, object) ((type *)w->objects[object])
#define MADE(type, object) ((type **)world_made(w, object))
#define OPTIONS OBJECT(sn_options, O_OPTIONS)
#define TOKENIZER OBJECT(sn_tokenizer, O_TOKENIZER)
#define MODEL OBJECT(sn_model, O_MODEL)
#define TASK OBJECT(sn_task, O_TASK)
#define MEANS OBJECT(sn_means, O_MEANS)
#define CIRCUIT OBJECT(sn_circuit, O_CIRCUIT)
#define TO(name) world_in_folder(w, name)
#define FROM(name) world_input(name)

int keep_text(struct world *w, const char *text); /* into the outputs; SN_OK */
int keep_bytes(struct world *w, const void *bytes, size_t size);
#define TEXT(expression) keep_text(w, expression)
#define NUMBER(expression) (w->out.numbers[0] = (double)(expression), SN_OK)
#define VOID(expression) ((expression), SN_OK)

/* A table is a list of X(symbol, options, needs, looks, flags, expression of the status). */
#define DEFINE_CALL(symbol, options, needs, looks, flags, ...)                                          \
    static int call_##symbol(struct world *w)                                                           \
    {                                                                                                   \
        return __VA_ARGS__;                                                                             \
    }
#define LIST_CALL(symbol, options, needs, looks, flags, ...)                                            \
    {#symbol, options, needs, looks, flags, call_##symbol},
#define DEFINE_TABLE(table, LIST)                                                                       \
    LIST(DEFINE_CALL)                                                                                   \
    static const struct call table##_list[] = {LIST(LIST_CALL)};                                        \
    const struct call_table table = {table##_list, sizeof table##_list / sizeof *table##_list};

#endif
