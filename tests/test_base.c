/* lib/base without threads and files: memory, context, buffer, random numbers, options, checksum. */
#include <check.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/checksum.h"
#include "base/context.h"
#include "base/memory.h"
#include "base/options.h"
#include "base/random.h"
#include "oom.h"

static struct oom oom;
static sn_allocator allocator;
static struct memory *memory;
static sn_context *context;

static void setup(void)
{
    memset(&oom, 0, sizeof oom);
    allocator = oom_allocator(&oom);
    memory = memory_create(&allocator);
    ck_assert_ptr_nonnull(memory);
    ck_assert_int_eq(sn_context_create(&context, &allocator), SN_OK);
}

static void teardown(void)
{
    sn_context_free(context);
    memory_release(memory);
    ck_assert_uint_eq(oom.live_blocks, 0);
    ck_assert_uint_eq(oom.live_bytes, 0);
    ck_assert_uint_eq(oom.n_wrong, 0);
}

/* ------------------------------------------------------------------- memory */

static size_t in_use(void)
{
    size_t current;
    memory_usage(memory, &current, NULL);
    return current;
}

static void fill(unsigned char *block, size_t size, size_t factor)
{
    for (size_t i = 0; i < size; i++)
        block[i] = (unsigned char)(i * factor + 1);
}

static size_t n_wrong(const unsigned char *block, size_t size, size_t factor)
{
    size_t wrong = 0;
    for (size_t i = 0; i < size; i++)
        wrong += block[i] != (unsigned char)(i * factor + 1);
    return wrong;
}

START_TEST(memory_is_aligned_and_counted)
{
    size_t before = in_use(), peak;
    void *blocks[100];
    for (size_t i = 0; i < 100; i++) {
        blocks[i] = memory_allocate(memory, i * 7);
        ck_assert_ptr_nonnull(blocks[i]);
        ck_assert_uint_eq((uintptr_t)blocks[i] % 64, 0);
        memset(blocks[i], 0xA5, i * 7);
    }
    size_t full = in_use();
    ck_assert_uint_ge(full - before, 7 * 99 * 100 / 2);
    for (size_t i = 0; i < 100; i++)
        memory_free(memory, blocks[i], i * 7);
    ck_assert_uint_eq(in_use(), before);
    memory_usage(memory, NULL, &peak);
    ck_assert_uint_eq(peak, full);
    memory_free(memory, NULL, 12345);
    ck_assert_uint_eq(in_use(), before);
}
END_TEST

START_TEST(memory_accounts_what_the_host_gave)
{
    size_t others = oom.live_bytes - in_use();
    void *block = memory_allocate_zeroed_array(memory, 10, 100);
    ck_assert_uint_eq(oom.live_bytes - others, in_use());
    static const char zeros[1000];
    ck_assert_int_eq(memcmp(block, zeros, sizeof zeros), 0);
    block = memory_resize(memory, block, 1000, 5000);
    ck_assert_uint_eq(oom.live_bytes - others, in_use());
    memory_free(memory, block, 5000);
    ck_assert_uint_eq(oom.live_bytes - others, in_use());
}
END_TEST

START_TEST(memory_refuses_products_that_wrap)
{
    size_t product, before = oom.n_allocations, half = SIZE_MAX / 2 + 1;
    ck_assert_int_eq(size_product(&product, 3, 5), 1);
    ck_assert_uint_eq(product, 15);
    ck_assert_int_eq(size_product(&product, half, 2), 0);
    ck_assert_ptr_null(memory_allocate_array(memory, half, 2));
    ck_assert_ptr_null(memory_allocate_zeroed_array(memory, SIZE_MAX / 4 + 2, 4));
    ck_assert_ptr_null(memory_allocate(memory, SIZE_MAX));
    ck_assert_ptr_null(memory_allocate(memory, SIZE_MAX - 63));
    ck_assert_ptr_null(memory_copy_text(memory, "", SIZE_MAX));
    ck_assert_uint_eq(oom.n_allocations, before);
    void *block = memory_allocate(memory, 8);
    ck_assert_ptr_null(memory_resize(memory, block, 8, SIZE_MAX - 8));
    memory_free(memory, block, 8);
}
END_TEST

START_TEST(memory_resize_keeps_content)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, 100000, 7, 300000, 0};
    size_t size = 0;
    unsigned char *block = NULL;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        block = memory_resize(memory, block, size, sizes[i]);
        ck_assert_ptr_nonnull(block);
        ck_assert_uint_eq((uintptr_t)block % 64, 0);
        ck_assert_uint_eq(n_wrong(block, size < sizes[i] ? size : sizes[i], 31), 0);
        size = sizes[i];
        fill(block, size, 31);
    }
    memory_free(memory, block, size);
}
END_TEST

START_TEST(memory_failure_leaves_the_old_block)
{
    char *block = memory_copy_text(memory, "content", 7);
    size_t before = in_use();
    atomic_store(&oom.n_allocations, 0);
    atomic_store(&oom.fail_at, 1);
    ck_assert_ptr_null(memory_resize(memory, block, 8, 1000000));
    ck_assert_ptr_null(memory_allocate(memory, 1));
    ck_assert_ptr_null(memory_create(&allocator));
    ck_assert_ptr_null(memory_allocate_zeroed(memory, 1));
    ck_assert_ptr_null(memory_copy_text(memory, "x", 1));
    atomic_store(&oom.fail_at, 0);
    ck_assert_str_eq(block, "content");
    ck_assert_uint_eq(in_use(), before);
    memory_free(memory, block, 8);
}
END_TEST

/* With malloc and realloc themselves, whose blocks move by other distances from alignment. */
START_TEST(memory_of_the_host)
{
    struct memory *plain = memory_create(NULL);
    unsigned char *block = NULL;
    size_t size = 0;
    for (size_t next = 1; next < 3000000; next = next * 5 / 3 + 1) {
        void *between = malloc(next / 2 + 1);
        block = memory_resize(plain, block, size, next);
        ck_assert_ptr_nonnull(block);
        ck_assert_uint_eq((uintptr_t)block % 64, 0);
        ck_assert_uint_eq(n_wrong(block, size, size), 0);
        size = next;
        fill(block, size, size);
        free(between);
    }
    memory_free(plain, block, size);
    memory_release(plain);
}
END_TEST

START_TEST(memory_lives_until_its_last_holder)
{
    struct memory *mine = memory_create(&allocator);
    memory_retain(mine);
    memory_release(mine);
    void *block = memory_allocate(mine, 10);
    memory_free(mine, block, 10);
    memory_release(mine);
    memory_release(NULL);
}
END_TEST

/* ------------------------------------------------------------------ context */

static int create_and_free(sn_context *unused, void *payload)
{
    (void)unused;
    (void)payload;
    return SN_OK;
}

START_TEST(context_creation_fails_cleanly)
{
    size_t n = 1;
    for (;; n++) {
        struct oom own = {0};
        sn_allocator failing = oom_allocator(&own);
        sn_context *made = (sn_context *)&own;
        atomic_store(&own.fail_at, n);
        int status = sn_context_create(&made, &failing);
        if (status == SN_OK) {
            sn_context_free(made);
            ck_assert_uint_eq(own.live_blocks, 0);
            break;
        }
        ck_assert_int_eq(status, SN_ERROR_MEMORY);
        ck_assert_ptr_null(made);
        ck_assert_uint_eq(own.live_blocks, 0);
    }
    ck_assert_uint_gt(n, 1);
    ck_assert_uint_eq(oom_loop(create_and_free, NULL, 1, 0), 0);
}
END_TEST

START_TEST(context_accepts_null)
{
    size_t current = 1, peak = 1;
    sn_context_free(NULL);
    ck_assert_str_eq(sn_context_message(NULL), "");
    sn_context_set_progress(NULL, NULL, NULL);
    sn_context_memory(&current, &peak, NULL);
    ck_assert_uint_eq(current + peak, 0);
    sn_context_memory(NULL, NULL, context);
    ck_assert_int_eq(sn_context_create(NULL, NULL), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_context_set_threads(NULL, 1), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_context_set_parallel_for(NULL, NULL, NULL, 1), SN_ERROR_ARGUMENT);
}
END_TEST

START_TEST(context_needs_a_whole_allocator)
{
    struct oom own = {0};
    for (int missing = 0; missing < 3; missing++) {
        sn_allocator partial = oom_allocator(&own);
        sn_context *made = (sn_context *)&own;
        if (missing == 0)
            partial.allocate = NULL;
        else if (missing == 1)
            partial.reallocate = NULL;
        else
            partial.release = NULL;
        ck_assert_int_eq(sn_context_create(&made, &partial), SN_ERROR_ARGUMENT);
        ck_assert_ptr_null(made);
    }
}
END_TEST

START_TEST(places_of_objects_are_emptied)
{
    void *place = context;
    ck_assert_int_eq(no_place(&place, NULL, "sn_x_create"), 1);
    ck_assert_ptr_null(place);
    ck_assert_int_eq(no_place(NULL, context, "sn_x_create"), 1);
    ck_assert_str_eq(sn_context_message(context), "sn_x_create: out is NULL");
    place = context;
    ck_assert_int_eq(no_place(&place, context, "sn_x_create"), 0);
    ck_assert_ptr_null(place);
}
END_TEST

START_TEST(context_counts_its_memory)
{
    size_t current, peak;
    sn_context_memory(&current, &peak, context);
    ck_assert_uint_ge(current, sizeof *context);
    ck_assert_uint_ge(peak, current);
    void *block = memory_allocate(context->memory, 100000);
    size_t more;
    sn_context_memory(&more, &peak, context);
    ck_assert_uint_ge(more, current + 100000);
    ck_assert_uint_eq(peak, more);
    memory_free(context->memory, block, 100000);
}
END_TEST

START_TEST(context_keeps_the_message)
{
    ck_assert_str_eq(sn_context_message(context), "");
    ck_assert_int_eq(fail(context, SN_ERROR_FORMAT, "%s: %zu", "field", (size_t)7), SN_ERROR_FORMAT);
    ck_assert_str_eq(sn_context_message(context), "field: 7");
    fail(context, SN_ERROR_FORMAT, "file: %s", sn_context_message(context));
    ck_assert_str_eq(sn_context_message(context), "file: field: 7");
    ck_assert_int_eq(fail_memory(context, "a thing", 12), SN_ERROR_MEMORY);
    ck_assert_str_eq(sn_context_message(context), "out of memory: 12 bytes for a thing");
    fail_memory(context, "a thing", 0);
    ck_assert_str_eq(sn_context_message(context), "out of memory: a thing");
}
END_TEST

START_TEST(messages_are_one_line)
{
    ck_assert_int_eq(fail(context, SN_ERROR_FORMAT, "tensor %s of \xC3\xA9", "a\nb\tc\x1B[m\x7F"),
                     SN_ERROR_FORMAT);
    ck_assert_str_eq(sn_context_message(context), "tensor a?b?c?[m? of \xC3\xA9");
}
END_TEST

START_TEST(context_cuts_long_messages)
{
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    fail(context, SN_ERROR_IO, "%s", text);
    size_t length = strlen(sn_context_message(context));
    ck_assert_uint_gt(length, 500);
    ck_assert_uint_lt(length, sizeof context->message);
}
END_TEST

static int stop_at_three(const char *stage, size_t done, size_t total, double value, void *payload)
{
    ck_assert_str_eq(stage, "stage");
    ck_assert_uint_eq(total, 9);
    ck_assert(value == 1.5);
    ++*(int *)payload;
    return done == 3;
}

START_TEST(progress_cancels)
{
    int calls = 0;
    ck_assert_int_eq(progress(context, "stage", 3, 9, 1.5), SN_OK);
    sn_context_set_progress(context, stop_at_three, &calls);
    ck_assert_int_eq(progress(context, "stage", 2, 9, 1.5), SN_OK);
    ck_assert_int_eq(progress(context, "stage", 3, 9, 1.5), SN_ERROR_CANCELLED);
    ck_assert_str_eq(sn_context_message(context), "stage cancelled at 3 of 9");
    sn_context_set_progress(context, NULL, NULL);
    ck_assert_int_eq(progress(context, "stage", 3, 9, 1.5), SN_OK);
    ck_assert_int_eq(calls, 2);
}
END_TEST

START_TEST(copy_out_follows_the_rule)
{
    const float values[3] = {1, 2, 3};
    float out[4] = {9, 9, 9, 9};
    size_t needed = 0;
    ck_assert_int_eq(copy_out(context, "x", NULL, 0, &needed, values, 3, sizeof *values), SN_OK);
    ck_assert_uint_eq(needed, 3);
    needed = 0;
    ck_assert_int_eq(copy_out(context, "x", out, 2, &needed, values, 3, sizeof *values),
                     SN_ERROR_CAPACITY);
    ck_assert_uint_eq(needed, 3);
    ck_assert(out[0] == 9);
    ck_assert_str_eq(sn_context_message(context), "x: capacity 2, needed 3");
    ck_assert_int_eq(copy_out(context, "x", out, 4, NULL, values, 3, sizeof *values), SN_OK);
    ck_assert(out[0] == 1 && out[2] == 3 && out[3] == 9);
    ck_assert_int_eq(copy_out(context, "x", NULL, 4, &needed, values, 3, sizeof *values),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(copy_out(context, "x", NULL, 0, NULL, values, 3, sizeof *values),
                     SN_ERROR_ARGUMENT);
    ck_assert_int_eq(copy_out(context, "x", out, 0, &needed, NULL, 0, sizeof *values), SN_OK);
}
END_TEST

/* ------------------------------------------------------------------- buffer */

START_TEST(buffer_grows)
{
    struct buffer buffer;
    buffer_init(&buffer, memory);
    for (int i = 0; i < 5000; i++)
        buffer_format(&buffer, "%d,", i);
    buffer_append(&buffer, "a\0b", 3);
    buffer_append(&buffer, NULL, 0);
    ck_assert_int_eq(buffer.failed, 0);
    ck_assert_uint_eq(buffer.size, 10 * 2 + 90 * 3 + 900 * 4 + 4000 * 5 + 3);
    ck_assert_int_eq(buffer.bytes[buffer.size], '\0');
    ck_assert_int_eq(memcmp(buffer.bytes, "0,1,2,3,", 8), 0);
    ck_assert_int_eq(memcmp(buffer.bytes + buffer.size - 8, "4999,a\0b", 8), 0);
    buffer_free(&buffer);
    ck_assert_ptr_null(buffer.bytes);
}
END_TEST

START_TEST(buffer_failure_is_sticky)
{
    struct buffer buffer;
    buffer_init(&buffer, memory);
    buffer_text(&buffer, "kept");
    atomic_store(&oom.n_allocations, 0);
    atomic_store(&oom.fail_at, 1);
    char large[1000] = {0};
    buffer_append(&buffer, large, sizeof large);
    atomic_store(&oom.fail_at, 0);
    ck_assert_int_eq(buffer.failed, 1);
    buffer_text(&buffer, "more");
    buffer_format(&buffer, "%d", 1);
    ck_assert_str_eq(buffer.bytes, "kept");
    ck_assert_uint_eq(buffer.size, 4);
    buffer_free(&buffer);

    buffer_init(&buffer, memory);
    buffer_append(&buffer, large, SIZE_MAX - 1);
    ck_assert_int_eq(buffer.failed, 1);
    buffer_free(&buffer);
}
END_TEST

static void check_numbers(void)
{
    static const struct {
        double value;
        int digits;
        const char *text;
    } cases[] = {
        {0.5, 9, "0.5"},
        {-1234.25, 9, "-1234.25"},
        {1e30, 9, "1e+30"},
        {1.5e-7, 9, "1.5e-07"},
        {0.1, 17, "0.10000000000000001"},
        {3, 9, "3"},
        {-0.0, 9, "-0"},
        {INFINITY, 9, "inf"},
        {-1.7976931348623157e308, 17, "-1.7976931348623157e+308"},
        {0.1, 99, "0.10000000000000001"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer buffer;
        buffer_init(&buffer, memory);
        buffer_number(&buffer, cases[i].value, cases[i].digits);
        ck_assert_str_eq(buffer.bytes, cases[i].text);
        buffer_free(&buffer);
    }
}

START_TEST(numbers_have_a_point)
{
    check_numbers();
}
END_TEST

/* A bare machine has no locale with another decimal mark; localedef makes one here whose mark is two
 * bytes long. Its status is nonzero, since the other categories are left out. */
START_TEST(numbers_have_a_point_in_any_locale)
{
    char folder[] = "/tmp/sparsenet-locale-XXXXXX", command[512];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(
        command, sizeof command,
        "cd %s && printf 'LC_NUMERIC\ndecimal_point \"<U066B>\"\nthousands_sep \"\"\ngrouping -1\n"
        "END LC_NUMERIC\n' > source && localedef -c -i source -f UTF-8 ./xx_XX.UTF-8 >/dev/null 2>&1",
        folder);
    int made = system(command);
    setenv("LOCPATH", folder, 1);
    if (setlocale(LC_NUMERIC, "xx_XX.UTF-8")) {
        ck_assert_str_eq(localeconv()->decimal_point, "\xD9\xAB");
        check_numbers();
    } else {
        printf("numbers_have_a_point_in_any_locale: localedef made none (status %d)\n", made);
    }
    setlocale(LC_NUMERIC, "C");
    unsetenv("LOCPATH");
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* ------------------------------------------------------------ random numbers */

START_TEST(random_numbers_are_fixed)
{
    static const uint64_t expected[4] = {
        UINT64_C(0xEE127FE613436E33),
        UINT64_C(0xD6DAD8D34A1874EA),
        UINT64_C(0x2A52C16CEC1116A9),
        UINT64_C(0x9AF9091D9F77D551),
    };
    struct random_state state;
    random_seed(&state, 1, 0);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(random_bits(&state), expected[i]);
}
END_TEST

/* xoshiro256** as published: these are the first outputs from the state 1, 2, 3, 4. */
START_TEST(random_bits_are_xoshiro)
{
    static const uint64_t expected[6] = {
        UINT64_C(11520),
        UINT64_C(0),
        UINT64_C(1509978240),
        UINT64_C(1215971899390074240),
        UINT64_C(1216172134540287360),
        UINT64_C(607988272756665600),
    };
    struct random_state state = {{1, 2, 3, 4}};
    for (int i = 0; i < 6; i++)
        ck_assert_uint_eq(random_bits(&state), expected[i]);
}
END_TEST

START_TEST(random_streams_differ)
{
    struct random_state a, b, c, d;
    random_seed(&a, 5, 0);
    random_seed(&b, 5, 0);
    random_seed(&c, 5, 1);
    random_seed(&d, 6, 0);
    size_t same_stream = 0, same_seed = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t x = random_bits(&a);
        ck_assert_uint_eq(x, random_bits(&b));
        same_stream += x == random_bits(&c);
        same_seed += x == random_bits(&d);
    }
    ck_assert_uint_eq(same_stream + same_seed, 0);
}
END_TEST

START_TEST(random_below_is_even)
{
    struct random_state state;
    random_seed(&state, 2, 0);
    size_t count[7] = {0};
    for (int i = 0; i < 70000; i++)
        count[random_below(&state, 7)]++;
    double chi = 0;
    for (int i = 0; i < 7; i++)
        chi += ((double)count[i] - 10000) * ((double)count[i] - 10000) / 10000;
    ck_assert_double_lt(chi, 22.5); /* 6 degrees of freedom, p = 0.001 */
    for (int i = 0; i < 100; i++) {
        ck_assert_uint_eq(random_below(&state, 1), 0);
        ck_assert_uint_lt(random_below(&state, SIZE_MAX), SIZE_MAX);
    }
}
END_TEST

START_TEST(random_uniform_and_normal_have_their_moments)
{
    struct random_state state;
    random_seed(&state, 3, 0);
    enum { n = 200000 };
    double sum = 0, square = 0, low = 1, high = 0;
    for (int i = 0; i < n; i++) {
        double x = random_uniform(&state);
        sum += x;
        low = x < low ? x : low;
        high = x > high ? x : high;
    }
    ck_assert_double_eq_tol(sum / n, 0.5, 0.003);
    ck_assert(low >= 0 && low < 1e-4 && high < 1 && high > 0.9999);
    double fourth = 0, beyond_three = 0;
    sum = 0;
    for (int i = 0; i < n; i++) {
        double x = random_normal(&state);
        sum += x;
        square += x * x;
        fourth += x * x * x * x;
        beyond_three += fabs(x) > 3;
    }
    ck_assert_double_eq_tol(sum / n, 0, 0.01);
    ck_assert_double_eq_tol(square / n, 1, 0.02);
    ck_assert_double_eq_tol(fourth / n, 3, 0.15);
    ck_assert_double_eq_tol(beyond_three / n, 0.0027, 0.0006);
}
END_TEST

/* Bit patterns, so that another machine or compiler shows. */
START_TEST(random_normal_is_fixed)
{
    static const double expected[4] = {-0x1.a4ab5ab78fde6p-3, 0x1.2e0862485c50bp+0,
                                       -0x1.3428c8d42fe2dp+0, -0x1.3a00a32873085p-3};
    struct random_state state;
    random_seed(&state, 42, 7);
    for (int i = 0; i < 4; i++) {
        double x = random_normal(&state);
        ck_assert_msg(x == expected[i], "number %d is %a", i, x);
    }
}
END_TEST

START_TEST(shuffle_permutes)
{
    struct random_state state;
    random_seed(&state, 4, 0);
    size_t items[100], seen[100] = {0}, moved = 0, first[5] = {0};
    for (size_t i = 0; i < 100; i++)
        items[i] = i;
    random_shuffle(&state, items, 100);
    for (size_t i = 0; i < 100; i++) {
        seen[items[i]]++;
        moved += items[i] != i;
    }
    for (size_t i = 0; i < 100; i++)
        ck_assert_uint_eq(seen[i], 1);
    ck_assert_uint_gt(moved, 80);
    for (int round = 0; round < 50000; round++) {
        size_t five[5] = {0, 1, 2, 3, 4};
        random_shuffle(&state, five, 5);
        first[five[0]]++;
    }
    for (int i = 0; i < 5; i++)
        ck_assert_double_eq_tol((double)first[i], 10000, 400);
    random_shuffle(&state, items, 0);
    random_shuffle(&state, items, 1);
}
END_TEST

/* ------------------------------------------------------------------ options */

struct settings {
    double rate;
    size_t steps;
    int mode;
    const char *name;
};

static const struct option_spec specs[] = {
    {"rate", OPTION_NUMBER, offsetof(struct settings, rate), 0.5, 0, 1, NULL},
    {"steps", OPTION_INTEGER, offsetof(struct settings, steps), 10, 1, 1e18, NULL},
    {"mode", OPTION_CHOICE, offsetof(struct settings, mode), 1, 0, 0, "dense|support|none"},
    {"name", OPTION_TEXT, offsetof(struct settings, name), 0, 0, 0, NULL},
};

static int read_settings(struct settings *settings, const sn_options *options)
{
    return options_read(settings, context, "sn_call", specs, sizeof specs / sizeof *specs, options);
}

START_TEST(options_default)
{
    struct settings settings;
    ck_assert_int_eq(read_settings(&settings, NULL), SN_OK);
    ck_assert(settings.rate == 0.5 && settings.steps == 10 && settings.mode == 1 && !settings.name);
    ck_assert_int_eq(options_has(NULL, "rate"), 0);
}
END_TEST

START_TEST(options_take_values)
{
    struct settings settings;
    sn_options *options;
    char key[] = "name", value[] = "first";
    ck_assert_int_eq(sn_options_create(&options, context), SN_OK);
    ck_assert_int_eq(sn_options_set_text(options, context, key, value), SN_OK);
    key[0] = value[0] = 'X'; /* both were copied */
    ck_assert_int_eq(sn_options_set(options, context, "rate", 1), SN_OK);
    ck_assert_int_eq(sn_options_set(options, context, "rate", 0.25), SN_OK);
    ck_assert_int_eq(sn_options_set(options, context, "steps", 9007199254740992.0), SN_OK);
    ck_assert_int_eq(sn_options_set_text(options, context, "mode", "none"), SN_OK);
    ck_assert_int_eq(read_settings(&settings, options), SN_OK);
    ck_assert(settings.rate == 0.25 && settings.steps == (size_t)1 << 53 && settings.mode == 2);
    ck_assert_str_eq(settings.name, "first");
    ck_assert_int_eq(options_has(options, "rate"), 1);
    ck_assert_int_eq(options_has(options, "other"), 0);
    sn_options_free(options);
    sn_options_free(NULL);
}
END_TEST

static void expect_refusal(const char *key, const char *text, double number, const char *message)
{
    struct settings settings;
    sn_options *options;
    ck_assert_int_eq(sn_options_create(&options, context), SN_OK);
    if (text)
        ck_assert_int_eq(sn_options_set_text(options, context, key, text), SN_OK);
    else
        ck_assert_int_eq(sn_options_set(options, context, key, number), SN_OK);
    ck_assert_int_eq(read_settings(&settings, options), SN_ERROR_ARGUMENT);
    ck_assert_str_eq(sn_context_message(context), message);
    sn_options_free(options);
}

START_TEST(options_refuse)
{
    expect_refusal("ratio", NULL, 1, "sn_call: unknown option ratio");
    expect_refusal("rate", NULL, 1.25, "sn_call: option rate is 1.25; it must be 0 .. 1");
    expect_refusal("rate", NULL, -0.5, "sn_call: option rate is -0.5; it must be 0 .. 1");
    expect_refusal("rate", NULL, NAN, "sn_call: option rate is nan; it must be 0 .. 1");
    expect_refusal("steps", NULL, 2.5,
                   "sn_call: option steps is 2.5; it must be a whole number 1 .. 1e+18");
    expect_refusal("steps", NULL, 0, "sn_call: option steps is 0; it must be a whole number 1 .. 1e+18");
    expect_refusal("steps", NULL, 1e17,
                   "sn_call: option steps is 1e+17; it must be a whole number 1 .. 1e+18");
    expect_refusal("steps", NULL, INFINITY,
                   "sn_call: option steps is inf; it must be a whole number 1 .. 1e+18");
    expect_refusal("steps", "ten", 0, "sn_call: option steps must be a number");
    expect_refusal("mode", NULL, 1, "sn_call: option mode must be a text");
    expect_refusal("name", NULL, 1, "sn_call: option name must be a text");
    expect_refusal("mode", "dens", 0,
                   "sn_call: option mode is \"dens\"; it must be one of dense|support|none");
    expect_refusal("mode", "", 0, "sn_call: option mode is \"\"; it must be one of dense|support|none");
    expect_refusal("mode", "dense|support", 0,
                   "sn_call: option mode is \"dense|support\"; it must be one of dense|support|none");
}
END_TEST

START_TEST(options_refuse_null)
{
    sn_options *options = (sn_options *)&oom;
    ck_assert_int_eq(sn_options_create(NULL, context), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_options_create(&options, NULL), SN_ERROR_ARGUMENT);
    ck_assert_ptr_null(options);
    ck_assert_int_eq(sn_options_create(&options, context), SN_OK);
    ck_assert_int_eq(sn_options_set(options, NULL, "a", 1), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_options_set(options, context, NULL, 1), SN_ERROR_ARGUMENT);
    ck_assert_str_eq(sn_context_message(context), "sn_options_set: key is NULL");
    ck_assert_int_eq(sn_options_set(NULL, context, "a", 1), SN_ERROR_ARGUMENT);
    ck_assert_int_eq(sn_options_set_text(options, context, "a", NULL), SN_ERROR_ARGUMENT);
    sn_options_free(options);
}
END_TEST

static int fill_options(sn_context *own, void *payload)
{
    (void)payload;
    sn_options *options;
    int status = sn_options_create(&options, own);
    char key[8];
    for (int i = 0; status == SN_OK && i < 40; i++) {
        snprintf(key, sizeof key, "key%d", i % 30);
        status = i % 2 ? sn_options_set(options, own, key, i)
                       : sn_options_set_text(options, own, key, "value");
    }
    sn_options_free(options);
    return status;
}

START_TEST(options_survive_lack_of_memory)
{
    ck_assert_uint_gt(oom_loop(fill_options, NULL, 1, 0), 30);
}
END_TEST

/* ----------------------------------------------------------------- the rest */

START_TEST(checksum_is_crc32)
{
    ck_assert_uint_eq(checksum_update(0, "123456789", 9), 0xCBF43926);
    ck_assert_uint_eq(checksum_update(0, "", 0), 0);
    ck_assert_uint_eq(checksum_update(checksum_update(0, "1234", 4), "56789", 5), 0xCBF43926);
    static unsigned char bytes[100003];
    uint32_t crc = ~0u;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(i * i >> 3);
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    ck_assert_uint_eq(checksum_update(0, bytes, sizeof bytes), ~crc);
    uint32_t parts = checksum_update(0, bytes, 70001);
    ck_assert_uint_eq(checksum_update(parts, bytes + 70001, sizeof bytes - 70001), ~crc);
}
END_TEST

/* Every length around the blocks of both ways, at every place in 16 bytes, against one bit at a time. */
START_TEST(checksum_of_every_length)
{
    unsigned char bytes[16 + 400 + (1 << 15)];
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * i >> 3 ^ i * 7);
    for (size_t at = 0; at < 16; at++) {
        uint32_t crc = ~(uint32_t)0x1234;
        for (size_t n = 0; n <= 400; n++) {
            wrong += checksum_update(0x1234, bytes + at, n) != ~crc;
            wrong += checksum_update_portable(0x1234, bytes + at, n) != ~crc;
            crc ^= bytes[at + n];
            for (int bit = 0; bit < 8; bit++)
                crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        }
        for (size_t n = (1 << 14) - 9; n < (1 << 14) + 9; n++)
            wrong += checksum_update((uint32_t)at, bytes + at, n) !=
                     checksum_update_portable((uint32_t)at, bytes + at, n);
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

/* Zeros are passed over: every single bit of two blocks and a rest, then any share of words,
 * scattered. */
START_TEST(checksum_of_mostly_zeros)
{
    static unsigned char bytes[1216];
    struct random_state random;
    size_t wrong = 0;
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] = (unsigned char)(1u << bit % 8);
        wrong += checksum_update((uint32_t)bit, bytes, sizeof bytes) !=
                 checksum_update_portable((uint32_t)bit, bytes, sizeof bytes);
        bytes[bit / 8] = 0;
    }
    random_seed(&random, 1, 0);
    for (size_t attempt = 0; attempt < 500; attempt++) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (unsigned char)(random_uniform(&random) < (double)attempt / 500
                                           ? 255 * random_uniform(&random)
                                           : 0);
        wrong +=
            checksum_update(0x1234, bytes + attempt % 16, sizeof bytes - 16 - attempt % 70) !=
            checksum_update_portable(0x1234, bytes + attempt % 16, sizeof bytes - 16 - attempt % 70);
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(status_and_version_have_names)
{
    char version[32];
    for (int status = SN_OK; status <= SN_ERROR_TARGET; status++)
        for (int other = SN_OK; other <= SN_ERROR_TARGET; other++)
            ck_assert_int_eq(strcmp(sn_status_string(status), sn_status_string(other)) == 0,
                             status == other);
    ck_assert_str_eq(sn_status_string(SN_OK), "ok");
    ck_assert_str_eq(sn_status_string(SN_ERROR_TARGET), "target not reached");
    ck_assert_str_eq(sn_status_string(-1), "unknown status");
    ck_assert_str_eq(sn_status_string(SN_ERROR_TARGET + 1), "unknown status");
    snprintf(version, sizeof version, "%d.%d.%d", SN_VERSION_MAJOR, SN_VERSION_MINOR, SN_VERSION_PATCH);
    ck_assert_str_eq(sn_version_string(), version);
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *const *tests)
{
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (; *tests; tests++)
        tcase_add_test(tcase, *tests);
    suite_add_tcase(suite, tcase);
}

#define ADD(suite, name, ...) add(suite, name, (const TTest *const[]){__VA_ARGS__, NULL})

Suite *base_suite(void);
Suite *base_suite(void)
{
    Suite *suite = suite_create("base");
    ADD(suite, "memory", memory_is_aligned_and_counted, memory_accounts_what_the_host_gave,
        memory_refuses_products_that_wrap, memory_resize_keeps_content,
        memory_failure_leaves_the_old_block, memory_of_the_host, memory_lives_until_its_last_holder);
    ADD(suite, "context", context_creation_fails_cleanly, context_accepts_null,
        context_needs_a_whole_allocator, places_of_objects_are_emptied, context_counts_its_memory,
        context_keeps_the_message, context_cuts_long_messages, messages_are_one_line, progress_cancels,
        copy_out_follows_the_rule);
    ADD(suite, "buffer", buffer_grows, buffer_failure_is_sticky, numbers_have_a_point,
        numbers_have_a_point_in_any_locale);
    ADD(suite, "random", random_numbers_are_fixed, random_bits_are_xoshiro, random_streams_differ,
        random_below_is_even, random_uniform_and_normal_have_their_moments, random_normal_is_fixed,
        shuffle_permutes);
    ADD(suite, "options", options_default, options_take_values, options_refuse, options_refuse_null,
        options_survive_lack_of_memory);
    ADD(suite, "rest", checksum_is_crc32, checksum_of_every_length, checksum_of_mostly_zeros,
        status_and_version_have_names);
    return suite;
}
