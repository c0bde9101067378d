#include "model_list.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_SIZE 128
#define N_SEEDS 3

/* The weight-sparse model that is set beside dense ones. */
#define SPARSE_WIDTH 128
#define SPARSE_DENSITY (1. / 32)

/* The dense model whose loss on text is nearest to that of the sparse one. */
#define NARROW 16

/* Learning rates, in those of the curriculum: what is best falls with the root of the weights in a row of a matrix that
 * reads the stream, and for wide dense models less (docs/reproduce.md). */
#define RATE_OF_ONE 3 /* weight in a row */
#define DENSE_RATE 0.4
#define DENSE_LENGTH                                                                                    \
    0.5 /* of the steps, for dense models of the sparse one's width: they learn faster */

enum { HEADLINE_MODELS, GRID, SAME_WIDTH };

static int is(const char *family, const char *name)
{
    return strcmp(family, name) == 0;
}

static struct model_spec spec_of(unsigned group, const char *family, size_t d_model, double density,
                                 unsigned seed)
{
    const int grid = is(family, "width"), every_weight = is(family, "dense_gradients");
    const double rate = RATE_OF_ONE / sqrt((double)d_model * density);
    struct model_spec spec = {.family = family,
                              .d_model = d_model,
                              .n_layer = 2,
                              .density = density,
                              .rate = is(family, "dense") ? DENSE_RATE : rate,
                              .length = is(family, "dense") ? DENSE_LENGTH : 1,
                              .seed = seed,
                              .support_gradients = density < 1 && !every_weight,
                              .in_grid = grid,
                              .beside = grid || every_weight,
                              .group = group};
    if (density < 1)
        snprintf(spec.name, sizeof spec.name, "%s_d%zu_1in%.0f_s%u", family, d_model, 1 / density, seed);
    else
        snprintf(spec.name, sizeof spec.name, "%s_d%zu_s%u", family, d_model, seed);
    return spec;
}

size_t model_list(struct model_spec list[MAX_MODELS], int quick)
{
    /* Three widths with about 10, 20 and 40 thousand weights each, and a wider one with 20: the headline's sparse model of
     * seed 1 is one of these. What takes longest comes first. */
    static const struct {
        size_t d_model;
        double density;
    } grid[] = {{256, 1. / 104}, {128, 1. / 16}, {128, 1. / 64}, {64, 1. / 5}, {64, 1. / 10},
                {64, 1. / 20},   {32, 1. / 2},   {32, 1. / 4},   {32, 1. / 8}};
    size_t n = 0;
    if (quick) { /* small enough for minutes */
        list[n++] = spec_of(HEADLINE_MODELS, "sparse", SPARSE_WIDTH, 2 * SPARSE_DENSITY, 1);
        list[n++] = spec_of(HEADLINE_MODELS, "narrow", NARROW, 1, 1);
        list[n++] = spec_of(HEADLINE_MODELS, "dense", SPARSE_WIDTH, 1, 1);
        return n;
    }
    for (unsigned seed = 1; seed <= N_SEEDS; seed++)
        list[n++] = spec_of(HEADLINE_MODELS, "sparse", SPARSE_WIDTH, SPARSE_DENSITY, seed);
    list[0].in_grid = 1;
    for (unsigned seed = 1; seed <= N_SEEDS; seed++)
        list[n++] = spec_of(HEADLINE_MODELS, "narrow", NARROW, 1, seed);
    for (size_t i = 0; i < sizeof grid / sizeof *grid; i++)
        list[n++] = spec_of(GRID, "width", grid[i].d_model, grid[i].density, 1);
    for (unsigned seed = 1; seed <= N_SEEDS; seed++)
        list[n++] = spec_of(SAME_WIDTH, "dense", SPARSE_WIDTH, 1, seed);
    list[n++] = spec_of(SAME_WIDTH, "dense_gradients", SPARSE_WIDTH, SPARSE_DENSITY, 1);
    return n;
}

void model_path(char path[PATH_CAPACITY], const struct setup *setup, const struct model_spec *spec,
                const char *suffix)
{
    char name[96];
    snprintf(name, sizeof name, "models/%s", spec->name);
    make_path(path, setup, name, suffix);
}

sn_model *model_start(const struct model_spec *spec, sn_context *context, const sn_tokenizer *tokenizer)
{
    static const char sparse_activations[] =
        ", \"afrac\": 0.25, \"afrac_loctypes\":"
        " \"attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q\"";
    char config[1024];
    sn_model *model;
    const unsigned d_head = spec->d_model % 16 ? 8 : 16;
    snprintf(config, sizeof config,
             "{\"block_size\": %d, \"vocab_size\": %zu, \"n_layer\": %zu, \"n_head\": %zu,"
             " \"d_head\": %u, \"d_model\": %zu, \"rms_norm\": true, \"tied_unembed\": false,"
             " \"sink\": true, \"enable_bigram_table\": true, \"learnable_bigram_table\": true,"
             " \"d_pos_emb\": 16, \"sinusoidal_cat_pos_emb\": true%s}",
             BLOCK_SIZE, sn_tokenizer_size(tokenizer), spec->n_layer, spec->d_model / d_head, d_head,
             spec->d_model, spec->density < 1 ? sparse_activations : "");
    check(context, sn_model_create(&model, context, config, strlen(config), spec->seed));
    return model;
}
