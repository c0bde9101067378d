#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "model/model.h"

/* Bounds that no sensible model reaches; they keep every size product far from overflow. */
#define MAX_TOKENS ((size_t)1 << 24) /* block_size, vocab_size */
#define MAX_LAYERS ((size_t)1 << 12)
#define MAX_HEADS ((size_t)1 << 16)
#define MAX_WIDTH ((size_t)1 << 20)
#define MAX_MLP ((size_t)1 << 22)

#define AT(field) offsetof(struct config, field)

/* The size keys in the order in which they are written; the defaults stand in `defaults`. */
static const struct {
    const char *key;
    size_t offset, minimum, maximum;
} sizes[] = {
    {"block_size", AT(block_size), 1, MAX_TOKENS},
    {"vocab_size", AT(vocab_size), 1, MAX_TOKENS},
    {"n_layer", AT(n_layer), 0, MAX_LAYERS},
    {"n_head", AT(n_head), 1, MAX_HEADS},
    {"d_head", AT(d_head), 1, MAX_HEADS},
    {"d_model", AT(d_model), 1, MAX_WIDTH},
    {"d_mlp", AT(d_mlp), 1, MAX_MLP},
    {"d_pos_emb", AT(d_pos_emb), 0, MAX_WIDTH},
};
#define N_SIZES (sizeof sizes / sizeof *sizes)

static const struct {
    const char *key;
    size_t offset;
} flags[] = {
    {"bias", AT(bias)},
    {"ln_bias", AT(ln_bias)},
    {"rms_norm", AT(rms_norm)},
    {"tied_unembed", AT(tied_unembed)},
    {"enable_bigram_table", AT(enable_bigram_table)},
    {"learnable_bigram_table", AT(learnable_bigram_table)},
    {"sinusoidal_cat_pos_emb", AT(sinusoidal_cat_pos_emb)},
    {"sink", AT(sink)},
    {"held_nodes", AT(held_nodes)}, /* ours; written only where it is true */
};
#define N_FLAGS (sizeof flags / sizeof *flags)

static const struct config defaults = {
    .block_size = 1024,
    .vocab_size = 50304,
    .n_layer = 12,
    .n_head = 12,
    .d_model = 768,
    .bias = 1,
    .ln_bias = 1,
    .tied_unembed = 1,
};

static const char *const place_names[TOPK_PLACES] = {
    [TOPK_ATTN_IN] = "attn_in",
    [TOPK_ATTN_Q] = "attn_q",
    [TOPK_ATTN_K] = "attn_k",
    [TOPK_ATTN_V] = "attn_v",
    [TOPK_ATTN_OUT] = "attn_out",
    [TOPK_MLP_IN] = "mlp_in",
    [TOPK_MLP_NEURON] = "mlp_neuron",
    [TOPK_MLP_OUT] = "mlp_out",
    [TOPK_RESID_POST_ATTN] = "resid_post_attn",
    [TOPK_RESID_POST_MLP] = "resid_post_mlp",
};

/* Read elsewhere in this file. */
static const char *const special_keys[] = {
    "n_mlp", "residual_activation_type", "activation_type", "afrac", "afrac_loctypes",
};

/* Variants of the architecture that nothing here computes: only false and null are accepted. */
static const char *const unsupported_keys[] = {
    "use_tied_aux_matrix", "mup", "mup_width_multiplier", "rtopk", "scale_invariance",
};
#define N_UNSUPPORTED (sizeof unsupported_keys / sizeof *unsupported_keys)

/* Keys that change nothing of what a loaded model computes: how it was trained or run, and what
 * Hugging Face adds. The released beeg_config.json files carry several that their code drops. */
static const char *const harmless_keys[] = {
    "dropout",
    "dropout_cat_pos_emb",
    "debug_nans",
    "grad_checkpointing",
    "enable_sparse_kernels",
    "flash",
    "tokenizer_name",
    "pfrac",
    "n_embd",
    "expansion_factor",
    "expansion_factor_mlp",
    "debug_exact_topk",
    "sparse_matmul_impl",
    "unembed_rank",
    "bigram_table_rank",
    "afrac_ste",
    "afrac_ste_only_non_neurons",
    "afrac_approx",
    "enable_fp8_linear",
    "architectures",
    "model_type",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "auto_map",
    "_name_or_path",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "use_cache",
    "tie_word_embeddings",
    "is_decoder",
    "return_dict",
};

size_t config_d_in(const struct config *config)
{
    return config->d_model + config->d_pos_emb;
}

size_t config_d_attn(const struct config *config)
{
    return config->n_head * config->d_head;
}

size_t config_topk(const struct config *config, enum topk_place place, size_t width)
{
    if (config->afrac == 0 || !(config->topk_places >> place & 1u))
        return width;
    size_t k = (size_t)(config->afrac * (double)width);
    return k < width ? k : width;
}

size_t config_place_width(const struct config *config, enum topk_place place)
{
    switch (place) {
    case TOPK_ATTN_IN:
    case TOPK_MLP_IN: return config_d_in(config);
    case TOPK_ATTN_Q:
    case TOPK_ATTN_K:
    case TOPK_ATTN_V: return config_d_attn(config);
    case TOPK_MLP_NEURON: return config->d_mlp;
    default: return config->d_model;
    }
}

static int in_list(const char *key, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], key) == 0)
            return 1;
    return 0;
}

static int is_known(const char *key)
{
    for (size_t i = 0; i < N_SIZES; i++)
        if (strcmp(sizes[i].key, key) == 0)
            return 1;
    for (size_t i = 0; i < N_FLAGS; i++)
        if (strcmp(flags[i].key, key) == 0)
            return 1;
    return in_list(key, special_keys, sizeof special_keys / sizeof *special_keys) ||
           in_list(key, unsupported_keys, N_UNSUPPORTED) ||
           in_list(key, harmless_keys, sizeof harmless_keys / sizeof *harmless_keys);
}

static int check_keys(struct sn_context *context, json_t *object, const char *source)
{
    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i))
        if (!is_known(json_object_iter_key(i)))
            return fail(context, SN_ERROR_FORMAT, "%s: %.100s: unknown key", source,
                        json_object_iter_key(i));
    return SN_OK;
}

/* null stands for absence where the released code has None as the default. */
static int is_given(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value && !json_is_null(value);
}

static int null_means_absent(const char *key)
{
    return strcmp(key, "d_head") == 0 || strcmp(key, "d_mlp") == 0 || strcmp(key, "d_pos_emb") == 0;
}

static int parse_sizes(struct config *config, struct sn_context *context, const json_t *object,
                       const char *source)
{
    for (size_t i = 0; i < N_SIZES; i++) {
        if (null_means_absent(sizes[i].key) && !is_given(object, sizes[i].key))
            continue;
        size_t *value = (size_t *)(void *)((char *)config + sizes[i].offset);
        int status = json_field_size(value, context, object, source, sizes[i].key, sizes[i].minimum,
                                     sizes[i].maximum);
        if (status != SN_OK)
            return status;
    }
    config->has_d_pos_emb = is_given(object, "d_pos_emb");
    if (is_given(object, "n_mlp")) {
        size_t n_mlp = 0;
        int status = json_field_size(&n_mlp, context, object, source, "n_mlp", 1, MAX_MLP);
        if (status != SN_OK)
            return status;
        if (config->d_mlp && config->d_mlp != n_mlp)
            return fail(context, SN_ERROR_FORMAT, "%s: n_mlp is %zu, but d_mlp is %zu", source, n_mlp,
                        config->d_mlp);
        config->d_mlp = n_mlp;
    }
    return SN_OK;
}

static int derive_sizes(struct config *config, struct sn_context *context, const char *source)
{
    if (config->d_model % config->n_head)
        return fail(context, SN_ERROR_FORMAT, "%s: d_model is %zu, no multiple of n_head %zu", source,
                    config->d_model, config->n_head);
    if (config->d_mlp == 0)
        config->d_mlp = 4 * config->d_model;
    if (config->d_head == 0)
        config->d_head = config->d_model / config->n_head;
    if (config_d_attn(config) > MAX_MLP)
        return fail(context, SN_ERROR_FORMAT, "%s: n_head %zu x d_head %zu is above %zu", source,
                    config->n_head, config->d_head, MAX_MLP);
    return SN_OK;
}

static int parse_flags(struct config *config, struct sn_context *context, const json_t *object,
                       const char *source)
{
    int status = SN_OK;
    for (size_t i = 0; i < N_FLAGS && status == SN_OK; i++)
        status = json_field_flag((int *)(void *)((char *)config + flags[i].offset), context, object,
                                 source, flags[i].key);
    for (size_t i = 0; i < N_UNSUPPORTED && status == SN_OK; i++) {
        const json_t *value = json_object_get(object, unsupported_keys[i]);
        if (value && !json_is_false(value) && !json_is_null(value))
            status = json_fail(context, value, source, unsupported_keys[i],
                               "false or absent (not supported)");
    }
    return status;
}

/* *value = 1 for `second`, 0 for `first`; unchanged when absent. */
static int parse_choice(int *value, struct sn_context *context, const json_t *object, const char *source,
                        const char *key, const char *first, const char *second)
{
    const char *text = NULL;
    int status = json_field_text(&text, context, object, source, key);
    if (status != SN_OK || !text)
        return status;
    if (strcmp(text, first) != 0 && strcmp(text, second) != 0)
        return fail(context, SN_ERROR_FORMAT, "%s: %s: must be \"%s\" or \"%s\", not \"%.100s\"", source,
                    key, first, second, text);
    *value = strcmp(text, second) == 0;
    return SN_OK;
}

static int parse_places(unsigned *places, struct sn_context *context, const char *text,
                        const char *source)
{
    *places = 0;
    for (const char *piece = text; *text;) {
        size_t length = strcspn(piece, ",");
        int place = 0;
        while (place < TOPK_PLACES &&
               (strlen(place_names[place]) != length || strncmp(place_names[place], piece, length) != 0))
            place++;
        if (place == TOPK_PLACES)
            return fail(context, SN_ERROR_FORMAT,
                        "%s: afrac_loctypes: \"%.*s\" is no place of AbsTopK (pieces are separated by "
                        "commas alone)",
                        source, (int)(length < 100 ? length : 100), piece);
        *places |= 1u << place;
        if (!piece[length])
            break;
        piece += length + 1;
    }
    return SN_OK;
}

/* The places are looked at only when there is a share to keep, as in the released code. */
static int parse_sparsity(struct config *config, struct sn_context *context, const json_t *object,
                          const char *source)
{
    const char *places = "attn_in,attn_out,mlp_in,mlp_out";
    int status = json_field_text(&places, context, object, source, "afrac_loctypes");
    if (status != SN_OK || !is_given(object, "afrac"))
        return status;
    status = json_field_number(&config->afrac, context, object, source, "afrac");
    if (status != SN_OK)
        return status;
    if (!(config->afrac > 0 && config->afrac <= 1))
        return json_fail(context, json_object_get(object, "afrac"), source, "afrac",
                         "above 0 and at most 1 (null: no activation sparsity)");
    return parse_places(&config->topk_places, context, places, source);
}

int config_parse(struct config *config, struct sn_context *context, const char *json, size_t length,
                 const char *source)
{
    json_t *object;
    *config = defaults;
    int status = json_read_text(&object, context, json, length, source);
    if (status != SN_OK)
        return status;
    if (!json_is_object(object))
        status = fail(context, SN_ERROR_FORMAT, "%s: the configuration must be a JSON object", source);
    if (status == SN_OK)
        status = check_keys(context, object, source);
    if (status == SN_OK)
        status = parse_sizes(config, context, object, source);
    if (status == SN_OK)
        status = derive_sizes(config, context, source);
    if (status == SN_OK)
        status = parse_flags(config, context, object, source);
    if (status == SN_OK)
        status = parse_choice(&config->residual_relu, context, object, source,
                              "residual_activation_type", "identity", "relu");
    if (status == SN_OK)
        status =
            parse_choice(&config->mlp_relu, context, object, source, "activation_type", "gelu", "relu");
    if (status == SN_OK)
        status = parse_sparsity(config, context, object, source);
    json_decref(object);
    return status;
}

/* The fewest digits that give the same double back. */
static void append_double(struct buffer *buffer, double value)
{
    char text[64];
    int digits = 1;
    for (; digits < 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) /* print and read follow the same locale */
            break;
    }
    buffer_number(buffer, value, digits);
}

static void append_sparsity(struct buffer *buffer, const struct config *config)
{
    buffer_text(buffer, ",\"afrac\":");
    if (config->afrac == 0) {
        buffer_text(buffer, "null");
        return;
    }
    append_double(buffer, config->afrac);
    buffer_text(buffer, ",\"afrac_loctypes\":\"");
    for (int place = 0, n = 0; place < TOPK_PLACES; place++)
        if (config->topk_places >> place & 1u)
            buffer_format(buffer, "%s%s", n++ ? "," : "", place_names[place]);
    buffer_text(buffer, "\"");
}

char *config_write(struct memory *memory, const struct config *config)
{
    struct buffer buffer;
    char *text = NULL;
    buffer_init(&buffer, memory);
    for (size_t i = 0; i < N_SIZES; i++) {
        buffer_format(&buffer, "%s\"%s\":", i ? "," : "{", sizes[i].key);
        if (sizes[i].offset == AT(d_pos_emb) && !config->has_d_pos_emb)
            buffer_text(&buffer, "null");
        else
            buffer_format(&buffer, "%zu",
                          *(const size_t *)(const void *)((const char *)config + sizes[i].offset));
    }
    for (size_t i = 0; i < N_FLAGS; i++) {
        int flag = *(const int *)(const void *)((const char *)config + flags[i].offset);
        if (flag || flags[i].offset != AT(held_nodes))
            buffer_format(&buffer, ",\"%s\":%s", flags[i].key, flag ? "true" : "false");
    }
    buffer_format(&buffer, ",\"residual_activation_type\":\"%s\",\"activation_type\":\"%s\"",
                  config->residual_relu ? "relu" : "identity", config->mlp_relu ? "relu" : "gelu");
    append_sparsity(&buffer, config);
    buffer_text(&buffer, "}");
    if (!buffer.failed)
        text = memory_copy_text(memory, buffer.bytes, buffer.size);
    buffer_free(&buffer);
    return text;
}

int64_t sn_model_config_number(const sn_model *model, const char *key)
{
    if (!model || !key)
        return -1;
    const char *config = (const char *)&model->config;
    for (size_t i = 0; i < N_SIZES; i++)
        if (strcmp(sizes[i].key, key) == 0)
            return (int64_t) * (const size_t *)(const void *)(config + sizes[i].offset);
    for (size_t i = 0; i < N_FLAGS; i++)
        if (strcmp(flags[i].key, key) == 0)
            return *(const int *)(const void *)(config + flags[i].offset);
    return -1;
}
