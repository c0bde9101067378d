#include "base/options.h"

#include <math.h>
#include <string.h>

#include "base/buffer.h"

#define LARGEST_WHOLE 0x1p53 /* above, a double no longer holds every whole number */

struct entry {
    char *key;
    char *text; /* NULL for a number */
    double number;
};

struct sn_options {
    struct memory *memory;
    struct entry *entries;
    size_t n_entries, capacity;
};

int sn_options_create(sn_options **out, sn_context *context)
{
    if (no_place(out, context, __func__))
        return SN_ERROR_ARGUMENT;
    sn_options *options = memory_allocate_zeroed(context->memory, sizeof *options);
    if (!options)
        return fail_memory(context, "options", sizeof *options);
    options->memory = memory_retain(context->memory);
    *out = options;
    return SN_OK;
}

static void free_text(struct memory *memory, char *text)
{
    if (text)
        memory_free(memory, text, strlen(text) + 1);
}

void sn_options_free(sn_options *options)
{
    if (!options)
        return;
    struct memory *memory = options->memory;
    for (size_t i = 0; i < options->n_entries; i++) {
        free_text(memory, options->entries[i].key);
        free_text(memory, options->entries[i].text);
    }
    memory_free(memory, options->entries, options->capacity * sizeof *options->entries);
    memory_free(memory, options, sizeof *options);
    memory_release(memory);
}

static struct entry *find(const sn_options *options, const char *key)
{
    for (size_t i = 0; options && i < options->n_entries; i++)
        if (strcmp(options->entries[i].key, key) == 0)
            return &options->entries[i];
    return NULL;
}

int options_has(const sn_options *options, const char *key)
{
    return find(options, key) != NULL;
}

static struct entry *find_or_add(sn_options *options, const char *key)
{
    struct entry *entry = find(options, key);
    if (entry)
        return entry;
    if (options->n_entries == options->capacity) {
        size_t capacity = options->capacity ? 2 * options->capacity : 8, size = sizeof *entry;
        struct entry *entries =
            memory_resize(options->memory, options->entries, options->capacity * size, capacity * size);
        if (!entries)
            return NULL;
        options->entries = entries;
        options->capacity = capacity;
    }
    char *copy = memory_copy_text(options->memory, key, strlen(key));
    if (!copy)
        return NULL;
    entry = &options->entries[options->n_entries++];
    *entry = (struct entry){.key = copy};
    return entry;
}

static int set(sn_options *options, sn_context *context, const char *key, double number,
               const char *text)
{
    char *copy = NULL;
    if (text && !(copy = memory_copy_text(options->memory, text, strlen(text))))
        return fail_memory(context, "an option", strlen(text));
    struct entry *entry = find_or_add(options, key);
    if (!entry) {
        free_text(options->memory, copy);
        return fail_memory(context, "an option", sizeof *entry);
    }
    free_text(options->memory, entry->text);
    entry->text = copy;
    entry->number = number;
    return SN_OK;
}

int sn_options_set(sn_options *options, sn_context *context, const char *key, double value)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!options || !key)
        return fail(context, SN_ERROR_ARGUMENT, "sn_options_set: %s is NULL",
                    options ? "key" : "options");
    return set(options, context, key, value, NULL);
}

int sn_options_set_text(sn_options *options, sn_context *context, const char *key, const char *value)
{
    if (!context)
        return SN_ERROR_ARGUMENT;
    if (!options || !key || !value)
        return fail(context, SN_ERROR_ARGUMENT, "sn_options_set_text: an argument is NULL");
    return set(options, context, key, 0, value);
}

static int choice_index(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (int index = 0;; index++) {
        const char *bar = strchr(choices, '|');
        size_t n = bar ? (size_t)(bar - choices) : strlen(choices);
        if (n == length && memcmp(choices, text, n) == 0)
            return index;
        if (!bar)
            return -1;
        choices = bar + 1;
    }
}

static int read_number(void *field, struct sn_context *context, const char *function,
                       const struct option_spec *spec, double value)
{
    int whole = spec->kind == OPTION_INTEGER;
    int fits = !whole || (value == floor(value) && value <= LARGEST_WHOLE);
    if (!fits || !(value >= spec->minimum && value <= spec->maximum)) {
        char given[NUMBER_TEXT], low[NUMBER_TEXT], high[NUMBER_TEXT];
        number_text(given, value, 15);
        number_text(low, spec->minimum, 15);
        number_text(high, spec->maximum, 15);
        return fail(context, SN_ERROR_ARGUMENT, "%s: option %s is %s; it must be %s%s .. %s", function,
                    spec->key, given, whole ? "a whole number " : "", low, high);
    }
    if (whole)
        *(size_t *)field = (size_t)value;
    else
        *(double *)field = value;
    return SN_OK;
}

static int read_choice(int *field, struct sn_context *context, const char *function,
                       const struct option_spec *spec, const char *text)
{
    *field = choice_index(spec->choices, text);
    if (*field < 0)
        return fail(context, SN_ERROR_ARGUMENT, "%s: option %s is \"%s\"; it must be one of %s",
                    function, spec->key, text, spec->choices);
    return SN_OK;
}

static void set_default(void *field, const struct option_spec *spec)
{
    switch (spec->kind) {
    case OPTION_NUMBER: *(double *)field = spec->fallback; break;
    case OPTION_INTEGER: *(size_t *)field = (size_t)spec->fallback; break;
    case OPTION_CHOICE: *(int *)field = (int)spec->fallback; break;
    case OPTION_TEXT: *(const char **)field = NULL; break;
    }
}

static int read_entry(void *settings, struct sn_context *context, const char *function,
                      const struct option_spec *spec, const struct entry *entry)
{
    void *field = (char *)settings + spec->offset;
    int wants_text = spec->kind == OPTION_CHOICE || spec->kind == OPTION_TEXT;
    if (wants_text != (entry->text != NULL))
        return fail(context, SN_ERROR_ARGUMENT, "%s: option %s must be a %s", function, spec->key,
                    wants_text ? "text" : "number");
    if (spec->kind == OPTION_CHOICE)
        return read_choice(field, context, function, spec, entry->text);
    if (spec->kind == OPTION_TEXT) {
        *(const char **)field = entry->text;
        return SN_OK;
    }
    return read_number(field, context, function, spec, entry->number);
}

int options_read(void *settings, struct sn_context *context, const char *function,
                 const struct option_spec *specs, size_t n_specs, const sn_options *options)
{
    for (size_t i = 0; i < n_specs; i++)
        set_default((char *)settings + specs[i].offset, &specs[i]);
    for (size_t e = 0; options && e < options->n_entries; e++) {
        const struct entry *entry = &options->entries[e];
        size_t i = 0;
        while (i < n_specs && strcmp(specs[i].key, entry->key) != 0)
            i++;
        if (i == n_specs)
            return fail(context, SN_ERROR_ARGUMENT, "%s: unknown option %s", function, entry->key);
        int status = read_entry(settings, context, function, &specs[i], entry);
        if (status != SN_OK)
            return status;
    }
    return SN_OK;
}
