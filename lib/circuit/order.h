/* Sorting of indices by score. */
#ifndef SN_CIRCUIT_ORDER_H
#define SN_CIRCUIT_ORDER_H

#include <stddef.h>

/* items[0..n) ascending by score[item]; ties go to the lower index. In place, no memory of its own. */
void order_by_score(size_t *items, size_t n, const double *score);

#endif
