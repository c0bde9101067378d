#include "base/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/threads.h"

/* Takes the reference to `memory` over. */
static struct sn_context *allocate_in(struct memory *memory)
{
    if (!memory)
        return NULL;
    struct sn_context *context = memory_allocate_zeroed(memory, sizeof *context);
    if (!context) {
        memory_release(memory);
        return NULL;
    }
    atomic_init(&context->n_references, 1);
    context->memory = memory;
    context->pool = thread_pool_create(memory);
    if (!context->pool) {
        context_release(context);
        return NULL;
    }
    return context;
}

struct sn_context *context_allocate(const sn_allocator *allocator)
{
    return allocate_in(memory_create(allocator));
}

struct sn_context *context_for_worker(struct sn_context *parent)
{
    struct sn_context *context = allocate_in(memory_retain(parent->memory));
    if (context)
        context->kernels = parent->kernels;
    return context;
}

struct sn_context *context_retain(struct sn_context *context)
{
    atomic_fetch_add_explicit(&context->n_references, 1, memory_order_relaxed);
    return context;
}

void context_release(struct sn_context *context)
{
    if (!context || atomic_fetch_sub_explicit(&context->n_references, 1, memory_order_acq_rel) != 1)
        return;
    struct memory *memory = context->memory;
    thread_pool_free(context->pool);
    memory_free(memory, context, sizeof *context);
    memory_release(memory);
}

/* What is left of it serves the objects that still hold it; the host's functions may be gone from now on. */
void sn_context_free(sn_context *context)
{
    if (!context)
        return;
    sn_context_set_progress(context, NULL, NULL);
    thread_pool_set_host(context->pool, NULL, NULL, 0);
    context_release(context);
}

const char *sn_context_message(const sn_context *context)
{
    return context ? context->message : "";
}

void sn_context_set_progress(sn_context *context, sn_progress_callback callback, void *payload)
{
    if (!context)
        return;
    context->progress = callback;
    context->progress_payload = payload;
}

void sn_context_memory(size_t *current, size_t *peak, const sn_context *context)
{
    if (context) {
        memory_usage(context->memory, current, peak);
        return;
    }
    if (current)
        *current = 0;
    if (peak)
        *peak = 0;
}

int sn_context_set_memory_limit(sn_context *context, size_t bytes)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    memory_set_limit(context->memory, bytes);
    return SN_OK;
}

int sn_context_set_threads(sn_context *context, size_t n_threads)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (n_threads < 1 || n_threads > MAX_WORKERS)
        return fail(context, SN_ERROR_ARGUMENT, "n_threads is %zu; it must be 1 .. %d", n_threads,
                    MAX_WORKERS);
    return thread_pool_set_threads(context->pool, n_threads) ? SN_OK
                                                             : fail_memory(context, "threads", 0);
}

int sn_context_set_parallel_for(sn_context *context, sn_parallel_for parallel_for_, void *payload,
                                size_t n_threads)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (parallel_for_ && (n_threads < 1 || n_threads > MAX_WORKERS))
        return fail(context, SN_ERROR_ARGUMENT, "n_threads is %zu; it must be 1 .. %d", n_threads,
                    MAX_WORKERS);
    thread_pool_set_host(context->pool, parallel_for_, payload, n_threads);
    return SN_OK;
}

/* Names from files may hold anything, but a message is one line. */
static void keep_to_one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            *text = '?';
}

/* Once: a message may hold that of a lower floor. */
static void name_limit(char *message, size_t size, const struct memory *memory)
{
    size_t length = strlen(message), limit = memory_limit(memory), held;
    memory_usage(memory, &held, NULL);
    if (limit && !strstr(message, "the limit is"))
        snprintf(message + length, size - length, " (%zu bytes held, the limit is %zu)", held, limit);
}

/* The arguments may point into the old message: a caller may wrap what a lower floor said. */
int fail(struct sn_context *context, int status, const char *format, ...)
{
    char message[sizeof context->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    keep_to_one_line(message);
    if (status == SN_ERROR_MEMORY)
        name_limit(message, sizeof message, context->memory);
    memcpy(context->message, message, strlen(message) + 1);
    return status;
}

int no_place(void *out, struct sn_context *context, const char *function)
{
    if (out)
        memset(out, 0, sizeof(void *));
    if (context && !out)
        (void)fail(context, SN_ERROR_ARGUMENT, "%s: out is NULL", function);
    return !context || !out;
}

int fail_memory(struct sn_context *context, const char *what, size_t bytes)
{
    if (bytes)
        return fail(context, SN_ERROR_MEMORY, "out of memory: %zu bytes for %s", bytes, what);
    return fail(context, SN_ERROR_MEMORY, "out of memory: %s", what);
}

int progress(struct sn_context *context, const char *stage, size_t done, size_t total, double value)
{
    if (!context->progress)
        return SN_OK;
    if (!context->progress(stage, done, total, value, context->progress_payload))
        return SN_OK;
    return fail(context, SN_ERROR_CANCELLED, "%s cancelled at %zu of %zu", stage, done, total);
}

int copy_out(struct sn_context *context, const char *what, void *out, size_t capacity, size_t *needed,
             const void *values, size_t count, size_t element_size)
{
    if (needed)
        *needed = count;
    if (!out && capacity == 0)
        return needed ? SN_OK : fail(context, SN_ERROR_ARGUMENT, "%s: needed is NULL", what);
    if (!out)
        return fail(context, SN_ERROR_ARGUMENT, "%s: the array is NULL, its capacity %zu", what,
                    capacity);
    if (capacity < count)
        return fail(context, SN_ERROR_CAPACITY, "%s: capacity %zu, needed %zu", what, capacity, count);
    if (count)
        memcpy(out, values, count * element_size);
    return SN_OK;
}
