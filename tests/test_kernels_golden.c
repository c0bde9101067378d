/* The golden numbers of single operations on every kernel table, each line of golden_ops.c a check. */
#include <check.h>
#include <stdlib.h>

#include "golden.h"
#include "kernel_tables.h"
#include "shared.h"

START_TEST(golden_operations)
{
    const struct kernel_table *kernels = kernel_table_number((size_t)_i);
    const char *directory = kernels ? shared_path("goldens/o01_ops") : NULL;
    char *lines = NULL;
    size_t size = 0;
    if (!directory)
        return;
    FILE *out = open_memstream(&lines, &size);
    ck_assert_ptr_nonnull(out);
    int failures = golden_check_ops_on(directory, out, kernels);
    fclose(out);
    ck_assert_msg(failures == 0, "%s:\n%s", kernels->name, lines);
    free(lines);
}
END_TEST

Suite *kernels_golden_suite(void);
Suite *kernels_golden_suite(void)
{
    Suite *suite = suite_create("kernels_golden");
    TCase *operations = tcase_create("o01_ops");
    tcase_add_loop_test(operations, golden_operations, 0, N_KERNEL_TABLES);
    suite_add_tcase(suite, operations);
    return suite;
}
