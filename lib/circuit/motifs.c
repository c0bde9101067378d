/* Motifs: edges that hang together and that the same circuits have, as large as all of these have them. */
#include "circuit/sharing.h"

static int add_set(struct sharing *sharing, uint64_t circuits)
{
    if (count_bits(circuits) < 2)
        return SN_OK;
    for (size_t i = 0; i < sharing->n_sets; i++)
        if (sharing->sets[i] == circuits)
            return SN_OK;
    if (sharing->n_sets == MOST_SETS)
        return fail(sharing->context, SN_ERROR_UNSUPPORTED,
                    "sn_shared_create: more than %zu sets of circuits share edges", MOST_SETS);
    sharing->sets[sharing->n_sets++] = circuits;
    return SN_OK;
}

/* The sets of circuits that edges have, and what these have in common. */
static int list_sets(struct sharing *sharing)
{
    int status = SN_OK;
    for (size_t e = 0; status == SN_OK && e < sharing->shared->n_edges; e++)
        status = add_set(sharing, sharing->shared->edges[e].circuits);
    size_t n = sharing->n_sets;
    for (size_t i = 0; status == SN_OK && i < sharing->n_sets; i++)
        for (size_t j = 0; status == SN_OK && j < n; j++)
            status = add_set(sharing, sharing->sets[i] & sharing->sets[j]);
    return status;
}

static size_t root_of(size_t *parent, size_t edge)
{
    while (parent[edge] != edge)
        edge = parent[edge] = parent[parent[edge]];
    return edge;
}

/* The lower edge becomes the root. */
static void join(size_t *parent, size_t a, size_t b)
{
    a = root_of(parent, a);
    b = root_of(parent, b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

/* A write, and a later read of its channel. */
static int residual_link(const struct node_layout *layout, size_t from, size_t to)
{
    const struct node_site *a = &layout->sites[node_layout_site(layout, from)];
    const struct node_site *b = &layout->sites[node_layout_site(layout, to)];
    size_t kind_a = a->site % SITES_PER_LAYER, kind_b = b->site % SITES_PER_LAYER;
    return (kind_a == SITE_ATTN_DELTA || kind_a == SITE_MLP_DELTA) &&
           (kind_b == SITE_ATTN_ACT_IN || kind_b == SITE_MLP_ACT_IN) && a->site < b->site &&
           from - a->first == to - b->first;
}

/* Connects the edges that all circuits of `set` have. */
static void connect(struct sharing *sharing, uint64_t set)
{
    const struct sn_shared *shared = sharing->shared;
    for (size_t i = 0; i < sharing->n_flat; i++)
        sharing->place[i] = NO_NODE;
    for (size_t e = 0; e < shared->n_edges; e++) {
        const struct shared_edge *edge = &shared->edges[e];
        sharing->parent[e] = e;
        if ((edge->circuits & set) != set)
            continue;
        for (int end = 0; end < 2; end++) {
            size_t *place = &sharing->place[end ? edge->to : edge->from];
            if (*place == NO_NODE)
                *place = e;
            else
                join(sharing->parent, *place, e);
        }
    }
    for (size_t e = 0; e < shared->n_edges; e++)
        for (size_t f = 0; f < shared->n_edges; f++)
            if ((shared->edges[e].circuits & shared->edges[f].circuits & set) == set &&
                residual_link(sharing->layout, shared->edges[e].to, shared->edges[f].from))
                join(sharing->parent, e, f);
}

static int grow(void **block, size_t *capacity, size_t n, size_t size, struct sharing *sharing)
{
    if (n < *capacity)
        return SN_OK;
    size_t wanted = *capacity ? 2 * *capacity : 16;
    void *grown = memory_resize(sharing->shared->memory, *block, *capacity * size, wanted * size);
    if (!grown)
        return fail_memory(sharing->context, "motifs", wanted * size);
    *block = grown;
    *capacity = wanted;
    return SN_OK;
}

static int add_motif_edge(struct sharing *sharing, size_t edge)
{
    struct sn_shared *shared = sharing->shared;
    void *block = shared->motif_edges;
    int status = grow(&block, &shared->motif_edge_capacity, shared->n_motif_edges,
                      sizeof *shared->motif_edges, sharing);
    shared->motif_edges = block;
    if (status == SN_OK)
        shared->motif_edges[shared->n_motif_edges++] = edge;
    return status;
}

/* The piece that begins with edge `root`, if no more circuits than `set` share all of it: else it is
 * found with those. */
static int add_motif(struct sharing *sharing, uint64_t set, size_t root)
{
    struct sn_shared *shared = sharing->shared;
    struct motif motif = {set, shared->n_motif_edges, 0};
    uint64_t common = ~(uint64_t)0;
    int status = SN_OK;
    for (size_t e = root; status == SN_OK && e < shared->n_edges; e++) {
        if ((shared->edges[e].circuits & set) != set || root_of(sharing->parent, e) != root)
            continue;
        common &= shared->edges[e].circuits;
        status = add_motif_edge(sharing, e);
        motif.n++;
    }
    if (status != SN_OK || motif.n < 2 || common != set) {
        shared->n_motif_edges = motif.first;
        return status;
    }
    void *block = shared->motifs;
    status = grow(&block, &shared->motif_capacity, shared->n_motifs, sizeof *shared->motifs, sharing);
    shared->motifs = block;
    if (status == SN_OK)
        shared->motifs[shared->n_motifs++] = motif;
    return status;
}

static int motif_before(const struct motif *a, const struct motif *b)
{
    size_t of_a = count_bits(a->circuits), of_b = count_bits(b->circuits);
    return of_a != of_b ? of_a > of_b : a->n > b->n;
}

/* Stable: there are few. */
static void sort_motifs(struct sn_shared *shared)
{
    for (size_t i = 1; i < shared->n_motifs; i++) {
        struct motif motif = shared->motifs[i];
        size_t at = i;
        for (; at > 0 && motif_before(&motif, &shared->motifs[at - 1]); at--)
            shared->motifs[at] = shared->motifs[at - 1];
        shared->motifs[at] = motif;
    }
}

int list_motifs(struct sharing *sharing)
{
    const struct sn_shared *shared = sharing->shared;
    sharing->parent =
        memory_allocate_array(sharing->context->memory, shared->n_edges, sizeof *sharing->parent);
    int status =
        sharing->parent ? list_sets(sharing) : fail_memory(sharing->context, "motifs", shared->n_edges);
    for (size_t i = 0; status == SN_OK && i < sharing->n_sets; i++) {
        connect(sharing, sharing->sets[i]);
        for (size_t e = 0; status == SN_OK && e < shared->n_edges; e++)
            if (root_of(sharing->parent, e) == e)
                status = add_motif(sharing, sharing->sets[i], e);
        if (status == SN_OK)
            status = progress(sharing->context, "shared", i + 1, sharing->n_sets, 0);
    }
    sort_motifs(sharing->shared);
    return status;
}
