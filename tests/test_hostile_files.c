/* What may lie where a file is expected: nothing, a folder, a pipe that nobody writes to, a device
 * without an end, an empty file, one that may not be read, links, a gigabyte that is one line, a file
 * that shrinks. Each function that reads must come back with a status whose message names the path, and
 * with nothing kept; no path may block. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calls.h"
#include "long.h"
#include "planted.h"

#include "fixture.h" /* behind them: its `context` would be shadowed by their arguments */

#define GIBIBYTE ((off_t)1 << 30)
#define MEBIBYTE ((size_t)1 << 20)
#define MOST_HELD (110 * MEBIBYTE) /* the largest limit is that of a safetensors header, 100 MiB */

/* -------------------------------------------------------------- what reads files */

static sn_model *model;
static sn_means *means;
static sn_task *task;

static int load_model(const char *path)
{
    sn_model *loaded;
    int status = sn_model_load(&loaded, context, path);
    sn_model_free(loaded);
    return status;
}

static int estimate_model(const char *path)
{
    size_t held, peak;
    return sn_model_estimate_memory(&held, &peak, context, path, 0.5);
}

static int load_tokenizer(const char *path)
{
    sn_tokenizer *tokenizer;
    int status = sn_tokenizer_load(&tokenizer, context, path);
    sn_tokenizer_free(tokenizer);
    return status;
}

static int load_tensors(const char *path)
{
    sn_tensors *tensors;
    int status = sn_tensors_load(&tensors, context, path);
    sn_tensors_free(tensors);
    return status;
}

static int load_trainer(const char *path)
{
    sn_trainer *trainer;
    int status = sn_trainer_load(&trainer, context, path);
    sn_trainer_free(trainer);
    return status;
}

static int load_task(const char *path)
{
    sn_task *pairs;
    int status = sn_task_load_jsonl(&pairs, context, NULL, path);
    sn_task_free(pairs);
    return status;
}

static int load_circuit(const char *path)
{
    sn_circuit *circuit;
    int status = sn_circuit_load(&circuit, context, model, path);
    sn_circuit_free(circuit);
    return status;
}

static int load_released(const char *path)
{
    sn_circuit *circuit;
    int status = sn_circuit_load_released(&circuit, NULL, context, model, path, NULL);
    sn_circuit_free(circuit);
    return status;
}

static int load_search(const char *path)
{
    sn_options *options;
    sn_search *search;
    ck_assert_int_eq(sn_options_create(&options, context), SN_OK);
    ck_assert_int_eq(sn_options_set(options, context, "target_loss", 20), SN_OK);
    ck_assert_int_eq(sn_search_create(&search, context, model, means, task, NULL, options), SN_OK);
    int status = sn_search_set_file(search, path);
    sn_search_free(search);
    sn_options_free(options);
    return status;
}

static int add_token_file(const char *path)
{
    sn_corpus *corpus;
    ck_assert_int_eq(sn_corpus_create(&corpus, context), SN_OK);
    int status = sn_corpus_add_token_file(corpus, context, path, 2);
    sn_corpus_free(corpus);
    return status;
}

static const struct reader {
    const char *name;
    int (*read)(const char *path);
    int takes_folders; /* of files under names of their own, which are not there */
    int takes_nothing; /* a file that is not there is one to be made */
    int takes_zeros;   /* a file of zeros is a good one */
} readers[] = {
    {"sn_model_load", load_model, 1, 0, 0},
    {"sn_model_estimate_memory", estimate_model, 1, 0, 0},
    {"sn_tokenizer_load", load_tokenizer, 1, 0, 0},
    {"sn_tensors_load", load_tensors, 0, 0, 0},
    {"sn_trainer_load", load_trainer, 0, 0, 0},
    {"sn_task_load_jsonl", load_task, 0, 0, 0},
    {"sn_circuit_load", load_circuit, 0, 0, 0},
    {"sn_circuit_load_released", load_released, 0, 0, 0},
    {"sn_search_set_file", load_search, 0, 1, 0},
    {"sn_corpus_add_token_file", add_token_file, 0, 0, 1},
};
#define N_READERS (sizeof readers / sizeof *readers)

static void set_up(void)
{
    fixture_setup();
    worlds_prepare();
    model = planted_model(context, 1);
    means = planted_means(context, model);
    task = planted_task(context, 4, 1);
}

static void tear_down(void)
{
    sn_task_free(task);
    sn_means_free(means);
    sn_model_free(model);
    worlds_remove();
    fixture_teardown();
}

/* Refused with one of the two statuses, a message that names the path, and all memory given back; it
 * held at most what the reader's limit allows, however large the file is. A model may be looked for in
 * the folder of a path, which is what the message names then. */
static void check_refused(const struct reader *reader, const char *path, int status, int or_status)
{
    size_t before, after, peak;
    sn_context_memory(&before, NULL, context);
    int got = reader->read(path);
    sn_context_memory(&after, &peak, context);
    ck_assert_msg(got == status || got == or_status, "%s of %s: %s: %s", reader->name, path,
                  sn_status_string(got), sn_context_message(context));
    assert_message(reader->takes_folders && strstr(path, temporary.folder) ? temporary.folder : path);
    ck_assert_msg(after == before, "%s of %s: %zu bytes are left", reader->name, path, after - before);
    ck_assert_msg(peak < MOST_HELD, "%s of %s took %zu bytes", reader->name, path, peak);
}

/* ------------------------------------------------------------------ named paths */

START_TEST(nothing_a_folder_a_pipe_a_device)
{
    char folder[256], pipe_path[256];
    snprintf(folder, sizeof folder, "%s", temporary_path(&temporary, "folder"));
    snprintf(pipe_path, sizeof pipe_path, "%s", temporary_path(&temporary, "pipe"));
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    ck_assert_int_eq(mkfifo(pipe_path, 0600), 0);
    for (size_t i = 0; i < N_READERS; i++) {
        const struct reader *reader = &readers[i];
        if (!reader->takes_nothing)
            check_refused(reader, temporary_path(&temporary, "nothing"), SN_ERROR_IO, SN_ERROR_IO);
        check_refused(reader, folder, SN_ERROR_IO,
                      reader->takes_folders ? SN_ERROR_FORMAT : SN_ERROR_IO);
        check_refused(reader, pipe_path, SN_ERROR_IO, SN_ERROR_IO);
        check_refused(reader, "/dev/zero", SN_ERROR_IO, SN_ERROR_IO);
        check_refused(reader, "/dev/null", SN_ERROR_IO, SN_ERROR_IO);
    }
}
END_TEST

START_TEST(empty_files)
{
    temporary_write(&temporary, "empty", "", 0);
    for (size_t i = 0; i < N_READERS; i++)
        check_refused(&readers[i], temporary_path(&temporary, "empty"), SN_ERROR_FORMAT,
                      SN_ERROR_FORMAT);
}
END_TEST

/* As another user, where the tests run as root, who may read everything. */
START_TEST(files_that_may_not_be_read)
{
    const uid_t user = geteuid();
    temporary_write(&temporary, "secret", "secret", 6);
    ck_assert_int_eq(chmod(temporary_path(&temporary, "secret"), 0), 0);
    ck_assert_int_eq(chmod(temporary.folder, 0755), 0);
    if (user == 0)
        ck_assert_int_eq(seteuid(65534), 0);
    for (size_t i = 0; i < N_READERS; i++) {
        check_refused(&readers[i], temporary_path(&temporary, "secret"), SN_ERROR_IO, SN_ERROR_IO);
        assert_message("Permission denied");
    }
    ck_assert_int_eq(seteuid(user), 0);
}
END_TEST

/* A named path may be a link: the user has named it. What it leads to counts. */
START_TEST(links)
{
    char good[256], loop[256], dangling[256];
    snprintf(good, sizeof good, "%s", temporary_path(&temporary, "good"));
    snprintf(loop, sizeof loop, "%s", temporary_path(&temporary, "loop"));
    snprintf(dangling, sizeof dangling, "%s", temporary_path(&temporary, "dangling"));
    ck_assert_int_eq(symlink(world_input("task.jsonl"), good), 0);
    ck_assert_int_eq(symlink("loop", loop), 0);
    ck_assert_int_eq(symlink("nowhere", dangling), 0);
    ck_assert_int_eq(load_task(good), SN_OK);
    for (size_t i = 0; i < N_READERS; i++) {
        check_refused(&readers[i], loop, SN_ERROR_IO, SN_ERROR_IO);
        if (!readers[i].takes_nothing)
            check_refused(&readers[i], dangling, SN_ERROR_IO, SN_ERROR_IO);
    }
}
END_TEST

/* A gigabyte of zeros, which takes no room on the disk, and so one line; what is in front decides for
 * some. */
START_TEST(a_gigabyte_of_one_line)
{
    static const char *const fronts[] = {"", "{\"a\": \"", "SNTRAIN", "PK\3\4", "\xff\xff\xff\x3f"};
    for (size_t f = 0; f < sizeof fronts / sizeof *fronts; f++) {
        temporary_write(&temporary, "huge", fronts[f], strlen(fronts[f]));
        ck_assert_int_eq(truncate(temporary_path(&temporary, "huge"), GIBIBYTE), 0);
        for (size_t i = 0; i < N_READERS; i++)
            if (!readers[i].takes_zeros)
                check_refused(&readers[i], temporary_path(&temporary, "huge"), SN_ERROR_FORMAT,
                              readers[i].takes_folders ? SN_ERROR_IO : SN_ERROR_UNSUPPORTED);
    }
}
END_TEST

/* ----------------------------------------------------------------- a file that shrinks */

static int shrink(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)stage, (void)done, (void)total, (void)value;
    return truncate(payload, 64) != 0;
}

START_TEST(a_file_that_shrinks_while_it_is_read)
{
    static const char pair[] =
        "{\"prompt\": [1], \"alternative\": [2], \"target\": 3, \"alternative_target\": 4}\n";
    char path[256];
    sn_task *pairs;
    FILE *file = fopen(temporary_path(&temporary, "pairs.jsonl"), "wb");
    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < 40000; i++)
        fputs(pair, file);
    fclose(file);
    snprintf(path, sizeof path, "%s", temporary_path(&temporary, "pairs.jsonl"));
    sn_context_set_progress(context, shrink, path);
    ck_assert_int_eq(sn_task_load_jsonl(&pairs, context, NULL, path), SN_ERROR_IO);
    ck_assert_ptr_null(pairs);
    assert_message("shrank");
}
END_TEST

/* ------------------------------------------------------------------------- corpora */

static sn_corpus *corpus_of(const char *folder, size_t max_file_bytes, int expected)
{
    sn_corpus *corpus;
    ck_assert_int_eq(sn_corpus_create(&corpus, context), SN_OK);
    int status = sn_corpus_add_directory(corpus, context, folder, ".txt", max_file_bytes, 0);
    ck_assert_msg(status == expected, "%s: %s", sn_status_string(status), sn_context_message(context));
    return corpus;
}

/* Broken UTF-8, NULs and no line end at all are text like any other: tokens that give the same bytes
 * back. */
START_TEST(corpora_of_any_bytes)
{
    static const char bytes[] =
        "caf\xC3\xA9 \xC3\x28 \xE2\x82 \xF4\x90\x80\x80 \xED\xA0\x80 \0\0 \xFF\xFE \r\n\t\x7F";
    const size_t n = sizeof bytes - 1;
    temporary_write(&temporary, "a.txt", bytes, n);
    temporary_write(&temporary, "b.txt", "\0", 1);
    sn_corpus *corpus = corpus_of(temporary.folder, 0, SN_OK);
    sn_tokenizer *tokenizer;
    char back[256];
    size_t n_tokens, length;
    ck_assert_uint_eq(sn_corpus_count(corpus), 2);
    ck_assert_int_eq(sn_tokenizer_train(&tokenizer, context, corpus, 300, NULL), SN_OK);
    ck_assert_int_eq(sn_corpus_tokenize(corpus, context, tokenizer), SN_OK);
    const int32_t *tokens = sn_corpus_tokens(&n_tokens, corpus, 0);
    ck_assert_int_eq(
        sn_tokenizer_decode(back, sizeof back, &length, context, tokenizer, tokens, n_tokens), SN_OK);
    ck_assert_uint_eq(length, n);
    ck_assert_mem_eq(back, bytes, n);
    sn_tokenizer_free(tokenizer);
    sn_corpus_free(corpus);
}
END_TEST

/* In a folder only regular files count; links, pipes, folders of such a name and empty files are passed
 * over. */
START_TEST(folders_of_what_is_no_file)
{
    char path[256];
    temporary_write(&temporary, "a.txt", "text", 4);
    temporary_write(&temporary, "empty.txt", "", 0);
    ck_assert_int_eq(symlink("a.txt", temporary_path(&temporary, "link.txt")), 0);
    ck_assert_int_eq(symlink(".", temporary_path(&temporary, "round.txt")), 0);
    ck_assert_int_eq(symlink("nowhere", temporary_path(&temporary, "dangling.txt")), 0);
    ck_assert_int_eq(mkfifo(temporary_path(&temporary, "pipe.txt"), 0600), 0);
    ck_assert_int_eq(mkdir(temporary_path(&temporary, "folder.txt"), 0700), 0);
    sn_corpus *corpus = corpus_of(temporary.folder, 0, SN_OK);
    ck_assert_uint_eq(sn_corpus_count(corpus), 1);
    sn_corpus_free(corpus);
    snprintf(path, sizeof path, "%s", temporary_path(&temporary, "a.txt"));
    sn_corpus_free(corpus_of(path, 0, SN_ERROR_IO)); /* a file in place of the folder */
}
END_TEST

/* One file that may not be read ends the whole, which is as if it had never begun. */
START_TEST(corpora_with_a_file_that_may_not_be_read)
{
    const uid_t user = geteuid();
    temporary_write(&temporary, "a.txt", "text", 4);
    temporary_write(&temporary, "secret.txt", "text", 4);
    ck_assert_int_eq(chmod(temporary_path(&temporary, "secret.txt"), 0), 0);
    ck_assert_int_eq(chmod(temporary.folder, 0755), 0);
    if (user == 0)
        ck_assert_int_eq(seteuid(65534), 0);
    sn_corpus *corpus = corpus_of(temporary.folder, 0, SN_ERROR_IO);
    ck_assert_int_eq(seteuid(user), 0);
    assert_message("secret.txt");
    ck_assert_uint_eq(sn_corpus_count(corpus), 0);
    sn_corpus_free(corpus);
}
END_TEST

/* A huge file is passed over unless more is allowed. Then reading it takes twice its size, once for the
 * file and once for the document; tokenising it another 4 bytes for each token, and for a single piece
 * of text the merging's own. */
static void check_huge_line(size_t size, size_t limit, int may_lack_memory)
{
    size_t held, peak;
    sn_tokenizer *tokenizer;
    temporary_write(&temporary, "huge.txt", "x = 'a'", 7);
    ck_assert_int_eq(truncate(temporary_path(&temporary, "huge.txt"), (off_t)size), 0);
    sn_corpus *corpus = corpus_of(temporary.folder, 0, SN_OK);
    ck_assert_uint_eq(sn_corpus_count(corpus), 0);
    sn_corpus_free(corpus);
    corpus = corpus_of(temporary.folder, size, SN_OK);
    sn_context_memory(&held, &peak, context);
    ck_assert_uint_ge(held, size);
    ck_assert_uint_le(peak, 2 * size + 8 * MEBIBYTE);
    ck_assert_int_eq(sn_tokenizer_load(&tokenizer, context, world_input("tokenizer")), SN_OK);
    ck_assert_int_eq(sn_context_set_memory_limit(context, limit), SN_OK);
    int status = sn_corpus_tokenize(corpus, context, tokenizer);
    ck_assert_msg(status == SN_OK || (may_lack_memory && status == SN_ERROR_MEMORY), "%s: %s",
                  sn_status_string(status), sn_context_message(context));
    if (status == SN_OK)
        ck_assert_uint_gt(sn_corpus_token_count(corpus), 0);
    sn_tokenizer_free(tokenizer);
    sn_corpus_free(corpus);
}

START_TEST(a_corpus_of_one_long_line)
{
    check_huge_line(4 * MEBIBYTE, 0, 0);
}
END_TEST

START_TEST(a_corpus_of_one_line_of_a_gigabyte)
{
    check_huge_line((size_t)GIBIBYTE, (size_t)6 * GIBIBYTE, 1);
}
END_TEST

Suite *hostile_files_suite(void)
{
    Suite *suite = suite_create("hostile_files");
    TCase *paths = tcase_create("paths"), *corpora = tcase_create("corpora");
    tcase_add_checked_fixture(paths, set_up, tear_down);
    tcase_add_checked_fixture(corpora, set_up, tear_down);
    tcase_add_test(paths, nothing_a_folder_a_pipe_a_device);
    tcase_add_test(paths, empty_files);
    tcase_add_test(paths, files_that_may_not_be_read);
    tcase_add_test(paths, links);
    tcase_add_test(paths, a_gigabyte_of_one_line);
    tcase_add_test(paths, a_file_that_shrinks_while_it_is_read);
    tcase_add_test(corpora, corpora_of_any_bytes);
    tcase_add_test(corpora, folders_of_what_is_no_file);
    tcase_add_test(corpora, corpora_with_a_file_that_may_not_be_read);
    tcase_add_test(corpora, a_corpus_of_one_long_line);
    if (long_tests())
        tcase_add_test(corpora, a_corpus_of_one_line_of_a_gigabyte);
    suite_add_tcase(suite, paths);
    suite_add_tcase(suite, corpora);
    return suite;
}
