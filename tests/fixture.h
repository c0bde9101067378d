/* What most suites start a test with: a context on an allocator that counts, and a folder of its own. */
#ifndef SN_TESTS_FIXTURE_H
#define SN_TESTS_FIXTURE_H

#include <check.h>
#include <string.h>

#include "oom.h"
#include "temporary.h"

static struct oom oom;
static sn_context *context;
static struct temporary temporary;

static inline void fixture_setup(void)
{
    memset(&oom, 0, sizeof oom);
    sn_allocator allocator = oom_allocator(&oom);
    ck_assert_int_eq(sn_context_create(&context, &allocator), SN_OK);
    temporary_create(&temporary);
}

/* Nothing may be left of what the test made in the context. */
static inline void fixture_teardown(void)
{
    temporary_remove(&temporary);
    sn_context_free(context);
    ck_assert_uint_eq(oom.live_blocks, 0);
    ck_assert_uint_eq(oom.live_bytes, 0);
    ck_assert_uint_eq(oom.n_wrong, 0);
}

static inline void assert_message(const char *part)
{
    ck_assert_msg(strstr(sn_context_message(context), part) != NULL, "\"%s\" lacks \"%s\"",
                  sn_context_message(context), part);
}

#endif
