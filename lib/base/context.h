/* The context: errors, memory, threads, progress, and the kernels in use. */
#ifndef SN_BASE_CONTEXT_H
#define SN_BASE_CONTEXT_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/memory.h"
#include "sparsenet.h"

struct kernel_table;
struct thread_pool;

struct sn_context {
    atomic_size_t
        n_references; /* the host's, and one for each object that works in the context until it is freed */
    struct memory *memory;
    const struct kernel_table *kernels; /* chosen in kernels/dispatch.c */
    struct thread_pool *pool;           /* threads.c; never NULL */
    size_t most_workers;                /* parallel_limit; 0: no limit */
    sn_progress_callback progress;
    void *progress_payload;
    char message[1024];
};

/* Stores a message and returns `status`, so that `return fail(context, SN_ERROR_X, "...", ...)` reads
 * well. Only for the thread that owns the context, never inside a parallel chunk. */
int fail(struct sn_context *context, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What most functions that give an object begin with: empties its place. True, with a message where there is a context
 * to keep it in, if the context or the place is missing. out: address of the place, any sn_X **. */
int no_place(void *out, struct sn_context *context, const char *function);
/* fail(SN_ERROR_MEMORY) with what could not be had. */
int fail_memory(struct sn_context *context, const char *what, size_t bytes);
/* Reports progress; SN_ERROR_CANCELLED if the callback asks to stop, else SN_OK. */
int progress(struct sn_context *context, const char *stage, size_t done, size_t total, double value);
/* The rule of out-arrays: sets *needed, copies if it fits (docs/conventions.md). */
int copy_out(struct sn_context *context, const char *what, void *out, size_t capacity, size_t *needed,
             const void *values, size_t count, size_t element_size);

/* One more reference, for an object that works in the context until it is freed; such objects and the host may let go
 * in any order and on any thread. context_release accepts NULL. */
struct sn_context *context_retain(struct sn_context *context);
void context_release(struct sn_context *context);

/* Used by sn_context_create (kernels/dispatch.c). */
struct sn_context *context_allocate(const sn_allocator *allocator);
/* A context of one thread with the same memory and kernels, for one worker of a parallel loop: it has errors and
 * loops of its own. NULL when out of memory. Freed with sn_context_free, before or after `parent`. */
struct sn_context *context_for_worker(struct sn_context *parent);

#endif
