/* Random circuits of a given size: the control of what a circuit's losses say. */
#include <string.h>

#include "base/random.h"
#include "circuit/edges.h"

/* Sets chosen[i] for `n` of the places pool[0..n_pool), drawn without replacement; the pool is shuffled.
 */
static void draw_places(unsigned char *chosen, size_t *pool, size_t n_pool, size_t n,
                        struct random_state *random)
{
    for (size_t i = 0; i < n; i++) {
        size_t j = i + random_below(random, n_pool - i);
        size_t place = pool[j];
        pool[j] = pool[i];
        chosen[place] = 1;
    }
}

static int draw_nodes(sn_circuit *circuit, sn_context *context, const sn_circuit *like, uint64_t seed)
{
    const struct node_layout *layout = &like->layout;
    size_t n = layout->n_nodes;
    unsigned char *kept = memory_allocate_zeroed(context->memory, n);
    size_t *pool = memory_allocate_array(context->memory, n, sizeof *pool);
    int status = kept && pool ? SN_OK : fail_memory(context, "a random circuit", n);
    struct random_state random;
    random_seed(&random, seed, 0);
    for (size_t s = 0; status == SN_OK && s < layout->n_sites; s++) {
        const struct node_site *site = &layout->sites[s];
        size_t count = 0;
        for (size_t c = 0; c < site->width; c++) {
            count += like->kept[site->first + c] != 0;
            pool[c] = c;
        }
        draw_places(kept + site->first, pool, site->width, count, &random);
    }
    if (status == SN_OK)
        status = circuit_set_nodes(circuit, context, kept);
    memory_free(context->memory, pool, n * sizeof *pool);
    memory_free(context->memory, kept, n);
    return status;
}

/* Visits a part's nonzero entries. Counts those that `like` has as edges, and lists all in pool. */
static size_t list_edges(size_t *pool, size_t *n_like, const struct edge_part *part,
                         const sn_circuit *like)
{
    size_t n = 0;
    *n_like = 0;
    for (size_t r = 0; r < part->n_rows; r++) {
        size_t row = part->first_row + r;
        for (size_t i = edge_row(part, row); i < edge_row(part, row + 1); i++) {
            size_t edge = part->first + i - part->first_value;
            if (part->matrix->values[i] == 0)
                continue;
            pool[n++] = edge;
            *n_like += like->kept_edges[edge] && like->kept[part->to + r] &&
                       like->kept[part->from + edge_column(part, row, i)];
        }
    }
    return n;
}

static void keep_ends(unsigned char *kept, const unsigned char *kept_edges, const struct edge_part *part)
{
    for (size_t r = 0; r < part->n_rows; r++) {
        size_t row = part->first_row + r;
        for (size_t i = edge_row(part, row); i < edge_row(part, row + 1); i++)
            if (kept_edges[part->first + i - part->first_value])
                kept[part->to + r] = kept[part->from + edge_column(part, row, i)] = 1;
    }
}

static void draw_layer(unsigned char *kept, unsigned char *kept_edges, size_t *pool, size_t *n_edges,
                       const sn_circuit *like, size_t layer, struct random_state *random)
{
    struct edge_part parts[PARTS_PER_LAYER];
    edge_parts(parts, n_edges, like->model, &like->layout, layer);
    for (size_t p = 0; p < PARTS_PER_LAYER; p++) {
        size_t n_like, n = list_edges(pool, &n_like, &parts[p], like);
        draw_places(kept_edges, pool, n, n_like, random);
        keep_ends(kept, kept_edges, &parts[p]);
    }
}

static int draw_edges(sn_circuit *circuit, sn_context *context, const sn_circuit *like, uint64_t seed)
{
    struct memory *memory = context->memory;
    size_t n_nodes = like->layout.n_nodes, n = edge_count(like->model), n_edges = 0;
    unsigned char *kept = memory_allocate_zeroed(memory, n_nodes);
    unsigned char *kept_edges = memory_allocate_zeroed(memory, n);
    size_t *pool = memory_allocate_array(memory, n, sizeof *pool);
    int status =
        kept && kept_edges && pool ? SN_OK : fail_memory(context, "a random circuit", n * sizeof *pool);
    struct random_state random;
    random_seed(&random, seed, 0);
    for (size_t layer = 0; status == SN_OK && layer < like->model->config.n_layer; layer++)
        draw_layer(kept, kept_edges, pool, &n_edges, like, layer, &random);
    if (status == SN_OK)
        status = circuit_set_edges(circuit, context, kept, kept_edges);
    memory_free(memory, kept, n_nodes);
    memory_free(memory, kept_edges, n);
    memory_free(memory, pool, n * sizeof *pool);
    return status;
}

int sn_circuit_create_random(sn_circuit **out, sn_context *context, const sn_circuit *like,
                             uint64_t seed)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    if (!like)
        return fail(context, SN_ERROR_ARGUMENT, "sn_circuit_create_random: like is NULL");
    sn_circuit *circuit = NULL;
    int status = sn_circuit_create(&circuit, context, like->model, like->task);
    if (status == SN_OK)
        status = like->kept_edges ? draw_edges(circuit, context, like, seed)
                                  : draw_nodes(circuit, context, like, seed);
    if (status != SN_OK) {
        sn_circuit_free(circuit);
        return status;
    }
    *out = circuit;
    return SN_OK;
}
