/* What avx512.c is made of, for any machine: the compiler splits each vector of 64 bytes into what the
 * base machine has. So every shuffle, stride and count of 16 lanes runs where AVX-512 does not; only
 * the branches under __AVX512F__ and __AVX512DQ__ do not (docs/testing.md). */
#include "kernel_tables.h"

#define VECTOR_BYTES 64
#include "kernels/vector_body.h"

const struct kernel_table kernel_table_wide = KERNEL_TABLE("wide", LANES, VECTOR_KERNEL);
