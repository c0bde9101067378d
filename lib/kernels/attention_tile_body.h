/* Squares of numbers, TILE x TILE, and their products. What attention keeps of a head stands in tiles
 * of that many tokens, [channels][TILE], with channels rounded up to whole squares by zeros. A
 * product C = A B keeps C in registers, takes B by vectors and A by single numbers. */
#ifndef SN_KERNELS_ATTENTION_TILE_BODY_H
#define SN_KERNELS_ATTENTION_TILE_BODY_H

#include "kernels/elementwise_body.h"

#define TILE ATTENTION_TILE
#define TILE_VECTORS (TILE / LANES)
#define SQUARE (TILE * TILE)
#define PRODUCT_ROWS (LANES == 16 ? 16 : LANES == 8 ? 4 : 2) /* of C in registers */

/* Sums stay in registers only where loops over them are unrolled early. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* Element (row, column) of square i of A stands at at[i step + row row_stride + column
 * column_stride]. */
struct tile_factor {
    const float *at;
    size_t row_stride, column_stride, step;
};

/* c[TILE][TILE] = (accumulate ? c : 0) + sum over n >= 1 squares of a b, of `depth` columns and rows.
 * b: [n][TILE][TILE] */
static inline __attribute__((always_inline)) void
tile_product(float *c, struct tile_factor a, const float *b, size_t n, size_t depth, int accumulate)
{
    for (size_t r = 0; r < TILE; r += PRODUCT_ROWS, c += PRODUCT_ROWS * TILE) {
        vec sum[PRODUCT_ROWS * TILE_VECTORS];
        const float *square = a.at + r * a.row_stride, *row = b;
        UNROLL
        for (size_t i = 0; i < PRODUCT_ROWS * TILE_VECTORS; i++)
            sum[i] = accumulate ? vec_load(c + i * LANES) : vec_splat(0);
        for (size_t i = 0; i < n; i++, square += a.step) {
            const float *factors = square;
            for (size_t p = 0; p < depth; p++, row += TILE, factors += a.column_stride) {
                vec column[TILE_VECTORS];
                UNROLL
                for (size_t x = 0; x < TILE_VECTORS; x++)
                    column[x] = vec_load(row + x * LANES);
                UNROLL
                for (size_t y = 0; y < PRODUCT_ROWS; y++) {
                    vec factor = vec_splat(factors[y * a.row_stride]);
                    UNROLL
                    for (size_t x = 0; x < TILE_VECTORS; x++)
                        sum[y * TILE_VECTORS + x] += factor * column[x];
                }
            }
        }
        UNROLL
        for (size_t i = 0; i < PRODUCT_ROWS * TILE_VECTORS; i++)
            vec_store(c + i * LANES, sum[i]);
    }
}

/* The three products. Not inlined: within a larger function their sums do not stay in registers. */

/* s[tokens of a][tokens of b] = sum over d channels; a: [d][stride], b: [d][TILE] */
static __attribute__((noinline)) void tile_scores(float *s, const float *a, size_t stride,
                                                  const float *b, size_t d)
{
    tile_product(s, (struct tile_factor){a, 1, stride, 0}, b, 1, d, 0);
}

/* out[channels][TILE] = sum over n tiles of tokens of x[channels][tokens] p[tokens][TILE] */
static __attribute__((noinline)) void tile_mix(float *out, const float *x, const float *p, size_t n,
                                               size_t blocks)
{
    for (size_t b = 0; b < blocks; b++)
        tile_product(out + b * SQUARE, (struct tile_factor){x + b * SQUARE, TILE, 1, blocks * SQUARE}, p,
                     n, TILE, 0);
}

/* c[i] = (accumulate ? c[i] : 0) + a[i] b[i], squares one after another, or where a step is 0 all
 * with the same one. */
static __attribute__((noinline)) void tile_add(float *c, const float *a, size_t a_step, const float *b,
                                               size_t b_step, size_t blocks, int accumulate)
{
    for (size_t i = 0; i < blocks; i++)
        tile_product(c + i * SQUARE, (struct tile_factor){a + i * a_step, TILE, 1, 0}, b + i * b_step, 1,
                     TILE, accumulate);
}

/* to[blocks TILE][TILE] = factor x, of the TILE tokens from x on; x: [d][stride] */
static inline void tile_pack(float *to, const float *x, size_t stride, size_t d, float factor)
{
    float *end = to + (d + TILE - 1) / TILE * SQUARE;
    for (; d > 0; d--, to += TILE, x += stride)
        for (size_t i = 0; i < TILE; i += LANES)
            vec_store(to + i, vec_load(x + i) * factor);
    for (; to < end; to += LANES)
        vec_store(to, vec_splat(0));
}

/* x[d][stride] = from[d][TILE] * factor[TILE] */
static inline void tile_unpack(float *x, size_t stride, const float *from, size_t d, const float *factor)
{
    for (; d > 0; d--, from += TILE, x += stride)
        for (size_t i = 0; i < TILE; i += LANES)
            vec_store(x + i, vec_load(from + i) * vec_load(factor + i));
}

static inline void tile_fill(float *row, float value)
{
    for (size_t i = 0; i < TILE; i += LANES)
        vec_store(row + i, vec_splat(value));
}

static inline void tile_transpose(float *to, const float *from, size_t n_squares)
{
    for (size_t i = 0; i < n_squares * SQUARE; i += SQUARE)
        transpose(to + i, TILE, from + i, TILE, TILE, TILE);
}

#endif
