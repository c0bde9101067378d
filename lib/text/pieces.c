#include "text/pieces.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdint.h>
#include <string.h>

#include "sparsenet.h"

/* What stands in `code` matches the same strings as `text`, with three changes. Repeats that never need
 * to give back are possessive, and `\s*[\r\n]+`, which would give back a character at a time, has become
 * a repeat of blanks-then-newlines; so no text, however long its lines, costs more than linear time or
 * a deep stack. And \s is spelt out as Unicode's White_Space, which is what the tokenizers' own engines
 * mean by it: PCRE2 counts U+180E in as well. */
#define SPACE "\\p{Z}\\t-\\r\\x{85}"
#define BLANK "\\p{Z}\\t\\x0b\\x0c\\x{85}" /* SPACE without \r and \n */
#define SPACES_BUT_THE_LAST "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]"

static const struct known_pattern {
    const char *text;
    enum split_pattern kind;
    const char *code;
} known_patterns[] = {
    {"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|"
     "\\s+",
     SPLIT_RELEASED,
     "[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++"
     "|\\p{N}{1,3}+"
     "| ?+[^" SPACE "\\p{L}\\p{N}]++[\\r\\n/]*+"
     "|(?:[" BLANK "]*+[\\r\\n]++)++"
     "|" SPACES_BUT_THE_LAST},
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", SPLIT_GPT2,
     "'(?:[stmd]|re|ve|ll)"
     "| ?+\\p{L}++"
     "| ?+\\p{N}++"
     "| ?+[^" SPACE "\\p{L}\\p{N}]++"
     "|" SPACES_BUT_THE_LAST},
    /* the same in the words of tiktoken */
    {"'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", SPLIT_GPT2,
     NULL},
};
#define N_KNOWN_PATTERNS (sizeof known_patterns / sizeof *known_patterns)

/* The first of its kind. */
static const struct known_pattern *find_kind(enum split_pattern kind)
{
    size_t i = 0;
    while (known_patterns[i].kind != kind)
        i++;
    return &known_patterns[i];
}

const char *split_pattern_text(enum split_pattern pattern)
{
    return find_kind(pattern)->text;
}

int split_pattern_find(enum split_pattern *pattern, const char *text)
{
    for (size_t i = 0; i < N_KNOWN_PATTERNS; i++)
        if (strcmp(known_patterns[i].text, text) == 0) {
            *pattern = known_patterns[i].kind;
            return 1;
        }
    return 0;
}

struct piece_pattern {
    struct memory *memory;
    pcre2_general_context *general;
    pcre2_match_context *limits;
    pcre2_code *code;
};

struct piece_reader {
    const struct piece_pattern *pattern;
    pcre2_match_data *match;
    const char *text;
    size_t length;
    size_t at;        /* start of the next piece */
    size_t valid_end; /* text[at .. valid_end) is well-formed UTF-8 */
};

/* PCRE2 does not say the size of what it frees, so each block begins with it. */
#define PREFIX_BYTES 64

static void *pattern_allocate(size_t size, void *memory)
{
    if (size > SIZE_MAX - PREFIX_BYTES)
        return NULL;
    char *block = memory_allocate(memory, size + PREFIX_BYTES);
    if (!block)
        return NULL;
    memcpy(block, &size, sizeof size);
    return block + PREFIX_BYTES;
}

static void pattern_release(void *pointer, void *memory)
{
    size_t size;
    if (!pointer)
        return;
    char *block = (char *)pointer - PREFIX_BYTES;
    memcpy(&size, block, sizeof size);
    memory_free(memory, block, size + PREFIX_BYTES);
}

/* Without JIT (a host that forbids executable memory) the same code is interpreted, 3x slower. */
static int compile(struct piece_pattern *pattern, const char *text)
{
    int error;
    PCRE2_SIZE place;
    pattern->general = pcre2_general_context_create(pattern_allocate, pattern_release, pattern->memory);
    if (!pattern->general)
        return SN_ERROR_MEMORY;
    pcre2_compile_context *options = pcre2_compile_context_create(pattern->general);
    if (!options)
        return SN_ERROR_MEMORY;
    pattern->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &error, &place, options);
    pcre2_compile_context_free(options);
    pattern->limits = pcre2_match_context_create(pattern->general);
    if (!pattern->limits)
        return SN_ERROR_MEMORY;
    pcre2_set_match_limit(pattern->limits, UINT32_MAX);
    if (!pattern->code) /* other errors mean a PCRE2 built without Unicode */
        return error == PCRE2_ERROR_HEAP_FAILED ? SN_ERROR_MEMORY : SN_ERROR_UNSUPPORTED;
    (void)pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE);
    return SN_OK;
}

int piece_pattern_create(struct piece_pattern **out, struct memory *memory, enum split_pattern kind)
{
    *out = NULL;
    struct piece_pattern *pattern = memory_allocate_zeroed(memory, sizeof *pattern);
    if (!pattern)
        return SN_ERROR_MEMORY;
    pattern->memory = memory;
    int status = compile(pattern, find_kind(kind)->code);
    if (status != SN_OK) {
        piece_pattern_free(pattern);
        return status;
    }
    *out = pattern;
    return SN_OK;
}

void piece_pattern_free(struct piece_pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_code_free(pattern->code);
    pcre2_match_context_free(pattern->limits);
    pcre2_general_context_free(pattern->general);
    memory_free(pattern->memory, pattern, sizeof *pattern);
}

struct piece_reader *piece_reader_create(const struct piece_pattern *pattern)
{
    struct piece_reader *reader = memory_allocate_zeroed(pattern->memory, sizeof *reader);
    if (!reader)
        return NULL;
    reader->pattern = pattern;
    reader->match = pcre2_match_data_create(1, pattern->general);
    if (!reader->match) {
        piece_reader_free(reader);
        return NULL;
    }
    return reader;
}

void piece_reader_free(struct piece_reader *reader)
{
    if (!reader)
        return;
    pcre2_match_data_free(reader->match);
    memory_free(reader->pattern->memory, reader, sizeof *reader);
}

void piece_reader_start(struct piece_reader *reader, const char *text, size_t length)
{
    reader->text = text;
    reader->length = length;
    reader->at = reader->valid_end = 0;
}

/* Bytes of the well-formed sequence at p (Unicode table 3-7), 0 if there is none. */
static size_t sequence_length(const unsigned char *p, size_t room)
{
    unsigned char low = 0x80, high = 0xBF;
    size_t n = p[0] < 0x80   ? 1
               : p[0] < 0xC2 ? 0
               : p[0] < 0xE0 ? 2
               : p[0] < 0xF0 ? 3
               : p[0] < 0xF5 ? 4
                             : 0;
    if (n <= 1)
        return n;
    if (n > room)
        return 0;
    if (p[0] == 0xE0)
        low = 0xA0;
    else if (p[0] == 0xED)
        high = 0x9F; /* no surrogates */
    else if (p[0] == 0xF0)
        low = 0x90;
    else if (p[0] == 0xF4)
        high = 0x8F;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xBF)
            return 0;
    return n;
}

static size_t find_valid_end(const char *text, size_t at, size_t length)
{
    while (at < length) {
        uint64_t word;
        if (length - at >= sizeof word) {
            memcpy(&word, text + at, sizeof word);
            if (!(word & 0x8080808080808080u)) {
                at += sizeof word;
                continue;
            }
        }
        size_t n = sequence_length((const unsigned char *)text + at, length - at);
        if (n == 0)
            break;
        at += n;
    }
    return at;
}

static int match_here(const struct piece_reader *reader, uint32_t options)
{
    return pcre2_match(reader->pattern->code, (PCRE2_SPTR)reader->text, reader->valid_end, reader->at,
                       PCRE2_NO_UTF_CHECK | options, reader->match, reader->pattern->limits);
}

int piece_reader_next(size_t *start, size_t *length, struct piece_reader *reader)
{
    *start = reader->at;
    *length = 0;
    if (reader->at == reader->length)
        return SN_OK;
    if (reader->at == reader->valid_end) {
        reader->valid_end = find_valid_end(reader->text, reader->at, reader->length);
        if (reader->at == reader->valid_end) {
            reader->valid_end = ++reader->at;
            *length = 1;
            return SN_OK;
        }
    }
    int result = match_here(reader, 0);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result = match_here(reader, PCRE2_NO_JIT);
    if (result < 0)
        return result == PCRE2_ERROR_NOMEMORY ? SN_ERROR_MEMORY : SN_ERROR_UNSUPPORTED;
    reader->at = pcre2_get_ovector_pointer(reader->match)[1];
    *length = reader->at - *start;
    return SN_OK;
}
