/* Runs the Check suites: all of them, or those named on the command line.
 * SN_TEST_LONG=1 adds the long cases (see tests/long.h); CK_FORK=no keeps all in one process.
 * CK_RUN_CASE=NAME runs the cases of that name only ("threads": those that use several threads).
 * Exit status: 0 all passed, 1 a failure or no test at all, 2 an unknown suite, 77 SPARSENET_ISA not on
 * this machine. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sparsenet.h"

#define SUITE(name) Suite *name##_suite(void);
#include "suites.inc"
#undef SUITE

static const struct {
    const char *name;
    Suite *(*create)(void);
} suites[] = {
#define SUITE(name) {#name, name##_suite},
#include "suites.inc"
#undef SUITE
};

#define N_SUITES (sizeof suites / sizeof *suites)

static int wanted(const char *name, int n_names, char **names)
{
    for (int i = 0; i < n_names; i++)
        if (strcmp(names[i], name) == 0)
            return 1;
    return n_names == 0;
}

static int all_known(int n_names, char **names)
{
    for (int i = 0; i < n_names; i++) {
        size_t s = 0;
        while (s < N_SUITES && strcmp(suites[s].name, names[i]) != 0)
            s++;
        if (s == N_SUITES) {
            fprintf(stderr, "check_all: no suite %s; there are:", names[i]);
            for (s = 0; s < N_SUITES; s++)
                fprintf(stderr, " %s", suites[s].name);
            fprintf(stderr, "\n");
            return 0;
        }
    }
    return 1;
}

static int isa_available(void)
{
    sn_context *context = NULL;
    int status = sn_context_create(&context, NULL);
    if (status == SN_OK)
        printf("kernels: %s\n", sn_context_isa(context));
    sn_context_free(context);
    return status != SN_ERROR_UNSUPPORTED;
}

int main(int argc, char **argv)
{
    if (!all_known(argc - 1, argv + 1))
        return 2;
    if (!isa_available())
        return 77;
    setenv("CK_DEFAULT_TIMEOUT", "60", 0);
    SRunner *runner = srunner_create(NULL);
    for (size_t i = 0; i < N_SUITES; i++)
        if (wanted(suites[i].name, argc - 1, argv + 1))
            srunner_add_suite(runner, suites[i].create());
    fflush(stdout);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner), run = srunner_ntests_run(runner);
    srunner_free(runner);
    if (run == 0)
        fprintf(stderr, "check_all: no test was run\n");
    return failed != 0 || run == 0;
}
