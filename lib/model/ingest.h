/* Makes a matrix from dense rows as they arrive from a file: sparse while few of them are nonzero, so
 * that a dense copy of a sparse tensor is never held. */
#ifndef SN_MODEL_INGEST_H
#define SN_MODEL_INGEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/context.h"
#include "matrix/matrix.h"

struct ingest {
    struct memory *memory;
    size_t rows, cols;
    size_t next_row;
    size_t limit;              /* nonzeros above which the matrix turns dense */
    uint32_t *row_start;       /* rows + 1 */
    uint32_t *row_columns;     /* cols: of the row that is being gathered */
    struct sparse_index index; /* capacity */
    float *values;             /* value_capacity */
    size_t n_nonzero, capacity;
    size_t low_bytes, high_bytes,
        value_bytes;         /* of the blocks: after a lack of memory some are larger */
    struct sn_matrix *dense; /* once it has turned dense */
    int not_finite;          /* a NaN or an infinity has come */
};

/* max_density: as in matrix_from_dense; below 0 the matrix is dense from the start. */
int ingest_begin(struct ingest *ingest, struct sn_context *context, size_t rows, size_t cols,
                 double max_density);
/* The next n_rows rows, row-major. */
int ingest_rows(struct ingest *ingest, struct sn_context *context, const float *values, size_t n_rows);
/* After the last row. The ingest is left empty. */
int ingest_finish(struct sn_matrix **out, struct ingest *ingest, struct sn_context *context);
/* Bytes that an ingest of this many nonzeros holds at most before its end. */
size_t ingest_estimate(size_t rows, size_t cols, size_t n_nonzero);
/* A no-op on a zeroed or finished ingest. */
void ingest_abort(struct ingest *ingest);

#endif
