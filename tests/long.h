/* Long cases run in `make check-full` only. */
#ifndef SN_TESTS_LONG_H
#define SN_TESTS_LONG_H

#include <stdlib.h>

/* Add a long case with `if (long_tests()) tcase_add_test(...)`. */
static inline int long_tests(void)
{
    const char *value = getenv("SN_TEST_LONG");
    return value && value[0] == '1';
}

#endif
