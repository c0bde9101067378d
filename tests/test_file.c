/* Files: reading with every length checked, writing that is seen whole or not at all. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/context.h"
#include "base/file.h"
#include "fixture.h"

static char folder[] = "/tmp/sparsenet-file-XXXXXX";
static char path[64], other[64];

static void setup(void)
{
    fixture_setup();
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(other, sizeof other, "%s/other", folder);
}

static void teardown(void)
{
    fixture_teardown();
    (void)unlink(path);
    (void)rmdir(other);
    (void)unlink(other);
    ck_assert_int_eq(rmdir(folder), 0); /* so no test leaves a file beside its own */
}

static size_t n_entries(void)
{
    size_t n = 0;
    DIR *directory = opendir(folder);
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry; (entry = readdir(directory));)
        n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

static void write_plain(const char *where, const char *text)
{
    FILE *file = fopen(where, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, strlen(text), file), strlen(text));
    fclose(file);
}

static void expect_content(const char *where, const char *text)
{
    char *bytes;
    size_t size;
    ck_assert_int_eq(file_read_all(&bytes, &size, context, where, 1 << 20), SN_OK);
    ck_assert_uint_eq(size, strlen(text));
    ck_assert_str_eq(bytes, text);
    memory_free(context->memory, bytes, size + 1);
}

static void expect_message(const char *format, const char *where)
{
    char expected[256];
    snprintf(expected, sizeof expected, format, where);
    ck_assert_str_eq(sn_context_message(context), expected);
}

/* ------------------------------------------------------------------ reading */

START_TEST(reads_at_offsets)
{
    struct file_reader file;
    char bytes[10] = {0};
    write_plain(path, "0123456789");
    ck_assert_int_eq(file_open(&file, context, path), SN_OK);
    ck_assert_uint_eq(file.size, 10);
    ck_assert_int_eq(file_read_at(&file, context, 3, bytes, 4), SN_OK);
    ck_assert_str_eq(bytes, "3456");
    ck_assert_int_eq(file_read_at(&file, context, 0, bytes, 10), SN_OK);
    ck_assert_int_eq(memcmp(bytes, "0123456789", 10), 0);
    ck_assert_int_eq(file_read_at(&file, context, 10, bytes, 0), SN_OK);
    file_close(&file);
    file_close(&file);
}
END_TEST

START_TEST(reading_past_the_end_fails)
{
    struct file_reader file;
    char bytes[16];
    write_plain(path, "0123456789");
    ck_assert_int_eq(file_open(&file, context, path), SN_OK);
    ck_assert_int_eq(file_read_at(&file, context, 8, bytes, 3), SN_ERROR_FORMAT);
    expect_message("%s: truncated: 3 bytes wanted at offset 8, the file has 10", path);
    ck_assert_int_eq(file_read_at(&file, context, 11, bytes, 0), SN_ERROR_FORMAT);
    ck_assert_int_eq(file_read_at(&file, context, UINT64_MAX, bytes, 2), SN_ERROR_FORMAT);
    ck_assert_int_eq(file_read_at(&file, context, 2, bytes, SIZE_MAX), SN_ERROR_FORMAT);
    ck_assert_int_eq(truncate(path, 4), 0);
    ck_assert_int_eq(file_read_at(&file, context, 2, bytes, 6), SN_ERROR_IO);
    expect_message("%s: the file shrank while it was read", path);
    file_close(&file);
}
END_TEST

START_TEST(opening_names_the_reason)
{
    struct file_reader file;
    ck_assert_int_eq(file_open(&file, context, path), SN_ERROR_IO);
    expect_message("%s: cannot open: No such file or directory", path);
    ck_assert_int_eq(file_open(&file, context, folder), SN_ERROR_IO);
    expect_message("%s: not a regular file", folder);
    ck_assert_int_eq(mkfifo(other, 0600), 0);
    ck_assert_int_eq(file_open(&file, context, other), SN_ERROR_IO); /* and does not wait for a writer */
    expect_message("%s: not a regular file", other);
    ck_assert_int_eq(file_open(&file, context, "/dev/zero"), SN_ERROR_IO);
    ck_assert_int_eq(file.descriptor, -1);
    ck_assert_int_eq(file_exists(path), 0);
    ck_assert_int_eq(file_exists(folder), 0);
    write_plain(path, "");
    ck_assert_int_eq(file_exists(path), 1);
}
END_TEST

START_TEST(reads_all_within_the_limit)
{
    char *bytes;
    size_t size;
    write_plain(path, "0123456789");
    expect_content(path, "0123456789");
    ck_assert_int_eq(file_read_all(&bytes, &size, context, path, 10), SN_OK);
    memory_free(context->memory, bytes, size + 1);
    ck_assert_int_eq(file_read_all(&bytes, &size, context, path, 9), SN_ERROR_FORMAT);
    ck_assert_ptr_null(bytes);
    expect_message("%s: 10 bytes, the limit is 9", path);
    write_plain(path, "");
    expect_content(path, "");
}
END_TEST

/* Neither a failed open nor a failed read keeps a descriptor. */
START_TEST(descriptors_are_given_back)
{
    struct file_reader file;
    struct file_writer writer;
    char *bytes;
    size_t size;
    write_plain(path, "0123456789");
    int before = dup(0);
    close(before);
    for (int i = 0; i < 3; i++) {
        file_open(&file, context, folder);
        file_open(&file, context, "/dev/null");
        file_read_all(&bytes, &size, context, path, 3);
        expect_content(path, "0123456789");
        ck_assert_int_eq(file_writer_open(&writer, context, path), SN_OK);
        file_writer_abort(&writer);
    }
    int after = dup(0);
    close(after);
    ck_assert_int_eq(before, after);
}
END_TEST

START_TEST(joins_paths)
{
    char *joined = file_path_join(context->memory, "a/b", "c.json");
    ck_assert_str_eq(joined, "a/b/c.json");
    file_path_free(context->memory, joined);
    file_path_free(context->memory, NULL);
}
END_TEST

/* ------------------------------------------------------------------ writing */

START_TEST(writes_become_visible_at_commit)
{
    struct file_writer writer;
    write_plain(path, "old");
    ck_assert_int_eq(file_writer_open(&writer, context, path), SN_OK);
    ck_assert_int_eq(file_write(&writer, context, "1234", 4), SN_OK);
    expect_content(path, "old");
    ck_assert_int_eq(file_write(&writer, context, "", 0), SN_OK);
    ck_assert_int_eq(file_write(&writer, context, "56789", 5), SN_OK);
    ck_assert_uint_eq(writer.written, 9);
    ck_assert_uint_eq(writer.checksum, 0xCBF43926);
    ck_assert_int_eq(file_writer_commit(&writer, context), SN_OK);
    file_writer_abort(&writer);
    expect_content(path, "123456789");
    ck_assert_uint_eq(n_entries(), 1);
}
END_TEST

START_TEST(large_writes_arrive_whole)
{
    enum { n = 1000003 };
    struct file_writer writer;
    unsigned char *bytes = malloc(n);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(i * i >> 5);
    ck_assert_int_eq(file_writer_open(&writer, context, path), SN_OK);
    for (size_t at = 0, part = 1; at < n; at += part, part = part * 3 < n - at ? part * 3 : n - at)
        ck_assert_int_eq(file_write(&writer, context, bytes + at, part), SN_OK);
    ck_assert_uint_eq(writer.written, n);
    ck_assert_uint_eq(writer.checksum, checksum_update(0, bytes, n));
    ck_assert_int_eq(file_writer_commit(&writer, context), SN_OK);
    char *back;
    size_t size;
    ck_assert_int_eq(file_read_all(&back, &size, context, path, n), SN_OK);
    ck_assert_uint_eq(size, n);
    ck_assert_int_eq(memcmp(back, bytes, n), 0);
    memory_free(context->memory, back, size + 1);
    free(bytes);
}
END_TEST

START_TEST(abort_leaves_the_old_file)
{
    struct file_writer writer = {0};
    file_writer_abort(&writer);
    write_plain(path, "old");
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(file_writer_open(&writer, context, path), SN_OK);
        ck_assert_uint_eq(n_entries(), 2);
        ck_assert_int_eq(file_write(&writer, context, "new content", 11), SN_OK);
        file_writer_abort(&writer);
        file_writer_abort(&writer);
        ck_assert_uint_eq(n_entries(), 1);
    }
    expect_content(path, "old");
    ck_assert_int_eq(file_writer_open(&writer, context, other), SN_OK);
    file_writer_abort(&writer);
    ck_assert_int_eq(file_exists(other), 0);
}
END_TEST

START_TEST(a_link_is_replaced)
{
    struct file_writer writer;
    struct stat status;
    write_plain(other, "old");
    ck_assert_int_eq(symlink(other, path), 0);
    ck_assert_int_eq(file_writer_open(&writer, context, path), SN_OK);
    ck_assert_int_eq(file_write(&writer, context, "new", 3), SN_OK);
    ck_assert_int_eq(file_writer_commit(&writer, context), SN_OK);
    expect_content(path, "new");
    expect_content(other, "old");
    ck_assert_int_eq(lstat(path, &status), 0);
    ck_assert(S_ISREG(status.st_mode));
}
END_TEST

START_TEST(opening_a_writer_fails_cleanly)
{
    struct file_writer writer;
    char missing[128];
    snprintf(missing, sizeof missing, "%s/none/file", folder);
    ck_assert_int_eq(file_writer_open(&writer, context, missing), SN_ERROR_IO);
    expect_message("%s: cannot create: No such file or directory", missing);
    file_writer_abort(&writer);
    ck_assert_int_eq(file_writer_open(&writer, context, folder), SN_ERROR_IO);
    expect_message("%s: not a regular file", folder);
    file_writer_abort(&writer);
    ck_assert_int_eq(file_writer_open(&writer, context, "/dev/null"), SN_ERROR_IO);
    struct stat status;
    ck_assert_int_eq(stat("/dev/null", &status), 0);
    ck_assert(S_ISCHR(status.st_mode));
    ck_assert_uint_eq(n_entries(), 0);
}
END_TEST

/* The target became a folder in the meantime: the rename fails, the temporary goes. */
START_TEST(commit_fails_cleanly)
{
    struct file_writer writer;
    ck_assert_int_eq(file_writer_open(&writer, context, other), SN_OK);
    ck_assert_int_eq(file_write(&writer, context, "text", 4), SN_OK);
    ck_assert_int_eq(mkdir(other, 0700), 0);
    ck_assert_int_eq(file_writer_commit(&writer, context), SN_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(sn_context_message(context), "/other: cannot rename to: "));
    ck_assert_uint_eq(n_entries(), 1);
}
END_TEST

/* A disk that is full for a while: what comes after the hole must not make a whole file. */
START_TEST(a_failed_write_is_never_committed)
{
    static char block[1 << 20];
    struct file_writer writer;
    struct rlimit limit, small;
    signal(SIGXFSZ, SIG_IGN);
    write_plain(path, "old");
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 300000;
    ck_assert_int_eq(file_writer_open(&writer, context, path), SN_OK);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    int status = file_write(&writer, context, block, sizeof block);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(status, SN_ERROR_IO);
    expect_message("%s: cannot write: File too large", path);
    ck_assert_int_eq(file_write(&writer, context, "more", 4), SN_ERROR_IO);
    ck_assert_int_eq(file_writer_commit(&writer, context), SN_ERROR_IO);
    expect_content(path, "old");
    ck_assert_uint_eq(n_entries(), 1);
}
END_TEST

START_TEST(files_get_the_usual_mode)
{
    struct file_writer writer;
    struct stat status;
    mode_t old = umask(027);
    ck_assert_int_eq(file_writer_open(&writer, context, path), SN_OK);
    ck_assert_int_eq(file_writer_commit(&writer, context), SN_OK);
    umask(old);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0640);
}
END_TEST

START_TEST(a_bare_name_is_written_in_the_current_folder)
{
    struct file_writer writer;
    char before[1024];
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    ck_assert_int_eq(chdir(folder), 0);
    ck_assert_int_eq(file_writer_open(&writer, context, "file"), SN_OK);
    ck_assert_int_eq(file_write(&writer, context, "here", 4), SN_OK);
    ck_assert_int_eq(file_writer_commit(&writer, context), SN_OK);
    ck_assert_int_eq(chdir(before), 0);
    expect_content(path, "here");
}
END_TEST

static int write_and_read(sn_context *own, void *payload)
{
    (void)payload;
    struct file_writer writer;
    char *bytes = NULL;
    size_t size = 0;
    int status = file_writer_open(&writer, own, path);
    if (status == SN_OK)
        status = file_write(&writer, own, "text", 4);
    if (status == SN_OK)
        status = file_writer_commit(&writer, own);
    file_writer_abort(&writer);
    if (status == SN_OK)
        status = file_read_all(&bytes, &size, own, path, 100);
    memory_free(own->memory, bytes, size + 1);
    return status;
}

START_TEST(files_survive_lack_of_memory)
{
    ck_assert_uint_eq(oom_loop(write_and_read, NULL, 1, 0), 4);
    ck_assert_uint_eq(n_entries(), 1);
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

Suite *file_suite(void);
Suite *file_suite(void)
{
    Suite *suite = suite_create("file");
    ADD(suite, "reading", reads_at_offsets, reading_past_the_end_fails, opening_names_the_reason,
        reads_all_within_the_limit, descriptors_are_given_back, joins_paths);
    ADD(suite, "writing", writes_become_visible_at_commit, large_writes_arrive_whole,
        abort_leaves_the_old_file, a_link_is_replaced, opening_a_writer_fails_cleanly,
        commit_fails_cleanly, a_failed_write_is_never_committed, files_get_the_usual_mode,
        a_bare_name_is_written_in_the_current_folder, files_survive_lack_of_memory);
    return suite;
}
