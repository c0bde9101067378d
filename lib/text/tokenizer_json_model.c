/* The tokens and merges of tokenizer.json. */
#include <stdio.h>
#include <string.h>

#include "text/tokenizer_files.h"
#include "text/tokenizer_json.h"

/* The two places that name tokens, by id. */
struct vocabulary {
    json_t *vocab;
    const char **names; /* of model.vocab; NULL where it has none */
    size_t n_names;
    json_t *added_tokens;
    json_t **added; /* of added_tokens */
    size_t n_added;
};

static const char *added_content(const json_t *object)
{
    return json_string_value(json_object_get(object, "content"));
}

/* One of added_tokens: its id. */
static int check_added(size_t *id, const struct source *source, const json_t *object, size_t index)
{
    static const struct rule rules[] = {
        {"id", WANT_ANYTHING, NULL},       {"content", WANT_ANYTHING, NULL},
        {"single_word", WANT_FALSE, NULL}, {"lstrip", WANT_FALSE, NULL},
        {"rstrip", WANT_FALSE, NULL},      {"normalized", WANT_FLAG, NULL},
        {"special", WANT_FLAG, NULL},
    };
    char name[40], where[48];
    snprintf(name, sizeof name, "added_tokens[%zu]", index);
    snprintf(where, sizeof where, "%s.", name);
    int status = CHECK_OBJECT(source, object, name, rules);
    if (status != SN_OK)
        return status;
    const json_t *number = json_object_get(object, "id"), *content = json_object_get(object, "content");
    json_int_t value = json_integer_value(number);
    if (!json_is_integer(number) || value < 0 || value >= (json_int_t)MAX_VOCABULARY)
        return fail_field(source, where, "id", "a whole number 0 .. 1048575", number);
    size_t length = json_string_length(content);
    if (!json_is_string(content) || length == 0 || length > MAX_TOKEN_BYTES)
        return fail_field(source, where, "content", "a text of 1 .. 512 bytes", content);
    *id = (size_t)value;
    return SN_OK;
}

/* The added token against model.vocab: one id, one name. */
static int check_against_names(const struct source *source, const struct vocabulary *vocabulary,
                               const char *content, size_t id)
{
    char bytes[MAX_TOKEN_BYTES];
    const char *name = id < vocabulary->n_names ? vocabulary->names[id] : NULL;
    const json_t *other = json_object_get(vocabulary->vocab, content);
    if (name && strcmp(name, content) != 0)
        return fail(source->context, SN_ERROR_FORMAT,
                    "%s: added_tokens: \"%.100s\" has id %zu, which model.vocab gives to \"%.100s\"",
                    source->path, content, id, name);
    if (!name && other)
        return fail(source->context, SN_ERROR_FORMAT,
                    "%s: added_tokens: \"%.100s\" has id %zu, but %lld in model.vocab", source->path,
                    content, id, (long long)json_integer_value(other));
    size_t length = name ? unmap_token(bytes, name, strlen(name)) : 0;
    if (length && (length != strlen(content) || memcmp(bytes, content, length) != 0))
        return fail(source->context, SN_ERROR_FORMAT,
                    "%s: added_tokens: \"%.100s\" (id %zu) stands for other bytes in model.vocab",
                    source->path, content, id);
    return SN_OK;
}

static int fill_added(struct vocabulary *vocabulary, const struct source *source)
{
    struct byte_table contents;
    size_t index, id = 0;
    json_t *object;
    int status = SN_OK;
    byte_table_init(&contents, source->context->memory);
    json_array_foreach(vocabulary->added_tokens, index, object)
    {
        if ((status = check_added(&id, source, object, index)) != SN_OK)
            break;
        const char *content = added_content(object);
        size_t entry = byte_table_add(&contents, content, strlen(content));
        if (entry == NOT_FOUND)
            status = fail_file_memory(source->context, source->path);
        else if (entry != index)
            status = fail(source->context, SN_ERROR_FORMAT,
                          "%s: added_tokens[%zu]: \"%.100s\" stands there twice", source->path, index,
                          content);
        else if (vocabulary->added[id])
            status = fail(source->context, SN_ERROR_FORMAT,
                          "%s: added_tokens: \"%.100s\" and \"%.100s\" both have id %zu", source->path,
                          added_content(vocabulary->added[id]), content, id);
        else
            status = check_against_names(source, vocabulary, content, id);
        if (status != SN_OK)
            break;
        vocabulary->added[id] = object;
    }
    byte_table_free(&contents);
    return status;
}

static int collect_added(struct vocabulary *vocabulary, const struct source *source,
                         json_t *added_tokens)
{
    size_t index, id = 0, count = 0;
    json_t *object;
    if (added_tokens && !json_is_null(added_tokens) && !json_is_array(added_tokens))
        return fail_field(source, "", "added_tokens", "an array", added_tokens);
    vocabulary->added_tokens = added_tokens;
    json_array_foreach(added_tokens, index, object)
    {
        int status = check_added(&id, source, object, index);
        if (status != SN_OK)
            return status;
        count = id + 1 > count ? id + 1 : count;
    }
    vocabulary->added =
        memory_allocate_zeroed_array(source->context->memory, count, sizeof *vocabulary->added);
    if (!vocabulary->added)
        return fail_file_memory(source->context, source->path);
    vocabulary->n_added = count;
    return fill_added(vocabulary, source);
}

/* model.vocab. A token that is also added may hold characters that stand for no byte: it is its text. */
static int put_vocabulary(struct sn_tokenizer *tokenizer, const struct source *source,
                          const struct vocabulary *vocabulary)
{
    char bytes[MAX_TOKEN_BYTES];
    int status = SN_OK;
    for (size_t id = 0; id < vocabulary->n_names && status == SN_OK; id++) {
        const char *name = vocabulary->names[id];
        int added = id < vocabulary->n_added && vocabulary->added[id];
        if (name && !(added && unmap_token(bytes, name, strlen(name)) == 0))
            status = put_name(tokenizer, source->context, source->path, "model.vocab: ", name, id);
    }
    return status == SN_OK ? check_bytes(tokenizer, source->context, source->path, "model.vocab: ")
                           : status;
}

static int put_added(struct sn_tokenizer *tokenizer, const struct source *source,
                     const struct vocabulary *vocabulary)
{
    for (size_t id = 0; id < vocabulary->n_added; id++) {
        const json_t *object = vocabulary->added[id];
        if (!object)
            continue;
        const char *content = added_content(object);
        const json_t *normalized = json_object_get(object, "normalized");
        int special = json_is_true(json_object_get(object, "special"));
        int kinds = (special ? TOKEN_SPECIAL : 0) |
                    ((normalized ? json_is_true(normalized) : !special) ? TOKEN_NORMALIZED : 0) |
                    (id < vocabulary->n_names && vocabulary->names[id] ? TOKEN_MODEL : 0);
        if (!tokenizer_put_added(tokenizer, (int32_t)id, content, strlen(content), kinds))
            return fail_file_memory(source->context, source->path);
    }
    return SN_OK;
}

static int fail_merge(const struct source *source, size_t index, const char *what, const json_t *merge)
{
    char shown[SHOWN_JSON];
    show_json(shown, merge);
    return fail(source->context, SN_ERROR_FORMAT, "%s: model.merges[%zu]: %s: %s", source->path, index,
                shown, what);
}

struct half {
    const char *text;
    size_t length;
};

/* "left right" or ["left", "right"]; 0 for anything else. */
static int cut_merge(struct half *left, struct half *right, const json_t *merge)
{
    if (json_is_array(merge)) {
        const json_t *first = json_array_get(merge, 0), *second = json_array_get(merge, 1);
        *left = (struct half){json_string_value(first), json_string_length(first)};
        *right = (struct half){json_string_value(second), json_string_length(second)};
        return json_array_size(merge) == 2 && left->length && right->length;
    }
    const char *text = json_string_value(merge), *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return 0;
    *left = (struct half){text, (size_t)(space - text)};
    *right = (struct half){space + 1, strlen(space + 1)};
    return left->length && right->length;
}

static int32_t find_half(const struct sn_tokenizer *tokenizer, struct half half)
{
    char bytes[MAX_TOKEN_BYTES];
    size_t length = unmap_token(bytes, half.text, half.length);
    return length ? sn_tokenizer_find(tokenizer, bytes, length) : -1;
}

static int read_merge(struct sn_tokenizer *tokenizer, const struct source *source, size_t index,
                      const json_t *merge)
{
    char joined[2 * MAX_TOKEN_BYTES];
    struct half first, second;
    const char *text = json_string_value(merge);
    if (text && strncmp(text, "#version", 8) == 0)
        return SN_OK; /* the first line of a vocab.bpe; skipped there too */
    if (!cut_merge(&first, &second, merge))
        return fail_merge(source, index, "must be \"left right\" or [\"left\", \"right\"]", merge);
    int32_t left = find_half(tokenizer, first), right = find_half(tokenizer, second);
    if (left < 0 || right < 0)
        return fail_merge(source, index,
                          left < 0 ? "the left half is not in model.vocab"
                                   : "the right half is not in model.vocab",
                          merge);
    int32_t token = sn_tokenizer_find(tokenizer, joined, token_join(joined, tokenizer, left, right));
    if (token < 0)
        return fail_merge(source, index, "what it makes is not in model.vocab", merge);
    if (pair_table_get(&tokenizer->pairs, left, right) >= 0)
        return fail_merge(source, index, "stands there twice", merge);
    return tokenizer_add_merge(tokenizer, token, left, right)
               ? SN_OK
               : fail_file_memory(source->context, source->path);
}

static int read_model(struct sn_tokenizer *tokenizer, const struct source *source,
                      struct vocabulary *vocabulary, json_t *added_tokens, const json_t *merges)
{
    size_t index;
    json_t *merge;
    int status = collect_names(&vocabulary->names, &vocabulary->n_names, source->context, source->path,
                               "model.vocab: ", vocabulary->vocab);
    if (status == SN_OK)
        status = collect_added(vocabulary, source, added_tokens);
    if (status == SN_OK)
        status = put_vocabulary(tokenizer, source, vocabulary);
    json_array_foreach(merges, index, merge)
    {
        if (status != SN_OK)
            break;
        status = read_merge(tokenizer, source, index, merge);
    }
    return status == SN_OK ? put_added(tokenizer, source, vocabulary) : status;
}

int read_json_model(struct sn_tokenizer *tokenizer, const struct source *source, json_t *root)
{
    static const struct rule rules[] = {
        {"type", WANT_NAME, "BPE"}, /* older files do not say it */
        {"dropout", WANT_ZERO, NULL},
        {"unk_token", WANT_ANYTHING, NULL}, /* all bytes are there, so nothing is unknown */
        {"continuing_subword_prefix", WANT_EMPTY, NULL},
        {"end_of_word_suffix", WANT_EMPTY, NULL},
        {"fuse_unk", WANT_FLAG, NULL},
        {"byte_fallback", WANT_FALSE, NULL},
        {"ignore_merges", WANT_FLAG, NULL},
        {"vocab", WANT_ANYTHING, NULL},
        {"merges", WANT_ANYTHING, NULL},
    };
    json_t *model = json_object_get(root, "model");
    int status = CHECK_OBJECT(source, model, "model", rules);
    if (status != SN_OK)
        return status;
    struct vocabulary vocabulary = {.vocab = json_object_get(model, "vocab")};
    const json_t *merges = json_object_get(model, "merges");
    if (!json_is_object(vocabulary.vocab))
        return fail_field(source, "model.", "vocab", "an object", vocabulary.vocab);
    if (!json_is_array(merges))
        return fail_field(source, "model.", "merges", "an array", merges);
    tokenizer->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    status = read_model(tokenizer, source, &vocabulary, json_object_get(root, "added_tokens"), merges);
    struct memory *memory = source->context->memory;
    memory_free(memory, vocabulary.names, vocabulary.n_names * sizeof *vocabulary.names);
    memory_free(memory, vocabulary.added, vocabulary.n_added * sizeof *vocabulary.added);
    return status;
}
