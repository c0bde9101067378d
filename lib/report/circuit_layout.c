#include "report/circuit_layout.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define ROW 34        /* between dots of a column */
#define TALLEST 6800  /* of a picture: rows draw together beyond it */
#define NARROWEST 104 /* of a column */
#define LETTER 6.6    /* about what one takes at the names' size */
#define SWEEPS 8      /* there and back */
#define RESIDUAL 0.25 /* what a residual link weighs beside an edge */
#define COLUMNS_PER_LAYER 6

/* Reads, then queries, keys and values, the write; reads, neurons, the write. */
static size_t column_of(const struct node_parts *parts)
{
    static const char *const LATER[] = {"q", "k", "v", "post_act", "resid_delta"};
    static const size_t STEP[] = {1, 1, 1, 1, 2};
    const char *site = strrchr(parts->site, '.');
    size_t step = 0;
    for (size_t i = 0; site && i < sizeof STEP / sizeof *STEP; i++)
        if (strcmp(site + 1, LATER[i]) == 0)
            step = STEP[i];
    return (size_t)parts->layer * COLUMNS_PER_LAYER + (parts->in_mlp ? 3 : 0) + step;
}

void layout_node_name(char name[LAYOUT_NAME], const struct node_parts *parts)
{
    const char *site = strrchr(parts->site, '.');
    if (parts->head >= 0)
        snprintf(name, LAYOUT_NAME, "h%ld %c%ld", parts->head, site && site[1] ? site[1] : '.',
                 parts->head_channel);
    else
        snprintf(name, LAYOUT_NAME, "%zu", parts->channel);
}

size_t layout_letters(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static int compare_sizes(size_t a, size_t b)
{
    return (a > b) - (a < b);
}

static int by_column(const void *one, const void *other)
{
    const struct layout_node *a = one, *b = other;
    int order = compare_sizes(a->column, b->column);
    return order ? order : compare_sizes(a->index, b->index);
}

static int by_wish(const void *one, const void *other)
{
    const struct layout_node *a = one, *b = other;
    if (a->wish < b->wish || a->wish > b->wish)
        return a->wish < b->wish ? -1 : 1;
    return compare_sizes(a->index, b->index);
}

static int by_strength(const void *one, const void *other)
{
    const struct layout_link *a = one, *b = other;
    double x = fabs(a->weight), y = fabs(b->weight);
    if (x < y || x > y)
        return x > y ? -1 : 1;
    int order = compare_sizes(a->from, b->from);
    return order ? order : compare_sizes(a->to, b->to);
}

static int by_ends(const struct layout_link *a, const struct layout_link *b)
{
    int order = compare_sizes(a->from, b->from);
    return order ? order : compare_sizes(a->to, b->to);
}

static int by_target(const void *one, const void *other)
{
    const struct layout_link *a = one, *b = other;
    int order = compare_sizes(a->to_column, b->to_column);
    return order ? order : by_ends(a, b);
}

static int by_source(const void *one, const void *other)
{
    const struct layout_link *a = one, *b = other;
    int order = compare_sizes(b->from_column, a->from_column);
    return order ? order : by_ends(a, b);
}

/* ------------------------------------------------------------ nodes and columns */

static void read_nodes(struct circuit_layout *layout, const sn_circuit *circuit)
{
    int64_t d_head = sn_model_config_number(sn_circuit_model(circuit), "d_head");
    for (size_t i = 0; i < layout->n_nodes; i++) {
        struct layout_node *node = &layout->nodes[i];
        const char *label = sn_circuit_label(circuit, i, SN_LABEL);
        char name[LAYOUT_NAME];
        node_parts_read(&node->parts, sn_circuit_node_name(circuit, i), d_head > 0 ? (size_t)d_head : 1);
        node->index = i;
        node->column = column_of(&node->parts);
        layout_node_name(name, &node->parts);
        size_t letters = label ? layout_letters(label) : 0;
        if (letters > LAYOUT_LABEL_LETTERS)
            letters = LAYOUT_LABEL_LETTERS;
        node->letters = layout_letters(name) + (label ? letters + 1 : 0);
    }
    if (layout->n_nodes)
        qsort(layout->nodes, layout->n_nodes, sizeof *layout->nodes, by_column);
}

static void make_columns(struct circuit_layout *layout)
{
    size_t last = 0;
    for (size_t i = 0; i < layout->n_nodes; i++) {
        struct layout_node *node = &layout->nodes[i];
        layout->places[node->index] = i;
        if (i == 0 || node->column != last) {
            last = node->column;
            layout->columns[layout->n_columns++] =
                (struct layout_column){.first = i, .width = NARROWEST};
        }
        node->column = layout->n_columns - 1;
        struct layout_column *column = &layout->columns[node->column];
        column->n++;
        column->width = fmax(column->width, 40 + LETTER * (double)node->letters);
    }
    size_t most = 1;
    for (size_t i = 0; i < layout->n_columns; i++) {
        layout->columns[i].left = layout->width;
        layout->width += layout->columns[i].width;
        if (layout->columns[i].n > most)
            most = layout->columns[i].n;
    }
    layout->row = fmin(ROW, TALLEST / (double)most);
    layout->height = layout->row * (double)most;
}

static void place_column(struct circuit_layout *layout, const struct layout_column *column)
{
    for (size_t i = 0; i < column->n; i++) {
        struct layout_node *node = &layout->nodes[column->first + i];
        node->x = column->left + column->width / 2;
        node->y = layout->height / 2 + ((double)i - ((double)column->n - 1) / 2) * layout->row;
        layout->places[node->index] = column->first + i;
    }
}

/* ------------------------------------------------------------------------ links */

static void set_link(struct circuit_layout *layout, struct layout_link *link, size_t from, size_t to,
                     double weight)
{
    link->from = from;
    link->to = to;
    link->from_column = layout->nodes[layout->places[from]].column;
    link->to_column = layout->nodes[layout->places[to]].column;
    link->weight = weight;
}

/* Counts or (links not NULL) writes the residual links up to their limit; ends are indices of nodes. */
static size_t residual_links(struct circuit_layout *layout, struct layout_link *links)
{
    size_t n = 0;
    for (size_t i = 0; i < layout->n_nodes; i++) {
        const struct layout_node *from = &layout->nodes[i];
        if (!strstr(from->parts.site, "resid_delta"))
            continue;
        for (size_t j = i + 1; j < layout->n_nodes && n < LAYOUT_MAX_RESIDUAL; j++) {
            const struct layout_node *to = &layout->nodes[j];
            if (from->parts.channel != to->parts.channel ||
                !node_residual_link(&from->parts, &to->parts))
                continue;
            if (links)
                set_link(layout, &links[n], from->index, to->index, 0);
            n++;
        }
    }
    return n;
}

static int make_links(struct circuit_layout *layout, sn_context *context, const sn_circuit *circuit)
{
    size_t n_all = sn_circuit_edge_count(circuit), n_residual = residual_links(layout, NULL);
    layout->links_capacity = n_all + n_residual;
    layout->links = memory_allocate_array(layout->memory, layout->links_capacity, sizeof *layout->links);
    layout->scratch =
        memory_allocate_array(layout->memory, layout->links_capacity, sizeof *layout->scratch);
    if (!layout->links || !layout->scratch)
        return fail_memory(context, "links of a picture",
                           layout->links_capacity * sizeof *layout->links);
    for (size_t i = 0; i < n_all; i++) {
        size_t from = 0, to = 0;
        float weight = 0;
        sn_circuit_edge(&from, &to, &weight, circuit, i);
        set_link(layout, &layout->links[i], from, to, (double)weight);
    }
    if (n_all)
        qsort(layout->links, n_all, sizeof *layout->links, by_strength);
    layout->n_edges = n_all < LAYOUT_MAX_EDGES ? n_all : LAYOUT_MAX_EDGES;
    layout->n_links = layout->n_edges + residual_links(layout, layout->links + layout->n_edges);
    return SN_OK;
}

/* ----------------------------------------------------- few crossings: barycentres */

static int by_head(const void *one, const void *other)
{
    const struct layout_node *a = one, *b = other;
    if (a->parts.head != b->parts.head)
        return a->parts.head < b->parts.head ? -1 : 1;
    return compare_sizes(a->index, b->index);
}

static int by_head_wish(const void *one, const void *other)
{
    const struct layout_node *a = one, *b = other;
    if (a->head_wish < b->head_wish || a->head_wish > b->head_wish)
        return a->head_wish < b->head_wish ? -1 : 1;
    if (a->parts.head != b->parts.head)
        return a->parts.head < b->parts.head ? -1 : 1;
    return by_wish(one, other);
}

/* Heads keep together, in order of the means of their nodes' wishes. */
static void sort_column(struct circuit_layout *layout, const struct layout_column *column)
{
    struct layout_node *nodes = layout->nodes + column->first;
    qsort(nodes, column->n, sizeof *nodes, by_head);
    for (size_t i = 0, end; i < column->n; i = end) {
        double sum = 0;
        for (end = i; end < column->n && nodes[end].parts.head == nodes[i].parts.head; end++)
            sum += nodes[end].wish;
        for (size_t k = i; k < end; k++)
            nodes[k].head_wish = sum / (double)(end - i);
    }
    qsort(nodes, column->n, sizeof *nodes, by_head_wish);
    place_column(layout, column);
}

/* Each column in turn takes the order of the means of what its nodes are joined to on one side. */
static void sweep(struct circuit_layout *layout, int forward)
{
    size_t n = layout->n_links;
    memcpy(layout->scratch, layout->links, n * sizeof *layout->links);
    qsort(layout->scratch, n, sizeof *layout->scratch, forward ? by_target : by_source);
    for (size_t i = 0, end; i < n; i = end) {
        const struct layout_link *first = &layout->scratch[i];
        size_t index = forward ? first->to_column : first->from_column;
        const struct layout_column *column = &layout->columns[index];
        for (size_t k = 0; k < column->n; k++)
            layout->nodes[column->first + k].wish = layout->nodes[column->first + k].pull = 0;
        for (end = i; end < n; end++) {
            const struct layout_link *link = &layout->scratch[end];
            if ((forward ? link->to_column : link->from_column) != index)
                break;
            double pull = link->weight != 0 ? 1 : RESIDUAL;
            struct layout_node *here = &layout->nodes[layout->places[forward ? link->to : link->from]];
            here->wish += pull * layout->nodes[layout->places[forward ? link->from : link->to]].y;
            here->pull += pull;
        }
        for (size_t k = 0; k < column->n; k++) {
            struct layout_node *node = &layout->nodes[column->first + k];
            node->wish = node->pull > 0 ? node->wish / node->pull : node->y;
        }
        sort_column(layout, column);
    }
}

int layout_make(struct circuit_layout *layout, sn_context *context, const sn_circuit *circuit)
{
    memset(layout, 0, sizeof *layout);
    layout->memory = context->memory;
    layout->n_nodes = sn_circuit_node_count(circuit);
    layout->nodes = memory_allocate_array(layout->memory, layout->n_nodes, sizeof *layout->nodes);
    layout->columns = memory_allocate_array(layout->memory, layout->n_nodes, sizeof *layout->columns);
    layout->places = memory_allocate_array(layout->memory, layout->n_nodes, sizeof *layout->places);
    if (!layout->nodes || !layout->columns || !layout->places)
        return fail_memory(context, "nodes of a picture", layout->n_nodes * sizeof *layout->nodes);
    read_nodes(layout, circuit);
    make_columns(layout);
    int status = make_links(layout, context, circuit);
    if (status != SN_OK)
        return status;
    for (size_t i = 0; i < layout->n_columns; i++)
        place_column(layout, &layout->columns[i]);
    for (int i = 0; i < SWEEPS && layout->n_links; i++) {
        sweep(layout, 1);
        sweep(layout, 0);
    }
    return SN_OK;
}

void layout_free(struct circuit_layout *layout)
{
    struct memory *memory = layout->memory;
    memory_free(memory, layout->nodes, layout->n_nodes * sizeof *layout->nodes);
    memory_free(memory, layout->columns, layout->n_nodes * sizeof *layout->columns);
    memory_free(memory, layout->places, layout->n_nodes * sizeof *layout->places);
    memory_free(memory, layout->links, layout->links_capacity * sizeof *layout->links);
    memory_free(memory, layout->scratch, layout->links_capacity * sizeof *layout->scratch);
}
