#include "model_list.h"

#include <stdio.h>
#include <string.h>

#define BLOCK_SIZE 128
#define N_SEEDS 3

/* Weight-sparse models, from this width on at twice the rate (docs/reproduce.md). */
#define WIDE 256
#define WIDE_RATE 2

/* The dense model whose loss on text is nearest to that of the sparse one, and the learning rates that are best for
 * either kind (docs/reproduce.md). */
#define NARROW 16
#define NARROW_RATE 0.8
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
    const double sparse_rate = d_model < WIDE ? 1 : WIDE_RATE;
    const double dense_rate = is(family, "dense") ? DENSE_RATE : NARROW_RATE;
    struct model_spec spec = {.family = family,
                              .d_model = d_model,
                              .n_layer = 2,
                              .density = density,
                              .rate = density < 1 ? sparse_rate : dense_rate,
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
    /* Three widths, and three numbers of nonzeros at each; the headline's sparse model of seed 1 is a tenth. What takes
     * longest comes first. */
    static const struct {
        size_t d_model;
        double density;
    } grid[] = {{128, 1. / 16}, {128, 1. / 32}, {128, 1. / 64}, {64, 1. / 4}, {64, 1. / 8},
                {64, 1. / 16},  {32, 1. / 2},   {32, 1. / 4},   {32, 1. / 8}};
    size_t n = 0;
    if (quick) { /* small enough for minutes */
        list[n++] = spec_of(HEADLINE_MODELS, "sparse", 128, 1. / 16, 1);
        list[n++] = spec_of(HEADLINE_MODELS, "narrow", NARROW, 1, 1);
        list[n++] = spec_of(HEADLINE_MODELS, "dense", 128, 1, 1);
        return n;
    }
    for (unsigned seed = 1; seed <= N_SEEDS; seed++)
        list[n++] = spec_of(HEADLINE_MODELS, "sparse", 256, 1. / 64, seed);
    list[0].in_grid = 1;
    for (unsigned seed = 1; seed <= N_SEEDS; seed++)
        list[n++] = spec_of(HEADLINE_MODELS, "narrow", NARROW, 1, seed);
    for (size_t i = 0; i < sizeof grid / sizeof *grid; i++)
        list[n++] = spec_of(GRID, "width", grid[i].d_model, grid[i].density, 1);
    for (unsigned seed = 1; seed <= N_SEEDS; seed++)
        list[n++] = spec_of(SAME_WIDTH, "dense", 256, 1, seed);
    list[n++] = spec_of(SAME_WIDTH, "dense_gradients", 128, 1. / 16, 1);
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
