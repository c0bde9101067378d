/* Flush-to-zero around a chunk of work: denormals cost up to 80x. The host's mode is restored. */
#ifndef SN_BASE_FLOAT_MODE_H
#define SN_BASE_FLOAT_MODE_H

#if defined(__SSE__)
#include <xmmintrin.h>
typedef unsigned int float_mode;
/* FTZ, DAZ, all exceptions masked, round to nearest: the host's rounding does not reach results. */
static inline float_mode float_mode_flush(void)
{
    float_mode saved = _mm_getcsr();
    _mm_setcsr(0x9FC0u);
    return saved;
}
static inline void float_mode_restore(float_mode saved)
{
    _mm_setcsr(saved);
}
#elif defined(__aarch64__)
#include <stdint.h>
typedef uint64_t float_mode;
static inline float_mode float_mode_flush(void)
{
    float_mode saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    __asm__ volatile("msr fpcr, %0" : : "r"((float_mode)1 << 24));
    return saved;
}
static inline void float_mode_restore(float_mode saved)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(saved));
}
#else
typedef int float_mode;
static inline float_mode float_mode_flush(void)
{
    return 0;
}
static inline void float_mode_restore(float_mode saved)
{
    (void)saved;
}
#endif

#endif
