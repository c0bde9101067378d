/* tokenizer.json of Hugging Face tokenizers: byte-level BPE. What would make other tokens, or a decode
 * that does not give back the text, is refused. */
#include "text/tokenizer_json.h"

#include <stdio.h>
#include <string.h>

#include "text/tokenizer_files.h"

int fail_field(const struct source *source, const char *where, const char *key, const char *wanted,
               const json_t *value)
{
    char shown[SHOWN_JSON];
    show_json(shown, value);
    return fail(source->context, SN_ERROR_FORMAT, "%s: %s%s: must be %s, not %s", source->path, where,
                key, wanted, shown);
}

static int is_text(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

/* NULL: as it should be; else what is wanted. */
static const char *judge(const struct rule *rule, const json_t *value)
{
    if (!value && rule->want < WANT_NO_FLAG)
        return NULL;
    switch (rule->want) {
    case WANT_NULL: return json_is_null(value) ? NULL : "null";
    case WANT_FALSE:
    case WANT_NO_FLAG: return json_is_false(value) ? NULL : "false";
    case WANT_TRUE: return json_is_true(value) ? NULL : "true";
    case WANT_FLAG: return json_is_boolean(value) ? NULL : "true or false";
    case WANT_EMPTY: return json_is_null(value) || is_text(value, "") ? NULL : "null or \"\"";
    case WANT_ZERO:
        return json_is_null(value) || (json_is_number(value) && !(json_number_value(value) < 0) &&
                                       !(json_number_value(value) > 0))
                   ? NULL
                   : "null or 0";
    case WANT_NAME:
    case WANT_TEXT: return is_text(value, rule->text) ? NULL : rule->text;
    case WANT_ANYTHING: break;
    }
    return NULL;
}

int check_object(const struct source *source, const json_t *object, const char *name,
                 const struct rule *rules, size_t n_rules)
{
    char where[100];
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return fail_field(source, "", *name ? name : "the file", "an object", object);
    snprintf(where, sizeof where, "%s%s", name, *name ? "." : "");
    for (size_t i = 0; i < n_rules; i++) {
        value = json_object_get(object, rules[i].key);
        const char *wanted = judge(&rules[i], value);
        if (wanted)
            return fail_field(source, where, rules[i].key, wanted, value);
    }
    json_object_foreach((json_t *)object, key, value)
    {
        size_t i = 0;
        while (i < n_rules && strcmp(rules[i].key, key) != 0)
            i++;
        if (i == n_rules)
            return fail(source->context, SN_ERROR_FORMAT, "%s: %s%.100s: unknown key", source->path,
                        where, key);
    }
    return SN_OK;
}

/* A ByteLevel behind a Split of its own must not cut again. */
static int check_byte_level(const struct source *source, const json_t *object, const char *name,
                            enum want use_regex)
{
    const struct rule rules[] = {
        {"type", WANT_TEXT, "ByteLevel"},
        {"add_prefix_space", WANT_NO_FLAG, NULL},
        {"trim_offsets", WANT_FLAG, NULL},
        {"use_regex", use_regex, NULL},
    };
    return CHECK_OBJECT(source, object, name, rules);
}

static int read_split(enum split_pattern *split, const struct source *source, const json_t *object,
                      const char *name)
{
    static const struct rule rules[] = {
        {"type", WANT_TEXT, "Split"},
        {"pattern", WANT_ANYTHING, NULL},
        {"behavior", WANT_ANYTHING, NULL},
        {"invert", WANT_FLAG, NULL},
    };
    static const struct rule pattern_rules[] = {{"Regex", WANT_ANYTHING, NULL}};
    char where[100];
    int status = CHECK_OBJECT(source, object, name, rules);
    if (status != SN_OK)
        return status;
    snprintf(where, sizeof where, "%s.pattern", name);
    const json_t *pattern = json_object_get(object, "pattern");
    if ((status = CHECK_OBJECT(source, pattern, where, pattern_rules)) != SN_OK)
        return status;
    const json_t *regex = json_object_get(pattern, "Regex"),
                 *behavior = json_object_get(object, "behavior");
    if (!json_is_string(regex) || !split_pattern_find(split, json_string_value(regex))) {
        snprintf(where, sizeof where, "%s.pattern.", name);
        return fail_field(source, where, "Regex", "the released models' split pattern or GPT-2's",
                          regex);
    }
    /* Both patterns match all of a text, so that nothing stands between the matches. */
    if (!is_text(behavior, "Isolated") &&
        !(is_text(behavior, "Removed") && json_is_true(json_object_get(object, "invert")))) {
        snprintf(where, sizeof where, "%s.", name);
        return fail_field(source, where, "behavior", "Isolated (or Removed with invert)", behavior);
    }
    return SN_OK;
}

static int read_pre_tokenizer(enum split_pattern *split, const struct source *source,
                              const json_t *object)
{
    static const struct rule rules[] = {
        {"type", WANT_TEXT, "Sequence"},
        {"pretokenizers", WANT_ANYTHING, NULL},
    };
    const json_t *type = json_object_get(object, "type");
    *split = SPLIT_GPT2;
    if (is_text(type, "ByteLevel"))
        return check_byte_level(source, object, "pre_tokenizer", WANT_TRUE);
    if (!is_text(type, "Sequence"))
        return fail_field(source, "", type ? "pre_tokenizer.type" : "pre_tokenizer",
                          "ByteLevel, or a Sequence of Split and ByteLevel", type ? type : object);
    int status = CHECK_OBJECT(source, object, "pre_tokenizer", rules);
    if (status != SN_OK)
        return status;
    const json_t *parts = json_object_get(object, "pretokenizers");
    if (!json_is_array(parts) || json_array_size(parts) != 2)
        return fail_field(source, "pre_tokenizer.", "pretokenizers", "[Split, ByteLevel]", parts);
    status = read_split(split, source, json_array_get(parts, 0), "pre_tokenizer.pretokenizers[0]");
    /* absent would mean true */
    const json_t *last = json_array_get(parts, 1);
    return status == SN_OK
               ? check_byte_level(source, last, "pre_tokenizer.pretokenizers[1]", WANT_NO_FLAG)
               : status;
}

/* These change offsets, which nobody asks for here, and decoding to bytes that are decoded anyway. */
static int check_ends(const struct source *source, const json_t *root)
{
    static const struct rule rules[] = {
        {"type", WANT_TEXT, "ByteLevel"},
        {"add_prefix_space", WANT_FLAG, NULL},
        {"trim_offsets", WANT_FLAG, NULL},
        {"use_regex", WANT_FLAG, NULL},
    };
    const json_t *post = json_object_get(root, "post_processor");
    int status = CHECK_OBJECT(source, json_object_get(root, "decoder"), "decoder", rules);
    if (status != SN_OK || !post || json_is_null(post))
        return status;
    return CHECK_OBJECT(source, post, "post_processor", rules);
}

static int check_root(const struct source *source, const json_t *root)
{
    static const struct rule rules[] = {
        {"version", WANT_NAME, "1.0"},
        {"truncation", WANT_NULL, NULL},
        {"padding", WANT_NULL, NULL},
        {"added_tokens", WANT_ANYTHING, NULL},
        {"normalizer", WANT_NULL, NULL},
        {"pre_tokenizer", WANT_ANYTHING, NULL},
        {"post_processor", WANT_ANYTHING, NULL},
        {"decoder", WANT_ANYTHING, NULL},
        {"model", WANT_ANYTHING, NULL},
    };
    return CHECK_OBJECT(source, root, "", rules);
}

int read_tokenizer_json(struct sn_tokenizer **out, struct sn_context *context, const char *path)
{
    const struct source source = {context, path};
    enum split_pattern split;
    json_t *root;
    int status = read_json_file(&root, context, path);
    if (status == SN_OK)
        status = check_root(&source, root);
    if (status == SN_OK)
        status = read_pre_tokenizer(&split, &source, json_object_get(root, "pre_tokenizer"));
    if (status == SN_OK)
        status = check_ends(&source, root);
    if (status == SN_OK)
        status = tokenizer_create(out, context, FORM_JSON, split);
    if (status == SN_OK)
        status = read_json_model(*out, &source, root);
    if (status == SN_OK && !tokenizer_index(*out))
        status = fail_file_memory(context, path);
    json_decref(root);
    return status;
}
