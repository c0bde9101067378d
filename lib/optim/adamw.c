#include "optim/adamw.h"

#include <math.h>

#include "base/threads.h"
#include "kernels/kernels.h"

static size_t blocks_of(size_t n)
{
    return n / OPTIM_BLOCK + (n % OPTIM_BLOCK != 0);
}

size_t optim_block_count(const struct optim_array *arrays, size_t n_arrays)
{
    size_t count = 0;
    for (size_t i = 0; i < n_arrays; i++)
        count += blocks_of(arrays[i].n);
    return count;
}

struct block_loop {
    const struct optim_array *arrays;
    optim_block_function function;
    void *payload;
};

static int run_block(void *payload, size_t chunk, size_t worker)
{
    const struct block_loop *loop = payload;
    const struct optim_array *array = loop->arrays;
    size_t local = chunk;
    (void)worker;
    while (local >= blocks_of(array->n))
        local -= blocks_of(array++->n);
    size_t first = local * OPTIM_BLOCK, rest = array->n - first;
    loop->function(loop->payload, array, first, first + (rest < OPTIM_BLOCK ? rest : OPTIM_BLOCK),
                   chunk);
    return SN_OK;
}

int optim_for_blocks(struct sn_context *context, const struct optim_array *arrays, size_t n_arrays,
                     optim_block_function function, void *payload)
{
    struct block_loop loop = {arrays, function, payload};
    return parallel_for(context, optim_block_count(arrays, n_arrays), run_block, &loop);
}

void adamw_set_step(struct adamw *adamw, double beta1, double beta2, uint64_t t)
{
    adamw->beta1 = (float)beta1;
    adamw->beta2 = (float)beta2;
    adamw->correction1 = (float)(1 / (1 - pow(beta1, (double)t)));
    adamw->correction2 = (float)(1 / (1 - pow(beta2, (double)t)));
}

struct update {
    const struct kernel_table *kernels;
    const struct adamw *adamw;
};

static void update_block(void *payload, const struct optim_array *array, size_t first, size_t last,
                         size_t block)
{
    const struct update *update = payload;
    const struct adamw *adamw = update->adamw;
    (void)block;
    update->kernels->adamw(array->weight + first, array->first + first, array->second + first,
                           array->gradient + first, last - first, adamw->gradient_scale,
                           adamw->learning_rate, array->decay_factor, adamw->beta1, adamw->beta2,
                           adamw->correction1, adamw->correction2, adamw->epsilon);
}

int adamw_update(struct sn_context *context, const struct adamw *adamw, const struct optim_array *arrays,
                 size_t n_arrays)
{
    struct update update = {context->kernels, adamw};
    return optim_for_blocks(context, arrays, n_arrays, update_block, &update);
}
