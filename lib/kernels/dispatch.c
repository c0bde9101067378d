/* Chooses the kernels of a context. */
#include <stdlib.h>
#include <string.h>

#include "base/context.h"
#include "kernels/reference.h"
#include "kernels/reference_sparse.h"
#include "kernels/reference_token.h"
#include "kernels/table_body.h"

const struct kernel_table kernel_table_reference = KERNEL_TABLE("reference", 1, REFERENCE_KERNEL);

const struct kernel_table *kernels_reference(void)
{
    return &kernel_table_reference;
}

#if defined(__x86_64__) || defined(__i386__)
static const struct kernel_table *avx2_table(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kernel_table_avx2 : NULL;
}

static const struct kernel_table *avx512_table(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("fma")
               ? &kernel_table_avx512
               : NULL;
}
#else
static const struct kernel_table *avx2_table(void)
{
    return NULL;
}

static const struct kernel_table *avx512_table(void)
{
    return NULL;
}
#endif

const struct kernel_table *kernels_by_name(const char *name)
{
    if (strcmp(name, "portable") == 0)
        return &kernel_table_portable;
    if (strcmp(name, "avx2") == 0)
        return avx2_table();
    if (strcmp(name, "avx512") == 0)
        return avx512_table();
    return NULL;
}

const struct kernel_table *kernels_best(void)
{
    const struct kernel_table *table = avx512_table();
    if (!table)
        table = avx2_table();
    return table ? table : &kernel_table_portable;
}

int sn_context_create(sn_context **out, const sn_allocator *allocator)
{
    if (!out)
        return SN_ERROR_ARGUMENT;
    *out = NULL;
    if (allocator && (!allocator->allocate || !allocator->reallocate || !allocator->release))
        return SN_ERROR_ARGUMENT;
    const char *forced = getenv("SPARSENET_ISA");
    const struct kernel_table *kernels = forced && *forced ? kernels_by_name(forced) : kernels_best();
    if (!kernels)
        return SN_ERROR_UNSUPPORTED;
    struct sn_context *context = context_allocate(allocator);
    if (!context)
        return SN_ERROR_MEMORY;
    context->kernels = kernels;
    *out = context;
    return SN_OK;
}

const char *sn_context_isa(const sn_context *context)
{
    return context ? context->kernels->name : "";
}
