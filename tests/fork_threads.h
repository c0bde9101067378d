/* Whether the child of a process with threads may start threads of its own. ThreadSanitizer knows none after
 * a fork, and the user mode of QEMU dies of them (tests/aarch64/steps.sh says SN_TEST_EMULATED=1). */
#ifndef SN_TESTS_FORK_THREADS_H
#define SN_TESTS_FORK_THREADS_H

#include <stdlib.h>

static inline int child_may_have_threads(void)
{
#if defined(__SANITIZE_THREAD__)
    return 0;
#else
    return getenv("SN_TEST_EMULATED") == NULL;
#endif
}

#endif
