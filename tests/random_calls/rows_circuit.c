/* Means, circuits and what they hold. */
#include <string.h>

#include "play.h"
#include "world_objects.h"

#define CHANGED CHANGE(circuit, K_CIRCUIT)
#define RELEASED "tests/data/released"

static int create_means(void)
{
    return sn_means_create(SLOT(means, K_MEANS), C, MODEL, TOKENS,
                           settings("tokens:i16-64! window:i1-8 seed:i0-9"));
}

static int free_means(void)
{
    sn_means_free(play_take(K_MEANS));
    return SN_OK;
}

static int means_site(void)
{
    size_t width = 0;
    const float *values = sn_means_site(odd() ? NULL : &width, MEANS, a_site());
    return answer_bytes(values, width * sizeof *values);
}

static int create(void)
{
    return sn_circuit_create(SLOT(circuit, K_CIRCUIT), C, MODEL, text());
}

static int create_random(void)
{
    return sn_circuit_create_random(SLOT(circuit, K_CIRCUIT), C, CIRCUIT, any_seed());
}

static int load(void)
{
    return sn_circuit_load(SLOT(circuit, K_CIRCUIT), C, MODEL, from_file("circuit"));
}

/* Of the released model, which is loaded for it. */
static int load_released(void)
{
    sn_model *model = NULL;
    sn_task **task = chance(50) ? NULL : SLOT(task, K_TASK);
    sn_circuit **circuit = SLOT(circuit, K_CIRCUIT);
    sn_context *context = C;
    const sn_options *options = settings("target_a:i0-5 target_b:i0-5 name:=a|b");
    (void)sn_model_load(&model, context, RELEASED);
    const int status =
        sn_circuit_load_released(circuit, task, context, odd() ? MODEL : model,
                                 odd() ? from_file("circuit") : RELEASED "/viz_data.pt", options);
    sn_model_free(model);
    return status;
}

static int measure_deltas(void)
{
    return sn_circuit_measure_deltas(CHANGED, C, MEANS, TASK, TASK);
}

static int delta(int (*of)(double *, double *, const sn_circuit *, size_t))
{
    double *loss = odd() ? NULL : block(sizeof *loss),
           *raw_loss = odd() ? NULL : block(sizeof *raw_loss);
    return of(loss, raw_loss, CIRCUIT, amount(0, 2));
}

static int combine(void)
{
    return sn_circuit_combine(SLOT(circuit, K_CIRCUIT), C, CIRCUIT, CIRCUIT,
                              whole(SN_UNION, SN_DIFFERENCE));
}

static int fold(void)
{
    return sn_circuit_fold(SLOT(model, K_MODEL), C, CIRCUIT, MEANS, settings("topk:=exact|off"));
}

static int free_circuit(void)
{
    sn_circuit_free(play_take(K_CIRCUIT));
    return SN_OK;
}

static int circuit_model(void)
{
    const sn_model *model = sn_circuit_model(CIRCUIT);
    return model && sn_model_tensor_count(model) ? SN_OK : NO_ANSWER;
}

static int edge(void)
{
    size_t *ends = block(2 * sizeof *ends);
    float *weight = odd() ? NULL : block(sizeof *weight);
    return sn_circuit_edge(odd() ? NULL : ends, odd() ? NULL : ends + 1, weight, CIRCUIT, amount(0, 2));
}

static int trace(void)
{
    return sn_circuit_trace(CHANGED, C, MEANS, chance(50) ? NULL : READ(tokenizer, K_TOKENIZER), TASK,
                            settings("paths:i1-5! max_length:i1-40"));
}

static int path(void)
{
    double *weight = odd() ? NULL : block(sizeof *weight),
           *contribution = odd() ? NULL : block(sizeof *contribution);
    return answer_text(sn_circuit_path(weight, contribution, CIRCUIT, amount(0, 2)));
}

static int measurement(void)
{
    double *value = odd() ? NULL : block(sizeof *value);
    return answer_text(sn_circuit_measurement(value, CIRCUIT, amount(0, 1)));
}

/* A count of points above the most is refused before they are looked at. */
static int set_series(void)
{
    const size_t n = few(1, 5);
    const double *x = doubles(n, 0, 5), *y = doubles(n, 0, 1);
    return sn_circuit_set_series(CHANGED, C, chance(70) ? "curve" : text(), odd() ? 65537 : n, x, y);
}

static int series(void)
{
    const double *x = NULL, *y = NULL;
    size_t n = 0;
    const char *name = sn_circuit_series(odd() ? NULL : &x, odd() ? NULL : &y, odd() ? NULL : &n,
                                         CIRCUIT, amount(0, 1));
    if (name && x)
        answer_bytes(x, n * sizeof *x);
    if (name && y)
        answer_bytes(y, n * sizeof *y);
    return answer_text(name);
}

/* A node that is in it, as far as politeness goes. */
static const char *own_node(const sn_circuit *circuit)
{
    const size_t n = sn_circuit_node_count(circuit);
    return n && !odd() ? sn_circuit_node_name(circuit, draw(n)) : a_node();
}

static int remove_node(void)
{
    sn_circuit *circuit = CHANGED;
    const char *name = own_node(circuit);
    char *copy = name ? block(strlen(name) + 1) : NULL; /* the name goes with the node */
    return sn_circuit_remove_node(circuit, C, copy ? strcpy(copy, name) : NULL);
}

static int set_label(void)
{
    sn_circuit *circuit = CHANGED;
    return sn_circuit_set_label(circuit, C, own_node(circuit), whole(SN_LABEL, SN_NOTE),
                                chance(20) ? NULL : ONE_OF("writes", "the \xc3\xa9nd", ""));
}

#define COUNT(function) answer_number((double)function(CIRCUIT))

#define ROWS(X)                                                                                         \
    X(sn_means_create, FAIR, create_means())                                                            \
    X(sn_means_free, FAIR, free_means())                                                                \
    X(sn_means_site, CHEAP, means_site())                                                               \
    X(sn_circuit_create, CHEAP, create())                                                               \
    X(sn_circuit_create_random, FAIR, create_random())                                                  \
    X(sn_circuit_load, FAIR, load())                                                                    \
    X(sn_circuit_load_released, DEAR, load_released())                                                  \
    X(sn_circuit_measure_deltas, DEAR, measure_deltas())                                                \
    X(sn_circuit_node_delta, CHEAP, delta(sn_circuit_node_delta))                                       \
    X(sn_circuit_edge_delta, CHEAP, delta(sn_circuit_edge_delta))                                       \
    X(sn_circuit_combine, FAIR, combine())                                                              \
    X(sn_circuit_fold, FAIR, fold())                                                                    \
    X(sn_circuit_free, CHEAP, free_circuit())                                                           \
    X(sn_circuit_task, CHEAP, answer_text(sn_circuit_task(CIRCUIT)))                                    \
    X(sn_circuit_model, CHEAP, circuit_model())                                                         \
    X(sn_circuit_add_node, CHEAP, sn_circuit_add_node(CHANGED, C, a_node()))                            \
    X(sn_circuit_remove_node, CHEAP, remove_node())                                                     \
    X(sn_circuit_node_count, CHEAP, COUNT(sn_circuit_node_count))                                       \
    X(sn_circuit_node_name, CHEAP, answer_text(sn_circuit_node_name(CIRCUIT, amount(0, 2))))            \
    X(sn_circuit_edge_count, CHEAP, COUNT(sn_circuit_edge_count))                                       \
    X(sn_circuit_touching_edge_count, CHEAP, COUNT(sn_circuit_touching_edge_count))                     \
    X(sn_circuit_edge, CHEAP, edge())                                                                   \
    X(sn_circuit_trace, FAIR, trace())                                                                  \
    X(sn_circuit_path_count, CHEAP, COUNT(sn_circuit_path_count))                                       \
    X(sn_circuit_path, CHEAP, path())                                                                   \
    X(sn_circuit_set_measurement, CHEAP,                                                                \
      sn_circuit_set_measurement(CHANGED, C, ONE_OF("loss", "fresh", "size"), real(0, 1)))              \
    X(sn_circuit_measurement_count, CHEAP, COUNT(sn_circuit_measurement_count))                         \
    X(sn_circuit_measurement, CHEAP, measurement())                                                     \
    X(sn_circuit_set_series, CHEAP, set_series())                                                       \
    X(sn_circuit_series_count, CHEAP, COUNT(sn_circuit_series_count))                                   \
    X(sn_circuit_series, CHEAP, series())                                                               \
    X(sn_circuit_set_label, CHEAP, set_label())                                                         \
    X(sn_circuit_label, CHEAP,                                                                          \
      answer_text(sn_circuit_label(CIRCUIT, amount(0, 2), whole(SN_LABEL, SN_NOTE))))

DEFINE_ROWS(rows_circuit, ROWS)
