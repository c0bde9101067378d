/* A matrix as one token at a time needs it. Where its input is expected to be mostly zeros (what AbsTopK
 * leaves) it is kept by columns, in addition to the matrix's own packing, so that a product touches the
 * columns of the nonzero inputs only; elsewhere the matrix's own pattern and values, by rows, serve and
 * nothing more is held. (Not its packing: cut into blocks for panels, its rows are too short.)
 * docs/running.md has the figures. */
#ifndef SN_MATRIX_TOKEN_H
#define SN_MATRIX_TOKEN_H

#include "matrix/matrix.h"

/* Share of nonzero inputs from which the product by rows is taken. By rows all entries are met, but each
 * costs a load less and no store: about half the time, at densities from 1/4 to 1/256. */
#define TOKEN_ROWS_SHARE 0.5

struct token_matrix {
    const struct sn_matrix *matrix; /* lent */
    uint32_t *start;                /* cols + 1; NULL where only rows are used */
    uint16_t *row;                  /* nnz */
    float *value;                   /* nnz */
};

/* The matrix is lent and must neither change nor go. sparse_input: whether to expect mostly zeros. */
int token_matrix_create(struct token_matrix *out, struct sn_context *context,
                        const struct sn_matrix *matrix, int sparse_input);
/* A zeroed one too. */
void token_matrix_release(struct token_matrix *token, struct memory *memory);
/* y[rows] = (bias or 0) + W x[cols]; scratch: token_scratch(cols) bytes, aligned for floats. */
void token_multiply(const struct token_matrix *token, const struct kernel_table *kernels, float *y,
                    const float *x, const float *bias, void *scratch);
size_t token_scratch(size_t cols);

#endif
