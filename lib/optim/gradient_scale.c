#include "optim/gradient_scale.h"

#include <math.h>

#include "kernels/kernels.h"

struct square_sums {
    const struct kernel_table *kernels;
    double *partial; /* one per block */
};

static void sum_block(void *payload, const struct optim_array *array, size_t first, size_t last,
                      size_t block)
{
    struct square_sums *sums = payload;
    sums->partial[block] = sums->kernels->sum_of_squares(array->gradient + first, last - first);
}

int gradient_rms(double *rms, struct sn_context *context, const struct optim_array *arrays,
                 size_t n_arrays, size_t n_elements)
{
    size_t n_blocks = optim_block_count(arrays, n_arrays), bytes = n_blocks * sizeof(double);
    struct square_sums sums = {context->kernels, memory_allocate(context->memory, bytes)};
    if (!sums.partial)
        return fail_memory(context, "sums of squares", bytes);
    int status = optim_for_blocks(context, arrays, n_arrays, sum_block, &sums);
    double total = 0;
    for (size_t i = 0; status == SN_OK && i < n_blocks; i++)
        total += sums.partial[i];
    memory_free(context->memory, sums.partial, bytes);
    if (status != SN_OK)
        return status;
    if (!isfinite(total))
        return fail(context, SN_ERROR_NUMERIC, "the gradient holds a NaN or an infinity");
    *rms = n_elements ? sqrt(total / (double)n_elements) : 0;
    return SN_OK;
}

double gradient_scale(enum rms_mode mode, double rms, double limit)
{
    if (mode == RMS_NORMALIZE)
        return 1 / (rms + 1e-5);
    return rms > limit ? limit / rms : 1;
}
