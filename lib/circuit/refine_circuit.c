/* sn_circuit_refine: from a circuit, wherever it is from, to a smaller one. */
#include <string.h>

#include "circuit/extract.h"

/* Masks of edges where single edges were cut already. */
static int refine(struct best *best, struct search *search, const sn_circuit *circuit)
{
    struct sn_context *context = search->judge.context;
    unsigned char *kept = memory_allocate(context->memory, search->n);
    if (!kept)
        return fail_memory(context, "a set of nodes", search->n);
    memcpy(kept, circuit->kept, search->n);
    int status = search->settings.method == JUDGE_EDGES
                     ? extract_start_edges(best, search, kept, circuit->kept_edges)
                     : extract_start_nodes(best, search, kept);
    memory_free(context->memory, kept, search->n);
    return status == SN_OK ? extract_finish(best, search) : status;
}

int sn_circuit_refine(sn_circuit **out, sn_context *context, const sn_circuit *circuit,
                      const sn_means *means, const sn_task *task, const sn_task *develop,
                      const sn_options *options)
{
    static const char function[] = "sn_circuit_refine";
    struct extract_settings settings;
    struct search search;
    struct best best;
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!circuit)
        return fail(context, SN_ERROR_ARGUMENT, "%s: circuit is NULL", function);
    if (!develop)
        develop = task;
    int status = extract_check(context, circuit->model, means, task, develop, function);
    if (status == SN_OK)
        status = extract_read_options(&settings, context, function, options);
    if (status != SN_OK)
        return status;
    if (circuit->kept_edges)
        settings.method = JUDGE_EDGES;
    status = search_open(&search, context, circuit->model, means, task, develop, &settings);
    if (status != SN_OK)
        return status;
    status = best_create(&best, &search);
    if (status == SN_OK)
        status = refine(&best, &search, circuit);
    if (status == SN_OK)
        status = extract_circuit(out, &search, &best);
    best_free(&best);
    search_close(&search);
    return status;
}
