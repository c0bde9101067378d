/* Finding circuits, and measuring what they do. */
#include <string.h>

#include "play.h"
#include "world_objects.h"

#define SEARCH CHANGE(search, K_SEARCH)
/* A task to choose settings by, or none. */
#define DEVELOP (chance(50) ? NULL : TASK)

/* What "scores" may be, and how many runs, differ. */
#define MASKS                                                                                           \
    "steps:i1-3! batch:i1-4! k_coef:r0.0001-0.01! target_loss:r0.2-0.7! greedy:i0-1 swap:i0-1 "         \
    "grow:i0-1 necessity:r0-0.3 method:=nodes|edges loss:=pair|vocabulary calibrated:i0-1 seed:i0-9 "   \
    "temperature:r0.5-2 init_noise:r0-0.1 init_bias:r0.02-0.3 weight_decay:r0-0.1 beta2:r0.5-0.99 "     \
    "warmup:r0-0.5 tie_query_key:i0-1 learning_rate:r0.001-0.1 "

static int evaluate(void)
{
    sn_evaluation *result = block(sizeof *result);
    result->struct_size = few(sizeof *result, sizeof *result);
    return sn_evaluate(odd() ? NULL : result, C, MODEL, MEANS, CIRCUIT,
                       whole(SN_ABLATE_NOTHING, SN_ABLATE_EDGES), TASK, TASK);
}

static int extract(void)
{
    return sn_circuit_extract(SLOT(circuit, K_CIRCUIT), C, MODEL, MEANS, TASK, DEVELOP,
                              settings(MASKS "scores:=learned|attribution|integrated runs:i0-1"));
}

static int refine(void)
{
    return sn_circuit_refine(
        SLOT(circuit, K_CIRCUIT), C, CIRCUIT, MEANS, TASK, DEVELOP,
        settings("target_loss:r0.3-0.7! calibrated:i0-1 greedy:i0-2 swap:i0-1 grow:i0-1 "
                 "necessity:r0-0.3 method:=nodes|edges"));
}

static int estimate(void)
{
    size_t *bytes = odd() ? NULL : block(sizeof *bytes);
    return sn_circuit_estimate_memory(
        bytes, C, MODEL, MEANS, TASK, DEVELOP,
        settings(MASKS "scores:=learned|attribution|integrated runs:i0-1"));
}

static int create(void)
{
    const sn_means *means = play_lend(MEANS);
    const sn_task *task = play_lend(TASK), *develop = play_lend(DEVELOP);
    return sn_search_create(SLOT(search, K_SEARCH), C, MODEL, means, task, develop,
                            settings(MASKS "runs:i1-2!"));
}

static int free_search(void)
{
    sn_search_free(play_take(K_SEARCH));
    return SN_OK;
}

static int run_info(void)
{
    double *numbers = block(3 * sizeof *numbers);
    size_t *n_edges = odd() ? NULL : block(sizeof *n_edges);
    int *is_whole = odd() ? NULL : block(sizeof *is_whole);
    return sn_search_run_info(odd() ? NULL : numbers, odd() ? NULL : numbers + 1,
                              odd() ? NULL : numbers + 2, n_edges, is_whole, READ(search, K_SEARCH),
                              amount(0, 1));
}

static int text_loss(void)
{
    double *loss = odd() ? NULL : block(sizeof *loss);
    return sn_circuit_text_loss(loss, C, MODEL, MEANS, CIRCUIT,
                                whole(SN_ABLATE_NOTHING, SN_ABLATE_EVERYTHING), TOKENS,
                                settings("tokens:i16-64! window:i1-8 seed:i0-9"));
}

#define ROWS(X)                                                                                         \
    X(sn_evaluate, FAIR, evaluate())                                                                    \
    X(sn_circuit_extract, DEAR, extract())                                                              \
    X(sn_circuit_refine, DEAR, refine())                                                                \
    X(sn_circuit_estimate_memory, FAIR, estimate())                                                     \
    X(sn_search_create, FAIR, create())                                                                 \
    X(sn_search_free, FAIR, free_search())                                                              \
    X(sn_search_set_file, FAIR, sn_search_set_file(SEARCH, to_file()))                                  \
    X(sn_search_run, DEAR, sn_search_run(SEARCH))                                                       \
    X(sn_search_circuit, DEAR,                                                                          \
      sn_search_circuit(SLOT(circuit, K_CIRCUIT), SEARCH, real(0.2, 0.7), whole(0, 1)))                 \
    X(sn_search_run_count, CHEAP, answer_number((double)sn_search_run_count(READ(search, K_SEARCH))))   \
    X(sn_search_run_info, CHEAP, run_info())                                                            \
    X(sn_circuit_text_loss, FAIR, text_loss())

DEFINE_ROWS(rows_search, ROWS)
