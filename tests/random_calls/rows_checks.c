/* Checks of a circuit: ablations, controls, patching, replacement. */
#include <string.h>

#include "play.h"
#include "world_objects.h"

static int create_ablation(void)
{
    return sn_ablation_create(
        SLOT(ablation, K_ABLATION), C, MODEL, chance(20) ? NULL : MEANS, chance(20) ? NULL : TOKENS,
        settings("kind:=mean|zero|resample samples:i1-16! window:i1-8 seed:i0-9 draws:i1-2! "
                 "together:=token|prompt"));
}

static int free_ablation(void)
{
    sn_ablation_free(play_take(K_ABLATION));
    return SN_OK;
}

/* An array for results that may be left out whole. */
static double *results(size_t *capacity, size_t **needed)
{
    const int none = chance(20);
    *capacity = none ? 0 : odd() ? draw(8) : 256;
    *needed = none || odd() ? NULL : block(sizeof **needed);
    return none || odd() ? NULL : block(256 * sizeof(double));
}

static int evaluate_ablation(void)
{
    size_t capacity, *needed;
    double *losses = results(&capacity, &needed);
    sn_ablation_result *result = block(sizeof *result);
    result->struct_size = few(sizeof *result, sizeof *result);
    return sn_evaluate_ablation(odd() ? NULL : result, losses, capacity, needed, C, MODEL,
                                READ(ablation, K_ABLATION), CIRCUIT,
                                whole(SN_ABLATE_NOTHING, SN_ABLATE_EDGES), TASK, TASK);
}

static int measure_controls(void)
{
    size_t capacity, *needed;
    double *losses = results(&capacity, &needed);
    sn_controls *result = block(sizeof *result);
    result->struct_size = few(sizeof *result, sizeof *result);
    return sn_circuit_measure_controls(odd() ? NULL : result, losses, capacity, needed, C,
                                       READ(ablation, K_ABLATION), CIRCUIT, few(1, 2), any_seed(), TASK,
                                       TASK);
}

static int patch_node(void)
{
    size_t capacity, *needed;
    double *effects = results(&capacity, &needed);
    sn_patch_result *result = block(sizeof *result);
    result->struct_size = few(sizeof *result, sizeof *result);
    return sn_patch_node(odd() ? NULL : result, effects, capacity, needed, C, MODEL, a_node(), TASK);
}

static int patch_path(void)
{
    size_t capacity, *needed;
    double *effects = results(&capacity, &needed);
    sn_patch_result *result = block(sizeof *result);
    result->struct_size = few(sizeof *result, sizeof *result);
    return sn_patch_path(odd() ? NULL : result, effects, capacity, needed, C, MODEL, a_node(), a_node(),
                         TASK);
}

static int replace_node(void)
{
    const int whole_model = chance(50);
    sn_replacement *result = block(sizeof *result);
    result->struct_size = few(sizeof *result, sizeof *result);
    return sn_replace_node(odd() ? NULL : result, C, MODEL, whole_model ? NULL : MEANS,
                           whole_model ? NULL : CIRCUIT, chance(50) ? WORLD_NODE : a_node(), a_node(),
                           chance(50) ? NULL : TOKENS, TASK, TASK,
                           settings("tokens:i16-64! window:i1-8 seed:i0-9"));
}

#define ROWS(X)                                                                                         \
    X(sn_ablation_create, FAIR, create_ablation())                                                      \
    X(sn_ablation_free, FAIR, free_ablation())                                                          \
    X(sn_ablation_draw_count, CHEAP,                                                                    \
      answer_number((double)sn_ablation_draw_count(READ(ablation, K_ABLATION))))                        \
    X(sn_evaluate_ablation, FAIR, evaluate_ablation())                                                  \
    X(sn_circuit_measure_controls, DEAR, measure_controls())                                            \
    X(sn_patch_node, FAIR, patch_node())                                                                \
    X(sn_patch_path, FAIR, patch_path())                                                                \
    X(sn_replace_node, FAIR, replace_node())

DEFINE_ROWS(rows_checks, ROWS)
