/* sn_options, and reading them against a table of what a function knows. */
#ifndef SN_BASE_OPTIONS_H
#define SN_BASE_OPTIONS_H

#include <stddef.h>

#include "base/context.h"

enum option_kind {
    OPTION_NUMBER,  /* double at `offset` */
    OPTION_INTEGER, /* size_t at `offset`; the value must be whole */
    OPTION_CHOICE,  /* int at `offset`: index into `choices`, "first|second|..." ; default = fallback */
    OPTION_TEXT     /* const char * at `offset`, lent by the options; default NULL */
};

struct option_spec {
    const char *key;
    enum option_kind kind;
    size_t offset;
    double fallback;
    double minimum, maximum; /* inclusive; for numbers and integers */
    const char *choices;
};

/* Fills `settings` with defaults, then with the given values. options may be NULL. Errors name
 * `function`, the key and the value. */
int options_read(void *settings, struct sn_context *context, const char *function,
                 const struct option_spec *specs, size_t n_specs, const sn_options *options);
/* 1 if the key was set by the caller. */
int options_has(const sn_options *options, const char *key);

#endif
