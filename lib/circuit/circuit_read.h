/* The state of sn_circuit_load while it reads. */
#ifndef SN_CIRCUIT_CIRCUIT_READ_H
#define SN_CIRCUIT_CIRCUIT_READ_H

#include "circuit/circuit.h"
#include "format/json.h"

struct reader {
    struct sn_context *context;
    sn_circuit *circuit;
    const char *path;
    const json_t *root;
    unsigned char *kept, *kept_edges;
    size_t n_nodes, n_edges; /* bytes of them */
};

/* SN_ERROR_FORMAT with file, place, reason and (value not NULL) the value. */
int reader_malformed(const struct reader *reader, const char *place, const char *what,
                     const char *value);

/* circuit_read_kept.c: what is kept with the circuit, each if it is there. */
int reader_take_measurements(struct reader *reader);
int reader_take_paths(struct reader *reader);
int reader_take_series(const struct reader *reader);

#endif
