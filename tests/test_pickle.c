/* The pickle machine: what each opcode makes, what is refused, and every limit. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/random.h"
#include "format/pickle.h"
#include "fixture.h"

static struct pickle pickle;
static unsigned char *bytes;

static void clear(void)
{
    pickle_free(&pickle);
    free(bytes);
    bytes = NULL;
}

static void teardown(void)
{
    clear();
    fixture_teardown();
}

/* ---- an allow-list */

static int call_dict(struct pickle_value **out, struct pickle *p, const struct pickle_global *global,
                     struct pickle_value *arguments)
{
    (void)global;
    (void)arguments;
    *out = pickle_new(p, PICKLE_DICT);
    return *out ? SN_OK : p->status;
}

static int call_refuse(struct pickle_value **out, struct pickle *p, const struct pickle_global *global,
                       struct pickle_value *arguments)
{
    (void)out;
    return pickle_fail(p, SN_ERROR_FORMAT, "%s does not like its %lu arguments", global->name,
                       (unsigned long)arguments->as.items.n);
}

/* The object is the payload. */
static int persistent(struct pickle_value **out, struct pickle *p, struct pickle_value *id)
{
    (void)id;
    *out = pickle_new_object(p, 7, p->payload);
    return *out ? SN_OK : p->status;
}

static const struct pickle_global globals[] = {
    {"m", "dict", call_dict, 0},
    {"m", "refuse", call_refuse, 0},
    {"m", "name", NULL, 5},
};
static const struct pickle_rules rules = {globals, 3, persistent}, bare = {globals, 3, NULL};

/* ---- values as text */

static void write_value(struct buffer *text, const struct pickle_value *value);

static void write_items(struct buffer *text, const struct pickle_value *value)
{
    const int is_dict = value->kind == PICKLE_DICT;
    for (uint32_t i = 0; i < value->as.items.n; i++) {
        buffer_text(text, i == 0 ? "" : is_dict && i % 2 ? ": " : ", ");
        write_value(text, value->as.items.list[i]);
    }
}

static void write_value(struct buffer *text, const struct pickle_value *value)
{
    static const char *const open[] = {[PICKLE_LIST] = "[", [PICKLE_TUPLE] = "(", [PICKLE_DICT] = "{"};
    static const char *const close[] = {[PICKLE_LIST] = "]", [PICKLE_TUPLE] = ")", [PICKLE_DICT] = "}"};
    switch (value->kind) {
    case PICKLE_NONE: buffer_text(text, "None"); break;
    case PICKLE_BOOL: buffer_text(text, value->as.integer ? "True" : "False"); break;
    case PICKLE_INTEGER: buffer_format(text, "%lld", (long long)value->as.integer); break;
    case PICKLE_NUMBER: buffer_number(text, value->as.number, 6); break;
    case PICKLE_TEXT:
    case PICKLE_BYTES:
        ck_assert_int_eq(value->as.text.bytes[value->as.text.length], 0);
        buffer_format(text, value->kind == PICKLE_TEXT ? "'%s'" : "b'%s'", value->as.text.bytes);
        break;
    case PICKLE_GLOBAL:
        buffer_format(text, "%s.%s", value->as.global->module, value->as.global->name);
        break;
    case PICKLE_OBJECT: buffer_format(text, "object %d", value->object); break;
    default:
        buffer_text(text, open[value->kind]);
        write_items(text, value);
        buffer_text(text, close[value->kind]);
    }
}

/* ---- reading */

/* A copy of exactly this size, so that a read behind it shows under a sanitizer. */
static int read_with(const void *from, size_t size, const struct pickle_rules *allowed)
{
    clear();
    bytes = malloc(size ? size : 1);
    memcpy(bytes, from, size);
    int status = pickle_read(&pickle, context, "file.pt", "data.pkl", bytes, size, allowed, &oom);
    ck_assert_int_eq(status == SN_OK, pickle.root != NULL);
    ck_assert_ptr_null(pickle.stack);
    ck_assert_ptr_null(pickle.memo);
    return status;
}

static int read_bytes(const void *from, size_t size)
{
    return read_with(from, size, &rules);
}

#define READ(literal) read_bytes(literal, sizeof literal - 1)

struct example {
    const char *bytes;
    size_t size;
    const char *text; /* the value, or a part of the message */
};
#define EXAMPLE(literal, text)                                                                          \
    {                                                                                                   \
        literal, sizeof literal - 1, text                                                               \
    }

static const struct example good[] = {
    EXAMPLE("N.", "None"),
    EXAMPLE("\x80\2\x88.", "True"),
    EXAMPLE("\x80\3\x89.", "False"),
    EXAMPLE("K\xFF.", "255"),
    EXAMPLE("M\xFE\xFF.", "65534"),
    EXAMPLE("J\xFE\xFF\xFF\xFF.", "-2"),
    EXAMPLE("J\xFE\xFF\xFF\x7F.", "2147483646"),
    EXAMPLE("\x8A\0.", "0"),
    EXAMPLE("\x8A\1\xFE.", "-2"),
    EXAMPLE("\x8A\5\0\0\0\0\1.", "4294967296"),
    EXAMPLE("\x8A\x8\0\0\0\0\0\0\0\x80.", "-9223372036854775808"),
    EXAMPLE("\x8A\x8\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F.", "9223372036854775807"),
    EXAMPLE("\x8A\x9\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F\0.", "9223372036854775807"),
    EXAMPLE("\x8A\xA\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF.", "-1"),
    EXAMPLE("G\xBF\xC0\0\0\0\0\0\0.", "-0.125"),
    EXAMPLE("X\3\0\0\0a\xC3\xA9.", "'a\xC3\xA9'"),
    EXAMPLE("\x80\4\x95\5\0\0\0\0\0\0\0\x8C\2ok.", "'ok'"),
    EXAMPLE("\x8D\2\0\0\0\0\0\0\0ok.", "'ok'"),
    EXAMPLE("\x8C\0.", "''"),
    EXAMPLE("B\2\0\0\0\xFF!.", "b'\xFF!'"),
    EXAMPLE("C\1x.", "b'x'"),
    EXAMPLE("].", "[]"),
    EXAMPLE(").", "()"),
    EXAMPLE("}.", "{}"),
    EXAMPLE("]K\1a]a.", "[1, []]"),
    EXAMPLE("](K\1K\2K\3K\4K\5e.", "[1, 2, 3, 4, 5]"),
    EXAMPLE("](e.", "[]"),
    EXAMPLE("(t.", "()"),
    EXAMPLE("(K\1K\2t.", "(1, 2)"),
    EXAMPLE("K\1\x85.", "(1)"),
    EXAMPLE("K\1K\2\x86.", "(1, 2)"),
    EXAMPLE("K\1K\2K\3\x87.", "(1, 2, 3)"),
    EXAMPLE("}\x8C\1aK\1s.", "{'a': 1}"),
    EXAMPLE("}(\x8C\1aK\1K\2(tu.", "{'a': 1, 2: ()}"),
    EXAMPLE("}(\x8C\1aK\1K\2)u.", "{'a': 1, 2: ()}"),
    EXAMPLE("]r\0\1\0\0K\1aj\0\1\0\0\x86.", "([1], [1])"),
    EXAMPLE("]\x94\x8C\1a\x94"
            "ah\0h\1\x87.",
            "(['a'], ['a'], 'a')"),
    EXAMPLE("]q\5\x94K\1\x94h\1\x87.", "([], 1, [])"),
    EXAMPLE("]q\5K\1\x94h\1h\5\x87\x86.", "([], (1, 1, []))"),
    EXAMPLE("cm\nname\n.", "m.name"),
    EXAMPLE("\x8C\1m\x8C\4name\x93.", "m.name"),
    EXAMPLE("cm\ndict\n)R.", "{}"),
    EXAMPLE("cm\ndict\n)R}\x8C\1xNsb.", "{}"), /* the state goes */
    EXAMPLE("K\1Q.", "object 7"),
};

START_TEST(what_opcodes_make)
{
    struct buffer text;
    buffer_init(&text, context->memory);
    ck_assert_msg(read_bytes(good[_i].bytes, good[_i].size) == SN_OK, "%s: %s", good[_i].text,
                  sn_context_message(context));
    write_value(&text, pickle.root);
    ck_assert_str_eq(text.bytes, good[_i].text);
    buffer_free(&text);
}
END_TEST

/* No beginning of a pickle is one. */
START_TEST(cut_anywhere)
{
    for (size_t size = 0; size < good[_i].size; size++)
        ck_assert_msg(read_bytes(good[_i].bytes, size) == SN_ERROR_FORMAT, "%s cut to %zu bytes",
                      good[_i].text, size);
}
END_TEST

START_TEST(persistent_ids_carry_the_payload)
{
    ck_assert_int_eq(READ("K\1Q."), SN_OK);
    ck_assert_ptr_eq(pickle.root->as.pointer, &oom);
    ck_assert_int_eq(read_with("K\1Q.", 4, &bare), SN_ERROR_UNSUPPORTED);
    assert_message("opcode BINPERSID (0x51) at byte 2: persistent ids are not allowed");
}
END_TEST

static const struct example malformed[] = {
    EXAMPLE("\x80\6N.", "opcode PROTO (0x80) at byte 0: protocol 6; at most 5 is read"),
    EXAMPLE("\x95\3\0\0\0\0\0\0\0N.",
            "FRAME (0x95) at byte 0: a frame of 3 bytes, the pickle has 2 more"),
    EXAMPLE(".", "opcode STOP (0x2E) at byte 0: 0 values and 0 marks are left"),
    EXAMPLE("NN.", "STOP (0x2E) at byte 2: 2 values and 0 marks are left"),
    EXAMPLE("N(.", "1 values and 1 marks are left"),
    EXAMPLE("N..", "STOP (0x2E) at byte 1: 1 bytes behind the end"),
    EXAMPLE("N", "the pickle ends at byte 1 without STOP"),
    EXAMPLE("J\1\2", "opcode BININT (0x4A) at byte 0: 4 bytes are wanted, the pickle has 2 more"),
    EXAMPLE("X\xFF\xFF\xFF\xFF"
            "a.",
            "BINUNICODE (0x58) at byte 0: 4294967295 bytes are wanted, the pickle has 2"),
    EXAMPLE("\x8D\0\0\0\0\0\0\0\x40"
            "a.",
            "4611686018427387904 bytes are wanted"),
    EXAMPLE("\x8D\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
            "a.",
            "18446744073709551615 bytes are wanted"),
    EXAMPLE("\x8A\x9\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0.",
            "LONG1 (0x8A) at byte 0: an integer of more than 64"),
    EXAMPLE("\x8A\x9\0\0\0\0\0\0\0\0\1.", "more than 64 bits"),
    EXAMPLE("\x8A\x9\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F\xFF.", "more than 64 bits"),
    EXAMPLE("\x8C\1\xE9.", "SHORT_BINUNICODE (0x8C) at byte 0: the text is not UTF-8"),
    EXAMPLE("R", "opcode REDUCE (0x52) at byte 0: 2 values are wanted from the stack, it has 0"),
    EXAMPLE("K\1t.", "opcode TUPLE (0x74) at byte 2: there is no MARK"),
    EXAMPLE("K\1(\x85.", "TUPLE1 (0x85) at byte 3: 1 values are wanted from the stack, it has 0"),
    EXAMPLE("K\1e.", "APPENDS (0x65) at byte 2: there is no MARK"),
    EXAMPLE("K\1u.", "there is no MARK"),
    EXAMPLE("}K\1a.", "APPEND (0x61) at byte 3: a list is wanted on the stack, not a dict"),
    EXAMPLE(")K\1a.", "a list is wanted on the stack, not a tuple"),
    EXAMPLE("]K\1K\2s.", "SETITEM (0x73) at byte 5: a dict is wanted on the stack, not a list"),
    EXAMPLE("K\1K\2s.", "1 values are wanted from the stack, it has 0"),
    EXAMPLE("}(K\1u.", "SETITEMS (0x75) at byte 4: a key without a value"),
    EXAMPLE("h\7.", "BINGET (0x68) at byte 0: memo slot 7 has never been set"),
    EXAMPLE("Nq\1h\0.", "memo slot 0 has never been set"),
    EXAMPLE("j\xFF\xFF\xFF\xFF.",
            "LONG_BINGET (0x6A) at byte 0: memo slot 4294967295 has never been set"),
    EXAMPLE("Nr\xFF\xFF\xFF\xFF.",
            "LONG_BINPUT (0x72) at byte 1: memo slot 4294967295; the limit is 4194304"),
    EXAMPLE("q\0N.", "BINPUT (0x71) at byte 0: 1 values are wanted from the stack, it has 0"),
    EXAMPLE("cm\nname", "opcode GLOBAL (0x63) at byte 0: a line without end"),
    EXAMPLE("c\xFF\nname\n.", "the name of a global is not UTF-8"),
    EXAMPLE("NN\x93.", "STACK_GLOBAL (0x93) at byte 2: the name of a global is None"),
    EXAMPLE("\x8C\1m\x8C\6name\0x\x93.", "the name of a global is a text with a NUL"),
    EXAMPLE("N)R.", "REDUCE (0x52) at byte 2: a call of None with a tuple"),
    EXAMPLE("cm\ndict\nNR.", "a call of a name with None"),
    EXAMPLE("cm\nrefuse\nN\x85R.", "REDUCE (0x52) at byte 12: refuse does not like its 1 arguments"),
    EXAMPLE("}}b", "the pickle ends"),
    EXAMPLE("]}b.", "opcode BUILD (0x62) at byte 2: a dict is wanted on the stack, not a list"),
};

START_TEST(malformed_pickles)
{
    int status = read_bytes(malformed[_i].bytes, malformed[_i].size);
    ck_assert_msg(status == SN_ERROR_FORMAT || status == SN_ERROR_UNSUPPORTED, "status %d", status);
    assert_message("file.pt: data.pkl: ");
    assert_message(malformed[_i].text);
}
END_TEST

static const struct example refused[] = {
    EXAMPLE("cos\nsystem\n.", "opcode GLOBAL (0x63) at byte 0: global os.system is not allowed"),
    EXAMPLE("cm\nother\n.", "global m.other is not allowed"),
    EXAMPLE("c\n\n.", "global . is not allowed"),
    EXAMPLE("\x8C\2os\x8C\6system\x93.",
            "STACK_GLOBAL (0x93) at byte 12: global os.system is not allowed"),
    EXAMPLE("cm\nname\n)R.", "REDUCE (0x52) at byte 9: m.name may be named, not called"),
    EXAMPLE("}Nb.", "BUILD (0x62) at byte 2: a state that is None"),
    EXAMPLE("\x82\1.", "opcode EXT1 (0x82) at byte 0: this opcode is not allowed"),
    EXAMPLE("(ios\nsystem\n.", "opcode INST (0x69) at byte 1: this opcode is not allowed"),
    EXAMPLE("cm\ndict\n)\x81.", "opcode NEWOBJ (0x81) at byte 9: this opcode is not allowed"),
    EXAMPLE("\xFF.", "opcode unknown (0xFF) at byte 0: this opcode is not allowed"),
};

START_TEST(what_is_not_allowed)
{
    ck_assert_int_eq(read_bytes(refused[_i].bytes, refused[_i].size), SN_ERROR_UNSUPPORTED);
    assert_message(refused[_i].text);
}
END_TEST

/* The allow-list itself: exactly these opcodes do anything. */
START_TEST(the_opcodes_allowed)
{
    static const char allowed[] =
        "().BCGJKMNQRX]abcehjqrstu}\x80\x85\x86\x87\x88\x89\x8A\x8C\x8D\x93\x94\x95";
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned char opcode = (unsigned char)byte;
        read_bytes(&opcode, 1);
        int is_allowed = memchr(allowed, (int)byte, sizeof allowed - 1) != NULL;
        int is_refused = strstr(sn_context_message(context), "this opcode is not allowed") != NULL;
        ck_assert_msg(is_allowed != is_refused, "opcode 0x%02X", byte);
    }
}
END_TEST

/* ---- limits */

/* `head`, then n times `part`, then `tail`. */
static int read_repeated(const char *head, const char *part, size_t n_part, size_t n, const char *tail)
{
    struct buffer text;
    buffer_init(&text, context->memory);
    buffer_text(&text, head);
    for (size_t i = 0; i < n; i++)
        buffer_append(&text, part, n_part);
    buffer_text(&text, tail);
    ck_assert(!text.failed);
    int status = read_bytes(text.bytes, text.size);
    buffer_free(&text);
    return status;
}

START_TEST(depth)
{
    ck_assert_int_eq(read_repeated("N", "\x85", 1, PICKLE_MAX_DEPTH, "."), SN_OK);
    ck_assert_uint_eq(pickle.root->height, PICKLE_MAX_DEPTH);
    ck_assert_int_eq(read_repeated("N", "\x85", 1, PICKLE_MAX_DEPTH + 1, "."), SN_ERROR_FORMAT);
    assert_message("values nested deeper than 64 levels");
    ck_assert_int_eq(read_repeated("N", "\x85", 1, 300000, "."), SN_ERROR_FORMAT);
    assert_message("values nested deeper than 64 levels");
    ck_assert_int_eq(read_repeated("", "(", 1, 300000, "."), SN_ERROR_FORMAT);
    assert_message("opcode MARK (0x28) at byte 256: values nested deeper than 64 levels");
}
END_TEST

/* A list 40 levels deep that stands below 40 more, where another path has measured it already. */
START_TEST(depth_over_several_paths)
{
    struct buffer text;
    buffer_init(&text, context->memory);
    buffer_text(&text, "]N");
    for (int i = 0; i < 40; i++)
        buffer_text(&text, "\x85");
    buffer_text(&text, "q\1a"); /* the list holds it once, shallow */
    buffer_text(&text, "h\1");
    for (int i = 0; i < 40; i++)
        buffer_text(&text, "\x85");
    buffer_text(&text, "a.");
    ck_assert_int_eq(read_bytes(text.bytes, text.size), SN_ERROR_FORMAT);
    assert_message("values nested deeper than 64 levels");
    buffer_free(&text);
}
END_TEST

START_TEST(values_that_contain_themselves)
{
    ck_assert_int_eq(READ("}q\1\x8C\1ah\1s."), SN_ERROR_FORMAT);
    assert_message("STOP (0x2E) at byte 9: a dict contains itself");
    ck_assert_int_eq(READ("]q\1h\1a."), SN_ERROR_FORMAT);
    assert_message("a list contains itself");
    ck_assert_int_eq(READ("]q\1]h\1\x85\x61\x61."), SN_ERROR_FORMAT);
    assert_message("contains itself");
    ck_assert_int_eq(READ("]q\1h\1h\1\x86."),
                     SN_ERROR_FORMAT); /* twice is no circle; the stack is not empty */
    ck_assert_int_eq(READ("]]q\1ah\1a."), SN_OK);
}
END_TEST

/* Each tuple holds the one before it twice: the tree doubles, the pickle does not. */
START_TEST(values_in_many_places)
{
    ck_assert_int_eq(read_repeated("N", "q\1h\1\x86", 5, 22, "."), SN_OK);
    ck_assert_uint_eq(pickle.root->n_values, (1u << 23) - 1);
    ck_assert_int_eq(read_repeated("N", "q\1h\1\x86", 5, 24, "."), SN_ERROR_FORMAT);
    assert_message("more than 16777216 values");
    ck_assert_int_eq(read_repeated("N", "q\1h\1\x86", 5, 60, "."), SN_ERROR_FORMAT);
    assert_message("more than 16777216 values");
}
END_TEST

START_TEST(stack_and_memo)
{
    ck_assert_int_eq(read_repeated("](", "N", 1, PICKLE_MAX_STACK - 1, "e."), SN_OK);
    ck_assert_uint_eq(pickle.root->as.items.n, PICKLE_MAX_STACK - 1);
    ck_assert_int_eq(read_repeated("](", "N", 1, PICKLE_MAX_STACK, "e."), SN_ERROR_FORMAT);
    assert_message("more than 4194304 values on the stack");
    ck_assert_int_eq(READ("Nr\xFF\xFF\x3F\0j\xFF\xFF\x3F\0\x86."), SN_OK);
    ck_assert_int_eq(READ("Nr\0\0\x40\0."), SN_ERROR_FORMAT);
    assert_message("memo slot 4194304; the limit is 4194304");
}
END_TEST

/* 33 tuples of a million. */
START_TEST(memory_of_the_values)
{
    struct buffer text;
    buffer_init(&text, context->memory);
    buffer_text(&text, "]");
    for (int i = 0; i < 33; i++) {
        buffer_text(&text, "(");
        for (int k = 0; k < 1 << 20; k++)
            buffer_text(&text, "N");
        buffer_text(&text, "ta");
    }
    buffer_text(&text, ".");
    ck_assert_int_eq(read_bytes(text.bytes, text.size), SN_ERROR_FORMAT);
    assert_message("the values take more than 268435456 bytes");
    buffer_free(&text);
}
END_TEST

START_TEST(bytes_of_the_pickle)
{
    ck_assert_int_eq(read_repeated("", "N", 1, 0, "N."), SN_OK);
    unsigned char *zeros = calloc(1, PICKLE_MAX_BYTES + 1);
    ck_assert_int_eq(read_bytes(zeros, PICKLE_MAX_BYTES + 1), SN_ERROR_FORMAT);
    assert_message("data.pkl: 67108865 bytes, the limit is 67108864");
    free(zeros);
}
END_TEST

/* ---- finding */

START_TEST(finding_keys)
{
    ck_assert_int_eq(READ("}(\x8C\1aK\1\x8C\1bK\2\x8C\1aK\3K\4K\5\x8C\3c\0dK\6u."), SN_OK);
    ck_assert_int_eq((int)pickle_find(pickle.root, "a")->as.integer, 3);
    ck_assert_int_eq((int)pickle_find(pickle.root, "b")->as.integer, 2);
    ck_assert_ptr_null(pickle_find(pickle.root, "c"));
    ck_assert_ptr_null(pickle_find(pickle.root, ""));
    ck_assert_ptr_null(pickle_find(pickle_find(pickle.root, "a"), "a"));
    ck_assert_ptr_null(pickle_find(NULL, "a"));
}
END_TEST

/* ---- noise */

#define LARGER                                                                                          \
    "\x80\2}q\0(X\1\0\0\0aq\1](K\1M\2\3J\4\5\6\7e\x8C\1b(N\x88\x89tG\x3F\xF0\0\0\0\0\0\0cm\ndict\n)R"   \
    "q\2}X\1\0\0\0sNsbB\2\0\0\0xyh\1K\7K\x8\x86Q\x8A\3\1\2\3cm\nname\nK\1K\2K\3\x87u."

START_TEST(noise)
{
    struct random_state state;
    const size_t size = sizeof LARGER - 1;
    size_t n_good = 0;
    ck_assert_msg(READ(LARGER) == SN_OK, "%s", sn_context_message(context));
    random_seed(&state, 1, 0);
    for (int i = 0; i < 20000; i++) {
        unsigned char noisy[sizeof LARGER];
        memcpy(noisy, LARGER, size);
        for (size_t k = 0; k < 1 + random_below(&state, 4); k++)
            noisy[random_below(&state, size)] = (unsigned char)random_below(&state, 256);
        n_good += read_bytes(noisy, size) == SN_OK;
    }
    ck_assert_uint_gt(n_good, 100);
    ck_assert_uint_lt(n_good, 19000);
}
END_TEST

static int read_attempt(sn_context *with, void *payload)
{
    static unsigned char copy[sizeof LARGER];
    struct pickle own;
    (void)payload;
    memcpy(copy, LARGER, sizeof LARGER - 1);
    int status = pickle_read(&own, with, "file.pt", "data.pkl", copy, sizeof LARGER - 1, &rules, NULL);
    pickle_free(&own);
    return status;
}

START_TEST(out_of_memory)
{
    ck_assert_uint_eq(oom_loop(read_attempt, NULL, 1, 0), 3);
}
END_TEST

#define N_OF(table) (int)(sizeof(table) / sizeof *(table))

Suite *pickle_suite(void)
{
    Suite *suite = suite_create("pickle");
    TCase *tcase = tcase_create("pickle");
    tcase_add_checked_fixture(tcase, fixture_setup, teardown);
    tcase_add_loop_test(tcase, what_opcodes_make, 0, N_OF(good));
    tcase_add_loop_test(tcase, cut_anywhere, 0, N_OF(good));
    tcase_add_test(tcase, persistent_ids_carry_the_payload);
    tcase_add_loop_test(tcase, malformed_pickles, 0, N_OF(malformed));
    tcase_add_loop_test(tcase, what_is_not_allowed, 0, N_OF(refused));
    tcase_add_test(tcase, the_opcodes_allowed);
    tcase_add_test(tcase, depth);
    tcase_add_test(tcase, depth_over_several_paths);
    tcase_add_test(tcase, values_that_contain_themselves);
    tcase_add_test(tcase, values_in_many_places);
    tcase_add_test(tcase, stack_and_memo);
    tcase_add_test(tcase, memory_of_the_values);
    tcase_add_test(tcase, bytes_of_the_pickle);
    tcase_add_test(tcase, finding_keys);
    tcase_add_test(tcase, noise);
    tcase_add_test(tcase, out_of_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
