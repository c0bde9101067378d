/* Check, without the macro `fail` of its old interface: lib/base/context.h has a function of that name. */
#ifndef SN_TESTS_CHECK_H
#define SN_TESTS_CHECK_H

#include_next <check.h>

#undef fail

#endif
