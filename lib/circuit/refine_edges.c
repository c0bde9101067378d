#include "circuit/refine_edges.h"

#include <math.h>
#include <string.h>

#include "circuit/order.h"

#define CANDIDATES 8        /* by gradient; all are tried before elimination ends */
#define ELIMINATE_SHARE 128 /* of so many edges left one goes at a time, of twice as many two, ... */

/* The edge's weight, and the nodes at its ends. */
typedef void (*part_visitor)(struct edge_refinement *refinement, size_t edge, size_t from, size_t to,
                             float weight);

static void visit(struct edge_refinement *refinement, part_visitor visitor)
{
    const struct gated_model *gated = &refinement->search->judge.gated;
    for (size_t p = 0; p < gated->n_parts; p++) {
        const struct edge_part *part = &gated->parts[p];
        const float *weights = gated->weights[p];
        for (size_t r = part->first_row; r < part->first_row + part->n_rows; r++)
            for (size_t i = edge_row(part, r); i < edge_row(part, r + 1); i++)
                visitor(refinement, part->first + i - part->first_value,
                        part->from + edge_column(part, r, i), part->to + r - part->first_row,
                        weights[i]);
    }
}

static void keep_between(struct edge_refinement *refinement, size_t edge, size_t from, size_t to,
                         float weight)
{
    refinement->kept_edges[edge] = weight != 0 && refinement->kept[from] && refinement->kept[to];
}

static void keep_ends(struct edge_refinement *refinement, size_t edge, size_t from, size_t to,
                      float weight)
{
    (void)weight;
    if (refinement->kept_edges[edge])
        refinement->kept[from] = refinement->kept[to] = 1;
}

int edge_refinement_open(struct edge_refinement *refinement, struct search *search, unsigned char *kept)
{
    struct memory *memory = search->judge.context->memory;
    size_t n = search->judge.gated.n_edges;
    *refinement = (struct edge_refinement){.search = search, .kept = kept, .held = NO_NODE};
    refinement->kept_edges = memory_allocate(memory, n);
    refinement->other_edges = memory_allocate(memory, n);
    refinement->all_nodes = memory_allocate(memory, search->n);
    refinement->order = memory_allocate_array(memory, n, sizeof *refinement->order);
    refinement->score = memory_allocate_zeroed_array(memory, n, sizeof *refinement->score);
    if (!refinement->kept_edges || !refinement->other_edges || !refinement->all_nodes ||
        !refinement->order || !refinement->score) {
        edge_refinement_close(refinement);
        return fail_memory(search->judge.context, "a set of edges", n);
    }
    memset(refinement->all_nodes, 1, search->n);
    visit(refinement, keep_between);
    return SN_OK;
}

void edge_refinement_close(struct edge_refinement *refinement)
{
    if (!refinement->search)
        return;
    struct judge *judge = &refinement->search->judge;
    struct memory *memory = judge->context->memory;
    size_t n = judge->gated.n_edges;
    judge->kept_edges = NULL;
    memory_free(memory, refinement->kept_edges, n);
    memory_free(memory, refinement->other_edges, n);
    memory_free(memory, refinement->all_nodes, refinement->search->n);
    memory_free(memory, refinement->order, n * sizeof *refinement->order);
    memory_free(memory, refinement->score, n * sizeof *refinement->score);
    memset(refinement, 0, sizeof *refinement);
}

void edge_refinement_use(struct edge_refinement *refinement)
{
    memset(refinement->kept, 0, refinement->search->n);
    visit(refinement, keep_ends);
    refinement->search->judge.kept_edges = refinement->kept_edges;
}

int edge_refinement_meets(struct edge_refinement *refinement, int *result)
{
    edge_refinement_use(refinement);
    return search_meets(refinement->search, refinement->kept, result);
}

static void cut_edges(struct edge_refinement *refinement)
{
    for (size_t i = 0; i < refinement->search->judge.gated.n_edges; i++)
        refinement->other_edges[i] = !refinement->kept_edges[i];
    refinement->search->judge.kept_edges = refinement->other_edges;
}

int edge_refinement_necessity(struct edge_refinement *refinement)
{
    cut_edges(refinement);
    int status = search_complement(refinement->search, refinement->all_nodes, SN_ABLATE_REST);
    edge_refinement_use(refinement);
    return status;
}

int edge_refinement_score_complement(struct edge_refinement *refinement)
{
    struct search *search = refinement->search;
    cut_edges(refinement);
    int status = judge_gradient(&search->judge, refinement->all_nodes, SN_ABLATE_REST, JUDGE_FIT,
                                search->complement);
    for (size_t i = 0; i < search->judge.gated.n_edges; i++)
        refinement->score[i] = (double)search->judge.gated.gradient[i];
    edge_refinement_use(refinement);
    return status;
}

void edge_refinement_order(struct edge_refinement *refinement, enum edge_choice which)
{
    refinement->n_order = 0;
    for (size_t i = 0; i < refinement->search->judge.gated.n_edges; i++)
        if (i != refinement->held &&
            (which == EDGES_ALL || (refinement->kept_edges[i] != 0) == (which == EDGES_KEPT)))
            refinement->order[refinement->n_order++] = i;
    order_by_score(refinement->order, refinement->n_order, refinement->score);
}

static int keeps_enough(struct edge_refinement *refinement, size_t k, int *result)
{
    memset(refinement->kept_edges, 0, refinement->search->judge.gated.n_edges);
    for (size_t i = 0; i < k; i++)
        refinement->kept_edges[refinement->order[i]] = 1;
    int status = edge_refinement_meets(refinement, result);
    curve_add(&refinement->search->by_size, (double)k, refinement->search->loss);
    return status;
}

int refine_edges_bisect(struct edge_refinement *refinement, const float *tau)
{
    size_t n = refinement->search->judge.gated.n_edges, low = 0, high = 0;
    int enough = 0, status = SN_OK;
    for (size_t i = 0; i < n; i++)
        refinement->score[i] = -(double)tau[i];
    edge_refinement_order(refinement, EDGES_ALL);
    memset(&refinement->search->by_size, 0, sizeof refinement->search->by_size);
    while (high < n && tau[refinement->order[high]] > 0)
        high++;
    /* Where the learned set itself misses the target, more edges are let in. */
    for (;;) {
        status = keeps_enough(refinement, high, &enough);
        if (status != SN_OK || enough)
            break;
        if (high == n)
            return fail(refinement->search->judge.context, SN_ERROR_TARGET,
                        "all edges together miss the target loss");
        low = high + 1;
        high = high < 8 ? 16 : 2 * high;
        if (high > n)
            high = n;
    }
    while (status == SN_OK && low < high) {
        size_t middle = low + (high - low) / 2;
        status = keeps_enough(refinement, middle, &enough);
        if (enough)
            high = middle;
        else
            low = middle + 1;
    }
    return status == SN_OK ? keeps_enough(refinement, high, &enough) : status;
}

/* score = how much the loss falls, to first order, when the edge goes: the least harm comes first. */
static int score_edges(struct edge_refinement *refinement, int magnitude)
{
    static const struct calibration raw = {1, 0};
    struct judge *judge = &refinement->search->judge;
    edge_refinement_use(refinement);
    int status = judge_gradient(judge, refinement->kept, SN_ABLATE_REST, JUDGE_FIT, raw);
    for (size_t i = 0; i < judge->gated.n_edges; i++) {
        double gradient = (double)judge->gated.gradient[i];
        refinement->score[i] = magnitude ? fabs(gradient) : -gradient;
    }
    return status;
}

static void set_range(struct edge_refinement *refinement, size_t first, size_t last, unsigned char value)
{
    for (size_t i = first; i < last; i++)
        refinement->kept_edges[refinement->order[i]] = value;
}

static int still_good(struct edge_refinement *refinement, int *good)
{
    int status = edge_refinement_meets(refinement, good);
    if (status != SN_OK || !*good || refinement->floor <= 0)
        return status;
    status = edge_refinement_necessity(refinement);
    *good = refinement->search->necessity >= refinement->floor;
    return status;
}

/* Removes order[first..last) as one block; where that is too much, its halves one after the other. */
static int remove_block(struct edge_refinement *refinement, size_t first, size_t last)
{
    int good = 0;
    set_range(refinement, first, last, 0);
    int status = still_good(refinement, &good);
    if (status != SN_OK)
        return status;
    if (!good)
        set_range(refinement, first, last, 1);
    if (good || last - first == 1) {
        refinement->removed += good ? last - first : 0;
        refinement->tried += last - first;
        return progress(refinement->search->judge.context, "greedy", refinement->tried,
                        refinement->n_order, (double)(refinement->n_order - refinement->removed));
    }
    size_t middle = first + (last - first) / 2;
    status = remove_block(refinement, first, middle);
    return status == SN_OK ? remove_block(refinement, middle, last) : status;
}

int refine_edges_greedy(struct edge_refinement *refinement, double floor)
{
    int status = score_edges(refinement, 1);
    if (status != SN_OK)
        return status;
    edge_refinement_order(refinement, EDGES_KEPT);
    refinement->tried = refinement->removed = 0;
    refinement->floor = floor;
    size_t block = refinement->n_order / 16 + 1;
    for (size_t first = 0; status == SN_OK && first < refinement->n_order; first += block) {
        size_t last = first + block < refinement->n_order ? first + block : refinement->n_order;
        status = remove_block(refinement, first, last);
    }
    return status;
}

/* Brings the candidates order[first..last) into the order of the losses without each; equals stay as they are. */
static int rank_removals(struct edge_refinement *refinement, size_t first, size_t last)
{
    struct search *search = refinement->search;
    double losses[CANDIDATES];
    int status = SN_OK;
    for (size_t i = first; status == SN_OK && i < last; i++) {
        set_range(refinement, i, i + 1, 0);
        edge_refinement_use(refinement);
        status = search_quick_loss(search, refinement->kept);
        set_range(refinement, i, i + 1, 1);
        double loss = status == SN_OK ? search->loss : INFINITY;
        size_t edge = refinement->order[i], at = i;
        for (; at > first && loss < losses[at - 1 - first]; at--) {
            refinement->order[at] = refinement->order[at - 1];
            losses[at - first] = losses[at - 1 - first];
        }
        refinement->order[at] = edge;
        losses[at - first] = loss;
    }
    return status;
}

/* Removes order[first..last) if the target holds without them. */
static int try_removal(struct edge_refinement *refinement, size_t first, size_t last, int *removed)
{
    set_range(refinement, first, last, 0);
    int status = edge_refinement_meets(refinement, removed);
    if (!*removed)
        set_range(refinement, first, last, 1);
    return status;
}

/* Removes one edge, of a large circuit several, if the target holds without. */
static int eliminate_some(struct edge_refinement *refinement, int *removed)
{
    int status = SN_OK;
    size_t several = refinement->n_order / ELIMINATE_SHARE;
    *removed = 0;
    for (size_t first = 0; status == SN_OK && !*removed && first < refinement->n_order;
         first += CANDIDATES) {
        size_t left = refinement->n_order - first, n = left < CANDIDATES ? left : CANDIDATES;
        status = rank_removals(refinement, first, first + n);
        if (status == SN_OK && several > 1)
            status = try_removal(refinement, first, first + (several < n ? several : n), removed);
        if (status == SN_OK && !*removed)
            status = try_removal(refinement, first, first + 1, removed);
    }
    return status;
}

int refine_edges_eliminate(struct edge_refinement *refinement)
{
    int status = SN_OK, removed = 1;
    for (size_t round = 0; status == SN_OK && removed; round++) {
        status = score_edges(refinement, 0);
        edge_refinement_order(refinement, EDGES_KEPT);
        if (status == SN_OK)
            status = progress(refinement->search->judge.context, "eliminate", round,
                              round + refinement->n_order, (double)refinement->n_order);
        if (status == SN_OK)
            status = eliminate_some(refinement, &removed);
    }
    edge_refinement_use(refinement);
    return status;
}
