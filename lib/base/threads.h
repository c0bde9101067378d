/* Parallel loops over fixed chunks. The pool is lazy (threads start at the first parallel loop),
 * remembers its process and starts anew after a fork. Results must not depend on which worker runs
 * a chunk: chunks are fixed by the problem, reductions run over chunks in order. */
#ifndef SN_BASE_THREADS_H
#define SN_BASE_THREADS_H

#include <stddef.h>

#include "base/memory.h"
#include "sparsenet.h"

#define MAX_WORKERS 256

struct thread_pool;
struct sn_context;

struct thread_pool *thread_pool_create(struct memory *memory);
size_t thread_pool_bytes(void); /* that it holds */
void thread_pool_free(struct thread_pool *pool);
int thread_pool_set_threads(struct thread_pool *pool, size_t n_threads); /* 1 ok, 0 out of memory */
void thread_pool_set_host(struct thread_pool *pool, sn_parallel_for parallel_for, void *payload,
                          size_t n_threads);

/* Runs one chunk; worker in 0..parallel_workers-1 is not shared with a chunk running at the same time,
 * so it may index scratch space. Returns a status. */
typedef int (*chunk_function)(void *payload, size_t chunk, size_t worker);

/* Runs function for every chunk with flush-to-zero set around each; returns the status of the lowest
 * failed chunk, SN_OK if none failed (remaining chunks are skipped after a failure). The message is
 * set for SN_ERROR_MEMORY; for its own statuses the caller sets it. Chunks run no loops of their own. */
int parallel_for(struct sn_context *context, size_t n_chunks, chunk_function function, void *payload);
/* How many workers may run at once. */
size_t parallel_workers(const struct sn_context *context);
/* Lets no more of them run from now on (0: no limit), and returns the limit until then: for loops over scratch space
 * that was made when the context had fewer. */
size_t parallel_limit(struct sn_context *context, size_t most);

#endif
