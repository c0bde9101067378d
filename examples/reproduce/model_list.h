/* The models of the study: one list, by which every part knows names, shapes and files. */
#ifndef REPRODUCE_MODEL_LIST_H
#define REPRODUCE_MODEL_LIST_H

#include "setup.h"

struct model_spec {
    char name[48];
    const char *family; /* "sparse", "narrow", "dense": of figure 2; "width": the grid of figure 3;
                         * "dense_gradients": as one of the grid, but trained with gradients of every weight */
    size_t d_model, n_layer;
    double density; /* of every matrix and embedding; 1: a dense model, without AbsTopK */
    double rate;    /* of the curriculum's learning rates */
    double length;  /* of the curriculum's steps */
    unsigned seed;
    int support_gradients;
    int in_grid; /* of figure 3 */
    int beside;  /* of the headline loss and the first tasks alone */
    /* Models of one group are trained and their circuits found before those of the next: groups come in the order
     * in which they are wanted. */
    unsigned group;
};

#define MAX_MODELS 32

/* Fills `list` and returns how many there are. */
size_t model_list(struct model_spec list[MAX_MODELS], int quick);
/* OUT_DIR/models/NAME.suffix; the finished model has the suffix ".safetensors". */
void model_path(char path[PATH_CAPACITY], const struct setup *setup, const struct model_spec *spec,
                const char *suffix);
/* A model of this shape with random weights. */
sn_model *model_start(const struct model_spec *spec, sn_context *context, const sn_tokenizer *tokenizer);

#endif
