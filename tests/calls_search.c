/* Calls that find circuits and measure them. */
#include <string.h>

#include "calls.h"
#include "world_objects.h"

#define TOKENS OBJECT(sn_corpus, O_TOKENS)
#define SEARCH OBJECT(sn_search, O_SEARCH)
#define FOUND OBJECT(sn_search, O_FOUND)
#define ABLATION OBJECT(sn_ablation, O_ABLATION)
#define ON_TASK (B(MODEL) | B(MEANS) | B(CIRCUIT) | B(TASK))

#define FREE_CALL(type, object)                                                                         \
    static int free_##type(struct world *w)                                                             \
    {                                                                                                   \
        sn_##type##_free(w->objects[object]);                                                           \
        w->objects[object] = NULL;                                                                      \
        return SN_OK;                                                                                   \
    }
FREE_CALL(search, O_SEARCH)
FREE_CALL(ablation, O_ABLATION)

/* Both parts of a search that is kept in a file. */
static int run_with_file(struct world *w)
{
    int status = sn_search_set_file(SEARCH, TO("search"));
    return status == SN_OK ? sn_search_run(SEARCH) : status;
}

#define CALLS(X)                                                                                        \
    X(sn_evaluate, "", ON_TASK, 0, 0,                                                                   \
      sn_evaluate(&OUT.evaluation, CONTEXT, MODEL, MEANS, CIRCUIT, SN_ABLATE_REST, TASK, TASK))         \
    X(sn_circuit_extract, "steps=2 batch=2 k_coef=0.001", B(MODEL) | B(MEANS) | B(TASK), 0,             \
      KEEPS_MEMORY | CANCELS,                                                                           \
      sn_circuit_extract(MADE(sn_circuit, O_CIRCUIT), CONTEXT, MODEL, MEANS, TASK, NULL, OPTIONS))      \
    X(sn_circuit_refine, "target_loss=0.6", B(MEANS) | B(TASK), B(OTHER), KEEPS_MEMORY | CANCELS,       \
      sn_circuit_refine(MADE(sn_circuit, O_CIRCUIT), CONTEXT, OBJECT(sn_circuit, O_OTHER), MEANS, TASK, \
                        NULL, OPTIONS))                                                                 \
    X(sn_circuit_estimate_memory, "steps=2 batch=2", B(MODEL) | B(MEANS) | B(TASK), 0, 0,               \
      sn_circuit_estimate_memory(OUT.sizes, CONTEXT, MODEL, MEANS, TASK, NULL, OPTIONS))                \
    X(sn_search_create, "runs=2 steps=2 batch=2 target_loss=0.4", B(MODEL) | B(MEANS) | B(TASK), 0, 0,  \
      sn_search_create(MADE(sn_search, O_SEARCH), CONTEXT, MODEL, MEANS, TASK, NULL, OPTIONS))          \
    X(sn_search_free, "", B(SEARCH), 0, ALLOCATES_NOTHING, free_search(w))                              \
    X(sn_search_set_file, "", 0, B(SEARCH), KEEPS_MEMORY, sn_search_set_file(SEARCH, TO("search")))     \
    X(sn_search_run, "", 0, B(SEARCH), KEEPS_MEMORY | PARTLY_DONE | CANCELS | READS | WRITES,           \
      run_with_file(w))                                                                                 \
    X(sn_search_circuit, "", 0, B(FOUND), CANCELS,                                                      \
      sn_search_circuit(MADE(sn_circuit, O_CIRCUIT), FOUND, 0.4, 1))                                    \
    X(sn_search_run_count, "", B(SEARCH), 0, ALLOCATES_NOTHING, NUMBER(sn_search_run_count(SEARCH)))    \
    X(sn_search_run_info, "", B(FOUND), 0, ALLOCATES_NOTHING,                                           \
      sn_search_run_info(&OUT.numbers[0], &OUT.numbers[1], &OUT.numbers[2], OUT.sizes, OUT.flags,       \
                         FOUND, 1))                                                                     \
    X(sn_circuit_text_loss, "tokens=64", ON_TASK | B(TOKENS), 0, CANCELS,                               \
      sn_circuit_text_loss(OUT.numbers, CONTEXT, MODEL, MEANS, CIRCUIT, SN_ABLATE_REST, TOKENS,         \
                           OPTIONS))                                                                    \
    X(sn_ablation_create, "kind=resample samples=8", B(MODEL) | B(TOKENS), 0, CANCELS,                  \
      sn_ablation_create(MADE(sn_ablation, O_ABLATION), CONTEXT, MODEL, NULL, TOKENS, OPTIONS))         \
    X(sn_ablation_free, "", B(ABLATION), 0, ALLOCATES_NOTHING, free_ablation(w))                        \
    X(sn_ablation_draw_count, "", B(ABLATION), 0, ALLOCATES_NOTHING,                                    \
      NUMBER(sn_ablation_draw_count(ABLATION)))                                                         \
    X(sn_evaluate_ablation, "", ON_TASK | B(ABLATION), 0, CANCELS,                                      \
      sn_evaluate_ablation(&OUT.ablation, OUT.numbers, 64, &OUT.needed, CONTEXT, MODEL, ABLATION,       \
                           CIRCUIT, SN_ABLATE_REST, TASK, TASK))                                        \
    X(sn_circuit_measure_controls, "", ON_TASK | B(ABLATION), 0, CANCELS,                               \
      sn_circuit_measure_controls(&OUT.controls, OUT.numbers, 64, &OUT.needed, CONTEXT, ABLATION,       \
                                  CIRCUIT, 2, 1, TASK, TASK))                                           \
    X(sn_patch_node, "", ON_TASK, 0, CANCELS,                                                           \
      sn_patch_node(&OUT.patch, OUT.numbers, 64, &OUT.needed, CONTEXT, MODEL, WORLD_NODE, TASK))        \
    X(sn_patch_path, "", ON_TASK, 0, CANCELS,                                                           \
      sn_patch_path(&OUT.patch, OUT.numbers, 64, &OUT.needed, CONTEXT, MODEL, "0.attn.act_in.0",        \
                    "0.attn.v.head0.ch0", TASK))                                                        \
    X(sn_replace_node, "", ON_TASK, 0, CANCELS,                                                         \
      sn_replace_node(&OUT.replacement, CONTEXT, MODEL, MEANS, CIRCUIT, WORLD_NODE,                     \
                      "0.attn.v.head0.ch0", NULL, TASK, TASK, NULL))

DEFINE_TABLE(calls_search, CALLS)
