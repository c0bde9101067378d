/* The kernel tables that tests run: those of this machine, and "wide". */
#ifndef SN_TESTS_KERNEL_TABLES_H
#define SN_TESTS_KERNEL_TABLES_H

#include "kernels/kernels.h"

/* The bodies with the 16 lanes of AVX-512, built for the base machine (kernels_wide.c). */
extern const struct kernel_table kernel_table_wide;

#define N_KERNEL_TABLES 4

/* NULL where this machine lacks the instruction set. */
static inline const struct kernel_table *kernel_table_number(size_t i)
{
    static const char *const names[] = {"portable", "avx2", "avx512"};
    return i < sizeof names / sizeof *names ? kernels_by_name(names[i]) : &kernel_table_wide;
}

#endif
