#include "circuit/refine.h"

#include <math.h>
#include <string.h>

#include "circuit/order.h"

#define ELIMINATE_CANDIDATES 8 /* by gradient; all are tried before elimination ends */
#define ELIMINATE_SHARE 64     /* of so many nodes left one goes at a time, of twice as many two, ... */
#define QUICK_PAIRS 24         /* of each set: enough to rank them, the winner is measured in full */
#define ELIMINATE_FACTOR 2.0   /* x target: hopeless on those pairs */

/* A folded model rounds in its own way, and the circuit must meet the target in the whole one. */
#define FOLD_ROUNDING 1e-4

/* Cheap looks first: a set of nodes whose loss on a few pairs is well above the target is given up without
 * a full measurement. What is accepted has always been measured on all pairs. */
static const struct screen {
    size_t n_pairs; /* of each set */
    double factor;
} screens[] = {{8, 2.5}, {24, 1.6}};

/* The q and k channels of a head multiply each other: tied, channel c of one goes with c of the other. */
static void tie_query_key(struct search *search)
{
    const struct node_layout *layout = &search->judge.layout;
    for (size_t i = 0; i < search->n; i++)
        search->partner[i] = i;
    if (!search->settings.tie_query_key)
        return;
    for (size_t layer = 0; layer < search->judge.model->config.n_layer; layer++) {
        size_t k = node_layout_first(layout, site_index(layer, SITE_ATTN_K));
        size_t q = node_layout_first(layout, site_index(layer, SITE_ATTN_Q));
        size_t width = config_d_attn(&search->judge.model->config);
        for (size_t c = 0; c < width; c++) {
            search->partner[k + c] = q + c;
            search->partner[q + c] = k + c;
        }
    }
}

int search_open(struct search *search, struct sn_context *context, struct sn_model *model,
                const struct sn_means *means, const struct sn_task *task, const struct sn_task *develop,
                const struct extract_settings *settings)
{
    memset(search, 0, sizeof *search);
    search->settings = *settings;
    search->held = NO_NODE;
    int status = judge_open(&search->judge, context, model, means, task, develop,
                            (enum judge_gates)settings->method);
    if (status != SN_OK)
        return status;
    size_t n = search->n = search->judge.layout.n_nodes;
    search->partner = memory_allocate_array(context->memory, n, sizeof *search->partner);
    search->order = memory_allocate_array(context->memory, n, sizeof *search->order);
    search->score = memory_allocate_array(context->memory, n, sizeof *search->score);
    search->signed_score = memory_allocate_array(context->memory, n, sizeof *search->signed_score);
    if (!search->partner || !search->order || !search->score || !search->signed_score) {
        search_close(search);
        return fail_memory(context, "the search for a circuit", 4 * n * sizeof(double));
    }
    tie_query_key(search);
    return SN_OK;
}

void search_close(struct search *search)
{
    if (!search->judge.context)
        return;
    struct memory *memory = search->judge.context->memory;
    memory_free(memory, search->partner, search->n * sizeof *search->partner);
    memory_free(memory, search->order, search->n * sizeof *search->order);
    memory_free(memory, search->score, search->n * sizeof *search->score);
    memory_free(memory, search->signed_score, search->n * sizeof *search->signed_score);
    judge_close(&search->judge);
}

static double worse_loss(const struct search *search, const struct measurement measured[JUDGE_SETS])
{
    if (search->settings.calibrated)
        return fmax(measured[JUDGE_FIT].loss, measured[JUDGE_TASK].loss);
    return fmax(measured[JUDGE_FIT].raw_loss, measured[JUDGE_TASK].raw_loss);
}

/* Measures at most `limit` pairs of each set, the first `done` of which the call before measured; search->loss is the
 * worse one's. */
static int measure_rest(struct search *search, const unsigned char *kept, size_t done, size_t limit)
{
    struct measurement measured[JUDGE_SETS];
    int status = judge_measure_more(measured, &search->judge, kept, SN_ABLATE_REST, done, limit);
    if (status != SN_OK)
        return status;
    search->loss = worse_loss(search, measured);
    search->accuracy = fmin(measured[JUDGE_FIT].accuracy, measured[JUDGE_TASK].accuracy);
    return SN_OK;
}

static int meets_on_all(struct search *search, const unsigned char *kept, size_t done, int *meets)
{
    int status = measure_rest(search, kept, done, ALL_PAIRS);
    double target = search->settings.target_loss * (search->judge.folded ? 1 - FOLD_ROUNDING : 1);
    *meets = status == SN_OK && search->loss <= target;
    return status;
}

int search_meets_unscreened(struct search *search, const unsigned char *kept, int *meets)
{
    return meets_on_all(search, kept, 0, meets);
}

int search_meets(struct search *search, const unsigned char *kept, int *meets)
{
    size_t done = 0, n_pairs = search->judge.n_pairs[JUDGE_FIT] + search->judge.n_pairs[JUDGE_TASK];
    double target = search->settings.target_loss;
    *meets = 0;
    for (size_t i = 0; i < sizeof screens / sizeof *screens; i++) {
        if (n_pairs <= 4 * screens[i].n_pairs)
            break;
        int status = measure_rest(search, kept, done, screens[i].n_pairs);
        if (status != SN_OK || search->loss > screens[i].factor * target)
            return status;
        done = screens[i].n_pairs;
    }
    return meets_on_all(search, kept, done, meets);
}

int search_quick_loss(struct search *search, const unsigned char *kept)
{
    return measure_rest(search, kept, 0, QUICK_PAIRS);
}

int search_complement(struct search *search, const unsigned char *kept, int ablate)
{
    struct measurement measured[JUDGE_SETS];
    int status = judge_measure(measured, &search->judge, kept, ablate, ALL_PAIRS);
    if (status != SN_OK)
        return status;
    search->necessity = fmin(measured[JUDGE_FIT].loss, measured[JUDGE_TASK].loss);
    search->complement = measured[JUDGE_FIT].calibration;
    return SN_OK;
}

int search_necessity(struct search *search, const unsigned char *kept)
{
    return search_complement(search, kept, SN_ABLATE_CIRCUIT);
}

void search_set_group(const struct search *search, unsigned char *kept, size_t leader,
                      unsigned char value)
{
    kept[leader] = value;
    kept[search->partner[leader]] = value;
}

void search_order_leaders(struct search *search, const unsigned char *wanted, unsigned char value)
{
    size_t *order = search->order, n = 0;
    for (size_t i = 0; i < search->n; i++)
        if (search->partner[i] >= i && i != search->held && (!wanted || wanted[i] == value))
            order[n++] = i;
    order_by_score(order, n, search->score);
    search->n_order = n;
}

int search_narrow(struct search *search, const unsigned char *kept)
{
    search->narrow = 1;
    return judge_fold(&search->judge, kept);
}

int search_widen(struct search *search)
{
    search->narrow = 0;
    return judge_unfold(&search->judge);
}

/* After some have left. */
static int narrow_further(struct search *search, const unsigned char *kept)
{
    return search->narrow ? judge_fold(&search->judge, kept) : SN_OK;
}

static void keep_first(struct search *search, unsigned char *kept, size_t k)
{
    memset(kept, 0, search->n);
    for (size_t i = 0; i < k; i++)
        search_set_group(search, kept, search->order[i], 1);
}

int refine_bisect(struct search *search, const float *tau, unsigned char *kept)
{
    size_t low = 0, high = 0;
    int meets = 0, status = SN_OK;
    for (size_t i = 0; i < search->n; i++)
        search->score[i] = -(double)tau[i];
    search_order_leaders(search, NULL, 0);
    memset(&search->by_size, 0, sizeof search->by_size);
    while (high < search->n_order && tau[search->order[high]] > 0)
        high++;
    /* Where the learned set itself misses the target, more nodes are let in. */
    while (status == SN_OK && !meets) {
        keep_first(search, kept, high);
        status = search_meets(search, kept, &meets);
        curve_add(&search->by_size, (double)high, search->loss);
        if (status != SN_OK || meets)
            break;
        if (high == search->n_order)
            return fail(search->judge.context, SN_ERROR_TARGET,
                        "all nodes together miss the target loss");
        low = high + 1;
        high = high < 8 ? 16 : 2 * high;
        if (high > search->n_order)
            high = search->n_order;
    }
    while (status == SN_OK && low < high) {
        size_t middle = low + (high - low) / 2;
        keep_first(search, kept, middle);
        status = search_meets(search, kept, &meets);
        curve_add(&search->by_size, (double)middle, search->loss);
        if (meets)
            high = middle;
        else
            low = middle + 1;
    }
    keep_first(search, kept, high);
    return status;
}

/* ---- greedy removal */

struct removal {
    struct search *search;
    unsigned char *kept;
    double floor;
    size_t removed, tried;
};

static int still_good(struct removal *removal, int *good)
{
    int status = search_meets(removal->search, removal->kept, good);
    if (status != SN_OK || !*good || removal->floor <= 0)
        return status;
    status = search_necessity(removal->search, removal->kept);
    *good = removal->search->necessity >= removal->floor;
    return status;
}

/* Removes order[first..last) as one block; where that is too much, its halves one after the other. */
static int remove_block(struct removal *removal, size_t first, size_t last)
{
    struct search *search = removal->search;
    int good;
    for (size_t i = first; i < last; i++)
        search_set_group(search, removal->kept, search->order[i], 0);
    int status = still_good(removal, &good);
    if (status != SN_OK)
        return status;
    if (!good)
        for (size_t i = first; i < last; i++)
            search_set_group(search, removal->kept, search->order[i], 1);
    if (good || last - first == 1) {
        removal->removed += good ? last - first : 0;
        removal->tried += last - first;
        return progress(search->judge.context, "greedy", removal->tried, search->n_order,
                        (double)(search->n_order - removal->removed));
    }
    size_t middle = first + (last - first) / 2;
    status = remove_block(removal, first, middle);
    return status == SN_OK ? remove_block(removal, middle, last) : status;
}

int search_score_attribution(struct search *search, const unsigned char *kept)
{
    struct calibration raw = {1, 0};
    int status = judge_gradient(&search->judge, kept, SN_ABLATE_REST, JUDGE_FIT, raw);
    const float *gradient = search->judge.gates.gradient;
    for (size_t i = 0; i < search->n; i++) {
        size_t other = search->partner[i];
        search->signed_score[i] = (double)gradient[i] + (other != i ? (double)gradient[other] : 0);
        search->score[i] = fabs(search->signed_score[i]);
    }
    return status;
}

int refine_greedy(struct search *search, unsigned char *kept, double floor, size_t *removed)
{
    struct removal removal = {.search = search, .kept = kept, .floor = floor};
    int status = search_score_attribution(search, kept);
    if (status != SN_OK)
        return status;
    search_order_leaders(search, kept, 1);
    size_t block = search->n_order / 16 + 1;
    for (size_t first = 0; status == SN_OK && first < search->n_order; first += block) {
        size_t last = first + block < search->n_order ? first + block : search->n_order;
        status = remove_block(&removal, first, last);
        if (status == SN_OK)
            status = narrow_further(search, kept);
    }
    *removed = removal.removed;
    return status;
}

/* ---- elimination */

struct elimination {
    struct search *search;
    unsigned char *kept;
    size_t node[ELIMINATE_CANDIDATES];  /* best first */
    double merit[ELIMINATE_CANDIDATES]; /* rise of the loss per node and edge that go with it */
    size_t n;
};

/* The first of equals stays first. */
static void insert_candidate(struct elimination *e, size_t node, double merit)
{
    size_t at = e->n++;
    for (; at > 0 && merit < e->merit[at - 1]; at--) {
        e->node[at] = e->node[at - 1];
        e->merit[at] = e->merit[at - 1];
    }
    e->node[at] = node;
    e->merit[at] = merit;
}

/* The candidates among order[first..last), by what the removal of each costs by itself. */
static int rank_removals(struct elimination *e, size_t first, size_t last)
{
    struct search *search = e->search;
    const struct judge *judge = &search->judge;
    double loss_before, loss;
    size_t edges_before = graph_count_edges(judge->model, &judge->layout, e->kept, NULL);
    int status = search_quick_loss(search, e->kept);
    loss_before = search->loss;
    e->n = 0;
    for (size_t i = first; status == SN_OK && i < last; i++) {
        size_t node = search->order[i];
        search_set_group(search, e->kept, node, 0);
        status = search_quick_loss(search, e->kept);
        loss = search->loss;
        size_t edges = edges_before - graph_count_edges(judge->model, &judge->layout, e->kept, NULL);
        search_set_group(search, e->kept, node, 1);
        double rise = loss - loss_before, merit = rise > 0 ? rise / (double)(1 + edges) : rise;
        if (status == SN_OK && loss <= ELIMINATE_FACTOR * search->settings.target_loss)
            insert_candidate(e, node, merit);
    }
    return status;
}

/* Removes the first n candidates if the target holds without them. */
static int try_removal(struct elimination *e, size_t n, int *removed)
{
    for (size_t i = 0; i < n; i++)
        search_set_group(e->search, e->kept, e->node[i], 0);
    int status = search_meets(e->search, e->kept, removed);
    for (size_t i = 0; !*removed && i < n; i++)
        search_set_group(e->search, e->kept, e->node[i], 1);
    return status;
}

/* Removes the best of the next candidates if the target holds without it; of a large circuit several at once,
 * since it has many rounds to go. */
static int eliminate_some(struct elimination *e, int *removed)
{
    struct search *search = e->search;
    int status = SN_OK;
    *removed = 0;
    for (size_t first = 0; status == SN_OK && !*removed && first < search->n_order;
         first += ELIMINATE_CANDIDATES) {
        size_t last = first + ELIMINATE_CANDIDATES < search->n_order ? first + ELIMINATE_CANDIDATES
                                                                     : search->n_order;
        status = rank_removals(e, first, last);
        size_t several =
            search->n_order / ELIMINATE_SHARE < e->n ? search->n_order / ELIMINATE_SHARE : e->n;
        if (status == SN_OK && several > 1)
            status = try_removal(e, several, removed);
        if (status == SN_OK && !*removed && e->n > 0)
            status = try_removal(e, 1, removed);
    }
    return status;
}

int refine_eliminate(struct search *search, unsigned char *kept)
{
    struct elimination e = {.search = search, .kept = kept};
    int status = SN_OK, removed = 1;
    for (size_t round = 0; status == SN_OK && removed; round++) {
        status = search_score_attribution(search, kept);
        for (size_t i = 0; i < search->n; i++)
            search->score[i] = -search->signed_score[i]; /* removal takes the mask from 1 to 0 */
        search_order_leaders(search, kept, 1);
        if (status == SN_OK)
            status = progress(search->judge.context, "eliminate", round, round + search->n_order,
                              (double)search->n_order);
        if (status == SN_OK)
            status = eliminate_some(&e, &removed);
        if (status == SN_OK)
            status = narrow_further(search, kept);
    }
    return status;
}
