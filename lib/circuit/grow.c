#include "circuit/grow.h"

#include <math.h>
#include <string.h>

#define LN_2 0.69314718055994531

double grow_wanted(const struct search *search)
{
    return LN_2 - search->settings.necessity;
}

/* Pruning may cost a little of what was reached; a necessity that could not be reached is at least not lost. */
static double floor_of(const struct search *search)
{
    return fmin(search->necessity, grow_wanted(search)) - NECESSITY_SLACK;
}

/* ---- nodes */

/* Among the complement nodes whose ablation would raise the complement's loss most by its gradient, the
 * one whose ablation does raise it most; one that leaves the circuit sufficient goes before one that
 * does not. NO_NODE when there is none. */
static int best_addition(struct search *search, unsigned char *kept, size_t *best)
{
    double best_necessity = -1;
    int best_meets = 0;
    *best = NO_NODE;
    int status = judge_gradient(&search->judge, kept, SN_ABLATE_CIRCUIT, JUDGE_FIT, search->complement);
    for (size_t i = 0; i < search->n; i++) {
        size_t other = search->partner[i];
        const float *gradient = search->judge.gates.gradient;
        search->score[i] = (double)gradient[i] + (other != i ? (double)gradient[other] : 0);
    }
    search_order_leaders(search, kept, 0);
    for (size_t c = 0; status == SN_OK && c < GROW_CANDIDATES && c < search->n_order; c++) {
        size_t node = search->order[c];
        int meets = 0;
        if (search->score[node] >= 0)
            break;
        search_set_group(search, kept, node, 1);
        status = search_necessity(search, kept);
        double necessity = search->necessity;
        if (status == SN_OK && (necessity > best_necessity || !best_meets))
            status = search_meets(search, kept, &meets);
        search_set_group(search, kept, node, 0);
        if (meets > best_meets || (meets == best_meets && necessity > best_necessity)) {
            *best = node;
            best_necessity = necessity;
            best_meets = meets;
        }
    }
    return status;
}

static int grow_nodes(struct search *search, unsigned char *kept, size_t *added)
{
    double wanted = grow_wanted(search);
    int status = search_necessity(search, kept);
    *added = 0;
    while (status == SN_OK && search->necessity < wanted && *added < GROW_LIMIT) {
        size_t node;
        status = best_addition(search, kept, &node);
        if (status != SN_OK || node == NO_NODE)
            break;
        search_set_group(search, kept, node, 1);
        ++*added;
        status = search_necessity(search, kept);
        if (status == SN_OK)
            status = progress(search->judge.context, "grow", *added, GROW_LIMIT, search->necessity);
    }
    return status;
}

static int prune_jointly(struct search *search, unsigned char *kept)
{
    int status = search_necessity(search, kept);
    double floor = floor_of(search);
    size_t removed = 1;
    for (size_t pass = 0; status == SN_OK && removed && pass < search->settings.greedy; pass++)
        status = refine_greedy(search, kept, floor, &removed);
    return status;
}

int refine_grow(struct search *search, unsigned char *kept)
{
    struct memory *memory = search->judge.context->memory;
    unsigned char *grown = memory_allocate(memory, search->n);
    size_t added = 0;
    int meets = 0;
    if (!grown)
        return fail_memory(search->judge.context, "a grown circuit", search->n);
    memcpy(grown, kept, search->n);
    int status = grow_nodes(search, grown, &added);
    if (status == SN_OK)
        status = search_meets(search, grown, &meets);
    if (status == SN_OK && added && meets) {
        status = prune_jointly(search, grown);
        if (status == SN_OK)
            memcpy(kept, grown, search->n);
    }
    memory_free(memory, grown, search->n);
    return status == SN_OK && added ? search_necessity(search, kept) : status;
}

/* ---- edges */

/* As best_addition, of the edges outside. */
static int best_edge(struct edge_refinement *refinement, size_t *best)
{
    struct search *search = refinement->search;
    double best_necessity = -1;
    int best_meets = 0;
    *best = NO_NODE;
    int status = edge_refinement_score_complement(refinement);
    edge_refinement_order(refinement, EDGES_OUTSIDE);
    for (size_t c = 0; status == SN_OK && c < GROW_CANDIDATES && c < refinement->n_order; c++) {
        size_t edge = refinement->order[c];
        int meets = 0;
        if (refinement->score[edge] >= 0)
            break;
        refinement->kept_edges[edge] = 1;
        status = edge_refinement_necessity(refinement);
        double necessity = search->necessity;
        if (status == SN_OK && (necessity > best_necessity || !best_meets))
            status = edge_refinement_meets(refinement, &meets);
        refinement->kept_edges[edge] = 0;
        if (meets > best_meets || (meets == best_meets && necessity > best_necessity)) {
            *best = edge;
            best_necessity = necessity;
            best_meets = meets;
        }
    }
    return status;
}

static int grow_edges(struct edge_refinement *refinement, size_t *added)
{
    struct search *search = refinement->search;
    int status = edge_refinement_necessity(refinement);
    *added = 0;
    while (status == SN_OK && search->necessity < grow_wanted(search) && *added < GROW_LIMIT) {
        size_t edge;
        status = best_edge(refinement, &edge);
        if (status != SN_OK || edge == NO_NODE)
            break;
        refinement->kept_edges[edge] = 1;
        ++*added;
        status = edge_refinement_necessity(refinement);
        if (status == SN_OK)
            status = progress(search->judge.context, "grow", *added, GROW_LIMIT, search->necessity);
    }
    return status;
}

static int prune_edges_jointly(struct edge_refinement *refinement)
{
    struct search *search = refinement->search;
    int status = edge_refinement_necessity(refinement);
    double floor = floor_of(search);
    refinement->removed = 1;
    for (size_t pass = 0; status == SN_OK && refinement->removed && pass < search->settings.greedy;
         pass++)
        status = refine_edges_greedy(refinement, floor);
    return status;
}

int refine_edges_grow(struct edge_refinement *refinement)
{
    struct search *search = refinement->search;
    size_t n = search->judge.gated.n_edges, added = 0;
    unsigned char *small = memory_allocate(search->judge.context->memory, n);
    int meets = 0;
    if (!small)
        return fail_memory(search->judge.context, "a grown circuit", n);
    memcpy(small, refinement->kept_edges, n);
    int status = grow_edges(refinement, &added);
    if (status == SN_OK)
        status = edge_refinement_meets(refinement, &meets);
    if (status == SN_OK && added && meets)
        status = prune_edges_jointly(refinement);
    else
        memcpy(refinement->kept_edges, small, n);
    memory_free(search->judge.context->memory, small, n);
    return status == SN_OK ? edge_refinement_necessity(refinement) : status;
}
