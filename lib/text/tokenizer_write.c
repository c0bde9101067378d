/* What sn_tokenizer_save writes. */
#include "text/tokenizer_files.h"

/* The token in characters of the files: UTF-8, or escaped for a JSON string. */
static void append_mapped(struct buffer *buffer, const struct sn_tokenizer *tokenizer, int32_t id,
                          int as_json)
{
    const char *bytes = token_bytes(tokenizer, id);
    for (size_t i = 0; i < token_length(tokenizer, id); i++) {
        int character = byte_to_character((unsigned char)bytes[i]);
        if (as_json && (character == '"' || character == '\\'))
            buffer_format(buffer, "\\%c", character);
        else if (character < 0x80)
            buffer_format(buffer, "%c", character);
        else if (as_json)
            buffer_format(buffer, "\\u%04x", (unsigned)character);
        else
            buffer_format(buffer, "%c%c", 0xC0 | character >> 6, 0x80 | (character & 0x3F));
    }
}

/* The bytes themselves as a JSON string; they are UTF-8. */
static void append_quoted(struct buffer *buffer, const char *bytes, size_t length)
{
    buffer_text(buffer, "\"");
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte == '"' || byte == '\\')
            buffer_format(buffer, "\\%c", byte);
        else if (byte < 0x20)
            buffer_format(buffer, "\\u%04x", byte);
        else
            buffer_append(buffer, &byte, 1);
    }
    buffer_text(buffer, "\"");
}

/* {"token": id, ...} of the vocabulary; an added token stands there as it is found in texts. */
static void append_vocabulary(struct buffer *buffer, const struct sn_tokenizer *tokenizer)
{
    const char *separator = "{";
    for (int32_t id = 0; (size_t)id < tokenizer->size; id++) {
        int kinds = tokenizer->tokens[id].kinds;
        if (!(kinds & TOKEN_MODEL))
            continue;
        buffer_text(buffer, separator);
        if (kinds & TOKEN_ADDED) {
            append_quoted(buffer, token_bytes(tokenizer, id), token_length(tokenizer, id));
        } else {
            buffer_text(buffer, "\"");
            append_mapped(buffer, tokenizer, id, 1);
            buffer_text(buffer, "\"");
        }
        buffer_format(buffer, ": %d", (int)id);
        separator = ", ";
    }
    buffer_text(buffer, *separator == '{' ? "{}" : "}");
}

void write_encoder_json(struct buffer *buffer, const struct sn_tokenizer *tokenizer)
{
    append_vocabulary(buffer, tokenizer);
    buffer_text(buffer, "\n");
}

void write_vocab_bpe(struct buffer *buffer, const struct sn_tokenizer *tokenizer)
{
    buffer_text(buffer, "#version: 0.2\n");
    for (size_t i = 0; i < tokenizer->n_merges; i++) {
        append_mapped(buffer, tokenizer, tokenizer->merges[i].left, 0);
        buffer_text(buffer, " ");
        append_mapped(buffer, tokenizer, tokenizer->merges[i].right, 0);
        buffer_text(buffer, "\n");
    }
}

static const char *flag_text(int flag)
{
    return flag ? "true" : "false";
}

static void append_added(struct buffer *buffer, const struct sn_tokenizer *tokenizer)
{
    const char *separator = "";
    buffer_text(buffer, "[");
    for (int32_t id = 0; (size_t)id < tokenizer->size; id++) {
        int kinds = tokenizer->tokens[id].kinds;
        if (!(kinds & TOKEN_ADDED))
            continue;
        buffer_format(buffer, "%s{\"id\": %d, \"content\": ", separator, (int)id);
        append_quoted(buffer, token_bytes(tokenizer, id), token_length(tokenizer, id));
        buffer_format(buffer,
                      ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                      "\"normalized\": %s, \"special\": %s}",
                      flag_text(kinds & TOKEN_NORMALIZED), flag_text(kinds & TOKEN_SPECIAL));
        separator = ",\n";
    }
    buffer_text(buffer, "]");
}

#define BYTE_LEVEL(use_regex)                                                                           \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "                   \
    "\"use_regex\": " use_regex "}"

static void append_pre_tokenizer(struct buffer *buffer, enum split_pattern split)
{
    const char *text = split_pattern_text(split);
    size_t length = 0;
    while (text[length])
        length++;
    if (split == SPLIT_GPT2) {
        buffer_text(buffer, BYTE_LEVEL("true"));
        return;
    }
    buffer_text(buffer, "{\"type\": \"Sequence\", \"pretokenizers\": [\n"
                        "{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
    append_quoted(buffer, text, length);
    buffer_text(buffer, "}, \"behavior\": \"Isolated\", \"invert\": false},\n" BYTE_LEVEL("false") "]}");
}

static void append_merges(struct buffer *buffer, const struct sn_tokenizer *tokenizer)
{
    buffer_text(buffer, "[");
    for (size_t i = 0; i < tokenizer->n_merges; i++) {
        buffer_text(buffer, i ? ",\n[\"" : "\n[\"");
        append_mapped(buffer, tokenizer, tokenizer->merges[i].left, 1);
        buffer_text(buffer, "\", \"");
        append_mapped(buffer, tokenizer, tokenizer->merges[i].right, 1);
        buffer_text(buffer, "\"]");
    }
    buffer_text(buffer, "]");
}

void write_tokenizer_json(struct buffer *buffer, const struct sn_tokenizer *tokenizer)
{
    buffer_text(buffer, "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null,\n"
                        "\"added_tokens\": ");
    append_added(buffer, tokenizer);
    buffer_text(buffer, ",\n\"normalizer\": null,\n\"pre_tokenizer\": ");
    append_pre_tokenizer(buffer, tokenizer->split);
    buffer_text(buffer, ",\n\"post_processor\": null,\n\"decoder\": " BYTE_LEVEL("true") ",\n");
    buffer_format(buffer,
                  "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
                  "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, "
                  "\"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": %s,\n\"vocab\": ",
                  flag_text(tokenizer->ignore_merges));
    append_vocabulary(buffer, tokenizer);
    buffer_text(buffer, ",\n\"merges\": ");
    append_merges(buffer, tokenizer);
    buffer_text(buffer, "}}\n");
}
