/* Compiled for AVX-512 F, BW, VL, DQ; run only where dispatch.c has found all of them. */
typedef int avx512_exists_on_x86_only;

#if defined(__x86_64__) || defined(__i386__)
#define VECTOR_BYTES 64
#include "kernels/vector_body.h"

const struct kernel_table kernel_table_avx512 = KERNEL_TABLE("avx512", LANES, VECTOR_KERNEL);
#endif
