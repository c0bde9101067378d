/* The edges that a released circuit states, against those that the model's weights give. */
#include "circuit/released.h"

#include <stdio.h>
#include <string.h>

struct statement {
    struct released *released;
    struct sn_circuit *circuit;
    const char *key;      /* of the list in importances */
    int keep_values;      /* as measurements */
    unsigned char *sites; /* which target sites have been read: a second matrix for one is passed over */
    size_t n_stated, n_found;
};

/* Whether the model has weights that join two sites. */
static int sites_are_joined(const struct config *config, size_t from, size_t to)
{
    if (from / SITES_PER_LAYER != to / SITES_PER_LAYER || to + 1 >= site_count(config))
        return 0;
    switch ((enum site_kind)(to % SITES_PER_LAYER)) {
    case SITE_ATTN_K:
    case SITE_ATTN_Q:
    case SITE_ATTN_V: return from % SITES_PER_LAYER == SITE_ATTN_ACT_IN;
    case SITE_ATTN_DELTA: return from % SITES_PER_LAYER == SITE_ATTN_V;
    case SITE_MLP_POST_ACT: return from % SITES_PER_LAYER == SITE_MLP_ACT_IN;
    case SITE_MLP_DELTA: return from % SITES_PER_LAYER == SITE_MLP_POST_ACT;
    default: return 0;
    }
}

/* ---- the circuit's edges */

/* Position of a node in the graph, n_nodes when it is not kept. */
static size_t find_position(const struct graph *graph, size_t node)
{
    size_t low = 0, high = graph->n_nodes;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (graph->nodes[middle] < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low < graph->n_nodes && graph->nodes[low] == node ? low : graph->n_nodes;
}

/* Index of an edge, n_edges when there is none. */
static size_t find_edge(const struct graph *graph, size_t from, size_t to)
{
    const size_t source = find_position(graph, from), target = find_position(graph, to);
    if (source == graph->n_nodes || target == graph->n_nodes)
        return graph->n_edges;
    for (size_t e = graph->first_edge[target]; e < graph->first_edge[target + 1]; e++)
        if (graph->edges[e].from == source)
            return e;
    return graph->n_edges;
}

static int state_edge(struct statement *statement, size_t from, size_t to, double value)
{
    const struct graph *graph = &statement->circuit->graph;
    const size_t edge = find_edge(graph, from, to);
    statement->n_stated++;
    if (edge == graph->n_edges)
        return SN_OK;
    statement->n_found++;
    if (!statement->keep_values)
        return SN_OK;
    return released_add(statement->released, statement->circuit, value,
                        "released_edge_delta_as_stored %s %s", graph->names[graph->edges[edge].from],
                        graph->names[graph->edges[edge].to]);
}

/* ---- one matrix: [weights, channels, channels, (from, to)] */

struct block {
    const struct torch_tensor *matrix;
    size_t from, to; /* sites */
    struct channel_list sources, targets;
};

/* A row (or column) more than there are channels is that of the bias. */
static int read_matrix(struct statement *statement, const struct block *block, const char *name)
{
    struct released *released = statement->released;
    const struct node_layout *layout = &statement->circuit->layout;
    const size_t from = node_layout_first(layout, block->from),
                 to = node_layout_first(layout, block->to);
    const size_t n_sources = block->sources.n, n_targets = block->targets.n;
    const struct torch_tensor *matrix = block->matrix;
    if (!matrix->count)
        return SN_OK;
    if (matrix->n_dimensions != 2 || matrix->dimensions[0] - n_sources > 1 ||
        matrix->dimensions[1] - n_targets > 1)
        return released_fail(released, name, "the matrix does not fit its %zu and %zu channels",
                             n_sources, n_targets);
    const size_t cols = (size_t)matrix->dimensions[1];
    float *row = memory_allocate_array(released->context->memory, cols, sizeof *row);
    int status = row ? SN_OK : fail_memory(released->context, name, cols * sizeof *row);
    for (size_t i = 0; i < n_sources && status == SN_OK; i++) {
        status =
            torch_read_floats(row, &released->file, released->context, matrix, name, i * cols, cols);
        for (size_t j = 0; j < n_targets && status == SN_OK; j++)
            if (row[j] != 0)
                status = state_edge(statement, from + block->sources.channels[i],
                                    to + block->targets.channels[j], (double)row[j]);
    }
    memory_free(released->context->memory, row, cols * sizeof *row);
    return status;
}

static int read_block(struct statement *statement, const struct pickle_value *entry, const char *name)
{
    struct released *released = statement->released;
    struct pickle_value **items = entry->as.items.list;
    struct block block = {.matrix = torch_tensor_of(items[0])};
    size_t n;
    if (!block.matrix || !released_is_list(&n, items[3]) || torch_tensor_of(items[3]) || n != 2)
        return released_fail(released, name, "is not [matrix, channels, channels, (site, site)]");
    int status = released_site(&block.from, released, items[3]->as.items.list[0], name);
    if (status == SN_OK)
        status = released_site(&block.to, released, items[3]->as.items.list[1], name);
    if (status != SN_OK || !sites_are_joined(&released->model->config, block.from, block.to) ||
        statement->sites[block.to]++)
        return status;
    status = released_channels(&block.sources, released, items[1], name, block.from);
    if (status == SN_OK)
        status = released_channels(&block.targets, released, items[2], name, block.to);
    if (status == SN_OK)
        status = read_matrix(statement, &block, name);
    channel_list_free(&block.targets);
    channel_list_free(&block.sources);
    return status;
}

/* ---- all of them */

static int is_plain_list(const struct pickle_value *value)
{
    return value->kind == PICKLE_LIST || value->kind == PICKLE_TUPLE;
}

/* Some files hold a list of such lists, one per process that measured. */
static int read_blocks(struct statement *statement, const struct pickle_value *list)
{
    char name[RELEASED_NAME_BYTES];
    int status = SN_OK;
    for (uint32_t i = 0; i < list->as.items.n && status == SN_OK; i++) {
        const struct pickle_value *entry = list->as.items.list[i];
        snprintf(name, sizeof name, "importances[\"%s\"][%lu]", statement->key, (unsigned long)i);
        const int is_list = is_plain_list(entry);
        if (is_list && (!entry->as.items.n || is_plain_list(entry->as.items.list[0])))
            status = read_blocks(statement, entry);
        else if (is_list && entry->as.items.n >= 4)
            status = read_block(statement, entry, name);
        else
            status = released_fail(statement->released, name,
                                   "is not [matrix, channels, channels, (site, site)]");
    }
    return status;
}

static int read_statement(struct statement *statement, const struct pickle_value *list)
{
    struct memory *memory = statement->released->context->memory;
    const size_t n_sites = site_count(&statement->released->model->config);
    char name[RELEASED_NAME_BYTES];
    snprintf(name, sizeof name, "importances[\"%s\"]", statement->key);
    if (!is_plain_list(list))
        return released_fail(statement->released, name, "is %s; a list was expected",
                             pickle_kind_name(list));
    statement->sites = memory_allocate_zeroed(memory, n_sites);
    int status = statement->sites ? read_blocks(statement, list)
                                  : fail_memory(statement->released->context, name, n_sites);
    memory_free(memory, statement->sites, n_sites);
    return status;
}

static const struct pickle_value *find_list(const struct released *released, const char *key)
{
    const struct pickle_value *list = pickle_find(released->importances, key);
    const int is_empty =
        list && (list->kind == PICKLE_NONE || (is_plain_list(list) && !list->as.items.n));
    return is_empty ? NULL : list;
}

int released_edges(struct released *released, struct sn_circuit *circuit)
{
    const struct pickle_value *deltas = find_list(released, "pair_data");
    const struct pickle_value *weights = find_list(released, "pair_data_connections");
    struct statement statement = {.released = released, .circuit = circuit};
    int status = SN_OK;
    statement.key = weights ? "pair_data_connections" : "pair_data";
    if (weights || deltas) {
        status = read_statement(&statement, weights ? weights : deltas);
        if (status == SN_OK)
            status =
                released_add(released, circuit, (double)statement.n_stated, "released_edges_stated");
        if (status == SN_OK)
            status =
                released_add(released, circuit, (double)statement.n_found, "released_edges_agreeing");
    }
    statement.key = "pair_data";
    statement.keep_values = 1;
    if (deltas && status == SN_OK)
        status = read_statement(&statement, deltas);
    return status;
}
