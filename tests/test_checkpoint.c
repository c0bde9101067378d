/* Checkpoints against what happens to them: a flipped bit, a missing end, a process that is killed
 * while it trains and goes on from its last checkpoint as if nothing had been. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"
#include "long.h"
#include "planted.h"
#include "temporary.h"

#define STEPS 40 /* of the training that is killed */

static sn_context *context;
static struct temporary folder;

static void set_up(void)
{
    ck_assert_int_eq(sn_context_create(&context, NULL), SN_OK);
    temporary_create(&folder);
}

static void tear_down(void)
{
    temporary_remove(&folder);
    sn_context_free(context);
}

static void ok(int status)
{
    planted_ok(context, status);
}

/* --------------------------------------------------------------------- training */

static sn_trainer *open_trainer(sn_model *model, const sn_corpus *corpus, int support, double steps)
{
    const struct {
        const char *key;
        double value;
    } settings[] = {{"steps", steps},      {"batch", 2},
                    {"window", 8},         {"density", 0.5},
                    {"schedule_end", 0.5}, {"refresh_interval", 5},
                    {"seed", 7},           {"checkpoint_interval", 1}};
    sn_options *options;
    sn_trainer *trainer;
    ok(sn_options_create(&options, context));
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        ok(sn_options_set(options, context, settings[i].key, settings[i].value));
    ok(sn_options_set_text(options, context, "gradient", support ? "support" : "dense"));
    ok(sn_trainer_create(&trainer, context, model, options));
    ok(sn_trainer_add_corpus(trainer, corpus, 1, 0));
    sn_options_free(options);
    return trainer;
}

/* Trains to the end, from the checkpoint where there is one. */
static void train(const char *path, int support, double steps)
{
    sn_model *model = planted_model(context, 1);
    sn_corpus *corpus = planted_corpus(context);
    sn_trainer *trainer;
    if (access(path, F_OK) == 0) {
        ok(sn_trainer_load(&trainer, context, path));
        ok(sn_trainer_add_corpus(trainer, corpus, 1, 0));
    } else {
        trainer = open_trainer(model, corpus, support, steps);
    }
    ok(sn_trainer_set_checkpoint(trainer, path));
    ok(sn_trainer_run(trainer, 0));
    sn_trainer_free(trainer);
    sn_corpus_free(corpus);
    sn_model_free(model);
}

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size);
    ck_assert_uint_eq(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

/* ----------------------------------------------------------------------- damage */

static int load_bytes(const char *bytes, size_t size)
{
    sn_trainer *trainer = (sn_trainer *)&trainer;
    temporary_write(&folder, "state", bytes, size);
    int status = sn_trainer_load(&trainer, context, temporary_path(&folder, "state"));
    ck_assert_int_eq(trainer == NULL, status != SN_OK);
    sn_trainer_free(trainer);
    return status;
}

START_TEST(a_flipped_bit_anywhere_is_found_and_named)
{
    size_t size, step = long_tests() ? 1 : 61;
    train(temporary_path(&folder, "state"), _i, 3);
    char *bytes = read_file(folder.path, &size);
    ok(load_bytes(bytes, size));
    for (size_t at = 0; at < size; at += at < 24 ? 1 : step) {
        bytes[at] = (char)(bytes[at] ^ (1 << at % 8));
        int status = load_bytes(bytes, size);
        bytes[at] = (char)(bytes[at] ^ (1 << at % 8));
        const char *message = sn_context_message(context);
        ck_assert_msg(status == SN_ERROR_FORMAT ||
                          (at >= 8 && at < 16 && status == SN_ERROR_UNSUPPORTED),
                      "byte %zu: %d", at, status);
        ck_assert_msg(strstr(message, folder.path), "byte %zu: \"%s\" names no file", at, message);
        ck_assert_msg(strstr(message, at < 8    ? "not a checkpoint"
                                      : at < 12 ? "byte order"
                                      : at < 16 ? "version"
                                                : "checksum"),
                      "byte %zu: \"%s\"", at, message);
    }
    for (size_t n = 0; n < size; n += step)
        ck_assert_int_eq(load_bytes(bytes, n), SN_ERROR_FORMAT);
    free(bytes);
}
END_TEST

/* ------------------------------------------------------------------------ kills */

/* Tells the one who kills of each step, which is in the checkpoint then. */
static int tell_step(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)stage, (void)done, (void)total, (void)value;
    return write(*(int *)payload, "", 1) != 1;
}

/* A process that trains, killed `microseconds` behind its step `n_steps` (0: never); 1 when it was killed before its
 * end. */
static int train_and_kill(const char *path, int support, size_t n_steps, unsigned microseconds)
{
    int status, ends[2];
    char byte;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        sn_context_set_progress(context, tell_step, &ends[1]);
        train(path, support, STEPS);
        _exit(0);
    }
    close(ends[1]);
    for (size_t i = 0; i < n_steps && read(ends[0], &byte, 1) == 1; i++)
        continue;
    if (n_steps) {
        usleep(microseconds);
        kill(child, SIGKILL);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    close(ends[0]);
    ck_assert_msg(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "the child ended with %d", status);
    return WIFSIGNALED(status);
}

/* Where a run that goes on begins; 0: at its start. */
static size_t step_of(const char *path)
{
    sn_trainer *trainer;
    double step;
    if (access(path, F_OK) != 0)
        return 0;
    ok(sn_trainer_load(&trainer, context, path));
    ok(sn_trainer_statistic(&step, trainer, "step"));
    sn_trainer_free(trainer);
    return (size_t)step;
}

static void expect_same_file(const char *a, const char *b, unsigned seed)
{
    size_t sizes[2];
    char *bytes[2] = {read_file(a, &sizes[0]), read_file(b, &sizes[1])};
    ck_assert_msg(sizes[0] == sizes[1] && memcmp(bytes[0], bytes[1], sizes[0]) == 0,
                  "seed %u: killed training ends elsewhere", seed);
    free(bytes[0]);
    free(bytes[1]);
}

/* Killed behind a number of steps and a time drawn at random, a few times in each run, until there are enough kills
 * from which a run goes on in its middle. The time reaches over the next steps and into their checkpoints. */
START_TEST(killed_training_ends_with_the_same_bits)
{
    const size_t wanted = long_tests() ? 25 : 3;
    size_t n_kills = 0, n_runs = 0, times[STEPS + 1] = {0}, n_different = 0, n_gone_on = 0;
    struct timespec time;
    char whole[256], path[256];
    snprintf(whole, sizeof whole, "%s", temporary_path(&folder, "whole"));
    snprintf(path, sizeof path, "%s", temporary_path(&folder, "state"));
    ck_assert_int_eq(train_and_kill(whole, _i, 0, 0), 0);
    clock_gettime(CLOCK_MONOTONIC, &time);
    unsigned seed = (unsigned)time.tv_nsec;
    srand(seed);
    while (n_gone_on < wanted) {
        ck_assert_msg(n_runs++ < 10 * wanted, "seed %u: of %zu kills, %zu in the middle", seed, n_kills,
                      n_gone_on);
        (void)unlink(path);
        for (size_t here = 0; here < 8; here++) {
            if (!train_and_kill(path, _i, 1 + (size_t)rand() % 8, (unsigned)rand() % 1000))
                break;
            size_t step = step_of(path);
            ck_assert_msg(step > 0, "seed %u: killed behind a step, but no step is kept", seed);
            n_kills++;
            if (step < STEPS) {
                n_gone_on++;
                n_different += times[step]++ == 0;
            }
        }
        ck_assert_int_eq(train_and_kill(path, _i, 0, 0), 0);
        ck_assert_msg(step_of(path) == STEPS, "seed %u", seed);
        expect_same_file(whole, path, seed);
    }
    ck_assert_msg(2 * n_gone_on > n_kills && 2 * n_different >= wanted,
                  "seed %u: of %zu kills, %zu in the middle, at %zu different steps", seed, n_kills,
                  n_gone_on, n_different);
}
END_TEST

Suite *checkpoint_suite(void);
Suite *checkpoint_suite(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *tests = tcase_create("checkpoint");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, a_flipped_bit_anywhere_is_found_and_named, 0, 2);
    tcase_add_loop_test(tests, killed_training_ends_with_the_same_bits, 0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}
