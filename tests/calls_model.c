/* Calls of models, generators and what is asked of a model's nodes. */
#include <string.h>

#include "calls.h"
#include "planted.h"
#include "world_objects.h"

#define GENERATOR OBJECT(sn_generator, O_GENERATOR)

static const size_t channels[2] = {1, 3};
static const float values[2] = {0.5f, -1};

#define FREE_CALL(type, object)                                                                         \
    static int free_##type(struct world *w)                                                             \
    {                                                                                                   \
        sn_##type##_free(w->objects[object]);                                                           \
        w->objects[object] = NULL;                                                                      \
        return SN_OK;                                                                                   \
    }
FREE_CALL(model, O_MODEL)
FREE_CALL(generator, O_GENERATOR)

static int retain(struct world *w)
{
    w->made_kind = O_MODEL;
    w->made = sn_model_retain(MODEL);
    return SN_OK;
}

#define CALLS(X)                                                                                        \
    X(sn_model_create, "", 0, 0, 0,                                                                     \
      sn_model_create(MADE(sn_model, O_MODEL), CONTEXT, PLANTED_CONFIG, strlen(PLANTED_CONFIG), 7))     \
    X(sn_model_load, "", 0, 0, READS | CANCELS,                                                         \
      sn_model_load(MADE(sn_model, O_MODEL), CONTEXT, FROM("model")))                                   \
    X(sn_model_estimate_memory, "", 0, 0, READS,                                                        \
      sn_model_estimate_memory(&OUT.sizes[0], &OUT.sizes[1], CONTEXT, FROM("dense"), 0.5))              \
    X(sn_model_save, "", 0, B(MODEL), WRITES | CANCELS, sn_model_save(MODEL, CONTEXT, TO("model")))     \
    X(sn_model_export, "", 0, B(MODEL), WRITES | CANCELS, sn_model_export(MODEL, CONTEXT, TO("dense"))) \
    X(sn_model_retain, "", B(MODEL), 0, ALLOCATES_NOTHING, retain(w))                                   \
    X(sn_model_free, "", B(MODEL), 0, ALLOCATES_NOTHING, free_model(w))                                 \
    X(sn_model_config_json, "", B(MODEL), 0, ALLOCATES_NOTHING, TEXT(sn_model_config_json(MODEL)))      \
    X(sn_model_config_number, "", B(MODEL), 0, ALLOCATES_NOTHING,                                       \
      NUMBER(sn_model_config_number(MODEL, "d_mlp")))                                                   \
    X(sn_model_tensor_count, "", B(MODEL), 0, ALLOCATES_NOTHING, NUMBER(sn_model_tensor_count(MODEL)))  \
    X(sn_model_tensor_name, "", B(MODEL), 0, ALLOCATES_NOTHING, TEXT(sn_model_tensor_name(MODEL, 1)))   \
    X(sn_model_tensor_info, "", B(MODEL), 0, ALLOCATES_NOTHING,                                         \
      sn_model_tensor_info(&OUT.sizes[0], &OUT.sizes[1], &OUT.sizes[2], OUT.flags, MODEL, 1))           \
    X(sn_model_tensor, "", B(MODEL), 0, ALLOCATES_NOTHING,                                              \
      sn_model_tensor(FLOATS, CONTEXT, MODEL, "lm_head.weight"))                                        \
    X(sn_model_create_shuffled, "", 0, B(MODEL), 0,                                                     \
      sn_model_create_shuffled(MADE(sn_model, O_MODEL), CONTEXT, MODEL, 3))                             \
    X(sn_model_site_count, "", B(MODEL), 0, ALLOCATES_NOTHING, NUMBER(sn_model_site_count(MODEL)))      \
    X(sn_model_site_name, "", B(MODEL), 0, ALLOCATES_NOTHING, TEXT(sn_model_site_name(MODEL, 3)))       \
    X(sn_model_site_width, "", B(MODEL), 0, ALLOCATES_NOTHING,                                          \
      NUMBER(sn_model_site_width(MODEL, WORLD_SITE)))                                                   \
    X(sn_node_edges, "", B(MODEL) | B(CIRCUIT), 0, 0,                                                   \
      sn_node_edges(OUT.edges, 64, &OUT.needed, CONTEXT, MODEL, CIRCUIT, WORLD_NODE, SN_INCOMING))      \
    X(sn_node_tokens, "", B(MODEL), 0, 0,                                                               \
      sn_node_tokens(OUT.tokens, OUT.floats, 64, &OUT.needed, CONTEXT, MODEL, WORLD_NODE,               \
                     SN_TOKENS_UNEMBEDDING))                                                            \
    X(sn_node_attention, "", B(MODEL) | B(CIRCUIT) | B(MEANS), 0, 0,                                    \
      sn_node_attention(OUT.floats, OUT.more_floats, 64, &OUT.needed, CONTEXT, MODEL, CIRCUIT, MEANS,   \
                        "0.attn.v.head0.ch0", world_tokens, 7))                                         \
    X(sn_generator_create, "seed=2", B(MODEL), 0, 0,                                                    \
      sn_generator_create(MADE(sn_generator, O_GENERATOR), CONTEXT, MODEL, OPTIONS))                    \
    X(sn_generator_free, "", B(GENERATOR), 0, ALLOCATES_NOTHING, free_generator(w))                     \
    X(sn_generator_append, "", 0, B(GENERATOR), ALLOCATES_NOTHING,                                      \
      sn_generator_append(GENERATOR, world_tokens, 7))                                                  \
    X(sn_generator_next, "", 0, B(GENERATOR), ALLOCATES_NOTHING,                                        \
      sn_generator_next(OUT.tokens, GENERATOR))                                                         \
    X(sn_generator_logits, "", B(GENERATOR), 0, ALLOCATES_NOTHING,                                      \
      sn_generator_logits(FLOATS, GENERATOR))                                                           \
    X(sn_generator_count, "", B(GENERATOR), 0, ALLOCATES_NOTHING,                                       \
      NUMBER(sn_generator_count(GENERATOR)))                                                            \
    X(sn_generator_reset, "", 0, B(GENERATOR), ALLOCATES_NOTHING, sn_generator_reset(GENERATOR))        \
    X(sn_generator_intervene, "", 0, B(GENERATOR), KEEPS_MEMORY,                                        \
      sn_generator_intervene(GENERATOR, WORLD_SITE, SN_ADD, channels, 2, values, 2, NULL, 0))           \
    X(sn_generator_clear_interventions, "", 0, B(GENERATOR), ALLOCATES_NOTHING,                         \
      sn_generator_clear_interventions(GENERATOR))                                                      \
    X(sn_generator_record, "", 0, B(GENERATOR), KEEPS_MEMORY,                                           \
      sn_generator_record(GENERATOR, "0.mlp.post_act"))                                                 \
    X(sn_generator_activations, "", B(GENERATOR), 0, ALLOCATES_NOTHING,                                 \
      sn_generator_activations(FLOATS, GENERATOR, WORLD_SITE))

DEFINE_TABLE(calls_model, CALLS)
