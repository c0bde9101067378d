/* The k entries of a matrix largest in magnitude, exactly, with ties to the lowest flat index, after an
 * optional number of entries has been reserved for every row or column.
 *
 * The threshold is found without sorting: a sample brackets it, one scan counts what lies above the
 * bracket and collects what lies inside, a radix selection among those ends it, and a last pass marks.
 * Every pass runs over fixed chunks. A bracket that missed (rare) is replaced by the whole range. */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "base/threads.h"
#include "matrix/matrix.h"

#define CHUNK ((size_t)65536)
#define SAMPLE ((size_t)16384)
#define STRIP ((size_t)256)         /* columns that the search for reserved entries holds at once */
#define ROW_STRIP ((size_t)64)      /* within a row */
#define COLLECTED_SHARE ((size_t)8) /* room for 1 in so many entries of a chunk, unless that overflows */

struct chunk_result {
    size_t above, at_high, at_low, n_between;
    size_t ties; /* how many entries at the threshold this chunk keeps */
};

struct selection {
    struct sn_context *context;
    const struct kernel_table *kernels;
    unsigned char *keep;
    const float *w;
    size_t rows, cols, n;
    size_t minimum;
    size_t reserved;  /* entries already kept */
    size_t remaining; /* entries still to be kept */
    int32_t low, high, threshold;
    struct chunk_result *chunks;
    size_t n_chunks;
    int32_t *between; /* capacity keys per chunk */
    size_t capacity;
    int32_t *levels; /* per worker minimum * STRIP, for reserving */
};

static int32_t key_of(float w)
{
    int32_t bits;
    memcpy(&bits, &w, sizeof bits);
    return bits & INT32_MAX;
}

/* Keeps of keys (in place) those whose bits above `shift` equal those of `wanted`. */
static size_t filter_keys(int32_t *keys, size_t n, int32_t wanted, int shift)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        keys[kept] = keys[i];
        kept += keys[i] >> shift == wanted;
    }
    return kept;
}

/* The rank-th largest of n keys, 1 <= rank <= n; keys are consumed. 31 bits go in steps of 11, 10, 10. */
static int32_t radix_select(int32_t *keys, size_t n, size_t rank)
{
    static const int shifts[] = {20, 10, 0};
    int32_t prefix = 0;
    for (int step = 0; step < 3; step++) {
        uint32_t counts[2048] = {0};
        int32_t bin = step == 0 ? 2047 : 1023, mask = bin;
        for (size_t i = 0; i < n; i++)
            counts[keys[i] >> shifts[step] & mask]++;
        for (; counts[bin] < rank; bin--)
            rank -= counts[bin];
        prefix = step == 0 ? bin : (prefix << 10 | bin);
        n = filter_keys(keys, n, prefix, shifts[step]);
    }
    return prefix;
}

/* -------------------------------------------------------------------- reserving */

/* The count-th largest of n keys by insertion; `largest` has room for count. Good for a small count. */
static int32_t insertion_select(int32_t *largest, size_t count, const int32_t *keys, size_t n)
{
    memset(largest, -1, count * sizeof *largest);
    for (size_t i = 0; i < n; i++) {
        size_t at = count;
        for (; at > 0 && keys[i] > largest[at - 1]; at--)
            if (at < count)
                largest[at] = largest[at - 1];
        if (at < count)
            largest[at] = keys[i];
    }
    return largest[count - 1];
}

/* The smallest of the `minimum` largest of one row, and how many of them equal it. Each of ROW_STRIP
 * lanes first keeps its own largest. */
static int32_t row_threshold(const struct selection *s, int32_t *levels, const float *row, size_t *ties)
{
    size_t n = s->minimum * ROW_STRIP, above = 0;
    int32_t *scratch = levels + n;
    memset(levels, -1, n * sizeof *levels);
    for (size_t c = 0; c < s->cols; c += ROW_STRIP)
        s->kernels->magnitude_levels(levels, ROW_STRIP, s->minimum, row + c,
                                     s->cols - c < ROW_STRIP ? s->cols - c : ROW_STRIP);
    int32_t threshold;
    if (s->minimum <= 16) {
        threshold = insertion_select(scratch, s->minimum, levels, n);
    } else {
        memcpy(scratch, levels, n * sizeof *scratch);
        threshold = radix_select(scratch, filter_keys(scratch, n, 0, 31), s->minimum);
    }
    for (size_t i = 0; i < n; i++)
        above += levels[i] > threshold;
    *ties = s->minimum - above;
    return threshold;
}

static size_t rows_per_chunk(const struct selection *s)
{
    return s->cols < CHUNK ? CHUNK / s->cols : 1;
}

static int reserve_rows(void *payload, size_t chunk, size_t worker)
{
    const struct selection *s = payload;
    size_t first = chunk * rows_per_chunk(s), last = first + rows_per_chunk(s);
    int32_t *levels = s->levels + worker * s->minimum * STRIP;
    for (size_t r = first; r < last && r < s->rows; r++) {
        size_t ties, at = r * s->cols;
        int32_t threshold = row_threshold(s, levels, s->w + at, &ties);
        s->kernels->magnitude_mark(s->keep + at, s->w + at, s->cols, threshold, &ties);
    }
    return SN_OK;
}

static int reserve_columns(void *payload, size_t chunk, size_t worker)
{
    const struct selection *s = payload;
    size_t first = chunk * STRIP, n = s->cols - first < STRIP ? s->cols - first : STRIP;
    int32_t *levels = s->levels + worker * s->minimum * STRIP;
    const int32_t *threshold = levels + (s->minimum - 1) * STRIP;
    uint32_t ties[STRIP] = {0};
    memset(levels, -1, s->minimum * STRIP * sizeof *levels);
    for (size_t r = 0; r < s->rows; r++)
        s->kernels->magnitude_levels(levels, STRIP, s->minimum, s->w + r * s->cols + first, n);
    for (size_t i = 0; i < s->minimum * STRIP; i++)
        ties[i % STRIP] += levels[i] == threshold[i % STRIP];
    for (size_t r = 0; r < s->rows; r++)
        s->kernels->magnitude_mark_columns(s->keep + r * s->cols + first, s->w + r * s->cols + first, n,
                                           threshold, ties);
    return SN_OK;
}

static int reserve(struct selection *s, int axis)
{
    size_t neurons = axis == SN_AXIS_ROW ? s->rows : s->cols, n;
    if (!size_product(&n, parallel_workers(s->context) * STRIP, s->minimum))
        return fail_memory(s->context, "a selection", SIZE_MAX);
    s->levels = memory_allocate_array(s->context->memory, n, sizeof *s->levels);
    if (!s->levels)
        return fail_memory(s->context, "a selection", n * sizeof *s->levels);
    int status = axis == SN_AXIS_ROW
                     ? parallel_for(s->context, (s->rows + rows_per_chunk(s) - 1) / rows_per_chunk(s),
                                    reserve_rows, s)
                     : parallel_for(s->context, (s->cols + STRIP - 1) / STRIP, reserve_columns, s);
    memory_free(s->context->memory, s->levels, n * sizeof *s->levels);
    s->reserved = neurons * s->minimum;
    s->remaining -= s->reserved;
    return status;
}

/* -------------------------------------------------------------------- threshold */

/* Keys of entries not reserved, at fixed pseudo-random places. */
static size_t draw_sample(const struct selection *s, int32_t *sample)
{
    struct random_state random;
    size_t count = 0, step = s->n / SAMPLE;
    random_seed(&random, 0, s->n);
    for (size_t i = 0; i < SAMPLE; i++) {
        size_t at = i * step + random_below(&random, step);
        if (!s->reserved || !s->keep[at])
            sample[count++] = key_of(s->w[at]);
    }
    return count;
}

/* The threshold's rank in the sample, four standard deviations either way. */
static int choose_bracket(struct selection *s)
{
    s->low = -1;
    s->high = INT32_MAX;
    if (s->n < 4 * SAMPLE)
        return SN_OK;
    struct memory *memory = s->context->memory;
    int32_t *sample = memory_allocate_array(memory, 2 * SAMPLE, sizeof *sample);
    if (!sample)
        return fail_memory(s->context, "a sample of a matrix", 2 * SAMPLE * sizeof *sample);
    size_t count = draw_sample(s, sample);
    double share = (double)s->remaining / (double)(s->n - s->reserved), rank = share * (double)count;
    double margin = 4 * sqrt((double)count * share * (1 - share)) + 8;
    memcpy(sample + SAMPLE, sample, count * sizeof *sample);
    if (rank - margin >= 1)
        s->high = radix_select(sample, count, (size_t)(rank - margin));
    if (rank + margin <= (double)count)
        s->low = radix_select(sample + SAMPLE, count, (size_t)(rank + margin));
    memory_free(memory, sample, 2 * SAMPLE * sizeof *sample);
    return SN_OK;
}

static size_t chunk_size(const struct selection *s, size_t chunk)
{
    size_t first = chunk * CHUNK;
    return s->n - first < CHUNK ? s->n - first : CHUNK;
}

static int scan_chunk(void *payload, size_t chunk, size_t worker)
{
    (void)worker;
    struct selection *s = payload;
    struct magnitude_scan scan = {.low = s->low,
                                  .high = s->high,
                                  .between = s->between + chunk * s->capacity,
                                  .capacity = s->capacity};
    s->kernels->magnitude_scan(&scan, s->w + chunk * CHUNK, s->reserved ? s->keep + chunk * CHUNK : NULL,
                               chunk_size(s, chunk));
    s->chunks[chunk] = (struct chunk_result){scan.above, scan.at_high,
                                             scan.low < scan.high ? scan.at_low : 0, scan.n_between, 0};
    return SN_OK;
}

static struct chunk_result sum_chunks(const struct selection *s)
{
    struct chunk_result sum = {0};
    for (size_t i = 0; i < s->n_chunks; i++) {
        sum.above += s->chunks[i].above;
        sum.at_high += s->chunks[i].at_high;
        sum.at_low += s->chunks[i].at_low;
        sum.n_between += s->chunks[i].n_between;
    }
    return sum;
}

/* Every chunk had room for what lies inside the bracket. */
static int all_collected(const struct selection *s)
{
    for (size_t i = 0; i < s->n_chunks; i++)
        if (s->chunks[i].n_between > s->capacity)
            return 0;
    return 1;
}

/* The rank-th largest of all that was collected. */
static int select_between(struct selection *s, size_t n, size_t rank)
{
    int32_t *keys = memory_allocate_array(s->context->memory, n, sizeof *keys);
    if (!keys)
        return fail_memory(s->context, "a selection", n * sizeof *keys);
    size_t filled = 0;
    for (size_t i = 0; i < s->n_chunks; i++) {
        memcpy(keys + filled, s->between + i * s->capacity, s->chunks[i].n_between * sizeof *keys);
        filled += s->chunks[i].n_between;
    }
    s->threshold = radix_select(keys, n, rank);
    memory_free(s->context->memory, keys, n * sizeof *keys);
    return SN_OK;
}

/* How many entries lie above the threshold, and per chunk how many at it (in ties). */
static size_t count_at_threshold(struct selection *s)
{
    size_t above = 0;
    for (size_t i = 0; i < s->n_chunks; i++) {
        struct chunk_result *chunk = &s->chunks[i];
        chunk->ties = s->threshold == s->high  ? chunk->at_high
                      : s->threshold == s->low ? chunk->at_low
                                               : 0;
        above += chunk->above + (s->threshold < s->high ? chunk->at_high : 0);
        for (size_t j = 0; j < chunk->n_between && s->threshold < s->high; j++) {
            int32_t key = s->between[i * s->capacity + j];
            above += key > s->threshold;
            chunk->ties += key == s->threshold;
        }
    }
    return above;
}

/* One scan with this bracket and room. *found tells whether it gave the threshold. */
static int try_bracket(int *found, struct selection *s, size_t capacity)
{
    struct memory *memory = s->context->memory;
    *found = 0;
    s->capacity = capacity;
    s->between = memory_allocate_array(memory, s->n_chunks * capacity, sizeof *s->between);
    if (!s->between)
        return fail_memory(s->context, "a selection", s->n_chunks * capacity * sizeof *s->between);
    int status = parallel_for(s->context, s->n_chunks, scan_chunk, s);
    struct chunk_result sum = sum_chunks(s);
    size_t to_high = sum.above + sum.at_high, to_between = to_high + sum.n_between;
    int inside = s->remaining > sum.above && s->remaining <= to_between + sum.at_low;
    if (status == SN_OK && inside && all_collected(s)) {
        *found = 1;
        if (s->remaining <= to_high)
            s->threshold = s->high;
        else if (s->remaining > to_between)
            s->threshold = s->low;
        else
            status = select_between(s, sum.n_between, s->remaining - to_high);
    }
    if (status == SN_OK && *found) { /* ties go to the lowest flat index: the first chunks take them */
        size_t left = s->remaining - count_at_threshold(s);
        for (size_t i = 0; i < s->n_chunks; i++) {
            if (s->chunks[i].ties > left)
                s->chunks[i].ties = left;
            left -= s->chunks[i].ties;
        }
    }
    memory_free(memory, s->between, s->n_chunks * capacity * sizeof *s->between);
    return status;
}

static int mark_chunk(void *payload, size_t chunk, size_t worker)
{
    (void)worker;
    const struct selection *s = payload;
    size_t ties = s->chunks[chunk].ties;
    s->kernels->magnitude_mark(s->keep + chunk * CHUNK, s->w + chunk * CHUNK, chunk_size(s, chunk),
                               s->threshold, &ties);
    return SN_OK;
}

/* The s->remaining largest of what is not reserved. */
static int select_remaining(struct selection *s)
{
    s->n_chunks = (s->n + CHUNK - 1) / CHUNK;
    s->chunks = memory_allocate_array(s->context->memory, s->n_chunks, sizeof *s->chunks);
    if (!s->chunks)
        return fail_memory(s->context, "a selection", s->n_chunks * sizeof *s->chunks);
    int found = 0, status = choose_bracket(s);
    if (status == SN_OK && s->low >= 0)
        status = try_bracket(&found, s, CHUNK / COLLECTED_SHARE);
    if (status == SN_OK && !found) {
        s->low = -1;
        s->high = INT32_MAX;
        status = try_bracket(&found, s, s->n < CHUNK ? s->n : CHUNK);
    }
    if (status == SN_OK)
        status = parallel_for(s->context, s->n_chunks, mark_chunk, s);
    memory_free(s->context->memory, s->chunks, s->n_chunks * sizeof *s->chunks);
    return status;
}

/* Of a large matrix what lies inside the bracket is held twice, about 1 in 32; of a small one everything. */
size_t select_estimate(size_t n)
{
    size_t n_chunks = (n + CHUNK - 1) / CHUNK, all = memory_block_size(n * sizeof(int32_t));
    if (n < 4 * SAMPLE)
        return memory_block_size(n_chunks * (n < CHUNK ? n : CHUNK) * sizeof(int32_t)) + all;
    return memory_block_size(n_chunks * (CHUNK / COLLECTED_SHARE) * sizeof(int32_t)) + all / 32;
}

int select_magnitude(unsigned char *keep, size_t *minimum_used, struct sn_context *context,
                     const float *w, size_t rows, size_t cols, size_t k, int axis, size_t minimum)
{
    size_t n = rows * cols, neurons = axis == SN_AXIS_ROW ? rows : cols;
    size_t others = axis == SN_AXIS_ROW ? cols : rows;
    if (axis == SN_AXIS_NONE || n == 0)
        minimum = 0;
    if (k > n)
        k = n;
    if (minimum > others)
        minimum = others;
    if (minimum && minimum > k / neurons)
        minimum = k / neurons;
    if (minimum_used)
        *minimum_used = minimum;
    struct selection s = {.context = context,
                          .kernels = context->kernels,
                          .keep = keep,
                          .w = w,
                          .rows = rows,
                          .cols = cols,
                          .n = n,
                          .minimum = minimum,
                          .remaining = k};
    if (n)
        memset(keep, k == n, n);
    if (k == n)
        return SN_OK;
    int status = minimum ? reserve(&s, axis) : SN_OK;
    if (status == SN_OK && s.remaining)
        status = select_remaining(&s);
    return status;
}

/* ----------------------------------------------------------------------- public */

static int check_selection(struct sn_context *context, const unsigned char *keep, const float *w,
                           size_t rows, size_t cols, size_t k, int axis, size_t minimum)
{
    size_t n, needed, neurons = axis == SN_AXIS_ROW ? rows : cols;
    if (!keep || !w)
        return fail(context, SN_ERROR_ARGUMENT, "%s is NULL", keep ? "w" : "keep");
    if (rows == 0 || cols == 0 || !size_product(&n, rows, cols))
        return fail(context, SN_ERROR_ARGUMENT, "a matrix of %zu x %zu", rows, cols);
    if (k > n)
        return fail(context, SN_ERROR_ARGUMENT, "k is %zu; the matrix has %zu entries", k, n);
    if (axis < SN_AXIS_NONE || axis > SN_AXIS_COLUMN)
        return fail(context, SN_ERROR_ARGUMENT, "axis is %d; it must be SN_AXIS_NONE, ROW or COLUMN",
                    axis);
    if (axis != SN_AXIS_NONE && (!size_product(&needed, minimum, neurons) || needed > k))
        return fail(context, SN_ERROR_ARGUMENT,
                    "k is %zu; a minimum of %zu in each of %zu %s needs more", k, minimum, neurons,
                    axis == SN_AXIS_ROW ? "rows" : "columns");
    return SN_OK;
}

int sn_magnitude_select(unsigned char *keep, sn_context *context, const float *w, size_t rows,
                        size_t cols, size_t k, int axis, size_t minimum)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    int status = check_selection(context, keep, w, rows, cols, k, axis, minimum);
    return status == SN_OK ? select_magnitude(keep, NULL, context, w, rows, cols, k, axis, minimum)
                           : status;
}

struct topk {
    const struct kernel_table *kernels;
    float *y;
    const float *x;
    size_t n_tokens, width, k, scratch_bytes;
    unsigned char *scratch; /* per worker: a panel, its mask, the kernel's own */
};

static int topk_chunk(void *payload, size_t chunk, size_t worker)
{
    const struct topk *topk = payload;
    size_t token = chunk * PANEL, left = topk->n_tokens - token, n = left < PANEL ? left : PANEL;
    size_t width = topk->width, at = token * width;
    unsigned char *scratch = topk->scratch + worker * topk->scratch_bytes;
    float *panel = (float *)(void *)scratch;
    uint64_t *mask = (uint64_t *)(void *)(panel + width * PANEL);
    if (n < PANEL)
        memset(panel, 0, width * PANEL * sizeof *panel);
    topk->kernels->transpose(panel, PANEL, topk->x + at, width, n, width);
    topk->kernels->abs_topk(panel, mask, width, topk->k,
                            (char *)mask + (width * sizeof *mask + 63) / 64 * 64);
    topk->kernels->transpose(topk->y + at, width, panel, PANEL, width, n);
    return SN_OK;
}

int sn_abs_topk(float *y, sn_context *context, const float *x, size_t n_tokens, size_t width, size_t k)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!y || !x)
        return fail(context, SN_ERROR_ARGUMENT, "%s is NULL", y ? "x" : "y");
    if (k > width)
        return fail(context, SN_ERROR_ARGUMENT, "k is %zu; a row has %zu entries", k, width);
    size_t n, bytes;
    if (!size_product(&n, n_tokens, width))
        return fail(context, SN_ERROR_ARGUMENT, "%zu tokens of width %zu", n_tokens, width);
    if (k == width) {
        memmove(y, x, n * sizeof *y);
        return SN_OK;
    }
    struct topk topk = {context->kernels, y, x, n_tokens, width, k, 0, NULL};
    topk.scratch_bytes = width * PANEL * sizeof(float) + width * sizeof(uint64_t) + 64;
    topk.scratch_bytes = (topk.scratch_bytes + abs_topk_scratch(width) + 63) / 64 * 64;
    if (!size_product(&bytes, topk.scratch_bytes, parallel_workers(context)))
        return fail_memory(context, "panels", SIZE_MAX);
    topk.scratch = memory_allocate(context->memory, bytes);
    if (!topk.scratch)
        return fail_memory(context, "panels", bytes);
    int status = parallel_for(context, (n_tokens + PANEL - 1) / PANEL, topk_chunk, &topk);
    memory_free(context->memory, topk.scratch, bytes);
    return status;
}
