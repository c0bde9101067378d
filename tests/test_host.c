/* A host with ways of its own: a decimal comma, another rounding mode, blocked signals, its own
 * handlers, a folder and a umask. Every public call leaves all of it as it was, prints nothing, keeps
 * no file open, and gives the same result as for a host without any of that. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "calls.h"
#include "host_mode.h"

extern char **environ;

#define MARK ","

/* --------------------------------------------------------------------- its state */

struct host_state {
    char locale[512];
    char folder[512];
    int rounding;
    unsigned float_mode; /* without the flags of what happened */
    sigset_t mask;
    struct sigaction handlers[64];
    mode_t mode;
    uint64_t environment;
    size_t n_files;
    char decimal_mark[8];
};

static size_t count_open_files(void)
{
    size_t n = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (!directory)
        return 0;
    while (readdir(directory))
        n++;
    closedir(directory);
    return n;
}

static void look_at_host(struct host_state *state)
{
    memset(state, 0, sizeof *state);
    snprintf(state->locale, sizeof state->locale, "%s", setlocale(LC_ALL, NULL));
    snprintf(state->decimal_mark, sizeof state->decimal_mark, "%s", localeconv()->decimal_point);
    ck_assert_ptr_nonnull(getcwd(state->folder, sizeof state->folder));
    state->rounding = fegetround();
#ifdef HOST_MODE
    state->float_mode = host_mode();
#endif
    pthread_sigmask(SIG_SETMASK, NULL, &state->mask);
    for (int i = 1; i < 64; i++)
        (void)sigaction(i, NULL, &state->handlers[i]);
    umask(state->mode = umask(0));
    for (char **variable = environ; *variable; variable++)
        mix_text(&state->environment, *variable);
    state->n_files = count_open_files();
}

static void expect_same_host(const struct host_state *a, const struct host_state *b, const char *call)
{
    ck_assert_msg(strcmp(a->locale, b->locale) == 0, "%s: locale %s", call, b->locale);
    ck_assert_msg(strcmp(a->decimal_mark, b->decimal_mark) == 0, "%s: mark %s", call, b->decimal_mark);
    ck_assert_msg(strcmp(a->folder, b->folder) == 0, "%s: folder %s", call, b->folder);
    ck_assert_msg(a->rounding == b->rounding, "%s: the rounding mode is %d", call, b->rounding);
    ck_assert_msg(a->float_mode == b->float_mode, "%s: the float mode is %x", call, b->float_mode);
    ck_assert_msg(a->mode == b->mode, "%s: the umask is %o", call, (unsigned)b->mode);
    ck_assert_msg(a->environment == b->environment, "%s: the environment has changed", call);
    ck_assert_msg(a->n_files == b->n_files, "%s: %zu files open, %zu before", call, b->n_files,
                  a->n_files);
    for (int i = 1; i < 64; i++) {
        ck_assert_msg(sigismember(&a->mask, i) == sigismember(&b->mask, i), "%s: mask of signal %d",
                      call, i);
        ck_assert_msg(a->handlers[i].sa_handler == b->handlers[i].sa_handler &&
                          a->handlers[i].sa_flags == b->handlers[i].sa_flags,
                      "%s: the handler of signal %d", call, i);
    }
}

/* ------------------------------------------------------------- what it writes to */

static int streams[2]; /* where 1 and 2 went before */
static char stream_path[] = "/tmp/sparsenet-streams-XXXXXX";

static void catch_streams(void)
{
    memcpy(stream_path + sizeof stream_path - 7, "XXXXXX", 6);
    int to = mkstemp(stream_path);
    ck_assert_int_ge(to, 0);
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        streams[i] = dup(i + 1);
        ck_assert_int_eq(dup2(to, i + 1), i + 1);
    }
    close(to);
}

static size_t give_back_streams(void)
{
    struct stat status;
    fflush(NULL);
    ck_assert_int_eq(fstat(1, &status), 0);
    for (int i = 0; i < 2; i++) {
        dup2(streams[i], i + 1);
        close(streams[i]);
    }
    (void)unlink(stream_path);
    return (size_t)status.st_size;
}

/* ---------------------------------------------------------------- a strange host */

static char locale_folder[] = "/tmp/sparsenet-locale-XXXXXX";

/* A bare machine has no locale with a comma; localedef makes one. */
static void make_locale(void)
{
    char command[512];
    memcpy(locale_folder + sizeof locale_folder - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(locale_folder));
    snprintf(
        command, sizeof command,
        "cd %s && printf 'LC_NUMERIC\ndecimal_point \"" MARK "\"\nthousands_sep \".\"\ngrouping 3\n"
        "END LC_NUMERIC\n' > source && localedef -c -i source -f UTF-8 ./xx_XX.UTF-8 >/dev/null 2>&1",
        locale_folder);
    (void)!system(command);
}

static void remove_locale(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", locale_folder);
    ck_assert_int_eq(system(command), 0);
}

static void prepare(void)
{
    worlds_prepare();
    make_locale();
}

static void remove_all(void)
{
    remove_locale();
    worlds_remove();
}

static void count_signal(int number)
{
    (void)number;
}

static void be_strange(void)
{
    struct sigaction action = {.sa_handler = count_signal};
    sigset_t blocked;
    setenv("LOCPATH", locale_folder, 1);
    ck_assert_msg(setlocale(LC_NUMERIC, "xx_XX.UTF-8") != NULL,
                  "localedef has made no locale with a comma");
    ck_assert_str_eq(localeconv()->decimal_point, MARK);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    ck_assert_int_eq(sigaction(SIGUSR2, &action, NULL), 0);
    ck_assert_int_eq(sigaction(SIGPIPE, &action, NULL), 0);
    umask(027);
}

/* For the tests that follow in the same process (CK_FORK=no). */
static void be_plain(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t blocked;
    setlocale(LC_NUMERIC, "C");
    unsetenv("LOCPATH");
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGPIPE);
    pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
    sigaction(SIGUSR2, &action, NULL);
    sigaction(SIGPIPE, &action, NULL);
    umask(022);
}

static uint64_t run_plainly(const struct call *call)
{
    static struct world world;
    world_create(&world, call);
    ck_assert_int_eq(world_run(&world, call), SN_OK);
    uint64_t digest = world_digest(&world, call);
    world_free(&world);
    return digest;
}

START_TEST(every_call_leaves_the_host_alone)
{
    static struct world world;
    static struct host_state before, after;
    const struct call *call = call_at((size_t)_i);
    uint64_t digest = run_plainly(call);
    world_create(&world, call);
    be_strange();
    look_at_host(&before);
    catch_streams();
    errno = ENOTTY;
    int status = world_run(&world, call), error = errno;
    size_t n_printed = give_back_streams();
    look_at_host(&after);
    ck_assert_msg(status == SN_OK, "%s: %s", call->symbol, sn_context_message(world.context));
    ck_assert_msg(n_printed == 0, "%s prints %zu bytes", call->symbol, n_printed);
    ck_assert_msg(error != 0, "%s sets errno to 0, as no function of C does", call->symbol);
    expect_same_host(&before, &after, call->symbol);
    ck_assert_msg(world_digest(&world, call) == digest, "%s: another result in another locale",
                  call->symbol);
    world_free(&world);
    be_plain();
}
END_TEST

/* Numbers that are refused stand in the message. */
START_TEST(messages_have_a_point_in_any_locale)
{
    static struct world world;
    const struct call none = {.symbol = "messages",
                              .options = "",
                              .looks = B(RAW) | B(TRAINER) | B(TOKENS) | B(FOUND) | B(PLOT)};
    struct world *w = &world;
    void *made;
    const double x = 1, y = 2.5, low = 3.5, high = 4.5;
    world_create(w, &none);
    be_strange();
    for (int i = 0; i < 6; i++) {
        int status =
            i == 0   ? sn_corpus_split((sn_corpus **)&made, w->objects[O_RAW], w->context, 1.5, 1)
            : i == 1 ? sn_trainer_add_corpus(w->objects[O_TRAINER], w->objects[O_TOKENS], -0.5, 0)
            : i == 2 ? sn_search_circuit((sn_circuit **)&made, w->objects[O_FOUND], -0.5, 1)
            : i == 3 ? sn_plot_add(w->objects[O_PLOT], w->context, "n", 0, 1, &x, &y, &low, &high)
            : i == 4 ? sn_corpus_split((sn_corpus **)&made, w->objects[O_RAW], w->context, 0.05, 1)
                     : sn_model_estimate_memory(NULL, NULL, w->context, "/", 1.5);
        const char *message = sn_context_message(w->context);
        ck_assert_int_eq(status, SN_ERROR_ARGUMENT);
        ck_assert_msg(i == 5 || (strchr(message, '.') && !strstr(message, MARK "5")), "\"%s\"", message);
    }
    world_free(w);
    be_plain();
}
END_TEST

/* Runs with the host's float mode; it must be the same afterwards. */
static uint64_t run_in_mode(const struct call *call, int rounding, unsigned flushes)
{
    static struct world world;
    world_create(&world, call);
    ck_assert_int_eq(fesetround(rounding), 0);
#ifdef HOST_MODE
    unsigned plain = host_mode(), mode = plain | flushes;
    set_host_mode(mode);
#endif
    int status = world_run(&world, call), after = fegetround();
#ifdef HOST_MODE
    unsigned mode_after = host_mode();
    set_host_mode(plain);
    ck_assert_msg(mode_after == mode, "%s: the float mode is %x, not %x", call->symbol, mode_after,
                  mode);
#else
    (void)flushes;
#endif
    ck_assert_int_eq(fesetround(FE_TONEAREST), 0);
    ck_assert_msg(status == SN_OK, "%s: %s", call->symbol, sn_context_message(world.context));
    ck_assert_msg(after == rounding, "%s: the rounding mode is %d", call->symbol, after);
    uint64_t digest = world_digest(&world, call);
    world_free(&world);
    return digest;
}

/* Another way of rounding is left alone (sums outside the parallel work follow it); flushing to zero changes
 * nothing. */
START_TEST(every_call_keeps_the_float_mode)
{
    const struct call *call = call_at((size_t)_i);
    (void)run_in_mode(call, FE_TOWARDZERO, 0);
#ifdef HOST_MODE
    ck_assert_msg(run_in_mode(call, FE_TONEAREST, HOST_FLUSHES) == run_plainly(call),
                  "%s: another result where the host flushes to zero", call->symbol);
#endif
}
END_TEST

/* A host that hunts its own errors lets the processor trap what is invalid, infinite or too large. Inside the library
 * such numbers are looked for where they matter, and come up on the way: nothing may trap. */
START_TEST(no_call_traps)
{
    const struct call *call = call_at((size_t)_i);
    const int hunted = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW;
    static struct world world;
    uint64_t digest = run_plainly(call);
    world_create(&world, call);
    feclearexcept(FE_ALL_EXCEPT);
    const int traps = feenableexcept(hunted) < 0 ? 0 : hunted; /* some processors have none */
    int status = world_run(&world, call), after = fegetexcept();
    fedisableexcept(FE_ALL_EXCEPT);
    ck_assert_msg(status == SN_OK, "%s: %s", call->symbol, sn_context_message(world.context));
    ck_assert_msg(after == traps, "%s: what traps is %x, not %x", call->symbol, after, traps);
    ck_assert_msg(world_digest(&world, call) == digest, "%s: another result under traps", call->symbol);
    world_free(&world);
}
END_TEST

/* ---------------------------------------------------------------- interruptions */

#define STORM_MICROSECONDS 200
#define STORM_SIGNALS 100 /* and no more: a loaded machine would do nothing but deliver them */

static volatile sig_atomic_t n_signals;

/* Each signal asks for the next. */
static void go_on(int number)
{
    struct itimerval timer = {{0, 0}, {0, STORM_MICROSECONDS}};
    (void)number;
    if (n_signals < STORM_SIGNALS)
        (void)setitimer(ITIMER_REAL, &timer, NULL);
    n_signals = n_signals + 1;
}

static void start_storm(void)
{
    struct sigaction action = {.sa_handler = go_on}; /* without SA_RESTART */
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    n_signals = 0;
    go_on(SIGALRM);
}

static void end_storm(void)
{
    struct itimerval none = {{0, 0}, {0, 0}};
    n_signals = STORM_SIGNALS;
    ck_assert_int_eq(setitimer(ITIMER_REAL, &none, NULL), 0);
}

START_TEST(every_call_survives_a_storm_of_signals)
{
    static struct world world;
    const struct call *call = call_at((size_t)_i);
    uint64_t digest = run_plainly(call);
    for (int round = 0; round < 3; round++) {
        world_create(&world, call);
        start_storm();
        int status = world_run(&world, call);
        end_storm();
        ck_assert_msg(status == SN_OK, "%s: %s", call->symbol, sn_context_message(world.context));
        ck_assert_msg(world_digest(&world, call) == digest, "%s: another result", call->symbol);
        world_free(&world);
    }
}
END_TEST

Suite *host_suite(void);
Suite *host_suite(void)
{
    Suite *suite = suite_create("host");
    TCase *calls = tcase_create("calls");
    int n = (int)call_count();
    tcase_add_unchecked_fixture(calls, prepare, remove_all);
    tcase_add_loop_test(calls, every_call_leaves_the_host_alone, 0, n);
    tcase_add_loop_test(calls, every_call_keeps_the_float_mode, 0, n);
    tcase_add_loop_test(calls, no_call_traps, 0, n);
    tcase_add_test(calls, messages_have_a_point_in_any_locale);
    tcase_add_loop_test(calls, every_call_survives_a_storm_of_signals, 0, n);
    suite_add_tcase(suite, calls);
    return suite;
}
