#include "circuit/order.h"

/* Restores the heap below `root` of a max-heap by (score, index). */
static void sift(size_t *items, const double *score, size_t root, size_t n)
{
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        size_t a = items[child], b = child + 1 < n ? items[child + 1] : a;
        if (score[b] > score[a] || (score[b] == score[a] && b > a))
            a = items[++child];
        size_t r = items[root];
        if (score[r] > score[a] || (score[r] == score[a] && r > a))
            return;
        items[root] = a;
        items[child] = r;
    }
}

void order_by_score(size_t *items, size_t n, const double *score)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(items, score, i, n);
    for (size_t last = n; last-- > 1;) {
        size_t top = items[0];
        items[0] = items[last];
        items[last] = top;
        sift(items, score, 0, last);
    }
}
