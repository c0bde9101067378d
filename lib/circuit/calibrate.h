/* Calibration of logits: one scale, bounded, and one shift on the difference of the two target logits.
 * Prompts alternate: even ones are prompt A (class +1), odd ones prompt B (class -1). */
#ifndef SN_CIRCUIT_CALIBRATE_H
#define SN_CIRCUIT_CALIBRATE_H

#include <stddef.h>

#define CALIBRATION_MAX_SCALE 4.0 /* unbounded, a separable margin alone gives loss 0 */

struct calibration {
    double scale, shift;
};

/* Mean over prompts of log(1 + exp(-class (scale difference + shift))), nats. */
double calibrated_loss(const double *difference, size_t n_prompts, struct calibration calibration);
/* Share of prompts on the right side; a tie counts half. */
double calibrated_accuracy(const double *difference, size_t n_prompts, struct calibration calibration);
/* The exact minimum of calibrated_loss over scale in [0, CALIBRATION_MAX_SCALE] and any shift. */
struct calibration calibrate(const double *difference, size_t n_prompts);

#endif
