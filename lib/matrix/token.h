/* A matrix times one token. Where the input is expected to be mostly zeros (what AbsTopK leaves) the
 * product goes by columns, through the order of the transposed product, and touches the columns of
 * the nonzero inputs only; elsewhere, by rows. (By whole rows: cut into blocks for panels, they are
 * too short.) docs/running.md has the figures. */
#ifndef SN_MATRIX_TOKEN_H
#define SN_MATRIX_TOKEN_H

#include "matrix/matrix.h"

/* Share of nonzero inputs from which the product by rows is taken. By rows all entries are met, but each
 * costs a load less and no store: about half the time, at densities from 1/4 to 1/256. */
#define TOKEN_ROWS_SHARE 0.5

struct token_matrix {
    const struct sn_matrix *matrix; /* lent */
    int by_columns;
};

/* The matrix is lent and must not go. sparse_input: whether to expect mostly zeros; then the matrix
 * holds its transposed order from now on, for all who share it. */
int token_matrix_create(struct token_matrix *out, struct sn_context *context,
                        const struct sn_matrix *matrix, int sparse_input);
/* y[rows] = (bias or 0) + W x[cols]; scratch: token_scratch(cols) bytes, aligned for floats. */
void token_multiply(const struct token_matrix *token, const struct kernel_table *kernels, float *y,
                    const float *x, const float *bias, void *scratch);
size_t token_scratch(size_t cols);

#endif
