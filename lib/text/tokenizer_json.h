/* Checking the objects of tokenizer.json by rules. */
#ifndef SN_TEXT_TOKENIZER_JSON_H
#define SN_TEXT_TOKENIZER_JSON_H

#include <jansson.h>

#include "text/tokenizer.h"

struct source {
    struct sn_context *context;
    const char *path;
};

enum want {
    WANT_ANYTHING, /* looked at elsewhere, or without influence on tokens */
    WANT_NULL,     /* this and those down to WANT_NAME also allow that the key is absent */
    WANT_FALSE,
    WANT_TRUE,
    WANT_FLAG,    /* true or false */
    WANT_EMPTY,   /* null or "" */
    WANT_ZERO,    /* null or 0 */
    WANT_NAME,    /* the text of the rule */
    WANT_NO_FLAG, /* false, and stated */
    WANT_TEXT     /* the text of the rule, and stated */
};

struct rule {
    const char *key;
    enum want want;
    const char *text;
};

/* "path: place key: must be wanted, not value"; where: "", or "place.". */
int fail_field(const struct source *source, const char *where, const char *key, const char *wanted,
               const json_t *value);
/* Checks by the rules, in their order; a key without a rule is refused. name: of the object in
 * messages, "" for the whole file. */
int check_object(const struct source *source, const json_t *object, const char *name,
                 const struct rule *rules, size_t n_rules);
#define CHECK_OBJECT(source, object, name, rules)                                                       \
    check_object(source, object, name, rules, sizeof(rules) / sizeof *(rules))

/* model, added_tokens: all tokens and merges of the file. */
int read_json_model(struct sn_tokenizer *tokenizer, const struct source *source, json_t *root);

#endif
