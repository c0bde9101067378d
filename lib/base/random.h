/* Reproducible random numbers: xoshiro256** seeded by splitmix64. The same seed gives the same
 * numbers on every machine. */
#ifndef SN_BASE_RANDOM_H
#define SN_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random_state {
    uint64_t word[4];
};

/* `stream` separates independent sequences of one seed. */
void random_seed(struct random_state *state, uint64_t seed, uint64_t stream);
uint64_t random_bits(struct random_state *state);
size_t random_below(struct random_state *state, size_t n); /* 0..n-1, n > 0, unbiased */
double random_uniform(struct random_state *state);         /* [0, 1) */
double random_normal(struct random_state *state);          /* mean 0, variance 1 */
void random_shuffle(struct random_state *state, size_t *items, size_t n);

#endif
