/* Comparing with the golden folders: each kind prints the worst error of every tensor and returns the
 * number of failures. Folders and formulas: the README beside the goldens. */
#ifndef SN_TESTS_GOLDEN_H
#define SN_TESTS_GOLDEN_H

#include <stddef.h>
#include <stdio.h>

#include "format/json.h"
#include "format/safetensors.h"
#include "sparsenet.h"

int golden_check_forward(const char *directory, FILE *out);
int golden_check_train(const char *directory, FILE *out);
int golden_check_prune(const char *directory, FILE *out);
int golden_check_ops(const char *directory, FILE *out);

/* Prints one line; 1 when any |got - expected| > limit or is not a number, else 0. */
int golden_compare(FILE *out, const char *name, const float *got, const float *expected, size_t n,
                   double limit);
double golden_max_abs(const float *values, size_t n);
/* malloc'ed; NULL when absent or unreadable. *n = elements. */
float *golden_tensor(struct safetensors *file, sn_context *context, const char *name, size_t *n);
/* malloc'ed raw little-endian int32 file of *n entries; NULL on failure. */
int32_t *golden_tokens(const char *directory, const char *name, size_t *n);
/* meta.json of the folder; NULL on failure. */
json_t *golden_meta(const char *directory, sn_context *context);
/* "directory/name" in a static-size buffer of the caller. */
const char *golden_path(char *path, size_t capacity, const char *directory, const char *name);

#endif
