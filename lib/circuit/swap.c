#include "circuit/swap.h"

#include <string.h>

/* What is compared: less is better, edges first. */
struct size {
    size_t n_edges, n_nodes;
    double loss;
};

static int is_smaller(const struct size *a, const struct size *b)
{
    if (a->n_edges != b->n_edges)
        return a->n_edges < b->n_edges;
    if (a->n_nodes != b->n_nodes)
        return a->n_nodes < b->n_nodes;
    return a->loss < b->loss;
}

/* kept_edges NULL: all between the nodes. search->loss is that on all pairs. */
static struct size size_of(const struct search *search, const unsigned char *kept,
                           const unsigned char *kept_edges)
{
    const struct judge *judge = &search->judge;
    struct size size = {.n_edges = graph_count_edges(judge->model, &judge->layout, kept, kept_edges),
                        .loss = search->loss};
    for (size_t i = 0; i < search->n; i++)
        size.n_nodes += kept[i] != 0;
    return size;
}

/* One exchange under way: the circuit as it stands in `kept` of a search or kept_edges of a refinement, the best so
 * far, and who comes in next. */
struct swap {
    struct search *search;
    struct edge_refinement *edges; /* NULL: nodes */
    unsigned char *kept;           /* nodes */
    unsigned char *current;        /* what elimination works on: kept, or edges->kept_edges */
    unsigned char *best;           /* n_bytes: copy of `current` at its best */
    size_t n_bytes;
    struct size size; /* of the best */
    size_t candidates[SWAP_CANDIDATES], n_candidates;
};

static int measure(struct swap *swap, struct size *size)
{
    int meets = 0;
    if (swap->edges)
        edge_refinement_use(swap->edges);
    int status = search_meets_unscreened(swap->search, swap->kept, &meets);
    *size = size_of(swap->search, swap->kept, swap->edges ? swap->edges->kept_edges : NULL);
    return status;
}

/* Those outside that lower the loss most when they come in, by its gradient. All nodes are open while edges are
 * scored: an edge at whose other end nothing else is kept counts too. */
static int choose_candidates(struct swap *swap)
{
    static const struct calibration raw = {1, 0};
    struct search *search = swap->search;
    struct edge_refinement *edges = swap->edges;
    const size_t *order = edges ? edges->order : search->order;
    const double *score = edges ? edges->score : search->score;
    int status;
    if (edges) {
        edge_refinement_use(edges);
        status = judge_gradient(&search->judge, edges->all_nodes, SN_ABLATE_REST, JUDGE_FIT, raw);
        for (size_t i = 0; i < search->judge.gated.n_edges; i++)
            edges->score[i] = (double)search->judge.gated.gradient[i];
        edge_refinement_order(edges, EDGES_OUTSIDE);
    } else {
        status = search_score_attribution(search, swap->kept);
        memcpy(search->score, search->signed_score, search->n * sizeof *search->score);
        search_order_leaders(search, swap->kept, 0);
    }
    size_t n = edges ? edges->n_order : search->n_order;
    swap->n_candidates = 0;
    for (size_t i = 0; i < n && swap->n_candidates < SWAP_CANDIDATES && score[order[i]] < 0; i++)
        swap->candidates[swap->n_candidates++] = order[i];
    return status;
}

/* Takes the candidate in and lets go what it can for it. */
static int exchange(struct swap *swap, size_t candidate)
{
    int status;
    if (swap->edges) {
        swap->current[candidate] = 1;
        swap->edges->held = candidate;
        status = refine_edges_eliminate(swap->edges);
        swap->edges->held = NO_NODE;
    } else {
        search_set_group(swap->search, swap->current, candidate, 1);
        swap->search->held = candidate;
        status = refine_eliminate(swap->search, swap->current);
        swap->search->held = NO_NODE;
    }
    return status;
}

static int try_candidate(struct swap *swap, size_t candidate, int *gained)
{
    struct size size;
    int meets = 0;
    memcpy(swap->current, swap->best, swap->n_bytes);
    if (swap->current[candidate])
        return SN_OK;
    int status = exchange(swap, candidate);
    if (status == SN_OK)
        status = measure(swap, &size);
    meets = swap->search->loss <= swap->search->settings.target_loss;
    if (status == SN_OK && meets && is_smaller(&size, &swap->size)) {
        memcpy(swap->best, swap->current, swap->n_bytes);
        swap->size = size;
        *gained = 1;
    }
    return status;
}

static int run_passes(struct swap *swap, size_t passes)
{
    int gained = 1, status = measure(swap, &swap->size);
    for (size_t pass = 0; status == SN_OK && gained && pass < passes; pass++) {
        gained = 0;
        status = choose_candidates(swap);
        for (size_t i = 0; status == SN_OK && i < swap->n_candidates; i++) {
            status = try_candidate(swap, swap->candidates[i], &gained);
            if (status == SN_OK)
                status = progress(swap->search->judge.context, "swap", pass * SWAP_CANDIDATES + i + 1,
                                  passes * SWAP_CANDIDATES, (double)swap->size.n_edges);
        }
        memcpy(swap->current, swap->best, swap->n_bytes);
    }
    if (swap->edges)
        edge_refinement_use(swap->edges);
    return status;
}

static int run(struct swap *swap, size_t passes)
{
    struct memory *memory = swap->search->judge.context->memory;
    if (passes == 0)
        return SN_OK;
    swap->best = memory_allocate(memory, swap->n_bytes);
    if (!swap->best)
        return fail_memory(swap->search->judge.context, "a circuit to exchange in", swap->n_bytes);
    memcpy(swap->best, swap->current, swap->n_bytes);
    int status = run_passes(swap, passes);
    memory_free(memory, swap->best, swap->n_bytes);
    return status;
}

int refine_swap(struct search *search, unsigned char *kept, size_t passes)
{
    struct swap swap = {.search = search, .kept = kept, .current = kept, .n_bytes = search->n};
    return run(&swap, passes);
}

int refine_edges_swap(struct edge_refinement *refinement, size_t passes)
{
    struct swap swap = {.search = refinement->search,
                        .edges = refinement,
                        .kept = refinement->kept,
                        .current = refinement->kept_edges,
                        .n_bytes = refinement->search->judge.gated.n_edges};
    return run(&swap, passes);
}
