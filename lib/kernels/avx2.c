/* Compiled for AVX2 and FMA; run only where dispatch.c has found both. */
typedef int avx2_exists_on_x86_only;

#if defined(__x86_64__) || defined(__i386__)
#define VECTOR_BYTES 32
#include "kernels/vector_body.h"

const struct kernel_table kernel_table_avx2 = KERNEL_TABLE("avx2", LANES, VECTOR_KERNEL);
#endif
