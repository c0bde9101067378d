/* The float mode of the calling thread, as its register has it, and the bits of it that tests set:
 * HOST_FLUSHES flushes denormals to zero, as -ffast-math does to a host. Without HOST_MODE there is none to
 * look at. */
#ifndef SN_TESTS_HOST_MODE_H
#define SN_TESTS_HOST_MODE_H

#if defined(__SSE__)
#include <xmmintrin.h>
#define HOST_MODE
#define HOST_TOWARD_ZERO 0x6000u
#define HOST_FLUSHES 0x8040u /* what comes in and what comes out */
static inline unsigned host_mode(void)
{
    return _mm_getcsr() & ~0x3Fu; /* without the exceptions that there were */
}
static inline void set_host_mode(unsigned mode)
{
    _mm_setcsr(mode);
}
#elif defined(__aarch64__)
#include <stdint.h>
#define HOST_MODE
#define HOST_TOWARD_ZERO (3u << 22)
#define HOST_FLUSHES (1u << 24)
static inline unsigned host_mode(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return (unsigned)mode;
}
static inline void set_host_mode(unsigned mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode));
}
#endif

#endif
