/* How each kind of object in a world is made, freed and told apart. */
#ifndef SN_TESTS_WORLD_OBJECTS_H
#define SN_TESTS_WORLD_OBJECTS_H

#include "calls.h"

struct world_kind {
    void *(*make)(struct world *);
    void (*free)(void *);
    void (*digest)(struct world *, void *); /* into world->hash; NULL: nothing can be seen of it */
    int digest_is_pure;                     /* changes nothing, not even what the object holds */
};

/* Each object is in one of the two. */
extern const struct world_kind world_model_kinds[N_OBJECTS], world_circuit_kinds[N_OBJECTS];

/* Makes O_OPTIONS of "key=value key=text", in place of what stood there. */
void world_options(struct world *world, const char *text);
/* Writes what calls read. */
void world_write_inputs(void);

#define WORLD_NODE "0.attn.resid_delta.2"
#define WORLD_SITE "0.attn.resid_delta"
extern const int32_t world_tokens[7];
extern const size_t world_offsets[3];
extern const char world_source[]; /* lines of Python that end in strings */

/* An object of another kind, made where it is not there. */
#define THE(type, object) ((type *)world_object(w, object))

#define WORLD_FREE(type)                                                                                \
    static void free_##type(void *object)                                                               \
    {                                                                                                   \
        sn_##type##_free(object);                                                                       \
    }

#endif
