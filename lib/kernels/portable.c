/* 16-byte vectors: SSE2 on x86-64, NEON on arm64, whatever the compiler makes of them elsewhere. */
#define VECTOR_BYTES 16
#include "kernels/vector_body.h"

const struct kernel_table kernel_table_portable = KERNEL_TABLE("portable", LANES, VECTOR_KERNEL);
