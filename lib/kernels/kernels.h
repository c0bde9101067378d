/* The kernel table: pure functions on pointers, no allocation, no context. One portable body in
 * vector extensions is built per instruction set (vector_body.h compiled by portable.c, avx2.c,
 * avx512.c); reference_*.c hold the naive kernels that tests compare with.
 *
 * Activations stand in panels of PANEL tokens: [channels][PANEL] floats, 64-byte aligned, a channel's
 * tokens contiguous. The last panel of a batch is padded: kernels always work on all PANEL tokens
 * (padding stays finite); reductions over tokens take n_tokens. */
#ifndef SN_KERNELS_KERNELS_H
#define SN_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define PANEL 64

/* A sparse matrix, or one block of its columns: row r's entries are start[r] .. end[r] - 1 of index
 * (column - first_column, < 65536) and value. Where the rows follow each other, end is start + 1. */
struct sparse_block {
    size_t rows;
    size_t first_column;
    const uint32_t *start, *end; /* rows */
    const uint16_t *index;
    const float *value;
};

/* Attention of one head over one sequence: causal, softmax with an optional sink logit in the
 * denominator (findings 5), scale 1/sqrt(d_head). T tokens, channel-major scratch: q, k, v, y are
 * [d_head][stride] with stride = T rounded up to ATTENTION_TILE; the padding holds zeros. */
#define ATTENTION_TILE 16
struct attention_shape {
    size_t n_tokens;
    size_t stride;
    size_t d_head;
    float scale;
    int has_sink;
    float sink;
    /* Nobody looks at queries in front of this one: their y and lse need not be written, their dy is
     * zero. */
    size_t first_query;
};

/* A sparse matrix by columns, for the product with one token: column c's entries are
 * [start[c], start[c + 1]), rows ascending. */
struct sparse_columns {
    const uint32_t *start; /* columns + 1 */
    const uint16_t *row;
    const float *value;
};

/* One head of attention of the newest of n_tokens >= 1 tokens over all of them, itself included. Page i
 * holds tokens i PANEL and following; a head's keys and values are [d_head][PANEL] in it, `key` and
 * `value` floats behind its start. Values behind n_tokens in the last page are finite. */
struct token_attention {
    const float *const *pages;
    size_t key, value;
    size_t n_tokens, d_head;
    float scale;
    int has_sink;
    float sink;
};

/* A pass over n weights for the exact selection by magnitude (matrix/select.c). A key is the bits of |w|
 * read as an integer, which orders like the magnitude. n < 2^31. */
struct magnitude_scan {
    int32_t low, high; /* in: low <= high; -1 and INT32_MAX take everything in between */
    size_t above, at_high, at_low;
    int32_t *between; /* the keys with low < key < high, in order */
    size_t capacity;  /* of between; further ones are only counted */
    size_t n_between;
};

struct kernel_table {
    const char *name; /* "reference", "portable", "avx2", "avx512" */
    size_t lanes;     /* floats per vector */

    /* ---- sparse x panel (sparse_body.h) */
    /* y[r] = (accumulate ? y[r] : bias ? bias[r] : 0) + sum_i value_i x[first_column + index_i];
     * y: [rows][PANEL], x: [cols][PANEL]. */
    void (*sparse_multiply)(float *y, const struct sparse_block *block, const float *x,
                            const float *bias, int accumulate);
    /* gradient[i] += sum over the panel's tokens of dy[row_i] x[col_i], rows first_row..last_row-1;
     * gradient is indexed like block->value. Padding tokens hold zeros in dy. */
    void (*sparse_gradient)(float *gradient, const struct sparse_block *block, size_t first_row,
                            size_t last_row, const float *dy, const float *x);

    /* ---- dense product of the portable build (dense_body.h); dense.h decides who serves
     * c[j ldc + i] = (accumulate ? c : 0) + sum_p a[p lda + i] b[p b_row + j b_column],
     * i < m, j < n, p < k. */
    void (*gemm)(float *c, size_t ldc, const float *a, size_t lda, const float *b, size_t b_row,
                 size_t b_column, size_t m, size_t n, size_t k, int accumulate);

    /* ---- selection */
    /* Per token of a panel: keeps the k entries of x largest in magnitude, ties to the lowest channel,
     * zeroes the rest in place. mask: [width] words, bit t of mask[c] set when channel c of token t
     * was kept (zeros can be kept). k < width; k may be 0. scratch: abs_topk_scratch(width) bytes. */
    void (*abs_topk)(float *x, uint64_t *mask, size_t width, size_t k, void *scratch);
    /* dx[c][t] = 0 where bit t of mask[c] is clear. */
    void (*apply_mask)(float *dx, const uint64_t *mask, size_t width);

    /* Counts and collects; entries with skip[i] = 1 do not exist (bytes 0 or 1; skip may be NULL). */
    void (*magnitude_scan)(struct magnitude_scan *scan, const float *w, const unsigned char *skip,
                           size_t n);
    /* keep[i] (0 or 1) = 1 where it was clear and key_i > threshold, or key_i == threshold and *ties,
     * counted down, was not yet 0. */
    void (*magnitude_mark)(unsigned char *keep, const float *w, size_t n, int32_t threshold,
                           size_t *ties);
    /* The same with a threshold and ties for every column of one row of n. */
    void (*magnitude_mark_columns)(unsigned char *keep, const float *w, size_t n,
                                   const int32_t *threshold, uint32_t *ties);
    /* levels[l * stride + i], descending in l: the n_levels largest keys that column i has seen;
     * takes in one row of n <= stride. Starts from -1. */
    void (*magnitude_levels)(int32_t *levels, size_t stride, size_t n_levels, const float *w, size_t n);

    /* The entries of x that are not zero, in order, and where they stand: returns how many. value,
     * index: room for n. *not_finite is set to 1 when a NaN or an infinity is among them, and left
     * alone otherwise. */
    size_t (*gather_nonzeros)(float *value, uint32_t *index, int *not_finite, const float *x, size_t n);

    /* ---- norms; weight [width], bias [width] or NULL; inverse, mean: [PANEL] saved for backward */
    /* y = x / sqrt(mean(x^2) + 2^-23) * weight */
    void (*rms_norm)(float *y, float *inverse, const float *x, const float *weight, size_t width);
    /* dx += gradient; dweight[c] = sum over the panel (overwritten; this panel's partial). */
    void (*rms_norm_backward)(float *dx, float *dweight, const float *dy, const float *x,
                              const float *inverse, const float *weight, size_t width);
    /* y = (x - mean) / sqrt(var + 1e-5) * weight + bias, biased variance */
    void (*layer_norm)(float *y, float *mean, float *inverse, const float *x, const float *weight,
                       const float *bias, size_t width);
    void (*layer_norm_backward)(float *dx, float *dweight, float *dbias, const float *dy, const float *x,
                                const float *mean, const float *inverse, const float *weight,
                                size_t width);

    /* ---- elementwise over n floats (n a multiple of 16), y may be x */
    void (*gelu)(float *y, const float *x, size_t n); /* exact: 0.5 x (1 + erf(x / sqrt 2)) */
    void (*gelu_backward)(float *dx, const float *dy, const float *x, size_t n); /* dx may be dy */
    void (*relu)(float *y, const float *x, size_t n);
    void (*relu_backward)(float *dx, const float *dy, const float *x, size_t n); /* 0 at x <= 0 */
    void (*add)(float *y, const float *x, size_t n);                             /* y += x */

    /* ---- gates on rows of PANEL tokens; mask, mean: [rows] */
    /* x[r][t] = mask[r] x[r][t] + (1 - mask[r]) mean[r], where a mask of 0 gives the mean whatever x is. kept (may
     * be NULL), gate_kept_bytes(rows): takes what gate_backward wants to know of x. */
    void (*gate)(float *x, void *kept, const float *mask, const float *mean, size_t rows);
    /* sum[r] += sum over t < n <= PANEL of dx[r][t] (x[r][t] - mean[r]) with the x before the gate, then dx[r][t]
     * *= mask[r], where a mask of 0 gives 0. */
    void (*gate_backward)(float *sum, float *dx, const void *kept, const float *mask, const float *mean,
                          size_t rows, size_t n);

    /* ---- cross-entropy over a panel of logits [classes][PANEL] */
    /* loss[t] = logsumexp(logits[.][t]) - logits[target[t]][t]; 0 where target[t] < 0. lse: [PANEL]. */
    void (*cross_entropy)(float *loss, float *lse, const float *logits, const int32_t *target,
                          size_t classes);
    /* logits := scale * (softmax - onehot) where target[t] >= 0, 0 elsewhere. */
    void (*cross_entropy_backward)(float *logits, const float *lse, const int32_t *target,
                                   size_t classes, float scale);

    /* ---- attention, one head of one sequence */
    /* y[d][t]; lse[stride]: log of the softmax denominator, saved for backward. */
    void (*attention)(float *y, float *lse, const float *q, const float *k, const float *v,
                      const struct attention_shape *shape, void *scratch);
    /* dq, dk, dv overwritten [d_head][stride]; *dsink = gradient of the sink logit (0 without). y and
     * lse are those of the forward of the same shape. */
    void (*attention_backward)(float *dq, float *dk, float *dv, float *dsink, const float *dy,
                               const float *y, const float *q, const float *k, const float *v,
                               const float *lse, const struct attention_shape *shape, void *scratch);

    /* ---- one token: plain vectors of any length, no alignment asked for (token_body.h) */
    /* y[row] += x[a] value for the entries of column active[a], a < n_active: x and active as
     * gather_nonzeros leaves them. */
    void (*token_columns)(float *y, const struct sparse_columns *columns, const uint32_t *active,
                          const float *x, size_t n_active);
    /* y[r] = (bias ? bias[r] : 0) + sum_i value_i x[first_column + index_i]; bias may be y. */
    void (*token_rows)(float *y, const struct sparse_block *block, const float *x, const float *bias);
    /* y[r] = (bias ? bias[r] : 0) + sum_c w[r cols + c] x[c] */
    void (*token_dense)(float *y, const float *w, size_t rows, size_t cols, const float *x,
                        const float *bias);
    /* Keeps the k entries of x largest in magnitude, ties to the lowest index, zeroes the rest.
     * scratch: abs_topk_scratch(width) bytes. */
    void (*token_topk)(float *x, size_t width, size_t k, void *scratch);
    /* As rms_norm and layer_norm; y may be x. */
    void (*token_rms_norm)(float *y, const float *x, const float *weight, size_t width);
    void (*token_layer_norm)(float *y, const float *x, const float *weight, const float *bias,
                             size_t width);
    /* y[d_head] from q[d_head]. scratch: token_attention_scratch bytes, 64-byte aligned. */
    void (*token_attention)(float *y, const float *q, const struct token_attention *attention,
                            void *scratch);

    /* ---- layout */
    /* to[c * to_stride + t] = from[t * from_stride + c]: transposes rows x cols. */
    void (*transpose)(float *to, size_t to_stride, const float *from, size_t from_stride, size_t rows,
                      size_t cols);
    /* rows of n floats from one stride to another: to[r][i] = (accumulate ? to[r][i] : 0) + from[r][i]. */
    void (*move_rows)(float *to, size_t to_stride, const float *from, size_t from_stride, size_t rows,
                      size_t n, int accumulate);

    /* ---- optimizer, over n floats, any n. Per element, with g = gradient * gradient_scale:
     *   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
     *   weight = weight * decay_factor
     *            - learning_rate * (m * correction1) / (sqrt(v * correction2) + epsilon)
     * where correction1 = 1 / (1 - beta1^step), correction2 = 1 / (1 - beta2^step). */
    void (*adamw)(float *weight, float *m, float *v, const float *gradient, size_t n,
                  float gradient_scale, float learning_rate, float decay_factor, float beta1,
                  float beta2, float correction1, float correction2, float epsilon);
    /* sum of squares in double over any n, the same bits on every instruction set */
    double (*sum_of_squares)(const float *x, size_t n);
};

/* Channels of a head in squares of ATTENTION_TILE. */
static inline size_t attention_blocks(size_t d_head)
{
    return (d_head + ATTENTION_TILE - 1) / ATTENTION_TILE;
}

/* Bytes of scratch, which is 64-byte aligned; none shrinks when its argument grows. */
size_t abs_topk_scratch(size_t width);
size_t attention_scratch(const struct attention_shape *shape);
/* What `gate` keeps of so many rows, at most. */
size_t gate_kept_bytes(size_t rows);
size_t token_attention_scratch(size_t n_tokens, size_t d_head);
size_t attention_backward_scratch(const struct attention_shape *shape);

/* Tables; a table whose instruction set this build or machine lacks is NULL. */
const struct kernel_table *kernels_reference(void);
const struct kernel_table *kernels_by_name(const char *name); /* "portable", "avx2", "avx512" */
const struct kernel_table *kernels_best(void);

#endif
