/* Reading the circuits that the authors released: viz_data.pt, a torch file of nested dicts. What stands in
 * it and what of it is read, docs/formats.md says. Inside lib/circuit only. */
#ifndef SN_CIRCUIT_RELEASED_H
#define SN_CIRCUIT_RELEASED_H

#include "circuit/circuit.h"
#include "circuit/task.h"
#include "format/torch_file.h"

#define RELEASED_NAME_BYTES 192

struct released {
    struct sn_context *context;
    struct sn_model *model; /* lent */
    const char *path;       /* lent */
    struct torch_file file;
    const struct pickle_value *kept;        /* circuit_data, a dict */
    const struct pickle_value *importances; /* a dict, NULL where the file has none */
};

/* ---- released_values.c: values of the tree, each checked; `name` is their place, for messages */

/* SN_ERROR_FORMAT with "path: name: ...". */
int released_fail(struct released *released, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A number, or a tensor of one element. */
int released_number(double *out, struct released *released, const struct pickle_value *value,
                    const char *name);
/* 1 when the value is a list, a tuple or a tensor of one dimension; *n is its length. */
int released_is_list(size_t *n, const struct pickle_value *value);
/* Number i of what released_is_list accepts. */
int released_list_number(double *out, struct released *released, const struct pickle_value *value,
                         size_t i, const char *name);
/* Integers of a list, a tuple or a tensor of one dimension, at most `limit`. *out: *n integers of
 * context->memory. A text "bias" at the end of a list is left out. */
int released_integers(int64_t **out, size_t *n, struct released *released,
                      const struct pickle_value *value, const char *name, size_t limit);

/* Channels of one site, in the order of the file, each once. */
struct channel_list {
    struct memory *memory; /* retained */
    size_t *channels;
    size_t n;
};

/* Integers below the width of `site`; a tensor of truth values is the mask of all channels. */
int released_channels(struct channel_list *list, struct released *released,
                      const struct pickle_value *value, const char *name, size_t site);
void channel_list_free(struct channel_list *list);

/* ---- released_nodes.c */

/* The kept channels of a site; a site that the file does not name keeps none. */
int released_kept(struct channel_list *list, struct released *released, size_t site);
/* Marks the kept nodes. *n_unplaced: kept channels of sites that carry no nodes here (final_resid). */
int released_mark_nodes(unsigned char *kept, size_t *n_unplaced, struct released *released,
                        const struct node_layout *layout);
/* The site of a key of the file; fails where the model has none of that name. */
int released_site(size_t *site, struct released *released, const struct pickle_value *key,
                  const char *name);

/* ---- released_losses.c, released_edges.c: what becomes measurements of the circuit */
int released_add(struct released *released, struct sn_circuit *circuit, double value, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));
int released_losses(struct released *released, struct sn_circuit *circuit);
int released_edges(struct released *released, struct sn_circuit *circuit);

/* ---- released_task.c */

/* The prompts, in pairs: prompt i of the first half with prompt i of the second. Targets below 0 are
 * chosen by the model: of each half the next token of the greatest mean log probability. */
int released_task(struct sn_task **out, struct released *released, const char *task, int32_t target_a,
                  int32_t target_b);

#endif
