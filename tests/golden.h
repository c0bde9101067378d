/* Comparing with the golden folders: each kind prints the worst error of every tensor and returns the
 * number of failures. Folders and formulas: the README beside the goldens. */
#ifndef SN_TESTS_GOLDEN_H
#define SN_TESTS_GOLDEN_H

#include "golden_file.h"
#include "kernels/kernels.h"
#include "sparsenet.h"

int golden_check_forward(const char *directory, FILE *out);
int golden_check_train(const char *directory, FILE *out);
int golden_check_prune(const char *directory, FILE *out);
int golden_check_ops(const char *directory, FILE *out);
/* Which weights the cases load: 0 as sn_model_load chooses (safetensors first), 1 their final_model.pt. */
void golden_use_torch(int use);
/* The model of a case, from the weights that golden_use_torch says. */
int golden_load(sn_model **out, sn_context *context, const char *directory);
/* With these kernels, whatever the machine's best or SPARSENET_ISA are. */
int golden_check_ops_on(const char *directory, FILE *out, const struct kernel_table *kernels);

/* Prints one line; 1 when any |got - expected| > limit or is not a number, else 0. */
int golden_compare(FILE *out, const char *name, const float *got, const float *expected, size_t n,
                   double limit);
/* The same for rows x width values, each row with the limit relative * its max |expected| + 1e-30. */
int golden_compare_rows(FILE *out, const char *name, const float *got, const float *expected,
                        size_t rows, size_t width, double relative);
double golden_max_abs(const float *values, size_t n);
/* malloc'ed raw little-endian int32 file of *n entries; NULL on failure. */
int32_t *golden_tokens(const char *directory, const char *name, size_t *n);
/* meta.json of the folder; NULL on failure. */
json_t *golden_meta(const char *directory);
/* directory/name opened; NULL where it is missing or malformed. */
struct golden_file *golden_open_in(const char *directory, const char *name);
/* "directory/name" in the caller's buffer. */
const char *golden_path(char *path, size_t capacity, const char *directory, const char *name);

#endif
