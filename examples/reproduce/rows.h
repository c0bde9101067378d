/* What is known of one circuit: a row of OUT_DIR/circuits/MODEL.TASK.csv, and of circuits.csv, which has all. */
#ifndef REPRODUCE_ROWS_H
#define REPRODUCE_ROWS_H

#include "setup.h"

struct row {
    char model[48], task[40];
    char variant[24]; /* how it was found; "model" is the whole model */
    char status[16];  /* "ok"; "unlearnt": the model misses the target; "missed": pruning does */
    double target;
    int calibrated; /* whether the target holds with calibration */
    size_t nodes, edges;
    double loss, raw_loss, accuracy; /* on fresh pairs, of the circuit; accuracy is uncalibrated */
    double necessity;                /* loss of the complement, recalibrated */
    double random_necessity;         /* of the complement of as many random nodes */
    double binarised,
        resampled; /* raw loss, fresh: of two-valued nodes; all else resampled. < 0: not measured */
};

struct rows {
    struct row *row;
    size_t n, capacity;
};

/* Adds an empty row and returns it. */
struct row *rows_add(struct rows *rows);
/* Writes the file as a whole or not at all. */
void rows_write(const struct rows *rows, const char *path);
/* Adds the rows of a file; 0 where it is not there or is not such a table. */
int rows_read(struct rows *rows, const char *path);
void rows_free(struct rows *rows);

#endif
