/* Units (a few lines at column 0) of generated text, made of the constructs in use. */
#ifndef SN_PYTHON_UNITS_H
#define SN_PYTHON_UNITS_H

#include "python/constructs.h"
#include "python/expand.h"

struct unit_choice {
    size_t constructs[N_CONSTRUCTS];
    size_t n_constructs;
    int in_front;                /* units for code in front of prompts: the first n_in_front of each */
    const char *const *patterns; /* instead of constructs, when not NULL: n_patterns of them */
    size_t n_patterns;
};

/* Length of a list of templates that ends in NULL. */
size_t count_patterns(const char *const *patterns);
/* All constructs but those in `excluded` (names separated by commas). */
void unit_choice_excluding(struct unit_choice *choice, const char *excluded);
/* The constructs named in `list` ("all", or names separated by commas). SN_ERROR_ARGUMENT with a
 * message in the context when a name is unknown. */
int unit_choice_named(struct unit_choice *choice, struct sn_context *context, const char *list);
/* Appends one unit, sometimes inside a function. */
void write_unit(struct writer *writer, const struct unit_choice *choice);

#endif
