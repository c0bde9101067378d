/* Models, their nodes, generators. */
#include <stdio.h>
#include <string.h>

#include "planted.h"
#include "play.h"
#include "world_objects.h"

#define GENERATOR CHANGE(generator, K_GENERATOR)

/* Tiny, of every form; the vocabulary is always that of the tasks. Where odd, a key has a strange
 * value. */
static const char *config(void)
{
    char *json = block(600);
    const char *const flags[2] = {"false", "true"};
    static const char *const strange[] = {"-1", "0",   "1e308", "null",       "\"x\"",
                                          "[]", "1.5", "true",  "99999999999"};
    const int n =
        snprintf(json, 600,
                 "{\"block_size\": %d, \"vocab_size\": 8, \"n_layer\": %d, \"n_head\": %d, \"d_head\": "
                 "%d, \"d_model\": %d,"
                 " \"d_mlp\": %d, \"rms_norm\": true, \"bias\": %s, \"tied_unembed\": %s, \"sink\": %s,"
                 " \"enable_bigram_table\": %s, \"afrac\": %s, \"d_pos_emb\": %s",
                 8 + (int)draw(9), 1 + (int)draw(2), 1 + (int)draw(2), 1 + (int)draw(4),
                 2 + (int)draw(6), 1 + (int)draw(6), flags[draw(2)], flags[draw(2)], flags[draw(2)],
                 flags[draw(2)], chance(50) ? "null" : "0.5", chance(70) ? "null" : "2");
    if (odd())
        snprintf(json + n, (size_t)(600 - n), ", \"%s\": %s",
                 ((const char *const[]){"n_head", "d_model", "block_size", "n_layer", "afrac"})[draw(5)],
                 strange[draw(sizeof strange / sizeof *strange)]);
    if (!odd())
        strcat(json, "}");
    return json;
}

static int create_model(void)
{
    const char *json = chance(30) ? ONE_OF(PLANTED_CONFIG) : config();
    const size_t length = json ? strlen(json) : 3;
    char *bytes = block(length);
    if (json)
        memcpy(bytes, json, length);
    return sn_model_create(SLOT(model, K_MODEL), C, json ? bytes : NULL, length, any_seed());
}

static int load_model(void)
{
    return sn_model_load(SLOT(model, K_MODEL), C, from_file(chance(50) ? "model" : "dense"));
}

static int estimate_load(void)
{
    size_t *held = odd() ? NULL : block(sizeof *held), *peak = odd() ? NULL : block(sizeof *peak);
    return sn_model_estimate_memory(held, peak, C, from_file(chance(50) ? "model" : "dense"),
                                    real(0.1, 1));
}

static int save_model(void)
{
    return sn_model_save(MODEL, C, to_file());
}

static int export_model(void)
{
    return sn_model_export(MODEL, C, to_file());
}

static int retain_model(void)
{
    sn_model *model = MODEL, *same = sn_model_retain(model);
    sn_model_free(same);
    return same == model && model ? SN_OK : NO_ANSWER;
}

static int free_model(void)
{
    sn_model_free(play_take(K_MODEL));
    return SN_OK;
}

static int config_number(void)
{
    return answer_number(
        (double)sn_model_config_number(MODEL, ONE_OF("d_model", "n_layer", "d_mlp", "block_size")));
}

static int tensor_info(void)
{
    size_t *sizes = block(3 * sizeof *sizes);
    int *sparse = odd() ? NULL : block(sizeof *sparse);
    return sn_model_tensor_info(odd() ? NULL : sizes, odd() ? NULL : sizes + 1, odd() ? NULL : sizes + 2,
                                sparse, MODEL, amount(0, 3));
}

static int tensor(void)
{
    sn_context *context = C;
    const sn_model *model = MODEL;
    const char *name = a_tensor();
    return SIZED(float, sn_model_tensor(out, capacity, needed, context, model, name));
}

static int shuffled(void)
{
    return sn_model_create_shuffled(SLOT(model, K_MODEL), C, MODEL, any_seed());
}

static int node_edges(void)
{
    sn_context *context = C;
    const sn_model *model = MODEL;
    const sn_circuit *circuit = chance(50) ? NULL : READ(circuit, K_CIRCUIT);
    const char *node = a_node();
    const int direction = whole(SN_INCOMING, SN_OUTGOING);
    return SIZED(sn_node_edge,
                 sn_node_edges(out, capacity, needed, context, model, circuit, node, direction));
}

/* Two arrays of one capacity. */
static int node_tokens(void)
{
    float *weights = odd() ? NULL : block(8 * sizeof *weights);
    int32_t *ids = odd() ? NULL : block(8 * sizeof *ids);
    size_t *needed = odd() ? NULL : block(sizeof *needed);
    return sn_node_tokens(ids, weights, odd() ? draw(8) : 8, needed, C, MODEL, a_node(), whole(0, 1));
}

static int node_attention(void)
{
    const size_t n = few(1, 8);
    const int whole_model = chance(50);
    float *probability = odd() ? NULL : block(128 * sizeof(float)),
          *share = odd() ? NULL : block(128 * sizeof(float));
    size_t *needed = odd() ? NULL : block(sizeof *needed);
    const char *node = chance(50) ? ONE_OF("0.attn.v.head0.ch0", "0.attn.q.head0.ch1") : a_node();
    return sn_node_attention(probability, share, odd() ? draw(128) : 128, needed, C, MODEL,
                             whole_model ? NULL : READ(circuit, K_CIRCUIT),
                             whole_model ? NULL : READ(means, K_MEANS), node, tokens(n), n);
}

/* ------------------------------------------------------------------ generators */

static int create_generator(void)
{
    return sn_generator_create(SLOT(generator, K_GENERATOR), C, MODEL,
                               settings("temperature:r0-2 top_k:i0-8 seed:i0-9"));
}

static int free_generator(void)
{
    sn_generator_free(play_take(K_GENERATOR));
    return SN_OK;
}

static int append(void)
{
    const size_t n = few(1, 3);
    sn_generator *generator = GENERATOR;
    if (generator && sn_generator_count(generator) > 6)
        (void)sn_generator_reset(generator);
    return sn_generator_append(generator, tokens(n), n);
}

/* One that holds tokens, in half of all polite calls for sure. */
static sn_generator *with_tokens(void)
{
    sn_generator *generator = GENERATOR;
    if (generator && play.polite && chance(50)) {
        (void)sn_generator_reset(generator);
        (void)sn_generator_record(generator, WORLD_SITE);
        (void)sn_generator_append(generator, world_tokens, 3);
    }
    return generator;
}

static int next(void)
{
    int32_t *drawn = odd() ? NULL : block(sizeof *drawn);
    return sn_generator_next(drawn, with_tokens());
}

static int generator_logits(void)
{
    sn_generator *generator = with_tokens();
    return SIZED(float, sn_generator_logits(out, capacity, needed, generator));
}

static int generator_intervene(void)
{
    sn_generator *generator = GENERATOR;
    const char *site = a_site();
    const size_t width = site && play.model ? sn_model_site_width(play.model, site) : 3;
    const size_t n = chance(50) || width == 0 ? width : 1, n_tokens = chance(70) ? 0 : few(1, 20);
    size_t *channels = block(n * sizeof *channels);
    for (size_t i = 0; i < n; i++)
        channels[i] = n == width ? i : amount(0, width - 1);
    unsigned char *mask = block(n_tokens);
    for (size_t i = 0; i < n_tokens; i++)
        mask[i] = (unsigned char)draw(2);
    return sn_generator_intervene(generator, site, whole(SN_SET, SN_SCALE),
                                  chance(30) && n == width ? NULL : channels, odd() ? 0 : n, floats(n),
                                  odd() ? 0 : n, n_tokens ? mask : NULL, n_tokens);
}

static int generator_activations(void)
{
    sn_generator *generator = with_tokens();
    const char *site = chance(60) ? ONE_OF(WORLD_SITE) : a_site();
    return SIZED(float, sn_generator_activations(out, capacity, needed, generator, site));
}

#define ROWS(X)                                                                                         \
    X(sn_model_create, FAIR, create_model())                                                            \
    X(sn_model_load, FAIR, load_model())                                                                \
    X(sn_model_estimate_memory, FAIR, estimate_load())                                                  \
    X(sn_model_save, FAIR, save_model())                                                                \
    X(sn_model_export, FAIR, export_model())                                                            \
    X(sn_model_retain, CHEAP, retain_model())                                                           \
    X(sn_model_free, CHEAP, free_model())                                                               \
    X(sn_model_config_json, CHEAP, answer_text(sn_model_config_json(MODEL)))                            \
    X(sn_model_config_number, CHEAP, config_number())                                                   \
    X(sn_model_tensor_count, CHEAP, answer_number((double)sn_model_tensor_count(MODEL)))                \
    X(sn_model_tensor_name, CHEAP, answer_text(sn_model_tensor_name(MODEL, amount(0, 4))))              \
    X(sn_model_tensor_info, CHEAP, tensor_info())                                                       \
    X(sn_model_tensor, CHEAP, tensor())                                                                 \
    X(sn_model_create_shuffled, FAIR, shuffled())                                                       \
    X(sn_model_site_count, CHEAP, answer_number((double)sn_model_site_count(MODEL)))                    \
    X(sn_model_site_name, CHEAP, answer_text(sn_model_site_name(MODEL, amount(0, 6))))                  \
    X(sn_model_site_width, CHEAP, answer_number((double)sn_model_site_width(MODEL, a_site())))          \
    X(sn_node_edges, CHEAP, node_edges())                                                               \
    X(sn_node_tokens, CHEAP, node_tokens())                                                             \
    X(sn_node_attention, FAIR, node_attention())                                                        \
    X(sn_generator_create, FAIR, create_generator())                                                    \
    X(sn_generator_free, FAIR, free_generator())                                                        \
    X(sn_generator_append, CHEAP, append())                                                             \
    X(sn_generator_next, CHEAP, next())                                                                 \
    X(sn_generator_logits, CHEAP, generator_logits())                                                   \
    X(sn_generator_count, CHEAP,                                                                        \
      answer_number((double)sn_generator_count(READ(generator, K_GENERATOR))))                          \
    X(sn_generator_reset, CHEAP, sn_generator_reset(GENERATOR))                                         \
    X(sn_generator_intervene, CHEAP, generator_intervene())                                             \
    X(sn_generator_clear_interventions, CHEAP, sn_generator_clear_interventions(GENERATOR))             \
    X(sn_generator_record, CHEAP, sn_generator_record(GENERATOR, chance(50) ? WORLD_SITE : a_site()))   \
    X(sn_generator_activations, CHEAP, generator_activations())

DEFINE_ROWS(rows_model, ROWS)
