/* random_calls [--calls N] [--seed S] [--world W] [--table]: random sequences of calls (play.h) of every
 * public function, in worlds of CALLS_OF_WORLD calls each. Each must give a status and its message, or an
 * answer; nothing may be left behind. The same seed makes the same calls; what goes wrong ends with the
 * line that does it again. --world begins with that one. --table prints, for every function, how many calls
 * there were and how they ended.
 *
 * First every function is called, politely and undisturbed, until it has succeeded: a row that only ever
 * asks for what is refused would test little. Run at the root of the sources. */
#include <check.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "file_faults.h"
#include "play.h"

#define CALLS_OF_WORLD 5000
#define MOST_TRIES 60
#define MOST_ROWS 512
#define MOST_SECONDS 120 /* of one call */
#define MOST_HELD ((size_t)64 << 20)

static const struct rows *const tables[] = {&rows_base,     &rows_text,    &rows_task,    &rows_model,
                                            &rows_session,  &rows_trainer, &rows_circuit, &rows_search,
                                            &rows_evidence, &rows_checks,  &rows_report};

static struct count {
    const struct row *row;
    uint64_t n, n_polite, n_polite_ok;
    uint64_t by_status[SN_ERROR_TARGET + 2]; /* [0]: no answer */
    double seconds;
} counts[MOST_ROWS];
static size_t n_rows;

/* --------------------------------------------------- what was going on, at the end */

#define LAST 24
static struct {
    const char *symbol;
    int polite, status;
} last[LAST];
static uint64_t n_calls, world_number;
static int finished;

static void tell(void)
{
    static int told;
    if (finished || told++)
        return;
    fprintf(stderr, "\nthe last calls:\n");
    for (uint64_t i = n_calls > LAST ? n_calls - LAST : 0; i < n_calls; i++)
        fprintf(stderr, "  %s%s: %d\n", last[i % LAST].symbol, last[i % LAST].polite ? "" : " (odd)",
                last[i % LAST].status);
    fprintf(stderr,
            "in call %llu of world %llu; the same again: random_calls --seed %llu --world %llu\n",
            (unsigned long long)play.call, (unsigned long long)world_number,
            (unsigned long long)play.seed, (unsigned long long)world_number);
}

static void tell_signal(int number)
{
    tell();
    signal(number, SIG_DFL);
    raise(number);
}

void play_wrong(const char *what)
{
    fprintf(stderr, "%s: %s\n", n_calls ? last[(n_calls - 1) % LAST].symbol : "", what);
    if (play.context)
        fprintf(stderr, "its message: %s\n", sn_context_message(play.context));
    tell();
    abort();
}

/* In place of Check's, which wants a runner: worlds are made with its assertions. */
void _mark_point(const char *file, int line)
{
    (void)file, (void)line;
}

void _ck_assert_failed(const char *file, int line, const char *expression, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: %s: ", file, line, expression);
    if (format)
        vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    play_wrong("a world cannot be made, or leaves something behind");
}

/* Where there are sanitizers. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
#define SEEN __attribute__((visibility("default")))
const char *__asan_default_options(void) SEEN;
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:quarantine_size_mb=32:malloc_context_size=12";
}

const char *__ubsan_default_options(void) SEEN;
const char *__ubsan_default_options(void)
{
    return "print_stacktrace=1:abort_on_error=1";
}

static void prepare_to_tell(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (!__sanitizer_set_death_callback || signals[i] == SIGABRT || signals[i] == SIGALRM)
            signal(signals[i], tell_signal);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(tell);
    atexit(tell);
}

/* ------------------------------------------------------------------ disturbances */

/* No more than this for one world: what asks for more is refused, however much the machine has. */
static void *capped_allocate(size_t size, void *payload)
{
    const struct oom *oom = payload;
    return size > MOST_HELD || atomic_load(&oom->live_bytes) > MOST_HELD - size
               ? NULL
               : oom_allocate(size, payload);
}

static void *capped_reallocate(void *bytes, size_t old_size, size_t new_size, void *payload)
{
    const struct oom *oom = payload;
    return new_size > MOST_HELD || atomic_load(&oom->live_bytes) > MOST_HELD - new_size
               ? NULL
               : oom_reallocate(bytes, old_size, new_size, payload);
}

static sn_allocator capped_allocator(struct oom *oom)
{
    sn_allocator allocator = {capped_allocate, capped_reallocate, oom_release, oom};
    return allocator;
}

static int report(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)done, (void)total, (void)value, (void)payload;
    (void)answer_text(stage);
    return play.reports_left == 0 || --play.reports_left == 0;
}

/* The n-th allocation or file operation fails, or a report of progress is answered by a no. */
static int disturb(void)
{
    const int memory = chance(play.polite ? 3 : 12), files = chance(play.polite ? 2 : 6),
              stop = chance(3);
    play.reports_left = stop ? draw(12) : 4000;
    for (size_t w = 0; w < N_WORLDS; w++) {
        struct oom *oom = &play.worlds[w].oom;
        const size_t nth = 1 + draw((uint64_t)1 << draw(8));
        atomic_store(&oom->only_one, chance(50));
        atomic_store(&oom->fail_at, memory ? atomic_load(&oom->n_allocations) + nth : 0);
        sn_context_set_progress(play.worlds[w].context, report, NULL);
    }
    file_faults.at = 1 + draw((uint64_t)1 << draw(5));
    if (files)
        file_faults_arm();
    return memory || files || stop;
}

static void calm(void)
{
    file_faults_disarm();
    for (size_t w = 0; w < N_WORLDS; w++)
        atomic_store(&play.worlds[w].oom.fail_at, 0);
}

/* ------------------------------------------------------------------------- calls */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Returns its status. */
static int call(struct count *count, int polite, int may_disturb)
{
    const size_t slot = n_calls++ % LAST;
    play.polite = polite;
    play.world = (int)draw(N_WORLDS);
    last[slot].symbol = count->row->symbol;
    last[slot].polite = polite;
    last[slot].status = -9;
    play_begin_call();
    const int disturbed = may_disturb && disturb();
    if (!disturbed)
        play.reports_left = 4000;
    alarm(MOST_SECONDS);
    const double start = now();
    const int status = count->row->run();
    count->seconds += now() - start;
    alarm(0);
    calm();
    last[slot].status = status;
    play_end_call(status);
    count->n++;
    count->n_polite += polite && !disturbed;
    count->n_polite_ok += polite && !disturbed && status == SN_OK;
    count->by_status[status + 1]++;
    return status;
}

/* Every row succeeds sometimes. */
static void prove(void)
{
    play_open();
    for (size_t i = 0; i < n_rows; i++) {
        int tries = 0;
        while (call(&counts[i], 1, 0) != SN_OK)
            if (++tries == MOST_TRIES)
                play_wrong("its row never succeeds");
    }
    play_close();
}

static struct count *draw_row(void)
{
    uint64_t total = 0;
    size_t i = 0;
    for (size_t r = 0; r < n_rows; r++)
        total += (uint64_t)counts[r].row->cost;
    for (uint64_t left = draw(total); left >= (uint64_t)counts[i].row->cost; i++)
        left -= (uint64_t)counts[i].row->cost;
    return &counts[i];
}

static void play_world(uint64_t seed, uint64_t calls)
{
    play_seed(seed + 1000003 * world_number);
    play.seed = seed;
    play.call = 1;
    play_open();
    for (uint64_t i = 0; i < calls; i++)
        call(draw_row(), chance(60), 1);
    play_close();
}

/* -------------------------------------------------------------------- the table */

static struct count *find(const char *symbol)
{
    for (size_t i = 0; i < n_rows; i++)
        if (strcmp(counts[i].row->symbol, symbol) == 0)
            return &counts[i];
    return NULL;
}

/* Exactly the public functions have rows. */
static int rows_are_whole(void)
{
    char symbol[128];
    size_t n = 0;
    int whole = 1;
    FILE *file = fopen("tests/data/symbols.txt", "r");
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (size_t i = 0; i < tables[t]->n && n_rows < MOST_ROWS; i++)
            counts[n_rows++].row = &tables[t]->rows[i];
    for (; file && fscanf(file, "%127s", symbol) == 1; n++)
        if (!find(symbol)) {
            fprintf(stderr, "%s has no row in tests/random_calls\n", symbol);
            whole = 0;
        }
    if (file)
        fclose(file);
    if (n != n_rows)
        fprintf(stderr, "%zu functions, %zu rows\n", n, n_rows);
    return whole && n == n_rows;
}

static void print_table(void)
{
    printf("%-34s %9s %6s %6s %9s  failures by status\n", "function", "calls", "ok", "polite",
           "ms each");
    for (size_t i = 0; i < n_rows; i++) {
        const struct count *c = &counts[i];
        const double n = c->n ? (double)c->n : 1, polite = c->n_polite ? (double)c->n_polite : 1;
        printf("%-34s %9llu %5.1f%% %5.1f%% %9.4f ", c->row->symbol, (unsigned long long)c->n,
               100 * (double)c->by_status[1] / n, 100 * (double)c->n_polite_ok / polite,
               1e3 * c->seconds / n);
        if (c->by_status[0])
            printf(" none:%llu", (unsigned long long)c->by_status[0]);
        for (int s = SN_ERROR_ARGUMENT; s <= SN_ERROR_TARGET; s++)
            if (c->by_status[s + 1])
                printf(" %d:%llu", s, (unsigned long long)c->by_status[s + 1]);
        printf("\n");
    }
}

static void print_sum(double seconds)
{
    uint64_t ok = 0, none = 0, n = 0;
    for (size_t i = 0; i < n_rows; i++) {
        n += counts[i].n;
        ok += counts[i].by_status[1];
        none += counts[i].by_status[0];
    }
    printf(
        "%llu calls of %zu functions: %llu succeeded, %llu were refused, %llu had no answer; %.0f s\n",
        (unsigned long long)n, n_rows, (unsigned long long)ok, (unsigned long long)(n - ok - none),
        (unsigned long long)none, seconds);
}

int main(int n_arguments, char **arguments)
{
    uint64_t calls = 20000, seed = 1;
    int table = 0;
    for (int i = 1; i < n_arguments; i++) {
        const char *value = i + 1 < n_arguments ? arguments[i + 1] : "0";
        if (strcmp(arguments[i], "--table") == 0)
            table = 1;
        else if (strcmp(arguments[i], "--calls") == 0)
            calls = strtoull(value, NULL, 10), i++;
        else if (strcmp(arguments[i], "--seed") == 0)
            seed = strtoull(value, NULL, 10), i++;
        else if (strcmp(arguments[i], "--world") == 0)
            world_number = strtoull(value, NULL, 10), i++;
        else
            return 2;
    }
    if (!rows_are_whole())
        return 1;
    const double start = now();
    prepare_to_tell();
    world_allocator = capped_allocator;
    play_seed(seed);
    worlds_prepare();
    if (world_number == 0)
        prove();
    for (; n_calls < calls; world_number++)
        play_world(seed, calls - n_calls < CALLS_OF_WORLD ? calls - n_calls : CALLS_OF_WORLD);
    worlds_remove();
    finished = 1;
    if (table)
        print_table();
    print_sum(now() - start);
    return 0;
}
