/* The JSON of a circuit, piece by piece. */
#ifndef SN_REPORT_CIRCUIT_JSON_H
#define SN_REPORT_CIRCUIT_JSON_H

#include "base/context.h"

/* Takes the next bytes; what it returns but SN_OK ends the writing. */
typedef int (*circuit_json_piece)(const char *bytes, size_t size, void *payload);

/* indented: a line for each value, as in files; else without spaces. */
int circuit_json_write(sn_context *context, const sn_circuit *circuit, int indented,
                       circuit_json_piece write, void *payload);

#endif
