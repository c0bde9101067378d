/* Calibration of logits: one scale, bounded, and one shift on the difference of the two target logits.
 * Prompts alternate: even ones are prompt A (class +1), odd ones prompt B (class -1). */
#ifndef SN_CIRCUIT_CALIBRATE_H
#define SN_CIRCUIT_CALIBRATE_H

#include <stddef.h>

#define CALIBRATION_MAX_SCALE 4.0 /* unbounded, a separable margin alone gives loss 0 */
/* Weight of shift^2 beside the mean loss. Pairs that the scale alone separates leave the shift free over a
 * wide range, and the optimum then balances the two most extreme prompts; this keeps it near 0. */
#define CALIBRATION_SHIFT_RIDGE 1e-2
/* Weight of (scale - 1)^2: where nothing is gained by it, logits stay as the model gave them. Otherwise a
 * few separable pairs would always take the largest scale, and one wrong fresh pair four times the loss. */
#define CALIBRATION_SCALE_RIDGE 3e-3

struct calibration {
    double scale, shift;
};

/* Mean over prompts of log(1 + exp(-class (scale difference + shift))), nats. */
double calibrated_loss(const double *difference, size_t n_prompts, struct calibration calibration);
/* Share of prompts on the right side; a tie counts half. */
double calibrated_accuracy(const double *difference, size_t n_prompts, struct calibration calibration);
/* The exact minimum of calibrated_loss plus the two ridges, over scale in [0, CALIBRATION_MAX_SCALE] and
 * any shift. */
struct calibration calibrate(const double *difference, size_t n_prompts);

#endif
