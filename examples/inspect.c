/* Says what a model is: its configuration, how many weights of each tensor are nonzero, and what memory it
 * takes dense and sparse. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sparsenet.h>

static const char usage[] =
    "usage: inspect MODEL\n"
    "\n"
    "Prints the configuration of a model, the nonzeros and density of every tensor, and its memory, "
    "dense\n"
    "and sparse. MODEL is a folder (config.json or beeg_config.json with model.safetensors or\n"
    "final_model.pt) or one file of this library's.\n";

static const double mib = 1024.0 * 1024.0;

/* A tensor that is kept dense may hold zeros too. */
static size_t count_nonzeros(sn_context *context, const sn_model *model, const char *name, size_t size)
{
    size_t needed, count = 0;
    float *values = malloc(size * sizeof *values);
    if (values && sn_model_tensor(values, size, &needed, context, model, name) == SN_OK)
        for (size_t i = 0; i < size; i++)
            count += values[i] != 0;
    free(values);
    return count;
}

static int print_tensors(sn_context *context, const sn_model *model, size_t *dense_bytes)
{
    size_t total = 0, total_nonzero = 0;
    printf("%-36s %16s %12s %9s\n", "tensor", "shape", "nonzeros", "density");
    for (size_t i = 0; i < sn_model_tensor_count(model); i++) {
        size_t rows, cols, support;
        int is_sparse;
        char shape[48];
        if (sn_model_tensor_info(&rows, &cols, &support, &is_sparse, model, i) != SN_OK)
            return 0;
        const size_t size = cols ? rows * cols : rows;
        if (!is_sparse)
            support = count_nonzeros(context, model, sn_model_tensor_name(model, i), size);
        snprintf(shape, sizeof shape, cols ? "%zu x %zu" : "%zu", rows, cols);
        printf("%-36s %16s %12zu %8.3f%%%s\n", sn_model_tensor_name(model, i), shape, support,
               size ? 100.0 * (double)support / (double)size : 0.0, is_sparse ? "" : "  dense");
        total += size;
        total_nonzero += support;
    }
    printf("%-36s %16zu %12zu %8.3f%%\n", "all", total, total_nonzero,
           total ? 100.0 * (double)total_nonzero / (double)total : 0.0);
    *dense_bytes = total * sizeof(float);
    return 1;
}

static int inspect(sn_context *context, const char *path)
{
    sn_model *model;
    size_t before, after, peak, dense = 0;
    sn_context_memory(&before, NULL, context);
    const int status = sn_model_load(&model, context, path);
    if (status != SN_OK) {
        fprintf(stderr, "inspect: %s: %s\n", sn_status_string(status), sn_context_message(context));
        return 1;
    }
    sn_context_memory(&after, &peak, context);
    printf("%s\n\n", sn_model_config_json(model));
    const int complete = print_tensors(context, model, &dense);
    printf("\nmemory: %.2f MiB as 32-bit floats, %.2f MiB as loaded, %.2f MiB at most while loading\n",
           (double)dense / mib, (double)(after - before) / mib, (double)(peak - before) / mib);
    sn_model_free(model);
    return complete ? 0 : 1;
}

int main(int n_arguments, char **arguments)
{
    sn_context *context;
    if (n_arguments == 2 && strcmp(arguments[1], "--help") == 0)
        return fputs(usage, stdout), 0;
    if (n_arguments != 2 || arguments[1][0] == '-')
        return fputs(usage, stderr), 2;
    const int status = sn_context_create(&context, NULL);
    if (status != SN_OK)
        return fprintf(stderr, "inspect: %s\n", sn_status_string(status)), 1;
    const int result = inspect(context, arguments[1]);
    sn_context_free(context);
    return result;
}
