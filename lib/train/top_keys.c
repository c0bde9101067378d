#include "train/trainer.h"

static void swap_keys(uint64_t *a, uint64_t *b)
{
    uint64_t t = *a;
    *a = *b;
    *b = t;
}

static uint64_t median(uint64_t a, uint64_t b, uint64_t c)
{
    if (a > b)
        swap_keys(&a, &b);
    return c < a ? a : c > b ? b : c;
}

/* Quickselect (Hoare's FIND); the answer as a set is unique because the keys are. */
void top_keys(uint64_t *keys, size_t n, size_t k)
{
    if (k == 0 || k >= n)
        return;
    ptrdiff_t low = 0, high = (ptrdiff_t)n - 1, target = (ptrdiff_t)k - 1;
    while (low < high) {
        uint64_t pivot = median(keys[low], keys[low + (high - low) / 2], keys[high]);
        ptrdiff_t i = low, j = high;
        while (i <= j) {
            while (keys[i] > pivot)
                i++;
            while (keys[j] < pivot)
                j--;
            if (i <= j)
                swap_keys(&keys[i++], &keys[j--]);
        }
        if (target > j && target < i)
            return;
        if (target <= j)
            high = j;
        else
            low = i;
    }
}

static void sift_down(uint64_t *keys, size_t root, size_t n)
{
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && keys[child + 1] > keys[child])
            child++;
        if (keys[root] >= keys[child])
            return;
        swap_keys(&keys[root], &keys[child]);
    }
}

/* Heapsort: in place, no worst case, no allocation (qsort may allocate). */
void sort_keys(uint64_t *keys, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(keys, i, n);
    for (size_t i = n; i-- > 1;) {
        swap_keys(&keys[0], &keys[i]);
        sift_down(keys, 0, i);
    }
}
