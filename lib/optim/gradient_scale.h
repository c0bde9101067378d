/* One global scalar by which every gradient is multiplied before AdamW (method 3: clipping to an RMS
 * of 1, or the authors' script's division by the RMS at every step). */
#ifndef SN_OPTIM_GRADIENT_SCALE_H
#define SN_OPTIM_GRADIENT_SCALE_H

#include "optim/adamw.h"

enum rms_mode { RMS_NORMALIZE, RMS_CLIP };

/* rms = sqrt(sum of squares over all arrays / n_elements); n_elements may exceed the arrays' entries
 * (support gradients are averaged over the whole matrix). The sum runs in double over fixed blocks.
 * Errors: SN_ERROR_NUMERIC when it is not finite, SN_ERROR_MEMORY. */
int gradient_rms(double *rms, struct sn_context *context, const struct optim_array *arrays,
                 size_t n_arrays, size_t n_elements);
/* RMS_NORMALIZE: 1 / (rms + 1e-5), always. RMS_CLIP: limit / rms where rms > limit, else 1. */
double gradient_scale(enum rms_mode mode, double rms, double limit);

#endif
