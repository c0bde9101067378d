/* Drawing the next token. */
#include "model/generator.h"

#include <math.h>
#include <string.h>

static size_t first_largest(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

/* Orders like the number it stands for; -0 and 0 are one. */
static uint32_t rank_of(float x)
{
    uint32_t bits;
    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static size_t count_from(const float *logits, size_t n, uint32_t rank)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += rank_of(logits[i]) >= rank;
    return count;
}

/* The rank of the k-th largest, 1 <= k <= n, and how many logits of that rank are among the k. */
static uint32_t kth_rank(size_t *ties, const float *logits, size_t n, size_t k)
{
    uint32_t rank = 0;
    for (int bit = 31; bit >= 0; bit--)
        if (count_from(logits, n, rank | (uint32_t)1 << bit) >= k)
            rank |= (uint32_t)1 << bit;
    *ties = k - (rank == UINT32_MAX ? 0 : count_from(logits, n, rank + 1));
    return rank;
}

size_t draw_token(struct random_state *random, double *weights, const float *logits, size_t n,
                  double temperature, size_t top_k)
{
    size_t largest = first_largest(logits, n), ties = n, last = largest;
    if (temperature == 0)
        return largest;
    uint32_t rank = top_k && top_k < n ? kth_rank(&ties, logits, n, top_k) : 0;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t own = rank_of(logits[i]);
        int kept = own > rank || (own == rank && ties > 0);
        ties -= own == rank && kept;
        weights[i] = kept ? exp(((double)logits[i] - (double)logits[largest]) / temperature) : 0;
        sum += weights[i];
    }
    double left = random_uniform(random) * sum;
    for (size_t i = 0; i < n; i++) {
        if (weights[i] <= 0)
            continue;
        last = i; /* where rounding leaves something behind the last */
        left -= weights[i];
        if (left < 0)
            break;
    }
    return last;
}
