/* The check that fresh prompts are fresh: none of their words occurs in the training text. */
#include <string.h>

#include "base/buffer.h"
#include "base/context.h"

#define MINIMUM_LETTERS 4
#define LONGEST_WORD 64 /* longer runs of letters are compared by their first 64 */

/* Python's own words, which every program shares, in lower case; and the one name that a task fixes. */
static const char *const OWN_WORDS[] = {
    "assert",   "async",    "await",     "break",      "class",      "continue", "elif",
    "else",     "except",   "false",     "finally",    "from",       "global",   "import",
    "lambda",   "none",     "nonlocal",  "pass",       "raise",      "return",   "true",
    "while",    "with",     "yield",     "self",       "init",       "bool",     "bytes",
    "callable", "dict",     "enumerate", "exception",  "filter",     "float",    "frozenset",
    "getattr",  "hasattr",  "hash",      "input",      "isinstance", "iter",     "keyerror",
    "list",     "next",     "object",    "open",       "print",      "property", "range",
    "repr",     "reversed", "round",     "setattr",    "slice",      "sorted",   "staticmethod",
    "super",    "tuple",    "type",      "valueerror", "append",     "clear",    "close",
    "copy",     "count",    "extend",    "format",     "index",      "insert",   "items",
    "join",     "keys",     "lower",     "output",     "read",       "remove",   "replace",
    "sort",     "split",    "strip",     "update",     "upper",      "values",   "write",
    "current",
};

/* A set of lower-case words: open addressing over offsets into one text. */
struct word_set {
    struct buffer text; /* the words, each with a NUL */
    size_t *slots;      /* offset + 1 into text; 0 = empty */
    size_t n_slots, n_words;
    struct memory *memory;
};

struct word {
    char letters[LONGEST_WORD + 1];
    size_t length; /* of the whole run */
};

static int is_letter(unsigned char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte >= 0x80;
}

/* The next run of letters at or after *at, in lower case; 0 at the end. */
static int next_word(struct word *word, size_t *at, const char *text, size_t length)
{
    while (*at < length && !is_letter((unsigned char)text[*at]))
        (*at)++;
    size_t start = *at;
    for (; *at < length && is_letter((unsigned char)text[*at]); (*at)++) {
        char letter = text[*at];
        if (*at - start < LONGEST_WORD)
            word->letters[*at - start] = (char)(letter >= 'A' && letter <= 'Z' ? letter + 32 : letter);
    }
    word->length = *at - start;
    word->letters[word->length < LONGEST_WORD ? word->length : LONGEST_WORD] = '\0';
    return word->length > 0;
}

static size_t hash_word(const char *word)
{
    size_t hash = (size_t)14695981039346656037u;
    for (; *word; word++)
        hash = (hash ^ (unsigned char)*word) * (size_t)1099511628211u;
    return hash ^ (hash >> 17);
}

/* The slot that holds the word, or the empty one where it belongs. */
static size_t *find_slot(const struct word_set *set, size_t *slots, size_t n_slots, const char *word)
{
    size_t i = hash_word(word) & (n_slots - 1);
    while (slots[i] && strcmp(set->text.bytes + slots[i] - 1, word) != 0)
        i = (i + 1) & (n_slots - 1);
    return &slots[i];
}

static int grow_set(struct word_set *set)
{
    size_t n_slots = set->n_slots ? 2 * set->n_slots : 1024;
    size_t *slots = memory_allocate_zeroed_array(set->memory, n_slots, sizeof *slots);
    if (!slots)
        return 0;
    for (size_t i = 0; i < set->n_slots; i++)
        if (set->slots[i])
            *find_slot(set, slots, n_slots, set->text.bytes + set->slots[i] - 1) = set->slots[i];
    memory_free(set->memory, set->slots, set->n_slots * sizeof *set->slots);
    set->slots = slots;
    set->n_slots = n_slots;
    return 1;
}

static int add_word(struct word_set *set, const char *word)
{
    if (2 * (set->n_words + 1) > set->n_slots && !grow_set(set))
        return 0;
    size_t *slot = find_slot(set, set->slots, set->n_slots, word);
    if (*slot)
        return 1;
    size_t offset = set->text.size;
    buffer_append(&set->text, word, strlen(word) + 1);
    if (set->text.failed)
        return 0;
    *slot = offset + 1;
    set->n_words++;
    return 1;
}

static int is_own(const char *word)
{
    for (size_t i = 0; i < sizeof OWN_WORDS / sizeof *OWN_WORDS; i++)
        if (strcmp(OWN_WORDS[i], word) == 0)
            return 1;
    return 0;
}

static int collect_words(struct word_set *set, sn_context *context, const char *text, size_t length)
{
    struct word word;
    size_t at = 0;
    while (next_word(&word, &at, text, length))
        if (word.length >= MINIMUM_LETTERS && !is_own(word.letters) && !add_word(set, word.letters))
            return fail_memory(context, "the words of fresh prompts", set->text.size);
    return SN_OK;
}

static int collect_prompt(struct word_set *set, sn_context *context, const sn_tokenizer *tokenizer,
                          const int32_t *tokens, size_t n_tokens)
{
    size_t length;
    int status = sn_tokenizer_decode(NULL, 0, &length, context, tokenizer, tokens, n_tokens);
    if (status != SN_OK)
        return status;
    char *text = memory_allocate(set->memory, length);
    if (!text)
        return fail_memory(context, "the text of a prompt", length);
    size_t size = length;
    status = sn_tokenizer_decode(text, size, &length, context, tokenizer, tokens, n_tokens);
    if (status == SN_OK)
        status = collect_words(set, context, text, length);
    memory_free(set->memory, text, size);
    return status;
}

static int collect_task(struct word_set *set, sn_context *context, const sn_tokenizer *tokenizer,
                        const sn_task *task)
{
    int status = SN_OK;
    for (size_t i = 0; status == SN_OK && i < sn_task_count(task); i++) {
        const int32_t *a, *b;
        size_t n_a, n_b;
        sn_task_pair(&a, &n_a, &b, &n_b, NULL, NULL, task, i);
        status = collect_prompt(set, context, tokenizer, a, n_a);
        if (status == SN_OK)
            status = collect_prompt(set, context, tokenizer, b, n_b);
    }
    return status;
}

static int search_corpus(const struct word_set *set, sn_context *context, const sn_corpus *training)
{
    for (size_t i = 0; set->n_words && i < sn_corpus_count(training); i++) {
        struct word word;
        size_t at = 0, length;
        const char *text = sn_corpus_text(&length, training, i);
        if (!text)
            return fail(context, SN_ERROR_ARGUMENT,
                        "sn_python_check_fresh: document %zu of training is tokens, not text", i);
        while (next_word(&word, &at, text, length))
            if (word.length >= MINIMUM_LETTERS &&
                *find_slot(set, set->slots, set->n_slots, word.letters))
                return fail(
                    context, SN_ERROR_ARGUMENT,
                    "sn_python_check_fresh: \"%s\" of the fresh prompts occurs in document %zu of "
                    "training",
                    word.letters, i);
    }
    return SN_OK;
}

int sn_python_check_fresh(size_t *n_checked, sn_context *context, const sn_tokenizer *tokenizer,
                          const sn_task *fresh, const sn_corpus *training)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!tokenizer || !fresh || !training)
        return fail(context, SN_ERROR_ARGUMENT, "sn_python_check_fresh: %s is NULL",
                    !tokenizer ? "tokenizer"
                    : fresh    ? "training"
                               : "fresh");
    struct word_set set = {.memory = context->memory};
    buffer_init(&set.text, context->memory);
    int status = collect_task(&set, context, tokenizer, fresh);
    if (status == SN_OK)
        status = search_corpus(&set, context, training);
    if (n_checked)
        *n_checked = set.n_words;
    memory_free(set.memory, set.slots, set.n_slots * sizeof *set.slots);
    buffer_free(&set.text);
    return status;
}
