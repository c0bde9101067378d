#include "base/random.h"

#include <math.h>

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void random_seed(struct random_state *state, uint64_t seed, uint64_t stream)
{
    uint64_t x = seed;
    uint64_t mixed = splitmix(&x) ^ (stream * 0xD1342543DE82EF95u);
    for (int i = 0; i < 4; i++)
        state->word[i] = splitmix(&mixed);
}

uint64_t random_bits(struct random_state *state)
{
    uint64_t *s = state->word;
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

size_t random_below(struct random_state *state, size_t n)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, x;
    do
        x = random_bits(state);
    while (x >= limit);
    return (size_t)(x % n);
}

double random_uniform(struct random_state *state)
{
    return (double)(random_bits(state) >> 11) * 0x1p-53;
}

/* The C library's logarithm differs in the last bit from machine to machine. For x > 0, normal:
 * x = m 2^e with m in [1/sqrt 2, sqrt 2), ln m = 2 atanh z, z = (m - 1) / (m + 1), |z| < 0.172. */
static double logarithm(double x)
{
    int exponent;
    double m = frexp(x, &exponent);
    if (m < 0x1.6a09e667f3bcdp-1) {
        m *= 2;
        exponent--;
    }
    double z = (m - 1) / (m + 1), series = 0;
    for (int k = 23; k >= 1; k -= 2)
        series = series * z * z + 1.0 / k;
    return 2 * z * series + exponent * 0x1.62e42fefa39efp-1;
}

/* Marsaglia's polar method: nothing but exactly rounded operations. */
double random_normal(struct random_state *state)
{
    double u, v, s;
    do {
        u = 2 * random_uniform(state) - 1;
        v = 2 * random_uniform(state) - 1;
        s = u * u + v * v;
    } while (s >= 1 || s == 0);
    return u * sqrt(-2 * logarithm(s) / s);
}

void random_shuffle(struct random_state *state, size_t *items, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = random_below(state, i), swap = items[i - 1];
        items[i - 1] = items[j];
        items[j] = swap;
    }
}
