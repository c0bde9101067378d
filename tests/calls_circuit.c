/* Calls of means, circuits and what a circuit holds. */
#include <string.h>

#include "calls.h"
#include "world_objects.h"

#define TOKENS OBJECT(sn_corpus, O_TOKENS)
#define OTHER OBJECT(sn_circuit, O_OTHER)
#define RELEASED "tests/data/released/"

static const double x[3] = {1, 2, 4}, y[3] = {0.5, 0.25, 0.125};

#define FREE_CALL(type, object)                                                                         \
    static int free_##type(struct world *w)                                                             \
    {                                                                                                   \
        sn_##type##_free(w->objects[object]);                                                           \
        w->objects[object] = NULL;                                                                      \
        return SN_OK;                                                                                   \
    }
FREE_CALL(means, O_MEANS)
FREE_CALL(circuit, O_CIRCUIT)

static int means_site(struct world *w)
{
    const float *values = sn_means_site(&w->out.sizes[0], MEANS, WORLD_SITE);
    return keep_bytes(w, values, w->out.sizes[0] * sizeof *values);
}

static int series(struct world *w)
{
    const double *points[2];
    const char *name = sn_circuit_series(&points[0], &points[1], &w->out.sizes[0], CIRCUIT, 0);
    return keep_text(w, name);
}

/* The model goes with the circuit, which retains it. */
static int load_released(struct world *w)
{
    sn_task *task = NULL;
    sn_model *model = NULL;
    int status = sn_model_load(&model, CONTEXT, RELEASED);
    if (status == SN_OK)
        status = sn_circuit_load_released(MADE(sn_circuit, O_CIRCUIT), &task, CONTEXT, model,
                                          RELEASED "viz_data.pt", OPTIONS);
    sn_task_free(task);
    sn_model_free(model);
    return status;
}

#define CALLS(X)                                                                                        \
    X(sn_means_create, "tokens=64", B(MODEL) | B(TOKENS), 0, CANCELS,                                   \
      sn_means_create(MADE(sn_means, O_MEANS), CONTEXT, MODEL, TOKENS, OPTIONS))                        \
    X(sn_means_free, "", B(MEANS), 0, ALLOCATES_NOTHING, free_means(w))                                 \
    X(sn_means_site, "", B(MEANS), 0, ALLOCATES_NOTHING, means_site(w))                                 \
    X(sn_circuit_create, "", B(MODEL), 0, 0,                                                            \
      sn_circuit_create(MADE(sn_circuit, O_CIRCUIT), CONTEXT, MODEL, "task"))                           \
    X(sn_circuit_create_random, "", 0, B(CIRCUIT), 0,                                                   \
      sn_circuit_create_random(MADE(sn_circuit, O_CIRCUIT), CONTEXT, CIRCUIT, 3))                       \
    X(sn_circuit_load, "", B(MODEL), 0, READS,                                                          \
      sn_circuit_load(MADE(sn_circuit, O_CIRCUIT), CONTEXT, MODEL, FROM("circuit")))                    \
    X(sn_circuit_load_released, "target_a=3 target_b=5", 0, 0, READS | CANCELS, load_released(w))       \
    X(sn_circuit_measure_deltas, "", B(MEANS) | B(TASK), B(OTHER), CANCELS,                             \
      sn_circuit_measure_deltas(OTHER, CONTEXT, MEANS, TASK, TASK))                                     \
    X(sn_circuit_node_delta, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                                      \
      sn_circuit_node_delta(&OUT.numbers[0], &OUT.numbers[1], CIRCUIT, 1))                              \
    X(sn_circuit_edge_delta, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                                      \
      sn_circuit_edge_delta(&OUT.numbers[0], &OUT.numbers[1], CIRCUIT, 1))                              \
    X(sn_circuit_combine, "", 0, B(CIRCUIT) | B(OTHER), 0,                                              \
      sn_circuit_combine(MADE(sn_circuit, O_CIRCUIT), CONTEXT, CIRCUIT, OTHER, SN_UNION))               \
    X(sn_circuit_fold, "", B(MEANS), B(CIRCUIT), 0,                                                     \
      sn_circuit_fold(MADE(sn_model, O_MODEL), CONTEXT, CIRCUIT, MEANS, OPTIONS))                       \
    X(sn_circuit_free, "", B(CIRCUIT), 0, ALLOCATES_NOTHING, free_circuit(w))                           \
    X(sn_circuit_task, "", B(CIRCUIT), 0, ALLOCATES_NOTHING, TEXT(sn_circuit_task(CIRCUIT)))            \
    X(sn_circuit_model, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                                           \
      NUMBER(sn_circuit_model(CIRCUIT) == MODEL))                                                       \
    X(sn_circuit_add_node, "", 0, B(CIRCUIT), 0,                                                        \
      sn_circuit_add_node(CIRCUIT, CONTEXT, "0.mlp.post_act.1"))                                        \
    X(sn_circuit_remove_node, "", 0, B(CIRCUIT), 0,                                                     \
      sn_circuit_remove_node(CIRCUIT, CONTEXT, "0.attn.act_in.0"))                                      \
    X(sn_circuit_node_count, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                                      \
      NUMBER(sn_circuit_node_count(CIRCUIT)))                                                           \
    X(sn_circuit_node_name, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                                       \
      TEXT(sn_circuit_node_name(CIRCUIT, 1)))                                                           \
    X(sn_circuit_edge_count, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                                      \
      NUMBER(sn_circuit_edge_count(CIRCUIT)))                                                           \
    X(sn_circuit_touching_edge_count, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                             \
      NUMBER(sn_circuit_touching_edge_count(CIRCUIT)))                                                  \
    X(sn_circuit_edge, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                                            \
      sn_circuit_edge(&OUT.sizes[0], &OUT.sizes[1], OUT.floats, CIRCUIT, 1))                            \
    X(sn_circuit_trace, "paths=3", B(MEANS) | B(TOKENIZER) | B(TASK), B(OTHER), CANCELS,                \
      sn_circuit_trace(OTHER, CONTEXT, MEANS, TOKENIZER, TASK, OPTIONS))                                \
    X(sn_circuit_path_count, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                                      \
      NUMBER(sn_circuit_path_count(CIRCUIT)))                                                           \
    X(sn_circuit_path, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                                            \
      TEXT(sn_circuit_path(&OUT.numbers[0], &OUT.numbers[1], CIRCUIT, 0)))                              \
    X(sn_circuit_set_measurement, "", 0, B(CIRCUIT), 0,                                                 \
      sn_circuit_set_measurement(CIRCUIT, CONTEXT, "fresh", 0.5))                                       \
    X(sn_circuit_measurement_count, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                               \
      NUMBER(sn_circuit_measurement_count(CIRCUIT)))                                                    \
    X(sn_circuit_measurement, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                                     \
      TEXT(sn_circuit_measurement(OUT.numbers, CIRCUIT, 0)))                                            \
    X(sn_circuit_set_series, "", 0, B(CIRCUIT), 0,                                                      \
      sn_circuit_set_series(CIRCUIT, CONTEXT, "more", 3, x, y))                                         \
    X(sn_circuit_series_count, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                                    \
      NUMBER(sn_circuit_series_count(CIRCUIT)))                                                         \
    X(sn_circuit_series, "", B(CIRCUIT), 0, ALLOCATES_NOTHING, series(w))                               \
    X(sn_circuit_set_label, "", 0, B(CIRCUIT), 0,                                                       \
      sn_circuit_set_label(CIRCUIT, CONTEXT, WORLD_NODE, SN_LABEL, "another"))                          \
    X(sn_circuit_label, "", B(CIRCUIT), 0, ALLOCATES_NOTHING,                                           \
      TEXT(sn_circuit_label(CIRCUIT, 2, SN_LABEL)))

DEFINE_TABLE(calls_circuit, CALLS)
