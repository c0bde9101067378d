/* What the machine can do: fused multiply-adds, reading and writing memory, and what the input and
 * output of a product alone would take. */
#include <stdlib.h>
#include <string.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "bench.h"

/* -------------------------------------------------------------------------- peak */

#define PEAK_LOOPS 1000000

typedef float vec4 __attribute__((vector_size(16)));
typedef float vec8 __attribute__((vector_size(32)));
typedef float vec16 __attribute__((vector_size(64)));

static volatile float float_sink;

/* Twelve independent chains, in registers, hide the latency on every machine we know. */
#define STEP(i) s##i = s##i * factor + step;
#define PEAK(name, vector, attribute)                                                                   \
    attribute static void name(void *state)                                                             \
    {                                                                                                   \
        vector factor = (vector){0} + 0.999f, step = (vector){0} + 0.001f;                              \
        vector s0 = step, s1 = step * 2, s2 = step * 3, s3 = step * 4, s4 = step * 5, s5 = step * 6;    \
        vector s6 = -s0, s7 = -s1, s8 = -s2, s9 = -s3, s10 = -s4, s11 = -s5;                            \
        (void)state;                                                                                    \
        for (long loop = 0; loop < PEAK_LOOPS; loop++) {                                                \
            STEP(0)                                                                                     \
            STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11)   \
        }                                                                                               \
        vector sum = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11;                       \
        float_sink = sum[0];                                                                            \
    }

/* clang contracts within an expression by itself, and has no such attribute. */
#if defined(__clang__)
#define FUSED(isa) __attribute__((target(isa)))
#else
#define FUSED(isa) __attribute__((target(isa), optimize("fp-contract=fast")))
#endif

PEAK(peak_portable, vec4, )
#if defined(__x86_64__)
PEAK(peak_avx2, vec8, FUSED("avx2,fma"))
PEAK(peak_avx512, vec16, FUSED("avx512f,fma"))
#endif

static const char *open_peak(struct job *job, const struct settings *settings)
{
    const char *isa = sn_context_isa(job->context);
    (void)settings;
    job->run = peak_portable;
#if defined(__x86_64__)
    if (strcmp(isa, "avx2") == 0)
        job->run = peak_avx2;
    if (strcmp(isa, "avx512") == 0)
        job->run = peak_avx512;
#endif
    job->operations = PEAK_LOOPS * 12.0 * 2 *
                      (strcmp(isa, "avx512") == 0 ? 16
                       : strcmp(isa, "avx2") == 0 ? 8
                                                  : 4);
    return NULL;
}

/* ------------------------------------------------------------------------ memory */

typedef int32_t words16 __attribute__((vector_size(64), aligned(4), may_alias));

static volatile int32_t word_sink;

#define READ_STREAMS ((size_t)4)
#define READ_PAGE ((size_t)4096)

/* Loads and nothing else: an OR keeps them. */
#define READ_BODY                                                                                       \
    words16 a = {0}, b = {0}, c = {0}, d = {0};                                                         \
    const words16 *line = (const words16 *)at, *end = line + bytes / 64;                                \
    for (; line + 8 <= end; line += 8) {                                                                \
        a |= line[0] | line[4];                                                                         \
        b |= line[1] | line[5];                                                                         \
        c |= line[2] | line[6];                                                                         \
        d |= line[3] | line[7];                                                                         \
    }                                                                                                   \
    for (; line < end; line++)                                                                          \
        a |= *line;                                                                                     \
    a |= b | c | d;                                                                                     \
    return a[0] | a[5];

static int32_t read_portable(const char *at, size_t bytes)
{
    READ_BODY
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static int32_t read_avx2(const char *at, size_t bytes)
{
    READ_BODY
}

__attribute__((target("avx512f"))) static int32_t read_avx512(const char *at, size_t bytes)
{
    READ_BODY
}
#endif

static int32_t read_block(const char *at, size_t bytes)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return read_avx512(at, bytes);
    if (__builtin_cpu_supports("avx2"))
        return read_avx2(at, bytes);
#endif
    return read_portable(at, bytes);
}

/* Several streams at a time, as hardware likes it. */
void read_memory(const void *from, size_t bytes)
{
    size_t part = bytes / READ_STREAMS / 64 * 64;
    int32_t all = 0;
    for (size_t at = 0; at < part; at += READ_PAGE)
        for (size_t i = 0; i < READ_STREAMS; i++)
            all |= read_block((const char *)from + i * part + at,
                              part - at < READ_PAGE ? part - at : READ_PAGE);
    word_sink = all | read_block((const char *)from + READ_STREAMS * part, bytes - READ_STREAMS * part);
}

struct stream {
    float *from, *to;
    size_t from_bytes, to_bytes, parts, passes;
    int streaming;
};

static void run_read(void *state)
{
    const struct stream *s = state;
    for (size_t i = 0; i < s->passes; i++)
        read_memory(s->from, s->from_bytes);
}

/* Whole lines written past the cache, where the machine can. */
static void write_block(float *to, size_t bytes, int streaming)
{
#if defined(__SSE__)
    if (streaming) {
        for (size_t i = 0; i < bytes / 4; i += 4)
            _mm_stream_ps(to + i, _mm_set1_ps(1));
        _mm_sfence();
        return;
    }
#endif
    (void)streaming;
    memset(to, 1, bytes);
}

/* Part by part, as a product goes from panel to panel. */
static void run_floor(void *state)
{
    const struct stream *s = state;
    size_t from = s->from_bytes / s->parts, to = s->to_bytes / s->parts;
    for (size_t i = 0; i < s->parts; i++) {
        read_memory(s->from + i * from / 4, from);
        if (to)
            write_block(s->to + i * to / 4, to, s->streaming);
    }
}

static void close_stream(void *state)
{
    struct stream *s = state;
    free(s->from);
    free(s->to);
    free(s);
}

static struct stream *stream_create(size_t from_bytes, size_t to_bytes)
{
    struct stream *s = must_allocate(sizeof *s);
    *s = (struct stream){.from = random_floats(from_bytes / 4, 1),
                         .to = random_floats(to_bytes / 4, 2),
                         .from_bytes = from_bytes,
                         .to_bytes = to_bytes,
                         .parts = 1};
    return s;
}

static const char *open_read(struct job *job, const struct settings *settings)
{
    struct stream *s = stream_create(setting_size(settings, "bytes", 1 << 20), 0);
    s->passes = ((size_t)1 << 23) / s->from_bytes + 1;
    job->bytes = (double)(s->from_bytes * s->passes);
    job->state = s;
    job->run = run_read;
    job->close = close_stream;
    return NULL;
}

static const char *open_floor(struct job *job, const struct settings *settings)
{
    size_t tokens = setting_size(settings, "tokens", 4096);
    size_t from = 4 * tokens * setting_size(settings, "reads", 1024);
    size_t to = 4 * tokens * setting_size(settings, "writes", 4096);
    struct stream *s = stream_create(from, to);
    s->parts = tokens / PANEL;
    s->streaming = setting_size(settings, "streaming", 0) != 0;
    job->bytes = (double)(from + to);
    job->state = s;
    job->run = run_floor;
    job->close = close_stream;
    return NULL;
}

const struct job_kind limit_jobs[] = {
    {"peak", "fused multiply-adds in registers", open_peak},
    {"read", "bytes", open_read},
    {"floor", "tokens reads writes (channels) streaming: reads the input, writes the output",
     open_floor},
    {NULL, NULL, NULL}};
