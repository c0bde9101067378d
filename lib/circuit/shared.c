/* What several circuits of one model have in common: nodes, edges, and connected pieces of edges
 * (motifs). A set of circuits is a word with a bit for each. */
#include <string.h>

#include "circuit/edges.h"
#include "circuit/order.h"

#define MOST_CIRCUITS 64
#define MOST_SETS ((size_t)1024) /* different sets of circuits that motifs are looked for in */

struct shared_node {
    size_t node; /* flat index */
    uint64_t circuits;
    char name[NODE_NAME_BYTES];
};

struct shared_edge {
    size_t from, to; /* flat indices of nodes */
    const struct shared_node *from_node, *to_node;
    float weight;
    uint64_t circuits;
};

struct motif {
    uint64_t circuits;
    size_t first, n; /* in motif_edges */
};

struct sn_shared {
    struct memory *memory; /* retained */
    struct shared_node *nodes;
    struct shared_edge *edges;
    struct motif *motifs;
    size_t *motif_edges;
    size_t n_nodes, n_edges, n_motifs, motif_capacity, n_motif_edges, motif_edge_capacity;
};

static size_t count_bits(uint64_t circuits)
{
    return (size_t)__builtin_popcountll(circuits);
}

/* While it is made. */
struct sharing {
    struct sn_context *context;
    struct sn_shared *shared;
    const sn_circuit *const *circuits;
    size_t n_circuits;
    const struct node_layout *layout;
    size_t n_flat, n_flat_edges;
    uint64_t *of_node, *of_edge; /* by flat index: the circuits that have it */
    size_t *place;               /* of each node: in shared->nodes, or an edge that it ends */
    size_t *order;               /* of nodes, edges or motifs */
    double *score;
    size_t *parent; /* n_edges, union-find */
    uint64_t sets[MOST_SETS];
    size_t n_sets, n_order;
};

/* ---- nodes and edges */

static void mark(struct sharing *sharing)
{
    for (size_t i = 0; i < sharing->n_circuits; i++) {
        const sn_circuit *circuit = sharing->circuits[i];
        const struct graph *graph = &circuit->graph;
        for (size_t n = 0; n < graph->n_nodes; n++)
            sharing->of_node[graph->nodes[n]] |= (uint64_t)1 << i;
        for (size_t e = 0; e < graph->n_edges; e++) {
            float weight;
            size_t edge =
                edge_find(&weight, circuit->model, &circuit->layout, graph->nodes[graph->edges[e].from],
                          graph->nodes[graph->edges[e].to]);
            sharing->of_edge[edge] |= (uint64_t)1 << i;
        }
    }
}

/* items with two circuits or more, those of most first; returns how many. */
static size_t order_shared(struct sharing *sharing, const uint64_t *circuits, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        sharing->score[i] = -(double)count_bits(circuits[i]);
        if (count_bits(circuits[i]) >= 2)
            sharing->order[count++] = i;
    }
    order_by_score(sharing->order, count, sharing->score);
    return count;
}

static int list_nodes(struct sharing *sharing)
{
    struct sn_shared *shared = sharing->shared;
    const struct node_layout *layout = sharing->layout;
    size_t n = order_shared(sharing, sharing->of_node, sharing->n_flat);
    shared->nodes = memory_allocate_array(shared->memory, n, sizeof *shared->nodes);
    if (!shared->nodes)
        return fail_memory(sharing->context, "shared nodes", n * sizeof *shared->nodes);
    shared->n_nodes = n;
    for (size_t i = 0; i < n; i++) {
        size_t node = sharing->order[i];
        const struct node_site *site = &layout->sites[node_layout_site(layout, node)];
        shared->nodes[i] = (struct shared_node){.node = node, .circuits = sharing->of_node[node]};
        node_name(shared->nodes[i].name, NODE_NAME_BYTES, sharing->circuits[0]->model, site->site,
                  node - site->first);
        sharing->place[node] = i;
    }
    return SN_OK;
}

/* The ends of the flat edges, which only graphs tell. */
static int list_edges(struct sharing *sharing)
{
    struct sn_shared *shared = sharing->shared;
    size_t n = order_shared(sharing, sharing->of_edge, sharing->n_flat_edges), done = 0;
    size_t *place =
        memory_allocate_array(sharing->context->memory, sharing->n_flat_edges, sizeof *place);
    shared->edges = memory_allocate_array(shared->memory, n, sizeof *shared->edges);
    int status = place && shared->edges
                     ? SN_OK
                     : fail_memory(sharing->context, "shared edges", n * sizeof *shared->edges);
    if (shared->edges)
        shared->n_edges = n;
    for (size_t i = 0; status == SN_OK && i < n; i++)
        place[sharing->order[i]] = i;
    for (size_t i = 0; status == SN_OK && i < sharing->n_circuits && done < n; i++) {
        const struct graph *graph = &sharing->circuits[i]->graph;
        for (size_t e = 0; e < graph->n_edges; e++) {
            float weight;
            size_t from = graph->nodes[graph->edges[e].from], to = graph->nodes[graph->edges[e].to];
            size_t edge = edge_find(&weight, sharing->circuits[i]->model, sharing->layout, from, to);
            uint64_t circuits = sharing->of_edge[edge];
            if (count_bits(circuits) < 2 || (circuits & (((uint64_t)1 << i) - 1)))
                continue; /* an earlier circuit told it */
            shared->edges[place[edge]] =
                (struct shared_edge){.from = from,
                                     .to = to,
                                     .from_node = &shared->nodes[sharing->place[from]],
                                     .to_node = &shared->nodes[sharing->place[to]],
                                     .weight = weight,
                                     .circuits = circuits};
            done++;
        }
    }
    memory_free(sharing->context->memory, place, sharing->n_flat_edges * sizeof *place);
    return status;
}

/* ---- motifs */

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

static int list_motifs(struct sharing *sharing)
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

/* ---- public */

static int allocate(struct sharing *sharing)
{
    struct memory *memory = sharing->context->memory;
    size_t nodes = sharing->n_flat, edges = sharing->n_flat_edges;
    sharing->n_order = nodes > edges ? nodes : edges;
    sharing->of_node = memory_allocate_zeroed_array(memory, nodes, sizeof *sharing->of_node);
    sharing->of_edge = memory_allocate_zeroed_array(memory, edges, sizeof *sharing->of_edge);
    sharing->place = memory_allocate_zeroed_array(memory, nodes, sizeof *sharing->place);
    sharing->order = memory_allocate_array(memory, sharing->n_order, sizeof *sharing->order);
    sharing->score = memory_allocate_array(memory, sharing->n_order, sizeof *sharing->score);
    if (sharing->of_node && sharing->of_edge && sharing->place && sharing->order && sharing->score)
        return SN_OK;
    return fail_memory(sharing->context, "sets of circuits", nodes + edges);
}

static void release(struct sharing *sharing)
{
    struct memory *memory = sharing->context->memory;
    size_t nodes = sharing->n_flat, edges = sharing->n_flat_edges;
    memory_free(memory, sharing->of_node, nodes * sizeof *sharing->of_node);
    memory_free(memory, sharing->of_edge, edges * sizeof *sharing->of_edge);
    memory_free(memory, sharing->place, nodes * sizeof *sharing->place);
    memory_free(memory, sharing->order, sharing->n_order * sizeof *sharing->order);
    memory_free(memory, sharing->score, sharing->n_order * sizeof *sharing->score);
    memory_free(memory, sharing->parent, sharing->shared->n_edges * sizeof *sharing->parent);
}

static int check(sn_context *context, const sn_circuit *const *circuits, size_t n_circuits)
{
    static const char function[] = "sn_shared_create";
    if (!circuits)
        return fail(context, SN_ERROR_ARGUMENT, "%s: circuits is NULL", function);
    if (n_circuits < 1 || n_circuits > MOST_CIRCUITS)
        return fail(context, SN_ERROR_ARGUMENT, "%s: n_circuits is %zu; it must be 1 .. %d", function,
                    n_circuits, MOST_CIRCUITS);
    for (size_t i = 0; i < n_circuits; i++) {
        if (!circuits[i])
            return fail(context, SN_ERROR_ARGUMENT, "%s: circuits[%zu] is NULL", function, i);
        if (circuits[i]->model != circuits[0]->model)
            return fail(context, SN_ERROR_ARGUMENT,
                        "%s: circuits[%zu], \"%.100s\", is of another model than circuits[0]", function,
                        i, circuits[i]->task);
    }
    return SN_OK;
}

static int make(struct sharing *sharing)
{
    int status = allocate(sharing);
    if (status == SN_OK) {
        mark(sharing);
        status = list_nodes(sharing);
    }
    if (status == SN_OK)
        status = list_edges(sharing);
    return status == SN_OK ? list_motifs(sharing) : status;
}

int sn_shared_create(sn_shared **out, sn_context *context, const sn_circuit *const *circuits,
                     size_t n_circuits)
{
    if (!context || !out)
        return SN_ERROR_ARGUMENT;
    *out = NULL;
    int status = check(context, circuits, n_circuits);
    if (status != SN_OK)
        return status;
    sn_shared *shared = memory_allocate_zeroed(context->memory, sizeof *shared);
    struct sharing *sharing = memory_allocate_zeroed(context->memory, sizeof *sharing);
    if (!shared || !sharing) {
        memory_free(context->memory, shared, sizeof *shared);
        memory_free(context->memory, sharing, sizeof *sharing);
        return fail_memory(context, "shared parts of circuits", sizeof *shared + sizeof *sharing);
    }
    shared->memory = memory_retain(context->memory);
    sharing->context = context;
    sharing->shared = shared;
    sharing->circuits = circuits;
    sharing->n_circuits = n_circuits;
    sharing->layout = &circuits[0]->layout;
    sharing->n_flat = sharing->layout->n_nodes;
    sharing->n_flat_edges = edge_count(circuits[0]->model);
    status = make(sharing);
    release(sharing);
    memory_free(context->memory, sharing, sizeof *sharing);
    if (status != SN_OK) {
        sn_shared_free(shared);
        return status;
    }
    *out = shared;
    return SN_OK;
}

void sn_shared_free(sn_shared *shared)
{
    if (!shared)
        return;
    struct memory *memory = shared->memory;
    memory_free(memory, shared->nodes, shared->n_nodes * sizeof *shared->nodes);
    memory_free(memory, shared->edges, shared->n_edges * sizeof *shared->edges);
    memory_free(memory, shared->motifs, shared->motif_capacity * sizeof *shared->motifs);
    memory_free(memory, shared->motif_edges, shared->motif_edge_capacity * sizeof *shared->motif_edges);
    memory_free(memory, shared, sizeof *shared);
    memory_release(memory);
}

size_t sn_shared_node_count(const sn_shared *shared)
{
    return shared ? shared->n_nodes : 0;
}

const char *sn_shared_node(uint64_t *circuits, const sn_shared *shared, size_t index)
{
    if (index >= sn_shared_node_count(shared))
        return NULL;
    if (circuits)
        *circuits = shared->nodes[index].circuits;
    return shared->nodes[index].name;
}

size_t sn_shared_edge_count(const sn_shared *shared)
{
    return shared ? shared->n_edges : 0;
}

int sn_shared_edge(const char **from, const char **to, float *weight, uint64_t *circuits,
                   const sn_shared *shared, size_t index)
{
    if (index >= sn_shared_edge_count(shared))
        return SN_ERROR_ARGUMENT;
    const struct shared_edge *edge = &shared->edges[index];
    if (from)
        *from = edge->from_node->name;
    if (to)
        *to = edge->to_node->name;
    if (weight)
        *weight = edge->weight;
    if (circuits)
        *circuits = edge->circuits;
    return SN_OK;
}

size_t sn_shared_motif_count(const sn_shared *shared)
{
    return shared ? shared->n_motifs : 0;
}

int sn_shared_motif(uint64_t *circuits, const size_t **edges, size_t *n_edges, const sn_shared *shared,
                    size_t index)
{
    if (index >= sn_shared_motif_count(shared))
        return SN_ERROR_ARGUMENT;
    if (circuits)
        *circuits = shared->motifs[index].circuits;
    if (edges)
        *edges = shared->motif_edges + shared->motifs[index].first;
    if (n_edges)
        *n_edges = shared->motifs[index].n;
    return SN_OK;
}
