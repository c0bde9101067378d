/* From learned masks, or from a circuit, to the smallest set of nodes and edges that meets the target. */
#include <math.h>
#include <string.h>

#include "base/buffer.h"
#include "circuit/extract.h"
#include "circuit/grow.h"
#include "circuit/swap.h"

int best_create(struct best *best, const struct search *search)
{
    struct sn_context *context = search->judge.context;
    *best = (struct best){.memory = memory_retain(context->memory),
                          .n_kept = search->n,
                          .n_kept_edges = search->judge.gated.n_edges}; /* 0 with masks of nodes */
    best->kept = memory_allocate_zeroed(best->memory, best->n_kept);
    if (best->n_kept_edges)
        best->kept_edges = memory_allocate_zeroed(best->memory, best->n_kept_edges);
    if (best->kept && (best->kept_edges || !best->n_kept_edges))
        return SN_OK;
    size_t bytes = best->n_kept + best->n_kept_edges;
    best_free(best);
    return fail_memory(context, "a set of nodes and edges", bytes);
}

void best_free(struct best *best)
{
    if (!best->memory)
        return;
    memory_free(best->memory, best->kept, best->n_kept);
    memory_free(best->memory, best->kept_edges, best->n_kept_edges);
    memory_release(best->memory);
    memset(best, 0, sizeof *best);
}

int extract_fail_target(struct search *search, const char *what)
{
    char loss[NUMBER_TEXT], target[NUMBER_TEXT], accuracy[NUMBER_TEXT];
    number_text(loss, search->loss, 4);
    number_text(target, search->settings.target_loss, 4);
    number_text(accuracy, search->accuracy, 4);
    return fail(search->judge.context, SN_ERROR_TARGET,
                "task %s: %s has %s loss %s and accuracy %s; the target is %s",
                sn_task_name(search->judge.tasks[JUDGE_TASK]), what,
                search->settings.calibrated ? "calibrated" : "uncalibrated", loss, accuracy, target);
}

static size_t count_kept(const unsigned char *kept, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += kept[i] != 0;
    return count;
}

/* A model may have no edges. */
static void copy_edges(unsigned char *to, const unsigned char *from, size_t n)
{
    if (n)
        memcpy(to, from, n);
}

/* kept_edges NULL: all edges between the nodes. */
static void take_smaller(struct best *best, struct search *search, const unsigned char *kept,
                         const unsigned char *kept_edges)
{
    size_t edges = graph_count_edges(search->judge.model, &search->judge.layout, kept, kept_edges);
    size_t nodes = count_kept(kept, search->n);
    if (best->found && (edges > best->n_edges || (edges == best->n_edges && nodes >= best->n_nodes)))
        return;
    memcpy(best->kept, kept, search->n);
    if (kept_edges)
        copy_edges(best->kept_edges, kept_edges, search->judge.gated.n_edges);
    best->n_nodes = nodes;
    best->n_edges = edges;
    best->found = 1;
    best->n_taken++;
    best->by_size = search->by_size;
}

/* Greedy removal stops half way between the loss that the whole has and the target: what is left of it is spent
 * by elimination, where it buys most. */
static double half_way(const struct search *search, double loss)
{
    double target = search->settings.target_loss;
    return 0.5 * (target + fmin(loss, target));
}

static int remove_nodes(struct search *search, unsigned char *kept, double half)
{
    double target = search->settings.target_loss;
    size_t removed = 1;
    if (!search->settings.greedy)
        return SN_OK;
    int status = search_narrow(search, kept);
    search->settings.target_loss = half;
    for (size_t pass = 0; status == SN_OK && removed && pass < search->settings.greedy; pass++)
        status = refine_greedy(search, kept, 0, &removed);
    search->settings.target_loss = target;
    if (status == SN_OK)
        status = refine_eliminate(search, kept);
    return status == SN_OK ? search_widen(search) : status;
}

/* Masks that leave more than so many times the edges of others' are not shrunk: to do so takes longest where it gains least. */
#define HOPELESS 2

static int is_hopeless(struct best *best, struct search *search, const unsigned char *kept,
                       const unsigned char *kept_edges)
{
    size_t n = graph_count_edges(search->judge.model, &search->judge.layout, kept, kept_edges);
    if (best->found && n > HOPELESS * best->n_start)
        return 1;
    if (!best->found || n < best->n_start)
        best->n_start = n;
    return 0;
}

static int shrink_nodes(struct best *best, struct search *search, const float *tau, unsigned char *kept,
                        double full_loss)
{
    double target = search->settings.target_loss, half = half_way(search, full_loss);
    search->settings.target_loss = half;
    int status = refine_bisect(search, tau, kept);
    search->settings.target_loss = target;
    if (status != SN_OK || is_hopeless(best, search, kept, NULL))
        return status;
    status = remove_nodes(search, kept, half);
    if (status == SN_OK)
        take_smaller(best, search, kept, NULL);
    return status;
}

/* The same for edges. */
static int remove_edges(struct edge_refinement *edges, double half)
{
    struct extract_settings *settings = &edges->search->settings;
    double target = settings->target_loss;
    int status = SN_OK;
    settings->target_loss = half;
    edges->removed = 1;
    for (size_t pass = 0; status == SN_OK && edges->removed && pass < settings->greedy; pass++)
        status = refine_edges_greedy(edges, 0);
    settings->target_loss = target;
    return status == SN_OK && settings->greedy ? refine_edges_eliminate(edges) : status;
}

static int shrink_edges(struct best *best, struct edge_refinement *edges, const float *tau,
                        double full_loss)
{
    struct extract_settings *settings = &edges->search->settings;
    double target = settings->target_loss, half = half_way(edges->search, full_loss);
    settings->target_loss = half;
    int status = refine_edges_bisect(edges, tau);
    settings->target_loss = target;
    if (status != SN_OK || is_hopeless(best, edges->search, edges->kept, edges->kept_edges))
        return status;
    status = remove_edges(edges, half);
    if (status == SN_OK)
        take_smaller(best, edges->search, edges->kept, edges->kept_edges);
    return status;
}

int extract_size(size_t *n_edges, struct search *search, const float *tau, unsigned char *kept)
{
    const struct judge *judge = &search->judge;
    if (search->settings.method == JUDGE_NODES) {
        int status = refine_bisect(search, tau, kept);
        *n_edges = graph_count_edges(judge->model, &judge->layout, kept, NULL);
        return status;
    }
    struct edge_refinement edges;
    int status = edge_refinement_open(&edges, search, kept);
    if (status == SN_OK)
        status = refine_edges_bisect(&edges, tau);
    if (status == SN_OK)
        *n_edges = graph_count_edges(judge->model, &judge->layout, kept, edges.kept_edges);
    edge_refinement_close(&edges);
    return status;
}

int extract_shrink(struct best *best, struct search *search, const float *tau, unsigned char *kept,
                   double full_loss)
{
    if (search->settings.method == JUDGE_NODES)
        return shrink_nodes(best, search, tau, kept, full_loss);
    struct edge_refinement edges;
    int status = edge_refinement_open(&edges, search, kept);
    if (status == SN_OK)
        status = shrink_edges(best, &edges, tau, full_loss);
    edge_refinement_close(&edges);
    return status;
}

/* A circuit's loss must be known to meet the target before anything is removed from it. */
static int check_start(struct search *search, const unsigned char *kept)
{
    int meets = 0;
    int status = search_meets_unscreened(search, kept, &meets);
    return status == SN_OK && !meets ? extract_fail_target(search, "the circuit to start from") : status;
}

int extract_start_nodes(struct best *best, struct search *search, unsigned char *kept)
{
    int status = check_start(search, kept);
    if (status == SN_OK)
        status = remove_nodes(search, kept, half_way(search, search->loss));
    if (status == SN_OK)
        take_smaller(best, search, kept, NULL);
    return status;
}

int extract_start_edges(struct best *best, struct search *search, unsigned char *kept,
                        const unsigned char *kept_edges)
{
    struct edge_refinement edges;
    int status = edge_refinement_open(&edges, search, kept);
    if (status == SN_OK && kept_edges)
        copy_edges(edges.kept_edges, kept_edges, search->judge.gated.n_edges);
    if (status == SN_OK) {
        edge_refinement_use(&edges);
        status = check_start(search, kept);
    }
    if (status == SN_OK)
        status = remove_edges(&edges, half_way(search, search->loss));
    if (status == SN_OK)
        take_smaller(best, search, kept, edges.kept_edges);
    edge_refinement_close(&edges);
    return status;
}

static int finish_nodes(struct best *best, struct search *search)
{
    int status = refine_swap(search, best->kept, search->settings.swap);
    return status == SN_OK && search->settings.grow ? refine_grow(search, best->kept) : status;
}

static int finish_edges(struct best *best, struct search *search)
{
    struct edge_refinement edges;
    int status = edge_refinement_open(&edges, search, best->kept);
    if (status != SN_OK)
        return status;
    copy_edges(edges.kept_edges, best->kept_edges, best->n_kept_edges);
    edge_refinement_use(&edges);
    status = refine_edges_swap(&edges, search->settings.swap);
    if (status == SN_OK && search->settings.grow)
        status = refine_edges_grow(&edges);
    copy_edges(best->kept_edges, edges.kept_edges, best->n_kept_edges);
    edge_refinement_close(&edges);
    return status;
}

int extract_finish(struct best *best, struct search *search)
{
    int meets = 0, nodes = search->settings.method == JUDGE_NODES;
    int status = nodes ? finish_nodes(best, search) : finish_edges(best, search);
    if (search->settings.grow)
        best->necessity = search->necessity;
    search->judge.kept_edges = best->kept_edges;
    if (status == SN_OK)
        status = search_meets_unscreened(search, best->kept, &meets);
    search->judge.kept_edges = NULL;
    if (status == SN_OK && !meets)
        status = extract_fail_target(search, "the circuit found");
    if (status == SN_OK && count_kept(best->kept, search->n) == 0)
        status = extract_fail_target(search, "the empty circuit, biases and bigram table alone,");
    return status;
}

/* What growing came to: a circuit that could not be made necessary is one all the same, and says so. */
static int keep_necessity(struct sn_circuit *circuit, struct search *search, const struct best *best)
{
    struct sn_context *context = search->judge.context;
    double wanted = grow_wanted(search);
    if (!search->settings.grow)
        return SN_OK;
    int status = circuit_add_measurement(circuit, context, "grown_necessity", best->necessity);
    if (status == SN_OK)
        status = circuit_add_measurement(circuit, context, "necessity_wanted", wanted);
    if (status == SN_OK)
        status = circuit_add_measurement(circuit, context, "necessity_reached",
                                         best->necessity >= wanted - NECESSITY_SLACK);
    return status;
}

static int keep_curves(sn_circuit *circuit, struct sn_context *context, const struct best *best)
{
    struct curve by_size = best->by_size;
    curve_sort(&by_size);
    const struct {
        const char *name;
        const struct curve *curve;
    } curves[] = {
        {"loss_by_size", &by_size}, {"pruning_loss", &best->loss}, {"pruning_size", &best->size}};
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < sizeof curves / sizeof *curves; i++)
        if (curves[i].curve->n)
            status = sn_circuit_set_series(circuit, context, curves[i].name, curves[i].curve->n,
                                           curves[i].curve->x, curves[i].curve->y);
    return status;
}

int extract_circuit(sn_circuit **out, struct search *search, const struct best *best)
{
    struct sn_context *context = search->judge.context;
    sn_circuit *circuit;
    int status = sn_circuit_create(&circuit, context, search->judge.model,
                                   sn_task_name(search->judge.tasks[JUDGE_FIT]));
    if (status == SN_OK)
        status = circuit_set_edges(circuit, context, best->kept, best->kept_edges);
    if (status == SN_OK)
        status = keep_necessity(circuit, search, best);
    if (status == SN_OK)
        status = keep_curves(circuit, context, best);
    if (status != SN_OK) {
        sn_circuit_free(circuit);
        return status;
    }
    *out = circuit;
    return SN_OK;
}
