/* Zip archives: every form of the directory that is read, every lie that is refused. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "format/zip.h"
#include "zip_writer.h"
#include "fixture.h"

static struct zip_writer writer;
static struct zip zip;

static void teardown(void)
{
    zip_close(&zip);
    zip_writer_free(&writer);
    fixture_teardown();
}

static unsigned char large[70000];

/* top/b of 70000 bytes, top/a of 5, top/empty, a folder. */
static void write_entries(void)
{
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (unsigned char)(i * i >> 3);
    zip_writer_add(&writer, "top/b", large, sizeof large);
    zip_writer_add(&writer, "top/a", "hello", 5);
    zip_writer_add(&writer, "top/empty", "", 0);
    zip_writer_add(&writer, "top/", "", 0);
}

static const char *write_file(void)
{
    temporary_write(&temporary, "a.zip", writer.bytes, writer.size);
    return temporary.path;
}

static int open_file(void)
{
    return zip_open(&zip, context, write_file());
}

static void assert_whole(const char *name, const void *bytes, size_t size)
{
    unsigned char *whole;
    const struct zip_entry *entry = zip_find(&zip, name);
    ck_assert_ptr_nonnull(entry);
    ck_assert_uint_eq(entry->size, size);
    ck_assert_int_eq(zip_read_whole(&whole, &zip, context, entry, size), SN_OK);
    ck_assert_int_eq(memcmp(whole, bytes, size), 0);
    memory_free(context->memory, whole, size);
}

static void assert_entries(void)
{
    unsigned char part[100];
    ck_assert_uint_eq(zip.n_entries, 4);
    assert_whole("top/a", "hello", 5);
    assert_whole("top/b", large, sizeof large);
    assert_whole("top/empty", "", 0);
    ck_assert_ptr_null(zip_find(&zip, "top/c"));
    ck_assert_ptr_null(zip_find(&zip, "top"));
    const struct zip_entry *b = zip_find(&zip, "top/b");
    ck_assert_int_eq(zip_read(part, &zip, context, b, 69950, 50), SN_OK);
    ck_assert_int_eq(memcmp(part, large + 69950, 50), 0);
    ck_assert_int_eq(zip_read(part, &zip, context, b, 69950, 51), SN_ERROR_FORMAT);
    ck_assert_int_eq(zip_read(part, &zip, context, b, 70001, 0), SN_ERROR_FORMAT);
    ck_assert_int_eq(zip_read(part, &zip, context, b, UINT64_MAX, 2), SN_ERROR_FORMAT);
    assert_message("entry top/b has 70000 bytes, 2 wanted from 18446744073709551615");
}

/* With and without zip64 records, zip64 fields, sizes behind the data, a comment. */
START_TEST(every_form)
{
    static const char *const comments[] = {"", "a comment PK\5\6 with a signature, of no meaning"};
    for (int form = 0; form < 16; form++) {
        writer.sizes_behind = form & 1;
        write_entries();
        writer.zip64_fields = form >> 1 & 1;
        zip_writer_finish(&writer, form >> 2 & 1, comments[form >> 3]);
        ck_assert_msg(open_file() == SN_OK, "form %d: %s", form, sn_context_message(context));
        assert_entries();
        zip_close(&zip);
        zip_writer_free(&writer);
    }
}
END_TEST

START_TEST(an_archive_without_entries)
{
    zip_writer_finish(&writer, 0, "");
    ck_assert_int_eq(open_file(), SN_OK);
    ck_assert_uint_eq(zip.n_entries, 0);
    ck_assert_ptr_null(zip_find(&zip, ""));
}
END_TEST

START_TEST(whole_entries_are_checked)
{
    unsigned char *whole = large;
    write_entries();
    zip_writer_finish(&writer, 0, "");
    writer.bytes[writer.entries[1].local + 30 + 5 + 8 + 2] ^= 1; /* "hello" */
    ck_assert_int_eq(open_file(), SN_OK);
    ck_assert_int_eq(zip_read_whole(&whole, &zip, context, zip_find(&zip, "top/a"), 5), SN_ERROR_FORMAT);
    ck_assert_ptr_null(whole);
    assert_message("entry top/a does not match its checksum");
    ck_assert_int_eq(zip_read_whole(&whole, &zip, context, zip_find(&zip, "top/b"), 69999),
                     SN_ERROR_FORMAT);
    assert_message("has 70000 bytes, the limit is 69999");
}
END_TEST

/* One field spoilt at a time. record: of entry 0 in its local header, the directory, or an end record. */
enum record { LOCAL, CENTRAL, END, END64, LOCATOR };
static const struct {
    enum record record;
    size_t at, size;
    uint64_t value;
    int status;
    const char *message;
} lies[] = {
    {LOCAL, 0, 4, 0x04034b51, SN_ERROR_FORMAT, "entry top/b has no header where it should be"},
    {LOCAL, 6, 2, 0x801, SN_ERROR_UNSUPPORTED, "entry top/b is encrypted"},
    {LOCAL, 6, 2, 0x840, SN_ERROR_UNSUPPORTED, "entry top/b is encrypted"},
    {LOCAL, 8, 2, 8, SN_ERROR_UNSUPPORTED, "entry top/b is compressed (method 8)"},
    {LOCAL, 18, 4, 69999, SN_ERROR_FORMAT, "entry top/b has another size in its own header"},
    {LOCAL, 22, 4, 69999, SN_ERROR_FORMAT, "entry top/b has another size in its own header"},
    {LOCAL, 26, 2, 4, SN_ERROR_FORMAT, "entry top/b has no header where it should be"},
    {LOCAL, 28, 2, 9, SN_ERROR_FORMAT, "entry top/b overlaps what stands behind it"},
    {LOCAL, 28, 2, 0xFFFF, SN_ERROR_FORMAT, "entry top/b overlaps what stands behind it"},
    {LOCAL, 34, 1, 'c', SN_ERROR_FORMAT, "entry top/b has another name in its own header"},
    {CENTRAL, 0, 4, 0x02014b51, SN_ERROR_FORMAT, "the zip directory is malformed at record 0"},
    {CENTRAL, 8, 2, 1, SN_ERROR_UNSUPPORTED, "entry top/b is encrypted"},
    {CENTRAL, 8, 2, 0x2000, SN_ERROR_UNSUPPORTED, "entry top/b is encrypted"},
    {CENTRAL, 10, 2, 8, SN_ERROR_UNSUPPORTED, "entry top/b is compressed (method 8); only stored"},
    {CENTRAL, 10, 2, 99, SN_ERROR_UNSUPPORTED, "method 99"},
    {CENTRAL, 20, 4, 5, SN_ERROR_FORMAT, "entry top/b is stored, but in another number of bytes"},
    {CENTRAL, 24, 4, 0x7FFFFFFF, SN_ERROR_FORMAT,
     "entry top/b is stored, but in another number of bytes"},
    {CENTRAL, 24, 4, 0xFFFFFFFF, SN_ERROR_FORMAT, "entry top/b has a malformed zip64 field"},
    {CENTRAL, 28, 2, 0, SN_ERROR_FORMAT, "the name of entry 0 is no clean UTF-8 text"},
    {CENTRAL, 28, 2, 0xFFFF, SN_ERROR_FORMAT, "the zip directory is cut in record 0"},
    {CENTRAL, 30, 2, 0xFFFF, SN_ERROR_FORMAT, "the zip directory is cut in record 0"},
    {CENTRAL, 30, 2, 1, SN_ERROR_FORMAT, "the zip directory is malformed at record 1"},
    {CENTRAL, 34, 2, 1, SN_ERROR_UNSUPPORTED, "entry top/b stands on another disk"},
    {CENTRAL, 42, 4, 1, SN_ERROR_FORMAT, "entry top/b has no header where it should be"},
    {CENTRAL, 42, 4, 0x7FFFFFFF, SN_ERROR_FORMAT, "entry top/b overlaps what stands behind it"},
    {CENTRAL, 46, 1, 0, SN_ERROR_FORMAT, "the name of entry 0 is no clean UTF-8 text"},
    {CENTRAL, 46, 1, '\n', SN_ERROR_FORMAT, "the name of entry 0 is no clean UTF-8 text"},
    {CENTRAL, 46, 1, 0xFF, SN_ERROR_FORMAT, "the name of entry 0 is no clean UTF-8 text"},
    {CENTRAL, 50, 1, 'a', SN_ERROR_FORMAT, "has another name in its own header"},
    {END, 0, 4, 0x06054b51, SN_ERROR_FORMAT, "no zip file, or cut short: it has no end record"},
    {END, 4, 2, 1, SN_ERROR_UNSUPPORTED, "several disks"},
    {END, 8, 2, 3, SN_ERROR_UNSUPPORTED, "several disks"},
    {END, 12, 4, 0, SN_ERROR_FORMAT, "cannot stand at byte"},
    {END, 12, 4, 0x7FFFFFFF, SN_ERROR_FORMAT,
     "a zip directory of 2147483647 bytes, the limit is 67108864"},
    {END, 16, 4, 0, SN_ERROR_FORMAT, "a zip directory of 4 entries in 207 bytes cannot stand at byte 0"},
    {END, 16, 4, 0xFFFFFFFF, SN_ERROR_FORMAT, "cannot stand at byte 4294967295"},
    {END, 20, 2, 1, SN_ERROR_FORMAT, "it has no end record"},
    {END64, 0, 4, 0x06064b51, SN_ERROR_FORMAT, "there is no zip64 end record at byte"},
    {END64, 4, 8, 45, SN_ERROR_FORMAT, "there is no zip64 end record at byte"},
    {END64, 16, 4, 1, SN_ERROR_UNSUPPORTED, "several disks"},
    {END64, 24, 8, 5, SN_ERROR_UNSUPPORTED, "several disks"},
    {END64, 40, 8, UINT64_MAX, SN_ERROR_FORMAT, "a zip directory of 18446744073709551615 bytes"},
    {END64, 48, 8, 0x8000000000000008, SN_ERROR_FORMAT, "cannot stand at byte 9223372036854775816"},
    {LOCATOR, 4, 4, 1, SN_ERROR_UNSUPPORTED, "several disks"},
    {LOCATOR, 8, 8, UINT64_MAX, SN_ERROR_FORMAT, "the zip64 end record cannot stand at byte"},
    {LOCATOR, 8, 8, 0, SN_ERROR_FORMAT, "there is no zip64 end record at byte 0"},
    {LOCATOR, 16, 4, 2, SN_ERROR_UNSUPPORTED, "several disks"},
};

START_TEST(every_lie)
{
    write_entries();
    zip_writer_finish(&writer, lies[_i].record >= END64, "");
    const size_t places[] = {writer.entries[0].local, writer.central[0], writer.end, writer.end64,
                             writer.locator};
    zip_writer_patch(&writer, places[lies[_i].record] + lies[_i].at, lies[_i].value, lies[_i].size);
    ck_assert_msg(open_file() == lies[_i].status, "%s", sn_context_message(context));
    assert_message(temporary.path);
    assert_message(lies[_i].message);
}
END_TEST

START_TEST(end_records_must_agree)
{
    static const size_t at[] = {10, 12, 16};
    for (size_t i = 0; i < 3; i++) {
        write_entries();
        zip_writer_finish(&writer, 1, "");
        zip_writer_patch(&writer, writer.end + at[i], 3, i ? 4 : 2);
        ck_assert_int_eq(open_file(), SN_ERROR_FORMAT);
        assert_message("the two end records of the zip file disagree");
        zip_writer_free(&writer);
    }
}
END_TEST

START_TEST(entries_counted_wrongly)
{
    static const uint64_t counts[] = {3, 5, 500};
    static const char *const messages[] = {"holds more than its entries",
                                           "a zip directory of 5 entries in 207 bytes cannot stand",
                                           "cannot stand"};
    for (size_t i = 0; i < 3; i++) {
        write_entries();
        zip_writer_finish(&writer, 0, "");
        zip_writer_patch(&writer, writer.end + 8, counts[i], 2);
        zip_writer_patch(&writer, writer.end + 10, counts[i], 2);
        ck_assert_int_eq(open_file(), SN_ERROR_FORMAT);
        assert_message(messages[i]);
        zip_writer_free(&writer);
    }
}
END_TEST

START_TEST(names_stand_once)
{
    zip_writer_add(&writer, "top/data.pkl", "good", 4);
    zip_writer_add(&writer, "top/other", "", 0);
    zip_writer_add(&writer, "top/data.pkl", "evil", 4);
    zip_writer_finish(&writer, 0, "");
    ck_assert_int_eq(open_file(), SN_ERROR_FORMAT);
    assert_message("entry top/data.pkl stands there twice");
}
END_TEST

/* Two records of the directory that point to one entry. */
START_TEST(entries_do_not_share_bytes)
{
    write_entries();
    zip_writer_finish(&writer, 0, "");
    zip_writer_patch(&writer, writer.central[1] + 42, writer.entries[0].local, 4);
    ck_assert_int_eq(open_file(), SN_ERROR_FORMAT);
    assert_message("overlaps what stands behind it");
}
END_TEST

/* No prefix of an archive is one. */
START_TEST(cut_anywhere)
{
    zip_writer_add(&writer, "a", "hello", 5);
    zip_writer_add(&writer, "b", "", 0);
    zip_writer_finish(&writer, 1, "comment");
    const size_t size = writer.size;
    for (writer.size = 0; writer.size < size; writer.size++)
        ck_assert_msg(open_file() == SN_ERROR_FORMAT, "cut to %zu bytes", writer.size);
    writer.size = size;
    ck_assert_int_eq(open_file(), SN_OK);
}
END_TEST

START_TEST(utf8)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\xC2\x80",
                                       "\xDF\xBF",
                                       "\xE0\xA0\x80",
                                       "\xED\x9F\xBF",
                                       "\xEE\x80\x80",
                                       "\xEF\xBF\xBF",
                                       "\xF0\x90\x80\x80",
                                       "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {"\x80",
                                      "\xC1\xBF",
                                      "\xC2",
                                      "\xC2"
                                      "a",
                                      "\xE0\x9F\xBF",
                                      "\xED\xA0\x80",
                                      "\xE1\x80",
                                      "\xE1\x80"
                                      "a",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xF1\x80\x80",
                                      "\xFF",
                                      "a\xFE"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(utf8_is_valid((const unsigned char *)good[i], strlen(good[i])), "good %zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!utf8_is_valid((const unsigned char *)bad[i], strlen(bad[i])), "bad %zu", i);
}
END_TEST

static int open_attempt(sn_context *with, void *payload)
{
    struct zip own;
    unsigned char *whole = NULL;
    int status = zip_open(&own, with, payload);
    const struct zip_entry *entry = status == SN_OK ? zip_find(&own, "top/b") : NULL;
    if (entry)
        status = zip_read_whole(&whole, &own, with, entry, 70000);
    if (whole)
        memory_free(with->memory, whole, 70000);
    zip_close(&own);
    return status;
}

START_TEST(out_of_memory)
{
    write_entries();
    zip_writer_finish(&writer, 1, "");
    ck_assert_uint_eq(oom_loop(open_attempt, (void *)(uintptr_t)write_file(), 1, 0), 4);
}
END_TEST

Suite *zip_suite(void)
{
    Suite *suite = suite_create("zip");
    TCase *tcase = tcase_create("zip");
    tcase_add_checked_fixture(tcase, fixture_setup, teardown);
    tcase_add_test(tcase, every_form);
    tcase_add_test(tcase, an_archive_without_entries);
    tcase_add_test(tcase, whole_entries_are_checked);
    tcase_add_loop_test(tcase, every_lie, 0, sizeof lies / sizeof *lies);
    tcase_add_test(tcase, end_records_must_agree);
    tcase_add_test(tcase, entries_counted_wrongly);
    tcase_add_test(tcase, names_stand_once);
    tcase_add_test(tcase, entries_do_not_share_bytes);
    tcase_add_test(tcase, cut_anywhere);
    tcase_add_test(tcase, utf8);
    tcase_add_test(tcase, out_of_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
