/* Files that cannot be written or read, and processes that die while they write. Whatever happens, the
 * file that was there stands whole or the new one does; nothing else is left, but for the temporary of
 * a killed process; and the status names the file and what the system said. A file is on disk before it
 * is renamed, and its folder behind that. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "file_faults.h"
#include "long.h"

#define OLD "what was there before\n"
#define MOST_FILES 8

/* The files that a call writes, below its folder, and what is in them then. */
struct written {
    size_t n;
    char names[MOST_FILES][64];
    uint64_t hashes[MOST_FILES];
    uint64_t digest;
};

static uint64_t hash_of(const char *path)
{
    uint64_t hash = 0;
    mix_file(&hash, path);
    return hash;
}

static uint64_t hash_of_old(void)
{
    uint64_t hash = 0;
    mix_text(&hash, "file");
    mix(&hash, OLD, sizeof OLD - 1);
    return hash;
}

typedef void (*file_visitor)(const char *path, const char *name, void *payload);

static void visit(const char *folder, const char *prefix, file_visitor visitor, void *payload)
{
    DIR *directory = opendir(folder);
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[600], name[300];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        snprintf(name, sizeof name, "%s%s", prefix, entry->d_name);
        if (entry->d_type == DT_DIR) {
            strcat(name, "/");
            visit(path, name, visitor, payload);
        } else {
            visitor(path, name, payload);
        }
    }
    closedir(directory);
}

static void note_file(const char *path, const char *name, void *payload)
{
    struct written *written = payload;
    ck_assert_uint_lt(written->n, MOST_FILES);
    snprintf(written->names[written->n], sizeof *written->names, "%s", name);
    written->hashes[written->n++] = hash_of(path);
}

/* Nothing has failed: whatever was renamed was synced before, and its folder after. */
static void expect_order(const struct call *call, const struct written *written)
{
    ck_assert_msg(file_faults.n_renamed_too_soon == 0, "%s renames a file that is not synced",
                  call->symbol);
    ck_assert_msg(file_faults.n_folders_due == 0, "%s leaves a folder unsynced behind a rename",
                  call->symbol);
    ck_assert_msg(file_faults.n_renamed >= written->n, "%s: %zu files, %zu of them renamed",
                  call->symbol, written->n, file_faults.n_renamed);
}

static struct written run_undisturbed(const struct call *call)
{
    static struct world world;
    struct written written = {.n = 0};
    world_create(&world, call);
    file_faults = (struct file_faults){.at = 0};
    file_faults_arm();
    int status = world_run(&world, call);
    file_faults_disarm();
    ck_assert_msg(status == SN_OK, "%s: %s", call->symbol, sn_context_message(world.context));
    if (call->flags & WRITES)
        visit(world.folder, "", note_file, &written);
    expect_order(call, &written);
    written.digest = world_digest(&world, call);
    world_free(&world);
    return written;
}

/* Old files where the new ones will be, unless the call would read them. */
static void write_old_files(struct world *w, const struct call *call, const struct written *written)
{
    for (size_t i = 0; i < written->n && !(call->flags & READS); i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", w->folder, written->names[i]);
        char *slash = strrchr(written->names[i], '/');
        if (slash) {
            path[strlen(w->folder) + 1 + (size_t)(slash - written->names[i])] = '\0';
            (void)mkdir(path, 0700);
            path[strlen(path)] = '/';
        }
        FILE *file = fopen(path, "wb");
        ck_assert_ptr_nonnull(file);
        ck_assert_int_ge(fputs(OLD, file), 0);
        ck_assert_int_eq(fclose(file), 0);
    }
}

/* ------------------------------------------------------------ what is left behind */

struct left {
    const struct written *written;
    size_t n_other, n_damaged, n_new;
    char other[300];
};

static void look_at_file(const char *path, const char *name, void *payload)
{
    struct left *left = payload;
    uint64_t hash = hash_of(path);
    for (size_t i = 0; i < left->written->n; i++)
        if (strcmp(name, left->written->names[i]) == 0) {
            left->n_new += hash == left->written->hashes[i];
            left->n_damaged += hash != left->written->hashes[i] && hash != hash_of_old();
            return;
        }
    left->n_other++;
    snprintf(left->other, sizeof left->other, "%s", name);
}

static struct left look(const struct world *w, const struct written *written)
{
    struct left left = {.written = written};
    visit(w->folder, "", look_at_file, &left);
    return left;
}

/* ---------------------------------------------------------------------- errors */

static void expect_clean(struct world *w, const struct call *call, const struct written *written,
                         int status)
{
    const char *message = sn_context_message(w->context), *failed = file_faults.failed;
    struct left left = look(w, written);
    ck_assert_msg(left.n_other == 0, "%s, %s fails: %s is left", call->symbol, failed, left.other);
    ck_assert_msg(left.n_damaged == 0 || call->flags & READS, "%s, %s fails: a file is damaged",
                  call->symbol, failed);
    ck_assert_msg(file_faults.n_renamed_too_soon == 0, "%s, %s fails: a file is renamed before its sync",
                  call->symbol, failed);
    /* The file stands: not every file system syncs folders. */
    if (file_faults.failed_behind && status == SN_OK)
        return;
    ck_assert_msg(status == SN_ERROR_IO, "%s, %s fails: %s (%s)", call->symbol, failed,
                  sn_status_string(status), message);
    ck_assert_msg(strstr(message, strerror(file_faults.failed_with)) || strcmp(failed, "fstat") == 0,
                  "%s, %s fails with %s: \"%s\"", call->symbol, failed,
                  strerror(file_faults.failed_with), message);
    ck_assert_msg(strstr(message, "/"), "%s, %s fails: \"%s\" names no file", call->symbol, failed,
                  message);
    ck_assert_msg(!w->made_kind || !w->made, "%s, %s fails: an object is given", call->symbol, failed);
}

/* Operation n fails with an error (0: the usual one), and a write does `most` bytes (0: all). Returns 0 when the call
 * needs fewer than n operations. */
static int fail_at(const struct call *call, const struct written *written, size_t n, size_t most,
                   int error)
{
    static struct world world;
    world_create(&world, call);
    write_old_files(&world, call, written);
    size_t live = atomic_load(&world.oom.live_bytes);
    uint64_t state = world_state(&world, call);
    file_faults = (struct file_faults){.at = n, .most = most, .error = error};
    file_faults_arm();
    int status = world_run(&world, call), came = 0;
    file_faults_disarm();
    came = file_faults.failed[0] != '\0';
    if (came) {
        expect_clean(&world, call, written, status);
        ck_assert_msg(status == SN_OK || call->flags & (KEEPS_MEMORY | PARTLY_DONE) ||
                          atomic_load(&world.oom.live_bytes) == live,
                      "%s, %s fails: memory is left", call->symbol, file_faults.failed);
        ck_assert_msg(status == SN_OK || call->flags & PARTLY_DONE || world_state(&world, call) == state,
                      "%s, %s fails: an object is not as it was", call->symbol, file_faults.failed);
        if (status != SN_OK)
            status = world_run(&world, call);
    }
    ck_assert_msg(status == SN_OK, "%s: %s", call->symbol, sn_context_message(world.context));
    ck_assert_msg(world_digest(&world, call) == written->digest, "%s, %s failed: another result",
                  call->symbol, file_faults.failed);
    world_free(&world);
    return came;
}

static int uses_files(const struct call *call)
{
    return (call->flags & (READS | WRITES)) != 0;
}

START_TEST(every_error_of_a_file_is_told)
{
    const struct call *call = call_at((size_t)_i);
    if (!uses_files(call))
        return;
    struct written written = run_undisturbed(call);
    size_t n = 1;
    while (fail_at(call, &written, n, 0, 0))
        n++;
    ck_assert_msg(n > 2, "%s reads and writes no file", call->symbol);
}
END_TEST

/* The disk is full, broken or over quota when a part of a file is on it. */
START_TEST(a_write_fails_behind_others)
{
    static const int errors[] = {ENOSPC, EIO, EDQUOT};
    const struct call *call = call_at((size_t)_i);
    size_t n_errors = sizeof errors / sizeof *errors, n_seen[3] = {0}, i = 0;
    if (!(call->flags & WRITES))
        return;
    struct written written = run_undisturbed(call);
    for (size_t n = 1; fail_at(call, &written, n, 16, errors[i % n_errors]); i++) {
        n_seen[i % n_errors] += strcmp(file_faults.failed, "write") == 0 && file_faults.failed_after > 0;
        n += n < 16 ? 1 : 1 + n / (long_tests() ? 32 : 4);
    }
    for (i = 0; i < n_errors; i++)
        ck_assert_msg(n_seen[i] > 0, "%s: no write failed by \"%s\" behind another", call->symbol,
                      strerror(errors[i]));
}
END_TEST

/* Reads and writes that stop after a few bytes, and calls that signals interrupt. */
START_TEST(files_in_small_parts)
{
    static struct world world;
    const struct call *call = call_at((size_t)_i);
    if (!uses_files(call))
        return;
    struct written written = run_undisturbed(call);
    for (int interrupt = 0; interrupt < 2; interrupt++) {
        world_create(&world, call);
        file_faults = (struct file_faults){.most = interrupt ? 0 : 13, .interrupt = interrupt};
        file_faults_arm();
        int status = world_run(&world, call);
        file_faults_disarm();
        ck_assert_msg(status == SN_OK, "%s: %s", call->symbol, sn_context_message(world.context));
        ck_assert_msg(world_digest(&world, call) == written.digest, "%s: another result", call->symbol);
        expect_order(call, &written);
        world_free(&world);
    }
}
END_TEST

/* ------------------------------------------------------------------------ kills */

/* Returns 0 when the call came to its end. */
static int kill_at(const struct call *call, const struct written *written, size_t n, size_t most)
{
    static struct world world;
    int status;
    world_create(&world, call);
    write_old_files(&world, call, written);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        file_faults = (struct file_faults){.at = n, .kill = 1, .most = most};
        file_faults_arm();
        _exit(world_run(&world, call));
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    int killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    ck_assert_msg(killed || (WIFEXITED(status) && WEXITSTATUS(status) == SN_OK), "%s: the child: %d",
                  call->symbol, status);
    struct left left = look(&world, written);
    ck_assert_msg(left.n_damaged == 0 || call->flags & READS, "%s, killed at %zu: a file is damaged",
                  call->symbol, n);
    ck_assert_msg(left.n_other <= (size_t)killed, "%s, killed at %zu: %zu temporaries are left",
                  call->symbol, n, left.n_other);
    ck_assert_msg(killed || left.n_new == written->n || call->flags & READS, "%s: files are missing",
                  call->symbol);
    ck_assert_int_eq(world_run(&world, call), SN_OK); /* another process saves again, whatever is left */
    left = look(&world, written);
    ck_assert_msg(left.n_new == written->n, "%s: not written anew after a kill", call->symbol);
    (void)world_digest(&world, call);
    world_free(&world);
    return killed;
}

/* Writes of a few bytes each make a file of a few hundred bytes a hundred places to die at. */
START_TEST(a_kill_anywhere_leaves_a_whole_file)
{
    size_t n_kills = 0;
    for (size_t i = 0; i < call_count(); i++) {
        const struct call *call = call_at(i);
        if (!(call->flags & WRITES))
            continue;
        struct written written = run_undisturbed(call);
        for (size_t most = 0; most <= 64; most += 64)
            for (size_t n = 1; kill_at(call, &written, n, most); n_kills++)
                n += most == 0 || n < 8 ? 1 : long_tests() ? 1 : 1 + n / 4;
    }
    ck_assert_uint_gt(n_kills, 200);
}
END_TEST

Suite *faults_suite(void);
Suite *faults_suite(void)
{
    Suite *suite = suite_create("faults");
    TCase *calls = tcase_create("calls"), *kills = tcase_create("kills");
    int n = (int)call_count();
    tcase_add_unchecked_fixture(calls, worlds_prepare, worlds_remove);
    tcase_add_unchecked_fixture(kills, worlds_prepare, worlds_remove);
    tcase_set_timeout(kills, 600);
    tcase_add_loop_test(calls, every_error_of_a_file_is_told, 0, n);
    tcase_add_loop_test(calls, a_write_fails_behind_others, 0, n);
    tcase_add_loop_test(calls, files_in_small_parts, 0, n);
    tcase_add_test(kills, a_kill_anywhere_leaves_a_whole_file);
    suite_add_tcase(suite, calls);
    suite_add_tcase(suite, kills);
    return suite;
}
